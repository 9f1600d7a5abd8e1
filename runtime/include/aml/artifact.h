// aml/artifact.h: predicting with a deployed model from C.
//
// The code and the weights are constants, so any number of threads may predict at once, each with a
// context of its own. A context lives in memory that the caller provides; nothing is allocated and
// no global is written.

#ifndef AML_ARTIFACT_H
#define AML_ARTIFACT_H

#include "aml/program.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aml_context aml_context;

typedef enum aml_library_status {
#define LIBRARY(NAME, code, meaning) AML_LIBRARY_##NAME = code,
#include "aml/library_status.def"
#undef LIBRARY
} aml_library_status;

// How many bytes a context of this artifact needs.
size_t aml_context_bytes(const aml_artifact *artifact);

// The best level that this processor can run; NULL: there is none.
const aml_level *aml_artifact_level(const aml_artifact *artifact);

// Makes a context in `memory`, which must hold aml_context_bytes and may have any alignment. It
// needs no end: the caller takes the memory back when it is no longer used. NULL, MEMORY, PROCESSOR
// or VERSION; *out is then NULL.
aml_library_status aml_context_open(const aml_artifact *artifact, void *memory, size_t bytes,
                                    aml_context **out);

// The same with the bytes of the weights' file (artifact->weights), which must stay where they are,
// at an address that is a multiple of AML_ALIGNMENT, as a mapping is. WEIGHTS if they are others.
aml_library_status aml_context_open_with(const aml_artifact *artifact, void *memory, size_t bytes,
                                         const void *weights, size_t weights_bytes,
                                         aml_context **out);

// Predicts `rows` samples. field[i] holds the raw values of artifact->field[i] of all rows, one row
// after the other, each dense and row-major. output[i] receives output i of predict for all rows in
// the same way; NULL leaves it out. NULL, ROWS, NOT_FINITE or CLASS; nothing is written then.
aml_library_status aml_context_predict(aml_context *context, const void *const field[],
                                       int64_t rows, void *const output[]);

// A tensor with all that is to be checked about it.
typedef struct aml_array {
    const char *name; // of an input or output
    void *data;       // dense, row-major; of an input it is only read
    const char *type; // f32, u8, i32, ...
    int32_t rank;     // with the axis of the rows, which is the first
    const int64_t *shape;
} aml_array;

// The same for inputs and outputs in any order, told by name. All inputs must be there, an output
// may be left out. Moreover COUNT, NAME, TYPE or SHAPE.
aml_library_status aml_context_predict_arrays(aml_context *context, const aml_array input[],
                                              int32_t inputs, const aml_array output[],
                                              int32_t outputs);

// What was wrong with the last call that used the context, in a sentence: which input, which row,
// what was expected and found. It is kept in the context, until the next call. "" after a success.
const char *aml_context_problem(const aml_context *context);

// The number of predict's outputs, and output `index` for one row (its shape without the batch
// axis).
int32_t aml_artifact_outputs(const aml_artifact *artifact);
aml_tensor_info aml_artifact_output(const aml_artifact *artifact, int32_t index);

// ---- the same of a `generate` block: one token after the other

// The job has one function, decode, with the weights inside, and caches.
typedef struct aml_token_level {
    const aml_job *job;
    const char *cpu_level, *cpu_features;
} aml_token_level;
typedef struct aml_token_model {
    int32_t abi;
    int32_t levels; // the best first; they differ in decode alone
    const aml_token_level *level;
    const aml_weights_file *weights; // in a file; NULL: in the functions
} aml_token_model;
typedef struct aml_tokens aml_tokens; // a context

size_t aml_tokens_bytes(const aml_token_model *model);
// As aml_context_open. The context has seen no token.
aml_status aml_tokens_open(const aml_token_model *model, void *memory, size_t bytes,
                           aml_tokens **out);
// The same with the bytes of the weights' file, as for aml_context_open_with. AML_BAD_DATA if they
// are others.
aml_status aml_tokens_open_with(const aml_token_model *model, void *memory, size_t bytes,
                                const void *weights, size_t weights_bytes, aml_tokens **out);
// Shows the model one token more; score[v] is that of token v to come next, NULL leaves them out.
// AML_INVALID if the token is outside of the vocabulary or the context is full.
aml_status aml_tokens_next(aml_tokens *tokens, int32_t token, float *score);
void aml_tokens_reset(aml_tokens *tokens); // forgets all tokens
const char *aml_tokens_message(aml_status status);

// A sentence for a status.
const char *aml_library_message(aml_library_status status);

#ifdef __cplusplus
}
#endif

#endif
