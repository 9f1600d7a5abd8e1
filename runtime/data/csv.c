// The csv scanner. 64 bytes at a time become a word of marks, one bit for each byte that can end or
// begin something: the separator, line breaks, quotes. Between two marks nothing is looked at.

#include <stdio.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "runtime/data/csv.h"

void amli_csv_begin(amli_csv *csv, const char *text, size_t length, bool complete,
                    const amli_csv_form *form)
{
    *csv = (amli_csv){.text = text,
                      .at = text,
                      .end = text + length,
                      .complete = complete,
                      .form = *form,
                      .next_line = 1};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        csv->at += 3;
}

// ---- marks

enum { BLOCK = 64 };

#ifdef __SSE2__
static void mark_block(amli_csv *csv, const char *at)
{
    const __m128i separator = _mm_set1_epi8(csv->form.separator), line = _mm_set1_epi8('\n'),
                  back = _mm_set1_epi8('\r'),
                  quote = _mm_set1_epi8(csv->form.literal_quotes ? '\n' : '"'),
                  nothing = _mm_setzero_si128();
    __m128i odd = nothing;
    uint64_t marks = 0;
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, line), _mm_cmpeq_epi8(bytes, back));
        __m128i others =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, separator), _mm_cmpeq_epi8(bytes, quote));
        marks |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(ends, others)) << i;
        odd = _mm_or_si128(odd, _mm_or_si128(bytes, _mm_cmpeq_epi8(bytes, nothing)));
    }
    csv->marks = marks;
    csv->odd |= _mm_movemask_epi8(odd) != 0;
}
#else
static void mark_block(amli_csv *csv, const char *at)
{
    char quote = csv->form.literal_quotes ? '\n' : '"';
    uint64_t marks = 0;
    for (int i = 0; i < BLOCK; i++) {
        char c = at[i];
        marks |= (uint64_t)(c == '\n' || c == '\r' || c == csv->form.separator || c == quote) << i;
        csv->odd |= (unsigned char)c >= 0x80 || c == 0;
    }
    csv->marks = marks;
}
#endif

// The first marked byte from `at` on, or the end.
static inline const char *next_mark(amli_csv *csv, const char *at)
{
    for (;;) {
        size_t passed = (size_t)(at - csv->block);
        if (csv->block && at >= csv->block && passed < csv->block_bytes) {
            uint64_t left = csv->marks >> passed;
            if (left)
                return at + __builtin_ctzll(left);
            at = csv->block + csv->block_bytes;
        }
        if (at >= csv->end)
            return csv->end;
        csv->block = at;
        csv->block_bytes = BLOCK;
        if (csv->end - at >= BLOCK) {
            mark_block(csv, at);
        } else {
            char padded[BLOCK];
            csv->block_bytes = (size_t)(csv->end - at);
            memset(padded, ' ', BLOCK);
            memcpy(padded, at, csv->block_bytes);
            mark_block(csv, padded);
            csv->marks &= ((uint64_t)1 << csv->block_bytes) - 1;
        }
    }
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

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *pass_blanks(const amli_csv *csv, const char *at)
{
    while (at < csv->end && is_blank(*at) && *at != csv->form.separator)
        at++;
    return at;
}

// A cell whose quote is at `open`; returns as scan_cell.
static const char *scan_quoted(amli_csv *csv, const char *open, amli_cell *cell)
{
    const char *at = open + 1, *end = csv->end;
    *cell = (amli_cell){.at = at};
    csv->quoted = true;
    for (;;) {
        const char *quote = next_mark(csv, at);
        if (quote == end) {
            if (!csv->complete)
                return NULL;
            bad(csv, open, "a quote that is never closed");
            cell->length = (size_t)(end - cell->at);
            return end;
        }
        at = quote + 1;
        if (*quote != '"')
            continue;
        if (at == end && !csv->complete)
            return NULL;
        if (at < end && *at == '"') {
            cell->doubled = true;
            at++;
            continue;
        }
        cell->length = (size_t)(quote - cell->at);
        break;
    }
    at = pass_blanks(csv, at);
    if (at < end && *at != csv->form.separator && !ends_line(*at)) {
        bad(csv, at, "text after a closing quote");
        while (at < end && *at != csv->form.separator && !ends_line(*at))
            at++;
    }
    return at == end && !csv->complete ? NULL : at;
}

// One cell that begins at `at`; returns the position behind it (a separator, a line break, or the
// end), or NULL if the text ends first and there is more.
static inline const char *scan_cell(amli_csv *csv, const char *at, amli_cell *cell)
{
    const char *first = at;
    at = next_mark(csv, at);
    while (at < csv->end && *at == '"' && !csv->form.literal_quotes) {
        if (pass_blanks(csv, first) == at)
            return scan_quoted(csv, at, cell);
        bad(csv, at, "a quote inside a cell that does not begin with one");
        at = next_mark(csv, at + 1);
    }
    *cell = (amli_cell){.at = first, .length = (size_t)(at - first)};
    return at == csv->end && !csv->complete ? NULL : at;
}

// The usual case without detours: cells that end with a separator, up to the end of the block. Not
// where rows are one cell, whose separator is the line break: the next row would be taken along.
static inline const char *scan_plain(const amli_csv *csv, const char *at, amli_cell cell[],
                                     int64_t room, int64_t *cells)
{
    size_t passed = (size_t)(at - csv->block);
    if (!csv->block || at < csv->block || passed >= csv->block_bytes ||
        csv->form.separator == '\n')
        return at;
    uint64_t left = csv->marks >> passed << passed;
    const char *block = csv->block, separator = csv->form.separator;
    int64_t count = *cells;
    for (; left; left &= left - 1) {
        const char *stop = block + __builtin_ctzll(left);
        if (*stop != separator)
            break;
        if (count < room)
            cell[count] = (amli_cell){.at = at, .length = (size_t)(stop - at)};
        count++;
        at = stop + 1;
    }
    *cells = count;
    return at;
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

// Passes over blank lines and comments. NULL: that cannot be told yet.
static const char *pass_lines(amli_csv *csv, const char *at, int64_t *line)
{
    while (at < csv->end) {
        bool is_comment = csv->form.comment && *at == csv->form.comment;
        const char *stop = pass_blanks(csv, at);
        if (is_comment)
            while (stop < csv->end && !ends_line(*stop))
                stop++;
        else if (stop < csv->end && !ends_line(*stop))
            break;
        const char *next = stop < csv->end ? after_break(csv, stop) : csv->complete ? stop : NULL;
        if (!next)
            return NULL;
        at = next;
        ++*line;
    }
    return at;
}

amli_csv_result amli_csv_next(amli_csv *csv, amli_cell cell[], int64_t room)
{
    int64_t line = csv->next_line;
    const char *at = pass_lines(csv, csv->at, &line);
    if (!at)
        return AMLI_CSV_MORE;
    if (at == csv->end)
        return csv->complete ? AMLI_CSV_END : AMLI_CSV_MORE;
    csv->problem = csv->problem_at = NULL;
    csv->row = at;
    csv->line = line;
    csv->cells = 0;
    csv->quoted = false;
    int64_t cells = 0;
    amli_cell unwanted;
    for (;;) {
        at = scan_plain(csv, at, cell, room, &cells);
        if (at == csv->end && !csv->complete)
            return AMLI_CSV_MORE;
        at = scan_cell(csv, at, cells < room ? &cell[cells] : &unwanted);
        if (!at)
            return AMLI_CSV_MORE;
        cells++;
        if (at == csv->end || ends_line(*at))
            break;
        at++;
        if (at == csv->end && !csv->complete)
            return AMLI_CSV_MORE;
    }
    csv->cells = cells;
    const char *next = at == csv->end ? at : after_break(csv, at);
    if (!next)
        return AMLI_CSV_MORE;
    if (csv->odd) {
        check_bytes(csv, csv->row, at);
        csv->odd = csv->block && next < csv->block + csv->block_bytes; // the block goes on
    }
    // line breaks inside quotes
    for (const char *c = csv->row; csv->quoted && c < at; c++) {
        c = memchr(c, '\n', (size_t)(at - c));
        if (!c)
            break;
        line++;
    }
    csv->next_line = line + 1;
    csv->at = next;
    return csv->problem ? AMLI_CSV_BAD : AMLI_CSV_ROW;
}

// The first line break from `at` on, or quote that may hide some, or the end.
static const char *find_break(const amli_csv *csv, const char *at)
{
    char quote = csv->form.literal_quotes ? '\n' : '"';
#ifdef __SSE2__
    const __m128i line = _mm_set1_epi8('\n'), back = _mm_set1_epi8('\r'),
                  quotes = _mm_set1_epi8(quote);
    for (; csv->end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i found =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes),
                         _mm_or_si128(_mm_cmpeq_epi8(bytes, line), _mm_cmpeq_epi8(bytes, back)));
        int marks = _mm_movemask_epi8(found);
        if (marks)
            return at + __builtin_ctz((unsigned)marks);
    }
#endif
    while (at < csv->end && !ends_line(*at) && *at != quote)
        at++;
    return at;
}

amli_csv_result amli_csv_skip(amli_csv *csv)
{
    int64_t line = csv->next_line;
    const char *at = pass_lines(csv, csv->at, &line);
    if (!at)
        return AMLI_CSV_MORE;
    if (at == csv->end)
        return csv->complete ? AMLI_CSV_END : AMLI_CSV_MORE;
    const char *stop = find_break(csv, at), *next = stop;
    if (stop < csv->end && !ends_line(*stop))
        return amli_csv_next(csv, NULL, 0);
    if (stop == csv->end && !csv->complete)
        return AMLI_CSV_MORE;
    if (stop < csv->end && !(next = after_break(csv, stop)))
        return AMLI_CSV_MORE;
    csv->problem = csv->problem_at = NULL;
    csv->row = at;
    csv->line = line;
    csv->next_line = line + 1;
    csv->at = next;
    return AMLI_CSV_ROW;
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
