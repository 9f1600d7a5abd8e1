// Tokenizers' files: any bytes give a tokenizer or a reason, and a tokenizer gives tokens of its
// vocabulary for any text, and a text in UTF-8 for any tokens.

#include <stdlib.h>
#include <string.h>

#include "aml/utf8.h"
#include "runtime/data/tokenizer.h"
#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKENS(NAME, name, meaning) extern const amli_token_engine amli_tokens_##name;
#include "aml/tokens.def"
#undef TOKENS
extern const amli_token_patterns amli_patterns_pcre2;

static const char *const texts[] = {
    "Hello, world! don't 123",
    "\xC3\xA9 e\xCC\x81 \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80",
    "  a  b\n\n c ",
    "<|endoftext|>[CLS]<unk>##ing",
    "",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

static void decode(const aml_tokenizer *tokenizer)
{
    amli_decoder decoder;
    if (amli_decoder_open(&decoder, tokenizer, NULL))
        __builtin_trap();
    for (int32_t token = -1; token <= tokenizer->vocab && token < 2000; token++) {
        uint32_t found;
        size_t length = amli_decode_token(&decoder, token);
        for (size_t at = 0, step; at < length; at += step)
            if ((step = aml_utf8_read((unsigned char *)decoder.text + at, length - at, &found)) ==
                0)
                __builtin_trap();
    }
    amli_decode_end(&decoder);
    amli_decoder_close(&decoder);
}

static void use(const aml_tokenizer *found)
{
    static const amli_token_engine *const engine[] = {
#define TOKENS(NAME, name, meaning) &amli_tokens_##name,
#include "aml/tokens.def"
#undef TOKENS
    };
    aml_tokenizer tokenizer = *found;
    tokenizer.engine = engine[found->image->model];
    tokenizer.pattern = found->image->flags & AML_VOCABULARY_REGEX ? &amli_patterns_pcre2 : NULL;
    tokenizer.unicode =
        found->image->flags & AML_VOCABULARY_UNICODE ? &amli_unicode_utf8proc : NULL;
    amli_encoder encoder;
    aml_error error = {0};
    if (amli_encoder_open(&encoder, &tokenizer, &error) == AML_OK) {
        for (size_t i = 0; i < AMLI_COUNT(texts); i++) {
            amli_encoder_begin(&encoder, "text", texts[i], strlen(texts[i]));
            for (int32_t token; !amli_encode(&encoder, &token, &error) && token >= 0;)
                if (token >= tokenizer.vocab)
                    __builtin_trap();
        }
        decode(&tokenizer);
    }
    amli_encoder_close(&encoder);
}

// The first byte is the kind; of vocab.json with merges.txt the next two say where the merges
// begin.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    Arena *arena = arena_new();
    const char *why = NULL;
    size_t half = data[1] | (size_t)data[2] << 8;
    Bytes all = {(const char *)data + 3, size - 3};
    half = half < all.length ? half : all.length;
    Bytes first = {arena_text(arena, all.at, half), half},
          rest = {arena_text(arena, all.at + half, all.length - half), all.length - half};
    all.at = arena_text(arena, all.at, all.length);
    const aml_tokenizer *found = data[0] % 3 == 0   ? read_gpt2(arena, first, rest, true, &why)
                                 : data[0] % 3 == 1 ? read_bert(arena, all, true, &why)
                                                    : read_tokenizer_json(arena, all, &why);
    if (!found && !why)
        __builtin_trap();
    if (found)
        use(found);
    arena_free(arena);
    return 0;
}
