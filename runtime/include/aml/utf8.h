// aml/utf8.h: reading UTF-8 (RFC 3629), the same for the compiler and for programs, which have to
// see the same characters in a text.

#ifndef AML_UTF8_H
#define AML_UTF8_H

#include <stddef.h>
#include <stdint.h>

// The code point at `at`, of which `left` bytes (at least 1) may be read. Returns how many bytes it
// has; 0: they are not well-formed.
static inline size_t aml_utf8_read(const unsigned char *at, size_t left, uint32_t *code)
{
    unsigned char c = at[0];
    size_t more = c < 0x80                 ? 0
                  : c >= 0xC2 && c <= 0xDF ? 1
                  : (c & 0xF0) == 0xE0     ? 2
                  : c >= 0xF0 && c <= 0xF4 ? 3
                                           : 4;
    if (more > 3 || left <= more)
        return 0;
    if (more > 0 && ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] > 0x9F) ||
                     (c == 0xF0 && at[1] < 0x90) || (c == 0xF4 && at[1] > 0x8F)))
        return 0;
    uint32_t found = more == 0 ? c : c & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        found = found << 6 | (at[i] & 0x3Fu);
    }
    *code = found;
    return more + 1;
}

// Writes a code point (below 0x110000) into text; returns how many bytes that took.
static inline size_t aml_utf8_write(uint32_t code, char text[4])
{
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    for (size_t i = more; i > 0; i--, code >>= 6)
        text[i] = (char)(0x80 | (code & 0x3F));
    text[0] = (char)(lead[more] | code);
    return more + 1;
}

// How many bytes of a byte order mark the text begins with: they are no part of it.
static inline size_t aml_utf8_mark(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    return length >= 3 && at[0] == 0xEF && at[1] == 0xBB && at[2] == 0xBF ? 3 : 0;
}

#endif
