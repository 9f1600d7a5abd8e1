// The examples of the reference manual: every block between ```aml and ``` of the pages.
//
// A block that begins with `aml 1` is a program. One that begins with a declaration is one with
// the library in use. One whose lines are settings is put into a training. Of any other, each line
// is an expression with its value behind it, which the reference interpreter computes:
//
//     relu(stack([-1.0, 2.0]))      // [0, 2]

#include "elab/elab.h"
#include "sema/sema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void verdict(const char *page, int line, const char *wrong)
{
    if (wrong)
        printf("FAIL %s:%d: %s\n", page, line, wrong);
    else
        printf("PASS %s:%d\n", page, line);
    failures += wrong != NULL;
}

// The first lines of a program that uses all modules.
static const char *whole_library(Cx *cx)
{
    NameList names = {0};
    std_modules(cx, &names);
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "aml 1\n");
    for (int i = 0; i < names.count; i++)
        buffer_printf(&out, "use %s\n", names.at[i]);
    return out.text;
}

static bool begins_with(const char *text, const char *word)
{
    size_t length = strlen(word);
    return strncmp(text, word, length) == 0 && isspace((unsigned char)text[length]);
}

static bool is_declaration(const char *text)
{
    static const char *const words[] = {"model",    "fn",     "loss",     "metric",  "optimizer",
                                        "grad",     "const",  "option",   "dataset", "train",
                                        "evaluate", "deploy", "generate", "use"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (begins_with(text, words[i]))
            return true;
    return false;
}

static bool is_setting(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    return length > 0 && text[length] == ':';
}

// ---- programs

static const char *whole_program(Cx *cx, const char *text)
{
    Arena *arena = cx->arena;
    if (begins_with(text, "aml"))
        return text;
    if (is_declaration(text))
        return arena_printf(arena, "%s%s", whole_library(cx), text);
    static const char *const usual[][2] = {
        {"model", "Classifier()"},
        {"data", "points"},
        {"loss", "cross_entropy"},
        {"optimizer", "adamw(lr: 1e-3)"},
        {"length", "2 epochs"},
        {"batch", "8"},
        {"metrics", "{ accuracy: accuracy() }"},
    };
    Buffer out = {.arena = arena};
    buffer_text(&out, whole_library(cx));
    buffer_text(&out, "model Classifier {\n  fc = Dense(4)\n"
                      "  fn forward(x: float[n, 16]) -> float[n, 4] { return fc(x) }\n}\n"
                      "dataset points {\n  source: csv(\"points.csv\")\n"
                      "  field x: f32[16]  = columns(0..15)\n"
                      "  field y: class(4) = column(\"class\")\n"
                      "  split: { train: 80%, valid: 20% }\n}\n"
                      "train example {\n");
    for (size_t i = 0; i < COUNT_OF(usual); i++) {
        const char *own = arena_printf(arena, "\n%s:", usual[i][0]),
                   *lines = arena_printf(arena, "\n%s", text);
        if (!strstr(lines, own))
            buffer_printf(&out, "  %s: %s\n", usual[i][0], usual[i][1]);
    }
    buffer_printf(&out, "%s}\n", text);
    return out.text;
}

static const char *check_program(const char *text)
{
    Cx *cx = cx_new();
    const char *program = whole_program(cx, text);
    Unit *unit = unit_load_text(cx, "<example>", program, strlen(program));
    bool good = unit && diag_errors(cx) == 0 && elaborate(cx, unit) && diag_errors(cx) == 0;
    diag_print(cx, stdout, FORMAT_HUMAN, false);
    cx_free(cx);
    return good ? NULL : "it is not accepted";
}

// ---- expressions

static double element(Type type, const void *at, int64_t i)
{
    return type.dtype == DTYPE_F32   ? (double)((const float *)at)[i]
           : type.dtype == DTYPE_F64 ? ((const double *)at)[i]
           : type.dtype == DTYPE_I32 ? (double)((const int32_t *)at)[i]
           : type.dtype == DTYPE_I64 ? (double)((const int64_t *)at)[i]
                                     : (double)((const uint8_t *)at)[i];
}

static void show(Buffer *out, Type type, const void *at, int axis, int64_t *next)
{
    if (axis == type.rank) {
        double value = element(type, at, (*next)++);
        if (type.dtype == DTYPE_BOOL)
            buffer_text(out, value != 0 ? "true" : "false");
        else
            buffer_printf(out, "%.4g", value == 0 ? 0.0 : value);
        return;
    }
    buffer_text(out, "[");
    for (int64_t i = 0; i < type.dim[axis]; i++) {
        buffer_text(out, i ? ", " : "");
        show(out, type, at, axis + 1, next);
    }
    buffer_text(out, "]");
}

// The value of `fn example() = ...`, as text. NULL after a report.
static const char *value_of(Elab *e, Node *fn)
{
    Cx *cx = e->cx;
    Trace *trace = elab_trace_begin(e, sym_of(cx, "example"), fn->span);
    Value result = elab_call(e, value_function(e, fn, NULL), NULL, NULL, 0, fn->span);
    bool is_tensor = value_is(result, VALUE_TENSOR);
    if (is_tensor)
        elab_trace_output(e, result.as.tensor.inst, sym_of(cx, "y"));
    IrFunction *compiled = elab_trace_end(e, trace);
    if (value_is(result, VALUE_POISON) || !compiled)
        return NULL;
    if (!is_tensor)
        return value_show(e, result);
    void **param = NEW_ARRAY(cx->arena, void *, compiled->param.count + 1);
    for (int i = 0; i < compiled->param.count; i++) // the step and the seed
        param[i] = arena_alloc(cx->arena, (size_t)type_bytes(compiled->param.at[i]->type) + 8);
    Type type = compiled->result.at[0].value->type;
    void *out[1] = {arena_alloc(cx->arena, (size_t)type_bytes(type) + 8)};
    ir_evaluate(compiled, param, out);
    Buffer text = {.arena = cx->arena};
    int64_t next = 0;
    show(&text, type, out[0], 0, &next);
    return text.text;
}

static const char *check_line(Arena *arena, const char *line, size_t length)
{
    const char *text = arena_text(arena, line, length), *comment = strstr(text, "//");
    if (!comment)
        return "an expression needs its value behind it: EXPRESSION   // VALUE";
    const char *expected = comment + 2 + strspn(comment + 2, " "), *wrong = NULL;
    Cx *cx = cx_new();
    const char *program = arena_printf(cx->arena, "%sfn example() = %.*s\n", whole_library(cx),
                                       (int)(comment - text), text);
    Unit *unit = unit_load_text(cx, "<example>", program, strlen(program));
    if (!unit || diag_errors(cx) > 0) {
        wrong = "it is not accepted";
    } else {
        Elab *e = elab_new(cx, unit, ir_module_new(cx));
        elab_globals(e);
        Node *fn = unit_lookup(unit, unit->main->file, sym_of(cx, "example"));
        const char *found = value_of(e, fn);
        if (!found)
            wrong = "it has no value";
        else if (strcmp(found, expected) != 0)
            wrong = arena_printf(arena, "it gives %s, not %s", found, expected);
    }
    diag_print(cx, stdout, FORMAT_HUMAN, false);
    cx_free(cx);
    return wrong;
}

// ---- pages

static void check_block(Arena *arena, const char *page, int line, const char *text)
{
    if (begins_with(text, "aml") || is_declaration(text) || is_setting(text)) {
        verdict(page, line, check_program(text));
        return;
    }
    for (const char *at = text; *at; line++) {
        size_t length = strcspn(at, "\n");
        if (length > 0)
            verdict(page, line, check_line(arena, at, length));
        at += length + (at[length] == '\n');
    }
}

static void check_page(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        verdict(path, 0, "it cannot be read");
        return;
    }
    Cx *cx = cx_new();
    const char *slash = strrchr(path, '/'), *page = slash ? slash + 1 : path;
    Buffer block = {.arena = cx->arena};
    char line[4096];
    int number = 0, begin = 0;
    while (fgets(line, sizeof line, file)) {
        number++;
        if (begin && strncmp(line, "```", 3) == 0) {
            check_block(cx->arena, page, begin, block.text ? block.text : "");
            begin = 0;
        } else if (begin) {
            buffer_text(&block, line);
        } else if (strcmp(line, "```aml\n") == 0) {
            begin = number + 1;
            block = (Buffer){.arena = cx->arena};
        }
    }
    fclose(file);
    cx_free(cx);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        check_page(argv[i]);
    return failures ? 1 : 0;
}
