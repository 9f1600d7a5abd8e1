// state.h: what report.c collects and print.c prints. Private to diag/.

#ifndef AML_DIAG_STATE_H
#define AML_DIAG_STATE_H

#include "diag/diag.h"

typedef struct DiagNote {
    Span span; // file 0: no place to show
    const char *text;
} DiagNote;

typedef struct Diag {
    DiagId id;
    Severity severity;
    Span span;
    const char *text;
    int order; // of the report, to keep equal places in order
    Vec(DiagNote) note;
    Vec(const char *) help;
    const char *shape_what[2], *shape[2]; // report_shapes; NULL without
} Diag;

typedef struct ActiveCall {
    Span span;
    const char *what;
} ActiveCall;

typedef struct Silence {
    DiagId id;
    Span span;
} Silence;

typedef struct DiagState {
    Vec(Silence) silence;
    Vec(Diag *) list;
    Vec(ActiveCall) call; // outermost first
    Diag *last;           // what note and help belong to; NULL if the last report was dropped
    int errors, warnings;
} DiagState;

DiagState *diag_state(const Cx *cx); // makes it at the first use
// The diagnostics by file and place, in an array of diag_state(cx)->list.count.
Diag **diag_sorted(Cx *cx);
const char *diag_code(const Diag *diag, char text[8]); // "E0301"
// `text` made printable: invalid UTF-8 becomes U+FFFD, control characters (but tab) become U+FFFD.
const char *diag_clean_text(Arena *arena, const char *text, size_t length);

// machine.c: the formats that programs read
void diag_print_json(Cx *cx, FILE *out);
void diag_print_sarif(Cx *cx, FILE *out);
void diag_print_github(Cx *cx, FILE *out);

#endif
