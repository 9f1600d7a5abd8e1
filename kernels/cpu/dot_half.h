// dot_half.h: matrix products of 16-bit floats, summed in f32. kernel.h has the contract.
//
// Both operands are copied to scratch in the form in which the register tiles read them:
//
//   widened   f32, and then the product is that of f32: a block of A is copied once for all panels
//             of a part, a panel of B for all rows of the block
//   pairs     of bf16, k and k + 1 in 32 bits: a tile takes a pair for one element, and multiplies
//             with vdpbf16ps; a panel of B is copied once for all rows of a part, A is read where
//             it is if its pairs lie together
//
// So memory is read at half the bytes. The copy of A keeps its order: rows one after the other, or
// columns if A is transposed.

TEMPLATE void dot_rows_f32(const float *a, int64_t a_row, int64_t a_k, const float *b, int64_t step,
                           int64_t column, int64_t vectors, int lanes, int64_t k, int64_t tile_rows,
                           int64_t m, int64_t row_begin, int64_t row_end, const f32v *start,
                           f32v *keep, const float *ahead,
                           void (*epilogue)(void *, int64_t, int64_t, int, f32v), void *context);
TEMPLATE void dot_rows_pairs(const float *a, int64_t a_row, int64_t a_k, const float *b,
                             int64_t step, int64_t column, int64_t vectors, int lanes, int64_t k,
                             int64_t tile_rows, int64_t m, int64_t row_begin, int64_t row_end,
                             const f32v *start, f32v *keep, const float *ahead,
                             void (*epilogue)(void *, int64_t, int64_t, int, f32v), void *context);
TEMPLATE void dot_half_pack(const uint16_t *b, int64_t b_k, int64_t b_column, int64_t k,
                            int64_t vectors, int lanes, int64_t half, f32v *out);
TEMPLATE void dot_half_copy(const uint16_t *a, int64_t a_row, int64_t a_k, int64_t rows, int64_t k,
                            int64_t step, int64_t half, float *out);
HELPER void dot_transpose_f32(f32v row[F32_LANES]);

// ---- widened

// All panels of a part for a block of rows and of k, as dot_block of dot_template.h. keep: what is
// summed waits in `sums`, a panel after the other; sums: NULL if there are no blocks of k.
HELPER void dot_wide_block(const uint16_t *a, int64_t a_row, int64_t a_k, const uint16_t *b,
                           int64_t b_k, int64_t b_column, f32v *sums, f32v *packed, int64_t m,
                           int64_t n, int64_t depth, int64_t method, int64_t tile_rows,
                           int64_t tile_vectors, int64_t k_block, int64_t row_block,
                           int64_t row_begin, int64_t row_end, int64_t column_begin,
                           int64_t column_end, bool keep,
                           void (*epilogue)(void *, int64_t, int64_t, int, f32v), void *context)
{
    int64_t half = method & AML_DOT_METHOD, panel = tile_vectors * F32_LANES, rest = n % panel;
    int flags = method & AML_DOT_DIRECT ? 1 << 16 : 0;
    bool down = a_row == 1 && a_k != 1;
    int64_t step = aml_dot_copy_step(down ? row_block : k_block, F32_LANES);
    int64_t left_row = down ? 1 : step, left_k = down ? step : 1;
    float *copied = (float *)(packed + k_block * tile_vectors);
    dot_half_copy(a + row_begin * a_row, a_row, a_k, row_end - row_begin, depth, step, half,
                  copied);
    const float *left = copied - row_begin * left_row;
    int64_t column = column_begin;
    NO_UNROLL for (; column + panel <= column_end; column += panel)
    {
        dot_half_pack(b + column * b_column, b_k, b_column, depth, tile_vectors, F32_LANES, half,
                      packed);
        dot_rows_f32(left, left_row, left_k, (const float *)packed, panel, column, tile_vectors,
                     F32_LANES | F32_LANES << 8 | flags, depth, tile_rows, m, row_begin, row_end,
                     sums, keep ? sums : NULL, NULL, epilogue, context);
        if (sums)
            sums += row_block * tile_vectors;
    }
    if (rest > 0 && column < column_end) {
        int64_t vectors = (rest + F32_LANES - 1) / F32_LANES;
        int lanes = (int)(rest - (vectors - 1) * F32_LANES);
        dot_half_pack(b + column * b_column, b_k, b_column, depth, vectors, lanes, half, packed);
        dot_rows_f32(left, left_row, left_k, (const float *)packed, vectors * F32_LANES, column,
                     vectors, F32_LANES | lanes << 8 | flags, depth, tile_rows, m, row_begin,
                     row_end, sums, keep ? sums : NULL, NULL, epilogue, context);
    }
}

TEMPLATE void aml_dot_half(const uint16_t *a, const uint16_t *b, void *scratch, int64_t m,
                           int64_t n, int64_t k, int64_t a_row, int64_t a_k, int64_t b_k,
                           int64_t b_column, int64_t method, int64_t tile_rows,
                           int64_t tile_vectors, int64_t k_block, int64_t row_block,
                           int64_t part_rows, int64_t part_columns, int64_t part_begin,
                           int64_t part_end, void (*epilogue)(void *, int64_t, int64_t, int, f32v),
                           void *context)
{
    int64_t column_parts = (n + part_columns - 1) / part_columns, panel = tile_vectors * F32_LANES;
    int64_t count = (part_columns + panel - 1) / panel * tile_vectors * row_block;
    int64_t whole = k_block < k ? (k - 1) / k_block * k_block : 0;
    f32v *sums = whole ? scratch : NULL, *packed = whole ? sums + count : scratch;
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t row_begin = part / column_parts * part_rows,
                column_begin = part % column_parts * part_columns;
        int64_t row_end = row_begin + part_rows < m ? row_begin + part_rows : m;
        int64_t column_end = column_begin + part_columns < n ? column_begin + part_columns : n;
        NO_UNROLL for (int64_t first = row_begin; first < row_end; first += row_block)
        {
            int64_t behind = first + row_block < row_end ? first + row_block : row_end;
            if (whole) {
                NO_UNROLL for (int64_t i = 0; i < count; i++) sums[i] = (f32v){};
                NO_UNROLL for (int64_t done = 0; done < whole; done += k_block) dot_wide_block(
                    a + done * a_k, a_row, a_k, b + done * b_k, b_k, b_column, sums, packed, m, n,
                    k_block, method, tile_rows, tile_vectors, k_block, row_block, first, behind,
                    column_begin, column_end, true, epilogue, context);
            }
            dot_wide_block(a + whole * a_k, a_row, a_k, b + whole * b_k, b_k, b_column, sums,
                           packed, m, n, k - whole, method, tile_rows, tile_vectors, k_block,
                           row_block, first, behind, column_begin, column_end, false, epilogue,
                           context);
        }
    }
}

// ---- pairs

// A block of k for a block of rows.
HELPER void dot_pairs_block(const uint16_t *a, int64_t a_row, int64_t a_k, const uint16_t *b,
                            int64_t b_k, int64_t b_column, f32v *packed, float *copied, bool pack,
                            int64_t m, int64_t k, int64_t k_block, int64_t row_block, bool direct,
                            int64_t tile_rows, int64_t first, int64_t behind, int64_t column,
                            int64_t vectors, int lanes, const f32v *start, f32v *keep,
                            void (*epilogue)(void *, int64_t, int64_t, int, f32v), void *context)
{
    bool down = a_row == 1 && a_k != 1;
    int64_t step = aml_dot_half_step(down, (k_block + 1) / 2, row_block, F32_LANES);
    if (pack)
        dot_half_pack(b, b_k, b_column, k, vectors, lanes, AML_HALF_PAIRS, packed);
    const float *left = copied - (down ? first : first * step);
    int64_t left_row = down ? 1 : step, left_k = down ? step : 1;
    if (direct) {
        left = (const float *)a;
        left_row = a_row / 2;
    } else {
        dot_half_copy(a + first * a_row, a_row, a_k, behind - first, k, step, AML_HALF_PAIRS,
                      copied);
    }
    dot_rows_pairs(left, left_row, left_k, (const float *)packed, vectors * F32_LANES, column,
                   vectors, F32_LANES | lanes << 8, (k + 1) / 2, tile_rows, m, first, behind, start,
                   keep, NULL, epilogue, context);
}

// A block of k is packed once for all rows of the part; what they have summed waits until the next.
HELPER void dot_pairs_panel(const uint16_t *a, int64_t a_row, int64_t a_k, const uint16_t *b,
                            int64_t b_k, int64_t b_column, f32v *scratch, int64_t m, int64_t k,
                            int64_t tile_rows, int64_t tile_vectors, int64_t k_block,
                            int64_t row_block, int64_t part_rows, int64_t row_begin,
                            int64_t row_end, int64_t column, int64_t vectors, int lanes,
                            void (*epilogue)(void *, int64_t, int64_t, int, f32v), void *context)
{
    bool direct = a_k == 1 && a_row % 2 == 0 && k % 2 == 0;
    f32v *sums = scratch, *packed = k_block < k ? sums + part_rows * tile_vectors : scratch;
    int64_t depth = (k_block + 1) / 2;
    float *copied = (float *)(packed + depth * tile_vectors);
    int64_t whole = k > 0 ? (k - 1) / k_block * k_block : 0;
    b += column * b_column;
    if (whole) {
        NO_UNROLL for (int64_t i = 0; i < part_rows * vectors; i++) sums[i] = (f32v){};
    }
    NO_UNROLL for (int64_t done = 0; done < whole; done += k_block)
    {
        NO_UNROLL for (int64_t first = row_begin; first < row_end; first += row_block)
        {
            int64_t behind = first + row_block < row_end ? first + row_block : row_end;
            f32v *sum = sums + (first - row_begin) * vectors;
            dot_pairs_block(a + done * a_k, a_row, a_k, b + done * b_k, b_k, b_column, packed,
                            copied, first == row_begin, m, k_block, k_block, row_block, direct,
                            tile_rows, first, behind, column, vectors, lanes, sum, sum, epilogue,
                            context);
        }
    }
    NO_UNROLL for (int64_t first = row_begin; first < row_end; first += row_block)
    {
        int64_t behind = first + row_block < row_end ? first + row_block : row_end;
        dot_pairs_block(a + whole * a_k, a_row, a_k, b + whole * b_k, b_k, b_column, packed, copied,
                        first == row_begin, m, k - whole, k_block, row_block, direct, tile_rows,
                        first, behind, column, vectors, lanes,
                        whole ? sums + (first - row_begin) * vectors : NULL, NULL, epilogue,
                        context);
    }
}

TEMPLATE void aml_dot_pairs(const uint16_t *a, const uint16_t *b, void *scratch, int64_t m,
                            int64_t n, int64_t k, int64_t a_row, int64_t a_k, int64_t b_k,
                            int64_t b_column, int64_t method, int64_t tile_rows,
                            int64_t tile_vectors, int64_t k_block, int64_t row_block,
                            int64_t part_rows, int64_t part_columns, int64_t part_begin,
                            int64_t part_end, void (*epilogue)(void *, int64_t, int64_t, int, f32v),
                            void *context)
{
    (void)method; // there is one
    int64_t column_parts = (n + part_columns - 1) / part_columns, panel = tile_vectors * F32_LANES;
    int64_t rest = n % panel, rest_vectors = (rest + F32_LANES - 1) / F32_LANES;
    NO_UNROLL for (int64_t part = part_begin; part < part_end; part++)
    {
        int64_t row_begin = part / column_parts * part_rows,
                column = part % column_parts * part_columns;
        int64_t row_end = row_begin + part_rows < m ? row_begin + part_rows : m;
        int64_t column_end = column + part_columns < n ? column + part_columns : n;
        NO_UNROLL for (; column + panel <= column_end; column += panel)
            dot_pairs_panel(a, a_row, a_k, b, b_k, b_column, scratch, m, k, tile_rows, tile_vectors,
                            k_block, row_block, part_rows, row_begin, row_end, column, tile_vectors,
                            F32_LANES, epilogue, context);
        if (rest > 0 && column < column_end)
            dot_pairs_panel(a, a_row, a_k, b, b_k, b_column, scratch, m, k, tile_rows, tile_vectors,
                            k_block, row_block, part_rows, row_begin, row_end, column, rest_vectors,
                            (int)(rest - (rest_vectors - 1) * F32_LANES), epilogue, context);
    }
}

// ---- copies -------------------------------------------------------------------------------------

HELPER f32v half_widen(u16v value, int64_t half)
{
    return half == AML_HALF_F16 ? f16_widen(value) : bf16_widen(value);
}

// The elements of two rows as pairs.
HELPER f32v half_zip(u16v low, u16v high)
{
    return (f32v)(u16_spread(low) | u16_spread(high) << 16);
}

HELPER u16v half_gather(const uint16_t *at, int64_t step, int count)
{
    u16v value = {};
    UNROLL for (int i = 0; i < F32_LANES; i++)
    {
        if (i < count)
            value[i] = at[i * step];
    }
    return value;
}

// One row of a panel: elements k of `count` columns, and k + 1 for pairs, if there is one.
HELPER f32v dot_half_row(const uint16_t *from, int64_t b_k, int64_t b_column, int count,
                         int64_t half, bool last)
{
    if (half != AML_HALF_PAIRS)
        return half_widen(
            b_column == 1 ? u16_load_some(from, count) : half_gather(from, b_column, count), half);
    u16v low = b_column == 1 ? u16_load_some(from, count) : half_gather(from, b_column, count);
    if (last)
        return half_zip(low, (u16v){});
    return half_zip(low, b_column == 1 ? u16_load_some(from + b_k, count)
                                       : half_gather(from + b_k, b_column, count));
}

TEMPLATE void dot_half_pack(const uint16_t *b, int64_t b_k, int64_t b_column, int64_t k,
                            int64_t vectors, int lanes, int64_t half, f32v *out)
{
    int64_t each = half == AML_HALF_PAIRS ? 2 : 1; // elements of k in a row of the panel
    if (b_column == 1) { // row by row, so that a line of memory is read once
        NO_UNROLL for (int64_t p = 0; p + each <= k; p += each)
        {
            UNROLL for (int64_t j = 0; j < 4; j++)
            {
                if (j < vectors)
                    *out++ = dot_half_row(b + p * b_k + j * F32_LANES, b_k, 1,
                                          j == vectors - 1 ? lanes : F32_LANES, half, false);
            }
        }
        UNROLL for (int64_t j = 0; j < 4; j++)
        {
            if (k % each && j < vectors)
                *out++ = dot_half_row(b + (k - 1) * b_k + j * F32_LANES, b_k, 1,
                                      j == vectors - 1 ? lanes : F32_LANES, half, true);
        }
        return;
    }
    NO_UNROLL for (int64_t j = 0; j < vectors; j++)
    {
        const uint16_t *from = b + j * F32_LANES * b_column;
        int columns = j == vectors - 1 ? lanes : F32_LANES;
        int64_t p = 0;
        if (b_k == 1) {
            // Columns lie together: squares of them are read along k and turned around.
            NO_UNROLL for (; p + F32_LANES * each <= k; p += F32_LANES * each)
            {
                f32v square[F32_LANES];
                UNROLL for (int i = 0; i < F32_LANES; i++)
                {
                    const uint16_t *at = from + i * b_column + p;
                    square[i] = i >= columns ? (f32v){}
                                : each == 2  ? f32_load((const float *)at)
                                             : half_widen(u16_load_some(at, F32_LANES), half);
                }
                dot_transpose_f32(square);
                UNROLL for (int i = 0; i < F32_LANES; i++) out[(p / each + i) * vectors + j] =
                    square[i];
            }
        }
        NO_UNROLL for (; p + each <= k; p += each) out[p / each * vectors + j] =
            dot_half_row(from + p * b_k, b_k, b_column, columns, half, false);
        if (p < k)
            out[p / each * vectors + j] =
                dot_half_row(from + p * b_k, b_k, b_column, columns, half, true);
    }
}

TEMPLATE void dot_half_copy(const uint16_t *a, int64_t a_row, int64_t a_k, int64_t rows, int64_t k,
                            int64_t step, int64_t half, float *out)
{
    int64_t each = half == AML_HALF_PAIRS ? 2 : 1;
    if (a_row == 1 && a_k != 1) { // down the columns
        NO_UNROLL for (int64_t p = 0; p < k; p += each)
        {
            NO_UNROLL for (int64_t i = 0; i < rows; i += F32_LANES)
            {
                int count = rows - i < F32_LANES ? (int)(rows - i) : F32_LANES;
                f32_store(out + p / each * step + i,
                          dot_half_row(a + p * a_k + i, a_k, 1, count, half, p + each > k));
            }
        }
        return;
    }
    NO_UNROLL for (int64_t i = 0; i < rows; i++)
    {
        const uint16_t *from = a + i * a_row;
        float *to = out + i * step;
        int64_t p = 0;
        if (a_k == 1) {
            NO_UNROLL for (; p + F32_LANES * each <= k; p += F32_LANES * each) f32_store(
                to + p / each, each == 2 ? f32_load((const float *)(from + p))
                                         : half_widen(u16_load_some(from + p, F32_LANES), half));
        }
        NO_UNROLL for (; p < k; p += each)
        {
            u16v low = {from[p * a_k]}, high = {};
            if (each == 2 && p + 1 < k)
                high[0] = from[(p + 1) * a_k];
            to[p / each] = (each == 2 ? half_zip(low, high) : half_widen(low, half))[0];
        }
    }
}

// Rows begin..end of a transposed A, A[i, p] at a[i + p * a_k]: out[i * step + p], with zeros from
// k on up to a whole square. Squares of pairs are turned around, two next to each other, since they
// share lines of memory.
SHARED void aml_shared_dot_turn(const uint16_t *a, int64_t a_k, int64_t k, int64_t step,
                                uint16_t *out, int64_t begin, int64_t end)
{
    NO_UNROLL for (int64_t row = begin; row < end; row += 2 * F32_LANES)
    {
        NO_UNROLL for (int64_t p = 0; p < k; p += 2 * F32_LANES)
        {
            NO_UNROLL for (int64_t first = row; first < row + 2 * F32_LANES && first < end;
                           first += F32_LANES)
            {
                int count = end - first < F32_LANES ? (int)(end - first) : F32_LANES;
                f32v square[F32_LANES];
                NO_UNROLL for (int64_t i = 0; i < F32_LANES; i++)
                {
                    const uint16_t *at = a + (p + 2 * i) * a_k + first;
                    int64_t left = k - p - 2 * i; // of k
                    u16v low = {}, high = {};
                    if (left > 0)
                        low = u16_load_some(at, count);
                    if (left > 1)
                        high = u16_load_some(at + a_k, count);
                    square[i] = half_zip(low, high);
                }
                dot_transpose_f32(square);
                NO_UNROLL for (int64_t i = 0; i < count; i++)
                    f32_store((float *)(out + (first + i) * step + p), square[i]);
            }
        }
    }
}
