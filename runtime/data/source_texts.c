// Texts in a folder: each file is a sample, as tokens.

#include <stdlib.h>

#include "runtime/data/files.h"

static bool never(const char *text, size_t length)
{
    (void)text, (void)length;
    return false;
}

static aml_status open_texts(amli_reading *reading, aml_error *error)
{
    static const char *const ending[] = {".txt", ".text", ".md", NULL};
    amli_files *files;
    return amli_files_open(reading, ending, "texts (.txt, .md)", never, &files, error);
}

static bool read_field(const amli_reading *reading, void *const decoder[], int field,
                       const amli_cell *cell, void *to, const char *path, aml_error *error)
{
    const aml_field *of = &reading->dataset->field[field];
    char expected[120];
    if (!to || of->part >= FILES_PARTS)
        return true;
    if (!of->rule || !of->rule->decoder) {
        amli_fail(error, AML_INTERNAL, "the field '%s' does not hold tokens", of->tensor.name);
        return false;
    }
    if (of->rule->decoder->decode(decoder[field], of, cell, to, expected, sizeof expected))
        return true;
    char found[96];
    amli_fail(error, AML_BAD_DATA, "%s: field '%s': expected %s, found %s", path, of->tensor.name,
              expected, amli_cell_text(cell, found, sizeof found));
    return false;
}

static amli_row text_at(const amli_reading *reading, void *const decoders[], int64_t row,
                        void *const to[], aml_error *error)
{
    char path[PATH_MAX];
    const char *bytes = NULL;
    size_t length = 0;
    aml_status status = amli_files_read(reading, row, to, path, &bytes, &length, error);
    bool good = !status;
    const amli_cell cell = {bytes, length, false};
    for (int i = 0; i < reading->dataset->fields && good && bytes; i++)
        good = read_field(reading, decoders, i, &cell, to[i], path, error);
    amli_files_done(reading, bytes);
    return good                                ? AMLI_ROW_READ
           : !status || status == AML_BAD_DATA ? AMLI_ROW_BAD
                                               : AMLI_ROW_FAILED;
}

typedef struct Thread {
    const aml_dataset *dataset;
    void **decoders;
} Thread;

static void *thread_new(const amli_reading *reading)
{
    const aml_dataset *dataset = reading->dataset;
    Thread *thread = malloc(sizeof *thread);
    if (thread && amli_cells_open(dataset->field, dataset->fields, &thread->decoders, NULL)) {
        free(thread);
        thread = NULL;
    }
    if (thread)
        thread->dataset = dataset;
    return thread;
}

static void thread_free(void *own)
{
    Thread *thread = own;
    amli_cells_close(thread->dataset->field, thread->dataset->fields, thread->decoders);
    free(thread);
}

static amli_row at(const amli_reading *reading, void *own, int64_t row, void *const to[],
                   aml_error *error)
{
    return text_at(reading, ((Thread *)own)->decoders, row, to, error);
}

const amli_source_kind amli_source_texts = {.name = "texts",
                                            .open = open_texts,
                                            .close = amli_files_close,
                                            .by_path = true,
                                            .fingerprint = amli_files_fingerprint,
                                            .rows = amli_files_rows,
                                            .at = at,
                                            .thread_new = thread_new,
                                            .thread_free = thread_free};
