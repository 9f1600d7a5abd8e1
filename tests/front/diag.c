// diag: what is collected, what is dropped, where it is shown. The formats as a whole are tested in
// tests/reject/formats.py.

#include "../check.h"
#include "diag/diag.h"

#include <stdlib.h>

static const char user_text[] = "first line\nsecond line\nthird line\n";
static const char library_text[] = "library line\n";

typedef struct Fixture {
    Cx *cx;
    uint32_t user, library;
} Fixture;

static Fixture begin(void)
{
    Fixture f = {.cx = cx_new()};
    f.user = source_add(f.cx, "user.aml", user_text, sizeof user_text - 1, false);
    f.library = source_add(f.cx, "<std>/library.aml", library_text, sizeof library_text - 1, true);
    return f;
}

// What is printed, in the scratch arena.
static char *printed(Cx *cx, MessageFormat format)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    diag_print(cx, out, format, false);
    fclose(out);
    char *copy = arena_text(cx->scratch, text, length);
    free(text);
    return copy;
}

TEST(sorted_by_place)
{
    Fixture f = begin();
    Span third = {f.user, 23, 28}, first = {f.user, 0, 5}, nowhere = {0};
    report(f.cx, third, unexpected_text, "a", "b");
    report(f.cx, first, unterminated_string);
    report(f.cx, nowhere, cannot_read, "x", "y");
    CHECK_TEXT(printed(f.cx, FORMAT_SHORT),
               "error[E0100]: cannot read 'x': y\n"
               "user.aml:1:1: error[E0008]: this string has no closing quote on its line\n"
               "user.aml:3:1: error[E0001]: expected a, found b\n");
    cx_free(f.cx);
}

TEST(duplicates_are_dropped_with_their_notes)
{
    Fixture f = begin();
    Span span = {f.user, 0, 5}, other = {f.user, 0, 6};
    report(f.cx, span, unterminated_string);
    help(f.cx, "kept");
    report(f.cx, span, unterminated_string);
    help(f.cx, "dropped");
    note(f.cx, other, "dropped");
    report(f.cx, other, unterminated_string);
    CHECK_INT(diag_errors(f.cx), 2);
    CHECK(strstr(printed(f.cx, FORMAT_HUMAN), "help: kept"));
    CHECK(!strstr(printed(f.cx, FORMAT_HUMAN), "dropped"));
    cx_free(f.cx);
}

TEST(silenced_reports_are_dropped)
{
    Fixture f = begin();
    Span span = {f.user, 0, 5};
    diag_silence(f.cx, DIAG_unterminated_string, span);
    report(f.cx, span, unterminated_string);
    help(f.cx, "dropped");
    CHECK_INT(diag_errors(f.cx), 0);
    report(f.cx, span, unexpected_text, "a", "b");
    CHECK_INT(diag_errors(f.cx), 1);
    cx_free(f.cx);
}

TEST(warnings_are_counted_apart)
{
    Fixture f = begin();
    Span span = {f.user, 0, 5};
    report(f.cx, span, unused_name, "x");
    CHECK_INT(diag_errors(f.cx), 0);
    CHECK_INT(diag_warnings(f.cx), 1);
    CHECK(strstr(printed(f.cx, FORMAT_SHORT), "warning[W0113]"));
    cx_free(f.cx);
}

TEST(mistakes_inside_the_library_are_shown_at_the_users_call)
{
    Fixture f = begin();
    Span outer = {f.user, 0, 5}, inner = {f.user, 11, 17}, inside = {f.library, 0, 7},
         deeper = {f.library, 8, 12};
    diag_push_call(f.cx, outer, "outer");
    diag_push_call(f.cx, inner, "Dense");
    diag_push_call(f.cx, deeper, "helper");
    report(f.cx, inside, unexpected_text, "a", "b");
    diag_pop_call(f.cx);
    diag_pop_call(f.cx);
    diag_pop_call(f.cx);
    CHECK_TEXT(printed(f.cx, FORMAT_HUMAN), "error[E0001]: expected a, found b\n"
                                            " --> user.aml:2:1\n"
                                            "2 | second line\n"
                                            "  | ^^^^^^\n"
                                            "  = note: found here, inside 'Dense'\n"
                                            " --> <std>/library.aml:1:1\n"
                                            "1 | library line\n"
                                            "  | -------\n"
                                            "  = note: in this use of 'outer'\n"
                                            " --> user.aml:1:1\n"
                                            "1 | first line\n"
                                            "  | -----\n"
                                            "\n"
                                            "1 error\n");
    cx_free(f.cx);
}

TEST(calls_are_forgotten_when_they_end)
{
    Fixture f = begin();
    Span call = {f.user, 0, 5}, place = {f.user, 11, 17};
    diag_push_call(f.cx, call, "f");
    diag_pop_call(f.cx);
    report(f.cx, place, unterminated_string);
    CHECK(!strstr(printed(f.cx, FORMAT_HUMAN), "in this use"));
    cx_free(f.cx);
}

TEST(shapes_are_aligned_at_the_right)
{
    Fixture f = begin();
    Span span = {f.user, 0, 5};
    report(f.cx, span, unexpected_text, "a", "b");
    report_shapes(f.cx, "expected", "float[n, 64]", "found", "f32[8, 3, 64]");
    CHECK(strstr(printed(f.cx, FORMAT_HUMAN), "  |   expected  float[   n, 64]\n"
                                              "  |   found     f32  [8, 3, 64]\n"
                                              "  |                   ^  ^    \n"));
    cx_free(f.cx);
}

TEST(control_characters_do_not_reach_the_terminal)
{
    Fixture f = begin();
    Span span = {f.user, 0, 5};
    report(f.cx, span, unexpected_text, "\033[31m", "\xFF");
    const char *text = printed(f.cx, FORMAT_HUMAN);
    CHECK(!strchr(text, '\033') && !strchr(text, '\xFF'));
    CHECK(strstr(text, "expected \xEF\xBF\xBD[31m, found \xEF\xBF\xBD"));
    CHECK(!strchr(printed(f.cx, FORMAT_JSON), '\033'));
    cx_free(f.cx);
}

TEST(long_lines_are_cut_around_the_mark)
{
    Cx *cx = cx_new();
    char text[2000];
    memset(text, 'x', sizeof text);
    uint32_t file = source_add(cx, "long.aml", text, sizeof text, false);
    Span span = {file, 1000, 1003};
    report(cx, span, unterminated_string);
    const char *shown = printed(cx, FORMAT_HUMAN);
    CHECK(strlen(shown) < 500);
    CHECK(strstr(shown, "long.aml:1:1001") && strstr(shown, "^^^\n") && strstr(shown, "..."));
    cx_free(cx);
}

TEST(a_flood_is_bounded)
{
    Cx *cx = cx_new();
    static char text[5000];
    memset(text, 'x', sizeof text);
    uint32_t file = source_add(cx, "flood.aml", text, sizeof text, false);
    for (uint32_t i = 0; i < sizeof text; i++) {
        Span span = {file, i, i + 1};
        report(cx, span, unterminated_string);
    }
    CHECK_INT(diag_errors(cx), sizeof text);
    int lines = 0;
    for (const char *at = printed(cx, FORMAT_SHORT); *at; at++)
        lines += *at == '\n';
    CHECK(lines > 100 && lines <= 1000);
    cx_free(cx);
}

int main(void)
{
    RUN(sorted_by_place);
    RUN(duplicates_are_dropped_with_their_notes);
    RUN(silenced_reports_are_dropped);
    RUN(warnings_are_counted_apart);
    RUN(mistakes_inside_the_library_are_shown_at_the_users_call);
    RUN(calls_are_forgotten_when_they_end);
    RUN(shapes_are_aligned_at_the_right);
    RUN(control_characters_do_not_reach_the_terminal);
    RUN(long_lines_are_cut_around_the_mark);
    RUN(a_flood_is_bounded);
    CHECK_SUMMARY();
}
