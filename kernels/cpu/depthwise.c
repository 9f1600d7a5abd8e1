// depthwise.c: convolutions of one channel to a group (depthwise.h has the picture).
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h).

#include "depthwise.h"
#include "vector.h"

TEMPLATE void depthwise_copy(const float *source, int64_t source_h, int64_t source_w, int64_t low_h,
                             int64_t low_w, int64_t stride, int64_t rows, int64_t pitch,
                             int64_t plane, float *copy);
TEMPLATE void depthwise_sums(const float *copy, const float *weights, int64_t flat, int64_t pitch,
                             int64_t plane, int64_t kernel_h, int64_t kernel_w, int64_t stride,
                             int64_t dilation_h, int64_t dilation_w, int64_t turned, float *out);

// Units begin..end of images * channels. `turned`: the weights are read from the last one on.
TEMPLATE void aml_depthwise(const float *source, const float *weights, float *scratch,
                            int64_t *image_at, int64_t channels, int64_t source_h, int64_t source_w,
                            int64_t result_h, int64_t result_w, int64_t kernel_h, int64_t kernel_w,
                            int64_t low_h, int64_t low_w, int64_t stride, int64_t dilation_h,
                            int64_t dilation_w, int64_t turned, int64_t begin, int64_t end,
                            void (*epilogue)(void *context, int64_t row, int64_t column, int lanes,
                                             f32v value),
                            void *context)
{
    AmlDepthwise d = aml_depthwise_sizes(result_h, result_w, kernel_h, kernel_w, stride, dilation_h,
                                         dilation_w, F32_LANES);
    float *sums = scratch + d.copy_elements, *dense = sums + d.flat + F32_LANES;
    int64_t rows = result_h + (kernel_h - 1) * dilation_h / stride;
    NO_UNROLL for (int64_t i = 0; i < (int64_t)d.copy_elements; i += F32_LANES)
        f32_store(scratch + i, (f32v){});
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t channel = unit % channels;
        *image_at = unit / channels;
        depthwise_copy(source + unit * source_h * source_w, source_h, source_w, low_h, low_w,
                       stride, rows, d.pitch, d.plane, scratch);
        const float *own = weights + channel * kernel_h * kernel_w;
        NO_UNROLL for (int64_t y = 0; y < result_h; y += d.block_rows)
        {
            int64_t here = result_h - y < d.block_rows ? result_h - y : d.block_rows;
            depthwise_sums(scratch + y * d.pitch, own, (here * d.pitch + F32_LANES - 1) / F32_LANES,
                           d.pitch, d.plane, kernel_h, kernel_w, stride, dilation_h, dilation_w,
                           turned, sums);
            const float *from = sums;
            if (d.pitch != result_w) { // whole registers: the next row lies over what is too much
                NO_UNROLL for (int64_t row = 0; row < here; row++)
                {
                    NO_UNROLL for (int64_t x = 0; x < result_w; x += F32_LANES)
                        f32_store(dense + row * result_w + x, f32_load(sums + row * d.pitch + x));
                }
                from = dense;
            }
            int64_t all = here * result_w, p = 0;
            NO_UNROLL for (; p + F32_LANES <= all; p += F32_LANES)
                epilogue(context, channel, y * result_w + p, F32_LANES, f32_load(from + p));
            if (p < all)
                epilogue(context, channel, y * result_w + p, (int)(all - p), f32_load(from + p));
        }
    }
}

#if AML_WIDTH == 16
// The same of planes that are read by masks.
TEMPLATE void aml_depthwise_masked(
    const float *source, const float *weights, const uint16_t *mask, int64_t *image_at,
    int64_t channels, int64_t source_size, int64_t result_size, int64_t pitch, int64_t kernel_h,
    int64_t kernel_w, int64_t low_h, int64_t low_w, int64_t dilation_h, int64_t dilation_w,
    int64_t turned, int64_t begin, int64_t end,
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, f32v value),
    void *context)
{
    int64_t taps = kernel_h * kernel_w;
    NO_UNROLL for (int64_t unit = begin; unit < end; unit++)
    {
        int64_t channel = unit % channels;
        *image_at = unit / channels;
        f32v weight[AML_DEPTHWISE_MASKED];
        UNROLL for (int t = 0; t < AML_DEPTHWISE_MASKED; t++)
        {
            if (t < taps)
                weight[t] = f32_splat(weights[channel * taps + (turned ? taps - 1 - t : t)]);
        }
        const float *plane = source + unit * source_size;
        NO_UNROLL for (int64_t p = 0; p < result_size; p += F32_LANES)
        {
            f32v sum = {};
            UNROLL for (int t = 0; t < AML_DEPTHWISE_MASKED; t++)
            {
                if (t < taps) {
                    int64_t off = (t / kernel_w * dilation_h - low_h) * pitch +
                                  t % kernel_w * dilation_w - low_w;
                    f32v value = (f32v)_mm512_maskz_loadu_ps(mask[p / F32_LANES * taps + t],
                                                             plane + p + off);
                    sum = f32_fma(weight[t], value, sum);
                }
            }
            int64_t left = result_size - p;
            epilogue(context, channel, p, left < F32_LANES ? (int)left : F32_LANES, sum);
        }
    }
}
#endif

// The gradient for the weights of channels begin..end: for each tap the sum over images and
// positions. dy lies in rows as far apart as those of the copy, with zeros between them.
TEMPLATE void aml_depthwise_weight(const float *source, const float *dy, float *scratch, float *out,
                                   int64_t images, int64_t channels, int64_t source_h,
                                   int64_t source_w, int64_t result_h, int64_t result_w,
                                   int64_t kernel_h, int64_t kernel_w, int64_t low_h, int64_t low_w,
                                   int64_t stride, int64_t dilation_h, int64_t dilation_w,
                                   int64_t begin, int64_t end)
{
    AmlDepthwise d = aml_depthwise_sizes(result_h, result_w, kernel_h, kernel_w, stride, dilation_h,
                                         dilation_w, F32_LANES);
    float *slope = scratch + d.copy_elements;
    int64_t rows = result_h + (kernel_h - 1) * dilation_h / stride, taps = kernel_h * kernel_w;
    int64_t flat = (result_h * d.pitch + F32_LANES - 1) / F32_LANES * F32_LANES;
    NO_UNROLL for (int64_t i = 0; i < (int64_t)d.copy_elements + flat + F32_LANES; i += F32_LANES)
        f32_store(scratch + i, (f32v){});
    NO_UNROLL for (int64_t channel = begin; channel < end; channel++)
    {
        f32v sum[AML_DEPTHWISE_TAPS];
        UNROLL for (int t = 0; t < AML_DEPTHWISE_TAPS; t++) sum[t] = (f32v){};
        NO_UNROLL for (int64_t image = 0; image < images; image++)
        {
            int64_t unit = image * channels + channel;
            depthwise_copy(source + unit * source_h * source_w, source_h, source_w, low_h, low_w,
                           stride, rows, d.pitch, d.plane, scratch);
            const float *from = dy + unit * result_h * result_w;
            NO_UNROLL for (int64_t y = 0; y < result_h; y++)
            {
                NO_UNROLL for (int64_t x = 0; x < result_w; x += F32_LANES)
                    f32_store(slope + y * d.pitch + x,
                              result_w - x < F32_LANES
                                  ? f32_load_some(from + y * result_w + x, (int)(result_w - x))
                                  : f32_load(from + y * result_w + x));
                NO_UNROLL for (int64_t x = result_w; x < d.pitch; x += 1) slope[y * d.pitch + x] =
                    0;
            }
            NO_UNROLL for (int64_t p = 0; p < flat; p += F32_LANES)
            {
                f32v left = f32_load(slope + p);
                UNROLL for (int t = 0; t < AML_DEPTHWISE_TAPS; t++)
                {
                    if (t < taps) {
                        int64_t down = t / kernel_w * dilation_h, right = t % kernel_w * dilation_w;
                        const float *at = scratch +
                                          (down % stride * stride + right % stride) * d.plane +
                                          down / stride * d.pitch + right / stride + p;
                        sum[t] = f32_fma(left, f32_load(at), sum[t]);
                    }
                }
            }
        }
        UNROLL for (int t = 0; t < AML_DEPTHWISE_TAPS; t++)
        {
            if (t < taps)
                out[channel * taps + t] = f32_sum(sum[t]);
        }
    }
}

// Row r, column c of plane [a][b] is the source's row r * stride + a - low_h, column c * stride + b
// - low_w, or zero outside. Whole registers are stored: what is too much in a row is stored over by
// the next.
TEMPLATE void depthwise_copy(const float *source, int64_t source_h, int64_t source_w, int64_t low_h,
                             int64_t low_w, int64_t stride, int64_t rows, int64_t pitch,
                             int64_t plane, float *copy)
{
    float *whole = copy + stride * stride * plane; // of a row with its padding
    int64_t across = pitch * stride;
    int64_t inside = source_w < across - low_w ? source_w : across - low_w;
    NO_UNROLL for (int64_t row = 0; row < rows * stride; row++)
    {
        int64_t y = row - low_h;
        float *to = stride == 1 ? copy + row * pitch : whole;
        NO_UNROLL for (int64_t x = 0; x < (y < 0 || y >= source_h ? across : low_w); x += F32_LANES)
            f32_store(to + x, (f32v){});
        if (y >= 0 && y < source_h) {
            const float *from = source + y * source_w;
            int64_t x = 0;
            NO_UNROLL for (; x + F32_LANES <= inside; x += F32_LANES)
                f32_store(to + low_w + x, f32_load(from + x));
            if (x < inside)
                f32_store(to + low_w + x, f32_load_some(from + x, (int)(inside - x)));
            NO_UNROLL for (x = low_w + inside; x < across; x += F32_LANES)
                f32_store(to + x, (f32v){});
        }
        if (stride == 1)
            continue;
        float *even = copy + row % 2 * 2 * plane + row / 2 * pitch, *odd = even + plane;
        NO_UNROLL for (int64_t x = 0; x < pitch; x += F32_LANES)
        {
            f32v a = f32_load(whole + 2 * x), b = f32_load(whole + 2 * x + F32_LANES), e, o;
            UNROLL for (int i = 0; i < F32_LANES / 2; i++)
            {
                e[i] = a[2 * i], e[i + F32_LANES / 2] = b[2 * i];
                o[i] = a[2 * i + 1], o[i + F32_LANES / 2] = b[2 * i + 1];
            }
            f32_store(even + x, e);
            f32_store(odd + x, o);
        }
    }
}

// `flat` registers of sums.
#define DEPTHWISE_SUMS(VECTORS)                                                                    \
    NO_UNROLL for (; p + VECTORS <= flat; p += VECTORS)                                            \
    {                                                                                              \
        f32v sum[VECTORS];                                                                         \
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = (f32v){};                                \
        NO_UNROLL for (int64_t i = 0; i < kernel_h; i++)                                           \
        {                                                                                          \
            const float *row = copy + i * dilation_h % stride * stride * plane +                   \
                               i * dilation_h / stride * pitch + p * F32_LANES;                    \
            NO_UNROLL for (int64_t j = 0; j < kernel_w; j++)                                       \
            {                                                                                      \
                const float *at = row + j * dilation_w % stride * plane + j * dilation_w / stride; \
                int64_t tap = i * kernel_w + j;                                                    \
                f32v left = f32_splat(weights[turned ? kernel_h * kernel_w - 1 - tap : tap]);      \
                UNROLL for (int v = 0; v < VECTORS; v++) sum[v] =                                  \
                    f32_fma(left, f32_load(at + v * F32_LANES), sum[v]);                           \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int v = 0; v < VECTORS; v++) f32_store(out + (p + v) * F32_LANES, sum[v]);     \
    }
TEMPLATE void depthwise_sums(const float *copy, const float *weights, int64_t flat, int64_t pitch,
                             int64_t plane, int64_t kernel_h, int64_t kernel_w, int64_t stride,
                             int64_t dilation_h, int64_t dilation_w, int64_t turned, float *out)
{
    int64_t p = 0;
    DEPTHWISE_SUMS(AML_DEPTHWISE_VECTORS)
    DEPTHWISE_SUMS(1)
}
#undef DEPTHWISE_SUMS
