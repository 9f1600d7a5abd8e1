// conv_along.c: the gradient for the weights of a convolution of bf16 whose lanes are positions;
// conv_along.h has the picture. Only targets with products of pairs call it.

#include "conv_along.h"
#include "tiles.h"

#if AML_WIDTH == 16

// What one tile is made of.
typedef struct AlongTile {
    const uint16_t *x[AML_ALONG_SUMS], *dy[AML_ALONG_SUMS]; // of its places and of its rows
    f32v *kept; // its sums, if there are images before or behind these
    float *out; // the first row, whose next one is out_step away
    int64_t images, x_step, dy_step, positions, out_step;
    int64_t rows, places; // those that exist: what is beyond repeats the last one
    bool begins, ends;
} AlongTile;

HELPER f32v along_load(const uint16_t *at)
{
    f32v value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

HELPER f32v along_load_some(const uint16_t *at, uint32_t lanes)
{
    return (f32v)_mm512_maskz_loadu_epi16(lanes, at);
}

// Sums of 16 registers, one in each lane: neighbours within quarters, then quarters.
HELPER f32v along_add(f32v sum[16])
{
    UNROLL for (int i = 0; i < 16; i += 2)
    {
        sum[i / 2] = WITHIN_QUARTERS(sum[i], sum[i + 1], 0, 16, 1, 17) +
                     WITHIN_QUARTERS(sum[i], sum[i + 1], 2, 18, 3, 19);
    }
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        sum[i / 2] = WITHIN_QUARTERS(sum[i], sum[i + 1], 0, 1, 16, 17) +
                     WITHIN_QUARTERS(sum[i], sum[i + 1], 2, 3, 18, 19);
    }
    UNROLL for (int i = 0; i < 4; i += 2)
    {
        sum[i / 2] = __builtin_shufflevector(sum[i], sum[i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18,
                                             19, 20, 21, 22, 23) +
                     __builtin_shufflevector(sum[i], sum[i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24,
                                             25, 26, 27, 28, 29, 30, 31);
    }
    return __builtin_shufflevector(sum[0], sum[1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25,
                                   26, 27) +
           __builtin_shufflevector(sum[0], sum[1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28,
                                   29, 30, 31);
}

// Where the sum of a row and a place stands: a row has four or eight lanes of a register.
HELPER int along_at(int row, int place, int places)
{
    return row * (places > 4 ? 8 : 4) + place;
}

HELPER void along_tile(const AlongTile *tile, int rows, int places)
{
    f32v sum[2 * F32_LANES] = {};
    if (!tile->begins) {
        UNROLL for (int i = 0; i < AML_ALONG_SUMS; i++)
            sum[along_at(i / places, i % places, places)] = tile->kept[i];
    }
    const uint16_t *x[AML_ALONG_SUMS], *dy[AML_ALONG_SUMS];
    UNROLL for (int j = 0; j < places; j++) x[j] = tile->x[j];
    UNROLL for (int i = 0; i < rows; i++) dy[i] = tile->dy[i];
    int64_t whole = tile->positions / AML_ALONG_LANES * AML_ALONG_LANES, at_x = 0, at_dy = 0;
    uint32_t rest = (1u << tile->positions % AML_ALONG_LANES) - 1;
    NO_UNROLL for (int64_t image = 0; image < tile->images; image++)
    {
        NO_UNROLL for (int64_t end = at_dy + whole; at_dy < end; at_dy += AML_ALONG_LANES)
        {
            f32v left[AML_ALONG_SUMS];
            UNROLL for (int i = 0; i < rows; i++) left[i] = along_load(dy[i] + at_dy);
            UNROLL for (int j = 0; j < places; j++)
            {
                f32v right = along_load(x[j] + at_x);
                UNROLL for (int i = 0; i < rows; i++)
                {
                    f32v *s = &sum[along_at(i, j, places)];
                    *s = bf16_pairs_fma(left[i], right, *s);
                }
            }
            at_x += AML_ALONG_LANES;
        }
        if (rest) {
            f32v left[AML_ALONG_SUMS];
            UNROLL for (int i = 0; i < rows; i++) left[i] = along_load_some(dy[i] + at_dy, rest);
            UNROLL for (int j = 0; j < places; j++)
            {
                f32v right = along_load_some(x[j] + at_x, rest);
                UNROLL for (int i = 0; i < rows; i++)
                {
                    f32v *s = &sum[along_at(i, j, places)];
                    *s = bf16_pairs_fma(left[i], right, *s);
                }
            }
        }
        at_x += tile->x_step - whole;
        at_dy += tile->dy_step - whole;
    }
    if (!tile->ends) {
        UNROLL for (int i = 0; i < AML_ALONG_SUMS; i++) tile->kept[i] =
            sum[along_at(i / places, i % places, places)];
        return;
    }
    f32v line[2] = {along_add(sum), along_add(sum + F32_LANES)};
    uint32_t lanes = (1u << tile->places) - 1;
    NO_UNROLL for (int i = 0; i < tile->rows; i++)
    {
        const float *from = (const float *)line + along_at(i, 0, places);
        float *to = tile->out + i * tile->out_step;
        if (places > 4)
            _mm256_mask_storeu_ps(to, (__mmask8)lanes, _mm256_loadu_ps(from));
        else
            _mm_mask_storeu_ps(to, (__mmask8)lanes, _mm_loadu_ps(from));
    }
}

// Copies: columns left, left + stride_w, ... of rows top, top + stride_h, ..., `columns` by `rows`
// of them; what is outside of the source is zero. What lies `ahead` is read soon.
TEMPLATE void aml_shared_along_copy(const uint16_t *source, int64_t source_h, int64_t source_w,
                                    int64_t top, int64_t left, int64_t stride_h, int64_t stride_w,
                                    int64_t rows, int64_t columns, int64_t ahead, uint16_t *copy);
TEMPLATE void aml_shared_along_4(const AlongTile *tile);
TEMPLATE void aml_shared_along_6(const AlongTile *tile);

#define AXES(name) int64_t name##_h, int64_t name##_w

TEMPLATE void aml_conv_along(const uint16_t *x, const uint16_t *dy, uint16_t *copy, float *out,
                             int64_t images, int64_t groups, int64_t split, int64_t from,
                             int64_t to, AXES(source), AXES(result), AXES(kernel), AXES(stride),
                             AXES(low), AXES(dilation), int64_t direct, int64_t along,
                             int64_t channel_chunk, int64_t channel_parts, int64_t block_images,
                             int64_t copy_elements, int64_t part_begin, int64_t part_end)
{
    int64_t taps = kernel_h * kernel_w, positions = result_h * result_w;
    int64_t source_size = source_h * source_w, each = images / split;
    int64_t rows = result_h + aml_along_reach(kernel_h, dilation_h, stride_h);
    int64_t plane = aml_along_plane(rows, result_w); // of one row of the stride
    int64_t x_step = direct ? groups * from * positions : plane * stride_h;
    int64_t column = x_step * block_images; // of the kernel, in the copy
    int64_t channel_step = direct ? positions : column * kernel_w;
    int64_t places = AML_ALONG_SUMS / along;
    AlongTile tile = {.x_step = x_step,
                      .dy_step = groups * to * positions,
                      .positions = positions,
                      .out_step = from * taps};
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t first = part % channel_parts * channel_chunk, third = part / channel_parts;
        int64_t channels = from - first < channel_chunk ? from - first : channel_chunk;
        int64_t group = third / split, share = third % split;
        float *weights = out + (share * groups + group) * to * from * taps + first * taps;
        NO_UNROLL for (int64_t begin = 0; begin < each; begin += block_images)
        {
            int64_t image = share * each + begin;
            tile.images = each - begin < block_images ? each - begin : block_images;
            tile.begins = begin == 0;
            tile.ends = begin + block_images >= each;
            tile.kept = (f32v *)(void *)((float *)(void *)copy + copy_elements);
            const uint16_t *in = x + ((image * groups + group) * from + first) * source_size;
            if (!direct) {
                NO_UNROLL for (int64_t e = 0; e < channels * tile.images; e++)
                {
                    int64_t channel = e / tile.images, i = e % tile.images;
                    NO_UNROLL for (int64_t k = 0; k < kernel_w * stride_h; k++)
                    {
                        int64_t at = k / stride_h, row = k % stride_h;
                        aml_shared_along_copy(
                            in + (i * groups * from + channel) * source_size, source_h, source_w,
                            row - low_h, at * dilation_w - low_w, stride_h, stride_w, rows,
                            result_w, channel_chunk * source_size,
                            copy + channel * channel_step + at * column + i * x_step + row * plane);
                    }
                }
                in = copy;
            }
            NO_UNROLL for (int64_t p = 0; p < channels * taps; p += places)
            {
                tile.places = channels * taps - p < places ? channels * taps - p : places;
                NO_UNROLL for (int64_t i = 0; i < places; i++)
                {
                    int64_t place = i < tile.places ? p + i : channels * taps - 1;
                    int64_t tap = place % taps, row = tap / kernel_w * dilation_h;
                    tile.x[i] = in + place / taps * channel_step + tap % kernel_w * column +
                                row % stride_h * plane + row / stride_h * result_w;
                }
                NO_UNROLL for (int64_t r = 0; r < to; r += along)
                {
                    tile.rows = to - r < along ? to - r : along;
                    NO_UNROLL for (int64_t i = 0; i < along; i++)
                    {
                        int64_t row = i < tile.rows ? r + i : to - 1;
                        tile.dy[i] = dy + ((image * groups + group) * to + row) * positions;
                    }
                    tile.out = weights + r * from * taps + p;
                    if (along == 4)
                        aml_shared_along_4(&tile);
                    else
                        aml_shared_along_6(&tile);
                    tile.kept += AML_ALONG_SUMS;
                }
            }
        }
    }
}
#undef AXES

TEMPLATE void aml_shared_along_4(const AlongTile *tile)
{
    along_tile(tile, 4, AML_ALONG_SUMS / 4);
}

TEMPLATE void aml_shared_along_6(const AlongTile *tile)
{
    along_tile(tile, 6, AML_ALONG_SUMS / 6);
}

// The columns first, first + 1, ... of a row that has `width`: which of them there are.
HELPER uint32_t along_inside(int64_t first, int64_t width)
{
    typedef uint16_t Columns __attribute__((vector_size(64)));
    Columns column = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                      16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    return _mm512_cmplt_epu16_mask((__m512i)(column + (uint16_t)first),
                                   (__m512i)((Columns){} + (uint16_t)width));
}

HELPER uint16_t *along_zeros(uint16_t *copy, int64_t count)
{
    NO_UNROLL for (int64_t e = 0; e < count; e += AML_ALONG_LANES)
        _mm512_storeu_si512(copy + e, _mm512_setzero_si512());
    return copy + count;
}

// Rows that lie side by side in the source and in the copy, some of which fill a register.
HELPER void along_copy_whole(const uint16_t *in, int64_t left, int64_t count, int64_t columns,
                             uint16_t *copy)
{
    uint32_t inside = 0, row = along_inside(left, columns) & (uint32_t)((1ull << columns) - 1);
    NO_UNROLL for (int64_t lane = 0; lane < AML_ALONG_LANES; lane += columns) inside |= row << lane;
    int64_t e = 0;
    NO_UNROLL for (; e + AML_ALONG_LANES <= count; e += AML_ALONG_LANES)
        _mm512_storeu_si512(copy + e, _mm512_maskz_loadu_epi16(inside, in + e));
    if (e < count)
        _mm512_storeu_si512(copy + e,
                            _mm512_maskz_loadu_epi16(inside & ((1u << (count - e)) - 1), in + e));
}

// Whole registers are stored, and what they hold beyond their row is stored over by what follows.
TEMPLATE void aml_shared_along_copy(const uint16_t *source, int64_t source_h, int64_t source_w,
                                    int64_t top, int64_t left, int64_t stride_h, int64_t stride_w,
                                    int64_t rows, int64_t columns, int64_t ahead, uint16_t *copy)
{
    enum { LINE = 32 }; // elements
    NO_UNROLL for (int64_t e = 0; e < source_h * source_w; e += LINE)
        __builtin_prefetch(source + ahead + e);
    int64_t before = top >= 0 ? 0 : (-top + stride_h - 1) / stride_h;
    before = before < rows ? before : rows;
    int64_t end = source_h > top ? (source_h - top + stride_h - 1) / stride_h : 0;
    end = end < rows ? end : rows;
    end = end > before ? end : before;
    copy = along_zeros(copy, before * columns);
    const uint16_t *in = source + (top + before * stride_h) * source_w + left;
    if (stride_h == 1 && stride_w == 1 && source_w == columns && AML_ALONG_LANES % columns == 0) {
        along_copy_whole(in, left, (end - before) * columns, columns, copy);
        copy += (end - before) * columns;
    } else {
        NO_UNROLL for (int64_t y = before; y < end; y++, in += stride_h * source_w)
        {
            if (stride_w == 1) {
                NO_UNROLL for (int64_t x = 0; x < columns; x += AML_ALONG_LANES)
                    _mm512_storeu_si512(copy + x, _mm512_maskz_loadu_epi16(
                                                      along_inside(left + x, source_w), in + x));
            } else { // every other one
                NO_UNROLL for (int64_t x = 0; x < columns; x += AML_ALONG_LANES / 2)
                    _mm256_storeu_si256((__m256i *)(void *)(copy + x),
                                        _mm512_cvtepi32_epi16(_mm512_maskz_loadu_epi16(
                                            along_inside(left + 2 * x, source_w), in + 2 * x)));
            }
            copy += columns;
        }
    }
    along_zeros(copy, (rows - end) * columns);
}

#endif
