// quant/cholesky.h: symmetric positive definite matrices [n, n] in f64, by the reference LAPACK.
//
// Everything is row-major and in place. Of a symmetric matrix and of its factor the upper triangle
// is read and written.

#ifndef AML_QUANT_CHOLESKY_H
#define AML_QUANT_CHOLESKY_H

#include <stdbool.h>
#include <stdint.h>

// U of A = U^T U. False: A is not positive definite, or n is too large for LAPACK (2^31 - 1).
bool cholesky_factor(double *a, int64_t n);
// x [n, columns] becomes A^-1 x.
void cholesky_solve(const double *factor, int64_t n, double *x, int64_t columns);
// A becomes the upper factor U of its inverse, U^T U = A^-1, of which what is below the diagonal is
// zeros. False as above.
bool cholesky_inverse_factor(double *a, int64_t n);

#endif
