// attend.c: attention and its gradients, one query after the other, in f64.

#include <math.h>
#include <stdlib.h>

#include "kernel.h"

AttendSizes attend_sizes(const Type type[3], const Type *mask)
{
    Type q = type[0], k = type[1], v = type[2];
    AttendSizes s = {q.dim[0], q.dim[1], q.dim[2], q.dim[3], k.dim[1], k.dim[2], v.dim[3], 0, 0};
    int64_t all = s.queries * s.keys;
    if (mask && mask->rank > 2)
        s.mask_image = mask->rank == 4 ? s.heads * all : all;
    if (mask && mask->rank == 4)
        s.mask_head = all;
    return s;
}

typedef struct Query { // one query of one head
    const RefCall *call;
    AttendSizes s;
    const bool *mask; // of this query, NULL: none
    int64_t image, query, head, group;
} Query;

static Query query_at(const RefCall *call, int floats, int64_t number)
{
    const Type *mask = call->inputs > floats ? &call->in_type[floats] : NULL;
    Query at = {.call = call, .s = attend_sizes(call->in_type, mask)};
    at.query = number % at.s.queries;
    at.head = number / at.s.queries % at.s.heads;
    at.image = number / at.s.queries / at.s.heads;
    at.group = at.head / (at.s.heads / at.s.groups);
    if (mask)
        at.mask = (const bool *)call->in[floats] + at.image * at.s.mask_image +
                  at.head * at.s.mask_head + at.query * at.s.keys;
    return at;
}

static int64_t query_row(const Query *at, int64_t size)
{
    return ((at->image * at->s.queries + at->query) * at->s.heads + at->head) * size;
}

static int64_t key_row(const Query *at, int64_t key, int64_t size)
{
    return ((at->image * at->s.keys + key) * at->s.groups + at->group) * size;
}

static bool sees(const Query *at, int64_t key)
{
    bool late = at->call->attr[1].whole && key > at->query + at->s.keys - at->s.queries;
    return !late && (!at->mask || at->mask[key]);
}

static double product(const Query *at, int a, int64_t i, int b, int64_t k, int64_t size)
{
    const RefCall *call = at->call;
    double sum = 0;
    for (int64_t c = 0; c < size; c++)
        sum += element_real(call->in_type[a].dtype, call->in[a], i + c) *
               element_real(call->in_type[b].dtype, call->in[b], k + c);
    return sum;
}

static double score(const Query *at, int64_t key)
{
    int64_t size = at->s.size;
    return product(at, 0, query_row(at, size), 1, key_row(at, key, size), size) *
           at->call->attr[0].real;
}

void ref_attend(const RefCall *call)
{
    AttendSizes s = attend_sizes(call->in_type, NULL);
    double *weight = calloc((size_t)s.keys, sizeof *weight);
    for (int64_t n = 0; n < s.images * s.heads * s.queries; n++) {
        Query at = query_at(call, 3, n);
        double most = -INFINITY, sum = 0;
        for (int64_t key = 0; key < s.keys; key++) {
            weight[key] = sees(&at, key) ? score(&at, key) : -INFINITY;
            most = fmax(most, weight[key]);
        }
        for (int64_t key = 0; key < s.keys; key++)
            sum += weight[key] = most == -INFINITY ? 0 : exp(weight[key] - most);
        for (int64_t c = 0; c < s.width; c++) {
            double mean = 0;
            for (int64_t key = 0; key < s.keys; key++)
                mean += weight[key] * element_real(call->in_type[2].dtype, call->in[2],
                                                   key_row(&at, key, s.width) + c);
            element_set_real(call->out_type[0].dtype, call->out[0], query_row(&at, s.width) + c,
                             sum > 0 ? mean / sum : 0);
        }
        element_set_real(call->out_type[1].dtype, call->out[1], n, sum > 0 ? most + log(sum) : 0);
    }
    free(weight);
}

void ref_attend_cached(const RefCall *call)
{
    AttendSizes s = attend_sizes(call->in_type, NULL);
    int64_t position = element_whole(DTYPE_I64, call->in[3], 0);
    double *weight = calloc((size_t)s.keys, sizeof *weight);
    for (int64_t n = 0; n < s.images * s.heads * s.queries; n++) {
        Query at = query_at(call, 4, n);
        double most = -INFINITY, sum = 0;
        int64_t seen = position < s.keys ? position + at.query + 1 : s.keys;
        seen = seen < s.keys ? seen : s.keys;
        for (int64_t key = 0; key < seen; key++)
            most = fmax(most, weight[key] = score(&at, key));
        for (int64_t key = 0; key < seen; key++)
            sum += weight[key] = exp(weight[key] - most);
        for (int64_t c = 0; c < s.width; c++) {
            double mean = 0;
            for (int64_t key = 0; key < seen; key++)
                mean += weight[key] * element_real(call->in_type[2].dtype, call->in[2],
                                                   key_row(&at, key, s.width) + c);
            element_set_real(DTYPE_F32, call->out[0], query_row(&at, s.width) + c,
                             seen > 0 ? mean / sum : 0);
        }
    }
    free(weight);
}

// Adds factor times a row of input `from` to a row of sums.
static void add_row(double *sum, double factor, const RefCall *call, int from, int64_t row,
                    int64_t size)
{
    for (int64_t c = 0; c < size; c++)
        sum[c] += factor * element_real(call->in_type[from].dtype, call->in[from], row + c);
}

void ref_attend_back(const RefCall *call)
{
    AttendSizes s = attend_sizes(call->in_type, NULL);
    double *sum[3];
    for (int i = 0; i < 3; i++)
        sum[i] = calloc((size_t)type_elements(call->out_type[i]), sizeof *sum[i]);
    for (int64_t n = 0; n < s.images * s.heads * s.queries; n++) {
        Query at = query_at(call, 6, n);
        int64_t q = query_row(&at, s.size), y = query_row(&at, s.width);
        double lse = element_real(DTYPE_F32, call->in[3], n),
               delta = element_real(DTYPE_F32, call->in[4], n);
        for (int64_t key = 0; key < s.keys; key++) {
            if (!sees(&at, key))
                continue;
            int64_t k = key_row(&at, key, s.size), v = key_row(&at, key, s.width);
            double weight = exp(score(&at, key) - lse);
            double change =
                weight * (product(&at, 5, y, 2, v, s.width) - delta) * call->attr[0].real;
            add_row(sum[0] + q, change, call, 1, k, s.size);
            add_row(sum[1] + k, change, call, 0, q, s.size);
            add_row(sum[2] + v, weight, call, 5, y, s.width);
        }
    }
    for (int i = 0; i < 3; i++) {
        for (int64_t at = 0; at < type_elements(call->out_type[i]); at++)
            element_set_real(call->out_type[i].dtype, call->out[i], at, sum[i][at]);
        free(sum[i]);
    }
}
