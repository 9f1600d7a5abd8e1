// dot.c: matrix products for f32 and f64 by dot_template.h, for 16-bit floats by dot_half.h, and
// for bf16 by dot_tiles.h.

#include "kernel.h"
#include "tiles.h"
#include "vector.h"

// What a template takes of A, and where it gives its results.
#define A_PARAMETERS const ELEMENT *a, int64_t a_row, int64_t a_k
#define END_PARAMETERS                                                                             \
    void (*epilogue)(void *context, int64_t row, int64_t column, int lanes, VECTOR value),         \
        void *context

#include "dot_half.h"

#define AS_F32
#include "element.h"
#include "dot_template.h"
#include "element.h"

#define AS_F64
#include "element.h"
#include "dot_template.h"
#include "element.h"

// Tiles whose elements are pairs of bf16 in 32 bits.
#define AS_PAIRS
#include "element.h"
TEMPLATE void NAME(dot_tile)(int64_t rows, int64_t vectors, A_PARAMETERS, const ELEMENT *b,
                             int64_t step, int64_t k, int lanes, const VECTOR *start, VECTOR *keep,
                             const ELEMENT *ahead, int64_t ahead_step, int64_t row, int64_t column,
                             END_PARAMETERS);
#include "dot_tile.h"
#include "element.h"

#ifdef AML_HAS_TILES
// Zeros stand behind the last words of k.
HELPER void tiles_pack_pairs(const uint16_t *b, int64_t b_k, int64_t b_column, int64_t k,
                             int64_t depth, int64_t vectors, int lanes, char *out)
{
    f32v *to = (f32v *)out;
    dot_half_pack(b, b_k, b_column, k, vectors, lanes, AML_HALF_PAIRS, to);
    NO_UNROLL for (int64_t i = (k + 1) / 2 * vectors; i < depth * vectors; i++) to[i] = (f32v){};
}

// `depth` words of each row.
HELPER void tiles_copy_pairs(const uint16_t *a, int64_t a_row, int64_t a_k, int64_t rows, int64_t k,
                             int64_t depth, char *out)
{
    uint16_t *to = (uint16_t *)out;
    if (a_row == 1) {
        aml_shared_dot_turn(a, a_k, k, 2 * depth, to, 0, rows);
        return;
    }
    NO_UNROLL for (int64_t i = 0; i < rows; i++)
    {
        NO_UNROLL for (int64_t p = 0; p < 2 * depth; p++) to[2 * i * depth + p] =
            p < k ? a[i * a_row + p * a_k] : 0;
    }
}

#define NAME(name) name##_pairs
#define VECTOR f32v
#define SOURCE uint16_t
#define SOURCE_BYTES 2
#define SOURCES 2
#define WORD uint16_t
#define TILES_PACKS true
#define TILES_KIND TILES_PAIRS
#include "dot_tiles.h"
#undef NAME
#undef VECTOR
#undef SOURCE
#undef SOURCE_BYTES
#undef SOURCES
#undef WORD
#undef TILES_PACKS
#undef TILES_KIND
#endif
