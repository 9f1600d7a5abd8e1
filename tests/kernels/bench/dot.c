// How fast one specialised product is, against the multiply-add rate that this core reaches in the
// same run. run.py gives M, N, K, TA, TB (transposed operands) and PACKED, and specialises the
// template as amlc does. Prints one line; it is not a test.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels.c"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

typedef struct Output {
    float *out;
    const float *bias;
    int64_t n;
} Output;

HELPER void some(float *to, f32v value, int lanes)
{
#if AML_WIDTH == 16
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << lanes) - 1), (__m512)value);
#else
    for (int i = 0; i < lanes; i++)
        to[i] = value[i];
#endif
}

// Bias and relu, as a layer does.
HELPER void epilogue(void *context, int64_t row, int64_t column, int lanes, f32v value)
{
    const Output *o = context;
    value += f32_load_some(o->bias + column, lanes);
    value = (f32v)((value > 0) & (i32v)value);
    if (lanes == F32_LANES)
        f32_store(o->out + row * o->n + column, value);
    else
        some(o->out + row * o->n + column, value, lanes);
}

static AmlDot plan(void)
{
    AmlDot d = {.bytes = 4,
                .half = HALF ? AML_HALF_BF16 : AML_HALF_NONE,
                .lanes = F32_LANES,
                .m = M,
                .n = N,
                .k = K,
                .a_row = TA ? 1 : K,
                .a_k = TA ? M : 1,
                .b_k = TB ? 1 : N,
                .b_column = TB ? K : 1,
                .b_packed = PACKED};
    aml_dot_plan(&d);
    return d;
}

// What amlc makes of a product: called through a pointer, so that the compiler does not look
// through the calls.
static void product(const float *a, const float *b, void *scratch, Output *o)
{
    AmlDot d = plan();
    if (HALF) {
        aml_dot_half((const uint16_t *)a, (const uint16_t *)b, scratch, d.m, d.n, d.k, d.a_row,
                     d.a_k, d.b_k, d.b_column, d.half, d.tile_rows, d.tile_vectors, d.k_block,
                     d.row_block, d.part_rows, d.part_columns, 0, d.parts, epilogue, o);
        return;
    }
    aml_dot_f32(a, b, scratch, d.m, d.n, d.k, d.a_row, d.a_k, d.b_packed ? d.panel : d.b_k,
                d.b_column, d.method, d.tile_rows, d.tile_vectors, d.k_block, d.row_block,
                d.part_rows, d.part_columns, 0, d.parts, epilogue, o);
}

static double roof(void)
{
    f32v sum[12], x = (f32v){} + 0.999999f, y = (f32v){} + 1e-7f;
    for (int i = 0; i < 12; i++)
        sum[i] = (f32v){} + (float)i;
    double best = 1e30;
    for (int round = 0; round < 20; round++) {
        double start = now();
        NO_UNROLL for (int n = 0; n < 100000; n++)
        {
            UNROLL for (int i = 0; i < 12; i++) sum[i] = f32_fma(sum[i], x, y);
            __asm__ volatile("" : : : "memory");
        }
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    f32v all = {};
    for (int i = 0; i < 12; i++)
        all += sum[i];
    volatile float keep = all[0];
    (void)keep;
    return 12.0 * 100000 * F32_LANES * 2 / best * 1e-3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *numbers(size_t count)
{
    float *at = aligned_alloc(64, (count * 4 + 63) / 64 * 64);
    for (size_t i = 0; i < count; i++)
        at[i] = (float)(rand() % 1000) * 0.001f - 0.5f;
    return at;
}

// As bf16, in the same place.
static void narrow(float *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint16_t *)at)[i] = aml_f32_to_bf16(at[i]);
}

int main(void)
{
    void (*volatile run)(const float *, const float *, void *, Output *) = product;
    double peak = roof();
    AmlDot d = plan();
    float *a = numbers((size_t)(d.m * d.k)), *b = numbers((size_t)((d.n + 64) * d.k)),
          *bias = numbers((size_t)d.n);
    if (HALF)
        narrow(a, (size_t)(d.m * d.k)), narrow(b, (size_t)(d.n * d.k));
    Output o = {numbers((size_t)(d.m * d.n)), bias, d.n};
    void *scratch = aligned_alloc(64, (d.scratch_bytes + 127) / 64 * 64);
    double flops = 2.0 * (double)d.m * (double)d.n * (double)d.k;
    int repeat = (int)(2e7 / flops) + 1;
    double times[15];
    for (int i = 0; i < 15; i++) {
        double start = now();
        for (int r = 0; r < repeat; r++) {
            run(a, b, scratch, &o);
            __asm__ volatile("" : : : "memory");
        }
        times[i] = (now() - start) / repeat;
    }
    qsort(times, 15, sizeof *times, compare);
    char name[64];
    snprintf(name, sizeof name, "%dx%dx%d%s%s%s%s", M, N, K, TA ? " A'" : "", TB ? " B'" : "",
             PACKED ? " packed" : "", HALF ? " bf16" : "");
    printf("%-24s %2d lanes  method %d tile %2dx%d  %10.2f us  %7.1f GFLOP/s  %3.0f%% of %5.1f  B "
           "at %6.1f GB/s\n",
           name, F32_LANES, (int)d.method, (int)d.tile_rows, (int)d.tile_vectors, times[7],
           flops / times[7] * 1e-3, flops / times[7] * 1e-1 / peak, peak,
           (double)(d.n * d.k) * 4 / times[7] * 1e-3);
    free(a), free(b), free(bias), free(o.out), free(scratch);
    return 0;
}
