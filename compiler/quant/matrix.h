// quant/matrix.h: products of f64 matrices, as fast as one thread can.

#ifndef AML_QUANT_MATRIX_H
#define AML_QUANT_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

// Element (i, j) is at[i * row + j * column].
typedef struct Matrix {
    const double *at;
    int64_t row, column;
} Matrix;

typedef struct MatrixWork MatrixWork; // room for copies, for one product at a time
MatrixWork *matrix_work(Arena *arena);

// c [m, n], whose rows are `stride` apart, += factor * a [m, k] b [k, n]. `lower`: only what is not
// above the diagonal has to be right. c overlaps with neither a nor b.
void matrix_add_product(MatrixWork *work, double *c, int64_t stride, Matrix a, Matrix b, int64_t m,
                        int64_t n, int64_t k, double factor, bool lower);

#endif
