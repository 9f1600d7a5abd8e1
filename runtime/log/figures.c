// metrics.jsonl.

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/log/log.h"

enum { FLUSH_AT = 65536 };

aml_status amli_figures_open(amli_figures *figures, const char *path, int64_t length,
                             aml_error *error)
{
    *figures = (amli_figures){.file = -1, .events.file = -1};
    snprintf(figures->path, sizeof figures->path, "%s", path);
    figures->file = TEMP_FAILURE_RETRY(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    struct stat info;
    if (figures->file < 0 || fstat(figures->file, &info) != 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno));
    // A file that is shorter than the checkpoint says lost lines in a crash of the machine; it goes
    // on where it ends.
    if (info.st_size < length)
        length = info.st_size;
    if (TEMP_FAILURE_RETRY(ftruncate(figures->file, length)) != 0 ||
        lseek(figures->file, 0, SEEK_END) < 0)
        return amli_fail(error, AML_IO, "cannot write %s: %s", path, strerror(errno));
    figures->written = length;
    return AML_OK;
}

aml_status amli_figures_flush(amli_figures *figures, aml_error *error)
{
    if (figures->file < 0)
        return AML_OK;
    aml_status status = AML_OK;
    if (figures->buffer.failed)
        return amli_no_memory(error, FLUSH_AT, figures->path);
    if (figures->buffer.length) {
        status = amli_write_all(figures->file, figures->path, figures->buffer.text,
                                figures->buffer.length, error);
        figures->written += (int64_t)figures->buffer.length;
        figures->buffer.length = 0;
        figures->line = 0;
    }
    return status;
}

aml_status amli_figures_end_line(amli_figures *figures, aml_error *error)
{
    amli_buffer *buffer = &figures->buffer;
    aml_status status = buffer->failed
                            ? AML_OK
                            : amli_events_line(&figures->events, buffer->text + figures->line,
                                               buffer->length - figures->line, error);
    if (status)
        return status;
    amli_buffer_add(buffer, "\n", 1);
    figures->line = buffer->length;
    return figures->buffer.length >= FLUSH_AT || figures->buffer.failed
               ? amli_figures_flush(figures, error)
               : AML_OK;
}

aml_status amli_figures_rewind(amli_figures *figures, int64_t length, int64_t step,
                               aml_error *error)
{
    figures->buffer.length = 0;
    figures->line = 0;
    if (length < figures->written && (TEMP_FAILURE_RETRY(ftruncate(figures->file, length)) != 0 ||
                                      lseek(figures->file, 0, SEEK_END) < 0))
        return amli_fail(error, AML_IO, "cannot write %s: %s", figures->path, strerror(errno));
    if (length < figures->written)
        figures->written = length;
    return amli_events_restart(&figures->events, step, error);
}

void amli_figures_close(amli_figures *figures)
{
    amli_figures_flush(figures, NULL);
    if (figures->file >= 0)
        close(figures->file);
    figures->file = -1;
    amli_buffer_free(&figures->buffer);
    amli_events_close(&figures->events);
}

void amli_json_text(amli_buffer *buffer, const char *text)
{
    amli_buffer_add(buffer, "\"", 1);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            amli_buffer_printf(buffer, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            amli_buffer_printf(buffer, "\\u%04x", *c);
        else
            amli_buffer_add(buffer, c, 1);
    }
    amli_buffer_add(buffer, "\"", 1);
}

void amli_json_number(amli_buffer *buffer, double value)
{
    char text[40];
    if (!isfinite(value))
        amli_buffer_add(buffer, "null", 4);
    else
        amli_buffer_printf(buffer, "%s", amli_real_text(value, text, sizeof text));
}
