// generate.c: random well-formed functions.
//
// An op and its operands are drawn; the shape rules say whether that is an instruction. So every op
// of ops.def takes part without a list here, except those that need attributes of their own making.

#include <string.h>

#include "support.h"

enum { POOL = 64, INPUTS = 5 };

typedef struct Generator {
    Cx *cx;
    Draw draw;
    IrFunction *fn;
    Inst *pool[POOL];
    int count;
    int depth; // of loops around
} Generator;

static void keep(Generator *g, Inst *inst)
{
    if (g->count == POOL)
        memmove(g->pool, g->pool + 1, sizeof g->pool[0] * --g->count);
    g->pool[g->count++] = inst;
}

// Rather a recent value than any: chains are what rules look for.
static Inst *any(Generator *g)
{
    int64_t recent = g->count < 4 || draw_below(&g->draw, 3) == 0 ? g->count : 3;
    return g->pool[g->count - 1 - draw_below(&g->draw, recent)];
}

static Inst *any_of_type(Generator *g, Type type, bool dtype_matters)
{
    int start = (int)draw_below(&g->draw, g->count);
    for (int i = 0; i < g->count; i++) {
        Inst *inst = g->pool[(start + i) % g->count];
        if (shape_equal(inst->type, type) && (!dtype_matters || inst->type.dtype == type.dtype))
            return inst;
    }
    return NULL;
}

static Type random_type(Generator *g)
{
    static const DType common[] = {DTYPE_F32, DTYPE_F32, DTYPE_F32,  DTYPE_F64,
                                   DTYPE_I32, DTYPE_I64, DTYPE_BOOL, DTYPE_U8};
    Type type = {.dtype = common[draw_below(&g->draw, COUNT_OF(common))],
                 .rank = (int)draw_below(&g->draw, 4)};
    for (int i = 0; i < type.rank; i++)
        type.dim[i] = 1 + draw_below(&g->draw, 3);
    return type;
}

static IntList some_axes(Generator *g, int rank)
{
    IntList axes = {0};
    for (int i = 0; i < rank; i++)
        if (draw_below(&g->draw, 2))
            axes.at[axes.count++] = i;
    return axes;
}

static IntList shuffled(Generator *g, int rank)
{
    IntList list = {.count = rank};
    for (int i = 0; i < rank; i++) {
        int other = (int)draw_below(&g->draw, i + 1);
        list.at[i] = list.at[other];
        list.at[other] = i;
    }
    return list;
}

// A type into which `from` can be repeated, and where its axes go.
static Type grown(Generator *g, Type from, IntList *axes)
{
    Type type = {.dtype = from.dtype};
    *axes = (IntList){0};
    for (int i = 0; i <= from.rank; i++) {
        if (type.rank + from.rank - i < 4 && draw_below(&g->draw, 2))
            type.dim[type.rank++] = 1 + draw_below(&g->draw, 3);
        if (i == from.rank)
            break;
        axes->at[axes->count++] = type.rank;
        type.dim[type.rank++] = from.dim[i] == 1 ? 1 + draw_below(&g->draw, 2) : from.dim[i];
    }
    return type;
}

static Type reshaped(Generator *g, Type from)
{
    Type type = {.dtype = from.dtype};
    int64_t rest = type_elements(from);
    for (int64_t d = 2; d <= rest && type.rank < 3; d++)
        while (rest % d == 0 && type.rank < 3 && draw_below(&g->draw, 3)) {
            type.dim[type.rank++] = d;
            rest /= d;
        }
    if (rest > 1)
        type.dim[type.rank++] = rest;
    if (draw_below(&g->draw, 2))
        type.dim[type.rank++] = 1;
    return type;
}

// Attributes that make sense for the first operand; the rest is left to the shape rules.
static Type fill_attributes(Generator *g, Op op, Inst *in[], Attr attr[])
{
    Type type = in[0] ? in[0]->type : random_type(g), given = type;
    memset(attr, 0, sizeof(Attr) * IR_MAX_ATTRS);
    for (int i = 0; i < op_info[op].attrs; i++)
        switch (op_info[op].attr[i].kind) {
        case ATTR_Axes:
            attr[i].list = op == OP_transpose ? shuffled(g, type.rank) : some_axes(g, type.rank);
            break;
        case ATTR_Shape:
            attr[i].list.count = type.rank;
            for (int k = 0; k < type.rank; k++)
                attr[i].list.at[k] = draw_below(&g->draw, 2);
            break;
        case ATTR_Int:
            attr[i].whole = type.rank ? draw_below(&g->draw, type.rank) : 0;
            break;
        case ATTR_Site:
        case ATTR_Flag:
            attr[i].whole = draw_below(&g->draw, 1000);
            break;
        case ATTR_Reducer:
            attr[i].reducer = (Reducer)draw_below(&g->draw, REDUCER_COUNT);
            break;
        case ATTR_Real:
        case ATTR_Body:
        case ATTR_Callee:
        case ATTR_Data:
            break;
        }
    if (op == OP_window || op == OP_conv || op == OP_conv_input || op == OP_conv_weight) {
        int first = op == OP_window, spatial = op != OP_window ? type.rank - 2
                                               : type.rank
                                                   ? 1 + (int)draw_below(&g->draw, type.rank)
                                                   : 0;
        for (int i = 0; i < first + 4; i++)
            attr[i].list.count = spatial < 0 ? 0 : spatial;
        for (int k = 0; k < spatial; k++) {
            attr[0].list.at[k] = 1 + draw_below(&g->draw, 2);
            attr[first].list.at[k] = 1 + draw_below(&g->draw, 2);
            attr[first + 3].list.at[k] = 1 + draw_below(&g->draw, 2);
        }
        if (op != OP_window)
            attr[4].whole = 1;
        Type w = in[1] ? in[1]->type : type;
        if (op == OP_conv && w.rank > 2 && w.dim[1] == 1 && w.dim[0] == type.dim[1])
            attr[4].whole = type.dim[1];
        if (op == OP_conv || op == OP_conv_weight)
            // kernels with channels last multiply the zeros around x, which makes NaN of weights
            // that are not finite: the pass gives them constants alone
            attr[5].whole = op == OP_conv && in[1]->op == OP_constant ? draw_below(&g->draw, 3) : 0;
    }
    if (op == OP_broadcast)
        given = grown(g, type, &attr[0].list);
    if (op == OP_reshape)
        given = reshaped(g, type);
    if (op == OP_cast)
        given.dtype = random_type(g).dtype;
    if (op == OP_slice)
        for (int k = 0; k < type.rank; k++) {
            attr[0].list.at[k] = draw_below(&g->draw, type.dim[k]);
            attr[1].list.at[k] =
                attr[0].list.at[k] + 1 + draw_below(&g->draw, type.dim[k] - attr[0].list.at[k]);
            attr[2].list.at[k] = 1 + draw_below(&g->draw, 2);
        }
    return given;
}

static Inst *random_constant(Generator *g)
{
    static const double values[] = {0, 1, 2, -1, 0.5, 3};
    Type type = random_type(g);
    if (draw_below(&g->draw, 3) && g->count) {
        type = any(g)->type;
        return ir_real(g->fn, type, values[draw_below(&g->draw, COUNT_OF(values))], (Span){0});
    }
    void *data = arena_alloc(g->cx->arena, (size_t)type_bytes(type));
    fill_values(&g->draw, type, data);
    return ir_constant(g->fn, type, data, false, (Span){0});
}

// Constant, of a convolution over x: of all channels, or of each by itself.
static Inst *random_weights(Generator *g, Type x)
{
    bool each = draw_below(&g->draw, 3) == 0;
    Type type = {.dtype = x.dtype, .rank = x.rank};
    for (int i = 2; i < type.rank; i++)
        type.dim[i] = 1 + draw_below(&g->draw, 2);
    type.dim[0] = each ? x.dim[1] : 1 + draw_below(&g->draw, 4);
    type.dim[1] = each ? 1 : x.dim[1];
    void *data = arena_alloc(g->cx->arena, (size_t)type_bytes(type));
    fill_values(&g->draw, type, data);
    return ir_constant(g->fn, type, data, false, (Span){0});
}

static Inst *random_dot(Generator *g)
{
    Inst *a = any(g), *b = any(g);
    Attr attr[IR_MAX_ATTRS] = {{{0}}};
    for (int i = 0; i < a->type.rank; i++)
        for (int k = 0; k < b->type.rank; k++) {
            bool used = false;
            for (int j = 0; j < attr[1].list.count; j++)
                used = used || attr[1].list.at[j] == k;
            for (int j = 0; j < attr[3].list.count; j++)
                used = used || attr[3].list.at[j] == k;
            if (used || a->type.dim[i] != b->type.dim[k] || !draw_below(&g->draw, 2))
                continue;
            int pair = draw_below(&g->draw, 3) ? 0 : 2;
            attr[pair].list.at[attr[pair].list.count++] = i;
            attr[pair + 1].list.at[attr[pair + 1].list.count++] = k;
            break;
        }
    Inst *in[] = {a, b};
    Type out;
    const char *why;
    if (op_result_types(g->cx->arena, OP_dot, in, 2, attr, (Type){0}, &out, 1, &why) < 0 ||
        out.rank > 4)
        return NULL;
    return ir_append(g->fn, OP_dot, in, 2, attr, (Type){0}, (Span){0});
}

static Inst *random_inst(Generator *g);

enum { TURNS = 3 };

// One element for each turn: a constant, or a value repeated.
static Inst *random_slices(Generator *g)
{
    Inst *value = any(g);
    Type type = {.dtype = value->type.dtype, .rank = value->type.rank + 1, .dim = {TURNS}};
    IntList axes = {.count = value->type.rank};
    for (int i = 0; i < value->type.rank; i++) {
        type.dim[i + 1] = value->type.dim[i];
        axes.at[i] = i + 1;
    }
    if (draw_below(&g->draw, 3) == 0)
        return ir_broadcast(g->fn, value, type, axes, (Span){0});
    void *data = arena_alloc(g->cx->arena, (size_t)type_bytes(type));
    fill_values(&g->draw, type, data);
    return ir_constant(g->fn, type, data, false, (Span){0});
}

// A loop around a few instructions of what it carries, is given in slices and is given whole.
static Inst *random_loop(Generator *g)
{
    Inst *in[8];
    int carried = (int)draw_below(&g->draw, 3), sliced = (int)draw_below(&g->draw, 3),
        inputs = carried + sliced + (int)draw_below(&g->draw, 3), guard = 0;
    if (g->depth == 2 || inputs == 0)
        return NULL;
    IrFunction *body = ir_function_new(g->cx, NULL, NULL, (Span){0});
    Generator *inner =
        &(Generator){.cx = g->cx, .draw = g->draw, .fn = body, .depth = g->depth + 1};
    ir_param(body, type_scalar(DTYPE_I64), (Slot){0}, NULL, (Span){0});
    for (int i = 0; i < inputs; i++) {
        in[i] = i >= carried && i < carried + sliced ? random_slices(g) : any(g);
        Type type = in[i]->type;
        if (i >= carried && i < carried + sliced) {
            type.rank--;
            memmove(type.dim, type.dim + 1, sizeof type.dim[0] * (size_t)type.rank);
        }
        keep(inner, ir_param(body, type, (Slot){0}, NULL, (Span){0}));
        if (type_equal(type, type_scalar(DTYPE_BOOL)) && draw_below(&g->draw, 2))
            guard = i + 1;
    }
    inner->draw = g->draw;
    keep(inner, body->param.at[0]);
    for (int tries = 0, made = 0; tries < 40 && made < 4; tries++) {
        Inst *inst = random_inst(inner);
        if (inst)
            keep(inner, inst);
        made += inst != NULL;
    }
    for (int i = 0; i < carried; i++)
        ir_result(body, any_of_type(inner, in[i]->type, true), (Slot){0}, NULL);
    for (int i = 0; i < 2 || body->result.count == 0; i++) {
        Inst *stacked = any(inner);
        if (stacked->type.rank < 4 && stacked->results == 1)
            ir_result(body, stacked, (Slot){0}, NULL);
    }
    g->draw = inner->draw;
    Attr attr[IR_MAX_ATTRS] = {{.whole = draw_below(&g->draw, 8) ? TURNS : 1},
                               {.whole = carried},
                               {.whole = sliced},
                               {.function = body},
                               {.whole = draw_below(&g->draw, 2)},
                               {.whole = guard}};
    if (sliced > 0)
        attr[0].whole = TURNS;
    Inst *loop = ir_append(g->fn, OP_loop, in, inputs, attr, (Type){0}, (Span){0});
    for (int i = 1; i < loop->results; i++)
        if (draw_below(&g->draw, 3))
            keep(g, ir_get(g->fn, loop, i, (Span){0}));
    return loop->results == 1 ? loop : ir_get(g->fn, loop, 0, (Span){0});
}

// A value that may grow without bound, or whose steps make a rounding difference large, is left
// out.
static bool wild(Op op)
{
    return op == OP_exp || op == OP_pow || op == OP_log || op == OP_div || op == OP_mod ||
           op == OP_sin || op == OP_cos;
}

static Inst *random_inst(Generator *g)
{
    Op op = (Op)draw_below(&g->draw, OP_COUNT);
    if (op == OP_dot)
        return random_dot(g);
    if (op == OP_loop || (g->depth == 0 && draw_below(&g->draw, 12) == 0))
        return random_loop(g);
    if (op == OP_constant)
        return random_constant(g);
    if (op_has(op, MULTI) || op == OP_get || op == OP_parameter ||
        (wild(op) && draw_below(&g->draw, 4)))
        return NULL;
    Inst *in[4] = {0};
    int inputs = op_info[op].inputs < 0 ? 1 + (int)draw_below(&g->draw, 3) : op_info[op].inputs;
    for (int i = 0; i < inputs; i++) {
        Inst *like = i == 0 || op == OP_gather || op == OP_scatter_add || op == OP_take_along ||
                             op == OP_add_along
                         ? NULL
                         : any_of_type(g, in[i == 2 ? 1 : 0]->type, op != OP_select || i == 2);
        in[i] = like ? like : any(g);
    }
    // What lies outside of a convolution's input counts as zeros or as nothing: finite operands
    // only.
    if (op == OP_conv && in[0]->type.rank >= 3 && draw_below(&g->draw, 2))
        in[1] = random_weights(g, in[0]->type);
    else if (op == OP_conv || op == OP_conv_input || op == OP_conv_weight)
        for (int i = 0; i < inputs; i++)
            if (in[i]->op != OP_parameter)
                in[i] = g->fn->param.at[draw_below(&g->draw, g->fn->param.count)];
    // Values that differ by a rounding only could change places.
    if (op == OP_argsort && dtype_info[in[0]->type.dtype].kind == KIND_FLOAT &&
        in[0]->op != OP_parameter)
        return NULL;
    if (op == OP_random || op == OP_pad || op == OP_window) {
        Type scalar = type_scalar(op == OP_random ? DTYPE_I64 : in[0]->type.dtype);
        for (int i = op != OP_random; i < inputs; i++)
            in[i] = ir_real(g->fn, scalar, (double)draw_below(&g->draw, 5), (Span){0});
    }
    Attr attr[IR_MAX_ATTRS];
    Type given = op == OP_random || op == OP_iota ? random_type(g) : (Type){0}, out;
    Type filled = fill_attributes(g, op, in, attr);
    if (op != OP_random && op != OP_iota)
        given = filled;
    if (op == OP_iota)
        attr[0].whole = given.rank ? draw_below(&g->draw, given.rank) : 0;
    const char *why;
    if (op_result_types(g->cx->arena, op, in, inputs, attr, given, &out, 1, &why) < 0 ||
        out.rank > 4 || type_elements(out) > 500)
        return NULL;
    return ir_append(g->fn, op, in, inputs, attr, given, (Span){0});
}

IrModule *random_module(Cx *cx, uint64_t seed, int size)
{
    Generator g = {.cx = cx, .draw = {seed}};
    IrModule *module = ir_module_new(cx);
    g.fn = ir_function_new(cx, module, sym_of(cx, "random"), (Span){0});
    for (int i = 0; i < INPUTS; i++)
        keep(&g, ir_param(g.fn, random_type(&g), (Slot){0}, NULL, (Span){0}));
    for (int made = 0, tries = 0; made < size && tries < 200 * size; tries++) {
        Inst *inst = random_inst(&g);
        if (!inst)
            continue;
        keep(&g, inst);
        made++;
    }
    for (int i = g.count - 1; i >= 0 && g.fn->result.count < 12; i--)
        if (g.pool[i]->uses == 0)
            ir_result(g.fn, g.pool[i], (Slot){0}, NULL);
    return module;
}
