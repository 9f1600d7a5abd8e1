// rows_test: the gradient of a norm is one nest of rows with sums down their columns, written over
// what it adds to; of any shape, the same bits in any order of the parts, and the reference's
// numbers.

#include <stdio.h>

#include "check.h"
#include "harness.h"
#include "passes/fuse.h"

typedef struct Shape {
    int rank;
    int dim[4];
} Shape;

static const Shape shapes[] = {{3, {4, 64, 128}}, {3, {2, 16, 8}},    {3, {3, 17, 33}},
                               {3, {5, 40, 2}},   {4, {2, 3, 8, 20}}, {3, {64, 20, 96}},
                               {3, {2, 8, 24}},   {2, {40, 24}}};
static const char *test_cpu;

static const char *dims(const Shape *s, int from, int to, const char *last)
{
    static char text[8][64];
    static int turn;
    char *at = text[turn = (turn + 1) % 8];
    int used = 0;
    for (int i = from; i < to; i++)
        used += snprintf(at + used, 64 - (size_t)used, "%s%d", used ? ", " : "", s->dim[i]);
    snprintf(at + used, 64 - (size_t)used, "%s", last);
    return at;
}

static int put(char *out, size_t room, int number, const Shape *s, const char *type)
{
    char space[80], kept[80], units[80], row[80], axes[32] = "", from[32] = "";
    int last = s->rank - 1, columns = s->dim[last];
    snprintf(space, sizeof space, "%s[%s]", type, dims(s, 0, s->rank, ""));
    snprintf(kept, sizeof kept, "%s[%s]", type, dims(s, 0, last, ""));
    snprintf(units, sizeof units, "%s[%s]", type, dims(s, 0, last, ", 1"));
    snprintf(row, sizeof row, "%s[%d]", type, columns);
    for (int i = 0, used = 0; i < last; i++)
        used += snprintf(axes + used, sizeof axes - (size_t)used, "%s%d", i ? ", " : "", i);
    snprintf(from, sizeof from, "[%d]", last);
    return snprintf(
        out, room,
        "function @f%d {\n%%0 = parameter : %s\n%%1 = parameter : %s\n%%2 = parameter : %s\n"
        "%%3 = parameter : %s[%d, %d]\n"
        "%%4 = dot %%1, %%3 contract_a=%s contract_b=[0] batch_a=[] batch_b=[] : %s\n"
        "%%5 = reduce %%0 with=sum axes=%s : %s\n%%6 = reshape %%5 : %s\n"
        "%%7 = constant value=splat(%d) : %s\n%%8 = div %%6, %%7 : %s\n"
        "%%9 = reshape %%8 : %s\n%%10 = broadcast %%9 axes=[%s] : %s\n%%11 = sub %%0, %%10 : %s\n"
        "%%12 = mul %%11, %%11 : %s\n%%13 = reduce %%12 with=sum axes=%s : %s\n"
        "%%14 = reshape %%13 : %s\n%%15 = constant value=splat(0.5) : %s\n"
        "%%16 = add %%14, %%15 : %s\n%%17 = sqrt %%16 : %s\n%%18 = reshape %%17 : %s\n"
        "%%19 = broadcast %%18 axes=[%s] : %s\n%%20 = div %%11, %%19 : %s\n"
        "%%21 = broadcast %%2 axes=%s : %s\n%%22 = mul %%1, %%21 : %s\n"
        "%%23 = mul %%22, %%20 : %s\n%%24 = reduce %%23 with=sum axes=%s : %s\n"
        "%%25 = broadcast %%24 axes=[%s] : %s\n%%26 = mul %%20, %%25 : %s\n"
        "%%27 = sub %%22, %%26 : %s\n%%28 = add %%4, %%27 : %s\n"
        "%%29 = mul %%1, %%20 : %s\n%%30 = reduce %%29 with=sum axes=[%s] : %s\n"
        "%%31 = reduce %%1 with=sum axes=[%s] : %s\n%%32 = reduce %%4 with=sum axes=[%s] : %s\n"
        "result %%28\nresult %%30\nresult %%31\nresult %%32\n}\n",
        number, space, space, row, type, columns, columns, from, space, from, kept, units, columns,
        units, units, kept, axes, space, space, space, from, kept, units, units, units, units, kept,
        axes, space, space, from, space, space, space, from, kept, axes, space, space, space, space,
        space, axes, row, axes, row, axes, row);
}

static int sums_down(IrFunction *fn)
{
    int found = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst->op != OP_fused)
            continue;
        IrFunction *body = inst->attr[0].function;
        BodyShape shape = body_analyse(body);
        for (int i = 0; i < body->result.count; i++)
            found += body_sums_down(&shape, body->result.at[i].value);
    }
    return found;
}

static void check_type(const char *type, double tolerance)
{
    enum { COUNT = COUNT_OF(shapes), ROOM = 1 << 16 };
    static char text[ROOM];
    int used = 0;
    for (int i = 0; i < (int)COUNT; i++)
        used += put(text + used, ROOM - (size_t)used, i, &shapes[i], type);
    Cx *cx = cx_new();
    const char *why = "";
    IrModule *module = module_from_text(cx, "rows.ir", text, (size_t)used, &why);
    if (!module)
        CHECK_FAIL("%s", why);
    static const char *const names[] = {"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"};
    Case cases[COUNT];
    for (int i = 0; i < (int)COUNT; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i], names[i]);
    passes_run(cx, module, NULL, NULL, NULL);
    why = cases_load(cx, module, cases, COUNT, test_cpu);
    if (why)
        CHECK_FAIL("%s", why);
    for (int i = 0; i < (int)COUNT; i++) {
        int middle = 1; // rows between the first axis and the last
        for (int k = 1; k < shapes[i].rank - 1; k++)
            middle *= shapes[i].dim[k];
        CHECK_INT(sums_down(cases[i].fn), middle >= 16 ? 3 : 0);
    }
    for (int i = 0; i < (int)COUNT; i++) {
        why = case_check(cx, &cases[i], (uint64_t)i + 1, tolerance);
        if (why)
            CHECK_FAIL("%s %s: %s", type, names[i], why);
    }
    cx_free(cx);
}

TEST(gradients_of_norms_f32)
{
    check_type("f32", 2e-4);
}

TEST(gradients_of_norms_f64)
{
    check_type("f64", 1e-11);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    if (!level_can_run(test_cpu))
        return 77;
    RUN(gradients_of_norms_f32);
    RUN(gradients_of_norms_f64);
    CHECK_SUMMARY();
}
