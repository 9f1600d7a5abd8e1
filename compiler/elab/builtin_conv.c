// builtin_conv.c: windows and convolutions. What users call are the layers and functions of std.nn,
// which check their arguments; here the shape rules do.

#include "elab/builtin.h"

static bool int_list(Elab *e, Value value, IntList *out, Span span)
{
    ValueList items;
    *out = (IntList){0};
    if (!elab_items(e, value, &items, "this", span))
        return false;
    if (items.count > IR_MAX_RANK) {
        report(e->cx, elab_span(e, span), too_large, "the number of axes");
        return false;
    }
    for (int i = 0; i < items.count; i++)
        if (!elab_int(e, items.at[i], &out->at[out->count++], "this", span))
            return false;
    return true;
}

static bool int_lists(Elab *e, const Value arg[], int count, Attr attr[], Span span)
{
    for (int i = 0; i < count; i++)
        if (!int_list(e, arg[i], &attr[i].list, span))
            return false;
    return true;
}

Value builtin_window(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "window", span);
    Attr attr[5];
    if (!x || !int_lists(e, arg + 1, 5, attr, span))
        return value_poison();
    Inst *in[] = {x, elab_tensor(e, arg[6], x->type.dtype, span)};
    return in[1] ? value_tensor(elab_emit(e, OP_window, in, 2, attr, (Type){0}, "'window'", span))
                 : value_poison();
}

Value builtin_unwindow(Elab *e, const Value arg[], Span span)
{
    Inst *x = builtin_tensor(e, arg[0], "unwindow", span);
    IntList size;
    Attr attr[4];
    if (!x || !int_list(e, arg[1], &size, span) || !int_lists(e, arg + 2, 4, attr, span))
        return value_poison();
    Type type = x->type;
    for (int i = 0; i < size.count && i < type.rank; i++)
        type.dim[type.rank - 1 - i] = size.at[size.count - 1 - i];
    return value_tensor(elab_emit(e, OP_unwindow, &x, 1, attr, type, "'unwindow'", span));
}

// conv, conv_input, conv_weight: two tensors, a shape but for conv, four lists, the groups.
static Value convolution(Elab *e, Op op, const Value arg[], const char *name, Span span)
{
    Inst *in[] = {builtin_tensor(e, arg[0], name, span), builtin_tensor(e, arg[1], name, span)};
    Attr attr[6] = {{{0}}};
    Type given = {0};
    int next = 2;
    if (!in[0] || !in[1])
        return value_poison();
    if (op != OP_conv && !elab_shape(e, arg[next++], &given.rank, given.dim, span))
        return value_poison();
    if (!int_lists(e, arg + next, 4, attr, span) ||
        !elab_int(e, arg[next + 4], &attr[4].whole, "the number of groups", span))
        return value_poison();
    return value_tensor(
        elab_emit(e, op, in, 2, attr, given, arena_printf(e->cx->arena, "'%s'", name), span));
}

Value builtin_conv(Elab *e, const Value arg[], Span span)
{
    return convolution(e, OP_conv, arg, "conv", span);
}

Value builtin_conv_input(Elab *e, const Value arg[], Span span)
{
    return convolution(e, OP_conv_input, arg, "conv_input", span);
}

Value builtin_conv_weight(Elab *e, const Value arg[], Span span)
{
    return convolution(e, OP_conv_weight, arg, "conv_weight", span);
}
