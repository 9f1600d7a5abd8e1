// Cells to elements: numbers are read exactly, and everything that is not a number of the field's
// type is refused.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <ctype.h>
#include <string.h>

#include "runtime/data/csv.h"
#include "runtime/data/real.h"

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
    // subnormal: multiples of 2^-24, of which a sum at 2^23 rounds halves to even ones
    if (size < 6.103515625e-05f)
        return sign | (uint16_t)(size * 16777216.0f + 0x1p23f - 0x1p23f);
    bits &= 0x7FFFFFFF;
    bits += 0xFFF + (bits >> 13 & 1);
    return sign | (uint16_t)((bits >> 13) - (112 << 10));
}

bool amli_store_real(aml_dtype dtype, double value, void *element)
{
    float narrow = (float)value;
    bool finite = value - value == 0;
    if (dtype == AML_F64) {
        memcpy(element, &value, 8);
        return finite;
    }
    uint16_t half = 0;
    if (value != value)
        half = dtype == AML_F16 ? 0x7E00 : 0x7FC0;
    else if (dtype != AML_F32)
        half = dtype == AML_F16 ? to_f16(narrow) : to_bf16(narrow);
    if (dtype == AML_F32)
        memcpy(element, &narrow, 4);
    else
        memcpy(element, &half, 2);
    float size = fabsf(narrow);
    return finite && !isinf(size) && (dtype != AML_F16 || size < 65520) &&
           (dtype != AML_BF16 || size <= 3.389e38f);
}

static bool decode_real(const aml_tensor_info *tensor, const char *at, size_t length, void *element,
                        char *expected, size_t room)
{
    double wide = 0;
    float narrow = 0;
    amli_real read = tensor->dtype == AML_F64 ? amli_read_f64(at, length, &wide)
                                              : amli_read_f32(at, length, &narrow);
    float size = fabsf(narrow);
    if (read == AMLI_REAL_READ && ((tensor->dtype == AML_F16 && size >= 65520) ||
                                   (tensor->dtype == AML_BF16 && size > 3.389e38f)))
        read = AMLI_REAL_LARGE;
    if (read != AMLI_REAL_READ) {
        const char *name = aml_dtype_name(tensor->dtype);
        snprintf(expected, room,
                 read == AMLI_REAL_LARGE ? "a number that %s can hold" : "a number (%s)", name);
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
    static const char no[][6] = {"0", "false", "False", "FALSE"},
                      yes[][5] = {"1", "true", "True", "TRUE"};
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

bool amli_decode_number(const aml_tensor_info *tensor, const amli_cell *cell, void *element,
                        char *expected, size_t room)
{
    const char *at = cell->at;
    size_t length = cell->length;
    switch (tensor->dtype) {
    case AML_F32:
    case AML_F64:
    case AML_F16:
    case AML_BF16:
        return decode_real(tensor, at, length, element, expected, room);
    case AML_I8:
    case AML_U8:
    case AML_I32:
    case AML_I64:
        return decode_whole(tensor, at, length, element, expected, room);
    case AML_BOOL:
        return decode_truth(at, length, element, expected, room);
    }
    return false;
}

void amli_cell_trim(const aml_cell_rule *rule, amli_cell *cell)
{
    const char *at = cell->at;
    size_t length = cell->length;
    while (length && (*at == ' ' || *at == '\t'))
        at++, length--;
    while (length && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    size_t ending = rule && rule->ending ? strlen(rule->ending) : 0;
    if (ending && length > ending && memcmp(at + length - ending, rule->ending, ending) == 0)
        length -= ending;
    cell->at = at;
    cell->length = length;
}

bool amli_decode(const aml_tensor_info *tensor, const aml_cell_rule *rule, const amli_cell *given,
                 void *element, char *expected, size_t room)
{
    amli_cell cell = *given;
    amli_cell_trim(rule, &cell);
    if (rule && rule->read)
        return rule->read(tensor, rule, &cell, element, expected, room);
    if (cell.length == 0) {
        snprintf(expected, room, "a value, not a missing one");
        return false;
    }
    return amli_decode_number(tensor, &cell, element, expected, room);
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

static bool is_whole(double value)
{
    return fabs(value) >= 0x1p53 || (double)(int64_t)value == value;
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
        if (!amli_decode(&number, NULL, &header[i], &value, expected, sizeof expected))
            return AML_OK;
        counts = counts && value > last && is_whole(value);
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

static aml_status no_such_column(const aml_field *field, const char *name, const amli_cell header[],
                                 int64_t columns, aml_error *error)
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
    const char *near = amli_closest(name, candidates, count);
    return amli_fail(error, AML_BAD_DATA,
                     "no column is named \"%s\", which the field '%s' reads (%s)\n  found %lld "
                     "columns: %s%s%s%s",
                     name, field->tensor.name, field->place ? field->place : "?",
                     (long long)columns, list, near ? "\nhelp: did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
}

// Columns from a name to a name must be as many as the field has elements.
static aml_status check_last(const aml_field *field, const amli_cell header[], int64_t columns,
                             int64_t first, aml_error *error)
{
    int64_t last = find_column(field->last_column, header, columns);
    if (last < 0)
        return no_such_column(field, field->last_column, header, columns, error);
    if (last - first + 1 == field->count)
        return AML_OK;
    return amli_fail(error, AML_BAD_DATA,
                     "the field '%s' (%s) needs %d columns, and from \"%s\" to \"%s\" (columns "
                     "%lld and %lld) the file has %lld",
                     field->tensor.name, field->place ? field->place : "?", field->count,
                     field->column, field->last_column, (long long)first, (long long)last,
                     (long long)(last < first ? 0 : last - first + 1));
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
                return header ? no_such_column(&field[i], field[i].column, header, columns, error)
                              : amli_fail(error, AML_BAD_DATA,
                                          "the field '%s' reads the column named \"%s\", and the "
                                          "file has no header row",
                                          field[i].tensor.name, field[i].column);
            if (column[i] >= 0 && field[i].last_column) {
                aml_status status = check_last(&field[i], header, columns, column[i], error);
                if (status)
                    return status;
            }
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
    bool names = field->tensor.classes > 0 && !field->rule && cell->length > 0 &&
                 isalpha((unsigned char)*cell->at);
    amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: column %s, field '%s': expected %s, found %s%s",
              path, (long long)line, (long long)column, column_name, field->tensor.name, expected,
              amli_cell_text(cell, found, sizeof found),
              names ? "\nhelp: classes that have names are a `category`, or class(n) of a column "
                      "with `values: [...]`"
                    : "");
    return false;
}

// ---- categories by a hash

static inline uint64_t hash_of(const char *at, size_t length)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t hash = length * factor, word;
    for (; length >= 8; at += 8, length -= 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
    }
    word = 0;
    for (size_t i = 0; i < length; i++)
        word = word << 8 | (unsigned char)at[i];
    hash = (hash ^ word) * factor;
    return hash ^ hash >> 32;
}

bool amli_lookup_new(const aml_field *field, amli_lookup *lookup)
{
    const aml_cell_rule *rule = field->rule;
    *lookup = (amli_lookup){.name = field->tensor.class_name};
    if (!rule || rule->kind != AML_CELL_CATEGORY || !lookup->name) // the names are being looked for
        return true;
    int64_t names = field->tensor.classes - rule->unknown;
    for (lookup->slots = 4; lookup->slots < (size_t)names * 2; lookup->slots *= 2)
        ;
    lookup->slot = calloc(lookup->slots, sizeof *lookup->slot);
    lookup->length = calloc((size_t)names + 1, sizeof *lookup->length);
    if (!lookup->slot || !lookup->length)
        return false;
    for (int64_t i = 0; i < names; i++) {
        lookup->length[i] = strlen(lookup->name[i]);
        uint64_t at = hash_of(lookup->name[i], lookup->length[i]);
        while (lookup->slot[at & (lookup->slots - 1)])
            at++;
        lookup->slot[at & (lookup->slots - 1)] = (int32_t)i + 1;
    }
    return true;
}

void amli_lookup_free(amli_lookup *lookup)
{
    free(lookup->slot), free(lookup->length);
}

// False: the long way tells what it is.
static bool find_class(const aml_field *field, const amli_lookup *lookup, const amli_cell *given,
                       void *element)
{
    amli_cell cell = *given;
    amli_cell_trim(field->rule, &cell);
    if (cell.doubled || amli_cell_absent(field->rule, &cell))
        return false;
    uint64_t at = hash_of(cell.at, cell.length);
    for (int32_t class; (class = lookup->slot[at & (lookup->slots - 1)]) != 0; at++) {
        int64_t found = class - 1;
        if (lookup->length[found] != cell.length ||
            memcmp(lookup->name[found], cell.at, cell.length) != 0)
            continue;
        memcpy(element, &found, aml_dtype_bytes(field->tensor.dtype));
        return true;
    }
    return false;
}

// The usual case without detours: how many cells from the first on are plain numbers.
static int64_t decode_singles(const char *text, const amli_cell cell[], int64_t count, float to[])
{
    int64_t k = 0;
    for (; k < count; k++) {
        const char *at = cell[k].at;
        size_t length = cell[k].length;
        while (length && *at == ' ')
            at++, length--;
        uint32_t whole;
        if (length - 1 < 8 && (size_t)(at - text) + length >= 8 &&
            amli_read_short(at, length, &whole))
            to[k] = (float)whole;
        else if (amli_read_f32(at, length, &to[k]) != AMLI_REAL_READ)
            break;
    }
    return k;
}

aml_status amli_cells_open(const aml_field field[], int fields, void ***own, aml_error *error)
{
    bool needed = false;
    *own = NULL;
    for (int i = 0; i < fields; i++)
        needed = needed || (field[i].rule && field[i].rule->decoder);
    if (!needed)
        return AML_OK;
    *own = calloc((size_t)fields, sizeof **own);
    bool good = *own != NULL;
    for (int i = 0; i < fields && good; i++)
        if (field[i].rule && field[i].rule->decoder)
            good = ((*own)[i] = field[i].rule->decoder->open(&field[i])) != NULL;
    if (good)
        return AML_OK;
    amli_cells_close(field, fields, *own);
    *own = NULL;
    return amli_no_memory(error, sizeof **own, "a field's texts");
}

void amli_cells_close(const aml_field field[], int fields, void **own)
{
    for (int i = 0; i < fields && own; i++)
        if (own[i])
            field[i].rule->decoder->close(own[i]);
    free(own);
}

bool amli_check_row(const amli_csv *csv, const char *path, int64_t columns, aml_error *error)
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
    return true;
}

bool amli_decode_row(const amli_csv *csv, const char *path, const amli_cell cell[], int64_t columns,
                     const amli_cell header[], const aml_field field[], int fields,
                     const int64_t column[], const amli_lookup lookup[], void *const own[],
                     void *const to[], aml_error *error)
{
    if (!amli_check_row(csv, path, columns, error))
        return false;
    for (int i = 0; i < fields; i++) {
        size_t size = aml_dtype_bytes(field[i].tensor.dtype);
        if (!to[i])
            continue;
        if (column[i] < 0) {
            memset(to[i], 0, (size_t)aml_shape_elements(&field[i].tensor.shape) * size);
            continue;
        }
        const amli_cell *from = &cell[column[i]];
        if (field[i].rule && field[i].rule->kind == AML_CELL_TEXT) {
            char expected[120];
            if (!field[i].rule->decoder->decode(own[i], &field[i], from, to[i], expected,
                                                sizeof expected))
                return bad_cell(csv, path, from, header ? &header[column[i]] : NULL, column[i],
                                &field[i], expected, error);
            continue;
        }
        int64_t k = field[i].tensor.dtype == AML_F32 && !field[i].rule
                        ? decode_singles(csv->text, from, field[i].count, to[i])
                        : 0;
        for (; k < field[i].count; k++) {
            int64_t position = column[i] + k;
            char expected[120];
            if (lookup && lookup[i].slots &&
                find_class(&field[i], &lookup[i], &from[k], (char *)to[i] + (size_t)k * size))
                continue;
            if (!amli_decode(&field[i].tensor, field[i].rule, &from[k],
                             (char *)to[i] + (size_t)k * size, expected, sizeof expected))
                return bad_cell(csv, path, &from[k], header ? &header[position] : NULL, position,
                                &field[i], expected, error);
        }
    }
    return true;
}
