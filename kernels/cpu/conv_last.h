// conv_last.h: convolutions whose channels are last; conv_last.c holds the templates, conv.h the
// rest of the plan.
//
// Lanes are result channels in conv.h too, but there a finished tile has to be turned around and a
// channel of an image is a plane. With channels last in memory a register of results is stored as
// it is, what is added to it (a bias, another activation) is read as it lies, and a border is put
// around an image by copying whole positions:
//
//     conv.h         source [c][h][w]  ->  sums  ->  turned  ->  [out][h][w]
//     last == 1      source [c][h][w]  ->  sums              ->  [h][w][out]     the first one of a
//     last == 2      source [h][w][c]  ->  sums              ->  [h][w][out]     network, and
//     others
//
// If half a register holds all channels of the first convolution, a register is two neighbouring
// positions (`together`): twice each channel, of one position and the other, each with an element
// of its own, which are loaded as one of 64 bits. With a stride of 2 those are neighbours if the
// copy has the even columns of a row in front of the odd ones (`split`).
//
// Weights are constant. They are packed [taps][from] for each panel: the channels of a position lie
// one behind the other.
//
// Winograd (Lavin and Gray, 2015). Of a 3 x 3 convolution of stride 1, `side` * `side` results at a
// time come from (side + 2)^2 products instead of 9 * side^2: 2.25 times fewer for a side of 2, 4
// times fewer for 4. Each point of the transformed patches is a matrix product of its own:
//
//     patch of the source  ->  v[point][tile][from]  *  u[point][from][to]  ->  m[point][tile][to]
//                                                                    ->  side * side results
//
// The weights u are made in f64 when they are packed. Sums and differences of the transforms cost
// some bits, more for a side of 4: against sums in f64 results are off by a few 1e-6 of the largest
// one, where the direct way is off by a few 1e-7.

#ifndef AML_KERNELS_CPU_CONV_LAST_H
#define AML_KERNELS_CPU_CONV_LAST_H

#include "conv.h"

enum {
    AML_DEPTH_COLUMNS = 8,                 // registers of a tile at most
    AML_DEPTH_TAPS = 8,                    // of a row, written out, at most
    AML_WINOGRAD_POINTS = 36,              // at most
    AML_LAST_NEAR = 256 * 1024,            // bytes of weights that stay in a near cache, about
    AML_LAST_PARTS = 8,                    // with a large copy each, at most
    AML_LAST_PANEL = 640 * 1024,           // bytes of a panel of weights at most, if it can be less
    AML_WINOGRAD_BLOCK = 320 * 1024,       // bytes of the transformed patches of a unit, about,
    AML_WINOGRAD_LARGE = 1024 * 1024,      // and from so many bytes of u on
    AML_WINOGRAD_WEIGHTS = 4 * 1024 * 1024 // bytes of u at most
};

// What one turn of the innermost loop over a tile takes, in cycles of a processor that multiplies
// and loads two registers in each.
static inline double aml_conv_last_turn(int64_t positions, int64_t vectors)
{
    double products = (double)(positions * vectors) / 2, loads = (double)(positions + vectors) / 2;
    double most = products > loads ? products : loads;
    return (most < 4 ? 4 : most) + 0.25; // a sum waits four cycles for itself
}

static inline void aml_conv_last_tile(AmlConv *c)
{
    int64_t room = c->lanes * c->bytes == 64 ? AML_CONV_TILE : AML_CONV_SMALL_TILE;
    int64_t wide = c->most_vectors ? c->most_vectors : room == AML_CONV_TILE ? 4 : 3;
    int64_t all = aml_ceil_div(c->to, c->lanes);
    int64_t height = c->result[1], width = c->result[2] / c->together;
    double best = -1;
    for (int64_t v = 1; v <= wide; v++) {
        if (v > 1 && v * c->lanes * c->from * c->taps * c->bytes > AML_LAST_PANEL)
            break;
        for (int64_t rows = 1; rows <= height && rows * v <= room; rows++)
            for (int64_t columns = 1; columns <= width && rows * columns * v <= room; columns++) {
                if (height % rows)
                    continue;
                double line = (double)(width / columns) * aml_conv_last_turn(rows * columns, v);
                if (width % columns) // is code of its own
                    line += 1.05 * aml_conv_last_turn(rows * (width % columns), v);
                double score = line * (double)(height / rows) * (double)aml_ceil_div(all, v);
                if (best >= 0 && score >= best)
                    continue;
                best = score;
                c->vectors = v;
                c->tile_rows = rows;
                c->tile_columns = columns;
            }
    }
}

// Zeros in front of the even and of the odd columns of a row.
static inline int64_t aml_conv_split_lead(const AmlConv *c)
{
    return aml_ceil_div(c->low[2], 2);
}

// Whether a register of results is two positions, and how their elements lie side by side then.
static inline void aml_conv_last_together(AmlConv *c)
{
    if (c->last != 1 || 2 * c->to != c->lanes || c->result[2] % 2 || c->stride[2] > 2 ||
        c->low[2] < 0 || c->low[2] > c->lanes)
        return;
    c->together = 2;
    if (c->stride[2] == 1)
        return;
    int64_t lead = aml_conv_split_lead(c), reach = (c->kernel[2] - 1) * c->dilation[2];
    int64_t copied = aml_ceil_div(aml_ceil_div(c->source[2], 2), c->lanes) * c->lanes;
    int64_t read = c->result[2] + aml_ceil_div(reach, 2);
    c->split = lead + (copied > read ? copied : aml_ceil_div(read, c->lanes) * c->lanes);
    c->step[2] = 1;
}

static inline void aml_conv_last_blocks(AmlConv *c)
{
    // Weights that do not stay in the cache are read once for each block: blocks are large, and
    // threads divide the panels of weights.
    int64_t weights = c->to * c->from * c->taps * c->bytes;
    bool large = weights > AML_LAST_NEAR;
    int64_t most = large ? 512 * 1024 : 48 * 1024;
    c->pieces = large ? aml_ceil_div(c->to, c->vectors * c->lanes) : 1;
    int64_t channels = c->groups * c->from;
    c->block_axis = c->result[0] > 1 ? 0 : 1;
    int64_t rows = c->result[c->block_axis], unit = c->block_axis == 1 ? c->tile_rows : 1;
    c->block_rows = rows;
    while (true) {
        c->direct = aml_conv_windows(c) && !c->split;
        int64_t bytes = c->from * aml_conv_all(c->copy) * c->bytes;
        if (c->direct) { // what is read, if panels go over it again and again
            int64_t positions = aml_conv_all(c->result) / rows * c->block_rows * c->taps;
            bytes = !large                              ? 0
                    : positions < aml_conv_all(c->copy) ? c->from * positions * c->bytes
                                                        : bytes;
        }
        if (c->block_rows <= unit || (bytes <= most && (large || !aml_conv_idles(c))))
            break;
        c->block_rows = aml_ceil_div(aml_ceil_div(c->block_rows, 2), unit) * unit;
    }
    c->blocks = aml_ceil_div(rows, c->block_rows);
    c->place = c->last == 1 ? 1 : c->direct ? channels : c->from;
    if (c->direct)
        aml_conv_in_place(c);
    if (c->split) {
        c->origin[2] = -aml_conv_split_lead(c);
        c->copy[2] = 2 * c->split;
    }
    c->plane = c->last == 1 ? aml_conv_all(c->copy) : 1;
}

// The columns of a row of the result whose windows lie inside of the source: `first` to `behind`.
static inline void aml_conv_depth_inside(AmlConv *c)
{
    int64_t width = c->result[2], stride = c->stride[2];
    int64_t inside = c->source[2] + c->low[2] - (c->kernel[2] - 1) * c->dilation[2];
    int64_t first = aml_ceil_div(c->low[2], stride),
            behind = inside > 0 ? (inside - 1) / stride + 1 : 0;
    c->first = first < width ? first : width;
    c->behind = behind < width ? behind : width;
    c->behind = c->behind < c->first ? c->first : c->behind;
}

// One channel to a group: blocks are as large as parts, and a row has as few tiles as it can, of
// the same size.
static inline bool aml_conv_depth_plan(AmlConv *c)
{
    if (c->last == 1 || c->source[0] * c->result[0] * c->kernel[0] != 1)
        return false;
    int64_t width = c->result[2], rows = c->result[1];
    int64_t most = c->lanes * c->bytes == 64 ? AML_DEPTH_COLUMNS : AML_DEPTH_COLUMNS / 2;
    aml_conv_depth_inside(c);
    c->together = 2 * c->depth == c->lanes && c->stride[2] == 1 && c->behind - c->first > 1 ? 2 : 1;
    c->tile_columns = aml_ceil_div(width, aml_ceil_div(width, most));
    int64_t last = (width - 1) / c->tile_columns * c->tile_columns;
    int64_t reach = (last - 1) * c->stride[2] + (c->kernel[2] - 1) * c->dilation[2] - c->low[2];
    c->whole = c->together == 1 && c->kernel[2] <= AML_DEPTH_TAPS && c->first <= c->tile_columns &&
               (last == 0 || reach < c->source[2]);
    if (!c->whole) {
        c->behind -= (c->behind - c->first) % c->together;
        int64_t middle = (c->behind - c->first) / c->together;
        middle = middle < 1 ? 1 : middle;
        c->tile_columns = aml_ceil_div(middle, aml_ceil_div(middle, most));
    }
    double work = (double)c->images * (double)c->depth * (double)c->taps * (double)(width * rows);
    int64_t wanted = (int64_t)(work / (1 << 19));
    wanted = wanted < 1 ? 1 : wanted > AML_CONV_PARTS ? AML_CONV_PARTS : wanted;
    c->block_axis = 1;
    c->tile_rows = c->vectors = 1;
    c->block_rows = aml_ceil_div(rows, aml_ceil_div(wanted, c->images));
    c->blocks = aml_ceil_div(rows, c->block_rows);
    c->unit_chunk = aml_ceil_div(c->images * c->blocks, wanted);
    c->parts = aml_ceil_div(c->images * c->blocks, c->unit_chunk);
    c->direct = true;
    c->place = c->pitch = aml_ceil_div(c->depth, c->lanes) * c->lanes; // of the weights
    c->copy_bytes = 0;
    c->packed_bytes = (size_t)(c->taps * c->place * c->bytes);
    return true;
}

// ---- Winograd

static inline int64_t aml_winograd_points(const AmlConv *c)
{
    return (c->side + 2) * (c->side + 2);
}

// The tile of a point's product and how many patches a unit has: `side` is chosen.
static inline void aml_winograd_tile(AmlConv *c)
{
    int64_t room = c->lanes * c->bytes == 64 ? AML_CONV_TILE : AML_CONV_SMALL_TILE;
    int64_t wide = c->most_vectors ? c->most_vectors : room == AML_CONV_TILE ? 4 : 3;
    int64_t all = aml_ceil_div(c->to, c->lanes);
    int64_t count = c->tiles[0] * c->tiles[1];
    // What is read again for each panel of u are the patches, and for each block all of u: the less
    // that comes from afar the better.
    int64_t row = aml_winograd_points(c) * c->from * c->bytes;
    int64_t most =
        (row * c->to > AML_WINOGRAD_LARGE ? AML_WINOGRAD_LARGE : AML_WINOGRAD_BLOCK) / row;
    int64_t block = aml_ceil_div(count, aml_ceil_div(count, most < 1 ? 1 : most));
    double best = -1;
    for (int64_t v = 1; v <= wide; v++)
        for (int64_t rows = 1; rows <= block && rows * v <= room; rows++) {
            double score = (double)(aml_ceil_div(block, rows) * aml_ceil_div(all, v)) *
                           aml_conv_last_turn(rows, v);
            if (best >= 0 && score >= best)
                continue;
            best = score;
            c->vectors = v;
            c->tile_rows = rows;
        }
    c->block_tiles = aml_ceil_div(block, c->tile_rows) * c->tile_rows;
    c->blocks = aml_ceil_div(count, c->block_tiles);
}

// About how long it takes with this side: products, and four cycles for each register that a
// transform reads or makes.
static inline double aml_winograd_time(AmlConv *c, int64_t side)
{
    c->side = side;
    for (int i = 0; i < 2; i++)
        c->tiles[i] = aml_ceil_div(c->result[1 + i], side);
    int64_t points = aml_winograd_points(c), count = c->tiles[0] * c->tiles[1];
    aml_winograd_tile(c);
    int64_t all = aml_ceil_div(c->to, c->lanes), panels = aml_ceil_div(all, c->vectors);
    double products = (double)(points * c->from * panels * aml_ceil_div(count, c->tile_rows)) *
                      aml_conv_last_turn(c->tile_rows, c->vectors);
    double moved = (double)(count * points) * (double)(c->from / c->lanes + panels * c->vectors);
    // Weights that are used by few patches are waited for.
    double weights = (double)(points * c->from * c->to * c->bytes * c->blocks) / 24;
    return products + 4 * moved + weights;
}

// False: not here, or not worth it.
static inline bool aml_winograd_plan(AmlConv *c)
{
    bool fits = c->last == 2 && c->groups == 1 && c->from % 16 == 0 && c->to >= 16 &&
                c->source[0] == 1 && c->result[0] == 1 && c->kernel[0] == 1;
    for (int axis = 1; axis < AML_CONV_AXES; axis++)
        fits = fits && c->kernel[axis] == 3 && c->stride[axis] == 1 && c->dilation[axis] == 1;
    if (!fits)
        return false;
    double turn = aml_conv_last_turn(c->tile_rows * c->tile_columns, c->vectors);
    int64_t positions = c->tile_rows * c->tile_columns;
    double direct = (double)(aml_conv_all(c->result) * c->from * c->taps *
                             aml_ceil_div(c->to, c->lanes * c->vectors)) /
                        (double)positions * turn +
                    (double)(c->from * c->to * c->taps * c->bytes * c->blocks) / 24;
    AmlConv best = *c;
    for (int64_t side = 2; side <= 4; side += 2) {
        AmlConv try = *c;
        double time = aml_winograd_time(&try, side);
        if (aml_winograd_points(&try) * c->from * c->to * c->bytes > AML_WINOGRAD_WEIGHTS ||
            time > 0.9 * direct)
            continue;
        direct = time;
        best = try;
    }
    if (!best.side)
        return false;
    *c = best;
    int64_t points = aml_winograd_points(c);
    bool large = points * c->from * c->to * c->bytes > AML_WINOGRAD_LARGE;
    c->pieces = large ? aml_ceil_div(c->to, c->vectors * c->lanes) : 1;
    int64_t elements =
        points * ((c->block_tiles + 1) * (c->from + c->vectors * c->lanes) + c->lanes);
    c->copy_bytes = (size_t)(elements * c->bytes + 63) / 64 * 64;
    c->packed_bytes = (size_t)(points * c->from * c->bytes) *
                      (size_t)(aml_ceil_div(c->to, c->vectors * c->lanes) * c->vectors * c->lanes);
    return true;
}

// False: there is no code for it.
static inline bool aml_conv_last_plan(AmlConv *c)
{
    if (c->bytes != 4 || c->half || c->quads || c->input)
        return false;
    c->side = 0;
    if (c->depth)
        return aml_conv_depth_plan(c);
    aml_conv_last_together(c);
    aml_conv_last_tile(c);
    aml_conv_last_blocks(c);
    int64_t elements = (c->last == 1 ? c->from : c->place) * aml_conv_all(c->copy) + c->lanes;
    c->copy_bytes = c->direct ? 0 : (size_t)(elements * c->bytes + 63) / 64 * 64;
    int64_t panel = c->vectors * c->lanes;
    c->packed_bytes =
        (size_t)(c->groups * aml_ceil_div(c->to, panel) * panel * c->from * c->taps * c->bytes);
    aml_winograd_plan(c);
    c->pitch = c->vectors * c->lanes;
    // With two rows of weights one line, if there are as many tiles (see dot_tile.h).
    if (c->packed_bytes > AML_LAST_NEAR && c->lanes * c->bytes == 64) {
        int64_t down = c->block_axis == 0 ? c->result[1] : c->block_rows;
        int64_t tiles = c->side ? c->block_tiles / c->tile_rows
                                : aml_ceil_div(down, c->tile_rows) *
                                      aml_ceil_div(c->result[2], c->tile_columns);
        c->asks = tiles < 2 * c->vectors ? c->lanes : c->lanes / 2;
    }
    int64_t units = c->images * c->groups * c->blocks * c->pieces;
    double work = (double)c->images * (double)c->groups * (double)c->to * (double)c->from *
                  (double)c->taps * (double)aml_conv_all(c->result);
    int64_t wanted = (int64_t)(work / (1 << 19));
    int64_t most = c->pieces > 1 && c->copy_bytes ? AML_LAST_PARTS : AML_CONV_PARTS;
    wanted = wanted < 1 ? 1 : wanted > most ? most : wanted;
    c->unit_chunk = aml_ceil_div(units, wanted);
    c->parts = aml_ceil_div(units, c->unit_chunk);
    return true;
}

// ---- packing

// All points of g * w * g transposed, for one 3 x 3 kernel w.
static inline __attribute__((always_inline)) void
aml_winograd_weight(int64_t side, const float w[9], double point[AML_WINOGRAD_POINTS])
{
    static const double two[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    static const double four[6][3] = {{1.0 / 4, 0, 0},
                                      {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                      {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                      {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                      {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                      {0, 0, 1}};
    const double(*g)[3] = side == 2 ? two : four;
    double down[6][3];
    for (int64_t i = 0; i < side + 2; i++)
        for (int b = 0; b < 3; b++)
            down[i][b] =
                g[i][0] * (double)w[b] + g[i][1] * (double)w[3 + b] + g[i][2] * (double)w[6 + b];
    for (int64_t i = 0; i < side + 2; i++)
        for (int64_t k = 0; k < side + 2; k++)
            *point++ = down[i][0] * g[k][0] + down[i][1] * g[k][1] + down[i][2] * g[k][2];
}

// The weights [to, from, 3, 3] as [points][from][panel], for each panel.
static inline __attribute__((always_inline)) void aml_winograd_pack(const float *weights,
                                                                    int64_t side, int64_t from,
                                                                    int64_t to, int64_t panel,
                                                                    float *out)
{
    int64_t points = (side + 2) * (side + 2);
    for (int64_t first = 0; first < to; first += panel, out += points * from * panel)
        for (int64_t channel = 0; channel < from; channel++)
            for (int64_t lane = 0; lane < panel; lane++) {
                double point[AML_WINOGRAD_POINTS] = {0};
                if (first + lane < to)
                    aml_winograd_weight(side, weights + ((first + lane) * from + channel) * 9,
                                        point);
                for (int64_t e = 0; e < points; e++)
                    out[(e * from + channel) * panel + lane] = (float)point[e];
            }
}

// The weights [out, in, kernel] in the order in which they are read: for each group and each panel
// [taps][from][panel], with Winograd [points][from][panel]; [taps][channels] where each channel is
// by itself.
static inline void aml_conv_last_pack(const AmlConv *c, const float *weights, float *out)
{
    int64_t panel = c->depth ? c->place : c->vectors * c->lanes;
    int64_t results = c->depth ? c->depth : c->to, groups = c->depth ? 1 : c->groups;
    if (c->side) {
        aml_winograd_pack(weights, c->side, c->from, c->to, panel, out);
        return;
    }
    bool again = 2 * c->depth == panel; // for two positions in a register
    for (int64_t group = 0; group < groups; group++)
        for (int64_t first = 0; first < results; first += panel)
            for (int64_t row = 0; row < c->taps; row++)
                for (int64_t channel = 0; channel < c->from; channel++)
                    for (int64_t lane = first; lane < first + panel; lane++) {
                        int64_t result = again              ? lane % results
                                         : c->together == 2 ? lane / 2
                                                            : lane;
                        const float *w =
                            weights + ((group * results + result) * c->from + channel) * c->taps;
                        *out++ = result >= results ? 0 : w[row];
                    }
}

#endif
