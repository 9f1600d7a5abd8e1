// real.h: decimal text to binary numbers. See real.c.

#ifndef AMLI_REAL_H
#define AMLI_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum amli_real {
    AMLI_REAL_READ,
    AMLI_REAL_NONE, // not [+-] digits [. digits] [e [+-] digits], or more than AMLI_LONGEST_REAL
    AMLI_REAL_LARGE // too large for the type
} amli_real;

enum { AMLI_LONGEST_REAL = 400 };

// The number nearest to the text, ties to even, whatever the locale is. Nothing outside of
// at[0..length) is read.
amli_real amli_read_f64(const char *at, size_t length, double *value);
amli_real amli_read_f32(const char *at, size_t length, float *value);

// ---- digits, eight at a time

static inline bool amli_are_digits(uint64_t eight)
{
    return (((eight + 0x4646464646464646) | (eight - 0x3030303030303030)) & 0x8080808080808080) ==
           0;
}

// The number that eight digits are, the first one in the lowest byte: pairs, then fours, then all.
static inline uint64_t amli_value_of_digits(uint64_t eight)
{
    eight -= 0x3030303030303030;
    eight = eight * 10 + (eight >> 8);
    return ((eight & 0x000000FF000000FF) * (100 + (1000000ull << 32)) +
            (eight >> 16 & 0x000000FF000000FF) * (1 + (10000ull << 32))) >>
           32;
}

// The whole number of 1 to 8 digits, without branches: lengths that vary cost nothing. at[length -
// 8..length) is read. False if there is anything but digits.
static inline bool amli_read_short(const char *at, size_t length, uint32_t *value)
{
    uint64_t eight;
    memcpy(&eight, at + length - 8, 8);
    uint64_t others = ((uint64_t)1 << (64 - 8 * length)) - 1; // those before the text
    eight = (eight & ~others) | (0x3030303030303030 & others);
    *value = (uint32_t)amli_value_of_digits(eight);
    return amli_are_digits(eight);
}

#endif
