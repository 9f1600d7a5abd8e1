// images.h: what sources of pictures share: a list of files, each with its class, of which any is
// decoded when it is asked for. In archives they may be texts instead.
//
//   images.c              the list, its fingerprint, decoding
//   source_images.c       folders, one a class
//   source_image_list.c   a csv file with paths and labels
//   source_shards.c       tar archives

#ifndef AMLI_IMAGES_H
#define AMLI_IMAGES_H

#include "runtime/data/picture.h"
#include "runtime/data/source.h"

// Fields read a part of a source: aml_field.part.
enum { IMAGE_PART, LABEL_PART };

typedef struct amli_image_item {
    size_t path;    // in amli_images.text
    int64_t offset; // in that file, -1: it is the whole of it
    int64_t bytes;
    int32_t class;
} amli_image_item;

typedef struct amli_images {
    amli_image_item *item;
    int64_t count, capacity;
    amli_buffer text; // the paths, each with a NUL, relative to root
    char root[PATH_MAX];
    int image, label; // the fields, -1: none
    bool texts;       // fields are tokens of what is in the files
    int32_t classes;  // of the label
    amli_picture_rule rule;
    const char *given; // the file of the command line, already read, or NULL
    size_t given_bytes;
} amli_images;

// Makes reading->own of the fields and the source's settings.
aml_status amli_images_begin(amli_reading *reading, amli_images **out, aml_error *error);
// Adds a picture; its size is looked up.
aml_status amli_images_add(amli_images *images, const char *path, int32_t class, aml_error *error);
// Adds a picture that is a part of a file, whose path is at `path` in images->text.
aml_status amli_images_add_part(amli_images *images, size_t path, int64_t offset, int64_t bytes,
                                int32_t class, aml_error *error);

// Of amli_source_kind.
void amli_images_close(amli_reading *reading);
int64_t amli_images_rows(const amli_reading *reading);
amli_row amli_images_at(const amli_reading *reading, void *own, int64_t row, void *const to[],
                        aml_error *error);
void *amli_images_thread_new(const amli_reading *reading);
void amli_images_thread_free(void *own);
aml_status amli_images_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                   aml_error *error);
// What all kinds of such sources do alike, as initializers.
#define AMLI_IMAGES_ALIKE                                                                          \
    .close = amli_images_close, .recognize = amli_is_picture,                                      \
    .fingerprint = amli_images_fingerprint, .rows = amli_images_rows, .at = amli_images_at,        \
    .thread_new = amli_images_thread_new, .thread_free = amli_images_thread_free

#endif
