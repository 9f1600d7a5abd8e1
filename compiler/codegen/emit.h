// codegen/emit.h: from planned IR functions to LLVM IR. Private to compiler/codegen.
//
// An entry point is straight-line code: rank-0 arithmetic in registers, and calls of kernels with
// addresses that are a base (state, arena, input, output) plus a constant. A kernel is a function
// of its own with `noalias` pointers; kernels with equal keys are emitted once. Loop nests are
// emitted with explicit vectors: `lanes` elements of the innermost axis at a time and a masked
// rest, so LLVM has to optimise straight-line code only.

#ifndef AML_CODEGEN_EMIT_H
#define AML_CODEGEN_EMIT_H

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include "base/embedded.h"
#include "compile.h"
#include "diag/diag.h"
#include "passes/fuse.h"

typedef struct Constant { // read-only data in the object
    uint64_t hash;
    size_t bytes;
    const void *at;
    LLVMValueRef value;
} Constant;

typedef struct StoredPart { // data that are expanded into the context
    const void *at;
    size_t bytes, offset;
    int kind;
    size_t length; // as it is stored
} StoredPart;

typedef struct MadePart { // weights that are transformed into the context
    const void *at;
    int64_t side, from, to, panel;
    size_t offset;
} MadePart;

enum { MOST_PIECES = 8, MOST_PARTS = 32 };

// data.c: large constants do not go through LLVM, they are an object of their own.
enum { DATA_BESIDE = 1 << 20 };
typedef struct DataItem {
    const char *name;
    const void *at;
    size_t bytes;
} DataItem;

// A module is made in pieces, which LLVM compiles at the same time (pieces.c). Data are in the
// first that needs them.
typedef struct Codegen {
    Cx *cx;
    Arena *arena; // goes away with the modules
    LLVMContextRef llvm;
    LLVMModuleRef module;    // the piece that is being written
    LLVMModuleRef home;      // the piece of the entry point that is being written
    LLVMModuleRef templates; // the kernels' templates, for their types
    LLVMModuleRef piece[MOST_PARTS];
    int64_t load[MOST_PARTS]; // instructions, roughly
    int pieces, most_parts;
    bool entries_apart; // entry points are piece 0, which has nothing else
    LLVMTargetMachineRef machine;
    const char *triple;
    const char *cpu, *features; // for function attributes
    int lanes;                  // f32 elements of a vector register
    bool pairs;                 // bf16 is multiplied in pairs
    bool rounds;                // the processor rounds to bf16
    bool tiles;                 // products of bf16 and of bytes are made in tiles of AMX
    bool bytes;                 // there are products of bytes: templates with kernels for them
    Shared *shared;             // with other objects of the program; NULL: there are none
    LLVMValueRef weights;       // Shared.beside: where the file is, in the entry point that is
    LLVMBuilderRef builder;     // being written, with its builder
    const char *prefix;         // of the names of kernels and constants
    Map kernel;                 // key -> LLVMValueRef
    Vec(Constant) constant;
    Vec(DataItem) data;
    bool as_text;       // what is made is a text: all constants are in it
    bool keeps_objects; // compiled pieces live from build to build
    bool stores;        // constants may be stored shorter
    Vec(StoredPart) stored;
    bool makes;                  // weights may be transformed when a context is opened
    bool small;                  // code is short where it takes little time
    const AmlEmbedded *compiled; // what templates share, as an object; NULL: each piece has it
    Vec(MadePart) made;
    size_t stored_bytes; // of the parts of both kinds in the context
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, half, ptr, none;
} Codegen;

// ---- value.c: what one op does to values in registers
//
// An element is held as: f32 double f32(f16, already rounded) f32(bf16, already rounded) i8 i8 i32
// i64 i1, or a vector of it.

typedef struct Emit {
    Codegen *g;
    LLVMBuilderRef b;
    int lanes;         // 1: scalars
    LLVMValueRef mask; // <lanes x i1>: the lanes that exist; NULL: all
    int unit;          // which of the seeds of a reduce is read (index.c)
    bool flat;         // every index is (0, ..., 0, position in row-major order)
    bool streaming;    // whole registers are stored past the caches
    bool unknown;      // LLVM cannot know `mask`
    Vec(struct Memo) memo;
} Emit;

LLVMTypeRef register_type(Codegen *g, DType dtype, int lanes);
LLVMTypeRef memory_type(Codegen *g, DType dtype, int lanes);
LLVMValueRef lanes_splat(Emit *e, LLVMValueRef scalar);
LLVMValueRef lanes_iota(Emit *e); // <0, 1, 2, ...> of i64
LLVMValueRef emit_constant(Emit *e, DType dtype, double real);
LLVMValueRef emit_element_constant(Emit *e, DType dtype, const void *at); // from its bits in memory
LLVMValueRef emit_op(Emit *e, const Inst *inst, LLVMValueRef in[]);       // pointwise ops
LLVMValueRef emit_reducer(Emit *e, Reducer with, DType dtype, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef emit_identity(Emit *e, Reducer with, DType dtype);
LLVMValueRef emit_horizontal(Emit *e, Reducer with, DType dtype, LLVMValueRef vector);
LLVMValueRef emit_round(Emit *e, DType dtype,
                        LLVMValueRef value); // f16, bf16: to what memory can hold
LLVMValueRef register_to_memory(Emit *e, DType dtype, LLVMValueRef value);
LLVMValueRef memory_to_register(Emit *e, DType dtype, LLVMValueRef value);
LLVMValueRef emit_intrinsic(Emit *e, const char *name, LLVMTypeRef overloaded, LLVMValueRef in[],
                            int inputs);
typedef enum { SECOND_LEVEL = 2, FIRST_LEVEL = 3, TO_WRITE } CacheAsk; // to read into that cache
void emit_prefetch(Emit *e, LLVMValueRef address, CacheAsk ask);       // it may point anywhere
LLVMValueRef whole(Codegen *g, int64_t value);                         // i64 constant

// ---- index.c: the element of a value at an index

// The index of lane l along one axis: at + l * step, or the vector `lanes`.
typedef struct Index {
    LLVMValueRef at;
    int64_t step;
    LLVMValueRef lanes; // NULL unless the lanes are not evenly spaced
    bool whole;         // `at` is a multiple of the number of lanes, and step is 1
} Index;

typedef struct Memo {
    Inst *inst;
    Index at[IR_MAX_RANK];
    LLVMValueRef value;
    int next; // the previous entry of the same instruction plus 1, 0: none
} Memo;

// What a parameter of a body, or a reduce inside it, is while the body is emitted: Inst.note.
enum { MAX_UNITS = 16 };
typedef struct Source {
    LLVMValueRef base; // pointer, or the value itself if `by_value`
    bool by_value;
    bool rows;                    // a table of the rows' addresses
    LLVMValueRef seed[MAX_UNITS]; // of a reduce: its value, by unit
} Source;

Index index_of(LLVMValueRef at, int64_t step);
Index index_of_whole(LLVMValueRef at); // a register at a multiple of its lanes
Index index_add(Emit *e, Index a, Index b);
Index index_add_constant(Emit *e, Index a, int64_t constant);
Index index_scale(Emit *e, Index a, int64_t factor);
Index index_position(Emit *e, Type type, const Index at[]);  // row-major
Index index_in_panels(Emit *e, Type type, const Index at[]); // where it lies in panels of columns
void index_split(Emit *e, Index position, int axes, const int64_t dim[], Index out[]);

void memo_begin(Emit *e, IrFunction *body); // before the first element of a body
void memo_put(Emit *e, Inst *inst, const Index at[], LLVMValueRef value); // instead of computing it
void memo_forget(Emit *e, IrFunction *body); // values so far do not reach the code that follows
LLVMValueRef element(Emit *e, Inst *inst, const Index at[]);
LLVMValueRef load_element(Emit *e, DType dtype, LLVMValueRef base, Index position);
void store_element(Emit *e, DType dtype, LLVMValueRef base, Index position, LLVMValueRef value);

// The axes of a space in groups that may be walked as one: bit i of the result is set if axes i and
// i+1 must be kept apart.
unsigned body_cuts(IrFunction *body, const BodyShape *shape);
bool body_flat(IrFunction *body,
               const BodyShape *shape); // the whole space may be walked as one axis

// ---- loop.c

typedef struct Loop {
    LLVMBasicBlockRef top, after;
    LLVMValueRef at, end;
    LLVMBasicBlockRef before;
    int64_t step;
    bool once;
} Loop;
Loop loop_begin(Emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step); // from < to must hold
void loop_end(Emit *e, Loop *loop);

// A kernel under construction.
typedef struct Operand {
    LLVMValueRef actual; // in the entry function
    LLVMValueRef formal; // in the kernel
    LLVMTypeRef type;
    bool pointer;
} Operand;

typedef struct Kernel {
    Codegen *g;
    struct Frame *frame; // of the function that calls it
    const Inst *inst;
    Buffer key;
    LLVMValueRef function;
    Vec(Operand) operand;
    int64_t parts;           // 1: not divided
    LLVMValueRef begin, end; // parts to compute; NULL if parts == 1
    Emit emit;
} Kernel;

// ---- nest.c: loop nests
void nest_emit(Kernel *k, IrFunction *body, LLVMValueRef const result[]); // MAP and REDUCE
int64_t nest_parts(Codegen *g, IrFunction *body);

// ---- turn.c: a nest that only reorders axes
int64_t turn_parts(const Codegen *g, const IrFunction *body); // 0: body is none that it does
bool turn_emit(Kernel *k, IrFunction *body, LLVMValueRef to); // false: nothing was emitted

// ---- dot.c
void dot_emit(
    Kernel *k, IrFunction *body, LLVMValueRef const result[], LLVMValueRef scratch,
    LLVMValueRef soon, int64_t soon_every,
    bool packed); // soon: the addresses of soon_table, or NULL; asked for in every n-th row
void dot_turn_emit(struct Frame *f, Inst *inst,
                   const Inst *dot); // in front of it: A is turned around, if it has to be
int64_t dot_parts(const Codegen *g, const Inst *dot, bool packed);
bool dot_asks_ahead(const Codegen *g, Inst *dot, IrFunction *body, bool packed); // takes soon_table
// In which rows of its result, so that there is room for all that fn's caller may have to tell.
int64_t dot_asks_every(const IrFunction *fn, const Inst *dot);
bool dot_plan_for(const Codegen *g, const Inst *dot, bool packed, DotShape *shape);

// What a product's kernel and its epilogue share: `context` is a struct of the kernel's operands
// and then the indices of the loops around the product.
typedef struct Product {
    Kernel *k;
    IrFunction *body;
    BodyShape space;
    DotShape shape; // which axes of the result are loops, rows and columns
    Inst *dot;
    LLVMTypeRef context;
    int lanes;
    LLVMValueRef soon; // the kernel's operand, or NULL
    int64_t soon_every;
    bool touches;  // AML_DOT_TOUCH
    bool ragged;   // the epilogue may get any number of lanes anywhere
    bool apart;    // it is called through a function that LLVM does not inline
    int64_t below; // from a tile's rows to the next one's, if what is read there is asked for
} Product;
LLVMValueRef product_context(Product *p); // a new one, with the operands in it
LLVMValueRef product_field(Product *p, LLVMValueRef context, int field);
LLVMValueRef product_epilogue(Product *p, LLVMValueRef const result[]);
LLVMValueRef product_prologue(Product *p); // before the epilogue; NULL: there is none

// ---- conv_sized.c: convolutions of bytes with sizes as data
bool conv_sized_fits(const Codegen *g, const AmlConv *c);
LLVMValueRef conv_sized_constant(Codegen *g, const AmlConv *c, const int64_t *table);
void conv_sized_call(Product *p, const AmlConv *c, LLVMValueRef const result[], LLVMValueRef sizes,
                     LLVMValueRef source, LLVMValueRef packed, LLVMValueRef copy);
void conv_divided(Kernel *k, int64_t chunk, int64_t all, LLVMValueRef *from, LLVMValueRef *to);

// ---- conv.c
void conv_emit(struct Frame *f, Inst *inst,
               Inst *conv); // a fused instruction around conv, conv_input
void conv_weight_emit(struct Frame *f, Inst *inst, Inst *conv); // conv itself, or a body around it

// ---- depthwise.c: with one channel to a group
void depthwise_weight_emit(struct Frame *f, Inst *inst, const AmlConvWeight *c);

// ---- attend.c
void emit_attend(struct Frame *f, Inst *inst);
void emit_attend_cached(struct Frame *f, Inst *inst);

// ---- function.c: an entry point, and the bodies of its loops

typedef struct Pointer { // the address of a place, made once
    PlaceKind kind;
    int index;
    size_t offset;
    LLVMValueRef value;
} Pointer;

typedef struct Frame {
    Codegen *g;
    Emit emit; // lanes 1; the builder stands in the entry function
    IrFunction *fn;
    LLVMValueRef call; // the aml_call
    LLVMValueRef arena, state, constants;
    LLVMValueRef *input, *output; // pointers, by position
    LLVMValueRef *carried; // of a loop's body: where its carried values are, its states; else NULL
    int carries;
    LLVMValueRef *scalar;
    const size_t *state_offset;
    LLVMValueRef *value; // by Inst.id: rank-0 values in registers
    int values;
    Vec(Pointer) pointer;
    struct Watch *watch; // NULL: the function is not watched
} Frame;

void emit_entry(Codegen *g, EmitEntry *entry);
void emit_body(Frame *f); // all instructions and results of f->fn, which is planned
LLVMValueRef frame_pointer(Frame *f, const Buffered *place);
LLVMValueRef frame_address(Frame *f, LLVMValueRef base, size_t offset);
LLVMValueRef value_pointer(Frame *f, const Inst *inst); // where a value with memory is
LLVMValueRef result_pointer(Frame *f, const Inst *inst, int result);
const Inst *value_origin(const Inst *inst); // the instruction whose memory an alias is
const void *constant_bytes(Codegen *g, const Inst *constant, size_t *bytes);
LLVMValueRef scalar_value(Frame *f, Inst *inst); // of rank 0, in a register

// watch.c: telling the caller about kernels
typedef struct Watch {
    Entry *entry;
    LLVMValueRef results; // room for their addresses
    LLVMValueRef number;  // room for a result that is in a register
    Vec(LLVMBasicBlockRef) aside;
} Watch;
Watch *watch_begin(Frame *f, Entry *entry);
void watch_instruction(Frame *f, Inst *inst); // after it was emitted
void watch_end(Frame *f);

// kernel.c: making and calling kernels
void kernel_begin(Kernel *k, Frame *f, const Inst *inst, int64_t parts);
// A kernel that takes sizes as operands too: all instructions with the same `what` share it.
void kernel_begin_shared(Kernel *k, Frame *f, const Inst *inst, int64_t parts, const char *what);
int kernel_operand(Kernel *k, LLVMValueRef actual); // the same pointer twice is one operand
bool kernel_open(
    Kernel *k); // after the last operand. False: there is one, nothing is to be emitted
LLVMValueRef soon_table(Frame *f); // aml_call.soon, or as many addresses that are 0
void kernel_close(Kernel *k);      // finishes it and emits the call
LLVMValueRef template_function(Codegen *g, const char *name);
LLVMValueRef function_here(Codegen *g, LLVMValueRef function); // in the piece that is being written
LLVMValueRef entry_alloca(Emit *e, LLVMTypeRef type); // memory in the frame of the function
LLVMValueRef constant_pointer(Codegen *g, const void *bytes, size_t count);

// stored.c: the address of constants, which may lie in the context
LLVMValueRef read_only(Frame *f, const void *at, size_t bytes);
void stored_emit(Codegen *g, const char *symbol, ObjectCode *object);

// made.c: whether it pays to make Winograd's weights when a context is opened; the address that
// they have then; the function that makes all
bool made_fits(const Codegen *g, const EmitEntry entries[], int count);
LLVMValueRef made_weights(Frame *f, const AmlConv *c, const void *weights);
void made_emit(Codegen *g, const char *symbol, ObjectCode *object);
void function_attributes(Codegen *g, LLVMValueRef function, const char *const names[]);
void function_short(Codegen *g, LLVMValueRef function); // its code is as short as LLVM can make it

// move.c: ops with loops of their own
void emit_move(Frame *f, Inst *inst);
void emit_copy(Frame *f, LLVMValueRef to, LLVMValueRef from, size_t bytes);

// order.c
void emit_argsort(Frame *f, Inst *inst);
void emit_cumulate(Frame *f, Inst *inst);
void emit_add_along(Frame *f, Inst *inst);

// data.c
void data_add(Codegen *g, const char *name, const void *at, size_t bytes);
ObjectFile data_object(Codegen *g); // all that was added

// weights.c
void emit_dot_stored(Frame *f, Inst *inst);
void emit_take_stored(Frame *f, Inst *inst);

// pieces.c
#define KERNEL_NAME "aml_kernel_"
int piece_for_entry(Codegen *g, const IrFunction *entry); // before kernels are made
LLVMModuleRef piece_for_kernel(Codegen *g);               // that the next kernel goes to
void piece_add(Codegen *g, LLVMValueRef kernel);
LLVMModuleRef piece_new(Codegen *g, LLVMContextRef llvm);
LLVMModuleRef templates_read(Codegen *g, LLVMContextRef llvm); // NULL: they cannot be
const AmlEmbedded *templates_compiled(const Codegen *g);
void pieces_compile(Codegen *g, const char *emit_text, ObjectCode *object);

// mode.c: no result is a subnormal number between these; what mode_enter gives is for mode_leave
LLVMValueRef mode_enter(Codegen *g, LLVMBuilderRef b); // at the top of a function
void mode_leave(Codegen *g, LLVMBuilderRef b, LLVMValueRef before);

// target.c
bool targets_aarch64(const Codegen *g);
// NULL: unknown
LLVMTargetMachineRef target_machine(const char *triple, const char *cpu, const char *features,
                                    bool quick);
typedef struct TargetInfo {
    const char *triple;
    const char *cpu, *features; // LLVM's names
    const char *level;          // x86-64-v3
    const char *needed;         // avx2,fma,...: as /proc/cpuinfo calls them
    int lanes;
    bool pairs;  // has products of bf16 pairs, and they pay
    bool rounds; // has rounding to bf16
    bool tiles;  // has AMX
} TargetInfo;
// `mixed`: the program multiplies bf16; `bytes`: it has products of bytes. Only then are there
// instructions for them.
bool target_find(Cx *cx, const char *name, bool mixed, bool bytes, TargetInfo *out);

#endif
