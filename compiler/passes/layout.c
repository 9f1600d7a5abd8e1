// layout: puts the channels last of what lies between convolutions with constant weights.
//
// A kernel whose lanes are channels stores registers as they are if the channels of its result are
// last, and reads what lies there as well (kernels/cpu/conv_last.h). So in a function that is given
// its weights as constants, a deployed one, each convolution gets a twin whose result has its
// channels last; what follows element by element, folds, pads, slices or joins gets one too, as far
// as it reads twins. The first convolutions of a function read its inputs as they are. Where
// something reads the old order it reads a transpose, so every value is what it was.
//
//     conv -> add -> relu -> max over windows -> conv        all of this with channels last
//     a convolution of 1 x 1                                  is a product of matrices then
//     reshape to [n, features] -> dot with constant weights   the weights change their order
//
// Functions with convolutions of bytes, whose kernels have the other order, are left as they are.

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"
#include "passes/pass.h"

// Inst.note of an instruction of the function is its twin, NULL: it has none.

static Inst *make(Inst *place, Op op, Inst *const in[], int inputs, const Attr attr[], Type given)
{
    return ir_insert_before(place, op, in, inputs, attr, given, place->span);
}

// Axis i of the twin is axis list.at[i].
static IntList order_of(int rank)
{
    IntList order = {.count = rank};
    for (int i = 1; i + 1 < rank; i++)
        order.at[i] = i + 1;
    order.at[rank - 1] = 1;
    return order;
}

// Where an axis is in the twin.
static int64_t moved_axis(int rank, int64_t axis)
{
    return axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1;
}

static IntList back_order(int rank)
{
    IntList order = {.count = rank};
    for (int i = 0; i < rank; i++)
        order.at[i] = moved_axis(rank, i);
    return order;
}

static Type moved_type(Type type)
{
    Type out = type;
    IntList order = order_of(type.rank);
    for (int i = 0; i < type.rank; i++)
        out.dim[i] = type.dim[order.at[i]];
    return out;
}

static Inst *transposed(Inst *place, Inst *in, IntList order)
{
    Attr attr = {.list = order};
    return make(place, OP_transpose, &in, 1, &attr, (Type){0});
}

static IntList moved_list(IntList list)
{
    IntList out = list, order = order_of(list.count);
    for (int i = 0; i < list.count; i++)
        out.at[i] = list.at[order.at[i]];
    return out;
}

static bool increasing(IntList list)
{
    for (int i = 1; i < list.count; i++)
        if (list.at[i] < list.at[i - 1])
            return false;
    return true;
}

// The elements of a constant [outer, rows, columns, size] as [outer, columns, rows, size], in
// bytes.
static Inst *swapped_constant(Inst *place, const Inst *constant, Type type, int64_t outer,
                              int64_t rows, int64_t columns, int64_t size)
{
    IrData data = constant->attr[0].data;
    if (!data.splat) {
        char *at = arena_alloc(place->function->cx->arena, data.bytes);
        const char *from = data.at;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < columns; c++)
                    memcpy(at + ((o * columns + c) * rows + r) * size,
                           from + ((o * rows + r) * columns + c) * size, (size_t)size);
        data.at = at;
    }
    Attr attr = {.data = data};
    return make(place, OP_constant, NULL, 0, &attr, type);
}

// `in` with its channels last: its twin, or something made for this.
static Inst *last_of(Inst *place, Inst *in)
{
    int rank = in->type.rank;
    if (in->note)
        return in->note;
    Type type = moved_type(in->type);
    if (in->op == OP_constant) {
        int64_t n = in->type.dim[0], c = in->type.dim[1];
        return swapped_constant(place, in, type, n, c, type_elements(in->type) / (n * c),
                                dtype_info[type.dtype].bytes);
    }
    if (in->op == OP_broadcast) {
        Attr attr = in->attr[0];
        for (int i = 0; i < attr.list.count; i++)
            attr.list.at[i] = moved_axis(rank, attr.list.at[i]);
        if (increasing(attr.list))
            return make(place, OP_broadcast, in->input, 1, &attr, type);
    }
    return transposed(place, in, order_of(rank));
}

// ---- convolutions -------------------------------------------------------------------------------

static bool can_move(const Inst *inst)
{
    return inst->op == OP_conv && inst->attr[5].whole == 0 && inst->type.dtype == DTYPE_F32 &&
           inst->input[0]->type.dtype == DTYPE_F32 && inst->input[1]->op == OP_constant &&
           !inst_widens(inst->input[0]);
}

// 1 x 1, over all positions and channels
static bool is_flat(const Inst *inst)
{
    Type w = inst->input[1]->type;
    bool flat = inst->attr[4].whole == 1;
    for (int i = 0; i < inst->attr[0].list.count; i++)
        flat = flat && w.dim[2 + i] == 1 && inst->attr[0].list.at[i] == 1 &&
               inst->attr[1].list.at[i] == 0 && inst->attr[2].list.at[i] == 0;
    return flat;
}

static Inst *move_conv(Inst *inst)
{
    if (!can_move(inst))
        return NULL;
    Inst *x = inst->input[0], *w = inst->input[1];
    if (x->note && is_flat(inst)) {
        Attr data = w->attr[0];
        Inst *in[] = {
            x->note, make(inst, OP_constant, NULL, 0, &data, type_make(DTYPE_F32, 2, w->type.dim))};
        Attr attr[] = {
            {.list = {1, {x->type.rank - 1}}}, {.list = {1, {1}}}, {.list = {0}}, {.list = {0}}};
        return make(inst, OP_dot, in, 2, attr, (Type){0});
    }
    Attr attr[6];
    memcpy(attr, inst->attr, sizeof attr);
    attr[5].whole = x->note ? 2 : 1;
    Inst *in[] = {x->note ? (Inst *)x->note : x, w};
    Inst *moved = make(inst, OP_conv, in, 2, attr, (Type){0});
    AmlConv c;
    if (conv_shape(moved, 64, false, &c))
        return moved;
    ir_remove(inst->function, moved);
    return NULL;
}

// ---- what lies between --------------------------------------------------------------------------

static Inst *move_pointwise(Inst *inst)
{
    bool any = false;
    for (int i = 0; i < inst->inputs; i++)
        any |= inst->input[i]->note != NULL;
    if (!any)
        return NULL;
    Inst *in[3];
    for (int i = 0; i < inst->inputs; i++)
        in[i] = last_of(inst, inst->input[i]);
    return make(inst, inst->op, in, inst->inputs, inst->attr, moved_type(inst->type));
}

// The fold of windows of a value with a twin: for each position, channels are last as well.
static Inst *move_pooling(Inst *inst)
{
    Inst *window = inst->input[0], *x = window->input[0];
    int spatial = window->attr[0].list.count, rank = x->type.rank;
    IntList axes = inst->attr[1].list;
    if (!x->note || spatial != rank - 2 || axes.count != spatial ||
        axes.at[spatial - 1] != spatial - 1)
        return NULL;
    Inst *back = transposed(inst, x->note, back_order(rank)), *in[] = {back, window->input[1]};
    Inst *again = make(inst, OP_window, in, 2, window->attr, (Type){0});
    IntList order = {.count = spatial + rank}, last = order_of(rank);
    for (int i = 0; i < spatial + rank; i++)
        order.at[i] = i < spatial ? i : spatial + last.at[i - spatial];
    again = transposed(inst, again, order);
    return make(inst, OP_reduce, &again, 1, inst->attr, (Type){0});
}

// What takes the place of a fold of a value with a twin, or its twin.
static Inst *move_reduce(IrFunction *fn, Inst *inst)
{
    Inst *x = inst->input[0];
    if (x->op == OP_window)
        return inst->type.rank >= 3 ? move_pooling(inst) : NULL;
    if (!x->note)
        return NULL;
    int rank = x->type.rank;
    bool folded[IR_MAX_RANK] = {false};
    Attr attr[] = {inst->attr[0], {.list = {0}}};
    for (int i = 0; i < inst->attr[1].list.count; i++)
        folded[moved_axis(rank, inst->attr[1].list.at[i])] = true;
    IntList kept = {0}, order = order_of(rank);
    for (int i = 0; i < rank; i++)
        if (folded[i])
            attr[1].list.at[attr[1].list.count++] = i;
        else
            kept.at[kept.count++] = order.at[i];
    bool same = increasing(kept), twin = !folded[0] && !folded[rank - 1] && kept.count >= 3;
    if (!same && !twin)
        return NULL;
    Inst *twin_of[] = {x->note}, *made = make(inst, OP_reduce, twin_of, 1, attr, (Type){0});
    if (!same)
        return made;
    ir_replace_uses(fn, inst, made);
    return NULL;
}

static Inst *move_lists(Inst *inst)
{
    if (!inst->input[0]->note)
        return NULL;
    Attr attr[3];
    for (int i = 0; i < op_info[inst->op].attrs; i++)
        attr[i].list = moved_list(inst->attr[i].list);
    Inst *in[] = {inst->input[0]->note, inst->inputs > 1 ? inst->input[1] : NULL};
    return make(inst, inst->op, in, inst->inputs, attr, (Type){0});
}

static Inst *move_concat(IrFunction *fn, Inst *inst)
{
    Inst **in = NEW_ARRAY(fn->cx->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        in[i] = inst->input[i]->note;
        if (!in[i])
            return NULL;
    }
    Attr attr = {.whole = moved_axis(inst->type.rank, inst->attr[0].whole)};
    return make(inst, OP_concat, in, inst->inputs, &attr, (Type){0});
}

// A product of constant weights with the features of each image: the weights take the twin's order.
static void move_features(IrFunction *fn, Inst *inst)
{
    Inst *reshape = inst->input[0], *w = inst->input[1];
    if (reshape->op != OP_reshape || !reshape->input[0]->note || w->op != OP_constant ||
        w->uses != 1)
        return;
    Inst *x = reshape->input[0];
    int64_t n = x->type.dim[0], c = x->type.dim[1], all = type_elements(x->type);
    if (reshape->type.rank != 2 || reshape->type.dim[0] != n || w->type.rank != 2 ||
        inst->attr[0].list.count != 1 || inst->attr[0].list.at[0] != 1 ||
        inst->attr[2].list.count != 0)
        return;
    bool down = inst->attr[1].list.at[0] == 0; // the features are rows of the weights
    int64_t bytes = dtype_info[w->type.dtype].bytes;
    Inst *in[] = {make(inst, OP_reshape, (Inst *[]){x->note}, 1, NULL, reshape->type),
                  swapped_constant(inst, w, w->type, down ? 1 : w->type.dim[0], c, all / n / c,
                                   bytes * (down ? w->type.dim[1] : 1))};
    ir_replace_uses(fn, inst, make(inst, OP_dot, in, 2, inst->attr, (Type){0}));
}

static Inst *twin(IrFunction *fn, Inst *inst)
{
    if (inst->op == OP_dot)
        move_features(fn, inst);
    if (inst->op == OP_reduce)
        return move_reduce(fn, inst);
    if (inst->type.rank < 3 || inst->results != 1)
        return NULL;
    if (inst->op == OP_conv)
        return move_conv(inst);
    if (op_has(inst->op, POINTWISE))
        return move_pointwise(inst);
    if (inst->op == OP_concat)
        return move_concat(fn, inst);
    return inst->op == OP_pad || inst->op == OP_slice ? move_lists(inst) : NULL;
}

static void drop_unused(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0 && op_has(inst->op, PURE))
            ir_remove(fn, inst);
    }
}

bool pass_layout(IrFunction *fn)
{
    bool any = false;
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        inst->note = NULL;
        any |= can_move(inst);
        if (inst->op == OP_conv && inst_sums_bytes(inst))
            return false;
    }
    if (!any || fn->mixed == DTYPE_BF16 || fn->mixed == DTYPE_F16)
        return false;
    for (int i = 0; i < fn->param.count; i++)
        fn->param.at[i]->note = NULL;
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        Inst *before = inst->prev, *made = twin(fn, inst);
        for (Inst *new = before ? before->next : fn->first; new != inst; new = new->next)
            new->note = NULL;
        inst->note = made;
    }
    for (Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->note)
            ir_replace_uses(fn, inst, transposed(inst, inst->note, back_order(inst->type.rank)));
    drop_unused(fn);
    return true;
}
