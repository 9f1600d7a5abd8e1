// job_folds.c: evaluate blocks that train: `folds: 5` is a cross-validation, `curve: [10%, 50%,
// 100%]` a learning curve. The training is the block's `model`, begun anew for each fold and each
// share.

#include "elab/job.h"

#include "elab/internal.h"

static bool read_count(Jobs *jobs, const Setting *setting, int32_t *folds)
{
    enum { MOST_FOLDS = 1000 };
    Value value = setting_eval(jobs, setting, "folds");
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is(value, VALUE_INT)) {
        setting_wrong(jobs, setting, "folds", "a whole number", value);
        return false;
    }
    if (value.as.whole < 2 || value.as.whole > MOST_FOLDS) {
        report(jobs->cx, setting->span, setting_range, "folds", "2 to 1000",
               value_show(jobs->e, value));
        return false;
    }
    *folds = (int32_t)value.as.whole;
    return true;
}

static bool share_of(Value value, double *share)
{
    if (value_is(value, VALUE_QUANTITY) && value.as.quantity.option < 0)
        *share = value.as.quantity.value;
    else if (value_is(value, VALUE_REAL))
        *share = value.as.real;
    else if (value_is(value, VALUE_INT))
        *share = (double)value.as.whole;
    else
        return false;
    return *share > 0 && *share <= 1;
}

static bool read_shares(Jobs *jobs, const Setting *setting, aml_job *job)
{
    Value value = setting_eval(jobs, setting, "curve");
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is(value, VALUE_LIST)) {
        setting_wrong(jobs, setting, "curve", "a list of shares, such as [10%, 50%, 100%]", value);
        return false;
    }
    const ValueList *list = &value.as.list;
    double *share = NEW_ARRAY(jobs->arena, double, list->count + 1);
    for (int i = 0; i < list->count; i++) {
        bool good = share_of(list->at[i], &share[i]);
        if (good && (i == 0 || share[i] > share[i - 1]))
            continue;
        report(jobs->cx, setting->span, setting_range, "curve",
               "shares above 0% and up to 100%, increasing", value_show(jobs->e, list->at[i]));
        return false;
    }
    job->shares = list->count;
    job->share = share;
    return true;
}

bool read_folds(Jobs *jobs, Node *node, const TrainBlock *train, const DataBlock *block,
                aml_job *job)
{
    static const char *const parts[] = {"all", "train", "valid", "test"};
    Setting folds = setting_of(jobs, node, "folds"), curve = setting_of(jobs, node, "curve"),
            data = setting_of(jobs, node, "data");
    if (!read_count(jobs, &folds, &job->folds) || !read_shares(jobs, &curve, job))
        return false;
    if (job->folds == 0 && job->shares == 0)
        return data_part(jobs, block, &data, job->part);
    const char *name = job->folds ? "folds" : "curve";
    Span at = job->folds ? folds.span : curve.span;
    if (job->part != AML_PART_VALID && job->part != AML_PART_TEST) {
        report(jobs->cx, data.span, folds_part, name, block->node->as.job.name, parts[job->part]);
        return false;
    }
    if (block != train->data) {
        report(jobs->cx, data.span, folds_data, name, train->data->node->as.job.name,
               block->node->as.job.name);
        note(jobs->cx, train->node->as.job.name_span, "the training is here");
        return false;
    }
    if (job->folds == 0)
        return data_part(jobs, block, &data, job->part);
    const aml_dataset *table = &jobs->program->dataset.at[block->index].table;
    bool test = job->part == AML_PART_TEST;
    if ((test ? &table->test : &table->valid)->kind != AML_SOURCE_NONE) {
        report(jobs->cx, at, folds_source, test ? "test" : "validation", block->node->as.job.name);
        help(jobs->cx, "let the folds take the place of the %s part: `data: %s.%s`",
             test ? "validation" : "test", block->node->as.job.name, test ? "valid" : "test");
        return false;
    }
    return true;
}
