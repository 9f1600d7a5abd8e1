// dce: drop instructions nobody reads.
//
// One walk from the last instruction to the first: dropping a reader can only free instructions
// above it, so nothing needs to be visited twice. Random numbers go too: a draw is keyed by its
// place, so no other draw depends on it.

#include "passes/pass.h"

bool pass_dce(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev; // ir_remove unlinks inst
        if (inst->uses > 0 || !op_has(inst->op, PURE))
            continue;
        ir_remove(fn, inst); // also counts down its inputs
        changed = true;
    }
    return changed;
}
