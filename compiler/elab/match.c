// match.c: values against annotations: units, class(k), enumerations, records.
//
// Where the annotation says so the value is converted: an int to a float, a fraction to a number, a
// number to a schedule.

#include "elab/match.h"

#include <math.h>
#include <string.h>

static bool match(const Matching *m, Node *type, Value *value);

// ---- elements -----------------------------------------------------------------------------------

static bool wrong_type(const Matching *m, Node *type, const Value *value)
{
    if (!m->quiet) {
        const char *expected = elab_type_text(m->e, m->env, type);
        if (type->kind == NODE_Type && !type->as.type.has_dims &&
            type_name(m->e, type) < TYPE_NAMES)
            expected = type_name_what(type_name(m->e, type));
        if (value->kind == VALUE_OPTION || value->kind == VALUE_LATER ||
            (value->kind == VALUE_QUANTITY && value->as.quantity.option >= 0)) {
            report(m->e->cx, m->span, option_as_static, subject_text(m->e, m->what),
                   value_what(m->e, *value));
            if (value->kind == VALUE_OPTION)
                note(m->e->cx, m->e->option.at[value->as.option].node->span,
                     "declared here; a `const` is known when the program is compiled");
        } else
            report(m->e->cx, m->span, type_mismatch, subject_text(m->e, m->what), expected,
                   value_what(m->e, *value));
    }
    return false;
}

static bool element_fits(TypeName name, const Node *type, DType dtype)
{
    switch ((int)name) {
    case TYPE_float:
        return dtype_info[dtype].kind == KIND_FLOAT;
    case TYPE_int:
    case TYPE_class:
        return dtype_info[dtype].kind == KIND_INT;
    case TYPE_number:
        return dtype_info[dtype].kind != KIND_BOOL;
    case TYPE_any:
    case TYPE_tensor:
        return true;
    case TYPE_element:
        return strcmp(dtype_info[dtype].name, type->as.type.name) == 0;
    default:
        return false;
    }
}

static bool match_classes(const Matching *m, Node *type, const Value *value)
{
    Elab *e = m->e;
    if (type->as.type.args.count != 1) {
        if (!m->quiet)
            report(e->cx, type->span, bad_type, "class without a count");
        return false;
    }
    Node *count = type->as.type.args.at[0];
    int64_t classes = value->as.tensor.classes;
    if (classes == 0) {
        if (!m->quiet) {
            Buffer text = {.arena = e->cx->arena};
            buffer_text(&text, "");
            text_of_node(e, count, &text);
            report(e->cx, m->span, not_a_class, subject_text(e, m->what), text.text,
                   value_what(e, *value));
            help(e->cx, "declare the field as class(k); of what is computed, `mod(x, k)` is one");
        }
        return false;
    }
    bool bad = false;
    Matching inner = *m;
    if (size_solve(&inner, count, classes, &value->as.tensor.inst->type, &bad))
        return true;
    if (!m->quiet && !bad) {
        int64_t expected = 0;
        Dim *unknown = NULL;
        Node *fresh = NULL;
        size_value(e, m->env, count, &expected, &unknown, &fresh);
        report(e->cx, m->span, class_mismatch, subject_text(e, m->what), (long long)expected,
               (long long)classes);
        note_origins(m, count);
        note(e->cx, type->span, "declared here");
    }
    return false;
}

static bool match_tensor(const Matching *m, Node *type, TypeName name, Value *value)
{
    Elab *e = m->e;
    if (value->kind == VALUE_MEAN ||
        ((value->kind == VALUE_OPTION || value->kind == VALUE_LATER) && e->trace)) {
        Inst *inst = elab_tensor(e, *value, e->real, m->span);
        if (!inst) {
            *value = value_poison();
            return true;
        }
        *value = value_tensor(inst);
    }
    const NodeList *dims = &type->as.type.dims;
    bool any_rank = type->as.type.has_dims && dims->count == 1 && dims->at[0]->kind == NODE_Rest;
    if (any_rank &&
        (value_is_number(*value) || value->kind == VALUE_OPTION || value->kind == VALUE_LATER) &&
        name != TYPE_class)
        return name != TYPE_int || value->kind == VALUE_INT || wrong_type(m, type, value);
    if (any_rank && value->kind == VALUE_BOOL && name == TYPE_element &&
        strcmp(type->as.type.name, "bool") == 0)
        return true;
    if (value->kind != VALUE_TENSOR)
        return wrong_type(m, type, value);
    const Type *actual = &value->as.tensor.inst->type;
    if (!element_fits(name, type, actual->dtype)) {
        if (!m->quiet) {
            wrong_type(m, type, value);
            if (name == TYPE_float && dtype_info[actual->dtype].kind != KIND_FLOAT)
                help(e->cx, "convert it with `float(...)`");
            else if (name == TYPE_element)
                help(e->cx, "convert it with `%s(...)`", type->as.type.name);
        }
        return false;
    }
    if (name == TYPE_class && !match_classes(m, type, value))
        return false;
    if (!type->as.type.has_dims) {
        if (actual->rank == 0 || name == TYPE_any || name == TYPE_tensor)
            return true;
        return wrong_type(m, type, value);
    }
    return match_dims(m, type, actual);
}

// ---- single values ------------------------------------------------------------------------------

static bool runtime_number(const Value *value)
{
    return value->kind == VALUE_OPTION || value->kind == VALUE_LATER || value->kind == VALUE_MEAN ||
           (value->kind == VALUE_TENSOR && value->as.tensor.inst->type.rank == 0);
}

static bool match_number(const Matching *m, Node *type, TypeName name, Value *value)
{
    if (value_is_number(*value)) {
        if (name == TYPE_number && value->kind == VALUE_INT)
            return true;
        *value = value_real(value_number(*value));
        return true;
    }
    if (value->kind == VALUE_DIM && value->as.dim->known) {
        *value = value_real((double)value->as.dim->value);
        return true;
    }
    if (value->kind == VALUE_QUANTITY && value->as.quantity.unit == AML_UNIT_FRACTION) {
        *value = (Value){.kind = VALUE_OPTION, .as.option = value->as.quantity.option};
        return true;
    }
    if (runtime_number(value))
        return value->kind != VALUE_TENSOR && value->kind != VALUE_MEAN
                   ? true
                   : match_tensor(m, type, TYPE_float, value);
    return wrong_type(m, type, value);
}

static bool match_int(const Matching *m, Node *type, Value *value)
{
    if (value->kind == VALUE_INT)
        return true;
    if (value->kind == VALUE_DIM || value->kind == VALUE_HOLE) {
        Dim *dim = value->kind == VALUE_DIM ? value->as.dim : NULL;
        if (dim && dim->known)
            *value = value_int(dim->value);
        return true;
    }
    if (value->kind == VALUE_REAL && value->as.real == floor(value->as.real) &&
        fabs(value->as.real) < 9e15) {
        *value = value_int((int64_t)value->as.real);
        return true;
    }
    if (value->kind == VALUE_TENSOR && value->as.tensor.inst->type.rank == 0 &&
        dtype_info[value->as.tensor.inst->type.dtype].kind == KIND_INT)
        return true;
    return wrong_type(m, type, value);
}

static bool match_unit(const Matching *m, Node *type, TypeName name, Value *value)
{
    Elab *e = m->e;
    if (value->kind == VALUE_QUANTITY) {
        aml_unit unit = value->as.quantity.unit;
        bool fits = name == TYPE_fraction   ? unit == AML_UNIT_FRACTION
                    : name == TYPE_duration ? unit == AML_UNIT_STEPS || unit == AML_UNIT_EPOCHS ||
                                                  unit == AML_UNIT_SECONDS
                                            : unit == AML_UNIT_BYTES;
        if (!fits) {
            if (!m->quiet)
                report(e->cx, m->span, unit_mismatch, subject_text(e, m->what),
                       type_name_what(name), value_what(e, *value));
            return false;
        }
        if (name == TYPE_fraction)
            return match_number(m, type, TYPE_float, value);
        return true;
    }
    if (name == TYPE_fraction) {
        if (value_is_number(*value) && value_number(*value) >= 0 && value_number(*value) <= 1) {
            *value = value_real(value_number(*value));
            return true;
        }
        if (runtime_number(value))
            return match_number(m, type, TYPE_float, value);
    }
    if (value->kind == VALUE_INT || value->kind == VALUE_REAL) {
        if (m->quiet)
            return false;
        const char *shown = value_show(e, *value);
        report(e->cx, m->span, missing_unit, subject_text(e, m->what), type_name_what(name), shown);
        if (name == TYPE_duration)
            help(e->cx, "write `%s epochs` or `%s steps`", shown, shown);
        else if (name == TYPE_fraction)
            help(e->cx, "write `%s%%`", shown);
        else
            help(e->cx, "write `%s KiB` or `%s MiB`", shown, shown);
        return false;
    }
    return wrong_type(m, type, value);
}

// fn(step) = value
static Value constant_function(Elab *e, Sym param, Value value)
{
    Node *name = node_new(e->cx, NODE_Name, (Span){0});
    name->as.name.name = sym_of(e->cx, "value");
    Node *parameter = node_new(e->cx, NODE_Param, (Span){0});
    parameter->as.param.name = param;
    Node *lambda = node_new(e->cx, NODE_Lambda, (Span){0});
    vec_push(e->cx->arena, &lambda->as.lambda.params, parameter);
    lambda->as.lambda.body = name;
    Env *env = env_new(e, NULL, 0);
    env_bind(e, env, name->as.name.name, value);
    return value_function(e, lambda, env);
}

static bool is_function(const Value *value)
{
    return value->kind == VALUE_FUNCTION ||
           (value->kind == VALUE_TYPE && value->as.type->castable) ||
           (value->kind == VALUE_INSTANCE && (!value->as.instance->declaration ||
                                              value->as.instance->declaration->kind == NODE_Model));
}

// A function that gives what is asked for, and was not called.
static bool makes(const Value *value, Sym type)
{
    const Node *node = value->kind == VALUE_FUNCTION ? value->as.function->node : NULL;
    const Node *result = node && node->kind == NODE_Fn ? node->as.fn.result : NULL;
    return result && result->kind == NODE_Type && result->as.type.name == type;
}

static bool is_instance(const Value *value, NodeKind kind)
{
    return value->kind == VALUE_INSTANCE &&
           (value->as.instance->declaration ? value->as.instance->declaration->kind : NODE_Model) ==
               kind;
}

// Of a list, a tuple or a range; only a range may be refused.
static bool items_of(const Matching *m, Value value, ValueList *out)
{
    const char *what = value.kind == VALUE_RANGE ? subject_text(m->e, m->what) : NULL;
    return elab_items(m->e, value, out, what, m->span);
}

static bool fits_or_reports(const Matching *m, Node *type, const Value *value, bool fits)
{
    return fits || wrong_type(m, type, value);
}

static bool match_named(const Matching *m, Node *type, TypeName name, Value *value)
{
    Elab *e = m->e;
    ValueList items;
    switch (name) {
    case TYPE_float:
    case TYPE_number:
        return match_number(m, type, name, value);
    case TYPE_int:
    case TYPE_axis:
        return match_int(m, type, value);
    case TYPE_string:
        if (value->kind == VALUE_SYMBOL)
            *value = value_text(e, value->as.symbol);
        return fits_or_reports(m, type, value, value->kind == VALUE_TEXT);
    case TYPE_duration:
    case TYPE_fraction:
    case TYPE_size:
    case TYPE_bytes:
        return match_unit(m, type, name, value);
    case TYPE_schedule:
    case TYPE_initializer:
        if (value_is_number(*value) || value->kind == VALUE_OPTION || value->kind == VALUE_LATER ||
            (value->kind == VALUE_QUANTITY && value->as.quantity.unit == AML_UNIT_FRACTION)) {
            match_number(m, type, TYPE_float, value);
            if (name == TYPE_schedule)
                *value = constant_function(e, e->names->step, *value);
            return true;
        }
        if (makes(value, type->as.type.name)) {
            wrong_type(m, type, value);
            if (!m->quiet)
                help(e->cx, "write `%s(...)`", value->as.function->node->as.fn.name);
            return false;
        }
        return fits_or_reports(m, type, value, is_function(value));
    case TYPE_function:
        return fits_or_reports(m, type, value, is_function(value));
    case TYPE_loss:
        return fits_or_reports(m, type, value, value->kind == VALUE_FUNCTION);
    case TYPE_model:
        return fits_or_reports(m, type, value, is_instance(value, NODE_Model));
    case TYPE_optimizer:
        return fits_or_reports(m, type, value, is_instance(value, NODE_Optimizer));
    case TYPE_metric:
        return fits_or_reports(m, type, value, is_instance(value, NODE_Metric));
    case TYPE_dataset:
    case TYPE_checkpoint:
        return fits_or_reports(m, type, value, value->kind == VALUE_JOB);
    case TYPE_tensor:
        return match_tensor(m, type, name, value);
    case TYPE_shape:
    case TYPE_axes:
        if (value->kind != VALUE_LIST && value->kind != VALUE_RANGE && value->kind != VALUE_TUPLE)
            return wrong_type(m, type, value);
        return items_of(m, *value, &items);
    case TYPE_list:
        return fits_or_reports(m, type, value,
                               value->kind == VALUE_LIST || value->kind == VALUE_RANGE ||
                                   value->kind == VALUE_TUPLE);
    case TYPE_tuple:
        return fits_or_reports(m, type, value, value->kind == VALUE_TUPLE);
    case TYPE_record:
        return fits_or_reports(m, type, value, value->kind == VALUE_RECORD);
    case TYPE_range:
        return fits_or_reports(m, type, value, value->kind == VALUE_RANGE);
    case TYPE_dtype:
        return fits_or_reports(m, type, value, value->kind == VALUE_TYPE);
    case TYPE_any:
        return true;
    case TYPE_word:
        if (value_plain_text(*value))
            *value = value_symbol(value_plain_text(*value));
        return fits_or_reports(m, type, value, value->kind == VALUE_SYMBOL);
    case TYPE_none:
        return fits_or_reports(m, type, value, value->kind == VALUE_NONE);
    case TYPE_class:
        return match_tensor(m, type, name, value);
    case TYPE_element:
        if (strcmp(type->as.type.name, "bool") == 0 && value_is_number(*value))
            return wrong_type(m, type, value);
        if (value->kind == VALUE_BOOL)
            return strcmp(type->as.type.name, "bool") == 0 || wrong_type(m, type, value);
        if (value->kind == VALUE_INT || (value_is_number(*value) && type->as.type.name[0] != 'i' &&
                                         type->as.type.name[0] != 'u'))
            return true;
        if (value->kind == VALUE_OPTION || value->kind == VALUE_LATER)
            return true;
        return match_tensor(m, type, name, value);
    case TYPE_declaration: {
        Node *declared = elab_lookup(e, type->span.file, type->as.type.name);
        return fits_or_reports(m, type, value,
                               value->kind == VALUE_INSTANCE &&
                                   value->as.instance->declaration == declared);
    }
    case TYPE_unknown:
        break;
    }
    return false;
}

// ---- compound types -----------------------------------------------------------------------------

static const char *choices_text(Elab *e, Node *type)
{
    Buffer out = {.arena = e->cx->arena};
    buffer_text(&out, "");
    for (int i = 0; i < type->as.oneof.choices.count; i++) {
        buffer_text(&out, i ? ", " : "");
        text_of_node(e, type->as.oneof.choices.at[i], &out);
    }
    return out.text;
}

static bool match_choice(const Matching *m, Node *type, Value *value)
{
    Elab *e = m->e;
    Matching quiet = *m;
    quiet.quiet = true;
    for (int i = 0; i < type->as.oneof.choices.count; i++)
        if (match(&quiet, type->as.oneof.choices.at[i], value))
            return true;
    if (m->quiet)
        return false;
    report(e->cx, m->span, not_a_choice, subject_text(e, m->what), choices_text(e, type),
           value_what(e, *value));
    const char *word = value->kind == VALUE_SYMBOL ? value->as.symbol : value_plain_text(*value);
    if (word) {
        Vec(const char *) names = {0};
        for (int i = 0; i < type->as.oneof.choices.count; i++)
            if (type->as.oneof.choices.at[i]->kind == NODE_Type)
                vec_push(e->cx->arena, &names, type->as.oneof.choices.at[i]->as.type.name);
        const char *near = closest_name(word, names.at, names.count);
        if (near)
            help(e->cx, "did you mean `%s`?", near);
    }
    return false;
}

static bool match_record(const Matching *m, Node *type, Value *value)
{
    Elab *e = m->e;
    if (value->kind != VALUE_RECORD)
        return wrong_type(m, type, value);
    const NodeList *params = &type->as.rectype.params;
    RecordValue *found = value->as.record;
    for (int i = 0; i < found->count; i++) {
        bool known = false;
        for (int j = 0; j < params->count; j++)
            known = known || params->at[j]->as.param.name == found->name[i];
        if (known)
            continue;
        if (!m->quiet) {
            report(e->cx, found->span ? found->span[i] : m->span, unknown_member,
                   subject_text(e, m->what), found->name[i]);
            Vec(const char *) names = {0};
            for (int j = 0; j < params->count; j++)
                vec_push(e->cx->arena, &names, params->at[j]->as.param.name);
            const char *near = closest_name(found->name[i], names.at, names.count);
            if (near)
                help(e->cx, "did you mean `%s`?", near);
        }
        return false;
    }
    Vec(Sym) name = {0};
    Vec(Value) item = {0};
    Vec(Span) span = {0};
    for (int i = 0; i < params->count; i++) {
        const AstParam *param = &params->at[i]->as.param;
        Value member = value_none();
        Span place = m->span;
        bool given = false;
        for (int j = 0; j < found->count; j++)
            if (found->name[j] == param->name) {
                member = found->at[j];
                place = found->span ? found->span[j] : place;
                given = true;
            }
        if (!given && !param->value) {
            if (!m->quiet)
                report(e->cx, m->span, missing_argument, subject_text(e, m->what), param->name);
            return false;
        }
        if (!given)
            member = elab_expect(e, m->env, param->value, param->type);
        bool left_out = !given && param->value->kind == NODE_None;
        Matching inner = *m;
        Subject what = {"'", param->name, "'", NULL};
        inner.span = place;
        inner.what = &what;
        if (param->type && !left_out && !match(&inner, param->type, &member))
            return false;
        vec_push(e->cx->arena, &name, param->name);
        vec_push(e->cx->arena, &item, member);
        vec_push(e->cx->arena, &span, place);
    }
    *value = value_record(e, name.count, name.at, item.at);
    value->as.record->span = span.at;
    return true;
}

static bool match_items(const Matching *m, Node *type, Value *value)
{
    Elab *e = m->e;
    if (type->kind == NODE_ListType) {
        ValueList items;
        if (value->kind != VALUE_LIST && value->kind != VALUE_RANGE && value->kind != VALUE_TUPLE)
            return wrong_type(m, type, value);
        if (!items_of(m, *value, &items))
            return false;
        Value copy = value_list(e, items.count, items.at);
        for (int i = 0; i < items.count; i++)
            if (!match(m, type->as.listtype.item, &copy.as.list.at[i]))
                return false;
        *value = copy;
        return true;
    }
    const NodeList *types = &type->as.tuptype.types;
    if (value->kind != VALUE_TUPLE || value->as.list.count != types->count)
        return wrong_type(m, type, value);
    Value copy = value_tuple(e, value->as.list.count, value->as.list.at);
    for (int i = 0; i < types->count; i++)
        if (!match(m, types->at[i], &copy.as.list.at[i]))
            return false;
    *value = copy;
    return true;
}

static bool match(const Matching *m, Node *type, Value *value)
{
    Elab *e = m->e;
    if (value->kind == VALUE_POISON || !elab_tick(e, m->span, 1))
        return true;
    if (value->kind == VALUE_LATER && e->trace) {
        *value = elab_read(e, *value, m->span);
        if (value->kind == VALUE_POISON)
            return true;
    }
    switch ((int)type->kind) {
    case NODE_Type: {
        TypeName name = type_name(e, type);
        if (name == TYPE_unknown) {
            Sym word = type->as.type.name;
            if (value->kind == VALUE_SYMBOL && value->as.symbol == word)
                return true;
            if (value->kind == VALUE_TEXT && value_plain_text(*value) == word) {
                *value = value_symbol(word);
                return true;
            }
            if (!m->quiet)
                unknown_type(e, type);
            return false;
        }
        if (type->as.type.has_dims)
            return match_tensor(m, type, name, value);
        return match_named(m, type, name, value);
    }
    case NODE_OneOf:
        return match_choice(m, type, value);
    case NODE_RecordType:
        return match_record(m, type, value);
    case NODE_ListType:
    case NODE_TupleType:
        return match_items(m, type, value);
    case NODE_Error:
    case NODE_Hole:
        return true;
    default:
        report(e->cx, type->span, bad_type, "this");
        return false;
    }
}

bool elab_match(Elab *e, Env *env, Node *type, Value *value, const Subject *what, Span span)
{
    Matching m = {e, env, what, span, false};
    return match(&m, type, value);
}
