// job_metric.c: the metrics of a block.
//
// A metric either counts (states, `update` for each batch, `value` at the end), or needs every row:
// then `collect` returns what is kept of a batch and `finish` names what the runtime makes of it.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

static const struct {
    const char *name;
    aml_finish finish;
} finishes[] = {
    {"roc_auc_macro", AML_FINISH_ROC_AUC_MACRO},
    {"roc_auc_micro", AML_FINISH_ROC_AUC_MICRO},
    {"roc_auc_weighted", AML_FINISH_ROC_AUC_WEIGHTED},
    {"pr_auc_macro", AML_FINISH_PR_AUC_MACRO},
    {"pr_auc_micro", AML_FINISH_PR_AUC_MICRO},
    {"pr_auc_weighted", AML_FINISH_PR_AUC_WEIGHTED},
};

static bool is_metric(Value value)
{
    return value_is(value, VALUE_INSTANCE) && value.as.instance->declaration &&
           value.as.instance->declaration->kind == NODE_Metric;
}

bool metrics_read(Jobs *jobs, Node *node, MetricSet *set)
{
    Setting setting = setting_of(jobs, node, "metrics");
    Value value = setting_eval(jobs, &setting, "metrics");
    *set = (MetricSet){0};
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is(value, VALUE_RECORD)) {
        setting_wrong(jobs, &setting, "metrics", NULL, value);
        return false;
    }
    RecordValue *record = value.as.record;
    set->name = NEW_ARRAY(jobs->arena, Sym, record->count + 1);
    set->metric = NEW_ARRAY(jobs->arena, Value, record->count + 1);
    set->span = NEW_ARRAY(jobs->arena, Span, record->count + 1);
    for (int i = 0; i < record->count; i++) {
        Span span = record->span ? record->span[i] : setting.span;
        if (value_is(record->at[i], VALUE_POISON))
            return false;
        if (!is_metric(record->at[i])) {
            report(jobs->cx, span, setting_type,
                   sym_printf(jobs->cx, "metrics.%s", record->name[i]),
                   "a metric, such as accuracy()", value_what(jobs->e, record->at[i]));
            return false;
        }
        set->name[i] = record->name[i];
        set->metric[i] = record->at[i];
        set->span[i] = span;
        elab_instance_name(jobs->e, record->at[i], NULL,
                           sym_printf(jobs->cx, "metrics.%s", record->name[i]));
    }
    set->count = record->count;
    return true;
}

static bool collects(Jobs *jobs, Value metric)
{
    return elab_has_method(jobs->e, metric.as.instance, "collect");
}

static bool metric_collect(Tracing *tracing, const MetricSet *set, int index, aml_metric *metric,
                           const Value args[], int count)
{
    Jobs *jobs = tracing->jobs;
    Elab *e = jobs->e;
    Instance *self = set->metric[index].as.instance;
    Value finish = instance_member(e, self, job_word(jobs, "finish"));
    Sym word = value_word(finish);
    Value rows = elab_call_method(e, self, "collect", args, NULL, count, set->span[index]);
    if (value_is(rows, VALUE_POISON) || value_is(finish, VALUE_POISON))
        return false;
    metric->finish = AML_FINISH_COMPILED;
    for (size_t i = 0; word && i < COUNT_OF(finishes); i++)
        if (strcmp(word, finishes[i].name) == 0)
            metric->finish = finishes[i].finish;
    if (metric->finish == AML_FINISH_COMPILED) {
        report(jobs->cx, set->span[index], metric_finish, set->name[index], value_show(e, finish),
               "roc_auc_macro, roc_auc_micro, roc_auc_weighted or the same with pr_auc");
        return false;
    }
    bool good =
        (value_is(rows, VALUE_TUPLE) || value_is(rows, VALUE_LIST)) && rows.as.list.count == 2;
    Inst *part[2] = {NULL, NULL};
    for (int i = 0; good && i < 2; i++) {
        good = value_is(rows.as.list.at[i], VALUE_TENSOR);
        if (good)
            part[i] = rows.as.list.at[i].as.tensor.inst;
    }
    good = good && part[0]->type.dtype == DTYPE_F32 && part[0]->type.rank == 2 &&
           part[1]->type.dtype == DTYPE_I32 && part[1]->type.rank == 1;
    if (!good) {
        report(jobs->cx, set->span[index], setting_type,
               sym_printf(jobs->cx, "metrics.%s", set->name[index]),
               "a metric whose collect returns (scores f32[n, k], targets i32[n])",
               value_show(e, rows));
        return false;
    }
    static const char *const what[] = {"scores", "target"};
    for (int i = 0; i < 2; i++)
        metric->collect[i] = entry_output(tracing, part[i], 0,
                                          sym_printf(jobs->cx, "%s.%s", set->name[index], what[i]));
    return true;
}

bool metrics_update(Tracing *tracing, const MetricSet *set, ProgramJob *job, Value output,
                    Value target, bool first)
{
    Jobs *jobs = tracing->jobs;
    Value args[2] = {output, target};
    int count = value_is(target, VALUE_NONE) ? 1 : 2;
    int next = 0;
    for (int i = 0; i < set->count; i++) {
        aml_metric metric = {
            .name = set->name[i], .finish = AML_FINISH_COMPILED, .output = -1, .collect = {-1, -1}};
        if (collects(jobs, set->metric[i])) {
            if (!metric_collect(tracing, set, i, &metric, args, count))
                return false;
        } else {
            Value done = elab_call_method(jobs->e, set->metric[i].as.instance, "update", args, NULL,
                                          count, set->span[i]);
            if (value_is(done, VALUE_POISON))
                return false;
            metric.output = next++;
        }
        Value lower =
            instance_member(jobs->e, set->metric[i].as.instance, job_word(jobs, "lower_is_better"));
        metric.lower_is_better = value_is(lower, VALUE_BOOL) && lower.as.whole;
        if (first)
            vec_push(jobs->arena, &job->metric, metric);
    }
    return true;
}

static bool metrics_reset(Jobs *jobs, const MetricSet *set, Entry *entry, const char *block,
                          Span span)
{
    Tracing tracing = entry_begin(jobs, entry, block, "metrics_reset", span);
    for (int i = 0; i < set->count; i++) {
        CellList cells = {0};
        elab_cells(jobs->e, set->metric[i], &cells);
        for (int j = 0; j < cells.count; j++) {
            Inst *initial = elab_cell_initial(jobs->e, cells.at[j]);
            if (!initial ||
                !elab_cell_write(jobs->e, cells.at[j], value_tensor(initial), set->span[i])) {
                entry_drop(&tracing);
                return false;
            }
        }
    }
    return entry_end(&tracing);
}

static bool metrics_value(Jobs *jobs, const MetricSet *set, Entry *entry, const char *block,
                          Span span)
{
    Tracing tracing = entry_begin(jobs, entry, block, "metrics_value", span);
    for (int i = 0; i < set->count; i++) {
        if (collects(jobs, set->metric[i]))
            continue;
        Value value = elab_call_method(jobs->e, set->metric[i].as.instance, "value", NULL, NULL, 0,
                                       set->span[i]);
        const char *what = arena_printf(jobs->arena, "the value of metric '%s'", set->name[i]);
        Inst *inst = value_is(value, VALUE_POISON)
                         ? NULL
                         : elab_tensor_for(jobs->e, what, value, jobs->e->real, set->span[i]);
        if (!inst) {
            entry_drop(&tracing);
            return false;
        }
        entry_output(&tracing, inst, 0, set->name[i]);
    }
    return entry_end(&tracing);
}

bool metrics_entries(Jobs *jobs, const MetricSet *set, ProgramJob *job, const char *block)
{
    if (set->count == 0)
        return true;
    return metrics_reset(jobs, set, &job->metrics_reset, block, job->span) &&
           metrics_value(jobs, set, &job->metrics_value, block, job->span);
}

int metric_index(Jobs *jobs, const MetricSet *set, Sym name, Span span)
{
    const char *candidates[64];
    int count = 0;
    for (int i = 0; i < set->count; i++) {
        if (set->name[i] == name)
            return i;
        if (count < 63)
            candidates[count++] = set->name[i];
    }
    if (strcmp(name, "loss") == 0)
        return -1;
    candidates[count++] = "loss";
    report(jobs->cx, span, not_in_block, name, "metric");
    const char *near = closest_name(name, candidates, count);
    if (near)
        help(jobs->cx, "did you mean `%s`?", near);
    return -3;
}
