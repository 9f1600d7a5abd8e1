// report.h: a run as one HTML page.
//
//   report.c        which run, what its model says of the rows that are held out
//   report_html.c   the page
//   report_chart.c  charts as SVG

#ifndef AMLI_REPORT_H
#define AMLI_REPORT_H

#include "runtime/job/job.h"

// What a model says of the rows of a part.
typedef struct amli_outcome {
    int64_t rows, classes;        // classes 0: its target is no class
    const int64_t *row;           // of the data set
    int32_t *target, *prediction; // of a classifier
    float *probability;           // [rows][classes]
    double *expected, *found;     // else: the first number of the target and of the prediction
} amli_outcome;

typedef struct amli_run_report {
    amli_session *session;
    const char *run;
    const aml_checkpoint *checkpoint;
    aml_part part;
    const amli_measured *measured; // NULL: the job has nothing to evaluate
    const amli_outcome *outcome;   // NULL: the job does not predict, or has no target
} amli_run_report;

void amli_report_html(const amli_run_report *report, amli_buffer *out, aml_error *error);

// ---- report_chart.c

typedef struct amli_series {
    const char *name;
    const double *x, *y;
    int64_t count;
} amli_series;

enum { AMLI_MOST_SERIES = 12 };

typedef struct amli_chart {
    const char *title, *x_name;
    bool unit;     // both axes go from 0 to 1
    bool diagonal; // a line from 0, 0 to 1, 1, or through equal values
    bool points;   // dots in place of lines
    int count;
    amli_series series[AMLI_MOST_SERIES];
} amli_chart;

void amli_chart_svg(const amli_chart *chart, amli_buffer *out);
void amli_html_text(amli_buffer *out, const char *text, size_t length); // with < & > " escaped

#endif
