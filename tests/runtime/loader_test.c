// Rows that a source gives on demand, and batches that are made ahead of the training.

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#include "runtime/data/source.h"

// ---- a kind of source: row r is a picture of WIDTH numbers that begin with 10 r, and the class r
// % 3

enum { ROWS = 40, WIDTH = 6, BAD = 17, CLASSES = 3 };

static _Atomic int decoded;
static bool has_bad;

static aml_status open_numbers(amli_reading *reading, aml_error *error)
{
    (void)error;
    reading->on_demand[0] = true;
    return AML_OK;
}

static int64_t rows_of_numbers(const amli_reading *reading)
{
    return reading->source->rows;
}

static amli_row number_row(const amli_reading *reading, void *own, int64_t row, void *const to[],
                           aml_error *error)
{
    (void)reading;
    if (to[0]) {
        decoded++;
        *(int *)own += 1;
        if (has_bad && row % BAD == BAD - 1) {
            amli_fail(error, AML_BAD_DATA, "row %lld: expected numbers, found none",
                      (long long)row);
            return AMLI_ROW_BAD;
        }
        for (int i = 0; i < WIDTH; i++)
            ((float *)to[0])[i] = (float)(10 * row + i);
    }
    int32_t class = (int32_t)(row % CLASSES);
    if (to[1])
        memcpy(to[1], &class, sizeof class);
    return AMLI_ROW_READ;
}

static void *new_count(const amli_reading *reading)
{
    (void)reading;
    return calloc(1, sizeof(int));
}

static void close_numbers(amli_reading *reading)
{
    (void)reading;
}

static const amli_source_kind numbers = {.name = "numbers",
                                         .open = open_numbers,
                                         .close = close_numbers,
                                         .rows = rows_of_numbers,
                                         .at = number_row,
                                         .thread_new = new_count,
                                         .thread_free = free};

// ---- a data set of them

static void keep(const aml_call *call)
{
    memcpy(call->output[0], call->input[0], WIDTH * sizeof(float));
    memcpy(call->output[1], call->input[1], sizeof(int32_t));
}

// Adds the sample's position and the step's scalar, so that both can be seen.
static void shift(const aml_call *call)
{
    for (int i = 0; i < WIDTH; i++)
        ((float *)call->output[0])[i] = ((float *)call->input[0])[i] +
                                        (float)call->scalar[0].whole * 1000 +
                                        (float)call->scalar[1].whole * 100000;
    memcpy(call->output[1], call->input[1], sizeof(int32_t));
}

static const aml_tensor_info field_info[] = {{.name = "x", .dtype = AML_F32, .shape = {1, {WIDTH}}},
                                             {.name = "y", .dtype = AML_I32, .classes = CLASSES}};
static const aml_scalar_info scalar_info[] = {{.kind = AML_SCALAR_SAMPLE, .dtype = AML_I64},
                                              {.kind = AML_SCALAR_STEP, .dtype = AML_I64}};
static const aml_field field[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {WIDTH}}}, .count = WIDTH},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = CLASSES}, .count = 1}};

static aml_dataset make_dataset(bool cached, aml_on_bad on_bad)
{
    return (aml_dataset){.name = "numbers",
                         .place = "test.aml:1",
                         .fields = 2,
                         .field = field,
                         .on_bad = on_bad,
                         .skip_limit = 0.5,
                         .split = {.train = 1, .stratify = 1},
                         .source = {.kind = AML_SOURCE_SYNTHETIC,
                                    .reader = &numbers,
                                    .place = "test.aml:2",
                                    .rows = ROWS,
                                    .cache_bytes = cached ? 1 << 20 : 0},
                         .prepare = {.name = "prepare",
                                     .run = keep,
                                     .inputs = 2,
                                     .outputs = 2,
                                     .input = field_info,
                                     .output = field_info},
                         .augment = {.name = "augment",
                                     .run = shift,
                                     .inputs = 2,
                                     .outputs = 2,
                                     .scalars = 2,
                                     .input = field_info,
                                     .output = field_info,
                                     .scalar = scalar_info}};
}

static aml_status set_scalars(void *self, int64_t step, aml_value scalar[], aml_error *error)
{
    (void)self, (void)error;
    scalar[1].whole = step;
    return AML_OK;
}

enum { BATCH = 7, STEPS = 20 };

// All batches of steps first..STEPS, one after the other; the status of the last one.
static aml_status take_all(const aml_dataset *dataset, int threads, int64_t first, float *x,
                           int32_t *y, aml_error *error)
{
    amli_samples *samples;
    amli_load how = {.source_dir = "."};
    aml_status status = amli_samples_load(dataset, &how, 1, &samples, error);
    if (status)
        return status;
    amli_sampler sampler;
    amli_loader *loader = NULL;
    const bool wanted[] = {true, true};
    const amli_split *split = &samples->split;
    status = amli_sampler_new(split->row[AML_PART_TRAIN], split->rows[AML_PART_TRAIN],
                              split->offsets, 42, &sampler, error);
    amli_batches batches = {.sampler = &sampler,
                            .count = BATCH,
                            .first = first,
                            .augments = true,
                            .wanted = wanted,
                            .scalars = set_scalars};
    if (!status)
        status = amli_loader_new(samples, &batches, threads, &loader, error);
    for (int64_t step = first; step < STEPS && !status; step++) {
        void *to[] = {x + (step - first) * BATCH * WIDTH, y + (step - first) * BATCH};
        status = amli_loader_take(loader, STEPS, to, error);
    }
    amli_loader_free(loader);
    amli_sampler_free(&sampler);
    amli_samples_free(samples);
    return status;
}

static float x_first[STEPS * BATCH * WIDTH], x_again[STEPS * BATCH * WIDTH];
static int32_t y_first[STEPS * BATCH], y_again[STEPS * BATCH];

TEST(threads_change_nothing)
{
    has_bad = false;
    const aml_dataset plain = make_dataset(false, AML_ON_BAD_ERROR),
                      cached = make_dataset(true, AML_ON_BAD_ERROR);
    CHECK(take_all(&plain, 0, 0, x_first, y_first, NULL) == AML_OK);
    for (int i = 0; i < STEPS * BATCH; i++) {
        int row = (int)x_first[i * WIDTH] % 1000 / 10;
        CHECK_INT(y_first[i], row % CLASSES);
        CHECK_INT((int64_t)x_first[i * WIDTH + 1],
                  10 * row + 1 + 1000 * (int64_t)i + 100000 * (int64_t)(i / BATCH));
    }
    static const int threads[] = {1, 2, 5};
    for (size_t t = 0; t < AMLI_COUNT(threads); t++) {
        CHECK(take_all(t == 1 ? &cached : &plain, threads[t], 0, x_again, y_again, NULL) == AML_OK);
        CHECK(memcmp(x_first, x_again, sizeof x_first) == 0);
        CHECK(memcmp(y_first, y_again, sizeof y_first) == 0);
    }
}

TEST(a_loader_begins_anywhere)
{
    const aml_dataset plain = make_dataset(false, AML_ON_BAD_ERROR);
    CHECK(take_all(&plain, 2, 0, x_first, y_first, NULL) == AML_OK);
    CHECK(take_all(&plain, 3, 11, x_again, y_again, NULL) == AML_OK);
    CHECK(memcmp(x_first + 11 * BATCH * WIDTH, x_again, (STEPS - 11) * BATCH * WIDTH * 4) == 0);
    CHECK(memcmp(y_first + 11 * BATCH, y_again, (STEPS - 11) * BATCH * 4) == 0);
}

TEST(the_cache_decodes_once)
{
    const aml_dataset plain = make_dataset(false, AML_ON_BAD_ERROR),
                      cached = make_dataset(true, AML_ON_BAD_ERROR);
    decoded = 0;
    CHECK(take_all(&plain, 1, 0, x_again, y_again, NULL) == AML_OK);
    CHECK_INT(decoded, STEPS * BATCH);
    decoded = 0;
    CHECK(take_all(&cached, 0, 0, x_again, y_again, NULL) == AML_OK);
    CHECK_INT(decoded, ROWS);
}

TEST(the_first_bad_sample_is_told)
{
    has_bad = true;
    aml_error one = {0}, many = {0};
    const aml_dataset plain = make_dataset(false, AML_ON_BAD_ERROR);
    CHECK(take_all(&plain, 0, 0, x_again, y_again, &one) == AML_BAD_DATA);
    CHECK(strstr(one.text, "expected numbers, found none"));
    for (int i = 0; i < 10; i++) {
        CHECK(take_all(&plain, 4, 0, x_again, y_again, &many) == AML_BAD_DATA);
        CHECK_TEXT(many.text, one.text);
    }
    has_bad = false;
}

TEST(bad_rows_are_passed_over)
{
    has_bad = true;
    const aml_dataset skipping = make_dataset(true, AML_ON_BAD_SKIP);
    amli_load how = {.source_dir = "."};
    amli_table *table;
    amli_fetch fetch;
    CHECK(amli_table_load(&skipping, &how, &table, NULL) == AML_OK);
    CHECK_INT(table->bad, 2);
    CHECK_INT(table->rows, ROWS - 2);
    CHECK(amli_fetch_new(table, &fetch, NULL) == AML_OK);
    for (int64_t row = 0; row < table->rows; row++) {
        const void *in[2];
        CHECK(amli_fetch_sample(&fetch, row, in, NULL) == AML_OK);
        int expected = (int)(row + (row >= BAD - 1) + (row >= 2 * BAD - 2));
        CHECK_INT(*(const float *)in[0], 10 * expected);
        CHECK_INT(*(const int32_t *)in[1], expected % CLASSES);
    }
    amli_fetch_free(&fetch);
    amli_table_free(table);
    CHECK(take_all(&skipping, 2, 0, x_again, y_again, NULL) == AML_OK);
    has_bad = false;
}

// Windows of rows: as many as they reach over are decoded, or taken from the cache.
TEST(windows_of_rows_on_demand)
{
    enum { WINDOW = 3 };
    static const aml_field wide[] = {
        {.tensor = {.name = "x", .dtype = AML_F32, .shape = {2, {WINDOW, WIDTH}}}, .count = WIDTH},
        {.tensor = {.name = "y", .dtype = AML_I32, .shape = {1, {WINDOW}}, .classes = CLASSES},
         .count = 1}};
    for (int cached = 0; cached < 2; cached++) {
        aml_dataset dataset = make_dataset(cached, AML_ON_BAD_ERROR);
        dataset.window = WINDOW;
        dataset.stride = 2;
        dataset.field = wide;
        amli_load how = {.source_dir = "."};
        amli_table *table;
        amli_fetch fetch;
        CHECK(amli_table_load(&dataset, &how, &table, NULL) == AML_OK);
        CHECK_INT(table->rows, (ROWS - WINDOW) / 2 + 1);
        CHECK(amli_fetch_new(table, &fetch, NULL) == AML_OK);
        for (int64_t row = table->rows - 1; row >= 0; row--) {
            const void *in[2];
            CHECK(amli_fetch_sample(&fetch, row, in, NULL) == AML_OK);
            for (int k = 0; k < WINDOW; k++) {
                CHECK_INT(((const float *)in[0])[k * WIDTH + 2], 10 * (2 * row + k) + 2);
                CHECK_INT(((const int32_t *)in[1])[k], (2 * row + k) % CLASSES);
            }
        }
        amli_fetch_free(&fetch);
        amli_table_free(table);
    }
}

int main(void)
{
    RUN(threads_change_nothing);
    RUN(a_loader_begins_anywhere);
    RUN(the_cache_decodes_once);
    RUN(the_first_bad_sample_is_told);
    RUN(bad_rows_are_passed_over);
    RUN(windows_of_rows_on_demand);
    CHECK_SUMMARY();
}
