// inputs.c: what the products of a function are given while samples are run: of each matrix the sum
// of x x^T, by which rounding is measured and made up for.
//
// The function is compiled with those operands as its results. Of a function of tokens caches are
// inputs and outputs here, which change places after each run. One token at a time costs reading
// all weights for each, so as much as possible is taken from the function of several tokens.

#include "quant/quant.h"
#include "quant/rounding.h"

#include <string.h>

#include "quant/matrix.h"

enum { GATHERED = 256 }; // rows that are added up at once

typedef struct Cache { // input and output of a cache
    int input, output;
} Cache;

// The rows that one or more products were given in one turn.
typedef struct Sum {
    int output;
    int64_t turn, k, rows;
    double *square; // [k, k], the lower half; the upper one is filled in the end
    double *row;    // [GATHERED, k], `rows` of them are not in `square` yet
} Sum;

typedef struct Feed {
    Cx *cx;
    Arena *scratch;
    const Entry *entry;
    const QuantSamples *samples;
    StoredWatches watches;
    StoredInputs *out;
    Vec(Sum) sum;
    Vec(Cache) cache;
    int position;  // input of the first token's number; -1: none
    int64_t width; // tokens of a run
    Native native;
} Feed;

static void drop_answers(IrFunction *fn)
{
    int kept = 0;
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_OUTPUT)
            fn->result.at[i].value->uses--;
        else
            fn->result.at[kept++] = fn->result.at[i];
    fn->result.count = kept;
}

// Slots of states and scalars become inputs and outputs, which is all that native.c knows.
static const char *bind(Feed *f, IrFunction *fn)
{
    int inputs = 0, outputs = 0;
    drop_answers(fn);
    f->width = 1;
    f->position = -1;
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_INPUT) {
            inputs++;
            f->width = type_elements(fn->param.at[i]->type);
        }
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

static bool is_known(const StoredInputs *inputs, const char *name)
{
    for (int i = 0; i < inputs->input.count; i++)
        if (strcmp(inputs->input.at[i].name, name) == 0)
            return true;
    return false;
}

// A function of several tokens computes what is behind the last cache for the last of them alone,
// too few rows to tell anything.
static bool is_whole(const Feed *f, const StoredWatch *watch)
{
    return f->position < 0 || watch->rows == f->width;
}

static Sum *sum_of(const Feed *f, int output, int64_t turn)
{
    for (int i = 0; i < f->sum.count; i++)
        if (f->sum.at[i].output == output && f->sum.at[i].turn == turn)
            return &f->sum.at[i];
    return NULL;
}

// Of what is known already nothing is kept.
static void begin_sums(Feed *f)
{
    for (int i = 0; i < f->watches.watch.count; i++) {
        const StoredWatch *watch = &f->watches.watch.at[i];
        if (!is_whole(f, watch) || is_known(f->out, watch->name))
            continue;
        for (int64_t turn = 0; turn < watch->turns; turn++) {
            if (sum_of(f, watch->output, turn))
                continue;
            Sum sum = {.output = watch->output, .turn = turn, .k = watch->k};
            sum.square = NEW_ARRAY(f->cx->arena, double, sum.k *sum.k);
            sum.row = NEW_ARRAY(f->scratch, double, GATHERED *sum.k);
            vec_push(f->scratch, &f->sum, sum);
        }
    }
}

static void add_up(Sum *sum)
{
    matrix_add_square(sum->square, (Matrix){sum->row, sum->rows, sum->k, sum->k});
    sum->rows = 0;
}

static void end_sums(Feed *f)
{
    for (int i = 0; i < f->sum.count; i++) {
        Sum *sum = &f->sum.at[i];
        add_up(sum);
        for (int64_t a = 0; a < sum->k; a++)
            for (int64_t b = 0; b < a; b++)
                sum->square[b * sum->k + a] = sum->square[a * sum->k + b];
    }
    for (int i = 0; i < f->watches.watch.count; i++) {
        const StoredWatch *watch = &f->watches.watch.at[i];
        for (int64_t turn = 0; turn < watch->turns; turn++) {
            const Sum *sum = sum_of(f, watch->output, turn);
            if (sum)
                vec_push(f->cx->arena, &f->out->input,
                         ((StoredInput){watch->name, turn, watch->k, sum->square}));
        }
    }
}

// `count`: of the rows of each turn.
static void run(Feed *f, int64_t count)
{
    native_run(&f->native);
    for (int i = 0; i < f->sum.count; i++) {
        Sum *sum = &f->sum.at[i];
        int64_t all = (int64_t)(f->native.output_bytes[sum->output] / sizeof(float)) / sum->k,
                turns = 0;
        for (int k = 0; k < f->watches.watch.count; k++)
            if (f->watches.watch.at[k].output == sum->output)
                turns = f->watches.watch.at[k].turns;
        int64_t rows = all / turns, used = count < rows ? count : rows;
        const float *x = (const float *)f->native.output[sum->output] + sum->turn * rows * sum->k;
        for (int64_t row = 0; row < used; row++) {
            double *to = sum->row + sum->rows++ * sum->k;
            for (int64_t p = 0; p < sum->k; p++)
                to[p] = (double)x[row * sum->k + p];
            if (sum->rows == GATHERED)
                add_up(sum);
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
    int32_t *to = (int32_t *)f->native.input[0];
    for (int64_t sample = 0; sample < f->samples->count && done < most; sample++) {
        for (int i = 0; i < f->cache.count; i++)
            memset(f->native.input[f->cache.at[i].input], 0,
                   f->native.input_bytes[f->cache.at[i].input]);
        for (int64_t i = 0; i < tokens && done < most; i += f->width) {
            int64_t count = tokens - i < f->width ? tokens - i : f->width;
            for (int64_t k = 0; k < f->width; k++) // behind the last: no tokens
                to[k] = k < count ? token[sample * tokens + i + k] : -1;
            memcpy(f->native.input[f->position], &i, sizeof i);
            run(f, count);
            done += count;
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
        run(f, INT64_MAX);
    }
    return NULL;
}

static const char *feed(Cx *cx, const StoredRun *runs, const QuantSamples *samples, int64_t most,
                        const char *folder, StoredInputs *out)
{
    Arena *scratch = arena_new();
    Feed feed = {.cx = cx,
                 .scratch = scratch,
                 .entry = runs->entry,
                 .samples = samples,
                 .out = out},
         *f = &feed;
    IrFunction *copy = ir_clone_function(runs->fn, NULL, sym_of(cx, "inputs"));
    const char *wrong = bind(f, copy);
    if (!wrong) {
        stored_watch(copy, &f->watches);
        begin_sums(f);
    }
    if (!wrong && f->sum.count > 0) {
        wrong = native_open(cx, copy, folder, &f->native);
        if (!wrong)
            wrong = f->position >= 0 ? run_tokens(f, most) : run_samples(f);
        native_close(&f->native);
        end_sums(f);
    }
    arena_free(scratch);
    return wrong;
}

const char *stored_inputs(Cx *cx, const StoredRun run[], int runs, const QuantSamples *samples,
                          int64_t most, const char *folder, StoredInputs *out)
{
    const char *wrong = runs > 1 ? feed(cx, &run[1], samples, most, folder, out) : NULL;
    return wrong ? wrong : feed(cx, &run[0], samples, runs > 1 ? most / 4 : most, folder, out);
}
