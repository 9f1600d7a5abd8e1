// The figures of a cross-validation or a learning curve: mean and standard deviation over the
// folds.
//
// A training's result is {"share", "fold", "train_rows", "rows", "data", "metrics", "training"};
// the last one, what is measured on the training part, only in a learning curve. Metrics may be
// arrays of arrays: everything goes element by element. The standard deviation is that of a sample,
// with n - 1 below the line; one fold has none.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/study.h"

aml_status amli_study_text(const amli_study *study, int share, int fold,
                           const amli_measured *measured, const amli_measured *on_training,
                           int64_t train_rows, const char *data, char **text, aml_error *error)
{
    amli_buffer out = {0};
    amli_buffer_printf(&out, "{\"share\": ");
    amli_json_number(&out, study->shares > 0 ? study->share[share] : 1);
    amli_buffer_printf(&out,
                       ", \"fold\": %d, \"train_rows\": %lld, \"rows\": %lld, \"data\": \"%s\", "
                       "\"metrics\": {",
                       fold + 1, (long long)train_rows, (long long)measured->rows, data);
    amli_measured_json(measured, "loss", &out);
    if (on_training) {
        amli_buffer_printf(&out, "}, \"training\": {");
        amli_measured_json(on_training, "loss", &out);
    }
    amli_buffer_printf(&out, "}}\n");
    *text = out.failed ? NULL : strdup(out.text);
    amli_buffer_free(&out);
    return *text ? AML_OK : amli_no_memory(error, 0, "a result");
}

aml_status amli_study_read(const char *path, const char *text, size_t length, json_t **out,
                           aml_error *error)
{
    json_error_t why;
    json_t *result = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    bool good = json_is_object(result) && json_is_object(json_object_get(result, "metrics")) &&
                json_is_string(json_object_get(result, "data")) &&
                json_is_integer(json_object_get(result, "train_rows")) &&
                json_is_integer(json_object_get(result, "rows"));
    if (!good) {
        json_decref(result);
        return amli_fail(error, AML_BAD_CHECKPOINT,
                         "%s is not the result of a training: %s\nhelp: remove it, and it is made "
                         "again",
                         path, result ? "something is missing" : why.text);
    }
    *out = result;
    return AML_OK;
}

// ---- statistics

typedef struct Values {
    json_t **at; // the same figure of each fold
    int count;
} Values;

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void mean_of(const Values *values, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < values->count; i++)
        sum += number_of(values->at[i]);
    *mean = sum / values->count;
    for (int i = 0; i < values->count; i++) {
        double off = number_of(values->at[i]) - *mean;
        squares += off * off;
    }
    *deviation = values->count > 1 ? sqrt(squares / (values->count - 1)) : NAN;
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

typedef enum Statistic { MEAN, DEVIATION, SUM } Statistic;

// Element by element of arrays of equal shape.
static json_t *statistic_of(const Values *values, Statistic which)
{
    if (!json_is_array(values->at[0])) {
        double mean, deviation;
        mean_of(values, &mean, &deviation);
        return real_or_null(which == MEAN        ? mean
                            : which == DEVIATION ? deviation
                                                 : mean * values->count);
    }
    json_t *out = json_array();
    json_t **inner = calloc((size_t)values->count, sizeof(json_t *));
    for (size_t k = 0; inner && k < json_array_size(values->at[0]); k++) {
        for (int i = 0; i < values->count; i++)
            inner[i] = json_array_get(values->at[i], k);
        json_array_append_new(out, statistic_of(&(Values){inner, values->count}, which));
    }
    free(inner);
    return out;
}

// {"accuracy": {"mean": .., "sd": .., "folds": [..]}, ...} of one share.
static json_t *figures_of(const amli_study *study, int share, const char *group)
{
    int folds = amli_study_folds(study);
    json_t **result = study->result + share * folds, *first = json_object_get(result[0], group),
           *of;
    json_t **at = calloc((size_t)folds, sizeof(json_t *)), *figures = json_object();
    const char *name;
    if (at)
        json_object_foreach(first, name, of)
        {
            json_t *each = json_array(), *figure = json_object();
            for (int f = 0; f < folds; f++) {
                at[f] = json_object_get(json_object_get(result[f], group), name);
                json_array_append(each, at[f]);
            }
            Values values = {at, folds};
            json_object_set_new(figure, "mean", statistic_of(&values, MEAN));
            json_object_set_new(figure, "sd", statistic_of(&values, DEVIATION));
            json_object_set_new(figure, "folds", each);
            json_object_set_new(figures, name, figure);
        }
    free(at);
    return figures;
}

static double mean_rows(const amli_study *study, int share, const char *name)
{
    double sum = 0;
    int folds = amli_study_folds(study);
    for (int f = 0; f < folds; f++)
        sum += json_number_value(json_object_get(study->result[share * folds + f], name));
    return sum / folds;
}

static json_t *point_of(const amli_study *study, int share)
{
    json_t *point = json_object();
    json_object_set_new(point, "share", json_real(study->shares > 0 ? study->share[share] : 1));
    json_object_set_new(point, "train_rows", json_real(mean_rows(study, share, "train_rows")));
    json_object_set_new(point, "rows", json_real(mean_rows(study, share, "rows")));
    json_object_set_new(point, "metrics", figures_of(study, share, "metrics"));
    if (study->shares > 0)
        json_object_set_new(point, "training", figures_of(study, share, "training"));
    return point;
}

// ---- what is written

static const char *part_name(const amli_study *study)
{
    return study->part == AML_PART_TEST ? "test" : "valid";
}

static json_t *points_of(const amli_study *study)
{
    json_t *points = json_array();
    for (int s = 0; s < amli_study_shares(study); s++)
        json_array_append_new(points, point_of(study, s));
    return points;
}

json_t *amli_study_json(const amli_study *study)
{
    json_t *all = json_object(), *points = points_of(study);
    json_object_set_new(all, "job", json_string(study->job->name));
    json_object_set_new(all, "training", json_string(study->trained->name));
    json_object_set_new(all, "part", json_string(part_name(study)));
    json_object_set_new(all, "folds", json_integer(study->folds));
    json_object_set_new(all, "run", json_string(study->folder));
    json_object_set(all, "data", json_object_get(study->result[0], "data"));
    json_object_set_new(all, "seconds", json_real(study->seconds));
    size_t last = json_array_size(points) - 1;
    json_object_set(all, "metrics", json_object_get(json_array_get(points, last), "metrics"));
    if (study->shares > 0)
        json_object_set(all, "curve", points);
    json_decref(points);
    return all;
}

// A line for each share, so that `amlc plot` draws the curve over the rows that were trained on.
static aml_status write_lines(const amli_study *study, json_t *points, aml_error *error)
{
    const struct {
        const char *group, *prefix;
    } groups[] = {{"training", "train"}, {"metrics", part_name(study)}};
    amli_buffer text = {0};
    json_t *point, *figure;
    size_t index;
    const char *name;
    json_array_foreach(points, index, point)
    {
        amli_buffer_printf(&text, "{\"step\": %.0f",
                           json_number_value(json_object_get(point, "train_rows")));
        for (size_t g = 0; g < AMLI_COUNT(groups); g++)
            json_object_foreach(json_object_get(point, groups[g].group), name, figure)
            {
                json_t *mean = json_object_get(figure, "mean");
                if (json_is_array(mean))
                    continue;
                amli_buffer_printf(&text, ", \"%s_%s\": ", groups[g].prefix, name);
                amli_json_number(&text, number_of(mean));
            }
        amli_buffer_printf(&text, "}\n");
    }
    aml_status status = text.failed ? amli_no_memory(error, text.length, "metrics.jsonl")
                                    : amli_replace_file(study->folder, "metrics.jsonl", text.text,
                                                        text.length, error);
    amli_buffer_free(&text);
    return status;
}

// ---- what is printed

static void print_number(const json_t *value)
{
    if (json_is_number(value))
        printf(" %10.6f", json_number_value(value));
    else
        printf(" %10s", "-");
}

static bool all_whole(const json_t *value)
{
    if (!json_is_array(value))
        return json_is_number(value) && json_number_value(value) == floor(json_number_value(value));
    size_t index;
    json_t *item;
    json_array_foreach(value, index, item) if (!all_whole(item)) return false;
    return true;
}

// Counts, such as those of a confusion matrix, are added up over the folds; else means.
static void print_array(const char *name, const json_t *figure)
{
    json_t *folds = json_object_get(figure, "folds"), *row, *cell;
    bool counts = all_whole(folds);
    int count = (int)json_array_size(folds);
    json_t **at = calloc((size_t)count, sizeof(json_t *));
    for (int i = 0; at && i < count; i++)
        at[i] = json_array_get(folds, (size_t)i);
    json_t *shown = at ? statistic_of(&(Values){at, count}, counts ? SUM : MEAN) : NULL;
    free(at);
    bool matrix = json_is_array(json_array_get(shown, 0));
    printf("%s%s", name,
           count == 1 ? ""
           : counts   ? " (added up over the folds)"
                      : " (mean over the folds)");
    size_t i, k;
    json_array_foreach(shown, i, row)
    {
        if (!matrix) {
            printf(" %.6f", json_number_value(row));
            continue;
        }
        printf("\n  %6zu", i);
        json_array_foreach(row, k, cell)
            printf(counts ? " %7.0f" : " %9.4f", json_number_value(cell));
    }
    putchar('\n');
    json_decref(shown);
}

static void print_folds(const amli_study *study, const json_t *point)
{
    json_t *figure, *metrics = json_object_get(point, "metrics");
    const char *name;
    printf("  %-16s %10s %10s", "", "mean", "sd");
    for (int f = 0; f < study->folds; f++)
        printf("    fold %2d", f + 1);
    putchar('\n');
    json_object_foreach(metrics, name, figure)
    {
        json_t *folds = json_object_get(figure, "folds"), *fold;
        size_t index;
        if (json_is_array(json_object_get(figure, "mean")))
            continue;
        printf("  %-16s", name);
        print_number(json_object_get(figure, "mean"));
        print_number(json_object_get(figure, "sd"));
        json_array_foreach(folds, index, fold) print_number(fold);
        putchar('\n');
    }
    json_object_foreach(metrics, name, figure) if (json_is_array(json_object_get(figure, "mean")))
        print_array(name, figure);
}

static void print_curve(const amli_study *study, json_t *points)
{
    json_t *point, *figure;
    size_t index;
    const char *name;
    json_array_foreach(points, index, point)
    {
        json_t *metrics = json_object_get(point, "metrics"),
               *training = json_object_get(point, "training");
        if (index == 0) {
            printf("  %8s %8s", "share", "rows");
            json_object_foreach(metrics, name,
                                figure) if (!json_is_array(json_object_get(figure, "mean")))
            {
                printf("  train %-8.8s %10.10s", name, name);
                if (study->folds > 0)
                    printf(" %10s", "sd");
            }
            putchar('\n');
        }
        printf("  %7g%% %8.0f", 100 * json_number_value(json_object_get(point, "share")),
               json_number_value(json_object_get(point, "train_rows")));
        json_object_foreach(metrics, name,
                            figure) if (!json_is_array(json_object_get(figure, "mean")))
        {
            printf("    ");
            print_number(json_object_get(json_object_get(training, name), "mean"));
            print_number(json_object_get(figure, "mean"));
            if (study->folds > 0)
                print_number(json_object_get(figure, "sd"));
        }
        putchar('\n');
    }
}

static void print_study(const amli_study *study, json_t *points)
{
    char seconds[40];
    printf("%s: ", study->job->name); // what was done, how long it took, where it is
    if (study->shares > 0)
        printf("%d shares of the training part%s", study->shares, study->folds > 0 ? ", " : "");
    if (study->folds > 0)
        printf("%d folds in place of the %s part", study->folds, part_name(study));
    printf(", %s, %s\n", amli_seconds_text(study->seconds, seconds, sizeof seconds), study->folder);
    if (study->shares > 0)
        print_curve(study, points);
    else
        print_folds(study, json_array_get(points, 0));
}

aml_status amli_study_finish(const amli_study *study, aml_error *error)
{
    json_t *points = points_of(study), *all = amli_study_json(study);
    char *text = json_dumps(all, JSON_INDENT(2));
    aml_status status =
        text ? amli_replace_file(study->folder, "result.json", text, strlen(text), error)
             : amli_no_memory(error, 0, "the result");
    if (!status && study->shares > 0)
        status = write_lines(study, points, error);
    if (!status && study->command->json) {
        char *line = json_dumps(all, 0);
        if (line)
            puts(line);
        else
            status = amli_no_memory(error, 0, "the result");
        free(line);
    } else if (!status) {
        print_study(study, points);
    }
    free(text);
    json_decref(all);
    json_decref(points);
    return status;
}
