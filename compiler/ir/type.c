// type.c: types of values, and the table of ops.

#include "aml/program.h"
#include "ir/ir.h"

// The runtime's list of types, which programs are compiled against, is in the order of dtypes.def.
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors)                                         \
    _Static_assert((int)AML_##NAME == (int)DTYPE_##NAME, "aml_dtype has the order of dtypes.def");
#include "dtypes.def"
#undef DTYPE

enum {
#define ATTR(kind, name) +1
#define OP(name, inputs, attributes, rule, traits, meaning) ATTRS_##name = 0 attributes,
#include "ops.def"
#undef OP
#undef ATTR
};

#define ATTR(kind, name) {ATTR_##kind, #name},
const OpInfo op_info[OP_COUNT] = {
#define OP(name, inputs, attributes, rule, traits, meaning)                                        \
    [OP_##name] = {#name, inputs, ATTRS_##name, {attributes}, traits, meaning},
#include "ops.def"
#undef OP
};
#undef ATTR

bool op_has(Op op, unsigned trait)
{
    return (op_info[op].traits & trait) == trait;
}

bool inst_rounds(const Inst *inst, int input)
{
    bool statistics = inst->op == OP_attend_back && (input == 3 || input == 4);
    return inst->input[input]->type.dtype == DTYPE_F32 && !statistics;
}

bool inst_row_piece(const Inst *slice, RowPiece *out)
{
    Type whole = slice->input[0]->type;
    *out = (RowPiece){.rows = 1, .step = 1};
    int cut = -1;
    for (int axis = 0; axis < whole.rank; axis++) {
        int64_t start = slice->attr[0].list.at[axis], stop = slice->attr[1].list.at[axis];
        if (slice->attr[2].list.at[axis] != 1)
            return false;
        if (start > 0 || stop < whole.dim[axis]) {
            if (cut >= 0)
                return false;
            cut = axis;
        }
    }
    for (int axis = 0; axis < whole.rank; axis++)
        *(axis < cut ? &out->rows : &out->step) *= whole.dim[axis];
    if (cut >= 0)
        out->offset = out->step / whole.dim[cut] * slice->attr[0].list.at[cut];
    return cut >= 0;
}

// Calls whose function is f32 become the instruction (pass inline).
static bool attends(const Inst *inst, int input, int64_t rows)
{
    bool call = inst->op == OP_call;
    Op op = call ? inst->attr[0].function->kernel : inst->op;
    Type type = inst->input[input]->type;
    return (op == OP_attend || op == OP_attend_back) && input < 3 && type.rank == 4 &&
           (!call || type.dtype == DTYPE_F32) && type.dim[0] * type.dim[1] == rows;
}

bool inst_attended(const Inst *value, int64_t rows)
{
    int found = 0;
    for (const Inst *inst = value->next; inst && found < value->uses; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != value)
                continue;
            if (!attends(inst, i, rows) && !(inst->op == OP_reshape && inst_attended(inst, rows)))
                return false;
            found++;
        }
    return found > 0 && found == value->uses;
}

Type type_make(DType dtype, int rank, const int64_t dim[])
{
    Type type = {.dtype = dtype, .rank = rank};
    for (int axis = 0; axis < rank && axis < IR_MAX_RANK; axis++)
        type.dim[axis] = dim[axis];
    return type;
}

Type type_scalar(DType dtype)
{
    return (Type){.dtype = dtype};
}

bool shape_equal(Type a, Type b)
{
    if (a.rank != b.rank)
        return false;
    for (int axis = 0; axis < a.rank; axis++)
        if (a.dim[axis] != b.dim[axis])
            return false;
    return true;
}

bool type_equal(Type a, Type b)
{
    return a.dtype == b.dtype && shape_equal(a, b);
}

bool type_valid(Type type)
{
    const int64_t limit = INT64_C(1) << 40;
    if ((int)type.dtype < 0 || type.dtype >= DTYPE_COUNT || type.rank < 0 ||
        type.rank > IR_MAX_RANK)
        return false;
    int64_t count = 1;
    for (int axis = 0; axis < type.rank; axis++) {
        if (type.dim[axis] < 1 || type.dim[axis] > limit / count)
            return false;
        count *= type.dim[axis];
    }
    return true;
}

const char *shape_text(Arena *arena, Type type)
{
    Buffer out = {.arena = arena};
    buffer_text(&out, "[");
    for (int axis = 0; axis < type.rank; axis++)
        buffer_printf(&out, axis ? ", %lld" : "%lld", (long long)type.dim[axis]);
    buffer_text(&out, "]");
    return out.text;
}

const char *type_text(Arena *arena, Type type)
{
    return arena_printf(arena, "%s%s", dtype_info[type.dtype].name, shape_text(arena, type));
}
