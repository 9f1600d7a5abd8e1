// Splits.
//
// Rows are dealt to the parts (deal.c) in the order train, valid, test, unused, shuffled by the
// seed. A fold takes the place of one part: the rows of the split that are not held out for good
// are dealt once more, to as many equal parts as there are folds.
//
// By time the parts are consecutive rows in the same order: train, valid, test, unused. Folds move
// the border: of n rows and k folds each holds out n / (k + 1) rows, the last fold the last ones,
// and only rows before those are trained on.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data.h"

enum { DEALT = 4, UNUSED = 3 }; // train, valid, test, unused
enum { STREAM_FOLDS = 1, STREAM_SHARE = 2, STREAM_REST = 3 };

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

// Who holds out what, as 0..3 for train, valid, test, unused.
typedef struct Rows {
    const aml_split *how;
    const amli_labels *labels;
    const amli_fold *fold;
    int64_t count;
    int64_t *list; // scratch: some of the rows
    int32_t *part_of, *dealt;
} Rows;

static int64_t list_rows(Rows *rows, int least, int most)
{
    int64_t count = 0;
    for (int64_t i = 0; i < rows->count; i++)
        if (rows->part_of[i] >= least && rows->part_of[i] <= most)
            rows->list[count++] = i;
    return count;
}

static int64_t groups_in(const Rows *rows, int64_t listed)
{
    if (!rows->labels->group)
        return listed;
    char *seen = calloc((size_t)rows->labels->groups + 1, 1);
    int64_t count = 0;
    for (int64_t i = 0; seen && i < listed; i++)
        if (!seen[rows->labels->group[rows->list[i]]]++)
            count++;
    free(seen);
    return count;
}

// A part of what is listed: dealt[i] is 0 or 1.
static aml_status deal_two(Rows *rows, int64_t listed, double first, uint64_t stream,
                           aml_error *error)
{
    const double share[2] = {first, 1 - first};
    return amli_deal(rows->labels, rows->list, listed, share, 2, rows->how->seed, stream,
                     rows->dealt, error);
}

static aml_status hold_out_fold(Rows *rows, const double fraction[DEALT], aml_error *error)
{
    const amli_fold *fold = rows->fold;
    int held = fold->part == AML_PART_TEST ? 2 : 1;
    int64_t listed = list_rows(rows, 0, held);
    if (groups_in(rows, listed) < fold->count)
        return amli_fail(error, AML_BAD_DATA, "%lld %s cannot be cut into %d folds",
                         (long long)groups_in(rows, listed),
                         rows->labels->group ? "groups of rows" : "rows", fold->count);
    double *share = calloc((size_t)fold->count, sizeof *share);
    for (int i = 0; share && i < fold->count; i++)
        share[i] = 1.0 / fold->count;
    aml_status status =
        share ? amli_deal(rows->labels, rows->list, listed, share, fold->count, rows->how->seed,
                          STREAM_FOLDS, rows->dealt, error)
              : amli_no_memory(error, (size_t)fold->count * sizeof *share, "the split");
    free(share);
    for (int64_t i = 0; i < listed && !status; i++)
        rows->part_of[rows->list[i]] = rows->dealt[i] == fold->index ? held : 0;
    if (status || held == 1 || fraction[1] == 0)
        return status;
    listed = list_rows(rows, 0, 0);
    status = deal_two(rows, listed, fraction[0] / (fraction[0] + fraction[1]),
                      STREAM_REST + (uint64_t)fold->index, error);
    for (int64_t i = 0; i < listed && !status; i++)
        rows->part_of[rows->list[i]] = rows->dealt[i];
    return status;
}

static aml_status take_share(Rows *rows, aml_error *error)
{
    int64_t listed = list_rows(rows, 0, 0), left = 0;
    aml_status status = deal_two(rows, listed, rows->fold->share, STREAM_SHARE, error);
    for (int64_t i = 0; i < listed && !status; i++) {
        rows->part_of[rows->list[i]] = rows->dealt[i] ? UNUSED : 0;
        left += !rows->dealt[i];
    }
    if (!status && left == 0)
        return amli_fail(error, AML_BAD_DATA, "%g%% of %lld rows to train on leave none",
                         rows->fold->share * 100, (long long)listed);
    return status;
}

static aml_status deal_all(Rows *rows, aml_error *error)
{
    double fraction[DEALT];
    aml_status status = fractions(rows->how, fraction, error);
    for (int64_t i = 0; i < rows->count; i++)
        rows->list[i] = i;
    if (!status)
        status = amli_deal(rows->labels, rows->list, rows->count, fraction, DEALT, rows->how->seed,
                           0, rows->part_of, error);
    if (!status && rows->fold->count > 0)
        status = hold_out_fold(rows, fraction, error);
    if (!status && rows->fold->share > 0 && rows->fold->share < 1)
        status = take_share(rows, error);
    return status;
}

aml_status amli_split_rows(const aml_split *how, int64_t source_rows, int64_t test, int64_t rows,
                           const amli_labels *labels, const amli_fold *fold, amli_split *split,
                           aml_error *error)
{
    *split = (amli_split){0};
    size_t room = (size_t)(source_rows + 1) * sizeof(int64_t);
    Rows all = {how, labels, fold, source_rows, malloc(room), malloc(room), malloc(room)};
    aml_status status = all.list && all.part_of && all.dealt && split_room(split, rows)
                            ? deal_all(&all, error)
                            : amli_no_memory(error, room, "the split");
    for (int64_t i = 0; i < rows && !status; i++) {
        put(split, AML_PART_ALL, i);
        int32_t dealt = i < source_rows ? all.part_of[i] : i < source_rows + test ? 2 : 1;
        if (dealt != UNUSED)
            put(split, (aml_part)(AML_PART_TRAIN + dealt), i);
    }
    free(all.list), free(all.part_of), free(all.dealt);
    if (status)
        amli_split_free(split);
    else
        split_fit(split);
    return status;
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

// Consecutive rows of the source: begin..end of train, valid, test.
typedef struct Spans {
    int64_t begin[3], end[3];
} Spans;

static aml_status fold_spans(const amli_fold *fold, const amli_table *table,
                             const double fraction[DEALT], Spans *spans, aml_error *error)
{
    int held = fold->part == AML_PART_TEST ? 2 : 1;
    int64_t rows = spans->end[held], size = rows / (fold->count + 1);
    if (size < table->window)
        return amli_fail(error, AML_BAD_DATA,
                         "%lld rows cannot be cut into %d folds by time: each would hold out %lld "
                         "rows, and a sample has %lld",
                         (long long)rows, fold->count, (long long)size, (long long)table->window);
    int64_t begin = rows - (fold->count - fold->index) * size;
    spans->begin[held] = begin;
    spans->end[held] = begin + size;
    spans->end[0] = begin;
    if (held == 1)
        return AML_OK;
    double part = fraction[0] > 0 ? fraction[1] / (fraction[0] + fraction[1]) : 0;
    spans->end[0] = begin - llround(part * (double)begin);
    spans->begin[1] = spans->end[0];
    spans->end[1] = begin;
    return AML_OK;
}

static aml_status make_spans(const aml_split *how, const amli_table *table, const amli_fold *fold,
                             Spans *spans, aml_error *error)
{
    double fraction[DEALT], due[DEALT], remainder[DEALT];
    int64_t given[DEALT] = {0}, quota[DEALT], at = 0;
    aml_status status = fractions(how, fraction, error);
    if (status)
        return status;
    for (int i = 0; i < DEALT; i++)
        due[i] = fraction[i] * (double)table->units[0];
    amli_deal_rest(table->units[0], DEALT, due, given, quota, remainder);
    for (int i = 0; i < UNUSED; i++) {
        spans->begin[i] = at;
        at += quota[i];
        spans->end[i] = at;
    }
    if (fold->count > 0)
        status = fold_spans(fold, table, fraction, spans, error);
    if (!status && fold->share > 0 && fold->share < 1) // the newest rows of the training part
        spans->begin[0] = spans->end[0] - llround(fold->share * (double)spans->end[0]);
    return status;
}

aml_status amli_split_by_time(const aml_split *how, const amli_table *table, const amli_fold *fold,
                              amli_split *split, aml_error *error)
{
    *split = (amli_split){0};
    Spans spans;
    aml_status status = make_spans(how, table, fold, &spans, error);
    if (!status && !split_room(split, table->rows))
        status = amli_no_memory(error, (size_t)table->rows * sizeof(int64_t), "the split");
    if (status) {
        amli_split_free(split);
        return status;
    }
    for (int i = 0; i < UNUSED; i++) {
        int64_t row = (spans.begin[i] + table->stride - 1) / table->stride;
        for (; row * table->stride + table->window <= spans.end[i]; row += table->apart)
            put(split, (aml_part)(AML_PART_TRAIN + i), row);
    }
    make_offsets(table, (spans.end[0] - table->window) / table->stride, split);
    for (int64_t row = 0, begin = 0; begin < table->rows; begin = row) {
        amli_origin origin = amli_table_origin(table, begin);
        for (row = begin; row < begin + table->origin_rows[origin]; row++) {
            if ((row - begin) % table->apart != 0)
                continue;
            put(split, AML_PART_ALL, row);
            if (origin != AMLI_FROM_SOURCE)
                put(split, origin == AMLI_FROM_TEST ? AML_PART_TEST : AML_PART_VALID, row);
        }
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
