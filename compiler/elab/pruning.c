// pruning.c: `prune: magnitude(...)` of a training.
//
// Beside each weight with two or more axes there is a mask, a state that is saved with the
// optimizer's. After the optimizer has made new weights, the masks are looked at again if it is
// time (stdlib/pruning.aml), and what they leave out becomes zero: in the weights, and in their
// averages, which would otherwise only come close to it.

#include "elab/job.h"

#include <string.h>

#include "elab/internal.h"

static bool is_word(Value value, const char *word)
{
    Sym found = value_word(value);
    return found && strcmp(found, word) == 0;
}

static bool share_wrong(Jobs *jobs, const Setting *setting, const char *what, const char *expected,
                        Value found)
{
    report(jobs->cx, setting->span, setting_range, what, expected, value_show(jobs->e, found));
    return false;
}

bool read_pruning(Jobs *jobs, TrainBlock *train)
{
    Setting setting = setting_of(jobs, train->node, "prune");
    Value record = setting_eval(jobs, &setting, "prune");
    train->pruning = value_none();
    if (value_is(record, VALUE_NONE) || value_is(record, VALUE_POISON))
        return value_is(record, VALUE_NONE);
    if (!is_word(record_item(jobs, record, "prune"), "magnitude")) {
        bool channels = is_word(record_item(jobs, record, "prune"), "channels");
        setting_wrong(jobs, &setting, "prune", "magnitude(80%)", record);
        if (channels)
            help(jobs->cx, "channels are left out when a model is deployed: `deploy ... { prune: "
                           "channels(...) }`");
        return false;
    }
    double share = value_number(record_item(jobs, record, "share")),
           begin = value_number(record_item(jobs, record, "begin")),
           end = value_number(record_item(jobs, record, "end"));
    if (!(share > 0) || !(share < 1))
        return share_wrong(jobs, &setting, "the share to prune", "more than 0% and less than 100%",
                           record_item(jobs, record, "share"));
    if (begin < 0 || begin > end || end > 1)
        return share_wrong(jobs, &setting, "end of magnitude", "between begin and 100%",
                           record_item(jobs, record, "end"));
    train->pruning = record;
    train->pruning_span = setting.span;
    return true;
}

static bool is_pruned(const Cell *cell)
{
    return cell->role == AML_ROLE_WEIGHT && cell->trainable && !cell->absent && cell->resolved &&
           cell->type.rank >= 2 && dtype_info[cell->type.dtype].kind == KIND_FLOAT;
}

static void make_mask(Elab *e, Cell *cell)
{
    Cell *mask = NEW(e->cx->arena, Cell);
    *mask = (Cell){.owner = cell->owner,
                   .node = cell->node,
                   .name = sym_printf(e->cx, "%s.mask", cell->name),
                   .role = AML_ROLE_OPTIMIZER,
                   .resolved = true,
                   .type = cell->type,
                   .row = -1,
                   .has_initial = true,
                   .initial = NEW(e->cx->arena, Value)};
    mask->type.dtype = DTYPE_BOOL;
    *mask->initial = value_bool(true);
    cell->mask = mask;
}

bool pruning_prepare(Jobs *jobs, TrainBlock *train)
{
    if (value_is(train->pruning, VALUE_NONE))
        return true;
    CellList cells = {0};
    elab_cells(jobs->e, train->model, &cells);
    bool any = false;
    for (int i = 0; i < cells.count; i++)
        if (is_pruned(cells.at[i])) {
            make_mask(jobs->e, cells.at[i]);
            any = true;
        }
    if (!any)
        report(jobs->cx, train->pruning_span, no_weight_to_prune, train->node->as.job.name);
    return any;
}

static Inst *masked(Elab *e, Inst *mask, Inst *value, Span span)
{
    Inst *zero = ir_real(e->trace->fn, value->type, 0, span), *in[] = {mask, value, zero};
    return elab_emit(e, OP_select, in, 3, NULL, (Type){0}, "pruning", span);
}

// New masks, and weights without what they leave out.
bool pruning_step(Jobs *jobs, const TrainBlock *train, Span span)
{
    Elab *e = jobs->e;
    if (value_is(train->pruning, VALUE_NONE))
        return true;
    CellList cells = {0}, pruned = {0};
    Vec(Value) weight = {0}, kept = {0};
    elab_cells(e, train->model, &cells);
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        if (!cell->mask)
            continue;
        Inst *whole = elab_cell_whole(e, cell, span), *mask = elab_cell_whole(e, cell->mask, span);
        if (!whole || !mask)
            return false;
        vec_push(e->cx->arena, &pruned, cell);
        vec_push(e->cx->arena, &weight, value_tensor(whole));
        vec_push(e->cx->arena, &kept, value_tensor(mask));
    }
    Inst *counter = elab_scalar(e, AML_SCALAR_STEP, 0, DTYPE_I64, span);
    Value args[] = {value_list(e, weight.count, weight.at),
                    value_list(e, kept.count, kept.at),
                    value_text(e, value_word(record_item(jobs, train->pruning, "over"))),
                    record_item(jobs, train->pruning, "share"),
                    record_item(jobs, train->pruning, "begin"),
                    record_item(jobs, train->pruning, "end"),
                    record_item(jobs, train->pruning, "every"),
                    value_tensor(elab_cast(e, counter, e->real, span))};
    Value made = elab_call(e, value_function(e, elab_std_function(e, "masks_after"), NULL), args,
                           NULL, (int)COUNT_OF(args), span);
    if (!value_is(made, VALUE_LIST))
        return false;
    for (int i = 0; i < pruned.count; i++) {
        Inst *mask = made.as.list.at[i].as.tensor.inst,
             *left = masked(e, mask, weight.at[i].as.tensor.inst, span);
        if (!left || !elab_assign_whole(e, pruned.at[i]->mask, mask, span) ||
            !elab_assign_whole(e, pruned.at[i], left, span))
            return false;
    }
    return true;
}

bool pruning_averages(Jobs *jobs, const TrainBlock *train, Span span)
{
    Elab *e = jobs->e;
    if (value_is(train->pruning, VALUE_NONE))
        return true;
    CellList cells = {0};
    elab_cells(e, train->model, &cells);
    for (int i = 0; i < cells.count; i++) {
        const Cell *cell = cells.at[i];
        if (!cell->mask || !cell->average)
            continue;
        Inst *whole = elab_cell_whole(e, cell->average, span),
             *mask = elab_cell_whole(e, cell->mask, span),
             *left = whole && mask ? masked(e, mask, whole, span) : NULL;
        if (!left || !elab_assign_whole(e, cell->average, left, span))
            return false;
    }
    return true;
}
