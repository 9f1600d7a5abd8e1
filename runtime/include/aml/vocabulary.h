// aml/vocabulary.h: a tokenizer as bytes: what the compiler makes of a tokenizer's files, and what
// a program carries.
//
// An image is one block without pointers, aligned to 8, in the byte order of the machine: the head
// below, then sections that the head names by their offset. How a text becomes tokens:
//
//     text -> added tokens cut out -> normalize steps -> split steps -> the model, piece by piece
//
// Texts are bytes everywhere. A byte-level vocabulary (GPT-2) is stored as the bytes that its
// letters stand for, so nothing has to be mapped when a text is read.

#ifndef AML_VOCABULARY_H
#define AML_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AML_VOCABULARY_MAGIC 0x31564C41u // "ALV1"

typedef struct aml_section {
    uint32_t at, count; // offset in bytes, number of elements
} aml_section;

typedef enum aml_step_kind {
    // normalize
    AML_STEP_NFC,
    AML_STEP_NFD,
    AML_STEP_NFKC,
    AML_STEP_NFKD,
    AML_STEP_LOWERCASE,
    AML_STEP_STRIP_ACCENTS, // all marks
    AML_STEP_BERT,          // flags: AML_BERT_...
    AML_STEP_REPLACE,       // every `a` by `b`; REGEX in flags: `a` is a pattern
    AML_STEP_PREPEND,       // `a`, unless the text is empty
    AML_STEP_STRIP,         // white space; flags: 1 left, 2 right
    AML_STEP_CHARSMAP,      // SentencePiece's table of replacements: sections map and map_text
    // split
    AML_STEP_PREFIX_SPACE, // a space in front, unless there is one
    AML_STEP_REGEX,        // pattern `a`, behaviour `how`, flags: 1 inverted
    AML_STEP_LITERAL,      // the text `a` instead of a pattern
    AML_STEP_WORDS,        // runs of word characters, runs of others, white space removed
    AML_STEP_WHITE_SPACE,  // white space removed
    AML_STEP_BERT_WORDS,   // white space removed, punctuation by itself
    AML_STEP_METASPACE,    // spaces become `a`; flags: 1 put in front always, 2 only at the
                           // beginning of the text, 4: split before each
    AML_STEP_DIGITS,       // flags: 1 each by itself
    AML_STEP_PUNCTUATION,  // behaviour `how`
    AML_STEP_KINDS
} aml_step_kind;

enum { AML_BERT_CLEAN = 1, AML_BERT_CJK = 2, AML_BERT_ACCENTS = 4, AML_BERT_LOWER = 8 };
enum { AML_STEP_IS_REGEX = 1 };

// What happens to the separators that a step finds.
typedef enum aml_separator {
    AML_SEPARATOR_REMOVED,
    AML_SEPARATOR_ISOLATED,
    AML_SEPARATOR_PREVIOUS,
    AML_SEPARATOR_NEXT,
    AML_SEPARATOR_CONTIGUOUS
} aml_separator;

typedef struct aml_step {
    uint32_t kind, flags, how;
    aml_section a, b; // bytes
} aml_step;

typedef enum aml_token_model {
#define TOKENS(NAME, name, meaning) AML_MODEL_##NAME,
#include "aml/tokens.def"
#undef TOKENS
    AML_MODEL_KINDS
} aml_token_model;

// How tokens become a text.
typedef enum aml_token_decoder {
    AML_DECODER_SPACES,    // a space between
    AML_DECODER_BYTES,     // their bytes
    AML_DECODER_WORDPIECE, // a space before, unless a token begins with the prefix
    AML_DECODER_METASPACE, // `mark` is a space; none at the beginning
    AML_DECODER_SUFFIX     // `mark` ends a word
} aml_token_decoder;

enum {
    AML_VOCABULARY_BYTE_LEVEL = 1,    // BPE begins with bytes
    AML_VOCABULARY_BYTE_FALLBACK = 2, // what is unknown becomes the tokens of its bytes
    AML_VOCABULARY_FUSE_UNKNOWN = 4,  // neighbours that are unknown are one token
    AML_VOCABULARY_WHOLE_FIRST = 8,   // BPE: a piece that is a token is not taken apart
    AML_VOCABULARY_CLEANUP = 16,      // decoding: no space before punctuation
    AML_VOCABULARY_KEEP_SPACE = 32,   // decoding: the space at the beginning stays
    AML_VOCABULARY_ONE_SPACE = 64, // decoding: of the beginning one space goes, not all of a token
    AML_VOCABULARY_REGEX = 128,    // some step needs the engine of patterns
    AML_VOCABULARY_UNICODE = 256   // some step needs what Unicode says of characters
};

enum { AML_TOKEN_SPECIAL = 1, AML_TOKEN_ADDED = 2, AML_TOKEN_BYTE = 4 };

typedef struct aml_trie_node { // a double array: the child of n by byte b is base + b, if its check
    uint32_t base, check;      // is n
    int32_t token;             // -1: none ends here
} aml_trie_node;

// Merges of two tokens. Those whose pair has the hash h are items pair_at[h] to pair_at[h + 1] of
// `pair`: the left token, the right one, the rank of the merge and, unless that is its rank +
// pair_first for all of them, the token that it makes. All are numbers of pair_bytes bytes, 2 where
// every token and rank fits.
enum { AML_PAIR_LEFT, AML_PAIR_RIGHT, AML_PAIR_RANK, AML_PAIR_TOKEN };

enum {
    AML_ADDED_WORD = 1, // only as a word by itself
    AML_ADDED_LEFT = 2, // takes white space on its left with it
    AML_ADDED_RIGHT = 4,
    AML_ADDED_NORMALIZED = 8 // looked for after normalising
};

typedef enum aml_token_role {
    AML_TOKEN_PAD,
    AML_TOKEN_UNKNOWN,
    AML_TOKEN_BEGIN,
    AML_TOKEN_END,
    AML_TOKEN_MASK,
    AML_TOKEN_ROLES
} aml_token_role;

typedef struct aml_vocabulary {
    uint32_t magic, bytes;
    uint32_t model, decoder, flags;
    int32_t vocab;
    int32_t role[AML_TOKEN_ROLES];     // -1: there is none
    int32_t most_characters;           // WordPiece: a longer word is unknown
    uint32_t longest;                  // bytes of the longest token
    double unknown_score;              // unigram
    uint32_t pair_bytes, pair_numbers; // of a number; numbers of an item: 3 or 4
    int32_t pair_first;                // see AML_PAIR_LEFT
    uint32_t pair_bits;                // 2^pair_bits hashes
    aml_section normalize, split;      // aml_step
    aml_section prefix;                // bytes: continuing pieces begin with it
    aml_section suffix;                // bytes: BPE: ends the last character of a piece
    aml_section mark;                  // bytes: see aml_token_decoder
    aml_section trie;                  // aml_trie_node
    aml_section pair, pair_at;         // items; where those of each hash begin
    aml_section byte;                  // int32_t, 256: tokens of bytes, -1: none
    aml_section score;                 // double
    aml_section added;                 // aml_trie_node, by text as it is
    aml_section added_normalized;      // aml_trie_node, looked for in normalised text
    aml_section added_flags;           // uint8_t, of tokens; 0 for those behind its end
    aml_section before, after;         // int32_t: put around a text where special tokens are wanted
    aml_section map;                   // uint32_t: CHARSMAP, a trie in SentencePiece's form
    aml_section map_text;
    // How tokens are spelled, behind everything else: a program that makes no texts is without.
    aml_section token_at; // uint32_t, vocab + 1: where each token's bytes are in `token`
    aml_section token, token_flags;
} aml_vocabulary;

static inline const void *aml_vocabulary_at(const aml_vocabulary *vocabulary, aml_section section)
{
    return (const char *)vocabulary + section.at;
}

static inline uint32_t aml_pair_hash(const aml_vocabulary *vocabulary, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(key * 0x9E3779B97F4A7C15u >> (64 - vocabulary->pair_bits));
}

// Whether a pattern can be compiled. Otherwise `why` (at least 128 bytes) says what is wrong.
bool aml_pattern_sound(const char *pattern, size_t length, char *why, size_t room);

// Characters that tokenizers speak of.
bool aml_is_space(uint32_t code);

#ifdef __cplusplus
}
#endif

#endif
