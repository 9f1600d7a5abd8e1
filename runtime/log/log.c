// What a run says while it works.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/log/log.h"

enum { LONGEST_LINE = 8192 };

void amli_log_begin(amli_log *log, bool quiet)
{
    *log = (amli_log){
        .quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1, .shown = -1e9, .file = -1};
}

aml_status amli_log_file(amli_log *log, const char *path, aml_error *error)
{
    log->file = TEMP_FAILURE_RETRY(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    return log->file < 0 ? amli_fail(error, AML_IO, "cannot open %s: %s", path, strerror(errno))
                         : AML_OK;
}

void amli_log_end(amli_log *log)
{
    if (log->open)
        fputc('\n', stderr);
    log->open = false;
    if (log->file >= 0)
        close(log->file);
    log->file = -1;
}

void amli_log_line(amli_log *log, const char *format, ...)
{
    char line[LONGEST_LINE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (length < 0)
        return;
    if ((size_t)length > sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length++] = '\n';
    if (!log->quiet) {
        if (log->open)
            fputs("\r\033[K", stderr);
        fwrite(line, 1, (size_t)length, stderr);
        fflush(stderr);
    }
    log->open = false;
    // The log is a courtesy: a full disk is reported by the checkpoint, which matters.
    if (log->file >= 0)
        amli_write_all(log->file, "log.txt", line, (size_t)length, NULL);
}

bool amli_log_progress_due(const amli_log *log, double now)
{
    return !log->quiet && now - log->shown >= (log->terminal ? 0.1 : 5.0);
}

void amli_log_progress(amli_log *log, double now, const char *format, ...)
{
    char line[LONGEST_LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log->shown = now;
    if (log->terminal) {
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        log->open = true;
    } else {
        amli_log_line(log, "%s", line);
    }
}

void amli_log_notice(void *log, const char *text)
{
    amli_log_line(log, "warning: %s", text);
}
