// builtin_accumulate.c: a batch in parts, one after the other in a loop of the program, so that
// what is kept for the gradient is that of one part.
//
// What the function gives for each part (sums, counts, gradients) is added up. States that it
// updates (running statistics) go from part to part, as in any loop.

#include "elab/builtin.h"

#include <string.h>

typedef Vec(Inst *) InstList;

// The tensors of a result: tuples, lists and trees of them.
static bool collect(Elab *e, Value value, InstList *out, Span span)
{
    if (value.kind == VALUE_TUPLE || value.kind == VALUE_LIST) {
        for (int i = 0; i < value.as.list.count; i++)
            if (!collect(e, value.as.list.at[i], out, span))
                return false;
        return true;
    }
    if (value.kind == VALUE_TREE) {
        for (int i = 0; i < value.as.tree->count; i++)
            vec_push(e->cx->arena, out, value.as.tree->at[i]);
        return true;
    }
    Inst *inst = elab_tensor_for(e, "what 'accumulate' adds up", value, e->real, span);
    vec_push(e->cx->arena, out, elab_capture(e, inst));
    return inst != NULL;
}

static Value rebuilt(Elab *e, Value value, Inst *const at[], int *next)
{
    if (value.kind == VALUE_TREE) {
        *next += value.as.tree->count;
        return value_tree(e, value.as.tree->count, value.as.tree->cell,
                          at + *next - value.as.tree->count);
    }
    if (value.kind != VALUE_TUPLE && value.kind != VALUE_LIST)
        return value_tensor(at[(*next)++]);
    Value out = value_list(e, value.as.list.count, value.as.list.at);
    out.kind = value.kind;
    for (int i = 0; i < out.as.list.count; i++)
        out.as.list.at[i] = rebuilt(e, out.as.list.at[i], at, next);
    return out;
}

// [batch, ...] as [parts, batch / parts, ...]. NULL after a report.
static Inst *divided(Elab *e, Value value, int64_t parts, Span span)
{
    if (value.kind != VALUE_TENSOR || value.as.tensor.inst->type.rank == 0 ||
        value.as.tensor.inst->type.rank >= IR_MAX_RANK) {
        builtin_bad(
            e, "accumulate", span,
            arena_printf(e->cx->arena, "a batch is a tensor, found %s", value_what(e, value)));
        return NULL;
    }
    Inst *whole = value.as.tensor.inst;
    Type type = whole->type;
    if (type.dim[0] % parts) {
        report(e->cx, elab_span(e, span), accumulate_parts, (long long)type.dim[0],
               (long long)parts);
        return NULL;
    }
    memmove(type.dim + 2, type.dim + 1, sizeof type.dim[0] * (size_t)(type.rank - 1));
    type.dim[1] = type.dim[0] / parts;
    type.dim[0] = parts;
    type.rank++;
    return elab_emit(e, OP_reshape, &whole, 1, NULL, type, "'accumulate'", span);
}

// sum <- sum + what this turn gave, from 0 on.
static Inst *add_up(Elab *e, Trace *outer, Trace *loop, Inst *value, Span span)
{
    e->trace = outer;
    Inst *zero = elab_full(e, value->type.dtype, value->type.rank, value->type.dim, 0, span);
    e->trace = loop;
    Inst *sum = elab_region_carry(e, zero), *in[] = {sum, value};
    Inst *next = elab_emit(e, OP_add, in, 2, NULL, (Type){0}, "'accumulate'", span);
    if (next)
        elab_region_next(e, sum, next);
    return next ? sum : NULL;
}

Value builtin_accumulate(Elab *e, const Value arg[], Span span)
{
    int64_t parts;
    ValueList xs;
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "'accumulate'");
        return value_poison();
    }
    if (!elab_int(e, arg[2], &parts, "the number of parts of a batch", span) ||
        !elab_items(e, arg[1], &xs, "the batch of 'accumulate'", span))
        return value_poison();
    if (parts < 1)
        return builtin_bad(e, "accumulate", span, "a batch has at least 1 part");
    Inst **whole = NEW_ARRAY(e->cx->arena, Inst *, xs.count + 1);
    for (int i = 0; i < xs.count; i++)
        if (!(whole[i] = divided(e, xs.at[i], parts, span)))
            return value_poison();

    Trace *outer = e->trace, *loop = elab_region_begin(e, parts, span);
    Value *slice = NEW_ARRAY(e->cx->arena, Value, xs.count + 1);
    for (int i = 0; i < xs.count; i++)
        slice[i] = value_class(elab_region_slice(e, whole[i]), xs.at[i].as.tensor.classes);
    Value list = value_list(e, xs.count, slice), value;
    InstList each = {0}, sums = {0}, after = {0};
    value = elab_call(e, arg[0], &list, NULL, 1, span);
    bool fine = value.kind != VALUE_POISON && collect(e, value, &each, span);
    for (int i = 0; i < each.count && fine; i++) {
        vec_push(e->cx->arena, &sums, add_up(e, outer, loop, each.at[i], span));
        fine = sums.at[i] != NULL;
    }
    if (!elab_region_close(e, loop, fine) || !elab_region_emit(e, loop))
        return value_poison();
    for (int i = 0; i < sums.count; i++)
        vec_push(e->cx->arena, &after, elab_region_after(e, loop, sums.at[i]));
    int next = 0;
    return rebuilt(e, value, after.at, &next);
}
