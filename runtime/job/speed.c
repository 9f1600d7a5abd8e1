// data speed: batches of training, made as fast as they can be, without the training.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/job/job.h"

#define LEAST_SECONDS 1.0

static aml_status one_batch(amli_session *session, amli_sampler *sampler, amli_loader *loader,
                            int64_t *row, int64_t step, aml_error *error)
{
    int64_t batch = session->job->batch;
    if (loader)
        return amli_session_take(session, loader, error);
    amli_sampler_pick(sampler, step * batch, batch, row);
    return amli_session_fill(session, &session->step, row, batch, step, step * batch, error);
}

// Samples per second in the first epoch, in which what is kept is decoded, and in those after it.
static aml_status measure(amli_session *session, amli_sampler *sampler, amli_loader *loader,
                          int64_t *row, double rate[2], double *processor, aml_error *error)
{
    int64_t batch = session->job->batch, epoch = (sampler->count + batch - 1) / batch, step = 0;
    aml_status status = AML_OK;
    for (int part = 0; part < 2 && !status; part++) {
        double begin = amli_seconds(), spent = 0;
        clock_t used = clock();
        int64_t first = step;
        while (!status && (step - first < epoch || (part && spent < LEAST_SECONDS))) {
            status = one_batch(session, sampler, loader, row, step++, error);
            spent = amli_seconds() - begin;
        }
        rate[part] = spent > 0 ? (double)((step - first) * batch) / spent : 0;
        *processor = (double)(clock() - used) / CLOCKS_PER_SEC / (double)((step - first) * batch);
    }
    return status;
}

static aml_status speed_of(amli_session *session, aml_error *error)
{
    const amli_split *split = &session->samples->split;
    amli_sampler sampler = {0};
    amli_loader *loader = NULL;
    double rate[2], processor = 0;
    int64_t *row = calloc((size_t)session->job->batch + 1, sizeof *row);
    aml_status status = row ? AML_OK : amli_no_memory(error, sizeof *row, "a batch");
    if (!status)
        status = amli_sampler_new(split->row[AML_PART_TRAIN], split->rows[AML_PART_TRAIN],
                                  split->offsets, session->seed, &sampler, error);
    if (!status)
        status = amli_session_loader(session, &sampler, 0, true, &loader, error);
    if (!status)
        status = measure(session, &sampler, loader, row, rate, &processor, error);
    int threads = loader ? amli_loader_threads(loader) : amli_threads(session->command);
    if (!status && session->command->json)
        printf("{\"dataset\": \"%s\", \"batch\": %lld, \"loaders\": %d, \"threads\": %d, "
               "\"first_epoch\": %.1f, \"later\": %.1f, \"processor_us\": %.3f}\n",
               session->dataset->name, (long long)session->job->batch,
               loader ? amli_loader_threads(loader) : 0, threads, rate[0], rate[1],
               processor * 1e6);
    else if (!status)
        printf("%s: %.0f samples/s in the first epoch, %.0f after it, in batches of %lld by %d %s "
               "thread%s\n",
               session->dataset->name, rate[0], rate[1], (long long)session->job->batch, threads,
               loader ? "loader" : "computing", threads == 1 ? "" : "s");
    amli_loader_free(loader);
    amli_sampler_free(&sampler);
    free(row);
    return status;
}

aml_status amli_data_speed(const amli_command *command, const amli_device_kind *kind,
                           aml_error *error)
{
    return amli_with_data(command, kind, speed_of, error);
}
