// A picture, or a folder of them, as input of a deployed program. Only tables of programs whose
// data are pictures name what is here, so that others are not linked with decoders.

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/artifact/serving.h"
#include "runtime/data/folder.h"
#include "runtime/data/picture.h"

typedef struct Picture {
    const char *path, *bytes;
    size_t length;
} Picture;
_Static_assert(sizeof(Picture) <= READER_ROOM, "");

static aml_status open_picture(const aml_artifact *artifact, const char *path, const char *bytes,
                               size_t length, void *own, int64_t *rows, aml_error *error)
{
    (void)artifact, (void)error;
    *(Picture *)own = (Picture){path, bytes, length};
    *rows = 1;
    return AML_OK;
}

static aml_status read_picture(const aml_artifact *artifact, void *own, int64_t row,
                               void *const field[], aml_error *error)
{
    const Picture *picture = own;
    amli_decoder decoder = {0};
    (void)row;
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *tensor = &artifact->field[i].tensor;
        if (tensor->dtype != AML_U8 || tensor->shape.rank < 2)
            continue; // what predict reads of a data set of pictures is the picture alone
        const amli_picture_rule rule = {.height = tensor->shape.dim[0],
                                        .width = tensor->shape.dim[1],
                                        .channels =
                                            tensor->shape.rank == 3 ? (int)tensor->shape.dim[2] : 1,
                                        .resize = artifact->resize,
                                        .background = artifact->background,
                                        .most_pixels = artifact->most_pixels};
        aml_status status =
            amli_picture_read(&decoder, picture->bytes, picture->length, &rule, field[i], error);
        amli_decoder_end(&decoder);
        return status ? amli_prefix(error, "%s", picture->path) : AML_OK;
    }
    return amli_fail(error, AML_INTERNAL, "no field of '%s' is a picture", artifact->name);
}

static void end_picture(void *own)
{
    (void)own;
}

// ---- folders

typedef struct Folder {
    const char *root;
    const char *const *endings;
    aml_status (*take)(const char *path, void *own, aml_error *error);
    void *own;
    int64_t taken;
} Folder;

static bool wants(const char *name, const struct stat *info, const void *own)
{
    return S_ISREG(info->st_mode) && amli_has_ending(name, ((const Folder *)own)->endings);
}

static aml_status take(const char *path, const struct stat *info, void *own, aml_error *error)
{
    Folder *folder = own;
    char whole[PATH_MAX];
    (void)info;
    if ((size_t)snprintf(whole, sizeof whole, "%s/%s", folder->root, path) >= sizeof whole)
        return amli_fail(error, AML_IO, "%s/%s: the path is too long", folder->root, path);
    folder->taken++;
    return folder->take(whole, folder->own, error);
}

aml_status amli_walk_files(const char *root, const char *const endings[],
                           aml_status (*with)(const char *path, void *own, aml_error *error),
                           void *own, aml_error *error)
{
    Folder folder = {root, endings, with, own, 0};
    amli_walk walk = {.root = root, .wants = wants, .take = take, .own = &folder};
    aml_status status = amli_walk_folder(&walk, "", error);
    if (status || folder.taken)
        return status;
    char others[AMLI_OTHERS_TEXT];
    amli_walk_others(&walk, others);
    return amli_fail(error, AML_BAD_DATA, "%s: expected files that end in %s, found %s", root,
                     endings[0], others);
}

static const char *const endings[] = {".jpg", ".jpeg", ".png", NULL};
const amli_file_reader amli_picture_files = {"pictures (JPEG, PNG)", endings,      amli_is_picture,
                                             open_picture,           read_picture, end_picture,
                                             amli_walk_files};
