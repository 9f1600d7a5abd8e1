// kernel.h: what every kernel knows: element types, shapes, attributes, and the reference kernels'
// calling convention.
//
// kernels/ref/ is the meaning of each op: plain loops, f64 accumulation, slow and obvious on
// purpose. It is the oracle of the tests and the compiler's constant folder. Kernels include
// nothing else of the compiler.

#ifndef AML_KERNEL_H
#define AML_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { KIND_FLOAT, KIND_INT, KIND_BOOL } DTypeKind;

typedef enum DType {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) DTYPE_##NAME,
#include "dtypes.def"
#undef DTYPE
    DTYPE_COUNT
} DType;

typedef struct DTypeInfo {
    const char *name;
    int bytes;
    DTypeKind kind;
} DTypeInfo;
extern const DTypeInfo dtype_info[DTYPE_COUNT];

enum { IR_MAX_RANK = 8, IR_MAX_ATTRS = 6 };

typedef struct Type {
    DType dtype;
    int rank;
    int64_t dim[IR_MAX_RANK]; // each at least 1
} Type;

typedef enum Op {
#define OP(name, inputs, attributes, rule, traits, meaning) OP_##name,
#include "ops.def"
#undef OP
    OP_COUNT
} Op;

typedef enum {
    REDUCE_SUM,
    REDUCE_PROD,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_ANY,
    REDUCE_ALL,
    REDUCER_COUNT
} Reducer;
extern const char *const reducer_name[REDUCER_COUNT];

typedef struct IntList {
    int count;
    int64_t at[IR_MAX_RANK];
} IntList;

// Dense row-major elements of the instruction's type; `splat`: one element stands for all.
typedef struct IrData {
    bool splat;
    size_t bytes;
    const void *at;
} IrData;

typedef union Attr {
    IntList list;  // Axes, Shape
    int64_t whole; // Int, Flag, Site
    double real;   // Real
    Reducer reducer;
    struct IrFunction *function; // Body, Callee
    IrData data;
} Attr;

// ---- ref/element.c: one element of any type
double element_real(DType dtype, const void *base, int64_t index);
int64_t element_whole(DType dtype, const void *base, int64_t index); // of an integer or bool
// Floats: rounded to nearest, halves to even. Integers: truncated and saturated, NaN gives 0. bool:
// != 0.
void element_set_real(DType dtype, void *base, int64_t index, double value);
// Integers: the low bits, wrapping around. Floats: rounded. bool: != 0.
void element_set_whole(DType dtype, void *base, int64_t index, int64_t value);
void element_copy(DType dtype, void *to, int64_t to_index, const void *from, int64_t from_index);

// ---- ref/shape.c: sizes and places
int64_t type_elements(Type type);
int64_t type_bytes(Type type);
void shape_strides(Type type, int64_t stride[]);               // in elements, row-major
void shape_index(Type type, int64_t element, int64_t index[]); // place of the element-th element

// ---- ref/attend.c: the sizes of attend and attend_back, from the types of q, k and v, which have
// four axes.
typedef struct AttendSizes {
    int64_t images, queries, heads, size, keys, groups, width;
    int64_t mask_image, mask_head; // from one image's or head's mask to the next
} AttendSizes;
AttendSizes attend_sizes(const Type type[3], const Type *mask); // mask NULL: none

// ---- ref/: one function an op, ref_add and so on. A missing one is a link error.
typedef struct RefCall {
    Op op;
    const Attr *attr;
    int inputs, results;
    const Type *in_type;
    const void *const *in; // dense, row-major
    const Type *out_type;
    void *const *out;
} RefCall;
typedef void RefKernel(const RefCall *call);
extern RefKernel *const ref_kernel[OP_COUNT];
#define OP(name, inputs, attributes, rule, traits, meaning) void ref_##name(const RefCall *call);
#include "ops.def"
#undef OP

// ref/random.c: Philox4x32-10. The op's definition: element e takes word (e % 64) / 16 of the block
// at counter index e / 64 * 16 + e % 16, counter = {low and high half of the index, low half of
// step, site}, key = {low half of seed, high half of seed ^ high half of step}; f32: (word >> 8) *
// 2^-24, f64: word * 2^-32.
void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
uint32_t random_word(int64_t seed, int64_t step, int64_t site, int64_t element);

#endif
