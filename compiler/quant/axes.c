// axes.c: classes of axes, by union and find.
//
// Each axis of each value is a node. An operation unites the axes that run together (element-wise
// operations all of them, a product its contracted pairs, a concatenation all but one), and pins
// those whose size means something (spatial axes of a convolution, what is sliced or sorted, inputs
// and outputs). States are nodes of the job, so that a training step, its optimizer and the
// prediction agree. What an operation does that is not understood pins everything that it touches:
// then nothing is pruned there, but nothing wrong is made.

#include "quant/axes.h"

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"

typedef struct AxisNode {
    int parent;
    int64_t size; // of a root: as it is, or as it will be
    bool pinned;  // of a root
} AxisNode;

typedef struct Known { // a function that was added
    IrFunction *fn;
    int base;
    int values; // ids when it was added
} Known;

typedef struct Maker {
    int node; // of the result's axis
    AxisMaker weights;
} Maker;

struct Axes {
    Cx *cx;
    const ProgramJob *job;
    Vec(AxisNode) node;
    Vec(Known) known;
    Vec(Maker) maker;
    int base, most; // of the function in progress: its first node, its ids
    bool predicts;
};

static int find(Axes *a, int node)
{
    while (a->node.at[node].parent != node) {
        a->node.at[node].parent = a->node.at[a->node.at[node].parent].parent;
        node = a->node.at[node].parent;
    }
    return node;
}

static int node_of(const Axes *a, const Inst *inst, int axis)
{
    return a->base + inst->id * IR_MAX_RANK + axis;
}

static void pin_node(Axes *a, int node)
{
    a->node.at[find(a, node)].pinned = true;
}

static void pin(Axes *a, const Inst *inst, int axis)
{
    pin_node(a, node_of(a, inst, axis));
}

static void unite_nodes(Axes *a, int left, int right)
{
    left = find(a, left);
    right = find(a, right);
    if (left == right)
        return;
    bool pinned = a->node.at[left].pinned || a->node.at[right].pinned ||
                  a->node.at[left].size != a->node.at[right].size;
    a->node.at[right].parent = left;
    a->node.at[left].pinned = pinned;
}

static void unite(Axes *a, const Inst *x, int i, const Inst *y, int k)
{
    unite_nodes(a, node_of(a, x, i), node_of(a, y, k));
}

static void pin_all(Axes *a, const Inst *inst)
{
    for (int i = 0; i < inst->type.rank; i++)
        pin(a, inst, i);
}

static void pin_operation(Axes *a, const Inst *inst)
{
    pin_all(a, inst);
    for (int i = 0; i < inst->inputs; i++)
        pin_all(a, inst->input[i]);
}

static bool listed(IntList list, int64_t axis)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == axis)
            return true;
    return false;
}

static void add_nodes(Axes *a, int count)
{
    for (int i = 0; i < count; i++) {
        AxisNode node = {.parent = a->node.count, .size = 1};
        vec_push(a->cx->arena, &a->node, node);
    }
}

Axes *axes_new(Cx *cx, const ProgramJob *job)
{
    Axes *a = NEW(cx->arena, Axes);
    *a = (Axes){.cx = cx, .job = job};
    add_nodes(a, job->state.count * IR_MAX_RANK);
    for (int s = 0; s < job->state.count; s++) {
        const aml_state_info *info = &job->state.at[s].info;
        for (int i = 0; i < info->tensor.shape.rank; i++) {
            a->node.at[s * IR_MAX_RANK + i].size = info->tensor.shape.dim[i];
            a->node.at[s * IR_MAX_RANK + i].pinned = info->stack > 0;
        }
    }
    return a;
}

// ---- operations

// Axes that stay what they are when elements are only counted in another way. Those of size 1 come
// and go by themselves.
static void add_reshape(Axes *a, const Inst *inst)
{
    Type in = inst->input[0]->type, out = inst->type;
    int i = 0, k = 0;
    while (i < in.rank || k < out.rank) {
        int first_i = i, first_k = k;
        bool in_one = i < in.rank && in.dim[i] == 1, out_one = k < out.rank && out.dim[k] == 1;
        if (in_one != out_one) {
            if (in_one)
                pin(a, inst->input[0], i++);
            else
                pin(a, inst, k++);
            continue;
        }
        int64_t left = i < in.rank ? in.dim[i++] : 1, right = k < out.rank ? out.dim[k++] : 1;
        while (left != right)
            if (left < right)
                left *= in.dim[i++];
            else
                right *= out.dim[k++];
        bool same = i - first_i == 1 && k - first_k == 1;
        if (same)
            unite(a, inst->input[0], first_i, inst, first_k);
        for (int j = first_i; j < i && !same; j++)
            pin(a, inst->input[0], j);
        for (int j = first_k; j < k && !same; j++)
            pin(a, inst, j);
    }
}

static void add_slice(Axes *a, const Inst *inst)
{
    const Inst *in = inst->input[0];
    for (int i = 0; i < inst->type.rank; i++) {
        bool whole = inst->attr[0].list.at[i] == 0 && inst->type.dim[i] == in->type.dim[i];
        if (whole)
            unite(a, in, i, inst, i);
        else
            pin(a, in, i), pin(a, inst, i);
    }
}

// `b`'s axis i is `a`'s; `axis` of the first is replaced by axes of the second's.
static void add_gather(Axes *a, const Inst *inst)
{
    const Inst *from = inst->input[0], *index = inst->input[1];
    int axis = (int)inst->attr[0].whole;
    pin(a, from, axis);
    for (int i = 0; i < axis; i++)
        unite(a, from, i, inst, i);
    for (int i = 0; i < index->type.rank; i++)
        unite(a, index, i, inst, axis + i);
    for (int i = axis + 1; i < from->type.rank; i++)
        unite(a, from, i, inst, i + index->type.rank - 1);
}

static void add_scatter(Axes *a, const Inst *inst)
{
    const Inst *to = inst->input[0], *index = inst->input[1], *rows = inst->input[2];
    int axis = (int)inst->attr[0].whole;
    pin(a, inst, axis);
    for (int i = 0; i < to->type.rank; i++)
        unite(a, to, i, inst, i);
    for (int i = 0; i < axis; i++)
        unite(a, rows, i, inst, i);
    for (int i = 0; i < index->type.rank; i++)
        unite(a, index, i, rows, axis + i);
    for (int i = axis + 1; i < to->type.rank; i++)
        unite(a, rows, i + index->type.rank - 1, inst, i);
}

static const Inst *state_behind(const Inst *weights)
{
    while (weights->op == OP_cast || weights->op == OP_transpose)
        weights = weights->input[0];
    return weights->op == OP_parameter ? weights : NULL;
}

// The axis of a weight's state that makes these channels of a product's result.
static void add_maker(Axes *a, const Inst *inst, int axis, const Inst *weights, int weight_axis)
{
    const Inst *state = state_behind(weights);
    if (!state || !a->predicts)
        return;
    for (const Inst *in = weights; in != state; in = in->input[0])
        if (in->op == OP_transpose)
            weight_axis = (int)in->attr[0].list.at[weight_axis];
    Slot slot = state->function->param_slot.at[state->attr[0].whole];
    if (slot.kind == SLOT_STATE)
        vec_push(a->cx->arena, &a->maker,
                 ((Maker){node_of(a, inst, axis), {slot.index, weight_axis}}));
}

static void add_dot(Axes *a, const Inst *inst)
{
    const Inst *x = inst->input[0], *y = inst->input[1];
    IntList cx = inst->attr[0].list, cy = inst->attr[1].list, bx = inst->attr[2].list,
            by = inst->attr[3].list;
    int out = 0;
    for (int i = 0; i < cx.count; i++)
        unite(a, x, (int)cx.at[i], y, (int)cy.at[i]);
    for (int i = 0; i < bx.count; i++, out++) {
        unite(a, x, (int)bx.at[i], inst, out);
        unite(a, y, (int)by.at[i], inst, out);
    }
    for (int i = 0; i < x->type.rank; i++)
        if (!listed(cx, i) && !listed(bx, i))
            unite(a, x, i, inst, out++);
    for (int i = 0; i < y->type.rank; i++)
        if (!listed(cy, i) && !listed(by, i)) {
            if (y->type.rank == 2)
                add_maker(a, inst, out, y, i);
            unite(a, y, i, inst, out++);
        }
}

// x [n, c, ..], w [o, c / groups, ..], y [n, o, ..], of which one is the result.
static void add_conv(Axes *a, const Inst *inst)
{
    bool input = inst->op == OP_conv_input, weight = inst->op == OP_conv_weight;
    const Inst *x = input ? inst : inst->input[0], *w = weight ? inst : inst->input[1],
               *y = input || weight ? inst->input[weight] : inst;
    int first = weight && inst->attr[5].whole > 0; // an axis of parts before the others
    int64_t groups = inst->attr[4].whole;
    unite(a, x, 0, y, 0);
    if (first)
        pin(a, w, 0);
    for (int i = 2; i < x->type.rank; i++)
        pin(a, x, i), pin(a, y, i), pin(a, w, i + first);
    unite(a, y, 1, w, first);
    if (groups == 1)
        unite(a, x, 1, w, 1 + first);
    else if (groups == x->type.dim[1] && groups == y->type.dim[1])
        unite(a, x, 1, y, 1);
    else
        pin(a, x, 1), pin(a, y, 1);
    if (inst->op == OP_conv && groups == 1)
        add_maker(a, inst, 1, w, 0);
}

static void add_dropping(Axes *a, const Inst *inst, IntList axes)
{
    int out = 0;
    for (int i = 0; i < inst->input[0]->type.rank; i++)
        if (!listed(axes, i))
            unite(a, inst->input[0], i, inst, out++);
        else if (a->predicts || inst->op != OP_reduce)
            pin(a, inst->input[0], i);
}

// One element everywhere: equal ones are one instruction, though nothing else joins their readers.
// Each reader gets one of its own shape.
static bool is_uniform(const Inst *inst)
{
    return (inst->op == OP_constant && inst->attr[0].data.splat) ||
           (inst->op == OP_broadcast && inst->input[0]->type.rank == 0);
}

static void add_same(Axes *a, const Inst *inst, int64_t but)
{
    bool pointwise = op_has(inst->op, POINTWISE);
    for (int k = 0; k < inst->inputs; k++)
        for (int i = 0; i < inst->type.rank && inst->input[k]->type.rank == inst->type.rank; i++)
            if (pointwise && is_uniform(inst->input[k]))
                continue;
            else if (i != but)
                unite(a, inst->input[k], i, inst, i);
            else
                pin(a, inst->input[k], i), pin(a, inst, i);
}

// window: [rest, sizes] to [kernel, rest, positions]; unwindow: [kernel, rest, positions] to
// [kernel, rest, sizes].
static void add_window(Axes *a, const Inst *inst)
{
    const Inst *in = inst->input[0];
    int spatial = inst->attr[0].list.count, kernel = inst->op == OP_window ? spatial : 0;
    for (int i = 0; i < in->type.rank - spatial; i++)
        unite(a, in, i, inst, i + kernel);
    for (int i = 0; i < spatial; i++) {
        pin(a, inst, i);
        pin(a, inst, inst->type.rank - 1 - i);
        pin(a, in, in->type.rank - 1 - i);
    }
}

static void add_instruction(Axes *a, const Inst *inst)
{
    const Inst *in = inst->inputs > 0 ? inst->input[0] : NULL;
    if (op_has(inst->op, POINTWISE) || inst->op == OP_stop_gradient) {
        add_same(a, inst, -1);
    } else if (inst->op == OP_broadcast) {
        for (int i = 0; i < in->type.rank; i++)
            if (in->type.dim[i] == inst->type.dim[inst->attr[0].list.at[i]])
                unite(a, in, i, inst, (int)inst->attr[0].list.at[i]);
            else
                pin(a, in, i);
    } else if (inst->op == OP_transpose) {
        for (int i = 0; i < in->type.rank; i++)
            unite(a, in, (int)inst->attr[0].list.at[i], inst, i);
    } else if (inst->op == OP_pad) {
        for (int i = 0; i < in->type.rank; i++)
            if (in->type.dim[i] == inst->type.dim[i])
                unite(a, in, i, inst, i);
            else
                pin(a, in, i), pin(a, inst, i);
    } else if (inst->op == OP_reshape) {
        add_reshape(a, inst);
    } else if (inst->op == OP_slice) {
        add_slice(a, inst);
    } else if (inst->op == OP_concat) {
        add_same(a, inst, inst->attr[0].whole);
    } else if (inst->op == OP_gather) {
        add_gather(a, inst);
    } else if (inst->op == OP_scatter_add) {
        add_scatter(a, inst);
    } else if (inst->op == OP_take_along || inst->op == OP_add_along) {
        add_same(a, inst, inst->attr[0].whole);
    } else if (inst->op == OP_reduce) {
        add_dropping(a, inst, inst->attr[1].list);
    } else if (inst->op == OP_argmax) {
        add_dropping(a, inst, (IntList){1, {inst->attr[0].whole}});
    } else if (inst->op == OP_cumulate) {
        add_same(a, inst, inst->attr[1].whole);
    } else if (inst->op == OP_argsort) {
        add_same(a, inst, inst->type.rank - 1);
    } else if (inst->op == OP_dot) {
        add_dot(a, inst);
    } else if (inst->op == OP_conv || inst->op == OP_conv_input || inst->op == OP_conv_weight) {
        add_conv(a, inst);
    } else if (inst->op == OP_iota) {
        pin(a, inst, (int)inst->attr[0].whole);
    } else if (inst->op == OP_constant) {
        if (!inst->attr[0].data.splat)
            pin_all(a, inst);
    } else if (inst->op == OP_window || inst->op == OP_unwindow) {
        add_window(a, inst);
    } else if (inst->op != OP_random) {
        pin_operation(a, inst);
    }
}

void axes_add(Axes *a, IrFunction *fn, bool predicts)
{
    a->base = a->node.count;
    a->predicts = predicts;
    vec_push(a->cx->arena, &a->known, ((Known){fn, a->base, fn->next_id}));
    add_nodes(a, fn->next_id * IR_MAX_RANK);
    for (int p = 0; p < fn->param.count; p++)
        for (int i = 0; i < fn->param.at[p]->type.rank; i++)
            a->node.at[node_of(a, fn->param.at[p], i)].size = fn->param.at[p]->type.dim[i];
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->type.rank; i++)
            a->node.at[node_of(a, inst, i)].size = inst->type.dim[i];
    for (int p = 0; p < fn->param.count; p++) {
        const Inst *param = fn->param.at[p];
        Slot slot = fn->param_slot.at[p];
        for (int i = 0; i < param->type.rank; i++)
            if (slot.kind == SLOT_STATE)
                unite_nodes(a, slot.index * IR_MAX_RANK + i, node_of(a, param, i));
            else
                pin(a, param, i);
    }
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        add_instruction(a, inst);
    for (int r = 0; r < fn->result.count; r++) {
        const Inst *value = fn->result.at[r].value;
        Slot slot = fn->result.at[r].slot;
        for (int i = 0; i < value->type.rank; i++)
            if (slot.kind == SLOT_STATE)
                unite_nodes(a, slot.index * IR_MAX_RANK + i, node_of(a, value, i));
            else
                pin(a, value, i);
    }
}

int axes_class(Axes *a, int state, int axis)
{
    int root = find(a, state * IR_MAX_RANK + axis);
    return a->node.at[root].pinned ? -1 : root;
}

void axes_resize(Axes *a, int class, int64_t size)
{
    a->node.at[find(a, class)].size = size;
}

int64_t axes_size(Axes *a, int state, int axis)
{
    return a->node.at[find(a, state * IR_MAX_RANK + axis)].size;
}

MakerList axes_makers(Axes *a, int class)
{
    MakerList list = {0};
    for (int i = 0; i < a->maker.count; i++) {
        const Maker *maker = &a->maker.at[i];
        bool known = find(a, maker->node) != class;
        for (int k = 0; k < list.count; k++)
            known |= list.at[k].state == maker->weights.state;
        if (!known)
            vec_push(a->cx->arena, &list, maker->weights);
    }
    return list;
}

static void fit_uniform(Inst *inst)
{
    for (int k = 0; k < inst->inputs; k++) {
        Inst *in = inst->input[k];
        if (!is_uniform(in) || shape_equal(in->type, inst->type) || in->type.rank == 0)
            continue;
        Type type = inst->type;
        type.dtype = in->type.dtype;
        ir_set_input(
            inst, k,
            ir_insert_before(inst, in->op, in->input, in->inputs, in->attr, type, in->span));
    }
}

static void apply_shape(Axes *a, Inst *inst)
{
    for (int i = 0; i < inst->type.rank; i++)
        inst->type.dim[i] = a->node.at[find(a, node_of(a, inst, i))].size;
}

void axes_apply(Axes *a, IrFunction *fn)
{
    for (int i = 0; i < a->known.count; i++)
        if (a->known.at[i].fn == fn) {
            a->base = a->known.at[i].base;
            a->most = a->known.at[i].values;
        }
    for (int p = 0; p < fn->param.count; p++)
        apply_shape(a, fn->param.at[p]);
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->id < a->most)
            apply_shape(a, inst);
        if (op_has(inst->op, POINTWISE))
            fit_uniform(inst);
        if (inst->op == OP_slice)
            for (int i = 0; i < inst->type.rank; i++)
                if (inst->attr[0].list.at[i] == 0 && inst->attr[2].list.at[i] == 1 &&
                    inst->input[0]->type.dim[i] == inst->type.dim[i])
                    inst->attr[1].list.at[i] = inst->type.dim[i];
        bool convolves =
            inst->op == OP_conv || inst->op == OP_conv_input || inst->op == OP_conv_weight;
        if (convolves && inst->attr[4].whole > 1) {
            const Inst *x = inst->op == OP_conv_input ? inst : inst->input[0];
            const Inst *w = inst->op == OP_conv_weight ? inst : inst->input[1];
            if (w->type.dim[w->type.rank > x->type.rank ? 2 : 1] == 1)
                inst->attr[4].whole = x->type.dim[1];
        }
    }
}
