// An array of NumPy as input of a deployed program that reads one field of numbers: its first axis
// counts the samples.

#include <string.h>

#include "runtime/artifact/serving.h"
#include "runtime/data/npy.h"

typedef struct Array {
    amli_npy array;
    const char *elements;
} Array;
_Static_assert(sizeof(Array) <= READER_ROOM, "");

static bool is_array(const char *text, size_t length)
{
    return length >= 6 && memcmp(text, "\x93NUMPY", 6) == 0;
}

static aml_status open_array(const aml_artifact *artifact, const char *path, const char *bytes,
                             size_t length, void *own, int64_t *rows, aml_error *error)
{
    const aml_dataset no_windows = {0};
    Array *array = own;
    array->array.path = path;
    aml_status status = amli_npy_read(&array->array, bytes, length, error);
    if (!status)
        status = amli_npy_bind(&array->array, &no_windows, &artifact->field[0], error);
    if (status)
        return status;
    size_t needed = array->array.head + amli_npy_bytes(&array->array);
    if (needed != length)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected %zu bytes, as its header says, found %zu", path, needed,
                         length);
    array->elements = bytes + array->array.head;
    *rows = array->array.samples;
    return AML_OK;
}

static aml_status read_array(const aml_artifact *artifact, void *own, int64_t row,
                             void *const field[], aml_error *error)
{
    const Array *array = own;
    const aml_source source = {.keeps_nan = artifact->missing & 1};
    return amli_npy_decode(&array->array, &source, &artifact->field[0], array->elements, 0, row,
                           field[0], error)
               ? AML_OK
               : AML_BAD_DATA;
}

static void end_array(void *own)
{
    (void)own;
}

const amli_file_reader amli_npy_files = {
    .what = "arrays of NumPy (npy)",
    .recognize = is_array,
    .open = open_array,
    .read = read_array,
    .end = end_array,
};
