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

#include "elab/decode.h"

#include <string.h>

typedef enum Beyond {
    BEYOND_SAME,    // like the elements before: they are known
    BEYOND_UNKNOWN, // finite, and else nothing
    BEYOND_ZERO,
    BEYOND_LOW, // at most LOW: of no weight in a softmax
    BEYOND_FALSE,
    BEYOND_TRUE
} Beyond;

#define LOW (-1e9)

// What is known of a value's elements, beside those beyond the position: that they count.
typedef enum Form { FORM_NONE, FORM_INDEX, FORM_POSITION } Form;

typedef struct Part {
    Inst *inst; // NULL: it cannot be had
    uint8_t beyond[IR_MAX_RANK];
    Form form; // INDEX: the index along `axis` plus `offset`; POSITION: the position plus it
    int axis;
    double offset;
} Part;

enum { WHOLE = -1, WAYS = IR_MAX_RANK + 1 };
typedef enum { NEW_PART, BUSY, DONE } PartState;

typedef struct Asked { // an instruction of forward, asked for in each of its ways
    PartState state[WAYS];
    Part part[WAYS];
    bool depends;   // on the tokens
    unsigned times; // bit a: axis a is one of time
} Asked;

typedef struct Cached {
    Inst *param, *update;
    const Inst *of;
} Cached;

typedef struct Deriving {
    Cx *cx;
    Arena *arena;
    IrFunction *flat; // forward without calls
    IrFunction *fn;
    Asked *asked; // by id of the flat function
    Inst **param; // of fn, by index of the parameter in flat
    Inst *position, *index;
    Inst *token;
    int64_t length;
    int first_row;
    Vec(Cached) cached;
    const char *why;
    Span where;
} Deriving;

static Part ask(Deriving *d, const Inst *inst, int axis);

// ---- forward without calls

typedef struct Copying {
    IrFunction *to;
    Arena *arena;
} Copying;

// Copies the instructions of `fn`, whose parameters are value[], and sets result[].
static void copy_flat(Copying *c, const IrFunction *fn, Inst *const value[], Inst *result[])
{
    Inst **twin = NEW_ARRAY(c->arena, Inst *, fn->next_id + 1);
    Inst ***several = NEW_ARRAY(c->arena, Inst **, fn->next_id + 1);
    for (int i = 0; i < fn->param.count; i++)
        twin[fn->param.at[i]->id] = value[i];
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(c->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        if (inst->op == OP_call) {
            Inst **out = NEW_ARRAY(c->arena, Inst *, inst->results + 1);
            copy_flat(c, inst->attr[0].function, in, out);
            twin[inst->id] = out[0];
            several[inst->id] = inst->results > 1 ? out : NULL;
        } else if (inst->op == OP_get && several[inst->input[0]->id]) {
            twin[inst->id] = several[inst->input[0]->id][inst->attr[0].whole];
        } else {
            twin[inst->id] = ir_clone_into(c->to, inst, in);
        }
    }
    for (int i = 0; i < fn->result.count; i++)
        result[i] = twin[fn->result.at[i].value->id];
}

static IrFunction *flattened(Cx *cx, const IrFunction *forward)
{
    Copying copying = {ir_function_new(cx, NULL, NULL, forward->span), cx->arena};
    Inst **value = NEW_ARRAY(cx->arena, Inst *, forward->param.count + 1);
    Inst **result = NEW_ARRAY(cx->arena, Inst *, forward->result.count + 1);
    for (int i = 0; i < forward->param.count; i++)
        value[i] = ir_param(copying.to, forward->param.at[i]->type, forward->param_slot.at[i],
                            forward->param.at[i]->name, forward->param.at[i]->span);
    copy_flat(&copying, forward, value, result);
    for (int i = 0; i < forward->result.count; i++)
        ir_result(copying.to, result[i], forward->result.at[i].slot, forward->result.at[i].name);
    return copying.to;
}

// ---- axes

static bool list_has(IntList list, int64_t item)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == item)
            return true;
    return false;
}

static int list_find(IntList list, int64_t item)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == item)
            return i;
    return -1;
}

// The axis of `from` that is `axis` of `to`, where the one is the other reshaped; -1: there is
// none.
static int same_axis(Type to, int axis, Type from)
{
    int64_t before = 1, at = 1;
    for (int i = 0; i < axis; i++)
        before *= to.dim[i];
    for (int i = 0; i < from.rank; i++) {
        if (at == before && from.dim[i] == to.dim[axis])
            return i;
        at *= from.dim[i];
    }
    return -1;
}

// The axes of an operand of a dot that are neither contracted nor batches, in order.
static int free_axes(IntList contract, IntList batch, int rank, int axes[])
{
    int count = 0;
    for (int i = 0; i < rank; i++)
        if (!list_has(contract, i) && !list_has(batch, i))
            axes[count++] = i;
    return count;
}

// The axis of input `operand` that becomes `axis` of the result; -1: none does. `axis` of the
// result may come from several inputs.
static int axis_in(const Inst *inst, int operand, int axis)
{
    const Attr *attr = inst->attr;
    Type in = inst->input[operand]->type;
    switch ((int)inst->op) {
    case OP_broadcast: {
        int i = list_find(attr[0].list, axis);
        return i >= 0 && in.dim[i] == inst->type.dim[axis] ? i : -1;
    }
    case OP_reshape:
        return same_axis(inst->type, axis, in);
    case OP_transpose:
        return (int)attr[0].list.at[axis];
    case OP_slice:
        return attr[0].list.at[axis] == 0 && attr[1].list.at[axis] == in.dim[axis] &&
                       attr[2].list.at[axis] == 1
                   ? axis
                   : -1;
    case OP_pad:
        return operand == 0 && attr[0].list.at[axis] == 0 && attr[1].list.at[axis] == 0 ? axis : -1;
    case OP_concat:
        return attr[0].whole == axis ? -1 : axis;
    case OP_gather: {
        int at = (int)attr[0].whole, rows = inst->input[1]->type.rank;
        if (operand == 1)
            return axis >= at && axis < at + rows ? axis - at : -1;
        return axis < at ? axis : axis >= at + rows ? axis - rows + 1 : -1;
    }
    case OP_reduce:
    case OP_argmax: {
        int kept = 0;
        for (int i = 0; i < in.rank; i++) {
            bool folded = inst->op == OP_argmax ? attr[0].whole == i : list_has(attr[1].list, i);
            if (!folded && kept++ == axis)
                return i;
        }
        return -1;
    }
    case OP_dot: {
        IntList batch = attr[2 + operand].list;
        if (axis < batch.count)
            return (int)batch.at[axis];
        int a[IR_MAX_RANK], b[IR_MAX_RANK], at = axis - batch.count;
        int of_a = free_axes(attr[0].list, attr[2].list, inst->input[0]->type.rank, a);
        free_axes(attr[1].list, attr[3].list, inst->input[1]->type.rank, b);
        if (operand == 0)
            return at < of_a ? a[at] : -1;
        return at >= of_a ? b[at - of_a] : -1;
    }
    default:
        return op_has(inst->op, POINTWISE) || inst->op == OP_stop_gradient ? axis : -1;
    }
}

// Which instructions depend on the tokens, and along which axes time goes.
static void find_times(Deriving *d)
{
    for (int i = 0; i < d->flat->param.count; i++)
        if (d->flat->param_slot.at[i].kind == SLOT_INPUT) {
            Asked *asked = &d->asked[d->flat->param.at[i]->id];
            asked->depends = true;
            asked->times = 1u << 1;
        }
    for (const Inst *inst = d->flat->first; inst; inst = inst->next) {
        Asked *asked = &d->asked[inst->id];
        for (int i = 0; i < inst->inputs; i++) {
            const Asked *from = &d->asked[inst->input[i]->id];
            asked->depends |= from->depends;
            for (int axis = 0; from->times && axis < inst->type.rank; axis++) {
                int source = axis_in(inst, i, axis);
                if (source >= 0 && (from->times >> source & 1))
                    asked->times |= 1u << axis;
            }
        }
    }
}

// ---- what is known beyond the position

// Whether the elements beyond the position are what they are in `forward`.
static bool is_valid(Beyond beyond)
{
    return beyond != BEYOND_UNKNOWN && beyond != BEYOND_LOW;
}

static bool is_known(const Part *part)
{
    for (int i = 0; i < part->inst->type.rank; i++)
        if (!is_valid((Beyond)part->beyond[i]))
            return false;
    return true;
}

static Part refused(Deriving *d, const Inst *inst, const char *why)
{
    if (!d->why && d->asked[inst->id].depends) {
        d->why = why;
        d->where = inst->span;
    }
    return (Part){0};
}

// What a constant is everywhere, and so beyond the position.
static Beyond everywhere(const Part *part, Beyond otherwise)
{
    const Inst *inst = part->inst;
    double value;
    while (inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_cast)
        inst = inst->input[0];
    if (otherwise != BEYOND_SAME || !inst_is_splat(inst, &value))
        return otherwise;
    if (part->inst->type.dtype == DTYPE_BOOL)
        return value != 0 ? BEYOND_TRUE : BEYOND_FALSE;
    return value == 0 ? BEYOND_ZERO : value <= LOW ? BEYOND_LOW : BEYOND_SAME;
}

static Beyond opposite(Beyond beyond)
{
    return beyond == BEYOND_FALSE ? BEYOND_TRUE : beyond == BEYOND_TRUE ? BEYOND_FALSE : beyond;
}

// a <= b or a < b at the elements beyond the position along `axis`, where one is the index along
// it, at least position + 1, and the other is the position.
static Beyond compared(Op op, const Part *a, const Part *b, int axis)
{
    bool strict = op == OP_lt;
    double apart = a->offset - b->offset;
    if (a->form == FORM_INDEX && a->axis == axis && b->form == FORM_POSITION)
        return apart + 1 > 0 || (strict && apart + 1 == 0) ? BEYOND_FALSE : BEYOND_SAME;
    if (b->form == FORM_INDEX && b->axis == axis && a->form == FORM_POSITION)
        return apart < 1 || (!strict && apart == 1) ? BEYOND_TRUE : BEYOND_SAME;
    return BEYOND_SAME;
}

static Beyond beyond_pointwise(const Inst *inst, const Part in[], int axis)
{
    Beyond a = (Beyond)in[0].beyond[axis];
    Beyond b = inst->inputs > 1 ? (Beyond)in[1].beyond[axis] : BEYOND_SAME;
    Beyond c = inst->inputs > 2 ? (Beyond)in[2].beyond[axis] : BEYOND_SAME;
    switch ((int)inst->op) {
    case OP_select:
        if (a == BEYOND_TRUE)
            return everywhere(&in[1], b);
        if (a == BEYOND_FALSE)
            return everywhere(&in[2], c);
        break;
    case OP_and:
        if (a == BEYOND_FALSE || b == BEYOND_FALSE)
            return BEYOND_FALSE;
        if (a == BEYOND_TRUE && b == BEYOND_TRUE)
            return BEYOND_TRUE;
        break;
    case OP_or:
        if (a == BEYOND_TRUE || b == BEYOND_TRUE)
            return BEYOND_TRUE;
        if (a == BEYOND_FALSE && b == BEYOND_FALSE)
            return BEYOND_FALSE;
        break;
    case OP_not:
        return opposite(a);
    case OP_le:
    case OP_lt:
        if (a == BEYOND_SAME && b == BEYOND_SAME)
            return compared(inst->op, &in[0], &in[1], axis);
        break;
    case OP_exp:
        if (a == BEYOND_LOW)
            return BEYOND_ZERO;
        break;
    case OP_add:
        if (a == BEYOND_LOW || b == BEYOND_LOW)
            return BEYOND_LOW;
        if (a == BEYOND_ZERO && b == BEYOND_ZERO)
            return BEYOND_ZERO;
        break;
    case OP_sub:
        if (a == BEYOND_LOW)
            return BEYOND_LOW;
        if (a == BEYOND_ZERO && b == BEYOND_ZERO)
            return BEYOND_ZERO;
        break;
    case OP_mul:
        if (a == BEYOND_ZERO || b == BEYOND_ZERO)
            return BEYOND_ZERO;
        break;
    case OP_div:
        if (a == BEYOND_ZERO)
            return BEYOND_ZERO;
        break;
    case OP_neg:
    case OP_abs:
        if (a == BEYOND_ZERO)
            return BEYOND_ZERO;
        break;
    case OP_cast:
        return a == BEYOND_FALSE ? BEYOND_ZERO : a == BEYOND_TRUE ? BEYOND_SAME : a;
    default:
        break;
    }
    bool valid = is_valid(a) && is_valid(b) && is_valid(c);
    return valid ? BEYOND_SAME : BEYOND_UNKNOWN;
}

static Beyond beyond_of(const Inst *inst, const Part in[], int axis)
{
    bool pointwise = op_has(inst->op, POINTWISE);
    if (pointwise)
        return beyond_pointwise(inst, in, axis);
    Beyond found = BEYOND_SAME;
    for (int i = 0; i < inst->inputs; i++) {
        int source = axis_in(inst, i, axis);
        Beyond from = source >= 0 ? (Beyond)in[i].beyond[source] : BEYOND_SAME;
        if (inst->op == OP_dot && (found == BEYOND_ZERO || from == BEYOND_ZERO))
            found = BEYOND_ZERO; // a batch axis of both, or a free axis of one
        else if (inst->op == OP_dot || inst->op == OP_gather || inst->op == OP_reduce ||
                 inst->op == OP_argmax)
            found = is_valid(found) && is_valid(from) ? BEYOND_SAME : BEYOND_UNKNOWN;
        else if (i > 0 && from != found)
            found = is_valid(found) && is_valid(from) ? BEYOND_SAME : BEYOND_UNKNOWN;
        else
            found = from;
    }
    return found;
}

// Whether folding `axis` of an operand may do without knowing what is beyond the position.
static bool may_fold(const Inst *inst, Beyond beyond)
{
    if (is_valid(beyond))
        return true;
    return beyond == BEYOND_LOW && (inst->op == OP_argmax ||
                                    (inst->op == OP_reduce && inst->attr[0].reducer == REDUCE_MAX));
}

// Every axis of an operand of which something beyond the position is unknown has to be an axis of
// the result, or be folded where that cannot matter. NULL, or why it does.
static const char *check_folds(const Inst *inst, const Part in[])
{
    for (int i = 0; i < inst->inputs; i++) {
        for (int axis = 0; axis < in[i].inst->type.rank; axis++) {
            Beyond beyond = (Beyond)in[i].beyond[axis];
            if (is_valid(beyond))
                continue;
            bool stays = false;
            for (int to = 0; to < inst->type.rank; to++)
                stays |= axis_in(inst, i, to) == axis;
            if (stays || may_fold(inst, beyond))
                continue;
            int pair = inst->op == OP_dot ? list_find(inst->attr[i].list, axis) : -1;
            if (pair >= 0 && in[1 - i].beyond[inst->attr[1 - i].list.at[pair]] == BEYOND_ZERO &&
                beyond == BEYOND_UNKNOWN)
                continue;
            return inst->op == OP_dot || inst->op == OP_reduce || inst->op == OP_argmax
                       ? "a position depends on later ones here"
                       : "what is done here along the axis of time cannot be done one position at "
                         "a time";
        }
    }
    return NULL;
}

// ---- forms

static bool constant_of(const Part *part, double *value)
{
    const Inst *inst = part->inst;
    while (inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_cast)
        inst = inst->input[0];
    return inst_is_splat(inst, value);
}

static void set_form(const Inst *inst, const Part in[], Part *out)
{
    double value;
    if (inst->inputs == 0)
        return;
    Part from = in[0];
    bool turned = inst->op == OP_add && from.form == FORM_NONE;
    switch ((int)inst->op) {
    case OP_add:
        from = turned ? in[1] : from;
        if (from.form == FORM_NONE || !constant_of(&in[turned ? 0 : 1], &value))
            return;
        from.offset += value;
        break;
    case OP_sub:
        if (from.form == FORM_NONE || !constant_of(&in[1], &value))
            return;
        from.offset -= value;
        break;
    case OP_cast:
    case OP_stop_gradient:
    case OP_broadcast:
    case OP_transpose:
    case OP_reshape:
        break;
    default:
        return;
    }
    if (from.form == FORM_NONE)
        return;
    int axis = -1;
    for (int to = 0; from.form == FORM_INDEX && to < out->inst->type.rank; to++)
        if (axis_in(inst, turned ? 1 : 0, to) == from.axis)
            axis = to;
    if (from.form == FORM_INDEX && axis < 0)
        return;
    out->form = from.form;
    out->offset = from.offset;
    out->axis = axis;
}

// ---- making what was asked for

static Inst *position_as(Deriving *d, Type type, Span span)
{
    Inst *position = ir_cast(d->fn, d->position, type.dtype, span);
    return type.rank == 0 ? position : ir_broadcast(d->fn, position, type, (IntList){0}, span);
}

// The attributes and the type of `inst` where its axis `axis` has size 1.
static Type narrowed(const Inst *inst, int axis, Attr attr[])
{
    Type type = inst->type;
    memcpy(attr, inst->attr, sizeof inst->attr);
    if (axis == WHOLE)
        return type;
    type.dim[axis] = 1;
    if (inst->op == OP_slice)
        attr[1].list.at[axis] = 1;
    return type;
}

static Part make_leaf(Deriving *d, const Inst *inst, int axis)
{
    Part out = {0};
    Attr attr[IR_MAX_ATTRS];
    Type type = narrowed(inst, axis, attr);
    if (inst->op == OP_iota) {
        if (axis == (int)inst->attr[0].whole) {
            out.inst = position_as(d, type, inst->span);
            out.form = FORM_POSITION;
        } else {
            out.inst = ir_append(d->fn, OP_iota, NULL, 0, attr, type, inst->span);
            out.form = inst->type.dim[inst->attr[0].whole] == d->length ? FORM_INDEX : FORM_NONE;
            out.axis = (int)inst->attr[0].whole;
        }
        return out;
    }
    if (inst->op == OP_constant && (axis == WHOLE || inst->attr[0].data.splat))
        out.inst = ir_append(d->fn, OP_constant, NULL, 0, attr, type, inst->span);
    else if (inst->op == OP_parameter && d->asked[inst->id].depends)
        out.inst = axis == 1 ? d->token : NULL;
    else if (inst->op == OP_parameter && axis == WHOLE)
        out.inst = d->param[inst->attr[0].whole];
    return out;
}

// Operations of which axis_in says everything.
static bool is_understood(const Inst *inst)
{
    switch ((int)inst->op) {
    case OP_stop_gradient:
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_pad:
    case OP_concat:
    case OP_gather:
    case OP_reduce:
    case OP_argmax:
    case OP_dot:
        return true;
    default:
        return op_has(inst->op, POINTWISE);
    }
}

// Whether the question for a slice along `axis` of the result can be passed on to the inputs.
static bool passes_on(const Inst *inst, int axis)
{
    if (!is_understood(inst) || inst->op == OP_broadcast)
        return inst->op == OP_broadcast;
    int from = 0;
    for (int i = 0; i < inst->inputs; i++)
        from += axis_in(inst, i, axis) >= 0;
    return inst->op == OP_concat ? from == inst->inputs : from > 0;
}

static Part make(Deriving *d, const Inst *inst, int axis)
{
    if (inst->inputs == 0)
        return make_leaf(d, inst, axis);
    bool depends = d->asked[inst->id].depends;
    if (axis != WHOLE && !passes_on(inst, axis))
        return refused(d, inst,
                       "what is done here along the axis of time cannot be done one position at a "
                       "time");
    if (inst->op == OP_random)
        return refused(d, inst, "random numbers are drawn here");
    Part *in = NEW_ARRAY(d->arena, Part, inst->inputs + 1), out = {0};
    Inst **input = NEW_ARRAY(d->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        in[i] = ask(d, inst->input[i], axis == WHOLE ? WHOLE : axis_in(inst, i, axis));
        input[i] = in[i].inst;
        if (!input[i])
            return out;
    }
    const char *why = depends ? check_folds(inst, in) : NULL;
    if (depends && !why && !is_understood(inst))
        for (int i = 0; i < inst->inputs; i++)
            if (!is_known(&in[i]))
                why = "this operation is not one that is done one position at a time";
    if (why)
        return refused(d, inst, why);
    Attr *attr = NEW_ARRAY(d->arena, Attr, IR_MAX_ATTRS);
    Type type = narrowed(inst, axis, attr);
    if (axis == WHOLE)
        out.inst = ir_clone_into(d->fn, inst, input);
    else
        out.inst = ir_append(d->fn, inst->op, input, inst->inputs, attr, type, inst->span);
    if (inst->results > 1)
        return out;
    for (int i = 0; i < inst->type.rank; i++)
        out.beyond[i] = (uint8_t)(i == axis ? BEYOND_SAME : beyond_of(inst, in, i));
    set_form(inst, in, &out);
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

static Part keep(Deriving *d, const Inst *inst, int axis)
{
    Part slice = ask(d, inst, axis);
    if (!slice.inst)
        return slice;
    if (!is_known(&slice))
        return refused(d, inst, "a position depends on later ones here");
    Slot slot = {SLOT_STATE, 0}; // its row is known in the end
    Cached cached = {.of = inst};
    cached.param = ir_param(d->fn, inst->type, slot, NULL, inst->span);
    Inst *in[] = {cached.param, d->index, slice.inst};
    Attr attr = {.whole = axis};
    cached.update = ir_append(d->fn, OP_scatter_add, in, 3, &attr, inst->type, inst->span);
    vec_push(d->arena, &d->cached, cached);
    Part out = {.inst = cached.update};
    out.beyond[axis] = BEYOND_UNKNOWN;
    return out;
}

static int only_axis(unsigned times)
{
    int axis = 0;
    while (axis < IR_MAX_RANK && !(times >> axis & 1))
        axis++;
    return times == 1u << axis ? axis : -1;
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
        part = keep(d, inst, time);
    if (!part.inst)
        part = make(d, inst, axis);
    if (!part.inst && axis != WHOLE)
        part = cut(d, inst, axis);
    asked->state[way] = DONE;
    asked->part[way] = part;
    return part;
}

// ---- the function

// Makes the caches that the result needs results as well, in their rows, and drops what is not
// needed.
static void finish(Deriving *d, Decode *decode, Inst *output)
{
    ir_result(d->fn, output, (Slot){SLOT_OUTPUT, 0}, sym_of(d->cx, "scores"));
    bool *needed = NEW_ARRAY(d->arena, bool, d->fn->next_id + 1);
    needed[output->id] = true;
    for (Inst *inst = d->fn->last; inst; inst = inst->prev)
        for (int i = 0; needed[inst->id] && i < inst->inputs; i++)
            needed[inst->input[i]->id] = true;
    for (int i = 0; i < d->cached.count; i++) {
        Cached *cached = &d->cached.at[i];
        if (!needed[cached->update->id])
            continue;
        Slot slot = {SLOT_STATE, d->first_row + decode->cache.count};
        cached->param->name = sym_printf(d->cx, "cache.%d", decode->cache.count);
        d->fn->param_slot.at[cached->param->attr[0].whole] = slot;
        ir_result(d->fn, cached->update, slot, cached->param->name);
        DecodeCache cache = {cached->of->type, cached->param->name, cached->of->span};
        vec_push(d->cx->arena, &decode->cache, cache);
    }
    for (Inst *inst = d->fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0)
            ir_remove(d->fn, inst);
    }
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

Decode decode_derive(Cx *cx, IrModule *module, const IrFunction *forward, Sym name, int first_row)
{
    Decode decode = {0};
    Deriving d = {.cx = cx, .arena = cx->arena, .first_row = first_row};
    d.flat = flattened(cx, forward);
    d.fn = ir_function_new(cx, NULL, name, forward->span);
    d.asked = NEW_ARRAY(cx->arena, Asked, d.flat->next_id + 1);
    d.param = NEW_ARRAY(cx->arena, Inst *, d.flat->param.count + 1);
    Inst *scores = d.flat->result.at[0].value;
    int scalars = 0;
    for (int i = 0; i < d.flat->param.count; i++) {
        const Inst *param = d.flat->param.at[i];
        Slot slot = d.flat->param_slot.at[i];
        Type type = param->type;
        scalars += slot.kind == SLOT_SCALAR;
        if (slot.kind == SLOT_INPUT) {
            d.length = type.dim[1];
            type.dim[1] = 1;
        }
        d.param[i] = ir_param(d.fn, type, slot, param->name, param->span);
        if (slot.kind == SLOT_INPUT)
            d.token = d.param[i];
    }
    d.position = ir_param(d.fn, type_scalar(DTYPE_I64), (Slot){SLOT_SCALAR, scalars},
                          sym_of(cx, "position"), forward->span);
    d.index = ir_reshape(d.fn, d.position, type_make(DTYPE_I64, 1, (int64_t[]){1}), forward->span);
    find_times(&d);
    Part part = ask(&d, scores, 1);
    if (part.inst && !is_known(&part))
        part = refused(&d, scores, "a position depends on later ones");
    if (!part.inst) {
        decode.why = d.why ? d.why : "it does not go through time one position after the other";
        decode.where = d.why ? d.where : forward->span;
        return decode;
    }
    Inst *flat = ir_reshape(d.fn, part.inst, type_make(scores->type.dtype, 1, &scores->type.dim[2]),
                            scores->span);
    finish(&d, &decode, flat);
    vec_push(cx->arena, &module->function, d.fn);
    decode.fn = d.fn;
    return decode;
}
