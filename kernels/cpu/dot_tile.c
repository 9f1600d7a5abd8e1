// dot_tile.c: the tiles of products as a file of bitcode of their own (dot_tile_sums.h has why).

#include "kernel.h"
#include "vector.h"

#define A_PARAMETERS const ELEMENT *a, int64_t a_row, int64_t a_k
#define END_PARAMETERS                                                                             \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),         \
        void *context

#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_f32
#define V(name) f32_##name
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#define ELEMENT double
#define VECTOR f64v
#define LANES F64_LANES
#define NAME(name) name##_f64
#define V(name) f64_##name
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

// Pairs of bf16 in 32 bits.
#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_pairs
#define V(name) pairs_##name
#define pairs_splat f32_splat
#define pairs_load f32_load
#define pairs_load_some f32_load_some
#define pairs_fma bf16_pairs_fma
#include "dot_tile_sums.h" // declares them
#define TILE_BODIES
#include "dot_tile_sums.h"
#undef TILE_BODIES
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V
