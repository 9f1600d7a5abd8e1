// narrow: what one loop leaves for another that only reads it rounded to 16 bits is stacked in
// 16 bits.
//
//   %a = loop { ... result %x : f32 }              ... result bf16(%x)
//   loop %a { parameter %p : f32; bf16(%p) }       parameter %p : bf16
//
// Rounding an element does not depend on where it is done, so every reader gets the same number.
// A parameter that is moved (sliced, transposed, ...) before it is rounded is moved in 16 bits. The
// producer mostly rounds the value for itself as well, and `cse` makes the two one.

#include "passes/pass.h"

static bool moves(const Inst *inst)
{
    return inst->op == OP_transpose || inst->op == OP_reshape || inst->op == OP_broadcast ||
           inst->op == OP_slice;
}

// Every reader of `value` in the function rounds it to `narrow` (to be found out if it is F32),
// perhaps after moving it.
static bool only_rounded(const IrFunction *fn, const Inst *value, DType *narrow)
{
    int read = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != value)
                continue;
            read++;
            if (moves(inst)) {
                if (!only_rounded(fn, inst, narrow))
                    return false;
                continue;
            }
            DType to = inst->type.dtype;
            if (inst->op != OP_cast || (to != DTYPE_BF16 && to != DTYPE_F16) ||
                (*narrow != DTYPE_F32 && *narrow != to))
                return false;
            *narrow = to;
        }
    return read > 0 && read == value->uses; // a result of the function is a use as well
}

// `value` has become one of the narrow type; its casts are left to dce.
static void retype_readers(IrFunction *fn, Inst *value)
{
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        bool reads = false;
        for (int i = 0; i < inst->inputs; i++)
            reads |= inst->input[i] == value;
        if (!reads)
            continue;
        if (moves(inst)) {
            inst->type.dtype = value->type.dtype;
            retype_readers(fn, inst);
        } else if (inst->type.dtype == value->type.dtype) { // not one that widens it again
            ir_replace_uses(fn, inst, value);
        }
    }
}

// The parameter of a loop's body that an input is, if it is cut into turns; else NULL.
static Inst *slice_param(const Inst *loop, int input)
{
    int64_t carried = loop->attr[1].whole, sliced = loop->attr[2].whole;
    if (loop->op != OP_loop || input < carried || input >= carried + sliced)
        return NULL;
    return loop->attr[3].function->param.at[input + 1];
}

// All readers of a stacked result cut it into turns and round these.
static bool readers_round(const IrFunction *fn, const Inst *stacked, DType *narrow)
{
    int read = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != stacked)
                continue;
            read++;
            const Inst *param = slice_param(inst, i);
            if (!param || !only_rounded(inst->attr[3].function, param, narrow))
                return false;
        }
    return read > 0 && read == stacked->uses;
}

static void narrow_readers(IrFunction *fn, Inst *stacked)
{
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != stacked)
                continue;
            Inst *param = slice_param(inst, i);
            param->type.dtype = stacked->type.dtype;
            retype_readers(inst->attr[3].function, param);
        }
}

static bool narrow_result(IrFunction *fn, Inst *loop, int result)
{
    Inst *stacked = loop->results == 1 ? loop : NULL;
    for (Inst *get = loop->next; get && loop->results > 1; get = get->next)
        if (get->op == OP_get && get->input[0] == loop && get->attr[0].whole == result) {
            if (stacked)
                return false; // `cse` will make them one
            stacked = get;
        }
    DType narrow = DTYPE_F32;
    if (!stacked || stacked->type.dtype != DTYPE_F32 || !readers_round(fn, stacked, &narrow))
        return false;
    IrFunction *body = loop->attr[3].function;
    IrResult *inside = &body->result.at[result];
    Inst *value = inside->value;
    inside->value = ir_cast(body, value, narrow, value->span);
    inside->value->uses++;
    value->uses--;
    stacked->type.dtype = narrow;
    ir_set_result_type(loop, result, stacked->type);
    narrow_readers(fn, stacked);
    return true;
}

bool pass_narrow(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = inst->op == OP_loop ? (int)inst->attr[1].whole : 0;
             inst->op == OP_loop && i < inst->results; i++)
            changed |= narrow_result(fn, inst, i);
    return changed;
}
