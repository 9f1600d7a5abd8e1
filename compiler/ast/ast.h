// ast/: the syntax tree.
//
// One Node type; its kinds are the rows of ast.def. A tree has no holes: every CHILD is present (an
// Error node stands where text did not parse) and every node has a byte span.

#ifndef AML_AST_H
#define AML_AST_H

#include "base/base.h"

// Operators, with the text they are written as. OPER_RANGE is `..`, OPER_PIPE is `|>`.
typedef enum Oper {
    OPER_PIPE,
    OPER_RANGE,
    OPER_OR,
    OPER_AND,
    OPER_NOT,
    OPER_EQ,
    OPER_NE,
    OPER_LT,
    OPER_LE,
    OPER_GT,
    OPER_GE,
    OPER_ADD,
    OPER_SUB,
    OPER_MUL,
    OPER_DIV,
    OPER_MATMUL,
    OPER_NEG,
    OPER_POW,
    OPER_COUNT
} Oper;
extern const char *const oper_text[OPER_COUNT];

typedef enum NodeKind {
#define NODE(Kind, field, fields, meaning) NODE_##Kind,
#include "ast/ast.def"
#undef NODE
    NODE_COUNT
} NodeKind;
extern const char *const node_kind_name[NODE_COUNT];

typedef struct Node Node;
typedef Vec(Node *) NodeList;

#define NAME(x)                                                                                    \
    Sym x;                                                                                         \
    Span x##_span;
#define TEXT(x) Sym x;
#define CHILD(x) Node *x;
#define MAYBE(x) Node *x;
#define LIST(x) NodeList x;
#define FLAG(x) bool x;
#define OPER(x) Oper x;
#define REAL(x) double x;
#define WHOLE(x) int64_t x;
#define NODE(Kind, field, fields, meaning)                                                         \
    typedef struct Ast##Kind {                                                                     \
        fields char unused;                                                                        \
    } Ast##Kind;
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

struct Node {
    NodeKind kind;
    Span span;
    union {
#define NODE(Kind, field, fields, meaning) Ast##Kind field;
#include "ast/ast.def"
#undef NODE
    } as;
};

// A comment or a run of blank lines, kept for the formatter, in file order.
typedef struct Comment {
    Span span;
    bool is_doc;   // ///
    bool own_line; // nothing but blanks before it on its line
} Comment;
typedef Vec(Comment) CommentList;

// node.c: making, walking and dumping nodes
Node *node_new(Cx *cx, NodeKind kind, Span span);
void node_each_child(Node *node, void (*visit)(Node *child, void *data),
                     void *data); // direct children, in order
void node_dump(Cx *cx, const Node *node,
               Buffer *out); // an indented tree, one node a line; --emit=ast

// grammar/: the parser. Always returns a File node; syntax errors were reported to cx. `comments`
// may be NULL.
Node *parse_file(Cx *cx, uint32_t file, CommentList *comments);
// The one declaration in a part of a file of the library, which has none of the mistakes that are
// looked for in whole files.
Node *parse_declaration(Cx *cx, Span part);
// The same as parse_file; `lost` gets the names in text that was skipped after a mistake: they may
// have been declared there.
Node *parse_file_lost(Cx *cx, uint32_t file, CommentList *comments, Map *lost);
// One token a line, as the parser gets them; --emit=tokens.
void tokens_dump(Cx *cx, uint32_t file, Buffer *out);

#endif
