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

static bool same_tree(Cx *cx, const Node *a, const Node *b)
{
    Buffer left = {.arena = cx->arena}, right = {.arena = cx->arena};
    node_dump(cx, a, &left);
    node_dump(cx, b, &right);
    return strcmp(left.text, right.text) == 0;
}

TEST(library_in_parts_is_as_in_whole)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\n");
    int unread = 0;
    for (int i = 0; i < unit->file.count; i++) {
        UnitFile *file = unit->file.at[i];
        if (!file->is_std)
            continue;
        const NodeList *whole = &parse_file(cx, file->file, NULL)->as.file.decls;
        for (int k = 0; k < whole->count; k++) {
            const Node *node = whole->at[k];
            if (node->kind == NODE_Use)
                continue;
            Node *part = map_get(unit_map_of(unit, file, node->kind), declaration_name(node));
            if (!part) {
                CHECK_FAIL("'%s' is not found", declaration_name(node));
                continue;
            }
            unread += part->kind == NODE_Unread;
            if (!same_tree(cx, library_read(unit, part), node))
                CHECK_FAIL("'%s' is read as something else", declaration_name(node));
        }
    }
    CHECK(unread > 100); // what nobody mentions is not read
    unit_read_library(unit);
    CHECK_INT(diag_errors(cx), 0);
    cx_free(cx);
}

TEST(library_is_read_as_it_is_needed)
{
    Cx *cx = cx_new();
    Unit *unit = load(cx, "aml 1\nuse std.nn\nmodel M {\n  a = Dense(3)\n"
                          "  fn forward(x: float[n, 2]) = a(x)\n}\n");
    CHECK_INT(diag_errors(cx), 0);
    const Node *dense = map_get(&unit->std, sym_of(cx, "Dense"));
    const Node *conv = map_get(&unit->std, sym_of(cx, "Conv2d"));
    CHECK(dense && dense->kind == NODE_Model);
    CHECK(conv && conv->kind == NODE_Unread);
    CHECK(unit_std(unit, "Conv2d") == conv && conv->kind == NODE_Model);
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
    RUN(library_in_parts_is_as_in_whole);
    RUN(library_is_read_as_it_is_needed);
    RUN(own_declaration_hides_the_library);
    RUN(library_needs_use);
    RUN(grad_belongs_to_its_function);
    RUN(file_doc);
    RUN(huge_file_is_refused);
    RUN(explain_knows_its_topics);
    CHECK_SUMMARY();
}
