// Steps that cut a text into the pieces that the model sees. Each step gives its pieces to the next
// one; what a step rewrites is kept until its pieces are done.

#include "runtime/data/pieces.h"

#include <string.h>

typedef struct Split {
    amli_pieces *pieces;
    uint32_t next; // the step that goes on with a piece
    bool first;    // of the whole text, for a piece at the text's beginning
    const char *text;
} Split;

static void step_on(amli_pieces *pieces, uint32_t index, bool first, const char *text,
                    size_t length);

static void give(const Split *split, size_t begin, size_t end)
{
    if (end > begin)
        step_on(split->pieces, split->next, split->first && begin == 0, split->text + begin,
                end - begin);
}

// Text between separators and the separators themselves, in their order, as `how` says.
typedef struct Cutter {
    const Split *split;
    aml_separator how;
    size_t begin, end; // held back: it may be joined with what follows
    bool holds, is_separator;
} Cutter;

static void flush(Cutter *cutter)
{
    if (cutter->holds)
        give(cutter->split, cutter->begin, cutter->end);
    cutter->holds = false;
}

static void cut(Cutter *cutter, size_t begin, size_t end, bool is_separator)
{
    if (begin == end)
        return;
    bool joins = false;
    switch (cutter->how) {
    case AML_SEPARATOR_REMOVED:
        if (!is_separator)
            give(cutter->split, begin, end);
        return;
    case AML_SEPARATOR_ISOLATED:
        give(cutter->split, begin, end);
        return;
    case AML_SEPARATOR_PREVIOUS:
        joins = cutter->holds && is_separator && !cutter->is_separator;
        break;
    case AML_SEPARATOR_NEXT:
        joins = cutter->holds && !is_separator && cutter->is_separator;
        break;
    case AML_SEPARATOR_CONTIGUOUS:
        joins = cutter->holds && is_separator == cutter->is_separator;
        break;
    }
    if (joins) {
        cutter->end = end;
        cutter->is_separator = is_separator;
        return;
    }
    flush(cutter);
    cutter->begin = begin;
    cutter->end = end;
    cutter->is_separator = is_separator;
    cutter->holds = true;
}

static void by_pattern(const Split *split, const aml_step *step, void *pattern, size_t length)
{
    amli_pieces *pieces = split->pieces;
    const char *literal = amli_section_text(pieces, step->a);
    Cutter cutter = {.split = split, .how = (aml_separator)step->how};
    bool inverted = step->flags & 1;
    size_t from = 0;
    for (size_t at = 0; at < length;) {
        size_t begin, end;
        if (pattern) {
            if (!pieces->tokenizer->pattern->next(pattern, split->text, length, at, &begin, &end,
                                                  &pieces->pattern_failed))
                break;
        } else {
            const char *found = memmem(split->text + at, length - at, literal, step->a.count);
            if (!found || step->a.count == 0)
                break;
            begin = (size_t)(found - split->text);
            end = begin + step->a.count;
        }
        cut(&cutter, from, begin, inverted);
        cut(&cutter, begin, end, !inverted);
        from = end;
        at = end > begin ? end : end + 1;
    }
    cut(&cutter, from, length, inverted);
    flush(&cutter);
}

// Runs of characters of the same kind. Kind 0 is white space, which is removed where `removes`.
static void by_kind(const Split *split, size_t length,
                    int (*kind)(const amli_token_unicode *unicode, uint32_t code),
                    const bool alone[], bool removes)
{
    const amli_token_unicode *unicode = split->pieces->tokenizer->unicode;
    size_t begin = 0;
    int before = -1;
    for (size_t at = 0; at < length;) {
        size_t start = at;
        int of = kind(unicode, amli_next_code(split->text, length, &at));
        if (before >= 0 && (of != before || alone[of])) {
            if (before > 0 || !removes)
                give(split, begin, start);
            begin = start;
        }
        before = of;
    }
    if (before > 0 || (before == 0 && !removes))
        give(split, begin, length);
}

static int kind_words(const amli_token_unicode *unicode, uint32_t code)
{
    return aml_is_space(code) ? 0 : unicode->is_word(code) ? 1 : 2;
}

static int kind_space(const amli_token_unicode *unicode, uint32_t code)
{
    (void)unicode;
    return !aml_is_space(code);
}

static int kind_bert(const amli_token_unicode *unicode, uint32_t code)
{
    return aml_is_space(code) ? 0 : unicode->is_punctuation(code) ? 2 : 1;
}

static void by_character(const Split *split, const aml_step *step, size_t length,
                         bool (*is)(uint32_t code))
{
    Cutter cutter = {.split = split, .how = (aml_separator)step->how};
    for (size_t at = 0; at < length;) {
        size_t begin = at;
        cut(&cutter, begin, at, false);
        bool found = is(amli_next_code(split->text, length, &at));
        size_t end = at;
        while (!found && at < length && !(found = is(amli_next_code(split->text, length, &at))))
            end = at;
        if (found && begin < end && at > end) { // ordinary text, then a separator
            cut(&cutter, begin, end, false);
            cut(&cutter, end, at, true);
        } else {
            cut(&cutter, begin, at, found);
        }
    }
    flush(&cutter);
}

// Spaces become the mark; it is put in front; each mark begins a piece.
static void metaspace(const Split *split, const aml_step *step, size_t length)
{
    amli_pieces *pieces = split->pieces;
    amli_buffer *to = &pieces->rewritten[split->next - 1];
    const char *mark = amli_section_text(pieces, step->a);
    to->length = 0;
    for (size_t at = 0; at < length; at++)
        if (split->text[at] == ' ')
            amli_buffer_add(to, mark, step->a.count);
        else
            amli_buffer_add(to, split->text + at, 1);
    bool wants = (step->flags & 1) || ((step->flags & 2) && split->first);
    if (!to->failed && wants &&
        (to->length < step->a.count || memcmp(to->text, mark, step->a.count) != 0)) {
        amli_buffer_add(to, mark, step->a.count);
        if (!to->failed) {
            memmove(to->text + step->a.count, to->text, to->length - step->a.count);
            memcpy(to->text, mark, step->a.count);
        }
    }
    if (to->failed) {
        amli_buffer_free(to);
        *to = (amli_buffer){0};
        pieces->failed = true;
        return;
    }
    Split inner = {pieces, split->next, split->first, to->text};
    const aml_step by_mark = {.a = step->a, .how = AML_SEPARATOR_NEXT};
    if (step->flags & 4)
        by_pattern(&inner, &by_mark, NULL, to->length);
    else
        give(&inner, 0, to->length);
}

static void prefix_space(const Split *split, size_t length)
{
    amli_pieces *pieces = split->pieces;
    amli_buffer *to = &pieces->rewritten[split->next - 1];
    if (length == 0 || split->text[0] == ' ') {
        give(split, 0, length);
        return;
    }
    to->length = 0;
    amli_buffer_add(to, " ", 1);
    amli_buffer_add(to, split->text, length);
    if (to->failed) {
        amli_buffer_free(to);
        *to = (amli_buffer){0};
        pieces->failed = true;
        return;
    }
    Split inner = {pieces, split->next, split->first, to->text};
    give(&inner, 0, to->length);
}

static void step_on(amli_pieces *pieces, uint32_t index, bool first, const char *text,
                    size_t length)
{
    aml_section steps = pieces->head->split;
    if (index == steps.count) {
        amli_pieces_piece(pieces, text, length);
        return;
    }
    static const bool none[3] = {false}, punctuation[3] = {false, false, true};
    const aml_step *step = (const aml_step *)aml_vocabulary_at(pieces->head, steps) + index;
    const Split split = {pieces, index + 1, first, text};
    switch ((aml_step_kind)step->kind) {
    case AML_STEP_PREFIX_SPACE:
        prefix_space(&split, length);
        break;
    case AML_STEP_REGEX:
        by_pattern(&split, step, pieces->split_pattern[index], length);
        break;
    case AML_STEP_LITERAL:
        by_pattern(&split, step, NULL, length);
        break;
    case AML_STEP_WORDS:
        by_kind(&split, length, kind_words, none, true);
        break;
    case AML_STEP_WHITE_SPACE:
        by_kind(&split, length, kind_space, none, true);
        break;
    case AML_STEP_BERT_WORDS:
        by_kind(&split, length, kind_bert, punctuation, true);
        break;
    case AML_STEP_METASPACE:
        metaspace(&split, step, length);
        break;
    case AML_STEP_DIGITS:
        by_character(&split, step, length, pieces->tokenizer->unicode->is_numeric);
        break;
    case AML_STEP_PUNCTUATION:
        by_character(&split, step, length, pieces->tokenizer->unicode->is_punctuation);
        break;
    case AML_STEP_NFC:
    case AML_STEP_NFD:
    case AML_STEP_NFKC:
    case AML_STEP_NFKD:
    case AML_STEP_LOWERCASE:
    case AML_STEP_STRIP_ACCENTS:
    case AML_STEP_BERT:
    case AML_STEP_REPLACE:
    case AML_STEP_PREPEND:
    case AML_STEP_STRIP:
    case AML_STEP_CHARSMAP:
    case AML_STEP_KINDS:
        give(&split, 0, length);
        break;
    }
}

void amli_split_text(amli_pieces *pieces, const char *text, size_t length)
{
    step_on(pieces, 0, pieces->first, text, length);
}
