// report.c: collecting what will be told to the user.

#include "diag/state.h"

#include <stdlib.h>
#include <string.h>

// Everything after that many diagnostics is counted but not kept: a machine-made file could hold
// millions of mistakes.
#define MOST_DIAGNOSTICS 1000
#define MOST_CALL_NOTES 3

#define error SEVERITY_ERROR
#define warning SEVERITY_WARNING
// The 1 in front keeps the codes from being read as octal numbers.
const DiagInfo diag_info[DIAG_COUNT] = {
#define DIAG(severity, code, name, format) {severity, 1##code - 10000, #name, format},
#include "diag/diag.def"
#undef DIAG
};
#undef error
#undef warning

DiagState *diag_state(const Cx *cx)
{
    if (!cx->diag)
        ((Cx *)cx)->diag =
            NEW(cx->arena, DiagState); // asking for the count must work on a const Cx
    return cx->diag;
}

int diag_errors(const Cx *cx)
{
    return cx->diag ? cx->diag->errors : 0;
}

int diag_warnings(const Cx *cx)
{
    return cx->diag ? cx->diag->warnings : 0;
}

static bool in_user_file(const Cx *cx, Span span)
{
    return span.file != 0 && !source_file(cx, span.file)->is_std;
}

static bool same_span(Span a, Span b)
{
    return a.file == b.file && a.start == b.start && a.end == b.end;
}

static bool already_said(const DiagState *state, DiagId id, Span span)
{
    for (int i = 0; i < state->list.count; i++)
        if (state->list.at[i]->id == id && same_span(state->list.at[i]->span, span))
            return true;
    for (int i = 0; i < state->silence.count; i++)
        if (state->silence.at[i].id == id && same_span(state->silence.at[i].span, span))
            return true;
    return false;
}

void diag_silence(Cx *cx, DiagId id, Span span)
{
    vec_push(cx->arena, &diag_state(cx)->silence, ((Silence){id, span}));
}

static void add_note(Cx *cx, Diag *diag, Span span, const char *text)
{
    vec_push(cx->arena, &diag->note, ((DiagNote){span, text}));
}

// The calls by which `diag` was reached, innermost first, as notes; calls inside the standard
// library are left out.
static void add_call_notes(Cx *cx, Diag *diag)
{
    DiagState *state = diag_state(cx);
    int shown = 0;
    for (int i = state->call.count - 1; i >= 0 && shown < MOST_CALL_NOTES; i--) {
        ActiveCall call = state->call.at[i];
        // a call around the marked text is on the shown line already
        bool known = call.span.file == diag->span.file && call.span.start <= diag->span.start &&
                     call.span.end >= diag->span.end;
        for (int j = 0; j < diag->note.count; j++)
            known = known || same_span(call.span, diag->note.at[j].span);
        if (known || !in_user_file(cx, call.span))
            continue;
        add_note(cx, diag, call.span,
                 arena_printf(cx->arena, "in this use of '%s'", call.what ? call.what : "it"));
        shown++;
    }
}

static AML_PRINTF(4, 0) void report_va(Cx *cx, Span span, DiagId id, const char *format,
                                       va_list args)
{
    DiagState *state = diag_state(cx);
    state->last = NULL;
    Span inside = span;
    const char *what = NULL;
    if (!in_user_file(cx, span))
        for (int i = state->call.count - 1; i >= 0; i--)
            if (in_user_file(cx, state->call.at[i].span)) {
                span = state->call.at[i].span;
                what = state->call.at[i].what;
                break;
            }
    if (already_said(state, id, span))
        return;
    Severity severity = diag_info[id].severity;
    if (severity == SEVERITY_ERROR)
        state->errors++;
    else
        state->warnings++;
    if (state->list.count >= MOST_DIAGNOSTICS)
        return;
    Diag *diag = NEW(cx->arena, Diag);
    diag->id = id;
    diag->severity = severity;
    diag->span = span;
    diag->text = arena_vprintf(cx->arena, format, args);
    diag->order = state->list.count;
    if (inside.file != 0 && !same_span(inside, span))
        add_note(cx, diag, inside,
                 arena_printf(cx->arena, "found here, inside '%s'", what ? what : "it"));
    add_call_notes(cx, diag);
    vec_push(cx->arena, &state->list, diag);
    state->last = diag;
}

// The formats come from diag.def; `report` has checked the arguments against them.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void report_id(Cx *cx, Span span, DiagId id, ...)
{
    va_list args;
    va_start(args, id);
    report_va(cx, span, id, diag_info[id].format, args);
    va_end(args);
}
#pragma GCC diagnostic pop

void note(Cx *cx, Span span, const char *format, ...)
{
    Diag *diag = diag_state(cx)->last;
    if (!diag)
        return;
    va_list args;
    va_start(args, format);
    add_note(cx, diag, span, arena_vprintf(cx->arena, format, args));
    va_end(args);
}

void help(Cx *cx, const char *format, ...)
{
    Diag *diag = diag_state(cx)->last;
    if (!diag)
        return;
    va_list args;
    va_start(args, format);
    vec_push(cx->arena, &diag->help, arena_vprintf(cx->arena, format, args));
    va_end(args);
}

void report_shapes(Cx *cx, const char *what_a, const char *shape_a, const char *what_b,
                   const char *shape_b)
{
    Diag *diag = diag_state(cx)->last;
    if (!diag)
        return;
    diag->shape_what[0] = arena_text(cx->arena, what_a, strlen(what_a));
    diag->shape_what[1] = arena_text(cx->arena, what_b, strlen(what_b));
    diag->shape[0] = arena_text(cx->arena, shape_a, strlen(shape_a));
    diag->shape[1] = arena_text(cx->arena, shape_b, strlen(shape_b));
}

void diag_push_call(Cx *cx, Span span, const char *what)
{
    DiagState *state = diag_state(cx);
    vec_push(cx->arena, &state->call, ((ActiveCall){span, what}));
}

void diag_pop_call(Cx *cx)
{
    DiagState *state = diag_state(cx);
    if (state->call.count == 0)
        bug(cx, (Span){0}, "diag_pop_call without diag_push_call");
    state->call.count--;
}

// ---- what the printers share

static int compare_diags(const void *a, const void *b)
{
    const Diag *left = *(Diag *const *)a, *right = *(Diag *const *)b;
    if (left->span.file != right->span.file)
        return left->span.file < right->span.file ? -1 : 1;
    if (left->span.start != right->span.start)
        return left->span.start < right->span.start ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

Diag **diag_sorted(Cx *cx)
{
    DiagState *state = diag_state(cx);
    Diag **list = NEW_ARRAY(cx->arena, Diag *, state->list.count + 1);
    if (state->list.count > 0) {
        memcpy(list, state->list.at, sizeof *list * (size_t)state->list.count);
        qsort(list, (size_t)state->list.count, sizeof *list, compare_diags);
    }
    return list;
}

const char *diag_code(const Diag *diag, char text[8])
{
    snprintf(text, 8, "%c%04d", diag->severity == SEVERITY_ERROR ? 'E' : 'W',
             diag_info[diag->id].code % 10000);
    return text;
}

// Length of the UTF-8 sequence at `at`, 0 if there is none.
static int utf8_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    int length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || (size_t)length > left)
        return 0;
    for (int i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) ||
        (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F))
        return 0;
    return length;
}

const char *diag_clean_text(Arena *arena, const char *text, size_t length)
{
    Buffer out = {.arena = arena};
    buffer_text(&out, "");
    for (size_t i = 0; i < length;) {
        int bytes = utf8_length((const unsigned char *)text + i, length - i);
        bool control =
            bytes == 1 && ((unsigned char)text[i] < ' ' || text[i] == 0x7F) && text[i] != '\t';
        bool control_1 =
            bytes == 2 && (unsigned char)text[i] == 0xC2 && (unsigned char)text[i + 1] < 0xA0;
        if (bytes == 0 || control || control_1)
            buffer_text(&out, "\xEF\xBF\xBD");
        else
            buffer_append(&out, text + i, (size_t)bytes);
        i += bytes ? (size_t)bytes : 1;
    }
    return out.text;
}
