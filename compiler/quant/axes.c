// axes.c: classes of axes, by union and find.
//
// Each axis of each value is a node. An operation unites the axes that run together (element-wise
// operations all of them, a product its contracted pairs, a concatenation all but one), and pins
// those whose size means something (spatial axes of a convolution, what is sliced or sorted, inputs
// and outputs). States are nodes of the job, so that a training step, its optimizer and the
// prediction agree.
//
// An axis may be made of others: a concatenation's of its parts', one that flattens [c, h, w] of c,
// each of whose places is h * w places of it. Such an axis has a list of pieces, and changes as
// they do. Where two of them meet they have to be made alike.
//
// The body of a loop is a part of the function around it: what it is given and gives back are the
// loop's operands and results, but for the axis that counts turns. So a repeated layer loses the
// same channels in every turn, and stays a loop.
//
// What an operation does that is not understood pins everything that it touches:
// then nothing is pruned there, but nothing wrong is made.

#include "quant/axes.h"

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"

typedef struct Piece { // `node` has places i; here they are (o * size + i) * inner + k
    int node;
    int64_t outer, inner;
} Piece;

typedef struct AxisNode {
    int parent;
    int64_t size; // of a root without pieces: as it is, or as it will be
    bool pinned;  // of a root without pieces
    int pieces;   // of a root
    Piece *piece;
} AxisNode;

typedef struct Known { // a function that was added
    IrFunction *fn;
    int base;
    int values; // ids when it was added
} Known;

typedef struct Cut { // a slice of whole pieces
    const Inst *inst;
    int axis, node, first, pieces; // `node`: the axis that is sliced
} Cut;

typedef struct Given { // what the parameter of a loop's body is
    const Inst *param, *outside;
    int sliced; // 1: one slice a turn
} Given;

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
    Vec(Cut) cut;
    Vec(Given) given;
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
    AxisNode *root = &a->node.at[find(a, node)];
    root->pinned = true;
    for (int i = 0; i < root->pieces; i++)
        pin_node(a, root->piece[i].node);
}

static void pin(Axes *a, const Inst *inst, int axis)
{
    pin_node(a, node_of(a, inst, axis));
}

static int64_t size_of(Axes *a, int node)
{
    const AxisNode *root = &a->node.at[find(a, node)];
    int64_t size = 0;
    for (int i = 0; i < root->pieces; i++)
        size += root->piece[i].outer * root->piece[i].inner * size_of(a, root->piece[i].node);
    return root->pieces ? size : root->size;
}

static bool is_pinned(Axes *a, int node)
{
    const AxisNode *root = &a->node.at[find(a, node)];
    bool pinned = root->pinned;
    for (int i = 0; i < root->pieces; i++)
        pinned |= is_pinned(a, root->piece[i].node);
    return pinned;
}

static bool same_pieces(Axes *a, const AxisNode *x, const AxisNode *y)
{
    bool same = x->pieces == y->pieces;
    for (int i = 0; same && i < x->pieces; i++)
        same = x->piece[i].outer == y->piece[i].outer && x->piece[i].inner == y->piece[i].inner &&
               size_of(a, x->piece[i].node) == size_of(a, y->piece[i].node);
    return same;
}

// One axis of different sizes cannot be: then neither changes.
static void unite_nodes(Axes *a, int left, int right)
{
    left = find(a, left);
    right = find(a, right);
    if (left == right)
        return;
    AxisNode x = a->node.at[left], y = a->node.at[right];
    bool alike = !x.pieces || !y.pieces || same_pieces(a, &x, &y);
    if (!alike || size_of(a, left) != size_of(a, right)) {
        pin_node(a, left);
        pin_node(a, right);
        return;
    }
    if (!x.pieces && y.pieces) {
        a->node.at[left].pieces = y.pieces;
        a->node.at[left].piece = y.piece;
    }
    a->node.at[right].parent = left;
    for (int i = 0; x.pieces && i < y.pieces; i++)
        unite_nodes(a, x.piece[i].node, y.piece[i].node);
    if (x.pinned || y.pinned)
        pin_node(a, left);
}

// The axis is made of these.
static void give_pieces(Axes *a, int node, const Piece piece[], int pieces)
{
    AxisNode made = {.parent = a->node.count, .pieces = pieces};
    made.piece = arena_copy(a->cx->arena, piece, sizeof *piece * (size_t)pieces);
    vec_push(a->cx->arena, &a->node, made);
    unite_nodes(a, a->node.count - 1, node);
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
            a->node.at[s * IR_MAX_RANK + i].pinned = i < info->stack;
        }
    }
    return a;
}

// ---- operations

// `whole` is an axis that several axes of `parts` make. One of them, the first that is free, may
// change.
static void add_flattened(Axes *a, const Inst *whole, int axis, const Inst *parts, int first,
                          int end)
{
    int free = first;
    while (free < end && (parts->type.dim[free] == 1 || is_pinned(a, node_of(a, parts, free))))
        free++;
    Piece piece = {free < end ? node_of(a, parts, free) : -1, 1, 1};
    for (int i = first; i < end; i++) {
        if (i == free)
            continue;
        pin(a, parts, i);
        *(i < free ? &piece.outer : &piece.inner) *= parts->type.dim[i];
    }
    if (free == end || is_pinned(a, node_of(a, whole, axis)))
        pin(a, whole, axis);
    else
        give_pieces(a, node_of(a, whole, axis), &piece, 1);
    if (free < end && is_pinned(a, node_of(a, whole, axis)))
        pin(a, parts, free);
}

static void add_group(Axes *a, const Inst *x, int first_i, int end_i, const Inst *y, int first_k,
                      int end_k)
{
    if (end_i - first_i == 0 || end_k - first_k == 0) {
        for (int i = first_i; i < end_i; i++)
            pin(a, x, i);
        for (int k = first_k; k < end_k; k++)
            pin(a, y, k);
    } else if (end_i - first_i == 1 && end_k - first_k == 1) {
        unite(a, x, first_i, y, first_k);
    } else if (end_k - first_k == 1) {
        add_flattened(a, y, first_k, x, first_i, end_i);
    } else if (end_i - first_i == 1) {
        add_flattened(a, x, first_i, y, first_k, end_k);
    } else {
        for (int i = first_i; i < end_i; i++)
            pin(a, x, i);
        for (int k = first_k; k < end_k; k++)
            pin(a, y, k);
    }
}

typedef struct Group { // axes of a reshape that are the same elements
    int in, in_end, out, out_end;
} Group;

// The group behind `g`. Axes of size 1 come and go by themselves.
static bool next_group(const Inst *inst, Group *g)
{
    Type in = inst->input[0]->type, out = inst->type;
    int i = g->in = g->in_end, k = g->out = g->out_end;
    if (i == in.rank && k == out.rank)
        return false;
    bool in_one = i < in.rank && in.dim[i] == 1, out_one = k < out.rank && out.dim[k] == 1;
    if (in_one != out_one) {
        g->in_end += in_one;
        g->out_end += out_one;
        return true;
    }
    int64_t left = i < in.rank ? in.dim[i++] : 1, right = k < out.rank ? out.dim[k++] : 1;
    while (left != right)
        if (left < right)
            left *= in.dim[i++];
        else
            right *= out.dim[k++];
    g->in_end = i;
    g->out_end = k;
    return true;
}

// Axes that stay what they are when elements are only counted in another way.
static void add_reshape(Axes *a, const Inst *inst)
{
    for (Group g = {0}; next_group(inst, &g);)
        add_group(a, inst->input[0], g.in, g.in_end, inst, g.out, g.out_end);
}

// Queries, keys and values that are one product are taken apart as [.., 3, heads, width] and then
// cut along the first of these. It is known not to change before it is chosen which of them may.
static void pin_cut_parts(Axes *a, const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->op == OP_loop)
            pin_cut_parts(a, inst->attr[3].function);
        if (inst->op != OP_slice || inst->input[0]->op != OP_reshape)
            continue;
        const Inst *whole = inst->input[0];
        for (Group g = {0}; next_group(whole, &g);)
            for (int i = g.out; i < g.out_end && g.in_end - g.in == 1 && g.out_end - g.out > 1; i++)
                if (inst->type.dim[i] != whole->type.dim[i])
                    pin(a, whole, i);
    }
}

// The pieces of an axis that the places from `start` on are; false: they are no whole pieces.
static bool find_cut(Axes *a, int node, int64_t start, int64_t count, int *first, int *pieces)
{
    const AxisNode *root = &a->node.at[find(a, node)];
    int64_t at = 0;
    for (int i = 0; i < root->pieces; i++) {
        if (at == start)
            *first = i, *pieces = 0;
        if (at >= start && at < start + count)
            ++*pieces;
        at += root->piece[i].outer * root->piece[i].inner * size_of(a, root->piece[i].node);
        if (at == start + count)
            return *pieces > 0;
    }
    return false;
}

static bool add_cut(Axes *a, const Inst *in, const Inst *inst, int axis, int64_t start)
{
    int first = 0, pieces = 0;
    if (!find_cut(a, node_of(a, in, axis), start, inst->type.dim[axis], &first, &pieces))
        return false;
    const AxisNode *root = &a->node.at[find(a, node_of(a, in, axis))];
    vec_push(a->cx->arena, &a->cut, ((Cut){inst, axis, node_of(a, in, axis), first, pieces}));
    if (pieces == 1 && root->piece[first].outer == 1 && root->piece[first].inner == 1)
        unite_nodes(a, root->piece[first].node, node_of(a, inst, axis));
    else
        give_pieces(a, node_of(a, inst, axis), &root->piece[first], pieces);
    return true;
}

static void add_slice(Axes *a, const Inst *inst)
{
    const Inst *in = inst->input[0];
    for (int i = 0; i < inst->type.rank; i++) {
        bool whole = inst->attr[0].list.at[i] == 0 && inst->type.dim[i] == in->type.dim[i];
        if (whole)
            unite(a, in, i, inst, i);
        else if (inst->attr[2].list.at[i] != 1 ||
                 !add_cut(a, in, inst, i, inst->attr[0].list.at[i]))
            pin(a, in, i), pin(a, inst, i);
    }
}

// The axis of a concatenation's result.
static void add_concat(Axes *a, const Inst *inst)
{
    int axis = (int)inst->attr[0].whole;
    Piece *piece = NEW_ARRAY(a->cx->arena, Piece, inst->inputs + 1);
    for (int k = 0; k < inst->inputs; k++) {
        piece[k] = (Piece){node_of(a, inst->input[k], axis), 1, 1};
        for (int i = 0; i < inst->type.rank; i++)
            if (i != axis)
                unite(a, inst->input[k], i, inst, i);
    }
    give_pieces(a, node_of(a, inst, axis), piece, inst->inputs);
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

static const Given *given(const Axes *a, const Inst *param)
{
    for (int i = 0; i < a->given.count; i++)
        if (a->given.at[i].param == param)
            return &a->given.at[i];
    return NULL;
}

// The axis of a weight's state that makes these channels of a product's result.
static void add_maker(Axes *a, const Inst *inst, int axis, const Inst *weights, int weight_axis)
{
    const Given *from;
    if (!a->predicts)
        return;
    for (;;) {
        if (weights->op == OP_transpose)
            weight_axis = (int)weights->attr[0].list.at[weight_axis];
        if (weights->op == OP_cast || weights->op == OP_transpose) {
            weights = weights->input[0];
        } else if ((from = given(a, weights))) {
            weight_axis += from->sliced;
            weights = from->outside;
        } else {
            break;
        }
    }
    if (weights->op != OP_parameter || weights->function->parent)
        return;
    Slot slot = weights->function->param_slot.at[weights->attr[0].whole];
    if (slot.kind == SLOT_STATE)
        vec_push(a->cx->arena, &a->maker,
                 ((Maker){node_of(a, inst, axis), {slot.index, weight_axis, NULL}}));
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

static void add_instruction(Axes *a, const Inst *inst);

// Operands are (carried, sliced, the same each turn), the body's parameters (turn, these). Of
// several results each is read by a `get`.
static void add_loop(Axes *a, const Inst *inst)
{
    const IrFunction *body = inst->attr[3].function;
    int carried = (int)inst->attr[1].whole, sliced = (int)inst->attr[2].whole;
    for (int k = 0; k < inst->inputs; k++) {
        const Inst *in = inst->input[k], *param = body->param.at[k + 1];
        int cut = k >= carried && k < carried + sliced;
        vec_push(a->cx->arena, &a->given, ((Given){param, in, cut}));
        if (cut)
            pin(a, in, 0);
        for (int i = 0; i < param->type.rank; i++)
            unite(a, in, i + cut, param, i);
    }
    for (const Inst *in = body->first; in; in = in->next)
        add_instruction(a, in);
    for (int r = 0; r < carried; r++) {
        const Inst *value = body->result.at[r].value, *param = body->param.at[r + 1];
        for (int i = 0; i < param->type.rank; i++)
            unite(a, value, i, param, i);
    }
}

// The axes of a loop's result are those of the body's.
static void add_result_of(Axes *a, const Inst *result, const Inst *loop, int index)
{
    const IrFunction *body = loop->attr[3].function;
    const Inst *value = body->result.at[index].value;
    int stacked = index >= (int)loop->attr[1].whole;
    if (stacked)
        pin(a, result, 0);
    for (int i = 0; i < value->type.rank; i++)
        unite(a, result, i + stacked, value, i);
}

// Queries, keys and values are [images, positions, heads, width]. Heads run together, unless some
// share keys; the width is that of one product.
static void add_attention(Axes *a, const Inst *inst)
{
    const Inst *q = inst->input[0];
    for (int k = 0; k < inst->inputs; k++) {
        const Inst *in = inst->input[k];
        bool logs = in->type.rank == 3; // [images, heads, queries]
        unite(a, q, 0, in, 0);
        unite(a, q, 2, in, logs ? 1 : 2); // of different sizes: neither changes
        unite(a, k == 1 || k == 2 ? inst->input[1] : q, 1, in, logs ? 2 : 1);
        if (!logs)
            pin(a, in, 3);
    }
}

static void add_attention_result(Axes *a, const Inst *result, const Inst *from, int index)
{
    const Inst *like = from->input[from->op == OP_attend_back ? index : 0];
    bool logs = result->type.rank == 3;
    unite(a, result, 0, like, 0);
    unite(a, result, logs ? 2 : 1, like, 1);
    unite(a, result, logs ? 1 : 2, like, 2);
    if (!logs)
        pin(a, result, 3);
}

static bool attends(const Inst *inst)
{
    return inst->op == OP_attend || inst->op == OP_attend_back;
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
        add_concat(a, inst);
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
    } else if (inst->op == OP_loop) {
        add_loop(a, inst);
        if (inst->results == 1)
            add_result_of(a, inst, inst, 0);
    } else if (attends(inst)) {
        add_attention(a, inst);
    } else if (inst->op == OP_get && attends(inst->input[0])) {
        add_attention_result(a, inst, inst->input[0], (int)inst->attr[0].whole);
    } else if (inst->op == OP_get && inst->input[0]->op == OP_loop) {
        add_result_of(a, inst, inst->input[0], (int)inst->attr[0].whole);
    } else if (inst->op != OP_random) {
        pin_operation(a, inst);
    }
}

// How large they are so far.
static void add_sizes(Axes *a, const IrFunction *fn)
{
    for (int p = 0; p < fn->param.count; p++)
        for (int i = 0; i < fn->param.at[p]->type.rank; i++)
            a->node.at[node_of(a, fn->param.at[p], i)].size = fn->param.at[p]->type.dim[i];
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        for (int i = 0; i < inst->type.rank; i++)
            a->node.at[node_of(a, inst, i)].size = inst->type.dim[i];
        if (inst->op == OP_loop)
            add_sizes(a, inst->attr[3].function);
    }
}

void axes_add(Axes *a, IrFunction *fn, bool predicts)
{
    a->base = a->node.count;
    a->predicts = predicts;
    vec_push(a->cx->arena, &a->known, ((Known){fn, a->base, fn->next_id}));
    add_nodes(a, fn->next_id * IR_MAX_RANK);
    add_sizes(a, fn);
    pin_cut_parts(a, fn);
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

static void list_classes(Axes *a, int node, AxisClasses *out)
{
    int root = find(a, node);
    const AxisNode *axis = &a->node.at[root];
    for (int i = 0; i < axis->pieces; i++)
        list_classes(a, axis->piece[i].node, out);
    if (!axis->pieces)
        vec_push(a->cx->arena, out, ((AxisClass){axis->pinned ? -1 : root, axis->size}));
}

AxisClasses axes_classes(Axes *a, int state, int axis)
{
    AxisClasses list = {0};
    list_classes(a, state * IR_MAX_RANK + axis, &list);
    return list;
}

void axes_resize(Axes *a, int class, int64_t size)
{
    a->node.at[find(a, class)].size = size;
}

int64_t axes_size(Axes *a, int state, int axis)
{
    return size_of(a, state * IR_MAX_RANK + axis);
}

static void list_places(Axes *a, int node, const AxisKept kept[], int count, int64_t *at,
                        AxisKept *out)
{
    int root = find(a, node);
    const AxisNode *axis = &a->node.at[root];
    const AxisKept *own = NULL;
    for (int i = 0; i < count; i++)
        if (kept[i].class == root)
            own = &kept[i];
    if (!axis->pieces) {
        for (int64_t i = 0; i < (own ? own->count : axis->size); i++)
            out->place[out->count++] = *at + (own ? own->place[i] : i);
        *at += axis->size;
        return;
    }
    for (int p = 0; p < axis->pieces; p++) {
        const Piece *piece = &axis->piece[p];
        int64_t size = size_of(a, piece->node), none = 0;
        AxisKept one = {.place = NEW_ARRAY(a->cx->arena, int64_t, size + 1)};
        list_places(a, piece->node, kept, count, &none, &one);
        for (int64_t o = 0; o < piece->outer; o++)
            for (int64_t i = 0; i < one.count; i++)
                for (int64_t k = 0; k < piece->inner; k++)
                    out->place[out->count++] = *at + (o * size + one.place[i]) * piece->inner + k;
        *at += piece->outer * size * piece->inner;
    }
}

AxisKept axes_kept(Axes *a, int state, int axis, const AxisKept kept[], int count)
{
    int node = state * IR_MAX_RANK + axis;
    int64_t size = size_of(a, node), at = 0;
    AxisKept out = {.class = -1, .size = size, .place = NEW_ARRAY(a->cx->arena, int64_t, size + 1)};
    list_places(a, node, kept, count, &at, &out);
    return out;
}

// For each place of an axis, that of the class which it is; -1: it is of another.
static bool list_class(Axes *a, int node, int class, int64_t *at, int64_t out[])
{
    int root = find(a, node);
    const AxisNode *axis = &a->node.at[root];
    bool any = root == class;
    if (!axis->pieces) {
        for (int64_t i = 0; i < axis->size; i++)
            out[(*at)++] = any ? i : -1;
        return any;
    }
    for (int p = 0; p < axis->pieces; p++) {
        const Piece *piece = &axis->piece[p];
        int64_t size = size_of(a, piece->node), none = 0;
        int64_t *one = NEW_ARRAY(a->cx->arena, int64_t, size + 1);
        any |= list_class(a, piece->node, class, &none, one);
        for (int64_t o = 0; o < piece->outer; o++)
            for (int64_t i = 0; i < size * piece->inner; i++)
                out[(*at)++] = one[i / piece->inner];
    }
    return any;
}

bool axes_places(Axes *a, int state, int axis, int class, int64_t out[])
{
    int64_t at = 0;
    return list_class(a, state * IR_MAX_RANK + axis, class, &at, out);
}

MakerList axes_makers(Axes *a, int class)
{
    MakerList list = {0};
    for (int i = 0; i < a->maker.count; i++) {
        AxisMaker maker = a->maker.at[i].weights;
        int64_t at = 0;
        bool known = false;
        for (int k = 0; k < list.count; k++)
            known |= list.at[k].state == maker.state;
        maker.place = NEW_ARRAY(a->cx->arena, int64_t, size_of(a, a->maker.at[i].node) + 1);
        if (!known && list_class(a, a->maker.at[i].node, class, &at, maker.place))
            vec_push(a->cx->arena, &list, maker);
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
        inst->type.dim[i] = size_of(a, node_of(a, inst, i));
}

// A slice of whole pieces begins where those before it end.
static void fit_slice(Axes *a, Inst *inst)
{
    for (int i = 0; i < inst->type.rank; i++)
        if (inst->attr[0].list.at[i] == 0 && inst->attr[2].list.at[i] == 1 &&
            inst->input[0]->type.dim[i] == inst->type.dim[i])
            inst->attr[1].list.at[i] = inst->type.dim[i];
    for (int c = 0; c < a->cut.count; c++) {
        const Cut *cut = &a->cut.at[c];
        if (cut->inst != inst)
            continue;
        const AxisNode *root = &a->node.at[find(a, cut->node)];
        int64_t start = 0;
        for (int i = 0; i < cut->first; i++)
            start += root->piece[i].outer * root->piece[i].inner * size_of(a, root->piece[i].node);
        inst->attr[0].list.at[cut->axis] = start;
        inst->attr[1].list.at[cut->axis] = start + inst->type.dim[cut->axis];
    }
}

static void fit_groups(Inst *inst)
{
    bool convolves = inst->op == OP_conv || inst->op == OP_conv_input || inst->op == OP_conv_weight;
    if (!convolves || inst->attr[4].whole <= 1)
        return;
    const Inst *x = inst->op == OP_conv_input ? inst : inst->input[0];
    const Inst *w = inst->op == OP_conv_weight ? inst : inst->input[1];
    if (w->type.dim[w->type.rank > x->type.rank ? 2 : 1] == 1)
        inst->attr[4].whole = x->type.dim[1];
}

static void apply_all(Axes *a, IrFunction *fn);

static void fit_loop(Axes *a, Inst *inst)
{
    const IrFunction *body = inst->attr[3].function;
    Type *types = NEW_ARRAY(a->cx->arena, Type, inst->results + 1);
    apply_all(a, inst->attr[3].function);
    for (int r = 0; r < inst->results; r++) {
        Type type = body->result.at[r].value->type;
        if (r >= inst->attr[1].whole) {
            memmove(type.dim + 1, type.dim, sizeof type.dim[0] * (size_t)type.rank++);
            type.dim[0] = inst->attr[0].whole;
        }
        types[r] = type;
    }
    inst->type = types[0];
    if (inst->results > 1)
        inst->result_type = types;
}

// The types of its results from those of its operands.
static void fit_attention(Axes *a, Inst *inst)
{
    Type *types = NEW_ARRAY(a->cx->arena, Type, inst->results + 1);
    for (int r = 0; r < inst->results; r++) {
        Type q = inst->input[0]->type;
        types[r] = inst->result_type[r];
        if (inst->op == OP_attend_back)
            types[r] = inst->input[r]->type;
        else
            types[r].dim[r == 0 ? 2 : 1] = q.dim[2];
    }
    inst->type = types[0];
    inst->result_type = types;
}

static void apply_all(Axes *a, IrFunction *fn)
{
    for (int p = 0; p < fn->param.count; p++)
        apply_shape(a, fn->param.at[p]);
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->id < a->most && inst->op != OP_loop && !attends(inst))
            apply_shape(a, inst);
        if (op_has(inst->op, POINTWISE))
            fit_uniform(inst);
        if (inst->op == OP_slice)
            fit_slice(a, inst);
        if (inst->op == OP_loop)
            fit_loop(a, inst);
        if (attends(inst))
            fit_attention(a, inst);
        fit_groups(inst);
    }
}

static void go_to(Axes *a, const IrFunction *fn)
{
    for (int i = 0; i < a->known.count; i++)
        if (a->known.at[i].fn == fn) {
            a->base = a->known.at[i].base;
            a->most = a->known.at[i].values;
        }
}

void axes_apply(Axes *a, IrFunction *fn)
{
    go_to(a, fn);
    apply_all(a, fn);
}

// Gives values their new types and keeps the old ones, or gives these back.
static void exchange(Axes *a, IrFunction *fn, Type *old, bool back)
{
    for (int p = 0; p < fn->param.count; p++) {
        Inst *param = fn->param.at[p];
        back ? (void)(param->type = old[param->id]) : (void)(old[param->id] = param->type);
        if (!back)
            apply_shape(a, param);
    }
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->op == OP_loop)
            exchange(a, inst->attr[3].function, old, back);
        if (inst->id >= a->most || inst->op == OP_loop || attends(inst))
            continue;
        back ? (void)(inst->type = old[inst->id]) : (void)(old[inst->id] = inst->type);
        if (!back)
            apply_shape(a, inst);
    }
}

// A product computes a register of channels or more, whether they are there or not.
static double flops_in(const IrFunction *fn)
{
    enum { LANES = 16 };
    double flops = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        int axis, weight_axis;
        if (inst->op == OP_loop) {
            double turns = inst->attr[0].whole == LOOP_NO_LIMIT ? 1 : (double)inst->attr[0].whole;
            flops += turns * flops_in(inst->attr[3].function);
        } else if (inst_weighs_channels(inst, &axis, &weight_axis)) {
            int64_t channels = inst->type.dim[axis], lanes = (channels + LANES - 1) / LANES * LANES;
            flops += inst_cost(inst).flops * (double)lanes / (double)channels;
        } else {
            flops += inst_cost(inst).flops;
        }
    }
    return flops;
}

double axes_flops(Axes *a, IrFunction *fn)
{
    Arena *arena = arena_new();
    go_to(a, fn);
    Type *old = NEW_ARRAY(arena, Type, a->most + 1);
    exchange(a, fn, old, false);
    double flops = flops_in(fn);
    exchange(a, fn, old, true);
    arena_free(arena);
    return flops;
}
