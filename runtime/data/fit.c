// Fitting the statistics of a data set on its training rows, level by level: a level's functions
// read the statistics of the levels below.
//
// Rows are gone through in the order of the source on one thread, and every sum is added up in that
// order, so the same rows give the same bits wherever and however the program runs. What has to be
// sorted (quantiles, most frequent values) is kept as columns, one for each element.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data.h"

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

void *amli_statistic_new(const aml_statistic *statistic)
{
    size_t bytes = aligned(amli_tensor_bytes(&statistic->tensor));
    void *at = aligned_alloc(AML_ALIGNMENT, bytes ? bytes : AML_ALIGNMENT);
    if (at)
        memset(at, 0, bytes);
    return at;
}

void amli_statistics_free(const aml_dataset *dataset, void **value)
{
    for (int i = 0; value && i < dataset->statistics; i++)
        free(value[i]);
    free(value);
}

// ---- one level
// -----------------------------------------------------------------------------------

// What a statistic that is not a fold saw in the rows.
typedef struct Seen {
    float *at; // row after row
    size_t elements;
    int64_t rows, room;
} Seen;

typedef struct Fitting {
    const aml_dataset *dataset;
    const amli_table *table;
    const int64_t *row;
    int64_t rows;
    void **value;       // of each statistic
    void **accumulator; // of each accumulator of all levels
    int accumulators;
    Seen *seen; // of each statistic
} Fitting;

// Inputs behind the fields are where the statistics and the accumulators are.
static aml_status begin(const Fitting *f, const aml_function *function, amli_preparer *preparer,
                        aml_error *error)
{
    aml_status status = amli_preparer_new(function, preparer, error);
    if (!status)
        amli_preparer_share(preparer, f->dataset->fields, f->value, f->dataset->statistics);
    if (!status)
        amli_preparer_share(preparer, f->dataset->fields + f->dataset->statistics, f->accumulator,
                            f->accumulators);
    return status;
}

// A function that is about no row.
static aml_status run_once(const Fitting *f, const aml_function *function, void *const out[],
                           aml_error *error)
{
    if (!function->run)
        return AML_OK;
    amli_preparer preparer;
    aml_status status = begin(f, function, &preparer, error);
    if (!status)
        amli_prepare(&preparer, NULL, out);
    amli_preparer_free(&preparer);
    return status;
}

static bool is_fold(const aml_statistic *statistic)
{
    return statistic->kind == AML_STATISTIC_FOLD;
}

// Rows that are kept of a statistic of kind ROWS: spread evenly.
static int64_t rows_to_see(const Fitting *f, const aml_statistic *statistic)
{
    int64_t count = statistic->tensor.shape.dim[0];
    return statistic->kind == AML_STATISTIC_ROWS && count < f->rows ? count : f->rows;
}

static bool is_seen(const Fitting *f, const aml_statistic *statistic, int64_t index)
{
    if (statistic->kind != AML_STATISTIC_ROWS)
        return true;
    int64_t count = rows_to_see(f, statistic);
    int64_t next = f->seen[statistic - f->dataset->statistic].rows;
    return next < count && next * f->rows / count == index;
}

static aml_status make_room(const Fitting *f, int level, aml_error *error)
{
    const aml_fit *fit = &f->dataset->fit[level];
    for (int i = 0; i < f->dataset->statistics; i++) {
        const aml_statistic *statistic = &f->dataset->statistic[i];
        Seen *seen = &f->seen[i];
        if (statistic->level != level || is_fold(statistic))
            continue;
        const aml_tensor_info *info = &fit->step.output[statistic->output];
        size_t bytes;
        *seen = (Seen){.elements = (size_t)aml_shape_elements(&info->shape),
                       .room = rows_to_see(f, statistic)};
        if (info->dtype != AML_F32)
            return amli_fail(error, AML_INTERNAL, "%s is not made of f32", statistic->tensor.name);
        if (__builtin_mul_overflow((size_t)seen->room, seen->elements * sizeof(float), &bytes))
            return amli_no_memory(error, SIZE_MAX, statistic->tensor.name);
        seen->at = malloc(bytes ? bytes : 1);
        if (!seen->at)
            return amli_no_memory(error, bytes, statistic->tensor.name);
    }
    return AML_OK;
}

static aml_status run_rows(const Fitting *f, int level, aml_error *error)
{
    const aml_fit *fit = &f->dataset->fit[level];
    const aml_function *step = &fit->step;
    amli_preparer preparer;
    amli_fetch fetch = {0};
    const void **raw = calloc((size_t)f->dataset->fields + 1, sizeof *raw);
    void **out = calloc((size_t)step->outputs + 1, sizeof *out);
    aml_status status = raw && out ? begin(f, step, &preparer, error)
                                   : amli_no_memory(error, sizeof *raw, "the statistics");
    if (!status)
        status = amli_fetch_new(f->table, &fetch, error);
    for (int i = 0; i < fit->accumulators; i++)
        if (out)
            out[i] = f->accumulator[fit->first + i];
    for (int64_t k = 0; k < f->rows && !status; k++) {
        status = amli_fetch_sample(&fetch, f->row[k], raw, error);
        for (int i = 0; i < f->dataset->statistics; i++) {
            const aml_statistic *statistic = &f->dataset->statistic[i];
            Seen *seen = &f->seen[i];
            if (statistic->level != level || is_fold(statistic))
                continue;
            bool wanted = is_seen(f, statistic, k);
            out[statistic->output] = wanted ? seen->at + (size_t)seen->rows * seen->elements : NULL;
            seen->rows += wanted;
        }
        if (!status)
            amli_prepare(&preparer, raw, out);
    }
    amli_fetch_free(&fetch);
    if (raw && out)
        amli_preparer_free(&preparer);
    free(raw), free(out);
    return status;
}

// ---- statistics of columns
// -----------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// The values of one element in order, without missing ones. How many.
static int64_t sorted_column(const Seen *seen, size_t element, float *to)
{
    int64_t count = 0;
    for (int64_t row = 0; row < seen->rows; row++) {
        float value = seen->at[(size_t)row * seen->elements + element];
        if (!isnan(value))
            to[count++] = value;
    }
    qsort(to, (size_t)count, sizeof *to, by_value);
    return count;
}

static float quantile_of(const float *sorted, int64_t count, double at)
{
    if (count == 0)
        return NAN;
    double place = at * (double)(count - 1), below = floor(place);
    int64_t low = (int64_t)below, high = low + 1 < count ? low + 1 : low;
    double share = place - below;
    return share == 0 ? sorted[low]
                      : (float)((1 - share) * (double)sorted[low] + share * (double)sorted[high]);
}

static float mode_of(const float *sorted, int64_t count)
{
    float best = NAN;
    int64_t most = 0;
    for (int64_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && sorted[to] == sorted[from]; to++)
            ;
        if (to - from > most) {
            most = to - from;
            best = sorted[from];
        }
    }
    return best;
}

static aml_status columns(const aml_statistic *statistic, const Seen *seen, float *value,
                          aml_error *error)
{
    float *sorted = malloc((size_t)seen->rows * sizeof *sorted + 1);
    if (!sorted)
        return amli_no_memory(error, (size_t)seen->rows * sizeof *sorted, "a column");
    for (size_t e = 0; e < seen->elements; e++) {
        int64_t count = sorted_column(seen, e, sorted);
        if (statistic->kind == AML_STATISTIC_MODE)
            value[e] = mode_of(sorted, count);
        for (int q = 0; q < statistic->quantiles; q++)
            value[(size_t)q * seen->elements + e] =
                quantile_of(sorted, count, statistic->quantile[q]);
    }
    free(sorted);
    return AML_OK;
}

// ---- principal axes
// ------------------------------------------------------------------------------

enum { ROWS_AT_ONCE = 64 };

// sum[i][k] += x[r][i] * x[r][k] for k <= i and each row r of a block, kept as columns: x[i][r].
static void add_products(double *sum, const double *x, size_t size, size_t rows)
{
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k <= i; k++) {
            double part[8] = {0};
            const double *a = x + i * ROWS_AT_ONCE, *b = x + k * ROWS_AT_ONCE;
            for (size_t r = 0; r < ROWS_AT_ONCE && r < rows; r += 8)
                for (size_t j = 0; j < 8; j++)
                    part[j] += a[r + j] * b[r + j];
            sum[i * size + k] += ((part[0] + part[1]) + (part[2] + part[3])) +
                                 ((part[4] + part[5]) + (part[6] + part[7]));
        }
}

static aml_status missing_in_axes(const Fitting *f, const aml_statistic *statistic, int64_t row,
                                  size_t element, aml_error *error)
{
    return amli_fail(error, AML_BAD_DATA,
                     "%s: principal axes need a number everywhere, found nan in row %lld, element "
                     "%zu (%s)\nhelp: fill missing values in first, with `impute`",
                     f->table->path, (long long)f->row[row] + 1, element, statistic->place);
}

// The covariance of the columns, from sums about their means. `block` has room for a block.
static aml_status covariance(const Fitting *f, const aml_statistic *statistic, const Seen *seen,
                             double *matrix, double *mean, double *block, aml_error *error)
{
    size_t size = seen->elements;
    for (int64_t row = 0; row < seen->rows; row++)
        for (size_t e = 0; e < size; e++) {
            double value = (double)seen->at[(size_t)row * size + e];
            if (isnan(value))
                return missing_in_axes(f, statistic, row, e, error);
            mean[e] += value;
        }
    for (size_t e = 0; e < size; e++)
        mean[e] /= (double)seen->rows;
    for (int64_t row = 0; row < seen->rows; row += ROWS_AT_ONCE) {
        size_t now = (size_t)(seen->rows - row < ROWS_AT_ONCE ? seen->rows - row : ROWS_AT_ONCE);
        memset(block, 0, size * ROWS_AT_ONCE * sizeof *block);
        for (size_t r = 0; r < now; r++)
            for (size_t e = 0; e < size; e++)
                block[e * ROWS_AT_ONCE + r] =
                    (double)seen->at[((size_t)row + r) * size + e] - mean[e];
        add_products(matrix, block, size, now);
    }
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k <= i; k++)
            matrix[k * size + i] = matrix[i * size + k] /= (double)(seen->rows - 1);
    return AML_OK;
}

// An axis has no direction of its own: its largest element is made positive.
static void write_axis(const double *axis, double variance, size_t size, float *to)
{
    size_t largest = 0;
    for (size_t e = 1; e < size; e++)
        if (fabs(axis[e]) > fabs(axis[largest]) * (1 + 1e-9))
            largest = e;
    double sign = axis[largest] < 0 ? -1 : 1;
    for (size_t e = 0; e < size; e++)
        to[e] = (float)(sign * axis[e]);
    to[size] = (float)(variance > 0 ? variance : 0);
}

static aml_status components(const Fitting *f, const aml_statistic *statistic, const Seen *seen,
                             float *value, aml_error *error)
{
    size_t size = seen->elements, count = (size_t)statistic->tensor.shape.dim[0];
    if (seen->rows < 2)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: principal axes need at least 2 training rows, found %lld (%s)",
                         f->table->path, (long long)seen->rows, statistic->place);
    double *matrix = calloc(size * size, sizeof *matrix), *mean = calloc(size, sizeof *mean),
           *block = malloc(size * ROWS_AT_ONCE * sizeof *block);
    aml_status status = matrix && mean && block
                            ? covariance(f, statistic, seen, matrix, mean, block, error)
                            : amli_no_memory(error, size * size * sizeof *matrix, "a covariance");
    if (!status && !statistic->eigenvectors(matrix, mean, (int32_t)size))
        status = amli_fail(error, AML_BAD_DATA, "%s: the principal axes could not be computed (%s)",
                           f->table->path, statistic->place);
    for (size_t k = 0; k < count && !status; k++) // variances increase
        write_axis(matrix + (size - 1 - k) * size, mean[size - 1 - k], size,
                   value + k * (size + 1));
    free(matrix), free(mean), free(block);
    return status;
}

// ---- all of it
// -----------------------------------------------------------------------------------

static aml_status finish_seen(const Fitting *f, int index, aml_error *error)
{
    const aml_statistic *statistic = &f->dataset->statistic[index];
    const Seen *seen = &f->seen[index];
    float *value = f->value[index];
    size_t count = (size_t)aml_shape_elements(&statistic->tensor.shape);
    switch (statistic->kind) {
    case AML_STATISTIC_FOLD:
        return AML_OK;
    case AML_STATISTIC_QUANTILES:
    case AML_STATISTIC_MODE:
        return columns(statistic, seen, value, error);
    case AML_STATISTIC_ROWS:
        memcpy(value, seen->at, (size_t)seen->rows * seen->elements * sizeof *value);
        for (size_t i = (size_t)seen->rows * seen->elements; i < count; i++)
            value[i] = NAN;
        return AML_OK;
    case AML_STATISTIC_COMPONENTS:
        return components(f, statistic, seen, value, error);
    }
    return AML_OK;
}

// A statistic that is no number would silently make every sample none.
static aml_status check_finite(const Fitting *f, int index, aml_error *error)
{
    const aml_statistic *statistic = &f->dataset->statistic[index];
    const aml_tensor_info *info = &statistic->tensor;
    if (statistic->kind == AML_STATISTIC_ROWS || (info->dtype != AML_F32 && info->dtype != AML_F64))
        return AML_OK;
    for (int64_t i = 0; i < aml_shape_elements(&info->shape); i++) {
        double value = info->dtype == AML_F64 ? ((const double *)f->value[index])[i]
                                              : (double)((const float *)f->value[index])[i];
        if (isfinite(value))
            continue;
        return amli_fail(error, AML_BAD_DATA,
                         "%s: the statistic %s (%s) is %s in element %lld\nhelp: a column without "
                         "any value in the training part (%lld rows) has no statistics",
                         f->table->path, info->name, statistic->place,
                         isnan(value) ? "nan" : "infinite", (long long)i, (long long)f->rows);
    }
    return AML_OK;
}

static aml_status fit_level(const Fitting *f, int level, aml_error *error)
{
    const aml_dataset *dataset = f->dataset;
    const aml_fit *fit = &dataset->fit[level];
    void **finished = calloc((size_t)dataset->statistics + 1, sizeof *finished);
    aml_status status =
        finished ? make_room(f, level, error) : amli_no_memory(error, sizeof *finished, "a level");
    if (!status)
        status = run_once(f, &fit->start, f->accumulator + fit->first, error);
    if (!status && fit->step.run)
        status = run_rows(f, level, error);
    for (int i = 0; i < dataset->statistics && !status; i++)
        if (dataset->statistic[i].level == level && is_fold(&dataset->statistic[i]))
            finished[dataset->statistic[i].output] = f->value[i];
    if (!status)
        status = run_once(f, &fit->finish, finished, error);
    for (int i = 0; i < dataset->statistics && !status; i++) {
        if (dataset->statistic[i].level != level)
            continue;
        status = finish_seen(f, i, error);
        if (!status)
            status = check_finite(f, i, error);
        free(f->seen[i].at);
        f->seen[i].at = NULL;
    }
    free(finished);
    return status;
}

// Room for the values and for the accumulators, whose types the start functions say.
static aml_status allocate(Fitting *f, aml_error *error)
{
    const aml_dataset *dataset = f->dataset;
    for (int l = 0; l < dataset->fits; l++)
        f->accumulators += dataset->fit[l].accumulators;
    f->value = calloc((size_t)dataset->statistics + 1, sizeof *f->value);
    f->seen = calloc((size_t)dataset->statistics + 1, sizeof *f->seen);
    f->accumulator = calloc((size_t)f->accumulators + 1, sizeof *f->accumulator);
    bool complete = f->value && f->seen && f->accumulator;
    for (int i = 0; i < dataset->statistics && complete; i++)
        complete = (f->value[i] = amli_statistic_new(&dataset->statistic[i])) != NULL;
    for (int l = 0; l < dataset->fits && complete; l++) {
        const aml_fit *fit = &dataset->fit[l];
        for (int i = 0; i < fit->accumulators && complete; i++) {
            size_t bytes = aligned(amli_tensor_bytes(&fit->start.output[i]));
            f->accumulator[fit->first + i] =
                aligned_alloc(AML_ALIGNMENT, bytes ? bytes : AML_ALIGNMENT);
            complete = f->accumulator[fit->first + i] != NULL;
        }
    }
    return complete ? AML_OK : amli_no_memory(error, sizeof *f, "the statistics");
}

aml_status amli_fit(const aml_dataset *dataset, const amli_table *table, const int64_t row[],
                    int64_t rows, void ***value, aml_error *error)
{
    Fitting f = {.dataset = dataset, .table = table, .row = row, .rows = rows};
    *value = NULL;
    if (dataset->statistics == 0)
        return AML_OK;
    aml_status status = AML_OK;
    if (rows == 0)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: the statistics of '%s' (%s) are fitted on the training part, which "
                           "has no rows",
                           table->path, dataset->name, dataset->statistic[0].place);
    if (!status)
        status = allocate(&f, error);
    for (int l = 0; l < dataset->fits && !status; l++)
        status = fit_level(&f, l, error);
    for (int i = 0; f.accumulator && i < f.accumulators; i++)
        free(f.accumulator[i]);
    for (int i = 0; f.seen && i < dataset->statistics; i++)
        free(f.seen[i].at);
    free(f.accumulator), free(f.seen);
    if (status)
        amli_statistics_free(dataset, f.value);
    else
        *value = f.value;
    return status;
}
