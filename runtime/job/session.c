// A job's memory on a device.
//
// Three allocations, made once, with the sizes that were planned: the state arena, one arena for
// temporaries (the largest any of the job's functions needs) and one for inputs and outputs
// (functions run one after the other, so they share it).

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/cache.h"
#include "runtime/data/drawing.h"
#include "runtime/job/profile.h"

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

enum { FUNCTIONS = 10 };

static void functions_of(const aml_job *job, const aml_function *function[FUNCTIONS])
{
    const aml_function *all[FUNCTIONS] = {
        &job->init,          &job->step,    &job->metrics_reset, &job->eval,   &job->eval_one,
        &job->metrics_value, &job->predict, &job->validated,     &job->decode, &job->prompt};
    memcpy(function, all, sizeof all);
}

static size_t batch_bytes(const aml_function *function)
{
    size_t bytes = 0;
    for (int i = 0; i < function->inputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->input[i]));
    for (int i = 0; i < function->outputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->output[i]));
    return bytes;
}

amli_need amli_job_need(const aml_job *job)
{
    amli_need need = {.state = job->state_bytes,
                      .snapshot = job->kind == AML_JOB_TRAIN
                                      ? job->state_bytes * (size_t)amli_snapshots(job)
                                      : 0};
    const aml_function *function[FUNCTIONS];
    functions_of(job, function);
    for (int i = 0; i < FUNCTIONS; i++) {
        if (!function[i]->run)
            continue;
        size_t batch = batch_bytes(function[i]);
        if (function[i]->arena_bytes > need.arena)
            need.arena = function[i]->arena_bytes;
        if (batch > need.batch)
            need.batch = batch;
    }
    for (int i = 0; i < job->states; i++)
        need.role[job->state[i].role] += amli_tensor_bytes(&job->state[i].tensor);
    return need;
}

size_t amli_data_bytes(const amli_command *command, const aml_job *job, const amli_samples *samples)
{
    size_t bytes = samples->bytes + samples->split.bytes;
    if (job->kind != AML_JOB_TRAIN)
        return bytes;
    bytes += (size_t)amli_epoch_samples(samples) * 8; // their order
    if (amli_samples_work(samples, true) && amli_loaders(command) > 0)
        bytes += amli_loader_bytes(samples, job->batch, amli_loaders(command));
    return bytes;
}

static void unbind(amli_bound *bound)
{
    free(bound->input);
    free(bound->output);
    free(bound->input_offset);
    for (int i = 0; bound->row && i < bound->function->inputs; i++)
        free(bound->row[i]);
    free(bound->row);
    free(bound->output_offset);
    free(bound->field);
    free(bound->balance);
    free(bound->scalar);
    *bound = (amli_bound){0};
}

// The prepared field that an input reads: of its name, with a batch axis before the sample's. Or
// the one whose classes it is the weights of: FIELD.balance.
static aml_status bind_input(const amli_session *session, const aml_function *function, int input,
                             int *field, bool *balance, aml_error *error)
{
    const aml_tensor_info *wanted = &function->input[input];
    const char *dot = strchr(wanted->name, '.');
    char name[256];
    snprintf(name, sizeof name, "%.*s", dot ? (int)(dot - wanted->name) : 255, wanted->name);
    *balance = dot && strcmp(dot, ".balance") == 0;
    *field = amli_sample_output(session->dataset, name);
    if (*field < 0)
        return amli_fail(error, AML_INTERNAL,
                         "%s of '%s' reads '%s', which prepare of '%s' does not give",
                         function->name, session->job->name, wanted->name, session->dataset->name);
    const aml_tensor_info *sample = &session->dataset->prepare.output[*field];
    if (*balance && wanted->dtype == AML_F32 &&
        aml_shape_elements(&wanted->shape) == sample->classes)
        return AML_OK;
    bool fits = wanted->dtype == sample->dtype && wanted->shape.rank == sample->shape.rank + 1;
    for (int i = 0; fits && i < sample->shape.rank; i++)
        fits = wanted->shape.dim[i + 1] == sample->shape.dim[i];
    if (fits)
        return AML_OK;
    char a[160], b[160];
    return amli_fail(error, AML_INTERNAL,
                     "%s of '%s' reads '%s' as %s, and prepare gives %s for one sample",
                     function->name, session->job->name, wanted->name,
                     aml_shape_text(wanted->dtype, &wanted->shape, a, sizeof a),
                     aml_shape_text(sample->dtype, &sample->shape, b, sizeof b));
}

static aml_status bind(const amli_session *session, const aml_function *function, amli_bound *bound,
                       aml_error *error)
{
    *bound = (amli_bound){.function = function};
    if (!function->run)
        return AML_OK;
    size_t inputs = (size_t)function->inputs + 1, outputs = (size_t)function->outputs + 1;
    bound->input = calloc(inputs, sizeof *bound->input);
    bound->output = calloc(outputs, sizeof *bound->output);
    bound->input_offset = calloc(inputs, sizeof *bound->input_offset);
    bound->output_offset = calloc(outputs, sizeof *bound->output_offset);
    bound->row = calloc(inputs, sizeof *bound->row);
    bound->field = calloc(inputs, sizeof *bound->field);
    bound->balance = calloc(inputs, sizeof *bound->balance);
    bound->scalar = calloc((size_t)function->scalars + 1, sizeof *bound->scalar);
    if (!bound->input || !bound->output || !bound->input_offset || !bound->output_offset ||
        !bound->row || !bound->field || !bound->balance || !bound->scalar)
        return amli_no_memory(error, inputs + outputs, function->name);
    size_t offset = 0;
    for (int i = 0; i < function->inputs; i++) {
        bool is_field = session->job->kind != AML_JOB_GENERATE; // else tokens
        aml_status status =
            is_field ? bind_input(session, function, i, &bound->field[i], &bound->balance[i], error)
                     : AML_OK;
        if (status)
            return status;
        bound->input_offset[i] = offset;
        bound->input[i] = session->batch + offset;
        int64_t rows = function->input[i].rows ? function->input[i].shape.dim[0] : 0;
        if (rows > 0) {
            bound->row[i] = calloc((size_t)rows, sizeof **bound->row);
            if (!bound->row[i])
                return amli_no_memory(error, (size_t)rows * sizeof **bound->row, function->name);
            bound->input[i] = (uintptr_t)bound->row[i];
        }
        offset += aligned(amli_tensor_bytes(&function->input[i]));
    }
    for (int i = 0; i < function->outputs; i++) {
        bound->output_offset[i] = offset;
        bound->output[i] = session->batch + offset;
        offset += aligned(amli_tensor_bytes(&function->output[i]));
    }
    return AML_OK;
}

static aml_status allocate(amli_session *session, amli_need need, aml_error *error)
{
    amli_device *device = session->device;
    const amli_device_kind *kind = device->kind;
    size_t all = need.state + need.arena + need.batch, room = kind->capacity(device);
    char a[32], b[32];
    if (room && all > room)
        return amli_fail(error, AML_NO_MEMORY,
                         "'%s' needs %s, and the device %s has %s\nhelp: `plan %s` shows what for; "
                         "a smaller batch needs less",
                         session->job->name, amli_bytes_text((double)all, a, sizeof a), kind->name,
                         amli_bytes_text((double)room, b, sizeof b), session->job->name);
    aml_status status = kind->allocate(device, AMLI_FOR_STATE, need.state, &session->state, error);
    if (!status)
        status = kind->allocate(device, AMLI_FOR_ARENA, need.arena, &session->arena, error);
    if (!status)
        status = kind->allocate(device, AMLI_FOR_BATCH, need.batch, &session->batch, error);
    if (status)
        return status;
    session->view = kind->host_view(device, session->batch);
    if (!session->view) {
        session->staging = calloc(need.batch + 1, 1);
        if (!session->staging)
            return amli_no_memory(error, need.batch, "batches");
        session->view = session->staging;
    }
    return AML_OK;
}

int amli_threads(const amli_command *command)
{
    return command->threads ? command->threads : amli_usable_cpus();
}

int amli_loaders(const amli_command *command)
{
    return command->loaders >= 0 ? command->loaders : amli_threads(command);
}

aml_status amli_session_open(const amli_command *command, const aml_job *job,
                             const amli_device_kind *kind, amli_session *session, aml_error *error)
{
    *session = (amli_session){.program = command->program,
                              .command = command,
                              .job = job,
                              .dataset = &command->program->dataset[job->data]};
    session->seed = command->has_seed ? command->seed : job->seed;
    session->limit[0] = session->limit[1] = INFINITY;
    size_t outputs = (size_t)session->dataset->prepare.outputs + 1;
    session->balance = calloc(outputs, sizeof *session->balance);
    session->to = calloc(outputs, sizeof *session->to);
    session->augment_scalar =
        calloc((size_t)session->dataset->augment.scalars + 1, sizeof *session->augment_scalar);
    aml_status status = session->balance && session->to && session->augment_scalar
                            ? kind->open(kind, amli_threads(command), &session->device, error)
                            : amli_no_memory(error, outputs, job->name);
    if (!status)
        status = allocate(session, amli_job_need(job), error);
    amli_bound *bound[FUNCTIONS] = {&session->init,    &session->step,      &session->metrics_reset,
                                    &session->eval,    &session->eval_one,  &session->metrics_value,
                                    &session->predict, &session->validated, &session->decode,
                                    &session->prompt};
    const aml_function *function[FUNCTIONS];
    functions_of(job, function);
    for (int i = 0; i < FUNCTIONS && !status; i++)
        status = bind(session, function[i], bound[i], error);
    if (status)
        amli_session_close(session);
    return status;
}

void amli_session_close(amli_session *session)
{
    amli_bound *bound[FUNCTIONS] = {&session->init,    &session->step,      &session->metrics_reset,
                                    &session->eval,    &session->eval_one,  &session->metrics_value,
                                    &session->predict, &session->validated, &session->decode,
                                    &session->prompt};
    for (int i = 0; i < FUNCTIONS; i++)
        unbind(bound[i]);
    free(session->staging);
    for (int i = 0; session->balance && i < session->dataset->prepare.outputs; i++)
        free(session->balance[i]);
    free(session->balance), free(session->to), free(session->augment_scalar);
    amli_samples_free(session->samples);
    amli_statistics_free(session->dataset, session->statistic);
    if (session->device)
        session->device->kind->close(session->device);
    *session = (amli_session){0};
}

static aml_status load_paths(const amli_command *command, const aml_source *source,
                             char paths[][PATH_MAX], const char *file[], aml_error *error)
{
    aml_status status = AML_OK;
    for (int i = 0; i < AML_SOURCE_FILES && !status; i++) {
        if (source->file[i].parts == 0)
            continue;
        status = amli_text_value(command, &source->file[i], paths[i], error);
        file[i] = paths[i];
    }
    return status;
}

aml_status amli_load_options(const amli_command *command, const aml_dataset *dataset,
                             amli_load *load, amli_paths *paths, aml_error *error)
{
    *load = (amli_load){.source_dir = command->program->source_dir,
                        .threads = amli_threads(command),
                        .fold = command->fold,
                        .keeps_cache = !command->no_cache};
    if (dataset->source.kind == AML_SOURCE_NONE)
        return amli_fail(error, AML_INVALID, "the data set '%s' (%s) has no source", dataset->name,
                         dataset->place);
    aml_status status = AML_OK;
    for (int i = 0; i < AMLI_ORIGINS && !status; i++)
        status = load_paths(command, amli_source_of(dataset, (amli_origin)i), paths->file[i],
                            load->file[i], error);
    return status;
}

enum { SHOWN_BAD_ROWS = 5 };

typedef struct Skipping {
    amli_log *log;
    int shown;
} Skipping;

static void on_skip(void *opaque, const char *text)
{
    Skipping *skipping = opaque;
    if (skipping->shown++ < SHOWN_BAD_ROWS)
        amli_log_line(skipping->log, "warning: skipped a row: %s", text);
}

static void on_cleaned(void *opaque, const char *text)
{
    amli_log_line(((Skipping *)opaque)->log, "%s", text);
}

int64_t amli_total_steps(const amli_command *command, const aml_job *job, double epoch_steps)
{
    double value;
    aml_unit unit;
    amli_quantity_value(command, &job->length, &value, &unit);
    double steps = unit == AML_UNIT_EPOCHS ? value * epoch_steps : value;
    if (unit == AML_UNIT_SECONDS)
        return -1;
    if (!(steps < 4e18))
        return INT64_MAX / 2;
    // a product that should be whole but for its last bits is not rounded up
    int64_t whole = (int64_t)steps;
    return steps - (double)whole > 1e-9 * (steps + 1) ? whole + 1 : whole;
}

// The weights of classes that the job's functions ask for.
static aml_status balance(amli_session *session, aml_error *error)
{
    const amli_bound *bound[] = {&session->step, &session->eval, &session->eval_one};
    for (size_t b = 0; b < AMLI_COUNT(bound); b++)
        for (int i = 0; bound[b]->balance && i < bound[b]->function->inputs; i++) {
            int field = bound[b]->field[i];
            if (!bound[b]->balance[i] || session->balance[field])
                continue;
            size_t bytes = amli_tensor_bytes(&bound[b]->function->input[i]);
            session->balance[field] = malloc(bytes + 1);
            aml_status status = session->balance[field]
                                    ? amli_balance(session->samples, field, session->device->pool,
                                                   session->balance[field], error)
                                    : amli_no_memory(error, bytes, "the weights of the classes");
            if (status)
                return status;
        }
    return AML_OK;
}

aml_status amli_session_load(amli_session *session, amli_log *log, aml_error *error)
{
    amli_paths paths;
    amli_load load;
    aml_status status = amli_load_options(session->command, session->dataset, &load, &paths, error);
    Skipping skipping = {log, 0};
    load.on_bad_row = on_skip;
    load.self = &skipping;
    load.statistic = session->statistic;
    if (session->job->kind == AML_JOB_TRAIN && !session->command->quiet)
        load.on_cleaned = on_cleaned;
    if (!status)
        status = amli_samples_load(session->dataset, &load, amli_threads(session->command),
                                   &session->samples, error);
    if (!status && skipping.shown > SHOWN_BAD_ROWS)
        amli_log_line(log, "warning: %d rows were skipped in all; `data check` lists them",
                      skipping.shown);
    if (status)
        return status;
    const char *path = "";
    int64_t cached =
        session->samples->table ? amli_cache_loaded(session->samples->table, &path) : 0;
    if (cached > 0 && session->job->kind == AML_JOB_TRAIN)
        amli_log_line(log, "data: %lld of %lld decoded samples come from %s", (long long)cached,
                      (long long)session->samples->rows, path);
    if (session->job->kind == AML_JOB_TRAIN)
        status = amli_samples_draw(session->samples, &session->job->sampling, session->seed,
                                   session->device->pool, error);
    if (status)
        return status;
    // With --overfit too an epoch is one of all rows: the few rows get as many steps as all would.
    int64_t rows = amli_epoch_samples(session->samples);
    session->epoch_steps = session->job->batch > 0 ? (double)rows / (double)session->job->batch : 0;
    session->total_steps =
        session->job->kind == AML_JOB_TRAIN
            ? amli_total_steps(session->command, session->job, session->epoch_steps)
            : 0;
    return balance(session, error);
}

static aml_status scalar_value(const amli_session *session, const aml_scalar_info *info,
                               int64_t step, aml_value *out, aml_error *error)
{
    double real = 0;
    int64_t whole = 0;
    bool is_whole = true;
    switch (info->kind) {
    case AML_SCALAR_STEP:
    case AML_SCALAR_POSITION:
        whole = step;
        break;
    case AML_SCALAR_TOTAL_STEPS:
        whole = session->total_steps;
        break;
    case AML_SCALAR_EPOCH_STEPS:
        real = session->epoch_steps, is_whole = false;
        break;
    case AML_SCALAR_SEED:
        whole = session->seed;
        break;
    case AML_SCALAR_RATE:
        real = session->tried_rate, is_whole = false;
        break;
    case AML_SCALAR_SAMPLE: // another one for each sample
        break;
    case AML_SCALAR_LIMIT:
        real = (double)session->limit[info->index], is_whole = false;
        break;
    case AML_SCALAR_MEASURED: {
        const amli_measured *measured = session->measured;
        if (!measured)
            return amli_fail(error, AML_INTERNAL, "a function asks for what was not measured");
        real = info->index < 0 ? measured->loss : measured->value[info->index][0];
        is_whole = false;
        break;
    }
    case AML_SCALAR_OPTION: {
        const aml_option *option = &session->program->option[info->index];
        aml_value value = session->command->value[info->index];
        aml_unit unit = session->command->unit[info->index];
        is_whole = option->type == AML_OPTION_INT || option->type == AML_OPTION_BOOL;
        whole = value.whole;
        real = is_whole ? 0 : value.real;
        if (option->type == AML_OPTION_DURATION && unit == AML_UNIT_EPOCHS)
            real *= session->epoch_steps;
        if (option->type == AML_OPTION_DURATION && unit == AML_UNIT_SECONDS)
            return amli_fail(error, AML_INVALID,
                             "--%s: the program computes with it in steps, so it needs steps or "
                             "epochs (declared at %s)",
                             option->name, option->place);
        break;
    }
    }
    bool reads_whole = info->dtype == AML_I64 || info->dtype == AML_I32 || info->dtype == AML_BOOL;
    if (reads_whole)
        out->whole = is_whole ? whole : (int64_t)real;
    else
        out->real = is_whole ? (double)whole : real;
    return AML_OK;
}

aml_status amli_session_augment(void *opaque, int64_t step, aml_value scalar[], aml_error *error)
{
    const amli_session *session = opaque;
    const aml_function *augment = &session->dataset->augment;
    aml_status status = AML_OK;
    for (int i = 0; i < augment->scalars && !status; i++)
        status = scalar_value(session, &augment->scalar[i], step, &scalar[i], error);
    return status;
}

// What is taken row by row is a row after the other where `place_inputs` says, unless its rows are
// samples that lie in memory which the device reads as well: then these are not copied.
static void place_rows(amli_session *session, const amli_bound *bound, int input,
                       const int64_t row[], int64_t count, bool copies)
{
    const amli_samples *samples = session->samples;
    int field = bound->field[input];
    size_t bytes = samples->row_bytes[field];
    amli_memory *at = bound->row[input];
    bool there = !copies && (uintptr_t)session->view == session->batch;
    for (int64_t k = 0; k < count && there; k++)
        there = row[k] < samples->rows; // and not between two
    for (int64_t k = 0; k < bound->function->input[input].shape.dim[0]; k++)
        at[k] = there && k < count
                    ? (uintptr_t)(samples->column[field] + (size_t)row[k] * bytes)
                    : session->batch + bound->input_offset[input] + (size_t)k * bytes;
    if (there)
        session->to[field] = NULL;
}

// Where the prepared fields of a batch go: session->to. row: of the samples, NULL: they are made
// elsewhere.
static void place_inputs(amli_session *session, const amli_bound *bound, const int64_t row[],
                         int64_t count, bool copies)
{
    const aml_function *function = bound->function;
    memset(session->to, 0, sizeof *session->to * (size_t)session->samples->outputs);
    for (int i = 0; i < function->inputs; i++) {
        char *to = session->view + bound->input_offset[i];
        if (bound->balance[i])
            memcpy(to, session->balance[bound->field[i]], amli_tensor_bytes(&function->input[i]));
        else
            session->to[bound->field[i]] = to;
    }
    for (int i = 0; i < function->inputs; i++)
        if (bound->row[i])
            place_rows(session, bound, i, row, count, copies);
}

// Brings them to a device that the host cannot write to.
static aml_status upload_inputs(amli_session *session, const amli_bound *bound, aml_error *error)
{
    const aml_function *function = bound->function;
    aml_status status = AML_OK;
    for (int i = 0; i < function->inputs && session->staging && !status; i++)
        status = session->device->kind->upload(
            session->device, session->batch, bound->input_offset[i],
            session->view + bound->input_offset[i], amli_tensor_bytes(&function->input[i]), error);
    return status;
}

aml_status amli_session_loader(amli_session *session, amli_sampler *sampler, int64_t first,
                               bool augments, amli_loader **out, aml_error *error)
{
    *out = NULL;
    augments = augments && session->dataset->augment.run;
    int threads = amli_loaders(session->command);
    if (!amli_samples_work(session->samples, augments) || threads == 0)
        return AML_OK;
    place_inputs(session, &session->step, NULL, 0, true);
    bool *wanted = calloc((size_t)session->samples->outputs + 1, sizeof *wanted);
    if (!wanted)
        return amli_no_memory(error, sizeof *wanted, "the loader");
    for (int i = 0; i < session->samples->outputs; i++)
        wanted[i] = session->to[i] != NULL;
    amli_batches batches = {.sampler = sampler,
                            .count = session->job->batch,
                            .first = first,
                            .augments = augments,
                            .wanted = wanted,
                            .scalars = amli_session_augment,
                            .self = session};
    aml_status status = amli_loader_new(session->samples, &batches, threads, out, error);
    free(wanted);
    return status;
}

aml_status amli_session_take(amli_session *session, amli_loader *loader, aml_error *error)
{
    place_inputs(session, &session->step, NULL, 0, true);
    int64_t last = session->total_steps > 0 ? session->total_steps + session->ahead : INT64_MAX;
    aml_status status = amli_loader_take(loader, last, session->to, error);
    return status ? status : upload_inputs(session, &session->step, error);
}

aml_status amli_session_fill(amli_session *session, const amli_bound *bound, const int64_t row[],
                             int64_t count, int64_t step, int64_t position, aml_error *error)
{
    amli_augmenting augmenting = {session->augment_scalar, position};
    bool augments = position >= 0 && session->dataset->augment.run;
    aml_status status =
        augments ? amli_session_augment(session, step, session->augment_scalar, error) : AML_OK;
    if (status)
        return status;
    place_inputs(session, bound, row, count, amli_samples_work(session->samples, augments));
    status = amli_samples_batch(session->samples, row, count, augments ? &augmenting : NULL,
                                session->device->pool, session->to, error);
    return status ? status : upload_inputs(session, bound, error);
}

aml_status amli_session_run(amli_session *session, amli_bound *bound, int64_t step,
                            aml_error *error)
{
    const aml_function *function = bound->function;
    for (int i = 0; i < function->scalars; i++) {
        aml_status status =
            scalar_value(session, &function->scalar[i], step, &bound->scalar[i], error);
        if (status)
            return status;
    }
    amli_launch launch = {session->state, session->arena, bound->input, bound->output,
                          bound->scalar};
    if (!session->profile)
        return session->device->kind->run(session->device, function, &launch, error);
    amli_profile_begin(session->profile, function);
    aml_status status = session->device->kind->run(session->device, function, &launch, error);
    amli_profile_end(session->profile);
    return status;
}

aml_status amli_session_read(amli_session *session, const amli_bound *bound, int output, void *to,
                             aml_error *error)
{
    return session->device->kind->download(
        session->device, session->batch, bound->output_offset[output], to,
        amli_tensor_bytes(&bound->function->output[output]), error);
}

aml_status amli_with_data(const amli_command *command, const amli_device_kind *kind,
                          aml_status (*use)(amli_session *session, aml_error *error),
                          aml_error *error)
{
    const aml_job *job;
    amli_session session = {0};
    amli_log log;
    amli_log_begin(&log, command->quiet);
    aml_status status = amli_find_job(command, AML_JOB_TRAIN, command->job, &job, error);
    if (!status)
        status = amli_session_open(command, job, kind, &session, error);
    if (!status)
        status = amli_session_load(&session, &log, error);
    if (!status)
        status = use(&session, error);
    amli_session_close(&session);
    amli_log_end(&log);
    return status;
}
