// inputs.c: what the products of a function are given while samples are run: of each matrix the sum
// of x x^T, by which rounding is measured and made up for.
//
// The function is compiled with those operands as results besides. Of a function of one token
// caches are inputs and outputs here, which change places after each token.

#include "quant/quant.h"
#include "quant/rounding.h"

#include <string.h>

typedef struct Cache { // input and output of a cache
    int input, output;
} Cache;

typedef struct Feed {
    Cx *cx;
    const Entry *entry;
    const QuantSamples *samples;
    StoredWatches watches;
    StoredInputs *out;
    Vec(Cache) cache;
    int position; // input of the token's number; -1: none
    Native native;
} Feed;

// Slots of states and scalars become inputs and outputs, which is all that native.c knows.
static const char *bind(Feed *f, IrFunction *fn)
{
    int inputs = 0, outputs = 0;
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_INPUT)
            inputs++;
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_OUTPUT)
            outputs++;
    f->position = -1;
    for (int i = 0; i < fn->param.count; i++) {
        Slot *slot = &fn->param_slot.at[i];
        if (slot->kind == SLOT_INPUT)
            continue;
        if (slot->kind == SLOT_SCALAR) {
            f->position = inputs;
        } else {
            int row = slot->index;
            Cache cache = {inputs, -1};
            for (int k = 0; k < fn->result.count; k++)
                if (fn->result.at[k].slot.kind == SLOT_STATE &&
                    fn->result.at[k].slot.index == row) {
                    cache.output = outputs++;
                    fn->result.at[k].slot = (Slot){SLOT_OUTPUT, cache.output};
                }
            if (cache.output < 0)
                return "a cache is not written";
            vec_push(f->cx->arena, &f->cache, cache);
        }
        *slot = (Slot){SLOT_INPUT, inputs++};
    }
    f->watches.first = outputs;
    return NULL;
}

static StoredInput *input_for(Feed *f, const StoredWatch *watch, int64_t turn)
{
    for (int i = 0; i < f->out->input.count; i++) {
        StoredInput *input = &f->out->input.at[i];
        if (input->turn == turn && strcmp(input->name, watch->name) == 0)
            return input;
    }
    StoredInput made = {.name = watch->name, .turn = turn, .k = watch->k};
    made.square = NEW_ARRAY(f->cx->arena, double, watch->k * watch->k);
    vec_push(f->cx->arena, &f->out->input, made);
    return &f->out->input.at[f->out->input.count - 1];
}

// The lower half; the upper one is filled in the end.
static void add_squares(double *square, const float *x, int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        double left = (double)x[i], *row = square + i * k;
        for (int64_t j = 0; j <= i; j++)
            row[j] += left * (double)x[j];
    }
}

static void run(Feed *f)
{
    native_run(&f->native);
    for (int i = 0; i < f->watches.watch.count; i++) {
        const StoredWatch *watch = &f->watches.watch.at[i];
        const float *x = f->native.output[watch->output];
        for (int64_t turn = 0; turn < watch->turns; turn++) {
            StoredInput *input = input_for(f, watch, turn);
            for (int64_t row = 0; row < watch->rows; row++, x += watch->k)
                add_squares(input->square, x, watch->k);
        }
    }
    for (int i = 0; i < f->cache.count; i++) {
        void **in = &f->native.input[f->cache.at[i].input],
             **out = &f->native.output[f->cache.at[i].output], *old = *in;
        *in = *out;
        *out = old;
    }
}

static const char *run_tokens(Feed *f, int64_t most)
{
    int x = aml_tensors_find(f->samples->tensors, "x");
    const aml_tensor_info *info = x < 0 ? NULL : aml_tensors_info(f->samples->tensors, x);
    if (!info || info->dtype != AML_I32 || info->shape.rank != 2)
        return "the samples have no tokens x";
    const int32_t *token = aml_tensors_data(f->samples->tensors, x);
    int64_t tokens = info->shape.dim[1], done = 0;
    for (int64_t sample = 0; sample < f->samples->count && done < most; sample++) {
        for (int i = 0; i < f->cache.count; i++)
            memset(f->native.input[f->cache.at[i].input], 0,
                   f->native.input_bytes[f->cache.at[i].input]);
        for (int64_t i = 0; i < tokens && done < most; i++, done++) {
            memcpy(f->native.input[0], &token[sample * tokens + i], sizeof *token);
            memcpy(f->native.input[f->position], &i, sizeof i);
            run(f);
        }
    }
    return NULL;
}

static const char *run_samples(Feed *f)
{
    int64_t batch = f->entry->input.at[0].shape.dim[0];
    for (int64_t first = 0; first + batch <= f->samples->count; first += batch) {
        const char *wrong = quant_take(f->cx, f->samples, f->entry, first, &f->native);
        if (wrong)
            return wrong;
        run(f);
    }
    return NULL;
}

const char *stored_inputs(Cx *cx, IrFunction *fn, const Entry *entry, const QuantSamples *samples,
                          int64_t most, const char *folder, StoredInputs *out)
{
    Feed feed = {.cx = cx, .entry = entry, .samples = samples, .out = out}, *f = &feed;
    IrFunction *copy = ir_clone_function(fn, NULL, sym_of(cx, "inputs"));
    const char *wrong = bind(f, copy);
    if (wrong)
        return wrong;
    stored_watch(copy, &f->watches);
    wrong = native_open(cx, copy, folder, &f->native);
    if (!wrong)
        wrong = f->position >= 0 ? run_tokens(f, most) : run_samples(f);
    native_close(&f->native);
    for (int i = 0; i < out->input.count; i++) {
        StoredInput *input = &out->input.at[i];
        for (int64_t a = 0; a < input->k; a++)
            for (int64_t b = 0; b < a; b++)
                input->square[b * input->k + a] = input->square[a * input->k + b];
    }
    return wrong;
}
