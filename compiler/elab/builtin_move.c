// builtin_move.c: builtins that move elements, and what can be asked about tensors and the run.

#include "elab/job.h"
#include "elab/builtin.h"

#include <string.h>

static int64_t classes_in(Value x)
{
    return x.kind == VALUE_TENSOR ? x.as.tensor.classes : 0;
}

static Value reshaped(Elab *e, Value x, Inst *inst, Type type, const char *name, Span span)
{
    if (!inst)
        return value_poison();
    if (type_equal(inst->type, type))
        return value_class(inst, classes_in(x));
    return value_class(elab_emit(e, OP_reshape, &inst, 1, NULL, type, name, span), classes_in(x));
}

// ---- shapes -------------------------------------------------------------------------------------

Value builtin_reshape(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "reshape", span);
    ValueList items;
    if (!x || !elab_items(e, arg[1], &items, "the shape", span))
        return value_poison();
    if (items.count > IR_MAX_RANK)
        return builtin_bad(e, "reshape", span, "a tensor has at most 8 axes");
    Type type = {.dtype = x->type.dtype, .rank = items.count};
    int open = -1;
    int64_t known = 1;
    for (int i = 0; i < items.count; i++) {
        bool computed = items.at[i].kind == VALUE_HOLE ||
                        (items.at[i].kind == VALUE_INT && items.at[i].as.whole == -1);
        if (computed && open >= 0)
            return builtin_bad(e, "reshape", span, "only one size can be computed from the others");
        if (computed) {
            open = i;
            continue;
        }
        if (!elab_int(e, items.at[i], &type.dim[i], "a size", span))
            return value_poison();
        if (type.dim[i] < 1 || __builtin_mul_overflow(known, type.dim[i], &known))
            return builtin_bad(e, "reshape", span,
                               "sizes are at least 1 and the tensor has to be addressable");
    }
    int64_t elements = type_elements(x->type);
    if (open >= 0)
        type.dim[open] = elements % known == 0 ? elements / known : 0;
    if (open >= 0 ? elements % known != 0 : known != elements) {
        const char *from = type_text(e->cx->arena, x->type);
        report(e->cx, elab_span(e, span), shape_mismatch, "'reshape'",
               arena_printf(e->cx->arena, "%lld elements", (long long)elements),
               arena_printf(e->cx->arena, "%s, which has %lld", value_show(e, arg[1]),
                            (long long)known));
        note(e->cx, x->span, "the tensor, %s, is made here", from);
        return value_poison();
    }
    return reshaped(e, arg[0], x, type, "'reshape'", span);
}

Value builtin_broadcast_to(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "broadcast_to", span);
    Type type = {0};
    if (!x || !elab_shape(e, arg[1], &type.rank, type.dim, span))
        return value_poison();
    return value_class(elab_broadcast_to(e, x, type, "'broadcast_to'", span), classes_in(arg[0]));
}

static bool whole_list(Elab *e, Value value, IntList *out, Span span)
{
    int rank;
    *out = (IntList){0};
    if (!elab_shape(e, value, &rank, out->at, span))
        return false;
    out->count = rank;
    return true;
}

Value builtin_broadcast(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "broadcast", span);
    Type type = {0};
    Attr attr;
    if (!x || !elab_shape(e, arg[1], &type.rank, type.dim, span) ||
        !whole_list(e, arg[2], &attr.list, span))
        return value_poison();
    type.dtype = x->type.dtype;
    if (type_equal(type, x->type))
        return arg[0];
    return value_class(elab_emit(e, OP_broadcast, &x, 1, &attr, type, "'broadcast'", span),
                       classes_in(arg[0]));
}

Value builtin_transpose(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "transpose", span);
    if (!x)
        return value_poison();
    Attr attr = {.list = {.count = x->type.rank}};
    bool same = true;
    if (arg[1].kind == VALUE_NONE) {
        int rank = x->type.rank;
        if (rank < 2)
            return builtin_bad(e, "transpose", span,
                               arena_printf(e->cx->arena, "expected at least two axes, found %s",
                                            value_what(e, arg[0])));
        for (int i = 0; i < rank; i++)
            attr.list.at[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
        same = false;
    } else {
        ValueList items;
        if (!elab_items(e, arg[1], &items, "the axes", span))
            return value_poison();
        if (items.count != x->type.rank)
            return builtin_bad(e, "transpose", span,
                               arena_printf(e->cx->arena, "expected %d axes, found %d",
                                            x->type.rank, items.count));
        for (int i = 0; i < items.count; i++) {
            int axis;
            if (!elab_axis(e, items.at[i], x->type.rank, &axis, span))
                return value_poison();
            attr.list.at[i] = axis;
            same = same && axis == i;
        }
    }
    return same ? arg[0]
                : value_class(
                      elab_emit(e, OP_transpose, &x, 1, &attr, (Type){0}, "'transpose'", span),
                      classes_in(arg[0]));
}

Value builtin_squeeze(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "squeeze", span);
    int only = -1;
    if (!x || (arg[1].kind != VALUE_NONE && !elab_axis(e, arg[1], x->type.rank, &only, span)))
        return value_poison();
    if (only >= 0 && x->type.dim[only] != 1)
        return builtin_bad(e, "squeeze", span,
                           arena_printf(e->cx->arena, "axis %d of %s has size %lld, expected 1",
                                        only, value_show(e, arg[0]), (long long)x->type.dim[only]));
    Type type = {.dtype = x->type.dtype};
    for (int i = 0; i < x->type.rank; i++)
        if (only >= 0 ? i != only : x->type.dim[i] != 1)
            type.dim[type.rank++] = x->type.dim[i];
    return reshaped(e, arg[0], x, type, "'squeeze'", span);
}

static Inst *with_axis(Elab *e, Inst *x, int axis, const char *name, Span span)
{
    Type type = {.dtype = x->type.dtype, .rank = x->type.rank + 1};
    for (int i = 0; i < type.rank; i++)
        type.dim[i] = i == axis ? 1 : x->type.dim[i - (i > axis)];
    return elab_emit(e, OP_reshape, &x, 1, NULL, type, name, span);
}

Value builtin_expand(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "expand", span);
    int axis;
    if (!x || !elab_axis(e, arg[1], x->type.rank + 1, &axis, span))
        return value_poison();
    if (x->type.rank == IR_MAX_RANK)
        return builtin_bad(e, "expand", span, "a tensor has at most 8 axes");
    return value_class(with_axis(e, x, axis, "'expand'", span), classes_in(arg[0]));
}

Value builtin_slice(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "slice", span);
    Attr attr[3];
    if (!x || !whole_list(e, arg[1], &attr[0].list, span) ||
        !whole_list(e, arg[2], &attr[1].list, span))
        return value_poison();
    attr[2].list = (IntList){.count = x->type.rank};
    for (int i = 0; i < x->type.rank; i++)
        attr[2].list.at[i] = 1;
    if (arg[3].kind != VALUE_NONE && !whole_list(e, arg[3], &attr[2].list, span))
        return value_poison();
    bool whole = attr[0].list.count == x->type.rank && attr[1].list.count == x->type.rank &&
                 attr[2].list.count == x->type.rank;
    for (int i = 0; i < x->type.rank && whole; i++)
        whole = attr[0].list.at[i] == 0 && attr[1].list.at[i] == x->type.dim[i] &&
                attr[2].list.at[i] == 1;
    return whole ? arg[0]
                 : value_class(elab_emit(e, OP_slice, &x, 1, attr, (Type){0}, "'slice'", span),
                               classes_in(arg[0]));
}

Value builtin_pad(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "pad", span);
    Attr attr[2];
    if (!x || !whole_list(e, arg[1], &attr[0].list, span) ||
        !whole_list(e, arg[2], &attr[1].list, span))
        return value_poison();
    bool nothing = attr[0].list.count == x->type.rank && attr[1].list.count == x->type.rank;
    for (int i = 0; i < x->type.rank && nothing; i++)
        nothing = attr[0].list.at[i] == 0 && attr[1].list.at[i] == 0;
    if (nothing)
        return arg[0];
    Value filler = arg[3].kind == VALUE_BOOL && x->type.dtype != DTYPE_BOOL
                       ? value_int(arg[3].as.whole)
                       : arg[3];
    if (filler.kind == VALUE_INT && x->type.dtype == DTYPE_BOOL)
        filler = value_bool(filler.as.whole != 0);
    Inst *in[] = {x, elab_tensor(e, filler, x->type.dtype, span)};
    const Value both[] = {arg[0], filler};
    int64_t classes = dtype_info[x->type.dtype].kind == KIND_INT ? value_classes_of(both, 2) : 0;
    return in[1] ? value_class(elab_emit(e, OP_pad, in, 2, attr, (Type){0}, "'pad'", span), classes)
                 : value_poison();
}

// ---- several tensors ----------------------------------------------------------------------------

// The tensors of a list; numbers take the type of the tensors beside them. NULL after a report.
static Inst **tensors_of(Elab *e, Value list, int *count, const char *name, Span span)
{
    ValueList items;
    if (!elab_items(e, list, &items, "this", span))
        return NULL;
    if (items.count == 0) {
        builtin_bad(e, name, span, "the list is empty");
        return NULL;
    }
    DType dtype = DTYPE_I32;
    bool fixed = false;
    for (int i = 0; i < items.count; i++) {
        if (items.at[i].kind == VALUE_TENSOR && !fixed) {
            dtype = items.at[i].as.tensor.inst->type.dtype;
            fixed = true;
        } else if (!fixed && items.at[i].kind != VALUE_INT)
            dtype = items.at[i].kind == VALUE_BOOL ? DTYPE_BOOL : e->real;
    }
    Inst **out = NEW_ARRAY(e->cx->arena, Inst *, items.count);
    for (int i = 0; i < items.count; i++) {
        out[i] = elab_tensor(e, items.at[i], dtype, span);
        if (!out[i])
            return NULL;
        if (out[i]->type.dtype != dtype) {
            report(e->cx, elab_span(e, span), dtype_mismatch,
                   arena_printf(e->cx->arena, "'%s'", name), dtype_info[dtype].name,
                   dtype_info[out[i]->type.dtype].name);
            return NULL;
        }
    }
    *count = items.count;
    return out;
}

static Value concatenated(Elab *e, Value list, Inst **in, int count, int axis, const char *name,
                          Span span)
{
    ValueList items;
    int64_t classes =
        dtype_info[in[0]->type.dtype].kind == KIND_INT && elab_items(e, list, &items, "this", span)
            ? value_classes_of(items.at, items.count)
            : 0;
    if (count == 1)
        return value_class(in[0], classes);
    Attr attr = {.whole = axis};
    return value_class(elab_emit(e, OP_concat, in, count, &attr, (Type){0}, name, span), classes);
}

Value builtin_concat(Elab *e, const Value arg[], Span span)
{
    int count, axis;
    Inst **in = tensors_of(e, arg[0], &count, "concat", span);
    if (!in || !elab_axis(e, arg[1], in[0]->type.rank, &axis, span))
        return value_poison();
    return concatenated(e, arg[0], in, count, axis, "'concat'", span);
}

Value builtin_stack(Elab *e, const Value arg[], Span span)
{
    int count, axis;
    Inst **in = tensors_of(e, arg[0], &count, "stack", span);
    if (!in || !elab_axis(e, arg[1], in[0]->type.rank + 1, &axis, span))
        return value_poison();
    for (int i = 0; i < count; i++) {
        if (!shape_equal(in[i]->type, in[0]->type)) {
            const char *first = type_text(e->cx->arena, in[0]->type),
                       *other = type_text(e->cx->arena, in[i]->type);
            report(e->cx, elab_span(e, span), shape_mismatch,
                   arena_printf(e->cx->arena, "element %d of 'stack'", i), first, other);
            report_shapes(e->cx, "first", first, "found", other);
            return value_poison();
        }
        if (in[i]->type.rank == IR_MAX_RANK)
            return builtin_bad(e, "stack", span, "a tensor has at most 8 axes");
    }
    Type shape = in[0]->type;
    for (int i = 0; i < count; i++) {
        in[i] = shape.rank == in[i]->type.rank ? with_axis(e, in[i], axis, "'stack'", span) : in[i];
        if (!in[i])
            return value_poison();
    }
    return concatenated(e, arg[0], in, count, axis, "'stack'", span);
}

Value builtin_unstack(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "unstack", span);
    int axis;
    if (!x || !elab_axis(e, arg[1], x->type.rank, &axis, span))
        return value_poison();
    if (x->type.dim[axis] > 4096)
        return builtin_bad(e, "unstack", span, "an axis that long is better left whole");
    Value *parts = NEW_ARRAY(e->cx->arena, Value, x->type.dim[axis]);
    Value *items = NEW_ARRAY(e->cx->arena, Value, x->type.rank);
    for (int i = 0; i < x->type.rank; i++)
        items[i] = (Value){.kind = VALUE_RANGE, .as.range = {0, x->type.dim[i]}};
    for (int64_t i = 0; i < x->type.dim[axis]; i++) {
        items[axis] = value_int(i);
        parts[i] = elab_index(e, arg[0], items, x->type.rank, span);
        if (parts[i].kind == VALUE_POISON)
            return parts[i];
    }
    return value_list(e, (int)x->type.dim[axis], parts);
}

Value builtin_gather(Elab *e, const Value arg[], Span span)
{
    int axis;
    Inst *in[] = {builtin_tensor(e, arg[0], "gather", span),
                  builtin_tensor(e, arg[1], "gather", span)};
    if (!in[0] || !in[1] || !elab_axis(e, arg[2], in[0]->type.rank, &axis, span))
        return value_poison();
    int64_t classes = classes_in(arg[1]);
    if (classes > 0 && classes > in[0]->type.dim[axis]) {
        report(e->cx, elab_span(e, span), class_mismatch, "the index of 'gather'",
               (long long)in[0]->type.dim[axis], (long long)classes);
        return value_poison();
    }
    Attr attr = {.whole = axis};
    return value_class(elab_emit(e, OP_gather, in, 2, &attr, (Type){0}, "'gather'", span),
                       classes_in(arg[0]));
}

Value builtin_scatter_add(Elab *e, const Value arg[], Span span)
{
    int axis;
    Inst *x = builtin_tensor(e, arg[0], "scatter_add", span);
    if (!x || !elab_axis(e, arg[3], x->type.rank, &axis, span))
        return value_poison();
    Inst *in[] = {x, builtin_tensor(e, arg[1], "scatter_add", span),
                  arg[2].kind == VALUE_TENSOR ? arg[2].as.tensor.inst
                                              : elab_tensor(e, arg[2], x->type.dtype, span)};
    if (!in[1] || !in[2])
        return value_poison();
    Attr attr = {.whole = axis};
    return value_tensor(
        elab_emit(e, OP_scatter_add, in, 3, &attr, (Type){0}, "'scatter_add'", span));
}

// ---- about tensors ------------------------------------------------------------------------------

Value builtin_shape(Elab *e, const Value arg[], Span span)
{
    if (value_is_number(arg[0]) || arg[0].kind == VALUE_OPTION || arg[0].kind == VALUE_MEAN)
        return value_list(e, 0, NULL);
    if (arg[0].kind == VALUE_CELL && elab_cell_resolve(e, arg[0].as.cell, span)) {
        Value sizes[IR_MAX_RANK];
        for (int i = 0; i < arg[0].as.cell->type.rank; i++)
            sizes[i] = value_int(arg[0].as.cell->type.dim[i]);
        return value_list(e, arg[0].as.cell->type.rank, sizes);
    }
    Inst *x = builtin_tensor(e, arg[0], "shape", span);
    if (!x)
        return value_poison();
    Value sizes[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        sizes[i] = value_int(x->type.dim[i]);
    return value_list(e, x->type.rank, sizes);
}

Value builtin_rank(Elab *e, const Value arg[], Span span)
{
    Value shape = builtin_shape(e, arg, span);
    return shape.kind == VALUE_POISON ? shape : value_int(shape.as.list.count);
}

Value builtin_size(Elab *e, const Value arg[], Span span)
{
    Value shape = builtin_shape(e, arg, span);
    int64_t size = 1;
    for (int i = 0; shape.kind != VALUE_POISON && i < shape.as.list.count; i++)
        size *= shape.as.list.at[i].as.whole;
    return shape.kind == VALUE_POISON ? shape : value_int(size);
}

Value builtin_dtype(Elab *e, const Value arg[], Span span)
{
    TypeValue type;
    Inst *x = arg[0].kind == VALUE_TENSOR ? arg[0].as.tensor.inst : NULL;
    DType dtype = x                           ? x->type.dtype
                  : arg[0].kind == VALUE_INT  ? DTYPE_I64
                  : arg[0].kind == VALUE_BOOL ? DTYPE_BOOL
                                              : e->real;
    if (!x && !value_is_number(arg[0]) && arg[0].kind != VALUE_BOOL && !elab_is_runtime(arg[0])) {
        builtin_tensor(e, arg[0], "dtype", span);
        return value_poison();
    }
    elab_element_type(e, sym_of(e->cx, dtype_info[dtype].name), &type);
    return elab_type_value(e, &type);
}

Value builtin_classes(Elab *e, const Value arg[], Span span)
{
    if (classes_in(arg[0]) > 0)
        return value_int(classes_in(arg[0]));
    if (arg[0].kind == VALUE_JOB && arg[0].as.job.part && e->job_data) {
        int64_t classes = field_classes(e->job_data, arg[0].as.job.node, arg[0].as.job.part);
        if (classes > 0)
            return value_int(classes);
    }
    return builtin_bad(
        e, "classes", span,
        arena_printf(e->cx->arena, "expected a class(k) tensor, found %s", value_what(e, arg[0])));
}

Value builtin_is_tensor(Elab *e, const Value arg[], Span span)
{
    (void)e, (void)span;
    bool to_be_inferred = value_is(arg[0], VALUE_DIM) && !arg[0].as.dim->known;
    return value_bool(elab_is_runtime(arg[0]) || to_be_inferred);
}

Value builtin_is_list(Elab *e, const Value arg[], Span span)
{
    (void)e, (void)span;
    return value_bool(arg[0].kind == VALUE_LIST);
}

// ---- about the data
// ------------------------------------------------------------------------------

// An input of the job's function that the runtime fills once it has counted the training rows.
Value builtin_class_balance(Elab *e, const Value arg[], Span span)
{
    int64_t classes = classes_in(arg[0]);
    Trace *root = e->trace;
    while (root && root->region)
        root = root->outer;
    if (!root || !root->balanced || root->balanced_classes != classes)
        return builtin_bad(e, "class_balance", span,
                           arena_printf(e->cx->arena,
                                        "expected the target 'y' of a data set, which has to be "
                                        "class(k); found %s",
                                        value_what(e, arg[0])));
    if (!root->balance) {
        Trace *inner = e->trace;
        e->trace = root;
        Value made = elab_trace_input(e, type_make(DTYPE_F32, 1, &classes), 0,
                                      sym_printf(e->cx, "%s.balance", root->balanced), span);
        root->balance = made.as.tensor.inst;
        e->trace = inner;
    }
    return value_tensor(elab_cast(e, root->balance, e->real, span));
}

// ---- about the run ------------------------------------------------------------------------------

static Value scalar_value(Elab *e, aml_scalar_kind kind, DType dtype, Span span)
{
    return value_tensor(elab_cast(e, elab_scalar(e, kind, 0, dtype, span), e->real, span));
}

Value builtin_step(Elab *e, const Value arg[], Span span)
{
    (void)arg;
    return scalar_value(e, AML_SCALAR_STEP, DTYPE_I64, span);
}

Value builtin_total_steps(Elab *e, const Value arg[], Span span)
{
    (void)arg;
    return scalar_value(e, AML_SCALAR_TOTAL_STEPS, DTYPE_I64, span);
}

Value builtin_tried_rate(Elab *e, const Value arg[], Span span)
{
    (void)arg;
    return scalar_value(e, AML_SCALAR_RATE, DTYPE_F64, span);
}

Value builtin_steps(Elab *e, const Value arg[], Span span)
{
    Value duration = arg[0];
    if (duration.kind != VALUE_QUANTITY || duration.as.quantity.unit == AML_UNIT_BYTES ||
        duration.as.quantity.unit == AML_UNIT_FRACTION)
        return builtin_bad(
            e, "steps", span,
            arena_printf(e->cx->arena, "expected a duration, found %s", value_what(e, duration)));
    if (duration.as.quantity.option >= 0) // the runtime hands it over in steps
        return value_tensor(
            elab_scalar(e, AML_SCALAR_OPTION, duration.as.quantity.option, e->real, span));
    double value = duration.as.quantity.value;
    if (duration.as.quantity.unit == AML_UNIT_STEPS)
        return value == (double)(int64_t)value ? value_int((int64_t)value) : value_real(value);
    if (duration.as.quantity.unit == AML_UNIT_SECONDS)
        return builtin_bad(
            e, "steps", span,
            "expected a duration in steps or epochs: how many steps a time has is not known");
    Inst *epoch =
        elab_cast(e, elab_scalar(e, AML_SCALAR_EPOCH_STEPS, 0, DTYPE_F64, span), e->real, span);
    return epoch ? elab_binary(e, OPER_MUL, value_tensor(epoch), value_real(value), span)
                 : value_poison();
}
