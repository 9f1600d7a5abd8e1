// Checkpoints are written beside the training.
//
//   training   step step step | copy | step step step step ...
//   writer                           hash, write, sync, rename, remove old ones
//
// There is one snapshot. `busy` says whose it is: the training changes it while busy is false, the
// writer reads it while busy is true. So the training waits only if the next checkpoint is due
// before the last one is on the disk.

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/checkpoint/store.h"

struct amli_writer {
    amli_store *store;
    amli_snapshot snapshot;
    bool threaded;
    pthread_t thread;
    pthread_mutex_t mutex; // guards everything below
    pthread_cond_t changed;
    bool busy, closing;
    aml_status status; // of the first write that failed
    aml_error error;
    amli_writer_figures figures;
};

static void write_snapshot(amli_writer *writer, aml_error *error)
{
    double begin = amli_seconds();
    aml_status status = amli_store_write(writer->store, &writer->snapshot, error);
    double seconds = amli_seconds() - begin;
    pthread_mutex_lock(&writer->mutex);
    writer->figures.seconds += seconds;
    if (status) {
        writer->status = status;
        writer->error = *error;
    } else {
        writer->figures.count++;
        writer->figures.last_step = writer->snapshot.progress.step;
    }
    writer->busy = false;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
}

static void *writer_main(void *argument)
{
    amli_writer *writer = argument;
    aml_error error;
    for (;;) {
        pthread_mutex_lock(&writer->mutex);
        while (!writer->busy && !writer->closing)
            pthread_cond_wait(&writer->changed, &writer->mutex);
        bool work = writer->busy;
        pthread_mutex_unlock(&writer->mutex);
        if (!work)
            return NULL;
        write_snapshot(writer, &error);
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

aml_status amli_writer_new(amli_store *store, amli_writer **out, aml_error *error)
{
    *out = NULL;
    size_t bytes = store->job->state_bytes;
    amli_writer *writer = calloc(1, sizeof *writer);
    // Zeroed pages: the gaps between states are the same in every process.
    void *state = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!writer || state == MAP_FAILED) {
        free(writer);
        if (state != MAP_FAILED)
            munmap(state, bytes + 1);
        return amli_no_memory(error, bytes, "the snapshot that checkpoints are written from");
    }
    writer->store = store;
    writer->snapshot = (amli_snapshot){.state = state, .log = -1};
    writer->figures.last_step = -1;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->changed, NULL);
    start(writer);
    *out = writer;
    return AML_OK;
}

// With the mutex held.
static void wait(amli_writer *writer)
{
    while (writer->busy)
        pthread_cond_wait(&writer->changed, &writer->mutex);
}

aml_status amli_writer_snapshot(amli_writer *writer, amli_snapshot **out, aml_error *error)
{
    pthread_mutex_lock(&writer->mutex);
    wait(writer);
    aml_status status = writer->status;
    if (status && error)
        *error = writer->error;
    pthread_mutex_unlock(&writer->mutex);
    *out = &writer->snapshot;
    return status;
}

aml_status amli_writer_begin(amli_writer *writer, aml_error *error)
{
    aml_status status = amli_store_decide(writer->store, &writer->snapshot, error);
    if (status)
        return status;
    pthread_mutex_lock(&writer->mutex);
    writer->busy = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    if (writer->threaded)
        return AML_OK;
    aml_error local;
    write_snapshot(writer, error ? error : &local);
    return writer->status;
}

bool amli_writer_failed(amli_writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    bool failed = writer->status != AML_OK;
    pthread_mutex_unlock(&writer->mutex);
    return failed;
}

amli_writer_figures amli_writer_describe(amli_writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    wait(writer);
    amli_writer_figures figures = writer->figures;
    pthread_mutex_unlock(&writer->mutex);
    return figures;
}

void amli_writer_free(amli_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    wait(writer);
    writer->closing = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    if (writer->threaded)
        pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->mutex);
    munmap(writer->snapshot.state, writer->store->job->state_bytes + 1);
    free(writer->snapshot.remove);
    free(writer);
}
