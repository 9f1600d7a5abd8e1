// cost.c: what an instruction costs, from shapes alone.

#include "ir/ir.h"

static Cost function_cost(const IrFunction *fn)
{
    Cost sum = {0};
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Cost cost = inst_cost(inst);
        sum.flops += cost.flops;
        sum.bytes += cost.bytes;
    }
    return sum;
}

static double traffic(const Inst *inst)
{
    double bytes = 0;
    for (int i = 0; i < inst->inputs; i++)
        bytes += (double)type_bytes(inst->input[i]->type);
    for (int i = 0; i < inst->results; i++)
        bytes += (double)type_bytes(inst->results == 1 ? inst->type : inst->result_type[i]);
    return bytes;
}

Cost inst_cost(const Inst *inst)
{
    if (op_has(inst->op, LEAF) && inst->op != OP_iota)
        return (Cost){0};
    if (inst->op == OP_get || inst->op == OP_reshape || inst->op == OP_stop_gradient)
        return (Cost){0};
    if (inst->op == OP_call)
        return function_cost(inst->attr[0].function);
    if (inst->op == OP_fused)
        return (Cost){function_cost(inst->attr[0].function).flops, traffic(inst)};
    if (inst->op == OP_loop) {
        Cost turn = function_cost(inst->attr[3].function);
        double count = inst->attr[0].whole == LOOP_NO_LIMIT ? 1 : (double)inst->attr[0].whole;
        return (Cost){turn.flops * count, turn.bytes * count};
    }
    Cost cost = {0, traffic(inst)};
    bool real = dtype_info[inst->type.dtype].kind == KIND_FLOAT;
    if (inst->op == OP_dot) {
        double depth = 1;
        for (int i = 0; i < inst->attr[0].list.count; i++)
            depth *= (double)inst->input[0]->type.dim[inst->attr[0].list.at[i]];
        cost.flops = 2 * depth * (double)type_elements(inst->type);
    } else if (inst->op == OP_attend || inst->op == OP_attend_back) {
        Type q = inst->input[0]->type, k = inst->input[1]->type, v = inst->input[2]->type;
        double pairs = (double)(q.dim[0] * q.dim[1] * q.dim[2]) * (double)k.dim[1],
               products = inst->op == OP_attend ? (double)(q.dim[3] + v.dim[3])
                                                : (double)(3 * q.dim[3] + 2 * v.dim[3]);
        cost.flops = 2 * pairs * products;
        if (inst->attr[1].whole && k.dim[1] == q.dim[1]) // half of the pairs is not looked at
            cost.flops /= 2;
    } else if (inst->op == OP_attend_cached) { // at most: how far the position is, is not known
        Type q = inst->input[0]->type, k = inst->input[1]->type, v = inst->input[2]->type;
        cost.flops = 2 * (double)(q.dim[0] * q.dim[1] * q.dim[2]) * (double)k.dim[1] *
                     (double)(q.dim[3] + v.dim[3]);
    } else if (inst->op == OP_conv || inst->op == OP_conv_input || inst->op == OP_conv_weight) {
        // Each element of the convolution's result is a sum over the weights of its channel.
        Type w = inst->op == OP_conv_weight ? inst->type : inst->input[1]->type;
        Type y = inst->op == OP_conv ? inst->type : inst->input[inst->op == OP_conv_weight]->type;
        int first = inst->op == OP_conv_weight && inst->attr[5].whole > 0 ? 2 : 1;
        cost.flops = 2 * (double)type_elements(y);
        for (int i = first; i < w.rank; i++)
            cost.flops *= (double)w.dim[i];
    } else if (inst->op == OP_dot_stored) {
        Type a = inst->input[0]->type;
        cost.flops = 2 * (double)a.dim[a.rank - 1] * (double)type_elements(inst->type);
    } else if (inst->op == OP_reduce && real) {
        cost.flops = (double)type_elements(inst->input[0]->type);
    } else if (inst->op == OP_cumulate && real) {
        cost.flops = (double)type_elements(inst->type);
    } else if ((inst->op == OP_scatter_add || inst->op == OP_add_along) && real) {
        cost.flops = (double)type_elements(inst->input[2]->type);
    } else if (op_has(inst->op, POINTWISE) && real && inst->op != OP_select &&
               inst->op != OP_cast) {
        cost.flops = (double)type_elements(inst->type);
    }
    return cost;
}
