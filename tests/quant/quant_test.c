#include <stdlib.h>

#include "../check.h"
#include "quant/cholesky.h"
#include "quant/matrix.h"
#include "quant/quant.h"
#include "quant/rounding.h"
#include "stored.h"

static Cx *cx;
static uint64_t state = 1;

// -1 to 1
static double drawn(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(int64_t)state / 9.3e18;
}

static double *drawn_matrix(int64_t elements)
{
    double *at = NEW_ARRAY(cx->arena, double, elements);
    for (int64_t i = 0; i < elements; i++)
        at[i] = drawn();
    return at;
}

static void check_product(int64_t m, int64_t n, int64_t k)
{
    int64_t stride = n + 3;
    double *a = drawn_matrix(m * k), *b = drawn_matrix(k * n), *c = drawn_matrix(m * stride);
    double *before = arena_copy(cx->arena, c, sizeof *c * (size_t)(m * stride)), worst = 0;
    matrix_add_product(c, stride, (Matrix){a, m, k, k}, (Matrix){b, k, n, n}, -1.5);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < stride; j++) {
            double sum = 0;
            for (int64_t p = 0; p < k && j < n; p++)
                sum += a[i * k + p] * b[p * n + j];
            worst = fmax(worst, fabs(c[i * stride + j] - (before[i * stride + j] - 1.5 * sum)));
        }
    CHECK_CLOSE(worst, 0, 1e-11);
}

static void check_square(int64_t rows, int64_t k)
{
    double *a = drawn_matrix(rows * k), *c = drawn_matrix(k * k), worst = 0;
    double *before = arena_copy(cx->arena, c, sizeof *c * (size_t)(k * k));
    matrix_add_square(c, (Matrix){a, rows, k, k});
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = before[i * k + j];
            for (int64_t r = 0; r < rows; r++)
                sum += a[r * k + i] * a[r * k + j];
            worst = fmax(worst, fabs(c[i * k + j] - sum));
        }
    CHECK_CLOSE(worst, 0, 1e-11);
}

TEST(products_of_matrices)
{
    check_product(1, 1, 1);
    check_product(5, 7, 3);
    check_product(101, 77, 300);
    check_product(0, 4, 4);
    check_square(1, 1);
    check_square(40, 33);
    check_square(0, 3);
}

// x^T x of `rows` random rows, and something on the diagonal.
static double *positive(int64_t n, int64_t rows)
{
    double *x = drawn_matrix(rows * n), *a = NEW_ARRAY(cx->arena, double, n *n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t r = 0; r < rows; r++)
                a[i * n + j] += x[r * n + i] * x[r * n + j];
    for (int64_t i = 0; i < n; i++)
        a[i * n + i] += 0.1;
    return a;
}

static void check_inverse_factor(int64_t n)
{
    double *a = positive(n, 2 * n), *u = arena_copy(cx->arena, a, sizeof *a * (size_t)(n * n));
    CHECK(cholesky_inverse_factor(u, n));
    double *v = drawn_matrix(n), *product = NEW_ARRAY(cx->arena, double, 3 * n), worst = 0;
    double *times = product + n, *back = times + n; // v, A v, U A v, U^T U A v = v
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            product[i] += a[i * n + j] * v[j];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            times[i] += u[i * n + j] * product[j];
            CHECK(j >= i || u[i * n + j] == 0);
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            back[j] += u[i * n + j] * times[i];
    for (int64_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(back[i] - v[i]));
    CHECK_CLOSE(worst, 0, 1e-8);
}

TEST(the_factor_of_an_inverse)
{
    for (int i = 0; i < 8; i++)
        check_inverse_factor((const int64_t[]){1, 2, 7, 127, 128, 129, 256, 300}[i]);
    CHECK(!cholesky_inverse_factor((double[]){1, 2, 2, 1}, 2));
}

// ---- rounding by its definition

// Solves a x = y for a [n, n] and y [n, columns] by elimination; x takes the place of y.
static void solve(double *a, int64_t n, double *y, int64_t columns)
{
    for (int64_t p = 0; p < n; p++)
        for (int64_t i = 0; i < n; i++) {
            double by = a[i * n + p] / a[p * n + p];
            if (i == p)
                continue;
            for (int64_t j = p; j < n; j++)
                a[i * n + j] -= by * a[p * n + j];
            for (int64_t j = 0; j < columns; j++)
                y[i * columns + j] -= by * y[p * columns + j];
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j++)
            y[i * columns + j] /= a[i * n + i];
}

// After each weight those behind it become what is best for the result.
static void round_by_definition(const float *w, int64_t k, int64_t n, const double *square,
                                int64_t group, int *out)
{
    double *h = arena_copy(cx->arena, square, sizeof *h * (size_t)(k * k)), mean = 0;
    double *left = NEW_ARRAY(cx->arena, double, k *n), *scale = NEW_ARRAY(cx->arena, double, n);
    for (int64_t i = 0; i < k; i++)
        mean += h[i * k + i] / (double)k;
    for (int64_t i = 0; i < k; i++)
        h[i * k + i] += 0.01 * mean;
    for (int64_t i = 0; i < k * n; i++)
        left[i] = (double)w[i];
    for (int64_t p = 0; p < k; p++) {
        int64_t later = k - p - 1;
        double *rest = NEW_ARRAY(cx->arena, double, later *later + 1),
               *best = NEW_ARRAY(cx->arena, double, later + 1);
        for (int64_t i = 0; i < later; i++) {
            best[i] = h[(p + 1 + i) * k + p];
            for (int64_t j = 0; j < later; j++)
                rest[i * later + j] = h[(p + 1 + i) * k + p + 1 + j];
        }
        solve(rest, later, best, 1);
        for (int64_t c = 0; c < n; c++) {
            if (p % group == 0) {
                float most = 0;
                for (int64_t i = p; i < p + group && i < k; i++)
                    most = fmaxf(most, fabsf((float)left[i * n + c]));
                uint16_t half;
                element_set_real(DTYPE_F16, &half, 0, (double)(most / 127));
                scale[c] = element_real(DTYPE_F16, &half, 0);
            }
            double q = fmin(fmax(rint(left[p * n + c] / scale[c]), -127), 127);
            double off = left[p * n + c] - q * scale[c];
            out[p * n + c] = (int)q + 128;
            for (int64_t i = 0; i < later; i++)
                left[(p + 1 + i) * n + c] += best[i] * off;
        }
    }
}

typedef struct Case {
    int64_t k, group;
    int parts; // matrices side by side
    bool turned;
} Case;

static float *turned(const float *w, int64_t k, int64_t n)
{
    float *out = NEW_ARRAY(cx->arena, float, k *n);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            out[j * k + i] = w[i * n + j];
    return out;
}

static void check_rounding(const Case *c)
{
    int64_t columns[] = {3, 18, 5}, group = c->group ? c->group : (c->k + 7) / 8 * 8, first = 0;
    StoredRule rule = {STORED_BYTES, c->group, false, true};
    StoredInputs inputs = {0};
    StoredSource source[3];
    float *w[3];
    double *square = positive(c->k, c->k);
    for (int i = 0; i < c->parts; i++) {
        w[i] = NEW_ARRAY(cx->arena, float, c->k *columns[i]);
        for (int64_t p = 0; p < c->k * columns[i]; p++)
            w[i][p] = (float)drawn();
        int64_t dim[] = {c->turned ? columns[i] : c->k, c->turned ? c->k : columns[i]};
        source[i] = (StoredSource){sym_printf(cx, "part%d.weight", i), type_make(DTYPE_F32, 2, dim),
                                   c->turned ? turned(w[i], c->k, columns[i]) : w[i], c->turned};
        vec_push(cx->arena, &inputs.input, ((StoredInput){source[i].name, 0, c->k, square}));
    }
    StoredRounded rounded = {0};
    StoredReport report = {0};
    StoredMatrix made =
        stored_round(cx->arena, source, c->parts, &rule, &inputs, &rounded, &report);
    CHECK_INT(report.layer.count, c->parts);
    for (int i = 0; i < c->parts; i++) {
        int *expected = NEW_ARRAY(cx->arena, int, c->k *columns[i]);
        round_by_definition(w[i], c->k, columns[i], square, group, expected);
        for (int64_t p = 0; p < c->k; p++)
            for (int64_t j = 0; j < columns[i]; j++)
                CHECK_INT(stored_integer(STORED_BYTES, made.at[0], stored_panels(made.n),
                                         stored_groups(c->k, group) * group, p, first + j),
                          expected[p * columns[i] + j]);
        CHECK(report.layer.at[i].result_db > 30);
        first += columns[i];
    }
    CHECK_INT(made.n, first);
    StoredMatrix again =
        stored_round(cx->arena, source, c->parts, &rule, &inputs, &rounded, &report);
    CHECK(again.at[0] == made.at[0] && again.at[1] == made.at[1]); // nothing is rounded twice
    CHECK_INT(report.layer.count, c->parts);
}

TEST(errors_are_made_up_for)
{
    static const Case cases[] = {
        {7, 8, 1, false},    {24, 8, 3, false},  {90, 8, 1, true},    {90, 24, 3, true},
        {100, 72, 2, false}, {150, 0, 1, false}, {140, 136, 2, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_rounding(&cases[i]);
}

// ---- products of the same rows

enum { ROWS = 5, DEPTH = 20 };

static Inst *weights_in(IrFunction *fn, const char *name, int64_t columns, const double *from)
{
    float *at = NEW_ARRAY(cx->arena, float, DEPTH *columns);
    for (int64_t i = 0; i < DEPTH * columns; i++)
        at[i] = (float)from[i];
    Inst *made =
        ir_constant(fn, type_make(DTYPE_F32, 2, (int64_t[]){DEPTH, columns}), at, false, fn->span);
    made->name = sym_of(cx, name);
    return made;
}

// x q, x k and relu(x) v, or one of them.
static IrFunction *products(int which, const double *weights[3])
{
    static const char *const name[] = {"q.weight", "k.weight", "v.weight"};
    static const int64_t columns[] = {7, 16, 33};
    IrFunction *fn = ir_function_new(cx, ir_module_new(cx), sym_of(cx, "products"), (Span){0});
    Inst *x = ir_param(fn, type_make(DTYPE_F32, 2, (int64_t[]){ROWS, DEPTH}), (Slot){SLOT_INPUT, 0},
                       NULL, fn->span);
    Inst *w[3] = {0};
    for (int i = 0; i < 3; i++)
        if (which < 0 || which == i)
            w[i] = weights_in(fn, name[i], columns[i], weights[i]);
    Inst *other = ir_unary(fn, OP_abs, x, fn->span);
    for (int i = 0, outputs = 0; i < 3; i++)
        if (w[i])
            ir_result(fn,
                      ir_dot(fn, i == 2 ? other : x, w[i], (IntList){1, {1}}, (IntList){1, {0}},
                             (IntList){0}, (IntList){0}, fn->span),
                      (Slot){SLOT_OUTPUT, outputs++}, NULL);
    return fn;
}

static int count_of(const IrFunction *fn, Op op)
{
    int count = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count += inst->op == op;
    return count;
}

TEST(products_of_the_same_rows_are_one)
{
    const double *weights[] = {drawn_matrix(DEPTH * 7), drawn_matrix(DEPTH * 16),
                               drawn_matrix(DEPTH * 33)};
    static const StoredRule rules[] = {{STORED_BYTES, 8, false, false},
                                       {STORED_NIBBLES, 0, true, false},
                                       {STORED_F16, 0, false, false}};
    float x[ROWS * DEPTH], one[ROWS * 33], all[3][ROWS * 33];
    for (int i = 0; i < ROWS * DEPTH; i++)
        x[i] = (float)drawn();
    for (size_t r = 0; r < COUNT_OF(rules); r++) {
        StoredRounded rounded = {0};
        StoredReport report = {0};
        IrFunction *fn = products(-1, weights);
        CHECK_INT(stored_insert(fn, &rules[r], NULL, &rounded, &report), 3);
        CHECK(!ir_verify_function(cx->arena, fn));
        CHECK_INT(count_of(fn, OP_dot_stored), 2);
        CHECK_INT(report.layer.count, 3);
        CHECK_TEXT(report.layer.at[1].name, "k");
        ir_evaluate(fn, (void *[]){x}, (void *[]){all[0], all[1], all[2]});
        for (int i = 0; i < 3; i++) {
            StoredRounded anew = {0};
            IrFunction *alone = products(i, weights);
            CHECK_INT(stored_insert(alone, &rules[r], NULL, &anew, &report), 1);
            ir_evaluate(alone, (void *[]){x}, (void *[]){one});
            size_t bytes = (size_t)type_bytes(alone->result.at[0].value->type);
            CHECK(memcmp(one, all[i], bytes) == 0);
        }
    }
}

// ---- channels of like sizes

enum { HIDDEN = 32, OUT = 6 };

// relu(x w + b) v; the channels between are of very different sizes. `also`: something else reads
// what is between.
static IrFunction *two_layers(bool also, Inst **w, Inst **v)
{
    IrFunction *fn = ir_function_new(cx, ir_module_new(cx), sym_of(cx, "layers"), (Span){0});
    Inst *x = ir_param(fn, type_make(DTYPE_F32, 2, (int64_t[]){ROWS, DEPTH}), (Slot){SLOT_INPUT, 0},
                       NULL, fn->span);
    float *first = NEW_ARRAY(cx->arena, float, DEPTH *HIDDEN),
          *bias = NEW_ARRAY(cx->arena, float, HIDDEN),
          *second = NEW_ARRAY(cx->arena, float, HIDDEN *OUT);
    state = 7;
    for (int i = 0; i < DEPTH * HIDDEN; i++)
        first[i] = (float)ldexp(drawn(), i % HIDDEN % 7);
    for (int i = 0; i < HIDDEN; i++)
        bias[i] = (float)ldexp(drawn(), i % 7);
    for (int i = 0; i < HIDDEN * OUT; i++)
        second[i] = (float)ldexp(drawn(), -(i / OUT % 7));
    Type middle = type_make(DTYPE_F32, 2, (int64_t[]){ROWS, HIDDEN});
    IntList rows = {1, {1}}, columns = {1, {0}};
    *w = ir_constant(fn, type_make(DTYPE_F32, 2, (int64_t[]){DEPTH, HIDDEN}), first, false,
                     fn->span);
    *v =
        ir_constant(fn, type_make(DTYPE_F32, 2, (int64_t[]){HIDDEN, OUT}), second, false, fn->span);
    Inst *b = ir_constant(fn, type_make(DTYPE_F32, 1, (int64_t[]){HIDDEN}), bias, false, fn->span);
    Inst *sum = ir_binary(fn, OP_add,
                          ir_dot(fn, x, *w, rows, columns, (IntList){0}, (IntList){0}, fn->span),
                          ir_broadcast(fn, b, middle, rows, fn->span), fn->span);
    Inst *zero = ir_real(fn, middle, 0, fn->span);
    Inst *in[] = {ir_binary(fn, OP_le, sum, zero, fn->span), zero, sum};
    Inst *relu = ir_append(fn, OP_select, in, 3, NULL, (Type){0}, fn->span);
    ir_result(fn, ir_dot(fn, relu, *v, rows, columns, (IntList){0}, (IntList){0}, fn->span),
              (Slot){SLOT_OUTPUT, 0}, NULL);
    if (also)
        ir_result(fn, relu, (Slot){SLOT_OUTPUT, 1}, NULL);
    return fn;
}

// The largest channel over the smallest one, by their largest weights.
static double spread_of(const Inst *weights, int axis)
{
    const float *at = weights->attr[0].data.at;
    double largest[HIDDEN] = {0}, most = 0, least = INFINITY;
    for (int64_t i = 0; i < type_elements(weights->type); i++) {
        int64_t channel = axis ? i % HIDDEN : i / OUT;
        largest[channel] = fmax(largest[channel], fabs((double)at[i]));
    }
    for (int i = 0; i < HIDDEN; i++) {
        most = fmax(most, largest[i]);
        least = fmin(least, largest[i]);
    }
    return most / least;
}

TEST(channels_get_like_sizes)
{
    Inst *w, *v;
    float x[ROWS * DEPTH], before[ROWS * OUT], after[ROWS * OUT], middle[ROWS * HIDDEN];
    for (int i = 0; i < ROWS * DEPTH; i++)
        x[i] = (float)drawn();
    IrFunction *fn = two_layers(false, &w, &v);
    CHECK(spread_of(w, 1) > 40 && spread_of(v, 0) > 40);
    ir_evaluate(fn, (void *[]){x}, (void *[]){before});
    CHECK_INT(quant_equalize(fn), 1);
    CHECK(!ir_verify_function(cx->arena, fn));
    ir_evaluate(fn, (void *[]){x}, (void *[]){after});
    CHECK(memcmp(before, after, sizeof before) == 0);
    const Inst *dot[2] = {0};
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_dot)
            dot[dot[0] != NULL] = inst;
    CHECK(spread_of(dot[0]->input[1], 1) < 6 && spread_of(dot[1]->input[1], 0) < 10);

    fn = two_layers(true, &w, &v);
    CHECK_INT(quant_equalize(fn), 0);
    ir_evaluate(fn, (void *[]){x}, (void *[]){after, middle});
    CHECK(memcmp(before, after, sizeof before) == 0);
}

int main(void)
{
    cx = cx_new();
    RUN(products_of_matrices);
    RUN(the_factor_of_an_inverse);
    RUN(errors_are_made_up_for);
    RUN(products_of_the_same_rows_are_one);
    RUN(channels_get_like_sizes);
    cx_free(cx);
    CHECK_SUMMARY();
}
