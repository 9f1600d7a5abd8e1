// streaming_test: results that no cache holds are stored past the caches where memory begins at a
// multiple of a register, and in the ordinary way where it does not: the same bits, the right ones.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "harness.h"

enum { ROWS = 8192, COLUMNS = 1024, BYTES = ROWS * COLUMNS * 4 }; // 32 MiB

#define SHAPE "f32[8192, 1024]"
static const char text[] =
    "function @map {\n%0 = parameter : " SHAPE "\n%1 = exp %0 : " SHAPE "\n%2 = add %1, %0 : " SHAPE
    "\nresult %2\n}\n"
    "function @softmax {\n%0 = parameter : " SHAPE
    "\n%1 = reduce %0 with=max axes=[1] : f32[8192]\n"
    "%2 = broadcast %1 axes=[0] : " SHAPE "\n%3 = sub %0, %2 : " SHAPE "\n%4 = exp %3 : " SHAPE
    "\n%5 = reduce %4 with=sum axes=[1] : f32[8192]\n%6 = broadcast %5 axes=[0] : " SHAPE
    "\n%7 = div %4, %6 : " SHAPE "\nresult %7\n}\n"
    "function @center {\n%0 = parameter : " SHAPE "\n%1 = reduce %0 with=sum axes=[1] : f32[8192]\n"
    "%2 = constant value=splat(0.0009765625) : f32[8192]\n%3 = mul %1, %2 : f32[8192]\n"
    "%4 = broadcast %3 axes=[0] : " SHAPE "\n%5 = sub %0, %4 : " SHAPE "\nresult %5\n}\n";
enum { MAP, SOFTMAX, CENTER, FUNCTIONS };
static const char *const names[] = {"map", "softmax", "center"};

static void expect_row(int function, const float *in, double *out)
{
    double most = -INFINITY, sum = 0, all = 0;
    for (int i = 0; i < COLUMNS; i++) {
        most = fmax(most, (double)in[i]);
        all += (double)in[i];
    }
    for (int i = 0; i < COLUMNS; i++)
        sum += exp((double)in[i] - most);
    for (int i = 0; i < COLUMNS; i++) {
        double x = (double)in[i];
        out[i] = function == MAP       ? exp(x) + x
                 : function == SOFTMAX ? exp(x - most) / sum
                                       : x - all / COLUMNS;
    }
}

static const char *test_cpu;

TEST(large_results)
{
    Cx *cx = cx_new();
    const char *why = "";
    IrModule *module = module_from_text(cx, "streaming.ir", text, sizeof text - 1, &why);
    CHECK(module);
    Case cases[FUNCTIONS];
    for (int i = 0; i < FUNCTIONS; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i], names[i]);
    passes_run(cx, module, NULL, NULL, NULL);
    why = cases_load(cx, module, cases, FUNCTIONS, test_cpu);
    if (why)
        CHECK_FAIL("%s", why);
    float *in = aligned_alloc(64, BYTES);
    char *out = aligned_alloc(64, BYTES), *apart = aligned_alloc(64, BYTES + 64);
    uint32_t random = 1;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        random = random * 1664525u + 1013904223u;
        in[i] = (float)(random >> 8) * 0x1p-21f - 4;
    }
    for (int i = 0; i < FUNCTIONS; i++) {
        void *inputs[] = {in}, *outputs[] = {out};
        char *arena = aligned_alloc(64, (cases[i].entry.arena_bytes / 64 + 1) * 64);
        aml_call call = {.arena = arena, .input = inputs, .output = outputs};
        memset(out, 0xff, BYTES);
        cases[i].run(&call);
        outputs[0] = apart + 4;
        cases[i].run(&call);
        free(arena);
        CHECK(memcmp(out, apart + 4, BYTES) == 0);
        for (int row = 0; row < ROWS; row += 61) {
            double expected[COLUMNS];
            const float *found = (const float *)(const void *)out + row * COLUMNS;
            expect_row(i, in + row * COLUMNS, expected);
            for (int k = 0; k < COLUMNS; k++)
                if (!(fabs((double)found[k] - expected[k]) <=
                      2e-6 * (fabs(expected[k]) + (i == SOFTMAX ? 1e-4 : 1))))
                    CHECK_FAIL("%s: row %d, column %d: %g, expected %g", names[i], row, k,
                               (double)found[k], expected[k]);
        }
    }
    free(in);
    free(out);
    free(apart);
    cx_free(cx);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    RUN(large_results);
    CHECK_SUMMARY();
}
