// The idx reader and what unpacks it: any bytes give a table or an error that says where.

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const aml_field bytes[] = {
    {.tensor = {.name = "x", .dtype = AML_U8, .shape = {2, {2, 3}}},
     .place = "fuzz.aml:1",
     .count = 6},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 4},
     .place = "fuzz.aml:2",
     .first = 6,
     .count = 1,
     .part = 1,
     .label = true},
};
static const aml_field numbers[] = {
    {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {4}}},
     .place = "fuzz.aml:1",
     .count = 4},
    {.tensor = {.name = "whole", .dtype = AML_I8, .shape = {1, {4}}},
     .place = "fuzz.aml:2",
     .first = 4,
     .count = 4},
};

static void load(const char *images, const char *labels, const aml_field *field, aml_on_bad on_bad)
{
    aml_dataset dataset = {
        .name = "fuzz",
        .place = "fuzz.aml:1",
        .fields = 2,
        .field = field,
        .on_bad = on_bad,
        .skip_limit = 0.5,
        .split = {.train = 1, .stratify = -1},
        .source = {.kind = AML_SOURCE_IDX, .reader = &amli_source_idx, .place = "fuzz.aml:1"}};
    amli_load how = {
        .source_dir = ".", .file = {{images, labels}}, .labels_may_be_absent = !labels};
    amli_table *table = NULL;
    aml_error error = {0};
    if (amli_table_load(&dataset, &how, &table, &error) == AML_OK)
        amli_table_free(table);
    else if (!error.text[0])
        __builtin_trap();
}

// The first byte says how many of the others are the file of images; the rest are that of labels.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t first = size ? data[0] : 0, left = size ? size - 1 : 0;
    first = first < left ? first : left;
    int file[2] = {memfd_create("images", 0), memfd_create("labels", 0)};
    char path[2][64];
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "/proc/self/fd/%d", file[i]);
    if (size && file[0] >= 0 && file[1] >= 0 && write(file[0], data + 1, first) == (ssize_t)first &&
        write(file[1], data + 1 + first, left - first) == (ssize_t)(left - first)) {
        load(path[0], path[1], bytes, AML_ON_BAD_SKIP);
        load(path[0], NULL, bytes, AML_ON_BAD_ERROR);
        load(path[0], NULL, numbers, AML_ON_BAD_ERROR);
    }
    close(file[0]);
    close(file[1]);
    return 0;
}
