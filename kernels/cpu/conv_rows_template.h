// conv_rows_template.h: convolutions whose lanes are positions, included by conv_template.h.
//
// Where neighbouring results are neighbours in the source, a register may be a row of positions and
// a weight the single element: with few result channels no lane is idle then, and sums are what the
// epilogue takes, without being turned around.
//
//                    positions ->
//     weights        [ x  x+1 .. x+15 ] [ x+16 .. ]      for each channel of the source and each
//     w[0]   ->      [ acc            ] [ acc     ]      tap, which moves x and the row
//     w[1]   ->      [ acc            ] [ acc     ]
//      ...           `lined` result channels, tile_rows rows of tile_columns registers
//
// What a register holds beyond its row belongs to the next row, or is room behind the copy, and
// goes nowhere. A sum has the order that it has in aml_conv.

#define ROWS_PARAMETERS                                                                            \
    const ELEMENT *image, int64_t plane, const ELEMENT *weights, const int64_t *taps,              \
        int64_t count, int64_t from, int64_t lined, int64_t rows, int64_t columns, int64_t copy_w, \
        int64_t result_w, int64_t row, int64_t results, int64_t position, int64_t positions,       \
        void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),     \
        void *context
TEMPLATE void NAME(conv_rows_tile)(ROWS_PARAMETERS);
TEMPLATE void NAME(conv_rows_sum)(const ELEMENT *image, int64_t plane, const ELEMENT *weights,
                                  const int64_t *taps, int64_t count, int64_t from, int64_t lined,
                                  int64_t rows, int64_t columns, int64_t copy_w, VECTOR *out);

TEMPLATE void NAME(aml_conv_rows)(
    const SOURCE *source, const ELEMENT *packed, ELEMENT *copy, const int64_t *table,
    int64_t *image_at, int64_t groups, int64_t channels, int64_t from, int64_t to, int64_t taps,
    AXES(source), AXES(result), AXES(base), AXES(origin), AXES(copy), int64_t direct,
    int64_t block_rows, int64_t blocks, int64_t lined, int64_t tile_rows, int64_t tile_columns,
    int64_t half, int64_t unit_begin, int64_t unit_end,
#ifndef CONV_PAIRS
    PROLOGUE(prologue),
#endif
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),
    void *context)
{
    int64_t panels = (to + lined - 1) / lined, plane = copy_d * copy_h * copy_w;
    int64_t whole = result_w / (tile_columns * LANES) * tile_columns * LANES;
    int64_t rest = (result_w - whole + LANES - 1) / LANES;
    const int64_t *all = table + AML_CONV_TABLE;
    (void)result_d, (void)base_d;
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t begin = unit % blocks * block_rows, group = unit / blocks % groups;
        int64_t end = begin + block_rows < result_h ? begin + block_rows : result_h;
        *image_at = unit / blocks / groups;
        const SOURCE *at = NAME(conv_at)(
            source, unit / blocks * channels * source_d * source_h * source_w, half);
        const ELEMENT *image = (const ELEMENT *)(const void *)at;
        int64_t corner = origin_h;
        if (!direct) {
            corner += begin;
#ifndef CONV_PAIRS
            if (prologue)
                NAME(conv_copy_made)
            (prologue, context, *image_at, group * channels, channels, source_d, source_h, source_w,
             origin_d, corner, origin_w, copy_d, copy_h, copy_w, blocks > 1 || unit == unit_begin,
             copy);
            else
#endif
                NAME(aml_shared_conv_copy)
            (at, half, channels, source_d, source_h, source_w, origin_d, corner, origin_w, copy_d,
             copy_h, copy_w, blocks > 1 || unit == unit_begin, copy);
            image = copy;
        }
        image += (base_h - corner) * copy_w + base_w - origin_w;
        NO_UNROLL for (int64_t p = 0; p < panels; p++)
        {
            const ELEMENT *weights = packed + (group * panels + p) * lined * from * taps;
            int64_t row = group * to + p * lined, left = to - p * lined;
            int64_t results = left < lined ? left : lined, y = begin;
            NO_UNROLL for (; y + tile_rows <= end; y += tile_rows)
            {
                NO_UNROLL for (int64_t x = 0; x < whole; x += tile_columns * LANES)
                    NAME(conv_rows_tile)(image + y * copy_w + x, plane, weights, all, taps, from,
                                         lined, tile_rows, tile_columns, copy_w, result_w, row,
                                         results, y * result_w + x, result_w - x, epilogue,
                                         context);
                if (rest)
                    NAME(conv_rows_tile)
                (image + y * copy_w + whole, plane, weights, all, taps, from, lined, tile_rows,
                 rest, copy_w, result_w, row, results, y * result_w + whole, result_w - whole,
                 epilogue, context);
            }
            if (tile_rows == 1)
                continue;
            NO_UNROLL for (; y < end; y++)
            {
                NO_UNROLL for (int64_t x = 0; x < whole; x += tile_columns * LANES)
                    NAME(conv_rows_tile)(image + y * copy_w + x, plane, weights, all, taps, from,
                                         lined, 1, tile_columns, copy_w, result_w, row, results,
                                         y * result_w + x, result_w - x, epilogue, context);
                if (rest)
                    NAME(conv_rows_tile)
                (image + y * copy_w + whole, plane, weights, all, taps, from, lined, 1, rest,
                 copy_w, result_w, row, results, y * result_w + whole, result_w - whole, epilogue,
                 context);
            }
        }
    }
}

// `positions` are left in the row, the first of them is `position`.
TEMPLATE void NAME(conv_rows_tile)(ROWS_PARAMETERS)
{
    VECTOR hold[AML_CONV_LINED * AML_CONV_TILE];
    NAME(conv_rows_sum)
    (image, plane, weights, taps, count, from, lined, rows, columns, copy_w, hold);
    NO_UNROLL for (int64_t i = 0; i < results; i++)
    {
        NO_UNROLL for (int64_t y = 0; y < rows; y++)
        {
            const VECTOR *line = hold + (i * rows + y) * columns;
            NO_UNROLL for (int64_t j = 0; j < columns; j++)
            {
                int64_t left = positions - j * LANES;
                epilogue(context, row + i, position + y * result_w + j * LANES,
                         left < LANES ? (int)left : LANES, line[j]);
            }
        }
    }
}

TEMPLATE void NAME(conv_rows_sum)(const ELEMENT *image, int64_t plane, const ELEMENT *weights,
                                  const int64_t *taps, int64_t count, int64_t from, int64_t lined,
                                  int64_t rows, int64_t columns, int64_t copy_w, VECTOR *out)
{
    VECTOR sum[AML_CONV_LINED][4];
    EACH(i, AML_CONV_LINED, lined)
    {
        EACH(j, 4, rows * columns) sum[i][j] = (VECTOR){};
    }
    NO_UNROLL for (int64_t channel = 0; channel < from; channel++)
    {
        NO_UNROLL for (int64_t t = 0; t < count; t++)
        {
            const ELEMENT *at = image + taps[2 * t];
            VECTOR right[4];
            EACH(j, 4, rows * columns)
            right[j] = V(load)(at + j / columns * copy_w + j % columns * LANES);
            EACH(i, AML_CONV_LINED, lined)
            {
                VECTOR left = V(splat)(weights[i]);
                EACH(j, 4, rows * columns) sum[i][j] = V(fma)(left, right[j], sum[i][j]);
            }
            weights += lined;
        }
        image += plane;
    }
    EACH(i, AML_CONV_LINED, lined)
    {
        EACH(j, 4, rows * columns) out[i * rows * columns + j] = sum[i][j];
    }
}
#undef ROWS_PARAMETERS
