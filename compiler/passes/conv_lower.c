// conv_lower.c: which convolutions have code of their own (kernels/cpu/conv.h), and what becomes of
// the others.
//
// With one channel in each group a convolution is a fold over the places of the window, which needs
// no more memory than its operands:
//
//     conv          sum over kernel          of window(x) * w
//     conv_input    sum over kernel          of unwindow(dy) * w
//     conv_weight   sum over n and positions of window(x) * dy
//
// All others are products with the windows of x, which lie in memory: [kernel, n, c, positions].

#include <string.h>

#include "passes/fuse.h"

typedef struct Conv {
    Inst *inst; // new instructions go before it
    Type x, w, y;
    int spatial;
    int64_t groups, places, positions; // products of kernel and of positions
    int64_t split;                     // of a conv_weight, at least 1
    Attr attr[4];
} Conv;

static Inst *make(const Conv *c, Op op, Inst *const in[], int inputs, const Attr attr[], Type given)
{
    return ir_insert_before(c->inst, op, in, inputs, attr, given, c->inst->span);
}

static Inst *reshaped(const Conv *c, Inst *in, int rank, const int64_t dim[])
{
    Type type = type_make(in->type.dtype, rank, dim);
    return type_equal(type, in->type) ? in : make(c, OP_reshape, &in, 1, NULL, type);
}

static Inst *transposed(const Conv *c, Inst *in, int rank, const int64_t order[])
{
    Attr attr = {.list = {.count = rank}};
    memcpy(attr.list.at, order, sizeof(int64_t) * (size_t)rank);
    return make(c, OP_transpose, &in, 1, &attr, (Type){0});
}

static Inst *cast(const Conv *c, Inst *in, DType dtype)
{
    return in->type.dtype == dtype ? in : make(c, OP_cast, &in, 1, NULL, type_make(dtype, 0, NULL));
}

static Inst *spread(const Conv *c, Inst *in, Type type, int count, const int64_t axes[])
{
    Attr attr = {.list = {.count = count}};
    memcpy(attr.list.at, axes, sizeof(int64_t) * (size_t)count);
    return make(c, OP_broadcast, &in, 1, &attr, type);
}

static Inst *folded(const Conv *c, Inst *in, int first, int count, int second, int second_count)
{
    Attr attr[] = {{.reducer = REDUCE_SUM}, {.list = {.count = count + second_count}}};
    for (int i = 0; i < count; i++)
        attr[1].list.at[i] = first + i;
    for (int i = 0; i < second_count; i++)
        attr[1].list.at[count + i] = second + i;
    return make(c, OP_reduce, &in, 1, attr, (Type){0});
}

static Inst *times(const Conv *c, Inst *a, Inst *b)
{
    Inst *in[] = {a, b};
    return make(c, OP_mul, in, 2, NULL, (Type){0});
}

// As if the channels were the second axis.
static Type channels_second(Type type, bool last)
{
    int64_t channels = type.dim[type.rank - 1];
    if (last) {
        memmove(type.dim + 2, type.dim + 1, sizeof(int64_t) * (size_t)(type.rank - 2));
        type.dim[1] = channels;
    }
    return type;
}

static Conv conv_of(Inst *inst)
{
    Conv c = {.inst = inst};
    int64_t last = inst->op == OP_conv ? inst->attr[5].whole : 0;
    c.x = inst->op == OP_conv_input ? inst->type : inst->input[0]->type;
    c.w = inst->op == OP_conv_weight ? inst->type : inst->input[1]->type;
    c.y = inst->op == OP_conv ? inst->type : inst->input[inst->op == OP_conv_weight]->type;
    c.x = channels_second(c.x, last == 2);
    c.y = channels_second(c.y, last != 0);
    c.spatial = c.x.rank - 2;
    c.groups = inst->attr[4].whole;
    c.split = 1;
    if (inst->op == OP_conv_weight && inst->attr[5].whole > 0) {
        c.split = inst->attr[5].whole;
        c.w.rank--;
        memmove(c.w.dim, c.w.dim + 1, sizeof(int64_t) * (size_t)c.w.rank);
    }
    memcpy(c.attr, inst->attr, sizeof c.attr);
    c.places = c.positions = 1;
    for (int i = 0; i < c.spatial; i++) {
        c.places *= c.w.dim[c.w.rank - c.spatial + i];
        c.positions *= c.y.dim[2 + i];
    }
    return c;
}

// The windows of x with its first two axes taken as `rest` axes.
static Inst *windows(const Conv *c, Inst *x, int rest, const int64_t dim[])
{
    int64_t size[IR_MAX_RANK];
    for (int i = 0; i < rest; i++)
        size[i] = dim[i];
    for (int i = 0; i < c->spatial; i++)
        size[rest + i] = c->x.dim[2 + i];
    x = reshaped(c, x, rest + c->spatial, size);
    Attr attr[5] = {{.list = {.count = c->spatial}}};
    for (int i = 0; i < c->spatial; i++)
        attr[0].list.at[i] = c->w.dim[c->w.rank - c->spatial + i];
    memcpy(attr + 1, c->attr, sizeof c->attr);
    static const int64_t zeros = 0;
    Attr data = {.data = {true, (size_t)dtype_info[x->type.dtype].bytes, &zeros}};
    Inst *zero = make(c, OP_constant, NULL, 0, &data, type_scalar(x->type.dtype)),
         *in[] = {x, zero};
    return make(c, OP_window, in, 2, attr, (Type){0});
}

// ---- one channel in each group ------------------------------------------------------------------

// [kernel, n, c, sizes], the space of the folds
static Type fold_space(const Conv *c, Type image, DType dtype)
{
    Type space = {.dtype = dtype, .rank = image.rank + c->spatial};
    for (int i = 0; i < c->spatial; i++)
        space.dim[i] = c->w.dim[2 + i];
    for (int i = 0; i < image.rank; i++)
        space.dim[c->spatial + i] = image.dim[i];
    return space;
}

// The weights [c, 1, kernel] in that space.
static Inst *fold_weights(const Conv *c, Inst *w, Type space)
{
    int64_t dim[IR_MAX_RANK] = {c->w.dim[0]}, order[IR_MAX_RANK], axes[IR_MAX_RANK];
    for (int i = 0; i < c->spatial; i++) {
        dim[i + 1] = c->w.dim[2 + i];
        order[i] = i + 1;
        axes[i] = i;
    }
    order[c->spatial] = 0;
    axes[c->spatial] = c->spatial + 1;
    w = transposed(c, reshaped(c, w, c->spatial + 1, dim), c->spatial + 1, order);
    return spread(c, cast(c, w, space.dtype), space, c->spatial + 1, axes);
}

static Inst *image_in_space(const Conv *c, Inst *image, Type space)
{
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < image->type.rank; i++)
        axes[i] = c->spatial + i;
    return spread(c, cast(c, image, space.dtype), space, image->type.rank, axes);
}

static Inst *by_folds(const Conv *c, DType wide)
{
    Inst *inst = c->inst, *a = inst->input[0], *b = inst->input[1], *sum;
    int s = c->spatial;
    if (inst->op == OP_conv) {
        Type space = fold_space(c, c->y, wide);
        Inst *w = fold_weights(c, b, space);
        sum = folded(c, times(c, cast(c, windows(c, a, 2, c->x.dim), wide), w), 0, s, 0, 0);
    } else if (inst->op == OP_conv_input) {
        Type from = fold_space(c, c->y, c->y.dtype), space = fold_space(c, c->x, wide);
        Inst *dy = image_in_space(c, a, from), *w = fold_weights(c, b, space);
        Type given = space;
        given.dtype = c->y.dtype;
        dy = make(c, OP_unwindow, &dy, 1, c->attr, given);
        sum = folded(c, times(c, cast(c, dy, wide), w), 0, s, 0, 0);
    } else {
        Type space = fold_space(c, c->y, wide);
        Inst *dy = image_in_space(c, b, space), *x = cast(c, windows(c, a, 2, c->x.dim), wide);
        sum = folded(c, times(c, x, dy), s, 1, s + 2, s);
        int64_t order[IR_MAX_RANK] = {s};
        for (int i = 0; i < s; i++)
            order[i + 1] = i;
        sum = reshaped(c, transposed(c, sum, s + 1, order), c->w.rank, c->w.dim);
    }
    return cast(c, sum, inst->type.dtype);
}

// ---- products -----------------------------------------------------------------------------------

static Inst *product(const Conv *c, Inst *a, Inst *b, IntList contract_a, IntList contract_b,
                     IntList batch_a, IntList batch_b)
{
    Inst *in[] = {a, b};
    Attr attr[] = {
        {.list = contract_a}, {.list = contract_b}, {.list = batch_a}, {.list = batch_b}};
    return make(c, OP_dot, in, 2, attr, (Type){0});
}

// [places, n, groups, c / groups, positions]
static Inst *window_matrix(const Conv *c, Inst *x)
{
    int64_t rest = c->x.dim[0] * c->x.dim[1];
    int64_t dim[] = {c->places, c->x.dim[0], c->groups, c->x.dim[1] / c->groups, c->positions};
    return reshaped(c, windows(c, x, 1, &rest), 5, dim);
}

static Inst *weight_matrix(const Conv *c, Inst *w)
{
    int64_t dim[] = {c->groups, c->w.dim[0] / c->groups, c->w.dim[1], c->places};
    return reshaped(c, w, 4, dim);
}

static Inst *result_matrix(const Conv *c, Inst *y)
{
    int64_t dim[] = {c->y.dim[0], c->groups, c->y.dim[1] / c->groups, c->positions};
    return reshaped(c, y, 4, dim);
}

static Inst *forward(const Conv *c)
{
    Inst *x = window_matrix(c, c->inst->input[0]), *w = weight_matrix(c, c->inst->input[1]);
    Inst *y = product(c, w, x, (IntList){2, {2, 3}}, (IntList){2, {3, 0}}, (IntList){1, {0}},
                      (IntList){1, {2}}); // [groups, out / groups, n, positions]
    int64_t order[] = {2, 0, 1, 3};
    return reshaped(c, transposed(c, y, 4, order), c->y.rank, c->y.dim);
}

static Inst *to_input(const Conv *c)
{
    Inst *y = result_matrix(c, c->inst->input[0]), *w = weight_matrix(c, c->inst->input[1]);
    Inst *x = product(c, w, y, (IntList){1, {1}}, (IntList){1, {2}}, (IntList){1, {0}},
                      (IntList){1, {1}}); // [groups, c / groups, places, n, positions]
    int64_t order[] = {2, 3, 0, 1, 4}, dim[IR_MAX_RANK];
    x = transposed(c, x, 5, order);
    Type to = {.dtype = x->type.dtype, .rank = 2 * c->spatial + 1};
    for (int i = 0; i < c->spatial; i++) {
        dim[i] = to.dim[i] = c->w.dim[2 + i];
        dim[c->spatial + 1 + i] = c->y.dim[2 + i];
        to.dim[c->spatial + 1 + i] = c->x.dim[2 + i];
    }
    dim[c->spatial] = to.dim[c->spatial] = c->x.dim[0] * c->x.dim[1];
    x = reshaped(c, x, to.rank, dim);
    x = make(c, OP_unwindow, &x, 1, c->attr, to);
    return reshaped(c, folded(c, x, 0, c->spatial, 0, 0), c->x.rank, c->x.dim);
}

static Inst *to_weight(const Conv *c)
{
    int64_t images = c->x.dim[0] / c->split, to = c->y.dim[1] / c->groups,
            from = c->x.dim[1] / c->groups, rest = c->x.dim[0] * c->x.dim[1];
    int64_t x_dim[] = {c->places, c->split, images, c->groups, from, c->positions};
    int64_t y_dim[] = {c->split, images, c->groups, to, c->positions};
    Inst *x = reshaped(c, windows(c, c->inst->input[0], 1, &rest), 6, x_dim);
    Inst *y = reshaped(c, c->inst->input[1], 5, y_dim);
    y = cast(c, y, c->inst->type.dtype); // operands of 16 bits may be summed to f32
    x = cast(c, x, c->inst->type.dtype);
    Inst *w = product(c, y, x, (IntList){2, {1, 4}}, (IntList){2, {2, 5}}, (IntList){2, {0, 2}},
                      (IntList){2, {1, 3}}); // [split, groups, out / groups, places, c / groups]
    int64_t order[] = {0, 1, 2, 4, 3};
    return reshaped(c, transposed(c, w, 5, order), c->inst->type.rank, c->inst->type.dim);
}

// ---- those with code of their own ---------------------------------------------------------------

static void axes_of(const Conv *c, const int64_t dim[], int64_t missing, int64_t out[AML_CONV_AXES])
{
    for (int axis = 0; axis < AML_CONV_AXES; axis++) {
        int i = axis - (AML_CONV_AXES - c->spatial);
        out[axis] = i < 0 ? missing : dim[i];
    }
}

// One channel in each group.
static bool is_depthwise(const Conv *c)
{
    return c->w.dim[1] == 1 && c->groups == c->w.dim[0];
}

// Does the body around a convolution read something as large as its result?
static bool reads_along(const Inst *inst)
{
    const IrFunction *body = inst->function;
    for (int i = 0; i < body->param.count; i++) {
        const Inst *param = body->param.at[i];
        if (param != product_stored(inst->input[0]) && param != product_stored(inst->input[1]) &&
            type_elements(param->type) >= type_elements(inst->type))
            return true;
    }
    return false;
}

bool conv_shape(const Inst *inst, int width, bool pairs, AmlConv *out)
{
    Conv c = conv_of((Inst *)(uintptr_t)inst);
    bool input = inst->op == OP_conv_input, quads = inst_sums_bytes(inst);
    int64_t from = c.x.dim[1] / c.groups, to = c.y.dim[1] / c.groups;
    int half = half_of(product_half(inst));
    bool depth = is_depthwise(&c);
    if ((inst->type.dtype != DTYPE_F32 && inst->type.dtype != DTYPE_F64 && !quads) ||
        (depth && (half || quads)))
        return false;
    *out = (AmlConv){.bytes = dtype_info[inst->type.dtype].bytes,
                     .input = input,
                     .quads = quads,
                     .last = inst->op == OP_conv ? (int)inst->attr[5].whole : 0,
                     .channels = input ? to : from,
                     .images = c.x.dim[0],
                     .groups = c.groups,
                     .from = input   ? to
                             : quads ? aml_ceil_div(from, 4)
                                     : from,
                     .to = input ? from : to};
    out->lanes = width / out->bytes;
    out->half = half;
    out->made = inst_has_prologue(inst);
    if (pairs && half == AML_HALF_BF16 && out->channels > 1 && !out->last) { // one has no partner
        out->half = AML_HALF_PAIRS;
        out->from = aml_ceil_div(out->channels, 2);
        out->waits = reads_along(inst);
    }
    if (depth) {
        out->depth = c.groups;
        out->groups = aml_ceil_div(c.groups, out->lanes);
        out->to = out->lanes;
    }
    axes_of(&c, input ? c.y.dim + 2 : c.x.dim + 2, 1, out->source);
    axes_of(&c, input ? c.x.dim + 2 : c.y.dim + 2, 1, out->result);
    axes_of(&c, c.w.dim + 2, 1, out->kernel);
    axes_of(&c, c.attr[0].list.at, 1, out->stride);
    axes_of(&c, c.attr[1].list.at, 0, out->low);
    axes_of(&c, c.attr[3].list.at, 1, out->dilation);
    return aml_conv_plan(out);
}

bool conv_tiles_shape(const Inst *conv, AmlConv *out)
{
    return conv_shape(conv, 64, true, out) && aml_conv_in_tiles(out);
}

// One channel in each group, of floats over two axes, with a stride of 1 or 2.
static bool depthwise_weight_shape(const Conv *c, int width, AmlConvWeight *out)
{
    int64_t stride = c->attr[0].list.at[0];
    if (c->inst->type.dtype != DTYPE_F32 || c->x.dtype != DTYPE_F32 || c->spatial != 2 ||
        c->inst->attr[5].whole > 0 || c->attr[0].list.at[1] != stride ||
        stride > AML_DEPTHWISE_STRIDE || c->places > AML_DEPTHWISE_TAPS)
        return false;
    *out = (AmlConvWeight){.bytes = 4,
                           .lanes = width / 4,
                           .depthwise = true,
                           .images = c->x.dim[0],
                           .groups = c->groups,
                           .split = 1,
                           .from = 1,
                           .to = 1};
    axes_of(c, c->x.dim + 2, 1, out->source);
    axes_of(c, c->y.dim + 2, 1, out->result);
    axes_of(c, c->w.dim + 2, 1, out->kernel);
    axes_of(c, c->attr[0].list.at, 1, out->stride);
    axes_of(c, c->attr[1].list.at, 0, out->low);
    axes_of(c, c->attr[3].list.at, 1, out->dilation);
    out->scratch_bytes =
        aml_depthwise_sizes(out->result[1], out->result[2], out->kernel[1], out->kernel[2], stride,
                            out->dilation[1], out->dilation[2], out->lanes)
            .scratch_bytes;
    out->parts = out->groups;
    int64_t wanted = out->images * out->groups * c->places * c->positions / (1 << 18);
    wanted = wanted < 1 ? 1 : wanted > AML_CONV_PARTS ? AML_CONV_PARTS : wanted;
    out->part_chunk = aml_ceil_div(out->parts, wanted);
    return true;
}

bool conv_weight_shape(const Inst *inst, int width, bool pairs, AmlConvWeight *out)
{
    Conv c = conv_of((Inst *)(uintptr_t)inst);
    if (is_depthwise(&c))
        return depthwise_weight_shape(&c, width, out);
    if (inst->type.dtype != DTYPE_F32 && inst->type.dtype != DTYPE_F64)
        return false;
    *out = (AmlConvWeight){.bytes = dtype_info[inst->type.dtype].bytes,
                           .images = c.x.dim[0],
                           .groups = c.groups,
                           .split = c.split,
                           .from = c.x.dim[1] / c.groups,
                           .to = c.y.dim[1] / c.groups};
    out->lanes = width / out->bytes;
    out->half = half_of(inst->input[0]->type.dtype);
    out->made = inst_has_prologue(inst);
    if (pairs && out->half == AML_HALF_BF16 && out->images > out->split)
        out->half = AML_HALF_PAIRS;
    axes_of(&c, c.x.dim + 2, 1, out->source);
    axes_of(&c, c.y.dim + 2, 1, out->result);
    axes_of(&c, c.w.dim + 2, 1, out->kernel);
    axes_of(&c, c.attr[0].list.at, 1, out->stride);
    axes_of(&c, c.attr[1].list.at, 0, out->low);
    axes_of(&c, c.attr[3].list.at, 1, out->dilation);
    return aml_conv_weight_plan(out);
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t conv_scratch_bytes(const Inst *conv)
{
    size_t most = 0;
    AmlConv c;
    enum { PAIRS = 3, TILES = 4 };
    for (int way = 0; way <= TILES; way++) { // three widths, and pairs and tiles in the widest
        if (way == TILES ? !conv_tiles_shape(conv, &c)
                         : !conv_shape(conv, way == PAIRS ? 64 : 16 << way, way == PAIRS, &c))
            continue;
        size_t packed = c.last ? 0 : aligned(c.packed_bytes); // is constant
        size_t all = packed + c.copy_bytes * (size_t)c.parts;
        most = all > most ? all : most;
    }
    return most;
}

size_t conv_weight_scratch_bytes(const Inst *conv)
{
    size_t most = 0;
    AmlConvWeight c;
    for (int way = 0; way < 4; way++) {
        if (!conv_weight_shape(conv, way == 3 ? 64 : 16 << way, way == 3, &c))
            continue;
        size_t all = c.scratch_bytes * (size_t)aml_ceil_div(c.parts, c.part_chunk);
        most = all > most ? all : most;
    }
    return most;
}

// The sum over the images is made in several parts at once, which are added up in their order.
static Inst *in_parts(Inst *inst, int64_t split)
{
    Conv c = conv_of(inst);
    Type given = {.dtype = inst->type.dtype, .rank = inst->type.rank + 1, .dim = {split}};
    memcpy(given.dim + 1, inst->type.dim, sizeof(int64_t) * (size_t)inst->type.rank);
    Attr attr[6];
    memcpy(attr, inst->attr, sizeof attr);
    attr[5].whole = split;
    return folded(&c, make(&c, OP_conv_weight, inst->input, 2, attr, given), 0, 1, 0, 0);
}

static Inst *widened(Inst *inst)
{
    Conv c = conv_of(inst);
    Inst *in[] = {cast(&c, inst->input[0], DTYPE_F32), cast(&c, inst->input[1], DTYPE_F32)};
    Type given = inst->type;
    given.dtype = DTYPE_F32;
    return cast(&c, make(&c, inst->op, in, 2, inst->attr, given), inst->type.dtype);
}

// Bytes without code of their own are multiplied as i32.
static Inst *widened_bytes(Inst *inst)
{
    Conv c = conv_of(inst);
    Inst *in[] = {cast(&c, inst->input[0], DTYPE_I32), cast(&c, inst->input[1], DTYPE_I32)};
    return make(&c, inst->op, in, 2, inst->attr, (Type){0});
}

// Channels are last, but not for a kernel: as a convolution of what is moved.
static Inst *with_channels_second(Inst *inst)
{
    Conv c = conv_of(inst);
    int64_t second[IR_MAX_RANK] = {0, inst->type.rank - 1}, last[IR_MAX_RANK] = {0};
    for (int i = 0; i < c.spatial; i++) {
        second[2 + i] = 1 + i;
        last[1 + i] = 2 + i;
    }
    last[inst->type.rank - 1] = 1;
    Inst *x = inst->input[0];
    if (inst->attr[5].whole == 2)
        x = transposed(&c, x, x->type.rank, second);
    Inst *in[] = {x, inst->input[1]};
    Attr attr[6];
    memcpy(attr, inst->attr, sizeof attr);
    attr[5].whole = 0;
    return transposed(&c, make(&c, OP_conv, in, 2, attr, (Type){0}), inst->type.rank, last);
}

static Inst *without_code(Inst *inst, DType wide)
{
    Conv c = conv_of(inst);
    bool parts = inst->op == OP_conv_weight && inst->attr[5].whole > 0;
    if (is_depthwise(&c) && !parts)
        return by_folds(&c, wide);
    return inst->op == OP_conv         ? forward(&c)
           : inst->op == OP_conv_input ? to_input(&c)
                                       : to_weight(&c);
}

// NULL: it stays.
static Inst *lowered(Inst *inst)
{
    DType dtype = inst->type.dtype,
          wide = dtype == DTYPE_F16 || dtype == DTYPE_BF16 ? DTYPE_F32 : dtype;
    AmlConv c;
    AmlConvWeight w;
    Conv conv = conv_of(inst);
    if (inst->op == OP_conv && inst->attr[5].whole) {
        bool code = inst->input[1]->op == OP_constant && conv_shape(inst, 64, false, &c);
        return code ? NULL : with_channels_second(inst);
    }
    if (wide != dtype && !is_depthwise(&conv))
        return widened(inst);
    if (inst_sums_bytes(inst) &&
        (inst->input[1]->op != OP_constant || !conv_shape(inst, 64, false, &c)))
        return widened_bytes(inst);
    bool planned = inst->op == OP_conv_weight ? conv_weight_shape(inst, 64, false, &w)
                                              : conv_shape(inst, 64, false, &c);
    if (!planned)
        return without_code(inst, wide);
    if (inst->op != OP_conv_weight || inst->attr[5].whole > 0)
        return NULL;
    int64_t split = w.depthwise ? 1 : aml_conv_weight_split(&w);
    return split > 1 ? in_parts(inst, split) : NULL;
}

void conv_lower(IrFunction *fn)
{
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op != OP_conv && inst->op != OP_conv_input && inst->op != OP_conv_weight)
            continue;
        Inst *first = inst->prev, *instead = lowered(inst);
        if (!instead)
            continue;
        ir_replace_uses(fn, inst, instead);
        ir_remove(fn, inst);
        next = first ? first->next : fn->first; // what was made may be lowered further
    }
}
