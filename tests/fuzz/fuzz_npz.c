// Archives of NumPy's arrays: any bytes give a table or an error that says where.

#include "table.h"

static const aml_field field[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {3}}}, .key = "x", .count = 3},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 4}, .key = "y", .count = 1}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_table(data, size, AML_SOURCE_NPZ, &amli_source_npz, field, 2, AML_ON_BAD_ERROR);
    fuzz_table(data, size, AML_SOURCE_NPZ, &amli_source_npz, field, 1, AML_ON_BAD_SKIP);
    return 0;
}
