// module.c: all entry points of a program into one object.

#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "base/embedded.h"
#include "codegen/emit.h"

extern const AmlEmbedded aml_kernel_bitcode[];

// Templates first become part of the kernels that call them; then each kernel is straight-line code
// and a few loops.
static const char pipeline[] =
    "always-inline,globaldce,always-inline,globaldce,"
    "function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,"
    "loop-mssa(loop-instsimplify,loop-simplifycfg,loop-rotate,licm),simplifycfg,instcombine<no-"
    "verify-fixpoint>,"
    "loop(loop-idiom,indvars,loop-deletion,loop-unroll-full),sroa,early-cse<memssa>,gvn,"
    "instcombine<no-verify-fixpoint>,"
    "loop-mssa(licm),dse,adce,simplifycfg,instcombine<no-verify-fixpoint>)";

static void set_types(Codegen *g)
{
    g->i1 = LLVMInt1TypeInContext(g->llvm);
    g->i8 = LLVMInt8TypeInContext(g->llvm);
    g->i16 = LLVMInt16TypeInContext(g->llvm);
    g->i32 = LLVMInt32TypeInContext(g->llvm);
    g->i64 = LLVMInt64TypeInContext(g->llvm);
    g->half = LLVMHalfTypeInContext(g->llvm);
    g->f32 = LLVMFloatTypeInContext(g->llvm);
    g->f64 = LLVMDoubleTypeInContext(g->llvm);
    g->ptr = LLVMPointerTypeInContext(g->llvm, 0);
    g->none = LLVMVoidTypeInContext(g->llvm);
}

// ---- templates ----------------------------------------------------------------------------------

static void adopt_template(Codegen *g, LLVMValueRef function)
{
    static const char *const text_attributes[] = {
        "target-cpu",          "target-features", "tune-cpu", "min-legal-vector-width",
        "prefer-vector-width", "frame-pointer"};
    static const char *const attributes[] = {"alwaysinline", "nounwind", NULL};
    LLVMAttributeIndex all = (LLVMAttributeIndex)LLVMAttributeFunctionIndex;
    for (size_t i = 0; i < COUNT_OF(text_attributes); i++)
        LLVMRemoveStringAttributeAtIndex(function, all, text_attributes[i],
                                         (unsigned)strlen(text_attributes[i]));
    LLVMRemoveEnumAttributeAtIndex(function, all, LLVMGetEnumAttributeKindForName("noinline", 8));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    function_attributes(g, function, attributes);
}

static void link_templates(Codegen *g)
{
    char name[16];
    snprintf(name, sizeof name, "v%d.bc", g->lanes);
    const AmlEmbedded *file = aml_kernel_bitcode;
    while (file->name && strcmp(file->name, name) != 0)
        file++;
    if (!file->name)
        bug(g->cx, (Span){0}, "there are no kernels for %d lanes", g->lanes);
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRange(file->at, file->length, "kernels", 0);
    LLVMModuleRef kernels;
    if (LLVMParseBitcodeInContext2(g->llvm, buffer, &kernels))
        bug(g->cx, (Span){0}, "the kernels' bitcode cannot be read");
    LLVMDisposeMemoryBuffer(buffer);
    LLVMSetTarget(kernels, LLVMGetTarget(g->module));
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(g->machine);
    LLVMSetModuleDataLayout(kernels, layout);
    LLVMDisposeTargetData(layout);
    if (LLVMLinkModules2(g->module, kernels))
        bug(g->cx, (Span){0}, "the kernels cannot be linked");
    for (LLVMValueRef function = LLVMGetFirstFunction(g->module); function;
         function = LLVMGetNextFunction(function))
        if (!LLVMIsDeclaration(function))
            adopt_template(g, function);
    for (LLVMValueRef global = LLVMGetFirstGlobal(g->module); global;
         global = LLVMGetNextGlobal(global))
        if (!LLVMIsDeclaration(global))
            LLVMSetLinkage(global, LLVMInternalLinkage);
}

LLVMValueRef template_function(Codegen *g, const char *name)
{
    LLVMValueRef function = LLVMGetNamedFunction(g->module, name);
    if (!function)
        bug(g->cx, (Span){0}, "there is no kernel '%s'", name);
    return function;
}

// ---- the module ---------------------------------------------------------------------------------

static void open_module(Codegen *g, const TargetInfo *target)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    const char *triple = "x86_64-unknown-linux-gnu";
    char *message = NULL;
    LLVMTargetRef found;
    if (LLVMGetTargetFromTriple(triple, &found, &message))
        bug(g->cx, (Span){0}, "LLVM does not know %s: %s", triple, message);
    g->machine =
        LLVMCreateTargetMachine(found, triple, target->cpu, target->features,
                                LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
    g->llvm = LLVMContextCreate();
    g->module = LLVMModuleCreateWithNameInContext("aml", g->llvm);
    LLVMSetTarget(g->module, triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(g->machine);
    LLVMSetModuleDataLayout(g->module, layout);
    LLVMDisposeTargetData(layout);
    set_types(g);
}

static void verify(Codegen *g, const char *when)
{
    char *message = NULL;
    if (LLVMVerifyModule(g->module, LLVMReturnStatusAction, &message))
        bug(g->cx, (Span){0}, "LLVM refuses the module %s: %s", when, message);
    LLVMDisposeMessage(message);
}

static void optimise(Codegen *g)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(g->module, pipeline, g->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error)
        bug(g->cx, (Span){0}, "LLVM's passes: %s", LLVMGetErrorMessage(error));
}

static void take_text(Cx *cx, ObjectCode *object, char *text)
{
    object->length = strlen(text);
    object->at = arena_text(cx->arena, text, object->length);
    LLVMDisposeMessage(text);
}

static void finish(Codegen *g, const char *emit_text, ObjectCode *object)
{
    bool asm_text = emit_text && strcmp(emit_text, "asm") == 0;
    if (emit_text && !asm_text) {
        take_text(g->cx, object, LLVMPrintModuleToString(g->module));
        return;
    }
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(
            g->machine, g->module, asm_text ? LLVMAssemblyFile : LLVMObjectFile, &message, &buffer))
        bug(g->cx, (Span){0}, "LLVM cannot write the object: %s", message);
    object->length = LLVMGetBufferSize(buffer);
    object->at = arena_text(g->cx->arena, LLVMGetBufferStart(buffer), object->length);
    LLVMDisposeMemoryBuffer(buffer);
}

bool codegen_emit(Cx *cx, IrModule *module, EmitEntry *entries, int count, Target target,
                  const char *emit_text, ObjectCode *object)
{
    TargetInfo info;
    (void)module;
    if (!target_find(cx, target.cpu, &info)) {
        report(cx, (Span){0}, no_such_processor, target.cpu);
        return false;
    }
    Codegen codegen = {.cx = cx,
                       .arena = arena_new(),
                       .cpu = info.cpu,
                       .features = info.features,
                       .lanes = info.lanes},
            *g = &codegen;
    open_module(g, &info);
    link_templates(g);
    for (int i = 0; i < count; i++) {
        fuse_prepare(entries[i].entry->ir);
        emit_entry(g, &entries[i]);
    }
    verify(g, "as it was made");
    if (!(emit_text && strcmp(emit_text, "llvm-raw") == 0)) {
        optimise(g);
        verify(g, "after its passes");
    }
    finish(g, emit_text, object);
    object->cpu_level = info.level;
    object->cpu_features = info.needed;
    LLVMDisposeModule(g->module);
    LLVMDisposeTargetMachine(g->machine);
    LLVMContextDispose(g->llvm);
    arena_free(g->arena);
    return true;
}
