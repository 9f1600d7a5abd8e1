// Dates and times as text to seconds since 1970 in UTC, in the proleptic Gregorian calendar and
// without leap seconds. No locale, no time zone of the machine: what has no offset is UTC.

#include <string.h>
#include <strings.h>

#include "aml/columns.h"
#include "runtime/data/csv.h"

typedef struct Time {
    int64_t year;
    int month, day, hour, minute, second;
    int offset;    // from UTC in seconds
    int afternoon; // 12 hours with %p: 0 am, 1 pm, -1 not stated
    int week_day;  // read, and not compared
} Time;

// Days since 1970-01-01. Years begin in March here: the leap day is the last one.
static int64_t days(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_days(int64_t year, int month)
{
    static const signed char of[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return of[month - 1] + (month == 2 && leap);
}

static bool number(const char **at, const char *end, int least, int most, int64_t *value)
{
    const char *c = *at;
    int64_t sum = 0;
    int digits = 0;
    for (; c < end && *c >= '0' && *c <= '9' && digits < most; c++, digits++)
        sum = sum * 10 + (*c - '0');
    if (digits < least)
        return false;
    *at = c;
    *value = sum;
    return true;
}

static bool small(const char **at, const char *end, int low, int high, int *value)
{
    int64_t found;
    if (!number(at, end, 1, 2, &found) || found < low || found > high)
        return false;
    *value = (int)found;
    return true;
}

static bool one_of(const char **at, const char *end, const char *const names[], int count,
                   int *value)
{
    for (int i = 0; i < count; i++)
        for (size_t length = strlen(names[i]);; length = 3) { // in full, or its first three letters
            if ((size_t)(end - *at) >= length && strncasecmp(*at, names[i], length) == 0) {
                *at += length;
                *value = i;
                return true;
            }
            if (length == 3)
                break;
        }
    return false;
}

// Z, +hh, +hhmm or +hh:mm.
static bool zone(const char **at, const char *end, int *offset)
{
    int hours, minutes = 0;
    int64_t both;
    if (*at < end && (**at == 'Z' || **at == 'z')) {
        ++*at;
        *offset = 0;
        return true;
    }
    if (*at == end || (**at != '+' && **at != '-'))
        return false;
    bool west = *(*at)++ == '-';
    if (!number(at, end, 2, 2, &both) || both > 23)
        return false;
    hours = (int)both;
    if (*at < end && **at == ':')
        ++*at;
    if (*at < end && **at >= '0' && **at <= '9') {
        if (!number(at, end, 2, 2, &both) || both > 59)
            return false;
        minutes = (int)both;
    }
    *offset = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

static bool fraction(const char **at, const char *end)
{
    const char *first = *at;
    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return *at > first;
}

static const char *const month_name[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
static const char *const day_name[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};

// What % and a letter stand for. False if the text does not have it here.
static bool read_part(char letter, const char **at, const char *end, Time *time)
{
    static const char *const half[] = {"am", "pm"};
    int64_t value;
    switch (letter) {
    case 'Y':
        return number(at, end, 4, 4, &time->year);
    case 'y': // as POSIX has it: 69..99 are 1969..1999
        if (!number(at, end, 2, 2, &value))
            return false;
        time->year = value + (value < 69 ? 2000 : 1900);
        return true;
    case 'm':
        return small(at, end, 1, 12, &time->month);
    case 'b':
    case 'B':
        if (!one_of(at, end, month_name, 12, &time->month))
            return false;
        time->month++;
        return true;
    case 'a':
    case 'A':
        return one_of(at, end, day_name, 7, &time->week_day);
    case 'd':
        while (*at < end && **at == ' ')
            ++*at;
        return small(at, end, 1, 31, &time->day);
    case 'H':
        return small(at, end, 0, 24, &time->hour);
    case 'I':
        return small(at, end, 1, 12, &time->hour);
    case 'M':
        return small(at, end, 0, 59, &time->minute);
    case 'S':
        return small(at, end, 0, 60, &time->second);
    case 'f':
        return fraction(at, end);
    case 'z':
        return zone(at, end, &time->offset);
    case 'p':
        for (int i = 0; i < 2; i++)
            if (end - *at >= 2 && strncasecmp(*at, half[i], 2) == 0) {
                *at += 2;
                time->afternoon = i;
                return true;
            }
        return false;
    default:
        return false;
    }
}

bool aml_time_format(const char *format)
{
    bool has_year = false;
    for (const char *f = format; *f; f++) {
        if (*f != '%')
            continue;
        if (!*++f || !strchr("YymbBaAdHIMSfzp%", *f))
            return false;
        has_year = has_year || *f == 'Y' || *f == 'y';
    }
    return has_year;
}

static bool by_format(const char *at, const char *end, const char *format, Time *time)
{
    for (const char *f = format; *f; f++) {
        if (*f == '%' && f[1] != '%') {
            if (!read_part(*++f, &at, end, time))
                return false;
            continue;
        }
        f += *f == '%';
        if (at == end || *at++ != *f)
            return false;
    }
    return at == end;
}

// year-month-day, year-month or year; then T or a blank and hour:minute, :second, .fraction; then
// an offset.
static bool by_iso(const char *at, const char *end, Time *time)
{
    bool before_zero = at < end && *at == '-';
    at += before_zero;
    if (!number(&at, end, 4, 4, &time->year))
        return false;
    time->year = before_zero ? -time->year : time->year;
    if (at == end)
        return true;
    if (*at++ != '-' || !small(&at, end, 1, 12, &time->month))
        return false;
    if (at == end)
        return true;
    if (*at++ != '-' || !small(&at, end, 1, 31, &time->day))
        return false;
    if (at == end)
        return true;
    if ((*at != 'T' && *at != 't' && *at != ' ') || (at++, !small(&at, end, 0, 24, &time->hour)))
        return false;
    if (at == end || *at++ != ':' || !small(&at, end, 0, 59, &time->minute))
        return false;
    if (at < end && *at == ':') {
        at++;
        if (!small(&at, end, 0, 60, &time->second))
            return false;
        if (at < end && (*at == '.' || *at == ',') && (at++, !fraction(&at, end)))
            return false;
    }
    return at == end || (zone(&at, end, &time->offset) && at == end);
}

bool amli_read_time(const char *text, size_t length, const char *format, int64_t *seconds)
{
    Time time = {.month = 1, .day = 1, .afternoon = -1};
    const char *end = text + length;
    if (!(format ? by_format(text, end, format, &time) : by_iso(text, end, &time)))
        return false;
    if (time.afternoon >= 0) {
        if (time.hour < 1 || time.hour > 12)
            return false;
        time.hour = time.hour % 12 + 12 * time.afternoon;
    }
    // 24:00 is the end of a day, and nothing comes behind it
    bool sound = time.day <= month_days(time.year, time.month) &&
                 (time.hour < 24 || (time.minute == 0 && time.second == 0));
    *seconds = ((days(time.year, time.month, time.day) * 24 + time.hour) * 60 + time.minute) * 60 +
               time.second - time.offset;
    return sound;
}
