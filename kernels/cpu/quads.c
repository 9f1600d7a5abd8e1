// quads.c: products and convolutions of bytes: unsigned ones (what is computed) times signed ones
// (weights), summed as i32 without any rounding; the templates of dot_template.h and
// conv_template.h.
//
// An element of the templates is a quad: four neighbours of the contracted axis in one word. A
// register of weights holds a quad of each of LANES columns; one quad of the left side is spread
// over a register, and where the processor has VNNI one instruction multiplies the 4 * LANES pairs
// of bytes and adds up each quad:
//
//     left   [ a0 a1 a2 a3 | a0 a1 a2 a3 | ... ]
//     right  [ b0 b1 b2 b3 | c0 c1 c2 c3 | ... ]
//     sum  + [ a0*b0 + .. + a3*b3 | a0*c0 + .. + a3*c3 | ... ]
//
// Elsewhere the bytes are widened to 16 bits, even ones and odd ones apart, since a sum of two
// products of bytes does not fit into 16 bits.

#include "conv_tiles.h"
#include "kernel.h"
#include "tiles.h"
#include "vector.h"

typedef uint8_t u8v __attribute__((vector_size(AML_WIDTH)));
typedef uint32_t u32v __attribute__((vector_size(AML_WIDTH * 4)));
#if AML_WIDTH == 4 && defined(__SSE2__)
#include <emmintrin.h>
#endif

HELPER i32v quad_splat(int32_t value)
{
    return value + (i32v){};
}

HELPER i32v quad_load(const int32_t *at)
{
    i32v value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

HELPER void quad_store(int32_t *at, i32v value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

HELPER i32v quad_load_some(const int32_t *at, int lanes)
{
    return (i32v)f32_load_some((const float *)(const void *)at, lanes);
}

HELPER i32v quad_zip_low(i32v x, i32v y)
{
    return __builtin_shufflevector(x, y, ZIP_WORDS(LOW));
}

HELPER i32v quad_zip_high(i32v x, i32v y)
{
    return __builtin_shufflevector(x, y, ZIP_WORDS(HIGH));
}

HELPER int32_t quad_sum(i32v value)
{
    int32_t sum = 0;
    UNROLL for (int i = 0; i < AML_WIDTH; i++) sum += value[i];
    return sum;
}

HELPER i32v quad_fma(i32v left, i32v right, i32v sum)
{
#if AML_WIDTH == 16 && defined(__AVX512VNNI__)
    return (i32v)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)left, (__m512i)right);
#elif AML_WIDTH == 8 && defined(__AVXVNNI__)
    return (i32v)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)left, (__m256i)right);
#elif !defined(__SSE2__)
    UNROLL for (int byte = 0; byte < 32; byte += 8)
    {
        i32v a = (i32v)((u32v)left >> byte) & 0xff, b = right << (24 - byte) >> 24;
        sum += a * b;
    }
    return sum;
#else
    typedef int16_t i16v __attribute__((vector_size(AML_WIDTH * 4)));
    i32v left_even = left & 0x00ff00ff, left_odd = (i32v)((u32v)left >> 8) & 0x00ff00ff;
    i32v right_even = (i32v)((i16v)((i16v)right << 8) >> 8), right_odd = (i32v)((i16v)right >> 8);
#if AML_WIDTH == 16
    return sum + (i32v)_mm512_madd_epi16((__m512i)left_even, (__m512i)right_even) +
           (i32v)_mm512_madd_epi16((__m512i)left_odd, (__m512i)right_odd);
#elif AML_WIDTH == 8
    return sum + (i32v)_mm256_madd_epi16((__m256i)left_even, (__m256i)right_even) +
           (i32v)_mm256_madd_epi16((__m256i)left_odd, (__m256i)right_odd);
#else
    return sum + (i32v)_mm_madd_epi16((__m128i)left_even, (__m128i)right_even) +
           (i32v)_mm_madd_epi16((__m128i)left_odd, (__m128i)right_odd);
#endif
#endif
}

HELPER const uint8_t *conv_at_quads(const uint8_t *base, int64_t index, int64_t half)
{
    (void)half;
    return base + index;
}

#define CONV_QUADS
#define CONV_WORDS
#define ELEMENT int32_t
#define SOURCE uint8_t
#define VECTOR i32v
#define LANES F32_LANES
#define NAME(name) name##_quads
#define V(name) quad_##name
#include "dot_template.h"
#include "conv_template.h"
#undef CONV_QUADS
#undef CONV_WORDS

// A register of bytes as words.
HELPER u32v quads_bytes(const uint8_t *at)
{
    u8v bytes;
    __builtin_memcpy(&bytes, at, sizeof bytes);
    return __builtin_convertvector(bytes, u32v);
}

// Up to four channels of a row of the source as a row of quads, from left to right: what a register
// holds beyond its row is stored over by what follows. Whole registers are read, which is good but
// in the last rows of a source that ends at `end`.
HELPER void quads_row(const uint8_t *in, const uint8_t *end, int64_t plane, int64_t channels,
                      int64_t before, int64_t middle, int64_t width, int32_t *out)
{
    i32v zero = {};
    int64_t second = channels > 1 ? plane : 0, third = channels > 2 ? 2 * plane : 0,
            fourth = channels > 3 ? 3 * plane : 0, last = fourth > third ? fourth : third;
    uint32_t there = channels < 4 ? (1u << 8 * channels) - 1 : ~0u; // of a quad
    last = last > second ? last : second;
    NO_UNROLL for (int64_t x = 0; x < before; x += LANES) quad_store(out + x, zero);
    out += before;
    if (end - in >= last + middle + LANES) {
        NO_UNROLL for (int64_t x = 0; x < middle; x += LANES)
        {
            const uint8_t *at = in + x;
            u32v quad = quads_bytes(at) | quads_bytes(at + second) << 8 |
                        quads_bytes(at + third) << 16 | quads_bytes(at + fourth) << 24;
            quad_store(out + x, (i32v)(quad & there));
        }
    } else {
        NO_UNROLL for (int64_t x = 0; x < middle; x++)
        {
            const uint8_t *at = in + x;
            uint32_t quad = at[0] | (uint32_t)at[second] << 8 | (uint32_t)at[third] << 16 |
                            (uint32_t)at[fourth] << 24;
            out[x] = (int32_t)(quad & there);
        }
    }
    NO_UNROLL for (int64_t x = middle; x < width - before; x += LANES) quad_store(out + x, zero);
}

TEMPLATE void aml_shared_conv_copy_quads(const uint8_t *source, int64_t half, int64_t channels,
                                         int64_t source_d, int64_t source_h, int64_t source_w,
                                         int64_t origin_d, int64_t origin_h, int64_t origin_w,
                                         int64_t copy_d, int64_t copy_h, int64_t copy_w,
                                         int64_t around, int32_t *copy)
{
    (void)half;   // of floats
    (void)around; // rows are stored over what is there
    int64_t before = origin_w < 0 ? -origin_w : 0, first = origin_w < 0 ? 0 : origin_w;
    before = before < copy_w ? before : copy_w;
    int64_t middle = source_w - first < copy_w - before ? source_w - first : copy_w - before;
    middle = middle < 0 ? 0 : middle;
    int64_t plane = source_d * source_h * source_w;
    const uint8_t *end = source + channels * plane;
    NO_UNROLL for (int64_t channel = 0; channel < channels; channel += 4)
    {
        int64_t left = channels - channel;
        NO_UNROLL for (int64_t z = origin_d; z < origin_d + copy_d; z++)
        {
            NO_UNROLL for (int64_t y = origin_h; y < origin_h + copy_h; y++)
            {
                bool outside = z < 0 || z >= source_d || y < 0 || y >= source_h;
                const uint8_t *in =
                    outside ? source
                            : source + ((channel * source_d + z) * source_h + y) * source_w + first;
                quads_row(in, end, plane, left, outside ? copy_w : before, outside ? 0 : middle,
                          copy_w, copy);
                copy += copy_w;
            }
        }
    }
}
#undef ELEMENT
#undef SOURCE
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#ifdef AML_HAS_TILES
// B is packed when it is compiled, and A has whole words of k side by side.
HELPER void tiles_pack_quads(const int32_t *b, int64_t b_k, int64_t b_column, int64_t k,
                             int64_t depth, int64_t vectors, int lanes, char *out)
{
    (void)b, (void)b_k, (void)b_column, (void)k, (void)depth, (void)vectors, (void)lanes, (void)out;
}

HELPER void tiles_copy_quads(const int32_t *a, int64_t a_row, int64_t a_k, int64_t rows, int64_t k,
                             int64_t depth, char *out)
{
    (void)a, (void)a_row, (void)a_k, (void)rows, (void)k, (void)depth, (void)out;
}

#define NAME(name) name##_quads
#define VECTOR i32v
#define SOURCE int32_t
#define SOURCE_BYTES 4
#define SOURCES 1
#define WORD int32_t
#define TILES_PACKS false
#define TILES_KIND TILES_UNSIGNED
#include "dot_tiles.h"
#undef SOURCE
#undef SOURCE_BYTES
#undef SOURCES
#undef WORD
#undef TILES_PACKS
#undef TILES_KIND

#define SOURCE uint8_t
#define ELEMENT int32_t
#define TILES_KIND TILES_SIGNED
#include "conv_tiles_template.h"
#undef NAME
#undef VECTOR
#undef SOURCE
#undef ELEMENT
#undef TILES_KIND
#endif
