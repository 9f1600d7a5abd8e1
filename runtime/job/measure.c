// A model on some rows: full batches through `eval`, the rest one row at a time through `eval_one`.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

// Rows that a metric collects, such as the scores and targets of the ROC curve.
typedef struct Collected {
    double sum, count; // of a MEAN
    float *score;
    int32_t *label;
    int64_t rows, classes;
} Collected;

static aml_status collect(amli_session *session, const amli_bound *bound, const aml_metric *metric,
                          Collected *collected, int64_t rows, aml_error *error)
{
    aml_status status =
        amli_session_read(session, bound, metric->collect[0],
                          collected->score + collected->rows * collected->classes, error);
    if (!status)
        status = amli_session_read(session, bound, metric->collect[1],
                                   collected->label + collected->rows, error);
    collected->rows += rows;
    return status;
}

static aml_status add_mean(amli_session *session, const amli_bound *bound, const aml_metric *metric,
                           Collected *collected, aml_error *error)
{
    double part[2] = {0};
    aml_status status = AML_OK;
    for (int k = 0; k < 2 && !status; k++)
        status = amli_session_read(session, bound, metric->collect[k], &part[k], error);
    collected->sum += part[0];
    collected->count += part[1];
    return status;
}

static aml_status collected_new(const aml_job *job, const aml_metric *metric, int64_t rows,
                                Collected *collected, aml_error *error)
{
    const aml_function *eval = &job->eval;
    const aml_tensor_info *score = &eval->output[metric->collect[0]],
                          *label = &eval->output[metric->collect[1]];
    if (score->dtype != AML_F32 || label->dtype != AML_I32 || label->shape.rank != 1 ||
        score->shape.rank < 1 || score->shape.rank > 2)
        return amli_fail(error, AML_INTERNAL, "the metric '%s' of '%s' collects what it cannot use",
                         metric->name, job->name);
    collected->classes = score->shape.rank == 2 ? score->shape.dim[1] : 1;
    collected->score = malloc((size_t)(rows * collected->classes + 1) * sizeof(float));
    collected->label = malloc((size_t)(rows + 1) * sizeof(int32_t));
    return collected->score && collected->label
               ? AML_OK
               : amli_no_memory(error, (size_t)(rows * collected->classes) * sizeof(float),
                                metric->name);
}

static aml_status metric_room(amli_measured *measured, int index, const aml_shape *shape,
                              aml_error *error)
{
    int64_t count = aml_shape_elements(shape);
    measured->shape[index] = *shape;
    measured->value[index] = calloc((size_t)count + 1, sizeof(double));
    return measured->value[index]
               ? AML_OK
               : amli_no_memory(error, (size_t)count * sizeof(double), "a metric");
}

static aml_status finish(amli_session *session, const Collected *collected, amli_measured *measured,
                         int64_t step, aml_error *error)
{
    const aml_job *job = session->job;
    aml_status status = AML_OK;
    if (session->metrics_value.function->run)
        status = amli_session_run(session, &session->metrics_value, step, error);
    for (int i = 0; i < job->metrics && !status; i++) {
        const aml_metric *metric = &job->metric[i];
        if (metric->finish == AML_FINISH_MEAN) {
            status = metric_room(measured, i, &(aml_shape){0}, error);
            if (!status)
                measured->value[i][0] =
                    collected[i].count > 0 ? collected[i].sum / collected[i].count : NAN;
            continue;
        }
        if (metric->finish != AML_FINISH_COMPILED) {
            status = metric_room(measured, i, &(aml_shape){0}, error);
            if (!status)
                measured->value[i][0] =
                    amli_curve_finish(metric->finish, collected[i].score, collected[i].label,
                                      collected[i].rows, collected[i].classes);
            continue;
        }
        const aml_tensor_info *info = &session->metrics_value.function->output[metric->output];
        size_t bytes = amli_tensor_bytes(info);
        void *raw = malloc(bytes + 1);
        status = raw ? metric_room(measured, i, &info->shape, error)
                     : amli_no_memory(error, bytes, metric->name);
        if (!status)
            status =
                amli_session_read(session, &session->metrics_value, metric->output, raw, error);
        for (int64_t k = 0; !status && k < aml_shape_elements(&info->shape); k++)
            measured->value[i][k] = amli_element(info->dtype, raw, k);
        free(raw);
    }
    return status;
}

static aml_status run_rows(amli_session *session, const int64_t row[], int64_t rows, int64_t step,
                           Collected *collected, double loss[2], aml_error *error)
{
    const aml_job *job = session->job;
    aml_status status = AML_OK;
    for (int64_t at = 0; at < rows && !status;) {
        bool full = session->eval.function->run && rows - at >= job->batch;
        amli_bound *bound = full ? &session->eval : &session->eval_one;
        int64_t count = full ? job->batch : 1;
        if (!bound->function->run)
            return amli_fail(error, AML_INTERNAL, "the job '%s' has no function for single rows",
                             job->name);
        status = amli_session_fill(session, bound, row + at, count, step, -1, error);
        if (!status)
            status = amli_session_run(session, bound, step, error);
        for (int k = 0; k < 2 && job->has_loss && !status; k++) {
            char part[8] = {0};
            status = amli_session_read(session, bound, k, part, error);
            loss[k] += amli_element(bound->function->output[k].dtype, part, 0);
        }
        for (int i = 0; i < job->metrics && !status; i++)
            if (job->metric[i].finish == AML_FINISH_MEAN)
                status = add_mean(session, bound, &job->metric[i], &collected[i], error);
            else if (job->metric[i].finish != AML_FINISH_COMPILED)
                status = collect(session, bound, &job->metric[i], &collected[i], count, error);
        at += count;
    }
    return status;
}

aml_status amli_measure(amli_session *session, const int64_t row[], int64_t rows, int64_t step,
                        amli_measured *measured, aml_error *error)
{
    const aml_job *job = session->job;
    size_t metrics = (size_t)job->metrics + 1;
    int target = amli_sample_output(session->dataset, "y");
    *measured = (amli_measured){.job = job, .rows = rows, .loss = NAN};
    measured->target = target >= 0 ? &session->dataset->prepare.output[target] : NULL;
    if (!job->eval.run && !job->eval_one.run)
        return amli_fail(error, AML_INVALID, "the job '%s' has nothing to evaluate", job->name);
    measured->value = calloc(metrics, sizeof *measured->value);
    measured->shape = calloc(metrics, sizeof *measured->shape);
    Collected *collected = calloc(metrics, sizeof *collected);
    aml_status status = measured->value && measured->shape && collected
                            ? AML_OK
                            : amli_no_memory(error, metrics * sizeof(double), "metrics");
    for (int i = 0; i < job->metrics && !status; i++)
        if (job->metric[i].finish != AML_FINISH_COMPILED &&
            job->metric[i].finish != AML_FINISH_MEAN)
            status = collected_new(job, &job->metric[i], rows, &collected[i], error);
    double loss[2] = {0, 0};
    if (!status && session->metrics_reset.function->run)
        status = amli_session_run(session, &session->metrics_reset, step, error);
    if (!status)
        status = run_rows(session, row, rows, step, collected, loss, error);
    if (!status)
        status = finish(session, collected, measured, step, error);
    if (job->has_loss)
        measured->loss = loss[1] > 0 ? loss[0] / loss[1] : NAN;
    for (int i = 0; i < job->metrics && collected; i++)
        free(collected[i].score), free(collected[i].label);
    free(collected);
    if (status)
        amli_measured_free(measured);
    return status;
}

void amli_measured_free(amli_measured *measured)
{
    for (int i = 0; measured->value && i < measured->job->metrics; i++)
        free(measured->value[i]);
    free(measured->value);
    free(measured->shape);
    *measured = (amli_measured){0};
}

static void json_elements(amli_buffer *buffer, const aml_shape *shape, int axis, const double **at)
{
    if (axis == shape->rank) {
        amli_json_number(buffer, *(*at)++);
        return;
    }
    amli_buffer_add(buffer, "[", 1);
    for (int64_t i = 0; i < shape->dim[axis]; i++) {
        if (i)
            amli_buffer_add(buffer, ", ", 2);
        json_elements(buffer, shape, axis + 1, at);
    }
    amli_buffer_add(buffer, "]", 1);
}

void amli_measured_json(const amli_measured *measured, const char *loss_name, amli_buffer *buffer)
{
    bool comma = false;
    if (measured->job->has_loss) {
        amli_buffer_printf(buffer, "\"%s\": ", loss_name);
        amli_json_number(buffer, measured->loss);
        comma = true;
    }
    for (int i = 0; i < measured->job->metrics; i++) {
        const double *at = measured->value[i];
        if (comma)
            amli_buffer_add(buffer, ", ", 2);
        amli_json_text(buffer, measured->job->metric[i].name);
        amli_buffer_add(buffer, ": ", 2);
        json_elements(buffer, &measured->shape[i], 0, &at);
        comma = true;
    }
}

void amli_measured_line(const amli_measured *measured, const char *loss_name, amli_buffer *buffer)
{
    if (measured->job->has_loss)
        amli_buffer_printf(buffer, "  %s %.4f", loss_name, measured->loss);
    for (int i = 0; i < measured->job->metrics; i++)
        if (aml_shape_elements(&measured->shape[i]) == 1)
            amli_buffer_printf(buffer, "  %s %.4f", measured->job->metric[i].name,
                               measured->value[i][0]);
}

static int print_number(FILE *out, int width, double value)
{
    return value == floor(value) && fabs(value) < 1e15 ? fprintf(out, "%*.0f", width, value)
                                                       : fprintf(out, "%*.4f", width, value);
}

static void print_matrix(FILE *out, const char *name, const double *value, int64_t rows,
                         int64_t columns, const aml_tensor_info *target)
{
    int width = 5;
    for (int64_t i = 0; i < rows * columns; i++) {
        char text[64];
        int length =
            snprintf(text, sizeof text, value[i] == floor(value[i]) ? "%.0f" : "%.4f", value[i]);
        if (length + 1 > width)
            width = length + 1;
    }
    fprintf(out, "%s (a row is a target class, a column a predicted one)\n        ", name);
    for (int64_t k = 0; k < columns; k++)
        fprintf(out, "%*lld", width, (long long)k);
    for (int64_t i = 0; i < rows; i++) {
        fprintf(out, "\n  %6lld", (long long)i);
        for (int64_t k = 0; k < columns; k++)
            print_number(out, width, value[i * columns + k]);
        if (target && target->class_name && target->classes == rows)
            fprintf(out, "  %s", target->class_name[i]);
    }
    fputc('\n', out);
}

void amli_measured_print(const amli_measured *measured, FILE *out)
{
    if (measured->job->has_loss)
        fprintf(out, "  %-16s %.6f\n", "loss", measured->loss);
    for (int i = 0; i < measured->job->metrics; i++) {
        const aml_shape *shape = &measured->shape[i];
        const char *name = measured->job->metric[i].name;
        if (shape->rank == 2) {
            print_matrix(out, name, measured->value[i], shape->dim[0], shape->dim[1],
                         measured->target);
            continue;
        }
        fprintf(out, "  %-16s", name);
        for (int64_t k = 0; k < aml_shape_elements(shape); k++)
            fprintf(out, " %.6f", measured->value[i][k]);
        fputc('\n', out);
    }
}
