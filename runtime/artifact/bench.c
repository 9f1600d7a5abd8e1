// How long a prediction takes, from raw fields to outputs, for each batch size.

#include <time.h>

#include "runtime/artifact/serving.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void sift_down(double *time, int root, int count)
{
    for (int child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && time[child + 1] > time[child])
            child++;
        if (time[root] >= time[child])
            return;
        double swap = time[root];
        time[root] = time[child];
        time[child] = swap;
    }
}

// Heap sort, because qsort may allocate.
static void sort(double *time, int count)
{
    for (int i = count / 2 - 1; i >= 0; i--)
        sift_down(time, i, count);
    for (int end = count - 1; end > 0; end--) {
        double swap = time[0];
        time[0] = time[end];
        time[end] = swap;
        sift_down(time, 0, end);
    }
}

aml_status amli_serve_bench(amli_serving *serving, double seconds, bool json, aml_error *error)
{
    const aml_artifact *artifact = serving->artifact;
    if (json)
        printf("[");
    else
        printf("%8s %12s %12s %12s %14s\n", "batch", "min us", "median us", "p99 us", "rows/s");
    for (int i = 0; i < artifact->predicts; i++) {
        int64_t batch = artifact->predict_batch[i];
        int count = 0;
        double *time = serving->time, begin = now(), before = begin;
        for (int warm = 0; warm < 10; warm++)
            aml_context_predict(serving->context, (const void *const *)serving->field, batch,
                                serving->output);
        begin = before = now();
        while (count < SERVING_TIMES && (before - begin < seconds || count < 10)) {
            aml_library_status status = aml_context_predict(
                serving->context, (const void *const *)serving->field, batch, serving->output);
            double after = now();
            if (status)
                return amli_fail(error, AML_INTERNAL, "predicting failed: %s",
                                 aml_context_problem(serving->context));
            time[count++] = after - before;
            before = after;
        }
        sort(time, count);
        double median = time[count / 2], p99 = time[(int)((double)(count - 1) * 0.99)];
        if (json)
            printf("%s{\"batch\": %lld, \"runs\": %d, \"min_us\": %.3f, \"median_us\": %.3f, "
                   "\"p99_us\": %.3f, \"rows_per_second\": %.0f}",
                   i ? ", " : "", (long long)batch, count, time[0] * 1e6, median * 1e6, p99 * 1e6,
                   (double)batch / median);
        else
            printf("%8lld %12.2f %12.2f %12.2f %14.0f\n", (long long)batch, time[0] * 1e6,
                   median * 1e6, p99 * 1e6, (double)batch / median);
    }
    if (json)
        printf("]\n");
    return AML_OK;
}
