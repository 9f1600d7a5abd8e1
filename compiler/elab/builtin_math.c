// builtin_math.c: builtins that compute: pointwise, folding, contracting, making tensors.

#include "elab/builtin.h"

#include <math.h>
#include <string.h>

Value builtin_bad(Elab *e, const char *name, Span span, const char *why)
{
    report(e->cx, elab_span(e, span), bad_argument, arena_printf(e->cx->arena, "'%s'", name), why);
    return value_poison();
}

Inst *builtin_tensor(Elab *e, Value value, const char *name, Span span)
{
    if (value.kind == VALUE_TENSOR)
        return value.as.tensor.inst;
    if (elab_is_runtime(value) || value_is_number(value) || value.kind == VALUE_BOOL)
        return elab_tensor(e, value, value.kind == VALUE_INT ? DTYPE_I32 : e->real, span);
    if (value.kind != VALUE_POISON)
        report(e->cx, elab_span(e, span), type_mismatch,
               arena_printf(e->cx->arena, "the argument of '%s'", name), "a tensor",
               value_what(e, value));
    return NULL;
}

static const char *quoted(Elab *e, const char *name)
{
    return arena_printf(e->cx->arena, "'%s'", name);
}

// ---- pointwise, one input -----------------------------------------------------------------------

static double static_unary(Op op, double x)
{
    switch ((int)op) {
    case OP_abs:
        return fabs(x);
    case OP_sign:
        return x > 0 ? 1 : x < 0 ? -1 : x;
    case OP_exp:
        return exp(x);
    case OP_log:
        return log(x);
    case OP_sqrt:
        return sqrt(x);
    case OP_sin:
        return sin(x);
    case OP_cos:
        return cos(x);
    case OP_tanh:
        return tanh(x);
    case OP_erf:
        return erf(x);
    case OP_sigmoid:
        return 1 / (1 + exp(-x));
    case OP_floor:
        return floor(x);
    default:
        return nearbyint(x);
    }
}

static Value unary(Elab *e, Op op, Value x, Span span)
{
    const char *name = op_info[op].name;
    if (value_is_number(x)) {
        double result = static_unary(op, value_number(x));
        bool whole = ((op == OP_abs || op == OP_sign) && x.kind == VALUE_INT) || op == OP_floor ||
                     op == OP_round;
        return whole && fabs(result) < 9e15 ? value_int((int64_t)result) : value_real(result);
    }
    Inst *inst = builtin_tensor(e, x, name, span);
    if (!inst)
        return value_poison();
    if (op_info[op].attrs == 0 && dtype_info[inst->type.dtype].kind == KIND_INT && op != OP_abs &&
        op != OP_sign) {
        report(e->cx, elab_span(e, span), type_mismatch,
               arena_printf(e->cx->arena, "the argument of '%s'", name), "a float tensor",
               value_what(e, x));
        help(e->cx, "convert it with `float(...)`");
        return value_poison();
    }
    return value_tensor(elab_emit(e, op, &inst, 1, NULL, (Type){0}, quoted(e, name), span));
}

#define UNARY(name)                                                                                \
    Value builtin_##name(Elab *e, const Value arg[], Span span)                                    \
    {                                                                                              \
        return unary(e, OP_##name, arg[0], span);                                                  \
    }
UNARY(abs)
UNARY(sign)
UNARY(exp)
UNARY(log)
UNARY(sqrt)
UNARY(sin)
UNARY(cos)
UNARY(tanh)
UNARY(erf)
UNARY(sigmoid)
UNARY(floor)
UNARY(round)
#undef UNARY

Value builtin_neg(Elab *e, const Value arg[], Span span)
{
    return elab_unary(e, OPER_NEG, arg[0], span);
}

Value builtin_stop_gradient(Elab *e, const Value arg[], Span span)
{
    if (value_is_static(arg[0]))
        return arg[0];
    Inst *inst = builtin_tensor(e, arg[0], "stop_gradient", span);
    int64_t classes = arg[0].kind == VALUE_TENSOR ? arg[0].as.tensor.classes : 0;
    return inst ? value_class(elab_emit(e, OP_stop_gradient, &inst, 1, NULL, (Type){0},
                                        "'stop_gradient'", span),
                              classes)
                : value_poison();
}

// In a job of mixed precision the value is f32 and stored in 16 bits, as the pass `precision` does
// with operands of contractions.
Value builtin_as_operand(Elab *e, const Value arg[], Span span)
{
    if (value_is_static(arg[0]))
        return arg[0];
    Inst *inst = builtin_tensor(e, arg[0], "as_operand", span);
    if (!inst)
        return value_poison();
    if (e->mixed == DTYPE_F32 || inst->type.dtype != DTYPE_F32)
        return arg[0];
    Type narrow = type_scalar(e->mixed), wide = type_scalar(DTYPE_F32);
    Inst *half = elab_emit(e, OP_cast, &inst, 1, NULL, narrow, "'as_operand'", span);
    return value_class(elab_emit(e, OP_cast, &half, 1, NULL, wide, "'as_operand'", span), 0);
}

// ---- pointwise, two or three inputs -------------------------------------------------------------

#define BINARY(name, oper)                                                                         \
    Value builtin_##name(Elab *e, const Value arg[], Span span)                                    \
    {                                                                                              \
        return elab_binary(e, oper, arg[0], arg[1], span);                                         \
    }
BINARY(add, OPER_ADD)
BINARY(sub, OPER_SUB)
BINARY(mul, OPER_MUL)
BINARY(pow, OPER_POW)
BINARY(matmul, OPER_MATMUL)
#undef BINARY

static Value pair_op(Elab *e, Op op, const Value arg[], Span span)
{
    Inst *in[2];
    const char *name = quoted(e, op_info[op].name);
    if (!elab_pair(e, arg[0], arg[1], &in[0], &in[1], true, name, span))
        return value_poison();
    return value_tensor(elab_emit(e, op, in, 2, NULL, (Type){0}, name, span));
}

Value builtin_div(Elab *e, const Value arg[], Span span)
{
    if (arg[0].kind == VALUE_TENSOR &&
        dtype_info[arg[0].as.tensor.inst->type.dtype].kind == KIND_INT)
        return pair_op(e, OP_div, arg, span);
    return elab_binary(e, OPER_DIV, arg[0], arg[1], span);
}

Value builtin_mod(Elab *e, const Value arg[], Span span)
{
    if (!value_is_number(arg[0]) || !value_is_number(arg[1])) {
        Value rest = pair_op(e, OP_mod, arg, span);
        bool bounded = value_is(rest, VALUE_TENSOR) && arg[1].kind == VALUE_INT &&
                       arg[1].as.whole > 0 &&
                       dtype_info[rest.as.tensor.inst->type.dtype].kind == KIND_INT;
        return bounded ? value_class(rest.as.tensor.inst, arg[1].as.whole) : rest;
    }
    if (value_number(arg[1]) == 0) {
        report(e->cx, elab_span(e, span), division_by_zero);
        return value_poison();
    }
    if (arg[0].kind == VALUE_INT && arg[1].kind == VALUE_INT) {
        int64_t a = arg[0].as.whole, b = arg[1].as.whole;
        int64_t rest = b == -1 ? 0 : a % b;
        return value_int(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
    double a = value_number(arg[0]), b = value_number(arg[1]);
    return value_real(a - b * floor(a / b));
}

Value builtin_select(Elab *e, const Value arg[], Span span)
{
    if (arg[0].kind == VALUE_BOOL)
        return arg[0].as.whole ? arg[1] : arg[2];
    Inst *condition = builtin_tensor(e, arg[0], "select", span);
    if (!condition)
        return value_poison();
    if (condition->type.dtype != DTYPE_BOOL) {
        report(e->cx, elab_span(e, span), condition_not_bool, value_what(e, arg[0]));
        return value_poison();
    }
    return elab_select(e, condition, arg[1], arg[2], span);
}

bool builtin_type(Elab *e, Value value, TypeValue *type, const char *name, Span span)
{
    if (value.kind == VALUE_TYPE && value.as.type->castable && !value.as.type->has_dims) {
        *type = *value.as.type;
        return true;
    }
    Sym word = value.kind == VALUE_SYMBOL ? value.as.symbol : value_plain_text(value);
    if (word && elab_element_type(e, word, type) && type->castable)
        return true;
    report(e->cx, elab_span(e, span), type_mismatch,
           arena_printf(e->cx->arena, "the type given to '%s'", name),
           "an element type like f32 or i64", value_what(e, value));
    return false;
}

Value builtin_cast(Elab *e, const Value arg[], Span span)
{
    TypeValue type;
    return builtin_type(e, arg[1], &type, "cast", span) ? elab_convert(e, arg[0], &type, span)
                                                        : value_poison();
}

// ---- folding ------------------------------------------------------------------------------------

// The axes that axis, axes (at most one of them given) mean, increasing. False after a report.
bool builtin_axes(Elab *e, Value axis, Value axes, int rank, const char *name, IntList *out,
                  Span span)
{
    *out = (IntList){0};
    bool chosen[IR_MAX_RANK] = {0};
    if (axis.kind != VALUE_NONE && axes.kind != VALUE_NONE) {
        builtin_bad(e, name, span, "either `axis` or `axes` is given, not both");
        return false;
    }
    if (axis.kind == VALUE_LIST || axis.kind == VALUE_TUPLE || axis.kind == VALUE_RANGE) {
        axes = axis;
        axis = value_none();
    }
    if (axis.kind == VALUE_NONE && axes.kind == VALUE_NONE)
        for (int i = 0; i < rank; i++)
            chosen[i] = true;
    int at;
    if (axis.kind != VALUE_NONE) {
        if (!elab_axis(e, axis, rank, &at, span))
            return false;
        chosen[at] = true;
    }
    ValueList items = {0};
    if (axes.kind != VALUE_NONE && !elab_items(e, axes, &items, "the axes", span))
        return false;
    for (int i = 0; i < items.count; i++) {
        if (!elab_axis(e, items.at[i], rank, &at, span))
            return false;
        if (chosen[at]) {
            builtin_bad(e, name, span, arena_printf(e->cx->arena, "axis %d is given twice", at));
            return false;
        }
        chosen[at] = true;
    }
    for (int i = 0; i < rank; i++)
        if (chosen[i])
            out->at[out->count++] = i;
    return true;
}

static Value fold_list(Elab *e, Reducer with, Value list, const char *name, Span span)
{
    ValueList items;
    if (!elab_items(e, list, &items, "this", span))
        return value_poison();
    if (with == REDUCE_ANY || with == REDUCE_ALL) {
        for (int i = 0; i < items.count; i++) {
            bool truth;
            if (!elab_truth(e, items.at[i], &truth, span))
                return value_poison();
            if (truth == (with == REDUCE_ANY))
                return value_bool(truth);
        }
        return value_bool(with == REDUCE_ALL);
    }
    if (items.count == 0 && (with == REDUCE_MAX || with == REDUCE_MIN))
        return builtin_bad(e, name, span, "an empty list has no largest or smallest element");
    Value result = with == REDUCE_SUM    ? value_int(0)
                   : with == REDUCE_PROD ? value_int(1)
                                         : items.at[0];
    for (int i = 0; i < items.count && result.kind != VALUE_POISON; i++) {
        if (with == REDUCE_SUM || with == REDUCE_PROD) {
            result = i == 0 ? items.at[0]
                            : elab_binary(e, with == REDUCE_SUM ? OPER_ADD : OPER_MUL, result,
                                          items.at[i], span);
            continue;
        }
        Value arg[] = {result, items.at[i], value_none(), value_none(), value_bool(false)};
        result = with == REDUCE_MAX ? builtin_max(e, arg, span) : builtin_min(e, arg, span);
    }
    return result;
}

static Value fold(Elab *e, Reducer with, const char *name, Value x, Value axis, Value axes,
                  Value keep, Span span)
{
    if (x.kind == VALUE_LIST || x.kind == VALUE_RANGE || x.kind == VALUE_TUPLE)
        return fold_list(e, with, x, name, span);
    if ((value_is_number(x) || x.kind == VALUE_BOOL) && axis.kind == VALUE_NONE)
        return x;
    bool keeps;
    IntList list;
    Inst *inst = builtin_tensor(e, x, name, span);
    if (!inst || !elab_truth(e, keep, &keeps, span) ||
        !builtin_axes(e, axis, axes, inst->type.rank, name, &list, span))
        return value_poison();
    bool logical = with == REDUCE_ANY || with == REDUCE_ALL;
    if (logical != (inst->type.dtype == DTYPE_BOOL)) {
        report(e->cx, elab_span(e, span), type_mismatch,
               arena_printf(e->cx->arena, "the argument of '%s'", name),
               logical ? "a bool tensor" : "a tensor of numbers", value_what(e, x));
        return value_poison();
    }
    Inst *folded = inst;
    if (list.count > 0) {
        Attr attr[] = {{.reducer = with}, {.list = list}};
        folded = elab_emit(e, OP_reduce, &inst, 1, attr, (Type){0}, quoted(e, name), span);
    }
    if (!folded || !keeps)
        return value_tensor(folded);
    Type type = inst->type;
    for (int i = 0; i < list.count; i++)
        type.dim[list.at[i]] = 1;
    return value_tensor(elab_emit(e, OP_reshape, &folded, 1, NULL, type, quoted(e, name), span));
}

#define FOLD(name, reducer)                                                                        \
    Value builtin_##name(Elab *e, const Value arg[], Span span)                                    \
    {                                                                                              \
        return fold(e, reducer, #name, arg[0], arg[1], arg[2], arg[3], span);                      \
    }
FOLD(sum, REDUCE_SUM)
FOLD(prod, REDUCE_PROD)
FOLD(any, REDUCE_ANY)
FOLD(all, REDUCE_ALL)
#undef FOLD

static Value extreme(Elab *e, bool largest, const Value arg[], Span span)
{
    const char *name = largest ? "max" : "min";
    if (arg[1].kind == VALUE_NONE)
        return fold(e, largest ? REDUCE_MAX : REDUCE_MIN, name, arg[0], arg[2], arg[3], arg[4],
                    span);
    if (arg[2].kind != VALUE_NONE || arg[3].kind != VALUE_NONE)
        return builtin_bad(e, name, span, "of two values is element by element and takes no axis");
    if (value_is_number(arg[0]) && value_is_number(arg[1])) {
        bool first = largest == (value_number(arg[0]) >= value_number(arg[1]));
        return first ? arg[0] : arg[1];
    }
    bool same_units = arg[0].kind == VALUE_QUANTITY && arg[1].kind == VALUE_QUANTITY;
    if (same_units) {
        Value less = elab_binary(e, OPER_LT, arg[0], arg[1], span);
        return less.kind != VALUE_BOOL ? less : (less.as.whole != 0) == largest ? arg[1] : arg[0];
    }
    return pair_op(e, largest ? OP_max : OP_min, arg, span);
}

Value builtin_max(Elab *e, const Value arg[], Span span)
{
    return extreme(e, true, arg, span);
}

Value builtin_min(Elab *e, const Value arg[], Span span)
{
    return extreme(e, false, arg, span);
}

Value builtin_argmax(Elab *e, const Value arg[], Span span)
{
    int axis;
    Inst *x = builtin_tensor(e, arg[0], "argmax", span);
    if (!x || !elab_axis(e, arg[1], x->type.rank, &axis, span))
        return value_poison();
    Attr attr = {.whole = axis};
    return value_class(elab_emit(e, OP_argmax, &x, 1, &attr, (Type){0}, "'argmax'", span),
                       x->type.dim[axis]);
}

static bool axis_list(Elab *e, Value value, int rank, IntList *out, Span span)
{
    ValueList items;
    *out = (IntList){0};
    if (!elab_items(e, value, &items, "the axes", span))
        return false;
    if (items.count > IR_MAX_RANK) {
        report(e->cx, elab_span(e, span), too_large, "the number of axes");
        return false;
    }
    for (int i = 0; i < items.count; i++) {
        int at;
        if (!elab_axis(e, items.at[i], rank, &at, span))
            return false;
        out->at[out->count++] = at;
    }
    return true;
}

Value builtin_dot(Elab *e, const Value arg[], Span span)
{
    Inst *in[] = {builtin_tensor(e, arg[0], "dot", span), builtin_tensor(e, arg[1], "dot", span)};
    if (!in[0] || !in[1])
        return value_poison();
    Attr attr[4];
    for (int i = 0; i < 4; i++)
        if (!axis_list(e, arg[2 + i], in[i % 2]->type.rank, &attr[i].list, span))
            return value_poison();
    return value_tensor(elab_emit(e, OP_dot, in, 2, attr, (Type){0}, "'dot'", span));
}

// ---- making tensors -----------------------------------------------------------------------------

static Value filled(Elab *e, const Value arg[], Span span)
{
    int rank;
    int64_t dim[IR_MAX_RANK];
    TypeValue type = {0};
    if (!elab_shape(e, arg[0], &rank, dim, span))
        return value_poison();
    if (arg[2].kind != VALUE_NONE) {
        if (!builtin_type(e, arg[2], &type, "full", span))
            return value_poison();
    } else
        type.dtype = arg[1].kind == VALUE_INT    ? DTYPE_I32
                     : arg[1].kind == VALUE_BOOL ? DTYPE_BOOL
                                                 : e->real;
    Value value = arg[1];
    if (value.kind == VALUE_BOOL && type.dtype != DTYPE_BOOL)
        value = value_int(value.as.whole);
    Inst *scalar = elab_tensor(e, value, type.dtype, span);
    if (!scalar)
        return value_poison();
    if (scalar->type.rank != 0)
        return builtin_bad(e, "full", span, "the value has to be a scalar");
    double splat;
    if (inst_is_splat(scalar, &splat) && scalar->type.dtype == type.dtype) {
        if (!type_valid(type_make(type.dtype, rank, dim)))
            return value_tensor(elab_full(e, type.dtype, rank, dim, 0, span)); // which says why not
        IrData data = scalar->attr[0].data;
        return value_tensor(ir_constant(e->trace->fn, type_make(type.dtype, rank, dim), data.at,
                                        true, elab_span(e, span)));
    }
    if (arg[2].kind != VALUE_NONE)
        scalar = elab_cast(e, scalar, type.dtype, span);
    if (scalar && !type_valid(type_make(scalar->type.dtype, rank, dim)))
        return value_tensor(elab_full(e, scalar->type.dtype, rank, dim, 0, span));
    return value_tensor(
        elab_broadcast_to(e, scalar, type_make(type.dtype, rank, dim), "'full'", span));
}

Value builtin_full(Elab *e, const Value arg[], Span span)
{
    Value value = filled(e, arg, span);
    bool whole = value_is(value, VALUE_TENSOR) &&
                 dtype_info[value.as.tensor.inst->type.dtype].kind == KIND_INT;
    return whole ? value_class(value.as.tensor.inst, value_classes(arg[1])) : value;
}

Value builtin_like(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "like", span);
    if (!x)
        return value_poison();
    Inst *scalar = elab_tensor(e,
                               arg[1].kind == VALUE_BOOL && x->type.dtype != DTYPE_BOOL
                                   ? value_int(arg[1].as.whole)
                                   : arg[1],
                               x->type.dtype, span);
    if (!scalar)
        return value_poison();
    double splat;
    if (inst_is_splat(scalar, &splat) && scalar->type.dtype == x->type.dtype &&
        scalar->type.rank == 0)
        return value_tensor(
            ir_constant(e->trace->fn, x->type, scalar->attr[0].data.at, true, elab_span(e, span)));
    return value_tensor(
        elab_broadcast_to(e, elab_cast(e, scalar, x->type.dtype, span), x->type, "'like'", span));
}

Value builtin_iota(Elab *e, const Value arg[], Span span)
{
    int rank, axis;
    int64_t dim[IR_MAX_RANK];
    TypeValue type = {.dtype = DTYPE_I32};
    if (!elab_shape(e, arg[0], &rank, dim, span) || !elab_axis(e, arg[1], rank, &axis, span))
        return value_poison();
    if (arg[2].kind != VALUE_NONE && !builtin_type(e, arg[2], &type, "iota", span))
        return value_poison();
    Attr attr = {.whole = axis};
    return value_tensor(
        elab_emit(e, OP_iota, NULL, 0, &attr, type_make(type.dtype, rank, dim), "'iota'", span));
}

Value builtin_range(Elab *e, const Value arg[], Span span)
{
    int64_t n;
    if (!elab_int(e, arg[0], &n, "the argument of 'range'", span))
        return value_poison();
    Attr attr = {.whole = 0};
    return value_class(
        elab_emit(e, OP_iota, NULL, 0, &attr, type_make(DTYPE_I32, 1, &n), "'range'", span), n);
}

Value builtin_random_uniform(Elab *e, const Value arg[], Span span)
{
    Type type = type_scalar(e->real);
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "'random_uniform'");
        return value_poison();
    }
    if (e->real != DTYPE_F32 && e->real != DTYPE_F64)
        type.dtype = DTYPE_F32;
    Inst *seed = elab_scalar(e, AML_SCALAR_SEED, 0, DTYPE_I64, span), *step;
    if (arg[0].kind == VALUE_TENSOR) { // one number for each sample: the sample's position takes
                                       // the place of the step
        if (arg[0].as.tensor.inst->type.rank != 0 ||
            dtype_info[arg[0].as.tensor.inst->type.dtype].kind != KIND_INT)
            return builtin_bad(e, "random_uniform", span,
                               "expected a list of sizes, or the position of a sample");
        step = elab_cast(e, arg[0].as.tensor.inst, DTYPE_I64, span);
        if (step)
            step = elab_draw_key(e, step, elab_span(e, span));
    } else {
        int64_t dim[IR_MAX_RANK];
        int rank;
        if (!elab_shape(e, arg[0], &rank, dim, span))
            return value_poison();
        type = type_make(type.dtype, rank, dim);
        step = elab_scalar(e, SCALAR_DRAW, 0, DTYPE_I64, span);
    }
    Attr attr = {.whole = e->next_site++};
    Inst *in[] = {seed, step};
    return value_tensor(elab_cast(
        e, elab_emit(e, OP_random, in, 2, &attr, type, "'random_uniform'", span), e->real, span));
}
