// fuse.h: what a `fused` body is; shared by fuse (makes it), plan (places its results) and codegen
// (emits it).
//
// A body has one iteration space and one of three kinds:
//
//   BODY_MAP     every result has the shape of the space and is computed element by element, or is
//                a `concat` of values that do, which nothing in the body reads: each is stored in
//                its piece of the whole
//   BODY_REDUCE  every reduce folds the same axes of the space. A value of the body lives at one of
//                two levels: SPACE (one element per element of the space) or KEPT (one per index of
//                the axes that are kept). A KEPT value may come back to SPACE through a broadcast
//                along exactly the kept axes (softmax: phases over one row). Results may be of
//                either level.
//                A body that folds rows (the last axes) may also have sums down columns: of axes
//                that it keeps, but for the first, as results that nothing in it reads (the
//                gradients of a norm's weights). What is left of them is folded outside.
//   BODY_DOT     one `dot`, `conv` or `conv_input` of two parameters of the body, the space is its
//                result; the rest is its epilogue. That of a convolution may have sums over all
//                positions of a channel, as results that nothing in the body reads. The first
//                operand of a `conv`, or of a `conv_weight`, which has no epilogue, may be computed
//                as well: this prologue is made where the image is copied. It is element by
//                element, of parameters as large as the image and of what there is for each
//                channel.
//
// Values reached through any other data movement are computed where they are read, at the index
// that the movement gives.
//
// What later products read may be stored in panels (pack.c): the result then is
// transpose(reshape(value)), and stands for `value` in all of the above. A body that reads it has
// reshape(transpose(parameter)), also as an operand of its product.

#ifndef AML_PASSES_FUSE_H
#define AML_PASSES_FUSE_H

#include "cpu/attend.h"
#include "cpu/conv_tiles.h"
#include "cpu/depthwise.h"
#include "ir/ir.h"

typedef enum { BODY_MAP, BODY_REDUCE, BODY_DOT } BodyKind;

typedef struct BodyShape {
    BodyKind kind;
    Type space;
    unsigned folded; // REDUCE, DOT: bit i: axis i of the space is folded
    unsigned down;   // REDUCE: the axes that are folded by sums down columns, 0: there are none
    IntList kept;    // REDUCE, DOT: those that are not `folded`
    Inst *dot;       // DOT: the product
    int phases;      // REDUCE: how often the space is walked
} BodyShape;

// body.c

enum { LEVEL_SPACE = 1, LEVEL_KEPT = 2, LEVEL_OTHER = 4 };

// Inst.mark of every instruction and parameter of the body becomes the set of levels at which it is
// read or is a result.
BodyShape body_analyse(IrFunction *body);
int body_result_level(const BodyShape *shape, const Inst *result);
bool body_sums_down(const BodyShape *shape, const Inst *inst);  // is a sum down columns
bool body_keeps(const BodyShape *shape, const Inst *broadcast); // a broadcast from KEPT to SPACE
// Result `result` may be written over input `input`: whenever the kernel writes an element, that
// element is not read again.
bool body_in_place(IrFunction *body, int input, int result);

// A dot as a product of matrices: loops over the batch (and over what cannot be collapsed) around
// one product.
typedef struct DotShape {
    AmlDot dot; // everything but bytes, lanes and what aml_dot_plan fills
    int loops;
    int64_t extent[IR_MAX_RANK], a_step[IR_MAX_RANK], b_step[IR_MAX_RANK]; // in elements
    int loop_axis[IR_MAX_RANK]; // the last of the axes of the result that the loop runs over
    int loop_axes[IR_MAX_RANK]; // how many axes that are
    int row_axes,
        column_axes; // how many axes of the result, after those of the loops, are rows and columns
    int panel_axes;  // how many axes of loops lie between rows and columns
} DotShape;

enum { DOT_PANEL = AML_DOT_PANEL }; // columns of a panel of an operand that lies in panels

enum { DOT_MOST_PARTS = 64 }; // of the outermost loop

// False if the contracted axes do not collapse to one: fuse then writes the dot as multiply and
// reduce.
bool dot_shape(const Inst *dot, DotShape *out);
// u8 times i8 whose contracted axis can be read four elements at a time (kernels/cpu/quads.c); fuse
// leaves such a dot only if the i8 operand is constant. Then dot_quads makes the shape one of
// quads.
bool inst_sums_bytes(const Inst *inst); // u8 and i8 to i32
bool dot_quads(DotShape *shape);
// Whether AmlDot.tiles is set where the processor has AMX; `half` of the operands in memory.
bool dot_in_tiles(const AmlDot *dot, int half, bool quads);
size_t dot_scratch_bytes(const Inst *dot);  // the most that any vector width needs, for all parts
bool inst_is_product(const Inst *inst);     // dot, conv, conv_input
bool inst_sums_products(const Inst *inst);  // those and conv_weight: not read at its own index
bool inst_has_prologue(const Inst *conv);   // of a conv or conv_weight in a body
Inst *body_product(const IrFunction *body); // its product or conv_weight, or NULL

// A product of f32 whose operands are both widened from bf16, or both from f16, reads them as they
// are in memory: inside of a body, product(cast(a), cast(b)) of two parameters.
bool inst_widens(const Inst *inst);        // a cast from bf16 or f16 to f32
Inst *product_stored(const Inst *operand); // what is in memory
DType product_half(const Inst *product);   // BF16, F16; the product's own type: as any other
int half_of(DType dtype);                  // AML_HALF_...

// Inside of a body: [n / 64, rows, 64], the panels of a matrix [rows, n]: the matrix that `inst`
// brings into panels, and the panels of which `inst` is the matrix; NULL: it is something else.
// Rows may be several axes.
Inst *inst_in_panels(const Inst *inst);
Inst *inst_of_panels(const Inst *inst);
Inst *body_made(const Inst *result); // what a result of a body has, however it is stored
Inst *body_operand(const Inst *product, int input); // the parameter that is one, as it is stored
void body_dot_panels(const Inst *dot,
                     DotShape *shape); // for aml_dot_plan: which operands are panels

// Rank-0 arithmetic: scalar code in registers of the entry point, no kernel and no memory.
bool inst_in_register(const Inst *inst);
// A pad that is computed where it is read.
bool inst_is_outer_pad(const Inst *inst);
// A concat of equal pieces, of which one is computed element by element: the nest that does so
// stores into the whole.
bool inst_joins_pieces(const Inst *inst);
// The value is its input's memory under another shape, or lies in it or around it as attention
// reads and writes it.
bool inst_is_alias(const Inst *inst);

// conv_lower.c: convolutions that have no code of their own become windows and products, or folds
void conv_lower(IrFunction *fn);
// For registers of `width` bytes; `pairs`: bf16 is multiplied in pairs. Convolutions of bytes have
// code if their weights are constant.
bool conv_shape(const Inst *conv, int width, bool pairs, AmlConv *out);
// For a processor with AMX: in tiles, or false.
bool conv_tiles_shape(const Inst *conv, AmlConv *out);
size_t conv_scratch_bytes(const Inst *conv); // of conv and conv_input: packed weights, then copies
bool conv_weight_shape(const Inst *conv, int width, bool pairs, AmlConvWeight *out);
size_t conv_weight_scratch_bytes(const Inst *conv);

// stored.c: a product with stored weights (kernels/stored.h). A part is part_panels panels, whole
// blocks. Of integers the rows are made bytes first, once for all parts: row_parts parts of
// part_rows rows.
typedef struct StoredShape {
    int64_t m, n, k, part_panels, parts, part_rows, row_parts;
    size_t row_bytes; // 0: halves
} StoredShape;
StoredShape stored_shape(const Inst *inst);
size_t stored_scratch_bytes(const Inst *inst); // of all rows

// plan.c: the result of a loop that stacks what is carried as `carried` before each turn; -1: none.
// The carried value then lies in the stack, and a turn writes the next one's.
int loop_stacks_carried(const Inst *loop, int carried);

// attend_shape.c: an attend or attend_back for registers of `width` bytes
AmlAttend attend_shape(const Inst *inst, int width, bool pairs);
size_t attend_scratch_bytes(const Inst *inst); // the most that any width needs, for all parts
// Where queries, keys, values and their gradients have their rows: `step` elements from one
// position to the next, the first one `offset` behind what value_pointer gives.
typedef struct AttendRows {
    int64_t offset, step;
} AttendRows;
AttendRows attend_operand(const Inst *inst, int input); // q, k or v
AttendRows attend_slope(const Inst *back, int result);
bool attend_reads_piece(const Inst *slice);      // all that read it do so where it lies
const Inst *attend_joined(const Inst *concat);   // whose results lie in its memory; NULL: it copies
const Inst *attend_back_whole(const Inst *back); // the concat that its results lie in; NULL: none

// fuse_half.c: casts from 16 bits stand directly in front of the products that read them
void half_sink(IrFunction *fn);
void half_sink_one(Inst *product);
void half_separate(IrFunction *fn);

// fuse_prologue.c: by the mark of each instruction, its position: whether it is computed where a
// convolution copies its image, and by all else that reads it
const bool *find_prologues(IrFunction *fn, int count);

// fuse_lower.c
void fuse_normalise(IrFunction *fn);
void fuse_prepare(IrFunction *fn); // wraps what no pass has fused, so that code can be generated

#endif
