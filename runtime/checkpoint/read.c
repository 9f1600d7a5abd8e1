// Opening and verifying a checkpoint.

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/store.h"

struct aml_checkpoint {
    char folder[PATH_MAX];
    json_t *manifest; // owns the texts of info
    aml_checkpoint_info info;
    aml_tensors *weights;
};

static aml_status damaged(aml_error *error, const char *folder, const char *what)
{
    return amli_fail(error, AML_BAD_CHECKPOINT, "the checkpoint %s is damaged: %s", folder, what);
}

static aml_status no_manifest(aml_error *error, const char *folder)
{
    if (!amli_exists(folder))
        return amli_fail(error, AML_NOT_FOUND, "there is no checkpoint %s", folder);
    const char *slash = strrchr(folder, '/');
    if (strncmp(slash ? slash + 1 : folder, "step-", 5) == 0)
        return damaged(error, folder, "it has no MANIFEST.json");
    return amli_fail(error, AML_BAD_CHECKPOINT,
                     "%s is not a checkpoint: it has no MANIFEST.json\nhelp: a checkpoint is a "
                     "folder such as RUN/checkpoints/step-000100",
                     folder);
}

// Reads a manifest and checks its seal; the caller gives it back.
static aml_status read_manifest(const char *folder, json_t **out, aml_error *error)
{
    char path[PATH_MAX], *text;
    size_t length;
    *out = NULL;
    aml_status status = amli_join(path, sizeof path, folder, AMLI_MANIFEST_FILE, error);
    if (!status)
        status = amli_read_file(path, &text, &length, error);
    if (status == AML_NOT_FOUND)
        return no_manifest(error, folder);
    if (status)
        return status;
    json_error_t why;
    json_t *manifest = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!manifest)
        return json_error_code(&why) == json_error_out_of_memory
                   ? amli_no_memory(error, length, path)
                   : damaged(error, folder, "MANIFEST.json is not JSON");
    const char *seal = json_string_value(json_object_get(manifest, "seal"));
    json_t *kept = seal ? json_incref(json_object_get(manifest, "seal")) : NULL;
    char hash[AMLI_HASH_TEXT] = "";
    if (seal) {
        json_object_del(manifest, "seal");
        char *plain = json_dumps(manifest, JSON_SORT_KEYS | JSON_COMPACT);
        if (!plain)
            status = amli_no_memory(error, length, path);
        else
            amli_hash(plain, strlen(plain), hash);
        free(plain);
    }
    if (!status && (!seal || strcmp(hash, seal) != 0))
        status = damaged(error, folder, "MANIFEST.json was altered");
    json_decref(kept);
    if (status)
        json_decref(manifest);
    else
        *out = manifest;
    return status;
}

static aml_status check_file(const char *folder, const char *name, json_t *entry, aml_error *error)
{
    char path[PATH_MAX], hash[AMLI_HASH_TEXT], what[256], *bytes;
    size_t length;
    const char *expected = json_string_value(json_object_get(entry, "sha256"));
    if (!expected || strchr(name, '/'))
        return damaged(error, folder, "MANIFEST.json names a file without its hash");
    aml_status status = amli_join(path, sizeof path, folder, name, error);
    if (!status)
        status = amli_read_file(path, &bytes, &length, error);
    if (status == AML_NOT_FOUND) {
        snprintf(what, sizeof what, "%.100s is missing", name);
        return damaged(error, folder, what);
    }
    if (status)
        return status;
    long long size = json_integer_value(json_object_get(entry, "bytes"));
    amli_hash(bytes, length, hash);
    free(bytes);
    if ((long long)length != size)
        snprintf(what, sizeof what, "%.100s should have %lld bytes, and has %zu", name, size,
                 length);
    else if (strcmp(hash, expected) != 0)
        snprintf(what, sizeof what,
                 "%.100s was altered: its SHA-256 should be %.16s..., and is %.16s...", name,
                 expected, hash);
    else
        return AML_OK;
    return damaged(error, folder, what);
}

static aml_status read_info(aml_checkpoint *checkpoint, json_t *files, aml_error *error)
{
    json_t *manifest = checkpoint->manifest, *score = json_object_get(manifest, "score");
    aml_checkpoint_info *info = &checkpoint->info;
    info->program = json_string_value(json_object_get(manifest, "program"));
    info->job = json_string_value(json_object_get(manifest, "job"));
    info->source_hash = json_string_value(json_object_get(manifest, "source_hash"));
    info->data_fingerprint = json_string_value(json_object_get(manifest, "data_fingerprint"));
    info->weights_hash =
        json_string_value(json_object_get(json_object_get(files, AMLI_WEIGHTS_FILE), "sha256"));
    info->step = json_integer_value(json_object_get(manifest, "step"));
    info->scored = json_is_number(score);
    info->score = json_number_value(score);
    info->score_name = json_string_value(json_object_get(manifest, "score_name"));
    if (json_integer_value(json_object_get(manifest, "format")) != 1)
        return amli_fail(error, AML_BAD_CHECKPOINT,
                         "the checkpoint %s has another format than this program reads",
                         checkpoint->folder);
    if (!info->program || !info->job || !info->source_hash || !info->data_fingerprint ||
        !info->weights_hash || !json_object_get(files, AMLI_OPTIMIZER_FILE) ||
        !json_object_get(files, AMLI_STATE_FILE))
        return damaged(error, checkpoint->folder, "MANIFEST.json is not complete");
    return AML_OK;
}

aml_status aml_checkpoint_open(const char *folder, aml_checkpoint **out, aml_error *error)
{
    *out = NULL;
    aml_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint)
        return amli_no_memory(error, sizeof *checkpoint, "a checkpoint");
    aml_status status = AML_OK;
    if ((size_t)snprintf(checkpoint->folder, sizeof checkpoint->folder, "%s", folder) >=
        sizeof checkpoint->folder)
        status = amli_fail(error, AML_INVALID, "the path %s is too long", folder);
    if (!status)
        status = read_manifest(folder, &checkpoint->manifest, error);
    json_t *files = checkpoint->manifest ? json_object_get(checkpoint->manifest, "files") : NULL,
           *entry;
    const char *name;
    if (!status)
        status = read_info(checkpoint, files, error);
    if (!status)
        json_object_foreach(files, name, entry) if (!status) status =
            check_file(folder, name, entry, error);
    char path[PATH_MAX];
    if (!status)
        status = amli_join(path, sizeof path, folder, AMLI_WEIGHTS_FILE, error);
    if (!status)
        status = aml_tensors_open(path, &checkpoint->weights, error);
    if (status) {
        aml_checkpoint_close(checkpoint);
        return status;
    }
    *out = checkpoint;
    return AML_OK;
}

void aml_checkpoint_close(aml_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    json_decref(checkpoint->manifest);
    aml_tensors_close(checkpoint->weights);
    free(checkpoint);
}

const aml_checkpoint_info *aml_checkpoint_describe(const aml_checkpoint *checkpoint)
{
    return &checkpoint->info;
}

const aml_tensors *aml_checkpoint_weights(const aml_checkpoint *checkpoint)
{
    return checkpoint->weights;
}

const char *aml_checkpoint_path(const aml_checkpoint *checkpoint)
{
    return checkpoint->folder;
}

aml_status amli_checkpoint_optimizer(const aml_checkpoint *checkpoint, aml_tensors **out,
                                     aml_error *error)
{
    char path[PATH_MAX];
    *out = NULL;
    aml_status status =
        amli_join(path, sizeof path, checkpoint->folder, AMLI_OPTIMIZER_FILE, error);
    return status ? status : aml_tensors_open(path, out, error);
}

aml_status amli_checkpoint_progress(const aml_checkpoint *checkpoint, amli_progress *progress,
                                    aml_error *error)
{
    char path[PATH_MAX], *text;
    size_t length;
    *progress = (amli_progress){0};
    aml_status status = amli_join(path, sizeof path, checkpoint->folder, AMLI_STATE_FILE, error);
    if (!status)
        status = amli_read_file(path, &text, &length, error);
    if (status)
        return status;
    status = amli_progress_read(path, text, length, progress, error);
    free(text);
    if (!status && progress->step != checkpoint->info.step) {
        amli_progress_free(progress);
        status = damaged(error, checkpoint->folder,
                         "state.json and MANIFEST.json disagree about the step");
    }
    return status;
}

bool amli_manifest_peek(const char *folder, amli_stored *stored)
{
    json_t *manifest;
    if (read_manifest(folder, &manifest, NULL) != AML_OK)
        return false;
    json_t *score = json_object_get(manifest, "score");
    *stored = (amli_stored){
        json_integer_value(json_object_get(manifest, "step")), json_is_number(score),
        json_is_true(json_object_get(manifest, "lower_is_better")), json_number_value(score)};
    json_decref(manifest);
    return true;
}

enum { SHOWN = 8 };

aml_status amli_check_state(const aml_job *job, const aml_tensors *tensors, unsigned roles,
                            bool exact, const char *name, aml_error *error)
{
    char text[AML_ERROR_ROOM / 2];
    size_t used = 0;
    int wrong = 0;
    text[0] = 0;
    amli_rows rows;
    aml_status status = amli_rows_make(job, roles, &rows, error);
    if (status)
        return status;
    for (int i = 0; i < rows.count; i++) {
        const aml_tensor_info *ours = &rows.at[i].tensor;
        char a[160], b[160];
        int32_t at = aml_tensors_find(tensors, ours->name);
        const aml_tensor_info *theirs = at < 0 ? NULL : aml_tensors_info(tensors, at);
        bool equal =
            theirs && theirs->dtype == ours->dtype && theirs->shape.rank == ours->shape.rank;
        for (int k = 0; equal && k < ours->shape.rank; k++)
            equal = theirs->shape.dim[k] == ours->shape.dim[k];
        if (equal || ++wrong > SHOWN || used >= sizeof text - 1)
            continue;
        used += (size_t)snprintf(
            text + used, sizeof text - used, "\n  %.200s: the program has %s, the checkpoint %s",
            ours->name, aml_shape_text(ours->dtype, &ours->shape, a, sizeof a),
            theirs ? aml_shape_text(theirs->dtype, &theirs->shape, b, sizeof b) : "none");
    }
    for (int32_t at = 0; exact && at < aml_tensors_count(tensors); at++) {
        const aml_tensor_info *theirs = aml_tensors_info(tensors, at);
        char a[160];
        bool known = false;
        for (int i = 0; i < rows.count && !known; i++)
            known = strcmp(rows.at[i].tensor.name, theirs->name) == 0;
        if (known || ++wrong > SHOWN || used >= sizeof text - 1)
            continue;
        used += (size_t)snprintf(
            text + used, sizeof text - used, "\n  %.200s: the program has none, the checkpoint %s",
            theirs->name, aml_shape_text(theirs->dtype, &theirs->shape, a, sizeof a));
    }
    amli_rows_free(&rows);
    if (wrong == 0)
        return AML_OK;
    if (wrong > SHOWN && used < sizeof text - 1)
        snprintf(text + used, sizeof text - used, "\n  and %d more", wrong - SHOWN);
    return amli_fail(error, AML_BAD_CHECKPOINT, "%s is of another model than '%s'%s", name,
                     job->name, text);
}

aml_status amli_load_state(const aml_job *job, const aml_tensors *tensors, unsigned roles,
                           amli_device *device, amli_memory state, aml_error *error)
{
    amli_rows rows;
    aml_status status = amli_rows_make(job, roles, &rows, error);
    if (status)
        return status;
    for (int i = 0; i < rows.count && !status; i++) {
        int32_t at = aml_tensors_find(tensors, rows.at[i].tensor.name);
        if (at >= 0)
            status = device->kind->upload(device, state, rows.at[i].offset,
                                          aml_tensors_data(tensors, at),
                                          aml_tensors_bytes(tensors, at), error);
    }
    amli_rows_free(&rows);
    return status;
}
