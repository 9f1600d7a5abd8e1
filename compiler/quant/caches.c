// caches.c: cached keys and values in 16 bits, in a program whose weights are stored short: they
// are what a token reads besides the weights.
//
// A cache is narrowed if only attention reads it. It may be a slice of a stack, in the loop of a
// repeat. Instructions stay; the types along the cache's way change, and what is put into it is
// rounded before.

#include "quant/rounding.h"

#include <string.h>

// A cache on its way through a function: where it comes in, and where it goes on.
typedef struct Way {
    Inst *loop;          // which takes slices of the state; NULL: none
    Inst *state, *param; // param: the slice, or the state
    Inst *update;        // the scatter_add
    Inst *out;           // what the state becomes
    int result;          // of the loop
} Way;

static Inst *state_of(const IrFunction *fn, int row)
{
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_STATE && fn->param_slot.at[i].index == row)
            return fn->param.at[i];
    return NULL;
}

static Inst *result_of(const IrFunction *fn, int row)
{
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_STATE && fn->result.at[i].slot.index == row)
            return fn->result.at[i].value;
    return NULL;
}

// The only instruction that reads a value, at `input`; NULL: there are others, or a result is it.
static Inst *only_reader(const IrFunction *fn, const Inst *value, int *input)
{
    Inst *found = NULL;
    for (Inst *inst = fn->first; inst && value->uses == 1; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == value)
                found = inst, *input = i;
    return found;
}

// Whether attention is all that reads what a cache has become, but for one result.
static bool only_attends(const IrFunction *fn, const Inst *update)
{
    int readers = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            readers += inst->input[i] == update && inst->op == OP_attend_cached && i < 3;
    return readers > 0 && update->uses == readers + 1;
}

static bool find_way(const IrFunction *fn, int row, Way *way)
{
    int input = 0;
    *way = (Way){.state = state_of(fn, row), .out = result_of(fn, row)};
    if (!way->state || !way->out || way->state->type.dtype != DTYPE_F32)
        return false;
    Inst *reader = only_reader(fn, way->state, &input);
    way->param = way->state;
    const IrFunction *inside = fn;
    if (reader && reader->op == OP_loop) {
        int carried = (int)reader->attr[1].whole, sliced = (int)reader->attr[2].whole;
        if (input < carried || input >= carried + sliced)
            return false;
        way->loop = reader;
        inside = reader->attr[3].function;
        way->param = inside->param.at[input + 1];
        reader = only_reader(inside, way->param, &input);
    }
    if (!reader || reader->op != OP_scatter_add || input != 0 || !only_attends(inside, reader))
        return false;
    way->update = reader;
    if (!way->loop)
        return way->out == reader;
    for (int i = (int)way->loop->attr[1].whole; i < inside->result.count; i++)
        if (inside->result.at[i].value == reader)
            way->result = i;
    if (way->loop->results == 1)
        return way->out == way->loop;
    return way->result > 0 && way->out->op == OP_get && way->out->uses == 1 &&
           way->out->input[0] == way->loop && way->out->attr[0].whole == way->result;
}

bool cache_can_narrow(const IrFunction *fn, int row)
{
    Way way;
    return find_way(fn, row, &way);
}

void cache_narrow(IrFunction *fn, int row, DType to)
{
    Way way;
    if (!find_way(fn, row, &way))
        return;
    Inst *added = way.update->input[2];
    Type narrow = added->type;
    narrow.dtype = to;
    ir_set_input(way.update, 2,
                 ir_insert_before(way.update, OP_cast, &added, 1, NULL, narrow, added->span));
    way.state->type.dtype = way.param->type.dtype = way.update->type.dtype = to;
    way.out->type.dtype = to;
    if (way.loop && way.loop->results > 1) {
        size_t bytes = sizeof(Type) * (size_t)way.loop->results;
        Type *types = arena_copy(fn->cx->arena, way.loop->result_type, bytes);
        types[way.result].dtype = to;
        way.loop->result_type = types;
        if (way.result == 0)
            way.loop->type.dtype = to;
    }
}
