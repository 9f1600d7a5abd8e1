// turns.c: values of a loop's body as results of the function around it, one for each turn.

#include "quant/quant.h"

int64_t quant_turns(const Inst *loop)
{
    return loop ? loop->attr[0].whole : 1;
}

QuantBody quant_body(Inst *loop)
{
    const IrFunction *old = loop->attr[3].function;
    return (QuantBody){
        .loop = loop, .old = old, .body = ir_clone_function(loop->attr[3].function, NULL, NULL)};
}

Inst *quant_in_body(const QuantBody *body, const Inst *inst)
{
    if (inst->op == OP_parameter)
        return body->body->param.at[inst->attr[0].whole];
    Inst *found = body->body->first;
    for (const Inst *at = body->old->first; at != inst; at = at->next)
        found = found->next;
    return found;
}

void quant_stack(QuantBody *body, Inst *value)
{
    vec_push(value->function->cx->arena, &body->index, body->body->result.count);
    ir_result(body->body, value, (Slot){SLOT_VALUE, 0}, NULL);
}

void quant_close_body(IrFunction *fn, QuantBody *body, Inst *out[])
{
    Inst *loop = ir_loop_set_body(body->loop, body->body);
    for (int i = 0; i < body->index.count; i++)
        out[i] = ir_get(fn, loop, body->index.at[i], loop->span);
}
