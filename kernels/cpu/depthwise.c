// depthwise.c: the gradient for the weights of a convolution with one channel to a group
// (depthwise.h has the picture).
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h).

#include "depthwise.h"
#include "vector.h"

TEMPLATE void depthwise_copy(const float *source, int64_t source_h, int64_t source_w, int64_t low_h,
                             int64_t low_w, int64_t stride, int64_t rows, int64_t pitch,
                             int64_t plane, float *copy);

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
    NO_UNROLL for (int64_t i = 0; i < (int64_t)d.copy_elements + d.flat + F32_LANES; i += F32_LANES)
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
            NO_UNROLL for (int64_t p = 0; p < d.flat; p += F32_LANES)
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
