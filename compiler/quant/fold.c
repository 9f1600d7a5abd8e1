// fold.c: what follows a product channel by channel goes into its weights and one addition.
//
// A norm in inference is a * y + b with constants for each channel. With weights w * a the product
// gives a * y at once, and only b is left to be added:
//
//     conv(x, w) -> mul a -> add b     becomes     conv(x, w * a) -> add b
//
// This rounds differently, so it is done only where rounding is what was asked for.

#include "quant/quant.h"

#include <string.h>

Inst *quant_only_user(const Inst *inst)
{
    if (inst->uses != 1)
        return NULL;
    for (Inst *user = inst->next; user; user = user->next)
        for (int i = 0; i < user->inputs; i++)
            if (user->input[i] == inst)
                return user;
    return NULL;
}

int quant_reshaped_axis(Type from, Type to, int axis)
{
    int64_t before = 1, passed = 1;
    for (int i = 0; i < axis; i++)
        before *= from.dim[i];
    for (int i = 0; i < to.rank; i++) {
        if (passed == before && to.dim[i] == from.dim[axis])
            return i;
        passed *= to.dim[i];
    }
    return -1;
}

typedef struct Chain {
    int axis;
    int64_t channels;
    double *scale, *shift; // the value so far is scale * product + shift
    double *value;         // of one operand
    bool scales;
} Chain;

// Takes `user`, which reads `inst`, into the chain.
static bool take(Chain *c, const Inst *user, const Inst *inst)
{
    if (user->op == OP_reshape) {
        int axis = quant_reshaped_axis(inst->type, user->type, c->axis);
        if (axis >= 0)
            c->axis = axis;
        return axis >= 0;
    }
    if (user->op != OP_add && user->op != OP_sub && user->op != OP_mul && user->op != OP_div)
        return false;
    bool second = user->input[1] == inst;
    if (!quant_channel_values(user->input[!second], c->axis, c->channels, c->value) ||
        (second && user->op == OP_div))
        return false;
    for (int64_t i = 0; i < c->channels; i++) {
        double value = c->value[i];
        if (user->op == OP_mul || user->op == OP_div) {
            double factor = user->op == OP_mul ? value : 1 / value;
            c->scale[i] *= factor;
            c->shift[i] *= factor;
        } else if (user->op == OP_sub && second) {
            c->scale[i] = -c->scale[i];
            c->shift[i] = value - c->shift[i];
        } else {
            c->shift[i] += user->op == OP_add ? value : -value;
        }
        if (!(c->scale[i] - c->scale[i] == 0) || !(c->shift[i] - c->shift[i] == 0))
            return false;
    }
    c->scales |= user->op != OP_add;
    return true;
}

Inst *quant_scaled_weights(Inst *product, int axis, const double *by)
{
    const Inst *weights = product->input[1];
    int64_t channels = weights->type.dim[axis], elements = type_elements(weights->type), inner = 1;
    float *out = NEW_ARRAY(product->function->cx->arena, float, elements + 1);
    for (int i = axis + 1; i < weights->type.rank; i++)
        inner *= weights->type.dim[i];
    for (int64_t i = 0; i < elements; i++)
        out[i] = (float)(element_real(DTYPE_F32, weights->attr[0].data.at, i) *
                         by[i / inner % channels]);
    Attr data = {.data = {false, sizeof(float) * (size_t)elements, out}};
    Inst *made =
        ir_insert_before(product, OP_constant, NULL, 0, &data, weights->type, weights->span);
    made->name = weights->name;
    return made;
}

static void fold(IrFunction *fn, const QuantLayer *layer)
{
    Arena *arena = fn->cx->arena;
    Inst *last = layer->inst, *end = NULL, *user;
    Chain chain = {.axis = layer->axis, .channels = layer->channels},
          whole = {0}; // as it was behind `end`
    chain.scale = NEW_ARRAY(arena, double, 5 * layer->channels + 1);
    chain.shift = chain.scale + layer->channels;
    chain.value = chain.shift + layer->channels;
    whole.scale = chain.value + layer->channels;
    whole.shift = whole.scale + layer->channels;
    for (int64_t i = 0; i < layer->channels; i++)
        chain.scale[i] = 1;
    size_t bytes = sizeof(double) * (size_t)layer->channels;
    while ((user = quant_only_user(last)) && take(&chain, user, last)) {
        last = user;
        if (user->op == OP_reshape)
            continue;
        end = user;
        whole.scales = chain.scales;
        memcpy(whole.scale, chain.scale, bytes);
        memcpy(whole.shift, chain.shift, bytes);
    }
    if (!end || !whole.scales)
        return;
    Inst *place = layer->inst->next, *made;
    Inst *in[] = {layer->inst->input[0],
                  quant_scaled_weights(layer->inst, layer->weight_axis, whole.scale)};
    made = ir_clone_before(layer->inst, layer->inst, in);
    Inst *sum[] = {made, quant_channel_constant(place, made->type, layer->axis, whole.shift)};
    made = ir_insert_before(place, OP_add, sum, 2, NULL, (Type){0}, end->span);
    if (!shape_equal(made->type, end->type))
        made = ir_insert_before(place, OP_reshape, &made, 1, NULL, end->type, end->span);
    ir_replace_uses(fn, end, made);
}

void quant_fold_norms(IrFunction *fn)
{
    QuantPlan plan = {0};
    quant_layers(fn, &plan);
    for (int i = 0; i < plan.layer.count; i++)
        if (!plan.layer.at[i].loop && plan.layer.at[i].inst->input[1]->uses == 1)
            fold(fn, &plan.layer.at[i]);
    quant_remove_unused(fn);
}

void quant_remove_unused(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0 && op_has(inst->op, PURE))
            ir_remove(fn, inst);
    }
}
