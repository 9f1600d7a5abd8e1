// The function of one more token against the function of a whole context, with random weights, at
// every position; and models that look ahead, for which there must be none.

#include "check.h"

#include "elab/decode.h"
#include "elab/elab.h"
#include "sema/sema.h"

#include <stdlib.h>

typedef struct Random {
    uint64_t state;
} Random;

static double uniform(Random *random)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random->state >> 11) * 0x1p-53;
}

// Memory of a function's parameters and results; states are shared by row.
typedef struct Memory {
    void **state;
    int32_t *token;
    int64_t position;
    float *output;
} Memory;

static void run(Cx *cx, IrFunction *fn, const Memory *memory)
{
    void **in = NEW_ARRAY(cx->arena, void *, fn->param.count + 1);
    void **out = NEW_ARRAY(cx->arena, void *, fn->result.count + 1);
    for (int i = 0; i < fn->param.count; i++) {
        Slot slot = fn->param_slot.at[i];
        in[i] = slot.kind == SLOT_STATE   ? memory->state[slot.index]
                : slot.kind == SLOT_INPUT ? (void *)memory->token
                                          : (void *)&memory->position;
    }
    for (int i = 0; i < fn->result.count; i++) {
        Slot slot = fn->result.at[i].slot;
        size_t bytes = (size_t)type_bytes(fn->result.at[i].value->type);
        out[i] = slot.kind == SLOT_STATE ? arena_alloc(cx->arena, bytes) : (void *)memory->output;
    }
    ir_evaluate(fn, in, out);
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_STATE)
            memcpy(memory->state[fn->result.at[i].slot.index], out[i],
                   (size_t)type_bytes(fn->result.at[i].value->type));
}

static void fill_states(Cx *cx, IrFunction *fn, Random *random, void *state[])
{
    for (int i = 0; i < fn->param.count; i++) {
        Slot slot = fn->param_slot.at[i];
        if (slot.kind != SLOT_STATE)
            continue;
        int64_t count = type_elements(fn->param.at[i]->type);
        float *at = arena_alloc(cx->arena, (size_t)count * sizeof *at);
        for (int64_t k = 0; k < count; k++)
            at[k] = (float)(uniform(random) * 2 - 1);
        state[slot.index] = at;
    }
}

// The scores behind the first n tokens, for each n: of chunks, which `parts` computes, and where
// they have to be whole, of single tokens at the end.
static void compare(Cx *cx, const char *name, IrFunction *whole, const Decode *decode,
                    const Decode *parts, int64_t width, int rows)
{
    Random random = {7};
    Type scores = whole->result.at[0].value->type;
    int64_t length = scores.dim[1], vocab = scores.dim[2];
    Memory memory = {.state = NEW_ARRAY(cx->arena, void *, rows + decode->cache.count + 1)};
    fill_states(cx, whole, &random, memory.state);
    for (int i = 0; i < decode->cache.count; i++)
        memory.state[rows + i] =
            arena_alloc(cx->arena, (size_t)type_bytes(decode->cache.at[i].type));
    int32_t *token = NEW_ARRAY(cx->arena, int32_t, length);
    for (int64_t i = 0; i < length; i++)
        token[i] = (int32_t)(uniform(&random) * (double)vocab);
    float *expected = NEW_ARRAY(cx->arena, float, length *vocab);
    memory.token = token;
    memory.output = expected;
    run(cx, whole, &memory);
    float *found = NEW_ARRAY(cx->arena, float, vocab);
    int32_t *chunk = NEW_ARRAY(cx->arena, int32_t, width);
    double largest = 0, apart = 0;
    for (int64_t i = 0; i < length * vocab; i++)
        largest = fmax(largest, fabs((double)expected[i]));
    memory.output = found;
    for (int64_t n = 1; n <= length; n++) {
        for (int i = 0; i < decode->cache.count; i++)
            memset(memory.state[rows + i], 0, (size_t)type_bytes(decode->cache.at[i].type));
        for (int64_t p = 0, count; p < n; p += count) {
            bool single = width == 1 || (parts->exact && n - p < width);
            count = single ? 1 : n - p < width ? n - p : width;
            for (int64_t i = 0; i < width; i++)
                chunk[i] = i < count ? token[p + i] : -1;
            memory.token = chunk;
            memory.position = p;
            run(cx, single ? decode->fn : parts->fn, &memory);
        }
        for (int64_t k = 0; k < vocab; k++)
            apart = fmax(apart, fabs((double)found[k] - (double)expected[(n - 1) * vocab + k]));
    }
    if (!(largest > 0.1 && apart <= 1e-5 * largest))
        CHECK_FAIL("%s in parts of %lld: the largest score is %g, the largest difference %g", name,
                   (long long)width, largest, apart);
}

static void test_model(Cx *cx, Program *program, ProgramJob *job)
{
    const char *name = job->table.name;
    Decode decode =
        decode_derive(cx, program->module, job->predict.ir, sym_of(cx, name), job->state.count, 1);
    bool wanted = strncmp(name, "cached_", 7) == 0;
    if (wanted != (decode.fn != NULL))
        CHECK_FAIL("%s: %s", name, decode.fn ? "is derived" : decode.why);
    if (!decode.fn)
        return;
    static const int64_t widths[] = {1, 2, 4, 9};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        Decode parts = decode_derive(cx, program->module, job->predict.ir, sym_of(cx, name),
                                     job->state.count, widths[i]);
        const char *why = parts.fn ? ir_verify_function(cx->arena, parts.fn) : parts.why;
        if (why)
            CHECK_FAIL("%s in parts of %lld: %s", name, (long long)widths[i], why);
        if (!why && parts.cache.count == decode.cache.count)
            compare(cx, name, job->predict.ir, &decode, &parts, widths[i], job->state.count);
        else if (!why)
            CHECK_FAIL("%s: a part has %d caches, a step %d", name, parts.cache.count,
                       decode.cache.count);
    }
}

static const char *path;

TEST(models)
{
    Cx *cx = cx_new();
    Unit *unit = unit_load(cx, path);
    Program *program = unit ? elaborate(cx, unit) : NULL;
    if (!program)
        diag_print(cx, stderr, FORMAT_HUMAN, false);
    CHECK(program != NULL);
    CHECK(program->job.count >= 22);
    for (int i = 0; i < program->job.count; i++)
        test_model(cx, program, &program->job.at[i]);
    cx_free(cx);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    path = argv[1];
    RUN(models);
    CHECK_SUMMARY();
}
