// aml/stored.h: read-only data of a deployed program that is written shorter than it is.
//
// Weights that are mostly zero, or of 4 bits, are not in the program as the kernels read them: they
// are expanded when a context is opened, into the context. The kernels are those of any other
// program, so this saves room in the file and no time.
//
//     aml_stored_head | aml_stored_part | its data | aml_stored_part | its data | ...
//
// Numbers are of this machine; data begin and end at a multiple of 8 bytes.

#ifndef AML_STORED_H
#define AML_STORED_H

#include <stddef.h>
#include <stdint.h>

typedef enum aml_stored_kind {
    AML_STORED_BYTES, // a bit for each byte, lowest first: whether it is not 0; those that are not
    AML_STORED_WORDS, // the same of words of 4 bytes
    AML_STORED_NIBBLES, // each byte is a number from -8 to 7, two in one, the first in the low half
    AML_STORED_SPARSE_NIBBLES, // bits as for bytes, then those that are not 0 as nibbles
} aml_stored_kind;

typedef struct aml_stored_head {
    uint64_t parts;
    uint64_t bytes; // when expanded, with all gaps
} aml_stored_head;

typedef struct aml_stored_part {
    uint64_t kind;
    uint64_t offset, bytes; // where it lies when expanded, and how long it is
    uint64_t length;        // of its data
} aml_stored_part;

// Writes all parts into `to`, which has head->bytes and is aligned as an arena is. It is called as a
// function that makes weights of those beside the program is; it reads none.
void aml_stored_expand(const void *stored, void *to, const void *weights);

#endif
