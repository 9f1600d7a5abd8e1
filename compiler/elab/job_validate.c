// job_validate.c: `fn validate(batch)` of a training whose step is written out.
//
// It returns the loss or a record of figures. Each figure is kept as a sum and a count, so that
// batches and single rows add up: a mean_over is both, and a plain number is the mean of its batch.
// The figures become metrics of the job, with `loss` as its loss.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

// Two outputs of type f64: the sum over the samples, and how many there are. The index of the
// first; -1 after a report.
static int figure_outputs(Tracing *tracing, Value value, int64_t rows, const char *name, Span span)
{
    Elab *e = tracing->jobs->e;
    Inst *sum, *count;
    if (value_is(value, VALUE_MEAN)) {
        sum = elab_cast(e, value.as.mean.sum, DTYPE_F64, span);
        count = elab_cast(e, value.as.mean.count, DTYPE_F64, span);
    } else {
        Inst *mean = elab_scalar_tensor(e, value, span);
        if (!mean)
            return -1;
        count = ir_real(e->trace->fn, type_scalar(DTYPE_F64), (double)rows, span);
        sum = ir_binary(e->trace->fn, OP_mul, elab_cast(e, mean, DTYPE_F64, span), count, span);
    }
    int first = entry_output(tracing, sum, 0, sym_printf(tracing->jobs->cx, "%s_sum", name));
    entry_output(tracing, count, 0, sym_printf(tracing->jobs->cx, "%s_count", name));
    return first;
}

static void add_metric(Jobs *jobs, ProgramJob *job, MetricSet *figures, Sym name, int output)
{
    aml_metric metric = {.name = name,
                         .finish = AML_FINISH_MEAN,
                         .collect = {output, output + 1},
                         .lower_is_better = ends_in(name, "_loss") || ends_in(name, "_error")};
    vec_push(jobs->arena, &job->metric, metric);
    figures->name[figures->count++] = name;
}

// The loss comes first: the runtime reads it from the first two outputs.
static bool put_figures(Tracing *tracing, ProgramJob *job, Value result, int64_t rows, Span span,
                        MetricSet *figures)
{
    Jobs *jobs = tracing->jobs;
    Sym loss = job_word(jobs, "loss");
    if (!value_is(result, VALUE_RECORD)) {
        job->table.has_loss = true;
        return figure_outputs(tracing, result, rows, loss, span) >= 0;
    }
    const Value *of_loss = record_get(result, loss);
    if (of_loss && figure_outputs(tracing, *of_loss, rows, loss, span) < 0)
        return false;
    job->table.has_loss = of_loss != NULL;
    for (int i = 0; i < result.as.record->count; i++) {
        Sym name = result.as.record->name[i];
        if (name == loss)
            continue;
        int output = figure_outputs(tracing, result.as.record->at[i], rows, name, span);
        if (output < 0)
            return false;
        if (figures)
            add_metric(jobs, job, figures, name, output);
    }
    return true;
}

static bool eval_of(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *fn, Value models,
                    Entry *entry, const char *name, int64_t rows, MetricSet *figures)
{
    Elab *e = jobs->e;
    Env *env = env_new(e, NULL, fn->span.file);
    e->training = false;
    e->averaged = true;
    Tracing tracing = entry_begin(jobs, entry, job->table.name, name, fn->span);
    for (int i = 0; i < models.as.record->count; i++)
        env_bind(e, env, models.as.record->name[i], models.as.record->at[i]);
    Value batch = batch_inputs(&tracing, &train->data->prepared, rows, fn->span);
    Value result = elab_call(e, value_function(e, fn, env), &batch, NULL, 1, fn->as.fn.name_span);
    bool good = !value_is(result, VALUE_POISON);
    bool figure = value_is(result, VALUE_RECORD) || value_is(result, VALUE_MEAN) ||
                  value_is(result, VALUE_TENSOR);
    if (good && (!figure || (value_is(result, VALUE_RECORD) && result.as.record->count == 0))) {
        report(jobs->cx, fn->as.fn.name_span, validate_result, value_what(e, result));
        good = false;
    }
    if (good && figures && value_is(result, VALUE_RECORD)) {
        figures->name = NEW_ARRAY(jobs->arena, Sym, result.as.record->count);
        figures->count = 0;
    }
    good = good && put_figures(&tracing, job, result, rows, fn->as.fn.name_span, figures);
    e->averaged = false;
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

bool custom_eval(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *fn, Value models,
                 MetricSet *figures)
{
    *figures = (MetricSet){0};
    return eval_of(jobs, train, job, fn, models, &job->eval, "eval", job->table.batch, figures) &&
           eval_of(jobs, train, job, fn, models, &job->eval_one, "eval_one", 1, NULL);
}
