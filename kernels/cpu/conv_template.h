// conv_template.h: convolutions, included once for each element type (conv.c). conv.h says how they
// are computed.
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h); what is
// called aml_shared_ is not inlined: it exists once, for all sizes. The loops
// over a tile are unrolled up to the largest one; what is beyond this tile goes away when its size
// is known.

//
// Where each channel has a convolution of its own (`depth`: how many there are), a group is a register
// of channels, and an element of the copy such a register.
//
// An element is one number, or four channels of bytes (CONV_QUADS, quads.c), or a pair of bf16
// (CONV_PAIRS, conv_pairs.c). SOURCE is what lies in memory; `channels` of it become `from` elements
// of a place.

// What is copied may be made of something else (`prologue`): it gives `lanes` elements from one
// position of a channel on, and zeros behind them. NULL: the copy is of what lies in memory.

#define AXES(name) int64_t name##_d, int64_t name##_h, int64_t name##_w
#define PROLOGUE(name)                                                                             \
    VECTOR (*name)(void *context, int64_t image, int64_t channel, int64_t position, int lanes)
#define EACH(i, most, count) UNROLL for (int64_t i = 0; i < most; i++) if (i < (count))
#define TILE_PARAMETERS                                                                            \
    const ELEMENT *source, int64_t plane, int64_t row_step, int64_t step, const ELEMENT *weights,  \
        const int64_t *table, int64_t from, int64_t vectors, int64_t pitch, int64_t rows,          \
        int64_t columns, int64_t phases, int64_t phase_base, int64_t first_phase, int64_t alike, int64_t depth

#ifndef CONV_QUADS
// Zeros in whole registers, mostly one: a loop alone would become a call.
HELPER void NAME(conv_zeros)(ELEMENT *out, int64_t count)
{
    VECTOR zero = {};
    if (count > 0)
        V(store)(out, zero);
    NO_UNROLL for (int64_t x = LANES; x < count; x += LANES) V(store)(out + x, zero);
}

HELPER void NAME(conv_row)(const SOURCE *in, int64_t half, int64_t ahead, int64_t whole,
                           int64_t rest, PROLOGUE(made), void *context, int64_t image,
                           int64_t channel, int64_t position, ELEMENT *out)
{
    if (made) {
        NO_UNROLL for (int64_t i = 0; i < whole; i++) V(store)(
            out + i * LANES, made(context, image, channel, position + i * LANES, LANES));
        if (rest)
            V(store)(out + whole * LANES,
                     made(context, image, channel, position + whole * LANES, (int)rest));
        return;
    }
    if (ahead && sizeof(SOURCE) != sizeof(ELEMENT)) {
        __builtin_prefetch(in + ahead);
        __builtin_prefetch(in + half + ahead);
    }
    NO_UNROLL for (int64_t i = 0; i < whole; i++)
    {
        if (ahead && sizeof(SOURCE) == sizeof(ELEMENT))
            __builtin_prefetch(in + i * LANES + ahead);
        V(store)(out + i * LANES, NAME(conv_load)(in, i * LANES, LANES, half));
    }
    if (rest)
        V(store)(out + whole * LANES, NAME(conv_load)(in, whole * LANES, (int)rest, half));
}

// One plane of a copy, from left to right: whole registers are stored, and what they hold beyond
// their row, zeros, is stored over by the next one. Rows are short, so little is done for each.
// `half`, of pairs: how far away the second plane lies. What lies `ahead` is read soon; 0: it is not
// asked for.
HELPER ELEMENT *NAME(conv_plane)(const SOURCE *source, int64_t half, int64_t ahead, AXES(source),
                                 AXES(origin), AXES(copy), int64_t around, PROLOGUE(made),
                                 void *context, int64_t image, int64_t channel, ELEMENT *copy)
{
    int64_t before = origin_w < 0 ? -origin_w : 0, first = origin_w < 0 ? 0 : origin_w;
    before = before < copy_w ? before : copy_w;
    int64_t middle = source_w - first < copy_w - before ? source_w - first : copy_w - before;
    middle = middle < 0 ? 0 : middle;
    int64_t whole = middle / LANES, rest = middle % LANES, all = copy_h * copy_w;
    int64_t from = origin_h > 0 ? origin_h : 0, to = origin_h + copy_h;
    to = to < source_h ? to : source_h;
    NO_UNROLL for (int64_t z = origin_d; z < origin_d + copy_d; z++, copy += all)
    {
        if (z < 0 || z >= source_d || from >= to) {
            if (around)
                NAME(conv_zeros)(copy, all);
            continue;
        }
        int64_t position = (z * source_h + from) * source_w + first;
        const SOURCE *in = made ? source : NAME(conv_at)(source, position, half);
        ELEMENT *out = copy + (from - origin_h) * copy_w + before;
        if (!around) {
            NO_UNROLL for (int64_t y = from; y < to; y++)
            {
                NAME(conv_row)
                (in, half, ahead, whole, rest, made, context, image, channel, position, out);
                in = made ? in : NAME(conv_at)(in, source_w, half);
                position += source_w;
                out += copy_w;
            }
            continue;
        }
        NAME(conv_zeros)(copy, out - copy);
        NO_UNROLL for (int64_t y = from; y < to; y++)
        {
            NAME(conv_row)
            (in, half, ahead, whole, rest, made, context, image, channel, position, out);
            int64_t next = y + 1 < to ? copy_w : copy + all - out;
            NAME(conv_zeros)(out + middle, next - middle);
            in = made ? in : NAME(conv_at)(in, source_w, half);
            position += source_w;
            out += copy_w;
        }
    }
    return copy;
}
#endif

SHARED void NAME(aml_shared_conv_copy)(const SOURCE *source, int64_t half, int64_t channels,
                                       AXES(source), AXES(origin), AXES(copy), int64_t around,
                                       ELEMENT *copy);
#if !defined CONV_QUADS && !defined CONV_PAIRS
SHARED void NAME(aml_shared_conv_copy_depth)(const ELEMENT *source, int64_t half,
                                             int64_t channels, AXES(source), AXES(origin),
                                             AXES(copy), int64_t around, ELEMENT *copy);
TEMPLATE void NAME(conv_copy_made)(PROLOGUE(made), void *context, int64_t image, int64_t channel,
                                   int64_t from, AXES(source), AXES(origin), AXES(copy),
                                   int64_t around, ELEMENT *copy);
#endif
TEMPLATE void NAME(conv_tile)(TILE_PARAMETERS, int64_t to, int64_t channel, int64_t position,
                              int64_t positions,
                              void (*epilogue)(void *, int64_t, int64_t, int, VECTOR),
                              int64_t first_row, void *context);
TEMPLATE void NAME(conv_sum)(const ELEMENT *source, int64_t plane, int64_t row_step, int64_t step,
                             const ELEMENT *weights, const int64_t *taps, int64_t count,
                             int64_t from, int64_t vectors, int64_t pitch, int64_t rows,
                             int64_t columns, int64_t depth, VECTOR *out, int64_t out_step);

// Turns LANES registers around that lie `step` registers apart.
SHARED void NAME(aml_shared_square)(const VECTOR *in, int64_t step, VECTOR out[LANES]);

TEMPLATE void NAME(aml_conv)(
    const SOURCE *source, const ELEMENT *packed, ELEMENT *copy, const int64_t *table,
    int64_t *image_at, int64_t groups, int64_t channels, int64_t from, int64_t to, int64_t taps,
    AXES(source), AXES(result), AXES(phases), AXES(base), AXES(step), AXES(origin), AXES(copy),
    int64_t direct, int64_t block_axis, int64_t block_rows, int64_t blocks, int64_t vectors,
    int64_t pitch, int64_t tile_rows, int64_t tile_columns, int64_t half, int64_t depth, int64_t around,
    int64_t unit_begin, int64_t unit_end,
#if !defined CONV_QUADS && !defined CONV_PAIRS
    PROLOGUE(prologue),
#endif
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),
    void *context)
{
    int64_t panel = vectors * LANES, panels = (to + panel - 1) / panel;
    int64_t wide_panels = (to + pitch - 1) / pitch; // as they are packed
    int64_t source_size = source_d * source_h * source_w, plane = copy_d * copy_h * copy_w;
    int64_t wide = (result_w + phases_w - 1) / phases_w; // columns of each phase
    int64_t alike = phases_d * phases_h * phases_w == 1 ? taps : 0;
    int64_t place = depth ? LANES : 1; // elements of a position of the copy
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t block = unit % blocks, group = unit / blocks % groups;
        *image_at = unit / blocks / groups;
        int64_t begin = block * block_rows, end = begin + block_rows;
        int64_t begin_d = block_axis == 0 ? begin : 0, end_d = block_axis == 0 ? end : result_d;
        int64_t begin_h = block_axis == 1 ? begin : 0, end_h = block_axis == 1 ? end : result_h;
        end_d = end_d < result_d ? end_d : result_d;
        end_h = end_h < result_h ? end_h : result_h;
        int64_t first = depth ? *image_at * depth + group * LANES : unit / blocks * channels;
        int64_t results = depth ? depth - group * LANES : to; // from the first on
        const SOURCE *whole = NAME(conv_at)(source, first * source_size, half);
        const ELEMENT *image = (const ELEMENT *)(const void *)whole;
        int64_t corner_d = origin_d, corner_h = origin_h;
        if (!direct) {
            corner_d += begin_d / phases_d * step_d;
            corner_h += begin_h / phases_h * step_h;
            int64_t zeros = blocks > 1 || (around && unit == unit_begin);
#if !defined CONV_QUADS && !defined CONV_PAIRS
            if (depth)
                NAME(aml_shared_conv_copy_depth)
            (whole, half, results < LANES ? results : LANES, source_d, source_h, source_w, corner_d,
             corner_h, origin_w, copy_d, copy_h, copy_w, zeros, copy);
            else if (prologue)
                NAME(conv_copy_made)
            (prologue, context, *image_at, group * channels, channels, source_d, source_h, source_w,
             corner_d, corner_h, origin_w, copy_d, copy_h, copy_w, zeros, copy);
            else
#endif
                NAME(aml_shared_conv_copy)
            (whole, half, channels, source_d, source_h, source_w, corner_d, corner_h, origin_w,
             copy_d, copy_h, copy_w, zeros, copy);
            image = copy;
        }
        NO_UNROLL for (int64_t p = 0; p < panels; p++)
        {
            const ELEMENT *weights =
                packed + (group * wide_panels + p * panel / pitch) * pitch * from * taps +
                p * panel % pitch;
            NO_UNROLL for (int64_t z = begin_d; z < end_d; z++)
            {
                int64_t place_d = (z + base_d) / phases_d * step_d - corner_d;
                NO_UNROLL for (int64_t y = begin_h; y < end_h; y += tile_rows)
                {
                    int64_t place_h = (y + base_h) / phases_h * step_h - corner_h;
                    int64_t phase = (z + base_d) % phases_d * phases_h + (y + base_h) % phases_h;
                    const ELEMENT *row =
                        image + ((place_d * copy_h + place_h) * copy_w - origin_w) * place;
                    int64_t position = (z * result_h + y) * result_w, x = 0;
                    NO_UNROLL for (; x + tile_columns <= wide; x += tile_columns)
                    {
                        int64_t left = result_w * tile_rows - x * phases_w;
                        int64_t all = tile_columns * tile_rows * phases_w;
                        NAME(conv_tile)
                        (row + x * step_w * place, plane, step_h * copy_w * place, step_w * place,
                         weights, table, from, vectors, pitch, tile_rows, tile_columns, phases_w, base_w,
                         phase, alike, depth, results, p * panel, position + x * phases_w, left < all ? left : all, epilogue,
                         group * to, context);
                    }
                    if (wide % tile_columns)
                        NAME(conv_tile)
                    (row + x * step_w * place, plane, step_h * copy_w * place, step_w * place,
                     weights, table, from, vectors, pitch, 1, wide % tile_columns, phases_w, base_w, phase,
                     alike, depth, results, p * panel,
                     position + x * phases_w, result_w - x * phases_w, epilogue, group * to,
                     context);
                }
            }
        }
    }
}

#if !defined CONV_QUADS && !defined CONV_PAIRS
enum { NAME(CONV_AHEAD) = 4096 / sizeof(ELEMENT) }; // elements that are read soon, in a copy

// The planes of `from` channels from `channel` on, as aml_shared_conv_copy copies them.
TEMPLATE void NAME(conv_copy_made)(PROLOGUE(made), void *context, int64_t image, int64_t channel,
                                   int64_t from, AXES(source), AXES(origin), AXES(copy),
                                   int64_t around, ELEMENT *copy)
{
    NO_UNROLL for (int64_t i = 0; i < from; i++) copy = NAME(conv_plane)(
        NULL, 0, 0, source_d, source_h, source_w, origin_d, origin_h, origin_w, copy_d, copy_h,
        copy_w, around, made, context, image, channel + i, copy);
}

// The planes of `from` channels. `around`: what lies around the image is written as well; it has to be
// for the first of several copies of the same place.
SHARED void NAME(aml_shared_conv_copy)(const ELEMENT *source, int64_t half, int64_t from,
                                       AXES(source), AXES(origin), AXES(copy), int64_t around,
                                       ELEMENT *copy)
{
    int64_t plane = source_d * source_h * source_w;
    if (half) {
        NO_UNROLL for (int64_t channel = 0; channel < from; channel++) copy = NAME(conv_plane)(
            NAME(conv_at)(source, channel * plane, half), half, 0, source_d, source_h, source_w,
            origin_d, origin_h, origin_w, copy_d, copy_h, copy_w, around, NULL, NULL, 0, 0, copy);
    } else {
        NO_UNROLL for (int64_t channel = 0; channel < from; channel++) copy = NAME(conv_plane)(
            source + channel * plane, 0, NAME(CONV_AHEAD), source_d, source_h, source_w, origin_d,
            origin_h, origin_w, copy_d, copy_h, copy_w, around, NULL, NULL, 0, 0, copy);
    }
}

// The copy of a register of channels: [positions][channels], so that lanes are channels here too.
// The positions of a plane's rows are turned around as one line, however short a row is.
SHARED void NAME(aml_shared_conv_copy_depth)(const ELEMENT *source, int64_t half,
                                             int64_t channels, AXES(source), AXES(origin),
                                             AXES(copy), int64_t around, ELEMENT *copy)
{
    int64_t size = source_d * source_h * source_w;
    int64_t begin_d = origin_d < 0 ? 0 : origin_d, begin_h = origin_h < 0 ? 0 : origin_h;
    int64_t end_d = origin_d + copy_d < source_d ? origin_d + copy_d : source_d;
    int64_t end_h = origin_h + copy_h < source_h ? origin_h + copy_h : source_h;
    VECTOR zero = {};
    if (around) {
        NO_UNROLL for (int64_t i = 0; i < copy_d * copy_h * copy_w; i++)
            V(store)(copy + i * LANES, zero);
    }
    NO_UNROLL for (int64_t z = begin_d; z < end_d; z++)
    {
        ELEMENT *row =
            copy + ((z - origin_d) * copy_h + begin_h - origin_h) * copy_w * LANES;
        int64_t at = -origin_w; // in the row of the copy
        int64_t end = (z * source_h + end_h) * source_w;
        NO_UNROLL for (int64_t p = (z * source_h + begin_h) * source_w; p < end; p += LANES)
        {
            int lanes = end - p < LANES ? (int)(end - p) : LANES;
            VECTOR square[LANES];
            NO_UNROLL for (int64_t i = 0; i < LANES; i++) square[i] =
                i < channels ? NAME(conv_load)(source, i * size + p, lanes, half) : zero;
            NAME(aml_shared_square)(square, 1, square);
            NO_UNROLL for (int64_t i = 0; i < lanes; i++)
            {
                if (at >= 0 && at < copy_w)
                    V(store)(row + at * LANES, square[i]);
                if (++at == source_w - origin_w) {
                    at = -origin_w;
                    row += copy_w * LANES;
                }
            }
        }
    }
}
#endif

// One tile: for each phase of the columns its sums, then all of them turned around.
TEMPLATE void NAME(conv_tile)(TILE_PARAMETERS, int64_t to, int64_t channel, int64_t position,
                              int64_t positions,
                              void (*epilogue)(void *, int64_t, int64_t, int, VECTOR),
                              int64_t first_row, void *context)
{
    enum { MOST = 4 * (AML_CONV_TILE + LANES) }; // what lies behind the last one is read, not used
    VECTOR hold[MOST];
    int64_t all = rows * columns * phases;
    EACH(e, 4, phases)
    {
        int64_t phase = first_phase * phases + (e + phase_base) % phases;
        // `alike`, if there is one phase only: all taps.
        int64_t begin = alike ? 0 : table[2 * phase], count = alike ? alike : table[2 * phase + 1];
        NAME(conv_sum)
        (source + (e + phase_base) / phases * step, plane, row_step, step,
         weights + begin * from * pitch, table + AML_CONV_TABLE + 2 * begin, count, from, vectors,
         pitch, rows, columns, depth, hold + e * vectors, phases * vectors);
    }
    NO_UNROLL for (int64_t v = 0; v < vectors; v++)
    {
        int64_t left = to - channel - v * LANES;
        int64_t lines = left < LANES ? left : LANES;
        NO_UNROLL for (int64_t p = 0; p < all; p += LANES)
        {
            VECTOR line[LANES];
            NAME(aml_shared_square)(hold + p * vectors + v, vectors, line);
            int64_t lanes = positions - p < LANES ? positions - p : LANES;
            if (lanes <= 0)
                break;
            NO_UNROLL for (int64_t i = 0; i < lines; i++) epilogue(
                context, first_row + channel + v * LANES + i, position + p, (int)lanes, line[i]);
        }
    }
}

#ifndef CONV_PAIRS
#ifdef CONV_WORDS
// Quarters of 16 bytes are gathered by loads: quarter a of rows m, m + 4, m + 8, ... Then columns
// 4 * a to 4 * a + 3 only have to be turned around within quarters.
SHARED void NAME(aml_shared_square)(const VECTOR *in, int64_t step, VECTOR out[LANES])
{
    typedef ELEMENT Quarter __attribute__((vector_size(16)));
    VECTOR turned[LANES];
    UNROLL for (int a = 0; a < LANES / 4; a++)
    {
        VECTOR row[4];
        UNROLL for (int m = 0; m < 4; m++)
        {
            const Quarter *at = (const Quarter *)(in + m * step) + a;
            row[m] = QUARTERS_AT(at, step * LANES);
        }
        VECTOR low = WITHIN_QUARTERS(row[0], row[1], 0, LANES, 1, LANES + 1);
        VECTOR high = WITHIN_QUARTERS(row[0], row[1], 2, LANES + 2, 3, LANES + 3);
        VECTOR low_next = WITHIN_QUARTERS(row[2], row[3], 0, LANES, 1, LANES + 1);
        VECTOR high_next = WITHIN_QUARTERS(row[2], row[3], 2, LANES + 2, 3, LANES + 3);
        turned[4 * a] = WITHIN_QUARTERS(low, low_next, 0, 1, LANES, LANES + 1);
        turned[4 * a + 1] = WITHIN_QUARTERS(low, low_next, 2, 3, LANES + 2, LANES + 3);
        turned[4 * a + 2] = WITHIN_QUARTERS(high, high_next, 0, 1, LANES, LANES + 1);
        turned[4 * a + 3] = WITHIN_QUARTERS(high, high_next, 2, 3, LANES + 2, LANES + 3);
    }
    UNROLL for (int i = 0; i < LANES; i++) out[i] = turned[i];
}
#else
SHARED void NAME(aml_shared_square)(const VECTOR *in, int64_t step, VECTOR out[LANES])
{
    VECTOR square[LANES];
    UNROLL for (int i = 0; i < LANES; i++) square[i] = in[i * step];
    NAME(dot_transpose)(square);
    UNROLL for (int i = 0; i < LANES; i++) out[i] = square[i];
}
#endif
#endif

TEMPLATE void NAME(conv_sum)(const ELEMENT *source, int64_t plane, int64_t row_step, int64_t step,
                             const ELEMENT *weights, const int64_t *taps, int64_t count,
                             int64_t from, int64_t vectors, int64_t pitch, int64_t rows,
                             int64_t columns, int64_t depth, VECTOR *out, int64_t out_step)
{
    VECTOR sum[TILE][4];
    EACH(i, TILE, rows * columns)
    {
        EACH(j, 4, vectors) sum[i][j] = (VECTOR){};
    }
    NO_UNROLL for (int64_t channel = 0; channel < from; channel++)
    {
        NO_UNROLL for (int64_t t = 0; t < count; t++)
        {
            const ELEMENT *at = source + taps[2 * t];
            VECTOR right[4];
            EACH(j, 4, vectors) right[j] = V(load)(weights + j * LANES);
            EACH(i, TILE, rows * columns)
            {
                int64_t index = i / columns * row_step + i % columns * step;
                VECTOR left = depth ? V(load)(at + index) : V(splat)(at[index]);
                EACH(j, 4, vectors) sum[i][j] = V(fma)(left, right[j], sum[i][j]);
            }
            weights += pitch;
        }
        source += plane;
    }
    EACH(i, TILE, rows * columns)
    {
        EACH(j, 4, vectors) out[i * out_step + j] = sum[i][j];
    }
}

#ifndef CONV_QUADS
#include "conv_rows_template.h"

// ---- the gradient for the weights

#ifdef CONV_PAIRS
#define TOGETHER 2 // images, or channels of weights
#else
#define TOGETHER 1
#endif

SHARED void NAME(aml_shared_conv_turn)(const SOURCE *in, int64_t half, int64_t channels,
                                       int64_t channel_step, int64_t count, int64_t vectors,
                                       int64_t panels, int64_t panel_step, ELEMENT *out);
TEMPLATE void NAME(conv_weight_rows)(const ELEMENT *x, const ELEMENT *turned, VECTOR *sums,
                                     int64_t channels, AXES(copy), AXES(step), AXES(kernel),
                                     AXES(dilation), int64_t rows_d, int64_t rows_h,
                                     int64_t columns, int64_t vectors, int64_t tile_channels,
                                     int64_t tile_rows, bool rest);
TEMPLATE void NAME(conv_weight_tile)(const ELEMENT *x, const ELEMENT *turned, VECTOR *sums,
                                     int64_t plane, int64_t pitch, int64_t across,
                                     int64_t sums_step, AXES(step), int64_t rows_d, int64_t rows_h,
                                     int64_t columns, int64_t vectors, int64_t channels,
                                     int64_t kernel_rows, int64_t kernel_columns);
SHARED void NAME(aml_shared_conv_weight_store)(const VECTOR *sums, int64_t count, int64_t vectors,
                                               int64_t panels, int64_t to, int64_t row_step,
                                               ELEMENT *out);

TEMPLATE void NAME(aml_conv_weight)(const SOURCE *x, const SOURCE *dy, ELEMENT *scratch,
                                    ELEMENT *out, int64_t images, int64_t groups, int64_t split,
                                    int64_t from, int64_t to, AXES(source), AXES(result),
                                    AXES(kernel), AXES(stride), AXES(low), AXES(dilation),
                                    AXES(copy), int64_t direct, int64_t block_axis,
                                    int64_t block_rows, int64_t blocks, int64_t block_positions,
                                    int64_t vectors, int64_t tile_channels, int64_t tile_rows,
                                    int64_t channel_chunk, int64_t channel_parts,
                                    int64_t copy_elements, int64_t turned_elements, int64_t half,
                                    int64_t part_begin, int64_t part_end
#ifndef CONV_PAIRS
                                    ,
                                    PROLOGUE(prologue), void *context
#endif
)
{
    int64_t panels = (to + vectors * LANES - 1) / (vectors * LANES);
    int64_t taps = kernel_d * kernel_h * kernel_w, positions = result_d * result_h * result_w;
    int64_t source_size = source_d * source_h * source_w;
    ELEMENT *turned = scratch + copy_elements;
    VECTOR *sums = (VECTOR *)(turned + turned_elements);
    int64_t ready = 0; // channels of the copy around which there is what has to be
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t first = part % channel_parts * channel_chunk, third = part / channel_parts;
        int64_t channels = from - first < channel_chunk ? from - first : channel_chunk;
        int64_t group = third / split, share = third % split, each = images / split;
        NO_UNROLL for (int64_t i = 0; i < panels * channels * taps * vectors; i++) sums[i] =
            (VECTOR){};
        NO_UNROLL for (int64_t image = share * each; image < (share + 1) * each; image += TOGETHER)
        {
            const SOURCE *in =
                NAME(conv_at)(x, ((image * groups + group) * from + first) * source_size, half);
            const SOURCE *slope =
                NAME(conv_at)(dy, (image * groups + group) * to * positions, half);
            int64_t of_dy = half;
#ifdef CONV_PAIRS
            bool other = image + 1 < (share + 1) * each;
            of_dy = other ? groups * to * positions : 0;
#endif
            NO_UNROLL for (int64_t block = 0; block < blocks; block++)
            {
                int64_t begin = block * block_rows;
                int64_t begin_d = block_axis == 0 ? begin : 0,
                        begin_h = block_axis == 1 ? begin : 0;
                int64_t rows_d = block_axis == 1                 ? result_d
                                 : result_d - begin < block_rows ? result_d - begin
                                                                 : block_rows;
                int64_t rows_h = block_axis == 0                 ? result_h
                                 : result_h - begin < block_rows ? result_h - begin
                                                                 : block_rows;
                const ELEMENT *at = (const ELEMENT *)(const void *)in;
                if (direct) {
                    at += (begin_d * stride_d * copy_h + begin_h * stride_h) * copy_w;
                } else {
#ifdef CONV_PAIRS
                    aml_shared_conv_copy_images_pairs
                    (in, other ? groups * from * source_size : 0, channels, source_d,
#else
                    if (prologue)
                        NAME(conv_copy_made)
                    (prologue, context, image, group * from + first, channels, source_d, source_h,
                     source_w, begin_d * stride_d - low_d, begin_h * stride_h - low_h, -low_w,
                     copy_d, copy_h, copy_w, blocks > 1 || channels > ready, scratch);
                    else
                        NAME(aml_shared_conv_copy)
                    (in, half, channels, source_d,
#endif
 source_h, source_w, begin_d * stride_d - low_d,
                     begin_h * stride_h - low_h, -low_w, copy_d, copy_h, copy_w,
                     blocks > 1 || channels > ready, scratch);
                    ready = channels > ready ? channels : ready;
                    at = scratch;
                }
                NAME(aml_shared_conv_turn)
                (NAME(conv_at)(slope, (begin_d * result_h + begin_h) * result_w, half), of_dy, to,
                 positions, rows_d * rows_h * result_w, vectors, panels,
                 block_positions * vectors * LANES, turned);
                NO_UNROLL for (int64_t p = 0; p < panels; p++) NAME(conv_weight_rows)(
                    at, turned + p * block_positions * vectors * LANES,
                    sums + p * channels * taps * vectors, channels, copy_d, copy_h, copy_w,
                    stride_d, stride_h, stride_w, kernel_d, kernel_h, kernel_w, dilation_d,
                    dilation_h, dilation_w, rows_d, rows_h, result_w, vectors, tile_channels,
                    tile_rows, from % tile_channels != 0);
            }
        }
        NAME(aml_shared_conv_weight_store)
        (sums, channels * taps, vectors, panels, to, from * taps,
         out + (share * groups + group) * to * from * taps + first * taps);
    }
}

#if !defined CONV_PAIRS || AML_WIDTH != 16 // conv_pairs.c
// `channels` rows, channel_step apart, as `count` rows of all panels; lanes beyond them are zero.
SHARED void NAME(aml_shared_conv_turn)(const SOURCE *in, int64_t half, int64_t channels,
                                       int64_t channel_step, int64_t count, int64_t vectors,
                                       int64_t panels, int64_t panel_step, ELEMENT *out)
{
    NO_UNROLL for (int64_t v = 0; v < panels * vectors; v++)
    {
        int64_t lines = channels - v * LANES;
        const SOURCE *from = NAME(conv_at)(in, v * LANES * channel_step, half);
        ELEMENT *to = out + v / vectors * panel_step + v % vectors * LANES;
        NO_UNROLL for (int64_t q = 0; q < count; q += LANES)
        {
            int64_t left = count - q < LANES ? count - q : LANES;
            VECTOR square[LANES];
            NO_UNROLL for (int64_t i = 0; i < LANES; i++) square[i] =
                i >= lines ? (VECTOR){}
                           : NAME(conv_load)(from, i * channel_step + q, (int)left, half);
            NAME(aml_shared_square)(square, 1, square);
            NO_UNROLL for (int64_t i = 0; i < left; i++)
                V(store)(to + (q + i) * vectors * LANES, square[i]);
        }
    }
}
#endif

// Panels begin..end of the weights, as aml_conv_pack has them, if all taps are alike: matrices that
// are turned around, of the taps of a channel (or of two, as pairs), or of all channels. False: rows
// are too short for that, or panels are not whole registers.
HELPER bool NAME(conv_pack_turned)(const SOURCE *weights, ELEMENT *packed, int64_t input,
                                   int64_t channels, int64_t to, int64_t taps, int64_t panel,
                                   int64_t phases, int64_t begin, int64_t end)
{
    enum { LEAST_TAPS = 4 };
    int64_t panels = (to + panel - 1) / panel, from = (channels + TOGETHER - 1) / TOGETHER;
    int64_t rows = TOGETHER == 1 && !input ? from * taps : taps; // at once
    if (phases > 1 || panel % LANES || rows < LEAST_TAPS)
        return false;
    int64_t channel_step = input ? to * taps : taps, step = input ? taps : channels * taps;
    NO_UNROLL for (int64_t i = begin; i < end; i++)
    {
        int64_t group = i / panels, first = i % panels * panel;
        const SOURCE *in = weights + group * to * channels * taps + first * step;
        NO_UNROLL for (int64_t row = 0; row < from * taps; row += rows)
        {
            int64_t channel = row / taps * TOGETHER;
            NAME(aml_shared_conv_turn)
            (in + channel * channel_step, channel + 1 < channels && TOGETHER > 1 ? channel_step : 0,
             to - first, step, rows, panel / LANES, 1, 0, packed + (i * from * taps + row) * panel);
        }
    }
    return true;
}

TEMPLATE void NAME(conv_weight_rows)(const ELEMENT *x, const ELEMENT *turned, VECTOR *sums,
                                     int64_t channels, AXES(copy), AXES(step), AXES(kernel),
                                     AXES(dilation), int64_t rows_d, int64_t rows_h,
                                     int64_t columns, int64_t vectors, int64_t tile_channels,
                                     int64_t tile_rows, bool rest)
{
    int64_t plane = copy_d * copy_h * copy_w, taps = kernel_d * kernel_h * kernel_w;
    int64_t whole = channels / tile_channels * tile_channels;
    NO_UNROLL for (int64_t z = 0; z < kernel_d; z++)
    {
        NO_UNROLL for (int64_t y = 0; y < kernel_h; y += tile_rows)
        {
            const ELEMENT *at = x + (z * dilation_d * copy_h + y * dilation_h) * copy_w;
            VECTOR *sum = sums + (z * kernel_h + y) * kernel_w * vectors;
            bool cut = kernel_h % tile_rows && y + tile_rows > kernel_h;
            NO_UNROLL for (int64_t c = 0; c < whole; c += tile_channels)
            {
                if (cut)
                    NAME(conv_weight_tile)
                (at + c * plane, turned, sum + c * taps * vectors, plane, dilation_h * copy_w,
                 dilation_w, taps * vectors, step_d * copy_h * copy_w, step_h * copy_w, step_w,
                 rows_d, rows_h, columns, vectors, tile_channels, kernel_h % tile_rows, kernel_w);
                else NAME(conv_weight_tile)(
                    at + c * plane, turned, sum + c * taps * vectors, plane, dilation_h * copy_w,
                    dilation_w, taps * vectors, step_d * copy_h * copy_w, step_h * copy_w, step_w,
                    rows_d, rows_h, columns, vectors, tile_channels, tile_rows, kernel_w);
            }
            // Several channels to a tile: then it has all rows of the kernel.
            if (tile_channels > 1 && rest) {
                NO_UNROLL for (int64_t c = whole; c < channels; c++) NAME(conv_weight_tile)(
                    at + c * plane, turned, sum + c * taps * vectors, plane, dilation_h * copy_w,
                    dilation_w, taps * vectors, step_d * copy_h * copy_w, step_h * copy_w, step_w,
                    rows_d, rows_h, columns, vectors, 1, tile_rows, kernel_w);
            }
        }
    }
}

TEMPLATE void NAME(conv_weight_tile)(const ELEMENT *x, const ELEMENT *turned, VECTOR *sums,
                                     int64_t plane, int64_t pitch, int64_t across,
                                     int64_t sums_step, AXES(step), int64_t rows_d, int64_t rows_h,
                                     int64_t columns, int64_t vectors, int64_t channels,
                                     int64_t kernel_rows, int64_t kernel_columns)
{
    VECTOR sum[TILE][4];
    int64_t each = kernel_rows * kernel_columns;
    EACH(i, TILE, channels * each)
    {
        EACH(j, 4, vectors) sum[i][j] = sums[i / each * sums_step + i % each * vectors + j];
    }
    NO_UNROLL for (int64_t z = 0; z < rows_d; z++)
    {
        NO_UNROLL for (int64_t y = 0; y < rows_h; y++)
        {
            const ELEMENT *at = x + z * step_d + y * step_h;
            NO_UNROLL for (int64_t column = 0; column < columns; column++)
            {
                VECTOR right[4];
                EACH(j, 4, vectors) right[j] = V(load)(turned + j * LANES);
                EACH(i, TILE, channels * each)
                {
                    VECTOR left = V(splat)(at[i / each * plane + i % each / kernel_columns * pitch +
                                              i % kernel_columns * across]);
                    EACH(j, 4, vectors) sum[i][j] = V(fma)(left, right[j], sum[i][j]);
                }
                turned += vectors * LANES;
                at += step_w;
            }
        }
    }
    EACH(i, TILE, channels * each)
    {
        EACH(j, 4, vectors) sums[i / each * sums_step + i % each * vectors + j] = sum[i][j];
    }
}

#ifndef CONV_PAIRS
// sums[panel][count][vectors], lanes are rows of the result; `count` elements of each row.
SHARED void NAME(aml_shared_conv_weight_store)(const VECTOR *sums, int64_t count, int64_t vectors,
                                               int64_t panels, int64_t to, int64_t row_step,
                                               ELEMENT *out)
{
    NO_UNROLL for (int64_t v = 0; v < panels * vectors; v++)
    {
        int64_t lines = to - v * LANES < LANES ? to - v * LANES : LANES;
        const VECTOR *from = sums + v / vectors * count * vectors + v % vectors;
        NO_UNROLL for (int64_t q = 0; q < count; q += LANES)
        {
            int64_t left = count - q < LANES ? count - q : LANES;
            VECTOR square[LANES];
            NO_UNROLL for (int64_t i = 0; i < LANES; i++) square[i] =
                i < left ? from[(q + i) * vectors] : (VECTOR){};
            NAME(aml_shared_square)(square, 1, square);
            NO_UNROLL for (int64_t i = 0; i < lines; i++)
            {
                ELEMENT *row = out + (v * LANES + i) * row_step + q;
                if (left == LANES) {
                    V(store)(row, square[i]);
                } else {
                    ELEMENT line[LANES];
                    V(store)(line, square[i]);
                    NO_UNROLL for (int64_t k = 0; k < left; k++) row[k] = line[k];
                }
            }
        }
    }
}
#endif
#undef TOGETHER
#endif

#undef AXES
#undef PROLOGUE
#undef EACH
#undef TILE_PARAMETERS
