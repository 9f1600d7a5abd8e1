// quant/matrix.h: products of f64 matrices, whose rows lie one behind the other.

#ifndef AML_QUANT_MATRIX_H
#define AML_QUANT_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Matrix {
    const double *at;
    int64_t rows, columns, stride; // from row to row: at least `columns`
} Matrix;

// c [m, n], whose rows are `stride` apart, += factor * a [m, k] b [k, n]; c overlaps with neither.
// Sizes are below 2^31.
void matrix_add_product(double *c, int64_t stride, Matrix a, Matrix b, double factor);
// The lower half of c [k, k] += a^T a for a [rows, k].
void matrix_add_square(double *c, Matrix a);

#endif
