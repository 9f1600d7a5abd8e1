// amx.h: the tile instructions of AMX on processors that do not have them.
//
// A processor without AMX refuses a tile instruction with SIGILL. The handler that is set here
// decodes the instruction, does to memory and to tiles of its own what Intel's manual says, and
// goes on behind it. So compiled kernels and whole programs can be checked where there is no such
// processor; how quick they would be there cannot be known from it.
//
// Each thread has its own tiles. What the manual answers with a fault (tiles that do not fit
// together, a tile that is not configured, a bad configuration) ends the process with a message.

#ifndef AML_TEST_TILES_AMX_H
#define AML_TEST_TILES_AMX_H

#include <stdbool.h>

// Tile instructions work from here on: by the processor, if it has all of AMX and the system lets
// this process use it, else by the handler. True: they are emulated. Calling it again does nothing.
bool amx_begin(void);

// How many products of tiles were emulated so far, by all threads: of bf16, and of bytes.
long amx_count(bool bytes);

#endif
