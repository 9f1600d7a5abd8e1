// A csv file as rows.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/rows.h"

typedef struct Csv {
    amli_rows rows;
    amli_cell *header; // `columns` of them, in `names`; NULL: the file has none
    char *names;
    int64_t columns;
    int64_t *column;     // of each field
    amli_lookup *lookup; // of each field
    int lookups;
} Csv;

typedef struct Thread {
    amli_rows_thread rows;
    const aml_dataset *dataset;
    void **decoders;  // of fields that have one
    amli_cell cell[]; // `columns`
} Thread;

#define FIRST_ROW                                                                                  \
    "\nhelp: if the first row names the columns, say so: source: csv(..., header: yes)"

static aml_status bind(amli_reading *reading, Csv *own, const char *row, size_t length,
                       int64_t line, aml_error *error)
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
    const char *other = own->columns > 1            ? NULL
                        : memchr(row, '\t', length) ? "a tab: source: csv(..., separator: \"\\t\")"
                        : memchr(row, ';', length)
                            ? "a semicolon: source: csv(..., separator: \";\")"
                            : NULL;
    char what[AML_ERROR_ROOM];
    snprintf(what, sizeof what, "%s", error->text);
    return amli_fail(error, status, "%s:%lld:1: %.3000s%s%s", path, (long long)line, what,
                     other ? "\nhelp: the separator is \",\" and the first row has " : "",
                     other ? other : "");
}

// The names are kept: what they were read from may not stay in memory.
static aml_status keep_header(Csv *own, const amli_cell cell[], const char *path, aml_error *error)
{
    size_t bytes = 1, columns = own->columns > 0 ? (size_t)own->columns : 0;
    for (size_t i = 0; i < columns; i++)
        bytes += cell[i].length;
    own->header = calloc(columns + 1, sizeof *own->header);
    own->names = malloc(bytes);
    if (!own->header || !own->names)
        return amli_no_memory(error, bytes, path);
    char *to = own->names;
    for (size_t i = 0; i < columns; i++) {
        own->header[i] = cell[i];
        own->header[i].at = memcpy(to, cell[i].at, cell[i].length);
        to += cell[i].length;
        amli_cell_trim(NULL, &own->header[i]);
    }
    return AML_OK;
}

// The first row says how many columns there are, and their names if it is a header.
static aml_status read_first(amli_reading *reading, Csv *own, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    const char *path = reading->file[0].path;
    amli_csv *csv = &own->rows.csv;
    amli_csv_result result;
    aml_status status = amli_rows_first(&own->rows, NULL, 0, &result, error);
    if (status)
        return status;
    if (result == AMLI_CSV_END)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected rows, found an empty file", path);
    // the row is in memory: it is read again from its beginning
    amli_csv first = *csv, again = *csv;
    again.at = first.row;
    again.next_line = first.line;
    own->columns = first.cells;
    own->column = calloc((size_t)dataset->fields + 1, sizeof *own->column);
    amli_cell *cell = calloc((size_t)own->columns, sizeof *cell);
    if (!own->column || !cell)
        status = amli_no_memory(error, (size_t)own->columns * sizeof *cell, path);
    bool names = amli_has_header(reading->source->header, dataset->field, dataset->fields);
    if (!status && names && result == AMLI_CSV_BAD) {
        int64_t line, column;
        amli_csv_place(&first, first.problem_at, &line, &column);
        status = amli_fail(error, AML_BAD_DATA,
                           "%s:%lld:%lld: expected the names of the columns, found %s", path,
                           (long long)line, (long long)column, first.problem);
    } else if (!status && names) {
        amli_csv_next(&again, cell, own->columns);
        status = keep_header(own, cell, path, error);
    }
    free(cell);
    size_t length = (size_t)(first.at - first.row);
    if (!status)
        status = bind(reading, own, first.row, length, first.line, error);
    if (names || status)
        return status;
    csv->at = first.row; // a row like the others
    csv->next_line = first.line;
    if (reading->source->kind == AML_SOURCE_CSV)
        reading->hint = FIRST_ROW;
    return AML_OK;
}

// Whether a field is read at the beginning even if the data are too large for that: splits and
// counts of classes ask for it.
static bool stays(const aml_field *field)
{
    return field->count == 1 && field->tensor.classes > 0 && field->tensor.shape.rank == 0;
}

// Leaves the rows on the disk if they need more memory than the source may use.
static aml_status choose(amli_reading *reading, Csv *own, aml_error *error)
{
    size_t memory = reading->source->memory_bytes, one = 0, all;
    int fields = reading->dataset->fields;
    for (int i = 0; i < fields; i++)
        one += reading->unit_bytes[i];
    bool too_large = __builtin_mul_overflow(one, (size_t)own->rows.rows, &all) || all > memory;
    if (own->rows.text && (!memory || !too_large || reading->load->is_argument))
        return AML_OK;
    if (!amli_rows_leave(reading, &own->rows, error))
        return error ? error->status : AML_IO;
    // a test source goes the way of the source before it
    for (int i = 0; i < fields && reading->source == &reading->dataset->source; i++)
        reading->on_demand[i] = too_large && !stays(&reading->dataset->field[i]);
    return AML_OK;
}

static void *thread_csv(const amli_reading *reading)
{
    const Csv *own = reading->own;
    const aml_dataset *dataset = reading->dataset;
    Thread *thread = malloc(sizeof *thread + (size_t)own->columns * sizeof *thread->cell);
    if (!thread)
        return NULL;
    thread->dataset = dataset;
    if (amli_cells_open(dataset->field, dataset->fields, &thread->decoders, NULL)) {
        free(thread);
        return NULL;
    }
    if (!amli_rows_thread_new(&own->rows, &thread->rows)) {
        amli_cells_close(dataset->field, dataset->fields, thread->decoders);
        free(thread);
        return NULL;
    }
    return thread;
}

static void thread_csv_free(void *of)
{
    Thread *thread = of;
    amli_rows_thread_free(&thread->rows);
    amli_cells_close(thread->dataset->field, thread->dataset->fields, thread->decoders);
    free(thread);
}

static amli_row csv_at(const amli_reading *reading, void *of, int64_t row, void *const to[],
                       aml_error *error)
{
    const Csv *own = reading->own;
    const aml_dataset *dataset = reading->dataset;
    Thread *thread = of;
    if (!amli_rows_read(&own->rows, &thread->rows, row, thread->cell, own->columns, error))
        return AMLI_ROW_FAILED;
    return amli_decode_row(&thread->rows.csv, reading->file[0].path, thread->cell, own->columns,
                           own->header, dataset->field, dataset->fields, own->column, own->lookup,
                           thread->decoders, to, error)
               ? AMLI_ROW_READ
               : AMLI_ROW_BAD;
}

static aml_status open_csv(amli_reading *reading, aml_error *error)
{
    const aml_source *source = reading->source;
    bool is_csv = source->kind == AML_SOURCE_CSV;
    Csv *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, reading->file[0].path);
    own->rows.descriptor = -1;
    amli_csv_form form = {.separator = is_csv && source->separator ? source->separator : ',',
                          .comment = source->comment,
                          .literal_quotes = source->literal_quotes};
    aml_status status = amli_rows_open(reading, &form, source->memory_bytes, &own->rows, error);
    if (!status)
        status = read_first(reading, own, error);
    if (status || reading->load->names_only)
        return status;
    own->lookup = calloc((size_t)reading->dataset->fields + 1, sizeof *own->lookup);
    for (int i = 0; own->lookup && i < reading->dataset->fields; i++, own->lookups++)
        if (!amli_lookup_new(&reading->dataset->field[i], &own->lookup[i])) {
            amli_lookup_free(&own->lookup[i]);
            return amli_no_memory(error, sizeof *own->lookup, reading->file[0].path);
        }
    if (!own->lookup)
        return amli_no_memory(error, sizeof *own->lookup, reading->file[0].path);
    status = amli_rows_index(&own->rows, error);
    return status ? status : choose(reading, own, error);
}

static int64_t csv_rows(const amli_reading *reading)
{
    return ((const Csv *)reading->own)->rows.rows;
}

static const amli_cell *csv_names(const amli_reading *reading, int64_t *count)
{
    const Csv *own = reading->own;
    *count = own->columns;
    return own->header;
}

static amli_row csv_texts(const amli_reading *reading, void *of, int64_t row, amli_cell cell[],
                          aml_error *error)
{
    const Csv *own = reading->own;
    const aml_field *field = &reading->dataset->field[0];
    Thread *thread = of;
    if (!amli_rows_read(&own->rows, &thread->rows, row, thread->cell, own->columns, error))
        return AMLI_ROW_FAILED;
    const amli_csv *csv = &thread->rows.csv;
    if (!amli_check_row(csv, reading->file[0].path, own->columns, error))
        return AMLI_ROW_BAD;
    memcpy(cell, &thread->cell[own->column[0]], (size_t)field->count * sizeof *cell);
    return AMLI_ROW_READ;
}

static aml_status csv_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                  aml_error *error)
{
    return amli_rows_fingerprint(&((Csv *)reading->own)->rows, text, error);
}

static void close_csv(amli_reading *reading)
{
    Csv *own = reading->own;
    if (!own)
        return;
    amli_rows_close(&own->rows);
    for (int i = 0; i < own->lookups; i++)
        amli_lookup_free(&own->lookup[i]);
    free(own->lookup);
    free(own->header), free(own->names), free(own->column);
    free(own);
}

const amli_source_kind amli_source_csv = {.name = "csv",
                                          .by_path = true,
                                          .open = open_csv,
                                          .close = close_csv,
                                          .fingerprint = csv_fingerprint,
                                          .checks = true,
                                          .rows = csv_rows,
                                          .at = csv_at,
                                          .thread_new = thread_csv,
                                          .thread_free = thread_csv_free,
                                          .names = csv_names,
                                          .texts = csv_texts};
