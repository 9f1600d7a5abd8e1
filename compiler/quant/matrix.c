// matrix.c: products of f64 matrices.
//
// Blocks of both operands are copied into strips that the innermost loop reads from their beginning
// to their end, and a tile of the result stays in registers meanwhile (Goto and van de Geijn, 2008,
// doi:10.1145/1356052.1356053). Each element is one sum over k in its order, whatever the tile is.

#include "quant/matrix.h"

#include <string.h>

enum {
    DEPTH = 256, // of a block of both operands
    ROWS = 96,   // of a block of a: a multiple of each tile's
    COLUMNS = 3072,
    TILE = 8 * 24, // elements of the largest tile
};

struct MatrixWork {
    double a[ROWS * DEPTH], b[COLUMNS * DEPTH];
};

MatrixWork *matrix_work(Arena *arena)
{
    return NEW(arena, MatrixWork);
}

// One tile: out [rows, columns] = a^T b for strips a [depth, rows] and b [depth, columns].
typedef void TileFunction(int64_t depth, const double *a, const double *b, double *out);
typedef struct Tile {
    int rows, columns;
    TileFunction *run;
} Tile;

typedef double Four __attribute__((vector_size(32), aligned(8), may_alias));
typedef double Eight __attribute__((vector_size(64), aligned(8), may_alias));

#define ROW_BEGIN(VECTOR, i) VECTOR s##i##0 = {0}, s##i##1 = {0}, s##i##2 = {0};
#define ROW_STEP(VECTOR, i)                                                                        \
    s##i##0 += a[i] * b0;                                                                          \
    s##i##1 += a[i] * b1;                                                                          \
    s##i##2 += a[i] * b2;
#define ROW_END(VECTOR, i)                                                                         \
    to[3 * i] = s##i##0;                                                                           \
    to[3 * i + 1] = s##i##1;                                                                       \
    to[3 * i + 2] = s##i##2;
#define FOUR_ROWS(DO, VECTOR) DO(VECTOR, 0) DO(VECTOR, 1) DO(VECTOR, 2) DO(VECTOR, 3)
#define EIGHT_ROWS(DO, VECTOR)                                                                     \
    FOUR_ROWS(DO, VECTOR) DO(VECTOR, 4) DO(VECTOR, 5) DO(VECTOR, 6) DO(VECTOR, 7)
#define TILE_BODY(VECTOR, EACH_ROW, rows)                                                          \
    {                                                                                              \
        EACH_ROW(ROW_BEGIN, VECTOR)                                                                \
        const VECTOR *from = (const VECTOR *)b;                                                    \
        for (int64_t p = 0; p < depth; p++, a += (rows), from += 3) {                              \
            VECTOR b0 = from[0], b1 = from[1], b2 = from[2];                                       \
            EACH_ROW(ROW_STEP, VECTOR)                                                             \
        }                                                                                          \
        VECTOR *to = (VECTOR *)out;                                                                \
        EACH_ROW(ROW_END, VECTOR)                                                                  \
    }

static void tile_plain(int64_t depth, const double *a, const double *b,
                       double *out) TILE_BODY(Four, FOUR_ROWS, 4)

#ifdef __x86_64__
    __attribute__((target("avx2,fma"))) static void tile_v3(int64_t depth, const double *a,
                                                            const double *b, double *out)
        TILE_BODY(Four, FOUR_ROWS, 4)

            __attribute__((target("avx512f,fma"))) static void tile_v4(int64_t depth,
                                                                       const double *a,
                                                                       const double *b, double *out)
                TILE_BODY(Eight, EIGHT_ROWS, 8)
#endif

                    static Tile tile_here(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (Tile){8, 24, tile_v4};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (Tile){4, 12, tile_v3};
#endif
    return (Tile){4, 12, tile_plain};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Lines first .. first + count of `m`, each of `depth` elements, in strips [depth, lines]; zeros
// fill the last one up. A line is a row of a, or a column of b.
static void pack(double *to, const double *from, int64_t line, int64_t step, int64_t count,
                 int64_t depth, int lines)
{
    for (int64_t i = 0; i < count; i += lines, to += lines * depth) {
        int64_t here = least(lines, count - i);
        if (here < lines)
            memset(to, 0, sizeof *to * (size_t)(lines * depth));
        const double *first = from + i * line;
        if (line == 1) {
            for (int64_t p = 0; p < depth; p++)
                memcpy(to + p * lines, first + p * step, sizeof *to * (size_t)here);
            continue;
        }
        for (int64_t k = 0; k < here; k++)
            for (int64_t p = 0; p < depth; p++)
                to[p * lines + k] = first[k * line + p * step];
    }
}

static void add_tile(double *c, int64_t stride, const double *tile, int columns, int64_t m,
                     int64_t n, double factor)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            c[i * stride + j] += factor * tile[i * columns + j];
}

void matrix_add_product(MatrixWork *work, double *c, int64_t stride, Matrix a, Matrix b, int64_t m,
                        int64_t n, int64_t k, double factor, bool lower)
{
    const Tile tile = tile_here();
    double out[TILE];
    for (int64_t j = 0; j < n; j += COLUMNS)
        for (int64_t p = 0; p < k; p += DEPTH) {
            int64_t columns = least(COLUMNS, n - j), depth = least(DEPTH, k - p);
            pack(work->b, b.at + p * b.row + j * b.column, b.column, b.row, columns, depth,
                 tile.columns);
            for (int64_t i = 0; i < m; i += ROWS) {
                int64_t rows = least(ROWS, m - i);
                if (lower && j > i + rows - 1)
                    continue;
                pack(work->a, a.at + i * a.row + p * a.column, a.row, a.column, rows, depth,
                     tile.rows);
                for (int64_t y = 0; y < columns; y += tile.columns)
                    for (int64_t x = 0; x < rows; x += tile.rows) {
                        if (lower && j + y > i + x + tile.rows - 1)
                            continue;
                        tile.run(depth, work->a + x * depth, work->b + y * depth, out);
                        add_tile(c + (i + x) * stride + j + y, stride, out, tile.columns,
                                 least(tile.rows, rows - x), least(tile.columns, columns - y),
                                 factor);
                    }
            }
        }
}
