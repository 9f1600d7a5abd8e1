// types.c: names of types, annotations as text, the type an annotation stands for.

#include "elab/match.h"

#include <inttypes.h>
#include <string.h>

static const char *const type_name_text[] = {
#define TYPE_NAME(name, what) #name,
#include "elab/types.def"
#undef TYPE_NAME
};
static const char *const whats[] = {
#define TYPE_NAME(name, what) what,
#include "elab/types.def"
#undef TYPE_NAME
};

const char *type_name_what(TypeName name)
{
    return whats[name];
}

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
    if (declared && (declared->kind == NODE_Model || declared->kind == NODE_Metric ||
                     declared->kind == NODE_Optimizer))
        return TYPE_declaration;
    return TYPE_unknown;
}

TypeName type_name(Elab *e, Node *type)
{
    void *known = pointer_map_get(&e->names->types, type);
    if (known)
        return (TypeName)((intptr_t)known - 1);
    TypeName found = find_type(e, type);
    pointer_map_put(e->cx->arena, &e->names->types, type, (void *)((intptr_t)found + 1));
    return found;
}

void unknown_type(Elab *e, Node *type)
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
    return choice->kind == NODE_Type && !choice->as.type.has_dims &&
           choice->as.type.args.count == 0 && choice->as.type.name == word &&
           type_name(e, choice) == TYPE_unknown;
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

// ---- annotations as text ------------------------------------------------------------------------

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
    if (found && found->kind == VALUE_DIM && found->as.dim->known) {
        *out = found->as.dim->value;
        return true;
    }
    return false;
}

void text_of_node(Elab *e, Node *node, Buffer *out)
{
    const SourceFile *file = source_file(e->cx, node->span.file);
    if (file && node->span.file && node->span.end <= file->length &&
        node->span.end > node->span.start)
        buffer_append(out, file->text + node->span.start, node->span.end - node->span.start);
    else
        buffer_text(out, "_");
}

const char *type_text_with(Elab *e, Env *env, Node *type, const Type *actual, bool names)
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
    bool after_rest = false;
    for (int i = 0; i < t->dims.count; i++) {
        Node *dim = t->dims.at[i];
        int64_t size;
        bool left_out = false;
        int place = !actual ? -1 : after_rest ? actual->rank - t->dims.count + i : i;
        if (actual && place >= actual->rank)
            place = -1;
        if (dim->kind == NODE_Rest) {
            int open = actual ? actual->rank - t->dims.count + 1 : 0;
            left_out = actual && open == 0;
            after_rest = true;
        }
        buffer_text(&out, i && !left_out ? ", " : "");
        if (dim->kind == NODE_Rest) {
            int open = actual ? actual->rank - t->dims.count + 1 : 0;
            for (int j = 0; j < open; j++)
                buffer_printf(&out, "%s%" PRId64, j ? ", " : "", actual->dim[i + j]);
            if (open < 0 || !actual)
                buffer_text(&out, "...");
        } else if (known_size(env, dim, &size)) {
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

// ---- annotations as types -----------------------------------------------------------------------

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
            report(e->cx, t->args.at[0]->span, bad_argument, "class",
                   arena_printf(e->cx->arena,
                                "expected a number of classes from 1 to %d, found %lld", INT32_MAX,
                                (long long)out->classes));
            return false;
        }
        out->dtype = DTYPE_I32;
    } else if (t->args.count > 0) {
        report(e->cx, type->span, bad_type,
               arena_printf(e->cx->arena, "'%s' with arguments", t->name));
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
            help(e->cx, "use the name in the signature of `forward`, or give it where the instance "
                        "is made");
            return false;
        }
        if (!elab_int(e, size, &out->dim[i], "a size", dim->span))
            return false;
    }
    return elab_possible(e, type_make(out->dtype, out->rank, out->dim), type->span);
}
