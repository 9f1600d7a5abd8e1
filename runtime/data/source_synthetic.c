// Rows that a compiled function makes: row i is a function of (seed, i) alone.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/source.h"

typedef struct Synthetic {
    amli_preparer preparer;
    int64_t at;
} Synthetic;

static aml_status open_synthetic(amli_reading *reading, aml_error *error)
{
    const aml_function *generate = &reading->source->generate;
    Synthetic *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, "the data");
    bool fits = generate->run && generate->outputs == reading->dataset->fields;
    for (int i = 0; fits && i < generate->outputs; i++)
        fits = amli_tensor_bytes(&generate->output[i]) == reading->unit_bytes[i];
    if (!fits)
        return amli_fail(error, AML_INTERNAL, "the source of '%s' does not make its fields",
                         reading->dataset->name);
    return amli_preparer_new(generate, &own->preparer, error);
}

static bool check_classes(const amli_reading *reading, void *const to[], int64_t row,
                          aml_error *error)
{
    for (int i = 0; i < reading->dataset->fields; i++) {
        const aml_tensor_info *tensor = &reading->dataset->field[i].tensor;
        size_t size = aml_dtype_bytes(tensor->dtype);
        for (size_t k = 0; tensor->classes > 0 && k < reading->unit_bytes[i] / size; k++) {
            int64_t value = 0;
            memcpy(&value, (const char *)to[i] + k * size, size);
            value = size == 4 ? (int32_t)value : value;
            if (value >= 0 && value < tensor->classes)
                continue;
            amli_fail(error, AML_BAD_DATA,
                      "%s: row %lld, field '%s': expected a class in 0..%lld, found %lld",
                      reading->source->place, (long long)row, tensor->name,
                      (long long)tensor->classes - 1, (long long)value);
            return false;
        }
    }
    return true;
}

static amli_row next_synthetic(amli_reading *reading, void *const to[], aml_error *error)
{
    Synthetic *own = reading->own;
    const aml_function *generate = &reading->source->generate;
    if (own->at == reading->source->rows)
        return AMLI_ROW_END;
    int64_t row = own->at++;
    for (int i = 0; i < generate->scalars; i++)
        own->preparer.scalar[i].whole =
            generate->scalar[i].kind == AML_SCALAR_SEED ? reading->source->seed : row;
    amli_prepare(&own->preparer, NULL, to);
    return check_classes(reading, to, row, error) ? AMLI_ROW_READ : AMLI_ROW_BAD;
}

static void close_synthetic(amli_reading *reading)
{
    Synthetic *own = reading->own;
    if (own)
        amli_preparer_free(&own->preparer);
    free(own);
}

const amli_source_kind amli_source_synthetic = {
    .name = "synthetic", .open = open_synthetic, .next = next_synthetic, .close = close_synthetic};
