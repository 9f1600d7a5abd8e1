// A csv file that names files, a row each: their paths, relative to its folder, and what is known
// of them. The first row names the columns.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/csv.h"
#include "runtime/data/files.h"

enum { MOST_COLUMNS = 256 };

typedef struct List {
    const amli_reading *reading;
    amli_files *files;
    const char *path, *what;
    int64_t columns, file;          // of a row; the column of the paths
    int64_t part[FILES_MOST_PARTS]; // the column of each part
} List;

static aml_status bad_cell(const List *list, const amli_csv *csv, const char *at,
                           const char *expected, const char *found, aml_error *error)
{
    int64_t line, column;
    amli_csv_place(csv, at, &line, &column);
    return amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: expected %s, found %s", list->path,
                     (long long)line, (long long)column, expected, found);
}

static aml_status find_column(const List *list, const amli_cell header[], const char *wanted,
                              int64_t *column, aml_error *error)
{
    for (int64_t k = 0; k < list->columns; k++)
        if (amli_cell_is(&header[k], wanted)) {
            *column = k;
            return AML_OK;
        }
    char names[300] = "", cell[64];
    for (int64_t k = 0; k < list->columns && strlen(names) < 200; k++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", k ? ", " : "",
                 amli_cell_text(&header[k], cell, sizeof cell));
    return amli_fail(error, AML_BAD_DATA,
                     "%s:1:1: expected a column \"%s\" in the first row, found %s", list->path,
                     wanted, names);
}

static aml_status find_columns(List *list, const amli_csv *csv, const amli_cell header[],
                               aml_error *error)
{
    const aml_files *rule = list->reading->source->files;
    list->columns = csv->cells < MOST_COLUMNS ? csv->cells : MOST_COLUMNS;
    aml_status status = find_column(list, header, rule->list, &list->file, error);
    for (int i = 0; i < rule->parts && !status; i++)
        status = find_column(list, header, rule->part[i], &list->part[i], error);
    return status;
}

static aml_status add_file(const List *list, const amli_csv *csv, const amli_cell *cell,
                           aml_error *error)
{
    char path[PATH_MAX], whole[PATH_MAX], expected[80], found[64];
    struct stat info;
    snprintf(expected, sizeof expected, "the path of one of the %s", list->what);
    if (cell->length == 0 || cell->length >= sizeof path || cell->doubled ||
        memchr(cell->at, 0, cell->length))
        return bad_cell(list, csv, cell->at, expected,
                        cell->length == 0 ? "nothing" : amli_cell_text(cell, found, sizeof found),
                        error);
    memcpy(path, cell->at, cell->length);
    path[cell->length] = 0;
    aml_status status = amli_join(whole, sizeof whole, list->files->root, path, error);
    if (status)
        return status;
    if (stat(whole, &info) != 0)
        return bad_cell(list, csv, cell->at, expected, strerror(errno), error);
    if (!S_ISREG(info.st_mode))
        return bad_cell(list, csv, cell->at, expected,
                        S_ISDIR(info.st_mode) ? "a folder" : "something else", error);
    return amli_files_add(list->files, path, info.st_size, error);
}

static aml_status read_row(const List *list, const amli_csv *csv, const amli_cell cell[],
                           aml_error *error)
{
    const aml_files *rule = list->reading->source->files;
    amli_buffer *to = &list->files->cell;
    if (csv->cells != list->columns) {
        char expected[40], found[40];
        snprintf(expected, sizeof expected, "%lld cells", (long long)list->columns);
        snprintf(found, sizeof found, "%lld", (long long)csv->cells);
        return bad_cell(list, csv, csv->row, expected, found, error);
    }
    aml_status status = add_file(list, csv, &cell[list->file], error);
    for (int i = 0; i < rule->parts && !status; i++) {
        const amli_cell *part = &cell[list->part[i]];
        for (size_t k = 0; k < part->length; k++) {
            amli_buffer_add(to, part->at + k, 1);
            k += part->doubled && part->at[k] == '"';
        }
        amli_buffer_add(to, "", 1);
    }
    return status       ? status
           : to->failed ? amli_no_memory(error, to->length, "the list of files")
                        : AML_OK;
}

static aml_status read_list(List *list, const char *text, size_t length, aml_error *error)
{
    amli_csv csv;
    amli_cell *cell = calloc(MOST_COLUMNS, sizeof *cell);
    if (!cell)
        return amli_no_memory(error, MOST_COLUMNS * sizeof *cell, "the list of files");
    const amli_csv_form form = {.separator = ','};
    amli_csv_begin(&csv, text, length, true, &form);
    bool is_header = true;
    aml_status status = AML_OK;
    while (!status) {
        amli_csv_result result = amli_csv_next(&csv, cell, MOST_COLUMNS);
        if (result == AMLI_CSV_END)
            break;
        if (result != AMLI_CSV_ROW)
            status = bad_cell(list, &csv, csv.problem_at, "a row", csv.problem, error);
        else
            status = is_header ? find_columns(list, &csv, cell, error)
                               : read_row(list, &csv, cell, error);
        is_header = false;
    }
    free(cell);
    if (!status && list->files->count == 0)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: expected rows with paths of %s behind the header, found none",
                           list->path, list->what);
    return status;
}

aml_status amli_files_list(const amli_reading *reading, amli_files *files, const char *what,
                           aml_error *error)
{
    const char *path = reading->file[0].path;
    List list = {.reading = reading, .files = files, .path = path, .what = what};
    char *text = NULL, *slash = strrchr(files->root, '/');
    size_t length = 0;
    snprintf(slash ? slash : files->root, 2, "%s", slash ? "" : ".");
    aml_status status = amli_read_file(path, &text, &length, error);
    if (!status)
        status = read_list(&list, text, length, error);
    free(text);
    return status;
}
