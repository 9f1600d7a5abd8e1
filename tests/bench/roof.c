// The rate of f32 multiply-adds that one core reaches, in GFLOP/s: what a step's time is compared
// with. Twelve independent sums hide the latency of the unit. Compiled by run.py with -O3
// -march=native.

#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float Vector __attribute__((vector_size(LANES * 4)));

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(void)
{
    enum { SUMS = 12, TURNS = 200000 };
    Vector sum[SUMS], x, y;
    for (int i = 0; i < LANES; i++)
        x[i] = 0.999999f, y[i] = 1e-7f;
    for (int i = 0; i < SUMS; i++)
        sum[i] = x * (float)i;
    double best = 1e30;
    for (int round = 0; round < 30; round++) {
        double start = now();
        for (int turn = 0; turn < TURNS; turn++) {
            for (int i = 0; i < SUMS; i++)
                sum[i] = sum[i] * x + y;
        }
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    float all = 0;
    for (int i = 0; i < SUMS; i++)
        all += sum[i][0];
    printf("%.1f %d %g\n", 2.0 * LANES * SUMS * TURNS / best * 1e-9, LANES, (double)all);
    return 0;
}
