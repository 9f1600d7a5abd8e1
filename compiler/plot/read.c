// read.c: metrics.jsonl to curves.

#include "plot/plot.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static const char *inside(Plot *plot, const char *folder, const char *name)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    return arena_printf(plot->cx->arena, "%.*s/%s", (int)length, folder, name);
}

// The newest run in a job's folder: their names begin with the time at which they began.
static const char *newest_run(Plot *plot, const char *folder)
{
    DIR *open = opendir(folder);
    const char *best = NULL;
    for (struct dirent *entry; open && (entry = readdir(open));) {
        if (entry->d_name[0] == '.' || (best && strcmp(entry->d_name, best) <= 0))
            continue;
        const char *path = inside(plot, inside(plot, folder, entry->d_name), "metrics.jsonl");
        if (is_file(path))
            best = arena_text(plot->cx->arena, entry->d_name, strlen(entry->d_name));
    }
    if (open)
        closedir(open);
    return best ? inside(plot, folder, best) : NULL;
}

static PlotCurve *curve_of(Plot *plot, PlotRun *run, Sym figure)
{
    for (int i = 0; i < run->curve.count; i++)
        if (run->curve.at[i].figure == figure)
            return &run->curve.at[i];
    vec_push(plot->cx->arena, &run->curve, (PlotCurve){.figure = figure});
    bool known = false;
    for (int i = 0; i < plot->figure.count; i++)
        known |= plot->figure.at[i] == figure;
    if (!known)
        vec_push(plot->cx->arena, &plot->figure, figure);
    return &run->curve.at[run->curve.count - 1];
}

static void take_value(Plot *plot, PlotRun *run, double step, const char *name, const json_t *value)
{
    bool number = json_is_number(value);
    if (!number && !json_is_null(value))
        return; // matrices and texts are no curves
    PlotCurve *curve = curve_of(plot, run, sym_of(plot->cx, name));
    if (number && isfinite(json_number_value(value)))
        vec_push(plot->cx->arena, &curve->point, ((PlotPoint){step, json_number_value(value)}));
    else
        curve->not_finite++;
}

static const char *take_line(Plot *plot, PlotRun *run, const char *path, int number,
                             const char *text, size_t length)
{
    json_error_t error;
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    const char *message = NULL;
    if (!line) {
        message =
            arena_printf(plot->cx->arena, "%s:%d: no JSON object: %s", path, number, error.text);
    } else if (!json_is_object(line) || !json_is_integer(json_object_get(line, "step"))) {
        message =
            arena_printf(plot->cx->arena, "%s:%d: expected an object with a whole number \"step\"",
                         path, number);
    } else {
        double step = (double)json_integer_value(json_object_get(line, "step"));
        const char *name;
        json_t *value;
        json_object_foreach(line, name,
                            value) if (strcmp(name, "step") != 0 && strcmp(name, "epoch") != 0)
            take_value(plot, run, step, name, value);
    }
    json_decref(line);
    return message;
}

static const char *read_lines(Plot *plot, PlotRun *run, const char *path)
{
    char *text;
    size_t length;
    if (!file_read(plot->cx->arena, path, (size_t)1 << 30, &text, &length))
        return arena_printf(plot->cx->arena, "cannot read %s: %s", path, strerror(errno));
    int number = 0;
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        if (!end)
            break; // a line that a running training has not finished
        size_t line = (size_t)(end - text) - at;
        const char *message =
            line ? take_line(plot, run, path, ++number, text + at, line) : (number++, NULL);
        if (message)
            return message;
        at += line + 1;
    }
    return run->curve.count ? NULL : arena_printf(plot->cx->arena, "%s has no figures yet", path);
}

// The last two parts of a run's path: digits_mlp/20261122-1015.
static const char *label_of(const char *path)
{
    const char *at = path + strlen(path);
    for (int slashes = 0; at > path; at--)
        if (at[-1] == '/' && ++slashes == 2)
            break;
    return at;
}

const char *plot_read(Plot *plot, const char *path)
{
    Cx *cx = plot->cx;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    path = arena_text(cx->arena, path, length);
    const char *folder = path, *file = path;
    if (is_folder(path)) {
        if (!is_file(inside(plot, path, "metrics.jsonl")))
            folder = newest_run(plot, path);
        if (!folder)
            return arena_printf(
                cx->arena, "%s is no run: it has no metrics.jsonl, and no folder in it has one",
                path);
        file = inside(plot, folder, "metrics.jsonl");
    } else if (!is_file(path)) {
        return arena_printf(cx->arena, "there is no run %s", path);
    }
    PlotRun run = {.label = label_of(folder), .path = folder};
    const char *message = read_lines(plot, &run, file);
    if (message)
        return message;
    char *config;
    if (folder != file &&
        file_read(cx->arena, inside(plot, folder, "config.aml"), (size_t)1 << 20, &config, &length))
        run.config = config;
    vec_push(cx->arena, &plot->run, run);
    return NULL;
}

const PlotCurve *plot_curve(const PlotRun *run, Sym figure)
{
    for (int i = 0; i < run->curve.count; i++)
        if (run->curve.at[i].figure == figure)
            return &run->curve.at[i];
    return NULL;
}

PlotRange plot_range(const Plot *plot, Sym figure)
{
    PlotRange range = {INFINITY, -INFINITY, INFINITY, -INFINITY, true};
    for (int i = 0; i < plot->run.count; i++) {
        const PlotCurve *curve = plot_curve(&plot->run.at[i], figure);
        for (int p = 0; curve && p < curve->point.count; p++) {
            PlotPoint point = curve->point.at[p];
            range.from = fmin(range.from, point.step);
            range.to = fmax(range.to, point.step);
            range.low = fmin(range.low, point.value);
            range.high = fmax(range.high, point.value);
            range.empty = false;
        }
    }
    return range;
}
