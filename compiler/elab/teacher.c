// teacher.c: a model that learns from another one's answers while it is trained.
//
// The teacher is a second instance of the training's model, whose name keeps its states apart. It
// is called as in a prediction, in front of the step, and what it says becomes a part of the loss
// (stdlib/distillation.aml). Its weights are states that nothing changes, which come from a file.
// So a model whose channels were left out is fine-tuned (driver_prune.c): with a part of the rates
// of a training that begins with nothing, and smaller batches. What keeps a long training from
// learning its samples by heart, dropout and augmented samples, would only make the teacher's
// answers harder to learn in a short one, and is left out.

#include "elab/job.h"

#include <string.h>

#include "elab/internal.h"

// Scores of the class that is predicted, or of one at each position.
static bool gives_scores(const TrainBlock *train, const Inst *output)
{
    const Column *y = column_of(&train->data->prepared, "y");
    return y && y->classes > 0 && output->type.rank == y->type.rank + 2 &&
           output->type.dim[output->type.rank - 1] == y->classes &&
           dtype_info[output->type.dtype].kind == KIND_FLOAT;
}

static bool is_taught(const Jobs *jobs, const TrainBlock *train)
{
    const char *job = jobs->cx->teaching.job;
    return job && strcmp(job, train->node->as.job.name) == 0;
}

// A rate that is a model, as `plateau`, stays what it is.
static Value slower(Jobs *jobs, Value rate)
{
    Elab *e = jobs->e;
    Value share = value_real(jobs->cx->teaching.rate), args[] = {rate, share};
    if (value_is(rate, VALUE_FUNCTION))
        return elab_call(e, value_function(e, elab_std_function(e, "slower"), NULL), args, NULL, 2,
                         (Span){0});
    bool number = value_is_number(rate) || value_is(rate, VALUE_OPTION);
    return number ? elab_binary(e, OPER_MUL, rate, share, (Span){0}) : rate;
}

void teacher_slows(Jobs *jobs, const TrainBlock *train, Value optimizer)
{
    if (!is_taught(jobs, train) || jobs->cx->teaching.rate == 1)
        return;
    const Frame *frame = optimizer.as.instance->env->frame;
    for (int i = 0; i < frame->count; i++)
        if (job_is_instance(frame->value[i], NODE_Optimizer))
            teacher_slows(jobs, train, frame->value[i]);
        else if (frame->name[i] == job_word(jobs, "lr"))
            frame->value[i] = slower(jobs, frame->value[i]);
}

// More steps with fewer samples each, in the same time.
void teacher_batch(Jobs *jobs, Node *node, int64_t *batch)
{
    enum { SMALLER = 4, LEAST = 16 };
    const Teaching *teaching = &jobs->cx->teaching;
    int64_t parts = 1, smaller = *batch / SMALLER < LEAST ? LEAST : *batch / SMALLER;
    bool taught = teaching->job && strcmp(teaching->job, node->as.job.name) == 0;
    if (taught && teaching->share > 0 && smaller < *batch &&
        setting_whole(jobs, node, "accumulate", 1, &parts) && parts == 1)
        *batch = smaller;
}

bool teacher_prepare(Jobs *jobs, TrainBlock *train, const StepSettings *settings, Span span)
{
    const Teaching *teaching = &jobs->cx->teaching;
    bool mixes = !value_is(settings->mixup, VALUE_NONE) || !value_is(settings->cutmix, VALUE_NONE);
    train->teacher = value_none();
    if (!is_taught(jobs, train) || teaching->share <= 0 || mixes || settings->parts > 1)
        return true;
    Setting setting = setting_of(jobs, train->node, "model");
    Value own = train->model, teacher = setting_eval(jobs, &setting, "model");
    if (!value_is(teacher, VALUE_INSTANCE))
        return false;
    elab_instance_name(jobs->e, teacher, NULL, job_word(jobs, TEACHER));
    const Rounding *rounding = jobs->e->rounding;
    jobs->e->rounding = NULL;
    train->model = teacher; // whether its repeats are loops
    bool good = try_model(jobs, train, span);
    train->model = own;
    jobs->e->rounding = rounding;
    CellList cells = {0};
    elab_cells(jobs->e, teacher, &cells);
    for (int i = 0; i < cells.count; i++) {
        cells.at[i]->trainable = false;
        cells.at[i]->role = AML_ROLE_STATE;
    }
    train->teacher = teacher;
    return good;
}

Value teacher_loss(Jobs *jobs, const TrainBlock *train, Value batch, int64_t count, Span span)
{
    Elab *e = jobs->e;
    if (!value_is(train->teacher, VALUE_INSTANCE))
        return train->loss_call;
    const Rounding *rounding = e->rounding;
    bool training = e->training;
    e->rounding = NULL;
    e->training = false;
    Inst *output = model_answer(jobs, train->teacher, &train->data->prepared, batch, count, span);
    e->rounding = rounding;
    e->training = training;
    if (output && !gives_scores(train, output))
        return train->loss_call;
    if (!output || !register_cells(jobs, train->teacher))
        return value_poison();
    e->calm = true;
    Value args[] = {train->loss_call, value_tensor(output), value_real(jobs->cx->teaching.share)};
    return elab_call(e, value_function(e, elab_std_function(e, "taught"), NULL), args, NULL, 3,
                     span);
}
