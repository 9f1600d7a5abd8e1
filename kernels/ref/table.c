// table.c: the reference kernel of each op. A row of ops.def without a function does not link.

#include "kernel.h"

RefKernel *const ref_kernel[OP_COUNT] = {
#define OP(name, inputs, attributes, rule, traits, meaning) [OP_##name] = ref_##name,
#include "ops.def"
#undef OP
};
