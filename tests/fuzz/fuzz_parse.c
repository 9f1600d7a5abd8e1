// Scanner and parser: any bytes give a tree without holes and diagnostics, never more.

#include "ast/ast.h"
#include "diag/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(Node *node, void *count)
{
    ++*(int *)count;
    if (!node)
        __builtin_trap();
    node_each_child(node, visit, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Cx *cx = cx_new();
    uint32_t file = source_add(cx, "fuzz.aml", (const char *)data, size, false);
    int nodes = 0;
    visit(parse_file(cx, file, NULL), &nodes);
    FILE *nowhere = fopen("/dev/null", "w");
    diag_print(cx, nowhere, FORMAT_HUMAN, true);
    diag_print(cx, nowhere, FORMAT_SARIF, false);
    fclose(nowhere);
    cx_free(cx);
    return 0;
}
