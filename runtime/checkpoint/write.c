// The protocol by which a checkpoint becomes visible, whole:
//
//   1. every file is written into the folder checkpoints/.new-step-000123, then each is synced (all
//   are written first, so
//      that the file system has to commit once)
//   2. that folder is synced, renamed to step-000123, and its parent is synced
//   3. the pointers `latest` and `best` are replaced: they are for people and scripts, the reader
//   looks for itself
//   4. old checkpoints are removed
//
// Whoever is killed in between leaves either no step-000123 or all of it. A folder whose name
// begins with a dot is never read, and is removed by the next run.

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/checkpoint/store.h"

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE, OPTIMIZER = 1 << AML_ROLE_OPTIMIZER };

static int add_file(json_t *files, const char *name, size_t bytes, const char *hash)
{
    return json_object_set_new(files, name,
                               json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "sha256", hash));
}

// The manifest's text; the caller frees. `seal` is the hash of everything else in it, so that it
// guards itself.
static char *make_manifest(const amli_store *store, const amli_snapshot *snapshot, json_t *files)
{
    json_t *manifest = json_pack(
        "{s:i, s:s, s:s, s:I, s:s, s:s, s:O}", "format", 1, "program", store->program->name, "job",
        store->job->name, "step", (json_int_t)snapshot->progress.step, "source_hash",
        store->program->source_hash, "data_fingerprint", store->data_fingerprint, "files", files);
    if (!manifest)
        return NULL;
    bool complete = true;
    if (snapshot->scored) {
        json_t *number = json_real(snapshot->score);
        complete = number && json_object_set_new(manifest, "score", number) == 0;
        complete = complete &&
                   json_object_set_new(manifest, "score_name", json_string(store->score_name)) == 0;
        complete = complete && json_object_set_new(manifest, "lower_is_better",
                                                   json_boolean(store->lower_is_better)) == 0;
    }
    char *plain = complete ? json_dumps(manifest, JSON_SORT_KEYS | JSON_COMPACT) : NULL,
         *text = NULL;
    if (plain) {
        char seal[AMLI_HASH_TEXT];
        amli_hash(plain, strlen(plain), seal);
        if (json_object_set_new(manifest, "seal", json_string(seal)) == 0)
            text = json_dumps(manifest, JSON_SORT_KEYS | JSON_INDENT(2));
    }
    free(plain);
    json_decref(manifest);
    return text;
}

static aml_status write_files(const amli_store *store, const char *folder,
                              const amli_snapshot *snapshot, json_t *files, aml_error *error)
{
    char path[PATH_MAX], hash[AMLI_HASH_TEXT], *text;
    size_t bytes;
    bool complete = true;
    aml_status status = amli_join(path, sizeof path, folder, AMLI_WEIGHTS_FILE, error);
    if (!status)
        status =
            amli_tensors_write(path, snapshot->state, store->job, WEIGHTS, &bytes, hash, error);
    if (!status) {
        complete = add_file(files, AMLI_WEIGHTS_FILE, bytes, hash) == 0;
        status = amli_join(path, sizeof path, folder, AMLI_OPTIMIZER_FILE, error);
    }
    if (!status)
        status =
            amli_tensors_write(path, snapshot->state, store->job, OPTIMIZER, &bytes, hash, error);
    if (!status) {
        complete = complete && add_file(files, AMLI_OPTIMIZER_FILE, bytes, hash) == 0;
        status = amli_progress_write(&snapshot->progress, &text, &bytes, error);
    }
    if (!status) {
        amli_hash(text, bytes, hash);
        complete = complete && add_file(files, AMLI_STATE_FILE, bytes, hash) == 0;
        status = amli_write_file(folder, AMLI_STATE_FILE, text, bytes, error);
        free(text);
    }
    if (status)
        return status;
    char *manifest = complete ? make_manifest(store, snapshot, files) : NULL;
    if (!manifest)
        return amli_no_memory(error, 0, "the manifest of a checkpoint");
    status = amli_write_file(folder, AMLI_MANIFEST_FILE, manifest, strlen(manifest), error);
    free(manifest);
    static const char *const file[] = {AMLI_WEIGHTS_FILE, AMLI_OPTIMIZER_FILE, AMLI_STATE_FILE,
                                       AMLI_MANIFEST_FILE};
    for (size_t i = 0; i < AMLI_COUNT(file) && !status; i++) {
        status = amli_join(path, sizeof path, folder, file[i], error);
        if (!status)
            status = amli_sync_file(path, error);
    }
    return status;
}

static aml_status point(const amli_store *store, const char *pointer, int64_t step,
                        aml_error *error)
{
    char name[40];
    amli_step_name(step, name);
    strcat(name, "\n");
    return amli_replace_file(store->folder, pointer, name, strlen(name), error);
}

static bool better(const amli_store *store, double a, double b)
{
    return store->lower_is_better ? a < b : a > b;
}

// How many scored checkpoints are better; of equal ones the older is the better.
static int rank(const amli_store *store, int index)
{
    int above = 0;
    for (int i = 0; i < store->count; i++)
        if (i != index && store->stored[i].scored &&
            (better(store, store->stored[i].score, store->stored[index].score) ||
             (store->stored[i].score == store->stored[index].score && i < index)))
            above++;
    return above;
}

static int newest_kept(const aml_job *job)
{
    return job->keep_last > 2 ? job->keep_last : 2;
}

static bool stays(const amli_store *store, int index)
{
    return index >= store->count - newest_kept(store->job) ||
           (store->stored[index].scored && rank(store, index) < store->job->keep_best);
}

// The manifest goes first: what is left of a removal that is cut short is no checkpoint.
static aml_status remove_step(const amli_store *store, int64_t step, aml_error *error)
{
    char name[32], path[PATH_MAX], manifest[PATH_MAX];
    amli_step_name(step, name);
    aml_status status = amli_join(path, sizeof path, store->folder, name, error);
    if (!status)
        status = amli_join(manifest, sizeof manifest, path, AMLI_MANIFEST_FILE, error);
    if (!status)
        status = amli_remove_file(manifest, error);
    return status ? status : amli_remove_folder(path, error);
}

static aml_status remember(amli_store *store, amli_stored stored, aml_error *error)
{
    int at = store->count;
    while (at > 0 && store->stored[at - 1].step >= stored.step)
        at--;
    if (at < store->count && store->stored[at].step == stored.step) {
        store->stored[at] = stored;
        return AML_OK;
    }
    if (store->count == store->capacity) {
        int capacity = store->capacity ? store->capacity * 2 : 16;
        amli_stored *more = realloc(store->stored, (size_t)capacity * sizeof *more);
        if (!more)
            return amli_no_memory(error, (size_t)capacity * sizeof *more,
                                  "the list of checkpoints");
        store->stored = more;
        store->capacity = capacity;
    }
    memmove(&store->stored[at + 1], &store->stored[at],
            (size_t)(store->count - at) * sizeof stored);
    store->stored[at] = stored;
    store->count++;
    return AML_OK;
}

// Makes `from` visible as `to`. A folder of that name can only be a damaged one, or the same state
// written again.
static aml_status publish(const char *parent, const char *from, const char *to, const char *aside,
                          aml_error *error)
{
    aml_status status = amli_sync_folder(from, error);
    if (!status && amli_exists(to)) {
        status = amli_remove_folder(aside, error);
        if (!status)
            status = amli_rename(to, aside, error);
    }
    if (!status)
        status = amli_rename(from, to, error);
    if (!status)
        status = amli_sync_folder(parent, error);
    if (!status)
        status = amli_remove_folder(aside, error);
    return status;
}

aml_status amli_store_decide(amli_store *store, amli_snapshot *snapshot, aml_error *error)
{
    int64_t step = snapshot->progress.step;
    aml_status status = remember(
        store, (amli_stored){step, snapshot->scored, store->lower_is_better, snapshot->score},
        error);
    snapshot->best = false;
    snapshot->removes = 0;
    if (status)
        return status;
    if (store->count > snapshot->room) {
        int64_t *more = realloc(snapshot->remove, (size_t)store->count * sizeof *more);
        if (!more)
            return amli_no_memory(error, (size_t)store->count * sizeof *more,
                                  "the list of checkpoints");
        snapshot->remove = more;
        snapshot->room = store->count;
    }
    for (int i = 0; i < store->count; i++) {
        if (snapshot->scored && store->stored[i].step == step && rank(store, i) == 0)
            snapshot->best = true;
        if (!stays(store, i))
            snapshot->remove[snapshot->removes++] = store->stored[i].step;
    }
    int kept = 0;
    for (int i = 0, gone = 0; i < store->count; i++) {
        if (gone < snapshot->removes && snapshot->remove[gone] == store->stored[i].step)
            gone++;
        else
            store->stored[kept++] = store->stored[i];
    }
    store->count = kept;
    return AML_OK;
}

static aml_status write_folder(const amli_store *store, const amli_snapshot *snapshot,
                               const char *folder, aml_error *error)
{
    json_t *files = json_object();
    aml_status status = files ? write_files(store, folder, snapshot, files, error)
                              : amli_no_memory(error, 0, "the manifest of a checkpoint");
    json_decref(files);
    // The checkpoint says how long the log is, so the log is on the disk first.
    if (!status && snapshot->log >= 0 && TEMP_FAILURE_RETRY(fdatasync(snapshot->log)) != 0 &&
        errno != EINVAL)
        status =
            amli_fail(error, AML_IO, "cannot sync %s: %s", snapshot->log_path, strerror(errno));
    return status;
}

aml_status amli_store_write(const amli_store *store, const amli_snapshot *snapshot,
                            aml_error *error)
{
    int64_t step = snapshot->progress.step;
    char name[32], hidden[48], temporary[PATH_MAX], path[PATH_MAX], aside[PATH_MAX];
    amli_step_name(step, name);
    snprintf(hidden, sizeof hidden, ".new-%s", name);
    aml_status status = amli_join(temporary, sizeof temporary, store->folder, hidden, error);
    snprintf(hidden, sizeof hidden, ".old-%s", name);
    if (!status)
        status = amli_join(aside, sizeof aside, store->folder, hidden, error);
    if (!status)
        status = amli_join(path, sizeof path, store->folder, name, error);
    if (!status)
        status = amli_check_room(store->folder, (double)amli_checkpoint_bytes(store->job),
                                 "it takes", error);
    if (!status && amli_exists(temporary))
        status = amli_remove_folder(temporary, error);
    if (!status)
        status = amli_make_folders(temporary, error);
    if (!status) {
        status = write_folder(store, snapshot, temporary, error);
        if (!status)
            status = publish(store->folder, temporary, path, aside, error);
        else
            amli_remove_folder(temporary, NULL); // on a full disk its room is needed
    }
    if (!status)
        status = point(store, "latest", step, error);
    if (!status && snapshot->best)
        status = point(store, "best", step, error);
    for (int i = 0; i < snapshot->removes && !status; i++)
        status = remove_step(store, snapshot->remove[i], error);
    return status ? amli_prefix(error, "the checkpoint of step %lld could not be written",
                                (long long)step)
                  : AML_OK;
}

size_t amli_checkpoint_bytes(const aml_job *job)
{
    size_t bytes = 0;
    for (int i = 0; i < job->states; i++)
        if ((WEIGHTS | OPTIMIZER) >> job->state[i].role & 1)
            bytes += (size_t)aml_shape_elements(&job->state[i].tensor.shape) *
                     aml_dtype_bytes(job->state[i].tensor.dtype);
    return bytes;
}

int amli_checkpoints_kept(const aml_job *job)
{
    return newest_kept(job) + job->keep_best;
}

void amli_store_free(amli_store *store)
{
    free(store->stored);
    store->stored = NULL;
    store->count = store->capacity = 0;
}
