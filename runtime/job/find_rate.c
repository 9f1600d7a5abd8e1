// train --find_lr: which learning rate to begin with (Smith, 2015, arXiv:1506.01186).
//
// A short training on a state of its own, of which nothing is kept: the rate grows exponentially
// from step to step, whatever the program's schedule says, until the loss explodes. The loss is
// smoothed, and the rate at which it falls most steeply, over the logarithm of the rate, is
// suggested. There is no run: no folder is made.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/drawing.h"
#include "runtime/job/train.h"

enum { STEPS = 100, LINES = 20, WIDTH = 50 };
static const double smoothing = 0.9, exploded = 4;

typedef struct Sweep {
    double from, to;
    int64_t steps, done; // planned, measured
    double *rate, *loss, *smooth;
    int64_t best, steepest; // -1: none
    const char *end;        // why it ended
} Sweep;

// "1e-6..1"
static aml_status read_range(const amli_command *command, Sweep *sweep, aml_error *error)
{
    sweep->from = 1e-6;
    sweep->to = 10;
    sweep->steps = command->has_steps ? command->steps : STEPS;
    if (command->find_range) {
        char from[64], *dots = strstr(command->find_range, "..");
        aml_unit unit;
        size_t length = dots ? (size_t)(dots - command->find_range) : 0;
        snprintf(from, sizeof from, "%.*s", (int)(length < 63 ? length : 63), command->find_range);
        bool good = dots && amli_parse_quantity(from, &sweep->from, &unit) &&
                    unit == AML_UNIT_NONE && amli_parse_quantity(dots + 2, &sweep->to, &unit) &&
                    unit == AML_UNIT_NONE && sweep->from > 0 && sweep->to > sweep->from &&
                    isfinite(sweep->to);
        if (!good)
            return amli_fail(error, AML_USAGE,
                             "--find_lr: expected two rates above 0, such as 1e-6..1, found \"%s\"",
                             command->find_range);
    }
    if (sweep->steps < 10)
        return amli_fail(error, AML_USAGE,
                         "--steps: a search for a rate needs at least 10 steps, found %lld",
                         (long long)sweep->steps);
    size_t bytes = (size_t)sweep->steps * sizeof(double);
    sweep->rate = malloc(bytes), sweep->loss = malloc(bytes), sweep->smooth = malloc(bytes);
    return sweep->rate && sweep->loss && sweep->smooth ? AML_OK
                                                       : amli_no_memory(error, bytes, "the losses");
}

static bool asks_for_rate(const aml_function *step)
{
    for (int i = 0; i < step->scalars; i++)
        if (step->scalar[i].kind == AML_SCALAR_RATE)
            return true;
    return false;
}

static aml_status one_step(amli_training *training, Sweep *sweep, double *average, aml_error *error)
{
    amli_session *session = &training->session;
    int64_t i = sweep->done, batch = training->job->batch;
    session->tried_rate =
        sweep->from * pow(sweep->to / sweep->from, (double)i / (double)(sweep->steps - 1));
    amli_sampler_pick(&training->sampler, i * batch, batch, training->batch_row);
    aml_status status =
        amli_session_fill(session, &session->step, training->batch_row, batch, i, i * batch, error);
    if (!status)
        status = amli_session_run(session, &session->step, i, error);
    char raw[8] = {0};
    if (!status)
        status = amli_session_read(session, &session->step, 0, raw, error);
    if (status)
        return status;
    double loss = amli_element(session->step.function->output[0].dtype, raw, 0);
    if (!isfinite(loss)) {
        sweep->end = "the loss is not finite any more";
        return AML_OK;
    }
    *average = smoothing * *average + (1 - smoothing) * loss;
    sweep->rate[i] = session->tried_rate;
    sweep->loss[i] = loss;
    sweep->smooth[i] = *average / (1 - pow(smoothing, (double)(i + 1)));
    if (sweep->best < 0 || sweep->smooth[i] < sweep->smooth[sweep->best])
        sweep->best = i;
    sweep->done++;
    if (sweep->smooth[i] > exploded * fabs(sweep->smooth[sweep->best]) + 1e-12 && i >= 10)
        sweep->end = "the loss exploded";
    return AML_OK;
}

// The slope of the loss over the logarithm of the rate, by least squares over the steps around one:
// a running average alone would find the fall too late.
static double slope_at(const Sweep *sweep, int64_t at, int64_t around)
{
    double x = 0, y = 0, xx = 0, xy = 0, n = (double)(2 * around + 1);
    for (int64_t i = at - around; i <= at + around; i++) {
        double rate = log(sweep->rate[i]);
        x += rate, y += sweep->loss[i], xx += rate * rate, xy += rate * sweep->loss[i];
    }
    return (n * xy - x * y) / (n * xx - x * x);
}

// The steepest fall before the lowest loss.
static void find_steepest(Sweep *sweep)
{
    int64_t around = sweep->steps / 20 > 2 ? sweep->steps / 20 : 2;
    double most = 0;
    for (int64_t i = around; i + around < sweep->done && i <= sweep->best; i++) {
        double slope = slope_at(sweep, i, around);
        if (slope < most) {
            most = slope;
            sweep->steepest = i;
        }
    }
}

static void print_json(const Sweep *sweep, const aml_job *job)
{
    amli_buffer text = {0};
    amli_buffer_printf(&text, "{\"job\": ");
    amli_json_text(&text, job->name);
    amli_buffer_printf(&text, ", \"suggestion\": ");
    amli_json_number(&text, sweep->steepest >= 0 ? sweep->rate[sweep->steepest] : NAN);
    amli_buffer_printf(&text, ", \"lowest\": ");
    amli_json_number(&text, sweep->best >= 0 ? sweep->rate[sweep->best] : NAN);
    amli_buffer_printf(&text, ", \"end\": ");
    amli_json_text(&text, sweep->end);
    const struct {
        const char *name;
        const double *at;
    } list[] = {{"rate", sweep->rate}, {"loss", sweep->loss}, {"smooth", sweep->smooth}};
    for (size_t k = 0; k < AMLI_COUNT(list); k++) {
        amli_buffer_printf(&text, ", \"%s\": [", list[k].name);
        for (int64_t i = 0; i < sweep->done; i++) {
            if (i)
                amli_buffer_add(&text, ", ", 2);
            amli_json_number(&text, list[k].at[i]);
        }
        amli_buffer_add(&text, "]", 1);
    }
    amli_buffer_printf(&text, "}");
    if (!text.failed)
        puts(text.text);
    amli_buffer_free(&text);
}

// A line for every few steps, with the smoothed loss as a bar; and always one for the suggestion.
static void print_table(const Sweep *sweep, const aml_job *job)
{
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < sweep->done; i++) {
        double shown = fmin(sweep->smooth[i], 2 * fabs(sweep->smooth[0]) + 1e-12);
        low = fmin(low, shown), high = fmax(high, shown);
    }
    printf("%s: %lld steps from %g to %g; %s\n", job->name, (long long)sweep->done, sweep->from,
           sweep->done ? sweep->rate[sweep->done - 1] : sweep->from, sweep->end);
    printf("  %10s %12s %12s\n", "rate", "loss", "smoothed");
    int64_t every = (sweep->done + LINES - 1) / LINES;
    for (int64_t i = 0; i < sweep->done; i++) {
        if (i % every && i != sweep->steepest)
            continue;
        double shown = high > low ? (sweep->smooth[i] - low) / (high - low) : 0;
        int length = (int)lround(WIDTH * fmin(fmax(shown, 0), 1));
        printf("  %10.3g %12.6g %12.6g ", sweep->rate[i], sweep->loss[i], sweep->smooth[i]);
        for (int k = 0; k < length; k++)
            putchar('#');
        puts(i == sweep->steepest ? " <- falls most steeply" : "");
    }
    if (sweep->steepest >= 0)
        printf("suggestion: %.2g, where the loss falls most steeply; it was lowest at %.2g\n",
               sweep->rate[sweep->steepest], sweep->rate[sweep->best]);
    else
        printf("no suggestion: the loss did not fall; try other rates, such as --find_lr "
               "1e-8..1e-2, or more steps with --steps\n");
}

static aml_status sweep_rates(amli_training *training, Sweep *sweep, aml_error *error)
{
    double average = 0;
    aml_status status = amli_training_begin_weights(training, error);
    while (!status && !sweep->end && sweep->done < sweep->steps) {
        if (amli_signal_seen())
            return amli_fail(error, amli_signal_seen() == SIGINT ? AML_INTERRUPTED : AML_TERMINATED,
                             "interrupted");
        status = one_step(training, sweep, &average, error);
    }
    if (!sweep->end)
        sweep->end = "all rates were tried";
    return status;
}

aml_status amli_find_rate(const amli_command *given, const amli_device_kind *kind, aml_error *error)
{
    amli_command command = *given;
    amli_training training = {.command = &command,
                              .lock = -1,
                              .saved_step = -1,
                              .figures = {.file = -1, .events.file = -1}};
    Sweep sweep = {.best = -1, .steepest = -1};
    amli_log_begin(&training.log, command.quiet || command.json);
    aml_status status = read_range(&command, &sweep, error);
    if (!status)
        status = amli_find_job(&command, AML_JOB_TRAIN, command.argument, &training.job, error);
    if (!status && !asks_for_rate(&training.job->step))
        status = amli_fail(error, AML_USAGE,
                           "the optimizer of '%s' (%s) does not let its rate be set from outside\n"
                           "help: an optimizer of your own takes it as `rate_of(lr(step))`",
                           training.job->name, training.job->place);
    if (!status)
        status = amli_session_open(&command, training.job, kind, &training.session, error);
    if (!status)
        status = amli_session_load(&training.session, &training.log, error);
    if (!status)
        status = amli_training_choose_rows(&training, error);
    amli_signals_begin();
    if (!status)
        status = sweep_rates(&training, &sweep, error);
    amli_signals_end();
    if (!status) {
        find_steepest(&sweep);
        if (command.json)
            print_json(&sweep, training.job);
        else
            print_table(&sweep, training.job);
    }
    free(sweep.rate), free(sweep.loss), free(sweep.smooth);
    amli_sampler_free(&training.sampler);
    free(training.batch_row);
    free(training.next_row);
    amli_session_close(&training.session);
    amli_log_end(&training.log);
    return status;
}
