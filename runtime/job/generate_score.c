// generate --score: how likely the tokens of given samples are.
//
// Each sample begins with empty caches; the model is given its tokens one by one and asked for the
// one behind. `y` of the samples is what follows, as a training has it. With -o all scores are
// written as f32, one row of the vocabulary a token, so that two programs can be compared.

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/job/job.h"

typedef struct Scoring {
    const amli_command *command;
    const amli_device_kind *kind;
    const aml_job *job;
    amli_session session;
    aml_tensors *file;
    const aml_tensor_info *info; // of the tokens, [samples, tokens]
    const int32_t *token, *next;
    int64_t vocab;
    int32_t *window; // without caches: what the model reads
    float *score;
    int output; // -1: none
    int64_t scored;
    double sum; // of the logarithms of probabilities
} Scoring;

static aml_status open_file(Scoring *s, aml_error *error)
{
    const char *path = s->command->score;
    aml_status status = aml_tensors_open(path, &s->file, error);
    if (status)
        return status;
    int x = aml_tensors_find(s->file, "x"), y = aml_tensors_find(s->file, "y");
    const aml_tensor_info *next = y < 0 ? NULL : aml_tensors_info(s->file, y);
    s->info = x < 0 ? NULL : aml_tensors_info(s->file, x);
    if (!s->info || !next || s->info->dtype != AML_I32 || next->dtype != AML_I32 ||
        s->info->shape.rank != 2 || next->shape.rank != 2 ||
        memcmp(s->info->shape.dim, next->shape.dim, 2 * sizeof(int64_t)) != 0)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected tokens x and the tokens behind them y, i32[n, t] both, as "
                         "`data samples` writes them",
                         path);
    s->token = aml_tensors_data(s->file, x);
    s->next = aml_tensors_data(s->file, y);
    int64_t context = s->job->generation.context, count = aml_shape_elements(&s->info->shape);
    if (s->info->shape.dim[1] > context)
        return amli_fail(error, AML_BAD_DATA, "%s: samples of %lld tokens, and the model sees %lld",
                         path, (long long)s->info->shape.dim[1], (long long)context);
    for (int64_t i = 0; i < count; i++)
        if (s->token[i] < 0 || s->token[i] >= s->vocab || s->next[i] < 0 || s->next[i] >= s->vocab)
            return amli_fail(error, AML_BAD_DATA, "%s: a token is outside of 0..%lld", path,
                             (long long)s->vocab - 1);
    return AML_OK;
}

// The logarithm of softmax's probability of one of the scores, in f64.
static double log_probability(const float score[], int64_t count, int64_t which)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, (double)score[i]);
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)score[i] - most);
    return (double)score[which] - most - log(sum);
}

static aml_status score_sample(Scoring *s, int64_t sample, aml_error *error)
{
    int64_t tokens = s->info->shape.dim[1], context = s->job->generation.context;
    const int32_t *token = s->token + sample * tokens;
    bool cached = s->job->generation.cached;
    aml_status status = cached ? amli_empty_caches(&s->session, error) : AML_OK;
    memset(s->window, 0, (size_t)context * sizeof *s->window);
    for (int64_t i = 0; i < tokens && !status; i++) {
        if (s->command->length > 0 && s->scored >= s->command->length)
            return AML_OK;
        s->window[i] = token[i];
        status = amli_token_scores(&s->session, cached ? &token[i] : s->window, i, s->score, error);
        if (status)
            return status;
        s->sum += log_probability(s->score, s->vocab, s->next[sample * tokens + i]);
        s->scored++;
        if (s->output >= 0)
            status = amli_write_all(s->output, s->command->output, s->score,
                                    (size_t)s->vocab * sizeof *s->score, error);
        if (!status && amli_signal_seen())
            return amli_fail(error, amli_signal_seen() == SIGINT ? AML_INTERRUPTED : AML_TERMINATED,
                             "interrupted after %lld tokens", (long long)s->scored);
    }
    return status;
}

static aml_status score_all(Scoring *s, amli_log *log, aml_error *error)
{
    const aml_job *job = s->job;
    if (job->decode.inputs != 1 || job->decode.outputs != 1)
        return amli_fail(error, AML_INTERNAL, "the block '%s' has no function of tokens",
                         job->name);
    s->vocab = aml_shape_elements(&job->decode.output[0].shape);
    s->score = calloc((size_t)s->vocab, sizeof *s->score);
    s->window = calloc((size_t)job->generation.context, sizeof *s->window);
    aml_status status = s->score && s->window
                            ? open_file(s, error)
                            : amli_no_memory(error, (size_t)s->vocab * 4, "the scores");
    if (!status)
        status = amli_generation_open(s->command, job, s->kind, log, &s->session, error);
    if (!status && s->command->output) {
        s->output = amli_create_file(s->command->output, error);
        status = s->output < 0 ? AML_IO : AML_OK;
    }
    for (int64_t i = 0; !status && i < s->info->shape.dim[0]; i++)
        status = score_sample(s, i, error);
    if (s->output >= 0)
        status = amli_close_written(s->output, s->command->output, status, error);
    if (!status)
        printf("{\"tokens\": %lld, \"loss\": %.9g, \"perplexity\": %.9g}\n", (long long)s->scored,
               -s->sum / (double)s->scored, exp(-s->sum / (double)s->scored));
    return status;
}

aml_status amli_generation_score(const amli_command *command, const amli_device_kind *kind,
                                 const aml_job *job, aml_error *error)
{
    Scoring s = {.command = command, .kind = kind, .job = job, .output = -1};
    amli_log log;
    amli_log_begin(&log, command->quiet);
    amli_signals_begin();
    aml_status status = score_all(&s, &log, error);
    amli_signals_end();
    amli_session_close(&s.session);
    aml_tensors_close(s.file);
    free(s.score), free(s.window);
    amli_log_end(&log);
    return status;
}
