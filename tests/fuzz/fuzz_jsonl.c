// Lines of JSON: any bytes give a table or an error that says where.

#include "table.h"

static const char *const name[] = {"a", "b\"", "c\xC3\xB6"};
static const int32_t order[] = {0, 1, 2};
static const aml_cell_rule category = {.read = amli_read_by_rule,
                                       .kind = AML_CELL_CATEGORY,
                                       .order = order,
                                       .fill = "a"},
                           date = {.read = amli_read_by_rule,
                                   .kind = AML_CELL_TIME,
                                   .fill = "2020-01-01"};
static const aml_field field[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {2, {2, 3}}}, .key = "v", .count = 6},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 3, .class_name = name},
     .key = "a.b",
     .count = 1,
     .rule = &category},
    {.tensor = {.name = "at", .dtype = AML_I64}, .key = "at", .count = 1, .rule = &date},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_table(data, size, AML_SOURCE_JSONL, &amli_source_jsonl, field, 3, AML_ON_BAD_ERROR);
    fuzz_table(data, size, AML_SOURCE_JSONL, &amli_source_jsonl, field, 1, AML_ON_BAD_SKIP);
    return 0;
}
