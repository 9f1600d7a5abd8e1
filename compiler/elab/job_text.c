// job_text.c: texts as data: tokenizers and their vocabulary.
//
// A vocabulary is a size of the model, so the files of tokenizers are read when the program is
// compiled, and the program carries what was made of them.
//
// The vocabulary of characters() is a size of the model, so it is fixed when the program is
// compiled: the code points of the text that the source names by default. The program carries it;
// another text given when it runs has to do with the same characters.

#include "elab/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "aml/utf8.h"
#include "aml/words.h"
#include "text/text.h"

enum { CODE_POINTS = 0x110000, LARGEST_TEXT = 1 << 30, LARGEST_VOCABULARY = 1 << 28 };

const char *text_default(Jobs *jobs, Value text)
{
    Buffer out = {.arena = jobs->arena};
    buffer_text(&out, "");
    for (int i = 0; i < text.as.text.parts; i++) {
        const TextPart *part = &text.as.text.part[i];
        const char *piece = part->text;
        if (part->option >= 0)
            piece = value_plain_text(jobs->e->option.at[part->option].value);
        buffer_text(&out, piece ? piece : "");
    }
    return out.text;
}

static const char *place_of(Jobs *jobs, const char *text, size_t at)
{
    long long line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        bool next = ((unsigned char)text[i] & 0xC0) != 0x80;
        line += text[i] == '\n';
        column = text[i] == '\n' ? 1 : column + next;
    }
    return arena_printf(jobs->arena,
                        "line %lld, column %lld is the byte 0x%02x, which is not UTF-8", line,
                        column, (unsigned)(unsigned char)text[at]);
}

// The distinct code points of a text, increasing. NULL: `why`.
static const uint32_t *code_points(Jobs *jobs, const char *text, size_t length, int32_t *count,
                                   const char **why)
{
    Arena *seen_in = arena_new();
    bool *seen = arena_alloc(seen_in, CODE_POINTS);
    uint32_t *code = NULL;
    *count = 0;
    *why = NULL;
    for (size_t at = aml_utf8_mark(text, length), step; at < length; at += step) {
        uint32_t found = 0;
        step = aml_utf8_read((const unsigned char *)text + at, length - at, &found);
        if (step == 0) {
            *why = place_of(jobs, text, at);
            break;
        }
        *count += !seen[found];
        seen[found] = true;
    }
    if (!*why && *count < 2)
        *why = *count ? "it holds one and the same character" : "it is empty";
    if (!*why) {
        code = NEW_ARRAY(jobs->arena, uint32_t, *count);
        for (uint32_t c = 0, k = 0; c < CODE_POINTS; c++)
            if (seen[c])
                code[k++] = c;
    }
    arena_free(seen_in);
    return code;
}

// What stands in for the characters of a text that is not here: those of a keyboard.
static const uint32_t *plain_characters(Jobs *jobs, int32_t *count)
{
    uint32_t *code = NEW_ARRAY(jobs->arena, uint32_t, 128);
    *count = 0;
    code[(*count)++] = '\t';
    code[(*count)++] = '\n';
    for (uint32_t c = ' '; c <= '~'; c++)
        code[(*count)++] = c;
    return code;
}

static bool read_characters(Jobs *jobs, Value path, Span span, aml_tokenizer *out)
{
    const char *name = text_default(jobs, path), *found = find_data(jobs->cx, name), *why;
    if (!found && jobs->cx->without_data) {
        out->code = plain_characters(jobs, &out->vocab);
        report(jobs->cx, span, stands_in, arena_printf(jobs->arena, "\"%s\"", name),
               arena_printf(jobs->arena, "%d characters", out->vocab));
        return true;
    }
    if (!found) {
        report(jobs->cx, span, corpus_missing, name);
        help(jobs->cx, "bytes() needs no vocabulary: every text is made of 256 of them");
        return false;
    }
    char *text = NULL;
    size_t length;
    aml_error *error = arena_alloc(jobs->arena, sizeof *error);
    struct stat info;
    bool is_folder = stat(found, &info) == 0 && S_ISDIR(info.st_mode);
    if (aml_texts_read(found, is_folder, &text, &length, error))
        why = error->text;
    else if (length > LARGEST_TEXT)
        why = "it is larger than 1 GiB";
    else
        out->code = code_points(jobs, text, length, &out->vocab, &why);
    if (!out->code)
        report(jobs->cx, span, corpus_unfit, name, why);
    free(text);
    return out->code != NULL;
}

// ---- tokenizers from files

// A file that a tokenizer names. False after a report.
static bool tokenizer_file(Jobs *jobs, Span span, Value record, const char *item, Bytes *out,
                           const char **name)
{
    *name = value_plain_text(record_item(jobs, record, item));
    if (!*name) {
        report(jobs->cx, span, setting_type, item, "the path of a file",
               value_what(jobs->e, record_item(jobs, record, item)));
        return false;
    }
    const char *found = find_data(jobs->cx, *name);
    char *text;
    size_t length;
    if (!found) {
        report(jobs->cx, span, tokenizer_missing, *name);
        return false;
    }
    if (!file_read(jobs->arena, found, LARGEST_VOCABULARY, &text, &length)) {
        report(jobs->cx, span, tokenizer_unfit, *name,
               errno == EFBIG ? "it is larger than 256 MiB" : strerror(errno));
        return false;
    }
    *out = (Bytes){text, length};
    return true;
}

static bool truth_item(Jobs *jobs, Value record, const char *name)
{
    Value value = record_item(jobs, record, name);
    return value_is(value, VALUE_BOOL) && value.as.whole;
}

static const aml_tokenizer *read_pieces(Jobs *jobs, Span span, Value value, Sym kind)
{
    const aml_tokenizer *found = NULL;
    const char *name, *other, *why = NULL;
    Bytes text, merges;
    if (strcmp(kind, "bpe") == 0) {
        if (tokenizer_file(jobs, span, value, "vocab", &text, &name) &&
            tokenizer_file(jobs, span, value, "merges", &merges, &other))
            found =
                read_gpt2(jobs->arena, text, merges, truth_item(jobs, value, "prefix_space"), &why);
    } else if (tokenizer_file(jobs, span, value, "path", &text, &name)) {
        found = strcmp(kind, "wordpiece") == 0
                    ? read_bert(jobs->arena, text, truth_item(jobs, value, "lowercase"), &why)
                    : read_tokenizer_json(jobs->arena, text, &why);
    }
    if (why)
        report(jobs->cx, span, tokenizer_unfit, name, why);
    return found;
}

const aml_tokenizer *stand_in_tokenizer(Jobs *jobs, Span span, const char *path)
{
    report(jobs->cx, span, stands_in, arena_printf(jobs->arena, "\"%s\"", path),
           arena_printf(jobs->arena, "%d tokens", MADE_UP_TOKENS));
    return &jobs->stand_in;
}

// The first file of a tokenizer that is not here; NULL: all are.
static const char *missing_file(Jobs *jobs, Value value)
{
    static const char *const item[] = {"vocab", "merges", "path"};
    for (size_t i = 0; i < COUNT_OF(item); i++) {
        const char *name = value_plain_text(record_item(jobs, value, item[i]));
        if (name && !find_data(jobs->cx, name))
            return name;
    }
    return NULL;
}

// Two places that ask for the same tokenizer get the same one.
static const aml_tokenizer *kept_pieces(Jobs *jobs, Span span, Value value, Sym kind)
{
    const char *shown = value_show(jobs->e, value);
    for (int i = 0; i < jobs->tokenizer.count; i++)
        if (strcmp(jobs->tokenizer.at[i].shown, shown) == 0)
            return jobs->tokenizer.at[i].tokenizer;
    const char *missing = jobs->cx->without_data ? missing_file(jobs, value) : NULL;
    const KeptTokenizer kept = {shown, missing ? stand_in_tokenizer(jobs, span, missing)
                                               : read_pieces(jobs, span, value, kind)};
    vec_push(jobs->arena, &jobs->tokenizer, kept);
    return kept.tokenizer;
}

const aml_tokenizer *tokenizer_of(Jobs *jobs, Span span, Value value, bool *is_one)
{
    static const char *const of_files[] = {"bpe", "wordpiece", "json"};
    Sym kind = value_word(record_item(jobs, value, "tokenizer"));
    *is_one = true;
    if (kind && strcmp(kind, "bytes") == 0) {
        static const aml_tokenizer bytes = {.kind = AML_TOKENIZER_BYTES, .vocab = 256};
        return &bytes;
    }
    for (size_t i = 0; kind && i < COUNT_OF(of_files); i++)
        if (strcmp(kind, of_files[i]) == 0)
            return kept_pieces(jobs, span, value, kind);
    *is_one = false;
    return NULL;
}

// The tokenizer that a text source asks for. NULL after a report.
static const aml_tokenizer *read_tokenizer(Jobs *jobs, const Setting *setting, Value source)
{
    Value value = record_item(jobs, source, "tokenizer");
    Sym kind = value_word(record_item(jobs, value, "tokenizer"));
    Value path = record_item(jobs, source, "path");
    bool is_one;
    const aml_tokenizer *found = tokenizer_of(jobs, setting->span, value, &is_one);
    if (is_one)
        return found;
    if (!kind || strcmp(kind, "characters") != 0 || !value_is(path, VALUE_TEXT)) {
        bool named = value_is(path, VALUE_TEXT);
        if (!value_is(value, VALUE_POISON) && !value_is(path, VALUE_POISON))
            report(jobs->cx, setting->span, setting_type, named ? "tokenizer" : "text",
                   named ? "characters(), bytes(), bpe(...), wordpiece(...) or tokenizer_json(...)"
                         : "the path of a text",
                   value_what(jobs->e, named ? value : path));
        return NULL;
    }
    aml_tokenizer *tokenizer = NEW(jobs->arena, aml_tokenizer);
    return read_characters(jobs, path, setting->span, tokenizer) ? tokenizer : NULL;
}

const aml_tokenizer *text_tokenizer(Jobs *jobs, Node *dataset)
{
    for (int i = 0; i < jobs->text.count; i++)
        if (jobs->text.at[i].node == dataset)
            return jobs->text.at[i].tokenizer;
    Setting setting = setting_of(jobs, dataset, "source");
    Value source = setting_eval(jobs, &setting, "source");
    Sym kind = value_word(record_item(jobs, source, "source"));
    TextBlock block = {dataset, NULL};
    bool several = false;
    if (kind && strcmp(kind, "text") == 0)
        block.tokenizer = read_tokenizer(jobs, &setting, source);
    else if (kind && (strcmp(kind, "csv") == 0 || strcmp(kind, "texts") == 0 ||
                      strcmp(kind, "jsonl") == 0 || strcmp(kind, "shards") == 0))
        block.tokenizer = field_tokenizer(jobs, dataset, &several);
    if (several) {
        report(jobs->cx, setting.span, several_vocabs, dataset->as.job.name);
        block.tokenizer = NULL;
    }
    vec_push(jobs->arena, &jobs->text, block);
    return block.tokenizer;
}

Value text_member(Elab *e, Node *job, Sym part, Span span)
{
    Jobs *jobs = e->job_data;
    if (strcmp(job->as.job.kind, "dataset") != 0 || strcmp(part, "vocab") != 0)
        return (Value){.kind = VALUE_JOB, .as.job = {job, part}};
    int errors = diag_errors(e->cx);
    const aml_tokenizer *tokenizer = text_tokenizer(jobs, job);
    if (tokenizer)
        return value_int(tokenizer->vocab);
    if (diag_errors(e->cx) == errors)
        report(e->cx, elab_span(e, span), no_vocab, job->as.job.name);
    return value_poison();
}

bool text_field(Jobs *jobs, const Node *field, const TypeValue *type, int64_t window,
                const aml_tokenizer *tokenizer)
{
    if (type->classes == tokenizer->vocab && type->rank == 1 && type->dim[0] == window)
        return true;
    const Node *stated = field->as.data.type;
    report(jobs->cx, stated->span, text_field, field->as.data.name,
           arena_printf(jobs->arena, "class(vocab)[%lld]", (long long)window),
           span_text(jobs, stated->span));
    note(jobs->cx, stated->span, "the vocabulary has %d tokens", tokenizer->vocab);
    return false;
}
