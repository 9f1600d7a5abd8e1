// matrix.c: BLAS's functions under names of their own.
//
// BLAS keeps matrices in columns, so what it sees are all transposes: c^T = b^T a^T, and the lower
// half of a square is its upper one. Like this the reference BLAS adds whole columns to each other.

#include "quant/matrix.h"

#include <stddef.h>

extern void dgemm_(const char *transa, const char *transb, const int32_t *m, const int32_t *n,
                   const int32_t *k, const double *alpha, const double *a, const int32_t *lda,
                   const double *b, const int32_t *ldb, const double *beta, double *c,
                   const int32_t *ldc, size_t transa_length, size_t transb_length);
extern void dsyrk_(const char *uplo, const char *trans, const int32_t *n, const int32_t *k,
                   const double *alpha, const double *a, const int32_t *lda, const double *beta,
                   double *c, const int32_t *ldc, size_t uplo_length, size_t trans_length);

static const double one = 1;

void matrix_add_product(double *c, int64_t stride, Matrix a, Matrix b, double factor)
{
    int32_t m = (int32_t)a.rows, n = (int32_t)b.columns, k = (int32_t)a.columns;
    int32_t lda = (int32_t)a.stride, ldb = (int32_t)b.stride, ldc = (int32_t)stride;
    if (m && n && k)
        dgemm_("N", "N", &n, &m, &k, &factor, b.at, &ldb, a.at, &lda, &one, c, &ldc, 1, 1);
}

void matrix_add_square(double *c, Matrix a)
{
    int32_t k = (int32_t)a.columns, rows = (int32_t)a.rows, lda = (int32_t)a.stride;
    if (k && rows)
        dsyrk_("U", "N", &k, &rows, &one, a.at, &lda, &one, c, &k, 1, 1);
}
