// attend.c: attention by the C templates of kernels/cpu/attend.c, specialised.

#include <inttypes.h>

#include "codegen/emit.h"

static LLVMValueRef advance(Emit *e, LLVMValueRef base, LLVMValueRef count, int64_t bytes)
{
    LLVMValueRef offset = LLVMBuildMul(e->b, count, whole(e->g, bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, base, &offset, 1, "");
}

// The units of the parts begin..end.
static void units(Kernel *k, const AmlAttend *a, LLVMValueRef *from, LLVMValueRef *to)
{
    Emit *e = &k->emit;
    *from = whole(e->g, 0);
    *to = whole(e->g, a->units);
    if (k->parts == 1)
        return;
    *from = LLVMBuildMul(e->b, k->begin, whole(e->g, a->chunk), "");
    LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(e->g, a->chunk), "");
    *to = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, *to, ""), stop, *to, "");
}

static LLVMValueRef rows_pointer(Frame *f, LLVMValueRef base, AttendRows rows, DType dtype)
{
    return frame_address(f, base, (size_t)rows.offset * (size_t)dtype_info[dtype].bytes);
}

void emit_attend(Frame *f, Inst *inst)
{
    enum { MOST = 10, ROWS = 3 };
    Codegen *g = f->g;
    AmlAttend a = attend_shape(inst, g->lanes * 4, g->pairs);
    bool back = inst->op == OP_attend_back;
    int floats = back ? 6 : 3;
    bool masked = inst->inputs > floats;
    Type type[] = {inst->input[0]->type, inst->input[1]->type, inst->input[2]->type};
    AttendSizes s = attend_sizes(type, masked ? &inst->input[floats]->type : NULL);
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, a.parts);
    int in[MOST], out[MOST], step_count = back ? 2 * ROWS : ROWS;
    int64_t step[2 * ROWS];
    for (int i = 0; i < inst->inputs; i++) {
        LLVMValueRef base = value_pointer(f, inst->input[i]);
        if (i < ROWS) {
            AttendRows rows = attend_operand(inst, i);
            base = rows_pointer(f, base, rows, type[i].dtype);
            step[i] = rows.step;
        }
        in[i] = kernel_operand(k, base);
    }
    int scratch = kernel_operand(k, frame_pointer(f, &memory));
    for (int i = 0; i < inst->results; i++) {
        LLVMValueRef base = result_pointer(f, inst, i);
        if (back) {
            AttendRows rows = attend_slope(inst, i);
            base = rows_pointer(f, base, rows, inst->result_type[i].dtype);
            step[ROWS + i] = rows.step;
        }
        out[i] = kernel_operand(k, base);
    }
    for (int i = 0; i < step_count; i++)
        buffer_printf(&k->key, " step %" PRId64, step[i]);
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    LLVMValueRef own = k->operand.at[scratch].formal, arg[32];
    if (k->parts > 1)
        own = advance(e, own, k->begin, (int64_t)a.scratch_bytes);
    int count = 0;
    for (int i = 0; i < 3; i++)
        arg[count++] = k->operand.at[in[i]].formal;
    arg[count++] = masked ? k->operand.at[in[floats]].formal : LLVMConstNull(g->ptr);
    for (int i = 3; i < floats; i++)
        arg[count++] = k->operand.at[in[i]].formal;
    for (int i = 0; i < inst->results; i++)
        arg[count++] = k->operand.at[out[i]].formal;
    arg[count++] = own;
    const int64_t sizes[] = {
        a.queries, a.heads, a.size, a.keys, a.width, inst->attr[1].whole, half_of(type[0].dtype)};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        arg[count++] = whole(g, sizes[i]);
    arg[count++] = LLVMConstReal(g->f32, inst->attr[0].real);
    const int64_t rest[] = {a.groups, masked, s.mask_image, s.mask_head};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(g, rest[i]);
    for (int i = 0; i < step_count; i++)
        arg[count++] = whole(g, step[i]);
    units(k, &a, &arg[count], &arg[count + 1]);
    LLVMValueRef function =
        template_function(g, a.pairs ? back ? "aml_attend_back_pairs" : "aml_attend_pairs"
                             : back  ? "aml_attend_back"
                                     : "aml_attend");
    if (LLVMCountParams(function) != (unsigned)count + 2)
        bug(g->cx, inst->span, "attention takes %u arguments, not %d", LLVMCountParams(function),
            count + 2);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, (unsigned)count + 2, "");
    kernel_close(k);
}

void emit_attend_cached(Frame *f, Inst *inst)
{
    Codegen *g = f->g;
    AmlAttend a = attend_shape(inst, g->lanes * 4, false);
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, a.parts);
    int in[4];
    for (int i = 0; i < 3; i++)
        in[i] = kernel_operand(k, value_pointer(f, inst->input[i]));
    in[3] = kernel_operand(k, scalar_value(f, inst->input[3]));
    int out = kernel_operand(k, value_pointer(f, inst)),
        scratch = kernel_operand(k, frame_pointer(f, &memory));
    if (kernel_open(k)) {
        Emit *e = &k->emit;
        LLVMValueRef own = k->operand.at[scratch].formal, arg[16];
        if (k->parts > 1)
            own = advance(e, own, k->begin, (int64_t)a.scratch_bytes);
        int count = 0;
        for (int i = 0; i < 4; i++)
            arg[count++] = k->operand.at[in[i]].formal;
        arg[count++] = k->operand.at[out].formal;
        arg[count++] = own;
        const int64_t sizes[] = {a.queries,
                                 a.heads,
                                 a.size,
                                 a.keys,
                                 a.groups,
                                 a.width,
                                 half_of(inst->input[1]->type.dtype)};
        for (size_t i = 0; i < COUNT_OF(sizes); i++)
            arg[count++] = whole(g, sizes[i]);
        arg[count++] = LLVMConstReal(g->f32, inst->attr[0].real);
        units(k, &a, &arg[count], &arg[count + 1]);
        LLVMValueRef function = template_function(g, "aml_attend_cached");
        LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, (unsigned)count + 2,
                       "");
    }
    kernel_close(k);
}
