// The scores behind one token after the other: what the shared library of a deployed `generate`
// block consists of. A context is one block of the caller's memory:
//
//     aml_tokens | caches | arena of decode | its tokens | its scores

#include <string.h>

#include "aml/artifact.h"
#include "runtime/base/base.h"

struct aml_tokens {
    const aml_job *job;
    const void *weights; // of a file; NULL: they are constants of the code
    char *state, *arena;
    void *input[1], *output[1]; // the token or all of them; the scores
    int64_t seen;
};

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static size_t tensor_bytes(const aml_tensor_info *tensor)
{
    return (size_t)aml_shape_elements(&tensor->shape) * aml_dtype_bytes(tensor->dtype);
}

size_t aml_tokens_bytes(const aml_token_model *model)
{
    size_t arena = 0;
    for (int i = 0; i < model->levels; i++)
        if (model->level[i].job->decode.arena_bytes > arena)
            arena = model->level[i].job->decode.arena_bytes;
    const aml_job *job = model->level[0].job;
    const aml_function *decode = &job->decode;
    return AML_ALIGNMENT + aligned(sizeof(aml_tokens)) + aligned(job->state_bytes) +
           aligned(arena) + aligned(tensor_bytes(&decode->input[0])) +
           aligned(tensor_bytes(&decode->output[0]));
}

aml_status aml_tokens_open(const aml_token_model *model, void *memory, size_t bytes,
                           aml_tokens **out)
{
    return aml_tokens_open_with(model, memory, bytes, NULL, 0, out);
}

aml_status aml_tokens_open_with(const aml_token_model *model, void *memory, size_t bytes,
                                const void *weights, size_t weights_bytes, aml_tokens **out)
{
    *out = NULL;
    if (model->abi != AML_PROGRAM_ABI || model->levels < 1)
        return AML_INVALID;
    int best = 0;
    while (best + 1 < model->levels && !aml_cpu_has(model->level[best].cpu_features))
        best++;
    const aml_token_level *level = &model->level[best];
    const aml_function *decode = &level->job->decode;
    if (!memory || bytes < aml_tokens_bytes(model) || decode->inputs != 1 || decode->outputs != 1 ||
        decode->scalars > 1)
        return AML_INVALID;
    aml_status status = amli_check_cpu(level->cpu_level, level->cpu_features, NULL);
    if (status)
        return status;
    if (model->weights && !model->weights->check(model->weights, weights, weights_bytes))
        return AML_BAD_DATA;
    char *at = (char *)(((uintptr_t)memory + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT);
    aml_tokens *tokens = (aml_tokens *)(void *)at;
    *tokens = (aml_tokens){.job = level->job, .weights = weights};
    tokens->state = at += aligned(sizeof *tokens);
    tokens->arena = at += aligned(level->job->state_bytes);
    tokens->input[0] = at += aligned(decode->arena_bytes);
    tokens->output[0] = at + aligned(tensor_bytes(&decode->input[0]));
    aml_tokens_reset(tokens);
    *out = tokens;
    return AML_OK;
}

void aml_tokens_reset(aml_tokens *tokens)
{
    memset(tokens->state, 0, tokens->job->state_bytes);
    memset(tokens->input[0], 0, tensor_bytes(&tokens->job->decode.input[0]));
    tokens->seen = 0;
}

aml_status aml_tokens_next(aml_tokens *tokens, int32_t token, float *score)
{
    const aml_job *job = tokens->job;
    const aml_function *decode = &job->decode;
    if (token < 0 || token >= aml_shape_elements(&decode->output[0].shape) ||
        tokens->seen >= job->generation.context)
        return AML_INVALID;
    ((int32_t *)tokens->input[0])[job->generation.cached ? 0 : tokens->seen] = token;
    aml_value position = {.whole = tokens->seen};
    aml_call call = {.state = tokens->state,
                     .arena = tokens->arena,
                     .input = tokens->input,
                     .output = tokens->output,
                     .scalar = &position,
                     .weights = tokens->weights};
    decode->run(&call);
    tokens->seen++;
    if (score)
        memcpy(score, tokens->output[0], tensor_bytes(&decode->output[0]));
    return AML_OK;
}

const char *aml_tokens_message(aml_status status)
{
    // the only data that a library is given
    return status == AML_BAD_DATA ? "the weights are not those that the code was made for"
                                  : aml_status_meaning(status);
}
