// conv_last.c: convolutions with channels last, and those by Winograd; conv_last.h says how they
// are computed, and TILE is that of conv.c.
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h).

#include "conv_last.h"

#define AXES(name) int64_t name##_d, int64_t name##_h, int64_t name##_w
#define EACH(i, most, count) UNROLL for (int64_t i = 0; i < most; i++) if (i < (count))
#define LAST_EPILOGUE                                                                              \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, f32v value),           \
        void *context

// Lanes 0, 2, ... of two registers, and lanes 1, 3, ...
HELPER f32v f32_even(f32v a, f32v b)
{
    f32v out = {};
    UNROLL for (int i = 0; i < F32_LANES / 2; i++) out[i] = a[2 * i],
                                                   out[i + F32_LANES / 2] = b[2 * i];
    return out;
}

HELPER f32v f32_odd(f32v a, f32v b)
{
    f32v out = {};
    UNROLL for (int i = 0; i < F32_LANES / 2; i++) out[i] = a[2 * i + 1],
                                                   out[i + F32_LANES / 2] = b[2 * i + 1];
    return out;
}

SHARED void aml_shared_conv_last_copy(const float *source, int64_t channels, int64_t count,
                                      AXES(source), AXES(origin), AXES(copy), int64_t place,
                                      float *copy);
TEMPLATE void conv_last_tile(const float *source, int64_t plane, int64_t row_step, int64_t step,
                             const float *weights, const int64_t *taps, int64_t count, int64_t from,
                             int64_t vectors, int64_t pitch, int64_t asks, const float *ahead,
                             int64_t ahead_step, int64_t together, int64_t rows, int64_t columns,
                             int64_t left, int64_t position, int64_t line, int64_t channel,
                             LAST_EPILOGUE);
SHARED void aml_shared_conv_last_split(const float *source, int64_t from, AXES(source),
                                       int64_t corner_d, int64_t corner_h, AXES(copy),
                                       int64_t split, int64_t lead, float *copy);

// Units begin..end: a group of an image, or a block of its rows, or one of the panels (`pieces`) of
// these. `asks`: tiles ask for the panel of weights that is read next, a line with each row of
// them.
TEMPLATE void aml_conv_last(const float *source, const float *packed, float *copy,
                            const int64_t *table, int64_t last, int64_t groups, int64_t from,
                            int64_t to, int64_t taps, AXES(source), AXES(result), AXES(step),
                            AXES(origin), AXES(copy), int64_t place, int64_t plane, int64_t split,
                            int64_t together, int64_t direct, int64_t block_axis,
                            int64_t block_rows, int64_t blocks, int64_t vectors, int64_t pitch,
                            int64_t tile_rows, int64_t tile_columns, int64_t pieces, int64_t asks,
                            int64_t unit_begin, int64_t unit_end, LAST_EPILOGUE)
{
    int64_t panel = vectors * F32_LANES, panels = (to + panel - 1) / panel;
    int64_t wide_panels = (to + pitch - 1) / pitch; // as they are packed
    int64_t source_size = source_d * source_h * source_w;
    int64_t channels = groups * from;
    const int64_t *rows = table + AML_CONV_TABLE;
    int64_t registers = result_w / together, step = together * step_w * place; // of a row
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t piece = unit % pieces, block = unit / pieces;
        int64_t begin = block % blocks * block_rows, end = begin + block_rows;
        int64_t group = block / blocks % groups, image = block / blocks / groups;
        bool copied = piece > 0 && unit > unit_begin;
        int64_t begin_d = block_axis == 0 ? begin : 0, end_d = block_axis == 0 ? end : result_d;
        int64_t begin_h = block_axis == 1 ? begin : 0, end_h = block_axis == 1 ? end : result_h;
        end_d = end_d < result_d ? end_d : result_d;
        end_h = end_h < result_h ? end_h : result_h;
        int64_t corner_d = origin_d, corner_h = origin_h;
        const float *in =
            source + image * channels * source_size + group * from * (last == 1 ? source_size : 1);
        if (!direct) {
            corner_d += begin_d * step_d;
            corner_h += begin_h * step_h;
            if (copied)
                ;
            else if (split)
                aml_shared_conv_last_split(in, from, source_d, source_h, source_w, corner_d,
                                           corner_h, copy_d, copy_h, copy_w, split, -origin_w,
                                           copy);
            else if (last == 1)
                aml_shared_conv_copy_f32(in, 0, from, source_d, source_h, source_w, corner_d,
                                         corner_h, origin_w, copy_d, copy_h, copy_w, 1, copy);
            else
                aml_shared_conv_last_copy(in, channels, from, source_d, source_h, source_w,
                                          corner_d, corner_h, origin_w, copy_d, copy_h, copy_w,
                                          place, copy);
            in = copy;
        }
        int64_t p = pieces > 1 ? piece : 0, behind = pieces > 1 ? piece + 1 : panels;
        NO_UNROLL for (; p < behind; p++)
        {
            const float *weights = packed +
                                   (group * wide_panels + p * panel / pitch) * pitch * from * taps +
                                   p * panel % pitch;
            int64_t left = to - p * panel, channel = group * to + p * panel;
            int64_t asked = 0;
            NO_UNROLL for (int64_t z = begin_d; z < end_d; z++)
            {
                NO_UNROLL for (int64_t y = begin_h; y < end_h; y += tile_rows)
                {
                    int64_t at = (z * step_d - corner_d) * copy_h + y * step_h - corner_h, x = 0;
                    const float *row = in + (at * copy_w - origin_w) * place;
                    int64_t position = ((image * result_d + z) * result_h + y) * result_w;
                    // When all is asked for, what is near: that costs less than other code.
#define AHEAD                                                                                      \
    weights + (asked < panel ? from * taps * (pitch + asked) : 0), asked < panel ? asks : 0
                    NO_UNROLL for (; x + tile_columns <= registers;
                                   x += tile_columns, asked += asks)
                        conv_last_tile(row + x * step, plane, step_h * copy_w * place, step,
                                       weights, rows, taps, from, vectors, pitch, asks, AHEAD,
                                       together, tile_rows, tile_columns, left,
                                       position + x * together, result_w, channel, epilogue,
                                       context);
                    if (registers % tile_columns) {
                        conv_last_tile(row + x * step, plane, step_h * copy_w * place, step,
                                       weights, rows, taps, from, vectors, pitch, asks, AHEAD,
                                       together, tile_rows, registers % tile_columns, left,
                                       position + x * together, result_w, channel, epilogue,
                                       context);
                        asked += asks;
                    }
#undef AHEAD
                }
            }
        }
    }
}

// `count` of the channels of each position, positions `place` apart, zeros around them. Whole
// registers are stored, from left to right: what they hold beyond their place is stored over.
SHARED void aml_shared_conv_last_copy(const float *source, int64_t channels, int64_t count,
                                      AXES(source), AXES(origin), AXES(copy), int64_t place,
                                      float *copy)
{
    int64_t before = origin_w < 0 ? -origin_w : 0, first = origin_w < 0 ? 0 : origin_w;
    before = before < copy_w ? before : copy_w;
    int64_t middle = source_w - first < copy_w - before ? source_w - first : copy_w - before;
    middle = middle < 0 ? 0 : middle;
    // As one line, if nothing is between the positions.
    bool dense = count == channels && place == channels;
    int64_t lines = dense ? 1 : middle, line = dense ? middle * place : count;
    NO_UNROLL for (int64_t z = origin_d; z < origin_d + copy_d; z++)
    {
        NO_UNROLL for (int64_t y = origin_h; y < origin_h + copy_h; y++)
        {
            bool outside = z < 0 || z >= source_d || y < 0 || y >= source_h;
            int64_t zeros = (outside ? copy_w : before) * place;
            NO_UNROLL for (int64_t i = 0; i < zeros; i += F32_LANES) f32_store(copy + i, (f32v){});
            if (!outside) {
                const float *in = source + ((z * source_h + y) * source_w + first) * channels;
                NO_UNROLL for (int64_t k = 0; k < lines; k++)
                {
                    float *out = copy + (before + k) * place;
                    int64_t i = 0;
                    NO_UNROLL for (; i + F32_LANES <= line; i += F32_LANES)
                        f32_store(out + i, f32_load(in + k * channels + i));
                    if (i < line)
                        f32_store(out + i, f32_load_some(in + k * channels + i, (int)(line - i)));
                }
                NO_UNROLL for (int64_t i = (before + middle) * place; i < copy_w * place;
                               i += F32_LANES) f32_store(copy + i, (f32v){});
            }
            copy += copy_w * place;
        }
    }
}

// Rows of planes with their even columns, behind `lead` zeros, in front of the odd ones. Behind
// these zeros each half has room for whole registers.
SHARED void aml_shared_conv_last_split(const float *source, int64_t from, AXES(source),
                                       int64_t corner_d, int64_t corner_h, AXES(copy),
                                       int64_t split, int64_t lead, float *copy)
{
    NO_UNROLL for (int64_t plane = 0; plane < from * copy_d; plane++)
    {
        int64_t z = corner_d + plane % copy_d;
        const float *in = source + (plane / copy_d * source_d + z) * source_h * source_w;
        NO_UNROLL for (int64_t y = corner_h; y < corner_h + copy_h; y++)
        {
            bool inside = z >= 0 && z < source_d && y >= 0 && y < source_h;
            const float *at = in + y * source_w;
            float *even = copy, *odd = copy + split;
            f32_store(even, (f32v){});
            f32_store(odd, (f32v){});
            even += lead;
            odd += lead;
            int64_t more = inside ? source_w : 0;
            NO_UNROLL for (; more >= 2 * F32_LANES; more -= 2 * F32_LANES)
            {
                f32v a = f32_load(at), b = f32_load(at + F32_LANES);
                f32_store(even, f32_even(a, b));
                f32_store(odd, f32_odd(a, b));
                at += 2 * F32_LANES;
                even += F32_LANES;
                odd += F32_LANES;
            }
            if (more > 0) {
                int64_t first = more < F32_LANES ? more : F32_LANES;
                f32v a = f32_load_some(at, (int)first), b = {};
                if (more > first)
                    b = f32_load_some(at + F32_LANES, (int)(more - first));
                f32_store(even, f32_even(a, b));
                f32_store(odd, f32_odd(a, b));
                even += F32_LANES;
                odd += F32_LANES;
            }
            NO_UNROLL for (; even < copy + split; even += F32_LANES, odd += F32_LANES)
            {
                f32_store(even, (f32v){});
                f32_store(odd, (f32v){});
            }
            copy += copy_w;
        }
    }
}

// Two elements in turn: of one position and of the next.
HELPER f32v splat_pair(const float *at)
{
    double both;
    __builtin_memcpy(&both, at, sizeof both);
    return (f32v)f64_splat(both);
}

// One tile of registers. taps: the offset of each tap, and its number.
TEMPLATE void conv_last_tile(const float *source, int64_t plane, int64_t row_step, int64_t step,
                             const float *weights, const int64_t *taps, int64_t count, int64_t from,
                             int64_t vectors, int64_t pitch, int64_t asks, const float *ahead,
                             int64_t ahead_step, int64_t together, int64_t rows, int64_t columns,
                             int64_t left, int64_t position, int64_t line, int64_t channel,
                             LAST_EPILOGUE)
{
    f32v sum[TILE][4];
    EACH(i, TILE, rows * columns)
    {
        EACH(j, 4, vectors) sum[i][j] = (f32v){};
    }
    NO_UNROLL for (int64_t t = 0; t < count; t++)
    {
        const float *at = source + taps[2 * t];
        NO_UNROLL for (int64_t c = 0; c < from; c++)
        {
            f32v right[4];
            EACH(j, 4, vectors) right[j] = f32_load(weights + j * F32_LANES);
            EACH(i, TILE, rows * columns)
            {
                int64_t index = i / columns * row_step + i % columns * step;
                f32v value = together == 2 ? splat_pair(at + index) : f32_splat(at[index]);
                EACH(j, 4, vectors) sum[i][j] = f32_fma(value, right[j], sum[i][j]);
            }
            if (asks) {
                __builtin_prefetch(ahead, 0, 2);
                ahead += ahead_step;
            }
            weights += pitch;
            at += plane;
        }
    }
    EACH(j, 4, vectors)
    {
        int64_t lanes = left - j * F32_LANES;
        if (lanes > 0) {
            EACH(i, TILE, rows * columns)
            {
                int64_t row = position + i / columns * line + i % columns * together;
                if (together == 2) {
                    epilogue(context, row, channel, F32_LANES / 2, f32_even(sum[i][0], (f32v){}));
                    epilogue(context, row + 1, channel, F32_LANES / 2,
                             f32_odd(sum[i][0], (f32v){}));
                } else {
                    epilogue(context, row, channel + j * F32_LANES,
                             lanes < F32_LANES ? (int)lanes : F32_LANES, sum[i][j]);
                }
            }
        }
    }
}

// ---- one channel to a group

TEMPLATE void depth_columns(const float *at, const float *weights, int64_t channels, int64_t pitch,
                            int64_t row_step, int64_t rows, int64_t kernel_w, int64_t stride_w,
                            int64_t dilation_w, int64_t together, int64_t columns, int64_t before,
                            int64_t past, int64_t position, LAST_EPILOGUE);
TEMPLATE void depth_tile(const float *at, const float *weights, int64_t channels, int64_t pitch,
                         int64_t row_step, int64_t rows, int64_t kernel_w, int64_t stride_w,
                         int64_t dilation_w, int64_t together, int64_t columns, int64_t before,
                         int64_t past, int lanes, int64_t position, int64_t channel, LAST_EPILOGUE);
TEMPLATE void depth_edge(const float *at, const float *weights, int64_t pitch, int64_t row_step,
                         int64_t tap_step, int64_t rows, int64_t taps, int64_t kernel_w,
                         int64_t vectors, int lanes, int64_t position, int64_t channel,
                         LAST_EPILOGUE);

// A tile is some columns of a row for a register of channels, and reads the source where it is: at
// the upper and the lower border fewer rows of taps, and in the first and the last tile of a row
// fewer taps for some columns. If windows of other tiles reach over a border at the side (not
// `whole`), such columns are computed one by one, for several registers of channels. If half a
// register holds all channels, one may hold two positions (`together`). Weights are
// [taps][channels].
TEMPLATE void aml_conv_depth(const float *source, const float *packed, int64_t channels,
                             int64_t source_h, int64_t source_w, int64_t result_h, int64_t result_w,
                             int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w,
                             int64_t low_h, int64_t low_w, int64_t dilation_h, int64_t dilation_w,
                             int64_t block_rows, int64_t blocks, int64_t tile_columns,
                             int64_t whole, int64_t together, int64_t first, int64_t behind,
                             int64_t unit_begin, int64_t unit_end, LAST_EPILOGUE)
{
    enum { WIDE = 4 };
    int64_t pitch = (channels + F32_LANES - 1) / F32_LANES * F32_LANES;
    int64_t full = channels / F32_LANES * F32_LANES, rest = channels % F32_LANES;
    int64_t row_step = dilation_h * source_w * channels, tap_step = dilation_w * channels;
    // Tiles go from column `begin` to `end`, in steps of `wide`; the last one starts at `last`.
    int64_t begin = whole ? 0 : first, end = whole ? result_w : behind;
    int64_t wide = tile_columns * together, last = begin + (end - begin - 1) / wide * wide;
    bool left = whole && first > 0, right = whole && behind < result_w;
    int64_t edges = begin + result_w - end;
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t image = unit / blocks, y = unit % blocks * block_rows, y_end = y + block_rows;
        y_end = y_end < result_h ? y_end : result_h;
        NO_UNROLL for (; y < y_end; y++)
        {
            int64_t top = y * stride_h - low_h, left_rows = source_h - top;
            int64_t from = top < 0 ? (dilation_h - 1 - top) / dilation_h : 0;
            int64_t to = left_rows <= 0 ? 0 : (left_rows - 1) / dilation_h + 1;
            to = to < kernel_h ? to : kernel_h;
            const float *row =
                source +
                ((image * source_h + top + from * dilation_h) * source_w - low_w) * channels;
            const float *weights = packed + from * kernel_w * pitch;
            int64_t position = (image * result_h + y) * result_w;
#define COLUMNS(x, columns, before, past)                                                          \
    depth_columns(row + (x)*stride_w * channels, weights, channels, pitch, row_step, to - from,    \
                  kernel_w, stride_w, dilation_w, together, columns, before, past, position + (x), \
                  epilogue, context)
            if (left && last == begin) {
                COLUMNS(begin, end - begin, low_w, source_w + low_w);
            } else if (end > begin) {
                int64_t x = begin, stop = right ? last : end;
                if (left) {
                    COLUMNS(begin, tile_columns, low_w, INT64_MAX);
                    x += wide;
                }
                NO_UNROLL for (; x + wide <= stop; x += wide)
                    COLUMNS(x, tile_columns, 0, INT64_MAX);
                if (right)
                    COLUMNS(last, end - last, 0, source_w + low_w - last * stride_w);
                else if ((end - begin) % wide)
                    COLUMNS(last, (end - last) / together, 0, INT64_MAX);
            }
#undef COLUMNS
            NO_UNROLL for (int64_t i = 0; i < edges; i++)
            {
                int64_t x = i < begin ? i : end + i - begin;
                int64_t side = x * stride_w - low_w, past = source_w - side;
                int64_t before = side < 0 ? (dilation_w - 1 - side) / dilation_w : 0;
                int64_t stop = past <= 0 ? 0 : (past - 1) / dilation_w + 1;
                stop = stop < kernel_w ? stop : kernel_w;
                const float *at = row + (x * stride_w + before * dilation_w) * channels;
                const float *w = weights + before * pitch;
                int64_t c = 0;
                NO_UNROLL for (; c + WIDE * F32_LANES <= full; c += WIDE * F32_LANES)
                    depth_edge(at + c, w + c, pitch, row_step, tap_step, to - from, stop - before,
                               kernel_w, WIDE, F32_LANES, position + x, c, epilogue, context);
                if (full / F32_LANES % WIDE)
                    depth_edge(at + c, w + c, pitch, row_step, tap_step, to - from, stop - before,
                               kernel_w, full / F32_LANES % WIDE, F32_LANES, position + x, c,
                               epilogue, context);
                if (rest)
                    depth_edge(at + full, w + full, pitch, row_step, tap_step, to - from,
                               stop - before, kernel_w, 1, (int)rest, position + x, full, epilogue,
                               context);
            }
        }
    }
}

// One tile of all channels. Of the columns of the source that its windows read, counted from the
// first one, those in front of `before` and from `past` on do not exist.
TEMPLATE void depth_columns(const float *at, const float *weights, int64_t channels, int64_t pitch,
                            int64_t row_step, int64_t rows, int64_t kernel_w, int64_t stride_w,
                            int64_t dilation_w, int64_t together, int64_t columns, int64_t before,
                            int64_t past, int64_t position, LAST_EPILOGUE)
{
    int64_t full = together * channels / F32_LANES * F32_LANES;
    int64_t rest = together * channels % F32_LANES;
    NO_UNROLL for (int64_t c = 0; c < full; c += F32_LANES) depth_tile(
        at + c, weights + c, channels, pitch, row_step, rows, kernel_w, stride_w, dilation_w,
        together, columns, before, past, F32_LANES, position, c, epilogue, context);
    if (rest)
        depth_tile(at + full, weights + full, channels, pitch, row_step, rows, kernel_w, stride_w,
                   dilation_w, together, columns, before, past, (int)rest, position, full, epilogue,
                   context);
}

TEMPLATE void depth_tile(const float *at, const float *weights, int64_t channels, int64_t pitch,
                         int64_t row_step, int64_t rows, int64_t kernel_w, int64_t stride_w,
                         int64_t dilation_w, int64_t together, int64_t columns, int64_t before,
                         int64_t past, int lanes, int64_t position, int64_t channel, LAST_EPILOGUE)
{
    f32v sum[AML_DEPTH_COLUMNS];
    EACH(i, AML_DEPTH_COLUMNS, columns) sum[i] = (f32v){};
    NO_UNROLL for (int64_t y = 0; y < rows; y++)
    {
#define TAP(k)                                                                                     \
    f32v right = f32_load(weights + (k)*pitch);                                                    \
    EACH(i, AML_DEPTH_COLUMNS, columns)                                                            \
    {                                                                                              \
        int64_t column = i * together * stride_w + (k)*dilation_w;                                 \
        const float *left = at + column * channels;                                                \
        if (column >= before && column < past)                                                     \
            sum[i] = f32_fma(lanes == F32_LANES ? f32_load(left) : f32_load_some(left, lanes),     \
                             right, sum[i]);                                                       \
    }
        if (kernel_w <= AML_DEPTH_TAPS) { // a column of the source is loaded once for its taps
            EACH(k, AML_DEPTH_TAPS, kernel_w)
            {
                TAP(k)
            }
        } else {
            NO_UNROLL for (int64_t k = 0; k < kernel_w; k++)
            {
                TAP(k)
            }
        }
#undef TAP
        weights += kernel_w * pitch;
        at += row_step;
    }
    EACH(i, AML_DEPTH_COLUMNS, columns)
    {
        if (together == 2) {
            f32v high = {};
            UNROLL for (int lane = 0; lane < F32_LANES / 2; lane++) high[lane] =
                sum[i][lane + F32_LANES / 2];
            epilogue(context, position + 2 * i, channel, F32_LANES / 2, sum[i]);
            epilogue(context, position + 2 * i + 1, channel, F32_LANES / 2, high);
        } else {
            epilogue(context, position + i, channel, lanes, sum[i]);
        }
    }
}

// `taps` of each row, of kernel_w.
TEMPLATE void depth_edge(const float *at, const float *weights, int64_t pitch, int64_t row_step,
                         int64_t tap_step, int64_t rows, int64_t taps, int64_t kernel_w,
                         int64_t vectors, int lanes, int64_t position, int64_t channel,
                         LAST_EPILOGUE)
{
    f32v sum[4];
    EACH(i, 4, vectors) sum[i] = (f32v){};
    NO_UNROLL for (int64_t y = 0; y < rows; y++)
    {
        NO_UNROLL for (int64_t x = 0; x < taps; x++)
        {
            EACH(i, 4, vectors)
            {
                const float *left = at + x * tap_step + i * F32_LANES;
                sum[i] = f32_fma(lanes == F32_LANES ? f32_load(left) : f32_load_some(left, lanes),
                                 f32_load(weights + x * pitch + i * F32_LANES), sum[i]);
            }
        }
        weights += kernel_w * pitch;
        at += row_step;
    }
    EACH(i, 4, vectors)
    epilogue(context, position, channel + i * F32_LANES, lanes, sum[i]);
}

// ---- Winograd

SHARED void aml_shared_winograd_input(const float *source, int64_t side, int64_t from,
                                      int64_t source_h, int64_t source_w, int64_t low_h,
                                      int64_t low_w, int64_t tiles_w, int64_t first, int64_t count,
                                      int64_t step, float *patch, float *out);
TEMPLATE void winograd_product(const float *a, const float *b, int64_t from, int64_t vectors,
                               int64_t pitch, int64_t asks, const float *ahead, int64_t ahead_step,
                               int64_t rows, f32v *out);
SHARED void aml_shared_winograd_output2(const f32v *in, int64_t step, f32v *out);
SHARED void aml_shared_winograd_output4(const f32v *in, int64_t step, f32v *out);
SHARED void aml_shared_winograd_patch2(const float *in, int64_t pitch, int64_t from, float *out,
                                       int64_t step);
SHARED void aml_shared_winograd_patch4(const float *in, int64_t pitch, int64_t from, float *out,
                                       int64_t step);

// Units begin..end: blocks of patches of an image, or one of the panels of weights (`pieces`) for
// them. Patches behind the last one of an image are
// multiplied, whatever they hold, and not used.
TEMPLATE void aml_conv_winograd(const float *source, const float *packed, float *scratch,
                                int64_t side, int64_t from, int64_t to, int64_t source_h,
                                int64_t source_w, int64_t result_h, int64_t result_w, int64_t low_h,
                                int64_t low_w, int64_t tiles_h, int64_t tiles_w, int64_t block,
                                int64_t blocks, int64_t vectors, int64_t pitch, int64_t tile_rows,
                                int64_t pieces, int64_t asks, int64_t unit_begin, int64_t unit_end,
                                LAST_EPILOGUE)
{
    int64_t panel = vectors * F32_LANES, points = (side + 2) * (side + 2);
    // A register more, or all points of a patch might want the same lines of the cache.
    int64_t step = block * from + F32_LANES, out_step = block * vectors + 1;
    float *patch = scratch, *v = patch + points * from;
    f32v *m = (f32v *)(v + points * step);
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t piece = unit % pieces, at = unit / pieces;
        int64_t image = at / blocks, first = at % blocks * block;
        int64_t count = tiles_h * tiles_w - first < block ? tiles_h * tiles_w - first : block;
        if (piece == 0 || unit == unit_begin)
            aml_shared_winograd_input(source + image * source_h * source_w * from, side, from,
                                      source_h, source_w, low_h, low_w, tiles_w, first, count, step,
                                      patch, v);
        int64_t channel = pieces > 1 ? piece * panel : 0;
        int64_t behind = pieces > 1 ? channel + 1 : to;
        NO_UNROLL for (; channel < behind; channel += panel)
        {
            const float *u = packed + channel / pitch * pitch * from * points + channel % pitch;
            NO_UNROLL for (int64_t e = 0; e < points; e++)
            {
                const float *now = u + e * from * pitch;
                NO_UNROLL for (int64_t t = 0, asked = 0; t < count; t += tile_rows, asked += asks)
                    winograd_product(v + e * step + t * from, now, from, vectors, pitch, asks,
                                     now + (asked < panel ? from * (pitch + asked) : 0),
                                     asked < panel ? asks : 0, tile_rows,
                                     m + e * out_step + t * vectors);
            }
            NO_UNROLL for (int64_t t = 0; t < count * vectors; t++)
            {
                int64_t tile = first + t / vectors, column = channel + t % vectors * F32_LANES;
                int64_t y = tile / tiles_w * side, x = tile % tiles_w * side;
                int64_t lanes = to - column < F32_LANES ? to - column : F32_LANES;
                if (lanes <= 0)
                    continue;
                f32v out[16];
                if (side == 2)
                    aml_shared_winograd_output2(m + t, out_step, out);
                else
                    aml_shared_winograd_output4(m + t, out_step, out);
                int64_t rows = result_h - y < side ? result_h - y : side;
                int64_t columns = result_w - x < side ? result_w - x : side;
                int64_t position = (image * result_h + y) * result_w + x;
                NO_UNROLL for (int64_t i = 0; i < rows; i++)
                {
                    NO_UNROLL for (int64_t k = 0; k < columns; k++)
                        epilogue(context, position + i * result_w + k, column, (int)lanes,
                                 out[i * side + k]);
                }
            }
        }
    }
}

// g * (a, b, c) of aml_winograd_weight, where the sums that two rows share are made once.
HELPER void winograd_weight_line(int64_t side, f64v a, f64v b, f64v c, f64v *out, int64_t step)
{
    out[0] = side == 2 ? a : a * 0.25;
    if (side == 2) {
        f64v even = (a + c) * 0.5, odd = b * 0.5;
        out[step] = even + odd;
        out[2 * step] = even - odd;
    } else {
        f64v even = (a + c) * (-1.0 / 6), odd = b * (1.0 / 6);
        out[step] = even - odd;
        out[2 * step] = even + odd;
        even = (a * 0.25 + c) * (1.0 / 6), odd = b * (1.0 / 12);
        out[3 * step] = even + odd;
        out[4 * step] = even - odd;
    }
    out[(side + 1) * step] = c;
}

// All points of the kernels of F64_LANES results, `count` of which there are.
HELPER void winograd_weight_lanes(const float *weights, int64_t side, int64_t from, int64_t count,
                                  float *out, int64_t step)
{
    typedef float Half __attribute__((vector_size(F64_LANES * sizeof(float))));
    f64v w[9], down[18], row[6];
    double in[9][F64_LANES];
    NO_UNROLL for (int64_t lane = 0; lane < F64_LANES; lane++)
    {
        const float *at = weights + (lane < count ? lane : 0) * from * 9;
        for (int i = 0; i < 9; i++)
            in[i][lane] = lane < count ? (double)at[i] : 0;
    }
    for (int i = 0; i < 9; i++)
        w[i] = f64_load(in[i]);
    NO_UNROLL for (int i = 0; i < 3; i++)
        winograd_weight_line(side, w[i], w[3 + i], w[6 + i], down + i, 3);
    NO_UNROLL for (int64_t i = 0; i < side + 2; i++)
    {
        winograd_weight_line(side, down[3 * i], down[3 * i + 1], down[3 * i + 2], row, 1);
        for (int64_t k = 0; k < side + 2; k++) {
            Half point = __builtin_convertvector(row[k], Half);
            __builtin_memcpy(out + (i * (side + 2) + k) * step, &point, sizeof point);
        }
    }
}

// Weights, transformed when a program starts, in the order of aml_winograd_pack.
SHARED void aml_shared_winograd_weights(const float *weights, int64_t side, int64_t from,
                                        int64_t to, int64_t panel, float *out)
{
    int64_t points = (side + 2) * (side + 2);
    NO_UNROLL for (int64_t first = 0; first < to; first += panel, out += points * from * panel)
    {
        NO_UNROLL for (int64_t channel = 0; channel < from; channel++)
        {
            NO_UNROLL for (int64_t lane = 0; lane < panel; lane += F64_LANES)
            {
                int64_t count = to - first - lane;
                const float *at = weights + ((count > 0 ? first + lane : 0) * from + channel) * 9;
                float *place = out + channel * panel + lane;
                if (side == 2)
                    winograd_weight_lanes(at, 2, from, count, place, from * panel);
                else
                    winograd_weight_lanes(at, 4, from, count, place, from * panel);
            }
        }
    }
}

// Patches first..first + count, transformed: out[point][tile][from], points `step` apart. A patch
// that reaches over the border is copied with zeros first.
SHARED void aml_shared_winograd_input(const float *source, int64_t side, int64_t from,
                                      int64_t source_h, int64_t source_w, int64_t low_h,
                                      int64_t low_w, int64_t tiles_w, int64_t first, int64_t count,
                                      int64_t step, float *patch, float *out)
{
    int64_t edge = side + 2;
    NO_UNROLL for (int64_t t = 0; t < count; t++)
    {
        int64_t y = (first + t) / tiles_w * side - low_h, x = (first + t) % tiles_w * side - low_w;
        const float *in = source + (y * source_w + x) * from;
        int64_t pitch = source_w * from;
        if (y < 0 || x < 0 || y + edge > source_h || x + edge > source_w) {
            int64_t before = x < -edge ? edge : x < 0 ? -x : 0;
            int64_t past = source_w - x < edge ? source_w - x : edge;
            float *to = patch;
            NO_UNROLL for (int64_t i = 0; i < edge; i++)
            {
                bool inside = y + i >= 0 && y + i < source_h;
                int64_t begin = inside ? before * from : edge * from, c = 0;
                NO_UNROLL for (; c < begin; c += F32_LANES) f32_store(to + c, (f32v){});
                NO_UNROLL for (; c < past * from; c += F32_LANES)
                    f32_store(to + c, f32_load(in + i * pitch + c));
                NO_UNROLL for (; c < edge * from; c += F32_LANES) f32_store(to + c, (f32v){});
                to += edge * from;
            }
            in = patch;
            pitch = edge * from;
        }
        if (side == 2)
            aml_shared_winograd_patch2(in, pitch, from, out + t * from, step);
        else
            aml_shared_winograd_patch4(in, pitch, from, out + t * from, step);
    }
}

TEMPLATE void winograd_product(const float *a, const float *b, int64_t from, int64_t vectors,
                               int64_t pitch, int64_t asks, const float *ahead, int64_t ahead_step,
                               int64_t rows, f32v *out)
{
    f32v sum[TILE][4];
    EACH(i, TILE, rows)
    {
        EACH(j, 4, vectors) sum[i][j] = (f32v){};
    }
    NO_UNROLL for (int64_t c = 0; c < from; c++)
    {
        f32v right[4];
        EACH(j, 4, vectors) right[j] = f32_load(b + j * F32_LANES);
        EACH(i, TILE, rows)
        {
            f32v value = f32_splat(a[i * from + c]);
            EACH(j, 4, vectors) sum[i][j] = f32_fma(value, right[j], sum[i][j]);
        }
        if (asks) {
            __builtin_prefetch(ahead, 0, 2);
            ahead += ahead_step;
        }
        b += pitch;
    }
    EACH(i, TILE, rows)
    {
        EACH(j, 4, vectors) out[i * vectors + j] = sum[i][j];
    }
}

// The transforms along one axis; both axes are done one after the other.
HELPER void winograd_in2(f32v d[4])
{
    f32v a = d[0] - d[2], b = d[1] + d[2], c = d[2] - d[1], e = d[1] - d[3];
    d[0] = a, d[1] = b, d[2] = c, d[3] = e;
}

HELPER void winograd_in4(f32v d[6])
{
    f32v four = f32_splat(4), minus_four = f32_splat(-4), minus_five = f32_splat(-5);
    f32v even = f32_fma(d[2], minus_four, d[4]), odd = f32_fma(d[1], minus_four, d[3]);
    f32v near = d[4] - d[2], apart = d[3] - d[1];
    f32v first = f32_fma(d[0], four, f32_fma(d[2], minus_five, d[4]));
    f32v last = f32_fma(d[1], four, f32_fma(d[3], minus_five, d[5]));
    apart += apart;
    d[0] = first, d[1] = even + odd, d[2] = even - odd;
    d[3] = near + apart, d[4] = near - apart, d[5] = last;
}

HELPER void winograd_out2(f32v d[4])
{
    f32v a = d[0] + (d[1] + d[2]), b = d[1] - d[2] - d[3];
    d[0] = a, d[1] = b;
}

HELPER void winograd_out4(f32v d[6])
{
    f32v sum = d[1] + d[2], apart = d[1] - d[2], far = d[3] + d[4], wide = d[3] - d[4];
    f32v first = d[0] + sum + far, last = f32_fma(wide, f32_splat(8), apart) + d[5];
    d[0] = first, d[1] = f32_fma(wide, f32_splat(2), apart);
    d[2] = f32_fma(far, f32_splat(4), sum), d[3] = last;
}

#define WINOGRAD_PATCH(side, edge)                                                                 \
    SHARED void aml_shared_winograd_patch##side(const float *in, int64_t pitch, int64_t from,      \
                                                float *out, int64_t step)                          \
    {                                                                                              \
        NO_UNROLL for (int64_t c = 0; c < from; c += F32_LANES)                                    \
        {                                                                                          \
            f32v down[edge][edge];                                                                 \
            UNROLL for (int k = 0; k < edge; k++)                                                  \
            {                                                                                      \
                f32v d[edge];                                                                      \
                UNROLL for (int i = 0; i < edge; i++) d[i] =                                       \
                    f32_load(in + i * pitch + k * from + c);                                       \
                winograd_in##side(d);                                                              \
                UNROLL for (int i = 0; i < edge; i++) down[i][k] = d[i];                           \
            }                                                                                      \
            UNROLL for (int i = 0; i < edge; i++)                                                  \
            {                                                                                      \
                winograd_in##side(down[i]);                                                        \
                UNROLL for (int k = 0; k < edge; k++)                                              \
                    f32_store(out + (i * edge + k) * step + c, down[i][k]);                        \
            }                                                                                      \
        }                                                                                          \
    }

// in: one register for each point, `step` apart.
#define WINOGRAD_OUTPUT(side, edge)                                                                \
    SHARED void aml_shared_winograd_output##side(const f32v *in, int64_t step, f32v *out)          \
    {                                                                                              \
        f32v down[side][edge];                                                                     \
        UNROLL for (int k = 0; k < edge; k++)                                                      \
        {                                                                                          \
            f32v d[edge];                                                                          \
            UNROLL for (int i = 0; i < edge; i++) d[i] = in[(i * edge + k) * step];                \
            winograd_out##side(d);                                                                 \
            UNROLL for (int i = 0; i < side; i++) down[i][k] = d[i];                               \
        }                                                                                          \
        UNROLL for (int i = 0; i < side; i++)                                                      \
        {                                                                                          \
            winograd_out##side(down[i]);                                                           \
            UNROLL for (int k = 0; k < side; k++) out[i * side + k] = down[i][k];                  \
        }                                                                                          \
    }

WINOGRAD_PATCH(2, 4)
WINOGRAD_PATCH(4, 6)
WINOGRAD_OUTPUT(2, 4)
WINOGRAD_OUTPUT(4, 6)

#undef AXES
#undef EACH
