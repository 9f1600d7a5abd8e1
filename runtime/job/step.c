// One step of a training: a batch, the compiled function, and what its figures say.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/profile.h"
#include "runtime/job/train.h"

aml_status amli_figures_of_step(amli_training *training, aml_error *error)
{
    const aml_function *step = &training->job->step;
    training->figure = calloc((size_t)step->outputs + 1, sizeof *training->figure);
    training->skipped_output = training->length_output = -1;
    if (!training->figure)
        return amli_no_memory(error, (size_t)step->outputs * sizeof *training->figure,
                              "the figures of a step");
    for (int i = 0; i < step->outputs; i++) {
        if (amli_tensor_bytes(&step->output[i]) > sizeof(double))
            return amli_fail(error, AML_INTERNAL, "the figure '%s' of a step is not one number",
                             step->output[i].name);
        if (strcmp(step->output[i].name, AML_FIGURE_SKIPPED) == 0)
            training->skipped_output = i;
        if (strcmp(step->output[i].name, "grad_norm") == 0)
            training->length_output = i;
    }
    return AML_OK;
}

// The rows of batch `number`, which are dealt already or are dealt now.
static void pick_rows(amli_training *training, int64_t number)
{
    int64_t batch = training->job->batch;
    if (training->next_number == number) {
        int64_t *row = training->next_row;
        training->next_row = training->batch_row;
        training->batch_row = row;
    } else {
        amli_sampler_pick(&training->sampler, number * batch, batch, training->batch_row);
    }
}

// While a step computes nothing reads memory, so it asks for the rows of the next one. The last
// batch of an epoch does not: dealing the next epoch would forget this one.
static void tell_next_rows(amli_training *training, int64_t number)
{
    amli_session *session = &training->session;
    int64_t batch = training->job->batch, epoch = number * batch / training->sampler.count,
            last = (number + 2) * batch - 1;
    session->device->soon = NULL;
    training->next_number = -1;
    if (last / training->sampler.count != epoch)
        return;
    amli_sampler_pick(&training->sampler, (number + 1) * batch, batch, training->next_row);
    training->next_number = number + 1;
    amli_samples_soon(session->samples, training->next_row, batch, training->soon);
    session->device->soon = training->soon;
}

static aml_status get_batch(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    int64_t batch = training->job->batch, number = training->progress.step + session->ahead;
    if (training->loader)
        return amli_session_take(session, training->loader, error);
    pick_rows(training, number);
    // Whether a model can learn a few samples by heart is asked of the samples as they are.
    int64_t position = training->command->overfit > 0 ? -1 : number * batch;
    if (!amli_samples_work(session->samples, position >= 0) && amli_samples_long(session->samples))
        tell_next_rows(training, number);
    return amli_session_fill(session, &session->step, training->batch_row, batch, number, position,
                             error);
}

aml_status amli_step_run(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    const aml_function *step = session->step.function;
    double before = amli_seconds();
    session->ahead = training->progress.ahead;
    aml_status status = get_batch(training, error);
    training->waited += amli_seconds() - before;
    if (session->profile)
        amli_profile_part(session->profile, AMLI_PROFILE_BATCH, before);
    if (!status) {
        amli_guard_limits(training, session->limit);
        status = amli_session_run(session, &session->step, training->progress.step, error);
    }
    if (status)
        return status;
    training->progress.step++;
    for (int i = 0; i < step->outputs && !status; i++) {
        char raw[8];
        status = amli_session_read(session, &session->step, i, raw, error);
        if (!status)
            training->figure[i] = amli_element(step->output[i].dtype, raw, 0);
    }
    return status;
}

int amli_step_wrong(const amli_training *training)
{
    for (int i = 0; i < training->job->step.outputs; i++)
        if (!isfinite(training->figure[i]))
            return i;
    return -1;
}

bool amli_step_skipped(const amli_training *training)
{
    return training->skipped_output >= 0 && training->figure[training->skipped_output] != 0;
}

// Steps that get a line in metrics.jsonl: all up to 1,000, then every 10th up to 10,000, and so on.
static bool is_logged(int64_t step)
{
    int64_t every = 1;
    while (step / every > 1000)
        every *= 10;
    return step % every == 0;
}

// A line is written in each step, and printf would take most of its time.
static void add_step(amli_buffer *line, int64_t step)
{
    char text[24], *at = text + sizeof text;
    do
        *--at = (char)('0' + step % 10);
    while ((step /= 10) > 0);
    amli_buffer_add(line, "{\"step\": ", 9);
    amli_buffer_add(line, at, (size_t)(text + sizeof text - at));
}

static aml_status log_figures(amli_training *training, aml_error *error)
{
    const aml_function *step = &training->job->step;
    amli_buffer *line = &training->figures.buffer;
    char text[40];
    add_step(line, training->progress.step);
    for (int i = 0; i < step->outputs; i++) {
        double value = training->figure[i];
        const char *name = i ? step->output[i].name : "loss";
        amli_buffer_add(line, ", \"", 3);
        amli_buffer_add(line, name, strlen(name));
        amli_buffer_add(line, "\": ", 3);
        if (isfinite(value))
            amli_single_text((float)value, text, sizeof text);
        else
            strcpy(text, "null");
        amli_buffer_add(line, text, strlen(text));
    }
    amli_buffer_add(line, "}", 1);
    return amli_figures_end_line(&training->figures, error);
}

aml_status amli_training_step(amli_training *training, bool *went_back, aml_error *error)
{
    amli_progress *progress = &training->progress;
    *went_back = false;
    aml_status status = amli_step_run(training, error);
    if (status)
        return status;
    bool skipped = amli_step_skipped(training);
    training->last_loss = training->figure[0];
    if (!skipped) {
        progress->loss_sum += training->figure[0];
        progress->loss_count++;
    }
    bool wrong = amli_step_wrong(training) >= 0;
    if (is_logged(progress->step))
        status = log_figures(training, error);
    if (status)
        return status;
    return skipped || wrong ? amli_guard_act(training, went_back, error)
                            : amli_guard_note(training);
}
