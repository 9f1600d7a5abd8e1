// stored.h: weights as a program stores them, to be multiplied with few rows: as fast as memory
// gives them.
//
// A matrix [k, n] is cut into panels of 16 columns, the last filled up with zeros. Integers share a
// scale, and perhaps a zero point, in groups of `group` neighbours of a column; k is filled up to
// whole groups. A weight is (q - zero) * scale with q from 0, zero being the middle unless it is
// stored: 128 of 8 bits, 8 of 4.
//
//   8 bits   u8 [panels, k / 4, 64]: four neighbours of each of the 16 columns
//   4 bits   u8 [panels, k / 8, 64]: the lower halves of the bytes are the first four, the upper
//            ones the next four
//   halves   bf16 or f16 [panels, k, 16]
//   scales   f16 [panels, groups, 16], zeros u8 [panels, groups, 16]
//
// The layout is that of the IR and the same for every processor, so a matrix in a stack (of a
// repeat) is one slice of it like any other.

#ifndef AML_KERNELS_STORED_H
#define AML_KERNELS_STORED_H

#include <stdint.h>

enum { STORED_BYTES, STORED_NIBBLES, STORED_BF16, STORED_F16, STORED_FORMS }; // the attribute form
enum {
    STORED_COLUMNS = 16,       // of a panel
    STORED_MOST_GROUP = 16384, // a multiple of 8
};

static inline int64_t stored_panels(int64_t n)
{
    return (n + STORED_COLUMNS - 1) / STORED_COLUMNS;
}

static inline int64_t stored_groups(int64_t k, int64_t group)
{
    return (k + group - 1) / group;
}

// The byte of integer row p of a column; of 4 bits: p % 8 > 3 is the upper half.
static inline int64_t stored_byte(int64_t form, int64_t k_padded, int64_t p, int64_t column)
{
    int64_t each = form == STORED_NIBBLES ? 8 : 4;
    int64_t word = (column / STORED_COLUMNS * (k_padded / each) + p / each) * STORED_COLUMNS +
                   column % STORED_COLUMNS;
    return word * 4 + p % 4;
}

static inline int stored_integer(int64_t form, const uint8_t *b, int64_t k_padded, int64_t p,
                                 int64_t column)
{
    int byte = b[stored_byte(form, k_padded, p, column)];
    return form == STORED_BYTES ? byte : p % 8 > 3 ? byte >> 4 : byte & 15;
}

static inline int64_t stored_half(int64_t k, int64_t p, int64_t column)
{
    return (column / STORED_COLUMNS * k + p) * STORED_COLUMNS + column % STORED_COLUMNS;
}

static inline int64_t stored_scale(int64_t groups, int64_t group_index, int64_t column)
{
    return (column / STORED_COLUMNS * groups + group_index) * STORED_COLUMNS +
           column % STORED_COLUMNS;
}

#endif
