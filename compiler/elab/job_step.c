// job_step.c: the functions that a training and an evaluation are compiled to: predict, step, eval
// and init, and the rows of the state table that they share.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

static Value column_value(Value record, Jobs *jobs, const char *name)
{
    return record_item(jobs, record, name);
}

const Column *column_of(const ColumnList *columns, const char *name)
{
    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->at[i].name, name) == 0)
            return &columns->at[i];
    return NULL;
}

// ---- the pieces of the compiled functions

static Node *name_node(Jobs *jobs, Sym name, Span span)
{
    Node *node = node_new(jobs->cx, NODE_Name, span);
    node->as.name.name = name;
    node->as.name.name_span = span;
    return node;
}

// `fn(output, target) = loss(output, target)`, written where the setting is: what the loss computes
// belongs to that line.
Value loss_at(Jobs *jobs, Value loss, bool has_target, Span span)
{
    static const char *const argument[] = {"output", "target"};
    Env *env = env_new(jobs->e, NULL, span.file);
    Sym callee = job_word(jobs, "loss");
    Node *call = node_new(jobs->cx, NODE_Call, span),
         *lambda = node_new(jobs->cx, NODE_Lambda, span);
    call->as.call.callee = name_node(jobs, callee, span);
    for (int i = 0; i < 1 + has_target; i++) {
        Node *param = node_new(jobs->cx, NODE_Param, span),
             *arg = node_new(jobs->cx, NODE_Arg, span);
        param->as.param.name = job_word(jobs, argument[i]);
        arg->as.arg.value = name_node(jobs, param->as.param.name, span);
        vec_push(jobs->arena, &lambda->as.lambda.params, param);
        vec_push(jobs->arena, &call->as.call.args, arg);
    }
    lambda->as.lambda.body = call;
    env_bind(jobs->e, env, callee, loss);
    return value_function(jobs->e, lambda, env);
}

// What the model is called with: x, and what else of `prepared` the parameters of its `forward`
// name. A target is none: a prediction has no y.
static ColumnList model_columns(Jobs *jobs, Value model, const ColumnList *prepared)
{
    ColumnList columns = {0};
    vec_push(jobs->arena, &columns, *column_of(prepared, "x"));
    const Node *forward = value_is(model, VALUE_INSTANCE)
                              ? instance_function(model.as.instance, job_word(jobs, "forward"))
                              : NULL;
    for (int i = 1; forward && i < forward->as.fn.params.count; i++) {
        const char *name = forward->as.fn.params.at[i]->as.param.name;
        const Column *column = column_of(prepared, name);
        if (column && strcmp(name, "x") != 0 && strcmp(name, "y") != 0)
            vec_push(jobs->arena, &columns, *column);
    }
    return columns;
}

// The first is given by its place, whatever its parameter is called.
static const Sym *model_names(Jobs *jobs, const ColumnList *columns)
{
    Sym *names = NEW_ARRAY(jobs->arena, Sym, columns->count);
    for (int i = 1; i < columns->count; i++)
        names[i] = columns->at[i].name;
    return names;
}

static Value *model_values(Jobs *jobs, const ColumnList *columns, Value batch)
{
    Value *values = NEW_ARRAY(jobs->arena, Value, columns->count);
    for (int i = 0; i < columns->count; i++)
        values[i] = column_value(batch, jobs, columns->at[i].name);
    return values;
}

// `fn(model, inputs) = model(inputs[0], name: inputs[1], ...)`: how the step of the library calls a
// model.
static Value model_call(Jobs *jobs, const ColumnList *columns, Span span)
{
    Cx *cx = jobs->cx;
    Sym model = job_word(jobs, "model"), inputs = job_word(jobs, "inputs");
    Node *lambda = node_new(cx, NODE_Lambda, span), *call = node_new(cx, NODE_Call, span);
    call->as.call.callee = name_node(jobs, model, span);
    for (int i = 0; i < columns->count; i++) {
        Node *arg = node_new(cx, NODE_Arg, span), *item = node_new(cx, NODE_Index, span),
             *at = node_new(cx, NODE_Integer, span);
        at->as.integer.value = i;
        item->as.index.object = name_node(jobs, inputs, span);
        vec_push(jobs->arena, &item->as.index.items, at);
        arg->as.arg.name = i ? columns->at[i].name : NULL;
        arg->as.arg.value = item;
        vec_push(jobs->arena, &call->as.call.args, arg);
    }
    const Sym param_name[] = {model, inputs};
    for (int i = 0; i < 2; i++) {
        Node *param = node_new(cx, NODE_Param, span);
        param->as.param.name = param_name[i];
        vec_push(jobs->arena, &lambda->as.lambda.params, param);
    }
    lambda->as.lambda.body = call;
    return value_function(jobs->e, lambda, env_new(jobs->e, NULL, span.file));
}

// After the report of a call: where an argument was missing, what it would have been.
static void explain_inputs(Jobs *jobs, Value model, const ColumnList *columns)
{
    const Node *forward = value_is(model, VALUE_INSTANCE)
                              ? instance_function(model.as.instance, job_word(jobs, "forward"))
                              : NULL;
    for (int i = 1; forward && i < forward->as.fn.params.count; i++) {
        const Node *param = forward->as.fn.params.at[i];
        if (param->as.param.value || column_of(columns, param->as.param.name))
            continue;
        help(jobs->cx,
             "`forward` gets x, and for each other parameter what `prepare` returns under its "
             "name: `return { x: ..., %s: ... }`",
             param->as.param.name);
        return;
    }
}

// What the model makes of a batch. NULL after a report.
static Inst *model_output(Jobs *jobs, Value model, const ColumnList *columns, Value batch,
                          int64_t count, Span span)
{
    Value output = elab_call(jobs->e, model, model_values(jobs, columns, batch),
                             model_names(jobs, columns), columns->count, span);
    if (value_is(output, VALUE_POISON))
        explain_inputs(jobs, model, columns);
    if (value_is(output, VALUE_POISON))
        return NULL;
    if (!value_is(output, VALUE_TENSOR) || output.as.tensor.inst->type.rank == 0 ||
        output.as.tensor.inst->type.dim[0] != count) {
        const Node *declared = model.as.instance->declaration;
        report(jobs->cx, span, model_output, declared ? declared->as.model.name : "sequence",
               value_what(jobs->e, output));
        return NULL;
    }
    return output.as.tensor.inst;
}

Inst *model_answer(Jobs *jobs, Value model, const ColumnList *prepared, Value batch, int64_t count,
                   Span span)
{
    const ColumnList columns = model_columns(jobs, model, prepared);
    return model_output(jobs, model, &columns, batch, count, span);
}

static bool loss_outputs(Tracing *tracing, Value loss, Value output, Value target, int64_t count,
                         Span span)
{
    Jobs *jobs = tracing->jobs;
    Elab *e = jobs->e;
    Value args[2] = {output, target};
    Value value = elab_call(e, loss, args, NULL, value_is(target, VALUE_NONE) ? 1 : 2, span);
    Inst *sum, *number;
    if (value_is(value, VALUE_POISON))
        return false;
    if (value_is(value, VALUE_MEAN)) {
        sum = elab_cast(e, value.as.mean.sum, DTYPE_F64, span);
        number = elab_cast(e, value.as.mean.count, DTYPE_F64, span);
    } else {
        Inst *mean = elab_scalar_tensor(e, value, span);
        if (!mean)
            return false;
        number = ir_real(e->trace->fn, type_scalar(DTYPE_F64), (double)count, span);
        sum = ir_binary(e->trace->fn, OP_mul, elab_cast(e, mean, DTYPE_F64, span), number, span);
    }
    entry_output(tracing, sum, 0, "loss_sum");
    entry_output(tracing, number, 0, "loss_count");
    return true;
}

bool eval_entry(Jobs *jobs, Entry *entry, ProgramJob *job, const DataBlock *data, Value model,
                Value loss, const MetricSet *metrics, const char *function, int64_t batch)
{
    Span span = job->span;
    jobs->e->training = false;
    jobs->e->averaged = true;
    Tracing tracing = entry_begin(jobs, entry, job->table.name, function, span);
    Value record = batch_inputs(&tracing, &data->prepared, batch, span);
    Value target = column_value(record, jobs, "y");
    const ColumnList columns = model_columns(jobs, model, &data->prepared);
    Inst *output = model_output(jobs, model, &columns, record, batch, span);
    bool good = output != NULL;
    if (good && !value_is(loss, VALUE_NONE))
        good = loss_outputs(&tracing, loss, value_tensor(output), target, batch, span);
    good = good && metrics_update(&tracing, metrics, job, value_tensor(output), target,
                                  entry == &job->eval);
    jobs->e->averaged = false;
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

static bool trace_predict(Jobs *jobs, TrainBlock *train, Entry *entry, const char *block,
                          const char *function, int64_t batch, Span span)
{
    const Column *y = column_of(&train->data->prepared, "y");
    const ColumnList columns = model_columns(jobs, train->model, &train->data->prepared);
    jobs->e->training = false;
    jobs->e->table = train->table;
    Tracing tracing = entry_begin(jobs, entry, block, function, span);
    Value inputs = column_inputs(&tracing, &columns, batch, span);
    jobs->e->averaged = true;
    Inst *output = model_output(jobs, train->model, &columns, inputs, batch, span);
    jobs->e->averaged = false;
    if (!output) {
        entry_drop(&tracing);
        return false;
    }
    bool classifies = y && y->classes > 0 && y->type.rank == 0 && output->type.rank == 2 &&
                      output->type.dim[1] == y->classes &&
                      dtype_info[output->type.dtype].kind == KIND_FLOAT;
    if (classifies) {
        Value result = elab_call(
            jobs->e, value_function(jobs->e, elab_std_function(jobs->e, "classify"), NULL),
            (Value[]){value_tensor(output)}, NULL, 1, span);
        if (!value_is(result, VALUE_TUPLE) || result.as.list.count != 2 ||
            !value_is(result.as.list.at[0], VALUE_TENSOR) ||
            !value_is(result.as.list.at[1], VALUE_TENSOR)) {
            entry_drop(&tracing);
            return false;
        }
        int prediction =
            entry_output(&tracing, result.as.list.at[0].as.tensor.inst, y->classes, "prediction");
        entry->output.at[prediction].class_name = y->class_name;
        entry_output(&tracing, result.as.list.at[1].as.tensor.inst, 0, "probability");
    } else {
        entry_output(&tracing, output, 0, "prediction");
    }
    return entry_end(&tracing);
}

bool predict_entry(Jobs *jobs, TrainBlock *train, Entry *entry, const char *block,
                   const char *function, int64_t batch, Span span)
{
    Precision before = precision_begin(jobs, train);
    bool good = trace_predict(jobs, train, entry, block, function, batch, span);
    precision_end(jobs, before);
    return good;
}

static bool figure_output(Tracing *tracing, Value value, const char *name, Span span)
{
    Inst *inst = elab_scalar_tensor(tracing->jobs->e, value, span);
    if (!inst)
        return false;
    entry_output(tracing, elab_cast(tracing->jobs->e, inst, DTYPE_F32, span), 0, name);
    return true;
}

// What a step returned as outputs: the loss first (`loss`, or the sum of all figures), then the
// figures.
static bool step_outputs(Tracing *tracing, Value result, Span span)
{
    Jobs *jobs = tracing->jobs;
    if (value_is(result, VALUE_POISON))
        return false;
    if (value_is(result, VALUE_TENSOR) || value_is(result, VALUE_MEAN))
        return figure_output(tracing, result, "loss", span);
    if (!value_is(result, VALUE_RECORD) || result.as.record->count == 0) {
        report(jobs->cx, span, step_result, value_what(jobs->e, result));
        return false;
    }
    RecordValue *record = result.as.record;
    const Value *loss = record_get(result, job_word(jobs, "loss"));
    Value first = loss ? *loss : record->at[0];
    for (int i = 1; i < record->count && !loss; i++)
        first = elab_binary(jobs->e, OPER_ADD, first, record->at[i], span);
    if (value_is(first, VALUE_POISON) || !figure_output(tracing, first, "loss", span))
        return false;
    for (int i = 0; i < record->count; i++)
        if (&record->at[i] != loss && !figure_output(tracing, record->at[i], record->name[i], span))
            return false;
    return true;
}

// The rate of an optimizer, or of the one that it is made of.
static Value rate_of(Jobs *jobs, Value optimizer)
{
    const Frame *frame = optimizer.as.instance->env->frame;
    for (int i = 0; i < frame->count; i++)
        if (frame->name[i] == job_word(jobs, "lr"))
            return frame->value[i];
    for (int i = 0; i < frame->count; i++)
        if (job_is_instance(frame->value[i], NODE_Optimizer))
            return rate_of(jobs, frame->value[i]);
    return value_none();
}

static bool rate_output(Tracing *tracing, Value optimizer, Span span)
{
    Elab *e = tracing->jobs->e;
    Value rate = rate_of(tracing->jobs, optimizer);
    if (value_is(rate, VALUE_REAL) || value_is(rate, VALUE_INT) || value_is(rate, VALUE_OPTION))
        return figure_output(tracing, rate, "lr", span);
    if (!value_is(rate, VALUE_FUNCTION) && !value_is(rate, VALUE_INSTANCE))
        return true;
    Value step = value_tensor(
        elab_cast(e, elab_scalar(e, AML_SCALAR_STEP, -1, DTYPE_I64, span), e->real, span));
    Value now = elab_call(e, rate, &step, NULL, 1, span);
    return !value_is(now, VALUE_POISON) && figure_output(tracing, now, "lr", span);
}

// The step of a training with one model, a loss and an optimizer: train_step of the standard
// library.
static bool average_step(Jobs *jobs, const TrainBlock *train, Value model, Span span)
{
    return value_is(train->average, VALUE_NONE) ||
           elab_average_update(jobs->e, model, train->average, span);
}

bool default_step(Jobs *jobs, TrainBlock *train, ProgramJob *job, const StepSettings *settings)
{
    Span span = job->span;
    jobs->e->training = true;
    Tracing tracing = entry_begin(jobs, &job->step, job->table.name, "step", span);
    Value record = batch_inputs(&tracing, &train->data->prepared, job->table.batch, span);
    Value clip = settings->clip;
    if (value_is(clip, VALUE_NONE) &&
        leaves_out_steps(&job->table)) // the gradients' length decides
        clip = value_function(jobs->e, elab_std_function(jobs->e, "unclipped"), NULL);
    const ColumnList columns = model_columns(jobs, train->model, &train->data->prepared);
    Value args[] = {train->model,
                    model_call(jobs, &columns, span),
                    teacher_loss(jobs, train, record, job->table.batch, span),
                    settings->optimizer,
                    clip,
                    settings->penalty,
                    value_int(settings->parts),
                    value_list(jobs->e, columns.count, model_values(jobs, &columns, record)),
                    column_value(record, jobs, "y"),
                    settings->mixup,
                    settings->cutmix};
    bool mixes = !value_is(settings->mixup, VALUE_NONE) || !value_is(settings->cutmix, VALUE_NONE);
    bool scaled = !value_is(train->scaler, VALUE_NONE);
    if (mixes && scaled) {
        Setting setting = setting_of(jobs, train->node, "precision");
        report(jobs->cx, setting.span, settings_exclude, "mixed(f16)",
               value_is(settings->mixup, VALUE_NONE) ? "cutmix" : "mixup");
        help(jobs->cx, "`mixed(bf16)` has the range of f32 and goes with both");
    }
    int extra = mixes ? 2 : 0;
    if (scaled)
        args[9] = train->scaler, extra = 1;
    Node *step = elab_std_function(jobs->e, scaled  ? "scaled_step"
                                            : mixes ? "mixed_step"
                                                    : "train_step");
    Value result =
        elab_call(jobs->e, value_function(jobs->e, step, NULL), args, NULL, 9 + extra, span);
    bool good = !(mixes && scaled) && !value_is(result, VALUE_POISON) &&
                pruning_step(jobs, train, span) && average_step(jobs, train, train->model, span) &&
                pruning_averages(jobs, train, span) &&
                (!scaled || scaler_skips(&tracing, train, &result, span)) &&
                step_outputs(&tracing, result, span) && guard_step(&tracing, &job->table, span) &&
                rate_output(&tracing, settings->optimizer, span);
    jobs->e->training = jobs->e->calm = false;
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

// Whether a repeat is one loop or is written out is decided by its first call, and what is said of
// the weights before anything is traced (frozen, averaged) has to know it: so the call is tried
// out.
typedef struct Trial {
    IrModule *module;
    int site, composites;
    Entry entry;
    Tracing tracing;
} Trial;

static void trial_begin(Jobs *jobs, Trial *trial, Span span)
{
    Elab *e = jobs->e;
    trial->module = e->module;
    trial->site = e->next_site;
    trial->composites = e->composite.count;
    e->module = NULL;
    trial->tracing = entry_begin(jobs, &trial->entry, "", "", span);
    trial->tracing.trace->scratch = true;
}

static void trial_end(Jobs *jobs, Trial *trial)
{
    Elab *e = jobs->e;
    entry_drop(&trial->tracing);
    e->module = trial->module;
    e->next_site = trial->site;
    e->composite.count = trial->composites;
}

bool try_model(Jobs *jobs, TrainBlock *train, Span span)
{
    Elab *e = jobs->e;
    const ColumnList columns = model_columns(jobs, train->model, &train->data->prepared);
    bool learns = e->rounding && e->rounding->learned; // then it has weights of its own
    if (e->open_repeats == 0 && !learns)
        return true;
    Trial trial;
    trial_begin(jobs, &trial, span);
    Value inputs = column_inputs(&trial.tracing, &columns, 1, span);
    Inst *output = model_output(jobs, train->model, &columns, inputs, 1, span);
    trial_end(jobs, &trial);
    return output != NULL;
}

static Value run_step(Tracing *tracing, const TrainBlock *train, const ProgramJob *job, Node *fn,
                      Value models, Value optimizers)
{
    Jobs *jobs = tracing->jobs;
    Elab *e = jobs->e;
    Env *env = env_new(e, NULL, fn->span.file);
    for (int i = 0; i < models.as.record->count; i++)
        env_bind(e, env, models.as.record->name[i], models.as.record->at[i]);
    env_bind(e, env, job_word(jobs, "optimizers"), optimizers);
    Value batch = batch_inputs(tracing, &train->data->prepared, job->table.batch, fn->span);
    return elab_call(e, value_function(e, fn, env), &batch, NULL, 1, fn->as.fn.name_span);
}

bool try_step(Jobs *jobs, TrainBlock *train, const ProgramJob *job, Node *fn, Value models,
              Value optimizers)
{
    if (jobs->e->open_repeats == 0)
        return true;
    Trial trial;
    jobs->e->training = true;
    trial_begin(jobs, &trial, fn->span);
    Value result = run_step(&trial.tracing, train, job, fn, models, optimizers);
    trial_end(jobs, &trial);
    jobs->e->training = false;
    return !value_is(result, VALUE_POISON);
}

bool custom_step(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *fn, Value models,
                 Value optimizers)
{
    Elab *e = jobs->e;
    e->training = true;
    Tracing tracing = entry_begin(jobs, &job->step, job->table.name, "step", fn->span);
    Value result = run_step(&tracing, train, job, fn, models, optimizers);
    bool good = step_outputs(&tracing, result, fn->as.fn.name_span) &&
                average_step(jobs, train, models, fn->as.fn.name_span) &&
                guard_step(&tracing, &job->table, fn->as.fn.name_span);
    e->training = false;
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

// ---- what a validation changes

// Schedules that look at what was measured are models with states and a function `validated`. Those
// that the step reads are found among the cells that it has touched.
bool validated_entry(Jobs *jobs, TrainBlock *train, ProgramJob *job, const MetricSet *metrics)
{
    Elab *e = jobs->e;
    Vec(Instance *) watching = {0};
    for (int i = 0; i < train->table->cell.count; i++) {
        Instance *owner = train->table->cell.at[i]->owner;
        bool known = train->table->cell.at[i]->of || !owner->declaration ||
                     owner->declaration->kind != NODE_Model ||
                     !elab_has_method(e, owner, "validated");
        for (int w = 0; w < watching.count; w++)
            known = known || watching.at[w] == owner;
        if (!known)
            vec_push(jobs->arena, &watching, owner);
    }
    if (watching.count == 0)
        return true;
    Tracing tracing = entry_begin(jobs, &job->validated, job->table.name, "validated", job->span);
    bool good = true;
    for (int w = 0; good && w < watching.count; w++) {
        Instance *self = watching.at[w];
        Sym name = self->declaration->as.model.name;
        self->parent = NULL;
        self->name = w == 0 ? name : sym_printf(jobs->cx, "%s%d", name, w + 1);
        if (train->data->part[AML_PART_VALID] <= 0 || !job->table.has_loss) {
            report(jobs->cx, self->span, no_valid_part, name, train->data->node->as.job.name);
            good = false;
            break;
        }
        const Value *on = env_find(self->env, job_word(jobs, "on"));
        int index = on ? metric_index(jobs, metrics, value_word(*on), self->span) : -1;
        if (index == -3) {
            good = false;
            break;
        }
        bool lower = index < 0 || job->metric.at[index].lower_is_better;
        CellList cells = {0};
        elab_cells(e, value_instance(self), &cells);
        for (int i = 0; i < cells.count; i++)
            cells.at[i]->role = AML_ROLE_OPTIMIZER;
        Inst *figure = elab_scalar(e, AML_SCALAR_MEASURED, index, DTYPE_F64, self->span);
        Value args[] = {value_tensor(figure), value_bool(lower)};
        good = !value_is(elab_call_method(e, self, "validated", args, NULL, 2, self->span),
                         VALUE_POISON) &&
               register_cells(jobs, value_instance(self));
    }
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

bool init_entry(Jobs *jobs, TrainBlock *train, ProgramJob *job)
{
    Elab *e = jobs->e;
    e->training = true;
    Tracing tracing = entry_begin(jobs, &job->init, job->table.name, "init", job->span);
    tracing.trace->first_step = true;
    bool good = true;
    int count = train->table->cell.count;
    for (int i = 0; good && i < 2 * count; i++) { // averages begin as what they are averages of
        Cell *cell = train->table->cell.at[i % count];
        if (cell->role == AML_ROLE_METRIC || (cell->source != NULL) != (i >= count))
            continue;
        Inst *initial = elab_cell_initial(e, cell);
        good = initial && elab_assign_whole(e, cell, initial, cell->node->span);
    }
    e->training = false;
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing);
}

// Where people look for a weight: its declaration, or for a layer of the standard library the place
// where it was made.
static Span state_span(const Jobs *jobs, const Cell *cell)
{
    const Cell *weight = cell->of ? cell->of : cell;
    Span span = weight->node->span;
    for (const Instance *owner = weight->owner; owner && source_file(jobs->cx, span.file)->is_std;
         owner = owner->parent)
        if (owner->span.file)
            span = owner->span;
    return span;
}

// What `load` was told, as rows of the program's table.
void load_rows(Jobs *jobs, Value model, bool rounds, ProgramJob *job)
{
    static const char *const ranges[] = {"*input_range", "*input_reach", "*weight_reach"};
    WeightsFileList files = {0};
    elab_weights_files(jobs->e, model, &files);
    for (int i = 0; i < files.count; i++) {
        WeightsFile *file = files.at[i];
        if (rounds) // a file of a training without rounding has no ranges
            for (size_t k = 0; k < COUNT_OF(ranges); k++)
                vec_push(jobs->arena, &file->missing, job_word(jobs, ranges[k]));
        aml_load_rule *rule = NEW_ARRAY(jobs->arena, aml_load_rule, file->rule.count + 1);
        for (int r = 0; r < file->rule.count; r++) {
            const FileRule *from = &file->rule.at[r];
            rule[r] = (aml_load_rule){from->model, from->file, from->axes.count, {0}};
            for (int a = 0; a < from->axes.count; a++)
                rule[r].axis[a] = (int32_t)from->axes.at[a];
        }
        aml_load load = {.place = job_place(jobs, file->span),
                         .below = file->below,
                         .path = job_text(jobs, file->path),
                         .rules = file->rule.count,
                         .missings = file->missing.count,
                         .unuseds = file->unused.count,
                         .rule = rule,
                         .missing = file->missing.at,
                         .unused = file->unused.at};
        vec_push(jobs->arena, &job->load, load);
        vec_push(jobs->arena, &job->load_span, file->span);
    }
}

void state_rows(Jobs *jobs, StateTable *table, ProgramJob *job)
{
    for (int i = 0; i < table->cell.count; i++) {
        Cell *cell = table->cell.at[i];
        ProgramState state = {.span = state_span(jobs, cell)};
        Sym path = elab_cell_path(jobs->e, cell);
        bool replaced = cell->average && cell->average->table == table;
        state.info.tensor = tensor_info(jobs, elab_cell_type(cell), cell->classes,
                                        replaced ? sym_printf(jobs->cx, "%s.raw", path) : path);
        state.info.stack = elab_cell_stack(cell).count;
        state.info.role = replaced ? AML_ROLE_OPTIMIZER : cell->role;
        state.decay = cell->role == AML_ROLE_WEIGHT && cell->type.rank >= 2;
        vec_push(jobs->arena, &job->state, state);
    }
}

// Every cell of the models has a row, also one that no function reads.
bool register_cells(Jobs *jobs, Value model)
{
    CellList cells = {0};
    if (!elab_check_inferred(jobs->e, model))
        return false;
    elab_cells(jobs->e, model, &cells);
    for (int i = 0; i < cells.count; i++) {
        if (!elab_cell_resolve(jobs->e, cells.at[i], cells.at[i]->node->span))
            return false;
        elab_state_row(jobs->e, cells.at[i]);
    }
    return true;
}

// A weight that the loss of `eval` does not read is one that nothing will ever teach.
void warn_unused(Jobs *jobs, Value model, const ProgramJob *job)
{
    IrFunction *fn = job->eval.ir;
    if (!fn || fn->result.count == 0)
        return;
    bool *reaches = NEW_ARRAY(jobs->arena, bool, fn->next_id + 1);
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_OUTPUT && fn->result.at[i].slot.index == 0)
            reaches[fn->result.at[i].value->id] = true;
    for (Inst *inst = fn->last; inst; inst = inst->prev)
        for (int i = 0; reaches[inst->id] && i < inst->inputs; i++)
            reaches[inst->input[i]->id] = true;
    CellList cells = {0};
    elab_cells(jobs->e, model, &cells);
    for (int i = 0; i < cells.count; i++) {
        Cell *cell = cells.at[i];
        bool read = !cell->trainable || cell->role != AML_ROLE_WEIGHT;
        const Cell *of = cell->average && cell->average->table ? cell->average : cell;
        for (int p = 0; p < fn->param.count && !read; p++)
            read = fn->param_slot.at[p].kind == SLOT_STATE &&
                   fn->param_slot.at[p].index == of->row && reaches[fn->param.at[p]->id];
        if (!read)
            report(jobs->cx, cell->node->span, unused_weight, elab_cell_path(jobs->e, cell));
    }
}

// `cross_entropy(scores: float[n, ..., k], y: class(k)[n, ...])`: a loss whose signature asks for
// as many scores as classes is checked here, where both places can be named.
bool check_classes(Jobs *jobs, const TrainBlock *train, const ProgramJob *job, Span at)
{
    const Column *y = column_of(&train->data->prepared, "y");
    if (!value_is(train->loss, VALUE_FUNCTION) ||
        train->loss.as.function->node->kind != NODE_Loss || !y || y->classes == 0 ||
        job->predict.output.count == 0)
        return true;
    const NodeList *params = &train->loss.as.function->node->as.loss.params;
    const Node *scores = params->count >= 2 ? params->at[0]->as.param.type : NULL,
               *target = params->count >= 2 ? params->at[1]->as.param.type : NULL;
    if (!scores || !target || scores->kind != NODE_Type || target->kind != NODE_Type ||
        scores->as.type.dims.count < 2 || target->as.type.args.count != 1)
        return true;
    const Node *wide = scores->as.type.dims.at[scores->as.type.dims.count - 1],
               *classes = target->as.type.args.at[0];
    if (wide->kind != NODE_Name || classes->kind != NODE_Name ||
        wide->as.name.name != classes->as.name.name)
        return true;
    const aml_shape *shape = &job->predict.output.at[job->predict.output.count - 1].shape;
    int64_t given = shape->rank >= 2 ? shape->dim[shape->rank - 1] : y->classes;
    if (given == y->classes)
        return true;
    report(jobs->cx, at, class_count, (long long)given, y->name, (long long)y->classes);
    Node *forward = train->model.as.instance->declaration
                        ? instance_function(train->model.as.instance, job_word(jobs, "forward"))
                        : NULL;
    if (forward)
        note(jobs->cx,
             forward->as.fn.result ? forward->as.fn.result->span : forward->as.fn.name_span,
             "the model's output is %s",
             forward->as.fn.result ? span_text(jobs, forward->as.fn.result->span)
                                   : "declared here");
    Node *field = job_field(train->data->node, y->name);
    if (field)
        note(jobs->cx, field->as.data.type->span, "the target is declared here");
    return false;
}
