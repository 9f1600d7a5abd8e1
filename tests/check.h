// check.h: what a test in C needs.
//
// A test program is a list of TEST(name) bodies and a main with RUN(name) lines. It prints one line
// a test, "PASS name" or "FAIL name: where and why", which tests/run.py counts, and returns 1 if
// any failed.

#ifndef AML_CHECK_H
#define AML_CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool check_failed;
static int check_failures;

#define TEST(name) static void test_##name(void)
#define RUN(name)                                                                                  \
    do {                                                                                           \
        check_failed = false;                                                                      \
        test_##name();                                                                             \
        if (check_failed)                                                                          \
            check_failures++;                                                                      \
        else                                                                                       \
            printf("PASS %s\n", #name);                                                            \
        fflush(stdout);                                                                            \
    } while (0)
#define CHECK_SUMMARY() return check_failures ? 1 : 0

// Reports the first failure of a test and leaves the test.
#define CHECK_FAIL(...)                                                                            \
    do {                                                                                           \
        if (!check_failed)                                                                         \
            printf("FAIL %s: %s:%d: ", __func__ + 5, __FILE__, __LINE__), printf(__VA_ARGS__),     \
                printf("\n");                                                                      \
        check_failed = true;                                                                       \
        return;                                                                                    \
    } while (0)
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            CHECK_FAIL("%s", #condition);                                                          \
    } while (0)
#define CHECK_INT(found, expected)                                                                 \
    do {                                                                                           \
        long long found_ = (long long)(found), expected_ = (long long)(expected);                  \
        if (found_ != expected_)                                                                   \
            CHECK_FAIL("%s is %lld, expected %lld", #found, found_, expected_);                    \
    } while (0)
#define CHECK_TEXT(found, expected)                                                                \
    do {                                                                                           \
        const char *found_ = (found), *expected_ = (expected);                                     \
        if (!found_ || strcmp(found_, expected_) != 0)                                             \
            CHECK_FAIL("%s is \"%s\", expected \"%s\"", #found, found_ ? found_ : "(null)",        \
                       expected_);                                                                 \
    } while (0)
#define CHECK_CLOSE(found, expected, tolerance)                                                    \
    do {                                                                                           \
        double found_ = (found), expected_ = (expected);                                           \
        if (!(fabs(found_ - expected_) <= (tolerance)))                                            \
            CHECK_FAIL("%s is %.9g, expected %.9g within %.3g", #found, found_, expected_,         \
                       (double)(tolerance));                                                       \
    } while (0)

#endif
