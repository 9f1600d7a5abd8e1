// move.c: the ops that have loops of their own: random, concat, pad, scatter_add, argmax, loop,
// call.

#include <string.h>

#include "codegen/emit.h"

static int64_t product(Type type, int first, int end)
{
    int64_t count = 1;
    for (int i = first; i < end; i++)
        count *= type.dim[i];
    return count;
}

static LLVMValueRef offset_pointer(Emit *e, LLVMValueRef base, LLVMValueRef count, int64_t bytes)
{
    LLVMValueRef offset = LLVMBuildMul(e->b, count, whole(e->g, bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, base, &offset, 1, "");
}

static LLVMValueRef formal(const Kernel *k, int operand)
{
    return k->operand.at[operand].formal;
}

// ---- random -------------------------------------------------------------------------------------

static void emit_random(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    bool wide = inst->type.dtype == DTYPE_F64;
    int64_t count = type_elements(inst->type), chunk = 16384;
    int64_t parts = (count + chunk - 1) / chunk;
    if (parts > 64) {
        chunk = ((count + 63) / 64 + 63) / 64 * 64;
        parts = (count + chunk - 1) / chunk;
    }
    // The generator is a lot of code, so there is one for all sizes and call sites.
    Kernel kernel, *k = &kernel;
    kernel_begin_shared(k, f, inst, parts, wide ? "random f64" : "random f32");
    int out = kernel_operand(k, value_pointer(f, inst));
    int seed = kernel_operand(k, scalar_value(f, inst->input[0])),
        step = kernel_operand(k, scalar_value(f, inst->input[1])),
        site_at =
            kernel_operand(k, LLVMConstInt(g->i32, (unsigned long long)inst->attr[0].whole, 0)),
        count_at = kernel_operand(k, whole(g, count)),
        chunk_at = parts > 1 ? kernel_operand(k, whole(g, chunk)) : 0;
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    LLVMValueRef begin = whole(g, 0), end = formal(k, count_at), to = formal(k, out);
    if (parts > 1) {
        begin = LLVMBuildMul(e->b, k->begin, formal(k, chunk_at), "");
        LLVMValueRef stop = LLVMBuildMul(e->b, k->end, formal(k, chunk_at), "");
        end = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, end, ""), stop, end, "");
        to = offset_pointer(e, to, begin, dtype_info[inst->type.dtype].bytes);
    }
    LLVMValueRef arg[] = {to, begin, end, formal(k, seed), formal(k, step), formal(k, site_at)};
    LLVMValueRef function =
        template_function(g, wide ? "aml_shared_random_f64" : "aml_shared_random_f32");
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    kernel_close(k);
}

// ---- concat, pad --------------------------------------------------------------------------------

static void emit_concat(Frame *f, Inst *inst)
{
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, 1);
    int *from = NEW_ARRAY(f->g->arena, int, inst->inputs),
        out = kernel_operand(k, value_pointer(f, inst));
    for (int i = 0; i < inst->inputs; i++)
        from[i] = kernel_operand(k, value_pointer(f, inst->input[i]));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    int axis = (int)inst->attr[0].whole;
    int64_t bytes = dtype_info[inst->type.dtype].bytes,
            row = product(inst->type, axis, inst->type.rank) * bytes, at = 0;
    for (int i = 0; i < inst->inputs; i++) {
        Type in = inst->input[i]->type;
        int64_t piece = product(in, axis, in.rank) * bytes;
        Loop loop = loop_begin(e, whole(f->g, 0), whole(f->g, product(in, 0, axis)), 1);
        LLVMValueRef start = whole(f->g, at);
        LLVMValueRef to = offset_pointer(e, formal(k, out), loop.at, row);
        to = LLVMBuildInBoundsGEP2(e->b, f->g->i8, to, &start, 1, "");
        LLVMBuildMemCpy(e->b, to, 1, offset_pointer(e, formal(k, from[i]), loop.at, piece), 1,
                        whole(f->g, piece));
        loop_end(e, &loop);
        at += piece;
    }
    kernel_close(k);
}

static void fill(Emit *e, DType dtype, LLVMValueRef to, int64_t count, LLVMValueRef value)
{
    int lanes = count >= e->g->lanes ? e->g->lanes : 1;
    e->lanes = lanes;
    LLVMValueRef all = lanes_splat(e, value);
    Loop loop = loop_begin(e, whole(e->g, 0), whole(e->g, count / lanes * lanes), lanes);
    store_element(e, dtype, to, index_of(loop.at, 1), all);
    loop_end(e, &loop);
    e->lanes = 1;
    if (count % lanes) {
        loop = loop_begin(e, whole(e->g, count / lanes * lanes), whole(e->g, count), 1);
        store_element(e, dtype, to, index_of(loop.at, 0), value);
        loop_end(e, &loop);
    }
}

static void emit_pad(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, 1);
    Inst *in = inst->input[0];
    bool scalar = in->type.rank == 0;
    int out = kernel_operand(k, value_pointer(f, inst));
    int from = kernel_operand(k, scalar ? scalar_value(f, in) : value_pointer(f, in)),
        value = kernel_operand(k, scalar_value(f, inst->input[1]));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    DType dtype = inst->type.dtype;
    if (scalar) {
        store_element(e, dtype, formal(k, out), index_of(whole(g, 0), 0), formal(k, from));
        kernel_close(k);
        return;
    }
    fill(e, dtype, formal(k, out), type_elements(inst->type), formal(k, value));
    Index inner[IR_MAX_RANK], outer[IR_MAX_RANK];
    Loop loop[IR_MAX_RANK];
    int last = in->type.rank - 1;
    for (int i = 0; i <= last; i++) {
        inner[i] = index_of(whole(g, 0), 0);
        if (i < last) {
            loop[i] = loop_begin(e, whole(g, 0), whole(g, in->type.dim[i]), 1);
            inner[i].at = loop[i].at;
        }
        outer[i] = index_add_constant(e, inner[i], inst->attr[0].list.at[i]);
    }
    int64_t bytes = dtype_info[dtype].bytes;
    LLVMValueRef source =
        offset_pointer(e, formal(k, from), index_position(e, in->type, inner).at, bytes);
    LLVMValueRef to =
        offset_pointer(e, formal(k, out), index_position(e, inst->type, outer).at, bytes);
    LLVMBuildMemCpy(e->b, to, 1, source, 1, whole(g, in->type.dim[last] * bytes));
    for (int i = last - 1; i >= 0; i--)
        loop_end(e, &loop[i]);
    kernel_close(k);
}

// ---- scatter_add, argmax ------------------------------------------------------------------------

static LLVMValueRef row_number(Emit *e, DType dtype, LLVMValueRef rows, LLVMValueRef at)
{
    LLVMValueRef row = load_element(e, dtype, rows, index_of(at, 0));
    if (dtype == DTYPE_I64)
        return row;
    return LLVMBuildCast(e->b, dtype == DTYPE_U8 ? LLVMZExt : LLVMSExt, row, e->g->i64, "");
}

// to[0..count) += from[0..count)
static void add_row(Emit *e, DType dtype, LLVMValueRef to, LLVMValueRef from, int64_t count)
{
    int lanes = count >= e->g->lanes ? e->g->lanes : 1;
    int64_t full = count / lanes * lanes;
    for (int pass = 0; pass < 2; pass++) {
        int64_t begin = pass ? full : 0, end = pass ? count : full;
        if (begin == end)
            continue;
        e->lanes = pass ? 1 : lanes;
        Loop loop = loop_begin(e, whole(e->g, begin), whole(e->g, end), e->lanes);
        Index at = index_of(loop.at, 1);
        LLVMValueRef sum = emit_reducer(e, REDUCE_SUM, dtype, load_element(e, dtype, to, at),
                                        load_element(e, dtype, from, at));
        store_element(e, dtype, to, at, sum);
        loop_end(e, &loop);
    }
    e->lanes = 1;
}

static void emit_scatter(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Inst *a = inst->input[0], *rows = inst->input[1], *added = inst->input[2];
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, 1);
    bool one_row = rows->type.rank == 0, one_added = added->type.rank == 0;
    int out = kernel_operand(k, value_pointer(f, inst)),
        from = kernel_operand(k, value_pointer(f, a));
    int row = kernel_operand(k, one_row ? scalar_value(f, rows) : value_pointer(f, rows));
    int add = kernel_operand(k, one_added ? scalar_value(f, added) : value_pointer(f, added));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    DType dtype = inst->type.dtype;
    int axis = (int)inst->attr[0].whole;
    int64_t bytes = dtype_info[dtype].bytes, post = product(a->type, axis + 1, a->type.rank),
            extent = a->type.dim[axis];
    int64_t count = type_elements(rows->type);
    if (out != from)
        LLVMBuildMemCpy(e->b, formal(k, out), 1, formal(k, from), 1, whole(g, type_bytes(a->type)));
    // A scalar among the operands is put into memory, so that there is one way to read it.
    LLVMValueRef row_memory = formal(k, row), add_memory = formal(k, add);
    if (one_row) {
        row_memory = LLVMBuildAlloca(e->b, memory_type(g, rows->type.dtype, 1), "");
        store_element(e, rows->type.dtype, row_memory, index_of(whole(g, 0), 0), formal(k, row));
    }
    if (one_added) {
        add_memory = LLVMBuildAlloca(e->b, memory_type(g, dtype, 1), "");
        store_element(e, dtype, add_memory, index_of(whole(g, 0), 0), formal(k, add));
    }
    Loop before = loop_begin(e, whole(g, 0), whole(g, product(a->type, 0, axis)), 1);
    Loop each = loop_begin(e, whole(g, 0), whole(g, count), 1);
    LLVMValueRef number = row_number(e, rows->type.dtype, row_memory, each.at);
    LLVMBasicBlockRef inside = LLVMAppendBasicBlockInContext(g->llvm, k->function, "");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(g->llvm, k->function, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, number, whole(g, extent), ""), inside,
                    next);
    LLVMPositionBuilderAtEnd(e->b, inside);
    LLVMValueRef to =
        offset_pointer(e, offset_pointer(e, formal(k, out), before.at, extent * post * bytes),
                       number, post * bytes);
    LLVMValueRef source = offset_pointer(
        e, offset_pointer(e, add_memory, before.at, count * post * bytes), each.at, post * bytes);
    add_row(e, dtype, to, source, post);
    LLVMBuildBr(e->b, next);
    LLVMPositionBuilderAtEnd(e->b, next);
    loop_end(e, &each);
    loop_end(e, &before);
    kernel_close(k);
}

// The first of the largest; a NaN is larger than any number.
static void emit_argmax(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Inst *in = inst->input[0];
    Type type = in->type;
    int axis = (int)inst->attr[0].whole;
    int64_t extent = type.dim[axis], outer = product(type, 0, axis),
            inner = product(type, axis + 1, type.rank);
    int64_t work = type_elements(type),
            parts = work < 100000 ? 1
                    : outer < 64  ? outer
                                  : 64,
            chunk = (outer + parts - 1) / parts;
    parts = (outer + chunk - 1) / chunk;
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, parts);
    int out = kernel_operand(k, value_pointer(f, inst)),
        from = kernel_operand(k, value_pointer(f, in));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    if (g->small)
        function_short(g, k->function);
    Emit *e = &k->emit;
    LLVMTypeRef held = register_type(g, type.dtype, 1);
    LLVMValueRef best = LLVMBuildAlloca(e->b, held, ""),
                 best_at = LLVMBuildAlloca(e->b, g->i32, "");
    LLVMValueRef lo = whole(g, 0), hi = whole(g, outer);
    if (parts > 1) {
        lo = LLVMBuildMul(e->b, k->begin, whole(g, chunk), "");
        LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(g, chunk), "");
        hi = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, hi, ""), stop, hi, "");
    }
    Loop i = loop_begin(e, lo, hi, 1), j = loop_begin(e, whole(g, 0), whole(g, inner), 1);
    int64_t sizes[] = {outer, extent, inner};
    Type walk = type_make(type.dtype, 3, sizes);
    Index at[3] = {index_of(i.at, 0), index_of(whole(g, 0), 0), index_of(j.at, 0)};
    LLVMBuildStore(e->b, load_element(e, type.dtype, formal(k, from), index_position(e, walk, at)),
                   best);
    LLVMBuildStore(e->b, LLVMConstInt(g->i32, 0, 0), best_at);
    if (extent > 1) {
        Loop each = loop_begin(e, whole(g, 1), whole(g, extent), 1);
        at[1] = index_of(each.at, 0);
        LLVMValueRef value =
            load_element(e, type.dtype, formal(k, from), index_position(e, walk, at));
        LLVMValueRef old = LLVMBuildLoad2(e->b, held, best, ""), larger;
        if (dtype_info[type.dtype].kind == KIND_FLOAT) {
            LLVMValueRef above =
                LLVMBuildFCmp(e->b, LLVMRealUGT, value, old, ""); // or either is NaN
            larger = LLVMBuildAnd(e->b, above, LLVMBuildFCmp(e->b, LLVMRealORD, old, old, ""), "");
        } else {
            larger = LLVMBuildICmp(e->b, type.dtype == DTYPE_U8 ? LLVMIntUGT : LLVMIntSGT, value,
                                   old, "");
        }
        LLVMBuildStore(e->b, LLVMBuildSelect(e->b, larger, value, old, ""), best);
        LLVMValueRef number = LLVMBuildTrunc(e->b, each.at, g->i32, "");
        LLVMValueRef kept = LLVMBuildLoad2(e->b, g->i32, best_at, "");
        LLVMBuildStore(e->b, LLVMBuildSelect(e->b, larger, number, kept, ""), best_at);
        loop_end(e, &each);
    }
    int64_t results[] = {outer, inner};
    Index to[2] = {at[0], at[2]};
    Index position = index_position(e, type_make(DTYPE_I32, 2, results), to);
    store_element(e, DTYPE_I32, formal(k, out), position,
                  LLVMBuildLoad2(e->b, g->i32, best_at, ""));
    loop_end(e, &j);
    loop_end(e, &i);
    kernel_close(k);
}

// ---- loop, call ---------------------------------------------------------------------------------

static int ids_of(const IrFunction *fn)
{
    while (fn->parent)
        fn = fn->parent;
    return fn->next_id;
}

static Frame child_frame(Frame *f, IrFunction *fn, LLVMValueRef arena)
{
    Frame child = {.g = f->g,
                   .emit = f->emit,
                   .fn = fn,
                   .call = f->call,
                   .arena = arena,
                   .state = f->state,
                   .constants = f->constants,
                   .state_offset = f->state_offset,
                   .watch = f->watch};
    child.values = ids_of(fn);
    child.value = NEW_ARRAY(f->g->arena, LLVMValueRef, child.values + 1);
    child.input = NEW_ARRAY(f->g->arena, LLVMValueRef, fn->param.count + 1);
    child.output = NEW_ARRAY(f->g->arena, LLVMValueRef, fn->result.count + 1);
    return child;
}

static LLVMValueRef scratch_pointer(Frame *f, const Inst *inst)
{
    const Buffered *place = inst->note;
    if (!place->scratch_bytes)
        return f->arena;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    return frame_pointer(f, &memory);
}

// The value that a loop starts from, in the memory of its result.
static void store_start(Frame *f, LLVMValueRef to, Inst *from)
{
    const IrData *data = from->op == OP_constant ? &from->attr[0].data : NULL;
    bool zeros = data != NULL;
    for (size_t i = 0; zeros && i < data->bytes; i++)
        zeros = ((const char *)data->at)[i] == 0;
    int64_t bytes = type_bytes(from->type);
    if (inst_in_register(from))
        store_element(&f->emit, from->type.dtype, to, index_of(whole(f->g, 0), 0),
                      scalar_value(f, from));
    else if (zeros)
        LLVMBuildMemSet(f->emit.b, to, LLVMConstInt(f->g->i8, 0, 0), whole(f->g, bytes), 1);
    else if (value_pointer(f, from) != to)
        emit_copy(f, to, value_pointer(f, from), (size_t)bytes);
}

// A turn whose guard does not hold goes around the body: to the end of the loop if nothing can make
// the guard hold again, else to the place where the turn's share of what is stacked is filled with
// zeros.
typedef struct Guard {
    LLVMBasicBlockRef otherwise;
    bool ends; // the loop
} Guard;

static Guard guard_begin(Frame *f, const Inst *inst, const Loop *loop, LLVMValueRef holds)
{
    Codegen *g = f->g;
    Emit *e = &f->emit;
    int64_t carried = inst->attr[1].whole, guard = inst->attr[5].whole;
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b));
    LLVMBasicBlockRef run = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    Guard made = {.ends = guard <= carried && inst->results == carried && !loop->once};
    made.otherwise = made.ends ? loop->after : LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBuildCondBr(e->b, holds, run, made.otherwise);
    LLVMPositionBuilderAtEnd(e->b, run);
    return made;
}

static void guard_end(Frame *f, const Inst *inst, const Guard *guard, LLVMValueRef const slice[])
{
    Codegen *g = f->g;
    Emit *e = &f->emit;
    if (guard->ends)
        return;
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b));
    LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, guard->otherwise);
    const IrFunction *body = inst->attr[3].function;
    for (int i = (int)inst->attr[1].whole; i < inst->results; i++)
        LLVMBuildMemSet(e->b, slice[i], LLVMConstInt(g->i8, 0, 0),
                        whole(g, type_bytes(body->result.at[i].value->type)), 1);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

// Where a turn's share of a stacked result lies; `number` counts turns in the order they are made.
static LLVMValueRef stack_row(Frame *f, const Inst *inst, int result, LLVMValueRef number)
{
    Emit *e = &f->emit;
    if (inst->attr[4].whole)
        number = LLVMBuildSub(e->b, whole(f->g, inst->attr[0].whole - 1), number, "");
    const IrFunction *body = inst->attr[3].function;
    return offset_pointer(e, result_pointer(f, inst, result), number,
                          type_bytes(body->result.at[result].value->type));
}

static void emit_loop(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    IrFunction *body = inst->attr[3].function;
    int carried = (int)inst->attr[1].whole, sliced = (int)inst->attr[2].whole;
    Emit *e = &f->emit;
    Frame child = child_frame(f, body, scratch_pointer(f, inst));
    LLVMValueRef *base = NEW_ARRAY(g->arena, LLVMValueRef, inst->inputs + inst->results + 1);
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        if (i < carried) {
            int stack = loop_stacks_carried(inst, i);
            base[i] = result_pointer(f, inst, i);
            store_start(f, stack < 0 ? base[i] : stack_row(f, inst, stack, whole(g, 0)), in);
        } else {
            base[i] = in->type.rank == 0 ? scalar_value(f, in) : value_pointer(f, in);
        }
    }
    for (int i = carried; i < inst->results; i++)
        base[inst->inputs + i] = result_pointer(f, inst, i);
    child.carried = base;
    child.carries = carried;

    int64_t count = inst->attr[0].whole;
    Loop loop = loop_begin(e, whole(g, 0), whole(g, count), 1);
    LLVMValueRef turn = loop.at;
    if (inst->attr[4].whole)
        turn = LLVMBuildSub(e->b, whole(g, count - 1), turn, "");
    child.value[body->param.at[0]->id] = turn;
    LLVMValueRef last = LLVMBuildICmp(e->b, LLVMIntEQ, loop.at, whole(g, count - 1), ""),
                 after = LLVMBuildAdd(e->b, loop.at, whole(g, 1), "");
    for (int i = 0; i < inst->inputs; i++) {
        Inst *param = body->param.at[i + 1];
        bool slice = i >= carried && i < carried + sliced;
        child.input[i + 1] =
            slice ? offset_pointer(e, base[i], turn, type_bytes(param->type)) : base[i];
        if (param->type.rank > 0)
            continue;
        if (i >= carried + sliced)
            child.value[param->id] = base[i];
        else
            child.value[param->id] =
                load_element(e, param->type.dtype, child.input[i + 1], index_of(whole(g, 0), 0));
    }
    LLVMValueRef *row = NEW_ARRAY(g->arena, LLVMValueRef, inst->results + 1);
    for (int i = 0; i < carried; i++) {
        int stack = loop_stacks_carried(inst, i);
        if (stack < 0)
            continue;
        row[stack] = child.input[i + 1] = stack_row(f, inst, stack, loop.at);
        base[i] = LLVMBuildSelect(e->b, last, base[i], stack_row(f, inst, stack, after), "");
    }
    for (int i = carried; i < inst->results; i++) {
        child.output[i] = row[i];
        for (int k = carried; k < carried + sliced; k++) // stacked over what is sliced
            if (base[k] == base[inst->inputs + i] && inst->input[k]->type.rank > 0)
                child.output[i] = child.input[k + 1];
        if (!child.output[i])
            child.output[i] = offset_pointer(e, base[inst->inputs + i], turn,
                                             type_bytes(body->result.at[i].value->type));
    }
    Guard guard = {0};
    if (inst->attr[5].whole)
        guard = guard_begin(f, inst, &loop, child.value[body->param.at[inst->attr[5].whole]->id]);
    emit_body(&child);
    if (inst->attr[5].whole)
        guard_end(f, inst, &guard, child.output);
    loop_end(e, &loop);
}

static void emit_call(Frame *f, Inst *inst)
{
    IrFunction *callee = inst->attr[0].function;
    Frame child = child_frame(f, callee, scratch_pointer(f, inst));
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        if (in->type.rank == 0)
            child.value[callee->param.at[i]->id] = scalar_value(f, in);
        else
            child.input[i] = value_pointer(f, in);
    }
    for (int i = 0; i < inst->results; i++)
        child.output[i] = result_pointer(f, inst, i);
    emit_body(&child);
}

void emit_move(Frame *f, Inst *inst)
{
    if (inst->op == OP_random)
        emit_random(f, inst);
    else if (inst->op == OP_concat)
        emit_concat(f, inst);
    else if (inst->op == OP_pad)
        emit_pad(f, inst);
    else if (inst->op == OP_scatter_add)
        emit_scatter(f, inst);
    else if (inst->op == OP_argmax)
        emit_argmax(f, inst);
    else if (inst->op == OP_argsort)
        emit_argsort(f, inst);
    else if (inst->op == OP_cumulate)
        emit_cumulate(f, inst);
    else if (inst->op == OP_add_along)
        emit_add_along(f, inst);
    else if (inst->op == OP_dot_stored)
        emit_dot_stored(f, inst);
    else if (inst->op == OP_take_stored)
        emit_take_stored(f, inst);
    else if (inst->op == OP_conv_weight)
        conv_weight_emit(f, inst, inst);
    else if (inst->op == OP_attend || inst->op == OP_attend_back)
        emit_attend(f, inst);
    else if (inst->op == OP_attend_cached)
        emit_attend_cached(f, inst);
    else if (inst->op == OP_loop)
        emit_loop(f, inst);
    else if (inst->op == OP_call)
        emit_call(f, inst);
    else
        bug(f->g->cx, inst->span, "'%s' reached code generation outside of a fused body",
            op_info[inst->op].name);
}
