// What a deployed program is given: any bytes as rows, as lines of text, as an array of NumPy or as
// a picture give predictions or an error that says where. The first byte says which program it is.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/artifact/serving.h"

enum { SIDE = 6, BATCH = 4 };

// Predicts the sum of its numbers.
static void sum_reals(const aml_call *call, int rows)
{
    for (int n = 0; n < rows; n++) {
        const float *x = (const float *)call->input[0] + 3 * n;
        ((float *)call->output[0])[n] = x[0] + x[1] + x[2];
    }
}
static void reals_one(const aml_call *call)
{
    sum_reals(call, 1);
}
static void reals_many(const aml_call *call)
{
    sum_reals(call, BATCH);
}
static void reals_prepare(const aml_call *call)
{
    memcpy(call->output[0], call->input[0], 3 * sizeof(float));
}

static void sum_pixels(const aml_call *call)
{
    int32_t sum = 0;
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        sum += ((const uint8_t *)call->input[0])[i];
    *(int32_t *)call->output[0] = sum % 2;
}
static void pixels_prepare(const aml_call *call)
{
    memcpy(call->output[0], call->input[0], SIDE * SIDE * 3);
}

#define REALS(...)                                                                                 \
    {                                                                                              \
        .name = "x", .dtype = AML_F32, .shape = __VA_ARGS__                                        \
    }
#define PIXELS(...)                                                                                \
    {                                                                                              \
        .name = "x", .dtype = AML_U8, .shape = __VA_ARGS__                                         \
    }
static const aml_tensor_info reals_raw[] = {REALS({1, {3}})}, reals_in[] = {REALS({2, {1, 3}})},
                             reals_in_many[] = {REALS({2, {BATCH, 3}})},
                             pixels_raw[] = {PIXELS({3, {SIDE, SIDE, 3}})},
                             pixels_in[] = {PIXELS({4, {1, SIDE, SIDE, 3}})};
static const aml_tensor_info sum_one[] = {{.name = "prediction",
                                           .dtype = AML_F32,
                                           .shape = {1, {1}}}},
                             sum_many[] = {
                                 {.name = "prediction", .dtype = AML_F32, .shape = {1, {BATCH}}}};
static const char *const names[] = {"even, or so", "\"odd\""};
static const aml_tensor_info odd[] = {
    {.name = "prediction", .dtype = AML_I32, .shape = {1, {1}}, .classes = 2, .class_name = names}};
#define FUNCTION(code, in, out)                                                                    \
    {                                                                                              \
        .run = code, .inputs = 1, .outputs = 1, .input = in, .output = out                         \
    }

static const int64_t sizes[] = {1, BATCH};
static const aml_function reals_predict[] = {FUNCTION(reals_one, reals_in, sum_one),
                                             FUNCTION(reals_many, reals_in_many, sum_many)},
                          pixels_predict[] = {FUNCTION(sum_pixels, pixels_in, odd)};
static const aml_level reals_level[] = {{.cpu_level = "any",
                                         .cpu_features = "",
                                         .prepare = FUNCTION(reals_prepare, reals_raw, reals_raw),
                                         .predict = reals_predict}},
                       pixels_level[] = {
                           {.cpu_level = "any",
                            .cpu_features = "",
                            .prepare = FUNCTION(pixels_prepare, pixels_raw, pixels_raw),
                            .predict = pixels_predict}};
static const aml_field reals_field[] = {{.tensor = REALS({1, {3}}), .count = 3}},
                       pixels_field[] = {
                           {.tensor = PIXELS({3, {SIDE, SIDE, 3}}), .count = SIDE * SIDE * 3}};
static const struct amli_file_reader *const arrays[] = {&amli_npy_files}, *const pictures[] = {
                                                                              &amli_picture_files};
static const aml_artifact programs[] = {{.abi = AML_PROGRAM_ABI,
                                         .name = "reals",
                                         .levels = 1,
                                         .level = reals_level,
                                         .fields = 1,
                                         .field = reals_field,
                                         .separator = ',',
                                         .header = AML_HEADER_AUTO,
                                         .predicts = 2,
                                         .predict_batch = sizes,
                                         .readers = 1,
                                         .reader = arrays},
                                        {.abi = AML_PROGRAM_ABI,
                                         .name = "pixels",
                                         .levels = 1,
                                         .level = pixels_level,
                                         .fields = 1,
                                         .field = pixels_field,
                                         .separator = ';',
                                         .header = AML_HEADER_NO,
                                         .predicts = 1,
                                         .predict_batch = sizes,
                                         .readers = 1,
                                         .reader = pictures,
                                         .background = 255,
                                         .most_pixels = 1 << 16}};

static void serve(const aml_artifact *artifact, int file, bool json, FILE *out)
{
    static amli_serving serving[2]; // the block is mapped once for each program
    amli_serving *own = &serving[artifact == &programs[1]];
    aml_error error = {0};
    char path[32];
    if (!own->artifact && amli_serving_open(artifact, NULL, NULL, own, &error) != AML_OK)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    aml_status status = amli_serve_file(own, path, out, (amli_serve_form){.json = json}, &error);
    if (status && (!error.text[0] || !strstr(error.text, path)))
        abort(); // an error says which file it is about
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *out;
    int file = memfd_create("input", MFD_CLOEXEC);
    if (!out)
        out = fopen("/dev/null", "we");
    if (!size || file < 0 || !out || write(file, data + 1, size - 1) != (ssize_t)(size - 1)) {
        if (file >= 0)
            close(file);
        return 0;
    }
    serve(&programs[data[0] & 1], file, data[0] & 2, out);
    close(file);
    return 0;
}
