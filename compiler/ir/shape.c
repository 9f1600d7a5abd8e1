// shape.c: what type each op gives, one rule per name in the `shape rule` column of ops.def.
//
// A rule looks at inputs, attributes and the stated type, and either fills `out` or says in one
// sentence why it cannot. The sentence is shown to the user after the operation's name, so it
// speaks of shapes and not of the compiler.

#include <string.h>

#include "ir/ir.h"

#include "stored.h"

typedef struct RuleCall {
    Arena *arena;
    Op op;
    Inst *const *in;
    int inputs;
    const Attr *attr;
    Type given;
    Type *out;
    int room;
    const char **why;
} RuleCall;
typedef int Rule(const RuleCall *call);

static int refuse(const RuleCall *call, const char *format, ...) AML_PRINTF(2, 3);
static int refuse(const RuleCall *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *call->why = arena_vprintf(call->arena, format, args);
    va_end(args);
    return -1;
}

static const char *shown(const RuleCall *call, Type type)
{
    return type_text(call->arena, type);
}

static int one(const RuleCall *call, Type type)
{
    if (!type_valid(type))
        return refuse(
            call,
            "%s is not a possible type: sizes are at least 1 and the tensor has to be addressable",
            type.rank <= IR_MAX_RANK ? shown(call, type) : "a tensor of rank above 8");
    call->out[0] = type;
    return 1;
}

static Type in_type(const RuleCall *call, int index)
{
    return call->in[index]->type;
}

static DTypeKind kind_of(Type type)
{
    return dtype_info[type.dtype].kind;
}

// Increasing axes below `rank`.
static bool axes_ok(IntList axes, int rank)
{
    if (axes.count < 0 || axes.count > IR_MAX_RANK)
        return false;
    for (int i = 0; i < axes.count; i++)
        if (axes.at[i] < (i ? axes.at[i - 1] + 1 : 0) || axes.at[i] >= rank)
            return false;
    return true;
}

static bool axis_ok(int64_t axis, int rank)
{
    return axis >= 0 && axis < rank;
}

static bool list_has(IntList list, int64_t value)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == value)
            return true;
    return false;
}

// ---- leaves ------------------------------------------------------------------------------------

static int rule_given(const RuleCall *call)
{
    Type type = call->given;
    if (!type_valid(type))
        return one(call, type);
    if (call->op == OP_constant) {
        IrData data = call->attr[0].data;
        size_t need = data.splat ? (size_t)dtype_info[type.dtype].bytes : (size_t)type_bytes(type);
        if (data.bytes != need || !data.at)
            return refuse(call, "%s needs %zu bytes of data, got %zu", shown(call, type), need,
                          data.bytes);
    } else if (call->op == OP_iota) {
        if (!axis_ok(call->attr[0].whole, type.rank))
            return refuse(call, "axis %lld does not exist in %s", (long long)call->attr[0].whole,
                          shown(call, type));
        if (type.dtype != DTYPE_I32 && type.dtype != DTYPE_I64 && type.dtype != DTYPE_F32 &&
            type.dtype != DTYPE_F64)
            return refuse(call, "the element type is i32, i64, f32 or f64, not %s",
                          dtype_info[type.dtype].name);
    } else if (call->op == OP_random) {
        if (type.dtype != DTYPE_F32 && type.dtype != DTYPE_F64)
            return refuse(call, "the element type is f32 or f64, not %s",
                          dtype_info[type.dtype].name);
        for (int i = 0; i < 2; i++)
            if (!type_equal(in_type(call, i), type_scalar(DTYPE_I64)))
                return refuse(call, "seed and step are i64[], got %s",
                              shown(call, in_type(call, i)));
        if (call->attr[0].whole < 0 || call->attr[0].whole > UINT32_MAX)
            return refuse(call, "the site is a number of 32 bits, got %lld",
                          (long long)call->attr[0].whole);
    }
    return one(call, type);
}

// ---- element by element ------------------------------------------------------------------------

static int equal_inputs(const RuleCall *call)
{
    for (int i = 1; i < call->inputs; i++)
        if (!type_equal(in_type(call, 0), in_type(call, i)))
            return refuse(call, "the operands need one type, got %s and %s",
                          shown(call, in_type(call, 0)), shown(call, in_type(call, i)));
    return 1;
}

static int rule_any(const RuleCall *call)
{
    return one(call, in_type(call, 0));
}

static int rule_same(const RuleCall *call)
{
    if (equal_inputs(call) < 0)
        return -1;
    if (kind_of(in_type(call, 0)) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, in_type(call, 0)));
    return one(call, in_type(call, 0));
}

static int rule_same_float(const RuleCall *call)
{
    if (equal_inputs(call) < 0)
        return -1;
    if (kind_of(in_type(call, 0)) != KIND_FLOAT)
        return refuse(call, "floats are needed, got %s", shown(call, in_type(call, 0)));
    return one(call, in_type(call, 0));
}

static int rule_same_bool(const RuleCall *call)
{
    if (equal_inputs(call) < 0)
        return -1;
    if (kind_of(in_type(call, 0)) != KIND_BOOL)
        return refuse(call, "bool is needed, got %s", shown(call, in_type(call, 0)));
    return one(call, in_type(call, 0));
}

static int rule_compare(const RuleCall *call)
{
    if (equal_inputs(call) < 0)
        return -1;
    Type type = in_type(call, 0);
    type.dtype = DTYPE_BOOL;
    return one(call, type);
}

static int rule_select(const RuleCall *call)
{
    Type condition = in_type(call, 0), a = in_type(call, 1), b = in_type(call, 2);
    if (condition.dtype != DTYPE_BOOL)
        return refuse(call, "the condition is bool, got %s", shown(call, condition));
    if (!type_equal(a, b))
        return refuse(call, "both choices need one type, got %s and %s", shown(call, a),
                      shown(call, b));
    if (!shape_equal(condition, a))
        return refuse(call, "the condition's shape is %s, the choices' is %s",
                      shape_text(call->arena, condition), shape_text(call->arena, a));
    return one(call, a);
}

static int rule_given_dtype(const RuleCall *call)
{
    Type type = in_type(call, 0);
    type.dtype = call->given.dtype;
    return one(call, type);
}

// ---- moving data -------------------------------------------------------------------------------

static int rule_broadcast(const RuleCall *call)
{
    Type in = in_type(call, 0), out = call->given;
    IntList axes = call->attr[0].list;
    out.dtype = in.dtype;
    if (!type_valid(out))
        return one(call, out);
    if (!axes_ok(axes, out.rank) || axes.count != in.rank)
        return refuse(call, "the axes of %s in %s are not increasing, or not one for each",
                      shown(call, in), shown(call, out));
    for (int i = 0; i < in.rank; i++)
        if (in.dim[i] != 1 && in.dim[i] != out.dim[axes.at[i]])
            return refuse(call, "axis %d of %s does not fit axis %lld of %s", i, shown(call, in),
                          (long long)axes.at[i], shown(call, out));
    return one(call, out);
}

static int rule_reshape(const RuleCall *call)
{
    Type in = in_type(call, 0), out = call->given;
    out.dtype = in.dtype;
    if (type_valid(out) && type_elements(in) != type_elements(out))
        return refuse(call, "%s has %lld elements, %s has %lld", shape_text(call->arena, in),
                      (long long)type_elements(in), shape_text(call->arena, out),
                      (long long)type_elements(out));
    return one(call, out);
}

static int rule_transpose(const RuleCall *call)
{
    Type in = in_type(call, 0), out = in;
    IntList order = call->attr[0].list;
    bool ok = order.count == in.rank;
    for (int i = 0; ok && i < in.rank; i++) {
        ok = axis_ok(order.at[i], in.rank);
        for (int j = 0; ok && j < i; j++)
            ok = order.at[j] != order.at[i];
        if (ok)
            out.dim[i] = in.dim[order.at[i]];
    }
    if (!ok)
        return refuse(call, "the permutation does not name every axis of %s once", shown(call, in));
    return one(call, out);
}

static int rule_slice(const RuleCall *call)
{
    Type in = in_type(call, 0), out = in;
    IntList start = call->attr[0].list, stop = call->attr[1].list, step = call->attr[2].list;
    if (start.count != in.rank || stop.count != in.rank || step.count != in.rank)
        return refuse(call, "start, stop and step are stated for every axis of %s",
                      shown(call, in));
    for (int i = 0; i < in.rank; i++) {
        if (start.at[i] < 0 || start.at[i] >= stop.at[i] || stop.at[i] > in.dim[i])
            return refuse(call, "%lld..%lld is not a part of axis %d of %s", (long long)start.at[i],
                          (long long)stop.at[i], i, shown(call, in));
        if (step.at[i] < 1)
            return refuse(call, "the step is at least 1, got %lld", (long long)step.at[i]);
        out.dim[i] = (stop.at[i] - start.at[i] - 1) / step.at[i] + 1;
    }
    return one(call, out);
}

static int rule_pad(const RuleCall *call)
{
    Type in = in_type(call, 0), out = in;
    IntList low = call->attr[0].list, high = call->attr[1].list;
    if (!type_equal(in_type(call, 1), type_scalar(in.dtype)))
        return refuse(call, "the value around %s is %s[], got %s", shown(call, in),
                      dtype_info[in.dtype].name, shown(call, in_type(call, 1)));
    if (low.count != in.rank || high.count != in.rank)
        return refuse(call, "the amounts are stated for every axis of %s", shown(call, in));
    for (int i = 0; i < in.rank; i++) {
        const int64_t limit = INT64_C(1) << 40;
        if (low.at[i] < 0 || high.at[i] < 0 || low.at[i] > limit || high.at[i] > limit)
            return refuse(call,
                          "the amounts at axis %d are not negative and not huge, got %lld and %lld",
                          i, (long long)low.at[i], (long long)high.at[i]);
        out.dim[i] = in.dim[i] + low.at[i] + high.at[i];
    }
    return one(call, out);
}

static int rule_concat(const RuleCall *call)
{
    if (call->inputs < 1)
        return refuse(call, "at least one tensor is needed");
    Type out = in_type(call, 0);
    int64_t axis = call->attr[0].whole;
    if (!axis_ok(axis, out.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, out));
    for (int i = 1; i < call->inputs; i++) {
        Type next = in_type(call, i), like = next;
        if (next.rank == out.rank)
            like.dim[axis] = out.dim[axis];
        if (!type_equal(like, out))
            return refuse(call, "%s does not continue %s along axis %lld", shown(call, next),
                          shown(call, in_type(call, 0)), (long long)axis);
    }
    for (int i = 1; i < call->inputs; i++)
        out.dim[axis] += in_type(call, i).dim[axis];
    return one(call, out);
}

// a[:axis] + shape(rows) + a[axis+1:]
static bool gathered(Type a, Type rows, int64_t axis, Type *out)
{
    if (a.rank - 1 + rows.rank > IR_MAX_RANK)
        return false;
    *out = (Type){.dtype = a.dtype};
    for (int i = 0; i < axis; i++)
        out->dim[out->rank++] = a.dim[i];
    for (int i = 0; i < rows.rank; i++)
        out->dim[out->rank++] = rows.dim[i];
    for (int i = (int)axis + 1; i < a.rank; i++)
        out->dim[out->rank++] = a.dim[i];
    return true;
}

static int rule_gather(const RuleCall *call)
{
    Type a = in_type(call, 0), rows = in_type(call, 1), out;
    int64_t axis = call->attr[0].whole;
    if (!axis_ok(axis, a.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, a));
    if (kind_of(rows) != KIND_INT)
        return refuse(call, "the row numbers are integers, got %s", shown(call, rows));
    if (!gathered(a, rows, axis, &out))
        return refuse(call, "taking rows %s of %s gives a rank above %d", shown(call, rows),
                      shown(call, a), IR_MAX_RANK);
    return one(call, out);
}

static int rule_scatter(const RuleCall *call)
{
    Type a = in_type(call, 0), rows = in_type(call, 1), added = in_type(call, 2), expected;
    int64_t axis = call->attr[0].whole;
    if (!axis_ok(axis, a.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, a));
    if (kind_of(a) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, a));
    if (kind_of(rows) != KIND_INT)
        return refuse(call, "the row numbers are integers, got %s", shown(call, rows));
    if (!gathered(a, rows, axis, &expected) || !type_equal(expected, added))
        return refuse(call, "%s cannot be added to %s at rows %s", shown(call, added),
                      shown(call, a), shown(call, rows));
    return one(call, a);
}

// `rows` has the shape of `a` but for the axis.
static bool beside(Type a, Type rows, int64_t axis)
{
    if (rows.rank != a.rank)
        return false;
    for (int i = 0; i < a.rank; i++)
        if (i != axis && a.dim[i] != rows.dim[i])
            return false;
    return true;
}

static int rule_take_along(const RuleCall *call)
{
    Type a = in_type(call, 0), rows = in_type(call, 1);
    int64_t axis = call->attr[0].whole;
    if (!axis_ok(axis, a.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, a));
    if (kind_of(rows) != KIND_INT)
        return refuse(call, "the positions are integers, got %s", shown(call, rows));
    if (!beside(a, rows, axis))
        return refuse(call, "the positions %s have to agree with %s on every axis but %lld",
                      shown(call, rows), shown(call, a), (long long)axis);
    rows.dtype = a.dtype;
    return one(call, rows);
}

static int rule_add_along(const RuleCall *call)
{
    Type a = in_type(call, 0), added = in_type(call, 2);
    if (kind_of(a) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, a));
    if (rule_take_along(call) < 0)
        return -1;
    if (!type_equal(call->out[0], added))
        return refuse(call, "%s cannot be added to %s at the positions %s", shown(call, added),
                      shown(call, a), shown(call, in_type(call, 1)));
    return one(call, a);
}

// ---- folding and contracting -------------------------------------------------------------------

static int rule_drop_axes(const RuleCall *call)
{
    Type in = in_type(call, 0), out = {.dtype = in.dtype};
    Reducer with = call->attr[0].reducer;
    IntList axes = call->attr[1].list;
    bool logical = with == REDUCE_ANY || with == REDUCE_ALL;
    if ((unsigned)with >= REDUCER_COUNT)
        return refuse(call, "there is no such reducer");
    if (logical != (kind_of(in) == KIND_BOOL))
        return refuse(call, "'%s' does not fold %s", reducer_name[with], shown(call, in));
    if (!axes_ok(axes, in.rank))
        return refuse(call, "the axes to fold are not increasing axes of %s", shown(call, in));
    for (int i = 0; i < in.rank; i++)
        if (!list_has(axes, i))
            out.dim[out.rank++] = in.dim[i];
    return one(call, out);
}

static int rule_drop_axis_i32(const RuleCall *call)
{
    Type in = in_type(call, 0), out = {.dtype = DTYPE_I32};
    int64_t axis = call->attr[0].whole;
    if (!axis_ok(axis, in.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, in));
    if (kind_of(in) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, in));
    for (int i = 0; i < in.rank; i++)
        if (i != axis)
            out.dim[out.rank++] = in.dim[i];
    return one(call, out);
}

static int rule_last_axis_i32(const RuleCall *call)
{
    Type in = in_type(call, 0);
    if (in.rank < 1)
        return refuse(call, "at least one axis is needed, got %s", shown(call, in));
    if (kind_of(in) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, in));
    if (in.dim[in.rank - 1] > INT32_MAX)
        return refuse(call, "an axis of %lld elements is too long", (long long)in.dim[in.rank - 1]);
    in.dtype = DTYPE_I32;
    return one(call, in);
}

static int rule_cumulate(const RuleCall *call)
{
    Type in = in_type(call, 0);
    Reducer with = call->attr[0].reducer;
    int64_t axis = call->attr[1].whole;
    if (with != REDUCE_SUM && with != REDUCE_PROD && with != REDUCE_MAX && with != REDUCE_MIN)
        return refuse(call, "running values are sum, prod, max or min");
    if (!axis_ok(axis, in.rank))
        return refuse(call, "axis %lld does not exist in %s", (long long)axis, shown(call, in));
    if (kind_of(in) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, in));
    return one(call, in);
}

// Every axis is named at most once in contract and batch together.
static bool dot_axes_ok(IntList contract, IntList batch, int rank)
{
    if (contract.count + batch.count > rank)
        return false;
    for (int i = 0; i < contract.count; i++) {
        if (!axis_ok(contract.at[i], rank) || list_has(batch, contract.at[i]))
            return false;
        for (int j = 0; j < i; j++)
            if (contract.at[i] == contract.at[j])
                return false;
    }
    for (int i = 0; i < batch.count; i++) {
        if (!axis_ok(batch.at[i], rank))
            return false;
        for (int j = 0; j < i; j++)
            if (batch.at[i] == batch.at[j])
                return false;
    }
    return true;
}

// Quantized products: u8 (what is computed) times i8 (weights) is summed as i32.
static bool mixes_integers(Type a, Type b)
{
    return a.dtype == DTYPE_U8 && b.dtype == DTYPE_I8;
}

static int rule_dot(const RuleCall *call)
{
    Type a = in_type(call, 0), b = in_type(call, 1);
    Type out = {.dtype = mixes_integers(a, b) ? DTYPE_I32 : a.dtype};
    IntList contract_a = call->attr[0].list, contract_b = call->attr[1].list;
    IntList batch_a = call->attr[2].list, batch_b = call->attr[3].list;
    if ((a.dtype != b.dtype && !mixes_integers(a, b)) || kind_of(a) == KIND_BOOL)
        return refuse(call, "two tensors of one number type are needed, got %s and %s",
                      shown(call, a), shown(call, b));
    if (contract_a.count != contract_b.count || batch_a.count != batch_b.count ||
        !dot_axes_ok(contract_a, batch_a, a.rank) || !dot_axes_ok(contract_b, batch_b, b.rank))
        return refuse(call, "the contracted and batch axes of %s and %s do not pair up",
                      shown(call, a), shown(call, b));
    for (int i = 0; i < contract_a.count; i++)
        if (a.dim[contract_a.at[i]] != b.dim[contract_b.at[i]])
            return refuse(call, "axis %lld of %s has to match axis %lld of %s",
                          (long long)contract_a.at[i], shown(call, a), (long long)contract_b.at[i],
                          shown(call, b));
    for (int i = 0; i < batch_a.count; i++)
        if (a.dim[batch_a.at[i]] != b.dim[batch_b.at[i]])
            return refuse(call, "batch axis %lld of %s has to match batch axis %lld of %s",
                          (long long)batch_a.at[i], shown(call, a), (long long)batch_b.at[i],
                          shown(call, b));
    if (a.rank + b.rank - 2 * contract_a.count - batch_a.count > IR_MAX_RANK)
        return refuse(call, "the result of %s and %s has a rank above %d", shown(call, a),
                      shown(call, b), IR_MAX_RANK);
    for (int i = 0; i < batch_a.count; i++)
        out.dim[out.rank++] = a.dim[batch_a.at[i]];
    for (int i = 0; i < a.rank; i++)
        if (!list_has(contract_a, i) && !list_has(batch_a, i))
            out.dim[out.rank++] = a.dim[i];
    for (int i = 0; i < b.rank; i++)
        if (!list_has(contract_b, i) && !list_has(batch_b, i))
            out.dim[out.rank++] = b.dim[i];
    return one(call, out);
}

// ---- stored weights ----------------------------------------------------------------------------

// The types of the stored matrix [k, columns]; columns 0: any.
static bool stored_fits(const RuleCall *call, int64_t k, int64_t columns)
{
    int64_t form = call->attr[0].whole, group = call->attr[1].whole;
    if (form < 0 || form >= STORED_FORMS || call->inputs < 2)
        return false;
    Type b = in_type(call, 1), type = {.rank = 3};
    type.dim[0] = columns ? stored_panels(columns) : b.dim[0];
    if (form >= STORED_BF16) {
        type.dtype = form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16;
        type.dim[1] = k;
        type.dim[2] = STORED_COLUMNS;
        return call->inputs == 2 && type_equal(b, type);
    }
    if (group < 8 || group % 8 || group > STORED_MOST_GROUP || call->inputs > 4 || call->inputs < 3)
        return false;
    int64_t groups = stored_groups(k, group);
    type.dtype = DTYPE_U8;
    type.dim[1] = groups * group / (form == STORED_NIBBLES ? 8 : 4);
    type.dim[2] = 4 * STORED_COLUMNS;
    if (!type_equal(b, type))
        return false;
    type.dim[1] = groups;
    type.dim[2] = STORED_COLUMNS;
    if (call->inputs == 4 && !type_equal(in_type(call, 3), type))
        return false;
    type.dtype = DTYPE_F16;
    return type_equal(in_type(call, 2), type);
}

static int rule_dot_stored(const RuleCall *call)
{
    Type a = call->inputs > 0 ? in_type(call, 0) : (Type){0};
    int64_t columns = call->attr[2].whole;
    if (call->inputs < 2 || a.rank < 1 || a.dtype != DTYPE_F32 || columns < 1 ||
        !stored_fits(call, a.dim[a.rank - 1], columns))
        return refuse(call, "the operands are no f32 rows and a stored matrix for them");
    a.dim[a.rank - 1] = columns;
    return one(call, a);
}

static int rule_take_stored(const RuleCall *call)
{
    Type a = call->inputs > 0 ? in_type(call, 0) : (Type){0};
    int64_t depth = call->attr[2].whole;
    if (call->inputs < 2 || a.rank < 1 || a.rank == IR_MAX_RANK ||
        (a.dtype != DTYPE_I32 && a.dtype != DTYPE_I64) || depth < 1 || in_type(call, 1).rank != 3 ||
        !stored_fits(call, depth, 0))
        return refuse(call, "the operands are no columns and a stored matrix for them");
    a.dim[a.rank++] = depth;
    a.dtype = DTYPE_F32;
    return one(call, a);
}

// ---- windows and convolutions ------------------------------------------------------------------

typedef struct Spatial {
    int rank;
    const int64_t *stride, *low, *high, *dilation;
} Spatial;

static Spatial spatial_of(const Attr attr[])
{
    return (Spatial){attr[0].list.count, attr[0].list.at, attr[1].list.at, attr[2].list.at,
                     attr[3].list.at};
}

static bool spatial_ok(const RuleCall *call, const Attr attr[])
{
    const int64_t limit = INT64_C(1) << 31;
    int rank = attr[0].list.count;
    if (rank < 1 || rank > 3)
        return refuse(call, "there are 1 to 3 spatial axes, got %d", rank), false;
    for (int i = 1; i < 4; i++)
        if (attr[i].list.count != rank)
            return refuse(call, "stride, padding and dilation have one number for each axis"),
                   false;
    for (int i = 0; i < rank; i++) {
        int64_t stride = attr[0].list.at[i], dilation = attr[3].list.at[i];
        if (stride < 1 || stride > limit)
            return refuse(call, "the stride is at least 1, got %lld", (long long)stride), false;
        if (dilation < 1 || dilation > limit)
            return refuse(call, "the dilation is at least 1, got %lld", (long long)dilation), false;
        for (int k = 1; k < 3; k++)
            if (attr[k].list.at[i] < 0 || attr[k].list.at[i] > limit)
                return refuse(call, "the padding is not negative and not huge, got %lld",
                              (long long)attr[k].list.at[i]),
                       false;
    }
    return true;
}

// How many positions a window has along each axis; false after a refusal.
static bool positions(const RuleCall *call, Spatial s, const int64_t size[], const int64_t kernel[],
                      int64_t out[])
{
    for (int i = 0; i < s.rank; i++) {
        int64_t padded = size[i] + s.low[i] + s.high[i];
        int64_t reach = s.dilation[i] * (kernel[i] - 1) + 1;
        if (kernel[i] < 1 || kernel[i] > INT64_C(1) << 31)
            return refuse(call, "the size of a window is at least 1, got %lld",
                          (long long)kernel[i]),
                   false;
        if (reach > padded)
            return refuse(call, "a window of %lld does not fit into %lld (%lld, padded by %lld)",
                          (long long)reach, (long long)padded, (long long)size[i],
                          (long long)(s.low[i] + s.high[i])),
                   false;
        out[i] = (padded - reach) / s.stride[i] + 1;
    }
    return true;
}

static int rule_window(const RuleCall *call)
{
    Type in = in_type(call, 0), out = {.dtype = in.dtype};
    IntList kernel = call->attr[0].list;
    if (!spatial_ok(call, call->attr + 1))
        return -1;
    Spatial s = spatial_of(call->attr + 1);
    if (kernel.count != s.rank || in.rank < s.rank || in.rank + s.rank > IR_MAX_RANK)
        return refuse(call, "windows of %d axes do not fit %s", kernel.count, shown(call, in));
    if (!type_equal(in_type(call, 1), type_scalar(in.dtype)))
        return refuse(call, "the value around %s is %s[], got %s", shown(call, in),
                      dtype_info[in.dtype].name, shown(call, in_type(call, 1)));
    int rest = in.rank - s.rank;
    out.rank = in.rank + s.rank;
    for (int i = 0; i < s.rank; i++)
        out.dim[i] = kernel.at[i];
    for (int i = 0; i < rest; i++)
        out.dim[s.rank + i] = in.dim[i];
    if (!positions(call, s, in.dim + rest, kernel.at, out.dim + s.rank + rest))
        return -1;
    return one(call, out);
}

static int rule_unwindow(const RuleCall *call)
{
    Type in = in_type(call, 0), out = call->given;
    out.dtype = in.dtype;
    if (!spatial_ok(call, call->attr))
        return -1;
    if (kind_of(in) == KIND_BOOL)
        return refuse(call, "numbers are needed, got %s", shown(call, in));
    Spatial s = spatial_of(call->attr);
    bool fits = in.rank >= 2 * s.rank && out.rank == in.rank && type_valid(out);
    for (int i = 0; fits && i < in.rank - s.rank; i++)
        fits = in.dim[i] == out.dim[i];
    if (!fits)
        return refuse(call, "windows %s cannot be put back into %s", shown(call, in),
                      type_valid(out) ? shown(call, out) : "that");
    int64_t found[3];
    int rest = in.rank - s.rank;
    if (!positions(call, s, out.dim + rest, in.dim, found))
        return -1;
    for (int i = 0; i < s.rank; i++)
        if (found[i] != in.dim[rest + i])
            return refuse(call, "windows %s cannot be put back into %s", shown(call, in),
                          shown(call, out));
    return one(call, out);
}

// The type of a convolution of x with w; false after a refusal.
static bool conv_type(const RuleCall *call, Type x, Type w, Type *out)
{
    if (!spatial_ok(call, call->attr))
        return false;
    Spatial s = spatial_of(call->attr);
    int64_t groups = call->attr[4].whole;
    if ((x.dtype != w.dtype && !mixes_integers(x, w)) || kind_of(x) == KIND_BOOL)
        return refuse(call, "two tensors of one number type are needed, got %s and %s",
                      shown(call, x), shown(call, w)),
               false;
    if (x.rank != s.rank + 2 || w.rank != s.rank + 2)
        return refuse(
                   call,
                   "an input [n, channels, %d spatial axes] and weights [out, channels / groups, "
                   "kernel] are needed, got %s and %s",
                   s.rank, shown(call, x), shown(call, w)),
               false;
    if (groups < 1 || x.dim[1] % groups || w.dim[0] % groups)
        return refuse(call, "%lld channels to %lld cannot be divided into %lld groups",
                      (long long)x.dim[1], (long long)w.dim[0], (long long)groups),
               false;
    if (x.dim[1] / groups != w.dim[1])
        return refuse(call, "%lld channels in %lld groups do not fit weights %s",
                      (long long)x.dim[1], (long long)groups, shown(call, w)),
               false;
    DType sum = mixes_integers(x, w) ? DTYPE_I32 : x.dtype;
    *out = (Type){.dtype = sum, .rank = x.rank, .dim = {x.dim[0], w.dim[0]}};
    return positions(call, s, x.dim + 2, w.dim + 2, out->dim + 2);
}

// The second axis goes to the end (`last`), or comes back from there.
static Type channels_moved(Type type, bool last)
{
    int64_t channels = type.dim[last ? 1 : type.rank - 1];
    size_t bytes = sizeof(int64_t) * (size_t)(type.rank - 2);
    memmove(type.dim + (last ? 1 : 2), type.dim + (last ? 2 : 1), bytes);
    type.dim[last ? type.rank - 1 : 1] = channels;
    return type;
}

static int rule_conv(const RuleCall *call)
{
    Type x = in_type(call, 0), out;
    int64_t last = call->attr[5].whole;
    if (last < 0 || last > 2)
        return refuse(call, "'last' is 0, 1 or 2, got %lld", (long long)last);
    if (last == 2 && x.rank >= 3)
        x = channels_moved(x, false);
    if (!conv_type(call, x, in_type(call, 1), &out))
        return -1;
    return one(call, last ? channels_moved(out, true) : out);
}

static int rule_conv_input(const RuleCall *call)
{
    Type x = call->given, out;
    x.dtype = in_type(call, 1).dtype;
    if (!type_valid(x))
        return one(call, x);
    if (!conv_type(call, x, in_type(call, 1), &out))
        return -1;
    if (!type_equal(out, in_type(call, 0)))
        return refuse(call, "the convolution of %s gives %s, got %s", shown(call, x),
                      shown(call, out), shown(call, in_type(call, 0)));
    return one(call, x);
}

static int rule_conv_weight(const RuleCall *call)
{
    Type w = call->given, x = in_type(call, 0), out;
    int64_t split = call->attr[5].whole;
    // Operands of 16 bits may be summed to f32, which is what they are added up in anyway.
    bool wide = w.dtype == DTYPE_F32 && (x.dtype == DTYPE_BF16 || x.dtype == DTYPE_F16);
    if (!wide)
        w.dtype = x.dtype;
    if (!type_valid(w))
        return one(call, w);
    if (split < 0 || split > x.dim[0] || (split > 0 && (x.dim[0] % split || w.rank < 2)))
        return refuse(call, "%lld images cannot be split into %lld", (long long)x.dim[0],
                      (long long)split);
    Type whole = w;
    if (split > 0) {
        whole.rank--;
        for (int i = 0; i < whole.rank; i++)
            whole.dim[i] = w.dim[i + 1];
        if (w.dim[0] != split)
            return refuse(call, "the first axis of %s is not %lld", shown(call, w),
                          (long long)split);
    }
    whole.dtype = x.dtype;
    if (!conv_type(call, x, whole, &out))
        return -1;
    if (!type_equal(out, in_type(call, 1)))
        return refuse(call, "the convolution of %s gives %s, got %s", shown(call, x),
                      shown(call, out), shown(call, in_type(call, 1)));
    return one(call, w);
}

// ---- attention ---------------------------------------------------------------------------------

// The sizes fit together, the operands behind the first `floats` are a mask or nothing.
static bool attend_ok(const RuleCall *call, int floats)
{
    if (call->inputs != floats && call->inputs != floats + 1)
        return refuse(call, "%d operands are needed, and perhaps a mask, got %d", floats,
                      call->inputs),
               false;
    Type q = in_type(call, 0), k = in_type(call, 1), v = in_type(call, 2);
    bool half = q.dtype == DTYPE_BF16 || q.dtype == DTYPE_F16;
    if ((q.dtype != DTYPE_F32 && !half) || k.dtype != q.dtype || v.dtype != q.dtype ||
        q.rank != 4 || k.rank != 4 || v.rank != 4)
        return refuse(call,
                      "three tensors of rank 4, f32 or of 16 bits, are needed, got %s, %s, %s",
                      shown(call, q), shown(call, k), shown(call, v)),
               false;
    if (k.dim[0] != q.dim[0] || v.dim[0] != q.dim[0] || k.dim[3] != q.dim[3] ||
        v.dim[1] != k.dim[1] || v.dim[2] != k.dim[2] || q.dim[2] % k.dim[2])
        return refuse(call, "queries %s, keys %s and values %s do not fit", shown(call, q),
                      shown(call, k), shown(call, v)),
               false;
    if (call->attr[1].whole < 0 || call->attr[1].whole > 1 ||
        (call->attr[1].whole && k.dim[1] < q.dim[1]))
        return refuse(call, "causal is 0, or 1 with at least as many keys as queries"), false;
    if (call->inputs == floats)
        return true;
    Type mask = in_type(call, floats);
    int64_t size[] = {q.dim[0], q.dim[2], q.dim[1], k.dim[1]};
    if (mask.rank == 3)
        size[1] = q.dim[0];
    Type wanted = type_make(DTYPE_BOOL, mask.rank, size + 4 - mask.rank);
    if (mask.rank < 2 || mask.rank > 4 || !type_equal(mask, wanted))
        return refuse(call, "a mask %s does not fit", shown(call, mask)), false;
    return true;
}

static Type attend_statistics(const RuleCall *call)
{
    Type q = in_type(call, 0);
    return (Type){.dtype = DTYPE_F32, .rank = 3, .dim = {q.dim[0], q.dim[2], q.dim[1]}};
}

static int rule_attend(const RuleCall *call)
{
    if (!attend_ok(call, 3) || call->room < 2)
        return -1;
    call->out[0] = in_type(call, 0);
    call->out[0].dtype = DTYPE_F32;
    call->out[0].dim[3] = in_type(call, 2).dim[3];
    call->out[1] = attend_statistics(call);
    return 2;
}

static int rule_attend_cached(const RuleCall *call)
{
    Type q = in_type(call, 0), k = in_type(call, 1), v = in_type(call, 2);
    bool held = k.dtype == DTYPE_F32 || k.dtype == DTYPE_BF16 || k.dtype == DTYPE_F16;
    if (q.dtype != DTYPE_F32 || !held || v.dtype != k.dtype || q.rank != 4 || k.rank != 4 ||
        v.rank != 4 || !type_equal(in_type(call, 3), type_scalar(DTYPE_I64)))
        return refuse(call,
                      "f32 queries, keys and values, f32 or of 16 bits, all of rank 4, and a "
                      "position i64[] are needed, got %s, %s, %s",
                      shown(call, q), shown(call, k), shown(call, v));
    if (k.dim[0] != q.dim[0] || v.dim[0] != q.dim[0] || k.dim[3] != q.dim[3] ||
        v.dim[1] != k.dim[1] || v.dim[2] != k.dim[2] || q.dim[2] % k.dim[2])
        return refuse(call, "queries %s, keys %s and values %s do not fit", shown(call, q),
                      shown(call, k), shown(call, v));
    q.dim[3] = v.dim[3];
    return one(call, q);
}

static int rule_attend_back(const RuleCall *call)
{
    if (!attend_ok(call, 6) || call->room < 3)
        return -1;
    Type sums = attend_statistics(call), dy = in_type(call, 0);
    dy.dim[3] = in_type(call, 2).dim[3];
    if (!type_equal(in_type(call, 3), sums) || !type_equal(in_type(call, 4), sums) ||
        !type_equal(in_type(call, 5), dy))
        return refuse(call, "%s twice and %s are needed, got %s, %s and %s", shown(call, sums),
                      shown(call, dy), shown(call, in_type(call, 3)), shown(call, in_type(call, 4)),
                      shown(call, in_type(call, 5)));
    for (int i = 0; i < 3; i++) {
        call->out[i] = in_type(call, i);
        call->out[i].dtype = DTYPE_F32;
    }
    return 3;
}

// ---- structure ---------------------------------------------------------------------------------

static int fill_results(const RuleCall *call, const IrFunction *fn)
{
    if (fn->result.count < 1 || fn->result.count > call->room)
        return refuse(call, "the function has %d results", fn->result.count);
    for (int i = 0; i < fn->result.count; i++)
        call->out[i] = fn->result.at[i].value->type;
    return fn->result.count;
}

static int rule_callee(const RuleCall *call)
{
    const IrFunction *fn = call->attr[0].function;
    if (!fn)
        return refuse(call, "there is no function");
    if (fn->param.count != call->inputs)
        return refuse(call, "the function takes %d values, got %d", fn->param.count, call->inputs);
    for (int i = 0; i < call->inputs; i++)
        if (!type_equal(fn->param.at[i]->type, in_type(call, i)))
            return refuse(call, "value %d of the function is %s, got %s", i,
                          shown(call, fn->param.at[i]->type), shown(call, in_type(call, i)));
    return fill_results(call, fn);
}

static int rule_body(const RuleCall *call)
{
    return rule_callee(call);
}

static int rule_loop(const RuleCall *call)
{
    int64_t count = call->attr[0].whole, carried = call->attr[1].whole,
            sliced = call->attr[2].whole;
    const IrFunction *body = call->attr[3].function;
    if (!body)
        return refuse(call, "there is no body");
    if (count < 1)
        return refuse(call, "the number of turns is at least 1, got %lld", (long long)count);
    if (carried < 0 || sliced < 0 || carried > call->inputs || sliced > call->inputs - carried)
        return refuse(call, "%lld carried and %lld sliced values do not fit %d inputs",
                      (long long)carried, (long long)sliced, call->inputs);
    if (body->param.count != call->inputs + 1 ||
        !type_equal(body->param.at[0]->type, type_scalar(DTYPE_I64)))
        return refuse(call, "the body takes the turn as i64[] and then %d values", call->inputs);
    int64_t reverse = call->attr[4].whole, guard = call->attr[5].whole;
    if (reverse < 0 || reverse > 1)
        return refuse(call, "reverse is 0 or 1, got %lld", (long long)reverse);
    if (guard < 0 || guard > call->inputs ||
        (guard && !type_equal(body->param.at[guard]->type, type_scalar(DTYPE_BOOL))))
        return refuse(call, "the guard is a bool[] among the values of the body, got %lld",
                      (long long)guard);
    for (int i = 0; i < call->inputs; i++) {
        Type in = in_type(call, i), inside = body->param.at[i + 1]->type;
        if (i >= carried && i < carried + sliced) {
            if (in.rank < 1 || in.dim[0] != count)
                return refuse(call, "value %d is cut into %lld slices, got %s", i, (long long)count,
                              shown(call, in));
            Type cut = {.dtype = in.dtype, .rank = in.rank - 1};
            for (int axis = 1; axis < in.rank; axis++)
                cut.dim[axis - 1] = in.dim[axis];
            in = cut;
        }
        if (!type_equal(in, inside))
            return refuse(call, "value %d of the body is %s, got %s", i, shown(call, inside),
                          shown(call, in));
    }
    if (body->result.count < 1 || body->result.count < carried || body->result.count > call->room)
        return refuse(call, "the body has %d results and %lld carried values", body->result.count,
                      (long long)carried);
    for (int i = 0; i < body->result.count; i++) {
        Type type = body->result.at[i].value->type;
        if (i < carried) {
            if (!type_equal(type, in_type(call, i)))
                return refuse(call, "carried value %d begins as %s and is %s after a turn", i,
                              shown(call, in_type(call, i)), shown(call, type));
        } else {
            if (type.rank == IR_MAX_RANK)
                return refuse(call, "stacking %s gives a rank above %d", shown(call, type),
                              IR_MAX_RANK);
            Type stacked = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {count}};
            for (int axis = 0; axis < type.rank; axis++)
                stacked.dim[axis + 1] = type.dim[axis];
            type = stacked;
            if (!type_valid(type))
                return one(call, type);
        }
        call->out[i] = type;
    }
    return body->result.count;
}

static int rule_get(const RuleCall *call)
{
    const Inst *multi = call->in[0];
    int64_t index = call->attr[0].whole;
    if (!op_has(multi->op, MULTI) || multi->results == 1)
        return refuse(call, "the input has one result and is read directly");
    if (index < 0 || index >= multi->results)
        return refuse(call, "there is no result %lld of %d", (long long)index, multi->results);
    return one(call, multi->result_type[index]);
}

static Rule *const rule_of[OP_COUNT] = {
#define OP(name, inputs, attributes, rule, traits, meaning) [OP_##name] = rule_##rule,
#include "ops.def"
#undef OP
};

int op_result_types(Arena *arena, Op op, Inst *const in[], int inputs, const Attr attr[],
                    Type given, Type out[], int room, const char **why)
{
    RuleCall call = {arena, op, in, inputs, attr, given, out, room, why};
    if (op_info[op].inputs >= 0 && op_info[op].inputs != inputs)
        return refuse(&call, "%d operands are needed, got %d", op_info[op].inputs, inputs);
    for (int i = 0; i < inputs; i++)
        if (in[i]->results != 1 && op != OP_get)
            return refuse(&call, "operand %d has several results: one of them has to be chosen", i);
    return rule_of[op](&call);
}
