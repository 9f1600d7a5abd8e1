// made.c: weights that are transformed when a context is opened.
//
// Winograd's transformed weights (kernels/cpu/conv_last.h) take 1.8 or 4 times the room of the
// weights. A small network keeps the weights as they are in the program, and a function of its own
// transforms them into the context, which takes less than a millisecond. A large one keeps what
// kernels read in the program, unless it is to be small: that costs no time when it starts, and
// processes share it.

#include "aml/program.h"
#include "codegen/emit.h"

enum { MOST_MADE = 1024 * 1024 }; // bytes of transformed weights

// What would be made of the weights of a function and of what is nested in it.
static size_t bytes_of(const Codegen *g, const IrFunction *fn)
{
    size_t bytes = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        AmlConv c;
        if (inst_nested(inst))
            bytes += bytes_of(g, inst_nested(inst));
        else if (inst->op == OP_conv && inst->attr[5].whole == 2 &&
                 conv_shape(inst, g->lanes * 4, false, &c) && c.side)
            bytes += c.packed_bytes;
    }
    return bytes;
}

bool made_fits(const Codegen *g, const EmitEntry entries[], int count)
{
    size_t most = 0;
    for (int i = 0; i < count; i++) { // other batches have the same weights
        size_t bytes = bytes_of(g, entries[i].entry->ir);
        most = bytes > most ? bytes : most;
    }
    return most <= MOST_MADE;
}

LLVMValueRef made_weights(Frame *f, const AmlConv *c, const void *weights)
{
    Codegen *g = f->g;
    MadePart part = {.at = weights,
                     .side = c->side,
                     .from = c->from,
                     .to = c->to,
                     .panel = c->vectors * c->lanes,
                     .offset = g->stored_bytes};
    for (int i = 0; i < g->made.count; i++) {
        const MadePart *old = &g->made.at[i];
        if (old->at == part.at && old->side == part.side && old->panel == part.panel)
            return frame_address(f, f->constants, old->offset);
    }
    vec_push(g->arena, &g->made, part);
    g->stored_bytes += (c->packed_bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
    return frame_address(f, f->constants, part.offset);
}

// A function (stored, to, weights) that makes all that lies in the context.
void made_emit(Codegen *g, const char *symbol, ObjectCode *object)
{
    object->expand = object->stored ? "aml_stored_expand" : NULL;
    if (g->made.count == 0)
        return;
    g->module = g->piece[0];
    LLVMTypeRef types[] = {g->ptr, g->ptr, g->ptr};
    LLVMTypeRef type = LLVMFunctionType(g->none, types, 3, 0);
    LLVMValueRef function = LLVMAddFunction(g->module, symbol, type);
    LLVMSetVisibility(function, LLVMHiddenVisibility);
    static const char *const attributes[] = {"nounwind", "noinline", "optnone", NULL};
    function_attributes(g, function, attributes);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(g->llvm);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    LLVMValueRef mode = mode_enter(g, b);
    LLVMValueRef given[] = {LLVMGetParam(function, 0), LLVMGetParam(function, 1),
                            LLVMGetParam(function, 2)};
    g->builder = b;
    g->weights = given[2]; // where those beside the program are
    if (object->stored)
        LLVMBuildCall2(b, type, LLVMAddFunction(g->module, object->expand, type), given, 3, "");
    for (int i = 0; i < g->made.count; i++) {
        const MadePart *part = &g->made.at[i];
        LLVMValueRef offset = whole(g, (int64_t)part->offset);
        LLVMValueRef arg[] = {
            constant_pointer(g, part->at, (size_t)(part->from * part->to * 9) * sizeof(float)),
            whole(g, part->side),
            whole(g, part->from),
            whole(g, part->to),
            whole(g, part->panel),
            LLVMBuildInBoundsGEP2(b, g->i8, given[1], &offset, 1, "")};
        LLVMValueRef pack = template_function(g, "aml_shared_winograd_weights");
        LLVMBuildCall2(b, LLVMGlobalGetValueType(pack), pack, arg, COUNT_OF(arg), "");
    }
    mode_leave(g, b, mode);
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
    object->expand = arena_text(g->cx->arena, symbol, strlen(symbol));
    object->stored_bytes =
        g->stored_bytes + AML_ALIGNMENT; // kernels read a whole vector at the end
}
