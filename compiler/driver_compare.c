// driver_compare.c: what a deployed program predicts beside what the training program predicts.
//
// Both read the same csv rows and print csv. Whole numbers (classes) and texts must be equal, other
// numbers within a tolerance that leaves room for another order of addition and nothing else. Two
// classes whose shares are closer than that may change places, in one row of a hundred. Where
// values are rounded to bytes, some classes (numbers or names) may change, and the squares of the
// differences must be small beside those of the values.

#include "driver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aml/columns.h"
#include "driver_compare.h"

#define ROUNDED_NOISE 0.02
enum { MOST_TIES = 100 }; // one of so many rows
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

static const CsvForm CSV_PRINTED = {.separator = ','};

static bool is_break(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

// The beginning of the next record: what is empty or a comment is none.
static const char *record_begin(const char *at, const CsvForm *form)
{
    while (is_break(*at) || (form->comment && *at == form->comment))
        at += is_break(*at) ? 1 : strcspn(at, "\r\n");
    return at;
}

// The end of the csv record that begins at `at`: its line break. Quoted cells may hold line breaks.
static const char *record_end(const char *at, const CsvForm *form)
{
    bool quoted = false;
    for (; *at && (quoted || !is_break(*at)); at++)
        if (*at == '"' && !form->literal_quotes)
            quoted = !quoted;
    return at;
}

const char *csv_head(Cx *cx, const char *text, int records, const CsvForm *form)
{
    const char *end = text;
    for (int i = 0; i < records && *end; i++) {
        end = record_end(record_begin(end, form), form);
        end += *end == '\r' && end[1] == '\n' ? 2 : *end != 0;
    }
    return arena_text(cx->arena, text, (size_t)(end - text));
}

CsvRow csv_next(Cx *cx, const char **at, const CsvForm *form)
{
    CsvRow row = {0};
    const char *from = record_begin(*at, form), *end = record_end(from, form);
    *at = record_begin(end, form);
    if (from == end)
        return row;
    while (from <= end) {
        Buffer cell = {.arena = cx->arena};
        buffer_text(&cell, "");
        while (from < end && is_blank(*from) && *from != form->separator)
            from++;
        if (from < end && *from == '"' && !form->literal_quotes) {
            for (from++; from < end; from++) {
                if (*from == '"' && (from + 1 == end || from[1] != '"'))
                    break;
                if (*from == '"')
                    from++;
                buffer_append(&cell, from, 1);
            }
            from += from < end;
            while (from < end && *from != form->separator)
                from++;
        }
        const char *cell_end = from;
        while (cell_end < end && *cell_end != form->separator)
            cell_end++;
        const char *next = cell_end + 1;
        while (cell_end > from && is_blank(cell_end[-1]))
            cell_end--;
        buffer_append(&cell, from, (size_t)(cell_end - from));
        from = next;
        vec_push(cx->arena, &row.cell, cell.text);
    }
    return row;
}

static bool as_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0;
}

static bool is_whole(const char *text)
{
    return *text && text[strspn(text, "+-0123456789")] == 0;
}

// Whether two classes that the programs took for the largest one can have had shares within the
// tolerance: then both print nearly the same share, and it is hardly above a half.
static bool may_be_tie(const CsvRow *left, const CsvRow *right, double tolerance)
{
    bool shares = false;
    for (int i = 1; i < left->cell.count; i++) { // behind the row's number
        const char *want = left->cell.at[i], *have = right->cell.at[i];
        double x, y;
        if (is_whole(want) || !as_number(want, &x) || !as_number(have, &y))
            continue;
        shares = true;
        if (!(x >= 0 && x <= 0.5 + tolerance && y >= 0 && y <= 0.5 + tolerance))
            return false;
    }
    return shares;
}

Comparison compare_predictions(Cx *cx, const char *expected, const char *found, double tolerance)
{
    bool rounded = tolerance == 0;
    Comparison result = {.worst = 0};
    double squares = 0, noise = 0;
    const char *a = expected, *b = found;

    while (*a && *b && !result.wrong) {
        CsvRow left = csv_next(cx, &a, &CSV_PRINTED), right = csv_next(cx, &b, &CSV_PRINTED);
        if (left.cell.count != right.cell.count) {
            result.wrong = arena_printf(cx->arena, "row %d has %d values, expected %d", result.rows,
                                        right.cell.count, left.cell.count);
            break;
        }
        for (int i = 0; i < left.cell.count && !result.wrong; i++) {
            const char *want = left.cell.at[i], *have = right.cell.at[i];
            double x = 0, y = 0;
            bool class = (is_whole(want) && (!rounded || is_whole(have))) || !as_number(want, &x) ||
                         !as_number(have, &y);
            if (class) {
                result.wholes += result.rows > 0 && i > 0; // not the header, not the row's number
                if (strcmp(want, have) == 0)
                    continue;
                result.others++;
                if (!rounded && i > 0 && result.rows > 0 && may_be_tie(&left, &right, tolerance)) {
                    result.ties++;
                    continue;
                }
                if (!rounded || i == 0 || result.rows == 0)
                    result.wrong =
                        arena_printf(cx->arena, "row %d, value %d: expected %s, found %s",
                                     result.rows, i + 1, want, have);
                continue;
            }
            double difference = fabs(x - y);
            if (difference > result.worst)
                result.worst = difference;
            squares += x * x;
            noise += difference * difference;
            if (tolerance > 0 && !(difference <= tolerance * (1 + fabs(x))))
                result.wrong = arena_printf(cx->arena, "row %d, value %d: expected %s, found %s",
                                            result.rows, i + 1, want, have);
        }
        result.rows++;
    }
    if (!result.wrong && (*a || *b))
        result.wrong =
            arena_printf(cx->arena, "%s rows than the training program", *a ? "fewer" : "more");
    result.rows--; // the header
    result.noise = squares > 0 ? sqrt(noise / squares) : 0;
    if (!result.wrong && result.ties > 1 + result.rows / MOST_TIES)
        result.wrong =
            arena_printf(cx->arena,
                         "%d of %d classes differ where two are about as likely (at most "
                         "1 and one in %d)",
                         result.ties, result.wholes, MOST_TIES);
    if (!result.wrong && rounded &&
        !(noise <= ROUNDED_NOISE * squares && 10 * result.others <= result.wholes))
        result.wrong = arena_printf(cx->arena,
                                    "the differences have %.3g times the squares of the values "
                                    "(at most %g), and %d of %d classes differ (at most a tenth)",
                                    squares > 0 ? noise / squares : INFINITY, ROUNDED_NOISE,
                                    result.others, result.wholes);
    if (!result.wrong && result.rows < 1)
        result.wrong = "no row was predicted";
    return result;
}

int csv_column(CsvRow header, const char *name)
{
    for (int i = 0; i < header.cell.count; i++)
        if (strcmp(header.cell.at[i], name) == 0)
            return i;
    return -1;
}

// The row's class, as its field reads the cell; -1: it is none.
static int64_t class_of(const aml_field *field, const char *cell)
{
    int64_t class;
    return aml_columns_class(field, cell, &class) ? class : -1;
}

// The class that a program wrote: its name, or its number where classes have none.
static int64_t predicted_class(const aml_field *field, const char *cell)
{
    for (int64_t i = 0; field->tensor.class_name && i < field->tensor.classes; i++)
        if (strcmp(field->tensor.class_name[i], cell) == 0)
            return i;
    double number;
    return !field->tensor.class_name && as_number(cell, &number) ? (int64_t)number : -1;
}

double accuracy_of(Cx *cx, const char *predictions, const char *rows, const CsvForm *form,
                   bool has_header, const aml_field *label)
{
    const char *p = predictions, *r = rows;
    int prediction = csv_column(csv_next(cx, &p, &CSV_PRINTED), "prediction"),
        column = label->first;
    if (strncmp(r, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
        r += strlen(BYTE_ORDER_MARK);
    if (prediction < 0)
        return -1;
    if (has_header) {
        CsvRow names = csv_next(cx, &r, form);
        column = label->column ? csv_column(names, label->column) : column;
    }
    int64_t right = 0, count = 0;
    for (;; count++) {
        CsvRow answer = csv_next(cx, &p, &CSV_PRINTED), row = csv_next(cx, &r, form);
        if (answer.cell.count == 0 && row.cell.count == 0)
            break;
        if (column < 0 || column >= row.cell.count || prediction >= answer.cell.count)
            return -1;
        int64_t expected = class_of(label, row.cell.at[column]);
        if (expected < 0)
            return -1;
        right += expected == predicted_class(label, answer.cell.at[prediction]);
    }
    return count ? (double)right / (double)count : -1;
}
