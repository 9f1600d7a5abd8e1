#include "link/link.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../check.h"
#include "driver_compare.h"

static Cx *cx;

static const char *literal(const char *text)
{
    TableWriter writer = {.cx = cx, .top = {.arena = cx->arena}};
    return table_text(&writer, text);
}

static const char *real(double value)
{
    TableWriter writer = {.cx = cx, .top = {.arena = cx->arena}};
    return table_real(&writer, value);
}

TEST(text_becomes_a_c_literal)
{
    CHECK_TEXT(literal("plain"), "\"plain\"");
    CHECK_TEXT(literal(NULL), "0");
    CHECK_TEXT(literal("a\"b\\c"), "\"a\\\"b\\\\c\"");
    CHECK_TEXT(literal("?\?="), "\"\\?\\?=\""); // no trigraph
    CHECK_TEXT(literal("tab\tline\n1"),
               "\"tab\\011line\\0121\""); // three octal digits: a digit may follow
    CHECK_TEXT(literal("\xc3\xa9"), "\"\\303\\251\"");
}

TEST(numbers_become_constants)
{
    CHECK_TEXT(real(0.1), "0.10000000000000001");
    CHECK_TEXT(real(3), "3.0");
    CHECK_TEXT(real(-0.0), "-0.0");
    CHECK_TEXT(real(1e300), "1.0000000000000001e+300");
    CHECK_TEXT(real(HUGE_VAL), "__builtin_inf()");
    CHECK_TEXT(real(-HUGE_VAL), "-__builtin_inf()");
}

// A folder with a/b, a/c and d in it; the current folder is `a`.
static bool make_folders(void)
{
    char *folder = arena_text(cx->arena, "/tmp/link-test-XXXXXX", 21);
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return false;
    return mkdir("a", 0700) == 0 && mkdir("a/b", 0700) == 0 && mkdir("a/c", 0700) == 0 &&
           mkdir("d", 0700) == 0 && chdir("a") == 0;
}

TEST(source_folder_is_relative_where_both_move_together)
{
    CHECK(make_folders());
    char here[4096];
    CHECK(getcwd(here, sizeof here) != NULL);
    const char *absolute = arena_printf(cx->arena, "%s/b/x.aml", here);
    CHECK_TEXT(portable_source_dir(cx, "x.aml", "x"), ".");
    CHECK_TEXT(portable_source_dir(cx, "b/x.aml", "x"), "b");
    CHECK_TEXT(portable_source_dir(cx, "x.aml", "b/x"), "..");
    CHECK_TEXT(portable_source_dir(cx, "b/x.aml", "c/x"), "../b");
    CHECK_TEXT(portable_source_dir(cx, absolute, "b/x"), ".");
    CHECK_TEXT(portable_source_dir(cx, absolute, "x"), "b");
    CHECK_TEXT(portable_source_dir(cx, "../d/x.aml", "x"), "../d");
    CHECK_TEXT(portable_source_dir(cx, absolute, "../d/x"), arena_printf(cx->arena, "%s/b", here));
    CHECK_TEXT(portable_source_dir(cx, "b/x.aml", "../d/x"), arena_printf(cx->arena, "%s/b", here));
}

TEST(processes_are_run_and_captured)
{
    ProcessResult result =
        process_run(cx, (const char *const[]){"sh", "-c", "echo out; echo err >&2; exit 3", NULL},
                    NULL, PROCESS_CAPTURE_BOTH);
    CHECK_INT(result.code, 3);
    CHECK_TEXT(result.output, "out\nerr\n");
    result = process_run(cx, (const char *const[]){"pwd", NULL}, "/", PROCESS_CAPTURE);
    CHECK_TEXT(result.output, "/\n");
    CHECK_INT(
        process_run(cx, (const char *const[]){"/nowhere/program", NULL}, NULL, PROCESS_CAPTURE)
            .code,
        127);
    CHECK_INT(process_run(cx, (const char *const[]){"sh", "-c", "kill -9 $$", NULL}, NULL,
                          PROCESS_CAPTURE)
                  .code,
              137);
}

static const char *joined(const char *const *words)
{
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, words ? "" : "none");
    for (; words && *words; words++)
        buffer_printf(&out, "%s|", *words);
    return out.text;
}

// What a linker is called with that two objects take the place of "in.o", by the answer of `cc
// -###`.
static const char *linked(const char *words)
{
    static const char *const objects[] = {"a.o", "b.o"};
    return joined(linker_command(cx, arena_printf(cx->arena, "Target: here\n %s\nEND=1\n", words),
                                 "/bin/ld.x", "in.o", objects, 2));
}

TEST(linker_is_called_as_the_compiler_would_call_it)
{
    char folder[] = "/tmp/link-test-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    const char *library = arena_printf(cx->arena, "%s/libz.so", folder);
    FILE *file = fopen(library, "w");
    CHECK(file != NULL);
    fclose(file);
    CHECK_TEXT(linked("/lib/gcc/collect2 -pie -fuse-ld=x \"-o\" \"the \\\"result\" in.o -z now"),
               "/bin/ld.x|-pie|-o|the \"result|a.o|b.o|-z|now|");
    CHECK_TEXT(linked("\"/usr/bin/ld.x\" in.o"), "/bin/ld.x|a.o|b.o|");
    // libraries are files
    CHECK_TEXT(linked(arena_printf(cx->arena, "/lib/collect2 in.o -L/nowhere -L%s -lz -l:libz.so",
                                   folder)),
               arena_printf(cx->arena, "/bin/ld.x|a.o|b.o|%s|%s|", library, library));
    CHECK_TEXT(linked("/lib/collect2 in.o -L/nowhere -lz"), "none");
    // what is not understood is left to the compiler
    CHECK_TEXT(linked("/lib/collect2 in.o -plugin x"), "none");
    CHECK_TEXT(linked("/lib/collect2 -static in.o"), "none");
    CHECK_TEXT(linked("/lib/collect2 other.o"), "none");
    CHECK_TEXT(linked("/lib/cc1 in.o"), "none");
    CHECK_TEXT(joined(linker_command(cx, "no line of a command\n", "x", "in.o", NULL, 0)), "none");
    remove(library);
    rmdir(folder);
}

TEST(hash_is_sha256)
{
    CHECK_TEXT(sha256_hex(cx, "abc", 3),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static const CsvForm commas = {.separator = ','};

TEST(csv_rows_are_read)
{
    const char *at = "a,\"b,\"\"c\"\"\nd\",e\r\nlast";
    CsvRow row = csv_next(cx, &at, &commas);
    CHECK_INT(row.cell.count, 3);
    CHECK_TEXT(row.cell.at[1], "b,\"c\"\nd");
    CHECK_TEXT(row.cell.at[2], "e");
    row = csv_next(cx, &at, &commas);
    CHECK_TEXT(row.cell.at[0], "last");
    CHECK_TEXT(csv_head(cx, "1\n\"2\n2\"\n3\n", 2, &commas), "1\n\"2\n2\"\n");
    // a quote that is a character like others opens nothing
    const CsvForm literal = {.separator = '\t', .comment = '#', .literal_quotes = true};
    at = "# \"\n\"so\the said\n\nb\tc\n";
    row = csv_next(cx, &at, &literal);
    CHECK_INT(row.cell.count, 2);
    CHECK_TEXT(row.cell.at[0], "\"so");
    row = csv_next(cx, &at, &literal);
    CHECK_TEXT(row.cell.at[1], "c");
    CHECK_INT(csv_next(cx, &at, &literal).cell.count, 0);
    CHECK_TEXT(csv_head(cx, "\"1\n2\n3\n", 2, &literal), "\"1\n2\n");
}

TEST(predictions_are_compared)
{
    Comparison same = compare_predictions(cx, "prediction,p\n3,0.5\n4,0.25\n",
                                          "prediction,p\n3,0.50001\n4,0.25\n", 1e-4);
    CHECK_TEXT(same.wrong ? same.wrong : "none", "none");
    CHECK_INT(same.rows, 2);
    CHECK_CLOSE(same.worst, 1e-5, 1e-9);
    CHECK_TEXT(compare_predictions(cx, "prediction\n3\n", "prediction\n4\n", 1e-4).wrong,
               "row 1, value 1: expected 3, found 4");
    // two classes with the same share: any of them
    Comparison tie = compare_predictions(cx, "row,prediction,p\n1,3,0.41\n2,4,0.9\n",
                                         "row,prediction,p\n1,5,0.41002\n2,4,0.9\n", 1e-4);
    CHECK_TEXT(tie.wrong ? tie.wrong : "none", "none");
    CHECK_INT(tie.ties, 1);
    CHECK_TEXT(
        compare_predictions(cx, "row,prediction,p\n1,3,0.6\n", "row,prediction,p\n1,5,0.6\n", 1e-4)
            .wrong,
        "row 1, value 2: expected 3, found 5");
    CHECK_TEXT(
        compare_predictions(cx, "row,prediction,p\n1,3,0.4\n", "row,prediction,p\n1,5,0.41\n", 1e-4)
            .wrong,
        "row 1, value 3: expected 0.4, found 0.41");
    CHECK(compare_predictions(cx, "row,prediction\n1,3\n", "row,prediction\n1,4\n", 1e-4).wrong !=
          NULL);
    CHECK(compare_predictions(cx, "row,prediction,p\n1,3,0.5\n2,3,0.5\n3,3,0.5\n",
                              "row,prediction,p\n1,4,0.5\n2,4,0.5\n3,3,0.5\n", 1e-4)
              .wrong != NULL);
    CHECK(compare_predictions(cx, "p\n0.5\n", "p\n0.51\n", 1e-4).wrong != NULL);
    CHECK(compare_predictions(cx, "p\n0.5\n", "p\nnan\n", 1e-4).wrong != NULL);
    CHECK(compare_predictions(cx, "p\n0.5\n0.5\n", "p\n0.5\n", 1e-4).wrong != NULL);
    CHECK(compare_predictions(cx, "p\n", "p\n", 1e-4).wrong != NULL);
    // rounded: small differences and few other classes pass
    Comparison rounded = compare_predictions(cx, "row,prediction,p\n1,3,0.5\n2,4,1\n",
                                             "row,prediction,p\n1,3,0.52\n2,4,0.98\n", 0);
    CHECK_TEXT(rounded.wrong ? rounded.wrong : "none", "none");
    CHECK_INT(rounded.wholes, 2);
    CHECK(compare_predictions(cx, "row,prediction\n1,3\n", "row,prediction\n1,4\n", 0).wrong !=
          NULL);
    CHECK(compare_predictions(cx, "row,p\n1,0.5\n", "row,p\n1,0.9\n", 0).wrong != NULL);
    CHECK(compare_predictions(cx, "row,p\n1,0.5\n", "row,p\n1,nan\n", 0).wrong != NULL);
    CHECK(compare_predictions(cx, "row,p\n1,0.5\n", "row,p\n2,0.5\n", 0).wrong != NULL);
}

TEST(accuracy_is_counted)
{
    const char *answers = "prediction,p0\n1,0.5\n2,0.5\n3,0.5\n";
    aml_field label = {.tensor = {.dtype = AML_I32, .classes = 5}, .column = "class", .count = 1};
    CHECK_CLOSE(accuracy_of(cx, answers, "x,class\n9,1\n9,2\n9,4\n", &commas, true, &label),
                2.0 / 3, 1e-12);
    // as many rows as predictions
    CHECK_CLOSE(accuracy_of(cx, answers, "x,class\n9,1\n", &commas, true, &label), -1, 0);
    label.column = "label";
    CHECK_CLOSE(accuracy_of(cx, answers, "x,class\n9,1\n", &commas, true, &label), -1, 0);
    label.column = NULL;
    label.first = 1;
    const CsvForm semicolons = {.separator = ';'};
    CHECK_CLOSE(accuracy_of(cx, answers, "9;1\n9;2\n9;3\n", &semicolons, false, &label), 1, 1e-12);
}

TEST(accuracy_of_classes_with_names_is_counted)
{
    static const char *const names[] = {"spam", "ham, or so"};
    static const int32_t order[] = {1, 0};
    const aml_cell_rule rule = {
        .kind = AML_CELL_CATEGORY, .order = order, .ending = ".", .read = amli_read_by_rule};
    const aml_field label = {
        .tensor = {.dtype = AML_I32, .classes = 2, .class_name = names}, .rule = &rule, .count = 1};
    const CsvForm tabs = {.separator = '\t', .literal_quotes = true};
    const char *answers = "row,prediction\n1,spam\n2,\"ham, or so\"\n3,spam\n";
    CHECK_CLOSE(accuracy_of(cx, answers, "spam\t\"a\nham, or so.\tb\nham, or so\tc\"\n", &tabs,
                            false, &label),
                2.0 / 3, 1e-12);
    CHECK_CLOSE(accuracy_of(cx, answers, "spam\ta\nno\tb\nspam\tc\n", &tabs, false, &label), -1, 0);
    // some of them may differ where values were rounded, and none else
    Buffer ham = {.arena = cx->arena}, other = {.arena = cx->arena};
    for (int i = 0; i < 20; i++) {
        buffer_printf(&ham, "%d,ham\n", i);
        buffer_printf(&other, "%d,%s\n", i, i == 7 ? "spam" : "ham");
    }
    const char *left = arena_printf(cx->arena, "row,prediction\n%s", ham.text),
               *right = arena_printf(cx->arena, "row,prediction\n%s", other.text);
    CHECK(compare_predictions(cx, left, right, 1e-4).wrong != NULL);
    CHECK_INT(compare_predictions(cx, left, right, 0).others, 1);
}

int main(void)
{
    cx = cx_new();
    RUN(text_becomes_a_c_literal);
    RUN(numbers_become_constants);
    RUN(source_folder_is_relative_where_both_move_together);
    RUN(processes_are_run_and_captured);
    RUN(linker_is_called_as_the_compiler_would_call_it);
    RUN(hash_is_sha256);
    RUN(csv_rows_are_read);
    RUN(predictions_are_compared);
    RUN(accuracy_is_counted);
    RUN(accuracy_of_classes_with_names_is_counted);
    cx_free(cx);
    CHECK_SUMMARY();
}
