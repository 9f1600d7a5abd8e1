// instance.c: models, metrics, optimizers and their weights and states (cells).
//
// An instance is a declaration with its arguments bound. Its cells exist from the beginning, in
// declaration order, but their types are worked out when they are first needed, because a size may
// be inferred from the first use.
//
//     Mlp ---- fc1: Dense ---- weight      path fc1.weight
//         |               `--- bias             fc1.bias
//         `--- body: sequence ---- 0: Dense ---- weight     body.0.weight

#include "elab/internal.h"

#include <stdlib.h>
#include <string.h>

static const NodeList *members_of(const Node *declaration)
{
    switch ((int)declaration->kind) {
    case NODE_Model:
        return &declaration->as.model.members;
    case NODE_Metric:
        return &declaration->as.metric.members;
    case NODE_Optimizer:
        return &declaration->as.optimizer.members;
    default:
        return NULL;
    }
}

static Sym name_of(const Node *declaration)
{
    return declaration->kind == NODE_Model    ? declaration->as.model.name
           : declaration->kind == NODE_Metric ? declaration->as.metric.name
                                              : declaration->as.optimizer.name;
}

Node *instance_function(const Instance *self, Sym name)
{
    const NodeList *members = self->declaration ? members_of(self->declaration) : NULL;
    for (int i = 0; members && i < members->count; i++)
        if (members->at[i]->kind == NODE_Fn && members->at[i]->as.fn.name == name)
            return members->at[i];
    return NULL;
}

Value instance_member(Elab *e, Instance *self, Sym name)
{
    const Value *member = map_get(&self->member, name);
    if (member)
        return *member;
    if (!self->declaration) {
        char *end;
        long at = strtol(name, &end, 10);
        if (end != name && *end == 0 && at >= 0 && at < self->part.count)
            return self->part.at[at];
        return (Value){.kind = VALUE_HOLE};
    }
    Node *fn = instance_function(self, name);
    if (!fn)
        return (Value){.kind = VALUE_HOLE};
    Value value = value_function(e, fn, NULL);
    value.as.function->self = self;
    return value;
}

// ---- making -------------------------------------------------------------------------------------

static void set_member(Elab *e, Instance *self, Sym name, Value value)
{
    Value *copy = NEW(e->cx->arena, Value);
    *copy = value;
    map_put(e->cx->arena, &self->member, name, copy);
}

static void add_cell(Elab *e, Instance *self, Node *node)
{
    Cell *cell = NEW(e->cx->arena, Cell);
    cell->owner = self;
    cell->node = node;
    cell->name = node->kind == NODE_Weight ? node->as.weight.name : node->as.state.name;
    cell->role = node->kind == NODE_Weight                   ? AML_ROLE_WEIGHT
                 : self->declaration->kind == NODE_Metric    ? AML_ROLE_METRIC
                 : self->declaration->kind == NODE_Optimizer ? AML_ROLE_OPTIMIZER
                                                             : AML_ROLE_STATE;
    cell->trainable = cell->role == AML_ROLE_WEIGHT;
    cell->of = self->weight;
    cell->row = -1;
    set_member(e, self, cell->name, (Value){.kind = VALUE_CELL, .as.cell = cell});
}

// The path below the model, whose own name (of several in one training) is left out.
static Sym path_in_model(Elab *e, const Cell *cell)
{
    const Instance *root = cell->owner;
    while (root->parent)
        root = root->parent;
    return elab_cell_path(e, cell) + (root->name ? strlen(root->name) + 1 : 0);
}

// Weights, states and members, in order. Members are evaluated outside any trace. In an optimizer
// `path` is the path of the weight that it changes.
static bool make_members(Elab *e, Instance *self)
{
    const NodeList *members = members_of(self->declaration);
    if (self->declaration->kind == NODE_Optimizer)
        set_member(e, self, e->names->path,
                   value_text(e, self->weight ? path_in_model(e, self->weight) : ""));
    Trace *trace = e->trace;
    e->trace = NULL;
    bool fine = true;
    for (int i = 0; i < members->count; i++) {
        Node *node = members->at[i];
        if (node->kind == NODE_Weight || node->kind == NODE_State)
            add_cell(e, self, node);
        if (node->kind != NODE_Member)
            continue;
        Value value = elab_eval(e, self->env, node->as.member.value);
        fine = fine && value.kind != VALUE_POISON;
        set_member(e, self, node->as.member.name, value);
        elab_instance_name(e, value, self, node->as.member.name);
    }
    e->trace = trace;
    return fine;
}

static Instance *new_instance(Elab *e, Node *declaration, Frame *params, Span span)
{
    Instance *self = NEW(e->cx->arena, Instance);
    self->declaration = declaration;
    self->span = elab_span(e, span);
    if (declaration) {
        Env *members = env_self(e, env_new(e, NULL, declaration->span.file), self);
        self->env = env_shared(e, members, params);
    }
    return self;
}

Value elab_instance_make(Elab *e, Node *declaration, const Value args[], const Sym names[],
                         const Span arg_span[], int count, Span span)
{
    Sym name = name_of(declaration);
    pointer_map_put(e->cx->arena, &e->names->called, declaration, declaration);
    if (e->trace && e->call_depth > 1) {
        report(e->cx, elab_span(e, span), instance_in_function, name);
        help(e->cx, "make it a member of the model: `name = %s(...)`", name);
        return value_poison();
    }
    Instance *self = new_instance(e, declaration, NEW(e->cx->arena, Frame), span);
    const NodeList *params = declaration->kind == NODE_Model    ? &declaration->as.model.params
                             : declaration->kind == NODE_Metric ? &declaration->as.metric.params
                                                                : &declaration->as.optimizer.params;
    Subject what = {"'", name, "'", NULL};
    // Arguments may not see the members: bind them in an environment of their own, then share its
    // frame.
    Env *binding = env_new(e, NULL, declaration->span.file);
    binding->frame = self->env->frame;
    Trace *trace = e->trace;
    e->trace = NULL;
    bool fine =
        elab_bind(e, binding, params, args, names, arg_span, count, &what, &self->unknown, span);
    e->trace = trace;
    if (!fine || !make_members(e, self))
        return value_poison();
    for (int i = 0; i < self->env->frame->count; i++)
        elab_instance_name(e, self->env->frame->value[i], self, self->env->frame->name[i]);
    return value_instance(self);
}

Value elab_instance_new(Elab *e, Node *declaration, const Value args[], const Sym names[],
                        int count, Span span)
{
    return elab_instance_make(e, declaration, args, names, NULL, count, span);
}

// A size of the instance that is cloned, unknown in the clone as well.
static Value clone_param(Elab *e, Instance *self, Instance *from, Value value)
{
    for (int i = 0; value.kind == VALUE_DIM && i < from->unknown.count; i++)
        if (from->unknown.at[i] == value.as.dim) {
            Dim *dim = dim_new(e, value.as.dim->name, value.as.dim->declared);
            vec_push(e->cx->arena, &self->unknown, dim);
            return (Value){.kind = VALUE_DIM, .as.dim = dim};
        }
    if (value.kind == VALUE_INSTANCE && value.as.instance->parent == from)
        return value_instance(instance_clone(e, value.as.instance));
    return value;
}

Instance *instance_clone(Elab *e, Instance *from)
{
    if (from->turns > 0)
        return repeat_clone(e, from);
    if (!from->declaration) {
        Instance *self = new_instance(e, NULL, NULL, from->span);
        self->part = value_list(e, from->part.count, from->part.at).as.list;
        for (int i = 0; i < self->part.count; i++) {
            if (self->part.at[i].kind == VALUE_INSTANCE)
                self->part.at[i].as.instance = instance_clone(e, self->part.at[i].as.instance);
            elab_instance_name(e, self->part.at[i], self, sym_printf(e->cx, "%d", i));
        }
        return self;
    }
    Frame *params = NEW(e->cx->arena, Frame);
    Instance *self = new_instance(e, from->declaration, params, from->span);
    const Frame *old = from->env->frame;
    for (int i = 0; i < old->count; i++)
        env_bind(e, self->env, old->name[i], clone_param(e, self, from, old->value[i]));
    make_members(e, self);
    for (int i = 0; i < params->count; i++)
        elab_instance_name(e, params->value[i], self, params->name[i]);
    return self;
}

Value elab_container_call(Elab *e, Instance *self, Value x, Span span)
{
    for (int i = 0; i < self->part.count && x.kind != VALUE_POISON; i++)
        x = elab_call(e, self->part.at[i], &x, NULL, 1, span);
    return x;
}

// ---- names --------------------------------------------------------------------------------------

void elab_instance_name(Elab *e, Value value, Instance *parent, Sym name)
{
    if (value.kind == VALUE_INSTANCE) {
        Instance *instance = value.as.instance;
        if (instance->parent || instance->name || instance == parent)
            return; // shared: it keeps the name it had first
        for (const Instance *above = parent; above; above = above->parent)
            if (above == instance)
                return;
        instance->parent = parent;
        instance->name = name;
        return;
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE)
        for (int i = 0; i < value.as.list.count && elab_tick(e, (Span){0}, 1); i++)
            elab_instance_name(e, value.as.list.at[i], parent,
                               name ? sym_printf(e->cx, "%s.%d", name, i)
                                    : sym_printf(e->cx, "%d", i));
    if (value.kind == VALUE_RECORD)
        for (int i = 0; i < value.as.record->count && elab_tick(e, (Span){0}, 1); i++)
            elab_instance_name(e, value.as.record->at[i], parent,
                               name ? sym_printf(e->cx, "%s.%s", name, value.as.record->name[i])
                                    : value.as.record->name[i]);
}

Sym instance_path(Elab *e, const Instance *instance)
{
    Sym above = instance->parent ? instance_path(e, instance->parent) : NULL;
    if (!above || !instance->name)
        return instance->name ? instance->name : above;
    return sym_printf(e->cx, "%s.%s", above, instance->name);
}

Sym elab_cell_path(Elab *e, const Cell *cell)
{
    Sym above = cell->of ? elab_cell_path(e, cell->of) : NULL, own = instance_path(e, cell->owner);
    above = above && own ? sym_printf(e->cx, "%s.%s", above, own) : own ? own : above;
    return above ? sym_printf(e->cx, "%s.%s", above, cell->name) : cell->name;
}

// ---- cells --------------------------------------------------------------------------------------

static bool cell_absent(Elab *e, Cell *cell);

static void collect(Elab *e, Value value, bool frozen, CellList *out)
{
    if (!elab_tick(e, (Span){0}, 1))
        return;
    if (value.kind == VALUE_CELL) {
        Cell *cell = value.as.cell;
        while (cell->tied)
            cell = cell->tied;
        if (cell->visit == e->visit)
            return;
        cell->visit = e->visit;
        if (frozen || elab_is_frozen(e, cell))
            cell->trainable = false;
        if (!cell_absent(e, cell))
            vec_push(e->cx->arena, out, cell);
        return;
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE)
        for (int i = 0; i < value.as.list.count; i++)
            collect(e, value.as.list.at[i], frozen, out);
    if (value.kind == VALUE_RECORD)
        for (int i = 0; i < value.as.record->count; i++)
            collect(e, value.as.record->at[i], frozen, out);
    if (value.kind != VALUE_INSTANCE || value.as.instance->visit == e->visit ||
        value.as.instance->of)
        return;
    Instance *self = value.as.instance;
    if (self->repeats)
        repeat_settle(e, self);
    self->visit = e->visit;
    frozen = frozen || self->frozen;
    if (self->env)
        for (int i = 0; i < self->env->frame->count; i++)
            if (self->env->frame->value[i].kind != VALUE_CELL)
                collect(e, self->env->frame->value[i], frozen, out);
    for (int i = 0; i < self->member.count; i++)
        collect(e, *(Value *)self->member.value[i], frozen, out);
    for (int i = 0; i < self->part.count; i++)
        collect(e, self->part.at[i], frozen, out);
}

void elab_cells(Elab *e, Value value, CellList *out)
{
    e->visit++;
    collect(e, value, false, out);
}

// The initializer's value in the current trace (or a scratch one).
static Value initial_value(Elab *e, Cell *cell)
{
    Node *node =
        cell->node->kind == NODE_Weight ? cell->node->as.weight.value : cell->node->as.state.value;
    if (!node)
        return value_int(0);
    Env *env = env_new(e, cell->owner->env, 0);
    if (cell->of) { // an optimizer's state may speak of its weight
        Cell *weight = cell->of;
        if (!elab_cell_resolve(e, weight, cell->node->span))
            return value_poison();
        Inst *param = e->trace ? cell_current(e, weight) : NULL;
        if (!param)
            param = elab_full(e, weight->type.dtype, weight->type.rank, weight->type.dim, 0,
                              cell->node->span);
        env_bind(e, env, e->names->param, value_tensor(param));
    }
    return elab_eval(e, env, node);
}

static bool depends_on_trace(Value value)
{
    return !value_is_static(value) && value.kind != VALUE_OPTION;
}

// Learns what the initializer is worth in a function made only for that.
static void learn_initial(Elab *e, Cell *cell)
{
    if (cell->has_initial)
        return;
    cell->has_initial = true;
    IrModule *module = e->module;
    int site = e->next_site;
    int composites = e->composite.count;
    e->module = NULL;
    Trace *trace = elab_trace_begin(e, NULL, cell->node->span);
    trace->scratch = trace->first_step = true;
    Value value = initial_value(e, cell);
    bool is_state = cell->node->kind == NODE_State;
    if (is_state && !cell->node->as.state.type && !cell->resolved && elab_is_runtime(value)) {
        Inst *inst = elab_tensor(e, value, e->real, cell->node->span);
        cell->resolved = inst != NULL;
        if (inst)
            cell->type = inst->type;
    }
    elab_trace_end(e, trace);
    e->module = module;
    e->next_site = site;
    e->composite.count = composites; // those traced for it are of no module
    if (value.kind == VALUE_NONE)
        cell->absent = true;
    if (value.kind == VALUE_POISON || !depends_on_trace(value)) {
        cell->initial = NEW(e->cx->arena, Value);
        *cell->initial = value;
    }
}

static bool cell_absent(Elab *e, Cell *cell)
{
    Node *node =
        cell->node->kind == NODE_Weight ? cell->node->as.weight.value : cell->node->as.state.value;
    // Only what is chosen can be none; anything else need not be evaluated to know that the cell
    // exists.
    if (!cell->has_initial && node &&
        (node->kind == NODE_If || node->kind == NODE_None || node->kind == NODE_Name))
        learn_initial(e, cell);
    return cell->absent;
}

static bool resolve_from_initial(Elab *e, Cell *cell)
{
    learn_initial(e, cell);
    if (cell->resolved || cell->absent)
        return true;
    if (!cell->initial || cell->initial->kind == VALUE_POISON)
        return false;
    Value value = *cell->initial;
    if (value.kind == VALUE_INT || value.kind == VALUE_REAL || value.kind == VALUE_BOOL ||
        value.kind == VALUE_OPTION) {
        cell->type = type_scalar(value.kind == VALUE_INT    ? DTYPE_I64
                                 : value.kind == VALUE_BOOL ? DTYPE_BOOL
                                                            : e->real);
        return cell->resolved = true;
    }
    report(e->cx, cell->node->span, type_mismatch,
           arena_printf(e->cx->arena, "the state '%s' without a type", cell->name),
           "initialised with a tensor or a number", value_what(e, value));
    return false;
}

bool elab_cell_resolve(Elab *e, Cell *cell, Span use)
{
    if (cell->resolved)
        return true;
    if (cell->source) {
        if (!elab_cell_resolve(e, cell->source, use))
            return false;
        cell->type = cell->source->type;
        cell->classes = cell->source->classes;
        return cell->resolved = cell->source->resolved;
    }
    if (cell_absent(e, cell))
        return true;
    Node *type =
        cell->node->kind == NODE_Weight ? cell->node->as.weight.type : cell->node->as.state.type;
    if (!type)
        return resolve_from_initial(e, cell);
    TypeValue found;
    int before = diag_errors(e->cx);
    if (!elab_type(e, cell->owner->env, type, &found)) {
        if (diag_errors(e->cx) > before)
            note(e->cx, elab_span(e, use), "'%s' is needed here", cell->name);
        return false;
    }
    if (!found.castable && found.classes == 0) {
        report(e->cx, type->span, bad_type, arena_printf(e->cx->arena, "'%s'", found.element));
        return false;
    }
    cell->type = type_make(found.dtype, found.rank, found.dim);
    cell->classes = found.classes;
    return cell->resolved = true;
}

// ---- sizes that stayed unknown

static bool check_dims(Elab *e, Value value);

static bool check_values(Elab *e, int count, const Value at[])
{
    bool fine = true;
    for (int i = 0; i < count; i++)
        fine = check_dims(e, at[i]) && fine;
    return fine;
}

static bool check_dims(Elab *e, Value value)
{
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE)
        return check_values(e, value.as.list.count, value.as.list.at);
    if (value.kind == VALUE_RECORD)
        return check_values(e, value.as.record->count, value.as.record->at);
    if (value.kind != VALUE_INSTANCE || value.as.instance->visit == e->visit ||
        !elab_tick(e, (Span){0}, 1))
        return true;
    Instance *self = value.as.instance;
    self->visit = e->visit;
    bool fine = true;
    for (int i = 0; i < self->unknown.count; i++) {
        Dim *dim = self->unknown.at[i];
        if (dim->known)
            continue;
        fine = false;
        report(e->cx, self->span, size_not_inferred, dim->name ? dim->name : "_");
        note(e->cx, dim->declared, "declared here, to be inferred");
        if (dim->name)
            help(e->cx, "say it: `%s(..., %s: 64)`", name_of(self->declaration), dim->name);
    }
    if (self->env)
        fine = check_values(e, self->env->frame->count, self->env->frame->value) && fine;
    for (int i = 0; i < self->member.count; i++)
        fine = check_dims(e, *(Value *)self->member.value[i]) && fine;
    return check_values(e, self->part.count, self->part.at) && fine;
}

bool elab_check_inferred(Elab *e, Value value)
{
    e->visit++;
    return check_dims(e, value);
}

// ---- initial values -----------------------------------------------------------------------------

static Inst *initial_tensor(Elab *e, Cell *cell, Value value)
{
    Span span = cell->node->span;
    const char *what = arena_printf(e->cx->arena, "the initial value of '%s'", cell->name);
    if (value.kind == VALUE_FUNCTION || (value.kind == VALUE_INSTANCE)) {
        Value sizes[IR_MAX_RANK];
        for (int i = 0; i < cell->type.rank; i++)
            sizes[i] = value_int(cell->type.dim[i]);
        Value shape = value_list(e, cell->type.rank, sizes);
        value = elab_call(e, value, &shape, NULL, 1, span);
        if (value.kind == VALUE_FUNCTION) {
            report(e->cx, span, type_mismatch, what,
                   "a tensor, a number or a function of the shape", value_what(e, value));
            help(e->cx, "call it: `zeros()` is an initializer, `zeros` makes one");
            return NULL;
        }
    }
    Inst *inst = elab_tensor(e, value, cell->type.dtype, span);
    if (!inst)
        return NULL;
    bool both_float = dtype_info[inst->type.dtype].kind == KIND_FLOAT &&
                      dtype_info[cell->type.dtype].kind == KIND_FLOAT;
    if (inst->type.dtype != cell->type.dtype && !both_float) {
        report(e->cx, elab_span(e, span), type_mismatch, what, type_text(e->cx->arena, cell->type),
               value_what(e, value_tensor(inst)));
        return NULL;
    }
    return elab_broadcast_to(e, elab_cast(e, inst, cell->type.dtype, span), cell->type, what, span);
}

static Inst *initial_one(Elab *e, Inst *const whole[], void *data)
{
    Cell *cell = data;
    (void)whole;
    Value value = cell->initial ? *cell->initial : initial_value(e, cell);
    return value.kind == VALUE_POISON ? NULL : initial_tensor(e, cell, value);
}

Inst *elab_cell_initial(Elab *e, Cell *cell)
{
    Span span = cell->node->span;
    if (!e->trace) {
        report(e->cx, span, outside_trace, "an initial value");
        return NULL;
    }
    if (!elab_cell_resolve(e, cell, span) || cell_absent(e, cell))
        return NULL;
    Inst *inst = cell->source ? elab_cell_whole(e, cell->source, span)
                              : elab_on_each(e, cell, NULL, 0, initial_one, cell, span);
    if (!inst)
        return NULL;
    // From here on the cell reads as its initial value: an optimizer's states may copy the weight.
    vec_push(e->cx->arena, &e->trace->use, ((CellUse){.cell = cell, .current = inst}));
    return inst;
}

// ---- optimizers ---------------------------------------------------------------------------------

static bool is_optimizer(Value value)
{
    return value.kind == VALUE_INSTANCE && value.as.instance->declaration &&
           value.as.instance->declaration->kind == NODE_Optimizer;
}

// The optimizers that one is made of are copied for the weight with it. `found`: there was one.
static Value copied_for(Elab *e, Value value, Cell *weight, bool *found)
{
    if (is_optimizer(value)) {
        *found = true;
        return value_instance(elab_optimizer_for(e, value.as.instance, weight));
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        Value out = value_list(e, value.as.list.count, value.as.list.at);
        out.kind = value.kind;
        for (int i = 0; i < out.as.list.count; i++)
            out.as.list.at[i] = copied_for(e, out.as.list.at[i], weight, found);
        return *found ? out : value;
    }
    return value;
}

Instance *elab_optimizer_for(Elab *e, Instance *optimizer, Cell *weight)
{
    for (int i = 0; i < optimizer->for_weight.count; i++)
        if (optimizer->for_weight.at[i]->weight == weight)
            return optimizer->for_weight.at[i];
    const Frame *old = optimizer->env->frame;
    Instance *copy =
        new_instance(e, optimizer->declaration, NEW(e->cx->arena, Frame), optimizer->span);
    copy->weight = weight;
    for (int i = 0; i < old->count; i++) {
        bool found = false;
        Value value = copied_for(e, old->value[i], weight, &found);
        env_bind(e, copy->env, old->name[i], value);
        if (found)
            elab_instance_name(e, value, copy, old->name[i]);
    }
    make_members(e, copy);
    vec_push(e->cx->arena, &optimizer->for_weight, copy);
    return copy;
}

static bool prepare_value(Elab *e, Value value, Value paths, const CellList *cells, Span span)
{
    bool fine = true;
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE)
        for (int i = 0; i < value.as.list.count; i++)
            fine = prepare_value(e, value.as.list.at[i], paths, cells, span) && fine;
    if (!is_optimizer(value))
        return fine;
    Instance *self = value.as.instance;
    if (elab_has_method(e, self, "check"))
        fine = elab_call_method(e, self, "check", &paths, NULL, 1, span).kind != VALUE_POISON;
    for (int i = 0; fine && i < cells->count && elab_has_method(e, self, "trains"); i++) {
        bool trains;
        Value answer = elab_call_method(e, self, "trains", &paths.as.list.at[i], NULL, 1, span);
        if (!elab_truth(e, answer, &trains, span))
            return false;
        cells->at[i]->trainable = cells->at[i]->trainable && trains;
    }
    for (int i = 0; fine && i < self->env->frame->count; i++)
        fine = prepare_value(e, self->env->frame->value[i], paths, cells, span);
    return fine;
}

bool elab_optimizer_prepare(Elab *e, Instance *optimizer, Value model, Span span)
{
    CellList all = {0}, cells = {0};
    Vec(Value) paths = {0};
    elab_cells(e, model, &all);
    for (int i = 0; i < all.count; i++) {
        if (!all.at[i]->trainable)
            continue;
        vec_push(e->cx->arena, &cells, all.at[i]);
        vec_push(e->cx->arena, &paths, value_text(e, path_in_model(e, all.at[i])));
    }
    return prepare_value(e, value_instance(optimizer), value_list(e, paths.count, paths.at), &cells,
                         span);
}

static Inst *gradient_for(const TreeValue *tree, const Cell *cell, int near)
{
    if (near < tree->count && tree->cell[near] == cell)
        return tree->at[near];
    for (int i = 0; i < tree->count; i++)
        if (tree->cell[i] == cell)
            return tree->at[i];
    return NULL;
}

typedef struct Update {
    Instance *own; // the optimizer's copy for the weight
    Value step;
    bool without_step;
    Span span;
} Update;

// The new value of one weight, from its value and its gradient.
static Inst *update_weight(Elab *e, Inst *const gradient[], void *data)
{
    const Update *update = data;
    Cell *cell = update->own->weight;
    Inst *param = elab_cell_read(e, cell, update->span);
    if (!param)
        return NULL;
    Value args[] = {value_tensor(param), value_tensor(gradient[0]), update->step};
    Value value = elab_call_method(e, update->own, "update", args, NULL,
                                   update->without_step ? 2 : 3, update->span);
    const char *what = arena_printf(e->cx->arena, "the new value of '%s'", elab_cell_path(e, cell));
    Inst *inst = value.kind == VALUE_POISON
                     ? NULL
                     : elab_tensor_for(e, what, value, cell->type.dtype, update->span);
    if (inst && !type_equal(inst->type, cell->type)) {
        report(e->cx, elab_span(e, update->span), type_mismatch, what,
               type_text(e->cx->arena, cell->type), type_text(e->cx->arena, inst->type));
        return NULL;
    }
    return inst;
}

Value elab_optimizer_apply(Elab *e, Instance *optimizer, Value model, Value gradients, Value step,
                           Span span)
{
    if (model.kind == VALUE_POISON || gradients.kind == VALUE_POISON)
        return value_poison();
    Node *update =
        optimizer->declaration ? instance_function(optimizer, sym_of(e->cx, "update")) : NULL;
    if (!update || gradients.kind != VALUE_TREE) {
        report(e->cx, elab_span(e, span), type_mismatch, "an optimizer's update",
               "a model and its gradients", value_what(e, gradients));
        return value_poison();
    }
    if (step.kind == VALUE_NONE)
        step = value_tensor(
            elab_cast(e, elab_scalar(e, AML_SCALAR_STEP, 0, DTYPE_I64, span), e->real, span));
    CellList cells = {0}, updated = {0};
    elab_cells(e, model, &cells);
    Vec(Inst *) values = {0};
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        Inst *gradient =
            cell->trainable ? gradient_for(gradients.as.tree, cell, values.count) : NULL;
        if (!gradient)
            continue;
        Update one = {elab_optimizer_for(e, optimizer, cell), step, update->as.fn.params.count < 3,
                      span};
        Inst *inst = elab_on_each(e, cell, &gradient, 1, update_weight, &one, span);
        if (!inst)
            return value_poison();
        vec_push(e->cx->arena, &updated, cell);
        vec_push(e->cx->arena, &values, inst);
    }
    return value_tree(e, values.count, updated.at, values.at);
}
