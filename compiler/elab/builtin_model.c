// builtin_model.c: builtins about losses, gradients and models, and those on static values.

#include "elab/builtin.h"

#include <string.h>

// ---- losses and gradients -----------------------------------------------------------------------

Value builtin_mean_over(Elab *e, const Value arg[], Span span)
{
    Inst *terms = builtin_tensor(e, arg[1], "mean_over", span);
    Inst *count = elab_tensor(e, arg[0], e->real, span);
    if (!terms || !count)
        return value_poison();
    if (count->type.rank != 0)
        return builtin_bad(e, "mean_over", span, "the number of samples has to be a scalar");
    if (dtype_info[terms->type.dtype].kind != KIND_FLOAT) {
        report(e->cx, elab_span(e, span), type_mismatch, "the terms of 'mean_over'",
               "a float tensor", value_what(e, arg[1]));
        return value_poison();
    }
    if (arg[0].kind == VALUE_INT && terms->type.rank > 0 && terms->type.dim[0] != arg[0].as.whole) {
        const char *found = type_text(e->cx->arena, terms->type);
        report(
            e->cx, elab_span(e, span), shape_mismatch, "the terms of 'mean_over'",
            arena_printf(e->cx->arena, "one for each of %lld samples", (long long)arg[0].as.whole),
            found);
        return value_poison();
    }
    Inst *sum = terms;
    if (terms->type.rank > 0) {
        Attr attr[] = {{.reducer = REDUCE_SUM}, {.list = {.count = terms->type.rank}}};
        for (int i = 0; i < terms->type.rank; i++)
            attr[1].list.at[i] = i;
        sum = elab_emit(e, OP_reduce, &terms, 1, attr, (Type){0}, "'mean_over'", span);
    }
    sum = elab_cast(e, sum, e->real, span);
    count = elab_cast(e, count, e->real, span);
    if (!sum || !count)
        return value_poison();
    return (Value){.kind = VALUE_MEAN, .as.mean = {sum, count}};
}

static Value part_of_mean(Elab *e, Value mean, bool count, Span span)
{
    if (mean.kind == VALUE_MEAN)
        return value_tensor(count ? mean.as.mean.count : mean.as.mean.sum);
    return builtin_bad(e, count ? "mean_count" : "mean_sum", span,
                       arena_printf(e->cx->arena, "expected the result of 'mean_over', found %s",
                                    value_what(e, mean)));
}

Value builtin_mean_sum(Elab *e, const Value arg[], Span span)
{
    return part_of_mean(e, arg[0], false, span);
}

Value builtin_mean_count(Elab *e, const Value arg[], Span span)
{
    return part_of_mean(e, arg[0], true, span);
}

Value builtin_is_mean(Elab *e, const Value arg[], Span span)
{
    (void)e, (void)span;
    return value_bool(arg[0].kind == VALUE_MEAN);
}

// What is differentiated by: tensors as they are, models by their learned weights.
typedef struct Wanted {
    Vec(Inst *) inst;
    CellList cell; // as long as inst; NULL for a tensor
} Wanted;

static bool add_wanted(Elab *e, Value value, Wanted *wanted, Span span)
{
    if (value.kind == VALUE_TENSOR) {
        if (dtype_info[value.as.tensor.inst->type.dtype].kind != KIND_FLOAT) {
            builtin_bad(e, "value_and_grad", span,
                        arena_printf(e->cx->arena, "there is no gradient with respect to %s",
                                     value_what(e, value)));
            return false;
        }
        vec_push(e->cx->arena, &wanted->inst, elab_capture(e, value.as.tensor.inst));
        vec_push(e->cx->arena, &wanted->cell, NULL);
        return true;
    }
    if (value.kind == VALUE_INSTANCE && value.as.instance->of) {
        report(e->cx, elab_span(e, span), repeat_part_alone);
        return false;
    }
    if (value.kind == VALUE_INSTANCE || value.kind == VALUE_RECORD) {
        CellList cells = {0};
        elab_cells(e, value, &cells);
        Instance none = {0};
        Replaced saved =
            elab_replace_begin(e, value.kind == VALUE_INSTANCE ? value.as.instance : &none);
        bool fine = true;
        for (int i = 0; i < cells.count && fine; i++) {
            if (!cells.at[i]->trainable)
                continue;
            Inst *inst = elab_cell_whole(e, cells.at[i], span);
            fine = inst != NULL;
            vec_push(e->cx->arena, &wanted->inst, inst);
            vec_push(e->cx->arena, &wanted->cell, cells.at[i]);
        }
        elab_replace_end(e, &saved);
        return fine;
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        for (int i = 0; i < value.as.list.count; i++)
            if (!add_wanted(e, value.as.list.at[i], wanted, span))
                return false;
        return true;
    }
    builtin_bad(e, "value_and_grad", span,
                arena_printf(e->cx->arena,
                             "expected a model or a tensor to differentiate by, found %s",
                             value_what(e, value)));
    return false;
}

// What f gets for `wrt`: the same numbers as tensors of their own, so that a use of the same tensor
// elsewhere in f (as a variable of an enclosing function) is not differentiated. Weights are
// differentiated wherever they are used.
static Value apart(Elab *e, Value wrt, Span span)
{
    if (wrt.kind == VALUE_TENSOR) {
        Inst *inst = elab_capture(e, wrt.as.tensor.inst);
        wrt.as.tensor.inst = ir_reshape(e->trace->fn, inst, inst->type, elab_span(e, span));
    }
    if (wrt.kind == VALUE_LIST || wrt.kind == VALUE_TUPLE) {
        Value *item = NEW_ARRAY(e->cx->arena, Value, wrt.as.list.count + 1);
        for (int i = 0; i < wrt.as.list.count; i++)
            item[i] = apart(e, wrt.as.list.at[i], span);
        wrt.as.list.at = item;
    }
    return wrt;
}

static Value gradient_value(Elab *e, Value value, const Wanted *wanted, Inst *const gradient[],
                            int *at)
{
    if (value.kind == VALUE_TENSOR)
        return value_tensor(gradient[(*at)++]);
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        Value out = value;
        out.as.list.at = NEW_ARRAY(e->cx->arena, Value, value.as.list.count + 1);
        for (int i = 0; i < value.as.list.count; i++)
            out.as.list.at[i] = gradient_value(e, value.as.list.at[i], wanted, gradient, at);
        return out;
    }
    CellList cells = {0};
    elab_cells(e, value, &cells);
    int from = *at;
    for (int i = 0; i < cells.count; i++)
        *at += cells.at[i]->trainable;
    return value_tree(e, *at - from, wanted->cell.at + from, gradient + from);
}

Value builtin_value_and_grad(Elab *e, const Value arg[], Span span)
{
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "'value_and_grad'");
        return value_poison();
    }
    Value wrt = apart(e, arg[1], span);
    Value result = elab_call(e, arg[0], &wrt, NULL, 1, span);
    if (result.kind == VALUE_POISON)
        return result;
    Value loss_value =
        result.kind == VALUE_TUPLE && result.as.list.count > 0 ? result.as.list.at[0] : result;
    Inst *loss = elab_scalar_tensor(e, loss_value, span);
    Wanted wanted = {0};
    if (!loss || !add_wanted(e, wrt, &wanted, span))
        return value_poison();
    Inst **gradient = NEW_ARRAY(e->cx->arena, Inst *, wanted.inst.count + 1);
    if (!gradient_of(e, loss, wanted.inst.at, wanted.inst.count, gradient, elab_span(e, span)))
        return value_poison();
    int at = 0;
    Value pair[] = {loss_value.kind == VALUE_MEAN ? value_tensor(loss) : result,
                    gradient_value(e, wrt, &wanted, gradient, &at)};
    return value_tuple(e, 2, pair);
}

// ---- models -------------------------------------------------------------------------------------

static Value container(Elab *e, int count, const Value part[], Span span)
{
    Instance *self = NEW(e->cx->arena, Instance);
    self->span = elab_span(e, span);
    self->part = value_list(e, count, part).as.list;
    for (int i = 0; i < count; i++)
        elab_instance_name(e, part[i], self, sym_printf(e->cx, "%d", i));
    return value_instance(self);
}

Value builtin_sequence(Elab *e, const Value arg[], Span span)
{
    ValueList items;
    if (!elab_items(e, arg[0], &items, "the parts of 'sequence'", span))
        return value_poison();
    for (int i = 0; i < items.count; i++)
        if (items.at[i].kind != VALUE_INSTANCE && items.at[i].kind != VALUE_FUNCTION)
            return builtin_bad(e, "sequence", span,
                               arena_printf(e->cx->arena, "expected models and functions, found %s",
                                            value_what(e, items.at[i])));
    return container(e, items.count, items.at, span);
}

Value builtin_repeat(Elab *e, const Value arg[], Span span)
{
    int64_t count;
    if (!elab_int(e, arg[0], &count, "how often 'repeat' repeats", span))
        return value_poison();
    if (arg[1].kind != VALUE_INSTANCE)
        return builtin_bad(
            e, "repeat", span,
            arena_printf(e->cx->arena, "expected a model, found %s", value_what(e, arg[1])));
    if (count < 1 || count > 4096)
        return builtin_bad(e, "repeat", span,
                           "the number of repetitions is at least 1 and at most 4096");
    return repeat_make(e, count, arg[1].as.instance, span);
}

// ---- static values ------------------------------------------------------------------------------

Value builtin_len(Elab *e, const Value arg[], Span span)
{
    if (arg[0].kind == VALUE_RECORD)
        return value_int(arg[0].as.record->count);
    if (arg[0].kind == VALUE_RANGE) {
        int64_t count = arg[0].as.range.stop - arg[0].as.range.start;
        return value_int(count < 0 ? 0 : count);
    }
    if (value_plain_text(arg[0]))
        return value_int((int64_t)strlen(value_plain_text(arg[0])));
    if (arg[0].kind == VALUE_TENSOR && arg[0].as.tensor.inst->type.rank > 0)
        return value_int(arg[0].as.tensor.inst->type.dim[0]);
    ValueList items;
    return elab_items(e, arg[0], &items, "the argument of 'len'", span) ? value_int(items.count)
                                                                        : value_poison();
}

static Value divided(Elab *e, const Value arg[], bool up, Span span)
{
    int64_t a, b;
    if (!elab_int(e, arg[0], &a, "a division of ints", span) ||
        !elab_int(e, arg[1], &b, "a division of ints", span))
        return value_poison();
    if (b == 0) {
        report(e->cx, elab_span(e, span), division_by_zero);
        return value_poison();
    }
    if (b == -1)
        return elab_unary(e, OPER_NEG, value_int(a), span);
    int64_t quotient = a / b;
    bool exact = a % b == 0, negative = (a < 0) != (b < 0);
    return value_int(quotient + (exact ? 0 : up ? !negative : -negative));
}

Value builtin_ceil_div(Elab *e, const Value arg[], Span span)
{
    return divided(e, arg, true, span);
}

Value builtin_floor_div(Elab *e, const Value arg[], Span span)
{
    return divided(e, arg, false, span);
}

Value builtin_map(Elab *e, const Value arg[], Span span)
{
    if (arg[1].kind == VALUE_RECORD) {
        const RecordValue *record = arg[1].as.record;
        Value *at = NEW_ARRAY(e->cx->arena, Value, record->count + 1);
        for (int i = 0; i < record->count; i++) {
            at[i] = elab_call(e, arg[0], &record->at[i], NULL, 1, span);
            if (at[i].kind == VALUE_POISON)
                return at[i];
        }
        return value_record(e, record->count, record->name, at);
    }
    ValueList items;
    if (!elab_items(e, arg[1], &items, "what 'map' goes over", span))
        return value_poison();
    Value *at = NEW_ARRAY(e->cx->arena, Value, items.count + 1);
    for (int i = 0; i < items.count; i++) {
        at[i] = elab_call(e, arg[0], &items.at[i], NULL, 1, span);
        if (at[i].kind == VALUE_POISON)
            return at[i];
    }
    return value_list(e, items.count, at);
}

Value builtin_fold(Elab *e, const Value arg[], Span span)
{
    ValueList items;
    if (!elab_items(e, arg[2], &items, "what 'fold' goes over", span))
        return value_poison();
    Value result = arg[1];
    for (int i = 0; i < items.count && result.kind != VALUE_POISON; i++) {
        Value args[] = {result, items.at[i]};
        result = elab_call(e, arg[0], args, NULL, 2, span);
    }
    return result;
}

Value builtin_zip(Elab *e, const Value arg[], Span span)
{
    ValueList xs, ys;
    if (!elab_items(e, arg[0], &xs, "the first argument of 'zip'", span) ||
        !elab_items(e, arg[1], &ys, "the second argument of 'zip'", span))
        return value_poison();
    if (xs.count != ys.count)
        return builtin_bad(e, "zip", span,
                           arena_printf(e->cx->arena,
                                        "expected lists of one length, found %d and %d elements",
                                        xs.count, ys.count));
    Value *at = NEW_ARRAY(e->cx->arena, Value, xs.count + 1);
    for (int i = 0; i < xs.count && elab_tick(e, span, 1); i++) {
        Value pair[] = {xs.at[i], ys.at[i]};
        at[i] = value_tuple(e, 2, pair);
    }
    return value_list(e, xs.count, at);
}

Value builtin_enumerate(Elab *e, const Value arg[], Span span)
{
    ValueList xs;
    if (!elab_items(e, arg[0], &xs, "the argument of 'enumerate'", span))
        return value_poison();
    Value *at = NEW_ARRAY(e->cx->arena, Value, xs.count + 1);
    for (int i = 0; i < xs.count && elab_tick(e, span, 1); i++) {
        Value pair[] = {value_int(i), xs.at[i]};
        at[i] = value_tuple(e, 2, pair);
    }
    return value_list(e, xs.count, at);
}

Value builtin_reverse(Elab *e, const Value arg[], Span span)
{
    ValueList xs;
    if (!elab_items(e, arg[0], &xs, "the argument of 'reverse'", span))
        return value_poison();
    Value *at = NEW_ARRAY(e->cx->arena, Value, xs.count + 1);
    for (int i = 0; i < xs.count; i++)
        at[i] = xs.at[xs.count - 1 - i];
    return value_list(e, xs.count, at);
}

Value builtin_list(Elab *e, const Value arg[], Span span)
{
    ValueList xs;
    return elab_items(e, arg[0], &xs, "the argument of 'list'", span)
               ? value_list(e, xs.count, xs.at)
               : value_poison();
}

Value builtin_text(Elab *e, const Value arg[], Span span)
{
    (void)span;
    return arg[0].kind == VALUE_TEXT ? arg[0] : value_text(e, value_show(e, arg[0]));
}

Value builtin_error(Elab *e, const Value arg[], Span span)
{
    if (e->branching > 0 && e->branch_depth == e->call_depth && !e->dead) {
        e->dead = true;
        return value_poison();
    }
    Sym message = value_plain_text(arg[0]);
    Span place = e->user.file ? e->user : e->call_site.file ? e->call_site : span;
    report(e->cx, place, library_error, message ? message : value_show(e, arg[0]));
    // Where the check stands: the library's line that called a helper which reports, or this one.
    bool helper = e->call_site.file && source_file(e->cx, e->call_site.file)->is_std;
    Span check = helper ? e->call_site : span;
    if (check.file != place.file || check.start != place.start)
        note(e->cx, check, "checked here");
    return value_poison();
}
