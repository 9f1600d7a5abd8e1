// objects.h: compiled pieces that live from build to build.

#ifndef AML_CODEGEN_OBJECTS_H
#define AML_CODEGEN_OBJECTS_H

#include "codegen/emit.h"

enum { OBJECT_KEY = 65 }; // a hash in letters, and the NUL

// These may be called by several threads at once.

// What a piece is called: `pipeline` is what is done with it.
void object_key(const Codegen *g, const char *pipeline, const void *bitcode, size_t bytes,
                char key[OBJECT_KEY]);
// The object that was kept, for free(); NULL: there is none.
char *object_find(const char *key, size_t *length);
void object_keep(const char *key, const void *at, size_t length);

#endif
