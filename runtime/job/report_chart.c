// A chart as SVG: lines or dots, axes with their ends written on, one colour a series.

#include <math.h>
#include <string.h>

#include "runtime/job/report.h"

enum { LEFT = 62, TOP = 26, WIDE = 330, HIGH = 220, RIGHT = 12, BOTTOM = 34 };

static const char *const color[AMLI_MOST_SERIES] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                                    "#ff7f0e", "#17becf", "#8c564b", "#e377c2",
                                                    "#7f7f7f", "#bcbd22", "#393b79", "#637939"};

void amli_html_text(amli_buffer *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const char *escaped = text[i] == '<'   ? "&lt;"
                              : text[i] == '>' ? "&gt;"
                              : text[i] == '&' ? "&amp;"
                              : text[i] == '"' ? "&quot;"
                                               : NULL;
        if (escaped)
            amli_buffer_add(out, escaped, strlen(escaped));
        else if ((unsigned char)text[i] >= ' ' || text[i] == '\n' || text[i] == '\t')
            amli_buffer_add(out, text + i, 1);
    }
}

typedef struct Range {
    double x0, x1, y0, y1;
} Range;

static Range range_of(const amli_chart *chart)
{
    Range r = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    if (chart->unit)
        return (Range){0, 1, 0, 1};
    for (int s = 0; s < chart->count; s++)
        for (int64_t i = 0; i < chart->series[s].count; i++) {
            r.x0 = fmin(r.x0, chart->series[s].x[i]), r.x1 = fmax(r.x1, chart->series[s].x[i]);
            r.y0 = fmin(r.y0, chart->series[s].y[i]), r.y1 = fmax(r.y1, chart->series[s].y[i]);
        }
    if (!(r.x1 >= r.x0))
        return (Range){0, 1, 0, 1};
    if (r.x1 == r.x0)
        r.x1 = r.x0 + 1;
    if (r.y1 == r.y0)
        r.y0 -= 0.5, r.y1 += 0.5;
    return r;
}

static double at_x(Range r, double x)
{
    return LEFT + (x - r.x0) / (r.x1 - r.x0) * WIDE;
}

static double at_y(Range r, double y)
{
    return TOP + HIGH - (y - r.y0) / (r.y1 - r.y0) * HIGH;
}

static void put_frame(const amli_chart *chart, Range r, amli_buffer *out)
{
    amli_buffer_printf(out,
                       "<svg width=\"%d\" height=\"%d\" role=\"img\"><text x=\"%d\" y=\"16\" "
                       "class=\"t\">",
                       LEFT + WIDE + RIGHT, TOP + HIGH + BOTTOM, LEFT);
    amli_html_text(out, chart->title, strlen(chart->title));
    amli_buffer_printf(out, "</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", LEFT,
                       TOP, WIDE, HIGH);
    for (int i = 0; i <= 2; i++) {
        double x = r.x0 + (r.x1 - r.x0) * i / 2, y = r.y0 + (r.y1 - r.y0) * i / 2;
        amli_buffer_printf(out,
                           "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%.4g</text><text "
                           "x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>",
                           at_x(r, x), TOP + HIGH + 15,
                           i == 0   ? "start"
                           : i == 1 ? "middle"
                                    : "end",
                           x, LEFT - 5, at_y(r, y) + 4, y);
    }
    amli_buffer_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT + WIDE / 2,
                       TOP + HIGH + 29);
    amli_html_text(out, chart->x_name, strlen(chart->x_name));
    amli_buffer_printf(out, "</text>");
    double low = fmax(r.x0, r.y0), high = fmin(r.x1, r.y1);
    if (chart->diagonal && high > low)
        amli_buffer_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                           at_x(r, low), at_y(r, low), at_x(r, high), at_y(r, high));
}

// At most so many points are drawn of a series: of more, every n-th, and the last.
enum { MOST_POINTS = 800 };

static void put_series(const amli_chart *chart, int s, Range r, amli_buffer *out)
{
    const amli_series *series = &chart->series[s];
    int64_t every = (series->count + MOST_POINTS - 1) / MOST_POINTS;
    if (!chart->points)
        amli_buffer_printf(out, "<polyline stroke=\"%s\" points=\"", color[s]);
    for (int64_t i = 0; i < series->count; i++) {
        if (i % every && i != series->count - 1)
            continue;
        double x = at_x(r, series->x[i]), y = at_y(r, series->y[i]);
        if (chart->points)
            amli_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\" fill=\"%s\"/>", x, y,
                               color[s]);
        else
            amli_buffer_printf(out, "%.1f,%.1f ", x, y);
    }
    if (!chart->points)
        amli_buffer_printf(out, "\"/>");
}

void amli_chart_svg(const amli_chart *chart, amli_buffer *out)
{
    Range r = range_of(chart);
    amli_buffer_printf(out, "<figure>");
    put_frame(chart, r, out);
    for (int s = 0; s < chart->count; s++)
        if (chart->series[s].count > 0)
            put_series(chart, s, r, out);
    amli_buffer_printf(out, "</svg><figcaption>");
    for (int s = 0; s < chart->count && chart->count > 1; s++) {
        amli_buffer_printf(out, "<span style=\"color:%s\">&#9644; ", color[s]);
        amli_html_text(out, chart->series[s].name, strlen(chart->series[s].name));
        amli_buffer_printf(out, "</span> ");
    }
    amli_buffer_printf(out, "</figcaption></figure>\n");
}
