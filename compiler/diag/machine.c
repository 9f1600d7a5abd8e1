// machine.c: diagnostics for programs: our own JSON, SARIF 2.1.0 (OASIS; code scanning), GitHub
// workflow commands.
//
// Columns count Unicode code points from 1 and the end is exclusive, in all three.

#include "diag/state.h"

#include <jansson.h>
#include <string.h>

static json_t *text_value(Cx *cx, const char *text)
{
    return json_string(diag_clean_text(cx->scratch, text, strlen(text)));
}

static const char *level_name(const Diag *diag)
{
    return diag->severity == SEVERITY_ERROR ? "error" : "warning";
}

static Place end_place(const Cx *cx, Span span)
{
    return source_place(cx,
                        (Span){span.file, span.end > span.start ? span.end : span.start, span.end});
}

static void print_document(json_t *document, FILE *out)
{
    json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', out);
    json_decref(document);
}

// ---- json

static json_t *json_span(Cx *cx, Span span)
{
    if (!span.file)
        return json_null();
    Place start = source_place(cx, span), end = end_place(cx, span);
    return json_pack("{s:o, s:i, s:i, s:i, s:i}", "file", text_value(cx, start.path), "line",
                     start.line, "column", start.column, "end_line", end.line, "end_column",
                     end.column);
}

void diag_print_json(Cx *cx, FILE *out)
{
    DiagState *state = diag_state(cx);
    Diag **sorted = diag_sorted(cx);
    json_t *list = json_array();
    for (int i = 0; i < state->list.count; i++) {
        const Diag *diag = sorted[i];
        char code[8];
        json_t *notes = json_array(), *helps = json_array();
        for (int k = 0; k < diag->note.count; k++)
            json_array_append_new(notes, json_pack("{s:o, s:o}", "message",
                                                   text_value(cx, diag->note.at[k].text), "span",
                                                   json_span(cx, diag->note.at[k].span)));
        for (int k = 0; k < diag->help.count; k++)
            json_array_append_new(helps, text_value(cx, diag->help.at[k]));
        json_t *item = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "severity",
                                 level_name(diag), "code", diag_code(diag, code), "name",
                                 diag_info[diag->id].name, "message", text_value(cx, diag->text),
                                 "span", json_span(cx, diag->span), "notes", notes, "help", helps);
        if (diag->shape[0]) {
            json_t *shapes = json_array();
            for (int k = 0; k < 2; k++)
                json_array_append_new(shapes, json_pack("{s:o, s:o}", "what",
                                                        text_value(cx, diag->shape_what[k]),
                                                        "shape", text_value(cx, diag->shape[k])));
            json_object_set_new(item, "shapes", shapes);
        }
        json_array_append_new(list, item);
    }
    print_document(json_pack("{s:i, s:i, s:o}", "errors", diag_errors(cx), "warnings",
                             diag_warnings(cx), "diagnostics", list),
                   out);
}

// ---- sarif

// A path as a URI reference: everything but unreserved characters and '/' is percent-encoded.
static const char *path_uri(Cx *cx, const char *path)
{
    Buffer uri = {.arena = cx->scratch};
    buffer_text(&uri, path[0] == '/' ? "file://" : "");
    for (const char *at = path; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("-._~/", byte);
        if (plain)
            buffer_append(&uri, at, 1);
        else
            buffer_printf(&uri, "%%%02X", byte);
    }
    return uri.text;
}

static json_t *sarif_location(Cx *cx, Span span)
{
    Place start = source_place(cx, span), end = end_place(cx, span);
    return json_pack("{s:{s:{s:s}, s:{s:i, s:i, s:i, s:i}}}", "physicalLocation",
                     "artifactLocation", "uri", path_uri(cx, start.path), "region", "startLine",
                     start.line, "startColumn", start.column, "endLine", end.line, "endColumn",
                     end.column);
}

// A row's format as a sentence: what will stand in for %s is left open.
static const char *plain_format(Arena *arena, const char *format)
{
    Buffer out = {.arena = arena};
    buffer_text(&out, "");
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            buffer_append(&out, at, 1);
        } else if (at[1] == '%') {
            buffer_text(&out, "%");
            at++;
        } else {
            buffer_text(&out, "...");
            at += strcspn(at, "sdgxu");
        }
    }
    return out.text;
}

static json_t *sarif_result(Cx *cx, const Diag *diag, int rule_index)
{
    char code[8];
    Buffer message = {.arena = cx->scratch};
    buffer_text(&message, diag->text);
    if (diag->shape[0])
        buffer_printf(&message, "\n%s %s\n%s %s", diag->shape_what[0], diag->shape[0],
                      diag->shape_what[1], diag->shape[1]);
    for (int k = 0; k < diag->help.count; k++)
        buffer_printf(&message, "\nhelp: %s", diag->help.at[k]);
    // line ends are content here, so each line is cleaned on its own
    Buffer clean = {.arena = cx->scratch};
    for (const char *at = message.text, *end; at; at = *end ? end + 1 : NULL) {
        end = strchr(at, '\n');
        end = end ? end : at + strlen(at);
        buffer_text(&clean, diag_clean_text(cx->scratch, at, (size_t)(end - at)));
        buffer_text(&clean, *end ? "\n" : "");
    }
    json_t *related = json_array(), *locations = json_array();
    if (diag->span.file)
        json_array_append_new(locations, sarif_location(cx, diag->span));
    for (int k = 0; k < diag->note.count; k++) {
        json_t *place =
            diag->note.at[k].span.file ? sarif_location(cx, diag->note.at[k].span) : json_object();
        json_object_set_new(place, "id", json_integer(k));
        json_object_set_new(place, "message",
                            json_pack("{s:o}", "text", text_value(cx, diag->note.at[k].text)));
        json_array_append_new(related, place);
    }
    return json_pack("{s:s, s:i, s:s, s:{s:s}, s:o, s:o}", "ruleId", diag_code(diag, code),
                     "ruleIndex", rule_index, "level", level_name(diag), "message", "text",
                     clean.text, "locations", locations, "relatedLocations", related);
}

void diag_print_sarif(Cx *cx, FILE *out)
{
    DiagState *state = diag_state(cx);
    Diag **sorted = diag_sorted(cx);
    json_t *rules = json_array(), *results = json_array();
    for (int id = 0; id < DIAG_COUNT; id++) {
        Diag as_rule = {.id = (DiagId)id, .severity = diag_info[id].severity};
        char code[8];
        json_array_append_new(
            rules, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "id", diag_code(&as_rule, code),
                             "name", diag_info[id].name, "shortDescription", "text",
                             plain_format(cx->scratch, diag_info[id].format),
                             "defaultConfiguration", "level", level_name(&as_rule)));
    }
    for (int i = 0; i < state->list.count; i++)
        json_array_append_new(results, sarif_result(cx, sorted[i], (int)sorted[i]->id));
    json_t *driver =
        json_pack("{s:s, s:s, s:o}", "name", "amlc", "semanticVersion", "0.1.0", "rules", rules);
    json_t *runs = json_pack("[{s:{s:o}, s:s, s:o}]", "tool", "driver", driver, "columnKind",
                             "unicodeCodePoints", "results", results);
    print_document(json_pack("{s:s, s:s, s:o}", "$schema",
                             "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0",
                             "runs", runs),
                   out);
}

// ---- github

// In a message %, CR and LF are escaped; in a property : and , as well.
static void print_escaped(FILE *out, const char *text, bool is_property)
{
    for (; *text; text++) {
        if (*text == '%' || *text == '\r' || *text == '\n' ||
            (is_property && (*text == ':' || *text == ',')))
            fprintf(out, "%%%02X", (unsigned char)*text);
        else
            fputc(*text, out);
    }
}

void diag_print_github(Cx *cx, FILE *out)
{
    DiagState *state = diag_state(cx);
    Diag **sorted = diag_sorted(cx);
    for (int i = 0; i < state->list.count; i++) {
        const Diag *diag = sorted[i];
        char code[8];
        fprintf(out, "::%s ", level_name(diag));
        if (diag->span.file) {
            Place start = source_place(cx, diag->span), end = end_place(cx, diag->span);
            fputs("file=", out);
            print_escaped(out, diag_clean_text(cx->scratch, start.path, strlen(start.path)), true);
            fprintf(out, ",line=%d,endLine=%d,col=%d", start.line, end.line, start.column);
            if (end.line == start.line)
                fprintf(out, ",endColumn=%d", end.column);
            fputc(',', out);
        }
        fprintf(out, "title=%s::", diag_code(diag, code));
        print_escaped(out, diag->text, false);
        if (diag->shape[0]) {
            fprintf(out, "%%0A%s ", diag->shape_what[0]);
            print_escaped(out, diag->shape[0], false);
            fprintf(out, "%%0A%s ", diag->shape_what[1]);
            print_escaped(out, diag->shape[1], false);
        }
        for (int k = 0; k < diag->help.count; k++) {
            fputs("%0Ahelp: ", out);
            print_escaped(out, diag->help.at[k], false);
        }
        fputc('\n', out);
    }
}
