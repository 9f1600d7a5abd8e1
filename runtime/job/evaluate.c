// evaluate: a trained model on a part of the data.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/study.h"

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE };

static const char *const part_name[] = {"all", "train", "valid", "test"};

// The checkpoint to use, and the run that it belongs to ("" if its path was given).
static aml_status open_checkpoint(const amli_command *command, const aml_job *trained,
                                  aml_which which, amli_log *log, char run[PATH_MAX],
                                  aml_checkpoint **out, aml_error *error)
{
    run[0] = 0;
    if (command->checkpoint)
        return aml_checkpoint_open(command->checkpoint, out, error);
    aml_status status = amli_run_find(command->runs, trained->name, NULL, true, run, error);
    return status ? status : amli_run_open(run, which, amli_log_notice, log, out, error);
}

static void result_json(const amli_measured *measured, const aml_checkpoint *checkpoint,
                        aml_part part, amli_buffer *text)
{
    const aml_checkpoint_info *info = aml_checkpoint_describe(checkpoint);
    amli_buffer_printf(text, "{\"job\": ");
    amli_json_text(text, measured->job->name);
    amli_buffer_printf(text,
                       ", \"part\": \"%s\", \"rows\": %lld, \"checkpoint\": ", part_name[part],
                       (long long)measured->rows);
    amli_json_text(text, aml_checkpoint_path(checkpoint));
    amli_buffer_printf(text, ", \"step\": %lld, \"weights_hash\": \"%s\", \"metrics\": {",
                       (long long)info->step, info->weights_hash);
    amli_measured_json(measured, "loss", text);
    amli_buffer_printf(text, "}}");
}

// Keeps the result beside the run. A run that cannot be written to can still be measured.
static void keep_result(const amli_measured *measured, const char *run, const amli_buffer *text,
                        amli_log *log)
{
    char name[256];
    aml_error error;
    if ((size_t)snprintf(name, sizeof name, "evaluation-%s.json", measured->job->name) >=
        sizeof name)
        snprintf(name, sizeof name, "evaluation.json");
    if (amli_replace_file(run, name, text->text, text->length, &error))
        amli_log_line(log, "warning: the result is not kept: %s", error.text);
}

static aml_status report(const amli_command *command, const amli_measured *measured,
                         const aml_checkpoint *checkpoint, aml_part part, const char *run,
                         amli_log *log, aml_error *error)
{
    amli_buffer text = {0};
    result_json(measured, checkpoint, part, &text);
    amli_buffer_add(&text, "\n", 1);
    aml_status status = text.failed ? amli_no_memory(error, text.length, "the result") : AML_OK;
    if (!status && run[0])
        keep_result(measured, run, &text, log);
    if (!status && command->json) {
        fputs(text.text, stdout);
    } else if (!status) {
        printf("%s: %lld rows (%s), %s\n", measured->job->name, (long long)measured->rows,
               part_name[part], aml_checkpoint_path(checkpoint));
        amli_measured_print(measured, stdout);
    }
    amli_buffer_free(&text);
    return status;
}

static aml_status evaluate(const amli_command *command, const aml_job *job, const aml_job *trained,
                           aml_which which, aml_part part, const amli_device_kind *kind,
                           amli_log *log, aml_error *error)
{
    amli_session session;
    amli_measured measured = {0};
    aml_checkpoint *checkpoint = NULL;
    char run[PATH_MAX];
    aml_status status = open_checkpoint(command, trained, which, log, run, &checkpoint, error);
    if (status)
        return status;
    const char *path = aml_checkpoint_path(checkpoint);
    status = amli_check_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, false, path, error);
    if (!status)
        status = amli_session_open(command, job, kind, &session, error);
    if (status) {
        aml_checkpoint_close(checkpoint);
        return status;
    }
    status = amli_statistics_load(session.dataset, aml_checkpoint_weights(checkpoint), path,
                                  &session.statistic, error);
    if (!status)
        status = amli_session_load(&session, log, error);
    if (!status && job->data == trained->data &&
        strcmp(aml_checkpoint_describe(checkpoint)->data_fingerprint,
               session.samples->fingerprint) != 0)
        amli_log_line(log,
                      "warning: %s was trained on other data than %s: rows of this part may have "
                      "been seen in training",
                      path, session.samples->path);
    if (!status && session.samples->split.rows[part] == 0)
        status =
            amli_fail(error, AML_BAD_DATA, "the part '%s' of the data set '%s' (%s) has no rows",
                      part_name[part], session.dataset->name, session.dataset->place);
    if (!status)
        status = amli_load_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, session.device,
                                 session.state, error);
    if (!status)
        status = amli_measure(&session, session.samples->split.row[part],
                              session.samples->split.rows[part],
                              aml_checkpoint_describe(checkpoint)->step, &measured, error);
    if (!status)
        status = report(command, &measured, checkpoint, part, run, log, error);
    amli_measured_free(&measured);
    amli_session_close(&session);
    aml_checkpoint_close(checkpoint);
    return status;
}

// "10%,50%,100%" as increasing shares; the caller frees *share.
static aml_status read_curve(const char *text, double **share, int32_t *shares, aml_error *error)
{
    char *copy = strdup(text), *rest = NULL;
    *share = malloc((strlen(text) + 1) * sizeof **share);
    *shares = 0;
    aml_status status =
        copy && *share ? AML_OK : amli_no_memory(error, strlen(text), "the shares of --curve");
    for (char *part = copy && *share ? strtok_r(copy, ",", &rest) : NULL; part && !status;
         part = strtok_r(NULL, ",", &rest)) {
        double value;
        aml_unit unit;
        bool good = amli_parse_quantity(part, &value, &unit) && value > 0 && value <= 1 &&
                    (unit == AML_UNIT_FRACTION || unit == AML_UNIT_NONE) &&
                    (*shares == 0 || value > (*share)[*shares - 1]);
        if (!good)
            status =
                amli_fail(error, AML_USAGE,
                          "--curve: expected shares above 0%% and up to 100%%, increasing, such "
                          "as 10%%,50%%,100%%, found \"%s\" in \"%s\"",
                          part, text);
        else
            (*share)[(*shares)++] = value;
    }
    if (!status && *shares == 0)
        status = amli_fail(error, AML_USAGE,
                           "--curve: expected shares such as 10%%,50%%,100%%, found \"%s\"", text);
    free(copy);
    return status;
}

// What is trained is measured, or, with folds or a curve, trained for it.
static aml_status evaluate_or_study(const amli_command *command, const aml_job *job,
                                    const aml_job *trained, aml_which which, aml_part part,
                                    const amli_device_kind *kind, amli_log *log, aml_error *error)
{
    amli_study study = {.command = command,
                        .job = job,
                        .trained = trained,
                        .which = which,
                        .part = part,
                        .folds = command->folds ? (int32_t)command->folds : job->folds,
                        .shares = job->shares,
                        .share = job->share};
    double *share = NULL;
    if (!command->folds && !command->curve && study.folds == 0 && study.shares == 0)
        return command->resume
                   ? amli_fail(error, AML_USAGE,
                               "'%s' only measures what was trained: --resume belongs to an "
                               "evaluation with folds or a curve",
                               job->name)
                   : evaluate(command, job, trained, which, part, kind, log, error);
    if (command->checkpoint)
        return amli_fail(error, AML_USAGE, "'%s' trains what it measures: it takes no --checkpoint",
                         job->name);
    aml_status status = AML_OK;
    if (command->curve) {
        status = read_curve(command->curve, &share, &study.shares, error);
        study.share = share;
    }
    if (!status)
        status = amli_study_run(&study, kind, log, error);
    free(share);
    return status;
}

static bool is_study(const amli_command *command, const aml_job *job)
{
    return job->folds > 0 || job->shares > 0 || command->folds || command->curve;
}

// Whether an evaluation is meant. What trains for hours is not done because a name was left out: it
// has to be named, unless it is the program's only one, or all are asked for.
static bool is_wanted(const amli_command *command, const aml_job *job, int evaluations)
{
    if (command->argument)
        return strcmp(command->argument, job->name) == 0;
    if (command->all || evaluations == 1 || command->folds || command->curve)
        return true;
    return command->resume == is_study(command, job);
}

static void tell_left_out(const amli_command *command, const aml_job *job, amli_log *log)
{
    int trainings = (job->folds > 0 ? job->folds : 1) * (job->shares > 0 ? job->shares : 1);
    if (is_study(command, job))
        amli_log_line(log,
                      "note: '%s' trains %d times, so it is left out: name it (`%s evaluate %s`), "
                      "or ask for --all",
                      job->name, trainings, command->name, job->name);
}

aml_status amli_evaluate(const amli_command *command, const amli_device_kind *kind,
                         aml_error *error)
{
    const aml_program *program = command->program;
    amli_log log;
    amli_log_begin(&log, command->quiet);
    int done = 0, left_out = 0, evaluations = 0;
    aml_status status = AML_OK;
    for (int i = 0; i < program->jobs; i++)
        evaluations += program->job[i].kind == AML_JOB_EVALUATE;
    if (command->all && command->argument)
        status = amli_fail(error, AML_USAGE,
                           "evaluate takes the name of one evaluation or --all, "
                           "not both");
    for (int i = 0; i < program->jobs && !status; i++) {
        const aml_job *job = &program->job[i];
        if (job->kind != AML_JOB_EVALUATE)
            continue;
        if (!is_wanted(command, job, evaluations)) {
            if (!command->argument)
                tell_left_out(command, job, &log);
            left_out++;
            continue;
        }
        status = evaluate_or_study(command, job, &program->job[job->model_job], job->which,
                                   job->part, kind, &log, error);
        done++;
    }
    if (status || done > 0) {
        // it was said why, or done
    } else if (left_out > 0 && !command->argument) {
        status = amli_fail(error, AML_USAGE,
                           command->resume ? "no evaluation of this program trains, so there is "
                                             "nothing to go on with"
                                           : "every evaluation of this program trains several "
                                             "times: name one, or ask for --all");
    } else { // a training names itself: its best model (or latest) on the rows kept for testing
        const aml_job *job;
        status = amli_find_job(command, AML_JOB_TRAIN, command->argument, &job, NULL);
        if (status)
            status = amli_find_job(command, AML_JOB_EVALUATE, command->argument, &job, error);
        else
            status = evaluate_or_study(
                command, job, job, job->keep_best > 0 ? AML_WHICH_BEST : AML_WHICH_LAST,
                program->dataset[job->data].split.test > 0 ||
                        program->dataset[job->data].test.kind != AML_SOURCE_NONE
                    ? AML_PART_TEST
                    : AML_PART_VALID,
                kind, &log, error);
    }
    amli_log_end(&log);
    return status;
}
