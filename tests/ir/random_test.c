// random_test: random programs, before and after all passes, compute the same; and their text form
// is faithful.
//
// Usage: random_test [COUNT [FIRST_SEED]]. A failing seed is printed with its program.

#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "support.h"

static bool try_seed(uint64_t seed)
{
    Cx *cx = cx_new();
    const char *messages;
    int size = 4 + (int)(seed % 40);
    IrModule *before = random_module(cx, seed, size), *after = random_module(cx, seed, size);
    const char *why = ir_verify(cx->arena, before);
    const char *text = module_text(cx, before);
    if (!why) {
        IrModule *again = module_from_text(cx, "random.ir", text, strlen(text), &messages);
        if (!again)
            why = arena_printf(cx->arena, "what was printed is refused: %s", messages);
        else if (strcmp(module_text(cx, again), text) != 0)
            why = "parsing what was printed gives something else";
        else
            why = functions_differ(cx, before->function.at[0], again->function.at[0], seed, 0);
    }
    if (!why) {
        passes_run(cx, after, NULL, NULL, NULL);
        why = functions_differ(cx, before->function.at[0], after->function.at[0], seed, 2e-5);
    }
    if (why)
        printf("FAIL random: seed %llu: %s\n%s-- after the passes:\n%s", (unsigned long long)seed,
               why, text, module_text(cx, after));
    cx_free(cx);
    return !why;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000,
             first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t good = 0, bad = 0;
    for (uint64_t seed = first; seed < first + count && bad < 5; seed++)
        if (try_seed(seed))
            good++;
        else
            bad++;
    if (!bad)
        printf("PASS random: %llu programs\n", (unsigned long long)good);
    return bad != 0;
}
