// Checkpoints are written beside the training.
//
//   training   step step step | copy | step step step step ...
//   writer                           hash, write, sync, rename, remove old ones
//
// Snapshots lie in a ring. Those from `written` to `put` belong to the writer, the slot behind them
// to the training, which waits only if there is none.
//
//   slot      0     1     2     3
//           done  done  next  newest       written = 7, put = 9: 7 and 8 are to be written
//
// A snapshot whose checkpoint a later one in the ring is going to remove again is passed over. What
// it would have removed itself is then removed by that later one, so at each moment there is what
// there would be if the disk were fast, only older.

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/checkpoint/store.h"

struct amli_writer {
    amli_store *store;
    int count;
    amli_snapshot snapshot[AML_MOST_SNAPSHOTS];
    bool any; // the newest is one
    bool threaded;
    pthread_t thread;
    int64_t put;           // snapshots so far; changed by the training only, with the mutex held
    pthread_mutex_t mutex; // guards everything below
    pthread_cond_t changed;
    int64_t written;
    bool closing;
    aml_status status; // of the first write that failed
    aml_error error;
    amli_writer_figures figures;
};

int amli_snapshots(const aml_job *job)
{
    return aml_snapshots(job->state_bytes);
}

static amli_snapshot *at(amli_writer *writer, int64_t number)
{
    return &writer->snapshot[number % writer->count];
}

static bool removes(const amli_snapshot *snapshot, int64_t step)
{
    for (int i = 0; i < snapshot->removes; i++)
        if (snapshot->remove[i] == step)
            return true;
    return false;
}

// The later snapshot that removes the one that is next to be written, NULL: none. With the mutex
// held.
static amli_snapshot *replacement(amli_writer *writer)
{
    const amli_snapshot *next = at(writer, writer->written);
    for (int64_t i = writer->written + 1; i < writer->put; i++)
        if (removes(at(writer, i), next->progress.step))
            return at(writer, i);
    return NULL;
}

// Hands what `from` removes on to `to`. False: no memory.
static bool hand_on(const amli_snapshot *from, amli_snapshot *to)
{
    int all = to->removes + from->removes;
    if (all > to->room) {
        int64_t *more = realloc(to->remove, (size_t)all * sizeof *more);
        if (!more)
            return false;
        to->remove = more;
        to->room = all;
    }
    memcpy(to->remove + to->removes, from->remove, (size_t)from->removes * sizeof *to->remove);
    to->removes = all;
    return true;
}

static void write_next(amli_writer *writer, aml_error *error)
{
    double begin = amli_seconds();
    const amli_snapshot *next = at(writer, writer->written);
    aml_status status = amli_store_write(writer->store, next, error);
    double seconds = amli_seconds() - begin;
    pthread_mutex_lock(&writer->mutex);
    writer->figures.seconds += seconds;
    if (status) {
        writer->status = status;
        writer->error = *error;
        writer->written = writer->put; // nothing more is written
    } else {
        writer->figures.count++;
        writer->figures.last_step = next->progress.step;
        writer->written++;
    }
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
}

static void *writer_main(void *argument)
{
    amli_writer *writer = argument;
    aml_error error;
    for (;;) {
        pthread_mutex_lock(&writer->mutex);
        while (writer->written == writer->put && !writer->closing)
            pthread_cond_wait(&writer->changed, &writer->mutex);
        bool work = writer->written < writer->put;
        amli_snapshot *later;
        while (work && (later = replacement(writer)) &&
               hand_on(at(writer, writer->written), later)) {
            writer->written++;
            writer->figures.passed++;
            pthread_cond_broadcast(&writer->changed);
        }
        pthread_mutex_unlock(&writer->mutex);
        if (!work)
            return NULL;
        write_next(writer, &error);
    }
}

// Signals are the training's: a system call of the writer is not interrupted by them.
static void start(amli_writer *writer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    writer->threaded = pthread_create(&writer->thread, NULL, writer_main, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

aml_status amli_writer_new(amli_store *store, int count, amli_writer **out, aml_error *error)
{
    *out = NULL;
    size_t bytes = store->job->state_bytes;
    amli_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return amli_no_memory(error, sizeof *writer, "the writer of checkpoints");
    writer->store = store;
    for (writer->count = 0; writer->count < count; writer->count++) {
        // Zeroed pages: the gaps between states are the same in every process.
        void *state =
            mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (state == MAP_FAILED) {
            amli_writer_free(writer);
            return amli_no_memory(error, bytes, "the snapshot that checkpoints are written from");
        }
        writer->snapshot[writer->count] = (amli_snapshot){.state = state, .log = -1};
    }
    writer->figures.last_step = -1;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->changed, NULL);
    start(writer);
    *out = writer;
    return AML_OK;
}

// With the mutex held.
static aml_status failure(const amli_writer *writer, aml_error *error)
{
    if (writer->status && error)
        *error = writer->error;
    return writer->status;
}

aml_status amli_writer_next(amli_writer *writer, amli_snapshot **out, aml_error *error)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->put - writer->written >= writer->count)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    aml_status status = failure(writer, error);
    pthread_mutex_unlock(&writer->mutex);
    *out = at(writer, writer->put);
    return status;
}

aml_status amli_writer_put(amli_writer *writer, bool write, aml_error *error)
{
    amli_snapshot *snapshot = at(writer, writer->put);
    aml_status status = write ? amli_store_decide(writer->store, snapshot, error) : AML_OK;
    if (status)
        return status;
    writer->any = true;
    if (!write) {
        // Nothing else is under way when a training begins: the slot counts as written.
        pthread_mutex_lock(&writer->mutex);
        writer->put++;
        writer->written = writer->put;
        pthread_mutex_unlock(&writer->mutex);
        return AML_OK;
    }
    pthread_mutex_lock(&writer->mutex);
    writer->put++;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    if (writer->threaded)
        return AML_OK;
    aml_error local;
    write_next(writer, error ? error : &local);
    return writer->status;
}

const amli_snapshot *amli_writer_newest(const amli_writer *writer)
{
    return writer->any ? &writer->snapshot[(writer->put - 1) % writer->count] : NULL;
}

bool amli_writer_failed(amli_writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    bool failed = writer->status != AML_OK;
    pthread_mutex_unlock(&writer->mutex);
    return failed;
}

aml_status amli_writer_wait(amli_writer *writer, aml_error *error)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->written < writer->put)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    aml_status status = failure(writer, error);
    pthread_mutex_unlock(&writer->mutex);
    return status;
}

amli_writer_figures amli_writer_describe(amli_writer *writer)
{
    amli_writer_wait(writer, NULL);
    return writer->figures;
}

void amli_writer_free(amli_writer *writer)
{
    if (!writer)
        return;
    if (writer->threaded) {
        pthread_mutex_lock(&writer->mutex);
        writer->closing = true;
        pthread_cond_broadcast(&writer->changed);
        pthread_mutex_unlock(&writer->mutex);
        pthread_join(writer->thread, NULL); // after the last one is written
    }
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->mutex);
    for (int i = 0; i < writer->count; i++) {
        munmap(writer->snapshot[i].state, writer->store->job->state_bytes + 1);
        free(writer->snapshot[i].remove);
    }
    free(writer);
}
