// Pictures: whatever the bytes are, JPEG and PNG readers answer with pixels or with a message.

#include <stdint.h>
#include <stdlib.h>

#include "runtime/data/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const amli_picture_rule rule[] = {{.height = 8,
                                              .width = 12,
                                              .channels = 3,
                                              .resize = AML_RESIZE_CROP,
                                              .most_pixels = 1 << 16},
                                             {.height = 70,
                                              .width = 3,
                                              .channels = 1,
                                              .resize = AML_RESIZE_FIT,
                                              .most_pixels = 1 << 14}};
    for (size_t i = 0; i < AMLI_COUNT(rule); i++) {
        amli_decoder decoder = {0};
        aml_error error = {0};
        size_t bytes = (size_t)(rule[i].height * rule[i].width * rule[i].channels);
        unsigned char *to = malloc(bytes);
        aml_status status = amli_picture_read(&decoder, data, size, &rule[i], to, &error);
        if (status && !error.text[0])
            __builtin_trap();
        free(to);
        amli_decoder_end(&decoder);
    }
    return 0;
}
