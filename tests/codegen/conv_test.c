// conv_test: convolutions over sizes that fill tiles, rows and registers exactly, almost and not at
// all, whose images are copied in blocks or not at all, compiled for each processor level, against
// the reference.

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "harness.h"

typedef struct Shape {
    int axes, images, from, to, groups;
    int size[3], kernel[3], stride[3], low[3], high[3], dilation[3];
} Shape;

static const Shape shapes[] = {
    {2, 3, 3, 16, 1, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 16, 33, 1, {9, 29}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 8, 16, 32, 1, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // the images in parts
    {2, 2, 12, 64, 1, {14, 14}, {3, 3}, {2, 2}, {0, 0}, {1, 1}, {1, 1}},
    {2, 2, 17, 48, 1, {7, 7}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 2, 5, 24, 1, {11, 13}, {1, 1}, {2, 2}, {0, 0}, {0, 0}, {1, 1}},
    {2, 1, 24, 20, 1, {50, 50}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 2}}, // in blocks
    {2, 2, 8, 8, 2, {10, 10}, {5, 5}, {3, 3}, {2, 2}, {1, 0}, {1, 1}},
    {2, 2, 4, 66, 1, {8, 8}, {7, 7}, {2, 2}, {3, 3}, {3, 3}, {1, 1}},
    {2, 2, 6, 5, 1, {12, 12}, {4, 4}, {4, 4}, {0, 0}, {0, 0}, {1, 1}},
    {1, 3, 7, 18, 1, {65}, {5}, {2}, {2}, {2}, {1}},
    {1, 2, 4, 9, 1, {40}, {3}, {1}, {8}, {0}, {4}},
    {3, 2, 3, 17, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {3, 1, 4, 6, 1, {6, 6, 9}, {2, 3, 1}, {2, 2, 3}, {0, 1, 0}, {0, 0, 0}, {1, 2, 1}},
    {2, 2, 6, 3, 1, {1, 1}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 6, 6, 6, {9, 17}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 1}}, // one channel to a group
    {2, 2, 35, 35, 35, {13, 5}, {3, 3}, {2, 2}, {0, 1}, {1, 1}, {1, 1}},
    {2, 1, 20, 20, 20, {60, 61}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 16, 16, 16, {7, 9}, {5, 3}, {3, 4}, {2, 0}, {2, 0}, {1, 2}},
    {1, 2, 19, 19, 19, {40}, {5}, {1}, {2}, {2}, {2}},
    {3, 1, 18, 18, 18, {4, 5, 6}, {2, 3, 3}, {1, 2, 1}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {2, 3, 5, 5, 5, {25, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 3, 3, 3, {13, 19}, {5, 5}, {2, 2}, {2, 1}, {2, 3}, {1, 2}},
    {2, 40, 9, 9, 9, {20, 20}, {3, 3}, {2, 2}, {0, 0}, {1, 1}, {1, 1}},
    {2, 1, 2, 2, 2, {4, 70}, {1, 4}, {1, 1}, {0, 3}, {0, 0}, {1, 1}},
    {2, 1, 3, 4, 1, {6, 40}, {1, 15}, {1, 1}, {0, 7}, {0, 7}, {1, 1}}, // a wide kernel
};

static void put_list(Buffer *out, const char *name, const int list[], int count)
{
    buffer_printf(out, " %s=[", name);
    for (int i = 0; i < count; i++)
        buffer_printf(out, "%s%d", i ? ", " : "", list[i]);
    buffer_text(out, "]");
}

static void put_type(Buffer *out, const char *type, int first, int second, const int size[],
                     int axes)
{
    buffer_printf(out, "%s[%d, %d", type, first, second);
    for (int i = 0; i < axes; i++)
        buffer_printf(out, ", %d", size[i]);
    buffer_text(out, "]");
}

static void put_operation(Buffer *out, const char *op, const Shape *s)
{
    buffer_printf(out, " = %s %%0, %%1", op);
    put_list(out, "stride", s->stride, s->axes);
    put_list(out, "low", s->low, s->axes);
    put_list(out, "high", s->high, s->axes);
    put_list(out, "dilation", s->dilation, s->axes);
    buffer_printf(out, " groups=%d%s : ", s->groups, strcmp(op, "conv_weight") ? "" : " split=0");
}

// The convolution or a gradient of it, then something in its epilogue.
static void put_function(Buffer *out, int index, const char *op, const Shape *s, const char *type,
                         bool mixed)
{
    int y[3];
    for (int i = 0; i < s->axes; i++)
        y[i] = (s->size[i] + s->low[i] + s->high[i] - (s->kernel[i] - 1) * s->dilation[i] - 1) /
                   s->stride[i] +
               1;
    bool input = strcmp(op, "conv_input") == 0, weight = strcmp(op, "conv_weight") == 0;
    Buffer x_type = {.arena = out->arena}, w_type = x_type, y_type = x_type;
    put_type(&x_type, type, s->images, s->from, s->size, s->axes);
    put_type(&w_type, type, s->to, s->from / s->groups, s->kernel, s->axes);
    put_type(&y_type, type, s->images, s->to, y, s->axes);
    const char *first = input ? y_type.text : x_type.text,
               *second = weight ? y_type.text : w_type.text,
               *result = input    ? x_type.text
                         : weight ? w_type.text
                                  : y_type.text;
    buffer_printf(out, "function @f%d%s {\n%%0 = parameter : %s\n%%1 = parameter : %s\n", index,
                  mixed ? " mixed" : "", first, second);
    bool along = mixed && index % 2; // the epilogue reads as much as it writes
    int next = along ? 4 : 3;
    buffer_printf(out, "%%2 = parameter : %s[%d]\n", type,
                  input    ? s->from
                  : weight ? s->from / s->groups
                           : s->to);
    if (along)
        buffer_printf(out, "%%3 = parameter : %s\n", result);
    buffer_printf(out, "%%%d", next);
    put_operation(out, op, s);
    buffer_printf(out, "%s\n%%%d = broadcast %%2 axes=[1] : %s\n%%%d = add %%%d, %%%d : %s\n",
                  result, next + 1, result, next + 2, next, next + 1, result);
    if (along)
        buffer_printf(out, "%%%d = mul %%%d, %%3 : %s\n", next + 3, next + 2, result);
    else
        buffer_printf(out, "%%%d = abs %%%d : %s\n", next + 3, next + 2, result);
    buffer_printf(out, "result %%%d\nresult %%%d\n}\n", next + 3, next);
}

// Every `step`-th shape.
static void check_all(const char *cpu, const char *type, bool mixed, int step, double tolerance)
{
    static const char *const ops[] = {"conv", "conv_input", "conv_weight"};
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *messages = "";
    enum { MOST = COUNT_OF(shapes) * COUNT_OF(ops) };
    int count = 0;
    for (size_t i = 0; i < COUNT_OF(shapes); i += (size_t)step)
        for (size_t k = 0; k < COUNT_OF(ops); k++)
            put_function(&text, count++, ops[k], &shapes[i], type, mixed);
    IrModule *module = module_from_text(cx, "conv.ir", text.text, text.length, &messages);
    Case cases[MOST];
    const char *why = module ? NULL : messages;
    for (int i = 0; i < count && module; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%d", i));
    if (!why)
        passes_run(cx, module, "fuse", NULL, NULL);
    if (!why)
        why = cases_load(cx, module, cases, count, cpu);
    for (int i = 0; i < count && !why; i++) {
        const char *differs = case_check(cx, &cases[i], 23, tolerance);
        if (differs)
            why = arena_printf(cx->arena, "%s of shape %d: %s", ops[i % 3], i / 3 * step, differs);
    }
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s %s: %s", cpu, type, shown);
}

static const char *test_cpu;

TEST(f32)
{
    check_all(test_cpu, "f32", false, 1, 2e-4);
}
TEST(f64)
{
    check_all(test_cpu, "f64", false, 3, 1e-11);
}
// Operands rounded to bf16, read as they are stored.
TEST(mixed)
{
    check_all(test_cpu, "f32", true, 2, 2e-4);
}
TEST(f16)
{
    check_all(test_cpu, "f16", false, 4, 3e-2);
}

// Weights that are known are packed when they are compiled.
TEST(constant_weights)
{
    static const char text[] =
        "function @f {\n%0 = parameter : f32[2, 2, 5, 6]\n"
        "%1 = constant value=dense(1, -2, 3, 0.5, 4, -1, 2, 0.25, -3, 1, 5, -0.5) : "
        "f32[3, 2, 1, 2]\n"
        "%2 = conv %0, %1 stride=[1, 2] low=[0, 1] high=[0, 1] dilation=[1, 1] groups=1 : "
        "f32[2, 3, 5, 4]\n"
        "%3 = conv_input %2, %1 stride=[1, 2] low=[0, 1] high=[0, 1] dilation=[1, 1] groups=1 : "
        "f32[2, 2, 5, 6]\nresult %2\nresult %3\n}\n";
    Cx *cx = cx_new();
    const char *why;
    IrModule *module = module_from_text(cx, "constant.ir", text, sizeof text - 1, &why);
    Case one;
    if (module) {
        case_prepare(cx, &one, module, module->function.at[0], "f");
        passes_run(cx, module, "fuse", NULL, NULL);
        why = cases_load(cx, module, &one, 1, test_cpu);
    }
    if (module && !why)
        why = case_check(cx, &one, 5, 1e-5);
    if (why)
        CHECK_FAIL("%s: %s", test_cpu, why);
    cx_free(cx);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    RUN(f32);
    RUN(f64);
    RUN(mixed);
    RUN(f16);
    RUN(constant_weights);
    CHECK_SUMMARY();
}
