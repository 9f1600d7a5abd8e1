// value.c: making, comparing and describing values.

#include "elab/internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

Value value_poison(void)
{
    return (Value){.kind = VALUE_POISON};
}

Value value_none(void)
{
    return (Value){.kind = VALUE_NONE};
}

Value value_bool(bool b)
{
    return (Value){.kind = VALUE_BOOL, .as.whole = b};
}

Value value_int(int64_t i)
{
    return (Value){.kind = VALUE_INT, .as.whole = i};
}

Value value_real(double r)
{
    return (Value){.kind = VALUE_REAL, .as.real = r};
}

Value value_quantity(double value, aml_unit unit)
{
    return (Value){.kind = VALUE_QUANTITY, .as.quantity = {value, unit, -1, false}};
}

Value value_text(Elab *e, const char *text)
{
    TextPart *part = NEW(e->cx->arena, TextPart);
    *part = (TextPart){sym_of(e->cx, text), -1};
    return (Value){.kind = VALUE_TEXT, .as.text = {1, part}};
}

Value value_symbol(Sym name)
{
    return (Value){.kind = VALUE_SYMBOL, .as.symbol = name};
}

static ValueList copy_list(Elab *e, int count, const Value at[])
{
    ValueList list = {count, NEW_ARRAY(e->cx->arena, Value, count + 1)};
    if (count > 0)
        memcpy(list.at, at, sizeof *at * (size_t)count);
    return list;
}

Value value_list(Elab *e, int count, const Value at[])
{
    return (Value){.kind = VALUE_LIST, .as.list = copy_list(e, count, at)};
}

Value value_tuple(Elab *e, int count, const Value at[])
{
    return (Value){.kind = VALUE_TUPLE, .as.list = copy_list(e, count, at)};
}

Value value_record(Elab *e, int count, const Sym name[], const Value at[])
{
    RecordValue *record = NEW(e->cx->arena, RecordValue);
    record->count = count;
    record->name = NEW_ARRAY(e->cx->arena, Sym, count + 1);
    record->at = copy_list(e, count, at).at;
    if (count > 0)
        memcpy(record->name, name, sizeof *name * (size_t)count);
    return (Value){.kind = VALUE_RECORD, .as.record = record};
}

Value value_tensor(Inst *inst)
{
    return value_class(inst, 0);
}

Value value_class(Inst *inst, int64_t classes)
{
    if (!inst)
        return value_poison();
    return (Value){.kind = VALUE_TENSOR, .as.tensor = {inst, classes}};
}

int64_t value_classes(Value value)
{
    if (value.kind == VALUE_TENSOR)
        return value.as.tensor.classes;
    return value.kind == VALUE_INT && value.as.whole >= 0 && value.as.whole < INT32_MAX
               ? value.as.whole + 1
               : 0;
}

int64_t value_classes_of(const Value at[], int count)
{
    int64_t most = 0;
    for (int i = 0; i < count; i++) {
        int64_t one = value_classes(at[i]);
        if (one == 0)
            return 0;
        most = one > most ? one : most;
    }
    return most;
}

Value value_function(Elab *e, Node *node, Env *env)
{
    FunctionValue *function = NEW(e->cx->arena, FunctionValue);
    *function = (FunctionValue){node, env, NULL};
    return (Value){.kind = VALUE_FUNCTION, .as.function = function};
}

Value value_instance(Instance *instance)
{
    return (Value){.kind = VALUE_INSTANCE, .as.instance = instance};
}

Value value_tree(Elab *e, int count, Cell *const cell[], Inst *const at[])
{
    TreeValue *tree = NEW(e->cx->arena, TreeValue);
    tree->count = count;
    tree->cell = NEW_ARRAY(e->cx->arena, Cell *, count + 1);
    tree->at = NEW_ARRAY(e->cx->arena, Inst *, count + 1);
    for (int i = 0; i < count; i++) {
        tree->cell[i] = cell[i];
        tree->at[i] = at[i];
    }
    return (Value){.kind = VALUE_TREE, .as.tree = tree};
}

bool value_is_number(Value v)
{
    return v.kind == VALUE_INT || v.kind == VALUE_REAL ||
           (v.kind == VALUE_QUANTITY && v.as.quantity.unit == AML_UNIT_FRACTION &&
            v.as.quantity.option < 0);
}

double value_number(Value v)
{
    return v.kind == VALUE_INT        ? (double)v.as.whole
           : v.kind == VALUE_QUANTITY ? v.as.quantity.value
                                      : v.as.real;
}

const Value *record_get(Value record, Sym name)
{
    if (record.kind == VALUE_RECORD)
        for (int i = 0; i < record.as.record->count; i++)
            if (record.as.record->name[i] == name)
                return &record.as.record->at[i];
    return NULL;
}

Sym value_plain_text(Value v)
{
    if (v.kind != VALUE_TEXT || v.as.text.parts != 1 || v.as.text.part[0].option >= 0)
        return NULL;
    return v.as.text.part[0].text;
}

static bool text_equal(TextValue a, TextValue b)
{
    if (a.parts != b.parts)
        return false;
    for (int i = 0; i < a.parts; i++)
        if (a.part[i].text != b.part[i].text || a.part[i].option != b.part[i].option)
            return false;
    return true;
}

static bool type_value_equal(const TypeValue *a, const TypeValue *b)
{
    if (a->castable && b->castable && !a->has_dims && !b->has_dims)
        return a->dtype == b->dtype;
    if (a->element != b->element || a->classes != b->classes || a->has_dims != b->has_dims ||
        a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool value_equal(Elab *e, Value a, Value b)
{
    if (!elab_tick(e, (Span){0}, 1))
        return false;
    if (value_is_number(a) && value_is_number(b)) {
        if (a.kind == VALUE_INT && b.kind == VALUE_INT)
            return a.as.whole == b.as.whole;
        return value_number(a) == value_number(b);
    }
    if (a.kind == VALUE_SYMBOL && b.kind == VALUE_TEXT)
        return value_plain_text(b) == a.as.symbol;
    if (b.kind == VALUE_SYMBOL && a.kind == VALUE_TEXT)
        return value_plain_text(a) == b.as.symbol;
    if (a.kind == VALUE_TYPE && b.kind == VALUE_TEXT)
        return value_plain_text(b) == a.as.type->element;
    if (a.kind != b.kind) {
        ValueList left, right;
        bool lists = (a.kind == VALUE_LIST || a.kind == VALUE_RANGE) &&
                     (b.kind == VALUE_LIST || b.kind == VALUE_RANGE);
        if (!lists || !elab_items(e, a, &left, "", (Span){0}) ||
            !elab_items(e, b, &right, "", (Span){0}))
            return false;
        return value_equal(e, (Value){.kind = VALUE_LIST, .as.list = left},
                           (Value){.kind = VALUE_LIST, .as.list = right});
    }
    switch (a.kind) {
    case VALUE_NONE:
    case VALUE_HOLE:
    case VALUE_REST:
        return true;
    case VALUE_BOOL:
    case VALUE_INT:
        return a.as.whole == b.as.whole;
    case VALUE_REAL:
        return a.as.real == b.as.real;
    case VALUE_QUANTITY:
        return a.as.quantity.unit == b.as.quantity.unit &&
               a.as.quantity.value == b.as.quantity.value &&
               a.as.quantity.option == b.as.quantity.option;
    case VALUE_TEXT:
        return text_equal(a.as.text, b.as.text);
    case VALUE_SYMBOL:
        return a.as.symbol == b.as.symbol;
    case VALUE_LIST:
    case VALUE_TUPLE:
        if (a.as.list.count != b.as.list.count)
            return false;
        for (int i = 0; i < a.as.list.count; i++)
            if (!value_equal(e, a.as.list.at[i], b.as.list.at[i]))
                return false;
        return true;
    case VALUE_RECORD:
        if (a.as.record->count != b.as.record->count)
            return false;
        for (int i = 0; i < a.as.record->count; i++) {
            const Value *other = record_get(b, a.as.record->name[i]);
            if (!other || !value_equal(e, a.as.record->at[i], *other))
                return false;
        }
        return true;
    case VALUE_RANGE:
        return a.as.range.start == b.as.range.start && a.as.range.stop == b.as.range.stop;
    case VALUE_FUNCTION:
        return a.as.function->node == b.as.function->node &&
               a.as.function->env == b.as.function->env &&
               a.as.function->self == b.as.function->self;
    case VALUE_TYPE:
        return type_value_equal(a.as.type, b.as.type);
    case VALUE_DECLARATION:
        return a.as.node == b.as.node;
    case VALUE_INSTANCE:
        return a.as.instance == b.as.instance;
    case VALUE_TENSOR:
        return a.as.tensor.inst == b.as.tensor.inst;
    case VALUE_CELL:
        return a.as.cell == b.as.cell;
    case VALUE_JOB:
        return a.as.job.node == b.as.job.node && a.as.job.part == b.as.job.part;
    case VALUE_OPTION:
        return a.as.option == b.as.option;
    case VALUE_DIM:
        return a.as.dim == b.as.dim;
    case VALUE_TREE:
        return a.as.tree == b.as.tree;
    case VALUE_MEAN:
        return a.as.mean.sum == b.as.mean.sum && a.as.mean.count == b.as.mean.count;
    case VALUE_LATER:
        return a.as.later.node == b.as.later.node && a.as.later.env == b.as.later.env;
    case VALUE_POISON:
        return false;
    }
    return false;
}

bool value_is_static(Value v)
{
    switch (v.kind) {
    case VALUE_TENSOR:
    case VALUE_MEAN:
    case VALUE_TREE:
    case VALUE_CELL:
    case VALUE_OPTION:
    case VALUE_LATER:
        return false;
    case VALUE_LIST:
    case VALUE_TUPLE:
        for (int i = 0; i < v.as.list.count; i++)
            if (!value_is_static(v.as.list.at[i]))
                return false;
        return true;
    case VALUE_RECORD:
        for (int i = 0; i < v.as.record->count; i++)
            if (!value_is_static(v.as.record->at[i]))
                return false;
        return true;
    case VALUE_POISON:
    case VALUE_NONE:
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_REAL:
    case VALUE_QUANTITY:
    case VALUE_TEXT:
    case VALUE_SYMBOL:
    case VALUE_RANGE:
    case VALUE_FUNCTION:
    case VALUE_TYPE:
    case VALUE_DECLARATION:
    case VALUE_INSTANCE:
    case VALUE_JOB:
    case VALUE_DIM:
    case VALUE_HOLE:
    case VALUE_REST:
        return true;
    }
    return true;
}

// ---- describing ---------------------------------------------------------------------------------

static void show(Elab *e, Value v, Buffer *out, int depth);

static void show_real(Buffer *out, double r)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, r);
        double back = 0;
        if (sscanf(text, "%lf", &back) == 1 && back == r)
            break;
    }
    buffer_text(out, text);
    if (isfinite(r) && !strpbrk(text, ".en"))
        buffer_text(out, ".0");
}

static void show_quantity(Buffer *out, double value, aml_unit unit)
{
    switch (unit) {
    case AML_UNIT_STEPS:
        buffer_printf(out, "%g step%s", value, value == 1 ? "" : "s");
        return;
    case AML_UNIT_EPOCHS:
        buffer_printf(out, "%g epoch%s", value, value == 1 ? "" : "s");
        return;
    case AML_UNIT_SECONDS:
        buffer_printf(out, "%g s", value);
        return;
    case AML_UNIT_BYTES:
        if (value >= 1 << 20 && fmod(value, 1 << 20) == 0)
            buffer_printf(out, "%g MiB", value / (1 << 20));
        else if (value >= 1 << 10 && fmod(value, 1 << 10) == 0)
            buffer_printf(out, "%g KiB", value / (1 << 10));
        else
            buffer_printf(out, "%.17g B", value);
        return;
    case AML_UNIT_FRACTION:
        buffer_printf(out, "%g%%", value * 100);
        return;
    case AML_UNIT_NONE:
        break;
    }
    show_real(out, value);
}

static void show_list(Elab *e, ValueList list, const char *open, const char *close, Buffer *out,
                      int depth)
{
    buffer_text(out, open);
    for (int i = 0; i < list.count; i++) {
        if (i > 0)
            buffer_text(out, ", ");
        if (i == 12) {
            buffer_text(out, "...");
            break;
        }
        show(e, list.at[i], out, depth + 1);
    }
    buffer_text(out, close);
}

static void show_type(const TypeValue *type, Buffer *out)
{
    buffer_text(out, type->element);
    if (type->classes > 0)
        buffer_printf(out, "(%" PRId64 ")", type->classes);
    if (!type->has_dims)
        return;
    buffer_text(out, "[");
    for (int i = 0; i < type->rank; i++)
        buffer_printf(out, "%s%" PRId64, i ? ", " : "", type->dim[i]);
    buffer_text(out, "]");
}

static void show_tensor(Elab *e, Inst *inst, int64_t classes, Buffer *out)
{
    if (classes > 0)
        buffer_printf(out, "class(%" PRId64 ")%s", classes, shape_text(e->cx->arena, inst->type));
    else
        buffer_text(out, type_text(e->cx->arena, inst->type));
}

static Sym declared_name(const Node *node)
{
    if (node->kind == NODE_Model)
        return node->as.model.name;
    if (node->kind == NODE_Metric)
        return node->as.metric.name;
    if (node->kind == NODE_Optimizer)
        return node->as.optimizer.name;
    if (node->kind == NODE_Fn)
        return node->as.fn.name;
    if (node->kind == NODE_Loss)
        return node->as.loss.name;
    if (node->kind == NODE_Job)
        return node->as.job.name;
    return NULL;
}

static void show(Elab *e, Value v, Buffer *out, int depth)
{
    if (depth > 6 || out->length > 2000) {
        buffer_text(out, "...");
        return;
    }
    switch (v.kind) {
    case VALUE_POISON:
    case VALUE_HOLE:
        buffer_text(out, "_");
        return;
    case VALUE_NONE:
        buffer_text(out, "none");
        return;
    case VALUE_BOOL:
        buffer_text(out, v.as.whole ? "true" : "false");
        return;
    case VALUE_INT:
        buffer_printf(out, "%" PRId64, v.as.whole);
        return;
    case VALUE_REAL:
        show_real(out, v.as.real);
        return;
    case VALUE_QUANTITY:
        if (v.as.quantity.option >= 0)
            buffer_printf(out, "option %s",
                          e->option.at[v.as.quantity.option].node->as.option.name);
        else
            show_quantity(out, v.as.quantity.value, v.as.quantity.unit);
        return;
    case VALUE_TEXT:
        buffer_text(out, "\"");
        for (int i = 0; i < v.as.text.parts; i++) {
            const TextPart *part = &v.as.text.part[i];
            if (part->option >= 0)
                buffer_printf(out, "{%s}", e->option.at[part->option].node->as.option.name);
            else
                buffer_printf(out, "%.200s", part->text);
        }
        buffer_text(out, "\"");
        return;
    case VALUE_SYMBOL:
        buffer_text(out, v.as.symbol);
        return;
    case VALUE_LIST:
        show_list(e, v.as.list, "[", "]", out, depth);
        return;
    case VALUE_TUPLE:
        show_list(e, v.as.list, "(", ")", out, depth);
        return;
    case VALUE_RECORD:
        buffer_text(out, "{");
        for (int i = 0; i < v.as.record->count; i++) {
            buffer_printf(out, "%s%s: ", i ? ", " : " ", v.as.record->name[i]);
            show(e, v.as.record->at[i], out, depth + 1);
        }
        buffer_text(out, " }");
        return;
    case VALUE_RANGE:
        buffer_printf(out, "%" PRId64 "..%" PRId64, v.as.range.start, v.as.range.stop);
        return;
    case VALUE_FUNCTION:
        buffer_text(out,
                    declared_name(v.as.function->node) ? declared_name(v.as.function->node) : "fn");
        return;
    case VALUE_TYPE:
        show_type(v.as.type, out);
        return;
    case VALUE_DECLARATION:
        buffer_text(out, declared_name(v.as.node));
        return;
    case VALUE_INSTANCE:
        buffer_printf(out, "%s()",
                      v.as.instance->declaration ? declared_name(v.as.instance->declaration)
                                                 : "sequence");
        return;
    case VALUE_TENSOR:
        show_tensor(e, v.as.tensor.inst, v.as.tensor.classes, out);
        return;
    case VALUE_MEAN:
        buffer_text(out, "mean");
        return;
    case VALUE_TREE:
        buffer_printf(out, "tensors for %d weights", v.as.tree->count);
        return;
    case VALUE_CELL:
        buffer_text(out, v.as.cell->name);
        return;
    case VALUE_JOB:
        buffer_text(out, v.as.job.node->as.job.name);
        if (v.as.job.part)
            buffer_printf(out, ".%s", v.as.job.part);
        return;
    case VALUE_OPTION:
        buffer_text(out, e->option.at[v.as.option].node->as.option.name);
        return;
    case VALUE_LATER:
        buffer_text(out, "a number known when the program runs");
        return;
    case VALUE_DIM: {
        Dim *dim = v.as.dim;
        if (dim->known)
            buffer_printf(out, "%" PRId64, dim->value);
        else
            buffer_text(out, dim->name ? dim->name : "_");
        return;
    }
    case VALUE_REST:
        buffer_text(out, "...");
        return;
    }
}

const char *value_show(Elab *e, Value v)
{
    Buffer out = {.arena = e->cx->arena};
    buffer_text(&out, "");
    show(e, v, &out, 0);
    return out.text;
}

const char *value_what(Elab *e, Value v)
{
    Arena *arena = e->cx->arena;
    const char *shown = value_show(e, v);
    switch (v.kind) {
    case VALUE_POISON:
        return "a mistake reported elsewhere";
    case VALUE_NONE:
        return "none";
    case VALUE_BOOL:
        return arena_printf(arena, "the bool %s", shown);
    case VALUE_INT:
    case VALUE_DIM:
        return arena_printf(arena, "the int %s", shown);
    case VALUE_REAL:
        return arena_printf(arena, "the number %s", shown);
    case VALUE_QUANTITY:
        switch (v.as.quantity.unit) {
        case AML_UNIT_STEPS:
        case AML_UNIT_EPOCHS:
        case AML_UNIT_SECONDS:
            return arena_printf(arena, "the duration %s", shown);
        case AML_UNIT_BYTES:
            return arena_printf(arena, "the size %s", shown);
        case AML_UNIT_FRACTION:
            return arena_printf(arena, "the fraction %s", shown);
        case AML_UNIT_NONE:
            break;
        }
        return shown;
    case VALUE_TEXT:
        return arena_printf(arena, "the text %s", shown);
    case VALUE_SYMBOL:
        return arena_printf(arena, "the word '%s'", shown);
    case VALUE_LIST:
        return arena_printf(arena, "the list %s", shown);
    case VALUE_TUPLE:
        return arena_printf(arena, "the tuple %s", shown);
    case VALUE_RECORD:
        return arena_printf(arena, "the record %s", shown);
    case VALUE_RANGE:
        return arena_printf(arena, "the range %s", shown);
    case VALUE_FUNCTION:
        return declared_name(v.as.function->node) ? arena_printf(arena, "the function '%s'", shown)
                                                  : "a function";
    case VALUE_TYPE:
        return arena_printf(arena, "the type %s", shown);
    case VALUE_DECLARATION:
        return arena_printf(arena, "%s '%s', which is not called",
                            v.as.node->kind == NODE_Model    ? "the model"
                            : v.as.node->kind == NODE_Metric ? "the metric"
                                                             : "the optimizer",
                            shown);
    case VALUE_INSTANCE:
        return arena_printf(arena, "an instance %s", shown);
    case VALUE_TENSOR:
        return v.as.tensor.inst->type.rank == 0 ? arena_printf(arena, "a scalar %s", shown)
                                                : arena_printf(arena, "a tensor %s", shown);
    case VALUE_MEAN:
        return "the mean of a loss";
    case VALUE_TREE:
        return shown;
    case VALUE_CELL:
        return arena_printf(arena, "the %s '%s'",
                            v.as.cell->role == AML_ROLE_WEIGHT ? "weight" : "state", shown);
    case VALUE_JOB:
        return arena_printf(arena, "%s '%s'", v.as.job.node->as.job.kind, shown);
    case VALUE_OPTION:
        return arena_printf(arena, "the option '%s'", shown);
    case VALUE_LATER:
        return shown;
    case VALUE_HOLE:
        return "`_`";
    case VALUE_REST:
        return "`...`";
    }
    return shown;
}
