// resolve.c: every name in every body has a declaration.
//
// The tree is walked once with a stack of local names. What is expected of a value (the type of a
// parameter or of a setting) is handed down, because it decides about bare words: `average: macro`
// is a choice of the parameter's enumeration, `on: accuracy` a name of the block. Whatever only
// evaluation can tell (members, argument names) is left to elaboration.

#include "sema/sema.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_SUGGESTIONS 100 // each compares a name with every name in scope

typedef struct Local {
    Sym name;
    Span span;
    bool used;
    bool is_let; // unused ones are worth a warning
} Local;

typedef struct Resolver {
    Unit *unit;
    UnitFile *file;
    Vec(Local) local; // innermost last
    const Node *job;  // whose settings' names are in scope; NULL outside
    int quiet;        // inside what is already known to be wrong
    bool bare_words;  // directly in a setting or field: names of the own block may stand
} Resolver;

static void resolve(Resolver *r, const Node *node, const Node *type);
static void resolve_body(Resolver *r, const Node *body);
static void resolve_child(Node *child, void *data);

static void bind(Resolver *r, Sym name, Span span, bool is_let)
{
    Local local = {name, span, false, is_let};
    vec_push(r->unit->cx->arena, &r->local, local);
}

static Local *find_local(Resolver *r, Sym name)
{
    for (int i = r->local.count - 1; i >= 0; i--)
        if (r->local.at[i].name == name)
            return &r->local.at[i];
    return NULL;
}

// Forgets the locals above `mark`; a `let` that nobody read is probably a slip.
static void leave(Resolver *r, int mark)
{
    for (int i = mark; i < r->local.count; i++) {
        const Local *local = &r->local.at[i];
        if (!local->is_let || local->used || r->file->is_std || local->name[0] == '_' ||
            map_get(&r->file->lost, local->name))
            continue;
        report(r->unit->cx, local->span, unused_name, local->name);
        help(r->unit->cx, "a name that begins with `_` may stay unused");
    }
    r->local.count = mark;
}

static bool is_library_word(Sym name)
{
    static const char *const words[] = {
        "training",
        "dropout_active",
        "self",
        "class",
#define BUILTIN(builtin, params, meaning) #builtin,
#include "elab/builtins.def"
#undef BUILTIN
#define TYPE_NAME(type, what) #type,
#include "elab/types.def"
#undef TYPE_NAME
#define DTYPE(NAME, type, c, bytes, kind, safetensors) #type,
#include "dtypes.def"
#undef DTYPE
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return false;
}

// ---- names of the own block

// Keys of the record-valued settings (`metrics: { accuracy: ... }`) and fields.
static bool names_in_job(const Node *job, Sym name)
{
    for (int i = 0; i < job->as.job.items.count; i++) {
        const Node *item = job->as.job.items.at[i];
        if (item->kind == NODE_Field && item->as.data.name == name)
            return true;
        if (item->kind != NODE_Setting || item->as.setting.value->kind != NODE_Record)
            continue;
        const NodeList *keys = &item->as.setting.value->as.record.items;
        for (int k = 0; k < keys->count; k++)
            if (keys->at[k]->as.setting.name == name)
                return true;
    }
    return false;
}

static void job_candidates(Resolver *r, NameList *out)
{
    for (int i = 0; i < r->job->as.job.items.count; i++) {
        const Node *item = r->job->as.job.items.at[i];
        if (item->kind == NODE_Field)
            vec_push(r->unit->cx->scratch, out, item->as.data.name);
        if (item->kind != NODE_Setting || item->as.setting.value->kind != NODE_Record)
            continue;
        const NodeList *keys = &item->as.setting.value->as.record.items;
        for (int k = 0; k < keys->count; k++)
            vec_push(r->unit->cx->scratch, out, keys->at[k]->as.setting.name);
    }
}

static void type_candidates(Resolver *r, const Node *type, NameList *out)
{
    if (type && type->kind == NODE_ListType)
        type_candidates(r, type->as.listtype.item, out);
    else if (type && type->kind == NODE_Type)
        vec_push(r->unit->cx->scratch, out, type->as.type.name);
    else if (type && type->kind == NODE_OneOf)
        for (int i = 0; i < type->as.oneof.choices.count; i++)
            type_candidates(r, type->as.oneof.choices.at[i], out);
}

// The module that declares `name`, for `use`; NULL if none does.
static Sym module_with(Resolver *r, Sym name)
{
    Node *node = map_get(&r->unit->std, name);
    UnitFile *file = node ? unit_file(r->unit, node->span.file) : NULL;
    return file ? file->module : NULL;
}

static const char *closest_in_scope(Resolver *r, Sym name, const Node *type)
{
    Cx *cx = r->unit->cx;
    NameList candidates = {0};
    if (type && type->kind != NODE_Type)
        type_candidates(r, type, &candidates);
    for (int i = r->local.count - 1; i >= 0; i--)
        vec_push(cx->scratch, &candidates, r->local.at[i].name);
    if (r->job && r->bare_words)
        job_candidates(r, &candidates);
    unit_names(r->unit, r->file, &candidates);
    // `True`, `None`: how other languages write them
    static const char *const values[] = {"true", "false", "none"};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        if (strcasecmp(values[i], name) == 0)
            return values[i];
    return closest_name(name, candidates.at, candidates.count);
}

// `average: macro | micro`: the words of an enumeration; none if the type takes anything else.
static NameList words_of(Resolver *r, const Node *type)
{
    NameList words = {0};
    while (type && type->kind == NODE_ListType)
        type = type->as.listtype.item;
    if (type && type->kind == NODE_OneOf)
        type_candidates(r, type, &words);
    for (int i = 0; i < words.count; i++)
        if (is_library_word(sym_of(r->unit->cx, words.at[i])))
            return (NameList){0};
    return words;
}

static void report_unknown(Resolver *r, Sym name, Span span, const Node *type)
{
    Cx *cx = r->unit->cx;
    report(cx, span, unresolved_name, name);
    NameList words = words_of(r, type);
    if (words.count > 0) {
        Buffer list = {.arena = cx->scratch};
        for (int i = 0; i < words.count; i++)
            buffer_printf(&list, "%s`%s`",
                          i == 0                 ? ""
                          : i + 1 == words.count ? " or "
                                                 : ", ",
                          words.at[i]);
        const char *closest = closest_name(name, words.at, words.count);
        if (closest)
            help(cx, "did you mean `%s`?", closest);
        else
            help(cx, "expected %s", list.text);
        return;
    }
    Sym module = module_with(r, name);
    if (module) {
        help(cx, "'%s' is in the standard library: add `use %s`", name, module);
        return;
    }
    if (diag_errors(cx) > MOST_SUGGESTIONS)
        return;
    const char *closest = closest_in_scope(r, name, type);
    if (!closest) {
        NameList library = {0};
        for (int i = 0; i < r->unit->std.count; i++)
            vec_push(cx->scratch, &library, r->unit->std.key[i]);
        closest = closest_name(name, library.at, library.count);
    }
    if (!closest)
        return;
    module =
        find_local(r, sym_of(cx, closest)) || file_lookup(r->unit, r->file, sym_of(cx, closest))
            ? NULL
            : module_with(r, sym_of(cx, closest));
    if (module)
        help(cx, "did you mean '%s' of %s? add `use %s`", closest, module, module);
    else
        help(cx, "did you mean '%s'?", closest);
    Local *local = find_local(r, sym_of(cx, closest));
    if (local)
        note(cx, local->span, "'%s' is declared here", closest);
}

static bool is_name_of_block(Resolver *r, Sym name)
{
    if (!r->job)
        return false;
    return names_in_job(r->job, name) || (!r->bare_words && job_setting(r->job, name));
}

static bool is_known(Resolver *r, Sym name)
{
    return find_local(r, name) || file_lookup(r->unit, r->file, name) || is_library_word(name) ||
           is_name_of_block(r, name);
}

static void resolve_name(Resolver *r, Sym name, Span span, const Node *type)
{
    Local *local = find_local(r, name);
    if (local) {
        local->used = true;
        return;
    }
    // a `word` names something of the block, which elaboration knows
    if (oneof_has(type, name) ||
        (type && type->kind == NODE_Type && strcmp(type->as.type.name, "word") == 0))
        return;
    if (is_known(r, name))
        return;
    if (map_get(&r->file->lost, name) || r->quiet > 0 ||
        (r->file->incomplete && !closest_in_scope(r, name, type))) {
        diag_silence(r->unit->cx, DIAG_unresolved_name, span);
        return;
    }
    report_unknown(r, name, span, type);
}

// ---- types

// A dimension name means the value around it (a parameter, a constant) or, at its first use,
// itself.
static void bind_dimensions(Resolver *r, const NodeList *list)
{
    for (int i = 0; i < list->count; i++) {
        const Node *dim = list->at[i];
        if (dim->kind != NODE_Name || find_local(r, dim->as.name.name))
            continue;
        const Node *global = file_lookup(r->unit, r->file, dim->as.name.name);
        if (!global || (global->kind != NODE_Const && global->kind != NODE_Option))
            bind(r, dim->as.name.name, dim->span, false);
    }
}

static void bind_type_dimensions(Resolver *r, const Node *type)
{
    if (!type)
        return;
    if (type->kind == NODE_Type) {
        bind_dimensions(r, &type->as.type.args);
        bind_dimensions(r, &type->as.type.dims);
    } else if (type->kind == NODE_TupleType) {
        for (int i = 0; i < type->as.tuptype.types.count; i++)
            bind_type_dimensions(r, type->as.tuptype.types.at[i]);
    } else if (type->kind == NODE_RecordType) {
        for (int i = 0; i < type->as.rectype.params.count; i++)
            bind_type_dimensions(r, type->as.rectype.params.at[i]->as.param.type);
    } else if (type->kind == NODE_ListType) {
        bind_type_dimensions(r, type->as.listtype.item);
    }
}

static void resolve_type(Resolver *r, const Node *type)
{
    if (!type)
        return;
    switch ((int)type->kind) {
    case NODE_Type:
        for (int i = 0; i < type->as.type.args.count; i++)
            resolve(r, type->as.type.args.at[i], NULL);
        for (int i = 0; i < type->as.type.dims.count; i++)
            resolve(r, type->as.type.dims.at[i], NULL);
        break;
    case NODE_TupleType:
        for (int i = 0; i < type->as.tuptype.types.count; i++)
            resolve_type(r, type->as.tuptype.types.at[i]);
        break;
    case NODE_RecordType:
        for (int i = 0; i < type->as.rectype.params.count; i++) {
            resolve_type(r, type->as.rectype.params.at[i]->as.param.type);
            if (type->as.rectype.params.at[i]->as.param.value)
                resolve(r, type->as.rectype.params.at[i]->as.param.value,
                        type->as.rectype.params.at[i]->as.param.type);
        }
        break;
    case NODE_ListType:
        resolve_type(r, type->as.listtype.item);
        break;
    default:
        break;
    }
}

// ---- functions

static void check_parameters(Resolver *r, const NodeList *params)
{
    for (int i = 0; i < params->count; i++)
        for (int k = 0; k < i; k++)
            if (params->at[i]->as.param.name == params->at[k]->as.param.name) {
                report(r->unit->cx, params->at[i]->as.param.name_span, duplicate_parameter,
                       params->at[i]->as.param.name);
                note(r->unit->cx, params->at[k]->as.param.name_span, "it stands here first");
            }
}

// Binds parameters and the dimensions of the signature. A default may use the parameters before it.
static void enter_signature(Resolver *r, const NodeList *params, const Node *result)
{
    check_parameters(r, params);
    for (int i = 0; i < params->count; i++) {
        const Node *param = params->at[i];
        if (param->as.param.value)
            resolve(r, param->as.param.value, param->as.param.type);
        bind(r, param->as.param.name, param->as.param.name_span, false);
    }
    for (int i = 0; i < params->count; i++)
        bind_type_dimensions(r, params->at[i]->as.param.type);
    bind_type_dimensions(r, result);
    for (int i = 0; i < params->count; i++)
        resolve_type(r, params->at[i]->as.param.type);
    resolve_type(r, result);
}

static void resolve_function(Resolver *r, const NodeList *params, const Node *result,
                             const Node *body)
{
    int mark = r->local.count;
    bool bare_words = r->bare_words;
    r->bare_words = false;
    enter_signature(r, params, result);
    if (body)
        resolve_body(r, body);
    leave(r, mark);
    r->bare_words = bare_words;
}

// ---- statements

static void resolve_block(Resolver *r, const Node *block)
{
    int mark = r->local.count;
    bool returned = false;
    for (int i = 0; i < block->as.block.body.count; i++) {
        const Node *statement = block->as.block.body.at[i];
        if (returned) {
            report(r->unit->cx, statement->span, unreachable_statement);
            returned = false;
        }
        resolve(r, statement, NULL);
        returned = statement->kind == NODE_Return;
    }
    leave(r, mark);
}

static void resolve_body(Resolver *r, const Node *body)
{
    if (body->kind == NODE_Block)
        resolve_block(r, body);
    else
        resolve(r, body, NULL);
}

// What `name = ...` around a comprehension or loop binds.
static void bind_name(Resolver *r, const Node *name, bool is_let)
{
    if (name->kind == NODE_Name && strcmp(name->as.name.name, "_") != 0)
        bind(r, name->as.name.name, name->span, is_let);
}

// ---- expressions

// Type of the argument: by name, or by position.
static const Node *argument_type(const NodeList *params, const Node *arg, int position)
{
    for (int i = 0; params && i < params->count; i++)
        if (arg->as.arg.name ? params->at[i]->as.param.name == arg->as.arg.name : i == position)
            return params->at[i]->as.param.type;
    return NULL;
}

static void resolve_call(Resolver *r, const Node *call)
{
    const Node *callee = call->as.call.callee;
    resolve(r, callee, NULL);
    const NodeList *params = NULL;
    // what an unknown function expects is unknown as well: its arguments may be words of an
    // enumeration
    bool unknown = callee->kind == NODE_Name && !is_known(r, callee->as.name.name);
    r->quiet += unknown;
    if (callee->kind == NODE_Name && !find_local(r, callee->as.name.name)) {
        const Node *declared = file_lookup(r->unit, r->file, callee->as.name.name);
        params = declared ? declaration_params(declared) : NULL;
    }
    for (int i = 0; i < call->as.call.args.count; i++) {
        const Node *arg = call->as.call.args.at[i];
        resolve(r, arg->as.arg.value, argument_type(params, arg, i));
    }
    r->quiet -= unknown;
}

static const Node *type_of_key(const Node *type, Sym key)
{
    for (int i = 0; type && type->kind == NODE_RecordType && i < type->as.rectype.params.count; i++)
        if (type->as.rectype.params.at[i]->as.param.name == key)
            return type->as.rectype.params.at[i]->as.param.type;
    return NULL;
}

static void resolve_record(Resolver *r, const Node *record, const Node *type)
{
    const NodeList *items = &record->as.record.items;
    for (int i = 0; i < items->count; i++) {
        Sym name = items->at[i]->as.setting.name;
        for (int k = 0; k < i; k++)
            if (items->at[k]->as.setting.name == name) {
                report(r->unit->cx, items->at[i]->as.setting.name_span, duplicate_key, name);
                note(r->unit->cx, items->at[k]->as.setting.name_span, "it stands here first");
                break;
            }
        resolve(r, items->at[i]->as.setting.value, type_of_key(type, name));
    }
}

// `average == macro`: the other side's enumeration decides about a bare word.
static const Node *compared_type(Resolver *r, const Node *other)
{
    if (other->kind != NODE_Name)
        return NULL;
    const Node *declared = file_lookup(r->unit, r->file, other->as.name.name);
    if (declared && declared->kind == NODE_Const)
        return declared->as.constant.type;
    return declared && declared->kind == NODE_Option ? declared->as.option.type : NULL;
}

static void resolve(Resolver *r, const Node *node, const Node *type)
{
    int mark = r->local.count;
    switch ((int)node->kind) {
    case NODE_Name:
        resolve_name(r, node->as.name.name, node->span, type);
        break;
    case NODE_Call:
        resolve_call(r, node);
        break;
    case NODE_Access:
        resolve(r, node->as.access.object, NULL);
        break;
    case NODE_Record:
        resolve_record(r, node, type);
        break;
    case NODE_List:
        for (int i = 0; i < node->as.list.items.count; i++)
            resolve(r, node->as.list.items.at[i],
                    type && type->kind == NODE_ListType ? type->as.listtype.item : type);
        break;
    case NODE_If:
        resolve(r, node->as.choose.condition, NULL);
        resolve(r, node->as.choose.then, type);
        resolve(r, node->as.choose.otherwise, type);
        break;
    case NODE_Binary:
        resolve(r, node->as.binary.left, compared_type(r, node->as.binary.right));
        resolve(r, node->as.binary.right, compared_type(r, node->as.binary.left));
        break;
    case NODE_Lambda:
        resolve_function(r, &node->as.lambda.params, NULL, node->as.lambda.body);
        break;
    case NODE_Comprehension:
        resolve(r, node->as.comprehension.items, NULL);
        bind_name(r, node->as.comprehension.name, false);
        resolve(r, node->as.comprehension.value,
                type && type->kind == NODE_ListType ? type->as.listtype.item : NULL);
        if (node->as.comprehension.condition)
            resolve(r, node->as.comprehension.condition, NULL);
        leave(r, mark);
        break;
    case NODE_Let:
        resolve(r, node->as.let.value, NULL);
        for (int i = 0; i < node->as.let.names.count; i++)
            bind_name(r, node->as.let.names.at[i], true);
        break;
    case NODE_For:
        resolve(r, node->as.loop.items, NULL);
        bind_name(r, node->as.loop.name, false);
        resolve_body(r, node->as.loop.body);
        leave(r, mark);
        break;
    case NODE_Block:
        resolve_block(r, node);
        break;
    default: // the parts mean the same wherever they stand
        node_each_child((Node *)node, resolve_child, r);
        break;
    }
}

static void resolve_child(Node *child, void *data)
{
    resolve(data, child, NULL);
}

// ---- declarations

static void resolve_members(Resolver *r, const Node *owner, const NodeList *params,
                            const NodeList *members)
{
    Cx *cx = r->unit->cx;
    int mark = r->local.count;
    if (owner->kind == NODE_Optimizer) // made anew for each weight, which it may ask for
        bind(r, sym_of(cx, "path"), owner->span, false);
    enter_signature(r, params, NULL);
    for (int i = 0; i < members->count; i++) {
        const Node *member = members->at[i];
        for (int k = 0; k < i; k++)
            if (declaration_name(members->at[k]) == declaration_name(member)) {
                report(cx, declaration_span(member), duplicate_member, declaration_name(member));
                note(cx, declaration_span(members->at[k]), "it stands here first");
                break;
            }
        if (member->kind == NODE_Weight && owner->kind != NODE_Model) {
            report(cx, member->as.weight.name_span, wrong_member, declaration_what(owner),
                   "weights");
            help(cx, "what changes with every call is a `state`");
        }
        bind(r, declaration_name(member), declaration_span(member), false);
    }
    for (int i = 0; i < members->count; i++) {
        const Node *member = members->at[i];
        int inner = r->local.count;
        switch ((int)member->kind) {
        case NODE_Weight:
            resolve_type(r, member->as.weight.type);
            resolve(r, member->as.weight.value, NULL);
            break;
        case NODE_State:
            if (owner->kind ==
                NODE_Optimizer) // made anew for each weight, which the value may speak of
                bind(r, sym_of(cx, "param"), member->span, false);
            resolve_type(r, member->as.state.type);
            if (member->as.state.value)
                resolve(r, member->as.state.value, member->as.state.type);
            break;
        case NODE_Member:
            resolve(r, member->as.member.value, NULL);
            break;
        case NODE_Fn:
            resolve_function(r, &member->as.fn.params, member->as.fn.result, member->as.fn.body);
            break;
        default:
            break;
        }
        leave(r, inner);
    }
    leave(r, mark);
}

static bool has_function(const NodeList *members, const char *name)
{
    for (int i = 0; i < members->count; i++)
        if (members->at[i]->kind == NODE_Fn && strcmp(members->at[i]->as.fn.name, name) == 0)
            return true;
    return false;
}

static void need_function(Resolver *r, const Node *owner, const NodeList *members, const char *name)
{
    if (has_function(members, name) || map_get(&r->file->lost, sym_of(r->unit->cx, name)))
        return;
    report(r->unit->cx, declaration_span(owner), missing_function, declaration_what(owner),
           declaration_name(owner), name);
}

static void resolve_job(Resolver *r, const Node *job)
{
    const Node *schema = unit_schema(r->unit, job->as.job.kind);
    r->job = job;
    for (int i = 0; i < job->as.job.items.count; i++) {
        const Node *item = job->as.job.items.at[i];
        if (item->kind == NODE_Setting) {
            const Node *entry = schema ? schema_entry(schema, item->as.setting.name) : NULL;
            r->bare_words = true;
            r->quiet += !entry;
            resolve(r, item->as.setting.value, entry ? entry->as.entry.type : NULL);
            r->quiet -= !entry;
        } else if (item->kind == NODE_Field) {
            r->bare_words = true;
            int mark = r->local.count;
            bind_type_dimensions(r, item->as.data.type);
            resolve_type(r, item->as.data.type);
            // a bare word names a part of the source, which only the source knows
            if (item->as.data.value && item->as.data.value->kind != NODE_Name)
                resolve(r, item->as.data.value, NULL);
            leave(r, mark);
        } else if (item->kind == NODE_Fn) {
            r->bare_words = false;
            resolve_function(r, &item->as.fn.params, item->as.fn.result, item->as.fn.body);
        }
    }
    r->bare_words = false;
    r->job = NULL;
}

static void resolve_declaration(Resolver *r, const Node *node)
{
    switch ((int)node->kind) {
    case NODE_Const:
        resolve_type(r, node->as.constant.type);
        resolve(r, node->as.constant.value, node->as.constant.type);
        break;
    case NODE_Option:
        resolve_type(r, node->as.option.type);
        resolve(r, node->as.option.value, node->as.option.type);
        break;
    case NODE_Fn:
        resolve_function(r, &node->as.fn.params, node->as.fn.result, node->as.fn.body);
        break;
    case NODE_Loss:
        resolve_function(r, &node->as.loss.params, node->as.loss.result, node->as.loss.body);
        break;
    case NODE_Grad:
        resolve_function(r, &node->as.grad.params, NULL, node->as.grad.body);
        break;
    case NODE_Model:
        resolve_members(r, node, &node->as.model.params, &node->as.model.members);
        need_function(r, node, &node->as.model.members, "forward");
        break;
    case NODE_Metric:
        resolve_members(r, node, &node->as.metric.params, &node->as.metric.members);
        break;
    case NODE_Optimizer:
        resolve_members(r, node, &node->as.optimizer.params, &node->as.optimizer.members);
        need_function(r, node, &node->as.optimizer.members, "update");
        break;
    case NODE_Schema:
        for (int i = 0; i < node->as.schema.settings.count; i++) {
            const Node *entry = node->as.schema.settings.at[i];
            resolve_type(r, entry->as.entry.type);
            if (entry->as.entry.value)
                resolve(r, entry->as.entry.value, entry->as.entry.type);
        }
        break;
    case NODE_Job:
        resolve_job(r, node);
        break;
    default:
        break;
    }
}

static void resolve_files(Unit *unit, bool library)
{
    for (int i = 0; i < unit->file.count; i++) {
        UnitFile *file = unit->file.at[i];
        Resolver resolver = {.unit = unit, .file = file};
        for (int k = 0; file->is_std == library && k < file->ast->as.file.decls.count; k++)
            resolve_declaration(&resolver, file->ast->as.file.decls.at[k]);
    }
}

void unit_resolve(Unit *unit)
{
    resolve_files(unit, false);
}

void unit_resolve_library(Unit *unit)
{
    unit_read_library(unit);
    resolve_files(unit, true);
}
