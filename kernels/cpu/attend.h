// attend.h: attention as the code generator and the planner see it; attend.c holds the templates.
//
// A query block of AML_ATTEND_ROWS rows meets the keys in blocks of AML_ATTEND_KEYS. Scores exist
// for one pair of blocks at a time, in the first-level cache:
//
//                 keys ->
//               +--------+--------+
//     queries   | block  | block  |   forward: the largest score so far, the sum of weights and the
//        |      +--------+--------+   weighted values are carried from block to block
//        v      | block  | block  |   backward: weights are computed again from the logarithm of
//               +--------+--------+   their sum, which forward has saved
//
// Blocks that a causal mask hides as a whole are left out.
//
// Forward is divided into (image, head) units, backward into (image, group): heads that share a key
// add to the same gradient. A part is a chunk of neighbouring units, so sums have one order for any
// number of threads. Keys and values of a unit are copied once, turned around and padded, so that
// every product runs in whole registers.

#ifndef AML_KERNELS_CPU_ATTEND_H
#define AML_KERNELS_CPU_ATTEND_H

#include <stddef.h>
#include <stdint.h>

#include "kernel.h"

enum {
    AML_ATTEND_ROWS = 32,  // queries of a block
    AML_ATTEND_KEYS = 128, // keys of a block
    AML_ATTEND_MOST_PARTS = 32,
    AML_ATTEND_TOGETHER = 4, // queries that read a cached row at the same time
    AML_ATTEND_CACHED_PARTS = 4,
};

typedef struct AmlAttend {
    int lanes;  // f32 elements in a vector
    bool pairs; // operands of bf16, multiplied in pairs: attend_pairs.c
    int64_t images, queries, heads, size, keys, groups, width;
    bool causal;

    int64_t key_room;              // keys, rounded up to two vectors
    int64_t size_room, width_room; // rounded up to a vector
    int64_t units, chunk, parts;
    size_t scratch_bytes; // of one part
} AmlAttend;

static inline int64_t aml_attend_round(int64_t a, int64_t unit)
{
    return aml_ceil_div(a, unit) * unit;
}

static inline void aml_attend_plan(AmlAttend *a, bool backward)
{
    a->key_room = aml_attend_round(a->keys, 2 * a->lanes);
    a->size_room = aml_attend_round(a->size, a->lanes);
    a->width_room = aml_attend_round(a->width, a->lanes);
    a->units = a->images * (backward ? a->groups : a->heads);
    int64_t row = AML_ATTEND_ROWS, floats;
    int64_t words = aml_attend_round(aml_ceil_div(a->size, 2), a->lanes),
            width_words = aml_attend_round(aml_ceil_div(a->width, 2), a->lanes);
    if (a->pairs && backward)
        floats = a->key_room * (words + width_words + 3 * a->size_room / 2 + a->width_room) +
                 row * (words + width_words + 3 * a->size_room / 2 + a->width_room / 2 +
                        2 * AML_ATTEND_KEYS + 3 * AML_ATTEND_KEYS / 2);
    else if (a->pairs)
        floats = a->key_room * (words + a->width_room / 2) +
                 row * (words + a->width_room + AML_ATTEND_KEYS + AML_ATTEND_KEYS / 2);
    else if (backward)
        floats = a->key_room * (2 * a->size_room + 2 * a->width_room + a->size_room) +
                 row * (2 * a->size_room + a->width_room + 2 * AML_ATTEND_KEYS);
    else
        floats = a->key_room * (a->size_room + a->width_room) +
                 row * (a->size_room + a->width_room + AML_ATTEND_KEYS);
    a->scratch_bytes = (size_t)(floats * 4 + 63) / 64 * 64;
    double work = (double)a->units * (double)a->queries * (double)a->keys *
                  (double)(a->size + a->width) *
                  (backward ? (double)a->heads / (double)a->groups : 1);
    int64_t most = work < 500000 ? 1 : AML_ATTEND_MOST_PARTS;
    if (a->units < most)
        most = a->units;
    a->chunk = aml_ceil_div(a->units, most);
    a->parts = aml_ceil_div(a->units, a->chunk);
}

// Over keys that are cached: a unit is the heads of an image that share a key, since a row of keys
// is read once for all of them. attend_cached.c has the template.
static inline void aml_attend_plan_cached(AmlAttend *a)
{
    int64_t each = a->heads / a->groups,
            rows = a->queries < AML_ATTEND_TOGETHER ? 1 : AML_ATTEND_TOGETHER;
    a->key_room = aml_attend_round(a->keys, a->lanes);
    a->units = a->images * a->groups;
    double work = (double)(a->units * each) * (double)a->queries * (double)a->keys *
                  (double)(a->size + a->width);
    int64_t most = work < 200000 ? 1 : AML_ATTEND_CACHED_PARTS;
    if (a->units < most)
        most = a->units;
    a->chunk = aml_ceil_div(a->units, most);
    a->parts = aml_ceil_div(a->units, a->chunk);
    a->scratch_bytes = (size_t)(a->chunk * each * rows * (a->key_room + 1) * 4 + 63) / 64 * 64;
}

#endif
