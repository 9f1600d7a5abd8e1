// diag/: what is told to the user.
//
// Three kinds of trouble are never mixed. A mistake of the user is a diagnostic: collected here,
// sorted and printed at the end, several per run. A runtime failure is a status code. A state that
// cannot happen is a bug(): it prints the user's line and aborts with exit code 101, in release
// builds too.

#ifndef AML_DIAG_H
#define AML_DIAG_H

#include "base/base.h"

typedef enum { SEVERITY_ERROR, SEVERITY_WARNING } Severity;

// One id per row of diag.def: DIAG(severity, code, name, format). `DIAG_shape_mismatch` and so on.
typedef enum DiagId {
#define DIAG(severity, code, name, format) DIAG_##name,
#include "diag/diag.def"
#undef DIAG
    DIAG_COUNT
} DiagId;

typedef struct DiagInfo {
    Severity severity;
    int code; // permanent; shown as E0301 or W0302
    const char *name;
    const char *format; // printf
} DiagInfo;
extern const DiagInfo diag_info[DIAG_COUNT];

// report.c: collecting
//
//   report(cx, span, shape_mismatch, "'@'", left, right);
//   note(cx, declaration, "'%s' is declared here", name);
//   help(cx, "write `%s`", better);
//
// note, help and table belong to the last report. They are dropped if that report was a duplicate
// (same id, same span) or was silenced.
//
// The compiler checks the arguments against the row's format.
#define report(cx, span, name, ...)                                                                \
    (false ? diag_check_arguments(DIAG_FORMAT_##name, ##__VA_ARGS__)                               \
           : report_id((cx), (span), DIAG_##name, ##__VA_ARGS__))
void report_id(Cx *cx, Span span, DiagId id, ...);
#define DIAG(severity, code, name, format)                                                         \
    static const char DIAG_FORMAT_##name[] __attribute__((unused)) = format;
#include "diag/diag.def"
#undef DIAG
static inline AML_PRINTF(1, 2) void diag_check_arguments(const char *format, ...)
{
    (void)format; // never called
}
void note(Cx *cx, Span span, const char *format, ...) AML_PRINTF(3, 4);
void help(Cx *cx, const char *format, ...) AML_PRINTF(2, 3);

// From here on a report of this id at this span is dropped: it would only follow from a mistake
// that was reported.
void diag_silence(Cx *cx, DiagId id, Span span);

// Shows two shapes under the message, one under the other, with the axes that differ marked: `what`
// says whose it is.
void report_shapes(Cx *cx, const char *what_a, const char *shape_a, const char *what_b,
                   const char *shape_b);

// While a depth is raised by push, reports gain a note "called from here" at `span` (innermost
// first): this is how a mistake found inside the standard library is shown at the user's line first
// and the library's line as a note.
void diag_push_call(Cx *cx, Span span, const char *what);
void diag_pop_call(Cx *cx);

int diag_errors(const Cx *cx); // errors so far
int diag_warnings(const Cx *cx);

typedef enum {
    FORMAT_HUMAN,
    FORMAT_SHORT,
    FORMAT_JSON,
    FORMAT_SARIF,
    FORMAT_GITHUB,
    FORMAT_COUNT
} MessageFormat;
extern const char *const message_format_name[FORMAT_COUNT];

// print.c: sorted by place and deduplicated. human and short go to stderr; json, sarif and github
// to stdout, as `out`.
void diag_print(Cx *cx, FILE *out, MessageFormat format, bool color);

// bug.c: prints the user's line and what went wrong, then ends the process with code 101.
AML_NORETURN void bug(Cx *cx, Span span, const char *format, ...) AML_PRINTF(3, 4);

#endif
