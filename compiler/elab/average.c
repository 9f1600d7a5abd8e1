// average.c: averages of weights over the steps of a training.
//
// An average is a cell beside the weight's own: initially equal to it, changed after each step by a
// rule of the library (ema, swa) or of the user. What is evaluated, predicted and deployed reads
// the averages (Elab.averaged), and the checkpoint has them under the weights' names, so that
// whoever reads it gets the model that was measured. The weights themselves are then a part of the
// training's state, as the optimizer's moments are (job_step.c gives the rows their names).

#include "elab/internal.h"

void elab_average_make(Elab *e, Value model)
{
    CellList cells = {0};
    elab_cells(e, model, &cells);
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        if (cell->average || (cell->role == AML_ROLE_WEIGHT && !cell->trainable))
            continue;
        Cell *average = NEW(e->cx->arena, Cell);
        *average = (Cell){.owner = cell->owner,
                          .node = cell->node,
                          .name = cell->name,
                          .role = cell->role,
                          .source = cell,
                          .row = -1,
                          .has_initial = true};
        cell->average = average;
    }
}

// A count is no quantity whose average means anything: it is read as it is.
bool elab_is_averaged(Elab *e, Cell *cell, Span span)
{
    return elab_cell_resolve(e, cell, span) && !cell->absent &&
           dtype_info[cell->type.dtype].kind == KIND_FLOAT;
}

typedef struct Rule {
    Value rule;
    Inst *counter;
    const Cell *average;
    Span span;
} Rule;

static Inst *average_one(Elab *e, Inst *const one[], void *data)
{
    const Rule *rule = data;
    Value args[] = {value_tensor(one[0]), value_tensor(one[1]),
                    value_tensor(elab_cast(e, rule->counter, e->real, rule->span))};
    Value value = elab_call(e, rule->rule, args, NULL, 3, rule->span);
    if (value.kind == VALUE_POISON)
        return NULL;
    const char *what =
        arena_printf(e->cx->arena, "the average of '%s'", elab_cell_path(e, rule->average));
    Inst *inst = elab_tensor_for(e, what, value, rule->average->type.dtype, rule->span);
    if (inst && !type_equal(inst->type, rule->average->type)) {
        report(e->cx, elab_span(e, rule->span), type_mismatch, what,
               type_text(e->cx->arena, rule->average->type), type_text(e->cx->arena, inst->type));
        return NULL;
    }
    return inst;
}

bool elab_average_update(Elab *e, Value model, Value rule, Span span)
{
    CellList cells = {0};
    elab_cells(e, model, &cells);
    Inst *counter = elab_scalar(e, AML_SCALAR_STEP, 0, DTYPE_I64, span);
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        if (!cell->average || !elab_is_averaged(e, cell, span))
            continue;
        Inst *whole[] = {elab_cell_whole(e, cell->average, span), elab_cell_whole(e, cell, span)};
        if (!whole[0] || !whole[1])
            return false;
        Rule one = {rule, counter, cell->average, span};
        Inst *next = elab_on_each(e, cell->average, whole, 2, average_one, &one, span);
        if (!next || !elab_assign_whole(e, cell->average, next, span))
            return false;
    }
    return true;
}
