// A picture as input of a deployed program. Only tables of programs whose data are pictures name
// what is here, so that others are not linked with decoders.

#include <stdlib.h>

#include "runtime/artifact/serving.h"
#include "runtime/data/picture.h"

static aml_status read_picture(const aml_artifact *artifact, const char *bytes, size_t length,
                               void *const field[], aml_error *error)
{
    amli_decoder decoder = {0};
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *tensor = &artifact->field[i].tensor;
        if (tensor->dtype != AML_U8 || tensor->shape.rank < 2)
            continue; // what predict reads of a data set of pictures is the picture alone
        const amli_picture_rule rule = {.height = tensor->shape.dim[0],
                                        .width = tensor->shape.dim[1],
                                        .channels =
                                            tensor->shape.rank == 3 ? (int)tensor->shape.dim[2] : 1,
                                        .resize = artifact->resize,
                                        .background = artifact->background,
                                        .most_pixels = artifact->most_pixels};
        aml_status status = amli_picture_read(&decoder, bytes, length, &rule, field[i], error);
        amli_decoder_end(&decoder);
        return status;
    }
    return amli_fail(error, AML_INTERNAL, "no field of '%s' is a picture", artifact->name);
}

const amli_picture_reader amli_picture_files = {amli_is_picture, read_picture};
