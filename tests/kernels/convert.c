// Conversions between element types: every f16 and bf16, every rounding of a float to them, and the
// bounds of the integers.

#include "../check.h"
#include "guarded.h"
#include "kernels.c"

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// The value of f16 or bf16 bits, from the definition.
static double value_of_bits(uint16_t bits, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1,
        exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    int fraction = bits & ((1 << fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

TEST(every_narrow_float_widens_exactly)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        double half = value_of_bits((uint16_t)bits, 5, 10),
               brain = value_of_bits((uint16_t)bits, 8, 7);
        double found_half = (double)aml_f16_to_f32((uint16_t)bits),
               found_brain = (double)aml_bf16_to_f32((uint16_t)bits);
        CHECK(isnan(half) ? isnan(found_half)
                          : found_half == half && !signbit(found_half) == !signbit(half));
        CHECK(isnan(brain) ? isnan(found_brain)
                           : found_brain == brain && !signbit(found_brain) == !signbit(brain));
        if (!isnan(half))
            CHECK_INT(aml_f32_to_f16((float)half), bits);
        if (!isnan(brain))
            CHECK_INT(aml_f32_to_bf16((float)brain), bits);
    }
}

// No other narrow float is nearer, and of two equally near ones the even one is taken.
static bool rounds_right(float x, uint16_t found, int exponent_bits, int fraction_bits)
{
    double value = value_of_bits(found, exponent_bits, fraction_bits);
    if (isnan(x))
        return isnan(value);
    if (!signbit(value) != !signbit(x))
        return false;
    int infinity = ((1 << exponent_bits) - 1) << fraction_bits;
    if (isinf(x))
        return value == (double)x;
    int magnitude = found & 0x7fff;
    double exact = fabs((double)x);
    // Half way to the neighbours; infinity stands where the next number would be.
    double here = magnitude == infinity
                      ? 2 * value_of_bits((uint16_t)(infinity - 1), exponent_bits, fraction_bits) -
                            value_of_bits((uint16_t)(infinity - 2), exponent_bits, fraction_bits)
                      : fabs(value);
    bool even = !(magnitude & 1);
    if (magnitude > 0) {
        double below =
            (here + fabs(value_of_bits((uint16_t)(magnitude - 1), exponent_bits, fraction_bits))) /
            2;
        if (exact < below || (exact == below && !even))
            return false;
    }
    if (magnitude < infinity) {
        double step = magnitude > 0 ? here - fabs(value_of_bits((uint16_t)(magnitude - 1),
                                                                exponent_bits, fraction_bits))
                                    : 0;
        double next =
            magnitude + 1 == infinity
                ? here + step
                : fabs(value_of_bits((uint16_t)(magnitude + 1), exponent_bits, fraction_bits));
        double above = (here + next) / 2;
        if (exact > above || (exact == above && !even))
            return false;
    }
    return true;
}

TEST(floats_round_to_the_nearest_narrow_float)
{
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 1009) {
        float x = float_of((uint32_t)bits);
        if (!rounds_right(x, aml_f32_to_f16(x), 5, 10))
            CHECK_FAIL("f16 of %a is %04x", (double)x, aml_f32_to_f16(x));
        if (!rounds_right(x, aml_f32_to_bf16(x), 8, 7))
            CHECK_FAIL("bf16 of %a is %04x", (double)x, aml_f32_to_bf16(x));
    }
    // Half way between every two neighbours, and one float to either side.
    for (uint32_t narrow = 0; narrow < 0x7c00; narrow++) {
        uint32_t middle;
        float x =
            (float)((value_of_bits((uint16_t)narrow, 5, 10) +
                     (narrow == 0x7bff ? 65536.0 : value_of_bits((uint16_t)(narrow + 1), 5, 10))) /
                    2);
        memcpy(&middle, &x, sizeof middle);
        for (uint32_t near = middle - 1; near <= middle + 1; near++) {
            if (!rounds_right(float_of(near), aml_f32_to_f16(float_of(near)), 5, 10))
                CHECK_FAIL("f16 of %a is %04x", (double)float_of(near),
                           aml_f32_to_f16(float_of(near)));
        }
    }
}

TEST(integers_saturate)
{
    static const double values[] = {0,
                                    0.5,
                                    0.99,
                                    1,
                                    1.5,
                                    127,
                                    127.5,
                                    128,
                                    129,
                                    200,
                                    255,
                                    255.9,
                                    256,
                                    1e5,
                                    2147483520,
                                    2147483647,
                                    2147483648.0,
                                    4e9,
                                    9007199254740991.0,
                                    9.2233715e18,
                                    9.2233720368547748e18,
                                    9.3e18,
                                    1e30,
                                    INFINITY};
    for (int i = 0; i < 2 * (int)(sizeof values / sizeof *values); i++) {
        double x = i & 1 ? -values[i / 2] : values[i / 2];
        float single = (float)x;
#define CHECK_INTEGER(function, from, to, low, high)                                               \
    do {                                                                                           \
        to expected = (long double)trunc((double)(from)) <= (long double)(low)    ? (low)          \
                      : (long double)trunc((double)(from)) >= (long double)(high) ? (high)         \
                                                                                  : (to)(from);    \
        if (function(from) != expected)                                                            \
            CHECK_FAIL(#function "(%.17g) is %lld, expected %lld", (double)(from),                 \
                       (long long)function(from), (long long)expected);                            \
    } while (0)
        CHECK_INTEGER(aml_f32_to_i8, single, int8_t, INT8_MIN, INT8_MAX);
        CHECK_INTEGER(aml_f32_to_u8, single, uint8_t, 0, UINT8_MAX);
        CHECK_INTEGER(aml_f32_to_i32, single, int32_t, INT32_MIN, INT32_MAX);
        CHECK_INTEGER(aml_f32_to_i64, single, int64_t, INT64_MIN, INT64_MAX);
        CHECK_INTEGER(aml_f64_to_i8, x, int8_t, INT8_MIN, INT8_MAX);
        CHECK_INTEGER(aml_f64_to_u8, x, uint8_t, 0, UINT8_MAX);
        CHECK_INTEGER(aml_f64_to_i32, x, int32_t, INT32_MIN, INT32_MAX);
        CHECK_INTEGER(aml_f64_to_i64, x, int64_t, INT64_MIN, INT64_MAX);
    }
    float nan = float_of(0x7fc00000);
    CHECK_INT(aml_f32_to_i8(nan), 0);
    CHECK_INT(aml_f32_to_u8(nan), 0);
    CHECK_INT(aml_f32_to_i32(nan), 0);
    CHECK_INT(aml_f32_to_i64(nan), 0);
    CHECK_INT(aml_f64_to_i32((double)nan), 0);
    CHECK_INT(aml_f64_to_i64((double)nan), 0);
}

int main(void)
{
    if (!processor_can_run()) {
        printf("SKIP convert_v%d: this processor lacks the level\n", AML_WIDTH);
        return 0;
    }
    RUN(every_narrow_float_widens_exactly);
    RUN(floats_round_to_the_nearest_narrow_float);
    RUN(integers_saturate);
    CHECK_SUMMARY();
}
