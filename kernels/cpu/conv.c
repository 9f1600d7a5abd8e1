// conv.c: convolutions for f32 and f64; conv_template.h is the template.

#include "conv.h"

enum { TILE = AML_WIDTH == 16 ? AML_CONV_TILE : AML_CONV_SMALL_TILE };

#define ELEMENT float
#define SOURCE ELEMENT
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_f32
#define V(name) f32_##name
#include "conv_template.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#define ELEMENT double
#define VECTOR f64v
#define LANES F64_LANES
#define NAME(name) name##_f64
#define V(name) f64_##name
#include "conv_template.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#undef SOURCE

// Panels begin..end of the weights of all groups in the order in which aml_conv reads them.
TEMPLATE void aml_shared_conv_pack_f32(const float *weights, float *packed, const int64_t *table,
                                       int64_t input, int64_t from, int64_t to, int64_t taps,
                                       int64_t panel, int64_t phases, int64_t begin, int64_t end)
{
    aml_conv_pack(begin, end, 4, input, from, to, taps, panel, phases, table, weights, packed);
}

TEMPLATE void aml_shared_conv_pack_f64(const double *weights, double *packed, const int64_t *table,
                                       int64_t input, int64_t from, int64_t to, int64_t taps,
                                       int64_t panel, int64_t phases, int64_t begin, int64_t end)
{
    aml_conv_pack(begin, end, 8, input, from, to, taps, panel, phases, table, weights, packed);
}
