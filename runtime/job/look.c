// data head, data stats: what the samples of the data sets look like, as they are read or, with
// --prepared, as the model sees them.
//
// Each element of a small tensor is a column of its own; of a large one (a picture) all elements
// together are one. Means and deviations are of all values; so that quantiles need no more memory
// than KEPT numbers, of very many values every n-th one is kept for them.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

enum { APART = 16, KEPT = 1 << 22, BARS = 16, MOST_CLASSES = 1000, SHOWN = 10 };

// ---- the samples of one data set
// -----------------------------------------------------------------

typedef struct Looking {
    const aml_dataset *dataset;
    amli_table *table; // as they are read
    amli_fetch fetch;
    amli_samples *samples; // prepared
    int fields;
    int64_t rows;
    const void **at; // of each field of the row
    void **room;     // prepared: where it is put
} Looking;

static const aml_tensor_info *field_info(const Looking *looking, int field)
{
    return looking->samples ? &looking->dataset->prepare.output[field]
                            : &looking->dataset->field[field].tensor;
}

static const char *path_of(const Looking *looking)
{
    return looking->samples ? looking->samples->path : looking->table->path;
}

static void look_close(Looking *looking)
{
    amli_fetch_free(&looking->fetch);
    amli_table_free(looking->table);
    amli_samples_free(looking->samples);
    for (int i = 0; looking->room && i < looking->fields; i++)
        free(looking->room[i]);
    free(looking->room);
    free(looking->at);
    *looking = (Looking){0};
}

static aml_status look_open(const amli_command *command, const aml_dataset *dataset,
                            Looking *looking, aml_error *error)
{
    amli_paths paths;
    amli_load load;
    bool prepared = command->prepared;
    *looking = (Looking){.dataset = dataset,
                         .fields = prepared ? dataset->prepare.outputs : dataset->fields};
    aml_status status = amli_load_options(command, dataset, &load, &paths, error);
    if (!status)
        status = prepared ? amli_samples_load(dataset, &load, 1, &looking->samples, error)
                          : amli_table_load(dataset, &load, &looking->table, error);
    looking->at = calloc((size_t)looking->fields + 1, sizeof *looking->at);
    looking->room = calloc((size_t)looking->fields + 1, sizeof *looking->room);
    if (!status && (!looking->at || !looking->room))
        status = amli_no_memory(error, (size_t)looking->fields, "a sample");
    for (int i = 0; i < looking->fields && prepared && !status; i++) {
        size_t bytes = amli_tensor_bytes(&dataset->prepare.output[i]);
        looking->at[i] = looking->room[i] = malloc(bytes + 1);
        status = looking->room[i] ? AML_OK : amli_no_memory(error, bytes, "a sample");
    }
    if (!status && !prepared)
        status = amli_fetch_new(looking->table, &looking->fetch, error);
    if (!status)
        looking->rows = prepared ? looking->samples->rows : looking->table->rows;
    if (status)
        look_close(looking);
    return status;
}

static aml_status look_row(Looking *looking, int64_t row, aml_error *error)
{
    return looking->samples
               ? amli_samples_batch(looking->samples, &row, 1, NULL, NULL, looking->room, error)
               : amli_fetch_sample(&looking->fetch, row, looking->at, error);
}

// ---- head
// ----------------------------------------------------------------------------------------

static void write_value(const Looking *looking, int field, int64_t element, bool json)
{
    amli_write_element(stdout, field_info(looking, field), looking->at[field], element, json);
}

static void head_json(const Looking *looking, int64_t row)
{
    amli_buffer name = {0};
    printf("{\"row\": %lld", (long long)row + 1);
    for (int i = 0; i < looking->fields; i++) {
        const aml_tensor_info *info = field_info(looking, i);
        int64_t count = aml_shape_elements(&info->shape);
        name.length = 0;
        amli_json_text(&name, info->name);
        printf(", %s: %s", name.failed ? "\"\"" : name.text, info->shape.rank ? "[" : "");
        for (int64_t k = 0; k < count; k++) {
            fputs(k ? ", " : "", stdout);
            write_value(looking, i, k, true);
        }
        fputs(info->shape.rank ? "]" : "", stdout);
    }
    puts("}");
    amli_buffer_free(&name);
}

static void head_text(const Looking *looking, int64_t row)
{
    printf("%lld", (long long)row + 1);
    for (int i = 0; i < looking->fields; i++) {
        const aml_tensor_info *info = field_info(looking, i);
        int64_t count = aml_shape_elements(&info->shape), shown = count < 8 ? count : 8;
        printf("  %s ", info->name);
        for (int64_t k = 0; k < shown; k++) {
            fputs(k ? " " : "", stdout);
            write_value(looking, i, k, false);
        }
        if (shown < count)
            printf(" ... (%lld)", (long long)count);
    }
    putchar('\n');
}

static aml_status head(const amli_command *command, Looking *looking, aml_error *error)
{
    int64_t shown = command->head > 0 ? command->head : SHOWN;
    aml_status status = AML_OK;
    if (!command->json)
        printf("%s: %s: %lld samples%s\n", looking->dataset->name, path_of(looking),
               (long long)looking->rows, looking->samples ? ", prepared" : "");
    for (int64_t row = 0; row < shown && row < looking->rows && !status; row++) {
        status = look_row(looking, row, error);
        if (status)
            break;
        if (command->json)
            head_json(looking, row);
        else
            head_text(looking, row);
    }
    return status;
}

// ---- stats
// ---------------------------------------------------------------------------------------

typedef struct Figures { // of one column
    const aml_tensor_info *info;
    int field;
    int64_t element; // -1: all elements of the field
    int64_t count, missing;
    double mean, distances, least, most; // distances: the sum of squared ones from the mean
    float *kept;
    int64_t keeps, room, every, seen;
    int64_t *of_class; // rows of each class; NULL: no class
} Figures;

static aml_status figures_new(const Looking *looking, int field, int64_t element, Figures *figures,
                              aml_error *error)
{
    const aml_tensor_info *info = field_info(looking, field);
    int64_t each = element < 0 ? aml_shape_elements(&info->shape) : 1, all;
    *figures = (Figures){.info = info, .field = field, .element = element};
    if (info->classes > 0 && info->classes <= MOST_CLASSES) {
        figures->of_class = calloc((size_t)info->classes, sizeof *figures->of_class);
        return figures->of_class ? AML_OK
                                 : amli_no_memory(error, (size_t)info->classes, info->name);
    }
    if (__builtin_mul_overflow(each, looking->rows, &all))
        all = INT64_MAX;
    figures->every = all / KEPT + 1;
    figures->room = all / figures->every + 1;
    figures->kept = malloc((size_t)figures->room * sizeof *figures->kept);
    return figures->kept ? AML_OK : amli_no_memory(error, (size_t)figures->room * 4, info->name);
}

static void add_value(Figures *figures, double value)
{
    if (isnan(value) || (figures->of_class && value < 0)) {
        figures->missing++;
        return;
    }
    figures->count++;
    if (figures->of_class) {
        if (value < (double)figures->info->classes)
            figures->of_class[(int64_t)value]++;
        return;
    }
    double away = value - figures->mean;
    figures->mean += away / (double)figures->count;
    figures->distances += away * (value - figures->mean);
    if (figures->count == 1 || value < figures->least)
        figures->least = value;
    if (figures->count == 1 || value > figures->most)
        figures->most = value;
    if (figures->seen++ % figures->every == 0 && figures->keeps < figures->room)
        figures->kept[figures->keeps++] = (float)value;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(const Figures *figures, double at)
{
    if (figures->keeps == 0)
        return NAN;
    double place = at * (double)(figures->keeps - 1);
    int64_t low = (int64_t)place, high = low + 1 < figures->keeps ? low + 1 : low;
    double share = place - (double)low;
    return (1 - share) * (double)figures->kept[low] + share * (double)figures->kept[high];
}

static void count_bars(const Figures *figures, int64_t bar[BARS])
{
    double width = (figures->most - figures->least) / BARS;
    memset(bar, 0, sizeof bar[0] * BARS);
    for (int64_t i = 0; i < figures->keeps; i++) {
        int at = width > 0 ? (int)(((double)figures->kept[i] - figures->least) / width) : 0;
        bar[at < 0 ? 0 : at >= BARS ? BARS - 1 : at]++;
    }
}

static const double quantiles[] = {0.05, 0.25, 0.5, 0.75, 0.95};

static void number_json(amli_buffer *out, const char *name, double value)
{
    char text[40];
    amli_buffer_printf(out, ", \"%s\": %s", name,
                       isfinite(value) ? amli_real_text(value, text, sizeof text) : "null");
}

static double deviation(const Figures *figures)
{
    return figures->count > 1 ? sqrt(figures->distances / (double)(figures->count - 1)) : 0;
}

// The largest class over the smallest: how far from balanced.
static double imbalance(const Figures *figures)
{
    int64_t least = INT64_MAX, most = 0;
    for (int64_t k = 0; k < figures->info->classes; k++) {
        int64_t rows = figures->of_class[k];
        least = rows < least ? rows : least;
        most = rows > most ? rows : most;
    }
    return least > 0 ? (double)most / (double)least : INFINITY;
}

static void figures_json(const Looking *looking, const Figures *figures)
{
    amli_buffer out = {0};
    amli_buffer_printf(&out, "{\"dataset\": ");
    amli_json_text(&out, looking->dataset->name);
    amli_buffer_printf(&out, ", \"field\": ");
    amli_json_text(&out, figures->info->name);
    if (figures->element >= 0 && figures->info->shape.rank > 0)
        amli_buffer_printf(&out, ", \"element\": %lld", (long long)figures->element);
    amli_buffer_printf(&out, ", \"count\": %lld, \"missing\": %lld", (long long)figures->count,
                       (long long)figures->missing);
    if (figures->of_class) {
        number_json(&out, "imbalance", imbalance(figures));
        amli_buffer_printf(&out, ", \"classes\": [");
        for (int64_t k = 0; k < figures->info->classes; k++)
            amli_buffer_printf(&out, "%s%lld", k ? ", " : "", (long long)figures->of_class[k]);
        amli_buffer_printf(&out, "]");
        for (int64_t k = 0; figures->info->class_name && k < figures->info->classes; k++) {
            amli_buffer_printf(&out, k ? ", " : ", \"names\": [");
            amli_json_text(&out, figures->info->class_name[k]);
        }
        amli_buffer_printf(&out, figures->info->class_name ? "]}" : "}");
    } else {
        int64_t bar[BARS];
        number_json(&out, "mean", figures->count ? figures->mean : NAN);
        number_json(&out, "deviation", deviation(figures));
        number_json(&out, "min", figures->count ? figures->least : NAN);
        number_json(&out, "max", figures->count ? figures->most : NAN);
        for (size_t q = 0; q < AMLI_COUNT(quantiles); q++) {
            char name[16];
            snprintf(name, sizeof name, "q%02.0f", quantiles[q] * 100);
            number_json(&out, name, quantile(figures, quantiles[q]));
        }
        count_bars(figures, bar);
        amli_buffer_printf(&out, ", \"histogram\": [");
        for (int b = 0; b < BARS; b++)
            amli_buffer_printf(&out, "%s%lld", b ? ", " : "", (long long)bar[b]);
        amli_buffer_printf(&out, "]}");
    }
    if (!out.failed)
        puts(out.text);
    amli_buffer_free(&out);
}

static void print_bars(const int64_t bar[BARS])
{
    static const char *const block[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int64_t most = 1;
    for (int b = 0; b < BARS; b++)
        most = bar[b] > most ? bar[b] : most;
    for (int b = 0; b < BARS; b++)
        fputs(bar[b] == 0 ? " " : block[(bar[b] * 8 - 1) / most > 7 ? 7 : (bar[b] * 8 - 1) / most],
              stdout);
}

static void print_classes(const Figures *figures)
{
    printf("%12lld %8lld  %lld classes, the largest has %.3g times the rows of the smallest\n",
           (long long)figures->count, (long long)figures->missing,
           (long long)figures->info->classes, imbalance(figures));
    int64_t most = 1;
    for (int64_t k = 0; k < figures->info->classes; k++)
        most = figures->of_class[k] > most ? figures->of_class[k] : most;
    for (int64_t k = 0; k < figures->info->classes; k++) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)k);
        const char *label = figures->info->class_name ? figures->info->class_name[k] : number;
        printf("    %-20s %12lld %7.2f%%  ", label, (long long)figures->of_class[k],
               figures->count ? 100.0 * (double)figures->of_class[k] / (double)figures->count : 0);
        for (int64_t b = 0; b < (figures->of_class[k] * 24 + most - 1) / most; b++)
            fputs("█", stdout);
        putchar('\n');
    }
}

static void figures_text(const Figures *figures)
{
    char name[80];
    bool is_element = figures->element >= 0 && figures->info->shape.rank > 0;
    snprintf(name, sizeof name, is_element ? "%.60s[%lld]" : "%.60s", figures->info->name,
             (long long)figures->element);
    printf("%-18s", name);
    if (figures->of_class) {
        print_classes(figures);
        return;
    }
    int64_t bar[BARS];
    count_bars(figures, bar);
    printf("%12lld %8lld", (long long)figures->count, (long long)figures->missing);
    if (figures->count == 0) {
        puts("  no values");
        return;
    }
    printf(" %10.5g %10.5g %10.5g %10.5g %10.5g %10.5g %10.5g  ", figures->mean, deviation(figures),
           figures->least, quantile(figures, 0.25), quantile(figures, 0.5), quantile(figures, 0.75),
           figures->most);
    print_bars(bar);
    puts(figures->every > 1 ? "  (quantiles of some values)" : "");
}

static aml_status gather(Looking *looking, Figures *figures, int columns, aml_error *error)
{
    aml_status status = AML_OK;
    for (int64_t row = 0; row < looking->rows && !status; row++) {
        status = look_row(looking, row, error);
        for (int c = 0; c < columns && !status; c++) {
            Figures *of = &figures[c];
            int64_t first = of->element < 0 ? 0 : of->element,
                    last = of->element < 0 ? aml_shape_elements(&of->info->shape) : first + 1;
            for (int64_t k = first; k < last; k++)
                add_value(of, amli_element(of->info->dtype, looking->at[of->field], k));
        }
    }
    for (int c = 0; c < columns && !status; c++)
        if (figures[c].kept)
            qsort(figures[c].kept, (size_t)figures[c].keeps, sizeof *figures[c].kept, by_value);
    return status;
}

static int columns_of(const aml_tensor_info *info)
{
    int64_t elements = aml_shape_elements(&info->shape);
    return elements <= APART ? (int)elements : 1;
}

static void print_split(const Looking *looking)
{
    printf("%s: %s: %lld samples", looking->dataset->name, path_of(looking),
           (long long)looking->rows);
    if (looking->samples) {
        const int64_t *rows = looking->samples->split.rows;
        printf(", prepared; train %lld, valid %lld, test %lld", (long long)rows[AML_PART_TRAIN],
               (long long)rows[AML_PART_VALID], (long long)rows[AML_PART_TEST]);
    }
    printf("\n%-18s%12s %8s %10s %10s %10s %10s %10s %10s %10s  %s\n", "field", "values", "missing",
           "mean", "deviation", "min", "25%", "50%", "75%", "max", "histogram");
}

static aml_status stats(const amli_command *command, Looking *looking, aml_error *error)
{
    int columns = 0;
    for (int i = 0; i < looking->fields; i++)
        columns += columns_of(field_info(looking, i));
    Figures *figures = calloc((size_t)columns + 1, sizeof *figures);
    aml_status status =
        figures ? AML_OK : amli_no_memory(error, (size_t)columns * sizeof *figures, "the figures");
    for (int i = 0, c = 0; i < looking->fields && !status; i++) {
        int apart = columns_of(field_info(looking, i));
        bool all = aml_shape_elements(&field_info(looking, i)->shape) > APART;
        for (int k = 0; k < apart && !status; k++)
            status = figures_new(looking, i, all ? -1 : k, &figures[c++], error);
    }
    if (!status)
        status = gather(looking, figures, columns, error);
    if (!status && !command->json)
        print_split(looking);
    for (int c = 0; c < columns && !status; c++) {
        if (command->json)
            figures_json(looking, &figures[c]);
        else
            figures_text(&figures[c]);
    }
    for (int c = 0; figures && c < columns; c++)
        free(figures[c].kept), free(figures[c].of_class);
    free(figures);
    return status;
}

aml_status amli_data_look(const amli_command *command, aml_error *error)
{
    const aml_program *program = command->program;
    bool is_head = strcmp(command->argument, "head") == 0;
    aml_status status = AML_OK;
    for (int i = 0; i < program->datasets && !status; i++) {
        Looking looking;
        status = look_open(command, &program->dataset[i], &looking, error);
        if (status)
            break;
        status = is_head ? head(command, &looking, error) : stats(command, &looking, error);
        look_close(&looking);
    }
    return status;
}
