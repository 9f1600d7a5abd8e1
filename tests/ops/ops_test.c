// ops_test: every op's reference kernel against a second opinion: the operands and results that
// NumPy gave (golden.ir).
//
// Usage: ops_test golden.ir

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ir/support.h"

// Integers and exact ops agree in every bit. What a math library computes may be an ULP of f64 off
// before it is rounded.
static bool close_enough(Type type, const void *a, const void *b, int64_t i)
{
    if (dtype_info[type.dtype].kind != KIND_FLOAT)
        return element_whole(type.dtype, a, i) == element_whole(type.dtype, b, i);
    double left = element_real(type.dtype, a, i), right = element_real(type.dtype, b, i);
    if (left == right)
        return signbit(left) == signbit(right);
    return (isnan(left) && isnan(right)) ||
           (type.dtype == DTYPE_F64 && fabs(left - right) <= 1e-14 * fabs(right)) ||
           (type.dtype != DTYPE_F64 && fabs(left - right) <= 6e-8 * fabs(right));
}

static const char *differs(Cx *cx, IrFunction *fn)
{
    Type type = fn->result.at[0].value->type;
    if (fn->result.count != 2 || !type_equal(type, fn->result.at[1].value->type))
        return "a case has a result and an expected result of one type";
    void *out[2] = {arena_alloc(cx->arena, (size_t)type_bytes(type)),
                    arena_alloc(cx->arena, (size_t)type_bytes(type))};
    ir_evaluate(fn, NULL, out);
    for (int64_t i = 0; i < type_elements(type); i++)
        if (!close_enough(type, out[0], out[1], i))
            return arena_printf(cx->arena, "element %lld is %.17g, expected %.17g", (long long)i,
                                dtype_info[type.dtype].kind == KIND_FLOAT
                                    ? element_real(type.dtype, out[0], i)
                                    : (double)element_whole(type.dtype, out[0], i),
                                dtype_info[type.dtype].kind == KIND_FLOAT
                                    ? element_real(type.dtype, out[1], i)
                                    : (double)element_whole(type.dtype, out[1], i));
    return NULL;
}

static void mark_covered(const IrFunction *fn, bool covered[])
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        covered[inst->op] = true;
        if (inst_nested(inst)) {
            covered[OP_parameter] = true;
            mark_covered(inst_nested(inst), covered);
        }
    }
}

// One line a group: "mul.f32".
static bool test_golden(Cx *cx, const char *path)
{
    char *text;
    size_t length;
    const char *messages;
    if (!file_read(cx->arena, path, 1 << 26, &text, &length)) {
        printf("FAIL golden: %s cannot be read\n", path);
        return false;
    }
    IrModule *module = module_from_text(cx, path, text, length, &messages);
    if (!module) {
        printf("FAIL golden: %s\n", messages);
        return false;
    }
    bool good = true, group_good = true, covered[OP_COUNT] = {false};
    for (int i = 0; i < module->function.count; i++) {
        IrFunction *fn = module->function.at[i];
        const char *dot = strrchr(fn->name, '.');
        if (!dot)
            continue; // called by another
        size_t stem = (size_t)(dot - fn->name);
        const char *why = differs(cx, fn);
        if (why && group_good)
            printf("FAIL %s: %s\n", fn->name, why);
        group_good = group_good && !why;
        mark_covered(fn, covered);
        const char *next = i + 1 < module->function.count ? module->function.at[i + 1]->name : "";
        if (strncmp(next, fn->name, stem) == 0 && next[stem] == '.')
            continue;
        if (group_good)
            printf("PASS %.*s\n", (int)stem, fn->name);
        good = good && group_good;
        group_good = true;
    }
    for (int op = 0; op < OP_COUNT; op++)
        if (!covered[op]) {
            printf("FAIL coverage: %s has no case in %s\n", op_info[op].name, path);
            good = false;
        }
    return good;
}

// Known answers of the generator's authors (Random123, kat_vectors, philox4x32 10).
TEST(philox_known_answers)
{
    static const uint32_t counter[3][4] = {
        {0}, {~0u, ~0u, ~0u, ~0u}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}};
    static const uint32_t key[3][2] = {{0}, {~0u, ~0u}, {0xa4093822, 0x299f31d0}};
    static const uint32_t expected[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        philox(counter[i], key[i], out);
        for (int k = 0; k < 4; k++)
            CHECK_INT(out[k], expected[i][k]);
    }
}

// Every 16-bit float survives reading and writing; what lies half-way goes to the even neighbour.
TEST(small_floats)
{
    static const DType types[] = {DTYPE_F16, DTYPE_BF16};
    for (int t = 0; t < 2; t++)
        for (uint32_t bits = 0; bits < 0x10000; bits++) {
            uint16_t in = (uint16_t)bits, out = 0;
            double value = element_real(types[t], &in, 0);
            element_set_real(types[t], &out, 0, value);
            CHECK(isnan(value) ? isnan(element_real(types[t], &out, 0)) : in == out);
        }
    uint16_t half;
    element_set_real(DTYPE_F16, &half, 0, 1 + 0x1p-11); // between 1 and 1 + 2^-10
    CHECK_INT(half, 0x3c00);
    element_set_real(DTYPE_F16, &half, 0, 1 + 3 * 0x1p-11);
    CHECK_INT(half, 0x3c02);
    element_set_real(DTYPE_F16, &half, 0, 65519.999);
    CHECK_INT(half, 0x7bff);
    element_set_real(DTYPE_F16, &half, 0, 65520);
    CHECK_INT(half, 0x7c00);
    element_set_real(DTYPE_F16, &half, 0, 0x1p-25);
    CHECK_INT(half, 0);
    element_set_real(DTYPE_F16, &half, 0, 0x1.8p-25);
    CHECK_INT(half, 1);
}

int main(int argc, char **argv)
{
    RUN(philox_known_answers);
    RUN(small_floats);
    Cx *cx = cx_new();
    bool good = argc == 2 && test_golden(cx, argv[1]);
    cx_free(cx);
    return check_failures || !good;
}
