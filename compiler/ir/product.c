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
