// Texts and tokenizers: any bytes give tokens of the vocabulary, and of those the same text again,
// or an error that says where.

#include <stdlib.h>
#include <string.h>

#include "aml/utf8.h"
#include "runtime/data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t code[] = {'\n', ' ', 'a', 'e', 'f', 'n', '{', '}', 0xE9, 0x20AC, 0x1F600};
static const aml_tokenizer characters = {
    .kind = AML_TOKENIZER_CHARACTERS, .vocab = 11, .code = code};
static const aml_tokenizer bytes = {.kind = AML_TOKENIZER_BYTES, .vocab = 256};

// What is encoded is decoded to the same bytes, unless it is no UTF-8.
static void go_round(const aml_tokenizer *tokenizer, const char *text, size_t size)
{
    amli_encoder encoder;
    amli_decoder decoder;
    size_t room = 3 * size + 64;
    char *back = malloc(room);
    size_t used = 0;
    bool passed = false;
    if (amli_encoder_open(&encoder, tokenizer, NULL) ||
        amli_decoder_open(&decoder, tokenizer, NULL))
        __builtin_trap();
    amli_encoder_begin(&encoder, "text", text, size);
    const char *from = encoder.at;
    while (back) {
        aml_error error = {0};
        int32_t token;
        if (amli_encode(&encoder, &token, &error)) {
            if (!strstr(error.text, "text:"))
                __builtin_trap();
            amli_encoder_skip(&encoder);
            passed = true;
            continue;
        }
        if (token < 0)
            break;
        if (token >= tokenizer->vocab)
            __builtin_trap();
        size_t length = amli_decode_token(&decoder, token);
        if (used + length > room)
            __builtin_trap();
        memcpy(back + used, decoder.text, length);
        used += length;
    }
    size_t last = amli_decode_end(&decoder);
    if (back && used + last <= room)
        memcpy(back + used, decoder.text, last);
    used += last;
    bool sound = !passed;
    uint32_t found;
    for (size_t at = 0, step; sound && at < (size_t)(encoder.end - from); at += step) {
        step = aml_utf8_read((const unsigned char *)from + at, (size_t)(encoder.end - from) - at,
                             &found);
        sound = step > 0;
        step += !sound;
    }
    if (sound && (used != (size_t)(encoder.end - from) || memcmp(back, from, used) != 0))
        __builtin_trap();
    for (size_t at = 0, step; at < used; at += step) // what is written is UTF-8 in any case
        if ((step = aml_utf8_read((unsigned char *)back + at, used - at, &found)) == 0)
            __builtin_trap();
    amli_encoder_close(&encoder);
    amli_decoder_close(&decoder);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    go_round(&characters, (const char *)data, size);
    go_round(&bytes, (const char *)data, size);
    return 0;
}
