// explain.c: amlc explain TOPIC.
//
// A topic is looked for among the messages (docs/errors, one page each, embedded), the kinds of
// blocks and their settings, the standard library, the words of the language and the units. What is
// said about a setting or a function is its documentation in the library's source.

#include "sema/sema.h"

#include "base/embedded.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

extern const AmlEmbedded aml_error_pages[];

// ---- messages

static const char *code_text(char text[8], int id)
{
    snprintf(text, 8, "%c%04d", diag_info[id].severity == SEVERITY_ERROR ? 'E' : 'W',
             diag_info[id].code % 10000);
    return text;
}

// "E0301", "w0302", "0301", "301" or a message's name. -1: none.
static int message_of(const char *topic)
{
    for (int id = 0; id < DIAG_COUNT; id++)
        if (strcmp(diag_info[id].name, topic) == 0)
            return id;
    const char *digits = strchr("EeWw", topic[0]) && topic[0] ? topic + 1 : topic;
    size_t length = strlen(digits);
    if (length == 0 || length > 4 || strspn(digits, "0123456789") != length)
        return -1;
    for (int id = 0; id < DIAG_COUNT; id++)
        if (diag_info[id].code == atoi(digits))
            return id;
    return -1;
}

static void explain_message(int id, FILE *out)
{
    char code[8], name[16];
    snprintf(name, sizeof name, "%s.md", code_text(code, id));
    for (const AmlEmbedded *page = aml_error_pages; page->name; page++)
        if (strcmp(page->name, name) == 0)
            fwrite(page->at, 1, page->length, out);
}

// ---- the library

const char *node_source(Cx *cx, Span span)
{
    const SourceFile *file = source_file(cx, span.file);
    Buffer text = {.arena = cx->scratch};
    buffer_text(&text, "");
    bool blank = false;
    for (uint32_t i = span.start; i < span.end && i < file->length; i++) {
        if (isspace((unsigned char)file->text[i])) {
            blank = true;
            continue;
        }
        buffer_text(&text, blank && text.length ? " " : "");
        buffer_append(&text, file->text + i, 1);
        blank = false;
    }
    return text.text;
}

const char *declaration_signature(Cx *cx, const Node *node)
{
    Span span = node->span;
    const char *text = source_file(cx, span.file)->text;
    int depth = 0;
    for (uint32_t i = span.start; i < span.end; i++) {
        if (strchr("([", text[i]))
            depth++;
        else if (strchr(")]", text[i]))
            depth--;
        if (depth > 0 ||
            !(text[i] == '{' || text[i] == '\n' || (text[i] == '=' && node->kind == NODE_Fn)))
            continue;
        while (i > span.start && isspace((unsigned char)text[i - 1]))
            i--;
        span.end = i;
        break;
    }
    return node_source(cx, span);
}

static void print_doc(const char *doc, const char *indent, FILE *out)
{
    for (const char *line = doc ? doc : "not documented"; line;) {
        const char *end = strchr(line, '\n');
        int length = end ? (int)(end - line) : (int)strlen(line);
        fprintf(out, "%s%.*s\n", length ? indent : "", length, line);
        line = end ? end + 1 : NULL;
    }
}

static void explain_entry(Cx *cx, const Node *schema, const Node *entry, FILE *out)
{
    fprintf(out, "%s.%s: %s", schema->as.schema.name, entry->as.entry.name,
            node_source(cx, entry->as.entry.type->span));
    if (!entry->as.entry.value)
        fputs("    (required)", out);
    else if (entry->as.entry.value->kind == NODE_None)
        fputs("    (may be left out)", out);
    else
        fprintf(out, " = %s", node_source(cx, entry->as.entry.value->span));
    fputc('\n', out);
    print_doc(entry->as.entry.doc, "    ", out);
}

static void explain_schema(Cx *cx, const Node *schema, FILE *out)
{
    fprintf(out, "%s NAME { setting: value ... }\n", schema->as.schema.name);
    print_doc(schema->as.schema.doc, "    ", out);
    for (int i = 0; i < schema->as.schema.settings.count; i++) {
        fputc('\n', out);
        explain_entry(cx, schema, schema->as.schema.settings.at[i], out);
    }
    for (int i = 0; i < schema->as.schema.functions.count; i++) {
        const Node *fn = schema->as.schema.functions.at[i];
        fprintf(out, "\n%s\n", declaration_signature(cx, fn));
        print_doc(fn->as.fn.doc, "    ", out);
    }
}

static void explain_declaration(const Unit *unit, const Node *node, FILE *out)
{
    const UnitFile *file = unit_file(unit, node->span.file);
    fprintf(out, "%s\n", declaration_signature(unit->cx, node));
    print_doc(declaration_doc(node), "    ", out);
    if (file && file->module)
        fprintf(out, "\nuse %s\n", file->module);
    Place place = source_place(unit->cx, node->span);
    fprintf(out, "%s, line %d\n", place.path, place.line);
}

static bool explain_word(const char *topic, FILE *out)
{
#define KEYWORD(token, text, meaning)                                                              \
    if (strcmp(topic, text) == 0) {                                                                \
        fprintf(out, "%s: a word of the language: %s\n", text, meaning);                           \
        return true;                                                                               \
    }
#define UNIT(text, kind, factor, meaning)                                                          \
    if (strcmp(topic, text) == 0) {                                                                \
        fprintf(out, "%s: a unit: %s\n", text, meaning);                                           \
        return true;                                                                               \
    }
#include "keywords.def"
    return false;
}

// ---- the way in

static void report_unknown_topic(Unit *unit, const char *topic)
{
    Cx *cx = unit->cx;
    NameList names = {0};
    unit_read_library(unit);
    for (int id = 0; id < DIAG_COUNT; id++)
        vec_push(cx->scratch, &names, diag_info[id].name);
    for (int i = 0; i < unit->std.count; i++)
        vec_push(cx->scratch, &names, unit->std.key[i]);
    for (int i = 0; i < unit->schema.count; i++) {
        const Node *schema = unit->schema.value[i];
        vec_push(cx->scratch, &names, unit->schema.key[i]);
        for (int k = 0; k < schema->as.schema.settings.count; k++)
            vec_push(cx->scratch, &names,
                     arena_printf(cx->scratch, "%s.%s", schema->as.schema.name,
                                  schema->as.schema.settings.at[k]->as.entry.name));
    }
    Span nowhere = {0};
    report(cx, nowhere, unknown_topic, topic);
    const char *closest = closest_name(topic, names.at, names.count);
    if (closest)
        help(cx, "did you mean '%s'?", closest);
    else
        help(cx, "a topic is a code (E0301), a kind of block (train), a setting (train.clip) or a "
                 "name of the standard library (Dense)");
}

int explain(Cx *cx, const char *topic, FILE *out)
{
    int id = message_of(topic);
    if (id >= 0) {
        explain_message(id, out);
        return 0;
    }
    static const char empty[] = "aml 1\n";
    Unit *unit = unit_load_text(cx, "<explain>", empty, sizeof empty - 1);
    const char *dot = strchr(topic, '.');
    Node *schema =
        unit_schema(unit, dot ? sym_intern(cx, topic, (size_t)(dot - topic)) : sym_of(cx, topic));
    Node *entry = schema && dot ? schema_entry(schema, sym_of(cx, dot + 1)) : NULL;
    Node *declaration = unit_std(unit, topic);
    if (entry)
        explain_entry(cx, schema, entry, out);
    else if (schema && !dot)
        explain_schema(cx, schema, out);
    else if (declaration)
        explain_declaration(unit, declaration, out);
    else if (!explain_word(topic, out)) {
        report_unknown_topic(unit, topic);
        return 1;
    }
    return 0;
}
