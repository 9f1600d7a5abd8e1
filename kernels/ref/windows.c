// windows.c: windows and convolutions, by their definition: position o and place k meet the input
// at o * stride + k * dilation - low. Sums are made in f64 (floats) or modulo 2^64 (integers).

#include "kernel.h"

// The offset in `size` (row-major) of where position o and place k meet; -1 outside of it.
static int64_t meeting(const Attr attr[], const int64_t size[], const int64_t o[],
                       const int64_t k[])
{
    int64_t offset = 0;
    for (int i = 0; i < attr[0].list.count; i++) {
        int64_t at = o[i] * attr[0].list.at[i] + k[i] * attr[3].list.at[i] - attr[1].list.at[i];
        if (at < 0 || at >= size[i])
            return -1;
        offset = offset * size[i] + at;
    }
    return offset;
}

static int64_t product(const int64_t dim[], int count)
{
    int64_t all = 1;
    for (int i = 0; i < count; i++)
        all *= dim[i];
    return all;
}

void ref_window(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    int spatial = call->attr[0].list.count, rest = in.rank - spatial;
    int64_t plane = product(in.dim + rest, spatial), index[IR_MAX_RANK];
    for (int64_t i = 0; i < type_elements(out); i++) {
        shape_index(out, i, index);
        int64_t from = meeting(call->attr + 1, in.dim + rest, index + spatial + rest, index),
                lead = 0;
        for (int axis = 0; axis < rest; axis++)
            lead = lead * in.dim[axis] + index[spatial + axis];
        if (from < 0)
            element_copy(out.dtype, call->out[0], i, call->in[1], 0);
        else
            element_copy(out.dtype, call->out[0], i, call->in[0], lead * plane + from);
    }
}

static void set_zeros(Type type, void *at)
{
    for (int64_t i = 0; i < type_elements(type); i++)
        element_set_whole(type.dtype, at, i, 0);
}

void ref_unwindow(const RefCall *call)
{
    Type in = call->in_type[0], out = call->out_type[0];
    int spatial = call->attr[0].list.count, rest = in.rank - spatial;
    int64_t plane = product(out.dim + rest, spatial), index[IR_MAX_RANK];
    set_zeros(out, call->out[0]);
    for (int64_t i = 0; i < type_elements(in); i++) {
        shape_index(in, i, index);
        int64_t to = meeting(call->attr, out.dim + rest, index + rest, index), lead = 0;
        for (int axis = 0; axis < rest; axis++)
            lead = lead * in.dim[axis] + index[axis];
        if (to >= 0)
            element_copy(out.dtype, call->out[0], lead * plane + to, call->in[0], i);
    }
}

// One convolution: x [n, c, size], w [out, c / groups, kernel], y [n, out, positions].
typedef struct Conv {
    const RefCall *call;
    Type x, w, y;
    int spatial;
    int64_t x_plane, w_plane, y_plane, from_group, to_group;
} Conv;

static Conv conv_of(const RefCall *call, Type x, Type w, Type y)
{
    Conv c = {.call = call, .x = x, .w = w, .y = y, .spatial = x.rank - 2};
    c.x_plane = product(x.dim + 2, c.spatial);
    c.w_plane = product(w.dim + 2, c.spatial);
    c.y_plane = product(y.dim + 2, c.spatial);
    c.from_group = w.dim[1];
    c.to_group = w.dim[0] / call->attr[4].whole;
    return c;
}

static Type spatial_of(Type type)
{
    Type out = {.dtype = type.dtype, .rank = type.rank - 2};
    for (int i = 0; i < out.rank; i++)
        out.dim[i] = type.dim[i + 2];
    return out;
}

// Where position o meets x at place k, -1: outside.
static int64_t meets(const Conv *c, int64_t o, int64_t k)
{
    int64_t position[IR_MAX_RANK], place[IR_MAX_RANK];
    shape_index(spatial_of(c->y), o, position);
    shape_index(spatial_of(c->w), k, place);
    return meeting(c->call->attr, c->x.dim + 2, position, place);
}

typedef struct Sum {
    double real;
    uint64_t whole;
} Sum;

static void add_product(Sum *sum, DType of_a, const void *a, int64_t i, DType of_b, const void *b,
                        int64_t k)
{
    if (dtype_info[of_a].kind == KIND_FLOAT)
        sum->real += element_real(of_a, a, i) * element_real(of_b, b, k);
    else
        sum->whole += (uint64_t)element_whole(of_a, a, i) * (uint64_t)element_whole(of_b, b, k);
}

static void store_sum(DType dtype, void *out, int64_t at, Sum sum)
{
    if (dtype_info[dtype].kind == KIND_FLOAT)
        element_set_real(dtype, out, at, sum.real);
    else
        element_set_whole(dtype, out, at, (int64_t)sum.whole);
}

// Of a tensor whose channels are last: as if they were the second axis.
static Type channels_second(Type type)
{
    int64_t channels = type.dim[type.rank - 1];
    for (int i = type.rank - 1; i > 1; i--)
        type.dim[i] = type.dim[i - 1];
    type.dim[1] = channels;
    return type;
}

// Where an element is in memory: of channel `channel` of image n, at a position of `plane`.
static int64_t element_at(Type type, int64_t plane, bool last, int64_t n, int64_t channel,
                          int64_t position)
{
    int64_t channels = type.dim[1];
    return last ? (n * plane + position) * channels + channel
                : (n * channels + channel) * plane + position;
}

void ref_conv(const RefCall *call)
{
    int64_t last = call->attr[5].whole;
    Type x = call->in_type[0], y = call->out_type[0];
    Conv c = conv_of(call, last == 2 ? channels_second(x) : x, call->in_type[1],
                     last ? channels_second(y) : y);
    for (int64_t n = 0; n < c.y.dim[0]; n++)
        for (int64_t to = 0; to < c.y.dim[1]; to++)
            for (int64_t o = 0; o < c.y_plane; o++) {
                Sum sum = {0};
                for (int64_t from = 0; from < c.from_group; from++)
                    for (int64_t k = 0; k < c.w_plane; k++) {
                        int64_t at = meets(&c, o, k),
                                channel = to / c.to_group * c.from_group + from;
                        if (at >= 0)
                            add_product(&sum, c.x.dtype, call->in[0],
                                        element_at(c.x, c.x_plane, last == 2, n, channel, at),
                                        c.w.dtype, call->in[1],
                                        (to * c.from_group + from) * c.w_plane + k);
                    }
                store_sum(c.y.dtype, call->out[0], element_at(c.y, c.y_plane, last, n, to, o), sum);
            }
}

// The position that meets `at` of x at place k, -1: none.
static int64_t met_by(const Conv *c, int64_t at, int64_t k)
{
    const Attr *attr = c->call->attr;
    int64_t index[IR_MAX_RANK], place[IR_MAX_RANK], position = 0;
    shape_index(spatial_of(c->x), at, index);
    shape_index(spatial_of(c->w), k, place);
    for (int i = 0; i < c->spatial; i++) {
        int64_t apart = index[i] + attr[1].list.at[i] - place[i] * attr[3].list.at[i];
        if (apart < 0 || apart % attr[0].list.at[i] != 0 ||
            apart / attr[0].list.at[i] >= c->y.dim[2 + i])
            return -1;
        position = position * c->y.dim[2 + i] + apart / attr[0].list.at[i];
    }
    return position;
}

void ref_conv_input(const RefCall *call)
{
    Conv c = conv_of(call, call->out_type[0], call->in_type[1], call->in_type[0]);
    int64_t out = 0;
    for (int64_t n = 0; n < c.x.dim[0]; n++)
        for (int64_t channel = 0; channel < c.x.dim[1]; channel++)
            for (int64_t at = 0; at < c.x_plane; at++) {
                Sum sum = {0};
                int64_t group = channel / c.from_group, from = channel % c.from_group;
                for (int64_t k = 0; k < c.w_plane; k++) {
                    int64_t o = met_by(&c, at, k);
                    for (int64_t i = 0; o >= 0 && i < c.to_group; i++) {
                        int64_t to = group * c.to_group + i;
                        add_product(&sum, c.y.dtype, call->in[0],
                                    (n * c.y.dim[1] + to) * c.y_plane + o, c.w.dtype, call->in[1],
                                    (to * c.from_group + from) * c.w_plane + k);
                    }
                }
                store_sum(c.x.dtype, call->out[0], out++, sum);
            }
}

void ref_conv_weight(const RefCall *call)
{
    Type w = call->out_type[0];
    int64_t parts = call->attr[5].whole > 0 ? call->attr[5].whole : 1, out = 0;
    if (call->attr[5].whole > 0) {
        w.rank--;
        for (int i = 0; i < w.rank; i++)
            w.dim[i] = w.dim[i + 1];
    }
    Conv c = conv_of(call, call->in_type[0], w, call->in_type[1]);
    int64_t images = c.x.dim[0] / parts;
    for (int64_t part = 0; part < parts; part++)
        for (int64_t to = 0; to < w.dim[0]; to++)
            for (int64_t from = 0; from < w.dim[1]; from++)
                for (int64_t k = 0; k < c.w_plane; k++) {
                    Sum sum = {0};
                    int64_t channel = to / c.to_group * c.from_group + from;
                    for (int64_t o = 0; o < c.y_plane; o++) {
                        int64_t at = meets(&c, o, k);
                        for (int64_t n = part * images; at >= 0 && n < (part + 1) * images; n++)
                            add_product(&sum, c.x.dtype, call->in[0],
                                        (n * c.x.dim[1] + channel) * c.x_plane + at, c.y.dtype,
                                        call->in[1], (n * c.y.dim[1] + to) * c.y_plane + o);
                    }
                    store_sum(w.dtype, call->out[0], out++, sum);
                }
}
