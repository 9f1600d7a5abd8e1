// dot_tile.h: the tiles of a panel, included by dot_template.h for each element type and by dot.c
// for pairs of 16-bit floats. What includes it defines ELEMENT, VECTOR, LANES, NAME, V and declares
// dot_rows and dot_tile (callers stand first, see kernel.h). The tiles themselves: dot_tile_sums.h.

// A or a table of its rows' addresses (AML_DOT_TABLE), from row `row` on. In a table of what is
// summed over each address is that of all rows.
HELPER const ELEMENT *NAME(dot_from_row)(A_PARAMETERS, int64_t row)
{
    if (a_row == AML_DOT_TABLE)
        return (const ELEMENT *)((const ELEMENT *const *)a + row);
    return a_k == AML_DOT_TABLE ? a : a + row * a_row;
}

// Tiles from row_begin to row_end. row_begin is a multiple of tile_rows, and so is row_end unless
// it is m: what is left below the last whole tile has a constant height. Bits 17 and 18 of `lanes`
// say how many lines of the panel that is read next, `ahead`, a tile asks for with each k, until
// all of it is in the second-level cache. One line is asked for with two k, if there are as many
// tiles: lines that come from memory take the room of those from the second-level cache.
TEMPLATE void NAME(dot_rows)(A_PARAMETERS, const ELEMENT *b, int64_t step, int64_t column,
                             int64_t vectors, int lanes, int64_t k, int64_t tile_rows, int64_t m,
                             int64_t row_begin, int64_t row_end, const VECTOR *start, VECTOR *keep,
                             const ELEMENT *ahead, END_PARAMETERS)
{
    int64_t row = row_begin, asks = lanes >> 17 & 3, asked = 0;
    bool often = asks != 1 || row_end - row_begin < 2 * vectors * tile_rows;
    int64_t ahead_step = often ? asks * LANES : LANES / 2;
    NO_UNROLL for (; row + tile_rows <= row_end; row += tile_rows)
    {
        int64_t done = (row - row_begin) * vectors;
        NAME(dot_tile)
        (tile_rows, vectors, NAME(dot_from_row)(a, a_row, a_k, row), a_row, a_k, b, step, k, lanes,
         start ? start + done : NULL, keep ? keep + done : NULL, ahead, ahead_step, row, column,
         epilogue, context);
        // Then for what is near: that costs less than a loop without asking.
        asked += ahead_step;
        bool all = asked >= vectors * LANES;
        ahead = all ? b : ahead + k * ahead_step;
        ahead_step = all ? 0 : ahead_step;
    }
    int64_t rest = m % tile_rows;
    if (rest > 0 && row < row_end) {
        int64_t done = (row - row_begin) * vectors;
        NAME(dot_tile)
        (rest, vectors, NAME(dot_from_row)(a, a_row, a_k, row), a_row, a_k, b, step, k, lanes,
         start ? start + done : NULL, keep ? keep + done : NULL, ahead, ahead_step, row, column,
         epilogue, context);
    }
}

#include "dot_tile_sums.h"

// The tile of a constant size.
TEMPLATE void NAME(dot_tile)(int64_t rows, int64_t vectors, A_PARAMETERS, const ELEMENT *b,
                             int64_t step, int64_t k, int lanes, const VECTOR *start, VECTOR *keep,
                             const ELEMENT *ahead, int64_t ahead_step, int64_t row, int64_t column,
                             END_PARAMETERS)
{
#define TILE_CASE(ROWS, VECTORS)                                                                   \
    case ROWS * 8 + VECTORS:                                                                       \
        NAME(dot_tile_##ROWS##_##VECTORS)                                                          \
        (a, a_row, a_k, b, step, k, lanes, start, keep, ahead, ahead_step, row, column, epilogue,  \
         context);                                                                                 \
        break;
    switch (rows * 8 + vectors) {
        TILE_LIST(TILE_CASE)
    default:
        __builtin_trap(); // aml_dot_plan makes no other tile
    }
#undef TILE_CASE
}

#ifndef AML_TILES_APART
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#else
#undef TILE_LIST
#undef TILE_LIST_1
#undef TILE_LIST_2
#endif
