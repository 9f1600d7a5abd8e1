// nest.h: a loop nest while its code is made, see nest.c.

#ifndef AML_CODEGEN_NEST_H
#define AML_CODEGEN_NEST_H

#include "codegen/emit.h"

typedef struct Dim {
    int64_t extent;
    int first, last; // axes of the space
    bool folded;
} Dim;

typedef struct Accumulator {
    Inst *reduce;
    int phase;
    LLVMValueRef slot[MAX_UNITS];
    LLVMValueRef nan[MAX_UNITS]; // of a largest or smallest float: a NaN that was met, else 0
    LLVMValueRef seed;           // the reduce's value, if lanes were folded
    LLVMValueRef seed_before;    // memory for that of the row before
} Accumulator;

typedef struct Output {
    Inst *value;
    LLVMValueRef base; // of a piece: of its first element
    Type memory;       // its own type, or that of the whole of which it is a piece
    int phase;         // SPACE, down: in which it is stored
    bool space;
    bool down;   // a sum down columns, added up in memory
    bool piece;  // of a concat
    bool panels; // stored in panels (passes/pack.c)
} Output;

// The row before the one that is computed, whose results are written meanwhile.
typedef struct Before {
    LLVMValueRef is_there, row; // i1; its index
    LLVMValueRef held;          // what is held of it
    LLVMValueRef *seed;         // by accumulator
} Before;

typedef struct Nest {
    Kernel *k;
    Emit *e;
    IrFunction *body;
    BodyShape shape;
    int dims;
    Dim dim[IR_MAX_RANK];
    Index at[IR_MAX_RANK]; // by dim, of unit 0
    int lane_dim;          // the dim that goes by vectors
    int lanes;             // 1: too short for vectors
    bool lane_folded;
    int units; // in flight in the current loop
    int unit_most;
    LLVMValueRef tail; // mask of the last unit, NULL: all lanes
    int phase;
    int first_kept;        // the dim that is divided among parts, -1: none
    int64_t chunk;         // how much of it a part has
    Inst *held;            // kept in the memory of a result between two phases; NULL: nothing is
    int held_by;           // which output that is
    bool streaming;        // what is stored goes past the caches
    bool clearing;         // only the sums down columns are begun
    LLVMValueRef held_row; // memory for a row of it instead; NULL: there is none
    Before *before;        // NULL: each row is finished before the next one begins
    Vec(Accumulator) accumulator;
    Vec(Output) output;
} Nest;

#endif
