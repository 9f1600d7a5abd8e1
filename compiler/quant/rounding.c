// rounding.c: from a matrix of f32 to what is stored of it.
//
// To the nearest, each group of a column by itself: the scale is that of the largest magnitude, for
// 4 bits the one of a few around it with the smallest error; with zero points the range from the
// smallest to the largest weight is divided.
//
// Or compensated (Frantar et al., 2022, arXiv:2210.17323): what a product is off by is measured by
// the inputs that it was given, H = sum of x x^T. Weights are rounded one after the other along the
// sum, and the error of each is taken off those that come later, weighted by the Cholesky factor of
// the inverse of H, which makes the error of the result smallest. Within a piece of the sum this
// happens at once; what comes behind the piece gets all of its errors as one product of matrices.

#include "quant/rounding.h"

#include <math.h>
#include <string.h>

#include "quant/cholesky.h"
#include "quant/matrix.h"
#include "stored.h"

static const double damping = 0.01; // of the mean diagonal of H, added to it

int64_t stored_group(const StoredRule *rule, int64_t k)
{
    return rule->group ? rule->group : (k + 7) / 8 * 8;
}

const char *stored_form_text(Arena *arena, const StoredRule *rule)
{
    static const char *const name[] = {"int8", "int4", "bf16", "f16"};
    if (rule->form >= STORED_BF16)
        return name[rule->form];
    const char *group =
        rule->group ? arena_printf(arena, "/%lld", (long long)rule->group) : "/column";
    return arena_printf(arena, "%s%s%s%s", name[rule->form], group,
                        rule->asymmetric ? " with zero points" : "",
                        rule->compensated ? ", compensated" : "");
}

// ---- one group of one column

typedef struct Grid { // w is (q - zero) * scale, q from low to high
    float scale;
    int zero, low, high;
} Grid;

static float half_scale(float scale)
{
    uint16_t half;
    element_set_real(DTYPE_F16, &half, 0, (double)scale);
    return (float)element_real(DTYPE_F16, &half, 0);
}

static int nearest(const Grid *grid, float weight)
{
    if (!(grid->scale > 0))
        return grid->zero;
    float q = rintf(weight / grid->scale) + (float)grid->zero;
    return q < (float)grid->low ? grid->low : q > (float)grid->high ? grid->high : (int)q;
}

static float value_of(const Grid *grid, int q)
{
    return (float)(q - grid->zero) * grid->scale;
}

static double group_error(const Grid *grid, const float *w, int64_t count)
{
    double error = 0;
    for (int64_t i = 0; i < count; i++) {
        double off = (double)(w[i] - value_of(grid, nearest(grid, w[i])));
        error += off * off;
    }
    return error;
}

static Grid grid_of(const StoredRule *rule, const float *w, int64_t count)
{
    bool nibbles = rule->form == STORED_NIBBLES;
    float low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low = fminf(low, w[i]);
        high = fmaxf(high, w[i]);
    }
    if (rule->asymmetric) {
        int steps = nibbles ? 15 : 255;
        Grid grid = {.scale = half_scale((high - low) / (float)steps), .high = steps};
        if (grid.scale > 0)
            grid.zero = (int)fminf(fmaxf(rintf(-low / grid.scale), 0), (float)steps);
        return grid;
    }
    float most = fmaxf(-low, high);
    if (!nibbles) // -128 is left out, so that both sides are alike
        return (Grid){half_scale(most / 127), 128, 1, 255};
    Grid best = {half_scale(most / 7), 8, 0, 15};
    double least = group_error(&best, w, count);
    for (int try = 0; try < 12; try++) {
        Grid grid = best;
        grid.scale = half_scale(most / (6.6f + 0.15f * (float)try));
        double error = group_error(&grid, w, count);
        if (error < least) {
            least = error;
            best = grid;
        }
    }
    return best;
}

// ---- the Cholesky factor of the inverse

// The upper factor U of the inverse of H, U^T U = H^-1. NULL: H has none.
static double *inverse_factor(Arena *arena, const double *square, int64_t k)
{
    double *h = arena_copy(arena, square, sizeof(double) * (size_t)(k * k)), mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += h[i * k + i] / (double)k;
    for (int64_t i = 0; i < k; i++)
        h[i * k + i] += damping * mean + 1e-30;
    return cholesky_inverse_factor(h, k) ? h : NULL;
}

// ---- one matrix

enum {
    TOGETHER = 384, // columns
    PIECE = 64,     // of a column, at most, or a whole number of groups
};

typedef struct Rounding {
    const StoredRule *rule;
    int64_t k, n, group, groups, padded; // of the stored matrix
    int64_t first, columns;              // of the constant: where it is in the stored matrix
    const float *w;                      // [columns, k] or [k, columns]
    int64_t w_k, w_column;
    const double *factor, *square; // NULL: none
    uint8_t *b, *zero;             // of this turn
    uint16_t *scale, *half;
    double low, high, signal, noise, result_signal, result_noise;
    // of the columns that are being rounded, [TOGETHER, k] each
    int64_t at, count;
    double *left; // with what was taken off
    float *exact, *rounded, *line;
    double *off;            // [TOGETHER, PIECE]
    double *sample, *image; // of some: exact or off, and times H
    Grid *grid;
} Rounding;

static void put(Rounding *r, int64_t p, int64_t column, int q)
{
    uint8_t *at = &r->b[stored_byte(r->rule->form, stored_panels(r->n), r->padded, p, column)];
    if (r->rule->form == STORED_BYTES)
        *at = (uint8_t)q;
    else
        *at |= (uint8_t)(p % 8 > 3 ? q << 4 : q);
}

static void begin_group(Rounding *r, int64_t i, int64_t p)
{
    int64_t count = r->k - p < r->group ? r->k - p : r->group;
    for (int64_t k = 0; k < count; k++)
        r->line[k] = (float)r->left[i * r->k + p + k];
    r->grid[i] = grid_of(r->rule, r->line, count);
    int64_t place =
        stored_place(stored_panels(r->n), r->groups, p / r->group, r->first + r->at + i);
    element_set_real(DTYPE_F16, r->scale, place, (double)r->grid[i].scale);
    if (r->zero)
        r->zero[place] = (uint8_t)r->grid[i].zero;
}

// Elements begin..end of one column.
static void round_piece(Rounding *r, int64_t i, int64_t begin, int64_t end)
{
    double *left = r->left + i * r->k, *off = r->off + i * PIECE;
    int64_t last = end < r->k ? end : r->k;
    for (int64_t p = begin; p < end; p++) {
        if (p % r->group == 0)
            begin_group(r, i, p);
        int q = p < r->k ? nearest(&r->grid[i], (float)left[p]) : r->grid[i].zero;
        put(r, p, r->first + r->at + i, q);
        if (p >= r->k)
            continue;
        float value = value_of(&r->grid[i], q);
        r->rounded[i * r->k + p] = value;
        if (!r->factor)
            continue;
        const double *row = r->factor + p * r->k;
        double by = (left[p] - (double)value) / row[p];
        off[p - begin] = by;
        for (int64_t later = p + 1; later < last; later++)
            left[later] -= by * row[later];
    }
}

// Where a piece that begins at p ends: groups are whole, or pieces are parts of one.
static int64_t piece_end(const Rounding *r, int64_t p)
{
    int64_t end = r->group <= PIECE ? p + PIECE / r->group * r->group : p + PIECE;
    int64_t whole = (p / r->group + 1) * r->group;
    if (r->group > PIECE && end > whole)
        end = whole;
    return end < r->padded ? end : r->padded;
}

static void round_columns(Rounding *r)
{
    for (int64_t p = 0, end; p < r->padded; p = end) {
        end = piece_end(r, p);
        for (int64_t i = 0; i < r->count; i++)
            round_piece(r, i, p, end);
        if (r->factor && end < r->k)
            matrix_add_product(r->left + end, r->k, (Matrix){r->off, r->count, end - p, PIECE},
                               (Matrix){r->factor + p * r->k + end, end - p, r->k - end, r->k}, -1);
    }
}

static void halve_columns(Rounding *r)
{
    DType dtype = r->rule->form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16;
    for (int64_t i = 0; i < r->count; i++)
        for (int64_t p = 0; p < r->k; p++) {
            int64_t place = stored_place(stored_panels(r->n), r->k, p, r->first + r->at + i);
            element_set_real(dtype, r->half, place, (double)r->exact[i * r->k + p]);
            r->rounded[i * r->k + p] = (float)element_real(dtype, r->half, place);
        }
}

// The sum of w^T H w over the first `count` samples.
static double measured(Rounding *r, int64_t count)
{
    double sum = 0;
    memset(r->image, 0, sizeof *r->image * (size_t)(count * r->k));
    matrix_add_product(r->image, r->k, (Matrix){r->sample, count, r->k, r->k},
                       (Matrix){r->square, r->k, r->k, r->k}, 1);
    for (int64_t i = 0; i < count * r->k; i++)
        sum += r->image[i] * r->sample[i];
    return sum;
}

// Every 7th column tells enough about the result.
static bool is_sampled(const Rounding *r, int64_t i)
{
    return r->columns < 256 || (r->at + i) % 7 == 0;
}

static void measure_result(Rounding *r)
{
    for (int off = 0; off < 2; off++) {
        int64_t samples = 0;
        for (int64_t i = 0; i < r->count; i++) {
            if (!is_sampled(r, i))
                continue;
            for (int64_t p = 0; p < r->k; p++) {
                double exact = (double)r->exact[i * r->k + p];
                r->sample[samples * r->k + p] =
                    off ? exact - (double)r->rounded[i * r->k + p] : exact;
            }
            samples++;
        }
        *(off ? &r->result_noise : &r->result_signal) += measured(r, samples);
    }
}

static void measure_weights(Rounding *r)
{
    for (int64_t i = 0; i < r->count * r->k; i++) {
        double exact = (double)r->exact[i], off = exact - (double)r->rounded[i];
        r->low = fmin(r->low, exact);
        r->high = fmax(r->high, exact);
        r->signal += exact * exact;
        r->noise += off * off;
    }
}

static void round_matrix(Arena *scratch, Rounding *r)
{
    int64_t most = r->columns < TOGETHER ? r->columns : TOGETHER;
    r->left = NEW_ARRAY(scratch, double, 3 * most * r->k + 1);
    r->sample = r->left + most * r->k;
    r->image = r->sample + most * r->k;
    r->exact = NEW_ARRAY(scratch, float, (2 * most + 1) * r->k + 1);
    r->rounded = r->exact + most * r->k;
    r->line = r->rounded + most * r->k;
    r->off = NEW_ARRAY(scratch, double, most *PIECE);
    r->grid = NEW_ARRAY(scratch, Grid, most);
    r->low = INFINITY, r->high = -INFINITY;
    for (r->at = 0; r->at < r->columns; r->at += r->count) {
        r->count = r->columns - r->at < most ? r->columns - r->at : most;
        for (int64_t i = 0; i < r->count; i++)
            for (int64_t p = 0; p < r->k; p++) {
                float w = r->w[p * r->w_k + (r->at + i) * r->w_column];
                r->exact[i * r->k + p] = w;
                r->left[i * r->k + p] = (double)w;
            }
        if (r->rule->form >= STORED_BF16)
            halve_columns(r);
        else
            round_columns(r);
        measure_weights(r);
        if (r->square)
            measure_result(r);
    }
}

static double decibels(double signal, double noise)
{
    return noise > 0 ? fmin(10 * log10(signal / noise), 200) : signal > 0 ? 200 : 0;
}

// body.#.up.weight of turn 2: body.2.up
static const char *layer_name(Arena *arena, const char *name, int64_t turn)
{
    name = name ? name : "matrix";
    const char *mark = strchr(name, '#');
    size_t length = strlen(name);
    static const char end[] = ".weight";
    if (length > sizeof end - 1 && strcmp(name + length - (sizeof end - 1), end) == 0)
        length -= sizeof end - 1;
    if (!mark)
        return arena_text(arena, name, length);
    return arena_printf(arena, "%.*s%lld%.*s", (int)(mark - name), name, (long long)turn,
                        (int)(name + length - mark - 1), mark + 1);
}

static void report_row(Arena *arena, const Rounding *r, const char *name, int64_t turn,
                       int64_t bytes, StoredReport *report)
{
    aml_layer_report row = {.name = layer_name(arena, name, turn),
                            .form = stored_form_text(arena, r->rule),
                            .low = r->low,
                            .high = r->high,
                            .weights_db = decibels(r->signal, r->noise),
                            .result_db =
                                r->square ? decibels(r->result_signal, r->result_noise) : 0,
                            .bytes_before = r->k * r->columns * 4,
                            .bytes_after = bytes};
    vec_push(arena, &report->layer, row);
}

void stored_report_kept(Arena *arena, StoredReport *report, const Inst *constant, const char *why)
{
    aml_layer_report row = {.name = layer_name(arena, constant->name, 0),
                            .kept = arena_printf(arena, "f32: %s", why),
                            .bytes_before = type_bytes(constant->type),
                            .bytes_after = type_bytes(constant->type)};
    report->kept++;
    vec_push(arena, &report->layer, row);
}

// The largest magnitude; NaN if any is.
static float largest(const Inst *constant)
{
    const float *at = constant->attr[0].data.at;
    float most = 0;
    for (int64_t i = 0; i < type_elements(constant->type); i++) {
        if (isnan(at[i]))
            return NAN;
        most = fmaxf(most, fabsf(at[i]));
    }
    return most;
}

// [panels, rows, width], of each turn if there are several.
static void *make(Arena *arena, StoredMatrix *out, int which, DType dtype, int64_t turns,
                  int64_t rows, int64_t width)
{
    Type type = {.dtype = dtype};
    if (turns > 0)
        type.dim[type.rank++] = turns;
    type.dim[type.rank++] = stored_panels(out->n);
    type.dim[type.rank++] = rows;
    type.dim[type.rank++] = width;
    out->type[which] = type;
    out->at[which] = arena_alloc(arena, (size_t)type_bytes(type));
    memset(out->at[which], 0, (size_t)type_bytes(type));
    return out->at[which];
}

static const StoredInput *input_of(const StoredInputs *inputs, const char *name, int64_t turn)
{
    for (int i = 0; inputs && i < inputs->input.count; i++)
        if (inputs->input.at[i].turn == turn && name && strcmp(inputs->input.at[i].name, name) == 0)
            return &inputs->input.at[i];
    return NULL;
}

const char *stored_refusal(const Inst *constant, int contract, const StoredRule *rule)
{
    int64_t k = constant->type.dim[constant->type.rank - 2 + contract];
    bool integers = rule->form < STORED_BF16;
    float most = largest(constant);
    if (!isfinite(most))
        return "it has weights that are not finite";
    if ((rule->form == STORED_F16 && most > 65504) || (integers && most > 65504 * 7))
        return "its weights are larger than f16 can tell";
    return integers && stored_group(rule, k) > STORED_MOST_GROUP
               ? "its columns are too long for one scale"
               : NULL;
}

static int64_t columns_of(const StoredSource *source)
{
    return source->type.dim[source->type.rank - 1 - source->contract];
}

static void make_matrix(Arena *arena, const StoredRule *rule, int64_t turns, StoredMatrix *out)
{
    int64_t group = stored_group(rule, out->k), groups = stored_groups(out->k, group);
    if (rule->form >= STORED_BF16) {
        make(arena, out, 0, rule->form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16, turns, out->k,
             STORED_COLUMNS);
        return;
    }
    make(arena, out, 0, DTYPE_U8, turns, groups * group / (rule->form == STORED_NIBBLES ? 8 : 4),
         4 * STORED_COLUMNS);
    make(arena, out, 1, DTYPE_F16, turns, groups, STORED_COLUMNS);
    if (rule->asymmetric)
        make(arena, out, 2, DTYPE_U8, turns, groups, STORED_COLUMNS);
}

// Where a turn's part of an operand begins.
static void *turn_of(const StoredMatrix *matrix, int which, int64_t turn, int64_t turns)
{
    return matrix->at[which]
               ? (char *)matrix->at[which] + turn * (type_bytes(matrix->type[which]) / turns)
               : NULL;
}

typedef struct Turn {
    Arena *arena;
    const StoredRule *rule;
    const StoredInputs *inputs;
    StoredReport *report;
    const StoredMatrix *matrix;
    int64_t turn, turns; // at least 1
} Turn;

// One turn of all sources, side by side. Those that read the same rows share a factor.
static void round_turn(const Turn *t, const StoredSource source[], int count)
{
    const StoredMatrix *m = t->matrix;
    int64_t k = m->k, group = stored_group(t->rule, k), bytes = 0, first = 0;
    const double *square = NULL, *factor = NULL;
    Arena *scratch = arena_new();
    for (int i = 0; i < 3 && m->at[i]; i++)
        bytes += type_bytes(m->type[i]) / t->turns;
    for (int i = 0; i < count; i++) {
        const StoredInput *input = input_of(t->inputs, source[i].name, t->turn);
        int64_t columns = columns_of(&source[i]);
        Arena *own = arena_new();
        Rounding r = {.rule = t->rule,
                      .k = k,
                      .n = m->n,
                      .group = group,
                      .groups = stored_groups(k, group),
                      .padded = stored_groups(k, group) * group,
                      .first = first,
                      .columns = columns,
                      .w = (const float *)source[i].at + t->turn * k * columns,
                      .w_k = source[i].contract == 0 ? columns : 1,
                      .w_column = source[i].contract == 0 ? 1 : k,
                      .square = input ? input->square : NULL};
        if (t->rule->form >= STORED_BF16) {
            r.half = turn_of(m, 0, t->turn, t->turns);
        } else {
            r.b = turn_of(m, 0, t->turn, t->turns);
            r.scale = turn_of(m, 1, t->turn, t->turns);
            r.zero = turn_of(m, 2, t->turn, t->turns);
            if (t->rule->compensated && input && input->square != square)
                factor = inverse_factor(scratch, input->square, k);
            square = input ? input->square : NULL;
            r.factor = input ? factor : NULL;
        }
        round_matrix(own, &r);
        report_row(t->arena, &r, source[i].name, t->turn, bytes * columns / m->n, t->report);
        first += columns;
        arena_free(own);
    }
    arena_free(scratch);
}

static const StoredMatrix *remembered(const StoredRounded *rounded, const StoredSource source[],
                                      int count)
{
    for (int i = 0; i < rounded->done.count; i++) {
        const StoredDone *done = &rounded->done.at[i];
        bool same = done->count == count;
        for (int k = 0; k < count && same; k++) {
            const StoredSource *a = &done->source[k], *b = &source[k];
            same = a->name == b->name && a->contract == b->contract &&
                   type_equal(a->type, b->type) &&
                   (a->at == b->at || memcmp(a->at, b->at, (size_t)type_bytes(a->type)) == 0);
        }
        if (same)
            return &done->matrix;
    }
    return NULL;
}

StoredMatrix stored_round(Arena *arena, const StoredSource source[], int count,
                          const StoredRule *rule, const StoredInputs *inputs,
                          StoredRounded *rounded, StoredReport *report)
{
    const StoredMatrix *known = remembered(rounded, source, count);
    if (known)
        return *known;
    Type type = source[0].type;
    int64_t turns = type.rank > 2 ? type.dim[0] : 0, each = turns ? turns : 1;
    StoredMatrix out = {.k = type.dim[type.rank - 2 + source[0].contract]};
    for (int i = 0; i < count; i++)
        out.n += columns_of(&source[i]);
    make_matrix(arena, rule, turns, &out);
    for (int64_t turn = 0; turn < each; turn++) {
        Turn t = {arena, rule, inputs, report, &out, turn, each};
        round_turn(&t, source, count);
    }
    StoredSource *kept = arena_copy(arena, source, sizeof *source * (size_t)count);
    vec_push(arena, &rounded->done, ((StoredDone){kept, count, out}));
    return out;
}
