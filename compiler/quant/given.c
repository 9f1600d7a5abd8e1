// given.c: what layers are given while samples are run: of each the mean of x x^T.
//
// The function is compiled with the operands of its products as results. A convolution is a product
// of patches, which are cut out here. Of each sample some rows are enough, drawn by a hash of their
// number: neighbours in a picture tell nearly the same.

#include "quant/reconstruct.h"

#include <math.h>
#include <string.h>

enum { ROWS = 24, MOST_INPUTS = 4096 };

typedef struct Patch { // of a convolution
    int rank;
    int64_t size[IR_MAX_RANK], kernel[IR_MAX_RANK], places[IR_MAX_RANK];
    int64_t stride[IR_MAX_RANK], low[IR_MAX_RANK], dilation[IR_MAX_RANK];
} Patch;

typedef struct Watched {
    Given given;
    Patch patch;
    int64_t rows; // in all
    int output;
} Watched;

typedef struct Watch {
    Cx *cx;
    Vec(Watched) layer;
    int64_t rows_seen; // of each layer as many, or fewer if it has fewer
} Watch;

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static Patch patch_of(const Inst *inst)
{
    Patch patch = {.rank = inst->type.rank - 2};
    for (int i = 0; i < patch.rank; i++) {
        patch.size[i] = inst->input[0]->type.dim[i + 2];
        patch.kernel[i] = inst->input[1]->type.dim[i + 2];
        patch.places[i] = inst->type.dim[i + 2];
        patch.stride[i] = inst->attr[0].list.at[i];
        patch.low[i] = inst->attr[1].list.at[i];
        patch.dilation[i] = inst->attr[3].list.at[i];
    }
    return patch;
}

static void watch_layer(Watch *w, IrFunction *fn, const QuantLayer *layer, int index)
{
    Inst *inst = layer->inst;
    Type type = layer->constant->type;
    Watched made = {.given = {.layer = index,
                              .name = layer->constant->name,
                              .convolves = inst->op == OP_conv,
                              .axis = 1 - layer->weight_axis,
                              .taps = 1,
                              .columns = layer->channels,
                              .weight = layer->constant->attr[0].data.at}};
    if (!made.given.name || (inst->op == OP_conv && inst->attr[4].whole != 1))
        return;
    if (inst->op == OP_conv) {
        made.patch = patch_of(inst);
        for (int i = 0; i < made.patch.rank; i++)
            made.given.taps *= made.patch.kernel[i];
    }
    made.given.k = made.given.taps * type.dim[made.given.axis];
    made.rows = type_elements(inst->type) / made.given.columns;
    if (made.given.k > MOST_INPUTS)
        return;
    made.given.square = NEW_ARRAY(w->cx->arena, double, made.given.k *made.given.k);
    made.output = fn->result.count;
    ir_result(fn, inst->input[0], (Slot){SLOT_OUTPUT, fn->result.count}, NULL);
    vec_push(w->cx->arena, &w->layer, made);
}

int64_t given_place(const Given *given, int64_t input, int64_t column)
{
    return given->convolves || given->axis == 1 ? column * given->k + input
                                                : input * given->columns + column;
}

// The inputs of one sum.
static void take_row(const Watched *layer, const float *x, int64_t row, float *out)
{
    const Given *given = &layer->given;
    if (!given->convolves) {
        memcpy(out, x + row * given->k, sizeof *out * (size_t)given->k);
        return;
    }
    const Patch *p = &layer->patch;
    int64_t place[IR_MAX_RANK], image = row, plane = 1, channels = given->k / given->taps;
    for (int i = p->rank - 1; i >= 0; i--) {
        place[i] = image % p->places[i];
        image /= p->places[i];
        plane *= p->size[i];
    }
    for (int64_t tap = 0; tap < given->taps; tap++) {
        int64_t at = 0, rest = tap, step = 1;
        bool inside = true;
        for (int i = p->rank - 1; i >= 0; i--) {
            int64_t here =
                place[i] * p->stride[i] - p->low[i] + rest % p->kernel[i] * p->dilation[i];
            rest /= p->kernel[i];
            inside &= here >= 0 && here < p->size[i];
            at += here * step;
            step *= p->size[i];
        }
        for (int64_t c = 0; c < channels; c++)
            out[c * given->taps + tap] = inside ? x[(image * channels + c) * plane + at] : 0;
    }
}

// The lower half; the upper one is filled in the end.
static void add_row(double *square, const float *x, int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        double left = (double)x[i], *row = square + i * k;
        for (int64_t j = 0; left != 0 && j <= i; j++)
            row[j] += left * (double)x[j];
    }
}

static void see(Watch *w, const Native *native, int64_t first, float *row)
{
    for (int i = 0; i < w->layer.count; i++) {
        Watched *layer = &w->layer.at[i];
        const float *x = native->output[layer->output];
        int64_t some = layer->rows < ROWS ? layer->rows : ROWS;
        for (int64_t r = 0; r < some; r++) {
            uint64_t drawn = mixed((uint64_t)(first * ROWS + r + 1) * UINT64_C(0x9e3779b97f4a7c15));
            int64_t at = some == layer->rows ? r : (int64_t)(drawn % (uint64_t)layer->rows);
            take_row(layer, x, at, row);
            add_row(layer->given.square, row, layer->given.k);
        }
    }
}

static void finish(Watched *layer, int64_t runs)
{
    int64_t k = layer->given.k, some = layer->rows < ROWS ? layer->rows : ROWS;
    double *square = layer->given.square, by = 1 / (double)(runs * some);
    for (int64_t a = 0; a < k; a++)
        for (int64_t b = 0; b <= a; b++)
            square[a * k + b] = square[b * k + a] = square[a * k + b] * by;
}

const char *given_inputs(Cx *cx, IrFunction *fn, const Entry *entry, const QuantSamples *samples,
                         int64_t most, const char *folder, GivenList *out)
{
    Watch watch = {.cx = cx}, *w = &watch;
    IrFunction *copy = ir_clone_function(fn, NULL, sym_of(cx, "given"));
    QuantPlan plan = {0};
    Native native;
    int64_t batch = entry->input.at[0].shape.dim[0], runs = 0, longest = 1;
    quant_layers(copy, &plan);
    for (int i = 0; i < plan.layer.count; i++)
        if (!plan.layer.at[i].loop)
            watch_layer(w, copy, &plan.layer.at[i], i);
    for (int i = 0; i < w->layer.count; i++)
        longest = w->layer.at[i].given.k > longest ? w->layer.at[i].given.k : longest;
    float *row = NEW_ARRAY(cx->arena, float, longest);
    const char *wrong = native_open(cx, copy, folder, &native);
    for (int64_t first = 0; first < samples->count && first < most && !wrong;
         first += batch, runs++) {
        wrong = quant_take(cx, samples, entry, first, &native);
        if (wrong)
            break;
        native_run(&native);
        see(w, &native, first, row);
    }
    native_close(&native);
    for (int i = 0; i < w->layer.count && !wrong; i++) {
        finish(&w->layer.at[i], runs);
        vec_push(cx->arena, out, w->layer.at[i].given);
    }
    return wrong;
}
