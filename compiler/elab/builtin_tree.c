// builtin_tree.c: the weights of a model as a value (a tree: one tensor for each weight), and
// models with other weights than their own.
//
// `m - rate * slopes` is the model m with other weights: an instance that is called like m. While
// it is called, the trace takes the tree's tensors for the current values of the weights, so
// nothing inside the model has to know. This is what meta-learning needs: the result is
// differentiable with respect to the weights that the tree was made of.

#include "elab/builtin.h"

#include <string.h>

#include "elab/internal.h"

static bool is_model(Value value)
{
    return value.kind == VALUE_INSTANCE &&
           (!value.as.instance->declaration || value.as.instance->declaration->kind == NODE_Model);
}

// ---- models with other weights

Replaced elab_replace_begin(Elab *e, const Instance *instance)
{
    Replaced saved = {.tree = instance->weights};
    if (!saved.tree)
        return saved;
    if (!e->trace || e->trace->callee) {
        saved.tree = NULL; // reading any weight is refused here
        return saved;
    }
    saved.current = NEW_ARRAY(e->cx->arena, Inst *, saved.tree->count + 1);
    saved.replaced = NEW_ARRAY(e->cx->arena, bool, saved.tree->count + 1);
    for (int i = 0; i < saved.tree->count; i++) {
        CellUse *use = elab_cell_use(e, saved.tree->cell[i]);
        saved.current[i] = use->current;
        saved.replaced[i] = use->replaced;
        use->current = saved.tree->at[i];
        use->replaced = true;
    }
    return saved;
}

void elab_replace_end(Elab *e, const Replaced *saved)
{
    for (int i = 0; saved->tree && i < saved->tree->count; i++) {
        CellUse *use = elab_cell_use(e, saved->tree->cell[i]);
        use->current = saved->current[i];
        use->replaced = saved->replaced[i];
    }
}

static Inst *tree_find(const TreeValue *tree, const Cell *cell)
{
    for (int i = 0; tree && i < tree->count; i++)
        if (tree->cell[i] == cell)
            return tree->at[i];
    return NULL;
}

Value elab_reweighted_member(Elab *e, const Instance *instance, Value member)
{
    Inst *inst = member.kind == VALUE_CELL ? tree_find(instance->weights, member.as.cell) : NULL;
    if (inst)
        return value_tensor(inst);
    if (!is_model(member) || member.as.instance->weights)
        return member;
    Instance *copy = NEW(e->cx->arena, Instance);
    *copy = *member.as.instance;
    copy->weights = instance->weights;
    return value_instance(copy);
}

static Value reweighted(Elab *e, Value model, const TreeValue *tree, const char *what, Span span)
{
    CellList cells = {0};
    elab_cells(e, model, &cells);
    for (int i = 0; i < tree->count; i++) {
        Cell *cell = tree->cell[i];
        bool own = false;
        for (int j = 0; j < cells.count && !own; j++)
            own = cells.at[j] == cell;
        if (!own)
            return builtin_bad(e, what, span,
                               arena_printf(e->cx->arena, "'%s' is no weight of this model",
                                            elab_cell_path(e, cell)));
        if (!type_equal(tree->at[i]->type, elab_cell_type(cell))) {
            report(e->cx, elab_span(e, span), type_mismatch,
                   arena_printf(e->cx->arena, "the new '%s'", elab_cell_path(e, cell)),
                   type_text(e->cx->arena, elab_cell_type(cell)),
                   type_text(e->cx->arena, tree->at[i]->type));
            return value_poison();
        }
    }
    Instance *copy = NEW(e->cx->arena, Instance);
    *copy = *model.as.instance;
    copy->weights = tree;
    return value_instance(copy);
}

// The learned weights; of a model with other weights, those.
static Value weights_of(Elab *e, Value model, Span span)
{
    CellList cells = {0}, learned = {0};
    Vec(Inst *) at = {0};
    elab_cells(e, model, &cells);
    Replaced saved = elab_replace_begin(e, model.as.instance);
    bool fine = true;
    for (int i = 0; i < cells.count && fine; i++) {
        if (!cells.at[i]->trainable)
            continue;
        Inst *inst = elab_cell_whole(e, cells.at[i], span);
        fine = inst != NULL;
        vec_push(e->cx->arena, &at, inst);
        vec_push(e->cx->arena, &learned, cells.at[i]);
    }
    elab_replace_end(e, &saved);
    return fine ? value_tree(e, at.count, learned.at, at.at) : value_poison();
}

Value elab_model_op(Elab *e, Oper op, Value a, Value b, Span span)
{
    Value model = is_model(a) ? a : b;
    Value weights = weights_of(e, model, span);
    if (weights.kind == VALUE_POISON)
        return weights;
    Value tree =
        is_model(a) ? elab_binary(e, op, weights, b, span) : elab_binary(e, op, a, weights, span);
    if (tree.kind != VALUE_TREE)
        return tree;
    return reweighted(e, model, tree.as.tree, oper_text[op], span);
}

// ---- builtins

Value builtin_weights(Elab *e, const Value arg[], Span span)
{
    if (!is_model(arg[0]))
        return builtin_bad(
            e, "weights", span,
            arena_printf(e->cx->arena, "expected a model, found %s", value_what(e, arg[0])));
    return weights_of(e, arg[0], span);
}

Value builtin_with_weights(Elab *e, const Value arg[], Span span)
{
    if (!is_model(arg[0]) || arg[1].kind != VALUE_TREE)
        return builtin_bad(e, "with_weights", span,
                           arena_printf(e->cx->arena,
                                        "expected a model and its weights, found %s and %s",
                                        value_what(e, arg[0]), value_what(e, arg[1])));
    return reweighted(e, arg[0], arg[1].as.tree, "with_weights", span);
}

typedef struct Mapped {
    Value function;
    int count;
    Span span;
} Mapped;

static Inst *map_one(Elab *e, Inst *const one[], void *data)
{
    const Mapped *mapped = data;
    Value args[2];
    for (int i = 0; i < mapped->count; i++)
        args[i] = value_tensor(one[i]);
    Value value = elab_call(e, mapped->function, args, NULL, mapped->count, mapped->span);
    if (value.kind == VALUE_POISON)
        return NULL;
    return elab_tensor_for(e, "what 'map_weights' makes of a weight", value, one[0]->type.dtype,
                           mapped->span);
}

Value builtin_map_weights(Elab *e, const Value arg[], Span span)
{
    for (int i = 1; i < 3; i++)
        if (arg[i].kind != VALUE_TREE && !(i == 2 && arg[i].kind == VALUE_NONE))
            return builtin_bad(e, "map_weights", span,
                               arena_printf(e->cx->arena,
                                            "expected gradients or weights of a model, found %s",
                                            value_what(e, arg[i])));
    const TreeValue *xs = arg[1].as.tree, *ys = arg[2].kind == VALUE_TREE ? arg[2].as.tree : NULL;
    Inst **at = NEW_ARRAY(e->cx->arena, Inst *, xs->count + 1);
    for (int i = 0; i < xs->count; i++) {
        Inst *other = ys ? tree_find(ys, xs->cell[i]) : NULL;
        if (ys && !other)
            return builtin_bad(e, "map_weights", span,
                               arena_printf(e->cx->arena, "the second one has nothing for '%s'",
                                            elab_cell_path(e, xs->cell[i])));
        Mapped one = {arg[0], ys ? 2 : 1, span};
        at[i] = elab_on_each(e, xs->cell[i], (Inst *[]){xs->at[i], other}, one.count, map_one, &one,
                             span);
        if (!at[i])
            return value_poison();
    }
    return value_tree(e, xs->count, xs->cell, at);
}

// `*` stands for any text; a pattern without it, or its beginning, for everything below that name.
static bool glob(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern == '*') {
            while (pattern[1] == '*')
                pattern++;
            for (;; text++) {
                if (glob(pattern + 1, text))
                    return true;
                if (!*text)
                    return false;
            }
        }
        if (*pattern != *text)
            return false;
    }
    return *text == 0 || *text == '.';
}

bool elab_path_matches(const char *pattern, const char *path)
{
    return glob(pattern, path);
}

Value builtin_matches(Elab *e, const Value arg[], Span span)
{
    Sym path = value_plain_text(arg[0]), pattern = value_plain_text(arg[1]);
    if (!path || !pattern)
        return builtin_bad(e, "matches", span,
                           arena_printf(e->cx->arena, "expected two texts, found %s and %s",
                                        value_what(e, arg[0]), value_what(e, arg[1])));
    return value_bool(elab_path_matches(pattern, path));
}
