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

bool elab_average_update(Elab *e, Value model, Value rule, Span span)
{
    CellList cells = {0};
    elab_cells(e, model, &cells);
    Inst *counter = elab_scalar(e, AML_SCALAR_STEP, 0, DTYPE_I64, span);
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        if (!cell->average || !elab_is_averaged(e, cell, span))
            continue;
        Inst *average = elab_cell_read(e, cell->average, span),
             *value = elab_cell_read(e, cell, span);
        if (!average || !value)
            return false;
        Value args[] = {value_tensor(average), value_tensor(value),
                        value_tensor(elab_cast(e, counter, e->real, span))};
        if (!elab_cell_write(e, cell->average, elab_call(e, rule, args, NULL, 3, span), span))
            return false;
    }
    return true;
}
