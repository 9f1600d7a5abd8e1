// decode.c: a function of one more element from a function of a sequence.
//
// Every value of `forward` is asked for in one of two ways: as a whole, or as the slice at the
// position along one axis. The result is asked for as a slice along the axis of time. An operation
// that works on each position alone passes the question on: a slice of a sum needs slices. Where
// positions meet, in a product of queries with all keys, one operand is asked for as a whole: its
// slice is computed and put into a cache, a state that holds those of all positions so far.
//
// Of a whole that depends on tokens, what lies beyond the position is not known yet: the cache
// holds zeros there. So each derived value says, for each axis, what is known of its elements
// beyond the position (`Beyond`), and a fold over an axis is allowed only where these elements
// cannot matter: weights of an attention are zero there, because a causal mask made the scores very
// low, because the comparison of an index along that axis with the position is false there. A model
// that looks ahead has no such mask, and nothing is derived: the function is right or absent.
//
// The library's causal attention need not be looked through: of its cached keys and values it reads
// those up to the position (attend_cached), so a step costs what its position costs.
//
// The slice may as well be that of several positions, the first of which is the position: what is
// said of elements beyond it then holds beyond the last of them. Where there are fewer tokens than
// the slice is wide, the others are negative and leave no trace in a cache; of the scores those
// behind the last token are wanted, so what comes behind the last place where positions meet is
// computed for one position only.

#include "elab/decode_parts.h"

#include <string.h>

Part decode_refused(Deriving *d, const Inst *inst, const char *why)
{
    if (!d->why && d->asked[inst->id].depends) {
        d->why = why;
        d->where = inst->span;
    }
    return (Part){0};
}

// ---- making what was asked for

static Inst *as_type(Deriving *d, Inst *inst, DType dtype)
{
    return inst->type.dtype == dtype ? inst : ir_cast(d->fn, inst, dtype, inst->span);
}

static Inst *position_as(Deriving *d, Type type, Span span)
{
    Inst *position = ir_cast(d->fn, d->position, type.dtype, span);
    return type.rank == 0 ? position : ir_broadcast(d->fn, position, type, (IntList){0}, span);
}

// The position, or those of a slice.
Inst *decode_positions(Deriving *d, Span span)
{
    Type type = type_make(DTYPE_I64, 1, &d->width);
    if (d->width == 1)
        return ir_reshape(d->fn, d->position, type, span);
    Attr axis = {.whole = 0};
    Inst *index = ir_append(d->fn, OP_iota, NULL, 0, &axis, type, span);
    return ir_binary(d->fn, OP_add, position_as(d, type, span), index, span);
}

// The attributes and the type of `inst` where its axis `axis` has the size of a slice.
static Type narrowed(const Deriving *d, const Inst *inst, int axis, Attr attr[])
{
    Type type = inst->type;
    memcpy(attr, inst->attr, sizeof inst->attr);
    if (axis == WHOLE)
        return type;
    type.dim[axis] = d->width;
    if (inst->op == OP_slice)
        attr[1].list.at[axis] = d->width;
    return type;
}

// A parameter as it is: of the function a weight or a scalar as a whole, the tokens as their slice;
// of a body what is carried as its slice. What is the same in each turn is asked for outside.
static Part make_param(Deriving *d, const Inst *inst, int axis)
{
    int index = (int)inst->attr[0].whole;
    const Part *there = &d->param[index];
    int time = d->asked[inst->id].depends ? decode_only_axis(d->asked[inst->id].times) : WHOLE;
    if (there->inst)
        return axis == time ? *there : (Part){0};
    if (!d->outer)
        return (Part){0};
    Part out = decode_ask(d->outer, d->loop->input[index - 1], axis);
    if (out.inst) {
        Rest rest = {ir_param(d->fn, out.inst->type, (Slot){0}, inst->name, inst->span), out.inst};
        vec_push(d->arena, &d->rest, rest);
        out.inst = rest.param;
    }
    return out;
}

static Part make_leaf(Deriving *d, const Inst *inst, int axis)
{
    Part out = {0};
    Attr attr[IR_MAX_ATTRS];
    Type type = narrowed(d, inst, axis, attr);
    if (inst->op == OP_iota) {
        if (axis == (int)inst->attr[0].whole) {
            out.inst = position_as(d, type, inst->span);
            out.form = FORM_POSITION;
            if (d->width > 1) {
                Inst *index = ir_append(d->fn, OP_iota, NULL, 0, attr, type, inst->span);
                out.inst = ir_binary(d->fn, OP_add, out.inst, index, inst->span);
            }
        } else {
            out.inst = ir_append(d->fn, OP_iota, NULL, 0, attr, type, inst->span);
            out.form = FORM_INDEX;
            out.axis = (int)inst->attr[0].whole;
        }
        return out;
    }
    if (inst->op == OP_constant && (axis == WHOLE || inst->attr[0].data.splat))
        out.inst = ir_append(d->fn, OP_constant, NULL, 0, attr, type, inst->span);
    else if (inst->op == OP_parameter)
        out = make_param(d, inst, axis);
    return out;
}

static Part make_attention(Deriving *d, const Inst *inst, int axis);

static Part make(Deriving *d, const Inst *inst, int axis)
{
    if (inst->inputs == 0)
        return make_leaf(d, inst, axis);
    bool depends = d->asked[inst->id].depends;
    bool of_loop = inst->op == OP_loop || (inst->op == OP_get && inst->input[0]->op == OP_loop);
    if (depends && of_loop)
        return decode_loop(d, inst, axis);
    if (depends && inst->op == OP_get)
        return make_attention(d, inst, axis);
    if (axis != WHOLE && !decode_passes_on(inst, axis))
        return decode_refused(
            d, inst,
            "what is done here along the axis of time cannot be done one position at a "
            "time");
    if (inst->op == OP_random)
        return decode_refused(d, inst, "random numbers are drawn here");
    Part *in = NEW_ARRAY(d->arena, Part, inst->inputs + 1), out = {0};
    Inst **input = NEW_ARRAY(d->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        in[i] = decode_ask(d, inst->input[i], axis == WHOLE ? WHOLE : decode_axis(inst, i, axis));
        input[i] = in[i].inst;
        if (!input[i])
            return out;
    }
    const char *why = depends ? part_check_folds(inst, in) : NULL;
    if (depends && !why && !decode_understands(inst))
        for (int i = 0; i < inst->inputs; i++)
            if (!part_is_known(&in[i]))
                why = "this operation is not one that is done one position at a time";
    if (why)
        return decode_refused(d, inst, why);
    Attr *attr = NEW_ARRAY(d->arena, Attr, IR_MAX_ATTRS);
    Type type = narrowed(d, inst, axis, attr);
    if (axis == WHOLE)
        out.inst = ir_clone_into(d->fn, inst, input);
    else
        out.inst = ir_append(d->fn, inst->op, input, inst->inputs, attr, type, inst->span);
    if (inst->results > 1)
        return out;
    for (int i = 0; i < inst->type.rank; i++)
        out.beyond[i] = (uint8_t)(i == axis ? BEYOND_SAME : part_beyond(inst, in, i));
    part_set_form(inst, in, &out);
    return out;
}

// The slice at the position, taken from the whole.
static Part cut(Deriving *d, const Inst *inst, int axis)
{
    Part whole = decode_ask(d, inst, WHOLE), out = whole;
    if (!whole.inst)
        return out;
    Inst *in[] = {whole.inst, d->index};
    Attr attr = {.whole = axis};
    out.inst = ir_append(d->fn, OP_gather, in, 2, &attr, inst->type, inst->span);
    out.beyond[axis] = BEYOND_SAME;
    out.form = FORM_NONE;
    return out;
}

void decode_drop_dead(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0)
            ir_remove(fn, inst);
    }
}

// Which instructions of a function its results need.
bool *decode_needed(Deriving *d)
{
    bool *needed = NEW_ARRAY(d->arena, bool, d->fn->next_id + 1);
    for (int i = 0; i < d->fn->result.count; i++)
        needed[d->fn->result.at[i].value->id] = true;
    for (Inst *inst = d->fn->last; inst; inst = inst->prev)
        for (int i = 0; needed[inst->id] && i < inst->inputs; i++)
            needed[inst->input[i]->id] = true;
    return needed;
}

// ---- caches

static bool moves(const Inst *inst)
{
    return inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_transpose;
}

// Whether a value is a smaller one repeated: that one is kept.
static bool is_repeated(const Inst *inst)
{
    const Inst *from = inst;
    while (moves(from))
        from = from->input[0];
    return type_elements(from->type) < type_elements(inst->type);
}

// A cache of what `inst` is, in the type `dtype`.
static Part keep(Deriving *d, const Inst *inst, int axis, DType dtype)
{
    Part slice = decode_ask(d, inst, axis);
    if (!slice.inst)
        return slice;
    if (!part_is_known(&slice))
        return decode_refused(d, inst, "a position depends on later ones here");
    Slot slot = {SLOT_STATE, 0}; // its row is known in the end
    Cached cached = {.of = inst};
    Type type = inst->type;
    type.dtype = dtype;
    cached.param = ir_param(d->fn, type, slot, NULL, inst->span);
    Inst *in[] = {cached.param, d->index, as_type(d, slice.inst, dtype)};
    Attr attr = {.whole = axis};
    cached.update = ir_append(d->fn, OP_scatter_add, in, 3, &attr, type, inst->span);
    cached.reader = cached.update;
    vec_push(d->arena, &d->cached, cached);
    Part out = {.inst = cached.update};
    out.beyond[axis] = BEYOND_UNKNOWN;
    return out;
}

Part decode_ask(Deriving *d, const Inst *inst, int axis)
{
    Asked *asked = &d->asked[inst->id];
    int way = axis + 1;
    if (asked->state[way] == DONE)
        return asked->part[way];
    if (asked->state[way] == BUSY)
        return (Part){0};
    asked->state[way] = BUSY;
    Part part = {0};
    int time = decode_only_axis(asked->times);
    bool keeps = axis == WHOLE && asked->depends && time >= 0 && !is_repeated(inst);
    if (keeps)
        part = keep(d, inst, time, inst->type.dtype);
    if (!part.inst)
        part = make(d, inst, axis);
    if (!part.inst && axis != WHOLE)
        part = cut(d, inst, axis);
    asked->state[way] = DONE;
    asked->part[way] = part;
    return part;
}

// ---- attention

// Keys or values of all positions so far. In a mixed function they are rounded anyway, so that is
// how they are kept.
static Inst *held(Deriving *d, const Inst *inst)
{
    bool cached = d->asked[inst->id].depends && decode_only_axis(d->asked[inst->id].times) == 1;
    Part part =
        cached && !is_repeated(inst) ? keep(d, inst, 1, d->mixed) : decode_ask(d, inst, WHOLE);
    for (int i = 0; part.inst && i < 4; i++)
        if (i != 1 && !beyond_is_valid((Beyond)part.beyond[i]))
            return NULL;
    return part.inst ? as_type(d, part.inst, d->mixed) : NULL;
}

static Part make_attention(Deriving *d, const Inst *inst, int axis)
{
    const Inst *call = inst->input[0];
    if (inst->attr[0].whole != 0 || axis != 1)
        return decode_refused(d, inst, "what is asked of this attention is not one position");
    Part q = decode_ask(d, call->input[0], 1);
    Inst *k = held(d, call->input[1]), *v = held(d, call->input[2]);
    if (!q.inst || !k || !v || !part_is_known(&q))
        return decode_refused(d, inst, "a position depends on later ones here");
    Inst *rounded = as_type(d, as_type(d, q.inst, d->mixed), DTYPE_F32);
    Inst *in[] = {rounded, k, v, d->position};
    Attr factor = call->attr[0].function->kernel_attr[0];
    return (Part){.inst =
                      ir_append(d->fn, OP_attend_cached, in, 4, &factor, (Type){0}, inst->span)};
}

// ---- the function

// The caches that the result needs become results as well, in their rows; the others go away.
static void finish(Deriving *d, Decode *decode, int first_row)
{
    const bool *needed = decode_needed(d);
    for (int i = 0; i < d->cached.count; i++) {
        Cached *cached = &d->cached.at[i];
        if (!needed[cached->reader->id])
            continue;
        Slot slot = {SLOT_STATE, first_row + decode->cache.count};
        cached->param->name = sym_printf(d->cx, "cache.%d", decode->cache.count);
        d->fn->param_slot.at[cached->param->attr[0].whole] = slot;
        ir_result(d->fn, cached->update, slot, cached->param->name);
        DecodeCache cache = {cached->param->type, cached->param->name, cached->of->span};
        vec_push(d->cx->arena, &decode->cache, cache);
    }
    decode_drop_dead(d->fn);
    int kept = 0;
    for (int i = 0; i < d->fn->param.count; i++) {
        Inst *param = d->fn->param.at[i];
        Slot slot = d->fn->param_slot.at[i];
        if (slot.kind == SLOT_STATE && param->uses == 0)
            continue;
        param->attr[0].whole = kept;
        d->fn->param.at[kept] = param;
        d->fn->param_slot.at[kept++] = slot;
    }
    d->fn->param.count = d->fn->param_slot.count = kept;
}

static Inst *whole_constant(Deriving *d, DType dtype, int64_t value, Type like)
{
    int32_t narrow = (int32_t)value;
    Span span = d->from->span;
    Inst *one = ir_constant(d->fn, type_scalar(dtype),
                            dtype == DTYPE_I32 ? (const void *)&narrow : &value, true, span);
    like.dtype = dtype;
    return like.rank == 0 ? one : ir_broadcast(d->fn, one, like, (IntList){0}, span);
}

// Places of negative tokens are outside of every cache; `last` is that of the last token.
static void skip_missing(Deriving *d)
{
    Span span = d->from->span;
    Inst *tokens = NULL;
    for (int i = 0; i < d->from->param.count; i++)
        if (d->from->param_slot.at[i].kind == SLOT_INPUT)
            tokens = d->param[i].inst;
    Type places = d->index->type, flat = places;
    flat.dtype = tokens->type.dtype;
    Inst *token = ir_reshape(d->fn, tokens, flat, span);
    Inst *zero = whole_constant(d, flat.dtype, 0, flat);
    Inst *there = ir_binary(d->fn, OP_le, zero, token, span);
    Inst *in[] = {there, d->index, whole_constant(d, DTYPE_I64, -1, places)};
    d->index = ir_append(d->fn, OP_select, in, 3, NULL, (Type){0}, span);
    Inst *ones = ir_cast(d->fn, there, DTYPE_I64, span);
    Attr attr[2] = {0};
    attr[0].reducer = REDUCE_SUM;
    attr[1].list.count = 1; // axis 0
    Inst *count = ir_append(d->fn, OP_reduce, &ones, 1, attr, (Type){0}, span);
    Inst *last = ir_binary(d->fn, OP_sub, count,
                           whole_constant(d, DTYPE_I64, 1, type_scalar(DTYPE_I64)), span);
    d->last = ir_reshape(d->fn, last, type_make(DTYPE_I64, 1, (int64_t[]){1}), span);
}

// Rows of the last token: what is there already, by id and axis, and what has to be computed for
// all tokens anyway.
typedef struct LastRows {
    Inst **made;
    bool *whole;
    int count;
} LastRows;

// Of a value of the derived function, that of the last token alone along `axis`.
static Inst *only_last(Deriving *d, LastRows *rows, Inst *value, int axis)
{
    Inst **known = &rows->made[value->id * IR_MAX_RANK + axis];
    if (*known)
        return *known;
    bool stays = !rows->whole[value->id] && value->inputs > 0 && value->inputs <= IR_MAX_RANK &&
                 decode_passes_on(value, axis);
    if (!stays) {
        Inst *in[] = {value, d->last};
        Attr attr = {.whole = axis};
        return *known = ir_append(d->fn, OP_gather, in, 2, &attr, (Type){0}, value->span);
    }
    Inst *in[IR_MAX_RANK] = {0};
    for (int i = 0; i < value->inputs; i++) {
        int from = decode_axis(value, i, axis);
        in[i] = from >= 0 ? only_last(d, rows, value->input[i], from) : value->input[i];
    }
    Attr attr[IR_MAX_ATTRS];
    memcpy(attr, value->attr, sizeof attr);
    Type type = value->type;
    type.dim[axis] = 1;
    if (value->op == OP_slice)
        attr[1].list.at[axis] = 1;
    return *known = ir_append(d->fn, value->op, in, value->inputs, attr, type, value->span);
}

// The scores behind the last token. What caches need is computed for all tokens.
static Inst *last_scores(Deriving *d, Inst *scores)
{
    LastRows rows = {.count = d->fn->next_id};
    rows.made = NEW_ARRAY(d->arena, Inst *, rows.count * IR_MAX_RANK);
    rows.whole = NEW_ARRAY(d->arena, bool, rows.count);
    for (int i = 0; i < d->cached.count; i++)
        if (d->cached.at[i].reader)
            rows.whole[d->cached.at[i].reader->id] = true;
    for (Inst *inst = d->fn->last; inst; inst = inst->prev)
        for (int i = 0; rows.whole[inst->id] && i < inst->inputs; i++)
            rows.whole[inst->input[i]->id] = true;
    return only_last(d, &rows, scores, 1);
}

static void begin_function(Deriving *d)
{
    int scalars = 0;
    for (int i = 0; i < d->from->param.count; i++) {
        const Inst *param = d->from->param.at[i];
        Slot slot = d->from->param_slot.at[i];
        Type type = param->type;
        scalars += slot.kind == SLOT_SCALAR;
        if (slot.kind == SLOT_INPUT) {
            decode_add_times(&d->asked[param->id], true, 1u << 1);
            type.dim[1] = d->width;
        }
        d->param[i].inst = ir_param(d->fn, type, slot, param->name, param->span);
    }
    d->position = ir_param(d->fn, type_scalar(DTYPE_I64), (Slot){SLOT_SCALAR, scalars},
                           sym_of(d->cx, "position"), d->from->span);
    d->index = decode_positions(d, d->from->span);
    if (d->width > 1)
        skip_missing(d);
}

// The function, or why there is none.
static Decode derive(Cx *cx, const IrFunction *forward, Sym name, int first_row, int64_t width,
                     bool attends)
{
    Decode decode = {0};
    Deriving d = {.cx = cx,
                  .arena = cx->arena,
                  .from = decode_flat(cx, forward, attends),
                  .width = width,
                  .attends = attends,
                  .mixed = forward->mixed};
    d.fn = ir_function_new(cx, NULL, name, forward->span);
    d.fn->mixed = forward->mixed;
    d.asked = NEW_ARRAY(cx->arena, Asked, d.from->next_id + 1);
    d.param = NEW_ARRAY(cx->arena, Part, d.from->param.count + 1);
    Inst *scores = d.from->result.at[0].value;
    begin_function(&d);
    decode_find_times(d.asked, d.from);
    Part part = decode_ask(&d, scores, 1);
    if (part.inst && !part_is_known(&part))
        part = decode_refused(&d, scores, "a position depends on later ones");
    if (!part.inst) {
        decode.why = d.why ? d.why : "it does not go through time one position after the other";
        decode.where = d.why ? d.where : forward->span;
        return decode;
    }
    Type flat = type_make(scores->type.dtype, 1, &scores->type.dim[2]);
    Inst *row = width == 1 ? part.inst : last_scores(&d, part.inst);
    ir_result(d.fn, ir_reshape(d.fn, row, flat, scores->span), (Slot){SLOT_OUTPUT, 0},
              sym_of(cx, "scores"));
    finish(&d, &decode, first_row);
    decode.fn = d.fn;
    decode.exact = d.turns && width > 1;
    return decode;
}

Decode decode_derive(Cx *cx, IrModule *module, const IrFunction *forward, Sym name, int first_row,
                     int64_t width)
{
    Decode decode = derive(cx, forward, name, first_row, width, true);
    if (!decode.fn) // what is around attention may be such that its parts must be seen
        decode = derive(cx, forward, name, first_row, width, false);
    if (decode.fn)
        vec_push(cx->arena, &module->function, decode.fn);
    return decode;
}
