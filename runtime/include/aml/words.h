// aml/words.h: texts as the compiler reads them to make a vocabulary: whole, and as the words of a
// data set's training rows.

#ifndef AML_WORDS_H
#define AML_WORDS_H

#include "aml/program.h"
#include "aml/text.h"

#ifdef __cplusplus
extern "C" {
#endif

// A text file, or the texts (.txt, .md) of a folder one after the other in the order of their names;
// each ends with a line break. With `utf8` they are checked, and marks of byte order are left out.
// The caller frees *text.
aml_status aml_texts_read(const char *path, bool utf8, char **text, size_t *length,
                          aml_error *error);

typedef struct aml_word {
    const char *text; // `length` bytes of UTF-8
    size_t length;
    int64_t count;
} aml_word;

typedef struct aml_words aml_words;

// Whether the words of such a source can be counted.
bool aml_words_known(aml_source_kind kind);

// Counts the words of the last field of `dataset`, a text, in the training rows of its split; the
// fields in front of it are those that the split needs. `path` is the file or folder of its source.
// Texts become words as `cut` says, a tokenizer of words whose vocabulary is not looked at. The
// caller frees *out, which is NULL after a failure.
aml_status aml_words_count(const aml_dataset *dataset, const char *path, const aml_tokenizer *cut,
                           aml_words **out, aml_error *error);

// The most frequent first, of equally frequent ones by their bytes.
const aml_word *aml_words_list(const aml_words *words, int64_t *count);
int64_t aml_words_rows(const aml_words *words); // training rows that were read
void aml_words_free(aml_words *words);          // NULL is allowed

#ifdef __cplusplus
}
#endif

#endif
