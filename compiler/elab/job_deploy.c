// job_deploy.c: `deploy` blocks: which weights become a program of their own, for which batch
// sizes, within which limits.

#include "elab/job.h"

#include <string.h>

static bool read_batches(Jobs *jobs, Node *node, ProgramDeploy *deploy)
{
    Setting setting = setting_of(jobs, node, "batch");
    Value value = setting_eval(jobs, &setting, "batch");
    bool good = value_is(value, VALUE_LIST) && value.as.list.count > 0 && value.as.list.count <= 16;
    int64_t before = 0;
    for (int i = 0; good && i < value.as.list.count; i++) {
        Value size = value.as.list.at[i];
        good = value_is(size, VALUE_INT) && size.as.whole > before && size.as.whole <= 1 << 20;
        if (good)
            vec_push(jobs->arena, &deploy->batch, size.as.whole);
        before = size.as.whole;
    }
    if (!good)
        setting_wrong(jobs, &setting, "batch", "a list of increasing batch sizes, such as [1, 16]",
                      value);
    return good;
}

// A limit of `require`; `none` leaves it at `unset`.
static bool read_limit(Jobs *jobs, Node *node, const char *item, double *out)
{
    Setting setting = setting_item(jobs, node, "require", item);
    const char *name = sym_printf(jobs->cx, "require.%s", item);
    if (!setting.value || setting.value->kind == NODE_None)
        return true;
    if (!setting_number(jobs, &setting, name, out))
        return false;
    if (*out >= 0)
        return true;
    report(jobs->cx, setting.span, setting_range, name, "not negative",
           span_text(jobs, setting.span));
    return false;
}

// One level, which must not be among those that were read before.
static bool read_level(Jobs *jobs, const Setting *setting, Value value, ProgramDeploy *deploy)
{
    static const char *const level[] = {TARGET_LEVELS, TARGET_CROSS};
    Sym word = value_word(record_item(jobs, value, "level"));
    if (!word) {
        setting_wrong(jobs, setting, "target",
                      "a target such as cpu(\"x86-64-v3\"), or a list of them", value);
        return false;
    }
    for (int i = 0; i < deploy->target.count; i++)
        if (strcmp(deploy->target.at[i], word) == 0) {
            report(jobs->cx, setting->span, target_twice, word);
            return false;
        }
    for (size_t i = 0; i < COUNT_OF(level); i++)
        if (strcmp(word, level[i]) == 0) {
            vec_push(jobs->arena, &deploy->target, level[i]);
            return true;
        }
    Buffer list = {.arena = jobs->arena};
    for (size_t i = 0; i < COUNT_OF(level); i++)
        buffer_printf(&list, "%s\"%s\"", i ? ", " : "one of ", level[i]);
    report(jobs->cx, setting->span, setting_range, "target", list.text,
           value_show(jobs->e, record_item(jobs, value, "level")));
    const char *near = closest_name(word, level, COUNT_OF(level));
    if (near)
        help(jobs->cx, "did you mean `\"%s\"`?", near);
    return false;
}

// Code for another machine is alone: nothing of it could be run here.
static bool levels_fit(Jobs *jobs, const Setting *setting, const ProgramDeploy *deploy)
{
    for (int i = 0; i < deploy->target.count && deploy->target.count > 1; i++)
        if (strcmp(deploy->target.at[i], TARGET_CROSS) == 0) {
            report(jobs->cx, setting->span, target_mixed, TARGET_CROSS,
                   deploy->target.at[i ? 0 : 1]);
            return false;
        }
    return true;
}

// What an executable could not read there, where no decoder is; NULL: it reads numbers or texts.
static const char *unreadable(const Jobs *jobs, const DataBlock *data)
{
    const aml_dataset *table = &jobs->program->dataset.at[data->index].table;
    for (int i = 0; i < table->fields; i++)
        if (table->field[i].rule && table->field[i].rule->text)
            return NULL;
    return table->source.kind == AML_SOURCE_AUDIO ? "sounds"
           : table->source.most_pixels > 0        ? "pictures"
                                                  : NULL;
}

static bool cross_fits(Jobs *jobs, Node *node, const ProgramDeploy *deploy, const DataBlock *data)
{
    bool cross = deploy->target.count == 1 && strcmp(deploy->target.at[0], TARGET_CROSS) == 0;
    const char *what = unreadable(jobs, data);
    if (!cross || !what || !(deploy->emit >> DEPLOY_EXECUTABLE & 1))
        return true;
    Setting setting = setting_of(jobs, node, "emit");
    report(jobs->cx, setting.span, target_emits, TARGET_CROSS, what);
    help(jobs->cx, "`emit: [static_library]`");
    return false;
}

static bool read_target(Jobs *jobs, Node *node, ProgramDeploy *deploy)
{
    Setting setting = setting_of(jobs, node, "target");
    Value value = setting_eval(jobs, &setting, "target");
    if (value_is(value, VALUE_NONE))
        return true;
    if (!value_is(value, VALUE_LIST))
        return read_level(jobs, &setting, value, deploy);
    bool good = value.as.list.count > 0;
    if (!good)
        setting_wrong(jobs, &setting, "target", "at least one target", value);
    for (int i = 0; i < value.as.list.count; i++)
        good = read_level(jobs, &setting, value.as.list.at[i], deploy) && good;
    return good && levels_fit(jobs, &setting, deploy);
}

static bool read_emit(Jobs *jobs, Node *node, ProgramDeploy *deploy)
{
    static const char *const form[] = {[DEPLOY_EXECUTABLE] = "executable",
                                       [DEPLOY_SHARED_LIBRARY] = "shared_library",
                                       [DEPLOY_STATIC_LIBRARY] = "static_library",
                                       [DEPLOY_OBJECT] = "object",
                                       [DEPLOY_C_HEADER] = "c_header"};
    Setting setting = setting_of(jobs, node, "emit");
    Value value = setting_eval(jobs, &setting, "emit");
    for (int i = 0; value_is(value, VALUE_LIST) && i < value.as.list.count; i++) {
        Sym word = value_word(value.as.list.at[i]);
        for (int k = 0; word && k < DEPLOY_FORMS; k++)
            if (strcmp(word, form[k]) == 0)
                deploy->emit |= 1u << k;
    }
    if (deploy->emit)
        return true;
    setting_wrong(jobs, &setting, "emit",
                  "a list of executable, shared_library, static_library, object and c_header",
                  value);
    return false;
}

// A generate block of the checkpoint that is deployed.
static bool read_weights(Jobs *jobs, Node *node, ProgramDeploy *deploy)
{
    Setting setting = setting_of(jobs, node, "weights");
    Value value = setting_eval(jobs, &setting, "weights");
    Sym word = value_word(value);
    deploy->weights_beside = word && strcmp(word, "file") == 0;
    if (word)
        return true;
    setting_wrong(jobs, &setting, "weights", "inside or file", value);
    return false;
}

static bool read_optimize(Jobs *jobs, Node *node, ProgramDeploy *deploy)
{
    Setting setting = setting_of(jobs, node, "optimize");
    Value value = setting_eval(jobs, &setting, "optimize");
    Sym word = value_word(value);
    deploy->small = word && strcmp(word, "size") == 0;
    if (word)
        return true;
    setting_wrong(jobs, &setting, "optimize", "speed or size", value);
    return false;
}

static bool read_entry(Jobs *jobs, Node *node, const TrainBlock *train, ProgramDeploy *deploy)
{
    Setting setting = setting_of(jobs, node, "entry");
    Value value = setting_eval(jobs, &setting, "entry");
    if (value_is(value, VALUE_NONE))
        return true;
    deploy->entry = setting.span;
    if (!value_is(value, VALUE_JOB) || value.as.job.part ||
        strcmp(value.as.job.node->as.job.kind, "generate") != 0) {
        setting_wrong(jobs, &setting, "entry", "a generate block", value);
        return false;
    }
    static const char *const which[] = {[AML_WHICH_LAST] = "last", [AML_WHICH_BEST] = "best"};
    static const char *const alone[] = {"batch", "prune"};
    for (int i = 0; i < jobs->program->job.count; i++)
        if (jobs->program->job.at[i].table.name == value.as.job.node->as.job.name)
            deploy->generator = i;
    if (deploy->generator < 0 || !train)
        return false; // its mistakes were reported
    const aml_job *job = &jobs->program->job.at[deploy->generator].table;
    if (job->model_job != train->index || job->which != deploy->which) {
        report(jobs->cx, setting.span, entry_foreign, job->name,
               jobs->program->job.at[job->model_job].table.name, which[job->which],
               train->node->as.job.name, which[deploy->which]);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(alone); i++) {
        Setting other = setting_of(jobs, node, alone[i]);
        if (!other.written)
            continue;
        report(jobs->cx, other.span, entry_excludes, alone[i]);
        note(jobs->cx, setting.span, "the entry is here");
        return false;
    }
    return true;
}

bool job_deploy(Jobs *jobs, Node *node)
{
    ProgramDeploy deploy = {
        .name = node->as.job.name, .doc = node->as.job.doc, .span = node->as.job.name_span};
    Setting model = setting_of(jobs, node, "model");
    Node *require = job_setting(node, job_word(jobs, "require"));

    settings_record(jobs, node);
    deploy.require_accuracy_drop = -1;
    deploy.require_perplexity_rise = -1;
    deploy.generator = -1;
    deploy.require = require ? require->span : (Span){0};
    TrainBlock *train = checkpoint_setting(jobs, &model, "model", &deploy.which);
    bool good = read_batches(jobs, node, &deploy);
    good &= read_limit(jobs, node, "accuracy_drop", &deploy.require_accuracy_drop);
    good &= read_limit(jobs, node, "size", &deploy.require_size);
    good &= read_limit(jobs, node, "perplexity_rise", &deploy.require_perplexity_rise);
    good &= read_limit(jobs, node, "memory", &deploy.require_memory);
    good &= read_limit(jobs, node, "latency", &deploy.require_latency);
    good &= read_target(jobs, node, &deploy);
    good &=
        read_emit(jobs, node, &deploy) && (!train || cross_fits(jobs, node, &deploy, train->data));
    good &= read_weights(jobs, node, &deploy);
    good &= read_optimize(jobs, node, &deploy);
    good &= read_quantize(jobs, node, train, &deploy.quantize);
    good &= read_prune(jobs, node, &deploy.prune);
    good &= read_entry(jobs, node, train, &deploy);
    if (deploy.generator >= 0 && deploy.quantize.span.file && !deploy.quantize.weights_only) {
        report(jobs->cx, deploy.quantize.span, entry_rounding);
        good = false;
    }
    if (deploy.generator >= 0 && deploy.require_accuracy_drop >= 0) {
        report(jobs->cx, deploy.require, entry_requirement, "accuracy_drop",
               "without an entry; of a program that writes perplexity_rise can be required");
        good = false;
    }
    if (deploy.generator < 0 && deploy.require_perplexity_rise >= 0) {
        report(jobs->cx, deploy.require, entry_requirement, "perplexity_rise",
               "whose entry is a generate block");
        good = false;
    }
    if (!good || !train)
        return false;
    deploy.job = train->index;
    const Rounding rounding = train->rounding;
    if (deploy.quantize.learned) // compiler/quant rounds what is traced without
        train->rounding.span.file = 0;
    for (int i = 0; i < deploy.batch.count && deploy.generator < 0; i++) {
        Entry entry;
        const char *function = sym_printf(jobs->cx, "predict_%lld", (long long)deploy.batch.at[i]);
        if (!predict_entry(jobs, train, &entry, deploy.name, function, deploy.batch.at[i],
                           node->as.job.name_span))
            return false;
        vec_push(jobs->arena, &deploy.predict, entry);
    }
    train->rounding = rounding;
    jobs->e->table = NULL;
    vec_push(jobs->arena, &jobs->program->deploy, deploy);
    return true;
}
