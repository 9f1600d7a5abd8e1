// call.c: calls, and composites (functions with their own gradient).
//
// An ordinary function is evaluated in place: its instructions become part of the trace. A function
// that has a `grad` rule is traced once for each combination of types and static arguments, as a
// function of the module, and called; that is how gradient.c finds the rule again.

#include "elab/internal.h"
#include "sema/sema.h"

#include <ctype.h>
#include <string.h>

enum { MOST_COMPOSITE_ARGS = 12 };

// The parts of whatever can be called.
typedef struct Signature {
    const NodeList *params;
    Node *result;
    Node *body;
    Sym name;
} Signature;

static Signature signature_of(const Node *node)
{
    switch ((int)node->kind) {
    case NODE_Fn:
        return (Signature){&node->as.fn.params, node->as.fn.result, node->as.fn.body,
                           node->as.fn.name};
    case NODE_Loss:
        return (Signature){&node->as.loss.params, node->as.loss.result, node->as.loss.body,
                           node->as.loss.name};
    case NODE_Lambda:
        return (Signature){&node->as.lambda.params, NULL, node->as.lambda.body, NULL};
    case NODE_Grad:
        return (Signature){&node->as.grad.params, NULL, node->as.grad.body, node->as.grad.name};
    case NODE_Model:
        return (Signature){&node->as.model.params, NULL, NULL, node->as.model.name};
    case NODE_Metric:
        return (Signature){&node->as.metric.params, NULL, NULL, node->as.metric.name};
    case NODE_Optimizer:
        return (Signature){&node->as.optimizer.params, NULL, NULL, node->as.optimizer.name};
    default:
        return (Signature){NULL, NULL, NULL, NULL};
    }
}

const NodeList *elab_parameters(Elab *e, Value fn)
{
    if (fn.kind == VALUE_FUNCTION)
        return signature_of(fn.as.function->node).params;
    if (fn.kind == VALUE_DECLARATION)
        return signature_of(fn.as.node).params;
    if (fn.kind == VALUE_INSTANCE && fn.as.instance->declaration) {
        Node *forward = instance_function(fn.as.instance, e->names->forward);
        return forward ? signature_of(forward).params : NULL;
    }
    return NULL;
}

const char *elab_callee_text(Elab *e, Value fn)
{
    Sym name = NULL;
    if (fn.kind == VALUE_FUNCTION)
        name = signature_of(fn.as.function->node).name;
    else if (fn.kind == VALUE_DECLARATION)
        name = signature_of(fn.as.node).name;
    else if (fn.kind == VALUE_INSTANCE && fn.as.instance->declaration)
        name = signature_of(fn.as.instance->declaration).name;
    return name ? arena_printf(e->cx->arena, "'%s'", name) : "this function";
}

// ---- arguments ----------------------------------------------------------------------------------

static void unknown_argument(Elab *e, const char *what, Sym name, const NodeList *params, Span span)
{
    report(e->cx, elab_span(e, span), unknown_argument, what, name);
    Vec(const char *) names = {0};
    Buffer list = {.arena = e->cx->arena};
    for (int i = 0; i < params->count; i++) {
        vec_push(e->cx->arena, &names, params->at[i]->as.param.name);
        buffer_printf(&list, "%s%s", i ? ", " : "", params->at[i]->as.param.name);
    }
    const char *near = closest_name(name, names.at, names.count);
    if (near)
        help(e->cx, "did you mean `%s`?", near);
    else if (list.text)
        help(e->cx, "it takes: %s", list.text);
}

void elab_unknown_argument(Elab *e, Value callee, Sym name, const NodeList *params, Span span)
{
    unknown_argument(e, elab_callee_text(e, callee), name, params, span);
}

static Span span_of(const Span arg_span[], int index, Span span)
{
    return arg_span ? arg_span[index] : span;
}

// Which argument each parameter gets, -1: none. False after a report.
static bool assign_arguments(Elab *e, const NodeList *params, const Sym names[],
                             const Span arg_span[], int count, int given[], const Subject *what,
                             Span span)
{
    for (int i = 0; i < params->count; i++)
        given[i] = -1;
    for (int i = 0; i < count; i++) {
        int place = -1;
        if (!names || !names[i])
            place = i;
        else
            for (int j = 0; j < params->count; j++)
                if (params->at[j]->as.param.name == names[i])
                    place = j;
        if (place < 0) {
            unknown_argument(e, subject_text(e, what), names[i], params,
                             span_of(arg_span, i, span));
            return false;
        }
        if (place >= params->count) {
            report(e->cx, elab_span(e, span_of(arg_span, i, span)), extra_argument,
                   subject_text(e, what), params->count, count);
            return false;
        }
        if (given[place] >= 0) {
            report(e->cx, elab_span(e, span_of(arg_span, i, span)), repeated_argument,
                   params->at[place]->as.param.name, subject_text(e, what));
            return false;
        }
        given[place] = i;
    }
    return true;
}

static bool bind_one(Elab *e, Env *env, Node *param_node, Value value, bool is_default,
                     const Subject *what, DimList *unknown, Span span)
{
    const AstParam *param = &param_node->as.param;
    if (value.kind == VALUE_HOLE || (is_default && param->value->kind == NODE_Hole)) {
        Dim *dim = dim_new(e, param->name, param->name_span);
        if (unknown)
            vec_push(e->cx->arena, unknown, dim);
        env_bind(e, env, param->name, (Value){.kind = VALUE_DIM, .as.dim = dim});
        return true;
    }
    bool left_out = value.kind == VALUE_NONE && param->value && param->value->kind == NODE_None;
    if (param->type && !left_out && value.kind != VALUE_POISON) {
        Subject argument = {"argument '", param->name, "' of ", what};
        if (!elab_match(e, env, param->type, &value, &argument, elab_span(e, span)))
            return false;
    }
    env_bind(e, env, param->name, value);
    return value.kind != VALUE_POISON;
}

bool elab_bind(Elab *e, Env *env, const NodeList *params, const Value args[], const Sym names[],
               const Span arg_span[], int count, const Subject *what, DimList *unknown, Span span)
{
    int small[16];
    int *given = params->count <= 16 ? small : NEW_ARRAY(e->cx->arena, int, params->count);
    if (!assign_arguments(e, params, names, arg_span, count, given, what, span))
        return false;
    bool fine = true;
    env_reserve(e, env, params->count + 2); // and two of the signature or the body
    for (int i = 0; i < params->count && fine; i++) {
        Node *param = params->at[i];
        if (param->kind != NODE_Param)
            return false;
        if (given[i] >= 0) {
            fine = bind_one(e, env, param, args[given[i]], false, what, unknown,
                            span_of(arg_span, given[i], span));
            continue;
        }
        if (!param->as.param.value) {
            report(e->cx, elab_span(e, span), missing_argument, subject_text(e, what),
                   param->as.param.name);
            note(e->cx, param->span, "declared here");
            return false;
        }
        Value value = param->as.param.value->kind == NODE_Hole
                          ? (Value){.kind = VALUE_HOLE}
                          : elab_expect(e, env, param->as.param.value, param->as.param.type);
        fine = bind_one(e, env, param, value, true, what, unknown, span);
    }
    return fine;
}

// ---- inside a call ------------------------------------------------------------------------------

typedef struct CallFrame {
    Span user, call_site;
    bool strict;
} CallFrame;

static bool is_std_node(Elab *e, const Node *node)
{
    return node->span.file == 0 || source_file(e->cx, node->span.file)->is_std;
}

// False: nested too deeply, reported.
static bool enter(Elab *e, const Node *callee, Sym name, Span span, CallFrame *frame)
{
    if (e->call_depth >= MOST_CALL_DEPTH) {
        if (!e->gave_up)
            report(e->cx, elab_span(e, span), endless_recursion, name ? name : "this function",
                   MOST_CALL_DEPTH);
        e->gave_up = true;
        return false;
    }
    *frame = (CallFrame){e->user, e->call_site, e->strict};
    // Code of the library belongs to the user's line that called it; a user's function called back
    // has lines of its own.
    if (!is_std_node(e, callee))
        e->user = (Span){0};
    else if (e->user.file == 0 && span.file != 0 && !source_file(e->cx, span.file)->is_std)
        e->user = span;
    e->call_site = span;
    e->call_depth++;
    diag_push_call(e->cx, span, name ? name : "fn");
    return true;
}

static void leave(Elab *e, const CallFrame *frame)
{
    diag_pop_call(e->cx);
    e->call_depth--;
    e->user = frame->user;
    e->call_site = frame->call_site;
    e->strict = frame->strict;
}

static Value run_body(Elab *e, Env *env, const Signature *signature, const Subject *what)
{
    bool returned;
    Value value = elab_body(e, env, signature->body, &returned);
    if (!returned && signature->result) {
        report(e->cx, elab_span(e, signature->body->span), no_result, subject_text(e, what));
        return value_poison();
    }
    if (returned && signature->result && value.kind != VALUE_POISON) {
        Subject result = {"the result of ", NULL, NULL, what};
        if (!elab_match(e, env, signature->result, &value, &result, elab_span(e, e->returned)))
            return value_poison();
    }
    return value;
}

static Value run_builtin(Elab *e, Node *node, const Value args[], const Sym names[],
                         const Span arg_span[], int count, Span span)
{
    const Builtin *builtin = elab_builtin(e, node);
    if (!builtin)
        return value_poison();
    const NodeList *params = &node->as.fn.params;
    int given[16];
    Value bound[16];
    Subject what = {"'", node->as.fn.name, "'", NULL};
    if (params->count > 16 ||
        !assign_arguments(e, params, names, arg_span, count, given, &what, span))
        return value_poison();
    for (int i = 0; i < params->count; i++) {
        const AstParam *param = &params->at[i]->as.param;
        if (given[i] >= 0)
            bound[i] = elab_read(e, args[given[i]], span);
        else if (param->value)
            bound[i] = elab_eval(e, env_new(e, NULL, node->span.file), param->value);
        else {
            report(e->cx, elab_span(e, span), missing_argument, subject_text(e, &what),
                   param->name);
            return value_poison();
        }
        if (bound[i].kind == VALUE_POISON)
            return bound[i];
    }
    return builtin->run(e, bound, span);
}

// ---- composites ---------------------------------------------------------------------------------

Composite *elab_composite(Elab *e, const IrFunction *callee)
{
    for (int i = 0; i < e->composite.count; i++)
        if (e->composite.at[i]->callee == callee)
            return e->composite.at[i];
    return NULL;
}

static bool same_argument(Elab *e, Value known, Value arg)
{
    if (known.kind == VALUE_TENSOR && arg.kind == VALUE_TENSOR)
        return type_equal(known.as.tensor.inst->type, arg.as.tensor.inst->type) &&
               known.as.tensor.classes == arg.as.tensor.classes;
    return known.kind == arg.kind && value_equal(e, known, arg);
}

static Composite *find_composite(Elab *e, Node *fn, const Value args[], int count)
{
    for (int i = 0; i < e->composite.count; i++) {
        Composite *known = e->composite.at[i];
        if (known->fn != fn || known->args != count || known->training != e->training ||
            known->calm != e->calm || known->real != e->real || known->mixed != e->mixed)
            continue;
        bool same = true;
        for (int j = 0; j < count && same; j++)
            same = same_argument(e, known->arg[j], args[j]);
        if (same)
            return known;
    }
    return NULL;
}

static bool composite_argument_ok(Elab *e, Value value, const Subject *what, Span span)
{
    bool closed =
        value.kind == VALUE_FUNCTION && !value.as.function->env && !value.as.function->self;
    bool fine =
        value.kind == VALUE_TENSOR || value.kind == VALUE_OPTION || closed ||
        (value.kind != VALUE_FUNCTION && value.kind != VALUE_INSTANCE && value_is_static(value));
    if (!fine)
        report(e->cx, elab_span(e, span), composite_argument, subject_text(e, what),
               value_what(e, value));
    return fine;
}

static bool composite_result(Elab *e, Composite *made, Value result, const Subject *what, Span span)
{
    int count = result.kind == VALUE_TUPLE ? result.as.list.count : 1;
    Value *items = result.kind == VALUE_TUPLE ? result.as.list.at : &result;
    for (int i = 0; i < count; i++) {
        if (items[i].kind != VALUE_TENSOR) {
            if (items[i].kind != VALUE_POISON)
                report(e->cx, elab_span(e, span), type_mismatch,
                       arena_printf(e->cx->arena,
                                    "the result of %s, which has a gradient of its own,",
                                    subject_text(e, what)),
                       "a tensor or a tuple of tensors", value_what(e, items[i]));
            return false;
        }
        ir_result(e->trace->fn, items[i].as.tensor.inst, (Slot){SLOT_VALUE, 0}, NULL);
    }
    if (count == 0) {
        report(e->cx, elab_span(e, span), no_result, subject_text(e, what));
        return false;
    }
    made->results = count;
    made->result = result;
    return true;
}

// Functions of std.nn that kernels stand in for: the op, and how many of the parameters are tensors
// before the mask, which `causal` and `factor` follow.
static const struct {
    const char *name;
    Op op;
    int tensors;
} kernel_function[] = {{"attend", OP_attend, 3}, {"attend_back", OP_attend_back, 6}};

static void name_kernel(Elab *e, Composite *made)
{
    const Node *fn = made->fn;
    for (size_t i = 0; i < COUNT_OF(kernel_function); i++) {
        int tensors = kernel_function[i].tensors;
        if (!source_file(e->cx, fn->span.file)->is_std || made->args != tensors + 3 ||
            made->scalar.count > 0 || strcmp(fn->as.fn.name, kernel_function[i].name) != 0)
            continue;
        made->callee->kernel = kernel_function[i].op;
        made->callee->kernel_attr[0].real = value_number(made->arg[tensors + 2]);
        made->callee->kernel_attr[1].whole = made->arg[tensors + 1].as.whole;
    }
}

static Composite *trace_composite(Elab *e, Node *fn, Node *grad, const Value args[], int count,
                                  const Subject *what, Span span)
{
    Composite *made = NEW(e->cx->arena, Composite);
    *made = (Composite){.fn = fn,
                        .grad = grad,
                        .args = count,
                        .training = e->training,
                        .calm = e->calm,
                        .real = e->real,
                        .mixed = e->mixed};
    made->arg = NEW_ARRAY(e->cx->arena, Value, count + 1);
    made->input = NEW_ARRAY(e->cx->arena, int, count + 1);
    Trace *trace = elab_trace_begin(
        e, sym_printf(e->cx, "%s.%d", fn->as.fn.name, e->composite.count), fn->span);
    trace->callee = true;
    int inputs = 0;
    Value bound[MOST_COMPOSITE_ARGS];
    for (int i = 0; i < count; i++) {
        made->arg[i] = bound[i] = args[i];
        made->input[i] = -1;
        if (args[i].kind != VALUE_TENSOR)
            continue;
        Sym name = fn->as.fn.params.at[i]->as.param.name;
        Inst *param = ir_param(trace->fn, args[i].as.tensor.inst->type, (Slot){SLOT_VALUE, 0}, name,
                               elab_span(e, span));
        made->arg[i] = bound[i] = value_class(param, args[i].as.tensor.classes);
        made->input[i] = inputs++;
    }
    Env *env = env_new(e, NULL, fn->span.file);
    Signature signature = signature_of(fn);
    Value result = value_poison();
    if (elab_bind(e, env, signature.params, bound, NULL, NULL, count, what, NULL, span))
        result = run_body(e, env, &signature, what);
    bool fine = result.kind != VALUE_POISON && composite_result(e, made, result, what, span);
    for (int i = 0; i < trace->scalar.count; i++)
        vec_push(e->cx->arena, &made->scalar, trace->scalar.at[i]);
    made->callee = elab_trace_end(e, trace);
    if (!fine || !made->callee)
        return NULL;
    name_kernel(e, made);
    vec_push(e->cx->arena, &e->composite, made);
    return made;
}

static Value call_composite(Elab *e, Node *fn, Node *grad, Env *bound, const Subject *what,
                            Span span)
{
    const NodeList *params = &fn->as.fn.params;
    Value args[MOST_COMPOSITE_ARGS];
    Inst *in[32];
    int inputs = 0;
    for (int i = 0; i < params->count; i++) {
        args[i] = elab_read(e, *env_find(bound, params->at[i]->as.param.name), span);
        if (args[i].kind == VALUE_POISON || !composite_argument_ok(e, args[i], what, span))
            return value_poison();
        if (args[i].kind == VALUE_TENSOR)
            in[inputs++] = elab_capture(e, args[i].as.tensor.inst);
    }
    Composite *made = find_composite(e, fn, args, params->count);
    if (!made)
        made = trace_composite(e, fn, grad, args, params->count, what, span);
    if (!made || made->scalar.count > 16)
        return value_poison();
    for (int i = 0; i < made->scalar.count; i++) {
        const aml_scalar_info *scalar = &made->scalar.at[i];
        in[inputs] = elab_scalar(e, scalar->kind, scalar->index, (DType)scalar->dtype, span);
        if (!in[inputs++])
            return value_poison();
    }
    Attr attr = {.function = made->callee};
    Inst *call = ir_append(e->trace->fn, OP_call, in, inputs, &attr, (Type){0}, elab_span(e, span));
    if (made->results == 1 && made->result.kind == VALUE_TENSOR)
        return value_class(call, made->result.as.tensor.classes);
    Value *items = NEW_ARRAY(e->cx->arena, Value, made->results + 1);
    for (int i = 0; i < made->results; i++)
        items[i] = value_class(
            made->results == 1 ? call : ir_get(e->trace->fn, call, i, elab_span(e, span)),
            made->result.as.list.at[i].as.tensor.classes);
    return value_tuple(e, made->results, items);
}

static bool has_tensor(const Value args[], int count)
{
    for (int i = 0; i < count; i++)
        if (args[i].kind == VALUE_TENSOR)
            return true;
    return false;
}

// ---- calls --------------------------------------------------------------------------------------

// The name by which messages speak of a function. Some are not called by their own: forward is
// called by the member or the model, update by what measures or trains, and what the library's
// models do inside is their own business.
static Sym shown_name(Elab *e, const FunctionValue *function, Sym name)
{
    const Instance *self = function->self;
    if (!self)
        return name;
    const Node *declared = self->declaration;
    bool inside = is_std_node(e, declared) && (e->user.file != 0 || declared->kind != NODE_Model);
    if (name != e->names->forward && !inside)
        return name;
    bool named = self->name && declared->kind == NODE_Model && !isdigit((unsigned char)*self->name);
    return named ? self->name : signature_of(declared).name;
}

static bool makes_initializer(const Node *type)
{
    return type && type->kind == NODE_Type && strcmp(type->as.type.name, "initializer") == 0;
}

static Value call_function(Elab *e, const FunctionValue *function, const Value args[],
                           const Sym names[], const Span arg_span[], int count, Span span)
{
    Node *node = function->node;
    Signature signature = signature_of(node);
    if (node->kind == NODE_Fn && !signature.body)
        return run_builtin(e, node, args, names, arg_span, count, span);
    if (!signature.params || !signature.body)
        return value_poison();
    CallFrame frame;
    Sym shown = shown_name(e, function, signature.name);
    if (!enter(e, node, shown, span, &frame))
        return value_poison();
    pointer_map_put(e->cx->arena, &e->names->called, node, node);
    if (node->kind != NODE_Lambda)
        e->strict = node->kind == NODE_Loss ||
                    (function->self && function->self->declaration->kind == NODE_Metric);
    Subject callee =
                shown ? (Subject){"'", shown, "'", NULL} : (Subject){.before = "this function"},
            *what = &callee;
    Env *env = env_new(e, function->self ? function->self->env : function->env, node->span.file);
    Value value = value_poison();
    if (elab_bind(e, env, signature.params, args, names, arg_span, count, what, NULL, span)) {
        Node *grad = NULL;
        if (node->kind == NODE_Fn && !function->self && !function->env && e->unit && e->trace &&
            has_tensor(args, count))
            grad = unit_grad(e->unit, node);
        if (grad && signature.params->count > MOST_COMPOSITE_ARGS) {
            report(e->cx, signature.params->at[0]->span, bad_argument, subject_text(e, what),
                   arena_printf(e->cx->arena,
                                "a function with a gradient of its own has at most %d parameters",
                                MOST_COMPOSITE_ARGS));
            leave(e, &frame);
            return value_poison();
        }
        value = grad ? call_composite(e, node, grad, env, what, span)
                     : run_body(e, env, &signature, what);
    } else if (node->kind == NODE_Loss && count == 0) {
        help(e->cx,
             "%s is a loss: a setting names it without brackets, `loss: %s`; metrics are made with "
             "brackets, as mean_absolute_error()",
             subject_text(e, what), signature.name);
    } else if (node->kind == NODE_Fn && count > signature.params->count &&
               makes_initializer(signature.result)) {
        help(e->cx,
             "%s makes an initializer, a function of a shape; a tensor of one number is "
             "`full([3, 4], 0.0)`",
             subject_text(e, what));
    }
    leave(e, &frame);
    return value;
}

static Value not_callable(Elab *e, Value fn, Span span)
{
    report(e->cx, elab_span(e, span), not_callable, value_what(e, fn));
    if (fn.kind == VALUE_INSTANCE)
        help(e->cx, "only a model with `fn forward` can be called");
    return value_poison();
}

static Value call_model(Elab *e, Instance *self, const Value args[], const Sym names[],
                        const Span arg_span[], int count, Span span)
{
    if (self->of)
        return repeat_part_call(e, self, args, names, count, span);
    if (self->repeats && count >= 1 && !(names && names[0]))
        return repeat_call(e, self, args, names, count, span);
    if (!self->declaration) {
        if (count == 1)
            return elab_container_call(e, self, args[0], span);
        report(e->cx, elab_span(e, span), extra_argument, "a sequence of models", 1, count);
        return value_poison();
    }
    Node *forward = instance_function(self, e->names->forward);
    if (!forward)
        return not_callable(e, value_instance(self), span);
    FunctionValue function = {forward, NULL, self};
    return call_function(e, &function, args, names, arg_span, count, span);
}

static Value call_instance(Elab *e, Instance *self, const Value args[], const Sym names[],
                           const Span arg_span[], int count, Span span)
{
    if (!e->rounding)
        return call_model(e, self, args, names, arg_span, count, span);
    Inst *before = rounded_call_begin(e);
    Value result = call_model(e, self, args, names, arg_span, count, span);
    return rounded_call_end(e, before, result, span);
}

// optimizers.g.update(model, gradients): every weight of the model.
static bool is_optimizer_update(const FunctionValue *function, const Value args[], int count)
{
    const Instance *self = function->self;
    return self && self->declaration && self->declaration->kind == NODE_Optimizer &&
           !self->weight && count >= 2 && args[0].kind != VALUE_TENSOR &&
           args[1].kind == VALUE_TREE && function->node->kind == NODE_Fn &&
           strcmp(function->node->as.fn.name, "update") == 0;
}

// base.update(param, grad, step) of an optimizer that is made of another one, which may not ask for
// the step.
static int update_arguments(const FunctionValue *function, int count)
{
    const Instance *self = function->self;
    bool update = self && self->weight && function->node->kind == NODE_Fn &&
                  strcmp(function->node->as.fn.name, "update") == 0;
    return update && count == 3 && function->node->as.fn.params.count == 2 ? 2 : count;
}

// A model with other weights, or a function of one.
static Value call_reweighted(Elab *e, Value fn, const Value args[], const Sym names[],
                             const Span arg_span[], int count, Span span)
{
    Instance own = fn.kind == VALUE_INSTANCE ? *fn.as.instance : *fn.as.function->self;
    Replaced saved = elab_replace_begin(e, &own);
    own.weights = NULL;
    FunctionValue function;
    if (fn.kind == VALUE_FUNCTION) {
        function = *fn.as.function;
        function.self = &own;
        fn.as.function = &function;
    } else
        fn.as.instance = &own;
    Value value = elab_call_at(e, fn, args, names, arg_span, count, span);
    elab_replace_end(e, &saved);
    return value;
}

Value elab_call_at(Elab *e, Value fn, const Value args[], const Sym names[], const Span arg_span[],
                   int count, Span span)
{
    if (fn.kind == VALUE_POISON || !elab_tick(e, span, 1))
        return value_poison();
    for (int i = 0; i < count; i++)
        if (args[i].kind == VALUE_POISON)
            return args[i];
    switch ((int)fn.kind) {
    case VALUE_FUNCTION:
        if (fn.as.function->self && fn.as.function->self->weights)
            return call_reweighted(e, fn, args, names, arg_span, count, span);
        if (is_optimizer_update(fn.as.function, args, count))
            return elab_optimizer_apply(e, fn.as.function->self, args[0], args[1],
                                        count > 2 ? args[2] : value_none(), span);
        return call_function(e, fn.as.function, args, names, arg_span,
                             update_arguments(fn.as.function, count), span);
    case VALUE_INSTANCE:
        if (fn.as.instance->weights)
            return call_reweighted(e, fn, args, names, arg_span, count, span);
        return call_instance(e, fn.as.instance, args, names, arg_span, count, span);
    case VALUE_DECLARATION: {
        CallFrame frame;
        Sym name = signature_of(fn.as.node).name;
        if (!enter(e, fn.as.node, name, span, &frame))
            return value_poison();
        Value made = elab_instance_make(e, fn.as.node, args, names, arg_span, count, span);
        leave(e, &frame);
        return made;
    }
    case VALUE_TYPE:
        if (!fn.as.type->castable || fn.as.type->has_dims)
            return not_callable(e, fn, span);
        if (count != 1 || (names && names[0])) {
            report(e->cx, elab_span(e, span), extra_argument,
                   arena_printf(e->cx->arena, "'%s'", fn.as.type->element), 1, count);
            return value_poison();
        }
        return elab_convert(e, args[0], fn.as.type, span);
    default:
        return not_callable(e, fn, span);
    }
}

Value elab_call(Elab *e, Value fn, const Value args[], const Sym names[], int count, Span span)
{
    return elab_call_at(e, fn, args, names, NULL, count, span);
}

bool elab_has_method(Elab *e, Instance *self, const char *method)
{
    return instance_function(self, sym_of(e->cx, method)) != NULL;
}

Value elab_call_method(Elab *e, Instance *self, const char *method, const Value args[],
                       const Sym names[], int count, Span span)
{
    Node *fn = instance_function(self, sym_of(e->cx, method));
    if (!fn) {
        report(e->cx, elab_span(e, span), unknown_member, value_what(e, value_instance(self)),
               method);
        return value_poison();
    }
    FunctionValue function = {fn, NULL, self};
    return elab_call_at(e, (Value){.kind = VALUE_FUNCTION, .as.function = &function}, args, names,
                        NULL, count, span);
}

Value elab_call_grad(Elab *e, Node *grad, const Value args[], int count, Span span)
{
    Signature signature = signature_of(grad);
    if (signature.params->count != count) {
        report(e->cx, grad->span, extra_argument,
               arena_printf(e->cx->arena, "grad '%s'", signature.name), count,
               signature.params->count);
        help(e->cx, "its parameters are those of the function, then the gradient of each result");
        return value_poison();
    }
    CallFrame frame;
    if (!enter(e, grad, signature.name, span, &frame))
        return value_poison();
    Env *env = env_new(e, NULL, grad->span.file);
    Value value = value_poison();
    Subject what = {"grad '", signature.name, "'", NULL};
    if (elab_bind(e, env, signature.params, args, NULL, NULL, count, &what, NULL, span))
        value = run_body(e, env, &signature, &what);
    leave(e, &frame);
    return value;
}
