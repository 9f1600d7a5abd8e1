// batch.c: a region whose turns have nothing to do with each other as instructions on whole stacks:
// each of its values gets one more axis in front, that of the turns.
//
//     region, 48 turns:  m: f32[64]   0.9 * m          outer trace:  f32[48, 64]   0.9 * m
//
// So an optimizer updates the weights of 48 layers like one weight, in one loop nest, and what it
// computes of a weight alone (its length, say) is still computed for each layer.

#include "elab/internal.h"

static bool varies_at_all(const Inst *inst)
{
    return inst->mark != 0;
}

// Marks what differs from turn to turn. The turn itself is there only to make random numbers
// differ, which a larger draw does too.
static void mark_varying(const Trace *trace)
{
    const Region *region = trace->region;
    region->turn->mark = 0;
    for (int i = 0; i < region->input.count; i++)
        region->input.at[i].inside->mark = region->input.at[i].kind == REGION_SLICED;
    for (Inst *inst = trace->fn->first; inst; inst = inst->next) {
        inst->mark = inst->op == OP_random;
        for (int i = 0; i < inst->inputs; i++)
            inst->mark |= inst->input[i]->mark;
    }
}

static bool op_possible(const Inst *inst)
{
    if (inst->type.rank >= IR_MAX_RANK)
        return false;
    if (op_has(inst->op, POINTWISE))
        return true;
    switch ((int)inst->op) {
    case OP_random:
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_concat:
    case OP_reduce:
    case OP_argmax:
    case OP_stop_gradient:
        return true;
    case OP_dot:
        return inst->attr[2].list.count < IR_MAX_RANK - 1;
    case OP_pad:
        return !varies_at_all(inst->input[1]);
    case OP_gather:
        return !varies_at_all(inst->input[1]);
    default:
        return false;
    }
}

static bool possible(const Trace *trace)
{
    const Region *region = trace->region;
    mark_varying(trace);
    for (int i = 0; i < region->input.count; i++)
        if (region->input.at[i].kind == REGION_CARRIED)
            return false;
    for (const Inst *inst = trace->fn->first; inst; inst = inst->next)
        if (varies_at_all(inst) && !op_possible(inst))
            return false;
    for (int i = 0; i < region->stacked.count; i++)
        if (region->stacked.at[i]->type.rank >= IR_MAX_RANK)
            return false;
    return true;
}

typedef struct Batch {
    Elab *e;
    const Trace *trace;
    IrFunction *fn; // the outer one
    Inst **twin;    // by id in the body: its counterpart, NULL if not made yet
} Batch;

static Type with_turns(const Batch *b, Type type)
{
    Type out = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {b->trace->region->count}};
    for (int i = 0; i < type.rank; i++)
        out.dim[i + 1] = type.dim[i];
    return out;
}

static IntList shifted(IntList list, int first)
{
    IntList out = {0};
    if (first >= 0)
        out.at[out.count++] = first;
    for (int i = 0; i < list.count; i++)
        out.at[out.count++] = list.at[i] + 1;
    return out;
}

static IntList in_front(int64_t first, IntList list)
{
    IntList out = {.count = list.count + 1, .at = {first}};
    for (int i = 0; i < list.count; i++)
        out.at[i + 1] = list.at[i];
    return out;
}

// The counterpart with the axis of the turns, also of what is the same each turn.
static Inst *stacked(Batch *b, const Inst *inst)
{
    Inst *twin = b->twin[inst->id];
    if (varies_at_all(inst))
        return twin;
    IntList axes = {.count = inst->type.rank};
    for (int i = 0; i < axes.count; i++)
        axes.at[i] = i + 1;
    return ir_broadcast(b->fn, twin, with_turns(b, inst->type), axes, inst->span);
}

static Inst *batched(Batch *b, const Inst *inst)
{
    Attr attr[IR_MAX_ATTRS];
    Type given = with_turns(b, inst->type);
    Inst **in = NEW_ARRAY(b->e->cx->arena, Inst *, inst->inputs + 1);
    for (int i = 0; i < IR_MAX_ATTRS; i++)
        attr[i] = inst->attr[i];
    for (int i = 0; i < inst->inputs; i++)
        in[i] = inst->op == OP_random ? b->twin[inst->input[i]->id] : stacked(b, inst->input[i]);
    switch ((int)inst->op) {
    case OP_broadcast:
    case OP_transpose:
        attr[0].list = shifted(attr[0].list, 0);
        break;
    case OP_slice:
        attr[0].list = in_front(0, attr[0].list);
        attr[1].list = in_front(b->trace->region->count, attr[1].list);
        attr[2].list = in_front(1, attr[2].list);
        break;
    case OP_pad:
        in[1] = b->twin[inst->input[1]->id];
        attr[0].list = in_front(0, attr[0].list);
        attr[1].list = in_front(0, attr[1].list);
        break;
    case OP_gather:
        in[1] = b->twin[inst->input[1]->id];
        attr[0].whole++;
        break;
    case OP_concat:
    case OP_argmax:
        attr[0].whole++;
        break;
    case OP_reduce:
        attr[1].list = shifted(attr[1].list, -1);
        break;
    case OP_dot:
        for (int i = 0; i < 4; i++)
            attr[i].list = shifted(attr[i].list, i < 2 ? -1 : 0);
        break;
    default:
        break;
    }
    return ir_append(b->fn, inst->op, in, inst->inputs, attr, given, inst->span);
}

bool region_batch(Elab *e, Trace *trace)
{
    Region *region = trace->region;
    if (!possible(trace))
        return elab_region_emit(e, trace);
    Batch b = {.e = e, .trace = trace, .fn = e->trace->fn};
    b.twin = NEW_ARRAY(e->cx->arena, Inst *, trace->fn->next_id + 1);
    if (region->turn->uses > 0)
        b.twin[region->turn->id] = ir_real(b.fn, region->turn->type, 0, trace->fn->span);
    for (int i = 0; i < region->input.count; i++)
        b.twin[region->input.at[i].inside->id] = region->input.at[i].outside;
    for (Inst *inst = trace->fn->first; inst; inst = inst->next) {
        if (varies_at_all(inst)) {
            b.twin[inst->id] = batched(&b, inst);
            continue;
        }
        Inst **in = NEW_ARRAY(e->cx->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = b.twin[inst->input[i]->id];
        b.twin[inst->id] = ir_clone_into(b.fn, inst, in);
    }
    region->result = NEW_ARRAY(e->cx->arena, Inst *, region->stacked.count + 1);
    for (int i = 0; i < region->stacked.count; i++)
        region->result[i] = stacked(&b, region->stacked.at[i]);
    return region_cells_store(e, trace);
}

Inst *elab_on_each(Elab *e, Cell *cell, Inst *const whole[], int count, EachBody *body, void *data,
                   Span span)
{
    CellStack stack = elab_cell_stack(cell);
    int levels = stack.count - cell_level(e->trace, cell, &stack);
    if (levels == 0)
        return body(e, whole, data);
    int64_t turns = 1;
    for (int i = stack.count - levels; i < stack.count; i++)
        turns *= stack.repeat[i]->turns;
    Inst **one = NEW_ARRAY(e->cx->arena, Inst *, count + 1);
    for (int i = 0; i < count; i++) {
        Type flat = {.dtype = whole[i]->type.dtype,
                     .rank = whole[i]->type.rank - levels + 1,
                     .dim = {turns}};
        for (int k = 1; k < flat.rank; k++)
            flat.dim[k] = whole[i]->type.dim[k + levels - 1];
        one[i] = whole[i];
        if (levels > 1)
            one[i] = elab_emit(e, OP_reshape, &one[i], 1, NULL, flat, "a stack of weights", span);
        if (!one[i])
            return NULL;
    }
    Trace *trace = elab_region_begin(e, turns, span);
    trace->each = cell->of ? cell->of : cell;
    for (int i = 0; i < count; i++)
        one[i] = elab_region_slice(e, one[i]);
    Inst *result = body(e, one, data);
    if (result)
        elab_region_stack(e, result);
    if (!elab_region_close(e, trace, result != NULL) || !region_batch(e, trace))
        return NULL;
    Inst *all = elab_region_stacked(trace, 0);
    if (levels == 1)
        return all;
    Type type = {.dtype = all->type.dtype, .rank = all->type.rank + levels - 1};
    for (int i = 0; i < type.rank; i++)
        type.dim[i] = i < levels ? stack.repeat[stack.count - levels + i]->turns
                                 : all->type.dim[i - levels + 1];
    return elab_emit(e, OP_reshape, &all, 1, NULL, type, "a stack of weights", span);
}
