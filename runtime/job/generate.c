// generate: text that goes on from a prompt.
//
// The model is asked for the scores of the next token, one is drawn, written and given to the model
// in turn. With caches a step computes one position; a prompt is read in parts of many. When
// the context is full, the window slides: the caches are emptied and filled again with the last
// half of it, so that a token costs little on average and the model always sees at least half a
// context.

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/tokenizer.h"
#include "runtime/job/job.h"

enum { PROMPT_EXTRA = 256 }; // tokens that a tokenizer may put around a prompt or make of a byte
enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE };

typedef struct Generating {
    const amli_command *command;
    const aml_job *job;
    const aml_generation *how;
    const aml_tokenizer *tokenizer;
    amli_session session;
    amli_choice choice;
    amli_decoder decoder;
    int64_t length;        // tokens to write
    int32_t *token;        // the prompt and what was written so far
    int64_t tokens, begin; // begin: the first one that the model sees
    int32_t *window;       // without caches: what the model reads
    float *score;
    double *work;
    bool closed; // nobody reads any more
} Generating;

// ---- the prompt

static aml_status read_prompt(Generating *g, aml_error *error)
{
    const char *prompt = g->command->prompt ? g->command->prompt : g->how->prompt;
    size_t length = strlen(prompt);
    if (length == 0)
        return amli_fail(error, AML_USAGE,
                         "--prompt: expected a text, found an empty one: the model needs something "
                         "to go on from");
    if (g->length > INT64_MAX / 16 - (int64_t)length)
        return amli_fail(error, AML_USAGE, "--length: %lld is too large", (long long)g->length);
    size_t bytes = (length + PROMPT_EXTRA + (size_t)g->length) * sizeof *g->token;
    g->token = malloc(bytes);
    if (!g->token)
        return amli_no_memory(error, bytes, "the tokens");
    amli_encoder encoder;
    aml_status status = amli_encoder_open(&encoder, g->tokenizer, error);
    if (!status)
        amli_encoder_begin(&encoder, "the prompt", prompt, length);
    while (!status) {
        int32_t token;
        status = amli_encode(&encoder, &token, error);
        if (status || token < 0)
            break;
        if (g->tokens == (int64_t)length + PROMPT_EXTRA)
            status = amli_fail(error, AML_USAGE, "the prompt has more tokens than bytes");
        else
            g->token[g->tokens++] = token;
    }
    amli_encoder_close(&encoder);
    if (status)
        return status;
    return g->tokens > 0 ? AML_OK : amli_fail(error, AML_USAGE, "the prompt holds no characters");
}

// ---- one position

aml_status amli_empty_caches(amli_session *session, aml_error *error)
{
    amli_device *device = session->device;
    static const char zeros[1 << 12]; // it is in every training program
    for (int i = 0; i < session->job->states; i++) {
        const aml_state_info *state = &session->job->state[i];
        size_t left = state->role == AML_ROLE_CACHE ? amli_tensor_bytes(&state->tensor) : 0;
        for (size_t at = state->offset; left > 0;) {
            size_t now = left < sizeof zeros ? left : sizeof zeros;
            aml_status status = device->kind->upload(device, session->state, at, zeros, now, error);
            if (status)
                return status;
            at += now;
            left -= now;
        }
    }
    return AML_OK;
}

aml_status amli_token_scores(amli_session *session, const int32_t *token, int64_t position,
                             float *score, aml_error *error)
{
    const amli_bound *decode = &session->decode;
    aml_status status =
        session->device->kind->upload(session->device, session->batch, decode->input_offset[0],
                                      token, amli_tensor_bytes(&decode->function->input[0]), error);
    if (!status)
        status = amli_session_run(session, &session->decode, position, error);
    return status ? status : amli_session_read(session, decode, 0, score, error);
}

int64_t amli_prompt_width(const aml_job *job)
{
    return job->prompt.run ? aml_shape_elements(&job->prompt.input[0].shape) : 1;
}

aml_status amli_prompt_scores(amli_session *session, const int32_t *token, int64_t count,
                              int64_t position, float *score, aml_error *error)
{
    amli_bound *prompt = &session->prompt;
    int64_t width = amli_prompt_width(session->job);
    aml_status status = AML_OK;
    for (int64_t at = 0; at < count && !status && !amli_signal_seen();) {
        int64_t now = count - at < width ? count - at : width;
        if (width == 1 || now == 1 || (now < width && session->job->generation.exact)) {
            status = amli_token_scores(session, token + at, position + at, score, error);
            at++;
            continue;
        }
        for (int64_t i = 0; i < width && !status; i++) {
            int32_t one = i < now ? token[at + i] : -1;
            status = session->device->kind->upload(session->device, session->batch,
                                                   prompt->input_offset[0] + (size_t)i * sizeof one,
                                                   &one, sizeof one, error);
        }
        if (!status)
            status = amli_session_run(session, prompt, position + at, error);
        at += now;
        if (!status && at == count)
            status = amli_session_read(session, prompt, 0, score, error);
    }
    return status;
}

static aml_status run(Generating *g, const int32_t *token, int64_t position, aml_error *error)
{
    return amli_token_scores(&g->session, token, position, g->score, error);
}

// The scores behind token number `last`, which is the newest that the model has seen.
static aml_status score(Generating *g, int64_t last, aml_error *error)
{
    int64_t position = last - g->begin;
    if (g->how->cached)
        return run(g, &g->token[last], position, error);
    memset(g->window, 0, (size_t)g->how->context * sizeof *g->window);
    memcpy(g->window, g->token + g->begin, (size_t)(position + 1) * sizeof *g->window);
    return run(g, g->window, position, error);
}

// Shows the model tokens begin..until-1. The scores are those behind the last.
static aml_status fill(Generating *g, int64_t begin, int64_t until, aml_error *error)
{
    g->begin = begin;
    if (!g->how->cached)
        return score(g, until - 1, error);
    aml_status status = amli_empty_caches(&g->session, error);
    return status ? status
                  : amli_prompt_scores(&g->session, g->token + begin, until - begin, 0, g->score,
                                       error);
}

// Without caches the model is given the whole context, of which the end is not known yet: if that
// makes a difference, it looks ahead, and what it was trained on was to read the answer.
static aml_status check_order(Generating *g, aml_error *error)
{
    int64_t vocab = g->tokenizer->vocab;
    float *other = malloc((size_t)vocab * sizeof *other);
    if (!other)
        return amli_no_memory(error, (size_t)vocab * sizeof *other, "scores");
    memset(g->window, 0, (size_t)g->how->context * sizeof *g->window);
    aml_status status = run(g, g->window, 0, error);
    memcpy(other, g->score, (size_t)vocab * sizeof *other);
    for (int64_t i = 1; i < g->how->context; i++)
        g->window[i] = (int32_t)(vocab - 1);
    if (!status)
        status = run(g, g->window, 0, error);
    double most = 0, apart = 0;
    for (int64_t i = 0; i < vocab; i++) {
        most = fmax(most, fabs((double)other[i]));
        apart = fmax(apart, fabs((double)other[i] - (double)g->score[i]));
    }
    free(other);
    if (!status && apart > 1e-4 * fmax(most, 1))
        return amli_fail(error, AML_INVALID,
                         "%s (%s): the model's scores at a position depend on later tokens, so it "
                         "cannot write one token after the other\nhelp: attention that does not "
                         "look ahead is causal: true",
                         g->job->name, g->job->place);
    return status;
}

// ---- writing

static aml_status put(Generating *g, const char *text, size_t length, aml_error *error)
{
    while (length > 0 && !g->closed) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EPIPE) {
            g->closed = true; // as with `| head`: enough was read
            break;
        }
        if (written < 0)
            return amli_fail(error, AML_IO, "writing to standard output failed: %s",
                             strerror(errno));
        text += written;
        length -= (size_t)written;
    }
    return AML_OK;
}

static aml_status put_token(Generating *g, int32_t token, aml_error *error)
{
    size_t length = amli_decode_token(&g->decoder, token);
    return put(g, g->decoder.text, length, error);
}

static aml_status write_text(Generating *g, amli_log *log, aml_error *error)
{
    int64_t prompt = g->tokens, context = g->how->context;
    double began = amli_seconds();
    aml_status status = AML_OK;
    for (int64_t i = 0; i < prompt && !status; i++)
        status = put_token(g, g->token[i], error);
    if (!status)
        status = fill(g, prompt > context ? prompt - context : 0, prompt, error);
    int64_t written = 0;
    while (!status && !g->closed && !amli_signal_seen() && written < g->length) {
        int64_t next = amli_choose(&g->choice, g->score, g->tokenizer->vocab, written, g->work);
        if (next < 0)
            status = amli_fail(error, AML_NOT_FINITE, "the scores of token %lld are not finite",
                               (long long)written + 1);
        if (status)
            break;
        g->token[g->tokens++] = (int32_t)next;
        status = put_token(g, (int32_t)next, error);
        if (++written == g->length || status)
            break;
        if (g->tokens - g->begin > context)
            status = fill(g, g->tokens - (context + 1) / 2, g->tokens, error);
        else
            status = score(g, g->tokens - 1, error);
    }
    size_t length = amli_decode_end(&g->decoder);
    g->decoder.text[length++] = '\n';
    if (!status)
        status = put(g, g->decoder.text, length, error);
    double seconds = amli_seconds() - began;
    if (!status && amli_signal_seen())
        return amli_fail(error, amli_signal_seen() == SIGINT ? AML_INTERRUPTED : AML_TERMINATED,
                         "interrupted after %lld of %lld tokens", (long long)written,
                         (long long)g->length);
    if (!status && seconds > 0)
        amli_log_line(log, "%s: %lld tokens, %.0f tokens/s", g->job->name, (long long)written,
                      (double)written / seconds);
    return status;
}

// ---- beginning and end

// Large constants of a deployed program (compiler/codegen/data.c), defined by the linker.
extern const char __start_aml_constants[] __attribute__((weak));
extern const char __stop_aml_constants[] __attribute__((weak));
enum { LEAST_LARGE = 16 << 20 }; // caches hold less than this

aml_status amli_generation_open(const amli_command *command, const aml_job *job,
                                const amli_device_kind *kind, amli_log *log, amli_session *session,
                                aml_error *error)
{
    if (job->model_job < 0) { // deployed: the weights are in the function
        const char *from = command->weights;
        if (!command->shared && from)
            amli_large_pages(from, from + command->weights_bytes, LEAST_LARGE);
        else if (!command->shared)
            amli_large_pages(__start_aml_constants, __stop_aml_constants, LEAST_LARGE);
        aml_status opened = amli_session_open(command, job, kind, session, error);
        if (!opened)
            session->device->weights = from;
        return opened;
    }
    const aml_job *trained = &command->program->job[job->model_job];
    aml_checkpoint *checkpoint;
    aml_status status = amli_trained_find(command, trained, job->which, log, &checkpoint, error);
    if (status)
        return status;
    status = amli_check_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, false,
                              aml_checkpoint_path(checkpoint), error);
    if (!status)
        status = amli_session_open(command, job, kind, session, error);
    if (!status)
        status = amli_load_state(job, aml_checkpoint_weights(checkpoint), WEIGHTS, session->device,
                                 session->state, error);
    aml_checkpoint_close(checkpoint);
    return status;
}

static aml_status begin(Generating *g, const amli_device_kind *kind, amli_log *log,
                        aml_error *error)
{
    aml_status status = amli_generation_open(g->command, g->job, kind, log, &g->session, error);
    size_t vocab = (size_t)g->tokenizer->vocab, context = (size_t)g->how->context;
    g->score = calloc(vocab, sizeof *g->score);
    g->work = calloc(2 * vocab, sizeof *g->work);
    g->window = calloc(context, sizeof *g->window);
    if (!status && (!g->score || !g->work || !g->window))
        status = amli_no_memory(error, vocab * 20 + context * 4, "the generation");
    if (!status && !g->how->cached) {
        amli_log_line(log,
                      "%s: this model cannot go on from where it was: every token computes the "
                      "whole context of %lld",
                      g->job->name, (long long)g->how->context);
        status = check_order(g, error);
    }
    return status;
}

static aml_status check_job(const Generating *g, aml_error *error)
{
    const aml_function *decode = &g->job->decode;
    int64_t read = g->how->cached ? 1 : g->how->context;
    bool fits = decode->run && g->tokenizer && decode->inputs == 1 && decode->outputs == 1 &&
                decode->input[0].dtype == AML_I32 && decode->output[0].dtype == AML_F32 &&
                aml_shape_elements(&decode->input[0].shape) == read &&
                aml_shape_elements(&decode->output[0].shape) == g->tokenizer->vocab;
    const aml_function *prompt = &g->job->prompt;
    if (fits && prompt->run)
        fits = g->how->cached && prompt->inputs == 1 && prompt->outputs == 1 &&
               prompt->input[0].dtype == AML_I32 && prompt->output[0].dtype == AML_F32 &&
               aml_shape_elements(&prompt->input[0].shape) <= g->how->context &&
               aml_shape_elements(&prompt->output[0].shape) == g->tokenizer->vocab;
    return fits ? AML_OK
                : amli_fail(error, AML_INTERNAL, "the block '%s' (%s) has no function of tokens",
                            g->job->name, g->job->place);
}

aml_status amli_generate(const amli_command *command, const amli_device_kind *kind,
                         aml_error *error)
{
    Generating g = {.command = command};
    amli_log log;
    aml_status status = amli_find_job(command, AML_JOB_GENERATE, command->argument, &g.job, error);
    if (status)
        return status;
    if (command->score)
        return amli_generation_score(command, kind, g.job, error);
    amli_log_begin(&log, command->quiet);
    g.how = &g.job->generation;
    g.tokenizer = command->program->dataset[g.job->data].source.tokenizer;
    g.length = command->length > 0 ? command->length : g.how->length;
    g.choice = (amli_choice){.temperature = command->temperature >= 0 ? command->temperature
                                                                      : g.how->temperature,
                             .top_k = command->top_k > 0 ? command->top_k : g.how->top_k,
                             .top_p = command->top_p >= 0 ? command->top_p : g.how->top_p,
                             .seed = command->has_seed ? command->seed : g.job->seed};
    amli_signals_begin();
    signal(SIGPIPE, SIG_IGN);
    status = check_job(&g, error);
    if (!status)
        status = amli_decoder_open(&g.decoder, g.tokenizer, error);
    if (!status)
        status = read_prompt(&g, error);
    if (!status)
        status = begin(&g, kind, &log, error);
    if (!status)
        status = write_text(&g, &log, error);
    signal(SIGPIPE, SIG_DFL);
    amli_signals_end();
    amli_session_close(&g.session);
    amli_decoder_close(&g.decoder);
    free(g.token), free(g.window), free(g.score), free(g.work);
    amli_log_end(&log);
    return status;
}
