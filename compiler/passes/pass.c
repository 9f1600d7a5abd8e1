// pass.c: the one loop over the rows of passes.def: run, verify, dump if asked, empty the scratch
// arena.

#include <string.h>

#include "compile.h"
#include "diag/diag.h"
#include "passes/pass.h"

const PassInfo pass_info[PASS_COUNT] = {
#define PASS(name, group, meaning) [PASS_##name] = {#name, pass_##name, group, meaning},
#include "passes/passes.def"
#undef PASS
};

PassId pass_find(const char *name)
{
    int pass = 0;
    while (pass < PASS_COUNT && strcmp(pass_info[pass].name, name) != 0)
        pass++;
    return (PassId)pass;
}

// ---- the order of functions --------------------------------------------------------------------

typedef struct Order {
    Cx *cx;
    IrModule *module;
    bool *visited;
    bool *called;
    Vec(IrFunction *) list; // callees before callers
} Order;

static int index_of(const IrModule *module, const IrFunction *fn)
{
    int index = 0;
    while (index < module->function.count && module->function.at[index] != fn)
        index++;
    return index;
}

static void visit(Order *order, IrFunction *fn);

static void visit_callees(Order *order, const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst_nested(inst))
            visit_callees(order, inst_nested(inst));
        if (inst->op == OP_call) {
            order->called[index_of(order->module, inst->attr[0].function)] = true;
            visit(order, inst->attr[0].function);
        }
    }
}

static void visit(Order *order, IrFunction *fn)
{
    int index = index_of(order->module, fn);
    if (order->visited[index])
        return;
    order->visited[index] = true;
    visit_callees(order, fn);
    vec_push(order->cx->scratch, &order->list, fn);
}

static Order order_functions(Cx *cx, IrModule *module)
{
    Order order = {.cx = cx, .module = module};
    order.visited = NEW_ARRAY(cx->scratch, bool, module->function.count + 1);
    order.called = NEW_ARRAY(cx->scratch, bool, module->function.count + 1);
    for (int i = 0; i < module->function.count; i++)
        visit(&order, module->function.at[i]);
    return order;
}

// ---- running -----------------------------------------------------------------------------------

static bool run_on(PassId pass, IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_loop)
            changed |= run_on(pass, inst_nested(inst));
    return pass_info[pass].run(fn) || changed;
}

static void check(Cx *cx, IrModule *module, const char *after)
{
    const char *why = ir_verify(cx->scratch, module);
    if (why)
        bug(cx, (Span){0}, "the program is ill-formed after '%s': %s", after, why);
}

bool pass_apply(Cx *cx, IrModule *module, PassId pass)
{
    bool changed = false;
    Order before = order_functions(cx, module);
    for (int i = 0; i < before.list.count; i++)
        changed |= run_on(pass, before.list.at[i]);
    check(cx, module, pass_info[pass].name);

    // A function whose last call went away (inlined, or dead) has no reader left.
    Order after = order_functions(cx, module);
    int kept = 0;
    for (int i = 0; i < module->function.count; i++)
        if (!before.called[i] || after.called[i])
            module->function.at[kept++] = module->function.at[i];
    module->function.count = kept;
    arena_reset(cx->scratch);
    lap_end(cx, pass_info[pass].name);
    return changed;
}

static void dump_module(Cx *cx, IrModule *module, FILE *dump)
{
    Buffer out = {.arena = cx->scratch};
    ir_print(module, &out);
    if (out.length)
        fputs(out.text, dump);
    arena_reset(cx->scratch);
}

// Runs the rows first..end-1 once, or as a group until none changes anything.
static void run_group(Cx *cx, IrModule *module, int first, int end)
{
    enum {
        MOST_ROUNDS = 16
    }; // a group that still changes things then is left as it is: correct, if not smallest
    bool changed = true;
    for (int round = 0; changed && round < MOST_ROUNDS; round++) {
        changed = false;
        for (int pass = first; pass < end; pass++)
            changed |= pass_apply(cx, module, (PassId)pass);
        changed = changed && pass_info[first].group;
    }
}

// `until` and `dump_after` name a row; the rows of a group belong together and are finished first.
bool passes_run(Cx *cx, IrModule *module, const char *until, const char *dump_after, FILE *dump)
{
    check(cx, module, "elaborate");
    arena_reset(cx->scratch);
    for (int first = 0, end; first < PASS_COUNT; first = end) {
        end = first + 1;
        while (pass_info[first].group && end < PASS_COUNT &&
               pass_info[end].group == pass_info[first].group)
            end++;
        run_group(cx, module, first, end);
        for (int pass = first; pass < end; pass++)
            if (dump_after && strcmp(dump_after, pass_info[pass].name) == 0)
                dump_module(cx, module, dump);
        for (int pass = first; pass < end; pass++)
            if (until && strcmp(until, pass_info[pass].name) == 0)
                return true;
    }
    return true;
}
