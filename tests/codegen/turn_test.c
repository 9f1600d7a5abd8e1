// turn_test: axes are reordered square by square (turn.c) where sizes allow it, alone and in parts,
// and in the ordinary way where they do not.

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "harness.h"

#define TURN(name, from, order, to)                                                                \
    "function @" name " {\n%0 = parameter : " from "\n%1 = transpose %0 permutation=" order        \
    " : " to "\nresult %1\n}\n"

static const char text[] = TURN("matrix", "f32[48, 32]", "[1, 0]", "f32[32, 48]")
    TURN("batch", "f32[3, 16, 64]", "[0, 2, 1]", "f32[3, 64, 16]")
        TURN("panels", "f32[32, 5, 16]", "[1, 0, 2]", "f32[5, 32, 16]")
            TURN("around", "i32[32, 3, 2, 16]", "[3, 2, 1, 0]", "i32[16, 2, 3, 32]")
                TURN("between", "f32[2, 32, 3, 16]", "[0, 3, 2, 1]", "f32[2, 16, 3, 32]")
                    TURN("ragged", "f32[40, 24]", "[1, 0]", "f32[24, 40]")
                        TURN("many", "f32[512, 640]", "[1, 0]", "f32[640, 512]");
enum { FUNCTIONS = 7 };

static const char *test_cpu;

TEST(reordered_axes)
{
    Cx *cx = cx_new();
    const char *why = "";
    IrModule *module = module_from_text(cx, "turn.ir", text, sizeof text - 1, &why);
    CHECK(module);
    Case cases[FUNCTIONS];
    for (int i = 0; i < FUNCTIONS; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%d", i));
    passes_run(cx, module, NULL, NULL, NULL);
    why = cases_load(cx, module, cases, FUNCTIONS, test_cpu);
    for (int i = 0; i < FUNCTIONS && !why; i++)
        why = case_check(cx, &cases[i], 1, 0);
    if (why)
        CHECK_FAIL("%s", why);
    cx_free(cx);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    RUN(reordered_axes);
    CHECK_SUMMARY();
}
