// decode_loop.c: loops of forward in the derived function.
//
// A loop over layers carries slices; its body is derived like a function, and caches of the body
// are slices of caches that hold those of all turns. A loop through time takes one turn (or as many
// as a slice is wide) from the state that was kept of the position before.

#include "elab/decode_parts.h"

#include <string.h>

// The body's parameters before what is the same in each turn: the turn, what is carried, slices.
static bool begin_body(Deriving *d, int carried, int sliced)
{
    for (int i = 0; i < 1 + carried + sliced; i++) {
        const Inst *param = d->from->param.at[i];
        const Asked *asked = &d->asked[param->id];
        Type type = param->type;
        int time = decode_only_axis(asked->times);
        if (asked->depends && (i > carried || time < 0))
            return false;
        if (asked->depends)
            type.dim[time] = d->width;
        d->param[i].inst =
            ir_param(d->fn, type, d->from->param_slot.at[i], param->name, param->span);
    }
    Span span = d->from->span;
    Rest rest = {ir_param(d->fn, type_scalar(DTYPE_I64), (Slot){0}, d->outer->position->name, span),
                 d->outer->position};
    vec_push(d->arena, &d->rest, rest);
    d->position = rest.param;
    if (d->width == 1) {
        d->index = decode_positions(d, span);
        return true;
    }
    Rest index = {ir_param(d->fn, d->outer->index->type, (Slot){0}, NULL, span), d->outer->index};
    vec_push(d->arena, &d->rest, index);
    d->index = index.param;
    return true;
}

// Derives the body: its results are the carried values and the caches that they need. False: it
// cannot be.
static bool derive_body(Deriving *d, int carried, int sliced)
{
    if (!begin_body(d, carried, sliced))
        return false;
    for (int i = 0; i < carried; i++) {
        const Inst *value = d->from->result.at[i].value;
        const Asked *param = &d->asked[d->from->param.at[i + 1]->id];
        Part part = decode_ask(d, value, param->depends ? decode_only_axis(param->times) : WHOLE);
        if (!part.inst || !part_is_known(&part))
            return false;
        ir_result(d->fn, part.inst, (Slot){0}, d->from->result.at[i].name);
    }
    const bool *needed = decode_needed(d);
    int kept = 0;
    for (int i = 0; i < d->cached.count; i++)
        if (needed[d->cached.at[i].reader->id])
            d->cached.at[kept++] = d->cached.at[i];
    d->cached.count = kept;
    for (int i = 0; i < kept; i++)
        ir_result(d->fn, d->cached.at[i].update, (Slot){0}, NULL);
    decode_drop_dead(d->fn);
    kept = 0;
    for (int i = 0; i < d->rest.count; i++)
        if (d->rest.at[i].param->uses > 0)
            d->rest.at[kept++] = d->rest.at[i];
    d->rest.count = kept;
    // in order: the turn, what is carried, slices, of caches too, the rest
    Vec(Inst *) param = {0};
    for (int i = 0; i < 1 + carried + sliced; i++)
        vec_push(d->arena, &param, d->param[i].inst);
    for (int i = 0; i < d->cached.count; i++)
        vec_push(d->arena, &param, d->cached.at[i].param);
    for (int i = 0; i < d->rest.count; i++)
        vec_push(d->arena, &param, d->rest.at[i].param);
    for (int i = 0; i < param.count; i++) {
        param.at[i]->attr[0].whole = i;
        d->fn->param.at[i] = param.at[i];
        d->fn->param_slot.at[i] = (Slot){0};
    }
    d->fn->param.count = d->fn->param_slot.count = param.count;
    return true;
}

static Type stacked(Type type, int64_t count)
{
    Type out = {type.dtype, type.rank + 1, {count}};
    memcpy(out.dim + 1, type.dim, sizeof type.dim[0] * (size_t)type.rank);
    return out;
}

// The loop that carries slices. NULL: there is none.
static Inst *derive_loop(Deriving *outer, const Inst *loop)
{
    const Attr *attr = loop->attr;
    int carried = (int)attr[LOOP_CARRIED].whole, sliced = (int)attr[LOOP_SLICED].whole;
    const IrFunction *from = inst_nested(loop);
    Deriving body = {.cx = outer->cx,
                     .arena = outer->arena,
                     .from = from,
                     .fn = ir_function_new(outer->cx, NULL, NULL, from->span),
                     .width = outer->width,
                     .attends = outer->attends,
                     .mixed = outer->mixed,
                     .asked = outer->asked,
                     .param = NEW_ARRAY(outer->arena, Part, from->param.count + 1),
                     .outer = outer,
                     .loop = loop};
    bool derived = !attr[LOOP_GUARD].whole && derive_body(&body, carried, sliced);
    outer->turns |= body.turns;
    if (!derived) {
        if (body.why && !outer->why)
            outer->why = body.why, outer->where = body.where;
        return NULL;
    }
    Vec(Inst *) in = {0};
    for (int i = 0; i < carried + sliced; i++) {
        const Asked *asked = &outer->asked[loop->input[i]->id];
        const Asked *param = &outer->asked[from->param.at[i + 1]->id];
        bool slice = i < carried && param->depends;
        Part part =
            decode_ask(outer, loop->input[i], slice ? decode_only_axis(param->times) : WHOLE);
        if (!part.inst || (asked->depends && !part_is_known(&part)))
            return NULL;
        vec_push(outer->arena, &in, part.inst);
    }
    for (int i = 0; i < body.cached.count; i++)
        if (body.cached.at[i].param->type.rank == IR_MAX_RANK)
            return NULL;
    int first = outer->cached.count;
    for (int i = 0; i < body.cached.count; i++) {
        const Cached *cached = &body.cached.at[i];
        Cached all = {.of = cached->of};
        all.param = ir_param(outer->fn, stacked(cached->param->type, attr[LOOP_COUNT].whole),
                             (Slot){SLOT_STATE, 0}, NULL, cached->of->span);
        vec_push(outer->arena, &outer->cached, all);
        vec_push(outer->arena, &in, all.param);
    }
    for (int i = 0; i < body.rest.count; i++)
        vec_push(outer->arena, &in, body.rest.at[i].outside);
    Attr *made = arena_copy(outer->arena, attr, sizeof loop->attr);
    made[LOOP_SLICED].whole += body.cached.count;
    made[LOOP_BODY].function = body.fn;
    Inst *out = ir_append(outer->fn, OP_loop, in.at, in.count, made, (Type){0}, loop->span);
    for (int i = 0; i < body.cached.count; i++) {
        Cached *cached = &outer->cached.at[first + i];
        cached->reader = out;
        cached->update = out->results == 1 ? out : ir_get(outer->fn, out, carried + i, loop->span);
    }
    return out;
}

// The value that a loop through time carries into the position: what was kept of the one before it,
// and at the first one what it begins with.
static Inst *carried_to(Deriving *d, const Inst *start, Cached *cached)
{
    Part begin = decode_ask(d, start, WHOLE);
    if (!begin.inst || d->asked[start->id].depends)
        return NULL;
    int64_t zero = 0;
    Type type = start->type, flags = type;
    flags.dtype = DTYPE_BOOL;
    Inst *none = ir_constant(d->fn, type_scalar(DTYPE_I64), &zero, true, start->span);
    Inst *is_first = ir_binary(d->fn, OP_eq, d->position, none, start->span);
    if (type.rank > 0)
        is_first = ir_broadcast(d->fn, is_first, flags, (IntList){0}, start->span);
    *cached = (Cached){.of = start};
    cached->param = ir_param(d->fn, type, (Slot){SLOT_STATE, 0}, NULL, start->span);
    Inst *in[] = {is_first, begin.inst, cached->param};
    return ir_append(d->fn, OP_select, in, 3, NULL, (Type){0}, start->span);
}

// A loop through time as a loop of one turn, from the state behind the position before.
static Inst *derive_turn(Deriving *d, const Inst *loop)
{
    const Attr *attr = loop->attr;
    int carried = (int)attr[LOOP_CARRIED].whole, sliced = (int)attr[LOOP_SLICED].whole;
    const IrFunction *body = inst_nested(loop);
    if (attr[LOOP_GUARD].whole || attr[LOOP_REVERSE].whole || body->param.at[0]->uses > 0)
        return NULL;
    Inst **in = NEW_ARRAY(d->arena, Inst *, loop->inputs + 1);
    int first = d->cached.count;
    for (int i = 0; i < loop->inputs; i++) {
        Cached cached;
        bool is_slice = i >= carried && i < carried + sliced;
        if (i < carried) {
            in[i] = carried_to(d, loop->input[i], &cached);
            if (in[i])
                vec_push(d->arena, &d->cached, cached);
        } else {
            Part part = decode_ask(d, loop->input[i], is_slice ? 0 : WHOLE);
            bool sound = is_slice ? part.inst && part_is_known(&part)
                                  : part.inst && !d->asked[loop->input[i]->id].depends;
            in[i] = sound ? part.inst : NULL;
        }
        if (!in[i])
            return NULL;
    }
    Attr *made = arena_copy(d->arena, attr, sizeof loop->attr);
    made[LOOP_COUNT].whole = d->width;
    d->turns = true;
    made[LOOP_BODY].function = decode_flat(d->cx, body, d->attends);
    Inst *out = ir_append(d->fn, OP_loop, in, loop->inputs, made, (Type){0}, loop->span);
    for (int i = 0, next = first; i < carried; i++, next++) {
        while (d->cached.at[next].of != loop->input[i]) // asking for inputs may have made others
            next++;
        d->cached.at[next].reader = out;
        d->cached.at[next].update = out->results == 1 ? out : ir_get(d->fn, out, i, loop->span);
    }
    return out;
}

// What a loop through time gives at the position.
static Part make_turn(Deriving *d, const Inst *inst, const Inst *loop, int index, int axis)
{
    Asked *asked = &d->asked[loop->id];
    if (axis != 0 || index < loop->attr[LOOP_CARRIED].whole)
        return decode_refused(d, inst,
                              "what this loop through time ends with is not known before the end");
    if (asked->made == NEW_PART) {
        asked->made = BUSY;
        asked->loop = derive_turn(d, loop);
        asked->made = DONE;
    }
    if (!asked->loop)
        return decode_refused(d, inst,
                              "this loop does not go through time one position after the other");
    Inst *value =
        asked->loop->results == 1 ? asked->loop : ir_get(d->fn, asked->loop, index, inst->span);
    return (Part){.inst = value};
}

// What a loop carries, at the position.
Part decode_loop(Deriving *d, const Inst *inst, int axis)
{
    const Inst *loop = inst->op == OP_get ? inst->input[0] : inst;
    int index = inst->op == OP_get ? (int)inst->attr[0].whole : 0;
    Asked *asked = &d->asked[loop->id];
    const LoopResult *result = &asked->result[index];
    if (decode_in_time(d->asked, loop))
        return make_turn(d, inst, loop, index, axis);
    if (axis == WHOLE || axis != decode_only_axis(result->times) ||
        index >= loop->attr[LOOP_CARRIED].whole)
        return decode_refused(d, inst, "this loop does not go on from where it was");
    if (asked->made == NEW_PART) {
        asked->made = BUSY;
        asked->loop = derive_loop(d, loop);
        asked->made = DONE;
    }
    if (!asked->loop)
        return decode_refused(d, inst, "this loop does not go on from where it was");
    Inst *value =
        asked->loop->results == 1 ? asked->loop : ir_get(d->fn, asked->loop, index, inst->span);
    return (Part){.inst = value};
}
