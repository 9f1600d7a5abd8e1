// mode.c: subnormal numbers count as zero while compiled code runs, as operands and as results.
//
// On Intel's processors an instruction that meets one takes some 150 cycles, and what decays
// towards zero is full of them: an optimizer's moments where gradients vanish, the state of a
// recurrent network in silence. Entry points and what threads call set the mode and put the
// caller's back; so results depend neither on the caller's mode nor on whose threads compute them.

#include <string.h>

#include "codegen/emit.h"

enum { SSE_TO_ZERO = 1 << 15 | 1 << 6 /* results, operands */, NEON_TO_ZERO = 1 << 24 };

static LLVMValueRef call(Codegen *g, LLVMBuilderRef b, const char *name, LLVMValueRef argument)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    return LLVMBuildCall2(b, LLVMIntrinsicGetType(g->llvm, id, NULL, 0),
                          LLVMGetIntrinsicDeclaration(g->module, id, NULL, 0), &argument,
                          argument ? 1 : 0, "");
}

LLVMValueRef mode_enter(Codegen *g, LLVMBuilderRef b)
{
    if (targets_aarch64(g)) {
        LLVMValueRef before = call(g, b, "llvm.aarch64.get.fpcr", NULL);
        call(g, b, "llvm.aarch64.set.fpcr", LLVMBuildOr(b, before, whole(g, NEON_TO_ZERO), ""));
        return before;
    }
    LLVMValueRef before = LLVMBuildAlloca(b, g->i32, ""), own = LLVMBuildAlloca(b, g->i32, "");
    call(g, b, "llvm.x86.sse.stmxcsr", before);
    LLVMValueRef bits = LLVMBuildLoad2(b, g->i32, before, "");
    LLVMBuildStore(b, LLVMBuildOr(b, bits, LLVMConstInt(g->i32, SSE_TO_ZERO, 0), ""), own);
    call(g, b, "llvm.x86.sse.ldmxcsr", own);
    return before;
}

void mode_leave(Codegen *g, LLVMBuilderRef b, LLVMValueRef before)
{
    call(g, b, targets_aarch64(g) ? "llvm.aarch64.set.fpcr" : "llvm.x86.sse.ldmxcsr", before);
}
