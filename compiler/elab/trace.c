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
                                          [AML_SCALAR_POSITION] = "position",
                                          [AML_SCALAR_SAMPLE] = "sample",
                                          [AML_SCALAR_OPTION] = "option",
                                          [AML_SCALAR_LIMIT] = "limit",
                                          [AML_SCALAR_MEASURED] = "measured",
                                          [AML_SCALAR_RATE] = "tried_rate"};

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
    if (kind != AML_SCALAR_OPTION && kind != AML_SCALAR_MEASURED && kind != AML_SCALAR_LIMIT)
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

static CellUse *add_use(Elab *e, Trace *trace, Cell *cell)
{
    vec_push(e->cx->arena, &trace->use, ((CellUse){.cell = cell}));
    return &trace->use.at[trace->use.count - 1];
}

// ---- stacks: weights of a repeated part ---------------------------------------------------------
//
// The row of such a weight holds all turns, and how many of its first axes are still there depends
// on where it is looked at: level 0 is the whole row, each repeat whose turn is known takes one
// axis away, and what the program text means is the weight of one turn.
//
//     repeat(12, Block)             outer trace           level 0    f32[12, 4, 64]
//       repeat(4, Dense)            a turn of the first   level 1    f32[4, 64]
//                                   a turn of the second  level 2    f32[64]

CellStack elab_cell_stack(const Cell *cell)
{
    CellStack stack = {0};
    for (const Instance *at = (cell->of ? cell->of : cell)->owner; at; at = at->parent) {
        Instance *above = at->parent;
        if (above && above->turns > 0 && stack.count < IR_MAX_RANK)
            stack.repeat[stack.count++] = above;
    }
    for (int i = 0; i < stack.count / 2; i++) {
        Instance *other = stack.repeat[i];
        stack.repeat[i] = stack.repeat[stack.count - 1 - i];
        stack.repeat[stack.count - 1 - i] = other;
    }
    return stack;
}

static Type type_at(const Cell *cell, const CellStack *stack, int level)
{
    Type type = cell->type;
    for (int k = stack->count - 1; k >= level && type.rank < IR_MAX_RANK; k--) {
        for (int i = type.rank; i > 0; i--)
            type.dim[i] = type.dim[i - 1];
        type.dim[0] = stack->repeat[k]->turns;
        type.rank++;
    }
    return type;
}

Type elab_cell_type(const Cell *cell)
{
    CellStack stack = elab_cell_stack(cell);
    return type_at(cell, &stack, 0);
}

static bool is_each(const Trace *trace, const Cell *cell)
{
    return trace->each && (trace->each == cell || trace->each == cell->of);
}

int cell_level(const Trace *trace, const Cell *cell, const CellStack *stack)
{
    if (is_each(trace, cell))
        return stack->count;
    for (int k = 0; trace->turns_of && k < stack->count; k++)
        if (stack->repeat[k] == trace->turns_of)
            return k + 1;
    return trace->region ? cell_level(trace->outer, cell, stack) : 0;
}

static bool is_cut(const Trace *trace, const Cell *cell)
{
    CellStack stack = elab_cell_stack(cell);
    return trace->region &&
           cell_level(trace, cell, &stack) > cell_level(trace->outer, cell, &stack);
}

// One of the first axis, in this trace.
static Inst *take_one(Elab *e, Inst *whole, int64_t at, Span span)
{
    Attr attr[3] = {{.list = {.count = whole->type.rank}},
                    {.list = {.count = whole->type.rank}},
                    {.list = {.count = whole->type.rank}}};
    Type one = {.dtype = whole->type.dtype, .rank = whole->type.rank - 1};
    for (int i = 0; i < whole->type.rank; i++) {
        attr[0].list.at[i] = i == 0 ? at : 0;
        attr[1].list.at[i] = i == 0 ? at + 1 : whole->type.dim[i];
        attr[2].list.at[i] = 1;
        if (i > 0)
            one.dim[i - 1] = whole->type.dim[i];
    }
    Inst *slice = elab_emit(e, OP_slice, &whole, 1, attr, (Type){0}, "a part of a repeat", span);
    return elab_emit(e, OP_reshape, &slice, 1, NULL, one, "a part of a repeat", span);
}

// Which turn of a repeat is meant where its loop does not run: the one that was asked for with
// body[2], else the first, which is the part that the repeat was given.
static int64_t pinned(const Elab *e, const Instance *repeat)
{
    for (const Pin *pin = e->pin; pin; pin = pin->above)
        if (pin->repeat == repeat)
            return pin->at;
    return 0;
}

static Inst *value_in(Elab *e, Trace *trace, Cell *cell);

static Inst *value_at(Elab *e, Trace *trace, Cell *cell, const CellStack *stack, int level)
{
    Inst *value = value_in(e, trace, cell);
    Trace *inner = e->trace;
    e->trace = trace;
    for (int k = cell_level(trace, cell, stack); value && k < level; k++)
        value = take_one(e, value, pinned(e, stack->repeat[k]), cell->node->span);
    e->trace = inner;
    return value;
}

// The first axes, which an enclosing loop over all of them runs through as one.
static Inst *as_one_axis(const Trace *trace, Inst *whole, int axes, int64_t count)
{
    if (axes == 1)
        return whole;
    Type flat = {.dtype = whole->type.dtype, .rank = whole->type.rank - axes + 1, .dim = {count}};
    for (int i = axes; i < whole->type.rank; i++)
        flat.dim[i - axes + 1] = whole->type.dim[i];
    return ir_reshape(trace->fn, whole, flat, whole->span);
}

static bool base(Elab *e, Trace *trace, CellUse *use)
{
    Cell *cell = use->cell;
    if (use->param)
        return true;
    CellStack stack = elab_cell_stack(cell);
    int level = cell_level(trace, cell, &stack);
    if (!trace->region) {
        Type type = type_at(cell, &stack, level);
        int row = trace->scratch ? 0 : elab_state_row(e, cell);
        use->param = ir_param(trace->fn, type, (Slot){SLOT_STATE, row}, elab_cell_path(e, cell),
                              cell->node->span);
        return true;
    }
    int above = cell_level(trace->outer, cell, &stack);
    int cut = is_each(trace, cell) ? above : level > above ? level - 1 : above;
    Inst *outer = value_at(e, trace->outer, cell, &stack, cut);
    if (!outer)
        return false;
    if (level > cut) {
        outer = as_one_axis(trace->outer, outer, level - cut, trace->region->count);
        Type one = outer->type;
        memmove(one.dim, one.dim + 1, sizeof one.dim[0] * (size_t)(one.rank - 1));
        one.rank--;
        use->param = region_add(e, trace, REGION_SLICED, outer, one);
    } else { // not by elab_capture: it may become carried
        use->param = region_add(e, trace, REGION_REST, outer, outer->type);
    }
    return true;
}

static Inst *value_in(Elab *e, Trace *trace, Cell *cell)
{
    CellUse *use = find_use(trace, cell);
    if (use && use->current)
        return use->current;
    if (!use)
        use = add_use(e, trace, cell);
    if (!base(e, trace, use))
        return NULL;
    return use->current = use->param;
}

static bool stack_fits(Elab *e, const Cell *cell, const CellStack *stack, Span span)
{
    if (cell->type.rank + stack->count <= IR_MAX_RANK)
        return true;
    report(e->cx, elab_span(e, span), too_large,
           arena_printf(e->cx->arena, "the number of axes of '%s' over all turns of its repeats",
                        cell->name));
    return false;
}

CellUse *elab_cell_use(Elab *e, Cell *cell)
{
    CellUse *use = find_use(e->trace, cell);
    return use ? use : add_use(e, e->trace, cell);
}

// The cell that is read where `cell` is meant: its average, where averages are used.
static Cell *meant(Elab *e, Cell *cell, Span span)
{
    if (!e->averaged || !cell->average)
        return cell;
    for (const Trace *trace = e->trace; trace; trace = trace->region ? trace->outer : NULL) {
        const CellUse *use = find_use((Trace *)trace, cell);
        if (use && use->replaced)
            return cell;
    }
    return elab_is_averaged(e, cell, span) ? cell->average : cell;
}

static Inst *read_whole(Elab *e, Cell *cell, Span span)
{
    CellUse *use = find_use(e->trace, cell);
    if (use && use->current)
        return use->current;
    if (!elab_cell_resolve(e, cell, span) || cell->absent)
        return NULL;
    CellStack stack = elab_cell_stack(cell);
    return stack_fits(e, cell, &stack, span) ? value_in(e, e->trace, cell) : NULL;
}

Inst *elab_cell_whole(Elab *e, Cell *cell, Span span)
{
    return can_use(e, cell, span) ? read_whole(e, meant(e, cell, span), span) : NULL;
}

Inst *elab_cell_read(Elab *e, Cell *cell, Span span)
{
    if (!can_use(e, cell, span))
        return NULL;
    if (cell->tied)
        return elab_cell_tied(e, cell, span);
    cell = meant(e, cell, span);
    if (!read_whole(e, cell, span))
        return NULL;
    CellStack stack = elab_cell_stack(cell);
    return value_at(e, e->trace, cell, &stack, stack.count);
}

Inst *cell_current(Elab *e, const Cell *cell)
{
    for (Trace *trace = e->trace; trace; trace = trace->region ? trace->outer : NULL) {
        CellUse *use = find_use(trace, cell);
        if (use && use->current)
            return elab_cell_read(e, use->cell, cell->node->span);
    }
    return NULL;
}

// `whole` with `part` in the place of the pinned turns of levels `level` and further in.
static Inst *replaced(Elab *e, const CellStack *stack, int level, Inst *whole, Inst *part,
                      Span span)
{
    if (level == stack->count)
        return part;
    int64_t at = pinned(e, stack->repeat[level]), count = whole->type.dim[0];
    Inst *old = take_one(e, whole, at, span);
    part = old ? replaced(e, stack, level + 1, old, part, span) : NULL;
    if (!part)
        return NULL;
    Inst *in[3];
    int inputs = 0;
    Type row = whole->type;
    row.dim[0] = 1;
    for (int k = 0; k < 3; k++) {
        int64_t start = k == 0 ? 0 : k == 1 ? at : at + 1, stop = k == 0 ? at : k == 1 ? at : count;
        if (k == 1)
            in[inputs++] =
                elab_emit(e, OP_reshape, &part, 1, NULL, row, "a part of a repeat", span);
        if (start >= stop)
            continue;
        Attr attr[3] = {{.list = {.count = row.rank}},
                        {.list = {.count = row.rank}},
                        {.list = {.count = row.rank}}};
        for (int i = 0; i < row.rank; i++) {
            attr[0].list.at[i] = i == 0 ? start : 0;
            attr[1].list.at[i] = i == 0 ? stop : row.dim[i];
            attr[2].list.at[i] = 1;
        }
        in[inputs++] =
            elab_emit(e, OP_slice, &whole, 1, attr, (Type){0}, "a part of a repeat", span);
    }
    Attr axis = {.whole = 0};
    return elab_emit(e, OP_concat, in, inputs, &axis, (Type){0}, "a part of a repeat", span);
}

static bool store(Elab *e, Cell *cell, Inst *whole, Span span)
{
    CellStack stack = elab_cell_stack(cell);
    int level = cell_level(e->trace, cell, &stack);
    Type type = type_at(cell, &stack, level);
    if (!whole)
        return false;
    if (type_elements(whole->type) < type_elements(type)) { // of the pinned turn of an outer repeat
        CellStack above = stack;
        above.count = stack.count - (whole->type.rank - cell->type.rank);
        Inst *old = elab_cell_whole(e, cell, span);
        whole = old ? replaced(e, &above, level, old, whole, span) : NULL;
    } else if (!type_equal(whole->type, type)) { // all turns were run through as one axis
        whole = elab_emit(e, OP_reshape, &whole, 1, NULL, type, "a repeat", span);
    }
    if (!whole)
        return false;
    CellUse *use = find_use(e->trace, cell);
    if (!use)
        use = add_use(e, e->trace, cell);
    if (e->branching > 0 && !use->param)
        base(e, e->trace, use); // the other branch keeps the old value
    use->current = whole;
    use->written = true;
    return true;
}

void region_cells_close(Elab *e, Trace *trace)
{
    for (int i = 0; i < trace->use.count; i++) {
        CellUse *use = &trace->use.at[i];
        if (!use->written)
            continue;
        if (is_cut(trace, use->cell)) {
            use->stacked = elab_region_stack(e, use->current);
        } else if (base(e, trace, use)) {
            RegionInput *input = region_input(trace->region, use->param);
            input->kind = REGION_CARRIED;
            input->next = use->current;
        }
    }
}

bool region_cells_store(Elab *e, Trace *trace)
{
    bool fine = true;
    for (int i = 0; i < trace->use.count; i++) {
        const CellUse *use = &trace->use.at[i];
        if (!use->written)
            continue;
        Inst *value = is_cut(trace, use->cell) ? elab_region_stacked(trace, use->stacked)
                                               : elab_region_after(e, trace, use->param);
        fine = store(e, use->cell, value, use->cell->node->span) && fine;
    }
    return fine;
}

bool elab_cell_write(Elab *e, Cell *cell, Value value, Span span)
{
    if (value.kind == VALUE_POISON || !can_use(e, cell, span) || !elab_cell_resolve(e, cell, span))
        return false;
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
    CellStack stack = elab_cell_stack(cell);
    int level = cell_level(e->trace, cell, &stack);
    if (level < stack.count) {
        Inst *whole = elab_cell_whole(e, cell, span);
        inst = whole ? replaced(e, &stack, level, whole, inst, span) : NULL;
    }
    return store(e, cell, inst, span);
}

bool elab_keep_states(Elab *e, Inst *keep, Span span)
{
    Trace *trace = e->trace;
    for (int i = 0; i < trace->use.count; i++) {
        CellUse *use = &trace->use.at[i];
        if (!use->written)
            continue;
        if (!base(e, trace, use))
            return false;
        Type type = use->current->type;
        type.dtype = DTYPE_BOOL;
        Inst *in[] = {elab_broadcast_to(e, keep, type, "a step that is left out", span),
                      use->param, use->current};
        use->current =
            elab_emit(e, OP_select, in, 3, NULL, (Type){0}, "a step that is left out", span);
        if (!use->current)
            return false;
    }
    return true;
}

// A tree holds whole stacks.
bool elab_assign_whole(Elab *e, Cell *cell, Inst *whole, Span span)
{
    if (!can_use(e, cell, span) || !elab_cell_resolve(e, cell, span))
        return false;
    CellStack stack = elab_cell_stack(cell);
    int level = cell_level(e->trace, cell, &stack);
    if (level == stack.count)
        return elab_cell_write(e, cell, value_tensor(whole), span);
    Type type = type_at(cell, &stack, level);
    if (!type_equal(whole->type, type)) {
        report(e->cx, elab_span(e, span), type_mismatch,
               arena_printf(e->cx->arena, "what '%s' is updated with", cell->name),
               type_text(e->cx->arena, type), type_text(e->cx->arena, whole->type));
        return false;
    }
    return store(e, cell, whole, span);
}

bool elab_assign_tree(Elab *e, Value tree, Span span)
{
    if (tree.kind != VALUE_TREE)
        return false;
    bool fine = true;
    for (int i = 0; i < tree.as.tree->count; i++)
        fine = elab_assign_whole(e, tree.as.tree->cell[i], tree.as.tree->at[i], span) && fine;
    return fine;
}
