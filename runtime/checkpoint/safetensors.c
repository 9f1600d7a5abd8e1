// The safetensors format:
//
//     8 bytes, little-endian: length of the header
//     the header: JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]},
//     ...}, padded with blanks the data: the tensors one after the other, row-major, no gaps
//
// A reader trusts nothing: the header's length against the file's, names unique, offsets against
// the data's length, each tensor's bytes against its shape, and the tensors together against the
// whole of the data.

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

#include "runtime/base/hash.h"
#include "runtime/checkpoint/store.h"

static const char *const stored_name[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) [AML_##NAME] = safetensors,
#include "dtypes.def"
#undef DTYPE
};

enum { LONGEST_HEADER = 100000000 };

typedef struct Tensor {
    aml_tensor_info info;
    size_t begin, end; // in the data
} Tensor;

struct aml_tensors {
    char *bytes; // the file
    const char *data;
    size_t data_length;
    Tensor *tensor; // by offset
    int32_t count;
};

void aml_tensors_close(aml_tensors *tensors)
{
    if (!tensors)
        return;
    for (int32_t i = 0; i < tensors->count; i++)
        free((char *)tensors->tensor[i].info.name);
    free(tensors->tensor);
    free(tensors->bytes);
    free(tensors);
}

int32_t aml_tensors_count(const aml_tensors *tensors)
{
    return tensors->count;
}

const aml_tensor_info *aml_tensors_info(const aml_tensors *tensors, int32_t index)
{
    return &tensors->tensor[index].info;
}

int32_t aml_tensors_find(const aml_tensors *tensors, const char *name)
{
    for (int32_t i = 0; i < tensors->count; i++)
        if (strcmp(tensors->tensor[i].info.name, name) == 0)
            return i;
    return -1;
}

const void *aml_tensors_data(const aml_tensors *tensors, int32_t index)
{
    return tensors->data + tensors->tensor[index].begin;
}

size_t aml_tensors_bytes(const aml_tensors *tensors, int32_t index)
{
    return tensors->tensor[index].end - tensors->tensor[index].begin;
}

static aml_status bad(aml_error *error, const char *file, const char *tensor, const char *what)
{
    return tensor ? amli_fail(error, AML_BAD_CHECKPOINT, "%s: tensor '%s': %s", file, tensor, what)
                  : amli_fail(error, AML_BAD_CHECKPOINT, "%s: %s", file, what);
}

static bool whole(const json_t *value, size_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static aml_status read_entry(const char *file, const char *name, json_t *entry, size_t data_length,
                             Tensor *tensor, aml_error *error)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape"),
           *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || !json_is_array(shape) || !json_is_array(offsets) ||
        json_array_size(offsets) != 2 || json_object_size(entry) != 3)
        return bad(error, file, name, "expected dtype, shape and two data_offsets");
    size_t type = 0;
    while (type < AMLI_COUNT(stored_name) && strcmp(stored_name[type], dtype) != 0)
        type++;
    if (type == AMLI_COUNT(stored_name))
        return amli_fail(error, AML_BAD_CHECKPOINT,
                         "%s: tensor '%s': the dtype %.32s is unknown here", file, name, dtype);
    tensor->info.dtype = (aml_dtype)type;
    if (json_array_size(shape) > AML_MAX_RANK)
        return bad(error, file, name, "more than 8 axes");
    tensor->info.shape.rank = (int32_t)json_array_size(shape);
    for (int i = 0; i < tensor->info.shape.rank; i++) {
        size_t size;
        if (!whole(json_array_get(shape, (size_t)i), &size) || size > INT64_MAX)
            return bad(error, file, name, "a size of its shape is not a whole number");
        tensor->info.shape.dim[i] = (int64_t)size;
    }
    int64_t elements = aml_shape_elements(&tensor->info.shape);
    size_t bytes;
    if (elements < 0 ||
        __builtin_mul_overflow((size_t)elements, aml_dtype_bytes((aml_dtype)type), &bytes))
        return bad(error, file, name, "its shape is too large");
    if (!whole(json_array_get(offsets, 0), &tensor->begin) ||
        !whole(json_array_get(offsets, 1), &tensor->end) || tensor->begin > tensor->end ||
        tensor->end > data_length)
        return bad(error, file, name, "its data lies outside of the file");
    if (tensor->end - tensor->begin != bytes)
        return amli_fail(error, AML_BAD_CHECKPOINT,
                         "%s: tensor '%s': its shape needs %zu bytes, and %zu are stored", file,
                         name, bytes, tensor->end - tensor->begin);
    return AML_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const Tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return (x->begin > y->begin) - (x->begin < y->begin);
    if (x->end != y->end)
        return (x->end > y->end) - (x->end < y->end);
    return strcmp(x->info.name, y->info.name);
}

static aml_status read_header(aml_tensors *tensors, const char *file, json_t *header,
                              aml_error *error)
{
    if (!json_is_object(header))
        return bad(error, file, NULL, "its header is not a JSON object");
    size_t entries = json_object_size(header);
    tensors->tensor = calloc(entries + 1, sizeof *tensors->tensor);
    if (!tensors->tensor || entries > INT32_MAX)
        return amli_no_memory(error, entries * sizeof *tensors->tensor, file);
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            const char *key;
            json_t *value;
            if (!json_is_object(entry))
                return bad(error, file, NULL, "its __metadata__ is not an object");
            json_object_foreach(entry, key, value) if (!json_is_string(value)) return bad(
                error, file, NULL, "its __metadata__ holds something that is not a text");
            continue;
        }
        Tensor *tensor = &tensors->tensor[tensors->count];
        aml_status status = read_entry(file, name, entry, tensors->data_length, tensor, error);
        if (status)
            return status;
        tensor->info.name = strdup(name);
        if (!tensor->info.name)
            return amli_no_memory(error, strlen(name), file);
        tensors->count++;
    }
    qsort(tensors->tensor, (size_t)tensors->count, sizeof *tensors->tensor, compare_offsets);
    size_t covered = 0;
    for (int32_t i = 0; i < tensors->count; i++) {
        if (tensors->tensor[i].begin != covered)
            return bad(error, file, tensors->tensor[i].info.name,
                       tensors->tensor[i].begin < covered
                           ? "its data overlaps that of another tensor"
                           : "there is a gap before its data");
        covered = tensors->tensor[i].end;
    }
    if (covered != tensors->data_length)
        return amli_fail(error, AML_BAD_CHECKPOINT,
                         "%s: the tensors take %zu bytes, and %zu are stored", file, covered,
                         tensors->data_length);
    return AML_OK;
}

// Takes `bytes`.
static aml_status parse(const char *file, char *bytes, size_t length, aml_tensors **out,
                        aml_error *error)
{
    aml_tensors *tensors = calloc(1, sizeof *tensors);
    if (!tensors) {
        free(bytes);
        return amli_no_memory(error, sizeof *tensors, file);
    }
    tensors->bytes = bytes;
    uint64_t header_length = 0;
    aml_status status = AML_OK;
    for (int i = 0; i < 8 && length >= 8; i++)
        header_length |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    if (length < 8)
        status = amli_fail(error, AML_BAD_CHECKPOINT,
                           "%s: expected a safetensors file, found %zu bytes", file, length);
    else if (header_length > length - 8 || header_length > LONGEST_HEADER)
        status = amli_fail(error, AML_BAD_CHECKPOINT,
                           "%s: its header should have %" PRIu64 " bytes, and the file has %zu",
                           file, header_length, length);
    else if (header_length == 0 || bytes[8] != '{')
        status = bad(error, file, NULL,
                     "expected a safetensors file: its header does not begin with '{'");
    if (!status) {
        tensors->data = bytes + 8 + header_length;
        tensors->data_length = length - 8 - (size_t)header_length;
        json_error_t why;
        json_t *header = json_loadb(bytes + 8, (size_t)header_length, JSON_REJECT_DUPLICATES, &why);
        if (!header && json_error_code(&why) == json_error_out_of_memory)
            status = amli_no_memory(error, (size_t)header_length, file);
        else if (!header)
            status = amli_fail(error, AML_BAD_CHECKPOINT, "%s: its header is not JSON: %s", file,
                               why.text);
        else
            status = read_header(tensors, file, header, error);
        json_decref(header);
    }
    if (status) {
        aml_tensors_close(tensors);
        return status;
    }
    *out = tensors;
    return AML_OK;
}

aml_status aml_tensors_open(const char *path, aml_tensors **out, aml_error *error)
{
    char *bytes;
    size_t length;
    *out = NULL;
    aml_status status = amli_read_file(path, &bytes, &length, error);
    return status ? status : parse(path, bytes, length, out, error);
}

aml_status aml_tensors_parse(const char *name, const void *bytes, size_t length, aml_tensors **out,
                             aml_error *error)
{
    *out = NULL;
    char *copy = malloc(length + 1);
    if (!copy)
        return amli_no_memory(error, length, name);
    memcpy(copy, bytes, length);
    copy[length] = 0;
    return parse(name, copy, length, out, error);
}

// ---- writing

static int compare_states(const void *a, const void *b)
{
    const aml_state_info *x = a, *y = b;
    size_t left = aml_dtype_bytes(x->tensor.dtype), right = aml_dtype_bytes(y->tensor.dtype);
    if (left != right)
        return left > right ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

static size_t state_bytes(const aml_state_info *state)
{
    return (size_t)aml_shape_elements(&state->tensor.shape) * aml_dtype_bytes(state->tensor.dtype);
}

// The header with its length before it and its padding; the caller frees. NULL: no memory.
static char *make_header(const aml_state_info *state, int count, size_t *length)
{
    json_t *header = json_object();
    bool complete = header && json_object_set_new(header, "__metadata__",
                                                  json_pack("{s:s}", "format", "aml")) == 0;
    size_t offset = 0;
    for (int i = 0; i < count && complete; i++) {
        const aml_tensor_info *tensor = &state[i].tensor;
        json_t *shape = json_array();
        for (int k = 0; k < tensor->shape.rank; k++)
            complete =
                complete && json_array_append_new(shape, json_integer(tensor->shape.dim[k])) == 0;
        size_t end = offset + state_bytes(&state[i]);
        json_t *entry =
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", stored_name[tensor->dtype], "shape", shape,
                      "data_offsets", (json_int_t)offset, (json_int_t)end);
        if (!complete)
            json_decref(entry);
        complete = complete && json_object_set_new(header, tensor->name, entry) == 0;
        offset = end;
    }
    char *text = complete ? json_dumps(header, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text)
        return NULL;
    size_t written = strlen(text), padded = (8 + written + 63) / 64 * 64 - 8;
    char *bytes = malloc(8 + padded);
    if (bytes) {
        for (int i = 0; i < 8; i++)
            bytes[i] = (char)(padded >> 8 * i & 0xFF);
        memcpy(bytes + 8, text, written);
        memset(bytes + 8 + written, ' ', padded - written);
        *length = 8 + padded;
    }
    free(text);
    return bytes;
}

enum { CHUNK = 1 << 20 }; // hashed while it is in the cache

static aml_status write_tensors(int descriptor, const char *path, const char *bytes_of_state,
                                const aml_state_info *state, int count, struct sha256_ctx *hash,
                                size_t *bytes, aml_error *error)
{
    size_t length;
    char *header = make_header(state, count, &length);
    if (!header)
        return amli_no_memory(error, 0, "the header of a checkpoint");
    sha256_update(hash, length, (const uint8_t *)header);
    *bytes = length;
    aml_status status = amli_write_all(descriptor, path, header, length, error);
    free(header);
    for (int i = 0; i < count && !status; i++) {
        size_t size = state_bytes(&state[i]);
        for (size_t at = 0; at < size && !status; at += CHUNK) {
            size_t part = size - at < CHUNK ? size - at : CHUNK;
            const char *from = bytes_of_state + state[i].offset + at;
            sha256_update(hash, part, (const uint8_t *)from);
            status = amli_write_all(descriptor, path, from, part, error);
        }
        *bytes += size;
    }
    return status;
}

aml_status amli_tensors_write(const char *path, const char *state, const aml_job *job,
                              unsigned roles, size_t *bytes, char text[AMLI_HASH_TEXT],
                              aml_error *error)
{
    amli_rows rows;
    aml_status status = amli_rows_make(job, roles, &rows, error);
    if (status)
        return status;
    if (rows.count)
        qsort(rows.at, (size_t)rows.count, sizeof *rows.at, compare_states);
    int descriptor = amli_create_file(path, error);
    if (descriptor < 0) {
        status = error ? error->status : AML_IO;
    } else {
        struct sha256_ctx hash;
        sha256_init(&hash);
        status = write_tensors(descriptor, path, state, rows.at, rows.count, &hash, bytes, error);
        status = amli_close_written(descriptor, path, status, error);
        amli_hash_finish(&hash, text);
    }
    amli_rows_free(&rows);
    return status;
}
