// The words of a data set's training rows: see aml/words.h.
//
// The table and its split are those of a training, made by the same code, so that the rows are the
// same. Then the training rows alone are read once more, by a decoder of cells that counts. Words
// are numbered as they come; a token is the number, so that the encoder's cache of short pieces
// may be used, and what is counted are tokens.

#include "aml/words.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/data/csv.h"
#include "runtime/data/pieces.h"
#include "runtime/data/source.h"

struct aml_words {
    aml_word *word;
    int64_t count, room, rows;
    int32_t *slot; // open addressing: number + 1, 0: free
    int64_t slots;
    amli_encoder encoder;
    char *plain; // a text without doubled quotes
    size_t plain_room;
    bool failed; // no memory
};

static const amli_source_kind *kind_of(aml_source_kind kind)
{
    return kind == AML_SOURCE_CSV     ? &amli_source_csv
           : kind == AML_SOURCE_JSONL ? &amli_source_jsonl
           : kind == AML_SOURCE_TEXTS ? &amli_source_texts
                                      : NULL;
}

bool aml_words_known(aml_source_kind kind)
{
    return kind_of(kind) != NULL;
}

// ---- numbering

static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

// The slot of a word, or the free one where it belongs.
static int32_t *slot_of(const aml_words *words, const char *text, size_t length)
{
    uint64_t mask = (uint64_t)words->slots - 1, at = hash_of(text, length) & mask;
    for (; words->slot[at]; at = (at + 1) & mask) {
        const aml_word *word = &words->word[words->slot[at] - 1];
        if (word->length == length && memcmp(word->text, text, length) == 0)
            break;
    }
    return &words->slot[at];
}

static bool grow(aml_words *words)
{
    int64_t slots = words->slots ? 2 * words->slots : 1 << 12;
    aml_word *more = realloc(words->word, (size_t)(slots / 2) * sizeof *more);
    if (more)
        words->word = more;
    int32_t *slot = more && slots < INT32_MAX ? calloc((size_t)slots, sizeof *slot) : NULL;
    if (!slot)
        return false;
    free(words->slot);
    words->slot = slot;
    words->slots = slots;
    words->room = slots / 2;
    for (int64_t i = 0; i < words->count; i++)
        *slot_of(words, words->word[i].text, words->word[i].length) = (int32_t)i + 1;
    return true;
}

// The model of the encoder: a piece is a word, its token the word's number.
static void number_piece(amli_pieces *pieces, const char *text, size_t length)
{
    aml_words *words = *(aml_words **)pieces->work;
    if (words->count == words->room && !grow(words)) {
        pieces->failed = true;
        return;
    }
    int32_t *slot = slot_of(words, text, length);
    if (!*slot) {
        char *copy = malloc(length + 1);
        if (!copy) {
            pieces->failed = true;
            return;
        }
        memcpy(copy, text, length);
        copy[length] = 0;
        words->word[words->count++] = (aml_word){.text = copy, .length = length};
        *slot = (int32_t)words->count;
    }
    amli_pieces_push(pieces, *slot - 1);
}

static AMLI_PIECES_ENGINE(counting, number_piece);

// ---- the decoder of cells

// The rule of the text, with where to count; NULL: the text is passed over.
typedef struct CountingRule {
    aml_text_rule rule;
    aml_words *words;
} CountingRule;

static void *counting_open(const aml_field *field)
{
    return (void *)(uintptr_t)field->rule->text; // there is one thread
}

static void counting_close(void *own)
{
    (void)own;
}

static bool plain_text(aml_words *words, const amli_cell *cell, const char **at, size_t *length)
{
    *at = cell->at;
    *length = cell->length;
    if (!cell->doubled)
        return true;
    if (cell->length > words->plain_room) {
        free(words->plain);
        words->plain = malloc(cell->length);
        words->plain_room = words->plain ? cell->length : 0;
    }
    if (!words->plain)
        return false;
    size_t used = 0;
    for (size_t i = 0; i < cell->length; i++) {
        words->plain[used++] = cell->at[i];
        i += cell->at[i] == '"';
    }
    *at = words->plain;
    *length = used;
    return true;
}

static bool counting_decode(void *own, const aml_field *field, const amli_cell *cell, void *to,
                            char *expected, size_t room)
{
    aml_words *words = ((const CountingRule *)own)->words;
    memset(to, 0, amli_tensor_bytes(&field->tensor));
    *expected = 0;
    const char *at;
    size_t length;
    if (!words)
        return true;
    aml_error *error = malloc(sizeof *error);
    int32_t token = 0;
    bool good = error && plain_text(words, cell, &at, &length);
    if (good)
        amli_encoder_begin(&words->encoder, "text", at, length);
    while (good && token >= 0) {
        good = amli_encode(&words->encoder, &token, error) == AML_OK;
        if (good && token >= 0)
            words->word[token].count++;
        else if (!good)
            snprintf(expected, room, "a text that has words (%.80s)", error->text);
    }
    if (!good && !*expected)
        snprintf(expected, room, "a text that fits into memory");
    free(error);
    return good;
}

static const amli_cell_decoder counting_cells = {counting_decode, counting_open, counting_close};

// ---- reading

static aml_status read_rows(aml_words *words, amli_reading *reading, const int64_t *row,
                            int64_t rows, const int64_t *kept, aml_error *error)
{
    const aml_dataset *dataset = reading->dataset;
    void *own = reading->kind->thread_new(reading);
    void **to = calloc((size_t)dataset->fields, sizeof *to);
    int text = dataset->fields - 1;
    char element[sizeof(int64_t)];
    aml_status status = own && to ? AML_OK : amli_no_memory(error, sizeof *to, "the words");
    if (!status)
        to[text] = element;
    for (int64_t i = 0; i < rows && !status; i++)
        if (reading->kind->at(reading, own, kept ? kept[row[i]] : row[i], to, error) !=
            AMLI_ROW_READ)
            status = AML_BAD_DATA;
    words->rows = rows;
    if (own)
        reading->kind->thread_free(own);
    free(to);
    return status;
}

// As table.c opens a source, with the fields that the split does not need.
static aml_status read_again(aml_words *words, const aml_dataset *dataset, const amli_load *load,
                             const char *path, const amli_table *table, const amli_split *split,
                             aml_error *error)
{
    amli_reading *reading = calloc(1, sizeof *reading);
    bool *on_demand = calloc((size_t)dataset->fields, sizeof *on_demand);
    if (!reading || !on_demand) {
        free(reading), free(on_demand);
        return amli_no_memory(error, sizeof *reading, path);
    }
    *reading = (amli_reading){.dataset = dataset,
                              .source = &dataset->source,
                              .load = load,
                              .kind = dataset->source.reader,
                              .unit_bytes = table->unit_bytes,
                              .on_demand = on_demand};
    snprintf(reading->file[0].path, PATH_MAX, "%s", path);
    aml_status status = reading->kind->open(reading, error);
    if (!status)
        status = read_rows(words, reading, split->row[AML_PART_TRAIN], split->rows[AML_PART_TRAIN],
                           table->kept, error);
    reading->kind->close(reading);
    free(reading->file[0].text);
    free(reading), free(on_demand);
    return status;
}

static aml_status count(aml_words *words, aml_dataset *dataset, CountingRule *rule,
                        const char *path, aml_error *error)
{
    const amli_load load = {.source_dir = "", .file = {{path}}, .threads = 1};
    const amli_fold none = {0};
    amli_table *table = NULL;
    amli_split split = {0};
    aml_status status = amli_table_load(dataset, &load, &table, error);
    if (!status)
        status = amli_split_table(dataset, table, &none, &split, error);
    rule->words = words;
    if (!status)
        status = read_again(words, dataset, &load, path, table, &split, error);
    amli_split_free(&split);
    amli_table_free(table);
    return status;
}

static int by_count(const void *a, const void *b)
{
    const aml_word *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    size_t least = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->text, y->text, least);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

aml_status aml_words_count(const aml_dataset *dataset, const char *path, const aml_tokenizer *cut,
                           aml_words **out, aml_error *error)
{
    char whole[PATH_MAX]; // a relative path would be looked up in other places as well
    *out = NULL;
    if (!realpath(path, whole))
        return amli_fail(error, AML_NOT_FOUND, "cannot open %s", path);
    aml_words *words = calloc(1, sizeof *words);
    aml_field *field = malloc((size_t)dataset->fields * sizeof *field);
    if (!words || !field) {
        free(words), free(field);
        return amli_no_memory(error, sizeof *words, path);
    }
    aml_tokenizer tokenizer = *cut;
    tokenizer.engine = &amli_tokens_counting;
    tokenizer.unicode = &amli_unicode_utf8proc;
    CountingRule rule = {.rule = {.tokenizer = &tokenizer, .tokens = 1}};
    aml_cell_rule cell = {.kind = AML_CELL_TEXT, .decoder = &counting_cells, .text = &rule.rule};
    memcpy(field, dataset->field, (size_t)dataset->fields * sizeof *field);
    aml_field *text = &field[dataset->fields - 1];
    text->rule = &cell;
    text->tensor.dtype = AML_I32;
    text->tensor.shape = (aml_shape){.rank = 1, .dim = {1}};
    aml_dataset own = *dataset;
    own.field = field;
    own.source.reader = kind_of(own.source.kind);
    aml_status status = amli_encoder_open(&words->encoder, &tokenizer, error);
    aml_words **work = status ? NULL : amli_pieces_work(words->encoder.pieces, sizeof(aml_words *));
    if (work)
        *work = words;
    else if (!status)
        status = amli_no_memory(error, sizeof *work, path);
    if (!status)
        status = count(words, &own, &rule, whole, error);
    amli_encoder_close(&words->encoder);
    free(field);
    if (status) {
        aml_words_free(words);
        return status;
    }
    if (words->count)
        qsort(words->word, (size_t)words->count, sizeof *words->word, by_count);
    *out = words;
    return AML_OK;
}

const aml_word *aml_words_list(const aml_words *words, int64_t *count_out)
{
    *count_out = words->count;
    return words->word;
}

int64_t aml_words_rows(const aml_words *words)
{
    return words->rows;
}

void aml_words_free(aml_words *words)
{
    if (!words)
        return;
    for (int64_t i = 0; i < words->count; i++)
        free((char *)(uintptr_t)words->word[i].text);
    free(words->word), free(words->slot), free(words->plain);
    free(words);
}
