// Whether the inputs of a deployed library hold what they may, and telling what is wrong.

#include <string.h>

#include "runtime/artifact/library.h"

void amli_problem_begin(amli_problem *problem)
{
    problem->length = 0;
    problem->text[0] = 0;
}

void amli_problem_text(amli_problem *problem, const char *text)
{
    while (*text && problem->length + 1 < PROBLEM_ROOM)
        problem->text[problem->length++] = *text++;
    problem->text[problem->length] = 0;
}

void amli_problem_number(amli_problem *problem, const char *before, int64_t number)
{
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    *at = 0;
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (number < 0)
        *--at = '-';
    amli_problem_text(problem, before);
    amli_problem_text(problem, at);
}

static void tell_place(amli_problem *problem, const aml_tensor_info *tensor, int64_t index)
{
    int64_t elements = aml_shape_elements(&tensor->shape);
    amli_problem_text(problem, tensor->name);
    amli_problem_number(problem, ": row ", index / elements);
    if (elements > 1)
        amli_problem_number(problem, ", element ", index % elements);
}

// The bits of an exponent that mean NaN or infinity; of types without them 0.
static uint64_t exponent_of(aml_dtype dtype)
{
    switch (dtype) {
    case AML_F32:
        return 0x7F800000;
    case AML_F64:
        return 0x7FF0000000000000;
    case AML_F16:
        return 0x7C00;
    case AML_BF16:
        return 0x7F80;
    case AML_I8:
    case AML_U8:
    case AML_I32:
    case AML_I64:
    case AML_BOOL:
        break;
    }
    return 0;
}

static uint64_t bits_at(const char *at, size_t size)
{
    uint64_t bits = 0;
    memcpy(&bits, at, size);
    return bits;
}

// Almost always all is well, so the numbers are first looked at together, several at once: what
// compilers make of a plain loop takes as long as a small model. Zero times a number that is not
// finite is NaN, and so is every sum with it.
static bool all_finite(const float *at, int64_t count)
{
    typedef float Four __attribute__((vector_size(16)));
    enum { FOURS = 4 };
    Four sums[FOURS] = {{0}};
    float all = 0;
    int64_t i = 0;
    // Code that is compiled for size would keep the sums in memory.
    for (; i + 4 * FOURS <= count; i += 4 * FOURS) {
#pragma GCC unroll 4
        for (int j = 0; j < FOURS; j++) {
            Four value;
            memcpy(&value, at + i + 4 * j, sizeof value);
            sums[j] += value * 0;
        }
    }
    for (int lane = 0; lane < 4 * FOURS; lane++)
        all += sums[lane / 4][lane % 4];
    for (; i < count; i++) {
        float value;
        memcpy(&value, &at[i], sizeof value);
        all += value * 0;
    }
    return all == 0;
}

static aml_library_status check_finite(const aml_tensor_info *tensor, bool missing, const char *at,
                                       int64_t count, amli_problem *problem)
{
    uint64_t exponent = exponent_of(tensor->dtype);
    size_t size = aml_dtype_bytes(tensor->dtype);
    if (tensor->dtype == AML_F32 && all_finite((const float *)(const void *)at, count))
        return AML_LIBRARY_OK;
    uint64_t fraction = (exponent & (0 - exponent)) - 1; // the bits below the exponent
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = bits_at(at + (size_t)i * size, size);
        bool nan = bits & fraction;
        if ((bits & exponent) != exponent || (nan && missing))
            continue;
        tell_place(problem, tensor, i);
        amli_problem_text(problem, nan ? " is NaN" : " is infinite");
        return AML_LIBRARY_NOT_FINITE;
    }
    return AML_LIBRARY_OK;
}

static aml_library_status check_classes(const aml_tensor_info *tensor, const char *values,
                                        int64_t count, amli_problem *problem)
{
    size_t size = aml_dtype_bytes(tensor->dtype);
    bool is_signed = tensor->dtype != AML_U8 && tensor->dtype != AML_BOOL;
    for (int64_t i = 0; i < count; i++) {
        const char *at = values + (size_t)i * size;
        int64_t value = is_signed && at[size - 1] & 0x80 ? -1 : 0;
        memcpy(&value, at, size);
        if (value >= 0 && value < tensor->classes)
            continue;
        tell_place(problem, tensor, i);
        amli_problem_number(problem, " is class ", value);
        amli_problem_number(problem, ", expected 0 to ", tensor->classes - 1);
        return AML_LIBRARY_CLASS;
    }
    return AML_LIBRARY_OK;
}

aml_library_status amli_check_values(const aml_tensor_info *tensor, bool missing, const void *at,
                                     int64_t rows, amli_problem *problem)
{
    int64_t count = rows * aml_shape_elements(&tensor->shape);
    if (!at) {
        amli_problem_text(problem, tensor->name);
        amli_problem_text(problem, " is NULL");
        return AML_LIBRARY_NULL;
    }
    if (tensor->classes > 0)
        return check_classes(tensor, at, count, problem);
    return exponent_of(tensor->dtype) ? check_finite(tensor, missing, at, count, problem)
                                      : AML_LIBRARY_OK;
}
