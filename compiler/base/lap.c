// lap.c: where the time of a compilation goes, for `amlc build --timing`.

#include "base/base.h"

#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void lap_start(Cx *cx)
{
    cx->lap_at = now();
}

void lap_end(Cx *cx, const char *name)
{
    if (cx->lap_at == 0)
        return;
    double time = now(), seconds = time - cx->lap_at;
    cx->lap_at = time;
    for (int i = 0; i < cx->lap.count; i++)
        if (strcmp(cx->lap.at[i].name, name) == 0) {
            cx->lap.at[i].seconds += seconds;
            return;
        }
    vec_push(cx->arena, &cx->lap, ((Lap){name, seconds}));
}

void lap_print(const Cx *cx, FILE *out)
{
    double all = 0;
    for (int i = 0; i < cx->lap.count; i++) {
        fprintf(out, "%8.3f s  %s\n", cx->lap.at[i].seconds, cx->lap.at[i].name);
        all += cx->lap.at[i].seconds;
    }
    if (cx->lap.count)
        fprintf(out, "%8.3f s  in all\n", all);
}
