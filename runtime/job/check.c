// data check: reads everything, reports every bad row, and counts what is there.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

typedef struct Checking {
    bool json;
    int64_t shown;
} Checking;

static void on_bad_row(void *opaque, const char *text)
{
    Checking *checking = opaque;
    if (checking->json) {
        amli_buffer line = {0};
        amli_buffer_printf(&line, "{\"bad_row\": ");
        amli_json_text(&line, text);
        amli_buffer_printf(&line, "}");
        if (!line.failed)
            puts(line.text);
        amli_buffer_free(&line);
    } else {
        puts(text);
    }
    checking->shown++;
}

// How many rows each class of a field has.
static void print_classes(const aml_field *field, const amli_table *table, int index)
{
    int64_t classes = field->tensor.classes;
    if (classes <= 0 || classes > 1000 || field->count != 1 || field->tensor.shape.rank > 0 ||
        table->on_demand[index])
        return;
    int64_t rows = amli_table_units(table);
    int64_t *count = calloc((size_t)classes, sizeof *count);
    if (!count)
        return;
    size_t size = aml_dtype_bytes(field->tensor.dtype);
    for (int64_t i = 0; i < rows; i++) {
        int64_t value = 0;
        memcpy(&value, (const char *)table->field[index] + (size_t)i * size, size);
        count[value]++;
    }
    printf("  %s:", field->tensor.name);
    for (int64_t k = 0; k < classes; k++)
        printf(" %lld", (long long)count[k]);
    printf(" rows of class 0..%lld\n", (long long)classes - 1);
    free(count);
}

static void on_cleaned(void *opaque, const char *text)
{
    Checking *checking = opaque;
    amli_buffer line = {0};
    if (checking->json) {
        amli_buffer_printf(&line, "{\"cleaning\": ");
        amli_json_text(&line, text);
        amli_buffer_printf(&line, "}");
    } else {
        amli_buffer_printf(&line, "  %s", text);
    }
    if (!line.failed)
        puts(line.text);
    amli_buffer_free(&line);
}

// What the rules of the data set leave out of its parts.
static aml_status clean(const aml_dataset *dataset, const amli_table *table, const amli_load *load,
                        aml_error *error)
{
    amli_split split = {0};
    if (dataset->cleans == 0 || table->rows == 0)
        return AML_OK;
    aml_status status = amli_split_table(dataset, table, &load->fold, &split, error);
    if (!status)
        status = amli_clean(dataset, table, load, &split, error);
    amli_split_free(&split);
    return status;
}

static aml_status check(const amli_command *command, const aml_dataset *dataset, int64_t *bad,
                        aml_error *error)
{
    amli_paths paths;
    amli_load load;
    Checking checking = {command->json, 0};
    amli_table *table;
    aml_status status = amli_load_options(command, dataset, &load, &paths, error);
    if (status)
        return status;
    load.check_all = true;
    load.on_bad_row = on_bad_row;
    load.on_cleaned = on_cleaned;
    load.self = &checking;
    status = amli_table_load(dataset, &load, &table, error);
    if (status)
        return status;
    *bad += table->bad;
    int64_t rows = amli_table_units(table);
    char bytes[32];
    if (command->json) {
        amli_buffer line = {0};
        amli_buffer_printf(&line, "{\"dataset\": ");
        amli_json_text(&line, dataset->name);
        amli_buffer_printf(&line, ", \"path\": ");
        amli_json_text(&line, table->path);
        amli_buffer_printf(&line, ", \"rows\": %lld, \"bad\": %lld, \"sha256\": \"%s\"}",
                           (long long)rows, (long long)table->bad, table->fingerprint);
        if (!line.failed)
            puts(line.text);
        amli_buffer_free(&line);
    } else {
        printf("%s: %s: %lld rows, %lld bad, %s, SHA-256 %s\n", dataset->name, table->path,
               (long long)rows, (long long)table->bad,
               amli_bytes_text((double)table->bytes, bytes, sizeof bytes), table->fingerprint);
        if (dataset->window > 0)
            printf("  %lld windows of %lld rows\n", (long long)table->rows,
                   (long long)dataset->window);
        for (int i = 0; i < dataset->fields; i++)
            print_classes(&dataset->field[i], table, i);
    }
    status = clean(dataset, table, &load, error);
    amli_table_free(table);
    return status;
}

aml_status amli_data_check(const amli_command *command, aml_error *error)
{
    const aml_program *program = command->program;
    int64_t bad = 0;
    aml_status status = AML_OK;
    for (int i = 0; i < program->datasets && !status; i++)
        status = check(command, &program->dataset[i], &bad, error);
    if (!status && bad > 0)
        status = amli_fail(error, AML_BAD_DATA, "%lld row%s bad", (long long)bad,
                           bad == 1 ? " is" : "s are");
    return status;
}

enum { SHOWN_ROWS = 1000 };

// As a source of rows would have it: predict reads it again.
static void write_cell(const aml_field *field, const void *at, int64_t index)
{
    aml_tensor_info info = field->tensor;
    const aml_cell_rule *rule = field->rule;
    double value = amli_element(info.dtype, at, index);
    if (!rule || rule->kind != AML_CELL_CATEGORY)
        info.class_name = NULL; // names of the source's own, which are no texts of cells
    if (rule && rule->kind == AML_CELL_TIME)
        amli_write_time(stdout, ((const int64_t *)at)[index],
                        rule->format ? rule->format : "%Y-%m-%d %H:%M:%S");
    else if (!rule || value == value) // what is missing was filled with NaN
        amli_write_element(stdout, &info, at, index, false);
}

aml_status amli_data_rows(const amli_command *command, aml_error *error)
{
    const aml_job *job;
    amli_paths paths;
    amli_load load;
    amli_table *table = NULL;
    aml_status status = amli_find_job(command, AML_JOB_TRAIN, command->job, &job, error);
    const aml_dataset *dataset = status ? NULL : &command->program->dataset[job->data];
    if (!status)
        status = amli_load_options(command, dataset, &load, &paths, error);
    if (!status)
        status = amli_table_load(dataset, &load, &table, error);
    amli_fetch fetch = {0};
    const void **in = status ? NULL : calloc((size_t)table->fields + 1, sizeof *in);
    if (!status)
        status = in ? amli_fetch_new(table, &fetch, error)
                    : amli_no_memory(error, sizeof *in, "a sample");
    amli_split split = {0};
    aml_part part = AML_PART_ALL;
    if (!status)
        status = amli_split_table(dataset, table, &load.fold, &split, error);
    if (!status && command->part)
        status = amli_find_part(command, &split, &part, error);
    for (int64_t i = 0; !status && i < split.rows[part] && i < SHOWN_ROWS; i++) {
        status = amli_fetch_sample(&fetch, split.row[part][i], in, error);
        for (int f = 0; f < table->fields && !status; f++) {
            const aml_tensor_info *info = &dataset->field[f].tensor;
            for (int64_t k = 0; k < aml_shape_elements(&info->shape); k++) {
                if (f || k)
                    putchar(',');
                write_cell(&dataset->field[f], in[f], k);
            }
        }
        if (!status)
            putchar('\n');
    }
    amli_split_free(&split);
    amli_fetch_free(&fetch);
    free(in);
    amli_table_free(table);
    return status;
}
