// Expressions and what they are worth. Every line `const NAME = ...  //= VALUE` of the given
// programs is evaluated, every `fn NAME() = ...  //= VALUE` is traced, verified, run with the
// reference interpreter, and shown: the type and the elements. `//= ops: N` counts instructions
// instead. Weights and states read as 0.5, the step as 3 of 100, an epoch has 10 steps, the seed
// is 42.

#include "check.h"

#include "elab/elab.h"
#include "sema/sema.h"

#include <stdlib.h>

// What the line at which `span` begins says after `//=`, NULL if nothing.
static const char *expectation(Cx *cx, Span span)
{
    Span line = source_line_span(cx, span);
    const char *text = source_file(cx, line.file)->text;
    for (uint32_t i = line.start; i + 3 < line.end; i++)
        if (memcmp(text + i, "//=", 3) == 0) {
            uint32_t from = i + 3;
            while (from < line.end && text[from] == ' ')
                from++;
            return arena_text(cx->arena, text + from, line.end - from);
        }
    return NULL;
}

static double element(Type type, const void *at, int64_t index)
{
    switch (type.dtype) {
    case DTYPE_F32:
        return (double)((const float *)at)[index];
    case DTYPE_F64:
        return ((const double *)at)[index];
    case DTYPE_I32:
        return (double)((const int32_t *)at)[index];
    case DTYPE_I64:
        return (double)((const int64_t *)at)[index];
    case DTYPE_I8:
        return (double)((const int8_t *)at)[index];
    case DTYPE_U8:
    case DTYPE_BOOL:
        return (double)((const uint8_t *)at)[index];
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_COUNT:
        break;
    }
    return NAN;
}

static void put(Type type, void *at, double value)
{
    for (int64_t i = 0; i < type_elements(type); i++)
        switch (type.dtype) {
        case DTYPE_F32:
            ((float *)at)[i] = (float)value;
            break;
        case DTYPE_F64:
            ((double *)at)[i] = value;
            break;
        case DTYPE_I32:
            ((int32_t *)at)[i] = (int32_t)value;
            break;
        case DTYPE_I64:
            ((int64_t *)at)[i] = (int64_t)value;
            break;
        case DTYPE_I8:
        case DTYPE_U8:
        case DTYPE_BOOL:
        case DTYPE_F16:
        case DTYPE_BF16:
        case DTYPE_COUNT:
            break;
        }
}

static double scalar_input(const Elab *e, const aml_scalar_info *scalar)
{
    switch (scalar->kind) {
    case AML_SCALAR_SAMPLE:
    case AML_SCALAR_STEP:
    case AML_SCALAR_POSITION:
        return 3;
    case AML_SCALAR_TOTAL_STEPS:
        return 100;
    case AML_SCALAR_EPOCH_STEPS:
        return 10;
    case AML_SCALAR_SEED:
        return 42;
    case AML_SCALAR_LIMIT:
        return 1e6;
    case AML_SCALAR_MEASURED:
        return 0.25;
    case AML_SCALAR_RATE:
        return 0;
    case AML_SCALAR_OPTION:
        return value_is_number(e->option.at[scalar->index].value)
                   ? value_number(e->option.at[scalar->index].value)
                   : e->option.at[scalar->index].value.as.quantity.value;
    }
    return 0;
}

static void add_results(Elab *e, Value value, Span span)
{
    if (value.kind == VALUE_TUPLE || value.kind == VALUE_LIST) {
        for (int i = 0; i < value.as.list.count; i++)
            add_results(e, value.as.list.at[i], span);
        return;
    }
    if (value.kind == VALUE_TREE) {
        for (int i = 0; i < value.as.tree->count; i++)
            elab_trace_output(e, value.as.tree->at[i], NULL);
        return;
    }
    Inst *inst = elab_tensor(e, value, value.kind == VALUE_INT ? DTYPE_I64 : e->real, span);
    if (inst)
        elab_trace_output(e, inst, NULL);
}

static int count_instructions(const IrFunction *fn)
{
    int count = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count++;
    return count;
}

static const char *run(Elab *e, const Trace *trace, IrFunction *fn)
{
    Arena *arena = e->cx->arena;
    void **in = NEW_ARRAY(arena, void *, fn->param.count + 1),
         **out = NEW_ARRAY(arena, void *, fn->result.count + 1);
    for (int i = 0; i < fn->param.count; i++) {
        Type type = fn->param.at[i]->type;
        in[i] = arena_alloc(arena, (size_t)type_bytes(type) + 8);
        put(type, in[i],
            fn->param_slot.at[i].kind == SLOT_SCALAR
                ? scalar_input(e, &trace->scalar.at[fn->param_slot.at[i].index])
                : 0.5);
    }
    for (int i = 0; i < fn->result.count; i++)
        out[i] = arena_alloc(arena, (size_t)type_bytes(fn->result.at[i].value->type) + 8);
    ir_evaluate(fn, in, out);
    Buffer text = {.arena = arena};
    buffer_text(&text, "");
    for (int i = 0; i < fn->result.count; i++) {
        Type type = fn->result.at[i].value->type;
        if (i > 0)
            buffer_text(&text, "; ");
        if (fn->result.at[i].slot.kind == SLOT_STATE)
            buffer_printf(&text, "%s = ", fn->result.at[i].name);
        buffer_text(&text, type_text(arena, type));
        for (int64_t j = 0; j < type_elements(type); j++)
            buffer_printf(&text, " %.5g", element(type, out[i], j) + 0.0);
    }
    return text.text;
}

static const char *traced(Elab *e, Node *fn, bool count)
{
    e->table = NEW(e->cx->arena, StateTable); // each at an address of its own: cells remember it
    Trace *trace = elab_trace_begin(e, fn->as.fn.name, fn->span);
    add_results(e, elab_call(e, elab_declaration(e, fn), NULL, NULL, 0, fn->as.fn.name_span),
                fn->span);
    IrFunction *made = elab_trace_end(e, trace);
    e->table = NULL;
    if (!made)
        return "refused";
    return count ? arena_printf(e->cx->arena, "ops: %d", count_instructions(made))
                 : run(e, trace, made);
}

static void check_program(const char *path)
{
    Cx *cx = cx_new();
    Unit *unit = unit_load(cx, path);
    if (!unit || diag_errors(cx) > 0) {
        printf("FAIL %s: the program is not accepted\n", path);
        check_failures++;
        diag_print(cx, stdout, FORMAT_HUMAN, false);
        cx_free(cx);
        return;
    }
    Elab *e = elab_new(cx, unit, ir_module_new(cx));
    elab_globals(e);
    const NodeList *decls = &unit->main->ast->as.file.decls;
    for (int i = 0; i < decls->count; i++) {
        Node *node = decls->at[i];
        if (node->kind != NODE_Const && node->kind != NODE_Fn)
            continue;
        const char *expected = expectation(cx, node->span);
        if (!expected)
            continue;
        Sym name = declaration_name(node);
        const char *found = node->kind == NODE_Const
                                ? value_show(e, elab_declaration(e, node))
                                : traced(e, node, strncmp(expected, "ops:", 4) == 0);
        if (strcmp(found, expected) == 0)
            printf("PASS %s\n", name);
        else
            printf("FAIL %s: %s, expected %s\n", name, found, expected);
        check_failures += strcmp(found, expected) != 0;
    }
    elab_check_unused(e);
    if (diag_errors(cx) > 0) {
        printf("FAIL %s: there were errors\n", path);
        check_failures++;
        diag_print(cx, stdout, FORMAT_HUMAN, false);
    }
    cx_free(cx);
}

// ---- -D

typedef struct Defined {
    int errors;
    const char *value; // of the const `width`
} Defined;

static Defined define(Cx *cx, const char *source, const char *name, const char *value)
{
    vec_push(cx->arena, &cx->define, ((Define){sym_of(cx, name), value, false}));
    Unit *unit = unit_load_text(cx, "defined.aml", source, strlen(source));
    Elab *e = elab_new(cx, unit, ir_module_new(cx));
    elab_globals(e);
    Node *width = elab_lookup(e, unit->main->file, sym_of(cx, "width"));
    const char *shown = value_show(e, elab_declaration(e, width));
    return (Defined){diag_errors(cx), shown};
}

static const char *const sized = "aml 1\nconst width: int = 8\nconst twice = 2 * width\nconst "
                                 "length = 40 epochs\nconst path = \"a\"\n";

TEST(define_replaces)
{
    Cx *cx = cx_new();
    Defined found = define(cx, sized, "width", "2 * 16");
    int errors = found.errors;
    bool same = strcmp(found.value, "32") == 0;
    cx_free(cx);
    CHECK_INT(errors, 0);
    CHECK(same);
}

TEST(define_of_wrong_type)
{
    const char *const wrong[][2] = {{"width", "1.5"},    {"width", "true"}, {"width", "wide"},
                                    {"width", "2)"},     {"width", ""},     {"length", "40"},
                                    {"length", "3 MiB"}, {"twice", "1.5"},  {"widht", "16"}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Cx *cx = cx_new();
        int errors = define(cx, sized, wrong[i][0], wrong[i][1]).errors;
        cx_free(cx);
        if (errors != 1)
            CHECK_FAIL("-D %s=%s gives %d errors, expected one", wrong[i][0], wrong[i][1], errors);
    }
}

TEST(define_of_right_type)
{
    const char *const right[][2] = {{"width", "16"},
                                    {"length", "500 epochs"},
                                    {"path", "\"b\""},
                                    {"path", "b"},
                                    {"twice", "7"}};
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        Cx *cx = cx_new();
        int errors = define(cx, sized, right[i][0], right[i][1]).errors;
        cx_free(cx);
        if (errors != 0)
            CHECK_FAIL("-D %s=%s is refused", right[i][0], right[i][1]);
    }
}

int main(int argc, char **argv)
{
    RUN(define_replaces);
    RUN(define_of_wrong_type);
    RUN(define_of_right_type);
    for (int i = 1; i < argc; i++)
        check_program(argv[i]);
    CHECK_SUMMARY();
}
