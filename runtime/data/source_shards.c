// Pictures or texts in tar files, as WebDataset names them: the files of a sample follow each other
// and share what comes before the first dot of their name; behind it is what a file is: picture
// (.jpg, .jpeg, .png), text (.txt, or as the source says) or label (.cls, .txt, a value of a
// .json).
//
//     000017.jpg   the picture
//     000017.cls   "3", or the name of a class
//
// The headers are read at the start, the contents when they are needed: the archives may be larger
// than memory, and any sample can be had at any time. Headers of ustar, GNU (long names) and pax
// (path, size) are understood.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "runtime/data/images.h"

enum { BLOCK = 512, MOST_LABEL = 1 << 20, MOST_EXTENDED = 1 << 16, MOST_NAME = 1024 };

// One archive while its headers are read.
typedef struct Shard {
    amli_images *images;
    const aml_source *source;
    bool has_label;
    char path[PATH_MAX]; // the archive
    size_t path_at;      // the same in images->text
    int file;
    int64_t bytes, at;    // of the archive, of the next header
    char name[MOST_NAME]; // that an extended header gave the next file, "": none
    int64_t size;         // likewise, -1: none
    // the sample that is being read
    char key[MOST_NAME];
    int64_t picture_at, picture_bytes; // -1: none so far
    int32_t class;                     // -1: none so far
} Shard;

static aml_status wrong(const Shard *shard, int64_t at, const char *expected, const char *found,
                        aml_error *error)
{
    return amli_fail(error, AML_BAD_DATA, "%s: byte %lld: expected %s, found %s", shard->path,
                     (long long)at, expected, found);
}

static aml_status read_at(const Shard *shard, int64_t at, void *to, size_t count, aml_error *error)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(shard->file, (char *)to + done, count - done, at + (int64_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return amli_fail(error, AML_IO, "cannot read %s: %s", shard->path, strerror(errno));
        if (got == 0)
            return wrong(shard, at + (int64_t)done, "the rest of a file", "the end of the archive",
                         error);
        done += (size_t)got;
    }
    return AML_OK;
}

// A number of a header: octal digits, or, where the first bit is set, binary. -1: it is none.
static int64_t number(const unsigned char *at, int room)
{
    int64_t value = 0;
    if (at[0] & 0x80) {
        for (int i = 1; i < room; i++) {
            if (value > INT64_MAX >> 8)
                return -1;
            value = value << 8 | at[i];
        }
        return at[0] == 0x80 ? value : -1;
    }
    int i = 0;
    while (i < room && at[i] == ' ')
        i++;
    for (; i < room && at[i] >= '0' && at[i] <= '7'; i++)
        value = value << 3 | (at[i] - '0');
    return i == room || at[i] == 0 || at[i] == ' ' ? value : -1;
}

static bool sums_up(const unsigned char head[BLOCK])
{
    int64_t sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : head[i];
    return sum == number(head + 148, 8);
}

// ---- labels

static aml_status bad_label(const Shard *shard, const char *name, const char *text, size_t length,
                            aml_error *error)
{
    const aml_source *source = shard->source;
    char expected[160], shown[64];
    if (source->classes)
        snprintf(expected, sizeof expected, "one of the %d classes (%.40s, ...)", source->classes,
                 source->class_name[0]);
    else
        snprintf(expected, sizeof expected, "a class in 0..%d", shard->images->classes - 1);
    amli_cell cell = {text, length, false};
    return amli_fail(error, AML_BAD_DATA, "%s: %s: expected %s, found %s", shard->path, name,
                     expected, amli_cell_text(&cell, shown, sizeof shown));
}

static aml_status class_of(Shard *shard, const char *name, const char *text, size_t length,
                           aml_error *error)
{
    const aml_source *source = shard->source;
    char expected[64];
    while (length && strchr(" \t\r\n", text[length - 1]))
        length--;
    const amli_cell cell = {text, length, false};
    for (int i = 0; i < source->classes; i++)
        if (strlen(source->class_name[i]) == length &&
            memcmp(source->class_name[i], text, length) == 0) {
            shard->class = i;
            return AML_OK;
        }
    const aml_tensor_info whole = {
        .name = "label", .dtype = AML_I32, .classes = shard->images->classes};
    if (amli_decode(&whole, NULL, &cell, &shard->class, expected, sizeof expected))
        return AML_OK;
    shard->class = -1;
    return bad_label(shard, name, text, length, error);
}

// The value of a key: a number, or the name of a class.
static aml_status class_of_json(Shard *shard, const char *name, const char *text, size_t length,
                                const char *key, aml_error *error)
{
    json_error_t what;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &what);
    const json_t *value = json_object_get(root, key);
    char digits[32];
    aml_status status;
    if (json_is_string(value)) {
        status = class_of(shard, name, json_string_value(value), json_string_length(value), error);
    } else if (json_is_integer(value)) {
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
        status = class_of(shard, name, digits, strlen(digits), error);
    } else {
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: %s: expected a JSON object with a number or text \"%s\", found %s",
                           shard->path, name, key,
                           !root    ? what.text
                           : !value ? "no such key"
                                    : "another value");
    }
    json_decref(root);
    return status;
}

static aml_status read_label(Shard *shard, const char *name, int64_t at, int64_t bytes,
                             const char *key, aml_error *error)
{
    if (bytes > MOST_LABEL)
        return wrong(shard, at, "a label of at most 1 MiB", "a longer file", error);
    char *text = malloc((size_t)bytes + 1);
    aml_status status = text ? read_at(shard, at, text, (size_t)bytes, error)
                             : amli_no_memory(error, (size_t)bytes, "a label");
    if (!status)
        status = key ? class_of_json(shard, name, text, (size_t)bytes, key, error)
                     : class_of(shard, name, text, (size_t)bytes, error);
    free(text);
    return status;
}

// ---- samples

static aml_status end_sample(Shard *shard, aml_error *error)
{
    if (!shard->key[0])
        return AML_OK;
    char text[64];
    snprintf(text, sizeof text, "a text (.%.40s)", shard->source->column[IMAGE_PART]);
    const char *missing = shard->picture_at < 0 && shard->images->texts ? text
                          : shard->picture_at < 0                ? "a picture (.jpg, .jpeg, .png)"
                          : shard->has_label && shard->class < 0 ? "a label"
                                                                 : NULL;
    if (missing)
        return amli_fail(error, AML_BAD_DATA, "%s: expected %s in the sample '%s', found none",
                         shard->path, missing, shard->key);
    return amli_images_add_part(shard->images, shard->path_at, shard->picture_at,
                                shard->picture_bytes, shard->class < 0 ? 0 : shard->class, error);
}

// Whether a file is what the fields are made of.
static bool is_content(const Shard *shard, const char *kind)
{
    if (shard->images->texts)
        return strcmp(kind, shard->source->column[IMAGE_PART]) == 0;
    return strcasecmp(kind, "jpg") == 0 || strcasecmp(kind, "jpeg") == 0 ||
           strcasecmp(kind, "png") == 0;
}

static aml_status twice(const Shard *shard, const char *name, aml_error *error)
{
    return amli_fail(error, AML_BAD_DATA,
                     "%s: expected one file of a kind in a sample, found %s as "
                     "well",
                     shard->path, name);
}

// One file of the archive.
static aml_status take_file(Shard *shard, const char *name, int64_t at, int64_t bytes,
                            aml_error *error)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name,
               *dot = strchr(base, '.');
    if (!*base || *base == '.' || !dot)
        return AML_OK; // no file of a sample
    size_t length = (size_t)(dot - name);
    if (strlen(shard->key) != length || memcmp(shard->key, name, length) != 0) {
        aml_status status = end_sample(shard, error);
        if (status)
            return status;
        memcpy(shard->key, name, length);
        shard->key[length] = 0;
        shard->picture_at = -1;
        shard->class = -1;
    }
    const char *wanted = shard->source->column[LABEL_PART], *kind = dot + 1;
    bool is_json = strncmp(wanted, "json.", 5) == 0;
    if (is_content(shard, kind)) {
        if (shard->picture_at >= 0)
            return twice(shard, name, error);
        shard->picture_at = at;
        shard->picture_bytes = bytes;
    } else if (shard->has_label && strcmp(kind, is_json ? "json" : wanted) == 0) {
        return shard->class >= 0
                   ? twice(shard, name, error)
                   : read_label(shard, name, at, bytes, is_json ? wanted + 5 : NULL, error);
    }
    return AML_OK;
}

// ---- headers

// Of "27 path=some/name\n" lines those that matter here.
static aml_status read_pax(Shard *shard, int64_t at, int64_t bytes, aml_error *error)
{
    char text[MOST_EXTENDED + 1];
    aml_status status =
        bytes > MOST_EXTENDED
            ? wrong(shard, at, "an extended header of at most 64 KiB", "a longer one", error)
            : read_at(shard, at, text, (size_t)bytes, error);
    if (status)
        return status;
    for (char *line = text, *end = text + bytes; line < end;) {
        char *rest;
        *end = 0;
        long length = strtol(line, &rest, 10);
        if (length < 4 || length > end - line || *rest != ' ' || line[length - 1] != '\n')
            return wrong(shard, at + (line - text), "a line of an extended header",
                         "something else", error);
        line[length - 1] = 0;
        if (strncmp(rest + 1, "path=", 5) == 0) {
            if (strlen(rest + 6) >= MOST_NAME)
                return wrong(shard, at, "a name of at most 1023 bytes", "a longer one", error);
            snprintf(shard->name, sizeof shard->name, "%s", rest + 6);
        } else if (strncmp(rest + 1, "size=", 5) == 0) {
            shard->size = strtoll(rest + 6, NULL, 10);
        }
        line += length;
    }
    return AML_OK;
}

static aml_status read_name(Shard *shard, int64_t at, int64_t bytes, aml_error *error)
{
    if (bytes < 1 || bytes > MOST_NAME)
        return wrong(shard, at, "a name of at most 1023 bytes", "a longer one", error);
    aml_status status = read_at(shard, at, shard->name, (size_t)bytes, error);
    shard->name[bytes - 1] = 0;
    return status;
}

static void plain_name(const unsigned char head[BLOCK], char name[MOST_NAME])
{
    bool has_prefix = memcmp(head + 257, "ustar", 5) == 0 && head[262] == 0 && head[345];
    if (has_prefix)
        snprintf(name, MOST_NAME, "%.155s/%.100s", (const char *)head + 345, (const char *)head);
    else
        snprintf(name, MOST_NAME, "%.100s", (const char *)head);
}

// The file behind a header; leaves shard->at at the next one.
static aml_status read_member(Shard *shard, const unsigned char head[BLOCK], aml_error *error)
{
    char name[MOST_NAME];
    int64_t bytes = number(head + 124, 12), at = shard->at + BLOCK;
    char type = (char)head[156];
    bool extends = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!extends && shard->size >= 0)
        bytes = shard->size;
    if (bytes < 0)
        return wrong(shard, shard->at + 124, "the size of a file", "no number", error);
    if (bytes > shard->bytes - at) {
        char expected[64], found[64];
        snprintf(expected, sizeof expected, "a file of %lld bytes", (long long)bytes);
        snprintf(found, sizeof found, "%lld bytes to the end of the archive",
                 (long long)(shard->bytes - at));
        return wrong(shard, at, expected, found, error);
    }
    shard->at = at + (bytes + BLOCK - 1) / BLOCK * BLOCK;
    if (type == 'x')
        return read_pax(shard, at, bytes, error);
    if (type == 'L')
        return read_name(shard, at, bytes, error);
    if (extends)
        return AML_OK;
    plain_name(head, name);
    if (shard->name[0])
        memcpy(name, shard->name, sizeof name);
    shard->name[0] = 0;
    shard->size = -1;
    bool is_file = type == '0' || type == 0 || type == '7';
    return is_file ? take_file(shard, name, at, bytes, error) : AML_OK;
}

static aml_status read_archive(Shard *shard, aml_error *error)
{
    static const unsigned char zeros[BLOCK];
    unsigned char head[BLOCK];
    shard->size = -1;
    for (;;) {
        if (shard->bytes - shard->at < BLOCK)
            return wrong(shard, shard->at, "a header, or blocks of zeros at the end",
                         "the end of the archive", error);
        aml_status status = read_at(shard, shard->at, head, BLOCK, error);
        if (status)
            return status;
        if (memcmp(head, zeros, BLOCK) == 0)
            return end_sample(shard, error);
        if (!sums_up(head))
            return wrong(shard, shard->at, "the header of a file in a tar archive",
                         head[0] == 0x1F && head[1] == 0x8B ? "packed data: unpack it with gzip -d"
                                                            : "other bytes",
                         error);
        status = read_member(shard, head, error);
        if (status)
            return status;
    }
}

static aml_status add_archive(amli_reading *reading, amli_images *images, const char *name,
                              aml_error *error)
{
    Shard *shard = calloc(1, sizeof *shard);
    if (!shard)
        return amli_no_memory(error, sizeof *shard, "an archive");
    *shard = (Shard){.images = images,
                     .source = reading->source,
                     .has_label = images->label >= 0 && !reading->load->labels_may_be_absent};
    aml_status status = amli_join(shard->path, sizeof shard->path, images->root, name, error);
    shard->path_at = images->text.length;
    amli_buffer_add(&images->text, name, strlen(name) + 1);
    struct stat info;
    shard->file = status ? -1 : open(shard->path, O_RDONLY | O_CLOEXEC);
    if (!status && (shard->file < 0 || fstat(shard->file, &info) != 0))
        status = amli_fail(error, AML_IO, "cannot open %s: %s", shard->path, strerror(errno));
    else if (!status) {
        shard->bytes = info.st_size;
        status = read_archive(shard, error);
    }
    if (shard->file >= 0)
        close(shard->file);
    free(shard);
    return status;
}

static aml_status open_shards(amli_reading *reading, aml_error *error)
{
    amli_images *images;
    amli_names names;
    struct stat info;
    aml_status status = amli_images_begin(reading, &images, error);
    if (status || images->given)
        return status;
    if (stat(images->root, &info) != 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", images->root, strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        char *slash = strrchr(images->root, '/');
        snprintf(slash ? slash : images->root, 2, "%s", slash ? "" : ".");
        slash = strrchr(reading->file[0].path, '/');
        status = add_archive(reading, images, slash ? slash + 1 : reading->file[0].path, error);
    } else {
        status = amli_list_folder(images->root, &names, error);
        for (int i = 0; i < names.count && !status; i++) {
            const char *dot = strrchr(names.name[i], '.');
            if (dot && names.name[i][0] != '.' && strcmp(dot, ".tar") == 0)
                status = add_archive(reading, images, names.name[i], error);
        }
        amli_free_names(&names);
    }
    if (!status && images->count == 0)
        status =
            amli_fail(error, AML_BAD_DATA, "%s: expected %s, found none", reading->file[0].path,
                      S_ISDIR(info.st_mode) ? images->texts ? "archives (.tar) with texts"
                                                            : "archives (.tar) with pictures"
                      : images->texts       ? "texts in the archive"
                                            : "pictures in the archive");
    return status;
}

const amli_source_kind amli_source_shards = {
    .name = "shards", .open = open_shards, .by_path = true, AMLI_IMAGES_ALIKE};
