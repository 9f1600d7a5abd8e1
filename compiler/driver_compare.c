// driver_compare.c: what a deployed program predicts beside what the training program predicts.
//
// Both read the same csv rows and print csv. Whole numbers (classes) and texts must be equal, other
// numbers within a tolerance that leaves room for another order of addition and nothing else. Where
// values are rounded to bytes, some classes may change, and the squares of the differences must be
// small beside those of the values.

#include "driver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "driver_compare.h"

#define ROUNDED_NOISE 0.02

// The end of the csv record that begins at `at`: after its line break. Quoted cells may hold line
// breaks.
static const char *record_end(const char *at)
{
    bool quoted = false;
    for (; *at; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (*at == '\n' && !quoted)
            return at + 1;
    }
    return at;
}

const char *csv_head(Cx *cx, const char *text, int records)
{
    const char *end = text;
    for (int i = 0; i < records && *end; i++)
        end = record_end(end);
    return arena_text(cx->arena, text, (size_t)(end - text));
}

CsvRow csv_next(Cx *cx, const char **at, char separator)
{
    CsvRow row = {0};
    const char *from = *at, *end = record_end(from);
    *at = end;
    while (end > from && (end[-1] == '\n' || end[-1] == '\r'))
        end--;
    while (from <= end) {
        Buffer cell = {.arena = cx->arena};
        buffer_text(&cell, "");
        if (from < end && *from == '"') {
            for (from++; from < end; from++) {
                if (*from == '"' && (from + 1 == end || from[1] != '"'))
                    break;
                if (*from == '"')
                    from++;
                buffer_append(&cell, from, 1);
            }
            from++;
        }
        while (from < end && *from != separator)
            buffer_append(&cell, from++, 1);
        from++;
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

Comparison compare_predictions(Cx *cx, const char *expected, const char *found, double tolerance)
{
    bool rounded = tolerance == 0;
    Comparison result = {.worst = 0};
    double squares = 0, noise = 0;
    const char *a = expected, *b = found;

    while (*a && *b && !result.wrong) {
        CsvRow left = csv_next(cx, &a, ','), right = csv_next(cx, &b, ',');
        if (left.cell.count != right.cell.count) {
            result.wrong = arena_printf(cx->arena, "row %d has %d values, expected %d", result.rows,
                                        right.cell.count, left.cell.count);
            break;
        }
        for (int i = 0; i < left.cell.count && !result.wrong; i++) {
            const char *want = left.cell.at[i], *have = right.cell.at[i];
            double x, y;
            bool whole = is_whole(want) && (!rounded || is_whole(have));
            if (whole || !as_number(want, &x) || !as_number(have, &y)) {
                result.wholes += whole && i > 0; // the first is the row's number
                if (strcmp(want, have) == 0)
                    continue;
                result.others++;
                if (!rounded || i == 0 || !whole)
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

double accuracy_of(Cx *cx, const char *predictions, const char *rows, char separator,
                   const char *label_name, int label_position)
{
    const char *p = predictions, *r = rows;
    CsvRow header = csv_next(cx, &p, ',');
    int prediction = csv_column(header, "prediction"), label = label_position;
    if (prediction < 0)
        return -1;
    if (label_name)
        label = csv_column(csv_next(cx, &r, separator), label_name);
    int64_t right = 0, count = 0;
    while (*p && *r) {
        CsvRow row = csv_next(cx, &r, separator);
        double expected, found;
        if (label < 0 || label >= row.cell.count)
            return -1;
        if (!as_number(row.cell.at[label], &expected) && count == 0)
            continue; // a header above columns that are read by position
        CsvRow answer = csv_next(cx, &p, ',');
        if (prediction >= answer.cell.count || !as_number(answer.cell.at[prediction], &found) ||
            !as_number(row.cell.at[label], &expected))
            return -1;
        right += expected == found;
        count++;
    }
    return count ? (double)right / (double)count : -1;
}
