// preload.c: the emulation of tiles as a library that is loaded in front of a program. How many
// products were emulated goes to the file that AML_TILES_COUNT names, at the end of the process.

#include <stdio.h>
#include <stdlib.h>

#include "tiles/amx.h"

static bool emulated;

__attribute__((constructor)) static void begin(void)
{
    emulated = amx_begin();
}

__attribute__((destructor)) static void end(void)
{
    const char *name = getenv("AML_TILES_COUNT");
    FILE *file = name ? fopen(name, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "{\"emulated\": %d, \"bf16\": %ld, \"bytes\": %ld}\n", emulated, amx_count(false),
            amx_count(true));
    fclose(file);
}
