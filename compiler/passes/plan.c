// plan: an address for every value, known when the program is compiled.
//
// Temporaries share one arena. A value is alive from the instruction that makes it to the last one
// that reads it; values that are alive at the same time never overlap, which an independent check
// at the end makes sure of. Going through the instructions in order, a new value takes the smallest
// free gap that holds it. It takes over the memory of an input that dies there if the kernel allows
// it (body_in_place).
//
// What a loop carries is like a state of its body: turn after turn it lies in the memory of the
// loop's result. The loop takes over the memory of what it starts from if that dies there. If each
// turn's value is stacked for another loop, it lies in the stack instead, and is not copied.
//
// A result is computed directly in its state's or output's own buffer. For a state this overwrites
// the old value, so it is only done if every read of that is over, or happens in the same kernel at
// the same element; otherwise the new value is computed in the arena and copied when the function
// is done.

#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "diag/diag.h"
#include "passes/fuse.h"

typedef struct Value {
    Buffered place;     // first: Inst.note is a Buffered
    int first, last;    // positions of the instructions that make it and read it last
    struct Value *over; // whose memory it took over
    bool placed;
    const Inst *inst;
} Value;

typedef struct Planner {
    Cx *cx;
    Arena *arena;
    IrFunction *fn;
    int carried;        // of the loop whose body fn is
    const Inst *loop;   // that loop; NULL: fn is no body of one
    int end;            // the position after the last instruction
    Vec(Value *) value; // in the arena or possibly so, by position
    Vec(Value *) live;  // placed in the arena, sorted by offset
    size_t top;
} Planner;

static int stacked_over(const Inst *loop, int result);

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static Value *value_new(Planner *p, PlaceKind kind, int index, size_t bytes, int first,
                        const Inst *inst)
{
    Value *value = NEW(p->arena, Value);
    value->place = (Buffered){.kind = kind, .index = index, .bytes = bytes};
    value->first = value->last = first;
    value->inst = inst;
    return value;
}

static Value *value_of(const Inst *inst)
{
    return inst->note;
}

int loop_stacks_carried(const Inst *loop, int carried)
{
    const IrFunction *body = loop->attr[3].function;
    const Inst *param = body->param.at[carried + 1];
    if (loop->attr[5].whole || inst_in_register(param)) // a turn that is left out writes nothing
        return -1;
    for (int i = (int)loop->attr[1].whole; i < loop->results; i++)
        if (body->result.at[i].value == param && stacked_over(loop, i) < 0)
            return i;
    return -1;
}

// What a parameter and a result of a body are bound to: carried values are its states.
static Slot param_slot(const Planner *p, int index)
{
    if (index >= 1 && index <= p->carried && loop_stacks_carried(p->loop, index - 1) >= 0)
        return (Slot){SLOT_VALUE, 0};
    if (index >= 1 && index <= p->carried)
        return (Slot){SLOT_STATE, index - 1};
    return p->fn->param_slot.at[index];
}

static Slot result_slot(const Planner *p, int index)
{
    return index < p->carried ? (Slot){SLOT_STATE, index} : p->fn->result.at[index].slot;
}

// ---- lifetimes ----------------------------------------------------------------------------------

static void plan_parameters(Planner *p)
{
    for (int i = 0; i < p->fn->param.count; i++) {
        Inst *param = p->fn->param.at[i];
        Slot slot = param_slot(p, i);
        size_t bytes = (size_t)type_bytes(param->type);
        param->note = NULL;
        if (inst_in_register(param))
            continue;
        PlaceKind kind = slot.kind == SLOT_STATE ? PLACE_STATE : PLACE_INPUT;
        param->note = value_new(p, kind, slot.kind == SLOT_VALUE ? i : slot.index, bytes, 0, param);
    }
}

static Plan plan_body(Cx *cx, IrFunction *fn, int carried, const Inst *loop);

static size_t scratch_of(Planner *p, const Inst *inst)
{
    if (inst->op == OP_fused) {
        const Inst *in = body_product(inst->attr[0].function);
        return !in                        ? 0
               : in->op == OP_dot         ? dot_scratch_bytes(in)
               : in->op == OP_conv_weight ? conv_weight_scratch_bytes(in)
                                          : conv_scratch_bytes(in);
    }
    if (inst->op == OP_argsort) // positions beside the result's, for the merges
        return (size_t)type_bytes(inst->type);
    if (inst->op == OP_dot_stored)
        return stored_scratch_bytes(inst);
    if (inst->op == OP_conv_weight)
        return conv_weight_scratch_bytes(inst);
    if (inst->op == OP_attend || inst->op == OP_attend_back || inst->op == OP_attend_cached)
        return attend_scratch_bytes(inst);
    if (inst->op == OP_call)
        return plan_function(p->cx, inst->attr[0].function).arena_bytes;
    if (inst->op != OP_loop)
        return 0;
    return plan_body(p->cx, inst->attr[3].function, (int)inst->attr[1].whole, inst).arena_bytes;
}

static void plan_instruction(Planner *p, Inst *inst, int position)
{
    inst->note = NULL;
    for (int i = 0; i < inst->inputs; i++)
        if (inst->op != OP_get && value_of(inst->input[i]))
            value_of(inst->input[i])->last = position;
    if (inst_in_register(inst))
        return;
    if (inst->op == OP_get) {
        Value *multi = value_of(inst->input[0]);
        inst->note = multi->place.result[inst->attr[0].whole];
        return;
    }
    if (inst_is_alias(inst)) {
        inst->note = inst->input[0]->note;
        return;
    }
    if (inst->op == OP_constant) {
        inst->note =
            value_new(p, PLACE_CONSTANT, 0, (size_t)type_bytes(inst->type), position, inst);
        return;
    }
    PlaceKind kind = inst->results == 1 ? PLACE_ARENA : PLACE_NONE;
    Value *value = value_new(p, kind, 0, inst->results == 1 ? (size_t)type_bytes(inst->type) : 0,
                             position, inst);
    value->place.scratch_bytes = aligned(scratch_of(p, inst));
    inst->note = value;
    if (inst->results == 1) {
        vec_push(p->arena, &p->value, value);
        return;
    }
    value->place.result = NEW_ARRAY(p->arena, Buffered *, inst->results);
    const Inst *whole = inst->op == OP_attend_back ? attend_back_whole(inst) : NULL;
    if (whole) { // that all results are pieces of
        Value *one = value_new(p, PLACE_ARENA, 0, (size_t)type_bytes(whole->type), position, inst);
        for (int i = 0; i < inst->results; i++)
            value->place.result[i] = &one->place;
        vec_push(p->arena, &p->value, one);
        return;
    }
    for (int i = 0; i < inst->results; i++) {
        Value *one =
            value_new(p, PLACE_ARENA, i, (size_t)type_bytes(inst->result_type[i]), position, inst);
        value->place.result[i] = &one->place;
        vec_push(p->arena, &p->value, one);
    }
}

// ---- results in their own buffers ---------------------------------------------------------------

static int result_of(const Value *value)
{
    return value->inst->results == 1 ? 0 : value->place.index;
}

// A carried result of a loop that begins as `old`, which the loop reads nowhere else.
static bool starts_from(const Value *value, const Value *old)
{
    const Inst *loop = value->inst;
    for (int i = 0; i < loop->inputs; i++)
        if ((value_of(loop->input[i]) == old) != (i == result_of(value)))
            return false;
    return result_of(value) < loop->attr[1].whole;
}

static const Inst *state_param(const IrFunction *fn, int row)
{
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_STATE && fn->param_slot.at[i].index == row)
            return fn->param.at[i];
    return NULL;
}

// A state whose slices the loop reads and whose new slices it stacks (the caches of a repeat): the
// input that result `result` is stacked over, turn by turn; -1: there is none.
static int stacked_over(const Inst *loop, int result)
{
    const IrFunction *fn = loop->function, *body = loop->attr[3].function;
    int carried = (int)loop->attr[1].whole, sliced = (int)loop->attr[2].whole, found = -1;
    const Inst *state = NULL;
    if (fn->parent || loop->attr[5].whole || result < carried)
        return -1;
    for (int i = 0; i < fn->result.count; i++) {
        const Inst *value = fn->result.at[i].value;
        bool it = value == loop || (value->op == OP_get && value->input[0] == loop &&
                                    value->attr[0].whole == result);
        if (it && fn->result.at[i].slot.kind == SLOT_STATE)
            state = state_param(fn, fn->result.at[i].slot.index);
    }
    for (int i = 0; state && i < loop->inputs; i++) {
        if (loop->input[i] != state)
            continue;
        if (found >= 0 || i < carried || i >= carried + sliced)
            return -1;
        found = i;
    }
    if (found < 0)
        return -1;
    const Inst *slice = body->param.at[found + 1];
    for (int i = 0; i < body->result.count; i++)
        if (body->result.at[i].value == slice)
            return -1;
    return type_equal(slice->type, body->result.at[result].value->type) ? found : -1;
}

// The instruction that makes `value` may write it over `old`, which it reads.
static bool may_take_over(const Value *value, const Value *old)
{
    const Inst *inst = value->inst;
    if (inst->op == OP_loop) {
        int over = stacked_over(inst, result_of(value));
        return over >= 0 ? value_of(inst->input[over]) == old : starts_from(value, old);
    }
    if (inst->op == OP_scatter_add)
        return value_of(inst->input[0]) == old && value_of(inst->input[1]) != old &&
               value_of(inst->input[2]) != old;
    if (inst->op != OP_fused)
        return false;
    for (int i = 0; i < inst->inputs; i++)
        if (value_of(inst->input[i]) == old &&
            !body_in_place(inst->attr[0].function, i, result_of(value)))
            return false;
    return true;
}

static Value *state_value(const Planner *p, int row)
{
    for (int i = 0; i < p->fn->param.count; i++)
        if (param_slot(p, i).kind == SLOT_STATE && param_slot(p, i).index == row)
            return value_of(p->fn->param.at[i]);
    return NULL;
}

static bool bound_before(const Planner *p, int result)
{
    Slot slot = result_slot(p, result);
    for (int i = 0; i < result; i++)
        if (result_slot(p, i).kind == slot.kind && result_slot(p, i).index == slot.index)
            return true;
    return false;
}

static void bind_result(Planner *p, int index)
{
    const IrResult *result = &p->fn->result.at[index];
    Value *value = value_of(result->value);
    if (!value || value->place.kind != PLACE_ARENA)
        return;
    Slot slot = result_slot(p, index);
    int over = p->loop ? stacked_over(p->loop, index) : -1;
    if (over >= 0) { // perhaps the same memory
        const Value *old = value_of(p->fn->param.at[over + 1]);
        if (old->last > value->first || (old->last == value->first && !may_take_over(value, old)))
            return;
    }
    if (slot.kind == SLOT_OUTPUT || slot.kind == SLOT_VALUE) {
        value->place.kind = PLACE_OUTPUT;
        value->place.index = slot.kind == SLOT_VALUE ? index : slot.index;
        return;
    }
    if (slot.kind != SLOT_STATE || bound_before(p, index))
        return;
    const Value *old = state_value(p, slot.index);
    if (old && old->last > value->first)
        return;
    if (old && old->last == value->first && !may_take_over(value, old))
        return;
    value->place.kind = PLACE_STATE;
    value->place.index = slot.index;
}

static void plan_results(Planner *p)
{
    // A parameter that is a result is read when the function ends.
    for (int i = 0; i < p->fn->result.count; i++) {
        Value *value = value_of(p->fn->result.at[i].value);
        if (value)
            value->last = p->end;
    }
    for (int i = 0; i < p->fn->result.count; i++)
        bind_result(p, i);
}

// ---- places in the arena ------------------------------------------------------------------------

static void live_insert(Planner *p, Value *value)
{
    vec_push(p->arena, &p->live, value);
    int i = p->live.count - 1;
    for (; i > 0 && p->live.at[i - 1]->place.offset > value->place.offset; i--)
        p->live.at[i] = p->live.at[i - 1];
    p->live.at[i] = value;
    size_t end = value->place.offset + aligned(value->place.bytes);
    if (end > p->top)
        p->top = end;
}

static size_t best_gap(const Planner *p, size_t bytes)
{
    size_t best = SIZE_MAX, best_room = SIZE_MAX, at = 0;
    for (int i = 0; i < p->live.count; i++) {
        const Value *live = p->live.at[i];
        if (live->place.offset > at) {
            size_t room = live->place.offset - at;
            if (room >= bytes && room < best_room) {
                best = at;
                best_room = room;
            }
        }
        size_t end = live->place.offset + aligned(live->place.bytes);
        if (end > at)
            at = end;
    }
    return best != SIZE_MAX ? best : at;
}

static void place_new(Planner *p, Value *value)
{
    value->place.offset = best_gap(p, aligned(value->place.bytes));
    value->placed = true;
    live_insert(p, value);
}

static void release(Planner *p, int before)
{
    int kept = 0;
    for (int i = 0; i < p->live.count; i++)
        if (p->live.at[i]->last >= before)
            p->live.at[kept++] = p->live.at[i];
    p->live.count = kept;
}

static bool taken_over(const Planner *p, const Value *old)
{
    for (int i = 0; i < p->value.count; i++)
        if (p->value.at[i]->over == old)
            return true;
    return false;
}

static bool place_over(Planner *p, Value *value)
{
    const Inst *inst = value->inst;
    if (inst->op != OP_fused && inst->op != OP_loop && inst->op != OP_scatter_add)
        return false;
    for (int i = 0; i < inst->inputs; i++) {
        Value *old = value_of(inst->input[i]);
        if (!old || old->place.kind != PLACE_ARENA || !old->placed || old->last != value->first ||
            old->first == value->first)
            continue;
        if (aligned(old->place.bytes) != aligned(value->place.bytes) || taken_over(p, old) ||
            !may_take_over(value, old))
            continue;
        value->place.offset = old->place.offset;
        value->over = old;
        value->placed = true;
        live_insert(p, value);
        return true;
    }
    return false;
}

// Scratch memory is a value that lives for one instruction.
static void place_scratch(Planner *p, Inst *inst, int position)
{
    Value *owner = value_of(inst);
    if (!owner || inst->op == OP_get || owner->inst != inst || !owner->place.scratch_bytes)
        return;
    Value *scratch = value_new(p, PLACE_ARENA, 0, owner->place.scratch_bytes, position, inst);
    vec_push(p->arena, &p->value, scratch);
    place_new(p, scratch);
    owner->place.scratch_offset = scratch->place.offset;
}

static void place_all(Planner *p)
{
    int next = 0, position = 1, count = p->value.count;
    for (Inst *inst = p->fn->first; inst; inst = inst->next, position++) {
        release(p, position);
        int first = next;
        for (; next < count && p->value.at[next]->first == position; next++)
            if (p->value.at[next]->place.kind == PLACE_ARENA)
                place_over(p, p->value.at[next]);
        for (int i = first; i < next; i++)
            if (p->value.at[i]->place.kind == PLACE_ARENA && !p->value.at[i]->placed)
                place_new(p, p->value.at[i]);
        place_scratch(p, inst, position);
    }
}

// ---- the check, and the figures -----------------------------------------------------------------

// Shares nothing with the placing above: every two values that are alive at the same time lie
// apart.
static void check_plan(const Planner *p)
{
    for (int i = 0; i < p->value.count; i++) {
        const Value *a = p->value.at[i];
        if (a->place.kind != PLACE_ARENA)
            continue;
        if (!a->placed || a->place.offset % AML_ALIGNMENT ||
            a->place.offset + a->place.bytes > p->top)
            bug(p->cx, a->inst->span, "a value was planned outside of the arena");
        for (int j = i + 1; j < p->value.count; j++) {
            const Value *b = p->value.at[j];
            if (b->place.kind != PLACE_ARENA || a->last < b->first || b->last < a->first ||
                a->over == b || b->over == a)
                continue;
            if (a->place.offset < b->place.offset + b->place.bytes &&
                b->place.offset < a->place.offset + a->place.bytes)
                bug(p->cx, b->inst->span, "two live values were planned into the same memory");
        }
    }
    for (int i = 0; i < p->value.count; i++) {
        const Value *value = p->value.at[i];
        if (value->over &&
            (value->over->last != value->first || value->over->place.offset != value->place.offset))
            bug(p->cx, value->inst->span, "a value was planned over one that is still read");
    }
}

static void find_peak(const Planner *p, Plan *plan)
{
    int position = 1;
    for (Inst *inst = p->fn->first; inst; inst = inst->next, position++) {
        size_t live = 0;
        for (int i = 0; i < p->value.count; i++) {
            const Value *value = p->value.at[i];
            bool alive = value->first <= position && position <= value->last &&
                         value->place.kind == PLACE_ARENA;
            if (alive && !(value->over && value->first == position))
                live += aligned(value->place.bytes);
        }
        if (live > plan->live_peak) {
            plan->live_peak = live;
            plan->peak_at = inst;
        }
    }
}

static Plan plan_body(Cx *cx, IrFunction *fn, int carried, const Inst *loop)
{
    Planner *p =
        &(Planner){.cx = cx, .arena = cx->arena, .fn = fn, .carried = carried, .loop = loop};
    int position = 1;
    plan_parameters(p);
    for (Inst *inst = fn->first; inst; inst = inst->next)
        plan_instruction(p, inst, position++);
    p->end = position;
    plan_results(p);
    place_all(p);
    check_plan(p);
    Plan plan = {.arena_bytes = p->top};
    find_peak(p, &plan);
    return plan;
}

Plan plan_function(Cx *cx, IrFunction *fn)
{
    return plan_body(cx, fn, 0, NULL);
}
