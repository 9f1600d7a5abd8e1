// Deployed models from C: a context in any memory of the caller's, any number of rows, several
// threads.

#include <pthread.h>
#include <stdlib.h>

#include "check.h"
#include "aml/artifact.h"
#include "toy.h"

enum { ROWS = 37 };

static void make_rows(float x[ROWS][TOY_IN])
{
    for (int n = 0; n < ROWS; n++)
        for (int i = 0; i < TOY_IN; i++)
            x[n][i] = (float)((n * 7 + i * 3) % 11) - 5;
}

TEST(rows_in_any_number_give_the_same)
{
    float x[ROWS][TOY_IN], one[ROWS][TOY_CLASSES], many[ROWS][TOY_CLASSES];
    int32_t first[ROWS], second[ROWS];
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes + 7);
    aml_context *context;
    make_rows(x);
    // at an odd address
    CHECK_INT(aml_context_open(&toy_artifact, memory + 7, bytes, &context), AML_OK);
    for (int n = 0; n < ROWS; n++)
        CHECK_INT(aml_context_predict(context, (const void *const[]){x[n]}, 1,
                                      (void *const[]){&first[n], one[n]}),
                  AML_OK);
    for (int rows = 0; rows <= ROWS; rows++) {
        memset(many, 0x7F, sizeof many);
        memset(second, 0x7F, sizeof second);
        CHECK_INT(aml_context_predict(context, (const void *const[]){x}, rows,
                                      (void *const[]){second, many}),
                  AML_OK);
        CHECK(memcmp(one, many, (size_t)rows * sizeof one[0]) == 0);
        CHECK(memcmp(first, second, (size_t)rows * sizeof first[0]) == 0);
        for (int n = rows; n < ROWS; n++)
            CHECK_INT(second[n], 0x7F7F7F7F); // what was not asked for is not touched
    }
    CHECK_INT(
        aml_context_predict(context, (const void *const[]){x}, ROWS, (void *const[]){NULL, many}),
        AML_OK);
    free(memory);
}

TEST(wrong_arguments_are_refused)
{
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes);
    aml_context *context = NULL;
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes - 1, &context), AML_INVALID);
    CHECK(!context);
    CHECK_INT(aml_context_open(&toy_artifact, NULL, bytes, &context), AML_INVALID);
    aml_artifact other = toy_artifact;
    other.abi = 999;
    CHECK_INT(aml_context_open(&other, memory, bytes, &context), AML_INVALID);
    other = toy_artifact;
    other.cpu_features = "sse2,avx512vp2intersect,amx-int8,avxifma";
    aml_status status = aml_context_open(&other, memory, bytes, &context);
    CHECK(status == AML_BAD_CPU || status == AML_OK); // a machine may have them all
    other.cpu_features = "sse2,a-feature-of-later";   // what is not known is not there
    CHECK_INT(aml_context_open(&other, memory, bytes, &context), AML_BAD_CPU);
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, &context), AML_OK);
    CHECK_INT(aml_context_predict(context, NULL, -1, NULL), AML_INVALID);
    CHECK(strlen(aml_artifact_message(AML_INVALID)) > 5);
    free(memory);
}

static const aml_field class_field[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {TOY_IN}}}, .count = TOY_IN},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = TOY_CLASSES},
     .first = TOY_IN,
     .count = 1}};
static const aml_tensor_info class_input[] = {
    {.name = "x", .dtype = AML_F32, .shape = {1, {TOY_IN}}}, {.name = "y", .dtype = AML_I32}};

TEST(classes_are_checked)
{
    aml_artifact with_class = toy_artifact;
    with_class.fields = 2;
    with_class.field = class_field;
    with_class.prepare.inputs = 2;
    with_class.prepare.input = class_input;
    float x[3][TOY_IN] = {{0}}, p[3][TOY_CLASSES];
    int32_t y[3] = {0, 2, 1}, prediction[3];
    char *memory = malloc(aml_context_bytes(&with_class));
    aml_context *context;
    CHECK_INT(aml_context_open(&with_class, memory, aml_context_bytes(&with_class), &context),
              AML_OK);
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_OK);
    y[2] = 3;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_INVALID);
    y[2] = -1;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_INVALID);
    free(memory);
}

TEST(outputs_are_described)
{
    CHECK_INT(aml_artifact_outputs(&toy_artifact), 2);
    aml_tensor_info info = aml_artifact_output(&toy_artifact, 1);
    CHECK_TEXT(info.name, "probability");
    CHECK_INT(info.shape.rank, 1);
    CHECK_INT(info.shape.dim[0], TOY_CLASSES);
    CHECK_INT(aml_artifact_output(&toy_artifact, 0).shape.rank, 0);
}

static void *predict_many(void *result)
{
    float x[ROWS][TOY_IN], p[ROWS][TOY_CLASSES];
    int32_t prediction[ROWS];
    char *memory = malloc(aml_context_bytes(&toy_artifact));
    aml_context *context;
    make_rows(x);
    *(double *)result = -1;
    if (aml_context_open(&toy_artifact, memory, aml_context_bytes(&toy_artifact), &context) ==
        AML_OK)
        for (int i = 0; i < 500; i++) {
            aml_context_predict(context, (const void *const[]){x}, ROWS,
                                (void *const[]){prediction, p});
            double sum = 0;
            for (int n = 0; n < ROWS; n++)
                sum += (double)p[n][1] * (n + 1);
            *(double *)result = i && sum != *(double *)result ? -2 : sum;
        }
    free(memory);
    return NULL;
}

TEST(a_context_for_each_thread)
{
    pthread_t thread[4];
    double result[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, predict_many, &result[i]) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++)
        CHECK(result[i] > 0 && result[i] == result[0]);
}

int main(void)
{
    RUN(rows_in_any_number_give_the_same);
    RUN(wrong_arguments_are_refused);
    RUN(classes_are_checked);
    RUN(outputs_are_described);
    RUN(a_context_for_each_thread);
    CHECK_SUMMARY();
}
