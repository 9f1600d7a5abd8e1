// Batches of training made ahead, by threads of their own, while a step runs.
//
//      steps      s          s+1        s+2
//            +----------+----------+----------+
//            | taken    | complete | samples  |   a ring of SLOTS batches
//            +----------+----------+----------+
//
// Threads take a few samples of the oldest batch that still has some, make them and count them as
// done. The training takes the batches in order; if one is not complete it makes samples as well
// until it is, so that a loader that is too slow costs no more than having none. Which samples a
// batch has is decided by the training's thread, and what a sample is depends on its position in
// the stream alone: the number of threads changes nothing, and a resumed run begins anywhere.
//
// Where all cores compute, loader threads would take time from the step that they run beside, which
// waits for its slowest thread. They are a little less important than it: they fill the gaps.

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/data/data.h"

enum { SLOTS = 3, NICE = 5 };

typedef struct Slot {
    int64_t *row;
    aml_value *scalar;  // of augment
    char **output;      // output[i]: output i of the batch, dense
    int64_t next, done; // samples that were taken, that are made
    int64_t bad;        // the first bad sample, -1: none so far
    aml_error error;    // of that one
} Slot;

struct amli_loader {
    const amli_samples *samples;
    amli_batches batches;
    int64_t step;       // the next one that is taken
    int64_t ready;      // steps below this one have been handed out to threads
    int threads, asked; // how many run
    pthread_t *thread;
    amli_worker *worker; // one for each thread, and the training's
    size_t bytes;
    pthread_mutex_t lock; // of everything below, and of ready
    pthread_cond_t work, made;
    bool closing;
    Slot slot[SLOTS];
};

typedef struct Task {
    Slot *slot;
    int64_t first, count;
    int64_t position;
} Task;

// Some samples of the oldest batch that has any. Called with the lock held.
static bool find_task(amli_loader *loader, int64_t before, Task *task)
{
    int64_t batch = loader->batches.count;
    for (int64_t step = loader->step; step < before; step++) {
        Slot *slot = &loader->slot[step % SLOTS];
        if (slot->next == batch)
            continue;
        int64_t some = batch / (8 * (loader->threads + 1)), left = batch - slot->next;
        some = some < 1 ? 1 : some;
        *task = (Task){slot, slot->next, some < left ? some : left, step * batch};
        slot->next += task->count;
        return true;
    }
    return false;
}

// Makes them without the lock, and takes it again.
static void do_task(amli_loader *loader, amli_worker *worker, const Task *task)
{
    const amli_samples *samples = loader->samples;
    Slot *slot = task->slot;
    int64_t bad = -1;
    amli_augmenting augmenting = {slot->scalar, task->position};
    aml_error error = {0};
    pthread_mutex_unlock(&loader->lock);
    for (int64_t k = task->first; k < task->first + task->count && bad < 0; k++) {
        for (int i = 0; i < samples->outputs; i++)
            worker->out[i] =
                slot->output[i] ? slot->output[i] + (size_t)k * samples->row_bytes[i] : NULL;
        if (amli_worker_make(samples, worker, slot->row[k],
                             loader->batches.augments ? &augmenting : NULL, k, worker->out, &error))
            bad = k;
    }
    pthread_mutex_lock(&loader->lock);
    if (bad >= 0 && (slot->bad < 0 || bad < slot->bad)) {
        slot->bad = bad;
        slot->error = error;
    }
    slot->done += task->count;
    if (slot->done == loader->batches.count)
        pthread_cond_broadcast(&loader->made);
}

typedef struct Start {
    amli_loader *loader;
    int index;
} Start;

static void *thread_main(void *argument)
{
    Start start = *(Start *)argument;
    free(argument);
    amli_loader *loader = start.loader;
    setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, (id_t)gettid()) + NICE);
    pthread_mutex_lock(&loader->lock);
    while (!loader->closing) {
        Task task;
        if (find_task(loader, loader->ready, &task))
            do_task(loader, &loader->worker[start.index], &task);
        else
            pthread_cond_wait(&loader->work, &loader->lock);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

// Lets the threads make the batch of the next step.
static aml_status prepare_slot(amli_loader *loader, aml_error *error)
{
    const amli_batches *batches = &loader->batches;
    Slot *slot = &loader->slot[loader->ready % SLOTS];
    amli_sampler_pick(batches->sampler, loader->ready * batches->count, batches->count, slot->row);
    aml_status status = batches->augments
                            ? batches->scalars(batches->self, loader->ready, slot->scalar, error)
                            : AML_OK;
    if (status)
        return status;
    slot->bad = -1;
    pthread_mutex_lock(&loader->lock);
    slot->next = slot->done = 0;
    loader->ready++;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    return AML_OK;
}

// Threads that cannot be created are done without.
static void start_threads(amli_loader *loader)
{
    while (loader->threads < loader->asked) {
        Start *start = malloc(sizeof *start);
        if (!start)
            return;
        *start = (Start){loader, loader->threads};
        if (pthread_create(&loader->thread[loader->threads], NULL, thread_main, start) != 0) {
            free(start);
            return;
        }
        loader->threads++;
    }
}

size_t amli_loader_bytes(const amli_samples *samples, int64_t count, int threads)
{
    size_t sample = 0;
    for (int i = 0; i < samples->outputs; i++)
        sample += samples->row_bytes[i];
    return SLOTS * (size_t)count * sample +
           ((size_t)threads + 1) * (samples->workers ? samples->worker[0].bytes : 0);
}

static aml_status make_slot(const amli_loader *loader, Slot *slot, aml_error *error)
{
    const amli_samples *samples = loader->samples;
    size_t count = (size_t)loader->batches.count,
           scalars = (size_t)samples->dataset->augment.scalars;
    *slot = (Slot){.row = calloc(count + 1, sizeof *slot->row),
                   .scalar = calloc(scalars + 1, sizeof *slot->scalar),
                   .output = calloc((size_t)samples->outputs + 1, sizeof *slot->output)};
    if (!slot->row || !slot->scalar || !slot->output)
        return amli_no_memory(error, count * sizeof *slot->row, "a batch");
    for (int i = 0; i < samples->outputs; i++) {
        size_t bytes = count * samples->row_bytes[i];
        if (loader->batches.wanted[i] && !(slot->output[i] = malloc(bytes + 1)))
            return amli_no_memory(error, bytes, "a batch");
    }
    return AML_OK;
}

aml_status amli_loader_new(const amli_samples *samples, const amli_batches *batches, int threads,
                           amli_loader **out, aml_error *error)
{
    *out = NULL;
    amli_loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return amli_no_memory(error, sizeof *loader, "the loader");
    *loader = (amli_loader){.samples = samples,
                            .batches = *batches,
                            .step = batches->first,
                            .ready = batches->first,
                            .asked = threads,
                            .thread = calloc((size_t)threads + 1, sizeof *loader->thread),
                            .worker = calloc((size_t)threads + 1, sizeof *loader->worker)};
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->made, NULL);
    aml_status status = loader->thread && loader->worker
                            ? AML_OK
                            : amli_no_memory(error, sizeof *loader->worker, "the loader");
    for (int i = 0; i <= threads && !status; i++)
        status = amli_worker_new(samples, &loader->worker[i], error);
    for (int i = 0; i < SLOTS && !status; i++)
        status = make_slot(loader, &loader->slot[i], error);
    if (status) {
        amli_loader_free(loader);
        return status;
    }
    *out = loader;
    return AML_OK;
}

void amli_loader_free(amli_loader *loader)
{
    if (!loader)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->closing = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->threads; i++)
        pthread_join(loader->thread[i], NULL);
    for (int i = 0; i <= loader->asked && loader->worker; i++)
        amli_worker_free(&loader->worker[i]);
    for (int i = 0; i < SLOTS; i++) {
        Slot *slot = &loader->slot[i];
        for (int k = 0; slot->output && k < loader->samples->outputs; k++)
            free(slot->output[k]);
        free(slot->output), free(slot->row), free(slot->scalar);
    }
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->made);
    free(loader->thread), free(loader->worker);
    free(loader);
}

aml_status amli_loader_take(amli_loader *loader, int64_t last, void *const to[], aml_error *error)
{
    const amli_samples *samples = loader->samples;
    aml_status status = AML_OK;
    while (!status && loader->ready <= loader->step)
        status = prepare_slot(loader, error);
    if (status)
        return status;
    Slot *slot = &loader->slot[loader->step % SLOTS];
    pthread_mutex_lock(&loader->lock);
    start_threads(loader);
    Task task;
    while (find_task(loader, loader->step + 1, &task))
        do_task(loader, &loader->worker[loader->asked], &task);
    while (slot->done < loader->batches.count)
        pthread_cond_wait(&loader->made, &loader->lock);
    pthread_mutex_unlock(&loader->lock);
    if (slot->bad >= 0) {
        if (error)
            *error = slot->error;
        return slot->error.status;
    }
    for (int i = 0; i < samples->outputs; i++)
        if (to[i])
            memcpy(to[i], slot->output[i], (size_t)loader->batches.count * samples->row_bytes[i]);
    pthread_mutex_lock(&loader->lock);
    loader->step++;
    pthread_mutex_unlock(&loader->lock);
    while (!status && loader->ready < loader->step + SLOTS && loader->ready < last)
        status = prepare_slot(loader, error);
    return status;
}

int amli_loader_threads(const amli_loader *loader)
{
    return loader->asked;
}
