// log/: what a run says while it works, and what it leaves behind.
//
// People are told on stderr: on a terminal one line that is rewritten in place, elsewhere a plain
// line every few seconds. Lines that stay go to the run's log.txt as well. Figures go to
// metrics.jsonl, one JSON object a line.

#ifndef AMLI_LOG_H
#define AMLI_LOG_H

#include "runtime/base/base.h"

// ---- log.c
typedef struct amli_log {
    bool quiet, terminal;
    bool open;    // the progress line stands on the terminal without a newline
    double shown; // when progress was last shown
    int file;     // log.txt, -1: none
} amli_log;

void amli_log_begin(amli_log *log, bool quiet);
aml_status amli_log_file(amli_log *log, const char *path, aml_error *error); // appends
void amli_log_end(amli_log *log);

void amli_log_line(amli_log *log, const char *format, ...) AMLI_PRINTF(2, 3); // stays
bool amli_log_progress_due(const amli_log *log, double now); // whether progress would be shown
void amli_log_progress(amli_log *log, double now, const char *format, ...) AMLI_PRINTF(3, 4);
void amli_log_notice(void *log, const char *text); // an aml_notice: "warning: ..."

// ---- events.c: the same figures as a TensorBoard event file
typedef struct amli_events {
    int file; // -1: none is written
    char path[4096];
} amli_events;

// A new file in the run's folder; `step` is the one a resumed run goes on from.
aml_status amli_events_open(amli_events *events, const char *run, int64_t step, aml_error *error);
aml_status amli_events_line(amli_events *events, const char *line, size_t length, aml_error *error);
// Says that what comes replaces what was written of steps after `step`.
aml_status amli_events_restart(amli_events *events, int64_t step, aml_error *error);
// How numbers are distributed; those that are not finite are left out.
aml_status amli_events_histogram(amli_events *events, int64_t step, const char *tag,
                                 const double value[], int64_t count, aml_error *error);
aml_status amli_events_picture(amli_events *events, int64_t step, const char *tag,
                               const amli_buffer *png, int width, int height, int channels,
                               aml_error *error);
void amli_events_close(amli_events *events);

// ---- figures.c
typedef struct amli_figures {
    int file;
    int64_t written; // bytes of the file, without what is still in the buffer
    amli_buffer buffer;
    size_t line; // where in the buffer the current line begins
    char path[4096];
    amli_events events;
} amli_figures;

// Opens metrics.jsonl and cuts it to `length` bytes: what came after the checkpoint that is resumed
// is written again.
aml_status amli_figures_open(amli_figures *figures, const char *path, int64_t length,
                             aml_error *error);
aml_status amli_figures_flush(amli_figures *figures, aml_error *error); // not synced
aml_status amli_figures_end_line(amli_figures *figures,
                                 aml_error *error); // after putting a line into the buffer
// Takes back what came after the first `length` bytes, of steps after `step`.
aml_status amli_figures_rewind(amli_figures *figures, int64_t length, int64_t step,
                               aml_error *error);
void amli_figures_close(amli_figures *figures);

// Pieces of JSON. A number that is not finite is null.
void amli_json_text(amli_buffer *buffer, const char *text);
void amli_json_number(amli_buffer *buffer, double value);

#endif
