// Texts: a row is a token.

#include <stdlib.h>
#include <string.h>

#include "aml/words.h"
#include "runtime/data/source.h"
#include "runtime/data/tokenizer.h"

static aml_status open_text(amli_reading *reading, aml_error *error)
{
    const amli_source_file *file = &reading->file[0];
    amli_encoder *encoder = reading->own = calloc(1, sizeof *encoder);
    if (!encoder)
        return amli_no_memory(error, sizeof *encoder, file->path);
    for (int i = 0; i < reading->dataset->fields; i++)
        if (reading->unit_bytes[i] != sizeof(int32_t))
            return amli_fail(error, AML_INTERNAL, "the field '%s' does not hold tokens",
                             reading->dataset->field[i].tensor.name);
    aml_status status = amli_encoder_open(encoder, reading->source->tokenizer, error);
    if (!status)
        amli_encoder_begin(encoder, file->path, file->text, file->length);
    return status;
}

static amli_row next_text(amli_reading *reading, void *const to[], aml_error *error)
{
    int32_t token;
    if (amli_encode(reading->own, &token, error)) {
        amli_encoder_skip(reading->own);
        return AMLI_ROW_BAD;
    }
    if (token < 0)
        return AMLI_ROW_END;
    for (int i = 0; i < reading->dataset->fields; i++)
        memcpy(to[i], &token, sizeof token);
    return AMLI_ROW_READ;
}

static void close_text(amli_reading *reading)
{
    if (reading->own)
        amli_encoder_close(reading->own);
    free(reading->own);
}

static aml_status read_text(const amli_reading *reading, const char *path, char **text,
                            size_t *length, aml_error *error)
{
    bool utf8 = reading->source->tokenizer->kind != AML_TOKENIZER_BYTES;
    return aml_texts_read(path, utf8, text, length, error);
}

const amli_source_kind amli_source_text = {
    .name = "text", .open = open_text, .next = next_text, .close = close_text, .read = read_text};
