// attend_test: attention and its gradients of sizes that fill blocks and vectors exactly, almost
// and not at all, with masks, shared keys and operands of 16 bits, and where they are pieces of
// larger rows, compiled for each processor level, against the reference; parts in other orders must
// give the same bits.

#include <string.h>

#include "check.h"
#include "harness.h"
#include "passes/fuse.h"

typedef struct Shape {
    int images, queries, heads, size, keys, groups, width, causal;
    int mask; // its rank, 0: none
} Shape;

static const Shape shapes[] = {
    {1, 32, 1, 16, 128, 1, 16, 0, 0}, {3, 33, 4, 20, 129, 2, 12, 1, 0},
    {1, 31, 2, 64, 31, 1, 64, 1, 0},  {2, 70, 6, 48, 300, 3, 40, 0, 2},
    {9, 64, 4, 32, 64, 4, 32, 1, 0},  {2, 17, 2, 5, 140, 2, 3, 1, 3},
    {1, 40, 3, 33, 260, 1, 7, 1, 4},  {1, 1, 1, 1, 1, 1, 1, 0, 0},
};

static void put_mask(Buffer *out, const Shape *s, int number)
{
    int size[] = {s->images, s->heads, s->queries, s->keys};
    if (s->mask == 3)
        size[1] = s->images;
    buffer_printf(out, "%%%d = parameter : bool[", number);
    for (int i = 4 - s->mask; i < 4; i++)
        buffer_printf(out, "%s%d", i > 4 - s->mask ? ", " : "", size[i]);
    buffer_text(out, "]\n");
}

static void put_attend(Buffer *out, const Shape *s, bool back, int number, const int in[],
                       int inputs, const char *const result[], int results)
{
    buffer_printf(out, "%%%d = attend%s", number, back ? "_back" : "");
    for (int i = 0; i < inputs; i++)
        buffer_printf(out, "%s%%%d", i ? ", " : " ", in[i]);
    buffer_printf(out, " factor=%g causal=%d : ", 0.7 / (4 + s->size), s->causal);
    for (int i = 0; i < results; i++)
        buffer_printf(out, "%s%s", i ? ", " : "", result[i]);
    for (int i = 0; i < results; i++)
        buffer_printf(out, "\n%%%d = get %%%d index=%d : %s", number + 1 + i, number, i, result[i]);
    buffer_text(out, "\n");
}

// Backward gets the sums of forward.
static void put_function(Buffer *out, const Shape *s, bool back, bool mixed)
{
    buffer_printf(out, "function @f%s {\n", mixed ? " mixed" : "");
    const char *q =
        arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->queries, s->heads, s->size);
    const char *k =
        arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->keys, s->groups, s->size);
    const char *v =
        arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->keys, s->groups, s->width);
    const char *y =
        arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->queries, s->heads, s->width);
    const char *sums = arena_printf(out->arena, "f32[%d, %d, %d]", s->images, s->heads, s->queries);
    const char *parameter[] = {q, k, v, sums, y}, *forward[] = {y, sums}, *backward[] = {q, k, v};
    int next = back ? 5 : 3, results = back ? 3 : 2;
    for (int i = 0; i < next; i++)
        buffer_printf(out, "%%%d = parameter : %s\n", i, parameter[i]);
    int mask = next;
    if (s->mask)
        put_mask(out, s, next++);
    put_attend(out, s, false, next, (int[]){0, 1, 2, mask}, 3 + (s->mask > 0), forward, 2);
    if (back) {
        int own = next + 2; // of forward
        next += 3;
        put_attend(out, s, true, next, (int[]){0, 1, 2, own, 3, 4, mask}, 6 + (s->mask > 0),
                   backward, 3);
    }
    for (int i = 0; i < results; i++)
        buffer_printf(out, "result %%%d\n", next + 1 + i);
    buffer_text(out, "}\n");
}

// Queries, keys and values are pieces of the rows of one parameter, with something between them
// that nobody reads, and so are their gradients of the result.
static void put_pieces(Buffer *out, const Shape *s, bool back, bool mixed)
{
    enum { BETWEEN = 3 };
    int width[] = {s->heads * s->size, s->groups * s->size, s->groups * s->width}, first[3],
        row = 0;
    for (int i = 0; i < 3; i++) {
        first[i] = row;
        row += width[i] + BETWEEN;
    }
    int heads[] = {s->heads, s->groups, s->groups}, size[] = {s->size, s->size, s->width};
    buffer_printf(out, "function @f%s {\n%%0 = parameter : f32[%d, %d, %d]\n",
                  mixed ? " mixed" : "", s->images, s->queries, row);
    const char *type[3];
    const char *y =
        arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->queries, s->heads, s->width);
    const char *sums = arena_printf(out->arena, "f32[%d, %d, %d]", s->images, s->heads, s->queries);
    int next = 1;
    if (back)
        buffer_printf(out, "%%1 = parameter : %s\n%%2 = parameter : %s\n", sums, y), next = 3;
    int in[6], mask = next;
    if (s->mask)
        put_mask(out, s, next++);
    for (int i = 0; i < 3; i++, next += 2) {
        type[i] = arena_printf(out->arena, "f32[%d, %d, %d, %d]", s->images, s->queries, heads[i],
                               size[i]);
        buffer_printf(out,
                      "%%%d = slice %%0 start=[0, 0, %d] stop=[%d, %d, %d] step=[1, 1, 1] : "
                      "f32[%d, %d, %d]\n%%%d = reshape %%%d : %s\n",
                      next, first[i], s->images, s->queries, first[i] + width[i], s->images,
                      s->queries, width[i], next + 1, next, type[i]);
        in[i] = next + 1;
    }
    const char *forward[] = {y, sums};
    in[3] = mask;
    put_attend(out, s, false, next, in, 3 + (s->mask > 0), forward, 2);
    if (!back) {
        buffer_printf(out, "result %%%d\nresult %%%d\n}\n", next + 1, next + 2);
        return;
    }
    put_attend(out, s, true, next + 3, (int[]){in[0], in[1], in[2], next + 2, 1, 2, mask},
               6 + (s->mask > 0), type, 3);
    next += 4;
    for (int i = 0; i < 3; i++)
        buffer_printf(out, "%%%d = reshape %%%d : f32[%d, %d, %d]\n", next + 3 + i, next + i,
                      s->images, s->queries, width[i]);
    buffer_printf(out, "%%%d = concat %%%d, %%%d, %%%d axis=2 : f32[%d, %d, %d]\nresult %%%d\n}\n",
                  next + 6, next + 5, next + 3, next + 4, s->images, s->queries,
                  width[0] + width[1] + width[2], next + 6);
}

// The three slices, and the concat of gradients, are memory of the whole.
static const char *not_in_place(const IrFunction *fn, bool back)
{
    int slices = 0, joined = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        slices += inst->op == OP_slice && inst_is_alias(inst);
        joined += inst->op == OP_concat && inst_is_alias(inst);
    }
    return slices != 3 ? "pieces are copied" : joined != (int)back ? "gradients are copied" : NULL;
}

// What differs from sums in f64, of values of the order of one. With bf16 pairs weights and their
// slopes are rounded to 8 bits where they are multiplied.
static double tolerance_of(const char *cpu, bool mixed)
{
    return mixed && strcmp(cpu, "native") == 0 ? 0x1p-7 : 2e-5;
}

static void check_one(const char *cpu, const Shape *s, bool back, bool mixed, bool pieces)
{
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *messages = "";
    if (pieces)
        put_pieces(&text, s, back, mixed);
    else
        put_function(&text, s, back, mixed);
    IrModule *module = module_from_text(cx, "attend.ir", text.text, text.length, &messages);
    Case c;
    const char *why = module ? NULL : messages;
    if (!why) {
        case_prepare(cx, &c, module, module->function.at[0], "f0");
        passes_run(cx, module, "fuse", NULL, NULL);
        why = pieces && !mixed ? not_in_place(module->function.at[0], back) : NULL;
        if (!why)
            why = cases_load(cx, module, &c, 1, cpu);
    }
    if (!why)
        why = case_check(cx, &c, 5, tolerance_of(cpu, mixed));
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s %s%s%s %d queries, %d keys, size %d: %s", cpu, back ? "back" : "forward",
                   mixed ? " mixed" : "", pieces ? " of pieces" : "", s->queries, s->keys, s->size,
                   shown);
}

static const char *test_cpu;

static void check_all(bool back, bool mixed)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        check_one(test_cpu, &shapes[i], back, mixed, false);
}

TEST(forward)
{
    check_all(false, false);
}
TEST(backward)
{
    check_all(true, false);
}
// Operands rounded to bf16, and read as they are stored.
TEST(mixed)
{
    check_all(false, true);
    check_all(true, true);
}

TEST(pieces)
{
    static const Shape shape[] = {{3, 33, 4, 20, 33, 2, 12, 1, 0},
                                  {2, 130, 2, 32, 130, 2, 32, 0, 2},
                                  {1, 40, 3, 5, 40, 1, 7, 1, 0}};
    for (size_t i = 0; i < COUNT_OF(shape); i++)
        for (int way = 0; way < 4; way++)
            check_one(test_cpu, &shape[i], way & 1, way & 2, true);
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    RUN(forward);
    RUN(backward);
    RUN(mixed);
    RUN(pieces);
    CHECK_SUMMARY();
}
