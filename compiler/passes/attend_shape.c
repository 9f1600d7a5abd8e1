// attend_shape.c: the sizes of attention, for the planner and the code generator, and where its
// operands lie.
//
// Queries, keys and values are often made by one product:
//
//     one position's row    | q of all heads | k of all heads | v of all heads |
//
// Attention reads such pieces in the memory of the whole row, and if their gradients are joined
// again, for the gradient of that product, it writes them into the whole. So neither the slices nor
// the concat are copied.

#include "passes/fuse.h"

AmlAttend attend_shape(const Inst *inst, int width, bool pairs)
{
    Type type[] = {inst->input[0]->type, inst->input[1]->type, inst->input[2]->type};
    AttendSizes s = attend_sizes(type, NULL);
    AmlAttend a = {.lanes = width / 4,
                   .pairs = pairs && type[0].dtype == DTYPE_BF16,
                   .images = s.images,
                   .queries = s.queries,
                   .heads = s.heads,
                   .size = s.size,
                   .keys = s.keys,
                   .groups = s.groups,
                   .width = s.width};
    if (inst->op == OP_attend_cached)
        aml_attend_plan_cached(&a);
    else
        aml_attend_plan(&a, inst->op == OP_attend_back);
    return a;
}

static const Inst *before_reshapes(const Inst *inst)
{
    while (inst->op == OP_reshape)
        inst = inst->input[0];
    return inst;
}

// What is made element by element where it is read would have to be stored for this.
bool attend_reads_piece(const Inst *slice)
{
    RowPiece piece;
    const Inst *whole = before_reshapes(slice->input[0]);
    bool stored = whole->op == OP_parameter || whole->op == OP_get || whole->op == OP_fused ||
                  op_has(whole->op, CONTRACTS) || op_has(whole->op, POINTWISE);
    return stored && slice->input[0]->type.rank > 0 && inst_row_piece(slice, &piece) &&
           inst_attended(slice, piece.rows);
}

static AttendRows rows_of(Type type)
{
    return (AttendRows){0, type.dim[2] * type.dim[3]};
}

AttendRows attend_operand(const Inst *inst, int input)
{
    const Inst *from = before_reshapes(inst->input[input]);
    RowPiece piece;
    if (from->op != OP_slice || !attend_reads_piece(from) || !inst_row_piece(from, &piece))
        return rows_of(inst->input[input]->type);
    return (AttendRows){piece.offset, piece.step};
}

// How many rows a concat is made of: the elements of all axes in front of the one that it is along.
static int64_t joined_rows(const Inst *concat)
{
    int64_t rows = 1;
    for (int axis = 0; axis < concat->attr[0].whole; axis++)
        rows *= concat->type.dim[axis];
    return rows;
}

// The result of an attend_back that piece `i` is, if nothing else reads it.
static const Inst *joined_piece(const Inst *concat, int i)
{
    const Inst *from = concat->input[i];
    while (from->op == OP_reshape && from->uses == 1)
        from = from->input[0];
    bool fits = from->op == OP_get && from->uses == 1 && from->input[0]->op == OP_attend_back &&
                from->type.dim[0] * from->type.dim[1] == joined_rows(concat);
    return fits ? from : NULL;
}

const Inst *attend_joined(const Inst *concat)
{
    const Inst *back = NULL;
    unsigned seen = 0;
    for (int i = 0; i < concat->inputs; i++) {
        const Inst *piece = joined_piece(concat, i);
        if (!piece || (back && piece->input[0] != back))
            return NULL;
        back = piece->input[0];
        seen |= 1U << piece->attr[0].whole;
    }
    return seen == 7 && concat->inputs == 3 ? back : NULL;
}

const Inst *attend_back_whole(const Inst *back)
{
    for (const Inst *inst = back->next; inst; inst = inst->next)
        if (inst->op == OP_concat && attend_joined(inst) == back)
            return inst;
    return NULL;
}

AttendRows attend_slope(const Inst *back, int result)
{
    const Inst *whole = attend_back_whole(back);
    if (!whole)
        return rows_of(back->result_type[result]);
    int64_t rows = joined_rows(whole);
    AttendRows at = {0, type_elements(whole->type) / rows};
    for (int i = 0; joined_piece(whole, i)->attr[0].whole != result; i++)
        at.offset += type_elements(whole->input[i]->type) / rows;
    return at;
}

size_t attend_scratch_bytes(const Inst *inst)
{
    size_t most = 0;
    for (int way = 0; way < 4; way++) { // three widths, and pairs in the widest
        AmlAttend a = attend_shape(inst, way == 3 ? 64 : 16 << way, way == 3);
        size_t all = a.scratch_bytes * (size_t)a.parts;
        most = all > most ? all : most;
    }
    return most;
}
