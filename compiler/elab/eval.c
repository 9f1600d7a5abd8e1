// eval.c: expressions.
//
// Evaluating is a walk over the tree. Where an operand is known only when the program runs the
// result is a tensor, or, outside of any trace, the expression itself (VALUE_LATER), to be
// evaluated again in each function that needs it.

#include "elab/internal.h"
#include "sema/sema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

// ---- names --------------------------------------------------------------------------------------

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
        *out = name == e->names->self ? value_instance(env->self)
                                      : instance_member(e, env->self, name);
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
    if (name == e->names->dropout_active)
        return value_bool(e->training && !e->calm);
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
    if (value.kind == VALUE_DIM && value.as.dim->known)
        return value_int(value.as.dim->value);
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

static Value unknown_member(Elab *e, Value object, Sym name, const char *const names[], int count,
                            Span span)
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
        return self->weights ? elab_reweighted_member(e, self, value) : value;
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
        return object.as.instance->of ? repeat_part_member(e, object.as.instance, name, span)
                                      : instance_access(e, object, name, span);
    case VALUE_RECORD: {
        const Value *found = record_get(object, name);
        if (found)
            return *found;
        return unknown_member(e, object, name, object.as.record->name, object.as.record->count,
                              span);
    }
    case VALUE_RANGE:
        if (name == e->names->start)
            return value_int(object.as.range.start);
        if (name == e->names->stop)
            return value_int(object.as.range.stop);
        break;
    case VALUE_LIST:
    case VALUE_TUPLE: {
        char *end;
        long at = strtol(name, &end, 10);
        if (*end == 0 && end != name) {
            if (at >= 0 && at < object.as.list.count)
                return object.as.list.at[at];
            report(e->cx, elab_span(e, span), index_out_of_range, (long long)at, 0LL,
                   (long long)object.as.list.count - 1);
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

// ---- small helpers ------------------------------------------------------------------------------

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
    if (value.kind == VALUE_REAL && value.as.real == floor(value.as.real) &&
        fabs(value.as.real) < 9e15) {
        *out = (int64_t)value.as.real;
        return true;
    }
    if (value.kind == VALUE_POISON)
        return false;
    if (value.kind == VALUE_DIM) {
        Dim *dim = value.as.dim;
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
    if (value.kind == VALUE_INSTANCE && !value.as.instance->declaration &&
        !value.as.instance->of) { // sequence and repeat: their parts
        Instance *self = value.as.instance;
        out->count = self->turns > 0 ? self->turns : self->part.count;
        out->at = NEW_ARRAY(e->cx->arena, Value, out->count + 1);
        for (int i = 0; i < out->count; i++)
            out->at[i] = repeat_part(e, self, i, span);
        return true;
    }
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
                         (value.kind == VALUE_QUANTITY && value.as.quantity.option >= 0 &&
                          value.as.quantity.unit == AML_UNIT_FRACTION));
}

static Value later(Env *env, Node *node)
{
    return (Value){.kind = VALUE_LATER, .as.later = {node, env}};
}

static Value eval_if(Elab *e, Env *env, Node *node)
{
    Value condition = elab_eval(e, env, node->as.choose.condition);
    if (condition.kind == VALUE_POISON)
        return condition;
    if (is_delayed(e, condition))
        return later(env, node);
    if (elab_is_runtime(condition)) {
        Inst *chooser = elab_condition(e, condition, node->as.choose.condition->span);
        if (!chooser)
            return value_poison();
        Branch branch = branch_begin(e);
        Value a = elab_eval(e, env, node->as.choose.then);
        bool a_dead = branch_end(e, branch);
        branch = branch_begin(e);
        Value b = elab_eval(e, env, node->as.choose.otherwise);
        bool b_dead = branch_end(e, branch);
        if (a_dead && b_dead)
            report(e->cx, elab_span(e, node->span), library_error,
                   "both branches of this `if` end in error()");
        if (a_dead != b_dead)
            return a_dead ? b : a;
        return elab_select(e, chooser, a, b, node->span);
    }
    bool truth;
    if (!elab_truth(e, condition, &truth, node->as.choose.condition->span))
        return value_poison();
    return elab_eval(e, env, truth ? node->as.choose.then : node->as.choose.otherwise);
}

// ---- operators and calls ------------------------------------------------------------------------

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
        return right; // true and x, false or x
    return elab_binary(e, op, left, right, node->span);
}

static Value eval_range(Elab *e, Env *env, Node *node)
{
    Value left = elab_eval(e, env, node->as.binary.left),
          right = elab_eval(e, env, node->as.binary.right);
    Value range = {.kind = VALUE_RANGE};
    if (left.kind == VALUE_POISON || right.kind == VALUE_POISON ||
        !elab_int(e, left, &range.as.range.start, "the start of a range",
                  node->as.binary.left->span) ||
        !elab_int(e, right, &range.as.range.stop, "the end of a range",
                  node->as.binary.right->span))
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
           (callee.kind == VALUE_FUNCTION && callee.as.function->node->kind == NODE_Fn &&
            !callee.as.function->node->as.fn.body && !e->trace);
}

// callee(piped, args): `piped` may be NULL.
static Value eval_call(Elab *e, Env *env, Node *node, Node *callee_node, const Value *piped,
                       Span piped_span, const NodeList *arg_nodes)
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
        Node *param = NULL;
        for (int j = 0; params && j < params->count; j++)
            if (names[at] ? params->at[j]->as.param.name == names[at] : j == at)
                param = params->at[j];
        Node *type = param ? param->as.param.type : NULL;
        if (names[at] && params && !param && !poison) {
            // before its value: that may be a word that only the right argument knows
            elab_unknown_argument(e, callee, names[at], params, value_node->span);
            args[at] = value_poison();
        } else if (poison && value_node->kind == NODE_Name)
            args[at] = value_poison(); // it may have been a word that only the callee knows
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

// ---- compound values ----------------------------------------------------------------------------

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
            report(e->cx, item->as.setting.name_span, repeated_argument, item->as.setting.name,
                   "a record");
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
    if (!elab_items(e, elab_eval(e, env, c->items), &items, "what a comprehension goes over",
                    c->items->span))
        return value_poison();
    Vec(Value) out = {0};
    for (int i = 0; i < items.count; i++) {
        Env *inner = env_new(e, env, 0);
        if (c->name->kind == NODE_Name)
            env_bind(e, inner, c->name->as.name.name, items.at[i]);
        bool keep = true;
        if (c->condition) {
            Value condition = elab_eval(e, inner, c->condition);
            if (elab_is_runtime(condition)) {
                report(e->cx, elab_span(e, c->condition->span), not_static,
                       "the condition of a comprehension", value_what(e, condition));
                return value_poison();
            }
            if (!elab_truth(e, condition, &keep, c->condition->span))
                return value_poison();
        }
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
            double value = units[i].kind == AML_UNIT_FRACTION ? quantity->value / 100
                                                              : quantity->value * units[i].scale;
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
        return elab_read(e,
                         elab_member(e, elab_eval(e, env, node->as.access.object),
                                     node->as.access.name, node->span),
                         node->span);
    case NODE_Call:
        return eval_call(e, env, node, node->as.call.callee, NULL, node->span, &node->as.call.args);
    case NODE_Index:
        return eval_index(e, env, node);
    case NODE_Unary: {
        Value value = elab_eval(e, env, node->as.unary.value);
        return is_delayed(e, value) ? later(env, node)
                                    : elab_unary(e, node->as.unary.op, value, node->span);
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
    case NODE_Rest:
    case NODE_Slice:
    case NODE_Arg:
    case NODE_Setting:
    case NODE_Field:
    case NODE_Weight:
    case NODE_State:
    case NODE_Member:
    case NODE_Param:
    case NODE_OneOf:
    case NODE_RecordType:
    case NODE_TupleType:
    case NODE_ListType:
    case NODE_Let:
    case NODE_Return:
    case NODE_Assign:
    case NODE_IfStmt:
    case NODE_For:
    case NODE_File:
    case NODE_Unread:
    case NODE_Use:
    case NODE_Const:
    case NODE_Option:
    case NODE_Fn:
    case NODE_Model:
    case NODE_Loss:
    case NODE_Metric:
    case NODE_Optimizer:
    case NODE_Grad:
    case NODE_Schema:
    case NODE_Entry:
    case NODE_Job:
    case NODE_COUNT:
        break;
    }
    report(e->cx, elab_span(e, node->span), type_mismatch, "this", "an expression",
           node_kind_name[node->kind]);
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
        Node *item = list_type->kind == NODE_ListType        ? list_type->as.listtype.item
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
    if (node->kind == NODE_Name && elab_is_symbol_of(e, type, node->as.name.name) &&
        !find_in_env(e, env, node->as.name.name, &local))
        return value_symbol(node->as.name.name);
    for (int i = 0; type->kind == NODE_OneOf && i < type->as.oneof.choices.count; i++) {
        Node *choice = type->as.oneof.choices.at[i];
        if ((choice->kind == NODE_ListType && node->kind == NODE_List) ||
            (choice->kind == NODE_TupleType && node->kind == NODE_Tuple))
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
    Subject subject = {.before = what};
    if (type && value.kind != VALUE_POISON &&
        !elab_match(e, env, type, &value, &subject, node->span))
        return value_poison();
    return value;
}
