// Cells to elements: numbers are read exactly, and everything that is not a number of the field's
// type is refused.

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/csv.h"

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static uint16_t to_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    float size = fabsf(value);
    if (size >= 65520.0f)
        return sign | 0x7C00;
    if (size < 6.103515625e-05f) // subnormal: multiples of 2^-24; nearbyint rounds halves to even
        return sign | (uint16_t)nearbyintf(size * 16777216.0f);
    bits &= 0x7FFFFFFF;
    bits += 0xFFF + (bits >> 13 & 1);
    return sign | (uint16_t)((bits >> 13) - (112 << 10));
}

// Whether the text is a decimal number: [+-] digits [. digits] [e [+-] digits].
static bool is_decimal(const char *at, const char *end)
{
    if (at < end && (*at == '+' || *at == '-'))
        at++;
    int digits = 0;
    while (at < end && *at >= '0' && *at <= '9')
        at++, digits++;
    if (at < end && *at == '.') {
        at++;
        while (at < end && *at >= '0' && *at <= '9')
            at++, digits++;
    }
    if (digits == 0)
        return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        int exponent = 0;
        while (at < end && *at >= '0' && *at <= '9')
            at++, exponent++;
        if (exponent == 0)
            return false;
    }
    return at == end;
}

enum { LONGEST_NUMBER = 400 };

static bool decode_real(const aml_tensor_info *tensor, const char *at, size_t length, void *element,
                        char *expected, size_t room)
{
    const char *name = aml_dtype_name(tensor->dtype);
    if (length > LONGEST_NUMBER || !is_decimal(at, at + length)) {
        snprintf(expected, room, "a number (%s)", name);
        return false;
    }
    char text[LONGEST_NUMBER + 1];
    memcpy(text, at, length);
    text[length] = 0;
    double wide = 0;
    float narrow = 0;
    if (tensor->dtype == AML_F64) {
        wide = strtod(text, NULL);
    } else {
        // up to six digits without exponent are exact in f32: the usual case
        uint32_t small = 0;
        size_t i = 0;
        while (i < length && i < 6 && text[i] >= '0' && text[i] <= '9')
            small = small * 10 + (uint32_t)(text[i++] - '0');
        narrow = i == length ? (float)small : strtof(text, NULL);
    }
    double size = fabs(tensor->dtype == AML_F64 ? wide : (double)narrow);
    if (isinf(size) || (tensor->dtype == AML_F16 && size >= 65520) ||
        (tensor->dtype == AML_BF16 && size > 3.389e38)) {
        snprintf(expected, room, "a number that %s can hold", name);
        return false;
    }
    if (tensor->dtype == AML_F64)
        memcpy(element, &wide, 8);
    else if (tensor->dtype == AML_F32)
        memcpy(element, &narrow, 4);
    else {
        uint16_t half = tensor->dtype == AML_F16 ? to_f16(narrow) : to_bf16(narrow);
        memcpy(element, &half, 2);
    }
    return true;
}

static bool decode_whole(const aml_tensor_info *tensor, const char *at, size_t length,
                         void *element, char *expected, size_t room)
{
    int64_t low = 0, high = 0;
    if (tensor->dtype == AML_I8)
        low = INT8_MIN, high = INT8_MAX;
    else if (tensor->dtype == AML_U8)
        high = UINT8_MAX;
    else if (tensor->dtype == AML_I32)
        low = INT32_MIN, high = INT32_MAX;
    else
        low = INT64_MIN, high = INT64_MAX;
    if (tensor->classes > 0) {
        low = 0;
        high = tensor->classes - 1;
    }
    const char *end = at + length;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    bool whole = at < end;
    uint64_t value = 0;
    for (; whole && at < end; at++) {
        whole = *at >= '0' && *at <= '9';
        if (whole && (__builtin_mul_overflow(value, 10, &value) ||
                      __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)))
            whole = false;
    }
    uint64_t most = negative ? (uint64_t)0 - (uint64_t)low : (uint64_t)high;
    if (!whole || (negative && low == 0 && value != 0) || value > most) {
        snprintf(expected, room,
                 tensor->classes > 0 ? "a class in %lld..%lld" : "a whole number in %lld..%lld",
                 (long long)low, (long long)high);
        return false;
    }
    int64_t result = negative ? (int64_t)((uint64_t)0 - value) : (int64_t)value;
    size_t bytes = aml_dtype_bytes(tensor->dtype);
    memcpy(element, &result, bytes); // little-endian: the low bytes come first
    return true;
}

static bool decode_truth(const char *at, size_t length, void *element, char *expected, size_t room)
{
    static const char *const no[] = {"0", "false", "False", "FALSE"}, *const yes[] = {"1", "true",
                                                                                      "True",
                                                                                      "TRUE"};
    for (size_t i = 0; i < AMLI_COUNT(no); i++) {
        bool is_yes = strlen(yes[i]) == length && memcmp(at, yes[i], length) == 0;
        bool is_no = strlen(no[i]) == length && memcmp(at, no[i], length) == 0;
        if (is_yes || is_no) {
            *(uint8_t *)element = is_yes;
            return true;
        }
    }
    snprintf(expected, room, "0, 1, true or false");
    return false;
}

bool amli_decode(const aml_tensor_info *tensor, const amli_cell *cell, const char *missing,
                 void *element, char *expected, size_t room)
{
    const char *at = cell->at;
    size_t length = cell->length;
    while (length && (*at == ' ' || *at == '\t'))
        at++, length--;
    while (length && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    bool absent = length == 0 || (missing && *missing && strlen(missing) == length &&
                                  memcmp(missing, at, length) == 0);
    bool done = false;
    switch (tensor->dtype) {
    case AML_F32:
    case AML_F64:
    case AML_F16:
    case AML_BF16:
        done = !absent && decode_real(tensor, at, length, element, expected, room);
        break;
    case AML_I8:
    case AML_U8:
    case AML_I32:
    case AML_I64:
        done = !absent && decode_whole(tensor, at, length, element, expected, room);
        break;
    case AML_BOOL:
        done = !absent && decode_truth(at, length, element, expected, room);
        break;
    }
    if (absent)
        snprintf(expected, room, "a value, not a missing one");
    return done;
}

bool amli_has_header(aml_header header, const aml_field field[], int fields)
{
    if (header != AML_HEADER_AUTO)
        return header == AML_HEADER_YES;
    for (int i = 0; i < fields; i++)
        if (field[i].column)
            return true;
    return false;
}

// Numbers are names only if they count the columns, as some tools do that have no names to write.
aml_status amli_check_header(aml_header stated, const amli_cell header[], int64_t columns,
                             aml_error *error)
{
    const aml_tensor_info number = {.dtype = AML_F64};
    bool counts = true;
    double last = -1;
    for (int64_t i = 0; i < columns; i++) {
        char expected[64];
        double value;
        if (!amli_decode(&number, &header[i], NULL, &value, expected, sizeof expected))
            return AML_OK;
        counts = counts && value > last && value == floor(value);
        last = value;
    }
    if (counts || stated != AML_HEADER_AUTO)
        return AML_OK;
    return amli_fail(error, AML_BAD_DATA,
                     "expected the names of the columns, found a row of numbers\nhelp: put a line "
                     "of names before it; if these are the names, say so: source: csv(..., header: "
                     "yes)");
}

static int64_t find_column(const char *name, const amli_cell header[], int64_t columns)
{
    for (int64_t i = 0; i < columns; i++)
        if (amli_cell_is(&header[i], name))
            return i;
    return -1;
}

enum { SHOWN_COLUMNS = 64, SHOWN_NAME = 64 };

static aml_status no_such_column(const aml_field *field, const amli_cell header[], int64_t columns,
                                 aml_error *error)
{
    char names[SHOWN_COLUMNS][SHOWN_NAME], list[1024];
    const char *candidates[SHOWN_COLUMNS];
    int count = 0;
    size_t used = 0;
    list[0] = 0;
    for (int64_t i = 0; i < columns && count < SHOWN_COLUMNS; i++, count++) {
        size_t length = header[i].length < SHOWN_NAME - 1 ? header[i].length : SHOWN_NAME - 1;
        memcpy(names[count], header[i].at, length);
        names[count][length] = 0;
        candidates[count] = names[count];
        if (used < 240)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                     names[count]);
    }
    if (count < columns || used >= 240)
        snprintf(list + used, sizeof list - used, ", ...");
    const char *near = amli_closest(field->column, candidates, count);
    return amli_fail(error, AML_BAD_DATA,
                     "no column is named \"%s\", which the field '%s' reads (%s)\n  found %lld "
                     "columns: %s%s%s%s",
                     field->column, field->tensor.name, field->place ? field->place : "?",
                     (long long)columns, list, near ? "\nhelp: did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
}

aml_status amli_bind_columns(const aml_field field[], int fields, const amli_cell header[],
                             int64_t columns, bool labels_may_be_absent, int64_t column[],
                             aml_error *error)
{
    for (int i = 0; i < fields; i++) {
        bool may_be_absent = labels_may_be_absent && field[i].label;
        if (field[i].column) {
            column[i] = header ? find_column(field[i].column, header, columns) : -1;
            if (column[i] < 0 && !may_be_absent)
                return header ? no_such_column(&field[i], header, columns, error)
                              : amli_fail(error, AML_BAD_DATA,
                                          "the field '%s' reads the column named \"%s\", and the "
                                          "file has no header row",
                                          field[i].tensor.name, field[i].column);
            continue;
        }
        column[i] = field[i].first;
        if ((int64_t)field[i].first + field[i].count <= columns)
            continue;
        column[i] = -1;
        if (!may_be_absent)
            return amli_fail(
                error, AML_BAD_DATA,
                "the field '%s' reads the columns %d..%d, and the file has %lld columns (0..%lld)",
                field[i].tensor.name, field[i].first, field[i].first + field[i].count - 1,
                (long long)columns, (long long)columns - 1);
    }
    return AML_OK;
}

static bool bad_cell(const amli_csv *csv, const char *path, const amli_cell *cell,
                     const amli_cell *name, int64_t position, const aml_field *field,
                     const char *expected, aml_error *error)
{
    char found[96], column_name[96];
    int64_t line, column;
    amli_csv_place(csv, cell->at, &line, &column);
    if (name)
        amli_cell_text(name, column_name, sizeof column_name);
    else
        snprintf(column_name, sizeof column_name, "%lld", (long long)position);
    amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: column %s, field '%s': expected %s, found %s",
              path, (long long)line, (long long)column, column_name, field->tensor.name, expected,
              amli_cell_text(cell, found, sizeof found));
    return false;
}

bool amli_decode_row(const amli_csv *csv, const char *path, const amli_cell cell[], int64_t columns,
                     const amli_cell header[], const aml_field field[], int fields,
                     const int64_t column[], const char *missing, void *const to[],
                     aml_error *error)
{
    if (csv->problem) {
        int64_t line, place;
        amli_csv_place(csv, csv->problem_at, &line, &place);
        amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: expected a row of %lld cells, found %s", path,
                  (long long)line, (long long)place, (long long)columns, csv->problem);
        return false;
    }
    if (csv->cells != columns) {
        amli_fail(error, AML_BAD_DATA,
                  "%s:%lld:1: expected %lld cells as in the first row, found %lld", path,
                  (long long)csv->line, (long long)columns, (long long)csv->cells);
        return false;
    }
    for (int i = 0; i < fields; i++) {
        size_t size = aml_dtype_bytes(field[i].tensor.dtype);
        for (int64_t k = 0; k < field[i].count; k++) {
            char *element = (char *)to[i] + (size_t)k * size;
            if (column[i] < 0) {
                memset(element, 0, size);
                continue;
            }
            int64_t position = column[i] + k;
            char expected[96];
            if (!amli_decode(&field[i].tensor, &cell[position], missing, element, expected,
                             sizeof expected))
                return bad_cell(csv, path, &cell[position], header ? &header[position] : NULL,
                                position, &field[i], expected, error);
        }
    }
    return true;
}
