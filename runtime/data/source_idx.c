// The idx format of MNIST: two zero bytes, the type of an element, the number of axes, the size of
// each axis (4 bytes), then the elements; all numbers begin with their highest byte. The first axis
// counts the samples.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/source.h"

typedef enum { FORM_NONE, FORM_U8, FORM_I8, FORM_I16, FORM_I32, FORM_F32, FORM_F64 } Form;

static const struct {
    const char *name;
    unsigned char code;
    int bytes;
} form_info[] = {
    [FORM_U8] = {"u8", 0x08, 1},   [FORM_I8] = {"i8", 0x09, 1},   [FORM_I16] = {"i16", 0x0B, 2},
    [FORM_I32] = {"i32", 0x0C, 4}, [FORM_F32] = {"f32", 0x0D, 4}, [FORM_F64] = {"f64", 0x0E, 8}};

// One file.
typedef struct Array {
    const char *path;
    amli_unpack unpack;
    Form form;
    aml_shape shape; // of one sample
    int64_t samples;
    size_t elements, bytes; // of one sample
    unsigned char *sample;
} Array;

typedef struct Idx {
    Array array[AML_SOURCE_FILES];
    int64_t samples, at;
} Idx;

static const char *const part_name[AML_SOURCE_FILES] = {"images", "labels"};

static bool is_idx(const char *text, size_t length)
{
    if (length >= 2 && (unsigned char)text[0] == 0x1F && (unsigned char)text[1] == 0x8B)
        return true;
    return length >= 4 && text[0] == 0 && text[1] == 0;
}

static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static aml_status read_head(Array *array, const amli_source_file *file, aml_error *error)
{
    unsigned char head[4 + 4 * (AML_MAX_RANK + 1)];
    const char *problem;
    array->path = file->path;
    aml_status status = amli_unpack_begin(&array->unpack, file->text, file->length, error);
    if (status)
        return status;
    size_t got = amli_unpack_read(&array->unpack, head, 4, &problem);
    if (got < 4 || head[0] || head[1])
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected an idx file (two zero bytes, a type, a number of axes), "
                         "found %s",
                         file->path,
                         problem   ? problem
                         : got < 4 ? "a shorter file"
                                   : "other bytes at its beginning");
    for (Form form = FORM_U8; form <= FORM_F64; form++)
        if (form_info[form].code == head[2])
            array->form = form;
    if (array->form == FORM_NONE)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: byte 3: expected the type of an element (08, 09, 0b, 0c, 0d or 0e), "
                         "found %02x",
                         file->path, head[2]);
    int rank = head[3];
    if (rank < 1 || rank > AML_MAX_RANK)
        return amli_fail(error, AML_BAD_DATA, "%s: byte 4: expected 1 to %d axes, found %d",
                         file->path, AML_MAX_RANK, rank);
    if (amli_unpack_read(&array->unpack, head + 4, 4 * (size_t)rank, &problem) < 4 * (size_t)rank)
        return amli_fail(error, AML_BAD_DATA, "%s: expected the sizes of %d axes, found %s",
                         file->path, rank, problem ? problem : "the end of the file");
    array->samples = big_endian(head + 4);
    array->shape.rank = rank - 1;
    array->elements = 1;
    size_t all = 0;
    bool too_large = false;
    for (int i = 1; i < rank; i++) {
        array->shape.dim[i - 1] = big_endian(head + 4 + 4 * i);
        too_large |=
            __builtin_mul_overflow(array->elements, array->shape.dim[i - 1], &array->elements);
    }
    too_large |=
        __builtin_mul_overflow(array->elements, form_info[array->form].bytes, &array->bytes);
    too_large |= __builtin_mul_overflow(array->bytes, array->samples, &all);
    size_t most = amli_unpack_most(&array->unpack);
    if (too_large || all > most)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected %lld samples of %zu bytes as its beginning says, found a "
                         "file of %zu bytes, which is too short",
                         file->path, (long long)array->samples, array->bytes, file->length);
    array->sample = malloc(array->samples ? array->bytes + 1 : 1);
    return array->sample ? AML_OK : amli_no_memory(error, array->bytes, file->path);
}

static bool is_float(aml_dtype dtype)
{
    return dtype == AML_F32 || dtype == AML_F64;
}

static aml_status bind(const aml_field *field, const Array *array, aml_error *error)
{
    const aml_tensor_info *tensor = &field->tensor;
    bool fits = tensor->shape.rank == array->shape.rank &&
                memcmp(tensor->shape.dim, array->shape.dim,
                       sizeof tensor->shape.dim[0] * (size_t)tensor->shape.rank) == 0;
    bool whole = array->form < FORM_F32;
    fits = fits &&
           (is_float(tensor->dtype) || (whole && tensor->dtype != AML_F16 &&
                                        tensor->dtype != AML_BF16 && tensor->dtype != AML_BOOL));
    if (fits)
        return AML_OK;
    char wanted[160], found[160];
    aml_shape_text(tensor->dtype, &tensor->shape, wanted, sizeof wanted);
    aml_shape_text(AML_U8, &array->shape, found, sizeof found);
    const char *sizes = strchr(found, '[');
    return amli_fail(error, AML_BAD_DATA,
                     "%s: the field '%s' (%s) is %s, found %s%s for one sample", array->path,
                     tensor->name, field->place ? field->place : "?", wanted,
                     form_info[array->form].name, sizes ? sizes : "");
}

static aml_status open_idx(amli_reading *reading, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    Idx *own = reading->own = calloc(1, sizeof *own);
    aml_status status = own ? AML_OK : amli_no_memory(error, sizeof *own, "the data");
    const Array *first = NULL;
    for (int i = 0; i < AML_SOURCE_FILES && !status; i++) {
        Array *array = &own->array[i];
        if (!reading->file[i].text)
            continue;
        status = read_head(array, &reading->file[i], error);
        if (!status && first && first->samples != array->samples)
            status = amli_fail(error, AML_BAD_DATA,
                               "%s: expected %lld samples as in %s, found %lld", array->path,
                               (long long)first->samples, first->path, (long long)array->samples);
        first = first ? first : array;
    }
    for (int i = 0; i < dataset->fields && !status; i++) {
        const aml_field *field = &dataset->field[i];
        const Array *array = &own->array[field->part];
        if (array->path)
            status = bind(field, array, error);
        else if (!field->label || !reading->load->labels_may_be_absent)
            status = amli_fail(error, AML_BAD_DATA,
                               "the field '%s' (%s) reads the %s, and the source has no such file",
                               field->tensor.name, field->place ? field->place : "?",
                               part_name[field->part]);
    }
    if (!status && !first)
        status = amli_fail(error, AML_BAD_DATA, "an idx source without a file");
    if (!status)
        own->samples = first->samples;
    return status;
}

static double element(const Array *array, size_t index)
{
    const unsigned char *at = array->sample + index * (size_t)form_info[array->form].bytes;
    switch (array->form) {
    case FORM_U8:
        return at[0];
    case FORM_I8:
        return (int8_t)at[0];
    case FORM_I16:
        return (int16_t)(at[0] << 8 | at[1]);
    case FORM_I32:
        return (int32_t)big_endian(at);
    case FORM_F32: {
        uint32_t bits = big_endian(at);
        float value;
        memcpy(&value, &bits, 4);
        return (double)value;
    }
    case FORM_F64: {
        uint64_t bits = (uint64_t)big_endian(at) << 32 | big_endian(at + 4);
        double value;
        memcpy(&value, &bits, 8);
        return value;
    }
    case FORM_NONE:
        break;
    }
    return 0;
}

static bool bad_element(const Array *array, const aml_field *field, int64_t sample, double value,
                        const char *expected, aml_error *error)
{
    char found[40];
    amli_fail(error, AML_BAD_DATA, "%s: sample %lld, field '%s': expected %s, found %s",
              array->path, (long long)sample, field->tensor.name, expected,
              amli_real_text(value, found, sizeof found));
    return false;
}

static bool decode_whole(const Array *array, const aml_field *field, int64_t sample, char *to,
                         aml_error *error)
{
    const aml_tensor_info *tensor = &field->tensor;
    int64_t low = 0, high = UINT8_MAX;
    if (tensor->classes > 0)
        high = tensor->classes - 1;
    else if (tensor->dtype == AML_I8)
        low = INT8_MIN, high = INT8_MAX;
    else if (tensor->dtype != AML_U8)
        low = INT32_MIN, high = INT32_MAX; // no element of an idx file is larger
    size_t bytes = aml_dtype_bytes(tensor->dtype);
    for (size_t i = 0; i < array->elements; i++) {
        double value = element(array, i);
        int64_t whole = (int64_t)value;
        if (whole < low || whole > high) {
            char expected[64];
            snprintf(expected, sizeof expected,
                     tensor->classes > 0 ? "a class in %lld..%lld" : "a whole number in %lld..%lld",
                     (long long)low, (long long)high);
            return bad_element(array, field, sample, value, expected, error);
        }
        memcpy(to + i * bytes, &whole, bytes); // little-endian: the low bytes come first
    }
    return true;
}

static bool decode(const Array *array, const aml_field *field, int64_t sample, char *to,
                   aml_error *error)
{
    const aml_tensor_info *tensor = &field->tensor;
    if (tensor->dtype == AML_U8 && array->form == FORM_U8 && tensor->classes == 0) {
        memcpy(to, array->sample, array->bytes);
        return true;
    }
    if (!is_float(tensor->dtype))
        return decode_whole(array, field, sample, to, error);
    for (size_t i = 0; i < array->elements; i++) {
        double value = element(array, i);
        float narrow = (float)value;
        double kept = tensor->dtype == AML_F64 ? value : (double)narrow;
        if (kept - kept != 0)
            return bad_element(array, field, sample, value, "a finite number", error);
        if (tensor->dtype == AML_F64)
            memcpy(to + i * 8, &value, 8);
        else
            memcpy(to + i * 4, &narrow, 4);
    }
    return true;
}

static amli_row failed(const Array *array, int64_t sample, const char *problem, aml_error *error)
{
    amli_fail(error, AML_BAD_DATA, "%s: sample %lld: expected %zu bytes, found %s", array->path,
              (long long)sample, array->bytes, problem ? problem : "the end of the file");
    return AMLI_ROW_FAILED;
}

static amli_row at_end(Idx *own, aml_error *error)
{
    for (int i = 0; i < AML_SOURCE_FILES; i++) {
        Array *array = &own->array[i];
        char more;
        const char *problem = NULL;
        bool has_more = array->path && amli_unpack_read(&array->unpack, &more, 1, &problem) > 0;
        if (!has_more && !problem)
            continue;
        amli_fail(error, AML_BAD_DATA, "%s: expected the end behind %lld samples, found %s",
                  array->path, (long long)own->samples, problem ? problem : "more bytes");
        return AMLI_ROW_FAILED;
    }
    return AMLI_ROW_END;
}

static amli_row next_idx(amli_reading *reading, void *const to[], aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    Idx *own = reading->own;
    if (own->at == own->samples)
        return at_end(own, error);
    int64_t sample = own->at++;
    for (int i = 0; i < AML_SOURCE_FILES; i++) {
        Array *array = &own->array[i];
        const char *problem;
        if (array->path &&
            amli_unpack_read(&array->unpack, array->sample, array->bytes, &problem) < array->bytes)
            return failed(array, sample, problem, error);
    }
    for (int i = 0; i < dataset->fields; i++) {
        const Array *array = &own->array[dataset->field[i].part];
        if (!array->path)
            memset(to[i], 0, reading->unit_bytes[i]);
        else if (!decode(array, &dataset->field[i], sample, to[i], error))
            return AMLI_ROW_BAD;
    }
    return AMLI_ROW_READ;
}

static void close_idx(amli_reading *reading)
{
    Idx *own = reading->own;
    for (int i = 0; own && i < AML_SOURCE_FILES; i++) {
        amli_unpack_end(&own->array[i].unpack);
        free(own->array[i].sample);
    }
    free(own);
}

const amli_source_kind amli_source_idx = {
    .name = "idx", .open = open_idx, .next = next_idx, .close = close_idx, .recognize = is_idx};
