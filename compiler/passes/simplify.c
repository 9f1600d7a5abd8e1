// simplify: fold constants, and replace an instruction by a cheaper one with the same value.
//
// A rule looks at one instruction and the ones that made its operands, and returns a value to use
// instead, or NULL. The rules are tried from the first instruction to the last until none applies.
// Every rule makes the function smaller, or moves a repetition (broadcast) towards the results, or
// a transpose into a dot; no rule undoes another, so this ends.
//
// What "the same value" means for floats: rounding, infinities and NaN are kept, bit for bit. Three
// freedoms are taken: the sign of a zero may change (x + 0 is x); a sum of n equal numbers is their
// product with n and two sums are one sum (the order of a sum is not part of its meaning);
// constants are folded with the reference kernels, which round once where compiled code may be an
// ULP off. So x * 0 is not 0 (x may be infinite) and x - x is not 0 for floats.
//
// The table of rules is at the end.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/pass.h"

typedef Inst *Rule(Inst *inst);

// ---- making instructions in front of another ---------------------------------------------------

static Inst *make(Inst *place, Op op, Inst *const in[], const Attr attr[], Type given)
{
    return ir_insert_before(place, op, in, op_info[op].inputs, attr, given, place->span);
}

static Inst *unary(Inst *place, Op op, Inst *a)
{
    return make(place, op, &a, NULL, a->type);
}

static Inst *binary(Inst *place, Op op, Inst *a, Inst *b)
{
    Inst *in[] = {a, b};
    return make(place, op, in, NULL, a->type);
}

static Inst *constant(Inst *place, Type type, IrData data)
{
    Attr attr = {.data = data};
    return make(place, OP_constant, NULL, &attr, type);
}

static Inst *real(Inst *place, Type type, double value)
{
    void *element = arena_alloc(place->function->cx->arena, 8);
    element_set_real(type.dtype, element, 0, value);
    return constant(place, type, (IrData){true, (size_t)dtype_info[type.dtype].bytes, element});
}

static Inst *reshape(Inst *place, Inst *a, Type type)
{
    return type_equal(a->type, type) ? a : make(place, OP_reshape, &a, NULL, type);
}

static Inst *broadcast(Inst *place, Inst *a, Type type, IntList axes)
{
    Attr attr = {.list = axes};
    return make(place, OP_broadcast, &a, &attr, type);
}

static Inst *transpose(Inst *place, Inst *a, IntList permutation)
{
    Attr attr = {.list = permutation};
    return make(place, OP_transpose, &a, &attr, a->type);
}

static Inst *reduce(Inst *place, Inst *a, Reducer with, IntList axes)
{
    Attr attr[] = {{.reducer = with}, {.list = axes}};
    return make(place, OP_reduce, &a, attr, a->type);
}

// ---- asking ------------------------------------------------------------------------------------

static bool is_float(Type type)
{
    return dtype_info[type.dtype].kind == KIND_FLOAT;
}

static bool is_all(const Inst *inst, double wanted)
{
    double value;
    return inst_is_splat(inst, &value) && value == wanted;
}

static bool is_integer_or_bool(Type type)
{
    return !is_float(type);
}

static bool list_has(IntList list, int64_t value)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == value)
            return true;
    return false;
}

static bool increasing(IntList list)
{
    for (int i = 1; i < list.count; i++)
        if (list.at[i] <= list.at[i - 1])
            return false;
    return true;
}

static bool same_list(IntList a, IntList b)
{
    return a.count == b.count && memcmp(a.at, b.at, sizeof a.at[0] * (size_t)a.count) == 0;
}

// A reshape that only adds or drops axes of size 1: to_axis[i] is where axis i of `from` went (if
// its size is not 1).
static bool only_ones_differ(Type from, Type to, int64_t to_axis[])
{
    int axis = 0;
    for (int i = 0; i < from.rank; i++) {
        if (from.dim[i] == 1)
            continue;
        while (axis < to.rank && to.dim[axis] == 1)
            axis++;
        if (axis == to.rank || to.dim[axis] != from.dim[i])
            return false;
        to_axis[i] = axis++;
    }
    while (axis < to.rank && to.dim[axis] == 1)
        axis++;
    return axis == to.rank;
}

// ---- constants ---------------------------------------------------------------------------------

static bool worth_folding(const Inst *inst)
{
    // A broadcast costs nothing where it is read, its result would be copies in the program.
    const int64_t most = 1 << 20, most_growth = inst->op == OP_broadcast ? 64 : 4096;
    int64_t largest = 0, elements = type_elements(inst->type);
    for (int i = 0; i < inst->inputs; i++)
        if (inst->input[i]->op != OP_constant)
            return false;
        else if (type_elements(inst->input[i]->type) > largest)
            largest = type_elements(inst->input[i]->type);
    return op_has(inst->op, PURE) && !op_has(inst->op, MULTI) && inst->op != OP_random &&
           inst->op != OP_get && inst->inputs > 0 && elements <= most && largest <= most &&
           inst_cost(inst).flops <= 1 << 24 && (elements <= largest || elements <= most_growth);
}

// Runs the reference kernel on operands of the given types (all constants, dense or splat).
static void *run_reference(const Inst *inst, const Type in_type[], Type out_type, Arena *arena)
{
    const void **in = NEW_ARRAY(arena, const void *, inst->inputs);
    for (int i = 0; i < inst->inputs; i++) {
        void *dense = malloc((size_t)type_bytes(in_type[i]));
        RefCall fill = {.op = OP_constant,
                        .attr = inst->input[i]->attr,
                        .results = 1,
                        .out_type = &in_type[i],
                        .out = &dense};
        ref_constant(&fill);
        in[i] = dense;
    }
    void *out = arena_alloc(arena, (size_t)type_bytes(out_type));
    RefCall call = {inst->op, inst->attr, inst->inputs, 1, in_type, in, &out_type, &out};
    ref_kernel[inst->op](&call);
    for (int i = 0; i < inst->inputs; i++)
        free((void *)(uintptr_t)in[i]);
    return out;
}

static bool all_equal(const char *data, size_t bytes, size_t size)
{
    for (size_t at = size; at < bytes; at += size)
        if (memcmp(data, data + at, size) != 0)
            return false;
    return true;
}

static Inst *fold_constants(Inst *inst)
{
    Cx *cx = inst->function->cx;
    bool splats = inst->inputs > 0;
    for (int i = 0; i < inst->inputs; i++)
        splats = splats && inst->input[i]->op == OP_constant && inst->input[i]->attr[0].data.splat;
    bool moves = inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_transpose ||
                 inst->op == OP_slice;
    if (splats && moves)
        return constant(inst, inst->type, inst->input[0]->attr[0].data);
    Type *in_type = NEW_ARRAY(cx->scratch, Type, inst->inputs);
    size_t size = (size_t)dtype_info[inst->type.dtype].bytes;
    if (splats && op_has(inst->op, POINTWISE)) {
        for (int i = 0; i < inst->inputs; i++)
            in_type[i] = type_scalar(inst->input[i]->type.dtype);
        void *element = run_reference(inst, in_type, type_scalar(inst->type.dtype), cx->arena);
        return constant(inst, inst->type, (IrData){true, size, element});
    }
    if (!worth_folding(inst))
        return NULL;
    for (int i = 0; i < inst->inputs; i++)
        in_type[i] = inst->input[i]->type;
    size_t bytes = (size_t)type_bytes(inst->type);
    void *data = run_reference(inst, in_type, inst->type, cx->arena);
    bool splat = all_equal(data, bytes, size);
    return constant(inst, inst->type, (IrData){splat, splat ? size : bytes, data});
}

// ---- arithmetic --------------------------------------------------------------------------------

// Constants stand on the right of a commuting op, so that the other rules look in one place.
static Inst *constant_to_the_right(Inst *inst)
{
    if (inst->input[0]->op == OP_constant && inst->input[1]->op != OP_constant)
        return binary(inst, inst->op, inst->input[1], inst->input[0]);
    return NULL;
}

static Inst *neg_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    double value;
    if (a->op == OP_neg)
        return a->input[0];
    if (a->op == OP_sub)
        return binary(inst, OP_sub, a->input[1], a->input[0]);
    if ((a->op == OP_mul || a->op == OP_div) && inst_is_splat(a->input[1], &value) &&
        is_float(a->type))
        return binary(inst, a->op, a->input[0], real(inst, a->type, -value));
    return NULL;
}

static Inst *abs_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    if (a->op == OP_abs)
        return a;
    return a->op == OP_neg && is_float(a->type) ? unary(inst, OP_abs, a->input[0]) : NULL;
}

// ---- a sum of parts, each with zeros around it

// The parts of a sum that nothing else reads, each a pad with zeros. False if it is something else.
static bool padded_parts(Inst *a, Inst *part[], int *count, int room)
{
    if (a->op == OP_add && (*count == 0 || a->uses == 1))
        return padded_parts(a->input[0], part, count, room) &&
               padded_parts(a->input[1], part, count, room);
    if (a->op != OP_pad || !is_all(a->input[1], 0) || a->uses != 1 || *count == room)
        return false;
    part[(*count)++] = a;
    return true;
}

// The only axis along which the parts lie apart, one after the other; -1: they do not.
static int parts_axis(Inst *const part[], int count)
{
    for (int axis = 0; axis < part[0]->type.rank; axis++) {
        bool fits = true;
        int64_t at = part[0]->attr[0].list.at[axis];
        for (int i = 0; i < count; i++) {
            IntList low = part[i]->attr[0].list, high = part[i]->attr[1].list;
            fits = fits && low.at[axis] == at;
            at += part[i]->input[0]->type.dim[axis];
            for (int k = 0; k < part[i]->type.rank; k++)
                fits = fits && (k == axis || (low.at[k] == part[0]->attr[0].list.at[k] &&
                                              high.at[k] == part[0]->attr[1].list.at[k]));
        }
        if (fits)
            return axis;
    }
    return -1;
}

// The gradient of an x that is cut into parts is a sum of their gradients, each with zeros around
// it: it is the parts one after the other.
static Inst *parts_in_a_row(Inst *inst)
{
    enum { MOST_PARTS = 16 };
    Inst *part[MOST_PARTS], *in[MOST_PARTS];
    int count = 0;
    if (inst->type.rank == 0 || !padded_parts(inst, part, &count, MOST_PARTS))
        return NULL;
    for (int i = 1; i < count; i++) // in the order of their places
        for (int k = i; k > 0; k--)
            for (int axis = 0; axis < inst->type.rank; axis++) {
                int64_t left = part[k - 1]->attr[0].list.at[axis],
                        right = part[k]->attr[0].list.at[axis];
                if (left == right)
                    continue;
                if (left > right) {
                    Inst *other = part[k];
                    part[k] = part[k - 1];
                    part[k - 1] = other;
                }
                break;
            }
    int axis = parts_axis(part, count);
    if (axis < 0)
        return NULL;
    for (int i = 0; i < count; i++)
        in[i] = part[i]->input[0];
    Attr along = {.whole = axis}, around[2] = {part[0]->attr[0], part[0]->attr[1]};
    around[1].list.at[axis] = part[count - 1]->attr[1].list.at[axis];
    Inst *row = ir_insert_before(inst, OP_concat, in, count, &along, (Type){0}, inst->span);
    if (type_equal(row->type, inst->type))
        return row;
    Inst *pad[] = {row, part[0]->input[1]};
    return make(inst, OP_pad, pad, around, (Type){0});
}

// A sum with rows that are added to zeros: they are added to the other term where it is. A table
// that is an embedding and a head has such a gradient, and zeros as large as the table would be
// written and read again for the few rows of a batch.
static Inst *added_in_place(Inst *inst)
{
    for (int side = 0; side < 2; side++) {
        Inst *rows = inst->input[side], *sum = inst->input[1 - side];
        if (rows->op != OP_scatter_add || rows->uses != 1 || !is_all(rows->input[0], 0) ||
            sum->uses != 1 || sum->op == OP_parameter || sum->op == OP_constant)
            continue;
        Inst *in[] = {sum, rows->input[1], rows->input[2]};
        return make(inst, OP_scatter_add, in, rows->attr, inst->type);
    }
    return NULL;
}

static Inst *add_rules(Inst *inst)
{
    Inst *a = inst->input[0], *b = inst->input[1];
    if (is_all(b, 0))
        return a;
    if (a->op == OP_pad || b->op == OP_pad)
        return parts_in_a_row(inst);
    if (b->op == OP_neg)
        return binary(inst, OP_sub, a, b->input[0]);
    if (a->op == OP_neg)
        return binary(inst, OP_sub, b, a->input[0]);
    return NULL;
}

static Inst *sub_rules(Inst *inst)
{
    Inst *a = inst->input[0], *b = inst->input[1];
    if (is_all(b, 0))
        return a;
    if (is_all(a, 0))
        return unary(inst, OP_neg, b);
    if (b->op == OP_neg)
        return binary(inst, OP_add, a, b->input[0]);
    return a == b && is_integer_or_bool(a->type) ? real(inst, inst->type, 0) : NULL;
}

static Inst *mul_rules(Inst *inst)
{
    Inst *a = inst->input[0], *b = inst->input[1];
    double value;
    if (is_all(b, 1))
        return a;
    if (is_all(b, -1))
        return unary(inst, OP_neg, a);
    if (is_all(b, 0) && is_integer_or_bool(inst->type))
        return b;
    if (a->op == OP_neg && b->op == OP_neg)
        return binary(inst, OP_mul, a->input[0], b->input[0]);
    if (a->op == OP_neg && is_float(inst->type) && inst_is_splat(b, &value))
        return binary(inst, OP_mul, a->input[0], real(inst, inst->type, -value));
    return NULL;
}

static bool power_of_two(Type type, double value)
{
    int exponent;
    double half = frexp(fabs(value), &exponent);
    int most = type.dtype == DTYPE_F16
                   ? 13
                   : 120; // the reciprocal is a normal number, and so is the value
    return half == 0.5 && exponent > -most && exponent < most;
}

static Inst *div_rules(Inst *inst)
{
    Inst *a = inst->input[0], *b = inst->input[1];
    double value;
    if (is_all(b, 1))
        return a;
    if (!is_float(inst->type))
        return NULL;
    if (is_all(b, -1))
        return unary(inst, OP_neg, a);
    if (inst_is_splat(b, &value) && power_of_two(inst->type, value))
        return binary(inst, OP_mul, a, real(inst, inst->type, 1 / value));
    if (a->op == OP_neg && b->op == OP_neg)
        return binary(inst, OP_div, a->input[0], b->input[0]);
    return NULL;
}

static Inst *pow_rules(Inst *inst)
{
    Inst *a = inst->input[0], *b = inst->input[1];
    if (is_all(b, 0))
        return real(inst, inst->type, 1); // NaN to the 0 is 1, too
    if (is_all(b, 1))
        return a;
    if (is_all(b, 2))
        return binary(inst, OP_mul, a, a);
    return is_all(b, -1) ? binary(inst, OP_div, real(inst, inst->type, 1), a) : NULL;
}

static Inst *same_operands(Inst *inst)
{
    return inst->input[0] == inst->input[1] ? inst->input[0] : NULL;
}

static Inst *and_rules(Inst *inst)
{
    return is_all(inst->input[1], 1)   ? inst->input[0]
           : is_all(inst->input[1], 0) ? inst->input[1]
                                       : NULL;
}

static Inst *or_rules(Inst *inst)
{
    return is_all(inst->input[1], 0)   ? inst->input[0]
           : is_all(inst->input[1], 1) ? inst->input[1]
                                       : NULL;
}

static Inst *not_rules(Inst *inst)
{
    return inst->input[0]->op == OP_not ? inst->input[0]->input[0] : NULL;
}

static bool same_splat(const Inst *a, const Inst *b)
{
    double value;
    return a == b ||
           (inst_is_splat(a, &value) && inst_is_splat(b, &value) && type_equal(a->type, b->type) &&
            memcmp(a->attr[0].data.at, b->attr[0].data.at,
                   (size_t)dtype_info[a->type.dtype].bytes) == 0);
}

// Two choices of one constant are one: select(c, k, select(d, k, x)) is select(c or d, k, x).
static Inst *select_of_select(Inst *inst)
{
    for (int side = 1; side <= 2; side++) {
        Inst *inner = inst->input[side], *other = inst->input[3 - side];
        if (inner->op != OP_select || inner->uses != 1 ||
            !same_splat(inner->input[3 - side], other))
            continue;
        Inst *either = binary(inst, side == 2 ? OP_or : OP_and, inst->input[0], inner->input[0]);
        Inst *in[] = {either, inst->input[1], inst->input[2]};
        in[side] = inner->input[side];
        return make(inst, OP_select, in, NULL, inst->type);
    }
    return NULL;
}

static Inst *select_rules(Inst *inst)
{
    Inst *condition = inst->input[0], *a = inst->input[1], *b = inst->input[2];
    if (is_all(condition, 1) || a == b)
        return a;
    if (is_all(condition, 0))
        return b;
    if (condition->op == OP_not) {
        Inst *in[] = {condition->input[0], b, a};
        return make(inst, OP_select, in, NULL, inst->type);
    }
    return NULL;
}

// Every value of `from` is a value of `to`.
static bool holds_all(DType from, DType to)
{
    static const int whole_bits[DTYPE_COUNT] = {
        // integers of at most so many bits are held exactly
        [DTYPE_F32] = 24, [DTYPE_F64] = 53, [DTYPE_F16] = 11, [DTYPE_BF16] = 8, [DTYPE_I8] = 7,
        [DTYPE_U8] = 8,   [DTYPE_I32] = 31, [DTYPE_I64] = 63, [DTYPE_BOOL] = 1};
    if (from == DTYPE_BOOL || from == to || to == DTYPE_F64)
        return from != DTYPE_I64 || to == DTYPE_I64;
    if (dtype_info[from].kind == KIND_FLOAT)
        return to == DTYPE_F32 && from != DTYPE_F64;
    return to != DTYPE_BOOL && whole_bits[from] <= whole_bits[to] &&
           (to != DTYPE_U8 || from == DTYPE_U8);
}

// A conversion that loses nothing may be left out. Not in front of a conversion to an integer:
// floats saturate there, integers wrap around.
static Inst *cast_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    if (a->type.dtype == inst->type.dtype)
        return a;
    if (a->op != OP_cast || !holds_all(a->input[0]->type.dtype, a->type.dtype))
        return NULL;
    DType first = a->input[0]->type.dtype;
    bool one_kind = dtype_info[first].kind == dtype_info[a->type.dtype].kind;
    if (!one_kind && first != DTYPE_BOOL && !is_float(inst->type))
        return NULL;
    return make(inst, OP_cast, a->input, NULL, inst->type);
}

static Inst *stop_gradient_rules(Inst *inst)
{
    return inst->input[0]; // gradients have been built
}

// Operations on repetitions of small tensors are done on the small tensors:
// op(broadcast(a), broadcast(b), splat) is broadcast(op(a, b, splat)).
static Inst *work_before_repeating(Inst *inst)
{
    Inst *model = NULL, *in[4];
    if (inst->inputs < 1 || inst->inputs > 4)
        return NULL;
    for (int i = 0; i < inst->inputs; i++) {
        Inst *a = inst->input[i];
        bool splat = a->op == OP_constant && a->attr[0].data.splat;
        if (!splat && a->op != OP_broadcast)
            return NULL;
        if (a->op == OP_broadcast && !model)
            model = a;
        if (a->op == OP_broadcast && (!shape_equal(a->input[0]->type, model->input[0]->type) ||
                                      !same_list(a->attr[0].list, model->attr[0].list)))
            return NULL;
    }
    if (!model)
        return NULL;
    for (int i = 0; i < inst->inputs; i++) {
        Inst *a = inst->input[i];
        Type small = model->input[0]->type;
        small.dtype = a->type.dtype;
        in[i] = a->op == OP_broadcast ? a->input[0] : constant(inst, small, a->attr[0].data);
    }
    Inst *done = make(inst, inst->op, in, inst->attr, inst->type);
    return broadcast(inst, done, inst->type, model->attr[0].list);
}

// op(select(c, k, y), splat) with a splat k is select(c, op(k, splat), op(y, splat)): one choice
// becomes a constant, and the selects of an activation and of a dropout come to stand side by side.
// Compiled code may then round where the reference does, no more: see fold_constants.
static Inst *work_before_choosing(Inst *inst)
{
    Inst *choice = NULL, *chosen[2];
    double value;
    // A cast stays where it is: what is rounded to 16 bits is to be stored so, after all choices.
    if (inst->inputs < 1 || inst->inputs > 2 || inst->op == OP_select || inst->op == OP_cast)
        return NULL;
    for (int i = 0; i < inst->inputs; i++) {
        Inst *a = inst->input[i];
        if (a->op == OP_select && !choice)
            choice = a;
        else if (!inst_is_splat(a, &value))
            return NULL;
    }
    if (!choice)
        return NULL;
    int splats = inst_is_splat(choice->input[1], &value) + inst_is_splat(choice->input[2], &value);
    if (splats == 0 || (splats == 1 && choice->uses > 1))
        return NULL;
    for (int side = 0; side < 2; side++) {
        Inst *in[2];
        for (int i = 0; i < inst->inputs; i++)
            in[i] = inst->input[i] == choice ? choice->input[1 + side] : inst->input[i];
        chosen[side] = make(inst, inst->op, in, inst->attr, inst->type);
    }
    Inst *in[] = {choice->input[0], chosen[0], chosen[1]};
    return make(inst, OP_select, in, NULL, inst->type);
}

// ---- moving data -------------------------------------------------------------------------------

static Inst *broadcast_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    IntList axes = inst->attr[0].list;
    if (type_elements(a->type) == type_elements(inst->type))
        return reshape(inst, a, inst->type);
    Type squeezed = {.dtype = a->type.dtype};
    IntList kept = {0};
    for (int i = 0; i < a->type.rank; i++)
        if (a->type.dim[i] == inst->type.dim[axes.at[i]]) {
            squeezed.dim[squeezed.rank++] = a->type.dim[i];
            kept.at[kept.count++] = axes.at[i];
        }
    if (squeezed.rank != a->type.rank) // an axis that is stretched says nothing
        return broadcast(inst, reshape(inst, a, squeezed), inst->type, kept);
    if (a->op != OP_broadcast)
        return NULL;
    IntList composed = a->attr[0].list;
    for (int i = 0; i < composed.count; i++)
        composed.at[i] = axes.at[composed.at[i]];
    return broadcast(inst, a->input[0], inst->type, composed);
}

static Inst *reshape_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    int64_t to_axis[IR_MAX_RANK];
    if (type_equal(a->type, inst->type))
        return a;
    if (a->op == OP_reshape)
        return reshape(inst, a->input[0], inst->type);
    if (a->op == OP_broadcast && only_ones_differ(a->type, inst->type, to_axis)) {
        Inst *source = a->input[0];
        Type squeezed = {.dtype = source->type.dtype};
        IntList axes = {0};
        for (int i = 0; i < source->type.rank; i++) {
            int64_t axis = a->attr[0].list.at[i];
            if (a->type.dim[axis] == 1)
                continue;
            squeezed.dim[squeezed.rank++] = source->type.dim[i];
            axes.at[axes.count++] = to_axis[axis];
        }
        return broadcast(inst, reshape(inst, source, squeezed), inst->type, axes);
    }
    return NULL;
}

// transpose(broadcast(a)): a is transposed if its axes change their order (it is smaller), and
// repeated after that.
static Inst *transpose_of_broadcast(Inst *inst, Inst *a)
{
    IntList order = inst->attr[0].list, axes = a->attr[0].list, new_axes = {0}, inner = {0};
    for (int i = 0; i < order.count; i++)
        for (int k = 0; k < axes.count; k++)
            if (axes.at[k] == order.at[i]) {
                new_axes.at[new_axes.count++] = i;
                inner.at[inner.count++] = k;
            }
    Inst *source = a->input[0];
    if (!increasing(inner))
        source = transpose(inst, source, inner);
    return broadcast(inst, source, inst->type, new_axes);
}

// transpose(dot(a, b)) is dot(b, a) if it only swaps the rows of a with the columns of b.
static Inst *transpose_of_dot(Inst *inst, Inst *a)
{
    int batch = a->attr[2].list.count,
        rows = a->input[0]->type.rank - batch - a->attr[0].list.count;
    int columns = a->type.rank - batch - rows;
    IntList order = inst->attr[0].list;
    for (int i = 0; i < order.count; i++) {
        int expected = i < batch ? i : i < batch + columns ? i + rows : i - columns;
        if (order.at[i] != expected)
            return NULL;
    }
    if (a->input[0]->type.dtype != a->input[1]->type.dtype) // u8 times i8, in this order
        return NULL;
    Inst *in[] = {a->input[1], a->input[0]};
    Attr attr[] = {a->attr[1], a->attr[0], a->attr[3], a->attr[2]};
    return make(inst, OP_dot, in, attr, inst->type);
}

static Inst *transpose_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    IntList order = inst->attr[0].list, moved = {0};
    for (int i = 0; i < order.count; i++)
        if (a->type.dim[order.at[i]] != 1)
            moved.at[moved.count++] = order.at[i];
    if (increasing(moved)) // only axes of size 1 change places
        return reshape(inst, a, inst->type);
    if (a->op == OP_transpose) {
        for (int i = 0; i < order.count; i++)
            order.at[i] = a->attr[0].list.at[order.at[i]];
        return transpose(inst, a->input[0], order);
    }
    if (a->op == OP_broadcast)
        return transpose_of_broadcast(inst, a);
    return a->op == OP_dot && a->uses == 1 ? transpose_of_dot(inst, a) : NULL;
}

static Inst *slice_rules(Inst *inst)
{
    Inst *a = inst->input[0];
    if (type_equal(a->type, inst->type))
        return a;
    if (a->op != OP_slice)
        return NULL;
    Attr attr[3] = {inst->attr[0], inst->attr[1], inst->attr[2]};
    for (int i = 0; i < inst->type.rank; i++) {
        int64_t step = a->attr[2].list.at[i], start = a->attr[0].list.at[i];
        attr[0].list.at[i] = start + inst->attr[0].list.at[i] * step;
        attr[1].list.at[i] = start + (inst->attr[1].list.at[i] - 1) * step + 1;
        attr[2].list.at[i] = step * inst->attr[2].list.at[i];
    }
    return make(inst, OP_slice, a->input, attr, inst->type);
}

static Inst *first_of_equal_type(Inst *inst) // pad by nothing, concat of one
{
    bool only = inst->op == OP_pad || inst->inputs == 1;
    return only && type_equal(inst->input[0]->type, inst->type) ? inst->input[0] : NULL;
}

// Rows of rows are one row, if nothing else reads the inner one.
static Inst *concat_of_concat(Inst *inst)
{
    int count = 0;
    bool nested = false;
    for (int i = 0; i < inst->inputs; i++) {
        const Inst *a = inst->input[i];
        bool inner = a->op == OP_concat && a->uses == 1 && a->attr[0].whole == inst->attr[0].whole;
        count += inner ? a->inputs : 1;
        nested |= inner;
    }
    if (!nested)
        return NULL;
    Inst **in = NEW_ARRAY(inst->function->cx->scratch, Inst *, count);
    for (int i = 0, next = 0; i < inst->inputs; i++) {
        Inst *a = inst->input[i];
        bool inner = a->op == OP_concat && a->uses == 1 && a->attr[0].whole == inst->attr[0].whole;
        for (int k = 0; k < (inner ? a->inputs : 1); k++)
            in[next++] = inner ? a->input[k] : a;
    }
    return ir_insert_before(inst, OP_concat, in, count, inst->attr, inst->type, inst->span);
}

// ---- folding and contracting -------------------------------------------------------------------

static IntList without(IntList list, int64_t from_rank) // the axes that are not in the list
{
    IntList rest = {0};
    for (int64_t i = 0; i < from_rank; i++)
        if (!list_has(list, i))
            rest.at[rest.count++] = i;
    return rest;
}

// Axes of size 1 are not folded, they go away.
static Inst *reduce_over_ones(Inst *inst)
{
    Inst *a = inst->input[0];
    IntList axes = inst->attr[1].list, folded = {0};
    Type squeezed = {.dtype = a->type.dtype};
    for (int i = 0; i < a->type.rank; i++) {
        if (list_has(axes, i) && a->type.dim[i] == 1)
            continue;
        if (list_has(axes, i))
            folded.at[folded.count++] = squeezed.rank;
        squeezed.dim[squeezed.rank++] = a->type.dim[i];
    }
    if (squeezed.rank == a->type.rank && axes.count)
        return NULL;
    Inst *small = reshape(inst, a, squeezed);
    return folded.count ? reduce(inst, small, inst->attr[0].reducer, folded) : small;
}

// Whole numbers up to this one are values of the type.
static double largest_count(DType dtype)
{
    static const double largest[DTYPE_COUNT] = {
        [DTYPE_F32] = 0x1p24,    [DTYPE_F64] = 0x1p53, [DTYPE_F16] = 0x1p11,
        [DTYPE_BF16] = 0x1p8,    [DTYPE_I8] = 127,     [DTYPE_U8] = 255,
        [DTYPE_I32] = INT32_MAX, [DTYPE_I64] = 0x1p53, [DTYPE_BOOL] = 1};
    return largest[dtype];
}

static Inst *reduce_of_broadcast(Inst *inst)
{
    Inst *a = inst->input[0], *source = a->input[0];
    Reducer with = inst->attr[0].reducer;
    IntList folded = inst->attr[1].list, axes = a->attr[0].list,
            kept = without(folded, a->type.rank);
    IntList inner = {0}, placed = {0};
    double copies = 1;
    for (int i = 0; i < folded.count; i++)
        if (!list_has(axes, folded.at[i]))
            copies *= (double)a->type.dim[folded.at[i]];
    for (int k = 0; k < axes.count; k++) {
        if (source->type.dim[k] != a->type.dim[axes.at[k]])
            return NULL; // broadcast_rules comes first
        if (list_has(folded, axes.at[k]))
            inner.at[inner.count++] = k;
        for (int i = 0; i < kept.count; i++)
            if (kept.at[i] == axes.at[k])
                placed.at[placed.count++] = i;
    }
    if ((with == REDUCE_PROD && copies > 1) ||
        (with == REDUCE_SUM && copies > largest_count(inst->type.dtype)))
        return NULL;
    Inst *value = inner.count ? reduce(inst, source, with, inner) : source;
    if (with == REDUCE_SUM && copies > 1)
        value = binary(inst, OP_mul, value, real(inst, value->type, copies));
    return shape_equal(value->type, inst->type) ? value
                                                : broadcast(inst, value, inst->type, placed);
}

static Inst *reduce_of_reduce(Inst *inst)
{
    Inst *a = inst->input[0];
    if (a->attr[0].reducer != inst->attr[0].reducer || a->uses != 1)
        return NULL;
    Type source = a->input[0]->type;
    IntList kept = without(a->attr[1].list, source.rank), remaining = {0};
    for (int i = 0; i < kept.count; i++)
        if (!list_has(inst->attr[1].list, i))
            remaining.at[remaining.count++] = kept.at[i];
    return reduce(inst, a->input[0], inst->attr[0].reducer, without(remaining, source.rank));
}

static Inst *reduce_of_transpose(Inst *inst)
{
    Inst *a = inst->input[0];
    IntList order = a->attr[0].list, kept = {0};
    for (int i = 0; i < order.count; i++)
        if (!list_has(inst->attr[1].list, i))
            kept.at[kept.count++] = order.at[i];
    return increasing(kept)
               ? reduce(inst, a->input[0], inst->attr[0].reducer, without(kept, order.count))
               : NULL;
}

// The slopes of windows that lie side by side, equal within each (those of their mean): every
// element is that of its window. sum(unwindow(repeated value)) is the value, repeated.
static Inst *reduce_of_windows(Inst *inst)
{
    Inst *a = inst->input[0], *spread = a->input[0];
    IntList stride = a->attr[0].list, folded = inst->attr[1].list;
    int spatial = stride.count, rank = inst->type.rank, rest = rank - spatial;
    if (inst->attr[0].reducer != REDUCE_SUM || spread->op != OP_broadcast ||
        folded.count != spatial || rank + spatial > IR_MAX_RANK || rest < 0)
        return NULL;
    Inst *value = spread->input[0];
    IntList axes = spread->attr[0].list, placed = {0};
    if (value->type.rank != rank)
        return NULL;
    Type wide = inst->type;
    wide.rank = rank + spatial;
    for (int i = 0; i < rank; i++) {
        if (axes.at[i] != spatial + i || value->type.dim[i] != spread->type.dim[spatial + i])
            return NULL;
        placed.at[placed.count++] = i < rest ? i : rest + 2 * (i - rest);
        wide.dim[placed.at[i]] = value->type.dim[i];
    }
    for (int i = 0; i < spatial; i++) {
        int64_t places = spread->type.dim[i];
        if (folded.at[i] != i || stride.at[i] != places || a->attr[1].list.at[i] != 0 ||
            a->attr[2].list.at[i] != 0 || a->attr[3].list.at[i] != 1 ||
            value->type.dim[rest + i] * places != inst->type.dim[rest + i])
            return NULL;
        wide.dim[rest + 2 * i + 1] = places;
    }
    return reshape(inst, broadcast(inst, value, wide, placed), inst->type);
}

static Inst *reduce_rules(Inst *inst)
{
    Inst *better = reduce_over_ones(inst);
    if (better)
        return better;
    Op op = inst->input[0]->op;
    if (op == OP_broadcast)
        return reduce_of_broadcast(inst);
    if (op == OP_reduce)
        return reduce_of_reduce(inst);
    if (op == OP_unwindow)
        return reduce_of_windows(inst);
    return op == OP_transpose ? reduce_of_transpose(inst) : NULL;
}

// A transposed operand of a dot is read through its permutation: the axes are renamed, if those
// that stay keep their order.
static Inst *dot_rules(Inst *inst)
{
    for (int side = 0; side < 2; side++) {
        Inst *a = inst->input[side];
        if (a->op != OP_transpose)
            continue;
        IntList order = a->attr[0].list, rest = {0};
        Attr attr[IR_MAX_ATTRS];
        memcpy(attr, inst->attr, sizeof attr);
        for (int i = 0; i < order.count; i++)
            if (!list_has(attr[side].list, i) && !list_has(attr[2 + side].list, i))
                rest.at[rest.count++] = order.at[i];
        if (!increasing(rest))
            continue;
        for (int i = 0; i < attr[side].list.count; i++)
            attr[side].list.at[i] = order.at[attr[side].list.at[i]];
        for (int i = 0; i < attr[2 + side].list.count; i++)
            attr[2 + side].list.at[i] = order.at[attr[2 + side].list.at[i]];
        Inst *in[] = {inst->input[0], inst->input[1]};
        in[side] = a->input[0];
        return make(inst, OP_dot, in, attr, inst->type);
    }
    return NULL;
}

// ---- the rules, by op --------------------------------------------------------------------------

enum { MOST_RULES = 3 };
static Rule *const rules[OP_COUNT][MOST_RULES] = {
    [OP_neg] = {neg_rules},
    [OP_abs] = {abs_rules},
    [OP_add] = {constant_to_the_right, add_rules, added_in_place},
    [OP_sub] = {sub_rules},
    [OP_mul] = {constant_to_the_right, mul_rules},
    [OP_div] = {div_rules},
    [OP_pow] = {pow_rules},
    [OP_max] = {constant_to_the_right, same_operands},
    [OP_min] = {constant_to_the_right, same_operands},
    [OP_and] = {constant_to_the_right, same_operands, and_rules},
    [OP_or] = {constant_to_the_right, same_operands, or_rules},
    [OP_eq] = {constant_to_the_right},
    [OP_ne] = {constant_to_the_right},
    [OP_not] = {not_rules},
    [OP_select] = {select_rules, select_of_select},
    [OP_cast] = {cast_rules},
    [OP_stop_gradient] = {stop_gradient_rules},
    [OP_broadcast] = {broadcast_rules},
    [OP_reshape] = {reshape_rules},
    [OP_transpose] = {transpose_rules},
    [OP_slice] = {slice_rules},
    [OP_pad] = {first_of_equal_type},
    [OP_concat] = {first_of_equal_type, concat_of_concat},
    [OP_reduce] = {reduce_rules},
    [OP_dot] = {dot_rules},
};

static Inst *simplified(Inst *inst)
{
    Inst *better = fold_constants(inst);
    for (int i = 0; !better && i < MOST_RULES && rules[inst->op][i]; i++)
        better = rules[inst->op][i](inst);
    if (!better && op_has(inst->op, POINTWISE))
        better = work_before_repeating(inst);
    if (!better && op_has(inst->op, POINTWISE))
        better = work_before_choosing(inst);
    return better;
}

bool pass_simplify(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first, *below; inst; inst = below) {
        below = inst->next;
        if (inst->uses == 0)
            continue; // dce drops it
        Inst *above = inst->prev, *better = simplified(inst);
        if (!better)
            continue;
        if (!better->name && better->op != OP_parameter)
            better->name = inst->name;
        ir_replace_uses(fn, inst, better);
        ir_remove(fn, inst);
        changed = true;
        below = above ? above->next : fn->first; // what was made may be simplified again
    }
    return changed;
}
