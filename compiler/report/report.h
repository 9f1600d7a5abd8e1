// report/: what a program costs, before it runs: parameters, floating-point operations, bytes and
// memory, by phase (each compiled function) and by line of the source. All figures follow from
// shapes and from the plan that the program is compiled with; nothing is measured.

#ifndef AML_REPORT_H
#define AML_REPORT_H

#include "compile.h"

typedef struct ReportLine {
    const char *path; // NULL: made by the compiler
    int line;
    double flops, bytes;
    double parameters; // of the weights made at this line
} ReportLine;
typedef Vec(ReportLine) ReportLineList;

// A temporary that is alive when the arena is fullest.
typedef struct ReportTensor {
    Type type;
    size_t bytes, offset; // offset: in the arena
    const char *name;     // NULL, or what people call it
    Place place;          // path NULL: made by the compiler
} ReportTensor;

// One compiled function.
typedef struct ReportPhase {
    const char *name; // "step", "eval", "predict", "prepare", ...
    const char *meaning;
    double flops, bytes; // of one call
    size_t state_bytes, buffer_bytes,
        temporary_bytes;     // what is allocated: state arena, inputs and outputs, planned arena
    Place peak;              // where the temporaries are largest; path NULL: there are none
    Vec(ReportTensor) alive; // largest first
    ReportLineList line;     // most operations first
} ReportPhase;

typedef struct ReportState {
    const char *name, *role;
    Type type;
    Place place;
} ReportState;

// A job, a data set or a deployment.
typedef struct ReportBlock {
    const char *kind, *name;
    int64_t parameters, batch; // 0: has none
    Vec(ReportState) state;
    ReportLineList line; // where weights are made, most parameters first
    Vec(ReportPhase) phase;
} ReportBlock;

typedef struct Report {
    Cx *cx;
    const char *source;
    Vec(ReportBlock) block;
} Report;

// collect.c: the program has been through the passes.
Report *report_collect(Cx *cx, Program *program);

// text.c, json.c
void report_text(const Report *report, Buffer *out);
void report_json(const Report *report, Buffer *out);

void report_program(Cx *cx, Program *program, bool json, Buffer *out);

#endif
