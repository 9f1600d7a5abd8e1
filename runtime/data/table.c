// A csv file as columns of typed fields.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/data.h"

size_t amli_tensor_bytes(const aml_tensor_info *tensor)
{
    int64_t count = aml_shape_elements(&tensor->shape);
    return count < 0 ? 0 : (size_t)count * aml_dtype_bytes(tensor->dtype);
}

// What reading one file needs.
typedef struct Reading {
    const aml_dataset *dataset;
    const aml_source *source;
    const amli_load *load;
    amli_table *table;
    const char *path;
    amli_csv csv;
    amli_cell *cell, *header; // `columns` of each; header NULL: the file has none
    int64_t columns;
    int64_t *column;  // of each field
    void **to;        // of each field: the sample being written
    int64_t capacity; // rows
} Reading;

static aml_status grow(Reading *r, aml_error *error)
{
    amli_table *table = r->table;
    int64_t capacity = r->capacity ? r->capacity * 2 : 1024;
    for (int i = 0; i < table->fields; i++) {
        size_t bytes;
        if (__builtin_mul_overflow((size_t)capacity, table->row_bytes[i], &bytes))
            return amli_no_memory(error, SIZE_MAX, "the data");
        void *more = realloc(table->field[i], bytes ? bytes : 1);
        if (!more)
            return amli_no_memory(error, bytes, "the data");
        table->field[i] = more;
    }
    r->capacity = capacity;
    return AML_OK;
}

// A bad row: the answer is AML_OK if it is passed over.
static aml_status refuse(Reading *r, const aml_error *error)
{
    r->table->bad++;
    if (!r->load->check_all && (r->dataset->on_bad == AML_ON_BAD_ERROR || r->load->is_argument))
        return error->status;
    if (r->load->on_bad_row)
        r->load->on_bad_row(r->load->self, error->text);
    return AML_OK;
}

// The first row says how many columns there are, and their names if it is a header.
static aml_status begin(Reading *r, const char *text, size_t length, aml_error *error)
{
    const aml_dataset *dataset = r->dataset;
    char separator = r->source->separator ? r->source->separator : ',';
    amli_csv_begin(&r->csv, text, length, true, separator);
    amli_csv first = r->csv;
    amli_csv_result result = amli_csv_next(&first, NULL, 0, true);
    if (result == AMLI_CSV_END)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected rows, found an empty file",
                         r->path);
    r->columns = first.cells;
    r->cell = calloc((size_t)r->columns, sizeof *r->cell);
    if (!r->cell)
        return amli_no_memory(error, (size_t)r->columns * sizeof *r->cell, r->path);
    if (amli_has_header(r->source->header, dataset->field, dataset->fields)) {
        r->header = calloc((size_t)r->columns, sizeof *r->header);
        if (!r->header)
            return amli_no_memory(error, (size_t)r->columns * sizeof *r->header, r->path);
        amli_csv_next(&r->csv, r->header, r->columns, true);
        if (result == AMLI_CSV_BAD) {
            int64_t line, column;
            amli_csv_place(&r->csv, r->csv.problem_at, &line, &column);
            return amli_fail(error, AML_BAD_DATA,
                             "%s:%lld:%lld: expected the names of the columns, found %s", r->path,
                             (long long)line, (long long)column, r->csv.problem);
        }
    }
    aml_status status =
        r->header ? amli_check_header(r->source->header, r->header, r->columns, error) : AML_OK;
    if (!status)
        status = amli_bind_columns(dataset->field, dataset->fields, r->header, r->columns,
                                   r->load->labels_may_be_absent, r->column, error);
    if (!status)
        return AML_OK;
    size_t row = (size_t)(first.at - first.row);
    const char *other =
        r->columns > 1                 ? NULL
        : memchr(first.row, '\t', row) ? "a tab: source: csv(..., separator: \"\\t\")"
        : memchr(first.row, ';', row)  ? "a semicolon: source: csv(..., separator: \";\")"
                                       : NULL;
    char what[AML_ERROR_ROOM];
    snprintf(what, sizeof what, "%s", error->text);
    return amli_fail(error, status, "%s:%lld:1: %.3000s%s%s", r->path, (long long)first.line, what,
                     other ? "\nhelp: the separator is \",\" and the first row has " : "",
                     other ? other : "");
}

static aml_status read_rows(Reading *r, aml_error *error)
{
    const aml_dataset *dataset = r->dataset;
    amli_table *table = r->table;
    bool first = !r->header;
    aml_status status = AML_OK;
    while (!status) {
        amli_csv_result result = amli_csv_next(&r->csv, r->cell, r->columns, r->columns > 1);
        if (result == AMLI_CSV_END || result == AMLI_CSV_MORE)
            break;
        if (table->rows == r->capacity && (status = grow(r, error)))
            break;
        for (int i = 0; i < table->fields; i++)
            r->to[i] = (char *)table->field[i] + (size_t)table->rows * table->row_bytes[i];
        aml_error bad;
        if (amli_decode_row(&r->csv, r->path, r->cell, r->columns, r->header, dataset->field,
                            dataset->fields, r->column, r->source->missing, r->to, &bad)) {
            table->rows++;
        } else if ((status = refuse(r, &bad))) {
            amli_fail(error, status, "%s%s", bad.text,
                      first ? "\nhelp: if the first row names the columns, say so: source: "
                              "csv(..., header: yes)"
                            : "");
        }
        first = false;
    }
    return status;
}

static aml_status read_file(amli_table *table, const aml_dataset *dataset, const aml_source *source,
                            const char *named, const amli_load *load, char hash[AMLI_HASH_TEXT],
                            char path[PATH_MAX], int64_t *capacity, aml_error *error)
{
    char *text;
    size_t length;
    aml_status status = AML_OK;
    bool is_input = load->is_argument && strcmp(named, "-") == 0;
    if (!load->is_argument)
        status = amli_locate(named, load->source_dir, source->place, path, error);
    else if ((size_t)snprintf(path, PATH_MAX, "%s", is_input ? "standard input" : named) >=
             PATH_MAX)
        status = amli_fail(error, AML_INVALID, "the path %s is too long", named);
    if (!status)
        status = is_input ? amli_read_descriptor(STDIN_FILENO, path, &text, &length, error)
                          : amli_read_file(path, &text, &length, error);
    if (status)
        return status;
    amli_hash(text, length, hash);
    Reading r = {.dataset = dataset,
                 .source = source,
                 .load = load,
                 .table = table,
                 .path = path,
                 .capacity = *capacity};
    r.column = calloc((size_t)dataset->fields + 1, sizeof *r.column);
    r.to = calloc((size_t)dataset->fields + 1, sizeof *r.to);
    status =
        r.column && r.to ? begin(&r, text, length, error) : amli_no_memory(error, length, path);
    if (!status)
        status = read_rows(&r, error);
    *capacity = r.capacity;
    free(r.cell), free(r.header), free(r.column), free(r.to);
    free(text);
    return status;
}

static aml_status check_fields(const aml_dataset *dataset, aml_error *error)
{
    for (int i = 0; i < dataset->fields; i++)
        if (aml_shape_elements(&dataset->field[i].tensor.shape) != dataset->field[i].count)
            return amli_fail(error, AML_INTERNAL,
                             "the field '%s' has a shape of %lld elements and reads %d columns",
                             dataset->field[i].tensor.name,
                             (long long)aml_shape_elements(&dataset->field[i].tensor.shape),
                             dataset->field[i].count);
    return AML_OK;
}

aml_status amli_table_load(const aml_dataset *dataset, const amli_load *load, amli_table **out,
                           aml_error *error)
{
    *out = NULL;
    aml_status status = check_fields(dataset, error);
    if (status)
        return status;
    amli_table *table = calloc(1, sizeof *table);
    if (!table)
        return amli_no_memory(error, sizeof *table, "the data");
    table->fields = dataset->fields;
    table->field = calloc((size_t)dataset->fields + 1, sizeof *table->field);
    table->row_bytes = calloc((size_t)dataset->fields + 1, sizeof *table->row_bytes);
    if (!table->field || !table->row_bytes)
        status = amli_no_memory(error, sizeof *table->field, "the data");
    for (int i = 0; i < dataset->fields && !status; i++)
        table->row_bytes[i] = amli_tensor_bytes(&dataset->field[i].tensor);
    int64_t capacity = 0;
    if (!status)
        status = read_file(table, dataset, &dataset->source, load->path, load, table->fingerprint,
                           table->path, &capacity, error);
    table->source_rows = table->rows;
    if (!status && load->test_path) {
        char both[2 * AMLI_HASH_TEXT], path[PATH_MAX];
        memcpy(both, table->fingerprint, AMLI_HASH_TEXT - 1);
        status = read_file(table, dataset, &dataset->test, load->test_path, load,
                           both + AMLI_HASH_TEXT - 1, path, &capacity, error);
        amli_hash(both, 2 * (AMLI_HASH_TEXT - 1), table->fingerprint);
    }
    int64_t all = table->rows + table->bad;
    if (!status && !load->check_all && table->bad > 0 &&
        (double)table->bad > dataset->skip_limit * (double)all)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: %lld of %lld rows are bad, and at most %g%% may be skipped "
                           "(%s)\nhelp: `data check` lists them",
                           table->path, (long long)table->bad, (long long)all,
                           dataset->skip_limit * 100, dataset->place);
    if (!status && table->rows == 0 && !(load->check_all && table->bad > 0))
        status = amli_fail(error, AML_BAD_DATA, "%s: expected rows, found none behind the header",
                           table->path);
    for (int i = 0; i < table->fields && !status; i++)
        table->bytes += (size_t)table->rows * table->row_bytes[i];
    if (status) {
        amli_table_free(table);
        return status;
    }
    *out = table;
    return AML_OK;
}

void amli_table_free(amli_table *table)
{
    if (!table)
        return;
    for (int i = 0; i < table->fields && table->field; i++)
        free(table->field[i]);
    free(table->field);
    free(table->row_bytes);
    free(table);
}
