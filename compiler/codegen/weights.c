// weights.c: rows times stored weights, and their columns (kernels/stored.h): calls of the
// templates in kernels/cpu/stored.c.

#include "codegen/emit.h"
#include "stored.h"

static LLVMValueRef formal(const Kernel *k, int operand)
{
    return operand < 0 ? LLVMConstNull(k->g->ptr) : k->operand.at[operand].formal;
}

// The operands behind the first: the matrix, scales, zero points.
static void weight_operands(Kernel *k, Frame *f, const Inst *inst, int operand[3])
{
    for (int i = 0; i < 3; i++)
        operand[i] =
            i + 1 < inst->inputs ? kernel_operand(k, value_pointer(f, inst->input[i + 1])) : -1;
}

// The rows as bytes, in `scratch`.
static void emit_rows(Frame *f, const Inst *inst, const StoredShape *shape, LLVMValueRef scratch)
{
    Codegen *g = f->g;
    int64_t form = inst->attr[0].whole, group = inst->attr[1].whole;
    int64_t middle = inst->inputs > 3 ? 1 : form == STORED_NIBBLES ? 8 : 128;
    char what[96];
    snprintf(what, sizeof what, "stored rows %lld %lld %lld %lld %lld", (long long)shape->m,
             (long long)shape->k, (long long)group, (long long)middle, (long long)shape->part_rows);
    Kernel kernel, *k = &kernel;
    kernel_begin_shared(k, f, inst, shape->row_parts, what);
    int a = kernel_operand(k, value_pointer(f, inst->input[0])), bytes = kernel_operand(k, scratch);
    if (kernel_open(k)) {
        Emit *e = &k->emit;
        LLVMValueRef begin = whole(g, 0), end = whole(g, shape->m);
        if (k->parts > 1) {
            begin = LLVMBuildMul(e->b, k->begin, whole(g, shape->part_rows), "");
            LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(g, shape->part_rows), "");
            end = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, end, ""), stop, end,
                                  "");
        }
        LLVMValueRef arg[] = {formal(k, a),
                              formal(k, bytes),
                              whole(g, shape->k),
                              whole(g, group),
                              whole(g, middle),
                              begin,
                              end};
        LLVMValueRef function = template_function(g, "aml_stored_rows");
        LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    }
    kernel_close(k);
}

void emit_dot_stored(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    StoredShape shape = stored_shape(inst);
    const Buffered *place = inst->note;
    LLVMValueRef bytes = NULL;
    if (shape.row_bytes) {
        Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
        bytes = frame_pointer(f, &memory);
        emit_rows(f, inst, &shape, bytes);
    }
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, shape.parts);
    int weights[3];
    int out = kernel_operand(k, value_pointer(f, inst)),
        a = kernel_operand(k, value_pointer(f, inst->input[0]));
    weight_operands(k, f, inst, weights);
    int rows = bytes ? kernel_operand(k, bytes) : -1;
    if (kernel_open(k)) {
        Emit *e = &k->emit;
        LLVMValueRef arg[] = {formal(k, a),
                              formal(k, weights[0]),
                              formal(k, weights[1]),
                              formal(k, weights[2]),
                              formal(k, out),
                              formal(k, rows),
                              whole(g, shape.m),
                              whole(g, shape.n),
                              whole(g, shape.k),
                              whole(g, inst->attr[1].whole),
                              whole(g, inst->attr[0].whole),
                              whole(g, shape.part_panels),
                              k->parts > 1 ? k->begin : whole(g, 0),
                              k->parts > 1 ? k->end : whole(g, 1)};
        LLVMValueRef function = template_function(g, "aml_dot_stored");
        LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    }
    kernel_close(k);
}

void emit_take_stored(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    const Inst *index = inst->input[0], *b = inst->input[1];
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, 1);
    int weights[3];
    int out = kernel_operand(k, value_pointer(f, inst)),
        at = kernel_operand(k, value_pointer(f, index));
    weight_operands(k, f, inst, weights);
    if (kernel_open(k)) {
        Emit *e = &k->emit;
        LLVMValueRef arg[] = {formal(k, at),
                              whole(g, index->type.dtype == DTYPE_I64),
                              whole(g, type_elements(index->type)),
                              formal(k, weights[0]),
                              formal(k, weights[1]),
                              formal(k, weights[2]),
                              formal(k, out),
                              whole(g, b->type.dim[0] * STORED_COLUMNS),
                              whole(g, inst->attr[2].whole),
                              whole(g, inst->attr[1].whole),
                              whole(g, inst->attr[0].whole)};
        LLVMValueRef function = template_function(g, "aml_shared_take_stored");
        LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    }
    kernel_close(k);
}
