// job_guard.c: steps that go wrong: the settings `guard`, `guard_limit` and `skip_outliers`, and
// the code that leaves a step out.
//
// Whether a step counts is decided by its figures. If it does not, every state takes its old value:
// weights, moments, averages and running statistics are the same bytes as if the step had never
// been made. The choice is made element by element where the new value is computed, which reads the
// old one anyway.

#include "elab/job.h"

#include "elab/internal.h"

#include <float.h>
#include <string.h>

bool read_guard(Jobs *jobs, Node *node, aml_job *job)
{
    static const char *const name[] = {
        [AML_GUARD_STOP] = "stop", [AML_GUARD_SKIP] = "skip", [AML_GUARD_ROLLBACK] = "rollback"};
    Setting setting = setting_of(jobs, node, "guard"),
            outliers = setting_of(jobs, node, "skip_outliers");
    Sym word = value_word(setting_eval(jobs, &setting, "guard"));
    if (!word)
        return false; // reported
    for (size_t i = 0; i < COUNT_OF(name); i++)
        if (strcmp(word, name[i]) == 0)
            job->guard = (aml_guard)i;
    Value value = setting_eval(jobs, &outliers, "skip_outliers");
    if (!setting_whole(jobs, node, "guard_limit", 1, &job->guard_limit))
        return false;
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is_number(value)) {
        setting_wrong(jobs, &outliers, "skip_outliers",
                      "a number of standard deviations, such as 6", value);
        return false;
    }
    job->skip_outliers = value_number(value);
    if (job->skip_outliers >= 1 && job->skip_outliers <= 1e6)
        return true;
    report(jobs->cx, outliers.span, setting_range, "skip_outliers", "1 to 1000000",
           value_show(jobs->e, value));
    return false;
}

bool leaves_out_steps(const aml_job *job)
{
    return job->guard == AML_GUARD_SKIP || job->skip_outliers > 0;
}

static Inst *and_of(Elab *e, Inst *a, Inst *b, Span span)
{
    return a ? ir_binary(e->trace->fn, OP_and, a, b, span) : b;
}

// value <= limit, which a NaN is not.
static Inst *below(Elab *e, Inst *value, Inst *limit, Span span)
{
    return ir_binary(e->trace->fn, OP_le, value, limit, span);
}

bool guard_step(Tracing *tracing, const aml_job *job, Span span)
{
    Elab *e = tracing->jobs->e;
    IrFunction *fn = tracing->trace->fn;
    Inst *fine = NULL;
    if (!leaves_out_steps(job))
        return true;
    for (int i = 0; i < fn->result.count; i++) {
        IrResult result = fn->result.at[i];
        if (result.slot.kind != SLOT_OUTPUT)
            continue;
        bool loss = i == 0, length = strcmp(result.name, "grad_norm") == 0;
        if (job->guard == AML_GUARD_SKIP) {
            Inst *size = ir_unary(fn, OP_abs, result.value, span);
            Inst *most = ir_real(fn, result.value->type, FLT_MAX, span);
            fine = and_of(e, fine, below(e, size, most, span), span);
        }
        if (job->skip_outliers > 0 && (loss || length)) {
            Inst *limit = elab_scalar(e, AML_SCALAR_LIMIT, length, DTYPE_F32, span);
            fine = and_of(e, fine, below(e, result.value, limit, span), span);
        }
    }
    Inst *keep = ir_unary(fn, OP_not, fine, span);
    entry_output(tracing, elab_cast(e, keep, DTYPE_F32, span), 0, AML_FIGURE_SKIPPED);
    return elab_keep_states(e, keep, span);
}
