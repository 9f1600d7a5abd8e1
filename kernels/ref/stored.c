// The meaning of dot_stored and take_stored.

#include <math.h>
#include <string.h>

#include "kernel.h"
#include "stored.h"

typedef struct Stored {
    int64_t form, group, k, k_padded, groups, panels;
    const void *b, *scale;
    const uint8_t *zero;
    DType half; // of halves
} Stored;

static Stored stored_of(const RefCall *call, int64_t k)
{
    Stored s = {.form = call->attr[0].whole, .group = call->attr[1].whole, .k = k};
    s.panels = call->in_type[1].dim[0];
    s.b = call->in[1];
    if (s.form >= STORED_BF16) {
        s.half = s.form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16;
        return s;
    }
    s.groups = stored_groups(k, s.group);
    s.k_padded = s.groups * s.group;
    s.scale = call->in[2];
    s.zero = call->inputs > 3 ? call->in[3] : NULL;
    return s;
}

static int zero_of(const Stored *s, int64_t group, int64_t column)
{
    if (s->zero)
        return s->zero[stored_place(s->panels, s->groups, group, column)];
    return s->form == STORED_BYTES ? 128 : 8;
}

static double scale_of(const Stored *s, int64_t group, int64_t column)
{
    return element_real(DTYPE_F16, s->scale, stored_place(s->panels, s->groups, group, column));
}

static double weight(const Stored *s, int64_t p, int64_t column)
{
    if (s->form >= STORED_BF16)
        return element_real(s->half, s->b, stored_place(s->panels, s->k, p, column));
    int q = stored_integer(s->form, s->b, s->panels, s->k_padded, p, column);
    return (q - zero_of(s, p / s->group, column)) * scale_of(s, p / s->group, column);
}

// One group of a row of a in 8 bits: q and what they are multiplied with, NaN if the group is not
// finite. Single precision, as the kernels compute it.
static float byte_row(const float *a, int64_t count, int8_t *q)
{
    float most = 0;
    memset(q, 0, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(a[i]))
            return NAN;
        most = fmaxf(most, fabsf(a[i]));
    }
    float inverse = most > 0 ? 127.0f / most : 0;
    for (int64_t i = 0; i < count; i++)
        q[i] = (int8_t)rintf(a[i] * inverse);
    return most / 127.0f;
}

void ref_dot_stored(const RefCall *call)
{
    Type type = call->in_type[0];
    int64_t k = type.dim[type.rank - 1], rows = type_elements(type) / k, n = call->attr[2].whole;
    Stored s = stored_of(call, k);
    const float *a = call->in[0];
    float *out = call->out[0];
    int8_t q[STORED_MOST_GROUP];
    for (int64_t row = 0; row < rows; row++, a += k)
        for (int64_t column = 0; column < n; column++) {
            double sum = 0;
            for (int64_t p = 0; s.form >= STORED_BF16 && p < k; p++)
                sum += (double)a[p] * weight(&s, p, column);
            for (int64_t g = 0; g < s.groups; g++) {
                int64_t first = g * s.group, count = k - first < s.group ? k - first : s.group,
                        whole = 0;
                double scale = (double)byte_row(a + first, count, q) * scale_of(&s, g, column);
                for (int64_t i = 0; i < count; i++)
                    whole += q[i] *
                             (stored_integer(s.form, s.b, s.panels, s.k_padded, first + i, column) -
                              zero_of(&s, g, column));
                sum += scale * (double)whole;
            }
            out[row * n + column] = (float)sum;
        }
}

void ref_take_stored(const RefCall *call)
{
    int64_t depth = call->attr[2].whole, count = type_elements(call->in_type[0]);
    Stored s = stored_of(call, depth);
    int64_t columns = call->in_type[1].dim[0] * STORED_COLUMNS;
    float *out = call->out[0];
    for (int64_t i = 0; i < count; i++) {
        int64_t column = element_whole(call->in_type[0].dtype, call->in[0], i);
        column = column < 0 ? 0 : column >= columns ? columns - 1 : column;
        for (int64_t p = 0; p < depth; p++)
            out[i * depth + p] = (float)weight(&s, p, column);
    }
}
