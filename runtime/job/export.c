// data samples: prepared samples of a part of a training's data as a safetensors file, one tensor a
// prepared field with an axis of samples before its own. `amlc deploy` calibrates and measures
// with them, so they are exactly what the training sees: prepared, not augmented.

#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

aml_status amli_find_part(const amli_command *command, const amli_split *split, aml_part *out,
                          aml_error *error)
{
    static const struct {
        const char *name;
        aml_part part;
    } part[] = {{"train", AML_PART_TRAIN}, {"valid", AML_PART_VALID}, {"test", AML_PART_TEST}};
    const char *name = command->part ? command->part : "train";
    if (strcmp(name, "held_out") == 0) {
        *out = split->rows[AML_PART_TEST] > 0 ? AML_PART_TEST : AML_PART_VALID;
        return AML_OK;
    }
    for (size_t i = 0; i < AMLI_COUNT(part); i++)
        if (strcmp(name, part[i].name) == 0) {
            *out = part[i].part;
            return AML_OK;
        }
    return amli_fail(error, AML_USAGE,
                     "--part: expected train, valid, test or held_out, found \"%s\"", name);
}

typedef struct Export {
    aml_state_info *field;
    char *data;
    void **to;
    int64_t *row;
} Export;

// `count` samples, spread evenly over the part's rows.
static aml_status fill(Export *export, const amli_samples *samples, aml_part part, int64_t count,
                       aml_error *error)
{
    const aml_function *prepare = &samples->dataset->prepare;
    int64_t rows = samples->split.rows[part];
    size_t bytes = 0;
    export->field = calloc((size_t)prepare->outputs + 1, sizeof *export->field);
    export->to = calloc((size_t)prepare->outputs + 1, sizeof *export->to);
    export->row = calloc((size_t)count + 1, sizeof *export->row);
    if (!export->field || !export->to || !export->row)
        return amli_no_memory(error, (size_t)count * sizeof *export->row, "samples");
    for (int i = 0; i < prepare->outputs; i++) {
        aml_state_info *field = &export->field[i];
        field->tensor = prepare->output[i];
        field->role = AML_ROLE_WEIGHT;
        field->offset = bytes;
        aml_shape *shape = &field->tensor.shape;
        if (shape->rank == AML_MAX_RANK)
            return amli_fail(error, AML_INVALID, "the field '%s' has too many axes",
                             field->tensor.name);
        memmove(shape->dim + 1, shape->dim, sizeof shape->dim[0] * (size_t)shape->rank);
        shape->dim[0] = count;
        shape->rank++;
        bytes += ((size_t)count * amli_tensor_bytes(&prepare->output[i]) + 63) / 64 * 64;
    }
    export->data = malloc(bytes + 1);
    if (!export->data)
        return amli_no_memory(error, bytes, "samples");
    for (int i = 0; i < prepare->outputs; i++)
        export->to[i] = export->data + export->field[i].offset;
    for (int64_t k = 0; k < count; k++)
        export->row[k] = samples->split.row[part][k * rows / count];
    return amli_samples_batch(samples, export->row, count, NULL, NULL, export->to, error);
}

static aml_status write_samples(const amli_command *command, const aml_dataset *dataset,
                                const amli_samples *samples, aml_error *error)
{
    aml_part part = AML_PART_TRAIN;
    aml_status status = amli_find_part(command, &samples->split, &part, error);
    if (status)
        return status;
    int64_t rows = samples->split.rows[part];
    if (rows == 0)
        return amli_fail(error, AML_BAD_DATA, "the split of '%s' (%s) gives that part no samples",
                         dataset->name, dataset->place);
    int64_t count = command->samples > 0 && command->samples < rows ? command->samples : rows;
    Export export = {0};
    status = fill(&export, samples, part, count, error);
    aml_job table = {
        .name = dataset->name, .states = samples->dataset->prepare.outputs, .state = export.field};
    size_t bytes = 0;
    char hash[AMLI_HASH_TEXT];
    if (!status)
        status = amli_tensors_write(command->output, export.data, &table, 1u << AML_ROLE_WEIGHT,
                                    &bytes, hash, error);
    free(export.field), free(export.data), free(export.to), free(export.row);
    return status;
}

aml_status amli_data_samples(const amli_command *command, aml_error *error)
{
    const aml_job *job;
    amli_paths paths;
    amli_load load;
    amli_samples *samples = NULL;
    if (!command->output)
        return amli_fail(error, AML_USAGE, "data samples needs --output FILE");
    aml_status status = amli_find_job(command, AML_JOB_TRAIN, command->job, &job, error);
    const aml_dataset *dataset = status ? NULL : &command->program->dataset[job->data];
    if (!status)
        status = amli_load_options(command, dataset, &load, &paths, error);
    if (!status)
        status = amli_samples_load(dataset, &load, amli_threads(command), &samples, error);
    if (!status)
        status = write_samples(command, dataset, samples, error);
    amli_samples_free(samples);
    return status;
}
