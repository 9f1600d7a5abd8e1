// weights.c: rows times stored weights, and their columns (kernels/stored.h): calls of the templates
// in kernels/cpu/stored.c.

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

void emit_dot_stored(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    StoredShape shape = stored_shape(inst);
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, shape.parts);
    int weights[3];
    int out = kernel_operand(k, value_pointer(f, inst)),
        a = kernel_operand(k, value_pointer(f, inst->input[0]));
    weight_operands(k, f, inst, weights);
    const Buffered *place = inst->note;
    int scratch = -1;
    if (place->scratch_bytes) {
        Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
        scratch = kernel_operand(k, frame_pointer(f, &memory));
    }
    if (kernel_open(k)) {
        Emit *e = &k->emit;
        LLVMValueRef begin = shape.parts > 1 ? k->begin : whole(g, 0),
                     end = shape.parts > 1 ? k->end : whole(g, 1), own = formal(k, scratch);
        if (scratch >= 0 && shape.parts > 1) { // parts that run at the same time have their own
            LLVMValueRef offset =
                LLVMBuildMul(e->b, k->begin, whole(g, (int64_t)shape.part_bytes), "");
            own = LLVMBuildInBoundsGEP2(e->b, g->i8, own, &offset, 1, "");
        }
        LLVMValueRef arg[] = {formal(k, a),
                              formal(k, weights[0]),
                              formal(k, weights[1]),
                              formal(k, weights[2]),
                              formal(k, out),
                              own,
                              whole(g, shape.m),
                              whole(g, shape.n),
                              whole(g, shape.k),
                              whole(g, inst->attr[1].whole),
                              whole(g, inst->attr[0].whole),
                              whole(g, shape.part_panels),
                              begin,
                              end};
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
