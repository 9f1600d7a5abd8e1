// Decimal text to binary numbers: the answers are those of the C library, bit for bit.

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "runtime/base/base.h"
#include "runtime/data/real.h"

static void compare(const char *text)
{
    double wide = 0, right = strtod(text, NULL);
    float narrow = 0, right_narrow = strtof(text, NULL);
    size_t length = strlen(text);
    amli_real read = amli_read_f64(text, length, &wide),
              read_narrow = amli_read_f32(text, length, &narrow);
    if (read != (isinf(right) ? AMLI_REAL_LARGE : AMLI_REAL_READ) ||
        memcmp(&wide, &right, sizeof wide) != 0)
        CHECK_FAIL("\"%s\" as f64 is %a, expected %a", text, wide, right);
    if (read_narrow != (isinf(right_narrow) ? AMLI_REAL_LARGE : AMLI_REAL_READ) ||
        memcmp(&narrow, &right_narrow, sizeof narrow) != 0)
        CHECK_FAIL("\"%s\" as f32 is %a, expected %a", text, (double)narrow, (double)right_narrow);
}

TEST(hard_numbers_are_rounded_right)
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.0",
                                        "-0e5",
                                        "1",
                                        "00012.500",
                                        "9007199254740993",
                                        "9007199254740992.5",
                                        "9007199254740993.00000000000000000000000000000000000001",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072012e-308",
                                        "2.2250738585072014e-308",
                                        "4.9e-324",
                                        "2.4703282292062327e-324",
                                        "2.4703282292062328e-324",
                                        "1e-400",
                                        "1.7976931348623157e308",
                                        "1.7976931348623158e308",
                                        "1.7976931348623159e308",
                                        "1e309",
                                        "3.4028234663852886e38",
                                        "3.4028235677973366e38",
                                        "3.4028235677973365e38",
                                        "1.17549435e-38",
                                        "1.1754943508222875e-38",
                                        "7.0064923216240854e-46",
                                        "7.0064923216240853e-46",
                                        "1.401298464324817e-45",
                                        "16777217",
                                        "16777217.0000000001",
                                        "16777216.99999999999999",
                                        "0.1",
                                        "0.2",
                                        "0.3",
                                        "123456789012345678901234567890",
                                        "1234567890123456789",
                                        "12345678901234567890",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "0.000000000000000000000000000000000000000000001",
                                        "1e22",
                                        "1e23",
                                        "8.5e22",
                                        "1e-22",
                                        "1e-23",
                                        "6.02214076e23",
                                        "1.6e-19",
                                        "5.827000141143799",
                                        "30.5310001373291",
                                        "99999999",
                                        "12345678.",
                                        ".12345678",
                                        "0.00000000000000000000000000000012345678901234567890123",
                                        "1e+5",
                                        "1E-05",
                                        "1.00000005960464477539062500",
                                        "1.00000005960464477539062501",
                                        "1.0000000596046447",
                                        "8388608.5",
                                        "8388609.5",
                                        "33554434.0",
                                        "33554438",
                                        "1e00000000000000000000005",
                                        "1e-00000005"};
    for (size_t i = 0; i < AMLI_COUNT(texts); i++)
        compare(texts[i]);
    char text[AMLI_LONGEST_REAL + 1];
    for (int exponent = -330; exponent <= 310; exponent++)
        for (int digit = 1; digit < 10; digit++) {
            snprintf(text, sizeof text, "%de%d", digit, exponent);
            compare(text);
            snprintf(text, sizeof text, "%d.00000000000000001e%d", digit, exponent);
            compare(text);
        }
}

static uint64_t next(uint64_t *state) // splitmix64
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

// Numbers of all lengths, numbers halfway between two doubles or floats, and a last digit beside.
TEST(random_numbers_are_rounded_right)
{
    uint64_t chance = 7;
    char text[AMLI_LONGEST_REAL + 1];
    for (int i = 0; i < 200000; i++) {
        int digits = 1 + (int)(next(&chance) % 24), point = (int)(next(&chance) % 25), used = 0;
        for (int d = 0; d < digits; d++) {
            if (d == point)
                text[used++] = '.';
            text[used++] = (char)('0' + next(&chance) % 10);
        }
        text[used] = 0;
        if (next(&chance) % 3)
            snprintf(text + used, sizeof text - (size_t)used, "e%d",
                     (int)(next(&chance) % 140) - 70);
        compare(text);
    }
    for (int i = 0; i < 60000; i++) {
        uint64_t bits = next(&chance) % ((uint64_t)80 << 52) + ((uint64_t)983 << 52);
        double value;
        memcpy(&value, &bits, 8);
        float narrow = (float)value, above = nextafterf(narrow, INFINITY);
        snprintf(text, sizeof text, "%.*f", (int)(next(&chance) % 20), value);
        compare(text);
        snprintf(text, sizeof text, "%.17g", value);
        compare(text);
        double halfway = ((double)narrow + (double)above) / 2;
        snprintf(text, sizeof text, "%.60f", halfway); // exact for most
        compare(text);
        text[strlen(text) - 1]++;
        if (text[strlen(text) - 1] <= '9')
            compare(text);
        snprintf(text, sizeof text, "%.17g", halfway);
        compare(text);
    }
    // halfway between doubles, in whole numbers
    for (int i = 0; i < 20000; i++) {
        uint64_t whole = ((uint64_t)1 << 53 | next(&chance) >> 11) * 2 + 1;
        for (int add = -1; add <= 1; add++) {
            snprintf(text, sizeof text, "%llu", (unsigned long long)(whole + (uint64_t)add));
            compare(text);
            snprintf(text, sizeof text, "%llu.5e%d", (unsigned long long)(whole >> 4), add);
            compare(text);
        }
    }
}

TEST(what_is_no_number_is_not_read)
{
    static const char *const texts[] = {"",
                                        "+",
                                        "-",
                                        ".",
                                        "e5",
                                        "1e",
                                        "1e+",
                                        "--1",
                                        "1.2.3",
                                        "1_0",
                                        "12345678x",
                                        "1234567:",
                                        "12345678901234567/",
                                        "0x10",
                                        "inf",
                                        "nan",
                                        " 1",
                                        "1 ",
                                        "1,5",
                                        "1e5.0",
                                        "\xB1"
                                        "2345678"};
    for (size_t i = 0; i < AMLI_COUNT(texts); i++) {
        double wide;
        float narrow;
        if (amli_read_f64(texts[i], strlen(texts[i]), &wide) != AMLI_REAL_NONE ||
            amli_read_f32(texts[i], strlen(texts[i]), &narrow) != AMLI_REAL_NONE)
            CHECK_FAIL("\"%s\" was read as a number", texts[i]);
    }
}

int main(void)
{
    RUN(hard_numbers_are_rounded_right);
    RUN(random_numbers_are_rounded_right);
    RUN(what_is_no_number_is_not_read);
    CHECK_SUMMARY();
}
