// inline: put called functions in place of the calls.
//
// A function of the IR is a value of its inputs: its instructions, copied to where the call stood
// and given the call's operands, compute the same. Callees come before callers, so what is copied
// holds no calls any more. Instructions of the standard library take the place of the call in the
// user's source: reports speak of the user's lines.

#include "passes/pass.h"

static Span span_of_copy(const IrFunction *fn, const Inst *original, const Inst *call)
{
    const SourceFile *file = original->span.file ? source_file(fn->cx, original->span.file) : NULL;
    return !file || file->is_std ? call->span : original->span;
}

// Copies the callee's instructions to before `call` and sets value[i] to the i-th result.
static void copy_body(IrFunction *fn, Inst *call, Inst *value[])
{
    Arena *scratch = fn->cx->scratch;
    IrFunction *callee = call->attr[0].function;
    Inst **twin = NEW_ARRAY(scratch, Inst *, callee->next_id + 1); // by the callee's ids
    for (int i = 0; i < callee->param.count; i++)
        twin[callee->param.at[i]->id] = call->input[i];
    for (const Inst *inst = callee->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(scratch, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        Inst *copy = ir_clone_before(call, inst, in);
        copy->span = span_of_copy(fn, inst, call);
        twin[inst->id] = copy;
    }
    for (int i = 0; i < callee->result.count; i++)
        value[i] = twin[callee->result.at[i].value->id];
}

// A function that an instruction stands for, if its types fit and it is large enough to gain.
static bool as_kernel(Inst *call)
{
    enum { FEW = 16 };
    const IrFunction *callee = call->attr[0].function;
    Type types[3];
    const char *why;
    if (callee->kernel == OP_parameter || call->results < 2 || call->input[0]->type.rank != 4 ||
        call->input[0]->type.dim[1] < FEW || call->input[1]->type.dim[1] < FEW ||
        op_result_types(call->function->cx->scratch, callee->kernel, call->input, call->inputs,
                        callee->kernel_attr, (Type){0}, types, 3, &why) != call->results ||
        !type_equal(types[0], call->result_type[0]))
        return false;
    Inst *made = ir_insert_before(call, callee->kernel, call->input, call->inputs,
                                  callee->kernel_attr, (Type){0}, call->span);
    ir_replace_uses(call->function, call, made);
    ir_remove(call->function, call);
    return true;
}

bool pass_inline(IrFunction *fn)
{
    bool changed = false;
    for (Inst *inst = fn->first, *below; inst; inst = below) {
        below = inst->next;
        if (inst->op != OP_call)
            continue;
        if (as_kernel(inst)) {
            changed = true;
            continue;
        }
        Inst **value = NEW_ARRAY(fn->cx->scratch, Inst *, inst->results);
        copy_body(fn, inst, value);
        if (inst->results == 1) {
            ir_replace_uses(fn, inst, value[0]);
        } else {
            for (Inst *get = inst->next, *after; get && inst->uses > 0; get = after) {
                after = get->next;
                if (get->op != OP_get || get->input[0] != inst)
                    continue;
                ir_replace_uses(fn, get, value[get->attr[0].whole]);
                if (get == below)
                    below = after;
                ir_remove(fn, get);
            }
        }
        ir_remove(fn, inst);
        changed = true;
    }
    return changed;
}
