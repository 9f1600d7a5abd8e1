// Archives of pictures: whatever the bytes are, they are read or refused with a message.

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/data/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const aml_field field[] = {
    {.tensor = {.name = "x", .dtype = AML_U8, .shape = {3, {4, 4, 3}}}, .count = 48},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = 3}, .count = 1, .part = 1}};

static void load(const char *path, const char *label)
{
    const aml_dataset dataset = {.name = "fuzz",
                                 .place = "fuzz.aml:1",
                                 .fields = 2,
                                 .field = field,
                                 .on_bad = AML_ON_BAD_SKIP,
                                 .skip_limit = 1,
                                 .split = {.train = 1, .stratify = -1},
                                 .source = {.kind = AML_SOURCE_SHARDS,
                                            .reader = &amli_source_shards,
                                            .place = "fuzz.aml:1",
                                            .most_pixels = 1 << 14,
                                            .column = {"", label}}};
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
    int file = memfd_create("archive", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (file >= 0 && write(file, data, size) == (ssize_t)size) {
        load(path, "cls");
        load(path, "json.k");
    }
    close(file);
    return 0;
}
