// load.c: what a model is told about its weights: freeze, tie, load.

#include "elab/builtin.h"

#include <string.h>

static const char *below(Elab *e, const Instance *instance, const Cell *cell)
{
    Sym path = elab_cell_path(e, cell), above = instance_path(e, instance);
    return above ? path + strlen(above) + 1 : path;
}

static bool is_model(Value value)
{
    return value.kind == VALUE_INSTANCE &&
           (!value.as.instance->declaration || value.as.instance->declaration->kind == NODE_Model);
}

// A text, or a list of texts. False after a report.
static bool texts(Elab *e, Value value, const char *what, ValueList *out, Span span)
{
    *out = (ValueList){0, NULL};
    if (value.kind == VALUE_NONE)
        return true;
    if (value_plain_text(value)) {
        *out = value_list(e, 1, &value).as.list;
        return true;
    }
    bool fine = elab_items(e, value, out, what, span);
    for (int i = 0; i < out->count && fine; i++)
        if (!value_plain_text(out->at[i])) {
            report(e->cx, elab_span(e, span), type_mismatch, what, "a list of texts",
                   value_what(e, out->at[i]));
            fine = false;
        }
    return fine;
}

// ---- freeze -------------------------------------------------------------------------------------

bool elab_is_frozen(Elab *e, const Cell *cell)
{
    for (const Instance *at = cell->owner; at; at = at->parent)
        for (int i = 0; i < at->frozen_only.count; i++)
            if (elab_path_matches(value_plain_text(at->frozen_only.at[i]), below(e, at, cell)))
                return true;
    return false;
}

Value builtin_freeze(Elab *e, const Value arg[], Span span)
{
    ValueList only;
    if (!is_model(arg[0]))
        return builtin_bad(
            e, "freeze", span,
            arena_printf(e->cx->arena, "expected a model, found %s", value_what(e, arg[0])));
    Instance *self = arg[0].as.instance;
    if (self->of) {
        report(e->cx, elab_span(e, span), repeat_part_alone);
        return value_poison();
    }
    if (!texts(e, arg[1], "argument 'only' of 'freeze'", &only, span))
        return value_poison();
    CellList cells = {0};
    if (only.count > 0) // asking for the weights decides that a repeat is a loop
        elab_cells(e, arg[0], &cells);
    for (int i = 0; i < only.count; i++) {
        bool fits = false;
        for (int c = 0; c < cells.count && !fits; c++)
            fits = cells.at[c]->role == AML_ROLE_WEIGHT &&
                   elab_path_matches(value_plain_text(only.at[i]), below(e, self, cells.at[c]));
        if (!fits) {
            report(e->cx, elab_span(e, span), no_such_weight, value_plain_text(only.at[i]));
            return value_poison();
        }
    }
    self->frozen = self->frozen || arg[1].kind == VALUE_NONE;
    if (only.count)
        self->frozen_only = only;
    return arg[0];
}

// ---- tie ----------------------------------------------------------------------------------------

Value builtin_tie(Elab *e, const Value arg[], Span span)
{
    bool turned;
    for (int i = 0; i < 2; i++)
        if (arg[i].kind != VALUE_CELL || arg[i].as.cell->role != AML_ROLE_WEIGHT) {
            report(e->cx, elab_span(e, span), type_mismatch, "what 'tie' ties",
                   "a weight of a member, such as head.weight", value_what(e, arg[i]));
            return value_poison();
        }
    if (!elab_truth(e, arg[2], &turned, span))
        return value_poison();
    Cell *kept = arg[0].as.cell, *other = arg[1].as.cell;
    while (kept->tied)
        kept = kept->tied;
    if (other->tied || other == kept || elab_cell_stack(other).count || elab_cell_stack(kept).count)
        return builtin_bad(e, "tie", span,
                           other == kept ? "a weight cannot be tied to itself"
                           : other->tied ? "the second weight is tied already"
                                         : "a weight inside a repeat is many");
    other->tied = kept;
    other->turned = turned;
    other->tied_at = elab_span(e, span);
    return value_none();
}

Inst *elab_cell_tied(Elab *e, Cell *cell, Span span)
{
    Cell *kept = cell->tied;
    if (!elab_cell_resolve(e, cell, span) || !elab_cell_resolve(e, kept, span))
        return NULL;
    Type type = kept->type;
    if (cell->turned && type.rank == 2) {
        type.dim[0] = kept->type.dim[1];
        type.dim[1] = kept->type.dim[0];
    }
    if (!type_equal(type, cell->type)) {
        report(e->cx, cell->tied_at, shape_mismatch, "'tie'",
               arena_printf(e->cx->arena, "%s%s for '%s'", type_text(e->cx->arena, kept->type),
                            cell->turned ? " with its axes exchanged" : "",
                            elab_cell_path(e, kept)),
               arena_printf(e->cx->arena, "%s for '%s'", type_text(e->cx->arena, cell->type),
                            elab_cell_path(e, cell)));
        if (!cell->turned && type.rank == 2 && type.dim[0] == cell->type.dim[1] &&
            type.dim[1] == cell->type.dim[0])
            help(e->cx, "`transposed: true` exchanges the axes");
        return NULL;
    }
    Inst *inst = elab_cell_read(e, kept, span);
    Attr order = {.list = {.count = 2, .at = {1, 0}}};
    return inst && cell->turned
               ? elab_emit(e, OP_transpose, &inst, 1, &order, (Type){0}, "'tie'", span)
               : inst;
}

// ---- load ---------------------------------------------------------------------------------------

static bool read_rule(Elab *e, Value item, WeightsFile *file, Span span)
{
    FileRule rule = {0};
    bool fine = (item.kind == VALUE_TUPLE || item.kind == VALUE_LIST) &&
                (item.as.list.count == 2 || item.as.list.count == 3);
    if (fine) {
        rule.model = value_plain_text(item.as.list.at[0]);
        rule.file = value_plain_text(item.as.list.at[1]);
    }
    if (!fine || !rule.model || !rule.file) {
        report(e->cx, elab_span(e, span), type_mismatch, "an entry of 'map' of 'load'",
               "(path, name in the file) or (path, name in the file, axes)", value_what(e, item));
        return false;
    }
    int stars[2] = {0};
    for (int i = 0; i < 2; i++)
        for (const char *c = i ? rule.file : rule.model; *c; c++)
            stars[i] += *c == '*';
    if (stars[1] > stars[0]) {
        report(e->cx, elab_span(e, span), bad_argument, "'load'",
               arena_printf(e->cx->arena, "'%s' has more `*` than '%s' has to give it", rule.file,
                            rule.model));
        return false;
    }
    ValueList axes = {0};
    if (item.as.list.count == 3 &&
        !elab_items(e, item.as.list.at[2], &axes, "the axes of an entry of 'map'", span))
        return false;
    unsigned seen = 0;
    rule.axes.count = axes.count <= IR_MAX_RANK ? axes.count : 0;
    for (int i = 0; i < rule.axes.count; i++) {
        if (!elab_int(e, axes.at[i], &rule.axes.at[i], "an axis", span))
            return false;
        if (rule.axes.at[i] >= 0 && rule.axes.at[i] < axes.count)
            seen |= 1u << rule.axes.at[i];
    }
    if (axes.count > IR_MAX_RANK || seen != (1u << axes.count) - 1) {
        report(e->cx, elab_span(e, span), bad_argument, "'load'",
               arena_printf(e->cx->arena, "the axes of '%s' should be 0 to %d in some order",
                            rule.model, axes.count - 1));
        return false;
    }
    vec_push(e->cx->arena, &file->rule, rule);
    return true;
}

Value builtin_load(Elab *e, const Value arg[], Span span)
{
    ValueList map = {0}, missing, unused;
    if (!is_model(arg[0]) || arg[1].kind != VALUE_TEXT)
        return builtin_bad(e, "load", span,
                           arena_printf(e->cx->arena,
                                        "expected a model and the path of a file, found %s and %s",
                                        value_what(e, arg[0]), value_what(e, arg[1])));
    WeightsFile *file = NEW(e->cx->arena, WeightsFile);
    file->path = arg[1];
    file->span = elab_span(e, span);
    if ((arg[2].kind != VALUE_NONE &&
         !elab_items(e, arg[2], &map, "argument 'map' of 'load'", span)) ||
        !texts(e, arg[3], "argument 'missing' of 'load'", &missing, span) ||
        !texts(e, arg[4], "argument 'unused' of 'load'", &unused, span))
        return value_poison();
    for (int i = 0; i < map.count; i++)
        if (!read_rule(e, map.at[i], file, span))
            return value_poison();
    for (int i = 0; i < missing.count; i++)
        vec_push(e->cx->arena, &file->missing, value_plain_text(missing.at[i]));
    for (int i = 0; i < unused.count; i++)
        vec_push(e->cx->arena, &file->unused, value_plain_text(unused.at[i]));
    vec_push(e->cx->arena, &arg[0].as.instance->file, file);
    return arg[0];
}

static void files_below(Elab *e, Value value, WeightsFileList *out)
{
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE)
        for (int i = 0; i < value.as.list.count; i++)
            files_below(e, value.as.list.at[i], out);
    if (value.kind == VALUE_RECORD)
        for (int i = 0; i < value.as.record->count; i++)
            files_below(e, value.as.record->at[i], out);
    if (value.kind != VALUE_INSTANCE || value.as.instance->visit == e->visit)
        return;
    Instance *self = value.as.instance;
    self->visit = e->visit;
    for (int i = 0; i < self->file.count; i++) {
        self->file.at[i]->below = instance_path(e, self);
        vec_push(e->cx->arena, out, self->file.at[i]);
    }
    for (int i = 0; self->env && i < self->env->frame->count; i++)
        files_below(e, self->env->frame->value[i], out);
    for (int i = 0; i < self->member.count; i++)
        files_below(e, *(Value *)self->member.value[i], out);
    for (int i = 0; i < self->part.count; i++)
        files_below(e, self->part.at[i], out);
}

void elab_weights_files(Elab *e, Value model, WeightsFileList *out)
{
    e->visit++;
    files_below(e, model, out);
}
