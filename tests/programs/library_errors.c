// What the library of digits_f32 answers to wrong calls: a code each, and a sentence that names the
// place. Nothing else: the test runs this under valgrind as well.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits_f32.h"

static int wrong;

static void expect(int found, int code, const digits_f32_context *context, const char *problem)
{
    if (found == code && (!problem || strcmp(digits_f32_problem(context), problem) == 0))
        return;
    fprintf(stderr, "found %d (%s: %s), expected %d (%s)\n", found, digits_f32_message(found),
            digits_f32_problem(context), code, problem ? problem : "");
    wrong++;
}

int main(void)
{
    size_t bytes = digits_f32_context_bytes();
    void *memory = malloc(bytes);
    digits_f32_context *context = NULL;
    float x[2 * 64] = {0}, probability[2 * 10];
    int32_t prediction[2] = {7, 7};

    expect(digits_f32_init(NULL, bytes, &context), DIGITS_F32_NULL, NULL, NULL);
    expect(digits_f32_init(memory, bytes, NULL), DIGITS_F32_NULL, NULL, NULL);
    expect(digits_f32_init(memory, bytes - 1, &context), DIGITS_F32_MEMORY, NULL, NULL);
    expect(digits_f32_init(memory, bytes, &context), DIGITS_F32_OK, NULL, NULL);
    expect(digits_f32_predict(NULL, 1, x, prediction, probability), DIGITS_F32_NULL, NULL,
           "context is NULL");
    expect(digits_f32_predict(context, -2, x, prediction, probability), DIGITS_F32_ROWS, context,
           "rows is -2");
    expect(digits_f32_predict(context, INT64_MAX, x, prediction, probability), DIGITS_F32_ROWS,
           context, NULL);
    expect(digits_f32_predict(context, 1, NULL, prediction, probability), DIGITS_F32_NULL, context,
           "x is NULL");
    expect(digits_f32_predict(context, 0, NULL, NULL, NULL), DIGITS_F32_OK, context, "");
    x[64 + 3] = NAN;
    expect(digits_f32_predict(context, 2, x, prediction, probability), DIGITS_F32_NOT_FINITE,
           context, "x: row 1, element 3 is NaN");
    x[64 + 3] = INFINITY;
    expect(digits_f32_predict(context, 2, x, prediction, probability), DIGITS_F32_NOT_FINITE,
           context, "x: row 1, element 3 is infinite");
    if (prediction[0] != 7)
        wrong++, fprintf(stderr, "something was written\n");
    x[64 + 3] = 3;
    expect(digits_f32_predict(context, 2, x, prediction, NULL), DIGITS_F32_OK, context, "");

    int64_t in[] = {2, 64}, out[] = {2, 10}, transposed[] = {64, 2}, one[] = {1, 10};
    digits_f32_array input = {"x", x, "f32", 2, in},
                     output = {"probability", probability, "f32", 2, out};
    expect(digits_f32_predict_arrays(context, &input, 1, &output, 1), DIGITS_F32_OK, context, "");
    expect(digits_f32_predict_arrays(context, &input, 2, &output, 1), DIGITS_F32_COUNT, context,
           "the model has 1 inputs, found 2");
    expect(digits_f32_predict_arrays(context, NULL, 1, &output, 1), DIGITS_F32_NULL, context,
           "input is NULL");
    digits_f32_array other = input;
    other.name = "image";
    expect(digits_f32_predict_arrays(context, &other, 1, &output, 1), DIGITS_F32_NAME, context,
           "there is no input 'image'");
    other = input, other.type = "f64";
    expect(digits_f32_predict_arrays(context, &other, 1, &output, 1), DIGITS_F32_TYPE, context,
           "x: expected f32[2, 64], found f64[2, 64]");
    other = input, other.shape = transposed;
    expect(digits_f32_predict_arrays(context, &other, 1, &output, 1), DIGITS_F32_SHAPE, context,
           "x: expected f32[64, 64], found f32[64, 2]");
    other = input, other.rank = 1;
    expect(digits_f32_predict_arrays(context, &other, 1, &output, 1), DIGITS_F32_SHAPE, context,
           NULL);
    other = output, other.shape = one;
    expect(digits_f32_predict_arrays(context, &input, 1, &other, 1), DIGITS_F32_SHAPE, context,
           "probability: expected f32[2, 10], found f32[1, 10]");
    other = output, other.data = NULL;
    expect(digits_f32_predict_arrays(context, &input, 1, &other, 1), DIGITS_F32_NULL, context,
           "probability: data is NULL");

    const digits_f32_info *info = digits_f32_describe();
    if (info->inputs != 1 || info->outputs != 2 || strcmp(info->input[0].name, "x") != 0 ||
        info->input[0].shape[0] != 64 || strcmp(info->output[1].type, "f32") != 0 ||
        info->output[0].classes != 10)
        wrong++, fprintf(stderr, "the description is wrong\n");
    free(memory);
    return wrong ? 1 : 0;
}
