// tokenizer.h: text to tokens and back.
//
//   tokenizer.c             the interface; characters and bytes, which need nothing else
//   tokenizer_pieces.c      what all tokenizers with pieces share: added tokens, the order of steps
//   tokenizer_normalize.c   steps that change the text (utf8proc)
//   tokenizer_split.c       steps that cut it into pieces
//   tokenizer_regex.c       patterns (PCRE2)
//   tokenizer_words.c, tokenizer_wordpiece.c, tokenizer_bpe.c, tokenizer_unigram.c    the models
//   tokenizer_decode.c      back to text
//
// An encoder keeps memory for its work from one text to the next; each thread uses its own.

#ifndef AMLI_TOKENIZER_H
#define AMLI_TOKENIZER_H

#include "runtime/base/base.h"

typedef struct amli_pieces amli_pieces; // what a tokenizer with pieces works with

// A text on its way to tokens.
typedef struct amli_encoder {
    const aml_tokenizer *tokenizer;
    const char *name; // of the text, for messages
    const char *at, *end;
    int64_t line, column; // of `at`, from 1; the column in code points
    amli_pieces *pieces;  // NULL: characters and bytes
    bool begun;           // something of the text was read
} amli_encoder;

// Makes an encoder, for any number of texts. It is to be closed also after a failure.
aml_status amli_encoder_open(amli_encoder *encoder, const aml_tokenizer *tokenizer,
                             aml_error *error);
void amli_encoder_close(amli_encoder *encoder);

void amli_encoder_begin(amli_encoder *encoder, const char *name, const char *text, size_t length);

// The next token; -1 at the end. AML_BAD_DATA, with line and column, for what is not UTF-8 or not
// in the vocabulary.
aml_status amli_encode(amli_encoder *encoder, int32_t *token, aml_error *error);
// Passes over what could not be read; there is something left.
void amli_encoder_skip(amli_encoder *encoder);

// Tokens on their way to a text. Tokens that are bytes become text as soon as they make a
// character; what is no UTF-8 becomes U+FFFD. Special tokens give no text.
typedef struct amli_decoder {
    const aml_tokenizer *tokenizer;
    unsigned char held[4];
    size_t count;
    int64_t given; // tokens so far that gave text
    bool keeps_special;
    bool space; // comes before the next token, if there is one
    char *text; // what one call gave
} amli_decoder;

aml_status amli_decoder_open(amli_decoder *decoder, const aml_tokenizer *tokenizer,
                             aml_error *error);
void amli_decoder_close(amli_decoder *decoder);
// The text that is certain now, in decoder->text until the next call; how many bytes it has.
size_t amli_decode_token(amli_decoder *decoder, int32_t token);
size_t amli_decode_end(amli_decoder *decoder);
// Bytes that come one after the other, as text.
size_t amli_decode_byte(amli_decoder *decoder, unsigned char byte, char *text);

// ---- what a tokenizer with pieces does; the tables of a program name what they need, so that a
// program has no more of it than it uses

typedef struct amli_token_engine {
    const char *name;
    aml_status (*open)(amli_encoder *encoder, aml_error *error);
    void (*close)(amli_encoder *encoder);
    // Makes the tokens of a text that is UTF-8. `is_first`: it is the beginning of the whole.
    aml_status (*encode)(amli_encoder *encoder, const char *text, size_t length, bool is_first,
                         aml_error *error);
    int32_t (*next)(amli_encoder *encoder); // the next of them; -1: there are no more
    size_t (*decode)(amli_decoder *decoder, int32_t token);
    void (*piece)(amli_pieces *pieces, const char *text, size_t length); // the model
} amli_token_engine;

// What Unicode says of characters, which takes large tables.
typedef struct amli_token_unicode {
    // All steps that change a text: it becomes another one, which lives until the next call.
    void (*normalize)(amli_pieces *pieces, const char **text, size_t *length);
    bool (*is_punctuation)(uint32_t code), (*is_word)(uint32_t code), (*is_numeric)(uint32_t code);
} amli_token_unicode;
extern const amli_token_unicode amli_unicode_utf8proc;

// Patterns: the next match at or behind `from` to begin and end; false: there is none.
typedef struct amli_token_patterns {
    void *(*open)(const char *pattern, size_t length);
    void (*close)(void *pattern);
    bool (*next)(void *pattern, const char *text, size_t length, size_t from, size_t *begin,
                 size_t *end, bool *failed);
} amli_token_patterns;

#endif
