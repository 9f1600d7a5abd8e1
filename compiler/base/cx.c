// cx.c: a compilation.

#include "base/base.h"

#include <stdlib.h>

Cx *cx_new(void)
{
    Arena *arena = arena_new();
    Cx *cx = NEW(arena, Cx);
    cx->arena = arena;
    cx->scratch = arena_new();
    source_add(cx, "<none>", "", 0, false);
    return cx;
}

void cx_free(Cx *cx)
{
    if (!cx)
        return;
    arena_free(cx->scratch);
    arena_free(cx->arena); // cx itself lives here
}
