// module.c: all entry points of a program into one object.

#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>

#include "codegen/emit.h"

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

LLVMValueRef template_function(Codegen *g, const char *name)
{
    LLVMValueRef function = LLVMGetNamedFunction(g->module, name),
                 whole = LLVMGetNamedFunction(g->templates, name);
    if (!whole)
        bug(g->cx, (Span){0}, "there is no kernel '%s'", name);
    return function ? function : LLVMAddFunction(g->module, name, LLVMGlobalGetValueType(whole));
}

// ---- the module ---------------------------------------------------------------------------------

static void open_module(Codegen *g)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    g->machine = target_machine(g->triple, g->cpu, g->features, false);
    if (!g->machine)
        bug(g->cx, (Span){0}, "LLVM does not know this processor");
    g->llvm = LLVMContextCreate();
    g->templates = templates_read(g, g->llvm);
    if (!g->templates)
        bug(g->cx, (Span){0}, "the kernels for %d lanes cannot be read", g->lanes);
    g->module = g->home = g->piece[0] = piece_new(g, g->llvm);
    g->pieces = 1;
    set_types(g);
}

static void verify(Codegen *g)
{
    for (int i = 0; i < g->pieces; i++) {
        char *message = NULL;
        if (LLVMVerifyModule(g->piece[i], LLVMReturnStatusAction, &message))
            bug(g->cx, (Span){0}, "LLVM refuses the module as it was made: %s", message);
        LLVMDisposeMessage(message);
    }
}

bool codegen_sums_bytes(const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        if (inst_sums_bytes(inst) || inst->op == OP_dot_stored || inst->op == OP_take_stored ||
            (inst_nested(inst) && codegen_sums_bytes(inst_nested(inst))))
            return true;
    return false;
}

static void add_object(Cx *cx, ObjectCode *object, ObjectFile more)
{
    ObjectFile *file = NEW_ARRAY(cx->arena, ObjectFile, object->files + 1);
    memcpy(file, object->file, sizeof *file * (size_t)object->files);
    file[object->files++] = more;
    object->file = file;
}

bool codegen_emit(Cx *cx, IrModule *module, EmitEntry *entries, int count, Target target,
                  const char *emit_text, ObjectCode *object)
{
    TargetInfo info;
    (void)module;
    bool mixed = false, bytes = false;
    for (int i = 0; i < count; i++) {
        mixed |= entries[i].entry->ir->mixed == DTYPE_BF16;
        bytes |= codegen_sums_bytes(entries[i].entry->ir);
    }
    if (!target_find(cx, target.cpu, mixed, bytes, &info)) {
        report(cx, (Span){0}, no_such_processor, target.cpu);
        return false;
    }
    Codegen codegen = {.cx = cx,
                       .arena = arena_new(),
                       .triple = info.triple,
                       .cpu = info.cpu,
                       .features = info.features,
                       .lanes = info.lanes,
                       .pairs = info.pairs,
                       .rounds = info.rounds,
                       .tiles = info.tiles,
                       .bytes = bytes,
                       .stores = target.stores,
                       .small = target.small,
                       .keeps_objects = target.keeps_objects,
                       .shared = target.shared,
                       .prefix = target.shared
                                     ? arena_printf(cx->arena, "%d_", target.shared->objects++)
                                     : "",
                       .as_text = emit_text != NULL,
                       .most_parts = emit_text ? 1 : MOST_PARTS}, // one text
        *g = &codegen;
    if (g->shared && g->shared->lanes == 0)
        g->shared->lanes = g->lanes;
    g->makes = target.makes && (target.makes_all || made_fits(g, entries, count));
    if (target.one_level && !emit_text) {
        g->compiled = templates_compiled(g);
        g->entries_apart = true;
    }
    open_module(g);
    int *piece = NEW_ARRAY(g->arena, int, count + 1);
    for (int i = 0; i < count; i++)
        piece[i] = piece_for_entry(g, entries[i].entry->ir);
    for (int i = 0; i < count; i++) {
        fuse_prepare(entries[i].entry->ir);
        g->module = g->home = g->piece[piece[i]];
        emit_entry(g, &entries[i]);
    }
    stored_emit(g, arena_printf(cx->arena, "%s_stored", entries[0].entry->symbol), object);
    made_emit(g, arena_printf(cx->arena, "%s_make", entries[0].entry->symbol), object);
    lap_end(cx, "plan and emit");
    verify(g);
    object->cpu_level = info.level;
    object->cpu_features = info.needed;
    if (target.planned)
        target.planned(target.data);
    pieces_compile(g, emit_text, object);
    if (g->data.count > 0)
        add_object(cx, object, data_object(g));
    if (g->compiled)
        add_object(cx, object, (ObjectFile){g->compiled->at, g->compiled->length});
    lap_end(cx, "LLVM");
    LLVMDisposeTargetMachine(g->machine);
    arena_free(g->arena);
    return true;
}
