// print.c: the textual form. One instruction a line:
//
//   function @name at 1:0:20 {
//     %0 = parameter : f32[2, 3] state(4) "fc1.weight" at 1:10:20
//     %1 = reduce %0 with=sum axes=[1] : f32[2]
//     %2 = loop %1 count=3 carried=1 sliced=0 body={
//       %3 = parameter : i64[]
//       %4 = parameter : f32[2]
//       result %4
//     } : f32[2]
//     result %2 output(0) "total"
//   }
//
// Values are numbered in the order in which they are printed, so that equal functions have equal
// text. Called functions are printed before their callers. `at file:start:end` is the place in the
// user's source, in bytes. `mixed` (bf16) or `mixed_f16` before the brace is IrFunction.mixed,
// `memory=` IrFunction.budget, `scattered` IrFunction.scattered;
// `rows(0)` is an input(0) of SLOT_ROWS.

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

static const char *const slot_name[] = {
    [SLOT_VALUE] = "",        [SLOT_STATE] = "state",   [SLOT_INPUT] = "input",
    [SLOT_SCALAR] = "scalar", [SLOT_OUTPUT] = "output", [SLOT_ROWS] = "rows"};

typedef struct Printer {
    Buffer *out;
    int *number; // by id: the number in the text
    int next;
} Printer;

static void put_quoted(Buffer *out, const char *text)
{
    buffer_text(out, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            buffer_printf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            buffer_printf(out, "\\x%02x", *at);
        else
            buffer_append(out, (const char *)at, 1);
    }
    buffer_text(out, "\"");
}

static void put_function_name(Buffer *out, Sym name)
{
    bool plain = name[0] != 0;
    for (const char *at = name; *at; at++)
        plain = plain && (isalnum((unsigned char)*at) || *at == '_' || *at == '.' || *at == '$');
    buffer_text(out, "@");
    if (plain)
        buffer_text(out, name);
    else
        put_quoted(out, name);
}

static void put_span(Buffer *out, Span span)
{
    if (span.file)
        buffer_printf(out, " at %" PRIu32 ":%" PRIu32 ":%" PRIu32, span.file, span.start, span.end);
}

static void put_list(Buffer *out, IntList list)
{
    buffer_text(out, "[");
    for (int i = 0; i < list.count; i++)
        buffer_printf(out, i ? ", %" PRId64 : "%" PRId64, list.at[i]);
    buffer_text(out, "]");
}

// The shortest decimal that gives the same bits back; what has no such decimal is written as its
// bits.
static void put_element(Buffer *out, DType dtype, const void *base, int64_t index)
{
    size_t size = (size_t)dtype_info[dtype].bytes;
    const char *bits = (const char *)base + (size_t)index * size;
    if (dtype == DTYPE_BOOL) {
        buffer_text(out, *bits ? "true" : "false");
        return;
    }
    if (dtype_info[dtype].kind == KIND_INT) {
        buffer_printf(out, "%" PRId64, element_whole(dtype, base, index));
        return;
    }
    double value = element_real(dtype, base, index);
    char text[40] = "";
    uint64_t again = 0;
    if (isinf(value))
        snprintf(text, sizeof text, value < 0 ? "-inf" : "inf");
    else if (isnan(value))
        snprintf(text, sizeof text, "nan");
    bool short_whole = fabs(value) < 1e6 && value == trunc(value);
    if (short_whole)
        snprintf(text, sizeof text, "%.0f", value);
    for (int digits = 1; isfinite(value) && !short_whole && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        element_set_real(dtype, &again, 0, strtod(text, NULL));
        if (memcmp(&again, bits, size) == 0)
            break;
    }
    element_set_real(dtype, &again, 0, strtod(text, NULL));
    if (memcmp(&again, bits, size) == 0) {
        buffer_text(out, text);
        return;
    }
    uint64_t raw = 0;
    memcpy(&raw, bits, size);
    buffer_printf(out, "bits:%" PRIx64, raw);
}

static void put_data(Buffer *out, IrData data, Type type)
{
    if (data.splat) {
        buffer_text(out, "splat(");
        put_element(out, type.dtype, data.at, 0);
    } else {
        buffer_text(out, "dense(");
        for (int64_t i = 0; i < type_elements(type); i++) {
            if (i)
                buffer_text(out, ", ");
            put_element(out, type.dtype, data.at, i);
        }
    }
    buffer_text(out, ")");
}

static void put_indent(Buffer *out, int depth)
{
    for (int i = 0; i < depth; i++)
        buffer_text(out, "  ");
}

static void put_slot(Buffer *out, Slot slot, Sym name, Span span)
{
    if (slot.kind != SLOT_VALUE)
        buffer_printf(out, " %s(%d)", slot_name[slot.kind], slot.index);
    if (name) {
        buffer_text(out, " ");
        put_quoted(out, name);
    }
    put_span(out, span);
    buffer_text(out, "\n");
}

static void put_body(Printer *printer, const IrFunction *fn, int depth);

static void put_attr(Printer *printer, const Inst *inst, int index, int depth)
{
    Buffer *out = printer->out;
    const Attr *attr = &inst->attr[index];
    buffer_printf(out, " %s=", op_info[inst->op].attr[index].name);
    switch (op_info[inst->op].attr[index].kind) {
    case ATTR_Axes:
    case ATTR_Shape:
        put_list(out, attr->list);
        break;
    case ATTR_Int:
    case ATTR_Site:
    case ATTR_Flag:
        buffer_printf(out, "%" PRId64, attr->whole);
        break;
    case ATTR_Real:
        put_element(out, DTYPE_F64, &attr->real, 0);
        break;
    case ATTR_Reducer:
        buffer_text(out, reducer_name[attr->reducer]);
        break;
    case ATTR_Callee:
        put_function_name(out, attr->function->name);
        break;
    case ATTR_Data:
        put_data(out, attr->data, inst->type);
        break;
    case ATTR_Body:
        buffer_text(out, "{\n");
        put_body(printer, attr->function, depth + 1);
        put_indent(out, depth);
        buffer_text(out, "}");
        break;
    }
}

static void put_inst(Printer *printer, const Inst *inst, int depth)
{
    Buffer *out = printer->out;
    int number = printer->next++;
    printer->number[inst->id] = number;
    put_indent(out, depth);
    buffer_printf(out, "%%%d = %s", number, op_info[inst->op].name);
    for (int i = 0; i < inst->inputs; i++)
        buffer_printf(out, i ? ", %%%d" : " %%%d", printer->number[inst->input[i]->id]);
    for (int i = 0; i < op_info[inst->op].attrs; i++)
        if (op_info[inst->op].attr[i].kind != ATTR_Flag || inst->attr[i].whole)
            put_attr(printer, inst, i, depth);
    buffer_text(out, " : ");
    for (int i = 0; i < inst->results; i++)
        buffer_printf(out, i ? ", %s" : "%s",
                      type_text(out->arena, inst->results > 1 ? inst->result_type[i] : inst->type));
    put_slot(out, (Slot){0}, inst->name, inst->span);
}

static void put_body(Printer *printer, const IrFunction *fn, int depth)
{
    Buffer *out = printer->out;
    for (int i = 0; i < fn->param.count; i++) {
        const Inst *param = fn->param.at[i];
        printer->number[param->id] = printer->next++;
        put_indent(out, depth);
        buffer_printf(out, "%%%d = parameter : %s", printer->number[param->id],
                      type_text(out->arena, param->type));
        put_slot(out, fn->param_slot.at[i], param->name, param->span);
    }
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        put_inst(printer, inst, depth);
    for (int i = 0; i < fn->result.count; i++) {
        put_indent(out, depth);
        buffer_printf(out, "result %%%d", printer->number[fn->result.at[i].value->id]);
        put_slot(out, fn->result.at[i].slot, fn->result.at[i].name, (Span){0});
    }
}

void ir_print_function(IrFunction *fn, Buffer *out)
{
    const IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    Printer printer = {out, NEW_ARRAY(out->arena, int, root->next_id + 1), 0};
    buffer_text(out, "function ");
    put_function_name(out, fn->name ? fn->name : "");
    put_span(out, fn->span);
    if (fn->mixed != DTYPE_F32)
        buffer_text(out, fn->mixed == DTYPE_F16 ? " mixed_f16" : " mixed");
    if (fn->memory > 0)
        buffer_printf(out, " memory=%" PRId64, fn->budget);
    if (fn->scattered)
        buffer_text(out, " scattered");
    buffer_text(out, " {\n");
    put_body(&printer, fn, 1);
    buffer_text(out, "}\n");
}

static void print_callees_first(IrModule *module, IrFunction *fn, bool *printed, Buffer *out);

static void print_called(IrModule *module, const IrFunction *fn, bool *printed, Buffer *out)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->op == OP_call)
            print_callees_first(module, inst->attr[0].function, printed, out);
        if (inst_nested(inst))
            print_called(module, inst_nested(inst), printed, out);
    }
}

static void print_callees_first(IrModule *module, IrFunction *fn, bool *printed, Buffer *out)
{
    int index = 0;
    while (index < module->function.count && module->function.at[index] != fn)
        index++;
    if (index == module->function.count || printed[index])
        return;
    printed[index] = true;
    print_called(module, fn, printed, out);
    if (out->length)
        buffer_text(out, "\n");
    ir_print_function(fn, out);
}

void ir_print(IrModule *module, Buffer *out)
{
    bool *printed = NEW_ARRAY(out->arena, bool, module->function.count + 1);
    for (int i = 0; i < module->function.count; i++)
        print_callees_first(module, module->function.at[i], printed, out);
}
