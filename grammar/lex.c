// lex.c: raw tokens to tokens.
//
// Three things that a scanner alone cannot do. A number and the unit behind it become one token.
// `(` and `[` that begin a line become tokens of their own, which never continue an expression. And
// after a mistake the text is skipped to the next item, by layout: items begin on a line of their
// own, not further right than the item in which the mistake is.
//
//     train t {
//       model: Mlp((        <- mistake in the item that begins in column 2
//         1, 2              <- further right: skipped
//       data: digits        <- column 2: RESYNC, and the parser goes on here; brackets are
//       forgotten
//     }

#include "parse.h"
#include "scan.h"

#include <ctype.h>
#include <string.h>

bool unit_known(const char *text, size_t length)
{
#define UNIT(name, kind, factor, meaning)                                                          \
    if (length == sizeof(name) - 1 && memcmp(text, name, length) == 0)                             \
        return true;
#include "keywords.def"
    return false;
}

static bool is_keyword(Sym word)
{
#define KEYWORD(token, text, meaning)                                                              \
    if (strcmp(word, text) == 0)                                                                   \
        return true;
#include "keywords.def"
    return false;
}

void report_unknown_unit(ParseState *ps, Loc loc, Sym word)
{
    static const char *const names[] = {
#define UNIT(name, kind, factor, meaning) name,
#include "keywords.def"
    };
    report(ps->cx, SPAN(loc), unknown_unit, word);
    const char *closest = closest_name(word, names, COUNT_OF(names));
    if (closest)
        help(ps->cx, "did you mean `%s`?", closest);
    else
        help(ps->cx, "a number may be followed by a unit (steps, epochs, s, min, h, %%, pp, KiB, "
                     "MiB, ...) or by nothing");
    parse_mistake(ps);
}

// The next raw token, with its unit if it is a number.
static Token fetch(ParseState *ps)
{
    Token token = {0};
    if (aml_scan_raw(&token, ps) == 0) {
        token.kind = AML_EOF;
        token.loc = (Loc){.start = ps->end, .end = ps->end};
        token.first = true;
        token.column = -1;
        return token;
    }
    if (token.kind != NUMBER || token.value.number.unit)
        return token;
    const char *text = ps->source->text + token.loc.end;
    size_t blanks = strspn(text, " \t"), word = 0;
    if (blanks == 0 && text[0] == '%')
        word = 1;
    while (blanks > 0 &&
           (isalnum((unsigned char)text[blanks + word]) || text[blanks + word] == '_'))
        word++;
    if (word == 0)
        return token;
    if (!unit_known(text + blanks, word)) {
        const char *behind = text + blanks + word;
        behind += strspn(behind, " \t");
        Sym name = sym_intern(ps->cx, text + blanks, word < LONGEST_NAME ? word : LONGEST_NAME);
        if (*behind == ':' || *behind == '=' || isdigit((unsigned char)text[blanks]) ||
            is_keyword(name))
            return token;
        uint32_t start = token.loc.end + (uint32_t)blanks;
        report_unknown_unit(ps, (Loc){start, start + (uint32_t)word, NULL}, name);
        Token dropped = {0};
        aml_scan_raw(&dropped, ps);
        token.value.number.is_bad = true;
        return token;
    }
    Token unit = {0};
    aml_scan_raw(&unit, ps);
    token.value.number.unit = sym_intern(ps->cx, text + blanks, word);
    token.loc.end = unit.loc.end;
    return token;
}

static bool is_open(int kind)
{
    return kind == '(' || kind == '[' || kind == '{';
}

static bool is_close(int kind)
{
    return kind == ')' || kind == ']' || kind == '}';
}

// `const b`, `use "file"`: a declaration's word has a name behind it on its line. Anywhere else it
// is a plain name.
static bool is_declaring(const ParseState *ps, const Token *token)
{
    const char *behind = ps->source->text + token->loc.end;
    behind += strspn(behind, " \t");
    size_t word = scan_letters(behind);
    if (word == 0)
        return token->kind == USE && *behind == '"';
    if (isdigit((unsigned char)*behind))
        return false;
#define KEYWORD(code, text, meaning)                                                               \
    if (code >= FN && code <= HOLE && strlen(text) == word && memcmp(behind, text, word) == 0)     \
        return token->first && token->kind != STATE && token->kind != GRAD;
#include "keywords.def"
    return true;
}

// No word is reserved before `:` (the name of a setting or an argument) and after `.` (a member).
// Inside `[ ]` a `:` is a slice's.
static bool is_plain_name(const ParseState *ps, const Token *token)
{
    if (ps->last.kind == '.')
        return true;
    const char *behind = ps->source->text + token->loc.end;
    if (behind[strspn(behind, " \t")] != ':' ||
        (ps->depth > 0 && ps->bracket.at[ps->depth - 1].open == '['))
        return false;
    return token->first || ps->last.kind == '(' || ps->last.kind == '{' || ps->last.kind == ',';
}

// `}` closes the nearest `{` with all that is open inside; a `)` or `]` that does not fit closes
// nothing.
static void close_bracket(ParseState *ps, int kind)
{
    char open = kind == ')' ? '(' : kind == ']' ? '[' : '{';
    int at = ps->depth - 1;
    while (at >= 0 && kind == '}' && ps->bracket.at[at].open != open)
        at--;
    if (at >= 0 && ps->bracket.at[at].open == open)
        ps->depth = at;
}

// Hands out a token: keeps the books of brackets and frames.
static int give(ParseState *ps, Token token, AML_STYPE *value, AML_LTYPE *loc)
{
    if (token.kind >= FN && token.kind <= HOLE && is_plain_name(ps, &token))
        token.kind = IDENT;
    if (token.kind >= USE && token.kind <= STATE &&
        (ps->last.kind == '.' || !is_declaring(ps, &token)))
        token.kind = IDENT;
    ps->before_last = ps->last.loc;
    ps->last = token;
    ps->last_depth = ps->depth;
    ps->last_line_column = ps->line_column;
    if (token.first)
        ps->line_column = token.column;
    *value = token.value;
    *loc = token.loc;
    if (is_open(token.kind)) {
        if (ps->depth >= DEEPEST_BRACKETS) {
            report(ps->cx, SPAN(token.loc), nested_too_deeply, DEEPEST_BRACKETS);
            ps->gave_up = true;
            return AML_EOF;
        }
        if (ps->depth == ps->bracket.count)
            vec_push(ps->cx->arena, &ps->bracket, (Bracket){0});
        ps->bracket.at[ps->depth++] = (Bracket){(char)token.kind, token.loc};
    } else if (is_close(token.kind)) {
        close_bracket(ps, token.kind);
        if (ps->frame.count > 0 && ps->depth < ps->frame.at[ps->frame.count - 1].depth)
            ps->frame.count--;
    }
    if (token.first && token.kind == '(')
        return LINE_PAREN;
    if (token.first && token.kind == '[')
        return LINE_BRACKET;
    return token.kind;
}

void lex_open_frame(ParseState *ps)
{
    Frame frame = {ps->depth, ps->line_column, -1, false};
    vec_push(ps->cx->arena, &ps->frame, frame);
}

void lex_recover(ParseState *ps)
{
    ps->recovering = true;
}

// Skips from the last token on to where the parser can begin anew, which is left in `held`.
static void skip_to_item(ParseState *ps)
{
    bool in_frame = ps->frame.count > 0;
    int depth = ps->last_depth, block = in_frame ? ps->frame.at[ps->frame.count - 1].depth : 0;
    // the last token may have closed its frame: then the books still have the outer one, and so has
    // the parser
    int column = ps->last.first && depth == block ? ps->last.column : ps->last_line_column;
    int header = in_frame ? ps->frame.at[ps->frame.count - 1].column : -1;
    if (!in_frame)
        column = 0;
    else if (column <= header)
        column = header + 1;
    Token token = ps->last;
    bool must_move = token.loc.start == ps->synced_at && token.kind != AML_EOF;
    for (;; token = fetch(ps), must_move = false) {
        if (token.kind == AML_EOF)
            break;
        if (!must_move && in_frame && token.kind == '}' &&
            (depth <= block || (token.first && token.column <= header)))
            break;
        bool starts = token.first && token.column <= column && !is_close(token.kind);
        if (!must_move && starts &&
            (in_frame || token.kind == IDENT || token.kind >= FN || depth == 0))
            break;
        if (is_open(token.kind))
            depth++;
        else if (is_close(token.kind) && depth > block)
            depth--;
    }
    ps->depth = block;
    ps->held = token;
    ps->has_held = true;
    ps->synced_at = token.loc.start;
    // what begins at or left of the line that opened the block is not in the block: the block was
    // never closed
    for (int i = ps->frame.count - 1;
         i >= 0 && token.kind != '}' && token.column <= ps->frame.at[i].column; i--)
        ps->closers++;
}

// Whether the line reads like `model Name`, `fn name`, `KIND NAME {`.
static bool begins_declaration(const ParseState *ps, const Token *token)
{
    const char *behind = ps->source->text + token->loc.end;
    size_t blanks = strspn(behind, " \t");
    if (blanks == 0)
        return false;
    behind += blanks;
    size_t word = scan_letters(behind);
    if (token->kind == FN || (token->kind >= USE && token->kind <= SCHEMA))
        return word > 0 || (token->kind == USE && *behind == '"');
    return token->kind == IDENT && word > 0 && behind[word + strspn(behind + word, " \t")] == '{';
}

int aml_lex(AML_STYPE *value, AML_LTYPE *loc, ParseState *ps)
{
    if (ps->gave_up) {
        *loc = ps->last.loc;
        return AML_EOF;
    }
    if (ps->recovering) {
        ps->recovering = false;
        skip_to_item(ps);
        *loc = (Loc){.start = ps->held.loc.start, .end = ps->held.loc.start};
        return RESYNC;
    }
    if (ps->closers > 0) {
        ps->closers--;
        Token closer = {.kind = '}',
                        .loc = {.start = ps->held.loc.start, .end = ps->held.loc.start},
                        .column = -1};
        int column = ps->line_column;
        int kind = give(ps, closer, value, loc);
        ps->line_column = column;
        return kind;
    }
    if (ps->has_held) {
        ps->has_held = false;
        return give(ps, ps->held, value, loc);
    }
    Token token = fetch(ps);
    Frame *frame = ps->frame.count > 0 ? &ps->frame.at[ps->frame.count - 1] : NULL;
    if (frame && frame->begun && frame->item_column > 0 && token.first && token.column == 0 &&
        ps->depth == frame->depth && begins_declaration(ps, &token)) {
        report_unclosed(ps, &token, ps->depth);
        parse_mistake(ps);
        ps->closers = ps->frame.count;
        ps->held = token;
        ps->has_held = true;
        return aml_lex(value, loc, ps);
    }
    if (frame && !frame->begun) {
        frame->begun = true;
        frame->item_column = token.first ? token.column : -1;
    }
    return give(ps, token, value, loc);
}

const char *token_found(const ParseState *ps, const Token *token)
{
    Arena *scratch = ps->cx->scratch;
    size_t length = token->loc.end - token->loc.start;
    const char *text = ps->source->text + token->loc.start;
    if (token->kind == AML_EOF)
        return "the end of the file";
    if (length == 0)
        return "the end of the block";
    const char *what = token->kind == IDENT    ? "the name "
                       : token->kind == NUMBER ? "the number "
                       : token->kind == STRING ? "the string "
                                               : "";
    if (length > 40)
        return arena_printf(scratch, "%s`%.*s...`", what, 32, text);
    return arena_printf(scratch, "%s`%.*s`", what, (int)length, text);
}
