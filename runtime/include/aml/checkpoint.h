// aml/checkpoint.h: reading checkpoints and safetensors files.
//
// A checkpoint is a folder: weights.safetensors, optimizer.safetensors, state.json, and
// MANIFEST.json with the size and SHA-256 of each. A run keeps them in
// runs/JOB/RUN/checkpoints/step-000123. Files are never trusted: every length, offset, shape and
// hash is checked before it is used, and nothing is allocated that the file is not large enough
// for.
//
// An object is used by one thread at a time. Pointers that a function returns belong to the object
// and live as long.

#ifndef AML_CHECKPOINT_H
#define AML_CHECKPOINT_H

#include "aml/program.h"
#include "aml/text.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- a safetensors file, read into memory

typedef struct aml_tensors aml_tensors;

// The caller closes *out. AML_NOT_FOUND if there is no such file, AML_IO if it cannot be read,
// AML_BAD_CHECKPOINT if it is not a sound safetensors file, AML_NO_MEMORY. *out is then NULL.
aml_status aml_tensors_open(const char *path, aml_tensors **out, aml_error *error);

// The same for a file that is already in memory; the bytes are copied. `name` is used in errors.
aml_status aml_tensors_parse(const char *name, const void *bytes, size_t length, aml_tensors **out,
                             aml_error *error);

void aml_tensors_close(aml_tensors *tensors); // NULL is allowed

int32_t aml_tensors_count(const aml_tensors *tensors);
const aml_tensor_info *aml_tensors_info(const aml_tensors *tensors,
                                        int32_t index); // in the order of the data
int32_t aml_tensors_find(const aml_tensors *tensors,
                         const char *name); // -1 if there is none of that name
const void *aml_tensors_data(const aml_tensors *tensors,
                             int32_t index); // dense, row-major; not necessarily aligned
size_t aml_tensors_bytes(const aml_tensors *tensors, int32_t index);

// Whether a file has what a `load` of a job asks for; `name` is used in errors. AML_BAD_CHECKPOINT
// says what is missing, unused, or of another shape, with both sides.
aml_status aml_load_check(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                          const char *name, aml_error *error);

// ---- a checkpoint

typedef struct aml_checkpoint aml_checkpoint;

typedef struct aml_checkpoint_info {
    const char *program, *job;
    const char *source_hash;      // of the program that wrote it
    const char *data_fingerprint; // SHA-256 of the training data's bytes, hex
    const char *weights_hash;     // SHA-256 of weights.safetensors, hex
    int64_t step;                 // optimizer steps done
    bool scored;                  // whether it was validated
    double score;                 // of score_name
    const char *score_name;
} aml_checkpoint_info;

// Opens and verifies a checkpoint folder: the manifest, and the size and hash of every file.
// AML_NOT_FOUND, AML_IO, AML_BAD_CHECKPOINT (what is torn or altered is named), AML_NO_MEMORY.
aml_status aml_checkpoint_open(const char *folder, aml_checkpoint **out, aml_error *error);
void aml_checkpoint_close(aml_checkpoint *checkpoint); // NULL is allowed

const aml_checkpoint_info *aml_checkpoint_describe(const aml_checkpoint *checkpoint);
const aml_tensors *aml_checkpoint_weights(const aml_checkpoint *checkpoint);
const char *aml_checkpoint_path(const aml_checkpoint *checkpoint);

// Opens the latest or the best sound checkpoint of the newest run of `job` under the folder `runs`
// (usually "runs"). A torn one is told to `notice` (may be NULL) and the previous one is used;
// without a best one, the latest. AML_NOT_FOUND if the job has no run or the run no checkpoint,
// AML_BAD_CHECKPOINT if none is sound.
aml_status aml_checkpoint_find(const char *runs, const char *job, aml_which which,
                               aml_notice *notice, void *self, aml_checkpoint **out,
                               aml_error *error);

#ifdef __cplusplus
}
#endif

#endif
