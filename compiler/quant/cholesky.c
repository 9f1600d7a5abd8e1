// cholesky.c: LAPACK's functions under names of their own.
//
// LAPACK keeps matrices in columns: what is an upper triangle here is its lower one ("L"), and
// x [n, columns] here is its transpose there, so that A is divided out on the right.

#include "quant/cholesky.h"

#include <stddef.h>

extern void dpotrf_(const char *uplo, const int32_t *n, double *a, const int32_t *lda,
                    int32_t *info, size_t uplo_length);
extern void dpotri_(const char *uplo, const int32_t *n, double *a, const int32_t *lda,
                    int32_t *info, size_t uplo_length);
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

bool cholesky_invert(double *factor, int64_t n)
{
    int32_t size = (int32_t)n, info = 0;
    if (n)
        dpotri_("L", &size, factor, &size, &info, 1);
    return info == 0;
}
