// Many files: walking through folders, reading one, and a fingerprint of all.

#include "runtime/data/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

// ---- the walk

// The folders from the root to where the walk is.
typedef struct Above {
    const struct Above *above;
    dev_t device;
    ino_t number;
} Above;

static aml_status look_up(const char *path, struct stat *info, aml_error *error)
{
    return stat(path, info) == 0
               ? AML_OK
               : amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
}

static aml_status go(amli_walk *walk, const char *path, const Above *above, aml_error *error)
{
    char whole[PATH_MAX];
    struct stat info;
    amli_names names;
    aml_status status = amli_join(whole, sizeof whole, walk->root, path, error);
    if (!status)
        status = look_up(whole, &info, error);
    if (status)
        return status;
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
        char inner[PATH_MAX];
        if (name[0] == '.')
            continue;
        if (*path)
            status = amli_join(inner, sizeof inner, path, name, error);
        else
            snprintf(inner, sizeof inner, "%s", name);
        if (!status)
            status = amli_join(whole, sizeof whole, walk->root, inner, error);
        if (!status)
            status = look_up(whole, &info, error);
        if (status)
            break;
        if (S_ISDIR(info.st_mode))
            status = go(walk, inner, &here, error);
        else if (walk->wants(name, &info, walk->own))
            status = walk->take(inner, &info, walk->own, error);
        else if (walk->others++ == 0)
            snprintf(walk->other, sizeof walk->other, "%s", name);
    }
    amli_free_names(&names);
    return status;
}

aml_status amli_walk_folder(amli_walk *walk, const char *path, aml_error *error)
{
    struct stat info;
    if (!*path)
        return go(walk, path, NULL, error);
    aml_status status = look_up(walk->root, &info, error);
    if (status)
        return status;
    const Above root = {NULL, info.st_dev, info.st_ino};
    return go(walk, path, &root, error);
}

void amli_walk_others(const amli_walk *walk, char text[AMLI_OTHERS_TEXT])
{
    if (walk->others)
        snprintf(text, AMLI_OTHERS_TEXT, "%lld other file%s, such as %s", (long long)walk->others,
                 walk->others == 1 ? "" : "s", walk->other);
    else
        snprintf(text, AMLI_OTHERS_TEXT, "none");
}

bool amli_has_ending(const char *name, const char *const ending[])
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && ending[i]; i++)
        if (strcasecmp(dot, ending[i]) == 0)
            return true;
    return false;
}

// ---- one file

aml_status amli_read_unchanged(const char *path, int64_t bytes, char **text, size_t *length,
                               aml_error *error)
{
    aml_status status = amli_read_file(path, text, length, error);
    if (!status && (int64_t)*length != bytes) {
        free(*text);
        *text = NULL;
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected %lld bytes as when the program began, found %zu", path,
                         (long long)bytes, *length);
    }
    return status;
}

// ---- the fingerprint

enum { PIECE = 64 << 10 };
#define WHOLE_CONTENTS ((int64_t)1 << 30)

aml_status amli_contents_begin(amli_contents *contents, int64_t bytes, const char *what,
                               aml_error *error)
{
    *contents = (amli_contents){.buffer = malloc(PIECE), .whole = bytes <= WHOLE_CONTENTS};
    sha256_init(&contents->hash);
    return contents->buffer ? AML_OK : amli_no_memory(error, PIECE, what);
}

static aml_status hash_stretch(amli_contents *contents, int file, const char *path, int64_t from,
                               int64_t count, aml_error *error)
{
    while (count > 0) {
        ssize_t got = pread(file, contents->buffer, (size_t)(count < PIECE ? count : PIECE), from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return amli_fail(error, AML_IO, "cannot read %s: %s", path,
                             got < 0 ? strerror(errno) : "it became shorter");
        sha256_update(&contents->hash, (size_t)got, (const uint8_t *)contents->buffer);
        from += got;
        count -= got;
    }
    return AML_OK;
}

aml_status amli_contents_add(amli_contents *contents, const char *path, int64_t from, int64_t bytes,
                             aml_error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
    int64_t first = contents->whole || bytes <= 2 * PIECE ? bytes : PIECE;
    aml_status status = hash_stretch(contents, file, path, from, first, error);
    if (!status && first < bytes)
        status = hash_stretch(contents, file, path, from + bytes - PIECE, PIECE, error);
    close(file);
    return status;
}

void amli_contents_end(amli_contents *contents, char text[AMLI_HASH_TEXT])
{
    free(contents->buffer);
    amli_hash_finish(&contents->hash, text);
}
