// moving.c: ops that put elements elsewhere.

#include <string.h>

#include "kernel.h"

void ref_broadcast(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    IntList axes = call->attr[0].list;
    int64_t stride[IR_MAX_RANK], index[IR_MAX_RANK];
    shape_strides(in, stride);
    for (int64_t i = 0; i < type_elements(out); i++) {
        int64_t from = 0;
        shape_index(out, i, index);
        for (int axis = 0; axis < in.rank; axis++)
            if (in.dim[axis] != 1)
                from += index[axes.at[axis]] * stride[axis];
        element_copy(out.dtype, call->out[0], i, call->in[0], from);
    }
}

void ref_reshape(const RefCall *call)
{
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(call->out_type[0]));
}

void ref_stop_gradient(const RefCall *call)
{
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(call->out_type[0]));
}

// One of several results: the caller put it into in[0].
void ref_get(const RefCall *call)
{
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(call->out_type[0]));
}

void ref_transpose(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    int64_t stride[IR_MAX_RANK], index[IR_MAX_RANK];
    shape_strides(in, stride);
    for (int64_t i = 0; i < type_elements(out); i++) {
        int64_t from = 0;
        shape_index(out, i, index);
        for (int axis = 0; axis < out.rank; axis++)
            from += index[axis] * stride[call->attr[0].list.at[axis]];
        element_copy(out.dtype, call->out[0], i, call->in[0], from);
    }
}

void ref_slice(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    int64_t stride[IR_MAX_RANK], index[IR_MAX_RANK];
    shape_strides(in, stride);
    for (int64_t i = 0; i < type_elements(out); i++) {
        int64_t from = 0;
        shape_index(out, i, index);
        for (int axis = 0; axis < out.rank; axis++)
            from += (call->attr[0].list.at[axis] + index[axis] * call->attr[2].list.at[axis]) *
                    stride[axis];
        element_copy(out.dtype, call->out[0], i, call->in[0], from);
    }
}

void ref_pad(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    int64_t stride[IR_MAX_RANK], index[IR_MAX_RANK];
    shape_strides(in, stride);
    for (int64_t i = 0; i < type_elements(out); i++) {
        int64_t from = 0;
        bool inside = true;
        shape_index(out, i, index);
        for (int axis = 0; axis < out.rank; axis++) {
            int64_t at = index[axis] - call->attr[0].list.at[axis];
            inside = inside && at >= 0 && at < in.dim[axis];
            from += at * stride[axis];
        }
        element_copy(out.dtype, call->out[0], i, call->in[inside ? 0 : 1], inside ? from : 0);
    }
}

void ref_concat(const RefCall *call)
{
    Type out = call->out_type[0];
    int64_t axis = call->attr[0].whole, stride[IR_MAX_RANK], index[IR_MAX_RANK], begin = 0;
    shape_strides(out, stride);
    for (int k = 0; k < call->inputs; k++) {
        Type in = call->in_type[k];
        for (int64_t i = 0; i < type_elements(in); i++) {
            int64_t to = begin * stride[axis];
            shape_index(in, i, index);
            for (int a = 0; a < in.rank; a++)
                to += index[a] * stride[a];
            element_copy(out.dtype, call->out[0], to, call->in[k], i);
        }
        begin += in.dim[axis];
    }
}

// gather's result and scatter_add's third operand are indexed by a's axes before `axis`, then the
// axes of the row numbers, then a's axes after it. Finds the element of a for place `index`; *row
// is the row number as given.
static int64_t row_place(Type a, Type rows, const void *row_numbers, int64_t axis,
                         const int64_t index[], int64_t *row)
{
    int64_t stride[IR_MAX_RANK], row_stride[IR_MAX_RANK], from = 0, place = 0;
    shape_strides(a, stride);
    shape_strides(rows, row_stride);
    for (int k = 0; k < rows.rank; k++)
        place += index[axis + k] * row_stride[k];
    *row = element_whole(rows.dtype, row_numbers, place);
    int64_t clamped = *row < 0 ? 0 : *row >= a.dim[axis] ? a.dim[axis] - 1 : *row;
    for (int k = 0; k < a.rank; k++)
        from += stride[k] * (k < axis ? index[k] : k == axis ? clamped : index[k - 1 + rows.rank]);
    return from;
}

void ref_gather(const RefCall *call)
{
    Type out = call->out_type[0];
    int64_t index[IR_MAX_RANK], row;
    for (int64_t i = 0; i < type_elements(out); i++) {
        shape_index(out, i, index);
        int64_t from = row_place(call->in_type[0], call->in_type[1], call->in[1],
                                 call->attr[0].whole, index, &row);
        element_copy(out.dtype, call->out[0], i, call->in[0], from);
    }
}

// Each addition is rounded to the element type, in index order: this is the op's definition.
void ref_scatter_add(const RefCall *call)
{
    Type a = call->in_type[0], added = call->in_type[2];
    int64_t index[IR_MAX_RANK], row, axis = call->attr[0].whole;
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(a));
    for (int64_t i = 0; i < type_elements(added); i++) {
        shape_index(added, i, index);
        int64_t to = row_place(a, call->in_type[1], call->in[1], axis, index, &row);
        if (row < 0 || row >= a.dim[axis])
            continue;
        if (dtype_info[a.dtype].kind == KIND_FLOAT)
            element_set_real(a.dtype, call->out[0], to,
                             element_real(a.dtype, call->out[0], to) +
                                 element_real(a.dtype, call->in[2], i));
        else
            element_set_whole(a.dtype, call->out[0], to,
                              (int64_t)((uint64_t)element_whole(a.dtype, call->out[0], to) +
                                        (uint64_t)element_whole(a.dtype, call->in[2], i)));
    }
}

// The element of `a` that place `element` of the positions means; *row is the position as given.
static int64_t along_place(const RefCall *call, int64_t element, int64_t *row)
{
    Type a = call->in_type[0], rows = call->in_type[1];
    int64_t axis = call->attr[0].whole, stride[IR_MAX_RANK], index[IR_MAX_RANK], place = 0;
    shape_strides(a, stride);
    shape_index(rows, element, index);
    *row = element_whole(rows.dtype, call->in[1], element);
    index[axis] = *row < 0 ? 0 : *row >= a.dim[axis] ? a.dim[axis] - 1 : *row;
    for (int k = 0; k < a.rank; k++)
        place += index[k] * stride[k];
    return place;
}

void ref_take_along(const RefCall *call)
{
    int64_t row;
    for (int64_t i = 0; i < type_elements(call->out_type[0]); i++)
        element_copy(call->out_type[0].dtype, call->out[0], i, call->in[0],
                     along_place(call, i, &row));
}

void ref_add_along(const RefCall *call)
{
    Type a = call->in_type[0];
    int64_t row;
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(a));
    for (int64_t i = 0; i < type_elements(call->in_type[2]); i++) {
        int64_t to = along_place(call, i, &row);
        if (row < 0 || row >= a.dim[call->attr[0].whole])
            continue;
        if (dtype_info[a.dtype].kind == KIND_FLOAT)
            element_set_real(a.dtype, call->out[0], to,
                             element_real(a.dtype, call->out[0], to) +
                                 element_real(a.dtype, call->in[2], i));
        else
            element_set_whole(a.dtype, call->out[0], to,
                              (int64_t)((uint64_t)element_whole(a.dtype, call->out[0], to) +
                                        (uint64_t)element_whole(a.dtype, call->in[2], i)));
    }
}
