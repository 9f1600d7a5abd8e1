// node.c: making, walking and dumping nodes, all of it expanded from ast.def.

#include "ast/ast.h"

#include <stdlib.h>
#include <string.h>

const char *const node_kind_name[NODE_COUNT] = {
#define NODE(Kind, field, fields, meaning) #Kind,
#include "ast/ast.def"
#undef NODE
};

const char *const oper_text[OPER_COUNT] = {
    [OPER_PIPE] = "|>", [OPER_RANGE] = "..", [OPER_OR] = "or", [OPER_AND] = "and",
    [OPER_NOT] = "not", [OPER_EQ] = "==",    [OPER_NE] = "!=", [OPER_LT] = "<",
    [OPER_LE] = "<=",   [OPER_GT] = ">",     [OPER_GE] = ">=", [OPER_ADD] = "+",
    [OPER_SUB] = "-",   [OPER_MUL] = "*",    [OPER_DIV] = "/", [OPER_MATMUL] = "@",
    [OPER_NEG] = "-",   [OPER_POW] = "**",
};

Node *node_new(Cx *cx, NodeKind kind, Span span)
{
    Node *node = NEW(cx->arena, Node);
    node->kind = kind;
    node->span = span;
    return node;
}

void node_each_child(Node *node, void (*visit)(Node *child, void *data), void *data)
{
    switch (node->kind) {
#define NAME(x)
#define TEXT(x)
#define CHILD(x) visit(here->x, data);
#define MAYBE(x)                                                                                   \
    if (here->x)                                                                                   \
        visit(here->x, data);
#define LIST(x)                                                                                    \
    for (int i = 0; i < here->x.count; i++)                                                        \
        visit(here->x.at[i], data);
#define FLAG(x)
#define OPER(x)
#define REAL(x)
#define WHOLE(x)
#define NODE(Kind, field, fields, meaning)                                                         \
    case NODE_##Kind: {                                                                            \
        Ast##Kind *here = &node->as.field;                                                         \
        (void)here;                                                                                \
        fields break;                                                                              \
    }
#include "ast/ast.def"
#undef NODE
#undef NAME
#undef TEXT
#undef CHILD
#undef MAYBE
#undef LIST
#undef FLAG
#undef OPER
#undef REAL
#undef WHOLE
    case NODE_COUNT:
        break;
    }
}

// ---- the dump: `Kind name: value ...`, children indented below their field's name where that says
// more than order

static void dump_quoted(Buffer *out, const char *text)
{
    buffer_text(out, "\"");
    for (; *text; text++) {
        if (*text == '\n')
            buffer_text(out, "\\n");
        else if (*text == '"' || *text == '\\')
            buffer_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            buffer_printf(out, "\\x%02x", (unsigned)*text);
        else
            buffer_append(out, text, 1);
    }
    buffer_text(out, "\"");
}

// The shortest text that reads back as the same number.
static void dump_real(Buffer *out, double value)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_text(out, text);
}

static void dump_at(const Node *node, const char *label, int depth, Buffer *out)
{
    buffer_printf(out, "%*s%s%s%s", depth * 2, "", label ? label : "", label ? ": " : "",
                  node_kind_name[node->kind]);
    switch (node->kind) {
        // first what fits the line, then the children
#define NAME(x)                                                                                    \
    if (here->x)                                                                                   \
        buffer_printf(out, " %s=%s", #x, here->x);
#define TEXT(x)                                                                                    \
    if (here->x)                                                                                   \
        buffer_printf(out, " %s=", #x), dump_quoted(out, here->x);
#define CHILD(x)
#define MAYBE(x)
#define LIST(x)
#define FLAG(x)                                                                                    \
    if (here->x)                                                                                   \
        buffer_printf(out, " %s", #x);
#define OPER(x) buffer_printf(out, " %s", oper_text[here->x]);
#define REAL(x) buffer_text(out, " "), dump_real(out, here->x);
#define WHOLE(x) buffer_printf(out, " %lld", (long long)here->x);
#define NODE(Kind, field, fields, meaning)                                                         \
    case NODE_##Kind: {                                                                            \
        const Ast##Kind *here = &node->as.field;                                                   \
        (void)here;                                                                                \
        fields break;                                                                              \
    }
#include "ast/ast.def"
#undef NODE
    case NODE_COUNT:
        break;
    }
    buffer_text(out, "\n");
    switch (node->kind) {
#undef NAME
#undef TEXT
#undef CHILD
#undef MAYBE
#undef LIST
#undef FLAG
#undef OPER
#undef REAL
#undef WHOLE
#define NAME(x)
#define TEXT(x)
#define CHILD(x) dump_at(here->x, #x, depth + 1, out);
#define MAYBE(x)                                                                                   \
    if (here->x)                                                                                   \
        dump_at(here->x, #x, depth + 1, out);
#define LIST(x)                                                                                    \
    for (int i = 0; i < here->x.count; i++)                                                        \
        dump_at(here->x.at[i], #x, depth + 1, out);
#define FLAG(x)
#define OPER(x)
#define REAL(x)
#define WHOLE(x)
#define NODE(Kind, field, fields, meaning)                                                         \
    case NODE_##Kind: {                                                                            \
        const Ast##Kind *here = &node->as.field;                                                   \
        (void)here;                                                                                \
        fields break;                                                                              \
    }
#include "ast/ast.def"
#undef NODE
    case NODE_COUNT:
        break;
    }
}

void node_dump(Cx *cx, const Node *node, Buffer *out)
{
    if (!out->arena)
        out->arena = cx->arena;
    dump_at(node, NULL, 0, out);
}
