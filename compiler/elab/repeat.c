// repeat.c: repeat(n, part): n instances of one model, one after the other.
//
// It is one loop in the IR, whatever n is: the part is traced once, and each of its weights is one
// row of the state table that holds all turns (elab_cell_stack). For that the part has to give back
// the type that it is given. A part that does not is written out n times, and so is a part that
// belongs to another model already, whose weights the first turn then shares. Which of the two it
// is is decided at the first call, in a function that is made only for that.

#include "elab/internal.h"

#include <string.h>

enum { MOST_TURNS = 4096 };

static Value container_of(Elab *e, int count, const Value part[], Span span)
{
    Instance *self = NEW(e->cx->arena, Instance);
    self->span = elab_span(e, span);
    self->repeats = self->settled = true;
    self->part = value_list(e, count, part).as.list;
    return value_instance(self);
}

static Sym turn_name(Elab *e, int at)
{
    return sym_printf(e->cx, "%d", at);
}

// Every turn an instance of its own.
static bool write_out(Elab *e, Instance *self, int count, Span span)
{
    Instance *first = self->part.at[0].as.instance;
    self->turns = 0;
    self->settled = true;
    if (first->parent == self)
        first->name = turn_name(e, 0);
    Value *part = NEW_ARRAY(e->cx->arena, Value, count + 1);
    part[0] = value_instance(first);
    for (int i = 1; i < count && elab_tick(e, span, 1); i++) {
        part[i] = value_instance(instance_clone(e, first));
        elab_instance_name(e, part[i], self, turn_name(e, i));
    }
    self->part = (ValueList){e->gave_up ? 1 : count, part};
    return !e->gave_up;
}

Value repeat_make(Elab *e, int64_t count, Instance *part, Span span)
{
    if (count < 1 || count > MOST_TURNS) {
        report(e->cx, elab_span(e, span), bad_argument, "'repeat'",
               arena_printf(e->cx->arena,
                            "the number of repetitions is at least 1 and at most %d, found %lld",
                            MOST_TURNS, (long long)count));
        return value_poison();
    }
    if (part->of) {
        report(e->cx, elab_span(e, span), repeat_part_alone);
        return value_poison();
    }
    Value one = value_instance(part), value = container_of(e, 1, &one, span);
    Instance *self = value.as.instance;
    bool elsewhere = part->parent || part->name;
    if (!elsewhere)
        elab_instance_name(e, one, self, sym_of(e->cx, "#"));
    if (elsewhere || count == 1)
        return write_out(e, self, (int)count, span) ? value : value_poison();
    self->turns = (int)count;
    self->settled = false;
    e->open_repeats++;
    return value;
}

Instance *repeat_clone(Elab *e, Instance *from)
{
    Instance *self = NEW(e->cx->arena, Instance);
    self->span = from->span;
    self->repeats = true;
    self->turns = from->turns;
    self->settled = from->settled;
    e->open_repeats += !self->settled;
    Value part = value_instance(instance_clone(e, from->part.at[0].as.instance));
    self->part = value_list(e, 1, &part).as.list;
    elab_instance_name(e, part, self, sym_of(e->cx, "#"));
    return self;
}

void repeat_settle(Elab *e, Instance *self)
{
    e->open_repeats -= !self->settled;
    self->settled = true;
}

// ---- tensors of a value -------------------------------------------------------------------------

// Calls `each` for every tensor in `value` and puts what it gives in its place.
typedef Inst *TensorMap(Elab *e, Inst *inst, void *data);

static Value map_tensors(Elab *e, Value value, TensorMap *each, void *data)
{
    if (value.kind == VALUE_TENSOR)
        value.as.tensor.inst = each(e, value.as.tensor.inst, data);
    if (value.kind == VALUE_MEAN) {
        value.as.mean.sum = each(e, value.as.mean.sum, data);
        value.as.mean.count = each(e, value.as.mean.count, data);
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        value.as.list = value_list(e, value.as.list.count, value.as.list.at).as.list;
        for (int i = 0; i < value.as.list.count; i++)
            value.as.list.at[i] = map_tensors(e, value.as.list.at[i], each, data);
    }
    if (value.kind == VALUE_RECORD) {
        const RecordValue *old = value.as.record;
        value = value_record(e, old->count, old->name, old->at);
        for (int i = 0; i < old->count; i++)
            value.as.record->at[i] = map_tensors(e, old->at[i], each, data);
    }
    return value;
}

// Whether two values have the same form and their tensors the same types.
static bool same_type(Elab *e, Value a, Value b)
{
    if (a.kind != b.kind)
        return false;
    if (a.kind == VALUE_TENSOR)
        return type_equal(a.as.tensor.inst->type, b.as.tensor.inst->type) &&
               a.as.tensor.classes == b.as.tensor.classes;
    if (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE) {
        for (int i = 0; a.as.list.count == b.as.list.count && i < a.as.list.count; i++)
            if (!same_type(e, a.as.list.at[i], b.as.list.at[i]))
                return false;
        return a.as.list.count == b.as.list.count;
    }
    if (a.kind == VALUE_RECORD) {
        const RecordValue *x = a.as.record, *y = b.as.record;
        for (int i = 0; x->count == y->count && i < x->count; i++)
            if (x->name[i] != y->name[i] || !same_type(e, x->at[i], y->at[i]))
                return false;
        return x->count == y->count;
    }
    return value_is_static(a) && value_equal(e, a, b);
}

static Inst *count_one(Elab *e, Inst *inst, void *data)
{
    (void)e;
    ++*(int *)data;
    return inst;
}

static int tensors_in(Elab *e, Value value)
{
    int count = 0;
    map_tensors(e, value, count_one, &count);
    return count;
}

// ---- the decision -------------------------------------------------------------------------------

static Inst *as_input(Elab *e, Inst *inst, void *data)
{
    (void)data;
    return ir_param(e->trace->fn, inst->type, (Slot){0}, inst->name, inst->span);
}

// Tries the part out on inputs of these types: true if it may be a loop, false if it gives another
// type or something was reported.
static bool keeps_type(Elab *e, Instance *self, const Value args[], const Sym names[], int count,
                       Span span)
{
    IrModule *module = e->module;
    int site = e->next_site, composites = e->composite.count, errors = diag_errors(e->cx);
    e->module = NULL;
    Trace *trace = elab_trace_begin(e, NULL, elab_span(e, span));
    trace->scratch = true;
    trace->turns_of = self;
    Value *input = NEW_ARRAY(e->cx->arena, Value, count);
    for (int i = 0; i < count; i++)
        input[i] = map_tensors(e, args[i], as_input, NULL);
    Value result = elab_call(e, self->part.at[0], input, names, count, span);
    bool same = result.kind != VALUE_POISON && same_type(e, input[0], elab_read(e, result, span));
    elab_trace_end(e, trace);
    e->module = module;
    e->next_site = site;
    e->composite.count = composites; // those traced for it are of no module
    return same && diag_errors(e->cx) == errors;
}

// ---- calls --------------------------------------------------------------------------------------

static Inst *carry_one(Elab *e, Inst *inst, void *data)
{
    (void)data;
    return elab_region_carry(e, inst);
}

typedef struct Pairs {
    Vec(Inst *) carried, value;
    int at;
    Trace *trace;
} Pairs;

static Inst *list_carried(Elab *e, Inst *inst, void *data)
{
    Pairs *pairs = data;
    vec_push(e->cx->arena, &pairs->carried, inst);
    return inst;
}

static Inst *set_next(Elab *e, Inst *inst, void *data)
{
    Pairs *pairs = data;
    elab_region_next(e, pairs->carried.at[pairs->at++], inst);
    return inst;
}

static Inst *after_loop(Elab *e, Inst *inst, void *data)
{
    return elab_region_after(e, ((Pairs *)data)->trace, inst);
}

static Value call_loop(Elab *e, Instance *self, const Value args[], const Sym names[], int count,
                       Span span)
{
    Pairs pairs = {.trace = elab_region_begin(e, self->turns, span)};
    pairs.trace->turns_of = self;
    Value *input = NEW_ARRAY(e->cx->arena, Value, count);
    memcpy(input, args, sizeof *input * (size_t)count);
    input[0] = map_tensors(e, args[0], carry_one, NULL);
    map_tensors(e, input[0], list_carried, &pairs);
    Value result = elab_call(e, self->part.at[0], input, names, count, span);
    result = elab_read(e, result, span);
    bool fine = result.kind != VALUE_POISON;
    if (fine && !same_type(e, input[0], result)) {
        report(e->cx, elab_span(e, span), repeat_changes_type, value_what(e, args[0]),
               value_what(e, result));
        note(e->cx, self->span, "it is repeated %d times here", self->turns);
        fine = false;
    }
    if (fine)
        map_tensors(e, result, set_next, &pairs);
    if (!elab_region_close(e, pairs.trace, fine) || !elab_region_emit(e, pairs.trace))
        return value_poison();
    return map_tensors(e, input[0], after_loop, &pairs);
}

static Value call_turns(Elab *e, Instance *self, const Value args[], const Sym names[], int count,
                        Span span)
{
    Value *input = NEW_ARRAY(e->cx->arena, Value, count);
    memcpy(input, args, sizeof *input * (size_t)count);
    for (int i = 0; i < self->part.count && input[0].kind != VALUE_POISON; i++)
        input[0] = elab_call(e, self->part.at[i], input, names, count, span);
    return input[0];
}

Value repeat_call(Elab *e, Instance *self, const Value args[], const Sym names[], int count,
                  Span span)
{
    if (self->turns == 0)
        return call_turns(e, self, args, names, count, span);
    self = self->part.at[0].as.instance->parent; // it may be a copy with other weights
    Value *input = NEW_ARRAY(e->cx->arena, Value, count);
    for (int i = 0; i < count; i++)
        input[i] = elab_read(e, args[i], span);
    if (!e->trace || tensors_in(e, input[0]) == 0) {
        report(e->cx, elab_span(e, span), type_mismatch, "what a repeated model is applied to",
               "a tensor, or a record or list of them", value_what(e, input[0]));
        return value_poison();
    }
    if (!self->settled) {
        int errors = diag_errors(e->cx), turns = self->turns;
        repeat_settle(e, self); // while it is tried out its weights are those of a loop
        bool same = keeps_type(e, self, input, names, count, span);
        if (diag_errors(e->cx) > errors || e->gave_up)
            return value_poison();
        if (!same) {
            return write_out(e, self, turns, span) ? call_turns(e, self, input, names, count, span)
                                                   : value_poison();
        }
    }
    return call_loop(e, self, input, names, count, span);
}

// ---- one turn: body[2] --------------------------------------------------------------------------

Value repeat_part(Elab *e, Instance *self, int64_t at, Span span)
{
    if (self->of) { // body[1].inner[2]
        Value inner = repeat_part(e, self->inside, at, span);
        if (inner.kind != VALUE_INSTANCE)
            return inner;
        Instance *view = NEW(e->cx->arena, Instance);
        *view = inner.as.instance->of ? *inner.as.instance : *self;
        view->around = inner.as.instance->of ? self : self->around;
        view->inside = inner.as.instance->of ? inner.as.instance->inside : inner.as.instance;
        return value_instance(view);
    }
    int count = self->turns > 0 ? self->turns : self->part.count;
    if (self->declaration) {
        report(e->cx, elab_span(e, span), bad_index, value_what(e, value_instance(self)),
               value_what(e, value_int(at)));
        return value_poison();
    }
    int64_t from_start = at < 0 ? at + count : at;
    if (from_start < 0 || from_start >= count) {
        report(e->cx, elab_span(e, span), bad_argument, "this model",
               arena_printf(e->cx->arena, "it has %d parts, found the index %lld", count,
                            (long long)at));
        return value_poison();
    }
    if (self->turns == 0)
        return self->part.at[from_start];
    repeat_settle(e, self);
    Instance *view = NEW(e->cx->arena, Instance);
    view->span = elab_span(e, span);
    view->settled = true;
    view->of = self;
    view->at = (int)from_start;
    view->inside = self->part.at[0].as.instance;
    return value_instance(view);
}

// Runs in what follows with the turns that `view` means; `pin` has room for all of them.
static const Pin *pin_all(Elab *e, const Instance *view, Pin pin[IR_MAX_RANK])
{
    const Pin *before = e->pin;
    for (int i = 0; view && i < IR_MAX_RANK; view = view->around, i++) {
        pin[i] = (Pin){view->of, view->at, e->pin};
        e->pin = &pin[i];
    }
    return before;
}

Value repeat_part_member(Elab *e, Instance *view, Sym name, Span span)
{
    Value value = elab_member(e, value_instance(view->inside), name, span);
    if (value.kind == VALUE_CELL && e->trace) {
        Pin pin[IR_MAX_RANK];
        const Pin *before = pin_all(e, view, pin);
        value = elab_read(e, value, span);
        e->pin = before;
    }
    if (value.kind == VALUE_INSTANCE) {
        Instance *part = NEW(e->cx->arena, Instance);
        *part = *view;
        part->inside = value.as.instance;
        return value_instance(part);
    }
    if (value.kind != VALUE_FUNCTION && value.kind != VALUE_CELL)
        return value;
    report(e->cx, elab_span(e, span), repeat_part_alone);
    help(e->cx, "call it, or read its weights where a tensor is computed");
    return value_poison();
}

Value repeat_part_call(Elab *e, Instance *view, const Value args[], const Sym names[], int count,
                       Span span)
{
    Pin pin[IR_MAX_RANK];
    const Pin *before = pin_all(e, view, pin);
    Value value = elab_call(e, value_instance(view->inside), args, names, count, span);
    value = elab_read(e, value, span);
    e->pin = before;
    return value;
}
