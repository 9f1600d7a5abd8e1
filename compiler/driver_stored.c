// driver_stored.c: what storing constants shorter saves in a deployed program, and what it costs.

#include "driver_deploy.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "aml/stored.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// The shortest of a few times of expanding all of it, in seconds; negative: there is no memory.
static double expanding_time(const ArtifactLevel *level)
{
    enum { TURNS = 20 };
    size_t bytes = (level->stored_bytes + AML_ALIGNMENT) / AML_ALIGNMENT * AML_ALIGNMENT;
    void *to = aligned_alloc(AML_ALIGNMENT, bytes);
    double best = INFINITY;
    for (int i = 0; i < TURNS && to; i++) {
        double begin = now();
        aml_stored_expand(level->stored_data, to);
        best = fmin(best, now() - begin);
    }
    free(to);
    return to ? best : -1;
}

// The share of zeros among the weights with two or more axes.
static double share_of_zeros(const Deployment *d)
{
    int64_t all = 0, zeros = 0;
    for (int i = 0; i < d->weight.count; i++) {
        const Weight *weight = &d->weight.at[i];
        if (weight->dtype != AML_F32 || weight->shape.rank < 2)
            continue;
        int64_t elements = aml_shape_elements(&weight->shape);
        for (int64_t k = 0; k < elements; k++)
            zeros += element_real(DTYPE_F32, weight->at, k) == 0;
        all += elements;
    }
    return all ? (double)zeros / (double)all : 0;
}

void deploy_report_stored(const Deployment *d)
{
    const ArtifactLevel *level = &d->artifact.level.at[0];
    if (!level->stored)
        return;
    fprintf(stderr,
            "  stored: %s of constants in %s (%.1f%% of the weights are 0), expanded in %.3g us "
            "when a context is opened\n"
            "  this makes the program smaller and not faster: the products are those of dense "
            "weights\n",
            size_text(d->cx, (double)level->stored_plain),
            size_text(d->cx, (double)level->stored_length), 100 * share_of_zeros(d),
            1e6 * expanding_time(level));
}
