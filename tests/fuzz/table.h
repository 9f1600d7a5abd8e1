// table.h: reading the bytes of a fuzzer as a file of some kind, in memory and from the disk.

#ifndef AML_FUZZ_TABLE_H
#define AML_FUZZ_TABLE_H

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/data/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_table(const uint8_t *data, size_t size, aml_source_kind kind,
                       const amli_source_kind *reader, const aml_field *field, int fields,
                       aml_on_bad on_bad)
{
    static const aml_text_part part = {"fuzz", -1};
    int file = memfd_create("fuzz", 0);
    char path[64];
    aml_field placed[8];
    for (int i = 0; i < fields; i++) {
        placed[i] = field[i];
        placed[i].place = "fuzz.aml:2";
    }
    bool written = file >= 0 && write(file, data, size) == (ssize_t)size;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    for (size_t memory = 1; memory < 1u << 31 && written; memory <<= 30) {
        aml_dataset dataset = {.name = "fuzz",
                               .place = "fuzz.aml:1",
                               .fields = fields,
                               .field = placed,
                               .on_bad = on_bad,
                               .skip_limit = 0.5,
                               .split = {.train = 1, .stratify = -1},
                               .source = {.kind = kind,
                                          .reader = reader,
                                          .place = "fuzz.aml:1",
                                          .memory_bytes = memory,
                                          .file = {{1, &part}}}};
        amli_load how = {.source_dir = ".", .file = {{path}}};
        amli_table *table = NULL;
        aml_error error = {0};
        if (amli_table_load(&dataset, &how, &table, &error) == AML_OK)
            amli_table_free(table);
        else if (!error.text[0])
            __builtin_trap();
    }
    if (file >= 0)
        close(file);
}

#endif
