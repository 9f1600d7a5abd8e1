// dot_template.h: the matrix product, included once for each element type (dot.c). kernel.h has the
// contract.
//
// The result is cut into panels of columns, a panel into tiles. A tile lives in registers while k
// runs:
//
//               panel: tile_vectors registers wide
//              +------+------+------+------+
//     row of B | b[0] | b[1] | b[2] | b[3] |      one row of B is loaded,
//              +------+------+------+------+      one element of A at a time is spread over a
//              register
//     a[0] ->  | acc  | acc  | acc  | acc  |      and multiplied into a row of accumulators
//     a[1] ->  | acc  | acc  | acc  | acc  |
//       ...    tile_rows
//
// Functions stand in the order in which they are inlined, callers first (see kernel.h).

TEMPLATE void NAME(dot_panel)(A_PARAMETERS, int64_t apart, const ELEMENT *b, int64_t step,
                              int64_t column, int64_t vectors, int lanes, int64_t k,
                              int64_t tile_rows, int64_t m, int64_t row_begin, int64_t row_end,
                              const VECTOR *start, VECTOR *keep, const ELEMENT *ahead,
                              END_PARAMETERS);
TEMPLATE void NAME(dot_rows)(A_PARAMETERS, const ELEMENT *b, int64_t step, int64_t column,
                             int64_t vectors, int lanes, int64_t k, int64_t tile_rows, int64_t m,
                             int64_t row_begin, int64_t row_end, const VECTOR *start, VECTOR *keep,
                             const ELEMENT *ahead, END_PARAMETERS);
TEMPLATE void NAME(dot_tile)(int64_t rows, int64_t vectors, A_PARAMETERS, const ELEMENT *b,
                             int64_t step, int64_t k, int lanes, const VECTOR *start, VECTOR *keep,
                             const ELEMENT *ahead, int64_t ahead_step, int64_t row, int64_t column,
                             END_PARAMETERS);
TEMPLATE void NAME(dot_pack_panel)(const ELEMENT *b, int64_t b_k, int64_t b_column, int64_t k,
                                   int64_t vectors, int lanes, VECTOR *out);
SHARED void NAME(aml_shared_dot_turn)(const ELEMENT *b, int64_t b_column, int64_t k,
                                      int64_t columns, int64_t step, VECTOR *out);
SHARED void NAME(aml_shared_dot_turn_few)(const ELEMENT *b, int64_t b_column, int64_t k,
                                          int64_t columns, int64_t step, VECTOR *out);
TEMPLATE void NAME(dot_copy_a)(const ELEMENT *a, int64_t a_k, int64_t first, int64_t k,
                               int64_t rows, int64_t step, ELEMENT *out);
HELPER const ELEMENT *NAME(dot_from_row)(A_PARAMETERS, int64_t row);
HELPER const ELEMENT *NAME(dot_left)(A_PARAMETERS, int64_t i, int64_t p);
TEMPLATE void NAME(dot_row_streams)(A_PARAMETERS, const ELEMENT *b, int64_t b_k, int64_t m,
                                    int64_t n, int64_t k, int64_t column_begin, int64_t column_end,
                                    END_PARAMETERS);
TEMPLATE void NAME(dot_inner)(const ELEMENT *a, int64_t a_row, const ELEMENT *b, int64_t b_column,
                              int64_t n, int64_t k, int64_t row_begin, int64_t row_end,
                              int64_t column_begin, int64_t column_end, END_PARAMETERS);

// ---- one block of rows, over a part of k

// Where a column of a packed B is: a panel has `panel` columns.
HELPER int64_t NAME(dot_packed)(int64_t column, int64_t k, int64_t panel)
{
    return column / panel * panel * k + column % panel;
}

// What the tiles of a column ask for: the next panel, or what is read after the last one; a half of
// it if a tile has half the width of a panel.
HELPER const ELEMENT *NAME(dot_ahead)(const ELEMENT *b, int64_t column, int64_t column_end,
                                      int64_t k, int64_t panel, int64_t done, int64_t depth,
                                      const ELEMENT *behind)
{
    int64_t next = (column / panel + 1) * panel;
    return (next < column_end ? b + next * k + done * panel : behind) + column % panel * depth;
}

// Goes over all panels of the part, so that the block of A, which fits into the second-level cache,
// is copied once and read from there. `done` of k were summed before, `depth` are summed now. keep:
// what is summed waits in `sums`, a panel after the other. `behind`: what is read of a packed B
// afterwards.
HELPER void NAME(dot_block)(A_PARAMETERS, const ELEMENT *b, VECTOR *scratch, int64_t m, int64_t n,
                            int64_t k, int64_t b_k, int64_t b_column, int64_t method,
                            int64_t tile_rows, int64_t tile_vectors, int64_t k_block,
                            int64_t row_block, int64_t part_columns, int64_t row_begin,
                            int64_t row_end, int64_t column_begin, int64_t column_end, int64_t done,
                            int64_t depth, bool keep, const ELEMENT *behind, END_PARAMETERS)
{
    int64_t panel = tile_vectors * LANES, way = method & AML_DOT_METHOD;
    bool pack = way == AML_DOT_TILES_PACK, copy = method & AML_DOT_COPY_A, blocks = k_block < k;
    bool panels = method & AML_DOT_A_PANELS, along = panels && a_k == 1;
    int64_t apart = panels && !along ? k * AML_DOT_PANEL : 0;
    // Is what is next of A asked for, and not of B?
    bool next_of_a = apart && row_block > AML_DOT_PANEL && sizeof(VECTOR) == 64;
    int asks = (method & AML_DOT_AHEAD) || next_of_a ? 1 : method & AML_DOT_AHEAD_TWICE ? 2 : 0;
    int flags = (method & AML_DOT_DIRECT ? 1 << 16 : 0) | asks << 17 |
                (method & AML_DOT_TOUCH ? 1 << 19 : 0);
    VECTOR *packed = scratch;
    if (blocks)
        packed += row_block * ((part_columns + panel - 1) / panel * tile_vectors);
    ELEMENT *copied = (ELEMENT *)(pack ? packed + k_block * tile_vectors : packed);
    const ELEMENT *moved[AML_DOT_MOST_ROWS]; // of a table of rows, if there are blocks
    if (a_row == AML_DOT_TABLE && blocks) {
        NO_UNROLL for (int64_t i = row_begin; i < row_end; i++) moved[i - row_begin] =
            ((const ELEMENT *const *)a)[i] + done * a_k;
        a = (const ELEMENT *)((const ELEMENT *const *)moved - row_begin);
    } else if (a_k == AML_DOT_TABLE) {
        a = (const ELEMENT *)((const ELEMENT *const *)a + done);
    } else if (along) {
        a += done * m;
    } else if (a_row != AML_DOT_TABLE) {
        a += done * a_k;
    }
    int64_t left_row = a_row, left_k = along ? -m * AML_DOT_PANEL : a_k;
    if (copy) {
        left_row = 1, left_k = aml_dot_copy_step(row_block, LANES);
        NAME(dot_copy_a)(a, a_k, row_begin, depth, row_end - row_begin, left_k, copied);
        a = copied - row_begin;
    }
    int64_t step = pack ? panel : b_k, column = column_begin;
    VECTOR *sums = scratch;
    NO_UNROLL for (; column + panel <= column_end; column += panel)
    {
        const ELEMENT *right = way == AML_DOT_TILES_PACKED
                                   ? b + NAME(dot_packed)(column, k, b_k) + done * b_k
                                   : b + column * b_column + done * b_k;
        if (pack) {
            NAME(dot_pack_panel)(right, b_k, b_column, depth, tile_vectors, LANES, packed);
            right = (const ELEMENT *)packed;
        }
        NAME(dot_panel)
        (a, left_row, left_k, apart, right, step, column, tile_vectors, LANES | LANES << 8 | flags,
         depth, tile_rows, m, row_begin, row_end, blocks ? sums : NULL, keep ? sums : NULL,
         next_of_a ? NULL : NAME(dot_ahead)(b, column, column_end, k, b_k, done, depth, behind),
         epilogue, context);
        sums += row_block * tile_vectors;
    }
    // The narrower panel at the right edge has a constant width: part_columns is a multiple of a
    // panel. In a matrix packed beforehand it is padded to the full width, so its rows are as far
    // apart as the others'.
    int64_t rest = n % panel;
    if (rest > 0 && column < column_end) {
        int64_t vectors = (rest + LANES - 1) / LANES;
        int lanes = (int)(rest - (vectors - 1) * LANES);
        const ELEMENT *right = way == AML_DOT_TILES_PACKED
                                   ? b + NAME(dot_packed)(column, k, b_k) + done * b_k
                                   : b + column * b_column + done * b_k;
        if (pack) {
            NAME(dot_pack_panel)(right, b_k, b_column, depth, vectors, lanes, packed);
            right = (const ELEMENT *)packed;
        }
        // How many lanes of the last vector may be read (a packed panel is padded), and how many
        // columns it stands for.
        int last = (way == AML_DOT_TILES ? lanes : LANES) | lanes << 8 | flags;
        NAME(dot_panel)
        (a, left_row, left_k, apart, right, pack ? vectors * LANES : step, column, vectors, last,
         depth, tile_rows, m, row_begin, row_end, blocks ? sums : NULL, keep ? sums : NULL,
         next_of_a ? NULL : NAME(dot_ahead)(b, column, column_end, k, b_k, done, depth, behind),
         epilogue, context);
    }
}

TEMPLATE void NAME(aml_dot)(const ELEMENT *a, const ELEMENT *b, void *scratch, int64_t m, int64_t n,
                            int64_t k, int64_t a_row, int64_t a_k, int64_t b_k, int64_t b_column,
                            int64_t method, int64_t tile_rows, int64_t tile_vectors,
                            int64_t k_block, int64_t row_block, int64_t part_rows,
                            int64_t part_columns, int64_t part_begin, int64_t part_end,
                            END_PARAMETERS)
{
    int64_t column_parts = (n + part_columns - 1) / part_columns;
    int64_t rows_once = row_block ? row_block : part_rows;
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t row_begin = part / column_parts * part_rows,
                column_begin = part % column_parts * part_columns;
        int64_t row_end = row_begin + part_rows < m ? row_begin + part_rows : m;
        int64_t column_end = column_begin + part_columns < n ? column_begin + part_columns : n;
        if (method == AML_DOT_ROW_STREAMS) {
            NAME(dot_row_streams)
            (a, a_row, a_k, b, b_k, m, n, k, column_begin, column_end, epilogue, context);
            continue;
        }
        if (method == AML_DOT_INNER) {
            NAME(dot_inner)
            (a, a_row, b, b_column, n, k, row_begin, row_end, column_begin, column_end, epilogue,
             context);
            continue;
        }
        NO_UNROLL for (int64_t first = row_begin; first < row_end; first += rows_once)
        {
            int64_t behind = first + rows_once < row_end ? first + rows_once : row_end;
            int64_t whole = k_block < k ? (k - 1) / k_block * k_block : 0;
            // AML_DOT_AHEAD: the columns that a packed B is read from after all blocks of k.
            int64_t next = behind < row_end ? column_begin : column_end < n ? column_end : 0;
            // A long sum: blocks of k. The last one is as long as what the others left.
            if (whole) {
                VECTOR *sums = scratch;
                int64_t panel = tile_vectors * LANES,
                        count = (part_columns + panel - 1) / panel * tile_vectors * row_block;
                NO_UNROLL for (int64_t i = 0; i < count; i++) sums[i] = (VECTOR){};
                NO_UNROLL for (int64_t done = 0; done < whole; done += k_block) NAME(dot_block)(
                    a, a_row, a_k, b, scratch, m, n, k, b_k, b_column, method, tile_rows,
                    tile_vectors, k_block, row_block, part_columns, first, behind, column_begin,
                    column_end, done, k_block, true,
                    b + NAME(dot_packed)(column_begin, k, b_k) + (done + k_block) * b_k, epilogue,
                    context);
            }
            NAME(dot_block)
            (a, a_row, a_k, b, scratch, m, n, k, b_k, b_column, method, tile_rows, tile_vectors,
             k_block, row_block, part_columns, first, behind, column_begin, column_end, whole,
             k - whole, false, b + NAME(dot_packed)(next, k, b_k), epilogue, context);
        }
    }
}

// All rows of the block by one panel of B. `apart`: rows of A are columns of a matrix in panels,
// which are so many elements apart; 0: they are not. No `ahead`: the next panel of A is.
TEMPLATE void NAME(dot_panel)(A_PARAMETERS, int64_t apart, const ELEMENT *b, int64_t step,
                              int64_t column, int64_t vectors, int lanes, int64_t k,
                              int64_t tile_rows, int64_t m, int64_t row_begin, int64_t row_end,
                              const VECTOR *start, VECTOR *keep, const ELEMENT *ahead,
                              END_PARAMETERS)
{
    if (!apart) {
        NAME(dot_rows)
        (a, a_row, a_k, b, step, column, vectors, lanes, k, tile_rows, m, row_begin, row_end, start,
         keep, ahead, epilogue, context);
        return;
    }
    NO_UNROLL for (int64_t row = row_begin; row < row_end; row += AML_DOT_PANEL)
    {
        int64_t done = (row - row_begin) * vectors, next = row + AML_DOT_PANEL;
        const ELEMENT *of_a = a + (next < row_end ? next : row_begin) / AML_DOT_PANEL * apart;
        NAME(dot_rows)
        (a + row / AML_DOT_PANEL * apart - row, a_row, a_k, b, step, column, vectors, lanes, k,
         tile_rows, AML_DOT_PANEL, row, next, start ? start + done : NULL,
         keep ? keep + done : NULL, ahead ? ahead : of_a, epilogue, context);
    }
}

#include "dot_tile.h"

// ---- packing

// Zipping row i with row i + LANES/2 moves one bit of the row number into the lane number; after
// log2(LANES) rounds the square is transposed.
HELPER void NAME(dot_transpose)(VECTOR row[LANES])
{
    UNROLL for (int round = 1; round < LANES; round *= 2)
    {
        VECTOR next[LANES];
        UNROLL for (int i = 0; i < LANES / 2; i++)
        {
            next[2 * i] = V(zip_low)(row[i], row[i + LANES / 2]);
            next[2 * i + 1] = V(zip_high)(row[i], row[i + LANES / 2]);
        }
        UNROLL for (int i = 0; i < LANES; i++) row[i] = next[i];
    }
}

// k rows of `vectors` registers; columns beyond the last are zero.
TEMPLATE void NAME(dot_pack_panel)(const ELEMENT *b, int64_t b_k, int64_t b_column, int64_t k,
                                   int64_t vectors, int lanes, VECTOR *out)
{
    if (b_column == 1) { // row by row, so that a line of memory is read once
        NO_UNROLL for (int64_t p = 0; p < k; p++)
        {
            UNROLL for (int64_t j = 0; j < 4; j++)
            {
                const ELEMENT *from = b + p * b_k + j * LANES;
                if (j < vectors)
                    *out++ = j < vectors - 1 || lanes == LANES ? V(load)(from)
                                                               : V(load_some)(from, lanes);
            }
        }
        return;
    }
    NO_UNROLL for (int64_t j = 0; j < vectors; j++)
    {
        int columns = j == vectors - 1 ? lanes : LANES;
        const ELEMENT *from = b + j * LANES * b_column;
        if (b_k == 1 && k >= LANES) {
            NAME(aml_shared_dot_turn)(from, b_column, k, columns, vectors, out + j);
            continue;
        }
        if (b_k == 1) {
            NAME(aml_shared_dot_turn_few)(from, b_column, k, columns, vectors, out + j);
            continue;
        }
        NO_UNROLL for (int64_t p = 0; p < k; p++)
        {
            VECTOR value = {};
            UNROLL for (int i = 0; i < LANES; i++)
            {
                if (i < columns)
                    value[i] = from[i * b_column + p * b_k];
            }
            out[p * vectors + j] = value;
        }
    }
}

// One register of `columns` columns that lie along k becomes k rows, `step` registers apart. Half
// of a product with a transposed matrix would be this, and it is the same for all of them. A square
// at an edge goes through `edge`, row by row.
SHARED void NAME(aml_shared_dot_turn)(const ELEMENT *b, int64_t b_column, int64_t k,
                                      int64_t columns, int64_t step, VECTOR *out)
{
    NO_UNROLL for (int64_t p = 0; p < k; p += LANES)
    {
        int64_t left = k - p < LANES ? k - p : LANES, apart = b_column;
        const ELEMENT *from = b + p;
        VECTOR square[LANES], edge[LANES];
        bool whole = left == LANES && columns == LANES;
        if (!whole) {
            NO_UNROLL for (int i = 0; i < LANES; i++) edge[i] =
                i < columns ? V(load_some)(from + i * b_column, (int)left) : (VECTOR){};
            from = (const ELEMENT *)edge;
            apart = LANES;
        }
        UNROLL for (int i = 0; i < LANES; i++) square[i] = V(load)(from + i * apart);
        NAME(dot_transpose)(square);
        if (left == LANES) {
            UNROLL for (int i = 0; i < LANES; i++) out[(p + i) * step] = square[i];
        } else {
            UNROLL for (int i = 0; i < LANES; i++) edge[i] = square[i];
            NO_UNROLL for (int64_t i = 0; i < left; i++) out[(p + i) * step] = edge[i];
        }
    }
}

// The same for less than LANES of k.
SHARED void NAME(aml_shared_dot_turn_few)(const ELEMENT *b, int64_t b_column, int64_t k,
                                          int64_t columns, int64_t step, VECTOR *out)
{
    VECTOR square[LANES];
    UNROLL for (int i = 0; i < LANES; i++) square[i] =
        i < columns ? V(load_some)(b + i * b_column, (int)k) : (VECTOR){};
    NAME(dot_transpose)(square);
    UNROLL for (int i = 0; i < LANES; i++)
    {
        if (i < k)
            out[i * step] = square[i];
    }
}

// `rows` rows of a transposed A, from `first` on: for each k they lie together, and so they do in
// the copy, `step` apart.
TEMPLATE void NAME(dot_copy_a)(const ELEMENT *a, int64_t a_k, int64_t first, int64_t k,
                               int64_t rows, int64_t step, ELEMENT *out)
{
    NO_UNROLL for (int64_t p = 0; p < k; p++)
    {
        const ELEMENT *from =
            (a_k == AML_DOT_TABLE ? ((const ELEMENT *const *)a)[p] : a + p * a_k) + first;
        int64_t i = 0;
        NO_UNROLL for (; i + LANES <= rows; i += LANES)
            V(store)(out + p * step + i, V(load)(from + i));
        NO_UNROLL for (; i < rows; i++) out[p * step + i] = from[i];
    }
}

HELPER const ELEMENT *NAME(dot_left)(A_PARAMETERS, int64_t i, int64_t p)
{
    if (a_row == AML_DOT_TABLE)
        return ((const ELEMENT *const *)a)[i] + p * a_k;
    if (a_k == AML_DOT_TABLE)
        return ((const ELEMENT *const *)a)[p] + i * a_row;
    return a + i * a_row + p * a_k;
}

// ---- few rows: a product that is as fast as B can be read

// A piece of each result row stays in the first-level cache while rows of B, four at a time, are
// added to it: B is read along its rows, from four places at once.
TEMPLATE void NAME(dot_row_streams)(A_PARAMETERS, const ELEMENT *b, int64_t b_k, int64_t m,
                                    int64_t n, int64_t k, int64_t column_begin, int64_t column_end,
                                    END_PARAMETERS)
{
    enum { PIECE = AML_DOT_STREAM_COLUMNS / LANES };
    VECTOR sum[AML_DOT_FEW_ROWS][PIECE];
    int tail = (int)(n % LANES);
    NO_UNROLL for (int64_t first = column_begin; first < column_end;
                   first += AML_DOT_STREAM_COLUMNS)
    {
        int64_t columns = column_end - first < AML_DOT_STREAM_COLUMNS ? column_end - first
                                                                      : AML_DOT_STREAM_COLUMNS;
        int64_t whole = columns / LANES;
        bool cut = whole * LANES < columns;
        NO_UNROLL for (int64_t i = 0; i < m; i++)
        {
            NO_UNROLL for (int64_t j = 0; j < whole + cut; j++) sum[i][j] = (VECTOR){};
        }
        int64_t p = 0;
        NO_UNROLL for (; p + 4 <= k; p += 4)
        {
            const ELEMENT *row = b + p * b_k + first;
            NO_UNROLL for (int64_t i = 0; i < m; i++)
            {
                VECTOR left[4];
                UNROLL for (int q = 0; q < 4; q++) left[q] =
                    V(splat)(*NAME(dot_left)(a, a_row, a_k, i, p + q));
                NO_UNROLL for (int64_t j = 0; j < whole; j++)
                {
                    VECTOR value = sum[i][j];
                    UNROLL for (int q = 0; q < 4; q++) value =
                        V(fma)(left[q], V(load)(row + q * b_k + j * LANES), value);
                    sum[i][j] = value;
                }
                if (tail && cut) {
                    VECTOR value = sum[i][whole];
                    UNROLL for (int q = 0; q < 4; q++) value =
                        V(fma)(left[q], V(load_some)(row + q * b_k + whole * LANES, tail), value);
                    sum[i][whole] = value;
                }
            }
        }
        NO_UNROLL for (; p < k; p++)
        {
            const ELEMENT *row = b + p * b_k + first;
            NO_UNROLL for (int64_t i = 0; i < m; i++)
            {
                VECTOR left = V(splat)(*NAME(dot_left)(a, a_row, a_k, i, p));
                NO_UNROLL for (int64_t j = 0; j < whole; j++) sum[i][j] =
                    V(fma)(left, V(load)(row + j * LANES), sum[i][j]);
                if (tail && cut)
                    sum[i][whole] =
                        V(fma)(left, V(load_some)(row + whole * LANES, tail), sum[i][whole]);
            }
        }
        NO_UNROLL for (int64_t i = 0; i < m; i++)
        {
            NO_UNROLL for (int64_t j = 0; j < whole; j++)
                epilogue(context, i, first + j * LANES, LANES, sum[i][j]);
            if (tail && cut)
                epilogue(context, i, first + whole * LANES, tail, sum[i][whole]);
        }
    }
}

// COLUMNS inner products at once, each in two sums of LANES lanes.
#define INNER_DEFINE(COLUMNS)                                                                      \
    HELPER void NAME(dot_inner_##COLUMNS)(const ELEMENT *a, const ELEMENT *b, int64_t b_column,    \
                                          int64_t k, ELEMENT out[COLUMNS])                         \
    {                                                                                              \
        VECTOR even[COLUMNS], odd[COLUMNS];                                                        \
        UNROLL for (int c = 0; c < COLUMNS; c++) even[c] = odd[c] = (VECTOR){};                    \
        int64_t p = 0;                                                                             \
        NO_UNROLL for (; p + 2 * LANES <= k; p += 2 * LANES)                                       \
        {                                                                                          \
            VECTOR a0 = V(load)(a + p), a1 = V(load)(a + p + LANES);                               \
            UNROLL for (int c = 0; c < COLUMNS; c++)                                               \
            {                                                                                      \
                even[c] = V(fma)(a0, V(load)(b + c * b_column + p), even[c]);                      \
                odd[c] = V(fma)(a1, V(load)(b + c * b_column + p + LANES), odd[c]);                \
            }                                                                                      \
        }                                                                                          \
        NO_UNROLL for (; p < k; p += LANES)                                                        \
        {                                                                                          \
            int left = k - p < LANES ? (int)(k - p) : LANES;                                       \
            VECTOR a0 = V(load_some)(a + p, left);                                                 \
            UNROLL for (int c = 0; c < COLUMNS; c++) even[c] =                                     \
                V(fma)(a0, V(load_some)(b + c * b_column + p, left), even[c]);                     \
        }                                                                                          \
        UNROLL for (int c = 0; c < COLUMNS; c++) out[c] = V(sum)(even[c] + odd[c]);                \
    }
INNER_DEFINE(4)
INNER_DEFINE(1)
#undef INNER_DEFINE

TEMPLATE void NAME(dot_inner)(const ELEMENT *a, int64_t a_row, const ELEMENT *b, int64_t b_column,
                              int64_t n, int64_t k, int64_t row_begin, int64_t row_end,
                              int64_t column_begin, int64_t column_end, END_PARAMETERS)
{
    int tail = (int)(n % LANES);
    NO_UNROLL for (int64_t row = row_begin; row < row_end; row++)
    {
        NO_UNROLL for (int64_t column = column_begin; column < column_end; column += LANES)
        {
            int lanes = column_end - column < LANES ? (int)(column_end - column) : LANES;
            ELEMENT out[LANES];
            __builtin_memset(out, 0, sizeof out);
            int done = 0;
            NO_UNROLL for (; done + 4 <= lanes; done += 4)
                NAME(dot_inner_4)(NAME(dot_left)(a, a_row, 1, row, 0),
                                  b + (column + done) * b_column, b_column, k, out + done);
            NO_UNROLL for (; done < lanes; done++)
                NAME(dot_inner_1)(NAME(dot_left)(a, a_row, 1, row, 0),
                                  b + (column + done) * b_column, b_column, k, out + done);
            if (tail && lanes < LANES)
                epilogue(context, row, column, tail, V(load)(out));
            else
                epilogue(context, row, column, LANES, V(load)(out));
        }
    }
}
