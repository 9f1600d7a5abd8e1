// The safetensors reader: any bytes give tensors that lie inside the file, or an error.

#include <string.h>

#include "aml/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aml_tensors *tensors = NULL;
    aml_error error = {0};
    if (aml_tensors_parse("fuzz", data, size, &tensors, &error) != AML_OK) {
        if (!error.text[0] || tensors)
            __builtin_trap();
        return 0;
    }
    volatile unsigned sum = 0;
    for (int32_t i = 0; i < aml_tensors_count(tensors); i++) {
        const unsigned char *at = aml_tensors_data(tensors, i);
        size_t bytes = aml_tensors_bytes(tensors, i);
        for (size_t b = 0; b < bytes; b++) // every byte, for the address sanitizer
            sum += at[b];
        if (aml_tensors_find(tensors, aml_tensors_info(tensors, i)->name) < 0)
            __builtin_trap();
    }
    aml_tensors_close(tensors);
    return 0;
}
