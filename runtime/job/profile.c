// Where the time of a training goes, by line of the source.
//
// A watched function tells of each kernel when it is done; the time since the one before is that
// kernel's. What lies between the last kernel and the end of the function, and everything that is
// not a compiled function (batches, checkpoints, figures), has rows of its own, so that all rows
// together are the time that was measured.

#include <stdlib.h>
#include <string.h>

#include "runtime/job/profile.h"

enum { MOST_EVENTS = 100000, SHOWN_LINES = 25 };

typedef struct Event {
    const aml_function *function; // NULL: `name`
    int32_t kernel;
    const char *name;
    double begin, end;
} Event;

typedef struct Watched { // a function
    const aml_function *function;
    const char *name;
    double *seconds; // by kernel
    int64_t *calls;
    int64_t runs;
    double all, rest; // seconds of all runs, and what of it lies behind the last kernel
} Watched;

struct amli_profile {
    amli_device *device;
    Watched watched[2]; // step, eval
    const char *part_name[AMLI_PROFILE_PARTS];
    double part[AMLI_PROFILE_PARTS];
    double started;
    Watched *now; // the function that is running
    double last;  // when its last kernel was done
    Event *event;
    int events, room;
};

static void add_event(amli_profile *profile, Event event)
{
    if (profile->events == profile->room) {
        int room = profile->room ? profile->room * 2 : 1024;
        Event *more = profile->room >= MOST_EVENTS
                          ? NULL
                          : realloc(profile->event, (size_t)room * sizeof *more);
        if (!more)
            return; // the table is complete without
        profile->event = more;
        profile->room = room;
    }
    profile->event[profile->events++] = event;
}

static void watch(void *opaque, int32_t kernel, void *const result[])
{
    amli_profile *profile = opaque;
    Watched *now = profile->now;
    double time = amli_seconds();
    (void)result;
    now->seconds[kernel] += time - profile->last;
    now->calls[kernel]++;
    add_event(profile, (Event){now->function, kernel, NULL, profile->last, time});
    profile->last = time;
}

aml_status amli_profile_new(const aml_job *job, amli_device *device, amli_profile **out,
                            aml_error *error)
{
    const aml_function *function[] = {&job->step, &job->eval};
    static const char *const name[] = {"step", "eval"};
    amli_profile *profile = calloc(1, sizeof *profile);
    *out = profile;
    if (!profile)
        return amli_no_memory(error, sizeof *profile, "the profile");
    profile->device = device;
    profile->started = amli_seconds();
    for (size_t i = 0; i < AMLI_COUNT(function); i++) {
        size_t kernels = (size_t)function[i]->kernels + 1;
        profile->watched[i] = (Watched){.function = function[i],
                                        .name = name[i],
                                        .seconds = calloc(kernels, sizeof(double)),
                                        .calls = calloc(kernels, sizeof(int64_t))};
        if (!profile->watched[i].seconds || !profile->watched[i].calls)
            return amli_no_memory(error, kernels * 16, "the profile");
    }
    return AML_OK;
}

void amli_profile_free(amli_profile *profile)
{
    if (!profile)
        return;
    for (size_t i = 0; i < AMLI_COUNT(profile->watched); i++) {
        free(profile->watched[i].seconds);
        free(profile->watched[i].calls);
    }
    free(profile->event);
    free(profile);
}

void amli_profile_begin(amli_profile *profile, const aml_function *function)
{
    for (size_t i = 0; i < AMLI_COUNT(profile->watched); i++)
        if (profile->watched[i].function == function)
            profile->now = &profile->watched[i];
    profile->last = amli_seconds();
    if (!profile->now)
        return;
    profile->device->watch = watch;
    profile->device->watcher = profile;
    profile->now->all -= profile->last;
}

void amli_profile_end(amli_profile *profile)
{
    Watched *now = profile->now;
    if (!now) {
        amli_profile_part(profile, AMLI_PROFILE_FUNCTION, profile->last);
        return;
    }
    double time = amli_seconds();
    profile->device->watch = NULL;
    now->all += time;
    now->rest += time - profile->last;
    now->runs++;
    profile->now = NULL;
}

void amli_profile_part(amli_profile *profile, amli_profile_kind kind, double begin)
{
    static const char *const name[AMLI_PROFILE_PARTS] = {
        [AMLI_PROFILE_BATCH] = "making batches",
        [AMLI_PROFILE_CHECKPOINT] = "checkpoints",
        [AMLI_PROFILE_FUNCTION] = "other functions: initial values, single rows, metrics"};
    if (!profile)
        return;
    double time = amli_seconds();
    profile->part_name[kind] = name[kind];
    profile->part[kind] += time - begin;
    add_event(profile, (Event){NULL, 0, name[kind], begin, time});
}

// ---- by line ------------------------------------------------------------------------------------

typedef struct Line {
    const Watched *watched;
    const char *place;
    const aml_kernel *most; // its slowest kernel
    double most_seconds, seconds, flops, bytes;
    int64_t calls;
    double written; // bytes of results of one call of each kernel
} Line;

static double written_by(const aml_function *function, const aml_kernel *kernel)
{
    double bytes = 0;
    const aml_kernel_result *result = function->result + kernel->first;
    for (int32_t i = 0; i < kernel->results && !kernel->loop; i++)
        bytes += (double)result[i].elements * (double)aml_dtype_bytes(result[i].dtype);
    return bytes;
}

static int slower_first(const void *a, const void *b)
{
    const Line *x = a, *y = b;
    return x->seconds != y->seconds ? (x->seconds < y->seconds) - (x->seconds > y->seconds)
                                    : strcmp(x->place, y->place);
}

// The lines of the source, the slowest first; the caller frees. NULL: no memory.
static Line *lines_of(const amli_profile *profile, int *count)
{
    size_t most = 1;
    for (size_t w = 0; w < AMLI_COUNT(profile->watched); w++)
        most += (size_t)profile->watched[w].function->kernels;
    Line *lines = calloc(most, sizeof *lines);
    *count = 0;
    for (size_t w = 0; lines && w < AMLI_COUNT(profile->watched); w++) {
        const Watched *watched = &profile->watched[w];
        int first = *count;
        for (int32_t k = 0; k < watched->function->kernels; k++) {
            const aml_kernel *kernel = &watched->function->kernel[k];
            const char *place = watched->function->text + kernel->place;
            int i = first;
            while (i < *count && strcmp(lines[i].place, place) != 0)
                i++;
            Line *line = &lines[i];
            if (i == *count) {
                *line = (Line){.watched = watched, .place = place, .most_seconds = -1};
                ++*count;
            }
            if (watched->seconds[k] > line->most_seconds) {
                line->most = kernel;
                line->most_seconds = watched->seconds[k];
            }
            line->seconds += watched->seconds[k];
            line->calls += watched->calls[k];
            line->flops += kernel->flops * (double)watched->calls[k];
            line->bytes += kernel->bytes * (double)watched->calls[k];
            line->written += written_by(watched->function, kernel);
        }
    }
    if (lines)
        qsort(lines, (size_t)*count, sizeof *lines, slower_first);
    return lines;
}

static double known_seconds(const amli_profile *profile)
{
    double sum = 0;
    for (size_t w = 0; w < AMLI_COUNT(profile->watched); w++)
        sum += profile->watched[w].all;
    for (int i = 0; i < AMLI_PROFILE_PARTS; i++)
        sum += profile->part[i];
    return sum;
}

static void print_row(FILE *out, double seconds, double all, const char *name)
{
    fprintf(out, "  %9.3f ms  %5.1f%%%45s%s\n", seconds * 1e3, all > 0 ? 100 * seconds / all : 0,
            "", name);
}

void amli_profile_print(const amli_profile *profile, double end, FILE *out)
{
    int count;
    Line *lines = lines_of(profile, &count);
    double all = end - profile->started, rest = 0;
    if (!lines)
        return;
    fprintf(out, "profile: %lld steps, %.3f ms in all\n", (long long)profile->watched[0].runs,
            all * 1e3);
    fprintf(out, "  %12s  %6s  %8s  %8s  %7s  %10s    %s\n", "time", "share", "kernels", "Gflop/s",
            "GB/s", "results", "line");
    for (int i = 0; i < count; i++) {
        const Line *line = &lines[i];
        char written[32];
        if (i >= SHOWN_LINES) {
            rest += line->seconds;
            continue;
        }
        double per = line->seconds > 0 ? 1e-9 / line->seconds : 0;
        fprintf(out, "  %9.3f ms  %5.1f%%  %8lld  %8.2f  %7.2f  %10s    %s%s: %s%s%s\n",
                line->seconds * 1e3, all > 0 ? 100 * line->seconds / all : 0,
                (long long)line->calls, line->flops * per, line->bytes * per,
                amli_bytes_text(line->written, written, sizeof written),
                line->watched == &profile->watched[0] ? "" : "validation, ", line->place,
                line->watched->function->text + line->most->what, line->most->weight ? ", " : "",
                line->watched->function->text + line->most->weight); // the first text is empty
    }
    if (count > SHOWN_LINES)
        print_row(out, rest, all, "further lines");
    double between = profile->watched[0].rest + profile->watched[1].rest;
    print_row(out, between, all, "behind the last kernel");
    for (int i = 0; i < AMLI_PROFILE_PARTS; i++)
        if (profile->part_name[i])
            print_row(out, profile->part[i], all, profile->part_name[i]);
    print_row(out, all - known_seconds(profile), all, "everything else: figures, log, metrics");
    free(lines);
}

// ---- as JSON for chrome://tracing and Perfetto --------------------------------------------------

static void put_event(const amli_profile *profile, const Event *event, amli_buffer *text)
{
    amli_buffer_printf(text,
                       "{\"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, ",
                       (event->begin - profile->started) * 1e6, (event->end - event->begin) * 1e6);
    amli_buffer_printf(text, "\"name\": ");
    if (!event->function) {
        amli_json_text(text, event->name);
        amli_buffer_printf(text, "}");
        return;
    }
    const aml_kernel *kernel = &event->function->kernel[event->kernel];
    const char *texts = event->function->text;
    char name[256];
    snprintf(name, sizeof name, "%s %s", texts + kernel->place, texts + kernel->what);
    amli_json_text(text, name);
    amli_buffer_printf(text, ", \"args\": {\"flops\": %.17g, \"bytes\": %.17g", kernel->flops,
                       kernel->bytes);
    if (kernel->lines) {
        amli_buffer_printf(text, ", \"lines\": ");
        amli_json_text(text, texts + kernel->lines);
    }
    if (kernel->weight) {
        amli_buffer_printf(text, ", \"weight\": ");
        amli_json_text(text, texts + kernel->weight);
    }
    amli_buffer_printf(text, "}}");
}

aml_status amli_profile_write(const amli_profile *profile, double end, const char *folder,
                              aml_error *error)
{
    amli_buffer text = {0};
    int count;
    Line *lines = lines_of(profile, &count);
    amli_buffer_printf(&text, "{\"displayTimeUnit\": \"ms\", \"seconds\": %.9f, \"steps\": %lld,\n",
                       end - profile->started, (long long)profile->watched[0].runs);
    amli_buffer_printf(&text, "\"lines\": [");
    for (int i = 0; lines && i < count; i++) {
        amli_buffer_printf(&text, "%s\n{\"function\": \"%s\", \"place\": ", i ? "," : "",
                           lines[i].watched->name);
        amli_json_text(&text, lines[i].place);
        amli_buffer_printf(&text,
                           ", \"seconds\": %.9f, \"kernels\": %lld, \"flops\": %.17g, \"bytes\": "
                           "%.17g, \"results\": %.0f}",
                           lines[i].seconds, (long long)lines[i].calls, lines[i].flops,
                           lines[i].bytes, lines[i].written);
    }
    amli_buffer_printf(&text, "],\n\"parts\": {\"behind the last kernel\": %.9f",
                       profile->watched[0].rest + profile->watched[1].rest);
    for (int i = 0; i < AMLI_PROFILE_PARTS; i++)
        if (profile->part_name[i])
            amli_buffer_printf(&text, ", \"%s\": %.9f", profile->part_name[i], profile->part[i]);
    amli_buffer_printf(&text, ", \"everything else\": %.9f},\n\"traceEvents\": [",
                       end - profile->started - known_seconds(profile));
    for (int i = 0; i < profile->events; i++) {
        amli_buffer_printf(&text, "%s\n", i ? "," : "");
        put_event(profile, &profile->event[i], &text);
    }
    amli_buffer_printf(&text, "]}\n");
    aml_status status = !lines || text.failed ? amli_no_memory(error, text.length, "the profile")
                                              : amli_replace_file(folder, AMLI_PROFILE_FILE,
                                                                  text.text, text.length, error);
    free(lines);
    amli_buffer_free(&text);
    return status;
}
