// depthwise.h: the gradient for the weights of a convolution with one channel to a group, over two
// axes; depthwise.c holds the template.
//
// It is a few sums, one for each tap, over images and positions. Lanes are neighbouring positions,
// and rows are short. So a plane is copied with its padding and its rows, one behind the other, are
// taken as one long row; those of dy lie as far apart, with zeros between them:
//
//     copy     0 0 0 0 0 0        pitch = width + kernel - 1 (stride 1)
//              0 a b c d 0
//              0 e f g h 0        dy  p q r s 0 0  t u v w 0 0
//              ...                sum[tap] += dy[i] * copy[i + place of the tap]
//
// With a stride the copy has a plane for each row and column of a stride, so that a tap still reads
// neighbours.

#ifndef AML_KERNELS_CPU_DEPTHWISE_H
#define AML_KERNELS_CPU_DEPTHWISE_H

#include "conv.h"

enum {
    AML_DEPTHWISE_STRIDE = 2, // at most
    AML_DEPTHWISE_TAPS = 25,  // sums in registers
};

// Sizes that follow from those of the convolution, for planner and template alike.
typedef struct AmlDepthwise {
    int64_t pitch, plane; // of the copy: its rows; elements from one plane to the next
    int64_t flat;         // of dy in its rows: elements, in whole registers
    size_t copy_elements, scratch_bytes;
} AmlDepthwise;

static inline AmlDepthwise aml_depthwise_sizes(int64_t rows, int64_t columns, int64_t kernel_h,
                                               int64_t kernel_w, int64_t stride, int64_t dilation_h,
                                               int64_t dilation_w, int64_t lanes)
{
    AmlDepthwise d;
    int64_t down = (kernel_h - 1) * dilation_h / stride,
            right = (kernel_w - 1) * dilation_w / stride;
    d.pitch = columns + right;
    d.flat = aml_ceil_div(rows * d.pitch, lanes) * lanes;
    // Whole registers are read and written beyond the last row.
    d.plane = aml_ceil_div((rows + down) * d.pitch + right + 3 * lanes, 16) * 16;
    // Rows are taken apart from one that is whole.
    int64_t row = stride > 1 ? aml_ceil_div((d.pitch + 1) * stride + 4 * lanes, 16) * 16 : 0;
    d.copy_elements = (size_t)(stride * stride * d.plane + row);
    d.scratch_bytes = ((d.copy_elements + (size_t)(d.flat + 2 * lanes)) * 4 + 63) / 64 * 64;
    return d;
}

#endif
