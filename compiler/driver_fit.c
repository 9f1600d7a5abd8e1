// driver_fit.c: `amlc report --fit SIZE`: the largest batch of each training whose memory plan
// fits.
//
// Memory is known when a program is compiled, so nothing has to be trained to find out: the program
// is compiled with other batches, up to the plan, and the batch is doubled until it does not fit,
// then the gap is halved. What counts is what the program allocates for the job: states, the
// snapshots of them that checkpoints are written from, temporaries, batches; not the rows of the
// data.

#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "aml/text.h"

enum { LARGEST_BATCH = 1 << 24 };

typedef struct Tried {
    bool good; // else the program does not compile with this batch
    int64_t batch;
    double bytes;
} Tried;

typedef struct Fit {
    const char *job;
    int64_t parts;   // of a batch, see `accumulate`: it has to be a multiple of them
    Tried own, best; // the source's batch; best.batch 0: none fits
} Fit;

static double aligned(double bytes)
{
    return (double)(((size_t)bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT);
}

static double tensors_bytes(const aml_tensor_info at[], int count)
{
    double bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += aligned((double)aml_shape_elements(&at[i].shape) *
                         (double)aml_dtype_bytes(at[i].dtype));
    return bytes;
}

// What a session of the job allocates.
static double job_bytes(Cx *cx, const ProgramJob *job)
{
    const Entry *const all[] = {
        &job->init,          &job->step,    &job->metrics_reset, &job->eval,   &job->eval_one,
        &job->metrics_value, &job->predict, &job->validated,     &job->decode, &job->prompt};
    double arena = 0, batch = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (!all[i]->ir)
            continue;
        double temporaries = (double)plan_function(cx, all[i]->ir).arena_bytes;
        double buffers = tensors_bytes(all[i]->input.at, all[i]->input.count) +
                         tensors_bytes(all[i]->output.at, all[i]->output.count);
        arena = temporaries > arena ? temporaries : arena;
        batch = buffers > batch ? buffers : batch;
    }
    double states = 1 + aml_snapshots(job->table.state_bytes);
    return states * (double)job->table.state_bytes + arena + batch;
}

static const ProgramJob *job_called(const Program *program, const char *name)
{
    for (int i = 0; i < program->job.count; i++)
        if (strcmp(program->job.at[i].table.name, name) == 0)
            return &program->job.at[i];
    return NULL;
}

// Compiles the program up to the plan in a compilation of its own.
static Tried try_batch(const Command *command, const char *job, int64_t batch)
{
    Tried tried = {.batch = batch};
    Cx *cx = cx_new();
    for (int i = 0; i < command->cx->define.count; i++) {
        const Define *define = &command->cx->define.at[i];
        vec_push(cx->arena, &cx->define,
                 ((Define){sym_of(cx, define->name), define->value, false}));
    }
    cx->batch_of = job;
    cx->batch = batch;
    Unit *unit = unit_load(cx, command->argument.at[0]);
    Program *program = unit ? elaborate(cx, unit) : NULL;
    if (program && diag_errors(cx) == 0 && passes_run(cx, program->module, NULL, NULL, NULL)) {
        const ProgramJob *found = job_called(program, job);
        tried.good = found != NULL;
        tried.bytes = found ? job_bytes(cx, found) : 0;
    }
    cx_free(cx);
    return tried;
}

// The largest multiple of the parts that fits; more memory for more samples is taken for granted.
static Tried search(const Command *command, const Fit *fit, double room)
{
    int64_t fits = 0, beyond = 0;
    Tried best = {0};
    for (int64_t times = 1; beyond == 0 && times * fit->parts <= LARGEST_BATCH; times *= 2) {
        Tried tried = try_batch(command, fit->job, times * fit->parts);
        if (tried.good && tried.bytes <= room)
            fits = times, best = tried;
        else
            beyond = times;
    }
    while (beyond - fits > 1) {
        int64_t middle = fits + (beyond - fits) / 2;
        Tried tried = try_batch(command, fit->job, middle * fit->parts);
        if (tried.good && tried.bytes <= room)
            fits = middle, best = tried;
        else
            beyond = middle;
    }
    return best;
}

static int64_t parts_of(const Program *program, const char *job)
{
    const char *block = arena_printf(program->cx->arena, "train %s", job);
    for (int i = 0; i < program->effective.count; i++) {
        const aml_effective *setting = &program->effective.at[i];
        if (strcmp(setting->block, block) == 0 && strcmp(setting->setting, "accumulate") == 0)
            return atoll(setting->value) > 0 ? atoll(setting->value) : 1;
    }
    return 1;
}

// "2GiB", "512 MiB", "1000000"
static bool read_size(const char *text, double *bytes)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},        {"B", 1},      {"KB", 1e3},       {"MB", 1e6},
                 {"GB", 1e9},    {"KiB", 1024}, {"MiB", 1048576.}, {"GiB", 1073741824.},
                 {"TiB", 0x1p40}};
    char *end;
    *bytes = strtod(text, &end);
    end += strspn(end, " ");
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (end != text && strcmp(end, units[i].unit) == 0) {
            *bytes *= units[i].factor;
            return *bytes > 0 && *bytes < 1e18;
        }
    return false;
}

static int64_t power_of_two(int64_t batch)
{
    int64_t power = 1;
    while (power <= batch / 2)
        power *= 2;
    return power;
}

static void print_fit(Cx *cx, const Fit *fit, double room)
{
    printf("%s: ", fit->job);
    if (fit->best.batch == 0) {
        printf("no batch fits %s; one of %lld needs %s\n", size_text(cx, room),
               (long long)fit->own.batch, size_text(cx, fit->own.bytes));
        return;
    }
    printf("batch %lld is the largest that fits %s, it needs %s; the source's %lld needs %s\n",
           (long long)fit->best.batch, size_text(cx, room), size_text(cx, fit->best.bytes),
           (long long)fit->own.batch, size_text(cx, fit->own.bytes));
    if (power_of_two(fit->best.batch) % fit->parts == 0)
        printf("  the power of two below it: %lld\n", (long long)power_of_two(fit->best.batch));
}

static void print_json(const Fit fit[], int count, double room)
{
    json_t *jobs = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(jobs,
                              json_pack("{s:s, s:I, s:f, s:I, s:f}", "job", fit[i].job, "batch",
                                        (json_int_t)fit[i].best.batch, "bytes", fit[i].best.bytes,
                                        "source_batch", (json_int_t)fit[i].own.batch,
                                        "source_bytes", fit[i].own.bytes));
    json_t *all = json_pack("{s:f, s:o}", "fit", room, "jobs", jobs);
    char *text = json_dumps(all, 0);
    puts(text ? text : "{}");
    free(text);
    json_decref(all);
}

int report_fit(Command *command, const Program *program)
{
    Cx *cx = command->cx;
    const char *text = command->option[OPTION_FIT];
    double room;
    if (!read_size(text, &room)) {
        say(command, "error", "--fit needs a size, such as 512MiB or 2GiB, found '%s'", text);
        return EXIT_USAGE;
    }
    Fit *fit = NEW_ARRAY(cx->arena, Fit, program->job.count + 1);
    int count = 0, code = EXIT_OK;
    for (int i = 0; i < program->job.count; i++) {
        const aml_job *job = &program->job.at[i].table;
        if (job->kind != AML_JOB_TRAIN)
            continue;
        Fit *one = &fit[count++];
        *one = (Fit){.job = job->name, .parts = parts_of(program, job->name)};
        one->own = try_batch(command, job->name, job->batch);
        one->best = search(command, one, room);
        code = one->best.batch == 0 ? EXIT_INPUT : code;
        if (!command->option[OPTION_JSON])
            print_fit(cx, one, room);
    }
    if (count == 0) {
        say(command, "error", "%s has no train block, so there is no batch to choose",
            command->argument.at[0]);
        return EXIT_INPUT;
    }
    if (command->option[OPTION_JSON])
        print_json(fit, count, room);
    return code;
}
