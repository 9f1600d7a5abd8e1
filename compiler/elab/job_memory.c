// job_memory.c: the setting `memory` of a training. What states and batches take of it is known
// here; the pass `budget` makes temporaries fit into the rest.

#include "elab/job.h"

#include "elab/internal.h"

static int64_t aligned(int64_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static int64_t tensor_bytes(const aml_tensor_info *info)
{
    return aligned(aml_shape_elements(&info->shape) *
                   (int64_t)dtype_info[(DType)info->dtype].bytes);
}

static int64_t batch_bytes(const Entry *entry)
{
    int64_t bytes = 0;
    for (int i = 0; i < entry->input.count; i++)
        bytes += tensor_bytes(&entry->input.at[i]);
    for (int i = 0; i < entry->output.count; i++)
        bytes += tensor_bytes(&entry->output.at[i]);
    return bytes;
}

bool job_memory(Jobs *jobs, Node *node, ProgramJob *job)
{
    Setting setting = setting_of(jobs, node, "memory");
    Value value = setting_eval(jobs, &setting, "memory");
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is(value, VALUE_QUANTITY) || value.as.quantity.unit != AML_UNIT_BYTES ||
        value.as.quantity.option >= 0 || value.as.quantity.value < 1) {
        setting_wrong(jobs, &setting, "memory", "a size known when the program is built", value);
        return false;
    }
    Entry *entry[] = {&job->init, &job->step, &job->eval, &job->eval_one, &job->predict};
    int64_t states = 0, batches = 0;
    for (int i = 0; i < job->state.count; i++)
        states += tensor_bytes(&job->state.at[i].info.tensor);
    for (size_t i = 0; i < COUNT_OF(entry); i++)
        if (entry[i]->ir && batch_bytes(entry[i]) > batches)
            batches = batch_bytes(entry[i]);
    int64_t fixed = 2 * states + batches, memory = (int64_t)value.as.quantity.value; // a snapshot
    if (fixed > memory) {
        char shown[32];
        snprintf(shown, sizeof shown, "%.1f KiB", (double)fixed / 1024);
        report(jobs->cx, setting.span, memory_budget, span_text(jobs, setting.span),
               job->table.name, shown, shown);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(entry); i++) {
        if (!entry[i]->ir)
            continue;
        entry[i]->ir->memory = memory;
        entry[i]->ir->budget = memory - fixed;
        entry[i]->ir->memory_span = setting.span;
    }
    return true;
}
