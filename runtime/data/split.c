// Splits.
//
// The rows of each class are shuffled by (seed, class) and dealt to the parts in the order train,
// valid, test, unused. How many each part gets: its quota is fraction * rows; everyone gets the
// whole number below, and what is left over goes to the largest remainders (the first part wins a
// tie). With classes, the remainders are carried from class to class, so that each class is within
// one row of its quota and each part as a whole is as well.

#include <math.h>
#include <stdlib.h>

#include "runtime/data/data.h"

enum { DEALT = 4 }; // train, valid, test, unused

// Deals `rows` more rows so that given[] stays closest to quota[] (both totals so far).
static void deal(int64_t rows, const double quota[DEALT], int64_t given[DEALT], int64_t now[DEALT])
{
    int64_t left = rows;
    double remainder[DEALT];
    for (int i = 0; i < DEALT; i++) {
        double due = quota[i] - (double)given[i];
        int64_t whole = due > 0 ? (int64_t)floor(due + 1e-9) : 0;
        now[i] = whole < left ? whole : left;
        left -= now[i];
        remainder[i] = due - (double)now[i];
    }
    while (left > 0) {
        int best = 0;
        for (int i = 1; i < DEALT; i++)
            if (remainder[i] > remainder[best] + 1e-9)
                best = i;
        now[best]++;
        remainder[best] -= 1;
        left--;
    }
    for (int i = 0; i < DEALT; i++)
        given[i] += now[i];
}

aml_status amli_split_rows(const aml_split *how, int64_t source_rows, int64_t rows,
                           const int64_t *stratum, int64_t strata, amli_split *split,
                           aml_error *error)
{
    *split = (amli_split){0};
    double fraction[DEALT] = {how->train, how->valid, how->test, 0};
    double sum = how->train + how->valid + how->test;
    if (!(how->train >= 0 && how->valid >= 0 && how->test >= 0 && sum <= 1 + 1e-9))
        return amli_fail(error, AML_INVALID,
                         "the parts of a split must be fractions that add up to 100%% at most, "
                         "found %g%%, %g%%, %g%%",
                         how->train * 100, how->valid * 100, how->test * 100);
    if (sum == 0)
        fraction[0] = sum = 1;
    fraction[3] = sum < 1 - 1e-9 ? 1 - sum : 0;
    if (!stratum)
        strata = 1;
    size_t room = (size_t)(rows + 1) * sizeof(int64_t);
    int64_t *order = malloc(room), *start = calloc((size_t)strata + 2, sizeof *start),
            *part_of = malloc(room);
    for (int i = 0; i <= AML_PART_TEST; i++)
        split->row[i] = malloc(room);
    bool complete = order && start && part_of;
    for (int i = 0; i <= AML_PART_TEST; i++)
        complete = complete && split->row[i];
    if (!complete) {
        free(order), free(start), free(part_of);
        amli_split_free(split);
        return amli_no_memory(error, room, "the split");
    }
    // order: the rows class by class (a counting sort keeps the order of the file within a class)
    for (int64_t i = 0; i < source_rows; i++)
        start[(stratum ? stratum[i] : 0) + 2]++;
    for (int64_t k = 0; k < strata; k++)
        start[k + 2] += start[k + 1];
    for (int64_t i = 0; i < source_rows; i++)
        order[start[(stratum ? stratum[i] : 0) + 1]++] = i;
    int64_t given[DEALT] = {0};
    for (int64_t k = 0; k < strata; k++) {
        int64_t first = start[k], count = start[k + 1] - first, now[DEALT];
        double quota[DEALT];
        for (int i = 0; i < DEALT; i++)
            quota[i] = fraction[i] * (double)(first + count);
        amli_shuffle(order + first, count, how->seed, (uint64_t)k, AMLI_USE_SPLIT);
        deal(count, quota, given, now);
        int64_t at = first;
        for (int i = 0; i < DEALT; i++)
            for (int64_t j = 0; j < now[i]; j++)
                part_of[order[at++]] = i;
    }
    for (int64_t i = 0; i < rows; i++) {
        split->row[AML_PART_ALL][split->rows[AML_PART_ALL]++] = i;
        int64_t dealt = i < source_rows ? part_of[i] : 2;
        if (dealt < 3)
            split->row[AML_PART_TRAIN + dealt][split->rows[AML_PART_TRAIN + dealt]++] = i;
    }
    free(order), free(start), free(part_of);
    for (int i = 0; i <= AML_PART_TEST; i++) {
        size_t bytes = (size_t)split->rows[i] * sizeof(int64_t);
        int64_t *fitting = realloc(split->row[i], bytes ? bytes : 1);
        split->row[i] = fitting ? fitting : split->row[i];
        split->bytes += bytes;
    }
    return AML_OK;
}

void amli_split_free(amli_split *split)
{
    for (int i = 0; i <= AML_PART_TEST; i++)
        free(split->row[i]);
    *split = (amli_split){0};
}
