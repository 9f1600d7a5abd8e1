// guarded.h: memory that ends at a page which cannot be touched, so that reading or writing one
// element too far ends the test; and a check whether this processor can run the width that the test
// was compiled for.

#ifndef AML_TESTS_KERNELS_GUARDED_H
#define AML_TESTS_KERNELS_GUARDED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Guarded {
    unsigned char *map;
    size_t mapped;
} Guarded;

// `bytes` bytes with an unreadable page right behind them (at_end) or right before them.
static void *guarded_new(Guarded *guarded, size_t bytes, bool at_end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (bytes + page - 1) / page * page;
    inside = inside ? inside : page;
    guarded->mapped = inside + 2 * page;
    guarded->map = mmap(NULL, guarded->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guarded->map == MAP_FAILED ||
        mprotect(guarded->map + page, inside, PROT_READ | PROT_WRITE) != 0) {
        perror("guarded memory");
        exit(1);
    }
    return at_end ? guarded->map + page + inside - bytes : guarded->map + page;
}

static void guarded_free(Guarded *guarded)
{
    munmap(guarded->map, guarded->mapped);
}

static bool processor_can_run(void)
{
#if AML_WIDTH == 16
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif AML_WIDTH == 8
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return __builtin_cpu_supports("sse4.2");
#endif
}

#endif
