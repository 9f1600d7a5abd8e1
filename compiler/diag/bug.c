// bug.c: a state that cannot happen has happened. The user learns where in their program, and that
// it is not their fault.

#include "diag/diag.h"

#include <stdlib.h>

#define EXIT_BUG 101

void bug(Cx *cx, Span span, const char *format, ...)
{
    fputs("amlc: this is a bug in the compiler, not in your program: ", stderr);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (cx && span.file) {
        Place place = source_place(cx, span);
        Span line = source_line_span(cx, span);
        fprintf(stderr, " --> %s:%d:%d\n  | %.*s\n", place.path, place.line, place.column,
                (int)(line.end - line.start), source_file(cx, span.file)->text + line.start);
    }
    fputs("please report it with the file that was compiled\n", stderr);
    exit(EXIT_BUG);
}
