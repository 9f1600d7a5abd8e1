// stored.c: few rows times weights in small integers or halves (stored.h), as fast as the weights
// come from memory.
//
// Integers: a group of a row becomes bytes of its own scale, and is multiplied by the quads of
// quads.c: four neighbours of 16 columns are one register of AVX-512, which is multiplied with four
// bytes of the row spread over it. A group's sum is exact; it becomes a float, times both scales.
// The zero points come in once a group, by the sum of the row's bytes.
//
// Halves are widened in registers and multiplied as floats.

#include "kernel.h"
#include "../stored.h"
#include "vector.h"

TEMPLATE float aml_f16_to_f32(uint16_t value);
TEMPLATE float aml_bf16_to_f32(uint16_t value);

typedef int8_t i8v __attribute__((vector_size(AML_WIDTH)));

enum {
    STORED_VECTORS = STORED_COLUMNS / F32_LANES, // of a panel
    STORED_TOGETHER = F32_LANES / 4,             // panels that are computed at once
};

// A row in bytes: q, then the scale of each group, then the sum of each group's bytes.
HELPER int64_t stored_row_bytes(int64_t padded, int64_t groups)
{
    return (padded + 63) / 64 * 64 + (groups * 8 + 63) / 64 * 64;
}

HELPER f32v stored_abs(f32v value)
{
    return (f32v)((i32v)value & 0x7fffffff);
}

HELPER f32v stored_larger(f32v a, f32v b)
{
    return __builtin_elementwise_max(a, b);
}

HELPER f32v stored_row_load(const float *a, int64_t left)
{
    return left >= F32_LANES ? f32_load(a) : left > 0 ? f32_load_some(a, (int)left) : (f32v){};
}

// Rounds to whole numbers, halves to even, by what a float of 2^23 has room for.
HELPER void stored_group_bytes(const float *a, int64_t left, int64_t group, int8_t *q, float *scale,
                               int32_t *sum)
{
    f32v most = {};
    left = left < group ? left : group;
    NO_UNROLL for (int64_t p = 0; p < group; p += F32_LANES) most =
        stored_larger(stored_abs(stored_row_load(a + p, left - p)), most);
    float largest = 0;
    UNROLL for (int i = 0; i < F32_LANES; i++) largest = most[i] > largest ? most[i] : largest;
    *scale = largest / 127.0f;
    float inverse = largest > 0 ? 127.0f / largest : 0;
    i32v total = {};
    f32v magic = f32_splat(12582912.0f);
    NO_UNROLL for (int64_t p = 0; p < group; p += F32_LANES)
    {
        f32v value = stored_row_load(a + p, left - p) * inverse;
        f32v shifted = value + magic;
        i32v whole = (i32v)shifted - (i32v)magic;
        total += whole;
        i8v bytes = __builtin_convertvector(whole, i8v);
        int64_t room = group - p < F32_LANES ? group - p : F32_LANES;
        if (room == F32_LANES) {
            __builtin_memcpy(q + p, &bytes, sizeof bytes);
        } else {
            NO_UNROLL for (int64_t i = 0; i < room; i++) q[p + i] = bytes[i];
        }
    }
    int32_t all = 0;
    UNROLL for (int i = 0; i < F32_LANES; i++) all += total[i];
    *sum = all;
}

HELPER f32v stored_scales(const uint16_t *at)
{
    u16v value;
    __builtin_memcpy(&value, at, sizeof value);
    return f16_widen(value);
}

HELPER i32v stored_zeros(const uint8_t *at)
{
    u8v value;
    __builtin_memcpy(&value, at, sizeof value);
    return __builtin_convertvector(value, i32v);
}

HELPER void stored_out(float *out, int64_t n, int64_t column, f32v value)
{
    if (column + F32_LANES <= n) {
        f32_store(out + column, value);
    } else {
        NO_UNROLL for (int64_t i = column; i < n; i++) out[i] = value[i - column];
    }
}

// `panels` panels from number `panel` on, a constant 1 or STORED_TOGETHER.
HELPER void stored_integers(const uint8_t *b, const uint16_t *scale, const uint8_t *zero,
                            float *out, const int8_t *q, const float *row_scale,
                            const int32_t *row_sum, int64_t n, int64_t groups, int64_t group,
                            int64_t form, int64_t panel, int panels)
{
    f32v result[STORED_TOGETHER][STORED_VECTORS];
    int64_t word = form == STORED_NIBBLES ? 8 : 4, bytes = groups * group / word * 64;
    UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++) result[i][v] = (f32v){};
    }
    NO_UNROLL for (int64_t g = 0; g < groups; g++)
    {
        i32v sum[STORED_TOGETHER][STORED_VECTORS];
        UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++) sum[i][v] = (i32v){};
        }
        const uint8_t *at = b + panel * bytes + g * (group / word) * 64;
        const int8_t *row = q + g * group;
        for (int64_t p = 0; p < group / word; p++) {
            int32_t four[2];
            __builtin_memcpy(four, row + p * word, word == 8 ? 8 : 4);
            i32v left = quad_splat(four[0]), more = quad_splat(word == 8 ? four[1] : 0);
            UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
            {
                UNROLL for (int v = 0; v < STORED_VECTORS; v++)
                {
                    if (i < panels) {
                        const uint8_t *from = at + i * bytes + p * 64 + v * F32_LANES * 4;
                        i32v weights;
                        __builtin_memcpy(&weights, from, sizeof weights);
                        if (form == STORED_NIBBLES) {
                            i32v low = weights & 0x0f0f0f0f;
                            i32v high = (i32v)((u32v)weights >> 4) & 0x0f0f0f0f;
                            sum[i][v] = quad_fma(low, left, sum[i][v]);
                            sum[i][v] = quad_fma(high, more, sum[i][v]);
                        } else {
                            sum[i][v] = quad_fma(weights, left, sum[i][v]);
                        }
                    }
                }
            }
        }
        UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            {
                if (i < panels) {
                    int64_t place = ((panel + i) * groups + g) * STORED_COLUMNS + v * F32_LANES;
                    i32v middle = quad_splat(form == STORED_NIBBLES ? 8 : 128);
                    if (zero)
                        middle = stored_zeros(zero + place);
                    f32v whole = __builtin_convertvector(sum[i][v] - middle * row_sum[g], f32v);
                    f32v both = stored_scales(scale + place) * f32_splat(row_scale[g]);
                    result[i][v] = f32_fma(whole, both, result[i][v]);
                }
            }
        }
    }
    UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++)
        {
            if (i < panels)
                stored_out(out, n, (panel + i) * STORED_COLUMNS + v * F32_LANES, result[i][v]);
        }
    }
}

HELPER void stored_halves(const uint16_t *b, const float *a, float *out, int64_t n, int64_t k,
                          int64_t form, int64_t panel, int panels)
{
    f32v result[STORED_TOGETHER][STORED_VECTORS];
    UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++) result[i][v] = (f32v){};
    }
    const uint16_t *at = b + panel * k * STORED_COLUMNS;
    NO_UNROLL for (int64_t p = 0; p < k; p++)
    {
        f32v left = f32_splat(a[p]);
        UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            {
                if (i < panels) {
                    u16v value;
                    __builtin_memcpy(&value, at + (i * k + p) * STORED_COLUMNS + v * F32_LANES,
                                     sizeof value);
                    f32v weights = form == STORED_F16 ? f16_widen(value) : bf16_widen(value);
                    result[i][v] = f32_fma(left, weights, result[i][v]);
                }
            }
        }
    }
    UNROLL for (int i = 0; i < STORED_TOGETHER; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++)
        {
            if (i < panels)
                stored_out(out, n, (panel + i) * STORED_COLUMNS + v * F32_LANES, result[i][v]);
        }
    }
}

HELPER void stored_panel(const float *a, const void *b, const uint16_t *scale, const uint8_t *zero,
                         float *out, const char *rows, int64_t m, int64_t n, int64_t k,
                         int64_t group, int64_t form, int64_t panel, int panels)
{
    int64_t groups = form >= STORED_BF16 ? 0 : stored_groups(k, group), padded = groups * group;
    NO_UNROLL for (int64_t row = 0; row < m; row++)
    {
        if (form >= STORED_BF16) {
            stored_halves(b, a + row * k, out + row * n, n, k, form, panel, panels);
            continue;
        }
        const int8_t *q = (const int8_t *)rows + row * stored_row_bytes(padded, groups);
        const float *row_scale = (const float *)(const void *)(q + (padded + 63) / 64 * 64);
        stored_integers(b, scale, zero, out + row * n, q, row_scale,
                        (const int32_t *)(const void *)(row_scale + groups), n, groups, group, form,
                        panel, panels);
    }
}

TEMPLATE void aml_dot_stored(const float *a, const void *b, const uint16_t *scale,
                             const uint8_t *zero, float *out, char *scratch, int64_t m, int64_t n,
                             int64_t k, int64_t group, int64_t form, int64_t part_panels,
                             int64_t part_begin, int64_t part_end)
{
    int64_t panels = stored_panels(n), first = part_begin * part_panels,
            last = part_end * part_panels;
    last = last < panels ? last : panels;
    if (form < STORED_BF16) {
        int64_t groups = stored_groups(k, group), padded = groups * group;
        NO_UNROLL for (int64_t row = 0; row < m; row++)
        {
            int8_t *q = (int8_t *)scratch + row * stored_row_bytes(padded, groups);
            float *row_scale = (float *)(void *)(q + (padded + 63) / 64 * 64);
            int32_t *row_sum = (int32_t *)(void *)(row_scale + groups);
            NO_UNROLL for (int64_t g = 0; g < groups; g++)
                stored_group_bytes(a + row * k + g * group, k - g * group, group, q + g * group,
                                   &row_scale[g], &row_sum[g]);
        }
    }
    int64_t panel = first;
    NO_UNROLL for (; panel + STORED_TOGETHER <= last; panel += STORED_TOGETHER)
        stored_panel(a, b, scale, zero, out, scratch, m, n, k, group, form, panel, STORED_TOGETHER);
    if (STORED_TOGETHER > 1) {
        NO_UNROLL for (; panel < last; panel++)
            stored_panel(a, b, scale, zero, out, scratch, m, n, k, group, form, panel, 1);
    }
}

// Columns as rows of floats; a column outside is the nearest one that there is.
TEMPLATE void aml_shared_take_stored(const void *index, int64_t wide, int64_t count, const void *b,
                                     const uint16_t *scale, const uint8_t *zero, float *out,
                                     int64_t columns, int64_t depth, int64_t group, int64_t form)
{
    int64_t groups = form >= STORED_BF16 ? 0 : stored_groups(depth, group), padded = groups * group;
    NO_UNROLL for (int64_t i = 0; i < count; i++)
    {
        int64_t column = wide ? ((const int64_t *)index)[i] : (int64_t)((const int32_t *)index)[i];
        column = column < 0 ? 0 : column >= columns ? columns - 1 : column;
        NO_UNROLL for (int64_t p = 0; p < depth; p++)
        {
            float value;
            if (form >= STORED_BF16) {
                uint16_t half = ((const uint16_t *)b)[stored_half(depth, p, column)];
                value = form == STORED_F16 ? aml_f16_to_f32(half) : aml_bf16_to_f32(half);
            } else {
                int64_t place = stored_scale(groups, p / group, column);
                int middle = zero ? zero[place] : form == STORED_BYTES ? 128 : 8;
                int q = stored_integer(form, b, padded, p, column);
                value = (float)(q - middle) * aml_f16_to_f32(scale[place]);
            }
            out[i * depth + p] = value;
        }
    }
}
