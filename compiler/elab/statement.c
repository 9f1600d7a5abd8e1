// statement.c: statements, and what `if` on a tensor means: both branches run, then the result and
// every state is selected.

#include "elab/internal.h"

#include <string.h>

Branch branch_begin(Elab *e)
{
    Branch before = {e->branch_depth, e->dead};
    e->branching++;
    e->branch_depth = e->call_depth;
    e->dead = false;
    return before;
}

bool branch_end(Elab *e, Branch before)
{
    bool dead = e->dead;
    e->branching--;
    e->branch_depth = before.depth;
    e->dead = before.dead;
    return dead;
}

// ---- choosing -----------------------------------------------------------------------------------

static Value branches_differ(Elab *e, Value a, Value b, Span span)
{
    report(e->cx, elab_span(e, span), branches_differ, value_what(e, a), value_what(e, b));
    return value_poison();
}

static Value select_list(Elab *e, Inst *condition, Value a, Value b, Span span)
{
    if (a.as.list.count != b.as.list.count)
        return branches_differ(e, a, b, span);
    Value out = a;
    out.as.list.at = NEW_ARRAY(e->cx->arena, Value, a.as.list.count + 1);
    for (int i = 0; i < a.as.list.count; i++)
        out.as.list.at[i] = elab_select(e, condition, a.as.list.at[i], b.as.list.at[i], span);
    return out;
}

Value elab_select(Elab *e, Inst *condition, Value a, Value b, Span span)
{
    if (a.kind == VALUE_POISON || b.kind == VALUE_POISON || !condition)
        return value_poison();
    if (a.kind == b.kind && (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE))
        return select_list(e, condition, a, b, span);
    if (a.kind == VALUE_RECORD && b.kind == VALUE_RECORD) {
        RecordValue *left = a.as.record;
        Value *at = NEW_ARRAY(e->cx->arena, Value, left->count + 1);
        for (int i = 0; i < left->count; i++) {
            const Value *other = record_get(b, left->name[i]);
            if (!other || left->count != b.as.record->count)
                return branches_differ(e, a, b, span);
            at[i] = elab_select(e, condition, left->at[i], *other, span);
        }
        return value_record(e, left->count, left->name, at);
    }
    if (value_equal(e, a, b))
        return a;
    bool numbers = (elab_is_runtime(a) || value_is_number(a) || a.kind == VALUE_BOOL) &&
                   (elab_is_runtime(b) || value_is_number(b) || b.kind == VALUE_BOOL);
    if (!numbers)
        return branches_differ(e, a, b, span);
    Inst *x, *y;
    if (value_is_number(a) && value_is_number(b) && a.kind != b.kind) {
        a = value_real(value_number(a));
        b = value_real(value_number(b));
    }
    if (value_is_number(a) && value_is_number(b)) {
        DType dtype = a.kind == VALUE_INT ? DTYPE_I64 : e->real;
        x = elab_tensor(e, a, dtype, span);
        y = elab_tensor(e, b, dtype, span);
    } else if (!elab_pair(e, a, b, &x, &y, true, "'if'", span))
        return value_poison();
    if (!x || !y)
        return value_poison();
    // Condition and branches broadcast together: the branches first, then both against the
    // condition.
    Inst *shape = condition;
    if (!elab_broadcast(e, &shape, &x, "'if'", span))
        return value_poison();
    y = elab_broadcast_to(e, y, x->type, "'if'", span);
    Inst *in[] = {shape, x, y};
    const Value both[] = {a, b};
    int64_t classes = dtype_info[x->type.dtype].kind == KIND_INT ? value_classes_of(both, 2) : 0;
    return value_class(elab_emit(e, OP_select, in, 3, NULL, (Type){0}, "'if'", span), classes);
}

Inst *elab_condition(Elab *e, Value condition, Span span)
{
    Inst *inst = elab_tensor(e, condition, DTYPE_BOOL, span);
    if (inst && inst->type.dtype != DTYPE_BOOL) {
        report(e->cx, elab_span(e, span), condition_not_bool, value_what(e, value_tensor(inst)));
        help(e->cx, "compare it with something");
        return NULL;
    }
    return inst;
}

// ---- statements ---------------------------------------------------------------------------------

static Value run(Elab *e, Env *env, const NodeList *body, int from, bool *returned);

// Rebinding a name must not change what closures made before it see: it opens a new frame.
static Env *bind_let(Elab *e, Env *env, Sym name, Value value)
{
    for (int i = 0; env->frame && i < env->frame->count; i++)
        if (env->frame->name[i] == name) {
            env = env_new(e, env, 0);
            break;
        }
    env_bind(e, env, name, value);
    return env;
}

static Env *run_let(Elab *e, Env *env, Node *node)
{
    const AstLet *let = &node->as.let;
    Value value = elab_eval(e, env, let->value);
    if (!let->tuple && let->names.count == 1)
        return let->names.at[0]->kind == NODE_Name
                   ? bind_let(e, env, let->names.at[0]->as.name.name, value)
                   : env;
    ValueList items = {0};
    bool fits = value.kind == VALUE_TUPLE || value.kind == VALUE_LIST || value.kind == VALUE_RANGE;
    fits = fits && elab_items(e, value, &items, "this", let->value->span) &&
           items.count == let->names.count;
    if (!fits && value.kind != VALUE_POISON)
        report(e->cx, elab_span(e, let->value->span), not_a_tuple, value_what(e, value),
               let->names.count);
    for (int i = 0; i < let->names.count; i++)
        if (let->names.at[i]->kind == NODE_Name)
            env = bind_let(e, env, let->names.at[i]->as.name.name,
                           fits ? items.at[i] : value_poison());
    return env;
}

static void run_assign(Elab *e, Env *env, Node *node)
{
    Node *target = node->as.assign.target;
    Value value = elab_eval(e, env, node->as.assign.value);
    Value place;
    if (target->kind == NODE_Name)
        place = elab_name(e, env, target->as.name.name, target->span);
    else if (target->kind == NODE_Access)
        place = elab_member(e, elab_eval(e, env, target->as.access.object), target->as.access.name,
                            target->span);
    else
        return;
    if (place.kind == VALUE_POISON || value.kind == VALUE_POISON)
        return;
    if (place.kind == VALUE_CELL) {
        if (place.as.cell->role == AML_ROLE_WEIGHT && value.kind != VALUE_TENSOR) {
            report(e->cx, elab_span(e, node->span), type_mismatch,
                   arena_printf(e->cx->arena, "the weight '%s'", place.as.cell->name), "a tensor",
                   value_what(e, value));
            return;
        }
        elab_cell_write(e, place.as.cell, value, node->span);
        return;
    }
    if (value.kind == VALUE_TREE && place.kind == VALUE_INSTANCE) {
        elab_assign_tree(e, value, node->span);
        return;
    }
    report(e->cx, elab_span(e, target->span), not_assignable, value_what(e, place));
    help(e->cx, "only a `state` or a `weight` can be updated, or a model with the result of its "
                "optimizer's `update`");
}

// ---- `if` on a tensor: both branches run, then every state and the result are selected

typedef struct Snapshot {
    int count;
    Inst **current;
    bool *written;
} Snapshot;

static Snapshot take_states(Elab *e)
{
    Trace *trace = e->trace;
    Snapshot shot = {trace->use.count, NEW_ARRAY(e->cx->arena, Inst *, trace->use.count + 1),
                     NEW_ARRAY(e->cx->arena, bool, trace->use.count + 1)};
    for (int i = 0; i < shot.count; i++) {
        shot.current[i] = trace->use.at[i].current;
        shot.written[i] = trace->use.at[i].written;
    }
    return shot;
}

static void restore_states(Elab *e, const Snapshot *shot)
{
    for (int i = 0; i < e->trace->use.count; i++) {
        CellUse *use = &e->trace->use.at[i];
        use->current = i < shot->count ? shot->current[i] : use->param;
        use->written = i < shot->count && shot->written[i];
    }
}

static void merge_states(Elab *e, Inst *condition, const Snapshot *then, Span span)
{
    for (int i = 0; i < e->trace->use.count; i++) {
        CellUse *use = &e->trace->use.at[i];
        Inst *other = i < then->count ? then->current[i] : use->param;
        if (other == use->current || !other || !use->current)
            continue;
        Value merged =
            elab_select(e, condition, value_tensor(other), value_tensor(use->current), span);
        if (merged.kind != VALUE_TENSOR)
            return;
        if (!type_equal(merged.as.tensor.inst->type, use->current->type)) {
            report(e->cx, elab_span(e, span), shape_mismatch,
                   "the condition of an `if` that updates a state",
                   shape_text(e->cx->arena, use->current->type),
                   shape_text(e->cx->arena, condition->type));
            return;
        }
        use->current = merged.as.tensor.inst;
        use->written = true;
    }
}

static Value run_branch(Elab *e, Env *env, Node *branch, bool *returned)
{
    *returned = false;
    if (!branch)
        return value_none();
    if (branch->kind == NODE_Block)
        return run(e, env_new(e, env, 0), &branch->as.block.body, 0, returned);
    NodeList one = {&branch, 1, 1};
    return run(e, env_new(e, env, 0), &one, 0, returned);
}

static Value run_tensor_if(Elab *e, Env *env, Node *node, Value condition, const NodeList *body,
                           int next, bool *returned)
{
    Inst *chooser = elab_condition(e, condition, node->as.ifstmt.condition->span);
    if (!chooser)
        return value_poison();
    Snapshot before = take_states(e);
    bool then_returned, else_returned;
    Branch branch = branch_begin(e);
    Value then = run_branch(e, env, node->as.ifstmt.then, &then_returned);
    bool then_dead = branch_end(e, branch);
    Snapshot after_then = take_states(e);
    restore_states(e, &before);
    branch = branch_begin(e);
    Value otherwise = run_branch(e, env, node->as.ifstmt.otherwise, &else_returned);
    bool else_dead = branch_end(e, branch);
    if (then_dead && !else_dead) {
        *returned = else_returned;
        return otherwise;
    }
    if (else_dead && !then_dead) {
        restore_states(e, &after_then);
        *returned = then_returned;
        return then;
    }
    if (then_dead) {
        report(e->cx, elab_span(e, node->span), library_error,
               "both branches of this `if` end in error()");
        *returned = true;
        return value_poison();
    }
    branch = branch_begin(e);
    e->branch_depth = -1; // what follows the `if` is not a branch that may be left out
    if (then_returned && !else_returned)
        otherwise = run(e, env, body, next, &else_returned);
    else if (!then_returned && else_returned) {
        Snapshot after_else = take_states(e);
        restore_states(e, &after_then);
        then = run(e, env, body, next, &then_returned);
        after_then = take_states(e);
        restore_states(e, &after_else);
    }
    branch_end(e, branch);
    merge_states(e, chooser, &after_then, node->span);
    if (then_returned != else_returned) {
        report(e->cx, elab_span(e, node->span), branches_differ,
               then_returned ? "a value" : "no value", else_returned ? "a value" : "no value");
        *returned = true;
        return value_poison();
    }
    *returned = then_returned;
    return then_returned ? elab_select(e, chooser, then, otherwise, node->span) : value_none();
}

static Value run_for(Elab *e, Env *env, Node *node, bool *returned)
{
    ValueList items;
    *returned = false;
    if (!elab_items(e, elab_eval(e, env, node->as.loop.items), &items, "what `for` goes over",
                    node->as.loop.items->span))
        return value_poison();
    for (int i = 0; i < items.count && !*returned && elab_tick(e, node->span, 1); i++) {
        Env *inner = env_new(e, env, 0);
        if (node->as.loop.name->kind == NODE_Name)
            env_bind(e, inner, node->as.loop.name->as.name.name, items.at[i]);
        Value value = run_branch(e, inner, node->as.loop.body, returned);
        if (*returned)
            return value;
    }
    return value_none();
}

static Value run_statement(Elab *e, Env *env, Node *node, const NodeList *body, int next,
                           bool *returned)
{
    *returned = false;
    if (node->kind == NODE_Return) {
        *returned = true;
        Value value = elab_eval(e, env, node->as.ret.value);
        e->returned = node->as.ret.value->span;
        return value;
    }
    if (node->kind == NODE_For)
        return run_for(e, env, node, returned);
    if (node->kind == NODE_Assign) {
        run_assign(e, env, node);
        return value_none();
    }
    if (node->kind != NODE_IfStmt) {
        Value value = elab_eval(e, env, node);
        *returned = value.kind == VALUE_POISON; // error("...") ends the function
        return value;
    }
    Value condition = elab_eval(e, env, node->as.ifstmt.condition);
    if (condition.kind == VALUE_POISON) {
        *returned = true; // whatever the branches would have defined or returned is unknown
        return condition;
    }
    if (elab_is_runtime(condition) && !e->trace) {
        report(e->cx, elab_span(e, node->as.ifstmt.condition->span), option_as_static,
               "the condition of an `if` statement outside the traced functions",
               value_what(e, condition));
        *returned = true;
        return value_poison();
    }
    if (elab_is_runtime(condition))
        return run_tensor_if(e, env, node, condition, body, next, returned);
    bool truth;
    if (!elab_truth(e, condition, &truth, node->as.ifstmt.condition->span)) {
        *returned = true;
        return value_poison();
    }
    return run_branch(e, env, truth ? node->as.ifstmt.then : node->as.ifstmt.otherwise, returned);
}

static Value run(Elab *e, Env *env, const NodeList *body, int from, bool *returned)
{
    *returned = false;
    if (e->depth >= MOST_DEPTH && body->count > 0) {
        report(e->cx, elab_span(e, body->at[0]->span), nested_too_deeply, MOST_DEPTH);
        e->gave_up = true;
    }
    e->depth++;
    Value value = value_none();
    for (int i = from; i < body->count && !*returned && elab_tick(e, body->at[i]->span, 1); i++) {
        Node *node = body->at[i];
        if (node->kind == NODE_Let)
            env = run_let(e, env, node);
        else
            value = run_statement(e, env, node, body, i + 1, returned);
    }
    e->depth--;
    if (e->gave_up) {
        *returned = true;
        return value_poison();
    }
    return *returned ? value : value_none();
}

Value elab_body(Elab *e, Env *env, Node *body, bool *returned)
{
    if (body->kind == NODE_Block)
        return run(e, env, &body->as.block.body, 0, returned);
    *returned = true;
    Value value = elab_eval(e, env, body);
    e->returned = body->span;
    return value;
}
