// verify.c: every invariant of a function, checked after every pass in every build.
//
// The first violation is described in words; who broke it is known to the caller.

#include "ir/ir.h"

#include <stdlib.h>

typedef struct Check {
    Arena *arena;
    IrModule *module; // NULL: one function alone
    Inst **seen;      // by id: defined so far
    int *uses;        // by id: counted so far
    int ids;
    const char *why;
} Check;

static bool fail(Check *check, const Inst *inst, const char *format, ...) AML_PRINTF(3, 4);
static bool fail(Check *check, const Inst *inst, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *what = arena_vprintf(check->arena, format, args);
    va_end(args);
    bool known = inst && (unsigned)inst->op < OP_COUNT;
    check->why = inst ? arena_printf(check->arena, "%%%d = %s: %s", inst->id,
                                     known ? op_info[inst->op].name : "?", what)
                      : what;
    return false;
}

static bool define(Check *check, Inst *inst, const IrFunction *fn)
{
    if (inst->function != fn)
        return fail(check, inst, "belongs to another function");
    if (inst->id < 0 || inst->id >= check->ids || check->seen[inst->id])
        return fail(check, inst, "its number is not unique");
    if (inst->span.start > inst->span.end)
        return fail(check, inst, "its place in the source ends before it begins");
    check->seen[inst->id] = inst;
    return true;
}

static bool read_value(Check *check, const Inst *reader, Inst *value, const IrFunction *fn)
{
    if (!value || value->id < 0 || value->id >= check->ids || check->seen[value->id] != value)
        return fail(check, reader, "reads a value that is not defined before it");
    if (value->function != fn)
        return fail(check, reader, "reads %%%d of another function", value->id);
    check->uses[value->id]++;
    return true;
}

static bool check_function(Check *check, IrFunction *fn, int depth);

static bool check_types(Check *check, Inst *inst)
{
    int room = inst->results > 1 ? inst->results : 1;
    Type *types = NEW_ARRAY(check->arena, Type, room);
    const char *why = "";
    int results = op_result_types(check->arena, inst->op, inst->input, inst->inputs, inst->attr,
                                  inst->type, types, room, &why);
    if (results < 0)
        return fail(check, inst, "%s", why);
    if (results != inst->results)
        return fail(check, inst, "it gives %d results, %d are recorded", results, inst->results);
    if (results > 1 && !inst->result_type)
        return fail(check, inst, "the types of its results are not recorded");
    for (int i = 0; i < results; i++) {
        Type recorded = results > 1 ? inst->result_type[i] : inst->type;
        if (!type_equal(types[i], recorded))
            return fail(check, inst, "result %d is %s, recorded is %s", i,
                        type_text(check->arena, types[i]), type_text(check->arena, recorded));
    }
    return true;
}

static bool check_inst(Check *check, Inst *inst, IrFunction *fn, int depth)
{
    if ((unsigned)inst->op >= OP_COUNT || inst->op == OP_parameter)
        return fail(check, inst, "is not an operation that may stand among the instructions");
    for (int i = 0; i < inst->inputs; i++)
        if (!read_value(check, inst, inst->input[i], fn))
            return false;
    for (int i = 0; i < op_info[inst->op].attrs; i++) {
        AttrKind kind = op_info[inst->op].attr[i].kind;
        IrFunction *other = inst->attr[i].function;
        if (kind == ATTR_Body) {
            if (!other || other->parent != fn || other->name)
                return fail(check, inst, "its body is not its own");
            if (!check_function(check, other, depth + 1))
                return false;
        } else if (kind == ATTR_Callee) {
            bool found = !check->module;
            for (int k = 0; !found && k < check->module->function.count; k++)
                found = check->module->function.at[k] == other;
            if (!other || !other->name || !found)
                return fail(check, inst, "calls something that is not a function of the module");
            for (int k = 0; k < other->param.count; k++)
                if (other->param_slot.at[k].kind != SLOT_VALUE)
                    return fail(check, inst, "calls @%s, which is bound to buffers", other->name);
        }
    }
    return check_types(check, inst) && define(check, inst, fn);
}

// A slot as a number, with what is bound to it.
typedef struct Bound {
    int64_t key;
    const Inst *value;
} Bound;

static int by_key(const void *a, const void *b)
{
    int64_t x = ((const Bound *)a)->key, y = ((const Bound *)b)->key;
    return (x > y) - (x < y);
}

static void add_bound(Bound *list, int *count, Slot slot, const Inst *value)
{
    if (slot.kind != SLOT_VALUE)
        list[(*count)++] = (Bound){(int64_t)slot.kind << 32 | slot.index, value};
}

static bool check_once(Check *check, Bound *list, int count, const char *what)
{
    qsort(list, (size_t)count, sizeof *list, by_key);
    for (int i = 1; i < count; i++)
        if (list[i].key == list[i - 1].key)
            return fail(check, list[i].value, "two %s are bound to one slot", what);
    return true;
}

static bool check_slots(Check *check, const IrFunction *fn)
{
    Bound *read = NEW_ARRAY(check->arena, Bound, fn->param.count + 1),
          *written = NEW_ARRAY(check->arena, Bound, fn->result.count + 1);
    int reads = 0, writes = 0;
    for (int i = 0; i < fn->param.count; i++) {
        Slot slot = fn->param_slot.at[i];
        const Inst *param = fn->param.at[i];
        if (fn->parent && slot.kind != SLOT_VALUE)
            return fail(check, param, "a body's parameter is bound to a buffer");
        if (slot.kind == SLOT_OUTPUT)
            return fail(check, param, "a parameter is bound to an output");
        if (slot.kind == SLOT_SCALAR && param->type.rank != 0)
            return fail(check, param, "a scalar of type %s", type_text(check->arena, param->type));
        if (slot.kind != SLOT_VALUE && slot.index < 0)
            return fail(check, param, "a negative slot");
        if (slot.kind == SLOT_ROWS && (!fn->scattered || !inst_reads_rows(fn, param)))
            return fail(check, param, "rows that lie anywhere are not read row by row");
        slot.kind = slot.kind == SLOT_ROWS ? SLOT_INPUT : slot.kind;
        add_bound(read, &reads, slot, param);
    }
    for (int i = 0; i < fn->result.count; i++) {
        Slot slot = fn->result.at[i].slot;
        const Inst *value = fn->result.at[i].value;
        if (slot.kind == SLOT_INPUT || slot.kind == SLOT_ROWS || slot.kind == SLOT_SCALAR ||
            (fn->parent && slot.kind != SLOT_VALUE))
            return fail(check, value, "result %d is bound to something that cannot be written", i);
        if (slot.kind != SLOT_VALUE && slot.index < 0)
            return fail(check, value, "a negative slot");
        add_bound(written, &writes, slot, value);
    }
    if (!check_once(check, read, reads, "parameters") ||
        !check_once(check, written, writes, "results"))
        return false;
    for (int i = 0, k = 0; i < writes; i++) { // a state that is read and written: both are sorted
        while (k < reads && read[k].key < written[i].key)
            k++;
        const Inst *value = written[i].value;
        if (k < reads && read[k].key == written[i].key &&
            !type_equal(read[k].value->type, value->type))
            return fail(check, value, "state %d is read as %s and written as %s",
                        (int)(written[i].key & 0x7fffffff),
                        type_text(check->arena, read[k].value->type),
                        type_text(check->arena, value->type));
    }
    return true;
}

static bool check_function(Check *check, IrFunction *fn, int depth)
{
    if (depth > 64)
        return fail(check, NULL, "bodies are nested more than 64 deep");
    for (int i = 0; i < fn->param.count; i++) {
        Inst *param = fn->param.at[i];
        if (param->op != OP_parameter || param->attr[0].whole != i || param->results != 1 ||
            !type_valid(param->type))
            return fail(check, param, "is not parameter %d", i);
        if (!define(check, param, fn))
            return false;
    }
    if (fn->param_slot.count != fn->param.count)
        return fail(check, NULL, "%d parameters have %d slots", fn->param.count,
                    fn->param_slot.count);
    const Inst *above = NULL;
    for (Inst *inst = fn->first; inst; above = inst, inst = inst->next) {
        if (inst->prev != above)
            return fail(check, inst, "the list of instructions is broken before it");
        if (!check_inst(check, inst, fn, depth))
            return false;
    }
    if (fn->last != above)
        return fail(check, NULL, "the list of instructions does not end at its last");
    for (int i = 0; i < fn->result.count; i++) {
        Inst *value = fn->result.at[i].value;
        if (!read_value(check, NULL, value, fn))
            return fail(check, NULL, "result %d is not a value of the function", i);
        if (value->results != 1)
            return fail(check, value, "result %d has several results: one of them has to be chosen",
                        i);
    }
    if (!check_slots(check, fn))
        return false;
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param.at[i]->uses != check->uses[fn->param.at[i]->id])
            return fail(check, fn->param.at[i], "%d readers, %d are recorded",
                        check->uses[fn->param.at[i]->id], fn->param.at[i]->uses);
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->uses != check->uses[inst->id])
            return fail(check, inst, "%d readers, %d are recorded", check->uses[inst->id],
                        inst->uses);
    return true;
}

static const char *verify(Arena *arena, IrModule *module, IrFunction *fn)
{
    Check check = {.arena = arena, .module = module, .ids = fn->next_id};
    check.seen = NEW_ARRAY(arena, Inst *, fn->next_id + 1);
    check.uses = NEW_ARRAY(arena, int, fn->next_id + 1);
    if (check_function(&check, fn, 0))
        return NULL;
    return fn->name ? arena_printf(arena, "in @%s: %s", fn->name, check.why) : check.why;
}

const char *ir_verify_function(Arena *arena, IrFunction *fn)
{
    return verify(arena, NULL, fn);
}

// 0: not visited, 1: on the path, 2: done
static bool calls_itself(IrModule *module, int *state, const IrFunction *top, const IrFunction *fn)
{
    int index = 0;
    if (fn == top) {
        while (index < module->function.count && module->function.at[index] != fn)
            index++;
        if (index == module->function.count || state[index] == 2)
            return false;
        if (state[index] == 1)
            return true;
        state[index] = 1;
    }
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        IrFunction *body = inst_nested(inst);
        if (body && calls_itself(module, state, top, body))
            return true;
        if (inst->op == OP_call &&
            calls_itself(module, state, inst->attr[0].function, inst->attr[0].function))
            return true;
    }
    if (fn == top)
        state[index] = 2;
    return false;
}

const char *ir_verify(Arena *arena, IrModule *module)
{
    for (int i = 0; i < module->function.count; i++) {
        IrFunction *fn = module->function.at[i];
        if (!fn->name || fn->parent)
            return "a function of the module has no name or is somebody's body";
        for (int k = 0; k < i; k++)
            if (module->function.at[k]->name == fn->name)
                return arena_printf(arena, "two functions are called @%s", fn->name);
        const char *why = verify(arena, module, fn);
        if (why)
            return why;
    }
    int *state = NEW_ARRAY(arena, int, module->function.count + 1);
    for (int i = 0; i < module->function.count; i++)
        if (calls_itself(module, state, module->function.at[i], module->function.at[i]))
            return arena_printf(arena, "in @%s: a function calls itself",
                                module->function.at[i]->name);
    return NULL;
}
