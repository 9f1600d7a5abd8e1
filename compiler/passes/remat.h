// remat.h: computing again what would be kept: shared by remat (where it costs nothing) and budget
// (where memory is short).

#ifndef AML_PASSES_REMAT_H
#define AML_PASSES_REMAT_H

#include "ir/ir.h"

// A slice that `reader`, a loop, gets of what `maker`, a loop before it, has stacked.
typedef struct Kept {
    Inst *maker, *reader;
    int result, input; // of maker, of reader
} Kept;

int kept_count(const IrFunction *fn); // an upper bound
bool kept_at(const IrFunction *fn, int index, Kept *out);

// What it would cost to compute the slice in the reader, per turn, in operations; what the body
// computes anyway costs nothing. False: it cannot be computed there.
bool kept_cost(const Kept *kept, double *cost);
// The reader computes it. Nothing reads the stacked result for this reader any more.
void kept_drop(const Kept *kept);

#endif
