// lap.c: where the time of a compilation goes, for `amlc build --timing`.

#include "base/base.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static double processor_time(void)
{
    struct rusage children;
    getrusage(RUSAGE_CHILDREN, &children);
    return now(CLOCK_PROCESS_CPUTIME_ID) + seconds_of(children.ru_utime) +
           seconds_of(children.ru_stime);
}

double lap_thread(void)
{
    return now(CLOCK_THREAD_CPUTIME_ID);
}

void lap_start(Cx *cx)
{
    cx->lap_at = now(CLOCK_MONOTONIC);
    cx->lap_processor = processor_time();
}

static void add(Cx *cx, const char *name, double seconds, double processor)
{
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    int64_t peak = own.ru_maxrss / 1024;
    for (int i = 0; i < cx->lap.count; i++)
        if (strcmp(cx->lap.at[i].name, name) == 0) {
            cx->lap.at[i].seconds += seconds;
            cx->lap.at[i].processor += processor;
            cx->lap.at[i].peak = peak;
            return;
        }
    vec_push(cx->arena, &cx->lap, ((Lap){name, seconds, processor, peak}));
}

void lap_end(Cx *cx, const char *name)
{
    if (cx->lap_at == 0)
        return;
    double time = now(CLOCK_MONOTONIC), processor = processor_time();
    add(cx, name, time - cx->lap_at, processor - cx->lap_processor);
    cx->lap_at = time;
    cx->lap_processor = processor;
}

void lap_part(Cx *cx, const char *name, double processor)
{
    if (cx->lap_at != 0)
        add(cx, name, -1, processor);
}

void lap_print(const Cx *cx, FILE *out)
{
    double all = 0, processor = 0;
    if (cx->lap.count)
        fprintf(out, "  passed  processor  memory so far\n");
    for (int i = 0; i < cx->lap.count; i++) {
        const Lap *lap = &cx->lap.at[i];
        if (lap->seconds < 0) {
            fprintf(out, "          %8.3f s             %s\n", lap->processor, lap->name);
            continue;
        }
        fprintf(out, "%8.3f  %8.3f s %5" PRId64 " MiB  %s\n", lap->seconds, lap->processor,
                lap->peak, lap->name);
        all += lap->seconds;
        processor += lap->processor;
    }
    if (cx->lap.count)
        fprintf(out, "%8.3f  %8.3f s            in all\n", all, processor);
}
