// Predicting with a deployed model: the part that both the executable and the shared library
// consist of.
//
// A context is one block of the caller's memory:
//
//     aml_context | arena of prepare | its inputs | its outputs | arena of predict | its inputs |
//     its outputs
//
// Predict exists for a few batch sizes. Rows are given to the largest that they fill; a rest that
// fills none goes to the smallest, whose last rows then repeat the last one and are thrown away.

#include <string.h>

#include "aml/artifact.h"
#include "runtime/base/base.h"

enum { MOST_TENSORS = 32 };

struct aml_context {
    const aml_artifact *artifact;
    void *prepare_arena, *predict_arena;
    void *prepare_input[MOST_TENSORS], *prepare_output[MOST_TENSORS];
    void *predict_input[MOST_TENSORS], *predict_output[MOST_TENSORS];
    int source[MOST_TENSORS]; // which output of prepare an input of predict is
};

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static size_t tensor_bytes(const aml_tensor_info *tensor)
{
    int64_t count = aml_shape_elements(&tensor->shape);
    return count < 0 ? 0 : (size_t)count * aml_dtype_bytes(tensor->dtype);
}

static const aml_function *largest(const aml_artifact *artifact)
{
    return &artifact->predict[artifact->predicts - 1];
}

static size_t predict_arena(const aml_artifact *artifact)
{
    size_t most = 0;
    for (int i = 0; i < artifact->predicts; i++)
        if (artifact->predict[i].arena_bytes > most)
            most = artifact->predict[i].arena_bytes;
    return most;
}

static size_t tensors_bytes(const aml_tensor_info *tensor, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += aligned(tensor_bytes(&tensor[i]));
    return bytes;
}

size_t aml_context_bytes(const aml_artifact *artifact)
{
    const aml_function *prepare = &artifact->prepare, *predict = largest(artifact);
    return AML_ALIGNMENT + aligned(sizeof(aml_context)) + aligned(prepare->arena_bytes) +
           tensors_bytes(prepare->input, prepare->inputs) +
           tensors_bytes(prepare->output, prepare->outputs) + aligned(predict_arena(artifact)) +
           tensors_bytes(predict->input, predict->inputs) +
           tensors_bytes(predict->output, predict->outputs);
}

static char *place(char *at, void *pointer[], const aml_tensor_info *tensor, int count)
{
    for (int i = 0; i < count; i++) {
        pointer[i] = at;
        at += aligned(tensor_bytes(&tensor[i]));
    }
    return at;
}

aml_status aml_context_open(const aml_artifact *artifact, void *memory, size_t bytes,
                            aml_context **out)
{
    *out = NULL;
    const aml_function *prepare = &artifact->prepare;
    if (artifact->abi != AML_PROGRAM_ABI || artifact->predicts < 1 || !memory ||
        bytes < aml_context_bytes(artifact) || prepare->inputs != artifact->fields)
        return AML_INVALID;
    const aml_function *predict = largest(artifact);
    if (prepare->inputs > MOST_TENSORS || prepare->outputs > MOST_TENSORS ||
        predict->inputs > MOST_TENSORS || predict->outputs > MOST_TENSORS)
        return AML_INVALID;
    aml_status status = amli_check_cpu(artifact->cpu_level, artifact->cpu_features, NULL);
    if (status)
        return status;
    char *at = (char *)(((uintptr_t)memory + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT);
    aml_context *context = (aml_context *)(void *)at;
    memset(context, 0, sizeof *context);
    context->artifact = artifact;
    at += aligned(sizeof *context);
    context->prepare_arena = at;
    at += aligned(prepare->arena_bytes);
    at = place(at, context->prepare_input, prepare->input, prepare->inputs);
    at = place(at, context->prepare_output, prepare->output, prepare->outputs);
    context->predict_arena = at;
    at += aligned(predict_arena(artifact));
    at = place(at, context->predict_input, predict->input, predict->inputs);
    place(at, context->predict_output, predict->output, predict->outputs);
    for (int i = 0; i < predict->inputs; i++) {
        int k = 0;
        while (k < prepare->outputs && strcmp(prepare->output[k].name, predict->input[i].name) != 0)
            k++;
        if (k == prepare->outputs)
            return AML_INVALID;
        context->source[i] = k;
    }
    *out = context;
    return AML_OK;
}

// Whether every class value lies in its range.
static bool classes_hold(const aml_field *field, const void *values, int64_t rows)
{
    size_t size = aml_dtype_bytes(field->tensor.dtype);
    bool is_signed = field->tensor.dtype != AML_U8 && field->tensor.dtype != AML_BOOL;
    int64_t elements = aml_shape_elements(&field->tensor.shape);
    for (int64_t i = 0; i < rows * elements; i++) {
        const char *at = (const char *)values + (size_t)i * size;
        int64_t value = is_signed && at[size - 1] & 0x80 ? -1 : 0;
        memcpy(&value, at, size);
        if (value < 0 || value >= field->tensor.classes)
            return false;
    }
    return true;
}

static void prepare_row(aml_context *context, const void *const field[], int64_t row, int64_t slot)
{
    const aml_artifact *artifact = context->artifact;
    const aml_function *prepare = &artifact->prepare, *predict = largest(artifact);
    for (int i = 0; i < prepare->inputs; i++) {
        size_t bytes = tensor_bytes(&prepare->input[i]);
        memcpy(context->prepare_input[i], (const char *)field[i] + (size_t)row * bytes, bytes);
    }
    aml_value none[8] = {0};
    aml_call call = {.arena = context->prepare_arena,
                     .input = context->prepare_input,
                     .output = context->prepare_output,
                     .scalar = none};
    prepare->run(&call);
    for (int i = 0; i < predict->inputs; i++) {
        size_t bytes = tensor_bytes(&prepare->output[context->source[i]]);
        memcpy((char *)context->predict_input[i] + (size_t)slot * bytes,
               context->prepare_output[context->source[i]], bytes);
    }
}

static void predict_chunk(aml_context *context, int size, const void *const field[], int64_t first,
                          int64_t rows, void *const output[])
{
    const aml_artifact *artifact = context->artifact;
    const aml_function *predict = &artifact->predict[size];
    int64_t batch = artifact->predict_batch[size];
    for (int64_t slot = 0; slot < batch; slot++)
        prepare_row(context, field, first + (slot < rows ? slot : rows - 1), slot);
    aml_value none[8] = {0};
    aml_call call = {.arena = context->predict_arena,
                     .input = context->predict_input,
                     .output = context->predict_output,
                     .scalar = none};
    predict->run(&call);
    for (int i = 0; i < predict->outputs; i++) {
        size_t bytes = tensor_bytes(&predict->output[i]) / (size_t)batch;
        if (output[i])
            memcpy((char *)output[i] + (size_t)first * bytes, context->predict_output[i],
                   bytes * (size_t)rows);
    }
}

aml_status aml_context_predict(aml_context *context, const void *const field[], int64_t rows,
                               void *const output[])
{
    const aml_artifact *artifact = context->artifact;
    if (rows < 0)
        return AML_INVALID;
    for (int i = 0; i < artifact->fields; i++)
        if (artifact->field[i].tensor.classes > 0 &&
            !classes_hold(&artifact->field[i], field[i], rows))
            return AML_INVALID;
    for (int64_t first = 0; first < rows;) {
        int size = artifact->predicts - 1;
        while (size > 0 && artifact->predict_batch[size] > rows - first)
            size--;
        int64_t count = artifact->predict_batch[size] < rows - first ? artifact->predict_batch[size]
                                                                     : rows - first;
        predict_chunk(context, size, field, first, count, output);
        first += count;
    }
    return AML_OK;
}

int32_t aml_artifact_outputs(const aml_artifact *artifact)
{
    return artifact->predict[0].outputs;
}

aml_tensor_info aml_artifact_output(const aml_artifact *artifact, int32_t index)
{
    aml_tensor_info info = artifact->predict[0].output[index];
    if (info.shape.rank > 0) {
        info.shape.rank--;
        memmove(info.shape.dim, info.shape.dim + 1,
                (size_t)info.shape.rank * sizeof info.shape.dim[0]);
    }
    return info;
}

const char *aml_artifact_message(aml_status status)
{
    return aml_status_meaning(status);
}
