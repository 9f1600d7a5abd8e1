// Patterns of tokenizers, by PCRE2: \p{L}, look-ahead, and \s in Unicode's sense.

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aml/vocabulary.h"
#include "runtime/data/tokenizer.h"

typedef struct Pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} Pattern;

enum { JIT_STACK = 1 << 20, MOST_DEPTH = 1 << 20 };

// To PCRE2, U+180E (Mongolian vowel separator) is white space in \s, as it was before Unicode 6.3.
// Oniguruma and Rust's regex, for which the patterns in tokenizer files were written, have moved
// on, so \s and \S are written out: inside a class without the brackets.
#define SPACES                                                                                     \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

static char *written_out(const char *pattern, size_t length, size_t *out)
{
    amli_buffer to = {0};
    bool in_class = false;
    amli_buffer_add(&to, "", 0);
    for (size_t i = 0; i < length; i++) {
        char c = pattern[i];
        if (c == '\\' && i + 1 < length) {
            char d = pattern[++i];
            if (d == 's')
                amli_buffer_printf(&to, in_class ? "%s" : "[%s]", SPACES);
            else if (d == 'S' && !in_class)
                amli_buffer_printf(&to, "[^%s]", SPACES);
            else
                amli_buffer_add(&to, pattern + i - 1, 2);
            continue;
        }
        if (c == '[' && !in_class) {
            in_class = true;
            if (i + 1 < length && pattern[i + 1] == '^')
                amli_buffer_add(&to, &c, 1), c = pattern[++i];
            if (i + 1 < length && pattern[i + 1] == ']')
                amli_buffer_add(&to, &c, 1), c = pattern[++i];
        } else if (c == ']') {
            in_class = false;
        }
        amli_buffer_add(&to, &c, 1);
    }
    *out = to.length;
    if (!to.failed)
        return to.text;
    amli_buffer_free(&to);
    return NULL;
}

static pcre2_code *compile(const char *pattern, size_t length, int *code, PCRE2_SIZE *at)
{
    size_t bytes = 0;
    char *text = written_out(pattern, length, &bytes);
    pcre2_code *compiled =
        text ? pcre2_compile((PCRE2_SPTR)text, bytes,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C,
                             code, at, NULL)
             : NULL;
    free(text);
    return compiled;
}

bool aml_pattern_sound(const char *pattern, size_t length, char *why, size_t room)
{
    int code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at = 0;
    pcre2_code *compiled = compile(pattern, length, &code, &at);
    if (!compiled)
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, room);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

static void close_pattern(void *self)
{
    Pattern *pattern = self;
    pcre2_match_data_free(pattern->match);
    pcre2_match_context_free(pattern->context);
    pcre2_jit_stack_free(pattern->stack);
    pcre2_code_free(pattern->code);
    free(pattern);
}

static void *open_pattern(const char *text, size_t length)
{
    int code;
    PCRE2_SIZE at;
    Pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return NULL;
    pattern->code = compile(text, length, &code, &at);
    pattern->match =
        pattern->code ? pcre2_match_data_create_from_pattern(pattern->code, NULL) : NULL;
    pattern->context = pcre2_match_context_create(NULL);
    if (!pattern->match || !pattern->context) {
        close_pattern(pattern);
        return NULL;
    }
    pcre2_set_depth_limit(pattern->context, MOST_DEPTH);
    if (pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0 &&
        (pattern->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK, NULL)))
        pcre2_jit_stack_assign(pattern->context, NULL, pattern->stack);
    return pattern;
}

static bool next_match(void *self, const char *text, size_t length, size_t from, size_t *begin,
                       size_t *end, bool *failed)
{
    Pattern *pattern = self;
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK,
                            pattern->match, pattern->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, pattern->match, pattern->context);
    *failed |= found < 0 && found != PCRE2_ERROR_NOMATCH;
    if (found < 0)
        return false;
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(pattern->match);
    *begin = place[0];
    *end = place[1];
    return true;
}

const amli_token_patterns amli_patterns_pcre2 = {open_pattern, close_pattern, next_match};
