// harness.h: compiled functions beside the reference: fuse, plan and codegen, then the system's
// linker and dlopen.

#ifndef AML_TEST_CODEGEN_HARNESS_H
#define AML_TEST_CODEGEN_HARNESS_H

#include "compile.h"
#include "ir/support.h"

typedef struct Case {
    IrFunction *reference; // as it was, for ir_evaluate
    IrFunction *fn;        // what is compiled
    Entry entry;
    size_t *state_offset, state_bytes;
    int states;
    aml_entry *run;
} Case;

// Binds what is bound to nothing: parameters to inputs (rank 0: to scalars), results to outputs.
void case_prepare(Cx *cx, Case *c, IrModule *module, IrFunction *fn, const char *symbol);
// One object of all cases, loaded. `cpu`: a Target's. NULL, or what went wrong.
const char *cases_load(Cx *cx, IrModule *module, Case *cases, int count, const char *cpu);
// Whether this machine runs code of the level; what AMX it lacks is emulated. It says what is
// missing.
bool level_can_run(const char *cpu);
// False if tiles should have been multiplied since it was asked before, of bytes or of bf16, and
// none were.
bool level_used_tiles(const char *cpu, bool bytes);
// Runs a case on random values three times: alone, and with parts in two odd orders, which must
// give the same bits; then compares with the reference. Floats may differ by `tolerance` relative
// to 1 + |value|. NULL, or what differs.
const char *case_check(Cx *cx, Case *c, uint64_t seed, double tolerance);

#endif
