// match.h: what types.c, sizes.c and match.c share.

#ifndef AML_MATCH_H
#define AML_MATCH_H

#include "elab/internal.h"

typedef enum TypeName {
#define TYPE_NAME(name, what) TYPE_##name,
#include "elab/types.def"
#undef TYPE_NAME
    TYPE_NAMES,
    TYPE_element = TYPE_NAMES, // of dtypes.def
    TYPE_declaration,          // the name of a model, metric or optimizer
    TYPE_unknown
} TypeName;

// One annotation against one value. `quiet`: only tries.
typedef struct Matching {
    Elab *e;
    Env *env;
    const Subject *what;
    Span span;
    bool quiet;
} Matching;

// ---- types.c
const char *type_name_what(TypeName name);           // "a duration"
TypeName type_name(Elab *e, Node *type);             // of a Type node
void unknown_type(Elab *e, Node *type);              // reports it
void text_of_node(Elab *e, Node *node, Buffer *out); // as it is written
// `actual`: the sizes found, shown for names that are not known, so that only real differences are
// marked; may be NULL.
const char *type_text_with(Elab *e, Env *env, Node *type, const Type *actual, bool names);

// ---- sizes.c
typedef enum { SIZE_KNOWN, SIZE_UNKNOWN, SIZE_BAD } SizeState;
// What a size expression is worth; *unknown gets a size to be inferred, *fresh a name that means
// nothing yet.
SizeState size_value(Elab *e, Env *env, Node *node, int64_t *out, Dim **unknown, Node **fresh);
// Makes the expression worth `size` by giving its one unknown name a value. False: it cannot be;
// *bad: already reported.
bool size_solve(const Matching *m, Node *node, int64_t size, const Type *actual, bool *bad);
void note_origins(const Matching *m, Node *node);
bool match_dims(const Matching *m, Node *type, const Type *actual);

#endif
