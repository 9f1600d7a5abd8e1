// eval.c: expressions and statements.
//
// Evaluating is a walk over the tree. Where an operand is known only when the program runs the result is a tensor, or,
// outside of any trace, the expression itself (VALUE_LATER), to be evaluated again in each function that needs it.

#include "elab/internal.h"
#include "sema/sema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Elab *elab_new(Cx *cx, Unit *unit, IrModule *module)
{
    Elab *e = NEW(cx->arena, Elab);
    e->cx = cx;
    e->unit = unit;
    e->module = module;
    e->real = DTYPE_F32;
    struct ElabNames *names = NEW(cx->arena, struct ElabNames);
    names->self = sym_of(cx, "self");
    names->training = sym_of(cx, "training");
    names->forward = sym_of(cx, "forward");
    names->param = sym_of(cx, "param");
    names->start = sym_of(cx, "start");
    names->stop = sym_of(cx, "stop");
    names->step = sym_of(cx, "step");
    e->names = names;
    return e;
}

bool elab_tick(Elab *e, Span span, int64_t amount)
{
    if (e->gave_up)
        return false;
    e->steps += amount;
    if (e->steps <= MOST_STEPS)
        return true;
    e->gave_up = true;
    report(e->cx, elab_span(e, span), endless_evaluation, (long long)MOST_STEPS);
    return false;
}

Span elab_span(Elab *e, Span span)
{
    if (e->user.file == 0)
        return span;
    return span.file == 0 || source_file(e->cx, span.file)->is_std ? e->user : span;
}

// ---- declarations -------------------------------------------------------------------------------------------------

// The value of `-D name=text`, parsed as an expression. NULL after a report.
static Node *parse_define(Elab *e, const Define *define)
{
    const char *head = arena_printf(e->cx->arena, "aml 1\nconst %s = ", define->name);
    const char *text = arena_printf(e->cx->arena, "%s%s\n", head, define->value);
    uint32_t file = source_add(e->cx, arena_printf(e->cx->arena, "-D %s", define->name), text, strlen(text), false);
    int before = diag_errors(e->cx);
    Node *tree = parse_file(e->cx, file, NULL);
    if (diag_errors(e->cx) > before)
        return NULL;
    if (tree->as.file.decls.count != 1 || tree->as.file.decls.at[0]->kind != NODE_Const) {
        Span whole = {file, (uint32_t)strlen(head), (uint32_t)strlen(text)};
        report(e->cx, whole, bad_define, define->name, define->value);
        return NULL;
    }
    return tree->as.file.decls.at[0]->as.constant.value;
}

static Value define_value(Elab *e, Node *declaration, const Define *define, Value written)
{
    const AstConst *constant = &declaration->as.constant;
    Node *node = parse_define(e, define);
    if (!node)
        return value_poison();
    // A bare word is a text where a text is expected: -D name=digits.
    Value value;
    if (node->kind == NODE_Name && written.kind == VALUE_TEXT)
        value = value_text(e, node->as.name.name);
    else
        value = elab_eval_as(e, env_new(e, NULL, declaration->span.file), node, constant->type,
                             arena_printf(e->cx->arena, "const '%s'", constant->name));
    if (value.kind == VALUE_POISON || written.kind == VALUE_POISON)
        return value;
    if (value.kind == VALUE_INT && written.kind == VALUE_REAL)
        value = value_real((double)value.as.whole);
    bool same_unit = value.kind != VALUE_QUANTITY || written.kind != VALUE_QUANTITY || constant->type ||
                     value.as.quantity.unit == written.as.quantity.unit;
    if (!constant->type && (value.kind != written.kind || !same_unit)) {
        report(e->cx, node->span, bad_define, define->name, define->value);
        note(e->cx, declaration->span, "expected a value like %s", value_show(e, written));
        return value_poison();
    }
    return value;
}

// -D reaches the main file and every file of the user that it uses.
static bool in_user_file(Elab *e, const Node *declaration)
{
    return e->unit && declaration->span.file != 0 && !source_file(e->cx, declaration->span.file)->is_std;
}

static Value constant_value(Elab *e, Node *declaration)
{
    const AstConst *constant = &declaration->as.constant;
    Env *env = env_new(e, NULL, declaration->span.file);
    for (int i = 0; i < e->cx->define.count && in_user_file(e, declaration); i++) {
        Define *define = &e->cx->define.at[i];
        if (define->name != constant->name)
            continue;
        define->used = true;
        return define_value(e, declaration, define, elab_eval_as(e, env, constant->value, constant->type, constant->name));
    }
    return elab_eval_as(e, env, constant->value, constant->type, arena_printf(e->cx->arena, "const '%s'", constant->name));
}

static Value option_value(Elab *e, Node *declaration)
{
    int index = elab_option(e, declaration);
    if (index < 0)
        return value_poison();
    const OptionEntry *entry = &e->option.at[index];
    switch (entry->type) {
    case AML_OPTION_TEXT: {
        TextPart *part = NEW(e->cx->arena, TextPart);
        *part = (TextPart){"", index};
        return (Value){.kind = VALUE_TEXT, .as.text = {1, part}};
    }
    case AML_OPTION_DURATION: case AML_OPTION_BYTES: {
        Value value = entry->value;
        value.as.quantity.option = index;
        return value;
    }
    case AML_OPTION_BOOL: case AML_OPTION_INT: case AML_OPTION_REAL: case AML_OPTION_FRACTION:
        break;
    }
    return (Value){.kind = VALUE_OPTION, .as.option = index};
}

static bool classify_option(OptionEntry *entry)
{
    switch ((int)entry->value.kind) {
    case VALUE_BOOL:
        entry->type = AML_OPTION_BOOL;
        entry->dtype = DTYPE_BOOL;
        return true;
    case VALUE_INT:
        entry->type = AML_OPTION_INT;
        entry->dtype = DTYPE_I64;
        return true;
    case VALUE_REAL:
        entry->type = AML_OPTION_REAL;
        entry->dtype = DTYPE_F64;
        return true;
    case VALUE_QUANTITY:
        entry->type = entry->value.as.quantity.unit == AML_UNIT_BYTES      ? AML_OPTION_BYTES
                      : entry->value.as.quantity.unit == AML_UNIT_FRACTION ? AML_OPTION_FRACTION
                                                                           : AML_OPTION_DURATION;
        entry->dtype = DTYPE_F64;
        return true;
    case VALUE_TEXT:
        entry->type = AML_OPTION_TEXT;
        return value_plain_text(entry->value) != NULL;
    default:
        return false;
    }
}

int elab_option(Elab *e, Node *declaration)
{
    for (int i = 0; i < e->option.count; i++)
        if (e->option.at[i].node == declaration)
            return i;
    const AstOption *option = &declaration->as.option;
    OptionEntry entry = {.node = declaration};
    Env *env = env_new(e, NULL, declaration->span.file);
    // A fraction keeps its unit: the command line shows and reads it as a percentage.
    Value written = elab_eval(e, env, option->value);
    entry.value = written;
    if (option->type && !elab_match(e, env, option->type, &entry.value, arena_printf(e->cx->arena, "option '%s'", option->name),
                                    option->value->span))
        return -1;
    if (written.kind == VALUE_POISON || entry.value.kind == VALUE_POISON)
        return -1;
    if (written.kind == VALUE_QUANTITY && written.as.quantity.unit == AML_UNIT_FRACTION && option->type &&
        option->type->kind == NODE_Type && strcmp(option->type->as.type.name, "fraction") == 0)
        entry.value = written;
    if (!classify_option(&entry)) {
        report(e->cx, option->value->span, type_mismatch, arena_printf(e->cx->arena, "option '%s'", option->name),
               "a number, a bool, a text, a duration, a fraction or a size", value_what(e, entry.value));
        return -1;
    }
    vec_push(e->cx->arena, &e->option, entry);
    return e->option.count - 1;
}

static Value compute_declaration(Elab *e, Node *declaration)
{
    switch ((int)declaration->kind) {
    case NODE_Const:
        return constant_value(e, declaration);
    case NODE_Option:
        return option_value(e, declaration);
    case NODE_Fn: case NODE_Loss:
        return value_function(e, declaration, NULL);
    case NODE_Model: case NODE_Metric: case NODE_Optimizer:
        return (Value){.kind = VALUE_DECLARATION, .as.node = declaration};
    case NODE_Job:
        return (Value){.kind = VALUE_JOB, .as.job = {declaration, NULL}};
    default:
        return value_poison();
    }
}

Value elab_declaration(Elab *e, Node *declaration)
{
    const Value *known = pointer_map_get(&e->names->declaration, declaration);
    if (known)
        return *known;
    if (pointer_map_get(&e->names->busy, declaration)) {
        Sym name = declaration_name(declaration);
        report(e->cx, declaration_span(declaration), circular_definition, name ? name : "this");
        return value_poison();
    }
    pointer_map_put(e->cx->arena, &e->names->busy, declaration, declaration);
    Trace *trace = e->trace;
    Span user = e->user;
    e->trace = NULL;
    e->user = (Span){0};
    Value *value = NEW(e->cx->arena, Value);
    *value = compute_declaration(e, declaration);
    e->trace = trace;
    e->user = user;
    pointer_map_put(e->cx->arena, &e->names->busy, declaration, NULL);
    pointer_map_put(e->cx->arena, &e->names->declaration, declaration, value);
    return *value;
}

typedef Vec(const char *) NameTexts;

static void file_globals(Elab *e, const NodeList *decls, NameTexts *names)
{
    for (int i = 0; i < decls->count; i++) {
        Node *node = decls->at[i];
        if (node->kind == NODE_Const || node->kind == NODE_Option)
            elab_declaration(e, node);
        if (node->kind == NODE_Const)
            vec_push(e->cx->arena, names, node->as.constant.name);
        if (node->kind == NODE_Fn)
            elab_lint_signature(e, &node->as.fn.params, node->as.fn.result, node->as.fn.body);
        if (node->kind == NODE_Loss)
            elab_lint_signature(e, &node->as.loss.params, node->as.loss.result, node->as.loss.body);
        const NodeList *members = node->kind == NODE_Model       ? &node->as.model.members
                                  : node->kind == NODE_Metric    ? &node->as.metric.members
                                  : node->kind == NODE_Optimizer ? &node->as.optimizer.members
                                                                 : NULL;
        for (int j = 0; members && j < members->count; j++)
            if (members->at[j]->kind == NODE_Fn)
                elab_lint_signature(e, &members->at[j]->as.fn.params, members->at[j]->as.fn.result, members->at[j]->as.fn.body);
    }
}

void elab_globals(Elab *e)
{
    if (!e->unit || !e->unit->main)
        return;
    NameTexts names = {0};
    for (int f = 0; f < e->unit->file.count; f++)
        if (!e->unit->file.at[f]->is_std)
            file_globals(e, &e->unit->file.at[f]->ast->as.file.decls, &names);
    for (int i = 0; i < e->cx->define.count; i++) {
        const Define *define = &e->cx->define.at[i];
        if (define->used)
            continue;
        Span nowhere = {0};
        report(e->cx, nowhere, unknown_define, define->name);
        const char *near = closest_name(define->name, names.at, names.count);
        if (near)
            help(e->cx, "did you mean `-D %s=%s`?", near, define->value);
    }
}

// ---- names --------------------------------------------------------------------------------------------------------

static bool find_in_env(Elab *e, Env *env, Sym name, Value *out)
{
    for (; env; env = env->parent) {
        for (int i = 0; env->frame && i < env->frame->count; i++)
            if (env->frame->name[i] == name) {
                *out = env->frame->value[i];
                return true;
            }
        if (!env->self)
            continue;
        *out = name == e->names->self ? value_instance(env->self) : instance_member(e, env->self, name);
        if (out->kind != VALUE_HOLE)
            return true;
    }
    return false;
}

Value elab_name(Elab *e, Env *env, Sym name, Span span)
{
    Value value;
    if (find_in_env(e, env, name, &value))
        return value;
    if (name == e->names->training)
        return value_bool(e->training);
    Node *declaration = elab_lookup(e, env ? env->file : 0, name);
    if (declaration)
        return elab_declaration(e, declaration);
    TypeValue type;
    if (elab_element_type(e, name, &type))
        return elab_type_value(e, &type);
    report(e->cx, elab_span(e, span), unresolved_name, name);
    const char *near = env_closest(e, env, name);
    if (near)
        help(e->cx, "did you mean `%s`?", near);
    return value_poison();
}

Value elab_read(Elab *e, Value value, Span span)
{
    if (value.kind == VALUE_DIM && dim_root(value.as.dim)->known)
        return value_int(dim_root(value.as.dim)->value);
    if (value.kind == VALUE_CELL && e->trace) {
        Cell *cell = value.as.cell;
        Inst *inst = elab_cell_read(e, cell, span);
        if (!inst)
            return cell->absent ? value_none() : value_poison();
        return value_class(inst, cell->classes);
    }
    if (value.kind == VALUE_LATER && e->trace && elab_tick(e, span, 1))
        return elab_eval(e, value.as.later.env, value.as.later.node);
    return value;
}

static Value unknown_member(Elab *e, Value object, Sym name, const char *const names[], int count, Span span)
{
    report(e->cx, elab_span(e, span), unknown_member, value_what(e, object), name);
    const char *near = closest_name(name, names, count);
    if (near)
        help(e->cx, "did you mean `%s`?", near);
    return value_poison();
}

static Value instance_access(Elab *e, Value object, Sym name, Span span)
{
    Instance *self = object.as.instance;
    Value value = instance_member(e, self, name);
    if (value.kind != VALUE_HOLE)
        return value;
    const Value *param = self->env ? env_find(self->env, name) : NULL;
    if (param)
        return *param;
    Vec(const char *) names = {0};
    for (int i = 0; i < self->member.count; i++)
        vec_push(e->cx->arena, &names, self->member.key[i]);
    return unknown_member(e, object, name, names.at, names.count, span);
}

Value elab_member(Elab *e, Value object, Sym name, Span span)
{
    switch ((int)object.kind) {
    case VALUE_POISON:
        return object;
    case VALUE_INSTANCE:
        return instance_access(e, object, name, span);
    case VALUE_RECORD: {
        const Value *found = record_get(object, name);
        if (found)
            return *found;
        return unknown_member(e, object, name, object.as.record->name, object.as.record->count, span);
    }
    case VALUE_RANGE:
        if (name == e->names->start)
            return value_int(object.as.range.start);
        if (name == e->names->stop)
            return value_int(object.as.range.stop);
        break;
    case VALUE_LIST: case VALUE_TUPLE: {
        char *end;
        long at = strtol(name, &end, 10);
        if (*end == 0 && end != name) {
            if (at >= 0 && at < object.as.list.count)
                return object.as.list.at[at];
            report(e->cx, elab_span(e, span), index_out_of_range, (long long)at, 0LL, (long long)object.as.list.count - 1);
            return value_poison();
        }
        break;
    }
    case VALUE_JOB:
        if (object.as.job.part)
            break;
        if (e->job_member)
            return e->job_member(e, object.as.job.node, name, span);
        return (Value){.kind = VALUE_JOB, .as.job = {object.as.job.node, name}};
    default:
        break;
    }
    return unknown_member(e, object, name, NULL, 0, span);
}

// ---- small helpers ------------------------------------------------------------------------------------------------

bool elab_truth(Elab *e, Value value, bool *truth, Span span)
{
    if (value.kind == VALUE_BOOL) {
        *truth = value.as.whole != 0;
        return true;
    }
    if (value.kind != VALUE_POISON) {
        report(e->cx, elab_span(e, span), condition_not_bool, value_what(e, value));
        if (value.kind == VALUE_TENSOR)
            help(e->cx, "compare it with something, or fold it with `any` or `all`");
    }
    return false;
}

bool elab_int(Elab *e, Value value, int64_t *out, const char *what, Span span)
{
    value = elab_read(e, value, span);
    if (value.kind == VALUE_INT) {
        *out = value.as.whole;
        return true;
    }
    if (value.kind == VALUE_REAL && value.as.real == floor(value.as.real) && fabs(value.as.real) < 9e15) {
        *out = (int64_t)value.as.real;
        return true;
    }
    if (value.kind == VALUE_POISON)
        return false;
    if (value.kind == VALUE_DIM) {
        Dim *dim = dim_root(value.as.dim);
        report(e->cx, elab_span(e, span), size_not_known, dim->name ? dim->name : "_");
        note(e->cx, dim->declared, "to be inferred, declared here");
    } else if (value.kind == VALUE_OPTION || value.kind == VALUE_LATER) {
        report(e->cx, elab_span(e, span), option_as_static, what, value_what(e, value));
        help(e->cx, "make it a `const`: it may be given when the program is built, with -D");
    } else if (value.kind == VALUE_TENSOR)
        report(e->cx, elab_span(e, span), not_static, what, value_what(e, value));
    else
        report(e->cx, elab_span(e, span), type_mismatch, what, "an int", value_what(e, value));
    return false;
}

bool elab_items(Elab *e, Value value, ValueList *out, const char *what, Span span)
{
    *out = (ValueList){0, NULL};
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        *out = value.as.list;
        return true;
    }
    if (value.kind == VALUE_POISON)
        return false;
    if (value.kind == VALUE_TREE) {
        out->count = value.as.tree->count;
        out->at = NEW_ARRAY(e->cx->arena, Value, out->count + 1);
        for (int i = 0; i < out->count; i++)
            out->at[i] = value_tensor(value.as.tree->at[i]);
        return true;
    }
    if (value.kind != VALUE_RANGE) {
        report(e->cx, elab_span(e, span), not_a_list, what, value_what(e, value));
        return false;
    }
    int64_t count = value.as.range.stop - value.as.range.start;
    if (count < 0)
        count = 0;
    if (count > MOST_LIST) {
        report(e->cx, elab_span(e, span), too_large, "this range");
        return false;
    }
    if (!elab_tick(e, span, count))
        return false;
    out->count = (int)count;
    out->at = NEW_ARRAY(e->cx->arena, Value, count + 1);
    for (int i = 0; i < out->count; i++)
        out->at[i] = value_int(value.as.range.start + i);
    return true;
}

// A number that only the running program knows, outside any trace.
static bool is_delayed(const Elab *e, Value value)
{
    return !e->trace && (value.kind == VALUE_OPTION || value.kind == VALUE_LATER ||
                         (value.kind == VALUE_QUANTITY && value.as.quantity.option >= 0 && value.as.quantity.unit == AML_UNIT_FRACTION));
}

static Value later(Env *env, Node *node)
{
    return (Value){.kind = VALUE_LATER, .as.later = {node, env}};
}

// ---- choosing -----------------------------------------------------------------------------------------------------

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
    // Condition and branches broadcast together: the branches first, then both against the condition.
    Inst *shape = condition;
    if (!elab_broadcast(e, &shape, &x, "'if'", span))
        return value_poison();
    y = elab_broadcast_to(e, y, x->type, "'if'", span);
    Inst *in[] = {shape, x, y};
    int64_t classes = a.kind == VALUE_TENSOR && b.kind == VALUE_TENSOR && a.as.tensor.classes == b.as.tensor.classes ? a.as.tensor.classes : 0;
    return value_class(elab_emit(e, OP_select, in, 3, NULL, (Type){0}, "'if'", span), classes);
}

static Inst *condition_tensor(Elab *e, Value condition, Span span)
{
    Inst *inst = elab_tensor(e, condition, DTYPE_BOOL, span);
    if (inst && inst->type.dtype != DTYPE_BOOL) {
        report(e->cx, elab_span(e, span), condition_not_bool, value_what(e, value_tensor(inst)));
        help(e->cx, "compare it with something");
        return NULL;
    }
    return inst;
}

static Value eval_if(Elab *e, Env *env, Node *node)
{
    Value condition = elab_eval(e, env, node->as.choose.condition);
    if (condition.kind == VALUE_POISON)
        return condition;
    if (is_delayed(e, condition))
        return later(env, node);
    if (elab_is_runtime(condition)) {
        Inst *chooser = condition_tensor(e, condition, node->as.choose.condition->span);
        if (!chooser)
            return value_poison();
        Value a = elab_eval(e, env, node->as.choose.then);
        Value b = elab_eval(e, env, node->as.choose.otherwise);
        return elab_select(e, chooser, a, b, node->span);
    }
    bool truth;
    if (!elab_truth(e, condition, &truth, node->as.choose.condition->span))
        return value_poison();
    return elab_eval(e, env, truth ? node->as.choose.then : node->as.choose.otherwise);
}

// ---- operators and calls ------------------------------------------------------------------------------------------

static Value eval_logic(Elab *e, Env *env, Node *node)
{
    Oper op = node->as.binary.op;
    Value left = elab_eval(e, env, node->as.binary.left);
    if (left.kind == VALUE_BOOL && (op == OPER_OR) == (left.as.whole != 0))
        return left;
    Value right = elab_eval(e, env, node->as.binary.right);
    if (is_delayed(e, left) || is_delayed(e, right))
        return later(env, node);
    if (left.kind == VALUE_BOOL && elab_is_runtime(right))
        return right;           // true and x, false or x
    return elab_binary(e, op, left, right, node->span);
}

static Value eval_range(Elab *e, Env *env, Node *node)
{
    Value left = elab_eval(e, env, node->as.binary.left), right = elab_eval(e, env, node->as.binary.right);
    Value range = {.kind = VALUE_RANGE};
    if (left.kind == VALUE_POISON || right.kind == VALUE_POISON ||
        !elab_int(e, left, &range.as.range.start, "the start of a range", node->as.binary.left->span) ||
        !elab_int(e, right, &range.as.range.stop, "the end of a range", node->as.binary.right->span))
        return value_poison();
    int64_t ignored;
    if (__builtin_sub_overflow(range.as.range.stop, range.as.range.start, &ignored)) {
        report(e->cx, node->span, too_large, "this range");
        return value_poison();
    }
    return range;
}

static bool delays(Elab *e, Value callee)
{
    return callee.kind == VALUE_TYPE ||
           (callee.kind == VALUE_FUNCTION && callee.as.function->node->kind == NODE_Fn && !callee.as.function->node->as.fn.body && !e->trace);
}

// callee(piped, args): `piped` may be NULL.
static Value eval_call(Elab *e, Env *env, Node *node, Node *callee_node, const Value *piped, Span piped_span, const NodeList *arg_nodes)
{
    Value callee = elab_eval(e, env, callee_node);
    int count = (piped != NULL) + (arg_nodes ? arg_nodes->count : 0);
    Value small[8];
    Sym small_name[8];
    Span small_span[8];
    bool few = count <= 8;
    Value *args = few ? small : NEW_ARRAY(e->cx->arena, Value, count);
    Sym *names = few ? small_name : NEW_ARRAY(e->cx->arena, Sym, count);
    Span *spans = few ? small_span : NEW_ARRAY(e->cx->arena, Span, count);
    int at = 0;
    if (piped) {
        args[0] = *piped;
        names[0] = NULL;
        spans[0] = piped_span;
        at = 1;
    }
    const NodeList *params = elab_parameters(e, callee);
    bool poison = callee.kind == VALUE_POISON, delayed = false;
    for (int i = 0; arg_nodes && i < arg_nodes->count; i++, at++) {
        Node *arg = arg_nodes->at[i];
        bool plain = arg->kind != NODE_Arg;
        Node *value_node = plain ? arg : arg->as.arg.value;
        names[at] = plain ? NULL : arg->as.arg.name;
        spans[at] = value_node->span;
        Node *type = NULL;
        for (int j = 0; params && j < params->count; j++)
            if (names[at] ? params->at[j]->as.param.name == names[at] : j == at)
                type = params->at[j]->as.param.type;
        if (poison && value_node->kind == NODE_Name)
            args[at] = value_poison();      // it may have been a word that only the callee knows
        else
            args[at] = elab_expect(e, env, value_node, type);
        poison = poison || args[at].kind == VALUE_POISON;
        delayed = delayed || is_delayed(e, args[at]);
    }
    delayed = delayed || (piped && is_delayed(e, *piped));
    if (poison || !elab_tick(e, node->span, 1))
        return value_poison();
    if (delayed && delays(e, callee) && node->kind != NODE_Error)
        return later(env, node);
    return elab_call_at(e, callee, args, names, spans, count, node->span);
}

static Value eval_pipe(Elab *e, Env *env, Node *node)
{
    Value left = elab_eval(e, env, node->as.binary.left);
    Node *right = node->as.binary.right;
    Span span = node->as.binary.left->span;
    if (left.kind == VALUE_POISON)
        return left;
    if (right->kind == NODE_Call)
        return eval_call(e, env, node, right->as.call.callee, &left, span, &right->as.call.args);
    return eval_call(e, env, node, right, &left, span, NULL);
}

static Value eval_binary(Elab *e, Env *env, Node *node)
{
    Oper op = node->as.binary.op;
    if (op == OPER_PIPE)
        return eval_pipe(e, env, node);
    if (op == OPER_AND || op == OPER_OR)
        return eval_logic(e, env, node);
    if (op == OPER_RANGE)
        return eval_range(e, env, node);
    Value left = elab_eval(e, env, node->as.binary.left);
    Value right = elab_eval(e, env, node->as.binary.right);
    if (left.kind == VALUE_POISON || right.kind == VALUE_POISON)
        return value_poison();
    bool with_none = left.kind == VALUE_NONE || right.kind == VALUE_NONE;
    if ((is_delayed(e, left) || is_delayed(e, right)) && !with_none)
        return later(env, node);
    return elab_binary(e, op, left, right, node->span);
}

static Value eval_index(Elab *e, Env *env, Node *node)
{
    Value object = elab_eval(e, env, node->as.index.object);
    int count = node->as.index.items.count;
    Value *items = NEW_ARRAY(e->cx->arena, Value, count + 1);
    for (int i = 0; i < count; i++) {
        Node *item = node->as.index.items.at[i];
        if (item->kind == NODE_Rest)
            items[i] = (Value){.kind = VALUE_REST};
        else if (item->kind == NODE_Slice) {
            Node *part[] = {item->as.slice.start, item->as.slice.stop, item->as.slice.step};
            Sym name[] = {e->names->start, e->names->stop, e->names->step};
            Value value[3];
            for (int j = 0; j < 3; j++) {
                value[j] = part[j] ? elab_eval(e, env, part[j]) : value_none();
                if (value[j].kind == VALUE_POISON)
                    return value[j];
            }
            items[i] = value_record(e, 3, name, value);
        } else
            items[i] = elab_eval(e, env, item);
    }
    return elab_index(e, object, items, count, node->span);
}

// ---- compound values ----------------------------------------------------------------------------------------------

static Value eval_list(Elab *e, Env *env, const NodeList *nodes, ValueKind kind)
{
    ValueList list = {nodes->count, NEW_ARRAY(e->cx->arena, Value, nodes->count + 1)};
    bool poison = false;
    for (int i = 0; i < nodes->count; i++) {
        list.at[i] = elab_eval(e, env, nodes->at[i]);
        poison = poison || list.at[i].kind == VALUE_POISON;
    }
    return poison ? value_poison() : (Value){.kind = kind, .as.list = list};
}

// `types`: the Params of a record type that is expected, or NULL.
static Value eval_record(Elab *e, Env *env, const NodeList *nodes, const NodeList *types)
{
    RecordValue *record = NEW(e->cx->arena, RecordValue);
    record->name = NEW_ARRAY(e->cx->arena, Sym, nodes->count + 1);
    record->at = NEW_ARRAY(e->cx->arena, Value, nodes->count + 1);
    record->span = NEW_ARRAY(e->cx->arena, Span, nodes->count + 1);
    bool poison = false;
    for (int i = 0; i < nodes->count; i++) {
        Node *item = nodes->at[i];
        if (item->kind != NODE_Setting) {
            poison = true;
            continue;
        }
        bool again = false;
        for (int j = 0; j < record->count; j++)
            again = again || record->name[j] == item->as.setting.name;
        if (again) {
            report(e->cx, item->as.setting.name_span, repeated_argument, item->as.setting.name, "a record");
            poison = true;
            continue;
        }
        record->name[record->count] = item->as.setting.name;
        record->span[record->count] = item->as.setting.value->span;
        Node *type = NULL;
        for (int j = 0; types && j < types->count; j++)
            if (types->at[j]->as.param.name == item->as.setting.name)
                type = types->at[j]->as.param.type;
        record->at[record->count] = elab_expect(e, env, item->as.setting.value, type);
        poison = poison || record->at[record->count].kind == VALUE_POISON;
        record->count++;
    }
    return poison ? value_poison() : (Value){.kind = VALUE_RECORD, .as.record = record};
}

static Value eval_comprehension(Elab *e, Env *env, Node *node)
{
    const AstComprehension *c = &node->as.comprehension;
    ValueList items;
    if (!elab_items(e, elab_eval(e, env, c->items), &items, "what a comprehension goes over", c->items->span))
        return value_poison();
    Vec(Value) out = {0};
    for (int i = 0; i < items.count; i++) {
        Env *inner = env_new(e, env, 0);
        if (c->name->kind == NODE_Name)
            env_bind(e, inner, c->name->as.name.name, items.at[i]);
        bool keep = true;
        if (c->condition) {
            Value condition = elab_eval(e, inner, c->condition);
            if (condition.kind != VALUE_BOOL && condition.kind != VALUE_POISON && elab_is_runtime(condition))
                report(e->cx, elab_span(e, c->condition->span), not_static, "the condition of a comprehension", value_what(e, condition));
            else if (elab_truth(e, condition, &keep, c->condition->span))
                goto known;
            return value_poison();
        }
    known:
        if (!keep)
            continue;
        Value value = elab_eval(e, inner, c->value);
        if (value.kind == VALUE_POISON || !elab_tick(e, node->span, 1))
            return value_poison();
        vec_push(e->cx->arena, &out, value);
    }
    return (Value){.kind = VALUE_LIST, .as.list = {out.count, out.at}};
}

static Value eval_quantity(Elab *e, Node *node)
{
    static const struct {
        const char *unit;
        aml_unit kind;
        double scale;
    } units[] = {
#define KEYWORD(token, text, meaning)
#define UNIT(name, kind, factor, meaning) {name, AML_UNIT_##kind, factor},
#include "keywords.def"
    };
    const AstQuantity *quantity = &node->as.quantity;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strcmp(units[i].unit, quantity->unit) == 0) {
            // 10 / 100 is the double closest to 10%, 10 * 0.01 is not always.
            double value = units[i].kind == AML_UNIT_FRACTION ? quantity->value / 100 : quantity->value * units[i].scale;
            Value result = value_quantity(value, units[i].kind);
            result.as.quantity.points = strcmp(quantity->unit, "pp") == 0;
            return result;
        }
    report(e->cx, node->span, unknown_unit, quantity->unit);
    return value_poison();
}

static Value eval_node(Elab *e, Env *env, Node *node)
{
    switch (node->kind) {
    case NODE_Integer:
        return value_int(node->as.integer.value);
    case NODE_Real:
        return value_real(node->as.real.value);
    case NODE_Quantity:
        return eval_quantity(e, node);
    case NODE_String:
        return value_text(e, node->as.string.value);
    case NODE_Bool:
        return value_bool(node->as.boolean.value);
    case NODE_None:
        return value_none();
    case NODE_Hole:
        return (Value){.kind = VALUE_HOLE};
    case NODE_Name:
        return elab_read(e, elab_name(e, env, node->as.name.name, node->span), node->span);
    case NODE_Access:
        return elab_read(e, elab_member(e, elab_eval(e, env, node->as.access.object), node->as.access.name, node->span), node->span);
    case NODE_Call:
        return eval_call(e, env, node, node->as.call.callee, NULL, node->span, &node->as.call.args);
    case NODE_Index:
        return eval_index(e, env, node);
    case NODE_Unary: {
        Value value = elab_eval(e, env, node->as.unary.value);
        return is_delayed(e, value) ? later(env, node) : elab_unary(e, node->as.unary.op, value, node->span);
    }
    case NODE_Binary:
        return eval_binary(e, env, node);
    case NODE_If:
        return eval_if(e, env, node);
    case NODE_Lambda:
        return value_function(e, node, env);
    case NODE_List:
        return eval_list(e, env, &node->as.list.items, VALUE_LIST);
    case NODE_Tuple:
        return eval_list(e, env, &node->as.tuple.items, VALUE_TUPLE);
    case NODE_Comprehension:
        return eval_comprehension(e, env, node);
    case NODE_Record:
        return eval_record(e, env, &node->as.record.items, NULL);
    case NODE_Type: {
        TypeValue type;
        return elab_type(e, env, node, &type) ? elab_type_value(e, &type) : value_poison();
    }
    case NODE_Block: {
        bool returned;
        return elab_body(e, env, node, &returned);
    }
    case NODE_Error:
        return value_poison();
    case NODE_Rest: case NODE_Slice: case NODE_Arg: case NODE_Setting: case NODE_Field: case NODE_Weight: case NODE_State:
    case NODE_Member: case NODE_Param: case NODE_OneOf: case NODE_RecordType: case NODE_TupleType: case NODE_ListType:
    case NODE_Let: case NODE_Return: case NODE_Assign: case NODE_IfStmt: case NODE_For: case NODE_File: case NODE_Use:
    case NODE_Const: case NODE_Option: case NODE_Fn: case NODE_Model: case NODE_Loss: case NODE_Metric: case NODE_Optimizer:
    case NODE_Grad: case NODE_Schema: case NODE_Entry: case NODE_Job: case NODE_COUNT:
        break;
    }
    report(e->cx, elab_span(e, node->span), type_mismatch, "this", "an expression", node_kind_name[node->kind]);
    return value_poison();
}

Value elab_eval(Elab *e, Env *env, Node *node)
{
    if (!elab_tick(e, node->span, 1))
        return value_poison();
    if (e->depth >= MOST_DEPTH) {
        report(e->cx, elab_span(e, node->span), nested_too_deeply, MOST_DEPTH);
        e->gave_up = true;
        return value_poison();
    }
    e->depth++;
    Value value = eval_node(e, env, node);
    e->depth--;
    return value;
}

static Value expect_list(Elab *e, Env *env, const NodeList *nodes, ValueKind kind, Node *list_type)
{
    ValueList list = {nodes->count, NEW_ARRAY(e->cx->arena, Value, nodes->count + 1)};
    bool poison = false;
    for (int i = 0; i < nodes->count; i++) {
        Node *item = list_type->kind == NODE_ListType                ? list_type->as.listtype.item
                     : i < list_type->as.tuptype.types.count ? list_type->as.tuptype.types.at[i]
                                                                     : NULL;
        list.at[i] = elab_expect(e, env, nodes->at[i], item);
        poison = poison || list.at[i].kind == VALUE_POISON;
    }
    return poison ? value_poison() : (Value){.kind = kind, .as.list = list};
}

Value elab_expect(Elab *e, Env *env, Node *node, Node *type)
{
    Value local;
    if (!type || e->depth >= MOST_DEPTH)
        return elab_eval(e, env, node);
    if (node->kind == NODE_Name && elab_is_symbol_of(e, type, node->as.name.name) && !find_in_env(e, env, node->as.name.name, &local))
        return value_symbol(node->as.name.name);
    for (int i = 0; type->kind == NODE_OneOf && i < type->as.oneof.choices.count; i++) {
        Node *choice = type->as.oneof.choices.at[i];
        if ((choice->kind == NODE_ListType && node->kind == NODE_List) || (choice->kind == NODE_TupleType && node->kind == NODE_Tuple))
            type = choice;
    }
    e->depth++;
    Value value;
    if (node->kind == NODE_List && type->kind == NODE_ListType)
        value = expect_list(e, env, &node->as.list.items, VALUE_LIST, type);
    else if (node->kind == NODE_Tuple && type->kind == NODE_TupleType)
        value = expect_list(e, env, &node->as.tuple.items, VALUE_TUPLE, type);
    else if (node->kind == NODE_Record && type->kind == NODE_RecordType)
        value = eval_record(e, env, &node->as.record.items, &type->as.rectype.params);
    else
        value = elab_eval(e, env, node);
    e->depth--;
    return value;
}

Value elab_eval_as(Elab *e, Env *env, Node *node, Node *type, const char *what)
{
    Value value = elab_expect(e, env, node, type);
    if (type && value.kind != VALUE_POISON && !elab_match(e, env, type, &value, what, node->span))
        return value_poison();
    return value;
}

// ---- statements ---------------------------------------------------------------------------------------------------

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
        return let->names.at[0]->kind == NODE_Name ? bind_let(e, env, let->names.at[0]->as.name.name, value) : env;
    ValueList items = {0};
    bool fits = value.kind == VALUE_TUPLE || value.kind == VALUE_LIST || value.kind == VALUE_RANGE;
    fits = fits && elab_items(e, value, &items, "this", let->value->span) && items.count == let->names.count;
    if (!fits && value.kind != VALUE_POISON)
        report(e->cx, elab_span(e, let->value->span), not_a_tuple, value_what(e, value), let->names.count);
    for (int i = 0; i < let->names.count; i++)
        if (let->names.at[i]->kind == NODE_Name)
            env = bind_let(e, env, let->names.at[i]->as.name.name, fits ? items.at[i] : value_poison());
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
        place = elab_member(e, elab_eval(e, env, target->as.access.object), target->as.access.name, target->span);
    else
        return;
    if (place.kind == VALUE_POISON || value.kind == VALUE_POISON)
        return;
    if (place.kind == VALUE_CELL) {
        if (place.as.cell->role == AML_ROLE_WEIGHT && value.kind != VALUE_TENSOR) {
            report(e->cx, elab_span(e, node->span), type_mismatch, arena_printf(e->cx->arena, "the weight '%s'", place.as.cell->name), "a tensor",
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
    help(e->cx, "only a `state` or a `weight` can be updated, or a model with the result of its optimizer's `update`");
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
    Snapshot shot = {trace->use.count, NEW_ARRAY(e->cx->arena, Inst *, trace->use.count + 1), NEW_ARRAY(e->cx->arena, bool, trace->use.count + 1)};
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
        Value merged = elab_select(e, condition, value_tensor(other), value_tensor(use->current), span);
        if (merged.kind != VALUE_TENSOR)
            return;
        if (!type_equal(merged.as.tensor.inst->type, use->current->type)) {
            report(e->cx, elab_span(e, span), shape_mismatch, "the condition of an `if` that updates a state",
                   shape_text(e->cx->arena, use->current->type), shape_text(e->cx->arena, condition->type));
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

static Value run_tensor_if(Elab *e, Env *env, Node *node, Value condition, const NodeList *body, int next, bool *returned)
{
    Inst *chooser = condition_tensor(e, condition, node->as.ifstmt.condition->span);
    if (!chooser)
        return value_poison();
    Snapshot before = take_states(e);
    bool then_returned, else_returned;
    e->branching++;
    Value then = run_branch(e, env, node->as.ifstmt.then, &then_returned);
    Snapshot after_then = take_states(e);
    restore_states(e, &before);
    Value otherwise = run_branch(e, env, node->as.ifstmt.otherwise, &else_returned);
    if (then_returned && !else_returned)
        otherwise = run(e, env, body, next, &else_returned);
    else if (!then_returned && else_returned) {
        Snapshot after_else = take_states(e);
        restore_states(e, &after_then);
        then = run(e, env, body, next, &then_returned);
        after_then = take_states(e);
        restore_states(e, &after_else);
    }
    e->branching--;
    merge_states(e, chooser, &after_then, node->span);
    if (then_returned != else_returned) {
        report(e->cx, elab_span(e, node->span), branches_differ, then_returned ? "a value" : "no value", else_returned ? "a value" : "no value");
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
    if (!elab_items(e, elab_eval(e, env, node->as.loop.items), &items, "what `for` goes over", node->as.loop.items->span))
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

static Value run_statement(Elab *e, Env *env, Node *node, const NodeList *body, int next, bool *returned)
{
    *returned = false;
    if (node->kind == NODE_Return) {
        *returned = true;
        return elab_eval(e, env, node->as.ret.value);
    }
    if (node->kind == NODE_For)
        return run_for(e, env, node, returned);
    if (node->kind == NODE_Assign) {
        run_assign(e, env, node);
        return value_none();
    }
    if (node->kind != NODE_IfStmt) {
        Value value = elab_eval(e, env, node);
        *returned = value.kind == VALUE_POISON;     // error("...") ends the function
        return value;
    }
    Value condition = elab_eval(e, env, node->as.ifstmt.condition);
    if (condition.kind == VALUE_POISON) {
        *returned = true;       // whatever the branches would have defined or returned is unknown
        return condition;
    }
    if (elab_is_runtime(condition) && !e->trace) {
        report(e->cx, elab_span(e, node->as.ifstmt.condition->span), option_as_static, "the condition of an `if` statement outside the traced functions",
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
    return elab_eval(e, env, body);
}
