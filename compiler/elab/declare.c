// declare.c: global declarations: constants, with what -D says, options, functions.
//
// A declaration is evaluated when it is first used, once. While that goes on it is `busy`: meeting
// it again means that it is defined by itself.

#include "elab/internal.h"
#include "sema/sema.h"

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
    names->dropout_active = sym_of(cx, "dropout_active");
    names->forward = sym_of(cx, "forward");
    for (int i = 0; i < OPER_COUNT; i++)
        names->quoted[i] = arena_printf(cx->arena, "'%s'", oper_text[i]);
    names->param = sym_of(cx, "param");
    names->path = sym_of(cx, "path");
    names->start = sym_of(cx, "start");
    names->stop = sym_of(cx, "stop");
    names->step = sym_of(cx, "step");
    e->names = names;
    return e;
}

// The value of `-D name=text`, parsed as an expression. NULL after a report.
static Node *parse_define(Elab *e, const Define *define)
{
    const char *head = arena_printf(e->cx->arena, "aml 1\nconst %s = ", define->name);
    const char *text = arena_printf(e->cx->arena, "%s%s\n", head, define->value);
    uint32_t file = source_add(e->cx, arena_printf(e->cx->arena, "-D %s", define->name), text,
                               strlen(text), false);
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
    bool same_unit = value.kind != VALUE_QUANTITY || written.kind != VALUE_QUANTITY ||
                     constant->type || value.as.quantity.unit == written.as.quantity.unit;
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
    return e->unit && declaration->span.file != 0 &&
           !source_file(e->cx, declaration->span.file)->is_std;
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
        return define_value(e, declaration, define,
                            elab_eval_as(e, env, constant->value, constant->type, constant->name));
    }
    return elab_eval_as(e, env, constant->value, constant->type,
                        arena_printf(e->cx->arena, "const '%s'", constant->name));
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
    case AML_OPTION_DURATION:
    case AML_OPTION_BYTES: {
        Value value = entry->value;
        value.as.quantity.option = index;
        return value;
    }
    case AML_OPTION_BOOL:
    case AML_OPTION_INT:
    case AML_OPTION_REAL:
    case AML_OPTION_FRACTION:
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
    bool choice = option->type && option->type->kind == NODE_OneOf;
    Value written = choice ? elab_eval_as(e, env, option->value, option->type, option->name)
                           : elab_eval(e, env, option->value);
    entry.value = written;
    Subject what = {"option '", option->name, "'", NULL};
    if (option->type && !choice &&
        !elab_match(e, env, option->type, &entry.value, &what, option->value->span))
        return -1;
    if (written.kind == VALUE_POISON || entry.value.kind == VALUE_POISON)
        return -1;
    if (written.kind == VALUE_QUANTITY && written.as.quantity.unit == AML_UNIT_FRACTION &&
        option->type && option->type->kind == NODE_Type &&
        strcmp(option->type->as.type.name, "fraction") == 0)
        entry.value = written;
    if (!classify_option(&entry)) {
        report(e->cx, option->value->span, type_mismatch,
               arena_printf(e->cx->arena, "option '%s'", option->name),
               "a number, a bool, a text, a duration, a fraction or a size",
               value_what(e, entry.value));
        if (entry.value.kind == VALUE_SYMBOL)
            help(e->cx, "a choice is made when the program is built: `const %s`, changed with -D",
                 option->name);
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
    case NODE_Fn:
    case NODE_Loss:
        return value_function(e, declaration, NULL);
    case NODE_Model:
    case NODE_Metric:
    case NODE_Optimizer:
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
                elab_lint_signature(e, &members->at[j]->as.fn.params, members->at[j]->as.fn.result,
                                    members->at[j]->as.fn.body);
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
        Node *declared = elab_lookup(e, e->unit->main->file, define->name);
        if (declared && declared->kind == NODE_Option) {
            help(e->cx, "'%s' is an option, given when the program runs: --%s %s", define->name,
                 define->name, define->value);
            continue;
        }
        const char *near = closest_name(define->name, names.at, names.count);
        if (near)
            help(e->cx, "did you mean `-D %s=%s`?", near, define->value);
    }
}
