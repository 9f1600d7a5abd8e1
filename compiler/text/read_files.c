// read_files.c: vocab.json with merges.txt as of GPT-2, vocab.txt as of BERT, and vocabularies of
// words.

#include "text/text.h"

#include <string.h>

#include "aml/utf8.h"

// A line without its end; false: there are no more.
static bool next_line(Bytes text, size_t *at, Bytes *line)
{
    if (*at >= text.length)
        return false;
    const char *end = memchr(text.at + *at, '\n', text.length - *at);
    size_t length = end ? (size_t)(end - text.at) - *at : text.length - *at;
    *line = (Bytes){text.at + *at, length};
    *at += length + (end != NULL);
    if (line->length && line->at[line->length - 1] == '\r')
        line->length--;
    return true;
}

static size_t not_utf8(Bytes text)
{
    uint32_t code;
    for (size_t at = 0, step; at < text.length; at += step)
        if ((step = aml_utf8_read((const unsigned char *)text.at + at, text.length - at, &code)) ==
            0)
            return at;
    return text.length;
}

// The byte that a letter of a byte-level vocabulary stands for: printable ones stand for
// themselves, the others are letters from U+0100 on, in their order. -1: it is none of them.
static int byte_of_letter(uint32_t code)
{
    bool itself =
        (code >= 33 && code <= 126) || (code >= 161 && code <= 172) || (code >= 174 && code <= 255);
    if (itself)
        return (int)code;
    if (code < 256 || code >= 256 + 68)
        return -1;
    uint32_t rest = code - 256;
    return (int)(rest <= 32 ? rest : rest <= 66 ? rest - 33 + 127 : 173);
}

// A token of a byte-level vocabulary as the bytes that it stands for. False: one of its letters
// stands for none; such a token is never made of bytes.
static bool level_bytes(Arena *arena, Bytes token, Bytes *out)
{
    char *to = arena_alloc(arena, token.length + 1);
    size_t used = 0;
    for (size_t at = 0, step; at < token.length; at += step) {
        uint32_t code = 0;
        step = aml_utf8_read((const unsigned char *)token.at + at, token.length - at, &code);
        int byte = step ? byte_of_letter(code) : -1;
        if (byte < 0)
            return false;
        to[used++] = (char)byte;
    }
    *out = (Bytes){to, used};
    return true;
}

// What a vocabulary's model says of bytes, told apart from texts.
void tokens_to_bytes(Vocabulary *vocabulary)
{
    for (int i = 0; i < vocabulary->token.count; i++) {
        VocabularyToken *token = &vocabulary->token.at[i];
        if (token->in_model && token->exists && !token->is_added &&
            !level_bytes(vocabulary->arena, token->text, &token->text))
            token->in_model = false;
    }
    for (int i = 0; i < vocabulary->merge.count; i++) {
        VocabularyMerge *merge = &vocabulary->merge.at[i];
        if (!level_bytes(vocabulary->arena, merge->left, &merge->left) ||
            !level_bytes(vocabulary->arena, merge->right, &merge->right))
            vocabulary_wrong(vocabulary, "merge %d has letters that stand for no byte: %s and %s",
                             i + 1, bytes_shown(vocabulary->arena, merge->left),
                             bytes_shown(vocabulary->arena, merge->right));
    }
}

bool read_vocab_object(Vocabulary *vocabulary, json_t *object)
{
    const char *name;
    size_t length;
    json_t *value;
    if (!json_is_object(object))
        return vocabulary_wrong(vocabulary, "expected an object from tokens to numbers");
    json_object_keylen_foreach(object, name, length, value)
    {
        Bytes text = {arena_text(vocabulary->arena, name, length), length};
        if (!json_is_integer(value))
            return vocabulary_wrong(vocabulary, "the number of the token %s is not a whole number",
                                    bytes_shown(vocabulary->arena, text));
        if (!vocabulary_add(vocabulary, json_integer_value(value), text, 0))
            return false;
    }
    return true;
}

static bool read_merges(Vocabulary *vocabulary, Bytes text)
{
    Bytes line;
    long long number = 0;
    size_t bad = not_utf8(text);
    if (bad < text.length)
        return vocabulary_wrong(vocabulary, "merges: the byte 0x%02x at offset %zu is not UTF-8",
                                (unsigned)(unsigned char)text.at[bad], bad);
    for (size_t at = 0; next_line(text, &at, &line);) {
        number++;
        if (line.length == 0 || (line.length >= 8 && memcmp(line.at, "#version", 8) == 0))
            continue;
        const char *space = memchr(line.at, ' ', line.length);
        size_t left = space ? (size_t)(space - line.at) : 0;
        if (!space || left == 0 || left + 1 == line.length ||
            memchr(space + 1, ' ', line.length - left - 1))
            return vocabulary_wrong(vocabulary,
                                    "merges, line %lld: expected two tokens with a space between, "
                                    "found %s",
                                    number, bytes_shown(vocabulary->arena, line));
        const VocabularyMerge merge = {{line.at, left}, {space + 1, line.length - left - 1}};
        vec_push(vocabulary->arena, &vocabulary->merge, merge);
    }
    return true;
}

const aml_tokenizer *read_gpt2(Arena *arena, Bytes vocab, Bytes merges, bool prefix_space,
                               const char **why)
{
    Vocabulary vocabulary;
    vocabulary_begin(&vocabulary, arena, AML_MODEL_BPE);
    json_t *object = read_json(&vocabulary, vocab);
    const aml_tokenizer *tokenizer = NULL;
    if (object && read_vocab_object(&vocabulary, object) && read_merges(&vocabulary, merges)) {
        vocabulary_byte_level(&vocabulary, prefix_space, true);
        tokens_to_bytes(&vocabulary);
        tokenizer = vocabulary_finish(&vocabulary);
    }
    json_decref(object);
    *why = vocabulary.why;
    return tokenizer;
}

const aml_tokenizer *read_bert(Arena *arena, Bytes vocab, bool lowercase, const char **why)
{
    static const char *const special[] = {"[CLS]", "[SEP]", "[PAD]", "[MASK]"};
    Vocabulary vocabulary;
    Bytes line;
    int64_t number = 0;
    vocabulary_begin(&vocabulary, arena, AML_MODEL_WORDPIECE);
    size_t bad = not_utf8(vocab);
    if (bad < vocab.length)
        vocabulary_wrong(&vocabulary, "the byte 0x%02x at offset %zu is not UTF-8",
                         (unsigned)(unsigned char)vocab.at[bad], bad);
    for (size_t at = aml_utf8_mark(vocab.at, vocab.length);
         !vocabulary.why && next_line(vocab, &at, &line);) {
        while (line.length && (line.at[line.length - 1] == ' ' || line.at[line.length - 1] == '\t'))
            line.length--;
        if (line.length == 0 && at < vocab.length)
            vocabulary_wrong(&vocabulary, "line %lld is empty, expected a token on each line",
                             (long long)number + 1);
        else if (line.length)
            vocabulary_add(&vocabulary, number++, line, 0);
    }
    for (size_t i = 0; i < COUNT_OF(special) && !vocabulary.why; i++) {
        int32_t token = vocabulary_find(&vocabulary, bytes_of(special[i]));
        if (token >= 0)
            vocabulary.token.at[token].flags |= AML_TOKEN_SPECIAL;
    }
    vocabulary.prefix = bytes_of("##");
    vocabulary.unknown_text = bytes_of("[UNK]");
    vocabulary.head.decoder = AML_DECODER_WORDPIECE;
    vocabulary.head.flags |= AML_VOCABULARY_CLEANUP;
    vocabulary_normalize(&vocabulary, AML_STEP_BERT)->step.flags =
        AML_BERT_CLEAN | AML_BERT_CJK | (lowercase ? AML_BERT_ACCENTS | AML_BERT_LOWER : 0u);
    vocabulary_split(&vocabulary, AML_STEP_BERT_WORDS);
    int32_t begin = vocabulary.why ? -1 : vocabulary_find(&vocabulary, bytes_of("[CLS]"));
    int32_t end = vocabulary.why ? -1 : vocabulary_find(&vocabulary, bytes_of("[SEP]"));
    if (begin >= 0)
        vec_push(arena, &vocabulary.before, begin);
    if (end >= 0)
        vec_push(arena, &vocabulary.after, end);
    const aml_tokenizer *tokenizer = vocabulary_finish(&vocabulary);
    *why = vocabulary.why;
    return tokenizer;
}

const aml_tokenizer *read_words(Arena *arena, const TrieKey *word, int words, bool lowercase,
                                const char **why)
{
    Vocabulary vocabulary;
    vocabulary_begin(&vocabulary, arena, AML_MODEL_WORDS);
    vocabulary_add(&vocabulary, 0, bytes_of("<pad>"), 0);
    vocabulary_add(&vocabulary, 1, bytes_of("<unk>"), 0);
    for (int i = 0; i < 2; i++) { // nothing that is written is read as one of these
        vocabulary.token.at[i].flags |= AML_TOKEN_SPECIAL;
        vocabulary.token.at[i].in_model = false;
    }
    for (int i = 0; i < words; i++)
        vocabulary_add(&vocabulary, 2 + i, word[i].text, 0);
    vocabulary.unknown_text = bytes_of("<unk>");
    vocabulary_normalize(&vocabulary, AML_STEP_NFC);
    if (lowercase)
        vocabulary_normalize(&vocabulary, AML_STEP_LOWERCASE);
    vocabulary_split(&vocabulary, AML_STEP_WORDS);
    const aml_tokenizer *tokenizer = vocabulary_finish(&vocabulary);
    *why = vocabulary.why;
    return tokenizer;
}
