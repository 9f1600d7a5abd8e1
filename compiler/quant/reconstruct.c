// reconstruct.c: leaving inputs of a product out, with weights that make up for them.

#include "quant/reconstruct.h"

#include <math.h>
#include <string.h>

#include "quant/cholesky.h"

static const double damping = 1e-4; // of the mean diagonal, added to it

bool reconstruction_begin(Arena *arena, const Given *given, Reconstruction *out)
{
    int64_t k = given->k, n = given->columns;
    double mean = 0, *factor = arena_copy(arena, given->square, sizeof(double) * (size_t)(k * k));
    for (int64_t i = 0; i < k; i++)
        mean += factor[i * k + i] / (double)k;
    for (int64_t i = 0; i < k; i++)
        factor[i * k + i] += damping * mean;
    if (!(mean > 0) || !isfinite(mean) || !cholesky_factor(factor, k))
        return false;
    *out =
        (Reconstruction){given, NEW_ARRAY(arena, double, k *k), NEW_ARRAY(arena, double, k *n), 0};
    for (int64_t i = 0; i < k; i++)
        out->inverse[i * k + i] = 1;
    cholesky_solve(factor, k, out->inverse, k);
    for (int64_t i = 0; i < k; i++)
        for (int64_t c = 0; c < n; c++)
            out->weight[i * n + c] = (double)given->weight[given_place(given, i, c)];
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            double both = 0;
            for (int64_t c = 0; c < n; c++)
                both += out->weight[i * n + c] * out->weight[j * n + c];
            out->energy += given->square[i * k + j] * both;
        }
    return out->energy > 0;
}

// The inputs of the channels, and the factor of H_JJ.
typedef struct Block {
    int64_t count, *input;
    double *factor;
    bool good;
} Block;

static Block block_of(Arena *scratch, const Reconstruction *r, const int64_t channel[],
                      int64_t count)
{
    int64_t taps = r->given->taps, k = r->given->k;
    Block block = {.count = count * taps, .input = NEW_ARRAY(scratch, int64_t, count * taps + 1)};
    block.factor = NEW_ARRAY(scratch, double, block.count *block.count + 1);
    for (int64_t i = 0; i < block.count; i++)
        block.input[i] = channel[i / taps] * taps + i % taps;
    for (int64_t i = 0; i < block.count; i++)
        for (int64_t j = 0; j < block.count; j++)
            block.factor[i * block.count + j] = r->inverse[block.input[i] * k + block.input[j]];
    block.good = cholesky_factor(block.factor, block.count);
    return block;
}

// (H_JJ)^-1 times rows J of a matrix with so many columns.
static double *solved_rows(Arena *scratch, const Block *block, const double *matrix,
                           int64_t columns)
{
    double *rows = NEW_ARRAY(scratch, double, block->count *columns + 1);
    for (int64_t i = 0; i < block->count; i++)
        memcpy(rows + i * columns, matrix + block->input[i] * columns,
               sizeof *rows * (size_t)columns);
    cholesky_solve(block->factor, block->count, rows, columns);
    return rows;
}

double reconstruction_cost(Arena *scratch, const Reconstruction *r, const int64_t channel[],
                           int64_t count)
{
    int64_t n = r->given->columns;
    Block block = block_of(scratch, r, channel, count);
    if (!block.good)
        return INFINITY;
    double *rows = solved_rows(scratch, &block, r->weight, n), cost = 0;
    for (int64_t i = 0; i < block.count; i++)
        for (int64_t c = 0; c < n; c++)
            cost += rows[i * n + c] * r->weight[block.input[i] * n + c];
    return cost / r->energy;
}

// matrix -= H_:J rows
static void take_off(const Reconstruction *r, const Block *block, const double *rows,
                     double *matrix, int64_t columns, double *line)
{
    int64_t k = r->given->k;
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < block->count; j++)
            line[j] = r->inverse[i * k + block->input[j]];
        for (int64_t j = 0; j < block->count; j++)
            for (int64_t c = 0; line[j] != 0 && c < columns; c++)
                matrix[i * columns + c] -= line[j] * rows[j * columns + c];
    }
}

void reconstruction_drop(Arena *scratch, Reconstruction *r, const int64_t channel[], int64_t count)
{
    int64_t k = r->given->k, n = r->given->columns;
    Block block = block_of(scratch, r, channel, count);
    double *line = NEW_ARRAY(scratch, double, block.count + 1);
    if (block.good) {
        double *weights = solved_rows(scratch, &block, r->weight, n),
               *inverse = solved_rows(scratch, &block, r->inverse, k);
        take_off(r, &block, weights, r->weight, n, line);
        take_off(r, &block, inverse, r->inverse, k, line);
    }
    for (int64_t i = 0; i < block.count; i++) { // what is left of these is rounding
        int64_t input = block.input[i];
        memset(r->weight + input * n, 0, sizeof *r->weight * (size_t)n);
        for (int64_t j = 0; j < k; j++)
            r->inverse[input * k + j] = r->inverse[j * k + input] = 0;
        r->inverse[input * k + input] = 1;
    }
}

void reconstruction_weights(const Reconstruction *r, float *out)
{
    int64_t n = r->given->columns;
    for (int64_t i = 0; i < r->given->k; i++)
        for (int64_t c = 0; c < n; c++)
            out[given_place(r->given, i, c)] = (float)r->weight[i * n + c];
}
