// print.c: diagnostics for people: `human`, with the line and a caret under it, and `short`, one
// line each.

#include "diag/state.h"

#include <string.h>

const char *const message_format_name[FORMAT_COUNT] = {
    [FORMAT_HUMAN] = "human", [FORMAT_SHORT] = "short",   [FORMAT_JSON] = "json",
    [FORMAT_SARIF] = "sarif", [FORMAT_GITHUB] = "github",
};

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define BLUE "\033[1;34m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

#define WIDEST_LINE 140 // longer lines are cut to a window around the caret

typedef struct Printer {
    Cx *cx;
    FILE *out;
    bool color;
    int gutter; // digits of the largest line number shown for this diagnostic
} Printer;

static const char *paint(const Printer *printer, const char *color)
{
    return printer->color ? color : "";
}

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

// Code points in text[0..length).
static int columns(const char *text, size_t length)
{
    int count = 0;
    for (size_t i = 0; i < length; i++)
        count += !continues(text[i]);
    return count;
}

static int digits(int number)
{
    int count = 1;
    while (number >= 10) {
        number /= 10;
        count++;
    }
    return count;
}

// One source line with its number, and the marked part underlined below it:
//
//   12 |     fc2 = Dense(10)
//      |           ^^^^^^^^^
static void print_line(const Printer *printer, Span span, char mark, const char *color)
{
    Arena *scratch = printer->cx->scratch;
    const SourceFile *file = source_file(printer->cx, span.file);
    Span line = source_line_span(printer->cx, span);
    Place place = source_place(printer->cx, span);
    uint32_t start = span.start < line.end ? span.start : line.end;
    uint32_t end = span.end < line.end ? span.end : line.end;
    uint32_t from = line.start, to = line.end;
    if (to - from > WIDEST_LINE) {
        from = start - line.start > WIDEST_LINE / 3 ? start - WIDEST_LINE / 3 : line.start;
        to = line.end - from > WIDEST_LINE ? from + WIDEST_LINE : line.end;
        while (from < start && continues(file->text[from]))
            from++;
        while (to > start && to < line.end && continues(file->text[to]))
            to--;
        end = end < to ? end : to;
    }
    const char *before = diag_clean_text(scratch, file->text + from, start - from);
    const char *marked =
        diag_clean_text(scratch, file->text + start, end > start ? end - start : 0);
    const char *after = diag_clean_text(scratch, file->text + (end > start ? end : start),
                                        to - (end > start ? end : start));
    const char *cut_front = from > line.start ? "..." : "", *cut_back = to < line.end ? "..." : "";
    fprintf(printer->out, "%s%*d |%s %s%s%s%s%s\n", paint(printer, BLUE), printer->gutter,
            place.line, paint(printer, PLAIN), cut_front, before, marked, after, cut_back);
    fprintf(printer->out, "%s%*s |%s %s", paint(printer, BLUE), printer->gutter, "",
            paint(printer, PLAIN), *cut_front ? "   " : "");
    for (const char *at = before; *at; at++)
        if (!continues(*at))
            fputc(*at == '\t' ? '\t' : ' ', printer->out);
    fputs(paint(printer, color), printer->out);
    int width = columns(marked, strlen(marked));
    for (int i = 0; i < (width > 0 ? width : 1); i++)
        fputc(mark, printer->out);
    fprintf(printer->out, "%s\n", paint(printer, PLAIN));
}

static void print_place(const Printer *printer, const char *arrow, Span span)
{
    Place place = source_place(printer->cx, span);
    fprintf(printer->out, "%s%*s%s%s %s:%d:%d\n", paint(printer, BLUE), printer->gutter, "", arrow,
            paint(printer, PLAIN),
            diag_clean_text(printer->cx->scratch, place.path, strlen(place.path)), place.line,
            place.column);
}

// The axis texts of "[n, 64]" in order; at most `most`.
static int split_axes(Arena *arena, const char *shape, const char *axis[], int most)
{
    const char *open = strchr(shape, '[');
    int count = 0, depth = 0;
    if (!open)
        return 0;
    const char *start = open + 1;
    for (const char *at = start; *at && count < most; at++) {
        if (*at == '(' || *at == '[')
            depth++;
        bool closes = (*at == ']' || *at == ')') && depth-- == 0;
        if (closes || (*at == ',' && depth == 0)) {
            while (*start == ' ')
                start++;
            if (at > start)
                axis[count++] = arena_text(arena, start, (size_t)(at - start));
            start = at + 1;
        }
        if (closes)
            break;
    }
    return count;
}

// Two shapes, one under the other, aligned at the right as broadcasting aligns them, with the axes
// that differ marked:
//
//      |   what Dense takes  [batch, 64]
//      |   what it is given  [batch, 32]
//      |                             ^^
static void print_shapes(const Printer *printer, const Diag *diag)
{
    enum { MOST = 16 };
    Arena *scratch = printer->cx->scratch;
    const char *axis[2][MOST];
    int count[2], longest = 0;
    for (int i = 0; i < 2; i++) {
        count[i] = split_axes(scratch, diag->shape[i], axis[i], MOST);
        int width = columns(diag->shape_what[i], strlen(diag->shape_what[i]));
        longest = width > longest ? width : longest;
    }
    int rank = count[0] > count[1] ? count[0] : count[1];
    Buffer row[2] = {{.arena = scratch}, {.arena = scratch}}, marks = {.arena = scratch};
    for (int i = 0; i < 2; i++) {
        const char *open = strchr(diag->shape[i], '[');
        const char *other = strchr(diag->shape[1 - i], '[');
        size_t prefix = open ? (size_t)(open - diag->shape[i]) : 0,
               wider = other ? (size_t)(other - diag->shape[1 - i]) : 0;
        buffer_append(&row[i], diag->shape[i], prefix);
        for (size_t pad = prefix; pad < wider; pad++)
            buffer_text(&row[i], " ");
        buffer_text(&row[i], "[");
        if (i == 0)
            for (size_t pad = 0; pad < (prefix > wider ? prefix : wider) + 1; pad++)
                buffer_text(&marks, " ");
    }
    for (int k = 0; k < rank; k++) {
        const char *cell[2];
        int width = 0;
        for (int i = 0; i < 2; i++) {
            int at = k - (rank - count[i]);
            cell[i] = at >= 0 ? axis[i][at] : "";
            int wide = columns(cell[i], strlen(cell[i]));
            width = wide > width ? wide : width;
        }
        bool differs = strcmp(cell[0], cell[1]) != 0;
        for (int i = 0; i < 2; i++)
            buffer_printf(&row[i], "%*s%s%s", width - columns(cell[i], strlen(cell[i])), "",
                          cell[i], k + 1 < rank ? (*cell[i] ? ", " : "  ") : "");
        for (int c = 0; c < width; c++)
            buffer_text(&marks, differs ? "^" : " ");
        buffer_text(&marks, k + 1 < rank ? "  " : "");
    }
    for (int i = 0; i < 2; i++)
        fprintf(printer->out, "%s%*s |%s   %s%*s  %s]\n", paint(printer, BLUE), printer->gutter, "",
                paint(printer, PLAIN), diag->shape_what[i],
                longest - columns(diag->shape_what[i], strlen(diag->shape_what[i])), "",
                row[i].text);
    fprintf(printer->out, "%s%*s |%s   %*s  %s%s%s\n", paint(printer, BLUE), printer->gutter, "",
            paint(printer, PLAIN), longest, "", paint(printer, RED), marks.text ? marks.text : "",
            paint(printer, PLAIN));
}

static void print_human(Printer *printer, const Diag *diag)
{
    char code[8];
    bool is_error = diag->severity == SEVERITY_ERROR;
    const char *color = is_error ? RED : YELLOW;
    printer->gutter = diag->span.file ? digits(source_place(printer->cx, diag->span).line) : 1;
    for (int i = 0; i < diag->note.count; i++)
        if (diag->note.at[i].span.file) {
            int wide = digits(source_place(printer->cx, diag->note.at[i].span).line);
            printer->gutter = wide > printer->gutter ? wide : printer->gutter;
        }
    fprintf(printer->out, "%s%s[%s]%s%s: %s%s\n", paint(printer, color),
            is_error ? "error" : "warning", diag_code(diag, code), paint(printer, PLAIN),
            paint(printer, BOLD),
            diag_clean_text(printer->cx->scratch, diag->text, strlen(diag->text)),
            paint(printer, PLAIN));
    if (diag->span.file) {
        print_place(printer, "-->", diag->span);
        print_line(printer, diag->span, '^', color);
    }
    if (diag->shape[0])
        print_shapes(printer, diag);
    for (int i = 0; i < diag->note.count; i++) {
        const DiagNote *item = &diag->note.at[i];
        fprintf(printer->out, "%*s %s= note:%s %s\n", printer->gutter, "", paint(printer, BOLD),
                paint(printer, PLAIN),
                diag_clean_text(printer->cx->scratch, item->text, strlen(item->text)));
        if (item->span.file) {
            print_place(printer, "-->", item->span);
            print_line(printer, item->span, '-', BLUE);
        }
    }
    for (int i = 0; i < diag->help.count; i++)
        fprintf(printer->out, "%*s %s= help:%s %s\n", printer->gutter, "", paint(printer, BOLD),
                paint(printer, PLAIN),
                diag_clean_text(printer->cx->scratch, diag->help.at[i], strlen(diag->help.at[i])));
    fputc('\n', printer->out);
}

static void print_short(const Printer *printer, const Diag *diag)
{
    char code[8];
    Arena *scratch = printer->cx->scratch;
    if (diag->span.file) {
        Place place = source_place(printer->cx, diag->span);
        fprintf(printer->out,
                "%s:%d:%d: ", diag_clean_text(scratch, place.path, strlen(place.path)), place.line,
                place.column);
    }
    fprintf(printer->out, "%s[%s]: %s\n", diag->severity == SEVERITY_ERROR ? "error" : "warning",
            diag_code(diag, code), diag_clean_text(scratch, diag->text, strlen(diag->text)));
}

static void print_summary(const Printer *printer)
{
    int errors = diag_errors(printer->cx), warnings = diag_warnings(printer->cx);
    if (errors + warnings == 0)
        return;
    if (errors > 0)
        fprintf(printer->out, "%d error%s", errors, errors == 1 ? "" : "s");
    if (warnings > 0)
        fprintf(printer->out, "%s%d warning%s", errors > 0 ? ", " : "", warnings,
                warnings == 1 ? "" : "s");
    fputc('\n', printer->out);
}

static void print_for_people(Cx *cx, FILE *out, bool is_human, bool color)
{
    Printer printer = {cx, out, color, 1};
    DiagState *state = diag_state(cx);
    Diag **sorted = diag_sorted(cx);
    for (int i = 0; i < state->list.count; i++) {
        if (is_human)
            print_human(&printer, sorted[i]);
        else
            print_short(&printer, sorted[i]);
    }
    if (is_human)
        print_summary(&printer);
}

void diag_print(Cx *cx, FILE *out, MessageFormat format, bool color)
{
    switch (format) {
    case FORMAT_HUMAN:
    case FORMAT_SHORT:
        print_for_people(cx, out, format == FORMAT_HUMAN, color);
        break;
    case FORMAT_JSON:
        diag_print_json(cx, out);
        break;
    case FORMAT_SARIF:
        diag_print_sarif(cx, out);
        break;
    case FORMAT_GITHUB:
        diag_print_github(cx, out);
        break;
    case FORMAT_COUNT:
        break;
    }
    fflush(out);
}
