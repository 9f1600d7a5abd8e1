// driver_stored.c: what storing constants shorter saves in a deployed program, and what it costs.

#include "driver_deploy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

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
        aml_stored_expand(level->stored_data, to, NULL);
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

// ---- operations

static bool is_splat(const Inst *inst)
{
    while (inst->op == OP_broadcast)
        inst = inst->input[0];
    return inst->op == OP_constant && inst->attr[0].data.splat;
}

// The constant that the weights of a product are made of.
static const Inst *weights_behind(const Inst *inst)
{
    int64_t elements = type_elements(inst->type);
    while (inst->op != OP_constant && inst->inputs > 0) {
        const Inst *next = NULL;
        for (int i = 0; i < inst->inputs && !next; i++)
            if (type_elements(inst->input[i]->type) == elements && !is_splat(inst->input[i]))
                next = inst->input[i];
        if (!next)
            return NULL;
        inst = next;
    }
    return inst->op == OP_constant && !inst->attr[0].data.splat ? inst : NULL;
}

void deploy_count_products(Deployment *d)
{
    d->product_flops = d->zero_flops = 0;
    for (const Inst *inst = d->artifact.predict.at[0].ir->first; inst; inst = inst->next) {
        int axis, weight_axis;
        if (!inst_weighs_channels(inst, &axis, &weight_axis))
            continue;
        double flops = inst_cost(inst).flops;
        const Inst *weights = weights_behind(inst->input[1]);
        int64_t zeros = 0, elements = weights ? type_elements(weights->type) : 1;
        for (int64_t i = 0; weights && i < elements; i++)
            zeros += element_real(weights->type.dtype, weights->attr[0].data.at, i) == 0;
        d->product_flops += flops;
        d->zero_flops += flops * (double)zeros / (double)elements;
    }
}

// ---- time

// The median time of a prediction for the smallest batch in seconds; negative: it failed.
static double bench(Deployment *d, const char *program)
{
    ProcessResult done = process_run(
        d->cx, (const char *const[]){program, "bench", "--json", "--seconds", "0.05", NULL}, NULL,
        PROCESS_CAPTURE);
    json_t *json = done.code == 0 ? json_loads(done.output, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *median = json_object_get(json_array_get(json, 0), "median_us");
    double seconds = median ? 1e-6 * json_number_value(median) : -1;
    json_decref(json);
    return seconds;
}

// The same program with its constants as they are.
static const char *plain_program(Deployment *d)
{
    Artifact artifact = d->artifact;
    ObjectCode object = {0};
    const char *path = arena_printf(d->cx->arena, "%s/plain", d->folder);
    memset(&d->artifact.level, 0, sizeof d->artifact.level);
    d->stores = false;
    bool good = deploy_compile(d, &object) && deploy_link_executable(d, &object, path);
    d->stores = true;
    d->artifact = artifact;
    return good ? path : NULL;
}

// Both in turns, the best of each.
static bool report_time(Deployment *d)
{
    enum { TURNS = 5 };
    const char *plain = plain_program(d), *stored = deploy_absolute(d->cx, d->executable);
    double best[2] = {INFINITY, INFINITY};
    for (int i = 0; plain && i < TURNS; i++) {
        best[0] = fmin(best[0], bench(d, plain));
        best[1] = fmin(best[1], bench(d, stored));
    }
    if (!plain || best[0] <= 0 || best[1] <= 0) {
        say(d->command, "error", "what zeros save cannot be measured");
        return false;
    }
    fprintf(stderr,
            "  products: %.3g MFLOP as before, %.1f%% of them with 0; %.4g -> %.4g us for a batch "
            "of %lld (here, one thread)\n",
            d->product_flops / 1e6, 100 * d->zero_flops / fmax(d->product_flops, 1), 1e6 * best[0],
            1e6 * best[1], (long long)d->artifact.batch.at[0]);
    double ratio = best[0] / best[1];
    if (ratio < 1.05)
        fprintf(stderr,
                "  there is no gain in time: %.2f times as fast as with all zeros in the program; "
                "the products are those of dense weights\n",
                ratio);
    return true;
}

bool deploy_report_stored(Deployment *d)
{
    const ArtifactLevel *level = &d->artifact.level.at[0];
    if (!level->stored)
        return true;
    double zeros = share_of_zeros(d);
    fprintf(stderr,
            "  stored: %s of constants in %s (%.1f%% of the weights are 0), expanded in %.3g us "
            "when a context is opened\n",
            size_text(d->cx, (double)level->stored_plain),
            size_text(d->cx, (double)level->stored_length), 100 * zeros,
            1e6 * expanding_time(level));
    if (zeros >= 0.05 && !d->artifact.weights_file)
        return report_time(d);
    fprintf(stderr, "  this makes the program smaller and not faster: the products are those of "
                    "dense weights\n");
    return true;
}
