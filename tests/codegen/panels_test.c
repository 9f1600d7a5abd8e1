// panels_test: a training step of two layers whose activations are stored in panels (passes/pack.c)
// where they are made, by nests and by products, and read as either operand of products, element by
// element and by sums; the same bits in any order of the parts, and the reference's numbers.

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "harness.h"
#include "passes/fuse.h"

typedef struct Shape {
    const char *rows; // axes of the rows
    int axes, width, hidden;
} Shape;

static const Shape shapes[] = {
    {"256", 1, 192, 640},
    {"2, 10, 35", 3, 64, 704},
    {"300", 1, 200, 576}, // the width is no multiple of a panel's
};
static const char *test_cpu;

// In programs R are the rows' axes, D the width, H the hidden width, L the last axis
// and A the axes in front of it.
static const char layers[] =
    "%0 = parameter : f32[R, D]\n%1 = parameter : f32[D, H]\n%2 = parameter : f32[H]\n"
    "%3 = parameter : f32[H, D]\n%4 = parameter : f32[R, D]\n"
    "%5 = reduce %0 with=sum axes=[L] : f32[R]\n%6 = constant value=splat(0.01) : f32[R]\n"
    "%7 = mul %5, %6 : f32[R]\n%8 = broadcast %7 axes=[A] : f32[R, D]\n"
    "%9 = sub %0, %8 : f32[R, D]\n"
    "%10 = dot %9, %1 contract_a=[L] contract_b=[0] batch_a=[] batch_b=[] : f32[R, H]\n"
    "%11 = constant value=splat(0.05) : f32[R, H]\n%12 = mul %10, %11 : f32[R, H]\n"
    "%13 = broadcast %2 axes=[L] : f32[R, H]\n%14 = add %12, %13 : f32[R, H]\n"
    "%15 = tanh %14 : f32[R, H]\n"
    "%16 = dot %15, %3 contract_a=[L] contract_b=[0] batch_a=[] batch_b=[] : f32[R, D]\n"
    "%17 = constant value=splat(0.03) : f32[R, D]\n%18 = mul %16, %17 : f32[R, D]\n"
    "%19 = sub %18, %4 : f32[R, D]\n"
    "%20 = dot %15, %19 contract_a=[A] contract_b=[A] batch_a=[] batch_b=[] : f32[H, D]\n"
    "%21 = dot %19, %3 contract_a=[L] contract_b=[1] batch_a=[] batch_b=[] : f32[R, H]\n"
    "%22 = mul %15, %15 : f32[R, H]\n%23 = constant value=splat(1) : f32[R, H]\n"
    "%24 = sub %23, %22 : f32[R, H]\n%25 = mul %21, %24 : f32[R, H]\n"
    "%26 = reduce %25 with=sum axes=[A] : f32[H]\n"
    "%27 = dot %9, %25 contract_a=[A] contract_b=[A] batch_a=[] batch_b=[] : f32[D, H]\n"
    "%28 = dot %25, %1 contract_a=[L] contract_b=[1] batch_a=[] batch_b=[] : f32[R, D]\n"
    "%29 = mul %19, %19 : f32[R, D]\n%30 = reduce %29 with=sum axes=[L] : f32[R]\n"
    "%31 = mul %1, %27 : f32[D, H]\n"
    "result %20\nresult %26\nresult %31\nresult %28\nresult %30\n}\n";

// Two loops, of which the first one stacks what the second one's gradients are made of.
static const char loops[] =
    "%0 = parameter : f32[R, D]\n%1 = parameter : f32[2, D, H]\n%2 = parameter : f32[2, H, D]\n"
    "%3 = parameter : f32[R, D]\n"
    "%4 = loop %0, %1, %2 count=2 carried=1 sliced=2 body={\n"
    "%5 = parameter : i64[]\n%6 = parameter : f32[R, D]\n%7 = parameter : f32[D, H]\n"
    "%8 = parameter : f32[H, D]\n"
    "%9 = dot %6, %7 contract_a=[L] contract_b=[0] batch_a=[] batch_b=[] : f32[R, H]\n"
    "%10 = constant value=splat(0.05) : f32[R, H]\n%11 = mul %9, %10 : f32[R, H]\n"
    "%12 = tanh %11 : f32[R, H]\n"
    "%13 = dot %12, %8 contract_a=[L] contract_b=[0] batch_a=[] batch_b=[] : f32[R, D]\n"
    "%14 = constant value=splat(0.03) : f32[R, D]\n%15 = mul %13, %14 : f32[R, D]\n"
    "%16 = add %15, %6 : f32[R, D]\nresult %16\nresult %12\nresult %6\n"
    "} : f32[R, D], f32[2, R, H], f32[2, R, D]\n"
    "%17 = get %4 index=0 : f32[R, D]\n%18 = get %4 index=1 : f32[2, R, H]\n"
    "%19 = get %4 index=2 : f32[2, R, D]\n%20 = sub %17, %3 : f32[R, D]\n"
    "%21 = loop %20, %1, %2, %18, %19 count=2 carried=1 sliced=4 body={\n"
    "%22 = parameter : i64[]\n%23 = parameter : f32[R, D]\n%24 = parameter : f32[D, H]\n"
    "%25 = parameter : f32[H, D]\n%26 = parameter : f32[R, H]\n%27 = parameter : f32[R, D]\n"
    "%28 = dot %26, %23 contract_a=[A] contract_b=[A] batch_a=[] batch_b=[] : f32[H, D]\n"
    "%29 = dot %23, %25 contract_a=[L] contract_b=[1] batch_a=[] batch_b=[] : f32[R, H]\n"
    "%30 = mul %26, %26 : f32[R, H]\n%31 = constant value=splat(1) : f32[R, H]\n"
    "%32 = sub %31, %30 : f32[R, H]\n%33 = mul %29, %32 : f32[R, H]\n"
    "%34 = dot %27, %33 contract_a=[A] contract_b=[A] batch_a=[] batch_b=[] : f32[D, H]\n"
    "%35 = dot %33, %24 contract_a=[L] contract_b=[1] batch_a=[] batch_b=[] : f32[R, D]\n"
    "%36 = constant value=splat(0.002) : f32[R, D]\n%37 = mul %35, %36 : f32[R, D]\n"
    "%38 = add %37, %23 : f32[R, D]\nresult %38\nresult %28\nresult %34\n"
    "} reverse=1 : f32[R, D], f32[2, H, D], f32[2, D, H]\n"
    "%39 = get %21 index=0 : f32[R, D]\n%40 = get %21 index=1 : f32[2, H, D]\n"
    "%41 = get %21 index=2 : f32[2, D, H]\nresult %39\nresult %40\nresult %41\n}\n";

static int put(char *out, size_t room, int number, const char *program, const Shape *s)
{
    int used = snprintf(out, room, "function @f%d {\n", number);
    char axes[32] = "", *end = axes;
    for (int i = 0; i < s->axes; i++)
        end += snprintf(end, 8, "%s%d", i ? ", " : "", i);
    for (const char *at = program; *at; at++) {
        char *to = out + used;
        size_t left = room - (size_t)used;
        used += *at == 'R'   ? snprintf(to, left, "%s", s->rows)
                : *at == 'D' ? snprintf(to, left, "%d", s->width)
                : *at == 'H' ? snprintf(to, left, "%d", s->hidden)
                : *at == 'L' ? snprintf(to, left, "%d", s->axes)
                : *at == 'A' ? snprintf(to, left, "%s", axes)
                             : snprintf(to, left, "%c", *at);
    }
    return used;
}

static int in_panels(IrFunction *fn)
{
    int found = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->op == OP_loop)
            found += in_panels(inst->attr[3].function);
        const IrFunction *body = inst->op == OP_fused ? inst->attr[0].function : NULL;
        for (int i = 0; body && i < body->result.count; i++)
            found += inst_in_panels(body->result.at[i].value) != NULL;
    }
    return found;
}

static void check_all(const char *program, int count, const int packed[])
{
    enum { COUNT = COUNT_OF(shapes), ROOM = 1 << 15 };
    static char text[ROOM];
    int used = 0;
    for (int i = 0; i < count; i++)
        used += put(text + used, ROOM - (size_t)used, i, program, &shapes[i]);
    Cx *cx = cx_new();
    const char *why = "";
    IrModule *module = module_from_text(cx, "panels.ir", text, (size_t)used, &why);
    if (!module)
        CHECK_FAIL("%s", why);
    static const char *const names[] = {"f0", "f1", "f2"};
    Case cases[COUNT];
    for (int i = 0; i < count; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i], names[i]);
    passes_run(cx, module, NULL, NULL, NULL);
    why = cases_load(cx, module, cases, count, test_cpu);
    if (why)
        CHECK_FAIL("%s", why);
    for (int i = 0; i < count; i++)
        CHECK_INT(in_panels(cases[i].fn), packed[i]);
    for (int i = 0; i < count; i++) {
        why = case_check(cx, &cases[i], (uint64_t)i + 1, 5e-3);
        if (why)
            CHECK_FAIL("%s: %s", names[i], why);
    }
    cx_free(cx);
}

TEST(a_step_of_two_layers)
{
    check_all(layers, 3, (int[]){4, 4, 1});
}

// Of the stacked values one is made in the loop, the other is carried.
TEST(what_a_loop_stacks)
{
    check_all(loops, 2, (int[]){1, 1});
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    if (!level_can_run(test_cpu))
        return 77;
    RUN(a_step_of_two_layers);
    RUN(what_a_loop_stacks);
    CHECK_SUMMARY();
}
