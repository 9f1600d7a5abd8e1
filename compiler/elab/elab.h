// elab/: elaboration. The static part of a program is evaluated; applying an operation to a tensor
// appends instructions to the IR function being traced.
//
// The idea: one evaluator for both stages. A Value is static (numbers, texts, lists, functions,
// model instances) or a tensor (an Inst of the function being traced). A function call with tensors
// is executed like any other, which leaves its instructions behind; a shape check is a comparison
// of numbers. A Value of kind poison stands for something that was already reported and silences
// whatever follows from it.
//
//   value.c     making, comparing and describing values
//   env.c       names
//   declare.c   constants and -D, options, functions: global declarations
//   eval.c      expressions
//   statement.c statements
//   static.c    operators on static values, units
//   tensor.c    operators on tensors: lifting, broadcasting, indexing, matrix product
//   types.c     names of types, annotations as text, the type an annotation stands for
//   sizes.c     sizes in annotations: bound, solved for, compared
//   match.c     values against annotations: units, class(k), enumerations
//   lint.c      names of sizes that are probably misspelled
//   call.c      calls, composites (functions with their own gradient)
//   instance.c  models, metrics, optimizers and their weights and states (cells)
//   average.c   averages of weights
//   load.c      freeze, tie, load: what a model is told about its weights
//   rounded.c   the rounding of a deployed program of bytes, done while training
//   trace.c     the function being traced
//   region.c    the part of a trace that becomes a loop
//   batch.c     such a part as instructions on whole stacks, where no loop is needed
//   repeat.c    models that are repeated as one loop
//   check.c     declarations that nothing uses
//   builtin*.c  what cannot be written in AML: rows of builtins.def
//   fit.h       statistics of the training rows, which prepare reads
//   gradient.c  reverse mode over a trace
//   job*.c      blocks of the program to Program tables

#ifndef AML_ELAB_H
#define AML_ELAB_H

#include "aml/program.h"
#include "ast/ast.h"
#include "base/base.h"
#include "compile.h"
#include "diag/diag.h"
#include "ir/ir.h"

typedef struct Elab Elab;
typedef struct Env Env;
typedef struct Value Value;
typedef struct Instance Instance;
typedef struct Cell Cell;
typedef struct Trace Trace;
typedef struct Region Region;
typedef struct Fitting Fitting;
typedef struct Dim Dim;
typedef Vec(Cell *) CellList;
typedef Vec(Dim *) DimList;

// From pointer to pointer.
typedef struct PointerMap {
    int count, slots;
    const void **key;
    void **value;
} PointerMap;
// ---- value.c: values ---------------------------------------------------------------------------

typedef enum ValueKind {
    VALUE_POISON, // already reported
    VALUE_NONE,
    VALUE_BOOL,     // whole: 0 or 1
    VALUE_INT,      // whole
    VALUE_REAL,     // real
    VALUE_QUANTITY, // real, unit; option >= 0: the value of a duration, fraction or bytes option,
                    // known when the program runs
    VALUE_TEXT,     // text
    VALUE_SYMBOL,   // symbol: a bare word of an enumeration
    VALUE_LIST,     // list
    VALUE_TUPLE,    // list
    VALUE_RECORD,   // record
    VALUE_RANGE,    // range: start..stop, stop not included
    VALUE_FUNCTION, // function
    VALUE_TYPE,     // type: float, f32, class(10)[4], ...
    VALUE_DECLARATION, // node: a Model, Metric, Optimizer: calling it makes an instance
    VALUE_INSTANCE,    // instance
    VALUE_TENSOR,      // tensor, classes
    VALUE_MEAN,        // mean: the result of mean_over, sum and count apart
    VALUE_TREE,        // tree: one tensor for each weight of a model: gradients, new weights
    VALUE_CELL,   // cell: a weight or a state that is not read (target of `<-`); reading one gives
                  // its tensor
    VALUE_JOB,    // job: a block (data set, train, ...), with the part named after it: digits.test,
                  // digits_mlp.best
    VALUE_OPTION, // option: a number known when the program runs; becomes a scalar tensor where it
                  // meets one
    VALUE_LATER,  // later: an expression over options outside any trace; evaluated again in each
                  // trace that needs it
    VALUE_DIM,    // dim: a size still to be inferred (`_`)
    VALUE_HOLE,   // `_`
    VALUE_REST,   // `...` in an index
} ValueKind;

typedef struct TextPart {
    Sym text;
    int option; // index in Elab.option, -1: fixed text
} TextPart;

typedef struct TextValue {
    int parts;
    TextPart *part;
} TextValue;

typedef struct ValueList {
    int count;
    Value *at;
} ValueList;

typedef struct RecordValue {
    int count;
    Sym *name;
    Value *at;
    Span *span; // where each was written; may be NULL
} RecordValue;

typedef struct FunctionValue {
    Node *node;     // Fn, Loss, Lambda; a Fn without a body is a builtin
    Env *env;       // what it closes over; NULL: the declarations of its file
    Instance *self; // a function of an instance, else NULL
} FunctionValue;

// A type as a value. `element` is its name (float, f32, class, int, string, ...); with dims it is a
// tensor type.
typedef struct TypeValue {
    Sym element;
    DType dtype;     // of a tensor type or a castable one; float is the job's precision
    bool castable;   // float, f32, i64, bool, ...: may be called as a conversion
    int64_t classes; // class(k): k, else 0
    bool has_dims;
    int rank;
    int64_t dim[IR_MAX_RANK];
} TypeValue;

typedef struct TreeValue {
    int count;
    Cell **cell;
    Inst **at;
} TreeValue;

struct Value {
    ValueKind kind;
    union {
        int64_t whole;
        double real;
        struct {
            double value;
            aml_unit unit;
            int option;
            bool points;
        } quantity; // points: written as pp
        TextValue text;
        Sym symbol;
        ValueList list;
        RecordValue *record;
        struct {
            int64_t start, stop;
        } range;
        FunctionValue *function;
        TypeValue *type;
        Node *node;
        Instance *instance;
        struct {
            Inst *inst;
            int64_t classes;
        } tensor; // classes: class(k), 0 for any other tensor
        struct {
            Inst *sum, *count;
        } mean; // scalars, both of the job's precision
        TreeValue *tree;
        Cell *cell;
        struct {
            Node *node;
            Sym part;
        } job;
        int option; // index in Elab.option
        struct {
            Node *node;
            Env *env;
        } later;
        Dim *dim;
    } as;
};

Value value_poison(void);
Value value_none(void);
Value value_bool(bool b);
Value value_int(int64_t i);
Value value_real(double r);
Value value_quantity(double value, aml_unit unit);
Value value_text(Elab *e, const char *text);
Value value_symbol(Sym name);
Value value_list(Elab *e, int count, const Value at[]);                     // copies
Value value_tuple(Elab *e, int count, const Value at[]);                    // copies
Value value_record(Elab *e, int count, const Sym name[], const Value at[]); // copies
Value value_tensor(Inst *inst);
Value value_class(Inst *inst, int64_t classes);
// k if all elements are known to be 0 to k - 1: a class(k), or a whole number that is known. 0:
// nothing is known. Of several together: the largest, or 0.
int64_t value_classes(Value value);
int64_t value_classes_of(const Value at[], int count);
Value value_function(Elab *e, Node *node, Env *env);
Value value_instance(Instance *instance);
Value value_tree(Elab *e, int count, Cell *const cell[], Inst *const at[]); // copies

static inline bool value_is(Value v, ValueKind kind)
{
    return v.kind == kind;
}
bool value_is_number(Value v);                   // int, real, a fixed fraction
double value_number(Value v);                    // of those
const Value *record_get(Value record, Sym name); // NULL if absent
bool value_equal(Elab *e, Value a, Value b);
Sym value_plain_text(Value v);            // a text without options, else NULL
const char *value_show(Elab *e, Value v); // "64", "40 epochs", "f32[64, 10]", "{ x: ..., y: ... }"
const char *value_what(Elab *e,
                       Value v); // for messages: "an int", "a duration", "a tensor f32[64, 10]"
bool value_is_static(Value v);   // no tensor anywhere in it

// ---- env.c: names ------------------------------------------------------------------------------

Env *env_new(Elab *e, Env *parent,
             uint32_t file); // file: whose declarations are seen outside the frames
void env_bind(Elab *e, Env *env, Sym name, Value value); // replaces in this frame
Value *env_find(Env *env, Sym name); // in this frame or the enclosing ones, NULL if absent
// The declaration that `name` means in `file`, NULL if none. Wired to sema.
Node *elab_lookup(Elab *e, uint32_t file, Sym name);
// A function of the standard library: what std code may call without `use`. NULL if there is none.
Node *elab_std_function(Elab *e, const char *name);
Node *elab_grad_rule(Elab *e,
                     Sym name); // grad NAME(...), of the user or of the library; NULL if none

// ---- the context -------------------------------------------------------------------------------

typedef struct OptionEntry { // one `option` of the program, in order of declaration
    Node *node;
    aml_option_type type;
    Value value; // the default
    DType dtype; // how a trace reads it
} OptionEntry;

// The rows of a job's state table. A cell gets its row when it is first registered or touched by a
// trace.
typedef struct StateTable {
    CellList cell;
} StateTable;

typedef struct Composite { // a function with its own gradient, traced for certain types and static
                           // arguments
    Node *fn, *grad;
    IrFunction *callee;
    int args;   // as many as fn has parameters
    Value *arg; // tensors: of the callee's own parameters; static arguments as they are
    int *input; // for each: the position among the call's inputs, -1: static
    Vec(aml_scalar_info) scalar; // run-time scalars that the callee reads: its last inputs
    bool training, calm;         // when it was traced
    DType real, mixed;           // of the job that it was traced for
    int results;                 // > 1: a tuple; then the call is MULTI
    Value result;                // in terms of the callee's values: shape of the tuple, classes
} Composite;

struct Elab {
    Cx *cx;
    Unit *unit;
    IrModule *module;
    Trace *trace;      // the function being traced, NULL: only static values may be made
    StateTable *table; // the job's; set it before tracing anything that has states
    bool training;     // what `training` means
    bool calm;         // a training in which nothing is dropped
    bool averaged;     // weights are read as their averages, where they have one
    DType real;        // the precision of the job: what `float` means; DTYPE_F32 unless set
    DType mixed; // of the job: what operands of contractions are rounded to; F32: they are not
    Vec(OptionEntry) option;
    Vec(Composite *) composite;
    Vec(Sym) used_define;
    Span user; // the user's outermost relevant place while inside the standard library, else file 0
    Span returned;           // the expression that the last function gave back
    Span call_site;          // of the innermost call in progress: where error() reports
    bool strict;             // inside the body of a loss or a metric, which never broadcast
    int branching;           // inside a branch of `if` on a tensor
    int branch_depth;        // call_depth of that branch
    bool dead;               // the branch ended in error(): it is taken to be never chosen
    int next_site;           // of `random`
    int open_repeats;        // of which it is not decided yet whether they are loops
    Fitting *fitting;        // while prepare of a data set is traced: its statistics (fit.h)
    const struct Pin *pin;   // the turns of repeats that are meant outside of their loops
    int call_depth, depth;   // of AML calls, of nested expressions
    int64_t steps;           // evaluated so far; a program that never ends is refused
    bool gave_up;            // a limit was reached: everything is poison from here on, silently
    struct ElabNames *names; // interned words and the caches of env.c
    // `digits.classes`, `digits_mlp.best`: set by job.c; NULL gives VALUE_JOB with `part`. Reports
    // and returns poison if it cannot.
    Value (*job_member)(Elab *e, Node *job, Sym part, Span span);
    const struct Rounding *rounding; // of the job; NULL: values are not rounded
    int rounding_calls;              // of models, in progress
    int rounded_layers;              // found by the last of them
    int visit;                       // of the walk in progress, see elab_cells
    void *job_data;                  // job.c's own
};

Elab *elab_new(Cx *cx, Unit *unit, IrModule *module);
// Evaluates every const and option of the main file, applies -D, reports unknown -D. Called once
// after elab_new.
void elab_globals(Elab *e);
void elab_check_unused(
    Elab *e); // check.c: tries out the user's models and functions that nothing has used so far
int elab_option(Elab *e, Node *option); // index of an Option node in e->option

// ---- eval.c: expressions and statements --------------------------------------------------------

Value elab_eval(Elab *e, Env *env, Node *node);
// The same where `type` (may be NULL) says what is expected: an enumeration makes a bare word a
// symbol; the value is checked against the type and converted (an int to a float, a fraction to a
// number). `what` names it in messages.
Value elab_eval_as(Elab *e, Env *env, Node *node, Node *type, const char *what);
// Value of a global declaration (Const, Option, Fn, Model, Job, ...), cached.
Value elab_declaration(Elab *e, Node *declaration);
Span elab_span(Elab *e, Span span); // where an instruction made at `span` belongs: the user's line

// ---- call.c: calls -----------------------------------------------------------------------------

// Calls a function, an instance (its forward), a declaration (makes an instance) or a type
// (converts). names may be NULL; names[i] NULL: positional.
Value elab_call(Elab *e, Value fn, const Value args[], const Sym names[], int count, Span span);
// A function of an instance: metric.update, optimizer.update, model.forward. Poison after a report
// if there is none.
Value elab_call_method(Elab *e, Instance *self, const char *method, const Value args[],
                       const Sym names[], int count, Span span);
bool elab_has_method(Elab *e, Instance *self, const char *method);
// Runs the body of `grad NAME(params) {...}` with exactly its parameters bound, in order. For
// gradient.c.
Value elab_call_grad(Elab *e, Node *grad, const Value args[], int count, Span span);
Composite *elab_composite(Elab *e, const IrFunction *callee); // NULL if it is not one

// ---- match.c: type annotations -----------------------------------------------------------------

// A size: bound at its first use in a call, or inferred once for an instance.
struct Dim {
    Sym name;
    bool known;
    int64_t value;
    Span declared;             // the parameter or the annotation that introduces it
    Span bound;                // where its value came from
    const struct Origin *from; // what had that size; NULL: not known
    int uses;
};

// What a message is about, put into words when there is one, since most is never talked of:
// {"argument '", x, "' of ", &{"'", relu, "'"}} is "argument 'x' of 'relu'". Any part may be NULL.
typedef struct Subject {
    const char *before;
    Sym name;
    const char *after;
    const struct Subject *of;
} Subject;
const char *subject_text(Elab *e, const Subject *what);

// Checks `value` against the annotation, binding the dimension names that are new into `env`, and
// converts it where the annotation says so. Reports at `span` and returns false if it does not fit.
bool elab_match(Elab *e, Env *env, Node *type, Value *value, const Subject *what, Span span);
// The type an annotation stands for, all its sizes known: for fields of data sets and for weights.
// False after a report.
bool elab_type(Elab *e, Env *env, Node *type, TypeValue *out);

// ---- tensor.c: tensors -------------------------------------------------------------------------

// The tensor a value stands for in the current trace: a tensor, a number (a scalar constant of
// `dtype`), a bool, an option, a mean. NULL after a report.
Inst *elab_tensor(Elab *e, Value value, DType dtype, Span span);
// The same; messages speak of `what`.
Inst *elab_tensor_for(Elab *e, const char *what, Value value, DType dtype, Span span);
// The same for loss values: a float scalar of the job's precision.
Inst *elab_scalar_tensor(Elab *e, Value value, Span span);
// Brings both to one shape: a lower-rank operand is repeated over leading axes, a size-1 axis is
// stretched; both at once is an error. False after a report. `what` names the operation: "'+'".
bool elab_broadcast(Elab *e, Inst **a, Inst **b, const char *what, Span span);
Inst *elab_broadcast_to(Elab *e, Inst *a, Type type, const char *what,
                        Span span); // NULL after a report; keeps a's dtype
// False after a report: a tensor of this type cannot be.
bool elab_possible(Elab *e, Type type, Span span);
Inst *elab_full(Elab *e, DType dtype, int rank, const int64_t dim[], double value, Span span);
Value elab_binary(Elab *e, Oper op, Value a, Value b, Span span); // any operator but |> and ..
Value elab_unary(Elab *e, Oper op, Value a, Span span);
Inst *elab_matmul(Elab *e, Inst *a, Inst *b, Span span); // NULL after a report
Value elab_index(Elab *e, Value object, const Value items[], int count,
                 Span span); // ints, ranges, VALUE_REST, tensors (gather)
bool elab_axis(Elab *e, Value axis, int rank, int *out,
               Span span); // an axis, counted from the end if negative
bool elab_shape(Elab *e, Value list, int *rank, int64_t dim[], Span span); // a static list of sizes

// ---- instance.c: models, metrics, optimizers ---------------------------------------------------

// A weight or a state.
struct Cell {
    Instance *owner;
    Node *node; // Weight or State
    Sym name;
    aml_role role;
    bool absent;    // its initializer is `none`: it does not exist
    bool trainable; // a weight that is not frozen
    bool resolved;  // `type` is known
    Type type;
    int64_t classes;
    Cell *of;      // an optimizer's state: the weight it belongs to
    Cell *average; // its average over the steps, kept for evaluation; NULL: there is none
    Cell *mask;    // which of its elements are not zero, while it is pruned; NULL: it is not
    Cell *source;  // such an average: what it is the average of
    Cell *tied;    // it is another one, see tie; NULL: it is itself
    bool turned;   // ... whose two axes are exchanged
    Span tied_at;
    StateTable *table;
    int row; // in `table`
    int visit;
    bool has_initial; // `initial` is known
    Value
        *initial; // what its initializer is worth; NULL: it has to be traced again in each function
};

struct Instance {
    Node *declaration; // Model, Metric or Optimizer; NULL: a container made by sequence or repeat
    Env *env;          // its parameters and static members; parent: the declarations of its file
    Instance *parent;
    Sym name;         // member name in the parent, "0" in a container, "#" of a repeated part
    Span span;        // where it was made
    Map member;       // name -> Value *: weights and states as VALUE_CELL, others as they are;
                      // declaration order
    ValueList part;   // of a container
    bool repeats;     // made by repeat
    int turns;        // of a repeat that is one loop: how often its one part runs; else 0
    bool settled;     // of a repeat: whether it is a loop was decided
    Instance *of;     // body[2]: one turn of the repeat `of`, or something inside it
    int at;           // which
    Instance *inside; // what is meant of it: a model inside the repeated part
    Instance *around; // of a repeat inside a repeat: the turn of the outer one
    DimList unknown;  // sizes to be inferred
    bool frozen;
    ValueList frozen_only;          // patterns of paths: only these weights are frozen
    Vec(struct WeightsFile *) file; // files that its weights are read from
    const TreeValue *weights;       // a model with other weights than its own; NULL: its own
    Vec(Instance *) for_weight;     // an optimizer: its copies, one for each weight
    Cell *weight;                   // such a copy: its weight
    int visit;
};

// Makes an instance from a declaration and arguments; poison after a report.
Value elab_instance_new(Elab *e, Node *declaration, const Value args[], const Sym names[],
                        int count, Span span);
// Gives an instance without a parent its place: the root of a job's model has parent NULL and name
// NULL. A list's instances become name.0, name.1.
void elab_instance_name(Elab *e, Value value, Instance *parent, Sym name);
Sym elab_cell_path(Elab *e,
                   const Cell *cell); // body.0.att.qkv.weight; an optimizer's: fc1.weight.m
// All cells below `value` (an instance, or a list or record of them) in declaration order, each
// once. Absent ones are left out.
void elab_cells(Elab *e, Value value, CellList *out);
bool elab_cell_resolve(Elab *e, Cell *cell,
                       Span use); // its type; false after a report if a size is not known
// Reports every size below `value` that stayed unknown, at its declaration. True if all are known.
bool elab_check_inferred(Elab *e, Value value);
int elab_state_row(Elab *e, Cell *cell); // in e->table; registers the cell
// The cell's initial value as a tensor of its type, in the current trace. An optimizer's states may
// depend on the weight: make the weights' initial values first.
Inst *elab_cell_initial(Elab *e, Cell *cell);
Inst *elab_cell_read(Elab *e, Cell *cell,
                     Span span); // its current value in the current trace; NULL after a report
bool elab_cell_write(Elab *e, Cell *cell, Value value, Span span);
bool elab_assign_tree(Elab *e, Value tree, Span span); // every cell of the tree takes its tensor

// One optimizer step: for every trainable weight of `model`, its new value. `step` may be none: the
// step counter as float. The optimizer's own states are made when a weight is first seen and are
// updated in the trace.
Value elab_optimizer_apply(Elab *e, Instance *optimizer, Value model, Value gradients, Value step,
                           Span span);
Instance *elab_optimizer_for(Elab *e, Instance *optimizer,
                             Cell *weight); // the copy that holds the weight's states
// What an optimizer, or one that it is made of, says about all weights of a model before it is
// used: `check(paths)` may report, `trains(path)` false freezes a weight. False after a report.
bool elab_optimizer_prepare(Elab *e, Instance *optimizer, Value model, Span span);

// ---- load.c: weights from files

typedef struct FileRule { // model path, name in the file (both may have `*`), how axes are
                          // exchanged
    Sym model, file;
    IntList axes;
} FileRule;

// load(m, "x.safetensors", ...)
typedef struct WeightsFile {
    Value path; // a text
    Sym below;  // the path of m; NULL: the whole model
    Vec(FileRule) rule;
    Vec(Sym) missing, unused;
    Span span;
} WeightsFile;
typedef Vec(WeightsFile *) WeightsFileList;
void elab_weights_files(Elab *e, Value model,
                        WeightsFileList *out); // all that were given to `load`

// ---- average.c: averages of weights over the steps, in place of the weights in evaluation

// Every weight of `model` that is learned, and every state, gets an average.
void elab_average_make(Elab *e, Value model);
// One step: average <- rule(average, value, step), all in the current trace. False after a report.
bool elab_average_update(Elab *e, Value model, Value rule, Span span);

// ---- rounded.c: `quantize` of a training

typedef struct Rounding {
    Span span;                  // file 0: not asked for
    int bits;                   // of weights: 8 or 4
    bool keep_first, keep_last; // layers that stay float
    bool learned;               // gradients change the ranges
} Rounding;
// Around the call of a model where e->rounding is set; the result may be poison after a report.
Inst *rounded_call_begin(Elab *e);
Value rounded_call_end(Elab *e, Inst *before, Value result, Span span);

// ---- trace.c: the function being traced --------------------------------------------------------

typedef struct CellUse {
    Cell *cell;
    Inst *param; // its value at the start; NULL: written before it was read
    Inst *current;
    bool written;
    int stacked;   // a region that cuts the cell's stack: which of its stacked results it is
    bool replaced; // by a model with other weights, for the time of a call
} CellUse;

struct Trace {
    IrFunction *fn;
    Trace *outer;
    Region *region; // the body of a loop of `outer`, else NULL
    Vec(CellUse) use;
    Vec(aml_scalar_info) scalar; // SLOT_SCALAR parameters, in order
    Vec(Inst *) scalar_inst;
    int inputs, outputs; // SLOT_INPUT, SLOT_OUTPUT used so far
    bool callee;         // of a composite: scalars become plain parameters
    bool first_step;     // set it for `init`: the step counter is the constant 0
    bool scratch;        // made only to learn a type
    bool per_sample;     // random numbers are keyed by the sample instead of the step
    Sym balanced;        // the target, whose classes class_balance() weighs; NULL: none
    int64_t balanced_classes;
    Inst *balance;            // what that gave: an input behind the others, NAME.balance
    int errors, branching;    // of the Elab when it began
    const Instance *turns_of; // it is a turn of this repeat: weights of its part are slices
    const Cell *each;         // it is a turn over the stack of this weight
};

// How often a cell is stacked, and the repeats that do it, outermost first.
typedef struct CellStack {
    int count;
    Instance *repeat[IR_MAX_RANK];
} CellStack;
CellStack elab_cell_stack(const Cell *cell);
// The type of its row in the state table: with the turns in front.
Type elab_cell_type(const Cell *cell);
// Its value in the current trace with all turns that the trace is not itself one of; what an
// optimizer or a gradient is about. NULL after a report.
Inst *elab_cell_whole(Elab *e, Cell *cell, Span span);

// Starts tracing a new function of the module; the one traced before waits. elab_trace_end binds
// every written state as a result, verifies the function and gives it back; NULL if an error was
// reported since the beginning.
Trace *elab_trace_begin(Elab *e, Sym name, Span span);
IrFunction *elab_trace_end(Elab *e, Trace *trace);
Value elab_trace_input(Elab *e, Type type, int64_t classes, Sym name,
                       Span span);                     // the next SLOT_INPUT
int elab_trace_output(Elab *e, Inst *value, Sym name); // the next SLOT_OUTPUT; its position
// Every state that was written so far takes its old value where `keep` (bool[]) holds.
bool elab_keep_states(Elab *e, Inst *keep, Span span);
Inst *elab_scalar(Elab *e, aml_scalar_kind kind, int option, DType dtype,
                  Span span); // made at its first use

// ---- region.c: the part of a trace that becomes a loop ----------------------------------------
//
//     Trace *loop = elab_region_begin(e, count, span);
//     Inst *h = elab_region_carry(e, start), *x = elab_region_slice(e, xs);
//     ... whatever is traced now is the body; values of the enclosing traces may be used ...
//     elab_region_next(e, h, next);
//     int ys = elab_region_stack(e, y);
//     if (elab_region_close(e, loop, true) && elab_region_emit(e, loop))
//         ... elab_region_after(e, loop, h), elab_region_stacked(loop, ys) ...

typedef enum { REGION_CARRIED, REGION_SLICED, REGION_REST } RegionKind;

typedef struct RegionInput {
    RegionKind kind;
    Inst *outside, *inside; // the operand of the loop, the parameter of the body
    Inst *next;             // CARRIED: what it is after a turn
    Inst *after;            // CARRIED: after the loop, once it is emitted
    bool used;              // known when the region is closed; others are left out
} RegionInput;

struct Region {
    int64_t count; // turns
    bool reverse;  // the last turn runs first
    Inst *turn;
    Inst *guard; // a bool[] among the inputs: false leaves out the turn; may be NULL
    Vec(RegionInput) input;
    Vec(Inst *) stacked;
    Inst **result;       // of the loop, once it is emitted
    Inst *whole_turn;    // counted through the enclosing loops; made when needed
    PointerMap captured; // Inst * of an enclosing trace -> Inst * of the body
};

// Starts tracing the body of a loop of the function being traced.
Trace *elab_region_begin(Elab *e, int64_t count, Span span);
// The body's value for a carried one that begins as `start`, for one slice a turn of `whole` (whose
// first axis has `count` elements). Both are values of enclosing traces.
Inst *elab_region_carry(Elab *e, Inst *start);
Inst *elab_region_slice(Elab *e, Inst *whole);
void elab_region_next(Elab *e, Inst *carried, Inst *next); // of the same type
int elab_region_stack(Elab *e, Inst *value);               // one result a turn; its number
void elab_region_guard(Elab *e, Inst *guard);              // an input of the region
// A value of any enclosing trace as one of the trace; a value of another function is given back as
// it is.
Inst *elab_capture(Elab *e, Inst *inst);
// Ends the tracing; the parameters of the body are brought into order. False if it is not complete
// or an error was reported meanwhile: then there is no loop.
bool elab_region_close(Elab *e, Trace *trace, bool complete);
// Makes the loop in the trace that the region was begun in. False after a report: a stack of
// results is too large. A region without carried values and results makes none.
bool elab_region_emit(Elab *e, Trace *trace);
Inst *elab_region_after(Elab *e, const Trace *trace, const Inst *carried);
Inst *elab_region_stacked(const Trace *trace, int index);
// The key of random numbers for a step counter: another one in every turn of the enclosing loops.
Inst *elab_draw_key(Elab *e, Inst *step, Span span);

// ---- gradient.c (reverse mode) -----------------------------------------------------------------

// Adjoints of `loss` (a float scalar) with respect to wrt[i], appended to the trace; wrt that do
// not reach the loss get zeros. False after a report.
bool gradient_of(Elab *e, Inst *loss, Inst *const wrt[], int count, Inst *out[], Span span);

// ---- builtins: rows of builtins.def ------------------------------------------------------------

typedef Value BuiltinRun(Elab *e, const Value arg[],
                         Span span); // arg[]: one for each parameter, defaults filled in
typedef struct Builtin {
    const char *name;
    const char *params; // their names, with blanks between: must be what stdlib/ops.aml declares
    BuiltinRun *run;
    const char *meaning;
} Builtin;
extern const Builtin builtins[];
extern const int builtin_count;

#endif
