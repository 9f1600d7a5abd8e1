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

static int add_sizes(Codegen *g, LLVMValueRef arg[], int count, const int64_t size[], size_t sizes)
{
    for (size_t i = 0; i < sizes; i++)
        arg[count++] = whole(g, size[i]);
    return count;
}

static void call_template(Kernel *k, const char *name, LLVMValueRef arg[], int count)
{
    LLVMValueRef function = template_function(k->g, name);
    if (LLVMCountParams(function) != (unsigned)count)
        bug(k->g->cx, k->inst->span, "'%s' takes %u arguments, not %d", name,
            LLVMCountParams(function), count);
    LLVMBuildCall2(k->emit.b, LLVMGlobalGetValueType(function), function, arg, (unsigned)count, "");
}

static void emit_call(Kernel *k, IrFunction *body, Inst *conv, const AmlConv *c,
                      LLVMValueRef const result[], LLVMValueRef scratch)
{
    Codegen *g = k->g;
    Product product = {.k = k,
                       .body = body,
                       .space = body_analyse(body),
                       .dot = conv,
                       .lanes = c->lanes,
                       .ragged = true},
            *p = &product;
    p->shape =
        (DotShape){.loops = 1, .loop_axis = {0}, .loop_axes = {1}, .row_axes = 1, .column_axes = 2};
    p->shape.dot.n = aml_conv_all(c->result);
    Source *source = conv->input[0]->note, *weights = conv->input[1]->note;
    LLVMValueRef from = source->base, by = weights->base;
    LLVMValueRef context = product_context(p), epilogue = product_epilogue(p, result), arg[32];
    bool masked = aml_depthwise_masks(c);
    int count = 0;
    arg[count++] = from;
    arg[count++] = by;
    arg[count++] = masked ? scratch : own_scratch(k, scratch, c->copy_bytes);
    arg[count++] = product_field(p, context, k->operand.count);
    if (masked) {
        const int64_t sizes[] = {c->groups,
                                 aml_conv_all(c->source),
                                 aml_conv_all(c->result),
                                 c->source[2],
                                 c->kernel[1],
                                 c->kernel[2],
                                 c->low[1],
                                 c->low[2],
                                 c->dilation[1],
                                 c->dilation[2],
                                 c->input};
        count = add_sizes(g, arg, count, sizes, COUNT_OF(sizes));
    } else {
        const int64_t sizes[] = {c->groups,    c->source[1], c->source[2],   c->result[1],
                                 c->result[2], c->kernel[1], c->kernel[2],   c->low[1],
                                 c->low[2],    c->stride[2], c->dilation[1], c->dilation[2],
                                 c->input};
        count = add_sizes(g, arg, count, sizes, COUNT_OF(sizes));
    }
    divided(k, c->unit_chunk, c->images * c->groups, &arg[count]);
    count += 2;
    arg[count++] = epilogue;
    arg[count++] = context;
    call_template(k, masked ? "aml_depthwise_masked" : "aml_depthwise", arg, count);
}

// What the template reads or writes beside its operands: masks, or memory for copies.
static LLVMValueRef beside(Frame *f, const Inst *inst, const AmlConv *c)
{
    if (aml_depthwise_masks(c)) {
        size_t bytes = (size_t)(aml_ceil_div(aml_conv_all(c->result), 16) * c->taps) * 2;
        uint16_t *mask = arena_alloc(f->g->arena, bytes);
        aml_depthwise_mask(c, mask);
        return constant_pointer(f->g, mask, bytes);
    }
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    return frame_pointer(f, &memory);
}

void depthwise_emit(Frame *f, Inst *inst, Inst *conv, const AmlConv *c)
{
    Codegen *g = f->g;
    IrFunction *body = inst->attr[0].function;
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, c->parts);
    int *operand = NEW_ARRAY(g->arena, int, inst->inputs + 1),
        *output = NEW_ARRAY(g->arena, int, inst->results + 1);
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        operand[i] =
            kernel_operand(k, in->type.rank == 0 ? scalar_value(f, in) : value_pointer(f, in));
    }
    int scratch = kernel_operand(k, beside(f, inst, c));
    for (int i = 0; i < inst->results; i++)
        output[i] = kernel_operand(k, result_pointer(f, inst, i));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    for (int i = 0; i < inst->inputs; i++) {
        Source *source = NEW(g->arena, Source);
        source->base = k->operand.at[operand[i]].formal;
        source->by_value = inst->input[i]->type.rank == 0;
        body->param.at[i]->note = source;
    }
    LLVMValueRef *result = NEW_ARRAY(g->arena, LLVMValueRef, inst->results + 1);
    for (int i = 0; i < inst->results; i++)
        result[i] = k->operand.at[output[i]].formal;
    emit_call(k, body, conv, c, result, k->operand.at[scratch].formal);
    kernel_close(k);
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
    count = add_sizes(g, arg, count, sizes, COUNT_OF(sizes));
    divided(k, c->part_chunk, c->parts, &arg[count]);
    call_template(k, "aml_depthwise_weight", arg, count + 2);
    kernel_close(k);
}
