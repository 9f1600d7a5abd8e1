// embedded.h: files that are part of the executable (cmake/embed.cmake): the standard library, the
// kernels' bitcode.

#ifndef AML_EMBEDDED_H
#define AML_EMBEDDED_H

#include <stddef.h>

typedef struct AmlEmbedded {
    const char *name; // relative path; NULL ends the list
    const char *at;   // followed by a NUL that `length` does not count
    size_t length;
} AmlEmbedded;

#endif
