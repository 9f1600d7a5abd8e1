// The folder of a run: its configuration, what it is resumed from, its checkpoints.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/job/profile.h"
#include "runtime/job/train.h"

static aml_status lock_run(amli_training *training, aml_error *error)
{
    char path[PATH_MAX];
    aml_status status = amli_join(path, sizeof path, training->store.run, "lock", error);
    if (status)
        return status;
    training->lock = TEMP_FAILURE_RETRY(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (training->lock < 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(training->lock, LOCK_EX | LOCK_NB) != 0)
        return amli_fail(error, AML_IO, "the run %s is being trained by another process",
                         training->store.run);
    return AML_OK;
}

// The options that the run was begun with hold, unless the command line says otherwise.
static aml_status take_options(amli_training *training, aml_error *error)
{
    amli_command *command = training->command;
    const aml_program *program = command->program;
    for (int i = 0; i < training->progress.options; i++) {
        const char *name = training->progress.option_name[i],
                   *text = training->progress.option_text[i];
        int index = 0;
        while (index < program->options && strcmp(program->option[index].name, name) != 0)
            index++;
        if (index == program->options)
            return amli_fail(error, AML_BAD_CHECKPOINT,
                             "%s was begun with --%s, which this program does not have",
                             training->store.run, name);
        if (command->given[index]) {
            if (strcmp(command->given[index], text) != 0)
                amli_log_line(&training->log,
                              "note: --%s %s instead of %s, with which the run was begun", name,
                              command->given[index], text);
            continue;
        }
        aml_status status = amli_set_option(command, index, text, error);
        if (status)
            return status;
    }
    return AML_OK;
}

static aml_status take_numbers(amli_training *training, aml_error *error)
{
    amli_command *command = training->command;
    const amli_progress *progress = &training->progress;
    if (command->has_seed && command->seed != progress->seed)
        return amli_fail(error, AML_INVALID,
                         "%s was begun with --seed %lld, and cannot go on with %lld: weights and "
                         "order come from it",
                         training->store.run, (long long)progress->seed, (long long)command->seed);
    if (command->overfit && command->overfit != progress->overfit)
        return amli_fail(
            error, AML_INVALID, "%s was begun %s%.0lld, and cannot go on with --overfit %lld",
            training->store.run, progress->overfit ? "with --overfit " : "without --overfit",
            (long long)progress->overfit, (long long)command->overfit);
    command->has_seed = true;
    command->seed = progress->seed;
    command->overfit = progress->overfit;
    return AML_OK;
}

aml_status amli_training_find_run(amli_training *training, aml_error *error)
{
    amli_command *command = training->command;
    amli_store *store = &training->store;
    aml_status status =
        command->resume ? amli_run_find(command->runs, training->job->name, command->resume_run,
                                        false, store->run, error)
                        : amli_run_create(command->runs, training->job->name, store->run, error);
    char path[PATH_MAX];
    if (!status)
        status = amli_join(store->folder, sizeof store->folder, store->run, "checkpoints", error);
    if (!status)
        status = amli_join(path, sizeof path, store->run, "log.txt", error);
    if (!status)
        status = lock_run(training, error);
    if (!status)
        status = amli_log_file(&training->log, path, error);
    training->is_new = true;
    if (status || !command->resume)
        return status;
    status = amli_run_open(store->run, AML_WHICH_LAST, amli_log_notice, &training->log,
                           &training->resumed, error);
    if (status == AML_NOT_FOUND) {
        amli_log_line(&training->log, "note: %s has no checkpoint yet: it begins at step 0",
                      store->run);
        return AML_OK;
    }
    if (!status)
        status = amli_checkpoint_progress(training->resumed, &training->progress, error);
    if (!status) {
        training->is_new = false;
        status = take_options(training, error);
    }
    return status ? status : take_numbers(training, error);
}

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE, OPTIMIZER = 1 << AML_ROLE_OPTIMIZER };

static aml_status load_checkpoint(amli_training *training, aml_error *error)
{
    const aml_job *job = training->job;
    const aml_program *program = training->session.program;
    const aml_checkpoint_info *info = aml_checkpoint_describe(training->resumed);
    const char *path = aml_checkpoint_path(training->resumed);
    aml_tensors *optimizer = NULL;
    if (strcmp(info->job, job->name) != 0)
        return amli_fail(error, AML_BAD_CHECKPOINT, "%s is of the job '%s', not of '%s'", path,
                         info->job, job->name);
    aml_status status = amli_check_state(job, aml_checkpoint_weights(training->resumed), WEIGHTS,
                                         true, path, error);
    if (!status)
        status = amli_checkpoint_optimizer(training->resumed, &optimizer, error);
    if (!status)
        status = amli_check_state(job, optimizer, OPTIMIZER, true, path, error);
    if (!status && strcmp(info->source_hash, program->source_hash) != 0)
        status = amli_fail(error, AML_BAD_CHECKPOINT,
                           "%s was written by another program, so it cannot be resumed\n  its "
                           "source has the SHA-256 %.16s..., this program's %.16s...\n"
                           "help: build the source as it was, or begin a new run",
                           path, info->source_hash, program->source_hash);
    if (!status && strcmp(info->data_fingerprint, training->session.samples->fingerprint) != 0)
        status = amli_fail(error, AML_BAD_CHECKPOINT,
                           "%s was trained on other data, so it cannot be resumed\n  its data has "
                           "the SHA-256 %.16s..., %s has %.16s...\n"
                           "help: bring the data back, or begin a new run",
                           path, info->data_fingerprint, training->session.samples->path,
                           training->session.samples->fingerprint);
    if (!status)
        status = amli_load_state(job, aml_checkpoint_weights(training->resumed), WEIGHTS,
                                 training->session.device, training->session.state, error);
    if (!status)
        status = amli_load_state(job, optimizer, OPTIMIZER, training->session.device,
                                 training->session.state, error);
    aml_tensors_close(optimizer);
    return status;
}

// What is in the folder: sound checkpoints are remembered, damaged ones are put aside, unfinished
// ones are removed.
static aml_status scan_folder(amli_training *training, aml_error *error)
{
    amli_store *store = &training->store;
    amli_names names;
    aml_status status = amli_list_folder(store->folder, &names, error);
    for (int i = 0; i < names.count && !status; i++) {
        char path[PATH_MAX];
        bool unfinished =
            strncmp(names.name[i], ".new-", 5) == 0 || strncmp(names.name[i], ".old-", 5) == 0;
        status = amli_join(path, sizeof path, store->folder, names.name[i], error);
        // What was put aside to make room for the same step stays if the new one never came.
        char back[PATH_MAX];
        bool restored = !status && strncmp(names.name[i], ".old-", 5) == 0 &&
                        amli_join(back, sizeof back, store->folder, names.name[i] + 5, NULL) == 0 &&
                        !amli_exists(back) && amli_rename(path, back, NULL) == 0;
        if (!status && unfinished && !restored)
            status = amli_remove_folder(path, error);
    }
    amli_free_names(&names);
    int64_t *step = NULL;
    int count = 0;
    if (!status)
        status = amli_run_steps(store->folder, &step, &count, error);
    if (!status && count) {
        store->stored = calloc((size_t)count, sizeof *store->stored);
        store->capacity = store->stored ? count : 0;
        if (!store->stored)
            status = amli_no_memory(error, (size_t)count * sizeof *store->stored,
                                    "the list of checkpoints");
    }
    for (int i = 0; i < count && !status; i++) {
        char name[32], path[PATH_MAX], aside[PATH_MAX], damaged[48];
        amli_step_name(step[i], name);
        snprintf(damaged, sizeof damaged, "damaged-%s", name);
        status = amli_join(path, sizeof path, store->folder, name, error);
        if (!status)
            status = amli_join(aside, sizeof aside, store->folder, damaged, error);
        amli_stored stored;
        // What is newer than the checkpoint that is resumed was found to be damaged.
        if (!status && step[i] <= training->progress.step && amli_manifest_peek(path, &stored)) {
            store->stored[store->count++] = stored;
        } else if (!status) {
            status = amli_remove_folder(aside, error);
            if (!status)
                status = amli_rename(path, aside, error);
        }
    }
    free(step);
    return status;
}

static void config_options(const amli_command *command, amli_buffer *text)
{
    const aml_program *program = command->program;
    for (int i = 0; i < program->options; i++) {
        const aml_option *option = &program->option[i];
        char value[600], number[40];
        const char *suffix = "";
        switch (option->type) {
        case AML_OPTION_BOOL:
            snprintf(value, sizeof value, "%s", command->value[i].whole ? "true" : "false");
            break;
        case AML_OPTION_INT:
            snprintf(value, sizeof value, "%lld", (long long)command->value[i].whole);
            break;
        case AML_OPTION_TEXT:
            snprintf(value, sizeof value, "\"%.500s\"", command->text[i] ? command->text[i] : "");
            break;
        case AML_OPTION_DURATION:
            suffix = amli_unit_text(command->unit[i]); // fall through
        case AML_OPTION_REAL:
        case AML_OPTION_FRACTION:
        case AML_OPTION_BYTES:
            snprintf(value, sizeof value, "%s%s%s",
                     amli_real_text(command->value[i].real, number, sizeof number),
                     *suffix ? " " : "", suffix);
            break;
        }
        amli_buffer_printf(text, "option %s = %s    // %s\n", option->name, value,
                           command->given[i] ? "command line"
                           : option->place   ? option->place
                                             : "default");
    }
}

// config.aml: every effective setting with its origin.
static aml_status write_config(amli_training *training, aml_error *error)
{
    const amli_session *session = &training->session;
    const aml_program *program = session->program;
    amli_buffer text = {0};
    amli_buffer_printf(
        &text,
        "aml 1\n\n/// The effective settings of this run of %s, each with its origin.\n/// source "
        "%s, SHA-256 %s\n"
        "/// data %s, SHA-256 %s\n/// seed %lld%s, %d threads, compiled by %s for %s\n\n",
        training->job->name, program->source, program->source_hash, session->samples->path,
        session->samples->fingerprint, (long long)session->seed,
        training->command->has_seed ? " (command line)" : "",
        amli_pool_threads(session->device->pool), program->compiler, program->cpu_level);
    for (int i = 0; i < program->fixeds; i++)
        amli_buffer_printf(&text, "const %s = %s    // %s\n", program->fixed[i].name,
                           program->fixed[i].value,
                           program->fixed[i].place ? program->fixed[i].place : "default");
    config_options(training->command, &text);
    const char *block = NULL;
    for (int i = 0; i < program->effectives; i++) {
        const aml_effective *e = &program->effective[i];
        if (!block || strcmp(block, e->block) != 0)
            amli_buffer_printf(&text, "%s\n%s {\n", block ? "}\n" : "", e->block);
        block = e->block;
        amli_buffer_printf(&text, "  %s: %s    // %s\n", e->setting, e->value, e->origin);
    }
    if (block)
        amli_buffer_printf(&text, "}\n");
    aml_status status = text.failed ? amli_no_memory(error, text.length, "config.aml")
                                    : amli_replace_file(training->store.run, "config.aml",
                                                        text.text, text.length, error);
    amli_buffer_free(&text);
    return status;
}

static aml_status remember_options(amli_training *training, aml_error *error)
{
    const amli_command *command = training->command;
    char **name = training->progress.option_name, **text = training->progress.option_text;
    int count = training->progress.options;
    training->progress.options = 0;
    training->progress.option_name = training->progress.option_text = NULL;
    aml_status status = AML_OK;
    for (int i = 0; i < command->program->options && !status; i++)
        if (command->given[i])
            status = amli_progress_add_option(&training->progress, command->program->option[i].name,
                                              command->given[i], error);
    // command->given may point to the old ones: they live on in the new ones
    for (int i = 0, k = 0; i < command->program->options && !status; i++)
        if (command->given[i])
            status =
                amli_set_option(training->command, i, training->progress.option_text[k++], error);
    amli_progress old = {.options = count, .option_name = name, .option_text = text};
    amli_progress_free(&old);
    return status;
}

// The tensors of a file, or of the checkpoint of another training; `found` says where they were.
static aml_status open_load(amli_training *training, const aml_load *load, char *found,
                            aml_checkpoint **checkpoint, aml_tensors **tensors, aml_error *error)
{
    char path[PATH_MAX];
    if (load->job) {
        aml_status status = aml_checkpoint_find(training->command->runs, load->job, load->which,
                                                amli_log_notice, &training->log, checkpoint, error);
        if (!status)
            snprintf(found, PATH_MAX, "%s", aml_checkpoint_path(*checkpoint));
        return status;
    }
    aml_status status = amli_text_value(training->command, &load->path, path, error);
    if (!status)
        status =
            amli_locate(path, training->session.program->source_dir, load->place, found, error);
    return status ? status : aml_tensors_open(found, tensors, error);
}

// Initial values, then what files have.
aml_status amli_training_begin_weights(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    const aml_job *job = training->job;
    aml_status status = amli_session_run(session, &session->init, 0, error);
    if (!status)
        status = amli_statistics_store(session, error);
    for (int i = 0; i < job->loads && !status; i++) {
        const aml_load *load = &job->load[i];
        char found[PATH_MAX];
        aml_tensors *tensors = NULL;
        aml_checkpoint *checkpoint = NULL;
        status = open_load(training, load, found, &checkpoint, &tensors, error);
        const aml_tensors *from = checkpoint ? aml_checkpoint_weights(checkpoint) : tensors;
        if (!status)
            status = amli_load_file(job, load, from, found, session->device, session->state, error);
        amli_buffer summary = {0};
        if (!status)
            status = amli_load_summary(job, load, from, &summary, error);
        if (!status && !summary.failed)
            amli_log_line(&training->log, "weights from %s: %s", found, summary.text);
        amli_buffer_free(&summary);
        aml_checkpoint_close(checkpoint);
        aml_tensors_close(tensors);
    }
    return status;
}

// A training whose checkpoints do not fit is refused before it has computed anything.
static aml_status check_room(const amli_training *training, aml_error *error)
{
    int missing = amli_checkpoints_kept(training->job) + 1 - training->store.count;
    double bytes = (double)missing * (double)amli_checkpoint_bytes(training->job);
    return missing > 0 ? amli_check_room(training->store.folder, bytes,
                                         "the checkpoints of this training take", error)
                       : AML_OK;
}

aml_status amli_training_begin_state(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    amli_store *store = &training->store;
    const aml_job *job = training->job;
    store->program = session->program;
    store->job = job;
    store->data_fingerprint = session->samples->fingerprint;
    store->score_name = job->keep_metric >= 0 ? job->metric[job->keep_metric].name : "loss";
    store->lower_is_better =
        job->keep_metric >= 0 ? job->metric[job->keep_metric].lower_is_better : true;
    aml_status status = remember_options(training, error);
    if (!status)
        status = training->is_new ? amli_training_begin_weights(training, error)
                                  : load_checkpoint(training, error);
    aml_checkpoint_close(training->resumed);
    training->resumed = NULL;
    if (status)
        return status;
    training->progress.seed = session->seed;
    training->progress.batch = job->batch;
    training->progress.overfit = training->command->overfit;
    char path[PATH_MAX];
    if (!training->is_new || training->command->resume)
        status = scan_folder(training, error);
    if (!status)
        status = check_room(training, error);
    if (!status)
        status = amli_writer_new(store, amli_snapshots(training->job), &training->writer, error);
    training->asked_step = training->is_new ? -1 : training->progress.step;
    if (!status)
        status = amli_join(path, sizeof path, store->run, "metrics.jsonl", error);
    if (!status)
        status = amli_figures_open(&training->figures, path, training->progress.log_bytes, error);
    if (!status && training->command->tensorboard)
        status =
            amli_events_open(&training->figures.events, store->run, training->progress.step, error);
    if (!status && training->is_new)
        status = amli_training_pictures(training, error);
    if (!status)
        status = write_config(training, error);
    return status ? status : amli_sync_folder(store->run, error);
}

// Fills the next snapshot.
static aml_status take_snapshot(amli_training *training, amli_snapshot **out, aml_error *error)
{
    amli_session *session = &training->session;
    aml_status status = amli_writer_next(training->writer, out, error);
    if (!status)
        status = session->device->kind->download(session->device, session->state, 0, (*out)->state,
                                                 training->job->state_bytes, error);
    if (!status)
        (*out)->progress = training->progress;
    return status;
}

aml_status amli_training_remember(amli_training *training, aml_error *error)
{
    amli_snapshot *snapshot;
    aml_status status = take_snapshot(training, &snapshot, error);
    return status ? status : amli_writer_put(training->writer, false, error);
}

aml_status amli_training_save(amli_training *training, bool scored, double score, aml_error *error)
{
    amli_snapshot *snapshot;
    double begin = amli_seconds();
    aml_status status = amli_figures_flush(&training->figures, error);
    training->progress.log_bytes = training->figures.written;
    if (!status)
        status = take_snapshot(training, &snapshot, error);
    if (!status) {
        snapshot->scored = scored;
        snapshot->score = score;
        snapshot->log = training->figures.file;
        snapshot->log_path = training->figures.path;
        status = amli_writer_put(training->writer, true, error);
    }
    if (!status)
        training->asked_step = training->progress.step;
    training->paused += amli_seconds() - begin;
    amli_profile_part(training->session.profile, AMLI_PROFILE_CHECKPOINT, begin);
    return status;
}

const amli_stored *amli_training_best(const amli_training *training)
{
    const amli_store *store = &training->store;
    const amli_stored *best = NULL;
    for (int i = 0; i < store->count; i++) {
        const amli_stored *stored = &store->stored[i];
        if (stored->scored && (!best || (store->lower_is_better ? stored->score < best->score
                                                                : stored->score > best->score)))
            best = stored;
    }
    return best;
}

// The checkpoint is this program's own, so only its files can be wrong.
static aml_status load_stored(amli_training *training, int64_t step, aml_error *error)
{
    char name[32], path[PATH_MAX];
    amli_step_name(step, name);
    aml_checkpoint *checkpoint = NULL;
    aml_tensors *optimizer = NULL;
    amli_device *device = training->session.device;
    amli_memory state = training->session.state;
    aml_status status = amli_join(path, sizeof path, training->store.folder, name, error);
    if (!status)
        status = aml_checkpoint_open(path, &checkpoint, error);
    if (!status)
        status = amli_checkpoint_optimizer(checkpoint, &optimizer, error);
    if (!status)
        status = amli_check_state(training->job, aml_checkpoint_weights(checkpoint), WEIGHTS, true,
                                  path, error);
    if (!status)
        status = amli_check_state(training->job, optimizer, OPTIMIZER, true, path, error);
    if (!status)
        status = amli_load_state(training->job, aml_checkpoint_weights(checkpoint), WEIGHTS, device,
                                 state, error);
    if (!status)
        status = amli_load_state(training->job, optimizer, OPTIMIZER, device, state, error);
    aml_tensors_close(optimizer);
    aml_checkpoint_close(checkpoint);
    return status;
}

aml_status amli_training_restore(amli_training *training, bool scored, double score,
                                 aml_error *error)
{
    const amli_stored *best = amli_training_best(training);
    if (!best ||
        (scored && (training->store.lower_is_better ? score < best->score : score > best->score)))
        return AML_OK;
    int64_t step = best->step;
    aml_status status = amli_training_wait(training, error); // it may be still to be written
    if (!status)
        status = load_stored(training, step, error);
    if (!status)
        amli_log_line(&training->log, "restored: the state after step %lld, %s %.4f",
                      (long long)step, training->store.score_name, best->score);
    return status;
}

aml_status amli_training_wait(amli_training *training, aml_error *error)
{
    double begin = amli_seconds();
    aml_status status = amli_writer_wait(training->writer, error);
    training->saved_step = amli_writer_describe(training->writer).last_step;
    training->paused += amli_seconds() - begin;
    amli_profile_part(training->session.profile, AMLI_PROFILE_CHECKPOINT, begin);
    return status;
}

void amli_training_end_run(amli_training *training)
{
    aml_checkpoint_close(training->resumed);
    amli_writer_free(training->writer);
    amli_figures_close(&training->figures);
    amli_store_free(&training->store);
    amli_progress_free(&training->progress);
    amli_log_end(&training->log);
    if (training->lock >= 0)
        close(training->lock);
    training->lock = -1;
}
