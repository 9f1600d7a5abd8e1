// Cells by their fields' rules: categories, dates, missing values. The rule names its reader, so a
// program whose cells are all plain numbers is linked with none of this.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/data/csv.h"

// Compares a text, "" read as " if `doubled`, with a name, byte by byte.
static int compare(const char *at, size_t length, bool doubled, const char *name)
{
    const char *end = at + length;
    for (; at < end; at++, name++) {
        if (*at != *name || !*name)
            return (unsigned char)*at < (unsigned char)*name ? -1 : 1;
        at += doubled && *at == '"';
    }
    return *name ? -1 : 0;
}

static bool decode_category(const aml_tensor_info *tensor, const aml_cell_rule *rule,
                            const amli_cell *cell, void *element, char *expected, size_t room)
{
    int64_t names = tensor->classes - rule->unknown, low = 0, high = names, found = -1;
    while (low < high && found < 0) {
        int64_t middle = (low + high) / 2, class = rule->order[middle];
        int order = compare(cell->at, cell->length, cell->doubled, tensor->class_name[class]);
        if (order == 0)
            found = class;
        else if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    if (found < 0 && rule->unknown)
        found = names;
    if (found < 0) {
        size_t used = (size_t)snprintf(expected, room, "one of ");
        for (int64_t i = 0; i < names && used + 24 < room; i++)
            used += (size_t)snprintf(expected + used, room - used, "%s\"%.16s\"", i ? ", " : "",
                                     tensor->class_name[i]);
        if (used + 24 >= room)
            snprintf(expected, room, "one of the %lld texts of the training data (\"%.16s\", ...)",
                     (long long)names, tensor->class_name[0]);
        return false;
    }
    memcpy(element, &found, aml_dtype_bytes(tensor->dtype));
    return true;
}

bool amli_cell_absent(const aml_cell_rule *rule, const amli_cell *cell)
{
    if (cell->length == 0)
        return true;
    for (int i = 0; rule && i < rule->missings; i++)
        if (*rule->missing[i] == *cell->at &&
            compare(cell->at, cell->length, cell->doubled, rule->missing[i]) == 0)
            return true;
    return false;
}

// Not a number, which only a field of reals can hold.
static bool fill_nan(const aml_tensor_info *tensor, const char *fill, void *element)
{
    if (strcmp(fill, "nan") != 0)
        return false;
    const double wide = (double)NAN;
    const float narrow = NAN;
    const uint16_t f16 = 0x7E00, bf16 = 0x7FC0;
    const void *from = tensor->dtype == AML_F64   ? (const void *)&wide
                       : tensor->dtype == AML_F32 ? (const void *)&narrow
                       : tensor->dtype == AML_F16 ? (const void *)&f16
                                                  : (const void *)&bf16;
    memcpy(element, from, aml_dtype_bytes(tensor->dtype));
    return tensor->dtype <= AML_BF16;
}

bool amli_read_by_rule(const aml_tensor_info *tensor, const aml_cell_rule *rule,
                       const amli_cell *trimmed, void *element, char *expected, size_t room)
{
    amli_cell cell = *trimmed;
    bool absent = amli_cell_absent(rule, &cell);
    if (rule->kind == AML_CELL_PRESENT) {
        *(uint8_t *)element = !absent;
        return true;
    }
    if (absent && !rule->fill) {
        snprintf(expected, room, "a value, not a missing one");
        return false;
    }
    if (absent) {
        cell = (amli_cell){.at = rule->fill, .length = strlen(rule->fill)};
        if (rule->kind == AML_CELL_NUMBER && fill_nan(tensor, rule->fill, element))
            return true;
    }
    int64_t seconds;
    switch (rule->kind) {
    case AML_CELL_CATEGORY:
        return decode_category(tensor, rule, &cell, element, expected, room);
    case AML_CELL_TIME:
        if (!amli_read_time(cell.at, cell.length, rule->format, &seconds)) {
            snprintf(expected, room,
                     rule->format ? "a date written as %s"
                                  : "a date as in 2016-07-01 or 2016-07-01 "
                                    "13:00:00%s",
                     rule->format ? rule->format : "");
            return false;
        }
        memcpy(element, &seconds, sizeof seconds);
        return true;
    case AML_CELL_NUMBER:
    case AML_CELL_PRESENT:
    case AML_CELL_TEXT: // by amli_decode_row, for all elements at once
        break;
    }
    return amli_decode_number(tensor, &cell, element, expected, room);
}
