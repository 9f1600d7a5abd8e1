// conv_tiles_template.h: convolutions in tiles of AMX, included once for pairs of bf16
// (conv_pairs.c) and once for quads of bytes (quads.c); conv_tiles.h says how.
//
// What includes it defines NAME, VECTOR, SOURCE and ELEMENT (of source and copy), TILES_KIND.

#define AXES(name) int64_t name##_d, int64_t name##_h, int64_t name##_w
#define CONV_END                                                                                   \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),         \
        void *context

TEMPLATE void NAME(aml_shared_conv_copy)(const SOURCE *source, int64_t half, int64_t channels,
                                         AXES(source), AXES(origin), AXES(copy), int64_t around,
                                         ELEMENT *copy);
TEMPLATE void NAME(conv_tiles_block)(int64_t high, int64_t vectors, int64_t lines,
                                     int64_t positions, const ELEMENT *image, int64_t plane,
                                     const char *weights, const int64_t *taps, int64_t count,
                                     int64_t planes, int64_t words, int64_t rows, int64_t row,
                                     int64_t position, CONV_END);

// `lines` result channels, from `row` on, at a row of positions of the image.
HELPER void NAME(conv_tiles_row)(int64_t lines, int64_t wide, const ELEMENT *image, int64_t plane,
                                 const char *weights, const int64_t *taps, int64_t count,
                                 int64_t planes, int64_t words, int64_t rows, int64_t row,
                                 int64_t position, CONV_END)
{
    int64_t high = lines > AML_TILE ? 2 : 1, most = rows > AML_TILE ? 2 : 4, x = 0;
    NO_UNROLL for (; x + most * AML_TILE <= wide; x += most * AML_TILE)
        NAME(conv_tiles_block)(high, most, lines, most * AML_TILE, image + x, plane, weights, taps,
                               count, planes, words, rows, row, position + x, epilogue, context);
    int64_t rest = wide % (most * AML_TILE);
    if (rest)
        NAME(conv_tiles_block)
    (high, (rest + AML_TILE - 1) / AML_TILE, lines, rest, image + x, plane, weights, taps, count,
     planes, words, rows, row, position + x, epilogue, context);
}

// The parameters are those of aml_conv; those that say how registers are used are not read.
TEMPLATE void NAME(aml_conv_tiles)(const SOURCE *source, const ELEMENT *packed, ELEMENT *copy,
                                   const int64_t *table, int64_t *image_at, int64_t groups,
                                   int64_t channels, int64_t from, int64_t to, int64_t taps,
                                   AXES(source), AXES(result), AXES(phases), AXES(base), AXES(step),
                                   AXES(origin), AXES(copy), int64_t direct, int64_t block_axis,
                                   int64_t block_rows, int64_t blocks, int64_t vectors,
                                   int64_t pitch, int64_t tile_rows, int64_t tile_columns,
                                   int64_t half, int64_t depth, int64_t around,
                                   int64_t unit_begin, int64_t unit_end, CONV_END)
{
    int64_t rows = aml_conv_tiles_rows(to), words = aml_conv_tiles_words(from);
    int64_t planes = aml_conv_tiles_planes(from), plane = copy_d * copy_h * copy_w;
    int64_t block_bytes = rows * taps * planes * 4, row_blocks = (to + rows - 1) / rows;
    (void)phases_d, (void)phases_h, (void)phases_w;
    (void)direct, (void)vectors, (void)pitch, (void)tile_rows, (void)tile_columns, (void)depth;
    tiles_configure(rows, words);
    NO_UNROLL for (int64_t unit = unit_begin; unit < unit_end; unit++)
    {
        int64_t block = unit % blocks, group = unit / blocks % groups;
        *image_at = unit / blocks / groups;
        int64_t begin = block * block_rows, end = begin + block_rows;
        int64_t begin_d = block_axis == 0 ? begin : 0, end_d = block_axis == 0 ? end : result_d;
        int64_t begin_h = block_axis == 1 ? begin : 0, end_h = block_axis == 1 ? end : result_h;
        end_d = end_d < result_d ? end_d : result_d;
        end_h = end_h < result_h ? end_h : result_h;
        int64_t corner_d = origin_d + begin_d * step_d, corner_h = origin_h + begin_h * step_h;
        NAME(aml_shared_conv_copy)
        (source + unit / blocks * channels * source_d * source_h * source_w, half, channels,
         source_d, source_h, source_w, corner_d, corner_h, origin_w, copy_d, copy_h, copy_w,
         blocks > 1 || (around && unit == unit_begin), copy);
        if (TILES_KIND == TILES_PAIRS) { // what may lie there could be infinite
            NO_UNROLL for (int64_t i = from * plane; i < planes * plane; i++) copy[i] = 0;
        }
        const char *weights = (const char *)packed + group * row_blocks * block_bytes;
        NO_UNROLL for (int64_t z = begin_d; z < end_d; z++)
        {
            NO_UNROLL for (int64_t y = begin_h; y < end_h; y++)
            {
                int64_t place_d = (z + base_d) * step_d - corner_d;
                int64_t place_h = (y + base_h) * step_h - corner_h;
                const ELEMENT *image =
                    copy + (place_d * copy_h + place_h) * copy_w + base_w * step_w - origin_w;
                int64_t position = (z * result_h + y) * result_w, channel = 0;
                NO_UNROLL for (; channel + rows <= to; channel += rows) NAME(conv_tiles_row)(
                    rows, result_w, image, plane, weights + channel / rows * block_bytes,
                    table + AML_CONV_TABLE, taps, planes, words, rows, group * to + channel,
                    position, epilogue, context);
                if (to % rows)
                    NAME(conv_tiles_row)
                (to % rows, result_w, image, plane, weights + channel / rows * block_bytes,
                 table + AML_CONV_TABLE, taps, planes, words, rows, group * to + channel, position,
                 epilogue, context);
            }
        }
    }
    _tile_release();
}

TEMPLATE void NAME(conv_tiles_block)(int64_t high, int64_t vectors, int64_t lines,
                                     int64_t positions, const ELEMENT *image, int64_t plane,
                                     const char *weights, const int64_t *taps, int64_t count,
                                     int64_t planes, int64_t words, int64_t rows, int64_t row,
                                     int64_t position, CONV_END)
{
    VECTOR out[4 * AML_TILE];
    tiles_zero((int)high, vectors);
    NO_UNROLL for (int64_t t = 0; t < count; t++)
    {
        const ELEMENT *at = image + taps[2 * t];
        NO_UNROLL for (int64_t p = 0; p < planes; p += words)
        {
            tiles_step(TILES_KIND, (int)high, vectors, weights, words * 4, (const char *)at,
                       plane * 4);
            weights += rows * words * 4;
            at += words * plane;
        }
    }
    tiles_store((int)high, vectors, (char *)out);
    NO_UNROLL for (int64_t i = 0; i < lines; i++)
    {
        NO_UNROLL for (int64_t j = 0; j < vectors; j++)
        {
            int64_t left = positions - j * AML_TILE;
            epilogue(context, row + i, position + j * AML_TILE,
                     (int)(left < AML_TILE ? left : AML_TILE), out[i * vectors + j]);
        }
    }
}

#undef AXES
#undef CONV_END
