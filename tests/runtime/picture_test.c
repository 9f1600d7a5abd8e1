// Pictures: what they are decoded to, and what is refused. The folder pictures/ was made by
// golden_pictures.py.
//
// Usage: runtime_picture_test FOLDER SHARED; PngSuite is looked for under $AML_DATA, or SHARED.

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#include "runtime/data/picture.h"

static const char *folder, *shared;
static const amli_picture_rule plain = {
    .height = 8, .width = 8, .channels = 3, .background = 255, .most_pixels = 1 << 20};

typedef struct File {
    char *bytes;
    size_t length;
} File;

static File read_in(const char *where, const char *name)
{
    char path[PATH_MAX];
    File file = {NULL, 0};
    snprintf(path, sizeof path, "%s/%s", where, name);
    amli_read_file(path, &file.bytes, &file.length, NULL);
    return file;
}

static aml_status read_picture(const char *bytes, size_t length, const amli_picture_rule *rule,
                               unsigned char *to, aml_error *error)
{
    amli_decoder decoder = {0};
    aml_status status = amli_picture_read(&decoder, bytes, length, rule, to, error);
    amli_decoder_end(&decoder);
    return status;
}

// ---- goldens

static int hex(const char *at)
{
    int value = 0;
    for (int i = 0; i < 2; i++)
        value = value * 16 + (at[i] <= '9' ? at[i] - '0' : at[i] - 'a' + 10);
    return value;
}

// One line of cases.txt: FILE CHANNELS HEIGHT WIDTH RESIZE TOLERANCE HEX
static bool check_case(char *line, amli_decoder *decoder)
{
    char *rest, *word[7];
    for (int i = 0; i < 7; i++)
        word[i] = strtok_r(i ? NULL : line, " ", &rest);
    amli_picture_rule rule = {.channels = atoi(word[1]),
                              .height = atoi(word[2]),
                              .width = atoi(word[3]),
                              .resize = word[4][0] == 'c'   ? AML_RESIZE_CROP
                                        : word[4][0] == 'f' ? AML_RESIZE_FIT
                                                            : AML_RESIZE_STRETCH,
                              .background = 255,
                              .most_pixels = 1 << 20};
    int most = atoi(word[5]), worst = 0;
    size_t bytes = (size_t)(rule.height * rule.width * rule.channels);
    unsigned char *to = malloc(bytes);
    File file = read_in(folder, word[0]);
    aml_error error = {0};
    bool good = to && file.bytes && strlen(word[6]) == (most ? 2 * bytes : AMLI_HASH_TEXT - 1) &&
                amli_picture_read(decoder, file.bytes, file.length, &rule, to, &error) == AML_OK;
    char hash[AMLI_HASH_TEXT];
    if (good && most == 0) {
        amli_hash(to, bytes, hash);
        worst = strcmp(hash, word[6]) == 0 ? 0 : 255;
    }
    for (size_t i = 0; good && most && i < bytes; i++) {
        int away = abs(to[i] - hex(word[6] + 2 * i));
        worst = away > worst ? away : worst;
    }
    if (!good || worst > most)
        printf("%s %s %s %s: off by %d, %s\n", word[0], word[2], word[3], word[4], worst,
               error.text);
    free(to);
    free(file.bytes);
    return good && worst <= most;
}

TEST(pictures_as_pillow_makes_them)
{
    File cases = read_in(folder, "cases.txt");
    CHECK(cases.bytes);
    amli_decoder decoder = {0}; // of all: what one picture leaves must not show in the next
    int lines = 0, bad = 0;
    char *rest;
    for (char *line = strtok_r(cases.bytes, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        bad += !check_case(line, &decoder);
        lines++;
    }
    amli_decoder_end(&decoder);
    free(cases.bytes);
    CHECK_INT(bad, 0);
    CHECK_INT(lines, 33);
}

// ---- PngSuite

static const char *suite(void)
{
    static char path[PATH_MAX];
    const char *data = getenv("AML_DATA");
    data = data ? data : shared;
    snprintf(path, sizeof path, "%s/data/images/pngsuite", data);
    return access(path, R_OK) == 0 ? path : NULL;
}

TEST(pngsuite_decodes_exactly)
{
    File list = read_in(folder, "pngsuite.txt");
    CHECK(list.bytes);
    int lines = 0;
    char *rest, name[64], expected[65], found[AMLI_HASH_TEXT];
    for (char *line = strtok_r(list.bytes, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        long long width, height;
        amli_picture picture = {.turn = 1};
        aml_error error = {0};
        CHECK_INT(sscanf(line, "%63s %lld %lld %64s", name, &width, &height, expected), 4);
        File file = read_in(suite(), name);
        CHECK(file.bytes);
        if (amli_read_png(file.bytes, file.length, &plain, &picture, &error))
            CHECK_FAIL("%s: %s", name, error.text);
        CHECK_INT(picture.width, width);
        CHECK_INT(picture.height, height);
        amli_hash(picture.pixel, (size_t)(width * height * 4), found);
        if (strcmp(found, expected) != 0)
            CHECK_FAIL("%s has other pixels", name);
        free(picture.pixel);
        free(file.bytes);
        lines++;
    }
    free(list.bytes);
    CHECK_INT(lines, 161);
}

TEST(pngsuite_corrupt_files_are_refused)
{
    amli_names names;
    CHECK(amli_list_folder(suite(), &names, NULL) == AML_OK);
    int refused = 0;
    unsigned char to[8 * 8 * 3];
    for (int i = 0; i < names.count; i++) {
        const char *dot = strrchr(names.name[i], '.');
        if (names.name[i][0] != 'x' || !dot || strcmp(dot, ".png") != 0)
            continue;
        File file = read_in(suite(), names.name[i]);
        aml_error error = {0};
        if (read_picture(file.bytes, file.length, &plain, to, &error) != AML_BAD_DATA ||
            !strstr(error.text, "expected") || !strstr(error.text, "found"))
            CHECK_FAIL("%s is read: %s", names.name[i], error.text);
        free(file.bytes);
        refused++;
    }
    amli_free_names(&names);
    CHECK_INT(refused, 14);
}

// ---- broken files

static void expect_refused(const char *name, size_t step)
{
    File file = read_in(folder, name);
    CHECK(file.bytes);
    unsigned char to[8 * 8 * 3];
    for (size_t length = 0; length < file.length; length += step) {
        aml_error error = {0};
        char *part = malloc(length + 1); // its end is where a sanitizer sees it
        memcpy(part, file.bytes, length);
        if (read_picture(part, length, &plain, to, &error) != AML_BAD_DATA)
            CHECK_FAIL("the first %zu of %zu bytes of %s are read", length, file.length, name);
        CHECK(strstr(error.text, "expected") && strstr(error.text, "found"));
        free(part);
    }
    CHECK(read_picture(file.bytes, file.length, &plain, to, NULL) == AML_OK);
    free(file.bytes);
}

TEST(truncated_files_are_refused)
{
    expect_refused("plain.jpg", 1);
    expect_refused("progressive.jpg", 1);
    expect_refused("cmyk.jpg", 7);
    expect_refused("alpha.png", 1);
    expect_refused("palette.png", 1);
}

// Every byte of the compressed data of a PNG file is covered by a checksum.
TEST(damaged_png_is_refused)
{
    File file = read_in(folder, "alpha.png");
    CHECK(file.bytes);
    unsigned char to[8 * 8 * 3];
    for (size_t at = 0; at < file.length; at++) {
        file.bytes[at] ^= 0x10;
        if (read_picture(file.bytes, file.length, &plain, to, NULL) != AML_BAD_DATA)
            CHECK_FAIL("a change of byte %zu is not noticed", at);
        file.bytes[at] ^= 0x10;
    }
    free(file.bytes);
}

TEST(bombs_are_refused)
{
    unsigned char to[8 * 8 * 3];
    aml_error error = {0};
    amli_picture_rule small = plain;
    small.most_pixels = 60 * 40 - 1;
    File jpeg = read_in(folder, "plain.jpg"), png = read_in(folder, "alpha.png");
    CHECK(jpeg.bytes && png.bytes);
    CHECK(read_picture(jpeg.bytes, jpeg.length, &small, to, &error) == AML_BAD_DATA);
    CHECK_TEXT(error.text, "expected at most 2399 pixels, found a picture of 60 x 40");
    CHECK(read_picture(png.bytes, png.length, &small, to, &error) == AML_BAD_DATA);
    CHECK_TEXT(error.text, "expected at most 2399 pixels, found a picture of 60 x 40");
    // a JPEG file that says it is 65,500 x 65,500
    for (size_t i = 0; i + 9 < jpeg.length; i++)
        if ((unsigned char)jpeg.bytes[i] == 0xFF && (unsigned char)jpeg.bytes[i + 1] == 0xC0)
            memset(jpeg.bytes + i + 5, 0xFF, 1), memset(jpeg.bytes + i + 7, 0xFF, 1);
    CHECK(read_picture(jpeg.bytes, jpeg.length, &plain, to, &error) == AML_BAD_DATA);
    CHECK(strstr(error.text, "found a picture of 65"));
    free(jpeg.bytes), free(png.bytes);
}

TEST(other_files_are_told)
{
    unsigned char to[8 * 8 * 3];
    aml_error error = {0};
    CHECK(read_picture("", 0, &plain, to, &error) == AML_BAD_DATA);
    CHECK_TEXT(error.text, "expected a JPEG or PNG file, found an empty file");
    CHECK(read_picture("GIF89a", 6, &plain, to, &error) == AML_BAD_DATA);
    CHECK_TEXT(error.text, "expected a JPEG or PNG file, found other bytes at its beginning");
}

TEST(exif_is_not_trusted)
{
    static const unsigned char block[] = {'M',  'M', 0, '*', 0, 0, 0, 8, 0, 1, 0x01,
                                          0x12, 0,   3, 0,   0, 0, 1, 0, 6, 0, 0};
    CHECK_INT(amli_exif_turn(block, sizeof block), 6);
    unsigned char changed[sizeof block];
    for (size_t length = 0; length < sizeof block; length++) {
        unsigned char *part = malloc(length + 1);
        memcpy(part, block, length);
        CHECK_INT(amli_exif_turn(part, length), 1);
        free(part);
    }
    for (size_t at = 0; at < sizeof block; at++)
        for (int value = 0; value < 256; value++) {
            memcpy(changed, block, sizeof block);
            changed[at] = (unsigned char)value;
            int turn = amli_exif_turn(changed, sizeof changed);
            CHECK(turn >= 1 && turn <= 8);
        }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    folder = argv[1];
    shared = argv[2];
    RUN(pictures_as_pillow_makes_them);
    if (suite()) {
        RUN(pngsuite_decodes_exactly);
        RUN(pngsuite_corrupt_files_are_refused);
    } else {
        printf("SKIP pngsuite: no data/images/pngsuite under $AML_DATA\n");
    }
    RUN(truncated_files_are_refused);
    RUN(damaged_png_is_refused);
    RUN(bombs_are_refused);
    RUN(other_files_are_told);
    RUN(exif_is_not_trusted);
    CHECK_SUMMARY();
}
