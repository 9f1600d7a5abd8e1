// html.c: the curves as one page that needs nothing else: SVG and a few lines of script that show
// the value under the pointer.

#include "plot/plot.h"

#include <math.h>
#include <string.h>

enum {
    WIDTH = 720,
    HEIGHT = 300,
    LEFT = 70,
    RIGHT = 16,
    TOP = 12,
    BOTTOM = 34,
    MOST_POINTS = 2000
};

static void put_escaped(Buffer *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        const char *special = *c == '<'   ? "&lt;"
                              : *c == '>' ? "&gt;"
                              : *c == '&' ? "&amp;"
                              : *c == '"' ? "&quot;"
                                          : NULL;
        if (special)
            buffer_text(out, special);
        else
            buffer_append(out, c, 1);
    }
}

static const char *color_of(int run)
{
    static const char *const color[] = {"#1f6fb4", "#c8402f", "#2e8b57",
                                        "#8b4fa8", "#d28a00", "#008b9c"};
    return color[run % (int)COUNT_OF(color)];
}

// 1, 2 or 5 times a power of ten, so that about `most` of them fit into the span.
static double tick_of(double span, int most)
{
    double rough = span / most, power = pow(10, floor(log10(rough)));
    double digit = rough / power;
    return (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10) * power;
}

static double x_of(PlotRange range, double step)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (step - range.from) / (range.to - range.from);
}

static double y_of(PlotRange range, double value)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (range.high - value) / (range.high - range.low);
}

static void put_axes(PlotRange range, Buffer *out)
{
    double tick = tick_of(range.high - range.low, 6);
    for (double at = ceil(range.low / tick) * tick; at <= range.high + tick * 1e-6; at += tick) {
        double y = y_of(range, at);
        buffer_printf(out,
                      "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                      "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                      LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, fabs(at) < tick * 1e-6 ? 0 : at);
    }
    tick = fmax(tick_of(range.to - range.from, 8), 1);
    for (double at = ceil(range.from / tick) * tick; at <= range.to; at += tick) {
        double x = x_of(range, at);
        buffer_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x,
                      HEIGHT - BOTTOM + 18, at);
    }
    buffer_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">step</text>\n", WIDTH - RIGHT,
                  HEIGHT - 2);
}

// Long curves are thinned to groups, of which the page shows the mean.
static void put_curve(const PlotCurve *curve, PlotRange range, int run, Buffer *out)
{
    int count = curve->point.count, group = (count + MOST_POINTS - 1) / MOST_POINTS;
    buffer_printf(out, "<polyline stroke=\"%s\" points=\"", color_of(run));
    for (int i = 0; i < count; i += group) {
        int end = i + group < count ? i + group : count;
        double step = 0, value = 0;
        for (int p = i; p < end; p++) {
            step += curve->point.at[p].step / (end - i);
            value += curve->point.at[p].value / (end - i);
        }
        buffer_printf(out, "%s%.1f,%.2f", i ? " " : "", x_of(range, step), y_of(range, value));
    }
    buffer_text(out, "\"/>\n");
    if (count == 1)
        buffer_printf(out, "<circle fill=\"%s\" r=\"3\" cx=\"%.1f\" cy=\"%.2f\"/>\n", color_of(run),
                      x_of(range, curve->point.at[0].step), y_of(range, curve->point.at[0].value));
}

static void put_figure(const Plot *plot, Sym figure, Buffer *out)
{
    PlotRange range = plot_range(plot, figure);
    buffer_text(out, "<h2>");
    put_escaped(out, figure);
    buffer_text(out, "</h2>\n");
    if (range.empty) {
        buffer_text(out, "<p>No finite value was recorded.</p>\n");
        return;
    }
    if (range.from == range.to) {
        range.from -= 1;
        range.to += 1;
    }
    double margin = range.high > range.low ? (range.high - range.low) * 0.04
                    : range.low            ? fabs(range.low) * 0.1
                                           : 1;
    range.low -= margin;
    range.high += margin;
    buffer_printf(out,
                  "<svg viewBox=\"0 0 %d %d\" data-from=\"%.17g\" data-to=\"%.17g\" "
                  "data-low=\"%.17g\" data-high=\"%.17g\">\n",
                  WIDTH, HEIGHT, range.from, range.to, range.low, range.high);
    put_axes(range, out);
    for (int i = 0; i < plot->run.count; i++) {
        const PlotCurve *curve = plot_curve(&plot->run.at[i], figure);
        if (curve && curve->point.count)
            put_curve(curve, range, i, out);
    }
    buffer_text(out, "<text class=\"at\"></text></svg>\n");
}

static void put_table(const Plot *plot, const Sym figure[], int figures, Buffer *out)
{
    buffer_text(out, "<table><tr><th>run</th>");
    for (int i = 0; i < figures; i++) {
        buffer_text(out, "<th>");
        put_escaped(out, figure[i]);
        buffer_text(out, "</th>");
    }
    buffer_text(out, "</tr>\n");
    for (int i = 0; i < plot->run.count; i++) {
        buffer_printf(out, "<tr><td><b style=\"color:%s\">&#9644;</b> ", color_of(i));
        put_escaped(out, plot->run.at[i].label);
        buffer_text(out, "</td>");
        for (int f = 0; f < figures; f++) {
            const PlotCurve *curve = plot_curve(&plot->run.at[i], figure[f]);
            if (curve && curve->point.count)
                buffer_printf(out, "<td>%.6g</td>", curve->point.at[curve->point.count - 1].value);
            else
                buffer_text(out, "<td>&ndash;</td>");
        }
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</table>\n");
}

static const char STYLE[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;"
    "color:#222;background:#fff}"
    "h1{font-size:1.4em}h2{font-size:1.1em;margin:1.6em 0 .2em}"
    "svg{width:100%;display:block}svg text{font-size:11px;fill:#555}"
    "svg .at{fill:#000}svg .grid{stroke:#e3e3e3}"
    "polyline{fill:none;stroke-width:1.5;stroke-linejoin:round}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.2em .8em .2em 0;text-align:left;border-bottom:1px solid #ddd}"
    "pre{background:#f6f6f6;padding:1em;overflow:auto;font-size:13px}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}svg text{fill:#aaa}"
    "svg .at{fill:#fff}svg .grid{stroke:#333}pre{background:#222}td,th{border-color:#444}}";

static const char SCRIPT[] =
    "for(const s of document.querySelectorAll('svg')){const t=s.querySelector('.at'),d=s.dataset;"
    "s.addEventListener('mousemove',e=>{const r=s.getBoundingClientRect(),"
    "x=(e.clientX-r.left)/r.width*%d,y=(e.clientY-r.top)/r.height*%d;"
    "const step=+d.from+(x-%d)/%d*(d.to-d.from),value=d.high-(y-%d)/%d*(d.high-d.low);"
    "t.textContent='step '+step.toFixed(0)+'  '+value.toPrecision(5);"
    "t.setAttribute('text-anchor',x>%d?'end':'start');"
    "t.setAttribute('x',x>%d?x-8:x+8);t.setAttribute('y',y-6)});"
    "s.addEventListener('mouseleave',()=>t.textContent='')}";

void plot_html(const Plot *plot, const Sym figure[], int figures, Buffer *out)
{
    buffer_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width\"><title>");
    put_escaped(out, plot->run.at[0].label);
    buffer_printf(out, "</title>\n<style>%s</style></head>\n<body>\n<h1>", STYLE);
    put_escaped(out, plot->run.count == 1 ? plot->run.at[0].label : "Runs");
    buffer_text(out, "</h1>\n");
    put_table(plot, figure, figures, out);
    for (int i = 0; i < figures; i++)
        put_figure(plot, figure[i], out);
    for (int i = 0; i < plot->run.count; i++) {
        if (!plot->run.at[i].config)
            continue;
        buffer_text(out, "<h2>config.aml of ");
        put_escaped(out, plot->run.at[i].label);
        buffer_text(out, "</h2>\n<pre>");
        put_escaped(out, plot->run.at[i].config);
        buffer_text(out, "</pre>\n");
    }
    buffer_text(out, "<script>");
    buffer_printf(out, SCRIPT, WIDTH, HEIGHT, LEFT, WIDTH - LEFT - RIGHT, TOP,
                  HEIGHT - TOP - BOTTOM, WIDTH / 2, WIDTH / 2);
    buffer_text(out, "</script>\n</body></html>\n");
}
