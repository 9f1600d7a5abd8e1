// function.c: an entry point, instruction by instruction.

#include <inttypes.h>
#include <string.h>

#include "codegen/emit.h"

// ---- places -------------------------------------------------------------------------------------

LLVMValueRef frame_address(Frame *f, LLVMValueRef base, size_t offset)
{
    if (offset == 0)
        return base;
    LLVMValueRef at = whole(f->g, (int64_t)offset);
    return LLVMBuildInBoundsGEP2(f->emit.b, f->g->i8, base, &at, 1, "");
}

static LLVMValueRef new_pointer(Frame *f, const Buffered *place)
{
    switch (place->kind) {
    case PLACE_ARENA:
        return frame_address(f, f->arena, place->offset);
    case PLACE_STATE:
        return f->carried ? f->carried[place->index]
                          : frame_address(f, f->state, f->state_offset[place->index]);
    case PLACE_INPUT:
        return f->input[place->index];
    case PLACE_OUTPUT:
        return f->output[place->index];
    case PLACE_NONE:
    case PLACE_CONSTANT:
    case PLACE_SCALAR:
        break;
    }
    bug(f->g->cx, f->fn->span, "a value without an address is read from memory");
}

LLVMValueRef frame_pointer(Frame *f, const Buffered *place)
{
    for (int i = 0; i < f->pointer.count; i++) {
        const Pointer *old = &f->pointer.at[i];
        if (old->kind == place->kind &&
            old->index == (place->kind == PLACE_ARENA ? 0 : place->index) &&
            old->offset == place->offset)
            return old->value;
    }
    Pointer pointer = {place->kind, place->kind == PLACE_ARENA ? 0 : place->index, place->offset,
                       new_pointer(f, place)};
    vec_push(f->g->arena, &f->pointer, pointer);
    return pointer.value;
}

const void *constant_bytes(Codegen *g, const Inst *constant, size_t *bytes)
{
    IrData data = constant->attr[0].data;
    *bytes = (size_t)type_bytes(constant->type);
    if (!data.splat)
        return data.at;
    char *all = arena_alloc(g->arena, *bytes);
    for (size_t at = 0; at < *bytes; at += data.bytes)
        memcpy(all + at, data.at, data.bytes);
    return all;
}

// The instruction whose memory an alias is.
const Inst *value_origin(const Inst *inst)
{
    while (inst->op != OP_get && inst_is_alias(inst))
        inst = inst->input[0];
    return inst;
}

LLVMValueRef value_pointer(Frame *f, const Inst *inst)
{
    const Buffered *place = inst->note;
    if (!place)
        bug(f->g->cx, inst->span, "'%s' has no memory", op_info[inst->op].name);
    if (place->kind == PLACE_CONSTANT) {
        size_t bytes;
        const void *at = constant_bytes(f->g, value_origin(inst), &bytes);
        return read_only(f, at, bytes);
    }
    return frame_pointer(f, place);
}

LLVMValueRef result_pointer(Frame *f, const Inst *inst, int result)
{
    const Buffered *place = inst->note;
    return frame_pointer(f, inst->results == 1 ? place : place->result[result]);
}

LLVMValueRef scalar_value(Frame *f, Inst *inst)
{
    if (f->value[inst->id])
        return f->value[inst->id];
    Emit *e = &f->emit;
    LLVMValueRef value;
    if (inst->op == OP_constant) {
        value = emit_element_constant(e, inst->type.dtype, inst->attr[0].data.at);
    } else if (!inst_in_register(inst)) {
        value =
            load_element(e, inst->type.dtype, value_pointer(f, inst), index_of(whole(f->g, 0), 0));
    } else if (op_has(inst->op, POINTWISE)) {
        LLVMValueRef in[3] = {0};
        for (int i = 0; i < inst->inputs; i++)
            in[i] = scalar_value(f, inst->input[i]);
        value = emit_op(e, inst, in);
    } else {
        value = scalar_value(f, inst->input[0]);
    }
    f->value[inst->id] = value;
    return value;
}

// ---- kernels ------------------------------------------------------------------------------------

// The constant right operand of a product is packed when it is compiled.
static LLVMValueRef packed_operand(Frame *f, const Inst *inst, const Inst *dot, DotShape *shape)
{
    if (dot->input[1]->op != OP_parameter)
        return NULL;
    const Inst *right = value_origin(inst->input[dot->input[1]->attr[0].whole]);
    if (right->op != OP_constant || dot->input[1]->uses != 1 ||
        !dot_plan_for(f->g, dot, true, shape) || shape->loops)
        return NULL;
    size_t bytes;
    const void *at = constant_bytes(f->g, right, &bytes);
    void *packed = arena_alloc(f->g->arena, shape->dot.packed_bytes);
    if (inst_sums_bytes(dot)) {
        DotShape plain;
        dot_shape(dot, &plain);
        void *quads = arena_alloc(f->g->arena, bytes);
        aml_quads_of_matrix(shape->dot.k, shape->dot.n, at, plain.dot.b_k, plain.dot.b_column,
                            quads);
        at = quads;
    }
    aml_dot_pack(&shape->dot, at, packed);
    return read_only(f, packed, shape->dot.packed_bytes);
}

// A batch of which a table of rows is given (SLOT_ROWS).
static bool lies_in_rows(const Frame *f, const Inst *value)
{
    const Inst *origin = value_origin(value);
    return origin->op == OP_parameter && origin->function == f->fn &&
           f->fn->param_slot.at[origin->attr[0].whole].kind == SLOT_ROWS;
}

static void emit_fused(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    IrFunction *body = inst->attr[0].function;
    Inst *dot = body_product(body);
    if (dot && dot->op == OP_conv_weight) {
        conv_weight_emit(f, inst, dot);
        return;
    }
    if (dot && dot->op != OP_dot) {
        conv_emit(f, inst, dot);
        return;
    }
    DotShape shape;
    LLVMValueRef packed = dot ? packed_operand(f, inst, dot, &shape) : NULL;
    if (dot && inst_sums_bytes(dot) && !packed)
        bug(g->cx, inst->span, "a product of bytes that cannot be packed was left");
    if (dot)
        dot_turn_emit(f, inst, dot);
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, dot ? dot_parts(g, dot, packed) : nest_parts(g, body));

    buffer_text(&k->key, packed ? "packed" : "");
    int *operand = NEW_ARRAY(g->arena, int, inst->inputs + 1),
        *output = NEW_ARRAY(g->arena, int, inst->results + 1), scratch = -1, soon = -1;
    int64_t every = 0;
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        bool right = packed && dot->input[1] == body->param.at[i];
        operand[i] = kernel_operand(k, right                ? packed
                                       : in->type.rank == 0 ? scalar_value(f, in)
                                                            : value_pointer(f, in));
        if (lies_in_rows(f, in))
            buffer_printf(&k->key, "rows %d ", i);
    }
    for (int i = 0; i < inst->results; i++)
        output[i] = kernel_operand(k, result_pointer(f, inst, i));
    const Buffered *place = inst->note;
    if (place->scratch_bytes) {
        Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
        scratch = kernel_operand(k, frame_pointer(f, &memory));
    }
    if (dot && f->watch && dot_asks_ahead(g, dot, body, packed != NULL)) {
        soon = kernel_operand(k, soon_table(f));
        every = dot_asks_every(f->fn, dot);
        buffer_printf(&k->key, "asks %" PRId64 " ", every);
    }
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    for (int i = 0; i < inst->inputs; i++) {
        Source *source = NEW(g->arena, Source);
        source->base = k->operand.at[operand[i]].formal;
        source->by_value = inst->input[i]->type.rank == 0;
        source->rows = lies_in_rows(f, inst->input[i]);
        body->param.at[i]->note = source;
    }
    LLVMValueRef *result = NEW_ARRAY(g->arena, LLVMValueRef, inst->results + 1);
    for (int i = 0; i < inst->results; i++)
        result[i] = k->operand.at[output[i]].formal;
    if (dot)
        dot_emit(k, body, result,
                 scratch >= 0 ? k->operand.at[scratch].formal : LLVMConstNull(g->ptr),
                 soon >= 0 ? k->operand.at[soon].formal : NULL, every, packed != NULL);
    else
        nest_emit(k, body, result);
    kernel_close(k);
}

// ---- functions ----------------------------------------------------------------------------------

static void emit_instruction(Frame *f, Inst *inst)
{
    if (inst->op == OP_constant || inst_is_alias(inst))
        return;
    if (inst_in_register(inst))
        scalar_value(f, inst);
    else if (inst->op == OP_fused)
        emit_fused(f, inst);
    else
        emit_move(f, inst);
}

void emit_copy(Frame *f, LLVMValueRef to, LLVMValueRef from, size_t bytes)
{
    LLVMBuildMemCpy(f->emit.b, to, 1, from, 1, whole(f->g, (int64_t)bytes));
}

static bool is_state(const Frame *f, int result)
{
    return result < f->carries || f->fn->result.at[result].slot.kind == SLOT_STATE;
}

static LLVMValueRef result_target(Frame *f, int index)
{
    Slot slot = f->fn->result.at[index].slot;
    Buffered place = {.kind = is_state(f, index) ? PLACE_STATE : PLACE_OUTPUT,
                      .index = slot.kind == SLOT_VALUE ? index : slot.index};
    return frame_pointer(f, &place);
}

// What was not computed in its own place is copied there; states last, since a copy may read the
// old ones.
static void emit_results(Frame *f, bool states)
{
    for (int i = 0; i < f->fn->result.count; i++) {
        const IrResult *result = &f->fn->result.at[i];
        if (is_state(f, i) != states)
            continue;
        Inst *value = result->value;
        LLVMValueRef target = result_target(f, i);
        if (inst_in_register(value)) {
            store_element(&f->emit, value->type.dtype, target, index_of(whole(f->g, 0), 0),
                          scalar_value(f, value));
        } else {
            LLVMValueRef from = value_pointer(f, value);
            if (from != target)
                emit_copy(f, target, from, (size_t)type_bytes(value->type));
        }
    }
}

// Addresses are made again for each instruction, which takes nothing: thousands that live from one
// end of a long function to the other take LLVM longer than all kernels.
void emit_body(Frame *f)
{
    for (Inst *inst = f->fn->first; inst; inst = inst->next) {
        memset(&f->pointer, 0, sizeof f->pointer); // the frame of a loop around has the old ones
        emit_instruction(f, inst);
        if (f->watch)
            watch_instruction(f, inst);
    }
    emit_results(f, false);
    emit_results(f, true);
}

static LLVMValueRef field(Frame *f, LLVMValueRef base, size_t offset)
{
    return LLVMBuildLoad2(f->emit.b, f->g->ptr, frame_address(f, base, offset), "");
}

static LLVMValueRef scalar_argument(Frame *f, LLVMValueRef scalars, const Inst *param, int index)
{
    Codegen *g = f->g;
    DType dtype = param->type.dtype;
    LLVMValueRef at = frame_address(f, scalars, sizeof(aml_value) * (size_t)index);
    if (dtype_info[dtype].kind == KIND_FLOAT) {
        LLVMValueRef real = LLVMBuildLoad2(f->emit.b, g->f64, at, "");
        if (dtype == DTYPE_F64)
            return real;
        return emit_round(&f->emit, dtype, LLVMBuildFPTrunc(f->emit.b, real, g->f32, ""));
    }
    LLVMValueRef number = LLVMBuildLoad2(f->emit.b, g->i64, at, "");
    if (dtype == DTYPE_BOOL)
        return LLVMBuildICmp(f->emit.b, LLVMIntNE, number, whole(g, 0), "");
    return dtype == DTYPE_I64 ? number
                              : LLVMBuildTrunc(f->emit.b, number, register_type(g, dtype, 1), "");
}

static void load_parameters(Frame *f)
{
    Codegen *g = f->g;
    LLVMValueRef inputs = field(f, f->call, offsetof(aml_call, input));
    LLVMValueRef outputs = field(f, f->call, offsetof(aml_call, output));
    LLVMValueRef scalars = field(f, f->call, offsetof(aml_call, scalar));
    f->state = field(f, f->call, offsetof(aml_call, state));
    f->arena = field(f, f->call, offsetof(aml_call, arena));
    if (g->stores || g->makes)
        f->constants = field(f, f->call, offsetof(aml_call, constants));
    int input_count = 0, output_count = 0;
    for (int i = 0; i < f->fn->param.count; i++) {
        Slot slot = f->fn->param_slot.at[i];
        Inst *param = f->fn->param.at[i];
        if (slot.kind == SLOT_SCALAR)
            f->value[param->id] = scalar_argument(f, scalars, param, slot.index);
        else if ((slot.kind == SLOT_INPUT || slot.kind == SLOT_ROWS) && slot.index >= input_count)
            input_count = slot.index + 1;
        else if (slot.kind == SLOT_VALUE)
            bug(g->cx, param->span, "parameter %d of the entry point '%s' is bound to nothing", i,
                f->fn->name);
    }
    for (int i = 0; i < f->fn->result.count; i++) {
        Slot slot = f->fn->result.at[i].slot;
        if (slot.kind == SLOT_OUTPUT && slot.index >= output_count)
            output_count = slot.index + 1;
        else if (slot.kind == SLOT_VALUE)
            bug(g->cx, f->fn->span, "result %d of the entry point '%s' is bound to nothing", i,
                f->fn->name);
    }
    f->input = NEW_ARRAY(g->arena, LLVMValueRef, input_count + 1);
    f->output = NEW_ARRAY(g->arena, LLVMValueRef, output_count + 1);
    for (int i = 0; i < input_count; i++)
        f->input[i] = field(f, inputs, sizeof(void *) * (size_t)i);
    for (int i = 0; i < output_count; i++)
        f->output[i] = field(f, outputs, sizeof(void *) * (size_t)i);
}

void emit_entry(Codegen *g, EmitEntry *entry)
{
    Entry *e = entry->entry;
    Plan plan = plan_function(g->cx, e->ir);
    e->arena_bytes = plan.arena_bytes;
    e->flops = 0;
    for (const Inst *inst = e->ir->first; inst; inst = inst->next)
        e->flops += inst_cost(inst).flops;

    LLVMTypeRef types[] = {g->ptr};
    LLVMValueRef function =
        LLVMAddFunction(g->module, e->symbol, LLVMFunctionType(g->none, types, 1, 0));
    // It calls kernels and little else; LLVM is slow with long functions.
    static const char *const attributes[] = {"nounwind", "noinline", "optnone", NULL},
                             *const plain[] = {"nounwind", "noinline", NULL};
    function_attributes(g, function, g->small ? plain : attributes);
    if (g->small)
        function_short(g, function);
    Frame frame = {.g = g,
                   .fn = e->ir,
                   .call = LLVMGetParam(function, 0),
                   .state_offset = entry->state_offset};
    frame.emit = (Emit){.g = g, .b = LLVMCreateBuilderInContext(g->llvm), .lanes = 1};
    frame.values = e->ir->next_id;
    frame.value = NEW_ARRAY(g->arena, LLVMValueRef, frame.values + 1);
    LLVMPositionBuilderAtEnd(frame.emit.b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    LLVMValueRef mode = mode_enter(g, frame.emit.b);
    load_parameters(&frame);
    if (g->shared && g->shared->beside) {
        g->builder = frame.emit.b;
        g->weights = field(&frame, frame.call, offsetof(aml_call, weights));
    }
    if (e->watched)
        frame.watch = watch_begin(&frame, e);
    emit_body(&frame);
    if (e->watched)
        watch_end(&frame);
    mode_leave(g, frame.emit.b, mode);
    LLVMBuildRetVoid(frame.emit.b);
    LLVMDisposeBuilder(frame.emit.b);
}
