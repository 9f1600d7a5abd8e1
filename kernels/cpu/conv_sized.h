// conv_sized.h: a convolution of bytes whose sizes are data; conv_sized.c is the code.
//
// The templates of conv_template.h are compiled for each shape anew. Of a deployed network's code
// that is the larger part, though only the innermost loop over a tile gains by it. Here that loop
// is a function for each shape of tile, which layers of different sizes have in common; all around
// it exists once, and what is made of the sums is a function of the layer. Sizes are read from a
// constant:
//
//     aml_conv_sized (once)  ->  tile (one for each tile)  ->  sums of a tile
//                            ->  lines (of the layer)      ->  results of a register of channels
//
// A tile may reach beyond the end of its row, so a row needs no second tile for its rest: what is
// beyond is computed and left out.

#ifndef AML_KERNELS_CPU_CONV_SIZED_H
#define AML_KERNELS_CPU_CONV_SIZED_H

#include "conv.h"

typedef struct AmlConvSized {
    int32_t groups, channels, from, to, taps;
    int32_t source_h, source_w, result_h, result_w;
    int32_t step_h, step_w, origin_h, origin_w, copy_h, copy_w;
    int32_t block_rows, blocks, vectors, pitch, tile_rows, tile_columns;
    int32_t tap[]; // its offset in the copy
} AmlConvSized;

// Whether a convolution can be computed so; one that is not over two axes is not.
static inline bool aml_conv_is_sized(const AmlConv *c)
{
    return c->quads && !c->in_tiles && !c->input && !c->kept && !c->depth && !c->direct &&
           !c->last && c->block_axis == 1 && c->source[0] * c->result[0] * c->kernel[0] == 1 &&
           c->low[0] == 0 && aml_conv_all(c->phases) == 1;
}

static inline size_t aml_conv_sized_bytes(const AmlConv *c)
{
    return sizeof(AmlConvSized) + (size_t)c->taps * sizeof(int32_t);
}

// `table`: by aml_conv_table.
static inline void aml_conv_sized(const AmlConv *c, const int64_t table[], AmlConvSized *out)
{
    *out = (AmlConvSized){.groups = (int32_t)c->groups,
                          .channels = (int32_t)c->channels,
                          .from = (int32_t)c->from,
                          .to = (int32_t)c->to,
                          .taps = (int32_t)c->taps,
                          .source_h = (int32_t)c->source[1],
                          .source_w = (int32_t)c->source[2],
                          .result_h = (int32_t)c->result[1],
                          .result_w = (int32_t)c->result[2],
                          .step_h = (int32_t)c->step[1],
                          .step_w = (int32_t)c->step[2],
                          .origin_h = (int32_t)c->origin[1],
                          .origin_w = (int32_t)c->origin[2],
                          .copy_h = (int32_t)c->copy[1],
                          .copy_w = (int32_t)c->copy[2],
                          .block_rows = (int32_t)c->block_rows,
                          .blocks = (int32_t)c->blocks,
                          .vectors = (int32_t)c->vectors,
                          .pitch = (int32_t)c->pitch,
                          .tile_rows = (int32_t)c->tile_rows,
                          .tile_columns = (int32_t)c->tile_columns};
    for (int64_t t = 0; t < c->taps; t++)
        out->tap[t] = (int32_t)table[AML_CONV_TABLE + 2 * t];
}

#endif
