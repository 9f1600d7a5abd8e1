// element.c: one element of any type, read and written without surprises.

#include <math.h>
#include <string.h>

#include "kernel.h"

const DTypeInfo dtype_info[DTYPE_COUNT] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) [DTYPE_##NAME] = {#name, bytes, kind},
#include "dtypes.def"
#undef DTYPE
};

const char *const reducer_name[REDUCER_COUNT] = {"sum", "prod", "max", "min", "any", "all"};

// The 16-bit float formats differ only in how their bits are divided.
typedef struct Small {
    int exponent_bits, mantissa_bits;
} Small;
static const Small small_f16 = {5, 10}, small_bf16 = {8, 7};

static double small_to_real(uint16_t bits, Small f)
{
    int bias = (1 << (f.exponent_bits - 1)) - 1;
    int exponent = (bits >> f.mantissa_bits) & ((1 << f.exponent_bits) - 1);
    int mantissa = bits & ((1 << f.mantissa_bits) - 1);
    double value;
    if (exponent == (1 << f.exponent_bits) - 1)
        value = mantissa ? NAN : INFINITY;
    else if (exponent == 0)
        value = ldexp(mantissa, 1 - bias - f.mantissa_bits);
    else
        value = ldexp(mantissa + (1 << f.mantissa_bits), exponent - bias - f.mantissa_bits);
    return bits & 0x8000 ? -value : value;
}

static uint16_t small_from_real(double value, Small f)
{
    int bias = (1 << (f.exponent_bits - 1)) - 1;
    int top = (1 << f.exponent_bits) - 1;
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value))
        return (uint16_t)(sign | top << f.mantissa_bits | 1 << (f.mantissa_bits - 1));
    if (isinf(value))
        return (uint16_t)(sign | top << f.mantissa_bits);
    if (size == 0)
        return sign;
    int exponent;
    frexp(size, &exponent);
    exponent -= 1; // size = 1.xxx * 2^exponent
    if (exponent < 1 - bias)
        exponent = 1 - bias; // denormal: fewer bits
    double scaled =
        nearbyint(ldexp(size, f.mantissa_bits - exponent)); // at most 2^(mantissa_bits + 1)
    if (scaled >= ldexp(1, f.mantissa_bits + 1)) {
        scaled /= 2;
        exponent++;
    }
    if (exponent + bias >= top)
        return (uint16_t)(sign | top << f.mantissa_bits);
    int whole = (int)scaled;
    if (whole < 1 << f.mantissa_bits)
        return (uint16_t)(sign | whole);
    return (uint16_t)(sign | (exponent + bias) << f.mantissa_bits |
                      (whole - (1 << f.mantissa_bits)));
}

double element_real(DType dtype, const void *base, int64_t index)
{
    switch (dtype) {
    case DTYPE_F32:
        return ((const float *)base)[index];
    case DTYPE_F64:
        return ((const double *)base)[index];
    case DTYPE_F16:
        return small_to_real(((const uint16_t *)base)[index], small_f16);
    case DTYPE_BF16:
        return small_to_real(((const uint16_t *)base)[index], small_bf16);
    case DTYPE_I8:
        return ((const int8_t *)base)[index];
    case DTYPE_U8:
        return ((const uint8_t *)base)[index];
    case DTYPE_I32:
        return ((const int32_t *)base)[index];
    case DTYPE_I64:
        return (double)((const int64_t *)base)[index];
    case DTYPE_BOOL:
        return ((const uint8_t *)base)[index] != 0;
    case DTYPE_COUNT:
        break;
    }
    return 0;
}

int64_t element_whole(DType dtype, const void *base, int64_t index)
{
    switch (dtype) {
    case DTYPE_I8:
        return ((const int8_t *)base)[index];
    case DTYPE_U8:
        return ((const uint8_t *)base)[index];
    case DTYPE_I32:
        return ((const int32_t *)base)[index];
    case DTYPE_I64:
        return ((const int64_t *)base)[index];
    case DTYPE_BOOL:
        return ((const uint8_t *)base)[index] != 0;
    case DTYPE_F32:
    case DTYPE_F64:
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_COUNT:
        break;
    }
    return 0;
}

static int64_t saturate(double value, double low, double high, int64_t lowest, int64_t highest)
{
    if (isnan(value))
        return 0;
    if (value <= low)
        return lowest;
    if (value >= high)
        return highest;
    return (int64_t)value;
}

void element_set_real(DType dtype, void *base, int64_t index, double value)
{
    switch (dtype) {
    case DTYPE_F32:
        ((float *)base)[index] = (float)value;
        break;
    case DTYPE_F64:
        ((double *)base)[index] = value;
        break;
    case DTYPE_F16:
        ((uint16_t *)base)[index] = small_from_real(value, small_f16);
        break;
    case DTYPE_BF16:
        ((uint16_t *)base)[index] = small_from_real(value, small_bf16);
        break;
    case DTYPE_I8:
        ((int8_t *)base)[index] = (int8_t)saturate(value, -128, 127, -128, 127);
        break;
    case DTYPE_U8:
        ((uint8_t *)base)[index] = (uint8_t)saturate(value, 0, 255, 0, 255);
        break;
    case DTYPE_I32:
        ((int32_t *)base)[index] =
            (int32_t)saturate(value, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX);
        break;
    case DTYPE_I64:
        ((int64_t *)base)[index] = saturate(value, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
        break;
    case DTYPE_BOOL:
        ((uint8_t *)base)[index] = value != 0;
        break;
    case DTYPE_COUNT:
        break;
    }
}

void element_set_whole(DType dtype, void *base, int64_t index, int64_t value)
{
    switch (dtype) {
    case DTYPE_I8:
        ((int8_t *)base)[index] = (int8_t)(uint8_t)value;
        break;
    case DTYPE_U8:
        ((uint8_t *)base)[index] = (uint8_t)value;
        break;
    case DTYPE_I32:
        ((int32_t *)base)[index] = (int32_t)(uint32_t)value;
        break;
    case DTYPE_I64:
        ((int64_t *)base)[index] = value;
        break;
    case DTYPE_F32:
        ((float *)base)[index] = (float)value;
        break; // one rounding, not two
    case DTYPE_BOOL:
        ((uint8_t *)base)[index] = value != 0;
        break;
    case DTYPE_F64:
    case DTYPE_F16:
    case DTYPE_BF16:
        element_set_real(dtype, base, index, (double)value);
        break;
    case DTYPE_COUNT:
        break;
    }
}

void element_copy(DType dtype, void *to, int64_t to_index, const void *from, int64_t from_index)
{
    size_t size = (size_t)dtype_info[dtype].bytes;
    memcpy((char *)to + (size_t)to_index * size, (const char *)from + (size_t)from_index * size,
           size);
}
