// eval.c: the meaning of a function: its instructions one after the other, each by its reference
// kernel.
//
// Every value has a buffer of its own, which is given back after its last reader, so that long
// functions need no more memory than what is alive.

#include <stdlib.h>
#include <string.h>

#include "diag/diag.h"
#include "ir/ir.h"

typedef struct Value {
    void **part; // one buffer a result
    int readers; // still to come
} Value;

static Type result_type(const Inst *inst, int index)
{
    return inst->results > 1 ? inst->result_type[index] : inst->type;
}

static void *buffer_new(IrFunction *fn, Span span, size_t bytes)
{
    void *at = calloc(1, bytes ? bytes : 1);
    if (!at)
        bug(fn->cx, span, "no memory for a value of %zu bytes", bytes);
    return at;
}

static void give_back(Value *value, const Inst *inst)
{
    for (int i = 0; i < inst->results && value->part; i++)
        free(value->part[i]);
    free(value->part);
    value->part = NULL;
}

static void drop_reader(Value *value, const Inst *inst)
{
    if (--value->readers == 0)
        give_back(value, inst);
}

// An operand of a contraction in a mixed function, rounded as it says, as the caller's buffer.
static void *rounded(IrFunction *fn, const Inst *inst, const void *at, Type type, DType narrowed)
{
    Type half = type;
    half.dtype = narrowed;
    void *narrow = buffer_new(fn, inst->span, (size_t)type_bytes(half)),
         *wide = buffer_new(fn, inst->span, (size_t)type_bytes(type));
    const void *from = at;
    ref_kernel[OP_cast](&(RefCall){OP_cast, NULL, 1, 1, &type, &from, &half, &narrow});
    from = narrow;
    ref_kernel[OP_cast](&(RefCall){OP_cast, NULL, 1, 1, &half, &from, &type, &wide});
    free(narrow);
    return wide;
}

// To what operands are rounded; F32: they are not.
static DType rounding(const IrFunction *fn, const Inst *inst)
{
    while (fn->parent)
        fn = fn->parent;
    return op_has(inst->op, CONTRACTS) && inst->type.dtype == DTYPE_F32 ? fn->mixed : DTYPE_F32;
}

// Runs one instruction into fresh buffers.
static void run(IrFunction *fn, const Inst *inst, Value *values, const int *place, void *const in[])
{
    Value *value = &values[place[inst->id]];
    value->part = buffer_new(fn, inst->span, sizeof(void *) * (size_t)inst->results);
    value->readers = inst->uses;
    Type *types = buffer_new(fn, inst->span, sizeof(Type) * (size_t)(inst->results + inst->inputs));
    const void **operand = buffer_new(fn, inst->span, sizeof(void *) * (size_t)(inst->inputs + 1));
    for (int i = 0; i < inst->results; i++) {
        types[i] = result_type(inst, i);
        value->part[i] = buffer_new(fn, inst->span, (size_t)type_bytes(types[i]));
    }
    for (int i = 0; i < inst->inputs; i++) {
        const Inst *from = inst->input[i];
        int part = inst->op == OP_get ? (int)inst->attr[0].whole : 0;
        types[inst->results + i] = result_type(from, part);
        operand[i] = values[place[from->id]].part[part];
    }
    if (inst->op == OP_parameter)
        operand[0] = in[inst->attr[0].whole];
    DType narrowed = rounding(fn, inst);
    bool mixed = narrowed != DTYPE_F32;
    for (int i = 0; mixed && i < inst->inputs; i++)
        if (inst_rounds(inst, i))
            operand[i] = rounded(fn, inst, operand[i], types[inst->results + i], narrowed);
    RefCall call = {inst->op, inst->attr, inst->inputs, inst->results, types + inst->results,
                    operand,  types,      value->part};
    ref_kernel[inst->op](&call);
    for (int i = 0; mixed && i < inst->inputs; i++)
        if (inst_rounds(inst, i))
            free((void *)(uintptr_t)operand[i]);
    free(types);
    free(operand);
}

void ir_evaluate(IrFunction *fn, void *const in[], void *const out[])
{
    const IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    int *place = buffer_new(fn, fn->span,
                            sizeof(int) * (size_t)(root->next_id + 1)); // by id: index into values
    int count = fn->param.count;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count++;
    Value *values = buffer_new(fn, fn->span, sizeof(Value) * (size_t)(count + 1));
    int next = 0;
    for (int i = 0; i < fn->param.count; i++) {
        place[fn->param.at[i]->id] = next++;
        run(fn, fn->param.at[i], values, place, in);
    }
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        place[inst->id] = next++;
        run(fn, inst, values, place, in);
        for (int i = 0; i < inst->inputs; i++)
            drop_reader(&values[place[inst->input[i]->id]], inst->input[i]);
        if (inst->uses == 0)
            give_back(&values[place[inst->id]], inst);
    }
    for (int i = 0; i < fn->result.count; i++) {
        const Inst *value = fn->result.at[i].value;
        memcpy(out[i], values[place[value->id]].part[0], (size_t)type_bytes(value->type));
    }
    for (int i = 0; i < fn->param.count; i++)
        give_back(&values[place[fn->param.at[i]->id]], fn->param.at[i]);
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        give_back(&values[place[inst->id]], inst);
    free(values);
    free(place);
}

// ---- kernels of the ops that hold functions ----------------------------------------------------

static void run_function(const RefCall *call)
{
    ir_evaluate(call->attr[0].function, (void *const *)call->in, call->out);
}

void ref_call(const RefCall *call)
{
    run_function(call);
}

void ref_fused(const RefCall *call)
{
    run_function(call);
}

// in[]: turn, carried, slices, the rest. The carried values are double-buffered: a turn reads one
// set and writes the other. A turn whose guard is false leaves them as they are.
void ref_loop(const RefCall *call)
{
    int64_t count = call->attr[0].whole;
    int carried = (int)call->attr[1].whole, sliced = (int)call->attr[2].whole;
    IrFunction *body = call->attr[3].function;
    void **in = buffer_new(body, body->span, sizeof(void *) * (size_t)(call->inputs + 1));
    void **out = buffer_new(body, body->span, sizeof(void *) * (size_t)call->results);
    void **spare = buffer_new(body, body->span, sizeof(void *) * (size_t)(carried + 1));
    for (int i = 0; i < carried; i++) {
        spare[i] = buffer_new(body, body->span, (size_t)type_bytes(call->out_type[i]));
        memcpy(call->out[i], call->in[i], (size_t)type_bytes(call->out_type[i]));
    }
    int64_t reverse = call->attr[4].whole, guard = call->attr[5].whole;
    for (int64_t done = 0; done < count; done++) {
        int64_t turn = reverse ? count - 1 - done : done;
        in[0] = &turn;
        for (int i = 0; i < call->inputs; i++) {
            char *from = (char *)(uintptr_t)call->in[i];
            if (i < carried)
                from = call->out[i];
            else if (i < carried + sliced)
                from += turn * (type_bytes(call->in_type[i]) / count);
            in[i + 1] = from;
        }
        for (int i = 0; i < call->results; i++)
            out[i] = i < carried
                         ? spare[i]
                         : (char *)call->out[i] + turn * (type_bytes(call->out_type[i]) / count);
        if (guard && !*(const bool *)in[guard]) {
            if (guard <= carried && call->results == carried)
                break; // nothing can make it true again
            for (int i = carried; i < call->results; i++)
                memset(out[i], 0, (size_t)(type_bytes(call->out_type[i]) / count));
            continue;
        }
        ir_evaluate(body, in, out);
        for (int i = 0; i < carried; i++)
            memcpy(call->out[i], spare[i], (size_t)type_bytes(call->out_type[i]));
    }
    for (int i = 0; i < carried; i++)
        free(spare[i]);
    free(spare);
    free(in);
    free(out);
}
