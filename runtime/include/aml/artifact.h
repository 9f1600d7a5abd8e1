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

// How many bytes a context of this artifact needs.
size_t aml_context_bytes(const aml_artifact *artifact);

// Makes a context in `memory`, which must hold aml_context_bytes and may have any alignment. It
// needs no end: the caller takes the memory back when it is no longer used. AML_INVALID if the
// memory is too small or the artifact is of another ABI, AML_BAD_CPU if this machine lacks a CPU
// feature that the code needs. *out is then NULL.
aml_status aml_context_open(const aml_artifact *artifact, void *memory, size_t bytes,
                            aml_context **out);

// Predicts `rows` samples. field[i] holds the raw values of artifact->field[i] of all rows, one row
// after the other, each dense and row-major. output[i] receives output i of predict for all rows in
// the same way; NULL leaves it out. AML_INVALID if rows is negative or a class value is outside its
// range (nothing is written then).
aml_status aml_context_predict(aml_context *context, const void *const field[], int64_t rows,
                               void *const output[]);

// The number of predict's outputs, and output `index` for one row (its shape without the batch
// axis).
int32_t aml_artifact_outputs(const aml_artifact *artifact);
aml_tensor_info aml_artifact_output(const aml_artifact *artifact, int32_t index);

// ---- the same of a `generate` block: one token after the other

// The job has one function, decode, with the weights inside, and caches.
typedef struct aml_token_model {
    int32_t abi;
    const aml_job *job;
    const char *cpu_level, *cpu_features;
} aml_token_model;
typedef struct aml_tokens aml_tokens; // a context

size_t aml_tokens_bytes(const aml_token_model *model);
// As aml_context_open. The context has seen no token.
aml_status aml_tokens_open(const aml_token_model *model, void *memory, size_t bytes,
                           aml_tokens **out);
// Shows the model one token more; score[v] is that of token v to come next, NULL leaves them out.
// AML_INVALID if the token is outside of the vocabulary or the context is full.
aml_status aml_tokens_next(aml_tokens *tokens, int32_t token, float *score);
void aml_tokens_reset(aml_tokens *tokens); // forgets all tokens

// A sentence for a status.
const char *aml_artifact_message(aml_status status);

#ifdef __cplusplus
}
#endif

#endif
