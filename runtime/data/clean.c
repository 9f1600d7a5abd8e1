// Cleaning: rows that are left out of the parts of a split, or told about, by the rules of the data
// set. It comes after the split, so that a border can be fitted on the training rows alone, and
// nothing is moved: a row that is left out is in no part.
//
//   duplicates        the same bytes in some fields as an earlier row: by hash, then compared
//   near duplicates   sets of words or values that have nearly all in common: MinHash finds the
//                     candidates, and how much they have in common is counted exactly
//   missing values    nan in a float
//   outliers          outside of borders that the training rows set; only training rows are left
//   out range             outside of what the rule says
//
// Rows of a separate test source are never left out: a figure on an official test set would no
// longer be one. They are counted among those that are told about.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data.h"

typedef struct Cleaning {
    const aml_dataset *dataset;
    const amli_table *table;
    const aml_clean *rule;
    amli_split *split;
    amli_fetch fetch;
    const void **at; // the fields of the row that was fetched last
    bool *gone;      // rows that are left out
    bool *training;  // rows of the training part
    aml_notice *notice;
    void *self;
    bool says_nothing; // also what found nothing is told
} Cleaning;

static aml_status fetch(Cleaning *c, int64_t row, aml_error *error)
{
    return amli_fetch_sample(&c->fetch, row, c->at, error);
}

// ---- what a rule found
// ---------------------------------------------------------------------------

enum { SHOWN = 5 };

typedef struct Found {
    int64_t rows, dropped;
    int64_t first[SHOWN];
} Found;

static void found_row(Cleaning *c, Found *found, int64_t row)
{
    if (found->rows < SHOWN)
        found->first[found->rows] = row;
    found->rows++;
    bool may_go =
        row < c->table->source_rows && (c->rule->kind != AML_CLEAN_OUTLIERS || c->training[row]);
    if (c->rule->then != AML_THEN_DROP || !may_go)
        return;
    found->dropped += !c->gone[row];
    c->gone[row] = true;
}

static void tell(const Cleaning *c, const Found *found, const char *field, const char *what)
{
    if (!c->notice || (found->rows == 0 && !c->says_nothing))
        return;
    amli_buffer text = {0};
    amli_buffer_printf(&text, "%s%s%s: %lld row%s %s", c->dataset->name, field ? "." : "",
                       field ? field : "", (long long)found->rows, found->rows == 1 ? "" : "s",
                       what);
    if (c->rule->then == AML_THEN_DROP)
        amli_buffer_printf(&text, ", %lld left out", (long long)found->dropped);
    if (found->rows > 0)
        amli_buffer_printf(&text, " (");
    for (int64_t i = 0; i < found->rows && i < SHOWN; i++)
        amli_buffer_printf(&text, "%s%lld", i ? ", " : "row ", (long long)found->first[i] + 1);
    if (found->rows > 0)
        amli_buffer_printf(&text, "%s; %s)", found->rows > SHOWN ? ", ..." : "", c->rule->place);
    if (!text.failed)
        c->notice(c->self, text.text);
    amli_buffer_free(&text);
}

// ---- duplicates
// ----------------------------------------------------------------------------------

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

static uint64_t hash_bytes(uint64_t h, const void *at, size_t bytes)
{
    const unsigned char *c = at;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ c[i]) * 0x100000001b3u;
    return mix(h + bytes);
}

typedef struct Hashed {
    uint64_t hash;
    int64_t row;
} Hashed;

static int by_hash(const void *a, const void *b)
{
    const Hashed *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static aml_status same_rows(Cleaning *c, int64_t a, int64_t b, char *room, bool *same,
                            aml_error *error)
{
    aml_status status = fetch(c, a, error);
    size_t used = 0;
    *same = true;
    for (int i = 0; i < c->rule->fields && !status; i++) {
        int field = c->rule->field[i];
        memcpy(room + used, c->at[field], c->table->row_bytes[field]);
        used += c->table->row_bytes[field];
    }
    if (!status)
        status = fetch(c, b, error);
    used = 0;
    for (int i = 0; i < c->rule->fields && !status; i++) {
        int field = c->rule->field[i];
        *same = *same && memcmp(room + used, c->at[field], c->table->row_bytes[field]) == 0;
        used += c->table->row_bytes[field];
    }
    return status;
}

static aml_status duplicates(Cleaning *c, aml_error *error)
{
    int64_t rows = c->table->rows;
    size_t bytes = 0;
    for (int i = 0; i < c->rule->fields; i++)
        bytes += c->table->row_bytes[c->rule->field[i]];
    Hashed *hashed = malloc((size_t)(rows + 1) * sizeof *hashed);
    char *room = malloc(bytes + 1);
    bool *repeats = calloc((size_t)rows + 1, sizeof *repeats);
    aml_status status = hashed && room && repeats
                            ? AML_OK
                            : amli_no_memory(error, (size_t)rows * sizeof *hashed, "cleaning");
    for (int64_t row = 0; row < rows && !status; row++) {
        status = fetch(c, row, error);
        hashed[row] = (Hashed){0, row};
        for (int i = 0; i < c->rule->fields && !status; i++) {
            int field = c->rule->field[i];
            hashed[row].hash =
                hash_bytes(hashed[row].hash, c->at[field], c->table->row_bytes[field]);
        }
    }
    if (!status)
        qsort(hashed, (size_t)rows, sizeof *hashed, by_hash);
    for (int64_t i = 1, first = 0; i < rows && !status; i++) {
        if (hashed[i].hash != hashed[first].hash) {
            first = i;
            continue;
        }
        bool same;
        status = same_rows(c, hashed[first].row, hashed[i].row, room, &same, error);
        repeats[hashed[i].row] = same;
    }
    Found found = {0};
    for (int64_t row = 0; row < rows && !status; row++)
        if (repeats[row])
            found_row(c, &found, row);
    if (!status)
        tell(c, &found, NULL, "the same as an earlier one");
    free(hashed), free(room), free(repeats);
    return status;
}

// ---- near duplicates
// -----------------------------------------------------------------------------
//
// A row is the set of its items: the values of fields with a single element, and of longer fields
// every three consecutive elements (words, tokens). The smallest of an item's hashes is the same in
// two sets with the probability of what they have in common (A. Broder, 1997); BANDS times WIDTH of
// them make rows candidates that agree in one band.

enum { BANDS = 24, WIDTH = 3, SHINGLE = 3 };

typedef struct Items {
    uint64_t *at; // sorted, each once
    int64_t count;
} Items;

static int by_item(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static aml_status items_of(Cleaning *c, int64_t row, Items *items, aml_error *error)
{
    aml_status status = fetch(c, row, error);
    int64_t room = 0;
    for (int i = 0; i < c->rule->fields; i++)
        room += aml_shape_elements(&c->dataset->field[c->rule->field[i]].tensor.shape);
    *items = (Items){.at = malloc((size_t)(room + 1) * sizeof *items->at)};
    if (!items->at)
        return amli_no_memory(error, (size_t)room * sizeof *items->at, "cleaning");
    for (int i = 0; i < c->rule->fields && !status; i++) {
        int field = c->rule->field[i];
        const aml_tensor_info *info = &c->dataset->field[field].tensor;
        int64_t count = aml_shape_elements(&info->shape), width = count < SHINGLE ? 1 : SHINGLE;
        size_t size = aml_dtype_bytes(info->dtype);
        for (int64_t k = 0; k + width <= count; k++)
            items->at[items->count++] =
                hash_bytes((uint64_t)(field + 1) << 40,
                           (const char *)c->at[field] + (size_t)k * size, size * (size_t)width);
    }
    qsort(items->at, (size_t)items->count, sizeof *items->at, by_item);
    int64_t kept = 0;
    for (int64_t i = 0; i < items->count; i++)
        if (i == 0 || items->at[i] != items->at[i - 1])
            items->at[kept++] = items->at[i];
    items->count = kept;
    return status;
}

static double in_common(const Items *a, const Items *b)
{
    int64_t same = 0;
    for (int64_t i = 0, k = 0; i < a->count && k < b->count;) {
        same += a->at[i] == b->at[k];
        bool first = a->at[i] <= b->at[k], second = b->at[k] <= a->at[i];
        i += first, k += second;
    }
    int64_t all = a->count + b->count - same;
    return all ? (double)same / (double)all : 1;
}

static uint64_t band_of(const Items *items, int band)
{
    uint64_t h = (uint64_t)band;
    for (int w = 0; w < WIDTH; w++) {
        uint64_t seed = mix((uint64_t)(band * WIDTH + w) + 0x9e3779b97f4a7c15u), least = UINT64_MAX;
        for (int64_t i = 0; i < items->count; i++) {
            uint64_t item = mix(items->at[i] ^ seed);
            least = item < least ? item : least;
        }
        h = mix(h ^ least);
    }
    return h;
}

static aml_status compare_band(Hashed *hashed, int64_t rows, const Items *items, double similarity,
                               bool *repeats)
{
    enum { MOST_COMPARED = 64 };
    qsort(hashed, (size_t)rows, sizeof *hashed, by_hash);
    for (int64_t i = 1, first = 0; i < rows; i++) {
        if (hashed[i].hash != hashed[first].hash) {
            first = i;
            continue;
        }
        int64_t row = hashed[i].row;
        for (int64_t k = first; k < i && k < first + MOST_COMPARED && !repeats[row]; k++)
            repeats[row] = !repeats[hashed[k].row] &&
                           in_common(&items[hashed[k].row], &items[row]) >= similarity;
    }
    return AML_OK;
}

static aml_status near_duplicates(Cleaning *c, aml_error *error)
{
    int64_t rows = c->table->rows;
    Items *items = calloc((size_t)rows + 1, sizeof *items);
    Hashed *hashed = malloc((size_t)(rows + 1) * sizeof *hashed);
    bool *repeats = calloc((size_t)rows + 1, sizeof *repeats);
    aml_status status = items && hashed && repeats
                            ? AML_OK
                            : amli_no_memory(error, (size_t)rows * sizeof *items, "cleaning");
    for (int64_t row = 0; row < rows && !status; row++)
        status = items_of(c, row, &items[row], error);
    for (int band = 0; band < BANDS && !status; band++) {
        for (int64_t row = 0; row < rows; row++)
            hashed[row] = (Hashed){band_of(&items[row], band), row};
        status = compare_band(hashed, rows, items, c->rule->limit, repeats);
    }
    Found found = {0};
    for (int64_t row = 0; row < rows && !status; row++)
        if (repeats[row])
            found_row(c, &found, row);
    if (!status)
        tell(c, &found, NULL, "nearly the same as an earlier one");
    for (int64_t row = 0; items && row < rows; row++)
        free(items[row].at);
    free(items), free(hashed), free(repeats);
    return status;
}

// ---- values

// Of each element of a field: what is below low or above high is outside.
typedef struct Borders {
    double *low, *high;
    int64_t elements;
} Borders;

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int64_t count, double at)
{
    double place = at * (double)(count - 1);
    int64_t low = (int64_t)place, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (place - (double)low) * (sorted[high] - sorted[low]);
}

static void set_borders(const aml_clean *rule, double *value, int64_t count, double *low,
                        double *high)
{
    *low = -INFINITY, *high = INFINITY;
    if (count == 0)
        return;
    if (rule->by == AML_BY_IQR) {
        qsort(value, (size_t)count, sizeof *value, by_number);
        double first = quantile(value, count, 0.25), third = quantile(value, count, 0.75);
        *low = first - rule->limit * (third - first);
        *high = third + rule->limit * (third - first);
        return;
    }
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < count; i++)
        mean += value[i];
    mean /= (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (value[i] - mean) * (value[i] - mean);
    double deviation = sqrt(squares / (double)count);
    *low = mean - rule->limit * deviation;
    *high = mean + rule->limit * deviation;
}

// The borders of one element, from the training rows that are still there.
static aml_status fit_borders(Cleaning *c, int field, int64_t element, double *low, double *high,
                              aml_error *error)
{
    const amli_split *split = c->split;
    int64_t rows = split->rows[AML_PART_TRAIN], count = 0;
    double *value = malloc((size_t)(rows + 1) * sizeof *value);
    aml_status status =
        value ? AML_OK : amli_no_memory(error, (size_t)rows * sizeof *value, "cleaning");
    for (int64_t i = 0; i < rows && !status; i++) {
        int64_t row = split->row[AML_PART_TRAIN][i];
        if (c->gone[row])
            continue;
        status = fetch(c, row, error);
        double number =
            status ? NAN
                   : amli_element(c->dataset->field[field].tensor.dtype, c->at[field], element);
        if (!isnan(number))
            value[count++] = number;
    }
    if (!status)
        set_borders(c->rule, value, count, low, high);
    free(value);
    return status;
}

static bool is_outside(const Cleaning *c, int field, const Borders *borders)
{
    for (int64_t e = 0; e < borders->elements; e++) {
        double value = amli_element(c->dataset->field[field].tensor.dtype, c->at[field], e);
        if (c->rule->kind == AML_CLEAN_MISSING
                ? isnan(value)
                : value < borders->low[e] || value > borders->high[e])
            return true;
    }
    return false;
}

// A row outside of a range that must not be.
static aml_status refuse(const Cleaning *c, int field, int64_t row, aml_error *error)
{
    char value[40];
    const aml_tensor_info *info = &c->dataset->field[field].tensor;
    for (int64_t e = 0; e < aml_shape_elements(&info->shape); e++) {
        double number = amli_element(info->dtype, c->at[field], e);
        if (number < c->rule->low || number > c->rule->high)
            return amli_fail(
                error, AML_BAD_DATA, "%s: '%s' of row %lld should be %g to %g, found %s (%s)",
                c->table->path, info->name, (long long)row + 1, c->rule->low, c->rule->high,
                amli_real_text(number, value, sizeof value), c->rule->place);
    }
    return AML_OK;
}

static aml_status one_field(Cleaning *c, int field, aml_error *error)
{
    const aml_tensor_info *info = &c->dataset->field[field].tensor;
    Borders borders = {.elements = aml_shape_elements(&info->shape)};
    size_t bytes = (size_t)(borders.elements + 1) * sizeof *borders.low;
    borders.low = malloc(bytes), borders.high = malloc(bytes);
    aml_status status =
        borders.low && borders.high ? AML_OK : amli_no_memory(error, bytes, "cleaning");
    for (int64_t e = 0; e < borders.elements && !status; e++) {
        borders.low[e] = c->rule->low, borders.high[e] = c->rule->high;
        if (c->rule->kind == AML_CLEAN_OUTLIERS)
            status = fit_borders(c, field, e, &borders.low[e], &borders.high[e], error);
    }
    Found found = {0};
    for (int64_t row = 0; row < c->table->rows && !status; row++) {
        if (c->gone[row])
            continue;
        status = fetch(c, row, error);
        if (status || !is_outside(c, field, &borders))
            continue;
        if (c->rule->then == AML_THEN_ERROR)
            status = refuse(c, field, row, error);
        else
            found_row(c, &found, row);
    }
    static const char *const what[] = {[AML_CLEAN_MISSING] = "without a value",
                                       [AML_CLEAN_OUTLIERS] = "far outside",
                                       [AML_CLEAN_RANGE] = "out of range"};
    if (!status)
        tell(c, &found, info->name, what[c->rule->kind]);
    free(borders.low), free(borders.high);
    return status;
}

// ---- all rules
// -----------------------------------------------------------------------------------

static aml_status apply(Cleaning *c, aml_error *error)
{
    switch (c->rule->kind) {
    case AML_CLEAN_DUPLICATES:
        return duplicates(c, error);
    case AML_CLEAN_NEAR_DUPLICATES:
        return near_duplicates(c, error);
    case AML_CLEAN_MISSING:
    case AML_CLEAN_OUTLIERS:
    case AML_CLEAN_RANGE:
        break;
    }
    aml_status status = AML_OK;
    for (int i = 0; i < c->rule->fields && !status; i++)
        status = one_field(c, c->rule->field[i], error);
    return status;
}

static void leave_out(amli_split *split, const bool *gone)
{
    for (int part = 0; part <= AML_PART_TEST; part++) {
        int64_t kept = 0;
        for (int64_t i = 0; i < split->rows[part]; i++)
            if (!gone[split->row[part][i]])
                split->row[part][kept++] = split->row[part][i];
        split->rows[part] = kept;
    }
}

aml_status amli_clean(const aml_dataset *dataset, const amli_table *table, const amli_load *load,
                      amli_split *split, aml_error *error)
{
    if (dataset->cleans == 0)
        return AML_OK;
    size_t rows = (size_t)table->rows + 1;
    Cleaning c = {.dataset = dataset,
                  .table = table,
                  .split = split,
                  .at = calloc((size_t)dataset->fields + 1, sizeof *c.at),
                  .gone = calloc(rows, sizeof *c.gone),
                  .training = calloc(rows, sizeof *c.training),
                  .notice = load->on_cleaned,
                  .self = load->self,
                  .says_nothing = load->check_all};
    aml_status status = c.at && c.gone && c.training ? amli_fetch_new(table, &c.fetch, error)
                                                     : amli_no_memory(error, rows, "cleaning");
    for (int64_t i = 0; i < split->rows[AML_PART_TRAIN] && !status; i++)
        c.training[split->row[AML_PART_TRAIN][i]] = true;
    for (int i = 0; i < dataset->cleans && !status; i++) {
        c.rule = &dataset->clean[i];
        status = apply(&c, error);
    }
    if (!status)
        leave_out(split, c.gone);
    amli_fetch_free(&c.fetch);
    free(c.at), free(c.gone), free(c.training);
    return status;
}
