// format.c: texts from formats.
//
// Names, shapes and the keys of kernels are made of strings and whole numbers, many for each line
// of a program. These go without the C library's formatter, which takes ten times as long for them.

#include "base/base.h"

#include <stdio.h>
#include <string.h>

// The length of a conversion that is made here, behind its '%'; 0: it is not.
static size_t plain_conversion(const char *at)
{
    static const char *const known[] = {"s", "d", "u", "ld", "lld", "%"};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0)
            return strlen(known[i]);
    return 0;
}

static bool is_plain(const char *format)
{
    for (const char *at = strchr(format, '%'); at; at = strchr(at, '%')) {
        size_t length = plain_conversion(at + 1);
        if (!length)
            return false;
        at += 1 + length;
    }
    return true;
}

typedef struct Out {
    char *to;
    size_t room, length; // of all that there would be with room for it
} Out;

static void put(Out *out, const char *text, size_t length)
{
    if (out->length < out->room) {
        size_t fits = out->room - out->length;
        memcpy(out->to + out->length, text, length < fits ? length : fits);
    }
    out->length += length;
}

static void put_number(Out *out, bool negative, unsigned long long size)
{
    char digit[24];
    size_t at = sizeof digit;
    do
        digit[--at] = (char)('0' + size % 10);
    while (size /= 10);
    if (negative)
        digit[--at] = '-';
    put(out, digit + at, sizeof digit - at);
}

static void put_signed(Out *out, long long value)
{
    put_number(out, value < 0,
               value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value);
}

int format_text(char *to, size_t room, const char *format, va_list args)
{
    if (!is_plain(format))
        return vsnprintf(to, room, format, args);
    Out out = {to, room, 0};
    for (;;) {
        size_t length = strcspn(format, "%");
        put(&out, format, length);
        format += length;
        if (!*format)
            break;
        length = plain_conversion(++format);
        if (*format == 's') {
            const char *text = va_arg(args, const char *);
            text = text ? text : "(null)";
            put(&out, text, strlen(text));
        } else if (*format == 'd') {
            put_signed(&out, va_arg(args, int));
        } else if (*format == 'u') {
            put_number(&out, false, va_arg(args, unsigned));
        } else if (*format == '%') {
            put(&out, "%", 1);
        } else { // long is as wide as long long wherever this runs
            put_signed(&out, va_arg(args, long long));
        }
        format += length;
    }
    if (room > 0)
        to[out.length < room ? out.length : room - 1] = 0;
    return (int)out.length;
}
