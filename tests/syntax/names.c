// names: the standard library parses and every name in it has a declaration; lookups say what they
// should.

#include "../check.h"
#include "sema/sema.h"

#include <stdlib.h>

static Unit *load(Cx *cx, const char *text)
{
    return unit_load_text(cx, "test.aml", text, strlen(text));
}

TEST(library_resolves)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\n");
    unit_resolve_library(unit);
    if (diag_errors(cx) + diag_warnings(cx) > 0)
        diag_print(cx, stdout, FORMAT_HUMAN, false);
    CHECK_INT(diag_errors(cx), 0);
    CHECK_INT(diag_warnings(cx), 0);
    cx_free(cx);
}

TEST(own_declaration_hides_the_library)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\nuse std.nn\nfn relu(x) = x\n");
    CHECK_INT(diag_errors(cx), 0);
    Node *node = unit_lookup(unit, unit->main->file, sym_of(cx, "relu"));
    CHECK(node && node->span.file == unit->main->file);
    CHECK(unit_std(unit, "relu") != node);
    CHECK(unit_lookup(unit, unit->main->file, sym_of(cx, "Dense")) != NULL);
    cx_free(cx);
}

TEST(library_needs_use)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\n");
    CHECK(unit_lookup(unit, unit->main->file, sym_of(cx, "Dense")) == NULL);
    CHECK(unit_std(unit, "Dense") != NULL);
    CHECK(unit_lookup(unit, unit->main->file, sym_of(cx, "exp")) != NULL);
    cx_free(cx);
}

TEST(grad_belongs_to_its_function)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\nfn f(x: float[...]) = x * x\ngrad f(x, dy) = 2 * x * dy\n");
    CHECK_INT(diag_errors(cx), 0);
    Node *fn = unit_lookup(unit, unit->main->file, sym_of(cx, "f"));
    CHECK(fn && unit_grad(unit, fn) && unit_grad(unit, fn)->kind == NODE_Grad);
    cx_free(cx);
}

TEST(file_doc)
{
    Cx *cx = cx_new();
    Unit *unit =
        load(cx, "aml 1\n\n/// What this is.\nuse std.nn\n/// Width.\nconst width: int = 3\n");
    CHECK_TEXT(unit->main->ast->as.file.doc, "What this is.");
    CHECK_TEXT(declaration_doc(unit_lookup(unit, unit->main->file, sym_of(cx, "width"))), "Width.");
    cx_free(cx);
}

TEST(huge_file_is_refused)
{
    Cx *cx = cx_new();
    size_t length = (size_t)17 << 20;
    char *text = arena_alloc(cx->arena, length + 1);
    memset(text, '\n', length);
    memcpy(text, "aml 1", 5);
    unit_load_text(cx, "huge.aml", text, length);
    CHECK_INT(diag_errors(cx), 1);
    cx_free(cx);
}

TEST(explain_knows_its_topics)
{
    static const char *const topics[] = {
        "E0301",  "w0302", "301", "shape_mismatch", "train", "train.clip", "dataset.split", "Dense",
        "cosine", "exp",   "KiB", "epochs",         "%",     "let",        "model"};
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        Cx *cx = cx_new();
        char *text = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&text, &length);
        int code = explain(cx, topics[i], out);
        fclose(out);
        bool said = text && strlen(text) > 10;
        free(text);
        cx_free(cx);
        if (code != 0 || !said)
            CHECK_FAIL("explain %s: code %d", topics[i], code);
    }
    static const char *const unknown[] = {
        "", "E9999", "train.clp", "nothing_like_it", "E", "12345678901234567890", "train."};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        Cx *cx = cx_new();
        int code = explain(cx, unknown[i], stdout);
        int errors = diag_errors(cx);
        cx_free(cx);
        if (code != 1 || errors != 1)
            CHECK_FAIL("explain '%s': code %d, %d errors", unknown[i], code, errors);
    }
}

int main(void)
{
    RUN(library_resolves);
    RUN(own_declaration_hides_the_library);
    RUN(library_needs_use);
    RUN(grad_belongs_to_its_function);
    RUN(file_doc);
    RUN(huge_file_is_refused);
    RUN(explain_knows_its_topics);
    CHECK_SUMMARY();
}
