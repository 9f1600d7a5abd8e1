// decode_known.c: where axes go, and what is known of elements beyond the position. See decode.c.

#include "elab/decode_known.h"

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
int decode_axis(const Inst *inst, int operand, int axis)
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

// Operations of which decode_axis says everything.
bool decode_understands(const Inst *inst)
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
bool decode_passes_on(const Inst *inst, int axis)
{
    if (!decode_understands(inst) || inst->op == OP_broadcast)
        return inst->op == OP_broadcast;
    int from = 0;
    for (int i = 0; i < inst->inputs; i++)
        from += decode_axis(inst, i, axis) >= 0;
    return inst->op == OP_concat ? from == inst->inputs : from > 0;
}

// ---- what is known beyond the position

// Whether the elements beyond the position are what they are in `forward`.
bool beyond_is_valid(Beyond beyond)
{
    return beyond != BEYOND_UNKNOWN && beyond != BEYOND_LOW;
}

bool part_is_known(const Part *part)
{
    for (int i = 0; i < part->inst->type.rank; i++)
        if (!beyond_is_valid((Beyond)part->beyond[i]))
            return false;
    return true;
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
    bool valid = beyond_is_valid(a) && beyond_is_valid(b) && beyond_is_valid(c);
    return valid ? BEYOND_SAME : BEYOND_UNKNOWN;
}

Beyond part_beyond(const Inst *inst, const Part in[], int axis)
{
    bool pointwise = op_has(inst->op, POINTWISE);
    if (pointwise)
        return beyond_pointwise(inst, in, axis);
    Beyond found = BEYOND_SAME;
    for (int i = 0; i < inst->inputs; i++) {
        int source = decode_axis(inst, i, axis);
        Beyond from = source >= 0 ? (Beyond)in[i].beyond[source] : BEYOND_SAME;
        if (inst->op == OP_dot && (found == BEYOND_ZERO || from == BEYOND_ZERO))
            found = BEYOND_ZERO; // a batch axis of both, or a free axis of one
        else if (inst->op == OP_dot || inst->op == OP_gather || inst->op == OP_reduce ||
                 inst->op == OP_argmax)
            found = beyond_is_valid(found) && beyond_is_valid(from) ? BEYOND_SAME : BEYOND_UNKNOWN;
        else if (i > 0 && from != found)
            found = beyond_is_valid(found) && beyond_is_valid(from) ? BEYOND_SAME : BEYOND_UNKNOWN;
        else
            found = from;
    }
    return found;
}

// Whether folding `axis` of an operand may do without knowing what is beyond the position.
static bool may_fold(const Inst *inst, Beyond beyond)
{
    if (beyond_is_valid(beyond))
        return true;
    return beyond == BEYOND_LOW && (inst->op == OP_argmax ||
                                    (inst->op == OP_reduce && inst->attr[0].reducer == REDUCE_MAX));
}

// Every axis of an operand of which something beyond the position is unknown has to be an axis of
// the result, or be folded where that cannot matter. NULL, or why it does.
const char *part_check_folds(const Inst *inst, const Part in[])
{
    for (int i = 0; i < inst->inputs; i++) {
        for (int axis = 0; axis < in[i].inst->type.rank; axis++) {
            Beyond beyond = (Beyond)in[i].beyond[axis];
            if (beyond_is_valid(beyond))
                continue;
            bool stays = false;
            for (int to = 0; to < inst->type.rank; to++)
                stays |= decode_axis(inst, i, to) == axis;
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

void part_set_form(const Inst *inst, const Part in[], Part *out)
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
        if (decode_axis(inst, turned ? 1 : 0, to) == from.axis)
            axis = to;
    if (from.form == FORM_INDEX && axis < 0)
        return;
    out->form = from.form;
    out->offset = from.offset;
    out->axis = axis;
}
