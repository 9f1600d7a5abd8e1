// real.h: decimal text to binary numbers. See real.c.

#ifndef AMLI_REAL_H
#define AMLI_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

// The whole number of 1 to 8 digits, without branches: lengths that vary cost nothing. at[length -
// 8..length) is read. False if there is anything but digits.
bool amli_read_short(const char *at, size_t length, uint32_t *value);

#endif
