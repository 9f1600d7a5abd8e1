// gradient.c: reverse mode over the function being traced.
//
// The instructions above the loss are visited from the last to the first. When an instruction is
// reached, everything that reads it has been visited, so its adjoint (the gradient of the loss with
// respect to it) is complete; the rule of its operation, written in AML (stdlib/ops.aml, or a
// user's `grad`), turns it into the adjoints of its inputs. The rules leave ordinary instructions
// at the end of the trace, so gradients of gradients need nothing more.
//
//        x ---- exp ---- mul ---- loss            1. forward: which instructions depend on wrt
//               |         |         |             2. backward: adjoint(input) += rule(inputs,
//               adjoint)
//        dx <- rule <--- rule <---- 1
//
// A loop's gradient is a loop: see gradient_loop.c.
//
// What is computed for an input that nobody asks for (the adjoint of the data) is left to dce.

#include "elab/internal.h"

typedef struct Reverse {
    Elab *e;
    IrFunction *fn;
    int known;      // ids below this one existed before the walk
    bool *wanted;   // by id: depends on a wrt
    Inst **adjoint; // by id
    Inst ***part;   // by id of a MULTI instruction: the adjoints of its results
} Reverse;

// The arguments of a rule: one for each parameter of its function, and which input each tensor is.
typedef struct RuleCall {
    Sym name;
    Node *rule;
    int count;
    Value arg[16];
    int input[16]; // -1: static, -2: a list of all inputs
} RuleCall;

static Value list_of(Elab *e, const int64_t at[], int count)
{
    Value item[IR_MAX_RANK];
    for (int i = 0; i < count; i++)
        item[i] = value_int(at[i]);
    return value_list(e, count, item);
}

static Value axes_list(Elab *e, IntList list)
{
    return list_of(e, list.at, list.count);
}

static Value dtype_value(Elab *e, DType dtype)
{
    Value value = {.kind = VALUE_TYPE};
    value.as.type = NEW(e->cx->arena, TypeValue);
    value.as.type->element = sym_of(e->cx, dtype_info[dtype].name);
    value.as.type->dtype = dtype;
    value.as.type->castable = true;
    return value;
}

static void add_static(RuleCall *call, Value value)
{
    call->input[call->count] = -1;
    call->arg[call->count++] = value;
}

static void add_input(RuleCall *call, const Inst *inst, int index)
{
    call->input[call->count] = index;
    call->arg[call->count++] = value_tensor(inst->input[index]);
}

static void add_fold(Elab *e, RuleCall *call, const Inst *inst, bool has_second)
{
    add_input(call, inst, 0);
    if (has_second)
        add_static(call, value_none()); // y
    add_static(call, value_none());     // axis
    add_static(call, axes_list(e, inst->attr[1].list));
    add_static(call, value_bool(false)); // keep
}

static void add_pointwise_fold(RuleCall *call, const Inst *inst)
{
    add_input(call, inst, 0);
    add_input(call, inst, 1);
    add_static(call, value_none());
    add_static(call, value_none());
    add_static(call, value_bool(false));
}

// Which rule an instruction has and what it is called with, but for dy. False: no gradient passes.
static bool rule_call(Elab *e, const Inst *inst, RuleCall *call)
{
    const Attr *attr = inst->attr;
    const char *name = op_info[inst->op].name;
    *call = (RuleCall){0};
    switch (inst->op) {
    case OP_parameter:
    case OP_constant:
    case OP_iota:
    case OP_random:
    case OP_stop_gradient:
    case OP_sign:
    case OP_floor:
    case OP_round:
    case OP_argmax:
    case OP_argsort:
    case OP_not:
    case OP_and:
    case OP_or:
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
        return false;
    case OP_neg:
    case OP_abs:
    case OP_exp:
    case OP_log:
    case OP_sqrt:
    case OP_sin:
    case OP_cos:
    case OP_tanh:
    case OP_erf:
    case OP_sigmoid:
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_div:
    case OP_mod:
    case OP_pow:
    case OP_select:
        for (int i = 0; i < inst->inputs; i++)
            add_input(call, inst, i);
        break;
    case OP_max:
    case OP_min:
        add_pointwise_fold(call, inst);
        break;
    case OP_cast:
        add_input(call, inst, 0);
        add_static(call, dtype_value(e, inst->type.dtype));
        break;
    case OP_broadcast:
        add_input(call, inst, 0);
        add_static(call, list_of(e, inst->type.dim, inst->type.rank));
        add_static(call, axes_list(e, attr[0].list));
        break;
    case OP_reshape:
        add_input(call, inst, 0);
        add_static(call, list_of(e, inst->type.dim, inst->type.rank));
        break;
    case OP_transpose:
        add_input(call, inst, 0);
        add_static(call, axes_list(e, attr[0].list));
        break;
    case OP_slice:
        add_input(call, inst, 0);
        for (int i = 0; i < 3; i++)
            add_static(call, axes_list(e, attr[i].list));
        break;
    case OP_pad:
        add_input(call, inst, 0);
        add_static(call, axes_list(e, attr[0].list));
        add_static(call, axes_list(e, attr[1].list));
        add_input(call, inst, 1);
        break;
    case OP_concat: {
        Value *parts = NEW_ARRAY(e->cx->arena, Value, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            parts[i] = value_tensor(inst->input[i]);
        add_static(call, value_list(e, inst->inputs, parts));
        call->input[0] = -2;
        add_static(call, value_int(attr[0].whole));
        break;
    }
    case OP_gather:
    case OP_scatter_add:
    case OP_take_along:
    case OP_add_along:
        for (int i = 0; i < inst->inputs; i++)
            add_input(call, inst, i);
        add_static(call, value_int(attr[0].whole));
        break;
    case OP_reduce:
        if (attr[0].reducer == REDUCE_ANY || attr[0].reducer == REDUCE_ALL)
            return false;
        name = reducer_name[attr[0].reducer];
        add_fold(e, call, inst, attr[0].reducer == REDUCE_MAX || attr[0].reducer == REDUCE_MIN);
        break;
    case OP_cumulate:
        name = arena_printf(e->cx->arena, "cum%s", reducer_name[attr[0].reducer]);
        add_input(call, inst, 0);
        add_static(call, value_int(attr[1].whole));
        add_static(call, value_bool(false)); // exclusive
        add_static(call, value_bool(attr[2].whole != 0));
        break;
    case OP_dot:
        add_input(call, inst, 0);
        add_input(call, inst, 1);
        for (int i = 0; i < 4; i++)
            add_static(call, axes_list(e, attr[i].list));
        break;
    case OP_window:
        add_input(call, inst, 0);
        for (int i = 0; i < 5; i++)
            add_static(call, axes_list(e, attr[i].list));
        add_input(call, inst, 1);
        break;
    case OP_unwindow: {
        int spatial = attr[0].list.count;
        add_input(call, inst, 0);
        add_static(call, list_of(e, inst->type.dim + inst->type.rank - spatial, spatial));
        for (int i = 0; i < 4; i++)
            add_static(call, axes_list(e, attr[i].list));
        break;
    }
    case OP_conv:
    case OP_conv_input:
    case OP_conv_weight:
        add_input(call, inst, 0);
        add_input(call, inst, 1);
        if (inst->op != OP_conv)
            add_static(call, list_of(e, inst->type.dim, inst->type.rank));
        for (int i = 0; i < 4; i++)
            add_static(call, axes_list(e, attr[i].list));
        add_static(call, value_int(attr[4].whole));
        break;
    case OP_call: {
        Composite *composite = elab_composite(e, attr[0].function);
        if (!composite)
            bug(e->cx, inst->span, "a call without a gradient rule was traced");
        if (composite->args > (int)COUNT_OF(call->arg) - 4)
            bug(e->cx, inst->span, "a function with its own gradient has %d parameters",
                composite->args);
        call->rule = composite->grad;
        name = composite->grad->as.grad.name;
        for (int i = 0; i < composite->args; i++) {
            if (composite->input[i] < 0) {
                add_static(call, composite->arg[i]);
                continue;
            }
            add_input(call, inst, composite->input[i]);
            call->arg[call->count - 1].as.tensor.classes = composite->arg[i].as.tensor.classes;
        }
        break;
    }
    case OP_dot_stored:
    case OP_take_stored:
    case OP_loop:
    case OP_fused:
    case OP_get:
    case OP_attend: // made by a pass
    case OP_attend_back:
    case OP_attend_cached:
    case OP_COUNT:
        bug(e->cx, inst->span, "'%s' cannot be differentiated", name);
    }
    call->name = sym_of(e->cx, name);
    if (!call->rule)
        call->rule = elab_grad_rule(e, call->name);
    if (!call->rule)
        bug(e->cx, inst->span, "stdlib/ops.aml has no gradient for '%s'", name);
    return true;
}

static void accumulate(Reverse *r, Inst *at, Inst *gradient, Span span)
{
    if (at->id >= r->known || !r->wanted[at->id])
        return;
    Inst **sum = &r->adjoint[at->id];
    *sum = *sum ? ir_binary(r->fn, OP_add, *sum, gradient, span) : gradient;
}

static const char *argument_name(const Node *rule, int index)
{
    const NodeList *params = &rule->as.grad.params;
    return index < params->count ? params->at[index]->as.param.name : "?";
}

// One gradient that a rule returned, for the input `to`. False after a report.
static bool take_gradient(Reverse *r, const RuleCall *call, int index, Value gradient, Inst *to,
                          Span span)
{
    Elab *e = r->e;
    if (value_is(gradient, VALUE_POISON))
        return false;
    if (value_is(gradient, VALUE_NONE) || dtype_info[to->type.dtype].kind != KIND_FLOAT)
        return true;
    if (to->id >= r->known || !r->wanted[to->id])
        return true;
    Inst *found = elab_tensor(e, gradient, to->type.dtype, span);
    if (!found)
        return false;
    if (found->type.rank == 0 && to->type.rank > 0 && found->type.dtype == to->type.dtype &&
        !value_is(gradient, VALUE_TENSOR))
        found = elab_broadcast_to(e, found, to->type, "the gradient", span);
    if (!found)
        return false;
    if (!type_equal(found->type, to->type)) {
        report(e->cx, call->rule->span, gradient_type, call->name, argument_name(call->rule, index),
               type_text(e->cx->arena, found->type), type_text(e->cx->arena, to->type));
        note(e->cx, span, "it is used here");
        return false;
    }
    accumulate(r, to, found, span);
    return true;
}

// Distributes what a rule returned among the instruction's inputs.
static bool take_result(Reverse *r, const RuleCall *call, const Inst *inst, Value result)
{
    Elab *e = r->e;
    if (value_is(result, VALUE_POISON))
        return false;
    int tensors = 0, only = -1;
    for (int i = 0; i < call->count; i++)
        if (call->input[i] != -1)
            tensors++, only = i;
    if (call->input[0] == -2) { // concat: a list, one gradient for each part
        if (!value_is(result, VALUE_LIST) || result.as.list.count != inst->inputs)
            bug(e->cx, call->rule->span, "the gradient of '%s' must be a list of %d", call->name,
                inst->inputs);
        for (int i = 0; i < inst->inputs; i++)
            if (!take_gradient(r, call, 0, result.as.list.at[i], inst->input[i], inst->span))
                return false;
        return true;
    }
    if (tensors == 1 && !value_is(result, VALUE_TUPLE))
        return take_gradient(r, call, only, result, inst->input[call->input[only]], inst->span);
    int returned = value_is(result, VALUE_TUPLE) ? result.as.list.count : 1;
    if (returned != tensors) {
        report(e->cx, call->rule->span, gradient_count, call->name, tensors, returned);
        note(e->cx, inst->span, "it is used here");
        return false;
    }
    for (int i = 0, next = 0; i < call->count; i++) {
        if (call->input[i] < 0)
            continue;
        if (!take_gradient(r, call, i, result.as.list.at[next++], inst->input[call->input[i]],
                           inst->span))
            return false;
    }
    return true;
}

// The adjoints of a MULTI instruction's results as arguments of its rule; a result that nobody read
// has zeros.
static void add_adjoints(Reverse *r, RuleCall *call, const Inst *inst)
{
    if (inst->results == 1) {
        call->arg[call->count++] = value_tensor(r->adjoint[inst->id]);
        return;
    }
    for (int i = 0; i < inst->results && call->count < (int)COUNT_OF(call->arg); i++) {
        Inst *part = r->part[inst->id][i];
        if (!part)
            part = ir_real(r->fn, inst->result_type[i], 0.0, inst->span);
        call->arg[call->count++] = value_tensor(part);
    }
}

static bool reverse_loop(Reverse *r, Inst *loop)
{
    Arena *arena = r->e->cx->arena;
    int inputs = loop->inputs;
    Inst **input = NEW_ARRAY(arena, Inst *, inputs + 1),
         **out = NEW_ARRAY(arena, Inst *, inputs + 1);
    bool *wanted = NEW_ARRAY(arena, bool, inputs + 1);
    for (int i = 0; i < inputs; i++) {
        input[i] = loop->input[i];
        wanted[i] = input[i]->id < r->known && r->wanted[input[i]->id] &&
                    dtype_info[input[i]->type.dtype].kind == KIND_FLOAT;
    }
    Inst **adjoint = loop->results == 1 ? &r->adjoint[loop->id] : r->part[loop->id];
    Span span = loop->span;
    if (!gradient_of_loop(r->e, loop, adjoint, wanted, out))
        return false;
    for (int i = 0; i < inputs; i++)
        if (out[i])
            accumulate(r, input[i], out[i], span);
    return true;
}

static bool reverse_inst(Reverse *r, Inst *inst)
{
    if (inst->op == OP_get) {
        Inst *from = inst->input[0];
        Inst ***part = &r->part[from->id];
        if (!*part)
            *part = NEW_ARRAY(r->e->cx->arena, Inst *, from->results);
        int index = (int)inst->attr[0].whole;
        Inst *sum = (*part)[index];
        (*part)[index] = sum ? ir_binary(r->fn, OP_add, sum, r->adjoint[inst->id], inst->span)
                             : r->adjoint[inst->id];
        return true;
    }
    if (inst->op == OP_loop)
        return reverse_loop(r, inst);
    RuleCall call;
    if (!rule_call(r->e, inst, &call))
        return true;
    int arguments = call.count;
    add_adjoints(r, &call, inst);
    Span user = r->e->user;
    r->e->user = inst->span; // what the rule does belongs to the line that is differentiated
    Value result = elab_call_grad(r->e, call.rule, call.arg, call.count, inst->span);
    r->e->user = user;
    call.count = arguments;
    return take_result(r, &call, inst, result);
}

bool gradient_seeded(Elab *e, Inst *const value[], Inst *const adjoint[], int seeds,
                     Inst *const wrt[], int count, Inst *out[])
{
    IrFunction *fn = e->trace->fn;
    Reverse r = {.e = e, .fn = fn, .known = fn->next_id};
    r.wanted = NEW_ARRAY(e->cx->arena, bool, r.known + 1);
    r.adjoint = NEW_ARRAY(e->cx->arena, Inst *, r.known + 1);
    r.part = NEW_ARRAY(e->cx->arena, Inst **, r.known + 1);
    for (int i = 0; i < count; i++)
        r.wanted[wrt[i]->id] = true;
    Inst *end = fn->last;
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            r.wanted[inst->id] |= r.wanted[inst->input[i]->id];
    for (int i = 0; i < seeds; i++)
        accumulate(&r, value[i], adjoint[i], value[i]->span);
    for (Inst *inst = end, *above; inst; inst = above) {
        above = inst->prev; // the gradient of a loop may put another in its place
        if (inst->id < r.known && r.wanted[inst->id] && (r.adjoint[inst->id] || r.part[inst->id]) &&
            !reverse_inst(&r, inst))
            return false;
    }
    for (int i = 0; i < count; i++)
        out[i] = r.adjoint[wrt[i]->id];
    return true;
}

bool gradient_of(Elab *e, Inst *loss, Inst *const wrt[], int count, Inst *out[], Span span)
{
    IrFunction *fn = e->trace->fn;
    loss = elab_capture(e, loss);
    if (loss->type.rank != 0 || dtype_info[loss->type.dtype].kind != KIND_FLOAT)
        bug(e->cx, span, "a loss of type %s", type_text(e->cx->arena, loss->type));
    Inst *one = ir_real(fn, loss->type, 1.0, span);
    if (!gradient_seeded(e, &loss, &one, 1, wrt, count, out))
        return false;
    for (int i = 0; i < count; i++)
        if (!out[i])
            out[i] = ir_real(fn, wrt[i]->type, 0.0, span);
    return true;
}
