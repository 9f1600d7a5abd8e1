// Decimal text to binary numbers, exactly rounded.
//
// A number is w * 10^q with a whole w of at most 19 digits. Where w and 10^|q| are both exact as
// doubles, one multiplication or division rounds once (Clinger 1990). Else w is multiplied by the
// first 128 bits of 5^q (cut off, never rounded up): the true product lies less than two units of
// its 127th bit above what is computed, so the rounding is known unless the bits behind the
// result's are within that distance of one half. These few, very long, and very large or small
// numbers are left to strtod, which is exact and slow.
//
// Where size matters more (libaml_small.a), the table of powers is left out and strtod is asked
// more often.
//
// A float is rounded from the double: that is the float nearest to the text unless the double lies
// exactly between two floats.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/real.h"

typedef struct Decimal {
    uint64_t whole;   // of the first 19 digits
    int64_t exponent; // of ten
    bool negative;
    bool cut; // there are more digits, which are not all zeros
} Decimal;

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static inline bool eight_digits(const char *at, uint64_t *value)
{
    uint64_t eight;
    memcpy(&eight, at, 8);
    if (!amli_are_digits(eight))
        return false;
    *value = amli_value_of_digits(eight);
    return true;
}

enum { MOST_DIGITS = 19 };

// Digits behind those that were read before (`digits`, from the first that is not 0).
static inline const char *read_digits(const char *at, const char *end, Decimal *number, int *digits)
{
    uint64_t eight;
    while (end - at >= 8 && (*digits > 0 || *at != '0') && *digits <= MOST_DIGITS - 8 &&
           eight_digits(at, &eight)) {
        number->whole = number->whole * 100000000 + eight;
        *digits += 8;
        at += 8;
    }
    for (; at < end && is_digit(*at); at++) {
        if (*digits == 0 && *at == '0')
            continue;
        if (++*digits <= MOST_DIGITS)
            number->whole = number->whole * 10 + (uint64_t)(*at - '0');
        else
            number->cut |= *at != '0';
    }
    return at;
}

// False if the text is not a decimal number.
static inline bool read_decimal(const char *at, size_t length, Decimal *number)
{
    const char *end = at + length;
    *number = (Decimal){0};
    if (at < end && (*at == '-' || *at == '+'))
        number->negative = *at++ == '-';
    int digits = 0;
    const char *first = at;
    at = read_digits(at, end, number, &digits);
    int64_t read = at - first;
    if (digits > MOST_DIGITS)
        number->exponent = digits - MOST_DIGITS;
    if (at < end && *at == '.') {
        int before = digits;
        first = ++at;
        at = read_digits(at, end, number, &digits);
        read += at - first;
        int dropped = digits - (before > MOST_DIGITS ? before : MOST_DIGITS);
        number->exponent -= at - first - (dropped > 0 ? dropped : 0);
    }
    if (read == 0)
        return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        bool negative = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        if (at == end)
            return false;
        int64_t exponent = 0;
        for (; at < end && is_digit(*at); at++)
            if (exponent < 100000)
                exponent = exponent * 10 + (*at - '0');
        number->exponent += negative ? -exponent : exponent;
    }
    return at == end;
}

enum { LEAST_POWER = -64, MOST_POWER = 64, EXACT_POWER = 22 };

#if !defined(AMLI_SMALL)
static const uint64_t power_of_five[][2] = {
#define POWER(exponent, high, low) {high, low},
#include "runtime/data/powers.def"
#undef POWER
};
#endif
static const double power_of_ten[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#if defined(AMLI_SMALL)
static bool multiply(uint64_t whole, int64_t exponent, double *value)
{
    (void)whole, (void)exponent, (void)value;
    return false;
}
#else
// whole * 10^exponent by a product of 64 and 128 bits; false if that does not decide.
static inline bool multiply(uint64_t whole, int64_t exponent, double *value)
{
    if (exponent < LEAST_POWER || exponent > MOST_POWER)
        return false;
    const uint64_t *power = power_of_five[exponent - LEAST_POWER];
    int shift = __builtin_clzll(whole);
    whole <<= shift;
    unsigned __int128 high = (unsigned __int128)whole * power[0],
                      low = (unsigned __int128)whole * power[1];
    high += (uint64_t)(low >> 64); // the bits 191..64 of the product; those below are cut off
    int leading = high >> 127 ? 0 : 1;
    high <<= leading;
    // 53 bits are the result's, 75 are behind them; one unit of doubt became two where they moved
    uint64_t result = (uint64_t)(high >> 75);
    unsigned __int128 rest = high & (((unsigned __int128)1 << 75) - 1),
                      half = (unsigned __int128)1 << 74;
    if (rest <= half && half - rest < 4)
        return false;
    result += rest > half;
    // 5^q lies in [2^s, 2^(s + 1)) with s = floor(q * log2(5)), which this is in the table's range
    int64_t scale = (exponent * 152170) >> 16;
    int64_t binary = scale + exponent + (63 - shift) + (1 - leading) + 1023;
    if (result >> 53) {
        result >>= 1;
        binary++;
    }
    uint64_t bits = (uint64_t)binary << 52 | (result & 0xFFFFFFFFFFFFF);
    memcpy(value, &bits, 8);
    return true;
}
#endif

static inline bool fast(const Decimal *number, double *value)
{
    uint64_t whole = number->whole;
    int64_t exponent = number->exponent;
    if (number->cut)
        return false;
    if (whole == 0) {
        *value = 0;
        return true;
    }
    if (whole <= (uint64_t)1 << 53 && exponent >= -EXACT_POWER && exponent <= EXACT_POWER) {
        double exact = (double)whole;
        *value = exponent < 0 ? exact / power_of_ten[-exponent] : exact * power_of_ten[exponent];
        return true;
    }
    return multiply(whole, exponent, value);
}

// The C library's answer. Its decimal point is that of the locale, which no program of ours sets.
static void slow(const char *at, size_t length, double *wide, float *narrow)
{
    char text[AMLI_LONGEST_REAL + 1];
    memcpy(text, at, length);
    text[length] = 0;
    if (wide)
        *wide = strtod(text, NULL);
    else
        *narrow = strtof(text, NULL);
}

amli_real amli_read_f64(const char *at, size_t length, double *value)
{
    Decimal number;
    if (length > AMLI_LONGEST_REAL || !read_decimal(at, length, &number))
        return AMLI_REAL_NONE;
    if (fast(&number, value))
        *value = number.negative ? -*value : *value;
    else
        slow(at, length, value, NULL);
    return isinf(*value) ? AMLI_REAL_LARGE : AMLI_REAL_READ;
}

amli_real amli_read_f32(const char *at, size_t length, float *value)
{
    Decimal number;
    double wide;
    if (length > AMLI_LONGEST_REAL || !read_decimal(at, length, &number))
        return AMLI_REAL_NONE;
    if (fast(&number, &wide)) {
        uint64_t bits;
        memcpy(&bits, &wide, 8);
        bool between = (bits & 0x1FFFFFFF) == 0x10000000;
        if (wide == 0 || (!between && wide >= 0x1p-126)) {
            *value = (float)(number.negative ? -wide : wide);
            return isinf(*value) ? AMLI_REAL_LARGE : AMLI_REAL_READ;
        }
    }
    slow(at, length, NULL, value);
    return isinf(*value) ? AMLI_REAL_LARGE : AMLI_REAL_READ;
}
