// conv.c: convolutions for f32 and f64; conv_template.h is the template.

#include "conv.h"

enum { TILE = AML_WIDTH == 16 ? AML_CONV_TILE : AML_CONV_SMALL_TILE };

// An operand in memory: elements of the template's type, or of 16 bits if `half`.
HELPER const float *conv_at_f32(const float *base, int64_t index, int64_t half)
{
    return half ? (const float *)((const uint16_t *)base + index) : base + index;
}

HELPER f32v conv_load_f32(const float *base, int64_t index, int lanes, int64_t half)
{
    if (half)
        return half_widen(u16_load_some((const uint16_t *)base + index, lanes), half);
    return lanes == F32_LANES ? f32_load(base + index) : f32_load_some(base + index, lanes);
}

HELPER const double *conv_at_f64(const double *base, int64_t index, int64_t half)
{
    (void)half;
    return base + index;
}

HELPER f64v conv_load_f64(const double *base, int64_t index, int lanes, int64_t half)
{
    (void)half;
    return lanes == F64_LANES ? f64_load(base + index) : f64_load_some(base + index, lanes);
}

#define AS_F32
#include "element.h"
#define SOURCE ELEMENT
#define CONV_WORDS
#include "conv_template.h"
#undef CONV_WORDS
#include "element.h"

#define AS_F64
#include "element.h"
#include "conv_template.h"
#include "element.h"

#undef SOURCE

// Panels begin..end of the weights of all groups in the order in which aml_conv reads them.
SHARED void aml_shared_conv_pack_f32(const float *weights, float *packed, const int64_t *table,
                                     int64_t input, int64_t from, int64_t to, int64_t taps,
                                     int64_t panel, int64_t phases, int64_t begin, int64_t end)
{
    if (!conv_pack_turned_f32(weights, packed, input, from, to, taps, panel, phases, begin, end))
        aml_conv_pack(begin, end, 4, input, from, to, taps, panel, phases, table, weights, packed);
}

SHARED void aml_shared_conv_pack_f64(const double *weights, double *packed, const int64_t *table,
                                     int64_t input, int64_t from, int64_t to, int64_t taps,
                                     int64_t panel, int64_t phases, int64_t begin, int64_t end)
{
    if (!conv_pack_turned_f64(weights, packed, input, from, to, taps, panel, phases, begin, end))
        aml_conv_pack(begin, end, 8, input, from, to, taps, panel, phases, table, weights, packed);
}

// The same for weights of 16 bits: packed as they are into the second half of a panel's place, and
// widened from there, first to last.
SHARED void aml_shared_conv_pack_half(const uint16_t *weights, float *packed,
                                      const int64_t *table, int64_t half, int64_t input,
                                      int64_t from, int64_t to, int64_t taps, int64_t panel,
                                      int64_t phases, int64_t begin, int64_t end)
{
    int64_t elements = panel * from * taps;
    NO_UNROLL for (int64_t i = begin; i < end; i++)
    {
        float *out = packed + i * elements;
        uint16_t *in = (uint16_t *)out + elements;
        aml_conv_pack(i, i + 1, 2, input, from, to, taps, panel, phases, table, weights,
                      in - i * elements);
        int64_t e = 0;
        NO_UNROLL for (; e + F32_LANES <= elements; e += F32_LANES)
            f32_store(out + e, half_widen(u16_load_some(in + e, F32_LANES), half));
        if (e < elements) { // the next panel may be there already
            float line[F32_LANES];
            f32_store(line, half_widen(u16_load_some(in + e, (int)(elements - e)), half));
            NO_UNROLL for (int64_t k = 0; e + k < elements; k++) out[e + k] = line[k];
        }
    }
}
