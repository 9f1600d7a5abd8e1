// plot/: the curves of runs, from their metrics.jsonl: in a terminal, or as one HTML file.
//
// A figure is one name of metrics.jsonl (loss, valid_loss, accuracy, ...); it has a curve for each
// run that recorded it. The step is the horizontal axis everywhere.

#ifndef AML_PLOT_H
#define AML_PLOT_H

#include "base/base.h"

typedef struct PlotPoint {
    double step, value;
} PlotPoint;

typedef struct PlotCurve {
    Sym figure;
    Vec(PlotPoint) point; // in the order of the file; only finite values
    int not_finite;       // lines whose value was null: infinite or not a number
} PlotCurve;

typedef struct PlotRun {
    const char *label;  // the last parts of its path that tell it from the others
    const char *path;   // of the run's folder, or of the file itself
    const char *config; // text of config.aml, NULL if there is none
    Vec(PlotCurve) curve;
} PlotRun;

typedef struct Plot {
    Cx *cx;
    Vec(PlotRun) run;
    Vec(Sym) figure; // every figure of any run, in order of first appearance
} Plot;

// read.c: `path` is a run's folder, a job's folder (its newest run is taken) or a metrics.jsonl.
// NULL on success, else a message: what is wrong and where.
const char *plot_read(Plot *plot, const char *path);
const PlotCurve *plot_curve(const PlotRun *run, Sym figure); // NULL if the run lacks it

// What one chart shows.
typedef struct PlotRange {
    double from, to; // of steps
    double low, high;
    bool empty;
} PlotRange;
PlotRange plot_range(const Plot *plot, Sym figure);

// chart.c: one figure as lines of text, `columns` wide.
typedef struct ChartStyle {
    int columns, rows;
    bool color;
    bool logarithmic; // the vertical axis; values that are not positive are left out
    bool letters;     // set by plot_chart: a cell shows its run's letter
} ChartStyle;
void plot_chart(const Plot *plot, Sym figure, ChartStyle style, Buffer *out);

// html.c: all figures as one self-contained page.
void plot_html(const Plot *plot, const Sym figure[], int figures, Buffer *out);

#endif
