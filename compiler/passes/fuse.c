// fuse: groups of instructions become one loop nest each.
//
// Every instruction begins as a group of its own; two groups are merged if one reads the other and
// the result still is a body of one of the three kinds of fuse.h. This is right if
//
//   - no path leaves the merged group and comes back to it: then an order of the groups exists. It
//     is tested for each merge by walking from the producer over all other groups that could reach
//     the consumer;
//   - every value that the consumer reads from the producer is read at the index at which the
//     producer makes it: directly, or through a broadcast from the KEPT to the SPACE level. A
//     matrix product's operands are read at other indices, so what makes them stays outside;
//   - of a convolution's result only sums over all positions of a channel may be folded in its
//     epilogue, and nothing in the group reads them;
//   - a norm that a convolution reads is computed where the image is copied, by each reader again
//     (fuse_prologue.c);
//   - what moves data without computing (broadcast, transpose, slice, gather, iota, equal
//     constants) is copied into each body that reads it, and reads memory there. It never orders
//     groups by itself.
//
// Each merge leaves one group fewer, so it ends. Products take their consumers first (an epilogue
// is free), then folds take producers and consumers, then element-wise chains grow. Small updates
// of one shape, which do not read each other, are merged in the end. Values read outside of their
// group become results.

#include <stdlib.h>
#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"
#include "passes/pass.h"

typedef enum {
    ROLE_FIXED, // code of its own, or none
    ROLE_FREE,  // copied into its readers: moves data, or is of a prologue
    ROLE_FUSED,
} Role;

typedef enum {
    EDGE_DIRECT,
    EDGE_BROADCAST,
    EDGE_OTHER,
    EDGE_ORDER
} EdgeKind; // ORDER: comes after, reads nothing

typedef struct Edge {
    int from, to; // nodes
    EdgeKind kind;
    const Inst *broadcast; // BROADCAST: the one between
} Edge;

typedef Vec(int) Positions; // of nodes
typedef Vec(Inst *) Users;

typedef struct Node {
    Inst *inst;
    Role role;
    bool solid;       // FREE: also needed in memory
    bool made;        // FREE: of a prologue, computed by each reader
    int group;        // union-find parent
    Vec(int) in, out; // edges
    Users user;       // what has it as an input
    Vec(int) result;  // which results of the function it is
    int64_t seen;     // of a walk
    Inst *twin;       // the copy in the body under construction
    int made_for;     // group + 1 for which twin is
    int nests;        // how many instructions before it are not mere numbers
} Node;

typedef struct Group {
    BodyKind kind;
    Type space;
    unsigned folded;
    unsigned down; // REDUCE of rows: the axes that it keeps, if it has sums down columns
    bool fusible;
    bool pieces;     // MAP: has a concat
    bool alone;      // DOT: nothing can be added
    Vec(int) member; // by position
    int last;        // position of the last member
    int64_t seen;    // of a walk
    bool placed;
} Group;

typedef struct Fuser {
    Cx *cx;
    Arena *arena;
    IrFunction *fn;
    Vec(Node) node;
    Vec(Edge) edge;
    Group *group; // by node of the representative
    Users *param; // of each parameter of fn
    int64_t walk;
    bool first; // the first walk over the edges: products and rows only
} Fuser;

// ---- nodes and edges ----------------------------------------------------------------------------

// A cast from 16 bits is copied into what reads it, so that 16 bits are what is stored.
static Role role_of(const Inst *inst)
{
    if (inst_widens(inst))
        return ROLE_FREE;
    if (inst_in_register(inst) || inst_is_alias(inst))
        return ROLE_FIXED;
    if (inst->op == OP_constant)
        return inst->attr[0].data.splat ? ROLE_FREE : ROLE_FIXED;
    if (inst->op == OP_broadcast || inst->op == OP_transpose || inst->op == OP_slice ||
        inst->op == OP_gather || inst->op == OP_take_along || inst->op == OP_iota ||
        inst->op == OP_window || inst->op == OP_unwindow)
        return ROLE_FREE;
    if (inst->op == OP_pad && inst_is_outer_pad(inst))
        return ROLE_FREE;
    if (op_has(inst->op, POINTWISE) || inst_is_product(inst) || inst_joins_pieces(inst))
        return ROLE_FUSED;
    return inst->op == OP_reduce && inst->attr[1].list.count > 0 ? ROLE_FUSED : ROLE_FIXED;
}

static Node *node_of(Fuser *f, const Inst *inst)
{
    return inst->op == OP_parameter ? NULL : &f->node.at[inst->mark];
}

static void add_edge(Fuser *f, int from, int to, EdgeKind kind, const Inst *broadcast)
{
    Edge edge = {from, to, kind, broadcast};
    vec_push(f->arena, &f->edge, edge);
    vec_push(f->arena, &f->node.at[from].out, f->edge.count - 1);
    vec_push(f->arena, &f->node.at[to].in, f->edge.count - 1);
}

// Every value that is in memory and that `inst` stands for, seen by reader `to`.
static void trace(Fuser *f, const Inst *inst, int to, EdgeKind kind, const Inst *broadcast)
{
    const Node *node = node_of(f, inst);
    if (!node)
        return;
    if (node->role != ROLE_FREE) { // where a piece of a concat is made, the others are not known
        add_edge(f, (int)inst->mark, to, inst->op == OP_concat ? EDGE_OTHER : kind, broadcast);
        return;
    }
    if (inst_widens(inst) || node->made) { // reads at the same index
        for (int i = 0; i < inst->inputs; i++)
            trace(f, inst->input[i], to, kind, broadcast);
        return;
    }
    for (int i = 0; i < inst->inputs; i++) {
        bool first = kind == EDGE_DIRECT && inst->op == OP_broadcast;
        trace(f, inst->input[i], to, first ? EDGE_BROADCAST : EDGE_OTHER, first ? inst : NULL);
    }
}

// What a product reads from memory.
static Inst *operand_of(const Inst *inst, int input)
{
    bool half = inst_is_product(inst) && product_half(inst) != inst->type.dtype;
    return half ? product_stored(inst->input[input]) : inst->input[input];
}

// A cast whose reader needs f32 in memory is computed like anything else.
static void store_casts(Fuser *f)
{
    for (int i = 0; i < f->node.count; i++) {
        const Node *node = &f->node.at[i];
        bool memory = node->role == ROLE_FIXED || inst_is_product(node->inst);
        for (int k = 0; k < node->inst->inputs && memory; k++) {
            const Inst *in = operand_of(node->inst, k);
            if (inst_widens(in))
                node_of(f, in)->role = ROLE_FUSED;
        }
    }
    for (int i = 0; i < f->fn->result.count; i++)
        if (inst_widens(f->fn->result.at[i].value))
            node_of(f, f->fn->result.at[i].value)->role = ROLE_FUSED;
}

// Is this operand computed where it is read?
static bool is_prologue(Fuser *f, const Inst *inst, int input)
{
    const Node *in = node_of(f, inst->input[input]);
    return input == 0 && inst_sums_products(inst) && in && in->made;
}

// What convolutions copy, computed by all that read it.
static void mark_prologues(Fuser *f)
{
    const bool *made = find_prologues(f->fn, f->node.count);
    for (int i = 0; i < f->node.count; i++) {
        Node *node = &f->node.at[i];
        node->made = made[i];
        if (node->made)
            node->role = ROLE_FREE;
        if (node->inst->op == OP_conv_weight && is_prologue(f, node->inst, 0))
            node->role = ROLE_FUSED;
    }
}

static void make_nodes(Fuser *f)
{
    int nests = 0;
    for (Inst *inst = f->fn->first; inst; inst = inst->next) {
        inst->mark = f->node.count;
        Node node = {.inst = inst, .role = role_of(inst), .group = f->node.count, .nests = nests};
        vec_push(f->arena, &f->node, node);
        nests += !inst_in_register(inst);
    }
    store_casts(f);
    f->group = NEW_ARRAY(f->arena, Group, f->node.count + 1);
    f->param = NEW_ARRAY(f->arena, Users, f->fn->param.count + 1);
    for (int i = 0; i < f->fn->result.count; i++) {
        Node *node = node_of(f, f->fn->result.at[i].value);
        if (!node)
            continue;
        node->solid = true;
        vec_push(f->arena, &node->result, i);
    }
    for (int i = 0; i < f->node.count; i++) {
        Inst *inst = f->node.at[i].inst;
        for (int k = 0; k < inst->inputs; k++) {
            const Inst *in = inst->input[k];
            Node *node = node_of(f, in);
            vec_push(f->arena, node ? &node->user : &f->param[in->attr[0].whole], inst);
        }
    }
    mark_prologues(f);
    for (int i = f->node.count - 1; i >= 0; i--) {
        const Node *node = &f->node.at[i];
        bool memory = node->role == ROLE_FIXED || inst_is_product(node->inst) ||
                      (node->role == ROLE_FREE && node->solid);
        for (int k = 0; k < node->inst->inputs && memory; k++) {
            Node *in = node_of(f, operand_of(node->inst, k));
            if (in && !is_prologue(f, node->inst, k))
                in->solid = true;
        }
    }
}

static void make_edges(Fuser *f)
{
    for (int i = 0; i < f->node.count; i++) {
        const Node *node = &f->node.at[i];
        if (node->role == ROLE_FREE && !node->solid)
            continue;
        const Inst *inst = node->inst;
        bool elsewhere = node->role != ROLE_FUSED || inst_sums_products(inst);
        for (int k = 0; k < inst->inputs; k++) {
            const Inst *input = operand_of(inst, k);
            const Node *in = node_of(f, input);
            if (in && in->role == ROLE_FREE && elsewhere && !is_prologue(f, inst, k))
                add_edge(f, (int)input->mark, i, EDGE_OTHER, NULL);
            else
                trace(f, input, i, elsewhere ? EDGE_OTHER : EDGE_DIRECT, NULL);
        }
    }
}

static void make_groups(Fuser *f)
{
    for (int i = 0; i < f->node.count; i++) {
        const Node *node = &f->node.at[i];
        Group *group = &f->group[i];
        *group = (Group){.kind = BODY_MAP,
                         .space = node->inst->type,
                         .fusible = node->role == ROLE_FUSED,
                         .last = i};
        if (inst_sums_products(node->inst))
            group->kind = BODY_DOT;
        group->alone = node->inst->op == OP_conv_weight;
        group->pieces = group->fusible && node->inst->op == OP_concat;
        if (group->pieces)
            group->space = node->inst->input[0]->type;
        if (node->inst->op == OP_reduce) {
            group->kind = BODY_REDUCE;
            group->space = node->inst->input[0]->type;
            for (int k = 0; k < node->inst->attr[1].list.count; k++)
                group->folded |= 1u << node->inst->attr[1].list.at[k];
        }
        vec_push(f->arena, &group->member, i);
    }
}

// ---- merging ------------------------------------------------------------------------------------

static int find(Fuser *f, int node)
{
    while (f->node.at[node].group != node) {
        f->node.at[node].group = f->node.at[f->node.at[node].group].group;
        node = f->node.at[node].group;
    }
    return node;
}

static BodyShape shape_of(const Group *group)
{
    BodyShape shape = {.kind = group->kind, .space = group->space, .folded = group->folded};
    for (int axis = 0; axis < group->space.rank; axis++)
        if (group->kind == BODY_REDUCE && !(group->folded >> axis & 1))
            shape.kept.at[shape.kept.count++] = axis;
    return shape;
}

static bool has_kept_shape(const BodyShape *shape, Type type)
{
    if (type.rank != shape->kept.count)
        return false;
    for (int i = 0; i < type.rank; i++)
        if (type.dim[i] != shape->space.dim[shape->kept.at[i]])
            return false;
    return true;
}

static unsigned kept_axes(const Group *group)
{
    return ~group->folded & ((1u << group->space.rank) - 1);
}

// A fold of rows, the last axes: what it keeps can be walked in two steps, of which the inner one
// is long enough that what sums down columns leave of it (one row) does not count.
static bool folds_rows(const Group *group)
{
    enum { LEAST_ROWS = 16 };
    unsigned kept = kept_axes(group);
    if (group->kind != BODY_REDUCE || !(kept & 2) || (kept & (kept + 1)) || group->space.dim[0] < 2)
        return false;
    int64_t rows = 1;
    for (int axis = 1; kept >> axis & 1; axis++)
        rows *= group->space.dim[axis];
    return rows >= LEAST_ROWS;
}

// Sums down the columns of these rows, and element by element what is summed.
static bool sums_down(Fuser *f, const Group *rows, const Group *group)
{
    if (group->kind != BODY_REDUCE || group->down || group->folded != kept_axes(rows) ||
        !shape_equal(group->space, rows->space))
        return false;
    for (int m = 0; m < group->member.count; m++) {
        const Inst *inst = f->node.at[group->member.at[m]].inst;
        bool sum = inst->op == OP_reduce && inst->attr[0].reducer == REDUCE_SUM &&
                   dtype_info[inst->type.dtype].bytes >= 4;
        if (!sum && !shape_equal(inst->type, group->space))
            return false;
    }
    return true;
}

// One of them folds rows, the other sums down their columns.
static bool both_ways(Fuser *f, const Group *a, const Group *b, Group *out)
{
    if (folds_rows(b) && sums_down(f, b, a)) {
        const Group *other = a;
        a = b;
        b = other;
    } else if (!folds_rows(a) || !sums_down(f, a, b)) {
        return false;
    }
    *out = *a;
    out->down = b->folded;
    return true;
}

// Sums over all positions of each channel of what a convolution's epilogue makes, as the gradient
// of a norm needs them. They save reading that again, so it has to be more than a second-level
// cache keeps; each register of it costs a load and a store of sums, so there have to be products
// behind which this hides, and sums that stay in the first-level cache.
static bool sums_of_channels(Fuser *f, const Group *product, const Group *group)
{
    enum {
        LEAST_BYTES = 1 << 21,
        LEAST_PRODUCTS = 64, // for each element
        LEAST_IMAGES = 8,    // each of them is made by one part
        LEAST_COLUMNS = 16,  // shorter rows fill no register
        MOST_CHANNELS = 128
    };
    Type space = product->space;
    const Inst *conv = NULL;
    for (int m = 0; m < product->member.count && !conv; m++) {
        const Inst *inst = f->node.at[product->member.at[m]].inst;
        conv = inst_is_product(inst) ? inst : NULL;
    }
    bool last = conv->op == OP_conv && conv->attr[5].whole;
    if (conv->op == OP_dot || last || product_half(conv) != DTYPE_F32)
        return false;
    if (type_bytes(space) < LEAST_BYTES || space.dim[0] < LEAST_IMAGES ||
        space.dim[1] > MOST_CHANNELS || space.dim[space.rank - 1] < LEAST_COLUMNS ||
        inst_cost(conv).flops < 2.0 * LEAST_PRODUCTS * (double)type_elements(space))
        return false;
    if (!shape_equal(group->space, space) || group->down || kept_axes(group) != 3)
        return false;
    for (int m = 0; m < group->member.count; m++) {
        const Inst *inst = f->node.at[group->member.at[m]].inst;
        bool sum = inst->op == OP_reduce && inst->attr[0].reducer == REDUCE_SUM &&
                   inst->type.dtype == DTYPE_F32;
        if (!sum && !shape_equal(inst->type, space))
            return false;
    }
    return true;
}

// The kind of body that both would be; false if none.
static bool merged_kind(Fuser *f, const Group *producer, const Group *consumer, Group *out)
{
    *out = *producer;
    if (producer->kind == BODY_MAP)
        *out = *consumer;
    out->pieces = producer->pieces || consumer->pieces;
    if (out->pieces && (producer->kind != BODY_MAP || consumer->kind != BODY_MAP))
        return false;
    if (producer->kind == BODY_DOT && consumer->kind == BODY_REDUCE) {
        *out = *producer;
        out->folded = consumer->folded;
        return sums_of_channels(f, producer, consumer);
    }
    if (producer->kind == BODY_DOT || consumer->kind == BODY_DOT)
        return (producer->kind == BODY_MAP || consumer->kind == BODY_MAP) &&
               shape_equal(producer->space, consumer->space);
    if (producer->kind == BODY_REDUCE && consumer->kind == BODY_REDUCE) {
        if (both_ways(f, producer, consumer, out))
            return true;
        out->down |= consumer->down;
        return producer->folded == consumer->folded &&
               shape_equal(producer->space, consumer->space);
    }
    if (producer->kind == BODY_MAP && consumer->kind == BODY_MAP)
        return shape_equal(producer->space, consumer->space);
    // One fold of everything runs on one thread: what only follows it should not have to.
    if (producer->kind == BODY_REDUCE && shape_of(producer).kept.count == 0)
        return false;
    const Group *fold = producer->kind == BODY_REDUCE ? producer : consumer,
                *map = fold == producer ? consumer : producer;
    BodyShape shape = shape_of(fold);
    return shape_equal(map->space, fold->space) || has_kept_shape(&shape, map->space);
}

// Can `from` reach `target` through groups outside of `skip`?
static bool reaches(Fuser *f, int from, int target, int limit)
{
    Vec(int) stack = {0};
    vec_push(f->arena, &stack, from);
    f->group[from].seen = f->walk;
    while (stack.count) {
        const Group *group = &f->group[stack.at[--stack.count]];
        for (int m = 0; m < group->member.count; m++) {
            const Node *node = &f->node.at[group->member.at[m]];
            for (int i = 0; i < node->out.count; i++) {
                int reader = f->edge.at[node->out.at[i]].to, next = find(f, reader);
                if (next == target)
                    return true;
                if (f->group[next].seen == f->walk || f->group[next].member.at[0] > limit)
                    continue;
                f->group[next].seen = f->walk;
                vec_push(f->arena, &stack, next);
            }
        }
    }
    return false;
}

static bool has_detour(Fuser *f, int producer, int consumer)
{
    const Group *group = &f->group[producer];
    f->walk++;
    f->group[producer].seen = f->walk;
    for (int m = 0; m < group->member.count; m++) {
        const Node *node = &f->node.at[group->member.at[m]];
        for (int i = 0; i < node->out.count; i++) {
            int next = find(f, f->edge.at[node->out.at[i]].to);
            if (next == consumer || f->group[next].seen == f->walk)
                continue;
            if (reaches(f, next, consumer, f->group[consumer].last))
                return true;
        }
    }
    return false;
}

// A sum down columns is known when its nest ends.
static bool is_down(const Group *group, const Inst *inst)
{
    return group->down && inst->op == OP_reduce && inst->type.rank > 0 &&
           inst->attr[1].list.at[0] == 0;
}

static bool edges_agree(Fuser *f, int producer, int consumer, const Group *merged)
{
    const Group *group = &f->group[consumer];
    BodyShape shape = shape_of(merged);
    for (int m = 0; m < group->member.count; m++) {
        const Node *node = &f->node.at[group->member.at[m]];
        for (int i = 0; i < node->in.count; i++) {
            const Edge *edge = &f->edge.at[node->in.at[i]];
            if (find(f, edge->from) != producer)
                continue;
            if (edge->kind == EDGE_OTHER || is_down(merged, f->node.at[edge->from].inst) ||
                (edge->kind == EDGE_BROADCAST && !body_keeps(&shape, edge->broadcast)))
                return false;
        }
    }
    return true;
}

static void join(Fuser *f, int producer, int consumer, const Group *merged)
{
    const Group *a = &f->group[producer], *b = &f->group[consumer];
    Group all = *merged;
    all.member.at = NULL;
    all.member.count = all.member.capacity = 0;
    for (int i = 0, k = 0; i < a->member.count || k < b->member.count;) {
        bool first =
            k == b->member.count || (i < a->member.count && a->member.at[i] < b->member.at[k]);
        vec_push(f->arena, &all.member, first ? a->member.at[i++] : b->member.at[k++]);
    }
    all.last = a->last > b->last ? a->last : b->last;
    all.fusible = true;
    f->node.at[consumer].group = producer;
    f->group[producer] = all;
}

typedef enum { ROUND_PRODUCTS, ROUND_FOLDS, ROUND_ALL, ROUND_COUNT } Round;

static bool belongs(Round round, const Group *producer, const Group *consumer)
{
    if (round == ROUND_PRODUCTS)
        return producer->kind == BODY_DOT;
    if (round == ROUND_FOLDS)
        return producer->kind == BODY_REDUCE || consumer->kind == BODY_REDUCE;
    return true;
}

// A value that is in memory anyway is not worth computing with early: what a distant reader makes
// of it would have to be kept until then (the derivative of an activation, for example). The same
// goes for what is wider than the value: floats of stored bytes. What a product makes is in memory
// if another one reads it, or a fold that is no epilogue.
static bool better_later(Fuser *f, const Edge *edge)
{
    enum { NEAR = 32, NEAR_FOLD = 8 }; // nests
    const Node *from = &f->node.at[edge->from], *to = &f->node.at[edge->to];
    bool widens = dtype_info[from->inst->type.dtype].bytes < dtype_info[to->inst->type.dtype].bytes;
    bool product = f->group[find(f, edge->from)].kind == BODY_DOT;
    bool stored = from->solid, folded = false;
    for (int i = 0; i < from->out.count; i++) {
        const Edge *read = &f->edge.at[from->out.at[i]];
        stored |= read->kind == EDGE_OTHER;
        folded |= product && read->to != edge->to && f->node.at[read->to].inst->op == OP_reduce;
    }
    int distance = to->nests - from->nests;
    return (stored && (widens || distance > NEAR)) || (folded && distance > NEAR_FOLD);
}

// A product's result that others read as well, in memory therefore, and of which `to` makes what a
// fold reads (a sum of squares, the rows of a norm's gradient): the fold makes it itself, so that
// it is never stored.
static bool for_a_fold(Fuser *f, const Edge *edge)
{
    const Node *from = &f->node.at[edge->from], *to = &f->node.at[edge->to];
    bool others = from->solid, folded = false;
    for (int i = 0; i < from->out.count; i++)
        others |= f->edge.at[from->out.at[i]].to != edge->to;
    for (int i = 0; i < to->out.count; i++) {
        const Edge *next = &f->edge.at[to->out.at[i]];
        others &= next->kind == EDGE_DIRECT;
        folded |= f->node.at[next->to].inst->op == OP_reduce;
    }
    return others && folded && !to->solid;
}

// What is made of a row only for sums down the columns.
static bool for_columns(Fuser *f, const Group *rows, const Edge *edge)
{
    const Node *to = &f->node.at[edge->to];
    bool columns = rows->kind == BODY_REDUCE && edge->kind == EDGE_DIRECT && !to->solid &&
                   op_has(to->inst->op, POINTWISE) && to->out.count > 0;
    for (int i = 0; i < to->out.count && columns; i++) {
        const Edge *next = &f->edge.at[to->out.at[i]];
        const Group *sum = &f->group[find(f, next->to)];
        columns = next->kind == EDGE_DIRECT && f->node.at[next->to].inst->op == OP_reduce &&
                  sum->kind == BODY_REDUCE &&
                  (sum == rows || sum->folded == kept_axes(rows) || sum->down == kept_axes(rows));
    }
    return columns;
}

// It is made in the nest of the rows if the sums can be in it, however far away they are written,
// and else with the sums: how much lies between decides nothing, so a loop and what is the same
// written out have the same bits.
static bool columns_apart(Fuser *f, const Edge *edge)
{
    const Group *rows = &f->group[find(f, edge->from)], *to = &f->group[find(f, edge->to)];
    if (for_columns(f, rows, edge))
        return !folds_rows(rows);
    if (rows->kind == BODY_DOT && to->kind == BODY_REDUCE && sums_of_channels(f, rows, to))
        return false; // nothing has to be kept for them
    return better_later(f, edge);
}

// What follows sums down columns waits until the sums could have become part of the rows' nest.
static bool follows_columns(const Group *producer, const Group *consumer)
{
    return producer->kind == BODY_REDUCE && !(producer->folded >> (producer->space.rank - 1) & 1) &&
           consumer->kind == BODY_MAP && !shape_equal(producer->space, consumer->space);
}

static bool try_merge(Fuser *f, const Edge *edge, Round round)
{
    if (f->group[find(f, edge->from)].alone || f->group[find(f, edge->to)].alone)
        return false;
    if (columns_apart(f, edge) || (round == ROUND_PRODUCTS && for_a_fold(f, edge)))
        return false;
    int producer = find(f, edge->from), consumer = find(f, edge->to);
    if (producer == consumer || !f->group[producer].fusible || !f->group[consumer].fusible ||
        edge->kind == EDGE_OTHER)
        return false;
    Group merged;
    if (!belongs(round, &f->group[producer], &f->group[consumer]) ||
        (f->first && follows_columns(&f->group[producer], &f->group[consumer])))
        return false;
    if (!merged_kind(f, &f->group[producer], &f->group[consumer], &merged) ||
        !edges_agree(f, producer, consumer, &merged))
        return false;
    if (has_detour(f, producer, consumer))
        return false;
    join(f, producer, consumer, &merged);
    return true;
}

// The groups of folds that read a value of `type` at its own index, whether it is widened or not.
static void find_folds(Fuser *f, const Users *users, Type type, Positions *out)
{
    for (int i = 0; i < users->count; i++) {
        const Node *node = &f->node.at[users->at[i]->mark];
        if (node->role == ROLE_FREE && inst_widens(node->inst)) {
            find_folds(f, &node->user, type, out);
            continue;
        }
        int group = node->role == ROLE_FUSED ? find(f, (int)users->at[i]->mark) : -1;
        if (group >= 0 && f->group[group].kind == BODY_REDUCE &&
            shape_equal(f->group[group].space, type))
            vec_push(f->arena, out, group);
    }
}

// Folds of the same rows, which are not all that there is: one fold would run on one thread anyway.
static bool same_rows(const Group *a, const Group *b)
{
    return folds_rows(a) && a->folded == b->folded && shape_equal(a->space, b->space);
}

// Does one of the two groups need the other?
static bool in_order(Fuser *f, int a, int b)
{
    f->walk++;
    if (reaches(f, a, b, f->group[b].last))
        return true;
    f->walk++;
    return reaches(f, b, a, f->group[a].last);
}

// Folds of rows that read the same value, but not each other, are one nest, with the sums down its
// columns as well: the value is read once. Where very many read it, those near each other are.
static void merge_siblings(Fuser *f, const Users *users, Type type)
{
    enum { NEAR = 4 }; // folds
    Positions fold = {0};
    find_folds(f, users, type, &fold);
    for (int i = 0; i < fold.count; i++)
        for (int k = 0; k < fold.count; k++) {
            int rows = find(f, fold.at[i]), other = find(f, fold.at[k]);
            if (rows == other)
                continue;
            const Group *a = &f->group[rows], *b = &f->group[other];
            Group merged = *a;
            merged.down |= b->down;
            bool same = k > i && k <= i + NEAR && same_rows(a, b);
            if ((same || (folds_rows(a) && sums_down(f, a, b) && both_ways(f, a, b, &merged))) &&
                !in_order(f, rows, other))
                join(f, rows, other, &merged);
        }
}

static void merge_all_siblings(Fuser *f)
{
    for (int i = 0; i < f->node.count; i++)
        merge_siblings(f, &f->node.at[i].user, f->node.at[i].inst->type);
    for (int i = 0; i < f->fn->param.count; i++)
        merge_siblings(f, &f->param[i], f->fn->param.at[i]->type);
}

static void merge_edges(Fuser *f, int rounds)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (int round = 0; round < rounds; round++)
            for (int i = 0; i < f->edge.count; i++)
                changed |= try_merge(f, &f->edge.at[i], (Round)round);
    }
}

static void merge_all(Fuser *f)
{
    f->first = true;
    merge_edges(f, ROUND_ALL);
    merge_all_siblings(f);
    f->first = false;
    merge_edges(f, ROUND_COUNT);
    merge_all_siblings(f);
}

// ---- order --------------------------------------------------------------------------------------

static int by_position(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

// The nodes that read a parameter, by position: directly, or through what moves data.
static void find_readers(Fuser *f, int param, Positions *readers)
{
    f->walk++;
    readers->count = 0;
    Vec(Inst *) waiting = {0};
    for (const Users *from = &f->param[param]; from;) {
        for (int i = 0; i < from->count; i++) {
            Node *node = node_of(f, from->at[i]);
            if (node->seen == f->walk)
                continue;
            node->seen = f->walk;
            vec_push(f->arena, readers, (int)from->at[i]->mark);
            if (node->role == ROLE_FREE || (inst_is_alias(node->inst) && node->inst->op != OP_get))
                vec_push(f->arena, &waiting, from->at[i]);
        }
        from = waiting.count ? &node_of(f, waiting.at[--waiting.count])->user : NULL;
    }
    qsort(readers->at, (size_t)readers->count, sizeof *readers->at, by_position);
}

// `writer` makes the next value of the state: it comes after everything that reads the old one, if
// it can. Then the state is overwritten where it is; otherwise it would need a copy until the
// function ends.
static void order_state(Fuser *f, const Positions *readers, int writer)
{
    for (int i = 0; i < readers->count; i++) {
        const Node *node = &f->node.at[readers->at[i]];
        int reader = find(f, readers->at[i]), target = find(f, writer);
        if (reader == target || (node->role == ROLE_FREE && !node->solid))
            continue;
        f->walk++;
        if (!reaches(f, target, reader, f->node.count))
            add_edge(f, readers->at[i], writer, EDGE_ORDER, NULL);
    }
}

static void order_states(Fuser *f)
{
    Positions readers = {0};
    for (int i = 0; i < f->fn->result.count; i++) {
        const IrResult *result = &f->fn->result.at[i];
        if (result->slot.kind != SLOT_STATE || !node_of(f, result->value))
            continue;
        for (int k = 0; k < f->fn->param.count; k++) {
            Slot slot = f->fn->param_slot.at[k];
            if (slot.kind == SLOT_STATE && slot.index == result->slot.index &&
                f->fn->param.at[k]->uses > 1) {
                find_readers(f, k, &readers);
                order_state(f, &readers, (int)result->value->mark);
            }
        }
    }
}

// ---- updates ------------------------------------------------------------------------------------

// A small nest that only makes next values of states, such as an optimizer's of a bias.
static bool is_small_update(Fuser *f, int index)
{
    enum { MOST_ELEMENTS = 4096 };
    const Group *group = &f->group[index];
    bool good = find(f, index) == index && group->fusible && group->kind == BODY_MAP &&
                group->space.rank > 0 && type_elements(group->space) <= MOST_ELEMENTS;
    for (int m = 0; m < group->member.count && good; m++) {
        const Node *node = &f->node.at[group->member.at[m]];
        for (int i = 0; i < node->result.count; i++)
            good &= f->fn->result.at[node->result.at[i]].slot.kind == SLOT_STATE;
        for (int i = 0; i < node->out.count; i++)
            good &= find(f, f->edge.at[node->out.at[i]].to) == index;
    }
    return good;
}

// Updates of one shape become one nest: several short ones cost a call each, and a wait where they
// are divided among threads. Nothing reads or follows them, so they can be in any order.
static void merge_updates(Fuser *f)
{
    enum { MOST_MEMBERS = 64 }; // instructions: more than registers have room for gains nothing
    Positions first = {0};      // the nest that takes others of its shape
    for (int i = 0; i < f->node.count; i++) {
        if (!is_small_update(f, i))
            continue;
        int k = 0;
        while (k < first.count &&
               (!shape_equal(f->group[first.at[k]].space, f->group[i].space) ||
                f->group[first.at[k]].member.count + f->group[i].member.count > MOST_MEMBERS))
            k++;
        if (k == first.count) {
            vec_push(f->arena, &first, i);
            continue;
        }
        Group merged = f->group[first.at[k]];
        join(f, first.at[k], i, &merged);
    }
}

// ---- bodies -------------------------------------------------------------------------------------

typedef struct BodyMaker {
    Fuser *f;
    int group;
    IrFunction *body;
    Vec(Inst *) outer; // what the parameters are, outside
} BodyMaker;

static Inst *body_parameter(BodyMaker *m, Inst *inst)
{
    for (int i = 0; i < m->outer.count; i++)
        if (m->outer.at[i] == inst)
            return m->body->param.at[i];
    vec_push(m->f->arena, &m->outer, inst);
    return ir_param(m->body, inst->type, (Slot){0}, NULL, inst->span);
}

// A sum down columns, but for the first axis, along which the nest is divided.
static Inst *sum_of_parts(IrFunction *body, const Inst *inst, Inst *in)
{
    Attr attr[] = {inst->attr[0], {.list = inst->attr[1].list}};
    IntList *axes = &attr[1].list;
    axes->count--;
    memmove(axes->at, axes->at + 1, sizeof *axes->at * (size_t)axes->count);
    return ir_append(body, OP_reduce, &in, 1, attr, (Type){0}, inst->span);
}

static Inst *inside(BodyMaker *m, Inst *inst, bool operand)
{
    Node *node = node_of(m->f, inst);
    bool constant = inst->op == OP_constant && inst->attr[0].data.splat;
    if (!node)
        return body_parameter(m, inst);
    if (node->made_for == m->group + 1)
        return node->twin;
    bool member = node->role == ROLE_FUSED && find(m->f, (int)inst->mark) == m->group;
    if (!member && ((operand && !node->made) || (node->role != ROLE_FREE && !constant)))
        return body_parameter(m, inst);
    Inst **in = NEW_ARRAY(m->f->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        Inst *stored = operand_of(inst, i);
        in[i] = inside(m, stored, inst_sums_products(inst));
        if (stored != inst->input[i])
            in[i] = ir_clone_into(m->body, inst->input[i], &in[i]);
    }
    if (member && is_down(&m->f->group[m->group], inst))
        node->twin = sum_of_parts(m->body, inst, in[0]);
    else
        node->twin = ir_clone_into(m->body, inst, in);
    node->made_for = m->group + 1;
    return node->twin;
}

static bool read_outside(Fuser *f, int node, int group)
{
    if (f->node.at[node].result.count)
        return true;
    for (int i = 0; i < f->node.at[node].out.count; i++)
        if (f->edge.at[f->node.at[node].out.at[i]].kind != EDGE_ORDER &&
            find(f, f->edge.at[f->node.at[node].out.at[i]].to) != group)
            return true;
    return false;
}

// What reads the node's value reads `to`: the instructions that did so from the beginning, since a
// body is made after all that it reads.
static void replace(Node *node, IrFunction *fn, Inst *to)
{
    Inst *from = node->inst;
    for (int k = 0; k < node->user.count; k++) {
        Inst *user = node->user.at[k];
        for (int i = 0; i < user->inputs; i++)
            if (user->input[i] == from)
                ir_set_input(user, i, to);
    }
    for (int i = 0; i < node->result.count; i++) {
        fn->result.at[node->result.at[i]].value = to;
        from->uses--;
        to->uses++;
    }
}

static void make_body(Fuser *f, int index)
{
    const Group *group = &f->group[index];
    Inst *last = f->node.at[group->member.at[group->member.count - 1]].inst;
    BodyMaker m = {.f = f, .group = index, .body = ir_function_new(f->cx, NULL, NULL, last->span)};
    Vec(Inst *) outputs = {0};
    for (int i = 0; i < group->member.count; i++) {
        Inst *inst = f->node.at[group->member.at[i]].inst, *twin = inside(&m, inst, false);
        if (!read_outside(f, group->member.at[i], index))
            continue;
        vec_push(f->arena, &outputs, inst);
        ir_result(m.body, twin, (Slot){0}, NULL);
    }
    Attr attr = {.function = m.body};
    Inst *fused =
        ir_append(f->fn, OP_fused, m.outer.at, m.outer.count, &attr, (Type){0}, last->span);
    fused->mark = -1;
    for (int i = 0; i < outputs.count; i++) {
        Inst *value = outputs.count == 1 ? fused : ir_get(f->fn, fused, i, outputs.at[i]->span);
        if (is_down(group, outputs.at[i])) {
            Attr rest[] = {outputs.at[i]->attr[0], {.list = {1, {0}}}};
            value->mark = -1;
            value = ir_append(f->fn, OP_reduce, &value, 1, rest, (Type){0}, outputs.at[i]->span);
        }
        // Later bodies know the value by its node.
        value->mark = outputs.at[i]->mark;
        Node *node = &f->node.at[value->mark];
        replace(node, f->fn, value);
        node->inst = value;
        node->role = ROLE_FIXED;
    }
}

// Groups in an order in which each comes after what it reads; of those that could come next, the
// one that ends first in the old order.
static void place(Fuser *f, int index)
{
    Group *group = &f->group[index];
    if (group->placed)
        return;
    group->placed = true;
    for (int m = 0; m < group->member.count; m++) {
        const Node *node = &f->node.at[group->member.at[m]];
        for (int i = 0; i < node->in.count; i++)
            place(f, find(f, f->edge.at[node->in.at[i]].from));
    }
    if (group->fusible) {
        make_body(f, index);
        return;
    }
    ir_move_last(f->fn, f->node.at[index].inst);
}

static void place_all(Fuser *f)
{
    int count = f->node.count;
    int *order = NEW_ARRAY(f->arena, int, count + 1),
        *at_last = NEW_ARRAY(f->arena, int, count + 1);
    for (int i = 0; i < count; i++)
        at_last[i] = -1;
    for (int i = 0; i < count; i++)
        if (find(f, i) == i)
            at_last[f->group[i].last] = i;
    int groups = 0;
    for (int i = 0; i < count; i++)
        if (at_last[i] >= 0)
            order[groups++] = at_last[i];
    Inst **old = NEW_ARRAY(f->arena, Inst *, count + 1);
    for (int i = 0; i < count; i++)
        old[i] = f->node.at[i].inst;
    // What is copied into bodies stays at the top, where everything can read it, until nobody does.
    for (int i = 0; i < groups; i++) {
        const Node *node = &f->node.at[order[i]];
        if (node->role == ROLE_FREE && !node->solid)
            f->group[order[i]].placed = true;
    }
    for (int i = 0; i < groups; i++)
        place(f, order[i]);
    for (int i = count - 1; i >= 0; i--)
        if (old[i]->uses == 0 && old[i]->function == f->fn && op_has(old[i]->op, PURE))
            ir_remove(f->fn, old[i]);
}

bool pass_fuse(IrFunction *fn)
{
    fuse_normalise(fn);
    Fuser fuser = {.cx = fn->cx, .arena = fn->cx->scratch, .fn = fn}, *f = &fuser;
    make_nodes(f);
    if (f->node.count) {
        make_edges(f);
        make_groups(f);
        merge_all(f);
        order_states(f);
        merge_updates(f);
        place_all(f);
    }
    fuse_prepare(fn);
    return true;
}
