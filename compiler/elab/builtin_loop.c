// builtin_loop.c: scan, while and cond: loops and branches that run with the program.
//
// What is carried and what is scanned may be any nesting of tuples, lists and records; the loop
// knows only the tensors in it, in order. A branch is a loop of one turn behind a guard: the first
// stacks what it computes (zeros if it does not run), the second begins with that and replaces it
// if the condition does not hold.

#include "elab/builtin.h"

#include <string.h>

typedef Vec(Inst *) InstList;

enum { MOST_TURNS = 1 << 30 };

static bool holds_parts(Value value)
{
    return value.kind == VALUE_TUPLE || value.kind == VALUE_LIST || value.kind == VALUE_RECORD;
}

static ValueList parts_of(Value value)
{
    if (value.kind == VALUE_RECORD)
        return (ValueList){value.as.record->count, value.as.record->at};
    return value.as.list;
}

// The same structure with other parts.
static Value with_parts(Elab *e, Value like, Value *at)
{
    if (like.kind == VALUE_RECORD)
        return value_record(e, like.as.record->count, like.as.record->name, at);
    like.as.list.at = at;
    return like;
}

// The tensors of a value, in order. A number becomes a scalar; `none` stays what it is. False after
// a report.
static bool collect_tensors(Elab *e, Value value, const char *what, InstList *out, Span span)
{
    value = elab_read(e, value, span);
    if (value.kind == VALUE_POISON)
        return false;
    if (holds_parts(value)) {
        ValueList parts = parts_of(value);
        for (int i = 0; i < parts.count; i++)
            if (!collect_tensors(e, parts.at[i], what, out, span))
                return false;
        return true;
    }
    if (value.kind == VALUE_NONE)
        return true;
    if (value.kind == VALUE_TREE) {
        for (int i = 0; i < value.as.tree->count; i++)
            vec_push(e->cx->arena, out, value.as.tree->at[i]);
        return true;
    }
    if (!elab_is_runtime(value) && !value_is_number(value) && value.kind != VALUE_BOOL) {
        report(e->cx, elab_span(e, span), type_mismatch, what,
               "a tensor, or a tuple, list or record of tensors", value_what(e, value));
        return false;
    }
    Inst *inst = elab_tensor(e, value, value.kind == VALUE_INT ? DTYPE_I32 : e->real, span);
    if (!inst)
        return false;
    vec_push(e->cx->arena, out, inst);
    return true;
}

// The value with `at` in place of its tensors. `keep`: a class stays one.
static Value replace_tensors(Elab *e, Value value, Inst *const at[], int *next, bool keep)
{
    if (holds_parts(value)) {
        ValueList parts = parts_of(value);
        Value *made = NEW_ARRAY(e->cx->arena, Value, parts.count + 1);
        for (int i = 0; i < parts.count; i++)
            made[i] = replace_tensors(e, parts.at[i], at, next, keep);
        return with_parts(e, value, made);
    }
    if (value.kind == VALUE_NONE)
        return value;
    if (value.kind == VALUE_TREE) {
        *next += value.as.tree->count;
        return value_tree(e, value.as.tree->count, value.as.tree->cell,
                          at + *next - value.as.tree->count);
    }
    int64_t classes = keep && value.kind == VALUE_TENSOR ? value.as.tensor.classes : 0;
    return value_class(at[(*next)++], classes);
}

static Value rebuilt(Elab *e, Value value, const InstList *list, bool keep)
{
    int next = 0;
    return replace_tensors(e, value, list->at, &next, keep);
}

// What a carried value became in one turn: of the same structure and types. `path` says which part
// of it: "", "[1]", ".state".
static bool collect_next(Elab *e, Value start, Value value, const InstList *carried, InstList *out,
                         const char *path, Span span)
{
    value = elab_read(e, value, span);
    if (value.kind == VALUE_POISON)
        return false;
    bool fits = start.kind == value.kind;
    if (holds_parts(start) && fits) {
        ValueList from = parts_of(start), to = parts_of(value);
        fits = from.count == to.count;
        for (int i = 0; fits && start.kind == VALUE_RECORD && i < from.count; i++)
            fits = start.as.record->name[i] == value.as.record->name[i];
        for (int i = 0; fits && i < from.count; i++) {
            const char *part =
                start.kind == VALUE_RECORD
                    ? arena_printf(e->cx->arena, "%s.%s", path, start.as.record->name[i])
                    : arena_printf(e->cx->arena, "%s[%d]", path, i);
            if (!collect_next(e, from.at[i], to.at[i], carried, out, part, span))
                return false;
        }
    } else if (start.kind == VALUE_TREE && fits) {
        const TreeValue *from = start.as.tree, *to = value.as.tree;
        fits = from->count == to->count;
        for (int i = 0; fits && i < from->count; i++) {
            fits = from->cell[i] == to->cell[i] && type_equal(from->at[i]->type, to->at[i]->type);
            vec_push(e->cx->arena, out, to->at[i]);
        }
    } else if (!holds_parts(start) && start.kind != VALUE_NONE && start.kind != VALUE_TREE) {
        Inst *before = carried->at[out->count];
        bool number = value_is_number(value) || value.kind == VALUE_BOOL;
        fits = number || elab_is_runtime(value);
        Inst *inst = fits ? elab_tensor(e, value, before->type.dtype, span) : NULL;
        if (fits && !inst)
            return false;
        if (fits && number)
            inst = elab_broadcast_to(e, inst, before->type, "a carried value", span);
        fits = fits && inst && type_equal(inst->type, before->type);
        if (!fits)
            start = value_tensor(before);
        else
            vec_push(e->cx->arena, out, inst);
    }
    if (!fits)
        report(e->cx, elab_span(e, span), carried_changes, path, value_what(e, start),
               value_what(e, value));
    return fits;
}

static void set_next(Elab *e, const InstList *carried, const InstList *next)
{
    for (int i = 0; i < carried->count; i++)
        elab_region_next(e, carried->at[i], next->at[i]);
}

static void carry_all(Elab *e, const InstList *start, InstList *carried)
{
    for (int i = 0; i < start->count; i++)
        vec_push(e->cx->arena, carried, elab_region_carry(e, start->at[i]));
}

static void take_after(Elab *e, const Trace *loop, const InstList *carried, InstList *after)
{
    for (int i = 0; i < carried->count; i++)
        vec_push(e->cx->arena, after, elab_region_after(e, loop, carried->at[i]));
}

// ---- scan ---------------------------------------------------------------------------------------

// Moves an axis to another place.
static Inst *move_axis(Elab *e, Inst *x, int from, int to, Span span)
{
    if (!x || from == to)
        return x;
    Attr attr = {.list = {.count = x->type.rank}};
    for (int i = 0, next = 0; i < x->type.rank; i++) {
        next += next == from;
        attr.list.at[i] = i == to ? from : next++;
    }
    return elab_emit(e, OP_transpose, &x, 1, &attr, (Type){0}, "'scan'", span);
}

// The scanned tensors with their axis in front, all of one length.
static bool prepare_scanned(Elab *e, InstList *xs, Value axis, int64_t *count, Span span)
{
    if (xs->count == 0) {
        builtin_bad(e, "scan", span, "there is nothing to scan");
        return false;
    }
    for (int i = 0; i < xs->count; i++) {
        int at;
        Inst *x = xs->at[i];
        if (!elab_axis(e, axis, x->type.rank, &at, span))
            return false;
        if (i == 0)
            *count = x->type.dim[at];
        if (x->type.dim[at] != *count) {
            report(e->cx, elab_span(e, span), scan_lengths, (long long)*count,
                   type_text(e->cx->arena, xs->at[0]->type), (long long)x->type.dim[at],
                   type_text(e->cx->arena, x->type));
            return false;
        }
    }
    for (int i = 0; i < xs->count; i++) {
        int at;
        elab_axis(e, axis, xs->at[i]->type.rank, &at, span);
        xs->at[i] = move_axis(e, xs->at[i], at, 0, span);
        if (!xs->at[i])
            return false;
    }
    return true;
}

static bool place_stacked(Elab *e, const Trace *loop, int count, Value axis, InstList *out,
                          Span span)
{
    for (int i = 0; i < count; i++) {
        int at;
        Inst *whole = elab_region_stacked(loop, i);
        if (!elab_axis(e, axis, whole->type.rank, &at, span))
            return false;
        vec_push(e->cx->arena, out, move_axis(e, whole, 0, at, span));
    }
    return true;
}

Value builtin_scan(Elab *e, const Value arg[], Span span)
{
    Value f = arg[0], start = arg[1], xs = arg[2], axis = arg[3];
    InstList begin = {0}, scanned = {0}, carried = {0}, slices = {0}, next = {0}, ys = {0},
             after = {0}, stacked = {0};
    int64_t count = 0;
    bool reverse;
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "'scan'");
        return value_poison();
    }
    if (!elab_truth(e, arg[4], &reverse, span) ||
        !collect_tensors(e, start, "what 'scan' begins with", &begin, span) ||
        !collect_tensors(e, xs, "what 'scan' goes over", &scanned, span) ||
        !prepare_scanned(e, &scanned, axis, &count, span))
        return value_poison();
    Trace *loop = elab_region_begin(e, count, span);
    loop->region->reverse = reverse;
    carry_all(e, &begin, &carried);
    for (int i = 0; i < scanned.count; i++)
        vec_push(e->cx->arena, &slices, elab_region_slice(e, scanned.at[i]));
    Value args[] = {rebuilt(e, start, &carried, false), rebuilt(e, xs, &slices, true)};
    Value pair = elab_call(e, f, args, NULL, 2, span);
    bool fine = pair.kind != VALUE_POISON;
    if (fine && (pair.kind != VALUE_TUPLE || pair.as.list.count != 2)) {
        report(e->cx, elab_span(e, span), scan_result, value_what(e, pair));
        fine = false;
    }
    fine = fine && collect_next(e, start, pair.as.list.at[0], &carried, &next, "", span) &&
           collect_tensors(e, pair.as.list.at[1], "what the function of 'scan' gives", &ys, span);
    if (fine) {
        set_next(e, &carried, &next);
        for (int i = 0; i < ys.count; i++)
            elab_region_stack(e, ys.at[i]);
    }
    if (!elab_region_close(e, loop, fine) || !elab_region_emit(e, loop))
        return value_poison();
    take_after(e, loop, &carried, &after);
    if (!place_stacked(e, loop, ys.count, axis, &stacked, span))
        return value_poison();
    Value results[] = {rebuilt(e, start, &after, false),
                       rebuilt(e, pair.as.list.at[1], &stacked, true)};
    return value_tuple(e, 2, results);
}

// ---- while --------------------------------------------------------------------------------------

static Inst *holds(Elab *e, Value condition, Value carry, Span span)
{
    Value value = elab_call(e, condition, &carry, NULL, 1, span);
    if (value.kind == VALUE_POISON)
        return NULL;
    Inst *inst = value.kind == VALUE_BOOL ? elab_tensor(e, value, DTYPE_BOOL, span)
                                          : elab_condition(e, value, span);
    if (inst && inst->type.rank > 0) {
        report(e->cx, elab_span(e, span), type_mismatch, "the condition", "one bool",
               value_what(e, value_tensor(inst)));
        return NULL;
    }
    return inst;
}

Value builtin_while(Elab *e, const Value arg[], Span span)
{
    Value condition = arg[0], body = arg[1], start = arg[2];
    InstList begin = {0}, carried = {0}, next = {0}, after = {0};
    int64_t limit = LOOP_NO_LIMIT;
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "'while'");
        return value_poison();
    }
    if (arg[3].kind != VALUE_NONE && !elab_int(e, arg[3], &limit, "the limit of 'while'", span))
        return value_poison();
    if (arg[3].kind != VALUE_NONE && (limit < 1 || limit > MOST_TURNS))
        return builtin_bad(e, "while", span, "a limit is at least 1 and at most 2**30");
    if (!collect_tensors(e, start, "what 'while' begins with", &begin, span))
        return value_poison();
    if (begin.count == 0)
        return builtin_bad(e, "while", span, "there is nothing that could change");
    Inst *first = holds(e, condition, rebuilt(e, start, &begin, false), span);
    if (!first)
        return value_poison();
    Trace *loop = elab_region_begin(e, limit, span);
    Inst *again = elab_region_carry(e, first);
    elab_region_guard(e, again);
    carry_all(e, &begin, &carried);
    Value value = elab_call(e, body, (Value[]){rebuilt(e, start, &carried, false)}, NULL, 1, span);
    bool fine =
        value.kind != VALUE_POISON && collect_next(e, start, value, &carried, &next, "", span);
    Inst *then = fine ? holds(e, condition, rebuilt(e, start, &next, false), span) : NULL;
    if (then) {
        elab_region_next(e, again, then);
        set_next(e, &carried, &next);
    }
    if (!elab_region_close(e, loop, then != NULL) || !elab_region_emit(e, loop))
        return value_poison();
    take_after(e, loop, &carried, &after);
    return rebuilt(e, start, &after, false);
}

// ---- cond ---------------------------------------------------------------------------------------

static Inst *first_of(Elab *e, Inst *whole, Span span)
{
    Type type = whole->type;
    memmove(type.dim, type.dim + 1, sizeof type.dim[0] * (size_t)(type.rank - 1));
    type.rank--;
    return elab_emit(e, OP_reshape, &whole, 1, NULL, type, "'cond'", span);
}

Value builtin_cond(Elab *e, const Value arg[], Span span)
{
    if (arg[0].kind == VALUE_BOOL)
        return elab_call(e, arg[0].as.whole ? arg[1] : arg[2], NULL, NULL, 0, span);
    InstList made = {0}, begin = {0}, carried = {0}, next = {0}, after = {0};
    Inst *condition = elab_condition(e, arg[0], span);
    if (!condition)
        return value_poison();
    if (condition->type.rank > 0) {
        report(e->cx, elab_span(e, span), type_mismatch, "the condition of 'cond'", "one bool",
               value_what(e, value_tensor(condition)));
        help(e->cx, "element by element: `if` chooses between two tensors");
        return value_poison();
    }
    Trace *loop = elab_region_begin(e, 1, span);
    elab_region_guard(e, condition);
    Value then = elab_call(e, arg[1], NULL, NULL, 0, span);
    bool fine = collect_tensors(e, then, "what 'cond' chooses from", &made, span);
    for (int i = 0; fine && i < made.count; i++)
        elab_region_stack(e, made.at[i]);
    if (!elab_region_close(e, loop, fine) || !elab_region_emit(e, loop))
        return value_poison();
    for (int i = 0; i < made.count; i++) {
        vec_push(e->cx->arena, &begin, first_of(e, elab_region_stacked(loop, i), span));
        if (!begin.at[i])
            return value_poison();
    }
    Inst *other = elab_emit(e, OP_not, &condition, 1, NULL, (Type){0}, "'cond'", span);
    loop = elab_region_begin(e, 1, span);
    elab_region_guard(e, other);
    carry_all(e, &begin, &carried);
    Value otherwise = elab_call(e, arg[2], NULL, NULL, 0, span);
    fine = otherwise.kind != VALUE_POISON &&
           collect_next(e, then, otherwise, &carried, &next, "", span);
    if (fine)
        set_next(e, &carried, &next);
    if (!elab_region_close(e, loop, fine) || !elab_region_emit(e, loop))
        return value_poison();
    take_after(e, loop, &carried, &after);
    return rebuilt(e, then, &after, false);
}
