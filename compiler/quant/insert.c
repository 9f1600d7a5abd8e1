// insert.c: the rounding to bytes, written out in front of each product.
//
//     dot(x, w)   becomes   dot((f32(q) - z) * s, f32(p) * t)
//
// where q = u8(round(x / s) + z) is made right behind x, and p is constant.
//
// Everything that reads x then reads the rounded value, so that x itself need not be kept.

#include "quant/quant.h"

#include <string.h>

static Inst *constant_like(Inst *place, Type type, double value)
{
    float element = (float)value;
    Arena *arena = place->function->cx->arena;
    Attr data = {.data = {true, sizeof element, arena_copy(arena, &element, sizeof element)}};
    type.dtype = DTYPE_F32;
    return ir_insert_before(place, OP_constant, NULL, 0, &data, type, place->span);
}

static Inst *binary(Inst *place, Op op, Inst *a, double b)
{
    Inst *in[] = {a, constant_like(place, a->type, b)};
    return ir_insert_before(place, op, in, 2, NULL, (Type){0}, place->span);
}

static Inst *converted(Inst *place, Inst *in, DType dtype)
{
    Type type = in->type;
    type.dtype = dtype;
    return ir_insert_before(place, OP_cast, &in, 1, NULL, type, place->span);
}

Inst *quant_bytes(Inst *root, const QuantSite *site)
{
    Inst *place = root->op == OP_parameter ? root->function->first : root->next;
    Inst *scaled = binary(place, OP_mul, root, 1 / site->scale);
    Inst *rounded = ir_insert_before(place, OP_round, &scaled, 1, NULL, (Type){0}, root->span);
    if (site->zero)
        rounded = binary(place, OP_add, rounded, site->zero);
    return converted(place, rounded, DTYPE_U8); // which saturates
}

Inst *quant_floats(Inst *place, Inst *bytes, const QuantSite *site)
{
    Inst *real = converted(place, bytes, DTYPE_F32);
    if (site->zero)
        real = binary(place, OP_sub, real, site->zero);
    return binary(place, OP_mul, real, site->scale);
}

Inst *quant_weights(Inst *place, const QuantLayer *layer, Type type)
{
    Type small = type;
    small.dtype = DTYPE_I8;
    Attr data = {.data = {false, (size_t)type_elements(type), layer->weight}};
    Inst *bytes = ir_insert_before(place, OP_constant, NULL, 0, &data, small, place->span);
    bytes->name = layer->name;
    Inst *in[] = {converted(place, bytes, DTYPE_F32),
                  quant_channel_constant(place, type, layer->weight_axis, layer->scale)};
    return ir_insert_before(place, OP_mul, in, 2, NULL, (Type){0}, place->span);
}

// The bytes, moved as the product's operand is moved.
static Inst *moved(Inst *place, Inst *operand, const Inst *root, Inst *bytes)
{
    if (operand == root)
        return bytes;
    Inst *in = moved(place, operand->input[0], root, bytes);
    Type type = operand->type;
    type.dtype = DTYPE_U8;
    return ir_insert_before(place, operand->op, &in, 1, operand->attr,
                            operand->op == OP_reshape ? type : (Type){0}, operand->span);
}

static bool is_zero(const Inst *inst)
{
    double value;
    return inst->op == OP_constant && inst_is_splat(inst, &value) && value == 0;
}

// x of relu(x), or NULL. A byte cannot be below the zero point, so where zero is byte 0, rounding
// does what relu does.
static Inst *of_relu(const Inst *inst)
{
    if (inst->op != OP_select || !is_zero(inst->input[1]))
        return NULL;
    const Inst *test = inst->input[0];
    bool below = (test->op == OP_le || test->op == OP_lt) && test->input[0] == inst->input[2] &&
                 is_zero(test->input[1]);
    return below ? inst->input[2] : NULL;
}

// The multiplication that begins the rounding reads what relu reads, if nothing else reads relu.
static void skip_relu(Inst *bytes, const Inst *root, const QuantSite *site)
{
    Inst *x = of_relu(root), *first = bytes;
    if (!x || site->zero != 0 || root->uses != 1)
        return;
    while (first->input[0] != root)
        first = first->input[0];
    ir_set_input(first, 0, x);
}

// What reads the root otherwise (an addition around a block, say). What a turn was given is kept
// anyway, and in what it hands on to the next one the rounding of all turns would add up.
static void replace_others(Inst *root, Inst *bytes, const QuantSite *site)
{
    if (site->loop && root->op == OP_parameter)
        return;
    for (Inst *inst = bytes->next; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == root)
                ir_set_input(inst, i, quant_floats(inst, bytes, site));
}

static bool same_weights(const Inst *a, const Inst *b)
{
    return type_equal(a->type, b->type) &&
           memcmp(a->attr[0].data.at, b->attr[0].data.at, (size_t)type_bytes(a->type)) == 0;
}

static bool same_layers(const QuantPlan *a, const QuantPlan *b)
{
    bool same = a->layer.count == b->layer.count && a->site.count == b->site.count;
    for (int i = 0; same && i < a->layer.count; i++) {
        const QuantLayer *left = &a->layer.at[i], *right = &b->layer.at[i];
        same = left->channels == right->channels && left->site == right->site &&
               left->inst->op == right->inst->op &&
               quant_turns(left->loop) == quant_turns(right->loop) &&
               same_weights(left->constant, right->constant);
    }
    return same;
}

// Adds what the result is off by on average. What read the result reads the sum.
static void correct(QuantPlan *here, int index, const QuantLayer *layer)
{
    Inst *inst = here->layer.at[index].inst, *after = inst->next;
    bool any = false;
    for (int64_t i = 0; i < layer->channels; i++)
        any |= layer->correction[i] != 0;
    if (!any)
        return;
    Inst *fix = quant_channel_constant(after, inst->type, layer->axis, layer->correction);
    Inst *in[] = {inst, fix};
    Inst *sum = ir_insert_before(after, OP_add, in, 2, NULL, (Type){0}, inst->span);
    ir_replace_uses(inst->function, inst, sum);
    ir_set_input(sum, 0, inst); // its own input was replaced as well
    for (int i = 0; i < here->site.count; i++)
        if (here->site.at[i].root == inst)
            here->site.at[i].root = sum;
    for (int i = 0; i < here->layer.count; i++)
        if (here->layer.at[i].root == inst)
            here->layer.at[i].root = sum;
}

// Instructions are put behind others, so there has to be a last one that nothing is put behind.
static void add_end(IrFunction *fn)
{
    ir_real(fn, type_scalar(DTYPE_F32), 0, fn->span);
    for (Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_loop)
            add_end(inst->attr[3].function);
}

static void drop_unread(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst->op == OP_loop)
            drop_unread(inst->attr[3].function);
        if (inst->uses == 0 && op_has(inst->op, PURE))
            ir_remove(fn, inst);
    }
}

bool quant_insert(IrFunction *fn, const QuantPlan *plan)
{
    QuantPlan here = {0};
    add_end(fn);
    quant_layers(fn, &here);
    if (!same_layers(plan, &here))
        return false;
    Inst **bytes = NEW_ARRAY(fn->cx->arena, Inst *, plan->site.count + 1);
    for (int i = 0; i < here.layer.count; i++) {
        const QuantLayer *layer = &plan->layer.at[i];
        const QuantSite *site = &plan->site.at[layer->site];
        if (layer->kept)
            continue;
        Inst *inst = here.layer.at[i].inst, *root = here.layer.at[i].root;
        if (!bytes[layer->site])
            bytes[layer->site] = quant_bytes(root, site);
        Inst *operand = moved(inst, inst->input[0], root, bytes[layer->site]);
        ir_set_input(inst, 0, quant_floats(inst, operand, site));
        ir_set_input(inst, 1, quant_weights(inst, layer, inst->input[1]->type));
        correct(&here, i, layer);
    }
    for (int i = 0; i < here.site.count; i++)
        if (bytes[i]) {
            replace_others(here.site.at[i].root, bytes[i], &plan->site.at[i]);
            skip_relu(bytes[i], here.site.at[i].root, &plan->site.at[i]);
        }
    drop_unread(fn);
    return true;
}
