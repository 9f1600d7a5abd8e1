// quant/: from a trained function of f32 to one with products of bytes, before any pass fuses it.
//
//   layers.c   which products can be quantized, and what is constant along their channels
//   turns.c    values of a loop's body as results of the function around it
//   fold.c     what follows a product channel by channel (a norm in inference) goes into weights
//   equalize.c channels between two layers get weights of like sizes on both sides
//   native.c   compiled functions that amlc runs itself, on real samples
//   weights.c  weights as small integers
//   coded.c    weights as coarse as the answers allow, where they are packed
//   learned.c  ranges that a training has found
//   ranges.c   from the values of an activation to its range
//   calibrate.c  runs the function on samples: ranges, then the error that each layer would have
//   insert.c   writes the rounding out: quantize, then dequantize, in front of each product
//
// The meaning of a quantized function is written in ordinary operations: x becomes
// f32(q) with q = u8(round(x / scale) + zero), times scale. The pass `quantize` then finds products
// of two such values and makes products of bytes of them, and nothing else changes the meaning.

#ifndef AML_QUANT_H
#define AML_QUANT_H

#include "compile.h"
#include "aml/checkpoint.h"

// ---- layers.c

// A product or convolution with constant weights. It may be one of a loop's body, whose weights are
// the same in each turn: then its ranges are common to all turns. (A loop whose turns have weights
// of their own was written out before, see freeze_loops.)
typedef struct QuantLayer {
    Inst *inst;
    Inst *loop;           // in whose body it is; NULL: in none
    Inst *root;           // what its other operand is, before it is moved around
    const Inst *constant; // the weights
    int64_t channels;     // of the result
    int axis;             // of the result: its channels
    int weight_axis;      // of the weights: the same
    Sym name;             // the weights' path, without ".weight"
    int site;             // index of root among QuantPlan.site
    // filled by calibration
    const float *reach;   // logarithms that a training has learned for `scale`, or NULL
    const int8_t *weight; // rounded, in the order of the weights
    double *scale;        // of the weights, by channel
    double *correction;   // what the result is off by, on average, by channel
    double bits;          // a weight takes packed: the entropy; 0: unknown
    double weight_error;  // dB: signal to noise of the weights
    double error;         // dB: of the result
    const char *kept;     // why it stays f32, or NULL
    int64_t bytes_before, bytes_after;
} QuantLayer;

// A value that is rounded to bytes.
typedef struct QuantSite {
    Inst *root;
    Inst *loop;       // in whose body it is; NULL: in none
    double low, high; // what it was seen to be, and what it is clipped to
    double scale;
    int zero;
} QuantSite;

typedef struct QuantPlan {
    Vec(QuantLayer) layer;
    Vec(QuantSite) site;
    int looped;    // products that cannot be quantized: with weights of each turn, in a loop in a
                   // loop, in one with a guard
    int others;    // and those without constant weights
    int equalized; // pairs of layers
    bool packs;    // constants of the program will be packed (aml/packed.h)
} QuantPlan;

// In the order of the instructions, which is the same in functions that differ in the batch only.
void quant_layers(IrFunction *fn, QuantPlan *out);
int64_t quant_turns(const Inst *loop); // of NULL: 1
// The value that `inst` has in each of `channels` places along `axis`, if it is constant and the
// same along all other axes.
bool quant_channel_values(const Inst *inst, int axis, int64_t channels, double *out);
// The f32 constant of one element a channel, spread over `type` along `axis`, before `place`.
Inst *quant_channel_constant(Inst *place, Type type, int axis, const double *value);

// ---- turns.c
// A copy of a loop's body that gets more results, stacked, before it takes the body's place.
typedef struct QuantBody {
    Inst *loop;
    const IrFunction *old;
    IrFunction *body; // the copy
    Vec(int) index;   // of the new results
} QuantBody;
QuantBody quant_body(Inst *loop);
Inst *quant_in_body(const QuantBody *body, const Inst *inst); // what stands for it in the copy
void quant_stack(QuantBody *body, Inst *value);               // one more result
// The new results, in their order, as values of the function around the loop.
void quant_close_body(IrFunction *fn, QuantBody *body, Inst *out[]);

// ---- fold.c
void quant_fold_norms(IrFunction *fn);
void quant_remove_unused(IrFunction *fn);
// A constant before `product`: its weights times `by`, one factor for each place along `axis`.
Inst *quant_scaled_weights(Inst *product, int axis, const double *by);
Inst *quant_only_user(const Inst *inst); // NULL: there are none or several
// The axis that holds the channels after a reshape of the others; -1: they are mixed up.
int quant_reshaped_axis(Type from, Type to, int axis);

// ---- equalize.c
// Channels between two layers get weights of like sizes on both sides; f32 results stay the same.
// How many pairs of layers there are.
int quant_equalize(IrFunction *fn);

// ---- native.c
typedef struct Native {
    void *library;
    aml_entry *run;
    void *arena, **input, **output;
    size_t *input_bytes, *output_bytes;
    int inputs, outputs;
} Native;
// Compiles `fn`, whose parameters are inputs and whose results are outputs, and loads it. `fn` is
// used up. NULL, or what went wrong. `folder`: for temporary files.
const char *native_open(Cx *cx, IrFunction *fn, const char *folder, Native *out);
void native_run(Native *native); // from input[] to output[]
void native_close(Native *native);

// ---- samples, as the training program writes them (`data samples`)
typedef struct QuantSamples {
    const aml_tensors *tensors;
    int64_t count;
} QuantSamples;
// Copies samples first, first + 1, ... into the inputs of their names, a batch of them; behind the
// last sample the first ones follow. NULL, or what does not fit.
const char *quant_take(Cx *cx, const QuantSamples *samples, const Entry *entry, int64_t first,
                       Native *native);

// ---- ranges.c
typedef struct Histogram {
    double low, high;
    int64_t *count; // QUANT_BINS of them
} Histogram;
enum { QUANT_BINS = 2048 };
// Narrows low..high by the rule.
void quant_range(Ranges rule, const Histogram *histogram, double *low, double *high);
// The scale and the zero point of bytes for low..high.
void quant_byte_scale(double low, double high, double *scale, int *zero);

// ---- weights.c
double quant_decibels(double signal, double noise);
// Fills what a layer knows of its weights.
void quant_round_weights(Cx *cx, QuantLayer *layer, const QuantizeSetting *setting);

// ---- coded.c
// Rounds the weights of layers that are not kept again, so coarsely that the answers have a signal
// to noise of `fidelity` dB. Nothing happens where that cannot be measured. NULL, or what is wrong.
const char *quant_code_weights(Cx *cx, IrFunction *fn, const Entry *entry, double fidelity,
                               const QuantSamples *samples, const char *folder, QuantPlan *plan);
// Bytes that packed weights would take less, for a fidelity lower by so many decibels: steps that
// are larger by as much, and the entropies of the weights that they give.
double quant_coarser_saves(const QuantPlan *plan, double decibels);

// ---- learned.c
typedef struct QuantRanges {
    Cx *cx;
    const aml_tensors *tensors; // of a checkpoint
} QuantRanges;
// Gives the sites of `plan` the ranges that a training has learned; layers without one stay f32.
void quant_learned_ranges(const QuantRanges *ranges, QuantPlan *plan);

// ---- calibrate.c
// Fills sites and layers of `plan`, which quant_layers has made of fn. Weights that will be packed
// are as coarse as the setting's fidelity allows. NULL, or what is wrong.
const char *quant_calibrate(Cx *cx, IrFunction *fn, const Entry *entry,
                            const QuantizeSetting *setting, const QuantSamples *samples,
                            const char *folder, QuantPlan *plan);

// ---- insert.c
// `fn` has the layers of `plan`, in their order, perhaps for another batch. False: it has not.
bool quant_insert(IrFunction *fn, const QuantPlan *plan);
// One value to bytes and back, behind `root`; a layer's weights as bytes times scales.
Inst *quant_bytes(Inst *root, const QuantSite *site);
Inst *quant_floats(Inst *place, Inst *bytes, const QuantSite *site);
Inst *quant_weights(Inst *place, const QuantLayer *layer, Type type);

#endif
