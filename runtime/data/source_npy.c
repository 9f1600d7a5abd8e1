// Files of NumPy's arrays. A file that is larger than the source's memory stays on the disk, and a
// sample is read when it is asked for; an array in Fortran's order, whose samples lie scattered, is
// always read.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/hash.h"
#include "runtime/data/npy.h"

typedef struct Part {
    amli_npy array;
    const char *base; // the elements in memory; NULL: they are on the disk
    int descriptor;   // -1: none
    size_t length;
} Part;

typedef struct Npy {
    Part part[AML_SOURCE_FILES];
    int64_t samples;
} Npy;

static const char *const part_name[AML_SOURCE_FILES] = {"values", "labels"};

static bool recognize_npy(const char *text, size_t length)
{
    return length >= 6 && memcmp(text, "\x93NUMPY", 6) == 0;
}

static aml_status read_at(const Part *part, void *to, size_t bytes, size_t offset, aml_error *error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got =
            pread(part->descriptor, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return amli_fail(error, AML_IO, "cannot read %s: %s", part->array.path,
                             got < 0 ? strerror(errno) : "it was changed after it was opened");
        done += (size_t)got;
    }
    return AML_OK;
}

static aml_status check_length(const Part *part, aml_error *error)
{
    size_t elements = part->length - part->array.head, expected = amli_npy_bytes(&part->array);
    if (elements == expected)
        return AML_OK;
    return amli_fail(error, AML_BAD_DATA,
                     "%s: expected %zu bytes of elements as its header says, found %zu",
                     part->array.path, expected, elements);
}

static aml_status open_part(amli_reading *reading, int index, aml_error *error)
{
    amli_source_file *file = &reading->file[index];
    Part *part = &((Npy *)reading->own)->part[index];
    size_t memory = reading->source->memory_bytes;
    struct stat info;
    aml_status status = AML_OK;
    part->array.path = file->path;
    bool large = !file->text && memory && stat(file->path, &info) == 0 && S_ISREG(info.st_mode) &&
                 (size_t)info.st_size > memory;
    if (large) {
        part->length = (size_t)info.st_size;
        part->descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
        size_t head = part->length < AMLI_NPY_HEAD ? part->length : AMLI_NPY_HEAD;
        char *text = malloc(head);
        if (part->descriptor < 0)
            status = amli_fail(error, AML_IO, "cannot open %s: %s", file->path, strerror(errno));
        else if (!text)
            status = amli_no_memory(error, head, file->path);
        if (!status)
            status = read_at(part, text, head, 0, error);
        if (!status)
            status = amli_npy_read(&part->array, text, head, error);
        free(text);
        if (!status)
            status = check_length(part, error);
        if (status || !part->array.fortran)
            return status;
    }
    if (!file->text)
        status = amli_read_file(file->path, &file->text, &file->length, error);
    part->length = file->length;
    if (!status && !large)
        status = amli_npy_read(&part->array, file->text, file->length, error);
    if (!status)
        status = check_length(part, error);
    if (!status)
        part->base = file->text + part->array.head;
    return status;
}

static aml_status open_npy(amli_reading *reading, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    Npy *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, "the data");
    for (int i = 0; i < AML_SOURCE_FILES; i++)
        own->part[i].descriptor = -1;
    aml_status status = AML_OK;
    const Part *first = NULL;
    for (int i = 0; i < AML_SOURCE_FILES && !status; i++) {
        if (!reading->file[i].path[0])
            continue;
        status = open_part(reading, i, error);
        const amli_npy *array = &own->part[i].array;
        if (!status && first && first->array.samples != array->samples)
            status = amli_fail(
                error, AML_BAD_DATA, "%s: expected %lld samples as in %s, found %lld", array->path,
                (long long)first->array.samples, first->array.path, (long long)array->samples);
        first = first ? first : &own->part[i];
    }
    for (int i = 0; i < dataset->fields && !status; i++) {
        const aml_field *field = &dataset->field[i];
        const Part *part = &own->part[field->part];
        if (part->array.path)
            status = amli_npy_bind(&part->array, dataset, field, error);
        else if (!field->label || !reading->load->labels_may_be_absent)
            status = amli_fail(error, AML_BAD_DATA,
                               "the field '%s' (%s) reads the %s, and the source has no such file",
                               field->tensor.name, field->place ? field->place : "?",
                               part_name[field->part]);
        if (!status && reading->source == &dataset->source && part->array.path && !part->base)
            reading->on_demand[i] = true;
    }
    if (!status)
        own->samples = first ? first->array.samples : 0;
    return status;
}

static int64_t npy_rows(const amli_reading *reading)
{
    return ((const Npy *)reading->own)->samples;
}

// Room for one sample of the largest array.
static void *npy_thread(const amli_reading *reading)
{
    const Npy *own = reading->own;
    size_t most = 1;
    for (int i = 0; i < AML_SOURCE_FILES; i++) {
        const amli_npy *array = &own->part[i].array;
        size_t bytes = array->elements * (size_t)array->bytes;
        most = bytes > most ? bytes : most;
    }
    return malloc(most);
}

static amli_row npy_at(const amli_reading *reading, void *room, int64_t row, void *const to[],
                       aml_error *error)
{
    const Npy *own = reading->own;
    const aml_dataset *dataset = reading->dataset;
    for (int i = 0; i < dataset->fields; i++) {
        const Part *part = &own->part[dataset->field[i].part];
        const amli_npy *array = &part->array;
        if (!to[i])
            continue;
        if (!array->path) {
            memset(to[i], 0, reading->unit_bytes[i]);
            continue;
        }
        size_t bytes = array->elements * (size_t)array->bytes;
        const char *base = part->base ? part->base : room;
        if (!part->base && read_at(part, room, bytes, array->head + (size_t)row * bytes, error))
            return AMLI_ROW_FAILED;
        if (!amli_npy_decode(array, reading->source, &dataset->field[i], base, part->base ? 0 : row,
                             row, to[i], error))
            return AMLI_ROW_BAD;
    }
    return AMLI_ROW_READ;
}

static aml_status hash_part(const amli_source_file *file, const Part *part,
                            char text[AMLI_HASH_TEXT], aml_error *error)
{
    enum { AT_ONCE = 1 << 20 };
    if (file->text) {
        amli_hash(file->text, file->length, text);
        return AML_OK;
    }
    struct sha256_ctx hash;
    char *room = malloc(AT_ONCE);
    aml_status status = room ? AML_OK : amli_no_memory(error, AT_ONCE, file->path);
    sha256_init(&hash);
    for (size_t at = 0; at < part->length && !status;) {
        size_t now = part->length - at < AT_ONCE ? part->length - at : AT_ONCE;
        status = read_at(part, room, now, at, error);
        if (!status)
            sha256_update(&hash, now, (const uint8_t *)room);
        at += now;
    }
    if (!status)
        amli_hash_finish(&hash, text);
    free(room);
    return status;
}

// As of files in memory: of one its hash, of two the hash of both.
static aml_status npy_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                  aml_error *error)
{
    const Npy *own = reading->own;
    char all[AML_SOURCE_FILES * AMLI_HASH_TEXT];
    size_t used = 0;
    for (int i = 0; i < AML_SOURCE_FILES; i++) {
        if (!own->part[i].array.path)
            continue;
        aml_status status = hash_part(&reading->file[i], &own->part[i], text, error);
        if (status)
            return status;
        memcpy(all + used, text, AMLI_HASH_TEXT - 1);
        used += AMLI_HASH_TEXT - 1;
    }
    if (used > AMLI_HASH_TEXT - 1)
        amli_hash(all, used, text);
    return AML_OK;
}

static void close_npy(amli_reading *reading)
{
    Npy *own = reading->own;
    for (int i = 0; own && i < AML_SOURCE_FILES; i++)
        if (own->part[i].descriptor >= 0)
            close(own->part[i].descriptor);
    free(own);
}

const amli_source_kind amli_source_npy = {.name = "npy",
                                          .recognize = recognize_npy,
                                          .by_path = true,
                                          .checks = true,
                                          .open = open_npy,
                                          .close = close_npy,
                                          .fingerprint = npy_fingerprint,
                                          .rows = npy_rows,
                                          .at = npy_at,
                                          .thread_new = npy_thread,
                                          .thread_free = free};
