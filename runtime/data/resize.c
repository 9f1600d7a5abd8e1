// Resizing of pictures with a triangle filter.
//
// First all columns are made shorter, then all rows. ROWS rows of the result are made at the same
// time:
//
//      from, 8 bits  --down-->  lines, 8.7 bits: of each column ROWS pixels  --across-->  to, 8
//      bits
//
// In the first pass a line is a sum of rows, in the second one the pixels of a column are a sum of
// those of some columns, so that in both of them one weight meets many elements that lie side by
// side. Weights and sums are whole numbers of 16 bits: the result is the same on every machine, and
// an even area stays as it is. They do for some dozens of weights; a picture that is reduced to
// less than a sixteenth is averaged in blocks before.

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/picture.h"

enum { WEIGHT_BITS = 15, LINE_BITS = 7, ROWS = 4, LANES = 4 * ROWS, MOST_SHRINKING = 16 };

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
        double begin_at = middle - width + 0.5; // a cast cuts off, which below 0 is not floor
        int64_t first = begin_at > 0 ? (int64_t)begin_at : 0,
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
            weight[k] = (int16_t)fmin(INT16_MAX, floor(share * (1 << WEIGHT_BITS) + 0.5));
            left -= weight[k];
            largest = weight[k] > weight[largest] ? k : largest;
        }
        left += weight[largest];
        weight[largest] = (int16_t)(left < INT16_MAX ? left : INT16_MAX); // 1 is not quite 1
        tap[i] = (Tap){(int32_t)first, (int32_t)(end - first), weight};
    }
}

typedef struct Passes {
    const unsigned char *from; // at the first column that is used
    size_t from_stride;
    int64_t columns; // of the source that are used
    const Tap *down, *across;
    int64_t height, width;
    int16_t *line;  // columns * 4
    int16_t *lines; // columns * LANES
    unsigned char *to;
    size_t to_stride;
} Passes;

// A product of 8.7 bits and a weight, rounded.
static inline int16_t weighed(int16_t value, int16_t weight)
{
    return (int16_t)((value * weight + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS);
}

// Elements begin..end of one line: pixels of 8.7 bits.
static void line_plain(const Passes *p, const Tap *down, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const unsigned char *from = p->from + (size_t)down->first * p->from_stride + i;
        int16_t sum = 0;
        for (int32_t k = 0; k < down->count; k++, from += p->from_stride)
            sum = (int16_t)(sum + weighed((int16_t)(*from << LINE_BITS), down->weight[k]));
        p->line[i] = sum;
    }
}

static void column_plain(const int16_t *at, const Tap *across, int16_t sum[LANES])
{
    memset(sum, 0, LANES * sizeof *sum);
    for (int32_t k = 0; k < across->count; k++, at += LANES)
        for (int i = 0; i < LANES; i++)
            sum[i] = (int16_t)(sum[i] + weighed(at[i], across->weight[k]));
}

#if defined(__x86_64__)
// The same with 16 elements at a time: vpmulhrsw is `weighed`.
__attribute__((target("avx2"))) static void line_avx2(const Passes *p, const Tap *down)
{
    size_t elements = (size_t)p->columns * 4, i = 0;
    for (; i + 16 <= elements; i += 16) {
        const unsigned char *from = p->from + (size_t)down->first * p->from_stride + i;
        __m256i sum = _mm256_setzero_si256();
        for (int32_t k = 0; k < down->count; k++, from += p->from_stride) {
            __m256i value =
                _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
            __m256i weight = _mm256_set1_epi16(down->weight[k]);
            sum = _mm256_add_epi16(
                sum, _mm256_mulhrs_epi16(_mm256_slli_epi16(value, LINE_BITS), weight));
        }
        _mm256_storeu_si256((__m256i *)(void *)(p->line + i), sum);
    }
    line_plain(p, down, i, elements);
}

__attribute__((target("avx2"))) static void column_avx2(const int16_t *at, const Tap *across,
                                                        int16_t sum[LANES])
{
    __m256i all = _mm256_setzero_si256();
    for (int32_t k = 0; k < across->count; k++, at += LANES)
        all = _mm256_add_epi16(
            all, _mm256_mulhrs_epi16(_mm256_loadu_si256((const __m256i *)(const void *)at),
                                     _mm256_set1_epi16(across->weight[k])));
    _mm256_storeu_si256((__m256i *)(void *)sum, all);
}
#endif

static void run_passes(const Passes *p)
{
#if defined(__x86_64__)
    bool wide = __builtin_cpu_supports("avx2");
#endif
    for (int64_t row = 0; row < p->height; row += ROWS) {
        int64_t rows = p->height - row < ROWS ? p->height - row : ROWS;
        for (int64_t r = 0; r < rows; r++) {
#if defined(__x86_64__)
            if (wide)
                line_avx2(p, &p->down[row + r]);
            else
#endif
                line_plain(p, &p->down[row + r], 0, (size_t)p->columns * 4);
            for (int64_t i = 0; i < p->columns; i++)
                memcpy(p->lines + i * LANES + r * 4, p->line + i * 4, 4 * sizeof *p->line);
        }
        for (int64_t column = 0; column < p->width; column++) {
            const int16_t *at = p->lines + (size_t)p->across[column].first * LANES;
            int16_t sum[LANES];
#if defined(__x86_64__)
            if (wide)
                column_avx2(at, &p->across[column], sum);
            else
#endif
                column_plain(at, &p->across[column], sum);
            unsigned char pixel[LANES];
            for (int i = 0; i < LANES; i++)
                pixel[i] = (unsigned char)((sum[i] + (1 << (LINE_BITS - 1))) >> LINE_BITS);
            for (int64_t r = 0; r < rows; r++)
                memcpy(p->to + (size_t)(row + r) * p->to_stride + column * 4, pixel + r * 4, 4);
        }
    }
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

// Means of blocks of factor * factor pixels, in place; what is left over at the right and below is
// cut off.
static void average_blocks(amli_picture *picture, int64_t factor)
{
    int64_t width = picture->width / factor, height = picture->height / factor;
    uint32_t all = (uint32_t)(factor * factor);
    for (int64_t r = 0; r < height; r++)
        for (int64_t c = 0; c < width; c++) {
            uint32_t sum[4] = {0};
            for (int64_t i = 0; i < factor * factor; i++) {
                int64_t row = r * factor + i / factor, column = c * factor + i % factor;
                const unsigned char *pixel = picture->pixel + (row * picture->width + column) * 4;
                for (int k = 0; k < 4; k++)
                    sum[k] += pixel[k];
            }
            for (int k = 0; k < 4; k++) // never ahead of what is still read
                picture->pixel[(r * width + c) * 4 + k] = (unsigned char)((sum[k] + all / 2) / all);
        }
    picture->width = width;
    picture->height = height;
}

aml_status amli_resize(amli_decoder *decoder, amli_picture *from, const double whole_box[4],
                       int64_t width, int64_t height, unsigned char *to, size_t stride,
                       aml_error *error)
{
    double box[4];
    memcpy(box, whole_box, sizeof box);
    double least = fmin((box[2] - box[0]) / (double)width, (box[3] - box[1]) / (double)height);
    int64_t factor = least >= MOST_SHRINKING ? (int64_t)(least / (MOST_SHRINKING / 2)) : 1;
    for (; factor > 1 && (from->width < factor || from->height < factor);)
        factor /= 2;
    if (factor > 1) {
        average_blocks(from, factor);
        for (int i = 0; i < 4; i++)
            box[i] = fmin(box[i] / (double)factor, (double)(i % 2 ? from->height : from->width));
    }
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
                   align(most * sizeof(double)) + align(row * sizeof(int16_t)) +
                   align(row * ROWS * sizeof(int16_t));
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
                     .line = (int16_t *)(void *)take(&at, row * sizeof(int16_t)),
                     .lines = (int16_t *)(void *)take(&at, row * ROWS * sizeof(int16_t)),
                     .to = to,
                     .to_stride = stride};
    run_passes(&passes);
    return AML_OK;
}
