// aml/text.h: names and texts of the runtime's types, and how a failure is described.
//
// Nothing here allocates; everything may be called from any thread.

#ifndef AML_TEXT_H
#define AML_TEXT_H

#include "aml/program.h"

#ifdef __cplusplus
extern "C" {
#endif

// What went wrong, for people: one or more lines without the final newline, naming the place, what
// was expected and what was found. A function that returns a status other than AML_OK has filled
// it; the caller owns it. A zeroed one is empty.
enum { AML_ERROR_ROOM = 4096 };
typedef struct aml_error {
    aml_status status;
    char text[AML_ERROR_ROOM];
} aml_error;

// Told about what was passed over, such as a torn checkpoint: one sentence that lives for the
// length of the call.
typedef void aml_notice(void *self, const char *text);

const char *aml_status_name(aml_status status);    // "BAD_DATA"
const char *aml_status_meaning(aml_status status); // a sentence
int aml_status_exit_code(aml_status status);

const char *aml_dtype_name(aml_dtype dtype); // "f32"
size_t aml_dtype_bytes(aml_dtype dtype);

// The number of elements, 1 for rank 0; -1 if a size is negative or the count does not fit.
int64_t aml_shape_elements(const aml_shape *shape);

// "f32[64, 10]" into text, cut to `room` bytes with the NUL. Returns text.
const char *aml_shape_text(aml_dtype dtype, const aml_shape *shape, char *text, size_t room);

// How many tensors a row of the state table is outside of a program: 1, or one for each turn.
int64_t aml_state_parts(const aml_state_info *state);

// The shape and name of its tensor `part`, which begins at element part * elements(part) of the
// row. The name is written to `name` (cut to `room` bytes with the NUL) and *tensor points to it.
void aml_state_part(const aml_state_info *state, int64_t part, aml_tensor_info *tensor, char *name,
                    size_t room);

#ifdef __cplusplus
}
#endif

#endif
