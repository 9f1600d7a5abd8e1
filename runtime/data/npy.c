// Headers and elements of NumPy's arrays (NEP 1): "\x93NUMPY", a version, the length of a Python
// dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }, the elements.

#include <stdio.h>
#include <string.h>

#include "runtime/data/data.h"
#include "runtime/data/npy.h"

// How messages call an array.
static const char *name_of(const amli_npy *array, char *text, size_t room)
{
    snprintf(text, room, array->member[0] ? "%.3000s: array '%s'" : "%.3000s%s", array->path,
             array->member);
    return text;
}

static aml_status refuse(const amli_npy *array, const char *expected, const char *found,
                         aml_error *error)
{
    char name[AML_ERROR_ROOM - 512];
    return amli_fail(error, AML_BAD_DATA, "%s: expected %s, found %s",
                     name_of(array, name, sizeof name), expected, found);
}

// ---- the header

typedef struct Scan {
    const char *at, *end;
} Scan;

static void pass_blanks(Scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n'))
        scan->at++;
}

static bool take(Scan *scan, char c)
{
    pass_blanks(scan);
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

// A text in quotes without escapes.
static bool take_text(Scan *scan, char *text, size_t room)
{
    pass_blanks(scan);
    if (scan->at == scan->end || (*scan->at != '\'' && *scan->at != '"'))
        return false;
    char quote = *scan->at++;
    size_t used = 0;
    while (scan->at < scan->end && *scan->at != quote && *scan->at != '\\' && used + 1 < room)
        text[used++] = *scan->at++;
    text[used] = 0;
    return scan->at < scan->end && *scan->at++ == quote;
}

static bool take_word(Scan *scan, const char *word)
{
    size_t length = strlen(word);
    pass_blanks(scan);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
        return false;
    scan->at += length;
    return true;
}

static bool take_shape(Scan *scan, int64_t dim[AML_MAX_RANK + 1], int *rank)
{
    *rank = 0;
    if (!take(scan, '('))
        return false;
    while (!take(scan, ')')) {
        pass_blanks(scan);
        int64_t size = 0;
        const char *first = scan->at;
        for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
            if (__builtin_mul_overflow(size, 10, &size) ||
                __builtin_add_overflow(size, *scan->at - '0', &size))
                return false;
        if (scan->at == first || *rank > AML_MAX_RANK)
            return false;
        if (scan->at < scan->end && *scan->at == 'L') // as Python 2 wrote it
            scan->at++;
        dim[(*rank)++] = size;
        if (!take(scan, ',')) {
            if (!take(scan, ')'))
                return false;
            break;
        }
    }
    return true;
}

static aml_status read_type(amli_npy *array, const char *descr, aml_error *error)
{
    static const char known[][3] = {"f2", "f4", "f8", "i1", "i2", "i4",
                                    "i8", "u1", "u2", "u4", "u8", "b1"};
    const char *type = descr + (strchr("<>|=", *descr) && *descr ? 1 : 0);
    bool found = false;
    for (size_t i = 0; i < AMLI_COUNT(known); i++)
        found = found || strcmp(known[i], type) == 0;
    array->big = *descr == '>';
    array->kind = type[0];
    array->bytes = found ? type[1] - '0' : 0;
    if (found)
        return AML_OK;
    char what[96];
    const char *why = *type == 'O'                   ? " (objects of Python)"
                      : *type == 'U' || *type == 'S' ? " (texts)"
                      : *type == 'c'                 ? " (complex numbers)"
                      : *type == 'M' || *type == 'm' ? " (times)"
                                                     : "";
    snprintf(what, sizeof what, "%.40s%s", *descr ? descr : "a list of fields", why);
    return refuse(array, "elements f2, f4, f8, i1 to i8, u1 to u8 or b1", what, error);
}

static aml_status read_dictionary(amli_npy *array, Scan *scan, aml_error *error)
{
    int64_t dim[AML_MAX_RANK + 1];
    char key[24], descr[64] = "";
    int rank = -1;
    bool has_type = false, has_order = false, good = take(scan, '{');
    while (good && !take(scan, '}')) {
        good = take_text(scan, key, sizeof key) && take(scan, ':');
        if (good && strcmp(key, "descr") == 0) {
            has_type = true;
            if (!take_text(scan, descr, sizeof descr))
                return read_type(array, "", error);
        } else if (good && strcmp(key, "fortran_order") == 0) {
            has_order = true;
            array->fortran = take_word(scan, "True");
            good = array->fortran || take_word(scan, "False");
        } else if (good && strcmp(key, "shape") == 0) {
            good = rank < 0 && take_shape(scan, dim, &rank);
        } else {
            good = false;
        }
        if (good && !take(scan, ',')) {
            good = take(scan, '}');
            break;
        }
    }
    if (!good || !has_type || !has_order || rank < 0)
        return refuse(array, "a header with 'descr', 'fortran_order' and 'shape'",
                      rank > AML_MAX_RANK ? "more axes than 9" : "another text", error);
    aml_status status = read_type(array, descr, error);
    if (status)
        return status;
    if (rank == 0)
        return refuse(array, "an array whose first axis counts the samples", "a single number",
                      error);
    array->samples = dim[0];
    array->shape.rank = rank - 1;
    array->elements = 1;
    bool too_large = false;
    for (int i = 1; i < rank; i++) {
        array->shape.dim[i - 1] = dim[i];
        too_large |= __builtin_mul_overflow(array->elements, (size_t)dim[i], &array->elements);
    }
    size_t all = array->elements;
    too_large |= __builtin_mul_overflow(all, (size_t)dim[0], &all);
    too_large |= __builtin_mul_overflow(all, (size_t)array->bytes, &all);
    too_large |= array->elements > SIZE_MAX / 16 || all > SIZE_MAX / 4;
    return too_large ? refuse(array, "an array that fits into memory", "a larger shape", error)
                     : AML_OK;
}

aml_status amli_npy_read(amli_npy *array, const char *text, size_t length, aml_error *error)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (length < 10 || memcmp(text, "\x93NUMPY", 6) != 0)
        return refuse(array, "an array of NumPy (\\x93NUMPY, a version, a header)",
                      length < 10 ? "a shorter file" : "other bytes at its beginning", error);
    char version[24];
    snprintf(version, sizeof version, "%d.%d", byte[6], byte[7]);
    if (byte[6] < 1 || byte[6] > 3 || byte[7] != 0)
        return refuse(array, "version 1.0, 2.0 or 3.0 of the format", version, error);
    size_t begin = byte[6] == 1 ? 10 : 12, bytes = byte[8] | (size_t)byte[9] << 8;
    if (begin == 12 && length >= 12)
        bytes |= (size_t)byte[10] << 16 | (size_t)byte[11] << 24;
    if (length < begin || bytes > length - begin)
        return refuse(array, "a header as long as it says",
                      length >= AMLI_NPY_HEAD ? "one of more than 64 KiB" : "the end of the file",
                      error);
    array->head = begin + bytes;
    Scan scan = {text + begin, text + begin + bytes};
    return read_dictionary(array, &scan, error);
}

size_t amli_npy_bytes(const amli_npy *array)
{
    return array->elements * (size_t)array->samples * (size_t)array->bytes;
}

// ---- fields

static bool is_real(aml_dtype dtype)
{
    return dtype == AML_F32 || dtype == AML_F64 || dtype == AML_F16 || dtype == AML_BF16;
}

static const char *type_name(const amli_npy *array, char *text, size_t room)
{
    if (array->kind == 'b')
        snprintf(text, room, "bool");
    else
        snprintf(text, room, "%c%d", array->kind, 8 * array->bytes);
    return text;
}

aml_status amli_npy_bind(const amli_npy *array, const aml_dataset *dataset, const aml_field *field,
                         aml_error *error)
{
    const aml_tensor_info *tensor = &field->tensor;
    int skipped = dataset->window > 0; // the axis of the window
    bool fits = tensor->shape.rank - skipped == array->shape.rank;
    for (int i = 0; i < array->shape.rank && fits; i++)
        fits = tensor->shape.dim[i + skipped] == array->shape.dim[i];
    fits = fits && (is_real(tensor->dtype) ||
                    (array->kind != 'f' && (tensor->dtype != AML_BOOL || array->bytes == 1)));
    if (fits)
        return AML_OK;
    char wanted[160], found[160], type[16], what[400], expected[400];
    aml_shape_text(tensor->dtype, &tensor->shape, wanted, sizeof wanted);
    aml_shape_text(AML_U8, &array->shape, found, sizeof found);
    const char *sizes = strchr(found, '[');
    snprintf(expected, sizeof expected, "samples of the field '%s' (%s), %s%s", tensor->name,
             field->place ? field->place : "?", wanted, skipped ? ", a window of them" : "");
    snprintf(what, sizeof what, "%s%s for one sample", type_name(array, type, sizeof type),
             sizes ? sizes : "");
    return refuse(array, expected, what, error);
}

// ---- elements

static uint64_t bits_of(const amli_npy *array, const char *at)
{
    uint64_t bits = 0;
    for (int i = 0; i < array->bytes; i++)
        bits |= (uint64_t)(unsigned char)at[i] << 8 * (array->big ? array->bytes - 1 - i : i);
    return bits;
}

static double real_of(const amli_npy *array, const char *at)
{
    uint64_t bits = bits_of(array, at);
    if (array->kind == 'f' && array->bytes == 8) {
        double value;
        memcpy(&value, &bits, 8);
        return value;
    }
    if (array->kind == 'f' && array->bytes == 4) {
        uint32_t half = (uint32_t)bits;
        float value;
        memcpy(&value, &half, 4);
        return (double)value;
    }
    if (array->kind == 'f')
        return amli_half((uint16_t)bits);
    if (array->kind != 'i')
        return (double)bits;
    int unused = 64 - 8 * array->bytes;
    return (double)((int64_t)(bits << unused) >> unused);
}

static bool bad_element(const amli_npy *array, const aml_field *field, int64_t sample, size_t k,
                        const char *at, const char *expected, aml_error *error)
{
    char name[AML_ERROR_ROOM - 512], found[40];
    amli_fail(error, AML_BAD_DATA,
              "%s: sample %lld, element %zu, field '%s': expected %s, found %s",
              name_of(array, name, sizeof name), (long long)sample, k, field->tensor.name, expected,
              amli_real_text(real_of(array, at), found, sizeof found));
    return false;
}

// Where element k of a sample, in the order of the field, is among the elements of the array.
static size_t place_of(const amli_npy *array, int64_t sample, size_t k)
{
    if (!array->fortran)
        return (size_t)sample * array->elements + k;
    size_t place = 0, rest = k;
    for (int i = array->shape.rank - 1; i >= 0; i--) { // the last axis is the slowest
        size_t size = (size_t)array->shape.dim[i], stride = (size_t)array->samples;
        for (int j = 0; j < i; j++)
            stride *= (size_t)array->shape.dim[j];
        place += rest % size * stride;
        rest /= size;
    }
    return place + (size_t)sample;
}

static bool decode_whole(const amli_npy *array, const aml_field *field, const char *at,
                         int64_t sample, size_t k, void *to, aml_error *error)
{
    const aml_tensor_info *tensor = &field->tensor;
    int64_t low = 0, high = 0;
    switch (tensor->dtype) {
    case AML_I8:
        low = INT8_MIN, high = INT8_MAX;
        break;
    case AML_U8:
        high = UINT8_MAX;
        break;
    case AML_I32:
        low = INT32_MIN, high = INT32_MAX;
        break;
    case AML_I64:
        low = INT64_MIN, high = INT64_MAX;
        break;
    case AML_BOOL:
        high = 1;
        break;
    case AML_F32:
    case AML_F64:
    case AML_F16:
    case AML_BF16:
        break;
    }
    if (tensor->classes > 0)
        low = 0, high = tensor->classes - 1;
    uint64_t bits = bits_of(array, at);
    int unused = 64 - 8 * array->bytes;
    int64_t value = array->kind == 'i' ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
    bool too_large = array->kind != 'i' && bits > INT64_MAX;
    if (too_large || value < low || value > high) {
        char expected[80];
        snprintf(expected, sizeof expected,
                 tensor->classes > 0 ? "a class in %lld..%lld" : "a whole number in %lld..%lld",
                 (long long)low, (long long)high);
        return bad_element(array, field, sample, k, at, expected, error);
    }
    memcpy(to, &value, aml_dtype_bytes(tensor->dtype)); // little-endian: low bytes come first
    return true;
}

bool amli_npy_decode(const amli_npy *array, const aml_source *source, const aml_field *field,
                     const char *base, int64_t first, int64_t sample, void *to, aml_error *error)
{
    aml_dtype dtype = field->tensor.dtype;
    size_t size = aml_dtype_bytes(dtype);
    const char *row = base + (size_t)(sample - first) * array->elements * (size_t)array->bytes;
    if (dtype == AML_U8 && array->kind == 'u' && array->bytes == 1 && !array->fortran &&
        field->tensor.classes == 0) {
        memcpy(to, row, array->elements);
        return true;
    }
    for (size_t k = 0; k < array->elements; k++) {
        const char *at = array->fortran ? base + place_of(array, sample, k) * (size_t)array->bytes
                                        : row + k * (size_t)array->bytes;
        char *element = (char *)to + k * size;
        if (!is_real(dtype)) {
            if (!decode_whole(array, field, at, sample, k, element, error))
                return false;
            continue;
        }
        double value = real_of(array, at);
        bool missing = value != value && source->keeps_nan;
        if (!amli_store_real(dtype, value, element) && !missing)
            return bad_element(
                array, field, sample, k, at,
                value - value != 0 ? "a finite number" : "a number that the field can hold", error);
    }
    return true;
}
