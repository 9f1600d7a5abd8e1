// Groups, folds and shares: exact counts, and those of scikit-learn for the same rows.

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "runtime/data/data.h"
#include "runtime/golden_folds.h"

static int64_t class_of[ROWS], group_of[ROWS];
enum { MOST_GROUPS = 400 };

static void make_labels(void)
{
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t k = i * i % 97 % 11;
        class_of[i] = k < CLASSES - 1 ? k : CLASSES - 1;
        group_of[i] = i * i % 53 / 2 + i % 3 * 100;
    }
}

static aml_split all_of(int64_t seed)
{
    return (aml_split){.train = 1, .seed = seed, .stratify = -1};
}

// Which fold holds out each row, as the test part; every row is held out once.
static void held_out(const amli_labels *labels, int64_t seed, int fold_of[ROWS])
{
    aml_split how = all_of(seed);
    memset(fold_of, -1, ROWS * sizeof *fold_of);
    for (int f = 0; f < FOLDS; f++) {
        amli_fold fold = {.index = f, .count = FOLDS, .part = AML_PART_TEST};
        amli_split split;
        CHECK(amli_split_rows(&how, ROWS, 0, ROWS, labels, &fold, &split, NULL) == AML_OK);
        CHECK_INT(split.rows[AML_PART_TRAIN] + split.rows[AML_PART_TEST], ROWS);
        for (int64_t i = 0; i < split.rows[AML_PART_TEST]; i++) {
            CHECK_INT(fold_of[split.row[AML_PART_TEST][i]], -1);
            fold_of[split.row[AML_PART_TEST][i]] = f;
        }
        amli_split_free(&split);
    }
    for (int i = 0; i < ROWS; i++)
        CHECK(fold_of[i] >= 0);
}

static void count_folds(const int fold_of[ROWS], int size[FOLDS], int count[FOLDS][CLASSES])
{
    memset(size, 0, FOLDS * sizeof *size);
    memset(count, 0, FOLDS * sizeof *count);
    for (int i = 0; i < ROWS; i++) {
        size[fold_of[i]]++;
        count[fold_of[i]][class_of[i]]++;
    }
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void groups_stay_together(const int fold_of[ROWS])
{
    int of_group[MOST_GROUPS];
    memset(of_group, -1, sizeof of_group);
    for (int i = 0; i < ROWS; i++) {
        int *of = &of_group[group_of[i]];
        CHECK(*of < 0 || *of == fold_of[i]);
        *of = fold_of[i];
    }
}

TEST(plain_folds_have_the_sizes_of_kfold)
{
    int fold_of[ROWS], size[FOLDS], count[FOLDS][CLASSES];
    for (int64_t seed = 0; seed < 10; seed++) {
        held_out(&(amli_labels){0}, seed, fold_of);
        count_folds(fold_of, size, count);
        for (int f = 0; f < FOLDS; f++)
            CHECK_INT(size[f], kfold_sizes[f]);
    }
}

// scikit-learn's folds are one of several that are as even as can be: the counts are the same or
// the other neighbour of the exact share, and as many folds have the larger one.
TEST(stratified_folds_are_as_even_as_those_of_scikit_learn)
{
    int fold_of[ROWS], size[FOLDS], count[FOLDS][CLASSES];
    make_labels();
    const amli_labels labels = {.stratum = class_of, .strata = CLASSES};
    for (int64_t seed = 0; seed < 10; seed++) {
        held_out(&labels, seed, fold_of);
        count_folds(fold_of, size, count);
        qsort(size, FOLDS, sizeof *size, compare_ints);
        CHECK(size[FOLDS - 1] - size[0] <= 1);
        for (int k = 0; k < CLASSES; k++) {
            int ours[FOLDS], theirs[FOLDS];
            for (int f = 0; f < FOLDS; f++)
                ours[f] = count[f][k], theirs[f] = stratified_counts[f][k];
            qsort(ours, FOLDS, sizeof *ours, compare_ints);
            qsort(theirs, FOLDS, sizeof *theirs, compare_ints);
            for (int f = 0; f < FOLDS; f++)
                CHECK_INT(ours[f], theirs[f]);
        }
    }
}

TEST(grouped_folds_have_the_sizes_of_group_kfold)
{
    int fold_of[ROWS], size[FOLDS], count[FOLDS][CLASSES];
    make_labels();
    const amli_labels labels = {.group = group_of, .groups = MOST_GROUPS};
    for (int64_t seed = 0; seed < 10; seed++) {
        held_out(&labels, seed, fold_of);
        groups_stay_together(fold_of);
        count_folds(fold_of, size, count);
        qsort(size, FOLDS, sizeof *size, compare_ints);
        for (int f = 0; f < FOLDS; f++)
            CHECK_INT(size[f], grouped_sizes[f]);
    }
}

TEST(grouped_folds_with_classes_are_as_even_as_those_of_scikit_learn)
{
    int fold_of[ROWS], size[FOLDS], count[FOLDS][CLASSES], all[CLASSES] = {0};
    make_labels();
    for (int i = 0; i < ROWS; i++)
        all[class_of[i]]++;
    const amli_labels labels = {class_of, CLASSES, group_of, MOST_GROUPS};
    held_out(&labels, 0, fold_of);
    groups_stay_together(fold_of);
    count_folds(fold_of, size, count);
    double spread = 0;
    for (int f = 0; f < FOLDS; f++)
        for (int k = 0; k < CLASSES; k++)
            spread = fmax(spread, fabs((double)count[f][k] / size[f] - (double)all[k] / ROWS));
    if (spread > stratified_group_spread * 1.05)
        CHECK_FAIL("a class is %.4f off its share in a fold, scikit-learn's %.4f", spread,
                   stratified_group_spread);
}

TEST(a_grouped_split_is_close_to_its_shares)
{
    make_labels();
    const amli_labels labels = {class_of, CLASSES, group_of, MOST_GROUPS};
    int largest = 0, size_of[MOST_GROUPS] = {0};
    for (int i = 0; i < ROWS; i++)
        if (++size_of[group_of[i]] > largest)
            largest = size_of[group_of[i]];
    for (int64_t seed = 0; seed < 10; seed++) {
        aml_split how = {.train = 0.7, .valid = 0.2, .test = 0.1, .seed = seed};
        amli_split split;
        CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &(amli_fold){0}, &split, NULL) ==
              AML_OK);
        const double share[] = {1, 0.7, 0.2, 0.1};
        int of_group[MOST_GROUPS] = {0};
        for (int part = AML_PART_TRAIN; part <= AML_PART_TEST; part++) {
            CHECK(fabs((double)split.rows[part] - share[part] * ROWS) <= largest);
            for (int64_t i = 0; i < split.rows[part]; i++) {
                int *of = &of_group[group_of[split.row[part][i]]];
                CHECK(*of == 0 || *of == part);
                *of = part;
            }
        }
        amli_split_free(&split);
    }
}

// The held-out part of the split stays held out, and the other rows are validated on once each.
TEST(folds_in_place_of_the_validation_leave_the_test_part_alone)
{
    make_labels();
    const amli_labels labels = {.stratum = class_of, .strata = CLASSES};
    aml_split how = {.train = 0.6, .valid = 0.2, .test = 0.2, .seed = 3};
    amli_split whole, split;
    int seen[ROWS] = {0};
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &(amli_fold){0}, &whole, NULL) == AML_OK);
    for (int f = 0; f < FOLDS; f++) {
        amli_fold fold = {.index = f, .count = FOLDS, .part = AML_PART_VALID};
        CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &fold, &split, NULL) == AML_OK);
        CHECK_INT(split.rows[AML_PART_TEST], whole.rows[AML_PART_TEST]);
        CHECK(memcmp(split.row[AML_PART_TEST], whole.row[AML_PART_TEST],
                     (size_t)whole.rows[AML_PART_TEST] * sizeof(int64_t)) == 0);
        CHECK_INT(split.rows[AML_PART_TRAIN] + split.rows[AML_PART_VALID] +
                      split.rows[AML_PART_TEST],
                  ROWS);
        for (int64_t i = 0; i < split.rows[AML_PART_VALID]; i++)
            seen[split.row[AML_PART_VALID][i]]++;
        amli_split_free(&split);
    }
    for (int64_t i = 0; i < whole.rows[AML_PART_TEST]; i++)
        CHECK_INT(seen[whole.row[AML_PART_TEST][i]]++, 0);
    for (int i = 0; i < ROWS; i++)
        CHECK_INT(seen[i], 1);
    amli_split_free(&whole);
}

// A fold in place of the test part keeps the proportions of train and valid.
TEST(folds_in_place_of_the_test_part_keep_a_validation_part)
{
    aml_split how = {.train = 0.6, .valid = 0.2, .test = 0.2, .seed = 3, .stratify = -1};
    amli_fold fold = {.index = 1, .count = FOLDS, .part = AML_PART_TEST};
    amli_split split;
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &(amli_labels){0}, &fold, &split, NULL) == AML_OK);
    int64_t left = ROWS - split.rows[AML_PART_TEST];
    CHECK(fabs((double)split.rows[AML_PART_TRAIN] - 0.75 * (double)left) < 1);
    CHECK_INT(split.rows[AML_PART_TRAIN] + split.rows[AML_PART_VALID], left);
    amli_split_free(&split);
}

static amli_table table_of(int64_t rows, int64_t window)
{
    return (amli_table){.rows = rows - window + 1,
                        .source_rows = rows - window + 1,
                        .origin_rows = {rows - window + 1},
                        .units = {rows, 0},
                        .apart = 1,
                        .window = window,
                        .stride = 1};
}

TEST(folds_by_time_are_those_of_time_series_split)
{
    aml_split how = all_of(0);
    amli_table table = table_of(ROWS, 1);
    for (int f = 0; f < FOLDS; f++) {
        amli_fold fold = {.index = f, .count = FOLDS, .part = AML_PART_TEST};
        amli_split split;
        CHECK(amli_split_by_time(&how, &table, &fold, &split, NULL) == AML_OK);
        const int64_t *test = split.row[AML_PART_TEST];
        CHECK_INT(split.rows[AML_PART_TRAIN], time_spans[f][0]);
        CHECK_INT(split.row[AML_PART_TRAIN][0], 0);
        CHECK_INT(test[0], time_spans[f][1]);
        CHECK_INT(test[split.rows[AML_PART_TEST] - 1] + 1, time_spans[f][2]);
        amli_split_free(&split);
    }
}

TEST(windows_do_not_reach_into_what_a_fold_holds_out)
{
    enum { WINDOW = 7 };
    aml_split how = {.train = 0.8, .valid = 0.2, .stratify = -1};
    amli_table table = table_of(ROWS, WINDOW);
    for (int f = 0; f < FOLDS; f++) {
        amli_fold fold = {.index = f, .count = FOLDS, .part = AML_PART_TEST};
        amli_split split;
        CHECK(amli_split_by_time(&how, &table, &fold, &split, NULL) == AML_OK);
        int64_t begin = time_spans[f][1];
        CHECK_INT(split.row[AML_PART_VALID][split.rows[AML_PART_VALID] - 1] + WINDOW, begin);
        CHECK_INT(split.row[AML_PART_TEST][0], begin);
        CHECK(split.row[AML_PART_TRAIN][split.rows[AML_PART_TRAIN] - 1] + WINDOW <=
              split.row[AML_PART_VALID][0]);
        amli_split_free(&split);
    }
    table = table_of(30, WINDOW); // 5 rows for each fold
    amli_split split;
    aml_error error;
    amli_fold fold = {.index = 0, .count = FOLDS, .part = AML_PART_TEST};
    CHECK_INT(amli_split_by_time(&how, &table, &fold, &split, &error), AML_BAD_DATA);
}

TEST(a_share_of_the_training_part_keeps_the_rest_out)
{
    make_labels();
    const amli_labels labels = {.stratum = class_of, .strata = CLASSES};
    aml_split how = {.train = 0.8, .valid = 0.2, .seed = 5};
    amli_split whole, split;
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &(amli_fold){0}, &whole, NULL) == AML_OK);
    for (int percent = 10; percent <= 100; percent += 30) {
        amli_fold fold = {.share = percent / 100.0};
        CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &fold, &split, NULL) == AML_OK);
        CHECK(fabs((double)split.rows[AML_PART_TRAIN] -
                   fold.share * (double)whole.rows[AML_PART_TRAIN]) < 1);
        CHECK_INT(split.rows[AML_PART_VALID], whole.rows[AML_PART_VALID]);
        amli_split_free(&split);
    }
    amli_split_free(&whole);
}

TEST(too_many_folds_are_refused)
{
    aml_split how = all_of(0);
    amli_split split;
    aml_error error;
    amli_fold fold = {.index = 0, .count = 11, .part = AML_PART_TEST};
    CHECK_INT(amli_split_rows(&how, 10, 0, 10, &(amli_labels){0}, &fold, &split, &error),
              AML_BAD_DATA);
    const int64_t group[10] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 2};
    fold.count = 4;
    CHECK_INT(amli_split_rows(&how, 10, 0, 10, &(amli_labels){.group = group, .groups = 3}, &fold,
                              &split, &error),
              AML_BAD_DATA);
    CHECK(strstr(error.text, "3 groups"));
}

int main(void)
{
    RUN(plain_folds_have_the_sizes_of_kfold);
    RUN(stratified_folds_are_as_even_as_those_of_scikit_learn);
    RUN(grouped_folds_have_the_sizes_of_group_kfold);
    RUN(grouped_folds_with_classes_are_as_even_as_those_of_scikit_learn);
    RUN(a_grouped_split_is_close_to_its_shares);
    RUN(folds_in_place_of_the_validation_leave_the_test_part_alone);
    RUN(folds_in_place_of_the_test_part_keep_a_validation_part);
    RUN(folds_by_time_are_those_of_time_series_split);
    RUN(windows_do_not_reach_into_what_a_fold_holds_out);
    RUN(a_share_of_the_training_part_keeps_the_rest_out);
    RUN(too_many_folds_are_refused);
    CHECK_SUMMARY();
}
