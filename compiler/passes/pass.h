// passes/: from IR to IR. Every pass keeps what a function computes; each file's head says why.

#ifndef AML_PASS_H
#define AML_PASS_H

#include "ir/ir.h"

// One function at a time. True if anything changed.
typedef bool PassFunction(IrFunction *fn);

#define PASS(name, group, meaning) bool pass_##name(IrFunction *fn);
#include "passes/passes.def"
#undef PASS

typedef enum PassId {
#define PASS(name, group, meaning) PASS_##name,
#include "passes/passes.def"
#undef PASS
    PASS_COUNT
} PassId;

typedef struct PassInfo {
    const char *name;
    PassFunction *run;
    int group;
    const char *meaning;
} PassInfo;
extern const PassInfo pass_info[PASS_COUNT];

// pass.c. passes_run, all rows, is declared in compile.h.

PassId pass_find(const char *name); // PASS_COUNT: there is none
bool pass_apply(Cx *cx, IrModule *module,
                PassId pass); // one row, once, and the verifier. True if anything changed

// How inputs and attributes of instructions are compared: by cse, and by simplify for operands.
bool inst_same_attributes(const Inst *a, const Inst *b);

#endif
