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

// A sentence for a status.
const char *aml_artifact_message(aml_status status);

#ifdef __cplusplus
}
#endif

#endif
