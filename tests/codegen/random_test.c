// random_test: random functions, compiled, compute what the reference computes.
//
// Usage: random_test [COUNT [FIRST_SEED [CPU]]]. Functions are compiled in groups of 50 to one
// object. A failing one is printed.

#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { GROUP = 50 };

// Rounding differences of a large power become arbitrary in a periodic function: nothing can be
// compared then.
static bool chaotic(const IrFunction *fn)
{
    bool grows = false, folds = false;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        grows |= inst->op == OP_exp || inst->op == OP_pow;
        folds |= inst->op == OP_sin || inst->op == OP_cos || inst->op == OP_mod;
    }
    return grows && folds;
}

// Some results become the next value of a parameter of their type: the same state before and after.
static void bind_states(IrFunction *fn, uint64_t seed)
{
    Draw draw = {seed ^ 0x5eed};
    int states = 0;
    for (int i = 0; i < fn->result.count; i++)
        for (int k = 0; k < fn->param.count; k++)
            if (fn->result.at[i].slot.kind == SLOT_VALUE &&
                fn->param_slot.at[k].kind == SLOT_VALUE &&
                type_equal(fn->param.at[k]->type, fn->result.at[i].value->type) &&
                draw_below(&draw, 4)) {
                fn->result.at[i].slot = fn->param_slot.at[k] = (Slot){SLOT_STATE, states};
                states++;
            }
}

static bool try_group(uint64_t first, int count, const char *cpu, bool passes)
{
    Cx *cx = cx_new();
    IrModule *all = ir_module_new(cx);
    Case cases[GROUP];
    const char *text[GROUP];
    for (int i = 0; i < count; i++) {
        uint64_t seed = first + (uint64_t)i;
        IrModule *module = random_module(cx, seed, 4 + (int)(seed % 40));
        text[i] = module_text(cx, module);
        IrFunction *fn = module->function.at[0];
        bind_states(fn, seed);
        case_prepare(cx, &cases[i], module, fn, arena_printf(cx->arena, "f%d", i));
        if (passes)
            passes_run(cx, module, NULL, NULL, NULL);
        vec_push(cx->arena, &all->function, fn);
    }
    bool good = true;
    const char *why = cases_load(cx, all, cases, count, cpu);
    if (why) {
        printf("FAIL random: seeds from %llu: %s\n", (unsigned long long)first, why);
        good = false;
    }
    for (int i = 0; i < count && !why; i++) {
        if (chaotic(cases[i].reference))
            continue;
        const char *differs = case_check(cx, &cases[i], first + (uint64_t)i, 5e-5);
        if (!differs)
            continue;
        printf("FAIL random: seed %llu: %s\n%s", (unsigned long long)first + (unsigned)i, differs,
               text[i]);
        good = false;
        if (getenv("AML_SHOW")) {
            Buffer shown = {.arena = cx->arena};
            ir_print_function(cases[i].fn, &shown);
            printf("-- compiled:\n%s", shown.text);
        }
        break;
    }
    cx_free(cx);
    return good;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200,
             first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, good = 0;
    const char *cpu = argc > 3 ? argv[3] : "native";
    bool failed = false;
    for (uint64_t seed = first; seed < first + count && !failed; seed += GROUP) {
        int size = first + count - seed < GROUP ? (int)(first + count - seed) : GROUP;
        failed = !try_group(seed, size, cpu, seed / GROUP % 4 != 3);
        good += (uint64_t)size;
    }
    if (!failed)
        printf("PASS random %s: %llu functions\n", cpu, (unsigned long long)good);
    return failed;
}
