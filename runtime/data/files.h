// files.h: what sources share in which each file of a folder is a sample: which files there are,
// and what their names say.
//
//   files.c          the list, parts of names, the fingerprint; folder.h: finding and hashing them
//   file_list.c      a csv file that names the files and has their parts
//   source_audio.c   sounds; sound.h: decoding one
//   source_texts.c   texts, as tokens
//
// Fields read a part of such a source: the content, how long it is, or a part of the name.

#ifndef AMLI_FILES_H
#define AMLI_FILES_H

#include "runtime/data/source.h"

enum { FILES_CONTENT, FILES_LENGTH, FILES_PARTS }; // aml_field.part; FILES_PARTS + i: of the name
enum { FILES_MOST_PARTS = AML_SOURCE_PARTS - FILES_PARTS };

typedef struct amli_files_item {
    size_t path; // in amli_files.text
    int64_t bytes;
} amli_files_item;

typedef struct amli_files {
    amli_files_item *item;
    int64_t *value; // of each item, for each field: what its name says
    int64_t count, capacity;
    amli_buffer text; // the paths, each with a NUL, relative to root
    amli_buffer cell; // of a list: the parts of all items one after the other, each with a NUL
    char root[PATH_MAX];
    int content, length; // the fields, -1: none
    const char *given;   // the file of the command line, already read, or NULL
    size_t given_bytes;
} amli_files;

// Where parts of a name are. False: the name does not fit the pattern, in which {x} is any text
// without a slash, as short as possible.
typedef struct amli_name_part {
    const char *at;
    size_t length;
} amli_name_part;
bool amli_name_fits(const char *pattern, const char *name, amli_name_part part[], int parts);

// Makes reading->own: the list of files whose name has one of the endings (the last is NULL).
// `what` says in messages what they are. Fields of the content are on demand.
aml_status amli_files_open(amli_reading *reading, const char *const ending[], const char *what,
                           bool (*recognize)(const char *text, size_t length), amli_files **out,
                           aml_error *error);

// Puts what the name of a file says into the fields, and gives its content; the caller frees
// *bytes unless it is that of `given`.
aml_status amli_files_read(const amli_reading *reading, int64_t row, void *const to[],
                           char path[PATH_MAX], const char **bytes, size_t *length,
                           aml_error *error);
void amli_files_done(const amli_reading *reading, const char *bytes);

// A file that is a sample.
aml_status amli_files_add(amli_files *files, const char *path, int64_t bytes, aml_error *error);

// ---- file_list.c

// Adds the files that the list of the reading names, and their parts to files->cell.
aml_status amli_files_list(const amli_reading *reading, amli_files *files, const char *what,
                           aml_error *error);

// Of amli_source_kind.
void amli_files_close(amli_reading *reading);
int64_t amli_files_rows(const amli_reading *reading);
aml_status amli_files_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                  aml_error *error);

#endif
