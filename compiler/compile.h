// compile.h: what the stages of the compiler hand to each other, and the driver's view of them.
//
//   source --parse--> AST --resolve--> AST --elaborate--> Program (IR functions + tables)
//   --passes--> --codegen--> object
//
// A Program is the compiler's side of runtime/include/aml/program.h: the same tables, with
// IrFunctions where that has entry points. link/ writes it as C tables beside the object.

#ifndef AML_COMPILE_H
#define AML_COMPILE_H

#include "base/base.h"
#include "ast/ast.h"
#include "ir/ir.h"
#include "aml/program.h"

// What is known of a kernel, see aml_kernel.
typedef struct EntryResult {
    aml_dtype dtype;
    int64_t elements;
    const char *place;
} EntryResult;
typedef struct EntryKernel {
    const char *place, *what;
    const char *lines, *weight; // NULL: there are none
    int32_t results;
    const EntryResult *result;
    double flops, bytes;
    bool loop;
} EntryKernel;

// One compiled function: `ir` is NULL where the job has none. plan fills arena_bytes.
typedef struct Entry {
    IrFunction *ir;
    const char *symbol; // its name in the object: aml_digits_mlp_step
    Vec(aml_tensor_info) input;
    Vec(aml_tensor_info) output;
    Vec(aml_scalar_info) scalar;
    size_t arena_bytes;
    double flops;
    bool watched;            // whoever calls it may be told about each kernel
    Vec(EntryKernel) kernel; // then: of which there are these
} Entry;

// The functions of one level of statistics, see aml_fit.
typedef struct ProgramFit {
    int first, accumulators;
    Entry start, step, finish;
} ProgramFit;

typedef struct ProgramDataset {
    Span span;
    aml_dataset table; // everything but the functions
    Entry prepare, augment;
    Entry generate[3]; // of a synthetic source, of a synthetic test and validation source
    Vec(aml_statistic) statistic;
    Vec(Span) statistic_span;
    Vec(ProgramFit) fit;
} ProgramDataset;

typedef struct ProgramState {
    aml_state_info info; // offsets are assigned by program_layout
    Span span;           // the weight's declaration
    double decay;        // weight decay applies (0 or 1)
} ProgramState;

typedef struct ProgramJob {
    Span span;
    aml_job table; // everything but the functions, states and counts of them
    Vec(ProgramState) state;
    Vec(aml_metric) metric;
    Vec(aml_load) load;
    Vec(Span) load_span; // where each stands
    Entry init, step, metrics_reset, eval, eval_one, metrics_value, predict, validated, decode,
        prompt;
} ProgramJob;

// `quantize: int8(...)` of a deploy block.
typedef enum {
    RANGES_MIN_MAX,
    RANGES_PERCENTILE,
    RANGES_ENTROPY,
    RANGES_MSE,
    RANGES_LEARNED
} Ranges;
typedef struct QuantizeSetting {
    Span span; // file 0: not asked for
    Ranges ranges;
    bool per_tensor;            // scales of weights
    bool equalize;              // channels between two layers, see quant/equalize.c
    bool keep_first, keep_last; // layers that stay f32
    double keep_below;          // dB: layers with a larger error stay f32
    double fidelity;            // dB: of the answers, where weights are packed
    int64_t samples;
    int dataset; // that ranges are taken from, index in datasets; -1: no activations are quantized
    aml_part part;
    bool weights_only;
    int64_t group;                // weights that share a scale; 0: a row or the tensor
    int form;                     // of weights alone: STORED_BYTES, ... (kernels/stored.h)
    bool asymmetric, compensated; // the same, see quant/rounding.h
    int bits;                     // of weights: 8 or 4
    bool learned;                 // ranges are in the checkpoint, see quant/learned.c
} QuantizeSetting;

// `prune: channels(...)`.
typedef enum PruneRule { PRUNE_ERROR, PRUNE_L1, PRUNE_L2 } PruneRule;
typedef struct PruneSetting {
    Span span;        // file 0: not asked for
    PruneRule by;     // which channels go first
    bool even;        // the same share everywhere
    bool as_they_are; // the weights that stay
    double share;
    aml_quantity finetune; // value 0: none
    double rate, distill;  // parts of the training's rates, and of the loss
} PruneSetting;

// What `emit` lists.
typedef enum DeployForm {
    DEPLOY_EXECUTABLE,
    DEPLOY_SHARED_LIBRARY,
    DEPLOY_STATIC_LIBRARY,
    DEPLOY_OBJECT,
    DEPLOY_C_HEADER,
    DEPLOY_FORMS
} DeployForm;

// `deploy NAME { ... }`.
typedef struct ProgramDeploy {
    Sym name;
    const char *doc;
    Span span;
    int job; // whose weights: index in jobs
    aml_which which;
    QuantizeSetting quantize;
    PruneSetting prune;
    Span entry;         // where the block asks for one; file 0 if it does not
    int generator;      // the `generate` block that is the entry: index in jobs; -1: none
    Vec(int64_t) batch; // increasing
    Vec(Entry)
        predict; // one per batch size; the weights are SLOT_STATE parameters of the job's table
    bool weights_beside;      // in a file of their own
    bool small;               // `optimize: size`
    unsigned emit;            // bits: 1u << DEPLOY_...
    Vec(const char *) target; // "native" or "x86-64-v3"; none: what suits the program
    double require_size, require_memory, require_latency; // bytes, bytes, seconds; 0: not required
    double require_accuracy_drop;                         // fraction; < 0: not required
    double require_perplexity_rise;                       // of an entry that writes; the same
    Span require;
} ProgramDeploy;

typedef struct Program {
    Cx *cx;
    IrModule *module;
    aml_program table; // everything but the arrays below
    Vec(aml_option) option;
    Vec(aml_fixed) fixed;
    Vec(aml_effective) effective;
    Vec(ProgramDataset) dataset;
    Vec(ProgramJob) job;
    Vec(ProgramDeploy) deploy;
} Program;

// ---- sema/: names and schemas. Loads `use`d files and the standard library. NULL if main could
// not be read.
typedef struct Unit Unit; // a resolved program: all files, their declarations (sema/sema.h)
Unit *unit_load(Cx *cx, const char *path);
Unit *unit_load_text(Cx *cx, const char *path, const char *text,
                     size_t length); // for fuzzers and tests

// ---- elab/: the static part is evaluated, the tensor part is traced. NULL after errors.
Program *elaborate(Cx *cx, Unit *unit);
void program_layout(Program *program);                 // where each state lies in its job's arena
Program *elaborate_in(Cx *cx, Unit *unit, DType real); // `float` means `real` in every block
// expand.c: every option, constant and setting with its value and origin, and each job's states.
void expand_print(Cx *cx, Program *program, FILE *out);

// ---- passes/: rows of passes.def, in order, each followed by the verifier. `until`: stop after
// the pass of this name (NULL: all). Every pass works on every function of the module that is
// reachable from an entry.
bool passes_run(Cx *cx, IrModule *module, const char *until, const char *dump_after, FILE *dump);

// plan.c: where every value of a function lives. Temporaries are in the arena, state and batch
// buffers outside.
typedef enum {
    PLACE_NONE,
    PLACE_ARENA,
    PLACE_STATE,
    PLACE_INPUT,
    PLACE_OUTPUT,
    PLACE_CONSTANT,
    PLACE_SCALAR
} PlaceKind;
typedef struct Buffered { // Inst.note after `plan`; NULL for a rank-0 value that is kept in a
                          // register
    PlaceKind kind;
    int index;     // state row, input or output position, scalar position
    size_t offset; // in the arena
    size_t bytes;
    size_t scratch_offset, scratch_bytes; // arena memory that the instruction needs while it runs
                                          // (PLACE_NONE if only that)
    struct Buffered **result; // of a MULTI instruction with several results: where each is
} Buffered;
typedef struct Plan {
    size_t arena_bytes; // what will be allocated
    size_t live_peak;   // the largest sum of live temporaries: a lower bound for arena_bytes
    Inst *peak_at;      // the instruction at which it is reached
} Plan;
Plan plan_function(Cx *cx, IrFunction *fn);

// ---- codegen/: functions to a native object.
//
// What objects share that are linked into one program, the code for several levels of processors:
// each constant is in the first object that reads it, and kernels have other names in each.
typedef struct SharedConstant {
    uint64_t hash;
    size_t bytes;
    const void *at;
    const char *name; // in an object
    size_t offset;    // in the file
} SharedConstant;
//
// With `beside` constants are not in the objects but in a file that the program maps: `file` is
// what is in it, and aml_call.weights is where it begins.
typedef struct Shared {
    int objects; // made so far
    int lanes;   // of the first one: weights are packed for it where others can read that
    bool beside;
    Buffer file;
    Vec(SharedConstant) constant;
} Shared;
typedef struct Target {
    const char *cpu; // "native", "x86-64-v2", "x86-64-v3", "x86-64-v4"
    bool position_independent;
    bool keeps_objects;    // what is compiled lives from build to build
    bool stores;           // constants may be stored shorter, see aml/stored.h
    bool makes, makes_all; // weights may be transformed when a context is opened, see
                           // codegen/made.c; however large they are
    bool small;            // code is short where it takes little time
    bool one_level; // no other object has code for another level: amlc adds what it has compiled
    Shared *shared; // NULL: there is one object
    // Called when entries and ObjectCode are complete but for the code itself, which is what takes
    // long; NULL: nobody waits.
    void (*planned)(void *data);
    void *data;
} Target;
typedef struct ObjectFile {
    const char *at;
    size_t length;
} ObjectFile;
typedef struct ObjectCode {
    int files; // they belong together; a text is one
    const ObjectFile *file;
    const char *cpu_level, *cpu_features; // for aml_program
    const char *stored; // the symbol of constants that are expanded first; NULL: there are none
    const char *expand; // the function that does it, and makes weights; NULL: nothing is to be done
    size_t stored_bytes;  // what all this takes then
    size_t stored_length; // what they take in the object
    size_t stored_plain;  // what they would take there as they are
    const void *stored_data;
} ObjectCode;
// Emits every Entry (`entries` of them; symbol and ir must be set; fills arena_bytes and flops)
// into objects. `state_offset[i]` is the arena offset of state row i, for each entry's own job.
typedef struct EmitEntry {
    Entry *entry;
    const size_t *state_offset;
} EmitEntry;
size_t stored_length(const void *at,
                     size_t bytes);            // stored.c: of a constant, in a program that stores
bool codegen_sums_bytes(const IrFunction *fn); // whether it has products of bytes
// The one target that this machine is not: code for it goes into libraries.
#define TARGET_LEVELS                                                                              \
    "native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v3-vnni", "x86-64-v4-vnni",           \
        "x86-64-v4-amx" // what may be asked for of this machine's kind
#define TARGET_CROSS "aarch64"
int target_rank(const char *cpu); // of a level by its name, 0 is the best; -1: no such level
bool codegen_emit(Cx *cx, IrModule *module, EmitEntry *entries, int count, Target target,
                  const char *emit_text /* NULL, "llvm" or "asm" */, ObjectCode *object);

// ---- link/: tables as C, the system's C compiler as linker. What was begun is to be finished.
typedef struct ProgramLink ProgramLink;
ProgramLink *link_begin(Cx *cx, Program *program, const ObjectCode *object, const char *output);
bool link_finish(ProgramLink *link, bool good);

#endif
