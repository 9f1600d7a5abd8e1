// vector.h: one register of floats at the width this file is compiled for, and memory access by the
// lane.
//
// AML_WIDTH is the number of f32 lanes: 16, 8 or 4. A load or store of fewer lanes touches no other
// element, so that the last columns of a matrix can end at the end of a page.

#ifndef AML_KERNELS_CPU_VECTOR_H
#define AML_KERNELS_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#if AML_WIDTH == 16 || AML_WIDTH == 8
#include <immintrin.h>
#elif AML_WIDTH != 4
#error "AML_WIDTH must be 16, 8 or 4"
#endif

// In the bitcode every function stays whole until its constants are known (kernel.h says how amlc
// inlines them); where the templates are used from C (tests/kernels) the compiler inlines them
// itself.
#ifdef AML_KERNEL_BITCODE
#define TEMPLATE __attribute__((noinline, visibility("hidden")))
#else
#define TEMPLATE static inline __attribute__((always_inline, unused))
#endif
// What exists once, whatever the sizes: its name begins with aml_shared_. With AML_SHARED_OBJECT
// nothing else is left of a file: amlc carries these compiled, for the programs that train.
#ifdef AML_SHARED_OBJECT
#define SHARED __attribute__((noinline, visibility("hidden")))
#else
#define SHARED TEMPLATE
#endif
// Of what is called seldom and exists once: short code.
#define SMALL __attribute__((minsize))
#define HELPER static inline __attribute__((always_inline, unused))
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")

enum { F32_LANES = AML_WIDTH, F64_LANES = AML_WIDTH / 2 };

typedef float f32v __attribute__((vector_size(AML_WIDTH * 4)));
typedef double f64v __attribute__((vector_size(AML_WIDTH * 4)));
typedef int32_t i32v __attribute__((vector_size(AML_WIDTH * 4)));
typedef int64_t i64v __attribute__((vector_size(AML_WIDTH * 4)));
typedef uint64_t u64v __attribute__((vector_size(AML_WIDTH * 4)));

// One value in every lane. Subtracting zero changes no value, so nothing is left of it; adding zero
// would make 0 of -0.
HELPER f32v f32_splat(float value)
{
    return value - (f32v){};
}

HELPER f64v f64_splat(double value)
{
    return value - (f64v){};
}

HELPER f32v f32_load(const float *at)
{
    f32v value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

HELPER f64v f64_load(const double *at)
{
    f64v value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

HELPER void f32_store(float *at, f32v value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

HELPER void f64_store(double *at, f64v value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

// The first `lanes` elements, 1 to all of them; the others are zero. With a constant count this is
// one instruction.
HELPER f32v f32_load_some(const float *at, int lanes)
{
#if AML_WIDTH == 16
    return (f32v)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), at);
#elif AML_WIDTH == 8
    i32v index = {0, 1, 2, 3, 4, 5, 6, 7};
    return (f32v)_mm256_maskload_ps(at, (__m256i)(index < (i32v){} + lanes));
#else
    f32v value = {};
    switch (lanes) {
    case 4:
        return f32_load(at);
    case 3:
        value[2] = at[2];
        __attribute__((fallthrough));
    case 2:
        value[1] = at[1];
        __attribute__((fallthrough));
    default:
        value[0] = at[0];
    }
    return value;
#endif
}

HELPER f64v f64_load_some(const double *at, int lanes)
{
#if AML_WIDTH == 16
    return (f64v)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), at);
#elif AML_WIDTH == 8
    i64v index = {0, 1, 2, 3};
    return (f64v)_mm256_maskload_pd(at, (__m256i)(index < (i64v){} + (int64_t)lanes));
#else
    if (lanes == 2)
        return f64_load(at);
    return (f64v){at[0], 0};
#endif
}

// a * b + c, rounded once where the level has the instruction.
HELPER f32v f32_fma(f32v a, f32v b, f32v c)
{
#ifdef __FMA__
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

HELPER f64v f64_fma(f64v a, f64v b, f64v c)
{
#ifdef __FMA__
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

// Puts a register's upper half onto the lower one, then the upper quarter, until lane 0 has all of
// them: FOLD is given the order of lanes that brings each to its place. Written with single lanes
// the compiler takes out one after the other, three times as many instructions.
#if AML_WIDTH == 16
#define F32_FOLDS(FOLD)                                                                            \
    FOLD(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)                                     \
    FOLD(4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)                                     \
    FOLD(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)                                     \
    FOLD(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif AML_WIDTH == 8
#define F32_FOLDS(FOLD)                                                                            \
    FOLD(4, 5, 6, 7, 0, 1, 2, 3) FOLD(2, 3, 0, 1, 6, 7, 4, 5) FOLD(1, 0, 3, 2, 5, 4, 7, 6)
#else
#define F32_FOLDS(FOLD) FOLD(2, 3, 0, 1) FOLD(1, 0, 3, 2)
#endif

// The sum of all lanes, halves first: always the same order.
HELPER float f32_sum(f32v value)
{
#define FOLD(...) value += __builtin_shufflevector(value, value, __VA_ARGS__);
    F32_FOLDS(FOLD)
#undef FOLD
    return value[0];
}

HELPER double f64_sum(f64v value)
{
    double lane[F64_LANES];
    __builtin_memcpy(lane, &value, sizeof lane);
    UNROLL for (int half = F64_LANES / 2; half > 0; half /= 2)
    {
        UNROLL for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    }
    return lane[0];
}

// ---- 16-bit floats in memory, f32 in registers

typedef uint16_t u16v __attribute__((vector_size(AML_WIDTH * 2)));
typedef uint32_t u32v __attribute__((vector_size(AML_WIDTH * 4)));

// Some elements as a register of them, the others are zero.
HELPER u16v u16_load_some(const uint16_t *at, int lanes)
{
    u16v value = {};
    if (lanes == F32_LANES) {
        __builtin_memcpy(&value, at, sizeof value);
        return value;
    }
#if AML_WIDTH == 16
    return (u16v)_mm256_maskz_loadu_epi16((__mmask16)((1u << lanes) - 1), at);
#else
    UNROLL for (int i = 0; i < F32_LANES; i++)
    {
        if (i < lanes)
            value[i] = at[i];
    }
    return value;
#endif
}

// Each element in the low half of 32 bits.
HELPER u32v u16_spread(u16v value)
{
    return __builtin_convertvector(value, u32v);
}

HELPER f32v bf16_widen(u16v value)
{
    return (f32v)(u16_spread(value) << 16);
}

HELPER f32v f16_widen(u16v value)
{
#if AML_WIDTH == 16
    return (f32v)_mm512_cvtph_ps((__m256i)value);
#elif AML_WIDTH == 8
    return (f32v)_mm256_cvtph_ps((__m128i)value);
#else
    // As bits of an f32 whose exponent is 112 too small; a multiplication puts that right,
    // denormals included.
    u32v bits = u16_spread(value), magnitude = (bits & 0x7fff) << 13;
    u32v normal = (u32v)((f32v)magnitude * f32_splat(0x1p112f));
    u32v special = (u32v)(magnitude >= 0x0f800000u);
    return (f32v)((normal & ~special) | ((magnitude | 0x7f800000u) & special) |
                  (bits & 0x8000) << 16);
#endif
}

// sum + the products of two pairs of bf16 in each lane. Denormals count as zero.
HELPER f32v bf16_pairs_fma(f32v left, f32v right, f32v sum)
{
#ifdef __AVX512BF16__
    return (f32v)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
#else
    f32v odd = f32_fma((f32v)((u32v)left & 0xffff0000u), (f32v)((u32v)right & 0xffff0000u), sum);
    return f32_fma((f32v)((u32v)left << 16), (f32v)((u32v)right << 16), odd);
#endif
}

// ---- zips

// The lanes of two registers in turns, x0 y0 x1 y1 ...: the low half of them, or the high one.
// These are shuffles, since elements that are moved one by one become as many instructions.
#define ZIP_LOW_2 0, 2
#define ZIP_HIGH_2 1, 3
#define ZIP_LOW_4 0, 4, 1, 5
#define ZIP_HIGH_4 2, 6, 3, 7
#define ZIP_LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define ZIP_LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#if AML_WIDTH == 16
#define ZIP_WORDS(half) ZIP_##half##_16
#define ZIP_DOUBLES(half) ZIP_##half##_8
#elif AML_WIDTH == 8
#define ZIP_WORDS(half) ZIP_##half##_8
#define ZIP_DOUBLES(half) ZIP_##half##_4
#else
#define ZIP_WORDS(half) ZIP_##half##_4
#define ZIP_DOUBLES(half) ZIP_##half##_2
#endif

HELPER f32v f32_zip_low(f32v x, f32v y)
{
    return __builtin_shufflevector(x, y, ZIP_WORDS(LOW));
}

HELPER f32v f32_zip_high(f32v x, f32v y)
{
    return __builtin_shufflevector(x, y, ZIP_WORDS(HIGH));
}

HELPER f64v f64_zip_low(f64v x, f64v y)
{
    return __builtin_shufflevector(x, y, ZIP_DOUBLES(LOW));
}

HELPER f64v f64_zip_high(f64v x, f64v y)
{
    return __builtin_shufflevector(x, y, ZIP_DOUBLES(HIGH));
}

// ---- registers of words as quarters of 16 bytes (a quarter, if they have 64)

// The quarters at `at`, at + step, ... as one register, and what a shuffle of two registers makes
// that does the same in each quarter: i, j, k, m count from the first one of each.
#if AML_WIDTH == 16
#define QUARTERS_AT(at, step)                                                                      \
    __builtin_shufflevector(                                                                       \
        __builtin_shufflevector((at)[0], (at)[step], 0, 1, 2, 3, 4, 5, 6, 7),                      \
        __builtin_shufflevector((at)[2 * (step)], (at)[3 * (step)], 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, \
        2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define WITHIN_QUARTERS(a, b, i, j, k, m)                                                          \
    __builtin_shufflevector(a, b, i, j, k, m, i + 4, j + 4, k + 4, m + 4, i + 8, j + 8, k + 8,     \
                            m + 8, i + 12, j + 12, k + 12, m + 12)
#elif AML_WIDTH == 8
#define QUARTERS_AT(at, step) __builtin_shufflevector((at)[0], (at)[step], 0, 1, 2, 3, 4, 5, 6, 7)
#define WITHIN_QUARTERS(a, b, i, j, k, m)                                                          \
    __builtin_shufflevector(a, b, i, j, k, m, i + 4, j + 4, k + 4, m + 4)
#else
#define QUARTERS_AT(at, step) ((at)[0])
#define WITHIN_QUARTERS(a, b, i, j, k, m) __builtin_shufflevector(a, b, i, j, k, m)
#endif

#endif
