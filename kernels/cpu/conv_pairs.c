// conv_pairs.c: convolutions of bf16, two products of a lane at once, summed as f32: the template
// of conv_template.h with pairs for elements, which the copies make of what lies in memory.
//
//   aml_conv         a pair is two channels of the source; the weights are packed likewise
//   aml_conv_weight  a pair is two images; conv_along.c has the other way
//
//     source   c0  [ a b c .. ]        copy  [ a A | b B | c C | .. ]
//              c1  [ A B C .. ]
//
// What has no partner is paired with zeros. Only targets with the instruction call these.

#include "conv_tiles.h"
#include "tiles.h"

HELPER const uint16_t *conv_at_pairs(const uint16_t *base, int64_t index, int64_t half)
{
    (void)half;
    return base + index;
}

// Elements of two rows that lie `apart`, as pairs; 0: there is one row only, which is read twice.
HELPER f32v conv_load_pairs(const uint16_t *base, int64_t index, int lanes, int64_t apart)
{
    u16v low = u16_load_some(base + index, lanes),
         high = u16_load_some(base + index + apart, lanes);
    u32v there = (u32v){} - (uint32_t)(apart != 0);
    return (f32v)(u16_spread(low) | (u16_spread(high) << 16 & there));
}

#define AXES(name) int64_t name##_d, int64_t name##_h, int64_t name##_w

// What a unit computes waits in scratch until all of it is there: results of a few columns of many
// channels become rows of whole registers, for which memory is fetched ahead. That is worth it
// where the epilogue reads along.
typedef struct ConvKept {
    float *at;
    int64_t step, first_row, first;
} ConvKept;

#define CONV_PARAMETERS                                                                            \
    const uint16_t *source, const float *packed, float *copy, const int64_t *table,                \
        int64_t *image_at, int64_t groups, int64_t channels, int64_t from, int64_t to,             \
        int64_t taps, AXES(source), AXES(result), AXES(phases), AXES(base), AXES(step),            \
        AXES(origin), AXES(copy), int64_t direct, int64_t block_axis, int64_t block_rows,          \
        int64_t blocks, int64_t vectors, int64_t pitch, int64_t tile_rows, int64_t tile_columns,   \
        int64_t half, int64_t depth, int64_t around, int64_t unit_begin, int64_t unit_end,         \
        void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, f32v value),       \
        void *context
TEMPLATE void aml_conv_pairs(CONV_PARAMETERS);
SHARED void aml_shared_conv_copy_images_pairs(const uint16_t *source, int64_t apart,
                                              int64_t channels, AXES(source), AXES(origin),
                                              AXES(copy), int64_t around, float *copy);
TEMPLATE void conv_keep(void *context, int64_t row, int64_t column, int lanes, f32v value);

// `kept`: where in the memory of the copy the results wait.
TEMPLATE void aml_conv_kept_pairs(int64_t kept, CONV_PARAMETERS)
{
    int64_t line = block_axis == 0 ? result_h * result_w : result_w; // positions of a row
    int64_t all = block_axis == 0 ? result_d : result_h;
    ConvKept keep = {.at = copy + kept, .step = aml_conv_kept_step(block_rows * line, F32_LANES)};
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t begin = unit % blocks * block_rows, group = unit / blocks % groups;
        int64_t rows = all - begin < block_rows ? all - begin : block_rows;
        keep.first_row = group * to;
        keep.first = begin * line;
        aml_conv_pairs(source, packed, copy, table, image_at, groups, channels, from, to, taps,
                       source_d, source_h, source_w, result_d, result_h, result_w, phases_d,
                       phases_h, phases_w, base_d, base_h, base_w, step_d, step_h, step_w, origin_d,
                       origin_h, origin_w, copy_d, copy_h, copy_w, direct, block_axis, block_rows,
                       blocks, vectors, pitch, tile_rows, tile_columns, half, depth,
                       around && unit == unit_begin, unit, unit + 1, conv_keep, &keep);
        NO_UNROLL for (int64_t row = 0; row < to; row++)
        {
            const float *at = keep.at + row * keep.step;
            int64_t p = 0;
            NO_UNROLL for (; p + F32_LANES <= rows * line; p += F32_LANES) epilogue(
                context, keep.first_row + row, keep.first + p, F32_LANES, f32_load(at + p));
            if (p < rows * line)
                epilogue(context, keep.first_row + row, keep.first + p, (int)(rows * line - p),
                         f32_load(at + p));
        }
    }
}
#undef CONV_PARAMETERS
#undef AXES

#define CONV_PAIRS
#define ELEMENT float
#define SOURCE uint16_t
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_pairs
#define V(name) pairs_##name
#define pairs_store f32_store
#define aml_shared_square_pairs aml_shared_square_f32
#define aml_shared_conv_weight_store_pairs aml_shared_conv_weight_store_f32
#include "conv_template.h"
#undef CONV_PAIRS
#undef ELEMENT
#undef SOURCE
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#define AXES(name) int64_t name##_d, int64_t name##_h, int64_t name##_w
// Two planes together. Rows of two are too short to be seen as streams, so those of the next ones
// are asked for.
enum { CONV_AHEAD = 2048 }; // elements

SHARED void aml_shared_conv_copy_pairs(const uint16_t *source, int64_t half, int64_t channels,
                                       AXES(source), AXES(origin), AXES(copy), int64_t around,
                                       float *copy)
{
    (void)half;
    int64_t plane = source_d * source_h * source_w;
    int64_t ahead = 2 * plane > CONV_AHEAD ? 2 * plane : CONV_AHEAD;
    NO_UNROLL for (int64_t channel = 0; channel < channels; channel += 2) copy = conv_plane_pairs(
        source + channel * plane, channel + 1 < channels ? plane : 0, ahead, source_d, source_h,
        source_w, origin_d, origin_h, origin_w, copy_d, copy_h, copy_w, around, NULL, NULL, 0, 0,
        copy);
}

// The second image lies `apart`; 0: there is none.
SHARED void aml_shared_conv_copy_images_pairs(const uint16_t *source, int64_t apart,
                                              int64_t channels, AXES(source), AXES(origin),
                                              AXES(copy), int64_t around, float *copy)
{
    int64_t plane = source_d * source_h * source_w;
    NO_UNROLL for (int64_t channel = 0; channel < channels; channel++) copy =
        conv_plane_pairs(source + channel * plane, apart, CONV_AHEAD, source_d, source_h, source_w,
                         origin_d, origin_h, origin_w, copy_d, copy_h, copy_w, around, NULL, NULL,
                         0, 0, copy);
}
#undef AXES

// Whole registers, from left to right: what is too much is stored over by what follows.
TEMPLATE void conv_keep(void *context, int64_t row, int64_t column, int lanes, f32v value)
{
    (void)lanes;
    const ConvKept *keep = context;
    f32_store(keep->at + (row - keep->first_row) * keep->step + column - keep->first, value);
}

#if AML_WIDTH == 16
// Sixteen rows of sixteen elements of an image, as many of another one, turned around: rows of
// pairs. Rows i and i + 8 are one register, pairs are zipped within its quarters, and then quarters
// are turned around, two sets of channels apart from each other:
//
//     zipped   c0 p0..3  | c0 p8..11 | c8 p0..3  | c8 p8..11
//     turned   p0 c0..3  | p8 c0..3  | p0 c8..11 | p8 c8..11      and the same for c4..7, c12..15
HELPER void conv_turn_square(const u16v low[F32_LANES], const u16v high[F32_LANES],
                             f32v turned[F32_LANES])
{
    typedef uint16_t Wide __attribute__((vector_size(64)));
#define BOTH                                                                                       \
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,  \
        26, 27, 28, 29, 30, 31
#define ZIP(i) i, i + 32, i + 1, i + 33, i + 2, i + 34, i + 3, i + 35
    f32v zipped[2][8], square[2][8];
    UNROLL for (int i = 0; i < 8; i++)
    {
        Wide first = __builtin_shufflevector(low[i], low[i + 8], BOTH);
        Wide second = __builtin_shufflevector(high[i], high[i + 8], BOTH);
        zipped[0][i] =
            (f32v)__builtin_shufflevector(first, second, ZIP(0), ZIP(8), ZIP(16), ZIP(24));
        zipped[1][i] =
            (f32v)__builtin_shufflevector(first, second, ZIP(4), ZIP(12), ZIP(20), ZIP(28));
    }
#undef BOTH
#undef ZIP
    UNROLL for (int i = 0; i < 4; i++)
    {
        const f32v *row = zipped[i % 2] + i / 2 * 4;
        f32v *to = square[i / 2] + i % 2 * 4;
        f32v a = WITHIN_QUARTERS(row[0], row[1], 0, 16, 1, 17);
        f32v b = WITHIN_QUARTERS(row[0], row[1], 2, 18, 3, 19);
        f32v c = WITHIN_QUARTERS(row[2], row[3], 0, 16, 1, 17);
        f32v d = WITHIN_QUARTERS(row[2], row[3], 2, 18, 3, 19);
        to[0] = WITHIN_QUARTERS(a, c, 0, 1, 16, 17);
        to[1] = WITHIN_QUARTERS(a, c, 2, 3, 18, 19);
        to[2] = WITHIN_QUARTERS(b, d, 0, 1, 16, 17);
        to[3] = WITHIN_QUARTERS(b, d, 2, 3, 18, 19);
    }
    UNROLL for (int i = 0; i < 8; i++)
    {
        f32v a = square[0][i], b = square[1][i];
        turned[i] =
            __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        turned[i + 8] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15,
                                                28, 29, 30, 31);
    }
}

// As in conv_template.h; the other image lies `apart`, or there is none: 0.
SHARED void aml_shared_conv_turn_pairs(const uint16_t *in, int64_t apart, int64_t channels,
                                       int64_t channel_step, int64_t count, int64_t vectors,
                                       int64_t panels, int64_t panel_step, float *out)
{
    NO_UNROLL for (int64_t v = 0; v < panels * vectors; v++)
    {
        int64_t lines = channels - v * F32_LANES;
        const uint16_t *from = in + v * F32_LANES * channel_step;
        float *to = out + v / vectors * panel_step + v % vectors * F32_LANES;
        NO_UNROLL for (int64_t q = 0; q < count; q += F32_LANES)
        {
            int64_t left = count - q < F32_LANES ? count - q : F32_LANES;
            u16v low[F32_LANES], high[F32_LANES];
            f32v square[F32_LANES];
            if (left == F32_LANES && lines >= F32_LANES && apart) {
                UNROLL for (int64_t i = 0; i < F32_LANES; i++)
                {
                    low[i] = u16_load_some(from + i * channel_step + q, F32_LANES);
                    high[i] = u16_load_some(from + i * channel_step + q + apart, F32_LANES);
                }
                conv_turn_square(low, high, square);
                UNROLL for (int64_t i = 0; i < F32_LANES; i++)
                    f32_store(to + (q + i) * vectors * F32_LANES, square[i]);
                continue;
            }
            NO_UNROLL for (int64_t i = 0; i < F32_LANES; i++)
            {
                const uint16_t *row = from + i * channel_step + q;
                low[i] = i < lines ? u16_load_some(row, (int)left) : (u16v){};
                high[i] = i < lines && apart ? u16_load_some(row + apart, (int)left) : (u16v){};
            }
            conv_turn_square(low, high, square);
            NO_UNROLL for (int64_t i = 0; i < left; i++)
                f32_store(to + (q + i) * vectors * F32_LANES, square[i]);
        }
    }
}
#endif

// Panels begin..end of the weights, as aml_conv_pack has them, but pairs of `channels`.
SHARED void aml_shared_conv_pack_pairs(const uint16_t *weights, uint32_t *packed,
                                       const int64_t *table, int64_t input, int64_t channels,
                                       int64_t to, int64_t taps, int64_t panel, int64_t phases,
                                       int64_t begin, int64_t end)
{
    if (conv_pack_turned_pairs(weights, (float *)packed, input, channels, to, taps, panel, phases,
                               begin, end))
        return;
    int64_t panels = (to + panel - 1) / panel, from = (channels + 1) / 2;
    NO_UNROLL for (int64_t i = begin; i < end; i++)
    {
        int64_t group = i / panels, first = i % panels * panel;
        uint32_t *out = packed + i * panel * from * taps;
        // conv: weights [group, to, channels, kernel]; conv_input: [group, channels, to, kernel]
        int64_t result_step = input ? taps : channels * taps,
                channel_step = input ? to * taps : taps;
        const uint16_t *group_at = weights + group * to * channels * taps;
        NO_UNROLL for (int64_t f = 0; f < phases; f++)
        {
            NO_UNROLL for (int64_t channel = 0; channel < channels; channel += 2)
            {
                NO_UNROLL for (int64_t t = table[2 * f]; t < table[2 * f] + table[2 * f + 1]; t++)
                {
                    const uint16_t *at = group_at + channel * channel_step +
                                         table[AML_CONV_TABLE + 2 * t + 1] + first * result_step;
                    NO_UNROLL for (int64_t lane = 0; lane < panel; lane++)
                    {
                        uint32_t low = 0, high = 0;
                        if (first + lane < to) {
                            low = at[lane * result_step];
                            if (channel + 1 < channels)
                                high = at[lane * result_step + channel_step];
                        }
                        *out++ = low | high << 16;
                    }
                }
            }
        }
    }
}

#ifdef AML_HAS_TILES
// Blocks begin..end of the weights.
SHARED void aml_shared_conv_tiles_pack(const uint16_t *weights, char *packed,
                                       const int64_t *table, int64_t input, int64_t channels,
                                       int64_t from, int64_t to, int64_t taps, int64_t begin,
                                       int64_t end)
{
    aml_conv_tiles_pack(begin, end, 2, input, channels, from, to, taps, table, weights, packed);
}

#define NAME(name) name##_pairs
#define VECTOR f32v
#define SOURCE uint16_t
#define ELEMENT float
#define TILES_KIND TILES_PAIRS
#include "conv_tiles_template.h"
#undef NAME
#undef VECTOR
#undef SOURCE
#undef ELEMENT
#undef TILES_KIND
#endif
