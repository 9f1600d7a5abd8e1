// Deployed models from C: a context in any memory of the caller's, any number of rows, several
// threads.

#include <math.h>
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
    CHECK_INT(aml_context_open(&toy_artifact, memory + 7, bytes, &context), AML_LIBRARY_OK);
    for (int n = 0; n < ROWS; n++)
        CHECK_INT(aml_context_predict(context, (const void *const[]){x[n]}, 1,
                                      (void *const[]){&first[n], one[n]}),
                  AML_LIBRARY_OK);
    for (int rows = 0; rows <= ROWS; rows++) {
        memset(many, 0x7F, sizeof many);
        memset(second, 0x7F, sizeof second);
        CHECK_INT(aml_context_predict(context, (const void *const[]){x}, rows,
                                      (void *const[]){second, many}),
                  AML_LIBRARY_OK);
        CHECK(memcmp(one, many, (size_t)rows * sizeof one[0]) == 0);
        CHECK(memcmp(first, second, (size_t)rows * sizeof first[0]) == 0);
        for (int n = rows; n < ROWS; n++)
            CHECK_INT(second[n], 0x7F7F7F7F); // what was not asked for is not touched
    }
    CHECK_INT(
        aml_context_predict(context, (const void *const[]){x}, ROWS, (void *const[]){NULL, many}),
        AML_LIBRARY_OK);
    free(memory);
}

// Rows that are read where they are, results that are written where they belong: also where these
// lie in the rows, in each other, or at an odd address, which is what copies are for.
TEST(results_may_lie_anywhere)
{
    static const signed char given[] = {0, -1};
    aml_level level = toy_artifact.level[0];
    aml_artifact direct = toy_artifact;
    direct.level = &level;
    const aml_artifact *way[] = {&toy_artifact, &direct};
    level.given = given;
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes), *room = malloc(sizeof(float[ROWS][TOY_IN]) + 64);
    for (int i = 0; i < 2; i++) {
        float x[ROWS][TOY_IN], wanted[ROWS][TOY_CLASSES], other[TOY_IN];
        int32_t first[ROWS];
        const void *const from[] = {room};
        size_t size = sizeof wanted;
        aml_context *context;
        make_rows(x);
        CHECK_INT(aml_context_open(way[i], memory, bytes, &context), AML_LIBRARY_OK);
        for (int n = 0; n < ROWS; n++) {
            memcpy(other, x[n], sizeof other);
            CHECK_INT(aml_context_predict(context, (const void *const[]){other}, 1,
                                          (void *const[]){&first[n], wanted[n]}),
                      AML_LIBRARY_OK);
        }
        for (int before = 0; before < 64; before += 4) { // over the rows, and behind their begin
            memcpy(room, x, sizeof x);
            CHECK_INT(aml_context_predict(context, from, ROWS, (void *[]){NULL, room + before}),
                      AML_LIBRARY_OK);
            CHECK(memcmp(room + before, wanted, size) == 0);
        }
        char *odd = malloc(size + 1);
        memcpy(room, x, sizeof x);
        CHECK_INT(aml_context_predict(context, from, ROWS, (void *[]){NULL, odd + 1}),
                  AML_LIBRARY_OK);
        CHECK(memcmp(odd + 1, wanted, size) == 0);
        free(odd);
        // Of results in the same place the last one is what is left.
        float *both = malloc(size);
        memcpy(room, x, sizeof x);
        CHECK_INT(aml_context_predict(context, from, TOY_BATCH, (void *[]){both, both}),
                  AML_LIBRARY_OK);
        CHECK(memcmp(both, wanted, TOY_BATCH * sizeof wanted[0]) == 0);
        free(both);
    }
    free(room);
    free(memory);
}

TEST(wrong_arguments_are_refused)
{
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes);
    aml_context *context = NULL;
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes - 1, &context), AML_LIBRARY_MEMORY);
    CHECK(!context);
    CHECK_INT(aml_context_open(&toy_artifact, NULL, bytes, &context), AML_LIBRARY_NULL);
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, NULL), AML_LIBRARY_NULL);
    aml_artifact other = toy_artifact;
    other.abi = 999;
    CHECK_INT(aml_context_open(&other, memory, bytes, &context), AML_LIBRARY_VERSION);
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, &context), AML_LIBRARY_OK);
    float x[TOY_IN] = {0};
    CHECK_INT(aml_context_predict(NULL, NULL, 0, NULL), AML_LIBRARY_NULL);
    CHECK_INT(aml_context_predict(context, NULL, -1, NULL), AML_LIBRARY_ROWS);
    CHECK_TEXT(aml_context_problem(context), "rows is -1");
    CHECK_INT(aml_context_predict(context, NULL, 1, (void *[]){NULL, NULL}), AML_LIBRARY_NULL);
    CHECK_INT(aml_context_predict(context, (const void *const[]){NULL}, 1, (void *[]){NULL, NULL}),
              AML_LIBRARY_NULL);
    CHECK_TEXT(aml_context_problem(context), "x is NULL");
    CHECK_INT(
        aml_context_predict(context, (const void *const[]){x}, INT64_MAX, (void *[]){NULL, NULL}),
        AML_LIBRARY_ROWS);
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 0, (void *[]){NULL, NULL}),
              AML_LIBRARY_OK);
    CHECK_TEXT(aml_context_problem(context), "");
    for (int code = 0; code < 14; code++)
        CHECK(strlen(aml_library_message((aml_library_status)code)) > 5);
    free(memory);
}

TEST(the_best_level_is_used)
{
    static const char none[] = "avx512vp2intersect,avxifma,amx-int8"; // a machine may have them all
    aml_level levels[2] = {toy_artifact.level[0], toy_artifact.level[0]};
    levels[0].cpu_features = none;
    aml_artifact other = toy_artifact;
    other.levels = 2;
    other.level = levels;
    CHECK(aml_artifact_level(&other) == &levels[!aml_cpu_has(none)]);
    levels[0].cpu_features = levels[1].cpu_features;
    CHECK(aml_artifact_level(&other) == &levels[0]);
    levels[0].cpu_features = "sse2,hyperdrive"; // what the runtime does not know is not there
    CHECK(aml_artifact_level(&other) == &levels[1]);
    levels[0].cpu_features = levels[1].cpu_features = none;
    size_t bytes = aml_context_bytes(&other);
    char *memory = malloc(bytes);
    aml_context *context;
    if (!aml_cpu_has(none))
        CHECK_INT(aml_context_open(&other, memory, bytes, &context), AML_LIBRARY_PROCESSOR);
    free(memory);
}

TEST(numbers_that_are_none_are_found)
{
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes);
    aml_context *context;
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, &context), AML_LIBRARY_OK);
    float x[3][TOY_IN] = {{0}}, p[3][TOY_CLASSES];
    int32_t prediction[3] = {7, 7, 7};
    void *const to[] = {prediction, p};
    x[1][2] = NAN;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 3, to),
              AML_LIBRARY_NOT_FINITE);
    CHECK_TEXT(aml_context_problem(context), "x: row 1, element 2 is NaN");
    CHECK_INT(prediction[0], 7); // nothing is written
    x[1][2] = -INFINITY;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 3, to),
              AML_LIBRARY_NOT_FINITE);
    CHECK_TEXT(aml_context_problem(context), "x: row 1, element 2 is infinite");
    x[1][2] = 3e38f;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 3, to), AML_LIBRARY_OK);
    aml_artifact other = toy_artifact;
    other.missing = 1;
    CHECK_INT(aml_context_open(&other, memory, bytes, &context), AML_LIBRARY_OK);
    x[1][2] = NAN;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 3, to), AML_LIBRARY_OK);
    x[1][2] = INFINITY;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, 3, to),
              AML_LIBRARY_NOT_FINITE);
    free(memory);
}

// Wherever it is in a long array, at the end of it too.
TEST(one_number_of_many_is_found)
{
    enum { MANY = 29 };
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes);
    aml_context *context;
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, &context), AML_LIBRARY_OK);
    static float x[MANY][TOY_IN], p[MANY][TOY_CLASSES];
    int32_t prediction[MANY];
    void *const to[] = {prediction, p};
    const void *const from[] = {x};
    static const float wrong[] = {NAN, -NAN, INFINITY, -INFINITY};
    int found = 0;
    for (int i = 0; i < MANY * TOY_IN; i++) {
        float *at = &x[i / TOY_IN][i % TOY_IN];
        *at = wrong[i % 4];
        found += aml_context_predict(context, from, MANY, to) == AML_LIBRARY_NOT_FINITE;
        *at = i % 2 ? -3.4e38f : 1e-40f;
    }
    CHECK_INT(found, MANY * TOY_IN);
    CHECK_INT(aml_context_predict(context, from, MANY, to), AML_LIBRARY_OK);
    free(memory);
}

TEST(arrays_are_checked)
{
    size_t bytes = aml_context_bytes(&toy_artifact);
    char *memory = malloc(bytes);
    aml_context *context;
    CHECK_INT(aml_context_open(&toy_artifact, memory, bytes, &context), AML_LIBRARY_OK);
    float x[ROWS][TOY_IN], p[ROWS][TOY_CLASSES], expected[ROWS][TOY_CLASSES];
    make_rows(x);
    int64_t in_shape[] = {ROWS, TOY_IN}, out_shape[] = {ROWS, TOY_CLASSES}, short_shape[] = {2, 3};
    aml_array in = {"x", x, "f32", 2, in_shape}, out = {"probability", p, "f32", 2, out_shape};
    CHECK_INT(aml_context_predict(context, (const void *const[]){x}, ROWS,
                                  (void *const[]){NULL, expected}),
              AML_LIBRARY_OK);
    CHECK_INT(aml_context_predict_arrays(context, &in, 1, &out, 1), AML_LIBRARY_OK);
    CHECK(memcmp(p, expected, sizeof p) == 0);
    CHECK_INT(aml_context_predict_arrays(context, &in, 0, &out, 1), AML_LIBRARY_COUNT);
    CHECK_INT(aml_context_predict_arrays(context, NULL, 1, &out, 1), AML_LIBRARY_NULL);
    aml_array wrong = in;
    wrong.name = "z";
    CHECK_INT(aml_context_predict_arrays(context, &wrong, 1, &out, 1), AML_LIBRARY_NAME);
    CHECK_TEXT(aml_context_problem(context), "there is no input 'z'");
    wrong = in, wrong.type = "f64";
    CHECK_INT(aml_context_predict_arrays(context, &wrong, 1, &out, 1), AML_LIBRARY_TYPE);
    wrong = in, wrong.data = NULL;
    CHECK_INT(aml_context_predict_arrays(context, &wrong, 1, &out, 1), AML_LIBRARY_NULL);
    wrong = out, wrong.shape = short_shape;
    CHECK_INT(aml_context_predict_arrays(context, &in, 1, &wrong, 1), AML_LIBRARY_SHAPE);
    CHECK_TEXT(aml_context_problem(context), "probability: expected f32[37, 3], found f32[2, 3]");
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
    aml_level level = toy_artifact.level[0];
    level.prepare.inputs = 2;
    level.prepare.input = class_input;
    with_class.level = &level;
    float x[3][TOY_IN] = {{0}}, p[3][TOY_CLASSES];
    int32_t y[3] = {0, 2, 1}, prediction[3];
    char *memory = malloc(aml_context_bytes(&with_class));
    aml_context *context;
    CHECK_INT(aml_context_open(&with_class, memory, aml_context_bytes(&with_class), &context),
              AML_LIBRARY_OK);
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_LIBRARY_OK);
    y[2] = 3;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_LIBRARY_CLASS);
    y[2] = -1;
    CHECK_INT(aml_context_predict(context, (const void *const[]){x, y}, 3,
                                  (void *const[]){prediction, p}),
              AML_LIBRARY_CLASS);
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
        AML_LIBRARY_OK)
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
    RUN(results_may_lie_anywhere);
    RUN(wrong_arguments_are_refused);
    RUN(the_best_level_is_used);
    RUN(numbers_that_are_none_are_found);
    RUN(one_number_of_many_is_found);
    RUN(arrays_are_checked);
    RUN(classes_are_checked);
    RUN(outputs_are_described);
    RUN(a_context_for_each_thread);
    CHECK_SUMMARY();
}
