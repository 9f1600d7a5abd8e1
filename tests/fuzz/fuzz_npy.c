// Arrays of NumPy: any bytes give a table or an error that says where.

#include "table.h"

static const aml_field reals[] = {{.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {3}}},
                                   .count = 3}},
                       whole[] = {
                           {.tensor = {.name = "y", .dtype = AML_I32, .classes = 4}, .count = 1}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_table(data, size, AML_SOURCE_NPY, &amli_source_npy, reals, 1, AML_ON_BAD_ERROR);
    fuzz_table(data, size, AML_SOURCE_NPY, &amli_source_npy, whole, 1, AML_ON_BAD_SKIP);
    return 0;
}
