// gradient_loop.c: the gradient of a loop is a loop that runs the turns from the last to the first.
//
// It carries the adjoints of what is carried, is given one slice a turn of the adjoints of what was
// stacked, and stacks the adjoints of what was sliced; those of the inputs that are the same in
// each turn are summed up. Its body is the forward body once more and then its gradient. What the
// gradient reads of the forward part and is expensive (products, reductions, calls, loops) is not
// computed again: the forward loop stacks it as well, and the slice is read here. The rest, element
// by element and moving, is cheaper to compute again than to keep.
//
//     forward:   loop(start, xs, w)      -> last, ys         body: (c, x, w)  -> (c', y)
//     becomes:   loop(start, xs, w)      -> last, ys, saved  body: (c, x, w)  -> (c', y, s)
//     gradient:  loop(dlast, 0, dys, saved, xs, w), reversed -> dstart, dw, dxs
//                                        body: (dc', dw, dy, s, x, w) -> (dc, dw + ..., dx)
//
// The gradient is an ordinary loop of the trace, so it has a gradient, too. A turn that the guard
// left out is left out here: it changed nothing, and its slices in the stacks are zeros.
//
// A sum over the turns of products that contract leading axes is one product of the stacked
// operands, which contracts the turns as well.

#include <string.h>

#include "elab/internal.h"

typedef struct Product { // part of an adjoint: dot(a, b), summed over the turns
    Inst *dot;
    int a, b; // numbers of the stacked operands; -1: the operand is a slice of an input
} Product;

typedef Vec(Product) ProductList;

typedef struct LoopGradient {
    Elab *e;
    Arena *arena;
    Inst *loop;
    IrFunction *body;
    int carried, sliced, inputs;
    Inst *const *adjoint; // of the results
    const bool *wanted;   // by input
    bool *active;         // by input: a wanted input reaches it
    bool *needed;         // by carried value: its adjoint may differ from zero
    Trace *trace;         // of the gradient's body
    Inst **twin;          // by id of the body: the same value in the gradient's body
    Inst *end;            // the last instruction of the forward part
    Inst **inside;        // by input: in the gradient's body
    Inst **carry;         // by carried value: its adjoint after the turn
    Inst **gradient;      // by input: its adjoint in this turn, NULL: zeros
    Vec(Inst *) saved;    // what stands for saved values in the body
    Vec(Inst *) kept;     // what they stand for, in the new forward body
} LoopGradient;

static bool is_float(const Inst *inst)
{
    return dtype_info[inst->type.dtype].kind == KIND_FLOAT;
}

static int ids_of(const IrFunction *fn)
{
    while (fn->parent)
        fn = fn->parent;
    return fn->next_id;
}

// ---- which values take part ---------------------------------------------------------------------

// Marks what depends on an active input; true if that made another carried value active.
static bool spread_active(LoopGradient *g, bool *mark)
{
    IrFunction *body = g->body;
    for (int i = 0; i < g->inputs; i++)
        mark[body->param.at[i + 1]->id] = g->active[i];
    for (const Inst *inst = body->first; inst; inst = inst->next) {
        mark[inst->id] = false;
        for (int i = 0; i < inst->inputs; i++)
            mark[inst->id] |= mark[inst->input[i]->id];
    }
    bool changed = false;
    for (int i = 0; i < g->carried; i++) {
        const Inst *next = body->result.at[i].value;
        if (mark[next->id] && is_float(next) && !g->active[i])
            g->active[i] = changed = true;
    }
    return changed;
}

// Marks what the adjoints reach; true if that made another carried value needed.
static bool spread_needed(LoopGradient *g, bool *mark)
{
    IrFunction *body = g->body;
    for (const Inst *inst = body->first; inst; inst = inst->next)
        mark[inst->id] = false;
    for (int i = 0; i < body->param.count; i++)
        mark[body->param.at[i]->id] = false;
    for (int i = 0; i < body->result.count; i++)
        if (i < g->carried ? g->needed[i] : g->adjoint[i] != NULL)
            mark[body->result.at[i].value->id] = true;
    for (const Inst *inst = body->last; inst; inst = inst->prev)
        for (int i = 0; i < inst->inputs; i++)
            mark[inst->input[i]->id] |= mark[inst->id];
    bool changed = false;
    for (int i = 0; i < g->carried; i++)
        if (mark[body->param.at[i + 1]->id] && g->active[i] && !g->needed[i])
            g->needed[i] = changed = true;
    return changed;
}

static void find_active(LoopGradient *g)
{
    bool *mark = NEW_ARRAY(g->arena, bool, ids_of(g->body) + 1);
    g->active = NEW_ARRAY(g->arena, bool, g->inputs + 1);
    g->needed = NEW_ARRAY(g->arena, bool, g->carried + 1);
    for (int i = 0; i < g->inputs; i++)
        g->active[i] = g->wanted[i];
    while (spread_active(g, mark))
        ;
    for (int i = 0; i < g->carried; i++)
        g->needed[i] = g->active[i] && g->adjoint[i];
    while (spread_needed(g, mark))
        ;
}

// ---- the gradient's body ------------------------------------------------------------------------

// The forward part: the body with slices for what is carried.
static void trace_forward(LoopGradient *g)
{
    Elab *e = g->e;
    g->twin = NEW_ARRAY(g->arena, Inst *, ids_of(g->body) + 1);
    g->inside = NEW_ARRAY(g->arena, Inst *, g->inputs + 1);
    g->twin[g->body->param.at[0]->id] = g->trace->region->turn;
    for (int i = 0; i < g->inputs; i++) {
        Inst *input = g->loop->input[i], *param = g->body->param.at[i + 1];
        if (i < g->carried)
            g->inside[i] = region_later(e, param->type);
        else if (i < g->carried + g->sliced)
            g->inside[i] = elab_region_slice(e, input);
        else
            g->inside[i] = elab_capture(e, input);
        g->twin[param->id] = g->inside[i];
    }
    int64_t guard = g->loop->attr[5].whole;
    if (guard)
        elab_region_guard(e, region_input(g->trace->region, g->inside[guard - 1])
                                 ? g->inside[guard - 1]
                                 : g->loop->input[guard - 1]);
    for (const Inst *inst = g->body->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(g->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = g->twin[inst->input[i]->id];
        g->twin[inst->id] = ir_clone_into(g->trace->fn, inst, in);
    }
    g->end = g->trace->fn->last;
}

// An input whose adjoint is asked for. Two inputs that are the same each turn may be one value: the
// first of them stands for both.
static bool takes_adjoint(const LoopGradient *g, int input)
{
    if (!g->active[input] || (input < g->carried && !g->needed[input]))
        return false;
    for (int i = g->carried + g->sliced; i < input; i++)
        if (g->inside[i] == g->inside[input])
            return false;
    return true;
}

static bool trace_gradient(LoopGradient *g)
{
    Elab *e = g->e;
    IrFunction *body = g->body;
    int results = body->result.count, seeds = 0, count = 0;
    Inst **value = NEW_ARRAY(g->arena, Inst *, results + 1);
    Inst **adjoint = NEW_ARRAY(g->arena, Inst *, results + 1);
    Inst **wrt = NEW_ARRAY(g->arena, Inst *, g->inputs + 1);
    Inst **out = NEW_ARRAY(g->arena, Inst *, g->inputs + 1);
    g->carry = NEW_ARRAY(g->arena, Inst *, g->carried + 1);
    g->gradient = NEW_ARRAY(g->arena, Inst *, g->inputs + 1);
    for (int i = 0; i < results; i++) {
        Inst *result = body->result.at[i].value;
        if (i < g->carried ? !g->needed[i] : !g->adjoint[i] || !is_float(result))
            continue;
        value[seeds] = g->twin[result->id];
        if (i < g->carried) {
            Inst *start = g->adjoint[i];
            if (!start)
                start = ir_real(g->loop->function, result->type, 0.0, g->loop->span);
            g->carry[i] = elab_region_carry(e, start);
        }
        adjoint[seeds++] = i < g->carried ? g->carry[i] : elab_region_slice(e, g->adjoint[i]);
    }
    for (int i = 0; i < g->inputs; i++)
        if (takes_adjoint(g, i))
            wrt[count++] = g->inside[i];
    if (!gradient_seeded(e, value, adjoint, seeds, wrt, count, out))
        return false;
    for (int i = 0, next = 0; i < g->inputs; i++)
        if (takes_adjoint(g, i))
            g->gradient[i] = out[next++];
    return true;
}

// ---- what is kept from the forward loop ---------------------------------------------------------

// The forward part as a body of its own, by id of the gradient's body: after the gradients of loops
// in it were taken, so that what those keep is there as well.
static IrFunction *forward_body(LoopGradient *g, Inst **twin)
{
    IrFunction *from = g->trace->fn, *body = ir_function_new(g->e->cx, NULL, NULL, g->body->span);
    for (int i = 0; i < g->body->param.count; i++) {
        const Inst *old = g->body->param.at[i];
        Inst *param = ir_param(body, old->type, (Slot){0}, old->name, old->span);
        Inst *inside = g->twin[old->id];
        if (inside->op == OP_parameter && !twin[inside->id])
            twin[inside->id] = param;
    }
    for (Inst *inst = from->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(g->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        twin[inst->id] = ir_clone_into(body, inst, in);
        if (inst == g->end)
            break;
    }
    for (int i = 0; i < g->body->result.count; i++) {
        const Inst *result = g->twin[g->body->result.at[i].value->id];
        ir_result(body, twin[result->id], (Slot){0}, NULL);
    }
    return body;
}

// Cheaper to compute again than to keep.
static bool is_cheap(const Inst *inst)
{
    switch ((int)inst->op) {
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_pad:
    case OP_concat:
    case OP_gather:
    case OP_random:
    case OP_stop_gradient:
        return true;
    default:
        return op_has(inst->op, POINTWISE) || op_has(inst->op, LEAF);
    }
}

// What is made element by element from something expensive that nothing else reads is kept in its
// place: it costs the same memory, and its other operands need not be there.
static bool stands_for_saved(const Inst *inst, const bool *varies, int depth)
{
    if (!op_has(inst->op, POINTWISE) || depth == 8)
        return false;
    for (int i = 0; i < inst->inputs; i++) {
        const Inst *from = inst->input[i];
        if (from->uses == 1 && varies[from->id] && from->op != OP_parameter &&
            type_equal(from->type, inst->type) &&
            (is_cheap(from) ? stands_for_saved(from, varies, depth + 1) : from->results == 1))
            return true;
    }
    return false;
}

// Whether all that reads `value`, perhaps as another shape, has to have it in memory.
static bool only_for_kernels(const Inst *value)
{
    int found = 0;
    for (const Inst *inst = value->next; inst && found < value->uses; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != value)
                continue;
            bool kernel =
                inst->op == OP_call || inst->op == OP_attend || inst->op == OP_attend_back;
            if (!kernel && !(inst->op == OP_reshape && only_for_kernels(inst)))
                return false;
            found++;
        }
    return found > 0 && found == value->uses;
}

// Pieces of something expensive (the queries, keys and values of one product) of which nothing but
// pieces is read, where kernels read them: they are copied in the forward part, unless the kernels
// read them in the whole, and need not be copied again. Together they need no more memory than the
// whole.
static bool piece_of_saved(const Inst *inst, const bool *varies)
{
    RowPiece row;
    if (inst->op != OP_slice || !only_for_kernels(inst) ||
        (inst_row_piece(inst, &row) && inst_attended(inst, row.rows)))
        return false;
    const Inst *whole = inst->input[0];
    int pieces = 0;
    int64_t elements = 0;
    for (const Inst *other = whole->next; other; other = other->next)
        if (other->op == OP_slice && other->input[0] == whole && only_for_kernels(other)) {
            pieces++;
            elements += type_elements(other->type);
        }
    if (pieces != whole->uses || elements > type_elements(whole->type))
        return false;
    while (whole->op == OP_reshape && whole->input[0]->uses == 1)
        whole = whole->input[0];
    return varies[whole->id] && whole->op != OP_parameter && whole->results == 1 &&
           (!is_cheap(whole) || stands_for_saved(whole, varies, 0));
}

static void save(LoopGradient *g, Inst *inst, Inst *kept)
{
    Inst *slice = region_later(g->e, inst->type);
    ir_replace_uses(g->trace->fn, inst, slice);
    ir_remove(g->trace->fn, inst);
    vec_push(g->arena, &g->saved, slice);
    vec_push(g->arena, &g->kept, kept);
}

static bool computes_same(const Inst *a, const Inst *b)
{
    if (a->op != b->op || a->inputs != b->inputs || a->inputs == 0 ||
        memcmp(a->input, b->input, sizeof(Inst *) * (size_t)a->inputs) != 0)
        return false;
    return a->op == OP_call ? a->attr[0].function == b->attr[0].function
                            : a->op == OP_get && a->attr[0].whole == b->attr[0].whole;
}

// The rule of a call may ask for the call's own results: they are those of the forward part.
static void merge_calls(LoopGradient *g)
{
    IrFunction *fn = g->trace->fn;
    for (Inst *inst = g->end ? g->end->next : NULL, *next; inst; inst = next) {
        next = inst->next;
        Inst *same = inst->op == OP_call || inst->op == OP_get ? g->end : NULL;
        while (same && !computes_same(same, inst))
            same = same->prev;
        if (!same)
            continue;
        ir_replace_uses(fn, inst, same);
        ir_remove(fn, inst);
    }
}

// Walks the forward part from its end: what the gradient does not read goes away, what is expensive
// is saved. What depends on no turn is left: it is computed once, before the loop.
static void save_forward(LoopGradient *g, IrFunction *forward, Inst **twin, int known)
{
    IrFunction *fn = g->trace->fn;
    merge_calls(g);
    bool *varies = NEW_ARRAY(g->arena, bool, known + 1);
    for (int i = 0; i < g->carried + g->sliced; i++)
        varies[g->inside[i]->id] = true;
    varies[g->trace->region->turn->id] = true;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        for (int i = 0; i < inst->inputs; i++)
            varies[inst->id] |= varies[inst->input[i]->id];
        if (inst == g->end)
            break;
    }
    // The gradient of an inner loop or call reads more of its results than the forward part did.
    for (Inst *inst = g->end ? g->end->next : NULL, *next; inst; inst = next) {
        next = inst->next;
        Inst *multi = inst->op == OP_get ? inst->input[0] : NULL;
        if (multi && multi->id < known && twin[multi->id] &&
            (multi->op == OP_loop || multi->op == OP_call))
            save(g, inst, ir_get(forward, twin[multi->id], (int)inst->attr[0].whole, inst->span));
    }
    for (Inst *inst = g->end, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0)
            ir_remove(fn, inst);
        else if (varies[inst->id] && inst->results == 1 &&
                 (!is_cheap(inst) || stands_for_saved(inst, varies, 0) ||
                  piece_of_saved(inst, varies)))
            save(g, inst, twin[inst->id]);
    }
}

// The forward loop stacks what is saved, and what is carried where the gradient reads that.
static void extend_forward(LoopGradient *g, IrFunction *forward)
{
    int first = forward->result.count, next = first;
    Region *region = g->trace->region;
    for (int i = 0; i < g->carried; i++)
        if (g->inside[i]->uses > 0 || region->guard == g->inside[i]) {
            vec_push(g->arena, &g->saved, g->inside[i]);
            vec_push(g->arena, &g->kept, forward->param.at[i + 1]);
        }
    if (g->saved.count == 0)
        return;
    for (int i = 0; i < g->kept.count; i++)
        ir_result(forward, g->kept.at[i], (Slot){0}, NULL);
    IrFunction *fn = g->loop->function;
    Inst *loop = ir_loop_set_body(g->loop, forward);
    for (int i = 0; i < g->saved.count; i++)
        region_input(region, g->saved.at[i])->outside =
            loop->results == 1 ? loop : ir_get(fn, loop, next++, loop->span);
}

// ---- adjoints summed over the turns -------------------------------------------------------------

static bool contracts_leading(IntList axes, IntList batch)
{
    for (int i = 0; i < axes.count; i++)
        if (axes.at[i] != i)
            return false;
    return axes.count > 0 && axes.count < IR_MAX_RANK && batch.count == 0;
}

// A sum of products over the turns is one product if its operands are smaller than what is summed.
static bool is_product(const LoopGradient *g, const Inst *inst)
{
    if (inst->op != OP_dot || !contracts_leading(inst->attr[0].list, inst->attr[2].list) ||
        !contracts_leading(inst->attr[1].list, inst->attr[3].list))
        return false;
    const Inst *a = inst->input[0], *b = inst->input[1];
    for (int i = 0; i < 2; i++) {
        const RegionInput *input = region_input(g->trace->region, inst->input[i]);
        if (input && input->kind == REGION_REST)
            return false;
    }
    return a->type.rank < IR_MAX_RANK && b->type.rank < IR_MAX_RANK &&
           type_elements(a->type) + type_elements(b->type) <= 2 * type_elements(inst->type);
}

static int stack_operand(LoopGradient *g, Inst *operand)
{
    const RegionInput *input = region_input(g->trace->region, operand);
    return input && input->kind == REGION_SLICED ? -1 : elab_region_stack(g->e, operand);
}

// Takes the products out of a sum; gives back what is left of it, NULL: nothing.
static Inst *split_products(LoopGradient *g, Inst *sum, ProductList *out)
{
    if (sum->op == OP_add && sum->uses <= 1) {
        Inst *a = split_products(g, sum->input[0], out), *b = split_products(g, sum->input[1], out);
        if (a == sum->input[0] && b == sum->input[1])
            return sum;
        return a && b ? ir_binary(g->trace->fn, OP_add, a, b, sum->span) : a ? a : b;
    }
    if (!is_product(g, sum))
        return sum;
    Product product = {sum, stack_operand(g, sum->input[0]), stack_operand(g, sum->input[1])};
    vec_push(g->arena, out, product);
    return NULL;
}

static Inst *whole_operand(const LoopGradient *g, const Inst *operand, int stacked)
{
    return stacked >= 0 ? elab_region_stacked(g->trace, stacked)
                        : region_input(g->trace->region, operand)->outside;
}

static IntList with_turns(IntList axes)
{
    IntList out = {.count = axes.count + 1};
    for (int i = 0; i < axes.count; i++)
        out.at[i + 1] = axes.at[i] + 1;
    return out;
}

static Inst *sum_products(const LoopGradient *g, const ProductList *list, Inst *sum)
{
    IrFunction *fn = g->e->trace->fn;
    for (int i = 0; i < list->count; i++) {
        const Product *product = &list->at[i];
        const Inst *dot = product->dot;
        Inst *all =
            ir_dot(fn, whole_operand(g, dot->input[0], product->a),
                   whole_operand(g, dot->input[1], product->b), with_turns(dot->attr[0].list),
                   with_turns(dot->attr[1].list), (IntList){0}, (IntList){0}, dot->span);
        sum = sum ? ir_binary(fn, OP_add, sum, all, dot->span) : all;
    }
    return sum;
}

// ---- the loop -----------------------------------------------------------------------------------

static bool finish(LoopGradient *g, Inst *out[])
{
    Elab *e = g->e;
    IrFunction *fn = g->trace->fn;
    Inst **sum = NEW_ARRAY(g->arena, Inst *, g->inputs + 1);
    int *stack = NEW_ARRAY(g->arena, int, g->inputs + 1);
    ProductList *product = NEW_ARRAY(g->arena, ProductList, g->inputs + 1);
    for (int i = 0; i < g->inputs; i++) {
        Inst *gradient = g->gradient[i];
        if (i < g->carried && g->carry[i]) {
            Type type = g->carry[i]->type;
            elab_region_next(e, g->carry[i],
                             gradient ? gradient : ir_real(fn, type, 0.0, g->loop->span));
        } else if (i >= g->carried && i < g->carried + g->sliced && gradient) {
            stack[i] = elab_region_stack(e, gradient);
        } else if (i >= g->carried + g->sliced && gradient) {
            Inst *rest = split_products(g, gradient, &product[i]);
            if (!rest)
                continue;
            IrFunction *outer = g->trace->outer->fn;
            sum[i] = elab_region_carry(e, ir_real(outer, rest->type, 0.0, rest->span));
            elab_region_next(e, sum[i], ir_binary(fn, OP_add, sum[i], rest, rest->span));
        }
    }
    if (!elab_region_close(e, g->trace, true) || !elab_region_emit(e, g->trace))
        return false;
    for (int i = 0; i < g->inputs; i++) {
        if (i < g->carried)
            out[i] = g->carry[i] ? elab_region_after(e, g->trace, g->carry[i]) : NULL;
        else if (i < g->carried + g->sliced)
            out[i] = g->gradient[i] ? elab_region_stacked(g->trace, stack[i]) : NULL;
        else
            out[i] = sum_products(g, &product[i],
                                  sum[i] ? elab_region_after(e, g->trace, sum[i]) : NULL);
    }
    return true;
}

bool gradient_of_loop(Elab *e, Inst *loop, Inst *const adjoint[], const bool wanted[], Inst *out[])
{
    LoopGradient *g = &(LoopGradient){.e = e,
                                      .arena = e->cx->arena,
                                      .loop = loop,
                                      .body = loop->attr[3].function,
                                      .carried = (int)loop->attr[1].whole,
                                      .sliced = (int)loop->attr[2].whole,
                                      .inputs = loop->inputs,
                                      .adjoint = adjoint,
                                      .wanted = wanted};
    if (loop->attr[0].whole == LOOP_NO_LIMIT) {
        report(e->cx, loop->span, endless_gradient);
        help(e->cx, "say how many turns there are at most: `limit: 100`");
        return false;
    }
    find_active(g);
    g->trace = elab_region_begin(e, loop->attr[0].whole, loop->span);
    g->trace->region->reverse = !loop->attr[4].whole;
    trace_forward(g);
    if (!trace_gradient(g)) {
        elab_region_close(e, g->trace, false);
        return false;
    }
    IrFunction *fn = g->trace->fn;
    int known = fn->next_id;
    Inst **twin = NEW_ARRAY(g->arena, Inst *, known + 1);
    IrFunction *forward = forward_body(g, twin);
    // What the gradient gives is read, as long as the forward part is taken apart.
    for (int i = 0; i < g->inputs; i++)
        if (g->gradient[i])
            ir_result(fn, g->gradient[i], (Slot){0}, NULL);
    save_forward(g, forward, twin, known);
    for (int i = 0, next = 0; i < g->inputs; i++)
        if (g->gradient[i]) {
            g->gradient[i] = fn->result.at[next++].value;
            g->gradient[i]->uses--;
        }
    fn->result.count = 0;
    extend_forward(g, forward);
    return finish(g, out);
}
