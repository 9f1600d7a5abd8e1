// The math functions stay within the stated error of the exact value, the register versions give
// the bits of the scalar ones, and zeros, infinities, NaN and denormal numbers are handled as in C.
//
// Without arguments: every 1009th float, and as many doubles. --exhaustive: every float. --table:
// also prints one line of figures a function, which accuracy_table.py makes docs/math-accuracy.md
// of. An error is measured in units in the last place of the exact value, which libm gives in the
// next wider type.

#include "../check.h"
#include "guarded.h"
#include "kernels.c"

typedef struct Function32 {
    const char *name;
    float (*scalar)(float);
    f32v (*vector)(f32v);
    double (*exact)(double);
    double bound;
} Function32;

typedef struct Function64 {
    const char *name;
    double (*scalar)(double);
    f64v (*vector)(f64v);
    long double (*exact)(long double);
    double bound;
} Function64;

typedef struct Errors {
    double most, sum;
    double at;
    uint64_t count;
} Errors;

static double exact_sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static long double exact_sigmoid_long(long double x)
{
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}

// The stated bounds: change docs/math-accuracy.md with them.
static const Function32 functions32[] = {
    {"exp", aml_exp_f32, aml_exp_f32v, exp, 2},
    {"log", aml_log_f32, aml_log_f32v, log, 2},
    {"sin", aml_sin_f32, aml_sin_f32v, sin, 2},
    {"cos", aml_cos_f32, aml_cos_f32v, cos, 2},
    {"tanh", aml_tanh_f32, aml_tanh_f32v, tanh, 4},
    {"erf", aml_erf_f32, aml_erf_f32v, erf, 4},
    {"sigmoid", aml_sigmoid_f32, aml_sigmoid_f32v, exact_sigmoid, 2.5},
};
static const Function64 functions64[] = {
    {"exp", aml_exp_f64, aml_exp_f64v, expl, 2},
    {"log", aml_log_f64, aml_log_f64v, logl, 2},
    {"sin", aml_sin_f64, aml_sin_f64v, sinl, 2.5},
    {"cos", aml_cos_f64, aml_cos_f64v, cosl, 2.5},
    {"tanh", aml_tanh_f64, aml_tanh_f64v, tanhl, 4},
    {"erf", aml_erf_f64, aml_erf_f64v, erfl, 4},
    {"sigmoid", aml_sigmoid_f64, aml_sigmoid_f64v, exact_sigmoid_long, 2.5},
};
enum { FUNCTIONS = sizeof functions32 / sizeof *functions32 };

static uint64_t stride = 1009;
static bool print_table;

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Errors of a result for an exact value, in units of the last of `digits` binary places; smallest
// exponent `least`.
static double error_in_places(double found, long double exact, int digits, int least, double most)
{
    if (isnan(exact))
        return isnan(found) ? 0 : INFINITY;
    if (isinf(exact) || fabsl(exact) > most)
        return found == (exact > 0 ? INFINITY : -INFINITY)         ? 0
               : fabs(found) >= most && (found > 0) == (exact > 0) ? 1
                                                                   : INFINITY;
    int exponent;
    frexpl(exact, &exponent);
    int place = exponent - digits < least ? least : exponent - digits;
    if (isinf(found)) // the exact value may be within rounding of the largest number
        return fabsl(exact) > (long double)most * (1 - 0x1p-20L) && (found > 0) == (exact > 0)
                   ? 1
                   : INFINITY;
    if (exact == 0)
        return found == 0 && !signbit(found) == !signbit(exact) ? 0 : INFINITY;
    return (double)ldexpl(fabsl((long double)found - exact), -place);
}

static void count_error(Errors *errors, double error, double at)
{
    errors->count++;
    errors->sum += error;
    if (!(error <= errors->most))
        errors->most = error, errors->at = at;
}

static void report(const char *type, const char *name, const Errors *errors, double bound)
{
    if (print_table)
        printf("ROW %s %s %d %.3f %.4f %.9g %llu %.1f\n", type, name, AML_WIDTH, errors->most,
               errors->sum / (double)errors->count, errors->at, (unsigned long long)errors->count,
               bound);
}

TEST(floats_are_within_the_stated_error)
{
    for (int f = 0; f < FUNCTIONS; f++) {
        const Function32 *function = &functions32[f];
        Errors errors = {.most = 0};
        for (uint64_t first = 0; first < 1ull << 32; first += stride * F32_LANES) {
            f32v x, y;
            for (int i = 0; i < F32_LANES; i++)
                x[i] = float_of((uint32_t)(first + stride * (uint64_t)i));
            y = function->vector(x);
            for (int i = 0; i < F32_LANES; i++) {
                float alone = function->scalar(x[i]), together = y[i];
                if (memcmp(&alone, &together, sizeof alone) != 0 &&
                    !(isnan(alone) && isnan(together)))
                    CHECK_FAIL("%s(%a) is %a alone and %a in a register", function->name,
                               (double)x[i], (double)alone, (double)together);
                double error =
                    error_in_places((double)alone, (long double)function->exact((double)x[i]), 24,
                                    -149, 0x1.fffffep127);
                count_error(&errors, error, (double)x[i]);
            }
        }
        report("f32", function->name, &errors, function->bound);
        if (!(errors.most <= function->bound))
            CHECK_FAIL("%s(%a) is wrong by %.3f places, stated are %.1f", function->name, errors.at,
                       errors.most, function->bound);
    }
}

static uint64_t random_state = 88172645463325252ull;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7,
        random_state ^= random_state << 17;
    return random_state;
}

static double uniform(void)
{
    return (double)(random_bits() >> 11) * 0x1p-53;
}

// A third of the points each: any bits, moderate size, around one.
static double interesting(uint64_t index)
{
    if (index % 3 == 0)
        return double_of(random_bits());
    if (index % 3 == 1)
        return (uniform() - 0.5) * exp2(uniform() * 22 - 10);
    return (random_bits() & 1 ? 1 : -1) * (0.3 + 2 * uniform());
}

TEST(doubles_are_within_the_stated_error)
{
    for (int f = 0; f < FUNCTIONS; f++) {
        const Function64 *function = &functions64[f];
        Errors errors = {.most = 0};
        uint64_t points = stride == 1 ? 100000000 : 1000000;
        for (uint64_t first = 0; first < points; first += F64_LANES) {
            f64v x, y;
            for (int i = 0; i < F64_LANES; i++)
                x[i] = interesting(first + (uint64_t)i);
            y = function->vector(x);
            for (int i = 0; i < F64_LANES; i++) {
                double alone = function->scalar(x[i]), together = y[i];
                if (memcmp(&alone, &together, sizeof alone) != 0 &&
                    !(isnan(alone) && isnan(together)))
                    CHECK_FAIL("%s(%a) is %a alone and %a in a register", function->name, x[i],
                               alone, together);
                count_error(&errors,
                            error_in_places(alone, function->exact((long double)x[i]), 53, -1074,
                                            0x1.fffffffffffffp1023),
                            x[i]);
            }
        }
        report("f64", function->name, &errors, function->bound);
        if (!(errors.most <= function->bound))
            CHECK_FAIL("%s(%a) is wrong by %.3f places, stated are %.1f", function->name, errors.at,
                       errors.most, function->bound);
    }
}

TEST(powers_are_within_the_stated_error)
{
    Errors single = {.most = 0}, twice = {.most = 0};
    uint64_t points = stride == 1 ? 50000000 : 1000000;
    for (uint64_t n = 0; n < points; n++) {
        // x anywhere, y so that the result is in range, or both simple
        double x = n & 1 ? exp2((uniform() - 0.5) * 250) : 0.5 + uniform();
        double y = (uniform() - 0.5) * 2 * 127 / fmax(fabs(log2(x)), 1e-6);
        if (n % 5 == 0)
            x = -x, y = rint(y);
        float x32 = (float)x, y32 = (float)y;
        f32v power32 = aml_pow_f32v((f32v){} + x32, (f32v){} + y32);
        float alone32 = aml_pow_f32(x32, y32), together32 = power32[0];
        CHECK(memcmp(&alone32, &together32, sizeof alone32) == 0);
        count_error(&single,
                    error_in_places((double)alone32, powl((long double)x32, (long double)y32), 24,
                                    -149, 0x1.fffffep127),
                    x);
        y = y * (n % 7 ? 1 : 8);
        f64v power = aml_pow_f64v((f64v){} + x, (f64v){} + y);
        double alone = aml_pow_f64(x, y), together = power[0];
        CHECK(memcmp(&alone, &together, sizeof alone) == 0);
        count_error(&twice,
                    error_in_places(alone, powl((long double)x, (long double)y), 53, -1074,
                                    0x1.fffffffffffffp1023),
                    x);
    }
    report("f32", "pow", &single, 1);
    report("f64", "pow", &twice, 2);
    if (!(single.most <= 1))
        CHECK_FAIL("f32: wrong by %.3f places at x = %a", single.most, single.at);
    if (!(twice.most <= 2))
        CHECK_FAIL("f64: wrong by %.3f places at x = %a", twice.most, twice.at);
}

static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b);
}

TEST(special_values)
{
    static const double values[] = {0,         1,     2,    3,        4,     0.5,      0.25,
                                    1.5,       2.5,   7,    1e30,     1e-30, 0x1p-149, 0x1p-140,
                                    0x1p-1074, 1e300, 3e38, INFINITY, NAN};
    int count = sizeof values / sizeof *values;
    for (int i = 0; i < 2 * count; i++) {
        double x = i & 1 ? -values[i / 2] : values[i / 2];
        for (int j = 0; j < 2 * count; j++) {
            double y = j & 1 ? -values[j / 2] : values[j / 2], exact = pow(x, y),
                   found = aml_pow_f64(x, y);
            if (!same(found, exact) && !(fabs(found - exact) <= 1e-15 * fabs(exact)))
                CHECK_FAIL("pow(%g, %g) is %.17g, expected %.17g", x, y, found, exact);
            float x32 = (float)x, y32 = (float)y, found32 = aml_pow_f32(x32, y32),
                  exact32 = (float)pow((double)x32, (double)y32);
            if (!same((double)found32, (double)exact32) &&
                !(fabsf(found32 - exact32) <= 1.2e-7f * fabsf(exact32)))
                CHECK_FAIL("f32 pow(%g, %g) is %.9g, expected %.9g", x, y, (double)found32,
                           (double)exact32);
        }
        for (int f = 0; f < FUNCTIONS; f++) {
            float x32 = (float)x;
            double found = functions64[f].scalar(x),
                   exact = (double)functions64[f].exact((long double)x);
            double found32 = (double)functions32[f].scalar(x32),
                   exact32 = (double)(float)functions32[f].exact((double)x32);
            if (!same(found, exact) && !(fabs(found - exact) <= 1e-15 * fabs(exact)))
                CHECK_FAIL("%s(%g) is %.17g, expected %.17g", functions64[f].name, x, found, exact);
            if (!same(found32, exact32) &&
                !(fabs(found32 - exact32) <= 3e-7 * fabs(exact32) + 0x1p-149))
                CHECK_FAIL("f32 %s(%g) is %.9g, expected %.9g", functions32[f].name, x, found32,
                           exact32);
        }
    }
}

int main(int argc, char **argv)
{
    if (!processor_can_run()) {
        printf("SKIP accuracy_v%d: this processor lacks the level\n", AML_WIDTH);
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--exhaustive") == 0)
            stride = 1;
        else if (strcmp(argv[i], "--table") == 0)
            print_table = true;
        else
            return fprintf(stderr, "usage: %s [--exhaustive] [--table]\n", argv[0]), 2;
    }
    RUN(floats_are_within_the_stated_error);
    RUN(doubles_are_within_the_stated_error);
    RUN(powers_are_within_the_stated_error);
    RUN(special_values);
    CHECK_SUMMARY();
}
