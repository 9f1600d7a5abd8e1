// subnormals_test: compiled code makes no subnormal numbers, on whatever thread it runs, takes
// those that it is given as they are, and leaves the caller's mode as it was.

#include <pthread.h>
#include <xmmintrin.h>

#include "check.h"
#include "harness.h"
#include "passes/pass.h"

enum { COUNT = 1 << 18, IEEE = 0x1f80 };
static const char *test_cpu;
static const char text[] =
    "function @f {\n%0 = parameter : f32[262144]\n%1 = parameter : f32[262144]\n"
    "%2 = mul %0, %1 : f32[262144]\nresult %2\n}\n";
static _Alignas(64) float a[COUNT], b[COUNT], product[COUNT];
static int calls;

typedef struct Part {
    aml_parallel_body *body;
    void *data;
    int64_t begin, end;
    bool mode_kept;
} Part;

// A thread with the mode that C has.
static void *run_part(void *argument)
{
    Part *part = argument;
    _mm_setcsr(IEEE);
    part->body(part->data, part->begin, part->end);
    part->mode_kept = (_mm_getcsr() & ~0x3fu) == IEEE; // without the flags of what happened
    return NULL;
}

static bool modes_kept;

static void elsewhere(void *pool, int64_t parts, aml_parallel_body *body, void *data)
{
    (void)pool;
    for (int64_t i = 0; i < parts; i++) {
        pthread_t thread;
        Part part = {body, data, i, i + 1, false};
        if (pthread_create(&thread, NULL, run_part, &part) == 0)
            pthread_join(thread, NULL);
        modes_kept &= part.mode_kept;
        calls++;
    }
}

static aml_entry *load(Cx *cx, Case *c)
{
    const char *why = "";
    IrModule *module = module_from_text(cx, "subnormals.ir", text, sizeof text - 1, &why);
    if (!module)
        return printf("%s\n", why), NULL;
    case_prepare(cx, c, module, module->function.at[0], "f");
    passes_run(cx, module, NULL, NULL, NULL);
    why = cases_load(cx, module, c, 1, test_cpu);
    return why ? printf("%s\n", why), NULL : c->run;
}

static void check_run(aml_entry *run, const Case *c, Cx *cx, aml_parallel_for *parallel)
{
    void *in[] = {a, b}, *out[] = {product};
    aml_call call = {.arena = arena_alloc(cx->arena, c->entry.arena_bytes + 64),
                     .input = in,
                     .output = out,
                     .parallel = parallel};
    _mm_setcsr(IEEE);
    run(&call);
    CHECK_INT(_mm_getcsr() & ~0x3fu, IEEE);
    for (int i = 0; i < COUNT; i++)
        CHECK_CLOSE(product[i],
                    i % 3 == 0   ? 0.0
                    : i % 3 == 1 ? 1e-30
                                 : 6.0,
                    i % 3 == 1 ? 1e-35 : 0);
}

static aml_entry *run;
static Case compiled;
static Cx *cx;

TEST(results_are_zero)
{
    check_run(run, &compiled, cx, NULL);
}

TEST(results_are_zero_on_other_threads)
{
    calls = 0;
    modes_kept = true;
    check_run(run, &compiled, cx, elsewhere);
    CHECK(calls > 1);
    CHECK(modes_kept);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    for (int i = 0; i < COUNT; i++) { // a subnormal result, a subnormal operand, none
        a[i] = i % 3 == 0 ? 1e-30f : i % 3 == 1 ? 1e-40f : 2;
        b[i] = i % 3 == 0 ? 1e-10f : i % 3 == 1 ? 1e10f : 3;
    }
    cx = cx_new();
    run = load(cx, &compiled);
    if (!run)
        return 1;
    RUN(results_are_zero);
    RUN(results_are_zero_on_other_threads);
    cx_free(cx);
    CHECK_SUMMARY();
}
