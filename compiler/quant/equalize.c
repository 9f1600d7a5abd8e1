// equalize.c: channels between two layers get weights of like sizes on both sides.
//
// Where a layer's channels go through a ReLU, or through nothing, to one other layer alone, a
// channel may be made smaller by the first layer's weights and larger again by the second one's:
//
//     relu(x w + b) v     =     relu(x (w / s) + b / s) (s v)     for s > 0, one for each channel
//
// Channels whose weights are small before them and large behind them (or the other way round) waste
// bytes that are shared by all channels: the range of the value between, and the steps of the
// second layer's weights. With s = sqrt(largest w / largest v) of the channel both are alike (Nagel
// et al., 2019, arXiv:1906.04721). s is rounded to a power of two, so what is computed in f32 stays
// the same to the last bit.

#include <math.h>

#include "quant/quant.h"

enum {
    SWEEPS = 3,        // over all pairs, since a layer may be in two of them
    MOST_EXPONENT = 16 // of s
};

typedef struct Pair {
    QuantLayer *first, *second;
    Inst *bias; // the addition behind the first layer; NULL: there is none
    int bias_axis, bias_input;
    int input_axis; // of the second layer's weights
} Pair;

static bool is_zero(const Inst *inst)
{
    while (inst->op == OP_broadcast || inst->op == OP_reshape)
        inst = inst->input[0];
    return inst->op == OP_constant && inst->attr[0].data.splat &&
           element_real(inst->type.dtype, inst->attr[0].data.at, 0) == 0;
}

// max(x, 0), if nothing else reads x: select(x <= 0, 0, x).
static Inst *relu_of(const Inst *x)
{
    const Inst *compared = NULL;
    Inst *chosen = NULL;
    for (Inst *user = x->next; user && x->uses == 2; user = user->next)
        for (int i = 0; i < user->inputs; i++) {
            if (user->input[i] != x)
                continue;
            if (user->op == OP_le && i == 0 && is_zero(user->input[1]))
                compared = user;
            else if (user->op == OP_select && i == 2 && is_zero(user->input[1]))
                chosen = user;
        }
    return compared && chosen && compared->uses == 1 && chosen->input[0] == compared ? chosen
                                                                                     : NULL;
}

static QuantLayer *layer_of(QuantPlan *plan, const Inst *inst)
{
    for (int i = 0; i < plan->layer.count; i++)
        if (plan->layer.at[i].inst == inst)
            return &plan->layer.at[i];
    return NULL;
}

static bool has_own_weights(const QuantLayer *layer)
{
    return !layer->loop && layer->inst->input[1]->op == OP_constant &&
           layer->inst->input[1]->uses == 1;
}

// Over which axis of its weights the layer sums what it is given along `axis`; -1: it does not.
static int summed_axis(const Inst *inst, int axis)
{
    if (inst->op == OP_conv)
        return axis == 1 && inst->attr[4].whole == 1 ? 1 : -1;
    if (inst->op != OP_dot || inst->attr[0].list.count != 1 || inst->attr[2].list.count != 0)
        return -1;
    return inst->attr[0].list.at[0] == axis ? (int)inst->attr[1].list.at[0] : -1;
}

static bool find_pair(QuantPlan *plan, QuantLayer *first, Pair *out)
{
    *out = (Pair){.first = first};
    Inst *value = first->inst, *user;
    int axis = first->axis;
    double *none = NEW_ARRAY(value->function->cx->scratch, double, first->channels + 1);
    bool bent = false;
    for (;; value = user) {
        user = bent ? NULL : relu_of(value);
        if (user) {
            bent = true;
            continue;
        }
        user = quant_only_user(value);
        if (!user)
            return false;
        int other = user->input[0] == value;
        if (user->op == OP_reshape) {
            axis = quant_reshaped_axis(value->type, user->type, axis);
            if (axis < 0)
                return false;
        } else if (user->op == OP_add && !bent && !out->bias &&
                   quant_channel_values(user->input[other], axis, first->channels, none)) {
            out->bias = user;
            out->bias_axis = axis;
            out->bias_input = other;
        } else {
            break;
        }
    }
    out->second = layer_of(plan, user);
    if (!out->second || out->second == first || user->input[0] != value ||
        !has_own_weights(out->second))
        return false;
    out->input_axis = summed_axis(user, axis);
    return out->input_axis >= 0 && user->input[1]->type.dim[out->input_axis] == first->channels;
}

static double *largest(const Inst *weights, int axis)
{
    int64_t channels = weights->type.dim[axis], elements = type_elements(weights->type), inner = 1;
    double *out = NEW_ARRAY(weights->function->cx->scratch, double, channels + 1);
    for (int i = axis + 1; i < weights->type.rank; i++)
        inner *= weights->type.dim[i];
    for (int64_t i = 0; i < elements; i++) {
        int64_t channel = i / inner % channels;
        out[channel] =
            fmax(out[channel], fabs(element_real(DTYPE_F32, weights->attr[0].data.at, i)));
    }
    return out;
}

static void scale_weights(Inst *product, int axis, const double *by)
{
    ir_set_input(product, 1, quant_scaled_weights(product, axis, by));
}

// False: both sides are alike already.
static bool equalize(const Pair *pair)
{
    QuantLayer *first = pair->first;
    int64_t channels = first->channels;
    const double *before = largest(first->inst->input[1], first->weight_axis),
                 *behind = largest(pair->second->inst->input[1], pair->input_axis);
    double *up = NEW_ARRAY(first->inst->function->cx->scratch, double, 3 * channels + 1),
           *down = up + channels, *bias = down + channels;
    bool changes = false;
    for (int64_t i = 0; i < channels; i++) {
        double s = before[i] > 0 && behind[i] > 0 ? rint(log2(before[i] / behind[i]) / 2) : 0;
        s = fmax(-MOST_EXPONENT, fmin(MOST_EXPONENT, s));
        up[i] = exp2(s);
        down[i] = exp2(-s);
        changes |= s != 0;
    }
    if (!changes)
        return false;
    scale_weights(first->inst, first->weight_axis, down);
    scale_weights(pair->second->inst, pair->input_axis, up);
    if (pair->bias) {
        quant_channel_values(pair->bias->input[pair->bias_input], pair->bias_axis, channels, bias);
        for (int64_t i = 0; i < channels; i++)
            bias[i] *= down[i];
        ir_set_input(pair->bias, pair->bias_input,
                     quant_channel_constant(pair->bias, pair->bias->type, pair->bias_axis, bias));
    }
    return true;
}

int quant_equalize(IrFunction *fn)
{
    QuantPlan plan = {0};
    quant_layers(fn, &plan);
    Pair pair;
    int pairs = 0;
    bool changed = true;
    for (int sweep = 0; sweep < SWEEPS && changed; sweep++) {
        changed = false;
        pairs = 0;
        for (int i = 0; i < plan.layer.count; i++)
            if (has_own_weights(&plan.layer.at[i]) && find_pair(&plan, &plan.layer.at[i], &pair)) {
                changed |= equalize(&pair);
                pairs++;
            }
    }
    quant_remove_unused(fn);
    return pairs;
}
