// freeze_loops.c: a loop over constant weights is written out, so that each turn's products find
// their operand packed.
//
// `repeat` is a loop whose weights are cut into slices, one a turn. In a training that keeps the
// program small; in a deployed program the slices are constants, and a product that is given a
// slice would pack it again in every prediction. The turns' kernels are the same and are compiled
// once.

#include "link/link.h"

#include <string.h>

enum { MOST_TURNS = 64, MOST_INSTRUCTIONS = 20000, LEAST_WEIGHTS = 4096 };

// `all`: also in a loop that is given slices of what the turn is given, and convolutions.
static bool multiplies(const IrFunction *body, const Inst *param, bool all)
{
    for (const Inst *inst = body->first; inst; inst = inst->next) {
        if ((inst->op == OP_dot || (all && inst->op == OP_conv)) && inst->input[1] == param)
            return true;
        for (int i = 0; all && inst->op == OP_loop && i < inst->inputs; i++)
            if (inst->input[i] == param &&
                multiplies(inst->attr[3].function, inst->attr[3].function->param.at[i + 1], all))
                return true;
    }
    return false;
}

static int64_t instructions_in(const IrFunction *body)
{
    int64_t count = 0;
    for (const Inst *inst = body->first; inst; inst = inst->next)
        count += 1 + (inst_nested(inst) ? instructions_in(inst_nested(inst)) : 0);
    return count;
}

// Its slices are all constants, one of them is multiplied with, and nothing is stacked.
static bool worth_it(const Inst *loop, bool all)
{
    const IrFunction *body = loop->attr[3].function;
    int64_t count = loop->attr[0].whole;
    int carried = (int)loop->attr[1].whole, sliced = (int)loop->attr[2].whole;
    bool guarded = loop->attr[5].whole != 0, found = false;

    if (guarded || count < 2 || count > MOST_TURNS || body->result.count != carried)
        return false;
    for (int i = carried; i < carried + sliced; i++) {
        const Inst *in = loop->input[i], *param = body->param.at[i + 1];
        if (in->op != OP_constant)
            return false;
        found |= !in->attr[0].data.splat && (all || type_elements(param->type) >= LEAST_WEIGHTS) &&
                 multiplies(body, param, all);
    }
    return found && count * instructions_in(body) <= MOST_INSTRUCTIONS;
}

// body.#.up.weight in turn 2: body.2.up.weight
static Sym name_of_turn(Cx *cx, Sym name, int64_t turn)
{
    const char *mark = name ? strchr(name, '#') : NULL;
    return mark ? sym_printf(cx, "%.*s%lld%s", (int)(mark - name), name, (long long)turn, mark + 1)
                : name;
}

// What a turn is given of a constant.
static Inst *slice_of(Inst *place, const Inst *constant, int64_t turn, Type type)
{
    IrData data = constant->attr[0].data;
    if (!data.splat) {
        data.bytes = (size_t)type_bytes(type);
        data.at = (const char *)data.at + (size_t)turn * data.bytes;
    }
    Attr attr = {.data = data};
    Inst *made = ir_insert_before(place, OP_constant, NULL, 0, &attr, type, constant->span);
    made->name = name_of_turn(place->function->cx, constant->name, turn);
    return made;
}

static Inst *number_of(Inst *place, int64_t turn)
{
    Arena *arena = place->function->cx->arena;
    Attr attr = {.data = {true, sizeof turn, arena_copy(arena, &turn, sizeof turn)}};
    return ir_insert_before(place, OP_constant, NULL, 0, &attr, type_scalar(DTYPE_I64),
                            place->span);
}

// One turn in front of the loop: value[] are the carried values, before and after it.
static void write_turn(IrFunction *fn, Inst *loop, int64_t turn, int ids, Inst *value[])
{
    const IrFunction *body = loop->attr[3].function;
    int carried = (int)loop->attr[1].whole, sliced = (int)loop->attr[2].whole;
    Inst **twin = NEW_ARRAY(fn->cx->arena, Inst *, ids);
    twin[body->param.at[0]->id] = number_of(loop, turn);
    for (int i = 0; i < loop->inputs; i++) {
        const Inst *param = body->param.at[i + 1];
        twin[param->id] = i < carried            ? value[i]
                          : i < carried + sliced ? slice_of(loop, loop->input[i], turn, param->type)
                                                 : loop->input[i];
    }
    for (const Inst *inst = body->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(fn->cx->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        twin[inst->id] = ir_clone_before(loop, inst, in);
    }
    for (int i = 0; i < carried; i++)
        value[i] = twin[body->result.at[i].value->id];
}

static void write_out(IrFunction *fn, Inst *loop)
{
    int ids = fn->next_id; // those of the body are less
    int64_t count = loop->attr[0].whole;
    bool reverse = loop->attr[4].whole != 0;
    Inst **value = NEW_ARRAY(fn->cx->arena, Inst *, loop->inputs + 1);
    memcpy(value, loop->input, sizeof *value * (size_t)loop->inputs);
    for (int64_t i = 0; i < count; i++)
        write_turn(fn, loop, reverse ? count - 1 - i : i, ids, value);
    if (loop->results == 1)
        ir_replace_uses(fn, loop, value[0]);
    for (Inst *get = loop->next, *next; loop->results > 1 && get; get = next) {
        next = get->next;
        if (get->op != OP_get || get->input[0] != loop)
            continue;
        ir_replace_uses(fn, get, value[get->attr[0].whole]);
        ir_remove(fn, get);
    }
    ir_remove(fn, loop);
}

void freeze_loops(IrFunction *fn, bool all)
{
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op != OP_loop || !worth_it(inst, all))
            continue;
        Inst *before = inst->prev;
        write_out(fn, inst);
        next = before ? before->next : fn->first; // its gets are gone
    }
}
