// quantize: products of bytes in place of products of what bytes stand for.
//
// What a quantized value is, is written out: with u8 q and i8 p,
//
//     x = (f32(q) - z) * s        w[..c..] = f32(p) * t[c]
//
// and then the sum over k of x * w is
//
//     s * t[c] * (sum of q * p) - s * t[c] * z * (sum of p over channel c)
//
// The first sum is one of integers, exact; all the rest is constant for each channel c of the
// result: a factor and an addition, which takes in other additions of that kind behind it (a bias)
// and then a multiplication by one number.
// Zeros around the input of a convolution are bytes z. Where rows are no multiple of four bytes,
// zero weights make them so (kernels/cpu/quads.c).
//
// Only products of two such values change, so a function in which nothing is quantized is left
// alone. This runs before constants are folded, which would turn weights into floats again.

#include <string.h>

#include "passes/pass.h"

typedef struct Bytes {
    Inst *bytes;   // u8, or an i8 constant
    double scale;  // of u8
    double zero;   // the same
    float *scales; // of i8: by channel
} Bytes;

static bool is_float_splat(const Inst *inst, double *value)
{
    return inst->op == OP_constant && inst->type.dtype == DTYPE_F32 && inst_is_splat(inst, value);
}

// (f32(q) - z) * s, or f32(q) * s
static bool match_left(const Inst *inst, Bytes *out)
{
    *out = (Bytes){0};
    if (inst->op != OP_mul || !is_float_splat(inst->input[1], &out->scale))
        return false;
    const Inst *in = inst->input[0];
    if (in->op == OP_sub && is_float_splat(in->input[1], &out->zero))
        in = in->input[0];
    if (in->op != OP_cast || in->input[0]->type.dtype != DTYPE_U8)
        return false;
    out->bytes = in->input[0];
    return out->zero == (double)(int)out->zero && out->zero >= 0 && out->zero <= 255;
}

// Values of a constant that is spread over `type` along one axis.
static const float *spread_values(const Inst *inst, int axis)
{
    if (inst->op != OP_broadcast || inst->input[0]->op != OP_constant ||
        inst->input[0]->type.dtype != DTYPE_F32 || inst->input[0]->type.rank != 1 ||
        inst->attr[0].list.at[0] != axis || inst->input[0]->type.dim[0] != inst->type.dim[axis] ||
        inst->input[0]->attr[0].data.splat)
        return NULL;
    return inst->input[0]->attr[0].data.at;
}

// f32(p) * t
static bool match_right(const Inst *inst, int axis, Bytes *out)
{
    *out = (Bytes){0};
    if (inst->op != OP_mul || inst->input[0]->op != OP_cast)
        return false;
    out->bytes = inst->input[0]->input[0];
    if (out->bytes->op != OP_constant || out->bytes->type.dtype != DTYPE_I8)
        return false;
    int64_t channels = inst->type.dim[axis];
    out->scales = NEW_ARRAY(inst->function->cx->arena, float, channels + 1);
    double one;
    const float *each = spread_values(inst->input[1], axis);
    if (!each && !is_float_splat(inst->input[1], &one))
        return false;
    for (int64_t i = 0; i < channels; i++)
        out->scales[i] = each ? each[i] : (float)one;
    return true;
}

static const int8_t *dense(const Inst *constant)
{
    IrData data = constant->attr[0].data;
    if (!data.splat)
        return data.at;
    int64_t elements = type_elements(constant->type);
    int8_t *all = arena_alloc(constant->function->cx->arena, (size_t)elements + 1);
    memset(all, *(const int8_t *)data.at, (size_t)elements);
    return all;
}

static Inst *constant_before(Inst *place, Type type, bool splat, size_t bytes, const void *at)
{
    Attr data = {.data = {splat, bytes, arena_copy(place->function->cx->arena, at, bytes)}};
    return ir_insert_before(place, OP_constant, NULL, 0, &data, type, place->span);
}

static Inst *padded(Inst *place, Inst *in, IntList low, IntList high, uint8_t with)
{
    Inst *operand[] = {in, constant_before(place, type_scalar(DTYPE_U8), true, 1, &with)};
    Attr attr[] = {{.list = low}, {.list = high}};
    return ir_insert_before(place, OP_pad, operand, 2, attr, (Type){0}, place->span);
}

// Four bytes at a time: the contracted axis, which is q's last, gets zero weights at its end.
static void pad_depth(Inst *dot, Inst **left, Inst **right)
{
    int last = (*left)->type.rank - 1;
    int64_t depth = (*left)->type.dim[last], more = (4 - depth % 4) % 4;
    int axis = (int)dot->attr[1].list.at[0];
    if (more == 0)
        return;
    IntList none = {.count = last + 1}, end = none;
    end.at[last] = more;
    *left = padded(dot, *left, none, end, 0);
    Type type = (*right)->type;
    int64_t columns = type.dim[1];
    const int8_t *from = dense(*right);
    type.dim[axis] += more;
    int8_t *to = NEW_ARRAY(dot->function->cx->arena, int8_t, type_elements(type) + 1);
    for (int64_t i = 0; i < type.dim[0]; i++)
        for (int64_t k = 0; k < type.dim[1]; k++)
            if ((axis == 0 ? i : k) < depth)
                to[i * type.dim[1] + k] = from[i * columns + k];
    Inst *made = constant_before(dot, type, false, (size_t)type_elements(type), to);
    made->name = (*right)->name;
    *right = made;
}

// The sum of the weights of each channel, over everything else.
static void weight_sums(const Inst *weights, int axis, double *sum)
{
    int64_t inner = 1, channels = weights->type.dim[axis];
    for (int i = axis + 1; i < weights->type.rank; i++)
        inner *= weights->type.dim[i];
    const int8_t *at = dense(weights);
    for (int64_t i = 0; i < type_elements(weights->type); i++)
        sum[i / inner % channels] += at[i];
}

static Inst *channel_constant(Inst *place, Type type, int axis, const float *value)
{
    int64_t channels = type.dim[axis];
    Inst *line = constant_before(place, type_make(DTYPE_F32, 1, &channels), false,
                                 sizeof(float) * (size_t)channels, value);
    Attr axes = {.list = {1, {axis}}};
    return ir_insert_before(place, OP_broadcast, &line, 1, &axes, type, place->span);
}

static Inst *only_user(Inst *inst)
{
    for (Inst *user = inst->uses == 1 ? inst->next : NULL; user; user = user->next)
        for (int i = 0; i < user->inputs; i++)
            if (user->input[i] == inst)
                return user;
    return NULL;
}

// Additions of a constant for each channel that follow go into `shift`. The last of them.
static Inst *take_additions(Inst *product, int axis, double *shift)
{
    Inst *last = product;
    for (Inst *user; (user = only_user(last)) && user->op == OP_add; last = user) {
        const float *value = spread_values(user->input[user->input[0] == last], axis);
        if (!value)
            break;
        for (int64_t i = 0; i < product->type.dim[axis]; i++)
            shift[i] += (double)value[i];
    }
    return last;
}

// A multiplication by one number that follows, the first step of rounding to the next layer's
// bytes. NULL: there is none.
static Inst *take_factor(Inst *last, double *factor)
{
    Inst *user = only_user(last);
    if (!user || user->op != OP_mul)
        return NULL;
    return is_float_splat(user->input[user->input[0] == last], factor) ? user : NULL;
}

static void replace(IrFunction *fn, Inst *product, const Bytes *left, const Bytes *right, int axis,
                    int weight_axis)
{
    Arena *arena = fn->cx->arena;
    int64_t channels = product->type.dim[axis];
    double *sum = NEW_ARRAY(arena, double, channels + 1),
           *shift = NEW_ARRAY(arena, double, channels + 1);
    float *scale = NEW_ARRAY(arena, float, channels + 1),
          *offset = NEW_ARRAY(arena, float, channels + 1);
    Inst *in[] = {left->bytes, right->bytes};
    Attr attr[IR_MAX_ATTRS];
    memcpy(attr, product->attr, sizeof attr);
    weight_sums(right->bytes, weight_axis, sum);
    if (product->op == OP_dot) {
        pad_depth(product, &in[0], &in[1]);
    } else if (left->zero != 0) {
        IntList low = {.count = 2}, high = {.count = 2};
        bool any = false;
        for (int i = 0; i < attr[1].list.count; i++) {
            low.at[low.count++] = attr[1].list.at[i];
            high.at[high.count++] = attr[2].list.at[i];
            any |= attr[1].list.at[i] || attr[2].list.at[i];
            attr[1].list.at[i] = attr[2].list.at[i] = 0;
        }
        if (any)
            in[0] = padded(product, in[0], low, high, (uint8_t)left->zero);
    }
    Inst *last = take_additions(product, axis, shift);
    double factor = 1;
    Inst *scaled = take_factor(last, &factor);
    last = scaled ? scaled : last;
    bool shifts = false;
    for (int64_t i = 0; i < channels; i++) {
        double step = left->scale * (double)right->scales[i];
        scale[i] = (float)(step * factor);
        offset[i] = (float)((shift[i] - step * left->zero * sum[i]) * factor);
        shifts |= offset[i] != 0;
    }
    Inst *whole = ir_insert_before(product, product->op, in, 2, attr, (Type){0}, product->span);
    Inst *real = ir_insert_before(product, OP_cast, &whole, 1, NULL, product->type, product->span);
    Inst *times[] = {real, channel_constant(product, product->type, axis, scale)};
    Inst *made = ir_insert_before(product, OP_mul, times, 2, NULL, (Type){0}, product->span);
    if (shifts) {
        Inst *plus[] = {made, channel_constant(product, product->type, axis, offset)};
        made = ir_insert_before(product, OP_add, plus, 2, NULL, (Type){0}, last->span);
    }
    ir_replace_uses(fn, last, made);
}

bool pass_quantize(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        Bytes left, right;
        int axis, weight_axis;
        if (!inst_weighs_channels(inst, &axis, &weight_axis))
            continue;
        if (!match_left(inst->input[0], &left) || !match_right(inst->input[1], weight_axis, &right))
            continue;
        replace(fn, inst, &left, &right, axis, weight_axis);
        changed = true;
    }
    for (Inst *inst = fn->last, *above; changed && inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0 && op_has(inst->op, PURE))
            ir_remove(fn, inst);
    }
    return changed;
}
