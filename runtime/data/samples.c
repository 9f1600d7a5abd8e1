// The rows after `prepare`.
//
// prepare is a compiled function of one sample. It is run once over all rows when a job starts: a
// prepared sample never changes, so an epoch costs no more than copying rows into batches. Where
// the prepared samples would take much more memory than the raw ones (images of bytes, overlapping
// windows), it is run when a batch is made. augment is always run then. Both are shared out over
// the pool, sample by sample; each sample is computed by itself, so threads change nothing.

#include <stdlib.h>
#include <string.h>

#include "runtime/data/drawing.h"
#include "runtime/pool/pool.h"

size_t amli_sample_bytes(const aml_dataset *dataset)
{
    size_t bytes = 0;
    for (int i = 0; i < dataset->prepare.outputs; i++)
        bytes += amli_tensor_bytes(&dataset->prepare.output[i]);
    return bytes;
}

int amli_sample_output(const aml_dataset *dataset, const char *name)
{
    for (int i = 0; i < dataset->prepare.outputs; i++)
        if (strcmp(dataset->prepare.output[i].name, name) == 0)
            return i;
    return -1;
}

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

aml_status amli_preparer_new(const aml_function *function, amli_preparer *preparer,
                             aml_error *error)
{
    *preparer = (amli_preparer){.function = function, .copied = function->inputs};
    size_t pointers = aligned((size_t)(function->inputs + function->outputs) * sizeof(void *) +
                              (size_t)function->scalars * sizeof(aml_value));
    size_t bytes = pointers + aligned(function->arena_bytes);
    for (int i = 0; i < function->inputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->input[i]));
    for (int i = 0; i < function->outputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->output[i]));
    bytes += AML_ALIGNMENT;
    preparer->bytes = bytes;
    preparer->memory = aligned_alloc(AML_ALIGNMENT, bytes);
    if (!preparer->memory)
        return amli_no_memory(error, bytes, "prepare");
    memset(preparer->memory, 0, bytes);
    preparer->input = (void **)preparer->memory;
    preparer->output = preparer->input + function->inputs;
    preparer->scalar = (aml_value *)(preparer->output + function->outputs);
    char *at = preparer->memory + pointers;
    preparer->arena = at;
    at += aligned(function->arena_bytes);
    for (int i = 0; i < function->inputs; i++) {
        preparer->input[i] = at;
        at += aligned(amli_tensor_bytes(&function->input[i]));
    }
    for (int i = 0; i < function->outputs; i++) {
        preparer->output[i] = at;
        at += aligned(amli_tensor_bytes(&function->output[i]));
    }
    return AML_OK;
}

void amli_preparer_share(amli_preparer *preparer, int first, void *const at[], int count)
{
    preparer->copied = first < preparer->copied ? first : preparer->copied;
    for (int i = 0; i < count && first + i < preparer->function->inputs; i++)
        preparer->input[first + i] = at[i];
}

void amli_preparer_free(amli_preparer *preparer)
{
    free(preparer->memory);
    *preparer = (amli_preparer){0};
}

void amli_prepare(const amli_preparer *preparer, const void *const in[], void *const out[])
{
    const aml_function *function = preparer->function;
    for (int i = 0; i < preparer->copied && in; i++)
        memcpy(preparer->input[i], in[i], amli_tensor_bytes(&function->input[i]));
    aml_call call = {.arena = preparer->arena,
                     .input = preparer->input,
                     .output = preparer->output,
                     .scalar = preparer->scalar};
    function->run(&call);
    for (int i = 0; i < function->outputs; i++)
        if (out[i])
            memcpy(out[i], preparer->output[i], amli_tensor_bytes(&function->output[i]));
}

// ---- workers: what a thread needs to make samples ----------------------------------------------

void amli_worker_free(amli_worker *worker)
{
    amli_fetch_free(&worker->fetch);
    amli_preparer_free(&worker->prepare);
    amli_preparer_free(&worker->augment);
    free(worker->raw);
    free(worker->out);
    *worker = (amli_worker){0};
}

aml_status amli_worker_new(const amli_samples *samples, amli_worker *worker, aml_error *error)
{
    const aml_dataset *dataset = samples->dataset;
    *worker = (amli_worker){
        .raw = calloc((size_t)dataset->fields + 1, sizeof *worker->raw),
        .out = calloc((size_t)samples->outputs + dataset->fields + 1, sizeof *worker->out)};
    aml_status status = worker->raw && worker->out
                            ? amli_preparer_new(&dataset->prepare, &worker->prepare, error)
                            : amli_no_memory(error, sizeof *worker, "the data");
    if (!status && samples->statistic)
        amli_preparer_share(&worker->prepare, dataset->fields, samples->statistic,
                            dataset->statistics);
    if (!status && samples->table)
        status = amli_fetch_new(samples->table, &worker->fetch, error);
    if (!status && dataset->augment.run)
        status = amli_preparer_new(&dataset->augment, &worker->augment, error);
    worker->bytes = worker->prepare.bytes + worker->augment.bytes;
    for (int i = 0; samples->table && i < dataset->fields; i++)
        worker->bytes += samples->table->on_demand[i] ? samples->table->row_bytes[i] : 0;
    if (status)
        amli_worker_free(worker);
    return status;
}

static void workers_free(amli_samples *samples)
{
    for (int i = 0; i < samples->workers; i++)
        amli_worker_free(&samples->worker[i]);
    free(samples->worker);
    samples->worker = NULL;
    samples->workers = 0;
    samples->bytes = 0;
}

static aml_status workers_new(amli_samples *samples, int count, aml_error *error)
{
    count = count < 1 ? 1 : count;
    samples->worker = calloc((size_t)count, sizeof *samples->worker);
    if (!samples->worker)
        return amli_no_memory(error, (size_t)count * sizeof *samples->worker, "the data");
    samples->workers = count;
    for (int i = 0; i < count; i++) {
        aml_status status = amli_worker_new(samples, &samples->worker[i], error);
        if (status)
            return status;
        samples->bytes += samples->worker[i].bytes;
    }
    return AML_OK;
}

static aml_status check_prepare(const aml_dataset *dataset, aml_error *error)
{
    const aml_function *prepare = &dataset->prepare;
    if (!prepare->run || prepare->inputs != dataset->fields + dataset->statistics)
        return amli_fail(error, AML_INTERNAL,
                         "prepare of the data set '%s' does not read its fields", dataset->name);
    const aml_function *augment = &dataset->augment;
    bool same = !augment->run ||
                (augment->inputs == prepare->outputs && augment->outputs == prepare->outputs);
    for (int i = 0; same && augment->run && i < prepare->outputs; i++) {
        size_t bytes = amli_tensor_bytes(&prepare->output[i]);
        same = amli_tensor_bytes(&augment->input[i]) == bytes &&
               amli_tensor_bytes(&augment->output[i]) == bytes;
    }
    if (!same)
        return amli_fail(error, AML_INTERNAL,
                         "augment of the data set '%s' does not give what prepare gives",
                         dataset->name);
    for (int i = 0; i < dataset->fields; i++)
        if (amli_tensor_bytes(&prepare->input[i]) != amli_tensor_bytes(&dataset->field[i].tensor))
            return amli_fail(error, AML_INTERNAL,
                             "prepare of the data set '%s' reads another shape of '%s'",
                             dataset->name, dataset->field[i].tensor.name);
    return AML_OK;
}

// Output i of a sample between two rows.
static void put_blend(const amli_samples *samples, const amli_blend *blend, int output, void *to)
{
    const aml_tensor_info *info = &samples->dataset->prepare.output[output];
    size_t bytes = samples->row_bytes[output];
    const char *a = samples->column[output] + (size_t)blend->a * bytes,
               *b = samples->column[output] + (size_t)blend->b * bytes;
    int64_t elements = aml_shape_elements(&info->shape);
    memcpy(to, a, bytes);
    for (int64_t k = 0; k < elements && info->dtype == AML_F32; k++) {
        double from = ((const float *)a)[k];
        ((float *)to)[k] = (float)(from + blend->share * ((double)((const float *)b)[k] - from));
    }
    for (int64_t k = 0; k < elements && info->dtype == AML_F64; k++) {
        double from = ((const double *)a)[k];
        ((double *)to)[k] = from + blend->share * (((const double *)b)[k] - from);
    }
}

static void put_column(const amli_samples *samples, int64_t row, int output, void *to)
{
    size_t bytes = samples->row_bytes[output];
    if (row < samples->rows)
        memcpy(to, samples->column[output] + (size_t)row * bytes, bytes);
    else
        put_blend(samples, &samples->blend[row - samples->rows], output, to);
}

// The prepared fields of a row to out[i]; it is one of a table, or was prepared before.
static aml_status prepared(const amli_samples *samples, amli_worker *worker, int64_t row,
                           void *const out[], aml_error *error)
{
    if (samples->table) {
        aml_status status = amli_fetch_sample(&worker->fetch, row, worker->raw, error);
        if (!status)
            amli_prepare(&worker->prepare, worker->raw, out);
        return status;
    }
    for (int i = 0; i < samples->outputs; i++)
        if (out[i])
            put_column(samples, row, i, out[i]);
    return AML_OK;
}

// Prepares all samples, unless that takes much more memory than the raw ones or these are decoded
// on demand: then the table stays, and a sample is prepared when it is asked for.
static aml_status prepare_all(amli_samples *samples, amli_table **table, int threads,
                              aml_error *error)
{
    enum { MOST_PREPARED = 64 << 20 };
    const aml_dataset *dataset = samples->dataset;
    size_t all = 0;
    for (int i = 0; i < samples->outputs; i++) {
        samples->row_bytes[i] = amli_tensor_bytes(&dataset->prepare.output[i]);
        all += (size_t)samples->rows * samples->row_bytes[i];
    }
    samples->table = *table;
    *table = NULL;
    bool later = all > samples->table->bytes && all > MOST_PREPARED;
    later = later || samples->table->reading[0] || samples->table->reading[1];
    aml_status status = workers_new(samples, later || dataset->augment.run ? threads : 1, error);
    if (status || later) {
        samples->bytes += samples->table->bytes;
        return status;
    }
    for (int i = 0; i < samples->outputs; i++) {
        size_t bytes = (size_t)samples->rows * samples->row_bytes[i];
        samples->column[i] = malloc(bytes ? bytes : 1);
        if (!samples->column[i])
            return amli_no_memory(error, bytes, "the prepared data");
    }
    amli_worker *worker = &samples->worker[0];
    for (int64_t row = 0; row < samples->rows && !status; row++) {
        for (int i = 0; i < samples->outputs; i++)
            worker->out[i] = samples->column[i] + (size_t)row * samples->row_bytes[i];
        status = prepared(samples, worker, row, worker->out, error);
    }
    for (int i = 0; i < samples->workers; i++)
        amli_fetch_free(&samples->worker[i].fetch);
    amli_table_free(samples->table);
    samples->table = NULL;
    if (!dataset->augment.run)
        workers_free(samples);
    samples->bytes += all;
    return status;
}

// The statistics of the load, or those of the training part.
static aml_status statistics(amli_samples *samples, const amli_load *load, const amli_table *table,
                             aml_error *error)
{
    const aml_dataset *dataset = samples->dataset;
    const amli_split *split = &samples->split;
    if (!load->statistic)
        return amli_fit(dataset, table, split->row[AML_PART_TRAIN], split->rows[AML_PART_TRAIN],
                        &samples->statistic, error);
    samples->statistic = calloc((size_t)dataset->statistics + 1, sizeof *samples->statistic);
    for (int i = 0; samples->statistic && i < dataset->statistics; i++) {
        size_t bytes = amli_tensor_bytes(&dataset->statistic[i].tensor);
        samples->statistic[i] = amli_statistic_new(&dataset->statistic[i]);
        if (!samples->statistic[i])
            return amli_no_memory(error, bytes, dataset->statistic[i].tensor.name);
        memcpy(samples->statistic[i], load->statistic[i], bytes);
    }
    return samples->statistic ? AML_OK : amli_no_memory(error, sizeof(void *), "the statistics");
}

aml_status amli_samples_load(const aml_dataset *dataset, const amli_load *load, int threads,
                             amli_samples **out, aml_error *error)
{
    *out = NULL;
    amli_table *table = NULL;
    aml_status status = check_prepare(dataset, error);
    if (!status)
        status = amli_table_load(dataset, load, &table, error);
    if (status)
        return status;
    amli_samples *samples = calloc(1, sizeof *samples);
    if (!samples) {
        amli_table_free(table);
        return amli_no_memory(error, sizeof *samples, "the data");
    }
    samples->dataset = dataset;
    samples->rows = table->rows;
    samples->skipped = table->bad;
    samples->outputs = dataset->prepare.outputs;
    memcpy(samples->fingerprint, table->fingerprint, sizeof samples->fingerprint);
    memcpy(samples->source, table->fingerprint, sizeof samples->source);
    memcpy(samples->path, table->path, sizeof samples->path);
    samples->column = calloc((size_t)samples->outputs + 1, sizeof *samples->column);
    samples->row_bytes = calloc((size_t)samples->outputs + 1, sizeof *samples->row_bytes);
    if (!samples->column || !samples->row_bytes)
        status = amli_no_memory(error, sizeof *samples, "the data");
    if (!status)
        status = amli_split_table(dataset, table, &load->fold, &samples->split, error);
    if (!status)
        amli_fold_mark(&load->fold, samples->fingerprint);
    if (!status)
        status = amli_clean(dataset, table, load, &samples->split, error);
    if (!status)
        status = statistics(samples, load, table, error);
    if (!status)
        status = prepare_all(samples, &table, threads, error);
    amli_table_free(table);
    if (status) {
        amli_samples_free(samples);
        return status;
    }
    *out = samples;
    return AML_OK;
}

void amli_samples_free(amli_samples *samples)
{
    if (!samples)
        return;
    for (int i = 0; i < samples->outputs && samples->column; i++)
        free(samples->column[i]);
    free(samples->column);
    free(samples->row_bytes);
    amli_statistics_free(samples->dataset, samples->statistic);
    workers_free(samples);
    amli_table_free(samples->table);
    amli_split_free(&samples->split);
    amli_drawing_free(samples->drawing);
    free(samples->blend);
    free(samples);
}

typedef struct Batch {
    const amli_samples *samples;
    const int64_t *row;
    int64_t count;
    const amli_augmenting *augmenting;
    void *const *to;
} Batch;

// augment has prepare's outputs as inputs: they are made where it reads them.
static aml_status augmented(const amli_samples *samples, amli_worker *worker, int64_t row,
                            const amli_augmenting *augmenting, int64_t index, void *const out[],
                            aml_error *error)
{
    const aml_function *function = worker->augment.function;
    for (int i = 0; i < function->scalars; i++) {
        worker->augment.scalar[i] = augmenting->scalar[i];
        if (function->scalar[i].kind == AML_SCALAR_SAMPLE)
            worker->augment.scalar[i].whole = augmenting->first + index;
    }
    aml_status status = prepared(samples, worker, row, worker->augment.input, error);
    if (status)
        return status;
    aml_call call = {.arena = worker->augment.arena,
                     .input = worker->augment.input,
                     .output = worker->augment.output,
                     .scalar = worker->augment.scalar};
    function->run(&call);
    for (int i = 0; i < function->outputs; i++)
        if (out[i])
            memcpy(out[i], worker->augment.output[i], samples->row_bytes[i]);
    return AML_OK;
}

aml_status amli_worker_make(const amli_samples *samples, amli_worker *worker, int64_t row,
                            const amli_augmenting *augmenting, int64_t index, void *const out[],
                            aml_error *error)
{
    return augmenting && samples->dataset->augment.run
               ? augmented(samples, worker, row, augmenting, index, out, error)
               : prepared(samples, worker, row, out, error);
}

// One part for each worker: consecutive samples.
static void batch_part(void *data, int64_t begin, int64_t end)
{
    const Batch *batch = data;
    const amli_samples *samples = batch->samples;
    for (int64_t part = begin; part < end; part++) {
        amli_worker *worker = &samples->worker[part];
        int64_t first = batch->count * part / samples->workers,
                last = batch->count * (part + 1) / samples->workers;
        worker->error.status = AML_OK;
        for (int64_t k = first; k < last && !worker->error.status; k++) {
            for (int i = 0; i < samples->outputs; i++)
                worker->out[i] =
                    batch->to[i] ? (char *)batch->to[i] + (size_t)k * samples->row_bytes[i] : NULL;
            worker->error.status = amli_worker_make(
                samples, worker, batch->row[k], batch->augmenting, k, worker->out, &worker->error);
        }
    }
}

static void ask_for_row(const amli_samples *samples, int column, int64_t row)
{
    enum { LINE = 64 };
    size_t bytes = samples->row_bytes[column];
    const char *at = samples->column[column] + (size_t)row * bytes;
    for (size_t line = 0; line < bytes && row < samples->rows; line += LINE)
        __builtin_prefetch(at + line);
}

enum { COPY_PARTS = 8 }; // of a large batch

// Rows lie anywhere, so the memory of a long one is not fetched ahead while the row before it is
// copied unless it is asked for. Of short ones the processor looks at several at a time.
static void copy_rows(void *data, int64_t part, int64_t behind)
{
    enum { LONG = 512, AHEAD = 6144 }; // bytes: of a row, and on their way
    const Batch *batch = data;
    const amli_samples *samples = batch->samples;
    int64_t first = batch->count * part / COPY_PARTS, end = batch->count * behind / COPY_PARTS;
    for (int i = 0; i < samples->outputs; i++) {
        size_t bytes = samples->row_bytes[i];
        int64_t ahead = bytes < LONG ? 0 : (int64_t)((AHEAD + bytes - 1) / bytes);
        ahead = ahead < end - first ? ahead : end - first;
        for (int64_t k = first; batch->to[i] && k < first + ahead; k++)
            ask_for_row(samples, i, batch->row[k]);
        for (int64_t k = first; batch->to[i] && k < end; k++) {
            if (ahead && k + ahead < end)
                ask_for_row(samples, i, batch->row[k + ahead]);
            put_column(samples, batch->row[k], i, (char *)batch->to[i] + (size_t)k * bytes);
        }
    }
}

// Less is copied before another thread has begun.
#define COPY_SHARED ((size_t)64 << 10)

static size_t batch_bytes(const Batch *batch)
{
    size_t bytes = 0;
    for (int i = 0; i < batch->samples->outputs; i++)
        bytes += batch->to[i] ? batch->samples->row_bytes[i] * (size_t)batch->count : 0;
    return bytes;
}

bool amli_samples_long(const amli_samples *samples)
{
    bool found = false;
    for (int i = 0; i < samples->outputs; i++)
        found |= samples->row_bytes[i] >= AML_SOON_BYTES;
    return found;
}

void amli_samples_soon(const amli_samples *samples, const int64_t row[], int64_t count,
                       const void *at[AML_SOON])
{
    int pieces = 0;
    for (int i = 0; i < samples->outputs; i++) {
        size_t bytes = samples->row_bytes[i];
        if (bytes < AML_SOON_BYTES)
            continue;
        for (int64_t k = 0; k < count; k++)
            for (size_t done = 0; done < bytes && row[k] < samples->rows && pieces < AML_SOON;
                 done += AML_SOON_BYTES)
                at[pieces++] = samples->column[i] + (size_t)row[k] * bytes + done;
    }
    while (pieces < AML_SOON)
        at[pieces++] = at;
}

bool amli_samples_work(const amli_samples *samples, bool augments)
{
    return samples->table || (augments && samples->dataset->augment.run);
}

aml_status amli_samples_batch(const amli_samples *samples, const int64_t row[], int64_t count,
                              const amli_augmenting *augmenting, void *pool, void *const to[],
                              aml_error *error)
{
    bool augments = augmenting && samples->dataset->augment.run;
    Batch batch = {samples, row, count, augments ? augmenting : NULL, to};
    if (!amli_samples_work(samples, augments)) {
        if (pool && batch_bytes(&batch) >= COPY_SHARED)
            amli_pool_for(pool, COPY_PARTS, copy_rows, &batch);
        else
            copy_rows(&batch, 0, COPY_PARTS);
        return AML_OK;
    }
    if (pool && count > 1)
        amli_pool_for(pool, samples->workers, batch_part, &batch);
    else
        batch_part(&batch, 0, samples->workers);
    // parts are consecutive and each ends at its first bad sample, so this is the batch's first one
    for (int i = 0; i < samples->workers; i++)
        if (samples->worker[i].error.status) {
            if (error)
                *error = samples->worker[i].error;
            return samples->worker[i].error.status;
        }
    return AML_OK;
}

aml_status amli_balance(const amli_samples *samples, int output, void *pool, float weight[],
                        aml_error *error)
{
    enum { AT_ONCE = 256 };
    const aml_tensor_info *info = &samples->dataset->prepare.output[output];
    const int64_t *row = samples->split.row[AML_PART_TRAIN];
    int64_t rows = samples->split.rows[AML_PART_TRAIN], elements = 0;
    size_t size = aml_dtype_bytes(info->dtype), bytes = samples->row_bytes[output];
    int64_t *count = calloc((size_t)info->classes + 1, sizeof *count);
    char *labels = malloc(AT_ONCE * bytes + 1);
    void **to = calloc((size_t)samples->outputs + 1, sizeof *to);
    bool complete = count && labels && to;
    aml_status status = AML_OK;
    for (int64_t at = 0; complete && at < rows && !status; at += AT_ONCE) {
        int64_t now = rows - at < AT_ONCE ? rows - at : AT_ONCE;
        to[output] = labels;
        status = amli_samples_batch(samples, row + at, now, NULL, pool, to, error);
        for (size_t i = 0; !status && i < (size_t)now * bytes / size; i++, elements++) {
            int64_t value = 0;
            memcpy(&value, labels + i * size, size);
            if (value >= 0 && value < info->classes)
                count[value]++;
        }
    }
    for (int64_t k = 0; complete && k < info->classes; k++)
        weight[k] = count[k] ? (float)((double)elements / (double)(info->classes * count[k])) : 0;
    free(count), free(labels), free(to);
    return complete ? status : amli_no_memory(error, AT_ONCE * bytes, "the weights of the classes");
}
