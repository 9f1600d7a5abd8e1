// step_bench: the time of one call of a compiled function. Never a pass/fail test.
//
// Usage: step_bench FILE.ir FUNCTION [CALLS [CPU]]. The file is IR text (amlc build --emit=ir:dce).

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

// Of this thread: what else runs on the machine does not count.
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *filled(Cx *cx, size_t bytes)
{
    char *at = arena_alloc(cx->arena, bytes + 64);
    return at + (64 - (uintptr_t)at % 64) % 64;
}

int main(int argc, char **argv)
{
    Cx *cx = cx_new();
    char *text;
    size_t length;
    const char *messages;
    if (argc < 3 || !file_read(cx->arena, argv[1], 1 << 26, &text, &length)) {
        fprintf(stderr, "usage: step_bench FILE.ir FUNCTION [CALLS [CPU]]\n");
        return 2;
    }
    int calls = argc > 3 ? atoi(argv[3]) : 1000;
    IrModule *module = module_from_text(cx, argv[1], text, length, &messages);
    IrFunction *fn = module ? ir_function_find(module, sym_of(cx, argv[2])) : NULL;
    if (!fn) {
        fprintf(stderr, "%s\n", module ? "there is no such function" : messages);
        return 1;
    }
    Case c;
    case_prepare(cx, &c, module, fn, "measured");
    passes_run(cx, module, NULL, NULL, NULL);
    double begin = now();
    const char *why = cases_load(cx, module, &c, 1, argc > 4 ? argv[4] : "native");
    if (why) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    printf("compiled and linked in %.0f ms, arena %zu bytes\n", (now() - begin) * 1e3,
           c.entry.arena_bytes);
    void *input[64], *output[64];
    aml_value scalar[64] = {{0}};
    size_t most = 1 << 20;
    for (int i = 0; i < c.reference->param.count; i++) {
        size_t bytes = (size_t)type_bytes(c.reference->param.at[i]->type);
        most = bytes > most ? bytes : most;
    }
    for (int i = 0; i < c.reference->result.count; i++) {
        size_t bytes = (size_t)type_bytes(c.reference->result.at[i].value->type);
        most = bytes > most ? bytes : most;
    }
    int slots = c.reference->param.count + c.reference->result.count;
    for (int i = 0; i < 64; i++) {
        input[i] = i < slots ? filled(cx, most) : NULL;
        output[i] = i < slots ? filled(cx, most) : NULL;
        scalar[i].whole = 1;
    }
    aml_call call = {.state = filled(cx, c.state_bytes),
                     .arena = filled(cx, c.entry.arena_bytes),
                     .input = input,
                     .output = output,
                     .scalar = scalar};
    double best = 1e9;
    for (int round = 0; round < calls; round++) { // the best one was not interrupted
        int times = best > 1e-4 ? 1 : 10;
        begin = now();
        for (int i = 0; i < times; i++)
            c.run(&call);
        double each = (now() - begin) / times;
        best = each < best ? each : best;
    }
    printf("%.2f us a call, %.1f GFLOP/s\n", best * 1e6, c.entry.flops / best * 1e-9);
    cx_free(cx);
    return 0;
}
