// Lists of pictures.
//
// The fingerprint is a hash of all paths, sizes, classes and contents.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/data/folder.h"
#include "runtime/data/images.h"

aml_status amli_images_begin(amli_reading *reading, amli_images **out, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const aml_source *source = reading->source;
    amli_images *images = reading->own = *out = calloc(1, sizeof *images);
    if (!images)
        return amli_no_memory(error, sizeof *images, "the pictures");
    images->image = images->label = -1;
    for (int i = 0; i < dataset->fields; i++) {
        const aml_tensor_info *tensor = &dataset->field[i].tensor;
        const aml_shape *shape = &tensor->shape;
        if (dataset->field[i].rule && dataset->field[i].rule->kind == AML_CELL_TEXT) {
            images->texts = reading->on_demand[i] = true;
            continue;
        }
        if (dataset->field[i].part == LABEL_PART) {
            images->label = i;
            images->classes = (int32_t)tensor->classes;
            continue;
        }
        int channels = shape->rank == 2 ? 1 : shape->rank == 3 ? (int)shape->dim[2] : 0;
        if (tensor->dtype != AML_U8 || (channels != 1 && channels != 3) || images->image >= 0)
            return amli_fail(error, AML_INTERNAL, "the field '%s' does not hold a picture",
                             tensor->name);
        images->image = i;
        images->rule = (amli_picture_rule){.height = shape->dim[0],
                                           .width = shape->dim[1],
                                           .channels = channels,
                                           .resize = source->resize,
                                           .background = source->background,
                                           .most_pixels = source->most_pixels};
        reading->on_demand[i] = true;
    }
    if (source->classes && images->label >= 0 && source->classes != images->classes)
        return amli_fail(error, AML_INTERNAL, "%d names of %d classes", source->classes,
                         images->classes);
    const amli_source_file *file = &reading->file[0];
    snprintf(images->root, sizeof images->root, "%s", file->path);
    if (reading->load->is_argument && file->text && amli_is_picture(file->text, file->length)) {
        images->given = file->text;
        images->given_bytes = file->length;
    }
    return AML_OK;
}

static aml_status join(const amli_images *images, const char *path, char whole[PATH_MAX],
                       aml_error *error)
{
    return path[0] == '/' ? amli_join(whole, PATH_MAX, "", path + 1, error)
                          : amli_join(whole, PATH_MAX, images->root, path, error);
}

aml_status amli_images_add_part(amli_images *images, size_t path, int64_t offset, int64_t bytes,
                                int32_t class, aml_error *error)
{
    if (images->count == images->capacity) {
        int64_t more = images->capacity ? images->capacity * 2 : 256;
        amli_image_item *item = realloc(images->item, (size_t)more * sizeof *item);
        if (!item)
            return amli_no_memory(error, (size_t)more * sizeof *item, "the pictures");
        images->item = item;
        images->capacity = more;
    }
    images->item[images->count++] = (amli_image_item){path, offset, bytes, class};
    return AML_OK;
}

aml_status amli_images_add(amli_images *images, const char *path, int32_t class, aml_error *error)
{
    char whole[PATH_MAX];
    struct stat info;
    aml_status status = join(images, path, whole, error);
    if (status)
        return status;
    if (stat(whole, &info) != 0)
        return amli_fail(error, errno == ENOENT || errno == ENOTDIR ? AML_NOT_FOUND : AML_IO,
                         "cannot open %s: %s", whole, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return amli_fail(error, AML_BAD_DATA, "%s: expected a file with a picture, found %s", whole,
                         S_ISDIR(info.st_mode) ? "a folder" : "something else");
    size_t at = images->text.length;
    amli_buffer_add(&images->text, path, strlen(path) + 1);
    status = amli_images_add_part(images, at, -1, info.st_size, class, error);
    return status                ? status
           : images->text.failed ? amli_no_memory(error, images->text.length, "the pictures")
                                 : AML_OK;
}

void amli_images_close(amli_reading *reading)
{
    amli_images *images = reading->own;
    if (!images)
        return;
    amli_buffer_free(&images->text);
    free(images->item);
    free(images);
}

int64_t amli_images_rows(const amli_reading *reading)
{
    const amli_images *images = reading->own;
    return images->given ? 1 : images->count;
}

// What one thread decodes with.
typedef struct Thread {
    amli_decoder picture;
    const aml_dataset *dataset;
    void **cells; // of fields that are tokens
} Thread;

void *amli_images_thread_new(const amli_reading *reading)
{
    const aml_dataset *dataset = reading->dataset;
    Thread *thread = calloc(1, sizeof *thread);
    if (thread && amli_cells_open(dataset->field, dataset->fields, &thread->cells, NULL)) {
        free(thread);
        return NULL;
    }
    if (thread)
        thread->dataset = dataset;
    return thread;
}

void amli_images_thread_free(void *own)
{
    Thread *thread = own;
    amli_decoder_end(&thread->picture);
    amli_cells_close(thread->dataset->field, thread->dataset->fields, thread->cells);
    free(thread);
}

// A part of a file.
static aml_status read_part(const amli_image_item *item, const char *path, char **bytes,
                            size_t *length, aml_error *error)
{
    *length = (size_t)item->bytes;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
    *bytes = malloc(*length + 1);
    aml_status status = *bytes ? AML_OK : amli_no_memory(error, *length, path);
    for (size_t done = 0; !status && done < *length;) {
        ssize_t got = pread(file, *bytes + done, *length - done, item->offset + (int64_t)done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            status = amli_fail(error, AML_BAD_DATA, "%s: expected %zu bytes at byte %lld, found %s",
                               path, *length, (long long)item->offset,
                               got ? strerror(errno) : "the end of the file");
    }
    close(file);
    if (status) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}

static aml_status read_item(const amli_images *images, int64_t row, char path[PATH_MAX],
                            char **bytes, size_t *length, aml_error *error)
{
    const amli_image_item *item = &images->item[row];
    aml_status status = join(images, images->text.text + item->path, path, error);
    if (!status && item->offset >= 0)
        return read_part(item, path, bytes, length, error);
    if (!status)
        status = amli_read_unchanged(path, item->bytes, bytes, length, error);
    return status;
}

static aml_status read_text(const amli_reading *reading, const Thread *thread, int field,
                            const char *bytes, size_t length, void *to, aml_error *error)
{
    const aml_field *of = &reading->dataset->field[field];
    const amli_cell cell = {bytes, length, false};
    char expected[120], found[96];
    if (of->rule->decoder->decode(thread->cells[field], of, &cell, to, expected, sizeof expected))
        return AML_OK;
    return amli_fail(error, AML_BAD_DATA, "field '%s': expected %s, found %s", of->tensor.name,
                     expected, amli_cell_text(&cell, found, sizeof found));
}

// The fields that are made of a file's content.
static aml_status read_content(const amli_reading *reading, Thread *thread, const char *bytes,
                               size_t length, void *const to[], aml_error *error)
{
    const amli_images *images = reading->own;
    aml_status status = AML_OK;
    if (images->image >= 0 && to[images->image])
        status = amli_picture_read(&thread->picture, bytes, length, &images->rule,
                                   to[images->image], error);
    for (int i = 0; i < reading->dataset->fields && images->texts && !status; i++)
        if (to[i] && reading->on_demand[i] && i != images->image)
            status = read_text(reading, thread, i, bytes, length, to[i], error);
    return status;
}

amli_row amli_images_at(const amli_reading *reading, void *own, int64_t row, void *const to[],
                        aml_error *error)
{
    const amli_images *images = reading->own;
    bool wanted = false;
    for (int i = 0; i < reading->dataset->fields; i++)
        wanted = wanted || (to[i] && i != images->label);
    if (images->label >= 0 && to[images->label]) {
        int64_t class = images->given ? 0 : images->item[row].class;
        memcpy(to[images->label], &class, reading->unit_bytes[images->label]);
    }
    if (!wanted)
        return AMLI_ROW_READ;
    char path[PATH_MAX], *bytes = NULL;
    size_t length = images->given_bytes;
    aml_status status =
        images->given ? AML_OK : read_item(images, row, path, &bytes, &length, error);
    if (status)
        return status == AML_BAD_DATA ? AMLI_ROW_BAD : AMLI_ROW_FAILED;
    status = read_content(reading, own, images->given ? images->given : bytes, length, to, error);
    free(bytes);
    if (status && (images->given || images->item[row].offset < 0))
        amli_prefix(error, "%s", images->given ? images->root : path);
    else if (status)
        amli_prefix(error, "%s: byte %lld", path, (long long)images->item[row].offset);
    return !status ? AMLI_ROW_READ : status == AML_BAD_DATA ? AMLI_ROW_BAD : AMLI_ROW_FAILED;
}

// ---- the fingerprint

static aml_status add_contents(const amli_images *images, const amli_image_item *item,
                               amli_contents *contents, aml_error *error)
{
    char path[PATH_MAX];
    const char *name = images->text.text + item->path, *slash = strrchr(name, '/');
    aml_status status = join(images, name, path, error);
    if (status)
        return status;
    int64_t numbers[2] = {item->bytes, item->class};
    if (item->offset >= 0 && slash) // of an archive the name, wherever it lies
        name = slash + 1;
    sha256_update(&contents->hash, strlen(name) + 1, (const uint8_t *)name);
    sha256_update(&contents->hash, sizeof numbers, (const uint8_t *)numbers);
    return amli_contents_add(contents, path, item->offset < 0 ? 0 : item->offset, item->bytes,
                             error);
}

aml_status amli_images_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                   aml_error *error)
{
    const amli_images *images = reading->own;
    if (images->given) {
        amli_hash(images->given, images->given_bytes, text);
        return AML_OK;
    }
    amli_contents contents;
    int64_t bytes = 0;
    for (int64_t i = 0; i < images->count; i++)
        bytes += images->item[i].bytes;
    aml_status status = amli_contents_begin(&contents, bytes, "the pictures", error);
    for (int64_t i = 0; i < images->count && !status; i++)
        status = add_contents(images, &images->item[i], &contents, error);
    reading->sampled = !contents.whole;
    amli_contents_end(&contents, text);
    return status;
}
