// base: arenas, growing arrays, names, maps, did-you-mean, places in source files.

#include "../check.h"
#include "base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>

TEST(arena_gives_zeroed_aligned_memory)
{
    Arena *arena = arena_new();
    for (size_t bytes = 1; bytes < 300000; bytes = bytes * 3 + 1) {
        unsigned char *at = arena_alloc(arena, bytes);
        CHECK((uintptr_t)at % 16 == 0);
        for (size_t i = 0; i < bytes; i++)
            CHECK(at[i] == 0);
        memset(at, 0xFF, bytes);
    }
    arena_reset(arena);
    for (int i = 0; i < 1000; i++) {
        unsigned char *at = arena_alloc(arena, 100);
        for (int k = 0; k < 100; k++)
            CHECK(at[k] == 0);
    }
    arena_free(arena);
}

TEST(arena_keeps_what_was_given)
{
    Arena *arena = arena_new();
    char *text[2000];
    for (int i = 0; i < 2000; i++)
        text[i] = arena_printf(arena, "number %d %*s", i, i % 700, "");
    for (int i = 0; i < 2000; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "number %d ", i);
        CHECK(strncmp(text[i], expected, strlen(expected)) == 0);
        CHECK_INT(strlen(text[i]), (int)strlen(expected) + i % 700);
    }
    arena_free(arena);
}

TEST(vec_grows)
{
    Arena *arena = arena_new();
    Vec(int) list = {0};
    for (int i = 0; i < 10000; i++)
        vec_push(arena, &list, i * 3);
    CHECK_INT(list.count, 10000);
    for (int i = 0; i < 10000; i++)
        CHECK_INT(list.at[i], i * 3);
    arena_free(arena);
}

TEST(buffer_is_terminated)
{
    Arena *arena = arena_new();
    Buffer buffer = {.arena = arena};
    buffer_text(&buffer, "");
    CHECK_TEXT(buffer.text, "");
    for (int i = 0; i < 1000; i++)
        buffer_printf(&buffer, "%d,", i);
    CHECK_INT(buffer.length, 3890);
    CHECK_INT(strlen(buffer.text), 3890);
    arena_free(arena);
}

TEST(equal_names_are_equal_pointers)
{
    Cx *cx = cx_new();
    Sym first[3000];
    for (int i = 0; i < 3000; i++)
        first[i] = sym_printf(cx, "name_%d", i);
    for (int i = 0; i < 3000; i++) {
        CHECK(sym_printf(cx, "name_%d", i) == first[i]);
        CHECK(i == 0 || first[i] != first[i - 1]);
    }
    CHECK(sym_intern(cx, "name_12345", 7) == first[12]);
    cx_free(cx);
}

TEST(map_keeps_order_and_replaces)
{
    Cx *cx = cx_new();
    Map map = {0};
    int value[500];
    CHECK(map_get(&map, sym_of(cx, "absent")) == NULL);
    for (int i = 0; i < 500; i++)
        map_put(cx->arena, &map, sym_printf(cx, "k%d", i), &value[i]);
    map_put(cx->arena, &map, sym_of(cx, "k7"), &value[0]);
    CHECK_INT(map.count, 500);
    CHECK(map_get(&map, sym_of(cx, "k7")) == &value[0]);
    for (int i = 8; i < 500; i++) {
        CHECK(map_get(&map, sym_printf(cx, "k%d", i)) == &value[i]);
        CHECK(map.key[i] == sym_printf(cx, "k%d", i));
    }
    CHECK(map_get(&map, sym_of(cx, "absent")) == NULL);
    cx_free(cx);
}

TEST(closest_name_is_close)
{
    static const char *const names[] = {"batch", "length", "optimizer",    "momentum",
                                        "Dense", "lr",     "cross_entropy"};
#define CLOSEST(word) closest_name(word, names, COUNT_OF(names))
    CHECK_TEXT(CLOSEST("bacth"), "batch");
    CHECK_TEXT(CLOSEST("lenght"), "length");
    CHECK_TEXT(CLOSEST("optimiser"), "optimizer");
    CHECK_TEXT(CLOSEST("dense"), "Dense");
    CHECK_TEXT(CLOSEST("crossentropy"), "cross_entropy");
    CHECK(CLOSEST("activation") == NULL);
    CHECK(CLOSEST("x") == NULL);
    CHECK(CLOSEST("") == NULL);
    CHECK(CLOSEST("batch") == NULL); // itself is no suggestion
    char longest[500];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    CHECK(CLOSEST(longest) == NULL);
}

TEST(places_count_code_points)
{
    Cx *cx = cx_new();
    const char *text = "ab\n\xC3\xA9\xE2\x82\xAC x\r\n\nend";
    uint32_t file = source_add(cx, "f.aml", text, strlen(text), false);
    static const struct {
        uint32_t at;
        int line, column;
    } expected[] = {
        {0, 1, 1}, {1, 1, 2},  {3, 2, 1},  {5, 2, 2},  {8, 2, 3},
        {9, 2, 4}, {12, 3, 1}, {13, 4, 1}, {16, 4, 4}, {9999, 4, 4},
    };
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        Place place = source_place(cx, (Span){file, expected[i].at, expected[i].at + 1});
        CHECK_INT(place.line, expected[i].line);
        CHECK_INT(place.column, expected[i].column);
    }
    Span line = source_line_span(cx, (Span){file, 9, 10});
    CHECK_INT(line.start, 3);
    CHECK_INT(line.end, 10); // without CR LF
    CHECK_INT(source_place(cx, (Span){0}).line, 1);
    cx_free(cx);
}

TEST(only_files_are_read)
{
    Arena *arena = arena_new();
    char *text;
    size_t length;
    CHECK(!file_read(arena, "/no/such/file", 100, &text, &length));
    CHECK_INT(errno, ENOENT);
    CHECK(!file_read(arena, "/", 100, &text, &length));
    CHECK_INT(errno, EISDIR);
    CHECK(!file_read(arena, "/dev/zero", 100, &text, &length));
    CHECK(!file_read(arena, "/proc/self/exe", 100, &text, &length));
    CHECK_INT(errno, EFBIG);
    arena_free(arena);
}

// What format_text makes is what the C library makes, in whatever room there is.
static void same_text(const char *format, ...)
{
    char ours[400], theirs[400];
    for (size_t room = 0; room <= sizeof ours; room += room < 20 ? 1 : 76) {
        va_list args, again;
        va_start(args, format);
        va_copy(again, args);
        memset(ours, '?', sizeof ours);
        memset(theirs, '?', sizeof theirs);
        int length = format_text(ours, room, format, args);
        CHECK_INT(length, vsnprintf(theirs, room, format, again));
        CHECK(memcmp(ours, theirs, sizeof ours) == 0);
        va_end(again);
        va_end(args);
    }
}

TEST(formats_are_those_of_the_c_library)
{
    char text[300];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    same_text("nothing at all");
    same_text("100%% of %s, %s", "this", "");
    same_text("[%d, %d, %d] %s", INT32_MIN, INT32_MAX, 0, text);
    same_text("%" PRId64 " %" PRId64 " %lld", INT64_MIN, INT64_MAX, -1ll);
    same_text("%u %u", 0u, UINT32_MAX);
    same_text("%s is %.3g, %5d, %08x and %zu, %.*s", "it", 2.5, -7, 255u, (size_t)9, 3, "abcdef");
    same_text("%s%c%s%%%d", "a", 'b', text, 1);
}

int main(void)
{
    RUN(formats_are_those_of_the_c_library);
    RUN(arena_gives_zeroed_aligned_memory);
    RUN(arena_keeps_what_was_given);
    RUN(vec_grows);
    RUN(buffer_is_terminated);
    RUN(equal_names_are_equal_pointers);
    RUN(map_keeps_order_and_replaces);
    RUN(closest_name_is_close);
    RUN(places_count_code_points);
    RUN(only_files_are_read);
    CHECK_SUMMARY();
}
