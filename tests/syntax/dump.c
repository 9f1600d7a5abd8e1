// dump: parses one file and prints its tree and the mistakes in it, or with --comments its
// comments. Fails if a node does not lie within its parent's place in the text.

#include <stdlib.h>
#include <string.h>

#include "ast/ast.h"
#include "diag/diag.h"

typedef struct Nesting {
    Node *parent;
    int violations;
} Nesting;

static void check_nesting(Node *child, void *data)
{
    Nesting *nesting = data;
    Span outer = nesting->parent->span, inner = child->span;
    if (inner.file != outer.file || inner.start < outer.start || inner.end > outer.end ||
        inner.start > inner.end) {
        fprintf(stderr, "%s at %u..%u does not lie within %s at %u..%u\n",
                node_kind_name[child->kind], inner.start, inner.end,
                node_kind_name[nesting->parent->kind], outer.start, outer.end);
        nesting->violations++;
    }
    Nesting below = {child, 0};
    node_each_child(child, check_nesting, &below);
    nesting->violations += below.violations;
}

int main(int count, char **args)
{
    bool comments = count == 3 && strcmp(args[1], "--comments") == 0;
    if (count != 2 && !comments) {
        fprintf(stderr, "usage: dump [--comments] FILE\n");
        return 2;
    }
    Cx *cx = cx_new();
    char *text;
    size_t length;
    if (!file_read(cx->arena, args[count - 1], (size_t)64 << 20, &text, &length)) {
        perror(args[count - 1]);
        cx_free(cx);
        return 2;
    }
    const char *name = strrchr(args[count - 1], '/');
    uint32_t file = source_add(cx, name ? name + 1 : args[count - 1], text, length, false);
    CommentList list = {0};
    Node *tree = parse_file(cx, file, &list);
    if (comments) {
        for (int i = 0; i < list.count; i++) {
            Place place = source_place(cx, list.at[i].span);
            printf("%d:%d %s%s %.*s\n", place.line, place.column,
                   list.at[i].own_line ? "own line" : "behind", list.at[i].is_doc ? " doc" : "",
                   (int)(list.at[i].span.end - list.at[i].span.start),
                   text + list.at[i].span.start);
        }
    } else {
        Buffer out = {.arena = cx->arena};
        node_dump(cx, tree, &out);
        fputs(out.text, stdout);
        diag_print(cx, stdout, FORMAT_SHORT, false);
    }
    int errors = diag_errors(cx);
    Nesting nesting = {tree, 0};
    node_each_child(tree, check_nesting, &nesting);
    cx_free(cx);
    if (nesting.violations)
        return 3;
    return errors ? 1 : 0;
}
