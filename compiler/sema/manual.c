// manual.c: the reference manual, made of the standard library itself.
//
// One page for each module, one for the prelude, one for the blocks and one for the words of the
// language. What is said about a declaration is its documentation (`///`); a declaration without
// one is the library's own business and left out. A comment at the head of a file introduces its
// section, a ruler (`// ---- name`) begins a part. The same library gives the same bytes.

#include "sema/sema.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Item { // a line of the index
    const char *name, *page, *summary;
} Item;

typedef struct Page {
    const char *name; // nn.md
    const char *title, *summary;
    Buffer text;
} Page;

typedef struct Manual {
    Cx *cx;
    Unit *unit;
    Vec(Page *) page;
    Vec(Item) item;
} Manual;

static Page *page_new(Manual *m, const char *name, const char *title, const char *summary)
{
    Page *page = NEW(m->cx->arena, Page);
    *page = (Page){.name = name, .title = title, .summary = summary};
    page->text.arena = m->cx->arena;
    buffer_printf(&page->text,
                  "<!-- Written by `amlc explain manual`: change the comments in stdlib/ instead. "
                  "-->\n\n# %s\n\n%s\n",
                  title, summary);
    vec_push(m->cx->arena, &m->page, page);
    return page;
}

// ---- documentation as Markdown

static bool is_paper(const char *at)
{
    return strncmp(at, "arXiv:", 6) == 0 && isdigit((unsigned char)at[6]);
}

// A line of plain text: what Markdown would take for emphasis or HTML stands for itself, code stays
// code, and arXiv:NUMBER becomes a link.
static void put_line(Buffer *out, const char *line, size_t length)
{
    bool code = false;
    for (size_t i = 0; i < length; i++) {
        char c = line[i];
        code ^= c == '`';
        if (!code && is_paper(line + i)) {
            size_t end = i + 6;
            while (end < length && (isdigit((unsigned char)line[end]) ||
                                    (line[end] == '.' && isdigit((unsigned char)line[end + 1]))))
                end++;
            buffer_printf(out, "[%.*s](https://arxiv.org/abs/%.*s)", (int)(end - i), line + i,
                          (int)(end - i - 6), line + i + 6);
            i = end - 1;
            continue;
        }
        if (!code && (c == '*' || c == '<' || c == '_'))
            buffer_append(out, "\\", 1);
        buffer_append(out, &c, 1);
    }
    buffer_append(out, "\n", 1);
}

// Blocks between ``` are programs.
static void put_doc(Buffer *out, const char *doc)
{
    bool program = false;
    for (const char *line = doc; line;) {
        const char *end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - line) : strlen(line);
        if (length >= 3 && strncmp(line, "```", 3) == 0) {
            program = !program;
            buffer_text(out, program ? "```aml\n" : "```\n");
        } else if (program) {
            buffer_append(out, line, length);
            buffer_append(out, "\n", 1);
        } else {
            put_line(out, line, length);
        }
        line = end ? end + 1 : NULL;
    }
}

// The first sentence, on one line.
static const char *summary_of(Cx *cx, const char *doc)
{
    Buffer text = {.arena = cx->arena};
    buffer_text(&text, "");
    for (const char *at = doc; *at; at++) {
        if (at[0] == '\n' && (at[1] == '\n' || at[1] == '`'))
            break;
        buffer_append(&text, *at == '\n' ? " " : at, 1);
        if (at[0] == '.' && (at[1] == ' ' || at[1] == '\n') && !(at > doc && at[-1] == '.'))
            break;
    }
    while (text.length > 0 && strchr(".: ", text.text[text.length - 1]))
        text.text[--text.length] = 0;
    Buffer line = {.arena = cx->arena};
    put_line(&line, text.text, text.length);
    line.text[--line.length] = 0;
    return line.text;
}

// ---- declarations

static const char *const parts[] = {"forward", "update", "collect", "value"};

// What an instance can be asked: the signatures of its functions that have a meaning to others.
static void put_functions(Manual *m, Buffer *out, const Node *node)
{
    const NodeList *members = node->kind == NODE_Model    ? &node->as.model.members
                              : node->kind == NODE_Metric ? &node->as.metric.members
                                                          : NULL;
    for (int i = 0; members && i < members->count; i++) {
        const Node *member = members->at[i];
        for (size_t k = 0; k < COUNT_OF(parts); k++)
            if (member->kind == NODE_Fn && strcmp(member->as.fn.name, parts[k]) == 0)
                buffer_printf(out, "  %s\n", declaration_signature(m->cx, member));
    }
}

static void put_declaration(Manual *m, Page *page, const Node *node)
{
    const char *doc = declaration_doc(node), *name = declaration_name(node);
    if (!doc || !name)
        return;
    Item item = {name, page->name, summary_of(m->cx, doc)};
    vec_push(m->cx->arena, &m->item, item);
    buffer_printf(&page->text, "\n### `%s`\n\n```text\n%s\n", name,
                  declaration_signature(m->cx, node));
    put_functions(m, &page->text, node);
    buffer_text(&page->text, "```\n\n");
    put_doc(&page->text, doc);
}

// ---- files

static const char *comment_text(const Manual *m, const Comment *comment, size_t *length)
{
    const char *text = source_file(m->cx, comment->span.file)->text;
    const char *at = text + comment->span.start, *end = text + comment->span.end;
    while (at < end && *at == '/')
        at++;
    while (at < end && *at == ' ')
        at++;
    while (end > at && isspace((unsigned char)end[-1]))
        end--;
    *length = (size_t)(end - at);
    return at;
}

static bool is_ruler(const char *text, size_t length)
{
    return length > 5 && strncmp(text, "---- ", 5) == 0;
}

// The comment before everything else in a file.
static void put_introduction(const Manual *m, Buffer *out, const UnitFile *file)
{
    const NodeList *decls = &file->ast->as.file.decls;
    uint32_t limit = decls->count > 0 ? decls->at[0]->span.start : 0, line = 0;
    for (int i = 0; i < file->comments.count; i++) {
        const Comment *comment = &file->comments.at[i];
        size_t length;
        const char *text = comment_text(m, comment, &length);
        uint32_t own = (uint32_t)source_place(m->cx, comment->span).line;
        if (comment->span.start >= limit || comment->is_doc || is_ruler(text, length) ||
            (line && own != line + 1))
            break;
        buffer_text(out, line == 0 ? "\n" : "");
        put_line(out, text, length);
        line = own;
    }
}

static void put_file(Manual *m, Page *page, const UnitFile *file, bool titled)
{
    const char *path = source_file(m->cx, file->file)->path;
    if (strncmp(path, "<std>/", 6) == 0)
        path += 6;
    const char *slash = strrchr(path, '/'), *stem = slash ? slash + 1 : path;
    if (titled)
        buffer_printf(&page->text, "\n## %.*s\n", (int)strcspn(stem, "."), stem);
    put_introduction(m, &page->text, file);
    buffer_printf(&page->text, "\nSource: `stdlib/%s`\n", path);
    int comment = 0;
    const NodeList *decls = &file->ast->as.file.decls;
    for (int i = 0; i < decls->count; i++) {
        const Node *node = decls->at[i];
        const Comment *ruler = NULL;
        size_t length;
        for (; comment < file->comments.count &&
               file->comments.at[comment].span.start < node->span.start;
             comment++) {
            const char *text = comment_text(m, &file->comments.at[comment], &length);
            if (is_ruler(text, length))
                ruler = &file->comments.at[comment];
        }
        if (node->kind == NODE_Grad || node->kind == NODE_Schema || node->kind == NODE_Use)
            continue;
        if (ruler && declaration_doc(node)) {
            const char *text = comment_text(m, ruler, &length);
            while (length > 5 && (text[length - 1] == '-' || text[length - 1] == ' '))
                length--;
            buffer_text(&page->text, "\n**");
            for (size_t c = 5; c < length; c++) {
                char letter = c == 5 ? (char)toupper((unsigned char)text[c]) : text[c];
                buffer_append(&page->text, &letter, 1);
            }
            buffer_text(&page->text, "**\n");
        }
        put_declaration(m, page, node);
    }
}

// ---- pages

static const struct {
    const char *module, *summary;
} modules[] = {
    {"std.data", "Sources of data and what is done to samples before a model sees them."},
    {"std.image", "Images: what changes samples at random while a model is trained."},
    {"std.init", "What a weight is before training. Comes along with `use std.nn`."},
    {"std.loss", "Losses. Come along with `use std.nn`."},
    {"std.metrics",
     "What is measured in a validation or an evaluation. Come along with `use std.nn`."},
    {"std.models", "Complete, well-known models."},
    {"std.nn", "Layers."},
    {"std.optim", "What turns gradients into new weights."},
    {"std.schedule", "Learning rates that change while a model is trained. Come along with `use "
                     "std.optim`."},
};

static void module_page(Manual *m, const char *module)
{
    const char *summary = "A module of the standard library.";
    int files = 0;
    for (size_t i = 0; i < COUNT_OF(modules); i++)
        if (strcmp(modules[i].module, module) == 0)
            summary = modules[i].summary;
    Cx *cx = m->cx;
    Page *page = page_new(m, arena_printf(cx->arena, "%s.md", module + 4), module, summary);
    buffer_printf(&page->text, "\n```text\nuse %s\n```\n", module);
    for (int i = 0; i < m->unit->file.count; i++)
        files += m->unit->file.at[i]->module && strcmp(m->unit->file.at[i]->module, module) == 0;
    for (int i = 0; i < m->unit->file.count; i++) {
        const UnitFile *file = m->unit->file.at[i];
        bool documented = false;
        for (int d = 0; d < file->ast->as.file.decls.count; d++)
            documented |= declaration_doc(file->ast->as.file.decls.at[d]) != NULL;
        if (file->module && strcmp(file->module, module) == 0 && documented)
            put_file(m, page, file, files > 1);
    }
}

static void prelude_page(Manual *m)
{
    Page *page =
        page_new(m, "prelude.md", "The prelude", "What every program has without a `use`.");
    for (int i = 0; i < m->unit->file.count; i++)
        if (m->unit->file.at[i]->is_std && !m->unit->file.at[i]->module)
            put_file(m, page, m->unit->file.at[i], true);
}

static void put_entry(const Manual *m, Buffer *out, const Node *schema, const Node *entry)
{
    buffer_printf(out, "\n### `%s.%s`\n\n```text\n%s: %s", schema->as.schema.name,
                  entry->as.entry.name, entry->as.entry.name,
                  node_source(m->cx, entry->as.entry.type->span));
    if (!entry->as.entry.value)
        buffer_text(out, "\n```\n\nMust be given. ");
    else if (entry->as.entry.value->kind == NODE_None)
        buffer_text(out, "\n```\n\nMay be left out. ");
    else
        buffer_printf(out, " = %s\n```\n\n", node_source(m->cx, entry->as.entry.value->span));
    put_doc(out, entry->as.entry.doc ? entry->as.entry.doc : "");
}

static void blocks_page(Manual *m)
{
    Page *page = page_new(m, "blocks.md", "Blocks",
                          "`KIND NAME { setting: value ... }` at the top level of a program: the "
                          "kinds and their settings.");
    Buffer *out = &page->text;
    for (int i = 0; i < m->unit->schema.count; i++) {
        const Node *schema = m->unit->schema.value[i];
        Item item = {schema->as.schema.name, page->name,
                     summary_of(m->cx, schema->as.schema.doc ? schema->as.schema.doc : "")};
        vec_push(m->cx->arena, &m->item, item);
        buffer_printf(out, "\n## %s\n\n", schema->as.schema.name);
        put_doc(out, schema->as.schema.doc ? schema->as.schema.doc : "");
        for (int k = 0; k < schema->as.schema.settings.count; k++)
            put_entry(m, out, schema, schema->as.schema.settings.at[k]);
        for (int k = 0; k < schema->as.schema.functions.count; k++) {
            const Node *fn = schema->as.schema.functions.at[k];
            buffer_printf(out, "\n### `%s.%s`\n\n```text\n%s\n```\n\n", schema->as.schema.name,
                          fn->as.fn.name, declaration_signature(m->cx, fn));
            put_doc(out, fn->as.fn.doc ? fn->as.fn.doc : "");
        }
    }
}

static void words_page(Manual *m)
{
    Page *page =
        page_new(m, "words.md", "Words, units and messages",
                 "The words of the language, the units of numbers, and what amlc may say.");
    Buffer *out = &page->text;
    buffer_text(out, "\n## Words\n\n| word | meaning |\n|---|---|\n");
#define KEYWORD(token, text, meaning) buffer_text(out, "| `" text "` | " meaning " |\n");
#include "keywords.def"
    buffer_text(out, "\n## Units\n\nA number and its unit are one word: `40 epochs`, `5%`.\n\n"
                     "| unit | meaning |\n|---|---|\n");
#define UNIT(text, kind, factor, meaning) buffer_text(out, "| `" text "` | " meaning " |\n");
#include "keywords.def"
    buffer_text(out, "\n## Messages\n\n| code | name | text |\n|---|---|---|\n");
    for (int id = 0; id < DIAG_COUNT; id++) {
        char letter = diag_info[id].severity == SEVERITY_ERROR ? 'E' : 'W';
        buffer_printf(out, "| [%c%04d](../errors/%c%04d.md) | %s | `", letter, diag_info[id].code,
                      letter, diag_info[id].code, diag_info[id].name);
        for (const char *at = diag_info[id].format; *at; at++)
            buffer_text(out, *at == '|' ? "\\|" : (char[]){*at, 0});
        buffer_text(out, "` |\n");
    }
}

static int by_name(const void *left, const void *right)
{
    const Item *a = left, *b = right;
    int order = strcasecmp(a->name, b->name);
    return order ? order : strcmp(a->name, b->name);
}

// Last, since it lists all others; first in the folder.
static void index_page(Manual *m)
{
    int pages = m->page.count;
    Page *page = page_new(m, "README.md", "The AML reference manual",
                          "What is built in, from the standard library's own documentation. "
                          "`amlc explain NAME` shows the same for one name.");
    Buffer *out = &page->text;
    buffer_text(out, "\n| page | |\n|---|---|\n");
    for (int i = 0; i < pages; i++)
        buffer_printf(out, "| [%s](%s) | %s |\n", m->page.at[i]->title, m->page.at[i]->name,
                      m->page.at[i]->summary);
    buffer_text(out, "\n## All names\n\n| name | |\n|---|---|\n");
    qsort(m->item.at, (size_t)m->item.count, sizeof *m->item.at, by_name);
    for (int i = 0; i < m->item.count; i++) {
        const Item *item = &m->item.at[i];
        buffer_printf(out, "| [`%s`](%s#", item->name, item->page);
        for (const char *at = item->name; *at; at++)
            buffer_text(out, (char[]){(char)tolower((unsigned char)*at), 0});
        buffer_text(out, ") | ");
        for (const char *at = item->summary; *at; at++)
            buffer_text(out, *at == '|' ? "\\|" : (char[]){*at, 0});
        buffer_text(out, " |\n");
    }
}

// ---- the way in

// NULL, or the path that could not be written.
static const char *write_page(Cx *cx, const char *folder, const Page *page)
{
    const char *path = arena_printf(cx->arena, "%s/%s", folder, page->name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(page->text.text, 1, page->text.length, file) == page->text.length;
    if (file)
        good &= fclose(file) == 0;
    return good ? NULL : path;
}

const char *manual_write(Cx *cx, const char *folder, FILE *out)
{
    static const char empty[] = "aml 1\n";
    Manual m = {.cx = cx, .unit = unit_load_text(cx, "<manual>", empty, sizeof empty - 1)};
    NameList names = {0};
    unit_read_library(m.unit);
    std_modules(cx, &names);
    blocks_page(&m);
    prelude_page(&m);
    for (int i = 0; i < names.count; i++)
        module_page(&m, names.at[i]);
    words_page(&m);
    index_page(&m);
    if (folder && mkdir(folder, 0777) != 0 && errno != EEXIST)
        return folder;
    const char *wrong = NULL;
    for (int i = 0; i < m.page.count && !wrong; i++) {
        const Page *page = m.page.at[i];
        if (folder)
            wrong = write_page(cx, folder, page);
        else
            fwrite(page->text.text, 1, page->text.length, out);
    }
    return wrong;
}
