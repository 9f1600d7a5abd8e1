// value.c: what one op does to values in registers, for scalars and vectors alike.

#include <math.h>
#include <string.h>

#include "codegen/emit.h"

LLVMValueRef whole(Codegen *g, int64_t value)
{
    return LLVMConstInt(g->i64, (unsigned long long)value, 1);
}

static LLVMTypeRef lanes_type(LLVMTypeRef type, int lanes)
{
    return lanes > 1 ? LLVMVectorType(type, (unsigned)lanes) : type;
}

LLVMTypeRef register_type(Codegen *g, DType dtype, int lanes)
{
    LLVMTypeRef type = NULL;
    switch (dtype) {
    case DTYPE_F32:
    case DTYPE_F16:
    case DTYPE_BF16:
        type = g->f32;
        break;
    case DTYPE_F64:
        type = g->f64;
        break;
    case DTYPE_I8:
    case DTYPE_U8:
        type = g->i8;
        break;
    case DTYPE_I32:
        type = g->i32;
        break;
    case DTYPE_I64:
        type = g->i64;
        break;
    case DTYPE_BOOL:
        type = g->i1;
        break;
    case DTYPE_COUNT:
        break;
    }
    return lanes_type(type, lanes);
}

LLVMTypeRef memory_type(Codegen *g, DType dtype, int lanes)
{
    if (dtype == DTYPE_F16 || dtype == DTYPE_BF16)
        return lanes_type(g->i16, lanes);
    if (dtype == DTYPE_BOOL)
        return lanes_type(g->i8, lanes);
    return register_type(g, dtype, lanes);
}

LLVMValueRef lanes_splat(Emit *e, LLVMValueRef scalar)
{
    if (e->lanes == 1 || LLVMGetTypeKind(LLVMTypeOf(scalar)) == LLVMVectorTypeKind)
        return scalar;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)e->lanes);
    if (LLVMIsConstant(scalar)) {
        LLVMValueRef all[64];
        for (int i = 0; i < e->lanes; i++)
            all[i] = scalar;
        return LLVMConstVector(all, (unsigned)e->lanes);
    }
    LLVMValueRef one =
        LLVMBuildInsertElement(e->b, LLVMGetPoison(type), scalar, whole(e->g, 0), "");
    LLVMTypeRef order = LLVMVectorType(e->g->i32, (unsigned)e->lanes);
    return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(type), LLVMConstNull(order), "");
}

LLVMValueRef lanes_iota(Emit *e)
{
    LLVMValueRef all[64];
    for (int i = 0; i < e->lanes; i++)
        all[i] = whole(e->g, i);
    return LLVMConstVector(all, (unsigned)e->lanes);
}

LLVMValueRef emit_intrinsic(Emit *e, const char *name, LLVMTypeRef overloaded, LLVMValueRef in[],
                            int inputs)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef types[1] = {overloaded};
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->g->module, id, types, 1);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->g->llvm, id, types, 1), function, in,
                          (unsigned)inputs, "");
}

void emit_prefetch(Emit *e, LLVMValueRef address, CacheAsk ask)
{
    enum { DATA = 1 };
    LLVMTypeRef type = e->g->i32;
    unsigned level = ask == TO_WRITE ? FIRST_LEVEL : ask;
    LLVMValueRef in[] = {address, LLVMConstInt(type, ask == TO_WRITE, 0),
                         LLVMConstInt(type, level, 0), LLVMConstInt(type, DATA, 0)};
    emit_intrinsic(e, "llvm.prefetch", e->g->ptr, in, 4);
}

static LLVMTypeRef typed(Emit *e, DType dtype)
{
    return register_type(e->g, dtype, e->lanes);
}

static bool is_float(DType dtype)
{
    return dtype_info[dtype].kind == KIND_FLOAT;
}

static LLVMValueRef int_constant(Emit *e, DType dtype, int64_t value)
{
    return lanes_splat(e,
                       LLVMConstInt(register_type(e->g, dtype, 1), (unsigned long long)value, 1));
}

LLVMValueRef emit_constant(Emit *e, DType dtype, double real)
{
    if (is_float(dtype))
        return lanes_splat(e, LLVMConstReal(register_type(e->g, dtype, 1), real));
    return int_constant(e, dtype, (int64_t)real);
}

// ---- between memory and registers ---------------------------------------------------------------

static LLVMValueRef cast_to(Emit *e, LLVMOpcode op, LLVMValueRef value, LLVMTypeRef scalar)
{
    return LLVMBuildCast(e->b, op, value, lanes_type(scalar, e->lanes), "");
}

static LLVMValueRef splat_int(Emit *e, LLVMTypeRef type, uint64_t value)
{
    return lanes_splat(e, LLVMConstInt(type, value, 0));
}

enum { PAIR_LANES = 16 }; // f32 of a register, where a processor has instructions for bf16

static LLVMValueRef operand_of(LLVMValueRef value, LLVMOpcode made_by)
{
    bool made = value && LLVMIsAInstruction(value) && LLVMGetInstructionOpcode(value) == made_by;
    return made ? LLVMGetOperand(value, 0) : NULL;
}

// The 16 bits of which from_bf16 made a value; NULL: it is none of those.
static LLVMValueRef known_bf16(LLVMValueRef value)
{
    return operand_of(operand_of(operand_of(value, LLVMBitCast), LLVMShl), LLVMZExt);
}

// Rounded by the processor, for which denormals are zero.
static LLVMValueRef converted_bf16(Emit *e, LLVMValueRef value)
{
    static const char name[] = "llvm.x86.avx512bf16.cvtneps2bf16.512";
    unsigned id = LLVMLookupIntrinsicID(name, sizeof name - 1);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->g->module, id, NULL, 0);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->g->llvm, id, NULL, 0);
    return cast_to(e, LLVMBitCast, LLVMBuildCall2(e->b, type, function, &value, 1, ""), e->g->i16);
}

// f32 to the upper half of its bits: round to nearest even, a NaN stays one.
static LLVMValueRef to_bf16(Emit *e, LLVMValueRef value)
{
    Codegen *g = e->g;
    LLVMValueRef known = known_bf16(value);
    if (known && LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMGetTypeKind(LLVMTypeOf(known)))
        return known;
    if (g->rounds && e->lanes == PAIR_LANES)
        return converted_bf16(e, value);
    LLVMValueRef bits = cast_to(e, LLVMBitCast, value, g->i32);
    LLVMValueRef odd = LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, bits, splat_int(e, g->i32, 16), ""),
                                    splat_int(e, g->i32, 1), "");
    LLVMValueRef rounded =
        LLVMBuildAdd(e->b, bits, LLVMBuildAdd(e->b, odd, splat_int(e, g->i32, 0x7fff), ""), "");
    LLVMValueRef quiet = LLVMBuildOr(e->b, bits, splat_int(e, g->i32, 0x400000), "");
    LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
    LLVMValueRef chosen = LLVMBuildSelect(e->b, nan, quiet, rounded, "");
    if (e->lanes == 1)
        return cast_to(e, LLVMTrunc, LLVMBuildLShr(e->b, chosen, splat_int(e, g->i32, 16), ""),
                       g->i16);
    // The upper halves are picked, not shifted and truncated: LLVM 22 stores four bytes where a
    // truncation is followed by a masked store of one lane, and the next element may belong to
    // another thread.
    LLVMValueRef halves =
        LLVMBuildBitCast(e->b, chosen, LLVMVectorType(g->i16, (unsigned)e->lanes * 2), "");
    LLVMValueRef upper[64];
    for (int i = 0; i < e->lanes; i++)
        upper[i] = LLVMConstInt(g->i32, (unsigned)i * 2 + 1, 0);
    return LLVMBuildShuffleVector(e->b, halves, LLVMGetPoison(LLVMTypeOf(halves)),
                                  LLVMConstVector(upper, (unsigned)e->lanes), "");
}

static LLVMValueRef from_bf16(Emit *e, LLVMValueRef value)
{
    LLVMValueRef wide = cast_to(e, LLVMZExt, value, e->g->i32);
    return cast_to(e, LLVMBitCast, LLVMBuildShl(e->b, wide, splat_int(e, e->g->i32, 16), ""),
                   e->g->f32);
}

LLVMValueRef register_to_memory(Emit *e, DType dtype, LLVMValueRef value)
{
    if (dtype == DTYPE_F16)
        return cast_to(e, LLVMBitCast, cast_to(e, LLVMFPTrunc, value, e->g->half), e->g->i16);
    if (dtype == DTYPE_BF16)
        return to_bf16(e, value);
    if (dtype == DTYPE_BOOL)
        return cast_to(e, LLVMZExt, value, e->g->i8);
    return value;
}

LLVMValueRef memory_to_register(Emit *e, DType dtype, LLVMValueRef value)
{
    if (dtype == DTYPE_F16)
        return cast_to(e, LLVMFPExt, cast_to(e, LLVMBitCast, value, e->g->half), e->g->f32);
    if (dtype == DTYPE_BF16)
        return from_bf16(e, value);
    if (dtype == DTYPE_BOOL)
        return LLVMBuildICmp(e->b, LLVMIntNE, value, splat_int(e, e->g->i8, 0), "");
    return value;
}

LLVMValueRef emit_round(Emit *e, DType dtype, LLVMValueRef value)
{
    if (dtype != DTYPE_F16 && dtype != DTYPE_BF16)
        return value;
    return memory_to_register(e, dtype, register_to_memory(e, dtype, value));
}

LLVMValueRef emit_element_constant(Emit *e, DType dtype, const void *at)
{
    if (is_float(dtype))
        return emit_constant(e, dtype, element_real(dtype, at, 0));
    int64_t value = 0;
    switch (dtype) {
    case DTYPE_I8:
        value = *(const int8_t *)at;
        break;
    case DTYPE_U8:
        value = *(const uint8_t *)at;
        break;
    case DTYPE_I32: {
        int32_t v;
        memcpy(&v, at, 4);
        value = v;
        break;
    }
    case DTYPE_I64:
        memcpy(&value, at, 8);
        break;
    case DTYPE_BOOL:
        value = *(const uint8_t *)at != 0;
        break;
    case DTYPE_F32:
    case DTYPE_F64:
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_COUNT:
        break;
    }
    return int_constant(e, dtype, value);
}

// ---- math ---------------------------------------------------------------------------------------

static LLVMValueRef contracting(LLVMValueRef value)
{
    if (LLVMIsAInstruction(value) && LLVMCanValueUseFastMathFlags(value))
        LLVMSetFastMathFlags(value, LLVMFastMathAllowContract);
    return value;
}

// Lanes begin..begin+count of a vector; lanes beyond its end hold anything.
static LLVMValueRef part_of(Emit *e, LLVMValueRef vector, int begin, int count)
{
    LLVMValueRef order[64];
    int have = (int)LLVMGetVectorSize(LLVMTypeOf(vector));
    for (int i = 0; i < count; i++)
        order[i] = begin + i < have ? LLVMConstInt(e->g->i32, (unsigned)(begin + i), 0)
                                    : LLVMGetPoison(e->g->i32);
    return LLVMBuildShuffleVector(e->b, vector, LLVMGetPoison(LLVMTypeOf(vector)),
                                  LLVMConstVector(order, (unsigned)count), "");
}

static LLVMValueRef joined(Emit *e, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef order[64];
    unsigned count = 2 * LLVMGetVectorSize(LLVMTypeOf(a));
    for (unsigned i = 0; i < count; i++)
        order[i] = LLVMConstInt(e->g->i32, i, 0);
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(order, count), "");
}

// Calls the template aml_NAME_TYPE; vectors are cut or widened to the register width that it is
// made for.
static LLVMValueRef call_math(Emit *e, const char *name, bool is_double, LLVMValueRef in[],
                              int inputs, int lanes)
{
    Codegen *g = e->g;
    int native = is_double ? g->lanes / 2 : g->lanes;
    char symbol[64];
    snprintf(symbol, sizeof symbol, "aml_%s_%s%s", name, is_double ? "f64" : "f32",
             lanes > 1 ? "v" : "");
    LLVMValueRef arg[2];
    if (lanes > native) {
        LLVMValueRef half[2];
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < inputs; i++)
                arg[i] = part_of(e, in[i], side * lanes / 2, lanes / 2);
            half[side] = call_math(e, name, is_double, arg, inputs, lanes / 2);
        }
        return joined(e, half[0], half[1]);
    }
    for (int i = 0; i < inputs; i++)
        arg[i] = lanes > 1 && lanes < native ? part_of(e, in[i], 0, native) : in[i];
    LLVMValueRef function = template_function(g, symbol);
    LLVMValueRef result =
        LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, (unsigned)inputs, "");
    return lanes > 1 && lanes < native ? part_of(e, result, 0, lanes) : result;
}

static LLVMValueRef math(Emit *e, const char *name, DType dtype, LLVMValueRef in[], int inputs)
{
    return call_math(e, name, dtype == DTYPE_F64, in, inputs, e->lanes);
}

static LLVMValueRef float_intrinsic(Emit *e, const char *name, LLVMValueRef value)
{
    return emit_intrinsic(e, name, LLVMTypeOf(value), &value, 1);
}

static bool constant_not_nan(LLVMValueRef value)
{
    if (LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind && LLVMIsConstant(value))
        value = LLVMGetAggregateElement(value, 0);
    LLVMBool loses;
    return value && LLVMIsAConstantFP(value) &&
           LLVMConstRealGetDouble(value, &loses) == LLVMConstRealGetDouble(value, &loses);
}

// The larger (or smaller); NaN if either is. The select chosen is the one that a single instruction
// does if b is no NaN.
static LLVMValueRef float_extreme(Emit *e, bool larger, LLVMValueRef a, LLVMValueRef b)
{
    if (constant_not_nan(a)) {
        LLVMValueRef swap = a;
        a = b;
        b = swap;
    }
    LLVMRealPredicate below = larger ? LLVMRealOLT : LLVMRealOGT;
    if (constant_not_nan(b))
        return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, below, a, b, ""), b, a, "");
    LLVMRealPredicate above = larger ? LLVMRealOGT : LLVMRealOLT;
    LLVMValueRef chosen = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, above, a, b, ""), a, b, "");
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, a, a, ""), a, chosen, "");
}

static LLVMValueRef extreme(Emit *e, bool larger, DType dtype, LLVMValueRef a, LLVMValueRef b)
{
    if (is_float(dtype))
        return float_extreme(e, larger, a, b);
    if (dtype == DTYPE_BOOL)
        return larger ? LLVMBuildOr(e->b, a, b, "") : LLVMBuildAnd(e->b, a, b, "");
    bool is_signed = dtype != DTYPE_U8;
    LLVMIntPredicate compare =
        larger ? (is_signed ? LLVMIntSGT : LLVMIntUGT) : (is_signed ? LLVMIntSLT : LLVMIntULT);
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, compare, a, b, ""), a, b, "");
}

// Division by zero gives 0; the smallest number divided by -1 wraps instead of trapping. The
// remainder takes b's sign.
static LLVMValueRef int_divide(Emit *e, DType dtype, bool remainder, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef zero = int_constant(e, dtype, 0), one = int_constant(e, dtype, 1);
    LLVMValueRef by_zero = LLVMBuildICmp(e->b, LLVMIntEQ, b, zero, "");
    if (dtype == DTYPE_U8) {
        LLVMValueRef safe = LLVMBuildSelect(e->b, by_zero, one, b, "");
        LLVMValueRef result =
            remainder ? LLVMBuildURem(e->b, a, safe, "") : LLVMBuildUDiv(e->b, a, safe, "");
        return LLVMBuildSelect(e->b, by_zero, zero, result, "");
    }
    LLVMValueRef by_minus = LLVMBuildICmp(e->b, LLVMIntEQ, b, int_constant(e, dtype, -1), "");
    LLVMValueRef safe = LLVMBuildSelect(e->b, LLVMBuildOr(e->b, by_zero, by_minus, ""), one, b, "");
    if (!remainder) {
        LLVMValueRef result = LLVMBuildSDiv(e->b, a, safe, "");
        result = LLVMBuildSelect(e->b, by_minus, LLVMBuildSub(e->b, zero, a, ""), result, "");
        return LLVMBuildSelect(e->b, by_zero, zero, result, "");
    }
    LLVMValueRef rest = LLVMBuildSRem(e->b, a, safe, "");
    LLVMValueRef differs =
        LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, rest, safe, ""), zero, "");
    LLVMValueRef moves =
        LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntNE, rest, zero, ""), differs, "");
    rest = LLVMBuildSelect(e->b, moves, LLVMBuildAdd(e->b, rest, safe, ""), rest, "");
    return LLVMBuildSelect(e->b, LLVMBuildOr(e->b, by_zero, by_minus, ""), zero, rest, "");
}

static LLVMValueRef sign(Emit *e, DType dtype, LLVMValueRef a)
{
    LLVMValueRef one = emit_constant(e, dtype, 1), minus = emit_constant(e, dtype, -1),
                 zero = emit_constant(e, dtype, 0);
    if (is_float(dtype)) {
        LLVMValueRef low =
            LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, a, zero, ""), minus, a, "");
        return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, a, zero, ""), one, low, "");
    }
    LLVMValueRef some =
        LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, a, zero, ""), zero, one, "");
    if (dtype == DTYPE_U8)
        return some;
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, a, zero, ""), minus, some, "");
}

static LLVMValueRef compare(Emit *e, Op op, DType dtype, LLVMValueRef a, LLVMValueRef b)
{
    enum { EQ, NE, LT, LE };
    int which = op == OP_eq ? EQ : op == OP_ne ? NE : op == OP_lt ? LT : LE;
    static const LLVMRealPredicate real[] = {LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT, LLVMRealOLE};
    static const LLVMIntPredicate with_sign[] = {LLVMIntEQ, LLVMIntNE, LLVMIntSLT, LLVMIntSLE};
    static const LLVMIntPredicate without[] = {LLVMIntEQ, LLVMIntNE, LLVMIntULT, LLVMIntULE};
    if (is_float(dtype))
        return LLVMBuildFCmp(e->b, real[which], a, b, "");
    bool is_unsigned = dtype == DTYPE_U8 || dtype == DTYPE_BOOL;
    return LLVMBuildICmp(e->b, is_unsigned ? without[which] : with_sign[which], a, b, "");
}

// To bytes by way of i32, which vectors have instructions for; LLVM would go lane by lane.
static LLVMValueRef saturating_byte(Emit *e, DType from, DType to, LLVMValueRef value)
{
    LLVMValueRef low = emit_constant(e, from, to == DTYPE_U8 ? 0 : -128),
                 high = emit_constant(e, from, to == DTYPE_U8 ? 255 : 127);
    LLVMValueRef is_more = LLVMBuildFCmp(e->b, LLVMRealOGT, value, low, ""),
                 is_nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
    LLVMValueRef held = LLVMBuildSelect(e->b, is_more, value, low, "");
    held = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, held, high, ""), held, high, "");
    if (to != DTYPE_U8) // the low end of u8 is what NaN gives
        held = LLVMBuildSelect(e->b, is_nan, emit_constant(e, from, 0), held, "");
    LLVMValueRef whole_number = LLVMBuildFPToSI(e->b, held, typed(e, DTYPE_I32), "");
    return LLVMBuildTrunc(e->b, whole_number, typed(e, to), "");
}

static LLVMValueRef saturating(Emit *e, DType to, LLVMValueRef value)
{
    LLVMTypeRef types[2] = {typed(e, to), LLVMTypeOf(value)};
    const char *name = to == DTYPE_U8 ? "llvm.fptoui.sat" : "llvm.fptosi.sat";
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->g->module, id, types, 2);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->g->llvm, id, types, 2), function, &value, 1,
                          "");
}

static LLVMValueRef cast(Emit *e, DType from, DType to, LLVMValueRef a)
{
    if (from == to)
        return a;
    bool from_double = from == DTYPE_F64;
    if (to == DTYPE_BOOL) {
        if (is_float(from))
            return LLVMBuildFCmp(e->b, LLVMRealUNE, a, emit_constant(e, from, 0), "");
        return LLVMBuildICmp(e->b, LLVMIntNE, a, int_constant(e, from, 0), "");
    }
    if (is_float(to)) {
        if (is_float(from)) {
            if (to == DTYPE_F64)
                return from_double ? a : cast_to(e, LLVMFPExt, a, e->g->f64);
            return emit_round(e, to, from_double ? cast_to(e, LLVMFPTrunc, a, e->g->f32) : a);
        }
        bool is_unsigned = from == DTYPE_U8 || from == DTYPE_BOOL;
        return emit_round(
            e, to, LLVMBuildCast(e->b, is_unsigned ? LLVMUIToFP : LLVMSIToFP, a, typed(e, to), ""));
    }
    if (is_float(from))
        return to == DTYPE_U8 || to == DTYPE_I8 ? saturating_byte(e, from, to, a)
                                                : saturating(e, to, a);
    unsigned have = LLVMGetIntTypeWidth(register_type(e->g, from, 1)),
             want = LLVMGetIntTypeWidth(register_type(e->g, to, 1));
    if (have == want)
        return a;
    bool is_unsigned = from == DTYPE_U8 || from == DTYPE_BOOL;
    return LLVMBuildCast(e->b,
                         want < have   ? LLVMTrunc
                         : is_unsigned ? LLVMZExt
                                       : LLVMSExt,
                         a, typed(e, to), "");
}

static LLVMValueRef float_op(Emit *e, Op op, DType dtype, LLVMValueRef in[])
{
    LLVMValueRef a = in[0], b = in[1];
    if (op == OP_neg)
        return LLVMBuildFNeg(e->b, a, "");
    if (op == OP_abs)
        return float_intrinsic(e, "llvm.fabs", a);
    if (op == OP_sqrt)
        return float_intrinsic(e, "llvm.sqrt", a);
    if (op == OP_floor)
        return float_intrinsic(e, "llvm.floor", a);
    if (op == OP_round)
        return float_intrinsic(e, "llvm.roundeven", a);
    if (op == OP_add)
        return contracting(LLVMBuildFAdd(e->b, a, b, ""));
    if (op == OP_sub)
        return contracting(LLVMBuildFSub(e->b, a, b, ""));
    if (op == OP_mul)
        return contracting(LLVMBuildFMul(e->b, a, b, ""));
    if (op == OP_div)
        return LLVMBuildFDiv(e->b, a, b, "");
    if (op == OP_mod) { // the exact rest has the sign of a and is moved to the sign of b
        LLVMValueRef rest = LLVMBuildFRem(e->b, a, b, ""), zero = LLVMConstNull(LLVMTypeOf(a));
        LLVMValueRef apart = LLVMBuildXor(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, rest, zero, ""),
                                          LLVMBuildFCmp(e->b, LLVMRealOLT, b, zero, ""), "");
        LLVMValueRef moved =
            LLVMBuildSelect(e->b, apart, LLVMBuildFAdd(e->b, rest, b, ""), rest, "");
        LLVMValueRef none = LLVMBuildFCmp(e->b, LLVMRealOEQ, rest, zero, "");
        LLVMValueRef signed_zero[] = {zero, b};
        return LLVMBuildSelect(e->b, none,
                               emit_intrinsic(e, "llvm.copysign", LLVMTypeOf(a), signed_zero, 2),
                               moved, "");
    }
    return math(e, op_info[op].name, dtype, in, op_info[op].inputs);
}

static LLVMValueRef int_op(Emit *e, Op op, DType dtype, LLVMValueRef in[])
{
    LLVMValueRef a = in[0], b = in[1];
    if (op == OP_neg)
        return LLVMBuildNeg(e->b, a, "");
    if (op == OP_abs) {
        if (dtype == DTYPE_U8)
            return a;
        LLVMValueRef below = LLVMBuildICmp(e->b, LLVMIntSLT, a, int_constant(e, dtype, 0), "");
        return LLVMBuildSelect(e->b, below, LLVMBuildNeg(e->b, a, ""), a, "");
    }
    if (op == OP_add)
        return LLVMBuildAdd(e->b, a, b, "");
    if (op == OP_sub)
        return LLVMBuildSub(e->b, a, b, "");
    if (op == OP_mul)
        return LLVMBuildMul(e->b, a, b, "");
    if (op == OP_div || op == OP_mod)
        return int_divide(e, dtype, op == OP_mod, a, b);
    bug(e->g->cx, (Span){0}, "'%s' of integers", op_info[op].name);
}

// The sum of e^(x - the largest x): 1 at least.
static bool sums_exponentials(const Inst *sum)
{
    if (sum->op != OP_reduce || sum->attr[0].reducer != REDUCE_SUM || sum->input[0]->op != OP_exp)
        return false;
    const Inst *apart = sum->input[0]->input[0];
    if (apart->op != OP_sub || apart->input[1]->op != OP_broadcast)
        return false;
    const Inst *largest = apart->input[1]->input[0];
    return largest->op == OP_reduce && largest->attr[0].reducer == REDUCE_MAX &&
           largest->input[0] == apart->input[0];
}

// A divisor that is the same for many elements is inverted once, in front of their loop, if its
// inverse is never out of range: that of a root never is.
static bool divides_many(const Inst *divisor)
{
    if (divisor->op != OP_broadcast)
        return false;
    while (divisor->op == OP_broadcast || divisor->op == OP_reshape)
        divisor = divisor->input[0];
    return divisor->op == OP_sqrt || sums_exponentials(divisor);
}

LLVMValueRef emit_op(Emit *e, const Inst *inst, LLVMValueRef in[])
{
    Op op = inst->op;
    DType dtype = inst->input[0]->type.dtype;
    if (op == OP_eq || op == OP_ne || op == OP_lt || op == OP_le)
        return compare(e, op, dtype, in[0], in[1]);
    if (op == OP_select)
        return LLVMBuildSelect(e->b, in[0], in[1], in[2], "");
    if (op == OP_cast)
        return cast(e, dtype, inst->type.dtype, in[0]);
    if (op == OP_not)
        return LLVMBuildNot(e->b, in[0], "");
    if (op == OP_and)
        return LLVMBuildAnd(e->b, in[0], in[1], "");
    if (op == OP_or)
        return LLVMBuildOr(e->b, in[0], in[1], "");
    if (op == OP_max || op == OP_min)
        return extreme(e, op == OP_max, dtype, in[0], in[1]);
    if (op == OP_sign)
        return sign(e, dtype, in[0]);
    if (op == OP_div && dtype == DTYPE_F32 && divides_many(inst->input[1])) {
        LLVMValueRef inverse = LLVMBuildFDiv(e->b, emit_constant(e, dtype, 1), in[1], "");
        return LLVMBuildFMul(e->b, in[0], inverse, "");
    }
    if (is_float(dtype))
        return emit_round(e, dtype, float_op(e, op, dtype, in));
    return int_op(e, op, dtype, in);
}

// ---- folding ------------------------------------------------------------------------------------

LLVMValueRef emit_reducer(Emit *e, Reducer with, DType dtype, LLVMValueRef a, LLVMValueRef b)
{
    switch (with) {
    case REDUCE_SUM:
        return is_float(dtype) ? contracting(LLVMBuildFAdd(e->b, a, b, ""))
                               : LLVMBuildAdd(e->b, a, b, "");
    case REDUCE_PROD:
        return is_float(dtype) ? LLVMBuildFMul(e->b, a, b, "") : LLVMBuildMul(e->b, a, b, "");
    case REDUCE_MAX:
        return extreme(e, true, dtype, a, b);
    case REDUCE_MIN:
        return extreme(e, false, dtype, a, b);
    case REDUCE_ANY:
        return LLVMBuildOr(e->b, a, b, "");
    case REDUCE_ALL:
        return LLVMBuildAnd(e->b, a, b, "");
    case REDUCER_COUNT:
        break;
    }
    bug(e->g->cx, (Span){0}, "reducer %d", with);
}

LLVMValueRef emit_identity(Emit *e, Reducer with, DType dtype)
{
    bool largest = with == REDUCE_MIN;
    switch (with) {
    case REDUCE_SUM:
    case REDUCE_ANY:
        return emit_constant(e, dtype, 0);
    case REDUCE_PROD:
    case REDUCE_ALL:
        return emit_constant(e, dtype, 1);
    case REDUCE_MAX:
    case REDUCE_MIN:
        break;
    case REDUCER_COUNT:
        bug(e->g->cx, (Span){0}, "reducer %d", with);
    }
    if (is_float(dtype))
        return emit_constant(e, dtype, largest ? INFINITY : -INFINITY);
    if (dtype == DTYPE_BOOL)
        return int_constant(e, dtype, largest);
    if (dtype == DTYPE_U8)
        return int_constant(e, dtype, largest ? 255 : 0);
    int bits = dtype_info[dtype].bytes * 8;
    int64_t most = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    return int_constant(e, dtype, largest ? most : -most - 1);
}

LLVMValueRef emit_horizontal(Emit *e, Reducer with, DType dtype, LLVMValueRef vector)
{
    if (LLVMGetTypeKind(LLVMTypeOf(vector)) != LLVMVectorTypeKind)
        return vector;
    Emit half = *e;
    for (half.lanes = (int)LLVMGetVectorSize(LLVMTypeOf(vector)) / 2; half.lanes >= 1;
         half.lanes /= 2) {
        LLVMValueRef low, high;
        if (half.lanes == 1) {
            low = LLVMBuildExtractElement(e->b, vector, whole(e->g, 0), "");
            high = LLVMBuildExtractElement(e->b, vector, whole(e->g, 1), "");
        } else {
            low = part_of(e, vector, 0, half.lanes);
            high = part_of(e, vector, half.lanes, half.lanes);
        }
        vector = emit_reducer(&half, with, dtype, low, high);
    }
    return vector;
}
