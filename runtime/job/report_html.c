// The page of a run: one file, nothing is loaded from elsewhere, so it can be mailed and kept.

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/png.h"
#include "runtime/job/report.h"

static const char style[] =
    "body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1240px;padding:0 16px;"
    "color:#222}h1{font-size:22px}h2{font-size:17px;margin-top:32px;border-bottom:1px solid #ddd}"
    "figure{display:inline-block;margin:4px 12px 8px 0}figcaption{max-width:400px;font-size:12px}"
    "svg{font:11px system-ui,sans-serif}svg .t{font-weight:600;font-size:13px}svg rect{fill:none;"
    "stroke:#bbb}svg line{stroke:#bbb;stroke-dasharray:4}polyline{fill:none;stroke-width:1.5}"
    "table{border-collapse:collapse;margin:8px 0}td,th{padding:3px 8px;text-align:right;border:1px "
    "solid #e3e3e3;font-variant-numeric:tabular-nums}th{background:#f6f6f6}pre{background:#f6f6f6;"
    "padding:12px;overflow:auto}td.l,th.l{text-align:left}img{image-rendering:pixelated;min-width:"
    "56px}.muted{color:#777}";

static void put_text(amli_buffer *out, const char *text)
{
    amli_html_text(out, text ? text : "", strlen(text ? text : ""));
}

static void put_fact(amli_buffer *out, const char *name, const char *value)
{
    amli_buffer_printf(out, "<tr><th class=\"l\">%s</th><td class=\"l\">", name);
    put_text(out, value);
    amli_buffer_printf(out, "</td></tr>\n");
}

// ---- curves ------------------------------------------------------------------------------------

typedef struct Curve {
    char *name;
    double *x, *y;
    int64_t count, room;
} Curve;

typedef struct Curves {
    Curve *at;
    int count;
    bool failed;
} Curves;

static void add_point(Curves *curves, const char *name, double x, double y)
{
    int i = 0;
    while (i < curves->count && strcmp(curves->at[i].name, name) != 0)
        i++;
    if (i == curves->count) {
        Curve *more = realloc(curves->at, (size_t)(i + 1) * sizeof *more);
        char *copy = strdup(name);
        if (more)
            curves->at = more;
        if (!more || !copy) {
            free(copy);
            curves->failed = true;
            return;
        }
        curves->at[curves->count++] = (Curve){.name = copy};
    }
    Curve *curve = &curves->at[i];
    if (curve->count == curve->room) {
        size_t room = (size_t)(curve->room ? 2 * curve->room : 64);
        double *more_x = realloc(curve->x, room * sizeof(double));
        curve->x = more_x ? more_x : curve->x;
        double *more_y = more_x ? realloc(curve->y, room * sizeof(double)) : NULL;
        curve->y = more_y ? more_y : curve->y;
        if (!more_y) {
            curves->failed = true;
            return;
        }
        curve->room = (int64_t)room;
    }
    curve->x[curve->count] = x;
    curve->y[curve->count++] = y;
}

static void read_curves(const char *text, size_t length, Curves *curves)
{
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        if (!end)
            break; // a line that a running training has not finished
        json_t *line = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL), *value;
        const char *name;
        double step = json_number_value(json_object_get(line, "step"));
        json_object_foreach(line, name, value)
        {
            bool wanted = strcmp(name, "step") != 0 && strcmp(name, "epoch") != 0;
            if (wanted && json_is_number(value) && isfinite(json_number_value(value)))
                add_point(curves, name, step, json_number_value(value));
        }
        json_decref(line);
        at = (size_t)(end - text) + 1;
    }
}

static bool is_loss(const char *name)
{
    return strcmp(name, "loss") == 0 || strcmp(name, "train_loss") == 0 ||
           strcmp(name, "valid_loss") == 0;
}

static void put_curves(const amli_run_report *report, amli_buffer *out)
{
    char path[PATH_MAX], *text = NULL;
    size_t length = 0;
    Curves curves = {0};
    amli_buffer_printf(out, "<h2>Training</h2>\n");
    if (amli_join(path, sizeof path, report->run, "metrics.jsonl", NULL) == AML_OK &&
        amli_read_file(path, &text, &length, NULL) == AML_OK)
        read_curves(text, length, &curves);
    amli_chart losses = {.title = "loss", .x_name = "step"};
    for (int i = 0; i < curves.count; i++)
        if (is_loss(curves.at[i].name))
            losses.series[losses.count++] = (amli_series){curves.at[i].name, curves.at[i].x,
                                                          curves.at[i].y, curves.at[i].count};
    if (losses.count)
        amli_chart_svg(&losses, out);
    for (int i = 0; i < curves.count; i++) {
        const Curve *curve = &curves.at[i];
        if (is_loss(curve->name))
            continue;
        amli_chart chart = {.title = curve->name,
                            .x_name = "step",
                            .count = 1,
                            .series = {{curve->name, curve->x, curve->y, curve->count}}};
        amli_chart_svg(&chart, out);
    }
    if (curves.count == 0)
        amli_buffer_printf(out, "<p class=\"muted\">The run has no figures.</p>");
    for (int i = 0; i < curves.count; i++)
        free(curves.at[i].name), free(curves.at[i].x), free(curves.at[i].y);
    out->failed = out->failed || curves.failed;
    free(curves.at);
    free(text);
}

// ---- figures of the held-out part --------------------------------------------------------------

static void put_measured(const amli_measured *measured, amli_buffer *out)
{
    amli_buffer_printf(out, "<table>");
    if (measured->job->has_loss)
        amli_buffer_printf(out, "<tr><th class=\"l\">loss</th><td>%.6g</td></tr>", measured->loss);
    for (int i = 0; i < measured->job->metrics; i++) {
        if (aml_shape_elements(&measured->shape[i]) != 1)
            continue;
        amli_buffer_printf(out, "<tr><th class=\"l\">");
        put_text(out, measured->job->metric[i].name);
        amli_buffer_printf(out, "</th><td>%.6g</td></tr>", measured->value[i][0]);
    }
    amli_buffer_printf(out, "</table>\n");
}

// Rows are targets, columns predictions; the darker, the larger the share of the target's rows.
static void put_confusion(const amli_outcome *outcome, amli_buffer *out)
{
    enum { MOST = 40 };
    int64_t k = outcome->classes;
    int64_t *count = calloc((size_t)(k * k) + 1, sizeof *count);
    if (!count || k > MOST) {
        out->failed = out->failed || !count;
        free(count);
        return;
    }
    for (int64_t i = 0; i < outcome->rows; i++)
        if (outcome->target[i] >= 0 && outcome->target[i] < k && outcome->prediction[i] >= 0 &&
            outcome->prediction[i] < k)
            count[outcome->target[i] * k + outcome->prediction[i]]++;
    amli_buffer_printf(out,
                       "<h2>Confusion</h2><p class=\"muted\">A row is a target class, a column "
                       "a predicted one.</p><table><tr><th></th>");
    for (int64_t c = 0; c < k; c++)
        amli_buffer_printf(out, "<th>%lld</th>", (long long)c);
    amli_buffer_printf(out, "</tr>");
    for (int64_t r = 0; r < k; r++) {
        int64_t sum = 0;
        amli_buffer_printf(out, "<tr><th>%lld</th>", (long long)r);
        for (int64_t c = 0; c < k; c++)
            sum += count[r * k + c];
        for (int64_t c = 0; c < k; c++) {
            double share = sum ? (double)count[r * k + c] / (double)sum : 0;
            amli_buffer_printf(out, "<td style=\"background:rgba(%s,%.2f)\">%lld</td>",
                               r == c ? "31,119,180" : "214,39,40", share,
                               (long long)count[r * k + c]);
        }
        amli_buffer_printf(out, "</tr>");
    }
    amli_buffer_printf(out, "</table>\n");
    free(count);
}

typedef struct Ranked {
    float score;
    int64_t index;
} Ranked;

static int by_score(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

// The points of both curves of one class against the rest; rows of equal score are one point.
typedef struct Points {
    double *false_rate, *true_rate, *recall, *precision;
    int64_t count;
    double roc_auc, precision_mean;
} Points;

static bool points_of(const amli_outcome *outcome, int64_t class, Ranked *ranked, int64_t *order,
                      Points *points)
{
    size_t room = (size_t)outcome->rows + 2;
    int64_t positive = 0, seen = 0, hits = 0;
    *points = (Points){malloc(room * sizeof(double)),
                       malloc(room * sizeof(double)),
                       malloc(room * sizeof(double)),
                       malloc(room * sizeof(double)),
                       0,
                       NAN,
                       NAN};
    if (!points->false_rate || !points->true_rate || !points->recall || !points->precision)
        return false;
    for (int64_t i = 0; i < outcome->rows; i++) {
        ranked[i] = (Ranked){outcome->probability[i * outcome->classes + class], i};
        positive += outcome->target[i] == class;
    }
    if (positive == 0 || positive == outcome->rows)
        return true;
    qsort(ranked, (size_t)outcome->rows, sizeof *ranked, by_score);
    points->false_rate[0] = points->true_rate[0] = points->recall[0] = 0;
    points->precision[0] = 1;
    points->count = 1;
    for (int64_t i = 0; i < outcome->rows; i++) {
        seen++;
        hits += outcome->target[ranked[i].index] == class;
        if (i + 1 < outcome->rows && ranked[i + 1].score == ranked[i].score)
            continue;
        int64_t at = points->count++;
        points->true_rate[at] = points->recall[at] = (double)hits / (double)positive;
        points->false_rate[at] = (double)(seen - hits) / (double)(outcome->rows - positive);
        points->precision[at] = (double)hits / (double)seen;
    }
    const float *score = outcome->probability + class;
    points->roc_auc = amli_roc_auc(score, outcome->classes, outcome->target, (int32_t) class,
                                   outcome->rows, order);
    points->precision_mean = amli_average_precision(score, outcome->classes, outcome->target,
                                                    (int32_t) class, outcome->rows, order);
    return true;
}

static void points_free(Points *points)
{
    free(points->false_rate), free(points->true_rate);
    free(points->recall), free(points->precision);
}

// One curve a class; of two classes only that of class 1.
static void put_rates(const amli_outcome *outcome, amli_buffer *out)
{
    int64_t first = outcome->classes == 2 ? 1 : 0, count = outcome->classes - first;
    if (count > AMLI_MOST_SERIES)
        count = AMLI_MOST_SERIES;
    Points points[AMLI_MOST_SERIES] = {{0}};
    char name[2][AMLI_MOST_SERIES][48];
    Ranked *ranked = malloc((size_t)(outcome->rows + 1) * sizeof *ranked);
    int64_t *order = malloc((size_t)(outcome->rows + 1) * sizeof *order);
    bool complete = ranked && order;
    amli_chart roc = {.title = "ROC",
                      .x_name = "false positive rate; the true positive rate goes up",
                      .unit = true,
                      .diagonal = true},
               pr = {.title = "precision and recall",
                     .x_name = "recall; the precision goes up",
                     .unit = true};
    for (int64_t c = 0; c < count && complete; c++) {
        Points *p = &points[c];
        complete = points_of(outcome, first + c, ranked, order, p);
        if (!complete || p->count == 0)
            continue;
        snprintf(name[0][c], sizeof name[0][c], "%lld: AUC %.4f", (long long)(first + c),
                 p->roc_auc);
        snprintf(name[1][c], sizeof name[1][c], "%lld: mean %.4f", (long long)(first + c),
                 p->precision_mean);
        roc.series[roc.count++] = (amli_series){name[0][c], p->false_rate, p->true_rate, p->count};
        pr.series[pr.count++] = (amli_series){name[1][c], p->recall, p->precision, p->count};
    }
    amli_buffer_printf(out, "<h2>Each class against the others</h2>\n");
    if (outcome->classes - first > count)
        amli_buffer_printf(out, "<p class=\"muted\">The first %d of %lld classes.</p>",
                           AMLI_MOST_SERIES, (long long)outcome->classes);
    amli_chart_svg(&roc, out);
    amli_chart_svg(&pr, out);
    out->failed = out->failed || !complete;
    for (int i = 0; i < AMLI_MOST_SERIES; i++)
        points_free(&points[i]);
    free(ranked), free(order);
}

// How often predictions made with a probability are right: ten bins of equal width.
static void put_calibration(const amli_outcome *outcome, amli_buffer *out)
{
    enum { BINS = 10 };
    double sum[BINS] = {0}, right[BINS] = {0}, x[BINS], y[BINS], error = 0;
    int64_t count[BINS] = {0}, used = 0;
    for (int64_t i = 0; i < outcome->rows; i++) {
        const float *p = outcome->probability + i * outcome->classes;
        double most = 0;
        for (int64_t c = 0; c < outcome->classes; c++)
            most = fmax(most, (double)p[c]);
        int bin = (int)(most * BINS);
        bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
        sum[bin] += most;
        right[bin] += outcome->target[i] == outcome->prediction[i];
        count[bin]++;
    }
    for (int b = 0; b < BINS; b++)
        if (count[b]) {
            x[used] = sum[b] / (double)count[b];
            y[used] = right[b] / (double)count[b];
            error += (double)count[b] / (double)outcome->rows * fabs(x[used] - y[used]);
            used++;
        }
    char title[96];
    snprintf(title, sizeof title, "calibration (expected error %.4f)", error);
    amli_chart chart = {.title = title,
                        .x_name = "probability; how many of them are right goes up",
                        .unit = true,
                        .diagonal = true,
                        .count = 1,
                        .series = {{"predictions", x, y, used}}};
    amli_chart_svg(&chart, out);
}

// ---- samples -----------------------------------------------------------------------------------

static void put_picture(const aml_tensor_info *info, const char *at, amli_buffer *out)
{
    amli_buffer png = {0};
    amli_picture picture;
    amli_picture_png(info, at, &picture, &png);
    amli_buffer_printf(out, "<img alt=\"\" width=\"%d\" src=\"data:image/png;base64,",
                       picture.width < 56 ? 56 : picture.width);
    amli_base64(out, png.text, png.failed ? 0 : png.length);
    amli_buffer_printf(out, "\">");
    out->failed = out->failed || png.failed;
    amli_buffer_free(&png);
}

static void put_values(const aml_tensor_info *info, const char *at, amli_buffer *out)
{
    enum { SHOWN = 12 };
    int64_t count = aml_shape_elements(&info->shape);
    put_text(out, info->name);
    amli_buffer_printf(out, ":");
    for (int64_t i = 0; i < count && i < SHOWN; i++)
        amli_buffer_printf(out, " %.4g", amli_element(info->dtype, at, i));
    amli_buffer_printf(out, "%s<br>", count > SHOWN ? " ..." : "");
}

// What the model saw of a row.
static void put_sample(const amli_run_report *report, int64_t row, amli_buffer *out,
                       aml_error *error)
{
    amli_session *session = report->session;
    const aml_function *prepare = &session->dataset->prepare;
    int picture = amli_picture_field(session->dataset),
        y = amli_sample_output(session->dataset, "y");
    void **to = calloc((size_t)prepare->outputs + 1, sizeof *to);
    bool complete = to != NULL;
    for (int i = 0; i < prepare->outputs && complete; i++) {
        to[i] = malloc(amli_tensor_bytes(&prepare->output[i]) + 8);
        complete = to[i] != NULL;
    }
    aml_status status = complete
                            ? amli_samples_batch(session->samples, &row, 1, NULL, NULL, to, error)
                            : AML_NO_MEMORY;
    if (!status && picture >= 0)
        put_picture(&prepare->output[picture], to[picture], out);
    for (int i = 0; i < prepare->outputs && !status && picture < 0; i++)
        if (i != y)
            put_values(&prepare->output[i], to[i], out);
    for (int i = 0; i < prepare->outputs && to; i++)
        free(to[i]);
    out->failed = out->failed || !complete;
    free(to);
}

enum { WORST = 16 };

// The rows with the least probability of what is right, or the largest error.
static void put_worst(const amli_run_report *report, amli_buffer *out, aml_error *error)
{
    const amli_outcome *outcome = report->outcome;
    Ranked *ranked = malloc((size_t)(outcome->rows + 1) * sizeof *ranked);
    if (!ranked) {
        out->failed = true;
        return;
    }
    for (int64_t i = 0; i < outcome->rows; i++) {
        bool known = outcome->classes > 0 && outcome->target[i] >= 0 &&
                     outcome->target[i] < outcome->classes;
        float bad = outcome->classes == 0 ? (float)fabs(outcome->expected[i] - outcome->found[i])
                    : known ? 1 - outcome->probability[i * outcome->classes + outcome->target[i]]
                            : 0;
        ranked[i] = (Ranked){bad, i};
    }
    qsort(ranked, (size_t)outcome->rows, sizeof *ranked, by_score);
    amli_buffer_printf(out,
                       "<h2>Samples that went worst</h2><table><tr><th>row</th><th "
                       "class=\"l\">sample</th><th>expected</th><th>predicted</th>%s</tr>\n",
                       outcome->classes ? "<th>probability of both</th>" : "<th>error</th>");
    for (int64_t k = 0; k < outcome->rows && k < WORST; k++) {
        int64_t i = ranked[k].index;
        amli_buffer_printf(out, "<tr><td>%lld</td><td class=\"l\">",
                           (long long)outcome->row[i] + 1);
        put_sample(report, outcome->row[i], out, error);
        if (outcome->classes > 0)
            amli_buffer_printf(
                out, "</td><td>%d</td><td>%d</td><td>%.4f, %.4f</td></tr>\n", outcome->target[i],
                outcome->prediction[i], 1 - (double)ranked[k].score,
                (double)outcome->probability[i * outcome->classes + outcome->prediction[i]]);
        else
            amli_buffer_printf(out, "</td><td>%.6g</td><td>%.6g</td><td>%.6g</td></tr>\n",
                               outcome->expected[i], outcome->found[i],
                               outcome->found[i] - outcome->expected[i]);
    }
    amli_buffer_printf(out, "</table>\n");
    free(ranked);
}

static void put_outcome(const amli_run_report *report, amli_buffer *out, aml_error *error)
{
    const amli_outcome *outcome = report->outcome;
    if (outcome->classes > 0) {
        put_confusion(outcome, out);
        put_rates(outcome, out);
        put_calibration(outcome, out);
    } else {
        amli_chart chart = {.title = "predicted over expected",
                            .x_name = "expected (the first number of the target)",
                            .diagonal = true,
                            .points = true,
                            .count = 1,
                            .series = {{"rows", outcome->expected, outcome->found, outcome->rows}}};
        amli_buffer_printf(out, "<h2>Predictions</h2>\n");
        amli_chart_svg(&chart, out);
    }
    put_worst(report, out, error);
}

// ---- plan, settings ----------------------------------------------------------------------------

static void put_plan(const amli_run_report *report, amli_buffer *out)
{
    const aml_job *job = report->session->job;
    amli_need need = amli_job_need(job);
    const struct {
        const char *name;
        size_t bytes;
    } rows[] = {{"state (weights, optimizer)", need.state},
                {"snapshot for checkpoints", need.snapshot},
                {"temporaries", need.arena},
                {"batches", need.batch},
                {"data", amli_data_bytes(report->session->command, job, report->session->samples)}};
    amli_buffer_printf(out, "<h2>Memory</h2><table>");
    size_t all = 0;
    char text[32];
    for (size_t i = 0; i < AMLI_COUNT(rows); i++) {
        all += rows[i].bytes;
        amli_buffer_printf(out, "<tr><th class=\"l\">%s</th><td>%s</td></tr>", rows[i].name,
                           amli_bytes_text((double)rows[i].bytes, text, sizeof text));
    }
    amli_buffer_printf(out, "<tr><th class=\"l\">in all</th><td>%s</td></tr></table>\n",
                       amli_bytes_text((double)all, text, sizeof text));
}

static void put_config(const amli_run_report *report, amli_buffer *out)
{
    char path[PATH_MAX], *text;
    size_t length;
    if (amli_join(path, sizeof path, report->run, "config.aml", NULL) ||
        amli_read_file(path, &text, &length, NULL))
        return;
    amli_buffer_printf(out, "<h2>Settings</h2><pre>");
    amli_html_text(out, text, length);
    amli_buffer_printf(out, "</pre>\n");
    free(text);
}

static void put_facts(const amli_run_report *report, amli_buffer *out)
{
    static const char *const part[] = {"all", "train", "valid", "test"};
    const amli_session *session = report->session;
    const aml_program *program = session->program;
    const aml_checkpoint_info *info = aml_checkpoint_describe(report->checkpoint);
    const amli_split *split = &session->samples->split;
    char text[256];
    amli_buffer_printf(out, "<table>");
    put_fact(out, "run", report->run);
    snprintf(text, sizeof text, "%lld, weights %.16s", (long long)info->step, info->weights_hash);
    put_fact(out, "checkpoint of step", text);
    snprintf(text, sizeof text, "%lld train, %lld valid, %lld test; measured here: %s",
             (long long)split->rows[AML_PART_TRAIN], (long long)split->rows[AML_PART_VALID],
             (long long)split->rows[AML_PART_TEST], part[report->part]);
    put_fact(out, "rows", text);
    put_fact(out, "data", session->samples->path);
    put_fact(out, "data, SHA-256", session->samples->fingerprint);
    put_fact(out, "source", program->source);
    put_fact(out, "source, SHA-256", program->source_hash);
    snprintf(text, sizeof text, "%s for %s; %d threads", program->compiler, program->cpu_level,
             amli_pool_threads(session->device->pool));
    put_fact(out, "compiled by", text);
    if (strcmp(info->data_fingerprint, session->samples->fingerprint) != 0)
        put_fact(out, "note", "the run was trained on other data than are measured here");
    amli_buffer_printf(out, "</table>\n");
}

void amli_report_html(const amli_run_report *report, amli_buffer *out, aml_error *error)
{
    const char *name = report->session->job->name;
    amli_buffer_printf(out,
                       "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    put_text(out, name);
    amli_buffer_printf(out, "</title><style>%s</style></head><body><h1>", style);
    put_text(out, name);
    amli_buffer_printf(out, "</h1>\n");
    put_facts(report, out);
    put_curves(report, out);
    if (report->measured) {
        amli_buffer_printf(out, "<h2>Measured on rows that were held out</h2>\n");
        put_measured(report->measured, out);
    }
    if (report->outcome)
        put_outcome(report, out, error);
    put_plan(report, out);
    put_config(report, out);
    amli_buffer_printf(out, "</body></html>\n");
}
