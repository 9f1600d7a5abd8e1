// Prepared fields that look like pictures.

#include <math.h>
#include <stdlib.h>

#include "runtime/base/png.h"
#include "runtime/job/job.h"

int amli_picture_field(const aml_dataset *dataset)
{
    for (int i = 0; i < dataset->prepare.outputs; i++) {
        const aml_tensor_info *info = &dataset->prepare.output[i];
        const aml_shape *shape = &info->shape;
        bool two = shape->rank == 2,
             three = shape->rank == 3 && (shape->dim[0] == 1 || shape->dim[0] == 3);
        if (info->classes > 0 || (!two && !three))
            continue;
        int64_t h = shape->dim[shape->rank - 2], w = shape->dim[shape->rank - 1];
        if (h >= 8 && w >= 8 && h <= 1024 && w <= 1024 && 4 * h >= w && 4 * w >= h)
            return i;
    }
    return -1;
}

void amli_picture_png(const aml_tensor_info *info, const void *at, amli_picture *picture,
                      amli_buffer *png)
{
    const aml_shape *shape = &info->shape;
    int64_t h = shape->dim[shape->rank - 2], w = shape->dim[shape->rank - 1], plane = h * w;
    int channels = shape->rank == 3 ? (int)shape->dim[0] : 1;
    double low = INFINITY, high = -INFINITY;
    *picture = (amli_picture){(int)w, (int)h, channels};
    for (int64_t i = 0; i < plane * channels; i++) {
        double value = amli_element(info->dtype, at, i);
        if (isfinite(value))
            low = fmin(low, value), high = fmax(high, value);
    }
    uint8_t *pixel = malloc((size_t)(plane * channels) + 1);
    for (int64_t i = 0; pixel && i < plane; i++)
        for (int c = 0; c < channels; c++) {
            double value = amli_element(info->dtype, at, c * plane + i);
            double share = high > low && isfinite(value) ? (value - low) / (high - low) : 0;
            pixel[i * channels + c] = (uint8_t)lround(share * 255);
        }
    if (pixel)
        amli_png(png, pixel, (int)w, (int)h, channels);
    png->failed = png->failed || !pixel;
    free(pixel);
}
