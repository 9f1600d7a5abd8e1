// Pictures in folders: each folder in the source's folder is a class, and all pictures below it are
// its samples. Classes are numbered in the order of their names. Without a field for the label all
// pictures below the folder are samples.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/folder.h"
#include "runtime/data/images.h"

typedef struct List {
    amli_images *images;
    int32_t class; // of what the walk finds
} List;

static bool wants(const char *name, const struct stat *info, const void *own)
{
    static const char *const ending[] = {".jpg", ".jpeg", ".png", NULL};
    (void)info, (void)own;
    return amli_has_ending(name, ending);
}

static aml_status take(const char *path, const struct stat *info, void *own, aml_error *error)
{
    const List *list = own;
    (void)info;
    return amli_images_add(list->images, path, list->class, error);
}

// Adds the pictures below a folder; there has to be one.
static aml_status add_folder(amli_images *images, const char *path, int32_t class, aml_error *error)
{
    List list = {images, class};
    amli_walk walk = {.root = images->root, .wants = wants, .take = take, .own = &list};
    int64_t before = images->count;
    char whole[PATH_MAX], found[AMLI_OTHERS_TEXT];
    aml_status status = amli_walk_folder(&walk, path, error);
    if (status || images->count > before)
        return status;
    status = amli_join(whole, sizeof whole, images->root, path, error);
    amli_walk_others(&walk, found);
    return status ? status
                  : amli_fail(error, AML_BAD_DATA,
                              "%s: expected pictures (.jpg, .jpeg, .png), found %s",
                              *path ? whole : images->root, found);
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
    aml_status status = amli_list_folder(images->root, &names, error);
    if (!status)
        status = check_classes(reading, images, &names, error);
    for (int i = 0; i < names.count && !status; i++)
        status = add_folder(images, names.name[i], i, error);
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
    return add_folder(images, "", 0, error);
}

const amli_source_kind amli_source_images = {
    .name = "images", .open = open_images, .by_path = true, AMLI_IMAGES_ALIKE};
