// Matrix products of every method, shape, transposition and element type agree with sums in f64,
// touch nothing outside their operands, hand every element to the epilogue once, and do not depend
// on how the parts are distributed.

#include "../check.h"
#ifdef __AMX_BF16__
#include "../tiles/amx.h"
#endif
#include "guarded.h"
#include "kernels.c"

typedef struct Case {
    AmlDot dot;
    const void *a, *b;
    void *scratch;
    double *result, *again; // m x n
    int *visits;
    bool *touched;           // AML_DOT_TOUCH: which vectors were asked for, by their first element
    double *expected, *size; // the sum, and the sum of absolute products
    bool wrong_place;
} Case;

static double element(const AmlDot *dot, const void *at, int64_t index)
{
    if (dot->half)
        return (double)(dot->half == AML_HALF_F16 ? aml_f16_to_f32(((const uint16_t *)at)[index])
                                                  : aml_bf16_to_f32(((const uint16_t *)at)[index]));
    return dot->bytes == 4 ? (double)((const float *)at)[index] : ((const double *)at)[index];
}

static void visit(Case *c, int64_t row, int64_t column, int lanes, const double *value)
{
    const AmlDot *dot = &c->dot;
    bool touch = c->dot.method & AML_DOT_TOUCH;
    if (lanes == 0 && touch && row >= 0 && row < dot->m && column >= 0 && column < dot->n) {
        c->touched[row * dot->n + column] = true;
        return;
    }
    bool tail = column + lanes == dot->n && lanes == dot->n % dot->lanes;
    if (row < 0 || row >= dot->m || column % dot->lanes || (lanes != dot->lanes && !tail) ||
        column + lanes > dot->n || lanes == 0 || (touch && !c->touched[row * dot->n + column])) {
        c->wrong_place = true;
        return;
    }
    for (int i = 0; i < lanes; i++) {
        c->result[row * dot->n + column + i] = value[i];
        c->visits[row * dot->n + column + i]++;
    }
}

static void visit_f32(void *context, int64_t row, int64_t column, int lanes, f32v value)
{
    double wide[F32_LANES];
    for (int i = 0; i < F32_LANES; i++)
        wide[i] = (double)value[i];
    visit(context, row, column, lanes, wide);
}

static void visit_f64(void *context, int64_t row, int64_t column, int lanes, f64v value)
{
    visit(context, row, column, lanes, (const double *)&value);
}

static void product(Case *c, int64_t begin, int64_t end)
{
    AmlDot *d = &c->dot;
#ifdef __AMX_BF16__
    if (d->tiles) {
        aml_dot_tiles_pairs(c->a, c->b, c->scratch, d->m, d->n, d->k, d->a_row, d->a_k, d->b_k,
                            d->b_column, d->method, d->tile_rows, d->tile_vectors, d->k_block,
                            d->row_block, d->part_rows, d->part_columns, begin, end, visit_f32, c);
        return;
    }
#endif
    if (d->half == AML_HALF_PAIRS)
        aml_dot_pairs(c->a, c->b, c->scratch, d->m, d->n, d->k, d->a_row, d->a_k, d->b_k,
                      d->b_column, d->method, d->tile_rows, d->tile_vectors, d->k_block,
                      d->row_block, d->part_rows, d->part_columns, begin, end, visit_f32, c);
    else if (d->half)
        aml_dot_half(c->a, c->b, c->scratch, d->m, d->n, d->k, d->a_row, d->a_k, d->b_k,
                     d->b_column, d->half | (d->k % 2 ? AML_DOT_DIRECT : 0), d->tile_rows,
                     d->tile_vectors, d->k_block, d->row_block, d->part_rows, d->part_columns,
                     begin, end, visit_f32, c);
    else if (d->bytes == 4)
        aml_dot_f32(c->a, c->b, c->scratch, d->m, d->n, d->k, d->a_row, d->a_k,
                    d->b_packed ? d->panel : d->b_k, d->b_column, d->method, d->tile_rows,
                    d->tile_vectors, d->k_block, d->row_block, d->part_rows, d->part_columns, begin,
                    end, visit_f32, c);
    else
        aml_dot_f64(c->a, c->b, c->scratch, d->m, d->n, d->k, d->a_row, d->a_k,
                    d->b_packed ? d->panel : d->b_k, d->b_column, d->method, d->tile_rows,
                    d->tile_vectors, d->k_block, d->row_block, d->part_rows, d->part_columns, begin,
                    end, visit_f64, c);
}

// APART: neither index is contiguous; PANELS: in panels of columns, TURNED: of its rows
enum { PLAIN, TRANSPOSED, APART, PANELS, TURNED };
enum { TILES = 4 }; // of `half`: pairs of bf16 in tiles of AMX

static uint32_t noise_state = 1;
static double noise(void)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (double)(noise_state >> 8) / (1 << 23) - 1;
}

static void *matrix(Guarded *guarded, int bytes, int half, int64_t rows, int64_t columns, int form,
                    int64_t *row, int64_t *column, bool at_end)
{
    int64_t gap = form == APART ? 3 : 1;
    *row = form == TRANSPOSED || form == TURNED ? 1
           : form == PANELS                     ? AML_DOT_PANEL
                                                : columns * gap;
    *column = form == TRANSPOSED ? rows : form == TURNED ? AML_DOT_PANEL : gap;
    int64_t last =
        form >= PANELS ? rows * columns - 1 : (rows - 1) * *row + (columns - 1) * *column;
    void *at = guarded_new(guarded, (size_t)((last + 1) * (half ? 2 : bytes)), at_end);
    for (int64_t i = 0; i <= last; i++) {
        if (half)
            ((uint16_t *)at)[i] = half == AML_HALF_F16 ? aml_f32_to_f16((float)noise())
                                                       : aml_f32_to_bf16((float)noise());
        else if (bytes == 4)
            ((float *)at)[i] = (float)noise();
        else
            ((double *)at)[i] = noise();
    }
    return at;
}

// Where element [row, column] of a matrix is.
static int64_t place(int form, int64_t rows, int64_t columns, int64_t row_step, int64_t column_step,
                     int64_t row, int64_t column)
{
    if (form == TURNED)
        return place(PANELS, columns, rows, 0, 0, column, row);
    if (form == PANELS)
        return (column / AML_DOT_PANEL * rows + row) * AML_DOT_PANEL + column % AML_DOT_PANEL;
    return row * row_step + column * column_step;
}

// NULL, or what is wrong.
static const char *check_product_of(int half, int bytes, int64_t m, int64_t n, int64_t k,
                                    int form_a, int form_b, bool packed, int64_t method,
                                    bool at_end)
{
    static char message[200];
    Case c = {.dot = {.bytes = bytes,
                      .half = half == TILES ? AML_HALF_PAIRS : half,
                      .tiles = half == TILES,
                      .lanes = bytes == 4 ? F32_LANES : F64_LANES,
                      .m = m,
                      .n = n,
                      .k = k,
                      .b_packed = packed,
                      .a_panels = form_a >= PANELS,
                      .b_panels = form_b == PANELS}};
    AmlDot *d = &c.dot;
    Guarded guard_a, guard_b, guard_packed, guard_scratch, guard_turned;
    c.a = matrix(&guard_a, bytes, half, m, k, form_a, &d->a_row, &d->a_k, at_end);
    c.b = matrix(&guard_b, bytes, half, k, n, form_b, &d->b_k, &d->b_column, at_end);
    aml_dot_plan(d);
    if (method >= 0)
        d->method = method;
    const void *b = c.b;
    if (packed) {
        void *to = guarded_new(&guard_packed, d->packed_bytes, at_end);
        aml_dot_pack(d, b, to);
        c.b = to;
    }
    c.scratch = guarded_new(&guard_scratch, (d->scratch_bytes + 63) / 64 * 64, true);
    const void *a = c.a;
    int64_t a_row = d->a_row, a_k = d->a_k;
    if (d->turned_bytes) { // in two parts, as threads do it
        uint16_t *turned = guarded_new(&guard_turned, d->turned_bytes, true);
        d->a_row = aml_dot_turned_step(d), d->a_k = 1;
        aml_shared_dot_turn(a, a_k, k, d->a_row, turned, 32, m);
        aml_shared_dot_turn(a, a_k, k, d->a_row, turned, 0, 32);
        c.a = turned;
    }
    size_t elements = (size_t)(m * n);
    c.result = calloc(elements, sizeof *c.result);
    c.again = calloc(elements, sizeof *c.again);
    c.visits = calloc(elements, sizeof *c.visits);
    c.touched = calloc(elements, sizeof *c.touched);
    message[0] = 0;
    product(&c, 0, d->parts);
    double epsilon = bytes == 4 ? 0x1p-24 : 0x1p-53;
    for (int64_t i = 0; i < m && !message[0]; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, size = 0;
            for (int64_t p = 0; p < k; p++) {
                double term = element(d, a, place(form_a, m, k, a_row, a_k, i, p)) *
                              element(d, b, place(form_b, k, n, d->b_k, d->b_column, p, j));
                sum += term, size += fabs(term);
            }
            double found = c.result[i * n + j];
            if (c.visits[i * n + j] != 1 ||
                !(fabs(found - sum) <= (double)(k + 4) * epsilon * size)) {
                snprintf(message, sizeof message,
                         "half %d, bytes %d, %ld x %ld x %ld, forms %d %d, method %ld, at %ld, "
                         "%ld: %.9g "
                         "for %.9g, visits %d",
                         half, bytes, (long)m, (long)n, (long)k, form_a, form_b, (long)d->method,
                         (long)i, (long)j, found, sum, c.visits[i * n + j]);
                break;
            }
        }
    }
    if (c.wrong_place && !message[0])
        snprintf(message, sizeof message, "%ld x %ld x %ld: an epilogue outside the result",
                 (long)m, (long)n, (long)k);
    memcpy(c.again, c.result, elements * sizeof *c.again);
    for (int64_t part = d->parts - 1; part >= 0; part--)
        product(&c, part, part + 1);
    if (memcmp(c.again, c.result, elements * sizeof *c.again) != 0 && !message[0])
        snprintf(message, sizeof message,
                 "%ld x %ld x %ld: other bits when the parts run one by one", (long)m, (long)n,
                 (long)k);
    free(c.result), free(c.again), free(c.visits), free(c.touched);
    guarded_free(&guard_a), guarded_free(&guard_b), guarded_free(&guard_scratch);
    if (packed)
        guarded_free(&guard_packed);
    if (d->turned_bytes)
        guarded_free(&guard_turned);
    return message[0] ? message : NULL;
}

static const char *check_product(int bytes, int64_t m, int64_t n, int64_t k, int form_a, int form_b,
                                 bool packed, int64_t method, bool at_end)
{
    return check_product_of(AML_HALF_NONE, bytes, m, n, k, form_a, form_b, packed, method, at_end);
}

#define CHECK_PRODUCT(...)                                                                         \
    do {                                                                                           \
        const char *wrong_ = check_product(__VA_ARGS__);                                           \
        if (wrong_)                                                                                \
            CHECK_FAIL("%s", wrong_);                                                              \
    } while (0)

TEST(every_width_of_the_last_column)
{
    for (int bytes = 4; bytes <= 8; bytes += 4) {
        for (int64_t n = 1; n <= 130; n++)
            CHECK_PRODUCT(bytes, 7, n, 9, PLAIN, PLAIN, false, -1, n & 1);
    }
}

TEST(every_height_of_the_last_row)
{
    for (int bytes = 4; bytes <= 8; bytes += 4) {
        for (int64_t m = 1; m <= 130; m++)
            CHECK_PRODUCT(bytes, m, 37, 5, PLAIN, PLAIN, false, -1, m & 1);
    }
}

TEST(every_length_of_the_sum)
{
    for (int bytes = 4; bytes <= 8; bytes += 4) {
        for (int64_t k = 1; k <= 130; k++) {
            CHECK_PRODUCT(bytes, 5, 19, k, PLAIN, TRANSPOSED, false, -1, k & 1);
            CHECK_PRODUCT(bytes, 1, 19, k, PLAIN, TRANSPOSED, false, -1, k & 1);
        }
    }
}

TEST(every_transposition)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 13, 16, 17, 31, 48, 64, 65, 97, 128, 129};
    int count = sizeof sizes / sizeof *sizes;
    for (int round = 0; round < 400; round++) {
        int64_t m = sizes[(noise_state >> 9) % (unsigned)count], n, k;
        noise(), n = sizes[(noise_state >> 9) % (unsigned)count];
        noise(), k = sizes[(noise_state >> 9) % (unsigned)count];
        noise();
        CHECK_PRODUCT(round & 1 ? 8 : 4, m, n, k, round % 3, round / 3 % 3, false, -1,
                      round / 9 & 1);
    }
}

TEST(packed_beforehand)
{
    static const int64_t sizes[] = {1, 3, 10, 16, 33, 64, 70, 128};
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            CHECK_PRODUCT(4, sizes[i], sizes[j], 21, PLAIN, j % 3, true, -1, i & 1);
            CHECK_PRODUCT(8, sizes[i], sizes[j], 21, PLAIN, j % 3, true, -1, i & 1);
        }
    }
}

TEST(long_sums_in_blocks)
{
    CHECK_PRODUCT(4, 13, 70, 5000, PLAIN, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 300, 17, 2100, TRANSPOSED, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 130, 129, 2500, PLAIN, TRANSPOSED, false, -1, true);
    CHECK_PRODUCT(8, 130, 40, 3001, TRANSPOSED, TRANSPOSED, false, -1, false);
    CHECK_PRODUCT(4, 6, 80, 4099, PLAIN, PLAIN, true, -1, true);
    CHECK_PRODUCT(8, 6, 80, 4099, PLAIN, PLAIN, true, -1, true);
}

TEST(copied_columns)
{
    CHECK_PRODUCT(4, 300, 200, 140, TRANSPOSED, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 512, 130, 64, TRANSPOSED, TRANSPOSED, false, -1, true);
    CHECK_PRODUCT(4, 261, 131, 2100, TRANSPOSED, TRANSPOSED, false, -1, true);
    CHECK_PRODUCT(4, 259, 131, 200, TRANSPOSED, PLAIN, true, -1, true);
    CHECK_PRODUCT(8, 135, 131, 200, TRANSPOSED, PLAIN, false, -1, false);
    CHECK_PRODUCT(8, 135, 131, 2101, TRANSPOSED, PLAIN, true, -1, true);
}

// With registers of 32 bytes and more a transposed A with short rows is read where it is, in blocks
// of k that have all rows.
TEST(short_rows)
{
    static const int64_t sizes[][3] = {{261, 373, 431}, {512, 130, 641}, {300, 340, 1000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *at = sizes[i];
        AmlDot d = {.bytes = 4,
                    .lanes = F32_LANES,
                    .m = at[0],
                    .n = at[1],
                    .k = at[2],
                    .a_row = 1,
                    .a_k = at[0],
                    .b_k = at[1],
                    .b_column = 1};
        aml_dot_plan(&d);
        bool in_place = d.method == AML_DOT_TILES_PACK && d.k_block < d.k && d.row_block >= d.m;
        CHECK(in_place == (F32_LANES >= 8));
        if (F32_LANES == 16) // no thread of two waits: each of these has an even number of panels
            CHECK(d.parts % 2 == 0);
        CHECK_PRODUCT(4, at[0], at[1], at[2], TRANSPOSED, PLAIN, false, -1, true);
    }
    CHECK_PRODUCT(8, 251, 301, 421, TRANSPOSED, PLAIN, false, -1, true);
}

// Operands that were laid out in panels where they were made.
TEST(in_panels)
{
    static const int64_t sizes[][3] = {
        {64, 64, 64}, {192, 64, 256}, {384, 320, 1152}, {64, 192, 2048}, {128, 448, 704}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        CHECK_PRODUCT(4, m, n, k, TURNED, PANELS, false, -1, i & 1);
        CHECK_PRODUCT(4, m, n, k, TURNED, PLAIN, false, -1, i & 1);
        CHECK_PRODUCT(4, m, n - 9, k + 5, TURNED, TRANSPOSED, false, -1, i & 1);
        CHECK_PRODUCT(4, m, n, k, TRANSPOSED, PANELS, false, -1, i & 1);
        CHECK_PRODUCT(4, m + 3, n, k - 1, PLAIN, PANELS, false, -1, i & 1);
        CHECK_PRODUCT(4, m + 5, n - 7, k, PANELS, PLAIN, false, -1, i & 1);
        CHECK_PRODUCT(4, m + 1, n, k, PANELS, TRANSPOSED, false, -1, i & 1);
        CHECK_PRODUCT(4, m + 40, n, k, PANELS, PANELS, false, -1, i & 1);
    }
}

TEST(many_parts)
{
    CHECK_PRODUCT(4, 200, 260, 150, PLAIN, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 257, 131, 301, PLAIN, TRANSPOSED, false, -1, true);
    CHECK_PRODUCT(8, 150, 300, 200, TRANSPOSED, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 200, 700, 100, PLAIN, PLAIN, true, -1, true);
}

// Panels of one and of two tiles, with and without a rest of rows and of columns, in one block of k
// and in several; large enough for the next panel to be asked for.
TEST(packed_panels)
{
    static const int64_t rows[] = {1, 6, 7, 8, 9, 12, 13, 16, 23, 24, 25, 32, 64};
    static const int64_t widths[] = {240, 256, 273};
    for (int i = 0; i < 13; i++)
        for (int j = 0; j < 3; j++)
            CHECK_PRODUCT(4, rows[i], widths[j], 301, PLAIN, PLAIN, true, -1, true);
    CHECK_PRODUCT(4, 20, 130, 1100, PLAIN, TRANSPOSED, true, -1, true);
    CHECK_PRODUCT(4, 100, 130, 1100, TRANSPOSED, PLAIN, true, -1, true);
    CHECK_PRODUCT(8, 13, 130, 300, PLAIN, PLAIN, true, -1, true);
    CHECK_PRODUCT(8, 64, 70, 700, PLAIN, PLAIN, true, -1, true);
}

TEST(few_rows)
{
    static const int64_t widths[] = {1000, 1024, 1033, 3001};
    for (int i = 0; i < 4; i++) {
        for (int64_t m = 1; m <= 4; m++) {
            CHECK_PRODUCT(4, m, widths[i], 301, PLAIN, PLAIN, false, -1, true);
            CHECK_PRODUCT(4, m, widths[i], 301, PLAIN, TRANSPOSED, false, -1, true);
            CHECK_PRODUCT(8, m, widths[i], 101, PLAIN, PLAIN, false, -1, true);
            CHECK_PRODUCT(8, m, widths[i], 101, PLAIN, TRANSPOSED, false, -1, true);
        }
    }
    CHECK_PRODUCT(4, 1, 4096, 1500, PLAIN, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 1500, 1, 777, PLAIN, PLAIN, false, -1, true);
}

TEST(the_other_methods_are_right_where_the_plan_would_not_choose_them)
{
    for (int64_t n = 1; n < 40; n++) {
        for (int64_t m = 1; m <= 4; m++) {
            CHECK_PRODUCT(4, m, n, 11, PLAIN, PLAIN, false, AML_DOT_ROW_STREAMS, true);
            CHECK_PRODUCT(4, m, n, 11, PLAIN, TRANSPOSED, false, AML_DOT_INNER, true);
            CHECK_PRODUCT(8, m, n, 11, PLAIN, PLAIN, false, AML_DOT_ROW_STREAMS, true);
            CHECK_PRODUCT(8, m, n, 11, PLAIN, TRANSPOSED, false, AML_DOT_INNER, true);
        }
    }
}

TEST(results_that_leave_registers_directly)
{
    for (int64_t n = 1; n < 70; n += 3)
        for (int64_t m = 1; m <= 15; m += 2)
            for (int bytes = 4; bytes <= 8; bytes += 4) {
                int64_t direct = AML_DOT_TILES | AML_DOT_DIRECT;
                CHECK_PRODUCT(bytes, m, n, 11, PLAIN, PLAIN, false, direct, true);
                CHECK_PRODUCT(bytes, m, n, 11, TRANSPOSED, PLAIN, false, direct, true);
            }
}

// Each vector is asked for before it is given, where k is at least as long as a tile has vectors,
// and with blocks of k.
TEST(results_are_asked_for_before_they_are_there)
{
    int64_t touch = AML_DOT_TILES | AML_DOT_TOUCH;
    for (int64_t n = 1; n < 70; n += 3)
        for (int64_t m = 1; m <= 15; m += 2)
            for (int bytes = 4; bytes <= 8; bytes += 4) {
                CHECK_PRODUCT(bytes, m, n, 24 + m, PLAIN, PLAIN, false, touch, true);
                CHECK_PRODUCT(bytes, m, n, 24 + m, TRANSPOSED, PLAIN, false, touch, true);
            }
    CHECK_PRODUCT(4, 40, 130, 1100, PLAIN, PLAIN, false, touch, true);
}

// No rows or no columns: nothing to do; no terms: zeros.
TEST(empty_products)
{
    static const int64_t sizes[][3] = {{0, 5, 3}, {5, 0, 3},  {0, 0, 0},
                                       {3, 5, 0}, {1, 40, 0}, {70, 70, 0}};
    for (int i = 0; i < 6; i++) {
        AmlDot d = {.bytes = 4,
                    .lanes = F32_LANES,
                    .m = sizes[i][0],
                    .n = sizes[i][1],
                    .k = sizes[i][2],
                    .a_row = sizes[i][2],
                    .a_k = 1,
                    .b_k = sizes[i][1],
                    .b_column = 1};
        aml_dot_plan(&d);
        double result[4900];
        int visits[4900] = {0};
        float nothing[64] __attribute__((aligned(64)));
        Case c = {.dot = d,
                  .a = nothing,
                  .b = nothing,
                  .scratch = nothing,
                  .result = result,
                  .visits = visits};
        product(&c, 0, d.parts);
        CHECK(!c.wrong_place);
        for (int64_t e = 0; e < d.m * d.n; e++)
            CHECK(visits[e] == 1 && result[e] == 0);
    }
}

// 16-bit operands in every form. The pairs are multiplied by the instruction where the processor
// has it, and by two multiplications elsewhere.
TEST(sixteen_bit_operands)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 64, 65, 97, 130};
    int count = sizeof sizes / sizeof *sizes;
    for (int round = 0; round < 810; round++) {
        int64_t m = sizes[(noise_state >> 9) % (unsigned)count], n, k;
        noise(), n = sizes[(noise_state >> 9) % (unsigned)count];
        noise(), k = sizes[(noise_state >> 9) % (unsigned)count];
        noise();
        const char *wrong = check_product_of(1 + round % 3, 4, m, n, k, round / 3 % 3,
                                             round / 9 % 3, false, -1, round / 27 & 1);
        if (wrong)
            CHECK_FAIL("%s", wrong);
    }
    for (int half = 1; half <= 3; half++) {
        for (int form = 0; form < 9; form++) {
            const char *wrong = check_product_of(half, 4, 205, 131, 1201 + form % 2, form % 3,
                                                 form / 3, false, -1, true);
            if (wrong)
                CHECK_FAIL("%s", wrong);
        }
    }
    // Several blocks of k, several parts, a transposed A that is turned around and one that is not.
    static const int64_t large[][3] = {
        {40, 200, 4200}, {1100, 70, 66}, {33, 140, 2050}, {61, 210, 65}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        for (int form = 0; form < 2; form++) {
            const char *wrong = check_product_of(3, 4, large[i][0], large[i][1], large[i][2], form,
                                                 form, false, -1, true);
            if (wrong)
                CHECK_FAIL("%s", wrong);
        }
    }
}

#ifdef __AMX_BF16__
// Every way in which tiles end: rows, columns, words of k and odd ones, operands in every form.
TEST(tiles)
{
    static const int64_t sizes[] = {1, 2, 5, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 79, 97, 130};
    int count = sizeof sizes / sizeof *sizes;
    for (int round = 0; round < 540; round++) {
        int64_t m = sizes[(noise_state >> 9) % (unsigned)count], n, k;
        noise(), n = sizes[(noise_state >> 9) % (unsigned)count];
        noise(), k = sizes[(noise_state >> 9) % (unsigned)count];
        noise();
        const char *wrong =
            check_product_of(TILES, 4, m, n, k, round % 3, round / 3 % 3, false, -1, round / 9 & 1);
        if (wrong)
            CHECK_FAIL("%s", wrong);
    }
    // Several blocks of k, several parts, a transposed A that is turned around and one that is not.
    static const int64_t large[][3] = {
        {40, 130, 2210}, {1100, 70, 67}, {13, 140, 2051}, {61, 210, 65}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        for (int form = 0; form < 4; form++) {
            const char *wrong = check_product_of(TILES, 4, large[i][0], large[i][1], large[i][2],
                                                 form % 2, form / 2, false, -1, true);
            if (wrong)
                CHECK_FAIL("%s", wrong);
        }
    }
}
#endif

TEST(digits_shapes)
{
    CHECK_PRODUCT(4, 64, 128, 64, PLAIN, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 64, 10, 128, PLAIN, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 64, 128, 64, TRANSPOSED, PLAIN, false, -1, true);
    CHECK_PRODUCT(4, 64, 128, 10, PLAIN, TRANSPOSED, false, -1, true);
    CHECK_PRODUCT(4, 128, 10, 64, TRANSPOSED, PLAIN, false, -1, true);
}

int main(void)
{
    if (!processor_can_run()) {
        printf("SKIP dot_v%d: this processor lacks the level\n", AML_WIDTH);
        return 0;
    }
#ifdef __AMX_BF16__
    bool emulated = amx_begin();
    RUN(tiles);
    if (emulated && amx_count(false) == 0) {
        printf("FAIL tiles: no tiles were multiplied\n");
        return 1;
    }
    CHECK_SUMMARY();
#endif
    RUN(every_width_of_the_last_column);
    RUN(every_height_of_the_last_row);
    RUN(every_length_of_the_sum);
    RUN(every_transposition);
    RUN(packed_beforehand);
    RUN(long_sums_in_blocks);
    RUN(copied_columns);
    RUN(short_rows);
    RUN(many_parts);
    RUN(packed_panels);
    RUN(few_rows);
    RUN(the_other_methods_are_right_where_the_plan_would_not_choose_them);
    RUN(results_that_leave_registers_directly);
    RUN(empty_products);
    RUN(sixteen_bit_operands);
    RUN(digits_shapes);
    CHECK_SUMMARY();
}
