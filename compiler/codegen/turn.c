// turn.c: a nest that only reorders axes, so that what lies together in memory does not lie
// together in the result. Squares as wide as a register are read along one axis and written along
// the other.
//
//     read: lanes are axis `along`       written: lanes are the last axis
//       row 0   a0 a1 a2 a3                a0 b0 c0 d0
//       row 1   b0 b1 b2 b3        ->      a1 b1 c1 d1
//       ...

#include "codegen/emit.h"

enum { MOST_LANES = 16 };

typedef struct Turn {
    Type type;                  // of the result
    int along;                  // the axis of the result that the memory of the operand runs along
    int64_t step[IR_MAX_RANK];  // of the operand, by axis of the result
    int64_t place[IR_MAX_RANK]; // of the result
    int64_t blocks, chunk, parts; // squares side by side: of `along` and the axes beside it
} Turn;

static bool turn_of(const Codegen *g, const IrFunction *body, Turn *turn)
{
    const Inst *inst = body->first;
    if (!inst || inst->next || inst->op != OP_transpose || inst->input[0]->op != OP_parameter ||
        body->result.count != 1 || body->result.at[0].value != inst ||
        dtype_info[inst->type.dtype].bytes != 4 || g->lanes < 8)
        return false;
    Type type = inst->type, in = inst->input[0]->type;
    int last = type.rank - 1;
    *turn = (Turn){.type = type, .along = -1, .blocks = 1};
    int64_t step[IR_MAX_RANK], size = 1, place = 1;
    for (int i = last; i >= 0; i--) {
        step[i] = size;
        size *= in.dim[i];
        turn->place[i] = place;
        place *= type.dim[i];
    }
    for (int i = 0; i <= last; i++) {
        int64_t from = inst->attr[0].list.at[i];
        turn->step[i] = step[from];
        if (from == last)
            turn->along = i;
    }
    if (turn->along < 0 || turn->along == last || type.dim[last] % g->lanes ||
        type.dim[turn->along] % g->lanes)
        return false;
    for (int i = 0; i < last; i++)
        turn->blocks *= i == turn->along ? type.dim[i] / g->lanes : type.dim[i];
    int64_t wanted = type_bytes(type) / (128 << 10);
    wanted = wanted < 1 ? 1 : wanted > 64 ? 64 : wanted;
    turn->chunk = aml_ceil_div(turn->blocks, wanted);
    turn->parts = aml_ceil_div(turn->blocks, turn->chunk);
    return true;
}

int64_t turn_parts(const Codegen *g, const IrFunction *body)
{
    Turn turn;
    return turn_of(g, body, &turn) ? turn.parts : 0;
}

static LLVMValueRef zip(Emit *e, LLVMValueRef a, LLVMValueRef b, bool high)
{
    LLVMValueRef order[MOST_LANES];
    int lanes = e->lanes;
    for (int i = 0; i < lanes; i++)
        order[i] = LLVMConstInt(
            e->g->i32, (unsigned)((high ? lanes / 2 : 0) + i / 2 + (i % 2 ? lanes : 0)), 0);
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(order, (unsigned)lanes), "");
}

// Zipping row i with row i + lanes / 2 moves one bit of the row's number into that of the lane.
static void turn_square(Emit *e, LLVMValueRef row[])
{
    for (int round = 1; round < e->lanes; round *= 2) {
        LLVMValueRef next[MOST_LANES];
        for (int i = 0; i < e->lanes; i++)
            next[i] = zip(e, row[i / 2], row[i / 2 + e->lanes / 2], i % 2);
        for (int i = 0; i < e->lanes; i++)
            row[i] = next[i];
    }
}

bool turn_emit(Kernel *k, IrFunction *body, LLVMValueRef to)
{
    Turn turn;
    Emit *e = &k->emit;
    Codegen *g = k->g;
    if (!turn_of(g, body, &turn))
        return false;
    const Source *source = body->param.at[0]->note;
    DType dtype = turn.type.dtype;
    int last = turn.type.rank - 1;
    LLVMValueRef lo = whole(g, 0), hi = whole(g, turn.blocks);
    if (turn.parts > 1) {
        lo = LLVMBuildMul(e->b, k->begin, whole(g, turn.chunk), "");
        LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(g, turn.chunk), "");
        hi = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, hi, ""), stop, hi, "");
    }
    Loop block = loop_begin(e, lo, hi, 1);
    LLVMValueRef rest = block.at, from_at = whole(g, 0), to_at = whole(g, 0);
    for (int i = last - 1; i >= 0; i--) {
        int64_t each = i == turn.along ? g->lanes : 1;
        LLVMValueRef count = whole(g, turn.type.dim[i] / each),
                     at = LLVMBuildURem(e->b, rest, count, "");
        rest = LLVMBuildUDiv(e->b, rest, count, "");
        from_at = LLVMBuildAdd(e->b, from_at,
                               LLVMBuildMul(e->b, at, whole(g, turn.step[i] * each), ""), "");
        to_at = LLVMBuildAdd(e->b, to_at,
                             LLVMBuildMul(e->b, at, whole(g, turn.place[i] * each), ""), "");
    }
    Loop along = loop_begin(e, whole(g, 0), whole(g, turn.type.dim[last]), g->lanes);
    e->lanes = g->lanes;
    e->mask = NULL;
    LLVMValueRef row[MOST_LANES];
    for (int i = 0; i < g->lanes; i++) {
        LLVMValueRef at = LLVMBuildAdd(e->b, along.at, whole(g, i), "");
        at = LLVMBuildAdd(e->b, from_at, LLVMBuildMul(e->b, at, whole(g, turn.step[last]), ""), "");
        row[i] = load_element(e, dtype, source->base, index_of(at, 1));
    }
    turn_square(e, row);
    for (int i = 0; i < g->lanes; i++) {
        LLVMValueRef at = LLVMBuildAdd(e->b, to_at, along.at, "");
        at = LLVMBuildAdd(e->b, at, whole(g, i * turn.place[turn.along]), "");
        store_element(e, dtype, to, index_of(at, 1), row[i]);
    }
    e->lanes = 1;
    loop_end(e, &along);
    loop_end(e, &block);
    return true;
}
