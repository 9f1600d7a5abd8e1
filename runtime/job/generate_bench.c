// How long a token takes: the whole context from its first token to its last, again and again; and
// how long the same tokens take as a prompt.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

enum { MOST_TIMES = 1 << 20, WARM = 8 };

static int increasing(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static aml_status measure(const amli_command *command, amli_session *session, double seconds,
                          double *time, int64_t *count, float *score, int32_t *token,
                          aml_error *error)
{
    const aml_generation *how = &session->job->generation;
    double begin = amli_seconds();
    aml_status status = AML_OK;
    int64_t tokens = command->length > 0 ? command->length : how->context;
    if (tokens > how->context)
        return amli_fail(error, AML_USAGE, "--length: the model sees at most %lld tokens",
                         (long long)how->context);
    for (int64_t position = 0, warm = 0; !status; position = (position + 1) % tokens) {
        if (position == 0 && how->cached)
            status = amli_empty_caches(session, error);
        double before = amli_seconds();
        if (!status)
            status = amli_token_scores(session, token, position, score, error);
        double after = amli_seconds();
        if (warm++ < WARM) {
            begin = after;
            continue;
        }
        time[(*count)++] = after - before;
        if (*count == MOST_TIMES || (after - begin > seconds && *count >= 10) || amli_signal_seen())
            break;
    }
    return status;
}

// The best of several times, for a quarter of the time that tokens are measured.
static aml_status measure_prompt(amli_session *session, int64_t tokens, double seconds,
                                 double *best, float *score, const int32_t *token, aml_error *error)
{
    double begin = amli_seconds();
    aml_status status = AML_OK;
    *best = INFINITY;
    for (int turn = 0;
         !status && !amli_signal_seen() && (turn < 3 || amli_seconds() - begin < seconds / 4);
         turn++) {
        status = amli_empty_caches(session, error);
        double before = amli_seconds();
        if (!status)
            status = amli_prompt_scores(session, token, tokens, 0, score, error);
        *best = fmin(*best, amli_seconds() - before);
    }
    return status;
}

static void print(const amli_command *command, double *time, int64_t count, int64_t prompt,
                  double prompt_time)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += time[i];
    qsort(time, (size_t)count, sizeof *time, increasing);
    double median = time[count / 2], p99 = time[(int64_t)((double)(count - 1) * 0.99)];
    double rate = prompt > 0 ? (double)prompt / prompt_time : 0;
    if (command->json) {
        printf("[{\"batch\": 1, \"runs\": %lld, \"min_us\": %.3f, \"median_us\": %.3f, "
               "\"p99_us\": %.3f, \"tokens_per_second\": %.1f, \"threads\": %d, "
               "\"prompt_tokens\": %lld, \"prompt_tokens_per_second\": %.1f}]\n",
               (long long)count, time[0] * 1e6, median * 1e6, p99 * 1e6, (double)count / sum,
               amli_threads(command), (long long)prompt, rate);
        return;
    }
    printf("%8s %12s %12s %12s %14s\n%8lld %12.2f %12.2f %12.2f %14.1f\n", "tokens", "min us",
           "median us", "p99 us", "tokens/s", (long long)count, time[0] * 1e6, median * 1e6,
           p99 * 1e6, (double)count / sum);
    if (prompt > 0)
        printf("a prompt of %lld tokens: %.1f tokens/s\n", (long long)prompt, rate);
}

aml_status amli_generation_bench(const amli_command *command, const amli_device_kind *kind,
                                 const aml_job *job, double seconds, aml_error *error)
{
    amli_session session = {0};
    amli_log log;
    int64_t vocab = aml_shape_elements(&job->decode.output[0].shape), count = 0;
    int64_t prompt = job->generation.cached ? job->generation.context : 0;
    if (command->length > 0 && command->length < prompt)
        prompt = command->length;
    double prompt_time = 0;
    double *time = malloc(MOST_TIMES * sizeof *time);
    float *score = calloc((size_t)vocab, sizeof *score);
    int32_t *token = calloc((size_t)job->generation.context, sizeof *token);
    amli_log_begin(&log, command->quiet);
    amli_signals_begin();
    aml_status status = time && score && token
                            ? amli_generation_open(command, job, kind, &log, &session, error)
                            : amli_no_memory(error, MOST_TIMES * sizeof *time, "the benchmark");
    if (!status)
        status = measure(command, &session, seconds, time, &count, score, token, error);
    if (!status && prompt > 0)
        status = measure_prompt(&session, prompt, seconds, &prompt_time, score, token, error);
    if (!status && count > 0)
        print(command, time, count, prompt, prompt_time);
    amli_signals_end();
    amli_session_close(&session);
    free(time), free(score), free(token);
    amli_log_end(&log);
    return status;
}
