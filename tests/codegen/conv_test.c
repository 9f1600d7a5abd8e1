// conv_test: convolutions over sizes that fill tiles, rows and registers exactly, almost and not at
// all, whose images are copied in blocks or not at all, compiled for each processor level, against
// the reference.

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu/conv.h"
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
    {2, 2, 24, 20, 1, {50, 50}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 2}}, // in blocks
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
    {2, 2, 70, 40, 1, {7, 20}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 8, 8, 1, {5, 40}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 24, 76, 2, {9, 17}, {2, 3}, {2, 1}, {1, 0}, {0, 1}, {1, 2}},
    {2, 3, 33, 20, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 3, 70, 84, 2, {6, 7}, {3, 2}, {1, 1}, {1, 1}, {1, 0}, {1, 1}}, // odd channels in each group
    {2, 1, 4, 4, 1, {3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 2, 262, 128, 2, {3, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // weights in uneven parts
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

static void put_attributes(Buffer *out, const char *op, const Shape *s)
{
    put_list(out, "stride", s->stride, s->axes);
    put_list(out, "low", s->low, s->axes);
    put_list(out, "high", s->high, s->axes);
    put_list(out, "dilation", s->dilation, s->axes);
    buffer_printf(out, " groups=%d%s : ", s->groups, strcmp(op, "conv_weight") ? "" : " split=0");
}

// Of values number `first` and the next.
static void put_operation(Buffer *out, const char *op, const Shape *s, int first)
{
    buffer_printf(out, " = %s %%%d, %%%d", op, first, first + 1);
    put_attributes(out, op, s);
}

static void result_size(const Shape *s, int y[3])
{
    for (int i = 0; i < s->axes; i++)
        y[i] = (s->size[i] + s->low[i] + s->high[i] - (s->kernel[i] - 1) * s->dilation[i] - 1) /
                   s->stride[i] +
               1;
}

// The types of a convolution's or a gradient's operands, and of what it makes.
static void put_types(Arena *arena, const char *op, const Shape *s, const char *type,
                      const char **first, const char **second, const char **result)
{
    int y[3];
    result_size(s, y);
    bool input = strcmp(op, "conv_input") == 0, weight = strcmp(op, "conv_weight") == 0;
    Buffer x_type = {.arena = arena}, w_type = x_type, y_type = x_type;
    put_type(&x_type, type, s->images, s->from, s->size, s->axes);
    put_type(&w_type, type, s->to, s->from / s->groups, s->kernel, s->axes);
    put_type(&y_type, type, s->images, s->to, y, s->axes);
    *first = input ? y_type.text : x_type.text;
    *second = weight ? y_type.text : w_type.text;
    *result = input ? x_type.text : weight ? w_type.text : y_type.text;
}

// The convolution or a gradient of it, then something in its epilogue.
static void put_function(Buffer *out, int index, const char *op, const Shape *s, const char *type,
                         bool mixed)
{
    bool input = strcmp(op, "conv_input") == 0, weight = strcmp(op, "conv_weight") == 0;
    const char *first, *second, *result;
    put_types(out->arena, op, s, type, &first, &second, &result);
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
    put_operation(out, op, s, 0);
    buffer_printf(out, "%s\n%%%d = broadcast %%2 axes=[1] : %s\n%%%d = add %%%d, %%%d : %s\n",
                  result, next + 1, result, next + 2, next, next + 1, result);
    if (along)
        buffer_printf(out, "%%%d = mul %%%d, %%3 : %s\n", next + 3, next + 2, result);
    else
        buffer_printf(out, "%%%d = abs %%%d : %s\n", next + 3, next + 2, result);
    buffer_printf(out, "result %%%d\nresult %%%d\n}\n", next + 3, next);
}

// The convolution or its gradient, as it is and multiplied with what is read along, and both summed
// up over all positions of a channel.
static void put_sums(Buffer *out, int index, const char *op, const Shape *s, const char *type)
{
    int y[3];
    result_size(s, y);
    bool input = strcmp(op, "conv_input") == 0;
    Buffer parameters = {.arena = out->arena}, sum = parameters, result = parameters;
    put_type(&result, type, s->images, input ? s->from : s->to, input ? s->size : y, s->axes);
    buffer_printf(&sum, "%s[%d, %d]", type, s->images, input ? s->from : s->to);
    for (int inside = 0; inside < 2; inside++) {
        buffer_printf(&parameters, "%%%d = parameter : ", 4 * inside);
        put_type(&parameters, type, s->images, input ? s->to : s->from, input ? y : s->size,
                 s->axes);
        buffer_printf(&parameters, "\n%%%d = parameter : ", 4 * inside + 1);
        put_type(&parameters, type, s->to, s->from / s->groups, s->kernel, s->axes);
        buffer_printf(&parameters, "\n%%%d = parameter : %s\n%s", 4 * inside + 2, result.text,
                      inside ? "" : "%3 = fused %0, %1, %2 body={\n");
    }
    buffer_printf(out, "function @f%d {\n%s%%7", index, parameters.text);
    put_operation(out, op, s, 4);
    buffer_printf(out, "%s\n%%8 = mul %%7, %%6 : %s\n", result.text, result.text);
    const char *axes = s->axes == 1 ? "2" : s->axes == 2 ? "2, 3" : "2, 3, 4";
    for (int of = 7; of <= 8; of++)
        buffer_printf(out, "%%%d = reduce %%%d with=sum axes=[%s] : %s\n", of + 2, of, axes,
                      sum.text);
    buffer_printf(out, "result %%9\nresult %%7\nresult %%10\n} : %s, %s, %s\n", sum.text,
                  result.text, sum.text);
    for (int i = 0; i < 3; i++)
        buffer_printf(out, "%%%d = get %%3 index=%d : %s\n", 11 + i, i,
                      i == 1 ? result.text : sum.text);
    buffer_text(out, "result %11\nresult %12\nresult %13\n}\n");
}

// The convolution or a gradient of it, whose first operand is computed where it is copied, and is
// nowhere 0: what lies around it is not computed.
static void put_prologue(Buffer *out, int index, const char *op, const Shape *s, const char *type)
{
    bool input = strcmp(op, "conv_input") == 0;
    Buffer parameters = {.arena = out->arena};
    const char *first, *second, *result;
    put_types(out->arena, op, s, type, &first, &second, &result);
    for (int inside = 0; inside < 2; inside++)
        buffer_printf(&parameters,
                      "%%%d = parameter : %s[%d]\n%%%d = parameter : %s\n%%%d = parameter : %s\n%s",
                      4 * inside, type, input ? s->to : s->from, 4 * inside + 1, first,
                      4 * inside + 2, second, inside ? "" : "%3 = fused %0, %1, %2 body={\n");
    buffer_printf(out,
                  "function @f%d {\n%s%%7 = broadcast %%4 axes=[1] : %s\n%%8 = mul %%5, %%7 : %s\n"
                  "%%9 = constant value=splat(0.25) : %s\n%%10 = max %%9, %%8 : %s\n",
                  index, parameters.text, first, first, first, first);
    buffer_printf(out, "%%11 = %s %%10, %%6", op);
    put_attributes(out, op, s);
    buffer_printf(out, "%s\nresult %%11\n} : %s\nresult %%3\n}\n", result, result);
}

typedef enum { EPILOGUE_PLAIN, EPILOGUE_MIXED, EPILOGUE_SUMS, PROLOGUE } Epilogue;

// Every `step`-th of the shapes.
static void check_shapes(const char *cpu, const Shape list[], size_t in_list, const char *type,
                         Epilogue epilogue, int step, double tolerance)
{
    static const char *const ops[] = {"conv", "conv_input", "conv_weight"};
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *messages = "";
    int count = 0, each = epilogue == EPILOGUE_SUMS ? 2 : 3;
    for (size_t i = 0; i < in_list; i += (size_t)step)
        for (int k = 0; k < each; k++, count++) {
            const Shape *s = &list[i];
            bool by_itself = s->groups == s->from && s->groups == s->to; // then it has none
            if (epilogue == EPILOGUE_SUMS)
                put_sums(&text, count, ops[k], s, type);
            else if (epilogue == PROLOGUE && !by_itself)
                put_prologue(&text, count, ops[k], s, type);
            else
                put_function(&text, count, ops[k], s, type, epilogue == EPILOGUE_MIXED);
        }
    IrModule *module = module_from_text(cx, "conv.ir", text.text, text.length, &messages);
    Case *cases = NEW_ARRAY(cx->arena, Case, count + 1);
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
            why = arena_printf(cx->arena, "%s of shape %d: %s", ops[i % each], i / each * step,
                               differs);
    }
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s %s: %s", cpu, type, shown);
}

static void check_all(const char *cpu, const char *type, Epilogue epilogue, int step,
                      double tolerance)
{
    check_shapes(cpu, shapes, COUNT_OF(shapes), type, epilogue, step, tolerance);
}

// Lanes are positions where registers have 64 bytes: one row or several, and what is left of both;
// registers that a row does not fill; blocks of rows; groups; a copy, none, and none to read
// beyond.
static const Shape lined[] = {
    {2, 2, 3, 6, 1, {13, 28}, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}},
    {2, 2, 16, 6, 1, {14, 14}, {5, 5}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 3, 5, 16, 1, {7, 32}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 4, 7, 1, {6, 80}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 4, 10, 1, {5, 90}, {3, 2}, {1, 1}, {2, 0}, {0, 3}, {1, 1}},
    {2, 2, 8, 12, 2, {9, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 3, 5, 1, {11, 34}, {3, 3}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 2, 3, 5, 1, {11, 33}, {3, 3}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 1, 3, 4, 1, {150, 160}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
    {2, 3, 20, 16, 1, {8, 8}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {1, 3, 1, 3, 1, {48}, {7}, {1}, {3}, {3}, {1}},
    {3, 2, 2, 4, 1, {3, 5, 16}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
};

static const char *test_cpu;

TEST(lanes_are_positions)
{
    check_shapes(test_cpu, lined, COUNT_OF(lined), "f32", EPILOGUE_PLAIN, 1, 2e-4);
    check_shapes(test_cpu, lined, COUNT_OF(lined), "f32", EPILOGUE_MIXED, 1, 2e-4);
}
TEST(f32)
{
    check_all(test_cpu, "f32", EPILOGUE_PLAIN, 1, 2e-4);
}
TEST(f64)
{
    check_all(test_cpu, "f64", EPILOGUE_PLAIN, 3, 1e-11);
}
// An image's sums, over registers that are full or not, rows, blocks and phases.
TEST(sums_of_channels)
{
    check_all(test_cpu, "f32", EPILOGUE_SUMS, 1, 2e-4);
    check_all(test_cpu, "f64", EPILOGUE_SUMS, 3, 1e-11);
    check_shapes(test_cpu, lined, COUNT_OF(lined), "f32", EPILOGUE_SUMS, 1, 2e-4);
}
// Registers that a row fills or not, blocks, groups, strides; what would be read where it is.
TEST(prologues)
{
    check_all(test_cpu, "f32", PROLOGUE, 2, 2e-4);
    check_all(test_cpu, "f64", PROLOGUE, 3, 1e-11);
    check_shapes(test_cpu, lined, COUNT_OF(lined), "f32", PROLOGUE, 1, 2e-4);
}
// Operands rounded to bf16, read as they are stored.
TEST(mixed)
{
    check_all(test_cpu, "f32", EPILOGUE_MIXED, 2, 2e-4);
    CHECK(level_used_tiles(test_cpu, false));
}

// Gradients for weights whose lanes are positions (conv_along.h), where bf16 is multiplied in
// pairs: rows that fill registers, are a part of them, or neither; positions that fill none; both
// heights of tiles, the last ones cut; strides, groups, a source that is read where it is; images
// in blocks, whose sums wait.
static const Shape along[] = {
    {2, 4, 3, 16, 1, {32, 32}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 3, 5, 18, 1, {16, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 7, 2, 7, 1, {8, 8}, {3, 3}, {1, 1}, {0, 2}, {2, 0}, {1, 1}},
    {2, 9, 1, 6, 1, {28, 28}, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}},
    {2, 3, 4, 9, 1, {20, 70}, {2, 3}, {1, 1}, {0, 1}, {1, 1}, {1, 1}},
    {2, 3, 3, 5, 1, {31, 45}, {3, 3}, {2, 2}, {1, 1}, {1, 0}, {1, 1}},
    {2, 5, 6, 8, 2, {13, 19}, {3, 2}, {2, 1}, {2, 0}, {0, 1}, {2, 3}},
    {2, 2, 7, 3, 1, {50, 40}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 5, 4, 20, 2, {9, 15}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 3, 14, 10, 1, {24, 24}, {1, 1}, {2, 2}, {0, 0}, {0, 0}, {1, 1}},
    {2, 5, 2, 4, 1, {40, 64}, {4, 3}, {3, 1}, {1, 1}, {0, 1}, {1, 1}},
    {2, 1, 3, 6, 1, {130, 150}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 3, 2, 5, 1, {300}, {5}, {1}, {2}, {2}, {2}},
};

static AmlConvWeight weight_plan(const Shape *s)
{
    AmlConvWeight c = {.bytes = 4,
                       .lanes = 16,
                       .half = AML_HALF_PAIRS,
                       .images = s->images,
                       .groups = s->groups,
                       .split = 1,
                       .from = s->from / s->groups,
                       .to = s->to / s->groups};
    for (int axis = 0; axis < 3; axis++) {
        int i = axis - 3 + s->axes;
        bool there = i >= 0;
        c.source[axis] = there ? s->size[i] : 1;
        c.kernel[axis] = there ? s->kernel[i] : 1;
        c.stride[axis] = there ? s->stride[i] : 1;
        c.low[axis] = there ? s->low[i] : 0;
        c.dilation[axis] = there ? s->dilation[i] : 1;
        int64_t high = there ? s->high[i] : 0, reach = (c.kernel[axis] - 1) * c.dilation[axis];
        c.result[axis] = (c.source[axis] + c.low[axis] + high - reach - 1) / c.stride[axis] + 1;
    }
    if (!aml_conv_weight_plan(&c))
        c.along = 0;
    return c;
}

TEST(gradients_along_positions)
{
    bool four = false, six = false, direct = false, copied = false, waits = false;
    for (size_t i = 0; i < COUNT_OF(along); i++) {
        AmlConvWeight c = weight_plan(&along[i]);
        if (c.along == 0)
            CHECK_FAIL("shape %d is not computed so", (int)i);
        four = four || c.along == 4;
        six = six || c.along == 6;
        direct = direct || c.direct;
        copied = copied || !c.direct;
        waits = waits || c.block_images < c.images;
    }
    CHECK(four && six && direct && copied && waits);
    check_shapes(test_cpu, along, COUNT_OF(along), "f32", EPILOGUE_MIXED, 1, 2e-4);
}

TEST(f16)
{
    check_all(test_cpu, "f16", EPILOGUE_PLAIN, 4, 3e-2);
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

// Channels last, of the result alone or of both, with constant weights: the shapes above but for
// the transposed ones, and these, which are computed by Winograd where registers have 64 bytes.
static const Shape winograd[] = {
    {2, 2, 16, 33, 1, {9, 29}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 64, 64, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 3, 16, 16, 1, {13, 18}, {3, 3}, {1, 1}, {0, 2}, {1, 0}, {1, 1}},
    {2, 1, 32, 48, 1, {31, 30}, {3, 3}, {1, 1}, {0, 0}, {0, 0}, {1, 1}}, // in blocks
    {2, 1, 16, 40, 1, {16, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 48, 20, 1, {5, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {1, 1}},
    {2, 2, 80, 112, 1, {13, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // large weights
};

// Half a register of channels, at each level, and rows of all kinds of tiles.
static const Shape halves[] = {
    {2, 2, 3, 8, 1, {13, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}}, // even and odd columns
    {2, 1, 3, 8, 1, {90, 96}, {3, 3}, {2, 2}, {0, 0}, {1, 1}, {1, 1}},
    {2, 1, 2, 8, 1, {9, 75}, {7, 7}, {2, 2}, {3, 3}, {3, 4}, {1, 1}},
    {2, 1, 2, 8, 1, {9, 40}, {3, 3}, {2, 2}, {2, 2}, {2, 1}, {2, 2}},
    {2, 1, 2, 8, 1, {7, 5}, {3, 8}, {1, 2}, {1, 5}, {1, 7}, {1, 1}},
    {2, 2, 3, 8, 1, {9, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 3, 8, 1, {6, 6}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {3, 2, 2, 8, 1, {4, 5, 36}, {2, 3, 3}, {1, 1, 2}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {2, 2, 3, 4, 1, {13, 36}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 3, 2, 1, {13, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 8, 8, 8, {9, 17}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // one channel to a group
    {2, 1, 8, 8, 8, {5, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 8, 8, 8, {5, 48}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {2, 2}},
    {2, 1, 8, 8, 8, {6, 30}, {3, 11}, {1, 1}, {1, 5}, {1, 5}, {1, 1}},
    {2, 2, 4, 4, 4, {9, 18}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 2, 2, 2, {9, 18}, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}},
    {2, 1, 40, 40, 40, {7, 25}, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}},
    {2, 1, 16, 16, 16, {7, 5}, {7, 7}, {1, 1}, {3, 3}, {3, 3}, {1, 1}},
    {2, 1, 17, 17, 17, {7, 33}, {3, 3}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {2, 1, 16, 16, 16, {7, 33}, {3, 3}, {1, 1}, {0, 0}, {2, 2}, {1, 1}},
    {2, 1, 16, 16, 16, {7, 33}, {3, 7}, {1, 1}, {0, 15}, {2, 12}, {1, 1}},
};

static void put_weights(Buffer *out, int count)
{
    uint32_t draw = 12345;
    buffer_text(out, "dense(");
    for (int i = 0; i < count; i++) {
        draw = draw * 1664525u + 1013904223u;
        buffer_printf(out, "%s%g", i ? ", " : "", ((int)(draw >> 26) - 32) / 64.0);
    }
    buffer_text(out, ")");
}

// y[i] and x[i] are the sizes of result and input.
static void put_last_type(Buffer *out, int images, int channels, const int size[], int axes)
{
    buffer_printf(out, "f32[%d", images);
    for (int i = 0; i < axes; i++)
        buffer_printf(out, ", %d", size[i]);
    buffer_printf(out, ", %d]", channels);
}

static void put_last(Buffer *out, int index, const Shape *s, int last)
{
    int y[3], count = s->to * (s->from / s->groups);
    for (int i = 0; i < s->axes; i++) {
        y[i] = (s->size[i] + s->low[i] + s->high[i] - (s->kernel[i] - 1) * s->dilation[i] - 1) /
                   s->stride[i] +
               1;
        count *= s->kernel[i];
    }
    Buffer x_type = {.arena = out->arena}, w_type = x_type, y_type = x_type;
    if (last == 2)
        put_last_type(&x_type, s->images, s->from, s->size, s->axes);
    else
        put_type(&x_type, "f32", s->images, s->from, s->size, s->axes);
    put_type(&w_type, "f32", s->to, s->from / s->groups, s->kernel, s->axes);
    put_last_type(&y_type, s->images, s->to, y, s->axes);
    buffer_printf(out, "function @f%d {\n%%0 = parameter : %s\n%%1 = parameter : f32[%d]\n", index,
                  x_type.text, s->to);
    buffer_text(out, "%2 = constant value=");
    put_weights(out, count);
    buffer_printf(out, " : %s\n%%3 = conv %%0, %%2", w_type.text);
    put_list(out, "stride", s->stride, s->axes);
    put_list(out, "low", s->low, s->axes);
    put_list(out, "high", s->high, s->axes);
    put_list(out, "dilation", s->dilation, s->axes);
    buffer_printf(out, " groups=%d last=%d : %s\n%%4 = broadcast %%1 axes=[%d] : %s\n", s->groups,
                  last, y_type.text, s->axes + 1, y_type.text);
    buffer_printf(out, "%%5 = add %%3, %%4 : %s\n%%6 = abs %%5 : %s\nresult %%6\nresult %%3\n}\n",
                  y_type.text, y_type.text);
}

static void check_last(const Shape list[], int shapes_in_list, double tolerance)
{
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *messages = "";
    int count = 0;
    for (int i = 0; i < shapes_in_list; i++)
        for (int last = 1; last <= 2; last++)
            put_last(&text, count++, &list[i], last);
    IrModule *module = module_from_text(cx, "last.ir", text.text, text.length, &messages);
    Case *cases = NEW_ARRAY(cx->arena, Case, count);
    const char *why = module ? NULL : messages;
    for (int i = 0; i < count && module; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%d", i));
    if (!why)
        passes_run(cx, module, "fuse", NULL, NULL);
    if (!why)
        why = cases_load(cx, module, cases, count, test_cpu);
    for (int i = 0; i < count && !why; i++) {
        const char *differs = case_check(cx, &cases[i], 23, tolerance);
        if (differs)
            why = arena_printf(cx->arena, "shape %d, last=%d: %s", i / 2, i % 2 + 1, differs);
    }
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s: %s", test_cpu, shown);
}

TEST(last_channels)
{
    check_last(shapes, COUNT_OF(shapes), 1e-4);
}
TEST(half_registers)
{
    check_last(halves, COUNT_OF(halves), 1e-4);
}
TEST(winograd_tiles) // differences of sums of up to 720 products
{
    check_last(winograd, COUNT_OF(winograd), 2e-4);
}

// Which sides the rule chooses, so that a test of both is one.
TEST(winograd_sides)
{
    static const struct {
        int64_t from, to, size, side;
    } expected[] = {
        {16, 16, 32, 4}, {32, 32, 16, 4}, {64, 64, 8, 2}, {512, 512, 7, 0}, {8, 8, 32, 0}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        int64_t size = expected[i].size;
        AmlConv c = {.bytes = 4,
                     .lanes = 16,
                     .last = 2,
                     .images = 1,
                     .groups = 1,
                     .channels = expected[i].from,
                     .from = expected[i].from,
                     .to = expected[i].to,
                     .source = {1, size, size},
                     .result = {1, size, size},
                     .kernel = {1, 3, 3},
                     .stride = {1, 1, 1},
                     .low = {0, 1, 1},
                     .dilation = {1, 1, 1}};
        CHECK(aml_conv_plan(&c));
        CHECK_INT(c.side, expected[i].side);
    }
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    if (!level_can_run(test_cpu))
        return 77;
    if (strcmp(test_cpu, "x86-64-v4-amx") == 0) { // which differs from others in nothing else
        RUN(mixed);
        CHECK_SUMMARY();
    }
    RUN(f32);
    RUN(lanes_are_positions);
    RUN(f64);
    RUN(sums_of_channels);
    RUN(prologues);
    RUN(mixed);
    RUN(gradients_along_positions);
    RUN(f16);
    RUN(constant_weights);
    RUN(last_channels);
    RUN(half_registers);
    RUN(winograd_tiles);
    RUN(winograd_sides);
    CHECK_SUMMARY();
}
