// pieces.h: what the files of tokenizers with pieces share.

#ifndef AMLI_PIECES_H
#define AMLI_PIECES_H

#include "aml/utf8.h"
#include "aml/vocabulary.h"
#include "runtime/data/tokenizer.h"

enum {
    PIECES_STEPS = 16, // the most steps of each kind
    PIECES_CACHED_TEXT = 22,
    PIECES_CACHED_TOKENS = 8,
    PIECES_CACHE = 1 << 14
};

// The tokens of a short piece, which comes again soon in most texts.
typedef struct amli_cached {
    uint32_t hash;
    uint8_t length, tokens; // length 0: empty
    char text[PIECES_CACHED_TEXT];
    int32_t token[PIECES_CACHED_TOKENS];
} amli_cached;

typedef struct amli_trie {
    const aml_trie_node *node;
    uint32_t count;
} amli_trie;

struct amli_pieces {
    const aml_tokenizer *tokenizer;
    const aml_vocabulary *head;
    amli_trie trie, added, added_normalized;
    bool added_first[256], normalized_first[256]; // bytes that an added token begins with
    void *normalize_pattern[PIECES_STEPS], *split_pattern[PIECES_STEPS];
    amli_buffer normalized[2];           // the text after a step
    amli_buffer rewritten[PIECES_STEPS]; // what a split step made of its text
    int32_t *code;                       // code points of a text on its way through a step
    size_t codes;
    int32_t *token; // that were made
    size_t tokens, token_room, taken;
    bool first;  // the segment begins where the whole text begins
    bool failed; // no memory
    bool pattern_failed;
    uint32_t lacking; // a character that is not in the vocabulary, which has no token for such
    bool lacks;
    amli_cached *cache;
    void *work; // the model's
    size_t work_bytes;
};

// ---- tokenizer_pieces.c
aml_status amli_pieces_open(amli_encoder *encoder, aml_error *error);
void amli_pieces_close(amli_encoder *encoder);
aml_status amli_pieces_encode(amli_encoder *encoder, const char *text, size_t length, bool is_first,
                              aml_error *error);
int32_t amli_pieces_next(amli_encoder *encoder);
void amli_pieces_push(amli_pieces *pieces, int32_t token);
// Tokens of what the vocabulary does not have: those of its bytes, or the unknown one.
// `may_join`: the piece before was unknown too.
void amli_pieces_unknown(amli_pieces *pieces, const char *text, size_t length, bool *joins);
void *amli_pieces_work(amli_pieces *pieces, size_t bytes); // for the model; NULL: no memory
void amli_pieces_piece(amli_pieces *pieces, const char *text, size_t length);

// ---- tokenizer_split.c: gives each piece of a text to the model
void amli_split_text(amli_pieces *pieces, const char *text, size_t length);

// ---- tokenizer_decode.c
size_t amli_pieces_decode(amli_decoder *decoder, int32_t token);

// A model as an engine: all but how a piece becomes tokens is shared.
#define AMLI_PIECES_ENGINE(model, piece)                                                           \
    const amli_token_engine amli_tokens_##model = {#model,                                         \
                                                   amli_pieces_open,                               \
                                                   amli_pieces_close,                              \
                                                   amli_pieces_encode,                             \
                                                   amli_pieces_next,                               \
                                                   amli_pieces_decode,                             \
                                                   piece}

// The node below `node` by a byte; 0: there is none. The root is 0.
static inline uint32_t amli_trie_child(const amli_trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t next = trie->node[node].base + byte;
    return next < trie->count && trie->node[next].check == node ? next : 0;
}

// The token of exactly this text, -1: none.
static inline int32_t amli_trie_find(const amli_trie *trie, uint32_t node, const char *text,
                                     size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((node = amli_trie_child(trie, node, (unsigned char)text[i])) == 0)
            return -1;
    return trie->count ? trie->node[node].token : -1;
}

static inline const char *amli_section_text(const amli_pieces *pieces, aml_section section)
{
    return aml_vocabulary_at(pieces->head, section);
}

// The code point at text[at], which is UTF-8; *at moves behind it.
static inline uint32_t amli_next_code(const char *text, size_t length, size_t *at)
{
    uint32_t code = (unsigned char)text[*at];
    if (code < 0x80) {
        (*at)++;
        return code;
    }
    size_t step = aml_utf8_read((const unsigned char *)text + *at, length - *at, &code);
    *at += step ? step : 1;
    return code;
}

#endif
