// Classes and groups of the rows of a table, for its split.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data.h"

// A whole number of a row. False if the field is not one.
static bool whole_field(const aml_dataset *dataset, const amli_table *table, int field)
{
    const aml_tensor_info *info = &dataset->field[field].tensor;
    bool whole = info->dtype == AML_I8 || info->dtype == AML_U8 || info->dtype == AML_I32 ||
                 info->dtype == AML_I64 || info->dtype == AML_BOOL;
    return whole && table->row_bytes[field] == aml_dtype_bytes(info->dtype) && table->window == 1;
}

static int64_t whole_at(const aml_dataset *dataset, const amli_table *table, int field, int64_t row)
{
    const void *at = amli_table_at(table, field, row);
    switch (dataset->field[field].tensor.dtype) {
    case AML_I8:
        return *(const int8_t *)at;
    case AML_U8:
    case AML_BOOL:
        return *(const uint8_t *)at;
    case AML_I32: {
        int32_t value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    case AML_I64: {
        int64_t value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    case AML_F32:
    case AML_F64:
    case AML_F16:
    case AML_BF16:
        break;
    }
    return 0;
}

static aml_status read_strata(const aml_dataset *dataset, const amli_table *table, int64_t **out,
                              aml_error *error)
{
    int field = dataset->split.stratify;
    if (!whole_field(dataset, table, field) || dataset->field[field].tensor.classes <= 0)
        return amli_fail(error, AML_INVALID,
                         "%s: stratify needs a field that is one class, and '%s' is not",
                         dataset->place, dataset->field[field].tensor.name);
    int64_t *stratum = calloc((size_t)table->source_rows + 1, sizeof *stratum);
    if (!stratum)
        return amli_no_memory(error, (size_t)table->source_rows * sizeof *stratum, "the split");
    for (int64_t i = 0; i < table->source_rows; i++)
        stratum[i] = whole_at(dataset, table, field, i);
    *out = stratum;
    return AML_OK;
}

typedef struct Keyed {
    int64_t key, row;
} Keyed;

static int by_key(const void *a, const void *b)
{
    const Keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

// Groups are numbered by the value that makes them.
static aml_status read_groups(const aml_dataset *dataset, const amli_table *table, int64_t **out,
                              int64_t *groups, aml_error *error)
{
    int field = 0;
    while (field < dataset->fields &&
           strcmp(dataset->field[field].tensor.name, dataset->split.group) != 0)
        field++;
    if (field == dataset->fields || !whole_field(dataset, table, field))
        return amli_fail(error, AML_INVALID,
                         "%s: group needs a field that is one whole number or one class, and '%s' "
                         "is not",
                         dataset->place, dataset->split.group);
    size_t rows = (size_t)table->source_rows;
    int64_t *group = calloc(rows + 1, sizeof *group);
    Keyed *keyed = malloc((rows + 1) * sizeof *keyed);
    if (!group || !keyed) {
        free(group), free(keyed);
        return amli_no_memory(error, rows * sizeof *keyed, "the split");
    }
    for (size_t i = 0; i < rows; i++)
        keyed[i] = (Keyed){whole_at(dataset, table, field, (int64_t)i), (int64_t)i};
    qsort(keyed, rows, sizeof *keyed, by_key);
    *groups = 0;
    for (size_t i = 0; i < rows; i++) {
        if (i == 0 || keyed[i].key != keyed[i - 1].key)
            ++*groups;
        group[keyed[i].row] = *groups - 1;
    }
    free(keyed);
    *out = group;
    return AML_OK;
}

aml_status amli_split_table(const aml_dataset *dataset, const amli_table *table,
                            const amli_fold *fold, amli_split *split, aml_error *error)
{
    amli_origin held = fold->part == AML_PART_TEST ? AMLI_FROM_TEST : AMLI_FROM_VALID;
    if (fold->count > 0 && table->origin_rows[held] > 0)
        return amli_fail(error, AML_INVALID,
                         "the %s part of '%s' (%s) has a source of its own, so folds cannot take "
                         "its place\nhelp: let them take the place of the other part",
                         held == AMLI_FROM_TEST ? "test" : "validation", dataset->name,
                         dataset->place);
    if (dataset->split.by_time)
        return amli_split_by_time(&dataset->split, table, fold, split, error);
    int64_t *stratum = NULL, *group = NULL;
    amli_labels labels = {0};
    aml_status status = AML_OK;
    if (dataset->split.stratify >= 0 && dataset->split.stratify < dataset->fields) {
        labels.strata = dataset->field[dataset->split.stratify].tensor.classes;
        status = read_strata(dataset, table, &stratum, error);
    }
    if (!status && dataset->split.group)
        status = read_groups(dataset, table, &group, &labels.groups, error);
    labels.stratum = stratum;
    labels.group = group;
    if (!status)
        status =
            amli_split_rows(&dataset->split, table->source_rows, table->origin_rows[AMLI_FROM_TEST],
                            table->rows, &labels, fold, split, error);
    free(stratum), free(group);
    return status;
}

void amli_fold_mark(const amli_fold *fold, char fingerprint[AMLI_HASH_TEXT])
{
    if (fold->count == 0 && !(fold->share > 0 && fold->share < 1))
        return;
    char text[AMLI_HASH_TEXT + 96];
    snprintf(text, sizeof text, "%s fold %d of %d as part %d, share %.17g", fingerprint,
             fold->index, fold->count, (int)fold->part, fold->share);
    amli_hash(text, strlen(text), fingerprint);
}
