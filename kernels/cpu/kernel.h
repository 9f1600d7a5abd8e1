// kernel.h: the CPU kernels as the code generator and the planner see them.
//
// The kernels are C templates with vector types (dot.c, math.c, random.c, convert.c). clang
// compiles them to bitcode when amlc is built, once per vector width, and amlc carries the three
// files (`aml_kernel_bitcode`, see base/embedded.h):
//
//   file     f32 lanes  f64 lanes  built for     level that can run it
//   v16.bc      16          8      x86-64-v4     AVX-512 (F, BW, CD, DQ, VL)
//   v8.bc        8          4      x86-64-v3     AVX2 and FMA
//   v4.bc        4          2      x86-64-v2     SSE4.2; no FMA, so products and sums round
//   separately
//
// v16q.bc, v8q.bc and v4q.bc hold the products of bytes (quads.c) as well, v16n.bc and v8n.bc are
// the same for processors with VNNI.
//
// The code generator links one of them into its module and calls the functions below with as many
// constants as it has. They are all inlined: with constant sizes, strides and function pointers
// LLVM leaves only the loops of that shape, with the epilogue inside. Before the pipeline runs:
//   - drop the attributes target-cpu, target-features, tune-cpu, min-legal-vector-width and
//   prefer-vector-width from every
//     function and set the target's own (inlining needs equal features; prefer-vector-width must
//     not be below the width);
//   - replace the attribute noinline by alwaysinline: the functions were optimised one by one and
//   must stay apart until
//     their constants are known;
//   - make everything internal, then run `always-inline,globaldce` (twice if an epilogue is still
//   called), then the rest.
// Functions called aml_shared_... are left as they are: they exist once, whatever the sizes. v16.o,
// v8.o and v4.o hold them compiled (`aml_kernel_objects`). The tiles of a product are in files of
// their own, v16t.bc and so on, which are linked after the first `always-inline`: dot_tile_sums.h.
// The functions come in the file callers first, and `always-inline` takes them in that order: it
// sees the constants at each level before it copies the next one. So add functions to the kernels'
// module, or keep its order when linking.
//
// Types below: f32v is <W x float>, f64v is <W/2 x double>, W the f32 lanes of the file. `i64` is
// int64_t.
//
// ---- math.c: branch-free; the scalar ones are made for the loop vectoriser, the vector ones take
// and give one register. Bounds of the errors: docs/math-accuracy.md.
//
//   float  aml_exp_f32(float)      f32v aml_exp_f32v(f32v)      double aml_exp_f64(double) f64v
//   aml_exp_f64v(f64v) and the same for log, sin, cos, tanh, erf, sigmoid, and with two arguments
//   pow.
//
// Everything is branch-free but sin and cos of doubles, which take another way beyond 2^20.
//
// ---- random.c: the op `random`: elements begin..end (begin a multiple of 64) of the stream (seed,
// step, site).
//
//   void aml_shared_random_f32(float *out, i64 begin, i64 end, i64 seed, i64 step, i32 site) out[e
//   - begin] = element e void aml_shared_random_f64(double *out, i64 begin, i64 end, i64 seed, i64
//   step, i32 site) void aml_random_group_f32(float *out, i64 group, i64 seed, i64 step, i32 site)
//   all 64 elements of one group float aml_random_one_f32(i64 element, i64 seed, i64 step, i32
//   site) slow: one element
//
// ---- convert.c: rounding to nearest even; NaN stays NaN; float to integer truncates and
// saturates, NaN gives 0.
//
//   float aml_f16_to_f32(u16)   u16 aml_f32_to_f16(float)   float aml_bf16_to_f32(u16)   u16
//   aml_f32_to_bf16(float) i8 aml_f32_to_i8(float)   u8 aml_f32_to_u8(float)   i32
//   aml_f32_to_i32(float)   i64 aml_f32_to_i64(float) i8 aml_f64_to_i8(double)  u8
//   aml_f64_to_u8(double)  i32 aml_f64_to_i32(double)  i64 aml_f64_to_i64(double)
//
// ---- dot.c: C[m, n] = sum over k of A[m, k] * B[k, n], each element handed to the epilogue
// exactly once.
//
//   void aml_dot_f32(const float *a, const float *b, void *scratch,
//                    i64 m, i64 n, i64 k,
//                    i64 a_row, i64 a_k,                // A[i, p] is a[i * a_row + p * a_k], or
//                                                       AmlDot.a_panels
//                    i64 b_k, i64 b_column,             // B[p, j] is b[p * b_k + j * b_column];
//                                                       of a packed B b_k is AmlDot.panel
//                    i64 method, i64 tile_rows, i64 tile_vectors, i64 k_block, i64 row_block,
//                    i64 part_rows, i64 part_columns,   // AmlDot
//                    i64 part_begin, i64 part_end,      // 0 <= begin <= end <= AmlDot.parts: what
//                                                       this call computes
//                    void (*epilogue)(void *context, i64 row, i64 column, i32 lanes, f32v value),
//                    void *context)
//   void aml_dot_f64(the same with double and f64v)
//
//   void aml_dot_half(const u16 *a, const u16 *b, the same with AML_HALF_BF16 or AML_HALF_F16 for
//   the tile method): operands are bf16 or f16, sums f32; aml_dot_pairs: AML_HALF_PAIRS
//
//   void aml_dot_tiles_pairs(const u16 *a, const u16 *b, the same), aml_dot_tiles_quads(const i32
//   *a, const i32 *b, the same): AmlDot.tiles, in v16.bc and v16n.bc; quads: sums are i32
//
// Everything but a, b, scratch, part_begin, part_end and context is a constant. If parts == 1, pass
// constants 0 and 1. The epilogue owns elements [row, column .. column + lanes): lanes == W (W/2
// for f64) is a full vector, fewer is the tail of a row, whose other lanes hold nothing of meaning
// (none: AML_DOT_TOUCH).
// `column` is a multiple of W. Neither A nor B is read outside its elements. The order of the sum
// over k depends on the AmlDot alone: parts and threads change no bit. scratch:
// AmlDot.scratch_bytes, 64-byte aligned, one for each part that runs at the same time; no contents
// are kept.

#ifndef AML_KERNELS_CPU_KERNEL_H
#define AML_KERNELS_CPU_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// How a product is computed; the values are arguments of the template.
enum {
    AML_DOT_TILES = 0,        // register tiles, B read where it is (b_column == 1)
    AML_DOT_TILES_PACK = 1,   // the same, each panel of B is copied to scratch first
    AML_DOT_TILES_PACKED = 2, // the same, B was packed beforehand: aml_dot_pack
    AML_DOT_ROW_STREAMS = 3, // few rows, b_column == 1: adds several rows of B at a time to a short
                             // piece of the result
    AML_DOT_INNER =
        4, // few rows, a_k == 1 and b_k == 1: inner products, several columns of B at a time
    AML_DOT_METHOD = 7,  // mask of the above
    AML_DOT_COPY_A = 8,  // added to a tile method, a_row == 1: row_block rows of A are copied to
                         // scratch first, for all columns of the part
    AML_DOT_DIRECT = 16, // added to a tile method: the epilogue takes its vectors out of registers,
                         // its code exists once for each of them
    AML_DOT_AHEAD = 32, // added to a tile method: tiles ask for the panel of B that is read next, a
                        // line with each k
    AML_DOT_AHEAD_TWICE = 64, // two lines
    AML_DOT_A_PANELS = 256,   // added to a tile method: AmlDot.a_panels
    AML_DOT_TOUCH = 128, // added to a tile method: while a tile is summed, the epilogue is called
                         // for each of its vectors with lanes == 0, to ask for the memory that
                         // it will need then
};

enum {
    AML_DOT_FEW_ROWS = 4,         // of A: at most this many for ROW_STREAMS and INNER
    AML_DOT_STREAM_COLUMNS = 512, // what ROW_STREAMS sums at a time
};

// For a_row or a_k: the rows of a matrix of which A is the whole, or of which it is the transposed
// one, lie anywhere, and a is a table of their addresses: A[i, p] is row[i][p * a_k] or
// row[p][i * a_row]. Of aml_dot_f32 only; aml_dot_plan is given the steps that the matrix would
// have.
#define AML_DOT_TABLE INT64_MIN

// Columns of a panel of an operand that was laid out in panels where it was made: element [i, j] of
// a matrix with so many rows is at (j / 64 * rows + i) * 64 + j % 64.
enum { AML_DOT_PANEL = 64 };
// More of k, if it lies in panels, is summed in blocks: with 2^n rows panels are in the same sets
// of a cache.
enum { AML_DOT_PANELS_DEPTH = 8 * AML_DOT_PANEL };

enum { AML_DOT_PART_ROWS = 512 * 1024 }; // bytes of A that a part of a large packed B reads, about
enum { AML_DOT_MOST_ROWS = 544 };        // of AmlDot.row_block where k has blocks

// What the operands of a product of f32 are in memory, if they are smaller.
enum {
    AML_HALF_NONE = 0,
    AML_HALF_BF16 = 1,  // widened
    AML_HALF_F16 = 2,   // widened
    AML_HALF_PAIRS = 3, // bf16, multiplied in pairs
};

// One product. The caller fills the first part, aml_dot_plan the second.
typedef struct AmlDot {
    int bytes;  // of an element: 4 or 8
    int half;   // AML_HALF_...
    bool tiles; // pairs of bf16, or quads of bytes, are multiplied in tiles of AMX (dot_tiles.h)
    int lanes;  // elements in a vector: W for f32, W / 2 for f64
    int64_t m, n, k;
    int64_t a_row, a_k, b_k, b_column;
    bool b_packed; // B is constant and will be packed by aml_dot_pack
    bool a_panels; // A, m x k, or what it is the transposed matrix of, k x m, is in panels: a_row
                   // is AML_DOT_PANEL and a_k 1, or the other way around
    bool b_panels; // B is in panels: it was packed where it was made (aml_dot_plan sets b_packed)
    bool looped;   // one of several products: no kernel runs in front of each

    int64_t method;
    int64_t tile_rows; // rows and vectors of the register tile
    int64_t tile_vectors;
    int64_t panel;     // columns of a panel of a packed B: one tile, or two beside each other
    int64_t k_block;   // how much of k is summed in registers; k if all of it
    int64_t row_block; // rows whose partial sums or whose copy of A wait in scratch; 0: all rows
                       // of a part
    int64_t
        part_rows; // a part is part_rows x part_columns of the result: the unit of parallel work
    int64_t part_columns;
    int64_t parts;
    size_t scratch_bytes;
    size_t packed_bytes; // of the packed B; 0 unless b_packed
    size_t turned_bytes; // of a transposed A that aml_shared_dot_turn turns around first; 0: none
} AmlDot;

static inline int64_t aml_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// Multiply-adds from which on the time to copy operands and to wait for the third-level cache
// counts more than that for starting parts.
#define AML_DOT_LARGE 3e7

static inline double aml_dot_work(const AmlDot *dot)
{
    return (double)dot->m * (double)dot->n * (double)dot->k;
}

// The register tile: as many accumulators as the registers hold beside one vector of A and a row of
// B, and rows that divide m if there is such a number, so that no tail has to be generated.
static inline void aml_dot_tile(AmlDot *dot)
{
    int64_t vectors = aml_ceil_div(dot->n, dot->lanes);
    int64_t wide = dot->lanes * dot->bytes == 64 ? 4 : 2; // 32 registers with AVX-512, 16 without
    static const int64_t limit[2][5] = {{0, 10, 6, 0, 0}, {0, 14, 12, 8, 6}};
    dot->tile_vectors = vectors < 1 ? 1 : vectors < wide ? vectors : wide;
    if (wide == 4 && vectors > 4 && vectors % 4 && vectors % 3 == 0)
        dot->tile_vectors = 3;
    // A few rows more than that: a narrower tile holds all of them, and B is read once.
    if (wide == 4 && dot->m > limit[1][dot->tile_vectors] && dot->m <= limit[1][2])
        dot->tile_vectors = 2;
    dot->panel = dot->tile_vectors * dot->lanes;
    // Two such tiles are so high that they do not wait for a packed panel. It is as wide as that
    // for other numbers of rows, so that their code has the same weights.
    if (dot->b_packed && dot->tile_vectors == 4 && dot->m > limit[1][2] &&
        dot->m <= 2 * limit[1][2]) {
        dot->tile_vectors = 2;
        dot->tile_rows = aml_ceil_div(dot->m, 2);
        return;
    }
    int64_t rows = limit[wide == 4][dot->tile_vectors];
    if (dot->m <= rows) {
        dot->tile_rows = dot->m < 1 ? 1 : dot->m;
        return;
    }
    dot->tile_rows = rows;
    if (dot->m >= 16 * rows && aml_dot_work(dot) >= AML_DOT_LARGE)
        return; // more rows read B less often, and the rest below the last tile is small
    // Four rows for each panel's line are few where panels come from the second-level cache.
    int64_t least = dot->b_packed && wide == 4 && aml_dot_work(dot) >= 1 << 20 ? 5 : 4;
    for (int64_t try = rows; try >= least && try > rows / 2; try--) {
        if (dot->m % try == 0) {
            dot->tile_rows = try;
            break;
        }
    }
    // A flat tile reads much of B for what it computes: where that comes from the second-level
    // cache, half as many columns of twice as many rows read less.
    if (wide == 4 && !dot->half && vectors % 2 == 0 && dot->tile_vectors == 4 &&
        dot->tile_rows < rows && dot->m % (2 * dot->tile_rows) == 0 &&
        dot->k * 4 * dot->lanes * dot->bytes > 32 * 1024)
        dot->tile_rows *= 2, dot->tile_vectors = 2;
}

// Parts of about four million multiply-adds, at most `most` of them; rows first, since a part reads
// all of its columns of B. Below `least_rows` B would be read or packed too often.
static inline void aml_dot_parts(AmlDot *dot, int64_t row_unit, int64_t column_unit,
                                 int64_t least_rows, int64_t most)
{
    double work = (double)dot->m * (double)dot->n * (double)dot->k;
    int64_t wanted = (int64_t)(work / (1 << 20));
    wanted = wanted < 1 ? 1 : wanted > most ? most : wanted;
    row_unit = row_unit < 1 ? 1 : row_unit;
    int64_t row_units = aml_ceil_div(dot->m, row_unit),
            column_units = aml_ceil_div(dot->n, column_unit);
    int64_t row_parts = row_units / aml_ceil_div(least_rows, row_unit);
    row_parts = row_parts < 1 ? 1 : row_parts > wanted ? wanted : row_parts;
    int64_t column_parts = wanted / row_parts;
    column_parts = column_parts < 1 ? 1 : column_parts > column_units ? column_units : column_parts;
    dot->part_rows = (row_units ? aml_ceil_div(row_units, row_parts) : 1) * row_unit;
    dot->part_columns =
        (column_units && column_parts ? aml_ceil_div(column_units, column_parts) : 1) * column_unit;
    dot->parts = aml_ceil_div(dot->m, dot->part_rows) * aml_ceil_div(dot->n, dot->part_columns);
}

// How far apart the k of a copied A lie: an odd number of registers, so that they use all sets of a
// cache.
static inline int64_t aml_dot_copy_step(int64_t row_block, int64_t lanes)
{
    return (aml_ceil_div(row_block, lanes) | 1) * lanes;
}

// Blocks of k, so that a long sum is made of parts, and that those rows of A which all panels go
// over stay in the second-level cache, with a panel of B. `all_rows`: a block of k is to have all
// rows of a transposed A, so it is shorter.
static inline void aml_dot_blocks(AmlDot *dot, bool copy, bool pack, bool all_rows)
{
    int64_t longest = copy || pack ? 640 : 1024, wanted = copy || pack ? 512 : 768;
    if (all_rows)
        longest = 320, wanted = 256;
    if (dot->k > longest)
        dot->k_block = aml_ceil_div(dot->k, aml_ceil_div(dot->k, wanted));
    if (dot->k_block == dot->k && !copy && !(pack && aml_dot_work(dot) >= AML_DOT_LARGE))
        return;
    int64_t depth = dot->k_block < 1 ? 1 : dot->k_block, rows = 160 * 1024 / depth;
    // Where B is read where it is, a further block copies nothing twice, and a small copy is near.
    // But each block reads all of B: if that does not stay in the second-level cache, tiles of wide
    // registers wait for it, and fewer blocks are better.
    enum { FEW_ROWS = 96, NEAR_BYTES = 1 << 20 };
    bool waits = dot->lanes * dot->bytes == 64 && dot->n * dot->k * dot->bytes > NEAR_BYTES;
    rows = rows < 128 ? 128 : rows > 512 ? 512 : rows;
    if (copy && !pack)
        rows = waits ? 2 * FEW_ROWS : FEW_ROWS;
    if (rows > dot->m) // equal blocks
        rows = dot->m < 1 ? 1 : dot->m;
    rows = aml_ceil_div(dot->m, aml_ceil_div(dot->m < 1 ? 1 : dot->m, rows));
    dot->row_block = aml_ceil_div(rows < 1 ? 1 : rows, dot->tile_rows) * dot->tile_rows;
}

// As many as equal pieces of at most `most` have.
static inline int64_t aml_dot_equal(int64_t count, int64_t most)
{
    return aml_ceil_div(count, aml_ceil_div(count, most));
}

// A is the transposed matrix of one that lies in panels.
static inline bool aml_dot_rows_in_panels(const AmlDot *dot)
{
    return dot->a_panels && dot->a_row == 1;
}

// Blocks of operands in panels are whole panels. Of many rows, or if B has to be copied, all go
// over a panel of B, and ask for the next panel of A meanwhile; else a panel of A goes over all of
// B. Narrower registers go over A more often, so that some of it has to stay in the second-level
// cache.
static inline void aml_dot_whole_panels(AmlDot *dot, bool pack)
{
    enum { FEW_ROWS = 512, NEAR_PANELS = 8 };
    bool wide = dot->lanes * dot->bytes == 64;
    if (aml_dot_rows_in_panels(dot) && wide)
        dot->row_block = pack || dot->m > FEW_ROWS ? dot->m : AML_DOT_PANEL;
    else if (aml_dot_rows_in_panels(dot))
        dot->row_block = aml_dot_equal(dot->m / AML_DOT_PANEL, NEAR_PANELS) * AML_DOT_PANEL;
    else if (dot->k > AML_DOT_PANELS_DEPTH)
        dot->k_block = aml_dot_equal(dot->k / AML_DOT_PANEL, NEAR_PANELS) * AML_DOT_PANEL;
}

// Parts of a large product that copies operands: each copies what it reads of both, so they are
// large and nearly square; at least eight if there are enough columns.
static inline void aml_dot_large_parts(AmlDot *dot, bool copy)
{
    enum { COLUMNS = 384, LEAST_PARTS = 8, LEAST_PANELS = 2, MOST = 64 };
    int64_t panel = dot->tile_vectors * dot->lanes, panels = aml_ceil_div(dot->n, panel);
    int64_t row_parts = aml_ceil_div(dot->m, dot->row_block);
    int64_t column_parts = aml_ceil_div(dot->n, COLUMNS);
    if (row_parts * column_parts < LEAST_PARTS)
        column_parts = aml_ceil_div(LEAST_PARTS, row_parts);
    if (column_parts > aml_ceil_div(panels, LEAST_PANELS))
        column_parts = aml_ceil_div(panels, LEAST_PANELS);
    if (row_parts > MOST)
        row_parts = MOST;
    // One of two threads would wait for an odd part. Each part packs its own panels, so that
    // narrower parts cost nothing where A is not copied, but that they read it again. With rows in
    // one part there are few parts, and to wait for one costs more than parts of a single panel.
    int64_t least = row_parts == 1 ? 1 : LEAST_PANELS;
    if (!copy && row_parts * column_parts % 2 == 1 && 2 * least * column_parts <= panels)
        column_parts *= 2;
    if (row_parts * column_parts > MOST)
        column_parts = MOST / row_parts;
    dot->part_rows = aml_ceil_div(aml_ceil_div(dot->m, dot->row_block), row_parts) * dot->row_block;
    dot->part_columns = aml_ceil_div(panels, column_parts) * panel;
    dot->parts = aml_ceil_div(dot->m, dot->part_rows) * aml_ceil_div(dot->n, dot->part_columns);
}

// How far apart the rows (`down`: the columns) of the copy of a 16-bit A lie: whole registers.
static inline int64_t aml_dot_half_step(bool down, int64_t depth, int64_t row_block, int64_t lanes)
{
    return ((down ? row_block : depth) + lanes - 1) / lanes * lanes;
}

// Rows of a turned A: whole squares of k.
static inline int64_t aml_dot_turned_step(const AmlDot *dot)
{
    return aml_ceil_div(dot->k, 2 * dot->lanes) * 2 * dot->lanes;
}

// About 96 rows, and all of k or equal blocks of at most `most`.
static inline void aml_dot_half_blocks(AmlDot *dot, int64_t most)
{
    dot->k_block = dot->k > 0 ? dot->k : 1;
    if (dot->k > most)
        dot->k_block = aml_ceil_div(aml_ceil_div(dot->k, aml_ceil_div(dot->k, most)), 32) * 32;
    dot->row_block = aml_ceil_div(96, dot->tile_rows) * dot->tile_rows;
    if (dot->row_block > dot->m)
        dot->row_block = aml_ceil_div(dot->m < 1 ? 1 : dot->m, dot->tile_rows) * dot->tile_rows;
}

// Pairs: a panel of B is copied once for all rows of a part, with all of k unless that is very
// long, and is read from the second-level cache: six rows at once are enough for that, four are
// not. A is read where it is. If it is transposed and several panels use it, it is turned around
// by a kernel of its own, for all parts.
static inline void aml_dot_plan_pairs(AmlDot *dot)
{
    dot->method = AML_DOT_TILES_PACK | AML_DOT_COPY_A;
    dot->packed_bytes = dot->turned_bytes = 0;
    if (dot->tile_vectors == 4 && dot->m >= 6 && dot->tile_rows < 5)
        dot->tile_rows = 6;
    int64_t panel = dot->tile_vectors * dot->lanes;
    bool down = dot->a_row == 1 && dot->a_k != 1;
    if (down && !dot->looped && dot->k % 2 == 0 && dot->k >= 64 && dot->m >= 32 &&
        dot->n > 2 * panel)
        dot->turned_bytes = (size_t)((dot->m * aml_dot_turned_step(dot) * 2 + 63) / 64 * 64);
    bool direct = dot->turned_bytes || (dot->a_k == 1 && dot->a_row % 2 == 0 && dot->k % 2 == 0);
    aml_dot_half_blocks(dot, 2048);
    aml_dot_parts(dot, dot->row_block, panel, 512, 32);
    int64_t depth = (dot->k_block + 1) / 2;
    int64_t step = aml_dot_half_step(down, depth, dot->row_block, dot->lanes);
    dot->scratch_bytes = (size_t)(depth * panel * 4);
    if (!direct)
        dot->scratch_bytes += (size_t)(step * (down ? depth : dot->row_block) * 4);
    if (dot->k_block < dot->k)
        dot->scratch_bytes += (size_t)(dot->part_rows * panel * 4);
}

// Words of k in a tile, and columns of it; half of the rows that are computed at once.
enum { AML_TILE = 16 };

// k in words as the second operand has it: whole tiles, what is beyond k is zero.
static inline int64_t aml_dot_tiles_depth(int64_t words)
{
    return aml_ceil_div(words, AML_TILE) * AML_TILE;
}

// A is read where it is, row by row.
static inline bool aml_dot_tiles_direct(int64_t a_k)
{
    return a_k == 1;
}

// Tiles of AMX: two rows of them by two columns, or one row by four columns if there are at most 16
// rows. A panel of B is as wide as that, and is copied once for all rows of a part, unless it was
// packed beforehand. A is read where it is but for the last words of k, which are copied with zeros
// behind them; if it is transposed it is turned around first, as for pairs. A step of k is four
// tiles to load and four products, so what is read again and again should come from the
// second-level cache at the latest.
static inline void aml_dot_plan_tiles(AmlDot *dot)
{
    int64_t vectors = aml_ceil_div(dot->n, dot->lanes), most = dot->m > AML_TILE ? 2 : 4;
    dot->tile_rows = dot->m > AML_TILE ? 2 * AML_TILE : AML_TILE;
    dot->tile_vectors = vectors < 1 ? 1 : vectors < most ? vectors : most;
    dot->packed_bytes = dot->turned_bytes = 0;
    int64_t panel = dot->panel = dot->tile_vectors * dot->lanes,
            words = dot->half ? (dot->k + 1) / 2 : dot->k;
    if (dot->half && dot->a_row == 1 && dot->a_k != 1 && !dot->looped && dot->k >= 64 &&
        dot->m >= 32 && dot->n > 2 * panel)
        dot->turned_bytes = (size_t)(dot->m * aml_dot_turned_step(dot) * 2);
    aml_dot_half_blocks(dot, 1024);
    if (!dot->half)
        dot->k_block = dot->k; // sums of whole numbers need no blocks
    aml_dot_parts(dot, dot->row_block, panel, 512, 32);
    bool direct = dot->turned_bytes || aml_dot_tiles_direct(dot->a_k);
    int64_t depth = aml_dot_tiles_depth(dot->k_block < dot->k ? dot->k_block / 2 : words);
    int64_t copied = direct ? AML_TILE : depth;
    dot->scratch_bytes =
        (size_t)((dot->tile_rows * panel + dot->row_block * copied) * 4); // results, and A
    if (dot->half) {
        dot->method = AML_DOT_TILES_PACK;
        dot->scratch_bytes += (size_t)(depth * panel * 4);
    } else {
        dot->method = AML_DOT_TILES_PACKED;
        dot->packed_bytes = (size_t)(aml_ceil_div(dot->n, panel) * panel * depth * 4);
    }
    if (dot->k_block < dot->k)
        dot->scratch_bytes += (size_t)(dot->part_rows * panel * 4);
}

// Weights are used once in a pass over a model, and are in no near cache then. The first rows of a
// panel would wait for them, so that the next panel is asked for while one is used: by lines of as
// many bytes as a register has. Up to six rows the product is as fast as memory anyway; a single
// high tile has time for two lines with each k.
static inline int64_t aml_dot_ahead(const AmlDot *dot)
{
    enum { LINE = 64, NEAR = 256 * 1024, LEAST_ROWS = 7, HIGH = 9 };
    if (!dot->b_packed || dot->lanes * dot->bytes != LINE || dot->packed_bytes < NEAR ||
        dot->m < LEAST_ROWS)
        return 0;
    return dot->m == dot->tile_rows && dot->m >= HIGH ? AML_DOT_AHEAD_TWICE : AML_DOT_AHEAD;
}

// A result that is too large for the second-level cache is not there when a tile stores into it,
// nor is what is added to it: two dozen lines at once, which take all of the buffers that the next
// tile's loads need. Where sums are long, tiles ask for them one after the other instead: of
// `bytes` in all.
static inline bool aml_dot_touches(const AmlDot *dot, double bytes)
{
    enum { LINE = 64, FAR = 1 << 20, LONG_SUM = 192 };
    return (dot->method & AML_DOT_METHOD) <= AML_DOT_TILES_PACKED && !dot->half && !dot->tiles &&
           dot->lanes * dot->bytes == LINE && bytes >= FAR && dot->k >= LONG_SUM;
}

static inline void aml_dot_plan(AmlDot *dot)
{
    if (dot->tiles) {
        aml_dot_plan_tiles(dot);
        return;
    }
    dot->b_packed |= dot->b_panels;
    aml_dot_tile(dot);
    if (dot->b_panels)
        dot->panel = AML_DOT_PANEL;
    if (dot->half == AML_HALF_PAIRS) {
        aml_dot_plan_pairs(dot);
        return;
    }
    bool widens = dot->half; // both operands are copied
    dot->k_block = dot->k;
    dot->row_block = 0;
    dot->scratch_bytes = dot->packed_bytes = dot->turned_bytes = 0;
    int64_t vector = dot->lanes, panel = dot->tile_vectors * vector;
    int64_t packed = dot->panel;
    bool few_rows = dot->m <= AML_DOT_FEW_ROWS, large = dot->n * dot->k * dot->bytes > 256 * 1024;

    if (widens) {
        dot->method = AML_DOT_TILES_PACK;
    } else if (dot->b_packed) {
        dot->method = AML_DOT_TILES_PACKED;
        dot->packed_bytes = (size_t)(aml_ceil_div(dot->n, packed) * packed * dot->k * dot->bytes);
    } else if (dot->b_column == 1 || dot->n == 1) {
        // Rows of B that are far apart cost a page each: worth a copy if it is used by many rows.
        if (few_rows && large)
            dot->method = AML_DOT_ROW_STREAMS;
        else
            dot->method = dot->m >= 96 && dot->b_k * dot->bytes >= 2048 && dot->k >= 64
                              ? AML_DOT_TILES_PACK
                              : AML_DOT_TILES;
        if (dot->n == 1 && dot->b_k == 1 && dot->a_k == 1 && dot->k >= 2 * vector)
            dot->method = AML_DOT_INNER;
    } else if (dot->b_k == 1 && dot->a_k == 1 && few_rows && dot->k >= 2 * vector) {
        dot->method = AML_DOT_INNER;
    } else {
        dot->method = AML_DOT_TILES_PACK;
    }

    bool tiles = dot->method <= AML_DOT_TILES_PACKED;
    // A transposed A is read down its columns, a line of the cache for each k: many lines, or lines
    // that get in each other's way, are worth a copy if several panels use it.
    bool columns = dot->a_row == 1 && dot->a_k > 1 && dot->a_k * dot->bytes >= 1024 &&
                   dot->m >= 2 * dot->tile_rows && dot->n > panel;
    bool copy = widens || (tiles && columns &&
                           (dot->k > 128 || (dot->k >= 32 && dot->a_k * dot->bytes % 1024 == 0)));
    // The gradient for a weight with few rows: a block of k has all of them, which is one piece of
    // memory that stays in the second-level cache as it is. Each panel of B is then copied once.
    // Registers of 16 bytes have narrow panels, and each reads A: there the copy is quicker.
    enum { SHORT_ROW_BYTES = 2048, LEAST_DEPTH = 256 };
    bool all_rows = copy && !widens && !dot->b_packed && dot->b_column == 1 && dot->a_k == dot->m &&
                    vector * dot->bytes >= 32 && dot->m * dot->bytes <= SHORT_ROW_BYTES &&
                    dot->k >= LEAST_DEPTH && aml_dot_work(dot) >= AML_DOT_LARGE;
    if (all_rows) {
        copy = false;
        dot->method = AML_DOT_TILES_PACK;
    }
    if (dot->a_panels && !dot->b_packed && (dot->a_row == 1 || dot->k > AML_DOT_PANELS_DEPTH))
        dot->method = AML_DOT_TILES_PACK;
    bool pack = dot->method == AML_DOT_TILES_PACK;
    bool narrow = vector * dot->bytes < 64;
    if (tiles)
        aml_dot_blocks(dot, copy, pack, all_rows || (narrow && aml_dot_rows_in_panels(dot)));
    if (dot->a_panels)
        aml_dot_whole_panels(dot, pack);
    if (tiles && (copy || pack) && aml_dot_work(dot) >= AML_DOT_LARGE) {
        aml_dot_large_parts(dot, copy);
    } else if (widens) {
        aml_dot_parts(dot, dot->tile_rows, panel, 96, 32);
        dot->row_block = dot->row_block < dot->part_rows ? dot->row_block : dot->part_rows;
    } else {
        int64_t row_unit = tiles         ? (dot->row_block ? dot->row_block : dot->tile_rows)
                           : dot->n == 1 ? 16
                                         : dot->m;
        int64_t column_unit = dot->method == AML_DOT_ROW_STREAMS ? AML_DOT_STREAM_COLUMNS
                              : dot->method == AML_DOT_INNER     ? 4 * vector
                              : dot->b_packed                    ? packed
                                                                 : panel;
        // Rows of a part go over its columns of B: a large one should come from afar only once.
        int64_t least_rows = 48, row = (dot->k < 1 ? 1 : dot->k) * dot->bytes;
        if (dot->packed_bytes > AML_DOT_PART_ROWS && AML_DOT_PART_ROWS / row > least_rows)
            least_rows = AML_DOT_PART_ROWS / row;
        aml_dot_parts(dot, row_unit, column_unit, least_rows, 64);
    }
    int64_t rows = dot->row_block ? dot->row_block : dot->part_rows, block = dot->k_block;
    if (block < dot->k)
        dot->scratch_bytes +=
            (size_t)(rows * aml_ceil_div(dot->part_columns, panel) * panel * dot->bytes);
    if (tiles && pack)
        dot->scratch_bytes += (size_t)(block * panel * dot->bytes);
    if (copy) {
        dot->method |= AML_DOT_COPY_A;
        bool down = !widens || (dot->a_row == 1 && dot->a_k != 1);
        dot->scratch_bytes += (size_t)(aml_dot_copy_step(down ? rows : block, vector) *
                                       (down ? block : rows) * dot->bytes);
    }
    dot->method |= aml_dot_ahead(dot);
    if (dot->a_panels)
        dot->method |= AML_DOT_A_PANELS;
}

// Packs a constant B: panels of so many columns, one after the other, each k rows of that many
// elements; columns beyond n are zero. `out` has packed_bytes. aml_dot_f32 and aml_dot_f64 with
// AML_DOT_TILES_PACKED read exactly this.
//
//   panel 0: B[0, 0..P) B[1, 0..P) ... B[k-1, 0..P)   panel 1: B[0, P..2P) ...
//
// For tiles of AMX a panel has rows of zeros up to a multiple of 16.
static inline void aml_dot_pack(const AmlDot *dot, const void *b, void *out)
{
    int64_t panel = dot->panel, bytes = dot->bytes;
    int64_t depth = dot->tiles ? aml_dot_tiles_depth(dot->k) : dot->k;
    unsigned char *to = out;
    for (int64_t first = 0; first < dot->n; first += panel) {
        for (int64_t row = 0; row < depth; row++) {
            for (int64_t column = first; column < first + panel; column++, to += bytes) {
                if (column < dot->n && row < dot->k)
                    memcpy(to,
                           (const unsigned char *)b +
                               (row * dot->b_k + column * dot->b_column) * bytes,
                           (size_t)bytes);
                else
                    memset(to, 0, (size_t)bytes);
            }
        }
    }
}

// B of bytes [4 * k, n] as quads [k, n], which aml_dot_pack then packs with b_k = n, b_column = 1:
// byte i of word [p, j] is B[4 * p + i, j]. b_k and b_column are the steps of the bytes.
static inline void aml_quads_of_matrix(int64_t k, int64_t n, const int8_t *b, int64_t b_k,
                                       int64_t b_column, void *out)
{
    signed char *to = out;
    for (int64_t p = 0; p < k; p++)
        for (int64_t column = 0; column < n; column++)
            for (int64_t i = 0; i < 4; i++)
                *to++ = b[(4 * p + i) * b_k + column * b_column];
}

#endif
