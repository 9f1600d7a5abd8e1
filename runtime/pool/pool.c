// Parts are claimed one after the other with one atomic word:
//
//      63          32 31           0
//     +--------------+--------------+
//     |  generation  |  remaining   |
//     +--------------+--------------+
//
// A loop begins by storing (generation + 1, parts) and is taken from by compare-and-swap, so a
// helper that wakes up late cannot claim a part of a loop that it did not see begin. `body`, `data`
// and `parts` are read only after a part was claimed: until that part is finished the loop cannot
// end, and nobody writes them.
//
// Which part computes what was fixed by the compiler, so who claims it changes nothing; and since
// nobody waits for a helper that claimed nothing, a core that is taken away costs at most the part
// that was running on it.

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/pool/pool.h"

enum { SPINS = 4000 };                  // some tens of microseconds
#define MOST_PARTS ((int64_t)INT32_MAX) // of one round

struct amli_pool {
    _Atomic int threads; // fewer than asked for if threads cannot be created
    int helpers;         // written by the thread that runs a loop
    pthread_t *helper;
    aml_parallel_body *body;
    void *data;
    int64_t parts;
    _Alignas(64) _Atomic uint64_t claim;      // generation and remaining
    _Alignas(64) _Atomic uint32_t generation; // what helpers sleep on
    _Atomic int sleepers;
    _Atomic bool closing;
    _Alignas(64) _Atomic uint32_t finished; // parts; what the caller sleeps on
    _Atomic bool caller_sleeps;
    _Alignas(64) _Atomic bool busy;
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

// Takes parts of the loop `generation` until none is left.
static void work(amli_pool *pool, uint32_t generation)
{
    uint64_t claim = atomic_load_explicit(&pool->claim, memory_order_acquire);
    for (;;) {
        uint32_t remaining = (uint32_t)claim;
        if ((uint32_t)(claim >> 32) != generation || remaining == 0)
            return;
        // many small parts are taken several at a time, fewer towards the end
        uint32_t take =
            remaining / (4 * (uint32_t)atomic_load_explicit(&pool->threads, memory_order_relaxed));
        if (take == 0)
            take = 1;
        if (!atomic_compare_exchange_weak_explicit(&pool->claim, &claim, claim - take,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        int64_t parts = pool->parts, begin = parts - remaining;
        pool->body(pool->data, begin, begin + take);
        uint32_t before = atomic_fetch_add(&pool->finished, take);
        if ((int64_t)before + take == parts && atomic_load(&pool->caller_sleeps))
            wake(&pool->finished, 1);
        claim = atomic_load_explicit(&pool->claim, memory_order_acquire);
    }
}

static void *helper_main(void *argument)
{
    amli_pool *pool = argument;
    uint32_t seen = 0;
    for (;;) {
        uint32_t now = seen;
        for (int i = 0; i < SPINS && now == seen; i++) {
            pause_briefly();
            now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        }
        while (now == seen && !atomic_load(&pool->closing)) {
            // The sleeper counts itself before it looks again; the caller changes the generation
            // before it looks at the count. So either the helper sees the change or the caller sees
            // the sleeper.
            atomic_fetch_add(&pool->sleepers, 1);
            if (atomic_load(&pool->generation) == seen && !atomic_load(&pool->closing))
                sleep_while(&pool->generation, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
            now = atomic_load(&pool->generation);
        }
        if (atomic_load(&pool->closing))
            return NULL;
        seen = now;
        work(pool, seen);
    }
}

// Threads that cannot be created are done without: the caller does their parts.
static void start_helpers(amli_pool *pool)
{
    int wanted = pool->threads - 1;
    while (pool->helpers < wanted) {
        if (pthread_create(&pool->helper[pool->helpers], NULL, helper_main, pool) != 0) {
            pool->threads = pool->helpers + 1;
            return;
        }
        pool->helpers++;
    }
}

static void run_round(amli_pool *pool, int64_t parts, aml_parallel_body *body, void *data)
{
    pool->body = body;
    pool->data = data;
    pool->parts = parts;
    atomic_store(&pool->finished, 0);
    uint32_t generation = atomic_load_explicit(&pool->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&pool->claim, (uint64_t)generation << 32 | (uint32_t)parts,
                          memory_order_release);
    atomic_store(&pool->generation, generation);
    if (atomic_load(&pool->sleepers) > 0)
        wake(&pool->generation, pool->helpers);
    work(pool, generation);
    uint32_t done;
    for (int i = 0; i < SPINS; i++) {
        if ((int64_t)atomic_load_explicit(&pool->finished, memory_order_acquire) == parts)
            return;
        pause_briefly();
    }
    atomic_store(&pool->caller_sleeps, true);
    while ((int64_t)(done = atomic_load(&pool->finished)) != parts)
        sleep_while(&pool->finished, done);
    atomic_store(&pool->caller_sleeps, false);
}

void amli_pool_for(void *opaque, int64_t parts, aml_parallel_body *body, void *data)
{
    amli_pool *pool = opaque;
    if (parts <= 0)
        return;
    if (!pool || pool->threads <= 1 || parts == 1 || atomic_exchange(&pool->busy, true)) {
        body(data, 0, parts);
        return;
    }
    start_helpers(pool);
    if (parts > MOST_PARTS) {
        body(data, MOST_PARTS, parts);
        parts = MOST_PARTS;
    }
    run_round(pool, parts, body, data);
    atomic_store(&pool->busy, false);
}

aml_status amli_pool_new(int threads, amli_pool **out, aml_error *error)
{
    *out = NULL;
    if (threads < 1 || threads > 4096)
        return amli_fail(error, AML_INVALID, "the number of threads must be in 1..4096, found %d",
                         threads);
    amli_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool)
        return amli_no_memory(error, sizeof *pool, "the thread pool");
    *pool = (amli_pool){.threads = threads};
    pool->helper = calloc((size_t)threads, sizeof *pool->helper);
    if (!pool->helper) {
        free(pool);
        return amli_no_memory(error, (size_t)threads * sizeof *pool->helper, "the thread pool");
    }
    *out = pool;
    return AML_OK;
}

void amli_pool_free(amli_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->closing, true);
    atomic_fetch_add(&pool->generation, 1);
    wake(&pool->generation, pool->helpers);
    for (int i = 0; i < pool->helpers; i++)
        pthread_join(pool->helper[i], NULL);
    free(pool->helper);
    free(pool);
}

int amli_pool_threads(const amli_pool *pool)
{
    return pool->threads;
}

int amli_pool_helpers(const amli_pool *pool)
{
    return pool->helpers;
}

int amli_usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count;
}
