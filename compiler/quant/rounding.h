// quant/rounding.h: weights alone in small integers or halves, in the layout of kernels/stored.h.
//
//   stored.c     which matrices of a function, and what reads them instead
//   inputs.c     what products are given while samples are run
//   rounding.c   from a matrix to its integers or halves

#ifndef AML_QUANT_ROUNDING_H
#define AML_QUANT_ROUNDING_H

#include "compile.h"
#include "quant/quant.h"

typedef struct StoredRule {
    int64_t form;     // STORED_BYTES, ... (kernels/stored.h)
    int64_t group;    // 0: a whole column
    bool asymmetric;  // integers have zero points
    bool compensated; // errors are made up for by what is rounded later; needs inputs
} StoredRule;

// What products were given while samples were run: of each matrix the sum of x x^T.
typedef struct StoredInput {
    const char *name; // of the constant
    int64_t turn, k;
    double *square; // [k, k]
} StoredInput;
typedef struct StoredInputs {
    Vec(StoredInput) input;
} StoredInputs;

typedef struct StoredReport {
    Vec(aml_layer_report) layer; // a row for each matrix
    int kept;                    // constants that stay f32
} StoredReport;

// A constant [n, k] (contract 1) or [k, n] (contract 0), or a stack of them.
typedef struct StoredSource {
    Sym name;
    Type type;
    const void *at;
    int contract;
} StoredSource;

// One constant, or several side by side that are multiplied with the same rows; all turns of them:
// the operands of dot_stored behind the first, NULL: no more.
typedef struct StoredMatrix {
    int64_t k, n;
    Type type[3];
    void *at[3];
} StoredMatrix;

// What was rounded already: another function of the same model gets the same.
typedef struct StoredDone {
    const StoredSource *source;
    int count;
    StoredMatrix matrix;
} StoredDone;
typedef struct StoredRounded {
    Vec(StoredDone) done;
} StoredRounded;

int64_t stored_group(const StoredRule *rule, int64_t k);            // neighbours that share a scale
const char *stored_form_text(Arena *arena, const StoredRule *rule); // "int8/32"

// stored.c: how many constants of `fn`, which has no calls, are stored now. `inputs` may be NULL.
int stored_insert(IrFunction *fn, const StoredRule *rule, const StoredInputs *inputs,
                  StoredRounded *rounded, StoredReport *report);

// Tables whose rows are looked up and that no product reads: of a program whose products round to
// bytes they are what is left of f32.
bool stored_is_table(IrFunction *fn, const Inst *inst);
void stored_tables(IrFunction *fn, StoredRounded *rounded, StoredReport *report);

// What a product is given becomes one more result, [turns,] rows of k. Outputs are numbered from
// `first` on.
typedef struct StoredWatch {
    const char *name; // of the constant
    int64_t turns, rows, k;
    int output;
} StoredWatch;
typedef struct StoredWatches {
    int first, outputs;
    Vec(StoredWatch) watch;
} StoredWatches;
void stored_watch(IrFunction *fn, StoredWatches *out);

// inputs.c: what products are given, by running copies of functions on samples.
typedef struct StoredRun {
    IrFunction *fn;
    const Entry *entry; // whose parameters and results `fn` has
} StoredRun;
// `run[0]` is run on each sample. If it is a function of one token, it is run on tokens, with its
// caches, and run[1], if `runs` is 2, is the same for several tokens; that is run on `most` tokens
// in all, and for products of which it computes the last token alone, run[0] on a quarter of them.
// NULL, or what is wrong.
const char *stored_inputs(Cx *cx, const StoredRun run[], int runs, const QuantSamples *samples,
                          int64_t most, const char *folder, StoredInputs *out);

// rounding.c: rounds constants that have no refusal. What is new gets rows in the report.
StoredMatrix stored_round(Arena *arena, const StoredSource source[], int count,
                          const StoredRule *rule, const StoredInputs *inputs,
                          StoredRounded *rounded, StoredReport *report);
// Why a constant cannot be rounded, or NULL.
const char *stored_refusal(const Inst *constant, int contract, const StoredRule *rule);
// A row of the report for one that stays f32.
void stored_report_kept(Arena *arena, StoredReport *report, const Inst *constant, const char *why);

// ---- caches.c: cached keys and values of a deployed program that writes, in 16 bits

// Whether attention alone reads the cache in a row of the states; then its type can become `to`.
bool cache_can_narrow(const IrFunction *fn, int row);
void cache_narrow(IrFunction *fn, int row, DType to);

#endif
