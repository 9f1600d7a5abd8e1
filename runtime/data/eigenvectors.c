// The eigenvectors of a symmetric matrix, by LAPACK. A file of its own: only programs whose table
// names the function are linked with LAPACK.

#include <stdlib.h>

#include "aml/program.h"

// Divide and conquer; `a` in columns, of which the lower triangle is read.
extern void dsyevd_(const char *jobz, const char *uplo, const int32_t *n, double *a,
                    const int32_t *lda, double *w, double *work, const int32_t *lwork,
                    int32_t *iwork, const int32_t *liwork, int32_t *info, size_t jobz_length,
                    size_t uplo_length);

bool aml_eigenvectors_lapack(double *matrix, double *value, int32_t size)
{
    double most;
    int32_t ask = -1, whole, info = 0;
    dsyevd_("V", "L", &size, matrix, &size, value, &most, &ask, &whole, &ask, &info, 1, 1);
    if (info != 0)
        return false;
    int32_t room = (int32_t)most;
    double *work = malloc((size_t)room * sizeof *work);
    int32_t *places = malloc((size_t)whole * sizeof *places);
    if (work && places)
        dsyevd_("V", "L", &size, matrix, &size, value, work, &room, places, &whole, &info, 1, 1);
    bool done = work && places && info == 0;
    free(work), free(places);
    return done;
}
