// loop.c: a loop in the code of a kernel.

#include "codegen/emit.h"

Loop loop_begin(Emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step)
{
    Loop loop = {.step = step, .at = from, .end = to};
    if (LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to) &&
        LLVMConstIntGetSExtValue(to) - LLVMConstIntGetSExtValue(from) <= step) {
        loop.once = true;
        return loop;
    }
    loop.before = LLVMGetInsertBlock(e->b);
    LLVMValueRef function = LLVMGetBasicBlockParent(loop.before);
    loop.top = LLVMAppendBasicBlockInContext(e->g->llvm, function, "");
    loop.after = LLVMAppendBasicBlockInContext(e->g->llvm, function, "");
    LLVMBuildBr(e->b, loop.top);
    LLVMPositionBuilderAtEnd(e->b, loop.top);
    loop.at = LLVMBuildPhi(e->b, e->g->i64, "");
    LLVMAddIncoming(loop.at, &from, &loop.before, 1);
    return loop;
}

void loop_end(Emit *e, Loop *loop)
{
    if (loop->once)
        return;
    LLVMValueRef next = LLVMBuildNUWAdd(e->b, loop->at, whole(e->g, loop->step), "");
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntULT, next, loop->end, "");
    LLVMBuildCondBr(e->b, more, loop->top, loop->after);
    LLVMAddIncoming(loop->at, &next, &last, 1);
    LLVMPositionBuilderAtEnd(e->b, loop->after);
}
