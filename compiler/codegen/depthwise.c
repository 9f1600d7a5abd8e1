// depthwise.c: convolutions of one channel to a group by the C templates of
// kernels/cpu/depthwise.c, specialised.

#include "codegen/emit.h"

static LLVMValueRef own_scratch(Kernel *k, LLVMValueRef scratch, size_t bytes)
{
    if (k->parts == 1)
        return scratch;
    Emit *e = &k->emit;
    LLVMValueRef offset = LLVMBuildMul(e->b, k->begin, whole(e->g, (int64_t)bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, scratch, &offset, 1, "");
}

// The parts begin..end of a kernel as its work out[0]..out[1], of which a part has `chunk`.
static void divided(Kernel *k, int64_t chunk, int64_t all, LLVMValueRef out[2])
{
    Emit *e = &k->emit;
    out[0] = whole(e->g, 0);
    out[1] = whole(e->g, all);
    if (k->parts == 1)
        return;
    out[0] = LLVMBuildMul(e->b, k->begin, whole(e->g, chunk), "");
    LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(e->g, chunk), "");
    out[1] =
        LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, out[1], ""), stop, out[1], "");
}

void depthwise_weight_emit(Frame *f, Inst *inst, const AmlConvWeight *c)
{
    Codegen *g = f->g;
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, aml_ceil_div(c->parts, c->part_chunk));
    int x = kernel_operand(k, value_pointer(f, inst->input[0])),
        dy = kernel_operand(k, value_pointer(f, inst->input[1])),
        scratch = kernel_operand(k, frame_pointer(f, &memory)),
        out = kernel_operand(k, value_pointer(f, inst));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    LLVMValueRef arg[32];
    int count = 0;
    arg[count++] = k->operand.at[x].formal;
    arg[count++] = k->operand.at[dy].formal;
    arg[count++] = own_scratch(k, k->operand.at[scratch].formal, c->scratch_bytes);
    arg[count++] = k->operand.at[out].formal;
    const int64_t sizes[] = {c->images,     c->groups,    c->source[1], c->source[2],
                             c->result[1],  c->result[2], c->kernel[1], c->kernel[2],
                             c->low[1],     c->low[2],    c->stride[2], c->dilation[1],
                             c->dilation[2]};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        arg[count++] = whole(g, sizes[i]);
    divided(k, c->part_chunk, c->parts, &arg[count]);
    LLVMValueRef function = template_function(g, "aml_depthwise_weight");
    if (LLVMCountParams(function) != (unsigned)count + 2)
        bug(g->cx, inst->span, "the template takes %u arguments, not %d", LLVMCountParams(function),
            count + 2);
    LLVMBuildCall2(k->emit.b, LLVMGlobalGetValueType(function), function, arg, (unsigned)count + 2,
                   "");
    kernel_close(k);
}
