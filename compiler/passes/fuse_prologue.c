// fuse_prologue.c: which values convolutions compute where they copy their image.
//
// A batch norm between two convolutions, with what follows it element by element (relu), can be no
// epilogue of the first one, whose whole result its statistics are made of. It is a prologue of the
// second one instead, and of what else reads it, such as the gradient for the weights: it is
// neither written nor kept for the gradients, which read the first one's result anyway.

#include "passes/fuse.h"

typedef Vec(Inst *) Users;

typedef struct Finder {
    Arena *arena;
    Users *user;   // of each instruction, by its mark
    bool *result;  // is one of the function
    bool *made;    // what was found
    int64_t *seen; // the last walk that met it
    int64_t walk;
} Finder;

typedef struct Norm {
    Users made;           // what computes it
    const Inst *image;    // the other convolution's result, with its bias
    Vec(const Inst *) of; // what is the same for a channel
    bool fits;
} Norm;

static bool is_cheap(Op op)
{
    return op == OP_add || op == OP_sub || op == OP_mul || op == OP_neg || op == OP_min ||
           op == OP_max || op == OP_select || op == OP_lt || op == OP_le;
}

static bool is_part(const Norm *norm, const Inst *inst)
{
    for (int i = 0; i < norm->made.count; i++)
        if (norm->made.at[i] == inst)
            return true;
    return false;
}

// Statistics are made of it, or something else that needs it in memory: a convolution with its
// bias.
static bool is_stored(Finder *f, const Inst *inst)
{
    const Users *users = &f->user[inst->mark];
    for (int i = 0; i < users->count; i++)
        if (users->at[i]->op == OP_reduce || users->at[i]->op == OP_slice)
            return true;
    return false;
}

static void collect(Finder *f, Norm *norm, Inst *inst, Type type)
{
    enum { MOST = 8 }; // operations: each reader does them again
    double value;
    if (is_part(norm, inst) || inst_is_splat(inst, &value))
        return;
    if (inst->op == OP_broadcast && shape_equal(inst->type, type)) {
        IntList axes = inst->attr[0].list;
        norm->fits &= axes.count == 0 || (axes.count == 1 && axes.at[0] == 1);
        vec_push(f->arena, &norm->of, inst->input[0]);
    } else if (is_cheap(inst->op) && !is_stored(f, inst)) {
        norm->fits &=
            shape_equal(inst->type, type) && norm->made.count < MOST && !f->result[inst->mark];
        vec_push(f->arena, &norm->made, inst);
        for (int i = 0; i < inst->inputs && norm->fits; i++)
            collect(f, norm, inst->input[i], type);
    } else {
        norm->fits &= (!norm->image || norm->image == inst) &&
                      (inst_is_product(inst) || is_cheap(inst->op)) &&
                      shape_equal(inst->type, type) && inst->type.dtype == DTYPE_F32;
        norm->image = inst;
    }
}

// Is `inst` made of `from`, which is older?
static bool depends_on(Finder *f, const Inst *inst, const Inst *from)
{
    if (inst == from)
        return true;
    if (inst->op == OP_parameter || inst->mark < from->mark || f->seen[inst->mark] == f->walk)
        return false;
    f->seen[inst->mark] = f->walk;
    for (int i = 0; i < inst->inputs; i++)
        if (depends_on(f, inst->input[i], from))
            return true;
    return false;
}

// A convolution, or its gradient for the weights, that copies this image in any case, since
// something is put around it.
static bool copies(const Inst *inst, const Inst *image)
{
    AmlConv c;
    AmlConvWeight w;
    bool around = false;
    if ((inst->op != OP_conv && inst->op != OP_conv_weight) || inst->input[0] != image ||
        inst->input[1] == image)
        return false;
    for (int i = 0; i < inst->attr[1].list.count; i++)
        around |= inst->attr[1].list.at[i] > 0;
    if (inst->op == OP_conv)
        return around && !inst->attr[5].whole && conv_shape(inst, 64, false, &c) && !c.depth;
    return around && conv_weight_shape(inst, 64, false, &w) && !w.depthwise;
}

// All that reads it are convolutions that copy it, and a few nests and epilogues.
static bool readers_compute(Finder *f, const Norm *norm)
{
    enum { MOST_NESTS = 2 };
    int nests = 0, copied = 0;
    for (int i = 0; i < norm->made.count; i++) {
        const Inst *made = norm->made.at[i];
        const Users *users = &f->user[made->mark];
        for (int k = 0; k < users->count; k++) {
            const Inst *user = users->at[k];
            if (is_part(norm, user))
                continue;
            if (copies(user, made))
                copied++;
            else if (op_has(user->op, POINTWISE) && shape_equal(user->type, made->type))
                nests++;
            else
                return false;
        }
    }
    return copied > 0 && nests <= MOST_NESTS;
}

static void find(Finder *f, Inst *image)
{
    enum { LEAST_BYTES = 1 << 16 }; // less is near, and a kernel more to compile
    Norm norm = {.fits = true};
    if (image->type.dtype != DTYPE_F32 || type_bytes(image->type) < LEAST_BYTES ||
        !is_cheap(image->op))
        return;
    collect(f, &norm, image, image->type);
    if (!norm.fits || !norm.image || !readers_compute(f, &norm))
        return;
    bool statistics = false;
    f->walk++;
    for (int i = 0; i < norm.of.count; i++)
        statistics |= depends_on(f, norm.of.at[i], norm.image);
    for (int i = 0; i < norm.made.count && statistics; i++)
        f->made[norm.made.at[i]->mark] = true;
}

const bool *find_prologues(IrFunction *fn, int count)
{
    Arena *arena = fn->cx->scratch;
    Finder finder = {.arena = arena,
                     .user = NEW_ARRAY(arena, Users, count + 1),
                     .result = NEW_ARRAY(arena, bool, count + 1),
                     .made = NEW_ARRAY(arena, bool, count + 1),
                     .seen = NEW_ARRAY(arena, int64_t, count + 1)},
           *f = &finder;
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].value->op != OP_parameter)
            f->result[fn->result.at[i].value->mark] = true;
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i]->op != OP_parameter)
                vec_push(arena, &f->user[inst->input[i]->mark], inst);
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_conv)
            find(f, inst->input[0]);
    return f->made;
}
