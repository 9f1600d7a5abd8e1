// region.c: the part of a trace that becomes the body of a loop.
//
// A region is a trace whose function is nested in the one traced before. Values of the enclosing
// traces are used in it as they are: elab_emit asks elab_capture for each operand, which makes it a
// parameter of the body the first time (a constant is written again instead). The parameters are
// brought into the order of OP_loop when the region is closed, and those that nothing reads are
// left out; only elab_region_emit makes the instruction, so what was traced may also be used
// otherwise.
//
//     outer:  start, xs, w                    loop(start, xs, w)
//               |     |  \                      |
//     body:   carry  slice  captured w        the same values after the loop: region_after,
//               \_____|_____/                 region_stacked
//                 next, stacked
//
// Random numbers: the turn enters the key, so every turn draws numbers of its own. Turns of nested
// loops are counted through: outer turn * inner count + inner turn.

#include "elab/internal.h"

#include <string.h>

Trace *elab_region_begin(Elab *e, int64_t count, Span span)
{
    Trace *outer = e->trace;
    IrModule *module = e->module;
    e->module = NULL;
    Trace *trace = elab_trace_begin(e, NULL, elab_span(e, span));
    e->module = module;
    if (!outer)
        bug(e->cx, span, "a loop is traced outside of every function");
    trace->region = NEW(e->cx->arena, Region);
    trace->region->count = count;
    trace->region->turn =
        ir_param(trace->fn, type_scalar(DTYPE_I64), (Slot){0}, sym_of(e->cx, "turn"), span);
    return trace;
}

static Region *region_of(Elab *e)
{
    if (!e->trace || !e->trace->region)
        bug(e->cx, (Span){0}, "no region is being traced");
    return e->trace->region;
}

Inst *region_add(Elab *e, Trace *trace, RegionKind kind, Inst *outside, Type type)
{
    Inst *inside = ir_param(trace->fn, type, (Slot){0}, outside ? outside->name : NULL,
                            outside ? outside->span : trace->fn->span);
    RegionInput input = {.kind = kind, .outside = outside, .inside = inside};
    vec_push(e->cx->arena, &trace->region->input, input);
    return inside;
}

static Inst *capture_in(Elab *e, Trace *trace, Inst *inst)
{
    if (!inst || inst->function == trace->fn)
        return inst;
    if (!trace->region)
        return NULL;
    Inst *inside = pointer_map_get(&trace->region->captured, inst);
    if (inside)
        return inside;
    Inst *outside = capture_in(e, trace->outer, inst);
    if (!outside)
        return NULL;
    inside = outside->op == OP_constant || outside->op == OP_iota
                 ? ir_clone_into(trace->fn, outside, NULL)
                 : region_add(e, trace, REGION_REST, outside, outside->type);
    pointer_map_put(e->cx->arena, &trace->region->captured, inst, inside);
    return inside;
}

Inst *elab_capture(Elab *e, Inst *inst)
{
    Inst *inside = inst && e->trace ? capture_in(e, e->trace, inst) : NULL;
    return inside ? inside : inst;
}

static Inst *outer_value(Elab *e, Inst *inst)
{
    Trace *trace = e->trace;
    Inst *value = capture_in(e, trace->outer, inst);
    if (!value)
        bug(e->cx, inst->span, "a loop reads a value of another function");
    return value;
}

Inst *elab_region_carry(Elab *e, Inst *start)
{
    region_of(e);
    start = outer_value(e, start);
    return region_add(e, e->trace, REGION_CARRIED, start, start->type);
}

Inst *elab_region_slice(Elab *e, Inst *whole)
{
    Region *region = region_of(e);
    whole = outer_value(e, whole);
    Type type = whole->type;
    if (type.rank < 1 || type.dim[0] != region->count)
        bug(e->cx, whole->span, "%s is not one slice for each of %lld turns",
            type_text(e->cx->arena, type), (long long)region->count);
    memmove(type.dim, type.dim + 1, sizeof type.dim[0] * (size_t)(type.rank - 1));
    type.rank--;
    return region_add(e, e->trace, REGION_SLICED, whole, type);
}

Inst *region_later(Elab *e, Type type)
{
    region_of(e);
    return region_add(e, e->trace, REGION_SLICED, NULL, type);
}

RegionInput *region_input(const Region *region, const Inst *inside)
{
    for (int i = 0; i < region->input.count; i++)
        if (region->input.at[i].inside == inside)
            return &region->input.at[i];
    return NULL;
}

static RegionInput *input_of(Elab *e, const Region *region, const Inst *inside)
{
    RegionInput *input = region_input(region, inside);
    if (!input)
        bug(e->cx, inside->span, "this is not a value of the loop");
    return input;
}

void elab_region_next(Elab *e, Inst *carried, Inst *next)
{
    next = elab_capture(e, next); // which may make one more input: the list moves
    RegionInput *input = input_of(e, region_of(e), carried);
    input->next = next;
    if (input->kind != REGION_CARRIED || input->next->function != e->trace->fn ||
        !type_equal(input->next->type, carried->type))
        bug(e->cx, next->span, "a carried value %s becomes %s",
            type_text(e->cx->arena, carried->type), type_text(e->cx->arena, next->type));
}

int elab_region_stack(Elab *e, Inst *value)
{
    Region *region = region_of(e);
    vec_push(e->cx->arena, &region->stacked, elab_capture(e, value));
    return region->stacked.count - 1;
}

void elab_region_guard(Elab *e, Inst *guard)
{
    Region *region = region_of(e);
    region->guard = elab_capture(e, guard);
    if (region_input(region, region->guard))
        return;
    Inst *outside = outer_value(e, guard); // a constant
    region->guard = region_add(e, e->trace, REGION_REST, outside, outside->type);
}

// ---- the end ------------------------------------------------------------------------------------

static void order_params(Elab *e, Trace *trace)
{
    Region *region = trace->region;
    IrFunction *fn = trace->fn;
    fn->param.count = 1; // the turn
    for (int kind = REGION_CARRIED; kind <= REGION_REST; kind++)
        for (int i = 0; i < region->input.count; i++) {
            RegionInput *input = &region->input.at[i];
            Inst *inside = input->inside;
            if ((int)input->kind != kind)
                continue;
            input->used = kind == REGION_CARRIED || inside->uses > 0 || region->guard == inside;
            if (!input->used)
                continue;
            inside->attr[0].whole = fn->param.count;
            vec_push(e->cx->arena, &fn->param, inside);
        }
    fn->param_slot.count = fn->param.count; // all of one kind
}

bool elab_region_close(Elab *e, Trace *trace, bool complete)
{
    if (e->trace != trace || !trace->region)
        bug(e->cx, trace->fn->span, "regions are closed in the order in which they began");
    Region *region = trace->region;
    if (complete)
        region_cells_close(e, trace);
    e->trace = trace->outer;
    e->branching = trace->branching;
    if (!complete || diag_errors(e->cx) > trace->errors || e->gave_up)
        return false;
    for (int i = 0; i < region->input.count; i++) {
        RegionInput *input = &region->input.at[i];
        if (input->kind != REGION_CARRIED)
            continue;
        if (!input->next)
            bug(e->cx, input->inside->span, "a carried value without a next one");
        ir_result(trace->fn, input->next, (Slot){0}, NULL);
    }
    for (int i = 0; i < region->stacked.count; i++)
        ir_result(trace->fn, region->stacked.at[i], (Slot){0}, NULL);
    order_params(e, trace);
    return true;
}

Type region_stacked_type(Type type, int64_t count)
{
    Type stacked = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {count}};
    for (int i = 0; i < type.rank && i + 1 < IR_MAX_RANK; i++)
        stacked.dim[i + 1] = type.dim[i];
    return stacked;
}

bool elab_region_emit(Elab *e, Trace *trace)
{
    Region *region = trace->region;
    IrFunction *fn = e->trace->fn;
    Span span = trace->fn->span;
    for (int i = 0; i < region->stacked.count; i++)
        if (!elab_possible(e, region_stacked_type(region->stacked.at[i]->type, region->count),
                           span))
            return false;
    Inst **in = NEW_ARRAY(e->cx->arena, Inst *, trace->fn->param.count);
    int count[3] = {0}, inputs = 0;
    Attr attr[IR_MAX_ATTRS] = {{.whole = region->count}};
    for (int kind = REGION_CARRIED; kind <= REGION_REST; kind++)
        for (int i = 0; i < region->input.count; i++) {
            const RegionInput *input = &region->input.at[i];
            if ((int)input->kind != kind || !input->used)
                continue;
            in[inputs++] = input->outside;
            count[kind]++;
            if (input->inside == region->guard)
                attr[5].whole = inputs;
        }
    attr[1].whole = count[REGION_CARRIED];
    attr[2].whole = count[REGION_SLICED];
    attr[3].function = trace->fn;
    attr[4].whole = region->reverse;
    int results = trace->fn->result.count, next = 0;
    if (results == 0)
        return true;
    Inst *loop = ir_append(fn, OP_loop, in, inputs, attr, (Type){0}, span);
    region->result = NEW_ARRAY(e->cx->arena, Inst *, results);
    for (int i = 0; i < results; i++)
        region->result[i] = results == 1 ? loop : ir_get(fn, loop, i, span);
    for (int i = 0; i < region->input.count; i++)
        if (region->input.at[i].kind == REGION_CARRIED)
            region->input.at[i].after = region->result[next++];
    return region_cells_store(e, trace);
}

Inst *elab_region_after(Elab *e, const Trace *trace, const Inst *carried)
{
    return input_of(e, trace->region, carried)->after;
}

Inst *elab_region_stacked(const Trace *trace, int index)
{
    const Region *region = trace->region;
    return region->result[trace->fn->result.count - region->stacked.count + index];
}

// ---- numbers of the run -------------------------------------------------------------------------

static Inst *number_op(Trace *trace, Op op, Inst *a, int64_t b, Span span)
{
    Inst *right = ir_constant(trace->fn, type_scalar(DTYPE_I64), &b, true, span);
    return ir_binary(trace->fn, op, a, right, span);
}

// The turn, counted through the enclosing loops.
static Inst *whole_turn(Elab *e, Trace *trace, Span span)
{
    Region *region = trace->region;
    if (!trace->outer->region || region->whole_turn)
        return region->whole_turn ? region->whole_turn : region->turn;
    Inst *outer = capture_in(e, trace, whole_turn(e, trace->outer, span));
    region->whole_turn =
        ir_binary(trace->fn, OP_add, number_op(trace, OP_mul, outer, region->count, span),
                  region->turn, span);
    return region->whole_turn;
}

// In a function with its own gradient, `step` may already hold the turn of a loop around the call:
// turns are spread so that two different pairs of turns do not meet.
Inst *elab_draw_key(Elab *e, Inst *step, Span span)
{
    Trace *trace = e->trace, *root = trace;
    step = elab_capture(e, step);
    if (!trace->region)
        return step;
    while (root->region)
        root = root->outer;
    int64_t spread = root->callee ? (int64_t)(UINT64_C(0x9E3779B1) << 32) : INT64_C(1) << 32;
    Inst *turn = number_op(trace, OP_mul, whole_turn(e, trace, span), spread, span);
    return ir_binary(trace->fn, OP_add, step, turn, span);
}

Inst *region_scalar(Elab *e, aml_scalar_kind kind, int option, DType dtype, Span span)
{
    Trace *trace = e->trace;
    e->trace = trace->outer;
    while (kind == SCALAR_DRAW && e->trace->region)
        e->trace = e->trace->outer;
    Inst *scalar = elab_scalar(e, kind, option, dtype, span);
    e->trace = trace;
    return kind == SCALAR_DRAW ? elab_draw_key(e, scalar, elab_span(e, span))
                               : elab_capture(e, scalar);
}
