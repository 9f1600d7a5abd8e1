// labels: rows whose label is probably wrong, by confident learning (Northcutt, Jiang and Chuang,
// 2021, Journal of Artificial Intelligence Research 70).
//
// The rows are those that the training has not seen, since a model may learn its own rows by heart:
// the held-out parts, or, with folds, all rows, each judged by a training that its fold was left
// out of (cross-fitting).
//
// Class j is taken to be the true one of a row if the model is as sure of j as it is on average of
// rows that are labelled j, and j is the most likely of such classes. Rows whose label is another
// one are shown, those first where the model prefers the other class most.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/study.h"

enum { SHOWN = 20 };

typedef struct Doubt {
    int64_t row;
    int32_t label, likely;
    float margin; // probability of `likely` minus that of the label
} Doubt;

typedef struct Labels {
    const aml_job *job;
    const aml_dataset *dataset;
    amli_session session;      // of one model
    int expected, probability; // the prepared field, the output of predict
    int64_t classes, rows, room, folds;
    int64_t *row;
    int32_t *label;
    float *score; // [rows, classes]
    Doubt *doubt;
    int64_t doubts;
    int64_t *table; // [classes, classes]: rows by label and by what is likely
} Labels;

static aml_status find_outputs(Labels *l, aml_error *error)
{
    const amli_session *session = &l->session;
    const aml_function *predict = session->predict.function;
    l->expected = amli_expected_field(session);
    l->probability = -1;
    for (int i = 0; i < predict->outputs; i++)
        if (strcmp(predict->output[i].name, "probability") == 0)
            l->probability = i;
    if (l->expected >= 0 && l->probability >= 0)
        l->classes = session->dataset->prepare.output[l->expected].classes;
    if (l->classes < 2 || aml_shape_elements(&predict->output[l->probability].shape) != l->classes)
        return amli_fail(error, AML_INVALID,
                         "labels are checked of a model that predicts one class a row, and '%s' "
                         "(%s) does not",
                         session->job->name, session->job->place);
    return AML_OK;
}

// Room for so many more rows.
static aml_status make_room(Labels *l, int64_t more, aml_error *error)
{
    int64_t room = l->rows + more;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)(room * l->classes), sizeof *l->score, &bytes))
        return amli_no_memory(error, SIZE_MAX, "probabilities");
    int64_t *row = realloc(l->row, (size_t)room * sizeof *row);
    l->row = row ? row : l->row;
    int32_t *label = realloc(l->label, (size_t)room * sizeof *label);
    l->label = label ? label : l->label;
    float *score = realloc(l->score, bytes);
    l->score = score ? score : l->score;
    return row && label && score ? AML_OK : amli_no_memory(error, bytes, "probabilities");
}

static aml_status predict_part(Labels *l, aml_part part, int64_t step, aml_error *error)
{
    amli_session *session = &l->session;
    const amli_split *split = &session->samples->split;
    const aml_tensor_info *info = &session->dataset->prepare.output[l->expected];
    aml_status status = AML_OK;
    for (int64_t k = 0; k < split->rows[part] && !status; k++) {
        int64_t row = split->row[part][k], label = 0;
        memset(session->to, 0, sizeof *session->to * (size_t)session->samples->outputs);
        session->to[l->expected] = &label;
        status = amli_samples_batch(session->samples, &row, 1, NULL, NULL, session->to, error);
        double number = status ? 0 : amli_element(info->dtype, &label, 0);
        if (!status)
            status = amli_session_fill(session, &session->predict, &row, 1, step, -1, error);
        if (!status)
            status = amli_session_run(session, &session->predict, step, error);
        if (!status)
            status = amli_session_read(session, &session->predict, l->probability,
                                       l->score + l->rows * l->classes, error);
        if (status || number < 0 || number >= (double)l->classes)
            continue;
        l->row[l->rows] = row;
        l->label[l->rows++] = (int32_t)number;
    }
    return status;
}

static int by_margin(const void *a, const void *b)
{
    const Doubt *x = a, *y = b;
    if (x->margin != y->margin)
        return x->margin > y->margin ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

// How sure the model is on average of rows with this label.
static aml_status thresholds(const Labels *l, double *sure, aml_error *error)
{
    int64_t *count = calloc((size_t)l->classes, sizeof *count);
    if (!count)
        return amli_no_memory(error, (size_t)l->classes * sizeof *count, "thresholds");
    for (int64_t i = 0; i < l->rows; i++) {
        sure[l->label[i]] += (double)l->score[i * l->classes + l->label[i]];
        count[l->label[i]]++;
    }
    for (int64_t k = 0; k < l->classes; k++)
        sure[k] = count[k] ? sure[k] / (double)count[k] : 2; // no row may be taken for it
    free(count);
    return AML_OK;
}

static aml_status judge(Labels *l, aml_error *error)
{
    double *sure = calloc((size_t)l->classes, sizeof *sure);
    l->doubt = malloc((size_t)l->rows * sizeof *l->doubt);
    l->table = calloc((size_t)(l->classes * l->classes), sizeof *l->table);
    aml_status status = sure && l->doubt && l->table
                            ? thresholds(l, sure, error)
                            : amli_no_memory(error, (size_t)l->rows * sizeof *l->doubt, "doubts");
    for (int64_t i = 0; i < l->rows && !status; i++) {
        const float *score = l->score + i * l->classes;
        int32_t likely = -1;
        for (int32_t k = 0; k < l->classes; k++)
            if ((double)score[k] >= sure[k] && (likely < 0 || score[k] > score[likely]))
                likely = k;
        if (likely < 0)
            continue;
        l->table[l->label[i] * l->classes + likely]++;
        if (likely != l->label[i])
            l->doubt[l->doubts++] =
                (Doubt){l->row[i], l->label[i], likely, score[likely] - score[l->label[i]]};
    }
    free(sure);
    qsort(l->doubt, (size_t)l->doubts, sizeof *l->doubt, by_margin);
    return status;
}

static const char *class_text(const Labels *l, int64_t class, char room[24])
{
    const aml_tensor_info *info = &l->dataset->prepare.output[l->expected];
    snprintf(room, 24, "%lld", (long long)class);
    return info->class_name ? info->class_name[class] : room;
}

static void show_text(const Labels *l)
{
    char a[24], b[24];
    printf("%s: %lld rows that %s has not seen, %lld labels are doubtful\n", l->job->name,
           (long long)l->rows, l->folds ? "their training of several" : "the training",
           (long long)l->doubts);
    for (int64_t i = 0; i < l->classes; i++)
        for (int64_t k = 0; k < l->classes; k++)
            if (i != k && l->table[i * l->classes + k] > 0)
                printf("  %lld labelled %s that are likely %s\n",
                       (long long)l->table[i * l->classes + k], class_text(l, i, a),
                       class_text(l, k, b));
    puts("row,label,likely,margin");
    for (int64_t i = 0; i < l->doubts && i < SHOWN; i++)
        printf("%lld,%s,%s,%.4f\n", (long long)l->doubt[i].row + 1,
               class_text(l, l->doubt[i].label, a), class_text(l, l->doubt[i].likely, b),
               (double)l->doubt[i].margin);
    if (l->doubts > SHOWN)
        printf("... %lld more; --json shows all\n", (long long)(l->doubts - SHOWN));
}

static aml_status show_json(const Labels *l, aml_error *error)
{
    amli_buffer out = {0};
    amli_buffer_printf(&out, "{\"job\": ");
    amli_json_text(&out, l->job->name);
    amli_buffer_printf(&out, ", \"folds\": %lld, \"rows\": %lld, \"likely\": [",
                       (long long)l->folds, (long long)l->rows);
    for (int64_t i = 0; i < l->classes; i++) {
        amli_buffer_printf(&out, i ? ", [" : "[");
        for (int64_t k = 0; k < l->classes; k++)
            amli_buffer_printf(&out, "%s%lld", k ? ", " : "",
                               (long long)l->table[i * l->classes + k]);
        amli_buffer_printf(&out, "]");
    }
    amli_buffer_printf(&out, "], \"doubtful\": [");
    for (int64_t i = 0; i < l->doubts; i++)
        amli_buffer_printf(&out,
                           "%s{\"row\": %lld, \"label\": %d, \"likely\": %d, \"margin\": %.6g}",
                           i ? ", " : "", (long long)l->doubt[i].row + 1, l->doubt[i].label,
                           l->doubt[i].likely, (double)l->doubt[i].margin);
    amli_buffer_printf(&out, "]}");
    aml_status status = out.failed ? amli_no_memory(error, out.length, "the report") : AML_OK;
    if (!status)
        puts(out.text);
    amli_buffer_free(&out);
    return status;
}

// The model that a command finds gives probabilities for the rows of some parts.
static aml_status ask(Labels *l, const amli_command *command, const amli_device_kind *kind,
                      unsigned parts, amli_log *log, aml_error *error)
{
    int64_t step = 0, rows = 0;
    aml_status status = amli_trained_open(command, l->job, kind, log, &l->session, &step, error);
    if (!status)
        status = amli_session_load(&l->session, log, error);
    if (!status)
        status = find_outputs(l, error);
    for (int part = AML_PART_TRAIN; part <= AML_PART_TEST && !status; part++)
        rows += parts >> part & 1 ? l->session.samples->split.rows[part] : 0;
    if (!status && rows == 0)
        status = amli_fail(error, AML_BAD_DATA,
                           "the split of '%s' (%s) holds no rows out, and rows that were trained "
                           "on cannot be judged\nhelp: --folds 5 trains five times, each time "
                           "without a fifth of the rows",
                           l->dataset->name, l->dataset->place);
    if (!status)
        status = make_room(l, rows, error);
    for (int part = AML_PART_TRAIN; part <= AML_PART_TEST && !status; part++)
        if (parts >> part & 1)
            status = predict_part(l, (aml_part)part, step, error);
    amli_session_close(&l->session);
    l->session = (amli_session){0};
    return status;
}

static aml_status ask_fold(Labels *l, const amli_command *command, const char *folder, int fold,
                           aml_part part, const amli_device_kind *kind, amli_log *log,
                           aml_error *error)
{
    char name[32], below[PATH_MAX], again[300];
    const amli_fold of = {.index = fold, .count = (int32_t)l->folds, .part = part};
    snprintf(name, sizeof name, "fold-%d", fold + 1);
    snprintf(again, sizeof again, "labels %s --folds %lld", l->job->name, (long long)l->folds);
    amli_command own;
    aml_status status = amli_join(below, sizeof below, folder, name, error);
    if (!status)
        status = amli_study_train(command, l->job, again, of, below, kind, error);
    if (status)
        return status;
    status = amli_study_command(command, l->job, of, below, &own, error);
    if (!status)
        status = ask(l, &own, kind, 1u << part, log, error);
    amli_command_free(&own);
    return status;
}

// The trainings lie in runs/JOB-labels/..., each on a fold that takes the place of the test part,
// so that every row is left out once.
static aml_status ask_folds(Labels *l, const amli_command *command, const amli_device_kind *kind,
                            amli_log *log, aml_error *error)
{
    char folder[PATH_MAX], name[300];
    aml_part part = l->dataset->test.kind == AML_SOURCE_NONE ? AML_PART_TEST : AML_PART_VALID;
    if (command->checkpoint)
        return amli_fail(error, AML_USAGE, "--folds trains what it asks: it takes no --checkpoint");
    snprintf(name, sizeof name, "%s-labels", l->job->name);
    aml_status status = command->resume ? amli_run_find(command->runs, name, command->resume_run,
                                                        false, folder, error)
                                        : amli_run_create(command->runs, name, folder, error);
    for (int fold = 0; fold < l->folds && !status; fold++)
        status = ask_fold(l, command, folder, fold, part, kind, log, error);
    return status;
}

aml_status amli_label_report(const amli_command *command, const amli_device_kind *kind,
                             aml_error *error)
{
    Labels labels = {.folds = command->folds};
    amli_log log;
    amli_log_begin(&log, command->quiet);
    aml_status status =
        amli_find_job(command, AML_JOB_TRAIN, command->argument, &labels.job, error);
    if (!status && !labels.job->predict.run)
        status = amli_fail(error, AML_INVALID, "the job '%s' (%s) has nothing to predict with",
                           labels.job->name, labels.job->place);
    if (!status && command->resume && !command->folds)
        status = amli_fail(error, AML_USAGE, "--resume goes on with --folds, which is not given");
    if (!status) {
        labels.dataset = &command->program->dataset[labels.job->data];
        status = command->folds ? ask_folds(&labels, command, kind, &log, error)
                                : ask(&labels, command, kind,
                                      1u << AML_PART_VALID | 1u << AML_PART_TEST, &log, error);
    }
    if (!status)
        status = judge(&labels, error);
    if (!status && command->json)
        status = show_json(&labels, error);
    else if (!status)
        show_text(&labels);
    free(labels.row), free(labels.label), free(labels.score);
    free(labels.doubt), free(labels.table);
    amli_log_end(&log);
    return status;
}
