// text/: tokenizers as the compiler sees them: their files are read, checked, and become one image
// (aml/vocabulary.h) that the program carries.
//
//   image.c        a vocabulary under construction, and the image of it
//   trie.c         texts as a double array
//   read_files.c   vocab.json with merges.txt (GPT-2), vocab.txt (BERT), and words of a text
//   read_json.c    tokenizer.json: the model, added tokens, what is put around a text
//   read_steps.c   tokenizer.json: normalizers, splits, decoders
//
// Nothing here reports: functions give NULL and say what is wrong, with the place in the file.

#ifndef AML_TEXT_TEXT_H
#define AML_TEXT_TEXT_H

#include <jansson.h>

#include "aml/program.h"
#include "aml/vocabulary.h"
#include "base/base.h"

typedef struct Bytes {
    const char *at;
    size_t length;
} Bytes;

typedef struct VocabularyToken {
    Bytes text;
    double score;
    uint8_t flags, added; // AML_TOKEN_..., AML_ADDED_...
    bool in_model, is_added, exists;
} VocabularyToken;

typedef struct VocabularyStep {
    aml_step step;
    Bytes a, b;
} VocabularyStep;

typedef struct VocabularyMerge {
    Bytes left, right;
} VocabularyMerge;

typedef struct Vocabulary {
    Arena *arena;
    aml_vocabulary head; // its scalars
    Vec(VocabularyToken) token;
    Vec(VocabularyStep) normalize, split;
    Vec(VocabularyMerge) merge;
    Vec(int32_t) before, after;
    Bytes prefix, suffix, mark, map, map_text;
    Bytes unknown_text; // of the token for what is unknown, NULL: none
    const char *why;    // what is wrong; NULL: nothing so far
} Vocabulary;

// ---- image.c
void vocabulary_begin(Vocabulary *vocabulary, Arena *arena, aml_token_model model);
// All of these do nothing after a mistake. False, and `why` says what is wrong.
bool vocabulary_wrong(Vocabulary *vocabulary, const char *format, ...) AML_PRINTF(2, 3);
bool vocabulary_add(Vocabulary *vocabulary, int64_t id, Bytes text, double score);
VocabularyStep *vocabulary_normalize(Vocabulary *vocabulary, aml_step_kind kind);
VocabularyStep *vocabulary_split(Vocabulary *vocabulary, aml_step_kind kind);
bool vocabulary_byte_level(Vocabulary *vocabulary, bool prefix_space, bool has_pattern);
int32_t vocabulary_find(Vocabulary *vocabulary, Bytes text); // slow; -1: there is none
const aml_tokenizer *vocabulary_finish(Vocabulary *vocabulary);
// What a program carries that makes tokens of texts and no texts of tokens.
const aml_vocabulary *vocabulary_without_spelling(Arena *arena, const aml_vocabulary *whole);
Bytes bytes_of(const char *text);                  // NUL-terminated
const char *bytes_shown(Arena *arena, Bytes text); // for messages

// ---- trie.c
typedef struct TrieKey {
    Bytes text;
    int32_t token;
} TrieKey;
typedef Vec(aml_trie_node) TrieNodes;
// Sorts the keys; texts are not empty and different. `same`: two that are not.
bool trie_build(Arena *arena, TrieKey *key, int count, TrieNodes *out, const TrieKey *same[2]);

// ---- read_files.c; texts are those of the files
const aml_tokenizer *read_gpt2(Arena *arena, Bytes vocab, Bytes merges, bool prefix_space,
                               const char **why);
const aml_tokenizer *read_bert(Arena *arena, Bytes vocab, bool lowercase, const char **why);
// Words by their text, most frequent first; tokens 0 and 1 are for padding and what is unknown.
bool read_vocab_object(Vocabulary *vocabulary, json_t *object);
void tokens_to_bytes(Vocabulary *vocabulary); // of a byte-level vocabulary
const aml_tokenizer *read_words(Arena *arena, const TrieKey *word, int words, bool lowercase,
                                const char **why);

// ---- read_json.c
const aml_tokenizer *read_tokenizer_json(Arena *arena, Bytes text, const char **why);
json_t *read_json(Vocabulary *vocabulary, Bytes text); // NULL: it is not JSON
const char *json_kind(const json_t *object);           // its "type", "" if it has none
bool json_flag(const json_t *object, const char *name, bool otherwise);
Bytes json_bytes(Arena *arena, const json_t *text); // a copy

// ---- read_steps.c
bool read_normalizer(Vocabulary *vocabulary, const json_t *object);
bool read_splits(Vocabulary *vocabulary, const json_t *object);
bool read_decoder(Vocabulary *vocabulary, const json_t *object);

#endif
