// build.c: making and changing functions, with exact use counts.

#include <string.h>

#include "diag/diag.h"
#include "ir/ir.h"

static IrFunction *outermost(IrFunction *fn)
{
    while (fn->parent)
        fn = fn->parent;
    return fn;
}

IrModule *ir_module_new(Cx *cx)
{
    IrModule *module = NEW(cx->arena, IrModule);
    module->cx = cx;
    return module;
}

IrFunction *ir_function_new(Cx *cx, IrModule *module, Sym name, Span span)
{
    IrFunction *fn = NEW(cx->arena, IrFunction);
    fn->cx = cx;
    fn->name = name;
    fn->span = span;
    if (module)
        vec_push(cx->arena, &module->function, fn);
    return fn;
}

IrFunction *ir_function_find(const IrModule *module, Sym name)
{
    for (int i = 0; i < module->function.count; i++)
        if (module->function.at[i]->name == name)
            return module->function.at[i];
    return NULL;
}

Inst *ir_param(IrFunction *fn, Type type, Slot slot, Sym name, Span span)
{
    if (!type_valid(type))
        bug(fn->cx, span, "a parameter of an impossible type");
    Inst *inst = NEW(fn->cx->arena, Inst);
    inst->op = OP_parameter;
    inst->id = outermost(fn)->next_id++;
    inst->attr[0].whole = fn->param.count;
    inst->type = type;
    inst->results = 1;
    inst->span = span;
    inst->name = name;
    inst->function = fn;
    vec_push(fn->cx->arena, &fn->param, inst);
    vec_push(fn->cx->arena, &fn->param_slot, slot);
    return inst;
}

void ir_result(IrFunction *fn, Inst *value, Slot slot, Sym name)
{
    IrResult result = {value, slot, name};
    value->uses++;
    vec_push(fn->cx->arena, &fn->result, result);
}

// A body was built on its own, with numbers of its own: from now on they are the outermost
// function's.
static void adopt(IrFunction *parent, IrFunction *body)
{
    IrFunction *root = outermost(parent);
    body->parent = parent;
    for (int i = 0; i < body->param.count; i++)
        body->param.at[i]->id = root->next_id++;
    for (Inst *inst = body->first; inst; inst = inst->next) {
        inst->id = root->next_id++;
        IrFunction *nested = inst_nested(inst);
        if (nested)
            adopt(body, nested);
    }
}

enum { MOST_RESULTS = 3 }; // of an op without a body

static Inst *make(IrFunction *fn, Op op, Inst *const in[], int inputs, const Attr attr[],
                  Type given, Span span)
{
    Cx *cx = fn->cx;
    int room = 1;
    for (int i = 0; i < op_info[op].attrs; i++) {
        AttrKind kind = op_info[op].attr[i].kind;
        if ((kind == ATTR_Body || kind == ATTR_Callee) && attr[i].function)
            room = attr[i].function->result.count;
    }
    if (room < MOST_RESULTS && op_has(op, MULTI))
        room = MOST_RESULTS;
    Type single, *types = room > 1 ? NEW_ARRAY(cx->arena, Type, room) : &single;
    const char *why = "";
    if (op == OP_parameter)
        bug(cx, span, "parameters are made by ir_param");
    int results = op_result_types(cx->arena, op, in, inputs, attr, given, types, room, &why);
    if (results < 0)
        bug(cx, span, "ill-formed '%s': %s", op_info[op].name, why);

    Inst *inst = NEW(cx->arena, Inst);
    inst->op = op;
    inst->id = outermost(fn)->next_id++;
    inst->inputs = inputs;
    inst->input = inputs ? NEW_ARRAY(cx->arena, Inst *, inputs) : NULL;
    for (int i = 0; i < inputs; i++) {
        inst->input[i] = in[i];
        in[i]->uses++;
    }
    if (op_info[op].attrs)
        memcpy(inst->attr, attr, sizeof(Attr) * (size_t)op_info[op].attrs);
    inst->type = types[0];
    inst->results = results;
    inst->result_type = results > 1 ? types : NULL;
    inst->span = span;
    inst->function = fn;
    IrFunction *body = inst_nested(inst);
    if (body) {
        if (body->parent || body->name)
            bug(cx, span, "a body belongs to one instruction");
        adopt(fn, body);
    }
    return inst;
}

// place NULL: at the end
static Inst *put(IrFunction *fn, Inst *place, Inst *inst)
{
    inst->next = place;
    inst->prev = place ? place->prev : fn->last;
    if (inst->prev)
        inst->prev->next = inst;
    else
        fn->first = inst;
    if (place)
        place->prev = inst;
    else
        fn->last = inst;
    return inst;
}

Inst *ir_append(IrFunction *fn, Op op, Inst *const in[], int inputs, const Attr attr[], Type given,
                Span span)
{
    return put(fn, NULL, make(fn, op, in, inputs, attr, given, span));
}

Inst *ir_insert_before(Inst *place, Op op, Inst *const in[], int inputs, const Attr attr[],
                       Type given, Span span)
{
    return put(place->function, place, make(place->function, op, in, inputs, attr, given, span));
}

void ir_move_last(IrFunction *fn, Inst *inst)
{
    if (fn->last == inst)
        return;
    if (inst->prev)
        inst->prev->next = inst->next;
    else
        fn->first = inst->next;
    inst->next->prev = inst->prev;
    inst->prev = fn->last;
    inst->next = NULL;
    fn->last->next = inst;
    fn->last = inst;
}

void ir_remove(IrFunction *fn, Inst *inst)
{
    if (inst->uses > 0 || inst->function != fn || inst->op == OP_parameter)
        bug(fn->cx, inst->span, "'%s' cannot be removed: it has %d readers", op_info[inst->op].name,
            inst->uses);
    for (int i = 0; i < inst->inputs; i++)
        inst->input[i]->uses--;
    if (inst->prev)
        inst->prev->next = inst->next;
    else
        fn->first = inst->next;
    if (inst->next)
        inst->next->prev = inst->prev;
    else
        fn->last = inst->prev;
    inst->function = NULL;
}

void ir_set_input(Inst *inst, int index, Inst *to)
{
    to->uses++;
    inst->input[index]->uses--;
    inst->input[index] = to;
}

void ir_set_result_type(Inst *inst, int result, Type type)
{
    if (inst->results == 1) {
        inst->type = type;
        return;
    }
    Type *types = NEW_ARRAY(inst->function->cx->arena, Type, inst->results);
    memcpy(types, inst->result_type, sizeof *types * (size_t)inst->results);
    types[result] = type;
    inst->result_type = types;
    inst->type = types[0];
}

void ir_replace_uses(IrFunction *fn, Inst *from, Inst *to)
{
    Inst *inst =
        from->op == OP_parameter ? fn->first : from->next; // nothing above a value reads it
    for (; inst && from->uses > 0; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == from)
                ir_set_input(inst, i, to);
    for (int i = 0; i < fn->result.count && from->uses > 0; i++)
        if (fn->result.at[i].value == from) {
            fn->result.at[i].value = to;
            from->uses--;
            to->uses++;
        }
}

static Inst *clone(IrFunction *fn, Inst *place, const Inst *inst, Inst *const in[])
{
    Attr attr[IR_MAX_ATTRS];
    memcpy(attr, inst->attr, sizeof attr);
    for (int i = 0; i < op_info[inst->op].attrs; i++)
        if (op_info[inst->op].attr[i].kind == ATTR_Body)
            attr[i].function = ir_clone_function(attr[i].function, NULL, NULL);
    Inst *copy = put(fn, place, make(fn, inst->op, in, inst->inputs, attr, inst->type, inst->span));
    copy->name = inst->name;
    return copy;
}

Inst *ir_clone_into(IrFunction *fn, const Inst *inst, Inst *const in[])
{
    return clone(fn, NULL, inst, in);
}

Inst *ir_clone_before(Inst *place, const Inst *inst, Inst *const in[])
{
    return clone(place->function, place, inst, in);
}

IrFunction *ir_clone_function(IrFunction *fn, IrModule *into, Sym name)
{
    Cx *cx = fn->cx;
    IrFunction *copy = ir_function_new(cx, into, name, fn->span);
    copy->mixed = fn->mixed;
    copy->memory = fn->memory;
    copy->budget = fn->budget;
    copy->memory_span = fn->memory_span;
    copy->scattered = fn->scattered;
    copy->kernel = fn->kernel;
    memcpy(copy->kernel_attr, fn->kernel_attr, sizeof copy->kernel_attr);
    Inst **twin = NEW_ARRAY(cx->arena, Inst *, outermost(fn)->next_id); // by id
    for (int i = 0; i < fn->param.count; i++) {
        const Inst *param = fn->param.at[i];
        twin[param->id] =
            ir_param(copy, param->type, fn->param_slot.at[i], param->name, param->span);
    }
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(cx->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        twin[inst->id] = ir_clone_into(copy, inst, in);
    }
    for (int i = 0; i < fn->result.count; i++)
        ir_result(copy, twin[fn->result.at[i].value->id], fn->result.at[i].slot,
                  fn->result.at[i].name);
    return copy;
}

Inst *ir_loop_set_body(Inst *loop, IrFunction *body)
{
    IrFunction *fn = loop->function;
    Attr attr[IR_MAX_ATTRS];
    memcpy(attr, loop->attr, sizeof attr);
    attr[3].function = body;
    Inst *made =
        ir_insert_before(loop, OP_loop, loop->input, loop->inputs, attr, (Type){0}, loop->span);
    made->name = loop->name;
    if (loop->results > 1) {
        for (Inst *get = loop->next; get && loop->uses > 0; get = get->next)
            if (get->op == OP_get && get->input[0] == loop)
                ir_set_input(get, 0, made);
        ir_remove(fn, loop);
        return made;
    }
    if (made->results == 1) {
        ir_replace_uses(fn, loop, made);
        ir_remove(fn, loop);
        return made;
    }
    for (int i = 0; i < loop->inputs; i++)
        loop->input[i]->uses--;
    loop->op = OP_get;
    loop->inputs = 1;
    loop->input = NEW_ARRAY(fn->cx->arena, Inst *, 1);
    loop->input[0] = made;
    loop->attr[0].whole = 0;
    made->uses++;
    return made;
}

// ---- shorthands --------------------------------------------------------------------------------

static const Type no_type;

Inst *ir_unary(IrFunction *fn, Op op, Inst *a, Span span)
{
    return ir_append(fn, op, &a, 1, NULL, no_type, span);
}

Inst *ir_binary(IrFunction *fn, Op op, Inst *a, Inst *b, Span span)
{
    Inst *in[] = {a, b};
    return ir_append(fn, op, in, 2, NULL, no_type, span);
}

Inst *ir_constant(IrFunction *fn, Type type, const void *elements, bool splat, Span span)
{
    size_t bytes = (size_t)(splat ? dtype_info[type.dtype].bytes : type_bytes(type));
    Attr attr = {.data = {splat, bytes, arena_copy(fn->cx->arena, elements, bytes)}};
    return ir_append(fn, OP_constant, NULL, 0, &attr, type, span);
}

Inst *ir_real(IrFunction *fn, Type type, double value, Span span)
{
    uint64_t element = 0;
    element_set_real(type.dtype, &element, 0, value);
    return ir_constant(fn, type, &element, true, span);
}

Inst *ir_cast(IrFunction *fn, Inst *a, DType dtype, Span span)
{
    return ir_append(fn, OP_cast, &a, 1, NULL, type_scalar(dtype), span);
}

Inst *ir_broadcast(IrFunction *fn, Inst *a, Type type, IntList axes, Span span)
{
    Attr attr = {.list = axes};
    return ir_append(fn, OP_broadcast, &a, 1, &attr, type, span);
}

Inst *ir_reshape(IrFunction *fn, Inst *a, Type type, Span span)
{
    return ir_append(fn, OP_reshape, &a, 1, NULL, type, span);
}

Inst *ir_transpose(IrFunction *fn, Inst *a, IntList permutation, Span span)
{
    Attr attr = {.list = permutation};
    return ir_append(fn, OP_transpose, &a, 1, &attr, no_type, span);
}

Inst *ir_reduce(IrFunction *fn, Inst *a, Reducer with, IntList axes, Span span)
{
    Attr attr[] = {{.reducer = with}, {.list = axes}};
    return ir_append(fn, OP_reduce, &a, 1, attr, no_type, span);
}

Inst *ir_dot(IrFunction *fn, Inst *a, Inst *b, IntList contract_a, IntList contract_b,
             IntList batch_a, IntList batch_b, Span span)
{
    Inst *in[] = {a, b};
    Attr attr[] = {
        {.list = contract_a}, {.list = contract_b}, {.list = batch_a}, {.list = batch_b}};
    return ir_append(fn, OP_dot, in, 2, attr, no_type, span);
}

Inst *ir_get(IrFunction *fn, Inst *multi, int index, Span span)
{
    Attr attr = {.whole = index};
    return ir_append(fn, OP_get, &multi, 1, &attr, no_type, span);
}

bool inst_is_splat(const Inst *inst, double *value)
{
    if (inst->op != OP_constant)
        return false;
    IrData data = inst->attr[0].data;
    size_t size = (size_t)dtype_info[inst->type.dtype].bytes;
    for (size_t at = size; at < data.bytes; at += size)
        if (memcmp(data.at, (const char *)data.at + at, size) != 0)
            return false;
    *value = element_real(inst->type.dtype, data.at, 0);
    return true;
}

void ir_drop_param(IrFunction *fn, int index)
{
    if (fn->param.at[index]->uses > 0)
        bug(fn->cx, fn->param.at[index]->span, "a parameter that is read is dropped");
    for (int i = index + 1; i < fn->param.count; i++) {
        fn->param.at[i - 1] = fn->param.at[i];
        fn->param_slot.at[i - 1] = fn->param_slot.at[i];
        fn->param.at[i - 1]->attr[0].whole = i - 1;
    }
    fn->param.count--;
    fn->param_slot.count--;
}

void ir_drop_dead(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->uses == 0)
            ir_remove(fn, inst);
    }
}
