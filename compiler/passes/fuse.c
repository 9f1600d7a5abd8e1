// fuse: groups of instructions become one loop nest.

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"
#include "passes/pass.h"

// ---- making fused instructions ------------------------------------------------------------------------------------

// The instruction that stands for a body needs one parameter for each different input.
static void wrap_one(IrFunction *fn, Inst *inst)
{
    Cx *cx = fn->cx;
    IrFunction *body = ir_function_new(cx, NULL, NULL, inst->span);
    Inst **outer = NEW_ARRAY(cx->scratch, Inst *, inst->inputs + 1), **inner = NEW_ARRAY(cx->scratch, Inst *, inst->inputs + 1);
    int inputs = 0;
    for (int i = 0; i < inst->inputs; i++) {
        int found = 0;
        while (found < inputs && outer[found] != inst->input[i])
            found++;
        if (found == inputs) {
            outer[inputs++] = inst->input[i];
            ir_param(body, inst->input[i]->type, (Slot){0}, NULL, inst->span);
        }
        inner[i] = body->param.at[found];
    }
    ir_result(body, ir_clone_into(body, inst, inner), (Slot){0}, NULL);
    Attr attr = {.function = body};
    Inst *fused = ir_insert_before(inst, OP_fused, outer, inputs, &attr, (Type){0}, inst->span);
    ir_replace_uses(fn, inst, fused);
    ir_remove(fn, inst);
}

static bool needs_body(const Inst *inst)
{
    if (inst_in_register(inst) || inst_is_alias(inst))
        return false;
    if (inst->op == OP_constant)
        return inst->attr[0].data.splat && inst->type.rank > 0;
    bool moves = inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_transpose || inst->op == OP_slice ||
                 inst->op == OP_gather || inst->op == OP_iota || inst->op == OP_stop_gradient;
    return moves || op_has(inst->op, POINTWISE) || inst->op == OP_reduce || inst->op == OP_dot;
}

void fuse_prepare(IrFunction *fn)
{
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op == OP_loop)
            fuse_prepare(inst->attr[3].function);
        else if (inst->op == OP_call)
            fuse_prepare(inst->attr[0].function);
        else if (needs_body(inst))
            wrap_one(fn, inst);
    }
}

bool pass_fuse(IrFunction *fn)
{
    fuse_prepare(fn);
    return true;
}
