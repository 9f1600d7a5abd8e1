// mode.c: while compiled code runs on x86, results that would be subnormal numbers are zero.
//
// On Intel's processors an instruction that makes or reads one takes some 150 cycles, and what
// decays towards zero is full of them: an optimizer's moments where gradients vanish, the state of
// a recurrent network in silence. Operands are taken as they are: without subnormal results only
// data have any, and what is compared, or divided by, must not become zero. Entry points and what
// threads call set the mode and put the caller's back; so results depend neither on the caller's
// mode nor on whose threads compute them. On aarch64 subnormal numbers cost nothing, and its mode
// would take operands for zero as well.

#include <string.h>

#include "codegen/emit.h"

enum { FLUSH_TO_ZERO = 1 << 15 }; // of MXCSR

static void call(Codegen *g, LLVMBuilderRef b, const char *name, LLVMValueRef address)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMBuildCall2(b, LLVMIntrinsicGetType(g->llvm, id, NULL, 0),
                   LLVMGetIntrinsicDeclaration(g->module, id, NULL, 0), &address, 1, "");
}

LLVMValueRef mode_enter(Codegen *g, LLVMBuilderRef b)
{
    if (targets_aarch64(g))
        return NULL;
    LLVMValueRef before = LLVMBuildAlloca(b, g->i32, ""), own = LLVMBuildAlloca(b, g->i32, "");
    call(g, b, "llvm.x86.sse.stmxcsr", before);
    LLVMValueRef bits = LLVMBuildLoad2(b, g->i32, before, "");
    LLVMBuildStore(b, LLVMBuildOr(b, bits, LLVMConstInt(g->i32, FLUSH_TO_ZERO, 0), ""), own);
    call(g, b, "llvm.x86.sse.ldmxcsr", own);
    return before;
}

void mode_leave(Codegen *g, LLVMBuilderRef b, LLVMValueRef before)
{
    if (before)
        call(g, b, "llvm.x86.sse.ldmxcsr", before);
}
