// pack: what later products read is stored in panels where it is made.
//
// The gradient for a weight, x^T * dy, sums over the rows of two activations, so that its product
// goes down their columns: it copies panels of DOT_PANEL columns of both before it multiplies. What
// makes them may as well store panels, [n / 64, rows, 64] in place of [rows, n]; to its epilogue,
// or to the nest that makes them, it is the same. Everything else that reads such a value finds its
// elements there:
//
//   - a product whose rows these are sums over one panel after the other;
//   - a nest that computes element by element, or sums, splits the index of the column.
//
// What a loop stacks for the loop of its gradient alone is stored so in each turn. A value that is
// read in any other way, or outside of fused bodies, stays a matrix: what attention reads, what is
// carried from turn to turn, what the function returns.

#include <string.h>

#include "passes/fuse.h"
#include "passes/pass.h"

enum { LEAST_ROWS = 256 };

// The fused instruction that makes a value, and as which of its results; NULL: something else does.
static Inst *maker(Inst *value, int *result)
{
    Inst *from = value->op == OP_get ? value->input[0] : value;
    *result = value->op == OP_get ? (int)value->attr[0].whole : 0;
    return from->op == OP_fused ? from : NULL;
}

static int64_t rows_of(Type type)
{
    return type_elements(type) / type.dim[type.rank - 1];
}

static bool is_matrix(Type type)
{
    int64_t columns = type.rank < 2 || type.rank + 2 > IR_MAX_RANK ? 0 : type.dim[type.rank - 1];
    return type.dtype == DTYPE_F32 && columns > 0 && columns % DOT_PANEL == 0 &&
           rows_of(type) >= LEAST_ROWS;
}

// Is `axes` all axes of the type but the last one?
static bool sums_rows(IntList axes, Type type)
{
    if (axes.count != type.rank - 1)
        return false;
    for (int i = 0; i < axes.count; i++)
        if (axes.at[i] != i)
            return false;
    return true;
}

static bool sums_columns(IntList axes, Type type)
{
    return axes.count == 1 && axes.at[0] == type.rank - 1;
}

// A product of two matrices that sums over the rows of both, large enough to copy them.
static bool is_gradient(const Inst *dot)
{
    DotShape shape;
    return dot && dot->op == OP_dot && dot->type.dtype == DTYPE_F32 &&
           product_half(dot) == DTYPE_F32 && dot->attr[2].list.count == 0 &&
           sums_rows(dot->attr[0].list, dot->input[0]->type) &&
           sums_rows(dot->attr[1].list, dot->input[1]->type) && dot_shape(dot, &shape) &&
           shape.loops == 0 && aml_dot_work(&shape.dot) >= AML_DOT_LARGE;
}

// Whether a product can read an operand in panels.
static bool reads_panels(const Inst *dot, int side)
{
    DotShape shape;
    Type type = dot->input[side]->type;
    IntList axes = dot->attr[side].list;
    return dot->op == OP_dot && dot->type.dtype == DTYPE_F32 && dot->attr[2].list.count == 0 &&
           (sums_rows(axes, type) || (side == 0 && sums_columns(axes, type))) &&
           dot_shape(dot, &shape) && shape.loops == 0 && shape.dot.m > AML_DOT_FEW_ROWS &&
           shape.dot.n > 1;
}

// Whether a body reads a parameter at the index of its space, or as an operand of its product.
static bool body_finds(const IrFunction *body, const Inst *param)
{
    const Inst *product = body_product(body);
    if (product && product->op != OP_dot)
        return false;
    for (const Inst *inst = body->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != param)
                continue;
            bool found = inst->op == OP_dot ? reads_panels(inst, i)
                                            : op_has(inst->op, POINTWISE) || inst->op == OP_reduce;
            if (!found)
                return false;
        }
    for (int i = 0; i < body->result.count; i++)
        if (body->result.at[i].value == param)
            return false;
    return true;
}

// Whether a body can store a result in panels: it makes one register of a row after the other.
static bool stores_panels(IrFunction *body, int result)
{
    const Inst *value = body->result.at[result].value;
    if (value->op == OP_parameter || value->op == OP_concat || value->op == OP_reduce ||
        body_made(value) != value)
        return false;
    BodyShape shape = body_analyse(body);
    if (!shape_equal(value->type, shape.space) || body_result_level(&shape, value) != LEVEL_SPACE)
        return false;
    for (int i = 0; i < body->result.count; i++) // the whole body has this space
        if (shape.kind == BODY_MAP && body->result.at[i].value->op == OP_concat)
            return false;
    if (shape.kind != BODY_DOT)
        return true;
    DotShape dot;
    return shape.dot->op == OP_dot && dot_shape(shape.dot, &dot) && dot.panel_axes == 0 &&
           dot.column_axes == 1 && dot.dot.n == value->type.dim[value->type.rank - 1];
}

// Whether what makes a value in a function can store it in panels.
static bool is_made(Inst *value)
{
    int result;
    Inst *from = maker(value, &result);
    return from && is_matrix(value->type) && stores_panels(from->attr[0].function, result);
}

// Whether all that reads a value in a function can read panels; `others` do not matter.
static bool all_find(const IrFunction *fn, const Inst *value, int others)
{
    int uses = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != value)
                continue;
            if (inst->op != OP_fused ||
                !body_finds(inst->attr[0].function, inst->attr[0].function->param.at[i]))
                return false;
            uses++;
        }
    return uses + others == value->uses; // what is not found are results of the function
}

static bool can_pack(Inst *value)
{
    return is_made(value) && all_find(value->function, value, 0);
}

// ---- changing it --------------------------------------------------------------------------------

static Type panels_type(Type matrix)
{
    int last = matrix.rank - 1;
    Type type = matrix;
    memcpy(type.dim + 1, matrix.dim, sizeof *type.dim * (size_t)last);
    type.dim[0] = matrix.dim[last] / DOT_PANEL;
    type.dim[last + 1] = DOT_PANEL;
    type.rank++;
    return type;
}

// [rows, n] to [rows, n / 64, 64] to [n / 64, rows, 64].
static Inst *into_panels(IrFunction *body, Inst *value)
{
    int last = value->type.rank - 1;
    Type split = value->type;
    split.dim[last] /= DOT_PANEL;
    split.dim[last + 1] = DOT_PANEL;
    split.rank++;
    IntList order = {.count = split.rank};
    order.at[0] = last;
    for (int i = 1; i <= last; i++)
        order.at[i] = i - 1;
    order.at[last + 1] = last + 1;
    return ir_transpose(body, ir_reshape(body, value, split, value->span), order, value->span);
}

// A parameter becomes panels, and what read it the matrix that they are.
static void read_panels(IrFunction *body, Inst *param, Type panels)
{
    Type matrix = param->type;
    Inst *first = body->first;
    IntList order = {.count = panels.rank};
    for (int i = 0; i + 2 < panels.rank; i++)
        order.at[i] = i + 1;
    order.at[panels.rank - 2] = 0;
    order.at[panels.rank - 1] = panels.rank - 1;
    param->type = panels;
    Attr attr = {.list = order};
    Inst *split = ir_insert_before(first, OP_transpose, &param, 1, &attr, (Type){0}, param->span);
    Inst *whole = ir_insert_before(first, OP_reshape, &split, 1, NULL, matrix, param->span);
    ir_replace_uses(body, param, whole);
    ir_set_input(split, 0, param);
}

static void find_panels(IrFunction *fn, const Inst *value)
{
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == value)
                read_panels(inst->attr[0].function, inst->attr[0].function->param.at[i],
                            value->type);
}

static void pack(Inst *value)
{
    int result;
    Inst *from = maker(value, &result);
    IrFunction *body = from->attr[0].function;
    Inst *made = body->result.at[result].value, *stored = into_panels(body, made);
    made->uses--;
    stored->uses++;
    body->result.at[result].value = stored;
    value->type = panels_type(value->type);
    ir_set_result_type(from, result, value->type);
    find_panels(value->function, value);
}

// An operand of a gradient, outside of its body.
static Inst *operand(const Inst *fused, const Inst *dot, int side)
{
    return fused->input[body_operand(dot, side)->attr[0].whole];
}

// The second operand gains less, and only beside the first one.
static bool pack_operands(const Inst *fused, const Inst *dot)
{
    bool changed = false;
    for (int side = 0; side < 2; side++) {
        if (inst_of_panels(dot->input[side]))
            continue;
        Inst *value = operand(fused, dot, side);
        if (!can_pack(value))
            return changed;
        pack(value);
        changed = true;
    }
    return changed;
}

// ---- what a loop stacks for another -------------------------------------------------------------

// What a parameter of a loop's body is a slice of, if a loop in front of it stacked that for it
// alone: that loop, and as which of its results.
static Inst *stacked_by(const Inst *loop, const Inst *param, int *result)
{
    int input = (int)param->attr[0].whole - 1, carried = (int)loop->attr[1].whole;
    if (param->op != OP_parameter || param->function != loop->attr[3].function || input < carried ||
        input >= carried + loop->attr[2].whole)
        return NULL;
    const Inst *stack = loop->input[input];
    Inst *from = stack->op == OP_get ? stack->input[0] : (Inst *)(uintptr_t)stack;
    *result = stack->op == OP_get ? (int)stack->attr[0].whole : 0;
    bool good = from->op == OP_loop && stack->uses == 1 && *result >= from->attr[1].whole;
    return good ? from : NULL;
}

static bool pack_slice(Inst *loop, Inst *param)
{
    int result;
    Inst *from = stacked_by(loop, param, &result);
    if (!from)
        return false;
    Inst *value = from->attr[3].function->result.at[result].value,
         *stack = loop->input[param->attr[0].whole - 1];
    if (!type_equal(value->type, param->type) || !is_made(value) ||
        !all_find(value->function, value, 1) || !all_find(param->function, param, 0))
        return false;
    pack(value);
    param->type = value->type;
    find_panels(param->function, param);
    Type type = value->type;
    memmove(type.dim + 1, type.dim, sizeof *type.dim * (size_t)type.rank++);
    type.dim[0] = stack->type.dim[0];
    stack->type = type;
    ir_set_result_type(from, result, type);
    return true;
}

static const Inst *gradient_in(const Inst *inst)
{
    const Inst *dot = inst->op == OP_fused ? body_product(inst->attr[0].function) : NULL;
    return is_gradient(dot) ? dot : NULL;
}

static bool pack_slices(Inst *loop)
{
    bool changed = false;
    for (Inst *inst = loop->attr[3].function->first; inst; inst = inst->next) {
        const Inst *dot = gradient_in(inst);
        if (dot && !inst_of_panels(dot->input[0]) && pack_slice(loop, operand(inst, dot, 0))) {
            pack_operands(inst, dot);
            changed = true;
        }
    }
    return changed;
}

bool pass_pack(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        const Inst *dot = gradient_in(inst);
        if (dot)
            changed |= pack_operands(inst, dot);
        else if (inst->op == OP_loop)
            changed |= pack_slices(inst);
    }
    return changed;
}
