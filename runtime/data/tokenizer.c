// Tokenizers: characters and bytes.

#include "runtime/data/tokenizer.h"

#include <string.h>

#include "aml/utf8.h"

void amli_encoder_begin(amli_encoder *encoder, const aml_tokenizer *tokenizer, const char *name,
                        const char *text, size_t length)
{
    size_t mark = tokenizer->kind == AML_TOKENIZER_CHARACTERS ? aml_utf8_mark(text, length) : 0;
    *encoder = (amli_encoder){.tokenizer = tokenizer,
                              .name = name,
                              .at = text + mark,
                              .end = text + length,
                              .line = 1,
                              .column = 1};
}

static int32_t find(const aml_tokenizer *tokenizer, uint32_t code)
{
    int32_t low = 0, high = tokenizer->vocab;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (tokenizer->code[middle] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tokenizer->vocab && tokenizer->code[low] == code ? low : -1;
}

static aml_status unknown(const amli_encoder *encoder, uint32_t code, aml_error *error)
{
    char text[4];
    size_t length = code >= ' ' && code != 127 ? aml_utf8_write(code, text) : 0;
    return amli_fail(
        error, AML_BAD_DATA,
        "%s:%lld:%lld: the character %s%.*s%sU+%04X is not among the %d that the model "
        "was built for\nhelp: they are those of the text that was there when the "
        "program was compiled",
        encoder->name, (long long)encoder->line, (long long)encoder->column, length ? "'" : "",
        (int)length, text, length ? "', " : "", (unsigned)code, encoder->tokenizer->vocab);
}

void amli_encoder_skip(amli_encoder *encoder)
{
    uint32_t code = 0;
    size_t length = aml_utf8_read((const unsigned char *)encoder->at,
                                  (size_t)(encoder->end - encoder->at), &code);
    encoder->at += length ? length : 1;
    encoder->column++;
    if (code == '\n') {
        encoder->line++;
        encoder->column = 1;
    }
}

aml_status amli_encode(amli_encoder *encoder, int32_t *token, aml_error *error)
{
    *token = -1;
    if (encoder->at == encoder->end)
        return AML_OK;
    unsigned char first = (unsigned char)*encoder->at;
    if (encoder->tokenizer->kind == AML_TOKENIZER_BYTES) {
        *token = first;
        encoder->at++;
        return AML_OK;
    }
    uint32_t code = 0;
    size_t length = aml_utf8_read((const unsigned char *)encoder->at,
                                  (size_t)(encoder->end - encoder->at), &code);
    if (length == 0)
        return amli_fail(error, AML_BAD_DATA,
                         "%s:%lld:%lld: expected UTF-8 text, found the byte 0x%02x", encoder->name,
                         (long long)encoder->line, (long long)encoder->column, first);
    *token = find(encoder->tokenizer, code);
    if (*token < 0)
        return unknown(encoder, code, error);
    amli_encoder_skip(encoder);
    return AML_OK;
}

// ---- back to text

static const char replacement[] = "\xEF\xBF\xBD";

static void drop_held(amli_decoder *decoder, size_t count)
{
    decoder->count -= count;
    memmove(decoder->held, decoder->held + count, decoder->count);
}

// Whether more bytes could make a character of what is held.
static bool may_go_on(const amli_decoder *decoder)
{
    unsigned char c = decoder->held[0];
    size_t needed = c >= 0xC2 && c <= 0xDF   ? 2
                    : (c & 0xF0) == 0xE0     ? 3
                    : c >= 0xF0 && c <= 0xF4 ? 4
                                             : 1;
    for (size_t i = 1; i < decoder->count; i++)
        if ((decoder->held[i] & 0xC0) != 0x80)
            return false;
    return decoder->count < needed;
}

size_t amli_decode_token(amli_decoder *decoder, int32_t token, char text[AMLI_DECODED])
{
    if (decoder->tokenizer->kind == AML_TOKENIZER_CHARACTERS)
        return aml_utf8_write(decoder->tokenizer->code[token], text);
    size_t used = 0;
    decoder->held[decoder->count++] = (unsigned char)token;
    while (decoder->count > 0) {
        uint32_t code;
        size_t length = aml_utf8_read(decoder->held, decoder->count, &code);
        if (length == 0 && may_go_on(decoder))
            break;
        memcpy(text + used, length ? (const char *)decoder->held : replacement,
               length ? length : 3);
        used += length ? length : 3;
        drop_held(decoder, length ? length : 1);
    }
    return used;
}

size_t amli_decode_end(amli_decoder *decoder, char text[AMLI_DECODED])
{
    size_t used = 0;
    for (; decoder->count > 0; drop_held(decoder, 1), used += 3)
        memcpy(text + used, replacement, 3);
    return used;
}
