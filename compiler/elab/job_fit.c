// job_fit.c: the statistics of a data set as functions of their own: start, step and finish of each
// level, cut out of the trace of prepare.

#include "elab/fit.h"
#include "elab/internal.h"

#include <string.h>

// Behind the outputs of prepare: start and next of each accumulator, then the value of each
// statistic.
static int start_output(const Fitting *f, int accumulator)
{
    return f->outputs + 2 * accumulator;
}

static int next_output(const Fitting *f, int accumulator)
{
    return f->outputs + 2 * accumulator + 1;
}

static int value_output(const Fitting *f, int statistic)
{
    return f->outputs + 2 * f->accumulator.count + statistic;
}

static void sort_accumulators(Fitting *f)
{
    for (int i = 1; i < f->accumulator.count; i++)
        for (int k = i; k > 0 && f->accumulator.at[k - 1].level > f->accumulator.at[k].level; k--) {
            FitAccumulator other = f->accumulator.at[k];
            f->accumulator.at[k] = f->accumulator.at[k - 1];
            f->accumulator.at[k - 1] = other;
        }
}

static void bind_param(IrFunction *fn, const Inst *param, int index)
{
    fn->param_slot.at[param->attr[0].whole] = (Slot){SLOT_INPUT, index};
}

void fit_results(Jobs *jobs, Fitting *f, int fields, Entry *prepare)
{
    IrFunction *fn = f->trace->fn;
    f->outputs = prepare->output.count;
    sort_accumulators(f);
    for (int i = 0; i < f->statistic.count; i++) {
        bind_param(fn, f->statistic.at[i].param, fields + i);
        vec_push(jobs->arena, &prepare->input, f->statistic.at[i].table.tensor);
    }
    for (int i = 0; i < f->accumulator.count; i++) {
        const FitAccumulator *accumulator = &f->accumulator.at[i];
        bind_param(fn, accumulator->param, fields + f->statistic.count + i);
        ir_result(fn, accumulator->start, (Slot){SLOT_OUTPUT, start_output(f, i)}, NULL);
        ir_result(fn, accumulator->next, (Slot){SLOT_OUTPUT, next_output(f, i)}, NULL);
    }
    for (int i = 0; i < f->statistic.count; i++)
        ir_result(fn, f->statistic.at[i].value, (Slot){SLOT_OUTPUT, value_output(f, i)}, NULL);
}

// ---- cutting
// -------------------------------------------------------------------------------------

// Some outputs of the whole: which, and what they are.
typedef struct Kept {
    Vec(int) index;
    Vec(Inst *) value;
} Kept;

static void keep(Jobs *jobs, Kept *kept, int index, Inst *value)
{
    vec_push(jobs->arena, &kept->index, index);
    vec_push(jobs->arena, &kept->value, value);
}

// Keeps these outputs, as outputs 0, 1, ...
static void keep_outputs(Jobs *jobs, IrFunction *fn, const Kept *kept)
{
    Vec(IrResult) result = {0};
    for (int k = 0; k < kept->index.count; k++)
        for (int i = 0; i < fn->result.count; i++)
            if (fn->result.at[i].slot.index == kept->index.at[k]) {
                IrResult one = fn->result.at[i];
                one.slot.index = k;
                one.value->uses++;
                vec_push(jobs->arena, &result, one);
            }
    for (int i = 0; i < fn->result.count; i++)
        fn->result.at[i].value->uses--;
    fn->result.count = 0;
    for (int i = 0; i < result.count; i++)
        vec_push(jobs->arena, &fn->result, result.at[i]);
    ir_drop_dead(fn);
}

static Entry cut(Jobs *jobs, const ProgramDataset *data, int level, const char *what,
                 const Kept *kept)
{
    if (kept->index.count == 0)
        return (Entry){0};
    const Entry *whole = &data->prepare;
    Sym name = sym_printf(jobs->cx, "%s_fit%d_%s", data->table.name, level, what);
    Entry entry = {.ir = ir_clone_function(whole->ir, jobs->program->module, name),
                   .symbol = sym_printf(jobs->cx, "aml_%s", name)};
    for (int i = 0; i < whole->input.count; i++)
        vec_push(jobs->arena, &entry.input, whole->input.at[i]);
    for (int i = 0; i < kept->value.count; i++)
        vec_push(jobs->arena, &entry.output, tensor_info(jobs, kept->value.at[i]->type, 0, what));
    keep_outputs(jobs, entry.ir, kept);
    return entry;
}

static ProgramFit cut_level(Jobs *jobs, const Fitting *f, const ProgramDataset *data, int level)
{
    ProgramFit fit = {0};
    Kept start = {0}, step = {0}, finish = {0};
    for (int i = 0; i < f->accumulator.count; i++) {
        const FitAccumulator *accumulator = &f->accumulator.at[i];
        if (accumulator->level != level)
            continue;
        fit.first = fit.accumulators++ ? fit.first : i;
        keep(jobs, &start, start_output(f, i), accumulator->start);
        keep(jobs, &step, next_output(f, i), accumulator->next);
    }
    for (int i = 0; i < f->statistic.count; i++) {
        const aml_statistic *statistic = &data->statistic.at[i];
        if (statistic->level == level)
            keep(jobs, statistic->kind == AML_STATISTIC_FOLD ? &finish : &step, value_output(f, i),
                 f->statistic.at[i].value);
    }
    fit.start = cut(jobs, data, level, "start", &start);
    fit.step = cut(jobs, data, level, "step", &step);
    fit.finish = cut(jobs, data, level, "finish", &finish);
    return fit;
}

// Where each statistic is found among the outputs of its level's functions.
static void number_outputs(Jobs *jobs, const Fitting *f, ProgramDataset *data, int levels)
{
    for (int i = 0; i < f->statistic.count; i++) {
        vec_push(jobs->arena, &data->statistic, f->statistic.at[i].table);
        vec_push(jobs->arena, &data->statistic_span, f->statistic.at[i].span);
        data->statistic.at[i].place = job_place(jobs, f->statistic.at[i].span);
    }
    for (int level = 0; level < levels; level++) {
        int finished = 0, looked_at = 0;
        for (int i = 0; i < f->accumulator.count; i++)
            looked_at += f->accumulator.at[i].level == level;
        for (int i = 0; i < f->statistic.count; i++) {
            aml_statistic *statistic = &data->statistic.at[i];
            if (statistic->level == level)
                statistic->output =
                    statistic->kind == AML_STATISTIC_FOLD ? finished++ : looked_at++;
        }
    }
}

static void trim_prepare(Jobs *jobs, const Fitting *f, ProgramDataset *data)
{
    Entry *prepare = &data->prepare;
    IrFunction *fn = prepare->ir;
    Kept own = {0};
    for (int i = 0; i < f->outputs; i++)
        keep(jobs, &own, i, NULL);
    keep_outputs(jobs, fn, &own);
    int inputs = data->table.fields + f->statistic.count;
    for (int p = fn->param.count - 1; p >= 0; p--)
        if (fn->param_slot.at[p].kind == SLOT_INPUT && fn->param_slot.at[p].index >= inputs)
            ir_drop_param(fn, p);
    prepare->input.count = inputs;
}

// ---- leaks
// ---------------------------------------------------------------------------------------

static const Inst *field_param(const IrFunction *fn, int field)
{
    for (int p = 0; p < fn->param.count; p++)
        if (fn->param_slot.at[p].kind == SLOT_INPUT && fn->param_slot.at[p].index == field)
            return fn->param.at[p];
    return NULL;
}

static Inst *output_named(const ProgramDataset *data, const char *name)
{
    const IrFunction *fn = data->prepare.ir;
    for (int i = 0; i < fn->result.count; i++) {
        int index = fn->result.at[i].slot.index;
        if (index < data->prepare.output.count &&
            strcmp(data->prepare.output.at[index].name, name) == 0)
            return fn->result.at[i].value;
    }
    return NULL;
}

// A statistic that is made of a field which only the target y reads, and that x reads, tells the
// model about labels; all the more where a class has few rows.
static void warn_leaks(Jobs *jobs, const Fitting *f, const ProgramDataset *data)
{
    Elab *e = jobs->e;
    Inst *x = output_named(data, "x"), *y = output_named(data, "y");
    for (int field = 0; x && y && field < data->table.fields; field++) {
        const Inst *label = field_param(data->prepare.ir, field);
        if (!label || !fit_reads(e, y, label) || fit_reads(e, x, label))
            continue;
        for (int i = 0; i < f->statistic.count; i++) {
            const FitStatistic *statistic = &f->statistic.at[i];
            bool made_of = fit_reads(e, statistic->value, label);
            for (int a = 0; a < f->accumulator.count && statistic->table.kind == AML_STATISTIC_FOLD;
                 a++)
                made_of |= fit_reads(e, statistic->value, f->accumulator.at[a].param) &&
                           fit_reads(e, f->accumulator.at[a].next, label);
            if (!made_of || statistic->labels || !fit_reads(e, x, statistic->param))
                continue;
            report(jobs->cx, statistic->span, statistic_of_label,
                   data->table.field[field].tensor.name);
            help(jobs->cx, "if this is meant, say so with `labels: true`");
        }
    }
}

void fit_close(Jobs *jobs, Fitting *f, ProgramDataset *data)
{
    int levels = 0;
    for (int i = 0; i < f->statistic.count; i++)
        if (f->statistic.at[i].table.level >= levels)
            levels = f->statistic.at[i].table.level + 1;
    for (int i = 0; i < f->accumulator.count; i++) {
        const FitAccumulator *accumulator = &f->accumulator.at[i];
        vec_push(jobs->arena, &data->prepare.input,
                 tensor_info(jobs, accumulator->param->type, 0, accumulator->param->name));
    }
    warn_leaks(jobs, f, data);
    number_outputs(jobs, f, data, levels);
    for (int level = 0; level < levels; level++)
        vec_push(jobs->arena, &data->fit, cut_level(jobs, f, data, level));
    trim_prepare(jobs, f, data);
}

void fit_rows(const ProgramDataset *data, ProgramJob *job, Jobs *jobs)
{
    for (int i = 0; i < data->statistic.count; i++) {
        ProgramState state = {.span = data->statistic_span.at[i]};
        state.info.tensor = data->statistic.at[i].tensor;
        state.info.role = AML_ROLE_STATE;
        vec_push(jobs->arena, &job->state, state);
    }
}
