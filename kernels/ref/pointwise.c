// pointwise.c: ops that treat each element by itself. Floats are computed in f64 and rounded once;
// integers wrap around.

#include <math.h>

#include "kernel.h"

static bool is_float(DType dtype)
{
    return dtype_info[dtype].kind == KIND_FLOAT;
}

typedef double RealFunction1(double a);
typedef double RealFunction2(double a, double b);
typedef int64_t WholeFunction1(int64_t a);
typedef int64_t WholeFunction2(int64_t a, int64_t b);

static void each1(const RefCall *call, RealFunction1 *real, WholeFunction1 *whole)
{
    DType dtype = call->in_type[0].dtype;
    for (int64_t i = 0; i < type_elements(call->out_type[0]); i++) {
        if (is_float(dtype))
            element_set_real(dtype, call->out[0], i, real(element_real(dtype, call->in[0], i)));
        else
            element_set_whole(dtype, call->out[0], i, whole(element_whole(dtype, call->in[0], i)));
    }
}

static void each2(const RefCall *call, RealFunction2 *real, WholeFunction2 *whole)
{
    DType dtype = call->in_type[0].dtype, out = call->out_type[0].dtype;
    for (int64_t i = 0; i < type_elements(call->out_type[0]); i++) {
        if (is_float(dtype))
            element_set_real(
                out, call->out[0], i,
                real(element_real(dtype, call->in[0], i), element_real(dtype, call->in[1], i)));
        else
            element_set_whole(
                out, call->out[0], i,
                whole(element_whole(dtype, call->in[0], i), element_whole(dtype, call->in[1], i)));
    }
}

#define REAL1(name, expression)                                                                    \
    static double real_##name(double a)                                                            \
    {                                                                                              \
        return expression;                                                                         \
    }
#define WHOLE1(name, expression)                                                                   \
    static int64_t whole_##name(int64_t a)                                                         \
    {                                                                                              \
        return expression;                                                                         \
    }
#define REAL2(name, expression)                                                                    \
    static double real_##name(double a, double b)                                                  \
    {                                                                                              \
        return expression;                                                                         \
    }
#define WHOLE2(name, expression)                                                                   \
    static int64_t whole_##name(int64_t a, int64_t b)                                              \
    {                                                                                              \
        return expression;                                                                         \
    }
#define KERNEL(name, each, real, whole)                                                            \
    void ref_##name(const RefCall *call)                                                           \
    {                                                                                              \
        each(call, real, whole);                                                                   \
    }

static int64_t wrap(uint64_t value)
{
    return (int64_t)value;
}

REAL1(neg, -a)
WHOLE1(neg, wrap(0 - (uint64_t)a))
KERNEL(neg, each1, real_neg, whole_neg)
WHOLE1(abs, a < 0 ? wrap(0 - (uint64_t)a) : a)
KERNEL(abs, each1, fabs, whole_abs)
REAL1(sign, isnan(a) ? a : a > 0 ? 1 : a < 0 ? -1 : 0)
WHOLE1(sign, (a > 0) - (a < 0))
KERNEL(sign, each1, real_sign, whole_sign)
KERNEL(exp, each1, exp, NULL)
KERNEL(log, each1, log, NULL)
KERNEL(sqrt, each1, sqrt, NULL)
KERNEL(sin, each1, sin, NULL)
KERNEL(cos, each1, cos, NULL)
KERNEL(tanh, each1, tanh, NULL)
KERNEL(erf, each1, erf, NULL)
REAL1(sigmoid, a >= 0 ? 1 / (1 + exp(-a))
                      : exp(a) / (1 + exp(a))) // the second form where exp(-a) would overflow
KERNEL(sigmoid, each1, real_sigmoid, NULL)
KERNEL(floor, each1, floor, NULL)
KERNEL(round, each1, rint, NULL)
WHOLE1(not, !a)
KERNEL(not, each1, NULL, whole_not)

REAL2(add, a + b)
WHOLE2(add, wrap((uint64_t)a + (uint64_t)b))
KERNEL(add, each2, real_add, whole_add)
REAL2(sub, a - b)
WHOLE2(sub, wrap((uint64_t)a - (uint64_t)b))
KERNEL(sub, each2, real_sub, whole_sub)
REAL2(mul, a *b)
WHOLE2(mul, wrap((uint64_t)a *(uint64_t)b))
KERNEL(mul, each2, real_mul, whole_mul)
REAL2(div, a / b)
WHOLE2(div, b == 0    ? 0
            : b == -1 ? wrap(0 - (uint64_t)a)
                      : a / b) // the lowest number / -1 wraps around
KERNEL(div, each2, real_div, whole_div)

// fmod is exact; its result has the sign of a and is moved to the sign of b. mod by an infinity of
// the other sign is that infinity, as a - b * floor(a / b) says; a zero takes the sign of b.
static double real_mod(double a, double b)
{
    double rest = fmod(a, b);
    if (rest == 0)
        return copysign(0, b);
    return (rest < 0) != (b < 0) && !isnan(rest) ? rest + b : rest;
}
static int64_t whole_mod(int64_t a, int64_t b)
{
    if (b == 0 || b == -1)
        return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
KERNEL(mod, each2, real_mod, whole_mod)
KERNEL(pow, each2, pow, NULL)

// +0 is larger than -0, so that the result does not depend on the order.
REAL2(max, isnan(a) ? a : isnan(b) ? b : a > b ? a : b > a ? b : signbit(a) ? b : a)
WHOLE2(max, a > b ? a : b)
KERNEL(max, each2, real_max, whole_max)
REAL2(min, isnan(a) ? a : isnan(b) ? b : a < b ? a : b < a ? b : signbit(a) ? a : b)
WHOLE2(min, a < b ? a : b)
KERNEL(min, each2, real_min, whole_min)
WHOLE2(and, a &&b)
KERNEL(and, each2, NULL, whole_and)
WHOLE2(or, a || b)
KERNEL(or, each2, NULL, whole_or)

REAL2(eq, a == b)
WHOLE2(eq, a == b)
KERNEL(eq, each2, real_eq, whole_eq)
REAL2(ne, a != b)
WHOLE2(ne, a != b)
KERNEL(ne, each2, real_ne, whole_ne)
REAL2(lt, a < b)
WHOLE2(lt, a < b)
KERNEL(lt, each2, real_lt, whole_lt)
REAL2(le, a <= b)
WHOLE2(le, a <= b)
KERNEL(le, each2, real_le, whole_le)

void ref_select(const RefCall *call)
{
    Type type = call->out_type[0];
    for (int64_t i = 0; i < type_elements(type); i++)
        element_copy(type.dtype, call->out[0], i,
                     call->in[element_whole(DTYPE_BOOL, call->in[0], i) ? 1 : 2], i);
}

void ref_cast(const RefCall *call)
{
    DType from = call->in_type[0].dtype, to = call->out_type[0].dtype;
    for (int64_t i = 0; i < type_elements(call->out_type[0]); i++) {
        if (from == to)
            element_copy(to, call->out[0], i, call->in[0], i);
        else if (is_float(from))
            element_set_real(to, call->out[0], i, element_real(from, call->in[0], i));
        else
            element_set_whole(to, call->out[0], i, element_whole(from, call->in[0], i));
    }
}
