// convert.c: conversions between element types that the processor does not do as the language
// defines them: rounding to nearest even, NaN stays NaN, infinities stay; float to integer
// truncates and saturates, NaN gives 0.
//
// f16 and bf16 are their bits. Everything is scalar and branch-free, for the loop vectoriser.

#include "vector.h"

HELPER uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

HELPER float f32_of_bits(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

TEMPLATE float aml_bf16_to_f32(uint16_t value)
{
    return f32_of_bits((uint32_t)value << 16);
}

TEMPLATE uint16_t aml_f32_to_bf16(float value)
{
    uint32_t bits = bits_of_f32(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    uint32_t nan =
        bits >> 16 | 0x40; // quiet, so that dropping the low half cannot make an infinity of it
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

TEMPLATE float aml_f16_to_f32(uint16_t value)
{
#ifdef __F16C__
    _Float16 half;
    __builtin_memcpy(&half, &value, sizeof half);
    return (float)half;
#else
    // As bits of an f32 whose exponent is 112 too small; a multiplication puts that right,
    // denormals included.
    uint32_t bits = (uint32_t)(value & 0x7fff) << 13;
    float magnitude = f32_of_bits(bits) * 0x1p112f;
    uint32_t special = bits | 0x7f800000u | (bits & 0x7fffffu ? 0x400000u : 0);
    uint32_t result = bits >= 0x0f800000u ? special : bits_of_f32(magnitude);
    return f32_of_bits(result | (uint32_t)(value & 0x8000) << 16);
#endif
}

TEMPLATE uint16_t aml_f32_to_f16(float value)
{
#ifdef __F16C__
    _Float16 half = (_Float16)value;
    uint16_t bits;
    __builtin_memcpy(&bits, &half, sizeof bits);
    return bits;
#else
    uint32_t bits = bits_of_f32(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffffu;
    // Normal results: round the 13 bits away that have no place; the carry may go into the
    // exponent, up to infinity.
    uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    // Below 2^-14: adding 0.5 makes the addition itself round at 2^-24.
    uint32_t denormal = bits_of_f32(f32_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
    uint32_t result = magnitude < 0x38800000u ? denormal : normal;
    result = magnitude >= 0x47800000u ? 0x7c00 : result;
    result = magnitude > 0x7f800000u ? nan : result;
    return (uint16_t)(result | sign);
#endif
}

// The bounds are exact in the source type: `high` is the first value above the range.
#define SATURATE(name, from, to, low, high, least, most)                                           \
    TEMPLATE to name(from value)                                                                   \
    {                                                                                              \
        to inside = value > low && value < high ? (to)value : 0;                                   \
        to above = value >= high ? most : inside;                                                  \
        return value <= low ? least : above;                                                       \
    }
SATURATE(aml_f32_to_i8, float, int8_t, -128.0f, 128.0f, INT8_MIN, INT8_MAX)
SATURATE(aml_f32_to_u8, float, uint8_t, 0.0f, 256.0f, 0, UINT8_MAX)
SATURATE(aml_f32_to_i32, float, int32_t, -0x1p31f, 0x1p31f, INT32_MIN, INT32_MAX)
SATURATE(aml_f32_to_i64, float, int64_t, -0x1p63f, 0x1p63f, INT64_MIN, INT64_MAX)
SATURATE(aml_f64_to_i8, double, int8_t, -128.0, 128.0, INT8_MIN, INT8_MAX)
SATURATE(aml_f64_to_u8, double, uint8_t, 0.0, 256.0, 0, UINT8_MAX)
SATURATE(aml_f64_to_i32, double, int32_t, -0x1p31, 0x1p31, INT32_MIN, INT32_MAX)
SATURATE(aml_f64_to_i64, double, int64_t, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX)
#undef SATURATE
