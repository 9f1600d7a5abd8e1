// precision: in a function that is marked `mixed`, operands of contractions are rounded to bf16 or
// f16.
//
//   dot(a, b)   becomes   dot(f32(bf16(a)), f32(bf16(b)))
//
// That is what such a function means already (ir/eval.c); here it is written out. A product of two
// bf16 numbers is exact in f32, and sums stay f32, so this is what hardware with bf16 units
// computes, up to the order of the sum; a device without them gives the same numbers. Everything
// else (weights, norms, softmax, losses, what optimizers do element by element) stays f32.
//
// A value is rounded where it is made, before it is transposed, reshaped or repeated, and once for
// all contractions that read it: rounding an element does not depend on where it is.

#include "passes/pass.h"

typedef struct Rounding {
    Inst **rounded; // by id: the rounded value
    int count;      // ids below it existed before the pass
    DType to;
} Rounding;

static bool moves(const Inst *inst)
{
    return inst->op == OP_transpose || inst->op == OP_reshape || inst->op == OP_broadcast;
}

// Values are asked for in the order of their contractions, so what is made before `place` is there
// for all later ones.
static Inst *rounded(Rounding *r, Inst *in, Inst *place)
{
    if (in->id >= r->count || in->type.dtype != DTYPE_F32)
        return in;
    Inst **known = &r->rounded[in->id];
    if (*known)
        return *known;
    if (moves(in)) {
        Inst *inner = rounded(r, in->input[0], place);
        return *known = ir_clone_before(place, in, &inner);
    }
    Type narrow = in->type;
    narrow.dtype = r->to;
    Inst *half = ir_insert_before(place, OP_cast, &in, 1, NULL, narrow, in->span);
    return *known = ir_insert_before(place, OP_cast, &half, 1, NULL, in->type, in->span);
}

bool pass_precision(IrFunction *fn)
{
    IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    if (root->mixed == DTYPE_F32)
        return false;
    Rounding r = {NEW_ARRAY(fn->cx->scratch, Inst *, root->next_id + 1), root->next_id,
                  root->mixed};
    bool changed = false;
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (!op_has(inst->op, CONTRACTS) || inst->type.dtype != DTYPE_F32)
            continue;
        for (int i = 0; i < inst->inputs; i++) {
            if (!inst_rounds(inst, i))
                continue;
            Inst *half = rounded(&r, inst->input[i], inst);
            changed |= half != inst->input[i];
            ir_set_input(inst, i, half);
        }
    }
    return changed;
}
