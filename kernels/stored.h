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
// Four panels are a block, whose rows take turns: a kernel that computes them at the same time
// reads memory from its beginning to its end. The last block may have fewer.
//
//   block 0: panel 0 row 0, panel 1 row 0, panel 2 row 0, panel 3 row 0, panel 0 row 1, ...
//
// The layout is that of the IR and the same for every processor, so a matrix in a stack (of a
// repeat) is one slice of it like any other.

#ifndef AML_KERNELS_STORED_H
#define AML_KERNELS_STORED_H

#include <stdint.h>

enum { STORED_BYTES, STORED_NIBBLES, STORED_BF16, STORED_F16, STORED_FORMS }; // the attribute form
enum {
    STORED_COLUMNS = 16,       // of a panel
    STORED_BLOCK = 4,          // panels whose rows take turns
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

static inline int64_t stored_block_panels(int64_t panels, int64_t panel)
{
    int64_t left = panels - panel / STORED_BLOCK * STORED_BLOCK;
    return left < STORED_BLOCK ? left : STORED_BLOCK;
}

// The place of a column in row `row` of `rows`, counted in what a panel has 16 of in a row.
static inline int64_t stored_place(int64_t panels, int64_t rows, int64_t row, int64_t column)
{
    int64_t panel = column / STORED_COLUMNS, before = panel / STORED_BLOCK * STORED_BLOCK;
    int64_t number = before * rows + row * stored_block_panels(panels, panel) + (panel - before);
    return number * STORED_COLUMNS + column % STORED_COLUMNS;
}

// The byte of integer row p of a column; of 4 bits: p % 8 > 3 is the upper half.
static inline int64_t stored_byte(int64_t form, int64_t panels, int64_t k_padded, int64_t p,
                                  int64_t column)
{
    int64_t each = form == STORED_NIBBLES ? 8 : 4;
    return stored_place(panels, k_padded / each, p / each, column) * 4 + p % 4;
}

static inline int stored_integer(int64_t form, const uint8_t *b, int64_t panels, int64_t k_padded,
                                 int64_t p, int64_t column)
{
    int byte = b[stored_byte(form, panels, k_padded, p, column)];
    return form == STORED_BYTES ? byte : p % 8 > 3 ? byte >> 4 : byte & 15;
}

#endif
