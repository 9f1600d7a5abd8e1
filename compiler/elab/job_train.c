// job_train.c: `train` and `evaluate` blocks: their settings, and what is compiled for them.
//
// Functions are traced in the order predict, step, eval, init: the first one infers the sizes of
// the model, the second makes the optimizer's states, and the last one fills everything that the
// others found.

#include "elab/job.h"

#include "elab/fit.h"
#include "elab/internal.h"

#include <string.h>

TrainBlock *train_block(Jobs *jobs, const Node *node)
{
    for (int i = 0; i < jobs->train.count; i++)
        if (jobs->train.at[i]->node == node)
            return jobs->train.at[i];
    return NULL;
}

bool job_is_instance(Value value, NodeKind kind)
{
    if (!value_is(value, VALUE_INSTANCE))
        return false;
    const Node *declaration = value.as.instance->declaration;
    return declaration ? declaration->kind == kind : kind == NODE_Model;
}

// ---- precision

Precision precision_begin(Jobs *jobs, const TrainBlock *train)
{
    Precision before = {jobs->e->real, jobs->e->mixed, jobs->e->rounding};
    jobs->e->real = train->real;
    jobs->e->mixed = train->mixed;
    jobs->e->rounding = train->rounding.span.file ? &train->rounding : NULL;
    return before;
}

void precision_end(Jobs *jobs, Precision before)
{
    jobs->e->real = before.real;
    jobs->e->mixed = before.mixed;
    jobs->e->rounding = before.rounding;
}

// `precision: f64`, `precision: mixed(bf16)`, `precision: mixed(f16)`.
static bool read_precision(Jobs *jobs, TrainBlock *train)
{
    Setting setting = setting_of(jobs, train->node, "precision");
    Value value = setting_eval(jobs, &setting, "precision");
    train->real = jobs->e->real;
    train->scaler = value_none();
    if (value_is(value, VALUE_NONE))
        return true;
    Value type = value, narrow = record_item(jobs, value, "mixed");
    bool mixed = !value_is(narrow, VALUE_NONE);
    if (mixed)
        type = narrow;
    bool plain = value_is(type, VALUE_TYPE) && !type.as.type->has_dims && type.as.type->castable;
    if (plain && mixed && (type.as.type->dtype == DTYPE_BF16 || type.as.type->dtype == DTYPE_F16)) {
        train->mixed = type.as.type->dtype;
        if (train->mixed == DTYPE_F16)
            train->scaler = record_item(jobs, value, "scaler");
        return true;
    }
    if (plain && !mixed && (type.as.type->dtype == DTYPE_F32 || type.as.type->dtype == DTYPE_F64)) {
        train->real = type.as.type->dtype;
        return true;
    }
    bool half = plain && (type.as.type->dtype == DTYPE_F16 || type.as.type->dtype == DTYPE_BF16);
    setting_wrong(jobs, &setting, "precision", NULL, value);
    if (half)
        help(jobs->cx, "weights stay f32: write `mixed(%s)`",
             type.as.type->dtype == DTYPE_F16 ? "f16" : "bf16");
    return false;
}

// ---- settings of a training

// Where the named argument of a setting like `early(on: f1)` stands; the whole setting if it is not
// named.
static Span argument_span(const Setting *setting, const char *name)
{
    const Node *call = setting->value;
    for (int i = 0; call->kind == NODE_Call && i < call->as.call.args.count; i++) {
        const AstArg *arg = &call->as.call.args.at[i]->as.arg;
        if (arg->name && strcmp(arg->name, name) == 0)
            return arg->value->span;
    }
    return setting->span;
}

static bool read_stop(Jobs *jobs, Node *node, const MetricSet *metrics, aml_job *job)
{
    Setting setting = setting_of(jobs, node, "stop");
    Value value = setting_eval(jobs, &setting, "stop");
    job->stop_metric = -2;
    if (value_is(value, VALUE_NONE))
        return true;
    Sym kind = value_word(record_item(jobs, value, "stop"));
    Sym on = value_word(record_item(jobs, value, "on"));
    Value patience = record_item(jobs, value, "patience"),
          delta = record_item(jobs, value, "min_delta");
    if (!kind || !on || !value_is(patience, VALUE_QUANTITY)) {
        setting_wrong(jobs, &setting, "stop", NULL, value);
        return false;
    }
    if (patience.as.quantity.unit == AML_UNIT_SECONDS) { // a run would depend on the machine
        report(jobs->cx, argument_span(&setting, "patience"), setting_range, "patience",
               "steps or epochs", value_show(jobs->e, patience));
        return false;
    }
    job->stop_metric = metric_index(jobs, metrics, on, argument_span(&setting, "on"));
    job->stop_patience = (aml_quantity){patience.as.quantity.value, patience.as.quantity.unit,
                                        patience.as.quantity.option};
    job->stop_min_delta = value_is_number(delta) ? value_number(delta) : 0;
    Value reach = record_item(jobs, value, "reach");
    job->stop_reaches = value_is_number(reach);
    job->stop_reach = job->stop_reaches ? value_number(reach) : 0;
    Value restore = record_item(jobs, value, "restore");
    job->stop_restores = value_is(restore, VALUE_BOOL) && restore.as.whole != 0;
    return job->stop_metric != -3;
}

static bool read_checkpoint(Jobs *jobs, Node *node, const MetricSet *metrics, aml_job *job)
{
    Setting every = setting_item(jobs, node, "checkpoint", "every");
    Setting keep = setting_item(jobs, node, "checkpoint", "keep");
    Value value = setting_eval(jobs, &keep, "checkpoint.keep");
    if (!setting_quantity(jobs, &every, "checkpoint.every", &job->checkpoint_every))
        return false;
    Sym kind = value_word(record_item(jobs, value, "keep"));
    Value count = record_item(jobs, value, "count");
    if (!kind || !value_is(count, VALUE_INT)) {
        setting_wrong(jobs, &keep, "checkpoint.keep", NULL, value);
        return false;
    }
    Value newest = strcmp(kind, "best") == 0 ? record_item(jobs, value, "last") : count;
    Value numbers[] = {count, newest};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (value_is(numbers[i], VALUE_INT) && numbers[i].as.whole >= 1 &&
            numbers[i].as.whole <= 100000)
            continue;
        report(jobs->cx, keep.span, setting_range, "checkpoint.keep", "1 to 100000",
               value_show(jobs->e, numbers[i]));
        return false;
    }
    job->keep_last = (int32_t)newest.as.whole;
    job->keep_metric = -1;
    if (strcmp(kind, "best") != 0)
        return true;
    Sym on = value_word(record_item(jobs, value, "on"));
    job->keep_best = (int32_t)count.as.whole;
    job->keep_metric = on ? metric_index(jobs, metrics, on, argument_span(&keep, "on")) : -1;
    return job->keep_metric != -3;
}

// What is restored at the end must have been kept: a best checkpoint by the metric that ends the
// training, which is kept without being asked for.
static bool keep_restored(Jobs *jobs, Node *node, aml_job *job)
{
    if (!job->stop_restores)
        return true;
    if (job->keep_best == 0) {
        job->keep_best = 1;
        job->keep_metric = job->stop_metric;
    }
    if (job->keep_metric == job->stop_metric)
        return true;
    Setting stop = setting_of(jobs, node, "stop"),
            keep = setting_item(jobs, node, "checkpoint", "keep");
    report(jobs->cx, argument_span(&keep, "on"), restores_another);
    note(jobs->cx, argument_span(&stop, "restore"), "restore goes back to the best by this one");
    return false;
}

static bool read_schedule(Jobs *jobs, Node *node, aml_job *job)
{
    Setting length = setting_of(jobs, node, "length");
    Setting every = setting_item(jobs, node, "validate", "every");
    Setting seed = setting_of(jobs, node, "seed");
    bool good = setting_whole(jobs, node, "batch", 1, &job->batch);
    if (jobs->cx->batch_of && strcmp(jobs->cx->batch_of, job->name) == 0)
        job->batch = jobs->cx->batch;
    teacher_batch(jobs, node, &job->batch);
    if (!length.value) {
        if (diag_errors(jobs->cx) == 0)
            report(jobs->cx, node->as.job.name_span, setting_missing, "train", "length");
        return false;
    }
    good &= setting_quantity(jobs, &length, "length", &job->length);
    good &= setting_quantity(jobs, &every, "validate.every", &job->validate_every);
    Value value = setting_eval(jobs, &seed, "seed");
    if (value_is(value, VALUE_INT))
        job->seed = value.as.whole;
    else if (!value_is(value, VALUE_NONE)) {
        setting_wrong(jobs, &seed, "seed", "a whole number", value);
        good = false;
    }
    return good;
}

// What looks at figures of a validation: early stop, best checkpoint.
static bool read_watch(Jobs *jobs, Node *node, const DataBlock *data, const MetricSet *metrics,
                       aml_job *job)
{
    bool good = true;
    good &= read_stop(jobs, node, metrics, job);
    good &= read_checkpoint(jobs, node, metrics, job);
    good &= read_guard(jobs, node, job);
    if (!good || !keep_restored(jobs, node, job))
        return false;
    if (data->part[AML_PART_VALID] > 0)
        return true;
    job->validate_every = (aml_quantity){0, AML_UNIT_STEPS, -1};
    Setting stop = setting_of(jobs, node, "stop"),
            keep = setting_item(jobs, node, "checkpoint", "keep");
    if (job->stop_metric == -2 && job->keep_best == 0)
        return true;
    report(jobs->cx, job->stop_metric != -2 ? stop.span : keep.span, no_valid_part,
           job->stop_metric != -2 ? "stop" : "checkpoint.keep", data->node->as.job.name);
    note(jobs->cx, data->node->as.job.name_span, "give its `split` a `valid` part");
    return false;
}

ProgramJob new_job(Jobs *jobs, Node *node, aml_job_kind kind)
{
    ProgramJob job = {.span = node->as.job.name_span};
    job.table.kind = kind;
    job.table.name = node->as.job.name;
    job.table.doc = node->as.job.doc;
    job.table.place = job_place(jobs, node->as.job.name_span);
    job.table.stop_metric = -2;
    job.table.keep_metric = -1;
    return job;
}

// ---- the two kinds of training

static bool is_function_setting(Jobs *jobs, const Setting *setting, const char *name, Value value)
{
    if (value_is(value, VALUE_NONE) || value_is(value, VALUE_FUNCTION))
        return true;
    setting_wrong(jobs, setting, name, NULL, value);
    return false;
}

// `ema: 0.999` is short for `average: ema(0.999)`.
static bool read_average(Jobs *jobs, Node *node, Value *rule)
{
    Setting ema = setting_of(jobs, node, "ema"), average = setting_of(jobs, node, "average");
    Value decay = setting_eval(jobs, &ema, "ema");
    *rule = setting_eval(jobs, &average, "average");
    if (value_is(decay, VALUE_POISON) || !is_function_setting(jobs, &average, "average", *rule))
        return false;
    if (value_is(decay, VALUE_NONE))
        return true;
    if (!value_is(*rule, VALUE_NONE)) {
        report(jobs->cx, average.span, settings_exclude, "average", "ema");
        note(jobs->cx, ema.span, "the other one is here");
        return false;
    }
    *rule = decay;
    if (!value_is_number(decay))
        return is_function_setting(jobs, &ema, "ema", decay);
    *rule = elab_call(jobs->e, value_function(jobs->e, elab_std_function(jobs->e, "ema"), NULL),
                      &decay, NULL, 1, ema.span);
    return value_is(*rule, VALUE_FUNCTION);
}

// What has to be known of the weights before anything is traced: which ones are frozen, and which
// ones have an average.
static bool prepare_weights(Jobs *jobs, TrainBlock *train, Value model, Value optimizer, Span span)
{
    if (!elab_optimizer_prepare(jobs->e, optimizer.as.instance, model, span))
        return false;
    if (!value_is(train->average, VALUE_NONE))
        elab_average_make(jobs->e, model);
    return true;
}

// The parameter of a Beta distribution, or none.
static bool mixing_setting(Jobs *jobs, Node *node, const char *name, Value *out)
{
    Setting setting = setting_of(jobs, node, name);
    *out = setting_eval(jobs, &setting, name);
    if (value_is(*out, VALUE_NONE) || value_is(*out, VALUE_POISON))
        return value_is(*out, VALUE_NONE);
    double alpha;
    if (!setting_number(jobs, &setting, name, &alpha))
        return false;
    if (alpha > 0 && alpha <= 1)
        return true;
    report(jobs->cx, setting.span, setting_range, name, "a number above 0 and at most 1",
           value_show(jobs->e, *out));
    return false;
}

static bool rounds_something(Jobs *jobs, const TrainBlock *train)
{
    if (!train->rounding.span.file || jobs->e->rounded_layers > 0)
        return true;
    report(jobs->cx, train->rounding.span, nothing_to_quantize, train->node->as.job.name);
    return false;
}

static bool train_model(Jobs *jobs, TrainBlock *train, ProgramJob *job, const MetricSet *metrics)
{
    Node *node = train->node;
    Setting model = setting_of(jobs, node, "model"), loss = setting_of(jobs, node, "loss");
    Setting optimizer = setting_of(jobs, node, "optimizer"), clip = setting_of(jobs, node, "clip");
    train->model = setting_eval(jobs, &model, "model");
    train->loss = setting_eval(jobs, &loss, "loss");
    Setting penalty = setting_of(jobs, node, "penalty");
    Value optimizer_value = setting_eval(jobs, &optimizer, "optimizer");
    StepSettings settings = {optimizer_value,
                             setting_eval(jobs, &clip, "clip"),
                             setting_eval(jobs, &penalty, "penalty"),
                             1,
                             value_none(),
                             value_none()};
    bool good = true;
    if (!job_is_instance(train->model, NODE_Model)) {
        if (!value_is(train->model, VALUE_NONE) || model.written)
            setting_wrong(jobs, &model, "model", NULL, train->model);
        else if (!setting_misspelled(jobs, node, "model"))
            report(jobs->cx, node->as.job.name_span, setting_missing, "train", "model");
        if (value_is(train->model, VALUE_DECLARATION))
            help(jobs->cx, "write `%s()`", span_text(jobs, model.span));
        good = false;
    }
    if (!value_is(train->loss, VALUE_FUNCTION)) {
        if (!value_is(train->loss, VALUE_NONE) || loss.written)
            setting_wrong(jobs, &loss, "loss", NULL, train->loss);
        else if (!setting_misspelled(jobs, node, "loss"))
            report(jobs->cx, node->as.job.name_span, no_loss, node->as.job.name);
        good = false;
    }
    if (!job_is_instance(optimizer_value, NODE_Optimizer)) {
        if (!value_is(optimizer_value, VALUE_NONE) || optimizer.written)
            setting_wrong(jobs, &optimizer, "optimizer", NULL, optimizer_value);
        else if (!setting_misspelled(jobs, node, "optimizer"))
            report(jobs->cx, node->as.job.name_span, setting_missing, "train", "optimizer");
        if (value_is(optimizer_value, VALUE_DECLARATION))
            help(jobs->cx, "write `%s()`", span_text(jobs, optimizer.span));
        good = false;
    }
    good &= setting_whole(jobs, node, "accumulate", 1, &settings.parts);
    if (good && job->table.batch % settings.parts) {
        Setting parts = setting_of(jobs, node, "accumulate");
        report(jobs->cx, parts.span, accumulate_parts, (long long)job->table.batch,
               (long long)settings.parts);
        good = false;
    }
    good &= is_function_setting(jobs, &clip, "clip", settings.clip);
    good &= is_function_setting(jobs, &penalty, "penalty", settings.penalty);
    good &= mixing_setting(jobs, node, "mixup", &settings.mixup);
    good &= mixing_setting(jobs, node, "cutmix", &settings.cutmix);
    if (!good)
        return false;
    elab_instance_name(jobs->e, train->model, NULL, NULL);
    teacher_slows(jobs, train, optimizer_value);
    if (!try_model(jobs, train, model.span) ||
        !prepare_weights(jobs, train, train->model, optimizer_value, optimizer.span))
        return false;
    train->loss_call =
        loss_at(jobs, train->loss, column_of(&train->data->prepared, "y") != NULL, loss.span);
    job->table.has_loss = true;
    int64_t batch = job->table.batch;
    return predict_entry(jobs, train, &job->predict, job->table.name, "predict", 1, model.span) &&
           rounds_something(jobs, train) && register_cells(jobs, train->model) &&
           pruning_prepare(jobs, train) && scaler_prepare(jobs, train) &&
           teacher_prepare(jobs, train, &settings, model.span) &&
           check_classes(jobs, train, job, model.span) &&
           default_step(jobs, train, job, &settings) &&
           eval_entry(jobs, &job->eval, job, train->data, train->model, train->loss_call, metrics,
                      "eval", batch) &&
           eval_entry(jobs, &job->eval_one, job, train->data, train->model, train->loss_call,
                      metrics, "eval_one", 1) &&
           metrics_entries(jobs, metrics, job, job->table.name);
}

static bool train_own(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *step)
{
    Setting models = setting_of(jobs, train->node, "models"),
            optimizers = setting_of(jobs, train->node, "optimizers");
    Value record = setting_eval(jobs, &models, "models"),
          others = setting_eval(jobs, &optimizers, "optimizers");
    if (value_is(record, VALUE_NONE))
        record = value_record(jobs->e, 0, NULL, NULL);
    if (value_is(others, VALUE_NONE))
        others = value_record(jobs->e, 0, NULL, NULL);
    if (!value_is(record, VALUE_RECORD) || !value_is(others, VALUE_RECORD)) {
        bool first = !value_is(record, VALUE_RECORD);
        setting_wrong(jobs, first ? &models : &optimizers, first ? "models" : "optimizers", NULL,
                      first ? record : others);
        return false;
    }
    for (int i = 0; i < record.as.record->count; i++) {
        Value model = record.as.record->at[i];
        if (!job_is_instance(model, NODE_Model)) {
            setting_wrong(jobs, &models, "models", "a record of models", model);
            return false;
        }
        elab_instance_name(jobs->e, model, NULL, record.as.record->name[i]);
    }
    if (!try_step(jobs, train, job, step, record, others))
        return false;
    for (int i = 0; i < others.as.record->count; i++) {
        const Value *model = record_get(record, others.as.record->name[i]);
        Value optimizer = others.as.record->at[i];
        if (!model) {
            report(jobs->cx, optimizers.span, not_in_block, others.as.record->name[i], "model");
            return false;
        }
        if (!job_is_instance(optimizer, NODE_Optimizer)) {
            setting_wrong(jobs, &optimizers, "optimizers", "a record of optimizers", optimizer);
            return false;
        }
        if (!prepare_weights(jobs, train, *model, optimizer, optimizers.span))
            return false;
    }
    static const char *const unused[] = {"clip",  "penalty", "accumulate",
                                         "mixup", "cutmix",  "prune"};
    for (size_t i = 0; i < COUNT_OF(unused); i++) {
        Setting setting = setting_of(jobs, train->node, unused[i]);
        if (!setting.written)
            continue;
        report(jobs->cx, setting.span, settings_exclude, unused[i], "fn step");
        note(jobs->cx, step->as.fn.name_span, "the step is written here");
        help(jobs->cx, "do it in the step: `g <- optimizers.g.update(g, norm(1.0)(slopes, g))`");
        return false;
    }
    if (!value_is(train->scaler, VALUE_NONE)) {
        Setting setting = setting_of(jobs, train->node, "precision");
        report(jobs->cx, setting.span, settings_exclude, "mixed(f16)", "fn step");
        note(jobs->cx, step->as.fn.name_span, "the step is written here");
        help(jobs->cx, "f16 needs its losses scaled, which a step of one's own does not do; "
                       "`mixed(bf16)` has the range of f32");
        return false;
    }
    train->models = record;
    train->model = value_none();
    train->loss = value_none();
    if (!custom_step(jobs, train, job, step, record, others))
        return false;
    for (int i = 0; i < record.as.record->count; i++)
        if (!register_cells(jobs, record.as.record->at[i]))
            return false;
    return true;
}

// `init: net.last`: what another training has made of the weights. Only the ranges of values that
// are rounded may be in one and not in the other.
static bool begin_weights(Jobs *jobs, Node *node, ProgramJob *job)
{
    static const char *const ranges[] = {"*input_range", "*input_reach", "*weight_reach"};
    Setting init = setting_of(jobs, node, "init");
    if (!init.value || init.value->kind == NODE_None)
        return true;
    Value value = setting_eval(jobs, &init, "init");
    Node *other = value_is(value, VALUE_JOB) ? value.as.job.node : NULL;
    bool trains = other && strcmp(other->as.job.kind, "train") == 0;
    if (trains && (other == node || !train_block(jobs, other))) {
        report(jobs->cx, init.span, init_order, other->as.job.name,
               other == node ? "is this one" : "stands below");
        return false;
    }
    aml_which which;
    TrainBlock *from = checkpoint_setting(jobs, &init, "init", &which);
    if (!from)
        return false;
    aml_load load = {.place = job_place(jobs, init.span),
                     .job = from->node->as.job.name,
                     .which = which,
                     .missings = COUNT_OF(ranges),
                     .missing = ranges,
                     .unuseds = COUNT_OF(ranges),
                     .unused = ranges};
    vec_push(jobs->arena, &job->load, load);
    vec_push(jobs->arena, &job->load_span, init.span);
    return true;
}

bool job_train(Jobs *jobs, Node *node)
{
    TrainBlock *train = NEW(jobs->arena, TrainBlock);
    ProgramJob job = new_job(jobs, node, AML_JOB_TRAIN);
    MetricSet metrics;
    aml_part part;
    Node *step = job_function(node, job_word(jobs, "step"));
    Setting data = setting_of(jobs, node, "data");

    train->node = node;
    train->failed = true;
    vec_push(jobs->arena, &jobs->train, train);
    train->table = NEW(jobs->arena, StateTable);
    jobs->e->table = train->table;
    settings_record(jobs, node);
    train->data = data_setting(jobs, &data, "data", false, &part);
    if (job_function(node, job_word(jobs, "validate")) && !step) {
        Node *written = job_function(node, job_word(jobs, "validate"));
        report(jobs->cx, written->as.fn.name_span, validate_without_step);
        return false;
    }
    bool good = metrics_read(jobs, node, &metrics) && train->data &&
                read_schedule(jobs, node, &job.table) &&
                read_sampling(jobs, node, train->data, &job.table.sampling);
    if (!good)
        return false;
    job.table.data = train->data->index;
    job.table.part = AML_PART_TRAIN;
    Node *validate = job_function(node, job_word(jobs, "validate"));
    if (!validate || !step)
        good = read_watch(jobs, node, train->data, &metrics, &job.table);
    if (!good)
        return false;
    if (!read_precision(jobs, train) || !read_rounding(jobs, node, &train->rounding) ||
        !read_pruning(jobs, train))
        return false;
    Precision before = precision_begin(jobs, train);
    good = read_average(jobs, node, &train->average);
    good = good &&
           (step ? train_own(jobs, train, &job, step) : train_model(jobs, train, &job, &metrics));
    if (good && validate && step)
        good = custom_eval(jobs, train, &job, validate, train->models, &metrics) &&
               read_watch(jobs, node, train->data, &metrics, &job.table);
    train->keeps_best = job.table.keep_best > 0;
    good = good && begin_weights(jobs, node, &job);
    good = good && validated_entry(jobs, train, &job, &metrics) && init_entry(jobs, train, &job);
    precision_end(jobs, before);
    jobs->e->table = NULL;
    if (!good)
        return false;
    if (!step)
        warn_unused(jobs, train->model, &job);
    load_rows(jobs, step ? train->models : train->model, train->rounding.span.file != 0, &job);
    state_rows(jobs, train->table, &job);
    fit_rows(&jobs->program->dataset.at[train->data->index], &job, jobs);
    if (!job_memory(jobs, node, &job))
        return false;
    job.step.ir->scattered = true;
    if (job.eval.ir)
        job.eval.ir->scattered = true;
    train->index = jobs->program->job.count;
    train->failed = false;
    vec_push(jobs->arena, &jobs->program->job, job);
    return true;
}

TrainBlock *checkpoint_setting(Jobs *jobs, const Setting *setting, const char *name,
                               aml_which *which)
{
    Value value = setting_eval(jobs, setting, name);
    if (!value_is(value, VALUE_JOB) || strcmp(value.as.job.node->as.job.kind, "train") != 0 ||
        !value.as.job.part) {
        setting_wrong(jobs, setting, name, NULL, value);
        return NULL;
    }
    const char *part = value.as.job.part;
    if (strcmp(part, "best") != 0 && strcmp(part, "last") != 0) {
        report(jobs->cx, setting->span, unknown_checkpoint, part);
        return NULL;
    }
    *which = strcmp(part, "best") == 0 ? AML_WHICH_BEST : AML_WHICH_LAST;
    TrainBlock *train = train_block(jobs, value.as.job.node);
    if (!train || train->failed)
        return NULL; // its mistakes were reported
    if (*which == AML_WHICH_BEST && !train->keeps_best) {
        report(jobs->cx, setting->span, no_best, name, train->node->as.job.name);
        Node *keep = job_setting(train->node, job_word(jobs, "checkpoint"));
        note(jobs->cx, keep ? keep->span : train->node->as.job.name_span,
             "a training keeps it with `checkpoint: { keep: best(1, on: metric) }`");
        return NULL;
    }
    if (!value_is(train->model, VALUE_INSTANCE)) {
        setting_wrong(jobs, setting, name, "a checkpoint of a training with one model", value);
        return NULL;
    }
    return train;
}

// What another data set would be prepared with was fitted on rows of its own: the model would see
// other numbers than in training.
static bool same_statistics(Jobs *jobs, const Setting *setting, const TrainBlock *train,
                            const DataBlock *block)
{
    if (block == train->data || jobs->program->dataset.at[block->index].statistic.count == 0)
        return true;
    report(jobs->cx, setting->span, other_statistics, block->node->as.job.name,
           train->data->node->as.job.name);
    note(jobs->cx, train->node->as.job.name_span, "the model is trained here");
    return false;
}

bool job_evaluate(Jobs *jobs, Node *node)
{
    ProgramJob job = new_job(jobs, node, AML_JOB_EVALUATE);
    MetricSet metrics;
    Setting model = setting_of(jobs, node, "model"), data = setting_of(jobs, node, "data");

    settings_record(jobs, node);
    StateTable *table = NEW(jobs->arena, StateTable);
    jobs->e->table = table;
    bool good = metrics_read(jobs, node, &metrics);
    TrainBlock *train = checkpoint_setting(jobs, &model, "model", &job.table.which);
    DataBlock *block = data_setting(jobs, &data, "data", true, &job.table.part);
    good = setting_whole(jobs, node, "batch", 1, &job.table.batch) && good && train && block;
    good = good && same_statistics(jobs, &data, train, block) &&
           read_folds(jobs, node, train, block, &job.table);
    if (!good)
        return false;
    // An instance of its own, made as the training made its own: states belong to one job.
    Setting made = setting_of(jobs, train->node, "model");
    Value instance = setting_eval(jobs, &made, "model");
    if (!value_is(instance, VALUE_INSTANCE))
        return false;
    Precision before = precision_begin(jobs, train);
    elab_instance_name(jobs->e, instance, NULL, NULL);
    job.table.data = block->index;
    job.table.model_job = train->index;
    job.table.has_loss = true;
    good = eval_entry(jobs, &job.eval_one, &job, block, instance, train->loss_call, &metrics,
                      "eval_one", 1) &&
           register_cells(jobs, instance) &&
           eval_entry(jobs, &job.eval, &job, block, instance, train->loss_call, &metrics, "eval",
                      job.table.batch) &&
           metrics_entries(jobs, &metrics, &job, job.table.name);
    precision_end(jobs, before);
    jobs->e->table = NULL;
    if (!good)
        return false;
    state_rows(jobs, table, &job);
    fit_rows(&jobs->program->dataset.at[block->index], &job, jobs);
    vec_push(jobs->arena, &jobs->program->job, job);
    return true;
}
