// budget: a function that has been given an amount of memory for its temporaries (`memory:` of a
// training) keeps less and computes more, until it fits.
//
// The value that frees the most memory for the work it costs is computed again where it is read,
// one after the other:
//
//   between loops    a slice of what a loop has stacked for a later one (remat.c). In the end only
//                    what is carried from turn to turn is left
//   in a function    a value that is read a long time after it was made: its late readers get a
//                    copy, made from what is alive then anyway
//
// After each of them the memory is measured: the function is fused and planned, in a copy. The
// kernels are deterministic, so the results have the same bits.

#include <string.h>

#include "compile.h"
#include "diag/diag.h"
#include "passes/pass.h"
#include "passes/remat.h"

// ---- measuring ----------------------------------------------------------------------------------

static void run_on(PassFunction *pass, IrFunction *fn)
{
    for (Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_loop)
            run_on(pass, inst_nested(inst));
    pass(fn);
}

static size_t measured(IrFunction *fn, Plan *plan, IrFunction **planned)
{
    IrFunction *copy = ir_clone_function(fn, NULL, fn->name);
    run_on(pass_fuse, copy);
    *plan = plan_function(fn->cx, copy);
    *planned = copy;
    return plan->arena_bytes;
}

// What nothing reads any more, and what is there twice inside of loops.
static void clean(IrFunction *fn)
{
    for (int round = 0; round < 3; round++) {
        for (Inst *inst = fn->first; inst; inst = inst->next)
            if (inst->op == OP_loop) {
                run_on(pass_cse, inst_nested(inst));
                run_on(pass_narrow, inst_nested(inst));
            }
        run_on(pass_loops, fn);
        pass_narrow(fn);
        run_on(pass_dce, fn);
    }
}

// ---- values of the function itself --------------------------------------------------------------

enum { LATE = 64, LEAST_BYTES = 4096 };

typedef struct Late {
    Inst *value, *reader; // the first reader that is late
    int64_t last;         // position of the last one that is early
} Late;

static void number(IrFunction *fn)
{
    int64_t position = 0;
    for (int i = 0; i < fn->param.count; i++)
        fn->param.at[i]->mark = 0;
    for (Inst *inst = fn->first; inst; inst = inst->next)
        inst->mark = ++position;
}

static bool reads(const Inst *inst, const Inst *value)
{
    for (int i = 0; i < inst->inputs; i++)
        if (inst->input[i] == value)
            return true;
    return false;
}

// A reader after a long time in which nobody reads the value. Fills `alive` with the position of
// the last reader.
static bool find_late(Inst *value, const IrFunction *fn, Late *out)
{
    if (value->results != 1 || !op_has(value->op, PURE) || value->op == OP_loop ||
        value->op == OP_call || value->op == OP_get || value->op == OP_constant ||
        type_bytes(value->type) < LEAST_BYTES)
        return false;
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].value == value)
            return false;
    *out = (Late){.value = value, .last = value->mark};
    for (Inst *inst = value->next; inst; inst = inst->next) {
        if (!reads(inst, value))
            continue;
        if (inst->mark - out->last > LATE) {
            out->reader = inst;
            return true;
        }
        out->last = inst->mark;
    }
    return false;
}

static int64_t last_reader(const Inst *value)
{
    int64_t last = value->mark;
    const Inst *inst = value->op == OP_parameter ? value->function->first : value->next;
    for (; inst; inst = inst->next)
        if (reads(inst, value))
            last = inst->mark;
    return last;
}

typedef Vec(Inst *) Chain;

// What has to be computed again in front of `late`, operands first: values that are not alive
// there. False: something cannot, or it would be a product.
static bool chain_of(IrFunction *fn, Inst *value, const Late *late, Chain *chain, int depth)
{
    enum { LONG = 48 };
    for (int i = 0; i < chain->count; i++)
        if (chain->at[i] == value)
            return true;
    if (value->op == OP_parameter || (value != late->value && value->op != OP_constant &&
                                      last_reader(value) >= late->reader->mark))
        return true;
    if (depth > LONG || chain->count > LONG || value->results != 1 || !op_has(value->op, PURE) ||
        value->op == OP_loop || value->op == OP_call || value->op == OP_get ||
        op_has(value->op, CONTRACTS))
        return false;
    for (int i = 0; i < value->inputs; i++)
        if (!chain_of(fn, value->input[i], late, chain, depth + 1))
            return false;
    vec_push(fn->cx->scratch, chain, value);
    return true;
}

static void recompute(IrFunction *fn, const Late *late, const Chain *chain)
{
    Inst **copy = NEW_ARRAY(fn->cx->scratch, Inst *, fn->next_id + 1);
    Inst *made = NULL;
    for (int i = 0; i < chain->count; i++) {
        Inst *inst = chain->at[i], **in = NEW_ARRAY(fn->cx->scratch, Inst *, inst->inputs + 1);
        for (int k = 0; k < inst->inputs; k++)
            in[k] = copy[inst->input[k]->id] ? copy[inst->input[k]->id] : inst->input[k];
        made = copy[inst->id] = ir_clone_before(late->reader, inst, in);
    }
    for (Inst *inst = late->reader; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == late->value)
                ir_set_input(inst, i, made);
}

// ---- choosing -----------------------------------------------------------------------------------

typedef struct Choice {
    double worth; // bytes for each operation; 0: there is none
    bool between; // loops
    Kept kept;
    Late late;
} Choice;

static void consider(Choice *best, double bytes, double cost, Choice choice)
{
    choice.worth = bytes / (cost + 1);
    if (choice.worth > best->worth)
        *best = choice;
}

static Choice choose(IrFunction *fn)
{
    Choice best = {0};
    for (int i = 0, count = kept_count(fn); i < count; i++) {
        Kept kept;
        double cost;
        if (!kept_at(fn, i, &kept) ||
            kept.reader->attr[3].function->param.at[kept.input + 1]->uses == 0 ||
            !kept_cost(&kept, &cost))
            continue;
        double turns = (double)kept.maker->attr[0].whole;
        consider(&best, (double)type_bytes(kept.reader->input[kept.input]->type), cost * turns,
                 (Choice){.between = true, .kept = kept});
    }
    number(fn);
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        Late late;
        Chain chain = {0};
        if (!find_late(inst, fn, &late) || !chain_of(fn, inst, &late, &chain, 0))
            continue;
        double cost = 0;
        for (int i = 0; i < chain.count; i++)
            cost += inst_cost(chain.at[i]).flops;
        consider(&best, (double)type_bytes(inst->type), cost, (Choice){.late = late});
    }
    return best;
}

static void apply(IrFunction *fn, Choice *choice)
{
    if (choice->between) {
        kept_drop(&choice->kept);
    } else {
        Chain chain = {0};
        chain_of(fn, choice->late.value, &choice->late, &chain, 0);
        recompute(fn, &choice->late, &chain);
    }
    clean(fn);
}

// ---- the report ---------------------------------------------------------------------------------

static const char *size_text(Arena *arena, double bytes)
{
    return bytes < 1 << 20 ? arena_printf(arena, "%.1f KiB", bytes / 1024)
                           : arena_printf(arena, "%.1f MiB", bytes / (1 << 20));
}

static void too_large(IrFunction *fn, const Plan *plan, const IrFunction *planned, size_t least)
{
    Cx *cx = fn->cx;
    double fixed = (double)fn->memory - (double)fn->budget;
    report(cx, fn->memory_span, memory_budget, size_text(cx->arena, (double)fn->memory), fn->name,
           size_text(cx->arena, fixed + (double)least), size_text(cx->arena, fixed));
    // The largest values that are alive at the peak, which lie in the arena.
    enum { SHOWN = 4 };
    const Inst *largest[SHOWN] = {0};
    int64_t position = 0, peak = 0;
    for (Inst *inst = planned->first; inst; inst = inst->next) {
        inst->mark = ++position;
        peak = inst == plan->peak_at ? position : peak;
    }
    for (const Inst *inst = planned->first; inst; inst = inst->next) {
        if (inst->mark > peak || inst->results != 1 || last_reader(inst) < peak)
            continue;
        const Inst *next = inst;
        for (int i = 0; i < SHOWN && next; i++)
            if (!largest[i] || type_bytes(next->type) > type_bytes(largest[i]->type)) {
                const Inst *moved = largest[i];
                largest[i] = next;
                next = moved;
            }
    }
    for (int i = 0; i < SHOWN && largest[i]; i++)
        note(cx, largest[i]->span, "%s, %s, is alive then", type_text(cx->arena, largest[i]->type),
             size_text(cx->arena, (double)type_bytes(largest[i]->type)));
}

bool pass_budget(IrFunction *fn)
{
    if (fn->parent || fn->memory <= 0)
        return false;
    Plan plan;
    IrFunction *planned;
    size_t bytes = measured(fn, &plan, &planned), least = bytes;
    bool changed = false;
    for (int round = 0; round < 256 && (fn->budget <= 0 || bytes > (size_t)fn->budget); round++) {
        Choice choice = choose(fn);
        if (choice.worth == 0)
            break;
        apply(fn, &choice);
        changed = true;
        bytes = measured(fn, &plan, &planned);
        least = bytes < least ? bytes : least;
    }
    if (fn->budget <= 0 || bytes > (size_t)fn->budget)
        too_large(fn, &plan, planned, least);
    return changed;
}
