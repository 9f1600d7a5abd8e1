// Pictures in folders: each folder in the source's folder is a class, and all pictures below it are
// its samples. Classes are numbered in the order of their names. Without a field for the label all
// pictures below the folder are samples.
//
// Folders may be links; a link to a folder that holds it is refused, as it would never end.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/images.h"

// The folders from the root to where the walk is.
typedef struct Above {
    const struct Above *above;
    dev_t device;
    ino_t number;
} Above;

typedef struct Walk {
    amli_images *images;
    int64_t others; // files that are no pictures
    char other[64]; // the name of the first of them
} Walk;

static aml_status walk(Walk *state, const char *path, const Above *above, int32_t class,
                       aml_error *error)
{
    amli_images *images = state->images;
    char whole[PATH_MAX];
    struct stat info;
    amli_names names;
    aml_status status = amli_join(whole, sizeof whole, images->root, path, error);
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
            status = amli_join(inner_whole, sizeof inner_whole, images->root, inner, error);
        if (status)
            break;
        if (stat(inner_whole, &info) != 0)
            status = amli_fail(error, AML_IO, "cannot open %s: %s", inner_whole, strerror(errno));
        else if (S_ISDIR(info.st_mode))
            status = walk(state, inner, &here, class, error);
        else if (amli_image_name(name))
            status = amli_images_add(images, inner, class, error);
        else if (state->others++ == 0)
            snprintf(state->other, sizeof state->other, "%s", name);
    }
    amli_free_names(&names);
    return status;
}

static aml_status no_pictures(const Walk *state, const char *path, aml_error *error)
{
    char found[128] = "none";
    if (state->others)
        snprintf(found, sizeof found, "%lld other file%s, such as %s", (long long)state->others,
                 state->others == 1 ? "" : "s", state->other);
    return amli_fail(error, AML_BAD_DATA, "%s: expected pictures (.jpg, .jpeg, .png), found %s",
                     path, found);
}

static bool is_folder(const char *root, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    return name[0] != '.' && !amli_join(path, sizeof path, root, name, NULL) &&
           stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

// Leaves the names of folders, and compares them with those that the program knows.
static aml_status check_classes(const amli_reading *reading, const amli_images *images,
                                amli_names *names, aml_error *error)
{
    const aml_source *source = reading->source;
    int folders = 0;
    for (int i = 0; i < names->count; i++) {
        char *name = names->name[i];
        if (is_folder(images->root, name))
            names->name[folders++] = name;
        else
            free(name);
    }
    names->count = folders;
    for (int i = 0; i < source->classes; i++)
        if (i >= folders || strcmp(names->name[i], source->class_name[i]) != 0)
            return amli_fail(
                error, AML_BAD_DATA,
                "%s: expected the %d classes that the program was built with, found "
                "%s%s%s where '%s' should be",
                images->root, source->classes, i < folders ? "the folder '" : "no folder",
                i < folders ? names->name[i] : "", i < folders ? "'" : "", source->class_name[i]);
    if (folders == images->classes)
        return AML_OK;
    const aml_field *field = &reading->dataset->field[images->label];
    return amli_fail(error, AML_BAD_DATA,
                     "%s: expected %d folders, one for each class of the field '%s' (%s), found %d",
                     images->root, images->classes, field->tensor.name,
                     field->place ? field->place : "?", folders);
}

static aml_status add_classes(amli_reading *reading, amli_images *images, aml_error *error)
{
    amli_names names;
    struct stat info;
    if (stat(images->root, &info) != 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", images->root, strerror(errno));
    const Above root = {NULL, info.st_dev, info.st_ino};
    aml_status status = amli_list_folder(images->root, &names, error);
    if (!status)
        status = check_classes(reading, images, &names, error);
    for (int i = 0; i < names.count && !status; i++) {
        Walk state = {.images = images};
        int64_t before = images->count;
        status = walk(&state, names.name[i], &root, i, error);
        if (!status && images->count == before) {
            char path[PATH_MAX];
            status = amli_join(path, sizeof path, images->root, names.name[i], error);
            status = status ? status : no_pictures(&state, path, error);
        }
    }
    amli_free_names(&names);
    return status;
}

static aml_status open_images(amli_reading *reading, aml_error *error)
{
    amli_images *images;
    struct stat info;
    aml_status status = amli_images_begin(reading, &images, error);
    if (status || images->given)
        return status;
    if (stat(images->root, &info) == 0 && !S_ISDIR(info.st_mode))
        return amli_fail(error, AML_BAD_DATA, "%s: expected a folder of pictures, found a file",
                         images->root);
    if (images->label >= 0 && !reading->load->labels_may_be_absent)
        return add_classes(reading, images, error);
    Walk state = {.images = images};
    status = walk(&state, "", NULL, 0, error);
    return status || images->count ? status : no_pictures(&state, images->root, error);
}

const amli_source_kind amli_source_images = {.name = "images",
                                             .open = open_images,
                                             .close = amli_images_close,
                                             .recognize = amli_is_picture,
                                             .by_path = true,
                                             .fingerprint = amli_images_fingerprint,
                                             .rows = amli_images_rows,
                                             .at = amli_images_at,
                                             .thread_new = amli_images_thread_new,
                                             .thread_free = amli_images_thread_free};
