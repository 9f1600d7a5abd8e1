// kernel.c: making kernels and calling them.
//
// A kernel takes pointers and scalars, each once, and computes the parts begin..end of its work if
// it is divided. What it computes follows from its key: the instruction with its body, which
// operands are the same, the number of parts. Kernels with equal keys are one, made the first time.

#include <inttypes.h>
#include <string.h>

#include "codegen/emit.h"

static void add_attribute(Codegen *g, LLVMValueRef function, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(g->llvm, kind, 0));
}

void function_short(Codegen *g, LLVMValueRef function)
{
    add_attribute(g, function, "minsize");
    add_attribute(g, function, "optsize"); // it is not aligned either then
}

void function_attributes(Codegen *g, LLVMValueRef function, const char *const names[])
{
    for (int i = 0; names && names[i]; i++)
        add_attribute(g, function, names[i]);
    char width[16];
    snprintf(width, sizeof width, "%d", g->lanes * 32);
    const char *pair[][2] = {{"target-cpu", g->cpu},
                             {"target-features", g->features},
                             {"prefer-vector-width", width},
                             {"min-legal-vector-width", width}};
    for (size_t i = 0; i < COUNT_OF(pair); i++) {
        LLVMAttributeRef attribute =
            LLVMCreateStringAttribute(g->llvm, pair[i][0], (unsigned)strlen(pair[i][0]), pair[i][1],
                                      (unsigned)strlen(pair[i][1]));
        LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                attribute);
    }
}

// ---- keys ---------------------------------------------------------------------------------------

static void key_type(Buffer *key, Type type)
{
    buffer_printf(key, "%d[", type.dtype);
    for (int i = 0; i < type.rank; i++)
        buffer_printf(key, "%" PRId64 ",", type.dim[i]);
    buffer_text(key, "]");
}

static void key_list(Buffer *key, IntList list)
{
    for (int i = 0; i < list.count; i++)
        buffer_printf(key, "%" PRId64 ",", list.at[i]);
    buffer_text(key, ";");
}

static void key_instruction(Buffer *key, const Inst *inst);

static void key_body(Buffer *key, const IrFunction *body)
{
    int next = 0;
    for (int i = 0; i < body->param.count; i++) {
        body->param.at[i]->mark = next++;
        key_type(key, body->param.at[i]->type);
    }
    for (Inst *inst = body->first; inst; inst = inst->next) {
        inst->mark = next++;
        for (int i = 0; i < inst->inputs; i++)
            buffer_printf(key, "%%%" PRId64, inst->input[i]->mark);
        key_instruction(key, inst);
    }
    for (int i = 0; i < body->result.count; i++)
        buffer_printf(key, "=%" PRId64, body->result.at[i].value->mark);
}

static void key_attribute(Buffer *key, AttrKind kind, const Attr *attr)
{
    switch (kind) {
    case ATTR_Axes:
    case ATTR_Shape:
        key_list(key, attr->list);
        break;
    case ATTR_Int:
    case ATTR_Site:
    case ATTR_Flag:
        buffer_printf(key, "%" PRId64 ";", attr->whole);
        break;
    case ATTR_Real:
        buffer_printf(key, "%a;", attr->real);
        break;
    case ATTR_Reducer:
        buffer_printf(key, "%d;", attr->reducer);
        break;
    case ATTR_Body:
        key_body(key, attr->function);
        break;
    case ATTR_Callee:
        buffer_printf(key, "%s;", attr->function->name);
        break;
    case ATTR_Data:
        for (size_t i = 0; i < attr->data.bytes; i++)
            buffer_printf(key, "%02x", ((const unsigned char *)attr->data.at)[i]);
        break;
    }
}

static void key_instruction(Buffer *key, const Inst *inst)
{
    buffer_printf(key, "(%s ", op_info[inst->op].name);
    for (int i = 0; i < inst->inputs; i++)
        key_type(key, inst->input[i]->type);
    buffer_text(key, ">");
    for (int i = 0; i < inst->results; i++)
        key_type(key, inst->results == 1 ? inst->type : inst->result_type[i]);
    for (int i = 0; i < op_info[inst->op].attrs; i++)
        key_attribute(key, op_info[inst->op].attr[i].kind, &inst->attr[i]);
    buffer_text(key, ")");
}

// ---- kernels ------------------------------------------------------------------------------------

void kernel_begin(Kernel *k, Frame *f, const Inst *inst, int64_t parts)
{
    *k = (Kernel){
        .g = f->g, .frame = f, .inst = inst, .parts = parts, .key = {.arena = f->g->arena}};
    key_instruction(&k->key, inst);
    buffer_printf(&k->key, "%" PRId64 ":", parts);
}

void kernel_begin_shared(Kernel *k, Frame *f, const Inst *inst, int64_t parts, const char *what)
{
    *k = (Kernel){
        .g = f->g, .frame = f, .inst = inst, .parts = parts, .key = {.arena = f->g->arena}};
    buffer_printf(&k->key, "%s %d:", what, parts > 1);
}

static int operand_find(const Kernel *k, LLVMValueRef actual)
{
    int i = 0;
    while (i < k->operand.count && k->operand.at[i].actual != actual)
        i++;
    return i;
}

int kernel_operand(Kernel *k, LLVMValueRef actual)
{
    int found = operand_find(k, actual);
    buffer_printf(&k->key, " %d", found);
    if (found < k->operand.count)
        return found;
    LLVMTypeRef type = LLVMTypeOf(actual);
    Operand operand = {
        .actual = actual, .type = type, .pointer = LLVMGetTypeKind(type) == LLVMPointerTypeKind};
    vec_push(k->g->arena, &k->operand, operand);
    return k->operand.count - 1;
}

bool kernel_open(Kernel *k)
{
    Codegen *g = k->g;
    Sym key = sym_of(g->cx, k->key.text);
    k->function = map_get(&g->kernel, key);
    if (k->function)
        return false;
    char name[48];
    snprintf(name, sizeof name, KERNEL_NAME "%s%d", g->prefix, g->kernel.count);
    g->module = piece_for_kernel(g); // until kernel_close
    int count = k->operand.count;
    LLVMTypeRef *types = NEW_ARRAY(g->arena, LLVMTypeRef, count + 2);
    for (int i = 0; i < count; i++)
        types[i] = k->operand.at[i].type;
    if (k->parts > 1) {
        types[count] = types[count + 1] = g->i64;
        count += 2;
    }
    k->function =
        LLVMAddFunction(g->module, name, LLVMFunctionType(g->none, types, (unsigned)count, 0));
    LLVMSetVisibility(k->function, LLVMHiddenVisibility); // the caller may be in another object
    static const char *const attributes[] = {"nounwind", "noinline", NULL};
    function_attributes(g, k->function, attributes);
    unsigned noalias = LLVMGetEnumAttributeKindForName("noalias", 7);
    for (int i = 0; i < k->operand.count; i++) {
        k->operand.at[i].formal = LLVMGetParam(k->function, (unsigned)i);
        if (k->operand.at[i].pointer)
            LLVMAddAttributeAtIndex(k->function, (LLVMAttributeIndex)(i + 1),
                                    LLVMCreateEnumAttribute(g->llvm, noalias, 0));
    }
    if (k->parts > 1) {
        k->begin = LLVMGetParam(k->function, (unsigned)k->operand.count);
        k->end = LLVMGetParam(k->function, (unsigned)k->operand.count + 1);
    }
    k->emit = (Emit){.g = g, .b = LLVMCreateBuilderInContext(g->llvm), .lanes = 1};
    LLVMPositionBuilderAtEnd(k->emit.b, LLVMAppendBasicBlockInContext(g->llvm, k->function, ""));
    map_put(g->arena, &g->kernel, key, k->function);
    return true;
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
    LLVMSetVisibility(part, LLVMHiddenVisibility);
    static const char *const attributes[] = {"nounwind", NULL};
    function_attributes(g, part, attributes);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(g->llvm);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(g->llvm, part, ""));
    LLVMValueRef mode = mode_enter(g, b);
    LLVMTypeRef data = operand_struct(k);
    LLVMValueRef *arg = NEW_ARRAY(g->arena, LLVMValueRef, k->operand.count + 2);
    for (int i = 0; i < k->operand.count; i++)
        arg[i] = LLVMBuildLoad2(
            b, k->operand.at[i].type,
            LLVMBuildStructGEP2(b, data, LLVMGetParam(part, 0), (unsigned)i, ""), "");
    arg[k->operand.count] = LLVMGetParam(part, 1);
    arg[k->operand.count + 1] = LLVMGetParam(part, 2);
    LLVMBuildCall2(b, LLVMGlobalGetValueType(k->function), k->function, arg,
                   (unsigned)k->operand.count + 2, "");
    mode_leave(g, b, mode);
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
}

// Made at the top of the function, so that a call inside of a loop takes it once.
LLVMValueRef entry_alloca(Emit *e, LLVMTypeRef type)
{
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b));
    LLVMBasicBlockRef top = LLVMGetEntryBasicBlock(function);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(e->g->llvm);
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

LLVMValueRef soon_table(Frame *f)
{
    Codegen *g = f->g;
    static const char name[] = "aml_nothing_soon";
    LLVMValueRef told = call_field(f, offsetof(aml_call, soon)),
                 none = LLVMGetNamedGlobal(g->module, name);
    if (!none) {
        LLVMTypeRef type = LLVMArrayType2(g->ptr, AML_SOON);
        none = LLVMAddGlobal(g->module, type, name);
        LLVMSetLinkage(none, LLVMInternalLinkage);
        LLVMSetInitializer(none, LLVMConstNull(type));
    }
    return LLVMBuildSelect(f->emit.b, LLVMBuildIsNull(f->emit.b, told, ""), none, told, "");
}

// The function, or its declaration if it is in another piece.
LLVMValueRef function_here(Codegen *g, LLVMValueRef function)
{
    size_t length;
    const char *name = LLVMGetValueName2(function, &length);
    LLVMValueRef here = LLVMGetNamedFunction(g->module, name);
    if (here)
        return here;
    here = LLVMAddFunction(g->module, name, LLVMGlobalGetValueType(function));
    LLVMSetVisibility(here, LLVMHiddenVisibility);
    return here;
}

static void call_parallel(Kernel *k)
{
    Frame *f = k->frame;
    Codegen *g = k->g;
    LLVMBuilderRef b = f->emit.b;
    char name[64];
    size_t length;
    snprintf(name, sizeof name, "%s_part", LLVMGetValueName2(k->function, &length));
    LLVMModuleRef home = LLVMGetGlobalParent(k->function), here = g->module;
    if (!LLVMGetNamedFunction(home, name)) {
        g->module = home;
        make_part(k, name);
        g->module = here;
    }
    LLVMValueRef part = function_here(g, LLVMGetNamedFunction(home, name));
    LLVMTypeRef data_type = operand_struct(k);
    LLVMValueRef data = entry_alloca(&f->emit, data_type);
    for (int i = 0; i < k->operand.count; i++)
        LLVMBuildStore(b, k->operand.at[i].actual,
                       LLVMBuildStructGEP2(b, data_type, data, (unsigned)i, ""));

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

void kernel_close(Kernel *k)
{
    if (k->emit.b) {
        LLVMBuildRetVoid(k->emit.b);
        LLVMDisposeBuilder(k->emit.b);
        piece_add(k->g, k->function);
        k->g->module = k->g->home;
    }
    if (k->parts > 1) {
        call_parallel(k);
        return;
    }
    LLVMValueRef *arg = NEW_ARRAY(k->g->arena, LLVMValueRef, k->operand.count + 1);
    for (int i = 0; i < k->operand.count; i++)
        arg[i] = k->operand.at[i].actual;
    LLVMBuildCall2(k->frame->emit.b, LLVMGlobalGetValueType(k->function),
                   function_here(k->g, k->function), arg, (unsigned)k->operand.count, "");
}

// ---- read-only data -----------------------------------------------------------------------------

// In the file, as often as it is asked for: an address is of use in one function only.
static LLVMValueRef constant_beside(Codegen *g, uint64_t hash, const void *bytes, size_t count)
{
    Shared *shared = g->shared;
    Arena *arena = g->cx->arena; // of this compilation, not of the object
    const SharedConstant *found = NULL;
    for (int i = 0; i < shared->constant.count && !found; i++) {
        const SharedConstant *old = &shared->constant.at[i];
        if (old->hash == hash && old->bytes == count && memcmp(old->at, bytes, count) == 0)
            found = old;
    }
    if (!found) {
        static const char zeros[AML_ALIGNMENT];
        SharedConstant made = {hash, count, arena_copy(arena, bytes, count), NULL,
                               shared->file.length};
        vec_push(arena, &shared->constant, made);
        found = &shared->constant.at[shared->constant.count - 1];
        buffer_append(&shared->file, bytes, count);
        buffer_append(&shared->file, zeros,
                      (AML_ALIGNMENT - count % AML_ALIGNMENT) % AML_ALIGNMENT);
    }
    LLVMValueRef at = whole(g, (int64_t)found->offset);
    return LLVMBuildInBoundsGEP2(g->builder, g->i8, g->weights, &at, 1, "");
}

// The constant, or its declaration if it is in another piece.
static LLVMValueRef constant_here(Codegen *g, LLVMValueRef constant)
{
    size_t length;
    const char *name = LLVMGetValueName2(constant, &length);
    LLVMValueRef here = LLVMGetNamedGlobal(g->module, name);
    if (here)
        return here;
    LLVMSetLinkage(constant, LLVMExternalLinkage);
    LLVMSetVisibility(constant, LLVMHiddenVisibility);
    here = LLVMAddGlobal(g->module, LLVMGlobalGetValueType(constant), name);
    LLVMSetGlobalConstant(here, 1);
    LLVMSetAlignment(here, AML_ALIGNMENT);
    LLVMSetVisibility(here, LLVMHiddenVisibility);
    return here;
}

LLVMValueRef constant_pointer(Codegen *g, const void *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    if (g->shared && g->shared->beside)
        return constant_beside(g, hash, bytes, count);
    for (int i = 0; i < g->constant.count; i++) {
        const Constant *old = &g->constant.at[i];
        if (old->hash == hash && old->bytes == count && memcmp(old->at, bytes, count) == 0)
            return constant_here(g, old->value);
    }
    LLVMTypeRef type = LLVMArrayType2(g->i8, count);
    Shared *shared = g->shared;
    char name[64];
    snprintf(name, sizeof name, "aml_constant_%s%d", g->prefix, g->constant.count);
    const SharedConstant *other = NULL;
    for (int i = 0; shared && i < shared->constant.count && !other; i++) {
        const SharedConstant *old = &shared->constant.at[i];
        if (old->hash == hash && old->bytes == count && memcmp(old->at, bytes, count) == 0)
            other = old;
    }
    LLVMValueRef global = LLVMAddGlobal(g->module, type, other ? other->name : name);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetAlignment(global, AML_ALIGNMENT);
    bool beside = count >= DATA_BESIDE && !g->as_text;
    if (!other && beside)
        data_add(g, name, bytes, count);
    else if (!other)
        LLVMSetInitializer(global, LLVMConstStringInContext2(g->llvm, bytes, count, 1));
    if (shared || beside)
        LLVMSetVisibility(global, LLVMHiddenVisibility);
    else
        LLVMSetLinkage(global, LLVMInternalLinkage);
    if (shared && !other) {
        Arena *arena = g->cx->arena; // of this compilation, not of the object
        vec_push(arena, &shared->constant,
                 ((SharedConstant){hash, count, arena_copy(arena, bytes, count),
                                   arena_text(arena, name, strlen(name)), 0}));
    }
    Constant constant = {hash, count, bytes, global};
    vec_push(g->arena, &g->constant, constant);
    return global;
}
