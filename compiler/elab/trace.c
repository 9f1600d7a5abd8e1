// trace.c: the function being traced.
//
// Parameters are made when they are first needed: a weight when it is read, the step counter when a
// schedule asks for it. States are not side effects: the trace knows the current value of each, and
// what was assigned becomes a result bound to the same row of the state table.

#include "elab/internal.h"

#include <string.h>

Trace *elab_trace_begin(Elab *e, Sym name, Span span)
{
    Trace *trace = NEW(e->cx->arena, Trace);
    trace->fn = ir_function_new(e->cx, e->module, name, span);
    trace->outer = e->trace;
    trace->per_sample = e->trace && e->trace->per_sample;
    trace->errors = diag_errors(e->cx);
    trace->branching = e->branching;
    e->branching = 0;
    e->trace = trace;
    return trace;
}

IrFunction *elab_trace_end(Elab *e, Trace *trace)
{
    if (e->trace != trace)
        bug(e->cx, trace->fn->span, "traces end in the order in which they began");
    e->trace = trace->outer;
    e->branching = trace->branching;
    if (diag_errors(e->cx) > trace->errors || e->gave_up || trace->scratch)
        return NULL;
    for (int i = 0; i < trace->use.count; i++) {
        const CellUse *use = &trace->use.at[i];
        int row = elab_state_row(e, use->cell);
        if (use->param)
            trace->fn->param_slot.at[use->param->attr[0].whole] = (Slot){SLOT_STATE, row};
        if (use->written)
            ir_result(trace->fn, use->current, (Slot){SLOT_STATE, row},
                      elab_cell_path(e, use->cell));
    }
    const char *wrong = ir_verify_function(e->cx->arena, trace->fn);
    if (wrong)
        bug(e->cx, trace->fn->span, "elaboration made an invalid function: %s", wrong);
    return trace->fn;
}

Value elab_trace_input(Elab *e, Type type, int64_t classes, Sym name, Span span)
{
    Slot slot = {SLOT_INPUT, e->trace->inputs++};
    return value_class(ir_param(e->trace->fn, type, slot, name, span), classes);
}

int elab_trace_output(Elab *e, Inst *value, Sym name)
{
    int index = e->trace->outputs++;
    ir_result(e->trace->fn, value, (Slot){SLOT_OUTPUT, index}, name);
    return index;
}

static const char *const scalar_name[] = {[AML_SCALAR_STEP] = "step",
                                          [AML_SCALAR_TOTAL_STEPS] = "total_steps",
                                          [AML_SCALAR_EPOCH_STEPS] = "epoch_steps",
                                          [AML_SCALAR_SEED] = "seed",
                                          [AML_SCALAR_SAMPLE] = "sample",
                                          [AML_SCALAR_OPTION] = "option",
                                          [AML_SCALAR_MEASURED] = "measured"};

Inst *elab_scalar(Elab *e, aml_scalar_kind kind, int option, DType dtype, Span span)
{
    Trace *trace = e->trace;
    span = elab_span(e, span);
    if (!trace) {
        report(e->cx, span, outside_trace, "a number known only when the program runs");
        return NULL;
    }
    if (trace->region)
        return region_scalar(e, kind, option, dtype, span);
    if (kind == SCALAR_DRAW && !trace->callee)
        kind = trace->per_sample ? AML_SCALAR_SAMPLE : AML_SCALAR_STEP;
    if (kind == AML_SCALAR_STEP && trace->first_step)
        return elab_full(e, dtype, 0, NULL, 0, span);
    if (kind != AML_SCALAR_OPTION && kind != AML_SCALAR_MEASURED)
        option = 0;
    for (int i = 0; i < trace->scalar.count; i++)
        if (trace->scalar.at[i].kind == kind && trace->scalar.at[i].index == option &&
            trace->scalar.at[i].dtype == (aml_dtype)dtype)
            return trace->scalar_inst.at[i];
    Slot slot = trace->callee ? (Slot){SLOT_VALUE, 0} : (Slot){SLOT_SCALAR, trace->scalar.count};
    Sym name = kind == AML_SCALAR_OPTION ? e->option.at[option].node->as.option.name
               : kind == SCALAR_DRAW     ? sym_of(e->cx, "draw")
                                         : sym_of(e->cx, scalar_name[kind]);
    Inst *param = ir_param(trace->fn, type_scalar(dtype), slot, name, span);
    vec_push(e->cx->arena, &trace->scalar, ((aml_scalar_info){kind, option, (aml_dtype)dtype}));
    vec_push(e->cx->arena, &trace->scalar_inst, param);
    return param;
}

// ---- weights and states in the trace ------------------------------------------------------------

int elab_state_row(Elab *e, Cell *cell)
{
    if (!e->table)
        e->table = NEW(e->cx->arena, StateTable);
    if (cell->table != e->table) {
        cell->table = e->table;
        cell->row = e->table->cell.count;
        vec_push(e->cx->arena, &e->table->cell, cell);
    }
    return cell->row;
}

static CellUse *find_use(Trace *trace, const Cell *cell)
{
    for (int i = trace->use.count - 1; i >= 0; i--)
        if (trace->use.at[i].cell == cell)
            return &trace->use.at[i];
    return NULL;
}

static bool can_use(Elab *e, const Cell *cell, Span span)
{
    if (e->trace && !e->trace->callee)
        return true;
    const char *what = arena_printf(e->cx->arena, "the %s '%s'",
                                    cell->role == AML_ROLE_WEIGHT ? "weight" : "state", cell->name);
    report(e->cx, elab_span(e, span), outside_trace, what);
    return false;
}

static Inst *make_param(Elab *e, CellUse *use)
{
    Cell *cell = use->cell;
    int row = e->trace->scratch ? 0 : elab_state_row(e, cell);
    use->param = ir_param(e->trace->fn, cell->type, (Slot){SLOT_STATE, row},
                          elab_cell_path(e, cell), cell->node->span);
    use->current = use->current ? use->current : use->param;
    return use->param;
}

static CellUse *add_use(Elab *e, Cell *cell)
{
    vec_push(e->cx->arena, &e->trace->use, ((CellUse){.cell = cell}));
    return &e->trace->use.at[e->trace->use.count - 1];
}

CellUse *elab_cell_use(Elab *e, Cell *cell)
{
    CellUse *use = find_use(e->trace, cell);
    return use ? use : add_use(e, cell);
}

Inst *elab_cell_read(Elab *e, Cell *cell, Span span)
{
    if (!can_use(e, cell, span))
        return NULL;
    CellUse *use = find_use(e->trace, cell);
    if (e->averaged && cell->average && !(use && use->replaced) &&
        elab_is_averaged(e, cell, span)) {
        cell = cell->average;
        use = find_use(e->trace, cell);
    }
    if (use && use->current)
        return use->current;
    if (e->trace->region) {
        Trace *trace = e->trace;
        e->trace = trace->outer;
        Inst *outside = elab_cell_read(e, cell, span);
        e->trace = trace;
        return elab_capture(e, outside);
    }
    if (!elab_cell_resolve(e, cell, span) || cell->absent)
        return NULL;
    if (!use)
        use = add_use(e, cell);
    make_param(e, use);
    return use->current;
}

bool elab_cell_write(Elab *e, Cell *cell, Value value, Span span)
{
    if (value.kind == VALUE_POISON || !can_use(e, cell, span) || !elab_cell_resolve(e, cell, span))
        return false;
    if (e->trace->region) {
        report(e->cx, elab_span(e, span), outside_trace, "an update of a state in a loop");
        return false;
    }
    const char *what = arena_printf(e->cx->arena, "what '%s' is updated with", cell->name);
    if (cell->absent) {
        report(e->cx, elab_span(e, span), not_assignable,
               arena_printf(e->cx->arena, "'%s', which is none,", cell->name));
        return false;
    }
    Inst *inst = elab_tensor(e, value, cell->type.dtype, span);
    if (!inst)
        return false;
    if (inst->type.dtype != cell->type.dtype) {
        report(e->cx, elab_span(e, span), type_mismatch, what, type_text(e->cx->arena, cell->type),
               value_what(e, value_tensor(inst)));
        help(e->cx, "convert it with `%s(...)`", dtype_info[cell->type.dtype].name);
        note(e->cx, cell->node->span, "'%s' is declared here", cell->name);
        return false;
    }
    if (value.kind == VALUE_TENSOR && !shape_equal(inst->type, cell->type)) {
        const char *expected = type_text(e->cx->arena, cell->type),
                   *found = type_text(e->cx->arena, inst->type);
        report(e->cx, elab_span(e, span), shape_mismatch, what, expected, found);
        report_shapes(e->cx, "expected", expected, "found", found);
        note(e->cx, cell->node->span, "'%s' is declared here", cell->name);
        return false;
    }
    inst = elab_broadcast_to(e, inst, cell->type, what, span);
    if (!inst)
        return false;
    CellUse *use = find_use(e->trace, cell);
    if (!use)
        use = add_use(e, cell);
    if (e->branching > 0 && !use->param)
        make_param(e, use); // the other branch keeps the old value
    use->current = inst;
    use->written = true;
    return true;
}

bool elab_assign_tree(Elab *e, Value tree, Span span)
{
    if (tree.kind != VALUE_TREE)
        return false;
    bool fine = true;
    for (int i = 0; i < tree.as.tree->count; i++)
        fine = elab_cell_write(e, tree.as.tree->cell[i], value_tensor(tree.as.tree->at[i]), span) &&
               fine;
    return fine;
}
