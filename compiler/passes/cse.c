// cse: compute equal values once.
//
// Two pure instructions with the same op, operands, attributes and types give the same value, and
// the first of them stands before every reader of the second. Random draws are included: a draw is
// a function of seed, step, site and element. Operands of a commuting op are compared in the order
// of their numbers. Loops and fused bodies are not compared.

#include <string.h>

#include "passes/pass.h"

bool inst_same_attributes(const Inst *a, const Inst *b)
{
    for (int i = 0; i < op_info[a->op].attrs; i++) {
        const Attr *left = &a->attr[i], *right = &b->attr[i];
        switch (op_info[a->op].attr[i].kind) {
        case ATTR_Axes:
        case ATTR_Shape:
            if (left->list.count != right->list.count ||
                memcmp(left->list.at, right->list.at,
                       sizeof left->list.at[0] * (size_t)left->list.count) != 0)
                return false;
            break;
        case ATTR_Int:
        case ATTR_Site:
        case ATTR_Flag:
            if (left->whole != right->whole)
                return false;
            break;
        case ATTR_Real:
            if (memcmp(&left->real, &right->real, sizeof left->real) != 0)
                return false;
            break;
        case ATTR_Reducer:
            if (left->reducer != right->reducer)
                return false;
            break;
        case ATTR_Data:
            if (left->data.splat != right->data.splat || left->data.bytes != right->data.bytes ||
                memcmp(left->data.at, right->data.at, left->data.bytes) != 0)
                return false;
            break;
        case ATTR_Callee:
        case ATTR_Body:
            if (left->function != right->function)
                return false;
            break;
        }
    }
    return true;
}

static bool same(const Inst *a, const Inst *b)
{
    if (a->op != b->op || a->inputs != b->inputs || a->results != b->results ||
        !type_equal(a->type, b->type))
        return false;
    bool equal = true;
    for (int i = 0; i < a->inputs; i++)
        equal = equal && a->input[i] == b->input[i];
    bool crossed = op_has(a->op, COMMUTES) && a->inputs == 2 && a->input[0] == b->input[1] &&
                   a->input[1] == b->input[0];
    return (equal || crossed) && inst_same_attributes(a, b);
}

static uint64_t mixed(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15) + (hash >> 29);
}

// Equal instructions have equal hashes; operands are summed up so that their order does not matter.
static uint64_t hash_of(const Inst *inst)
{
    uint64_t hash = mixed((uint64_t)inst->op + 1, (uint64_t)type_elements(inst->type)),
             operands = 0;
    for (int i = 0; i < inst->inputs; i++)
        operands += mixed(7, (uint64_t)inst->input[i]->id + 1);
    hash = mixed(hash, operands);
    if (inst->op == OP_constant)
        for (size_t i = 0; i < inst->attr[0].data.bytes && i < 64; i++)
            hash = mixed(hash, ((const unsigned char *)inst->attr[0].data.at)[i]);
    return mixed(hash, (uint64_t)inst->type.dtype);
}

bool pass_cse(IrFunction *fn)
{
    size_t count = 0, slots = 16;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count++;
    while (slots < 2 * count)
        slots *= 2;
    Inst **table = NEW_ARRAY(fn->cx->scratch, Inst *, slots);
    bool changed = false;
    for (Inst *inst = fn->first, *below; inst; inst = below) {
        below = inst->next;
        if (!op_has(inst->op, PURE) || inst_nested(inst))
            continue;
        size_t slot = hash_of(inst) & (slots - 1);
        while (table[slot] && !same(table[slot], inst))
            slot = (slot + 1) & (slots - 1);
        if (!table[slot]) {
            table[slot] = inst;
            continue;
        }
        ir_replace_uses(fn, inst, table[slot]);
        ir_remove(fn, inst);
        changed = true;
    }
    return changed;
}
