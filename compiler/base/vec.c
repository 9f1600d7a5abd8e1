// vec.c: arrays that grow in an arena. The old place is left behind; doubling keeps the waste below
// the final size.

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

void *vec_grow(Arena *arena, void *at, int *capacity, int count, size_t size)
{
    if (*capacity > INT32_MAX / 2)
        abort();
    int larger = *capacity ? *capacity * 2 : 8;
    void *result = arena_alloc(arena, (size_t)larger * size);
    if (count > 0)
        memcpy(result, at, (size_t)count * size);
    *capacity = larger;
    return result;
}
