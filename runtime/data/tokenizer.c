// Tokenizers: the interface, and the two kinds that need nothing else: characters and bytes.

#include "runtime/data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "aml/utf8.h"
#include "aml/vocabulary.h"

aml_status amli_encoder_open(amli_encoder *encoder, const aml_tokenizer *tokenizer,
                             aml_error *error)
{
    *encoder = (amli_encoder){.tokenizer = tokenizer};
    if (tokenizer->kind != AML_TOKENIZER_PIECES)
        return AML_OK;
    if (!tokenizer->engine)
        return amli_fail(error, AML_INTERNAL, "the tokenizer has no engine");
    return tokenizer->engine->open(encoder, error);
}

void amli_encoder_close(amli_encoder *encoder)
{
    if (encoder->pieces)
        encoder->tokenizer->engine->close(encoder);
}

void amli_encoder_begin(amli_encoder *encoder, const char *name, const char *text, size_t length)
{
    bool marked = encoder->tokenizer->kind != AML_TOKENIZER_BYTES;
    size_t mark = marked && length ? aml_utf8_mark(text, length) : 0;
    encoder->name = name;
    encoder->at = text + mark;
    encoder->end = text + length;
    encoder->line = encoder->column = 1;
    encoder->begun = false;
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
    if (encoder->at == encoder->end)
        return;
    size_t length = aml_utf8_read((const unsigned char *)encoder->at,
                                  (size_t)(encoder->end - encoder->at), &code);
    encoder->at += length ? length : 1;
    encoder->column++;
    if (code == '\n') {
        encoder->line++;
        encoder->column = 1;
    }
}

static aml_status not_utf8(const amli_encoder *encoder, aml_error *error)
{
    return amli_fail(error, AML_BAD_DATA,
                     "%s:%lld:%lld: expected UTF-8 text, found the byte 0x%02x", encoder->name,
                     (long long)encoder->line, (long long)encoder->column,
                     (unsigned)(unsigned char)*encoder->at);
}

// How many bytes from here on are UTF-8.
static size_t sound_length(const amli_encoder *encoder)
{
    const unsigned char *at = (const unsigned char *)encoder->at,
                        *end = (const unsigned char *)encoder->end;
    while (at < end) {
        uint64_t word;
        for (; end - at >= 8; at += 8) {
            memcpy(&word, at, 8);
            if (word & 0x8080808080808080u)
                break;
        }
        if (at == end)
            break;
        uint32_t code;
        size_t step = aml_utf8_read(at, (size_t)(end - at), &code);
        if (step == 0)
            break;
        at += step;
    }
    return (size_t)(at - (const unsigned char *)encoder->at);
}

static void move_on(amli_encoder *encoder, size_t length)
{
    for (const char *end = encoder->at + length; encoder->at < end; encoder->at++) {
        if (*encoder->at == '\n') {
            encoder->line++;
            encoder->column = 1;
        } else if (((unsigned char)*encoder->at & 0xC0) != 0x80) {
            encoder->column++;
        }
    }
}

// A text is read as a whole; if it has a place that is not UTF-8, up to there.
static aml_status encode_pieces(amli_encoder *encoder, int32_t *token, aml_error *error)
{
    const amli_token_engine *engine = encoder->tokenizer->engine;
    if (!encoder->begun && engine->next(encoder) >= 0) // left over from a text that was given up
        while (engine->next(encoder) >= 0)
            continue;
    while ((*token = encoder->begun ? engine->next(encoder) : -1) < 0) {
        if (encoder->at == encoder->end && encoder->begun)
            return AML_OK;
        size_t length = sound_length(encoder);
        if (length == 0 && encoder->at < encoder->end) {
            encoder->begun = true;
            return not_utf8(encoder, error);
        }
        bool first = !encoder->begun;
        encoder->begun = true;
        aml_status status = engine->encode(encoder, encoder->at, length, first, error);
        move_on(encoder, length);
        if (status)
            return status;
    }
    return AML_OK;
}

aml_status amli_encode(amli_encoder *encoder, int32_t *token, aml_error *error)
{
    *token = -1;
    if (encoder->pieces)
        return encode_pieces(encoder, token, error);
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
        return not_utf8(encoder, error);
    *token = find(encoder->tokenizer, code);
    if (*token < 0)
        return unknown(encoder, code, error);
    amli_encoder_skip(encoder);
    return AML_OK;
}

// ---- back to text

aml_status amli_decoder_open(amli_decoder *decoder, const aml_tokenizer *tokenizer,
                             aml_error *error)
{
    bool pieces = tokenizer->kind == AML_TOKENIZER_PIECES;
    size_t longest = pieces ? tokenizer->image->longest : 4;
    *decoder = (amli_decoder){.tokenizer = tokenizer};
    if (pieces && tokenizer->image->token_at.count == 0)
        return amli_fail(error, AML_INTERNAL, "the program has no spelling of tokens");
    decoder->text = malloc(3 * longest + 64); // every byte may become a U+FFFD
    return decoder->text ? AML_OK : amli_no_memory(error, 3 * longest + 64, "the decoder");
}

void amli_decoder_close(amli_decoder *decoder)
{
    free(decoder->text);
    decoder->text = NULL;
}

static const char replacement[] = "\xEF\xBF\xBD";

static void drop_held(amli_decoder *decoder, size_t count)
{
    decoder->count -= count;
    memmove(decoder->held, decoder->held + count, decoder->count);
}

// How many of the held bytes are the beginning of a character; all: more could complete it.
static size_t good_beginning(const amli_decoder *decoder)
{
    const unsigned char *held = decoder->held;
    unsigned char c = held[0];
    size_t needed = c >= 0xC2 && c <= 0xDF   ? 2
                    : (c & 0xF0) == 0xE0     ? 3
                    : c >= 0xF0 && c <= 0xF4 ? 4
                                             : 1;
    if (needed == 1)
        return 1;
    if (decoder->count > 1 && ((held[1] & 0xC0) != 0x80 || (c == 0xE0 && held[1] < 0xA0) ||
                               (c == 0xED && held[1] > 0x9F) || (c == 0xF0 && held[1] < 0x90) ||
                               (c == 0xF4 && held[1] > 0x8F)))
        return 1;
    for (size_t i = 2; i < decoder->count; i++)
        if ((held[i] & 0xC0) != 0x80)
            return i;
    return decoder->count;
}

// A broken character is one U+FFFD, however many of its bytes were there (as the Unicode standard
// recommends, chapter 3.9).
size_t amli_decode_byte(amli_decoder *decoder, unsigned char byte, char *text)
{
    size_t used = 0;
    decoder->held[decoder->count++] = byte;
    while (decoder->count > 0) {
        uint32_t code;
        size_t length = aml_utf8_read(decoder->held, decoder->count, &code);
        size_t good = length ? length : good_beginning(decoder);
        bool is_lead = decoder->held[0] >= 0xC2 && decoder->held[0] <= 0xF4;
        if (length == 0 && is_lead && good == decoder->count)
            break;
        memcpy(text + used, length ? (const char *)decoder->held : replacement,
               length ? length : 3);
        used += length ? length : 3;
        drop_held(decoder, good);
    }
    return used;
}

size_t amli_decode_token(amli_decoder *decoder, int32_t token)
{
    const aml_tokenizer *tokenizer = decoder->tokenizer;
    if (token < 0 || token >= tokenizer->vocab)
        return 0;
    if (tokenizer->kind == AML_TOKENIZER_PIECES)
        return tokenizer->engine->decode(decoder, token);
    if (tokenizer->kind == AML_TOKENIZER_CHARACTERS)
        return aml_utf8_write(tokenizer->code[token], decoder->text);
    return amli_decode_byte(decoder, (unsigned char)token, decoder->text);
}

size_t amli_decode_end(amli_decoder *decoder)
{
    size_t used = 0;
    while (decoder->count > 0) {
        size_t good = good_beginning(decoder);
        memcpy(decoder->text + used, replacement, 3);
        used += 3;
        drop_held(decoder, good);
    }
    return used;
}
