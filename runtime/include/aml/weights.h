// aml/weights.h: the file with the weights of a deployed model.
//
//     offset  bytes
//          0      8  "AMLWTS\r\n": a transfer as text shows
//          8      4  version of this form, 1
//         12      4  bytes of this head, 256
//         16      8  bytes of the whole file
//         24     64  SHA-256 of all that follows the head, in hex
//         88     72  the levels of processors that it was laid out for, zeros behind
//        160     96  the name of the model, zeros behind
//        256         constants, each at a multiple of AML_ALIGNMENT
//
// Numbers are little-endian. A program knows every byte of the head that it was made with.

#ifndef AML_WEIGHTS_H
#define AML_WEIGHTS_H

#include "aml/program.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { AML_WEIGHTS_VERSION = 1, AML_WEIGHTS_LEVELS = 72, AML_WEIGHTS_MODEL = 96 };

typedef struct aml_weights_head {
    char magic[8];
    uint32_t version, head_bytes;
    uint64_t bytes;
    char hash[64];
    char levels[AML_WEIGHTS_LEVELS];
    char model[AML_WEIGHTS_MODEL];
} aml_weights_head;

// The head of the file that a program was made with. Longer texts lose their ends.
void aml_weights_describe(const aml_weights_file *file, aml_weights_head *out);

// What keeps bytes from being that file; the first that applies.
typedef enum aml_weights_problem {
    AML_WEIGHTS_GOOD,
    AML_WEIGHTS_SHORT,   // no room for a head
    AML_WEIGHTS_FOREIGN, // another kind of file
    AML_WEIGHTS_FORM,    // of another version of this form
    AML_WEIGHTS_NAMED,   // of a model with another name
    AML_WEIGHTS_LEVEL,   // laid out for other processors
    AML_WEIGHTS_BUILD,   // of another build of the model
    AML_WEIGHTS_HEAD,    // bytes of the head that must be zeros are not
    AML_WEIGHTS_CUT,     // less, or more, than the head says
    AML_WEIGHTS_DAMAGED  // behind the head are not the bytes that it tells of
} aml_weights_problem;
aml_weights_problem aml_weights_examine(const aml_weights_file *file, const void *at, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
