// Predicting with a deployed model: the part that both the executable and the shared library
// consist of.
//
// A context is one block of the caller's memory:
//
//     aml_context | arena of prepare | its inputs | its outputs | arena of predict |
//     expanded constants | its inputs | its outputs
//
// Predict exists for a few batch sizes. Rows are given to the largest that they fill; a rest that
// fills none goes to the smallest, whose last rows then repeat the last one and are thrown away.

// The code that is here writes no text with printf and allocates nothing, so that a program which
// links the library gets little more than the kernels.

#include <string.h>

#include "runtime/artifact/library.h"

struct aml_context {
    const aml_artifact *artifact;
    const aml_level *level;
    const void *weights; // of a file; NULL: they are constants of the code
    amli_problem problem;
    void *prepare_arena, *predict_arena, *constants;
    void *prepare_output[MOST_TENSORS];
    void *predict_input[MOST_TENSORS], *predict_output[MOST_TENSORS];
    int source[MOST_TENSORS]; // which output of prepare an input of predict is
    size_t field_bytes[MOST_TENSORS], result_bytes[MOST_TENSORS]; // of one row
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

static const aml_function *largest(const aml_artifact *artifact, const aml_level *level)
{
    return &level->predict[artifact->predicts - 1];
}

static size_t predict_arena(const aml_artifact *artifact, const aml_level *level)
{
    size_t most = 0;
    for (int i = 0; i < artifact->predicts; i++)
        if (level->predict[i].arena_bytes > most)
            most = level->predict[i].arena_bytes;
    return most;
}

static size_t tensors_bytes(const aml_tensor_info *tensor, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += aligned(tensor_bytes(&tensor[i]));
    return bytes;
}

static size_t level_bytes(const aml_artifact *artifact, const aml_level *level)
{
    const aml_function *prepare = &level->prepare, *predict = largest(artifact, level);
    return AML_ALIGNMENT + aligned(sizeof(aml_context)) + aligned(prepare->arena_bytes) +
           tensors_bytes(prepare->output, prepare->outputs) +
           aligned(predict_arena(artifact, level)) + aligned(level->stored_bytes) +
           tensors_bytes(predict->input, predict->inputs) +
           tensors_bytes(predict->output, predict->outputs);
}

// Enough for any level, so that the size of a context does not depend on the machine.
size_t aml_context_bytes(const aml_artifact *artifact)
{
    size_t most = 0;
    for (int i = 0; i < artifact->levels; i++) {
        size_t bytes = level_bytes(artifact, &artifact->level[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

const aml_level *aml_artifact_level(const aml_artifact *artifact)
{
    for (int i = 0; i < artifact->levels; i++)
        if (aml_cpu_has(artifact->level[i].cpu_features))
            return &artifact->level[i];
    return NULL;
}

static char *place(char *at, void *pointer[], const aml_tensor_info *tensor, int count)
{
    for (int i = 0; i < count; i++) {
        pointer[i] = at;
        at += aligned(tensor_bytes(&tensor[i]));
    }
    return at;
}

aml_library_status amli_context_open(const aml_artifact *artifact, const aml_level *level,
                                     void *memory, size_t bytes, const void *weights,
                                     size_t weights_bytes, aml_context **out)
{
    if (!out)
        return AML_LIBRARY_NULL;
    *out = NULL;
    if (!memory)
        return AML_LIBRARY_NULL;
    if (artifact->abi != AML_PROGRAM_ABI || artifact->predicts < 1)
        return AML_LIBRARY_VERSION;
    if (bytes < aml_context_bytes(artifact))
        return AML_LIBRARY_MEMORY;
    if (!level)
        return AML_LIBRARY_PROCESSOR;
    if (artifact->weights && !artifact->weights->check(artifact->weights, weights, weights_bytes))
        return AML_LIBRARY_WEIGHTS;
    const aml_function *prepare = &level->prepare, *predict = largest(artifact, level);
    if (prepare->inputs > MOST_TENSORS || prepare->outputs > MOST_TENSORS ||
        predict->inputs > MOST_TENSORS || predict->outputs > MOST_TENSORS ||
        prepare->inputs != artifact->fields)
        return AML_LIBRARY_VERSION;
    char *at = (char *)(((uintptr_t)memory + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT);
    aml_context *context = (aml_context *)(void *)at;
    memset(context, 0, sizeof *context);
    context->artifact = artifact;
    context->level = level;
    context->weights = weights;
    at += aligned(sizeof *context);
    context->prepare_arena = at;
    at += aligned(prepare->arena_bytes);
    at = place(at, context->prepare_output, prepare->output, prepare->outputs);
    context->predict_arena = at;
    at += aligned(predict_arena(artifact, level));
    context->constants = at;
    at += aligned(level->stored_bytes);
    at = place(at, context->predict_input, predict->input, predict->inputs);
    place(at, context->predict_output, predict->output, predict->outputs);
    for (int i = 0; i < predict->inputs; i++) {
        int k = 0;
        while (k < prepare->outputs && strcmp(prepare->output[k].name, predict->input[i].name) != 0)
            k++;
        if (k == prepare->outputs)
            return AML_LIBRARY_VERSION;
        context->source[i] = k;
    }
    for (int i = 0; i < prepare->inputs; i++)
        context->field_bytes[i] = tensor_bytes(&prepare->input[i]);
    for (int i = 0; i < predict->outputs; i++)
        context->result_bytes[i] = tensor_bytes(&predict->output[i]) /
                                   (size_t)artifact->predict_batch[artifact->predicts - 1];
    if (level->expand)
        level->expand(level->stored, context->constants, weights);
    *out = context;
    return AML_LIBRARY_OK;
}

aml_library_status aml_context_open(const aml_artifact *artifact, void *memory, size_t bytes,
                                    aml_context **out)
{
    return aml_context_open_with(artifact, memory, bytes, NULL, 0, out);
}

aml_library_status aml_context_open_with(const aml_artifact *artifact, void *memory, size_t bytes,
                                         const void *weights, size_t weights_bytes,
                                         aml_context **out)
{
    return amli_context_open(artifact, aml_artifact_level(artifact), memory, bytes, weights,
                             weights_bytes, out);
}

// Of a sample, what an input of predict is without being prepared; NULL: it is prepared.
static const void *given(const aml_context *context, int input, const void *const field[],
                         int64_t row)
{
    const aml_level *level = context->level;
    int output = context->source[input], k = level->given ? level->given[output] : -1;
    return k < 0 ? NULL : (const char *)field[k] + (size_t)row * context->field_bytes[k];
}

static bool meet(const void *one, size_t one_bytes, const void *other, size_t other_bytes)
{
    uintptr_t a = (uintptr_t)one, b = (uintptr_t)other;
    return a < b + other_bytes && b < a + one_bytes;
}

// Whether results can be written where the caller wants them: what is given is read while they are
// written, and results are read by what is computed from them.
static bool apart(const aml_context *context, const void *const field[], int64_t rows,
                  void *const output[])
{
    const aml_level *level = context->level;
    const aml_function *predict = largest(context->artifact, level);
    for (int i = 0; i < predict->outputs; i++) {
        size_t bytes = (size_t)rows * context->result_bytes[i];
        if (!output[i])
            continue;
        if ((uintptr_t)output[i] % aml_dtype_bytes(predict->output[i].dtype))
            return false;
        for (int k = 0; k < level->prepare.inputs; k++)
            if (meet(output[i], bytes, field[k], (size_t)rows * context->field_bytes[k]))
                return false;
        for (int k = 0; k < i; k++)
            if (output[k] &&
                meet(output[i], bytes, output[k], (size_t)rows * context->result_bytes[k]))
                return false;
    }
    return true;
}

// One of several slots is copied to its place among the others, unless that is done without.
static void prepare_row(aml_context *context, const void *const field[], int64_t row, int64_t slot,
                        int64_t slots, bool whole)
{
    const aml_level *level = context->level;
    const aml_function *prepare = &level->prepare, *predict = largest(context->artifact, level);
    void *input[MOST_TENSORS]; // read where they are
    for (int i = 0; i < prepare->inputs; i++)
        input[i] = (char *)(uintptr_t)field[i] + (size_t)row * context->field_bytes[i];
    aml_value none[8] = {0};
    aml_call call = {.arena = context->prepare_arena,
                     .input = input,
                     .output = context->prepare_output,
                     .scalar = none,
                     .weights = context->weights,
                     .constants = context->constants};
    bool runs = false;
    for (int i = 0; i < predict->inputs; i++)
        runs |= !given(context, i, field, row);
    if (runs)
        prepare->run(&call);
    for (int i = 0; i < predict->inputs && slots > 1; i++) {
        size_t bytes = tensor_bytes(&prepare->output[context->source[i]]);
        const void *from = given(context, i, field, row);
        if (!from || !whole)
            memcpy((char *)context->predict_input[i] + (size_t)slot * bytes,
                   from ? from : context->prepare_output[context->source[i]], bytes);
    }
}

// Where all rows of the batch are there, what is given is read where it is, and results are written
// where the caller wants them (`direct`): copies would take as long as a tenth of a small product.
static void predict_chunk(aml_context *context, int size, const void *const field[], int64_t first,
                          int64_t rows, void *const output[], bool direct)
{
    const aml_function *predict = &context->level->predict[size];
    int64_t batch = context->artifact->predict_batch[size];
    bool whole = rows == batch, rowwise = !whole;
    for (int i = 0; i < predict->inputs; i++)
        rowwise |= !given(context, i, field, first);
    for (int64_t slot = 0; slot < batch && rowwise; slot++)
        prepare_row(context, field, first + (slot < rows ? slot : rows - 1), slot, batch, whole);
    void *input[MOST_TENSORS], *result[MOST_TENSORS];
    for (int i = 0; i < predict->inputs; i++) {
        void *from = (void *)(uintptr_t)given(context, i, field, first);
        input[i] = whole && from ? from
                   : batch > 1   ? context->predict_input[i]
                                 : context->prepare_output[context->source[i]];
    }
    for (int i = 0; i < predict->outputs; i++)
        result[i] = output[i] && whole && direct
                        ? (char *)output[i] + (size_t)first * context->result_bytes[i]
                        : context->predict_output[i];
    aml_value none[8] = {0};
    aml_call call = {.arena = context->predict_arena,
                     .input = input,
                     .output = result,
                     .scalar = none,
                     .weights = context->weights,
                     .constants = context->constants};
    predict->run(&call);
    for (int i = 0; i < predict->outputs; i++) {
        size_t bytes = context->result_bytes[i];
        if (output[i] && result[i] == context->predict_output[i])
            memcpy((char *)output[i] + (size_t)first * bytes, result[i], bytes * (size_t)rows);
    }
}

static aml_library_status check_inputs(aml_context *context, const void *const field[],
                                       int64_t rows)
{
    const aml_artifact *artifact = context->artifact;
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *tensor = &artifact->field[i].tensor;
        aml_library_status status = amli_check_values(tensor, artifact->missing >> i & 1, field[i],
                                                      rows, &context->problem);
        if (status)
            return status;
    }
    return AML_LIBRARY_OK;
}

aml_library_status aml_context_predict(aml_context *context, const void *const field[],
                                       int64_t rows, void *const output[])
{
    if (!context)
        return AML_LIBRARY_NULL;
    const aml_artifact *artifact = context->artifact;
    amli_problem *problem = &context->problem;
    amli_problem_begin(problem);
    if (rows < 0 || rows > INT64_MAX >> 24) {
        amli_problem_number(problem, "rows is ", rows);
        return AML_LIBRARY_ROWS;
    }
    if (rows == 0)
        return AML_LIBRARY_OK;
    if (!field || !output) {
        amli_problem_text(problem, field ? "output is NULL" : "field is NULL");
        return AML_LIBRARY_NULL;
    }
    aml_library_status status = check_inputs(context, field, rows);
    if (status)
        return status;
    bool direct = apart(context, field, rows, output);
    for (int64_t first = 0; first < rows;) {
        int size = artifact->predicts - 1;
        while (size > 0 && artifact->predict_batch[size] > rows - first)
            size--;
        int64_t count = artifact->predict_batch[size] < rows - first ? artifact->predict_batch[size]
                                                                     : rows - first;
        predict_chunk(context, size, field, first, count, output, direct);
        first += count;
    }
    return AML_LIBRARY_OK;
}

const char *aml_context_problem(const aml_context *context)
{
    return context ? context->problem.text : "context is NULL";
}

const aml_artifact *amli_context_artifact(const aml_context *context)
{
    return context->artifact;
}

amli_problem *amli_context_problem(aml_context *context)
{
    return &context->problem;
}

int32_t aml_artifact_outputs(const aml_artifact *artifact)
{
    return artifact->level[0].predict[0].outputs;
}

aml_tensor_info aml_artifact_output(const aml_artifact *artifact, int32_t index)
{
    aml_tensor_info info = artifact->level[0].predict[0].output[index];
    if (info.shape.rank > 0) {
        info.shape.rank--;
        memmove(info.shape.dim, info.shape.dim + 1,
                (size_t)info.shape.rank * sizeof info.shape.dim[0]);
    }
    return info;
}

const char *aml_library_message(aml_library_status status)
{
    enum {
#define LIBRARY(NAME, code, meaning) ROW_##NAME,
#include "aml/library_status.def"
#undef LIBRARY
        ROWS
    };
#define LIBRARY(NAME, code, meaning) _Static_assert(ROW_##NAME == code, "rows are in their order");
#include "aml/library_status.def"
#undef LIBRARY
    static const char meanings[] =
#define LIBRARY(NAME, code, meaning) meaning "\0"
#include "aml/library_status.def"
#undef LIBRARY
        "no code of this library";
    return amli_listed(meanings, (unsigned)status < ROWS ? (int)status : ROWS);
}
