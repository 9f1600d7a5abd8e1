// dot_tile.c: the tiles of products as a file of bitcode of their own (dot_tile_sums.h has why).

#include "kernel.h"
#include "vector.h"

#define A_PARAMETERS const ELEMENT *a, int64_t a_row, int64_t a_k
#define END_PARAMETERS                                                                             \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),         \
        void *context

#define AS_F32
#include "element.h"
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#include "element.h"

#define AS_F64
#include "element.h"
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#include "element.h"

// Pairs of bf16 in 32 bits.
#define AS_PAIRS
#include "element.h"
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#include "element.h"
