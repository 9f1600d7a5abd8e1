// drawing.h: training samples that are not simply taken in turn.
//
//   drawing.c  by class and by weight: balanced, weighted, over- and under-sampled
//   smote.c    samples between two of a class

#ifndef AMLI_DRAWING_H
#define AMLI_DRAWING_H

#include "runtime/data/data.h"

// What a training's sampling needs to know of the rows that it trains on, whose positions in the
// training part are 0..rows-1. Everything that is drawn is a function of the seed and the position
// in the stream of training samples.
typedef struct amli_drawing {
    const aml_sampling *how;
    int64_t rows;
    int64_t epoch;             // samples in an epoch
    int64_t groups;            // classes that have rows
    int64_t *of_class, *start; // positions class by class; start[g] is the first of the g-th class
    int64_t most, least;       // rows of the largest and the smallest class
    double *until;             // weighted: the sum of weights up to and with each position
    int64_t *scratch;          // of the largest class
    int64_t *row;              // smote: the rows that are trained on, those made behind the others
    size_t bytes;
} amli_drawing;

// AML_BAD_DATA if the training part has no classes or weights to draw by. `pool` may be NULL.
aml_status amli_drawing_new(const amli_samples *samples, const aml_sampling *how, void *pool,
                            amli_drawing **out, aml_error *error);
void amli_drawing_free(amli_drawing *drawing); // NULL is allowed
// Makes samples->drawing, and what it needs; nothing if samples are taken in turn.
aml_status amli_samples_draw(amli_samples *samples, const aml_sampling *how, int64_t seed,
                             void *pool, aml_error *error);

// Balanced and weighted: the position that is drawn as number `number` of the stream.
bool amli_drawing_is_free(const amli_drawing *drawing); // whether it is one of these two
int64_t amli_draw(const amli_drawing *drawing, int64_t seed, int64_t number);
// Over- and under-sampled: the positions of an epoch, in no particular order.
void amli_drawing_list(const amli_drawing *drawing, int64_t seed, int64_t epoch, int64_t list[]);

// ---- smote.c

// Makes the samples that the smaller classes lack: samples->blend, and drawing->row.
aml_status amli_smote(amli_samples *samples, amli_drawing *drawing, int64_t seed, aml_error *error);

#endif
