// quant/reconstruct.h: inputs of a product that are left out, and weights that make up for them.
//
//   given.c        what layers are given while samples are run: sums of x x^T
//   reconstruct.c  leaving inputs out one after the other, with the least error that is left
//
// With H = (sum of x x^T)^-1, leaving the inputs J out adds tr(W_J^T (H_JJ)^-1 W_J) to the squared
// error of X W if the other weights make up for it: W -= H_:J (H_JJ)^-1 W_J. H without J is
// H - H_:J (H_JJ)^-1 H_J:, so that the next ones can be left out in the same way (the optimal brain
// surgeon of Hassibi and Stork, 1993, for groups of weights; with the weights chosen by others the
// result is the least squares solution of He et al., 2017, arXiv:1707.06168).

#ifndef AML_QUANT_RECONSTRUCT_H
#define AML_QUANT_RECONSTRUCT_H

#include "quant/quant.h"

// ---- given.c
typedef struct Given {
    int layer;       // index among quant_layers
    Sym name;        // of the weights
    bool convolves;  // weights [out, channels, kernel], else [in, out] or [out, in]
    int axis;        // of the weights: their inputs
    int64_t k, taps; // inputs of one sum: channels times taps, the taps of a channel neighbours
    int64_t columns; // sums with the same inputs
    const float *weight;
    double *square; // [k, k]: the mean of x x^T
} Given;
typedef Vec(Given) GivenList;
// Where the weight of an input of a sum is.
int64_t given_place(const Given *given, int64_t input, int64_t column);
// Of each product of `fn`, which has no calls, with constant weights, while at most so many samples
// are run. NULL, or what is wrong.
const char *given_inputs(Cx *cx, IrFunction *fn, const Entry *entry, const QuantSamples *samples,
                         int64_t most, const char *folder, GivenList *out);

// ---- reconstruct.c
typedef struct Reconstruction {
    const Given *given;
    double *inverse; // H
    double *weight;  // [k, columns]
    double energy;   // the squares of what the product gives
} Reconstruction;
// False if there is no sum of squares to begin with.
bool reconstruction_begin(Arena *arena, const Given *given, Reconstruction *out);
// The share of the energy that is lost without these channels, rising numbers below k / taps.
double reconstruction_cost(Arena *scratch, const Reconstruction *r, const int64_t channel[],
                           int64_t count);
void reconstruction_drop(Arena *scratch, Reconstruction *r, const int64_t channel[], int64_t count);
// The weights as they are now, in the order of the constant; those of dropped channels are 0.
void reconstruction_weights(const Reconstruction *r, float *out);

#endif
