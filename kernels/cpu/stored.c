// stored.c: few rows times weights in small integers or halves (stored.h), as fast as the weights
// come from memory.
//
// Integers: a group of a row becomes bytes of its own scale, and is multiplied by the quads of
// quads.c: four neighbours of 16 columns are one register of AVX-512, which is multiplied with four
// bytes of the row spread over it. A group's sum is exact; it becomes a float, times both scales.
// The zero points come in once a group, by the sum of the row's bytes. Rows are made bytes once,
// before the parts of the product begin.
//
// A block of panels is computed at once, so the weights are read in their order, even where the
// sums of the groups before do not fit into registers; of several rows a few share what was read. A
// result is the same sum whatever is computed beside it.
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
    // of several rows: what shares the weights that were read, by the number of registers
    STORED_SHARING = F32_LANES > 4 ? F32_LANES / 8 : 1,
    STORED_ROWS = F32_LANES / 4,
    // bytes that are asked for before they are needed; not where a byte takes so few instructions
    // that the processor sees far enough ahead by itself
    STORED_AHEAD = 8192,
    STORED_AHEAD_BYTES = F32_LANES < 16,
    STORED_LINE = 64,
};

// A row in bytes: q, then the scale of each group, then what its sum of bytes times the zero points
// takes off: times `middle`, or times 1 where weights have zero points of their own.
HELPER int64_t stored_row_bytes(int64_t padded, int64_t groups)
{
    return (padded + 63) / 64 * 64 + (groups * 8 + 63) / 64 * 64;
}

HELPER f32v stored_row_load(const float *a, int64_t left)
{
    return left >= F32_LANES ? f32_load(a) : left > 0 ? f32_load_some(a, (int)left) : (f32v){};
}

// Rounds to whole numbers, halves to even, by what a float of 2^23 has room for. Magnitudes are
// compared as integers, which have the same order, and NaN above all. What is not finite gives a
// scale of NaN, so that it is seen in the result.
HELPER void stored_group_bytes(const float *a, int64_t left, int64_t group, int8_t *q, float *scale,
                               int32_t *off, int32_t middle)
{
    i32v most = {};
    left = left < group ? left : group;
    NO_UNROLL for (int64_t p = 0; p < group; p += F32_LANES) most =
        __builtin_elementwise_max((i32v)stored_row_load(a + p, left - p) & 0x7fffffff, most);
    int32_t bits = __builtin_reduce_max(most);
    float largest;
    __builtin_memcpy(&largest, &bits, sizeof largest);
    *scale = largest / 127.0f + (largest - largest);
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
    *off = -__builtin_reduce_add(total) * middle;
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

// One row as it is multiplied.
typedef struct StoredRow {
    const int8_t *q;
    const float *scale;
    const int32_t *off;
    float *out;
} StoredRow;

// `panels` panels of a block of `count`, from its number `at` on, for `rows` rows. b, scale and
// zero are those of the block; `column` is the first column of these panels. `panels` and `rows`
// are constants.
HELPER void stored_integers(const uint8_t *b, const uint16_t *scale, const uint8_t *zero,
                            const StoredRow *row, int64_t n, int64_t groups, int64_t group,
                            int64_t form, int64_t count, int64_t at, int64_t column, int panels,
                            int rows)
{
    f32v result[STORED_ROWS][STORED_BLOCK][STORED_VECTORS];
    int64_t word = form == STORED_NIBBLES ? 8 : 4;
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++) result[r][i][v] = (f32v){};
    }
    NO_UNROLL for (int64_t g = 0; g < groups; g++)
    {
        i32v sum[STORED_ROWS][STORED_BLOCK][STORED_VECTORS];
        UNROLL for (int i = 0; i < panels; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            {
                int64_t place = (g * count + at + i) * STORED_COLUMNS + v * F32_LANES;
                UNROLL for (int r = 0; r < rows; r++)
                {
                    sum[r][i][v] = quad_splat(row[r].off[g]);
                    if (zero)
                        sum[r][i][v] *= stored_zeros(zero + place);
                }
            }
        }
        const uint8_t *from = b + (g * (group / word) * count + at) * 64;
        uintptr_t ahead = (uintptr_t)from + STORED_AHEAD;
        NO_UNROLL for (int64_t p = 0; p < group / word; p++)
        {
            i32v left[STORED_ROWS], more[STORED_ROWS];
            UNROLL for (int r = 0; r < rows; r++)
            {
                int32_t four[2];
                __builtin_memcpy(four, row[r].q + g * group + p * word, word == 8 ? 8 : 4);
                left[r] = quad_splat(four[0]);
                more[r] = quad_splat(word == 8 ? four[1] : 0);
            }
            UNROLL for (int i = 0; i < panels; i++)
            {
                UNROLL for (int v = 0; v < STORED_VECTORS; v++)
                {
                    i32v weights;
                    __builtin_memcpy(&weights, from + (p * count + i) * 64 + v * F32_LANES * 4,
                                     sizeof weights);
                    if (rows == 1 && (form == STORED_NIBBLES || STORED_AHEAD_BYTES) &&
                        v * F32_LANES * 4 % STORED_LINE == 0)
                        __builtin_prefetch((const void *)(ahead + (uintptr_t)(p * count + i) * 64 +
                                                          v * F32_LANES * 4));
                    i32v low = weights & 0x0f0f0f0f;
                    i32v high = (i32v)((u32v)weights >> 4) & 0x0f0f0f0f;
                    UNROLL for (int r = 0; r < rows; r++)
                    {
                        if (form == STORED_NIBBLES) {
                            sum[r][i][v] = quad_fma(low, left[r], sum[r][i][v]);
                            sum[r][i][v] = quad_fma(high, more[r], sum[r][i][v]);
                        } else {
                            sum[r][i][v] = quad_fma(weights, left[r], sum[r][i][v]);
                        }
                    }
                }
            }
        }
        UNROLL for (int i = 0; i < panels; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            {
                int64_t place = (g * count + at + i) * STORED_COLUMNS + v * F32_LANES;
                f32v scales = stored_scales(scale + place);
                UNROLL for (int r = 0; r < rows; r++)
                {
                    f32v whole = __builtin_convertvector(sum[r][i][v], f32v);
                    result[r][i][v] =
                        f32_fma(whole, scales * f32_splat(row[r].scale[g]), result[r][i][v]);
                }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            stored_out(row[r].out, n, column + i * STORED_COLUMNS + v * F32_LANES, result[r][i][v]);
    }
}

// The same of halves, one row.
HELPER void stored_halves(const uint16_t *b, const float *a, float *out, int64_t n, int64_t k,
                          int64_t form, int64_t count, int64_t at, int64_t column, int panels)
{
    f32v result[STORED_BLOCK][STORED_VECTORS];
    UNROLL for (int i = 0; i < panels; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++) result[i][v] = (f32v){};
    }
    NO_UNROLL for (int64_t p = 0; p < k; p++)
    {
        f32v left = f32_splat(a[p]);
        UNROLL for (int i = 0; i < panels; i++)
        {
            UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            {
                u16v value;
                __builtin_memcpy(&value, b + (p * count + at + i) * STORED_COLUMNS + v * F32_LANES,
                                 sizeof value);
                f32v weights = form == STORED_F16 ? f16_widen(value) : bf16_widen(value);
                result[i][v] = f32_fma(left, weights, result[i][v]);
            }
        }
    }
    UNROLL for (int i = 0; i < panels; i++)
    {
        UNROLL for (int v = 0; v < STORED_VECTORS; v++)
            stored_out(out, n, column + i * STORED_COLUMNS + v * F32_LANES, result[i][v]);
    }
}

HELPER void stored_rows_at(const char *bytes, int64_t row_bytes, int64_t padded, int64_t groups,
                           float *out, int64_t n, int64_t first, StoredRow *row, int rows)
{
    UNROLL for (int r = 0; r < rows; r++)
    {
        row[r].q = (const int8_t *)bytes + (first + r) * row_bytes;
        row[r].scale = (const float *)(const void *)(row[r].q + (padded + 63) / 64 * 64);
        row[r].off = (const int32_t *)(const void *)(row[r].scale + groups);
        row[r].out = out + (first + r) * n;
    }
}

// All rows times the panels `at` to at + panels of a block of `count`, which begins at panel
// `first`. `panels` is a constant: a block, or 1.
HELPER void stored_block(const float *a, const char *b, const uint16_t *scale, const uint8_t *zero,
                         float *out, const char *bytes, int64_t m, int64_t n, int64_t k,
                         int64_t group, int64_t form, int64_t first, int64_t count, int64_t at,
                         int panels)
{
    int64_t column = (first + at) * STORED_COLUMNS, row = 0;
    if (form >= STORED_BF16) {
        const uint16_t *half = (const uint16_t *)(const void *)b + first * k * STORED_COLUMNS;
        NO_UNROLL for (; row < m; row++)
            stored_halves(half, a + row * k, out + row * n, n, k, form, count, at, column, panels);
        return;
    }
    int64_t groups = stored_groups(k, group), padded = groups * group,
            row_bytes = stored_row_bytes(padded, groups);
    const uint8_t *whole =
        (const uint8_t *)b + first * (padded / (form == STORED_NIBBLES ? 8 : 4)) * 64;
    const uint16_t *scales = scale + first * groups * STORED_COLUMNS;
    const uint8_t *zeros = zero ? zero + first * groups * STORED_COLUMNS : zero;
    StoredRow rows[STORED_ROWS];
    if (STORED_ROWS > 1) {
        NO_UNROLL for (; row + STORED_ROWS <= m; row += STORED_ROWS)
        {
            stored_rows_at(bytes, row_bytes, padded, groups, out, n, row, rows, STORED_ROWS);
            if (panels == 1) {
                stored_integers(whole, scales, zeros, rows, n, groups, group, form, count, at,
                                column, 1, STORED_ROWS);
                continue;
            }
            NO_UNROLL for (int i = 0; i < panels; i += STORED_SHARING)
                stored_integers(whole, scales, zeros, rows, n, groups, group, form, count, at + i,
                                column + i * STORED_COLUMNS, STORED_SHARING, STORED_ROWS);
        }
    }
    NO_UNROLL for (; row < m; row++)
    {
        stored_rows_at(bytes, row_bytes, padded, groups, out, n, row, rows, 1);
        stored_integers(whole, scales, zeros, rows, n, groups, group, form, count, at, column,
                        panels, 1);
    }
}

// Rows begin..end of a [m, k] as bytes.
TEMPLATE void aml_stored_rows(const float *a, char *bytes, int64_t k, int64_t group, int64_t middle,
                              int64_t begin, int64_t end)
{
    int64_t groups = stored_groups(k, group), padded = groups * group;
    NO_UNROLL for (int64_t row = begin; row < end; row++)
    {
        int8_t *q = (int8_t *)bytes + row * stored_row_bytes(padded, groups);
        float *scale = (float *)(void *)(q + (padded + 63) / 64 * 64);
        int32_t *off = (int32_t *)(void *)(scale + groups);
        NO_UNROLL for (int64_t g = 0; g < groups; g++)
            stored_group_bytes(a + row * k + g * group, k - g * group, group, q + g * group,
                               &scale[g], &off[g], (int32_t)middle);
    }
}

// `bytes` holds all rows as aml_stored_rows has made them.
TEMPLATE void aml_dot_stored(const float *a, const char *b, const uint16_t *scale,
                             const uint8_t *zero, float *out, const char *bytes, int64_t m,
                             int64_t n, int64_t k, int64_t group, int64_t form, int64_t part_panels,
                             int64_t part_begin, int64_t part_end)
{
    int64_t panels = stored_panels(n), first = part_begin * part_panels,
            last = part_end * part_panels;
    last = last < panels ? last : panels;
    NO_UNROLL for (; first + STORED_BLOCK <= last; first += STORED_BLOCK)
    {
        stored_block(a, b, scale, zero, out, bytes, m, n, k, group, form, first, STORED_BLOCK, 0,
                     STORED_BLOCK);
    }
    NO_UNROLL for (int64_t at = 0; first + at < last; at++) stored_block(
        a, b, scale, zero, out, bytes, m, n, k, group, form, first, last - first, at, 1);
}

// Columns as rows of floats; a column outside is the nearest one that there is.
SHARED void aml_shared_take_stored(const void *index, int64_t wide, int64_t count, const void *b,
                                   const uint16_t *scale, const uint8_t *zero, float *out,
                                   int64_t columns, int64_t depth, int64_t group, int64_t form)
{
    int64_t groups = form >= STORED_BF16 ? 0 : stored_groups(depth, group), padded = groups * group;
    int64_t panels = stored_panels(columns);
    NO_UNROLL for (int64_t i = 0; i < count; i++)
    {
        int64_t column = wide ? ((const int64_t *)index)[i] : (int64_t)((const int32_t *)index)[i];
        column = column < 0 ? 0 : column >= columns ? columns - 1 : column;
        NO_UNROLL for (int64_t p = 0; p < depth; p++)
        {
            float value;
            if (form >= STORED_BF16) {
                uint16_t half = ((const uint16_t *)b)[stored_place(panels, depth, p, column)];
                value = form == STORED_F16 ? aml_f16_to_f32(half) : aml_bf16_to_f32(half);
            } else {
                int64_t place = stored_place(panels, groups, p / group, column);
                int middle = zero ? zero[place] : form == STORED_BYTES ? 128 : 8;
                int q = stored_integer(form, b, panels, padded, p, column);
                value = (float)(q - middle) * aml_f16_to_f32(scale[place]);
            }
            out[i * depth + p] = value;
        }
    }
}
