// conv.h: how a convolution is computed; conv_template.h is the template.
//
// conv and conv_input are one thing: each result element is a sum over channels and taps of a
// source element times a weight. Along an axis, result coordinate i has
//
//     phase  (i + base) % phases         which taps it has
//     place  (i + base) / phases * step  where it stands in the source; tap t reads place +
//     offset[t]
//
// For conv there is one phase, step is the stride and offset[t] = t * dilation - low. For
// conv_input of a stride s there are s phases, step is 1, and the taps of a phase are those whose
// distance to it is a multiple of s. Axes are d, h, w; a missing one has size 1.
//
// The lanes of a register are result channels, so any number of positions fills the registers:
//
//              weights: `vectors` registers of channels
//              +------+------+
//              | w[0] | w[1] |      for each channel of the source and each tap: one row of packed
//              +------+------+      weights, and one source element for each position of the tile
//   s[0]  ->   | acc  | acc  |
//   s[1]  ->   | acc  | acc  |
//     ...      tile_rows * tile_columns positions
//
// Where neighbouring results are neighbours in the source, lanes may be positions instead, and a
// tile some result channels (`lined`) by some registers of positions: conv_rows_template.h.
//
// Where each channel is by itself (`depth`), a group is `lanes` of them, with `from` 1 and `to` the
// lanes: the source is copied with channels last, and s[i] is a register of channels as well.
//
// A finished tile is turned around, so that the epilogue gets registers of positions. A unit of
// work is one group of one image, or a block of its rows: its source is copied with the padding
// around it, unless none is needed. Parts are runs of units. What lies around an image is written
// with the first one only (`around`), if units are whole images: a copy is mostly short rows, and
// each end of one would cost as much as a register of the image.

#ifndef AML_KERNELS_CPU_CONV_H
#define AML_KERNELS_CPU_CONV_H

#include "kernel.h"

enum {
    AML_CONV_AXES = 3,
    AML_CONV_PHASES = 16,       // of all axes together, at most
    AML_CONV_COPY = 192 * 1024, // bytes of a unit's copy, about
    AML_CONV_KEPT = 256 * 1024, // bytes of a unit's results that may wait
    AML_CONV_PARTS = 32,
    AML_CONV_TILE = 28,       // accumulators at most: of 32 registers,
    AML_CONV_SMALL_TILE = 12, // and of 16
    AML_CONV_QUAD_TILE = 8,   // where a product of bytes needs some itself
    AML_CONV_LINED = 8        // result channels of a tile whose lanes are positions, at most
};

// One convolution, of either kind. The caller fills the first part, aml_conv_plan the second.
typedef struct AmlConv {
    int bytes, lanes; // of an element; elements in a register
    int half;         // AML_HALF_...: source and weights are copied, widened or as pairs
    bool made;        // the source is computed where it is copied
    bool input;       // conv_input: `from` are the convolution's results
    bool quads;       // the source's channels are bytes: four of them are an element (quads.c)
    bool in_tiles;    // quads, in tiles of AMX (conv_tiles.h)
    bool waits;       // pairs: the results of a unit wait for the others, if that fits
    int most_vectors; // in a panel of those with channels last; 0: as many as are best
    int last;         // 1: channels of the result are last, 2: of both (conv_last.h)
    int64_t channels; // of the source in memory, in each group
    int64_t depth;    // 0, or the channels, each with a convolution of its own: see below
    int64_t images, groups;
    int64_t from, to; // channels of source and result, in each group
    int64_t source[AML_CONV_AXES], result[AML_CONV_AXES], kernel[AML_CONV_AXES];
    int64_t stride[AML_CONV_AXES], low[AML_CONV_AXES], dilation[AML_CONV_AXES];

    int64_t phases[AML_CONV_AXES], base[AML_CONV_AXES], step[AML_CONV_AXES];
    int64_t origin[AML_CONV_AXES]; // of the copy of the first block, in source coordinates
    int64_t copy[AML_CONV_AXES];   // sizes of the copy
    bool direct;                   // the source is read where it is
    int block_axis;                // 0 or 1: the axis of the result that is cut into blocks
    int64_t block_rows, blocks;
    int64_t vectors, tile_rows, tile_columns;
    int64_t lined; // 0, or the result channels of a tile whose lanes are positions; tile_columns
                   // are registers then
    int64_t pitch; // elements from a row of the packed weights to the next: a panel, or
                   // several of them, if wider registers read the same weights
    int64_t parts, unit_chunk; // units in a part
    int64_t taps;              // of all phases
    int64_t kept;              // elements in front of the results that wait; 0: none do
    size_t copy_bytes;         // of one part, with what waits
    size_t packed_bytes;       // of all weights
    int64_t place, plane;  // elements from a position to the next and, of a channel last, to the
                           // next channel
    int64_t together;      // positions in a register of results, 1 or 2 (conv_last.h)
    int64_t split;         // of a row of the copy: where its odd columns begin; 0: in their order
    int64_t pieces;        // of the panels of weights, of which a unit has one (conv_last.h)
    int64_t asks;          // elements of the weights read next that tiles ask for with each row
    int64_t first, behind; // of `depth` with channels last: conv_last.c
    bool whole;
    int64_t side, tiles[2], block_tiles; // of Winograd's tiles: conv_last.h; side 0: none
} AmlConv;

static inline int64_t aml_conv_all(const int64_t size[AML_CONV_AXES])
{
    return size[0] * size[1] * size[2];
}

// Elements of one position in the copy, for each of `from`.
static inline int64_t aml_conv_place(const AmlConv *c)
{
    return c->depth ? c->lanes : 1;
}

// The taps of a phase along an axis: their kernel positions and source offsets. How many there are.
static inline int aml_conv_taps(const AmlConv *c, int axis, int64_t phase, int64_t at[],
                                int64_t offset[])
{
    int count = 0;
    for (int64_t k = 0; k < c->kernel[axis]; k++) {
        int64_t apart = k * c->dilation[axis];
        if (c->input && (apart - phase) % c->stride[axis] != 0)
            continue;
        if (at) {
            at[count] = k;
            offset[count] = c->input ? -((apart - phase) / c->stride[axis]) : apart - c->low[axis];
        }
        count++;
    }
    return count;
}

// The least and the largest place + offset along an axis, for rows first..last of the result.
static inline void aml_conv_reach(const AmlConv *c, int axis, int64_t first, int64_t last,
                                  int64_t *least, int64_t *most)
{
    int64_t from = (first + c->base[axis]) / c->phases[axis] * c->step[axis],
            to = (last + c->base[axis]) / c->phases[axis] * c->step[axis];
    int64_t reach = (c->kernel[axis] - 1) * c->dilation[axis];
    if (c->input) {
        *least = from - reach / c->stride[axis];
        *most = to;
    } else {
        *least = from - c->low[axis];
        *most = to + reach - c->low[axis];
    }
}

static inline void aml_conv_tile(AmlConv *c)
{
    int64_t most = c->lanes * c->bytes == 64 ? AML_CONV_TILE
                   : c->quads                ? AML_CONV_QUAD_TILE
                                             : AML_CONV_SMALL_TILE;
    int64_t wide = most == AML_CONV_SMALL_TILE ? 3 : 2, all = aml_ceil_div(c->to, c->lanes);
    int64_t best = -1;
    // The fewest idle lanes, then wide. More than two registers of 32 would leave so few positions
    // that turning a tile around wastes half of it.
    for (int64_t v = 1; v <= wide; v++) {
        int64_t waste = aml_ceil_div(all, v) * v - all;
        if (best < 0 || waste <= aml_ceil_div(all, best) * best - all)
            best = v;
    }
    c->vectors = best;
    int64_t room = most / best, columns = aml_ceil_div(c->result[2], c->phases[2]);
    c->tile_rows = 1;
    c->tile_columns = columns < room ? columns : room;
    for (int64_t try = room; columns > room && try > room / 2; try--)
        if (columns % try == 0) {
            c->tile_columns = try;
            break;
        }
    bool plain = c->phases[0] * c->phases[1] * c->phases[2] == 1;
    int64_t rows = c->result[1];
    for (int64_t try = room / columns; plain && columns <= room && try > 1; try--)
        if (rows % try == 0) {
            c->tile_rows = try;
            break;
        }
}

// Result channels in a row of the packed weights.
static inline int64_t aml_conv_panel(const AmlConv *c)
{
    return c->lined ? c->lined : c->vectors * c->lanes;
}

// Lanes become positions if as few of them idle. Turning tiles around and reading an element for
// each result costs an eighth, reading beside whole lines next to nothing.
static inline void aml_conv_line(AmlConv *c)
{
    enum { MOST_REGISTERS = 4, LEAST_SUMS = 12 };
    int64_t columns = aml_ceil_div(c->result[2], c->lanes), best = 0;
    c->lined = 0;
    if (c->lanes * c->bytes != 64 || c->bytes != 4 || c->depth || c->quads || c->step[2] != 1 ||
        c->step[1] != 1 || c->result[0] > 1 || c->source[0] > 1 || c->kernel[0] > 1 || c->low[0] ||
        aml_conv_all(c->phases) != 1)
        return;
    double as_channels = (double)(aml_ceil_div(c->to, c->lanes) * c->lanes * c->result[2]);
    double as_rows = (double)(c->to * columns * c->lanes);
    if (as_rows * 8 > as_channels * 9)
        return;
    for (int64_t r = c->to < AML_CONV_LINED ? c->to : AML_CONV_LINED - 1; r >= 1; r--)
        if (best == 0 || aml_ceil_div(c->to, r) * r < aml_ceil_div(c->to, best) * best)
            best = r;
    int64_t across = columns < MOST_REGISTERS ? columns : MOST_REGISTERS;
    int64_t rows = MOST_REGISTERS / across;
    rows = rows < c->result[1] ? rows : c->result[1];
    if (best * across * rows < LEAST_SUMS || (c->direct && c->result[2] % c->lanes))
        return;
    c->lined = best;
    c->tile_columns = across;
    c->tile_rows = rows;
}

// What a block of block_rows rows reads, as origin and copy. Whether all blocks stay inside of x.
static inline bool aml_conv_windows(AmlConv *c)
{
    bool inside = true;
    for (int axis = 0; axis < AML_CONV_AXES; axis++) {
        int64_t least, most, rows = axis == c->block_axis ? c->block_rows : c->result[axis];
        aml_conv_reach(c, axis, 0, rows - 1, &least, &most);
        c->origin[axis] = least;
        c->copy[axis] = most - least + 1;
        aml_conv_reach(c, axis, 0, c->result[axis] - 1, &least, &most);
        inside = inside && least >= 0 && most < c->source[axis];
    }
    return inside;
}

// Whether there are fewer blocks than threads have use for, of work that is worth dividing.
static inline bool aml_conv_idles(const AmlConv *c)
{
    int64_t rows = c->result[c->block_axis],
            units = c->images * c->groups * aml_ceil_div(rows, c->block_rows);
    double work = (double)c->images * (double)c->groups * (double)c->to * (double)c->from *
                  (double)c->taps * (double)aml_conv_all(c->result);
    return units < 8 && work / (double)units > 4e6;
}

// x is read where it is: nothing is copied.
static inline void aml_conv_in_place(AmlConv *c)
{
    for (int axis = 0; axis < AML_CONV_AXES; axis++) {
        c->origin[axis] = 0;
        c->copy[axis] = c->source[axis];
    }
}

static inline void aml_conv_blocks(AmlConv *c)
{
    c->block_axis = c->result[0] > 1 ? 0 : 1;
    int64_t rows = c->result[c->block_axis];
    int64_t unit = c->block_axis == 1 ? c->tile_rows * c->phases[1] : c->phases[0];
    c->block_rows = rows;
    while (true) {
        // What is multiplied is not what x has.
        bool other = c->half || c->quads || c->depth || c->made;
        c->direct = aml_conv_windows(c) && !other;
        int64_t bytes = aml_conv_place(c) * c->from * aml_conv_all(c->copy) * c->bytes;
        if (c->block_rows <= unit || ((c->direct || bytes <= AML_CONV_COPY) && !aml_conv_idles(c)))
            break;
        c->block_rows = aml_ceil_div(aml_ceil_div(c->block_rows, 2), unit) * unit;
    }
    c->blocks = aml_ceil_div(rows, c->block_rows);
    if (c->direct)
        aml_conv_in_place(c);
    aml_conv_line(c);
}

// From one channel to the next of the results that wait: one register more, since whole ones are
// stored.
static inline int64_t aml_conv_kept_step(int64_t positions, int64_t lanes)
{
    return (aml_ceil_div(positions, lanes) + 1) * lanes;
}
static inline bool aml_conv_last_plan(AmlConv *c); // conv_last.h

// False: there is no code for it.
static inline bool aml_conv_plan(AmlConv *c)
{
    bool flat = true;
    int64_t phases = 1;
    c->together = 1;
    c->split = 0;
    c->pieces = 1;
    c->asks = 0;
    c->taps = 1;
    for (int axis = 0; axis < AML_CONV_AXES; axis++) {
        c->phases[axis] = c->input ? c->stride[axis] : 1;
        c->base[axis] = c->input ? c->low[axis] : 0;
        c->step[axis] = c->input ? 1 : c->stride[axis];
        phases *= c->phases[axis];
        c->taps *= c->kernel[axis];
        flat = flat && c->kernel[axis] == 1 && c->stride[axis] == 1 && c->low[axis] == 0 &&
               c->source[axis] == c->result[axis];
    }
    if (phases > AML_CONV_PHASES || c->phases[2] > 4 || c->taps > 4096)
        return false;
    if (flat) { // every position is alike
        c->source[2] = c->result[2] = aml_conv_all(c->source);
        c->source[0] = c->source[1] = c->result[0] = c->result[1] = 1;
    }
    if (c->last)
        return aml_conv_last_plan(c);
    c->place = aml_conv_place(c);
    aml_conv_tile(c);
    aml_conv_blocks(c);
    int64_t units = c->images * c->groups * c->blocks;
    double work = (double)c->images * (double)c->groups * (double)c->to * (double)c->from *
                  (double)c->taps * (double)aml_conv_all(c->result);
    int64_t wanted = (int64_t)(work / (1 << 19));
    wanted = wanted < 1 ? 1 : wanted > AML_CONV_PARTS ? AML_CONV_PARTS : wanted;
    c->unit_chunk = aml_ceil_div(units, wanted);
    c->parts = aml_ceil_div(units, c->unit_chunk);
    // One register more: rows are written by whole registers. Tiles of bytes may reach beyond a
    // row.
    int64_t beyond = c->lanes + (c->quads ? c->tile_columns * c->step[2] : 0);
    c->copy_bytes =
        c->direct
            ? 0
            : (size_t)((aml_conv_place(c) * c->from * aml_conv_all(c->copy) + beyond) * c->bytes +
                       63) /
                  64 * 64;
    int64_t positions = aml_conv_all(c->result) / c->result[c->block_axis] * c->block_rows;
    int64_t waiting = c->to * aml_conv_kept_step(positions, c->lanes) * c->bytes;
    c->kept = 0;
    if (c->waits && !c->lined && waiting <= AML_CONV_KEPT) {
        c->kept = (int64_t)c->copy_bytes / c->bytes;
        c->copy_bytes += (size_t)waiting;
    }
    int64_t panel = aml_conv_panel(c);
    c->pitch = panel;
    c->packed_bytes =
        (size_t)(c->groups * aml_ceil_div(c->to, panel) * panel * c->from * c->taps * c->bytes);
    return true;
}

enum { AML_CONV_TABLE = 2 * AML_CONV_PHASES };

// For each phase (d, h, w; w fastest) where its taps begin and how many there are, then, from
// AML_CONV_TABLE on, the offset of each tap in the copy and its place in the kernel:
//
//   begin count begin count ...   offset kernel offset kernel ...
static inline void aml_conv_table(const AmlConv *c, int64_t table[])
{
    int64_t next = 0;
    for (int64_t f = 0; f < aml_conv_all(c->phases); f++) {
        int64_t phase[] = {f / (c->phases[1] * c->phases[2]), f / c->phases[2] % c->phases[1],
                           f % c->phases[2]};
        table[2 * f] = next;
        int64_t at[3][4096], offset[3][4096];
        int count[3];
        for (int axis = 0; axis < AML_CONV_AXES; axis++)
            count[axis] = aml_conv_taps(c, axis, phase[axis], at[axis], offset[axis]);
        for (int i = 0; i < count[0]; i++)
            for (int j = 0; j < count[1]; j++)
                for (int k = 0; k < count[2]; k++, next++) {
                    int64_t *row = table + AML_CONV_TABLE + 2 * next;
                    int64_t across = offset[2][k];
                    if (c->split) // to floor(across / 2) of the even or of the odd columns
                        across = (across & 1) * c->split + (across - (across & 1)) / 2;
                    row[0] = (offset[0][i] * c->copy[1] + offset[1][j]) * c->copy[2] + across;
                    row[0] *= c->place;
                    row[1] = (at[0][i] * c->kernel[1] + at[1][j]) * c->kernel[2] + at[2][k];
                }
        table[2 * f + 1] = next - table[2 * f];
    }
}

// Whether a plan for shorter registers can read the weights as `wide` has them packed: each row of
// its panels is a piece of a wider one. It does so from then on.
static inline bool aml_conv_share(AmlConv *c, const AmlConv *wide)
{
    int64_t panel = c->vectors * c->lanes, pitch = wide->vectors * wide->lanes;
    if (c->depth || c->lined || wide->lined || c->half || wide->half || c->last != wide->last ||
        c->side != wide->side || c->together != wide->together || c->bytes != wide->bytes ||
        pitch < panel || pitch % panel)
        return false;
    c->pitch = pitch;
    return true;
}

// The weights [out, in, kernel] in the order in which they are read: for each group, each panel of
// `vectors` registers of result channels and each phase: [from][taps][panel]. Elements begin..end
// of the panels of all groups.
static inline __attribute__((always_inline)) void
aml_conv_pack(int64_t begin, int64_t end, int64_t bytes, bool input, int64_t from, int64_t to,
              int64_t taps, int64_t panel, int64_t phases, const int64_t *table,
              const void *weights, void *packed)
{
    int64_t panels = (to + panel - 1) / panel;
    for (int64_t i = begin; i < end; i++) {
        int64_t group = i / panels, first = i % panels * panel;
        unsigned char *out = (unsigned char *)packed + i * panel * from * taps * bytes;
        for (int64_t f = 0; f < phases; f++)
            for (int64_t channel = 0; channel < from; channel++)
                for (int64_t t = table[2 * f]; t < table[2 * f] + table[2 * f + 1]; t++) {
                    int64_t place = table[AML_CONV_TABLE + 2 * t + 1];
                    for (int64_t lane = 0; lane < panel; lane++, out += bytes) {
                        int64_t result = first + lane;
                        // conv: weights [group, to, from, kernel]; conv_input: [group, from, to,
                        // kernel]
                        int64_t row = input ? (group * from + channel) * to + result
                                            : (group * to + result) * from + channel;
                        const unsigned char *in =
                            (const unsigned char *)weights + (row * taps + place) * bytes;
                        if (result >= to)
                            __builtin_memset(out, 0, (size_t)bytes);
                        else
                            __builtin_memcpy(out, in, (size_t)bytes);
                    }
                }
    }
}

// Weights of bytes [out, channels, kernel] as quads [out, from, kernel], which aml_conv_pack then
// packs: byte i of channel c is channel 4 * c + i, or 0 beyond the last one.
static inline void aml_quads_of_weights(int64_t results, int64_t channels, int64_t taps,
                                        const signed char *weights, signed char *out)
{
    for (int64_t result = 0; result < results; result++)
        for (int64_t quad = 0; quad < (channels + 3) / 4; quad++)
            for (int64_t tap = 0; tap < taps; tap++)
                for (int64_t channel = 4 * quad; channel < 4 * quad + 4; channel++)
                    *out++ = channel < channels
                                 ? weights[(result * channels + channel) * taps + tap]
                                 : (signed char)0;
}

// ---- the gradient for the weights
//
// Lanes are result channels here as well: the result's gradient is turned around,
// [positions][panel], and each of its rows is multiplied by single elements of the input. A tile is
// all columns of some rows of the kernel, for some channels of the input:
//
//     acc[channel][kernel row][kernel column] += x[channel][place + tap] * dy[position]
//
// A part has some channels of the input and some of the images (`split`: each group of images is a
// result of its own). Its sums wait in scratch while it goes from image to image.

typedef struct AmlConvWeight {
    int bytes, lanes;
    bool depthwise;                // of one channel in each group: depthwise.h
    int half;                      // AML_HALF_...: of both operands
    bool made;                     // the input is computed where it is copied
    int64_t images, groups, split; // split: at least 1
    int64_t from, to;              // channels of input and result, in each group
    int64_t source[AML_CONV_AXES], result[AML_CONV_AXES], kernel[AML_CONV_AXES];
    int64_t stride[AML_CONV_AXES], low[AML_CONV_AXES], dilation[AML_CONV_AXES];

    int64_t copy[AML_CONV_AXES];
    bool direct;
    int block_axis;
    int64_t block_rows, blocks, block_positions;
    int64_t vectors, tile_channels, tile_rows;
    int64_t channel_chunk, channel_parts, parts, part_chunk; // a thread takes part_chunk of them
    int64_t copy_elements, turned_elements;                  // of one part, whole registers
    size_t scratch_bytes;                                    // of one part
    int64_t along; // 0, or the result channels of a tile whose lanes are positions: conv_along.h
    int64_t block_images; // of these: images that are copied at once
} AmlConvWeight;

// Into how many groups the images are divided: it depends on the shape alone.
static inline int64_t aml_conv_weight_split(const AmlConvWeight *c)
{
    int64_t weights = c->to * c->from * aml_conv_all(c->kernel);
    double work =
        (double)c->images * (double)c->groups * (double)weights * (double)aml_conv_all(c->result);
    int64_t channel_parts = aml_ceil_div(weights * 4, 256 * 1024);
    channel_parts = channel_parts > c->from ? c->from : channel_parts;
    int64_t wanted =
        work / (1 << 20) > AML_CONV_PARTS ? AML_CONV_PARTS : (int64_t)(work / (1 << 20));
    int64_t split = wanted / (channel_parts * c->groups);
    // Storing and adding up the weights of a part takes as long as a few dozen positions.
    enum { LEAST_POSITIONS = 512 };
    int64_t positions = aml_conv_all(c->result);
    while (split > 1 && (c->images % split || split * c->groups * weights > 1 << 24 ||
                         c->images / split * positions < LEAST_POSITIONS ||
                         (c->half && c->images / split % 2))) // images are multiplied in pairs
        split--;
    return split < 1 ? 1 : split;
}

static inline void aml_conv_weight_tile(AmlConvWeight *c)
{
    int64_t room = c->lanes * c->bytes == 64 ? AML_CONV_TILE : AML_CONV_SMALL_TILE;
    int64_t all = aml_ceil_div(c->to, c->lanes), rows = c->kernel[1], columns = c->kernel[2];
    double best = -1;
    for (int64_t v = 1; v <= 4; v++) {
        int64_t height = room / (v * columns), channels = 1;
        if (height < 1)
            continue;
        height = height > rows ? rows : height;
        height = aml_ceil_div(rows, aml_ceil_div(rows, height));
        if (height == rows) {
            channels = room / (v * columns * rows);
            channels = channels > c->from ? c->from : channels;
            while (channels > 1 && c->from % channels && channels * 2 > room / (v * columns * rows))
                channels--;
        }
        double used = (double)(v * columns * height * channels);
        double loads = ((double)v + (double)(columns * height * channels)) / used;
        double score = (double)all / (double)(aml_ceil_div(all, v) * v) / (1 + 0.5 * loads);
        if (used < (double)room / 3)
            score *= used / ((double)room / 3);
        if (score > best) {
            best = score;
            c->vectors = v;
            c->tile_rows = height;
            c->tile_channels = channels;
        }
    }
}

static inline bool aml_conv_along_plan(AmlConvWeight *c, bool flat);

// False: there is no code for it.
static inline bool aml_conv_weight_plan(AmlConvWeight *c)
{
    bool flat = true;
    for (int axis = 0; axis < AML_CONV_AXES; axis++)
        flat = flat && c->kernel[axis] == 1 && c->stride[axis] == 1 && c->low[axis] == 0 &&
               c->source[axis] == c->result[axis];
    if (c->kernel[2] > 12)
        return false;
    if (flat) {
        c->source[2] = c->result[2] = aml_conv_all(c->source);
        c->source[0] = c->source[1] = c->result[0] = c->result[1] = 1;
    }
    if (aml_conv_along_plan(c, flat))
        return true;
    aml_conv_weight_tile(c);
    int64_t panel = c->vectors * c->lanes, panels = aml_ceil_div(c->to, panel);
    int64_t taps = aml_conv_all(c->kernel);
    int64_t sums = panels * panel * c->from * taps * c->bytes;
    int64_t tiles = aml_ceil_div(c->from, c->tile_channels);
    int64_t wanted = aml_ceil_div(sums, 256 * 1024);
    wanted = wanted > tiles ? tiles : wanted;
    c->channel_chunk = aml_ceil_div(tiles, wanted) * c->tile_channels;
    c->channel_parts = aml_ceil_div(c->from, c->channel_chunk);
    c->parts = c->groups * c->split * c->channel_parts;
    c->part_chunk = aml_ceil_div(c->parts, 2 * AML_CONV_PARTS);

    c->block_axis = c->result[0] > 1 ? 0 : 1;
    int64_t all = c->result[c->block_axis];
    c->block_rows = all;
    while (true) {
        c->direct = !c->half && !c->made;
        for (int axis = 0; axis < AML_CONV_AXES; axis++) {
            int64_t rows = axis == c->block_axis ? c->block_rows : c->result[axis];
            int64_t reach = (c->kernel[axis] - 1) * c->dilation[axis];
            c->copy[axis] = (rows - 1) * c->stride[axis] + reach + 1;
            c->direct = c->direct && c->low[axis] == 0 &&
                        (c->result[axis] - 1) * c->stride[axis] + reach < c->source[axis];
        }
        c->block_positions = aml_conv_all(c->result) / all * c->block_rows;
        c->copy_elements = c->direct ? 0 : c->channel_chunk * aml_conv_all(c->copy) + c->lanes;
        c->copy_elements = aml_ceil_div(c->copy_elements, c->lanes) * c->lanes;
        c->turned_elements = panels * panel * c->block_positions;
        if (c->block_rows == 1 ||
            (c->copy_elements + c->turned_elements) * c->bytes <= 2 * AML_CONV_COPY)
            break;
        c->block_rows = aml_ceil_div(c->block_rows, 2);
    }
    c->blocks = aml_ceil_div(all, c->block_rows);
    if (c->direct)
        for (int axis = 0; axis < AML_CONV_AXES; axis++)
            c->copy[axis] = c->source[axis];
    int64_t kept = panels * panel * c->channel_chunk * taps;
    c->scratch_bytes =
        (size_t)((c->copy_elements + c->turned_elements + kept) * c->bytes + 63) / 64 * 64;
    return true;
}

#include "conv_along.h"
#include "conv_last.h"

#endif
