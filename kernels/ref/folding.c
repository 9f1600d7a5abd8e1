// folding.c: reductions and contractions, accumulated in f64 (floats) or modulo 2^64 (integers),
// rounded once at the end.

#include <math.h>

#include "kernel.h"

static bool list_has(IntList list, int64_t value)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == value)
            return true;
    return false;
}

// The axes of `type` in `axes` (or those not in it), as a type of their own, and their strides in
// `type`.
static Type sub_shape(Type type, IntList axes, bool in_axes, int64_t stride[])
{
    Type sub = {.dtype = type.dtype};
    int64_t all[IR_MAX_RANK];
    shape_strides(type, all);
    for (int axis = 0; axis < type.rank; axis++)
        if (list_has(axes, axis) == in_axes) {
            stride[sub.rank] = all[axis];
            sub.dim[sub.rank++] = type.dim[axis];
        }
    return sub;
}

// The same in the order of `axes`.
static Type picked_shape(Type type, IntList axes, int64_t stride[])
{
    Type sub = {.dtype = type.dtype, .rank = axes.count};
    int64_t all[IR_MAX_RANK];
    shape_strides(type, all);
    for (int i = 0; i < axes.count; i++) {
        stride[i] = all[axes.at[i]];
        sub.dim[i] = type.dim[axes.at[i]];
    }
    return sub;
}

static int64_t offset_of(Type sub, const int64_t stride[], int64_t element)
{
    int64_t index[IR_MAX_RANK], offset = 0;
    shape_index(sub, element, index);
    for (int axis = 0; axis < sub.rank; axis++)
        offset += index[axis] * stride[axis];
    return offset;
}

static double fold_real(Reducer with, double sum, double a)
{
    switch (with) {
    case REDUCE_SUM:
        return sum + a;
    case REDUCE_PROD:
        return sum * a;
    case REDUCE_MAX:
        return isnan(sum) ? sum : isnan(a) || a > sum || (a == sum && signbit(sum)) ? a : sum;
    case REDUCE_MIN:
        return isnan(sum) ? sum : isnan(a) || a < sum || (a == sum && signbit(a)) ? a : sum;
    case REDUCE_ANY:
    case REDUCE_ALL:
    case REDUCER_COUNT:
        break;
    }
    return sum;
}

static int64_t fold_whole(Reducer with, int64_t sum, int64_t a)
{
    switch (with) {
    case REDUCE_SUM:
        return (int64_t)((uint64_t)sum + (uint64_t)a);
    case REDUCE_PROD:
        return (int64_t)((uint64_t)sum * (uint64_t)a);
    case REDUCE_MAX:
        return a > sum ? a : sum;
    case REDUCE_MIN:
        return a < sum ? a : sum;
    case REDUCE_ANY:
        return sum || a;
    case REDUCE_ALL:
        return sum && a;
    case REDUCER_COUNT:
        break;
    }
    return sum;
}

void ref_reduce(const RefCall *call)
{
    Type in = call->in_type[0];
    Reducer with = call->attr[0].reducer;
    int64_t kept_stride[IR_MAX_RANK], folded_stride[IR_MAX_RANK];
    Type kept = sub_shape(in, call->attr[1].list, false, kept_stride);
    Type folded = sub_shape(in, call->attr[1].list, true, folded_stride);
    for (int64_t i = 0; i < type_elements(kept); i++) {
        int64_t base = offset_of(kept, kept_stride, i);
        if (dtype_info[in.dtype].kind == KIND_FLOAT) {
            double sum = element_real(in.dtype, call->in[0], base);
            for (int64_t k = 1; k < type_elements(folded); k++)
                sum = fold_real(with, sum,
                                element_real(in.dtype, call->in[0],
                                             base + offset_of(folded, folded_stride, k)));
            element_set_real(in.dtype, call->out[0], i, sum);
        } else {
            int64_t sum = element_whole(in.dtype, call->in[0], base);
            for (int64_t k = 1; k < type_elements(folded); k++)
                sum = fold_whole(with, sum,
                                 element_whole(in.dtype, call->in[0],
                                               base + offset_of(folded, folded_stride, k)));
            element_set_whole(in.dtype, call->out[0], i, sum);
        }
    }
}

void ref_argmax(const RefCall *call)
{
    Type in = call->in_type[0];
    int64_t axis = call->attr[0].whole, kept_stride[IR_MAX_RANK], stride[IR_MAX_RANK];
    IntList axes = {1, {axis}};
    Type kept = sub_shape(in, axes, false, kept_stride);
    sub_shape(in, axes, true, stride);
    for (int64_t i = 0; i < type_elements(kept); i++) {
        int64_t base = offset_of(kept, kept_stride, i), best = 0;
        for (int64_t k = 1; k < in.dim[axis]; k++) {
            int64_t here = base + k * stride[0], there = base + best * stride[0];
            if (dtype_info[in.dtype].kind == KIND_FLOAT) {
                double a = element_real(in.dtype, call->in[0], here),
                       top = element_real(in.dtype, call->in[0], there);
                if (!isnan(top) && (isnan(a) || a > top))
                    best = k;
            } else if (element_whole(in.dtype, call->in[0], here) >
                       element_whole(in.dtype, call->in[0], there)) {
                best = k;
            }
        }
        element_set_whole(DTYPE_I32, call->out[0], i, best);
    }
}

// Each partial fold is rounded where it is written, not on the way.
void ref_cumulate(const RefCall *call)
{
    Type in = call->in_type[0];
    Reducer with = call->attr[0].reducer;
    int64_t axis = call->attr[1].whole, kept_stride[IR_MAX_RANK], stride[IR_MAX_RANK];
    int64_t extent = in.dim[axis];
    IntList axes = {1, {axis}};
    Type kept = sub_shape(in, axes, false, kept_stride);
    sub_shape(in, axes, true, stride);
    for (int64_t i = 0; i < type_elements(kept); i++) {
        double real = 0;
        int64_t whole = 0, base = offset_of(kept, kept_stride, i);
        for (int64_t k = 0; k < extent; k++) {
            int64_t at = base + (call->attr[2].whole ? extent - 1 - k : k) * stride[0];
            if (dtype_info[in.dtype].kind == KIND_FLOAT) {
                double a = element_real(in.dtype, call->in[0], at);
                real = k ? fold_real(with, real, a) : a;
                element_set_real(in.dtype, call->out[0], at, real);
            } else {
                int64_t a = element_whole(in.dtype, call->in[0], at);
                whole = k ? fold_whole(with, whole, a) : a;
                element_set_whole(in.dtype, call->out[0], at, whole);
            }
        }
    }
}

// Whether element a comes before element b for certain: false for equals.
static bool ordered(Type type, const void *base, int64_t a, int64_t b, bool descending)
{
    if (dtype_info[type.dtype].kind == KIND_FLOAT) {
        double left = element_real(type.dtype, base, a), right = element_real(type.dtype, base, b);
        if (isnan(left) || isnan(right))
            return !isnan(left);
        return descending ? left > right : left < right;
    }
    int64_t left = element_whole(type.dtype, base, a), right = element_whole(type.dtype, base, b);
    return descending ? left > right : left < right;
}

void ref_argsort(const RefCall *call)
{
    Type in = call->in_type[0];
    int64_t extent = in.dim[in.rank - 1];
    int32_t *out = call->out[0];
    for (int64_t base = 0; base < type_elements(in); base += extent)
        for (int64_t i = 0; i < extent; i++) { // by insertion
            int64_t place = i;
            for (; place > 0 && ordered(in, call->in[0], base + i, base + out[base + place - 1],
                                        call->attr[0].whole != 0);
                 place--)
                out[base + place] = out[base + place - 1];
            out[base + place] = (int32_t)i;
        }
}

static IntList joined(IntList a, IntList b)
{
    for (int i = 0; i < b.count; i++)
        a.at[a.count++] = b.at[i];
    return a;
}

// The step from one element of these axes to the next, if there is one for all; else 0.
static int64_t even_step(Type type, const int64_t stride[])
{
    for (int i = 0; i + 1 < type.rank; i++)
        if (stride[i] != stride[i + 1] * type.dim[i + 1])
            return 0;
    return type.rank > 0 ? stride[type.rank - 1] : 0;
}

void ref_dot(const RefCall *call)
{
    Type a = call->in_type[0], b = call->in_type[1];
    IntList contract_a = call->attr[0].list, contract_b = call->attr[1].list;
    IntList batch_a = call->attr[2].list, batch_b = call->attr[3].list;
    int64_t batch_stride_a[IR_MAX_RANK], batch_stride_b[IR_MAX_RANK];
    int64_t depth_stride_a[IR_MAX_RANK], depth_stride_b[IR_MAX_RANK];
    int64_t rest_stride_a[IR_MAX_RANK], rest_stride_b[IR_MAX_RANK];
    Type batch = picked_shape(a, batch_a, batch_stride_a),
         depth = picked_shape(a, contract_a, depth_stride_a);
    picked_shape(b, batch_b, batch_stride_b);
    picked_shape(b, contract_b, depth_stride_b);
    Type rest_a = sub_shape(a, joined(contract_a, batch_a), false, rest_stride_a);
    Type rest_b = sub_shape(b, joined(contract_b, batch_b), false, rest_stride_b);
    bool real = dtype_info[a.dtype].kind == KIND_FLOAT;
    int64_t step_a = even_step(depth, depth_stride_a), step_b = even_step(depth, depth_stride_b);
    int64_t out = 0, elements = type_elements(depth);
    for (int64_t n = 0; n < type_elements(batch); n++)
        for (int64_t i = 0; i < type_elements(rest_a); i++)
            for (int64_t j = 0; j < type_elements(rest_b); j++, out++) {
                int64_t at_a =
                    offset_of(batch, batch_stride_a, n) + offset_of(rest_a, rest_stride_a, i);
                int64_t at_b =
                    offset_of(batch, batch_stride_b, n) + offset_of(rest_b, rest_stride_b, j);
                double sum = 0;
                uint64_t whole = 0;
                for (int64_t k = 0; k < elements; k++) {
                    int64_t place_a =
                        at_a + (step_a ? k * step_a : offset_of(depth, depth_stride_a, k));
                    int64_t place_b =
                        at_b + (step_b ? k * step_b : offset_of(depth, depth_stride_b, k));
                    if (real)
                        sum += element_real(a.dtype, call->in[0], place_a) *
                               element_real(b.dtype, call->in[1], place_b);
                    else
                        whole += (uint64_t)element_whole(a.dtype, call->in[0], place_a) *
                                 (uint64_t)element_whole(b.dtype, call->in[1], place_b);
                }
                if (real)
                    element_set_real(a.dtype, call->out[0], out, sum);
                else
                    element_set_whole(call->out_type[0].dtype, call->out[0], out, (int64_t)whole);
            }
}
