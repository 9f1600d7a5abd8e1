// names: the standard library parses and every name in it has a declaration; lookups say what they should.

#include "../check.h"
#include "sema/sema.h"

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
    Unit *unit = load(cx, "aml 1\n\n/// What this is.\nuse std.nn\n/// Width.\nconst width: int = 3\n");
    CHECK_TEXT(unit->main->ast->as.file.doc, "What this is.");
    CHECK_TEXT(declaration_doc(unit_lookup(unit, unit->main->file, sym_of(cx, "width"))), "Width.");
    cx_free(cx);
}

int main(void)
{
    RUN(library_resolves);
    RUN(own_declaration_hides_the_library);
    RUN(library_needs_use);
    RUN(grad_belongs_to_its_function);
    RUN(file_doc);
    CHECK_SUMMARY();
}
