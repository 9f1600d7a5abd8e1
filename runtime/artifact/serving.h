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

// picture.c: how a file with a picture becomes a sample.
typedef struct amli_picture_reader {
    bool (*recognize)(const char *text, size_t length);
    aml_status (*read)(const aml_artifact *artifact, const char *bytes, size_t length,
                       void *const field[],
                       aml_error *error); // AML_BAD_DATA does not name the file
} amli_picture_reader;

// `level`: the name of the one to use; NULL: the best.
aml_status amli_serving_open(const aml_artifact *artifact, const char *level, amli_serving *serving,
                             aml_error *error);

// predict.c
aml_status amli_serve_file(amli_serving *serving, const char *path, FILE *out, bool json,
                           aml_error *error);

// bench.c
aml_status amli_serve_bench(amli_serving *serving, double seconds, bool json, aml_error *error);

size_t amli_serving_tensor_bytes(const aml_tensor_info *tensor);

#endif
