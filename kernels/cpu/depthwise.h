// depthwise.h: convolutions of one channel to a group, over two axes; depthwise.c holds the
// templates.
//
// Lanes are neighbouring positions, and rows are short. So a plane is copied with its padding, and
// its rows one behind the other are taken as one long row: of the sums of which the last
// `pitch - width` of each row belong to no position.
//
//     copy     0 0 0 0 0 0        pitch = width + kernel - 1 (stride 1)
//              0 a b c d 0        sum[p] = w[0] * copy[p] + w[1] * copy[p + 1] + ...
//              0 e f g h 0               + w[3] * copy[p + pitch] + ...
//              ...
//
// With a stride the copy has a plane for each row and column of a stride, so that a tap still reads
// neighbours. The gradient for the input, of stride 1, is the same with the weights turned around.

// With AVX-512 and a stride of 1, where rows of the result are as long as those of the source,
// nothing is copied: of a register of neighbouring positions each tap reads neighbours, and a mask
// says which of them lie inside. There is a mask for each register and tap, made when compiling.

#ifndef AML_KERNELS_CPU_DEPTHWISE_H
#define AML_KERNELS_CPU_DEPTHWISE_H

#include "conv.h"

enum {
    AML_DEPTHWISE_STRIDE = 2, // at most
    AML_DEPTHWISE_TAPS = 25,  // of the gradient for the weights: sums in registers
    AML_DEPTHWISE_VECTORS = 4,
    AML_DEPTHWISE_MASKED = 9,   // taps that are read by masks, at most: weights stay in registers
    AML_DEPTHWISE_BLOCK = 1024, // elements of a block of sums, about
};

// Sizes that follow from those of the convolution, for planner and kernels alike.
typedef struct AmlDepthwise {
    int64_t pitch, plane; // of the copy: its rows; elements from one plane to the next
    int64_t block_rows;   // of the result
    int64_t flat;         // sums of a block, in whole registers
    size_t copy_elements, scratch_bytes, weight_scratch_bytes;
} AmlDepthwise;

// Whether a plane is read by masks: small ones; in others few registers reach over an edge.
static inline bool aml_depthwise_masks(const AmlConv *c)
{
    return c->lanes == 16 && c->stride[2] == 1 && c->result[2] == c->source[2] &&
           c->kernel[1] * c->kernel[2] <= AML_DEPTHWISE_MASKED &&
           c->result[1] * c->result[2] <= 4096;
}

// The masks: of register v and tap t number v * taps + t.
static inline void aml_depthwise_mask(const AmlConv *c, uint16_t mask[])
{
    int64_t all = c->result[1] * c->result[2], next = 0;
    for (int64_t first = 0; first < all; first += 16)
        for (int64_t i = 0; i < c->kernel[1]; i++)
            for (int64_t j = 0; j < c->kernel[2]; j++, next++) {
                mask[next] = 0;
                for (int64_t p = first; p < first + 16 && p < all; p++) {
                    int64_t y = p / c->result[2] + i * c->dilation[1] - c->low[1],
                            x = p % c->result[2] + j * c->dilation[2] - c->low[2];
                    if (y >= 0 && y < c->source[1] && x >= 0 && x < c->source[2])
                        mask[next] |= (uint16_t)(1 << (p - first));
                }
            }
}

static inline AmlDepthwise aml_depthwise_sizes(int64_t rows, int64_t columns, int64_t kernel_h,
                                               int64_t kernel_w, int64_t stride, int64_t dilation_h,
                                               int64_t dilation_w, int64_t lanes)
{
    AmlDepthwise d;
    int64_t down = (kernel_h - 1) * dilation_h / stride,
            right = (kernel_w - 1) * dilation_w / stride;
    d.pitch = columns + right;
    d.block_rows = AML_DEPTHWISE_BLOCK / d.pitch;
    if (d.block_rows < 1)
        d.block_rows = 1;
    if (d.block_rows > rows)
        d.block_rows = rows;
    d.flat = (d.block_rows * d.pitch + lanes - 1) / lanes * lanes;
    // The last block's registers reach beyond the last row.
    d.plane = ((rows + down) * d.pitch + right + d.flat + 2 * lanes + 15) / 16 * 16;
    // Rows are taken apart from one that is whole.
    int64_t row = stride > 1 ? ((d.pitch + 1) * stride + 4 * lanes + 15) / 16 * 16 : 0;
    d.copy_elements = (size_t)(stride * stride * d.plane + row);
    d.scratch_bytes = (d.copy_elements + (size_t)(d.flat + d.block_rows * columns + 4 * lanes)) * 4;
    d.scratch_bytes = (d.scratch_bytes + 63) / 64 * 64;
    d.weight_scratch_bytes = (d.copy_elements + (size_t)(rows * d.pitch + 4 * lanes)) * 4;
    d.weight_scratch_bytes = (d.weight_scratch_bytes + 63) / 64 * 64;
    return d;
}

#endif
