// state.json: where a training stands. Numbers are written with all their digits, so that they come
// back as they were.

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/store.h"

// Every number of the file, one row each.
//
//   WHOLE(name) and REAL(name) are members of amli_progress
#define NUMBERS                                                                                    \
    WHOLE(step)                                                                                    \
    WHOLE(seed)                                                                                    \
    WHOLE(batch)                                                                                   \
    WHOLE(overfit)                                                                                 \
    WHOLE(loss_count) WHOLE(best_step) WHOLE(next_validation) WHOLE(next_checkpoint)               \
        WHOLE(ahead) WHOLE(rollbacks) WHOLE(skipped) WHOLE(skipped_in_a_row) WHOLE(usual_steps)    \
        REAL(usual_loss) REAL(usual_loss_variance) REAL(usual_length) REAL(usual_length_variance)  \
        WHOLE(log_bytes) REAL(seconds) REAL(loss_sum) REAL(best)

aml_status amli_progress_write(const amli_progress *progress, char **text, size_t *length,
                               aml_error *error)
{
    json_t *state = json_object(), *options = json_object();
    bool complete = state && options;
    for (int i = 0; i < progress->options && complete; i++)
        complete = json_object_set_new(options, progress->option_name[i],
                                       json_string(progress->option_text[i])) == 0;
#define WHOLE(name)                                                                                \
    complete = complete && json_object_set_new(state, #name, json_integer(progress->name)) == 0;
#define REAL(name)                                                                                 \
    complete = complete &&                                                                         \
               json_object_set_new(state, #name,                                                   \
                                   json_real(isfinite(progress->name) ? progress->name : 0)) == 0;
    NUMBERS
#undef WHOLE
#undef REAL
    complete =
        complete && json_object_set_new(state, "has_best", json_boolean(progress->has_best)) == 0;
    complete =
        complete && json_object_set_new(state, "finished", json_boolean(progress->finished)) == 0;
    complete = complete && json_object_set(state, "options", options) == 0;
    *text = complete ? json_dumps(state, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(options);
    json_decref(state);
    // jansson may leave something out where it has no memory, and says nothing
    json_t *again = *text ? json_loads(*text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!again) {
        free(*text);
        *text = NULL;
    }
    json_decref(again);
    if (!*text)
        return amli_no_memory(error, 0, "state.json");
    *length = strlen(*text);
    return AML_OK;
}

static bool get_whole(json_t *state, const char *name, int64_t *out)
{
    json_t *value = json_object_get(state, name);
    *out = json_integer_value(value);
    return json_is_integer(value);
}

static bool get_real(json_t *state, const char *name, double *out)
{
    json_t *value = json_object_get(state, name);
    *out = json_number_value(value);
    return json_is_number(value);
}

static bool get_truth(json_t *state, const char *name, bool *out)
{
    json_t *value = json_object_get(state, name);
    *out = json_is_true(value);
    return json_is_boolean(value);
}

aml_status amli_progress_read(const char *path, const char *text, size_t length,
                              amli_progress *progress, aml_error *error)
{
    *progress = (amli_progress){0};
    json_error_t why;
    json_t *state = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!state)
        return json_error_code(&why) == json_error_out_of_memory
                   ? amli_no_memory(error, length, path)
                   : amli_fail(error, AML_BAD_CHECKPOINT, "%s is not JSON: %s", path, why.text);
    const char *wrong = NULL;
#define WHOLE(name)                                                                                \
    if (!wrong && !get_whole(state, #name, &progress->name))                                       \
        wrong = #name;
#define REAL(name)                                                                                 \
    if (!wrong && !get_real(state, #name, &progress->name))                                        \
        wrong = #name;
    NUMBERS
#undef WHOLE
#undef REAL
    if (!wrong && !get_truth(state, "has_best", &progress->has_best))
        wrong = "has_best";
    if (!wrong && !get_truth(state, "finished", &progress->finished))
        wrong = "finished";
    if (!wrong && (progress->step < 0 || progress->log_bytes < 0))
        wrong = "step";
    json_t *options = json_object_get(state, "options"), *value;
    const char *name;
    aml_status status = wrong ? amli_fail(error, AML_BAD_CHECKPOINT,
                                          "%s: '%s' is missing or not a number", path, wrong)
                              : AML_OK;
    if (!status && !json_is_object(options))
        status = amli_fail(error, AML_BAD_CHECKPOINT, "%s: 'options' is missing", path);
    if (!status)
        json_object_foreach(options, name, value) if (!status) status =
            json_is_string(value)
                ? amli_progress_add_option(progress, name, json_string_value(value), error)
                : amli_fail(error, AML_BAD_CHECKPOINT, "%s: the option '%s' is not a text", path,
                            name);
    json_decref(state);
    if (status)
        amli_progress_free(progress);
    return status;
}

aml_status amli_progress_add_option(amli_progress *progress, const char *name, const char *text,
                                    aml_error *error)
{
    size_t count = (size_t)progress->options + 1;
    char **names = realloc(progress->option_name, count * sizeof *names);
    if (names)
        progress->option_name = names;
    char **texts = realloc(progress->option_text, count * sizeof *texts);
    if (texts)
        progress->option_text = texts;
    char *name_copy = strdup(name), *text_copy = strdup(text);
    if (!names || !texts || !name_copy || !text_copy) {
        free(name_copy), free(text_copy);
        return amli_no_memory(error, strlen(text), "an option");
    }
    names[count - 1] = name_copy;
    texts[count - 1] = text_copy;
    progress->options++;
    return AML_OK;
}

void amli_progress_free(amli_progress *progress)
{
    for (int i = 0; i < progress->options; i++) {
        free(progress->option_name[i]);
        free(progress->option_text[i]);
    }
    free(progress->option_name);
    free(progress->option_text);
    *progress = (amli_progress){0};
}
