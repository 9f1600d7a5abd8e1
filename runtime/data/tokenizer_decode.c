// Tokens with pieces as text again.

#include "runtime/data/pieces.h"

#include <string.h>

typedef struct Spelled {
    const char *text;
    size_t length;
} Spelled;

static Spelled spelled(const aml_vocabulary *head, int32_t token)
{
    const uint32_t *at = aml_vocabulary_at(head, head->token_at);
    const char *text = aml_vocabulary_at(head, head->token);
    return (Spelled){text + at[token], at[token + 1] - at[token]};
}

static bool begins(Spelled text, const aml_vocabulary *head, aml_section with)
{
    return with.count && text.length >= with.count &&
           memcmp(text.text, aml_vocabulary_at(head, with), with.count) == 0;
}

static bool ends(Spelled text, const aml_vocabulary *head, aml_section with)
{
    return with.count && text.length >= with.count &&
           memcmp(text.text + text.length - with.count, aml_vocabulary_at(head, with),
                  with.count) == 0;
}

static size_t put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return length;
}

// How BERT's tokens are put together: no space before punctuation and the ends of short forms.
static size_t cleaned_up(char *text, size_t length)
{
    static const struct {
        const char *from, *to;
    } form[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < AMLI_COUNT(form); i++) {
        size_t from = strlen(form[i].from), to = strlen(form[i].to);
        for (size_t at = 0; at + from <= length; at++)
            if (memcmp(text + at, form[i].from, from) == 0) {
                memmove(text + at + to, text + at + from, length - at - from);
                memcpy(text + at, form[i].to, to);
                length = length - from + to;
                at += to - 1;
            }
    }
    return length;
}

// Marks become spaces; at the very beginning there is none.
static size_t marks_to_spaces(const amli_decoder *decoder, Spelled token, char *to)
{
    const aml_vocabulary *head = decoder->tokenizer->image;
    const char *mark = aml_vocabulary_at(head, head->mark);
    bool drops = decoder->given == 0 && !(head->flags & AML_VOCABULARY_KEEP_SPACE);
    size_t used = 0;
    for (size_t i = 0; i < token.length;) {
        if (head->mark.count && token.length - i >= head->mark.count &&
            memcmp(token.text + i, mark, head->mark.count) == 0) {
            if (!drops)
                to[used++] = ' ';
            if (head->flags & AML_VOCABULARY_ONE_SPACE)
                drops = false;
            i += head->mark.count;
        } else {
            if (head->flags & AML_VOCABULARY_ONE_SPACE)
                drops = false;
            to[used++] = token.text[i++];
        }
    }
    return used;
}

static size_t bytes_of(amli_decoder *decoder, Spelled token)
{
    size_t used = 0;
    for (size_t i = 0; i < token.length; i++)
        used += amli_decode_byte(decoder, (unsigned char)token.text[i], decoder->text + used);
    return used;
}

size_t amli_pieces_decode(amli_decoder *decoder, int32_t token)
{
    const aml_vocabulary *head = decoder->tokenizer->image;
    const uint8_t *flags = aml_vocabulary_at(head, head->token_flags);
    char *to = decoder->text;
    Spelled text = spelled(head, token);
    size_t used = 0;
    if ((flags[token] & AML_TOKEN_SPECIAL) && !decoder->keeps_special)
        return 0;
    bool is_first = decoder->given == 0;
    switch ((aml_token_decoder)head->decoder) {
    case AML_DECODER_SPACES:
        used = is_first ? 0 : put(to, " ", 1);
        used += put(to + used, text.text, text.length);
        break;
    case AML_DECODER_BYTES:
        used = bytes_of(decoder, text);
        break;
    case AML_DECODER_WORDPIECE:
        if (!is_first && begins(text, head, head->prefix)) {
            used = put(to, text.text + head->prefix.count, text.length - head->prefix.count);
        } else {
            used = is_first ? 0 : put(to, " ", 1);
            used += put(to + used, text.text, text.length);
        }
        if (head->flags & AML_VOCABULARY_CLEANUP)
            used = cleaned_up(to, used);
        break;
    case AML_DECODER_METASPACE:
        if (flags[token] & AML_TOKEN_BYTE) {
            const int32_t *byte = aml_vocabulary_at(head, head->byte);
            for (int i = 0; i < 256; i++)
                if (byte[i] == token)
                    used = amli_decode_byte(decoder, (unsigned char)i, to);
        } else {
            used = amli_decode_end(decoder);
            used += marks_to_spaces(decoder, text, to + used);
        }
        break;
    case AML_DECODER_SUFFIX:
        used = decoder->space ? put(to, " ", 1) : 0;
        decoder->space = ends(text, head, head->mark);
        used += put(to + used, text.text, text.length - (decoder->space ? head->mark.count : 0));
        break;
    }
    decoder->given++;
    return used;
}
