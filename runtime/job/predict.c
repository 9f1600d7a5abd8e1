// predict FILE: a csv file in, a csv file out: row, then every output of the job's predict. predict
// --held_out N: the same for rows of the data set that the training has not seen, beside what was
// expected.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

// What predicting one row needs.
typedef struct Predicting {
    amli_session session;
    amli_preparer preparer;
    amli_table *table;
    amli_fetch fetch;
    const void **in;
    void **prepared; // the outputs of prepare, in `memory`
    char **result;   // the outputs of predict
    char *memory;
} Predicting;

static aml_status allocate(Predicting *p, aml_error *error)
{
    const aml_function *prepare = &p->session.dataset->prepare,
                       *predict = p->session.predict.function;
    size_t bytes = 0;
    for (int i = 0; i < prepare->outputs; i++)
        bytes += (amli_tensor_bytes(&prepare->output[i]) + 63) / 64 * 64;
    for (int i = 0; i < predict->outputs; i++)
        bytes += (amli_tensor_bytes(&predict->output[i]) + 63) / 64 * 64;
    p->in = calloc((size_t)prepare->inputs + 1, sizeof *p->in);
    p->prepared = calloc((size_t)prepare->outputs + 1, sizeof *p->prepared);
    p->result = calloc((size_t)predict->outputs + 1, sizeof *p->result);
    p->memory = aligned_alloc(64, bytes + 64);
    if (!p->in || !p->prepared || !p->result || !p->memory)
        return amli_no_memory(error, bytes, "predictions");
    char *at = p->memory;
    for (int i = 0; i < prepare->outputs; i++) {
        p->prepared[i] = at;
        at += (amli_tensor_bytes(&prepare->output[i]) + 63) / 64 * 64;
    }
    for (int i = 0; i < predict->outputs; i++) {
        p->result[i] = at;
        at += (amli_tensor_bytes(&predict->output[i]) + 63) / 64 * 64;
    }
    aml_status status = amli_preparer_new(prepare, &p->preparer, error);
    if (!status && p->session.statistic)
        amli_preparer_share(&p->preparer, p->session.dataset->fields, p->session.statistic,
                            p->session.dataset->statistics);
    return status;
}

static aml_status predict_row(Predicting *p, int64_t row, int64_t step, aml_error *error)
{
    amli_session *session = &p->session;
    amli_bound *predict = &session->predict;
    aml_status status = amli_fetch_sample(&p->fetch, row, p->in, error);
    if (status)
        return status;
    amli_prepare(&p->preparer, p->in, p->prepared);
    for (int i = 0; i < predict->function->inputs && !status; i++)
        status = session->device->kind->upload(
            session->device, session->batch, predict->input_offset[i],
            p->prepared[predict->field[i]], amli_tensor_bytes(&predict->function->input[i]), error);
    if (!status)
        status = amli_session_run(session, predict, step, error);
    for (int i = 0; i < predict->function->outputs && !status; i++)
        status = amli_session_read(session, predict, i, p->result[i], error);
    return status;
}

void amli_write_element(FILE *out, const aml_tensor_info *info, const void *at, int64_t index,
                        bool json)
{
    char text[40];
    double value = amli_element(info->dtype, at, index);
    if (info->classes > 0 && amli_write_class(out, info, (int64_t)value, json)) // a whole number
        return;
    if (info->dtype == AML_I64)
        fprintf(out, "%lld", (long long)((const int64_t *)at)[index]);
    else if (info->dtype == AML_I32 || info->dtype == AML_I8 || info->dtype == AML_U8 ||
             info->dtype == AML_BOOL)
        fprintf(out, "%.0f", value);
    else if (value != value || value - value != 0)
        fputs(json ? "null" : value != value ? "nan" : value > 0 ? "inf" : "-inf", out);
    else
        fputs(info->dtype == AML_F64 ? amli_real_text(value, text, sizeof text)
                                     : amli_single_text((float)value, text, sizeof text),
              out);
}

static void write_header(FILE *out, const aml_function *predict)
{
    fputs("row", out);
    for (int i = 0; i < predict->outputs; i++) {
        int64_t count = aml_shape_elements(&predict->output[i].shape);
        for (int64_t k = 0; k < count; k++)
            count == 1 ? fprintf(out, ",%s", predict->output[i].name)
                       : fprintf(out, ",%s_%lld", predict->output[i].name, (long long)k);
    }
    fputc('\n', out);
}

static void write_outputs(FILE *out, const Predicting *p, bool json)
{
    const aml_function *predict = p->session.predict.function;
    for (int i = 0; i < predict->outputs; i++) {
        const aml_tensor_info *info = &predict->output[i];
        int64_t count = aml_shape_elements(&info->shape);
        if (json)
            fprintf(out, ", \"%s\": %s", info->name, count == 1 ? "" : "[");
        for (int64_t k = 0; k < count; k++) {
            if (!json || k)
                fputs(json ? ", " : ",", out);
            amli_write_element(out, info, p->result[i], k, json);
        }
        if (json && count != 1)
            fputc(']', out);
    }
    fputs(json ? "}\n" : "\n", out);
}

static void write_row_number(FILE *out, int64_t row, bool json)
{
    fprintf(out, json ? "{\"row\": %lld" : "%lld", (long long)row + 1);
}

static aml_status predict_file(FILE *out, Predicting *p, const amli_command *command, int64_t step,
                               aml_error *error)
{
    aml_status status = AML_OK;
    if (!command->json)
        write_header(out, p->session.predict.function);
    for (int64_t row = 0; row < p->table->rows && !status; row++) {
        status = predict_row(p, row, step, error);
        if (status)
            break;
        write_row_number(out, row, command->json);
        write_outputs(out, p, command->json);
    }
    return status;
}

typedef aml_status Predict(FILE *out, Predicting *p, const amli_command *command, int64_t step,
                           aml_error *error);

// Lets `predict` write to --output or to standard output.
static aml_status write_predictions(Predict *predict, Predicting *p, const amli_command *command,
                                    int64_t step, aml_error *error)
{
    FILE *out =
        command->output && strcmp(command->output, "-") != 0 ? fopen(command->output, "w") : stdout;
    if (!out)
        return amli_fail(error, AML_IO, "cannot write %s: %s", command->output, strerror(errno));
    aml_status status = predict(out, p, command, step, error);
    bool failed = fflush(out) != 0 || ferror(out);
    if (out != stdout && fclose(out) != 0)
        failed = true;
    if (!status && failed)
        status = amli_fail(error, AML_IO, "cannot write %s: %s",
                           command->output ? command->output : "standard output", strerror(errno));
    return status;
}

// ---- held-out rows

int amli_expected_field(const amli_session *session)
{
    const aml_function *prepare = &session->dataset->prepare, *predict = session->predict.function;
    for (int i = 0; i < prepare->outputs; i++) {
        bool read = false;
        for (int k = 0; k < predict->inputs; k++)
            read = read || session->predict.field[k] == i;
        if (!read && prepare->output[i].classes > 0 && prepare->output[i].shape.rank == 0)
            return i;
    }
    return -1;
}

static void write_held_out_header(FILE *out, const aml_function *predict, bool has_expected)
{
    fputs(has_expected ? "row,expected" : "row", out);
    for (int i = 0; i < predict->outputs; i++)
        fprintf(out, ",%s", predict->output[i].name);
    fputc('\n', out);
}

// Of several elements the largest: the probability of what is predicted.
static void write_largest(FILE *out, const Predicting *p)
{
    const aml_function *predict = p->session.predict.function;
    for (int i = 0; i < predict->outputs; i++) {
        const aml_tensor_info *info = &predict->output[i];
        int64_t count = aml_shape_elements(&info->shape), best = 0;
        for (int64_t e = 1; e < count; e++)
            if (amli_element(info->dtype, p->result[i], e) >
                amli_element(info->dtype, p->result[i], best))
                best = e;
        fputc(',', out);
        amli_write_element(out, info, p->result[i], best, false);
    }
    fputc('\n', out);
}

static aml_status write_held_out_row(FILE *out, const Predicting *p, int64_t row, int expected,
                                     bool json, aml_error *error)
{
    const amli_session *session = &p->session;
    write_row_number(out, row, json);
    if (expected >= 0) {
        memset(session->to, 0, sizeof *session->to * (size_t)session->samples->outputs);
        session->to[expected] = p->prepared[expected];
        aml_status status =
            amli_samples_batch(session->samples, &row, 1, NULL, NULL, session->to, error);
        if (status)
            return status;
        fputs(json ? ", \"expected\": " : ",", out);
        amli_write_element(out, &session->dataset->prepare.output[expected], p->prepared[expected],
                           0, json);
    }
    if (json)
        write_outputs(out, p, json);
    else
        write_largest(out, p);
    return AML_OK;
}

static aml_status predict_held_out(FILE *out, Predicting *p, const amli_command *command,
                                   int64_t step, aml_error *error)
{
    amli_session *session = &p->session;
    const aml_function *predict = session->predict.function;
    const amli_split *split = &session->samples->split;
    aml_part part = split->rows[AML_PART_TEST] > 0 ? AML_PART_TEST : AML_PART_VALID;
    int64_t rows = split->rows[part], shown = command->held_out < rows ? command->held_out : rows;
    if (rows == 0)
        return amli_fail(error, AML_BAD_DATA, "the split of '%s' (%s) holds no rows out",
                         session->dataset->name, session->dataset->place);
    int expected = amli_expected_field(session);
    if (!command->json)
        write_held_out_header(out, predict, expected >= 0);
    aml_status status = AML_OK;
    for (int64_t k = 0; k < shown && !status; k++) {
        int64_t row = split->row[part][k * rows / shown]; // spread over the part
        status = amli_session_fill(session, &session->predict, &row, 1, step, -1, error);
        if (!status)
            status = amli_session_run(session, &session->predict, step, error);
        for (int i = 0; i < predict->outputs && !status; i++)
            status = amli_session_read(session, &session->predict, i, p->result[i], error);
        if (!status)
            status = write_held_out_row(out, p, row, expected, command->json, error);
    }
    return status;
}

static aml_status predict_job(const amli_command *command, const aml_job *job,
                              const amli_device_kind *kind, amli_log *log, Predicting *p,
                              aml_error *error)
{
    int64_t step = 0;
    aml_status status = amli_trained_open(command, job, kind, log, &p->session, &step, error);
    amli_load load = {
        .file = {{command->argument}}, .is_argument = true, .labels_may_be_absent = true};
    if (!status)
        status = command->held_out > 0
                     ? amli_session_load(&p->session, log, error)
                     : amli_table_load(p->session.dataset, &load, &p->table, error);
    if (!status && p->table)
        status = amli_fetch_new(p->table, &p->fetch, error);
    if (!status)
        status = allocate(p, error);
    return status ? status
                  : write_predictions(command->held_out > 0 ? predict_held_out : predict_file, p,
                                      command, step, error);
}

aml_status amli_predict(const amli_command *command, const amli_device_kind *kind, aml_error *error)
{
    const aml_job *job;
    Predicting predicting = {0};
    amli_log log;
    amli_log_begin(&log, command->quiet);
    aml_status status = amli_find_job(command, AML_JOB_TRAIN, command->job, &job, error);
    if (!status && !job->predict.run)
        status = amli_fail(error, AML_INVALID, "the job '%s' (%s) has nothing to predict with",
                           job->name, job->place);
    if (!status)
        status = predict_job(command, job, kind, &log, &predicting, error);
    amli_preparer_free(&predicting.preparer);
    amli_fetch_free(&predicting.fetch);
    amli_table_free(predicting.table);
    free(predicting.in), free(predicting.prepared), free(predicting.result),
        free(predicting.memory);
    amli_session_close(&predicting.session);
    amli_log_end(&log);
    return status;
}
