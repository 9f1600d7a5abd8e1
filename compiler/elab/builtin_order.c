// builtin_order.c: builtins that follow the order of an axis: sorting, running values, picking
// along it.

#include "elab/builtin.h"

static int64_t classes_in(Value x)
{
    return x.kind == VALUE_TENSOR ? x.as.tensor.classes : 0;
}

// Exchanges an axis with the last one.
static Inst *with_last(Elab *e, Inst *x, int axis, const char *name, Span span)
{
    int last = x->type.rank - 1;
    if (axis == last)
        return x;
    Attr attr = {.list = {.count = x->type.rank}};
    for (int i = 0; i <= last; i++)
        attr.list.at[i] = i == axis ? last : i == last ? axis : i;
    return elab_emit(e, OP_transpose, &x, 1, &attr, (Type){0}, name, span);
}

Value builtin_argsort(Elab *e, const Value arg[], Span span)
{
    int axis;
    bool descending;
    Inst *x = builtin_tensor(e, arg[0], "argsort", span);
    if (!x || !elab_axis(e, arg[1], x->type.rank, &axis, span) ||
        !elab_truth(e, arg[2], &descending, span))
        return value_poison();
    Attr attr = {.whole = descending};
    Inst *rows = with_last(e, x, axis, "'argsort'", span);
    Inst *order =
        rows ? elab_emit(e, OP_argsort, &rows, 1, &attr, (Type){0}, "'argsort'", span) : NULL;
    if (order)
        order = with_last(e, order, axis, "'argsort'", span);
    return value_class(order, x->type.dim[axis]);
}

// Without the element's own part: the values move on by one place, and the fold of nothing comes
// first.
static Inst *moved_on(Elab *e, Reducer with, Inst *sums, int axis, bool reverse, const char *name,
                      Span span)
{
    Attr cut[3], around[2];
    Type type = sums->type;
    for (int i = 0; i < 3; i++)
        cut[i].list = (IntList){.count = type.rank};
    for (int i = 0; i < 2; i++)
        around[i].list = (IntList){.count = type.rank};
    for (int i = 0; i < type.rank; i++) {
        cut[1].list.at[i] = type.dim[i];
        cut[2].list.at[i] = 1;
    }
    Inst *nothing = elab_full(e, type.dtype, 0, NULL, with == REDUCE_PROD, span);
    if (type.dim[axis] == 1 || !nothing)
        return nothing ? elab_broadcast_to(e, nothing, type, name, span) : NULL;
    if (reverse)
        cut[0].list.at[axis] = 1;
    else
        cut[1].list.at[axis]--;
    around[reverse].list.at[axis] = 1;
    Inst *kept = elab_emit(e, OP_slice, &sums, 1, cut, (Type){0}, name, span);
    Inst *in[] = {kept, nothing};
    return kept ? elab_emit(e, OP_pad, in, 2, around, (Type){0}, name, span) : NULL;
}

static Value running(Elab *e, Reducer with, const char *name, const Value arg[], Span span)
{
    int axis;
    bool exclusive, reverse;
    const char *shown = arena_printf(e->cx->arena, "'%s'", name);
    Inst *x = builtin_tensor(e, arg[0], name, span);
    if (!x || !elab_axis(e, arg[1], x->type.rank, &axis, span) ||
        !elab_truth(e, arg[2], &exclusive, span) || !elab_truth(e, arg[3], &reverse, span))
        return value_poison();
    if (exclusive && (with == REDUCE_MAX || with == REDUCE_MIN))
        return builtin_bad(e, name, span, "the first element has nothing before it");
    Attr attr[] = {{.reducer = with}, {.whole = axis}, {.whole = reverse}};
    Inst *sums = elab_emit(e, OP_cumulate, &x, 1, attr, (Type){0}, shown, span);
    if (sums && exclusive)
        sums = moved_on(e, with, sums, axis, reverse, shown, span);
    return sums ? value_tensor(sums) : value_poison();
}

#define RUNNING(name, reducer)                                                                     \
    Value builtin_##name(Elab *e, const Value arg[], Span span)                                    \
    {                                                                                              \
        return running(e, reducer, #name, arg, span);                                              \
    }
RUNNING(cumsum, REDUCE_SUM)
RUNNING(cumprod, REDUCE_PROD)
RUNNING(cummax, REDUCE_MAX)
RUNNING(cummin, REDUCE_MIN)
#undef RUNNING

Value builtin_take_along(Elab *e, const Value arg[], Span span)
{
    int axis;
    Inst *in[] = {builtin_tensor(e, arg[0], "take_along", span),
                  builtin_tensor(e, arg[1], "take_along", span)};
    if (!in[0] || !in[1] || !elab_axis(e, arg[2], in[0]->type.rank, &axis, span))
        return value_poison();
    int64_t classes = classes_in(arg[1]);
    if (classes > in[0]->type.dim[axis]) {
        report(e->cx, elab_span(e, span), class_mismatch, "the index of 'take_along'",
               (long long)in[0]->type.dim[axis], (long long)classes);
        return value_poison();
    }
    Attr attr = {.whole = axis};
    return value_class(elab_emit(e, OP_take_along, in, 2, &attr, (Type){0}, "'take_along'", span),
                       classes_in(arg[0]));
}

Value builtin_add_along(Elab *e, const Value arg[], Span span)
{
    int axis;
    Inst *x = builtin_tensor(e, arg[0], "add_along", span);
    if (!x || !elab_axis(e, arg[3], x->type.rank, &axis, span))
        return value_poison();
    Inst *in[] = {x, builtin_tensor(e, arg[1], "add_along", span),
                  builtin_tensor(e, arg[2], "add_along", span)};
    if (!in[1] || !in[2])
        return value_poison();
    Attr attr = {.whole = axis};
    return value_tensor(elab_emit(e, OP_add_along, in, 3, &attr, (Type){0}, "'add_along'", span));
}
