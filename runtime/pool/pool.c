// Each thread has a share of a loop's parts, the t-th of as many as there are threads, and takes
// from its front; who has none left takes from the back of another's. So a thread computes the same
// share of each loop, as long as nobody is late: what it reads was mostly written by itself in the
// loop before and lies in its own cache, where that of another core would cost several times as
// much. A share is one atomic word in a line of its own:
//
//      63        40 39      20 19       0
//     +------------+----------+----------+
//     | generation |  front   |   back   |      parts front..back - 1 are left
//     +------------+----------+----------+
//
// A loop begins by storing (generation + 1, its share) for each thread, and is taken from by
// compare-and-swap, so a helper that wakes up late cannot claim a part of a loop that it did not
// see begin. What else a share holds is read only after a part was claimed from it: until that part
// is finished the loop cannot end, and nobody writes it. It lies in the line of the word, which is
// all that a helper has to fetch to begin.
//
// Which part computes what was fixed by the compiler, so who claims it changes nothing; and since
// nobody waits for a helper that claimed nothing, a core that is taken away costs at most the part
// that was running on it.

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/pool/pool.h"

enum { SPINS = 4000, MOST_THREADS = 4096, INDEX_BITS = 20 }; // spins: some tens of microseconds
#define MOST_PARTS ((int64_t)((1 << INDEX_BITS) - 1))        // of one round
#define GENERATIONS (UINT32_C(1) << (64 - 2 * INDEX_BITS))

typedef struct Share {
    _Alignas(64) _Atomic uint64_t left; // generation, front and back
    aml_parallel_body *body;
    void *data;
    int64_t first; // part 0 of the round, of the loop
} Share;

typedef struct Helper {
    amli_pool *pool;
    pthread_t thread;
    int number; // of its share; the caller's is 0
} Helper;

struct amli_pool {
    _Atomic int threads; // fewer than asked for if threads cannot be created
    int helpers;         // written by the thread that runs a loop
    Helper *helper;
    Share *share;
    _Alignas(64) _Atomic uint32_t generation; // what helpers sleep on
    _Atomic int sleepers;
    _Atomic bool closing;
    _Alignas(64) _Atomic uint32_t finished; // parts that helpers did; what the caller sleeps on
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

static uint64_t share_word(uint32_t generation, int64_t front, int64_t back)
{
    return (uint64_t)generation << (2 * INDEX_BITS) | (uint64_t)front << INDEX_BITS |
           (uint64_t)back;
}

// Does some parts of a share of the loop `generation`, its first ones if it is the thread's own:
// many at once while many are left, fewer towards the end. How many; 0: none is left.
static uint32_t do_some(Share *share, uint32_t generation, bool own)
{
    uint64_t left = atomic_load_explicit(&share->left, memory_order_acquire);
    for (;;) {
        int64_t front = (int64_t)(left >> INDEX_BITS) & MOST_PARTS,
                back = (int64_t)left & MOST_PARTS;
        if ((uint32_t)(left >> (2 * INDEX_BITS)) != generation || front == back)
            return 0;
        int64_t take = (back - front) / 4 > 1 ? (back - front) / 4 : 1,
                begin = own ? front : back - take;
        uint64_t rest = own ? share_word(generation, front + take, back)
                            : share_word(generation, front, back - take);
        if (!atomic_compare_exchange_weak_explicit(&share->left, &left, rest, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        share->body(share->data, share->first + begin, share->first + begin + take);
        return (uint32_t)take;
    }
}

// Helpers tell of parts that are done, since the caller waits for them.
static void tell_finished(amli_pool *pool, uint32_t parts)
{
    atomic_fetch_add(&pool->finished, parts);
    if (atomic_load(&pool->caller_sleeps))
        wake(&pool->finished, 1);
}

// Does parts of the loop `generation` until none is left, and returns how many it did.
static uint32_t work(amli_pool *pool, uint32_t generation, int number)
{
    int threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
    uint32_t done = 0, all = 0;
    for (int i = 0; i < threads; i++) {
        Share *share = &pool->share[(number + i) % threads];
        while ((done = do_some(share, generation, i == 0)) > 0) {
            all += done;
            if (number > 0)
                tell_finished(pool, done);
        }
    }
    return all;
}

static void *helper_main(void *argument)
{
    const Helper *self = argument;
    amli_pool *pool = self->pool;
    Share *share = &pool->share[self->number];
    uint32_t seen = 0;
    for (;;) {
        uint32_t now = seen;
        for (int i = 0; i < SPINS && now == seen; i++) {
            pause_briefly();
            now = (uint32_t)(atomic_load_explicit(&share->left, memory_order_acquire) >>
                             (2 * INDEX_BITS));
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
        work(pool, seen, self->number);
    }
}

// Threads that cannot be created are done without: the caller does their parts.
static void start_helpers(amli_pool *pool)
{
    int wanted = pool->threads - 1;
    while (pool->helpers < wanted) {
        Helper *helper = &pool->helper[pool->helpers];
        *helper = (Helper){.pool = pool, .number = pool->helpers + 1};
        if (pthread_create(&helper->thread, NULL, helper_main, helper) != 0) {
            pool->threads = pool->helpers + 1;
            return;
        }
        pool->helpers++;
    }
}

static void run_round(amli_pool *pool, int64_t first, int64_t parts, aml_parallel_body *body,
                      void *data)
{
    int threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
    uint32_t generation = atomic_load_explicit(&pool->generation, memory_order_relaxed);
    generation = (generation + 1) % GENERATIONS;
    atomic_store(&pool->finished, 0);
    for (int i = threads - 1; i >= 0; i--) { // the caller, who is there, has the largest
        Share *share = &pool->share[i];
        int64_t front = (parts * i + threads - 1) / threads,
                back = (parts * (i + 1) + threads - 1) / threads;
        share->body = body;
        share->data = data;
        share->first = first;
        atomic_store_explicit(&share->left, share_word(generation, front, back),
                              memory_order_release);
    }
    atomic_store(&pool->generation, generation);
    if (atomic_load(&pool->sleepers) > 0)
        wake(&pool->generation, pool->helpers);
    uint32_t others = (uint32_t)parts - work(pool, generation, 0), done;
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->finished, memory_order_acquire) == others)
            return;
        pause_briefly();
    }
    atomic_store(&pool->caller_sleeps, true);
    while ((done = atomic_load(&pool->finished)) != others)
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
    for (int64_t first = 0; first < parts; first += MOST_PARTS)
        run_round(pool, first, parts - first < MOST_PARTS ? parts - first : MOST_PARTS, body, data);
    atomic_store(&pool->busy, false);
}

aml_status amli_pool_new(int threads, amli_pool **out, aml_error *error)
{
    *out = NULL;
    if (threads < 1 || threads > MOST_THREADS)
        return amli_fail(error, AML_INVALID, "the number of threads must be in 1..%d, found %d",
                         MOST_THREADS, threads);
    amli_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool)
        return amli_no_memory(error, sizeof *pool, "the thread pool");
    *pool = (amli_pool){.threads = threads};
    pool->helper = calloc((size_t)threads, sizeof *pool->helper);
    pool->share = aligned_alloc(64, (size_t)threads * sizeof *pool->share);
    if (!pool->helper || !pool->share) {
        free(pool->helper);
        free(pool->share);
        free(pool);
        return amli_no_memory(error, (size_t)threads * sizeof *pool->share, "the thread pool");
    }
    memset(pool->share, 0, (size_t)threads * sizeof *pool->share);
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
        pthread_join(pool->helper[i].thread, NULL);
    free(pool->helper);
    free(pool->share);
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
