// attend_cached.c: attention of the newest positions over keys and values that are kept by
// position; what lies beyond the position is not read.
//
// Rows are read in the order in which they lie, for all heads of a part at once: once for the
// scores, which fit into the first caches, and once for the sums of values. A query's sums have one
// order whatever is computed beside it, so a position has the same bits alone and in a chunk.

#include "attend.h"
#include "kernel.h"
#include "vector.h"

TEMPLATE f32v aml_exp_f32v(f32v x);

// Sizes, and where rows of 16 bits are read.
#define CACHED_SIZES                                                                               \
    int64_t heads, int64_t size, int64_t keys, int64_t groups, int64_t width, int64_t half,        \
        float factor

HELPER float attend_cached_product(const float *q, const void *key, int64_t size, int64_t half)
{
    f32v sum[4] = {{0}, {0}, {0}, {0}};
    int64_t at = 0;
    NO_UNROLL for (; at + 4 * F32_LANES <= size; at += 4 * F32_LANES)
    {
        UNROLL for (int i = 0; i < 4; i++)
        {
            int64_t p = at + i * F32_LANES;
            sum[i] = f32_fma(f32_load(q + p), attend_some(key, p, F32_LANES, half), sum[i]);
        }
    }
    NO_UNROLL for (; at < size; at += F32_LANES)
    {
        int64_t left = size - at < F32_LANES ? size - at : F32_LANES;
        sum[0] =
            f32_fma(f32_load_some(q + at, (int)left), attend_some(key, at, left, half), sum[0]);
    }
    return f32_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// y + weight * a row of values.
HELPER void attend_cached_add(float *y, const void *value, float weight, int64_t width,
                              int64_t half)
{
    NO_UNROLL for (int64_t at = 0; at < width; at += F32_LANES)
    {
        if (width - at >= F32_LANES) {
            f32v row = attend_some(value, at, F32_LANES, half);
            f32_store(y + at, f32_fma(f32_splat(weight), row, f32_load(y + at)));
        } else {
            f32v row = attend_some(value, at, width - at, half);
            f32v sum = f32_fma(f32_splat(weight), row, f32_load_some(y + at, (int)(width - at)));
            NO_UNROLL for (int64_t i = at; i < width; i++) y[i] = sum[i - at];
        }
    }
}

// Scores become weights; those from `seen` to `count`, a whole number of registers, are zero. Gives
// the factor that makes their sum 1.
HELPER float attend_cached_weights(float *score, int64_t seen, int64_t count)
{
    float most = -__builtin_inff();
    f32v top = f32_splat(most), sum = {};
    NO_UNROLL for (int64_t i = seen; i < count; i++) score[i] = most;
    NO_UNROLL for (int64_t i = 0; i < count; i += F32_LANES) top =
        attend_larger(f32_load(score + i), top);
    most = attend_largest(top);
    NO_UNROLL for (int64_t i = 0; i < count; i += F32_LANES)
    {
        f32v weight = aml_exp_f32v(f32_load(score + i) - f32_splat(most));
        sum += weight;
        f32_store(score + i, weight);
    }
    return 1.0f / f32_sum(sum);
}

// `rows` queries from number `query` on, a constant, of the groups begin..end of an image. q and y
// are the image's, k and v too; the first key that query 0 does not see is number `limit`.
HELPER void attend_cached_rows(const float *q, const void *k, const void *v, float *y,
                               float *scratch, CACHED_SIZES, int64_t limit, int64_t begin,
                               int64_t end, int64_t query, int rows)
{
    int64_t each = heads / groups, room = attend_room(keys, F32_LANES), first = begin * each;
    int64_t all = limit + query + rows - 1;
    all = all < keys ? all : keys;
    NO_UNROLL for (int64_t key = 0; key < all; key++)
    {
        NO_UNROLL for (int64_t head = first; head < end * each; head++)
        {
            const void *row = attend_at(k, (key * groups + head / each) * size, half);
            UNROLL for (int i = 0; i < rows; i++)
            {
                const float *from = q + ((query + i) * heads + head) * size;
                scratch[((head - first) * rows + i) * room + key] =
                    attend_cached_product(from, row, size, half) * factor;
            }
        }
    }
    float *scale = scratch + (end * each - first) * rows * room;
    NO_UNROLL for (int64_t head = first; head < end * each; head++)
    {
        NO_UNROLL for (int64_t i = 0; i < rows; i++)
        {
            int64_t seen = limit + query + i, number = (head - first) * rows + i;
            seen = seen < 0 ? 0 : seen < keys ? seen : keys;
            scale[number] = seen > 0 ? attend_cached_weights(scratch + number * room, seen,
                                                             attend_room(all, F32_LANES))
                                     : 0.0f;
            float *to = y + ((query + i) * heads + head) * width;
            NO_UNROLL for (int64_t c = 0; c < width; c++) to[c] = 0.0f;
        }
    }
    NO_UNROLL for (int64_t key = 0; key < all; key++)
    {
        NO_UNROLL for (int64_t head = first; head < end * each; head++)
        {
            const void *row = attend_at(v, (key * groups + head / each) * width, half);
            UNROLL for (int i = 0; i < rows; i++)
            {
                if (key < limit + query + i)
                    attend_cached_add(y + ((query + i) * heads + head) * width, row,
                                      scratch[((head - first) * rows + i) * room + key], width,
                                      half);
            }
        }
    }
    NO_UNROLL for (int64_t head = first; head < end * each; head++)
    {
        NO_UNROLL for (int64_t i = 0; i < rows; i++)
        {
            float *to = y + ((query + i) * heads + head) * width;
            NO_UNROLL for (int64_t c = 0; c < width; c++) to[c] *= scale[(head - first) * rows + i];
        }
    }
}

// Units begin..end, a unit being the heads of one image that share a key. q [images, queries,
// heads, size], k [images, keys, groups, size], v [images, keys, groups, width]; y [images,
// queries, heads, width]. Query i sees keys 0 to position + i.
TEMPLATE void aml_attend_cached(const float *q, const void *k, const void *v, int64_t position,
                                float *y, float *scratch, int64_t queries, CACHED_SIZES,
                                int64_t begin, int64_t end)
{
    int64_t limit = position < keys ? position + 1 : keys; // a position far outside: no overflow
    limit = limit < -queries ? -queries : limit;
    NO_UNROLL for (int64_t unit = begin; unit < end;)
    {
        int64_t image = unit / groups, from = unit - image * groups, to = end - image * groups;
        to = to < groups ? to : groups;
        const float *own = q + image * queries * heads * size;
        const void *key = attend_at(k, image * keys * groups * size, half),
                   *value = attend_at(v, image * keys * groups * width, half);
        float *out = y + image * queries * heads * width;
        int64_t query = 0;
        NO_UNROLL for (; query + AML_ATTEND_TOGETHER <= queries; query += AML_ATTEND_TOGETHER)
            attend_cached_rows(own, key, value, out, scratch, heads, size, keys, groups, width,
                               half, factor, limit, from, to, query, AML_ATTEND_TOGETHER);
        NO_UNROLL for (; query < queries; query++)
            attend_cached_rows(own, key, value, out, scratch, heads, size, keys, groups, width,
                               half, factor, limit, from, to, query, 1);
        unit += to - from;
    }
}
