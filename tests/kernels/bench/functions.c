// How many elements a microsecond the math functions and the generator give, in registers and as
// plain loops that the compiler vectorises. Prints figures; it is not a test.

#include <stdio.h>
#include <time.h>

#include "math.c"
#include "random.c"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

#define FUNCTIONS(F) F(exp) F(log) F(sin) F(cos) F(tanh) F(erf) F(sigmoid)
static float in[4096], out[4096];
#define DEFINE(name)                                                                               \
    static void registers_##name(void)                                                             \
    {                                                                                              \
        for (int i = 0; i < 4096; i += F32_LANES)                                                  \
            f32_store(out + i, aml_##name##_f32v(f32_load(in + i)));                               \
    }                                                                                              \
    static void loop_##name(void)                                                                  \
    {                                                                                              \
        for (int i = 0; i < 4096; i++)                                                             \
            out[i] = aml_##name##_f32(in[i]);                                                      \
    }
FUNCTIONS(DEFINE)

static void random_numbers(void)
{
    aml_shared_random_f32(out, 0, 4096, 42, 7, 3);
}

static double rate(void (*run)(void))
{
    void (*volatile call)(void) = run;
    double best = 1e30;
    for (int i = 0; i < 500; i++) {
        double start = now();
        for (int k = 0; k < 10; k++) {
            call();
            __asm__ volatile("" : : "r"(in), "r"(out) : "memory"); // the results count as read
        }
        double spent = (now() - start) / 10;
        best = spent < best ? spent : best;
    }
    return 4096 / best;
}

int main(void)
{
    for (int i = 0; i < 4096; i++)
        in[i] = (float)i * 0.001f;
#define MEASURE(name)                                                                              \
    printf("%-8s %2d lanes  %7.0f elements/us in registers  %7.0f in a loop\n", #name, F32_LANES,  \
           rate(registers_##name), rate(loop_##name));
    FUNCTIONS(MEASURE)
    printf("random   %2d lanes  %7.0f elements/us\n", F32_LANES, rate(random_numbers));
    return 0;
}
