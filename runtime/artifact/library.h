// library.h: what the files of a deployed library share.
//
//   library.c  contexts, levels, predicting
//   values.c   whether inputs hold what they may, and telling what is wrong
//   arrays.c   inputs and outputs by name, with type and shape

#ifndef AMLI_LIBRARY_H
#define AMLI_LIBRARY_H

#include "aml/artifact.h"
#include "runtime/base/base.h"

enum { MOST_TENSORS = 32, PROBLEM_ROOM = 240 };

// A sentence, put together without printf. What does not fit is left out.
typedef struct amli_problem {
    uint32_t length;
    char text[PROBLEM_ROOM];
} amli_problem;

// values.c
void amli_problem_begin(amli_problem *problem);
void amli_problem_text(amli_problem *problem, const char *text);
void amli_problem_number(amli_problem *problem, const char *before, int64_t number);
// NOT_FINITE or CLASS. `missing`: NaN is a value like others.
aml_library_status amli_check_values(const aml_tensor_info *tensor, bool missing, const void *at,
                                     int64_t rows, amli_problem *problem);

// library.c
// As aml_context_open, with a level that this processor can run; NULL: there is none.
aml_library_status amli_context_open(const aml_artifact *artifact, const aml_level *level,
                                     void *memory, size_t bytes, const void *weights,
                                     size_t weights_bytes, aml_context **out);
const aml_artifact *amli_context_artifact(const aml_context *context);
amli_problem *amli_context_problem(aml_context *context);

#endif
