// cholesky.c: LAPACK's functions under names of their own.
//
// LAPACK keeps matrices in columns: what is an upper triangle here is its lower one ("L"), and
// x [n, columns] here is its transpose there, so that A is divided out on the right.

#include "quant/cholesky.h"

#include <stddef.h>

extern void dpotrf_(const char *uplo, const int32_t *n, double *a, const int32_t *lda,
                    int32_t *info, size_t uplo_length);
extern void dtrtri_(const char *uplo, const char *diag, const int32_t *n, double *a,
                    const int32_t *lda, int32_t *info, size_t uplo_length, size_t diag_length);
extern void dtrsm_(const char *side, const char *uplo, const char *trans, const char *diag,
                   const int32_t *m, const int32_t *n, const double *alpha, const double *a,
                   const int32_t *lda, double *b, const int32_t *ldb, size_t side_length,
                   size_t uplo_length, size_t trans_length, size_t diag_length);

bool cholesky_factor(double *a, int64_t n)
{
    int32_t size = (int32_t)n, info = 0;
    if (n > INT32_MAX)
        return false;
    if (n)
        dpotrf_("L", &size, a, &size, &info, 1);
    return info == 0;
}

void cholesky_solve(const double *factor, int64_t n, double *x, int64_t columns)
{
    static const char *const order[] = {"T", "N"};
    int32_t size = (int32_t)n, m = (int32_t)columns;
    const double one = 1;
    for (int i = 0; i < 2 && n && columns; i++)
        dtrsm_("R", "L", order[i], "N", &m, &size, &one, factor, &size, x, &m, 1, 1, 1, 1);
}

// ---- the factor of the inverse
//
// With both axes turned around, A becomes B = L L^T, and L^-1, turned around again, is the U of
// U^T U = A^-1. So one factor and one inverse of a triangle are enough.

static void turn_around(double *a, int64_t elements)
{
    for (int64_t i = 0; i < elements / 2; i++) {
        double other = a[elements - 1 - i];
        a[elements - 1 - i] = a[i];
        a[i] = other;
    }
}

bool cholesky_inverse_factor(double *a, int64_t n)
{
    int32_t size = (int32_t)n, info = 0;
    turn_around(a, n * n);
    if (!cholesky_factor(a, n))
        return false;
    if (n)
        dtrtri_("L", "N", &size, a, &size, &info, 1, 1);
    turn_around(a, n * n); // U^T
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            a[j * n + i] = a[i * n + j];
            a[i * n + j] = 0;
        }
    return info == 0;
}
