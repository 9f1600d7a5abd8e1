// The csv reader: any bytes give a table or an error that says where.

#include "table.h"

static const aml_field by_name[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {3}}},
     .place = "fuzz.aml:1",
     .first = 0,
     .count = 3},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 4},
     .place = "fuzz.aml:2",
     .column = "class"},
};
static const aml_field by_position[] = {
    {.tensor = {.name = "x", .dtype = AML_F64, .shape = {1, {2}}},
     .place = "fuzz.aml:1",
     .first = 1,
     .count = 2},
    {.tensor = {.name = "flag", .dtype = AML_BOOL}, .place = "fuzz.aml:2", .first = 0, .count = 1},
};
static const char *const class_name[] = {"a", "b\"", "unknown"}, *const missing[] = {"NA", "?"};
static const int32_t order[] = {0, 1};
static const aml_cell_rule category = {.read = amli_read_by_rule,
                                       .kind = AML_CELL_CATEGORY,
                                       .order = order,
                                       .unknown = true,
                                       .ending = ".",
                                       .missings = 2,
                                       .missing = missing},
                           date = {.read = amli_read_by_rule,
                                   .kind = AML_CELL_TIME,
                                   .format = "%Y-%m-%d",
                                   .fill = "2020-01-01"},
                           present = {.read = amli_read_by_rule, .kind = AML_CELL_PRESENT};
static const aml_field by_rule[] = {
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 3, .class_name = class_name},
     .column = "y",
     .count = 1,
     .rule = &category},
    {.tensor = {.name = "at", .dtype = AML_I64}, .column = "at", .count = 1, .rule = &date},
    {.tensor = {.name = "k", .dtype = AML_BOOL}, .column = "k", .count = 1, .rule = &present},
};
static const aml_text_part path_part = {"fuzz.csv", -1};

static void load(const char *path, const aml_field *field, aml_on_bad on_bad, char separator)
{
    aml_dataset dataset = {.name = "fuzz",
                           .place = "fuzz.aml:1",
                           .fields = 2,
                           .field = field,
                           .on_bad = on_bad,
                           .skip_limit = 0.5,
                           .split = {.train = 1, .stratify = -1},
                           .source = {.kind = AML_SOURCE_CSV,
                                      .reader = &amli_source_csv,
                                      .place = "fuzz.aml:1",
                                      .file = {{1, &path_part}},
                                      .separator = separator}};
    amli_load how = {.source_dir = ".", .file = {{path}}};
    amli_table *table = NULL;
    aml_error error = {0};
    if (amli_table_load(&dataset, &how, &table, &error) == AML_OK)
        amli_table_free(table);
    else if (!error.text[0])
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int file = memfd_create("fuzz", 0);
    char path[64];
    if (file < 0 || write(file, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    load(path, by_name, AML_ON_BAD_ERROR, ',');
    load(path, by_position, AML_ON_BAD_SKIP, ';');
    close(file);
    fuzz_table(data, size, AML_SOURCE_CSV, &amli_source_csv, by_rule, 3, AML_ON_BAD_ERROR);
    fuzz_table(data, size, AML_SOURCE_CSV, &amli_source_csv, by_rule, 3, AML_ON_BAD_SKIP);
    return 0;
}
