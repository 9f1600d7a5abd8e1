// Texts: tokens and back, windows and their split, and which token is drawn.

#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#include "runtime/data/source.h"
#include "runtime/data/tokenizer.h"
#include "runtime/job/job.h"

static const uint32_t code[] = {'\n', ' ', 'a', 'b', 'c', 0xE9, 0x20AC};
static const aml_tokenizer characters = {
    .kind = AML_TOKENIZER_CHARACTERS, .vocab = 7, .code = code};
static const aml_tokenizer bytes = {.kind = AML_TOKENIZER_BYTES, .vocab = 256};

static void expect_error(const char *text, size_t length, const char *part)
{
    amli_encoder encoder;
    aml_error error = {0};
    int32_t token = 0;
    CHECK(amli_encoder_open(&encoder, &characters, NULL) == AML_OK);
    amli_encoder_begin(&encoder, "text", text, length);
    aml_status status = AML_OK;
    while (!status && token >= 0)
        status = amli_encode(&encoder, &token, &error);
    CHECK(status == AML_BAD_DATA);
    CHECK(strstr(error.text, part));
}

TEST(tokens_and_back)
{
    static const char text[] = "\xEF\xBB\xBF"
                               "ab\n\xC3\xA9 \xE2\x82\xAC";
    static const int32_t expected[] = {2, 3, 0, 5, 1, 6, -1};
    amli_encoder encoder;
    CHECK(amli_encoder_open(&encoder, &characters, NULL) == AML_OK);
    amli_encoder_begin(&encoder, "text", text, sizeof text - 1);
    for (size_t i = 0; i < AMLI_COUNT(expected); i++) {
        int32_t token;
        CHECK(amli_encode(&encoder, &token, NULL) == AML_OK);
        CHECK_INT(token, expected[i]);
    }
    amli_decoder decoder;
    CHECK(amli_decoder_open(&decoder, &characters, NULL) == AML_OK);
    CHECK_INT(amli_decode_token(&decoder, 6), 3);
    CHECK(memcmp(decoder.text, "\xE2\x82\xAC", 3) == 0);
    amli_decoder_close(&decoder);
}

TEST(mistakes_have_a_place)
{
    expect_error("ab\nabz", 6, "text:2:3: the character 'z', U+007A");
    expect_error("\xC3\xA9\xC3\xA9\xFF", 5, "text:1:3: expected UTF-8 text, found the byte 0xff");
    expect_error("a\xE2\x82", 3, "text:1:2: expected UTF-8 text, found the byte 0xe2");
    expect_error("a\xED\xA0\x80", 4, "0xed");
    expect_error("\t", 1, "U+0009");
}

TEST(bytes_become_characters)
{
    amli_decoder decoder;
    CHECK(amli_decoder_open(&decoder, &bytes, NULL) == AML_OK);
    CHECK_INT(amli_decode_token(&decoder, 0xE2), 0);
    CHECK_INT(amli_decode_token(&decoder, 0x82), 0);
    CHECK_INT(amli_decode_token(&decoder, 0xAC), 3);
    CHECK_INT(amli_decode_token(&decoder, 0xC3), 0);
    CHECK_INT(amli_decode_token(&decoder, 'a'), 4); // U+FFFD and a
    CHECK(memcmp(decoder.text,
                 "\xEF\xBF\xBD"
                 "a",
                 4) == 0);
    CHECK_INT(amli_decode_token(&decoder, 0xFF), 3);
    CHECK_INT(amli_decode_token(&decoder, 0xF0), 0);
    CHECK_INT(amli_decode_end(&decoder), 3);
    amli_decoder_close(&decoder);
}

// ---- windows

static const aml_text_part path_part = {"text", -1};

static aml_status load(const char *text, size_t length, int64_t window, amli_split *split,
                       amli_table **table, aml_error *error)
{
    char path[] = "/tmp/aml-text-XXXXXX";
    int file = mkstemp(path);
    const aml_field field = {
        .tensor = {.name = "ids", .dtype = AML_I32, .shape = {1, {window}}, .classes = 7},
        .count = 1};
    const aml_dataset dataset = {
        .name = "letters",
        .place = "test.aml:1",
        .window = window,
        .stride = 1,
        .apart = window - 1,
        .fields = 1,
        .field = &field,
        .split = {.train = 0.75, .valid = 0.25, .stratify = -1, .by_time = true},
        .source = {.kind = AML_SOURCE_TEXT,
                   .reader = &amli_source_text,
                   .place = "test.aml:2",
                   .file = {{1, &path_part}},
                   .tokenizer = &characters}};
    amli_load how = {.source_dir = ".", .file = {{path}}};
    aml_status status = write(file, text, length) == (ssize_t)length ? AML_OK : AML_IO;
    close(file);
    if (!status)
        status = amli_table_load(&dataset, &how, table, error);
    unlink(path);
    return status ? status
                  : amli_split_by_time(&dataset.split, *table, &(amli_fold){0}, split, error);
}

TEST(windows_are_apart_and_move)
{
    enum { LETTERS = 80, WINDOW = 5 };
    char text[LETTERS];
    for (int i = 0; i < LETTERS; i++)
        text[i] = "abc"[i % 3];
    amli_split split;
    amli_table *table;
    CHECK(load(text, LETTERS, WINDOW, &split, &table, NULL) == AML_OK);
    CHECK_INT(table->units[0], LETTERS);
    // 60 letters to train on, 20 to validate; a window of 5 has 4 targets
    CHECK_INT(split.rows[AML_PART_TRAIN], 14);
    CHECK_INT(split.rows[AML_PART_VALID], 4);
    CHECK_INT(split.row[AML_PART_VALID][0], 60);
    CHECK_INT(split.row[AML_PART_VALID][3], 72);
    CHECK_INT(split.offsets, WINDOW - 1);
    const int32_t *first = amli_table_at(table, 0, split.row[AML_PART_TRAIN][1]);
    CHECK_INT(first[0], 2 + 4 % 3);
    int64_t last = split.row[AML_PART_TRAIN][split.rows[AML_PART_TRAIN] - 1];
    CHECK(last + split.offsets - 1 + WINDOW <= 60);
    amli_sampler sampler;
    int64_t rows = split.rows[AML_PART_TRAIN], row[64], moved = 0;
    CHECK(amli_sampler_new(split.row[AML_PART_TRAIN], rows, split.offsets, 1, &sampler, NULL) ==
          AML_OK);
    for (int64_t epoch = 0; epoch < 8; epoch++) { // in an epoch all are moved alike
        amli_sampler_pick(&sampler, epoch * rows, rows, row);
        for (int64_t i = 0; i < rows; i++)
            CHECK_INT(row[i] % 4, row[0] % 4);
        moved |= INT64_C(1) << row[0] % 4;
    }
    CHECK(moved != 1 && (moved & (moved - 1)) != 0);
    amli_sampler_free(&sampler);
    amli_split_free(&split);
    amli_table_free(table);
}

TEST(short_texts)
{
    amli_split split;
    amli_table *table;
    aml_error error = {0};
    CHECK(load("abca", 4, 5, &split, &table, &error) == AML_BAD_DATA);
    CHECK(strstr(error.text, "expected at least the 5 tokens of one window, found 4"));
    CHECK(load("", 0, 5, &split, &table, &error) == AML_BAD_DATA);
    CHECK(strstr(error.text, "expected tokens, found none"));
    CHECK(load("ab\nc\xFF", 5, 2, &split, &table, &error) == AML_BAD_DATA);
    CHECK(strstr(error.text, ":2:2: expected UTF-8 text"));
    CHECK(load("abcabca", 7, 5, &split, &table, NULL) == AML_OK); // one window, which may not move
    CHECK_INT(split.rows[AML_PART_TRAIN], 1);
    CHECK_INT(split.offsets, 1);
    amli_split_free(&split);
    amli_table_free(table);
}

// ---- which token is drawn

enum { SCORES = 5 };
static const float score[SCORES] = {0.5f, 2, -1, 2, 1};

static void count(amli_choice how, int64_t draws, int64_t found[SCORES])
{
    double work[2 * SCORES];
    for (int i = 0; i < SCORES; i++)
        found[i] = 0;
    for (int64_t i = 0; i < draws; i++)
        found[amli_choose(&how, score, SCORES, i, work)]++;
}

TEST(choices)
{
    enum { DRAWS = 20000 };
    int64_t found[SCORES], again[SCORES];
    count((amli_choice){.temperature = 0, .top_p = 1}, 10, found);
    CHECK_INT(found[1], 10); // the first of equals
    count((amli_choice){.temperature = 2, .top_p = 1, .seed = 4}, DRAWS, found);
    double sum = 0;
    for (int i = 0; i < SCORES; i++)
        sum += exp((double)score[i] / 2);
    for (int i = 0; i < SCORES; i++) {
        double share = exp((double)score[i] / 2) / sum,
               apart = fabs((double)found[i] / DRAWS - share);
        CHECK(apart < 4 * sqrt(share * (1 - share) / DRAWS));
    }
    count((amli_choice){.temperature = 2, .top_p = 1, .seed = 4}, DRAWS, again);
    CHECK(memcmp(found, again, sizeof found) == 0);
    count((amli_choice){.temperature = 2, .top_p = 1, .seed = 5}, DRAWS, again);
    CHECK(memcmp(found, again, sizeof found) != 0);
    count((amli_choice){.temperature = 2, .top_k = 1, .top_p = 1}, 100, found);
    CHECK_INT(found[1], 100); // of equal scores the first
    count((amli_choice){.temperature = 2, .top_k = 3, .top_p = 1}, 1000, found);
    CHECK(found[1] && found[3] && found[4] && !found[0] && !found[2]);
    count((amli_choice){.temperature = 1, .top_p = 0.5}, 1000, found);
    CHECK(found[1] && found[3] && !found[0] && !found[2] && !found[4]); // 39% each
    count((amli_choice){.temperature = 1, .top_p = 1e-9}, 100, found);
    CHECK_INT(found[1], 100);
    count((amli_choice){.temperature = 1e-12, .top_p = 1}, 100, found);
    CHECK_INT(found[1] + found[3], 100);
    double work[4];
    float bad[2] = {1, NAN};
    CHECK_INT(amli_choose(&(amli_choice){.temperature = 1, .top_p = 1}, bad, 2, 0, work), -1);
}

// What is written by arithmetic is what printf writes.
TEST(single_text_is_that_of_printf)
{
    uint32_t state = 12345;
    for (int i = 0; i < 300000; i++) {
        state = state * 1664525u + 1013904223u;
        uint32_t bits = state ^ state >> 13;
        float value;
        if (i % 3 == 0) // any float
            memcpy(&value, &bits, sizeof value);
        else if (i % 3 == 1) // usual sizes
            value = ldexpf((float)(bits & 0xffffff), -(int)(bits >> 24) % 40);
        else // few digits
            value = (float)(bits % 100000) / (float)(i % 2 ? 1000 : 1 << (i % 16));
        if (!isfinite(value))
            continue;
        char expected[40], found[40];
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(expected, sizeof expected, "%.*g", digits, (double)value);
            if (strtof(expected, NULL) == value)
                break;
        }
        CHECK_TEXT(amli_single_text(value, found, sizeof found), expected);
    }
}

int main(void)
{
    RUN(single_text_is_that_of_printf);
    RUN(tokens_and_back);
    RUN(mistakes_have_a_place);
    RUN(bytes_become_characters);
    RUN(windows_are_apart_and_move);
    RUN(short_texts);
    RUN(choices);
    CHECK_SUMMARY();
}
