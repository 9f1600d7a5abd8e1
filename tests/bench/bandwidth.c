// How many bytes a second this machine reads from memory with so many threads, in GB/s: 256 MiB that
// no cache holds, eight sums at once: the best of many times, and all of them together. Compiled by decode.py with
// -O3 -march=native.

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 64, VECTORS = 8, ROUNDS = 40 };
typedef uint64_t Vector __attribute__((vector_size(64)));

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

int main(int argc, char **argv)
{
    threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MOST)
        return 2;
    memory = aligned_alloc((size_t)1 << 21, bytes);
    if (!memory)
        return 1;
    memset(memory, 1, bytes);
    double best = 1e30, all = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[MOST];
        double start = now();
        for (int i = 1; i < threads; i++)
            pthread_create(&thread[i], NULL, read_part, (void *)(size_t)i);
        read_part((void *)0);
        for (int i = 1; i < threads; i++)
            pthread_join(thread[i], NULL);
        double spent = now() - start;
        best = spent < best ? spent : best;
        all += spent;
    }
    printf("%.2f %.2f %llu\n", (double)bytes / best * 1e-9, (double)bytes * ROUNDS / all * 1e-9,
           (unsigned long long)sums[0]);
    return 0;
}
