// conv_tiles.h: convolutions of bytes and of bf16 in tiles of AMX (conv_tiles_template.h): when
// they are, and how their weights are packed.
//
// Here the weights are the left side: a tile of rows of result channels by words of channels of the
// source, for one tap. The right side is the copy of the image as quads.c and conv_pairs.c make it,
// a plane for each quad or pair of channels: sixteen planes by sixteen neighbouring positions. So
// sums have channels as
// rows and positions as columns, which is how the epilogue takes them:
//
//                    positions ->
//     weights        plane q      [ x  x+1 .. x+15 ]       for each tap, which moves x and the row,
//     [ channel ]    plane q + 1  [ x  x+1 .. x+15 ]       and each sixteen planes
//     [   ...   ]      ...
//
// Planes beyond the last one are room behind the copy: what lies there is multiplied by zeros. With
// less than sixteen planes tiles are lower instead.

#ifndef AML_KERNELS_CPU_CONV_TILES_H
#define AML_KERNELS_CPU_CONV_TILES_H

#include "conv.h"

// Result channels that are computed at once.
static inline int64_t aml_conv_tiles_rows(int64_t to)
{
    return to > AML_TILE ? 2 * AML_TILE : AML_TILE;
}

static inline int64_t aml_conv_tiles_words(int64_t from)
{
    return from < AML_TILE ? from : AML_TILE;
}

static inline int64_t aml_conv_tiles_planes(int64_t from)
{
    int64_t words = aml_conv_tiles_words(from);
    return aml_ceil_div(from, words) * words;
}

// Tiles take a plan of aml_conv_plan over if neighbouring positions are neighbours in the image and
// an eighth of what is multiplied is of use: a tile does sixteen times what a register does. False:
// the plan stays as it is.
static inline bool aml_conv_in_tiles(AmlConv *c)
{
    enum { LEAST_SHARE = 8, LEAST_WORDS = 4 };
    if ((!c->quads && c->half != AML_HALF_PAIRS) || c->lanes != AML_TILE || c->depth || c->last ||
        c->step[2] != 1 || aml_conv_all(c->phases) != 1 || c->from < LEAST_WORDS)
        return false;
    double wanted = (double)c->to * (double)c->from * (double)c->result[2];
    double done = (double)(aml_ceil_div(c->to, AML_TILE) * AML_TILE) *
                  (double)(aml_ceil_div(c->from, AML_TILE) * AML_TILE) *
                  (double)(aml_ceil_div(c->result[2], AML_TILE) * AML_TILE);
    if (wanted * LEAST_SHARE < done)
        return false;
    int64_t planes = aml_conv_tiles_planes(c->from), rows = aml_conv_tiles_rows(c->to);
    c->in_tiles = true;
    c->lined = 0;
    c->kept = 0; // rows of positions are what is stored
    c->copy_bytes =
        (size_t)(aml_ceil_div(planes * aml_conv_all(c->copy) + c->lanes, AML_TILE) * 64);
    c->packed_bytes = (size_t)(c->groups * aml_ceil_div(c->to, rows) * rows * c->taps * planes * 4);
    return true;
}

static inline int64_t aml_conv_tiles_blocks(const AmlConv *c)
{
    return c->groups * aml_ceil_div(c->to, aml_conv_tiles_rows(c->to));
}

// The weights, `each` of them in a word, in the order in which they are read: for each group and
// each block of rows, begin..end of all, each tap and each sixteen words, rows of these words. What
// is not there is zero. conv: weights [group, to, channels, kernel]; conv_input: [group, channels,
// to, kernel].
static inline __attribute__((always_inline)) void
aml_conv_tiles_pack(int64_t begin, int64_t end, int64_t each, bool input, int64_t channels,
                    int64_t from, int64_t to, int64_t taps, const int64_t *table,
                    const void *weights, void *packed)
{
    int64_t rows = aml_conv_tiles_rows(to), words = aml_conv_tiles_words(from), bytes = 4 / each;
    int64_t blocks = aml_ceil_div(to, rows), planes = aml_conv_tiles_planes(from);
    for (int64_t block = begin; block < end; block++) {
        int64_t group = block / blocks, first = block % blocks * rows;
        unsigned char *out = (unsigned char *)packed + block * rows * taps * planes * 4;
        for (int64_t tap = 0; tap < taps; tap++) {
            int64_t place = table[AML_CONV_TABLE + 2 * tap + 1];
            for (int64_t word = 0; word < from; word += words)
                for (int64_t row = first; row < first + rows; row++)
                    for (int64_t channel = each * word; channel < each * (word + words);
                         channel++, out += bytes) {
                        int64_t at = input ? (group * channels + channel) * to + row
                                           : (group * to + row) * channels + channel;
                        const unsigned char *in =
                            (const unsigned char *)weights + (at * taps + place) * bytes;
                        if (row < to && channel < channels)
                            __builtin_memcpy(out, in, (size_t)bytes);
                        else
                            __builtin_memset(out, 0, (size_t)bytes);
                    }
        }
    }
}

#endif
