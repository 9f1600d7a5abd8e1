// Archives of NumPy's arrays: a zip file with a member NAME.npy for each array, stored or deflated.
//
//     | local header, name, extra | bytes | ... | central directory | end of it |
//
// The directory at the end is what counts; a member's bytes begin behind its local header. Nothing
// is allocated for what a member claims to be: deflate makes at most 1032 bytes of one, and the
// array's header has to say the same size as the archive.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/data/npy.h"

typedef struct Member {
    const char *name; // not ended by a NUL
    size_t name_length;
    const char *at; // its bytes, packed or not
    uint64_t packed, size;
    uint32_t method, crc;
} Member;

typedef struct Array {
    amli_npy array; // of a field
    const char *base;
    char *owned; // unpacked bytes
} Array;

typedef struct Npz {
    const char *path, *text;
    size_t length;
    uint64_t directory, members;
    int arrays;
    Array *array; // of each field
    int64_t samples;
} Npz;

enum { MOST_TIMES = 1032, END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30 };

static bool recognize_npz(const char *text, size_t length)
{
    return length >= 4 && memcmp(text, "PK\x03\x04", 4) == 0;
}

static uint64_t little(const char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)at[i] << 8 * i;
    return value;
}

static aml_status bad(const Npz *npz, uint64_t offset, const char *expected, const char *found,
                      aml_error *error)
{
    return amli_fail(error, AML_BAD_DATA, "%s: byte %llu: expected %s, found %s", npz->path,
                     (unsigned long long)offset, expected, found);
}

// Finds the directory from the end of the file.
static aml_status find_directory(Npz *npz, aml_error *error)
{
    enum { LONGEST_COMMENT = 65535, LOCATOR_BYTES = 20, END64_BYTES = 56 };
    if (npz->length < END_BYTES ||
        (memcmp(npz->text, "PK\x03\x04", 4) != 0 && memcmp(npz->text, "PK\x05\x06", 4) != 0))
        return bad(npz, 0, "an archive of NumPy (a zip file)",
                   npz->length < END_BYTES ? "a shorter file" : "other bytes", error);
    size_t end = npz->length - END_BYTES, first = end > LONGEST_COMMENT ? end - LONGEST_COMMENT : 0;
    while (memcmp(npz->text + end, "PK\x05\x06", 4) != 0) {
        if (end == first)
            return bad(npz, npz->length, "the end of a zip file's directory", "the end of the file",
                       error);
        end--;
    }
    npz->members = little(npz->text + end + 10, 2);
    npz->directory = little(npz->text + end + 16, 4);
    const char *locator = npz->text + end - LOCATOR_BYTES;
    if (end >= LOCATOR_BYTES && memcmp(locator, "PK\x06\x07", 4) == 0) { // larger than 4 GiB
        uint64_t at = little(locator + 8, 8);
        if (at > end || end - at < END64_BYTES || memcmp(npz->text + at, "PK\x06\x06", 4) != 0)
            return bad(npz, end, "the end of a large zip file's directory", "other bytes", error);
        npz->members = little(npz->text + at + 32, 8);
        npz->directory = little(npz->text + at + 48, 8);
    }
    if (npz->directory > end || npz->members > (end - npz->directory) / ENTRY_BYTES)
        return bad(npz, end, "a directory inside of the file", "one that is not", error);
    return AML_OK;
}

// Sizes that do not fit into 32 bits are in an extra field.
static bool read_large(const char *extra, size_t length, Member *member, uint64_t *local)
{
    while (length >= 4) {
        size_t id = (size_t)little(extra, 2), bytes = (size_t)little(extra + 2, 2);
        if (bytes > length - 4)
            return false;
        const char *at = extra + 4, *stop = at + bytes;
        uint64_t *const wide[] = {&member->size, &member->packed, local};
        for (int i = 0; i < 3 && id == 1; i++) {
            if (*wide[i] != 0xFFFFFFFF)
                continue;
            if (stop - at < 8)
                return false;
            *wide[i] = little(at, 8);
            at += 8;
        }
        extra += 4 + bytes;
        length -= 4 + bytes;
    }
    return true;
}

// The next member of the directory at *at.
static aml_status next_member(const Npz *npz, uint64_t *at, Member *member, aml_error *error)
{
    const char *entry = npz->text + *at;
    if (*at > npz->length || npz->length - *at < ENTRY_BYTES || memcmp(entry, "PK\x01\x02", 4) != 0)
        return bad(npz, *at, "a member of the directory", "other bytes", error);
    uint64_t name = little(entry + 28, 2), extra = little(entry + 30, 2),
             comment = little(entry + 32, 2), local = little(entry + 42, 4);
    if (name + extra + comment > npz->length - *at - ENTRY_BYTES)
        return bad(npz, *at, "a member of the directory", "the end of the file", error);
    *member = (Member){.name = entry + ENTRY_BYTES,
                       .name_length = (size_t)name,
                       .method = (uint32_t)little(entry + 10, 2),
                       .crc = (uint32_t)little(entry + 16, 4),
                       .packed = little(entry + 20, 4),
                       .size = little(entry + 24, 4)};
    bool encrypted = little(entry + 8, 2) & 1;
    if (!read_large(entry + ENTRY_BYTES + name, (size_t)extra, member, &local))
        return bad(npz, *at, "sizes of a large member", "other bytes", error);
    *at += ENTRY_BYTES + name + extra + comment;
    if (local > npz->length || npz->length - local < LOCAL_BYTES ||
        memcmp(npz->text + local, "PK\x03\x04", 4) != 0)
        return bad(npz, local, "the beginning of a member", "other bytes", error);
    uint64_t begin =
        LOCAL_BYTES + little(npz->text + local + 26, 2) + little(npz->text + local + 28, 2);
    if (begin > npz->length - local || member->packed > npz->length - local - begin)
        return bad(npz, local, "a member inside of the file", "a longer one", error);
    if (encrypted || (member->method != 0 && member->method != Z_DEFLATED))
        return bad(npz, local, "a member that is stored or deflated",
                   encrypted ? "an encrypted one" : "another method", error);
    member->at = npz->text + local + begin;
    return AML_OK;
}

static bool is_array(const Member *member, const char *name)
{
    size_t length = strlen(name);
    if (member->name_length < length || memcmp(member->name, name, length) != 0)
        return false;
    return member->name_length == length ||
           (member->name_length == length + 4 && memcmp(member->name + length, ".npy", 4) == 0);
}

static aml_status no_array(const Npz *npz, const aml_field *field, aml_error *error)
{
    char list[400] = "";
    const char *candidates[32];
    char name[32][64];
    int count = 0;
    uint64_t at = npz->directory;
    for (uint64_t i = 0; i < npz->members && count < 32; i++) {
        Member member;
        aml_error unwanted;
        if (next_member(npz, &at, &member, &unwanted))
            break;
        int length = (int)member.name_length;
        if (length > 4 && memcmp(member.name + length - 4, ".npy", 4) == 0)
            length -= 4;
        snprintf(name[count], sizeof name[count], "%.*s", length, member.name);
        candidates[count] = name[count];
        if (strlen(list) < 300)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", count ? ", " : "",
                     name[count]);
        count++;
    }
    const char *near = amli_closest(field->key, candidates, count);
    return amli_fail(error, AML_BAD_DATA,
                     "%s: no array is named \"%s\", which the field '%s' reads (%s)\n  found %llu "
                     "arrays: %s%s%s%s",
                     npz->path, field->key, field->tensor.name, field->place ? field->place : "?",
                     (unsigned long long)npz->members, list, near ? "\nhelp: did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
}

static aml_status unpack(const Npz *npz, const Member *member, Array *array, aml_error *error)
{
    uint64_t offset = (uint64_t)(member->at - npz->text);
    if (member->method == 0) {
        if (member->packed != member->size)
            return bad(npz, offset, "a stored member of one size", "two sizes", error);
        array->base = member->at;
    } else {
        if (member->size / MOST_TIMES > member->packed || member->size > SIZE_MAX / 2)
            return bad(npz, offset, "a member that can be unpacked to the size it says",
                       "a larger size than deflate can make", error);
        array->owned = malloc((size_t)member->size + 1);
        if (!array->owned)
            return amli_no_memory(error, (size_t)member->size, npz->path);
        z_stream stream = {0};
        if (inflateInit2(&stream, -15) != Z_OK)
            return amli_no_memory(error, 1 << 15, npz->path);
        uint64_t read = 0, made = 0;
        int result = Z_OK;
        while (result == Z_OK) {
            uInt in = member->packed - read < 1u << 30 ? (uInt)(member->packed - read) : 1u << 30,
                 out = member->size + 1 - made < 1u << 30 ? (uInt)(member->size + 1 - made)
                                                          : 1u << 30;
            stream.next_in = (Bytef *)(uintptr_t)member->at + read;
            stream.avail_in = in;
            stream.next_out = (Bytef *)array->owned + made;
            stream.avail_out = out;
            result = inflate(&stream, Z_NO_FLUSH);
            read += in - stream.avail_in;
            made += out - stream.avail_out;
        }
        inflateEnd(&stream);
        if (result != Z_STREAM_END || made != member->size)
            return bad(npz, offset + read, "packed bytes of the size that the directory says",
                       result == Z_STREAM_END || made > member->size ? "another size"
                       : read == member->packed                      ? "their end too early"
                                                                     : "damaged ones",
                       error);
        array->base = array->owned;
    }
    uint32_t crc = (uint32_t)crc32(0, NULL, 0);
    for (uint64_t at = 0; at < member->size;) {
        uInt now = member->size - at < 1u << 30 ? (uInt)(member->size - at) : 1u << 30;
        crc = (uint32_t)crc32(crc, (const Bytef *)array->base + at, now);
        at += now;
    }
    if (crc != member->crc)
        return bad(npz, offset, "bytes with the checksum that the directory says", "another one",
                   error);
    return AML_OK;
}

static aml_status read_array(const Npz *npz, const aml_dataset *dataset, const aml_field *field,
                             Array *array, aml_error *error)
{
    uint64_t at = npz->directory;
    Member member;
    bool found = false;
    for (uint64_t i = 0; i < npz->members && !found; i++) {
        aml_status status = next_member(npz, &at, &member, error);
        if (status)
            return status;
        found = is_array(&member, field->key);
    }
    if (!found)
        return no_array(npz, field, error);
    array->array.path = npz->path;
    snprintf(array->array.member, sizeof array->array.member, "%.60s", field->key);
    aml_status status = unpack(npz, &member, array, error);
    if (!status)
        status = amli_npy_read(&array->array, array->base, (size_t)member.size, error);
    if (!status && amli_npy_bytes(&array->array) != (size_t)member.size - array->array.head)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: array '%s': expected %zu bytes of elements as its header says, "
                           "found %zu",
                           npz->path, field->key, amli_npy_bytes(&array->array),
                           (size_t)member.size - array->array.head);
    if (!status)
        array->base += array->array.head;
    return status ? status : amli_npy_bind(&array->array, dataset, field, error);
}

static aml_status open_npz(amli_reading *reading, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const amli_source_file *file = &reading->file[0];
    Npz *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, file->path);
    own->path = file->path;
    own->text = file->text;
    own->length = file->length;
    own->array = calloc((size_t)dataset->fields + 1, sizeof *own->array);
    if (!own->array)
        return amli_no_memory(error, sizeof *own->array, file->path);
    own->arrays = dataset->fields;
    aml_status status = find_directory(own, error);
    const amli_npy *first = NULL;
    for (int i = 0; i < dataset->fields && !status; i++) {
        aml_error why;
        status = read_array(own, dataset, &dataset->field[i], &own->array[i], &why);
        if (status && dataset->field[i].label && reading->load->labels_may_be_absent) {
            status = AML_OK;
            own->array[i].base = NULL;
            continue;
        }
        if (status && error)
            *error = why;
        const amli_npy *array = &own->array[i].array;
        if (!status && first && first->samples != array->samples)
            status = amli_fail(error, AML_BAD_DATA,
                               "%s: array '%s': expected %lld samples as in '%s', found %lld",
                               file->path, array->member, (long long)first->samples, first->member,
                               (long long)array->samples);
        first = first ? first : array;
    }
    own->samples = first ? first->samples : 0;
    return status;
}

static int64_t npz_rows(const amli_reading *reading)
{
    return ((const Npz *)reading->own)->samples;
}

static amli_row npz_at(const amli_reading *reading, void *unused, int64_t row, void *const to[],
                       aml_error *error)
{
    const Npz *own = reading->own;
    (void)unused;
    for (int i = 0; i < reading->dataset->fields; i++) {
        if (!to[i])
            continue;
        if (!own->array[i].base)
            memset(to[i], 0, reading->unit_bytes[i]);
        else if (!amli_npy_decode(&own->array[i].array, reading->source,
                                  &reading->dataset->field[i], own->array[i].base, 0, row, to[i],
                                  error))
            return AMLI_ROW_BAD;
    }
    return AMLI_ROW_READ;
}

static void close_npz(amli_reading *reading)
{
    Npz *own = reading->own;
    for (int i = 0; own && own->array && i < own->arrays; i++)
        free(own->array[i].owned);
    if (own)
        free(own->array);
    free(own);
}

const amli_source_kind amli_source_npz = {.name = "npz",
                                          .recognize = recognize_npz,
                                          .open = open_npz,
                                          .close = close_npz,
                                          .rows = npz_rows,
                                          .at = npz_at};
