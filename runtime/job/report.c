// report [RUN]: a run as one self-contained HTML page, beside its checkpoints.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/report.h"

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE };

static int output_called(const aml_function *function, const char *name)
{
    for (int i = 0; i < function->outputs; i++)
        if (strcmp(function->output[i].name, name) == 0)
            return i;
    return -1;
}

static void outcome_free(amli_outcome *outcome)
{
    free(outcome->target), free(outcome->prediction), free(outcome->probability);
    free(outcome->expected), free(outcome->found);
    *outcome = (amli_outcome){0};
}

static aml_status outcome_room(amli_outcome *outcome, int64_t rows, int64_t classes,
                               aml_error *error)
{
    size_t room = (size_t)rows + 1;
    outcome->classes = classes;
    if (classes > 0) {
        outcome->target = malloc(room * sizeof *outcome->target);
        outcome->prediction = malloc(room * sizeof *outcome->prediction);
        outcome->probability = malloc(room * (size_t)classes * sizeof *outcome->probability);
    } else {
        outcome->expected = malloc(room * sizeof *outcome->expected);
        outcome->found = malloc(room * sizeof *outcome->found);
    }
    bool complete = classes > 0 ? outcome->target && outcome->prediction && outcome->probability
                                : outcome->expected && outcome->found;
    return complete ? AML_OK
                    : amli_no_memory(error, room * (size_t)(classes + 1) * sizeof(float),
                                     "the predictions");
}

// Room for one value of each of two tensors.
typedef struct Scratch {
    char *target, *found;
    void **to;
} Scratch;

static aml_status predict_one(amli_session *session, amli_outcome *outcome, int y, int prediction,
                              int probability, int64_t step, const Scratch *scratch,
                              aml_error *error)
{
    amli_bound *predict = &session->predict;
    const aml_tensor_info *target = &session->dataset->prepare.output[y],
                          *found = &predict->function->output[prediction];
    int64_t i = outcome->rows;
    memset(scratch->to, 0, sizeof *scratch->to * (size_t)session->samples->outputs);
    scratch->to[y] = scratch->target;
    aml_status status = amli_session_fill(session, predict, &outcome->row[i], 1, step, -1, error);
    if (!status)
        status = amli_session_run(session, predict, step, error);
    if (!status)
        status = amli_session_read(session, predict, prediction, scratch->found, error);
    if (!status && outcome->classes > 0)
        status = amli_session_read(session, predict, probability,
                                   outcome->probability + i * outcome->classes, error);
    if (!status)
        status = amli_samples_batch(session->samples, &outcome->row[i], 1, NULL, NULL, scratch->to,
                                    error);
    if (status)
        return status;
    double expected = amli_element(target->dtype, scratch->target, 0),
           value = amli_element(found->dtype, scratch->found, 0);
    if (outcome->classes > 0) {
        outcome->target[i] = (int32_t)expected;
        outcome->prediction[i] = (int32_t)value;
    } else {
        outcome->expected[i] = expected;
        outcome->found[i] = value;
    }
    outcome->rows++;
    return AML_OK;
}

// What the model says of every row of the part; no rows if it does not predict or has no target y.
static aml_status predict_part(amli_session *session, aml_part part, int64_t step,
                               amli_outcome *outcome, aml_error *error)
{
    const aml_function *predict = session->predict.function;
    const amli_split *split = &session->samples->split;
    int y = amli_sample_output(session->dataset, "y");
    if (!predict->run || y < 0)
        return AML_OK;
    int prediction = output_called(predict, "prediction"),
        probability = output_called(predict, "probability");
    const aml_tensor_info *target = &session->dataset->prepare.output[y];
    int64_t classes = probability >= 0 && target->classes > 0 && target->shape.rank == 0
                          ? aml_shape_elements(&predict->output[probability].shape)
                          : 0;
    bool number = classes == 0 && target->classes == 0 &&
                  (target->dtype == AML_F32 || target->dtype == AML_F64);
    if (prediction < 0 || (classes < 2 && !number) ||
        (classes > 0 && predict->output[probability].dtype != AML_F32))
        return AML_OK;
    aml_status status = outcome_room(outcome, split->rows[part], classes, error);
    Scratch scratch = {malloc(amli_tensor_bytes(target) + 8),
                       malloc(amli_tensor_bytes(&predict->output[prediction]) + 8),
                       calloc((size_t)session->samples->outputs + 1, sizeof(void *))};
    if (!status && (!scratch.target || !scratch.found || !scratch.to))
        status = amli_no_memory(error, amli_tensor_bytes(target), "the predictions");
    outcome->row = split->row[part];
    while (!status && outcome->rows < split->rows[part])
        status = predict_one(session, outcome, y, prediction, probability, step, &scratch, error);
    free(scratch.target), free(scratch.found), free(scratch.to);
    return status;
}

static aml_status write_page(const amli_command *command, const amli_run_report *report,
                             amli_log *log, aml_error *error)
{
    amli_buffer page = {0};
    char path[PATH_MAX];
    aml_error why = {0};
    amli_report_html(report, &page, &why);
    aml_status status = why.status;
    if (status && error)
        *error = why;
    if (!status && page.failed)
        status = amli_no_memory(error, page.length, "the page");
    const char *output = command->output;
    if (!status && output) {
        const char *slash = strrchr(output, '/');
        char folder[PATH_MAX];
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - output) : 1,
                 slash ? output : ".");
        if (!*folder)
            snprintf(folder, sizeof folder, "/");
        status = amli_write_file(folder, slash ? slash + 1 : output, page.text, page.length, error);
        snprintf(path, sizeof path, "%s", output);
    } else if (!status) {
        status = amli_replace_file(report->run, "report.html", page.text, page.length, error);
        if (!status)
            status = amli_join(path, sizeof path, report->run, "report.html", error);
    }
    if (!status && !log->quiet)
        printf("%s\n", path);
    amli_buffer_free(&page);
    return status;
}

static aml_status report_run(const amli_command *command, const aml_job *job,
                             const amli_device_kind *kind, amli_log *log, aml_error *error)
{
    char run[PATH_MAX];
    amli_session session = {0};
    amli_measured measured = {0};
    amli_outcome outcome = {0};
    aml_checkpoint *checkpoint = NULL;
    aml_status status =
        amli_run_find(command->runs, job->name, command->argument, true, run, error);
    if (!status)
        status = amli_run_open(run, job->keep_best > 0 ? AML_WHICH_BEST : AML_WHICH_LAST,
                               amli_log_notice, log, &checkpoint, error);
    if (!status)
        status = amli_check_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, false,
                                  aml_checkpoint_path(checkpoint), error);
    if (!status)
        status = amli_session_open(command, job, kind, &session, error);
    if (!status)
        status = amli_session_load(&session, log, error);
    if (!status)
        status = amli_load_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, session.device,
                                 session.state, error);
    if (!status) {
        const amli_split *split = &session.samples->split;
        int64_t step = aml_checkpoint_describe(checkpoint)->step;
        aml_part part = split->rows[AML_PART_TEST] > 0    ? AML_PART_TEST
                        : split->rows[AML_PART_VALID] > 0 ? AML_PART_VALID
                                                          : AML_PART_TRAIN;
        bool measures = job->eval.run || job->eval_one.run;
        if (measures)
            status =
                amli_measure(&session, split->row[part], split->rows[part], step, &measured, error);
        if (!status)
            status = predict_part(&session, part, step, &outcome, error);
        amli_run_report report = {&session,
                                  run,
                                  checkpoint,
                                  part,
                                  measures ? &measured : NULL,
                                  outcome.rows ? &outcome : NULL};
        if (!status)
            status = write_page(command, &report, log, error);
    }
    outcome_free(&outcome);
    if (measured.job)
        amli_measured_free(&measured);
    if (session.job)
        amli_session_close(&session);
    aml_checkpoint_close(checkpoint);
    return status;
}

aml_status amli_report(const amli_command *command, const amli_device_kind *kind, aml_error *error)
{
    const aml_job *job;
    amli_log log;
    amli_log_begin(&log, command->quiet);
    aml_status status = amli_find_job(command, AML_JOB_TRAIN, command->job, &job, error);
    if (!status)
        status = report_run(command, job, kind, &log, error);
    amli_log_end(&log);
    return status;
}
