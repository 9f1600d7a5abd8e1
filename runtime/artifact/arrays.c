// Inputs and outputs of a deployed library by name, with type and shape: for callers that do not
// know the model when they are compiled.

#include <string.h>

#include "runtime/artifact/library.h"

static const char *const dtype_name[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) [AML_##NAME] = #name,
#include "dtypes.def"
#undef DTYPE
};

static void tell_shape(amli_problem *problem, const char *type, int32_t rank, const int64_t *shape)
{
    amli_problem_text(problem, type);
    for (int32_t i = 0; i < rank; i++)
        amli_problem_number(problem, i ? ", " : "[", shape[i]);
    amli_problem_text(problem, rank ? "]" : "");
}

// `rows` is -1 until the first array tells it.
static aml_library_status check_array(const aml_array *array, const aml_tensor_info *tensor,
                                      int64_t *rows, amli_problem *problem)
{
    if (!array->type || !array->shape || !array->data) {
        amli_problem_text(problem, tensor->name);
        amli_problem_text(problem, !array->data    ? ": data is NULL"
                                   : !array->shape ? ": shape is NULL"
                                                   : ": type is NULL");
        return AML_LIBRARY_NULL;
    }
    bool type = strcmp(array->type, dtype_name[tensor->dtype]) == 0,
         shape = array->rank == tensor->shape.rank + 1 && array->shape[0] >= 0 &&
                 (*rows < 0 || array->shape[0] == *rows);
    int64_t expected[AML_MAX_RANK + 1];
    for (int i = 0; i < tensor->shape.rank; i++) {
        expected[i + 1] = tensor->shape.dim[i];
        shape = shape && array->shape[i + 1] == expected[i + 1];
    }
    if (type && shape) {
        *rows = array->shape[0];
        return AML_LIBRARY_OK;
    }
    expected[0] = *rows < 0 ? array->rank > 0 && array->shape[0] >= 0 ? array->shape[0] : 1 : *rows;
    amli_problem_text(problem, tensor->name);
    amli_problem_text(problem, ": expected ");
    tell_shape(problem, dtype_name[tensor->dtype], tensor->shape.rank + 1, expected);
    amli_problem_text(problem, ", found ");
    tell_shape(problem, array->type, array->rank, array->shape);
    return type ? AML_LIBRARY_SHAPE : AML_LIBRARY_TYPE;
}

static aml_library_status unknown_name(const aml_array *array, const char *kind,
                                       amli_problem *problem)
{
    if (!array->name) {
        amli_problem_text(problem, "an array has no name");
        return AML_LIBRARY_NULL;
    }
    amli_problem_text(problem, "there is no ");
    amli_problem_text(problem, kind);
    amli_problem_text(problem, " '");
    amli_problem_text(problem, array->name);
    amli_problem_text(problem, "'");
    return AML_LIBRARY_NAME;
}

static aml_library_status take_inputs(aml_context *context, const aml_array input[], int32_t inputs,
                                      const void *field[], int64_t *rows)
{
    const aml_artifact *artifact = amli_context_artifact(context);
    amli_problem *problem = amli_context_problem(context);
    if (inputs != artifact->fields) {
        amli_problem_number(problem, "the model has ", artifact->fields);
        amli_problem_number(problem, " inputs, found ", inputs);
        return AML_LIBRARY_COUNT;
    }
    for (int32_t i = 0; i < inputs; i++) {
        int k = 0;
        while (k < artifact->fields &&
               (!input[i].name || strcmp(artifact->field[k].tensor.name, input[i].name) != 0))
            k++;
        if (k == artifact->fields)
            return unknown_name(&input[i], "input", problem);
        if (field[k]) {
            amli_problem_text(problem, input[i].name);
            amli_problem_text(problem, " is given twice");
            return AML_LIBRARY_NAME;
        }
        aml_library_status status =
            check_array(&input[i], &artifact->field[k].tensor, rows, problem);
        if (status)
            return status;
        field[k] = input[i].data;
    }
    return AML_LIBRARY_OK;
}

aml_library_status aml_context_predict_arrays(aml_context *context, const aml_array input[],
                                              int32_t inputs, const aml_array output[],
                                              int32_t outputs)
{
    if (!context)
        return AML_LIBRARY_NULL;
    const aml_artifact *artifact = amli_context_artifact(context);
    amli_problem *problem = amli_context_problem(context);
    const void *field[MOST_TENSORS] = {0};
    void *to[MOST_TENSORS] = {0};
    int64_t rows = -1;
    amli_problem_begin(problem);
    if ((!input && inputs) || (!output && outputs)) {
        amli_problem_text(problem, input ? "output is NULL" : "input is NULL");
        return AML_LIBRARY_NULL;
    }
    aml_library_status status = take_inputs(context, input, inputs, field, &rows);
    for (int32_t i = 0; i < outputs && !status; i++) {
        int32_t k = 0, count = aml_artifact_outputs(artifact);
        aml_tensor_info info = {0};
        for (; k < count; k++) {
            info = aml_artifact_output(artifact, k);
            if (output[i].name && strcmp(info.name, output[i].name) == 0)
                break;
        }
        if (k == count)
            return unknown_name(&output[i], "output", problem);
        status = check_array(&output[i], &info, &rows, problem);
        to[k] = output[i].data;
    }
    return status ? status : aml_context_predict(context, field, rows < 0 ? 0 : rows, to);
}
