// fuse_half.c: in front of products of widened 16-bit floats nothing moves data but in 16 bits.
//
//   dot(transpose(f32(h)), f32(g))   becomes   dot(f32(transpose(h)), f32(g))
//
// Moving elements and widening them may change places. After this the casts that products read are
// what `product_half` looks for. conv_weight has no body around it: it takes the 16-bit operands
// themselves.

#include "passes/fuse.h"

#include "passes/pass.h"

static bool moves(const Inst *inst)
{
    return inst->op == OP_transpose || inst->op == OP_reshape || inst->op == OP_broadcast ||
           inst->op == OP_slice;
}

static bool widened_below(const Inst *inst)
{
    while (moves(inst) || inst->op == OP_window) {
        double pad = 0;
        if (inst->op == OP_window && (!inst_is_splat(inst->input[1], &pad) || pad != 0))
            return false;
        inst = inst->input[0];
    }
    return inst_widens(inst);
}

// The 16-bit value, moved like `inst`. New instructions go where the old ones are, so that all
// readers may share them.
static Inst *narrow(Inst *inst)
{
    if (inst_widens(inst))
        return inst->input[0];
    Inst *in[2] = {narrow(inst->input[0])};
    Type type = inst->type;
    type.dtype = in[0]->type.dtype;
    // Made for an earlier reader?
    Inst *near = inst->prev;
    if (near && near->op == inst->op && near->input[0] == in[0] && type_equal(near->type, type) &&
        inst_same_attributes(near, inst))
        return near;
    if (inst->op == OP_window) { // its padding
        static const uint16_t zero = 0;
        Attr data = {.data = {true, sizeof zero, &zero}};
        in[1] = ir_insert_before(inst, OP_constant, NULL, 0, &data, type_scalar(type.dtype),
                                 inst->span);
    }
    return ir_insert_before(inst, inst->op, in, inst->inputs, inst->attr, type, inst->span);
}

static Inst *sunk(Inst *product, Inst *operand)
{
    if (inst_widens(operand) || !widened_below(operand))
        return operand;
    Inst *half = narrow(operand);
    return ir_insert_before(product, OP_cast, &half, 1, NULL, operand->type, operand->span);
}

void half_sink_one(Inst *product)
{
    if (product->type.dtype != DTYPE_F32 || !widened_below(product->input[0]) ||
        !widened_below(product->input[1]))
        return;
    for (int i = 0; i < 2; i++)
        ir_set_input(product, i, sunk(product, product->input[i]));
    Inst *a = product->input[0]->input[0], *b = product->input[1]->input[0];
    if (product->op == OP_conv_weight && a->type.dtype == b->type.dtype) {
        ir_set_input(product, 0, a);
        ir_set_input(product, 1, b);
    }
}

// Attention reads rows of 16 bits itself, if all of its operands are.
static void sink_attention(Inst *inst)
{
    static const int operand[] = {0, 1, 2, 5};
    int count = inst->op == OP_attend ? 3 : 4;
    DType half = DTYPE_F32;
    for (int i = 0; i < count; i++)
        if (!widened_below(inst->input[operand[i]]))
            return;
    for (int i = 0; i < count; i++) {
        Inst *in = sunk(inst, inst->input[operand[i]]);
        ir_set_input(inst, operand[i], in);
        DType found = in->input[0]->type.dtype;
        if (i > 0 && found != half)
            return;
        half = found;
    }
    for (int i = 0; i < count; i++)
        ir_set_input(inst, operand[i], inst->input[operand[i]]->input[0]);
}

// Each product that reads 16 bits has casts of its own: one that others read as well may have to be
// computed for them.
void half_separate(IrFunction *fn)
{
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (!inst_is_product(inst) || product_half(inst) == inst->type.dtype)
            continue;
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i]->uses > 1)
                ir_set_input(inst, i, ir_clone_before(inst, inst->input[i], inst->input[i]->input));
    }
}

// A part of a widened value is a widened part: the whole of it is not made for that.
static void sink_slice(IrFunction *fn, Inst *slice)
{
    Inst *half = narrow(slice);
    ir_replace_uses(fn, slice,
                    ir_insert_before(slice, OP_cast, &half, 1, NULL, slice->type, slice->span));
    ir_remove(fn, slice);
}

void half_sink(IrFunction *fn)
{
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op == OP_slice && inst_widens(inst->input[0]))
            sink_slice(fn, inst);
        else if (inst->op == OP_attend || inst->op == OP_attend_back)
            sink_attention(inst);
        else if (op_has(inst->op, CONTRACTS))
            half_sink_one(inst);
    }
}
