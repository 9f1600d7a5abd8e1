// lint.c: names of sizes that are probably misspelled.
//
// A size that is named once in a signature and nowhere in the body stands for anything, so
// `float[batch, 64]` beside `float[bacth, 10]` checks nothing. A name used once that is one letter
// off another one is a warning.

#include "elab/internal.h"

#include <ctype.h>
#include <string.h>

typedef struct SizeUse {
    Sym name;
    Span span;
    int count;
} SizeUse;

typedef struct Lint {
    Cx *cx;
    Vec(SizeUse) use;
} Lint;

static void count_name(Node *node, void *data);

// Names in the sizes of a type.
static void walk(Node *node, void *data)
{
    if (node->kind == NODE_Name)
        count_name(node, data);
    node_each_child(node, walk, data);
}

static void count_name(Node *node, void *data)
{
    Lint *lint = data;
    for (int i = 0; i < lint->use.count; i++)
        if (lint->use.at[i].name == node->as.name.name) {
            lint->use.at[i].count++;
            return;
        }
    if (lint->use.count < 64)
        vec_push(lint->cx->arena, &lint->use, ((SizeUse){node->as.name.name, node->span, 1}));
}

typedef struct BodyUse {
    Lint *lint;
    int depth;
} BodyUse;

static void walk_body(Node *node, void *data)
{
    BodyUse *body = data;
    if (body->depth > 500)
        return;
    if (node->kind == NODE_Name)
        for (int i = 0; i < body->lint->use.count; i++)
            if (body->lint->use.at[i].name == node->as.name.name)
                body->lint->use.at[i].count++;
    body->depth++;
    node_each_child(node, walk_body, data);
    body->depth--;
}

// One letter replaced, left out, added, or two neighbours exchanged. A digit makes names different
// on purpose.
static bool one_letter_off(const char *a, const char *b)
{
    size_t left = strlen(a), right = strlen(b);
    if (left < right) {
        const char *swap = a;
        a = b;
        b = swap;
        size_t length = left;
        left = right;
        right = length;
    }
    if (right < 3 || left > right + 1)
        return false;
    size_t same = 0;
    while (same < right && a[same] == b[same])
        same++;
    if (isdigit((unsigned char)a[same]) || (same < right && isdigit((unsigned char)b[same])))
        return false;
    if (left > right)
        return strcmp(a + same + 1, b + same) == 0;
    if (same == right)
        return false;
    if (strcmp(a + same + 1, b + same + 1) == 0)
        return true;
    return a[same + 1] && a[same] == b[same + 1] && a[same + 1] == b[same] &&
           strcmp(a + same + 2, b + same + 2) == 0;
}

void elab_lint_signature(Elab *e, const NodeList *params, Node *result, Node *body)
{
    Lint lint = {.cx = e->cx};
    for (int i = 0; i < params->count; i++)
        if (params->at[i]->kind == NODE_Param && params->at[i]->as.param.type)
            walk(params->at[i]->as.param.type, &lint);
    if (result)
        walk(result, &lint);
    if (lint.use.count < 2)
        return;
    BodyUse in_body = {&lint, 0};
    if (body)
        walk_body(body, &in_body);
    for (int i = 0; i < lint.use.count; i++) {
        const SizeUse *use = &lint.use.at[i];
        for (int j = 0; use->count == 1 && j < lint.use.count; j++) {
            const SizeUse *other = &lint.use.at[j];
            // Of two names used once each, the second one is the suspect.
            if (j == i || !one_letter_off(use->name, other->name) || (other->count == 1 && j > i))
                continue;
            report(e->cx, use->span, similar_size, use->name, other->name);
            help(e->cx, "did you mean `%s`?", other->name);
            break;
        }
    }
}
