// Names of classes, and times, as csv and JSON have them.

#include <string.h>
#include <time.h>

#include "runtime/data/csv.h"

static void write_csv(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\n\r") && *text && *text != ' ' && text[strlen(text) - 1] != ' ') {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void write_json(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
    fputc('"', out);
}

void amli_write_text(FILE *out, const char *text, bool json)
{
    (json ? write_json : write_csv)(out, text);
}

bool amli_write_class(FILE *out, const aml_tensor_info *info, int64_t value, bool json)
{
    if (!info->class_name || value < 0 || value >= info->classes)
        return false;
    amli_write_text(out, info->class_name[value], json);
    return true;
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral" // the format is the program's

void amli_write_time(FILE *out, int64_t seconds, const char *format)
{
    struct tm parts;
    char text[128];
    time_t at = (time_t)seconds;
    if (gmtime_r(&at, &parts) && strftime(text, sizeof text, format, &parts))
        write_csv(out, text);
    else
        fprintf(out, "%lld", (long long)seconds);
}
