// shape.c: sizes of tensors and places of elements.

#include "kernel.h"

int64_t type_elements(Type type)
{
    int64_t count = 1;
    for (int axis = 0; axis < type.rank; axis++)
        count *= type.dim[axis];
    return count;
}

int64_t type_bytes(Type type)
{
    return type_elements(type) * dtype_info[type.dtype].bytes;
}

void shape_strides(Type type, int64_t stride[])
{
    int64_t step = 1;
    for (int axis = type.rank - 1; axis >= 0; axis--) {
        stride[axis] = step;
        step *= type.dim[axis];
    }
}

void shape_index(Type type, int64_t element, int64_t index[])
{
    for (int axis = type.rank - 1; axis >= 0; axis--) {
        index[axis] = element % type.dim[axis];
        element /= type.dim[axis];
    }
}
