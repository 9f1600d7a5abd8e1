// sizes.c: sizes in annotations: bound, solved for, compared.
//
// A dimension name is bound at its first use in a call and compared afterwards. Every size
// remembers where it came from, so that a disagreement can show both places.

#include "elab/match.h"

#include <inttypes.h>
#include <string.h>

Dim *dim_new(Elab *e, Sym name, Span declared)
{
    Dim *dim = NEW(e->cx->arena, Dim);
    dim->name = name;
    dim->declared = declared;
    return dim;
}

const char *subject_text(Elab *e, const Subject *what)
{
    return arena_printf(e->cx->arena, "%s%s%s%s", what->before ? what->before : "",
                        what->name ? what->name : "", what->after ? what->after : "",
                        what->of ? subject_text(e, what->of) : "");
}

static const Origin *origin_of(Elab *e, const Subject *what, const Type *type)
{
    Origin *origin = NEW(e->cx->arena, Origin);
    *origin = (Origin){.what = *what, .type = *type};
    if (what->of) { // it may be gone when it is talked of
        origin->of = *what->of;
        origin->what.of = &origin->of;
    }
    return origin;
}

bool dim_set(Elab *e, Dim *dim, int64_t value, Span bound, const Subject *what, const Type *type)
{
    if (dim->known)
        return dim->value == value;
    dim->known = true;
    dim->value = value;
    dim->bound = bound;
    dim->from = origin_of(e, what, type);
    return true;
}

SizeState size_value(Elab *e, Env *env, Node *node, int64_t *out, Dim **unknown, Node **fresh)
{
    switch ((int)node->kind) {
    case NODE_Integer:
        *out = node->as.integer.value;
        return SIZE_KNOWN;
    case NODE_Name: {
        Value *found = env_find(env, node->as.name.name);
        if (found && found->kind == VALUE_DIM) {
            Dim *dim = found->as.dim;
            *out = dim->value;
            *unknown = dim->known ? *unknown : dim;
            return dim->known ? SIZE_KNOWN : SIZE_UNKNOWN;
        }
        if (found && found->kind == VALUE_INT) {
            *out = found->as.whole;
            return SIZE_KNOWN;
        }
        if (found && found->kind == VALUE_POISON)
            return SIZE_BAD;
        if (!found) {
            Node *declared = elab_lookup(e, env->file, node->as.name.name);
            if (declared && (declared->kind == NODE_Const || declared->kind == NODE_Option)) {
                Value value = elab_declaration(e, declared);
                return elab_int(e, value, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
            }
            *fresh = node;
            return SIZE_UNKNOWN;
        }
        return elab_int(e, *found, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    }
    case NODE_Binary: {
        int64_t left, right;
        SizeState a = size_value(e, env, node->as.binary.left, &left, unknown, fresh);
        SizeState b = size_value(e, env, node->as.binary.right, &right, unknown, fresh);
        if (a == SIZE_BAD || b == SIZE_BAD)
            return SIZE_BAD;
        if (a == SIZE_UNKNOWN || b == SIZE_UNKNOWN)
            return SIZE_UNKNOWN;
        Value value =
            elab_number_op(e, node->as.binary.op, value_int(left), value_int(right), node->span);
        return elab_int(e, value, out, "a size", node->span) ? SIZE_KNOWN : SIZE_BAD;
    }
    case NODE_Call:
        for (int i = 0; i < node->as.call.args.count; i++) {
            int64_t ignored;
            SizeState state = size_value(e, env, node->as.call.args.at[i]->as.arg.value, &ignored,
                                         unknown, fresh);
            if (state == SIZE_UNKNOWN)
                return state;
        }
        return elab_int(e, elab_eval(e, env, node), out, "a size", node->span) ? SIZE_KNOWN
                                                                               : SIZE_BAD;
    default:
        return elab_int(e, elab_eval(e, env, node), out, "a size", node->span) ? SIZE_KNOWN
                                                                               : SIZE_BAD;
    }
}

static bool has_unknown(Elab *e, Env *env, Node *node, bool *bad)
{
    int64_t ignored;
    Dim *unknown = NULL;
    Node *fresh = NULL;
    SizeState state = size_value(e, env, node, &ignored, &unknown, &fresh);
    *bad = *bad || state == SIZE_BAD;
    return state == SIZE_UNKNOWN;
}

bool size_solve(const Matching *m, Node *node, int64_t size, const Type *actual, bool *bad)
{
    Elab *e = m->e;
    if (!elab_tick(e, node->span, 1)) {
        *bad = true;
        return false;
    }
    int64_t known;
    Dim *unknown = NULL;
    Node *fresh = NULL;
    SizeState state = size_value(e, m->env, node, &known, &unknown, &fresh);
    if (state == SIZE_BAD) {
        *bad = true;
        return false;
    }
    if (state == SIZE_KNOWN)
        return known == size;
    if (node->kind == NODE_Name) {
        Dim *dim = unknown ? unknown : dim_new(e, node->as.name.name, node->span);
        dim_set(e, dim, size, m->span, m->what, actual);
        if (!unknown)
            env_bind(e, m->env, node->as.name.name, (Value){.kind = VALUE_DIM, .as.dim = dim});
        return true;
    }
    if (node->kind == NODE_Binary) {
        Node *left = node->as.binary.left, *right = node->as.binary.right;
        bool left_unknown = has_unknown(e, m->env, left, bad),
             right_unknown = has_unknown(e, m->env, right, bad);
        int64_t other;
        Dim *u = NULL;
        Node *f = NULL;
        if (*bad)
            return false;
        if (left_unknown != right_unknown &&
            size_value(e, m->env, left_unknown ? right : left, &other, &u, &f) == SIZE_KNOWN) {
            Node *open = left_unknown ? left : right;
            if (other > -((int64_t)1 << 40) && other < (int64_t)1 << 40) {
                if (node->as.binary.op == OPER_ADD)
                    return size_solve(m, open, size - other, actual, bad);
                if (node->as.binary.op == OPER_SUB)
                    return size_solve(m, open, left_unknown ? size + other : other - size, actual,
                                      bad);
                if (node->as.binary.op == OPER_MUL && other != 0)
                    return size % other == 0 && size_solve(m, open, size / other, actual, bad);
                if (node->as.binary.op == OPER_DIV && left_unknown && size < (int64_t)1 << 20 &&
                    other < (int64_t)1 << 20)
                    return size_solve(m, open, size * other, actual, bad);
            }
        }
    }
    if (!m->quiet) {
        report(e->cx, node->span, size_not_known,
               fresh                      ? fresh->as.name.name
               : unknown && unknown->name ? unknown->name
                                          : "_");
        help(e->cx, "use the name alone in an earlier place of the signature");
    }
    *bad = true;
    return false;
}

void note_origins(const Matching *m, Node *node)
{
    if (node->kind == NODE_Binary) {
        note_origins(m, node->as.binary.left);
        note_origins(m, node->as.binary.right);
        return;
    }
    if (node->kind != NODE_Name)
        return;
    Value *found = env_find(m->env, node->as.name.name);
    if (found && found->kind == VALUE_DIM) {
        Dim *dim = found->as.dim;
        if (dim->known && dim->from)
            note(m->e->cx, dim->bound, "%s = %" PRId64 ": %s is %s", node->as.name.name, dim->value,
                 subject_text(m->e, &dim->from->what), type_text(m->e->cx->arena, dim->from->type));
    }
}

static void report_shape(const Matching *m, Node *type, const Type *actual, Node *wrong)
{
    Elab *e = m->e;
    const char *found = type_text(e->cx->arena, *actual);
    report(e->cx, m->span, shape_mismatch, subject_text(e, m->what),
           elab_type_text(e, m->env, type), found);
    report_shapes(e->cx, "expected", type_text_with(e, m->env, type, actual, false), "found",
                  found);
    if (wrong)
        note_origins(m, wrong);
    note(e->cx, type->span, "declared here");
}

bool match_dims(const Matching *m, Node *type, const Type *actual)
{
    const NodeList *dims = &type->as.type.dims;
    int rest = -1;
    for (int i = 0; i < dims->count; i++)
        if (dims->at[i]->kind == NODE_Rest) {
            if (rest >= 0) {
                report(m->e->cx, dims->at[i]->span, bad_type, "a second `...`");
                help(m->e->cx, "`...` stands for any number of sizes: with two of them it is open "
                               "which sizes belong to which");
                return false;
            }
            rest = i;
        }
    int stated = dims->count - (rest >= 0);
    if (rest >= 0 ? actual->rank < stated : actual->rank != stated) {
        if (!m->quiet)
            report_shape(m, type, actual, NULL);
        return false;
    }
    for (int i = 0; i < dims->count; i++) {
        Node *dim = dims->at[i];
        int place = rest < 0 || i < rest ? i : actual->rank - dims->count + i;
        bool bad = false;
        if (dim->kind == NODE_Rest || dim->kind == NODE_Hole || dim->kind == NODE_Error)
            continue;
        if (size_solve(m, dim, actual->dim[place], actual, &bad))
            continue;
        if (!m->quiet && !bad)
            report_shape(m, type, actual, dim);
        return false;
    }
    return true;
}
