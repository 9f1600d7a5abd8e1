// coded.c: weights that are as coarse as the answers allow, because a coder will pack them.
//
// Weights of 8 bits that use all of their values cost nearly 8 bits however they are packed. What
// is packed gets shorter when values repeat: with twice the step a weight takes one bit less. So
// where a program's constants are packed (aml/packed.h), a layer's weights are integers with one
// common step, which is found like this:
//
//   - Each layer alone is rounded coarsely, and what that does to the model's answers is measured.
//     Its noise grows with the square of the step, which gives the noise of any step.
//   - For a sum of noises, the fewest bits are needed where each weight makes the same share of it:
//     a bit more costs the same everywhere and takes three quarters of a layer's noise away. So a
//     layer's noise is to be in proportion to its number of weights, and one factor for all layers
//     is left, which is turned until all of them together make as much noise as is allowed.
//
// Steps are common to a layer's channels because with an entropy coder a channel with small weights
// simply takes fewer bits; it needs no finer step. (Choi et al., 2016, arXiv:1612.01543, for coders
// and uniform steps.) Rounding is compensated as in rounding.c, which saves nearly a bit a weight.

#include <math.h>
#include <string.h>

#include "quant/cholesky.h"
#include "quant/reconstruct.h"

enum {
    GIVEN_SAMPLES = 512,
    ANSWER_SAMPLES = 128,
    LEAST_SAMPLES = 8,
    MOST_ANSWERS = 4 << 20, // of all samples that are run
    MOST_INPUTS = 1024,     // of a sum whose rounding is compensated
    TURNS = 5
};
static const double coarse = 12;  // steps to the largest weight, where a layer's noise is measured
static const double close = 0.25; // dB: near enough to what is allowed
static const double damping = 0.01;
static const double other_answers = 10; // dB: what answers that are not classes get more

typedef struct Coded {
    QuantLayer *layer;
    int64_t elements, inner;
    int8_t *weight;
    double *finest;     // steps with which the largest weights are still bytes, by channel
    double most;        // the largest magnitude
    double noise;       // of the answers over their signal, for a step of 1
    const Given *given; // NULL: rounded to the nearest
    double *factor;     // U of U^T U = (sum of x x^T)^-1
    float *weights;     // that the model is run with
} Coded;

typedef struct Coding {
    Cx *cx;
    const Entry *entry;
    const QuantSamples *samples;
    Native native;
    Vec(Coded) coded;
    int64_t count;                      // weights of all of them
    int output;                         // that holds the answers
    bool classes;                       // they are shares
    int64_t batch, used, answers, wide; // of a sample; neighbours that are one answer
    double *exact, *found, signal;
} Coding;

// ---- rounding

static double *factor_of(Arena *arena, const Given *given)
{
    int64_t k = given->k;
    double *h = arena_copy(arena, given->square, sizeof(double) * (size_t)(k * k)), mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += h[i * k + i] / (double)k;
    for (int64_t i = 0; i < k; i++)
        h[i * k + i] += damping * mean + 1e-30;
    return cholesky_inverse_factor(h, k) ? h : NULL;
}

static int8_t byte_of(double value)
{
    return (int8_t)fmax(-127, fmin(127, rint(value)));
}

// A sum after the other; what is rounded later makes up for what was rounded.
static void round_compensated(Arena *scratch, Coded *l, const double *scale)
{
    const Given *given = l->given;
    int64_t k = given->k;
    double *left = NEW_ARRAY(scratch, double, k + 1);
    for (int64_t c = 0; c < given->columns; c++) {
        for (int64_t i = 0; i < k; i++)
            left[i] = (double)given->weight[given_place(given, i, c)];
        for (int64_t i = 0; i < k; i++) {
            const double *row = l->factor + i * k;
            int64_t place = given_place(given, i, c);
            int8_t byte = given->weight[place] == 0 ? 0 : byte_of(left[i] / scale[c]); // pruned
            double off = (left[i] - byte * scale[c]) / row[i];
            l->weight[place] = byte;
            for (int64_t later = i + 1; later < k; later++)
                left[later] -= off * row[later];
        }
    }
}

static void round_layer(Coded *l, double step)
{
    const float *exact = l->layer->constant->attr[0].data.at;
    double *scale = l->layer->scale;
    int64_t channels = l->layer->channels;
    for (int64_t i = 0; i < channels; i++)
        scale[i] = (double)(float)fmax(l->finest[i], step);
    if (l->factor) {
        Arena *scratch = arena_new();
        round_compensated(scratch, l, scale);
        arena_free(scratch);
    }
    for (int64_t i = 0; i < l->elements; i++) {
        double by = scale[i / l->inner % channels];
        if (!l->factor)
            l->weight[i] = byte_of((double)exact[i] / by);
        l->weights[i] = (float)(l->weight[i] * by);
    }
}

static void take_exact(Coded *l)
{
    memcpy(l->weights, l->layer->constant->attr[0].data.at, sizeof(float) * (size_t)l->elements);
}

// ---- answers

// Shares of classes become logarithms without what is common to all of them.
static void take_answers(const Coding *c, const float *from, int64_t rows, double *to)
{
    for (int64_t i = 0; i < rows * c->answers; i += c->wide) {
        double mean = 0;
        for (int64_t k = 0; k < c->wide; k++) {
            double value = (double)from[i + k];
            to[i + k] = c->classes ? log(fmax(value, 1e-30)) : value;
            mean += to[i + k] / (double)c->wide;
        }
        for (int64_t k = 0; c->classes && k < c->wide; k++)
            to[i + k] -= mean;
    }
}

static const char *run_all(Coding *c, double *out)
{
    for (int64_t first = 0; first < c->used; first += c->batch) {
        const char *wrong = quant_take(c->cx, c->samples, c->entry, first, &c->native);
        if (wrong)
            return wrong;
        native_run(&c->native);
        take_answers(c, c->native.output[0], c->batch, out + first * c->answers);
    }
    return NULL;
}

static const char *run_exact(Coding *c)
{
    for (int i = 0; i < c->coded.count; i++)
        take_exact(&c->coded.at[i]);
    const char *wrong = run_all(c, c->exact);
    for (int64_t k = 0; k < c->answers && !wrong; k++) { // what differs from sample to sample
        double mean = 0;
        for (int64_t i = 0; i < c->used; i++)
            mean += c->exact[i * c->answers + k] / (double)c->used;
        for (int64_t i = 0; i < c->used; i++) {
            double value = c->exact[i * c->answers + k] - mean;
            c->signal += value * value;
        }
    }
    return wrong;
}

static const char *run_rounded(Coding *c, double *noise)
{
    const char *wrong = run_all(c, c->found);
    double sum = 0;
    for (int64_t i = 0; i < c->used * c->answers && !wrong; i++)
        sum += (c->found[i] - c->exact[i]) * (c->found[i] - c->exact[i]);
    *noise = sum / c->signal;
    return wrong;
}

// ---- steps

static const char *measure_layers(Coding *c)
{
    const char *wrong = NULL;
    double largest = 0;
    for (int i = 0; i < c->coded.count && !wrong; i++) {
        Coded *l = &c->coded.at[i];
        double step = l->most / coarse;
        round_layer(l, step);
        wrong = run_rounded(c, &l->noise);
        l->noise /= step * step;
        take_exact(l);
        largest = fmax(largest, l->noise * l->most * l->most);
    }
    for (int i = 0; i < c->coded.count; i++) { // one that hardly matters has a step all the same
        Coded *l = &c->coded.at[i];
        l->noise = fmax(l->noise, 1e-9 * largest / (l->most * l->most));
    }
    return wrong;
}

// So that each layer's noise is its share of `noise`.
static void round_all(Coding *c, double noise)
{
    for (int i = 0; i < c->coded.count; i++) {
        Coded *l = &c->coded.at[i];
        double share = (double)l->elements / (double)c->count;
        round_layer(l, fmin(sqrt(noise * share / l->noise), l->most));
    }
}

static const char *find_steps(Coding *c, double allowed)
{
    double aim = allowed, noise;
    const char *wrong = measure_layers(c);
    for (int turn = 0; turn < TURNS && !wrong; turn++) {
        round_all(c, aim);
        wrong = run_rounded(c, &noise);
        if (!(noise > 0) || fabs(quant_decibels(noise, allowed)) < close)
            break;
        aim *= fmax(0.1, fmin(10, allowed / noise));
    }
    return wrong;
}

// ---- the function whose weights are inputs

static int output_of(const Entry *entry, const IrFunction *fn, bool *classes)
{
    static const char *const name[] = {"probability", "prediction"};
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < fn->result.count; i++) {
            const IrResult *result = &fn->result.at[i];
            *classes = n == 0;
            if (result->slot.kind == SLOT_OUTPUT && result->value->type.dtype == DTYPE_F32 &&
                strcmp(entry->output.at[result->slot.index].name, name[n]) == 0)
                return i;
        }
    return -1;
}

static void keep_result(IrFunction *fn, int index)
{
    IrResult kept = fn->result.at[index];
    for (int i = 0; i < fn->result.count; i++)
        fn->result.at[i].value->uses -= i != index;
    kept.slot.index = 0;
    fn->result.at[0] = kept;
    fn->result.count = 1;
}

static bool can_be_coded(const QuantLayer *layer, const QuantLayer *here)
{
    return !layer->kept && !layer->loop && here->inst->input[1] == here->constant &&
           here->constant->uses == 1;
}

static Coded coded_of(Cx *cx, QuantLayer *layer, const GivenList *given, int index)
{
    Coded out = {.layer = layer, .elements = type_elements(layer->constant->type), .inner = 1};
    const float *exact = layer->constant->attr[0].data.at;
    for (int i = layer->weight_axis + 1; i < layer->constant->type.rank; i++)
        out.inner *= layer->constant->type.dim[i];
    out.weight = NEW_ARRAY(cx->arena, int8_t, out.elements + 1);
    out.finest =
        arena_copy(cx->arena, layer->scale, sizeof *layer->scale * (size_t)layer->channels);
    for (int64_t i = 0; i < out.elements; i++)
        out.most = fmax(out.most, fabs((double)exact[i]));
    for (int i = 0; i < given->count; i++)
        if (given->at[i].layer == index && given->at[i].k <= MOST_INPUTS)
            out.given = &given->at[i];
    if (out.given)
        out.factor = factor_of(cx->arena, out.given);
    return out;
}

static const char *begin(Coding *c, IrFunction *fn, const GivenList *given, QuantPlan *plan,
                         const char *folder)
{
    QuantPlan here = {0};
    IrFunction *copy = ir_clone_function(fn, NULL, sym_of(c->cx, "answers"));
    quant_layers(copy, &here);
    keep_result(copy, c->output);
    for (int i = 0; i < plan->layer.count; i++) {
        const QuantLayer *layer = &here.layer.at[i];
        if (!can_be_coded(&plan->layer.at[i], layer))
            continue;
        Coded coded = coded_of(c->cx, &plan->layer.at[i], given, i);
        if (!(coded.most > 0))
            continue;
        Slot slot = {SLOT_INPUT, c->entry->input.count + c->coded.count};
        Inst *weights =
            ir_param(copy, layer->constant->type, slot, layer->constant->name, copy->span);
        ir_set_input(layer->inst, 1, weights);
        c->count += coded.elements;
        vec_push(c->cx->arena, &c->coded, coded);
    }
    if (c->coded.count == 0)
        return NULL;
    const char *wrong = native_open(c->cx, copy, folder, &c->native);
    for (int i = 0; i < c->coded.count && !wrong; i++)
        c->coded.at[i].weights = c->native.input[c->entry->input.count + i];
    return wrong;
}

static void finish(Coded *l)
{
    QuantLayer *layer = l->layer;
    const float *exact = layer->constant->attr[0].data.at;
    double signal = 0, noise = 0, bits = 0, count[256] = {0};
    for (int64_t i = 0; i < l->elements; i++) {
        double off = (double)exact[i] - (double)l->weights[i];
        signal += (double)exact[i] * (double)exact[i];
        noise += off * off;
        count[l->weight[i] + 128]++;
    }
    for (int i = 0; i < 256; i++)
        if (count[i] > 0)
            bits += count[i] * log2((double)l->elements / count[i]);
    layer->weight = l->weight;
    layer->weight_error = quant_decibels(signal, noise);
    layer->bits = bits / (double)l->elements;
    layer->bytes_after = (int64_t)ceil(bits / 8) + layer->channels * (int64_t)sizeof(float);
}

// Bits of a layer's weights, rounded to the nearest with its steps times `coarser`.
static double bits_of(const QuantLayer *layer, double coarser)
{
    enum { VALUES = 512 };
    const float *exact = layer->constant->attr[0].data.at;
    int64_t elements = type_elements(layer->constant->type), inner = 1;
    double count[VALUES] = {0}, bits = 0;
    for (int i = layer->weight_axis + 1; i < layer->constant->type.rank; i++)
        inner *= layer->constant->type.dim[i];
    for (int64_t i = 0; i < elements; i++) {
        double step = layer->scale[i / inner % layer->channels] * coarser;
        double value = step > 0 ? nearbyint((double)exact[i] / step) : 0;
        value = fmin(fmax(value, -VALUES / 2), VALUES / 2 - 1);
        count[(int)value + VALUES / 2]++;
    }
    for (int i = 0; i < VALUES; i++)
        if (count[i] > 0)
            bits += count[i] * log2((double)elements / count[i]);
    return bits;
}

double quant_coarser_saves(const QuantPlan *plan, double decibels)
{
    double bits = 0, coarser = pow(10, decibels / 20); // noise grows with the square of the step
    for (int i = 0; i < plan->layer.count; i++) {
        const QuantLayer *layer = &plan->layer.at[i];
        if (layer->bits > 0)
            bits += bits_of(layer, 1) - bits_of(layer, coarser);
    }
    return bits / 8;
}

const char *quant_code_weights(Cx *cx, IrFunction *fn, const Entry *entry, double fidelity,
                               const QuantSamples *samples, const char *folder, QuantPlan *plan)
{
    Coding coding = {.cx = cx, .entry = entry, .samples = samples}, *c = &coding;
    GivenList given = {0};
    c->output = output_of(entry, fn, &c->classes);
    if (c->output < 0)
        return NULL;
    Type answer = fn->result.at[c->output].value->type;
    c->batch = entry->input.at[0].shape.dim[0];
    c->answers = type_elements(answer) / c->batch;
    if (c->answers < 1) // they are not those of samples
        return NULL;
    c->wide = c->classes && answer.rank > 0 ? answer.dim[answer.rank - 1] : 1;
    int64_t most =
        MOST_ANSWERS / c->answers < ANSWER_SAMPLES ? MOST_ANSWERS / c->answers : ANSWER_SAMPLES;
    most = most < LEAST_SAMPLES ? LEAST_SAMPLES : most;
    c->used =
        ((most < samples->count ? most : samples->count) + c->batch - 1) / c->batch * c->batch;
    c->exact = NEW_ARRAY(cx->arena, double, 2 * c->used * c->answers + 1);
    c->found = c->exact + c->used * c->answers;
    const char *wrong = given_inputs(cx, fn, entry, samples, GIVEN_SAMPLES, folder, &given);
    if (!wrong)
        wrong = begin(c, fn, &given, plan, folder);
    if (!wrong && c->coded.count > 0)
        wrong = run_exact(c);
    if (!wrong && c->signal > 0)
        wrong = find_steps(c, pow(10, -(fidelity + (c->classes ? 0 : other_answers)) / 10));
    for (int i = 0; i < c->coded.count && !wrong && c->signal > 0; i++)
        finish(&c->coded.at[i]);
    native_close(&c->native);
    return wrong;
}
