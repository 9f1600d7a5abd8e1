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

#include "elab/decode.h"
#include "elab/decode_known.h"

#include <string.h>

// The attributes of a loop, in the order of ops.def.
enum { LOOP_COUNT, LOOP_CARRIED, LOOP_SLICED, LOOP_BODY, LOOP_REVERSE, LOOP_GUARD };

enum { WHOLE = -1, WAYS = IR_MAX_RANK + 1 };
typedef enum { NEW_PART, BUSY, DONE } PartState;

// A result of a loop of forward.
typedef struct LoopResult {
    bool depends;
    unsigned times;
} LoopResult;

typedef struct Asked { // an instruction of forward, asked for in each of its ways
    PartState state[WAYS];
    Part part[WAYS];
    bool depends;       // on the tokens
    unsigned times;     // bit a: axis a is one of time
    LoopResult *result; // of a loop, or of attention
    PartState made;     // whether the loop was derived
    Inst *loop;
} Asked;

typedef struct Cached {
    Inst *param, *update;
    const Inst *reader; // the cache is needed if it is: the update, or the loop that makes it
    const Inst *of;
} Cached;

// An input of a derived loop that is the same in each turn.
typedef struct Rest {
    Inst *param, *outside;
} Rest;

typedef struct Deriving Deriving;
struct Deriving {
    Cx *cx;
    Arena *arena;
    const IrFunction *from; // forward without calls, or the body of a loop in it
    IrFunction *fn;
    int64_t width; // of a slice
    bool turns;    // a loop takes as many turns as a slice is wide
    bool attends;  // calls of causal attention are still there
    DType mixed;   // what operands of contractions are rounded to
    Asked *asked;  // by id
    Part *param;   // of each parameter of `from` that is there; others are made when asked for
    Inst *position, *index;
    Inst *last; // of several tokens, its place in the slice
    Vec(Cached) cached;
    const char *why;
    Span where;
    // of a body
    Deriving *outer;
    const Inst *loop;
    Vec(Rest) rest;
};

static Part ask(Deriving *d, const Inst *inst, int axis);

// ---- forward without calls

static IrFunction *flattened(Cx *cx, const IrFunction *fn, bool attends);

// A call of the library's attention in which a position sees those before it and itself.
static bool is_attention(const Inst *inst)
{
    if (inst->op != OP_call || inst->attr[0].function->kernel != OP_attend || inst->inputs != 3)
        return false;
    Type q = inst->input[0]->type, k = inst->input[1]->type;
    return inst->attr[0].function->kernel_attr[1].whole && q.rank == 4 && k.rank == 4 &&
           q.dtype == DTYPE_F32 && k.dtype == DTYPE_F32 && q.dim[1] == k.dim[1];
}

// Copies the instructions of `fn`, whose parameters are value[], and sets result[].
static void copy_flat(IrFunction *to, const IrFunction *fn, Inst *const value[], Inst *result[],
                      bool attends)
{
    Arena *arena = to->cx->arena;
    const IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    Inst **twin = NEW_ARRAY(arena, Inst *, root->next_id + 1);
    Inst ***several = NEW_ARRAY(arena, Inst **, root->next_id + 1);
    for (int i = 0; i < fn->param.count; i++)
        twin[fn->param.at[i]->id] = value[i];
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        if (inst->op == OP_call && !(attends && is_attention(inst))) {
            Inst **out = NEW_ARRAY(arena, Inst *, inst->results + 1);
            copy_flat(to, inst->attr[0].function, in, out, attends);
            twin[inst->id] = out[0];
            several[inst->id] = inst->results > 1 ? out : NULL;
        } else if (inst->op == OP_get && several[inst->input[0]->id]) {
            twin[inst->id] = several[inst->input[0]->id][inst->attr[0].whole];
        } else if (inst->op == OP_loop) {
            Attr *attr = arena_copy(arena, inst->attr, sizeof inst->attr);
            attr[LOOP_BODY].function = flattened(to->cx, inst_nested(inst), attends);
            twin[inst->id] = ir_append(to, OP_loop, in, inst->inputs, attr, inst->type, inst->span);
        } else {
            twin[inst->id] = ir_clone_into(to, inst, in);
        }
    }
    for (int i = 0; i < fn->result.count; i++)
        result[i] = twin[fn->result.at[i].value->id];
}

static IrFunction *flattened(Cx *cx, const IrFunction *fn, bool attends)
{
    IrFunction *flat = ir_function_new(cx, NULL, NULL, fn->span);
    Inst **value = NEW_ARRAY(cx->arena, Inst *, fn->param.count + 1);
    Inst **result = NEW_ARRAY(cx->arena, Inst *, fn->result.count + 1);
    for (int i = 0; i < fn->param.count; i++)
        value[i] = ir_param(flat, fn->param.at[i]->type, fn->param_slot.at[i],
                            fn->param.at[i]->name, fn->param.at[i]->span);
    copy_flat(flat, fn, value, result, attends);
    for (int i = 0; i < fn->result.count; i++)
        ir_result(flat, result[i], fn->result.at[i].slot, fn->result.at[i].name);
    return flat;
}

// ---- time

static void find_times(Asked *asked, const IrFunction *fn);

static void add_times(Asked *to, bool depends, unsigned times)
{
    to->depends |= depends;
    to->times |= times;
}

// Whether a loop goes through time: a slice is what one position gives. What it stacks has time as
// its first axis.
static bool is_in_time(const Asked *asked, const Inst *loop)
{
    int carried = (int)loop->attr[LOOP_CARRIED].whole, sliced = (int)loop->attr[LOOP_SLICED].whole;
    for (int i = carried; i < carried + sliced; i++)
        if (asked[loop->input[i]->id].depends && (asked[loop->input[i]->id].times & 1))
            return true;
    return false;
}

// Carried values begin as their inputs and go on as the body's results, so their axes of time are
// those of both. Slices of what depends on the tokens are turns of another kind.
static void find_loop_times(Asked *asked, const Inst *loop)
{
    const IrFunction *body = inst_nested(loop);
    int carried = (int)loop->attr[LOOP_CARRIED].whole, sliced = (int)loop->attr[LOOP_SLICED].whole;
    Asked *own = &asked[loop->id];
    own->result = NEW_ARRAY(body->cx->arena, LoopResult, loop->results + 1);
    for (int i = 0; i < loop->inputs; i++) {
        const Asked *from = &asked[loop->input[i]->id];
        bool is_slice = i >= carried && i < carried + sliced;
        add_times(&asked[body->param.at[i + 1]->id], from->depends, is_slice ? 0 : from->times);
    }
    for (bool again = true; again;) {
        again = false;
        find_times(asked, body);
        for (int i = 0; i < carried; i++) {
            const Asked *from = &asked[body->result.at[i].value->id];
            Asked *to = &asked[body->param.at[i + 1]->id];
            again |= (from->depends && !to->depends) || (from->times & ~to->times);
            add_times(to, from->depends, from->times);
        }
    }
    for (int i = 0; i < loop->results; i++) {
        const Asked *from =
            &asked[i < carried ? body->param.at[i + 1]->id : body->result.at[i].value->id];
        own->result[i].depends = from->depends;
        own->result[i].times = i < carried               ? from->times
                               : is_in_time(asked, loop) ? from->times << 1 | 1
                                                         : from->times << 1;
        own->depends |= from->depends;
    }
    if (loop->results == 1)
        own->times = own->result[0].times;
}

// The time of what attention gives is that of its queries.
static void find_attention_times(Asked *asked, const Inst *call)
{
    Asked *own = &asked[call->id];
    own->result = NEW_ARRAY(call->function->cx->arena, LoopResult, call->results + 1);
    for (int i = 0; i < call->inputs; i++)
        own->depends |= asked[call->input[i]->id].depends;
    for (int i = 0; i < call->results; i++)
        own->result[i].depends = own->depends;
    own->result[0].times = asked[call->input[0]->id].times & 7;
}

// Which instructions depend on the tokens, and along which axes time goes.
static void find_times(Asked *asked, const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Asked *own = &asked[inst->id];
        if (inst->op == OP_loop) {
            find_loop_times(asked, inst);
        } else if (inst->op == OP_call) {
            find_attention_times(asked, inst);
        } else if (inst->op == OP_get && asked[inst->input[0]->id].result) {
            const LoopResult *result = asked[inst->input[0]->id].result;
            add_times(own, result[inst->attr[0].whole].depends, result[inst->attr[0].whole].times);
        } else {
            for (int i = 0; i < inst->inputs; i++) {
                const Asked *from = &asked[inst->input[i]->id];
                own->depends |= from->depends;
                for (int axis = 0; from->times && axis < inst->type.rank; axis++) {
                    int source = decode_axis(inst, i, axis);
                    if (source >= 0 && (from->times >> source & 1))
                        own->times |= 1u << axis;
                }
            }
        }
    }
}

static int only_axis(unsigned times)
{
    int axis = 0;
    while (axis < IR_MAX_RANK && !(times >> axis & 1))
        axis++;
    return times == 1u << axis ? axis : -1;
}

static Part refused(Deriving *d, const Inst *inst, const char *why)
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
static Inst *positions(Deriving *d, Span span)
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
    int time = d->asked[inst->id].depends ? only_axis(d->asked[inst->id].times) : WHOLE;
    if (there->inst)
        return axis == time ? *there : (Part){0};
    if (!d->outer)
        return (Part){0};
    Part out = ask(d->outer, d->loop->input[index - 1], axis);
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

static Part make_loop(Deriving *d, const Inst *inst, int axis);
static Part make_attention(Deriving *d, const Inst *inst, int axis);

static Part make(Deriving *d, const Inst *inst, int axis)
{
    if (inst->inputs == 0)
        return make_leaf(d, inst, axis);
    bool depends = d->asked[inst->id].depends;
    bool of_loop = inst->op == OP_loop || (inst->op == OP_get && inst->input[0]->op == OP_loop);
    if (depends && of_loop)
        return make_loop(d, inst, axis);
    if (depends && inst->op == OP_get)
        return make_attention(d, inst, axis);
    if (axis != WHOLE && !decode_passes_on(inst, axis))
        return refused(d, inst,
                       "what is done here along the axis of time cannot be done one position at a "
                       "time");
    if (inst->op == OP_random)
        return refused(d, inst, "random numbers are drawn here");
    Part *in = NEW_ARRAY(d->arena, Part, inst->inputs + 1), out = {0};
    Inst **input = NEW_ARRAY(d->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        in[i] = ask(d, inst->input[i], axis == WHOLE ? WHOLE : decode_axis(inst, i, axis));
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
        return refused(d, inst, why);
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
    Part whole = ask(d, inst, WHOLE), out = whole;
    if (!whole.inst)
        return out;
    Inst *in[] = {whole.inst, d->index};
    Attr attr = {.whole = axis};
    out.inst = ir_append(d->fn, OP_gather, in, 2, &attr, inst->type, inst->span);
    out.beyond[axis] = BEYOND_SAME;
    out.form = FORM_NONE;
    return out;
}

// ---- loops

static void drop_dead(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0)
            ir_remove(fn, inst);
    }
}

// Which instructions of a function its results need.
static bool *find_needed(Deriving *d)
{
    bool *needed = NEW_ARRAY(d->arena, bool, d->fn->next_id + 1);
    for (int i = 0; i < d->fn->result.count; i++)
        needed[d->fn->result.at[i].value->id] = true;
    for (Inst *inst = d->fn->last; inst; inst = inst->prev)
        for (int i = 0; needed[inst->id] && i < inst->inputs; i++)
            needed[inst->input[i]->id] = true;
    return needed;
}

// The body's parameters before what is the same in each turn: the turn, what is carried, slices.
static bool begin_body(Deriving *d, int carried, int sliced)
{
    for (int i = 0; i < 1 + carried + sliced; i++) {
        const Inst *param = d->from->param.at[i];
        const Asked *asked = &d->asked[param->id];
        Type type = param->type;
        int time = only_axis(asked->times);
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
        d->index = positions(d, span);
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
        Part part = ask(d, value, param->depends ? only_axis(param->times) : WHOLE);
        if (!part.inst || !part_is_known(&part))
            return false;
        ir_result(d->fn, part.inst, (Slot){0}, d->from->result.at[i].name);
    }
    const bool *needed = find_needed(d);
    int kept = 0;
    for (int i = 0; i < d->cached.count; i++)
        if (needed[d->cached.at[i].reader->id])
            d->cached.at[kept++] = d->cached.at[i];
    d->cached.count = kept;
    for (int i = 0; i < kept; i++)
        ir_result(d->fn, d->cached.at[i].update, (Slot){0}, NULL);
    drop_dead(d->fn);
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
        Part part = ask(outer, loop->input[i], slice ? only_axis(param->times) : WHOLE);
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
    Part begin = ask(d, start, WHOLE);
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
            Part part = ask(d, loop->input[i], is_slice ? 0 : WHOLE);
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
    made[LOOP_BODY].function = flattened(d->cx, body, d->attends);
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
        return refused(d, inst,
                       "what this loop through time ends with is not known before the end");
    if (asked->made == NEW_PART) {
        asked->made = BUSY;
        asked->loop = derive_turn(d, loop);
        asked->made = DONE;
    }
    if (!asked->loop)
        return refused(d, inst, "this loop does not go through time one position after the other");
    Inst *value =
        asked->loop->results == 1 ? asked->loop : ir_get(d->fn, asked->loop, index, inst->span);
    return (Part){.inst = value};
}

// What a loop carries, at the position.
static Part make_loop(Deriving *d, const Inst *inst, int axis)
{
    const Inst *loop = inst->op == OP_get ? inst->input[0] : inst;
    int index = inst->op == OP_get ? (int)inst->attr[0].whole : 0;
    Asked *asked = &d->asked[loop->id];
    const LoopResult *result = &asked->result[index];
    if (is_in_time(d->asked, loop))
        return make_turn(d, inst, loop, index, axis);
    if (axis == WHOLE || axis != only_axis(result->times) ||
        index >= loop->attr[LOOP_CARRIED].whole)
        return refused(d, inst, "this loop does not go on from where it was");
    if (asked->made == NEW_PART) {
        asked->made = BUSY;
        asked->loop = derive_loop(d, loop);
        asked->made = DONE;
    }
    if (!asked->loop)
        return refused(d, inst, "this loop does not go on from where it was");
    Inst *value =
        asked->loop->results == 1 ? asked->loop : ir_get(d->fn, asked->loop, index, inst->span);
    return (Part){.inst = value};
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
    Part slice = ask(d, inst, axis);
    if (!slice.inst)
        return slice;
    if (!part_is_known(&slice))
        return refused(d, inst, "a position depends on later ones here");
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

static Part ask(Deriving *d, const Inst *inst, int axis)
{
    Asked *asked = &d->asked[inst->id];
    int way = axis + 1;
    if (asked->state[way] == DONE)
        return asked->part[way];
    if (asked->state[way] == BUSY)
        return (Part){0};
    asked->state[way] = BUSY;
    Part part = {0};
    int time = only_axis(asked->times);
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
    bool cached = d->asked[inst->id].depends && only_axis(d->asked[inst->id].times) == 1;
    Part part = cached && !is_repeated(inst) ? keep(d, inst, 1, d->mixed) : ask(d, inst, WHOLE);
    for (int i = 0; part.inst && i < 4; i++)
        if (i != 1 && !beyond_is_valid((Beyond)part.beyond[i]))
            return NULL;
    return part.inst ? as_type(d, part.inst, d->mixed) : NULL;
}

static Part make_attention(Deriving *d, const Inst *inst, int axis)
{
    const Inst *call = inst->input[0];
    if (inst->attr[0].whole != 0 || axis != 1)
        return refused(d, inst, "what is asked of this attention is not one position");
    Part q = ask(d, call->input[0], 1);
    Inst *k = held(d, call->input[1]), *v = held(d, call->input[2]);
    if (!q.inst || !k || !v || !part_is_known(&q))
        return refused(d, inst, "a position depends on later ones here");
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
    const bool *needed = find_needed(d);
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
    drop_dead(d->fn);
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
            add_times(&d->asked[param->id], true, 1u << 1);
            type.dim[1] = d->width;
        }
        d->param[i].inst = ir_param(d->fn, type, slot, param->name, param->span);
    }
    d->position = ir_param(d->fn, type_scalar(DTYPE_I64), (Slot){SLOT_SCALAR, scalars},
                           sym_of(d->cx, "position"), d->from->span);
    d->index = positions(d, d->from->span);
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
                  .from = flattened(cx, forward, attends),
                  .width = width,
                  .attends = attends,
                  .mixed = forward->mixed};
    d.fn = ir_function_new(cx, NULL, name, forward->span);
    d.fn->mixed = forward->mixed;
    d.asked = NEW_ARRAY(cx->arena, Asked, d.from->next_id + 1);
    d.param = NEW_ARRAY(cx->arena, Part, d.from->param.count + 1);
    Inst *scores = d.from->result.at[0].value;
    begin_function(&d);
    find_times(d.asked, d.from);
    Part part = ask(&d, scores, 1);
    if (part.inst && !part_is_known(&part))
        part = refused(&d, scores, "a position depends on later ones");
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
