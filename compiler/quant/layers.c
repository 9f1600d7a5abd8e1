// layers.c: which products can be quantized.

#include "quant/quant.h"

#include <string.h>

#include "diag/diag.h"
#include "passes/fuse.h"

// ---- constants along one axis

// `axis` -1: one value everywhere.
static bool spread(const Inst *inst, int axis, int64_t channels, double *out)
{
    int64_t count = axis < 0 ? 1 : channels;
    const Type type = inst->type;
    if (inst->op == OP_constant && dtype_info[type.dtype].kind == KIND_FLOAT) {
        IrData data = inst->attr[0].data;
        int64_t elements = data.splat ? 1 : type_elements(type), inner = 1;
        for (int i = axis + 1; axis >= 0 && i < type.rank; i++)
            inner *= type.dim[i];
        for (int64_t i = 0; i < count; i++)
            out[i] = element_real(type.dtype, data.at, data.splat ? 0 : i * inner);
        for (int64_t i = 0; i < elements; i++) // the same along all other axes
            if (element_real(type.dtype, data.at, i) != out[data.splat ? 0 : i / inner % count])
                return false;
        return true;
    }
    if (inst->op == OP_broadcast) {
        const Inst *in = inst->input[0];
        int from = -1;
        for (int i = 0; i < in->type.rank; i++) {
            if (inst->attr[0].list.at[i] == axis && in->type.dim[i] == count)
                from = i;
            else if (in->type.dim[i] != 1)
                return false;
        }
        if (!spread(in, from, channels, out))
            return false;
        for (int64_t i = 1; from < 0 && i < count; i++)
            out[i] = out[0];
        return true;
    }
    if (inst->op == OP_reshape) {
        const Inst *in = inst->input[0];
        int64_t elements = type_elements(in->type);
        int from = -1;
        for (int i = 0; i < in->type.rank; i++)
            if (in->type.dim[i] != 1)
                from = i;
        if (elements != 1 && (elements != count || in->type.dim[from] != count || axis < 0 ||
                              type.dim[axis] != count))
            return false;
        if (!spread(in, elements == 1 ? -1 : from, channels, out))
            return false;
        for (int64_t i = 1; elements == 1 && i < count; i++)
            out[i] = out[0];
        return true;
    }
    return false;
}

bool quant_channel_values(const Inst *inst, int axis, int64_t channels, double *out)
{
    return inst->type.rank > axis && inst->type.dim[axis] == channels &&
           spread(inst, axis, channels, out);
}

Inst *quant_channel_constant(Inst *place, Type type, int axis, const double *value)
{
    Arena *arena = place->function->cx->arena;
    int64_t channels = type.dim[axis];
    float *element = NEW_ARRAY(arena, float, channels + 1);
    for (int64_t i = 0; i < channels; i++)
        element[i] = (float)value[i];
    Attr data = {.data = {false, sizeof(float) * (size_t)channels, element}};
    Type line = type_make(DTYPE_F32, 1, &channels);
    Inst *constant = ir_insert_before(place, OP_constant, NULL, 0, &data, line, place->span);
    Attr axes = {.list = {1, {axis}}};
    type.dtype = DTYPE_F32;
    return ir_insert_before(place, OP_broadcast, &constant, 1, &axes, type, place->span);
}

// ---- layers

static Inst *without_moves(Inst *inst)
{
    while (inst->op == OP_reshape || inst->op == OP_transpose)
        inst = inst->input[0];
    return inst;
}

static bool is_weight(const Inst *inst)
{
    return inst->op == OP_constant && inst->type.dtype == DTYPE_F32 && !inst->attr[0].data.splat;
}

static Sym layer_name(const Inst *inst, const Inst *weights, Cx *cx, int number)
{
    Sym name = weights->name;
    if (!name)
        return sym_printf(cx, "%s %d", inst->op == OP_dot ? "product" : "convolution", number);
    size_t length = strlen(name);
    static const char end[] = ".weight";
    bool plain = length > sizeof end - 1 && strcmp(name + length - (sizeof end - 1), end) == 0;
    return plain ? sym_intern(cx, name, length - (sizeof end - 1)) : name;
}

static int site_of(Cx *cx, QuantPlan *plan, Inst *root, Inst *loop)
{
    for (int i = 0; i < plan->site.count; i++)
        if (plan->site.at[i].root == root)
            return i;
    vec_push(cx->arena, &plan->site, ((QuantSite){.root = root, .loop = loop}));
    return plan->site.count - 1;
}

static int products_in(const IrFunction *fn)
{
    int count = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count += inst_nested(inst) ? products_in(inst_nested(inst)) : inst_is_product(inst);
    return count;
}

// The loops around an instruction, the innermost first.
typedef struct Around {
    Inst *loop;
    const struct Around *outer;
} Around;

// What the bodies' parameter is outside of all loops that hand it on: all of it, or slices. Else
// the value itself.
static Inst *handed(Inst *value, const Around *around, bool *sliced)
{
    *sliced = false;
    for (; around && value->op == OP_parameter; around = around->outer) {
        const Inst *loop = around->loop;
        int input = (int)value->attr[0].whole - 1, carried = (int)loop->attr[1].whole;
        if (input < carried)
            break;
        *sliced |= input < carried + (int)loop->attr[2].whole;
        value = loop->input[input];
    }
    return value;
}

// A guard leaves out turns, whose values count for nothing.
static bool is_plain_loop(const Inst *loop)
{
    return loop->attr[5].whole == 0 && loop->attr[0].whole < LOOP_NO_LIMIT;
}

static void find_layers(Cx *cx, IrFunction *fn, const Around *around, QuantPlan *out)
{
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        int axis, weight_axis;
        bool sliced;
        if (inst->op == OP_loop)
            find_layers(cx, inst->attr[3].function, &(Around){inst, around}, out);
        if (!inst_weighs_channels(inst, &axis, &weight_axis) || inst->type.dtype != DTYPE_F32)
            continue;
        const Inst *weights = handed(inst->input[1], around, &sliced);
        Inst *root = without_moves(inst->input[0]);
        if (!is_weight(weights) || root->op == OP_constant)
            continue;
        if (around && (sliced || around->outer || !is_plain_loop(around->loop))) {
            out->looped++;
            continue;
        }
        QuantLayer layer = {.inst = inst,
                            .loop = around ? around->loop : NULL,
                            .root = root,
                            .constant = weights,
                            .axis = axis,
                            .weight_axis = weight_axis,
                            .name = layer_name(inst, weights, cx, out->layer.count + 1)};
        layer.channels = inst->type.dim[layer.axis];
        layer.site = site_of(cx, out, root, layer.loop);
        vec_push(cx->arena, &out->layer, layer);
    }
}

void quant_layers(IrFunction *fn, QuantPlan *out)
{
    find_layers(fn->cx, fn, NULL, out);
    out->others = products_in(fn) - out->layer.count - out->looped;
}
