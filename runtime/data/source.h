// source.h: what a kind of source has to do: give row after row of the fields, or any row when it
// is asked for.
//
//   source_csv.c         rows of separated values; rows.c: a text file as numbered rows
//   source_idx.c         arrays of numbers, as in MNIST; unpack.c: bytes that may be compressed
//   source_text.c        tokens of a text
//   source_synthetic.c   rows that a compiled function makes
//
// The kinds are listed in aml/source.def. A program's tables name those that it uses: nothing here
// may name them all, or every program would carry every decoder.
//
// table.c reads the files into memory, asks the kind for rows until there are no more, and puts
// them into columns; windows of rows, bad rows and the fingerprint are its business. Fields that a
// kind gives on demand are left to fetch.c.

#ifndef AMLI_SOURCE_H
#define AMLI_SOURCE_H

#include <zlib.h>

#include "runtime/data/data.h"

typedef struct amli_source_file {
    char path[PATH_MAX]; // as messages call it
    char *text;          // NULL: the source has no such file
    size_t length;
} amli_source_file;

typedef struct amli_source_kind amli_source_kind;

// One source while it is read.
typedef struct amli_reading {
    const aml_dataset *dataset;
    const aml_source *source;
    const amli_load *load;
    const amli_source_kind *kind;
    const size_t *unit_bytes; // of one row of each field
    amli_source_file file[AML_SOURCE_FILES];
    void *own;        // the kind's, made by open
    bool *on_demand;  // of each field; open sets those that are not to be read at the beginning
    bool sampled;     // the fingerprint is not of all contents
    const char *hint; // what may help if the next row is a bad one; NULL: nothing is known
} amli_reading;

typedef enum amli_row {
    AMLI_ROW_READ,
    AMLI_ROW_BAD,    // it does not fit the fields; the next one can be read
    AMLI_ROW_END,    // there are no more
    AMLI_ROW_FAILED, // the source cannot be read further
} amli_row;

struct amli_source_kind {
    const char *name;
    // Looks at what is there: the form of the files, and which part of them each field is.
    aml_status (*open)(amli_reading *reading, aml_error *error);
    // Writes the next row of field i to to[i]. After BAD and FAILED `error` says place, expected
    // and found.
    amli_row (*next)(amli_reading *reading, void *const to[], aml_error *error);
    void (*close)(amli_reading *reading); // also after a failed open

    // What follows may be left out.

    // Whether these may be the bytes of such a file: a file of the command line is read as what it
    // is, and as csv if nobody knows it.
    bool (*recognize)(const char *text, size_t length);
    bool by_path; // the files are found, not read: open does that, and they may be folders. Those
                  // of the command line are read
    // Reads a file, or what a folder of them is, instead of the usual.
    aml_status (*read)(const amli_reading *reading, const char *path, char **text, size_t *length,
                       aml_error *error);
    bool checks; // fields on demand are read once at the beginning, so that bad rows are found then
    // A hash that tells whether the data changed, if that of the files is not it.
    aml_status (*fingerprint)(amli_reading *reading, char text[AMLI_HASH_TEXT], aml_error *error);

    // Rows by their number, instead of `next`. Both are asked from open to close, `at` by several
    // threads at the same time; `load` is gone when fields are asked for on demand. Fields whose
    // to[i] is NULL are not wanted. `own` is what thread_new gave the thread.
    int64_t (*rows)(const amli_reading *reading);
    amli_row (*at)(const amli_reading *reading, void *own, int64_t row, void *const to[],
                   aml_error *error);
    void *(*thread_new)(const amli_reading *reading); // NULL: no memory
    void (*thread_free)(void *own);

    // The names of the columns, NULL if there are none.
    const amli_cell *(*names)(const amli_reading *reading, int64_t *count);
    // The cells of the first field of a row, for a vocabulary.
    amli_row (*texts)(const amli_reading *reading, void *own, int64_t row, amli_cell cell[],
                      aml_error *error);
};

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
