// token.h: what a token carries besides its kind.

#ifndef AML_TOKEN_H
#define AML_TOKEN_H

#include "ast/ast.h"

// A place in the text, and the `///` comment that stood before it.
typedef struct Loc {
    uint32_t start, end;
    Sym doc;
} Loc;

typedef struct NumberToken {
    double real;
    int64_t whole;
    bool is_whole;
    bool is_bad; // already reported
    Sym unit;    // NULL without
} NumberToken;

typedef struct ParseState ParseState;

#endif
