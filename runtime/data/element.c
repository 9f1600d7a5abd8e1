// One element of a tensor as a number.

#include <string.h>

#include "runtime/data/data.h"

double amli_half(uint16_t bits)
{
    // the exponent of a float is larger by 112; one of ones means the same in both
    uint32_t wide = (uint32_t)(bits & 0x7FFF) << 13;
    float size;
    if (wide >= 0x7C00 << 13)
        wide |= 0x7F800000;
    memcpy(&size, &wide, sizeof size);
    size = wide >= 0x7F800000 ? size : size * 0x1p112f;
    return (double)(bits >> 15 ? -size : size);
}

double amli_element(aml_dtype dtype, const void *at, int64_t index)
{
    switch (dtype) {
    case AML_F32:
        return (double)((const float *)at)[index];
    case AML_F64:
        return ((const double *)at)[index];
    case AML_F16:
        return amli_half(((const uint16_t *)at)[index]);
    case AML_BF16: {
        uint32_t bits = (uint32_t)((const uint16_t *)at)[index] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    case AML_I8:
        return ((const int8_t *)at)[index];
    case AML_U8:
    case AML_BOOL:
        return ((const uint8_t *)at)[index];
    case AML_I32:
        return ((const int32_t *)at)[index];
    case AML_I64:
        return (double)((const int64_t *)at)[index];
    }
    return 0;
}
