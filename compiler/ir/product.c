// product.c: products that have weights for each channel of their result, which is what rounding
// them by channel needs to know. One definition for training, calibration and deployment.

#include "ir/ir.h"

bool inst_weighs_channels(const Inst *inst, int *axis, int *weight_axis)
{
    if (inst->op == OP_conv) {
        *axis = inst->attr[5].whole ? inst->type.rank - 1 : 1;
        *weight_axis = 0;
        return true;
    }
    if (inst->op != OP_dot || inst->input[1]->type.rank != 2)
        return false;
    IntList a = inst->attr[0].list, b = inst->attr[1].list;
    if (a.count != 1 || inst->attr[2].list.count != 0 || a.at[0] != inst->input[0]->type.rank - 1)
        return false;
    *axis = inst->type.rank - 1;
    *weight_axis = 1 - (int)b.at[0];
    return true;
}

// A parameter of a fused body as the whole first operand of the body's product, and nothing else.
static bool multiplies_rows(const IrFunction *body, const Inst *param)
{
    const Inst *dot = NULL;
    for (const Inst *inst = body->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != param)
                continue;
            if (inst->op != OP_dot || i != 0 || dot)
                return false;
            dot = inst;
        }
    if (!dot || param->uses != 1 || dot->input[1]->type.dtype != DTYPE_F32)
        return false;
    return dot->attr[0].list.count == 1 && dot->attr[2].list.count == 0;
}

bool inst_reads_rows(const IrFunction *fn, const Inst *param)
{
    if (param->type.dtype != DTYPE_F32 || param->type.rank < 2 || param->type.dim[0] < 2 ||
        fn->mixed != DTYPE_F32)
        return false;
    int uses = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            const Inst *from = inst->input[i];
            if (from->op == OP_reshape && from->type.dim[0] == param->type.dim[0])
                from = from->input[0];
            if (from != param)
                continue;
            bool matrix = inst->op == OP_reshape && inst->input[i] == param &&
                          inst->type.rank == 2 && inst->type.dim[0] == param->type.dim[0];
            if (!matrix &&
                (inst->op != OP_fused || inst->input[i]->type.rank != 2 ||
                 !multiplies_rows(inst->attr[0].function, inst->attr[0].function->param.at[i])))
                return false;
            uses += inst->input[i] == param;
        }
    for (int i = 0; i < fn->result.count; i++) {
        const Inst *value = fn->result.at[i].value;
        if (value->op == OP_reshape && value->input[0] == param)
            return false;
    }
    return uses > 0 && uses == param->uses;
}
