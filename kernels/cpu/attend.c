// attend.c: attention without a matrix of scores, forward and backward (attend.h has the picture).
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h).

#include "attend.h"
#include "kernel.h"
#include "vector.h"

// What every template takes: sizes, where rows of 16 bits are read (`half`), and which positions
// are seen. `mask` is NULL or bools, one row of keys after the other.
#define ATTEND_SIZES                                                                               \
    int64_t queries, int64_t heads, int64_t size, int64_t keys, int64_t width, int64_t causal,     \
        int64_t half, float factor
#define ATTEND_MASK int64_t groups, int64_t masked, int64_t mask_image, int64_t mask_head
// How many elements lie from the rows of one position to those of the next: all heads' size or
// width, or more where they are pieces of larger rows.
#define ATTEND_STEPS int64_t q_step, int64_t k_step, int64_t v_step
#define ATTEND_SLOPE_STEPS int64_t dq_step, int64_t dk_step, int64_t dv_step

TEMPLATE void attend_head(const void *q, const uint8_t *mask, float *y, float *lse, float *scratch,
                          ATTEND_SIZES, int64_t masked, ATTEND_STEPS, const void *k, const void *v);
TEMPLATE void attend_head_back(const void *q, const uint8_t *mask, const float *lse,
                               const float *delta, const void *dy, float *dq, float *scratch,
                               ATTEND_SIZES, int64_t masked, ATTEND_STEPS, ATTEND_SLOPE_STEPS,
                               const void *k, const void *v, const float *dk, const float *dv);
TEMPLATE void attend_product(const float *a, int64_t a_row, int64_t a_k, const float *b,
                             int64_t b_k, float *c, int64_t c_row, int64_t rows, int64_t columns,
                             int64_t k, int64_t add);
TEMPLATE void attend_turn(const void *from, int64_t step, int64_t half, int64_t rows, int64_t size,
                          int64_t room, float *out);
TEMPLATE void attend_rows(const void *from, int64_t step, int64_t half, int64_t rows,
                          int64_t rows_room, int64_t size, int64_t room, float factor, float *out);
TEMPLATE f32v aml_exp_f32v(f32v x);
TEMPLATE float aml_log_f32(float x);

HELPER int64_t attend_room(int64_t a, int64_t unit)
{
    return (a + unit - 1) / unit * unit;
}

HELPER int64_t attend_key_room(int64_t keys)
{
    return attend_room(keys, 2 * F32_LANES);
}

// Element `index` of a tensor whose elements have 4 bytes, or 2.
HELPER const void *attend_at(const void *base, int64_t index, int64_t half)
{
    return (const char *)base + index * (half ? 2 : 4);
}

// Asks for `count` elements, which are read or written soon.
HELPER void attend_ask(const void *from, int64_t count, int64_t half)
{
    NO_UNROLL for (int64_t i = 0; i < count * (half ? 2 : 4); i += 64)
        __builtin_prefetch((const char *)from + i, 0, 2);
}

// Asks for a position's rows of the next head, which lie behind this head's: rows are too far apart
// for the processor to see what comes next.
HELPER void attend_ask_next(const void *q, const void *k, const void *v, int64_t at, int64_t size,
                            int64_t keys, int64_t width, int64_t half, ATTEND_STEPS)
{
    attend_ask(attend_at(q, at * q_step + size, half), size, half);
    if (at < keys) {
        attend_ask(attend_at(k, at * k_step + size, half), size, half);
        attend_ask(attend_at(v, at * v_step + width, half), width, half);
    }
}

// ---- forward

// Units begin..end. q [images, queries, heads, size], k [images, keys, groups, size], v [images,
// keys, groups, width]; y [images, queries, heads, width], lse [images, heads, queries].
TEMPLATE void aml_attend(const void *q, const void *k, const void *v, const uint8_t *mask, float *y,
                         float *lse, float *scratch, ATTEND_SIZES, ATTEND_MASK, ATTEND_STEPS,
                         int64_t begin, int64_t end)
{
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES);
    float *turned = scratch, *values = turned + room * size_room,
          *rest = values + room * width_room;
    int64_t known = -1;
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t image = unit / heads, head = unit % heads, group = head / (heads / groups);
        if (image * groups + group != known) { // heads that share keys are neighbours
            known = image * groups + group;
            attend_turn(attend_at(k, image * keys * k_step + group * size, half), k_step, half,
                        keys, size, room, turned);
            attend_rows(attend_at(v, image * keys * v_step + group * width, half), v_step, half,
                        keys, room, width, width_room, 1.0f, values);
        }
        attend_head(attend_at(q, image * queries * q_step + head * size, half),
                    mask + image * mask_image + head * mask_head,
                    y + (image * queries * heads + head) * width, lse + unit * queries, rest,
                    queries, heads, size, keys, width, causal, half, factor, masked, q_step, k_step,
                    v_step, attend_at(k, image * keys * k_step + group * size, half),
                    attend_at(v, image * keys * v_step + group * width, half));
    }
}

// The scores of `row` that are seen, -infinity elsewhere. `first` is the number of the first key;
// only `limit` keys from it on are seen.
HELPER f32v attend_seen(f32v score, int64_t lane, int64_t limit, const uint8_t *mask,
                        int64_t masked, float hidden)
{
    i32v number;
    UNROLL for (int i = 0; i < F32_LANES; i++) number[i] = i;
    i32v seen = number < (i32v){} + (int32_t)(limit - lane);
    if (masked) {
        uint8_t byte[F32_LANES] = {0};
        if (limit - lane >= F32_LANES) {
            __builtin_memcpy(byte, mask + lane, F32_LANES);
        } else {
            NO_UNROLL for (int64_t i = 0; i < limit - lane; i++) byte[i] = mask[lane + i];
        }
        typedef uint8_t u8v __attribute__((vector_size(F32_LANES)));
        u8v bytes;
        __builtin_memcpy(&bytes, byte, sizeof bytes);
        seen &= __builtin_convertvector(bytes, i32v) != 0;
    }
    return (f32v)((seen & (i32v)score) | (~seen & (i32v)(f32_splat(hidden))));
}

HELPER f32v attend_larger(f32v a, f32v b)
{
    i32v more = a > b;
    return (f32v)((more & (i32v)a) | (~more & (i32v)b));
}

HELPER float attend_largest(f32v value)
{
#define FOLD(...) value = attend_larger(value, __builtin_shufflevector(value, value, __VA_ARGS__));
    F32_FOLDS(FOLD)
#undef FOLD
    return value[0];
}

// One row of a block of scores becomes weights relative to the largest score so far. What was
// summed before shrinks by the result.
HELPER float attend_row(float *score, int64_t columns, int64_t limit, const uint8_t *mask,
                        int64_t masked, float *most, float *sum)
{
    const float low = -__builtin_inff();
    f32v top = f32_splat(low);
    if (masked || limit < columns) {
        NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES)
        {
            f32v value = attend_seen(f32_load(score + j), j, limit, mask, masked, low);
            f32_store(score + j, value);
            top = attend_larger(value, top);
        }
    } else {
        NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES) top =
            attend_larger(f32_load(score + j), top);
    }
    float largest = attend_largest(top);
    largest = largest > *most ? largest : *most;
    if (largest == low) { // nothing is seen yet
        NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES) f32_store(score + j, (f32v){});
        return 1.0f;
    }
    f32v base = f32_splat(largest), total = {};
    NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES)
    {
        f32v weight = aml_exp_f32v(f32_load(score + j) - base);
        f32_store(score + j, weight);
        total += weight;
    }
    float shrink = *most == low ? 0.0f : aml_exp_f32v(f32_splat(*most - largest))[0];
    *sum = *sum * shrink + f32_sum(total);
    *most = largest;
    return shrink;
}

// How many of the `here` keys of a block a query sees, of which a causal mask leaves `causal_keys`.
HELPER int64_t attend_limit(int64_t causal, int64_t causal_keys, int64_t here)
{
    int64_t limit = causal && causal_keys < here ? causal_keys : here;
    return limit > 0 ? limit : 0;
}

HELPER void attend_scaled(float *to, const float *from, int64_t count, float scale)
{
    f32v all = f32_splat(scale);
    int64_t i = 0;
    NO_UNROLL for (; i + F32_LANES <= count; i += F32_LANES)
        f32_store(to + i, f32_load(from + i) * all);
    NO_UNROLL for (; i < count; i++) to[i] = from[i] * scale;
}

// Weights of a row of scores, in place, and their slopes.
HELPER void attend_slopes_row(float *p, float *d, int64_t columns, int64_t limit, float lse,
                              float delta, const uint8_t *seen, int64_t masked)
{
    f32v base = f32_splat(lse), mean = f32_splat(delta);
    bool some = masked || limit < columns;
    NO_UNROLL for (int64_t j = 0; j < columns; j += F32_LANES)
    {
        f32v score = f32_load(p + j);
        if (some)
            score = attend_seen(score, j, limit, seen, masked, -__builtin_inff());
        f32v value = aml_exp_f32v(score - base);
        f32_store(p + j, value);
        f32_store(d + j, value * (f32_load(d + j) - mean));
    }
}

TEMPLATE void attend_head(const void *q, const uint8_t *mask, float *y, float *lse, float *scratch,
                          ATTEND_SIZES, int64_t masked, ATTEND_STEPS, const void *k, const void *v)
{
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES), unit = 2 * F32_LANES;
    const float *turned = scratch - room * (size_room + width_room),
                *values = turned + room * size_room;
    float *block = scratch, *sums = block + AML_ATTEND_ROWS * size_room,
          *scores = sums + AML_ATTEND_ROWS * width_room;
    NO_UNROLL for (int64_t first = 0; first < queries; first += AML_ATTEND_ROWS)
    {
        int64_t rows = queries - first < AML_ATTEND_ROWS ? queries - first : AML_ATTEND_ROWS,
                rows_room = attend_room(rows, 8);
        float most[AML_ATTEND_ROWS], sum[AML_ATTEND_ROWS];
        NO_UNROLL for (int i = 0; i < AML_ATTEND_ROWS; i++) most[i] = -__builtin_inff(), sum[i] = 0;
        attend_rows(attend_at(q, first * q_step, half), q_step, half, rows, rows_room, size,
                    size_room, factor, block);
        int64_t last = causal ? first + rows + keys - queries : keys;
        NO_UNROLL for (int64_t key = 0; key < last; key += AML_ATTEND_KEYS)
        {
            int64_t here = last - key < AML_ATTEND_KEYS ? last - key : AML_ATTEND_KEYS,
                    columns = attend_room(here, unit);
            attend_product(block, size_room, 1, turned + key, room, scores, AML_ATTEND_KEYS,
                           rows_room, columns, size, 0);
            NO_UNROLL for (int64_t i = 0; i < rows; i++)
            {
                int64_t limit = attend_limit(causal, first + i + keys - queries + 1 - key, here);
                if (key == 0)
                    attend_ask_next(q, k, v, first + i, size, keys, width, half, q_step, k_step,
                                    v_step);
                float shrink =
                    attend_row(scores + i * AML_ATTEND_KEYS, columns, limit,
                               mask + (first + i) * keys + key, masked, &most[i], &sum[i]);
                if (key > 0 && shrink != 1.0f) {
                    NO_UNROLL for (int64_t j = 0; j < width_room; j += F32_LANES)
                        f32_store(sums + i * width_room + j,
                                  f32_load(sums + i * width_room + j) * f32_splat(shrink));
                }
            }
            attend_product(scores, AML_ATTEND_KEYS, 1, values + key * width_room, width_room, sums,
                           width_room, rows_room, width_room, here, key > 0);
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

// Units begin..end of images * groups. delta [images, heads, queries] is the sum over the width of
// dy * y.
TEMPLATE void aml_attend_back(const void *q, const void *k, const void *v, const uint8_t *mask,
                              const float *lse, const float *delta, const void *dy, float *dq,
                              float *dk, float *dv, float *scratch, ATTEND_SIZES, ATTEND_MASK,
                              ATTEND_STEPS, ATTEND_SLOPE_STEPS, int64_t begin, int64_t end)
{
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES), each = heads / groups;
    float *turned = scratch, *values = turned + room * size_room,
          *plain = values + room * width_room, *of_k = plain + room * size_room,
          *of_v = of_k + room * size_room, *rest = of_v + room * width_room;
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t image = unit / groups, group = unit % groups;
        const void *key = attend_at(k, image * keys * k_step + group * size, half);
        attend_turn(key, k_step, half, keys, size, room, turned);
        attend_rows(key, k_step, half, keys, room, size, size_room, 1.0f, plain);
        attend_turn(attend_at(v, image * keys * v_step + group * width, half), v_step, half, keys,
                    width, room, values);
        NO_UNROLL for (int64_t i = 0; i < room * (size_room + width_room); i += F32_LANES)
            f32_store(of_k + i, (f32v){});
        NO_UNROLL for (int64_t head = group * each; head < (group + 1) * each; head++)
        {
            int64_t row = (image * heads + head) * queries;
            attend_head_back(attend_at(q, image * queries * q_step + head * size, half),
                             mask + image * mask_image + head * mask_head, lse + row, delta + row,
                             attend_at(dy, (image * queries * heads + head) * width, half),
                             dq + image * queries * dq_step + head * size, rest, queries, heads,
                             size, keys, width, causal, half, factor, masked, q_step, k_step,
                             v_step, dq_step, dk_step, dv_step, key,
                             attend_at(v, image * keys * v_step + group * width, half),
                             dk + image * keys * dk_step + group * size,
                             dv + image * keys * dv_step + group * width);
        }
        NO_UNROLL for (int64_t i = 0; i < keys; i++)
        {
            int64_t at = image * keys + i;
            __builtin_memcpy(dk + at * dk_step + group * size, of_k + i * size_room,
                             (size_t)size * 4);
            __builtin_memcpy(dv + at * dv_step + group * width, of_v + i * width_room,
                             (size_t)width * 4);
        }
    }
}

TEMPLATE void attend_head_back(const void *q, const uint8_t *mask, const float *lse,
                               const float *delta, const void *dy, float *dq, float *scratch,
                               ATTEND_SIZES, int64_t masked, ATTEND_STEPS, ATTEND_SLOPE_STEPS,
                               const void *k, const void *v, const float *dk, const float *dv)
{
    int64_t room = attend_key_room(keys), size_room = attend_room(size, F32_LANES),
            width_room = attend_room(width, F32_LANES), unit = 2 * F32_LANES;
    float *of_v = scratch - room * width_room, *of_k = of_v - room * size_room;
    const float *plain = of_k - room * size_room, *values = plain - room * width_room,
                *turned = values - room * size_room;
    float *block = scratch, *slope = block + AML_ATTEND_ROWS * size_room,
          *sums = slope + AML_ATTEND_ROWS * width_room,
          *weight = sums + AML_ATTEND_ROWS * size_room,
          *change = weight + AML_ATTEND_ROWS * AML_ATTEND_KEYS;
    NO_UNROLL for (int64_t first = 0; first < queries; first += AML_ATTEND_ROWS)
    {
        int64_t rows = queries - first < AML_ATTEND_ROWS ? queries - first : AML_ATTEND_ROWS,
                rows_room = attend_room(rows, 8);
        attend_rows(attend_at(q, first * q_step, half), q_step, half, rows, rows_room, size,
                    size_room, factor, block);
        attend_rows(attend_at(dy, first * heads * width, half), heads * width, half, rows,
                    rows_room, width, width_room, 1.0f, slope);
        int64_t last = causal ? first + rows + keys - queries : keys;
        NO_UNROLL for (int64_t key = 0; key < last; key += AML_ATTEND_KEYS)
        {
            int64_t here = last - key < AML_ATTEND_KEYS ? last - key : AML_ATTEND_KEYS,
                    columns = attend_room(here, unit);
            attend_product(block, size_room, 1, turned + key, room, weight, AML_ATTEND_KEYS,
                           rows_room, columns, size, 0);
            attend_product(slope, width_room, 1, values + key, room, change, AML_ATTEND_KEYS,
                           rows_room, columns, width, 0);
            NO_UNROLL for (int64_t i = 0; i < rows; i++)
            {
                int64_t limit = attend_limit(causal, first + i + keys - queries + 1 - key, here);
                if (key == 0) {
                    attend_ask_next(q, k, v, first + i, size, keys, width, half, q_step, k_step,
                                    v_step);
                    attend_ask(dq + (first + i) * dq_step, size, AML_HALF_NONE);
                    if (first + i < keys) {
                        attend_ask(dk + (first + i) * dk_step, size, AML_HALF_NONE);
                        attend_ask(dv + (first + i) * dv_step, width, AML_HALF_NONE);
                    }
                }
                attend_slopes_row(weight + i * AML_ATTEND_KEYS, change + i * AML_ATTEND_KEYS,
                                  columns, limit, lse[first + i], delta[first + i],
                                  mask + (first + i) * keys + key, masked);
            }
            attend_product(weight, 1, AML_ATTEND_KEYS, slope, width_room, of_v + key * width_room,
                           width_room, attend_room(here, 8), width_room, rows, 1);
            attend_product(change, 1, AML_ATTEND_KEYS, block, size_room, of_k + key * size_room,
                           size_room, attend_room(here, 8), size_room, rows, 1);
            attend_product(change, AML_ATTEND_KEYS, 1, plain + key * size_room, size_room, sums,
                           size_room, rows_room, size_room, here, key > 0);
        }
        NO_UNROLL for (int64_t i = 0; i < rows; i++)
            attend_scaled(dq + (first + i) * dq_step, sums + i * size_room, size, factor);
    }
}

// ---- pieces

// C = A * B, or C += A * B: rows a multiple of 8, columns of whole registers.
#define ATTEND_TILE(ROWS, VECTORS)                                                                 \
    HELPER void attend_tile_##VECTORS(const float *a, int64_t a_row, int64_t a_k, const float *b,  \
                                      int64_t b_k, float *c, int64_t c_row, int64_t k,             \
                                      int64_t add)                                                 \
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
                    f32_fma(left, right[j], sum[i][j]);                                            \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < ROWS; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                f32_store(c + i * c_row + j * F32_LANES, sum[i][j]);                               \
        }                                                                                          \
    }
#if AML_WIDTH == 16
enum { ATTEND_TILE_ROWS = 8 };
ATTEND_TILE(8, 2)
ATTEND_TILE(8, 1)
#else
enum { ATTEND_TILE_ROWS = 4 };
ATTEND_TILE(4, 2)
ATTEND_TILE(4, 1)
#endif

TEMPLATE void attend_product(const float *a, int64_t a_row, int64_t a_k, const float *b,
                             int64_t b_k, float *c, int64_t c_row, int64_t rows, int64_t columns,
                             int64_t k, int64_t add)
{
    int64_t j = 0;
    NO_UNROLL for (; j + 2 * F32_LANES <= columns; j += 2 * F32_LANES)
    {
        NO_UNROLL for (int64_t i = 0; i < rows; i += ATTEND_TILE_ROWS)
            attend_tile_2(a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k, add);
    }
    if (j < columns) {
        NO_UNROLL for (int64_t i = 0; i < rows; i += ATTEND_TILE_ROWS)
            attend_tile_1(a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k, add);
    }
}

// One element, or some from `at` on, of a row of floats or of 16 bits.
HELPER float attend_one(const void *row, int64_t at, int64_t half)
{
    if (half == AML_HALF_NONE)
        return ((const float *)row)[at];
    uint16_t bits = ((const uint16_t *)row)[at];
    u16v one = {bits};
    return half == AML_HALF_F16 ? f16_widen(one)[0] : bf16_widen(one)[0];
}

HELPER f32v attend_some(const void *row, int64_t at, int64_t lanes, int64_t half)
{
    if (half == AML_HALF_NONE)
        return lanes == F32_LANES ? f32_load((const float *)row + at)
                                  : f32_load_some((const float *)row + at, (int)lanes);
    u16v bits = u16_load_some((const uint16_t *)row + at, (int)lanes);
    return half == AML_HALF_F16 ? f16_widen(bits) : bf16_widen(bits);
}

// Rows `step` elements apart as columns: out[i][row], `room` elements from one i to the next, zeros
// behind the last row. Floats go by squares: put together from single elements a register takes
// longer than eight of them take to be multiplied.
TEMPLATE void attend_turn(const void *from, int64_t step, int64_t half, int64_t rows, int64_t size,
                          int64_t room, float *out)
{
    NO_UNROLL for (int64_t row = 0; row < room; row += F32_LANES)
    {
        if (!half && row < rows) {
            int64_t columns = rows - row < F32_LANES ? rows - row : F32_LANES;
            aml_shared_dot_turn_f32((const float *)from + row * step, step, size, columns,
                                    room / F32_LANES, (f32v *)(out + row));
            continue;
        }
        NO_UNROLL for (int64_t i = 0; i < size; i++)
        {
            f32v value = {};
            UNROLL for (int lane = 0; lane < F32_LANES; lane++)
            {
                if (row + lane < rows)
                    value[lane] = attend_one(attend_at(from, (row + lane) * step, half), i, half);
            }
            f32_store(out + i * room + row, value);
        }
    }
}

// Rows `step` elements apart, times a factor; zeros behind their ends and behind the last.
TEMPLATE void attend_rows(const void *from, int64_t step, int64_t half, int64_t rows,
                          int64_t rows_room, int64_t size, int64_t room, float factor, float *out)
{
    NO_UNROLL for (int64_t row = 0; row < rows; row++)
    {
        const void *at = attend_at(from, row * step, half);
        int64_t i = 0;
        NO_UNROLL for (; i + F32_LANES <= size; i += F32_LANES) f32_store(
            out + row * room + i, attend_some(at, i, F32_LANES, half) * f32_splat(factor));
        if (i < room)
            f32_store(out + row * room + i, attend_some(at, i, size - i, half) * f32_splat(factor));
    }
    NO_UNROLL for (int64_t i = rows * room; i < rows_room * room; i += F32_LANES)
        f32_store(out + i, (f32v){});
}
