// image.c: a vocabulary under construction, and the image of it.

#include "text/text.h"

#include <string.h>

enum {
    MOST_TOKENS = 1 << 22,
    LONGEST_TOKEN = 4096, // the trie is as deep
};

Bytes bytes_of(const char *text)
{
    return (Bytes){text, strlen(text)};
}

const char *bytes_shown(Arena *arena, Bytes text)
{
    Buffer out = {.arena = arena};
    buffer_text(&out, "'");
    for (size_t i = 0; i < text.length && i < 60; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < ' ' || c == 127)
            buffer_printf(&out, "\\x%02x", c);
        else
            buffer_append(&out, text.at + i, 1);
    }
    buffer_text(&out, text.length > 60 ? "...'" : "'");
    return out.text;
}

void vocabulary_begin(Vocabulary *vocabulary, Arena *arena, aml_token_model model)
{
    *vocabulary = (Vocabulary){.arena = arena};
    vocabulary->head.model = model;
    vocabulary->head.most_characters = 100;
    for (int i = 0; i < AML_TOKEN_ROLES; i++)
        vocabulary->head.role[i] = -1;
}

bool vocabulary_wrong(Vocabulary *vocabulary, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!vocabulary->why)
        vocabulary->why = arena_vprintf(vocabulary->arena, format, args);
    va_end(args);
    return false;
}

bool vocabulary_add(Vocabulary *vocabulary, int64_t id, Bytes text, double score)
{
    if (vocabulary->why)
        return false;
    if (id < 0 || id >= MOST_TOKENS)
        return vocabulary_wrong(vocabulary, "the token %s has the number %lld, expected 0 to %d",
                                bytes_shown(vocabulary->arena, text), (long long)id,
                                MOST_TOKENS - 1);
    if (text.length > LONGEST_TOKEN)
        return vocabulary_wrong(vocabulary, "the token %lld has %zu bytes, expected at most %d",
                                (long long)id, text.length, LONGEST_TOKEN);
    while (vocabulary->token.count <= id) {
        const VocabularyToken none = {.text = {"", 0}};
        vec_push(vocabulary->arena, &vocabulary->token, none);
    }
    VocabularyToken *token = &vocabulary->token.at[id];
    if (token->exists)
        return vocabulary_wrong(vocabulary, "the tokens %s and %s have the same number, %lld",
                                bytes_shown(vocabulary->arena, token->text),
                                bytes_shown(vocabulary->arena, text), (long long)id);
    *token = (VocabularyToken){.text = text, .score = score, .in_model = true, .exists = true};
    return true;
}

VocabularyStep *vocabulary_normalize(Vocabulary *vocabulary, aml_step_kind kind)
{
    const VocabularyStep step = {.step.kind = kind};
    vec_push(vocabulary->arena, &vocabulary->normalize, step);
    return &vocabulary->normalize.at[vocabulary->normalize.count - 1];
}

VocabularyStep *vocabulary_split(Vocabulary *vocabulary, aml_step_kind kind)
{
    const VocabularyStep step = {.step.kind = kind};
    vec_push(vocabulary->arena, &vocabulary->split, step);
    return &vocabulary->split.at[vocabulary->split.count - 1];
}

// GPT-2's split: short forms, words, numbers and signs with the space before them, white space.
#define GPT2_PATTERN                                                                               \
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

bool vocabulary_byte_level(Vocabulary *vocabulary, bool prefix_space, bool has_pattern)
{
    vocabulary->head.flags |= AML_VOCABULARY_BYTE_LEVEL;
    vocabulary->head.decoder = AML_DECODER_BYTES;
    if (prefix_space)
        vocabulary_split(vocabulary, AML_STEP_PREFIX_SPACE);
    if (has_pattern) {
        VocabularyStep *step = vocabulary_split(vocabulary, AML_STEP_REGEX);
        step->a = bytes_of(GPT2_PATTERN);
        step->step.how = AML_SEPARATOR_ISOLATED;
    }
    return true;
}

int32_t vocabulary_find(Vocabulary *vocabulary, Bytes text)
{
    for (int i = 0; i < vocabulary->token.count; i++) {
        const VocabularyToken *token = &vocabulary->token.at[i];
        if (token->exists && token->text.length == text.length &&
            memcmp(token->text.at, text.at, text.length) == 0)
            return i;
    }
    return -1;
}

// ---- the image

typedef struct Image {
    Vocabulary *vocabulary;
    Buffer out;
} Image;

static aml_section put(Image *image, const void *at, size_t bytes, size_t count)
{
    static const char zeros[8] = {0};
    aml_section section = {(uint32_t)image->out.length, (uint32_t)count};
    if (image->out.length + bytes > UINT32_MAX / 2)
        vocabulary_wrong(image->vocabulary, "it is larger than 2 GiB");
    else if (bytes)
        buffer_append(&image->out, at, bytes);
    if (image->out.length % 8)
        buffer_append(&image->out, zeros, 8 - image->out.length % 8);
    return section;
}

static aml_section put_bytes(Image *image, Bytes text)
{
    return put(image, text.at, text.length, text.length);
}

// All steps that normalise: they are one function of the engine.
static bool asks_what_characters_are(uint32_t kind)
{
    return kind < AML_STEP_PREFIX_SPACE || kind == AML_STEP_WORDS || kind == AML_STEP_BERT_WORDS ||
           kind == AML_STEP_DIGITS || kind == AML_STEP_PUNCTUATION;
}

static aml_section put_steps(Image *image, VocabularyStep *step, int count)
{
    Arena *arena = image->vocabulary->arena;
    aml_step *steps = NEW_ARRAY(arena, aml_step, count + 1);
    if (count > 16)
        vocabulary_wrong(image->vocabulary, "it has %d steps, expected at most 16", count);
    for (int i = 0; i < count; i++) {
        steps[i] = step[i].step;
        steps[i].a = put_bytes(image, step[i].a);
        steps[i].b = put_bytes(image, step[i].b);
        if (asks_what_characters_are(steps[i].kind))
            image->vocabulary->head.flags |= AML_VOCABULARY_UNICODE;
        if (steps[i].kind == AML_STEP_REGEX ||
            (steps[i].kind == AML_STEP_REPLACE && (steps[i].flags & AML_STEP_IS_REGEX))) {
            char why[160];
            image->vocabulary->head.flags |= AML_VOCABULARY_REGEX;
            if (!aml_pattern_sound(step[i].a.at, step[i].a.length, why, sizeof why))
                vocabulary_wrong(image->vocabulary, "the pattern %s is not usable: %s",
                                 bytes_shown(arena, step[i].a), why);
        }
    }
    return put(image, steps, (size_t)count * sizeof *steps, (size_t)count);
}

static aml_section put_trie(Image *image, TrieKey *key, int count)
{
    Vocabulary *vocabulary = image->vocabulary;
    TrieNodes nodes;
    const TrieKey *same[2];
    if (!trie_build(vocabulary->arena, key, count, &nodes, same))
        vocabulary_wrong(vocabulary, "the token %s is there twice, as number %d and as number %d",
                         bytes_shown(vocabulary->arena, same[0]->text),
                         same[0]->token < same[1]->token ? same[0]->token : same[1]->token,
                         same[0]->token < same[1]->token ? same[1]->token : same[0]->token);
    return put(image, nodes.at, (size_t)nodes.count * sizeof *nodes.at, (size_t)nodes.count);
}

// The tokens of the model as keys of a trie. Tokens of the same text are refused in any case.
static aml_section put_model_trie(Image *image)
{
    Vocabulary *vocabulary = image->vocabulary;
    TrieKey *key = NEW_ARRAY(vocabulary->arena, TrieKey, vocabulary->token.count + 1);
    int count = 0;
    for (int i = 0; i < vocabulary->token.count; i++) {
        const VocabularyToken *token = &vocabulary->token.at[i];
        if (token->in_model && token->text.length > 0)
            key[count++] = (TrieKey){token->text, i};
    }
    return put_trie(image, key, count);
}

static aml_section put_added(Image *image, bool normalized)
{
    Vocabulary *vocabulary = image->vocabulary;
    TrieKey *key = NEW_ARRAY(vocabulary->arena, TrieKey, vocabulary->token.count + 1);
    int count = 0;
    for (int i = 0; i < vocabulary->token.count; i++) {
        const VocabularyToken *token = &vocabulary->token.at[i];
        if (token->is_added && token->text.length > 0 &&
            normalized == !!(token->added & AML_ADDED_NORMALIZED))
            key[count++] = (TrieKey){token->text, i};
    }
    return put_trie(image, key, count);
}

static void look_at_tokens(Image *image)
{
    Vocabulary *vocabulary = image->vocabulary;
    aml_vocabulary *head = &vocabulary->head;
    int count = vocabulary->token.count, existing = 0, flagged = 0;
    uint8_t *added = NEW_ARRAY(vocabulary->arena, uint8_t, count + 1);
    double *score = NEW_ARRAY(vocabulary->arena, double, count + 1), least = 0;
    for (int i = 0; i < count; i++) {
        const VocabularyToken *token = &vocabulary->token.at[i];
        added[i] = token->added;
        flagged = added[i] ? i + 1 : flagged;
        head->flags |= token->added & AML_ADDED_WORD ? AML_VOCABULARY_UNICODE : 0;
        score[i] = token->score;
        existing += token->exists;
        least = token->in_model && token->score < least ? token->score : least;
        if (token->text.length > head->longest)
            head->longest = (uint32_t)token->text.length;
    }
    if (existing < 2)
        vocabulary_wrong(vocabulary, "it has %d tokens, expected at least 2", existing);
    else if (existing < count / 2)
        vocabulary_wrong(vocabulary, "the largest number is %d, and only %d tokens have one",
                         count - 1, existing);
    head->vocab = count;
    head->unknown_score = least - 10;
    head->added_flags = put(image, added, (size_t)flagged, (size_t)flagged);
    if (head->model == AML_MODEL_UNIGRAM)
        head->score = put(image, score, (size_t)count * sizeof *score, (size_t)count);
}

static void put_spelling(Image *image)
{
    Vocabulary *vocabulary = image->vocabulary;
    aml_vocabulary *head = &vocabulary->head;
    int count = vocabulary->token.count;
    uint32_t *at = NEW_ARRAY(vocabulary->arena, uint32_t, count + 1);
    uint8_t *flags = NEW_ARRAY(vocabulary->arena, uint8_t, count + 1);
    Buffer text = {.arena = vocabulary->arena};
    buffer_text(&text, "");
    for (int i = 0; i < count; i++) {
        const VocabularyToken *token = &vocabulary->token.at[i];
        at[i] = (uint32_t)text.length;
        buffer_append(&text, token->text.at, token->text.length);
        flags[i] = token->flags;
    }
    at[count] = (uint32_t)text.length;
    head->token_at = put(image, at, (size_t)(count + 1) * sizeof *at, (size_t)count + 1);
    head->token = put(image, text.text, text.length, text.length);
    head->token_flags = put(image, flags, (size_t)count, (size_t)count);
}

const aml_vocabulary *vocabulary_without_spelling(Arena *arena, const aml_vocabulary *whole)
{
    aml_vocabulary *out = arena_copy(arena, whole, whole->token_at.at);
    out->bytes = whole->token_at.at;
    out->token_at = out->token = out->token_flags = (aml_section){0, 0};
    return out;
}

// The tokens of single bytes: letters of a byte-level vocabulary, <0x41> of others.
static void put_byte_tokens(Image *image)
{
    Vocabulary *vocabulary = image->vocabulary;
    int32_t byte[256];
    bool level = vocabulary->head.flags & AML_VOCABULARY_BYTE_LEVEL;
    bool fallback = vocabulary->head.flags & AML_VOCABULARY_BYTE_FALLBACK;
    for (int i = 0; i < 256; i++)
        byte[i] = -1;
    for (int i = 0; i < vocabulary->token.count; i++) {
        VocabularyToken *token = &vocabulary->token.at[i];
        if (level && token->in_model && token->text.length == 1)
            byte[(unsigned char)token->text.at[0]] = i;
        unsigned value;
        char end;
        if (fallback && token->in_model && token->text.length == 6 &&
            sscanf(arena_text(vocabulary->arena, token->text.at, 6), "<0x%2X%c", &value, &end) ==
                2 &&
            end == '>') {
            byte[value] = i;
            token->flags |= AML_TOKEN_BYTE;
        }
    }
    for (int i = 0; i < 256 && level; i++)
        if (byte[i] < 0)
            vocabulary_wrong(vocabulary,
                             "no token stands for the byte 0x%02x, expected one for each of 256",
                             (unsigned)i);
    vocabulary->head.byte = put(image, byte, sizeof byte, 256);
}

typedef struct Pair {
    int32_t number[AML_PAIR_TOKEN + 1];
} Pair;

static int32_t found(const TrieNodes *trie, Bytes a, Bytes b)
{
    uint32_t node = 0;
    for (size_t i = 0; i < a.length + b.length; i++) {
        unsigned char c = (unsigned char)(i < a.length ? a.at[i] : b.at[i - a.length]);
        uint32_t next = trie->at[node].base + c;
        if (next >= (uint32_t)trie->count || trie->at[next].check != node || next == 0)
            return -1;
        node = next;
    }
    return trie->count ? trie->at[node].token : -1;
}

// A merge with what it joins and makes as numbers of tokens. False: one of them is no token.
static bool pair_of(Vocabulary *vocabulary, const TrieNodes *trie, int rank, Pair *out)
{
    VocabularyMerge merge = vocabulary->merge.at[rank];
    Bytes rest = merge.right, prefix = vocabulary->prefix;
    int32_t left = found(trie, merge.left, (Bytes){"", 0});
    int32_t right = found(trie, merge.right, (Bytes){"", 0});
    if (prefix.length && rest.length >= prefix.length &&
        memcmp(rest.at, prefix.at, prefix.length) == 0)
        rest = (Bytes){rest.at + prefix.length, rest.length - prefix.length};
    int32_t both = found(trie, merge.left, rest);
    if (left < 0 || right < 0 || both < 0) {
        Arena *arena = vocabulary->arena;
        return vocabulary_wrong(
            vocabulary, "merge %d joins %s and %s, and %s is not among the tokens", rank + 1,
            bytes_shown(arena, merge.left), bytes_shown(arena, merge.right),
            left < 0    ? bytes_shown(arena, merge.left)
            : right < 0 ? bytes_shown(arena, merge.right)
                        : "what they make");
    }
    *out = (Pair){{left, right, rank, both}};
    return true;
}

// Items in the order of their hashes, and of their ranks where hashes are the same; where those of
// each hash begin.
static Pair *sort_pairs(Vocabulary *vocabulary, const Pair *pair, int count, uint32_t *begin)
{
    const aml_vocabulary *head = &vocabulary->head;
    size_t hashes = (size_t)1 << head->pair_bits;
    Pair *sorted = NEW_ARRAY(vocabulary->arena, Pair, count + 1);
    for (int i = 0; i < count; i++)
        begin[aml_pair_hash(head, pair[i].number[0], pair[i].number[1]) + 1]++;
    for (size_t h = 0; h < hashes; h++)
        begin[h + 1] += begin[h];
    uint32_t *next = arena_copy(vocabulary->arena, begin, (hashes + 1) * sizeof *begin);
    for (int i = 0; i < count; i++) {
        uint32_t hash = aml_pair_hash(head, pair[i].number[0], pair[i].number[1]);
        for (uint32_t k = begin[hash]; k < next[hash]; k++)
            if (sorted[k].number[0] == pair[i].number[0] &&
                sorted[k].number[1] == pair[i].number[1])
                vocabulary_wrong(vocabulary, "merge %d is the same as merge %d: %s and %s", i + 1,
                                 sorted[k].number[AML_PAIR_RANK] + 1,
                                 bytes_shown(vocabulary->arena, vocabulary->merge.at[i].left),
                                 bytes_shown(vocabulary->arena, vocabulary->merge.at[i].right));
        sorted[next[hash]++] = pair[i];
    }
    return sorted;
}

static void put_number(Buffer *to, uint32_t bytes, uint32_t number)
{
    const uint16_t half = (uint16_t)number;
    buffer_append(to, bytes == sizeof half ? (const char *)&half : (const char *)&number, bytes);
}

static void put_pairs(Image *image, const TrieNodes *trie)
{
    Vocabulary *vocabulary = image->vocabulary;
    aml_vocabulary *head = &vocabulary->head;
    int count = vocabulary->merge.count;
    Pair *pair = NEW_ARRAY(vocabulary->arena, Pair, count + 1);
    bool follows = true; // tokens have the order of merges
    for (int i = 0; i < count; i++) {
        if (!pair_of(vocabulary, trie, i, &pair[i]))
            return;
        follows = follows && pair[i].number[AML_PAIR_TOKEN] - i == pair[0].number[AML_PAIR_TOKEN];
    }
    for (head->pair_bits = 1; count >> head->pair_bits > 3;)
        head->pair_bits++;
    head->pair_bytes = head->vocab <= UINT16_MAX && count <= UINT16_MAX ? 2 : 4;
    head->pair_numbers = follows ? AML_PAIR_TOKEN : AML_PAIR_TOKEN + 1;
    head->pair_first = count ? pair[0].number[AML_PAIR_TOKEN] : 0;
    size_t hashes = (size_t)1 << head->pair_bits;
    uint32_t *begin = NEW_ARRAY(vocabulary->arena, uint32_t, hashes + 1);
    Buffer items = {.arena = vocabulary->arena}, places = items;
    const Pair *sorted = sort_pairs(vocabulary, pair, count, begin);
    buffer_text(&items, "");
    for (int i = 0; i < count; i++)
        for (uint32_t k = 0; k < head->pair_numbers; k++)
            put_number(&items, head->pair_bytes, (uint32_t)sorted[i].number[k]);
    for (size_t h = 0; h <= hashes; h++)
        put_number(&places, head->pair_bytes, begin[h]);
    head->pair = put(image, items.text, items.length, (size_t)count);
    head->pair_at = put(image, places.text, places.length, hashes + 1);
}

// Tokens with a usual name have a part to play.
static void find_roles(Vocabulary *vocabulary)
{
    static const struct {
        aml_token_role role;
        const char *name;
    } usual[] = {{AML_TOKEN_PAD, "[PAD]"},
                 {AML_TOKEN_PAD, "<pad>"},
                 {AML_TOKEN_PAD, "<|pad|>"},
                 {AML_TOKEN_BEGIN, "[CLS]"},
                 {AML_TOKEN_BEGIN, "<s>"},
                 {AML_TOKEN_BEGIN, "<bos>"},
                 {AML_TOKEN_BEGIN, "<|begin_of_text|>"},
                 {AML_TOKEN_BEGIN, "<|startoftext|>"},
                 {AML_TOKEN_END, "[SEP]"},
                 {AML_TOKEN_END, "</s>"},
                 {AML_TOKEN_END, "<eos>"},
                 {AML_TOKEN_END, "<|endoftext|>"},
                 {AML_TOKEN_END, "<|end_of_text|>"},
                 {AML_TOKEN_MASK, "[MASK]"},
                 {AML_TOKEN_MASK, "<mask>"}};
    int32_t *role = vocabulary->head.role;
    for (size_t i = 0; i < COUNT_OF(usual); i++)
        if (role[usual[i].role] < 0)
            role[usual[i].role] = vocabulary_find(vocabulary, bytes_of(usual[i].name));
    if (vocabulary->unknown_text.at && role[AML_TOKEN_UNKNOWN] < 0) {
        role[AML_TOKEN_UNKNOWN] = vocabulary_find(vocabulary, vocabulary->unknown_text);
        if (role[AML_TOKEN_UNKNOWN] < 0)
            vocabulary_wrong(vocabulary,
                             "%s, the token for what is unknown, is not among the tokens",
                             bytes_shown(vocabulary->arena, vocabulary->unknown_text));
    }
}

const aml_tokenizer *vocabulary_finish(Vocabulary *vocabulary)
{
    if (vocabulary->why)
        return NULL;
    Image image = {vocabulary, {.arena = vocabulary->arena}};
    aml_vocabulary *head = &vocabulary->head;
    find_roles(vocabulary);
    put(&image, head, sizeof *head, 1);
    head->prefix = put_bytes(&image, vocabulary->prefix);
    head->suffix = put_bytes(&image, vocabulary->suffix);
    head->mark = put_bytes(&image, vocabulary->mark);
    head->map = put(&image, vocabulary->map.at, vocabulary->map.length,
                    vocabulary->map.length / sizeof(uint32_t));
    head->map_text = put_bytes(&image, vocabulary->map_text);
    head->normalize = put_steps(&image, vocabulary->normalize.at, vocabulary->normalize.count);
    head->split = put_steps(&image, vocabulary->split.at, vocabulary->split.count);
    head->before =
        put(&image, vocabulary->before.at, (size_t)vocabulary->before.count * sizeof(int32_t),
            (size_t)vocabulary->before.count);
    head->after =
        put(&image, vocabulary->after.at, (size_t)vocabulary->after.count * sizeof(int32_t),
            (size_t)vocabulary->after.count);
    put_byte_tokens(&image);
    look_at_tokens(&image);
    size_t without_trie = image.out.length;
    aml_section trie = put_model_trie(&image);
    if (head->model == AML_MODEL_BPE && !vocabulary->why) {
        const TrieNodes nodes = {(aml_trie_node *)(void *)(image.out.text + trie.at),
                                 (int)trie.count, 0};
        TrieNodes copy = {
            arena_copy(vocabulary->arena, nodes.at, (size_t)nodes.count * sizeof *nodes.at),
            nodes.count, 0};
        if ((head->flags & AML_VOCABULARY_BYTE_LEVEL) && // bytes and merges are all it needs
            !(head->flags & AML_VOCABULARY_WHOLE_FIRST)) {
            image.out.length = without_trie;
            trie = (aml_section){0, 0};
        }
        put_pairs(&image, &copy);
    }
    head->trie = trie;
    head->added = put_added(&image, false);
    head->added_normalized = put_added(&image, true);
    put_spelling(&image);
    if (vocabulary->why)
        return NULL;
    head->magic = AML_VOCABULARY_MAGIC;
    head->bytes = (uint32_t)image.out.length;
    memcpy(image.out.text, head, sizeof *head);
    aml_tokenizer *tokenizer = NEW(vocabulary->arena, aml_tokenizer);
    *tokenizer =
        (aml_tokenizer){.kind = AML_TOKENIZER_PIECES,
                        .vocab = head->vocab,
                        .image = arena_copy(vocabulary->arena, image.out.text, image.out.length)};
    return tokenizer;
}
