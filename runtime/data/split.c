// Splits.
//
// The rows of each class are shuffled by (seed, class) and dealt to the parts in the order train,
// valid, test, unused. How many each part gets: its quota is fraction * rows; everyone gets the
// whole number below, and what is left over goes to the largest remainders (the first part wins a
// tie). With classes, the remainders are carried from class to class, so that each class is within
// one row of its quota and each part as a whole is as well.
//
// By time the parts are consecutive rows in the same order: train, valid, test, unused.

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

static aml_status fractions(const aml_split *how, double fraction[DEALT], aml_error *error)
{
    double sum = how->train + how->valid + how->test;
    if (!(how->train >= 0 && how->valid >= 0 && how->test >= 0 && sum <= 1 + 1e-9))
        return amli_fail(error, AML_INVALID,
                         "the parts of a split must be fractions that add up to 100%% at most, "
                         "found %g%%, %g%%, %g%%",
                         how->train * 100, how->valid * 100, how->test * 100);
    fraction[0] = sum == 0 ? 1 : how->train;
    fraction[1] = how->valid;
    fraction[2] = how->test;
    fraction[3] = sum > 0 && sum < 1 - 1e-9 ? 1 - sum : 0;
    return AML_OK;
}

static bool split_room(amli_split *split, int64_t rows)
{
    bool complete = true;
    for (int i = 0; i <= AML_PART_TEST; i++) {
        split->row[i] = malloc((size_t)(rows + 1) * sizeof(int64_t));
        complete = complete && split->row[i];
    }
    return complete;
}

static void split_fit(amli_split *split)
{
    for (int i = 0; i <= AML_PART_TEST; i++) {
        size_t bytes = (size_t)split->rows[i] * sizeof(int64_t);
        int64_t *fitting = realloc(split->row[i], bytes ? bytes : 1);
        split->row[i] = fitting ? fitting : split->row[i];
        split->bytes += bytes;
    }
}

static void put(amli_split *split, aml_part part, int64_t row)
{
    split->row[part][split->rows[part]++] = row;
}

aml_status amli_split_rows(const aml_split *how, int64_t source_rows, int64_t rows,
                           const int64_t *stratum, int64_t strata, amli_split *split,
                           aml_error *error)
{
    *split = (amli_split){0};
    double fraction[DEALT];
    aml_status status = fractions(how, fraction, error);
    if (status)
        return status;
    if (!stratum)
        strata = 1;
    size_t room = (size_t)(rows + 1) * sizeof(int64_t);
    int64_t *order = malloc(room), *start = calloc((size_t)strata + 2, sizeof *start),
            *part_of = malloc(room);
    if (!split_room(split, rows) || !order || !start || !part_of) {
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
        put(split, AML_PART_ALL, i);
        int64_t dealt = i < source_rows ? part_of[i] : 2;
        if (dealt < 3)
            put(split, (aml_part)(AML_PART_TRAIN + dealt), i);
    }
    free(order), free(start), free(part_of);
    split_fit(split);
    return AML_OK;
}

// Samples that lie apart can be moved without meeting the next one. `last` is the last window of
// the training part. Where little is left behind the last sample it is given up, so that the others
// can be moved to every place between two.
static void make_offsets(const amli_table *table, int64_t last, amli_split *split)
{
    int64_t *rows = &split->rows[AML_PART_TRAIN];
    split->offsets = 1;
    if (table->apart == 1 || *rows == 0)
        return;
    int64_t left = last - split->row[AML_PART_TRAIN][*rows - 1];
    if (left < table->apart - 1 && *rows > 1) {
        --*rows;
        left += table->apart;
    }
    split->offsets = left + 1 < table->apart ? left + 1 : table->apart;
}

aml_status amli_split_by_time(const aml_split *how, const amli_table *table, amli_split *split,
                              aml_error *error)
{
    *split = (amli_split){0};
    double fraction[DEALT];
    aml_status status = fractions(how, fraction, error);
    if (!status && !split_room(split, table->rows))
        status = amli_no_memory(error, (size_t)table->rows * sizeof(int64_t), "the split");
    if (status) {
        amli_split_free(split);
        return status;
    }
    int64_t quota[DEALT], given[DEALT] = {0};
    double due[DEALT];
    for (int i = 0; i < DEALT; i++)
        due[i] = fraction[i] * (double)table->units[0];
    deal(table->units[0], due, given, quota);
    int64_t from = 0, last = 0;
    for (int i = 0; i < DEALT; i++) {
        int64_t to = from + quota[i], row = (from + table->stride - 1) / table->stride;
        for (; i < 3 && row * table->stride + table->window <= to; row += table->apart)
            put(split, (aml_part)(AML_PART_TRAIN + i), row);
        from = to;
        last = i == 0 ? (to - table->window) / table->stride : last;
    }
    make_offsets(table, last, split);
    for (int64_t row = table->source_rows; row < table->rows; row += table->apart)
        put(split, AML_PART_TEST, row);
    for (int64_t row = 0; row < table->rows; row++) {
        int64_t begin = row < table->source_rows ? 0 : table->source_rows;
        if ((row - begin) % table->apart == 0)
            put(split, AML_PART_ALL, row);
    }
    split_fit(split);
    return AML_OK;
}

void amli_split_free(amli_split *split)
{
    for (int i = 0; i <= AML_PART_TEST; i++)
        free(split->row[i]);
    *split = (amli_split){0};
}
