// ir/: the intermediate representation: SSA over tensors with constant shapes.
//
// A module is a list of functions. A function is a list of instructions in an order in which every
// value is defined before it is used; there are no branches. `loop`, `fused` and `call` refer to
// other functions: a loop's and a fused body is nested (owned by the instruction and printed inside
// it), a callee is a function of the module. State (weights, optimizer moments, running statistics,
// metric counts) is not a side effect: a function takes the old value as a parameter and returns
// the new one as a result bound to the same slot; `plan` gives both one buffer.

#ifndef AML_IR_H
#define AML_IR_H

#include "base/base.h"
#include "kernel.h" // DType, Type, Op, Reducer, Attr: what kernels know too

enum OpTrait { PURE = 1, POINTWISE = 2, COMMUTES = 4, LEAF = 8, MULTI = 16, CONTRACTS = 32 };

typedef enum {
    ATTR_Axes,
    ATTR_Shape,
    ATTR_Int,
    ATTR_Real,
    ATTR_Reducer,
    ATTR_Body,
    ATTR_Callee,
    ATTR_Data,
    ATTR_Site,
    ATTR_Flag
} AttrKind;
typedef struct IrFunction IrFunction;
typedef struct Inst Inst;

typedef struct AttrInfo {
    AttrKind kind;
    const char *name;
} AttrInfo;

typedef struct OpInfo {
    const char *name;
    int inputs; // -1: any number
    int attrs;
    AttrInfo attr[IR_MAX_ATTRS];
    unsigned traits;
    const char *meaning;
} OpInfo;
extern const OpInfo op_info[OP_COUNT];

struct Inst {
    Op op;
    int id;   // unique in the outermost function; %id in the text
    int uses; // how many inputs and results read it
    int inputs;
    Inst **input;
    Attr attr[IR_MAX_ATTRS]; // in the order of ops.def
    Type type;               // of the first result
    int results;             // 1 unless MULTI
    const Type *result_type; // all results if results != 1, else NULL
    Span span;               // the user's source
    Sym name;                // a weight's path, a parameter's name; only for people, may be NULL
    Inst *prev, *next;
    IrFunction *function;
    int64_t mark; // scratch for the running pass, meaningless outside it
    void *note;   // the same
};

// The count of a loop that only its guard ends.
#define LOOP_NO_LIMIT (INT64_C(1) << 40)

// What a parameter or a result of a module function is bound to.
typedef enum { SLOT_VALUE, SLOT_STATE, SLOT_INPUT, SLOT_SCALAR, SLOT_OUTPUT, SLOT_ROWS } SlotKind;
typedef struct Slot {
    SlotKind kind; // VALUE: a callee's or body's own; INPUT/OUTPUT: batch buffer; SCALAR: rank 0;
                   // ROWS: an INPUT of which a table of its rows' addresses is given
    int index; // STATE: row of the program's state table; INPUT/OUTPUT/SCALAR: position among its
               // kind
} Slot;

typedef struct IrResult {
    Inst *value;
    Slot slot;
    Sym name;
} IrResult;

struct IrFunction {
    Cx *cx;
    Sym name; // NULL for a nested body
    Span span;
    Vec(Inst *) param; // OP_parameter; not in the instruction list
    Vec(Slot) param_slot;
    Inst *first, *last;
    Vec(IrResult) result;
    IrFunction *parent; // of a nested body: the function that holds the instruction
    DType mixed;        // BF16, F16: operands of CONTRACTS ops on f32 mean those rounded to it, see
                        // precision.c; F32: as they are
    int64_t memory, budget; // what its job may need, and what of it is left for temporaries, in
                            // bytes; memory 0: no limit
    Span memory_span;       // where that is asked for
    bool scattered;         // its inputs are batches, whose rows its caller can give where they lie
    Op kernel; // of a function of the library that `inline` makes an instruction of, with these
               // attributes, where its types fit; OP_parameter: none
    Attr kernel_attr[2];
    int next_id;
};

typedef struct IrModule {
    Cx *cx;
    Vec(IrFunction *) function;
} IrModule;

// ---- type.c
Type type_make(DType dtype, int rank, const int64_t dim[]);
Type type_scalar(DType dtype);
bool type_equal(Type a, Type b);
bool shape_equal(Type a, Type b);
bool type_valid(Type type);                      // sizes of at least 1, less than 2^40 elements
const char *type_text(Arena *arena, Type type);  // f32[2, 3]
const char *shape_text(Arena *arena, Type type); // [2, 3]

// ---- shape.c: one rule per row of ops.def. Fills `out` (capacity `room`) and returns the number
// of results, or returns -1 and sets *why to a sentence in arena.
int op_result_types(Arena *arena, Op op, Inst *const in[], int inputs, const Attr attr[],
                    Type given, Type out[], int room, const char **why);

// ---- build.c: making and changing functions. An ill-formed instruction is a bug() (the front end
// checks first).
IrModule *ir_module_new(Cx *cx);
IrFunction *ir_function_new(Cx *cx, IrModule *module, Sym name,
                            Span span); // module NULL: a nested body
IrFunction *ir_function_find(const IrModule *module, Sym name);
Inst *ir_param(IrFunction *fn, Type type, Slot slot, Sym name, Span span);
void ir_result(IrFunction *fn, Inst *value, Slot slot, Sym name);
Inst *ir_append(IrFunction *fn, Op op, Inst *const in[], int inputs, const Attr attr[], Type given,
                Span span);
Inst *ir_insert_before(Inst *place, Op op, Inst *const in[], int inputs, const Attr attr[],
                       Type given, Span span);
void ir_remove(IrFunction *fn, Inst *inst); // inst must have no uses
void ir_move_last(IrFunction *fn, Inst *inst);
// Also in results; not inside nested bodies, which see only their parameters.
void ir_replace_uses(IrFunction *fn, Inst *from, Inst *to);
void ir_set_input(Inst *inst, int index, Inst *to);
// After a change of its body; not of the `get` that takes it.
void ir_set_result_type(Inst *inst, int result, Type type);
Inst *ir_clone_into(IrFunction *fn, const Inst *inst,
                    Inst *const in[]); // same op, attributes, type, span
Inst *ir_clone_before(Inst *place, const Inst *inst, Inst *const in[]); // in place's function
// Gives a loop another body: the same parameters, the same results and perhaps more stacked ones
// after them. Gives back the loop; where it had one result and has several now, that is another
// instruction, and `loop` has become the `get` of its first result.
Inst *ir_loop_set_body(Inst *loop, IrFunction *body);
IrFunction *ir_clone_function(IrFunction *fn, IrModule *into, Sym name);
void ir_drop_param(IrFunction *fn, int index); // nothing may read it
void ir_drop_dead(IrFunction *fn);             // every instruction that nothing reads

// Shorthands over ir_append.
Inst *ir_unary(IrFunction *fn, Op op, Inst *a, Span span);
Inst *ir_binary(IrFunction *fn, Op op, Inst *a, Inst *b, Span span);
Inst *ir_constant(IrFunction *fn, Type type, const void *elements, bool splat, Span span);
Inst *ir_real(IrFunction *fn, Type type, double value,
              Span span); // every element is `value`, rounded to the dtype
Inst *ir_cast(IrFunction *fn, Inst *a, DType dtype, Span span);
Inst *ir_broadcast(IrFunction *fn, Inst *a, Type type, IntList axes, Span span);
Inst *ir_reshape(IrFunction *fn, Inst *a, Type type, Span span);
Inst *ir_transpose(IrFunction *fn, Inst *a, IntList permutation, Span span);
Inst *ir_reduce(IrFunction *fn, Inst *a, Reducer with, IntList axes, Span span);
Inst *ir_dot(IrFunction *fn, Inst *a, Inst *b, IntList contract_a, IntList contract_b,
             IntList batch_a, IntList batch_b, Span span);
Inst *ir_get(IrFunction *fn, Inst *multi, int index, Span span);
bool inst_is_splat(const Inst *inst, double *value); // a constant whose elements are all equal
bool op_has(Op op, unsigned trait);                  // all of them
bool inst_rounds(const Inst *inst, int input); // of a CONTRACTS op: in a `mixed` function this
                                               // input is rounded

// A slice that takes a piece out of each row of its input: of `rows` rows of `step` elements, what
// begins at `offset`. False: it takes something else.
typedef struct RowPiece {
    int64_t rows, step, offset;
} RowPiece;
bool inst_row_piece(const Inst *slice, RowPiece *out);
// Whether a value, perhaps as another shape, is read as queries, keys or values of attention alone,
// which has a position in each of `rows` rows.
bool inst_attended(const Inst *value, int64_t rows);

// The body of a loop or fused instruction, else NULL. Asked for each instruction by each pass.
static inline IrFunction *inst_nested(const Inst *inst)
{
    const OpInfo *info = &op_info[inst->op];
    for (int i = 0; i < info->attrs; i++)
        if (info->attr[i].kind == ATTR_Body)
            return inst->attr[i].function;
    return NULL;
}

// ---- verify.c: every invariant of the head of this file, types against the shape rules, use
// counts, spans. Returns NULL, or what is wrong.
const char *ir_verify_function(Arena *arena, IrFunction *fn);
const char *ir_verify(Arena *arena, IrModule *module);

// ---- print.c, parse.c: the textual form; parsing what was printed gives it back
void ir_print(IrModule *module, Buffer *out);
void ir_print_function(IrFunction *fn, Buffer *out);
IrModule *ir_parse(Cx *cx, uint32_t file); // NULL after reporting diagnostics

// ---- eval.c: the meaning: runs a function with the reference kernels (kernels/ref). in[i]/out[i]:
// dense buffers of the parameters'/results' types. Used as oracle, by the constant folder and for
// static tensor values.
void ir_evaluate(IrFunction *fn, void *const in[], void *const out[]);

// ---- product.c
// Whether inst is x [.., k] times a matrix, or a convolution: each channel of its result (along
// `axis`) has weights of its own (along `weight_axis` of its second operand).
bool inst_weighs_channels(const Inst *inst, int *axis, int *weight_axis);

// Whether everything that reads a parameter of a module function, as it is or as a matrix of the
// same rows, is a fused product that can read its rows wherever they lie: the parameter is a whole
// first operand of f32, whose rows are those of the result or what is summed over.
bool inst_reads_rows(const IrFunction *fn, const Inst *param);

// ---- cost.c: what an instruction costs
typedef struct Cost {
    double flops; // floating-point operations; a multiply-add counts 2
    double bytes; // read and written if nothing is fused
} Cost;
Cost inst_cost(const Inst *inst);

#endif
