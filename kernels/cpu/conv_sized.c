// conv_sized.c: convolutions of bytes with sizes as data; conv_sized.h says what is where.

#include "conv_sized.h"
#include "kernel.h"
#include "vector.h"

#define EACH(i, most, count) UNROLL for (int64_t i = 0; i < most; i++) if (i < (count))

TEMPLATE void aml_shared_conv_line_quads(const i32v *in, int64_t step, i32v *restrict out);

// Units begin..end. `image_at` is where `context` has the image.
TEMPLATE void aml_shared_conv_sized_quads(
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
        aml_shared_conv_copy_quads(source + image * c->channels * c->source_h * c->source_w, 0,
                                   c->channels, 1, c->source_h, c->source_w, 0,
                                   c->origin_h + begin * c->step_h, c->origin_w, 1, c->copy_h,
                                   c->copy_w, copy);
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

// LANES registers of channels that lie `step` apart as registers of positions: aml_shared_square of
// conv_template.h, in a quarter of its code.
TEMPLATE void aml_shared_conv_line_quads(const i32v *in, int64_t step, i32v *restrict out)
{
    typedef int32_t Quarter __attribute__((vector_size(16)));
    enum { LANES = F32_LANES };
    NO_UNROLL for (int a = 0; a < LANES / 4; a++)
    {
        i32v row[4];
        UNROLL for (int m = 0; m < 4; m++)
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

// The sums of one tile; the last four are known when it is compiled.
TEMPLATE void aml_conv_sized_tile_quads(const int32_t *source, const int32_t *weights,
                                        const AmlConvSized *c, i32v *out, int64_t vectors,
                                        int64_t rows, int64_t columns, int64_t step)
{
    enum { LANES = F32_LANES };
    i32v sum[TILE][4];
    int64_t row_step = (int64_t)c->step_h * c->copy_w, plane = (int64_t)c->copy_h * c->copy_w,
            count = c->taps, pitch = c->pitch;
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
                i32v left = quad_splat(at[i / columns * row_step + i % columns * step]);
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
