// The csv scanner: one pass over the bytes of a row.

#include <stdio.h>
#include <string.h>

#include "runtime/data/csv.h"

void amli_csv_begin(amli_csv *csv, const char *text, size_t length, bool complete, char separator)
{
    *csv = (amli_csv){.at = text,
                      .end = text + length,
                      .complete = complete,
                      .separator = separator,
                      .next_line = 1};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        csv->at += 3;
}

// The first byte that is not part of well-formed UTF-8 (RFC 3629), or NULL.
static const char *find_bad_utf8(const char *text, const char *end)
{
    const unsigned char *at = (const unsigned char *)text, *stop = (const unsigned char *)end;
    while (at < stop) {
        unsigned char c = *at;
        int more = c < 0x80                 ? 0
                   : c >= 0xC2 && c <= 0xDF ? 1
                   : (c & 0xF0) == 0xE0     ? 2
                   : c >= 0xF0 && c <= 0xF4 ? 3
                                            : -1;
        if (more < 0 || stop - at <= more)
            return (const char *)at;
        for (int i = 1; i <= more; i++)
            if ((at[i] & 0xC0) != 0x80)
                return (const char *)at;
        if ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] > 0x9F) ||
            (c == 0xF0 && at[1] < 0x90) || (c == 0xF4 && at[1] > 0x8F))
            return (const char *)at;
        at += more + 1;
    }
    return NULL;
}

static void bad(amli_csv *csv, const char *at, const char *problem)
{
    if (csv->problem && csv->problem_at <= at)
        return;
    csv->problem = problem;
    csv->problem_at = at;
}

static bool ends_line(char c)
{
    return c == '\n' || c == '\r';
}

// The position behind the line break at `at`, or NULL if that cannot be told yet.
static const char *after_break(const amli_csv *csv, const char *at)
{
    if (*at == '\r') {
        if (at + 1 == csv->end)
            return csv->complete ? at + 1 : NULL;
        if (at[1] == '\n')
            return at + 2;
    }
    return at + 1;
}

// One cell that begins at `at`; returns the position behind it (a separator, a line break, or the
// end), or NULL if the text ends first and there is more.
static const char *scan_cell(amli_csv *csv, const char *at, amli_cell *cell)
{
    const char *end = csv->end;
    if (at < end && *at == '"') {
        const char *open = at++;
        cell->at = at;
        cell->doubled = false;
        for (;;) {
            const char *quote = at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;
            if (!quote || (quote + 1 == end && !csv->complete)) {
                if (!csv->complete)
                    return NULL;
                if (!quote) {
                    bad(csv, open, "a quote that is never closed");
                    cell->length = (size_t)(end - cell->at);
                    return end;
                }
            }
            at = quote + 1;
            if (at < end && *at == '"') {
                cell->doubled = true;
                at++;
                continue;
            }
            cell->length = (size_t)(quote - cell->at);
            break;
        }
        if (at < end && *at != csv->separator && !ends_line(*at)) {
            bad(csv, at, "text after a closing quote");
            while (at < end && *at != csv->separator && !ends_line(*at))
                at++;
        }
    } else {
        cell->at = at;
        cell->doubled = false;
        while (at < end && *at != csv->separator && !ends_line(*at)) {
            if (*at == '"')
                bad(csv, at, "a quote inside a cell that does not begin with one");
            at++;
        }
        cell->length = (size_t)(at - cell->at);
    }
    return at == end && !csv->complete ? NULL : at;
}

static void check_bytes(amli_csv *csv, const char *from, const char *to)
{
    const char *nul = memchr(from, 0, (size_t)(to - from));
    if (nul)
        bad(csv, nul, "a NUL byte");
    unsigned char all = 0;
    for (const char *c = from; c < to; c++)
        all |= (unsigned char)*c;
    const char *wrong = all & 0x80 ? find_bad_utf8(from, to) : NULL;
    if (wrong)
        bad(csv, wrong, "bytes that are not UTF-8");
}

amli_csv_result amli_csv_next(amli_csv *csv, amli_cell cell[], int64_t room, bool skip_blank)
{
    const char *at = csv->at;
    int64_t line = csv->next_line;
    while (skip_blank && at < csv->end && ends_line(*at)) {
        const char *next = after_break(csv, at);
        if (!next)
            return AMLI_CSV_MORE;
        at = next;
        line++;
    }
    if (at == csv->end)
        return csv->complete ? AMLI_CSV_END : AMLI_CSV_MORE;
    csv->problem = csv->problem_at = NULL;
    csv->row = at;
    csv->line = line;
    csv->cells = 0;
    for (;;) {
        amli_cell found;
        at = scan_cell(csv, at, &found);
        if (!at)
            return AMLI_CSV_MORE;
        if (csv->cells < room)
            cell[csv->cells] = found;
        csv->cells++;
        if (at == csv->end || ends_line(*at))
            break;
        at++;
        if (at == csv->end && !csv->complete)
            return AMLI_CSV_MORE;
    }
    const char *next = at == csv->end ? at : after_break(csv, at);
    if (!next)
        return AMLI_CSV_MORE;
    check_bytes(csv, csv->row, at);
    // line breaks inside quotes
    for (const char *c = csv->row; c < at && (c = memchr(c, '\n', (size_t)(at - c))); c++)
        line++;
    csv->next_line = line + 1;
    csv->at = next;
    return csv->problem ? AMLI_CSV_BAD : AMLI_CSV_ROW;
}

void amli_csv_place(const amli_csv *csv, const char *at, int64_t *line, int64_t *column)
{
    const char *start = csv->row;
    *line = csv->line;
    for (const char *c = csv->row; c < at; c++)
        if (*c == '\n') {
            ++*line;
            start = c + 1;
        }
    *column = 1;
    for (const char *c = start; c < at; c++)
        *column += ((unsigned char)*c & 0xC0) != 0x80;
}

bool amli_cell_is(const amli_cell *cell, const char *name)
{
    const char *end = cell->at + cell->length;
    for (const char *c = cell->at; c < end; c++, name++) {
        if (*c != *name || !*name)
            return false;
        if (*c == '"' && cell->doubled)
            c++;
    }
    return *name == 0;
}

const char *amli_cell_text(const amli_cell *cell, char *text, size_t room)
{
    size_t used = 0, shown = 0;
    if (room < 16)
        return "";
    text[used++] = '"';
    for (const char *c = cell->at; c < cell->at + cell->length && used + 8 < room; c++, shown++) {
        unsigned char byte = (unsigned char)*c;
        if (byte >= 0x20 && byte < 0x7F)
            text[used++] = (char)byte;
        else
            used += (size_t)snprintf(text + used, room - used, "\\x%02x", byte);
    }
    snprintf(text + used, room - used, shown < cell->length ? "...\"" : "\"");
    return text;
}
