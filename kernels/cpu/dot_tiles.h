// dot_tiles.h: matrix products in tiles of AMX, included once for pairs of bf16 (dot.c) and once
// for quads of bytes (quads.c). kernel.h has the contract.
//
// tiles.h has the picture. A lies in memory as it is multiplied; B is in panels of words, as the
// vector kernels have it.
//
// How many rows tiles have is set by ldtilecfg: once for all whole blocks of rows, and once a panel
// for what is left below them, so no row is read that is not there. Columns beyond the last one are
// zeros of the panel. The last words of k are copied to scratch with zeros behind them, since what
// lies behind a row of A is another row, or nothing.
//
// What includes it defines NAME, VECTOR, SOURCE (of A), SOURCES (of them in a word), WORD (of B),
// TILES_KIND, TILES_PACKS (B is packed here), END_PARAMETERS, and tiles_pack and tiles_copy.

// The last `count` elements of 16 bits of each row, with zeros behind them.
HELPER void NAME(tiles_tail)(const char *a, int64_t a_step, int64_t count, int64_t rows, char *out)
{
    __mmask32 mask = (__mmask32)((1u << count) - 1);
    NO_UNROLL for (int64_t i = 0; i < rows; i++)
        _mm512_store_si512(out + i * 64, _mm512_maskz_loadu_epi16(mask, a + i * a_step));
}

// The sums of `words` of k from a on, a multiple of 16, and of 16 more at `tail` if there are such.
HELPER void NAME(tiles_sum)(int high, int64_t vectors, const char *a, int64_t a_step, int64_t words,
                            const char *tail, const char *b, int64_t b_step, char *out)
{
    tiles_zero(high, vectors);
    NO_UNROLL for (int64_t p = 0; p < words; p += AML_TILE)
        tiles_step(TILES_KIND, high, vectors, a + p * 4, a_step, b + p * b_step, b_step);
    if (tail)
        tiles_step(TILES_KIND, high, vectors, tail, 64, b + words * b_step, b_step);
    tiles_store(high, vectors, out);
}

// One block of rows of a panel, up to two tiles of them. `out` has room for its sums.
HELPER void NAME(tiles_block)(int64_t rows, int64_t vectors, int lanes, const char *a,
                              int64_t a_step, int64_t words, const char *tail, const char *b,
                              int64_t b_step, VECTOR *out, const VECTOR *start, VECTOR *keep,
                              int64_t row, int64_t column, END_PARAMETERS)
{
    NAME(tiles_sum)
    (rows > AML_TILE ? 2 : 1, vectors, a, a_step, words, tail, b, b_step, (char *)out);
    if (keep) {
        NO_UNROLL for (int64_t i = 0; i < rows * vectors; i++) keep[i] = start[i] + out[i];
        return;
    }
    NO_UNROLL for (int64_t i = 0; i < rows; i++)
    {
        NO_UNROLL for (int64_t j = 0; j < vectors; j++)
        {
            VECTOR value = out[i * vectors + j];
            if (start)
                value += start[i * vectors + j];
            epilogue(context, row + i, column + j * F32_LANES, j == vectors - 1 ? lanes : F32_LANES,
                     value);
        }
    }
}

// Rows first..behind of a panel, over a block of k. a is the first element of row `first`; tail has
// the last words of its rows, or is NULL.
HELPER void NAME(tiles_rows)(const char *a, int64_t a_step, int64_t words, const char *tail,
                             const char *b, int64_t b_step, VECTOR *out, int64_t m,
                             int64_t tile_rows, int64_t first, int64_t behind, int64_t column,
                             int64_t vectors, int lanes, const VECTOR *start, VECTOR *keep,
                             END_PARAMETERS)
{
    int64_t row = first, rest = m % tile_rows;
    NO_UNROLL for (; row + tile_rows <= behind; row += tile_rows)
    {
        int64_t done = row - first;
        NAME(tiles_block)
        (tile_rows, vectors, lanes, a + done * a_step, a_step, words,
         tail ? tail + done * 64 : NULL, b, b_step, out, start ? start + done * vectors : NULL,
         keep ? keep + done * vectors : NULL, row, column, epilogue, context);
    }
    if (rest > 0 && row < behind) {
        int64_t done = row - first;
        tiles_configure(rest, AML_TILE);
        NAME(tiles_block)
        (rest, vectors, lanes, a + done * a_step, a_step, words, tail ? tail + done * 64 : NULL, b,
         b_step, out, start ? start + done * vectors : NULL, keep ? keep + done * vectors : NULL,
         row, column, epilogue, context);
        tiles_configure(tile_rows, AML_TILE);
    }
}

// A panel over a block of k, for all rows of the part. sums: of earlier blocks; keep: there are
// further ones.
HELPER void NAME(tiles_deep)(const SOURCE *a, int64_t a_row, int64_t a_k, const WORD *b,
                             int64_t b_k, int64_t b_column, char *scratch, int64_t m, int64_t k,
                             int64_t tile_rows, int64_t tile_vectors, int64_t row_block,
                             int64_t row_begin, int64_t row_end, int64_t column, int64_t vectors,
                             int lanes, VECTOR *sums, bool keep, END_PARAMETERS)
{
    int64_t depth = aml_dot_tiles_depth((k + SOURCES - 1) / SOURCES), step = a_row * SOURCE_BYTES;
    bool direct = aml_dot_tiles_direct(a_k);
    int64_t words = direct ? k / (AML_TILE * SOURCES) * AML_TILE : depth;
    VECTOR *out = (VECTOR *)scratch;
    char *copied = scratch + tile_rows * tile_vectors * 64;
    const char *panel = (const char *)b;
    if (TILES_PACKS) {
        char *packed = copied + row_block * (direct ? AML_TILE : depth) * 4;
        NAME(tiles_pack)(b, b_k, b_column, k, depth, vectors, lanes, packed);
        panel = packed;
    }
    NO_UNROLL for (int64_t first = row_begin; first < row_end; first += row_block)
    {
        int64_t behind = first + row_block < row_end ? first + row_block : row_end;
        const SOURCE *from = a + first * a_row;
        bool rest = words < depth;
        if (rest)
            NAME(tiles_tail)
        ((const char *)(from + words * SOURCES), step, (k - words * SOURCES) * SOURCE_BYTES / 2,
         behind - first, copied);
        if (!direct)
            NAME(tiles_copy)(from, a_row, a_k, behind - first, k, depth, copied);
        VECTOR *sum = sums ? sums + (first - row_begin) * vectors : NULL;
        NAME(tiles_rows)
        (direct ? (const char *)from : copied, direct ? step : depth * 4, words,
         rest ? copied : NULL, panel, (TILES_PACKS ? vectors : tile_vectors) * 64, out, m,
         tile_rows, first, behind, column, vectors, lanes, sum, keep ? sum : NULL, epilogue,
         context);
    }
}

HELPER void NAME(tiles_panel)(const SOURCE *a, int64_t a_row, int64_t a_k, const WORD *b,
                              int64_t b_k, int64_t b_column, VECTOR *scratch, int64_t m, int64_t k,
                              int64_t tile_rows, int64_t tile_vectors, int64_t k_block,
                              int64_t row_block, int64_t part_rows, int64_t row_begin,
                              int64_t row_end, int64_t column, int64_t vectors, int lanes,
                              END_PARAMETERS)
{
    VECTOR *sums = k_block < k ? scratch : NULL;
    char *rest = (char *)(sums ? sums + part_rows * tile_vectors : scratch);
    int64_t whole = k > 0 ? (k - 1) / k_block * k_block : 0;
    if (whole) {
        NO_UNROLL for (int64_t i = 0; i < part_rows * vectors; i++) sums[i] = (VECTOR){};
    }
    NO_UNROLL for (int64_t done = 0; done < whole; done += k_block)
        NAME(tiles_deep)(a + done * a_k, a_row, a_k, b + done * b_k, b_k, b_column, rest, m,
                         k_block, tile_rows, tile_vectors, row_block, row_begin, row_end, column,
                         vectors, lanes, sums, true, epilogue, context);
    NAME(tiles_deep)
    (a + whole * a_k, a_row, a_k, b + whole * b_k, b_k, b_column, rest, m, k - whole, tile_rows,
     tile_vectors, row_block, row_begin, row_end, column, vectors, lanes, sums, false, epilogue,
     context);
}

TEMPLATE void NAME(aml_dot_tiles)(const SOURCE *a, const WORD *b, void *scratch, int64_t m,
                                  int64_t n, int64_t k, int64_t a_row, int64_t a_k, int64_t b_k,
                                  int64_t b_column, int64_t method, int64_t tile_rows,
                                  int64_t tile_vectors, int64_t k_block, int64_t row_block,
                                  int64_t part_rows, int64_t part_columns, int64_t part_begin,
                                  int64_t part_end, END_PARAMETERS)
{
    int64_t column_parts = (n + part_columns - 1) / part_columns, panel = tile_vectors * F32_LANES;
    int64_t rest = n % panel, rest_vectors = (rest + F32_LANES - 1) / F32_LANES;
    int64_t across = TILES_PACKS ? b_column : aml_dot_tiles_depth(k); // from column to column
    (void)method;
    tiles_configure(tile_rows, AML_TILE);
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t row_begin = part / column_parts * part_rows,
                column = part % column_parts * part_columns;
        int64_t row_end = row_begin + part_rows < m ? row_begin + part_rows : m;
        int64_t column_end = column + part_columns < n ? column + part_columns : n;
        NO_UNROLL for (; column + panel <= column_end; column += panel)
            NAME(tiles_panel)(a, a_row, a_k, b + column * across, b_k, b_column, scratch, m, k,
                              tile_rows, tile_vectors, k_block, row_block, part_rows, row_begin,
                              row_end, column, tile_vectors, F32_LANES, epilogue, context);
        if (rest > 0 && column < column_end)
            NAME(tiles_panel)
        (a, a_row, a_k, b + column * across, b_k, b_column, scratch, m, k, tile_rows, tile_vectors,
         k_block, row_block, part_rows, row_begin, row_end, column, rest_vectors,
         (int)(rest - (rest_vectors - 1) * F32_LANES), epilogue, context);
    }
    _tile_release();
}
