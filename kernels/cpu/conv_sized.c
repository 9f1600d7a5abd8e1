// conv_sized.c: convolutions of bytes with sizes as data; conv_sized.h says what is where.

#include "conv_sized.h"
#include "kernel.h"
#include "vector.h"

#define EACH(i, most, count) UNROLL for (int64_t i = 0; i < most; i++) if (i < (count))

SHARED SMALL void aml_shared_conv_sized_copy_quads(const AmlConvSized *c, const uint8_t *source,
                                                   int64_t y, int32_t *copy);
SHARED SMALL void aml_shared_conv_line_quads(const i32v *in, int64_t step, i32v *restrict out);

// Units begin..end. `image_at` is where `context` has the image.
SHARED SMALL void aml_shared_conv_sized_quads(
    const AmlConvSized *c, const uint8_t *source, const int32_t *packed, int32_t *copy,
    int64_t *image_at, int64_t unit_begin, int64_t unit_end,
    void (*tile)(const int32_t *source, const int32_t *weights, const AmlConvSized *c, i32v *out),
    void (*lines)(void *context, int64_t row, int64_t column, int64_t lines, int64_t lanes,
                const i32v *line),
    void *context)
{
    enum { LANES = F32_LANES, HOLD = AML_CONV_TILE + 4 * LANES };
    int64_t vectors = c->vectors, panel = vectors * LANES, pitch = c->pitch, to = c->to;
    int64_t wide_panels = (to + pitch - 1) / pitch, all = (int64_t)c->tile_rows * c->tile_columns;
    i32v hold[HOLD]; // what lies behind the last sum is read, not used
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t block = unit % c->blocks, image = unit / c->blocks, group = image % c->groups;
        *image_at = image / c->groups;
        int64_t begin = block * c->block_rows, end = begin + c->block_rows;
        end = end < c->result_h ? end : c->result_h;
        aml_shared_conv_sized_copy_quads(c,
                                         source + image * c->channels * c->source_h * c->source_w,
                                         c->origin_h + begin * c->step_h, copy);
        NO_UNROLL for (int64_t first = 0; first < to; first += panel)
        {
            const int32_t *weights =
                packed + (group * wide_panels + first / pitch) * pitch * c->from * c->taps +
                first % pitch;
            NO_UNROLL for (int64_t y = begin; y < end; y += c->tile_rows)
            {
                const int32_t *row =
                    copy + ((y - begin) * c->step_h - c->origin_h) * c->copy_w - c->origin_w;
                int64_t left = (int64_t)c->result_w * c->tile_rows;
                NO_UNROLL for (; left > 0; left -= all)
                {
                    tile(row, weights, c, hold);
                    row += c->tile_columns * c->step_w;
                    int64_t count = left < all ? left : all;
                    int64_t position = (y + c->tile_rows) * c->result_w - left;
                    NO_UNROLL for (int64_t v = 0; v < vectors; v++)
                    {
                        int64_t channel = first + v * LANES;
                        int64_t channels = to - channel < LANES ? to - channel : LANES;
                        if (channels <= 0)
                            break;
                        NO_UNROLL for (int64_t p = 0; p < count; p += LANES)
                        {
                            i32v line[LANES];
                            aml_shared_conv_line_quads(hold + p * vectors + v, vectors, line);
                            lines(context, group * to + channel, position + p, channels,
                                  count - p < LANES ? count - p : LANES, line);
                        }
                    }
                }
            }
        }
    }
}

// The rows of the source from y on as quads, with what is around it.
SHARED SMALL void aml_shared_conv_sized_copy_quads(const AmlConvSized *c, const uint8_t *source,
                                                   int64_t y, int32_t *copy)
{
    int64_t wide = c->copy_w, before = c->origin_w < 0 ? -c->origin_w : 0;
    int64_t first = c->origin_w < 0 ? 0 : c->origin_w, left = c->channels;
    before = before < wide ? before : wide;
    int64_t middle = c->source_w - first < wide - before ? c->source_w - first : wide - before;
    middle = middle < 0 ? 0 : middle;
    int64_t plane = (int64_t)c->source_h * c->source_w, below = y + c->copy_h;
    const uint8_t *end = source + left * plane;
    NO_UNROLL for (; left > 0; left -= 4)
    {
        NO_UNROLL for (int64_t row = y; row < below; row++)
        {
            bool outside = row < 0 || row >= c->source_h;
            quads_row(outside ? source : source + row * c->source_w + first, end, plane, left,
                      outside ? wide : before, outside ? 0 : middle, wide, copy);
            copy += wide;
        }
        source += 4 * plane;
    }
}

// LANES registers of channels that lie `step` apart as registers of positions: aml_shared_square of
// conv_template.h, in a quarter of its code.
SHARED SMALL void aml_shared_conv_line_quads(const i32v *in, int64_t step, i32v *restrict out)
{
    typedef int32_t Quarter __attribute__((vector_size(16)));
    enum { LANES = F32_LANES };
    NO_UNROLL for (int a = 0; a < LANES / 4; a++)
    {
        i32v row[4];
        NO_UNROLL for (int m = 0; m < 4; m++)
        {
            const Quarter *at = (const Quarter *)(in + m * step) + a;
            row[m] = QUARTERS_AT(at, step * LANES);
        }
        i32v low = WITHIN_QUARTERS(row[0], row[1], 0, LANES, 1, LANES + 1);
        i32v high = WITHIN_QUARTERS(row[0], row[1], 2, LANES + 2, 3, LANES + 3);
        i32v low_next = WITHIN_QUARTERS(row[2], row[3], 0, LANES, 1, LANES + 1);
        i32v high_next = WITHIN_QUARTERS(row[2], row[3], 2, LANES + 2, 3, LANES + 3);
        out[4 * a] = WITHIN_QUARTERS(low, low_next, 0, 1, LANES, LANES + 1);
        out[4 * a + 1] = WITHIN_QUARTERS(low, low_next, 2, 3, LANES + 2, LANES + 3);
        out[4 * a + 2] = WITHIN_QUARTERS(high, high_next, 0, 1, LANES, LANES + 1);
        out[4 * a + 3] = WITHIN_QUARTERS(high, high_next, 2, 3, LANES + 2, LANES + 3);
    }
}

// The sums of one tile; the last three are known when it is compiled. Four positions at a time have
// an address: an offset for each of them would need more registers than there are, and LLVM would
// have them, so it must not know how the addresses follow from each other.
TEMPLATE void aml_conv_sized_tile_quads(const int32_t *source, const int32_t *weights,
                                        const AmlConvSized *c, i32v *out, int64_t vectors,
                                        int64_t rows, int64_t columns)
{
    enum { LANES = F32_LANES };
    i32v sum[TILE][4];
    int64_t step = c->step_w, plane = (int64_t)c->copy_h * c->copy_w, count = c->taps,
            pitch = c->pitch,
            next_row = (int64_t)c->step_h * c->copy_w - (columns - 1) / 4 * 4 * step;
    EACH(i, TILE, rows * columns)
    {
        EACH(j, 4, vectors) sum[i][j] = (i32v){};
    }
    NO_UNROLL for (int64_t channel = c->from; channel > 0; channel--)
    {
        NO_UNROLL for (int64_t t = 0; t < count; t++)
        {
            const int32_t *at = source + c->tap[t];
            i32v right[4];
            EACH(j, 4, vectors) right[j] = quad_load(weights + j * LANES);
            EACH(i, TILE, rows * columns)
            {
                int64_t column = i % columns;
                if (i && column % 4 == 0) {
                    at += column ? 4 * step : next_row;
                    __asm__("" : "+r"(at));
                }
                i32v left = quad_splat(at[column % 4 * step]);
                EACH(j, 4, vectors) sum[i][j] = quad_fma(left, right[j], sum[i][j]);
            }
            weights += pitch;
        }
        source += plane;
    }
    EACH(i, TILE, rows * columns)
    {
        EACH(j, 4, vectors) out[i * vectors + j] = sum[i][j];
    }
}

#undef EACH
