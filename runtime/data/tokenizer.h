// tokenizer.h: text to tokens and back. Nothing here allocates, so that a deployed program can use
// it as well as a training program.

#ifndef AMLI_TOKENIZER_H
#define AMLI_TOKENIZER_H

#include "runtime/base/base.h"

// A text on its way to tokens.
typedef struct amli_encoder {
    const aml_tokenizer *tokenizer;
    const char *name; // of the text, for messages
    const char *at, *end;
    int64_t line, column; // of `at`, from 1; the column in code points
} amli_encoder;

void amli_encoder_begin(amli_encoder *encoder, const aml_tokenizer *tokenizer, const char *name,
                        const char *text, size_t length);

// The next token; -1 at the end. AML_BAD_DATA, with line and column, for what is not UTF-8 or not
// in the vocabulary.
aml_status amli_encode(amli_encoder *encoder, int32_t *token, aml_error *error);
// Passes over what could not be read; there is something left.
void amli_encoder_skip(amli_encoder *encoder);

// Tokens on their way to a text. Tokens that are bytes become text as soon as they make a
// character; what is no UTF-8 becomes U+FFFD.
typedef struct amli_decoder {
    const aml_tokenizer *tokenizer;
    unsigned char held[4];
    size_t count;
} amli_decoder;

enum { AMLI_DECODED = 16 }; // bytes that one call may give
size_t amli_decode_token(amli_decoder *decoder, int32_t token, char text[AMLI_DECODED]);
size_t amli_decode_end(amli_decoder *decoder, char text[AMLI_DECODED]);

#endif
