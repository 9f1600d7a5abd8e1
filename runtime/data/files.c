// Folders in which each file is a sample.
//
// Folders may be links; a link to a folder that holds it is refused, as it would never end. The
// fingerprint is a hash of all names and contents, as long as the files have a GiB together. Of
// larger collections only the first and last 64 KiB of each file are read for it.

#include "runtime/data/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/hash.h"

// ---- names

static bool fits(const char *pattern, const char *name, amli_name_part part[], int parts)
{
    while (*pattern && *pattern != '{') {
        if (*pattern != *name)
            return false;
        pattern++, name++;
    }
    if (!*pattern)
        return !*name;
    const char *rest = strchr(pattern, '}');
    if (!rest || parts == 0)
        return false;
    for (size_t length = 1; name[length - 1] && name[length - 1] != '/'; length++) {
        part[0] = (amli_name_part){name, length};
        if (fits(rest + 1, name + length, part + 1, parts - 1))
            return true;
    }
    return false;
}

bool amli_name_fits(const char *pattern, const char *name, amli_name_part part[], int parts)
{
    for (int i = 0; i < parts; i++)
        part[i] = (amli_name_part){"", 0};
    return fits(pattern, name, part, parts);
}

static bool whole_number(amli_name_part part, int64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < part.length; i++)
        if (part.at[i] < '0' || part.at[i] > '9' || *value > INT64_MAX / 10 - 1)
            return false;
        else
            *value = *value * 10 + (part.at[i] - '0');
    return part.length > 0;
}

static bool is_kept(const aml_files *files, const amli_name_part part[])
{
    for (int i = 0; i < files->keeps; i++) {
        const aml_name_keep *keep = &files->keep[i];
        amli_name_part found = part[keep->part];
        int64_t value;
        bool kept = keep->texts == 0 && whole_number(found, &value) && value >= keep->low &&
                    value <= keep->high;
        for (int k = 0; k < keep->texts && !kept; k++)
            kept = strlen(keep->text[k]) == found.length &&
                   memcmp(keep->text[k], found.at, found.length) == 0;
        if (!kept)
            return false;
    }
    return true;
}

// ---- the list

typedef struct Above {
    const struct Above *above;
    dev_t device;
    ino_t number;
} Above;

typedef struct Walk {
    amli_files *files;
    const char *const *ending;
} Walk;

static bool has_ending(const char *name, const char *const ending[])
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && ending[i]; i++)
        if (strcasecmp(dot, ending[i]) == 0)
            return true;
    return false;
}

static aml_status add(amli_files *files, const char *path, int64_t bytes, aml_error *error)
{
    if (files->count == files->capacity) {
        int64_t more = files->capacity ? files->capacity * 2 : 256;
        amli_files_item *item = realloc(files->item, (size_t)more * sizeof *item);
        if (!item)
            return amli_no_memory(error, (size_t)more * sizeof *item, "the list of files");
        files->item = item;
        files->capacity = more;
    }
    files->item[files->count++] = (amli_files_item){files->text.length, bytes};
    amli_buffer_add(&files->text, path, strlen(path) + 1);
    return files->text.failed ? amli_no_memory(error, files->text.length, "the list of files")
                              : AML_OK;
}

static aml_status walk(const Walk *state, const char *path, const Above *above, aml_error *error)
{
    amli_files *files = state->files;
    char whole[PATH_MAX];
    struct stat info;
    amli_names names;
    aml_status status = amli_join(whole, sizeof whole, files->root, path, error);
    if (status)
        return status;
    if (stat(whole, &info) != 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", whole, strerror(errno));
    for (const Above *at = above; at; at = at->above)
        if (at->device == info.st_dev && at->number == info.st_ino)
            return amli_fail(
                error, AML_BAD_DATA,
                "%s: expected a folder of its own, found a link to a folder that holds "
                "it",
                whole);
    const Above here = {above, info.st_dev, info.st_ino};
    status = amli_list_folder(whole, &names, error);
    for (int i = 0; i < names.count && !status; i++) {
        const char *name = names.name[i];
        char inner[PATH_MAX], inner_whole[PATH_MAX];
        if (name[0] == '.')
            continue;
        if (*path)
            status = amli_join(inner, sizeof inner, path, name, error);
        else
            snprintf(inner, sizeof inner, "%s", name);
        if (!status)
            status = amli_join(inner_whole, sizeof inner_whole, files->root, inner, error);
        if (status)
            break;
        if (stat(inner_whole, &info) != 0)
            status = amli_fail(error, AML_IO, "cannot open %s: %s", inner_whole, strerror(errno));
        else if (S_ISDIR(info.st_mode))
            status = walk(state, inner, &here, error);
        else if (S_ISREG(info.st_mode) && has_ending(name, state->ending))
            status = add(files, inner, info.st_size, error);
        else if (files->others++ == 0)
            snprintf(files->other, sizeof files->other, "%s", name);
    }
    amli_free_names(&names);
    return status;
}

// ---- what names say

static int compare_parts(const void *a, const void *b)
{
    const amli_name_part *x = a, *y = b;
    size_t length = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->at, y->at, length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

// The different texts of a part over all files, sorted: the names of its classes.
static aml_status class_names(const amli_reading *reading, const amli_name_part *all, int parts,
                              int which, const aml_field *field, amli_name_part **out,
                              aml_error *error)
{
    const amli_files *files = reading->own;
    amli_name_part *name = malloc((size_t)(files->count + 1) * sizeof *name);
    int64_t count = 0;
    if (!name)
        return amli_no_memory(error, (size_t)files->count * sizeof *name, "the names of classes");
    for (int64_t i = 0; i < files->count; i++)
        if (all[i * parts + which].length)
            name[count++] = all[i * parts + which];
    qsort(name, (size_t)count, sizeof *name, compare_parts);
    int64_t different = 0;
    for (int64_t i = 0; i < count; i++)
        if (different == 0 || compare_parts(&name[different - 1], &name[i]) != 0)
            name[different++] = name[i];
    *out = name;
    if (different == field->tensor.classes)
        return AML_OK;
    amli_buffer list = {0};
    amli_buffer_add(&list, "", 0);
    for (int64_t i = 0; i < different && i < 12; i++)
        amli_buffer_printf(&list, "%s%.*s", i ? ", " : "", (int)name[i].length, name[i].at);
    aml_status status = amli_fail(
        error, AML_BAD_DATA,
        "%s: expected %lld different names for {%s}, one for each class of the field '%s' (%s), "
        "found %lld: %s%s",
        files->root, (long long)field->tensor.classes, reading->source->files->part[which],
        field->tensor.name, field->place ? field->place : "?", (long long)different,
        list.text ? list.text : "", different > 12 ? ", ..." : "");
    amli_buffer_free(&list);
    return status;
}

static aml_status part_value(const amli_files *files, const char *path, const aml_field *field,
                             amli_name_part part, const char *name, int64_t *value,
                             aml_error *error)
{
    int64_t most = field->tensor.dtype == AML_I64   ? INT64_MAX
                   : field->tensor.dtype == AML_I32 ? INT32_MAX
                   : field->tensor.dtype == AML_U8  ? UINT8_MAX
                                                    : INT8_MAX;
    if (field->tensor.classes)
        most = field->tensor.classes - 1;
    if (whole_number(part, value) && *value <= most)
        return AML_OK;
    return amli_fail(error, AML_BAD_DATA,
                     "%s/%s: {%s}, field '%s': expected a number in 0..%lld, "
                     "found '%.*s'",
                     files->root, path, name, field->tensor.name, (long long)most, (int)part.length,
                     part.at);
}

// The values of one field for all files.
static aml_status field_values(const amli_reading *reading, const amli_name_part *all, int parts,
                               int field, aml_error *error)
{
    amli_files *files = reading->own;
    const aml_dataset *dataset = reading->dataset;
    const aml_field *of = &dataset->field[field];
    int which = of->part - FILES_PARTS;
    amli_name_part *name = NULL;
    bool numbers = true, absent = reading->load->labels_may_be_absent;
    int64_t number;
    for (int64_t i = 0; i < files->count && numbers; i++)
        numbers =
            all[i * parts + which].length == 0 || whole_number(all[i * parts + which], &number);
    aml_status status = AML_OK;
    if (!numbers && of->tensor.classes && !absent)
        status = class_names(reading, all, parts, which, of, &name, error);
    for (int64_t i = 0; i < files->count && !status; i++) {
        int64_t *value = &files->value[i * dataset->fields + field];
        amli_name_part part = all[i * parts + which];
        if (absent && !numbers)
            *value = 0;
        else if (name && part.length)
            *value = (amli_name_part *)bsearch(&part, name, (size_t)of->tensor.classes,
                                               sizeof *name, compare_parts) -
                     name;
        else if (part.length || !absent)
            status = part_value(files, files->text.text + files->item[i].path, of, part,
                                reading->source->files->part[which], value, error);
    }
    free(name);
    return status;
}

// Reads all names, then leaves those files that are wanted.
static aml_status read_names(amli_reading *reading, aml_error *error)
{
    amli_files *files = reading->own;
    const aml_files *rule = reading->source->files;
    int fields = reading->dataset->fields, parts = rule->parts;
    amli_name_part *all = calloc((size_t)(files->count * parts) + 1, sizeof *all);
    files->value = calloc((size_t)(files->count * fields) + 1, sizeof *files->value);
    aml_status status = all && files->value
                            ? AML_OK
                            : amli_no_memory(error, (size_t)files->count * sizeof *all, "names");
    bool strict = !reading->load->labels_may_be_absent;
    for (int64_t i = 0; i < files->count && !status; i++) {
        const char *path = files->text.text + files->item[i].path;
        if (!amli_name_fits(rule->name, path, all + i * parts, parts) && strict)
            status = amli_fail(error, AML_BAD_DATA, "%s/%s: expected a name like \"%s\" (%s)",
                               files->root, path, rule->name, reading->source->place);
    }
    for (int i = 0; i < fields && !status; i++)
        if (reading->dataset->field[i].part >= FILES_PARTS)
            status = field_values(reading, all, parts, i, error);
    int64_t kept = 0;
    for (int64_t i = 0; i < files->count && !status; i++) {
        if (strict && !is_kept(rule, all + i * parts))
            continue;
        files->item[kept] = files->item[i];
        memmove(files->value + kept * fields, files->value + i * fields,
                (size_t)fields * sizeof *files->value);
        kept++;
    }
    files->count = status ? files->count : kept;
    free(all);
    return status;
}

aml_status amli_files_open(amli_reading *reading, const char *const ending[], const char *what,
                           bool (*recognize)(const char *text, size_t length), amli_files **out,
                           aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const amli_source_file *file = &reading->file[0];
    amli_files *files = reading->own = *out = calloc(1, sizeof *files);
    struct stat info;
    if (!files)
        return amli_no_memory(error, sizeof *files, what);
    files->content = files->length = -1;
    for (int i = 0; i < dataset->fields; i++) {
        int part = dataset->field[i].part;
        files->content = part == FILES_CONTENT ? i : files->content;
        files->length = part == FILES_LENGTH ? i : files->length;
        if (part < FILES_PARTS)
            reading->on_demand[i] = true;
        else if (part >= FILES_PARTS + reading->source->files->parts)
            return amli_fail(error, AML_INTERNAL, "the field '%s' reads a part that is not there",
                             dataset->field[i].tensor.name);
    }
    snprintf(files->root, sizeof files->root, "%s", file->path);
    if (reading->load->is_argument && file->text && recognize(file->text, file->length)) {
        files->given = file->text;
        files->given_bytes = file->length;
        return AML_OK;
    }
    if (stat(files->root, &info) == 0 && !S_ISDIR(info.st_mode))
        return amli_fail(error, AML_BAD_DATA, "%s: expected a folder with %s, found a file",
                         files->root, what);
    const Walk state = {files, ending};
    aml_status status = walk(&state, "", NULL, error);
    if (!status && files->count > 0)
        status = read_names(reading, error);
    if (status || files->count > 0)
        return status;
    char found[128] = "none";
    if (files->others)
        snprintf(found, sizeof found, "%lld other file%s, such as %s", (long long)files->others,
                 files->others == 1 ? "" : "s", files->other);
    return amli_fail(error, AML_BAD_DATA, "%s: expected %s%s, found %s", files->root, what,
                     reading->source->files->keeps ? " that `keep` keeps" : "", found);
}

// ---- one file

aml_status amli_files_read(const amli_reading *reading, int64_t row, void *const to[],
                           char path[PATH_MAX], const char **bytes, size_t *length,
                           aml_error *error)
{
    const amli_files *files = reading->own;
    const aml_dataset *dataset = reading->dataset;
    bool wants =
        (files->content >= 0 && to[files->content]) || (files->length >= 0 && to[files->length]);
    for (int i = 0; i < dataset->fields; i++) {
        int64_t value = files->given ? 0 : files->value[row * dataset->fields + i];
        if (dataset->field[i].part >= FILES_PARTS && to[i])
            memcpy(to[i], &value, reading->unit_bytes[i]); // little-endian: the low bytes first
    }
    *bytes = files->given;
    *length = files->given_bytes;
    snprintf(path, PATH_MAX, "%s", files->root);
    if (files->given || !wants)
        return AML_OK;
    char *text = NULL;
    aml_status status =
        amli_join(path, PATH_MAX, files->root, files->text.text + files->item[row].path, error);
    if (!status)
        status = amli_read_file(path, &text, length, error);
    *bytes = text;
    if (!status && (int64_t)*length != files->item[row].bytes)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: expected %lld bytes as when the program began, found %zu", path,
                           (long long)files->item[row].bytes, *length);
    return status;
}

void amli_files_done(const amli_reading *reading, const char *bytes)
{
    const amli_files *files = reading->own;
    if (bytes != files->given)
        free((void *)(uintptr_t)bytes);
}

void amli_files_close(amli_reading *reading)
{
    amli_files *files = reading->own;
    if (!files)
        return;
    amli_buffer_free(&files->text);
    free(files->item), free(files->value);
    free(files);
}

int64_t amli_files_rows(const amli_reading *reading)
{
    const amli_files *files = reading->own;
    return files->given ? 1 : files->count;
}

// ---- the fingerprint

enum { PIECE = 64 << 10 };
#define WHOLE_CONTENTS ((int64_t)1 << 30)

static aml_status hash_stretch(struct sha256_ctx *hash, int file, const char *path, int64_t from,
                               int64_t count, char *buffer, aml_error *error)
{
    while (count > 0) {
        ssize_t got = pread(file, buffer, (size_t)(count < PIECE ? count : PIECE), from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return amli_fail(error, AML_IO, "cannot read %s: %s", path,
                             got < 0 ? strerror(errno) : "it became shorter");
        sha256_update(hash, (size_t)got, (const uint8_t *)buffer);
        from += got;
        count -= got;
    }
    return AML_OK;
}

static aml_status hash_file(const amli_files *files, const amli_files_item *item, bool all,
                            struct sha256_ctx *hash, char *buffer, aml_error *error)
{
    char path[PATH_MAX];
    const char *name = files->text.text + item->path;
    aml_status status = amli_join(path, PATH_MAX, files->root, name, error);
    if (status)
        return status;
    sha256_update(hash, strlen(name) + 1, (const uint8_t *)name);
    sha256_update(hash, sizeof item->bytes, (const uint8_t *)&item->bytes);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
    int64_t first = all || item->bytes <= 2 * PIECE ? item->bytes : PIECE;
    status = hash_stretch(hash, file, path, 0, first, buffer, error);
    if (!status && first < item->bytes)
        status = hash_stretch(hash, file, path, item->bytes - PIECE, PIECE, buffer, error);
    close(file);
    return status;
}

aml_status amli_files_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                  aml_error *error)
{
    const amli_files *files = reading->own;
    if (files->given) {
        amli_hash(files->given, files->given_bytes, text);
        return AML_OK;
    }
    struct sha256_ctx hash;
    sha256_init(&hash);
    char *buffer = malloc(PIECE);
    aml_status status = buffer ? AML_OK : amli_no_memory(error, PIECE, "the files");
    int64_t bytes = 0;
    for (int64_t i = 0; i < files->count; i++)
        bytes += files->item[i].bytes;
    for (int64_t i = 0; i < files->count && !status; i++)
        status = hash_file(files, &files->item[i], bytes <= WHOLE_CONTENTS, &hash, buffer, error);
    free(buffer);
    amli_hash_finish(&hash, text);
    return status;
}
