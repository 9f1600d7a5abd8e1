// The rows after `prepare`.
//
// prepare is a compiled function of one sample. It is run once over all rows when a job starts:
// without augmentation a prepared sample never changes, so an epoch costs no more than copying rows
// into batches.

#include <stdlib.h>
#include <string.h>

#include "runtime/data/data.h"

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
    *preparer = (amli_preparer){.function = function};
    size_t pointers = aligned((size_t)(function->inputs + function->outputs) * sizeof(void *));
    size_t bytes = pointers + aligned(function->arena_bytes);
    for (int i = 0; i < function->inputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->input[i]));
    for (int i = 0; i < function->outputs; i++)
        bytes += aligned(amli_tensor_bytes(&function->output[i]));
    bytes += AML_ALIGNMENT;
    preparer->memory = aligned_alloc(AML_ALIGNMENT, bytes);
    if (!preparer->memory)
        return amli_no_memory(error, bytes, "prepare");
    memset(preparer->memory, 0, bytes);
    preparer->input = (void **)preparer->memory;
    preparer->output = preparer->input + function->inputs;
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

void amli_preparer_free(amli_preparer *preparer)
{
    free(preparer->memory);
    *preparer = (amli_preparer){0};
}

void amli_prepare(const amli_preparer *preparer, const void *const in[], void *const out[])
{
    const aml_function *function = preparer->function;
    for (int i = 0; i < function->inputs; i++)
        memcpy(preparer->input[i], in[i], amli_tensor_bytes(&function->input[i]));
    aml_value none[8] = {0};
    aml_call call = {.arena = preparer->arena,
                     .input = preparer->input,
                     .output = preparer->output,
                     .scalar = none};
    function->run(&call);
    for (int i = 0; i < function->outputs; i++)
        memcpy(out[i], preparer->output[i], amli_tensor_bytes(&function->output[i]));
}

static aml_status check_prepare(const aml_dataset *dataset, aml_error *error)
{
    const aml_function *prepare = &dataset->prepare;
    if (!prepare->run || prepare->inputs != dataset->fields || prepare->scalars > 8)
        return amli_fail(error, AML_INTERNAL,
                         "prepare of the data set '%s' does not read its fields", dataset->name);
    for (int i = 0; i < dataset->fields; i++)
        if (amli_tensor_bytes(&prepare->input[i]) != amli_tensor_bytes(&dataset->field[i].tensor))
            return amli_fail(error, AML_INTERNAL,
                             "prepare of the data set '%s' reads another shape of '%s'",
                             dataset->name, dataset->field[i].tensor.name);
    return AML_OK;
}

static aml_status prepare_all(amli_samples *samples, const amli_table *table, aml_error *error)
{
    const aml_function *prepare = &samples->dataset->prepare;
    amli_preparer preparer;
    aml_status status = amli_preparer_new(prepare, &preparer, error);
    const void **in = calloc((size_t)prepare->inputs + 1, sizeof *in);
    void **out = calloc((size_t)prepare->outputs + 1, sizeof *out);
    if (!status && (!in || !out))
        status = amli_no_memory(error, sizeof *in, "prepare");
    for (int i = 0; i < samples->outputs && !status; i++) {
        samples->row_bytes[i] = amli_tensor_bytes(&prepare->output[i]);
        size_t bytes = (size_t)samples->rows * samples->row_bytes[i];
        samples->column[i] = malloc(bytes ? bytes : 1);
        if (!samples->column[i])
            status = amli_no_memory(error, bytes, "the prepared data");
        samples->bytes += bytes;
    }
    for (int64_t row = 0; row < samples->rows && !status; row++) {
        for (int i = 0; i < prepare->inputs; i++)
            in[i] = (const char *)table->field[i] + (size_t)row * table->row_bytes[i];
        for (int i = 0; i < prepare->outputs; i++)
            out[i] = samples->column[i] + (size_t)row * samples->row_bytes[i];
        amli_prepare(&preparer, in, out);
    }
    free(in), free(out);
    amli_preparer_free(&preparer);
    return status;
}

// The class of each row, for a stratified split; NULL if the split is not.
static aml_status strata(const aml_dataset *dataset, const amli_table *table, int64_t **out,
                         aml_error *error)
{
    *out = NULL;
    int field = dataset->split.stratify;
    if (field < 0 || field >= dataset->fields)
        return AML_OK;
    size_t size = aml_dtype_bytes(dataset->field[field].tensor.dtype);
    if (dataset->field[field].tensor.classes <= 0 || table->row_bytes[field] != size)
        return amli_fail(error, AML_INVALID,
                         "%s: stratify needs a field that is one class, and '%s' is not",
                         dataset->place, dataset->field[field].tensor.name);
    int64_t *stratum = calloc((size_t)table->source_rows + 1, sizeof *stratum);
    if (!stratum)
        return amli_no_memory(error, (size_t)table->source_rows * sizeof *stratum, "the split");
    for (int64_t i = 0; i < table->source_rows;
         i++) // classes are not negative, so the low bytes are the number
        memcpy(&stratum[i], (const char *)table->field[field] + (size_t)i * size, size);
    *out = stratum;
    return AML_OK;
}

aml_status amli_samples_load(const aml_dataset *dataset, const amli_load *load, amli_samples **out,
                             aml_error *error)
{
    *out = NULL;
    amli_table *table = NULL;
    int64_t *stratum = NULL;
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
    memcpy(samples->path, table->path, sizeof samples->path);
    samples->column = calloc((size_t)samples->outputs + 1, sizeof *samples->column);
    samples->row_bytes = calloc((size_t)samples->outputs + 1, sizeof *samples->row_bytes);
    if (!samples->column || !samples->row_bytes)
        status = amli_no_memory(error, sizeof *samples, "the data");
    if (!status)
        status = strata(dataset, table, &stratum, error);
    if (!status)
        status =
            amli_split_rows(&dataset->split, table->source_rows, table->rows, stratum,
                            stratum ? dataset->field[dataset->split.stratify].tensor.classes : 1,
                            &samples->split, error);
    if (!status)
        status = prepare_all(samples, table, error);
    free(stratum);
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
    amli_split_free(&samples->split);
    free(samples);
}

void amli_gather(const amli_samples *samples, int output, const int64_t row[], int64_t count,
                 void *to)
{
    size_t bytes = samples->row_bytes[output];
    const char *from = samples->column[output];
    for (int64_t i = 0; i < count; i++)
        memcpy((char *)to + (size_t)i * bytes, from + (size_t)row[i] * bytes, bytes);
}
