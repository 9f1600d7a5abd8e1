// scope.c: declarations, and what a name means at top level.

#include "sema/sema.h"

#include <string.h>

UnitFile *unit_file(const Unit *unit, uint32_t file)
{
    return file < (uint32_t)unit->by_number.count ? unit->by_number.at[file] : NULL;
}

Node *file_lookup(const Unit *unit, UnitFile *file, Sym name)
{
    Node *node = map_get(unit_scope(unit, file), name);
    return library_read(unit, node ? node : map_get(&unit->prelude, name));
}

void unit_names(const Unit *unit, UnitFile *file, NameList *out)
{
    const Map *maps[] = {&unit->prelude, unit_scope(unit, file)};
    for (size_t m = 0; m < COUNT_OF(maps); m++)
        for (int i = 0; i < maps[m]->count; i++)
            vec_push(unit->cx->scratch, out, maps[m]->key[i]);
}

Node *unit_lookup(const Unit *unit, uint32_t file, Sym name)
{
    UnitFile *found = unit_file(unit, file);
    return found ? file_lookup(unit, found, name) : NULL;
}

Node *unit_std(const Unit *unit, const char *name)
{
    return library_read(unit, map_get(&unit->std, sym_of(unit->cx, name)));
}

Node *unit_grad(const Unit *unit, const Node *fn)
{
    UnitFile *found = unit_file(unit, fn->span.file);
    Node *grad = found && fn->kind == NODE_Fn ? map_get(&found->grad, fn->as.fn.name) : NULL;
    return library_read(unit, grad);
}

Node *unit_schema(const Unit *unit, Sym kind)
{
    return library_read(unit, map_get(&unit->schema, kind));
}

Node *schema_entry(const Node *schema, Sym name)
{
    for (int i = 0; i < schema->as.schema.settings.count; i++)
        if (schema->as.schema.settings.at[i]->as.entry.name == name)
            return schema->as.schema.settings.at[i];
    return NULL;
}

// The item of `kind` with that name in a Job.
static Node *job_item(const Node *job, NodeKind kind, Sym name)
{
    for (int i = 0; i < job->as.job.items.count; i++) {
        Node *item = job->as.job.items.at[i];
        if (item->kind == kind && declaration_name(item) == name)
            return item;
    }
    return NULL;
}

Node *job_setting(const Node *job, Sym name)
{
    return job_item(job, NODE_Setting, name);
}

Node *job_function(const Node *job, Sym name)
{
    return job_item(job, NODE_Fn, name);
}

Node *job_field(const Node *job, Sym name)
{
    return job_item(job, NODE_Field, name);
}

bool oneof_has(const Node *type, Sym word)
{
    if (!type)
        return false;
    if (type->kind == NODE_ListType)
        return oneof_has(type->as.listtype.item, word);
    if (type->kind == NODE_Type)
        return type->as.type.name == word && !type->as.type.has_dims &&
               type->as.type.args.count == 0;
    for (int i = 0; type->kind == NODE_OneOf && i < type->as.oneof.choices.count; i++)
        if (oneof_has(type->as.oneof.choices.at[i], word))
            return true;
    return false;
}

// ---- what a declaration says about itself. One table: name, doc, parameters, and what messages
// call it.

#define DECLARATIONS(ROW, WITH_PARAMS)                                                             \
    ROW(Const, constant, "a constant")                                                             \
    ROW(Option, option, "an option")                                                               \
    WITH_PARAMS(Fn, fn, "a function")                                                              \
    WITH_PARAMS(Model, model, "a model")                                                           \
    WITH_PARAMS(Loss, loss, "a loss")                                                              \
    WITH_PARAMS(Metric, metric, "a metric")                                                        \
    WITH_PARAMS(Optimizer, optimizer, "an optimizer")                                              \
    WITH_PARAMS(Grad, grad, "a gradient")                                                          \
    ROW(Schema, schema, "a schema")                                                                \
    ROW(Entry, entry, "a setting")                                                                 \
    ROW(Job, job, "a block")                                                                       \
    ROW(Setting, setting, "a setting")                                                             \
    ROW(Field, data, "a field")                                                                    \
    ROW(Weight, weight, "a weight")                                                                \
    ROW(State, state, "a state")                                                                   \
    ROW(Member, member, "a member")

typedef struct About {
    Sym name;
    Span span;
    const char *doc;
    const NodeList *params;
    const char *what;
} About;

static About about(const Node *node)
{
    switch ((int)node->kind) {
#define ROW(Kind, field, called)                                                                   \
    case NODE_##Kind:                                                                              \
        return (About){node->as.field.name, node->as.field.name_span, node->as.field.doc, NULL,    \
                       called};
#define WITH_PARAMS(Kind, field, called)                                                           \
    case NODE_##Kind:                                                                              \
        return (About){node->as.field.name, node->as.field.name_span, node->as.field.doc,          \
                       &node->as.field.params, called};
        DECLARATIONS(ROW, WITH_PARAMS)
    case NODE_Param:
        return (About){node->as.param.name, node->as.param.name_span, NULL, NULL, "a parameter"};
    default:
        return (About){NULL, node->span, NULL, NULL, "this"};
    }
}

Sym declaration_name(const Node *declaration)
{
    return about(declaration).name;
}

Span declaration_span(const Node *declaration)
{
    return about(declaration).span;
}

const char *declaration_doc(const Node *declaration)
{
    return about(declaration).doc;
}

const NodeList *declaration_params(const Node *declaration)
{
    return about(declaration).params;
}

const char *declaration_what(const Node *declaration)
{
    return about(declaration).what;
}
