// load.c: which of the user's files take part, and what each file can see.

#include "sema/sema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_FILE ((size_t)64 << 20) // the parser has a smaller limit and a message for it

typedef struct Opened { // a user's file that is loaded or being loaded
    Sym real_path;
    UnitFile *file;
    bool done;
} Opened;

typedef struct Loader {
    Unit *unit;
    Vec(Opened) opened;
    Vec(Sym) chain; // paths from the main file to the one being loaded
} Loader;

UnitFile *unit_add_file(Unit *unit, uint32_t number, Sym module, bool is_std)
{
    UnitFile *file = NEW(unit->cx->arena, UnitFile);
    file->file = number;
    file->module = module;
    file->is_std = is_std;
    while (unit->by_number.count < (int)number)
        vec_push(unit->cx->arena, &unit->by_number, NULL);
    vec_push(unit->cx->arena, &unit->by_number, file);
    return file;
}

// ---- declarations of one file

static void refuse_library_only(Unit *unit, const Node *node)
{
    if (node->kind == NODE_Schema) {
        report(unit->cx, node->as.schema.name_span, library_only,
               "the settings of a kind of block");
    } else if (node->kind == NODE_Fn && !node->as.fn.body) {
        report(unit->cx, node->as.fn.name_span, library_only, "a function without a body");
        help(unit->cx, "add a body: `{ return ... }` or `= ...`");
    }
}

Map *unit_map_of(Unit *unit, UnitFile *file, NodeKind kind)
{
    return kind == NODE_Grad ? &file->grad : kind == NODE_Schema ? &unit->schema : &file->own;
}

static void declare(Unit *unit, UnitFile *file, Node *node)
{
    Sym name = declaration_name(node);
    refuse_library_only(unit, node);
    if (!name || node->kind == NODE_Schema)
        return;
    Map *into = unit_map_of(unit, file, node->kind);
    Node *before = map_get(into, name);
    if (before) {
        report(unit->cx, declaration_span(node), duplicate_name, name);
        note(unit->cx, declaration_span(before), "'%s' was declared here", name);
        return;
    }
    map_put(unit->cx->arena, into, name, node);
    if (node->kind == NODE_Job)
        vec_push(unit->cx->arena, &unit->job, node);
}

void unit_check_gradients(Unit *unit, UnitFile *file)
{
    for (int i = 0; i < file->grad.count; i++) {
        const Node *grad = file->grad.value[i];
        const Node *fn = map_get(&file->own, file->grad.key[i]);
        if (!fn || fn->kind != NODE_Fn) {
            if (map_get(&file->lost, file->grad.key[i]))
                continue;
            report(unit->cx, grad->as.grad.name_span, gradient_of_nothing, file->grad.key[i]);
            if (fn)
                note(unit->cx, declaration_span(fn), "'%s' is %s", file->grad.key[i],
                     declaration_what(fn));
            continue;
        }
        int expected = fn->as.fn.params.count + 1;
        if (grad->as.grad.params.count < expected) {
            report(unit->cx, grad->as.grad.name_span, gradient_parameters, grad->as.grad.name,
                   expected, grad->as.grad.params.count);
            note(unit->cx, fn->as.fn.name_span, "the function is declared here");
        }
    }
}

static void declare_all(Unit *unit, UnitFile *file)
{
    for (int i = 0; i < file->ast->as.file.decls.count; i++)
        declare(unit, file, file->ast->as.file.decls.at[i]);
    unit_check_gradients(unit, file);
    vec_push(unit->cx->arena, &unit->file, file);
}

// ---- modules of the standard library

bool unit_use(Unit *unit, UnitFile *user, Sym module)
{
    bool found = false;
    for (int i = 0; i < unit->file.count; i++)
        if (unit->file.at[i]->module == module) {
            vec_push(unit->cx->arena, &user->uses, unit->file.at[i]);
            found = true;
        }
    return found;
}

static void use_module(Unit *unit, UnitFile *user, const Node *use)
{
    Cx *cx = unit->cx;
    if (unit_use(unit, user, use->as.use.path))
        return;
    user->incomplete = true;
    NameList names = {0};
    std_modules(cx, &names);
    report(cx, use->as.use.path_span, unknown_module, use->as.use.path);
    const char *closest = closest_name(use->as.use.path, names.at, names.count);
    if (strncmp(use->as.use.path, "std.", 4) != 0 && strcmp(use->as.use.path, "std") != 0)
        help(cx, "a file is used by its path in quotes: use \"%s.aml\"", use->as.use.path);
    else if (closest)
        help(cx, "did you mean `%s`?", closest);
    else {
        Buffer list = {.arena = cx->scratch};
        for (int i = 0; i < names.count; i++)
            buffer_printf(&list, "%s%s", i ? ", " : "", names.at[i]);
        help(cx, "there are: %s", list.text ? list.text : "none");
    }
}

// ---- files of the user

static UnitFile *load_user_file(Loader *loader, const char *path, const char *text, size_t length,
                                Sym real_path);

static const char *folder_of(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? arena_text(arena, path, (size_t)(slash - path) + 1) : "";
}

static Sym real_path_of(Cx *cx, const char *path)
{
    char *resolved = realpath(path, NULL);
    Sym real = sym_of(cx, resolved ? resolved : path);
    free(resolved);
    return real;
}

static void report_cycle(Loader *loader, const Node *use, const char *path)
{
    Cx *cx = loader->unit->cx;
    Buffer chain = {.arena = cx->scratch};
    for (int i = 0; i < loader->chain.count; i++)
        buffer_printf(&chain, "%s -> ", loader->chain.at[i]);
    buffer_text(&chain, path);
    report(cx, use->as.use.path_span, use_cycle, path, chain.text);
}

static void use_file(Loader *loader, UnitFile *user, const Node *use)
{
    Cx *cx = loader->unit->cx;
    const char *name = use->as.use.file;
    size_t length = strlen(name);
    if (length < 5 || strcmp(name + length - 4, ".aml") != 0) {
        report(cx, use->as.use.path_span, not_a_file, name);
        user->incomplete = true;
        return;
    }
    const char *user_path = source_file(cx, user->file)->path;
    const char *path =
        name[0] == '/' ? name
                       : arena_printf(cx->arena, "%s%s", folder_of(cx->scratch, user_path), name);
    Sym real = real_path_of(cx, path);
    for (int i = 0; i < loader->opened.count; i++)
        if (loader->opened.at[i].real_path == real) {
            if (!loader->opened.at[i].done)
                report_cycle(loader, use, path);
            else
                vec_push(cx->arena, &user->uses, loader->opened.at[i].file);
            return;
        }
    char *text;
    size_t bytes;
    if (!file_read(cx->arena, path, LARGEST_FILE, &text, &bytes)) {
        report(cx, use->as.use.path_span, cannot_read, path, strerror(errno));
        user->incomplete = true;
        return;
    }
    UnitFile *file = load_user_file(loader, path, text, bytes, real);
    vec_push(cx->arena, &user->uses, file);
}

static UnitFile *load_user_file(Loader *loader, const char *path, const char *text, size_t length,
                                Sym real_path)
{
    Unit *unit = loader->unit;
    Cx *cx = unit->cx;
    uint32_t number = source_add(cx, path, text, length, false);
    UnitFile *file = unit_add_file(unit, number, NULL, false);
    file->ast = parse_file_lost(cx, number, &file->comments, &file->lost);
    int index = loader->opened.count;
    Opened entry = {real_path, file, false};
    vec_push(cx->arena, &loader->opened, entry);
    vec_push(cx->arena, &loader->chain, sym_of(cx, path));
    for (int i = 0; i < file->ast->as.file.decls.count; i++) {
        const Node *use = file->ast->as.file.decls.at[i];
        if (use->kind == NODE_Use && use->as.use.file)
            use_file(loader, file, use);
        else if (use->kind == NODE_Use)
            use_module(unit, file, use);
    }
    loader->chain.count--;
    loader->opened.at[index].done = true;
    declare_all(unit, file);
    return file;
}

// ---- scopes

static void see_all(const Unit *unit, UnitFile *viewer, const UnitFile *seen)
{
    for (int i = 0; i < seen->own.count; i++)
        map_put(unit->cx->arena, &viewer->scope, seen->own.key[i], seen->own.value[i]);
    for (int i = 0; i < seen->lost.count; i++)
        map_put(unit->cx->arena, &viewer->lost, seen->lost.key[i], seen->lost.value[i]);
}

static void report_ambiguous(const Unit *unit, const UnitFile *viewer, const UnitFile *seen,
                             Sym name, const Node *other)
{
    for (int i = 0; i < viewer->ast->as.file.decls.count; i++) {
        const Node *use = viewer->ast->as.file.decls.at[i];
        if (use->kind != NODE_Use || !use->as.use.file)
            continue;
        report(unit->cx, use->as.use.path_span, ambiguous_name, name);
        note(unit->cx, declaration_span(other), "one is declared here");
        note(unit->cx, declaration_span(map_get(&seen->own, name)), "the other here");
        return;
    }
}

// Adds what `file` uses, directly or not, once. `from_user`: names that came from another file of
// the user.
static void see_used(const Unit *unit, UnitFile *viewer, const UnitFile *file, Map *visited,
                     Map *from_user)
{
    for (int i = 0; i < file->uses.count; i++) {
        UnitFile *used = file->uses.at[i];
        Sym id = sym_printf(unit->cx, "#%u", used->file);
        if (used == viewer || map_get(visited, id))
            continue;
        map_put(unit->cx->arena, visited, id, used);
        see_used(unit, viewer, used, visited, from_user);
        for (int k = 0; !used->is_std && k < used->own.count; k++) {
            Node *other = map_get(from_user, used->own.key[k]);
            if (other && !map_get(&viewer->own, used->own.key[k]))
                report_ambiguous(unit, viewer, used, used->own.key[k], other);
            map_put(unit->cx->arena, from_user, used->own.key[k], used->own.value[k]);
        }
        see_all(unit, viewer, used);
    }
}

static void build_scope(const Unit *unit, UnitFile *viewer)
{
    Map visited = {0}, from_user = {0};
    // the library first, so that a file of the user hides it
    see_used(unit, viewer, viewer, &visited, &from_user);
    for (int i = 0; i < from_user.count; i++)
        map_put(unit->cx->arena, &viewer->scope, from_user.key[i], from_user.value[i]);
    for (int i = 0; viewer->module && i < unit->file.count; i++)
        if (unit->file.at[i]->module == viewer->module)
            see_all(unit, viewer, unit->file.at[i]);
    see_all(unit, viewer, viewer);
}

const Map *unit_scope(const Unit *unit, UnitFile *file)
{
    if (!file->has_scope)
        build_scope(unit, file);
    file->has_scope = true;
    return &file->scope;
}

// ---- the way in

static Unit *load(Cx *cx, const char *path, const char *text, size_t length)
{
    Unit *unit = NEW(cx->arena, Unit);
    unit->cx = cx;
    const char *folder = folder_of(cx->arena, path);
    cx->source_dir = *folder ? folder : "./";
    library_load(unit);
    Loader loader = {.unit = unit};
    unit->main = load_user_file(&loader, path, text, length, real_path_of(cx, path));
    for (int i = 0; i < unit->file.count; i++)
        if (!unit->file.at[i]->is_std)
            unit_scope(unit, unit->file.at[i]);
    unit_resolve(unit);
    unit_check_jobs(unit);
    return unit;
}

Unit *unit_load(Cx *cx, const char *path)
{
    char *text;
    size_t length;
    if (!file_read(cx->arena, path, LARGEST_FILE, &text, &length)) {
        Span nowhere = {0};
        report(cx, nowhere, cannot_read, path, strerror(errno));
        return NULL;
    }
    return load(cx, path, text, length);
}

Unit *unit_load_text(Cx *cx, const char *path, const char *text, size_t length)
{
    return load(cx, path, text, length);
}
