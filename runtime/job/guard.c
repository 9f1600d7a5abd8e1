// Steps that go wrong.
//
// A step whose figures are not finite ends the training (stop), is left out by its own compiled
// code (skip), or sends the training back to its last checkpoint, which is still in memory as the
// writer's snapshot (rollback). Where the first value that is not finite came from is found by
// going back to that snapshot and doing the same steps again, which gives the same bits, with
// somebody watching each kernel.
//
// All that is decided here depends on what is in a checkpoint, so a training that is killed and
// resumed decides the same.

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/train.h"

// ---- what is usual ------------------------------------------------------------------------------

// Steps after which mean and deviation mean something (and their memory), and after which a value
// that lies far off counts as one at the limit, so that an outlier at the beginning does not hide
// those that follow.
enum { SETTLED = 50, BEGINNING = 10 };

static double deviation(double mean, double variance)
{
    return sqrt(variance) + 1e-3 * fabs(mean); // values that hardly change have no outliers
}

static void note(const amli_training *training, double value, double *mean, double *variance)
{
    int64_t steps = training->progress.usual_steps;
    double share = 1 / (double)(steps < SETTLED ? steps + 1 : SETTLED);
    double most = *mean + training->job->skip_outliers * deviation(*mean, *variance);
    double off = (steps >= BEGINNING && value > most ? most : value) - *mean;
    *mean += share * off;
    *variance = (1 - share) * (*variance + share * off * off);
}

static float limit_of(const amli_training *training, double mean, double variance)
{
    if (training->job->skip_outliers <= 0 || training->progress.usual_steps < SETTLED)
        return INFINITY;
    return (float)(mean + training->job->skip_outliers * deviation(mean, variance));
}

void amli_guard_limits(const amli_training *training, float limit[2])
{
    const amli_progress *progress = &training->progress;
    limit[0] = limit_of(training, progress->usual_loss, progress->usual_loss_variance);
    limit[1] = limit_of(training, progress->usual_length, progress->usual_length_variance);
}

aml_status amli_guard_note(amli_training *training)
{
    amli_progress *progress = &training->progress;
    progress->skipped_in_a_row = 0;
    if (training->job->skip_outliers <= 0)
        return AML_OK;
    note(training, training->figure[0], &progress->usual_loss, &progress->usual_loss_variance);
    if (training->length_output >= 0)
        note(training, training->figure[training->length_output], &progress->usual_length,
             &progress->usual_length_variance);
    progress->usual_steps++;
    return AML_OK;
}

// ---- looking for the first value that is not finite ---------------------------------------------

typedef struct Found {
    int32_t kernel; // -1: none
    int32_t result;
    int64_t count, elements, first;
    double value, least, most; // the first one, and the range of the others
} Found;

typedef struct Search {
    const aml_function *function;
    bool *usual; // kernels whose results were infinite in steps that were fine: masks
    bool *infinite;
    Found found; // in this step
} Search;

// A value is not finite if all bits of its exponent are set.
static bool all_finite(const aml_kernel_result *info, const void *at)
{
    uint64_t bad = 0;
    switch (info->dtype) {
    case AML_F32:
        for (int64_t i = 0; i < info->elements; i++)
            bad |= (((const uint32_t *)at)[i] & 0x7f800000u) == 0x7f800000u;
        break;
    case AML_F64:
        for (int64_t i = 0; i < info->elements; i++)
            bad |= (((const uint64_t *)at)[i] & 0x7ff0000000000000u) == 0x7ff0000000000000u;
        break;
    case AML_F16:
        for (int64_t i = 0; i < info->elements; i++)
            bad |= (((const uint16_t *)at)[i] & 0x7c00) == 0x7c00;
        break;
    case AML_BF16:
        for (int64_t i = 0; i < info->elements; i++)
            bad |= (((const uint16_t *)at)[i] & 0x7f80) == 0x7f80;
        break;
    case AML_I8:
    case AML_U8:
    case AML_I32:
    case AML_I64:
    case AML_BOOL:
        break;
    }
    return !bad;
}

static Found describe(int32_t kernel, int32_t result, const aml_kernel_result *info, const void *at)
{
    Found found = {.kernel = kernel,
                   .result = result,
                   .elements = info->elements,
                   .first = -1,
                   .least = INFINITY,
                   .most = -INFINITY};
    for (int64_t i = 0; i < info->elements; i++) {
        double value = amli_element(info->dtype, at, i);
        if (isfinite(value)) {
            found.least = value < found.least ? value : found.least;
            found.most = value > found.most ? value : found.most;
            continue;
        }
        if (found.count++ == 0) {
            found.first = i;
            found.value = value;
        }
        if (isnan(value) && !isnan(found.value)) { // the worse one is shown
            found.first = i;
            found.value = value;
        }
    }
    return found;
}

static void watch(void *opaque, int32_t kernel, void *const result[])
{
    Search *search = opaque;
    const aml_kernel *info = &search->function->kernel[kernel];
    const aml_kernel_result *of = search->function->result + info->first;
    if (search->found.kernel >= 0)
        return;
    for (int32_t i = 0; i < info->results; i++) {
        if (all_finite(&of[i], result[i]))
            continue;
        Found found = describe(kernel, i, &of[i], result[i]);
        search->infinite[kernel] = true;
        if (isnan(found.value) || !search->usual[kernel]) {
            search->found = found;
            return;
        }
    }
}

static bool weights_are_finite(const amli_training *training)
{
    const amli_session *session = &training->session;
    const char *state = session->device->kind->host_view(session->device, session->state);
    for (int i = 0; state && i < training->job->states; i++) {
        const aml_state_info *row = &training->job->state[i];
        const aml_kernel_result info = {.dtype = row->tensor.dtype,
                                        .elements = aml_shape_elements(&row->tensor.shape)};
        if (row->role == AML_ROLE_WEIGHT && !all_finite(&info, state + row->offset))
            return false;
    }
    return true;
}

// What a validation changes (schedules) is a part of the steps that follow it.
static aml_status validate_again(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    if (!training->job->validated.run || training->valid_rows == 0 ||
        !amli_training_due(training, &training->job->validate_every,
                           &training->progress.next_validation))
        return AML_OK;
    amli_measured measured;
    aml_status status = amli_measure(session, training->valid_row, training->valid_rows,
                                     training->progress.step, &measured, error);
    if (status)
        return status;
    session->measured = &measured;
    status = amli_session_run(session, &session->validated, training->progress.step, error);
    session->measured = NULL;
    amli_measured_free(&measured);
    return status;
}

// The state of the last checkpoint, or of the beginning. The loader stops: its batches are others.
static aml_status go_back(amli_training *training, aml_error *error)
{
    amli_session *session = &training->session;
    const amli_snapshot *snapshot = amli_writer_newest(training->writer);
    amli_loader_free(training->loader);
    training->loader = NULL;
    aml_status status = session->device->kind->upload(
        session->device, session->state, 0, snapshot->state, training->job->state_bytes, error);
    if (!status)
        training->progress = snapshot->progress;
    return status;
}

// Does the steps from the last checkpoint to `until` again, and looks into the first one that ends
// with something that is not finite.
static aml_status replay(amli_training *training, int64_t until, Search *search, aml_error *error)
{
    amli_device *device = training->session.device;
    aml_status status = go_back(training, error);
    device->watcher = search;
    while (!status && training->progress.step < until) {
        search->found.kernel = -1;
        memset(search->infinite, 0, (size_t)search->function->kernels * sizeof(bool));
        device->watch = watch;
        status = amli_step_run(training, error);
        device->watch = NULL;
        if (status)
            break;
        bool wrong = amli_step_wrong(training) >= 0;
        if (search->found.kernel >= 0 &&
            (isnan(search->found.value) || wrong || !weights_are_finite(training)))
            break;
        for (int32_t k = 0; k < search->function->kernels; k++)
            search->usual[k] = search->usual[k] || search->infinite[k];
        if (!wrong && !amli_step_skipped(training))
            amli_guard_note(training);
        status = validate_again(training, error);
    }
    device->watcher = NULL;
    return status;
}

static const char *value_text(double value, char *text, size_t room)
{
    if (isnan(value))
        snprintf(text, room, "NaN");
    else if (isinf(value))
        snprintf(text, room, value > 0 ? "infinity" : "-infinity");
    else
        snprintf(text, room, "%.4g", value);
    return text;
}

// Where it came from, as lines of a message; empty if that cannot be found out.
static void explain(amli_training *training, amli_buffer *text)
{
    const aml_function *step = training->session.step.function;
    int64_t until = training->progress.step;
    size_t kernels = (size_t)step->kernels;
    Search search = {.function = step,
                     .usual = calloc(kernels + 1, sizeof(bool)),
                     .infinite = calloc(kernels + 1, sizeof(bool)),
                     .found.kernel = -1};
    double loss = training->last_loss;
    aml_error ignored;
    if (kernels && search.usual && search.infinite &&
        replay(training, until, &search, &ignored) == AML_OK && search.found.kernel >= 0) {
        const aml_kernel *kernel = &step->kernel[search.found.kernel];
        const Found *found = &search.found;
        char value[32], least[32], most[32];
        amli_buffer_printf(text,
                           "\n  the first value that is not finite is computed in step %lld by %s",
                           (long long)training->progress.step,
                           step->text + step->result[kernel->first + found->result].place);
        if (kernel->lines)
            amli_buffer_printf(text, " (lines %s)", step->text + kernel->lines);
        amli_buffer_printf(text, ": %s", step->text + kernel->what);
        if (kernel->weight)
            amli_buffer_printf(text, ", of %s", step->text + kernel->weight);
        if (found->elements == 1)
            amli_buffer_printf(text, "\n  it is %s", value_text(found->value, value, sizeof value));
        else
            amli_buffer_printf(text, "\n  %lld of its %lld elements are not: number %lld is %s",
                               (long long)found->count, (long long)found->elements,
                               (long long)found->first,
                               value_text(found->value, value, sizeof value));
        if (found->count < found->elements)
            amli_buffer_printf(text, "; the others lie in %s to %s",
                               value_text(found->least, least, sizeof least),
                               value_text(found->most, most, sizeof most));
    }
    free(search.usual);
    free(search.infinite);
    training->progress.step = until;
    training->last_loss = loss;
}

// ---- what is done -------------------------------------------------------------------------------

static aml_status stop(amli_training *training, const char *first, aml_error *error)
{
    int wrong = amli_step_wrong(training);
    double value = wrong < 0 ? 0 : training->figure[wrong];
    const char *name = wrong <= 0 ? "loss" : training->job->step.output[wrong].name;
    char kept[64] = "";
    amli_buffer cause = {0};
    amli_writer_describe(training->writer); // what is being written is kept as well
    bool saved = training->asked_step >= 0 && !amli_writer_failed(training->writer);
    if (saved)
        snprintf(kept, sizeof kept, "; the checkpoint of step %lld is kept",
                 (long long)training->asked_step);
    if (saved)
        explain(training, &cause);
    aml_status status = amli_fail(
        error, AML_NOT_FINITE,
        "%sthe %s of step %lld is %s%s%s\nhelp: a lower learning rate, a longer warm-up "
        "or clip: norm(1.0) usually helps; look at %s/metrics.jsonl, and at the data with "
        "`data check`",
        first, name, (long long)training->progress.step,
        isnan(value) ? "not a number"
        : value > 0  ? "infinite"
                     : "minus infinite",
        kept, cause.text ? cause.text : "", training->store.run);
    amli_buffer_free(&cause);
    return status;
}

enum { TOLD = 5 };

// The compiled step has left itself out.
static aml_status skipped(amli_training *training, aml_error *error)
{
    amli_progress *progress = &training->progress;
    const float *limit = training->session.limit;
    int wrong = amli_step_wrong(training);
    char value[32];
    progress->skipped++;
    progress->skipped_in_a_row++;
    bool loss = !(training->figure[0] <= (double)limit[0]);
    int figure = wrong >= 0 ? wrong : loss ? 0 : training->length_output;
    const char *name = figure <= 0 ? "loss" : training->job->step.output[figure].name;
    value_text(training->figure[figure < 0 ? 0 : figure], value, sizeof value);
    if (progress->skipped <= TOLD && wrong >= 0)
        amli_log_line(&training->log, "step %lld is left out: its %s is %s",
                      (long long)progress->step, name, value);
    else if (progress->skipped <= TOLD)
        amli_log_line(&training->log, "step %lld is left out: its %s is %s, above the usual %.4g",
                      (long long)progress->step, name, value, (double)(loss ? limit[0] : limit[1]));
    if (progress->skipped_in_a_row < training->job->guard_limit)
        return AML_OK;
    if (wrong >= 0) {
        char first[96];
        snprintf(first, sizeof first, "%lld steps in a row were left out (guard_limit), and ",
                 (long long)progress->skipped_in_a_row);
        return stop(training, first, error);
    }
    // What all steps are like is no outlier.
    amli_log_line(&training->log,
                  "%lld steps in a row were left out: from here on they are taken as usual",
                  (long long)progress->skipped_in_a_row);
    progress->skipped_in_a_row = 0;
    progress->usual_steps = 0;
    return AML_OK;
}

static aml_status roll_back(amli_training *training, aml_error *error)
{
    amli_progress before = training->progress;
    int wrong = amli_step_wrong(training);
    char value[32];
    if (before.rollbacks >= training->job->guard_limit) {
        char first[96];
        snprintf(first, sizeof first, "after going back %lld times (guard_limit) ",
                 (long long)before.rollbacks);
        return stop(training, first, error);
    }
    value_text(training->figure[wrong], value, sizeof value);
    aml_status status = go_back(training, error);
    if (status)
        return status;
    amli_progress *progress = &training->progress;
    progress->rollbacks = before.rollbacks + 1;
    progress->seconds = before.seconds;
    // The batch of the step that went wrong is number before.step - 1 + before.ahead.
    progress->ahead = before.step + before.ahead - progress->step;
    amli_log_line(&training->log,
                  "the %s of step %lld is %s: back to step %lld, and on with the samples after it",
                  wrong ? training->job->step.output[wrong].name : "loss", (long long)before.step,
                  value, (long long)progress->step);
    status = amli_figures_rewind(&training->figures, progress->log_bytes, progress->step, error);
    return status ? status : amli_training_start_loader(training, error);
}

aml_status amli_guard_act(amli_training *training, bool *went_back, aml_error *error)
{
    if (amli_step_skipped(training))
        return skipped(training, error);
    if (training->job->guard != AML_GUARD_ROLLBACK)
        return stop(training, "", error);
    *went_back = true;
    return roll_back(training, error);
}
