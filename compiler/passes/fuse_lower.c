// fuse_lower.c: what fuse does before it groups, and what code generation needs if nothing was
// grouped.

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"

// ---- making fused instructions ------------------------------------------------------------------

// The instruction that stands for a body needs one parameter for each different input.
static void wrap_one(IrFunction *fn, Inst *inst)
{
    Cx *cx = fn->cx;
    IrFunction *body = ir_function_new(cx, NULL, NULL, inst->span);
    Inst **outer = NEW_ARRAY(cx->scratch, Inst *, inst->inputs + 1),
         **inner = NEW_ARRAY(cx->scratch, Inst *, inst->inputs + 1);
    int inputs = 0;
    for (int i = 0; i < inst->inputs; i++) {
        int found = 0;
        while (found < inputs && outer[found] != inst->input[i])
            found++;
        if (found == inputs) {
            outer[inputs++] = inst->input[i];
            ir_param(body, inst->input[i]->type, (Slot){0}, NULL, inst->span);
        }
        inner[i] = body->param.at[found];
    }
    ir_result(body, ir_clone_into(body, inst, inner), (Slot){0}, NULL);
    Attr attr = {.function = body};
    Inst *fused = ir_insert_before(inst, OP_fused, outer, inputs, &attr, (Type){0}, inst->span);
    ir_replace_uses(fn, inst, fused);
    ir_remove(fn, inst);
}

static bool needs_body(const Inst *inst)
{
    if (inst_in_register(inst) || inst_is_alias(inst))
        return false;
    if (inst->op == OP_constant)
        return inst->attr[0].data.splat && inst->type.rank > 0;
    bool moves = inst->op == OP_broadcast || inst->op == OP_reshape || inst->op == OP_transpose ||
                 inst->op == OP_slice || inst->op == OP_gather || inst->op == OP_take_along ||
                 inst->op == OP_iota || inst->op == OP_stop_gradient || inst->op == OP_window ||
                 inst->op == OP_unwindow;
    if (inst->op == OP_pad)
        return inst_is_outer_pad(inst);
    return moves || op_has(inst->op, POINTWISE) || inst->op == OP_reduce || inst_is_product(inst);
}

// ---- products -----------------------------------------------------------------------------------

static bool listed(IntList list, int64_t axis)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == axis)
            return true;
    return false;
}

static Inst *insert(Inst *place, Op op, Inst *in, Attr attr, Type given)
{
    return ir_insert_before(place, op, &in, in ? 1 : 0, &attr, given, place->span);
}

// An operand as [batch, the rest, contracted], of the type in which the sum is made.
static Inst *product_operand(Inst *dot, Inst *in, IntList contract, IntList batch, DType dtype)
{
    IntList order = batch;
    int64_t sizes[3] = {1, 1, 1};
    for (int axis = 0; axis < in->type.rank; axis++) {
        bool rest = !listed(contract, axis) && !listed(batch, axis);
        sizes[listed(batch, axis) ? 0 : rest ? 1 : 2] *= in->type.dim[axis];
        if (rest)
            order.at[order.count++] = axis;
    }
    for (int i = 0; i < contract.count; i++)
        order.at[order.count++] = contract.at[i];
    bool moved = false;
    for (int i = 0; i < order.count; i++)
        moved |= order.at[i] != i;
    in = product_stored(in);
    if (moved)
        in = insert(dot, OP_transpose, in, (Attr){.list = order}, (Type){0});
    in = insert(dot, OP_reshape, in, (Attr){0}, type_make(in->type.dtype, 3, sizes));
    if (in->type.dtype == dtype)
        return in;
    return insert(dot, OP_cast, in, (Attr){0}, type_make(dtype, 0, NULL));
}

static void widen_dot(IrFunction *fn, Inst *dot, DType wide)
{
    Type type = type_make(wide, 0, NULL);
    Inst *a = insert(dot, OP_cast, dot->input[0], (Attr){0}, type);
    Inst *b = insert(dot, OP_cast, dot->input[1], (Attr){0}, type), *in[] = {a, b};
    Inst *sum = ir_insert_before(dot, OP_dot, in, 2, dot->attr, (Type){0}, dot->span);
    ir_replace_uses(fn, dot,
                    insert(dot, OP_cast, sum, (Attr){0}, type_make(dot->type.dtype, 0, NULL)));
    ir_remove(fn, dot);
}

// The contracted axes lie in another order in one operand than in the other, so they do not
// collapse: the smaller operand is moved to the order of the larger one. False if that does not
// help.
static bool move_smaller(IrFunction *fn, Inst *dot)
{
    int small = type_elements(dot->input[0]->type) > type_elements(dot->input[1]->type);
    Inst *in = dot->input[small];
    IntList contract = dot->attr[small].list, other = dot->attr[!small].list,
            order = dot->attr[small + 2].list;
    for (int i = 1; i < other.count; i++)
        for (int k = i; k > 0 && other.at[k] < other.at[k - 1]; k--) {
            int64_t a = other.at[k], b = contract.at[k];
            other.at[k] = other.at[k - 1], contract.at[k] = contract.at[k - 1];
            other.at[k - 1] = a, contract.at[k - 1] = b;
        }
    Attr attr[4];
    memcpy(attr, dot->attr, sizeof attr);
    attr[!small].list = other;
    for (int i = 0; i < contract.count; i++) {
        attr[small].list.at[i] = order.count;
        order.at[order.count++] = contract.at[i];
    }
    for (int i = 0; i < attr[small + 2].list.count; i++)
        attr[small + 2].list.at[i] = i;
    for (int axis = 0; axis < in->type.rank; axis++)
        if (!listed(contract, axis) && !listed(dot->attr[small + 2].list, axis))
            order.at[order.count++] = axis;
    Inst *moved = insert(dot, OP_transpose, in, (Attr){.list = order}, (Type){0});
    Inst *operands[] = {small ? dot->input[0] : moved, small ? moved : dot->input[1]};
    Inst *better = ir_insert_before(dot, OP_dot, operands, 2, attr, (Type){0}, dot->span);
    DotShape shape;
    bool collapses = dot_shape(better, &shape);
    if (collapses)
        ir_replace_uses(fn, dot, better);
    ir_remove(fn, collapses ? dot : better);
    if (!collapses)
        ir_remove(fn, moved);
    return collapses;
}

// The kernels multiply matrices of f32 and f64. Everything else becomes that: 16-bit floats are
// widened, axes that do not collapse are moved; integers, and scalars, are multiplied and folded,
// but for bytes that have a kernel (quads).
static void lower_dot(IrFunction *fn, Inst *dot)
{
    DType dtype = dot->type.dtype,
          wide = dtype == DTYPE_F16 || dtype == DTYPE_BF16 ? DTYPE_F32 : dtype;
    bool real = dtype_info[dtype].kind == KIND_FLOAT;
    DotShape shape;
    if (real && dot->input[0]->type.rank && dot->input[1]->type.rank && dot_shape(dot, &shape)) {
        if (wide != dtype)
            widen_dot(fn, dot, wide);
        return;
    }
    if (real && wide == dtype && dot->input[0]->type.rank && dot->input[1]->type.rank &&
        move_smaller(fn, dot))
        return;
    half_sink_one(dot);
    bool bytes = inst_sums_bytes(dot) && dot->input[1]->op == OP_constant;
    if (bytes && dot_shape(dot, &shape) && dot_quads(&shape))
        return;
    Inst *a = product_operand(dot, dot->input[0], dot->attr[0].list, dot->attr[2].list, wide);
    Inst *b = product_operand(dot, dot->input[1], dot->attr[1].list, dot->attr[3].list, wide), *sum;
    IntList last = {1, {2}}, first = {1, {0}};
    if (real) {
        Inst *in[] = {a, b};
        Attr attr[] = {{.list = last}, {.list = last}, {.list = first}, {.list = first}};
        sum = ir_insert_before(dot, OP_dot, in, 2, attr, (Type){0}, dot->span);
    } else {
        int64_t space[] = {a->type.dim[0], a->type.dim[1], b->type.dim[1], a->type.dim[2]};
        Type all = type_make(wide, 4, space);
        Inst *in[] = {insert(dot, OP_broadcast, a, (Attr){.list = {3, {0, 1, 3}}}, all),
                      insert(dot, OP_broadcast, b, (Attr){.list = {3, {0, 2, 3}}}, all)};
        Inst *each = ir_insert_before(dot, OP_mul, in, 2, NULL, (Type){0}, dot->span);
        Attr attr[] = {{.reducer = REDUCE_SUM}, {.list = {1, {3}}}};
        sum = ir_insert_before(dot, OP_reduce, &each, 1, attr, (Type){0}, dot->span);
    }
    Type type = dot->type;
    type.dtype = wide;
    sum = insert(dot, OP_reshape, sum, (Attr){0}, type);
    if (wide != dtype)
        sum = insert(dot, OP_cast, sum, (Attr){0}, type_make(dtype, 0, NULL));
    ir_replace_uses(fn, dot, sum);
    ir_remove(fn, dot);
}

// Keys are compared as f32, f64, i32 or i64.
static void widen_keys(Inst *sort)
{
    Type type = sort->input[0]->type;
    DType wide = dtype_info[type.dtype].kind == KIND_FLOAT ? DTYPE_F32 : DTYPE_I32;
    if (dtype_info[type.dtype].bytes < 4)
        ir_set_input(sort, 0,
                     insert(sort, OP_cast, sort->input[0], (Attr){0}, type_make(wide, 0, NULL)));
}

static void lower_kernels(IrFunction *fn)
{
    conv_lower(fn);
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op == OP_dot)
            lower_dot(fn, inst);
        else if (inst->op == OP_argsort)
            widen_keys(inst);
    }
}

// ---- data movement ------------------------------------------------------------------------------

// A reshape that only adds and drops axes of size 1, below a broadcast: the broadcast can do that
// itself.
static bool broadcast_of_squeeze(IrFunction *fn, Inst *inst)
{
    Inst *reshape = inst->input[0];
    if (reshape->op != OP_reshape)
        return false;
    Type in = reshape->input[0]->type, out = reshape->type;
    IntList axes = {.count = in.rank};
    int to = 0;
    for (int i = 0; i < in.rank; i++) {
        if (in.dim[i] == 1)
            return false;
        while (to < out.rank && out.dim[to] == 1)
            to++;
        if (to == out.rank || out.dim[to] != in.dim[i])
            return false;
        axes.at[i] = inst->attr[0].list.at[to++];
    }
    Inst *direct = insert(inst, OP_broadcast, reshape->input[0], (Attr){.list = axes}, inst->type);
    ir_replace_uses(fn, inst, direct);
    ir_remove(fn, inst);
    return true;
}

// A reshape that only adds axes of size 1.
static bool adds_units(const Inst *inst)
{
    if (inst->op != OP_reshape || inst->type.rank <= inst->input[0]->type.rank)
        return false;
    Type in = inst->input[0]->type, out = inst->type;
    int at = 0;
    for (int i = 0; i < out.rank; i++) {
        if (at < in.rank && in.dim[at] == out.dim[i])
            at++;
        else if (out.dim[i] != 1)
            return false;
    }
    return at == in.rank && at > 0;
}

static bool one_number(const Inst *inst)
{
    return (inst->op == OP_constant && inst->attr[0].data.splat) ||
           (inst->op == OP_broadcast && inst->input[0]->type.rank == 0);
}

// What is computed of sums whose folded axes were kept with size 1 is computed of the sums as they
// are, and gets the axes afterwards: so a mean is made in the nest of its sum, and what reads it
// along the row can be in that nest too.
static bool sink_units(IrFunction *fn, Inst *inst)
{
    const Inst *units = NULL;
    for (int i = 0; i < inst->inputs && !units; i++)
        if (adds_units(inst->input[i]))
            units = inst->input[i];
    if (!units)
        return false;
    Type shape = units->input[0]->type;
    for (int i = 0; i < inst->inputs; i++) {
        const Inst *in = inst->input[i];
        bool same = adds_units(in) && shape_equal(in->input[0]->type, shape);
        if (!same && !one_number(in))
            return false;
    }
    Inst *in[3];
    for (int i = 0; i < inst->inputs; i++) {
        Inst *from = inst->input[i];
        Type type = shape;
        type.dtype = from->type.dtype;
        if (adds_units(from))
            in[i] = from->input[0];
        else
            in[i] = ir_insert_before(inst, from->op, from->input, from->inputs, from->attr, type,
                                     from->span);
    }
    Type given = inst->op == OP_cast ? type_make(inst->type.dtype, 0, NULL) : (Type){0};
    Inst *small = ir_insert_before(inst, inst->op, in, inst->inputs, inst->attr, given, inst->span);
    ir_replace_uses(fn, inst, insert(inst, OP_reshape, small, (Attr){0}, inst->type));
    ir_remove(fn, inst);
    return true;
}

// What rows are divided by, if it is a root: its inverse is never out of range.
static Inst *root_of_rows(const Inst *inst)
{
    DType dtype = inst->type.dtype;
    if (inst->op != OP_div || (dtype != DTYPE_F32 && dtype != DTYPE_F64) ||
        inst->input[1]->op != OP_broadcast)
        return NULL;
    Inst *root = inst->input[1]->input[0], *from = root;
    while (from->op == OP_reshape)
        from = from->input[0];
    return from->op == OP_sqrt && root->type.rank > 0 ? root : NULL;
}

// Rows are multiplied by the inverse, which is made once for all that are divided by the same root:
// the same bits and no division, whether they are in the nest of the root or in another one.
static void invert_root(IrFunction *fn, Inst *inst, Inst *root)
{
    Inst *one = root->next, *inverse = one->next, *spread = inst->input[1];
    uint64_t element = 0;
    element_set_real(root->type.dtype, &element, 0, 1);
    size_t bytes = (size_t)dtype_info[root->type.dtype].bytes;
    bool there = one->op == OP_constant && one->attr[0].data.splat && inverse &&
                 inverse->op == OP_div && inverse->input[0] == one && inverse->input[1] == root &&
                 memcmp(one->attr[0].data.at, &element, bytes) == 0;
    if (!there) {
        Inst *place = root->next;
        Attr attr = {.data = {true, bytes, arena_copy(fn->cx->arena, &element, bytes)}};
        one = ir_insert_before(place, OP_constant, NULL, 0, &attr, root->type, root->span);
        Inst *in[] = {one, root};
        inverse = ir_insert_before(place, OP_div, in, 2, NULL, (Type){0}, root->span);
    }
    Inst *factor = insert(inst, OP_broadcast, inverse, spread->attr[0], spread->type);
    Inst *in[] = {inst->input[0], factor};
    ir_replace_uses(fn, inst, ir_insert_before(inst, OP_mul, in, 2, NULL, (Type){0}, inst->span));
    ir_remove(fn, inst);
}

static void join_reshapes(IrFunction *fn, Inst *inst)
{
    Inst *from = inst->input[0];
    if (from->op != OP_reshape)
        return;
    from = from->input[0];
    bool same = shape_equal(from->type, inst->type);
    ir_replace_uses(fn, inst, same ? from : insert(inst, OP_reshape, from, (Attr){0}, inst->type));
    ir_remove(fn, inst);
}

static IntList through(IntList axes, IntList permutation)
{
    for (int i = 0; i < axes.count; i++)
        axes.at[i] = permutation.at[axes.at[i]];
    return axes;
}

// A product reads any strides, so a transposed operand needs no copy, unless the axes that stay
// would change places.
static void absorb_transpose(IrFunction *fn, Inst *dot, int side)
{
    Inst *operand = dot->input[side], *transpose = product_stored(operand);
    if (transpose->op != OP_transpose)
        return;
    IntList permutation = transpose->attr[0].list;
    int64_t last = -1;
    for (int i = 0; i < permutation.count; i++) {
        if (listed(dot->attr[side].list, i) || listed(dot->attr[side + 2].list, i))
            continue;
        if (permutation.at[i] < last)
            return;
        last = permutation.at[i];
    }
    dot->attr[side].list = through(dot->attr[side].list, permutation);
    dot->attr[side + 2].list = through(dot->attr[side + 2].list, permutation);
    Inst *source = transpose->input[0];
    if (operand != transpose)
        source = insert(dot, OP_cast, source, (Attr){0}, type_make(dot->type.dtype, 0, NULL));
    ir_set_input(dot, side, source);
    if (operand->uses == 0)
        ir_remove(fn, operand);
    if (operand != transpose && transpose->uses == 0)
        ir_remove(fn, transpose);
}

// One large fold into few elements would run on one thread: the first axis is folded last, in an
// instruction of its own, so that the rows before it can be divided. Folds along the last axis as
// well (channels of images) are quicker so even if there are more: memory is read in its order.
static void split_fold(IrFunction *fn, Inst *fold)
{
    Type in = fold->input[0]->type;
    IntList axes = fold->attr[1].list, rest = {0};
    int64_t all = type_elements(in), results = type_elements(fold->type);
    int64_t most = axes.at[axes.count - 1] == in.rank - 1 ? 512 : 63;
    if (axes.count < 2 || axes.at[0] != 0 || all < 65536 || results > most || in.dim[0] < 4 ||
        all / in.dim[0] < 64)
        return;
    for (int i = 1; i < axes.count; i++)
        rest.at[rest.count++] = axes.at[i];
    Attr rows[] = {fold->attr[0], {.list = rest}}, last[] = {fold->attr[0], {.list = {1, {0}}}};
    Inst *partial = ir_insert_before(fold, OP_reduce, fold->input, 1, rows, (Type){0}, fold->span);
    ir_replace_uses(fn, fold,
                    ir_insert_before(fold, OP_reduce, &partial, 1, last, (Type){0}, fold->span));
    ir_remove(fn, fold);
}

static bool removable(const Inst *inst)
{
    return inst->uses == 0 && op_has(inst->op, PURE);
}

void fuse_normalise(IrFunction *fn)
{
    half_sink(fn);
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op == OP_stop_gradient) {
            ir_replace_uses(fn, inst, inst->input[0]);
            ir_remove(fn, inst);
        } else if (inst->op == OP_broadcast) {
            broadcast_of_squeeze(fn, inst);
        } else if (inst->op == OP_reshape) {
            join_reshapes(fn, inst);
        } else if (op_has(inst->op, POINTWISE)) {
            Inst *root = root_of_rows(inst);
            if (!sink_units(fn, inst) && root)
                invert_root(fn, inst, root);
        } else if (inst->op == OP_reduce) {
            split_fold(fn, inst);
        } else if (inst->op == OP_dot) {
            absorb_transpose(fn, inst, 0);
            absorb_transpose(fn, inst, 1);
        }
    }
    lower_kernels(fn);
    half_separate(fn);
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (removable(inst))
            ir_remove(fn, inst);
    }
}

// The state that a value is, before the function changes it; -1: none. What a loop carries is a
// state of its body.
static int state_of(const IrFunction *fn, const Inst *value, int carried)
{
    while (value->op != OP_parameter && value->op != OP_get && inst_is_alias(value))
        value = value->input[0];
    if (value->op != OP_parameter || inst_in_register(value))
        return -1;
    int index = (int)value->attr[0].whole;
    if (index >= 1 && index <= carried)
        return index - 1;
    return fn->param_slot.at[index].kind == SLOT_STATE ? fn->param_slot.at[index].index : -1;
}

// A state that becomes another state is a value of its own, or two states could not change places:
// what is copied when the function ends would overwrite what another copy still has to read.
static void copy_states(IrFunction *fn, int carried)
{
    for (int i = 0; i < fn->result.count; i++) {
        IrResult *result = &fn->result.at[i];
        Inst *value = result->value;
        int from = state_of(fn, value, carried), to = i < carried ? i : result->slot.index;
        if ((i >= carried && result->slot.kind != SLOT_STATE) || from < 0 || from == to)
            continue;
        IrFunction *body = ir_function_new(fn->cx, NULL, NULL, value->span);
        ir_result(body, ir_param(body, value->type, (Slot){0}, NULL, value->span), (Slot){0}, NULL);
        Attr attr = {.function = body};
        result->value = ir_append(fn, OP_fused, &value, 1, &attr, (Type){0}, value->span);
        result->value->uses++;
        value->uses--;
    }
}

static void prepare(IrFunction *fn, int carried)
{
    copy_states(fn, carried);
    lower_kernels(fn);
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (inst->op == OP_loop)
            prepare(inst->attr[3].function, (int)inst->attr[1].whole);
        else if (inst->op == OP_call)
            prepare(inst->attr[0].function, 0);
        else if (needs_body(inst))
            wrap_one(fn, inst);
    }
}

void fuse_prepare(IrFunction *fn)
{
    prepare(fn, 0);
}
