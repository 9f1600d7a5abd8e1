// Resizing of pictures with a triangle filter.
//
// First all columns are made shorter, then all rows. Both passes go over memory in its order and
// work on whole rows: in the first one an element of the result is a sum of rows, in the second one
// a pixel, which is four numbers, is a sum of pixels.
//
//      from, 8 bits  --down-->  lines, 8.7 bits, `width` columns of from  --across-->  to, 8 bits
//
// Weights are whole numbers of 14 bits that add up to 1, so an even area stays as it is, and the
// result is the same on every machine.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/picture.h"

enum { WEIGHT_BITS = 14, LINE_BITS = 7 };

// The pixels of the source that make one of the result: first..first+count, with their weights.
typedef struct Tap {
    int32_t first, count;
    const int16_t *weight;
} Tap;

// The weights of `size` results along one axis of `length` pixels, of which the part from `begin`
// on is used. `most` is the room for one result's weights.
static void make_taps(double begin, double scale, int64_t length, int64_t size, int64_t most,
                      Tap *tap, int16_t *weight, double *real)
{
    double width = fmax(scale, 1);
    for (int64_t i = 0; i < size; i++, weight += most) {
        double middle = begin + ((double)i + 0.5) * scale, sum = 0;
        int64_t first = (int64_t)fmax(0, floor(middle - width + 0.5)),
                end = (int64_t)fmin((double)length, floor(middle + width + 0.5));
        if (end <= first) { // only where rounding put the box a little outside
            first = first < length ? first : length - 1;
            end = first + 1;
        }
        if (end - first > most)
            end = first + most;
        for (int64_t k = first; k < end; k++) {
            double away = fabs(((double)k + 0.5 - middle) / width);
            real[k - first] = away < 1 ? 1 - away : 0;
            sum += real[k - first];
        }
        int64_t largest = 0, left = 1 << WEIGHT_BITS;
        for (int64_t k = 0; k < end - first; k++) {
            double share = sum > 0 ? real[k] / sum : 1 / (double)(end - first);
            weight[k] = (int16_t)floor(share * (1 << WEIGHT_BITS) + 0.5);
            left -= weight[k];
            largest = weight[k] > weight[largest] ? k : largest;
        }
        weight[largest] = (int16_t)(weight[largest] + left);
        tap[i] = (Tap){(int32_t)first, (int32_t)(end - first), weight};
    }
}

typedef struct Passes {
    const unsigned char *from; // at the first column that is used
    size_t from_stride;
    int64_t columns; // of the source that are used
    const Tap *down, *across;
    int64_t height, width;
    int32_t *sum;  // columns * 4
    int16_t *line; // columns * 4
    unsigned char *to;
    size_t to_stride;
} Passes;

typedef int32_t Pixel __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) void run_passes(const Passes *p)
{
    size_t elements = (size_t)p->columns * 4;
    int32_t *restrict sum = p->sum;
    int16_t *restrict line = p->line;
    for (int64_t row = 0; row < p->height; row++) {
        const Tap *down = &p->down[row];
        for (size_t i = 0; i < elements; i++)
            sum[i] = 1 << (WEIGHT_BITS - LINE_BITS - 1);
        for (int32_t k = 0; k < down->count; k++) {
            const unsigned char *restrict from =
                p->from + (size_t)(down->first + k) * p->from_stride;
            int32_t weight = down->weight[k];
            for (size_t i = 0; i < elements; i++)
                sum[i] += weight * from[i];
        }
        for (size_t i = 0; i < elements; i++)
            line[i] = (int16_t)(sum[i] >> (WEIGHT_BITS - LINE_BITS));
        unsigned char *restrict to = p->to + (size_t)row * p->to_stride;
        for (int64_t column = 0; column < p->width; column++, to += 4) {
            const Tap *across = &p->across[column];
            const int16_t *restrict at = line + (size_t)across->first * 4;
            int32_t half = 1 << (WEIGHT_BITS + LINE_BITS - 1);
            Pixel pixel = {half, half, half, half};
            for (int32_t k = 0; k < across->count; k++, at += 4)
                pixel += (Pixel){at[0], at[1], at[2], at[3]} * across->weight[k];
            pixel >>= WEIGHT_BITS + LINE_BITS;
            for (int k = 0; k < 4; k++)
                to[k] = (unsigned char)pixel[k];
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) static void passes_avx2(const Passes *p)
{
    run_passes(p);
}
#endif

static void passes_plain(const Passes *p)
{
    run_passes(p);
}

static size_t align(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static char *take(char **at, size_t bytes)
{
    char *taken = *at;
    *at += align(bytes);
    return taken;
}

aml_status amli_resize(amli_decoder *decoder, const amli_picture *from, const double box[4],
                       int64_t width, int64_t height, unsigned char *to, size_t stride,
                       aml_error *error)
{
    size_t row = (size_t)from->width * 4;
    bool same = width == from->width && height == from->height && box[0] == 0 && box[1] == 0 &&
                box[2] == (double)width && box[3] == (double)height;
    for (int64_t i = 0; same && i < height; i++)
        memcpy(to + (size_t)i * stride, from->pixel + (size_t)i * row, row);
    if (same)
        return AML_OK;
    double across = (box[2] - box[0]) / (double)width, down = (box[3] - box[1]) / (double)height;
    size_t most_across = (size_t)ceil(2 * fmax(across, 1)) + 2,
           most_down = (size_t)ceil(2 * fmax(down, 1)) + 2,
           most = most_across > most_down ? most_across : most_down;
    size_t bytes = align((size_t)width * sizeof(Tap)) + align((size_t)height * sizeof(Tap)) +
                   align((size_t)width * most_across * sizeof(int16_t)) +
                   align((size_t)height * most_down * sizeof(int16_t)) +
                   align(most * sizeof(double)) + align(row * sizeof(int32_t)) +
                   align(row * sizeof(int16_t));
    if (bytes > decoder->work_room) {
        free(decoder->work);
        decoder->work_room = 0;
        decoder->work = aligned_alloc(64, bytes);
        if (!decoder->work)
            return amli_no_memory(error, bytes, "a picture");
        decoder->work_room = bytes;
    }
    char *at = decoder->work;
    Tap *tap_across = (Tap *)(void *)take(&at, (size_t)width * sizeof(Tap)),
        *tap_down = (Tap *)(void *)take(&at, (size_t)height * sizeof(Tap));
    int16_t *weight_across =
        (int16_t *)(void *)take(&at, (size_t)width * most_across * sizeof(int16_t));
    int16_t *weight_down =
        (int16_t *)(void *)take(&at, (size_t)height * most_down * sizeof(int16_t));
    double *real = (double *)(void *)take(&at, most * sizeof(double));
    make_taps(box[0], across, from->width, width, (int64_t)most_across, tap_across, weight_across,
              real);
    make_taps(box[1], down, from->height, height, (int64_t)most_down, tap_down, weight_down, real);
    int32_t first = tap_across[0].first,
            end = tap_across[width - 1].first + tap_across[width - 1].count;
    for (int64_t i = 0; i < width; i++)
        tap_across[i].first -= first;
    Passes passes = {.from = from->pixel + (size_t)first * 4,
                     .from_stride = row,
                     .columns = end - first,
                     .down = tap_down,
                     .across = tap_across,
                     .height = height,
                     .width = width,
                     .sum = (int32_t *)(void *)take(&at, row * sizeof(int32_t)),
                     .line = (int16_t *)(void *)take(&at, row * sizeof(int16_t)),
                     .to = to,
                     .to_stride = stride};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        passes_avx2(&passes);
        return AML_OK;
    }
#endif
    passes_plain(&passes);
    return AML_OK;
}
