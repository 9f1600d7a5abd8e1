// Numbers as people write and read them.

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/base.h"

// Every unit that may follow a number: its spelling, what it is a unit of, and how much one is.
static const struct {
    const char *name;
    aml_unit unit;
    double factor;
} units[] = {
    {"step", AML_UNIT_STEPS, 1},         {"steps", AML_UNIT_STEPS, 1},
    {"epoch", AML_UNIT_EPOCHS, 1},       {"epochs", AML_UNIT_EPOCHS, 1},
    {"ms", AML_UNIT_SECONDS, 1e-3},      {"us", AML_UNIT_SECONDS, 1e-6},
    {"s", AML_UNIT_SECONDS, 1},          {"min", AML_UNIT_SECONDS, 60},
    {"h", AML_UNIT_SECONDS, 3600},       {"d", AML_UNIT_SECONDS, 86400},
    {"days", AML_UNIT_SECONDS, 86400},   {"B", AML_UNIT_BYTES, 1},
    {"KiB", AML_UNIT_BYTES, 1024},       {"MiB", AML_UNIT_BYTES, 1048576},
    {"GiB", AML_UNIT_BYTES, 1073741824}, {"kB", AML_UNIT_BYTES, 1e3},
    {"MB", AML_UNIT_BYTES, 1e6},         {"GB", AML_UNIT_BYTES, 1e9},
    {"%", AML_UNIT_FRACTION, 0.01},      {"pp", AML_UNIT_FRACTION, 0.01},
};

const char *amli_unit_text(aml_unit unit)
{
    switch (unit) {
    case AML_UNIT_NONE:
        return "";
    case AML_UNIT_STEPS:
        return "steps";
    case AML_UNIT_EPOCHS:
        return "epochs";
    case AML_UNIT_SECONDS:
        return "s";
    case AML_UNIT_BYTES:
        return "B";
    case AML_UNIT_FRACTION:
        return "";
    }
    return "";
}

bool amli_parse_quantity(const char *text, double *value, aml_unit *unit)
{
    // strtod also takes hexadecimal, "inf" and "nan": copy only what a number of the language may
    // consist of.
    char digits[64];
    size_t length = 0;
    const char *at = text;
    while (isspace((unsigned char)*at))
        at++;
    for (; *at; at++) {
        bool exponent_sign = (*at == '+' || *at == '-') && length &&
                             (digits[length - 1] == 'e' || digits[length - 1] == 'E');
        bool leading_sign = (*at == '+' || *at == '-') && length == 0;
        bool exponent = (*at == 'e' || *at == 'E') && length &&
                        (isdigit((unsigned char)at[1]) ||
                         ((at[1] == '+' || at[1] == '-') && isdigit((unsigned char)at[2])));
        if (*at == '_' && length && isdigit((unsigned char)digits[length - 1]))
            continue;
        if (!isdigit((unsigned char)*at) && *at != '.' && !leading_sign && !exponent &&
            !exponent_sign)
            break;
        if (length + 1 >= sizeof digits)
            return false;
        digits[length++] = *at;
    }
    digits[length] = 0;
    char *end;
    double number = strtod(digits, &end);
    if (length == 0 || *end || end == digits || !isfinite(number))
        return false;
    while (isspace((unsigned char)*at))
        at++;
    size_t rest = strlen(at);
    while (rest && isspace((unsigned char)at[rest - 1]))
        rest--;
    *unit = AML_UNIT_NONE;
    *value = number;
    if (rest == 0)
        return true;
    for (size_t i = 0; i < AMLI_COUNT(units); i++)
        if (strlen(units[i].name) == rest && memcmp(units[i].name, at, rest) == 0) {
            *unit = units[i].unit;
            // dividing keeps 5% the same number as 0.05
            *value = units[i].factor == 0.01 ? number / 100 : number * units[i].factor;
            return true;
        }
    return false;
}

const char *amli_bytes_text(double bytes, char *text, size_t room)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t at = 0;
    while (bytes >= 1024 && at + 1 < AMLI_COUNT(names)) {
        bytes /= 1024;
        at++;
    }
    snprintf(text, room, at && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, names[at]);
    return text;
}

const char *amli_seconds_text(double seconds, char *text, size_t room)
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(text, room, "?");
    else if (seconds < 1)
        snprintf(text, room, "%.0f ms", seconds * 1e3);
    else if (seconds < 60)
        snprintf(text, room, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, room, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(text, room, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    return text;
}

const char *amli_real_text(double value, char *text, size_t room)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, room, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

// The digits of numbers from 0.0001 to 999999, which need no exponent, by arithmetic in f64: a
// training writes some of them in each step. False where that is not certain to give what printf
// gives: another number, or one so near to the middle of two texts or two floats that an error of a
// double could decide.
static bool plain_text(float value, char *text, size_t room)
{
    static const double power[] = {1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1,  1e2,  1e3,  1e4,
                                   1e5,  1e6,  1e7,  1e8,  1e9, 1e10, 1e11, 1e12, 1e13};
    double size = fabs((double)value);
    if (!(size >= power[0] && size < 999999) || room < 32)
        return false;
    int exponent = -4;
    while (size >= power[exponent + 5])
        exponent++;
    for (int digits = 6; digits <= 9; digits++) {
        double scale = power[digits - 1 - exponent + 4], scaled = size * scale,
               mantissa = rint(scaled), back = mantissa / scale;
        if (fabs(fabs(scaled - mantissa) - 0.5) < 1e-4 || mantissa >= power[digits + 4])
            return false;
        if ((float)back != (float)size)
            continue;
        if ((float)(back * (1 - 1e-14)) != (float)size ||
            (float)(back * (1 + 1e-14)) != (float)size)
            return false;
        int64_t rest = (int64_t)mantissa;
        int kept = digits; // without zeros at the end
        while (kept > exponent + 1 && kept > 1 && rest % 10 == 0) {
            rest /= 10;
            kept--;
        }
        char *out = text;
        if (value < 0)
            *out++ = '-';
        if (exponent < 0) {
            *out++ = '0';
            *out++ = '.';
            for (int i = -1; i > exponent; i--)
                *out++ = '0';
        }
        char *end = out + kept + (exponent >= 0 && kept > exponent + 1);
        *end = 0;
        for (int i = kept - 1; i >= 0; i--) {
            *--end = (char)('0' + rest % 10);
            rest /= 10;
            if (i == exponent + 1 && exponent >= 0)
                *--end = '.';
        }
        return true;
    }
    return false;
}

const char *amli_single_text(float value, char *text, size_t room)
{
    if (plain_text(value, text, room))
        return text;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, room, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return text;
}
