// index.c: the element of a value at an index.
//
// element() walks a body from a result towards its parameters: pointwise ops keep the index, data
// movement changes it, parameters are loads. An index along an axis is affine in the lane wherever
// possible, so that a load is one vector load (step 1), one scalar (step 0), or else a gather.
//
// Several adjacent axes may be walked as one: their index is then 0, ..., 0, position, which
// addresses the same element of anything dense. body_cuts finds between which axes that would be
// wrong.

#include <string.h>

#include "codegen/emit.h"

Index index_of(LLVMValueRef at, int64_t step)
{
    return (Index){at, step, NULL, false};
}

Index index_of_whole(LLVMValueRef at)
{
    return (Index){at, 1, NULL, true};
}

static bool is_constant(LLVMValueRef value, int64_t number)
{
    return value && LLVMIsAConstantInt(value) && LLVMConstIntGetSExtValue(value) == number;
}

static LLVMValueRef scalar_add(Emit *e, LLVMValueRef a, LLVMValueRef b)
{
    if (is_constant(a, 0))
        return b;
    if (is_constant(b, 0))
        return a;
    return LLVMBuildNSWAdd(e->b, a, b, "");
}

static LLVMValueRef lanes_of(Emit *e, Index index)
{
    if (index.lanes)
        return index.lanes;
    LLVMValueRef start = lanes_splat(e, index.at);
    if (index.step == 0 || e->lanes == 1)
        return start;
    LLVMValueRef steps =
        LLVMBuildMul(e->b, lanes_iota(e), lanes_splat(e, whole(e->g, index.step)), "");
    return LLVMBuildAdd(e->b, start, steps, "");
}

Index index_add(Emit *e, Index a, Index b)
{
    if (a.lanes || b.lanes)
        return (Index){NULL, 0, LLVMBuildAdd(e->b, lanes_of(e, a), lanes_of(e, b), ""), false};
    if (a.step == 0 && is_constant(a.at, 0))
        return b;
    if (b.step == 0 && is_constant(b.at, 0))
        return a;
    return index_of(scalar_add(e, a.at, b.at), a.step + b.step);
}

Index index_add_constant(Emit *e, Index a, int64_t constant)
{
    if (constant == 0)
        return a;
    Index sum = index_add(e, a, index_of(whole(e->g, constant), 0));
    sum.whole = a.whole && constant % e->lanes == 0;
    return sum;
}

Index index_scale(Emit *e, Index a, int64_t factor)
{
    if (factor == 1)
        return a;
    if (a.lanes)
        return (Index){NULL, 0,
                       LLVMBuildMul(e->b, a.lanes, lanes_splat(e, whole(e->g, factor)), ""), false};
    if (is_constant(a.at, 0))
        return index_of(a.at, a.step * factor);
    return index_of(LLVMBuildNSWMul(e->b, a.at, whole(e->g, factor), ""), a.step * factor);
}

Index index_position(Emit *e, Type type, const Index at[])
{
    Index position = index_of(whole(e->g, 0), 0);
    int64_t step = 1;
    for (int axis = type.rank - 1; axis >= 0; axis--) {
        position = index_add(e, position, index_scale(e, at[axis], step));
        step *= type.dim[axis];
    }
    return position;
}

// Quotient and remainder by a constant, of a number that is not negative. Lanes of whole registers
// that a divisor has are not divided.
static Index index_divide(Emit *e, Index a, int64_t by, bool remainder)
{
    if (by == 1)
        return remainder ? index_of(whole(e->g, 0), 0) : a;
    if (a.whole && by % e->lanes == 0) {
        LLVMValueRef divisor = whole(e->g, by);
        return remainder ? index_of_whole(LLVMBuildURem(e->b, a.at, divisor, ""))
                         : index_of(LLVMBuildUDiv(e->b, a.at, divisor, ""), 0);
    }
    if (!a.lanes && (a.step == 0 || e->lanes == 1)) {
        LLVMValueRef divisor = whole(e->g, by);
        return index_of(remainder ? LLVMBuildURem(e->b, a.at, divisor, "")
                                  : LLVMBuildUDiv(e->b, a.at, divisor, ""),
                        0);
    }
    LLVMValueRef lanes = lanes_of(e, a), divisor = lanes_splat(e, whole(e->g, by));
    return (Index){NULL, 0,
                   remainder ? LLVMBuildURem(e->b, lanes, divisor, "")
                             : LLVMBuildUDiv(e->b, lanes, divisor, ""),
                   false};
}

void index_split(Emit *e, Index position, int axes, const int64_t dim[], Index out[])
{
    int first = 0;
    while (first < axes - 1 && dim[first] == 1)
        first++;
    for (int axis = axes - 1; axis >= 0; axis--) {
        if (dim[axis] == 1) {
            out[axis] = index_of(whole(e->g, 0), 0);
            if (axes == 1)
                out[axis] = position;
        } else if (axis == first) {
            out[axis] = position;
        } else {
            out[axis] = index_divide(e, position, dim[axis], true);
            position = index_divide(e, position, dim[axis], false);
        }
    }
}

Index index_in_panels(Emit *e, Type type, const Index at[])
{
    int last = type.rank - 1;
    int64_t column[] = {type.dim[last] / DOT_PANEL, DOT_PANEL};
    Index panel[2];
    index_split(e, at[last], 2, column, panel);
    Index row = index_of(whole(e->g, 0), 0);
    int64_t rows = 1;
    for (int axis = last - 1; axis >= 0; axis--) {
        row = index_add(e, row, index_scale(e, at[axis], rows));
        rows *= type.dim[axis];
    }
    row = index_add(e, row, index_scale(e, panel[0], rows));
    return index_add(e, index_scale(e, row, DOT_PANEL), panel[1]);
}

// ---- memory -------------------------------------------------------------------------------------

// Under a mask the address itself may lie outside (the first lanes of a padded row).
static LLVMValueRef address(Emit *e, DType dtype, LLVMValueRef base, LLVMValueRef position)
{
    if (is_constant(position, 0))
        return base;
    LLVMTypeRef type = memory_type(e->g, dtype, 1);
    return e->mask ? LLVMBuildGEP2(e->b, type, base, &position, 1, "")
                   : LLVMBuildInBoundsGEP2(e->b, type, base, &position, 1, "");
}

static void set_alignment(LLVMValueRef access, DType dtype)
{
    LLVMSetAlignment(access, (unsigned)dtype_info[dtype].bytes);
}

#if LLVM_VERSION_MAJOR >= 22
enum { MASKED_ALIGNMENT_IS_ATTRIBUTE = 1 };
#else
enum { MASKED_ALIGNMENT_IS_ATTRIBUTE = 0 };
#endif

static LLVMValueRef all_lanes(Emit *e)
{
    if (e->mask)
        return e->mask;
    return lanes_splat(e, LLVMConstInt(e->g->i1, 1, 0));
}

// A call of llvm.masked.*; `pointer` is the position of the pointer among the arguments. Before
// LLVM 22 the alignment is an argument of its own, after the pointer.
static LLVMValueRef masked_call(Emit *e, const char *name, LLVMTypeRef data,
                                LLVMTypeRef address_type, LLVMValueRef in[], int inputs,
                                int pointer, DType dtype)
{
    Codegen *g = e->g;
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef types[2] = {data, address_type};
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(g->module, id, types, 2), arg[5];
    unsigned count = 0, alignment = (unsigned)dtype_info[dtype].bytes;
    for (int i = 0; i < inputs; i++) {
        arg[count++] = in[i];
        if (i == pointer && !MASKED_ALIGNMENT_IS_ATTRIBUTE)
            arg[count++] = LLVMConstInt(g->i32, alignment, 0);
    }
    LLVMValueRef call =
        LLVMBuildCall2(e->b, LLVMIntrinsicGetType(g->llvm, id, types, 2), function, arg, count, "");
    if (MASKED_ALIGNMENT_IS_ATTRIBUTE) {
        unsigned kind = LLVMGetEnumAttributeKindForName("align", 5);
        LLVMAddCallSiteAttribute(call, (unsigned)pointer + 1,
                                 LLVMCreateEnumAttribute(g->llvm, kind, alignment));
    }
    return call;
}

static LLVMValueRef load_scalar(Emit *e, DType dtype, LLVMValueRef base, LLVMValueRef position)
{
    LLVMValueRef load =
        LLVMBuildLoad2(e->b, memory_type(e->g, dtype, 1), address(e, dtype, base, position), "");
    set_alignment(load, dtype);
    Emit one = *e;
    one.lanes = 1;
    return memory_to_register(&one, dtype, load);
}

// The lanes of one of the two registers that load_every_other reads: `shift` elements from the
// first one.
static LLVMValueRef half_mask(Emit *e, int shift)
{
    LLVMValueRef order[64], none = LLVMConstNull(LLVMTypeOf(e->mask));
    for (int i = 0; i < e->lanes; i++) {
        bool wanted = (i + shift) % 2 == 0;
        int from = wanted ? (i + shift) / 2 : e->lanes;
        order[i] = LLVMConstInt(e->g->i32, (unsigned)from, 0);
    }
    return LLVMBuildShuffleVector(e->b, e->mask, none, LLVMConstVector(order, (unsigned)e->lanes),
                                  "");
}

// Every other element: two registers next to each other, of which the second begins with the last
// element of the first, so that nothing behind the last wanted element is read. Masked off lanes
// are not read either.
static LLVMValueRef load_every_other(Emit *e, DType dtype, LLVMValueRef base, LLVMValueRef position)
{
    LLVMTypeRef type = memory_type(e->g, dtype, e->lanes);
    LLVMValueRef part[2];
    for (int i = 0; i < 2; i++) {
        int shift = i * (e->lanes - 1);
        LLVMValueRef from = LLVMBuildAdd(e->b, position, whole(e->g, shift), "");
        LLVMValueRef at = address(e, dtype, base, from);
        if (e->mask) {
            LLVMValueRef in[] = {at, half_mask(e, shift), LLVMConstNull(type)};
            part[i] = masked_call(e, "llvm.masked.load", type, e->g->ptr, in, 3, 0, dtype);
        } else {
            part[i] = LLVMBuildLoad2(e->b, type, at, "");
            set_alignment(part[i], dtype);
        }
    }
    LLVMValueRef order[64]; // of 0 .. lanes - 1 the first register, behind it the second
    for (int i = 0; i < e->lanes; i++) {
        int at = 2 * i < e->lanes ? 2 * i : e->lanes + 2 * i - (e->lanes - 1);
        order[i] = LLVMConstInt(e->g->i32, (unsigned)at, 0);
    }
    return LLVMBuildShuffleVector(e->b, part[0], part[1],
                                  LLVMConstVector(order, (unsigned)e->lanes), "");
}

LLVMValueRef load_element(Emit *e, DType dtype, LLVMValueRef base, Index position)
{
    if (e->lanes == 1)
        return load_scalar(e, dtype, base, position.lanes ? position.lanes : position.at);
    if (!position.lanes && position.step == 0)
        return lanes_splat(e, load_scalar(e, dtype, base, position.at));
    LLVMTypeRef type = memory_type(e->g, dtype, e->lanes);
    LLVMValueRef load;
    if (!position.lanes && position.step == 1) {
        LLVMValueRef at = address(e, dtype, base, position.at);
        if (e->mask) {
            LLVMValueRef in[] = {at, e->mask, LLVMConstNull(type)};
            load = masked_call(e, "llvm.masked.load", type, e->g->ptr, in, 3, 0, dtype);
        } else {
            load = LLVMBuildLoad2(e->b, type, at, "");
            set_alignment(load, dtype);
        }
    } else if (!position.lanes && position.step == 2 && e->lanes > 1 &&
               (!e->mask || (dtype_info[dtype].bytes == 4 && e->g->lanes == 16))) {
        load = load_every_other(e, dtype, base, position.at);
    } else {
        LLVMValueRef pointers = address(e, dtype, base, lanes_of(e, position));
        LLVMValueRef in[] = {pointers, all_lanes(e), LLVMConstNull(type)};
        load = masked_call(e, "llvm.masked.gather", type, LLVMTypeOf(pointers), in, 3, 0, dtype);
    }
    return memory_to_register(e, dtype, load);
}

// LLVM 22 makes a store of 4 bytes of a masked store of one element of 2, which then lies partly in
// memory that may be another thread's. It does so if it knows the mask, so it must not.
static LLVMValueRef unknown_mask(Emit *e)
{
    LLVMValueRef slot = entry_alloca(e, e->g->i8);
    LLVMValueRef zero = LLVMConstInt(e->g->i8, 0, 0);
    LLVMSetVolatile(LLVMBuildStore(e->b, zero, slot), 1);
    LLVMValueRef read = LLVMBuildLoad2(e->b, e->g->i8, slot, "");
    LLVMSetVolatile(read, 1);
    LLVMValueRef holds = LLVMBuildICmp(e->b, LLVMIntEQ, read, zero, "");
    return LLVMBuildAnd(e->b, e->mask, lanes_splat(e, holds), "");
}

void store_element(Emit *e, DType dtype, LLVMValueRef base, Index position, LLVMValueRef value)
{
    value = register_to_memory(e, dtype, lanes_splat(e, value));
    LLVMTypeRef type = memory_type(e->g, dtype, e->lanes);
    if (e->lanes == 1 || (!position.lanes && position.step == 1 && !e->mask)) {
        LLVMValueRef store = LLVMBuildStore(
            e->b, value, address(e, dtype, base, position.lanes ? position.lanes : position.at));
        set_alignment(store, dtype);
        if (e->streaming && e->lanes == e->g->lanes) {
            LLVMMetadataRef one = LLVMValueAsMetadata(LLVMConstInt(e->g->i32, 1, 0));
            LLVMSetAlignment(store, (unsigned)(e->lanes * dtype_info[dtype].bytes));
            LLVMSetMetadata(
                store, LLVMGetMDKindIDInContext(e->g->llvm, "nontemporal", 11),
                LLVMMetadataAsValue(e->g->llvm, LLVMMDNodeInContext2(e->g->llvm, &one, 1)));
        }
    } else if (!position.lanes && position.step == 1) {
        bool hides = dtype_info[dtype].bytes < 4 && !e->unknown;
        LLVMValueRef mask = hides ? unknown_mask(e) : e->mask;
        LLVMValueRef in[] = {value, address(e, dtype, base, position.at), mask};
        masked_call(e, "llvm.masked.store", type, e->g->ptr, in, 3, 1, dtype);
    } else {
        LLVMValueRef at = lanes_of(e, position);
        LLVMValueRef pointers =
            LLVMBuildInBoundsGEP2(e->b, memory_type(e->g, dtype, 1), base, &at, 1, "");
        LLVMValueRef in[] = {value, pointers, all_lanes(e)};
        masked_call(e, "llvm.masked.scatter", type, LLVMTypeOf(pointers), in, 3, 1, dtype);
    }
}

// ---- elements -----------------------------------------------------------------------------------

void memo_begin(Emit *e, IrFunction *body)
{
    e->memo.count = 0;
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark = 0;
    for (Inst *inst = body->first; inst; inst = inst->next)
        inst->mark = 0;
}

void memo_forget(Emit *e, IrFunction *body)
{
    memo_begin(e, body);
}

// Drops what was remembered since `count` entries: its lanes were masked more narrowly.
static void memo_cut(Emit *e, int count)
{
    while (e->memo.count > count) {
        const Memo *last = &e->memo.at[--e->memo.count];
        last->inst->mark = last->next;
    }
}

static bool index_equal(Index a, Index b)
{
    if (a.lanes || b.lanes)
        return a.lanes == b.lanes;
    return a.at == b.at && a.step == b.step;
}

static LLVMValueRef memo_find(const Emit *e, const Inst *inst, const Index at[])
{
    for (int i = (int)inst->mark; i; i = e->memo.at[i - 1].next) {
        const Memo *memo = &e->memo.at[i - 1];
        bool same = true;
        for (int axis = 0; axis < inst->type.rank && same; axis++)
            same = index_equal(memo->at[axis], at[axis]);
        if (same)
            return memo->value;
    }
    return NULL;
}

void memo_put(Emit *e, Inst *inst, const Index at[], LLVMValueRef value)
{
    Memo memo = {.inst = inst, .value = value, .next = (int)inst->mark};
    for (int i = 0; i < inst->type.rank; i++)
        memo.at[i] = at[i];
    vec_push(e->g->arena, &e->memo, memo);
    inst->mark = e->memo.count;
}

static bool squeezed(Type type, int *axis)
{
    while (*axis < type.rank && type.dim[*axis] == 1)
        ++*axis;
    return *axis < type.rank;
}

// The axes of both shapes are cut into the smallest groups of equal element counts; an index moves
// within its group.
static void reshape_index(Emit *e, Type out, const Index at[], Type in, Index below[])
{
    Index zero = index_of(whole(e->g, 0), 0);
    for (int i = 0; i < in.rank; i++)
        below[i] = zero;
    if (e->flat) {
        Index position = zero;
        for (int i = 0; i < out.rank; i++)
            position = index_add(e, position, at[i]);
        if (in.rank)
            below[in.rank - 1] = position;
        return;
    }
    int from = 0, to = 0;
    while (squeezed(out, &from) && squeezed(in, &to)) {
        int from_end = from + 1, to_end = to + 1;
        int64_t have = out.dim[from], want = in.dim[to];
        while (have != want) {
            if (have < want)
                have *= out.dim[from_end++];
            else
                want *= in.dim[to_end++];
        }
        Index position = zero;
        int64_t step = 1;
        for (int axis = from_end - 1; axis >= from; axis--) {
            position = index_add(e, position, index_scale(e, at[axis], step));
            step *= out.dim[axis];
        }
        index_split(e, position, to_end - to, in.dim + to, below + to);
        from = from_end;
        to = to_end;
    }
}

// The row that gather and take_along read; `at` is the index into the row numbers.
static Index row_index(Emit *e, Inst *inst, const Index at[])
{
    Inst *rows = inst->input[1];
    int64_t axis = inst->attr[0].whole, last = inst->input[0]->type.dim[axis] - 1;
    LLVMValueRef row = element(e, rows, at);
    DType dtype = rows->type.dtype;
    if (dtype != DTYPE_I64) {
        LLVMTypeRef type = register_type(e->g, DTYPE_I64, e->lanes);
        row = LLVMBuildCast(e->b, dtype == DTYPE_U8 ? LLVMZExt : LLVMSExt, row, type, "");
    }
    LLVMValueRef zero = lanes_splat(e, whole(e->g, 0)), end = lanes_splat(e, whole(e->g, last));
    row = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, row, zero, ""), zero, row, "");
    row = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, row, end, ""), end, row, "");
    return e->lanes == 1 ? index_of(row, 0) : (Index){NULL, 0, row, false};
}

// The index in input 0 of the element that a data movement puts at `at`.
static void moved_index(Emit *e, Inst *inst, const Index at[], Index below[])
{
    Type in = inst->input[0]->type;
    if (inst->op == OP_broadcast) {
        IntList axes = inst->attr[0].list;
        for (int i = 0; i < in.rank; i++) {
            bool stretched = in.dim[i] == 1 && inst->type.dim[axes.at[i]] != 1;
            below[i] = stretched ? index_of(whole(e->g, 0), 0) : at[axes.at[i]];
        }
    } else if (inst->op == OP_reshape) {
        reshape_index(e, inst->type, at, in, below);
    } else if (inst->op == OP_transpose) {
        for (int i = 0; i < in.rank; i++)
            below[inst->attr[0].list.at[i]] = at[i];
    } else if (inst->op == OP_slice) {
        for (int i = 0; i < in.rank; i++)
            below[i] = index_add_constant(e, index_scale(e, at[i], inst->attr[2].list.at[i]),
                                          inst->attr[0].list.at[i]);
    } else if (inst->op == OP_gather) {
        int64_t axis = inst->attr[0].whole;
        int rows = inst->input[1]->type.rank;
        for (int i = 0; i < axis; i++)
            below[i] = at[i];
        below[axis] = row_index(e, inst, at + axis);
        for (int i = (int)axis + 1; i < in.rank; i++)
            below[i] = at[i - 1 + rows];
    } else if (inst->op == OP_take_along) {
        for (int i = 0; i < in.rank; i++)
            below[i] = at[i];
        below[inst->attr[0].whole] = row_index(e, inst, at);
    } else {
        bug(e->g->cx, inst->span, "'%s' inside of a fused body", op_info[inst->op].name);
    }
}

// Inside of the padded tensor its element, which is read at a place that exists in any case.
static LLVMValueRef pad_element(Emit *e, Inst *inst, const Index at[])
{
    Type in = inst->input[0]->type;
    Index below[IR_MAX_RANK];
    LLVMValueRef inside = NULL;
    for (int axis = 0; axis < in.rank; axis++) {
        below[axis] = at[axis];
        if (in.dim[axis] == inst->type.dim[axis])
            continue;
        Index moved = index_add_constant(e, at[axis], -inst->attr[0].list.at[axis]);
        bool one = !moved.lanes && (moved.step == 0 || e->lanes == 1);
        LLVMValueRef number = one ? moved.at : lanes_of(e, moved), end = whole(e->g, in.dim[axis]),
                     zero = whole(e->g, 0);
        if (!one) {
            end = lanes_splat(e, end);
            zero = lanes_splat(e, zero);
        }
        LLVMValueRef exists = LLVMBuildICmp(e->b, LLVMIntULT, number, end, "");
        number = LLVMBuildSelect(e->b, exists, number, zero, "");
        below[axis] = one ? index_of(number, 0) : (Index){NULL, 0, number, false};
        if (one)
            exists = lanes_splat(e, exists);
        inside = inside ? LLVMBuildAnd(e->b, inside, exists, "") : exists;
    }
    LLVMValueRef value = element(e, inst->input[0], below);
    return inside ? LLVMBuildSelect(e->b, inside, value, element(e, inst->input[1], below), "")
                  : value;
}

static LLVMValueRef parameter_element(Emit *e, Inst *param, const Index at[])
{
    const Source *source = param->note;
    if (source->by_value)
        return lanes_splat(e, source->base);
    return load_element(e, param->type.dtype, source->base, index_position(e, param->type, at));
}

static LLVMValueRef iota_element(Emit *e, const Inst *inst, const Index at[])
{
    DType dtype = inst->type.dtype;
    LLVMValueRef lanes = lanes_of(e, at[inst->attr[0].whole]);
    LLVMTypeRef type = register_type(e->g, dtype, e->lanes);
    if (dtype == DTYPE_I64)
        return lanes;
    return LLVMBuildCast(e->b, dtype == DTYPE_I32 ? LLVMTrunc : LLVMSIToFP, lanes, type, "");
}

static LLVMValueRef reduce_element(Emit *e, const Inst *inst)
{
    const Source *source = inst->note;
    if (!source || !source->seed[e->unit])
        bug(e->g->cx, inst->span, "a fold is read before it is done");
    return lanes_splat(e, source->seed[e->unit]);
}

// ---- windows

static bool by_lane(const Emit *e, Index at)
{
    return at.lanes || (at.step != 0 && e->lanes > 1);
}

// What must hold for the elements read below a window to exist.
typedef struct Inside {
    LLVMValueRef all;  // of all lanes alike; NULL: nothing
    LLVMValueRef lane; // of each lane; NULL: nothing
} Inside;

static void also(Emit *e, LLVMValueRef *all, LLVMValueRef one)
{
    *all = *all ? LLVMBuildAnd(e->b, *all, one, "") : one;
}

// at < extent; as unsigned numbers, so that -1 is not. An index that fails for all lanes becomes 0.
static Index confine(Emit *e, Index at, int64_t extent, Inside *inside)
{
    LLVMValueRef limit = whole(e->g, extent);
    if (by_lane(e, at)) {
        also(e, &inside->lane,
             LLVMBuildICmp(e->b, LLVMIntULT, lanes_of(e, at), lanes_splat(e, limit), ""));
        return at;
    }
    LLVMValueRef good = LLVMBuildICmp(e->b, LLVMIntULT, at.at, limit, "");
    also(e, &inside->all, good);
    return index_of(LLVMBuildSelect(e->b, good, at.at, whole(e->g, 0), ""), 0);
}

// at / by, if that is whole and below `extent`.
static Index confine_quotient(Emit *e, Index at, int64_t by, int64_t extent, Inside *inside)
{
    if (by == 1)
        return confine(e, at, extent, inside);
    at = confine(e, at, (extent - 1) * by + 1, inside);
    Index rest = index_divide(e, at, by, true);
    LLVMValueRef zero = whole(e->g, 0);
    if (by_lane(e, at))
        also(e, &inside->lane,
             LLVMBuildICmp(e->b, LLVMIntEQ, lanes_of(e, rest), lanes_splat(e, zero), ""));
    else
        also(e, &inside->all, LLVMBuildICmp(e->b, LLVMIntEQ, rest.at, zero, ""));
    return index_divide(e, at, by, false);
}

// Where the positions and the places of a window, or what they cover, are in input 0.
static Inside windowed_index(Emit *e, const Inst *inst, const Index at[], Index below[])
{
    bool back = inst->op == OP_unwindow;
    const Attr *attr = inst->attr + !back;
    Type in = inst->input[0]->type, out = inst->type;
    int spatial = attr[0].list.count, rest = in.rank - spatial;
    const Index *from = back ? at : at + spatial;
    Inside inside = {0};
    for (int i = 0; i < rest; i++)
        below[i] = from[i];
    for (int i = 0; i < spatial; i++) {
        int64_t stride = attr[0].list.at[i], low = attr[1].list.at[i], step = attr[3].list.at[i];
        int64_t extent = in.dim[rest + i], places = out.dim[i];
        Index place = index_scale(e, at[i], back ? -step : step), position = from[rest + i];
        if (back) {
            position = index_add_constant(e, index_add(e, position, place), low);
            below[rest + i] = confine_quotient(e, position, stride, extent, &inside);
            continue;
        }
        int64_t last = (out.dim[spatial + rest + i] - 1) * stride + (places - 1) * step - low;
        position = index_add(e, index_scale(e, position, stride), place);
        position = index_add_constant(e, position, -low);
        below[rest + i] =
            low == 0 && last < extent ? position : confine(e, position, extent, &inside);
    }
    return inside;
}

static LLVMValueRef windowed_element(Emit *e, Inst *inst, const Index at[])
{
    Index below[IR_MAX_RANK];
    Inside inside = windowed_index(e, inst, at, below);
    LLVMValueRef mask = e->mask;
    int known = e->memo.count;
    if (inside.lane)
        e->mask = mask ? LLVMBuildAnd(e->b, mask, inside.lane, "") : inside.lane;
    LLVMValueRef value = element(e, inst->input[0], below);
    e->mask = mask;
    if (inside.lane)
        memo_cut(e, known);
    if (!inside.lane && !inside.all)
        return value;
    LLVMValueRef other = inst->op == OP_window ? element(e, inst->input[1], NULL)
                                               : emit_constant(e, inst->type.dtype, 0);
    other = lanes_splat(e, other);
    if (inside.lane)
        value = LLVMBuildSelect(e->b, inside.lane, value, other, "");
    if (inside.all)
        value = LLVMBuildSelect(e->b, inside.all, value, other, "");
    return value;
}

static LLVMValueRef new_element(Emit *e, Inst *inst, const Index at[])
{
    if (inst->op == OP_window || inst->op == OP_unwindow)
        return windowed_element(e, inst, at);
    if (inst->op == OP_parameter)
        return parameter_element(e, inst, at);
    if (inst->op == OP_constant)
        return emit_element_constant(e, inst->type.dtype, inst->attr[0].data.at);
    if (inst->op == OP_iota)
        return iota_element(e, inst, at);
    if (inst->op == OP_reduce)
        return reduce_element(e, inst);
    if (inst_is_product(inst)) {
        const Source *source = inst->note;
        return source->seed[0];
    }
    if (inst->op == OP_stop_gradient)
        return element(e, inst->input[0], at);
    if (inst->op == OP_pad)
        return pad_element(e, inst, at);
    if (op_has(inst->op, POINTWISE)) {
        LLVMValueRef in[3] = {0};
        for (int i = 0; i < inst->inputs; i++)
            in[i] = element(e, inst->input[i], at);
        return emit_op(e, inst, in);
    }
    Index below[IR_MAX_RANK];
    moved_index(e, inst, at, below);
    return element(e, inst->input[0], below);
}

LLVMValueRef element(Emit *e, Inst *inst, const Index at[])
{
    LLVMValueRef value = memo_find(e, inst, at);
    if (!value) {
        value = new_element(e, inst, at);
        memo_put(e, inst, at, value);
    }
    return value;
}

// ---- which axes may be walked as one ------------------------------------------------------------

// `axis` says for each axis of a value which axis of the space it follows, -1: none.
typedef struct CutVisit {
    int axis[IR_MAX_RANK];
    int next; // the previous visit of the same instruction plus 1, 0: none
} CutVisit;

typedef struct CutWalk {
    Type space;
    unsigned cuts;
    Arena *arena;
    Vec(CutVisit) visit; // Inst.mark is the last one plus 1
} CutWalk;

static void cut_before(CutWalk *walk, int axis)
{
    if (axis > 0)
        walk->cuts |= 1u << (axis - 1);
}

static void cut_after(CutWalk *walk, int axis)
{
    if (axis >= 0)
        walk->cuts |= 1u << axis;
}

// Adjacent axes of the space stay adjacent and whole in a dense value, or do not occur in it at
// all.
static void cut_dense(CutWalk *walk, Type type, const int axis[])
{
    int place[IR_MAX_RANK];
    for (int i = 0; i < walk->space.rank; i++)
        place[i] = -1;
    for (int i = 0; i < type.rank; i++)
        if (axis[i] >= 0)
            place[axis[i]] = i;
    for (int i = 0; i + 1 < walk->space.rank; i++) {
        if (place[i] < 0 && place[i + 1] < 0)
            continue;
        bool together = place[i] >= 0 && place[i + 1] == place[i] + 1 &&
                        type.dim[place[i + 1]] == walk->space.dim[i + 1];
        if (!together)
            cut_after(walk, i);
    }
}

static void cut_walk(CutWalk *walk, Inst *inst, const int axis[]);

static void cut_reshape(CutWalk *walk, const Inst *inst, const int axis[])
{
    Type out = inst->type, in = inst->input[0]->type;
    int below[IR_MAX_RANK], from = 0, to = 0;
    for (int i = 0; i < in.rank; i++)
        below[i] = -1;
    while (squeezed(out, &from) && squeezed(in, &to)) {
        int from_end = from + 1, to_end = to + 1;
        int64_t have = out.dim[from], want = in.dim[to];
        while (have != want) {
            if (have < want)
                have *= out.dim[from_end++];
            else
                want *= in.dim[to_end++];
        }
        if (from_end == from + 1 && to_end == to + 1) {
            below[to] = axis[from];
        } else {
            for (int i = from; i < from_end; i++) {
                cut_before(walk, axis[i]);
                cut_after(walk, axis[i]);
            }
        }
        from = from_end;
        to = to_end;
    }
    cut_walk(walk, inst->input[0], below);
}

static bool cut_visited(CutWalk *walk, Inst *inst, const int axis[])
{
    size_t bytes = sizeof(int) * (size_t)inst->type.rank;
    for (int i = (int)inst->mark; i; i = walk->visit.at[i - 1].next)
        if (memcmp(walk->visit.at[i - 1].axis, axis, bytes) == 0)
            return true;
    CutVisit visit = {.next = (int)inst->mark};
    memcpy(visit.axis, axis, bytes);
    vec_push(walk->arena, &walk->visit, visit);
    inst->mark = walk->visit.count;
    return false;
}

// The positions and places of a window stay apart; the other axes are moved.
static void cut_window(CutWalk *walk, const Inst *inst, const int axis[])
{
    bool back = inst->op == OP_unwindow;
    int spatial = inst->attr[!back].list.count, rank = inst->type.rank, below[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        if (i >= spatial && i < rank - spatial)
            continue;
        cut_before(walk, axis[i]);
        cut_after(walk, axis[i]);
    }
    for (int i = 0; i < inst->input[0]->type.rank; i++)
        below[i] = axis[back ? i : i + spatial];
    cut_walk(walk, inst->input[0], below);
}

static void cut_walk(CutWalk *walk, Inst *inst, const int axis[])
{
    if (cut_visited(walk, inst, axis))
        return;
    if (op_has(inst->op, POINTWISE) || inst->op == OP_stop_gradient) {
        for (int i = 0; i < inst->inputs; i++)
            cut_walk(walk, inst->input[i], axis);
        return;
    }
    int below[IR_MAX_RANK];
    Type in = inst->inputs ? inst->input[0]->type : inst->type;
    for (int i = 0; i < in.rank; i++)
        below[i] = -1;
    if (inst->op == OP_parameter || inst_is_product(inst)) {
        cut_dense(walk, inst->type, axis);
    } else if (inst->op == OP_iota) {
        cut_before(walk, axis[inst->attr[0].whole]);
        cut_after(walk, axis[inst->attr[0].whole]);
    } else if (inst->op == OP_broadcast) {
        for (int i = 0; i < in.rank; i++)
            if (in.dim[i] != 1 || inst->type.dim[inst->attr[0].list.at[i]] == 1)
                below[i] = axis[inst->attr[0].list.at[i]];
        cut_walk(walk, inst->input[0], below);
    } else if (inst->op == OP_reshape) {
        cut_reshape(walk, inst, axis);
    } else if (inst->op == OP_transpose) {
        for (int i = 0; i < in.rank; i++)
            below[inst->attr[0].list.at[i]] = axis[i];
        cut_walk(walk, inst->input[0], below);
    } else if (inst->op == OP_slice) {
        for (int i = 0; i < in.rank; i++) {
            bool whole_axis = inst->type.dim[i] == in.dim[i] && inst->attr[2].list.at[i] == 1;
            if (!whole_axis)
                cut_before(walk, axis[i]);
            if (inst->attr[2].list.at[i] != 1)
                cut_after(walk, axis[i]);
            below[i] = axis[i];
        }
        cut_walk(walk, inst->input[0], below);
    } else if (inst->op == OP_concat) { // a result: each piece is stored where it is in the whole
        cut_before(walk, axis[inst->attr[0].whole]);
        for (int i = 0; i < inst->inputs; i++)
            cut_walk(walk, inst->input[i], axis);
    } else if (inst->op == OP_window || inst->op == OP_unwindow) {
        cut_window(walk, inst, axis);
    } else if (inst->op == OP_pad) {
        for (int i = 0; i < in.rank; i++) {
            below[i] = axis[i];
            if (in.dim[i] == inst->type.dim[i])
                continue;
            cut_before(walk, axis[i]);
            cut_after(walk, axis[i]);
        }
        cut_walk(walk, inst->input[0], below);
        cut_walk(walk, inst->input[1], below);
    } else if (inst->op == OP_gather) {
        int64_t at = inst->attr[0].whole;
        int rows = inst->input[1]->type.rank;
        for (int i = 0; i < in.rank; i++)
            below[i] = i < at ? axis[i] : i == at ? -1 : axis[i - 1 + rows];
        if (rows) {
            cut_before(walk, axis[at]);
            cut_after(walk, axis[at + rows - 1]);
        }
        cut_walk(walk, inst->input[0], below);
        cut_walk(walk, inst->input[1], axis + at);
    } else if (inst->op == OP_take_along) {
        int64_t at = inst->attr[0].whole;
        for (int i = 0; i < in.rank; i++)
            below[i] = i == at ? -1 : axis[i];
        cut_before(walk, axis[at]);
        cut_after(walk, axis[at]);
        cut_walk(walk, inst->input[0], below);
        cut_walk(walk, inst->input[1], axis);
    }
}

unsigned body_cuts(IrFunction *body, const BodyShape *shape)
{
    CutWalk walk = {.space = shape->space, .arena = body->cx->scratch};
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark = 0;
    for (Inst *inst = body->first; inst; inst = inst->next)
        inst->mark = 0;
    int all[IR_MAX_RANK], kept[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++)
        all[i] = i;
    for (int i = 0; i < shape->kept.count; i++)
        kept[i] = (int)shape->kept.at[i];
    for (int i = 0; i < body->result.count; i++) {
        Inst *value = body->result.at[i].value;
        int level = body_result_level(shape, value);
        if (inst_in_panels(value)) {
            cut_before(&walk, shape->space.rank - 1);
            value = body_made(value);
        }
        if (level == LEVEL_OTHER) {
            int apart[IR_MAX_RANK], count = 0;
            for (int axis = 0; axis < shape->space.rank; axis++)
                if (!(shape->down >> axis & 1))
                    apart[count++] = axis;
            cut_dense(&walk, value->type, apart);
        } else {
            cut_walk(&walk, value, level == LEVEL_SPACE ? all : kept);
        }
    }
    for (const Inst *inst = body->first; inst; inst = inst->next)
        if (inst->op == OP_reduce)
            cut_walk(&walk, inst->input[0], all);
    for (int i = 0; i + 1 < shape->space.rank; i++)
        if ((shape->folded >> i & 1) != (shape->folded >> (i + 1) & 1) ||
            (shape->down >> i & 1) != (shape->down >> (i + 1) & 1))
            walk.cuts |= 1u << i;
    return walk.cuts;
}

bool body_flat(IrFunction *body, const BodyShape *shape)
{
    if (shape->kind != BODY_MAP)
        return false;
    for (const Inst *inst = body->first; inst; inst = inst->next)
        if (!op_has(inst->op, POINTWISE) && inst->op != OP_stop_gradient &&
            inst->op != OP_constant && inst->op != OP_reshape &&
            !(inst->op == OP_broadcast && inst->input[0]->type.rank == 0))
            return false;
    return true;
}
