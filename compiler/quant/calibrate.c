// calibrate.c: what rounding to bytes does to each layer, measured on real samples.
//
// The function is compiled with more results, and run. First with the values that are to be rounded
// themselves: their ranges. Then with each product a second time, from rounded operands: the
// difference is that layer's error, without those of the layers before it. Its mean is taken off
// again (bias correction; Nagel et al., 2019, arXiv:1906.04721).

#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_SAMPLES = 64 };

typedef struct Calibration {
    Cx *cx;
    IrFunction *fn;
    const Entry *entry;
    const QuantizeSetting *setting;
    const QuantSamples *samples;
    const char *folder;
    QuantPlan *plan;
    int64_t batch, used; // samples that are run
} Calibration;

static void drop_results(IrFunction *fn)
{
    for (int i = 0; i < fn->result.count; i++)
        fn->result.at[i].value->uses--;
    fn->result.count = 0;
}

static void add_result(IrFunction *fn, Inst *value)
{
    ir_result(fn, value, (Slot){SLOT_OUTPUT, fn->result.count}, NULL);
}

static const char *run(Calibration *c, Native *native, int64_t first)
{
    const char *wrong = quant_take(c->cx, c->samples, c->entry, first, native);
    if (!wrong)
        native_run(native);
    return wrong;
}

// ---- ranges

static const char *see_ends(Calibration *c, const Native *native, int64_t first)
{
    for (int s = 0; s < c->plan->site.count; s++) {
        QuantSite *site = &c->plan->site.at[s];
        const float *at = native->output[s];
        size_t count = native->output_bytes[s] / sizeof(float);
        for (size_t i = 0; i < count; i++) {
            if (!isfinite(at[i]))
                return arena_printf(c->cx->arena, "in calibration sample %lld a value of %s is %s",
                                    (long long)first + 1, type_text(c->cx->arena, site->root->type),
                                    isnan(at[i]) ? "not a number" : "infinite");
            site->low = at[i] < site->low ? at[i] : site->low;
            site->high = at[i] > site->high ? at[i] : site->high;
        }
    }
    return NULL;
}

static void count_values(const Calibration *c, const Native *native, Histogram *histogram)
{
    for (int s = 0; s < c->plan->site.count; s++) {
        Histogram *h = &histogram[s];
        const float *at = native->output[s];
        size_t count = native->output_bytes[s] / sizeof(float);
        double by = h->high > h->low ? QUANT_BINS / (h->high - h->low) : 0;
        for (size_t i = 0; i < count; i++) {
            int bin = (int)((at[i] - h->low) * by);
            h->count[bin < 0 ? 0 : bin < QUANT_BINS ? bin : QUANT_BINS - 1]++;
        }
    }
}

// The value of each site; of one in a loop the values of all turns.
static Inst **site_values(IrFunction *fn, const QuantPlan *here)
{
    Inst **value = NEW_ARRAY(fn->cx->arena, Inst *, here->site.count + 1);
    for (int s = 0; s < here->site.count; s++)
        value[s] = here->site.at[s].loop ? NULL : here->site.at[s].root;
    for (int s = 0; s < here->site.count; s++) {
        Inst *loop = here->site.at[s].loop;
        if (value[s])
            continue;
        Inst **out = NEW_ARRAY(fn->cx->arena, Inst *, here->site.count + 1);
        QuantBody body = quant_body(loop);
        for (int i = s; i < here->site.count; i++)
            if (here->site.at[i].loop == loop)
                quant_stack(&body, quant_in_body(&body, here->site.at[i].root));
        quant_close_body(fn, &body, out);
        for (int i = s, k = 0; i < here->site.count; i++)
            if (here->site.at[i].loop == loop)
                value[i] = out[k++];
    }
    return value;
}

static const char *find_ranges(Calibration *c)
{
    QuantPlan here = {0};
    IrFunction *fn = ir_clone_function(c->fn, NULL, sym_of(c->cx, "ranges"));
    quant_layers(fn, &here);
    drop_results(fn);
    Inst **value = site_values(fn, &here);
    for (int s = 0; s < here.site.count; s++)
        add_result(fn, value[s]);
    Native native;
    const char *wrong = native_open(c->cx, fn, c->folder, &native);
    for (int64_t first = 0; first < c->used && !wrong; first += c->batch) {
        wrong = run(c, &native, first);
        wrong = wrong ? wrong : see_ends(c, &native, first);
    }
    Histogram *histogram = NEW_ARRAY(c->cx->arena, Histogram, c->plan->site.count + 1);
    for (int s = 0; s < c->plan->site.count; s++)
        histogram[s] = (Histogram){c->plan->site.at[s].low, c->plan->site.at[s].high,
                                   NEW_ARRAY(c->cx->arena, int64_t, QUANT_BINS)};
    for (int64_t first = 0; c->setting->ranges != RANGES_MIN_MAX && first < c->used && !wrong;
         first += c->batch) {
        wrong = run(c, &native, first);
        count_values(c, &native, histogram);
    }
    for (int s = 0; s < c->plan->site.count && !wrong; s++) {
        QuantSite *site = &c->plan->site.at[s];
        quant_range(c->setting->ranges, &histogram[s], &site->low, &site->high);
        quant_byte_scale(site->low, site->high, &site->scale, &site->zero);
    }
    native_close(&native);
    return wrong;
}

// ---- errors

static Inst *reduced(IrFunction *fn, Inst *in, int kept)
{
    IntList axes = {0};
    for (int i = 0; i < in->type.rank; i++)
        if (i != kept)
            axes.at[axes.count++] = i;
    return ir_reduce(fn, in, REDUCE_SUM, axes, in->span);
}

// A product's operand from the rounded value, moved as it was.
static Inst *again(IrFunction *fn, const Inst *operand, const Inst *root, Inst *rounded)
{
    if (operand == root)
        return rounded;
    Inst *in = again(fn, operand->input[0], root, rounded);
    return ir_clone_into(fn, operand, &in);
}

enum { MEASURED = 3 }; // values of a layer

// The squares of a layer's result, of its error, and the error by channel, at the end of `fn`,
// which may be a body.
static void measure(Calibration *c, IrFunction *fn, const QuantLayer *here, int index,
                    Inst *out[MEASURED])
{
    const QuantLayer *layer = &c->plan->layer.at[index];
    Inst *end = fn->last;
    QuantSite site = c->plan->site.at[layer->site];
    Inst *bytes = quant_bytes(here->root, &site);
    Inst *rounded = quant_floats(end, bytes, &site);
    Inst *in[] = {again(fn, here->inst->input[0], here->root, rounded),
                  quant_weights(end, layer, here->inst->input[1]->type)};
    Inst *result = ir_clone_into(fn, here->inst, in);
    Inst *error = ir_binary(fn, OP_sub, here->inst, result, fn->span);
    Inst *squares = ir_binary(fn, OP_mul, here->inst, here->inst, fn->span);
    Inst *noise = ir_binary(fn, OP_mul, error, error, fn->span);
    out[0] = reduced(fn, squares, -1);
    out[1] = reduced(fn, noise, -1);
    out[2] = reduced(fn, error, layer->axis);
}

static void add_end(IrFunction *fn) // before which rounding is written
{
    ir_real(fn, type_scalar(DTYPE_F32), 0, fn->span);
}

// Layers of one loop are measured in a copy of its body.
static void measure_in_loop(Calibration *c, IrFunction *fn, const QuantPlan *here, Inst *loop,
                            Inst **value)
{
    QuantBody body = quant_body(loop);
    QuantPlan inside = {0};
    for (int i = 0; i < here->layer.count; i++) {
        QuantLayer layer = here->layer.at[i];
        if (layer.loop != loop)
            continue;
        layer.inst = quant_in_body(&body, layer.inst);
        layer.root = quant_in_body(&body, layer.root);
        vec_push(fn->cx->arena, &inside.layer, layer);
    }
    add_end(body.body);
    for (int i = 0, k = 0; i < here->layer.count; i++) {
        Inst *out[MEASURED];
        if (here->layer.at[i].loop != loop)
            continue;
        measure(c, body.body, &inside.layer.at[k++], i, out);
        for (int m = 0; m < MEASURED; m++)
            quant_stack(&body, out[m]);
    }
    Inst **made = NEW_ARRAY(fn->cx->arena, Inst *, body.index.count + 1);
    quant_close_body(fn, &body, made);
    for (int i = 0, k = 0; i < here->layer.count; i++)
        for (int m = 0; here->layer.at[i].loop == loop && m < MEASURED; m++)
            value[MEASURED * i + m] = made[k++];
}

// Over all turns of a loop.
static double sum_of(const Native *native, int output)
{
    const float *at = native->output[output];
    double sum = 0;
    for (size_t i = 0; i < native->output_bytes[output] / sizeof(float); i++)
        sum += (double)at[i];
    return sum;
}

static const char *find_errors(Calibration *c)
{
    QuantPlan here = {0};
    IrFunction *fn = ir_clone_function(c->fn, NULL, sym_of(c->cx, "errors"));
    quant_layers(fn, &here);
    drop_results(fn);
    Inst **value = NEW_ARRAY(c->cx->arena, Inst *, MEASURED * here.layer.count + 1);
    for (int i = 0; i < here.layer.count; i++)
        if (here.layer.at[i].loop && !value[MEASURED * i])
            measure_in_loop(c, fn, &here, here.layer.at[i].loop, value);
    add_end(fn);
    for (int i = 0; i < here.layer.count; i++)
        if (!here.layer.at[i].loop)
            measure(c, fn, &here.layer.at[i], i, &value[MEASURED * i]);
    for (int i = 0; i < MEASURED * here.layer.count; i++)
        add_result(fn, value[i]);
    Native native;
    const char *wrong = native_open(c->cx, fn, c->folder, &native);
    double *sum = NEW_ARRAY(c->cx->arena, double, 2 * here.layer.count + 1);
    for (int i = 0; i < here.layer.count; i++) {
        QuantLayer *layer = &c->plan->layer.at[i];
        memset(layer->correction, 0, sizeof *layer->correction * (size_t)layer->channels);
    }
    int64_t seen = 0;
    for (int64_t first = 0; first < c->used && first < ERROR_SAMPLES && !wrong;
         first += c->batch, seen += c->batch) {
        wrong = run(c, &native, first);
        for (int i = 0; i < here.layer.count && !wrong; i++) {
            const QuantLayer *layer = &here.layer.at[i];
            sum[2 * i] += sum_of(&native, MEASURED * i);
            sum[2 * i + 1] += sum_of(&native, MEASURED * i + 1);
            const float *off = native.output[MEASURED * i + 2];
            for (int64_t k = 0; k < quant_turns(layer->loop) * layer->channels; k++)
                c->plan->layer.at[i].correction[k % layer->channels] += (double)off[k];
        }
    }
    for (int i = 0; i < here.layer.count && !wrong; i++) {
        QuantLayer *layer = &c->plan->layer.at[i];
        int64_t places = type_elements(layer->inst->type) / layer->channels / c->batch *
                         quant_turns(layer->loop);
        double mean = 0;
        for (int64_t k = 0; k < layer->channels; k++) {
            layer->correction[k] /= (double)(places * seen);
            mean += layer->correction[k] * layer->correction[k] * (double)(places * seen);
        }
        if (c->setting->learned) { // the training has seen what the mean is off by
            memset(layer->correction, 0, sizeof *layer->correction * (size_t)layer->channels);
            mean = 0;
        }
        layer->error = quant_decibels(sum[2 * i], fmax(0, sum[2 * i + 1] - mean));
    }
    native_close(&native);
    return wrong;
}

// ---- all of it

static void choose(Calibration *c)
{
    int count = c->plan->layer.count;
    for (int i = 0; i < count; i++) {
        QuantLayer *layer = &c->plan->layer.at[i];
        if (c->setting->keep_first && i == 0)
            layer->kept = "first layer";
        else if (c->setting->keep_last && i == count - 1)
            layer->kept = "last layer";
        else if (!layer->kept && layer->error < c->setting->keep_below)
            layer->kept = arena_printf(c->cx->arena, "error above %g dB", c->setting->keep_below);
        if (layer->kept)
            layer->bytes_after = layer->bytes_before;
    }
}

const char *quant_calibrate(Cx *cx, IrFunction *fn, const Entry *entry,
                            const QuantizeSetting *setting, const QuantSamples *samples,
                            const char *folder, QuantPlan *plan)
{
    Calibration calibration = {.cx = cx,
                               .fn = fn,
                               .entry = entry,
                               .setting = setting,
                               .samples = samples,
                               .folder = folder,
                               .plan = plan,
                               .batch = entry->input.at[0].shape.dim[0],
                               .used = samples->count},
                *c = &calibration;
    const char *wrong = setting->learned ? NULL : find_ranges(c);
    for (int i = 0; i < plan->layer.count && !wrong; i++)
        quant_round_weights(cx, &plan->layer.at[i], setting);
    if (!wrong)
        wrong = find_errors(c);
    if (!wrong)
        choose(c);
    if (!wrong && plan->packs) {
        wrong = quant_code_weights(cx, fn, entry, setting->fidelity, samples, folder, plan);
        if (!wrong)
            wrong = find_errors(c);
    }
    return wrong;
}
