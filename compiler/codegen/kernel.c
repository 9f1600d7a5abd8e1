// kernel.c: making kernels and calling them.
//
// A kernel takes pointers and scalars, each once, and computes the parts begin..end of its work if it is divided. Two kernels
// with the same text are one: only the first is kept.

#include <string.h>

#include "codegen/emit.h"

void function_attributes(Codegen *g, LLVMValueRef function, const char *const names[])
{
    for (int i = 0; names && names[i]; i++) {
        unsigned kind = LLVMGetEnumAttributeKindForName(names[i], strlen(names[i]));
        LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(g->llvm, kind, 0));
    }
    char width[16];
    snprintf(width, sizeof width, "%d", g->lanes * 32);
    const char *pair[][2] = {{"target-cpu", g->cpu}, {"target-features", g->features}, {"prefer-vector-width", width},
                             {"min-legal-vector-width", width}};
    for (size_t i = 0; i < COUNT_OF(pair); i++) {
        LLVMAttributeRef attribute = LLVMCreateStringAttribute(g->llvm, pair[i][0], (unsigned)strlen(pair[i][0]), pair[i][1],
                                                               (unsigned)strlen(pair[i][1]));
        LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
    }
}

void kernel_begin(Kernel *k, Frame *f, const Inst *inst, int64_t parts)
{
    *k = (Kernel){.g = f->g, .frame = f, .inst = inst, .parts = parts};
}

int kernel_operand(Kernel *k, LLVMValueRef actual)
{
    for (int i = 0; i < k->operand.count; i++)
        if (k->operand.at[i].actual == actual)
            return i;
    LLVMTypeRef type = LLVMTypeOf(actual);
    Operand operand = {.actual = actual, .type = type, .pointer = LLVMGetTypeKind(type) == LLVMPointerTypeKind};
    vec_push(k->g->arena, &k->operand, operand);
    return k->operand.count - 1;
}

void kernel_open(Kernel *k)
{
    Codegen *g = k->g;
    int count = k->operand.count;
    LLVMTypeRef *types = NEW_ARRAY(g->arena, LLVMTypeRef, count + 2);
    for (int i = 0; i < count; i++)
        types[i] = k->operand.at[i].type;
    if (k->parts > 1) {
        types[count] = types[count + 1] = g->i64;
        count += 2;
    }
    k->function = LLVMAddFunction(g->module, "aml_kernel", LLVMFunctionType(g->none, types, (unsigned)count, 0));
    LLVMSetLinkage(k->function, LLVMInternalLinkage);
    static const char *const attributes[] = {"nounwind", "noinline", NULL};
    function_attributes(g, k->function, attributes);
    unsigned noalias = LLVMGetEnumAttributeKindForName("noalias", 7);
    for (int i = 0; i < k->operand.count; i++) {
        k->operand.at[i].formal = LLVMGetParam(k->function, (unsigned)i);
        if (k->operand.at[i].pointer)
            LLVMAddAttributeAtIndex(k->function, (LLVMAttributeIndex)(i + 1), LLVMCreateEnumAttribute(g->llvm, noalias, 0));
    }
    if (k->parts > 1) {
        k->begin = LLVMGetParam(k->function, (unsigned)k->operand.count);
        k->end = LLVMGetParam(k->function, (unsigned)k->operand.count + 1);
    }
    k->emit = (Emit){.g = g, .b = LLVMCreateBuilderInContext(g->llvm), .lanes = 1};
    LLVMPositionBuilderAtEnd(k->emit.b, LLVMAppendBasicBlockInContext(g->llvm, k->function, ""));
}

static LLVMTypeRef operand_struct(Kernel *k)
{
    LLVMTypeRef *types = NEW_ARRAY(k->g->arena, LLVMTypeRef, k->operand.count + 1);
    for (int i = 0; i < k->operand.count; i++)
        types[i] = k->operand.at[i].type;
    return LLVMStructTypeInContext(k->g->llvm, types, (unsigned)k->operand.count, 0);
}

// void body(void *data, int64_t begin, int64_t end): what the pool calls.
static void make_part(Kernel *k, const char *name)
{
    Codegen *g = k->g;
    LLVMTypeRef types[] = {g->ptr, g->i64, g->i64};
    LLVMValueRef part = LLVMAddFunction(g->module, name, LLVMFunctionType(g->none, types, 3, 0));
    LLVMSetLinkage(part, LLVMInternalLinkage);
    static const char *const attributes[] = {"nounwind", NULL};
    function_attributes(g, part, attributes);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(g->llvm);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(g->llvm, part, ""));
    LLVMTypeRef data = operand_struct(k);
    LLVMValueRef *arg = NEW_ARRAY(g->arena, LLVMValueRef, k->operand.count + 2);
    for (int i = 0; i < k->operand.count; i++)
        arg[i] = LLVMBuildLoad2(b, k->operand.at[i].type, LLVMBuildStructGEP2(b, data, LLVMGetParam(part, 0), (unsigned)i, ""), "");
    arg[k->operand.count] = LLVMGetParam(part, 1);
    arg[k->operand.count + 1] = LLVMGetParam(part, 2);
    LLVMBuildCall2(b, LLVMGlobalGetValueType(k->function), k->function, arg, (unsigned)k->operand.count + 2, "");
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
}

// Memory in the entry function's frame: made at its top, so that a call inside of a loop takes it once.
static LLVMValueRef entry_alloca(Frame *f, LLVMTypeRef type)
{
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(f->emit.b));
    LLVMBasicBlockRef top = LLVMGetEntryBasicBlock(function);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(f->g->llvm);
    LLVMValueRef first = LLVMGetFirstInstruction(top);
    if (first)
        LLVMPositionBuilderBefore(b, first);
    else
        LLVMPositionBuilderAtEnd(b, top);
    LLVMValueRef slot = LLVMBuildAlloca(b, type, "");
    LLVMDisposeBuilder(b);
    return slot;
}

static LLVMValueRef call_field(Frame *f, size_t offset)
{
    LLVMValueRef at = whole(f->g, (int64_t)offset);
    LLVMValueRef pointer = LLVMBuildInBoundsGEP2(f->emit.b, f->g->i8, f->call, &at, 1, "");
    return LLVMBuildLoad2(f->emit.b, f->g->ptr, pointer, "");
}

static void call_parallel(Kernel *k)
{
    Frame *f = k->frame;
    Codegen *g = k->g;
    LLVMBuilderRef b = f->emit.b;
    char name[64];
    size_t length;
    snprintf(name, sizeof name, "%s_part", LLVMGetValueName2(k->function, &length));
    LLVMValueRef part = LLVMGetNamedFunction(g->module, name);
    if (!part) {
        make_part(k, name);
        part = LLVMGetNamedFunction(g->module, name);
    }
    LLVMTypeRef data_type = operand_struct(k);
    LLVMValueRef data = entry_alloca(f, data_type);
    for (int i = 0; i < k->operand.count; i++)
        LLVMBuildStore(b, k->operand.at[i].actual, LLVMBuildStructGEP2(b, data_type, data, (unsigned)i, ""));

    LLVMValueRef parallel = call_field(f, offsetof(aml_call, parallel));
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(b));
    LLVMBasicBlockRef pool = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBasicBlockRef alone = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBuildCondBr(b, LLVMBuildIsNull(b, parallel, ""), alone, pool);
    LLVMPositionBuilderAtEnd(b, pool);
    LLVMTypeRef types[] = {g->ptr, g->i64, g->ptr, g->ptr};
    LLVMValueRef arg[] = {call_field(f, offsetof(aml_call, pool)), whole(g, k->parts), part, data};
    LLVMBuildCall2(b, LLVMFunctionType(g->none, types, 4, 0), parallel, arg, 4, "");
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, alone);
    LLVMValueRef inline_arg[] = {data, whole(g, 0), whole(g, k->parts)};
    LLVMBuildCall2(b, LLVMGlobalGetValueType(part), part, inline_arg, 3, "");
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
}

static void find_twin(Kernel *k)
{
    Codegen *g = k->g;
    char *text = LLVMPrintValueToString(k->function);
    Sym key = sym_of(g->cx, text);
    LLVMDisposeMessage(text);
    LLVMValueRef twin = map_get(&g->kernel, key);
    if (twin) {
        LLVMDeleteFunction(k->function);
        k->function = twin;
        return;
    }
    map_put(g->arena, &g->kernel, key, k->function);
    char name[64];
    snprintf(name, sizeof name, "aml_kernel_%d", g->kernels++);
    LLVMSetValueName2(k->function, name, strlen(name));
}

void kernel_close(Kernel *k)
{
    LLVMBuildRetVoid(k->emit.b);
    LLVMDisposeBuilder(k->emit.b);
    find_twin(k);
    if (k->parts > 1) {
        call_parallel(k);
        return;
    }
    LLVMValueRef *arg = NEW_ARRAY(k->g->arena, LLVMValueRef, k->operand.count + 1);
    for (int i = 0; i < k->operand.count; i++)
        arg[i] = k->operand.at[i].actual;
    LLVMBuildCall2(k->frame->emit.b, LLVMGlobalGetValueType(k->function), k->function, arg, (unsigned)k->operand.count, "");
}

// ---- read-only data -----------------------------------------------------------------------------------------------

LLVMValueRef constant_pointer(Codegen *g, const void *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    for (int i = 0; i < g->constant.count; i++) {
        const Constant *old = &g->constant.at[i];
        if (old->hash == hash && old->bytes == count && memcmp(old->at, bytes, count) == 0)
            return old->value;
    }
    LLVMTypeRef type = LLVMArrayType2(g->i8, count);
    char name[64];
    snprintf(name, sizeof name, "aml_constant_%d", g->constant.count);
    LLVMValueRef global = LLVMAddGlobal(g->module, type, name);
    LLVMSetInitializer(global, LLVMConstStringInContext2(g->llvm, bytes, count, 1));
    LLVMSetLinkage(global, LLVMInternalLinkage);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetAlignment(global, AML_ALIGNMENT);
    Constant constant = {hash, count, bytes, global};
    vec_push(g->arena, &g->constant, constant);
    return global;
}
