// decode_flat.c: forward without calls, and where time goes in it.

#include "elab/decode_parts.h"

#include <string.h>

// ---- forward without calls

// A call of the library's attention in which a position sees those before it and itself.
static bool is_attention(const Inst *inst)
{
    if (inst->op != OP_call || inst->attr[0].function->kernel != OP_attend || inst->inputs != 3)
        return false;
    Type q = inst->input[0]->type, k = inst->input[1]->type;
    return inst->attr[0].function->kernel_attr[1].whole && q.rank == 4 && k.rank == 4 &&
           q.dtype == DTYPE_F32 && k.dtype == DTYPE_F32 && q.dim[1] == k.dim[1];
}

// Copies the instructions of `fn`, whose parameters are value[], and sets result[].
static void copy_flat(IrFunction *to, const IrFunction *fn, Inst *const value[], Inst *result[],
                      bool attends)
{
    Arena *arena = to->cx->arena;
    const IrFunction *root = fn;
    while (root->parent)
        root = root->parent;
    Inst **twin = NEW_ARRAY(arena, Inst *, root->next_id + 1);
    Inst ***several = NEW_ARRAY(arena, Inst **, root->next_id + 1);
    for (int i = 0; i < fn->param.count; i++)
        twin[fn->param.at[i]->id] = value[i];
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        if (inst->op == OP_call && !(attends && is_attention(inst))) {
            Inst **out = NEW_ARRAY(arena, Inst *, inst->results + 1);
            copy_flat(to, inst->attr[0].function, in, out, attends);
            twin[inst->id] = out[0];
            several[inst->id] = inst->results > 1 ? out : NULL;
        } else if (inst->op == OP_get && several[inst->input[0]->id]) {
            twin[inst->id] = several[inst->input[0]->id][inst->attr[0].whole];
        } else if (inst->op == OP_loop) {
            Attr *attr = arena_copy(arena, inst->attr, sizeof inst->attr);
            attr[LOOP_BODY].function = decode_flat(to->cx, inst_nested(inst), attends);
            twin[inst->id] = ir_append(to, OP_loop, in, inst->inputs, attr, inst->type, inst->span);
        } else {
            twin[inst->id] = ir_clone_into(to, inst, in);
        }
    }
    for (int i = 0; i < fn->result.count; i++)
        result[i] = twin[fn->result.at[i].value->id];
}

IrFunction *decode_flat(Cx *cx, const IrFunction *fn, bool attends)
{
    IrFunction *flat = ir_function_new(cx, NULL, NULL, fn->span);
    Inst **value = NEW_ARRAY(cx->arena, Inst *, fn->param.count + 1);
    Inst **result = NEW_ARRAY(cx->arena, Inst *, fn->result.count + 1);
    for (int i = 0; i < fn->param.count; i++)
        value[i] = ir_param(flat, fn->param.at[i]->type, fn->param_slot.at[i],
                            fn->param.at[i]->name, fn->param.at[i]->span);
    copy_flat(flat, fn, value, result, attends);
    for (int i = 0; i < fn->result.count; i++)
        ir_result(flat, result[i], fn->result.at[i].slot, fn->result.at[i].name);
    return flat;
}

// ---- time

void decode_add_times(Asked *to, bool depends, unsigned times)
{
    to->depends |= depends;
    to->times |= times;
}

// Whether a loop goes through time: a slice is what one position gives. What it stacks has time as
// its first axis.
bool decode_in_time(const Asked *asked, const Inst *loop)
{
    int carried = (int)loop->attr[LOOP_CARRIED].whole, sliced = (int)loop->attr[LOOP_SLICED].whole;
    for (int i = carried; i < carried + sliced; i++)
        if (asked[loop->input[i]->id].depends && (asked[loop->input[i]->id].times & 1))
            return true;
    return false;
}

// Carried values begin as their inputs and go on as the body's results, so their axes of time are
// those of both. Slices of what depends on the tokens are turns of another kind.
static void find_loop_times(Asked *asked, const Inst *loop)
{
    const IrFunction *body = inst_nested(loop);
    int carried = (int)loop->attr[LOOP_CARRIED].whole, sliced = (int)loop->attr[LOOP_SLICED].whole;
    Asked *own = &asked[loop->id];
    own->result = NEW_ARRAY(body->cx->arena, LoopResult, loop->results + 1);
    for (int i = 0; i < loop->inputs; i++) {
        const Asked *from = &asked[loop->input[i]->id];
        bool is_slice = i >= carried && i < carried + sliced;
        decode_add_times(&asked[body->param.at[i + 1]->id], from->depends,
                         is_slice ? 0 : from->times);
    }
    for (bool again = true; again;) {
        again = false;
        decode_find_times(asked, body);
        for (int i = 0; i < carried; i++) {
            const Asked *from = &asked[body->result.at[i].value->id];
            Asked *to = &asked[body->param.at[i + 1]->id];
            again |= (from->depends && !to->depends) || (from->times & ~to->times);
            decode_add_times(to, from->depends, from->times);
        }
    }
    for (int i = 0; i < loop->results; i++) {
        const Asked *from =
            &asked[i < carried ? body->param.at[i + 1]->id : body->result.at[i].value->id];
        own->result[i].depends = from->depends;
        own->result[i].times = i < carried                   ? from->times
                               : decode_in_time(asked, loop) ? from->times << 1 | 1
                                                             : from->times << 1;
        own->depends |= from->depends;
    }
    if (loop->results == 1)
        own->times = own->result[0].times;
}

// The time of what attention gives is that of its queries.
static void find_attention_times(Asked *asked, const Inst *call)
{
    Asked *own = &asked[call->id];
    own->result = NEW_ARRAY(call->function->cx->arena, LoopResult, call->results + 1);
    for (int i = 0; i < call->inputs; i++)
        own->depends |= asked[call->input[i]->id].depends;
    for (int i = 0; i < call->results; i++)
        own->result[i].depends = own->depends;
    own->result[0].times = asked[call->input[0]->id].times & 7;
}

// Which instructions depend on the tokens, and along which axes time goes.
void decode_find_times(Asked *asked, const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Asked *own = &asked[inst->id];
        if (inst->op == OP_loop) {
            find_loop_times(asked, inst);
        } else if (inst->op == OP_call) {
            find_attention_times(asked, inst);
        } else if (inst->op == OP_get && asked[inst->input[0]->id].result) {
            const LoopResult *result = asked[inst->input[0]->id].result;
            decode_add_times(own, result[inst->attr[0].whole].depends,
                             result[inst->attr[0].whole].times);
        } else {
            for (int i = 0; i < inst->inputs; i++) {
                const Asked *from = &asked[inst->input[i]->id];
                own->depends |= from->depends;
                for (int axis = 0; from->times && axis < inst->type.rank; axis++) {
                    int source = decode_axis(inst, i, axis);
                    if (source >= 0 && (from->times >> source & 1))
                        own->times |= 1u << axis;
                }
            }
        }
    }
}

int decode_only_axis(unsigned times)
{
    int axis = 0;
    while (axis < IR_MAX_RANK && !(times >> axis & 1))
        axis++;
    return times == 1u << axis ? axis : -1;
}
