// dot_tile_sums.h: one tile of each size, included where ELEMENT, VECTOR, LANES, NAME and V are
// defined: first for the declarations (dot_tile.h), and then with TILE_BODIES for the functions.
//
// A whose k lies in panels (AmlDot.a_panels) has a negative a_k: they are -a_k elements apart.
//
// AML_TILES_APART: the functions are in a file of bitcode of their own (dot_tile.c). They are half
// of all code of the templates, a product calls two or three of the forty, and which ones is known
// when all around them has been inlined: so only these are read.

#ifndef TILE_BODIES
#define TILE_LIST_1(T)                                                                             \
    T(1, 1) T(2, 1) T(3, 1) T(4, 1) T(5, 1) T(6, 1) T(7, 1) T(8, 1) T(9, 1) T(10, 1)
#define TILE_LIST_2(T) T(1, 2) T(2, 2) T(3, 2) T(4, 2) T(5, 2) T(6, 2)
#if AML_WIDTH == 16
#define TILE_LIST(T)                                                                               \
    TILE_LIST_1(T)                                                                                 \
    T(11, 1)                                                                                       \
    T(12, 1)                                                                                       \
    T(13, 1)                                                                                       \
    T(14, 1)                                                                                       \
    TILE_LIST_2(T)                                                                                 \
    T(7, 2)                                                                                        \
    T(8, 2)                                                                                        \
    T(9, 2)                                                                                        \
    T(10, 2)                                                                                       \
    T(11, 2) T(12, 2) T(1, 3) T(2, 3) T(3, 3) T(4, 3) T(5, 3) T(6, 3) T(7, 3) T(8, 3) T(1, 4)      \
        T(2, 4) T(3, 4) T(4, 4) T(5, 4) T(6, 4)
#else
#define TILE_LIST(T) TILE_LIST_1(T) TILE_LIST_2(T)
#endif

#define TILE_DECLARE(ROWS, VECTORS)                                                                \
    TEMPLATE void NAME(dot_tile_##ROWS##_##VECTORS)(                                               \
        A_PARAMETERS, const ELEMENT *b, int64_t step, int64_t k, int lanes, const VECTOR *start,   \
        VECTOR *keep, const ELEMENT *ahead, int64_t ahead_step, int64_t row, int64_t column,       \
        END_PARAMETERS);
TILE_LIST(TILE_DECLARE)
#undef TILE_DECLARE
#else

// `lanes` holds two counts for the last vector: low byte, how many lanes of B may be read; the
// next one, how many columns the result has. What was summed before (`start`) is added at the end:
// in a long sum the rounding errors of its parts stay apart. The result goes through memory to the
// epilogue, so that its code exists once a vector and not once an accumulator, unless bit 16 of
// `lanes` says that this is too slow (AML_DOT_DIRECT): the next tile's sums wait for the loop's
// end. Where a row is shorter than a register, an epilogue that updates the result would load what
// overlaps the register just stored, and wait for it: then every second row comes first. Bit 19:
// the epilogue is asked for the memory of one vector after the other, spread over k
// (AML_DOT_TOUCH). That is branch-free, and asks for a line several times.
#define TILE_DEFINE(ROWS, VECTORS)                                                                 \
    TEMPLATE void NAME(dot_tile_##ROWS##_##VECTORS)(                                               \
        A_PARAMETERS, const ELEMENT *b, int64_t step, int64_t k, int lanes, const VECTOR *start,   \
        VECTOR *keep, const ELEMENT *ahead, int64_t ahead_step, int64_t row, int64_t column,       \
        END_PARAMETERS)                                                                            \
    {                                                                                              \
        VECTOR sum[ROWS][VECTORS];                                                                 \
        UNROLL for (int i = 0; i < ROWS; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] = (VECTOR){};                       \
        }                                                                                          \
        const ELEMENT *of_row[ROWS];                                                               \
        UNROLL for (int i = 0; i < ROWS; i++) of_row[i] =                                          \
            a_row == AML_DOT_TABLE ? ((const ELEMENT *const *)a)[i] : a;                           \
        NO_UNROLL for (int64_t p = 0; p < k; p++)                                                  \
        {                                                                                          \
            UNROLL for (int j = 0; j < 2; j++)                                                     \
            {                                                                                      \
                if (j < (lanes >> 17 & 3))                                                         \
                    __builtin_prefetch(ahead + p * ahead_step + j * LANES, 0, 2);                  \
            }                                                                                      \
            if ((lanes >> 19 & 1) && !keep) {                                                      \
                int64_t next = (int64_t)((uint64_t)p * (ROWS * VECTORS) / (uint64_t)k);            \
                epilogue(context, row + next / VECTORS, column + next % VECTORS * LANES, 0,        \
                         (VECTOR){});                                                              \
            }                                                                                      \
            const ELEMENT *of_k =                                                                  \
                a_k == AML_DOT_TABLE ? ((const ELEMENT *const *)a)[p] + row * a_row : NULL;        \
            const ELEMENT *in_panel = NULL;                                                        \
            if (a_k < 0 && a_k != AML_DOT_TABLE) {                                                 \
                int64_t in = (int64_t)((uint64_t)p % AML_DOT_PANEL);                               \
                in_panel = a + (int64_t)((uint64_t)p / AML_DOT_PANEL) * -a_k + in;                 \
                __builtin_prefetch(in_panel + ROWS * (AML_DOT_PANEL + in) - in, 0, 2);             \
            }                                                                                      \
            VECTOR right[VECTORS];                                                                 \
            UNROLL for (int j = 0; j < VECTORS - 1; j++) right[j] =                                \
                V(load)(b + p * step + j * LANES);                                                 \
            right[VECTORS - 1] = V(load_some)(b + p * step + (VECTORS - 1) * LANES, lanes & 255);  \
            UNROLL for (int i = 0; i < ROWS; i++)                                                  \
            {                                                                                      \
                VECTOR left = V(splat)(a_row == AML_DOT_TABLE ? of_row[i][p * a_k]                 \
                                       : a_k == AML_DOT_TABLE ? of_k[i * a_row]                    \
                                       : a_k < 0              ? in_panel[i * a_row]                \
                                                              : a[i * a_row + p * a_k]);           \
                UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] =                               \
                    V(fma)(left, right[j], sum[i][j]);                                             \
            }                                                                                      \
        }                                                                                          \
        if (start) {                                                                               \
            UNROLL for (int i = 0; i < ROWS; i++)                                                  \
            {                                                                                      \
                UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] += start[i * VECTORS + j];      \
            }                                                                                      \
        }                                                                                          \
        if (keep) {                                                                                \
            UNROLL for (int i = 0; i < ROWS; i++)                                                  \
            {                                                                                      \
                UNROLL for (int j = 0; j < VECTORS; j++) keep[i * VECTORS + j] = sum[i][j];        \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        if (lanes >> 16 & 1) {                                                                     \
            UNROLL for (int i = 0; i < ROWS; i++)                                                  \
            {                                                                                      \
                UNROLL for (int j = 0; j < VECTORS - 1; j++)                                       \
                    epilogue(context, row + i, column + j * LANES, LANES, sum[i][j]);              \
                epilogue(context, row + i, column + (VECTORS - 1) * LANES, lanes >> 8 & 255,       \
                         sum[i][VECTORS - 1]);                                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        VECTOR out[ROWS][VECTORS];                                                                 \
        UNROLL for (int i = 0; i < ROWS; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < VECTORS; j++) out[i][j] = sum[i][j];                        \
        }                                                                                          \
        int apart = VECTORS == 1 && ROWS > 2 && (lanes >> 8 & 255) < LANES ? 2 : 1;                \
        NO_UNROLL for (int first = 0; first < apart; first++)                                      \
        {                                                                                          \
            NO_UNROLL for (int i = first; i < ROWS; i += apart)                                    \
            {                                                                                      \
                UNROLL for (int j = 0; j < VECTORS - 1; j++)                                       \
                    epilogue(context, row + i, column + j * LANES, LANES, out[i][j]);              \
                epilogue(context, row + i, column + (VECTORS - 1) * LANES, lanes >> 8 & 255,       \
                         out[i][VECTORS - 1]);                                                     \
            }                                                                                      \
        }                                                                                          \
    }
TILE_LIST(TILE_DEFINE)
#undef TILE_DEFINE
#undef TILE_LIST
#undef TILE_LIST_1
#undef TILE_LIST_2
#endif
