// attend_pairs.c: attention of bf16 whose products take two terms in each lane at once and are
// summed in f32 (attend.h has the picture, attend.c the form for f32). Scores, weights and their
// slopes are f32; where they are multiplied they are rounded to bf16, as operands are everywhere.
//
// A word is a pair: two neighbours of a row, or two rows, zipped. What is contracted decides:
//
//   scores, slopes of weights   over size, width   words of rows          K, V turned around
//   values                      over keys          words of weights       V zipped
//   gradient of q               over keys          words of slopes        K zipped
//   gradients of k, v           over queries       weights, slopes zipped q, dy zipped
//
// Only targets with the instruction call these.

#include "attend.h"
#include "kernel.h"
#include "vector.h"

TEMPLATE void attend_pairs_head(const uint16_t *q, const uint8_t *mask, float *y, float *lse,
                                float *scratch, ATTEND_SIZES, int64_t masked, int64_t q_step);
TEMPLATE void attend_pairs_head_back(const uint16_t *q, const uint8_t *mask, const float *lse,
                                     const float *delta, const uint16_t *dy, float *dq,
                                     float *scratch, ATTEND_SIZES, int64_t masked, int64_t q_step,
                                     int64_t dq_step);
TEMPLATE void attend_pairs_product(const float *a, int64_t a_row, int64_t a_k, const float *b,
                                   int64_t b_k, float *c, int64_t c_row, int64_t rows,
                                   int64_t columns, int64_t k, int64_t add, float scale);
TEMPLATE void attend_pairs_turn(const uint16_t *from, int64_t step, int64_t rows, int64_t size,
                                int64_t room, float *out);
TEMPLATE void attend_pairs_words(const uint16_t *from, int64_t step, int64_t rows,
                                 int64_t rows_room, int64_t size, int64_t room, float *out);
TEMPLATE void attend_pairs_zip(const uint16_t *from, int64_t step, int64_t rows, int64_t rows_room,
                               int64_t size, int64_t room, float *out);

HELPER u16v attend_narrow(f32v value)
{
#ifdef __AVX512BF16__
    return (u16v)_mm512_cvtneps_pbh((__m512)value);
#else
    u32v bits = (u32v)value, odd = bits >> 16 & 1, nan = (u32v)(value != value);
    bits = ((bits + 0x7fff + odd) & ~nan) | ((bits | 0x400000) & nan);
    return __builtin_convertvector(bits >> 16, u16v);
#endif
}

// Two registers of a row as words.
HELPER f32v attend_words(f32v first, f32v second)
{
#ifdef __AVX512BF16__
    return (f32v)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
    u16v part[2] = {attend_narrow(first), attend_narrow(second)};
    f32v words;
    __builtin_memcpy(&words, part, sizeof words);
    return words;
#endif
}

HELPER int64_t attend_word_room(int64_t size)
{
    return attend_room((size + 1) / 2, F32_LANES);
}

// ---- forward

TEMPLATE void aml_attend_pairs(const uint16_t *q, const uint16_t *k, const uint16_t *v,
                               const uint8_t *mask, float *y, float *lse, float *scratch,
                               ATTEND_SIZES, ATTEND_MASK, ATTEND_STEPS, int64_t begin, int64_t end)
{
    int64_t room = attend_key_room(keys), width_room = attend_room(width, F32_LANES);
    float *turned = scratch, *values = turned + room * attend_word_room(size),
          *rest = values + room / 2 * width_room;
    int64_t known = -1;
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t image = unit / heads, head = unit % heads, group = head / (heads / groups);
        if (image * groups + group != known) {
            known = image * groups + group;
            attend_pairs_turn(k + image * keys * k_step + group * size, k_step, keys, size, room,
                              turned);
            attend_pairs_zip(v + image * keys * v_step + group * width, v_step, keys, room, width,
                             width_room, values);
        }
        attend_pairs_head(q + image * queries * q_step + head * size,
                          mask + image * mask_image + head * mask_head,
                          y + (image * queries * heads + head) * width, lse + unit * queries, rest,
                          queries, heads, size, keys, width, causal, half, factor, masked, q_step);
    }
}

TEMPLATE void attend_pairs_head(const uint16_t *q, const uint8_t *mask, float *y, float *lse,
                                float *scratch, ATTEND_SIZES, int64_t masked, int64_t q_step)
{
    int64_t room = attend_key_room(keys), words = attend_word_room(size),
            width_room = attend_room(width, F32_LANES), unit = 2 * F32_LANES;
    (void)half;
    const float *turned = scratch - room * words - room / 2 * width_room,
                *values = turned + room * words;
    float *block = scratch, *sums = block + AML_ATTEND_ROWS * words,
          *scores = sums + AML_ATTEND_ROWS * width_room,
          *weights = scores + AML_ATTEND_ROWS * AML_ATTEND_KEYS;
    NO_UNROLL for (int64_t first = 0; first < queries; first += AML_ATTEND_ROWS)
    {
        int64_t rows = queries - first < AML_ATTEND_ROWS ? queries - first : AML_ATTEND_ROWS,
                rows_room = attend_room(rows, 8);
        float most[AML_ATTEND_ROWS], sum[AML_ATTEND_ROWS];
        NO_UNROLL for (int i = 0; i < AML_ATTEND_ROWS; i++) most[i] = -__builtin_inff(), sum[i] = 0;
        attend_pairs_words(q + first * q_step, q_step, rows, rows_room, size, words, block);
        int64_t last = causal ? first + rows + keys - queries : keys;
        NO_UNROLL for (int64_t key = 0; key < last; key += AML_ATTEND_KEYS)
        {
            int64_t here = last - key < AML_ATTEND_KEYS ? last - key : AML_ATTEND_KEYS,
                    columns = attend_room(here, unit);
            attend_pairs_product(block, words, 1, turned + key, room, scores, AML_ATTEND_KEYS,
                                 rows_room, columns, (size + 1) / 2, 0, factor);
            NO_UNROLL for (int64_t i = 0; i < rows; i++)
            {
                int64_t limit = attend_limit(causal, first + i + keys - queries + 1 - key, here);
                float *row = scores + i * AML_ATTEND_KEYS;
                float shrink = attend_row(row, columns, limit, mask + (first + i) * keys + key,
                                          masked, &most[i], &sum[i]);
                if (key > 0 && shrink != 1.0f) {
                    NO_UNROLL for (int64_t j = 0; j < width_room; j += F32_LANES)
                        f32_store(sums + i * width_room + j,
                                  f32_load(sums + i * width_room + j) * f32_splat(shrink));
                }
                NO_UNROLL for (int64_t j = 0; j < columns; j += unit)
                    f32_store(weights + (i * AML_ATTEND_KEYS + j) / 2,
                              attend_words(f32_load(row + j), f32_load(row + j + F32_LANES)));
            }
            attend_pairs_product(weights, AML_ATTEND_KEYS / 2, 1, values + key / 2 * width_room,
                                 width_room, sums, width_room, rows_room, width_room,
                                 (here + 1) / 2, key > 0, 1.0f);
        }
        NO_UNROLL for (int64_t i = 0; i < rows; i++)
        {
            bool none = sum[i] == 0;
            attend_scaled(y + (first + i) * heads * width, sums + i * width_room, width,
                          none ? 0.0f : 1.0f / sum[i]);
            lse[first + i] = none ? 0.0f : most[i] + aml_log_f32(sum[i]);
        }
    }
}

// ---- backward

TEMPLATE void aml_attend_back_pairs(const uint16_t *q, const uint16_t *k, const uint16_t *v,
                                    const uint8_t *mask, const float *lse, const float *delta,
                                    const uint16_t *dy, float *dq, float *dk, float *dv,
                                    float *scratch, ATTEND_SIZES, ATTEND_MASK, ATTEND_STEPS,
                                    ATTEND_SLOPE_STEPS, int64_t begin, int64_t end)
{
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES), each = heads / groups;
    float *turned = scratch, *values = turned + room * attend_word_room(size),
          *zipped = values + room * attend_word_room(width), *of_k = zipped + room / 2 * size_room,
          *of_v = of_k + room * size_room, *rest = of_v + room * width_room;
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t image = unit / groups, group = unit % groups;
        const uint16_t *key = k + image * keys * k_step + group * size;
        attend_pairs_turn(key, k_step, keys, size, room, turned);
        attend_pairs_zip(key, k_step, keys, room, size, size_room, zipped);
        attend_pairs_turn(v + image * keys * v_step + group * width, v_step, keys, width, room,
                          values);
        NO_UNROLL for (int64_t i = 0; i < room * (size_room + width_room); i += F32_LANES)
            f32_store(of_k + i, (f32v){});
        NO_UNROLL for (int64_t head = group * each; head < (group + 1) * each; head++)
        {
            int64_t row = (image * heads + head) * queries;
            attend_pairs_head_back(q + image * queries * q_step + head * size,
                                   mask + image * mask_image + head * mask_head, lse + row,
                                   delta + row, dy + (image * queries * heads + head) * width,
                                   dq + image * queries * dq_step + head * size, rest, queries,
                                   heads, size, keys, width, causal, half, factor, masked, q_step,
                                   dq_step);
        }
        NO_UNROLL for (int64_t i = 0; i < keys; i++)
        {
            int64_t at = image * keys + i;
            NO_UNROLL for (int64_t j = 0; j < size; j++) dk[at * dk_step + group * size + j] =
                of_k[i * size_room + j] * factor;
            __builtin_memcpy(dv + at * dv_step + group * width, of_v + i * width_room,
                             (size_t)width * 4);
        }
    }
}

TEMPLATE void attend_pairs_head_back(const uint16_t *q, const uint8_t *mask, const float *lse,
                                     const float *delta, const uint16_t *dy, float *dq,
                                     float *scratch, ATTEND_SIZES, int64_t masked, int64_t q_step,
                                     int64_t dq_step)
{
    enum { BLOCK = AML_ATTEND_ROWS * AML_ATTEND_KEYS };
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES), words = attend_word_room(size),
            width_words = attend_word_room(width), unit = 2 * F32_LANES;
    (void)half;
    float *of_v = scratch - room * width_room, *of_k = of_v - room * size_room;
    const float *zipped = of_k - room / 2 * size_room, *values = zipped - room * width_words,
                *turned = values - room * words;
    float *block = scratch, *slope = block + AML_ATTEND_ROWS * words,
          *block_zip = slope + AML_ATTEND_ROWS * width_words,
          *slope_zip = block_zip + AML_ATTEND_ROWS / 2 * size_room,
          *sums = slope_zip + AML_ATTEND_ROWS / 2 * width_room,
          *weight = sums + AML_ATTEND_ROWS * size_room, *change = weight + BLOCK,
          *weight_zip = change + BLOCK, *change_zip = weight_zip + BLOCK / 2,
          *change_words = change_zip + BLOCK / 2;
    NO_UNROLL for (int64_t first = 0; first < queries; first += AML_ATTEND_ROWS)
    {
        int64_t rows = queries - first < AML_ATTEND_ROWS ? queries - first : AML_ATTEND_ROWS,
                rows_room = attend_room(rows, 8);
        const uint16_t *q_at = q + first * q_step, *dy_at = dy + first * heads * width;
        attend_pairs_words(q_at, q_step, rows, rows_room, size, words, block);
        attend_pairs_words(dy_at, heads * width, rows, rows_room, width, width_words, slope);
        attend_pairs_zip(q_at, q_step, rows, rows_room, size, size_room, block_zip);
        attend_pairs_zip(dy_at, heads * width, rows, rows_room, width, width_room, slope_zip);
        int64_t last = causal ? first + rows + keys - queries : keys;
        NO_UNROLL for (int64_t key = 0; key < last; key += AML_ATTEND_KEYS)
        {
            int64_t here = last - key < AML_ATTEND_KEYS ? last - key : AML_ATTEND_KEYS,
                    columns = attend_room(here, unit);
            attend_pairs_product(block, words, 1, turned + key, room, weight, AML_ATTEND_KEYS,
                                 rows_room, columns, (size + 1) / 2, 0, factor);
            attend_pairs_product(slope, width_words, 1, values + key, room, change, AML_ATTEND_KEYS,
                                 rows_room, columns, (width + 1) / 2, 0, 1.0f);
            NO_UNROLL for (int64_t i = 0; i < rows; i++)
            {
                int64_t limit = attend_limit(causal, first + i + keys - queries + 1 - key, here);
                attend_slopes_row(weight + i * AML_ATTEND_KEYS, change + i * AML_ATTEND_KEYS,
                                  columns, limit, lse[first + i], delta[first + i],
                                  mask + (first + i) * keys + key, masked);
                float *d = change + i * AML_ATTEND_KEYS;
                NO_UNROLL for (int64_t j = 0; j < columns; j += unit)
                    f32_store(change_words + (i * AML_ATTEND_KEYS + j) / 2,
                              attend_words(f32_load(d + j), f32_load(d + j + F32_LANES)));
            }
            NO_UNROLL for (int64_t i = 0; i < rows; i += 2)
            {
                const float *p = weight + i * AML_ATTEND_KEYS, *d = change + i * AML_ATTEND_KEYS;
                int64_t next = AML_ATTEND_KEYS, to = i / 2 * AML_ATTEND_KEYS;
                bool two = i + 1 < rows;
                NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES)
                {
                    f32v p_next = two ? f32_load(p + next + j) : (f32v){},
                         d_next = two ? f32_load(d + next + j) : (f32v){};
                    f32_store(weight_zip + to + j,
                              half_zip(attend_narrow(f32_load(p + j)), attend_narrow(p_next)));
                    f32_store(change_zip + to + j,
                              half_zip(attend_narrow(f32_load(d + j)), attend_narrow(d_next)));
                }
            }
            attend_pairs_product(weight_zip, 1, AML_ATTEND_KEYS, slope_zip, width_room,
                                 of_v + key * width_room, width_room, attend_room(here, 8),
                                 width_room, (rows + 1) / 2, 1, 1.0f);
            attend_pairs_product(change_zip, 1, AML_ATTEND_KEYS, block_zip, size_room,
                                 of_k + key * size_room, size_room, attend_room(here, 8), size_room,
                                 (rows + 1) / 2, 1, 1.0f);
            attend_pairs_product(change_words, AML_ATTEND_KEYS / 2, 1, zipped + key / 2 * size_room,
                                 size_room, sums, size_room, rows_room, size_room, (here + 1) / 2,
                                 key > 0, 1.0f);
        }
        NO_UNROLL for (int64_t i = 0; i < rows; i++)
            attend_scaled(dq + (first + i) * dq_step, sums + i * size_room, size, factor);
    }
}

// ---- pieces

// C = scale * A * B, or C += A * B, of words: rows a multiple of 8, columns of whole registers.
#define ATTEND_PAIRS_TILE(ROWS, VECTORS)                                                           \
    HELPER void attend_pairs_tile_##VECTORS(const float *a, int64_t a_row, int64_t a_k,            \
                                            const float *b, int64_t b_k, float *c, int64_t c_row,  \
                                            int64_t k, int64_t add, float scale)                   \
    {                                                                                              \
        f32v sum[ROWS][VECTORS];                                                                   \
        UNROLL for (int i = 0; i < ROWS; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] =                                   \
                add ? f32_load(c + i * c_row + j * F32_LANES) : (f32v){};                          \
        }                                                                                          \
        NO_UNROLL for (int64_t p = 0; p < k; p++)                                                  \
        {                                                                                          \
            f32v right[VECTORS];                                                                   \
            UNROLL for (int j = 0; j < VECTORS; j++) right[j] =                                    \
                f32_load(b + p * b_k + j * F32_LANES);                                             \
            UNROLL for (int i = 0; i < ROWS; i++)                                                  \
            {                                                                                      \
                f32v left = f32_splat(a[i * a_row + p * a_k]);                                     \
                UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] =                               \
                    bf16_pairs_fma(left, right[j], sum[i][j]);                                     \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < ROWS; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                f32_store(c + i * c_row + j * F32_LANES, sum[i][j] * f32_splat(scale));            \
        }                                                                                          \
    }
ATTEND_PAIRS_TILE(ATTEND_TILE_ROWS, 2)
ATTEND_PAIRS_TILE(ATTEND_TILE_ROWS, 1)

TEMPLATE void attend_pairs_product(const float *a, int64_t a_row, int64_t a_k, const float *b,
                                   int64_t b_k, float *c, int64_t c_row, int64_t rows,
                                   int64_t columns, int64_t k, int64_t add, float scale)
{
    int64_t j = 0;
    NO_UNROLL for (; j + 2 * F32_LANES <= columns; j += 2 * F32_LANES)
    {
        NO_UNROLL for (int64_t i = 0; i < rows; i += ATTEND_TILE_ROWS) attend_pairs_tile_2(
            a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k, add, scale);
    }
    if (j < columns) {
        NO_UNROLL for (int64_t i = 0; i < rows; i += ATTEND_TILE_ROWS) attend_pairs_tile_1(
            a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k, add, scale);
    }
}

// Words of rows as columns: out[word][row], zeros behind the last row.
TEMPLATE void attend_pairs_turn(const uint16_t *from, int64_t step, int64_t rows, int64_t size,
                                int64_t room, float *out)
{
    int64_t words = (size + 1) / 2;
    NO_UNROLL for (int64_t row = 0; row < room; row += F32_LANES)
    {
        NO_UNROLL for (int64_t w = 0; w < words; w += F32_LANES)
        {
            int64_t left = size - 2 * w < 2 * F32_LANES ? size - 2 * w : 2 * F32_LANES;
            f32v square[F32_LANES];
            NO_UNROLL for (int64_t i = 0; i < F32_LANES; i++)
            {
                square[i] = (f32v){};
                if (row + i < rows) // no row is read behind its end
                    __builtin_memcpy(&square[i], from + (row + i) * step + 2 * w, (size_t)left * 2);
            }
            dot_transpose_f32(square);
            NO_UNROLL for (int64_t i = 0; i < F32_LANES; i++)
            {
                if (w + i < words)
                    f32_store(out + (w + i) * room + row, square[i]);
            }
        }
    }
}

// Words of rows, zeros behind their ends and behind the last.
TEMPLATE void attend_pairs_words(const uint16_t *from, int64_t step, int64_t rows,
                                 int64_t rows_room, int64_t size, int64_t room, float *out)
{
    NO_UNROLL for (int64_t row = 0; row < rows_room; row++)
    {
        float *to = out + row * room;
        if (size != 2 * room || row >= rows) {
            NO_UNROLL for (int64_t i = 0; i < room; i += F32_LANES) f32_store(to + i, (f32v){});
        }
        if (row < rows)
            __builtin_memcpy(to, from + row * step, (size_t)size * 2);
    }
}

// Two rows to one of pairs, zeros behind their ends and behind the last.
TEMPLATE void attend_pairs_zip(const uint16_t *from, int64_t step, int64_t rows, int64_t rows_room,
                               int64_t size, int64_t room, float *out)
{
    NO_UNROLL for (int64_t row = 0; row < rows_room; row += 2)
    {
        float *to = out + row / 2 * room;
        NO_UNROLL for (int64_t i = 0; i < room; i += F32_LANES)
        {
            int64_t left = size - i < F32_LANES ? size - i : F32_LANES;
            f32v pair = {};
            if (row < rows) {
                const uint16_t *at = from + row * step + i;
                pair = half_zip(u16_load_some(at, (int)left),
                                row + 1 < rows ? u16_load_some(at + step, (int)left) : (u16v){});
            }
            f32_store(to + i, pair);
        }
    }
}
