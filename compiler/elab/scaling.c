// scaling.c: what `precision: mixed(f16)` needs beside the rounding of operands.
//
// Gradients of f16 become zero below 2^-24, and infinite from 65520 on. So the loss is multiplied
// by a scale before its gradient is taken, and the gradients are divided by it (`scaled_step` of
// stdlib/scaling.aml). Where one of them is not finite the step is left out: every state that it
// would have changed keeps its bits, those of the model and the averages as well as the
// optimizer's, and only the scale, which is a state that is saved with the optimizer's, becomes
// smaller.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

static bool is_of(const Cell *cell, const CellList *list)
{
    for (int i = 0; i < list->count; i++)
        if (list->at[i] == cell)
            return true;
    return false;
}

bool scaler_prepare(Jobs *jobs, TrainBlock *train)
{
    if (value_is(train->scaler, VALUE_NONE))
        return true;
    Instance *self = train->scaler.as.instance;
    self->parent = NULL;
    self->name = sym_of(jobs->cx, "loss_scale");
    CellList cells = {0};
    elab_cells(jobs->e, train->scaler, &cells);
    for (int i = 0; i < cells.count; i++)
        cells.at[i]->role = AML_ROLE_OPTIMIZER;
    return register_cells(jobs, train->scaler);
}

// The value of a state after the step: the new one if `finite`, else the old one.
static bool keep_unless(Elab *e, CellUse *use, Inst *finite, Span span)
{
    IrFunction *fn = e->trace->fn;
    if (!use->param) // written, never read
        use->param = ir_param(fn, use->current->type, (Slot){SLOT_STATE, 0},
                              elab_cell_path(e, use->cell), use->cell->node->span);
    Inst *choice = finite;
    if (use->current->type.rank > 0) {
        Type type = use->current->type;
        type.dtype = DTYPE_BOOL;
        choice = ir_broadcast(fn, finite, type, (IntList){0}, span);
    }
    Inst *in[] = {choice, use->current, use->param};
    use->current = ir_append(fn, OP_select, in, 3, NULL, (Type){0}, span);
    return true;
}

// `result` is what scaled_step gave; `finite` is taken out of it.
bool scaler_skips(Tracing *tracing, const TrainBlock *train, Value *result, Span span)
{
    Jobs *jobs = tracing->jobs;
    Elab *e = jobs->e;
    if (!value_is(*result, VALUE_RECORD))
        return !value_is(*result, VALUE_POISON);
    RecordValue *record = result->as.record;
    const Value *finite = record_get(*result, job_word(jobs, "finite"));
    if (!finite || !value_is(*finite, VALUE_TENSOR))
        bug(e->cx, span, "scaled_step does not say whether its gradients are finite");
    CellList own = {0};
    elab_cells(e, train->scaler, &own);
    bool good = true;
    for (int i = 0; i < tracing->trace->use.count; i++) {
        CellUse *use = &tracing->trace->use.at[i];
        if (use->written && !is_of(use->cell, &own))
            good = keep_unless(e, use, finite->as.tensor.inst, span) && good;
    }
    Value figures = value_record(e, record->count, record->name, record->at);
    RecordValue *kept = figures.as.record;
    int count = 0;
    for (int i = 0; i < record->count; i++) {
        if (&record->at[i] == finite)
            continue;
        kept->name[count] = record->name[i];
        kept->at[count++] = record->at[i];
    }
    kept->count = count;
    *result = figures;
    return good;
}
