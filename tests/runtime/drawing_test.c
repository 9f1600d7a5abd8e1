// How training samples are drawn: counts of an epoch, frequencies, samples between two, ranks.

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "runtime/data/drawing.h"
#include "runtime/golden_smote.h"

static float x[ROWS][SIZE], w[ROWS];
static int32_t y[ROWS];
static int64_t all_rows[ROWS];

static const aml_tensor_info outputs[] = {
    {.name = "x", .dtype = AML_F32, .shape = {.rank = 1, .dim = {SIZE}}},
    {.name = "y", .dtype = AML_I32, .classes = CLASSES + 1}, // one class has no rows
    {.name = "w", .dtype = AML_F32}};
static const aml_dataset dataset = {.name = "made", .prepare = {.outputs = 3, .output = outputs}};
static char *column[] = {(char *)x, (char *)y, (char *)w};
static size_t row_bytes[] = {sizeof x[0], sizeof y[0], sizeof w[0]};

static amli_samples samples_of_formulas(void)
{
    for (int i = 0; i < ROWS; i++) {
        y[i] = i % 9 == 4 ? 2 : i % 3 == 1 ? 0 : 1;
        for (int k = 0; k < SIZE; k++)
            x[i][k] = (float)(i * (7 + 4 * k) % 31 - 15) / 8;
        w[i] = (float)(i % 5);
        all_rows[i] = i;
    }
    return (amli_samples){.dataset = &dataset,
                          .rows = ROWS,
                          .outputs = 3,
                          .column = column,
                          .row_bytes = row_bytes,
                          .split = {.rows = {ROWS, ROWS}, .row = {all_rows, all_rows}}};
}

static void drop(amli_samples *samples)
{
    amli_drawing_free(samples->drawing);
    free(samples->blend);
}

static amli_sampler sampler_of(amli_samples *samples, const aml_sampling *how, int64_t seed)
{
    amli_sampler sampler = {0};
    if (amli_samples_draw(samples, how, seed, NULL, NULL) ||
        amli_sampler_new(all_rows, ROWS, 1, seed, &sampler, NULL) ||
        amli_sampler_draw(&sampler, samples->drawing, NULL))
        sampler.count = -1;
    return sampler;
}

static const int class_rows[CLASSES] = {20, 60, 10};

TEST(balanced_draws_take_all_classes_equally_often)
{
    enum { DRAWS = 90000 };
    const aml_sampling how = {.kind = AML_SAMPLING_BALANCED, .by = "y"};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, 3);
    static int64_t row[DRAWS], again[10];
    int count[CLASSES] = {0}, of_row[ROWS] = {0};
    CHECK_INT(sampler.count, ROWS);
    amli_sampler_pick(&sampler, 0, DRAWS, row);
    for (int i = 0; i < DRAWS; i++) {
        count[y[row[i]]]++;
        of_row[row[i]]++;
    }
    for (int k = 0; k < CLASSES; k++)
        CHECK_CLOSE(count[k], DRAWS / CLASSES, 4 * sqrt(DRAWS * 2.0 / 9));
    for (int i = 0; i < ROWS; i++) { // each row of a class as often as the others: 4.5 deviations
        double expected = (double)DRAWS / CLASSES / class_rows[y[i]];
        CHECK_CLOSE(of_row[i], expected, 4.5 * sqrt(expected));
    }
    amli_sampler_pick(&sampler, 70000, 10, again); // any place of the stream, without the rest
    CHECK(memcmp(again, row + 70000, sizeof again) == 0);
    amli_sampler_free(&sampler);
    drop(&samples);
}

TEST(weighted_draws_follow_the_weights)
{
    enum { DRAWS = 90000 };
    const aml_sampling how = {.kind = AML_SAMPLING_WEIGHTED, .by = "w"};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, 3);
    static int64_t row[DRAWS];
    int of_row[ROWS] = {0};
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        sum += w[i];
    amli_sampler_pick(&sampler, 0, DRAWS, row);
    for (int i = 0; i < DRAWS; i++)
        of_row[row[i]]++;
    for (int i = 0; i < ROWS; i++) {
        double expected = DRAWS * w[i] / sum;
        CHECK_CLOSE(of_row[i], expected, 4.5 * sqrt(expected));
    }
    amli_sampler_free(&sampler);
    drop(&samples);

    static const double weight[CLASSES + 1] = {3, 0, 1, 0};
    const aml_sampling by_class = {
        .kind = AML_SAMPLING_WEIGHTED, .by = "y", .weights = CLASSES + 1, .weight = weight};
    samples = samples_of_formulas();
    sampler = sampler_of(&samples, &by_class, 4);
    int count[CLASSES] = {0};
    amli_sampler_pick(&sampler, 0, DRAWS, row);
    for (int i = 0; i < DRAWS; i++)
        count[y[row[i]]]++;
    CHECK_INT(count[1], 0);
    CHECK_CLOSE(count[0], DRAWS * 60.0 / 70, 4 * sqrt(DRAWS * 60.0 / 490)); // 3 * 20 against 10
    amli_sampler_free(&sampler);
    drop(&samples);
}

static void count_epoch(amli_sampler *sampler, int64_t epoch, int of_row[ROWS], int count[CLASSES])
{
    int64_t row[CLASSES * ROWS];
    memset(of_row, 0, ROWS * sizeof *of_row);
    memset(count, 0, CLASSES * sizeof *count);
    amli_sampler_pick(sampler, epoch * sampler->count, sampler->count, row);
    for (int64_t i = 0; i < sampler->count; i++) {
        of_row[row[i]]++;
        count[y[row[i]]]++;
    }
}

TEST(over_sampled_epochs_repeat_rows_equally_often)
{
    const aml_sampling how = {.kind = AML_SAMPLING_OVER, .by = "y"};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, 5);
    int of_row[2][ROWS], count[CLASSES];
    CHECK_INT(sampler.count, CLASSES * 60);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        count_epoch(&sampler, epoch, of_row[epoch], count);
        for (int k = 0; k < CLASSES; k++)
            CHECK_INT(count[k], 60);
        for (int i = 0; i < ROWS; i++)
            CHECK_INT(of_row[epoch][i], 60 / class_rows[y[i]]);
    }
    amli_sampler_free(&sampler);
    drop(&samples);
    // where it does not go up, some rows are taken once more, other ones in each epoch
    samples = samples_of_formulas();
    for (int i = 0; i < ROWS; i++)
        y[i] = i < 50 ? 1 : 0; // 50 and 40
    sampler = sampler_of(&samples, &how, 5);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        count_epoch(&sampler, epoch, of_row[epoch], count);
        CHECK_INT(count[0], 50);
        CHECK_INT(count[1], 50);
        for (int i = 0; i < ROWS; i++)
            CHECK(of_row[epoch][i] == 1 || (y[i] == 0 && of_row[epoch][i] == 2));
    }
    CHECK(memcmp(of_row[0], of_row[1], sizeof of_row[0]) != 0);
    amli_sampler_free(&sampler);
    drop(&samples);
}

TEST(under_sampled_epochs_take_no_row_twice)
{
    const aml_sampling how = {.kind = AML_SAMPLING_UNDER, .by = "y"};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, 6);
    int of_row[2][ROWS], count[CLASSES], seen = 0;
    CHECK_INT(sampler.count, CLASSES * 10);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        count_epoch(&sampler, epoch, of_row[epoch], count);
        for (int k = 0; k < CLASSES; k++)
            CHECK_INT(count[k], 10);
        for (int i = 0; i < ROWS; i++)
            CHECK(of_row[epoch][i] <= 1);
    }
    for (int i = 0; i < ROWS; i++)
        seen += of_row[0][i] || of_row[1][i];
    CHECK(seen > CLASSES * 10);
    amli_sampler_free(&sampler);
    drop(&samples);
}

TEST(made_samples_are_those_of_the_definition)
{
    const aml_sampling how = {.kind = AML_SAMPLING_SMOTE, .by = "y", .neighbours = NEIGHBOURS};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, SEED);
    CHECK_INT(sampler.count, CLASSES * 60);
    CHECK_INT(samples.blends, MADE);
    for (int64_t i = 0; i < MADE; i++) {
        float found[SIZE];
        int32_t class;
        void *to[] = {found, &class, NULL};
        int64_t row = ROWS + i;
        CHECK_INT(samples.blend[i].a, made_between[i][0]);
        CHECK_INT(samples.blend[i].b, made_between[i][1]);
        CHECK(amli_samples_batch(&samples, &row, 1, NULL, NULL, to, NULL) == AML_OK);
        CHECK_INT(class, y[made_between[i][0]]);
        for (int k = 0; k < SIZE; k++)
            CHECK(found[k] == made[i][k]);
    }
    // an epoch has every row and every made sample once
    static int64_t row[CLASSES * 60];
    int seen[CLASSES * 60] = {0};
    amli_sampler_pick(&sampler, sampler.count, sampler.count, row);
    for (int64_t i = 0; i < sampler.count; i++)
        CHECK_INT(seen[row[i]]++, 0);
    amli_sampler_free(&sampler);
    drop(&samples);
}

TEST(weights_that_cannot_be_are_refused)
{
    const aml_sampling how = {.kind = AML_SAMPLING_WEIGHTED, .by = "w"};
    amli_samples samples = samples_of_formulas();
    aml_error error;
    w[7] = -1;
    CHECK_INT(amli_samples_draw(&samples, &how, 0, NULL, &error), AML_BAD_DATA);
    CHECK(strstr(error.text, "row 8"));
    w[7] = NAN;
    CHECK_INT(amli_samples_draw(&samples, &how, 0, NULL, &error), AML_BAD_DATA);
    memset(w, 0, sizeof w);
    CHECK_INT(amli_samples_draw(&samples, &how, 0, NULL, &error), AML_BAD_DATA);
    CHECK(strstr(error.text, "add up to 0"));
}

TEST(ranks_share_a_batch)
{
    enum { BATCH = 23 };
    const aml_sampling how = {.kind = AML_SAMPLING_OVER, .by = "y"};
    amli_samples samples = samples_of_formulas();
    amli_sampler sampler = sampler_of(&samples, &how, 5);
    for (int64_t step = 0; step < 20; step++) {
        int64_t whole[BATCH], part[BATCH], first;
        amli_sampler_pick(&sampler, step * BATCH, BATCH, whole);
        for (int ranks = 1; ranks <= 6; ranks++) {
            int64_t at = 0;
            for (int rank = 0; rank < ranks; rank++) {
                int64_t count =
                    amli_sampler_shard(&sampler, step, BATCH, rank, ranks, &first, part);
                CHECK_INT(first, at);
                CHECK(count >= BATCH / ranks && count <= BATCH / ranks + 1);
                CHECK(memcmp(part, whole + at, (size_t)count * sizeof *part) == 0);
                at += count;
            }
            CHECK_INT(at, BATCH);
        }
    }
    amli_sampler_free(&sampler);
    drop(&samples);
}

int main(void)
{
    RUN(balanced_draws_take_all_classes_equally_often);
    RUN(weighted_draws_follow_the_weights);
    RUN(over_sampled_epochs_repeat_rows_equally_often);
    RUN(under_sampled_epochs_take_no_row_twice);
    RUN(made_samples_are_those_of_the_definition);
    RUN(weights_that_cannot_be_are_refused);
    RUN(ranks_share_a_batch);
    CHECK_SUMMARY();
}
