// internal.h: what the files of elab/ share and nobody else needs.

#ifndef AML_ELAB_INTERNAL_H
#define AML_ELAB_INTERNAL_H

#include "elab/elab.h"

enum {
    MOST_CALL_DEPTH = 120, // of AML function calls
    MOST_DEPTH = 1200,     // of nested expressions, over all calls
    MOST_TEXT = 1 << 20,   // bytes of one text
    MOST_LIST = 1 << 20,   // elements of one list
};
#define MOST_STEPS 4000000

// ---- env.c

// Names defined at one place: parameters and sizes of a call, a `let`, the variable of a loop.
typedef struct Frame {
    int count, capacity;
    Sym *name;
    Value *value;
} Frame;

struct Env {
    Env *parent;
    uint32_t file;
    Frame *frame;   // may be shared: parameters of an instance
    Instance *self; // its members and functions are visible from here on, after `frame`
};

void *pointer_map_get(const PointerMap *map, const void *key);
void pointer_map_put(Arena *arena, PointerMap *map, const void *key, void *value);

struct ElabNames {
    Sym self, training, dropout_active, total_steps, epoch_steps, forward, weight, param, path,
        start, stop, step, rows, underscore;
    PointerMap declaration; // Node * -> Value * (being evaluated: poison with `busy`)
    PointerMap busy;        // Node * -> itself while its value is being computed
    PointerMap builtin;     // Node * (a Fn without body) -> const Builtin *
    PointerMap called;      // Node * of every function that was called, every model that was made
    const char *quoted[OPER_COUNT]; // "'+'": what messages call an operation
    PointerMap types;               // Node * (Type) -> const TypeName *, looked up once
    Map builtin_node;               // name -> Node * made for a builtin that is not declared
    Map grad;                       // name -> Node *, the gradient rules
    bool grads_known;
};

Env *env_self(Elab *e, Env *parent, Instance *self);
void env_reserve(Elab *e, Env *env, int names); // that will be bound, if it has none yet
Env *env_shared(Elab *e, Env *parent, Frame *frame);
const char *env_closest(Elab *e, Env *env, Sym name); // what was probably meant, or NULL
const Builtin *elab_builtin(Elab *e, Node *fn);       // of a Fn without a body; NULL after a report
Node *elab_builtin_node(Elab *e,
                        Sym name); // a Fn node for a builtin, NULL if there is none of that name

// ---- eval.c
bool elab_tick(Elab *e, Span span,
               int64_t amount); // counts static work; false once the limit is reached
Value elab_expect(Elab *e, Env *env, Node *node,
                  Node *type); // bare words of the type's enumerations become symbols
Value elab_name(Elab *e, Env *env, Sym name, Span span); // a weight or state is given as VALUE_CELL
Value elab_read(Elab *e, Value value,
                Span span); // cells, options and delayed expressions become tensors in a trace
Value elab_member(Elab *e, Value object, Sym name, Span span);
bool elab_truth(Elab *e, Value value, bool *truth,
                Span span); // a static condition; false after a report
bool elab_items(Elab *e, Value value, ValueList *out, const char *what,
                Span span); // a list, tuple, range (as a list)
bool elab_int(Elab *e, Value value, int64_t *out, const char *what, Span span);

// ---- statement.c
Value elab_body(Elab *e, Env *env, Node *body, bool *returned);
Value elab_select(Elab *e, Inst *condition, Value a, Value b, Span span);
// A branch of `if` on a tensor: an error("...") that stands in it means that it must not happen
// when the program runs, which cannot be checked when compiling, so the other branch is what
// remains.
typedef struct Branch {
    int depth;
    bool dead;
} Branch;
Branch branch_begin(Elab *e);
bool branch_end(Elab *e, Branch before);                   // whether it ended in error()
Inst *elab_condition(Elab *e, Value condition, Span span); // a bool tensor; NULL after a report

// ---- call.c
// `arg_span` may be NULL. Named and positional arguments already evaluated.
Value elab_call_at(Elab *e, Value fn, const Value args[], const Sym names[], const Span arg_span[],
                   int count, Span span);
const NodeList *
elab_parameters(Elab *e, Value fn); // of what can be called; NULL if it has none that are known
// The callee has no parameter of this name.
void elab_unknown_argument(Elab *e, Value callee, Sym name, const NodeList *params, Span span);
bool elab_bind(Elab *e, Env *env, const NodeList *params, const Value args[], const Sym names[],
               const Span arg_span[], int count, const Subject *what, DimList *unknown, Span span);
const char *elab_callee_text(Elab *e, Value fn); // "'relu'", "model 'Dense'"

// ---- builtin_tree.c
// What the trace knew of the weights that a model with other weights replaces.
typedef struct Replaced {
    const TreeValue *tree; // NULL: none
    Inst **current;
    bool *replaced;
} Replaced;
// While an instance with weights of its own (see with_weights) is called, they are the current
// ones.
Replaced elab_replace_begin(Elab *e, const Instance *instance);
void elab_replace_end(Elab *e, const Replaced *saved);
Value elab_reweighted_member(Elab *e, const Instance *instance, Value member);
Value elab_model_op(Elab *e, Oper op, Value a, Value b, Span span); // m - tree, tree + m
bool elab_path_matches(const char *pattern, const char *path);      // "body.*" and body.0.weight
// ---- trace.c
CellUse *elab_cell_use(Elab *e, Cell *cell); // made if the trace has none

// ---- load.c
Inst *elab_cell_tied(Elab *e, Cell *cell, Span span); // the value of the weight that it is
bool elab_is_frozen(Elab *e, const Cell *cell);       // by a pattern given to freeze

// ---- average.c
bool elab_is_averaged(Elab *e, Cell *cell, Span span); // it is a float

// ---- match.c
bool elab_is_symbol_of(Elab *e, Node *type, Sym word);     // a bare word of this enumeration
const char *elab_type_text(Elab *e, Env *env, Node *type); // as written, known sizes filled in
bool elab_element_type(
    Elab *e, Sym name,
    TypeValue *out); // f32, float, bool, ...: also things like `string`; false if it is no type
Value elab_type_value(Elab *e, const TypeValue *type);
// Where the size of a dimension came from: "argument 'x' of 'relu' is f32[64, 10]".
typedef struct Origin {
    Subject what, of;
    Type type;
} Origin;
bool dim_set(Elab *e, Dim *dim, int64_t value, Span bound, const Subject *what, const Type *type);
Dim *dim_new(Elab *e, Sym name, Span declared);

// ---- region.c
// The step counter where it is the key of random numbers: in a loop it holds the turn, too. A kind
// of scalar that only a function with its own gradient has; its callers give it theirs.
#define SCALAR_DRAW ((aml_scalar_kind)100)
Inst *region_scalar(Elab *e, aml_scalar_kind kind, int option, DType dtype,
                    Span span); // elab_scalar inside a region
Type region_stacked_type(Type type, int64_t count);
// A slice of something that is known only later: the input's `outside` is to be set before the loop
// is emitted, if the region reads the slice.
Inst *region_later(Elab *e, Type type);
// One more parameter of the body.
Inst *region_add(Elab *e, Trace *trace, RegionKind kind, Inst *outside, Type type);
RegionInput *region_input(const Region *region, const Inst *inside); // NULL: not one of its inputs

// ---- gradient.c, gradient_loop.c
// Adjoints of wrt[i] for the adjoints of several values; NULL where nothing depends on wrt[i].
bool gradient_seeded(Elab *e, Inst *const value[], Inst *const adjoint[], int seeds,
                     Inst *const wrt[], int count, Inst *out[]);
// Adjoints of a loop's inputs that are wanted, from those of its results (NULL: zeros). The loop
// stacks what its gradient needs from now on.
bool gradient_of_loop(Elab *e, Inst *loop, Inst *const adjoint[], const bool wanted[], Inst *out[]);

// ---- lint.c
void elab_lint_signature(Elab *e, const NodeList *params, Node *result, Node *body);

// ---- tensor.c
// Appends after asking the shape rule; NULL after a report. Every instruction of the elaborator is
// made here.
Inst *elab_emit(Elab *e, Op op, Inst *const in[], int inputs, const Attr attr[], Type given,
                const char *what, Span span);
// Reports that a tensor of another function is used; poison.
Value elab_foreign(Elab *e, const Inst *inst, const char *what, Span span);
Inst *elab_cast(Elab *e, Inst *a, DType dtype, Span span);
bool elab_is_runtime(Value v); // a tensor, or a number known only when the program runs
// Two values to two tensors of one type and shape.
bool elab_pair(Elab *e, Value a, Value b, Inst **x, Inst **y, bool broadcast, const char *what,
               Span span);
Value elab_convert(Elab *e, Value value, const TypeValue *type, Span span); // f32(x)
Value elab_number_op(Elab *e, Oper op, Value a, Value b, Span span);

// ---- batch.c
// Emits a closed region; without a loop if it can be.
bool region_batch(Elab *e, Trace *trace);
// body(...) for each turn of the repeats that `cell` is in, given each one of whole[], which are
// stacks like the cell's; what it gives, stacked. Optimizers, averages and initial values thereby
// see the weight of one layer. NULL after a report.
typedef Inst *EachBody(Elab *e, Inst *const one[], void *data);
Inst *elab_on_each(Elab *e, Cell *cell, Inst *const whole[], int count, EachBody *body, void *data,
                   Span span);

// ---- trace.c
// Weights and states written in a region: they are stacked or carried; and, after the loop, the
// values of the trace around.
// How many of its repeats the trace knows the turn of.
int cell_level(const Trace *trace, const Cell *cell, const CellStack *stack);
void region_cells_close(Elab *e, Trace *trace);
bool region_cells_store(Elab *e, Trace *trace);
Inst *cell_current(Elab *e, const Cell *cell); // NULL if no enclosing trace has used it
bool elab_assign_whole(Elab *e, Cell *cell, Inst *whole, Span span);

// ---- repeat.c
// One turn of a repeat that is meant outside of its loop: body[2](x).
typedef struct Pin {
    const Instance *repeat;
    int64_t at;
    const struct Pin *above;
} Pin;
Value repeat_make(Elab *e, int64_t count, Instance *part, Span span);
Value repeat_call(Elab *e, Instance *self, const Value args[], const Sym names[], int count,
                  Span span);
Value repeat_part(Elab *e, Instance *self, int64_t at, Span span);
Value repeat_part_member(Elab *e, Instance *view, Sym name, Span span);
Value repeat_part_call(Elab *e, Instance *view, const Value args[], const Sym names[], int count,
                       Span span);
Instance *repeat_clone(Elab *e, Instance *from);
void repeat_settle(Elab *e, Instance *self); // it is a loop, unless it was decided otherwise

// ---- instance.c
Value elab_instance_make(Elab *e, Node *declaration, const Value args[], const Sym names[],
                         const Span arg_span[], int count, Span span);
Value instance_member(Elab *e, Instance *self, Sym name); // VALUE_HOLE if there is none
Node *instance_function(const Instance *self, Sym name);
Sym instance_path(Elab *e, const Instance *instance);
Value elab_container_call(Elab *e, Instance *self, Value x, Span span);
Instance *instance_clone(Elab *e,
                         Instance *from); // the same declaration and arguments, weights of its own
bool elab_is_assignable(Value v);

#endif
