// A csv file as rows.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/source.h"

typedef struct Csv {
    amli_csv csv;
    amli_cell *cell, *header; // `columns` of each; header NULL: the file has none
    int64_t columns;
    int64_t *column; // of each field
} Csv;

#define FIRST_ROW                                                                                  \
    "\nhelp: if the first row names the columns, say so: source: csv(..., header: yes)"

static aml_status bind(amli_reading *reading, Csv *own, const amli_csv *first, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const char *path = reading->file[0].path;
    aml_status status =
        own->header ? amli_check_header(reading->source->header, own->header, own->columns, error)
                    : AML_OK;
    if (!status)
        status = amli_bind_columns(dataset->field, dataset->fields, own->header, own->columns,
                                   reading->load->labels_may_be_absent, own->column, error);
    if (!status)
        return AML_OK;
    size_t row = (size_t)(first->at - first->row);
    const char *other =
        own->columns > 1                ? NULL
        : memchr(first->row, '\t', row) ? "a tab: source: csv(..., separator: \"\\t\")"
        : memchr(first->row, ';', row)  ? "a semicolon: source: csv(..., separator: \";\")"
                                        : NULL;
    char what[AML_ERROR_ROOM];
    snprintf(what, sizeof what, "%s", error->text);
    return amli_fail(error, status, "%s:%lld:1: %.3000s%s%s", path, (long long)first->line, what,
                     other ? "\nhelp: the separator is \",\" and the first row has " : "",
                     other ? other : "");
}

// The first row says how many columns there are, and their names if it is a header.
static aml_status open_csv(amli_reading *reading, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const amli_source_file *file = &reading->file[0];
    bool is_csv = reading->source->kind == AML_SOURCE_CSV;
    Csv *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, file->path);
    char separator = is_csv && reading->source->separator ? reading->source->separator : ',';
    amli_csv_begin(&own->csv, file->text, file->length, true, separator);
    amli_csv first = own->csv;
    amli_csv_result result = amli_csv_next(&first, NULL, 0, true);
    if (result == AMLI_CSV_END)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected rows, found an empty file",
                         file->path);
    own->columns = first.cells;
    own->cell = calloc((size_t)own->columns, sizeof *own->cell);
    own->column = calloc((size_t)dataset->fields + 1, sizeof *own->column);
    if (!own->cell || !own->column)
        return amli_no_memory(error, (size_t)own->columns * sizeof *own->cell, file->path);
    if (amli_has_header(reading->source->header, dataset->field, dataset->fields)) {
        own->header = calloc((size_t)own->columns, sizeof *own->header);
        if (!own->header)
            return amli_no_memory(error, (size_t)own->columns * sizeof *own->header, file->path);
        amli_csv_next(&own->csv, own->header, own->columns, true);
        if (result == AMLI_CSV_BAD) {
            int64_t line, column;
            amli_csv_place(&own->csv, own->csv.problem_at, &line, &column);
            return amli_fail(error, AML_BAD_DATA,
                             "%s:%lld:%lld: expected the names of the columns, found %s",
                             file->path, (long long)line, (long long)column, own->csv.problem);
        }
    } else if (is_csv) {
        reading->hint = FIRST_ROW;
    }
    return bind(reading, own, &first, error);
}

static amli_row next_csv(amli_reading *reading, void *const to[], aml_error *error)
{
    Csv *own = reading->own;
    const aml_dataset *dataset = reading->dataset;
    amli_csv_result result = amli_csv_next(&own->csv, own->cell, own->columns, own->columns > 1);
    if (result == AMLI_CSV_END || result == AMLI_CSV_MORE)
        return AMLI_ROW_END;
    return amli_decode_row(&own->csv, reading->file[0].path, own->cell, own->columns, own->header,
                           dataset->field, dataset->fields, own->column, reading->source->missing,
                           to, error)
               ? AMLI_ROW_READ
               : AMLI_ROW_BAD;
}

static void close_csv(amli_reading *reading)
{
    Csv *own = reading->own;
    if (!own)
        return;
    free(own->cell), free(own->header), free(own->column);
    free(own);
}

const amli_source_kind amli_source_csv = {
    .name = "csv", .open = open_csv, .next = next_csv, .close = close_csv};
