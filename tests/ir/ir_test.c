// ir_test: the tests of the text form and of the passes.
//
//   tests/ir/text/FILE.ir        is parsed, printed, parsed and printed: both prints are equal, and
//   equal to what is
//                                below the line "// ----"
//   tests/ir/reject/FILE.ir      is refused with a message that holds the text of each line "//~
//   text" tests/ir/PASS/FILE.ir        the functions above the line "// ----" become those below
//   it, and still compute the same tests/ir/pipeline/FILE.ir    the same for all passes together
//
// Usage: ir_test FOLDER [--bless]. --bless writes what was found below the line. A folder that is
// none of these is an error.

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compile.h"
#include "passes/pass.h"
#include "support.h"

static const char line_mark[] = "// ----\n";

typedef struct Case {
    const char *folder, *name, *path;
    char *text;
    size_t length;
    size_t above;      // bytes above the line
    const char *below; // "" if there is no line
} Case;

static bool fail(const Case *test, const char *what, const char *detail)
{
    printf("FAIL %s/%s: %s%s%s\n", test->folder, test->name, what, *detail ? ":\n" : "", detail);
    return false;
}

static bool settle(const Case *test, const char *found, bool bless)
{
    if (strcmp(found, test->below) == 0)
        return true;
    if (!bless) {
        Arena *arena = arena_new();
        fail(test, "the result is not what is below the line",
             arena_printf(arena, "%s-- expected:\n%s", found, test->below));
        arena_free(arena);
        return false;
    }
    FILE *out = fopen(test->path, "w");
    if (!out)
        return fail(test, "cannot be written", "");
    fwrite(test->text, 1, test->above, out);
    if (test->above && test->text[test->above - 1] != '\n')
        fputc('\n', out);
    fprintf(out, "%s%s", line_mark, found);
    fclose(out);
    return true;
}

static bool test_text(Cx *cx, const Case *test, bool bless)
{
    const char *messages;
    IrModule *module = module_from_text(cx, test->path, test->text, test->above, &messages);
    if (!module)
        return fail(test, "is refused", messages);
    const char *once = module_text(cx, module);
    IrModule *again = module_from_text(cx, test->path, once, strlen(once), &messages);
    if (!again)
        return fail(test, "what was printed is refused", messages);
    if (strcmp(once, module_text(cx, again)) != 0)
        return fail(test, "printing what was printed gives another text", module_text(cx, again));
    return settle(test, once, bless);
}

static bool test_reject(Cx *cx, const Case *test)
{
    const char *messages;
    if (module_from_text(cx, test->path, test->text, test->length, &messages))
        return fail(test, "is accepted", "");
    const char *mark = strstr(test->text, "//~ ");
    if (!mark)
        return fail(test, "has no line '//~ message'", "");
    for (; mark; mark = strstr(mark + 4, "//~ ")) {
        const char *wanted = arena_text(cx->arena, mark + 4, strcspn(mark + 4, "\n"));
        if (!strstr(messages, wanted))
            return fail(test, arena_printf(cx->arena, "the message does not hold '%s'", wanted),
                        messages);
    }
    return true;
}

static bool test_pass(Cx *cx, const Case *test, bool bless)
{
    const char *messages;
    IrModule *before = module_from_text(cx, test->path, test->text, test->above, &messages);
    if (!before)
        return fail(test, "is refused", messages);
    IrModule *after = module_from_text(cx, test->path, test->text, test->above, &messages);
    if (strcmp(test->folder, "pipeline") == 0)
        passes_run(cx, after, NULL, NULL, NULL);
    else
        pass_apply(cx, after, pass_find(test->folder));
    const char *found = module_text(cx, after);
    IrModule *again = module_from_text(cx, test->path, found, strlen(found), &messages);
    if (!again || strcmp(found, module_text(cx, again)) != 0)
        return fail(test, "the result does not survive printing and parsing", found);
    for (int i = 0; i < after->function.count; i++) {
        IrFunction *fn = after->function.at[i];
        for (uint64_t seed = 1; seed <= 3; seed++) {
            const char *why =
                functions_differ(cx, ir_function_find(before, fn->name), fn, seed, 1e-5);
            if (why)
                return fail(
                    test, arena_printf(cx->arena, "@%s computes something else: %s", fn->name, why),
                    found);
        }
    }
    return settle(test, found, bless);
}

static bool run_case(Case *test, bool bless)
{
    Cx *cx = cx_new();
    bool ok = false;
    if (!file_read(cx->arena, test->path, 1 << 20, &test->text, &test->length)) {
        fail(test, "cannot be read", "");
    } else {
        const char *line = strstr(test->text, line_mark);
        test->above = line ? (size_t)(line - test->text) : test->length;
        test->below = line ? line + strlen(line_mark) : "";
        if (strcmp(test->folder, "text") == 0)
            ok = test_text(cx, test, bless);
        else if (strcmp(test->folder, "reject") == 0)
            ok = test_reject(cx, test);
        else if (strcmp(test->folder, "pipeline") == 0 || pass_find(test->folder) < PASS_COUNT)
            ok = test_pass(cx, test, bless);
        else
            fail(test, "the folder is not the name of a pass, text, reject or pipeline", "");
    }
    if (ok)
        printf("PASS %s/%s\n", test->folder, test->name);
    fflush(stdout);
    cx_free(cx);
    return ok;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: ir_test FOLDER [--bless]\n");
        return 2;
    }
    bool bless = argc > 2 && strcmp(argv[2], "--bless") == 0;
    int failures = 0, cases = 0;
    struct dirent **folder, **file;
    Arena *arena = arena_new();
    int folders = scandir(argv[1], &folder, visible, alphasort);
    for (int i = 0; i < folders; free(folder[i++])) {
        const char *path = arena_printf(arena, "%s/%s", argv[1], folder[i]->d_name);
        struct stat info;
        if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
            continue;
        int files = scandir(path, &file, visible, alphasort);
        for (int k = 0; k < files; free(file[k++])) {
            const char *name = file[k]->d_name;
            size_t length = strlen(name);
            if (length < 4 || strcmp(name + length - 3, ".ir") != 0)
                continue;
            Case test = {.folder = arena_text(arena, folder[i]->d_name, strlen(folder[i]->d_name)),
                         .name = arena_text(arena, name, length - 3),
                         .path = arena_printf(arena, "%s/%s", path, name)};
            cases++;
            failures += !run_case(&test, bless);
        }
        if (files >= 0)
            free(file);
    }
    if (folders >= 0)
        free(folder);
    arena_free(arena);
    if (!cases)
        printf("FAIL ir: no tests in %s\n", argv[1]);
    return failures || !cases;
}
