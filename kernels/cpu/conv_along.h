// conv_along.h: the gradient for the weights of a convolution of bf16 whose lanes are positions
// (conv_along.c): when it is computed so, and in which pieces.
//
// Where lanes are result channels (conv.h) the slopes have to be turned around, and a partner of
// each element comes from another image. Here a register is 32 positions of one channel's slopes as
// they lie in memory, which are pairs already, times as many elements of the source, each what a
// tap reads for its position. A weight's gradient is the sum of a register then:
//
//                      place 0 .. 5: a channel of the source and a tap
//                      x [ 32 positions ]  x [ .. ]  ..
//     dy [ 32 positions ]   sum              sum          a tile: `along` result channels
//     dy [     ..       ]   sum              sum          by 24 / along places
//
// So that a tap reads positions that lie side by side, the source is copied once for each column of
// the kernel: moved by that column, with the padding, and with the columns of the result alone.
// Rows of a tap are rows of the copy, whichever these are:
//
//     source  a b c d      columns of a kernel of 3, padded by 1:   0 a b c   a b c d   b c d 0
//             e f g h                                               0 e f g   e f g h   f g h 0
//
// A part has some channels of the source and some of the images (`split`), of which as many are
// taken at a time as stay in the cache; the registers of sums wait for the others in scratch.

#ifndef AML_KERNELS_CPU_CONV_ALONG_H
#define AML_KERNELS_CPU_CONV_ALONG_H

#include "conv.h"

enum {
    AML_ALONG_LANES = 32,
    AML_ALONG_SUMS = 24,        // registers of a tile
    AML_ALONG_COPY = 24 * 1024, // bytes of the copies and of the slopes that a tile reads, about
    AML_ALONG_SLOPES = 16 * 1024,
    AML_ALONG_MOST = 256 * 1024, // bytes of the copy of one image
    AML_ALONG_WIDTH = 16 * 1024  // of a row, at most
};

// Rows of the copy in front of those of the result, if a tap reads the last of the kernel's.
static inline int64_t aml_along_reach(int64_t kernel, int64_t dilation, int64_t stride)
{
    return (kernel - 1) * dilation / stride;
}

// Elements of a copy of one column of the kernel and one row of the stride, of one image. Whole
// registers are stored.
static inline int64_t aml_along_plane(int64_t rows, int64_t columns)
{
    return aml_ceil_div(rows * columns, AML_ALONG_LANES) * AML_ALONG_LANES + AML_ALONG_LANES;
}

// Cycles for each image, about, of a processor that multiplies two registers in each, and loads
// two. `chunk` and `images` are chosen as well.
static inline double aml_along_time(AmlConvWeight *c, int64_t rows)
{
    enum { ENDS = 27, MOVED = 2, MOST_CHANNELS = 12 };
    int64_t places = AML_ALONG_SUMS / rows, taps = aml_conv_all(c->kernel);
    int64_t registers = aml_ceil_div(aml_conv_all(c->result), AML_ALONG_LANES);
    int64_t each = c->images / c->split;
    int64_t image = aml_along_plane(c->copy[1], c->copy[2]) * c->kernel[2] * c->stride[1] * 2;
    double best = -1;
    for (int64_t chunk = 1; chunk <= c->from && chunk <= MOST_CHANNELS; chunk++) {
        if (chunk > 1 && !c->direct && chunk * image > AML_ALONG_MOST)
            break;
        int64_t fit = c->direct ? each : AML_ALONG_COPY / (chunk * image);
        int64_t beside = AML_ALONG_SLOPES / (rows * aml_conv_all(c->result) * 2);
        fit = fit < beside ? fit : beside;
        fit = fit < 1 ? 1 : fit > each ? each : fit;
        int64_t blocks = aml_ceil_div(each, fit), images = aml_ceil_div(each, blocks);
        int64_t tiles = c->from / chunk * aml_ceil_div(chunk * taps, places) +
                        aml_ceil_div(c->from % chunk * taps, places);
        tiles *= aml_ceil_div(c->to, rows);
        double time = (double)tiles *
                      ((double)registers * (AML_ALONG_SUMS / 2) + (double)ENDS / (double)images);
        if (best >= 0 && time >= best * 0.99)
            continue;
        best = time;
        c->channel_chunk = chunk;
        c->block_images = images;
    }
    double copied = (double)(c->from * c->kernel[2] * c->copy[1] * c->stride[1]) *
                    (double)aml_ceil_div(c->copy[2] * c->stride[2], AML_ALONG_LANES) * MOVED;
    return best + (c->direct ? 0 : copied);
}

// The same for lanes that are channels, by pairs of images.
static inline double aml_along_instead(const AmlConvWeight *c)
{
    enum { TURN = 52, MOVED = 4 };
    double vectors = (double)aml_ceil_div(c->to, c->lanes);
    double positions = (double)aml_conv_all(c->result);
    double products = vectors * positions * (double)(c->from * aml_conv_all(c->kernel)) / 4;
    double rows = (double)(c->from * c->source[1]) * (double)aml_ceil_div(c->source[2], c->lanes);
    bool odd = c->images / c->split % 2; // one image has no partner
    double share = odd ? (double)(c->images / c->split + 1) / (double)(c->images / c->split) : 1;
    return (products * 1.08 + vectors * positions / (double)c->lanes * TURN) * share +
           rows * MOVED / 2;
}

// False: it is not so.
static inline bool aml_conv_along_plan(AmlConvWeight *c, bool flat)
{
    c->along = 0;
    if (c->half != AML_HALF_PAIRS || c->lanes != AML_ALONG_LANES / 2 || c->source[0] != 1 ||
        c->result[0] != 1 || c->kernel[0] != 1 || c->low[0] != 0 || c->stride[2] > 2)
        return false;
    c->direct = flat;
    c->copy[0] = 1;
    c->copy[1] = c->result[1] + aml_along_reach(c->kernel[1], c->dilation[1], c->stride[1]);
    c->copy[2] = c->result[2];
    int64_t reach = (c->kernel[2] - 1) * c->dilation[2];
    int64_t plane = aml_along_plane(c->copy[1], c->copy[2]);
    if (!flat && (c->source[2] + reach > AML_ALONG_WIDTH || c->low[2] > AML_ALONG_WIDTH ||
                  c->result[2] * c->stride[2] > AML_ALONG_WIDTH ||
                  plane * c->kernel[2] * c->stride[1] * 2 > AML_ALONG_MOST))
        return false;
    // Measured over shapes, what is read from further away makes it up to that much slower.
    double best = aml_along_instead(c) / 1.25;
    for (int64_t rows = 4; rows <= 6; rows += 2) {
        AmlConvWeight try = *c;
        double time = aml_along_time(&try, rows);
        if (time >= best)
            continue;
        best = time;
        *c = try;
        c->along = rows;
    }
    if (!c->along)
        return false;
    int64_t taps = aml_conv_all(c->kernel), places = AML_ALONG_SUMS / c->along;
    c->channel_parts = aml_ceil_div(c->from, c->channel_chunk);
    c->parts = c->groups * c->split * c->channel_parts;
    c->part_chunk = aml_ceil_div(c->parts, 2 * AML_CONV_PARTS);
    int64_t copied = c->channel_chunk * c->kernel[2] * c->block_images * c->stride[1] * plane;
    c->copy_elements = c->direct ? 0 : aml_ceil_div(copied, AML_ALONG_LANES) * c->lanes;
    int64_t tiles = aml_ceil_div(c->channel_chunk * taps, places) * aml_ceil_div(c->to, c->along);
    int64_t kept = c->block_images < c->images / c->split ? tiles * AML_ALONG_SUMS * c->lanes : 0;
    c->scratch_bytes = (size_t)((c->copy_elements + kept) * c->bytes + 64);
    return true;
}

#endif
