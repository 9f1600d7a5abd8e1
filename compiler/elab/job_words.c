// job_words.c: words(...): a vocabulary made of the words of the training rows.
//
// The vocabulary is a size of the model, so the words are counted when the program is compiled, in
// the file or folder that the source names by default. Which rows are trained on is decided by the
// code that decides it when the program runs (aml/words.h).

#include "elab/job.h"

#include <string.h>

#include "aml/words.h"
#include "text/text.h"

enum { LEAST_SIZE = 3, LARGEST_SIZE = 1 << 24, LONGEST_WORD = 256 };

bool is_words_place(Jobs *jobs, Value place)
{
    Value tokenizer = record_item(jobs, place, "tokenizer");
    Sym kind = value_word(record_item(jobs, tokenizer, "tokenizer"));
    return kind && strcmp(kind, "words") == 0;
}

const aml_tokenizer *words_known(Jobs *jobs, const Node *field, bool *known)
{
    *known = false;
    for (int i = 0; i < jobs->words.count; i++)
        if (jobs->words.at[i].node == field) {
            *known = true;
            return jobs->words.at[i].tokenizer;
        }
    return NULL;
}

static Span place_span(const Node *field)
{
    return field->as.data.value ? field->as.data.value->span : field->span;
}

static bool number(Jobs *jobs, const Node *field, Value words, const char *name, int64_t least,
                   int64_t most, int64_t *out)
{
    Value value = record_item(jobs, words, name);
    if (value_is(value, VALUE_INT) && value.as.whole >= least && value.as.whole <= most) {
        *out = value.as.whole;
        return true;
    }
    report(jobs->cx, place_span(field), setting_range, name,
           arena_printf(jobs->arena, "%lld to %lld", (long long)least, (long long)most),
           value_show(jobs->e, value));
    return false;
}

// The most frequent words that are there `least` times, with the two tokens in front `size` at
// most.
static const aml_tokenizer *make(Jobs *jobs, const Node *field, const aml_words *words,
                                 int64_t size, int64_t least, bool lowercase)
{
    int64_t count;
    const aml_word *word = aml_words_list(words, &count);
    Vec(TrieKey) key = {0};
    for (int64_t i = 0; i < count && key.count + 2 < size && word[i].count >= least; i++)
        if (word[i].length <= LONGEST_WORD) {
            const TrieKey one = {
                .text = {arena_text(jobs->arena, word[i].text, word[i].length), word[i].length}};
            vec_push(jobs->arena, &key, one);
        }
    const char *why = NULL;
    const aml_tokenizer *made = NULL;
    if (key.count == 0)
        why = arena_printf(jobs->arena,
                           "no word is there %lld times in the %lld rows that are trained on",
                           (long long)least, (long long)aml_words_rows(words));
    else
        made = read_words(jobs->arena, key.at, key.count, lowercase, &why);
    if (!made)
        report(jobs->cx, place_span(field), words_unfit, field->as.data.name, why);
    return made;
}

static const aml_tokenizer *count_words(Jobs *jobs, Node *dataset, Node *field, Value place)
{
    Value asked = record_item(jobs, place, "tokenizer");
    Value lower = record_item(jobs, asked, "lowercase");
    bool lowercase = !value_is(lower, VALUE_BOOL) || lower.as.whole;
    int64_t size, least;
    aml_dataset table = {0};
    const char *path, *named, *why = NULL;
    if (!number(jobs, field, asked, "size", LEAST_SIZE, LARGEST_SIZE, &size) ||
        !number(jobs, field, asked, "least", 1, LARGEST_SIZE, &least) ||
        !split_of_text(jobs, dataset, field, place, &table, &path, &named))
        return NULL;
    if (!aml_words_known(table.source.kind)) {
        report(jobs->cx, place_span(field), words_unfit, field->as.data.name,
               arena_printf(jobs->arena, "they are counted in csv, jsonl and texts, not in %s",
                            source_name(table.source.kind)));
        return NULL;
    }
    if (table.on_bad == AML_ON_BAD_SKIP) {
        report(jobs->cx, place_span(field), words_skip);
        return NULL;
    }
    if (!path && jobs->cx->without_data)
        return stand_in_tokenizer(jobs, place_span(field), named ? named : "the source");
    if (!path) {
        report(jobs->cx, place_span(field), words_unfit, field->as.data.name,
               arena_printf(jobs->arena,
                            "\"%s\" was not found beside the source, in the current folder or "
                            "under $AML_DATA",
                            named ? named : "the source"));
        return NULL;
    }
    Arena *arena = arena_new();
    const aml_tokenizer *cut = read_words(arena, NULL, 0, lowercase, &why), *made = NULL;
    aml_error *error = arena_alloc(jobs->arena, sizeof *error);
    aml_words *words = NULL;
    if (!cut)
        report(jobs->cx, place_span(field), words_unfit, field->as.data.name, why);
    else if (aml_words_count(&table, path, cut, &words, error))
        report(jobs->cx, place_span(field), words_unfit, field->as.data.name, error->text);
    else
        made = make(jobs, field, words, size, least, lowercase);
    aml_words_free(words);
    arena_free(arena);
    return made;
}

const aml_tokenizer *words_tokenizer(Jobs *jobs, Node *dataset, Node *field, Value place)
{
    bool known;
    const aml_tokenizer *found = words_known(jobs, field, &known);
    if (known)
        return found;
    const FieldWords kept = {field, count_words(jobs, dataset, field, place)};
    vec_push(jobs->arena, &jobs->words, kept);
    return kept.tokenizer;
}
