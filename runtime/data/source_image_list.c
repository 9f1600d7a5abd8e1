// Pictures whose paths and labels are the columns of a csv file. Paths are relative to its folder.
// A label is the name of a class, or its number where classes have no names.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/images.h"

enum { MOST_COLUMNS = 256 };

typedef struct List {
    amli_images *images;
    const amli_source_file *file;
    const aml_source *source;
    const aml_field *label; // NULL: none is read
    int64_t columns, column[2];
} List;

static aml_status find_columns(List *list, const amli_csv *csv, const amli_cell header[],
                               aml_error *error)
{
    list->columns = csv->cells < MOST_COLUMNS ? csv->cells : MOST_COLUMNS;
    for (int part = IMAGE_PART; part <= LABEL_PART; part++) {
        const char *wanted = list->source->column[part];
        list->column[part] = -1;
        for (int64_t k = 0; k < list->columns; k++)
            if (amli_cell_is(&header[k], wanted))
                list->column[part] = k;
        if (list->column[part] >= 0 || (part == LABEL_PART && !list->label))
            continue;
        char names[300] = "", cell[64];
        for (int64_t k = 0; k < list->columns && strlen(names) < 200; k++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", k ? ", " : "",
                     amli_cell_text(&header[k], cell, sizeof cell));
        return amli_fail(error, AML_BAD_DATA,
                         "%s:1:1: expected a column \"%s\" in the first row, found %s",
                         list->file->path, wanted, names);
    }
    return AML_OK;
}

static aml_status bad_cell(const List *list, const amli_csv *csv, const char *at,
                           const char *expected, const char *found, aml_error *error)
{
    int64_t line, column;
    amli_csv_place(csv, at, &line, &column);
    return amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: expected %s, found %s", list->file->path,
                     (long long)line, (long long)column, expected, found);
}

static aml_status read_label(const List *list, const amli_csv *csv, const amli_cell *cell,
                             int32_t *class, aml_error *error)
{
    const aml_source *source = list->source;
    char expected[160], found[64];
    *class = 0;
    for (int i = 0; i < source->classes; i++)
        if (amli_cell_is(cell, source->class_name[i])) {
            *class = i;
            return AML_OK;
        }
    const aml_tensor_info number = {
        .name = "label", .dtype = AML_I32, .classes = list->images->classes};
    if (source->classes == 0 && amli_decode(&number, NULL, cell, class, expected, sizeof expected))
        return AML_OK;
    if (source->classes)
        snprintf(expected, sizeof expected, "one of the %d classes (%.40s, %.40s, ...)",
                 source->classes, source->class_name[0], source->class_name[1]);
    return bad_cell(list, csv, cell->at, expected, amli_cell_text(cell, found, sizeof found),
                    error);
}

static aml_status read_row(const List *list, const amli_csv *csv, const amli_cell cell[],
                           aml_error *error)
{
    char path[PATH_MAX], found[64];
    int32_t class = 0;
    const amli_cell *image = &cell[list->column[IMAGE_PART]];
    if (csv->cells != list->columns) {
        char expected[40];
        snprintf(expected, sizeof expected, "%lld cells", (long long)list->columns);
        snprintf(found, sizeof found, "%lld", (long long)csv->cells);
        return bad_cell(list, csv, csv->row, expected, found, error);
    }
    if (image->length == 0 || image->length >= sizeof path || image->doubled ||
        memchr(image->at, 0, image->length))
        return bad_cell(list, csv, image->at, "the path of a picture",
                        image->length == 0 ? "nothing" : amli_cell_text(image, found, sizeof found),
                        error);
    memcpy(path, image->at, image->length);
    path[image->length] = 0;
    aml_status status = list->label
                            ? read_label(list, csv, &cell[list->column[LABEL_PART]], &class, error)
                            : AML_OK;
    if (status)
        return status;
    status = amli_images_add(list->images, path, class, error);
    return status ? amli_prefix(error, "%s:%lld", list->file->path, (long long)csv->line) : AML_OK;
}

static aml_status open_list(amli_reading *reading, aml_error *error)
{
    amli_images *images;
    aml_status status = amli_images_begin(reading, &images, error);
    if (status || images->given)
        return status;
    char *slash = strrchr(images->root, '/');
    snprintf(slash ? slash : images->root, 2, "%s", slash ? "" : ".");
    List list = {.images = images, .file = &reading->file[0], .source = reading->source};
    list.label = images->label >= 0 && !reading->load->labels_may_be_absent
                     ? &reading->dataset->field[images->label]
                     : NULL;
    amli_csv csv;
    amli_cell *cell = calloc(MOST_COLUMNS, sizeof *cell);
    if (!cell)
        return amli_no_memory(error, MOST_COLUMNS * sizeof *cell, "the list of pictures");
    const amli_csv_form form = {.separator = ','};
    amli_csv_begin(&csv, list.file->text, list.file->length, true, &form);
    bool is_header = true;
    while (!status) {
        amli_csv_result result = amli_csv_next(&csv, cell, MOST_COLUMNS);
        if (result == AMLI_CSV_END)
            break;
        if (result != AMLI_CSV_ROW)
            status = bad_cell(&list, &csv, csv.problem_at, "a row", csv.problem, error);
        else
            status = is_header ? find_columns(&list, &csv, cell, error)
                               : read_row(&list, &csv, cell, error);
        is_header = false;
    }
    free(cell);
    if (!status && images->count == 0)
        status = amli_fail(error, AML_BAD_DATA,
                           "%s: expected rows with paths of pictures behind the header, found none",
                           list.file->path);
    return status;
}

const amli_source_kind amli_source_image_list = {
    .name = "image_list", .open = open_list, AMLI_IMAGES_ALIKE};
