// driver_plot.c: `amlc plot`, the curves of runs.

#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "plot/plot.h"

enum { CHART_ROWS = 12, DEFAULT_COLUMNS = 80, MOST_COLUMNS = 160 };

static int terminal_columns(void)
{
    struct winsize size;
    const char *text = getenv("COLUMNS");
    int columns = text ? atoi(text) : 0;
    if (columns <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns <= 0)
        columns = DEFAULT_COLUMNS;
    return columns < 40 ? 40 : columns > MOST_COLUMNS ? MOST_COLUMNS : columns;
}

typedef Vec(Sym) Figures;

// The figures that --figure names (separated by commas), or all. False after a report.
static bool choose_figures(Command *command, const Plot *plot, Figures *chosen)
{
    Cx *cx = command->cx;
    const char *wanted = command->option[OPTION_FIGURE];
    if (!wanted) {
        for (int i = 0; i < plot->figure.count; i++)
            vec_push(cx->arena, chosen, plot->figure.at[i]);
        return true;
    }
    while (*wanted) {
        size_t length = strcspn(wanted, ",");
        Sym name = sym_intern(cx, wanted, length);
        bool known = false;
        for (int i = 0; i < plot->figure.count; i++)
            known |= plot->figure.at[i] == name;
        if (!known) {
            const char *closest = closest_name(name, plot->figure.at, plot->figure.count);
            Buffer list = {.arena = cx->arena};
            buffer_text(&list, "");
            for (int i = 0; i < plot->figure.count; i++)
                buffer_printf(&list, "%s%s", i ? ", " : "", plot->figure.at[i]);
            if (closest)
                say(command, "error", "no run recorded '%s'; did you mean '%s'?", name, closest);
            else
                say(command, "error", "no run recorded '%s'; there are %s", name, list.text);
            return false;
        }
        vec_push(cx->arena, chosen, name);
        wanted += length + (wanted[length] == ',');
    }
    return true;
}

static int write_page(Command *command, const char *path, const Buffer *page)
{
    FILE *file = fopen(path, "we");
    bool good = file && fwrite(page->text, 1, page->length, file) == page->length;
    if (file)
        good = fclose(file) == 0 && good;
    if (!good) {
        say(command, "error", "cannot write %s: %s", path, strerror(errno));
        return EXIT_INPUT;
    }
    fprintf(stderr, "wrote %s (%s)\n", path, size_text(command->cx, (double)page->length));
    return EXIT_OK;
}

int verb_plot(Command *command)
{
    Cx *cx = command->cx;
    Plot plot = {.cx = cx};
    for (int i = 0; i < command->argument.count; i++) {
        const char *message = plot_read(&plot, command->argument.at[i]);
        if (message) {
            say(command, "error", "%s", message);
            return EXIT_INPUT;
        }
    }
    Figures figures = {0};
    if (!choose_figures(command, &plot, &figures))
        return EXIT_USAGE;
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    const char *page = command->option[OPTION_HTML];
    if (page) {
        plot_html(&plot, figures.at, figures.count, &out);
        return write_page(command, page, &out);
    }
    const char *when = command->option[OPTION_COLOR];
    bool color = when && strcmp(when, "auto") != 0 ? strcmp(when, "always") == 0
                                                   : isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    ChartStyle style = {.columns = terminal_columns(),
                        .rows = CHART_ROWS,
                        .color = color,
                        .logarithmic = command->option[OPTION_LOG] != NULL};
    for (int i = 0; i < figures.count; i++) {
        plot_chart(&plot, figures.at[i], style, &out);
        buffer_text(&out, i + 1 < figures.count ? "\n" : "");
        arena_reset(cx->scratch);
    }
    fwrite(out.text, 1, out.length, stdout);
    return EXIT_OK;
}
