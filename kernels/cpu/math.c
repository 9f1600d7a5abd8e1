// math.c: exp, log, sin, cos, tanh, erf, sigmoid and pow for f32 and f64, as scalars and as
// registers, from one source each (math_f32.h, math_f64.h). Branch-free, except for sin and cos of
// doubles beyond 2^20.
//
// In the templates a condition is 0/1 for scalars and 0/-1 in every lane for vectors: SELECT and
// ISELECT hide that.

#include <math.h>

#include "vector.h"

typedef double wide_v __attribute__((vector_size(AML_WIDTH * 8)));
typedef int64_t wide_int_v __attribute__((vector_size(AML_WIDTH * 8)));

#include "parts.h"
#include "two_over_pi.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FN(name) CAT(name, SUFFIX)

HELPER int64_t f64_bits(double x)
{
    int64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

HELPER double f64_of_bits(int64_t bits)
{
    double x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

HELPER int32_t f32_bits(float x)
{
    int32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

HELPER float f32_from_bits(int32_t bits)
{
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

// x * 2^n in two steps, of which the first is exact: one factor would not reach the denormal
// numbers.
HELPER float f32_scale(float x, float n)
{
    int32_t whole = f32_bits(n + 0x1.8p23f) - 0x4b400000, half = whole >> 1;
    return x * f32_from_bits((half + 127) << 23) * f32_from_bits((whole - half + 127) << 23);
}

HELPER f32v f32v_scale(f32v x, f32v n)
{
#if AML_WIDTH == 16
    return (f32v)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    i32v whole = (i32v)(n + 0x1.8p23f) - 0x4b400000, half = whole >> 1;
    return x * (f32v)((half + 127) << 23) * (f32v)((whole - half + 127) << 23);
#endif
}

HELPER f32v f32v_part(const float table[16], i32v part)
{
#if AML_WIDTH == 16
    return (f32v)_mm512_permutexvar_ps((__m512i)part, _mm512_loadu_ps(table));
#elif AML_WIDTH == 8
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)part),
           high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)part);
    return (f32v)_mm256_blendv_ps(low, high, (__m256)(part << 28));
#else
    f32v value;
    UNROLL for (int i = 0; i < 4; i++) value[i] = table[part[i] & 15];
    return value;
#endif
}

// ---- scalars

#define SELECT(condition, a, b) ((condition) ? (a) : (b))
#define ISELECT(condition, a) ((condition) ? (a) : 0)
#define SET(value) (value)

#define REAL double
#define INT int64_t
#define AS_INT(x) f64_bits(x)
#define AS_REAL(i) f64_of_bits(i)
#define SUFFIX _f64
#define TEMPLATE_OR_HELPER TEMPLATE
#include "math_f64.h"
#undef REAL
#undef INT
#undef AS_INT
#undef AS_REAL
#undef SUFFIX

#define REAL float
#define INT int32_t
#define WIDE double
#define AS_INT(x) f32_bits(x)
#define AS_REAL(i) f32_from_bits(i)
#define CONVERT(i) ((float)(i))
#define WIDEN(x) ((double)(x))
#define NARROW(x) ((float)(x))
#define LOW_INT(x) ((int32_t)f64_bits(x))
#define LOOK_UP(high, low, index) ((high) = two_over_pi[index][0], (low) = two_over_pi[index][1])
#define WIDE_FN(name) name##_f64
#define SCALE(x, n) f32_scale(x, n)
#define PART(table, i) ((table)[(i)&15])
#define SUFFIX _f32
#include "math_f32.h"
#undef REAL
#undef INT
#undef WIDE
#undef AS_INT
#undef AS_REAL
#undef CONVERT
#undef WIDEN
#undef NARROW
#undef LOW_INT
#undef LOOK_UP
#undef WIDE_FN
#undef SCALE
#undef PART
#undef SUFFIX
#undef SELECT
#undef ISELECT
#undef SET

// ---- registers

#define SELECT(condition, a, b) AS_REAL(((condition)&AS_INT(a)) | (~(condition)&AS_INT(b)))
#define ISELECT(condition, a) ((condition) & (a))
#define SET(value) ((REAL){} + (value))
#define AS_INT(x) ((INT)(x))
#define AS_REAL(i) ((REAL)(i))

#define REAL f64v
#define INT i64v
#define SUFFIX _f64v
#include "math_f64.h"
#undef REAL
#undef INT
#undef SUFFIX
#undef TEMPLATE_OR_HELPER

#define REAL wide_v
#define INT wide_int_v
#define SUFFIX _wide
#define TEMPLATE_OR_HELPER HELPER
#include "math_f64.h"
#undef REAL
#undef INT
#undef SUFFIX
#undef TEMPLATE_OR_HELPER

#define REAL f32v
#define INT i32v
#define WIDE wide_v
#define CONVERT(i) __builtin_convertvector(i, REAL)
#define WIDEN(x) __builtin_convertvector(x, WIDE)
#define NARROW(x) __builtin_convertvector(x, REAL)
#define LOW_INT(x) __builtin_convertvector((wide_int_v)(x), INT)
#define LOOK_UP(high, low, index)                                                                  \
    UNROLL for (int lane = 0; lane < F32_LANES; lane++)(high)[lane] =                              \
        two_over_pi[(index)[lane]][0],                                                             \
                                                (low)[lane] = two_over_pi[(index)[lane]][1]
#define WIDE_FN(name) name##_wide
#define SCALE(x, n) f32v_scale(x, n)
#define PART(table, i) f32v_part(table, i)
#define SUFFIX _f32v
#include "math_f32.h"
#undef REAL
#undef INT
#undef WIDE
#undef CONVERT
#undef WIDEN
#undef NARROW
#undef LOW_INT
#undef LOOK_UP
#undef WIDE_FN
#undef SCALE
#undef PART
#undef SUFFIX
#undef SELECT
#undef ISELECT
#undef SET
#undef AS_INT
#undef AS_REAL
#undef FN
#undef CAT
#undef CAT_

// ---- sin and cos of doubles

// 2/pi after a word of zeros: enough bits for the largest double.
static const uint64_t two_over_pi_bits[21] = {
    0,
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
};

// x = quarter * pi/2 + r for finite |x| >= 2^19 (Payne and Hanek). x = m * 2^e; the bits of 2/pi
// above 2^(2 - e) only add multiples of four quarters, so 192 bits from there on, times m, modulo
// 2^192, are the quarter and its fraction.
static __attribute__((noinline)) int64_t quarter_of_large(double x, double *r)
{
    int64_t bits = f64_bits(x);
    uint64_t m = ((uint64_t)bits & 0xfffffffffffff) | 0x10000000000000;
    int first = (int)(bits >> 52 & 2047) - 1075 - 2 + 64, word = first / 64, shift = first % 64;
    uint64_t window[3];
    UNROLL for (int i = 0; i < 3; i++) window[i] =
        two_over_pi_bits[word + i] << shift | two_over_pi_bits[word + i + 1] >> 1 >> (63 - shift);
    unsigned __int128 low = (unsigned __int128)window[2] * m,
                      middle = (unsigned __int128)window[1] * m + (uint64_t)(low >> 64);
    uint64_t top = window[0] * m + (uint64_t)(middle >> 64);
    uint64_t p1 = (uint64_t)middle, p0 = (uint64_t)low;
    int64_t fraction = (int64_t)(top << 2 | p1 >> 62);
    uint64_t below = p1 << 2 | p0 >> 62;
    int64_t quarter = (int64_t)(top >> 62) + (fraction < 0);
    double value = ((double)fraction * 0x1p-64 + (double)below * 0x1p-128) * 0x1.921fb54442d18p+0;
    *r = x < 0 ? -value : value;
    return x < 0 ? -quarter : quarter;
}

HELPER double sin_quarters(double x, int64_t more)
{
    double size = absolute_f64(x), r;
    if (size < 0x1p20) {
        int64_t quarter = quarter_f64(x, &r);
        return sin_quarter_f64(r, quarter + more);
    }
    if (!(size < (double)INFINITY))
        return x - x;
    int64_t quarter = quarter_of_large(x, &r);
    return sin_quarter_f64(r, quarter + more);
}

HELPER f64v sin_quarters_v(f64v x, int64_t more)
{
    f64v r;
    i64v quarter = quarter_f64v(x, &r);
    f64v value = sin_quarter_f64v(r, quarter + more);
    NO_UNROLL for (int lane = 0; lane < F64_LANES; lane++)
    {
        if (!(absolute_f64(x[lane]) < 0x1p20))
            value[lane] = sin_quarters(x[lane], more);
    }
    return value;
}

TEMPLATE double aml_sin_f64(double x)
{
    return sin_quarters(x, 0);
}

TEMPLATE double aml_cos_f64(double x)
{
    return sin_quarters(x, 1);
}

TEMPLATE f64v aml_sin_f64v(f64v x)
{
    return sin_quarters_v(x, 0);
}

TEMPLATE f64v aml_cos_f64v(f64v x)
{
    return sin_quarters_v(x, 1);
}
