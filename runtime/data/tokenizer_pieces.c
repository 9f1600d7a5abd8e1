// Tokenizers with pieces: added tokens are cut out of a text, the rest is normalised, split, and
// given to the model piece by piece.

#include "runtime/data/pieces.h"

#include <stdlib.h>
#include <string.h>

static amli_trie trie_of(const aml_vocabulary *head, aml_section section)
{
    return (amli_trie){aml_vocabulary_at(head, section), section.count};
}

static void first_bytes(const amli_trie *trie, bool first[256])
{
    for (int byte = 0; byte < 256 && trie->count; byte++)
        first[byte] = amli_trie_child(trie, 0, (unsigned char)byte) != 0;
}

static aml_status open_patterns(amli_pieces *pieces, aml_section steps, bool is_split,
                                void *pattern[], aml_error *error)
{
    const aml_step *step = aml_vocabulary_at(pieces->head, steps);
    const amli_token_patterns *engine = pieces->tokenizer->pattern;
    if (steps.count > PIECES_STEPS)
        return amli_fail(error, AML_INTERNAL, "the tokenizer has too many steps");
    for (uint32_t i = 0; i < steps.count; i++) {
        bool needed = is_split
                          ? step[i].kind == AML_STEP_REGEX
                          : step[i].kind == AML_STEP_REPLACE && (step[i].flags & AML_STEP_IS_REGEX);
        if (needed && engine)
            pattern[i] = engine->open(amli_section_text(pieces, step[i].a), step[i].a.count);
        if (needed && !pattern[i])
            return amli_fail(error, AML_INTERNAL, "the tokenizer's pattern '%.*s' is not usable",
                             (int)step[i].a.count, amli_section_text(pieces, step[i].a));
    }
    return AML_OK;
}

aml_status amli_pieces_open(amli_encoder *encoder, aml_error *error)
{
    const aml_vocabulary *head = encoder->tokenizer->image;
    amli_pieces *pieces = encoder->pieces = calloc(1, sizeof *pieces);
    if (!pieces)
        return amli_no_memory(error, sizeof *pieces, "the tokenizer");
    pieces->tokenizer = encoder->tokenizer;
    pieces->head = head;
    if (!head || head->magic != AML_VOCABULARY_MAGIC)
        return amli_fail(error, AML_INTERNAL, "the tokenizer's table is not one");
    if ((head->flags & AML_VOCABULARY_UNICODE) && !encoder->tokenizer->unicode)
        return amli_fail(error, AML_INTERNAL, "the tokenizer knows nothing of characters");
    pieces->trie = trie_of(head, head->trie);
    pieces->added = trie_of(head, head->added);
    pieces->added_normalized = trie_of(head, head->added_normalized);
    first_bytes(&pieces->added, pieces->added_first);
    first_bytes(&pieces->added_normalized, pieces->normalized_first);
    pieces->cache = calloc(PIECES_CACHE, sizeof *pieces->cache);
    if (!pieces->cache)
        return amli_no_memory(error, PIECES_CACHE * sizeof *pieces->cache, "the tokenizer");
    aml_status status =
        open_patterns(pieces, head->normalize, false, pieces->normalize_pattern, error);
    return status ? status : open_patterns(pieces, head->split, true, pieces->split_pattern, error);
}

void amli_pieces_close(amli_encoder *encoder)
{
    amli_pieces *pieces = encoder->pieces;
    if (!pieces)
        return;
    for (int i = 0; i < PIECES_STEPS; i++) {
        if (pieces->normalize_pattern[i])
            pieces->tokenizer->pattern->close(pieces->normalize_pattern[i]);
        if (pieces->split_pattern[i])
            pieces->tokenizer->pattern->close(pieces->split_pattern[i]);
        amli_buffer_free(&pieces->rewritten[i]);
    }
    amli_buffer_free(&pieces->normalized[0]);
    amli_buffer_free(&pieces->normalized[1]);
    free(pieces->code), free(pieces->token), free(pieces->cache), free(pieces->work);
    free(pieces);
    encoder->pieces = NULL;
}

void *amli_pieces_work(amli_pieces *pieces, size_t bytes)
{
    if (bytes <= pieces->work_bytes)
        return pieces->work;
    free(pieces->work);
    pieces->work = malloc(bytes);
    pieces->work_bytes = pieces->work ? bytes : 0;
    pieces->failed |= !pieces->work;
    return pieces->work;
}

void amli_pieces_push(amli_pieces *pieces, int32_t token)
{
    if (pieces->tokens == pieces->token_room) {
        size_t room = pieces->token_room ? pieces->token_room * 2 : 256;
        int32_t *more = realloc(pieces->token, room * sizeof *more);
        if (!more) {
            pieces->failed = true;
            return;
        }
        pieces->token = more;
        pieces->token_room = room;
    }
    pieces->token[pieces->tokens++] = token;
}

void amli_pieces_unknown(amli_pieces *pieces, const char *text, size_t length, bool *joins)
{
    const aml_vocabulary *head = pieces->head;
    const int32_t *byte = aml_vocabulary_at(head, head->byte);
    bool bytes = head->flags & AML_VOCABULARY_BYTE_FALLBACK;
    for (size_t i = 0; i < length && bytes; i++)
        bytes = byte[(unsigned char)text[i]] >= 0;
    bool joined = *joins && (head->flags & AML_VOCABULARY_FUSE_UNKNOWN);
    *joins = !bytes;
    for (size_t i = 0; i < length && bytes; i++)
        amli_pieces_push(pieces, byte[(unsigned char)text[i]]);
    if (bytes || joined)
        return;
    int32_t unknown = head->role[AML_TOKEN_UNKNOWN];
    if (unknown >= 0) {
        amli_pieces_push(pieces, unknown);
        return;
    }
    size_t at = 0;
    if (!pieces->lacks && length > 0)
        pieces->lacking = amli_next_code(text, length, &at);
    pieces->lacks = true;
}

static uint32_t hash_of(const char *text, size_t length)
{
    uint64_t hash = length, word = 0;
    for (; length > 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, text, length);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32);
}

void amli_pieces_piece(amli_pieces *pieces, const char *text, size_t length)
{
    const amli_token_engine *engine = pieces->tokenizer->engine;
    if (length == 0)
        return;
    if (length > PIECES_CACHED_TEXT) {
        engine->piece(pieces, text, length);
        return;
    }
    uint32_t hash = hash_of(text, length);
    amli_cached *cached = &pieces->cache[hash % PIECES_CACHE];
    if (cached->length == length && cached->hash == hash &&
        memcmp(cached->text, text, length) == 0) {
        for (int i = 0; i < cached->tokens; i++)
            amli_pieces_push(pieces, cached->token[i]);
        return;
    }
    size_t before = pieces->tokens;
    engine->piece(pieces, text, length);
    size_t made = pieces->tokens - before;
    if (pieces->failed || pieces->lacks || made > PIECES_CACHED_TOKENS)
        return;
    *cached = (amli_cached){hash, (uint8_t)length, (uint8_t)made, {0}, {0}};
    memcpy(cached->text, text, length);
    if (made)
        memcpy(cached->token, pieces->token + before, made * sizeof *cached->token);
}

// ---- added tokens

// Here, since it needs no tables of Unicode, without which most programs are linked.
bool aml_is_space(uint32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

typedef void Segment(amli_pieces *pieces, const char *text, size_t length);

static bool word_before(const amli_token_unicode *unicode, const char *text, size_t at)
{
    size_t begin = at;
    while (begin > 0 && ((unsigned char)text[--begin] & 0xC0) == 0x80)
        continue;
    return at > 0 && unicode->is_word(amli_next_code(text, at, &begin));
}

static bool word_behind(const amli_token_unicode *unicode, const char *text, size_t length,
                        size_t at)
{
    return at < length && unicode->is_word(amli_next_code(text, length, &at));
}

static size_t without_space_before(const char *text, size_t from, size_t at)
{
    while (at > from) {
        size_t begin = at, end;
        while (begin > from && ((unsigned char)text[--begin] & 0xC0) == 0x80)
            continue;
        end = begin;
        if (!aml_is_space(amli_next_code(text, at, &end)))
            break;
        at = begin;
    }
    return at;
}

static size_t without_space_behind(const char *text, size_t length, size_t at)
{
    while (at < length) {
        size_t next = at;
        if (!aml_is_space(amli_next_code(text, length, &next)))
            break;
        at = next;
    }
    return at;
}

static void segment(amli_pieces *pieces, Segment *rest, const char *text, size_t begin, size_t end)
{
    bool first = pieces->first;
    pieces->first = first && begin == 0;
    if (end > begin)
        rest(pieces, text + begin, end - begin);
    pieces->first = first;
}

static void cut_out(amli_pieces *pieces, const amli_trie *trie, const bool first[256],
                    const char *text, size_t length, Segment *rest)
{
    const uint8_t *all_flags = aml_vocabulary_at(pieces->head, pieces->head->added_flags);
    const amli_token_unicode *unicode = pieces->tokenizer->unicode;
    size_t from = 0;
    for (size_t at = 0; at < length && trie->count;) {
        uint32_t node = 0;
        size_t end = 0;
        int32_t token = -1;
        if (first[(unsigned char)text[at]])
            for (size_t i = at; i < length; i++) {
                if ((node = amli_trie_child(trie, node, (unsigned char)text[i])) == 0)
                    break;
                if (trie->node[node].token >= 0) {
                    token = trie->node[node].token;
                    end = i + 1;
                }
            }
        if (token < 0) {
            at++;
            continue;
        }
        size_t begin = at;
        uint32_t flags = (uint32_t)token < pieces->head->added_flags.count ? all_flags[token] : 0u;
        at = end;
        if ((flags & AML_ADDED_WORD) &&
            (word_before(unicode, text, begin) || word_behind(unicode, text, length, end)))
            continue;
        if (flags & AML_ADDED_LEFT)
            begin = without_space_before(text, from, begin);
        if (flags & AML_ADDED_RIGHT)
            at = end = without_space_behind(text, length, end);
        segment(pieces, rest, text, from, begin);
        amli_pieces_push(pieces, token);
        from = end;
    }
    segment(pieces, rest, text, from, length);
}

static void normalised(amli_pieces *pieces, const char *text, size_t length)
{
    if (pieces->head->normalize.count)
        pieces->tokenizer->unicode->normalize(pieces, &text, &length);
    if (pieces->added_normalized.count && !pieces->failed)
        cut_out(pieces, &pieces->added_normalized, pieces->normalized_first, text, length,
                amli_split_text);
    else if (!pieces->failed)
        amli_split_text(pieces, text, length);
}

aml_status amli_pieces_encode(amli_encoder *encoder, const char *text, size_t length, bool is_first,
                              aml_error *error)
{
    amli_pieces *pieces = encoder->pieces;
    pieces->tokens = pieces->taken = 0;
    pieces->lacks = false;
    pieces->first = is_first;
    if (pieces->added.count)
        cut_out(pieces, &pieces->added, pieces->added_first, text, length, normalised);
    else
        normalised(pieces, text, length);
    if (pieces->failed) {
        pieces->failed = false;
        return amli_no_memory(error, length * sizeof(int32_t), encoder->name);
    }
    if (pieces->pattern_failed) {
        pieces->pattern_failed = false;
        return amli_fail(error, AML_BAD_DATA,
                         "%s:%lld:%lld: the tokenizer's pattern needs too many attempts for the "
                         "text that begins here",
                         encoder->name, (long long)encoder->line, (long long)encoder->column);
    }
    if (!pieces->lacks)
        return AML_OK;
    char found[5] = "";
    aml_utf8_write(pieces->lacking, found);
    pieces->tokens = 0;
    return amli_fail(error, AML_BAD_DATA,
                     "%s:%lld:%lld: the text that begins here holds '%s', U+%04X, which is not "
                     "among the tokens, and the tokenizer has none for what is unknown",
                     encoder->name, (long long)encoder->line, (long long)encoder->column,
                     pieces->lacking >= ' ' ? found : "", (unsigned)pieces->lacking);
}

int32_t amli_pieces_next(amli_encoder *encoder)
{
    amli_pieces *pieces = encoder->pieces;
    return pieces->taken < pieces->tokens ? pieces->token[pieces->taken++] : -1;
}
