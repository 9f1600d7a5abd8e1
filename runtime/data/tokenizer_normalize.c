// Steps that change a text before it is split: Unicode's forms, letter case, accents, replacements.
//
// A step reads one buffer and writes the other. Text in ASCII, which most steps leave as it is or
// change byte by byte, does not go through code points.

#include "runtime/data/pieces.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static int category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

static bool is_mark(uint32_t code)
{
    int of = category(code);
    return of == UTF8PROC_CATEGORY_MN || of == UTF8PROC_CATEGORY_MC || of == UTF8PROC_CATEGORY_ME;
}

static bool is_punctuation(uint32_t code)
{
    if (code < 0x80)
        return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) ||
               (code >= 91 && code <= 96) || (code >= 123 && code <= 126);
    int of = category(code);
    return of >= UTF8PROC_CATEGORY_PC && of <= UTF8PROC_CATEGORY_PO;
}

// \w of Unicode's technical standard 18: letters, marks, digits, connectors, joiners.
static bool is_word(uint32_t code)
{
    if (code < 0x80)
        return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || code == '_' ||
               (code >= 'a' && code <= 'z');
    int of = category(code);
    return (of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_NL) ||
           of == UTF8PROC_CATEGORY_PC || code == 0x200C || code == 0x200D ||
           (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
           (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
}

static bool is_numeric(uint32_t code)
{
    if (code < 0x80)
        return code >= '0' && code <= '9';
    int of = category(code);
    return of >= UTF8PROC_CATEGORY_ND && of <= UTF8PROC_CATEGORY_NO;
}

// CJK ideographs, which are words by themselves.
static bool is_ideograph(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
           (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

static void put(amli_buffer *to, uint32_t code)
{
    char text[4];
    amli_buffer_add(to, text, aml_utf8_write(code, text));
}

static void put_lower(amli_buffer *to, uint32_t code)
{
    if (code == 0x130) // the one letter whose small form is two code points
        amli_buffer_add(to, "i\xCC\x87", 3);
    else
        put(to, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
}

static bool is_ascii(const char *text, size_t length)
{
    uint64_t seen = 0, word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        seen |= word;
    }
    for (; length > 0; text++, length--)
        seen |= (unsigned char)*text;
    return (seen & 0x8080808080808080u) == 0;
}

// Code points of a text, decomposed and in canonical order, composed again if asked for.
static size_t forms(amli_pieces *pieces, const char *text, size_t length, int options)
{
    bool composes = options & UTF8PROC_COMPOSE;
    int decompose = (options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE;
    for (;;) {
        utf8proc_ssize_t count = utf8proc_decompose(
            (const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, pieces->code,
            (utf8proc_ssize_t)pieces->codes, (utf8proc_option_t)decompose);
        if (count < 0) {
            pieces->failed = true;
            return 0;
        }
        if ((size_t)count <= pieces->codes)
            return composes ? (size_t)utf8proc_normalize_utf32(
                                  pieces->code, count,
                                  (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE))
                            : (size_t)count;
        size_t room = (size_t)count + 64;
        int32_t *more = realloc(pieces->code, room * sizeof *more);
        if (!more) {
            pieces->failed = true;
            return 0;
        }
        pieces->code = more;
        pieces->codes = room;
    }
}

static void unicode_form(amli_pieces *pieces, uint32_t kind, const char *text, size_t length,
                         amli_buffer *to)
{
    int options = UTF8PROC_STABLE;
    if (kind == AML_STEP_NFKC || kind == AML_STEP_NFKD)
        options |= UTF8PROC_COMPAT;
    if (kind == AML_STEP_NFC || kind == AML_STEP_NFKC)
        options |= UTF8PROC_COMPOSE;
    size_t count = forms(pieces, text, length, options);
    for (size_t i = 0; i < count; i++)
        put(to, (uint32_t)pieces->code[i]);
}

// What BERT does: control characters go, all white space becomes a space, ideographs stand alone,
// accents go, letters become small.
static void bert_character(uint32_t code, uint32_t flags, amli_buffer *to)
{
    int of = category(code);
    if (flags & AML_BERT_CLEAN) {
        bool white = code == '\t' || code == '\n' || code == '\r';
        bool other = of == UTF8PROC_CATEGORY_CC || of == UTF8PROC_CATEGORY_CF ||
                     of == UTF8PROC_CATEGORY_CO || of == UTF8PROC_CATEGORY_CS;
        if (code == 0xFFFD || (other && !white))
            return;
        if (aml_is_space(code))
            code = ' ';
    }
    bool alone = (flags & AML_BERT_CJK) && is_ideograph(code);
    if (alone)
        amli_buffer_add(to, " ", 1);
    put(to, code);
    if (alone)
        amli_buffer_add(to, " ", 1);
}

static void bert(amli_pieces *pieces, uint32_t flags, const char *text, size_t length,
                 amli_buffer *to)
{
    if (is_ascii(text, length)) {
        for (size_t i = 0; i < length; i++) {
            unsigned char c = (unsigned char)text[i];
            if (flags & AML_BERT_CLEAN) {
                bool white = c == '\t' || c == '\n' || c == '\r';
                if ((c < ' ' && !white) || c == 127)
                    continue;
                c = white ? ' ' : c;
            }
            if ((flags & AML_BERT_LOWER) && c >= 'A' && c <= 'Z')
                c = (unsigned char)(c + 32);
            amli_buffer_add(to, (const char *)&c, 1);
        }
        return;
    }
    for (size_t at = 0; at < length;)
        bert_character(amli_next_code(text, length, &at), flags, to);
    if (!(flags & (AML_BERT_ACCENTS | AML_BERT_LOWER)) || to->failed || to->length == 0)
        return;
    if (!(flags & AML_BERT_ACCENTS)) { // letter by letter
        amli_buffer lower = {0}, before = *to;
        for (size_t at = 0; at < to->length;)
            put_lower(&lower, amli_next_code(to->text, to->length, &at));
        *to = lower;
        amli_buffer_free(&before);
        return;
    }
    // the same buffer again: its text is read into code points first
    size_t count = forms(pieces, to->text, to->length, UTF8PROC_STABLE);
    to->length = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t code = (uint32_t)pieces->code[i];
        if (category(code) == UTF8PROC_CATEGORY_MN)
            continue;
        if (flags & AML_BERT_LOWER)
            put_lower(to, code);
        else
            put(to, code);
    }
}

static void replace(amli_pieces *pieces, const aml_step *step, void *pattern, const char *text,
                    size_t length, amli_buffer *to)
{
    const char *a = amli_section_text(pieces, step->a), *b = amli_section_text(pieces, step->b);
    size_t at = 0, from = 0;
    while (at <= length) {
        size_t begin, end;
        if (pattern) {
            if (!pieces->tokenizer->pattern->next(pattern, text, length, at, &begin, &end,
                                                  &pieces->pattern_failed))
                break;
        } else {
            const char *found = step->a.count && length > at
                                    ? memmem(text + at, length - at, a, step->a.count)
                                    : NULL;
            if (!found)
                break;
            begin = (size_t)(found - text);
            end = begin + step->a.count;
        }
        amli_buffer_add(to, text + from, begin - from);
        amli_buffer_add(to, b, step->b.count);
        from = end;
        at = end > begin ? end : end + 1;
    }
    amli_buffer_add(to, text + from, length - from);
}

static void strip(amli_pieces *pieces, const aml_step *step, const char *text, size_t length,
                  amli_buffer *to)
{
    size_t begin = 0, end = length;
    while ((step->flags & 1) && begin < end) {
        size_t next = begin;
        if (!aml_is_space(amli_next_code(text, end, &next)))
            break;
        begin = next;
    }
    while ((step->flags & 2) && end > begin) {
        size_t last = end - 1, next;
        while (last > begin && ((unsigned char)text[last] & 0xC0) == 0x80)
            last--;
        next = last;
        if (!aml_is_space(amli_next_code(text, end, &next)))
            break;
        end = last;
    }
    pieces->first = pieces->first && begin == 0; // what is left begins later in the text
    amli_buffer_add(to, text + begin, end - begin);
}

// ---- SentencePiece's table: a double array whose units hold offset, label and whether a value
// follows; values are places in a list of texts that end in NUL.

static const char *mapped(const amli_pieces *pieces, const char *text, size_t length)
{
    const aml_vocabulary *head = pieces->head;
    const uint32_t *unit = aml_vocabulary_at(head, head->map);
    uint32_t count = head->map.count, at = 0;
    if (count == 0)
        return NULL;
    at ^= (unit[0] >> 10) << ((unit[0] & 0x200) >> 6);
    for (size_t i = 0; i < length && text[i]; i++) {
        at ^= (unsigned char)text[i];
        if (at >= count || (unit[at] & 0x800000FF) != (unsigned char)text[i])
            return NULL;
        uint32_t of = unit[at];
        at ^= (of >> 10) << ((of & 0x200) >> 6);
        if (of >> 8 & 1) {
            uint32_t value = at < count ? unit[at] & 0x7FFFFFFF : UINT32_MAX;
            return value < head->map_text.count ? amli_section_text(pieces, head->map_text) + value
                                                : NULL;
        }
    }
    return NULL;
}

static void charsmap(amli_pieces *pieces, const char *text, size_t length, amli_buffer *to)
{
    for (size_t at = 0; at < length;) {
        size_t end = at, next;
        utf8proc_int32_t state = 0;
        uint32_t code = amli_next_code(text, length, &end);
        for (next = end; end < length; end = next) {
            uint32_t other = amli_next_code(text, length, &next);
            if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)code, (utf8proc_int32_t)other,
                                                 &state))
                break;
            code = other;
        }
        const char *whole = end - at < 6 ? mapped(pieces, text + at, end - at) : NULL;
        if (whole)
            amli_buffer_add(to, whole, strlen(whole));
        for (size_t i = at; !whole && i < end;) {
            size_t begin = i;
            amli_next_code(text, end, &i);
            const char *one = mapped(pieces, text + begin, i - begin);
            amli_buffer_add(to, one ? one : text + begin, one ? strlen(one) : i - begin);
        }
        at = end;
    }
}

static void lower(const char *text, size_t length, amli_buffer *to)
{
    for (size_t at = 0; at < length;)
        put_lower(to, amli_next_code(text, length, &at));
}

static void strip_accents(const char *text, size_t length, amli_buffer *to)
{
    for (size_t at = 0; at < length;) {
        uint32_t code = amli_next_code(text, length, &at);
        if (!is_mark(code))
            put(to, code);
    }
}

// False: the step leaves the text as it is.
static bool run(amli_pieces *pieces, const aml_step *step, void *pattern, const char *text,
                size_t length, amli_buffer *to)
{
    switch ((aml_step_kind)step->kind) {
    case AML_STEP_NFC:
    case AML_STEP_NFD:
    case AML_STEP_NFKC:
    case AML_STEP_NFKD:
        if (is_ascii(text, length))
            return false;
        unicode_form(pieces, step->kind, text, length, to);
        return true;
    case AML_STEP_LOWERCASE:
        lower(text, length, to);
        return true;
    case AML_STEP_STRIP_ACCENTS:
        if (is_ascii(text, length))
            return false;
        strip_accents(text, length, to);
        return true;
    case AML_STEP_BERT:
        bert(pieces, step->flags, text, length, to);
        return true;
    case AML_STEP_REPLACE:
        replace(pieces, step, pattern, text, length, to);
        return true;
    case AML_STEP_PREPEND:
        if (length == 0)
            return false;
        amli_buffer_add(to, amli_section_text(pieces, step->a), step->a.count);
        amli_buffer_add(to, text, length);
        return true;
    case AML_STEP_STRIP:
        strip(pieces, step, text, length, to);
        return true;
    case AML_STEP_CHARSMAP:
        charsmap(pieces, text, length, to);
        return true;
    case AML_STEP_PREFIX_SPACE:
    case AML_STEP_REGEX:
    case AML_STEP_LITERAL:
    case AML_STEP_WORDS:
    case AML_STEP_WHITE_SPACE:
    case AML_STEP_BERT_WORDS:
    case AML_STEP_METASPACE:
    case AML_STEP_DIGITS:
    case AML_STEP_PUNCTUATION:
    case AML_STEP_KINDS:
        break;
    }
    return false;
}

static void normalize(amli_pieces *pieces, const char **text, size_t *length)
{
    aml_section steps = pieces->head->normalize;
    const aml_step *step = aml_vocabulary_at(pieces->head, steps);
    int which = 0;
    for (uint32_t i = 0; i < steps.count; i++) {
        amli_buffer *to = &pieces->normalized[which];
        to->length = 0;
        if (!run(pieces, &step[i], pieces->normalize_pattern[i], *text, *length, to))
            continue;
        if (to->failed) {
            amli_buffer_free(to);
            *to = (amli_buffer){0};
            pieces->failed = true;
            return;
        }
        *text = to->text ? to->text : "";
        *length = to->length;
        which = !which;
    }
}

const amli_token_unicode amli_unicode_utf8proc = {normalize, is_punctuation, is_word, is_numeric};
