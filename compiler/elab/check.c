// check.c: declarations that no block of the program uses are tried out.
//
// A shape check is a comparison of numbers, so a model that nothing calls would pass unseen. It is
// made with its default arguments and its forward is traced once on tensors whose free sizes are
// made up: different names get different sizes, large and divisible by much, so that the usual
// slices and divisions come out. What cannot be guessed (an argument without default, a parameter
// without type) is left alone.

#include "elab/internal.h"
#include "sema/sema.h"

#include <string.h>

#define MADE_UP 240 // divisible by much, and larger than what a slice usually asks for

typedef struct Trial {
    Elab *e;
    Env *env; // made-up sizes
    int next;
} Trial;

// False: no size can be made up for it.
static bool trial_size(Trial *trial, Node *dim, int64_t *out)
{
    Elab *e = trial->e;
    if (dim->kind == NODE_Integer) {
        *out = dim->as.integer.value;
        return *out >= 1;
    }
    if (dim->kind == NODE_Name) {
        Value *known = env_find(trial->env, dim->as.name.name);
        if (known && known->kind == VALUE_DIM && !known->as.dim->known)
            known = NULL;
        Node *declared = known ? NULL : elab_lookup(e, trial->env->file, dim->as.name.name);
        if (!known &&
            (!declared || (declared->kind != NODE_Const && declared->kind != NODE_Option))) {
            env_bind(e, trial->env, dim->as.name.name, value_int(MADE_UP * ++trial->next));
            known = env_find(trial->env, dim->as.name.name);
        }
        Value value = elab_read(e, known ? *known : elab_declaration(e, declared), dim->span);
        *out = value.kind == VALUE_INT ? value.as.whole : 0;
        return *out >= 1;
    }
    if (dim->kind == NODE_Binary) {
        int64_t left, right;
        if (!trial_size(trial, dim->as.binary.left, &left) ||
            !trial_size(trial, dim->as.binary.right, &right))
            return false;
        Value value =
            elab_number_op(e, dim->as.binary.op, value_int(left), value_int(right), dim->span);
        *out = value.kind == VALUE_INT ? value.as.whole : 0;
        return *out >= 1;
    }
    return false;
}

static bool trial_tensor(Trial *trial, Node *type, Sym name, Value *out)
{
    Elab *e = trial->e;
    const AstType *t = &type->as.type;
    TypeValue element;
    if (type->kind != NODE_Type || (!t->has_dims && t->args.count == 0) ||
        !elab_element_type(e, t->name, &element))
        return false;
    int64_t classes = 0;
    if (t->args.count == 1 && strcmp(t->name, "class") == 0) {
        if (!trial_size(trial, t->args.at[0], &classes))
            return false;
        element.dtype = DTYPE_I32;
    } else if (!element.castable || t->args.count > 0)
        return false;
    Type made = {.dtype = strcmp(t->name, "int") == 0 ? DTYPE_I32 : element.dtype};
    for (int i = 0; i < t->dims.count; i++) {
        Node *dim = t->dims.at[i];
        if (made.rank == IR_MAX_RANK)
            return false;
        if (dim->kind == NODE_Rest && t->dims.count > 1)
            continue;
        int64_t size = MADE_UP;
        if (dim->kind != NODE_Rest && dim->kind != NODE_Hole && !trial_size(trial, dim, &size))
            return false;
        made.dim[made.rank++] = size;
    }
    if (!type_valid(made))
        return false;
    *out =
        value_class(ir_param(e->trace->fn, made, (Slot){SLOT_VALUE, 0}, name, type->span), classes);
    return true;
}

// Calls `fn` with made-up tensors, if all its parameters allow it.
static void try_call(Elab *e, Value fn, const NodeList *params, Env *around, Span span)
{
    bool is_method = fn.kind == VALUE_FUNCTION && fn.as.function->self;
    IrModule *module = e->module;
    int site = e->next_site;
    e->module = NULL;
    Trace *trace = elab_trace_begin(e, NULL, span);
    trace->scratch = true;
    Trial trial = {e, env_new(e, around, span.file), 0};
    Vec(Value) args = {0};
    Vec(Sym) names = {0};
    bool fine = true;
    int before = diag_errors(e->cx);
    for (int i = 0; i < params->count && fine; i++) {
        const AstParam *param = &params->at[i]->as.param;
        if (param->value)
            continue;
        Value value = value_none();
        fine = param->type && trial_tensor(&trial, param->type, param->name, &value);
        vec_push(e->cx->arena, &args, value);
        vec_push(e->cx->arena, &names, param->name);
    }
    // A function without tensors may make models and the like: it belongs to the static stage.
    if (fine && (args.count > 0 || is_method) && diag_errors(e->cx) == before)
        elab_call(e, fn, args.at, names.at, args.count, (Span){0});
    if (diag_errors(e->cx) > before && trial.next > 0) {
        Buffer sizes = {.arena = e->cx->arena};
        buffer_text(&sizes, "");
        for (int i = 0; i < trial.env->frame->count; i++)
            buffer_printf(&sizes, "%s%s = %s", i ? ", " : "", trial.env->frame->name[i],
                          value_show(e, trial.env->frame->value[i]));
        note(e->cx, span, "nothing in the program uses this, so it was tried with %s", sizes.text);
    }
    elab_trace_end(e, trace);
    e->module = module;
    e->next_site = site;
}

static bool all_have_defaults(const NodeList *params)
{
    for (int i = 0; i < params->count; i++)
        if (!params->at[i]->as.param.value)
            return false;
    return true;
}

static void try_model(Elab *e, Node *model)
{
    if (!all_have_defaults(&model->as.model.params))
        return;
    Span span = model->as.model.name_span;
    Value made = elab_instance_new(e, model, NULL, NULL, 0, span);
    Node *forward =
        made.kind == VALUE_INSTANCE ? instance_function(made.as.instance, e->names->forward) : NULL;
    if (forward)
        try_call(e, made, &forward->as.fn.params, made.as.instance->env, forward->as.fn.name_span);
}

static void try_method(Elab *e, Instance *self, const char *name)
{
    Node *fn = instance_function(self, sym_of(e->cx, name));
    if (!fn)
        return;
    Value bound = value_function(e, fn, NULL);
    bound.as.function->self = self;
    try_call(e, bound, &fn->as.fn.params, self->env, fn->as.fn.name_span);
}

static void try_metric(Elab *e, Node *metric)
{
    if (!all_have_defaults(&metric->as.metric.params))
        return;
    Value made = elab_instance_new(e, metric, NULL, NULL, 0, metric->as.metric.name_span);
    if (made.kind != VALUE_INSTANCE)
        return;
    try_method(e, made.as.instance, "update");
    bool inferred = true;
    for (int i = 0; i < made.as.instance->unknown.count; i++)
        inferred = inferred && made.as.instance->unknown.at[i]->known;
    if (inferred)
        try_method(e, made.as.instance, "value");
}

void elab_check_unused(Elab *e)
{
    for (int f = 0; e->unit && f < e->unit->file.count; f++) {
        const UnitFile *file = e->unit->file.at[f];
        for (int i = 0; !file->is_std && i < file->ast->as.file.decls.count; i++) {
            Node *node = file->ast->as.file.decls.at[i];
            if (pointer_map_get(&e->names->called, node))
                continue;
            if (node->kind == NODE_Model)
                try_model(e, node);
            if (node->kind == NODE_Metric)
                try_metric(e, node);
            if (node->kind == NODE_Fn && node->as.fn.body)
                try_call(e, elab_declaration(e, node), &node->as.fn.params, NULL,
                         node->as.fn.name_span);
            if (node->kind == NODE_Loss)
                try_call(e, elab_declaration(e, node), &node->as.loss.params, NULL,
                         node->as.loss.name_span);
        }
    }
}
