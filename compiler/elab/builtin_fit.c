// builtin_fit.c: what stands for a statistic of the training rows in `prepare`, see fit.h.

#include "elab/builtin.h"
#include "elab/fit.h"

#include <string.h>

typedef Vec(Inst *) InstList;

// ---- what a value is computed from --------------------------------------------------------------

static void mark_from(Inst *inst, bool *seen)
{
    if (seen[inst->id])
        return;
    seen[inst->id] = true;
    for (int i = 0; i < inst->inputs; i++)
        mark_from(inst->input[i], seen);
}

static bool *reached(Elab *e, Inst *const root[], int count)
{
    bool *seen =
        NEW_ARRAY(e->cx->arena, bool, count ? root[0]->function->next_id + 1 : 1); // zeroed
    for (int i = 0; i < count; i++)
        mark_from(root[i], seen);
    return seen;
}

bool fit_reads(Elab *e, Inst *root, const Inst *param)
{
    return reached(e, &root, 1)[param->id];
}

// One above all statistics that the values are made of.
static int level_of(Elab *e, const Fitting *fitting, const InstList *roots)
{
    const bool *seen = reached(e, roots->at, roots->count);
    int level = 0;
    for (int i = 0; i < fitting->statistic.count; i++) {
        const FitStatistic *statistic = &fitting->statistic.at[i];
        if (seen[statistic->param->id] && statistic->table.level >= level)
            level = statistic->table.level + 1;
    }
    return level;
}

// start and finish are about all rows: a field of one row has no meaning there.
static bool reads_no_row(Elab *e, const Fitting *fitting, const InstList *roots, const char *what,
                         Span span)
{
    const bool *seen = reached(e, roots->at, roots->count);
    const IrFunction *fn = fitting->trace->fn;
    for (int p = 0; p < fn->param.count; p++) {
        const Inst *param = fn->param.at[p];
        bool known = !seen[param->id] || fn->param_slot.at[p].kind != SLOT_INPUT;
        for (int i = 0; i < fitting->statistic.count && !known; i++)
            known = fitting->statistic.at[i].param == param;
        for (int i = 0; i < fitting->accumulator.count && !known; i++)
            known = fitting->accumulator.at[i].param == param;
        if (known)
            continue;
        report(e->cx, elab_span(e, span), fit_reads_row, what,
               param->name ? param->name : "a field");
        return false;
    }
    return true;
}

// ---- where it may stand
// --------------------------------------------------------------------------

static Fitting *fitting_here(Elab *e, const char *name, Span span)
{
    if (e->fitting && e->fitting->trace == e->trace)
        return e->fitting;
    if (e->trace && e->trace->scratch) { // a function of the user's that is only tried out
        Fitting *trial = NEW(e->cx->arena, Fitting);
        trial->trace = e->trace;
        trial->dataset = sym_of(e->cx, "trial");
        return trial;
    }
    report(e->cx, elab_span(e, span), fitted_outside, name);
    if (e->fitting && e->trace)
        help(e->cx, "take it out of the loop: a statistic is known before the first row");
    return NULL;
}

static bool read_labels(Elab *e, Value value, bool *labels, Span span)
{
    return elab_truth(e, value, labels, span);
}

// The parameter of prepare that the statistic is.
static Value add_statistic(Elab *e, Fitting *fitting, aml_statistic_kind kind, Type type,
                           Value name, FitStatistic statistic, Span span)
{
    static const char *const kind_name[] = {"fold", "quantiles", "mode", "rows", "components"};
    const char *word = value_plain_text(name) ? value_plain_text(name) : kind_name[kind];
    statistic.span = elab_span(e, span);
    statistic.table.kind = kind;
    statistic.table.tensor.name =
        sym_printf(e->cx, "%s/%d.%s", fitting->dataset, fitting->statistic.count, word);
    statistic.table.tensor.dtype = (aml_dtype)type.dtype;
    statistic.table.tensor.shape.rank = type.rank;
    memcpy(statistic.table.tensor.shape.dim, type.dim, sizeof type.dim[0] * (size_t)type.rank);
    Value param = elab_trace_input(e, type, 0, sym_of(e->cx, statistic.table.tensor.name), span);
    statistic.param = param.as.tensor.inst;
    vec_push(e->cx->arena, &fitting->statistic, statistic);
    return param;
}

// ---- fitted: a fold over the rows
// ----------------------------------------------------------------

// The tensors of a value: tuples and lists of them. False after a report.
static bool collect(Elab *e, Value value, const char *what, InstList *out, Span span)
{
    if (value.kind == VALUE_TUPLE || value.kind == VALUE_LIST) {
        for (int i = 0; i < value.as.list.count; i++)
            if (!collect(e, value.as.list.at[i], what, out, span))
                return false;
        return true;
    }
    Inst *inst = elab_tensor_for(e, what, value, e->real, span);
    vec_push(e->cx->arena, out, inst);
    return inst != NULL;
}

static Value rebuilt(Elab *e, Value value, Inst *const at[], int *next)
{
    if (value.kind != VALUE_TUPLE && value.kind != VALUE_LIST)
        return value_tensor(at[(*next)++]);
    Value out = value_list(e, value.as.list.count, value.as.list.at);
    out.kind = value.kind;
    for (int i = 0; i < out.as.list.count; i++)
        out.as.list.at[i] = rebuilt(e, out.as.list.at[i], at, next);
    return out;
}

static bool same_types(Elab *e, const InstList *start, const InstList *next, Span span)
{
    for (int i = 0; i < start->count || i < next->count; i++) {
        if (i < start->count && i < next->count &&
            type_equal(start->at[i]->type, next->at[i]->type))
            continue;
        report(e->cx, elab_span(e, span), carried_changes, " of 'fitted'",
               i < start->count ? type_text(e->cx->arena, start->at[i]->type) : "nothing",
               i < next->count ? type_text(e->cx->arena, next->at[i]->type) : "nothing");
        return false;
    }
    return true;
}

Value builtin_fitted(Elab *e, const Value arg[], Span span)
{
    Fitting *fitting = fitting_here(e, "fitted", span);
    InstList start = {0}, params = {0}, next = {0}, done = {0};
    FitStatistic statistic = {0};
    if (!fitting || !read_labels(e, arg[5], &statistic.labels, span) ||
        !collect(e, arg[1], "the start of 'fitted'", &start, span) ||
        !reads_no_row(e, fitting, &start, "the start", span))
        return value_poison();
    int first = fitting->accumulator.count;
    for (int i = 0; i < start.count; i++) {
        Sym name = sym_printf(e->cx, "accumulator%d", fitting->accumulator.count);
        Inst *param = elab_trace_input(e, start.at[i]->type, 0, name, span).as.tensor.inst;
        vec_push(e->cx->arena, &params, param);
        vec_push(e->cx->arena, &fitting->accumulator,
                 ((FitAccumulator){.param = param, .start = start.at[i], .next = param}));
    }
    int at = 0;
    Value sums = rebuilt(e, arg[1], params.at, &at), both[] = {sums, arg[0]};
    Value stepped = elab_call(e, arg[2], both, NULL, 2, span);
    if (stepped.kind == VALUE_POISON ||
        !collect(e, stepped, "what a step of 'fitted' gives", &next, span) ||
        !same_types(e, &start, &next, span))
        return value_poison();
    Value finished = elab_call(e, arg[3], &sums, NULL, 1, span);
    if (finished.kind == VALUE_POISON ||
        !collect(e, finished, "what the finish of 'fitted' gives", &done, span) ||
        !reads_no_row(e, fitting, &done, "the finish", span))
        return value_poison();
    InstList all = {0};
    for (int i = 0; i < start.count; i++) {
        fitting->accumulator.at[first + i].next = next.at[i];
        vec_push(e->cx->arena, &all, start.at[i]);
        vec_push(e->cx->arena, &all, next.at[i]);
    }
    for (int i = 0; i < done.count; i++)
        vec_push(e->cx->arena, &all, done.at[i]);
    int level = level_of(e, fitting, &all);
    for (int i = 0; i < start.count; i++)
        fitting->accumulator.at[first + i].level = level;
    InstList made = {0};
    for (int i = 0; i < done.count; i++) {
        statistic.table.level = level;
        statistic.value = done.at[i];
        Value value = add_statistic(e, fitting, AML_STATISTIC_FOLD, done.at[i]->type, arg[4],
                                    statistic, span);
        vec_push(e->cx->arena, &made, value.as.tensor.inst);
    }
    at = 0;
    return rebuilt(e, finished, made.at, &at);
}

// ---- statistics that need all rows at once
// -------------------------------------------------------

// What is looked at in each row, as `dtype`. NULL after a report.
static Inst *looked_at(Elab *e, Value x, DType dtype, const char *name, Span span)
{
    Inst *inst = builtin_tensor(e, x, name, span);
    if (inst && dtype != DTYPE_COUNT)
        inst = elab_cast(e, inst, dtype, span);
    return inst;
}

static Type stacked(Type type, int64_t count)
{
    Type out = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {count}};
    memcpy(out.dim + 1, type.dim, sizeof type.dim[0] * (size_t)type.rank);
    return out;
}

static Value of_rows(Elab *e, Fitting *fitting, aml_statistic_kind kind, Inst *x, Type type,
                     Value name, FitStatistic statistic, Span span)
{
    InstList root = {0};
    if (!elab_possible(e, type, span))
        return value_poison();
    vec_push(e->cx->arena, &root, x);
    statistic.value = x;
    statistic.table.level = level_of(e, fitting, &root);
    return add_statistic(e, fitting, kind, type, name, statistic, span);
}

static bool room_for_rows(Elab *e, const Inst *x, const char *name, Span span)
{
    if (x->type.rank < IR_MAX_RANK)
        return true;
    builtin_bad(e, name, span, "a tensor of that many axes has no place for another one");
    return false;
}

Value builtin_fitted_quantiles(Elab *e, const Value arg[], Span span)
{
    Fitting *fitting = fitting_here(e, "fitted_quantiles", span);
    FitStatistic statistic = {0};
    ValueList at;
    Inst *x = fitting ? looked_at(e, arg[0], DTYPE_F32, "fitted_quantiles", span) : NULL;
    if (!x || !read_labels(e, arg[3], &statistic.labels, span) ||
        !elab_items(e, arg[1], &at, "the quantiles", span) ||
        !room_for_rows(e, x, "fitted_quantiles", span))
        return value_poison();
    double *quantile = NEW_ARRAY(e->cx->arena, double, at.count + 1);
    for (int i = 0; i < at.count; i++) {
        bool fine = value_is_number(at.at[i]);
        quantile[i] = fine ? value_number(at.at[i]) : -1;
        if (!(quantile[i] >= 0 && quantile[i] <= 1))
            return builtin_bad(e, "fitted_quantiles", span,
                               arena_printf(e->cx->arena, "a quantile lies in 0 to 1, found %s",
                                            value_show(e, at.at[i])));
    }
    if (at.count == 0)
        return builtin_bad(e, "fitted_quantiles", span, "at least one quantile is asked for");
    statistic.table.quantiles = at.count;
    statistic.table.quantile = quantile;
    return of_rows(e, fitting, AML_STATISTIC_QUANTILES, x, stacked(x->type, at.count), arg[2],
                   statistic, span);
}

Value builtin_fitted_mode(Elab *e, const Value arg[], Span span)
{
    Fitting *fitting = fitting_here(e, "fitted_mode", span);
    FitStatistic statistic = {0};
    Inst *x = fitting ? looked_at(e, arg[0], DTYPE_F32, "fitted_mode", span) : NULL;
    if (!x || !read_labels(e, arg[2], &statistic.labels, span))
        return value_poison();
    return of_rows(e, fitting, AML_STATISTIC_MODE, x, x->type, arg[1], statistic, span);
}

Value builtin_fitted_rows(Elab *e, const Value arg[], Span span)
{
    Fitting *fitting = fitting_here(e, "fitted_rows", span);
    FitStatistic statistic = {0};
    int64_t count;
    Inst *x = fitting ? looked_at(e, arg[0], DTYPE_F32, "fitted_rows", span) : NULL;
    if (!x || !read_labels(e, arg[3], &statistic.labels, span) ||
        !elab_int(e, arg[1], &count, "the number of rows", span) ||
        !room_for_rows(e, x, "fitted_rows", span))
        return value_poison();
    if (count < 1)
        return builtin_bad(e, "fitted_rows", span, "at least one row is kept");
    return of_rows(e, fitting, AML_STATISTIC_ROWS, x, stacked(x->type, count), arg[2], statistic,
                   span);
}

Value builtin_fitted_components(Elab *e, const Value arg[], Span span)
{
    Fitting *fitting = fitting_here(e, "fitted_components", span);
    FitStatistic statistic = {0};
    int64_t count;
    Inst *x = fitting ? looked_at(e, arg[0], DTYPE_F32, "fitted_components", span) : NULL;
    if (!x || !read_labels(e, arg[3], &statistic.labels, span) ||
        !elab_int(e, arg[1], &count, "the number of components", span))
        return value_poison();
    if (x->type.rank != 1) {
        report(e->cx, elab_span(e, span), shape_mismatch, "'fitted_components'", "f32[d]",
               type_text(e->cx->arena, x->type));
        return value_poison();
    }
    enum { MOST = 4096 };
    int64_t size = x->type.dim[0];
    if (count < 1 || count > size || size > MOST) {
        report(e->cx, elab_span(e, span), too_many_components, (long long)count,
               type_text(e->cx->arena, x->type));
        if (size > MOST)
            help(e->cx, "principal axes of at most %d columns can be computed", MOST);
        return value_poison();
    }
    const int64_t dim[] = {count, size + 1};
    return of_rows(e, fitting, AML_STATISTIC_COMPONENTS, x, type_make(DTYPE_F32, 2, dim), arg[2],
                   statistic, span);
}
