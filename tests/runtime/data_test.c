// csv, splits, the order of training, numbers.

#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "runtime/data/data.h"
#include "runtime/job/job.h"

// ---- numbers

static bool decode(aml_dtype dtype, int64_t classes, const char *text, void *element)
{
    static const char *const missing[] = {"NA"};
    const aml_cell_rule rule = {.missings = 1, .missing = missing, .read = amli_read_by_rule};
    aml_tensor_info info = {.name = "v", .dtype = dtype, .classes = classes};
    amli_cell cell = {text, strlen(text), false};
    char expected[96];
    return amli_decode(&info, &rule, &cell, element, expected, sizeof expected);
}

TEST(reals_are_read_exactly)
{
    static const char *const texts[] = {
        "0",       "1",        "-1",       "16",           "0.1",   "3.14159265358979",
        "1e10",    "1E-10",    "+2.5",     ".5",           "5.",    "123456",
        "1234567", "16777217", "0.000001", "3.4028234e38", "1e-45", "-0"};
    for (size_t i = 0; i < AMLI_COUNT(texts); i++) {
        float narrow;
        double wide;
        CHECK(decode(AML_F32, 0, texts[i], &narrow));
        CHECK(decode(AML_F64, 0, texts[i], &wide));
        CHECK(narrow == strtof(texts[i], NULL));
        CHECK(wide == strtod(texts[i], NULL));
    }
    float padded;
    CHECK(decode(AML_F32, 0, " 4.5\t", &padded) && padded == 4.5f);
}

TEST(what_is_no_number_is_refused)
{
    static const char *const texts[] = {"",      " ",        "NA",   "nan", "NaN",       "inf",
                                        "-inf",  "infinity", "0x10", "1e",  "1e+",       "--1",
                                        "1.2.3", "abc",      "1,5",  "1 2", "1e999",     "-1e999",
                                        "1d3",   "e5",       ".",    "+",   "\xC2\xA0 1"};
    for (size_t i = 0; i < AMLI_COUNT(texts); i++) {
        double element;
        if (decode(AML_F32, 0, texts[i], &element) ||
            (strcmp(texts[i], "1e999") != 0 && decode(AML_F64, 0, texts[i], &element)))
            CHECK_FAIL("\"%s\" was read as a number", texts[i]);
    }
}

TEST(integers_keep_to_their_range)
{
    int64_t v = 0;
    CHECK(decode(AML_I8, 0, "-128", &v) && (int8_t)v == -128);
    CHECK(!decode(AML_I8, 0, "128", &v) && !decode(AML_I8, 0, "-129", &v));
    CHECK(decode(AML_U8, 0, "255", &v) && !decode(AML_U8, 0, "256", &v) &&
          !decode(AML_U8, 0, "-1", &v));
    CHECK(decode(AML_I64, 0, "-9223372036854775808", &v) && v == INT64_MIN);
    CHECK(decode(AML_I64, 0, "9223372036854775807", &v) && v == INT64_MAX);
    CHECK(!decode(AML_I64, 0, "9223372036854775808", &v) &&
          !decode(AML_I64, 0, "99999999999999999999999", &v));
    CHECK(!decode(AML_I32, 0, "1.0", &v) && !decode(AML_I32, 0, "1e3", &v) &&
          !decode(AML_I32, 0, "", &v) && !decode(AML_I32, 0, "-", &v));
    v = 0;
    CHECK(decode(AML_I32, 10, "9", &v) && (int32_t)v == 9);
    CHECK(!decode(AML_I32, 10, "10", &v) && !decode(AML_I32, 10, "-1", &v) &&
          decode(AML_I32, 10, "-0", &v));
    CHECK(decode(AML_BOOL, 0, "true", &v) && (uint8_t)v == 1 && !decode(AML_BOOL, 0, "2", &v));
}

TEST(halves_are_rounded_to_even)
{
    uint16_t v;
    CHECK(decode(AML_BF16, 0, "1", &v) && v == 0x3F80);
    CHECK(decode(AML_BF16, 0, "1.00390625", &v) && v == 0x3F80); // halfway: to even
    CHECK(decode(AML_BF16, 0, "1.01171875", &v) && v == 0x3F82);
    static const char *const texts[] = {
        "1",       "-2",   "0.1", "65504", "0.00006103515625", "0.00000006", "0.000030517578125",
        "3.14159", "2049", "1e-9"};
    for (size_t i = 0; i < AMLI_COUNT(texts); i++) {
        _Float16 half = (_Float16)strtof(texts[i], NULL);
        uint16_t expected;
        memcpy(&expected, &half, 2);
        CHECK(decode(AML_F16, 0, texts[i], &v));
        if (v != expected)
            CHECK_FAIL("%s as f16 is %04x, expected %04x", texts[i], v, expected);
    }
    CHECK(!decode(AML_F16, 0, "65520", &v));
}

TEST(quantities_have_units)
{
    static const struct {
        const char *text;
        double value;
        aml_unit unit;
    } good[] = {{"40 epochs", 40, AML_UNIT_EPOCHS}, {"500steps", 500, AML_UNIT_STEPS},
                {"1_000", 1000, AML_UNIT_NONE},     {"30 min", 1800, AML_UNIT_SECONDS},
                {"5%", 0.05, AML_UNIT_FRACTION},    {"256 KiB", 262144, AML_UNIT_BYTES},
                {"3e-3", 3e-3, AML_UNIT_NONE},      {"1.5 h", 5400, AML_UNIT_SECONDS},
                {" 7 ", 7, AML_UNIT_NONE},          {"-2", -2, AML_UNIT_NONE}};
    static const char *const bad[] = {"",   "x",     "1 parsec",   "nan", "inf", "0x3",
                                      "1e", "1e999", "5 epochs 3", "__1", "."};
    for (size_t i = 0; i < AMLI_COUNT(good); i++) {
        double value;
        aml_unit unit;
        if (!amli_parse_quantity(good[i].text, &value, &unit) || value != good[i].value ||
            unit != good[i].unit)
            CHECK_FAIL("\"%s\" was not understood", good[i].text);
    }
    for (size_t i = 0; i < AMLI_COUNT(bad); i++) {
        double value;
        aml_unit unit;
        if (amli_parse_quantity(bad[i], &value, &unit))
            CHECK_FAIL("\"%s\" was taken for %g", bad[i], value);
    }
}

// ---- csv

// Reads everything and writes it as a|b;c|d; with ! before a bad row, in windows of `step` bytes
// (0: at once).
static const char *read_csv(const char *text, size_t length, size_t step, char *out)
{
    static const amli_csv_form form = {.separator = ','};
    amli_csv csv;
    amli_cell cell[16];
    size_t given = step ? (step < length ? step : length) : length;
    while (given < 3 && given < length)
        given++;
    amli_csv_begin(&csv, text, given, given == length, &form);
    char *at = out;
    for (;;) {
        amli_csv_result result = amli_csv_next(&csv, cell, 16);
        if (result == AMLI_CSV_END)
            break;
        if (result == AMLI_CSV_MORE) {
            given = given + step < length ? given + step : length;
            csv.end = text + given;
            csv.complete = given == length;
            continue;
        }
        if (result == AMLI_CSV_BAD)
            *at++ = '!';
        for (int64_t i = 0; i < csv.cells && i < 16; i++) {
            if (i)
                *at++ = '|';
            memcpy(at, cell[i].at, cell[i].length);
            at += cell[i].length;
        }
        *at++ = ';';
    }
    *at = 0;
    return out;
}

#define BOM "\xEF\xBB\xBF"

TEST(rfc_4180)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"a,b\n1,2\n", "a|b;1|2;"},
        {"a,b\r\n1,2\r\n", "a|b;1|2;"},
        {"a,b\r1,2\r", "a|b;1|2;"},
        {"a,b\n1,2", "a|b;1|2;"},
        {BOM "a,b\n", "a|b;"},
        {"\"a\",\"b c\"\n", "a|b c;"},
        {"\"a,1\",\"b\n2\"\nx,y\n", "a,1|b\n2;x|y;"},
        {"\"a\"\"b\",c\n", "a\"\"b|c;"},
        {"\"\",x\n", "|x;"},
        {",\n", "|;"},
        {"a,\n", "a|;"},
        {"\n\na,b\n\n\nc,d\n\n", "a|b;c|d;"},
        {"", ""},
        {"\n", ""},
        {"a\n\n  \n\t\nb\n\n", "a;b;"},
        {"\"\"\n", ";"},
        {" \"a,b\" ,c\n", "a,b|c;"},
        {"x", "x;"},
        {"a b, c \n", "a b| c ;"},
        {"\"x\"y,z\n1,2\n", "!x|z;1|2;"},
        {"x\"y,z\n1,2\n", "!x\"y|z;1|2;"},
        {"a,\"never closed\n1,2\n", "!a|never closed\n1,2\n;"},
        {"a,\xFF\n1,2\n", "!a|\xFF;1|2;"},
        {"a,\xC3\xA4\n", "a|\xC3\xA4;"},
        {"a,\xED\xA0\x80\n", "!a|\xED\xA0\x80;"},
        {"a,\xC0\x80\n", "!a|\xC0\x80;"},
    };
    for (size_t i = 0; i < AMLI_COUNT(cases); i++)
        for (size_t step = 0; step < 5; step++) {
            char out[256];
            read_csv(cases[i].text, strlen(cases[i].text), step, out);
            if (strcmp(out, cases[i].expected) != 0)
                CHECK_FAIL("case %zu, window %zu: found \"%s\", expected \"%s\"", i, step, out,
                           cases[i].expected);
        }
    char out[64];
    read_csv("a,\0b\nc,d\n", 9, 0, out);
    CHECK(out[0] == '!');
}

TEST(places_count_lines_and_code_points)
{
    const char *text = "h,i\n\"x\ny\",\xC3\xA4\xC3\xA4,\"bad\n";
    static const amli_csv_form form = {.separator = ','};
    amli_csv csv;
    amli_cell cell[4];
    int64_t line, column;
    amli_csv_begin(&csv, text, strlen(text), true, &form);
    CHECK_INT(amli_csv_next(&csv, cell, 4), AMLI_CSV_ROW);
    CHECK_INT(amli_csv_next(&csv, cell, 4), AMLI_CSV_BAD);
    CHECK_INT(csv.line, 2);
    amli_csv_place(&csv, cell[1].at, &line, &column);
    CHECK_INT(line, 3);
    CHECK_INT(column, 4);
    amli_csv_place(&csv, csv.problem_at, &line, &column);
    CHECK_INT(line, 3);
    CHECK_INT(column, 7);
}

TEST(random_bytes_end)
{
    uint32_t key[2] = {1, 2}, word[4];
    static const char alphabet[] = {'a', ',', '"', '\n', '\r', '1', ' ', (char)0xC3, (char)0xA4, 0};
    for (uint32_t round = 0; round < 3000; round++) {
        char text[64], out[4096], windowed[4096];
        size_t length = 0;
        while (length < sizeof text) {
            uint32_t counter[4] = {round, (uint32_t)length, 0, 0};
            amli_philox(counter, key, word);
            text[length++] = alphabet[word[0] % sizeof alphabet];
            if (word[1] % 40 == 0)
                break;
        }
        read_csv(text, length, 0, out);
        read_csv(text, length, 1 + round % 5, windowed);
        CHECK(strcmp(out, windowed) == 0);
    }
}

// ---- splits

static const amli_labels plain = {0};
static const amli_fold whole = {0};

TEST(split_counts_are_exact)
{
    static const int sizes[] = {1, 2, 3, 7, 10, 99, 100, 1797};
    for (size_t s = 0; s < AMLI_COUNT(sizes); s++) {
        int rows = sizes[s];
        aml_split how = {.train = 0.8, .valid = 0.1, .test = 0.1, .seed = 7, .stratify = -1};
        amli_split split;
        CHECK(amli_split_rows(&how, rows, 0, rows, &plain, &whole, &split, NULL) == AML_OK);
        CHECK_INT(split.rows[AML_PART_ALL], rows);
        CHECK_INT(split.rows[AML_PART_TRAIN] + split.rows[AML_PART_VALID] +
                      split.rows[AML_PART_TEST],
                  rows);
        CHECK(fabs((double)split.rows[AML_PART_TRAIN] - 0.8 * rows) < 1);
        CHECK(fabs((double)split.rows[AML_PART_VALID] - 0.1 * rows) < 1);
        char *seen = calloc((size_t)rows, 1);
        for (int part = AML_PART_TRAIN; part <= AML_PART_TEST; part++)
            for (int64_t i = 0; i < split.rows[part]; i++) {
                CHECK(i == 0 || split.row[part][i] > split.row[part][i - 1]);
                CHECK(!seen[split.row[part][i]]++);
            }
        free(seen);
        amli_split_free(&split);
    }
}

TEST(strata_keep_their_proportions)
{
    enum { ROWS = 1797, CLASSES = 10 };
    static int64_t stratum[ROWS];
    int64_t size[CLASSES] = {0};
    for (int i = 0; i < ROWS; i++)
        size[stratum[i] = (int64_t)i * i % 97 % CLASSES]++;
    aml_split how = {.train = 0.8, .valid = 0.1, .test = 0.05, .seed = 7};
    const amli_labels labels = {.stratum = stratum, .strata = CLASSES};
    amli_split split, again;
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &whole, &split, NULL) == AML_OK);
    double share[] = {1, 0.8, 0.1, 0.05};
    for (int part = AML_PART_TRAIN; part <= AML_PART_TEST; part++) {
        int64_t count[CLASSES] = {0};
        for (int64_t i = 0; i < split.rows[part]; i++)
            count[stratum[split.row[part][i]]]++;
        for (int k = 0; k < CLASSES; k++)
            CHECK(fabs((double)count[k] - share[part] * (double)size[k]) < 2);
        CHECK(fabs((double)split.rows[part] - share[part] * ROWS) < 1);
    }
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &whole, &again, NULL) == AML_OK);
    for (int part = 0; part <= AML_PART_TEST; part++)
        CHECK(again.rows[part] == split.rows[part] &&
              memcmp(again.row[part], split.row[part], (size_t)split.rows[part] * 8) == 0);
    amli_split_free(&again);
    how.seed = 8;
    CHECK(amli_split_rows(&how, ROWS, 0, ROWS, &labels, &whole, &again, NULL) == AML_OK);
    CHECK(memcmp(again.row[AML_PART_TEST], split.row[AML_PART_TEST],
                 (size_t)split.rows[AML_PART_TEST] * 8) != 0);
    amli_split_free(&again);
    amli_split_free(&split);
}

TEST(rows_of_other_sources_are_the_test_and_the_validation_part)
{
    aml_split how = {.train = 0.9, .valid = 0.1, .seed = 1};
    amli_split split;
    CHECK(amli_split_rows(&how, 100, 30, 130, &plain, &whole, &split, NULL) == AML_OK);
    CHECK_INT(split.rows[AML_PART_TRAIN], 90);
    CHECK_INT(split.rows[AML_PART_TEST], 30);
    CHECK_INT(split.row[AML_PART_TEST][0], 100);
    amli_split_free(&split);
    how.train = 1, how.valid = 0;
    CHECK(amli_split_rows(&how, 100, 20, 130, &plain, &whole, &split, NULL) == AML_OK);
    CHECK_INT(split.rows[AML_PART_TRAIN], 100);
    CHECK_INT(split.rows[AML_PART_TEST], 20);
    CHECK_INT(split.row[AML_PART_TEST][0], 100);
    CHECK_INT(split.rows[AML_PART_VALID], 10);
    CHECK_INT(split.row[AML_PART_VALID][0], 120);
    amli_split_free(&split);
}

TEST(bad_fractions_are_refused)
{
    amli_split split;
    aml_error error;
    CHECK_INT(amli_split_rows(&(aml_split){.train = 0.8, .valid = 0.3}, 10, 0, 10, &plain, &whole,
                              &split, &error),
              AML_INVALID);
    CHECK_INT(
        amli_split_rows(&(aml_split){.train = -0.1}, 10, 0, 10, &plain, &whole, &split, &error),
        AML_INVALID);
}

// ---- order of training

TEST(an_epoch_is_a_permutation)
{
    enum { ROWS = 37, BATCH = 8 };
    int64_t row[ROWS], batch[BATCH], seen[3][ROWS] = {{0}}, first[ROWS];
    for (int i = 0; i < ROWS; i++)
        row[i] = 100 + i;
    amli_sampler sampler;
    CHECK(amli_sampler_new(row, ROWS, 1, 42, &sampler, NULL) == AML_OK);
    for (int64_t position = 0; position < 3 * ROWS - BATCH; position += BATCH) {
        amli_sampler_pick(&sampler, position, BATCH, batch);
        for (int i = 0; i < BATCH; i++) {
            seen[(position + i) / ROWS][batch[i] - 100]++;
            if (position + i < ROWS)
                first[position + i] = batch[i];
        }
    }
    for (int i = 0; i < ROWS; i++)
        CHECK(seen[0][i] == 1 && seen[1][i] == 1);
    // a position alone says the row: going back gives the same
    int64_t again[ROWS];
    amli_sampler_pick(&sampler, 0, ROWS, again);
    CHECK(memcmp(first, again, sizeof first) == 0);
    amli_sampler_pick(&sampler, ROWS, ROWS, again);
    CHECK(memcmp(first, again, sizeof first) != 0);
    amli_sampler_free(&sampler);
    CHECK_INT(amli_sampler_new(row, 0, 1, 42, &sampler, NULL), AML_BAD_DATA);
}

TEST(philox_known_answers)
{
    // from the authors' test vectors
    uint32_t r[4];
    amli_philox((uint32_t[]){0, 0, 0, 0}, (uint32_t[]){0, 0}, r);
    CHECK(r[0] == 0x6627e8d5 && r[1] == 0xe169c58d && r[2] == 0xbc57ac4c && r[3] == 0x9b00dbd8);
    amli_philox((uint32_t[]){~0u, ~0u, ~0u, ~0u}, (uint32_t[]){~0u, ~0u}, r);
    CHECK(r[0] == 0x408f276d && r[1] == 0x41c83b0e && r[2] == 0xa20bc7c6 && r[3] == 0x6d5451fd);
    amli_philox((uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                (uint32_t[]){0xa4093822, 0x299f31d0}, r);
    CHECK(r[0] == 0xd16cfe09 && r[1] == 0x94fdcceb && r[2] == 0x5001e420 && r[3] == 0x24126ea1);
}

TEST(shuffles_are_even)
{
    // each of 6 orders of 3 about equally often
    int count[27] = {0};
    for (int seed = 0; seed < 6000; seed++) {
        int64_t order[3] = {0, 1, 2};
        amli_shuffle(order, 3, seed, 0, AMLI_USE_EPOCH);
        count[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (int i = 0; i < 27; i++)
        CHECK(count[i] == 0 || abs(count[i] - 1000) < 150);
}

// ---- the ROC curve

static double slow_auc(const float *score, const int32_t *label, int rows, int target)
{
    double sum = 0, pairs = 0;
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < rows; k++)
            if (label[i] == target && label[k] != target) {
                pairs++;
                sum += score[i] > score[k] ? 1 : score[i] == score[k] ? 0.5 : 0;
            }
    return sum / pairs;
}

TEST(roc_auc_counts_ties_half)
{
    float score[60 * 3];
    int32_t label[60];
    for (int i = 0; i < 60; i++) {
        label[i] = i * i % 3;
        for (int k = 0; k < 3; k++)
            score[i * 3 + k] = (float)((i * 7 + k * 11) % 9) / 9.0f;
    }
    int64_t order[60];
    double macro = 0, present = 0;
    for (int k = 0; k < 3; k++) {
        float column[60];
        int has = 0;
        for (int i = 0; i < 60; i++) {
            column[i] = score[i * 3 + k];
            has += label[i] == k;
        }
        if (!has)
            continue;
        CHECK_CLOSE(amli_roc_auc(score + k, 3, label, k, 60, order), slow_auc(column, label, 60, k),
                    1e-12);
        macro += slow_auc(column, label, 60, k);
        present++;
    }
    CHECK_CLOSE(amli_curve_finish(AML_FINISH_ROC_AUC_MACRO, score, label, 60, 3), macro / present,
                1e-12);
    float four[] = {0.1f, 0.4f, 0.35f, 0.8f};
    int32_t truth[] = {0, 0, 1, 1};
    CHECK_CLOSE(amli_curve_finish(AML_FINISH_ROC_AUC_MACRO, four, truth, 4, 1), 0.75, 1e-12);
    int32_t same[] = {1, 1, 1, 1};
    CHECK(isnan(amli_curve_finish(AML_FINISH_ROC_AUC_MACRO, four, same, 4, 1)));
}

// Rows of equal score come in together: precision 1/1, then 2/4 for the second positive.
TEST(average_precision_of_ties)
{
    float score[] = {0.9f, 0.5f, 0.5f, 0.5f, 0.1f};
    int32_t truth[] = {1, 0, 1, 0, 0};
    CHECK_CLOSE(amli_curve_finish(AML_FINISH_PR_AUC_MACRO, score, truth, 5, 1), 0.75, 1e-12);
    int32_t none[] = {0, 0, 0, 0, 0};
    CHECK(isnan(amli_curve_finish(AML_FINISH_PR_AUC_MACRO, score, none, 5, 1)));
    float two[] = {0.9f, 0.1f, 0.2f, 0.8f, 0.6f, 0.4f};
    int32_t classes[] = {0, 1, 1};
    CHECK_CLOSE(amli_curve_finish(AML_FINISH_PR_AUC_WEIGHTED, two, classes, 3, 2), 1.0, 1e-12);
}

int main(void)
{
    RUN(reals_are_read_exactly);
    RUN(what_is_no_number_is_refused);
    RUN(integers_keep_to_their_range);
    RUN(halves_are_rounded_to_even);
    RUN(quantities_have_units);
    RUN(rfc_4180);
    RUN(places_count_lines_and_code_points);
    RUN(random_bytes_end);
    RUN(split_counts_are_exact);
    RUN(strata_keep_their_proportions);
    RUN(rows_of_other_sources_are_the_test_and_the_validation_part);
    RUN(bad_fractions_are_refused);
    RUN(an_epoch_is_a_permutation);
    RUN(philox_known_answers);
    RUN(shuffles_are_even);
    RUN(roc_auc_counts_ties_half);
    RUN(average_precision_of_ties);
    CHECK_SUMMARY();
}
