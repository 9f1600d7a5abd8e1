// The training loop. The numeric part is compiled; this decides what happens after which step.
//
// Everything that is decided depends on the step number and on figures that are in the checkpoint,
// never on the clock or on when the process began (unless the program asks for seconds). So a run
// that is killed and resumed goes through the same steps, validations and checkpoints as one that
// was never interrupted, and ends in the same bytes.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/drawing.h"
#include "runtime/job/profile.h"
#include "runtime/job/train.h"

// ---- when

static int64_t round_up(double steps)
{
    if (!(steps < 9e18))
        return INT64_MAX;
    int64_t whole = (int64_t)steps;
    return steps - (double)whole > 1e-9 * (steps + 1) ? whole + 1 : whole;
}

bool amli_training_due(const amli_training *training, const aml_quantity *every, int64_t *count)
{
    double value;
    aml_unit unit;
    amli_quantity_value(training->command, every, &value, &unit);
    if (!(value > 0))
        return false;
    bool due = false;
    if (unit == AML_UNIT_SECONDS) {
        due = training->progress.seconds >= (double)(*count + 1) * value;
        if (due)
            *count = (int64_t)(training->progress.seconds / value);
        return due;
    }
    double steps = unit == AML_UNIT_EPOCHS ? value * training->session.epoch_steps : value;
    if (steps < 1)
        steps = 1;
    while (training->progress.step >= round_up((double)(*count + 1) * steps)) {
        ++*count;
        due = true;
    }
    return due;
}

static double length_in_seconds(const amli_training *training)
{
    double value;
    aml_unit unit;
    amli_quantity_value(training->command, &training->job->length, &value, &unit);
    return unit == AML_UNIT_SECONDS ? value : INFINITY;
}

// A length in seconds is turned into steps by the rate so far, for the schedules.
static void estimate_total(amli_training *training)
{
    double limit = length_in_seconds(training), seconds = training->progress.seconds;
    int64_t step = training->progress.step;
    if (limit == INFINITY)
        return;
    training->session.total_steps =
        step < 10 || seconds <= 0
            ? (int64_t)1 << 40
            : step + 1 + (int64_t)((limit - seconds) / seconds * (double)step);
}

// ---- early stop

static double score_of(const amli_measured *measured, int32_t metric)
{
    return metric >= 0 ? measured->value[metric][0] : measured->loss;
}

static bool has_reached(const aml_job *job, bool lower, double score)
{
    return job->stop_reaches && (lower ? score <= job->stop_reach : score >= job->stop_reach);
}

// Notes the best validation; true if there was none better for longer than the patience, or if this
// one is as good as was asked for.
static bool out_of_patience(amli_training *training, const amli_measured *measured)
{
    const aml_job *job = training->job;
    amli_progress *progress = &training->progress;
    if (job->stop_metric == -2)
        return false;
    double score = score_of(measured, job->stop_metric);
    bool lower = job->stop_metric < 0 || job->metric[job->stop_metric].lower_is_better;
    bool better = !progress->has_best || (lower ? score < progress->best - job->stop_min_delta
                                                : score > progress->best + job->stop_min_delta);
    if (better && !isnan(score)) {
        progress->has_best = true;
        progress->best = score;
        progress->best_step = progress->step;
    }
    if (has_reached(job, lower, score))
        return true;
    double value;
    aml_unit unit;
    amli_quantity_value(training->command, &job->stop_patience, &value, &unit);
    double steps = unit == AML_UNIT_EPOCHS ? value * training->session.epoch_steps : value;
    return unit != AML_UNIT_SECONDS && progress->step - progress->best_step >= round_up(steps);
}

// ---- what is told

static void put_counts(amli_training *training, amli_buffer *line)
{
    const amli_session *session = &training->session;
    int64_t step = training->progress.step, total = session->total_steps;
    double epoch = session->epoch_steps > 0 ? (double)step / session->epoch_steps : 0;
    bool timed = length_in_seconds(training) != INFINITY;
    if (timed)
        amli_buffer_printf(line, "epoch %.1f  step %lld", epoch, (long long)step);
    else
        amli_buffer_printf(line, "epoch %.1f/%.3g  step %lld/%lld", epoch,
                           session->epoch_steps > 0 ? (double)total / session->epoch_steps : 0,
                           (long long)step, (long long)total);
}

#define RATE_SECONDS 2.0

static void note_step(amli_training *training, double seconds)
{
    training->stepping += seconds;
    if (training->stepping - training->next.stepping < RATE_SECONDS)
        return;
    training->from = training->next;
    training->next.step = training->progress.step;
    training->next.stepping = training->stepping;
}

// The rate is that of the steps alone, of late; what is left is told by all that was done so far.
static void put_rate(amli_training *training, double now, amli_buffer *line)
{
    char text[40];
    double stepping = training->stepping - training->from.stepping, spent = now - training->started;
    double rate =
        stepping > 0 ? (double)(training->progress.step - training->from.step) / stepping : 0;
    int64_t done = training->progress.step - training->first_step,
            rest = training->session.total_steps - training->progress.step;
    double left = length_in_seconds(training) != INFINITY
                      ? length_in_seconds(training) - training->progress.seconds
                  : done > 0 ? (double)rest * spent / (double)done
                             : 0;
    amli_buffer_printf(line, rate >= 10 ? "  %.0f steps/s" : "  %.2f steps/s", rate);
    if (left > 0 && rate > 0)
        amli_buffer_printf(line, "  %s left", amli_seconds_text(left, text, sizeof text));
}

static void show_progress(amli_training *training, double now)
{
    if (!amli_log_progress_due(&training->log, now))
        return;
    amli_buffer line = {0};
    put_counts(training, &line);
    amli_buffer_printf(&line, "  loss %.4f", training->last_loss);
    if (training->measured_once)
        amli_measured_line(&training->last, "valid_loss", &line);
    put_rate(training, now, &line);
    if (!line.failed)
        amli_log_progress(&training->log, now, "%s", line.text);
    amli_buffer_free(&line);
}

// ---- validation

static aml_status validate(amli_training *training, aml_error *error)
{
    amli_progress *progress = &training->progress;
    amli_measured measured;
    aml_status status = amli_measure(&training->session, training->valid_row, training->valid_rows,
                                     progress->step, &measured, error);
    if (status)
        return status;
    amli_measured_free(&training->last);
    training->last = measured;
    training->measured_once = true;
    double mean = progress->loss_count ? progress->loss_sum / (double)progress->loss_count : NAN;
    progress->loss_sum = 0;
    progress->loss_count = 0;
    amli_buffer *figures = &training->figures.buffer;
    amli_buffer_printf(
        figures, "{\"step\": %lld, \"epoch\": %.6g, \"train_loss\": ", (long long)progress->step,
        training->session.epoch_steps > 0 ? (double)progress->step / training->session.epoch_steps
                                          : 0);
    amli_json_number(figures, mean);
    if (measured.job->has_loss || measured.job->metrics)
        amli_buffer_add(figures, ", ", 2);
    amli_measured_json(&measured, "valid_loss", figures);
    amli_buffer_printf(figures, "}");
    status = amli_figures_end_line(&training->figures, error);
    if (!status)
        status = amli_training_histograms(training, error);
    amli_buffer line = {0};
    put_counts(training, &line);
    amli_buffer_printf(&line, "  loss %.4f", mean);
    amli_measured_line(&measured, "valid_loss", &line);
    put_rate(training, amli_seconds(), &line);
    if (!line.failed)
        amli_log_line(&training->log, "%s", line.text);
    amli_buffer_free(&line);
    return status;
}

// Whether a checkpoint with this score would stay as one of the best.
static bool would_be_kept(const amli_training *training, double score)
{
    int better = 0;
    for (int i = 0; i < training->store.count; i++) {
        const amli_stored *stored = &training->store.stored[i];
        if (stored->scored && stored->step != training->progress.step)
            better +=
                training->store.lower_is_better ? stored->score <= score : stored->score >= score;
    }
    return better < training->job->keep_best;
}

// ---- the loop

static bool at_end(const amli_training *training)
{
    double limit = length_in_seconds(training);
    return training->stopped_early ||
           (limit == INFINITY ? training->progress.step >= training->session.total_steps
                              : training->progress.seconds >= limit);
}

static aml_status after_step(amli_training *training, bool halting, aml_error *error)
{
    const aml_job *job = training->job;
    amli_progress *progress = &training->progress;
    bool can_validate = training->valid_rows > 0 && (job->eval.run || job->eval_one.run);
    bool validating = amli_training_due(training, &job->validate_every, &progress->next_validation);
    bool saving = amli_training_due(training, &job->checkpoint_every, &progress->next_checkpoint);
    double every;
    aml_unit unit;
    amli_quantity_value(training->command, &job->validate_every, &every, &unit);
    validating = validating || (at_end(training) && every > 0) || (saving && job->keep_best > 0);
    bool scored = false;
    double score = 0;
    aml_status status = AML_OK;
    if (validating && can_validate) {
        status = validate(training, error);
        if (status)
            return status;
        if (job->validated.run) {
            training->session.measured = &training->last;
            status = amli_session_run(&training->session, &training->session.validated,
                                      progress->step, error);
        }
        if (status)
            return status;
        training->stopped_early = out_of_patience(training, &training->last);
        score = score_of(&training->last, job->keep_metric);
        scored = isfinite(score);
        saving = saving || (scored && job->keep_best > 0 && would_be_kept(training, score));
    }
    progress->finished = at_end(training);
    if (progress->finished && job->stop_restores)
        status = amli_training_restore(training, scored, score, error);
    if (!status && (saving || progress->finished || halting))
        status = amli_training_save(training, scored, score, error);
    return status;
}

static aml_status interrupted(const amli_training *training, int number, aml_error *error)
{
    const amli_command *command = training->command;
    bool elsewhere = strcmp(command->runs, "runs") != 0;
    return amli_fail(error, number == SIGINT ? AML_INTERRUPTED : AML_TERMINATED,
                     "interrupted after step %lld; its checkpoint is complete\nhelp: go on with "
                     "`%s train %s --resume%s%s`",
                     (long long)training->progress.step, command->name, training->job->name,
                     elsewhere ? " --runs " : "", elsewhere ? command->runs : "");
}

// Whether this session ends here, though the training does not.
static bool is_halted(const amli_training *training, double now)
{
    const amli_command *command = training->command;
    return (command->has_steps && training->progress.step >= command->steps) ||
           (command->time_limit > 0 && now - training->started >= command->time_limit);
}

static aml_status loop(amli_training *training, aml_error *error)
{
    amli_progress *progress = &training->progress;
    aml_status status = training->is_new ? amli_training_save(training, false, 0, error)
                                         : amli_training_remember(training, error);
    training->started = amli_seconds();
    training->log.shown = training->started; // progress is shown once there is some
    training->first_step = progress->step;
    training->from.step = training->next.step = progress->step;
    training->seconds_before = progress->seconds;
    while (!status && !at_end(training) && !is_halted(training, training->started)) {
        if (amli_signal_seen())
            break;
        estimate_total(training);
        double before = amli_seconds();
        bool went_back;
        status = amli_training_step(training, &went_back, error);
        double now = amli_seconds();
        note_step(training, now - before);
        progress->seconds = training->seconds_before + now - training->started;
        if (went_back)
            continue;
        bool halting = amli_signal_seen() || is_halted(training, now);
        if (!status)
            status = after_step(training, halting, error);
        if (halting)
            break;
        if (!status && amli_writer_failed(training->writer))
            status = amli_training_wait(training, error);
        if (!status)
            show_progress(training, now);
    }
    if (!status && amli_signal_seen() && !progress->finished) {
        if (training->asked_step != progress->step)
            status = amli_training_save(training, false, 0, error);
        if (!status)
            status = amli_training_wait(training, error);
        return status ? status : interrupted(training, amli_signal_seen(), error);
    }
    return status ? status : amli_training_wait(training, error);
}

// ---- beginning and end

aml_status amli_training_choose_rows(amli_training *training, aml_error *error)
{
    const amli_split *split = &training->session.samples->split;
    int64_t overfit = training->command->overfit;
    training->train_row = split->row[AML_PART_TRAIN];
    training->train_rows = split->rows[AML_PART_TRAIN];
    training->valid_row = split->row[AML_PART_VALID];
    training->valid_rows = split->rows[AML_PART_VALID];
    if (training->train_rows == 0)
        return amli_fail(error, AML_BAD_DATA, "the data set '%s' (%s) has no rows to train on",
                         training->session.dataset->name, training->session.dataset->place);
    if (overfit > 0) {
        if (overfit < training->train_rows)
            training->train_rows = overfit;
        training->valid_row = training->train_row;
        training->valid_rows = training->train_rows;
    }
    training->batch_row = calloc((size_t)training->job->batch + 1, sizeof *training->batch_row);
    training->next_row = calloc((size_t)training->job->batch + 1, sizeof *training->next_row);
    training->next_number = -1;
    if (!training->batch_row || !training->next_row)
        return amli_no_memory(error, (size_t)training->job->batch * sizeof *training->batch_row,
                              "a batch");
    int64_t offsets = overfit > 0 ? 1 : split->offsets;
    aml_status status = amli_sampler_new(training->train_row, training->train_rows, offsets,
                                         training->session.seed, &training->sampler, error);
    const amli_drawing *drawing = training->session.samples->drawing;
    return !status && drawing && overfit == 0
               ? amli_sampler_draw(&training->sampler, drawing, error)
               : status;
}

static void announce(amli_training *training)
{
    const amli_session *session = &training->session;
    const amli_need need = amli_job_need(training->job);
    int64_t weights = 0;
    char memory[32];
    for (int i = 0; i < training->job->states; i++)
        if (training->job->state[i].role == AML_ROLE_WEIGHT)
            weights += aml_shape_elements(&training->job->state[i].tensor.shape);
    amli_log_line(&training->log,
                  "%s: %lld weights, %lld rows to train on, %lld to validate, %s, %d thread%s, %s",
                  training->job->name, (long long)weights, (long long)training->train_rows,
                  (long long)training->valid_rows,
                  amli_bytes_text(
                      (double)(need.state + need.snapshot + need.arena + need.batch +
                               amli_data_bytes(training->command, training->job, session->samples)),
                      memory, sizeof memory),
                  amli_pool_threads(session->device->pool),
                  amli_pool_threads(session->device->pool) == 1 ? "" : "s", training->store.run);
    if (!training->is_new)
        amli_log_line(&training->log, "resumed at step %lld", (long long)training->progress.step);
    if (training->valid_rows == 0 &&
        (training->job->validate_every.value > 0 || training->job->keep_best > 0 ||
         training->job->stop_metric != -2))
        amli_log_line(&training->log, "warning: the split leaves no rows to validate: no "
                                      "validation, no best checkpoint, no early stop");
}

// The most that the process ever had in memory, in bytes, as the system counts; 0: it does not
// tell. getrusage would count what was there before exec as well.
static int64_t peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long long kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

static void summary_json(const amli_training *training, const amli_stored *best)
{
    const amli_session *session = &training->session;
    amli_buffer text = {0};
    amli_buffer_printf(&text, "{\"job\": ");
    amli_json_text(&text, training->job->name);
    amli_buffer_printf(&text, ", \"run\": ");
    amli_json_text(&text, training->store.run);
    amli_buffer_printf(
        &text, ", \"step\": %lld, \"finished\": %s, \"stopped_early\": %s, \"seconds\": ",
        (long long)training->progress.step, training->progress.finished ? "true" : "false",
        training->stopped_early ? "true" : "false");
    amli_json_number(&text, training->progress.seconds);
    amli_buffer_printf(&text, ", \"seed\": %lld, \"loss\": ", (long long)session->seed);
    amli_json_number(&text,
                     training->progress.step > training->first_step ? training->last_loss : NAN);
    if (training->measured_once) {
        amli_buffer_printf(&text, ", \"validation\": {");
        amli_measured_json(&training->last, "loss", &text);
        amli_buffer_printf(&text, "}");
    }
    if (best) {
        amli_buffer_printf(&text, ", \"best\": {\"step\": %lld, ", (long long)best->step);
        amli_json_text(&text, training->store.score_name);
        amli_buffer_printf(&text, ": ");
        amli_json_number(&text, best->score);
        amli_buffer_printf(&text, "}");
    }
    int64_t skipped = amli_training_skipped(training);
    if (skipped >= 0)
        amli_buffer_printf(&text, ", \"skipped_steps\": %lld", (long long)skipped);
    amli_buffer_printf(&text, ", \"data\": {\"waited_seconds\": ");
    amli_json_number(&text, training->waited);
    amli_buffer_printf(&text, ", \"loaders\": %d}",
                       training->loader ? amli_loader_threads(training->loader) : 0);
    amli_writer_figures writer = amli_writer_describe(training->writer);
    amli_buffer_printf(
        &text, ", \"checkpoints\": {\"written\": %lld, \"passed_over\": %lld, \"seconds\": ",
        (long long)writer.count, (long long)writer.passed);
    amli_json_number(&text, writer.seconds);
    amli_buffer_printf(&text, ", \"pause\": ");
    amli_json_number(&text, training->paused);
    amli_buffer_printf(
        &text,
        "}, \"peak_memory\": %lld, \"memory\": {\"state\": %zu, \"snapshot\": %zu, \"arena\": %zu, "
        "\"batch\": %zu, \"data\": %zu}}",
        (long long)peak_memory(), session->device->allocated[AMLI_FOR_STATE],
        amli_job_need(training->job).snapshot, session->device->allocated[AMLI_FOR_ARENA],
        session->device->allocated[AMLI_FOR_BATCH],
        amli_data_bytes(training->command, training->job, session->samples));
    if (!text.failed)
        puts(text.text);
    amli_buffer_free(&text);
}

static void summarize(amli_training *training)
{
    char seconds[40];
    const amli_stored *best = amli_training_best(training);
    if (training->command->json) {
        summary_json(training, best);
        return;
    }
    amli_log_line(&training->log, "%s: %s after step %lld, %s", training->job->name,
                  training->stopped_early       ? "stopped early"
                  : training->progress.finished ? "done"
                                                : "halted",
                  (long long)training->progress.step,
                  amli_seconds_text(training->progress.seconds, seconds, sizeof seconds));
    int64_t skipped = amli_training_skipped(training);
    if (skipped > 0)
        amli_log_line(&training->log,
                      "%lld step%s left out: f16 could not hold the gradients (see loss_scale)",
                      (long long)skipped, skipped == 1 ? " was" : "s were");
    if (best)
        amli_log_line(&training->log, "best: step %lld, %s %.4f", (long long)best->step,
                      training->store.score_name, best->score);
    double share = training->stepping > 0 ? training->waited / training->stepping : 0;
    if (training->loader)
        amli_log_line(&training->log,
                      "data: training waited %.1f%% of the time for batches, which %d loader "
                      "thread%s made",
                      share * 100, amli_loader_threads(training->loader),
                      amli_loader_threads(training->loader) == 1 ? "" : "s");
    if (training->saved_step >= 0) {
        char name[32], paused[40], written[40];
        amli_writer_figures writer = amli_writer_describe(training->writer);
        amli_step_name(training->saved_step, name);
        amli_log_line(&training->log,
                      "checkpoint: %s/%s; %lld written in %s, the training waited %s",
                      training->store.folder, name, (long long)writer.count,
                      amli_seconds_text(writer.seconds, written, sizeof written),
                      amli_seconds_text(training->paused, paused, sizeof paused));
    }
}

// A run that is complete has nothing to go on with, unless its length was raised.
static bool is_complete(const amli_training *training)
{
    const aml_job *job = training->job;
    if (!training->progress.finished || training->is_new)
        return false;
    if (at_end(training))
        return true;
    double value;
    aml_unit unit;
    amli_quantity_value(training->command, &job->stop_patience, &value, &unit);
    double steps = unit == AML_UNIT_EPOCHS ? value * training->session.epoch_steps : value;
    if (job->stop_metric == -2 || !training->progress.has_best)
        return false;
    bool lower = job->stop_metric < 0 || job->metric[job->stop_metric].lower_is_better;
    return has_reached(job, lower, training->progress.best) ||
           training->progress.step - training->progress.best_step >= round_up(steps);
}

static aml_status tell_profile(amli_training *training, aml_error *error)
{
    const amli_profile *profile = training->session.profile;
    double end = amli_seconds();
    amli_profile_print(profile, end, stderr);
    aml_status status = amli_profile_write(profile, end, training->store.run, error);
    if (!status)
        amli_log_line(&training->log, "profile: %s/%s", training->store.run, AMLI_PROFILE_FILE);
    return status;
}

aml_status amli_training_start_loader(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    session->ahead = training->progress.ahead;
    return amli_session_loader(session, &training->sampler,
                               training->progress.step + session->ahead,
                               training->command->overfit == 0, &training->loader, error);
}

static aml_status train(amli_training *training, const amli_device_kind *kind, aml_error *error)
{
    aml_status status = amli_training_find_run(training, error);
    if (!status)
        status =
            amli_session_open(training->command, training->job, kind, &training->session, error);
    // of another program's checkpoint it is said later that it is one
    if (!status && training->resumed &&
        strcmp(aml_checkpoint_describe(training->resumed)->source_hash,
               training->session.program->source_hash) == 0)
        status = amli_statistics_load(
            training->session.dataset, aml_checkpoint_weights(training->resumed),
            aml_checkpoint_path(training->resumed), &training->session.statistic, error);
    if (!status)
        status = amli_session_load(&training->session, &training->log, error);
    if (!status)
        status = amli_training_choose_rows(training, error);
    if (!status)
        status = amli_training_begin_state(training, error);
    if (status)
        return status;
    announce(training);
    if (is_complete(training)) {
        amli_log_line(&training->log, "%s is complete", training->store.run);
    } else {
        training->progress.finished = false;
        status = amli_figures_of_step(training, error);
        if (!status)
            status = amli_training_start_loader(training, error);
        if (!status && training->command->profile)
            status = amli_profile_new(training->job, training->session.device,
                                      &training->session.profile, error);
        amli_signals_begin();
        status = status ? status : loop(training, error);
        amli_signals_end();
        if (!status && training->session.profile)
            status = tell_profile(training, error);
    }
    if (!status)
        summarize(training);
    return status;
}

// The run of a training that ends in a mistake before its first checkpoint is of no use to anyone.
static void remove_empty_run(amli_training *training)
{
    if (training->command->resume || training->saved_step >= 0 || !training->store.run[0] ||
        !training->store.folder[0])
        return;
    // A write may have failed after its checkpoint was complete.
    int64_t *step;
    int count;
    aml_status status = amli_run_steps(training->store.folder, &step, &count, NULL);
    free(step);
    if (status || count)
        return;
    amli_remove_folder(training->store.folder, NULL);
    amli_remove_folder(training->store.run, NULL);
}

aml_status amli_train(const amli_command *given, const amli_device_kind *kind, aml_error *error)
{
    amli_command command =
        *given; // resuming sets what the run was begun with; the arrays stay the caller's
    amli_training training = {.command = &command,
                              .lock = -1,
                              .asked_step = -1,
                              .saved_step = -1,
                              .figures = {.file = -1, .events.file = -1}};
    amli_log_begin(&training.log, command.quiet || command.json);
    aml_status status =
        amli_find_job(&command, AML_JOB_TRAIN, command.argument, &training.job, error);
    if (!status)
        status = train(&training, kind, error);
    amli_loader_free(training.loader);
    amli_measured_free(&training.last);
    amli_sampler_free(&training.sampler);
    free(training.batch_row);
    free(training.next_row);
    free(training.figure);
    if (training.writer)
        training.saved_step = amli_writer_describe(training.writer).last_step;
    amli_profile_free(training.session.profile);
    amli_session_close(&training.session);
    amli_training_end_run(&training);
    if (status)
        remove_empty_run(&training);
    return status;
}
