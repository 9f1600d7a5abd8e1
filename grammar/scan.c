// scan.c: what the rules of aml.l do.

#include "scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static Span here(const ParseState *ps)
{
    return (Span){ps->file, ps->start, ps->at};
}

int scan_token(ParseState *ps, Token *token, int kind)
{
    int column = (int)(ps->start - ps->line_start);
    *token = (Token){.kind = kind, .value = token->value, .first = ps->newline, .column = column};
    token->loc = (Loc){.start = ps->start, .end = ps->at};
    if (ps->has_doc) {
        token->loc.doc = sym_of(ps->cx, ps->doc.text);
        ps->has_doc = false;
    }
    ps->newline = false;
    ps->after_dot = kind == '.';
    return kind;
}

// The bytes of a letter of Latin, Greek, Cyrillic, ... or Chinese, Japanese, Korean script at the
// front of text; 0 if there is none. Approximate, by blocks of Unicode: what it takes is refused
// all the same.
static size_t foreign_letter(const char *text)
{
    unsigned char lead = (unsigned char)text[0];
    size_t bytes = lead >= 0xC3 && lead <= 0xDF ? 2 : lead >= 0xE3 && lead <= 0xED ? 3 : 0;
    for (size_t i = 1; i < bytes; i++)
        if (((unsigned char)text[i] & 0xC0) != 0x80)
            return 0;
    bool sign = bytes > 0 && (memcmp(text, "\xC3\x97", 2) == 0 ||
                              memcmp(text, "\xC3\xB7", 2) == 0 || memcmp(text, "\xE3\x80", 2) == 0);
    return sign ? 0 : bytes;
}

size_t scan_letters(const char *text)
{
    size_t at = 0, bytes;
    do {
        bool plain = isalnum((unsigned char)text[at]) || text[at] == '_';
        bytes = plain ? 1 : foreign_letter(text + at);
        at += bytes;
    } while (bytes > 0);
    return at;
}

int scan_word(ParseState *ps, Token *token, const char *text, size_t length)
{
    if (length > LONGEST_NAME) {
        report(ps->cx, here(ps), name_too_long, LONGEST_NAME, (int)length);
        parse_mistake(ps);
        length = LONGEST_NAME;
    }
    Sym word = sym_intern(ps->cx, text, length);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0x80) {
            report(ps->cx, here(ps), foreign_letter, word);
            help(ps->cx, "a name is made of the letters a to z and A to Z, digits and `_`");
            parse_mistake(ps);
            break;
        }
    token->value.sym = word;
#define KEYWORD(token_kind, keyword, meaning)                                                      \
    if (length == sizeof keyword - 1 && memcmp(word, keyword, sizeof keyword - 1) == 0)            \
        return scan_token(ps, token, token_kind);
#include "keywords.def"
    return scan_token(ps, token, IDENT);
}

static int count_digits(const char *text)
{
    int count = 0;
    while (isdigit((unsigned char)text[count]) || (count > 0 && text[count] == '_'))
        count++;
    return count;
}

// The number at the front of text, as strtod and strtoll want it: without `_`.
static int number_length(const char *text, bool *is_whole)
{
    int length = count_digits(text);
    *is_whole = true;
    if (text[length] == '.' && isdigit((unsigned char)text[length + 1])) {
        length += 1 + count_digits(text + length + 1);
        *is_whole = false;
    }
    if (text[length] == 'e' || text[length] == 'E') {
        int sign = text[length + 1] == '+' || text[length + 1] == '-';
        int digits = count_digits(text + length + 1 + sign);
        if (digits > 0) {
            length += 1 + sign + digits;
            *is_whole = false;
        }
    }
    return length;
}

static void read_number(ParseState *ps, NumberToken *number, const char *text, int length)
{
    char *plain = arena_alloc(ps->cx->scratch, (size_t)length + 1);
    int count = 0;
    for (int i = 0; i < length; i++)
        if (text[i] != '_')
            plain[count++] = text[i];
    errno = 0;
    number->real = strtod(plain, NULL);
    bool overflow = number->real > 1.7976931348623157e308;
    if (number->is_whole) {
        errno = 0;
        number->whole = strtoll(plain, NULL, 10);
        overflow = errno == ERANGE;
    }
    if (overflow) {
        Span span = {ps->file, ps->start, ps->start + (uint32_t)length};
        report(ps->cx, span, number_too_large, length > 40 ? "here" : plain,
               number->is_whole ? "64 bits (at most 9223372036854775807)"
                                : "a double (at most 1.8e308)");
        parse_mistake(ps);
        number->is_bad = true;
    }
}

int scan_number(ParseState *ps, Token *token, const char *text, int *length)
{
    unsigned char before = ps->start > 0 ? (unsigned char)ps->source->text[ps->start - 1] : ' ';
    if (text[0] == '.' && (isalnum(before) || before == '_' || before == ')' || before == ']')) {
        *length = 1; // `layers.0`: a member, not `.0`
        return '.';
    }
    NumberToken number = {0};
    int digits = ps->after_dot ? count_digits(text) : number_length(text, &number.is_whole);
    if (ps->after_dot)
        number.is_whole = true;
    read_number(ps, &number, text, digits);
    if (digits < *length && !ps->after_dot) {
        int word = *length - digits;
        if (unit_known(text + digits, (size_t)word)) {
            number.unit = sym_intern(ps->cx, text + digits, (size_t)word);
            digits = *length;
        } else {
            Loc loc = {ps->start + (uint32_t)digits, ps->start + (uint32_t)*length, NULL};
            report_unknown_unit(ps, loc,
                                sym_intern(ps->cx, text + digits, (size_t)(word < 80 ? word : 80)));
            digits = *length;
            number.is_bad = true;
        }
    }
    token->value.number = number;
    *length = digits;
    return NUMBER;
}

int scan_bad_number(ParseState *ps, Token *token, const char *text)
{
    report(ps->cx, here(ps), bad_number,
           ps->at - ps->start > 40 ? "this" : arena_printf(ps->cx->scratch, "'%s'", text));
    help(ps->cx, "an exponent needs digits: 1e-3");
    parse_mistake(ps);
    token->value.number = (NumberToken){.is_bad = true};
    return scan_token(ps, token, NUMBER);
}

// ---- strings

static void append_code_point(Buffer *out, uint32_t code)
{
    char bytes[4];
    size_t length;
    if (code < 0x80) {
        bytes[0] = (char)code;
        length = 1;
    } else if (code < 0x800) {
        bytes[0] = (char)(0xC0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 0x3F));
        length = 2;
    } else if (code < 0x10000) {
        bytes[0] = (char)(0xE0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (code & 0x3F));
        length = 3;
    } else {
        bytes[0] = (char)(0xF0 | code >> 18);
        bytes[1] = (char)(0x80 | (code >> 12 & 0x3F));
        bytes[2] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[3] = (char)(0x80 | (code & 0x3F));
        length = 4;
    }
    buffer_append(out, bytes, length);
}

// `\u{1F600}` at text. Its length, or 0.
static size_t read_code_point(const char *text, size_t left, uint32_t *code)
{
    if (left < 5 || text[2] != '{')
        return 0;
    size_t at = 3;
    uint32_t value = 0;
    for (; at < left && at < 9 && isxdigit((unsigned char)text[at]); at++)
        value =
            value * 16 + (uint32_t)(isdigit((unsigned char)text[at]) ? text[at] - '0'
                                                                     : (text[at] | 32) - 'a' + 10);
    if (at == 3 || at >= left || text[at] != '}' || value == 0 || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000))
        return 0;
    *code = value;
    return at + 1;
}

int scan_string(ParseState *ps, Token *token, const char *text, size_t length, bool closed)
{
    Buffer out = {.arena = ps->cx->scratch};
    buffer_text(&out, "");
    if (!closed) {
        while (length > 0 && text[length - 1] == '\r')
            length--;
        Span span = {ps->file, ps->start, ps->start + (uint32_t)length};
        report(ps->cx, span, unterminated_string);
        parse_mistake(ps);
    }
    size_t end = closed ? length - 1 : length;
    for (size_t i = 1; i < end; i++) {
        if (text[i] != '\\') {
            buffer_append(&out, text + i, 1);
            continue;
        }
        static const char known[] = "n\nt\tr\r\"\"\\\\"; // pairs: what is written, what it means
        const char *pair = NULL;
        for (size_t k = 0; k + 1 < sizeof known; k += 2)
            if (i + 1 < end && known[k] == text[i + 1])
                pair = known + k;
        uint32_t code = 0;
        size_t wide =
            i + 1 < end && text[i + 1] == 'u' ? read_code_point(text + i, end - i, &code) : 0;
        if (pair) {
            buffer_append(&out, pair + 1, 1);
            i++;
        } else if (wide > 0) {
            append_code_point(&out, code);
            i += wide - 1;
        } else if (closed) {
            size_t shown = 2;
            while (i + shown < end && ((unsigned char)text[i + shown] & 0xC0) == 0x80)
                shown++;
            Span span = {ps->file, ps->start + (uint32_t)i, ps->start + (uint32_t)(i + shown)};
            report(ps->cx, span, bad_escape, arena_text(ps->cx->scratch, text + i, shown));
            parse_mistake(ps);
            i += shown - 1;
        }
    }
    token->value.sym = sym_of(ps->cx, out.text);
    return scan_token(ps, token, STRING);
}

// ---- what is not a token

void scan_newline(ParseState *ps)
{
    ps->newline = true;
    ps->line_start = ps->at;
}

void scan_comment(ParseState *ps, const char *text, size_t length)
{
    while (length > 0 && (text[length - 1] == '\r' || text[length - 1] == ' '))
        length--;
    bool is_doc = length >= 3 && text[2] == '/' && (length == 3 || text[3] != '/');
    if (ps->comments) {
        Comment comment = {
            {ps->file, ps->start, ps->start + (uint32_t)length}, is_doc, ps->newline};
        vec_push(ps->cx->arena, ps->comments, comment);
    }
    if (!is_doc)
        return;
    if (!ps->has_doc)
        ps->doc = (Buffer){.arena = ps->cx->scratch};
    else
        buffer_text(&ps->doc, "\n");
    size_t skip = length > 3 && text[3] == ' ' ? 4 : 3;
    buffer_append(&ps->doc, text + skip, length - skip);
    ps->has_doc = true;
}

void scan_block_comment(ParseState *ps)
{
    report(ps->cx, here(ps), block_comment);
    parse_mistake(ps);
}

int scan_single_quotes(ParseState *ps, Token *token, const char *text, size_t length)
{
    report(ps->cx, here(ps), stray_character, "'");
    help(ps->cx, "strings are written in double quotes: \"text\"");
    parse_mistake(ps);
    token->value.sym = sym_intern(ps->cx, text + 1,
                                  length > 1 && text[length - 1] == '\'' ? length - 2 : length - 1);
    return scan_token(ps, token, STRING);
}

int scan_foreign(ParseState *ps, Token *token, int kind, const char *word)
{
    report(ps->cx, here(ps), stray_character,
           arena_text(ps->cx->scratch, ps->source->text + ps->start, ps->at - ps->start));
    help(ps->cx, "write `%s`", word);
    parse_mistake(ps);
    token->value.sym = sym_of(ps->cx, word);
    return scan_token(ps, token, kind);
}

void scan_stray(ParseState *ps, const char *text, size_t length)
{
    const char *shown = length > 24 ? "this text" : arena_text(ps->cx->scratch, text, length);
    report(ps->cx, here(ps), stray_character, shown);
    if (text[0] == ';')
        help(ps->cx, "a new line ends a statement");
    else if (memcmp(text, "\xE2\x80", length < 2 ? length : 2) == 0)
        help(ps->cx, "strings are written in plain double quotes: \"text\"");
    else if (text[0] == '^')
        help(ps->cx, "a power is written `**`");
    parse_mistake(ps);
}
