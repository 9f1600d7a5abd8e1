// A list of files: any bytes give samples or an error that says where. The first byte is the text
// of every file that it may name.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool put(const char *folder, const char *name, const void *text, size_t size)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(text, 1, size, file) == size;
    return file && fclose(file) == 0 && good;
}

static void read_list(const char *path)
{
    static const char *const part[] = {"kind", "n"};
    static const aml_name_keep keep = {.part = 1, .low = 0, .high = 99};
    static const aml_files files = {
        .name = "", .list = "file", .parts = 2, .part = part, .keeps = 1, .keep = &keep};
    static const aml_field field[] = {
        {.tensor = {.name = "y", .dtype = AML_I32, .classes = 2}, .part = FILES_PARTS, .count = 1},
        {.tensor = {.name = "n", .dtype = AML_I64}, .part = FILES_PARTS + 1, .count = 1}};
    static const aml_text_part named = {"list.csv", -1};
    const aml_dataset dataset = {.name = "fuzz",
                                 .place = "fuzz.aml:1",
                                 .fields = 2,
                                 .field = field,
                                 .split = {.train = 1, .stratify = -1},
                                 .source = {.kind = AML_SOURCE_TEXTS,
                                            .reader = &amli_source_texts,
                                            .place = "fuzz.aml:1",
                                            .files = &files,
                                            .file = {{1, &named}}}};
    const amli_load how = {.source_dir = ".", .file = {{path}}};
    amli_table *table = NULL;
    aml_error error = {0};
    if (amli_table_load(&dataset, &how, &table, &error) == AML_OK)
        amli_table_free(table);
    else if (!error.text[0])
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[] = "/tmp/aml-fuzz-XXXXXX", path[64];
    static bool made;
    if (!made && !mkdtemp(folder))
        abort();
    made = true;
    snprintf(path, sizeof path, "%s/list.csv", folder);
    if (put(folder, "list.csv", data, size) && put(folder, "a.txt", data, size > 0))
        read_list(path);
    char other[80];
    snprintf(other, sizeof other, "%s/a.txt", folder);
    unlink(path), unlink(other);
    rmdir(folder); // and it is made again by the next one
    made = false;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    return 0;
}
