// chart.c: a figure as text. Each character cell is a braille pattern of 2 x 4 dots.

#include "plot/plot.h"

#include <math.h>
#include <string.h>

enum { DOTS_ACROSS = 2, DOTS_DOWN = 4, LABEL = 10 };

typedef struct Grid {
    int columns, rows; // cells
    unsigned char *dots;
    signed char *run; // whose dots the cell shows, -1: nobody's
} Grid;

// The bit of a dot within its cell, from left to right and from top to bottom (Unicode 2800).
static unsigned char dot_bit(int x, int y)
{
    static const unsigned char bit[DOTS_DOWN][DOTS_ACROSS] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    return bit[y][x];
}

static void put_dot(Grid *grid, int x, int y, int run)
{
    int cell = y / DOTS_DOWN * grid->columns + x / DOTS_ACROSS;
    if (grid->run[cell] != run) // a cell has one colour: that of the run drawn last
        grid->dots[cell] = 0;
    grid->run[cell] = (signed char)run;
    grid->dots[cell] |= dot_bit(x % DOTS_ACROSS, y % DOTS_DOWN);
}

static double height_of(double value, bool logarithmic)
{
    return logarithmic ? log10(value) : value;
}

// Draws a curve: the mean of the points that fall into a column of dots; columns without a point
// between two with one are crossed by a straight line.
static void draw_curve(Grid *grid, const PlotCurve *curve, PlotRange range, bool logarithmic,
                       int run, Arena *scratch)
{
    int across = grid->columns * DOTS_ACROSS, down = grid->rows * DOTS_DOWN;
    double *sum = NEW_ARRAY(scratch, double, across);
    int *count = NEW_ARRAY(scratch, int, across);
    for (int i = 0; i < curve->point.count; i++) {
        PlotPoint point = curve->point.at[i];
        if (logarithmic && point.value <= 0)
            continue;
        double share =
            range.to > range.from ? (point.step - range.from) / (range.to - range.from) : 0.5;
        int x = (int)lround(share * (across - 1));
        sum[x] += height_of(point.value, logarithmic);
        count[x]++;
    }
    int last_x = -1, last_y = 0;
    for (int x = 0; x < across; x++) {
        if (!count[x])
            continue;
        double share = (sum[x] / count[x] - range.low) / (range.high - range.low);
        int y = (int)lround((1 - share) * (down - 1));
        y = y < 0 ? 0 : y >= down ? down - 1 : y;
        if (last_x < 0)
            put_dot(grid, x, y, run);
        int steps = last_x < 0 ? 0 : x - last_x;
        if (last_x >= 0 && steps < (y > last_y ? y - last_y : last_y - y))
            steps = y > last_y ? y - last_y : last_y - y;
        for (int s = 1; s <= steps; s++)
            put_dot(grid, last_x + (int)lround((double)(x - last_x) * s / steps),
                    last_y + (int)lround((double)(y - last_y) * s / steps), run);
        last_x = x;
        last_y = y;
    }
}

static void put_cell(Buffer *out, unsigned char dots)
{
    const char text[] = {(char)0xe2, (char)(0xa0 | dots >> 6), (char)(0x80 | (dots & 0x3f))};
    buffer_append(out, text, sizeof text);
}

// Colours of runs: those of a terminal that are legible on black and on white.
static int color_of(int run)
{
    static const int color[] = {34, 31, 32, 35, 36, 33};
    return color[run % (int)COUNT_OF(color)];
}

// Without colours several runs are told apart by letters.
static char letter_of(int run)
{
    return (char)('a' + run % 26);
}

static void put_axis_label(Buffer *out, double value, bool logarithmic)
{
    char text[32];
    snprintf(text, sizeof text, "%.4g", logarithmic ? pow(10, value) : value);
    buffer_printf(out, "%*s ", LABEL, text);
}

static void put_grid(const Grid *grid, PlotRange range, ChartStyle style, Buffer *out)
{
    for (int row = 0; row < grid->rows; row++) {
        bool labelled = row == 0 || row == grid->rows - 1 || row == grid->rows / 2;
        double share = (double)row / (grid->rows - 1);
        if (labelled)
            put_axis_label(out, range.high - share * (range.high - range.low), style.logarithmic);
        else
            buffer_printf(out, "%*s ", LABEL, "");
        buffer_text(out, labelled ? "┤" : "│");
        int shown = -1;
        for (int column = 0; column < grid->columns; column++) {
            int cell = row * grid->columns + column, run = grid->run[cell];
            if (style.color && run != shown) {
                buffer_printf(out, run < 0 ? "\033[0m" : "\033[%dm", color_of(run));
                shown = run;
            }
            if (style.letters && run >= 0)
                buffer_printf(out, "%c", letter_of(run));
            else
                put_cell(out, grid->dots[cell]);
        }
        buffer_text(out, style.color && shown >= 0 ? "\033[0m\n" : "\n");
    }
    buffer_printf(out, "%*s └", LABEL, "");
    for (int column = 0; column < grid->columns; column++)
        buffer_text(out, "─");
    char from[32], to[32];
    snprintf(from, sizeof from, "step %.0f", range.from);
    snprintf(to, sizeof to, "%.0f", range.to);
    buffer_printf(out, "\n%*s  %-*s%s\n", LABEL, "", grid->columns - (int)strlen(to), from, to);
}

static void put_legend(const Plot *plot, Sym figure, ChartStyle style, Buffer *out)
{
    for (int i = 0; i < plot->run.count; i++) {
        const PlotCurve *curve = plot_curve(&plot->run.at[i], figure);
        if (!curve)
            continue;
        double low = INFINITY, high = -INFINITY;
        for (int p = 0; p < curve->point.count; p++) {
            low = fmin(low, curve->point.at[p].value);
            high = fmax(high, curve->point.at[p].value);
        }
        buffer_printf(out, "%*s  ", LABEL, "");
        if (style.color)
            buffer_printf(out, "\033[%dm", color_of(i));
        buffer_text(out, style.color ? "━━\033[0m " : "");
        if (style.letters)
            buffer_printf(out, "%c ", letter_of(i));
        buffer_text(out, plot->run.at[i].label);
        if (curve->point.count)
            buffer_printf(out, ": last %.6g, lowest %.6g, highest %.6g",
                          curve->point.at[curve->point.count - 1].value, low, high);
        if (curve->not_finite)
            buffer_printf(out, " (%d not finite)", curve->not_finite);
        buffer_text(out, "\n");
    }
}

void plot_chart(const Plot *plot, Sym figure, ChartStyle style, Buffer *out)
{
    Arena *scratch = plot->cx->scratch;
    PlotRange range = plot_range(plot, figure);
    style.letters = !style.color && plot->run.count > 1;
    buffer_printf(out, "%*s  %s%s\n", LABEL, "", figure, style.logarithmic ? " (logarithmic)" : "");
    if (style.logarithmic) {
        double low = INFINITY;
        for (int i = 0; i < plot->run.count; i++) {
            const PlotCurve *curve = plot_curve(&plot->run.at[i], figure);
            for (int p = 0; curve && p < curve->point.count; p++)
                if (curve->point.at[p].value > 0)
                    low = fmin(low, curve->point.at[p].value);
        }
        range.empty = low == INFINITY;
        range.low = log10(low);
        range.high = range.empty ? 0 : log10(range.high);
    }
    if (range.empty) {
        buffer_printf(out, "%*s  nothing to show\n", LABEL, "");
        return;
    }
    if (range.high == range.low) { // a flat curve in the middle
        double margin = range.low ? fabs(range.low) * 0.1 : 1;
        range.low -= margin;
        range.high += margin;
    }
    Grid grid = {.columns = style.columns - LABEL - 3, .rows = style.rows};
    grid.columns = grid.columns < 16 ? 16 : grid.columns;
    grid.dots = NEW_ARRAY(scratch, unsigned char, grid.columns *grid.rows);
    grid.run = NEW_ARRAY(scratch, signed char, grid.columns *grid.rows);
    memset(grid.run, -1, (size_t)grid.columns * (size_t)grid.rows);
    for (int i = 0; i < plot->run.count; i++) {
        const PlotCurve *curve = plot_curve(&plot->run.at[i], figure);
        if (curve)
            draw_curve(&grid, curve, range, style.logarithmic, i, scratch);
    }
    put_grid(&grid, range, style, out);
    put_legend(plot, figure, style, out);
}
