// job_sampling.c: `sampling` of a training: how samples are drawn that are not simply taken in
// turn.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

static const struct {
    const char *name;
    aml_sampling_kind kind;
} kinds[] = {{"balanced", AML_SAMPLING_BALANCED},
             {"weighted", AML_SAMPLING_WEIGHTED},
             {"over", AML_SAMPLING_OVER},
             {"under", AML_SAMPLING_UNDER},
             {"smote", AML_SAMPLING_SMOTE}};

// The field of the prepared samples that is drawn by.
static bool read_field(Jobs *jobs, const Setting *setting, const DataBlock *data, Value by,
                       aml_sampling *out)
{
    Sym word = value_word(by);
    const Column *column = word ? column_of(&data->prepared, word) : NULL;
    if (!column) {
        const char *candidates[64];
        int count = 0;
        for (int i = 0; i < data->prepared.count && count < 64; i++)
            candidates[count++] = data->prepared.at[i].name;
        const char *near = word ? closest_name(word, candidates, count) : NULL;
        report(jobs->cx, setting->span, sampling_field, word ? word : value_show(jobs->e, by),
               "a field that `prepare` returns", "no such field");
        if (near)
            help(jobs->cx, "did you mean `%s`?", near);
        return false;
    }
    bool by_class = out->kind != AML_SAMPLING_WEIGHTED || out->weights > 0;
    if (column->type.rank != 0 || (by_class && column->classes == 0)) {
        report(jobs->cx, setting->span, sampling_field, word,
               by_class ? "one class for each sample" : "one number for each sample",
               column->classes
                   ? arena_printf(jobs->arena, "%s of %lld classes",
                                  type_text(jobs->arena, column->type), (long long)column->classes)
                   : type_text(jobs->arena, column->type));
        return false;
    }
    if (out->weights > 0 && out->weights != column->classes) {
        report(jobs->cx, setting->span, sampling_field, word,
               arena_printf(jobs->arena, "%lld weights, one for each class",
                            (long long)column->classes),
               arena_printf(jobs->arena, "%d", out->weights));
        return false;
    }
    out->by = word;
    return true;
}

static bool read_weights(Jobs *jobs, const Setting *setting, Value list, aml_sampling *out)
{
    if (value_is(list, VALUE_NONE))
        return true;
    bool good = value_is(list, VALUE_LIST) && list.as.list.count > 0;
    double *weight = NEW_ARRAY(jobs->arena, double, good ? list.as.list.count : 1);
    for (int i = 0; good && i < list.as.list.count; i++) {
        good = value_is_number(list.as.list.at[i]);
        weight[i] = good ? value_number(list.as.list.at[i]) : 0;
        good = good && weight[i] >= 0;
    }
    if (!good) {
        report(jobs->cx, setting->span, setting_range, "sampling.weights",
               "a list of numbers that are not negative, one for each class",
               value_show(jobs->e, list));
        return false;
    }
    out->weights = list.as.list.count;
    out->weight = weight;
    return true;
}

bool read_sampling(Jobs *jobs, Node *node, const DataBlock *data, aml_sampling *out)
{
    Setting setting = setting_of(jobs, node, "sampling");
    Value value = setting_eval(jobs, &setting, "sampling");
    if (value_is(value, VALUE_NONE))
        return true;
    Sym kind = value_word(record_item(jobs, value, "sampling"));
    Value neighbours = record_item(jobs, value, "neighbours");
    for (size_t i = 0; kind && i < COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].name, kind) == 0)
            out->kind = kinds[i].kind;
    if (out->kind == AML_SAMPLING_EPOCHS) {
        setting_wrong(jobs, &setting, "sampling", NULL, value);
        return false;
    }
    if (value_is(neighbours, VALUE_INT)) {
        out->neighbours = neighbours.as.whole;
        if (out->neighbours < 1 || out->neighbours > 1000) {
            report(jobs->cx, setting.span, setting_range, "sampling.neighbours", "1 to 1000",
                   value_show(jobs->e, neighbours));
            return false;
        }
    }
    return read_weights(jobs, &setting, record_item(jobs, value, "weights"), out) &&
           read_field(jobs, &setting, data, record_item(jobs, value, "by"), out);
}
