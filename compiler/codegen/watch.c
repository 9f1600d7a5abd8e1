// watch.c: telling the caller about kernels, if it wants to know.
//
// After each kernel stands `if (call->watch) call->watch(...)`. What is done in that case lies
// behind the end of the function, so that a function nobody watches pays for a load and a branch
// that is never taken. Kernels inside of loops are told about in each turn.

#include <string.h>

#include "codegen/emit.h"

enum { MOST_RESULTS = 64, MOST_NAMES = 12 };

Watch *watch_begin(Frame *f, Entry *entry)
{
    Codegen *g = f->g;
    Watch *watch = NEW(g->arena, Watch);
    watch->entry = entry;
    entry->kernel.count = 0;
    watch->results = entry_alloca(&f->emit, LLVMArrayType2(g->ptr, MOST_RESULTS));
    watch->number = entry_alloca(&f->emit, g->i64);
    return watch;
}

// ---- the table ----------------------------------------------------------------------------------

typedef struct Lines {
    uint32_t file;
    Vec(int) line; // increasing
} Lines;

static void add_line(Cx *cx, Lines *lines, Span span)
{
    if (span.file != lines->file)
        return;
    int line = source_place(cx, span).line, at = lines->line.count;
    for (int i = 0; i < lines->line.count; i++)
        if (lines->line.at[i] == line)
            return;
    vec_push(cx->arena, &lines->line, line);
    for (; at > 0 && lines->line.at[at - 1] > line; at--)
        lines->line.at[at] = lines->line.at[at - 1];
    lines->line.at[at] = line;
}

// What a body is about: its product or its first fold, else what it returns.
static const Inst *main_instruction(const Inst *inst)
{
    if (inst->op != OP_fused)
        return inst;
    const IrFunction *body = inst->attr[0].function;
    const Inst *product = body_product(body), *fold = NULL;
    if (product)
        return product;
    for (const Inst *in = body->first; in && !fold; in = in->next)
        if (in->op == OP_reduce)
            fold = in;
    return fold ? fold : body->result.at[0].value;
}

static bool is_worth_naming(const Inst *inst)
{
    return !op_has(inst->op, LEAF) && inst->op != OP_broadcast && inst->op != OP_reshape &&
           inst->op != OP_get && inst->op != OP_cast && inst->op != OP_stop_gradient;
}

// "dot add max": the operations in their order, each once.
static const char *what(Cx *cx, const Inst *inst)
{
    if (inst->op != OP_fused)
        return op_info[inst->op].name;
    Op seen[MOST_NAMES];
    int count = 0;
    Buffer text = {.arena = cx->arena};
    for (const Inst *in = inst->attr[0].function->first; in; in = in->next) {
        int i = 0;
        while (i < count && seen[i] != in->op)
            i++;
        if (i < count || !is_worth_naming(in))
            continue;
        if (count == MOST_NAMES) {
            buffer_text(&text, " ...");
            break;
        }
        seen[count++] = in->op;
        buffer_printf(&text, "%s%s", count > 1 ? " " : "", op_info[in->op].name);
    }
    return count ? text.text : "copy";
}

// The first weight or other state that it reads; in a loop, where states have no names, none.
static const char *weight(const Inst *inst)
{
    for (int i = 0; i < inst->inputs; i++) {
        const Inst *in = value_origin(inst->input[i]);
        if (in->op == OP_parameter && in->name && !in->function->parent &&
            in->function->param_slot.at[in->attr[0].whole].kind == SLOT_STATE)
            return in->name;
    }
    return NULL;
}

static const char *place_text(Cx *cx, Span span)
{
    Place place = source_place(cx, span);
    return arena_printf(cx->arena, "%s:%d", place.path, place.line);
}

static void describe(Cx *cx, const Inst *inst, EntryKernel *kernel)
{
    Span span = main_instruction(inst)->span;
    if (span.file == 0)
        span = inst->span;
    Lines lines = {.file = span.file};
    add_line(cx, &lines, span);
    if (inst->op == OP_fused)
        for (const Inst *in = inst->attr[0].function->first; in; in = in->next)
            if (is_worth_naming(in))
                add_line(cx, &lines, in->span);
    kernel->place = place_text(cx, span);
    kernel->what = what(cx, inst);
    kernel->weight = weight(inst);
    if (lines.line.count > 1) {
        Buffer text = {.arena = cx->arena};
        for (int i = 0; i < lines.line.count; i++)
            buffer_printf(&text, "%s%d", i ? ", " : "", lines.line.at[i]);
        kernel->lines = text.text;
    }
    Cost cost = inst->op == OP_loop || inst->op == OP_call ? (Cost){0} : inst_cost(inst);
    kernel->flops = cost.flops;
    kernel->bytes = cost.bytes;
    kernel->loop = inst->op == OP_loop || inst->op == OP_call;
    const Inst *whole = inst->op == OP_attend_back ? attend_back_whole(inst) : NULL;
    kernel->results = whole ? 1 : inst->results < MOST_RESULTS ? inst->results : MOST_RESULTS;
    EntryResult *result = NEW_ARRAY(cx->arena, EntryResult, kernel->results + 1);
    for (int i = 0; i < kernel->results; i++) {
        Type type = whole ? whole->type : inst->results == 1 ? inst->type : inst->result_type[i];
        Span at = inst->op == OP_fused ? inst->attr[0].function->result.at[i].value->span : span;
        result[i] = (EntryResult){(aml_dtype)type.dtype, type_elements(type),
                                  place_text(cx, at.file ? at : span)};
    }
    kernel->result = result;
}

// ---- the code -----------------------------------------------------------------------------------

static LLVMBasicBlockRef new_block(Frame *f)
{
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(f->emit.b));
    return LLVMAppendBasicBlockInContext(f->g->llvm, function, "");
}

static LLVMValueRef call_field(Frame *f, size_t offset)
{
    return LLVMBuildLoad2(f->emit.b, f->g->ptr, frame_address(f, f->call, offset), "");
}

// Constants, views and whole numbers in registers are no kernels.
static bool is_told(const Inst *inst)
{
    if (inst->op == OP_constant || inst->op == OP_parameter || inst_is_alias(inst))
        return false;
    return !inst_in_register(inst) ||
           (op_has(inst->op, POINTWISE) && dtype_info[inst->type.dtype].kind == KIND_FLOAT);
}

void watch_instruction(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    LLVMBuilderRef b = f->emit.b;
    Watch *watch = f->watch;
    if (!is_told(inst))
        return;
    EntryKernel kernel = {0};
    describe(g->cx, inst, &kernel);
    int number = watch->entry->kernel.count;
    vec_push(g->cx->arena, &watch->entry->kernel, kernel);

    // Addresses are made before the branch: later code may use them too.
    LLVMValueRef at[MOST_RESULTS];
    for (int i = 0; i < kernel.results; i++)
        at[i] = inst_in_register(inst) ? watch->number : result_pointer(f, inst, i);
    LLVMValueRef told = call_field(f, offsetof(aml_call, watch));
    LLVMBasicBlockRef aside = new_block(f), after = new_block(f);
    LLVMBuildCondBr(b, LLVMBuildIsNotNull(b, told, ""), aside, after);
    LLVMPositionBuilderAtEnd(b, aside);
    if (inst_in_register(inst))
        store_element(&f->emit, inst->type.dtype, watch->number, index_of(whole(g, 0), 0),
                      f->value[inst->id]);
    for (int i = 0; i < kernel.results; i++)
        LLVMBuildStore(b, at[i], frame_address(f, watch->results, sizeof(void *) * (size_t)i));
    LLVMTypeRef types[] = {g->ptr, g->i32, g->ptr};
    LLVMValueRef arg[] = {call_field(f, offsetof(aml_call, watcher)),
                          LLVMConstInt(g->i32, (unsigned long long)number, 0), watch->results};
    LLVMBuildCall2(b, LLVMFunctionType(g->none, types, 3, 0), told, arg, 3, "");
    LLVMBuildBr(b, after);
    vec_push(g->arena, &watch->aside, aside);
    LLVMPositionBuilderAtEnd(b, after);
}

void watch_end(Frame *f)
{
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(f->emit.b));
    for (int i = 0; i < f->watch->aside.count; i++)
        LLVMMoveBasicBlockAfter(f->watch->aside.at[i], LLVMGetLastBasicBlock(function));
}
