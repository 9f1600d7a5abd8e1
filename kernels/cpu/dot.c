// dot.c: matrix products for f32 and f64 by dot_template.h, and for 16-bit floats by dot_half.h.

#include "kernel.h"
#include "vector.h"

// What a template takes of A, and where it gives its results.
#define A_PARAMETERS const ELEMENT *a, int64_t a_row, int64_t a_k
#define END_PARAMETERS                                                                             \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),         \
        void *context

#include "dot_half.h"

#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_f32
#define V(name) f32_##name
#include "dot_template.h"
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
#include "dot_template.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

// Tiles whose elements are pairs of bf16 in 32 bits.
#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_pairs
#define V(name) pairs_##name
#define pairs_splat f32_splat
#define pairs_load f32_load
#define pairs_load_some f32_load_some
#define pairs_fma bf16_pairs_fma
TEMPLATE void NAME(dot_tile)(int64_t rows, int64_t vectors, A_PARAMETERS, const ELEMENT *b,
                             int64_t step, int64_t k, int lanes, const VECTOR *start, VECTOR *keep,
                             int64_t row, int64_t column, END_PARAMETERS);
#include "dot_tile.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V
