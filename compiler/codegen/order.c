// order.c: ops whose elements depend on others of the same row: argsort, cumulate, add_along. Each
// is a kernel over (outer, extent, inner): the axes before the row's, the row's own, those after
// it. Rows are divided by shape.

#include <string.h>

#include "codegen/emit.h"

typedef struct Rows {
    int64_t outer, extent, inner;
    int64_t parts, chunk; // of outer
} Rows;

static Rows rows_of(Type type, int64_t axis, int64_t cost)
{
    Rows rows = {1, type.dim[axis], 1, 1, 0};
    for (int i = 0; i < type.rank; i++)
        if (i != axis)
            *(i < axis ? &rows.outer : &rows.inner) *= type.dim[i];
    int64_t wanted = type_elements(type) * cost / 100000;
    wanted = wanted < 1 ? 1 : wanted > 64 ? 64 : wanted;
    rows.chunk = (rows.outer + wanted - 1) / wanted;
    rows.parts = (rows.outer + rows.chunk - 1) / rows.chunk;
    return rows;
}

static Rows argsort_rows(const Inst *inst)
{
    Type type = inst->type;
    int64_t levels = 1;
    while (type.dim[type.rank - 1] >> levels)
        levels++;
    return rows_of(type, type.rank - 1, 4 * levels);
}

// Of outer: the rows begin..end of the parts that this call computes.
static void part_bounds(Kernel *k, const Rows *rows, LLVMValueRef *lo, LLVMValueRef *hi)
{
    Codegen *g = k->g;
    LLVMBuilderRef b = k->emit.b;
    *lo = whole(g, 0);
    *hi = whole(g, rows->outer);
    if (rows->parts == 1)
        return;
    *lo = LLVMBuildMul(b, k->begin, whole(g, rows->chunk), "");
    LLVMValueRef stop = LLVMBuildMul(b, k->end, whole(g, rows->chunk), "");
    *hi = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, stop, *hi, ""), stop, *hi, "");
}

static LLVMValueRef advance(Emit *e, LLVMValueRef base, LLVMValueRef count, int64_t bytes)
{
    LLVMValueRef offset = LLVMBuildMul(e->b, count, whole(e->g, bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, base, &offset, 1, "");
}

// ---- argsort ------------------------------------------------------------------------------------

void emit_argsort(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Inst *in = inst->input[0];
    Rows rows = argsort_rows(inst);
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, rows.parts);
    int out = kernel_operand(k, value_pointer(f, inst)),
        from = kernel_operand(k, value_pointer(f, in)),
        spare = kernel_operand(k, frame_pointer(f, &memory));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    char name[32];
    snprintf(name, sizeof name, "aml_argsort_%s", dtype_info[in->type.dtype].name);
    LLVMValueRef function = template_function(g, name), lo, hi;
    part_bounds(k, &rows, &lo, &hi);
    Loop loop = loop_begin(e, lo, hi, 1);
    LLVMTypeRef types[5];
    LLVMGetParamTypes(LLVMGlobalGetValueType(function), types);
    LLVMValueRef arg[] = {advance(e, k->operand.at[from].formal, loop.at,
                                  rows.extent * dtype_info[in->type.dtype].bytes),
                          whole(g, rows.extent),
                          LLVMConstInt(types[2], inst->attr[0].whole != 0, 0),
                          advance(e, k->operand.at[out].formal, loop.at, rows.extent * 4),
                          advance(e, k->operand.at[spare].formal, loop.at, rows.extent * 4)};
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    loop_end(e, &loop);
    kernel_close(k);
}

// ---- cumulate -----------------------------------------------------------------------------------

// One column, or as many neighbours as there are lanes, from one end of the rows to the other.
static void cumulate_columns(Emit *e, const Inst *inst, const Rows *rows, LLVMValueRef outer,
                             LLVMValueRef column, LLVMValueRef to, LLVMValueRef from)
{
    Reducer with = inst->attr[0].reducer;
    DType dtype = inst->type.dtype;
    int64_t sizes[] = {rows->outer, rows->extent, rows->inner};
    Type walk = type_make(dtype, 3, sizes);
    LLVMTypeRef held = register_type(e->g, dtype, e->lanes);
    LLVMValueRef sum = LLVMBuildAlloca(e->b, held, ""), last = whole(e->g, rows->extent - 1);
    LLVMBuildStore(e->b, emit_identity(e, with, dtype), sum);
    Loop each = loop_begin(e, whole(e->g, 0), whole(e->g, rows->extent), 1);
    LLVMValueRef row = inst->attr[2].whole ? LLVMBuildSub(e->b, last, each.at, "") : each.at;
    Index at[] = {index_of(outer, 0), index_of(row, 0), index_of(column, 1)};
    Index position = index_position(e, walk, at);
    LLVMValueRef value = load_element(e, dtype, from, position);
    value = emit_reducer(e, with, dtype, LLVMBuildLoad2(e->b, held, sum, ""), value);
    LLVMBuildStore(e->b, value, sum);
    store_element(e, dtype, to, position, value);
    loop_end(e, &each);
}

void emit_cumulate(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Inst *in = inst->input[0];
    Rows rows = rows_of(inst->type, inst->attr[1].whole, 4);
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, rows.parts);
    int out = kernel_operand(k, value_pointer(f, inst)),
        source = kernel_operand(k, value_pointer(f, in));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    LLVMValueRef lo, hi, to = k->operand.at[out].formal, from = k->operand.at[source].formal;
    part_bounds(k, &rows, &lo, &hi);
    int64_t full = rows.inner / g->lanes * g->lanes;
    Loop outer = loop_begin(e, lo, hi, 1);
    for (int rest = 0; rest < 2; rest++) {
        int64_t begin = rest ? full : 0, end = rest ? rows.inner : full;
        if (begin == end)
            continue;
        e->lanes = rest ? 1 : g->lanes;
        Loop column = loop_begin(e, whole(g, begin), whole(g, end), e->lanes);
        cumulate_columns(e, inst, &rows, outer.at, column.at, to, from);
        loop_end(e, &column);
    }
    e->lanes = 1;
    loop_end(e, &outer);
    kernel_close(k);
}

// ---- add_along ----------------------------------------------------------------------------------

void emit_add_along(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    Inst *a = inst->input[0], *number = inst->input[1], *added = inst->input[2];
    int64_t axis = inst->attr[0].whole, count = number->type.dim[axis];
    DType dtype = inst->type.dtype;
    int64_t bytes = dtype_info[dtype].bytes;
    Rows rows = rows_of(a->type, axis, 1 + 4 * count / a->type.dim[axis]);
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, rows.parts);
    int out = kernel_operand(k, value_pointer(f, inst)),
        old = kernel_operand(k, value_pointer(f, a)),
        at = kernel_operand(k, value_pointer(f, number)),
        add = kernel_operand(k, value_pointer(f, added));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    int64_t sizes[] = {rows.outer, rows.extent, rows.inner},
            places[] = {rows.outer, count, rows.inner};
    Type walk = type_make(dtype, 3, sizes), places_type = type_make(number->type.dtype, 3, places);
    LLVMValueRef lo, hi, to = k->operand.at[out].formal;
    part_bounds(k, &rows, &lo, &hi);
    Loop outer = loop_begin(e, lo, hi, 1);
    int64_t block = rows.extent * rows.inner * bytes;
    LLVMBuildMemCpy(e->b, advance(e, to, outer.at, block), 1,
                    advance(e, k->operand.at[old].formal, outer.at, block), 1, whole(g, block));
    Loop each = loop_begin(e, whole(g, 0), whole(g, count), 1),
         column = loop_begin(e, whole(g, 0), whole(g, rows.inner), 1);
    Index place[] = {index_of(outer.at, 0), index_of(each.at, 0), index_of(column.at, 0)};
    Index position = index_position(e, places_type, place);
    LLVMValueRef row = load_element(e, number->type.dtype, k->operand.at[at].formal, position);
    if (number->type.dtype != DTYPE_I64)
        row = LLVMBuildCast(e->b, number->type.dtype == DTYPE_U8 ? LLVMZExt : LLVMSExt, row, g->i64,
                            "");
    LLVMBasicBlockRef inside = LLVMAppendBasicBlockInContext(g->llvm, k->function, ""),
                      next = LLVMAppendBasicBlockInContext(g->llvm, k->function, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, row, whole(g, rows.extent), ""), inside,
                    next);
    LLVMPositionBuilderAtEnd(e->b, inside);
    place[1] = index_of(row, 0);
    Index target = index_position(e, walk, place);
    LLVMValueRef sum = emit_reducer(e, REDUCE_SUM, dtype, load_element(e, dtype, to, target),
                                    load_element(e, dtype, k->operand.at[add].formal, position));
    store_element(e, dtype, to, target, sum);
    LLVMBuildBr(e->b, next);
    LLVMPositionBuilderAtEnd(e->b, next);
    loop_end(e, &column);
    loop_end(e, &each);
    loop_end(e, &outer);
    kernel_close(k);
}
