// rows: a batch that only products read is not put together.
//
// A training picks the rows of a batch anywhere among the samples. Where a function reads a batch
// as the first operand of products and in no other way, each row of it is walked from its begin to
// its end by code that may as well get the address of each row: copying them, a good part of a
// small network's step, is left out. The kernels compute the same in the same order, so do the
// bits. The verifier knows what may read such an input.

#include "passes/pass.h"

bool pass_rows(IrFunction *fn)
{
    bool changed = false;
    for (int i = 0; i < fn->param.count && fn->scattered; i++) {
        Slot *slot = &fn->param_slot.at[i];
        if (slot->kind != SLOT_INPUT || !inst_reads_rows(fn, fn->param.at[i]))
            continue;
        slot->kind = SLOT_ROWS;
        changed = true;
    }
    return changed;
}
