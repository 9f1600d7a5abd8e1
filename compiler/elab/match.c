// match.c: type annotations: dimension names, class(k), units, enumerations.
//
// A dimension name is bound at its first use in a call and compared afterwards. Every size remembers where it came from,
// so that a disagreement can show both places.

#include "elab/internal.h"
#include "sema/sema.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef enum TypeName {
#define TYPE_NAME(name, what) TYPE_##name,
#include "elab/types.def"
#undef TYPE_NAME
    TYPE_NAMES,
    TYPE_element = TYPE_NAMES,  // of dtypes.def
    TYPE_declaration,           // the name of a model, metric or optimizer
    TYPE_unknown
} TypeName;

static const char *const type_name_text[] = {
#define TYPE_NAME(name, what) #name,
#include "elab/types.def"
#undef TYPE_NAME
};
static const char *const type_name_what[] = {
#define TYPE_NAME(name, what) what,
#include "elab/types.def"
#undef TYPE_NAME
};

// One annotation against one value. `quiet`: only tries.
typedef struct Matching {
    Elab *e;
    Env *env;
    const char *what;
    Span span;
    bool quiet;
} Matching;

static bool match(const Matching *m, Node *type, Value *value);

// ---- sizes to be inferred -----------------------------------------------------------------------------------------

Dim *dim_root(Dim *dim)
{
    while (dim->same)
        dim = dim->same;
    return dim;
}

Dim *dim_new(Elab *e, Sym name, Span declared)
{
    Dim *dim = NEW(e->cx->arena, Dim);
    dim->name = name;
    dim->declared = declared;
    return dim;
}

bool dim_set(Elab *e, Dim *dim, int64_t value, Span bound, const char *from)
{
    dim = dim_root(dim);
    if (dim->known)
        return dim->value == value;
    dim->known = true;
    dim->value = value;
    dim->bound = bound;
    dim->from = from ? arena_text(e->cx->arena, from, strlen(from)) : NULL;
    return true;
}

// ---- names of types -----------------------------------------------------------------------------------------------

static TypeName find_type(Elab *e, Node *type)
{
    Sym name = type->as.type.name;
    for (int i = 0; i < TYPE_NAMES; i++)
        if (strcmp(type_name_text[i], name) == 0)
            return (TypeName)i;
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(dtype_info[i].name, name) == 0)
            return TYPE_element;
    Node *declared = elab_lookup(e, type->span.file, name);
    if (declared && (declared->kind == NODE_Model || declared->kind == NODE_Metric || declared->kind == NODE_Optimizer))
        return TYPE_declaration;
    return TYPE_unknown;
}

static TypeName type_name(Elab *e, Node *type)
{
    void *known = pointer_map_get(&e->names->types, type);
    if (known)
        return (TypeName)((intptr_t)known - 1);
    TypeName found = find_type(e, type);
    pointer_map_put(e->cx->arena, &e->names->types, type, (void *)((intptr_t)found + 1));
    return found;
}

static void unknown_type(Elab *e, Node *type)
{
    const char *names[TYPE_NAMES + DTYPE_COUNT];
    for (int i = 0; i < TYPE_NAMES; i++)
        names[i] = type_name_text[i];
    for (int i = 0; i < DTYPE_COUNT; i++)
        names[TYPE_NAMES + i] = dtype_info[i].name;
    report(e->cx, type->span, unknown_type, type->as.type.name);
    const char *near = closest_name(type->as.type.name, names, COUNT_OF(names));
    if (near)
        help(e->cx, "did you mean `%s`?", near);
}

bool elab_element_type(Elab *e, Sym name, TypeValue *out)
{
    *out = (TypeValue){.element = name};
    if (strcmp(name, "float") == 0) {
        out->dtype = e->real;
        return out->castable = true;
    }
    if (strcmp(name, "int") == 0) {
        out->dtype = DTYPE_I64;
        return out->castable = true;
    }
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(dtype_info[i].name, name) == 0) {
            out->dtype = (DType)i;
            return out->castable = true;
        }
    for (int i = 0; i < TYPE_NAMES; i++)
        if (strcmp(type_name_text[i], name) == 0)
            return true;
    return false;
}

Value elab_type_value(Elab *e, const TypeValue *type)
{
    TypeValue *copy = NEW(e->cx->arena, TypeValue);
    *copy = *type;
    return (Value){.kind = VALUE_TYPE, .as.type = copy};
}

static bool is_word(Elab *e, Node *choice, Sym word)
{
    if (choice->kind == NODE_Type && word && type_name(e, choice) == TYPE_word)
        return true;
    return choice->kind == NODE_Type && !choice->as.type.has_dims && choice->as.type.args.count == 0 &&
           choice->as.type.name == word && type_name(e, choice) == TYPE_unknown;
}

bool elab_is_symbol_of(Elab *e, Node *type, Sym word)
{
    if (!type)
        return false;
    if (type->kind == NODE_OneOf) {
        for (int i = 0; i < type->as.oneof.choices.count; i++)
            if (is_word(e, type->as.oneof.choices.at[i], word))
                return true;
        return false;
    }
    return is_word(e, type, word);
}

// ---- annotations as text ------------------------------------------------------------------------------------------

// The value of a name in an annotation if it is known by now.
static bool known_size(Env *env, Node *dim, int64_t *out)
{
    if (dim->kind == NODE_Integer) {
        *out = dim->as.integer.value;
        return true;
    }
    if (dim->kind != NODE_Name)
        return false;
    Value *found = env_find(env, dim->as.name.name);
    if (found && found->kind == VALUE_INT) {
        *out = found->as.whole;
        return true;
    }
    if (found && found->kind == VALUE_DIM && dim_root(found->as.dim)->known) {
        *out = dim_root(found->as.dim)->value;
        return true;
    }
    return false;
}

static void text_of_node(Elab *e, Node *node, Buffer *out)
{
    const SourceFile *file = source_file(e->cx, node->span.file);
    if (file && node->span.file && node->span.end <= file->length && node->span.end > node->span.start)
        buffer_append(out, file->text + node->span.start, node->span.end - node->span.start);
    else
        buffer_text(out, "_");
}

// `actual`: the sizes found, shown for names that are not known, so that only real differences are marked.
static const char *type_text_with(Elab *e, Env *env, Node *type, const Type *actual, bool names)
{
    Buffer out = {.arena = e->cx->arena};
    buffer_text(&out, "");
    if (type->kind != NODE_Type || !type->as.type.has_dims) {
        text_of_node(e, type, &out);
        return out.text;
    }
    const AstType *t = &type->as.type;
    buffer_text(&out, t->name);
    if (t->args.count > 0) {
        buffer_text(&out, "(");
        int64_t k;
        if (known_size(env, t->args.at[0], &k))
            buffer_printf(&out, "%" PRId64, k);
        else
            text_of_node(e, t->args.at[0], &out);
        buffer_text(&out, ")");
    }
    buffer_text(&out, "[");
    for (int i = 0; i < t->dims.count; i++) {
        Node *dim = t->dims.at[i];
        int64_t size;
        buffer_text(&out, i ? ", " : "");
        int place = actual ? actual->rank - t->dims.count + i : -1;
        if (dim->kind == NODE_Rest) {
            int leading = actual ? actual->rank - t->dims.count + 1 : 0;
            for (int j = 0; j < leading; j++)
                buffer_printf(&out, "%s%" PRId64, j ? ", " : "", actual->dim[j]);
            if (leading <= 0)
                buffer_text(&out, "...");
        }
        else if (known_size(env, dim, &size)) {
            if (names && dim->kind == NODE_Name)
                buffer_printf(&out, "%s = ", dim->as.name.name);
            buffer_printf(&out, "%" PRId64, size);
        } else if (actual && place >= 0 && (dim->kind == NODE_Name || dim->kind == NODE_Hole))
            buffer_printf(&out, "%" PRId64, actual->dim[place]);
        else
            text_of_node(e, dim, &out);
    }
    buffer_text(&out, "]");
    return out.text;
}

const char *elab_type_text(Elab *e, Env *env, Node *type)
{
    return type_text_with(e, env, type, NULL, true);
}

// ---- sizes --------------------------------------------------------------------------------------------------------

typedef enum { SIZE_KNOWN, SIZE_UNKNOWN, SIZE_BAD } SizeState;

// What a size expression is worth; *unknown gets a size to be inferred, *fresh a name that means nothing yet.
static SizeState size_value(Elab *e, Env *env, Node *node, int64_t *out, Dim **unknown, Node **fresh)
{
    switch ((int)node->kind) {
    case NODE_Integer:
        *out = node->as.integer.value;
        return SIZE_KNOWN;
    case NODE_Name: {
        Value *found = env_find(env, node->as.name.name);
        if (found && found->kind == VALUE_DIM) {
            Dim *dim = dim_root(found->as.dim);
            *out = dim->value;
            *unknown = dim->known ? *unknown : dim;
            return dim->known ? SIZE_KNOWN : SIZE_UNKNOWN;
        }
        if (found && found->kind == VALUE_INT) {
            *out = found->as.whole;
            return SIZE_KNOWN;
        }
        if (found && found->kind == VALUE_POISON)
            return SIZE_BAD;
        if (!found) {
            Node *declared = elab_lookup(e, env->file, node->as.name.name);
            if (declared && (declared->kind == NODE_Const || declared->kind == NODE_Option)) {
                Value value = elab_declaration(e, declared);
                return elab_int(e, value, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
            }
            *fresh = node;
            return SIZE_UNKNOWN;
        }
        return elab_int(e, *found, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    }
    case NODE_Binary: {
        int64_t left, right;
        SizeState a = size_value(e, env, node->as.binary.left, &left, unknown, fresh);
        SizeState b = size_value(e, env, node->as.binary.right, &right, unknown, fresh);
        if (a == SIZE_BAD || b == SIZE_BAD)
            return SIZE_BAD;
        if (a == SIZE_UNKNOWN || b == SIZE_UNKNOWN)
            return SIZE_UNKNOWN;
        Value value = elab_number_op(e, node->as.binary.op, value_int(left), value_int(right), node->span);
        return elab_int(e, value, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    }
    case NODE_Call:
        for (int i = 0; i < node->as.call.args.count; i++) {
            int64_t ignored;
            SizeState state = size_value(e, env, node->as.call.args.at[i]->as.arg.value, &ignored, unknown, fresh);
            if (state == SIZE_UNKNOWN)
                return state;
        }
        return elab_int(e, elab_eval(e, env, node), out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    default:
        return elab_int(e, elab_eval(e, env, node), out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    }
}

static bool has_unknown(Elab *e, Env *env, Node *node, bool *bad)
{
    int64_t ignored;
    Dim *unknown = NULL;
    Node *fresh = NULL;
    SizeState state = size_value(e, env, node, &ignored, &unknown, &fresh);
    *bad = *bad || state == SIZE_BAD;
    return state == SIZE_UNKNOWN;
}

static const char *from_text(const Matching *m, const Type *actual)
{
    return arena_printf(m->e->cx->arena, "%s is %s", m->what, type_text(m->e->cx->arena, *actual));
}

// Makes the expression worth `size` by giving its one unknown name a value. False: it cannot be; *bad: already reported.
static bool solve(const Matching *m, Node *node, int64_t size, const Type *actual, bool *bad)
{
    Elab *e = m->e;
    if (!elab_tick(e, node->span, 1)) {
        *bad = true;
        return false;
    }
    int64_t known;
    Dim *unknown = NULL;
    Node *fresh = NULL;
    SizeState state = size_value(e, m->env, node, &known, &unknown, &fresh);
    if (state == SIZE_BAD) {
        *bad = true;
        return false;
    }
    if (state == SIZE_KNOWN)
        return known == size;
    if (node->kind == NODE_Name) {
        Dim *dim = unknown ? unknown : dim_new(e, node->as.name.name, node->span);
        dim_set(e, dim, size, m->span, from_text(m, actual));
        if (!unknown)
            env_bind(e, m->env, node->as.name.name, (Value){.kind = VALUE_DIM, .as.dim = dim});
        return true;
    }
    if (node->kind == NODE_Binary) {
        Node *left = node->as.binary.left, *right = node->as.binary.right;
        bool left_unknown = has_unknown(e, m->env, left, bad), right_unknown = has_unknown(e, m->env, right, bad);
        int64_t other;
        Dim *u = NULL;
        Node *f = NULL;
        if (*bad)
            return false;
        if (left_unknown != right_unknown && size_value(e, m->env, left_unknown ? right : left, &other, &u, &f) == SIZE_KNOWN) {
            Node *open = left_unknown ? left : right;
            if (other > -((int64_t)1 << 40) && other < (int64_t)1 << 40) {
                if (node->as.binary.op == OPER_ADD)
                    return solve(m, open, size - other, actual, bad);
                if (node->as.binary.op == OPER_SUB)
                    return solve(m, open, left_unknown ? size + other : other - size, actual, bad);
                if (node->as.binary.op == OPER_MUL && other != 0)
                    return size % other == 0 && solve(m, open, size / other, actual, bad);
                if (node->as.binary.op == OPER_DIV && left_unknown && size < (int64_t)1 << 20 && other < (int64_t)1 << 20)
                    return solve(m, open, size * other, actual, bad);
            }
        }
    }
    if (!m->quiet) {
        report(e->cx, node->span, size_not_known, fresh ? fresh->as.name.name : unknown && unknown->name ? unknown->name : "_");
        help(e->cx, "use the name alone in an earlier place of the signature");
    }
    *bad = true;
    return false;
}

static void note_origins(const Matching *m, Node *node)
{
    if (node->kind == NODE_Binary) {
        note_origins(m, node->as.binary.left);
        note_origins(m, node->as.binary.right);
        return;
    }
    if (node->kind != NODE_Name)
        return;
    Value *found = env_find(m->env, node->as.name.name);
    if (found && found->kind == VALUE_DIM) {
        Dim *dim = dim_root(found->as.dim);
        if (dim->known && dim->from)
            note(m->e->cx, dim->bound, "%s = %" PRId64 ": %s", node->as.name.name, dim->value, dim->from);
    }
}

static void report_shape(const Matching *m, Node *type, const Type *actual, Node *wrong)
{
    Elab *e = m->e;
    const char *found = type_text(e->cx->arena, *actual);
    report(e->cx, m->span, shape_mismatch, m->what, elab_type_text(e, m->env, type), found);
    report_shapes(e->cx, "expected", type_text_with(e, m->env, type, actual, false), "found", found);
    if (wrong)
        note_origins(m, wrong);
    note(e->cx, type->span, "declared here");
}

static bool match_dims(const Matching *m, Node *type, const Type *actual)
{
    const NodeList *dims = &type->as.type.dims;
    int rest = -1;
    for (int i = 0; i < dims->count; i++)
        if (dims->at[i]->kind == NODE_Rest) {
            if (i > 0) {
                report(m->e->cx, dims->at[i]->span, bad_type, "`...` after another size");
                help(m->e->cx, "`...` stands for leading sizes: write it first");
                return false;
            }
            rest = i;
        }
    int stated = dims->count - (rest >= 0);
    if (rest >= 0 ? actual->rank < stated : actual->rank != stated) {
        if (!m->quiet)
            report_shape(m, type, actual, NULL);
        return false;
    }
    for (int i = 0; i < stated; i++) {
        Node *dim = dims->at[i + (rest >= 0)];
        bool bad = false;
        if (dim->kind == NODE_Hole || dim->kind == NODE_Error)
            continue;
        if (solve(m, dim, actual->dim[actual->rank - stated + i], actual, &bad))
            continue;
        if (!m->quiet && !bad)
            report_shape(m, type, actual, dim);
        return false;
    }
    return true;
}

// ---- elements -----------------------------------------------------------------------------------------------------

static bool wrong_type(const Matching *m, Node *type, const Value *value)
{
    if (!m->quiet) {
        const char *expected = elab_type_text(m->e, m->env, type);
        if (type->kind == NODE_Type && !type->as.type.has_dims && type_name(m->e, type) < TYPE_NAMES)
            expected = type_name_what[type_name(m->e, type)];
        if (value->kind == VALUE_OPTION || value->kind == VALUE_LATER || (value->kind == VALUE_QUANTITY && value->as.quantity.option >= 0)) {
            report(m->e->cx, m->span, option_as_static, m->what, value_what(m->e, *value));
            if (value->kind == VALUE_OPTION)
                note(m->e->cx, m->e->option.at[value->as.option].node->span, "declared here; a `const` is known when the program is compiled");
        } else
            report(m->e->cx, m->span, type_mismatch, m->what, expected, value_what(m->e, *value));
    }
    return false;
}

static bool element_fits(TypeName name, const Node *type, DType dtype)
{
    switch ((int)name) {
    case TYPE_float:
        return dtype_info[dtype].kind == KIND_FLOAT;
    case TYPE_int: case TYPE_class:
        return dtype_info[dtype].kind == KIND_INT;
    case TYPE_number:
        return dtype_info[dtype].kind != KIND_BOOL;
    case TYPE_any: case TYPE_tensor:
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
            report(e->cx, m->span, not_a_class, m->what, text.text, value_what(e, *value));
            help(e->cx, "declare the field as class(k)");
        }
        return false;
    }
    bool bad = false;
    Matching inner = *m;
    if (solve(&inner, count, classes, &value->as.tensor.inst->type, &bad))
        return true;
    if (!m->quiet && !bad) {
        int64_t expected = 0;
        Dim *unknown = NULL;
        Node *fresh = NULL;
        size_value(e, m->env, count, &expected, &unknown, &fresh);
        report(e->cx, m->span, class_mismatch, m->what, (long long)expected, (long long)classes);
        note_origins(m, count);
        note(e->cx, type->span, "declared here");
    }
    return false;
}

static bool match_tensor(const Matching *m, Node *type, TypeName name, Value *value)
{
    Elab *e = m->e;
    if (value->kind == VALUE_MEAN || ((value->kind == VALUE_OPTION || value->kind == VALUE_LATER) && e->trace)) {
        Inst *inst = elab_tensor(e, *value, e->real, m->span);
        if (!inst) {
            *value = value_poison();
            return true;
        }
        *value = value_tensor(inst);
    }
    const NodeList *dims = &type->as.type.dims;
    bool any_rank = type->as.type.has_dims && dims->count == 1 && dims->at[0]->kind == NODE_Rest;
    if (any_rank && (value_is_number(*value) || value->kind == VALUE_OPTION || value->kind == VALUE_LATER) && name != TYPE_class)
        return name != TYPE_int || value->kind == VALUE_INT || wrong_type(m, type, value);
    if (any_rank && value->kind == VALUE_BOOL && name == TYPE_element && strcmp(type->as.type.name, "bool") == 0)
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

// ---- single values ------------------------------------------------------------------------------------------------

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
    if (value->kind == VALUE_DIM && dim_root(value->as.dim)->known) {
        *value = value_real((double)dim_root(value->as.dim)->value);
        return true;
    }
    if (value->kind == VALUE_QUANTITY && value->as.quantity.unit == AML_UNIT_FRACTION) {
        *value = (Value){.kind = VALUE_OPTION, .as.option = value->as.quantity.option};
        return true;
    }
    if (runtime_number(value))
        return value->kind != VALUE_TENSOR && value->kind != VALUE_MEAN ? true : match_tensor(m, type, TYPE_float, value);
    return wrong_type(m, type, value);
}

static bool match_int(const Matching *m, Node *type, Value *value)
{
    if (value->kind == VALUE_INT)
        return true;
    if (value->kind == VALUE_DIM || value->kind == VALUE_HOLE) {
        Dim *dim = value->kind == VALUE_DIM ? dim_root(value->as.dim) : NULL;
        if (dim && dim->known)
            *value = value_int(dim->value);
        return true;
    }
    if (value->kind == VALUE_REAL && value->as.real == floor(value->as.real) && fabs(value->as.real) < 9e15) {
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
                    : name == TYPE_duration ? unit == AML_UNIT_STEPS || unit == AML_UNIT_EPOCHS || unit == AML_UNIT_SECONDS
                                            : unit == AML_UNIT_BYTES;
        if (!fits) {
            if (!m->quiet)
                report(e->cx, m->span, unit_mismatch, m->what, type_name_what[name], value_what(e, *value));
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
        report(e->cx, m->span, missing_unit, m->what, type_name_what[name], shown);
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
    return value->kind == VALUE_FUNCTION || (value->kind == VALUE_TYPE && value->as.type->castable) ||
           (value->kind == VALUE_INSTANCE && (!value->as.instance->declaration || value->as.instance->declaration->kind == NODE_Model));
}

static bool is_instance(const Value *value, NodeKind kind)
{
    return value->kind == VALUE_INSTANCE &&
           (value->as.instance->declaration ? value->as.instance->declaration->kind : NODE_Model) == kind;
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
    case TYPE_float: case TYPE_number:
        return match_number(m, type, name, value);
    case TYPE_int: case TYPE_axis:
        return match_int(m, type, value);
    case TYPE_string:
        if (value->kind == VALUE_SYMBOL)
            *value = value_text(e, value->as.symbol);
        return fits_or_reports(m, type, value, value->kind == VALUE_TEXT);
    case TYPE_duration: case TYPE_fraction: case TYPE_size: case TYPE_bytes:
        return match_unit(m, type, name, value);
    case TYPE_schedule: case TYPE_initializer:
        if (value_is_number(*value) || value->kind == VALUE_OPTION || value->kind == VALUE_LATER ||
            (value->kind == VALUE_QUANTITY && value->as.quantity.unit == AML_UNIT_FRACTION)) {
            match_number(m, type, TYPE_float, value);
            if (name == TYPE_schedule)
                *value = constant_function(e, e->names->step, *value);
            return true;
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
    case TYPE_dataset: case TYPE_checkpoint:
        return fits_or_reports(m, type, value, value->kind == VALUE_JOB);
    case TYPE_tensor:
        return match_tensor(m, type, name, value);
    case TYPE_shape: case TYPE_axes:
        if (value->kind != VALUE_LIST && value->kind != VALUE_RANGE && value->kind != VALUE_TUPLE)
            return wrong_type(m, type, value);
        return elab_items(e, *value, &items, m->what, m->span);
    case TYPE_list:
        return fits_or_reports(m, type, value, value->kind == VALUE_LIST || value->kind == VALUE_RANGE || value->kind == VALUE_TUPLE);
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
        if (strcmp(type->as.type.name, "bool") == 0 && value->kind == VALUE_BOOL)
            return true;
        if (value->kind == VALUE_INT || (value_is_number(*value) && type->as.type.name[0] != 'i' && type->as.type.name[0] != 'u' &&
                                         strcmp(type->as.type.name, "bool") != 0))
            return true;
        if (value->kind == VALUE_OPTION || value->kind == VALUE_LATER)
            return true;
        return match_tensor(m, type, name, value);
    case TYPE_declaration: {
        Node *declared = elab_lookup(e, type->span.file, type->as.type.name);
        return fits_or_reports(m, type, value, value->kind == VALUE_INSTANCE && value->as.instance->declaration == declared);
    }
    case TYPE_unknown:
        break;
    }
    return false;
}

// ---- compound types -----------------------------------------------------------------------------------------------

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
    report(e->cx, m->span, not_a_choice, m->what, choices_text(e, type), value_what(e, *value));
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
            report(e->cx, found->span ? found->span[i] : m->span, unknown_member, m->what, found->name[i]);
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
                report(e->cx, m->span, missing_argument, m->what, param->name);
            return false;
        }
        if (!given)
            member = elab_expect(e, m->env, param->value, param->type);
        bool left_out = !given && param->value->kind == NODE_None;
        Matching inner = *m;
        inner.span = place;
        inner.what = arena_printf(e->cx->arena, "'%s'", param->name);
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
        if (!elab_items(e, *value, &items, m->what, m->span))
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
    case NODE_ListType: case NODE_TupleType:
        return match_items(m, type, value);
    case NODE_Error: case NODE_Hole:
        return true;
    default:
        report(e->cx, type->span, bad_type, "this");
        return false;
    }
}

bool elab_match(Elab *e, Env *env, Node *type, Value *value, const char *what, Span span)
{
    Matching m = {e, env, what, span, false};
    return match(&m, type, value);
}

bool elab_type(Elab *e, Env *env, Node *type, TypeValue *out)
{
    if (type->kind != NODE_Type || !elab_element_type(e, type->as.type.name, out)) {
        if (type->kind == NODE_Type)
            unknown_type(e, type);
        else if (type->kind != NODE_Error)
            report(e->cx, type->span, bad_type, "this");
        return false;
    }
    const AstType *t = &type->as.type;
    TypeName name = type_name(e, type);
    if (name == TYPE_class) {
        if (t->args.count != 1) {
            report(e->cx, type->span, bad_type, "class without a count");
            return false;
        }
        Value count = elab_eval(e, env, t->args.at[0]);
        if (!elab_int(e, count, &out->classes, "the number of classes", t->args.at[0]->span))
            return false;
        if (out->classes < 1 || out->classes > INT32_MAX) {
            report(e->cx, t->args.at[0]->span, bad_argument, "class", "the number of classes is at least 1 and fits 32 bits");
            return false;
        }
        out->dtype = DTYPE_I32;
    } else if (t->args.count > 0) {
        report(e->cx, type->span, bad_type, arena_printf(e->cx->arena, "'%s' with arguments", t->name));
        return false;
    }
    out->has_dims = t->has_dims;
    if (!t->has_dims)
        return true;
    if (!out->castable && name != TYPE_class) {
        report(e->cx, type->span, bad_type, arena_printf(e->cx->arena, "'%s' with sizes", t->name));
        return false;
    }
    if (t->dims.count > IR_MAX_RANK) {
        report(e->cx, type->span, too_large, "the number of axes");
        return false;
    }
    out->rank = t->dims.count;
    for (int i = 0; i < t->dims.count; i++) {
        Node *dim = t->dims.at[i];
        if (dim->kind == NODE_Rest || dim->kind == NODE_Hole) {
            report(e->cx, dim->span, bad_type, "an unknown size");
            return false;
        }
        Value size = elab_eval(e, env, dim);
        if (size.kind == VALUE_DIM) {
            report(e->cx, dim->span, size_not_known, size.as.dim->name ? size.as.dim->name : "_");
            note(e->cx, size.as.dim->declared, "to be inferred, declared here");
            help(e->cx, "use the name in the signature of `forward`, or give it where the instance is made");
            return false;
        }
        if (!elab_int(e, size, &out->dim[i], "a size", dim->span))
            return false;
    }
    if (!type_valid(type_make(out->dtype, out->rank, out->dim))) {
        report(e->cx, type->span, impossible_operation, "this type", "sizes are at least 1 and the tensor has to be addressable");
        return false;
    }
    return true;
}
