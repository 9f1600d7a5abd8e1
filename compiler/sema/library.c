// library.c: the standard library, which is part of amlc, read as far as a program needs it.
//
// A program mentions some of the library's seven hundred declarations, and reading all of them took
// four fifths of the time of checking a small one. So a file is only cut into declarations, by its
// layout:
//
//     /// Where x is above 0.           the part begins with the comment directly above
//     fn relu(x: float[...]) {          a word in the first column; the second word is the name
//       return max(x, 0)                until the next part: further right, `}`, comments, nothing
//     }
//
// An Unread node stands in the maps for each, with the part as its span. It becomes the declaration
// when somebody looks it up, in place, so that it is the same node for everyone.
//
// Files at the top of stdlib/ are the prelude, which every file sees; a folder is a module, whose
// files see each other; `use std.nn` decides what else is in scope.

#include "sema/sema.h"

#include "base/embedded.h"

#include <ctype.h>
#include <string.h>

extern const AmlEmbedded aml_stdlib[];

static Sym module_of(Cx *cx, const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? sym_printf(cx, "std.%.*s", (int)(slash - name), name) : NULL;
}

void std_modules(Cx *cx, NameList *out)
{
    for (const AmlEmbedded *at = aml_stdlib; at->name; at++) {
        Sym module = module_of(cx, at->name);
        bool known = !module;
        for (int i = 0; i < out->count; i++)
            known = known || out->at[i] == module;
        if (!known)
            vec_push(cx->arena, out, module);
    }
}

// ---- parts

typedef struct Library {
    Unit *unit;
    UnitFile *file;
    Vec(UnitFile *) user; // of the module of the same index
    Vec(Sym) module;
} Library;

static size_t word_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_' || text[length] == '.')
        length++;
    return length;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

// What the line at `text` begins: a node without an end, or NULL if nobody can look it up.
static Node *begin_part(Library *library, const char *text, uint32_t start)
{
    Unit *unit = library->unit;
    UnitFile *file = library->file;
    Cx *cx = unit->cx;
    size_t length = word_length(text);
    const char *name_text = text + length + strspn(text + length, " ");
    Sym name = sym_intern(cx, name_text, word_length(name_text));
    if (is_word(text, length, "aml"))
        return NULL;
    if (is_word(text, length, "use")) {
        vec_push(cx->scratch, &library->user, file);
        vec_push(cx->scratch, &library->module, name);
        return NULL;
    }
    Node *node = node_new(cx, NODE_Unread, (Span){file->file, start, start});
    node->as.unread.name = name;
    node->as.unread.name_span = node->span;
    Map *into = unit_map_of(unit, file,
                            is_word(text, length, "grad")     ? NODE_Grad
                            : is_word(text, length, "schema") ? NODE_Schema
                                                              : NODE_Unread);
    if (map_get(into, name))
        bug(cx, node->span, "the library declares '%s' twice", name);
    map_put(cx->arena, into, name, node);
    if (into != &file->own)
        return node;
    if (!map_get(&unit->std, name))
        map_put(cx->arena, &unit->std, name, node);
    if (!file->module)
        map_put(cx->arena, &unit->prelude, name, node);
    return node;
}

static void cut(Library *library)
{
    const SourceFile *source = source_file(library->unit->cx, library->file->file);
    const char *text = source->text, *end = text + source->length;
    const char *comment = NULL; // the first of the `///` lines directly above
    Node *open = NULL;
    for (const char *line = text, *next; line < end; line = next) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        if (isalpha((unsigned char)*line)) {
            uint32_t start = (uint32_t)((comment ? comment : line) - text);
            if (open)
                open->span.end = start;
            open = begin_part(library, line, start);
        }
        bool is_comment = strncmp(line, "///", 3) == 0;
        comment = !is_comment ? NULL : comment ? comment : line;
    }
    if (open)
        open->span.end = (uint32_t)source->length;
}

void library_load(Unit *unit)
{
    Cx *cx = unit->cx;
    Library library = {.unit = unit};
    for (const AmlEmbedded *at = aml_stdlib; at->name; at++) {
        const char *path = arena_printf(cx->arena, "<std>/%s", at->name);
        uint32_t number = source_add(cx, path, at->at, at->length, true);
        library.file = unit_add_file(unit, number, module_of(cx, at->name), true);
        vec_push(cx->arena, &unit->file, library.file);
        cut(&library);
    }
    for (int i = 0; i < library.user.count; i++)
        if (!unit_use(unit, library.user.at[i], library.module.at[i]))
            bug(cx, (Span){library.user.at[i]->file, 0, 0}, "the library has no module %s",
                library.module.at[i]);
}

// ---- reading

Node *library_read(const Unit *unit, Node *node)
{
    if (node && node->kind == NODE_Unread)
        *node = *parse_declaration(unit->cx, node->span);
    return node;
}

// What was cut is what the parser sees.
static void check_part(const Unit *unit, const Node *part, const Node *node)
{
    if (!part || part->kind != node->kind || part->span.file != node->span.file ||
        part->span.start != node->span.start || part->span.end != node->span.end ||
        declaration_doc(part) != declaration_doc(node))
        bug(unit->cx, node->span, "this declaration is not found by the layout of its file");
}

void unit_read_library(Unit *unit)
{
    for (int i = 0; i < unit->file.count; i++) {
        UnitFile *file = unit->file.at[i];
        if (!file->is_std || file->ast)
            continue;
        file->ast = parse_file_lost(unit->cx, file->file, &file->comments, &file->lost);
        NodeList *decls = &file->ast->as.file.decls;
        for (int k = 0; k < decls->count; k++) {
            Node *node = decls->at[k];
            if (node->kind == NODE_Use)
                continue;
            Map *map = unit_map_of(unit, file, node->kind);
            Node *known = library_read(unit, map_get(map, declaration_name(node)));
            check_part(unit, known, node);
            decls->at[k] = known;
        }
        unit_check_gradients(unit, file);
    }
}
