// read_json.c: tokenizer.json, the format of Hugging Face's tokenizers: the model, added tokens,
// and what is put around a text. What a file asks for and is not known here is refused by name.

#include "text/text.h"

#include <math.h>
#include <string.h>

json_t *read_json(Vocabulary *vocabulary, Bytes text)
{
    json_error_t error;
    json_t *root =
        json_loadb(text.at, text.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root)
        vocabulary_wrong(vocabulary, "line %d, column %d: %s", error.line, error.column,
                         error.text);
    return root;
}

const char *json_kind(const json_t *object)
{
    const char *kind = json_string_value(json_object_get(object, "type"));
    return kind ? kind : "";
}

bool json_flag(const json_t *object, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(object, name);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

Bytes json_bytes(Arena *arena, const json_t *text)
{
    if (!json_is_string(text))
        return (Bytes){NULL, 0};
    size_t length = json_string_length(text);
    return (Bytes){arena_text(arena, json_string_value(text), length), length};
}

static Bytes item_bytes(Vocabulary *vocabulary, const json_t *object, const char *name)
{
    return json_bytes(vocabulary->arena, json_object_get(object, name));
}

// ---- the model

static bool read_merge_list(Vocabulary *vocabulary, const json_t *list)
{
    Arena *arena = vocabulary->arena;
    size_t i;
    json_t *item;
    if (!json_is_array(list))
        return vocabulary_wrong(vocabulary, "model.merges: expected a list");
    json_array_foreach(list, i, item)
    {
        VocabularyMerge merge = {{NULL, 0}, {NULL, 0}};
        if (json_is_array(item) && json_array_size(item) == 2) {
            merge.left = json_bytes(arena, json_array_get(item, 0));
            merge.right = json_bytes(arena, json_array_get(item, 1));
        } else if (json_is_string(item)) {
            Bytes both = json_bytes(arena, item);
            const char *space = memchr(both.at, ' ', both.length);
            if (space) {
                merge.left = (Bytes){both.at, (size_t)(space - both.at)};
                merge.right = (Bytes){space + 1, both.length - merge.left.length - 1};
            }
        }
        if (!merge.left.at || !merge.right.at || !merge.left.length || !merge.right.length)
            return vocabulary_wrong(vocabulary, "model.merges[%zu]: expected two tokens", i);
        vec_push(arena, &vocabulary->merge, merge);
    }
    return true;
}

static bool read_scores(Vocabulary *vocabulary, const json_t *list)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list))
        return vocabulary_wrong(vocabulary, "model.vocab: expected a list of tokens with scores");
    json_array_foreach(list, i, item)
    {
        Bytes text = json_bytes(vocabulary->arena, json_array_get(item, 0));
        const json_t *score = json_array_get(item, 1);
        if (!text.at || !json_is_number(score) || !isfinite(json_number_value(score)))
            return vocabulary_wrong(vocabulary, "model.vocab[%zu]: expected a token and its score",
                                    i);
        if (!vocabulary_add(vocabulary, (int64_t)i, text, json_number_value(score)))
            return false;
    }
    return true;
}

static bool read_unigram(Vocabulary *vocabulary, const json_t *model)
{
    const json_t *unknown = json_object_get(model, "unk_id");
    if (!read_scores(vocabulary, json_object_get(model, "vocab")))
        return false;
    vocabulary->head.flags |= AML_VOCABULARY_FUSE_UNKNOWN;
    if (json_is_integer(unknown)) {
        json_int_t id = json_integer_value(unknown);
        if (id < 0 || id >= vocabulary->token.count)
            return vocabulary_wrong(vocabulary, "model.unk_id: there is no token %lld",
                                    (long long)id);
        vocabulary->head.role[AML_TOKEN_UNKNOWN] = (int32_t)id;
    }
    return true;
}

static bool read_model(Vocabulary *vocabulary, const json_t *model)
{
    aml_vocabulary *head = &vocabulary->head;
    json_t *vocab = json_object_get(model, "vocab");
    const char *kind = json_kind(model);
    if (!*kind) // early files do not say
        kind = json_object_get(model, "merges")                     ? "BPE"
               : json_is_array(vocab)                               ? "Unigram"
               : json_object_get(model, "max_input_chars_per_word") ? "WordPiece"
                                                                    : "WordLevel";
    if (json_flag(model, "byte_fallback", false))
        head->flags |= AML_VOCABULARY_BYTE_FALLBACK;
    vocabulary->unknown_text = item_bytes(vocabulary, model, "unk_token");
    Bytes prefix = item_bytes(vocabulary, model, "continuing_subword_prefix");
    if (strcmp(kind, "Unigram") == 0) {
        head->model = AML_MODEL_UNIGRAM;
        return read_unigram(vocabulary, model);
    }
    if (strcmp(kind, "BPE") == 0) {
        Bytes suffix = item_bytes(vocabulary, model, "end_of_word_suffix");
        head->model = AML_MODEL_BPE;
        head->flags |= json_flag(model, "fuse_unk", false) ? AML_VOCABULARY_FUSE_UNKNOWN : 0u;
        head->flags |= json_flag(model, "ignore_merges", false) ? AML_VOCABULARY_WHOLE_FIRST : 0u;
        vocabulary->prefix = prefix.at ? prefix : (Bytes){"", 0};
        vocabulary->suffix = suffix.at ? suffix : (Bytes){"", 0};
        if (vocabulary->prefix.length > 32 || vocabulary->suffix.length > 32)
            return vocabulary_wrong(vocabulary, "model: a prefix or suffix of more than 32 bytes");
        return read_vocab_object(vocabulary, vocab) &&
               read_merge_list(vocabulary, json_object_get(model, "merges"));
    }
    if (strcmp(kind, "WordPiece") == 0) {
        const json_t *most = json_object_get(model, "max_input_chars_per_word");
        head->model = AML_MODEL_WORDPIECE;
        vocabulary->prefix = prefix.at ? prefix : bytes_of("##");
        if (json_is_integer(most) && json_integer_value(most) > 0 &&
            json_integer_value(most) < 1 << 20)
            head->most_characters = (int32_t)json_integer_value(most);
        return read_vocab_object(vocabulary, vocab);
    }
    if (strcmp(kind, "WordLevel") == 0) {
        head->model = AML_MODEL_WORDS;
        return read_vocab_object(vocabulary, vocab);
    }
    return vocabulary_wrong(
        vocabulary, "model: expected BPE, WordPiece, Unigram or WordLevel, found \"%s\"", kind);
}

// ---- added tokens: found in a text before anything else

static bool read_added(Vocabulary *vocabulary, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const json_t *id = json_object_get(item, "id");
        Bytes text = item_bytes(vocabulary, item, "content");
        if (!json_is_integer(id) || !text.at || text.length == 0)
            return vocabulary_wrong(vocabulary, "added_tokens[%zu]: expected a number and a text",
                                    i);
        json_int_t number = json_integer_value(id);
        bool known =
            number >= 0 && number < vocabulary->token.count && vocabulary->token.at[number].exists;
        VocabularyToken *token = known ? &vocabulary->token.at[number] : NULL;
        if (known && (token->text.length != text.length ||
                      memcmp(token->text.at, text.at, text.length) != 0))
            return vocabulary_wrong(vocabulary,
                                    "added_tokens[%zu]: %s has the number %lld, which is %s in the "
                                    "vocabulary",
                                    i, bytes_shown(vocabulary->arena, text), (long long)number,
                                    bytes_shown(vocabulary->arena, token->text));
        if (!known) {
            if (!vocabulary_add(vocabulary, number, text, 0))
                return false;
            token = &vocabulary->token.at[number];
            token->in_model = false;
        }
        bool special = json_flag(item, "special", false);
        token->is_added = true;
        token->flags |= AML_TOKEN_ADDED | (special ? AML_TOKEN_SPECIAL : 0);
        token->added |= (json_flag(item, "single_word", false) ? AML_ADDED_WORD : 0) |
                        (json_flag(item, "lstrip", false) ? AML_ADDED_LEFT : 0) |
                        (json_flag(item, "rstrip", false) ? AML_ADDED_RIGHT : 0) |
                        (json_flag(item, "normalized", !special) ? AML_ADDED_NORMALIZED : 0);
    }
    return true;
}

// ---- what is put around a text

static bool put_around(Vocabulary *vocabulary, bool behind, json_int_t token)
{
    if (token < 0 || token >= vocabulary->token.count)
        return vocabulary_wrong(vocabulary, "post_processor: there is no token %lld",
                                (long long)token);
    if (behind)
        vec_push(vocabulary->arena, &vocabulary->after, (int32_t)token);
    else
        vec_push(vocabulary->arena, &vocabulary->before, (int32_t)token);
    return true;
}

static bool read_template(Vocabulary *vocabulary, const json_t *object)
{
    const json_t *single = json_object_get(object, "single"), *part, *ids, *id;
    const json_t *special = json_object_get(object, "special_tokens");
    bool behind = false;
    size_t i, k;
    json_array_foreach(single, i, part)
    {
        const json_t *token = json_object_get(part, "SpecialToken");
        if (json_object_get(part, "Sequence"))
            behind = true;
        if (!token)
            continue;
        const char *name = json_string_value(json_object_get(token, "id"));
        ids = json_object_get(json_object_get(special, name ? name : ""), "ids");
        if (!json_is_array(ids))
            return vocabulary_wrong(vocabulary, "post_processor: the token \"%s\" has no numbers",
                                    name ? name : "");
        json_array_foreach(
            ids, k, id) if (!put_around(vocabulary, behind, json_integer_value(id))) return false;
    }
    return true;
}

static bool read_around(Vocabulary *vocabulary, const json_t *object)
{
    const char *kind = json_kind(object);
    if (!object || json_is_null(object) || strcmp(kind, "ByteLevel") == 0)
        return true;
    if (strcmp(kind, "TemplateProcessing") == 0)
        return read_template(vocabulary, object);
    if (strcmp(kind, "BertProcessing") == 0 || strcmp(kind, "RobertaProcessing") == 0) {
        const json_t *begin = json_array_get(json_object_get(object, "cls"), 1);
        const json_t *end = json_array_get(json_object_get(object, "sep"), 1);
        if (!json_is_integer(begin) || !json_is_integer(end))
            return vocabulary_wrong(vocabulary, "post_processor: expected the numbers of cls, sep");
        return put_around(vocabulary, false, json_integer_value(begin)) &&
               put_around(vocabulary, true, json_integer_value(end));
    }
    if (strcmp(kind, "Sequence") == 0) {
        const json_t *part;
        size_t i;
        json_array_foreach(json_object_get(object, "processors"), i,
                           part) if (!read_around(vocabulary, part)) return false;
        return true;
    }
    return vocabulary_wrong(vocabulary,
                            "post_processor: expected TemplateProcessing, BertProcessing, "
                            "RobertaProcessing, ByteLevel or a Sequence of them, found \"%s\"",
                            kind);
}

const aml_tokenizer *read_tokenizer_json(Arena *arena, Bytes text, const char **why)
{
    Vocabulary vocabulary;
    vocabulary_begin(&vocabulary, arena, AML_MODEL_WORDS);
    json_t *root = read_json(&vocabulary, text);
    const json_t *model = json_object_get(root, "model");
    bool good = root != NULL;
    if (good && !json_is_object(model))
        good = vocabulary_wrong(&vocabulary, "expected an object with a \"model\"");
    good = good && read_model(&vocabulary, model) &&
           read_normalizer(&vocabulary, json_object_get(root, "normalizer")) &&
           read_splits(&vocabulary, json_object_get(root, "pre_tokenizer")) &&
           read_added(&vocabulary, json_object_get(root, "added_tokens")) &&
           read_around(&vocabulary, json_object_get(root, "post_processor")) &&
           read_decoder(&vocabulary, json_object_get(root, "decoder"));
    if (good && (vocabulary.head.flags & AML_VOCABULARY_BYTE_LEVEL)) {
        if (vocabulary.head.model == AML_MODEL_BPE)
            tokens_to_bytes(&vocabulary);
        else
            good = vocabulary_wrong(&vocabulary, "ByteLevel goes with a BPE model only");
    }
    json_decref(root);
    const aml_tokenizer *tokenizer = good ? vocabulary_finish(&vocabulary) : NULL;
    *why = vocabulary.why;
    return tokenizer;
}
