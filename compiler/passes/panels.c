// panels: a matrix that a loop multiplies with in every turn is laid out in front of the loop as
// the product reads it.
//
// A product goes through its second operand in panels, DOT_PANEL columns wide. In a matrix the rows
// of a panel are a row of the matrix apart, a page each when it is wide; a product with many rows
// copies the panel first, one with few rows does not earn that back. In front of a loop it is done
// once for all turns, and it is nothing but a transposition:
//
//   dot(a, w[k, n])   becomes   reshape(dot(a, p[n / 64, k, 64])),
//                               p = transpose(reshape(w, [k, n / 64, 64]))
//
// of which code generation makes a loop over the panels. What is computed of the product element by
// element takes the shape [rows, n / 64, 64] too, so that it stays the product's epilogue.

#include <string.h>

#include "passes/fuse.h"
#include "passes/pass.h"

enum { FEW_TURNS = 4, MANY_ROWS = 96, SMALL = 16384 };

// The loop's input that a parameter of its body is, if it is the same in each turn; else -1.
static int same_input(const Inst *loop, const Inst *value)
{
    if (value->op != OP_parameter || value->function != loop->attr[3].function)
        return -1;
    int input = (int)value->attr[0].whole - 1;
    return input >= loop->attr[1].whole + loop->attr[2].whole ? input : -1;
}

static bool gains(const Inst *loop, const Inst *dot)
{
    DotShape shape;
    if (dot->op != OP_dot || dot->type.dtype != DTYPE_F32 || same_input(loop, dot->input[1]) < 0)
        return false;
    Type b = dot->input[1]->type;
    if (b.rank != 2 || b.dtype != DTYPE_F32 || dot->attr[1].list.count != 1 || dot->type.rank < 2 ||
        !dot_shape(dot, &shape) || shape.loops > 0)
        return false;
    return shape.dot.m > AML_DOT_FEW_ROWS && shape.dot.m < MANY_ROWS && shape.dot.n > DOT_PANEL &&
           shape.dot.n % DOT_PANEL == 0 && shape.dot.n * shape.dot.k >= SMALL;
}

static Inst *before(Inst *place, Op op, Inst *in, Attr attr, Type type)
{
    return ir_insert_before(place, op, &in, 1, &attr, type, place->span);
}

// [n / 64, k, 64] of w, in front of the loop.
static Inst *panels_of(Inst *loop, Inst *w, bool turned)
{
    for (const Inst *inst = w->function->first; inst && inst != loop; inst = inst->next)
        if (inst->op == OP_transpose && inst->input[0]->op == OP_reshape &&
            inst->input[0]->input[0] == w && inst->type.rank == 3 &&
            inst->type.dim[2] == DOT_PANEL && inst->attr[0].list.at[0] == (turned ? 0 : 1))
            return (Inst *)(uintptr_t)inst;
    int64_t n = w->type.dim[turned ? 0 : 1], k = w->type.dim[turned ? 1 : 0];
    int64_t plain[] = {k, n / DOT_PANEL, DOT_PANEL}, turning[] = {n / DOT_PANEL, DOT_PANEL, k};
    Inst *split = before(loop, OP_reshape, w, (Attr){0},
                         type_make(w->type.dtype, 3, turned ? turning : plain));
    IntList order = turned ? (IntList){3, {0, 2, 1}} : (IntList){3, {1, 0, 2}};
    return before(loop, OP_transpose, split, (Attr){.list = order}, (Type){0});
}

static Inst *add_input(Inst *loop, Inst *value)
{
    IrFunction *body = loop->attr[3].function;
    for (int i = 0; i < loop->inputs; i++)
        if (loop->input[i] == value && same_input(loop, body->param.at[i + 1]) >= 0)
            return body->param.at[i + 1];
    Inst **input = NEW_ARRAY(body->cx->arena, Inst *, loop->inputs + 1);
    memcpy(input, loop->input, sizeof(Inst *) * (size_t)loop->inputs);
    input[loop->inputs++] = value;
    loop->input = input;
    value->uses++;
    return ir_param(body, value->type, (Slot){0}, value->name, value->span);
}

// The last axis in panels.
static Type in_panels(Type type)
{
    type.dim[type.rank] = DOT_PANEL;
    type.dim[type.rank - 1] /= DOT_PANEL;
    type.rank++;
    return type;
}

// An operand of what is computed of the product, in its shape; NULL: that would cost something.
static Inst *operand(Inst *reader, Inst *value, Type type)
{
    if (value->op != OP_broadcast)
        return before(reader, OP_reshape, value, (Attr){0}, type);
    IntList axes = value->attr[0].list;
    Inst *from = value->input[0];
    if (axes.count > 0 && axes.at[axes.count - 1] == value->type.rank - 1) {
        if (from->type.dim[axes.count - 1] != value->type.dim[value->type.rank - 1] ||
            axes.count == IR_MAX_RANK)
            return NULL;
        from = before(reader, OP_reshape, from, (Attr){0}, in_panels(from->type));
        axes.at[axes.count++] = value->type.rank;
    }
    return before(reader, OP_broadcast, from, (Attr){.list = axes}, type);
}

static Inst *only_reader(const Inst *value)
{
    if (value->uses != 1)
        return NULL;
    for (Inst *inst = value->next; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == value)
                return inst;
    return NULL;
}

// Moves a reshape below what is computed element by element of its operand, as far as that has no
// other readers.
static void sink(IrFunction *body, Inst *reshape)
{
    enum { MOST = 3 };
    for (Inst *reader; (reader = only_reader(reshape)) != NULL;) {
        if (!op_has(reader->op, POINTWISE) || reader->inputs > MOST)
            return;
        Type type = reshape->input[0]->type;
        Inst *in[MOST];
        for (int i = 0; i < reader->inputs; i++) {
            Type shape = type;
            shape.dtype = reader->input[i]->type.dtype;
            in[i] = reader->input[i] == reshape ? reshape->input[0]
                                                : operand(reader, reader->input[i], shape);
            if (!in[i])
                return;
        }
        type.dtype = reader->type.dtype;
        Inst *wide = ir_insert_before(reader, reader->op, in, reader->inputs, reader->attr, type,
                                      reader->span);
        Inst *back = before(reader, OP_reshape, wide, (Attr){0}, reader->type);
        ir_replace_uses(body, reader, back);
        ir_remove(body, reader);
        ir_remove(body, reshape);
        reshape = back;
    }
}

static void use_panels(Inst *loop, Inst *dot)
{
    IrFunction *body = loop->attr[3].function;
    bool turned = dot->attr[1].list.at[0] == 1;
    Inst *w = loop->input[same_input(loop, dot->input[1])];
    if (w->op == OP_transpose) { // turned around for this product alone
        w = w->input[0];
        turned = !turned;
    }
    Inst *in[] = {dot->input[0], add_input(loop, panels_of(loop, w, turned))};
    Attr attr[IR_MAX_ATTRS];
    memcpy(attr, dot->attr, sizeof attr);
    attr[1].list.at[0] = 1;
    Inst *wide = ir_insert_before(dot, OP_dot, in, 2, attr, (Type){0}, dot->span);
    Inst *back = before(dot, OP_reshape, wide, (Attr){0}, dot->type);
    ir_replace_uses(body, dot, back);
    ir_remove(body, dot);
    sink(body, back);
}

// Matrices that only stood as they are for products.
static void drop_unread(Inst *loop)
{
    IrFunction *body = loop->attr[3].function;
    for (int input = loop->inputs - 1; input >= 0; input--) {
        if (same_input(loop, body->param.at[input + 1]) < 0 ||
            body->param.at[input + 1]->uses > 0 || loop->attr[5].whole > input)
            continue;
        loop->input[input]->uses--;
        loop->inputs--;
        for (int i = input; i < loop->inputs; i++)
            loop->input[i] = loop->input[i + 1];
        ir_drop_param(body, input + 1);
    }
}

bool pass_panels(IrFunction *fn)
{
    bool changed = false;
    for (Inst *loop = fn->first; loop; loop = loop->next) {
        bool used = false;
        if (loop->op != OP_loop || loop->attr[0].whole < FEW_TURNS)
            continue;
        for (Inst *inst = loop->attr[3].function->first, *next; inst; inst = next) {
            next = inst->next;
            if (!gains(loop, inst))
                continue;
            use_panels(loop, inst);
            used = true;
            next = loop->attr[3].function->first; // what followed may be gone
        }
        if (used)
            drop_unread(loop);
        changed |= used;
    }
    if (changed)
        ir_drop_dead(fn);
    return changed;
}
