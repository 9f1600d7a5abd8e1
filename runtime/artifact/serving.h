// serving.h: a deployed executable. Everything that it needs is in one block that is mapped at the
// start; nothing is allocated afterwards, but for what the tokenizers of texts work with.

#ifndef AMLI_SERVING_H
#define AMLI_SERVING_H

#include <stdio.h>

#include "aml/artifact.h"
#include "runtime/base/base.h"
#include "runtime/data/csv.h"

enum {
    SERVING_WINDOW = 4 << 20, // of the input: the longest row
    SERVING_HEADER = 1 << 18, // the longest header whose names are shown in messages
    SERVING_CELLS = 1 << 18,  // the most columns: a picture of 224 x 224 has 150528
    SERVING_TIMES = 65536,    // the most repetitions of a benchmark
    SERVING_OUTPUT = 1 << 16,
    SERVING_TENSORS = 32
};

typedef struct amli_serving {
    const aml_artifact *artifact;
    aml_context *context;
    int64_t most_rows;             // of one call of predict
    void *field[SERVING_TENSORS];  // raw samples, most_rows of each field
    void *output[SERVING_TENSORS]; // predictions, most_rows of each output
    char *window, *header_text, *output_buffer;
    amli_cell *cell, *header;
    double *time;
} amli_serving;

// A kind of file that is no text of rows. Tables name the kinds that a program may be given, so
// that no other decoder is linked (picture.c, sound.c, npy.c).
enum { READER_ROOM = 512 };
typedef struct amli_file_reader {
    const char *what;           // "pictures (JPEG, PNG)"
    const char *const *endings; // of files in a folder that are such; NULL: folders are not read
    bool (*recognize)(const char *text, size_t length); // from at least 16 bytes, or all
    // Looks at a whole file, whose bytes stay where they are until `end`: how many samples it has.
    // `own` is READER_ROOM zeros. Errors name `path`.
    aml_status (*open)(const aml_artifact *artifact, const char *path, const char *bytes,
                       size_t length, void *own, int64_t *rows, aml_error *error);
    // Writes a sample to the fields.
    aml_status (*read)(const aml_artifact *artifact, void *own, int64_t row, void *const field[],
                       aml_error *error);
    void (*end)(void *own);
    // Calls `take` with each file of a folder that has one of the endings.
    aml_status (*walk)(const char *folder, const char *const endings[],
                       aml_status (*take)(const char *path, void *own, aml_error *error), void *own,
                       aml_error *error);
} amli_file_reader;

// picture.c: a `walk` through the files of a folder and the folders in it, by name.
aml_status amli_walk_files(const char *root, const char *const endings[],
                           aml_status (*take)(const char *path, void *own, aml_error *error),
                           void *own, aml_error *error);

// What `predict` is asked for.
typedef struct amli_serve_form {
    bool json;  // the result
    bool lines; // each line of the file is one text
} amli_serve_form;

// weights_map.c
typedef struct amli_mapped_weights {
    const void *at;
    size_t bytes;
} amli_mapped_weights;

// `level`: the name of the one to use; NULL: the best. `weights`: their file, if they are in one;
// NULL: it lies beside the program.
aml_status amli_serving_open(const aml_artifact *artifact, const char *level, const char *weights,
                             amli_serving *serving, aml_error *error);

// predict.c
aml_status amli_serve_file(amli_serving *serving, const char *path, FILE *out, amli_serve_form form,
                           aml_error *error);

// bench.c
aml_status amli_serve_bench(amli_serving *serving, double seconds, bool json, aml_error *error);

size_t amli_serving_tensor_bytes(const aml_tensor_info *tensor);

#endif
