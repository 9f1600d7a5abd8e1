// rounding.c: from a matrix of f32 to what is stored of it.
//
// To the nearest, each group of a column by itself: the scale is that of the largest magnitude, for
// 4 bits the one of a few around it with the smallest error; with zero points the range from the
// smallest to the largest weight is divided.
//
// Or compensated (Frantar et al., 2022, arXiv:2210.17323): what a product is off by is measured by
// the inputs that it was given, H = sum of x x^T. Weights are rounded one after the other along the
// sum, and the error of each is taken off those that come later, weighted by the Cholesky factor of
// the inverse of H, which makes the error of the result smallest.

#include "quant/rounding.h"

#include <math.h>
#include <string.h>

#include "quant/cholesky.h"
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
    bool whole = cholesky_factor(h, k) && cholesky_invert(h, k) && cholesky_factor(h, k);
    return whole ? h : NULL;
}

// ---- one matrix

typedef struct Rounding {
    Arena *arena;
    const StoredRule *rule;
    int64_t k, n, group, groups, padded;
    const float *w; // [n, k] or [k, n]
    int64_t w_k, w_column;
    const double *factor, *square; // NULL: none
    uint8_t *b, *zero;             // of this turn
    uint16_t *scale, *half;
    double low, high, signal, noise, result_signal, result_noise;
} Rounding;

static void put(Rounding *r, int64_t p, int64_t column, int q)
{
    uint8_t *at = &r->b[stored_byte(r->rule->form, stored_panels(r->n), r->padded, p, column)];
    if (r->rule->form == STORED_BYTES)
        *at = (uint8_t)q;
    else
        *at |= (uint8_t)(p % 8 > 3 ? q << 4 : q);
}

static void round_column(Rounding *r, int64_t column, float *w, float *rounded)
{
    Grid grid = {0};
    for (int64_t p = 0; p < r->padded; p++) {
        if (p % r->group == 0) {
            int64_t count = r->k - p < r->group ? r->k - p : r->group;
            grid = grid_of(r->rule, w + p, count);
            int64_t place = stored_place(stored_panels(r->n), r->groups, p / r->group, column);
            element_set_real(DTYPE_F16, r->scale, place, (double)grid.scale);
            if (r->zero)
                r->zero[place] = (uint8_t)grid.zero;
        }
        int q = p < r->k ? nearest(&grid, w[p]) : grid.zero;
        put(r, p, column, q);
        if (p >= r->k)
            continue;
        rounded[p] = value_of(&grid, q);
        if (!r->factor)
            continue;
        const double *row = r->factor + p * r->k;
        double off = (double)(w[p] - rounded[p]) / row[p];
        for (int64_t later = p + 1; later < r->k; later++)
            w[later] -= (float)(off * row[later]);
    }
}

static void halve_column(Rounding *r, int64_t column, const float *w, float *rounded)
{
    DType dtype = r->rule->form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16;
    for (int64_t p = 0; p < r->k; p++) {
        int64_t place = stored_place(stored_panels(r->n), r->k, p, column);
        element_set_real(dtype, r->half, place, (double)w[p]);
        rounded[p] = (float)element_real(dtype, r->half, place);
    }
}

// w^T H w
static double measured(const Rounding *r, const float *w)
{
    double sum = 0;
    for (int64_t i = 0; i < r->k; i++) {
        double row = 0;
        for (int64_t j = 0; j < r->k; j++)
            row += r->square[i * r->k + j] * (double)w[j];
        sum += row * (double)w[i];
    }
    return sum;
}

static void round_matrix(Rounding *r)
{
    float *w = NEW_ARRAY(r->arena, float, r->k + 1),
          *rounded = NEW_ARRAY(r->arena, float, r->k + 1),
          *exact = NEW_ARRAY(r->arena, float, r->k + 1);
    r->low = INFINITY, r->high = -INFINITY;
    for (int64_t column = 0; column < r->n; column++) {
        for (int64_t p = 0; p < r->k; p++) {
            exact[p] = w[p] = r->w[p * r->w_k + column * r->w_column];
            r->low = fmin(r->low, (double)w[p]);
            r->high = fmax(r->high, (double)w[p]);
        }
        if (r->rule->form >= STORED_BF16)
            halve_column(r, column, w, rounded);
        else
            round_column(r, column, w, rounded);
        for (int64_t p = 0; p < r->k; p++) {
            double off = (double)exact[p] - (double)rounded[p];
            r->signal += (double)exact[p] * (double)exact[p];
            r->noise += off * off;
        }
        // every 7th column tells enough about the result
        if (r->square && (r->n < 256 || column % 7 == 0)) {
            r->result_signal += measured(r, exact);
            for (int64_t p = 0; p < r->k; p++)
                rounded[p] = exact[p] - rounded[p];
            r->result_noise += measured(r, rounded);
        }
    }
    // columns that fill the last panel are zeros
    for (int64_t column = r->n; r->zero && column < stored_panels(r->n) * STORED_COLUMNS; column++)
        for (int64_t g = 0; g < r->groups; g++)
            r->zero[stored_place(stored_panels(r->n), r->groups, g, column)] = 0;
}

static double decibels(double signal, double noise)
{
    return noise > 0 ? fmin(10 * log10(signal / noise), 200) : signal > 0 ? 200 : 0;
}

// body.#.up.weight of turn 2: body.2.up
static const char *layer_name(Arena *arena, const Inst *constant, int64_t turn)
{
    const char *name = constant->name ? constant->name : "matrix";
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

static void report_row(Rounding *r, const Inst *constant, int64_t turn, int64_t bytes,
                       StoredReport *report)
{
    aml_layer_report row = {.name = layer_name(r->arena, constant, turn),
                            .form = stored_form_text(r->arena, r->rule),
                            .low = r->low,
                            .high = r->high,
                            .weights_db = decibels(r->signal, r->noise),
                            .result_db =
                                r->square ? decibels(r->result_signal, r->result_noise) : 0,
                            .bytes_before = r->k * r->n * 4,
                            .bytes_after = bytes};
    vec_push(r->arena, &report->layer, row);
}

void stored_report_kept(Arena *arena, StoredReport *report, const Inst *constant, const char *why)
{
    aml_layer_report row = {.name = layer_name(arena, constant, 0),
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

static const StoredInput *input_of(const StoredInputs *inputs, const Inst *constant, int64_t turn)
{
    for (int i = 0; inputs && i < inputs->input.count; i++)
        if (inputs->input.at[i].turn == turn && constant->name &&
            strcmp(inputs->input.at[i].name, constant->name) == 0)
            return &inputs->input.at[i];
    return NULL;
}

const char *stored_round(Arena *arena, const Inst *constant, int contract, const StoredRule *rule,
                         const StoredInputs *inputs, StoredReport *report, StoredMatrix *out)
{
    Type type = constant->type;
    int stack = type.rank - 2;
    int64_t turns = stack ? type.dim[0] : 0, each = turns ? turns : 1;
    const int64_t *dim = type.dim + stack;
    *out = (StoredMatrix){.k = dim[contract], .n = dim[1 - contract]};
    bool integers = rule->form < STORED_BF16;
    int64_t group = stored_group(rule, out->k), groups = stored_groups(out->k, group);
    float most = largest(constant);
    const char *wrong = NULL;
    if (!isfinite(most))
        wrong = "it has weights that are not finite";
    else if ((rule->form == STORED_F16 && most > 65504) || (integers && most > 65504 * 7))
        wrong = "its weights are larger than f16 can tell";
    else if (integers && group > STORED_MOST_GROUP)
        wrong = "its columns are too long for one scale";
    if (wrong) {
        stored_report_kept(arena, report, constant, wrong);
        return wrong;
    }
    uint8_t *b = NULL, *zero = NULL;
    uint16_t *scale = NULL, *half = NULL;
    if (integers) {
        b = make(arena, out, 0, DTYPE_U8, turns,
                 groups * group / (rule->form == STORED_NIBBLES ? 8 : 4), 4 * STORED_COLUMNS);
        scale = make(arena, out, 1, DTYPE_F16, turns, groups, STORED_COLUMNS);
        if (rule->asymmetric)
            zero = make(arena, out, 2, DTYPE_U8, turns, groups, STORED_COLUMNS);
    } else {
        half = make(arena, out, 0, rule->form == STORED_BF16 ? DTYPE_BF16 : DTYPE_F16, turns,
                    out->k, STORED_COLUMNS);
    }
    int64_t bytes = 0;
    for (int i = 0; i < 3 && out->at[i]; i++)
        bytes += type_bytes(out->type[i]) / each;
    for (int64_t turn = 0; turn < each; turn++) {
        const StoredInput *input = input_of(inputs, constant, turn);
        Rounding r = {.arena = arena,
                      .rule = rule,
                      .k = out->k,
                      .n = out->n,
                      .group = group,
                      .groups = groups,
                      .padded = groups * group,
                      .w = (const float *)constant->attr[0].data.at + turn * out->k * out->n,
                      .w_k = contract == 0 ? out->n : 1,
                      .w_column = contract == 0 ? 1 : out->k,
                      .square = input ? input->square : NULL};
        if (integers) {
            r.b = b + turn * (type_bytes(out->type[0]) / each);
            r.scale = scale + turn * (type_bytes(out->type[1]) / each / 2);
            r.zero = zero ? zero + turn * (type_bytes(out->type[2]) / each) : NULL;
            if (rule->compensated && input)
                r.factor = inverse_factor(arena, input->square, out->k);
        } else {
            r.half = half + turn * (type_bytes(out->type[0]) / each / 2);
        }
        round_matrix(&r);
        report_row(&r, constant, turn, bytes, report);
    }
    return NULL;
}
