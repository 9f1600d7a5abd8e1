// static.c: operators on static values, and units.
//
// Ints are exact: what does not fit 64 bits is an error. `/` of two ints is an int if it divides,
// else a real. Units are types: durations add to durations of the same unit, are scaled by numbers
// and divided by each other.

#include "elab/internal.h"

#include <math.h>
#include <string.h>

static Value bad_operands(Elab *e, Oper op, Value a, Value b, Span span)
{
    report(e->cx, span, bad_operand, oper_text[op],
           arena_printf(e->cx->arena, "%s and %s", value_what(e, a), value_what(e, b)));
    return value_poison();
}

static Value overflow(Elab *e, Span span)
{
    report(e->cx, span, too_large, "the result, which has to fit 64 bits,");
    return value_poison();
}

static Value int_power(Elab *e, int64_t base, int64_t exponent, Span span)
{
    int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result))
            return overflow(e, span);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
            return overflow(e, span);
    }
    return value_int(result);
}

static Value compare_ints(Oper op, int64_t a, int64_t b)
{
    return value_bool(op == OPER_LT   ? a < b
                      : op == OPER_LE ? a <= b
                      : op == OPER_GT ? a > b
                                      : a >= b);
}

static Value compare_reals(Oper op, double a, double b)
{
    return value_bool(op == OPER_LT   ? a < b
                      : op == OPER_LE ? a <= b
                      : op == OPER_GT ? a > b
                                      : a >= b);
}

static Value int_op(Elab *e, Oper op, int64_t a, int64_t b, Span span)
{
    int64_t result;
    switch ((int)op) {
    case OPER_ADD:
        return __builtin_add_overflow(a, b, &result) ? overflow(e, span) : value_int(result);
    case OPER_SUB:
        return __builtin_sub_overflow(a, b, &result) ? overflow(e, span) : value_int(result);
    case OPER_MUL:
        return __builtin_mul_overflow(a, b, &result) ? overflow(e, span) : value_int(result);
    case OPER_DIV:
        if (b == 0) {
            report(e->cx, span, division_by_zero);
            return value_poison();
        }
        if (b == -1)
            return __builtin_sub_overflow((int64_t)0, a, &result) ? overflow(e, span)
                                                                  : value_int(result);
        return a % b == 0 ? value_int(a / b) : value_real((double)a / (double)b);
    case OPER_POW:
        return b >= 0 ? int_power(e, a, b, span) : value_real(pow((double)a, (double)b));
    case OPER_LT:
    case OPER_LE:
    case OPER_GT:
    case OPER_GE:
        return compare_ints(op, a, b);
    default:
        return bad_operands(e, op, value_int(a), value_int(b), span);
    }
}

static Value real_op(Elab *e, Oper op, double a, double b, Span span)
{
    switch ((int)op) {
    case OPER_ADD:
        return value_real(a + b);
    case OPER_SUB:
        return value_real(a - b);
    case OPER_MUL:
        return value_real(a * b);
    case OPER_DIV:
        if (b == 0) {
            report(e->cx, span, division_by_zero);
            return value_poison();
        }
        return value_real(a / b);
    case OPER_POW:
        return value_real(pow(a, b));
    case OPER_LT:
    case OPER_LE:
    case OPER_GT:
    case OPER_GE:
        return compare_reals(op, a, b);
    default:
        return bad_operands(e, op, value_real(a), value_real(b), span);
    }
}

Value elab_number_op(Elab *e, Oper op, Value a, Value b, Span span)
{
    if (a.kind == VALUE_INT && b.kind == VALUE_INT)
        return int_op(e, op, a.as.whole, b.as.whole, span);
    return real_op(e, op, value_number(a), value_number(b), span);
}

static Value unit_error(Elab *e, Oper op, Value a, Value b, Span span)
{
    report(e->cx, span, unit_operation, oper_text[op], value_what(e, a), value_what(e, b));
    return value_poison();
}

static Value quantity_op(Elab *e, Oper op, Value a, Value b, Span span)
{
    bool left = a.kind == VALUE_QUANTITY, right = b.kind == VALUE_QUANTITY;
    if ((left && a.as.quantity.option >= 0) || (right && b.as.quantity.option >= 0)) {
        report(e->cx, span, option_as_static, "a duration or size that is computed with",
               value_what(e, left && a.as.quantity.option >= 0 ? a : b));
        return value_poison();
    }
    if (left && right) {
        if (a.as.quantity.unit != b.as.quantity.unit)
            return unit_error(e, op, a, b, span);
        double x = a.as.quantity.value, y = b.as.quantity.value;
        switch ((int)op) {
        case OPER_ADD:
            return value_quantity(x + y, a.as.quantity.unit);
        case OPER_SUB:
            return value_quantity(x - y, a.as.quantity.unit);
        case OPER_DIV:
        case OPER_LT:
        case OPER_LE:
        case OPER_GT:
        case OPER_GE:
            return real_op(e, op, x, y, span);
        default:
            return unit_error(e, op, a, b, span);
        }
    }
    Value number = left ? b : a;
    if (!value_is_number(number) || (op != OPER_MUL && !(op == OPER_DIV && left)))
        return unit_error(e, op, a, b, span);
    if (op == OPER_DIV && value_number(b) == 0) {
        report(e->cx, span, division_by_zero);
        return value_poison();
    }
    aml_unit unit = left ? a.as.quantity.unit : b.as.quantity.unit;
    double x = left ? a.as.quantity.value : value_number(a),
           y = left ? value_number(b) : b.as.quantity.value;
    return value_quantity(op == OPER_MUL ? x * y : x / y, unit);
}

static Value join_texts(Elab *e, Value a, Value b, Span span)
{
    TextValue left = a.as.text, right = b.as.text;
    if (left.parts == 1 && right.parts == 1 && left.part[0].option < 0 &&
        right.part[0].option < 0) {
        if (strlen(left.part[0].text) + strlen(right.part[0].text) > MOST_TEXT) {
            report(e->cx, span, too_large, "this text");
            return value_poison();
        }
        return value_text(
            e, arena_printf(e->cx->scratch, "%s%s", left.part[0].text, right.part[0].text));
    }
    int parts = left.parts + right.parts;
    if (parts > 1000) {
        report(e->cx, span, too_large, "this text");
        return value_poison();
    }
    TextPart *part = NEW_ARRAY(e->cx->arena, TextPart, parts);
    memcpy(part, left.part, sizeof *part * (size_t)left.parts);
    memcpy(part + left.parts, right.part, sizeof *part * (size_t)right.parts);
    return (Value){.kind = VALUE_TEXT, .as.text = {parts, part}};
}

static Value join_lists(Elab *e, Value a, Value b, Span span)
{
    ValueList left, right;
    if (!elab_items(e, a, &left, "a list", span) || !elab_items(e, b, &right, "a list", span))
        return value_poison();
    if (left.count + right.count > MOST_LIST || !elab_tick(e, span, left.count + right.count)) {
        report(e->cx, span, too_large, "this list");
        return value_poison();
    }
    ValueList joined = {left.count + right.count,
                        NEW_ARRAY(e->cx->arena, Value, left.count + right.count + 1)};
    if (left.count)
        memcpy(joined.at, left.at, sizeof(Value) * (size_t)left.count);
    if (right.count)
        memcpy(joined.at + left.count, right.at, sizeof(Value) * (size_t)right.count);
    return (Value){.kind = VALUE_LIST, .as.list = joined};
}

static bool is_list(Value v)
{
    return v.kind == VALUE_LIST || v.kind == VALUE_RANGE;
}

// Applies to each tensor of a tree of gradients: a tree with a number, or two trees of the same
// weights.
static Value tree_op(Elab *e, Oper op, Value a, Value b, Span span)
{
    TreeValue *left = a.kind == VALUE_TREE ? a.as.tree : NULL,
              *right = b.kind == VALUE_TREE ? b.as.tree : NULL;
    TreeValue *shape = left ? left : right;
    Inst **at = NEW_ARRAY(e->cx->arena, Inst *, shape->count + 1);
    for (int i = 0; i < shape->count; i++) {
        if (left && right && (left->count != right->count || left->cell[i] != right->cell[i]))
            return bad_operands(e, op, a, b, span);
        Value value = elab_binary(e, op, left ? value_tensor(left->at[i]) : a,
                                  right ? value_tensor(right->at[i]) : b, span);
        if (value.kind != VALUE_TENSOR)
            return value_poison();
        at[i] = value.as.tensor.inst;
    }
    return value_tree(e, shape->count, shape->cell, at);
}

static Value known_size(Value v)
{
    if (v.kind == VALUE_DIM && v.as.dim->known)
        return value_int(v.as.dim->value);
    return v;
}

static Value binary_tensor(Elab *e, Oper op, Value a, Value b, Span span);

Value elab_binary(Elab *e, Oper op, Value a, Value b, Span span)
{
    if (a.kind == VALUE_POISON || b.kind == VALUE_POISON || !elab_tick(e, span, 1))
        return value_poison();
    a = known_size(a);
    b = known_size(b);
    if (a.kind == VALUE_DIM || b.kind == VALUE_DIM) {
        Dim *dim = a.kind == VALUE_DIM ? a.as.dim : b.as.dim;
        if ((op == OPER_EQ || op == OPER_NE) && (a.kind == VALUE_NONE || b.kind == VALUE_NONE))
            return value_bool(op == OPER_NE);
        report(e->cx, span, size_not_known, dim->name ? dim->name : "_");
        note(e->cx, dim->declared, "to be inferred, declared here");
        return value_poison();
    }
    if ((a.kind == VALUE_TREE && b.kind == VALUE_INSTANCE) ||
        (a.kind == VALUE_INSTANCE && b.kind == VALUE_TREE))
        return elab_model_op(e, op, a, b, span);
    if (a.kind == VALUE_TREE || b.kind == VALUE_TREE)
        return tree_op(e, op, a, b, span);
    if (op == OPER_MATMUL)
        return binary_tensor(e, op, a, b, span);
    bool runtime = elab_is_runtime(a) || elab_is_runtime(b);
    bool can_meet = (elab_is_runtime(a) || value_is_number(a) || a.kind == VALUE_BOOL) &&
                    (elab_is_runtime(b) || value_is_number(b) || b.kind == VALUE_BOOL);
    if (runtime && can_meet)
        return binary_tensor(e, op, a, b, span);
    if (op == OPER_EQ || op == OPER_NE)
        return value_bool(value_equal(e, a, b) == (op == OPER_EQ));
    if (op == OPER_AND || op == OPER_OR) {
        if (a.kind != VALUE_BOOL || b.kind != VALUE_BOOL)
            return bad_operands(e, op, a, b, span);
        return value_bool(op == OPER_AND ? a.as.whole && b.as.whole : a.as.whole || b.as.whole);
    }
    if (value_is_number(a) && value_is_number(b))
        return elab_number_op(e, op, a, b, span);
    if (a.kind == VALUE_QUANTITY || b.kind == VALUE_QUANTITY)
        return quantity_op(e, op, a, b, span);
    if (op == OPER_ADD && (a.kind == VALUE_TEXT || a.kind == VALUE_SYMBOL) &&
        (b.kind == VALUE_TEXT || b.kind == VALUE_SYMBOL))
        return join_texts(e, a.kind == VALUE_SYMBOL ? value_text(e, a.as.symbol) : a,
                          b.kind == VALUE_SYMBOL ? value_text(e, b.as.symbol) : b, span);
    if (op == OPER_ADD && is_list(a) && is_list(b))
        return join_lists(e, a, b, span);
    if (op == OPER_MUL && a.kind == VALUE_LIST && b.kind == VALUE_INT && b.as.whole >= 0) {
        Value joined = value_list(e, 0, NULL);
        for (int64_t i = 0; i < b.as.whole && joined.kind == VALUE_LIST && elab_tick(e, span, 1);
             i++)
            joined = join_lists(e, joined, a, span);
        return joined;
    }
    return bad_operands(e, op, a, b, span);
}

Value elab_unary(Elab *e, Oper op, Value a, Span span)
{
    if (a.kind == VALUE_POISON)
        return a;
    a = known_size(a);
    if (op == OPER_NOT) {
        if (a.kind == VALUE_BOOL)
            return value_bool(!a.as.whole);
        if (elab_is_runtime(a)) {
            Inst *inst = elab_tensor(e, a, DTYPE_BOOL, span);
            if (!inst)
                return value_poison();
            if (inst->type.dtype == DTYPE_BOOL)
                return value_tensor(elab_emit(e, OP_not, &inst, 1, NULL, (Type){0}, "'not'", span));
        }
        report(e->cx, span, bad_operand, "not", value_what(e, a));
        return value_poison();
    }
    if (a.kind == VALUE_INT) {
        if (a.as.whole == INT64_MIN)
            return overflow(e, span);
        return value_int(-a.as.whole);
    }
    if (a.kind == VALUE_REAL)
        return value_real(-a.as.real);
    if (a.kind == VALUE_QUANTITY && a.as.quantity.option < 0) {
        a.as.quantity.value = -a.as.quantity.value;
        return a;
    }
    if (a.kind == VALUE_TREE)
        return elab_binary(e, OPER_MUL, a, value_int(-1), span);
    if (elab_is_runtime(a)) {
        Inst *inst = elab_tensor(e, a, e->real, span);
        if (!inst)
            return value_poison();
        if (inst->type.dtype != DTYPE_BOOL)
            return value_tensor(elab_emit(e, OP_neg, &inst, 1, NULL, (Type){0}, "'-'", span));
    }
    report(e->cx, span, bad_operand, "-", value_what(e, a));
    return value_poison();
}

// ---- at least one operand is a tensor -----------------------------------------------------------

static Value true_division(Elab *e, Inst *x, Inst *y, Span span)
{
    if (dtype_info[x->type.dtype].kind == KIND_INT) {
        DType wide = dtype_info[x->type.dtype].bytes >= 4 ? DTYPE_F64 : e->real;
        x = elab_cast(e, x, wide, span);
        y = elab_cast(e, y, wide, span);
        Inst *in[] = {x, y};
        Inst *quotient = elab_emit(e, OP_div, in, 2, NULL, (Type){0}, "'/'", span);
        return value_tensor(quotient ? elab_cast(e, quotient, e->real, span) : NULL);
    }
    Inst *in[] = {x, y};
    return value_tensor(elab_emit(e, OP_div, in, 2, NULL, (Type){0}, "'/'", span));
}

// x ** n by multiplying: exact for integers, and much faster than a power for the small exponents.
static Value whole_power(Elab *e, Inst *x, int64_t exponent, Span span)
{
    Inst *result = NULL, *square = x;
    for (; exponent > 0; exponent >>= 1) {
        Inst *with_result[] = {result, square}, *twice[] = {square, square};
        if (exponent & 1)
            result = result ? elab_emit(e, OP_mul, with_result, 2, NULL, (Type){0}, "'**'", span)
                            : square;
        if (exponent > 1)
            square = elab_emit(e, OP_mul, twice, 2, NULL, (Type){0}, "'**'", span);
        if (!result && !square)
            return value_poison();
    }
    return value_tensor(result);
}

static bool is_whole_power(Oper op, Value a, Value b)
{
    if (op != OPER_POW || a.kind != VALUE_TENSOR || b.kind != VALUE_INT)
        return false;
    DTypeKind kind = dtype_info[a.as.tensor.inst->type.dtype].kind;
    return b.as.whole >= 1 && b.as.whole <= (kind == KIND_INT ? 62 : kind == KIND_FLOAT ? 4 : 0);
}

static Value binary_tensor(Elab *e, Oper op, Value a, Value b, Span span)
{
    const char *what = e->names->quoted[op];
    if (op == OPER_MATMUL) {
        if (a.kind != VALUE_TENSOR || b.kind != VALUE_TENSOR)
            return bad_operands(e, op, a, b, span);
        return value_tensor(elab_matmul(e, a.as.tensor.inst, b.as.tensor.inst, span));
    }
    if (is_whole_power(op, a, b))
        return whole_power(e, a.as.tensor.inst, b.as.whole, span);
    // A tensor of ints divided by a fraction is a division of floats, however the fraction is
    // written.
    if (op == OPER_DIV && a.kind == VALUE_TENSOR && b.kind == VALUE_REAL &&
        dtype_info[a.as.tensor.inst->type.dtype].kind == KIND_INT) {
        report(e->cx, span, fraction_for_integer, what, value_show(e, b),
               dtype_info[a.as.tensor.inst->type.dtype].name);
        help(e->cx, "convert the tensor with `float(...)`");
        return value_poison();
    }
    Inst *x, *y;
    if (!elab_pair(e, a, b, &x, &y, true, what, span))
        return value_poison();
    bool logical = op == OPER_AND || op == OPER_OR, equality = op == OPER_EQ || op == OPER_NE;
    DTypeKind kind = dtype_info[x->type.dtype].kind;
    if (logical != (kind == KIND_BOOL) && !(equality && kind == KIND_BOOL)) {
        report(e->cx, span, bad_operand, oper_text[op],
               arena_printf(e->cx->arena, "%s and %s", value_what(e, a), value_what(e, b)));
        if (kind == KIND_BOOL)
            help(e->cx, "convert truths to numbers with `float(...)` or `i64(...)`");
        return value_poison();
    }
    Inst *in[] = {x, y}, *swapped[] = {y, x};
    Op tensor_op;
    switch ((int)op) {
    case OPER_ADD:
        tensor_op = OP_add;
        break;
    case OPER_SUB:
        tensor_op = OP_sub;
        break;
    case OPER_MUL:
        tensor_op = OP_mul;
        break;
    case OPER_DIV:
        return true_division(e, x, y, span);
    case OPER_POW:
        tensor_op = OP_pow;
        break;
    case OPER_EQ:
        tensor_op = OP_eq;
        break;
    case OPER_NE:
        tensor_op = OP_ne;
        break;
    case OPER_LT:
        tensor_op = OP_lt;
        break;
    case OPER_LE:
        tensor_op = OP_le;
        break;
    case OPER_GT:
        return value_tensor(elab_emit(e, OP_lt, swapped, 2, NULL, (Type){0}, what, span));
    case OPER_GE:
        return value_tensor(elab_emit(e, OP_le, swapped, 2, NULL, (Type){0}, what, span));
    case OPER_AND:
        tensor_op = OP_and;
        break;
    case OPER_OR:
        tensor_op = OP_or;
        break;
    default:
        return bad_operands(e, op, a, b, span);
    }
    return value_tensor(elab_emit(e, tensor_op, in, 2, NULL, (Type){0}, what, span));
}
