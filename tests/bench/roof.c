// The rate of f32 multiply-adds that so many threads reach together, in GFLOP/s: what a step's time
// is compared with. Twelve independent sums hide the latency of the unit. A round begins when the
// last thread is there and ends when the last one is done, so what cores take from each other
// (clock, a unit that two of them share) is in the rate; the best of many rounds. Compiled by
// common.py with -O3 -march=native.

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { MOST = 64, SUMS = 12, TURNS = 200000, ROUNDS = 30 };
typedef float Vector __attribute__((vector_size(LANES * 4)));

static int threads;
static _Atomic int arrived; // in all rounds
static float results[MOST];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void meet(int meeting)
{
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < threads * meeting)
        ;
}

// The seconds of the best round; of the first thread, since all of them meet.
static double multiply(int which)
{
    Vector sum[SUMS], x, y;
    for (int i = 0; i < LANES; i++)
        x[i] = 0.999999f, y[i] = 1e-7f;
    for (int i = 0; i < SUMS; i++)
        sum[i] = x * (float)i;
    double best = 1e30;
    for (int round = 0; round < ROUNDS; round++) {
        meet(2 * round + 1);
        double start = now();
        for (int turn = 0; turn < TURNS; turn++) {
            for (int i = 0; i < SUMS; i++)
                sum[i] = sum[i] * x + y;
        }
        meet(2 * round + 2);
        double spent = now() - start;
        best = spent < best ? spent : best;
    }
    for (int i = 0; i < SUMS; i++)
        results[which] += sum[i][0];
    return best;
}

static void *helper(void *number)
{
    multiply((int)(size_t)number);
    return NULL;
}

int main(int argc, char **argv)
{
    threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MOST)
        return 2;
    pthread_t thread[MOST];
    for (int i = 1; i < threads; i++)
        if (pthread_create(&thread[i], NULL, helper, (void *)(size_t)i) != 0)
            return 1;
    double best = multiply(0);
    float all = results[0];
    for (int i = 1; i < threads; i++) {
        pthread_join(thread[i], NULL);
        all += results[i];
    }
    printf("%.1f %d %g\n", 2.0 * LANES * SUMS * TURNS * threads / best * 1e-9, LANES, (double)all);
    return 0;
}
