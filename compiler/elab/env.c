// env.c: names.
//
// A name is looked for in the frames of the function, in the instance it belongs to, then among the
// declarations of its file (and of what the file uses), and last among the words that the language
// itself knows.

#include "elab/builtin.h"
#include "sema/sema.h"

#include <string.h>

// ---- pointer maps -------------------------------------------------------------------------------

static int pointer_slot(const PointerMap *map, const void *key)
{
    uint64_t hash = ((uint64_t)(uintptr_t)key >> 4) * 0x9e3779b97f4a7c15u >> 20;
    int at = (int)(hash & (uint64_t)(map->slots - 1));
    while (map->key[at] && map->key[at] != key)
        at = (at + 1) & (map->slots - 1);
    return at;
}

void *pointer_map_get(const PointerMap *map, const void *key)
{
    return map->slots ? map->value[pointer_slot(map, key)] : NULL;
}

void pointer_map_put(Arena *arena, PointerMap *map, const void *key, void *value)
{
    if (map->count * 2 >= map->slots) {
        PointerMap old = *map;
        map->slots = old.slots ? old.slots * 2 : 64;
        map->key = NEW_ARRAY(arena, const void *, map->slots);
        map->value = NEW_ARRAY(arena, void *, map->slots);
        for (int i = 0; i < old.slots; i++)
            if (old.key[i]) {
                int at = pointer_slot(map, old.key[i]);
                map->key[at] = old.key[i];
                map->value[at] = old.value[i];
            }
    }
    int at = pointer_slot(map, key);
    if (!map->key[at]) {
        map->key[at] = key;
        map->count++;
    }
    map->value[at] = value;
}

// ---- frames -------------------------------------------------------------------------------------

Env *env_new(Elab *e, Env *parent, uint32_t file)
{
    Env *env = env_shared(e, parent, NULL);
    env->file = file ? file : env->file;
    return env;
}

Env *env_shared(Elab *e, Env *parent, Frame *frame)
{
    Env *env = NEW(e->cx->arena, Env);
    env->parent = parent;
    env->file = parent ? parent->file : 0;
    env->frame = frame;
    return env;
}

Env *env_self(Elab *e, Env *parent, Instance *self)
{
    Env *env = env_shared(e, parent, NULL);
    env->self = self;
    return env;
}

void env_reserve(Elab *e, Env *env, int names)
{
    if (env->frame && env->frame->capacity > 0)
        return;
    if (!env->frame)
        env->frame = NEW(e->cx->arena, Frame);
    env->frame->name = NEW_ARRAY(e->cx->arena, Sym, names);
    env->frame->value = NEW_ARRAY(e->cx->arena, Value, names);
    env->frame->capacity = names;
}

void env_bind(Elab *e, Env *env, Sym name, Value value)
{
    if (!env->frame)
        env->frame = NEW(e->cx->arena, Frame);
    Frame *frame = env->frame;
    for (int i = 0; i < frame->count; i++)
        if (frame->name[i] == name) {
            frame->value[i] = value;
            return;
        }
    if (frame->count == frame->capacity) {
        int capacity = frame->capacity;
        frame->name =
            vec_grow(e->cx->arena, frame->name, &capacity, frame->count, sizeof *frame->name);
        frame->value = vec_grow(e->cx->arena, frame->value, &frame->capacity, frame->count,
                                sizeof *frame->value);
    }
    frame->name[frame->count] = name;
    frame->value[frame->count++] = value;
}

Value *env_find(Env *env, Sym name)
{
    for (; env; env = env->parent)
        if (env->frame)
            for (int i = 0; i < env->frame->count; i++)
                if (env->frame->name[i] == name)
                    return &env->frame->value[i];
    return NULL;
}

// ---- declarations -------------------------------------------------------------------------------

Node *elab_lookup(Elab *e, uint32_t file, Sym name)
{
    Node *found = e->unit ? unit_lookup(e->unit, file, name) : NULL;
    return found ? found : elab_builtin_node(e, name);
}

Node *elab_std_function(Elab *e, const char *name)
{
    Node *found = e->unit ? unit_std(e->unit, name) : NULL;
    return found ? found : elab_builtin_node(e, sym_of(e->cx, name));
}

Node *elab_grad_rule(Elab *e, Sym name)
{
    if (!e->unit)
        return NULL;
    Node *fn = unit_lookup(e->unit, e->unit->main->file, name);
    Node *grad = fn && fn->kind == NODE_Fn ? unit_grad(e->unit, fn) : NULL;
    if (grad)
        return grad;
    fn = unit_std(e->unit, name);
    return fn && fn->kind == NODE_Fn ? unit_grad(e->unit, fn) : NULL;
}

// ---- builtins -----------------------------------------------------------------------------------

const Builtin builtins[] = {
#define BUILTIN(name, params, meaning) {#name, params, builtin_##name, meaning},
#include "elab/builtins.def"
#undef BUILTIN
};
const int builtin_count = COUNT_OF(builtins);

static const Builtin *builtin_named(const char *name)
{
    for (int i = 0; i < builtin_count; i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

// The next word of `text`, its length in *length; NULL at the end.
static const char *next_word(const char *text, size_t *length)
{
    text += strspn(text, " ");
    *length = strcspn(text, " ");
    return *length ? text : NULL;
}

Node *elab_builtin_node(Elab *e, Sym name)
{
    Node *known = map_get(&e->names->builtin_node, name);
    if (known)
        return known->kind == NODE_Fn ? known : NULL;
    const Builtin *builtin = builtin_named(name);
    Node *fn = node_new(e->cx, builtin ? NODE_Fn : NODE_None, (Span){0});
    map_put(e->cx->arena, &e->names->builtin_node, name, fn);
    if (!builtin)
        return NULL;
    fn->as.fn.name = name;
    size_t length;
    for (const char *word = next_word(builtin->params, &length); word;
         word = next_word(word + length, &length)) {
        Node *param = node_new(e->cx, NODE_Param, (Span){0});
        bool optional = word[length - 1] == '?';
        param->as.param.name = sym_intern(e->cx, word, length - optional);
        if (optional)
            param->as.param.value = node_new(e->cx, NODE_None, (Span){0});
        vec_push(e->cx->arena, &fn->as.fn.params, param);
    }
    return fn;
}

// The declaration in the library and the row of the table must say the same.
static bool params_agree(const Builtin *builtin, const NodeList *params)
{
    size_t length;
    int count = 0;
    for (const char *word = next_word(builtin->params, &length); word;
         word = next_word(word + length, &length)) {
        size_t plain = length - (word[length - 1] == '?');
        if (count >= params->count || strlen(params->at[count]->as.param.name) != plain ||
            strncmp(params->at[count]->as.param.name, word, plain) != 0)
            return false;
        count++;
    }
    return count == params->count;
}

const Builtin *elab_builtin(Elab *e, Node *fn)
{
    const Builtin *known = pointer_map_get(&e->names->builtin, fn);
    if (known)
        return known;
    const Builtin *builtin = builtin_named(fn->as.fn.name);
    if (!builtin || !params_agree(builtin, &fn->as.fn.params)) {
        report(e->cx, fn->as.fn.name_span, bad_argument, fn->as.fn.name,
               "a function without a body has to be one of the compiler's own");
        if (builtin)
            note(e->cx, fn->span, "its parameters are: %s", builtin->params);
        return NULL;
    }
    pointer_map_put(e->cx->arena, &e->names->builtin, fn, (void *)(uintptr_t)builtin);
    return builtin;
}

// ---- what was probably meant --------------------------------------------------------------------

const char *env_closest(Elab *e, Env *env, Sym name)
{
    if (diag_errors(e->cx) > 100) // a suggestion compares the name with every other one
        return NULL;
    NameList candidates = {0};
    for (Env *at = env; at; at = at->parent) {
        for (int i = 0; at->frame && i < at->frame->count; i++)
            vec_push(e->cx->arena, &candidates, at->frame->name[i]);
        if (at->self)
            for (int i = 0; i < at->self->member.count; i++)
                vec_push(e->cx->arena, &candidates, at->self->member.key[i]);
    }
    UnitFile *file = e->unit && env ? unit_file(e->unit, env->file) : NULL;
    if (file)
        unit_names(e->unit, file, &candidates);
    return closest_name(name, candidates.at, candidates.count);
}
