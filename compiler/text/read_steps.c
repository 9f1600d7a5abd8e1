// read_steps.c: tokenizer.json: how a text is normalised and split, and how tokens become a text.

#include "text/text.h"

#include <string.h>

static bool is(const json_t *object, const char *kind)
{
    return strcmp(json_kind(object), kind) == 0;
}

// {"String": "x"} or {"Regex": "x"}.
static bool read_pattern(Vocabulary *vocabulary, const json_t *object, const char *what,
                         Bytes *text, bool *is_regex)
{
    const json_t *pattern = json_object_get(object, "pattern");
    *is_regex = json_object_get(pattern, "Regex") != NULL;
    *text = json_bytes(vocabulary->arena, json_object_get(pattern, *is_regex ? "Regex" : "String"));
    if (text->at && text->length > 0)
        return true;
    return vocabulary_wrong(vocabulary, "%s: expected a pattern: a String or a Regex", what);
}

// ---- normalizers

// SentencePiece's table: the size of a trie, the trie, texts. It comes in base64.
static bool read_charsmap(Vocabulary *vocabulary, const json_t *object)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Bytes coded = json_bytes(vocabulary->arena, json_object_get(object, "precompiled_charsmap"));
    Buffer out = {.arena = vocabulary->arena};
    uint32_t bits = 0, size;
    int held = 0;
    buffer_text(&out, "");
    for (size_t i = 0; i < coded.length && coded.at[i] != '='; i++) {
        const char *letter = coded.at[i] ? strchr(letters, coded.at[i]) : NULL;
        if (!letter)
            return vocabulary_wrong(vocabulary, "precompiled_charsmap: letter %zu is not base64",
                                    i);
        bits = bits << 6 | (uint32_t)(letter - letters);
        held += 6;
        if (held >= 8) {
            char byte = (char)(bits >> (held -= 8));
            buffer_append(&out, &byte, 1);
        }
    }
    if (out.length == 0) // no table: nothing is changed
        return true;
    if (out.length >= 4)
        memcpy(&size, out.text, 4);
    if (out.length < 4 || size % 4 || size > out.length - 4)
        return vocabulary_wrong(vocabulary, "precompiled_charsmap: its table does not fit into it");
    vocabulary->map = (Bytes){arena_copy(vocabulary->arena, out.text + 4, size), size};
    // texts end with a NUL, which the last one may lack
    vocabulary->map_text = (Bytes){out.text + 4 + size, out.length - 4 - size + 1};
    vocabulary_normalize(vocabulary, AML_STEP_CHARSMAP);
    return true;
}

static bool read_bert_normalizer(Vocabulary *vocabulary, const json_t *object)
{
    bool lower = json_flag(object, "lowercase", true);
    bool accents = json_flag(object, "strip_accents", lower);
    vocabulary_normalize(vocabulary, AML_STEP_BERT)->step.flags =
        (json_flag(object, "clean_text", true) ? AML_BERT_CLEAN : 0u) |
        (json_flag(object, "handle_chinese_chars", true) ? AML_BERT_CJK : 0u) |
        (accents ? AML_BERT_ACCENTS : 0u) | (lower ? AML_BERT_LOWER : 0u);
    return true;
}

bool read_normalizer(Vocabulary *vocabulary, const json_t *object)
{
    static const struct {
        const char *name;
        aml_step_kind kind;
    } plain[] = {{"NFC", AML_STEP_NFC},
                 {"NFD", AML_STEP_NFD},
                 {"NFKC", AML_STEP_NFKC},
                 {"NFKD", AML_STEP_NFKD},
                 {"Lowercase", AML_STEP_LOWERCASE},
                 {"StripAccents", AML_STEP_STRIP_ACCENTS}};
    if (!object || json_is_null(object))
        return true;
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        if (is(object, plain[i].name)) {
            vocabulary_normalize(vocabulary, plain[i].kind);
            return true;
        }
    if (is(object, "BertNormalizer"))
        return read_bert_normalizer(vocabulary, object);
    if (is(object, "Precompiled"))
        return read_charsmap(vocabulary, object);
    if (is(object, "Strip")) {
        vocabulary_normalize(vocabulary, AML_STEP_STRIP)->step.flags =
            (json_flag(object, "strip_left", true) ? 1u : 0u) |
            (json_flag(object, "strip_right", true) ? 2u : 0u);
        return true;
    }
    if (is(object, "Prepend")) {
        Bytes text = json_bytes(vocabulary->arena, json_object_get(object, "prepend"));
        if (!text.at)
            return vocabulary_wrong(vocabulary, "normalizer: Prepend without a text");
        vocabulary_normalize(vocabulary, AML_STEP_PREPEND)->a = text;
        return true;
    }
    if (is(object, "Replace")) {
        Bytes text, content = json_bytes(vocabulary->arena, json_object_get(object, "content"));
        bool is_regex;
        if (!read_pattern(vocabulary, object, "normalizer: Replace", &text, &is_regex))
            return false;
        VocabularyStep *step = vocabulary_normalize(vocabulary, AML_STEP_REPLACE);
        step->a = text;
        step->b = content.at ? content : (Bytes){"", 0};
        step->step.flags = is_regex ? AML_STEP_IS_REGEX : 0;
        return true;
    }
    if (is(object, "Sequence")) {
        const json_t *part;
        size_t i;
        json_array_foreach(json_object_get(object, "normalizers"), i,
                           part) if (!read_normalizer(vocabulary, part)) return false;
        return true;
    }
    return vocabulary_wrong(vocabulary,
                            "normalizer: expected NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
                            "BertNormalizer, Precompiled, Strip, Prepend, Replace or a Sequence of "
                            "them, found \"%s\"",
                            json_kind(object));
}

// ---- splits

static bool read_behaviour(Vocabulary *vocabulary, const json_t *object, const char *otherwise,
                           uint32_t *out)
{
    static const char *const name[] = {"Removed", "Isolated", "MergedWithPrevious",
                                       "MergedWithNext", "Contiguous"};
    const char *found = json_string_value(json_object_get(object, "behavior"));
    for (uint32_t i = 0; i < COUNT_OF(name); i++)
        if (strcmp(found ? found : otherwise, name[i]) == 0) {
            *out = i;
            return true;
        }
    return vocabulary_wrong(vocabulary, "pre_tokenizer: there is no behavior \"%s\"",
                            found ? found : "");
}

static bool read_metaspace(Vocabulary *vocabulary, const json_t *object)
{
    const char *scheme = json_string_value(json_object_get(object, "prepend_scheme"));
    bool old = json_flag(object, "add_prefix_space", true);
    Bytes mark = json_bytes(vocabulary->arena, json_object_get(object, "replacement"));
    VocabularyStep *step = vocabulary_split(vocabulary, AML_STEP_METASPACE);
    if (!scheme)
        scheme = old ? "always" : "never";
    step->a = mark.at && mark.length ? mark : bytes_of("\xE2\x96\x81");
    step->step.flags = (strcmp(scheme, "always") == 0  ? 1u
                        : strcmp(scheme, "first") == 0 ? 2u
                                                       : 0u) |
                       (json_flag(object, "split", true) ? 4u : 0u);
    return true;
}

static bool read_split(Vocabulary *vocabulary, const json_t *object)
{
    Bytes text;
    bool is_regex;
    uint32_t how;
    if (!read_pattern(vocabulary, object, "pre_tokenizer: Split", &text, &is_regex) ||
        !read_behaviour(vocabulary, object, "Isolated", &how))
        return false;
    VocabularyStep *step =
        vocabulary_split(vocabulary, is_regex ? AML_STEP_REGEX : AML_STEP_LITERAL);
    step->a = text;
    step->step.how = how;
    step->step.flags = json_flag(object, "invert", false);
    return true;
}

bool read_splits(Vocabulary *vocabulary, const json_t *object)
{
    if (!object || json_is_null(object))
        return true;
    if (vocabulary->head.flags & AML_VOCABULARY_BYTE_LEVEL)
        return vocabulary_wrong(vocabulary, "pre_tokenizer: ByteLevel is the last step, found "
                                            "another one behind it");
    if (is(object, "Sequence")) {
        const json_t *part;
        size_t i;
        json_array_foreach(json_object_get(object, "pretokenizers"), i,
                           part) if (!read_splits(vocabulary, part)) return false;
        return true;
    }
    if (is(object, "ByteLevel"))
        return vocabulary_byte_level(vocabulary, json_flag(object, "add_prefix_space", true),
                                     json_flag(object, "use_regex", true));
    if (is(object, "Metaspace"))
        return read_metaspace(vocabulary, object);
    if (is(object, "Split"))
        return read_split(vocabulary, object);
    if (is(object, "Whitespace")) {
        vocabulary_split(vocabulary, AML_STEP_WORDS);
        return true;
    }
    if (is(object, "WhitespaceSplit")) {
        vocabulary_split(vocabulary, AML_STEP_WHITE_SPACE);
        return true;
    }
    if (is(object, "BertPreTokenizer")) {
        vocabulary_split(vocabulary, AML_STEP_BERT_WORDS);
        return true;
    }
    if (is(object, "Digits")) {
        vocabulary_split(vocabulary, AML_STEP_DIGITS)->step.how =
            json_flag(object, "individual_digits", false) ? AML_SEPARATOR_ISOLATED
                                                          : AML_SEPARATOR_CONTIGUOUS;
        return true;
    }
    if (is(object, "Punctuation")) {
        uint32_t how;
        if (!read_behaviour(vocabulary, object, "Isolated", &how))
            return false;
        vocabulary_split(vocabulary, AML_STEP_PUNCTUATION)->step.how = how;
        return true;
    }
    if (is(object, "CharDelimiterSplit")) {
        Bytes text = json_bytes(vocabulary->arena, json_object_get(object, "delimiter"));
        VocabularyStep *step = vocabulary_split(vocabulary, AML_STEP_LITERAL);
        step->a = text.at ? text : bytes_of(" ");
        step->step.how = AML_SEPARATOR_REMOVED;
        return true;
    }
    return vocabulary_wrong(vocabulary,
                            "pre_tokenizer: expected ByteLevel, Metaspace, Split, Whitespace, "
                            "WhitespaceSplit, BertPreTokenizer, Digits, Punctuation, "
                            "CharDelimiterSplit or a Sequence of them, found \"%s\"",
                            json_kind(object));
}

// ---- decoders

static bool read_decoder_metaspace(Vocabulary *vocabulary, const json_t *object)
{
    const char *scheme = json_string_value(json_object_get(object, "prepend_scheme"));
    Bytes mark = json_bytes(vocabulary->arena, json_object_get(object, "replacement"));
    bool keeps =
        scheme ? strcmp(scheme, "never") == 0 : !json_flag(object, "add_prefix_space", true);
    vocabulary->head.decoder = AML_DECODER_METASPACE;
    vocabulary->head.flags |= keeps ? AML_VOCABULARY_KEEP_SPACE : 0u;
    vocabulary->mark = mark.at && mark.length ? mark : bytes_of("\xE2\x96\x81");
    return true;
}

// Replace, ByteFallback, Fuse and Strip one after the other, as Llama's tokenizers have them.
static bool read_decoder_steps(Vocabulary *vocabulary, const json_t *list)
{
    const json_t *part;
    size_t i;
    vocabulary->head.flags |= AML_VOCABULARY_KEEP_SPACE | AML_VOCABULARY_ONE_SPACE;
    vocabulary->head.decoder = AML_DECODER_METASPACE;
    json_array_foreach(list, i, part)
    {
        const char *content = json_string_value(json_object_get(part, "content"));
        bool is_space = content && strcmp(content, " ") == 0;
        if (is(part, "ByteFallback") || is(part, "Fuse"))
            continue;
        if (is(part, "Strip") && is_space &&
            json_integer_value(json_object_get(part, "start")) == 1 &&
            json_integer_value(json_object_get(part, "stop")) == 0) {
            vocabulary->head.flags &= ~(uint32_t)AML_VOCABULARY_KEEP_SPACE;
            continue;
        }
        bool is_regex;
        if (is(part, "Replace") && is_space &&
            read_pattern(vocabulary, part, "decoder: Replace", &vocabulary->mark, &is_regex) &&
            !is_regex)
            continue;
        return vocabulary_wrong(vocabulary,
                                "decoder: expected a sequence of Replace (by a space), "
                                "ByteFallback, Fuse and Strip (one space at the start), found "
                                "\"%s\"",
                                json_kind(part));
    }
    return true;
}

bool read_decoder(Vocabulary *vocabulary, const json_t *object)
{
    if (!object || json_is_null(object)) {
        bool bytes = vocabulary->head.flags & AML_VOCABULARY_BYTE_LEVEL;
        vocabulary->head.decoder = bytes ? AML_DECODER_BYTES : AML_DECODER_SPACES;
        return true;
    }
    if (is(object, "ByteLevel")) {
        vocabulary->head.decoder = AML_DECODER_BYTES;
        return true;
    }
    if (is(object, "WordPiece")) {
        Bytes prefix = json_bytes(vocabulary->arena, json_object_get(object, "prefix"));
        vocabulary->head.decoder = AML_DECODER_WORDPIECE;
        vocabulary->head.flags |= json_flag(object, "cleanup", true) ? AML_VOCABULARY_CLEANUP : 0u;
        if (prefix.at && vocabulary->prefix.at &&
            (prefix.length != vocabulary->prefix.length ||
             memcmp(prefix.at, vocabulary->prefix.at, prefix.length) != 0))
            return vocabulary_wrong(vocabulary, "decoder: its prefix is not that of the model");
        return true;
    }
    if (is(object, "Metaspace"))
        return read_decoder_metaspace(vocabulary, object);
    if (is(object, "BPEDecoder")) {
        Bytes suffix = json_bytes(vocabulary->arena, json_object_get(object, "suffix"));
        vocabulary->head.decoder = AML_DECODER_SUFFIX;
        vocabulary->mark = suffix.at ? suffix : bytes_of("</w>");
        return true;
    }
    if (is(object, "Sequence"))
        return read_decoder_steps(vocabulary, json_object_get(object, "decoders"));
    return vocabulary_wrong(vocabulary,
                            "decoder: expected ByteLevel, WordPiece, Metaspace, BPEDecoder or a "
                            "Sequence, found \"%s\"",
                            json_kind(object));
}
