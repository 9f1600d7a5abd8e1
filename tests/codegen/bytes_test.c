// bytes_test: products and convolutions of u8 with constant i8, with the epilogue that makes bytes
// of the sums again, over sizes that fill quads, registers and tiles exactly, almost and not at
// all, compiled for each processor level, against the reference: integers agree in every bit.

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "harness.h"
#include "passes/fuse.h"

static uint32_t noise_state = 7;

static int noise(void)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (int)(noise_state >> 24) - 128;
}

// Weights of both ends of the range are common, so that sums of 16 bits would overflow.
static void put_weights(Buffer *out, int64_t count)
{
    buffer_text(out, "constant value=dense(");
    for (int64_t i = 0; i < count; i++) {
        int value = noise();
        buffer_printf(out, "%s%d", i ? ", " : "", value > 90 ? 127 : value < -90 ? -128 : value);
    }
    buffer_text(out, ")");
}

static void put_epilogue(Buffer *out, const char *shape, int64_t channels, int axis)
{
    buffer_printf(out, "%%2 = cast %%10 : f32%s\n%%3 = constant value=dense(", shape);
    for (int64_t i = 0; i < channels; i++)
        buffer_printf(out, "%s%.9g", i ? ", " : "",
                      (double)(1 + (i * 7 + 3) % 11) / (1 << (axis ? 14 : 13)));
    buffer_printf(out,
                  ") : f32[%lld]\n%%4 = broadcast %%3 axes=[%d] : f32%s\n"
                  "%%5 = mul %%2, %%4 : f32%s\n%%6 = round %%5 : f32%s\n"
                  "%%7 = constant value=splat(37) : f32%s\n%%8 = add %%6, %%7 : f32%s\n"
                  "%%9 = cast %%8 : u8%s\nresult %%9\nresult %%10\n}\n",
                  (long long)channels, axis, shape, shape, shape, shape, shape, shape);
}

typedef struct Product {
    int m, n, k;
    bool columns; // the weights are [n, k]
} Product;
static const Product products[] = {
    {1, 128, 64, false}, {1, 10, 128, false}, {16, 10, 128, true},  {3, 1, 8, false},
    {7, 33, 20, false},  {64, 65, 4, true},   {2, 100, 9000, true}, {1, 17, 7, false},
    {5, 5, 5, true},     {8, 70, 64, false},  {40, 97, 212, true},  {600, 20, 100, true},
    {65, 48, 68, false}, {9, 64, 1604, true},
};

static void put_product(Buffer *out, int index, const Product *p)
{
    const char *shape = arena_printf(out->arena, "[%d, %d]", p->m, p->n);
    buffer_printf(out, "function @f%d {\n%%0 = parameter : u8[%d, %d]\n%%1 = ", index, p->m, p->k);
    put_weights(out, (int64_t)p->n * p->k);
    buffer_printf(out, " : i8[%d, %d]\n", p->columns ? p->n : p->k, p->columns ? p->k : p->n);
    buffer_printf(out, "%%10 = dot %%0, %%1 contract_a=[1] contract_b=[%d] batch_a=[] batch_b=[]",
                  p->columns);
    buffer_printf(out, " : i32%s\n", shape);
    put_epilogue(out, shape, p->n, 1);
}

typedef struct Conv {
    int images, from, to, groups, size[2], kernel[2], stride[2], low[2], high[2], dilation[2];
} Conv;
static const Conv convs[] = {
    {2, 16, 16, 1, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 16, 1, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 16, 32, 1, {14, 14}, {3, 3}, {2, 2}, {0, 0}, {1, 1}, {1, 1}},
    {1, 32, 64, 1, {7, 7}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {1, 6, 33, 1, {9, 13}, {3, 2}, {1, 2}, {1, 0}, {1, 1}, {2, 1}},
    {2, 8, 8, 2, {10, 10}, {5, 5}, {3, 3}, {2, 2}, {1, 0}, {1, 1}},
    {1, 7, 5, 1, {11, 70}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 13, 20, 1, {64, 64}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // in blocks
    {2, 6, 6, 6, {9, 17}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 1}},    // one channel to a group
    {1, 3, 4, 1, {1, 1}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {16, 16, 16, 1, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, // images in parts
    {16, 16, 32, 1, {28, 28}, {1, 1}, {2, 2}, {0, 0}, {0, 0}, {1, 1}},
    {16, 32, 64, 1, {14, 14}, {3, 3}, {4, 4}, {0, 0}, {1, 1}, {1, 1}},
    // What tiles end at: planes of channels, results, positions; groups; blocks of rows.
    {1, 72, 40, 1, {9, 11}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {2, 130, 70, 1, {6, 17}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 48, 24, 2, {13, 33}, {3, 2}, {2, 1}, {1, 0}, {1, 1}, {1, 1}},
    {1, 64, 16, 1, {40, 70}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
};

static void put_conv(Buffer *out, int index, const Conv *c)
{
    int y[2];
    for (int i = 0; i < 2; i++)
        y[i] = (c->size[i] + c->low[i] + c->high[i] - (c->kernel[i] - 1) * c->dilation[i] - 1) /
                   c->stride[i] +
               1;
    const char *shape = arena_printf(out->arena, "[%d, %d, %d, %d]", c->images, c->to, y[0], y[1]);
    buffer_printf(out, "function @f%d {\n%%0 = parameter : u8[%d, %d, %d, %d]\n%%1 = ", index,
                  c->images, c->from, c->size[0], c->size[1]);
    put_weights(out, (int64_t)c->to * c->from / c->groups * c->kernel[0] * c->kernel[1]);
    buffer_printf(out, " : i8[%d, %d, %d, %d]\n%%10 = conv %%0, %%1", c->to, c->from / c->groups,
                  c->kernel[0], c->kernel[1]);
    buffer_printf(out, " stride=[%d, %d] low=[%d, %d] high=[%d, %d] dilation=[%d, %d] groups=%d",
                  c->stride[0], c->stride[1], c->low[0], c->low[1], c->high[0], c->high[1],
                  c->dilation[0], c->dilation[1], c->groups);
    buffer_printf(out, " : i32%s\n", shape);
    put_epilogue(out, shape, c->to, 1);
}

// How many of the sums went to the kernels of bytes.
static int kernels_of(const IrFunction *fn)
{
    int count = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count += inst_nested(inst) ? kernels_of(inst_nested(inst)) : inst_sums_bytes(inst);
    return count;
}

static const char *test_cpu;

static void check_all(bool convolutions, int expected_kernels)
{
    enum { MOST = COUNT_OF(products) > COUNT_OF(convs) ? COUNT_OF(products) : COUNT_OF(convs) };
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *why = "";
    int count = 0, kernels = 0;
    for (size_t i = 0; convolutions && i < COUNT_OF(convs); i++)
        put_conv(&text, count++, &convs[i]);
    for (size_t i = 0; !convolutions && i < COUNT_OF(products); i++)
        put_product(&text, count++, &products[i]);
    IrModule *module = module_from_text(cx, "bytes.ir", text.text, text.length, &why);
    Case cases[MOST];
    for (int i = 0; i < count && module; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%d", i));
    if (module) {
        passes_run(cx, module, "fuse", NULL, NULL);
        for (int i = 0; i < count; i++)
            kernels += kernels_of(cases[i].fn);
        why = cases_load(cx, module, cases, count, test_cpu);
    }
    for (int i = 0; i < count && module && !why; i++) {
        const char *differs = case_check(cx, &cases[i], 23, 0);
        if (differs)
            why = arena_printf(cx->arena, "shape %d: %s", i, differs);
    }
    if (!why && kernels != expected_kernels)
        why = arena_printf(cx->arena, "%d sums have kernels of bytes, expected %d", kernels,
                           expected_kernels);
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s: %s", test_cpu, shown);
}

TEST(dot)
{
    check_all(false, COUNT_OF(products) - 2); // two have a depth that is no multiple of 4
    CHECK(level_used_tiles(test_cpu, true));
}

TEST(conv)
{
    check_all(true, COUNT_OF(convs) - 1); // one has a channel to a group
    CHECK(level_used_tiles(test_cpu, true));
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    if (!level_can_run(test_cpu))
        return 77;
    RUN(dot);
    RUN(conv);
    CHECK_SUMMARY();
}
