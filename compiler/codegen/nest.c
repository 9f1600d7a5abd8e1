// nest.c: the loop nest of a fused body.
//
// Axes of the space that may be walked as one are; the innermost loop goes by vectors. Loops over
// the kept axes are outside, loops over the folded ones inside them, once a phase:
//
//   for kept...                            (vectors, if the innermost axis is kept: a column sum)
//     for each phase
//       accumulators = identity
//       for folded...                      (vectors, if the innermost axis is folded: a row sum)
//         accumulators op= element; store the SPACE results that are known in this phase
//       fold the lanes of the accumulators
//     store the results of the KEPT level
//
// Sums down columns, if there are any, are begun in memory in front of the loops over the axes that
// they fold, and get each element in the phase in which it is known.
//
// Several vectors ("units") are in flight at a time, each with its own accumulators, so that
// additions do not wait for each other. How the elements are divided among accumulators depends on
// the shape alone.

#include <math.h>
#include <string.h>

#include "codegen/nest.h"

// ---- the shape of the nest ----------------------------------------------------------------------

static void collapse_axes(Nest *n)
{
    Type space = n->shape.space;
    unsigned cuts = body_cuts(n->body, &n->shape);
    bool flat = body_flat(n->body, &n->shape);
    n->e->flat = flat;
    for (int axis = 0; axis < space.rank; axis++) {
        bool joins = axis > 0 && (flat || !(cuts >> (axis - 1) & 1));
        if (joins) {
            n->dim[n->dims - 1].extent *= space.dim[axis];
            n->dim[n->dims - 1].last = axis;
        } else {
            n->dim[n->dims++] = (Dim){space.dim[axis], axis, axis, n->shape.folded >> axis & 1};
        }
    }
    int dims = 0; // loops of one turn are dropped; their index stays 0
    for (int i = 0; i < n->dims; i++)
        if (n->dim[i].extent > 1)
            n->dim[dims++] = n->dim[i];
    n->dims = dims;
}

static bool is_slow(Op op)
{
    return op == OP_exp || op == OP_log || op == OP_tanh || op == OP_erf || op == OP_sin ||
           op == OP_cos || op == OP_sigmoid || op == OP_pow;
}

// What an element costs, in additions or so.
static int64_t body_weight(IrFunction *body)
{
    int64_t weight = 0;
    for (const Inst *inst = body->first; inst; inst = inst->next) {
        bool pointwise = op_has(inst->op, POINTWISE);
        weight += is_slow(inst->op) ? 16 : pointwise || inst->op == OP_reduce ? 1 : 0;
    }
    return weight;
}

// Where there is little to do, a program of a few kilobytes has short code instead of fast code.
static bool is_short(const Nest *n)
{
    enum { LITTLE = 4096 };
    return n->e->g->small && type_elements(n->shape.space) * n->shape.phases <= LITTLE;
}

static void choose_lanes(Nest *n)
{
    int most = n->e->g->lanes;
    n->lane_dim = n->dims - 1;
    n->lanes = n->dims && n->dim[n->lane_dim].extent >= 2 ? most : 1;
    n->lane_folded = n->dims && n->dim[n->lane_dim].folded;
    while (n->lanes > 2 && n->dim[n->lane_dim].extent <= n->lanes / 2)
        n->lanes /= 2;
    int64_t weight = body_weight(n->body);
    n->unit_most = n->accumulator.count ? (weight > 24 ? 2 : 4)
                   : weight <= 6        ? 4
                   : weight <= 12       ? 2
                                        : 1;
    // A sum down columns reads pieces of rows, each in a page of its own: long ones, if there are
    // registers for their sums (those of AVX-512 are 32) and pieces enough to be divided.
    if (n->accumulator.count == 1 && !n->lane_folded && weight <= 6) {
        bool long_pieces =
            n->lanes >= 16 && n->dim[n->lane_dim].extent >= (int64_t)3 * MAX_UNITS * n->lanes;
        n->unit_most = long_pieces ? MAX_UNITS : MAX_UNITS / 2;
    }
    if (n->dims) {
        int64_t vectors = (n->dim[n->lane_dim].extent + n->lanes - 1) / n->lanes;
        if (vectors < n->unit_most)
            n->unit_most = (int)vectors;
    }
    if (is_short(n))
        n->unit_most = 1;
    n->first_kept = -1;
    for (int i = 0; i < n->dims && n->first_kept < 0; i++)
        if (!n->dim[i].folded)
            n->first_kept = i;
}

static void collect(Nest *n)
{
    // The phase in which a value is known, as in body.c.
    for (int i = 0; i < n->body->param.count; i++)
        n->body->param.at[i]->mark = 0;
    for (Inst *inst = n->body->first; inst; inst = inst->next) {
        inst->mark = 0;
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i]->mark > inst->mark)
                inst->mark = inst->input[i]->mark;
        if (inst->op == OP_reduce && !body_sums_down(&n->shape, inst)) {
            Accumulator accumulator = {.reduce = inst, .phase = (int)inst->mark++};
            vec_push(n->e->g->arena, &n->accumulator, accumulator);
            inst->note = NEW(n->e->g->arena, Source);
        }
    }
}

// ---- one point ----------------------------------------------------------------------------------

static void index_at(Nest *n, int unit, Index all[])
{
    for (int i = 0; i < IR_MAX_RANK; i++)
        all[i] = index_of(whole(n->e->g, 0), 0);
    for (int i = 0; i < n->dims; i++) {
        Index at = n->at[i];
        if (i == n->lane_dim)
            at = index_add_constant(n->e, at, (int64_t)unit * n->lanes);
        all[n->dim[i].last] = at;
    }
}

// The index of a sum down columns, and of what it has so far.
static Index down_position(Nest *n, const Output *output, const Index all[])
{
    Index at[IR_MAX_RANK];
    int count = 0;
    for (int axis = 0; axis < n->shape.space.rank; axis++)
        if (!(n->shape.down >> axis & 1))
            at[count++] = all[axis];
    return index_position(n->e, output->value->type, at);
}

static LLVMValueRef added_down(Nest *n, const Output *output, const Index all[])
{
    const Inst *reduce = output->value;
    Reducer with = reduce->attr[0].reducer;
    DType dtype = reduce->type.dtype;
    if (n->clearing)
        return emit_identity(n->e, with, dtype);
    LLVMValueRef sum = load_element(n->e, dtype, output->base, down_position(n, output, all));
    return emit_reducer(n->e, with, dtype, sum, element(n->e, reduce->input[0], all));
}

// The index of a value whose axes are those of the space (flat: whose position is the space's).
static void index_for(Nest *n, Type type, const Index all[], Index out[])
{
    if (!n->e->flat) {
        memcpy(out, all, sizeof(Index) * (size_t)(type.rank ? type.rank : 1));
        return;
    }
    for (int i = 0; i < type.rank; i++)
        out[i] = index_of(whole(n->e->g, 0), 0);
    if (type.rank)
        out[type.rank - 1] = n->dims ? all[n->dim[0].last] : index_of(whole(n->e->g, 0), 0);
}

static void use_unit(Nest *n, int unit)
{
    n->e->unit = unit;
    n->e->mask = n->lanes > 1 && unit == n->units - 1 ? n->tail : NULL;
}

// The largest (or smallest) of floats, NaN if there is one. Both in one value would be a chain of a
// comparison, a mask and a choice for each element; apart from each other the chain is one
// instruction.
static bool finds_extreme(const Inst *reduce)
{
    Reducer with = reduce->attr[0].reducer;
    return (with == REDUCE_MAX || with == REDUCE_MIN) &&
           dtype_info[reduce->type.dtype].kind == KIND_FLOAT;
}

// Where `value` is NaN: `other`.
static LLVMValueRef more_extreme(Emit *e, Reducer with, LLVMValueRef value, LLVMValueRef other)
{
    LLVMRealPredicate beyond = with == REDUCE_MAX ? LLVMRealOGT : LLVMRealOLT;
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, beyond, value, other, ""), value, other, "");
}

static LLVMValueRef nan_or(Emit *e, LLVMValueRef value, LLVMValueRef other)
{
    LLVMValueRef is_nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
    return LLVMBuildSelect(e->b, is_nan, value, other, "");
}

static void accumulate_extreme(Nest *n, const Accumulator *accumulator, int unit,
                               LLVMValueRef value)
{
    Emit *e = n->e;
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef so_far = LLVMBuildLoad2(e->b, type, accumulator->slot[unit], ""),
                 nan = LLVMBuildLoad2(e->b, type, accumulator->nan[unit], "");
    Reducer with = accumulator->reduce->attr[0].reducer;
    LLVMBuildStore(e->b, more_extreme(e, with, value, so_far), accumulator->slot[unit]);
    LLVMBuildStore(e->b, nan_or(e, value, nan), accumulator->nan[unit]);
}

static void accumulate(Nest *n, const Accumulator *accumulator, int unit, const Index all[])
{
    Emit *e = n->e;
    Inst *reduce = accumulator->reduce, *input = reduce->input[0];
    Reducer with = reduce->attr[0].reducer;
    DType dtype = reduce->type.dtype;
    LLVMValueRef value = element(e, input, all);
    if (e->mask && n->lane_folded)
        value = LLVMBuildSelect(e->b, e->mask, value, emit_identity(e, with, dtype), "");
    if (finds_extreme(reduce)) {
        accumulate_extreme(n, accumulator, unit, value);
        return;
    }
    LLVMValueRef sum =
        LLVMBuildLoad2(e->b, register_type(e->g, dtype, e->lanes), accumulator->slot[unit], "");
    LLVMBuildStore(e->b, emit_reducer(e, with, dtype, sum, value), accumulator->slot[unit]);
}

// Whether an element of `value` is computed from one of `from` in the same phase.
static bool made_from(const Inst *value, const Inst *from)
{
    if (value == from)
        return true;
    bool found = false;
    for (int i = 0; i < value->inputs && value->op != OP_reduce && !found; i++)
        found = made_from(value->input[i], from);
    return found;
}

// What is summed up in the last phase but one, costs much and is needed once more for a result (the
// exponentials of a softmax) waits in the memory of this result.
static void hold(Nest *n)
{
    int last = n->shape.phases - 1;
    for (int i = 0; i < n->accumulator.count && !n->held; i++) {
        Inst *value = n->accumulator.at[i].reduce->input[0];
        if (n->accumulator.at[i].phase != last - 1 || !is_slow(value->op) ||
            value->mark != last - 1 || !shape_equal(value->type, n->shape.space))
            continue;
        for (int k = 0; k < n->output.count && !n->held; k++) {
            const Output *output = &n->output.at[k];
            if (!output->space || output->panels || output->phase != last ||
                output->value->type.dtype != value->type.dtype ||
                dtype_info[value->type.dtype].bytes < 4 || !made_from(output->value, value))
                continue;
            n->held = value;
            n->held_by = k;
        }
    }
}

static LLVMValueRef held_memory(const Nest *n)
{
    return n->held_row ? n->held_row : n->output.at[n->held_by].base;
}

static Index held_position(Nest *n, int unit)
{
    if (n->held_row)
        return index_add_constant(n->e, n->at[n->lane_dim], (int64_t)unit * n->lanes);
    Index all[IR_MAX_RANK];
    index_at(n, unit, all);
    return index_position(n->e, n->held->type, all);
}

// Where memory is waited for in one phase and not in the others, and where a piece of each row is
// read only, the processor does not see what comes next: it is asked for. A row that is walked once
// for each phase asks in the last one, or in the one before if that computes what is held, a few
// kilobytes ahead; a sum down columns some rows ahead.
static void prefetch(Nest *n, const Index all[])
{
    enum { AHEAD = 2048, ROWS_AHEAD = 16, LARGE = 1 << 20 };
    Emit *e = n->e;
    bool rows = n->lane_folded && n->shape.phases > 1 &&
                n->phase == n->shape.phases - (n->held ? 2 : 1),
         columns = !n->lane_folded && n->accumulator.count > 0 && n->phase == 0;
    if ((!rows && !columns) || n->lane_dim < 0 || n->lane_dim != n->dims - 1)
        return;
    int64_t row = n->dim[n->lane_dim].extent;
    int64_t ahead = rows ? (AHEAD + row - 1) / row * row : ROWS_AHEAD * row;
    for (int i = 0; i < n->body->param.count; i++) {
        const Inst *param = n->body->param.at[i];
        const Source *source = param->note;
        if (!shape_equal(param->type, n->shape.space) || source->by_value ||
            type_bytes(param->type) < LARGE)
            continue;
        Index at[IR_MAX_RANK];
        index_for(n, param->type, all, at);
        LLVMValueRef place =
            LLVMBuildAdd(e->b, index_position(e, param->type, at).at, whole(e->g, ahead), "");
        // It may lie behind the end, so the address is not computed `inbounds`.
        LLVMTypeRef type = memory_type(e->g, param->type.dtype, 1);
        emit_prefetch(e, LLVMBuildGEP2(e->b, type, source->base, &place, 1, ""), FIRST_LEVEL);
    }
}

static void write_before(Nest *n);

static void clear_point(Nest *n)
{
    Index all[IR_MAX_RANK];
    for (int unit = 0; unit < n->units; unit++) {
        use_unit(n, unit);
        index_at(n, unit, all);
        for (int i = 0; i < n->output.count; i++) {
            const Output *output = &n->output.at[i];
            if (output->down)
                store_element(n->e, output->value->type.dtype, output->base,
                              down_position(n, output, all), added_down(n, output, all));
        }
    }
}

static void point(Nest *n)
{
    Emit *e = n->e;
    LLVMValueRef *value = NEW_ARRAY(e->g->arena, LLVMValueRef, n->output.count * n->units + 1);
    Index all[IR_MAX_RANK], at[IR_MAX_RANK];
    for (int unit = 0; unit < n->units; unit++) {
        memo_forget(e, n->body);
        use_unit(n, unit);
        index_at(n, unit, all);
        prefetch(n, all);
        if (n->held && n->phase == n->shape.phases - 1)
            memo_put(e, n->held, all,
                     load_element(e, n->held->type.dtype, held_memory(n), held_position(n, unit)));
        for (int i = 0; i < n->accumulator.count; i++)
            if (n->accumulator.at[i].phase == n->phase)
                accumulate(n, &n->accumulator.at[i], unit, all);
        if (n->held && n->phase == n->shape.phases - 2)
            store_element(e, n->held->type.dtype, held_memory(n), held_position(n, unit),
                          element(e, n->held, all));
        for (int i = 0; i < n->output.count; i++) {
            if (n->output.at[i].phase != n->phase)
                continue;
            if (n->output.at[i].down)
                value[i * n->units + unit] = added_down(n, &n->output.at[i], all);
            if (!n->output.at[i].space)
                continue;
            index_for(n, n->output.at[i].value->type, all, at);
            value[i * n->units + unit] = element(e, n->output.at[i].value, at);
        }
    }
    for (int unit = 0; unit < n->units; unit++) {
        use_unit(n, unit);
        index_at(n, unit, all);
        for (int i = 0; i < n->output.count; i++) {
            const Output *output = &n->output.at[i];
            Type type = output->value->type;
            if (output->down && output->phase == n->phase)
                store_element(e, type.dtype, output->base, down_position(n, output, all),
                              value[i * n->units + unit]);
            if (!output->space || output->phase != n->phase)
                continue;
            index_for(n, type, all, at);
            e->streaming = n->streaming;
            store_element(e, type.dtype, output->base,
                          output->panels ? index_in_panels(e, type, at)
                                         : index_position(e, output->memory, at),
                          value[i * n->units + unit]);
            e->streaming = false;
        }
    }
    memo_forget(e, n->body);
    if (n->before && n->phase == n->shape.phases - 2)
        write_before(n);
}

static void use_seeds(Nest *n, LLVMValueRef const seed[])
{
    for (int i = 0; i < n->accumulator.count; i++)
        for (int unit = 0; unit < MAX_UNITS; unit++)
            ((Source *)n->accumulator.at[i].reduce->note)->seed[unit] = seed[i];
}

// The results of the row before at the place where the nest is.
static void write_before(Nest *n)
{
    Emit *e = n->e;
    Before *before = n->before;
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b)), row = n->held_row;
    LLVMBasicBlockRef write = LLVMAppendBasicBlockInContext(e->g->llvm, function, ""),
                      done = LLVMAppendBasicBlockInContext(e->g->llvm, function, "");
    LLVMBuildCondBr(e->b, before->is_there, write, done);
    LLVMPositionBuilderAtEnd(e->b, write);
    Index at = n->at[0];
    LLVMValueRef *seed = NEW_ARRAY(e->g->arena, LLVMValueRef, n->accumulator.count + 1);
    for (int i = 0; i < n->accumulator.count; i++)
        seed[i] = n->accumulator.at[i].seed;
    use_seeds(n, before->seed);
    n->at[0] = index_of(before->row, 0);
    n->held_row = before->held;
    n->before = NULL;
    n->phase++;
    point(n);
    n->phase--;
    n->before = before;
    n->held_row = row;
    n->at[0] = at;
    use_seeds(n, seed);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

// ---- loops --------------------------------------------------------------------------------------

typedef void Level(Nest *n, int dim);

static LLVMValueRef tail_mask(Nest *n, int64_t rest)
{
    LLVMValueRef all[64];
    for (int i = 0; i < n->lanes; i++)
        all[i] = LLVMConstInt(n->e->g->i1, i < rest, 0);
    return LLVMConstVector(all, (unsigned)n->lanes);
}

static void vectors(Nest *n, int dim, LLVMValueRef at, int units, LLVMValueRef tail, Level *inside)
{
    int units_before = n->units;
    n->at[dim] = index_of_whole(at);
    n->units = units;
    n->tail = tail;
    inside(n, dim + 1);
    n->units = units_before;
    n->tail = NULL;
}

// The lane dim, in groups of unit_most vectors and a rest. lo is a multiple of a group.
static void vector_loop(Nest *n, int dim, LLVMValueRef lo, LLVMValueRef hi, Level *inside)
{
    Emit *e = n->e;
    Codegen *g = e->g;
    int64_t extent = n->dim[dim].extent, group = (int64_t)n->lanes * n->unit_most,
            rest = extent % group;
    LLVMValueRef full = whole(g, extent - rest);
    bool divided = !LLVMIsAConstantInt(lo);
    if (!divided) {
        if (extent > rest) {
            Loop loop = loop_begin(e, lo, full, group);
            vectors(n, dim, loop.at, n->unit_most, NULL, inside);
            loop_end(e, &loop);
        }
        if (rest)
            vectors(n, dim, full, (int)((rest + n->lanes - 1) / n->lanes),
                    rest % n->lanes ? tail_mask(n, rest % n->lanes) : NULL, inside);
        return;
    }
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b));
    LLVMBasicBlockRef some = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBasicBlockRef check = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBasicBlockRef last = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMValueRef end =
        LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, hi, full, ""), hi, full, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, lo, end, ""), some, check);
    LLVMPositionBuilderAtEnd(e->b, some);
    Loop loop = loop_begin(e, lo, end, group);
    vectors(n, dim, loop.at, n->unit_most, NULL, inside);
    loop_end(e, &loop);
    LLVMBuildBr(e->b, check);
    LLVMPositionBuilderAtEnd(e->b, check);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntUGT, hi, full, ""), last, done);
    LLVMPositionBuilderAtEnd(e->b, last);
    if (rest)
        vectors(n, dim, full, (int)((rest + n->lanes - 1) / n->lanes),
                rest % n->lanes ? tail_mask(n, rest % n->lanes) : NULL, inside);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

static void bounds(const Nest *n, int dim, LLVMValueRef *lo, LLVMValueRef *hi)
{
    Emit *e = n->e;
    *lo = whole(e->g, 0);
    *hi = whole(e->g, n->dim[dim].extent);
    if (dim != n->first_kept || n->k->parts == 1)
        return;
    LLVMValueRef chunk = whole(e->g, n->chunk);
    *lo = LLVMBuildNUWMul(e->b, n->k->begin, chunk, "");
    LLVMValueRef end = LLVMBuildNUWMul(e->b, n->k->end, chunk, "");
    *hi = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, end, *hi, ""), end, *hi, "");
}

static void loop_over(Nest *n, int dim, Level *inside)
{
    Emit *e = n->e;
    LLVMValueRef lo, hi;
    bounds(n, dim, &lo, &hi);
    if (dim == n->lane_dim && n->lanes > 1) {
        vector_loop(n, dim, lo, hi, inside);
        return;
    }
    Loop loop = loop_begin(e, lo, hi, 1);
    n->at[dim] = index_of(loop.at, 0);
    inside(n, dim + 1);
    loop_end(e, &loop);
}

static void folded_level(Nest *n, int dim)
{
    while (dim < n->dims && !n->dim[dim].folded)
        dim++;
    if (dim == n->dims) {
        memo_forget(n->e, n->body);
        n->e->lanes = n->lanes;
        if (n->clearing)
            clear_point(n);
        else
            point(n);
        return;
    }
    loop_over(n, dim, folded_level);
}

static int accumulator_units(const Nest *n)
{
    return n->lane_folded ? n->unit_most : n->units;
}

static void begin_accumulators(Nest *n)
{
    Emit *e = n->e;
    e->lanes = n->lanes;
    for (int i = 0; i < n->accumulator.count; i++) {
        Accumulator *accumulator = &n->accumulator.at[i];
        if (accumulator->phase != n->phase)
            continue;
        DType dtype = accumulator->reduce->type.dtype;
        for (int unit = 0; unit < accumulator_units(n); unit++) {
            LLVMBuildStore(e->b, emit_identity(e, accumulator->reduce->attr[0].reducer, dtype),
                           accumulator->slot[unit]);
            if (finds_extreme(accumulator->reduce))
                LLVMBuildStore(e->b, emit_constant(e, dtype, 0), accumulator->nan[unit]);
        }
    }
}

// A scalar. What is NaN was left out of `value`, so its lanes are folded as if there were none.
static LLVMValueRef fold_extremes(Emit *e, const Inst *reduce, LLVMValueRef value, LLVMValueRef nan)
{
    LLVMValueRef found = LLVMBuildFCmp(e->b, LLVMRealUNO, nan, nan, "");
    if (e->lanes > 1) {
        bool largest = reduce->attr[0].reducer == REDUCE_MAX;
        value = emit_intrinsic(e, largest ? "llvm.vector.reduce.fmax" : "llvm.vector.reduce.fmin",
                               LLVMTypeOf(value), &value, 1);
        LLVMSetFastMathFlags(value, LLVMFastMathNoNaNs);
        found = emit_intrinsic(e, "llvm.vector.reduce.or", LLVMTypeOf(found), &found, 1);
    }
    e->lanes = 1;
    return LLVMBuildSelect(e->b, found, emit_constant(e, reduce->type.dtype, NAN), value, "");
}

// The value of a reduce that finds_extreme, of all units.
static void end_extreme(Nest *n, Accumulator *accumulator)
{
    Emit *e = n->e;
    Inst *reduce = accumulator->reduce;
    Source *source = reduce->note;
    Reducer with = reduce->attr[0].reducer;
    DType dtype = reduce->type.dtype;
    LLVMTypeRef type = register_type(e->g, dtype, n->lanes);
    LLVMValueRef value[MAX_UNITS], nan[MAX_UNITS];
    int units = accumulator_units(n);
    e->lanes = n->lanes;
    for (int unit = 0; unit < units; unit++) {
        value[unit] = LLVMBuildLoad2(e->b, type, accumulator->slot[unit], "");
        nan[unit] = LLVMBuildLoad2(e->b, type, accumulator->nan[unit], "");
        if (!n->lane_folded)
            source->seed[unit] = emit_round(e, dtype, nan_or(e, nan[unit], value[unit]));
    }
    if (!n->lane_folded)
        return;
    for (int width = units; width > 1; width = (width + 1) / 2)
        for (int unit = 0; unit < width / 2; unit++) {
            int other = (width + 1) / 2 + unit;
            value[unit] = more_extreme(e, with, value[unit], value[other]);
            nan[unit] = nan_or(e, nan[unit], nan[other]);
        }
    LLVMValueRef result = emit_round(e, dtype, fold_extremes(e, reduce, value[0], nan[0]));
    accumulator->seed = result;
    for (int unit = 0; unit < MAX_UNITS; unit++)
        source->seed[unit] = result;
}

static void end_accumulators(Nest *n)
{
    Emit *e = n->e;
    for (int i = 0; i < n->accumulator.count; i++) {
        Accumulator *accumulator = &n->accumulator.at[i];
        if (accumulator->phase != n->phase)
            continue;
        if (finds_extreme(accumulator->reduce)) {
            end_extreme(n, accumulator);
            continue;
        }
        Inst *reduce = accumulator->reduce;
        Source *source = reduce->note;
        Reducer with = reduce->attr[0].reducer;
        DType dtype = reduce->type.dtype;
        e->lanes = n->lanes;
        LLVMTypeRef type = register_type(e->g, dtype, n->lanes);
        LLVMValueRef sum[MAX_UNITS];
        int units = accumulator_units(n);
        for (int unit = 0; unit < units; unit++)
            sum[unit] = LLVMBuildLoad2(e->b, type, accumulator->slot[unit], "");
        if (!n->lane_folded) {
            for (int unit = 0; unit < units; unit++)
                source->seed[unit] = emit_round(e, dtype, sum[unit]);
            continue;
        }
        for (int width = units; width > 1; width = (width + 1) / 2)
            for (int unit = 0; unit < width / 2; unit++)
                sum[unit] = emit_reducer(e, with, dtype, sum[unit], sum[(width + 1) / 2 + unit]);
        LLVMValueRef result = emit_horizontal(e, with, dtype, sum[0]);
        e->lanes = 1;
        result = emit_round(e, dtype, result);
        accumulator->seed = result;
        for (int unit = 0; unit < MAX_UNITS; unit++)
            source->seed[unit] = result;
    }
}

// The results of the KEPT level: scalars if the lanes were folded, else one vector a unit.
static void store_kept(Nest *n)
{
    Emit *e = n->e;
    int units = n->lane_folded ? 1 : n->units;
    e->lanes = n->lane_folded ? 1 : n->lanes;
    LLVMValueRef *value = NEW_ARRAY(e->g->arena, LLVMValueRef, n->output.count * units + 1);
    for (int store = 0; store < 2; store++) {
        for (int unit = 0; unit < units; unit++) {
            Index all[IR_MAX_RANK], at[IR_MAX_RANK];
            memo_forget(e, n->body);
            e->unit = unit;
            e->mask = NULL;
            if (!n->lane_folded)
                use_unit(n, unit);
            index_at(n, unit, all);
            for (int i = 0; i < n->shape.kept.count; i++)
                at[i] = all[n->shape.kept.at[i]];
            for (int i = 0; i < n->output.count; i++) {
                const Output *output = &n->output.at[i];
                Type type = output->value->type;
                if (output->space || output->down)
                    continue;
                if (!store)
                    value[i * units + unit] = element(e, output->value, at);
                else
                    store_element(e, type.dtype, output->base, index_position(e, type, at),
                                  value[i * units + unit]);
            }
        }
    }
    memo_forget(e, n->body);
    e->lanes = n->lanes;
}

static bool phase_has_work(const Nest *n, int phase)
{
    for (int i = 0; i < n->accumulator.count; i++)
        if (n->accumulator.at[i].phase == phase)
            return true;
    for (int i = 0; i < n->output.count; i++)
        if ((n->output.at[i].space || n->output.at[i].down) && n->output.at[i].phase == phase)
            return true;
    return false;
}

static void run_phases(Nest *n, int first, int behind)
{
    for (n->phase = first; n->phase < behind; n->phase++) {
        if (!phase_has_work(n, n->phase))
            continue;
        begin_accumulators(n);
        folded_level(n, 0);
        end_accumulators(n);
    }
}

static void kept_level(Nest *n, int dim)
{
    while (dim < n->dims && n->dim[dim].folded)
        dim++;
    if (dim < n->dims) {
        bool down = n->shape.down >> n->dim[dim].first & 1;
        if (down && !(dim && n->shape.down >> n->dim[dim - 1].first & 1)) {
            n->clearing = true;
            folded_level(n, dim);
            n->clearing = false;
        }
        loop_over(n, dim, kept_level);
        return;
    }
    run_phases(n, 0, n->shape.phases);
    store_kept(n);
}

// Results that go to memory in the last phase of each row would be waited for, while the phases
// before only compute. So they are written in the phase in which the next row is computed: for rows
// of a matrix of whose elements something is held.
static bool overlaps(const Nest *n)
{
    return n->held && n->dims == 2 && n->lane_dim == 1 && n->lane_folded && !n->dim[0].folded;
}

static LLVMTypeRef seed_type(const Nest *n, const Accumulator *accumulator)
{
    return register_type(n->e->g, accumulator->reduce->type.dtype, 1);
}

static void seeds_before(Nest *n, LLVMValueRef seed[])
{
    for (int i = 0; i < n->accumulator.count; i++) {
        const Accumulator *accumulator = &n->accumulator.at[i];
        seed[i] = LLVMBuildLoad2(n->e->b, seed_type(n, accumulator), accumulator->seed_before, "");
    }
}

// What is held of a row waits in one of two places, in turns.
static LLVMValueRef held_of(Nest *n, LLVMValueRef rows, LLVMValueRef row)
{
    LLVMBuilderRef b = n->e->b;
    LLVMTypeRef type = memory_type(n->e->g, n->held->type.dtype, 1);
    LLVMValueRef odd = LLVMBuildAnd(b, row, whole(n->e->g, 1), ""),
                 at = LLVMBuildMul(b, odd, whole(n->e->g, n->dim[n->lane_dim].extent), "");
    return LLVMBuildInBoundsGEP2(b, type, rows, &at, 1, "");
}

static void overlapped_rows(Nest *n)
{
    Emit *e = n->e;
    Codegen *g = e->g;
    int last = n->shape.phases - 1, count = n->accumulator.count;
    LLVMValueRef lo, hi, rows = n->held_row;
    bounds(n, 0, &lo, &hi);
    Before before = {.seed = NEW_ARRAY(g->arena, LLVMValueRef, count + 1)};
    for (int i = 0; i < count; i++) {
        const Accumulator *accumulator = &n->accumulator.at[i];
        LLVMBuildStore(e->b, LLVMConstNull(seed_type(n, accumulator)), accumulator->seed_before);
    }
    Loop loop = loop_begin(e, lo, hi, 1);
    n->at[0] = index_of(loop.at, 0);
    n->held_row = held_of(n, rows, loop.at);
    run_phases(n, 0, last - 1);
    before.is_there = LLVMBuildICmp(e->b, LLVMIntUGT, loop.at, lo, "");
    before.row = LLVMBuildSub(e->b, loop.at, whole(g, 1), "");
    before.held = held_of(n, rows, before.row);
    seeds_before(n, before.seed);
    n->before = &before;
    run_phases(n, last - 1, last);
    n->before = NULL;
    for (int i = 0; i < count; i++)
        LLVMBuildStore(e->b, n->accumulator.at[i].seed, n->accumulator.at[i].seed_before);
    loop_end(e, &loop);
    LLVMValueRef end = LLVMBuildSub(e->b, hi, whole(g, 1), ""); // the last row is written by itself
    n->at[0] = index_of(end, 0);
    n->held_row = held_of(n, rows, end);
    seeds_before(n, before.seed);
    use_seeds(n, before.seed);
    run_phases(n, last, last + 1);
    n->held_row = rows;
}

// ---- kernels ------------------------------------------------------------------------------------

static void make_slots(Nest *n)
{
    Emit *e = n->e;
    for (int i = 0; i < n->accumulator.count; i++)
        for (int unit = 0; unit < n->unit_most; unit++) {
            Accumulator *accumulator = &n->accumulator.at[i];
            LLVMTypeRef type = register_type(e->g, accumulator->reduce->type.dtype, n->lanes);
            accumulator->slot[unit] = LLVMBuildAlloca(e->b, type, "");
            if (finds_extreme(accumulator->reduce))
                accumulator->nan[unit] = LLVMBuildAlloca(e->b, type, "");
            if (unit == 0 && n->held)
                accumulator->seed_before = LLVMBuildAlloca(e->b, seed_type(n, accumulator), "");
        }
}

static void nest_prepare(Nest *n, IrFunction *body)
{
    n->body = body;
    n->shape = body_analyse(body);
    collapse_axes(n);
    collect(n);
    choose_lanes(n);
    n->units = 1;
}

// Large nests are divided along their outermost kept axis. Work is counted in additions, traffic in
// bytes: what is divided takes two microseconds or more, of which telling the other threads costs
// one. An even number of parts, as threads are.
static int64_t divide(const Nest *n, int64_t *chunk)
{
    *chunk = 0;
    if (n->first_kept < 0)
        return 1;
    int64_t elements = type_elements(n->shape.space), traffic = 0;
    for (int i = 0; i < n->body->param.count; i++)
        traffic += type_bytes(n->body->param.at[i]->type);
    for (int i = 0; i < n->body->result.count; i++)
        traffic += type_bytes(n->body->result.at[i].value->type);
    int64_t work = elements * body_weight(n->body) * n->shape.phases;
    if (work < 250000 && traffic < 128 * 1024)
        return 1;
    int64_t wanted = work / 100000 > traffic / (64 * 1024) ? work / 100000 : traffic / (64 * 1024);
    wanted = wanted < 2 ? 2 : wanted > 64 ? 64 : aml_ceil_div(wanted, 2) * 2;
    int64_t extent = n->dim[n->first_kept].extent, unit = 1;
    if (n->first_kept == n->lane_dim)
        unit = (int64_t)n->lanes * n->unit_most;
    int64_t units = (extent + unit - 1) / unit;
    *chunk = (units + wanted - 1) / wanted * unit;
    return (extent + *chunk - 1) / *chunk;
}

// Results that no cache holds are written past them, so that their lines are not read before: whole
// registers, at addresses that are multiples of their size if the memory begins at one. What is
// folded are rows, after which the results are known; what is held of a row has memory of its own.
static bool streams(const Nest *n)
{
    enum { LARGE = 32 << 20, LONGEST_ROW = 16 << 10 };
    if (n->lanes < 8 || n->lanes != n->e->g->lanes || n->lane_dim != n->dims - 1 ||
        n->dim[n->lane_dim].extent % n->lanes)
        return false;
    if (n->accumulator.count && !n->lane_folded)
        return false;
    for (int i = 0; i < n->lane_dim; i++)
        if (n->dim[i].folded)
            return false;
    if (n->held && n->dim[n->lane_dim].extent * 4 > LONGEST_ROW)
        return false;
    for (int i = 0; i < n->output.count; i++) {
        const Output *output = &n->output.at[i];
        Type type = output->value->type;
        if (!output->space || output->piece || output->panels ||
            dtype_info[type.dtype].bytes != 4 || type_bytes(type) < LARGE)
            return false;
        for (int k = 0; k < n->body->param.count; k++)
            if (((const Source *)n->body->param.at[k]->note)->base == output->base)
                return false; // in place: it was read
    }
    return n->output.count > 0;
}

static void emit_streaming(Nest *n)
{
    Emit *e = n->e;
    Codegen *g = e->g;
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b)), bits = whole(g, 0),
                 row = NULL;
    if (n->held) {
        LLVMTypeRef type = memory_type(g, n->held->type.dtype, 1);
        uint64_t elements = (uint64_t)n->dim[n->lane_dim].extent * (overlaps(n) ? 2 : 1);
        row = LLVMBuildAlloca(e->b, LLVMArrayType2(type, elements), "");
        LLVMSetAlignment(row, AML_ALIGNMENT);
    }
    LLVMBasicBlockRef past = LLVMAppendBasicBlockInContext(g->llvm, function, ""),
                      plain = LLVMAppendBasicBlockInContext(g->llvm, function, ""),
                      done = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    for (int i = 0; i < n->output.count; i++)
        bits =
            LLVMBuildOr(e->b, bits, LLVMBuildPtrToInt(e->b, n->output.at[i].base, g->i64, ""), "");
    bits = LLVMBuildAnd(e->b, bits, whole(g, 4 * n->lanes - 1), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, bits, whole(g, 0), ""), past, plain);
    LLVMPositionBuilderAtEnd(e->b, past);
    n->streaming = true;
    n->held_row = row;
    if (overlaps(n))
        overlapped_rows(n);
    else
        kept_level(n, 0);
    n->streaming = false;
    n->held_row = NULL;
    unsigned fence = LLVMLookupIntrinsicID("llvm.x86.sse.sfence", 19);
    LLVMBuildCall2(e->b, LLVMIntrinsicGetType(g->llvm, fence, NULL, 0),
                   LLVMGetIntrinsicDeclaration(g->module, fence, NULL, 0), NULL, 0, "");
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, plain);
    kept_level(n, 0);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

// The pieces of a concat are stored each by itself, where they are in the whole.
static void add_outputs(Nest *n, LLVMValueRef const result[])
{
    Emit *e = n->e;
    for (int i = 0; i < n->body->result.count; i++) {
        Inst *stored = n->body->result.at[i].value, *value = body_made(stored);
        int level = body_result_level(&n->shape, value);
        Output output = {value,
                         result[i],
                         value->type,
                         (int)value->mark,
                         level == LEVEL_SPACE,
                         level == LEVEL_OTHER,
                         false,
                         value != stored};
        bool joined = value->op == OP_concat;
        if (!joined)
            vec_push(e->g->arena, &n->output, output);
        for (int k = 0; joined && k < value->inputs; k++) {
            Type piece = value->input[k]->type;
            int64_t skip = k * dtype_info[piece.dtype].bytes;
            for (int axis = (int)value->attr[0].whole; axis < piece.rank; axis++)
                skip *= piece.dim[axis];
            output.value = value->input[k];
            LLVMValueRef at = whole(e->g, skip);
            output.base = LLVMBuildInBoundsGEP2(e->b, e->g->i8, result[i], &at, 1, "");
            output.piece = true;
            vec_push(e->g->arena, &n->output, output);
        }
    }
}

int64_t nest_parts(Codegen *g, IrFunction *body)
{
    Emit e = {.g = g};
    Nest n = {.e = &e};
    int64_t chunk, turned = turn_parts(g, body);
    if (turned)
        return turned;
    nest_prepare(&n, body);
    return divide(&n, &chunk);
}

void nest_emit(Kernel *k, IrFunction *body, LLVMValueRef const result[])
{
    if (turn_emit(k, body, result[0]))
        return;
    Emit *e = &k->emit;
    Nest *n = &(Nest){.k = k, .e = e};
    nest_prepare(n, body);
    divide(n, &n->chunk);
    if (is_short(n))
        function_short(k->g, k->function);
    add_outputs(n, result);
    if (!e->flat)
        hold(n);
    make_slots(n);
    e->lanes = n->lanes;
    for (int i = 0; i < n->dims; i++)
        n->at[i] = index_of(whole(e->g, 0), 0);
    memo_begin(e, body);
    if (streams(n))
        emit_streaming(n);
    else
        kept_level(n, 0);
}
