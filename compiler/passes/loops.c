// loops: makes loops smaller, and takes out of them what is the same in every turn.
//
// What a loop is given and what it gives are parameters and results of its body, so each kind of
// them has its simplifications:
//
//   same each turn  a constant is written in the body; one value given twice is given once
//   sliced          a constant, a broadcast along the turns: the same each turn after all; an iota
//                   along the turns is the turn
//   carried         never changed: the same each turn; never read but by itself: dropped
//   stacked         a value that is the same each turn is broadcast, a slice is what was sliced, a
//                   value stacked twice is stacked once; never read: dropped
//
// An instruction of the body whose operands are the same each turn gives the same each turn and is
// moved in front of the loop, unless that would store something larger than what it is made from,
// or compute what a branch avoids. A loop of one turn is its body. A matrix that is the same each
// turn and would be turned around for each product with few rows is turned around in front of the
// loop.
//
// Loops are changed in place: parameters and results are dropped one at a time.

#include "passes/fuse.h"
#include "passes/pass.h"

typedef struct Loop {
    IrFunction *fn;
    Inst *inst;
    IrFunction *body;
    int64_t count;
    bool changed;
} Loop;

static int carried_of(const Loop *l)
{
    return (int)l->inst->attr[1].whole;
}

static int sliced_of(const Loop *l)
{
    return (int)l->inst->attr[2].whole;
}

static bool is_slice(const Loop *l, int input)
{
    return input >= carried_of(l) && input < carried_of(l) + sliced_of(l);
}

static bool is_rest(const Loop *l, int input)
{
    return input >= carried_of(l) + sliced_of(l);
}

static Inst *param_of(const Loop *l, int input)
{
    return l->body->param.at[input + 1];
}

// The input that a parameter of the body is; -1: the turn, or no parameter of it.
static int input_of(const Loop *l, const Inst *param)
{
    return param->op == OP_parameter && param->function == l->body ? (int)param->attr[0].whole - 1
                                                                   : -1;
}

static bool guarded(const Loop *l)
{
    return l->inst->attr[5].whole != 0;
}

static bool is_guard(const Loop *l, int input)
{
    return l->inst->attr[5].whole == input + 1;
}

// ---- changing a loop ----------------------------------------------------------------------------

// The parameter has no readers.
static void drop_input(Loop *l, int input)
{
    Inst *inst = l->inst;
    bool slice = is_slice(l, input), carried = input < carried_of(l);
    inst->input[input]->uses--;
    for (int i = input; i + 1 < inst->inputs; i++) {
        inst->input[i] = inst->input[i + 1];
        l->body->param.at[i + 1] = l->body->param.at[i + 2];
        l->body->param.at[i + 1]->attr[0].whole = i + 1;
    }
    inst->inputs--;
    l->body->param.count--;
    l->body->param_slot.count--;
    inst->attr[1].whole -= carried;
    inst->attr[2].whole -= slice;
    if (inst->attr[5].whole > input + 1)
        inst->attr[5].whole--;
    l->changed = true;
}

static Inst *add_rest(Loop *l, Inst *value)
{
    Inst *inst = l->inst;
    for (int i = 0; i < inst->inputs; i++)
        if (is_rest(l, i) && inst->input[i] == value)
            return param_of(l, i);
    Inst **input = NEW_ARRAY(l->fn->cx->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++)
        input[i] = inst->input[i];
    input[inst->inputs++] = value;
    inst->input = input;
    value->uses++;
    l->changed = true;
    return ir_param(l->body, value->type, (Slot){0}, value->name, value->span);
}

static bool is_read(const Loop *l, int result)
{
    if (l->inst->results == 1)
        return l->inst->uses > 0;
    for (const Inst *get = l->inst->next; get; get = get->next)
        if (get->op == OP_get && get->input[0] == l->inst && get->attr[0].whole == result)
            return true;
    return false;
}

// Readers of a result read `value` instead, which stands in front of the loop or right after it.
static void replace_result(Loop *l, int result, Inst *value)
{
    if (l->inst->results == 1) {
        ir_replace_uses(l->fn, l->inst, value);
    } else {
        for (Inst *get = l->inst->next, *next; get; get = next) {
            next = get->next;
            if (get == value || get->op != OP_get || get->input[0] != l->inst ||
                get->attr[0].whole != result)
                continue;
            ir_replace_uses(l->fn, get, value);
            ir_remove(l->fn, get);
        }
    }
    l->changed = true;
}

// Nothing reads the result, and it is not the only one.
static void drop_result(Loop *l, int result)
{
    Inst *inst = l->inst;
    IrFunction *body = l->body;
    body->result.at[result].value->uses--;
    Type *types = NEW_ARRAY(l->fn->cx->arena, Type, inst->results);
    for (int i = 0, kept = 0; i < inst->results; i++) {
        if (i == result)
            continue;
        body->result.at[kept] = body->result.at[i];
        types[kept++] = inst->result_type[i];
    }
    body->result.count--;
    inst->results--;
    inst->type = types[0];
    inst->result_type = inst->results > 1 ? types : NULL;
    for (Inst *get = inst->next, *next; get; get = next) {
        next = get->next;
        if (get->op != OP_get || get->input[0] != inst)
            continue;
        if (get->attr[0].whole > result)
            get->attr[0].whole--;
        if (inst->results > 1)
            continue;
        ir_replace_uses(l->fn, get, inst);
        ir_remove(l->fn, get);
    }
    l->changed = true;
}

// ---- in the body --------------------------------------------------------------------------------

static Inst *first_in_body(Loop *l, Op op, Inst *const in[], int inputs, const Attr attr[],
                           Type type)
{
    Span span = l->inst->span;
    return l->body->first ? ir_insert_before(l->body->first, op, in, inputs, attr, type, span)
                          : ir_append(l->body, op, in, inputs, attr, type, span);
}

static Inst *constant_in_body(Loop *l, const Inst *constant, Type type)
{
    Inst *made = first_in_body(l, OP_constant, NULL, 0, constant->attr, type);
    made->name = constant->name;
    return made;
}

// A slice that is the same each turn, or the turn: an instruction of the body; NULL: neither.
static Inst *same_slice(Loop *l, int input)
{
    Inst *whole = l->inst->input[input];
    Type type = param_of(l, input)->type;
    if (whole->op == OP_constant && whole->attr[0].data.splat)
        return constant_in_body(l, whole, type);
    if (whole->op == OP_iota && whole->attr[0].whole > 0) {
        Attr attr = {.whole = whole->attr[0].whole - 1};
        return first_in_body(l, OP_iota, NULL, 0, &attr, type);
    }
    if (whole->op == OP_iota && type.rank == 0) {
        Inst *turn = l->body->param.at[0];
        return type.dtype == DTYPE_I64 ? turn : first_in_body(l, OP_cast, &turn, 1, NULL, type);
    }
    if (whole->op != OP_broadcast)
        return NULL;
    IntList axes = whole->attr[0].list;
    if (axes.count > 0 && axes.at[0] == 0)
        return NULL;
    Inst *value = add_rest(l, whole->input[0]);
    if (type_equal(value->type, type))
        return value;
    for (int i = 0; i < axes.count; i++)
        axes.at[i]--;
    Attr attr = {.list = axes};
    return first_in_body(l, OP_broadcast, &value, 1, &attr, type);
}

// A guard that is known always holds (one that never does leaves the loop to its guard).
static void decide_guard(Loop *l)
{
    int input = (int)l->inst->attr[5].whole - 1;
    double holds;
    if (input < carried_of(l) || is_slice(l, input) ||
        !inst_is_splat(l->inst->input[input], &holds) || holds == 0)
        return;
    l->inst->attr[5].whole = 0;
    l->changed = true;
}

static void simplify_inputs(Loop *l)
{
    for (int i = 0; i < l->inst->inputs; i++) {
        Inst *param = param_of(l, i), *value = l->inst->input[i], *instead = NULL;
        if (param->uses == 0 || i < carried_of(l))
            continue;
        if (is_slice(l, i) && !is_guard(l, i))
            instead = same_slice(l, i);
        else if (is_rest(l, i) && value->op == OP_constant)
            instead = constant_in_body(l, value, value->type);
        for (int k = carried_of(l); !instead && k < i; k++)
            if (l->inst->input[k] == value && is_slice(l, k) == is_slice(l, i))
                instead = param_of(l, k);
        if (!instead)
            continue;
        ir_replace_uses(l->body, param, instead);
        l->changed = true;
    }
    for (int i = l->inst->inputs - 1; i >= carried_of(l); i--)
        if (param_of(l, i)->uses == 0 && !is_guard(l, i))
            drop_input(l, i);
}

// ---- carried values -----------------------------------------------------------------------------

static void drop_unchanged(Loop *l)
{
    for (int i = carried_of(l) - 1; i >= 0; i--) {
        Inst *param = param_of(l, i), *start = l->inst->input[i];
        if (l->body->result.at[i].value != param || is_guard(l, i))
            continue;
        ir_replace_uses(l->body, param, add_rest(l, start));
        l->body->result.at[i].value->uses--; // dropping the result counts down the parameter's
        l->body->result.at[i].value = param;
        param->uses++;
        replace_result(l, i, start);
        if (l->inst->results == 1)
            return; // the loop has no readers left
        drop_result(l, i);
        drop_input(l, i);
    }
}

// Marks what the results that are read depend on, through any number of turns.
static void mark_live(Loop *l, bool *live)
{
    IrFunction *body = l->body;
    bool again = true;
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark = 0;
    for (Inst *inst = body->first; inst; inst = inst->next)
        inst->mark = 0;
    if (guarded(l))
        body->param.at[l->inst->attr[5].whole]->mark = 1;
    while (again) {
        again = false;
        for (int i = 0; i < body->result.count; i++)
            if (live[i])
                body->result.at[i].value->mark = 1;
        for (Inst *inst = body->last; inst; inst = inst->prev)
            for (int k = 0; inst->mark && k < inst->inputs; k++)
                inst->input[k]->mark = 1;
        for (int i = 0; i < carried_of(l); i++)
            if (param_of(l, i)->mark && !live[i])
                live[i] = again = true;
    }
}

static void drop_dead(Loop *l)
{
    int results = l->inst->results;
    bool *live = NEW_ARRAY(l->fn->cx->scratch, bool, results + 1);
    for (int i = 0; i < results; i++)
        live[i] = is_read(l, i);
    mark_live(l, live);
    int carried = carried_of(l);
    for (int i = results - 1; i >= 0; i--)
        if (!live[i])
            drop_result(l, i);
    pass_dce(l->body); // what computed them, so that nothing reads the carried ones
    for (int i = carried - 1; i >= 0; i--)
        if (!live[i])
            drop_input(l, i);
}

// ---- stacked results ----------------------------------------------------------------------------

static Inst *after_loop(Loop *l, Op op, Inst *const in[], int inputs, const Attr attr[], Type type)
{
    Inst *next = l->inst->next;
    return next ? ir_insert_before(next, op, in, inputs, attr, type, l->inst->span)
                : ir_append(l->fn, op, in, inputs, attr, type, l->inst->span);
}

// What a stacked result is without the loop: in front of it, or right after it; NULL: unknown.
static Inst *stack_outside(Loop *l, int result)
{
    Inst *value = l->body->result.at[result].value;
    Type type = l->inst->results > 1 ? l->inst->result_type[result] : l->inst->type;
    int input = input_of(l, value);
    if (guarded(l))
        return NULL;
    if (input >= 0 && is_slice(l, input))
        return l->inst->input[input];
    if (value->op == OP_constant && value->attr[0].data.splat)
        return ir_insert_before(l->inst, OP_constant, NULL, 0, value->attr, type, l->inst->span);
    if (input < 0 || !is_rest(l, input))
        return NULL;
    Attr attr = {.list = {.count = value->type.rank}};
    for (int i = 0; i < value->type.rank; i++)
        attr.list.at[i] = i + 1;
    return ir_insert_before(l->inst, OP_broadcast, &l->inst->input[input], 1, &attr, type,
                            l->inst->span);
}

static void simplify_stacked(Loop *l)
{
    for (int i = carried_of(l); i < l->inst->results; i++) {
        if (!is_read(l, i))
            continue;
        Inst *outside = stack_outside(l, i);
        int same = carried_of(l);
        while (l->body->result.at[same].value != l->body->result.at[i].value)
            same++;
        if (!outside && same < i) {
            Attr attr = {.whole = same};
            outside = after_loop(l, OP_get, &l->inst, 1, &attr, (Type){0});
        }
        if (outside)
            replace_result(l, i, outside);
    }
}

// ---- moving out of the loop ---------------------------------------------------------------------

enum { VARIES = -1 };

// mark: the elements of the largest operand from outside that the value is made from; VARIES: not
// the same each turn.
static void mark_same(Loop *l)
{
    IrFunction *body = l->body;
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark =
            i > 0 && is_rest(l, i - 1) ? type_elements(body->param.at[i]->type) : VARIES;
    for (Inst *inst = body->first; inst; inst = inst->next) {
        inst->mark = op_has(inst->op, PURE) && inst->results == 1 ? 0 : VARIES;
        for (int i = 0; i < inst->inputs && inst->mark != VARIES; i++) {
            int64_t from = inst->input[i]->mark;
            inst->mark = from == VARIES ? VARIES : from > inst->mark ? from : inst->mark;
        }
    }
}

static bool worth_moving(const Inst *inst)
{
    if (inst->mark == VARIES || inst->inputs == 0)
        return false;
    switch ((int)inst->op) {
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_stop_gradient:
        return false;
    default:
        return !op_has(inst->op, POINTWISE) || type_elements(inst->type) <= inst->mark;
    }
}

// A copy in front of the loop. Operands that only the body has are copied, too.
static Inst *copy_outside(Loop *l, Inst *inst, Inst **copy)
{
    int input = input_of(l, inst);
    if (input >= 0)
        return l->inst->input[input];
    if (copy[inst->id])
        return copy[inst->id];
    Inst **in = NEW_ARRAY(l->fn->cx->scratch, Inst *, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++)
        in[i] = copy_outside(l, inst->input[i], copy);
    return copy[inst->id] = ir_clone_before(l->inst, inst, in);
}

static void move_out(Loop *l)
{
    const IrFunction *root = l->fn;
    if (guarded(l) && l->count == 1)
        return;
    while (root->parent)
        root = root->parent;
    mark_same(l);
    int known = root->next_id;
    Inst **copy = NULL;
    // From the end: an operand of something that was moved has no reader left in the body.
    for (Inst *inst = l->body->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0 && op_has(inst->op, PURE)) {
            ir_remove(l->body, inst);
            continue;
        }
        if (inst->id >= known || !worth_moving(inst))
            continue;
        if (!copy)
            copy = NEW_ARRAY(l->fn->cx->scratch, Inst *, known + 1);
        ir_replace_uses(l->body, inst, add_rest(l, copy_outside(l, inst, copy)));
        ir_remove(l->body, inst);
        l->changed = true;
    }
}

// A product reads rows of its second operand; from a transposed one it makes a copy, which few rows
// of the first operand do not pay for.
static void turn_operands(Loop *l)
{
    enum { FEW_TURNS = 4, MANY_ROWS = 96 };
    if (l->count < FEW_TURNS)
        return;
    for (Inst *inst = l->body->first; inst; inst = inst->next) {
        DotShape shape;
        int input = inst->op == OP_dot ? input_of(l, inst->input[1]) : -1;
        if (input < 0 || !is_rest(l, input) || inst->input[1]->type.rank != 2 ||
            inst->attr[1].list.count != 1 || inst->attr[1].list.at[0] != 1 ||
            inst->input[0]->type.rank == 0 || !dot_shape(inst, &shape) || shape.dot.n < 2 ||
            shape.dot.m <= AML_DOT_FEW_ROWS || shape.dot.m >= MANY_ROWS)
            continue;
        Attr turned = {.list = {2, {1, 0}}};
        Inst *outside = ir_insert_before(l->inst, OP_transpose, &l->inst->input[input], 1, &turned,
                                         (Type){0}, inst->span);
        ir_set_input(inst, 1, add_rest(l, outside));
        inst->attr[1].list.at[0] = 0;
    }
}

// ---- a loop of one turn -------------------------------------------------------------------------

static Inst *reshaped(Loop *l, Inst *value, Type type)
{
    return ir_insert_before(l->inst, OP_reshape, &value, 1, NULL, type, l->inst->span);
}

static void inline_turn(Loop *l)
{
    IrFunction *fn = l->fn;
    const IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    Inst *inst = l->inst, **twin = NEW_ARRAY(fn->cx->scratch, Inst *, root->next_id + 1);
    int64_t zero = 0;
    Attr first = {.data = {true, sizeof zero, arena_copy(fn->cx->arena, &zero, sizeof zero)}};
    twin[l->body->param.at[0]->id] =
        ir_insert_before(inst, OP_constant, NULL, 0, &first, type_scalar(DTYPE_I64), inst->span);
    for (int i = 0; i < inst->inputs; i++)
        twin[param_of(l, i)->id] =
            is_slice(l, i) ? reshaped(l, inst->input[i], param_of(l, i)->type) : inst->input[i];
    for (const Inst *from = l->body->first; from; from = from->next) {
        Inst **in = NEW_ARRAY(fn->cx->scratch, Inst *, from->inputs + 1);
        for (int i = 0; i < from->inputs; i++)
            in[i] = twin[from->input[i]->id];
        twin[from->id] = ir_clone_before(inst, from, in);
    }
    for (int i = 0; i < inst->results; i++) {
        Inst *value = twin[l->body->result.at[i].value->id];
        if (i >= carried_of(l))
            value = reshaped(l, value, inst->results > 1 ? inst->result_type[i] : inst->type);
        replace_result(l, i, value);
    }
    ir_remove(fn, inst);
}

bool pass_loops(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op != OP_loop || inst->uses == 0)
            continue;
        Loop l = {
            .fn = fn, .inst = inst, .body = inst->attr[3].function, .count = inst->attr[0].whole};
        if (l.count == 1 && !guarded(&l)) {
            while (next && next->op == OP_get && next->input[0] == inst)
                next = next->next; // they go away with it
            inline_turn(&l);
        } else {
            decide_guard(&l);
            simplify_inputs(&l);
            drop_unchanged(&l);
            simplify_stacked(&l);
            if (inst->uses > 0) {
                drop_dead(&l);
                move_out(&l);
                turn_operands(&l);
            }
            next = inst->next; // gets of the loop may be gone
        }
        changed |= l.changed;
    }
    return changed;
}
