// tiles.h: the tiles of AMX as products (dot_tiles.h) and convolutions (conv_tiles.c) use them.
//
// A tile is a register of 16 rows of 64 bytes. One instruction multiplies a tile of A, 16 rows by
// 16 words of k, with a tile of B, 16 words of k by 16 columns, and adds to a tile of sums. A word
// is two neighbours of k as bf16, or four as bytes. Four tiles of sums use each tile that is loaded
// twice:
//
//                 B   [ tile 6 ][ tile 7 ]       with one tile of rows of A:
//     A  [ tile 4 ]   [ sum  0 ][ sum  1 ]       [ sum 0 ][ sum 1 ][ sum 2 ][ sum 3 ]
//        [ tile 5 ]   [ sum  2 ][ sum  3 ]
//
// `high` tiles of rows (1 or 2) by `vectors` of columns (up to 2, or 4 if high is 1) are constants
// where these functions are inlined.

#ifndef AML_KERNELS_CPU_TILES_H
#define AML_KERNELS_CPU_TILES_H

#include "kernel.h"
#include "vector.h"

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define AML_HAS_TILES

// Left and right: bf16 and bf16, u8 and i8, i8 and u8.
enum { TILES_PAIRS, TILES_UNSIGNED, TILES_SIGNED };

#define TILES_MULTIPLY(kind, sum, left, right)                                                     \
    do {                                                                                           \
        if ((kind) == TILES_PAIRS)                                                                 \
            _tile_dpbf16ps(sum, left, right);                                                      \
        else if ((kind) == TILES_UNSIGNED)                                                         \
            _tile_dpbusd(sum, left, right);                                                        \
        else                                                                                       \
            _tile_dpbsud(sum, left, right);                                                        \
    } while (0)

// For `rows` rows of A and of sums, the second tile having what the first one leaves, and `words`
// of k at a time, up to 16.
HELPER void tiles_configure(int64_t rows, int64_t words)
{
    struct {
        uint8_t palette, first, none[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    int64_t first = rows < AML_TILE ? rows : AML_TILE, second = rows - first;
    UNROLL for (int i = 0; i < 8; i++)
    {
        bool lower = second > 0 && (i == 2 || i == 3 || i == 5), left = i == 4 || i == 5;
        config.bytes[i] = (uint16_t)(left ? 4 * words : 64);
        config.rows[i] = (uint8_t)(i > 5 ? words : lower ? second : first);
    }
    _tile_loadconfig(&config);
}

HELPER void tiles_zero(int high, int64_t vectors)
{
    _tile_zero(0);
    if (vectors > 1)
        _tile_zero(1);
    if (high > 1 || vectors > 2)
        _tile_zero(2);
    if ((high > 1 && vectors > 1) || vectors > 3)
        _tile_zero(3);
}

// The words of k that one tile has. Rows of A are a_step bytes apart, words of B b_step.
HELPER void tiles_step(int kind, int high, int64_t vectors, const char *a, int64_t a_step,
                       const char *b, int64_t b_step)
{
    _tile_loadd(4, a, (size_t)a_step);
    if (high > 1)
        _tile_loadd(5, a + AML_TILE * a_step, (size_t)a_step);
    _tile_loadd(6, b, (size_t)b_step);
    TILES_MULTIPLY(kind, 0, 4, 6);
    if (high > 1)
        TILES_MULTIPLY(kind, 2, 5, 6);
    if (vectors > 1) {
        _tile_loadd(7, b + 64, (size_t)b_step);
        TILES_MULTIPLY(kind, 1, 4, 7);
        if (high > 1)
            TILES_MULTIPLY(kind, 3, 5, 7);
    }
    if (vectors > 2) {
        _tile_loadd(6, b + 128, (size_t)b_step);
        TILES_MULTIPLY(kind, 2, 4, 6);
    }
    if (vectors > 3) {
        _tile_loadd(7, b + 192, (size_t)b_step);
        TILES_MULTIPLY(kind, 3, 4, 7);
    }
}

// The sums, row by row, `vectors` registers each.
HELPER void tiles_store(int high, int64_t vectors, char *out)
{
    int64_t step = vectors * 64;
    _tile_stored(0, out, (size_t)step);
    if (vectors > 1)
        _tile_stored(1, out + 64, (size_t)step);
    if (high > 1) {
        _tile_stored(2, out + AML_TILE * step, (size_t)step);
        if (vectors > 1)
            _tile_stored(3, out + AML_TILE * step + 64, (size_t)step);
    }
    if (vectors > 2)
        _tile_stored(2, out + 128, (size_t)step);
    if (vectors > 3)
        _tile_stored(3, out + 192, (size_t)step);
}

#endif
#endif
