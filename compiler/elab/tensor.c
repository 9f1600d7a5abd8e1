// tensor.c: operators on tensors: lifting, broadcasting, indexing, matrix product.
//
// The instructions know no implicit broadcasting and no implicit conversion; what the language
// allows of both becomes explicit here. elab_emit asks the shape rule before it appends, so a
// mistake of the user never reaches the IR.

#include "elab/internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

Inst *elab_emit(Elab *e, Op op, Inst *const in[], int inputs, const Attr attr[], Type given,
                const char *what, Span span)
{
    span = elab_span(e, span);
    if (!e->trace) {
        report(e->cx, span, outside_trace, what);
        return NULL;
    }
    for (int i = 0; i < inputs; i++)
        if (!in[i])
            return NULL;
    Inst **operand = NEW_ARRAY(e->cx->arena, Inst *, inputs + 1);
    for (int i = 0; i < inputs; i++) {
        operand[i] = elab_capture(e, in[i]);
        if (operand[i]->function != e->trace->fn) {
            report(e->cx, span, outside_trace, what);
            note(e->cx, in[i]->span, "this tensor belongs to another function");
            return NULL;
        }
    }
    in = operand;
    if (!elab_tick(e, span, 4))
        return NULL;
    Type out;
    const char *why = "";
    if (op_result_types(e->cx->arena, op, in, inputs, attr, given, &out, 1, &why) < 0) {
        report(e->cx, span, impossible_operation, what, why);
        return NULL;
    }
    return ir_append(e->trace->fn, op, in, inputs, attr, given, span);
}

Inst *elab_cast(Elab *e, Inst *a, DType dtype, Span span)
{
    if (!a || a->type.dtype == dtype)
        return a;
    return elab_emit(e, OP_cast, &a, 1, NULL, type_scalar(dtype), "a conversion", span);
}

bool elab_is_runtime(Value v)
{
    return v.kind == VALUE_TENSOR || v.kind == VALUE_OPTION || v.kind == VALUE_LATER ||
           v.kind == VALUE_MEAN || v.kind == VALUE_CELL;
}

bool elab_possible(Elab *e, Type type, Span span)
{
    if (type_valid(type))
        return true;
    if (type.rank > IR_MAX_RANK) {
        report(e->cx, span, too_large, "the number of axes");
        return false;
    }
    const char *why = "it has more than 2**40 elements";
    for (int i = 0; i < type.rank; i++)
        if (type.dim[i] < 1)
            why = "a size is at least 1";
    report(e->cx, span, impossible_operation,
           arena_printf(e->cx->arena, "a tensor %s", type_text(e->cx->arena, type)), why);
    return false;
}

Inst *elab_full(Elab *e, DType dtype, int rank, const int64_t dim[], double value, Span span)
{
    if (!e->trace) {
        report(e->cx, span, outside_trace, "a tensor");
        return NULL;
    }
    if (!elab_possible(e, type_make(dtype, rank, dim), elab_span(e, span)))
        return NULL;
    return ir_real(e->trace->fn, type_make(dtype, rank, dim), value, elab_span(e, span));
}

// ---- from values to tensors ---------------------------------------------------------------------

// The range of an integer element type.
static bool fits_dtype(DType dtype, double value)
{
    if (dtype_info[dtype].kind == KIND_BOOL)
        return value == 0 || value == 1;
    if (dtype_info[dtype].kind == KIND_FLOAT)
        return true;
    int bits = 8 * dtype_info[dtype].bytes;
    double low = dtype == DTYPE_U8 ? 0 : -ldexp(1, bits - 1),
           high = dtype == DTYPE_U8 ? 255 : ldexp(1, bits - 1) - 1;
    return value >= low && value <= high;
}

static Inst *option_tensor(Elab *e, int option, DType dtype, Span span)
{
    const OptionEntry *entry = &e->option.at[option];
    DType own = entry->dtype;
    if (dtype_info[own].kind == KIND_FLOAT)
        own =
            dtype_info[dtype].kind == KIND_FLOAT && dtype_info[dtype].bytes >= 4 ? dtype : e->real;
    Inst *scalar = elab_scalar(e, AML_SCALAR_OPTION, option, own, span);
    if (scalar && dtype_info[own].kind == KIND_INT && dtype_info[dtype].kind == KIND_FLOAT)
        return elab_cast(e, scalar, dtype, span);
    return scalar;
}

Inst *elab_tensor_for(Elab *e, const char *what, Value value, DType dtype, Span span)
{
    if (value.kind == VALUE_LATER || value.kind == VALUE_CELL)
        value = elab_read(e, value, span);
    switch ((int)value.kind) {
    case VALUE_POISON:
        return NULL;
    case VALUE_TENSOR:
        return value.as.tensor.inst;
    case VALUE_MEAN: {
        Inst *in[] = {value.as.mean.sum, value.as.mean.count};
        return elab_emit(e, OP_div, in, 2, NULL, (Type){0}, "a mean", span);
    }
    case VALUE_OPTION:
        return option_tensor(e, value.as.option, dtype, span);
    case VALUE_BOOL:
        return elab_full(e, DTYPE_BOOL, 0, NULL, (double)value.as.whole, span);
    case VALUE_QUANTITY:
        if (value.as.quantity.unit == AML_UNIT_FRACTION && value.as.quantity.option >= 0)
            return option_tensor(e, value.as.quantity.option, dtype, span);
        break;
    default:
        break;
    }
    if (!value_is_number(value)) {
        report(e->cx, elab_span(e, span), type_mismatch, what, "a tensor or a number",
               value_what(e, value));
        return NULL;
    }
    double number = value_number(value);
    if (dtype_info[dtype].kind != KIND_FLOAT && number != floor(number)) {
        report(e->cx, elab_span(e, span), fraction_for_integer, what, value_show(e, value),
               dtype_info[dtype].name);
        help(e->cx, "convert the tensor with `float(...)`");
        return NULL;
    }
    if (!fits_dtype(dtype, number)) {
        report(e->cx, elab_span(e, span), literal_out_of_range, value_show(e, value),
               dtype_info[dtype].name);
        return NULL;
    }
    if (!e->trace) {
        report(e->cx, elab_span(e, span), outside_trace, "a tensor");
        return NULL;
    }
    if (value.kind == VALUE_INT && dtype == DTYPE_I64) // exact beyond 2^53
        return ir_constant(e->trace->fn, type_scalar(dtype), &value.as.whole, true,
                           elab_span(e, span));
    return elab_full(e, dtype, 0, NULL, number, span);
}

Inst *elab_tensor(Elab *e, Value value, DType dtype, Span span)
{
    return elab_tensor_for(e, "this", value, dtype, span);
}

Inst *elab_scalar_tensor(Elab *e, Value value, Span span)
{
    Inst *inst = elab_tensor_for(e, "a loss", value, e->real, span);
    if (!inst)
        return NULL;
    if (inst->type.rank != 0 || dtype_info[inst->type.dtype].kind != KIND_FLOAT) {
        report(e->cx, elab_span(e, span), type_mismatch, "a loss", "a float scalar",
               value_what(e, value_tensor(inst)));
        if (inst->type.rank > 0)
            help(e->cx, "take the mean over the samples: `mean_over(n, terms)`");
        return NULL;
    }
    return elab_cast(e, inst, e->real, span);
}

// ---- broadcasting -------------------------------------------------------------------------------

Inst *elab_broadcast_to(Elab *e, Inst *a, Type type, const char *what, Span span)
{
    if (!a)
        return NULL;
    type.dtype = a->type.dtype;
    if (type_equal(a->type, type))
        return a;
    IntList axes = {.count = a->type.rank};
    bool fits = a->type.rank <= type.rank;
    for (int i = 0; fits && i < a->type.rank; i++) {
        axes.at[i] = type.rank - a->type.rank + i;
        int64_t from = a->type.dim[i], to = type.dim[axes.at[i]];
        fits = from == to || from == 1;
    }
    if (!fits) {
        const char *from = type_text(e->cx->arena, a->type), *to = type_text(e->cx->arena, type);
        report(e->cx, elab_span(e, span), shape_mismatch, what, to, from);
        report_shapes(e->cx, "expected", to, "found", from);
        return NULL;
    }
    double splat;
    if (e->trace && type_valid(type) && a->op == OP_constant && a->attr[0].data.splat &&
        inst_is_splat(a, &splat))
        return ir_constant(e->trace->fn, type, a->attr[0].data.at, true, elab_span(e, span));
    Attr attr = {.list = axes};
    return elab_emit(e, OP_broadcast, &a, 1, &attr, type, what, span);
}

static void report_operands(Elab *e, const Inst *a, const Inst *b, const char *what, Span span)
{
    const char *left = type_text(e->cx->arena, a->type), *right = type_text(e->cx->arena, b->type);
    report(e->cx, elab_span(e, span), shape_mismatch, what,
           arena_printf(e->cx->arena, "sizes that agree with %s", left), right);
    report_shapes(e->cx, "left", left, "right", right);
}

bool elab_broadcast(Elab *e, Inst **a, Inst **b, const char *what, Span span)
{
    Type x = (*a)->type, y = (*b)->type;
    if (shape_equal(x, y))
        return true;
    if (e->strict && x.rank > 0 && y.rank > 0) {
        report_operands(e, *a, *b, what, span);
        help(e->cx,
             "losses and metrics do not broadcast; if it is meant, say so with `broadcast_to`");
        return false;
    }
    int rank = x.rank > y.rank ? x.rank : y.rank;
    int64_t dim[IR_MAX_RANK];
    // Which operand has an axis stretched or (among axes that are not 1 in the other) repeated.
    bool stretched_a = false, stretched_b = false, repeated_a = false, repeated_b = false;
    for (int i = 0; i < rank; i++) {
        int at_x = i - (rank - x.rank), at_y = i - (rank - y.rank);
        int64_t from_x = at_x >= 0 ? x.dim[at_x] : 1, from_y = at_y >= 0 ? y.dim[at_y] : 1;
        if (from_x != from_y && from_x != 1 && from_y != 1) {
            report_operands(e, *a, *b, what, span);
            return false;
        }
        dim[i] = from_x == 1 ? from_y : from_x;
        if (dim[i] != from_x)
            *(at_x >= 0 ? &stretched_a : &repeated_a) = true;
        if (dim[i] != from_y)
            *(at_y >= 0 ? &stretched_b : &repeated_b) = true;
    }
    if ((stretched_a || repeated_a) && (stretched_b || repeated_b)) {
        const char *left = shape_text(e->cx->arena, x), *right = shape_text(e->cx->arena, y);
        report(e->cx, elab_span(e, span), both_stretched, what, left, right);
        report_shapes(e->cx, "left", left, "right", right);
        if (x.rank != y.rank)
            help(e->cx, "element by element: drop the axis of size 1 with `squeeze(..., axis: %d)`",
                 (x.rank > y.rank ? x.rank : y.rank) - 1);
        else
            help(e->cx, "element by element: bring both to one shape with `reshape`");
        help(e->cx, "every pair: say so with `broadcast_to(..., %s)`",
             shape_text(e->cx->arena, type_make(DTYPE_F32, rank, dim)));
        return false;
    }
    Type common = type_make(x.dtype, rank, dim);
    *a = elab_broadcast_to(e, *a, common, what, span);
    *b = elab_broadcast_to(e, *b, common, what, span);
    return *a && *b;
}

// The element type a number takes when it meets `other`.
static DType meet(Elab *e, Value number, Value other)
{
    if (other.kind == VALUE_TENSOR) {
        DType dtype = other.as.tensor.inst->type.dtype;
        if (dtype != DTYPE_BOOL || number.kind == VALUE_BOOL)
            return dtype;
    }
    return e->real;
}

bool elab_pair(Elab *e, Value a, Value b, Inst **x, Inst **y, bool broadcast, const char *what,
               Span span)
{
    if (a.kind == VALUE_LATER || a.kind == VALUE_CELL)
        a = elab_read(e, a, span);
    if (b.kind == VALUE_LATER || b.kind == VALUE_CELL)
        b = elab_read(e, b, span);
    if (a.kind == VALUE_MEAN)
        a = value_tensor(elab_tensor(e, a, e->real, span));
    if (b.kind == VALUE_MEAN)
        b = value_tensor(elab_tensor(e, b, e->real, span));
    *x = *y = NULL;
    bool fixed_a = a.kind == VALUE_TENSOR, fixed_b = b.kind == VALUE_TENSOR;
    if (a.kind == VALUE_POISON || b.kind == VALUE_POISON)
        return false;
    if (!fixed_a && value_is_number(a) && fixed_b && b.as.tensor.inst->type.dtype == DTYPE_BOOL) {
        report(e->cx, elab_span(e, span), dtype_mismatch, what, value_what(e, a), value_what(e, b));
        return false;
    }
    if (!fixed_b && value_is_number(b) && fixed_a && a.as.tensor.inst->type.dtype == DTYPE_BOOL) {
        report(e->cx, elab_span(e, span), dtype_mismatch, what, value_what(e, a), value_what(e, b));
        return false;
    }
    // Two options: the float decides.
    DType of_a = meet(e, a, b), of_b = meet(e, b, a);
    *x = elab_tensor(e, a, of_a, span);
    *y = elab_tensor(e, b, of_b, span);
    if (!*x || !*y)
        return false;
    if ((*x)->type.dtype != (*y)->type.dtype) {
        if (!fixed_a && dtype_info[(*x)->type.dtype].kind == KIND_INT)
            *x = elab_cast(e, *x, (*y)->type.dtype, span);
        else if (!fixed_b && dtype_info[(*y)->type.dtype].kind == KIND_INT)
            *y = elab_cast(e, *y, (*x)->type.dtype, span);
        else if (!fixed_a && dtype_info[(*x)->type.dtype].kind == dtype_info[(*y)->type.dtype].kind)
            *x = elab_cast(e, *x, (*y)->type.dtype, span);
        else if (!fixed_b && dtype_info[(*x)->type.dtype].kind == dtype_info[(*y)->type.dtype].kind)
            *y = elab_cast(e, *y, (*x)->type.dtype, span);
    }
    if ((*x)->type.dtype != (*y)->type.dtype) {
        Type left = (*x)->type, right = (*y)->type;
        report(e->cx, elab_span(e, span), dtype_mismatch, what, type_text(e->cx->arena, left),
               type_text(e->cx->arena, right));
        bool float_left = dtype_info[left.dtype].kind == KIND_FLOAT;
        help(e->cx, "convert one of them, for example with `%s(...)`",
             dtype_info[float_left ? left.dtype : right.dtype].name);
        return false;
    }
    return !broadcast || elab_broadcast(e, x, y, what, span);
}

// ---- conversions --------------------------------------------------------------------------------

static Value convert_number(Elab *e, double number, bool whole, int64_t exact,
                            const TypeValue *type, Span span)
{
    if (dtype_info[type->dtype].kind == KIND_BOOL)
        return value_bool(number != 0);
    if (dtype_info[type->dtype].kind == KIND_FLOAT)
        return value_real(number);
    if (whole && fits_dtype(type->dtype, number))
        return value_int(exact);
    double cut = trunc(number);
    if (isnan(cut) || fabs(cut) >= 9.2e18 || !fits_dtype(type->dtype, cut)) {
        report(e->cx, span, literal_out_of_range, value_show(e, value_real(number)), type->element);
        return value_poison();
    }
    return value_int((int64_t)cut);
}

// Whether 0 to classes - 1 stay what they are.
static bool classes_fit(DType dtype, int64_t classes)
{
    return classes <= (dtype == DTYPE_I8 ? 128 : dtype == DTYPE_U8 ? 256 : INT32_MAX);
}

Value elab_convert(Elab *e, Value value, const TypeValue *type, Span span)
{
    value = elab_read(e, value, span);
    if (value.kind == VALUE_POISON)
        return value;
    if (value.kind == VALUE_BOOL)
        return convert_number(e, (double)value.as.whole, true, value.as.whole, type, span);
    if (value_is_number(value))
        return convert_number(e, value_number(value), value.kind == VALUE_INT,
                              value.kind == VALUE_INT ? value.as.whole : 0, type, span);
    if (elab_is_runtime(value)) {
        Inst *inst = elab_tensor(e, value, type->dtype, span);
        if (!inst)
            return value_poison();
        int64_t classes = inst->type.dtype == DTYPE_BOOL ? 2 : value_classes(value);
        bool keeps = dtype_info[type->dtype].kind == KIND_INT && classes_fit(type->dtype, classes);
        // `float` is any float that is there already; only other elements are converted to the
        // job's precision.
        if (strcmp(type->element, "float") == 0 && dtype_info[inst->type.dtype].kind == KIND_FLOAT)
            return value_tensor(inst);
        return value_class(elab_cast(e, inst, type->dtype, span), keeps ? classes : 0);
    }
    if (value.kind == VALUE_LIST || value.kind == VALUE_TUPLE) {
        Value copy = value;
        copy.as.list.at = NEW_ARRAY(e->cx->arena, Value, value.as.list.count + 1);
        for (int i = 0; i < value.as.list.count; i++)
            copy.as.list.at[i] = elab_convert(e, value.as.list.at[i], type, span);
        return copy;
    }
    report(e->cx, span, type_mismatch,
           arena_printf(e->cx->arena, "the argument of '%s'", type->element),
           "a number or a tensor", value_what(e, value));
    return value_poison();
}

// ---- matrix product -----------------------------------------------------------------------------

Inst *elab_matmul(Elab *e, Inst *a, Inst *b, Span span)
{
    if (a->type.dtype != b->type.dtype) {
        report(e->cx, elab_span(e, span), dtype_mismatch, "'@'", type_text(e->cx->arena, a->type),
               type_text(e->cx->arena, b->type));
        return NULL;
    }
    if (a->type.rank == 0 || b->type.rank == 0) {
        report(e->cx, elab_span(e, span), shape_mismatch, "'@'",
               "tensors with at least one axis each",
               arena_printf(e->cx->arena, "%s and %s", type_text(e->cx->arena, a->type),
                            type_text(e->cx->arena, b->type)));
        return NULL;
    }
    const Type written = a->type;
    int batch = b->type.rank > 2 ? b->type.rank - 2
                                 : 0; // leading axes of b; a's other leading axes are rows
    int contract_a = a->type.rank - 1, contract_b = b->type.rank == 1 ? 0 : b->type.rank - 2;
    bool fits = a->type.dim[contract_a] == b->type.dim[contract_b];
    int leading_a = a->type.rank - 2 > 0 ? a->type.rank - 2 : 0;
    if (batch > 0 && leading_a == 0 && fits && a->type.rank >= 1) { // one matrix against many
        int64_t dim[IR_MAX_RANK];
        memcpy(dim, b->type.dim, sizeof dim);
        int rows = a->type.rank == 2 ? 1 : 0;
        if (rows)
            dim[batch] = a->type.dim[0];
        dim[batch + rows] = a->type.dim[contract_a];
        a = elab_broadcast_to(e, a, type_make(a->type.dtype, batch + rows + 1, dim), "'@'", span);
        if (!a)
            return NULL;
        contract_a = a->type.rank - 1;
        leading_a = batch;
    }
    for (int i = 0; i < batch; i++)
        fits = fits && batch == leading_a && a->type.dim[i] == b->type.dim[i];
    if (!fits) {
        const char *left = type_text(e->cx->arena, written),
                   *right = type_text(e->cx->arena, b->type);
        report(e->cx, elab_span(e, span), shape_mismatch, "'@'",
               batch == 0 ? arena_printf(e->cx->arena, "a right operand with %" PRId64 " rows",
                                         a->type.dim[contract_a])
                          : arena_printf(e->cx->arena, "sizes that agree with %s", left),
               right);
        if (batch > 0) // only then do the axes stand one under the other
            report_shapes(e->cx, "left", left, "right", right);
        note(e->cx, a->span, "the left operand, %s, is made here", left);
        note(e->cx, b->span, "the right operand, %s, is made here", right);
        return NULL;
    }
    IntList over_a = {1, {contract_a}}, over_b = {1, {contract_b}}, batches = {.count = batch};
    for (int i = 0; i < batch; i++)
        batches.at[i] = i;
    Attr attr[] = {{.list = over_a}, {.list = over_b}, {.list = batches}, {.list = batches}};
    Inst *in[] = {a, b};
    return elab_emit(e, OP_dot, in, 2, attr, (Type){0}, "'@'", span);
}

// ---- axes, shapes, indexing ---------------------------------------------------------------------

bool elab_axis(Elab *e, Value axis, int rank, int *out, Span span)
{
    int64_t at;
    if (!elab_int(e, axis, &at, "an axis", span))
        return false;
    if (at < -rank || at >= rank) {
        report(e->cx, elab_span(e, span), bad_axis, (long long)at, -rank, rank - 1, rank);
        return false;
    }
    *out = (int)(at < 0 ? at + rank : at);
    return true;
}

bool elab_shape(Elab *e, Value list, int *rank, int64_t dim[], Span span)
{
    ValueList items;
    if (!elab_items(e, list, &items, "a shape", span))
        return false;
    if (items.count > IR_MAX_RANK) {
        report(e->cx, elab_span(e, span), too_large,
               arena_printf(e->cx->arena, "a shape with %d axes (at most %d)", items.count,
                            IR_MAX_RANK));
        return false;
    }
    *rank = items.count;
    for (int i = 0; i < items.count; i++)
        if (!elab_int(e, items.at[i], &dim[i], "a size", span))
            return false;
    return true;
}

// One axis of x[...]: start..stop by step, dropped if a single index was given.
typedef struct Cut {
    int64_t start, stop, step;
    bool drop;
} Cut;

// A slice as it was written: `5:`, `1:9:2`.
static const char *slice_text(Elab *e, Value slice)
{
    if (slice.kind == VALUE_RANGE)
        return value_show(e, slice);
    Sym names[] = {e->names->start, e->names->stop, e->names->step};
    Buffer text = {.arena = e->cx->arena};
    for (int i = 0; i < 3; i++) {
        const Value *part = record_get(slice, names[i]);
        if (i == 2 && part->kind == VALUE_NONE)
            break;
        buffer_printf(&text, "%s%s", i ? ":" : "",
                      part->kind == VALUE_NONE ? "" : value_show(e, *part));
    }
    return text.text;
}

// None as a start or stop means the end of the axis; a slice is a record { start, stop, step } made
// by eval.
static bool cut_of(Elab *e, Value item, int64_t size, Cut *cut, Span span)
{
    *cut = (Cut){0, size, 1, false};
    if (item.kind == VALUE_INT) {
        int64_t at = item.as.whole < 0 ? item.as.whole + size : item.as.whole;
        if (at < 0 || at >= size) {
            report(e->cx, elab_span(e, span), index_out_of_range, (long long)item.as.whole,
                   (long long)-size, (long long)(size - 1));
            return false;
        }
        *cut = (Cut){at, at + 1, 1, true};
        return true;
    }
    int64_t start = 0, stop = size, step = 1;
    if (item.kind == VALUE_RANGE) {
        start = item.as.range.start;
        stop = item.as.range.stop;
    } else {
        const Value *from = record_get(item, e->names->start),
                    *to = record_get(item, e->names->stop), *by = record_get(item, e->names->step);
        if (!from || !to || !by) {
            report(e->cx, elab_span(e, span), bad_index, "a tensor or list", value_what(e, item));
            return false;
        }
        if ((from->kind != VALUE_NONE &&
             !elab_int(e, *from, &start, "the start of a slice", span)) ||
            (to->kind != VALUE_NONE && !elab_int(e, *to, &stop, "the end of a slice", span)) ||
            (by->kind != VALUE_NONE && !elab_int(e, *by, &step, "the step of a slice", span)))
            return false;
    }
    int64_t first = start < 0 ? start + size : start, end = stop < 0 ? stop + size : stop;
    if (step < 1 || first < 0 || end > size || first > end) {
        report(e->cx, elab_span(e, span), bad_index,
               arena_printf(e->cx->arena, "%" PRId64 " element%s", size, size == 1 ? "" : "s"),
               slice_text(e, item));
        if (step < 1)
            help(e->cx, "a step is at least 1");
        else if (first > end)
            help(e->cx, "the end is before the start");
        else
            help(e->cx,
                 "positions go from 0 to %" PRId64 ", or from -%" PRId64
                 " to -1 counted from the end",
                 size, size);
        return false;
    }
    start = first;
    stop = end;
    *cut = (Cut){start, stop, step, false};
    return true;
}

static Value index_list(Elab *e, Value object, Value item, Span span)
{
    ValueList items;
    Cut cut;
    if (!elab_items(e, object, &items, "this", span) || !cut_of(e, item, items.count, &cut, span))
        return value_poison();
    if (cut.drop)
        return items.at[cut.start];
    Vec(Value) picked = {0};
    for (int64_t i = cut.start; i < cut.stop && elab_tick(e, span, 1); i += cut.step)
        vec_push(e->cx->arena, &picked, items.at[i]);
    return value_list(e, picked.count, picked.at);
}

static Value index_text(Elab *e, Value object, Value item, Span span)
{
    Sym text = value_plain_text(object);
    Cut cut;
    if (!text) {
        report(e->cx, span, not_static, "a text that is indexed", value_what(e, object));
        return value_poison();
    }
    if (!cut_of(e, item, (int64_t)strlen(text), &cut, span))
        return value_poison();
    if (cut.step != 1) {
        report(e->cx, span, bad_index, "a text", "a step");
        return value_poison();
    }
    return value_text(e,
                      arena_text(e->cx->scratch, text + cut.start, (size_t)(cut.stop - cut.start)));
}

static Value gather_rows(Elab *e, Inst *x, int axis, Inst *index, Span span)
{
    Inst *in[] = {x, index};
    Attr attr = {.whole = axis};
    return value_tensor(elab_emit(e, OP_gather, in, 2, &attr, (Type){0}, "an index", span));
}

static Value index_tensor(Elab *e, Value object, const Value items[], int count, Span span)
{
    Inst *x = object.as.tensor.inst;
    Type type = x->type;
    int rest = -1, given = 0;
    for (int i = 0; i < count; i++)
        if (items[i].kind == VALUE_REST) {
            if (rest >= 0) {
                report(e->cx, elab_span(e, span), bad_index, value_what(e, object), "two `...`");
                return value_poison();
            }
            rest = i;
        } else
            given++;
    if (given > type.rank) {
        report(e->cx, elab_span(e, span), bad_index, value_what(e, object),
               arena_printf(e->cx->arena, "%d indices", given));
        return value_poison();
    }
    Attr attr[3] = {{.list = {.count = type.rank}},
                    {.list = {.count = type.rank}},
                    {.list = {.count = type.rank}}};
    bool drop[IR_MAX_RANK] = {0}, whole = true;
    Inst *picked = NULL;
    int picked_axis = 0;
    for (int i = 0, axis = 0; i < count || axis < type.rank; i++) {
        if (i < count && items[i].kind == VALUE_REST) {
            for (int skipped = type.rank - given; skipped > 0; skipped--, axis++) {
                attr[0].list.at[axis] = 0;
                attr[1].list.at[axis] = type.dim[axis];
                attr[2].list.at[axis] = 1;
            }
            continue;
        }
        if (axis >= type.rank)
            break;
        Cut cut = {0, type.dim[axis], 1, false};
        if (i < count && items[i].kind == VALUE_TENSOR && !picked) {
            picked = items[i].as.tensor.inst;
            picked_axis = axis;
        } else if (i < count && !cut_of(e, items[i], type.dim[axis], &cut, span))
            return value_poison();
        attr[0].list.at[axis] = cut.start;
        attr[1].list.at[axis] = cut.stop;
        attr[2].list.at[axis] = cut.step;
        drop[axis] = cut.drop;
        whole = whole && cut.start == 0 && cut.stop == type.dim[axis] && cut.step == 1;
        axis++;
    }
    Inst *y = whole ? x : elab_emit(e, OP_slice, &x, 1, attr, (Type){0}, "a slice", span);
    if (!y)
        return value_poison();
    Type kept = {.dtype = type.dtype};
    int gather_axis = 0;
    for (int i = 0; i < type.rank; i++) {
        if (i == picked_axis)
            gather_axis = kept.rank;
        if (!drop[i])
            kept.dim[kept.rank++] = y->type.dim[i];
    }
    if (kept.rank != type.rank)
        y = elab_emit(e, OP_reshape, &y, 1, NULL, kept, "an index", span);
    if (picked && y)
        return gather_rows(e, y, gather_axis, picked, span);
    return value_class(y, object.as.tensor.classes);
}

Value elab_index(Elab *e, Value object, const Value items[], int count, Span span)
{
    if (object.kind == VALUE_POISON)
        return object;
    for (int i = 0; i < count; i++)
        if (items[i].kind == VALUE_POISON)
            return items[i];
    if (object.kind == VALUE_TENSOR)
        return index_tensor(e, object, items, count, span);
    int64_t at;
    if (object.kind == VALUE_INSTANCE && count == 1 && !object.as.instance->declaration)
        return elab_int(e, items[0], &at, "the index of a model", span)
                   ? repeat_part(e, object.as.instance, at, span)
                   : value_poison();
    bool list =
        object.kind == VALUE_LIST || object.kind == VALUE_TUPLE || object.kind == VALUE_RANGE;
    if (count != 1 || (!list && object.kind != VALUE_TEXT && object.kind != VALUE_RECORD)) {
        report(e->cx, elab_span(e, span), bad_index, value_what(e, object),
               count == 1 ? value_what(e, items[0]) : "several indices");
        return value_poison();
    }
    if (list)
        return index_list(e, object, items[0], span);
    if (object.kind == VALUE_TEXT)
        return index_text(e, object, items[0], span);
    Sym key = items[0].kind == VALUE_SYMBOL ? items[0].as.symbol : value_plain_text(items[0]);
    if (!key) {
        report(e->cx, elab_span(e, span), bad_index, value_what(e, object),
               value_what(e, items[0]));
        return value_poison();
    }
    return elab_member(e, object, key, span);
}
