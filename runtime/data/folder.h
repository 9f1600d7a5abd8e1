// folder.h: what all sources share that read many files: finding them in a folder and the folders
// in it, reading one, and a fingerprint of their contents.

#ifndef AMLI_FOLDER_H
#define AMLI_FOLDER_H

#include <sys/stat.h>

#include "runtime/base/base.h"
#include "runtime/base/hash.h"

// A walk through all that lies below a folder, in the order of the names; names that begin with a
// dot are passed over. Folders may be links; a link to a folder that holds it is refused, as the
// walk would never end.
typedef struct amli_walk {
    const char *root;
    // Whether a file belongs to the source; the last part of its path is `name`.
    bool (*wants)(const char *name, const struct stat *info, const void *own);
    // Takes one that does; its path is relative to root.
    aml_status (*take)(const char *path, const struct stat *info, void *own, aml_error *error);
    void *own;
    int64_t others; // files that do not
    char other[64]; // the name of the first of them
} amli_walk;

// Walks through the folder `path` in root; "": root itself.
aml_status amli_walk_folder(amli_walk *walk, const char *path, aml_error *error);
// What a walk found in place of what it wanted, for a message.
enum { AMLI_OTHERS_TEXT = 128 };
void amli_walk_others(const amli_walk *walk, char text[AMLI_OTHERS_TEXT]);

// Whether the name has one of the endings, in letters of either case; the last of them is NULL.
bool amli_has_ending(const char *name, const char *const ending[]);

// Reads a file that had so many bytes when the program began; after a failure *text is NULL.
aml_status amli_read_unchanged(const char *path, int64_t bytes, char **text, size_t *length,
                               aml_error *error);

// A fingerprint of many files. All contents are read for it as long as they have a GiB together:
// that is a second or two at the start. Of larger collections only the first and last 64 KiB of
// each file are read. What else tells files apart, such as their names, the caller adds to `hash`.
typedef struct amli_contents {
    struct sha256_ctx hash;
    char *buffer;
    bool whole; // all contents are read
} amli_contents;

// `bytes`: of all files together; `what` they are, for a message. End it also after a failure.
aml_status amli_contents_begin(amli_contents *contents, int64_t bytes, const char *what,
                               aml_error *error);
// Adds the part of a file that begins at `from`.
aml_status amli_contents_add(amli_contents *contents, const char *path, int64_t from, int64_t bytes,
                             aml_error *error);
void amli_contents_end(amli_contents *contents, char text[AMLI_HASH_TEXT]);

#endif
