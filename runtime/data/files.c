// Folders in which each file is a sample.
//
// The fingerprint is a hash of all names and contents.

#include "runtime/data/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/folder.h"

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

typedef struct List {
    amli_files *files;
    const char *const *ending;
} List;

static bool wants(const char *name, const struct stat *info, const void *own)
{
    const List *list = own;
    return S_ISREG(info->st_mode) && amli_has_ending(name, list->ending);
}

static aml_status take(const char *path, const struct stat *info, void *own, aml_error *error)
{
    return amli_files_add(((List *)own)->files, path, info->st_size, error);
}

aml_status amli_files_add(amli_files *files, const char *path, int64_t bytes, aml_error *error)
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
    const char *cell = files->cell.text;
    for (int64_t i = 0; i < files->count * parts && !status && cell; i++) {
        all[i] = (amli_name_part){cell, strlen(cell)};
        cell += all[i].length + 1;
    }
    for (int64_t i = 0; i < files->count && !status && !rule->list; i++) {
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
    bool is_folder = stat(files->root, &info) == 0 && S_ISDIR(info.st_mode);
    if (reading->source->files->list && !(is_folder && reading->load->is_argument)) {
        aml_status status = amli_files_list(reading, files, what, error);
        return status ? status : read_names(reading, error);
    }
    if (!is_folder && stat(files->root, &info) == 0)
        return amli_fail(error, AML_BAD_DATA, "%s: expected a folder with %s, found a file",
                         files->root, what);
    List list = {files, ending};
    amli_walk walk = {.root = files->root, .wants = wants, .take = take, .own = &list};
    aml_status status = amli_walk_folder(&walk, "", error);
    if (!status && files->count > 0)
        status = read_names(reading, error);
    if (status || files->count > 0)
        return status;
    char found[AMLI_OTHERS_TEXT];
    amli_walk_others(&walk, found);
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
        status = amli_read_unchanged(path, files->item[row].bytes, &text, length, error);
    *bytes = text;
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
    amli_buffer_free(&files->cell);
    free(files->item), free(files->value);
    free(files);
}

int64_t amli_files_rows(const amli_reading *reading)
{
    const amli_files *files = reading->own;
    return files->given ? 1 : files->count;
}

// ---- the fingerprint

static aml_status add_contents(const amli_files *files, const amli_files_item *item,
                               amli_contents *contents, aml_error *error)
{
    char path[PATH_MAX];
    const char *name = files->text.text + item->path;
    aml_status status = amli_join(path, PATH_MAX, files->root, name, error);
    if (status)
        return status;
    sha256_update(&contents->hash, strlen(name) + 1, (const uint8_t *)name);
    sha256_update(&contents->hash, sizeof item->bytes, (const uint8_t *)&item->bytes);
    return amli_contents_add(contents, path, 0, item->bytes, error);
}

aml_status amli_files_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                  aml_error *error)
{
    const amli_files *files = reading->own;
    if (files->given) {
        amli_hash(files->given, files->given_bytes, text);
        return AML_OK;
    }
    amli_contents contents;
    int64_t bytes = 0;
    for (int64_t i = 0; i < files->count; i++)
        bytes += files->item[i].bytes;
    aml_status status = amli_contents_begin(&contents, bytes, "the files", error);
    if (!status && files->cell.length) // what the list says of them
        sha256_update(&contents.hash, files->cell.length, (const uint8_t *)files->cell.text);
    for (int64_t i = 0; i < files->count && !status; i++)
        status = add_contents(files, &files->item[i], &contents, error);
    reading->sampled = !contents.whole;
    amli_contents_end(&contents, text);
    return status;
}
