// The thread pool: every part once, whatever the number of threads; run under the thread sanitizer
// as well.

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "runtime/pool/pool.h"

typedef struct Work {
    amli_pool *pool;
    _Atomic int *count;
    double *sum;
    int64_t parts;
    bool nested;
} Work;

static void body(void *data, int64_t begin, int64_t end)
{
    Work *work = data;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add_explicit(&work->count[i], 1, memory_order_relaxed);
        double sum = 0;
        for (int k = 1; k < 50; k++)
            sum += 1.0 / (double)(i + k);
        work->sum[i] =
            sum; // each part has its own place: the sanitizer would see a part done twice
        if (work->nested) {
            _Atomic int inner_count[4] = {0};
            double inner_sum[4];
            Work inner = {work->pool, inner_count, inner_sum, 4, false};
            amli_pool_for(work->pool, 4, body, &inner);
            for (int k = 0; k < 4; k++)
                if (inner_count[k] != 1)
                    atomic_fetch_add(&work->count[i], 100);
        }
    }
}

static bool loop(amli_pool *pool, int64_t parts, bool nested)
{
    _Atomic int *count = calloc((size_t)parts + 1, sizeof *count);
    double *sum = calloc((size_t)parts + 1, sizeof *sum);
    Work work = {pool, count, sum, parts, nested};
    amli_pool_for(pool, parts, body, &work);
    bool complete = true;
    for (int64_t i = 0; i < parts; i++)
        complete = complete && count[i] == 1;
    free(count), free(sum);
    return complete;
}

TEST(every_part_once)
{
    for (int threads = 1; threads <= 5; threads++) {
        amli_pool *pool;
        CHECK(amli_pool_new(threads, &pool, NULL) == AML_OK);
        for (int64_t parts = 0; parts < 70; parts++)
            CHECK(loop(pool, parts, false));
        CHECK(loop(pool, 10000, false));
        amli_pool_free(pool);
    }
}

TEST(many_short_loops)
{
    amli_pool *pool;
    CHECK(amli_pool_new(4, &pool, NULL) == AML_OK);
    for (int i = 0; i < 20000; i++)
        CHECK(loop(pool, 2 + i % 7, false));
    amli_pool_free(pool);
}

TEST(loops_after_sleep)
{
    amli_pool *pool;
    CHECK(amli_pool_new(3, &pool, NULL) == AML_OK);
    for (int i = 0; i < 50; i++) {
        CHECK(loop(pool, 9, false));
        usleep(2000); // long enough for the helpers to fall asleep
    }
    amli_pool_free(pool);
}

TEST(nested_loops)
{
    amli_pool *pool;
    CHECK(amli_pool_new(3, &pool, NULL) == AML_OK);
    CHECK(loop(pool, 200, true));
    amli_pool_free(pool);
}

static void *other_thread(void *pool)
{
    for (int i = 0; i < 300; i++)
        if (!loop(pool, 20, false))
            return pool;
    return NULL;
}

TEST(two_callers_at_once)
{
    amli_pool *pool;
    pthread_t thread;
    void *failed = NULL;
    CHECK(amli_pool_new(3, &pool, NULL) == AML_OK);
    CHECK(pthread_create(&thread, NULL, other_thread, pool) == 0);
    bool complete = other_thread(pool) == NULL;
    pthread_join(thread, &failed);
    CHECK(complete && !failed);
    amli_pool_free(pool);
}

enum { ALL = 3 };

typedef struct Meeting {
    _Atomic int arrived;
    pthread_t thread[ALL]; // that did each part
} Meeting;

// A part is done when each other one has begun, so each thread does one.
static void meet(void *data, int64_t begin, int64_t end)
{
    Meeting *meeting = data;
    for (int64_t i = begin; i < end; i++) {
        meeting->thread[i] = pthread_self();
        atomic_fetch_add(&meeting->arrived, 1);
        while (atomic_load(&meeting->arrived) < ALL)
            sched_yield();
    }
}

// What a thread wrote in one loop it finds in its cache in the next one.
TEST(each_thread_keeps_its_share)
{
    amli_pool *pool;
    CHECK(amli_pool_new(ALL, &pool, NULL) == AML_OK);
    Meeting first = {0};
    amli_pool_for(pool, ALL, meet, &first);
    CHECK(pthread_equal(first.thread[0], pthread_self()));
    for (int i = 0; i < 200; i++) {
        Meeting meeting = {0};
        amli_pool_for(pool, ALL, meet, &meeting);
        for (int part = 0; part < ALL; part++)
            CHECK(pthread_equal(meeting.thread[part], first.thread[part]));
    }
    amli_pool_free(pool);
}

static void count_up(void *data, int64_t begin, int64_t end)
{
    atomic_fetch_add((_Atomic int64_t *)data, end - begin);
}

TEST(more_parts_than_a_round_has)
{
    amli_pool *pool;
    _Atomic int64_t count = 0;
    int64_t parts = ((int64_t)1 << 22) + 12345;
    CHECK(amli_pool_new(3, &pool, NULL) == AML_OK);
    amli_pool_for(pool, parts, count_up, &count);
    CHECK_INT(count, parts);
    amli_pool_free(pool);
}

TEST(no_threads_until_needed)
{
    amli_pool *pool;
    CHECK(amli_pool_new(4, &pool, NULL) == AML_OK);
    CHECK(loop(pool, 1, false));
    CHECK(loop(pool, 0, false));
    CHECK_INT(amli_pool_helpers(pool), 0);
    CHECK(loop(pool, 2, false));
    CHECK_INT(amli_pool_helpers(pool), 3);
    amli_pool_free(pool);
}

TEST(wrong_thread_counts)
{
    amli_pool *pool;
    aml_error error;
    CHECK_INT(amli_pool_new(0, &pool, &error), AML_INVALID);
    CHECK(pool == NULL && strstr(error.text, "found 0"));
    CHECK_INT(amli_pool_new(5000, &pool, &error), AML_INVALID);
}

int main(void)
{
    RUN(every_part_once);
    RUN(many_short_loops);
    RUN(loops_after_sleep);
    RUN(nested_loops);
    RUN(two_callers_at_once);
    RUN(each_thread_keeps_its_share);
    RUN(more_parts_than_a_round_has);
    RUN(no_threads_until_needed);
    RUN(wrong_thread_counts);
    CHECK_SUMMARY();
}
