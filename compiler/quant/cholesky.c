// cholesky.c: LAPACK's functions under names of their own.
//
// LAPACK keeps matrices in columns: what is an upper triangle here is its lower one ("L"), and
// x [n, columns] here is its transpose there, so that A is divided out on the right.

#include "quant/cholesky.h"

#include <stddef.h>
#include <string.h>

#include "quant/matrix.h"

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
// U^T U = A^-1. So one factor and one inverse of a triangle are enough. Blocks on the diagonal are
// LAPACK's, and their inverses serve both steps.

enum { BLOCK = 128 };

typedef struct Blocks {
    double *a; // [n, n]
    int64_t n;
    double *diagonal; // the inverses of the blocks of L on the diagonal, [BLOCK, BLOCK] each
    double *some;     // [n, BLOCK] or [BLOCK, n]
    MatrixWork *work;
} Blocks;

static int64_t block_size(const Blocks *b, int64_t at)
{
    return b->n - at < BLOCK ? b->n - at : BLOCK;
}

static double *inverse_of(const Blocks *b, int64_t at)
{
    return b->diagonal + at * BLOCK;
}

// The block at `at` becomes its factor, whose inverse is kept.
static bool factor_block(Blocks *b, int64_t at)
{
    int64_t size = block_size(b, at);
    int32_t order = (int32_t)size, stride = (int32_t)b->n, whole = BLOCK, info = 0;
    double *block = b->a + at * b->n + at, *inverse = inverse_of(b, at);
    dpotrf_("U", &order, block, &stride, &info, 1);
    if (info)
        return false;
    for (int64_t i = 0; i < size; i++)
        memcpy(inverse + i * BLOCK, block + i * b->n, sizeof *block * (size_t)(i + 1));
    dtrtri_("U", "N", &order, inverse, &whole, &info, 1, 1);
    return info == 0;
}

// What is left of `at` and below of a lower triangle, [rows, size], becomes that times the
// transposed inverse of the block; the rest of the matrix loses what this accounts for.
static void eliminate(Blocks *b, int64_t at)
{
    int64_t size = block_size(b, at), below = at + size, rows = b->n - below;
    double *panel = b->a + below * b->n + at;
    for (int64_t i = 0; i < rows; i++) {
        memcpy(b->some + i * size, panel + i * b->n, sizeof *panel * (size_t)size);
        memset(panel + i * b->n, 0, sizeof *panel * (size_t)size);
    }
    matrix_add_product(b->work, panel, b->n, (Matrix){b->some, size, 1},
                       (Matrix){inverse_of(b, at), 1, BLOCK}, rows, size, size, 1, false);
    matrix_add_product(b->work, b->a + below * b->n + below, b->n, (Matrix){panel, b->n, 1},
                       (Matrix){panel, 1, b->n}, rows, rows, size, -1, true);
}

// Rows of the inverse from those above: X_ij = -(L_ii)^-1 (sum of L_ip X_pj, p from j to i - 1).
static void invert_rows(Blocks *b, int64_t at)
{
    int64_t size = block_size(b, at);
    double *rows = b->a + at * b->n;
    memset(b->some, 0, sizeof *rows * (size_t)(size * b->n));
    for (int64_t j = 0; j < at; j += BLOCK)
        matrix_add_product(b->work, b->some + j, b->n, (Matrix){rows + j, b->n, 1},
                           (Matrix){b->a + j * b->n + j, b->n, 1}, size, BLOCK, at - j, 1, false);
    memset(rows, 0, sizeof *rows * (size_t)(size * b->n));
    matrix_add_product(b->work, rows, b->n, (Matrix){inverse_of(b, at), BLOCK, 1},
                       (Matrix){b->some, b->n, 1}, size, at, size, -1, false);
    for (int64_t i = 0; i < size; i++)
        memcpy(rows + i * b->n + at, inverse_of(b, at) + i * BLOCK, sizeof *rows * (size_t)(i + 1));
}

static void turn_around(double *a, int64_t elements)
{
    for (int64_t i = 0; i < elements / 2; i++) {
        double other = a[elements - 1 - i];
        a[elements - 1 - i] = a[i];
        a[i] = other;
    }
}

bool cholesky_inverse_factor(Arena *scratch, double *a, int64_t n)
{
    if (n > INT32_MAX)
        return false;
    Blocks blocks = {.a = a,
                     .n = n,
                     .diagonal = NEW_ARRAY(scratch, double, (n + BLOCK) * BLOCK),
                     .some = NEW_ARRAY(scratch, double, (n + 1) * BLOCK),
                     .work = matrix_work(scratch)};
    turn_around(a, n * n);
    for (int64_t at = 0; at < n; at += BLOCK) {
        if (!factor_block(&blocks, at))
            return false;
        eliminate(&blocks, at);
    }
    for (int64_t i = 0; i < n; i++) // products see whole blocks
        memset(a + i * n + i + 1, 0, sizeof *a * (size_t)(n - 1 - i));
    for (int64_t at = 0; at < n; at += BLOCK)
        invert_rows(&blocks, at);
    turn_around(a, n * n);
    return true;
}
