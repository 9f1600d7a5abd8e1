// plan_test: what the plan allocates, what is computed in place, what is divided among threads, and
// that the same input gives the same object.

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "diag/diag.h"
#include "harness.h"

typedef struct Loaded {
    Cx *cx;
    IrModule *module;
    IrFunction *fn;
} Loaded;

static Loaded load(const char *text)
{
    Loaded loaded = {.cx = cx_new()};
    const char *messages = "";
    loaded.module = module_from_text(loaded.cx, "plan.ir", text, strlen(text), &messages);
    if (!loaded.module)
        printf("%s\n", messages);
    else
        loaded.fn = loaded.module->function.at[0];
    return loaded;
}

static Plan plan_of(Loaded *loaded, bool fuse)
{
    if (fuse)
        passes_run(loaded->cx, loaded->module, NULL, NULL, NULL);
    return plan_function(loaded->cx, loaded->fn);
}

static ObjectCode emit(Loaded *loaded, const char *emit_text)
{
    Case c;
    ObjectCode object = {0};
    case_prepare(loaded->cx, &c, loaded->module, loaded->fn, "function");
    passes_run(loaded->cx, loaded->module, NULL, NULL, NULL);
    EmitEntry entry = {&c.entry, c.state_offset};
    Target target = {.cpu = "x86-64-v3", .position_independent = true};
    if (!codegen_emit(loaded->cx, loaded->module, &entry, 1, target, emit_text, &object))
        object.files = 0;
    return object;
}

static int occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

#define DOT(to, a, b)                                                                              \
    "%" #to " = dot %" #a ", %" #b                                                                 \
    " contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : f32[32, 32]\n"

TEST(a_chain_needs_two_buffers)
{
    Loaded loaded = load("function @f {\n%0 = parameter : f32[32, 32] input(0)\n" DOT(1, 0, 0) DOT(
        2, 1, 0) DOT(3, 2, 0) DOT(4, 3, 0) DOT(5, 4, 0) "result %5 output(0)\n}\n");
    CHECK(loaded.module);
    Plan plan = plan_of(&loaded, true);
    CHECK_INT(plan.arena_bytes, 2 * 32 * 32 * 4);
    CHECK_INT(plan.live_peak, 2 * 32 * 32 * 4);
    CHECK(plan.peak_at != NULL);
    cx_free(loaded.cx);
}

static const char optimizer[] =
    "function @f {\n%0 = parameter : f32[100] input(0)\n%1 = parameter : f32[100] state(0)\n%2 = "
    "parameter : f32[100] state(1)\n"
    "%3 = add %2, %0 : f32[100]\n%4 = mul %3, %0 : f32[100]\n%5 = sub %1, %4 : f32[100]\n"
    "result %5 state(0)\nresult %3 state(1)\n}\n";

TEST(an_update_needs_no_memory)
{
    Loaded loaded = load(optimizer);
    CHECK(loaded.module);
    CHECK_INT(plan_of(&loaded, true).arena_bytes, 0);
    cx_free(loaded.cx);
}

TEST(a_state_read_later_is_not_overwritten)
{
    Loaded loaded = load("function @f {\n%0 = parameter : f32[100] state(0)\n%1 = neg %0 : "
                         "f32[100]\n%2 = reduce %1 with=sum axes=[0] : f32[]\n"
                         "%3 = broadcast %2 axes=[] : f32[100]\n%4 = mul %0, %3 : f32[100]\nresult "
                         "%1 state(0)\nresult %4 output(0)\n}\n");
    CHECK(loaded.module);
    CHECK(plan_of(&loaded, true).arena_bytes >= 400);
    cx_free(loaded.cx);
}

TEST(a_dying_input_is_taken_over)
{
    Loaded loaded = load("function @f {\n%0 = parameter : f32[32, 32] input(0)\n" DOT(
        1, 0, 0) "%2 = reduce %1 with=sum axes=[0] : f32[32]\n"
                 "%3 = broadcast %2 axes=[1] : f32[32, 32]\n%4 = mul %1, %3 : f32[32, 32]\n" DOT(
                     5, 4, 0) "result %5 output(0)\n}\n");
    CHECK(loaded.module);
    fflush(stdout);
    Plan plan = plan_of(&loaded, true);
    CHECK(plan.arena_bytes <= 2 * 32 * 32 * 4 + 128);
    cx_free(loaded.cx);
}

TEST(rows_are_added_where_a_table_dies)
{
    Loaded loaded = load(
        "function @f {\n%0 = parameter : f32[32, 32] input(0)\n"
        "%1 = parameter : i32[4] input(1)\n%2 = parameter : f32[4, 32] input(2)\n" DOT(
            3, 0, 0) "%4 = scatter_add %3, %1, %2 axis=0 : f32[32, 32]\n" DOT(5, 4,
                                                                              0) "result %5 "
                                                                                 "output(0)\n}\n");
    CHECK(loaded.module);
    CHECK_INT(plan_of(&loaded, true).arena_bytes, 32 * 32 * 4);
    cx_free(loaded.cx);
}

TEST(the_same_input_gives_the_same_bytes)
{
    Loaded a = load(optimizer), b = load(optimizer);
    CHECK(a.module && b.module);
    ObjectCode first = emit(&a, NULL), second = emit(&b, NULL);
    CHECK(first.files > 0);
    CHECK_INT(first.files, second.files);
    for (int i = 0; i < first.files && i < second.files; i++) {
        CHECK_INT(first.file[i].length, second.file[i].length);
        CHECK(memcmp(first.file[i].at, second.file[i].at, first.file[i].length) == 0);
    }
    CHECK_TEXT(first.cpu_level, "x86-64-v3");
    CHECK(strstr(first.cpu_features, "avx2") && strstr(first.cpu_features, "fma"));
    cx_free(a.cx);
    cx_free(b.cx);
}

TEST(equal_kernels_are_emitted_once)
{
    Loaded loaded =
        load("function @f {\n%0 = parameter : f32[32, 32] input(0)\n%1 = parameter : f32[32, 32] "
             "input(1)\n" DOT(2, 0, 1) DOT(3, 2, 1) DOT(4, 3, 1) "result %4 output(0)\n}\n");
    CHECK(loaded.module);
    ObjectCode text = emit(&loaded, "asm");
    CHECK_INT(occurrences(text.file[0].at, "\naml_kernel_"), 1);
    CHECK_INT(occurrences(text.file[0].at, "callq\taml_kernel_"), 3);
    cx_free(loaded.cx);
}

static int parts_in(const char *text)
{
    Loaded loaded = load(text);
    if (!loaded.module)
        return -1;
    ObjectCode object = emit(&loaded, "asm");
    int count = occurrences(object.file[0].at, "_part:");
    cx_free(loaded.cx);
    return count;
}

TEST(only_large_work_is_divided)
{
    CHECK_INT(
        parts_in(
            "function @f {\n%0 = parameter : f32[1000]\n%1 = exp %0 : f32[1000]\nresult %1\n}\n"),
        0);
    CHECK_INT(parts_in("function @f {\n%0 = parameter : f32[100000]\n%1 = exp %0 : "
                       "f32[100000]\nresult %1\n}\n"),
              1);
    CHECK_INT(parts_in("function @f {\n%0 = parameter : f32[400, 400]\n%1 = dot %0, %0 "
                       "contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : f32[400, 400]\n"
                       "result %1\n}\n"),
              1);
    CHECK_INT(parts_in("function @f {\n%0 = parameter : f32[1000, 1000]\n%1 = reduce %0 with=sum "
                       "axes=[0] : f32[1000]\nresult %1\n}\n"),
              1);
    CHECK_INT(parts_in("function @f {\n%0 = parameter : f32[1000, 1000]\n%1 = reduce %0 with=sum "
                       "axes=[0, 1] : f32[]\nresult %1\n}\n"),
              1);
}

TEST(an_unknown_processor_is_refused)
{
    Loaded loaded = load(optimizer);
    CHECK(loaded.module);
    ObjectCode object;
    EmitEntry none = {0};
    Target target = {.cpu = "z80"};
    CHECK(!codegen_emit(loaded.cx, loaded.module, &none, 0, target, NULL, &object));
    CHECK_INT(diag_errors(loaded.cx), 1);
    cx_free(loaded.cx);
}

int main(void)
{
    RUN(a_chain_needs_two_buffers);
    RUN(an_update_needs_no_memory);
    RUN(a_state_read_later_is_not_overwritten);
    RUN(a_dying_input_is_taken_over);
    RUN(rows_are_added_where_a_table_dies);
    RUN(the_same_input_gives_the_same_bytes);
    RUN(equal_kernels_are_emitted_once);
    RUN(an_unknown_processor_is_refused);
    RUN(only_large_work_is_divided);
    CHECK_SUMMARY();
}
