// How many bytes a second this machine moves with so many threads, in GB/s: 256 MiB of memory that
// no cache holds, in large pages where the kernel has them: the best of many times, and all of them
// together. They are read, eight sums at once; or, with `update` behind the number of threads, they
// are four arrays that are read, of which three are written, as an optimizer does with gradient,
// weight and two moments: seven quarters of the bytes. Compiled by common.py with -O3
// -march=native.

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MOST = 64, VECTORS = 8, ROUNDS = 40 };
typedef uint64_t Vector __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));

static const size_t bytes = (size_t)1 << 28;
static char *memory;
static int threads;
static uint64_t sums[MOST];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *read_part(void *number)
{
    size_t which = (size_t)number, part = bytes / (size_t)threads / 4096 * 4096;
    const char *from = memory + which * part;
    Vector sum[VECTORS] = {{0}};
    for (size_t at = 0; at + sizeof sum <= part; at += sizeof sum)
        for (int i = 0; i < VECTORS; i++)
            sum[i] += *(const Vector *)(const void *)(from + at + sizeof(Vector) * (size_t)i);
    for (int i = 0; i < VECTORS; i++)
        sums[which] += sum[i][0];
    return NULL;
}

static void *update_part(void *number)
{
    size_t which = (size_t)number, array = bytes / 4, part = array / (size_t)threads / 4096 * 4096;
    char *from = memory + which * part;
    Floats *gradient = (Floats *)(void *)from, *weight = (Floats *)(void *)(from + array),
           *mean = (Floats *)(void *)(from + 2 * array),
           *square = (Floats *)(void *)(from + 3 * array);
    for (size_t i = 0; i < part / sizeof(Floats); i++) {
        mean[i] += 0.1f * (gradient[i] - mean[i]);
        square[i] += 0.01f * (gradient[i] * gradient[i] - square[i]);
        weight[i] -= 0.001f * mean[i] * square[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    threads = argc > 1 ? atoi(argv[1]) : 1;
    bool update = argc > 2 && strcmp(argv[2], "update") == 0;
    if (threads < 1 || threads > MOST || (argc > 2 && !update))
        return 2;
    void *(*part)(void *) = update ? update_part : read_part;
    double moved = (double)bytes * (update ? 1.75 : 1);
    memory = aligned_alloc((size_t)1 << 21, bytes);
    if (!memory)
        return 1;
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    memset(memory, 0x3d, bytes); // as floats about 0.05
    double best = 1e30, all = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[MOST];
        double start = now();
        for (int i = 1; i < threads; i++)
            pthread_create(&thread[i], NULL, part, (void *)(size_t)i);
        part((void *)0);
        for (int i = 1; i < threads; i++)
            pthread_join(thread[i], NULL);
        double spent = now() - start;
        best = spent < best ? spent : best;
        all += spent;
    }
    printf("%.2f %.2f %llu\n", moved / best * 1e-9, moved * ROUNDS / all * 1e-9,
           (unsigned long long)sums[0]);
    return 0;
}
