// support.c: modules from text, values, and the comparison of functions.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diag/diag.h"
#include "support.h"

uint64_t draw_bits(Draw *draw)
{
    uint64_t z = draw->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

int64_t draw_below(Draw *draw, int64_t limit)
{
    return (int64_t)(draw_bits(draw) % (uint64_t)limit);
}

IrModule *module_from_text(Cx *cx, const char *path, const char *text, size_t length,
                           const char **messages)
{
    uint32_t file = source_add(cx, path, text, length, false);
    IrModule *module = ir_parse(cx, file);
    char *printed = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&printed, &size);
    diag_print(cx, out, FORMAT_SHORT, false);
    fclose(out);
    *messages = arena_text(cx->arena, printed, size);
    free(printed);
    return module;
}

const char *module_text(Cx *cx, IrModule *module)
{
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    ir_print(module, &out);
    return out.text;
}

void fill_values(Draw *draw, Type type, void *buffer)
{
    for (int64_t i = 0; i < type_elements(type); i++) {
        int64_t whole = draw_below(draw, 17) - 8;
        if (dtype_info[type.dtype].kind == KIND_FLOAT)
            element_set_real(type.dtype, buffer, i, (double)whole / 4);
        else
            element_set_whole(type.dtype, buffer, i,
                              type.dtype == DTYPE_BOOL ? whole & 1
                              : whole < 0              ? -whole
                                                       : whole);
    }
}

static const char *results_differ(Cx *cx, int index, Type type, const void *a, const void *b,
                                  double tolerance)
{
    for (int64_t i = 0; i < type_elements(type); i++) {
        if (dtype_info[type.dtype].kind != KIND_FLOAT) {
            int64_t left = element_whole(type.dtype, a, i), right = element_whole(type.dtype, b, i);
            if (left != right)
                return arena_printf(cx->arena, "result %d, element %lld: %lld and %lld", index,
                                    (long long)i, (long long)left, (long long)right);
            continue;
        }
        double left = element_real(type.dtype, a, i), right = element_real(type.dtype, b, i);
        bool equal = left == right || (isnan(left) && isnan(right));
        if (!equal && !(fabs(left - right) <= tolerance * (1 + fabs(left))))
            return arena_printf(cx->arena, "result %d, element %lld: %.9g and %.9g", index,
                                (long long)i, left, right);
    }
    return NULL;
}

const char *functions_differ(Cx *cx, IrFunction *a, IrFunction *b, uint64_t seed, double tolerance)
{
    Draw draw = {seed};
    if (a->param.count != b->param.count || a->result.count != b->result.count)
        return "they have different numbers of parameters or results";
    void **in = NEW_ARRAY(cx->arena, void *, a->param.count);
    void **out_a = NEW_ARRAY(cx->arena, void *, a->result.count),
         **out_b = NEW_ARRAY(cx->arena, void *, a->result.count);
    for (int i = 0; i < a->param.count; i++) {
        if (!type_equal(a->param.at[i]->type, b->param.at[i]->type))
            return "they have parameters of different types";
        in[i] = arena_alloc(cx->arena, (size_t)type_bytes(a->param.at[i]->type));
        fill_values(&draw, a->param.at[i]->type, in[i]);
    }
    for (int i = 0; i < a->result.count; i++) {
        Type type = a->result.at[i].value->type;
        if (!type_equal(type, b->result.at[i].value->type))
            return "they have results of different types";
        out_a[i] = arena_alloc(cx->arena, (size_t)type_bytes(type));
        out_b[i] = arena_alloc(cx->arena, (size_t)type_bytes(type));
    }
    ir_evaluate(a, in, out_a);
    ir_evaluate(b, in, out_b);
    for (int i = 0; i < a->result.count; i++) {
        const char *why =
            results_differ(cx, i, a->result.at[i].value->type, out_a[i], out_b[i], tolerance);
        if (why)
            return why;
    }
    return NULL;
}
