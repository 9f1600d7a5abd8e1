// source.h: what a kind of source has to do: give row after row of the fields.
//
//   source.c             the list of kinds (aml/source.def)
//   source_csv.c         rows of separated values
//   source_idx.c         arrays of numbers, as in MNIST; unpack.c: bytes that may be compressed
//   source_text.c        tokens of a text
//   source_synthetic.c   rows that a compiled function makes
//
// table.c reads the files into memory, asks the kind for rows until there are no more, and puts
// them into columns; windows of rows, bad rows and the fingerprint are its business.

#ifndef AMLI_SOURCE_H
#define AMLI_SOURCE_H

#include <zlib.h>

#include "runtime/data/data.h"

typedef struct amli_source_file {
    char path[PATH_MAX]; // as messages call it
    char *text;          // NULL: the source has no such file
    size_t length;
} amli_source_file;

// One source while it is read.
typedef struct amli_reading {
    const aml_dataset *dataset;
    const aml_source *source;
    const amli_load *load;
    const size_t *unit_bytes; // of one row of each field
    amli_source_file file[AML_SOURCE_FILES];
    void *own;        // the kind's, made by open
    const char *hint; // what may help if the next row is a bad one; NULL: nothing is known
} amli_reading;

typedef enum amli_row {
    AMLI_ROW_READ,
    AMLI_ROW_BAD,    // it does not fit the fields; the next one can be read
    AMLI_ROW_END,    // there are no more
    AMLI_ROW_FAILED, // the source cannot be read further
} amli_row;

typedef struct amli_source_kind {
    const char *name;
    // Looks at what is there: the form of the files, and which part of them each field is.
    aml_status (*open)(amli_reading *reading, aml_error *error);
    // Writes the next row of field i to to[i]. After BAD and FAILED `error` says place, expected
    // and found.
    amli_row (*next)(amli_reading *reading, void *const to[], aml_error *error);
    void (*close)(amli_reading *reading); // also after a failed open
} amli_source_kind;

const amli_source_kind *amli_source_kind_of(aml_source_kind kind); // NULL for NONE
bool amli_is_idx(const char *text, size_t length); // whether these may be the bytes of an idx file

// ---- unpack.c: the bytes of a file, unpacked if they are in gzip's format (RFC 1952)

typedef struct amli_unpack {
    const char *at;
    size_t left;
    bool packed, ready, ended;
    z_stream stream;
} amli_unpack;

aml_status amli_unpack_begin(amli_unpack *unpack, const char *text, size_t length,
                             aml_error *error);
// How many of `bytes` were read; fewer at the end, or if `problem` says what is wrong.
size_t amli_unpack_read(amli_unpack *unpack, void *to, size_t bytes, const char **problem);
void amli_unpack_end(amli_unpack *unpack);
size_t amli_unpack_most(const amli_unpack *unpack); // no more than this can follow

#endif
