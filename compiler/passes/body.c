// body.c: the analysis of a fused body, see fuse.h.

#include "passes/fuse.h"

#include "diag/diag.h"

static unsigned folded_by(const Inst *reduce)
{
    unsigned folded = 0;
    for (int i = 0; i < reduce->attr[1].list.count; i++)
        folded |= 1u << reduce->attr[1].list.at[i];
    return folded;
}

static void analyse_reduce(IrFunction *body, BodyShape *shape, const Inst *reduce)
{
    int rank = reduce->input[0]->type.rank;
    unsigned folded = folded_by(reduce), last = rank > 0 ? 1u << (rank - 1) : 0;
    bool first = !shape->folded;
    if ((!first || shape->kind == BODY_DOT) && !shape_equal(shape->space, reduce->input[0]->type))
        bug(body->cx, reduce->span, "a fused body folds two different spaces");
    if (shape->kind == BODY_DOT && reduce->attr[0].reducer != REDUCE_SUM)
        bug(body->cx, reduce->span, "the epilogue of a product folds what it cannot");
    if (shape->kind == BODY_MAP)
        shape->kind = BODY_REDUCE;
    shape->space = reduce->input[0]->type;
    if (first || folded == shape->folded) {
        shape->folded = folded;
    } else if (shape->kind == BODY_DOT) {
        bug(body->cx, reduce->span, "the epilogue of a product folds in two different ways");
    } else if (folded & last) { // rows, and sums down columns were met before
        shape->down = shape->folded;
        shape->folded = folded;
    } else if (!shape->down) {
        shape->down = folded;
    }
    bool apart = !(shape->folded & shape->down) && !(shape->down & last) && !(shape->down & 1);
    if ((folded != shape->folded && folded != shape->down) || (shape->down && !apart))
        bug(body->cx, reduce->span, "a fused body folds a space in two different ways");
    shape->kept.count = 0;
    for (int axis = 0; axis < shape->space.rank; axis++)
        if (!(shape->folded >> axis & 1))
            shape->kept.at[shape->kept.count++] = axis;
}

bool body_sums_down(const BodyShape *shape, const Inst *inst)
{
    return shape->down && inst->op == OP_reduce && folded_by(inst) == shape->down;
}

// A sum down columns has a level of its own, which nothing else has.
int body_result_level(const BodyShape *shape, const Inst *result)
{
    result = body_made(result);
    if (shape->kind == BODY_MAP || result->type.rank == shape->space.rank)
        return LEVEL_SPACE;
    return body_sums_down(shape, result) ? LEVEL_OTHER : LEVEL_KEPT;
}

bool body_keeps(const BodyShape *shape, const Inst *broadcast)
{
    if (shape->kind != BODY_REDUCE || broadcast->op != OP_broadcast ||
        !shape_equal(broadcast->type, shape->space))
        return false;
    IntList axes = broadcast->attr[0].list;
    if (axes.count != shape->kept.count)
        return false;
    for (int i = 0; i < axes.count; i++)
        if (axes.at[i] != shape->kept.at[i] ||
            broadcast->input[0]->type.dim[i] != shape->space.dim[axes.at[i]])
            return false;
    return true;
}

// The first half of what inst_in_panels knows.
static bool brings_into_panels(const Inst *inst)
{
    return inst->op == OP_reshape && !inst_of_panels(inst) && inst->type.rank > 0 &&
           inst->type.rank == inst->input[0]->type.rank + 1 &&
           inst->type.dim[inst->type.rank - 1] == DOT_PANEL;
}

static void mark_inputs(const BodyShape *shape, Inst *inst)
{
    int levels = (int)inst->mark, below;
    if (inst_in_panels(inst) || brings_into_panels(inst)) // a result, whose own value is marked
        return;
    if (op_has(inst->op, POINTWISE) || inst->op == OP_stop_gradient || inst->op == OP_concat)
        below = levels;
    else if (inst->op == OP_reduce)
        below = LEVEL_SPACE;
    else if (levels == LEVEL_SPACE && body_keeps(shape, inst))
        below = LEVEL_KEPT;
    else
        below = LEVEL_OTHER;
    for (int i = 0; i < inst->inputs; i++)
        inst->input[i]->mark |= below;
}

// The phase in which a value is known: each reduce of rows ends one.
static int count_phases(IrFunction *body, const BodyShape *shape)
{
    int phases = 1;
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark = 0;
    for (Inst *inst = body->first; inst; inst = inst->next) {
        inst->mark = 0;
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i]->mark > inst->mark)
                inst->mark = inst->input[i]->mark;
        if (inst->op == OP_reduce) {
            if (inst->mark + 1 > phases)
                phases = (int)inst->mark + 1;
            inst->mark += !body_sums_down(shape, inst);
        }
    }
    return phases;
}

BodyShape body_analyse(IrFunction *body)
{
    const Inst *first = body_made(body->result.at[0].value);
    Type space = first->op == OP_concat ? first->input[0]->type : first->type;
    BodyShape shape = {.kind = BODY_MAP, .space = space, .phases = 1};
    shape.dot = body_product(body);
    if (shape.dot) {
        shape.kind = BODY_DOT;
        shape.space = shape.dot->type;
    }
    for (Inst *inst = body->first; inst; inst = inst->next)
        if (inst->op == OP_reduce)
            analyse_reduce(body, &shape, inst);
    if (shape.kind == BODY_REDUCE) {
        shape.phases = count_phases(body, &shape);
        for (int i = 0; i < body->result.count; i++) {
            const Inst *value = body_made(body->result.at[i].value);
            if (body_result_level(&shape, value) == LEVEL_SPACE && value->mark + 1 > shape.phases)
                shape.phases = (int)value->mark + 1;
        }
    }
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->mark = 0;
    for (Inst *inst = body->first; inst; inst = inst->next)
        inst->mark = 0;
    for (int i = 0; i < body->result.count; i++) {
        Inst *value = body_made(body->result.at[i].value);
        value->mark |= body_result_level(&shape, value);
    }
    for (Inst *inst = body->last; inst; inst = inst->prev)
        mark_inputs(&shape, inst);
    return shape;
}

// What is stored in the last phase; what is folded is not worth to be held in a result's memory.
static bool stored_last(IrFunction *body, const BodyShape *shape, const Inst *value)
{
    if (shape->kind != BODY_REDUCE)
        return true;
    for (const Inst *inst = body->first; inst; inst = inst->next) {
        if (inst->op != OP_reduce)
            continue;
        Op op = inst->input[0]->op;
        if (op != OP_parameter && op != OP_add && op != OP_sub && op != OP_mul)
            return false;
    }
    count_phases(body, shape);
    return value->mark == shape->phases - 1;
}

// A kernel evaluates all its results at an index before it stores any of them, and visits every
// index of the space once (once a phase). So an input that is only ever read at the index being
// written may be overwritten; with several phases a later phase could read what an earlier one
// wrote, so only results of the last phase and of the KEPT level, which are stored last, qualify.
bool body_in_place(IrFunction *body, int input, int result)
{
    BodyShape shape = body_analyse(body);
    const Inst *param = body->param.at[input], *value = body->result.at[result].value;
    int level = body_result_level(&shape, value);
    if (param->mark != level || !shape_equal(param->type, value->type))
        return false;
    if (dtype_info[param->type.dtype].bytes != dtype_info[value->type.dtype].bytes)
        return false;
    return level == LEVEL_KEPT || (level == LEVEL_SPACE && stored_last(body, &shape, value));
}

// ---- dot ----------------------------------------------------------------------------------------

typedef struct Collapsed {
    int groups;
    int64_t extent[IR_MAX_RANK], step[IR_MAX_RANK];
    int axis[IR_MAX_RANK]; // the last axis of the group, as counted by the caller
    int axes[IR_MAX_RANK]; // how many axes it has
} Collapsed;

static void collapse(Collapsed *out, int64_t extent, int64_t step, int axis)
{
    int last = out->groups - 1;
    if (last >= 0 && (extent == 1 || out->extent[last] == 1 || out->step[last] == step * extent)) {
        if (extent != 1)
            out->step[last] = step;
        out->extent[last] *= extent;
        out->axis[last] = axis;
        out->axes[last]++;
        return;
    }
    out->extent[out->groups] = extent;
    out->step[out->groups] = step;
    out->axes[out->groups] = 1;
    out->axis[out->groups++] = axis;
}

static int64_t axis_step(Type type, int64_t axis)
{
    int64_t step = 1;
    for (int i = type.rank - 1; i > axis; i--)
        step *= type.dim[i];
    return step;
}

static bool listed(IntList list, int axis)
{
    for (int i = 0; i < list.count; i++)
        if (list.at[i] == axis)
            return true;
    return false;
}

static void add_loop(DotShape *out, int axis, int axes, int64_t extent, int64_t a_step,
                     int64_t b_step)
{
    out->extent[out->loops] = extent;
    out->a_step[out->loops] = a_step;
    out->b_step[out->loops] = b_step;
    out->loop_axes[out->loops] = axes;
    out->loop_axis[out->loops++] = axis;
}

// What lies in panels has other steps than a matrix. There is one product then, of whole matrices.
void body_dot_panels(const Inst *dot, DotShape *out)
{
    out->dot.a_panels = inst_of_panels(dot->input[0]);
    out->dot.b_panels = inst_of_panels(dot->input[1]);
    if (out->dot.a_panels && out->dot.a_k == 1)
        out->dot.a_row = DOT_PANEL;
    else if (out->dot.a_panels)
        out->dot.a_k = DOT_PANEL;
    if (out->dot.b_panels)
        out->dot.b_k = DOT_PANEL;
}

bool dot_shape(const Inst *dot, DotShape *out)
{
    Type a = dot->input[0]->type, b = dot->input[1]->type;
    IntList contract_a = dot->attr[0].list, contract_b = dot->attr[1].list;
    IntList batch_a = dot->attr[2].list, batch_b = dot->attr[3].list;
    *out =
        (DotShape){.dot = {.m = 1, .n = 1, .k = 1, .a_row = 1, .a_k = 1, .b_k = 1, .b_column = 1}};
    int axis = 0;
    for (int i = 0; i < batch_a.count; i++, axis++)
        if (a.dim[batch_a.at[i]] > 1)
            add_loop(out, axis, 1, a.dim[batch_a.at[i]], axis_step(a, batch_a.at[i]),
                     axis_step(b, batch_b.at[i]));

    Collapsed rows = {0}, columns = {0};
    for (int i = 0; i < a.rank; i++)
        if (!listed(contract_a, i) && !listed(batch_a, i))
            collapse(&rows, a.dim[i], axis_step(a, i), axis++);
    for (int i = 0; i < b.rank; i++)
        if (!listed(contract_b, i) && !listed(batch_b, i))
            collapse(&columns, b.dim[i], axis_step(b, i), axis++);
    for (int i = 0; i + 1 < rows.groups; i++)
        add_loop(out, rows.axis[i], rows.axes[i], rows.extent[i], rows.step[i], 0);
    // Columns in panels of whole registers (passes/panels.c) are a loop too.
    int last = columns.groups - 1;
    if (last > 0 && (columns.step[last] != 1 || columns.extent[last] % DOT_PANEL != 0))
        return false;
    for (int i = 0; i < last; i++) {
        add_loop(out, columns.axis[i], columns.axes[i], columns.extent[i], 0, columns.step[i]);
        out->panel_axes += columns.axes[i];
    }
    if (rows.groups) {
        out->dot.m = rows.extent[rows.groups - 1];
        out->dot.a_row = rows.step[rows.groups - 1];
        out->row_axes = rows.axes[rows.groups - 1];
    }
    if (columns.groups) {
        out->dot.n = columns.extent[last];
        out->dot.b_column = columns.step[last];
        out->column_axes = columns.axes[last];
    }

    for (int i = 0; i < contract_a.count; i++) {
        int64_t extent = a.dim[contract_a.at[i]];
        int64_t a_step = axis_step(a, contract_a.at[i]), b_step = axis_step(b, contract_b.at[i]);
        if (extent == 1)
            continue;
        if (out->dot.k > 1 && (out->dot.a_k != a_step * extent || out->dot.b_k != b_step * extent))
            return false;
        out->dot.k *= extent;
        out->dot.a_k = a_step;
        out->dot.b_k = b_step;
    }
    return true;
}

bool inst_sums_bytes(const Inst *inst)
{
    return (inst->op == OP_dot || inst->op == OP_conv) && inst->input[0]->type.dtype == DTYPE_U8 &&
           inst->type.dtype == DTYPE_I32;
}

bool dot_quads(DotShape *shape)
{
    AmlDot *dot = &shape->dot;
    if (shape->loops || dot->a_k != 1 || dot->k % 4 || (dot->m > 1 && dot->a_row % 4))
        return false;
    dot->k /= 4;
    dot->a_row /= 4;
    dot->b_k = dot->n; // as aml_quads_of_matrix gives it
    dot->b_column = 1;
    return true;
}

bool inst_is_product(const Inst *inst)
{
    return inst->op == OP_dot || inst->op == OP_conv || inst->op == OP_conv_input;
}

bool inst_sums_products(const Inst *inst)
{
    return inst_is_product(inst) || inst->op == OP_conv_weight;
}

bool inst_has_prologue(const Inst *conv)
{
    return op_has(product_stored(conv->input[0])->op, POINTWISE);
}

Inst *body_product(const IrFunction *body)
{
    for (Inst *inst = body->first; inst; inst = inst->next)
        if (inst_sums_products(inst))
            return inst;
    return NULL;
}

bool inst_widens(const Inst *inst)
{
    return inst->op == OP_cast && inst->type.dtype == DTYPE_F32 && inst->type.rank > 0 &&
           (inst->input[0]->type.dtype == DTYPE_BF16 || inst->input[0]->type.dtype == DTYPE_F16);
}

Inst *product_stored(const Inst *operand)
{
    return (Inst *)(uintptr_t)(inst_widens(operand) ? operand->input[0] : operand);
}

// Rows and columns as they are, and the columns as panels.
static bool columns_in_panels(Type matrix, Type panels)
{
    int rows = matrix.rank - 1;
    for (int i = 0; i < rows; i++)
        if (matrix.dim[i] != panels.dim[i])
            return false;
    return rows >= 1 && panels.rank == rows + 2 && panels.dim[rows + 1] == DOT_PANEL &&
           panels.dim[rows] * DOT_PANEL == matrix.dim[rows];
}

Inst *inst_in_panels(const Inst *inst)
{
    if (inst->op != OP_transpose || inst->input[0]->op != OP_reshape)
        return NULL;
    const Inst *split = inst->input[0];
    int last = split->type.rank - 1;
    IntList order = inst->attr[0].list;
    for (int i = 1; i < last; i++)
        if (order.at[i] != i - 1)
            return NULL;
    bool good = columns_in_panels(split->input[0]->type, split->type) && order.at[0] == last - 1;
    return good ? split->input[0] : NULL;
}

Inst *inst_of_panels(const Inst *inst)
{
    if (inst->op != OP_reshape || inst->input[0]->op != OP_transpose)
        return NULL;
    const Inst *split = inst->input[0];
    int last = split->type.rank - 1;
    IntList order = split->attr[0].list;
    for (int i = 0; i < last - 1; i++)
        if (order.at[i] != i + 1)
            return NULL;
    bool good = columns_in_panels(inst->type, split->type) && order.at[last] == last;
    return good ? split->input[0] : NULL;
}

Inst *body_operand(const Inst *product, int input)
{
    Inst *panels = inst_of_panels(product->input[input]);
    return panels ? panels : product_stored(product->input[input]);
}

Inst *body_made(const Inst *result)
{
    Inst *value = inst_in_panels(result);
    return value ? value : (Inst *)(uintptr_t)result;
}

int half_of(DType dtype)
{
    return dtype == DTYPE_BF16 ? AML_HALF_BF16 : dtype == DTYPE_F16 ? AML_HALF_F16 : AML_HALF_NONE;
}

// Small products, and those of a vector, gain nothing from copies of their operands.
DType product_half(const Inst *product)
{
    enum { SMALL = 4096 };
    DotShape shape;
    if (!inst_is_product(product) || product->type.dtype != DTYPE_F32 ||
        !inst_widens(product->input[0]) || !inst_widens(product->input[1]) ||
        product->input[0]->input[0]->type.dtype != product->input[1]->input[0]->type.dtype)
        return product->type.dtype;
    if (product->op == OP_dot &&
        (!dot_shape(product, &shape) || shape.dot.n == 1 || shape.dot.m == 1 ||
         shape.dot.m * shape.dot.n * shape.dot.k < SMALL))
        return product->type.dtype;
    return product->input[0]->input[0]->type.dtype;
}

// bf16 that is not multiplied in tiles has to be widened there. Of few rows of bytes a tile would
// be nearly empty, and what takes time is to read the weights.
bool dot_in_tiles(const AmlDot *dot, int half, bool quads)
{
    enum { LEAST_ROWS = 8 };
    return half == AML_HALF_BF16 || (quads && dot->m >= LEAST_ROWS);
}

size_t dot_scratch_bytes(const Inst *dot)
{
    DotShape shape;
    size_t most = 0;
    if (!dot_shape(dot, &shape))
        return 0;
    body_dot_panels(dot, &shape);
    int bytes = dtype_info[dot->type.dtype].bytes;
    bool quads = inst_sums_bytes(dot) && dot_quads(&shape);
    int half = half_of(product_half(dot));
    // Three widths, and pairs and tiles in the widest; each with B packed (a constant) or as it is.
    enum { PAIRS = 3, TILES = 4, WAYS = 5 };
    for (int turn = 0; turn < 2 * WAYS; turn++) {
        int way = turn % WAYS, width = way >= PAIRS ? 64 : 16 << way;
        bool pairs = way == PAIRS || (way == TILES && dot_in_tiles(&shape.dot, half, quads));
        AmlDot plan = shape.dot;
        plan.tiles = way == TILES && dot_in_tiles(&shape.dot, half, quads);
        plan.b_packed = quads || turn >= WAYS;
        plan.bytes = bytes;
        plan.looped = shape.loops > 0;
        plan.lanes = width / bytes;
        plan.half = pairs && half == AML_HALF_BF16 ? AML_HALF_PAIRS : half;
        aml_dot_plan(&plan);
        size_t each = (plan.scratch_bytes + 63) / 64 * 64;
        int64_t parts = !shape.loops                       ? plan.parts
                        : shape.extent[0] < DOT_MOST_PARTS ? shape.extent[0]
                                                           : DOT_MOST_PARTS;
        if (plan.turned_bytes + each * (size_t)parts > most)
            most = plan.turned_bytes + each * (size_t)parts;
    }
    return most;
}

// ---- instructions outside of bodies -------------------------------------------------------------

bool inst_in_register(const Inst *inst)
{
    if (inst->type.rank != 0 || inst->results != 1)
        return false;
    if (op_has(inst->op, POINTWISE) || inst->op == OP_constant)
        return true;
    if (inst->op == OP_parameter) {
        Slot slot = inst->function->param_slot.at[inst->attr[0].whole];
        return slot.kind == SLOT_SCALAR || slot.kind == SLOT_VALUE;
    }
    bool moves = inst->op == OP_reshape || inst->op == OP_broadcast || inst->op == OP_transpose ||
                 inst->op == OP_slice || inst->op == OP_stop_gradient;
    return moves && inst->input[0]->type.rank == 0;
}

// Around the last axis it would be read lane by lane, so that is left to a kernel of its own.
bool inst_is_outer_pad(const Inst *inst)
{
    Type in = inst->input[0]->type;
    return inst->op == OP_pad && in.rank > 0 && in.dim[in.rank - 1] > 1 &&
           in.dim[in.rank - 1] == inst->type.dim[in.rank - 1];
}

// The innermost axis has to be one that the pieces have whole, so that registers are stored.
bool inst_joins_pieces(const Inst *inst)
{
    enum { LEAST = 16 }; // elements in a row of a piece
    bool computed = false;
    if (inst->op != OP_concat)
        return false;
    Type piece = inst->input[0]->type;
    int64_t row = 1;
    for (int axis = (int)inst->attr[0].whole; axis < piece.rank; axis++)
        row *= piece.dim[axis];
    for (int i = 0; i < inst->inputs; i++) {
        if (!shape_equal(inst->input[i]->type, piece))
            return false;
        computed |= op_has(inst->input[i]->op, POINTWISE);
    }
    return computed && row >= LEAST;
}

bool inst_is_alias(const Inst *inst)
{
    if (inst->op == OP_get)
        return true;
    if (inst->op == OP_slice)
        return attend_reads_piece(inst);
    if (inst->op == OP_concat)
        return attend_joined(inst) != NULL;
    return (inst->op == OP_reshape || inst->op == OP_stop_gradient) && !inst_in_register(inst) &&
           !inst_in_register(inst->input[0]);
}
