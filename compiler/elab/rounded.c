// rounded.c: training with the rounding that a deployed program of bytes will do.
//
// When the outermost model of a job with `quantize` has been called, the instructions that the call
// left are looked through for what compiler/quant rounds: products that have weights for each
// channel, and the values that these are multiplied with. Each is replaced by what the deployed
// program computes, in floats:
//
//     y = product(x, w)     becomes     r = round_between(x / s, -zero, 255 - zero)
//                                       p = round_between(w / t, -127, 127)
//                                       y = product(r, p) * (s * t)
//
// and whatever else reads x reads r * s. r and p are whole numbers of at most 8 bits, which bf16
// holds exactly, so the sums of a training in mixed precision are those of bytes.
//
// The step t of a channel is its largest weight's, so a norm that multiplies the channel later
// changes t and not p: what is trained is what is left when the norm has gone into the weights. The
// range of x is a state beside the weight, NAME.input_range, which follows the smallest and the
// largest value of the batches; compiler/quant/learned.c reads it from the checkpoint. With
// `ranges: learned` there are two weights more, NAME.input_reach [2] and NAME.weight_reach
// [channels], the logarithms of what the range and the steps are multiplied with: gradients find
// where cutting off costs less than rounding. The functions are in stdlib/rounding.aml.

#include "elab/internal.h"

#include <string.h>

typedef struct Site {
    Inst *root;
    Cell *range, *reach;          // reach NULL: not learned by gradients
    Inst *whole, *step, *rounded; // once it is
} Site;

typedef struct Layer {
    Inst *inst;
    int axis, weight_axis, site;
    Cell *weight;
} Layer;

typedef struct Pass {
    Elab *e;
    IrFunction *fn;
    Span span;
    Inst *before; // the last instruction in front of the call; NULL: there is none
    Inst *end;    // the last one of the call
    Vec(Site) site;
    Vec(Layer) layer;
} Pass;

// ---- what is to be rounded

// The cell whose value in this trace `inst` is.
static Cell *weight_behind(const Trace *trace, const Inst *inst)
{
    for (int i = 0; i < trace->use.count; i++) {
        const CellUse *use = &trace->use.at[i];
        bool read = use->current == inst && !use->written;
        if (read && use->cell->role == AML_ROLE_WEIGHT && !use->cell->of)
            return use->cell->source ? use->cell->source : use->cell;
    }
    return NULL;
}

static Inst *without_moves(Inst *inst)
{
    while (inst->op == OP_reshape || inst->op == OP_transpose)
        inst = inst->input[0];
    return inst;
}

// A cell of this name beside a weight, so many zeros in the beginning.
static Cell *cell_beside(Elab *e, Cell *weight, const char *text, bool learned, int64_t size)
{
    Sym name = sym_of(e->cx, text);
    Instance *owner = weight->owner;
    const Value *known = map_get(&owner->member, name);
    if (known && known->kind == VALUE_CELL)
        return known->as.cell;
    Node *node = node_new(e->cx, NODE_State, weight->node->span);
    node->as.state.name = name;
    Cell *cell = NEW(e->cx->arena, Cell);
    *cell = (Cell){.owner = owner,
                   .node = node,
                   .name = name,
                   .role = learned ? AML_ROLE_WEIGHT : AML_ROLE_STATE,
                   .trainable = learned,
                   .resolved = true,
                   .type = type_make(DTYPE_F32, 1, &size),
                   .row = -1,
                   .has_initial = true,
                   .initial = NEW(e->cx->arena, Value)};
    *cell->initial = value_real(0);
    Value *member = NEW(e->cx->arena, Value);
    *member = (Value){.kind = VALUE_CELL, .as.cell = cell};
    map_put(e->cx->arena, &owner->member, name, member);
    return cell;
}

static int site_of(Pass *p, Inst *root, Cell *weight)
{
    for (int i = 0; i < p->site.count; i++)
        if (p->site.at[i].root == root)
            return i;
    Site site = {.root = root, .range = cell_beside(p->e, weight, "input_range", false, 2)};
    if (p->e->rounding->learned)
        site.reach = cell_beside(p->e, weight, "input_reach", true, 2);
    vec_push(p->e->cx->arena, &p->site, site);
    return p->site.count - 1;
}

static Inst *first_of(const Pass *p)
{
    return p->before ? p->before->next : p->fn->first;
}

static void find_layers(Pass *p)
{
    const Rounding *rounding = p->e->rounding;
    for (Inst *inst = first_of(p); inst; inst = inst->next) {
        Layer layer = {.inst = inst, .site = -1};
        if (!inst_weighs_channels(inst, &layer.axis, &layer.weight_axis) ||
            inst->type.dtype != DTYPE_F32)
            continue;
        layer.weight = weight_behind(p->e->trace, inst->input[1]);
        Inst *root = without_moves(inst->input[0]);
        if (layer.weight && root->op != OP_constant && !weight_behind(p->e->trace, root))
            vec_push(p->e->cx->arena, &p->layer, layer);
    }
    int first = rounding->keep_first, last = p->layer.count - rounding->keep_last;
    p->e->rounded_layers = last - first;
    for (int i = first; i < last; i++) {
        Layer *layer = &p->layer.at[i];
        layer->site = site_of(p, without_moves(layer->inst->input[0]), layer->weight);
    }
}

// ---- rounding

// What was traced behind `last` goes to where it is needed.
static void move_behind(IrFunction *fn, Inst *last, Inst *place)
{
    Inst *first = last ? last->next : fn->first, *end = fn->last;
    if (!first || place == last)
        return;
    last->next = NULL; // there is something before: `place`, or what stands behind it
    fn->last = last;
    Inst *next = place ? place->next : fn->first;
    first->prev = place;
    end->next = next;
    *(place ? &place->next : &fn->first) = first;
    if (next)
        next->prev = end;
    else
        fn->last = end;
}

static Value std_call(Pass *p, const char *name, const Value args[], int count)
{
    Elab *e = p->e;
    return elab_call(e, value_function(e, elab_std_function(e, name), NULL), args, NULL, count,
                     p->span);
}

static bool in_call(const Pass *p, const Inst *inst)
{
    for (const Inst *at = first_of(p); at; at = at->next)
        if (at == inst)
            return true;
    return false;
}

// Readers of the root behind `from` read the rounded value.
static void replace_readers(Inst *from, Inst *root, Inst *rounded)
{
    for (Inst *inst = from; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++)
            if (inst->input[i] == root)
                ir_set_input(inst, i, rounded);
}

static Value cell_value(Pass *p, Cell *cell)
{
    Inst *inst = elab_cell_read(p->e, cell, p->span);
    return inst ? value_tensor(inst) : value_poison();
}

static Value range_of(Pass *p, const Site *site)
{
    Value range = cell_value(p, site->range);
    if (!site->reach)
        return range;
    Value args[] = {range, cell_value(p, site->reach), value_int(type_elements(site->root->type))};
    return std_call(p, "reached_range", args, 3);
}

static bool round_site(Pass *p, Site *site)
{
    Elab *e = p->e;
    Inst *last = p->fn->last, *place = in_call(p, site->root) ? site->root : p->before;
    Value x = value_tensor(site->root);
    if (e->training) {
        Inst *range = elab_cell_read(e, site->range, p->span);
        Value args[] = {range ? value_tensor(range) : value_poison(), x};
        if (!elab_cell_write(e, site->range, std_call(p, "range_after", args, 2), p->span))
            return false;
    }
    Value args[] = {x, range_of(p, site)};
    Value made = std_call(p, "whole_bytes", args, 2);
    if (!value_is(made, VALUE_TUPLE) || made.as.list.count != 3)
        return false;
    site->whole = made.as.list.at[0].as.tensor.inst;
    site->step = made.as.list.at[1].as.tensor.inst;
    site->rounded = made.as.list.at[2].as.tensor.inst;
    Inst *end = p->fn->last;
    move_behind(p->fn, last, place);
    replace_readers(end->next, site->root, site->rounded);
    return true;
}

// The whole numbers, moved as the product's operand is moved.
static Inst *moved(Inst *place, Inst *operand, const Site *site)
{
    if (operand == site->root || operand == site->rounded)
        return site->whole;
    Inst *in = moved(place, operand->input[0], site);
    return ir_insert_before(place, operand->op, &in, 1, operand->attr,
                            operand->op == OP_reshape ? operand->type : (Type){0}, operand->span);
}

// The instruction itself becomes the scaled product, so that whoever knows it has the new value.
static bool round_layer(Pass *p, Layer *layer, Inst *operand)
{
    Elab *e = p->e;
    Inst *inst = layer->inst, *last = p->fn->last, *place = inst->prev;
    const Site *site = &p->site.at[layer->site];
    Value sizes[IR_MAX_RANK];
    for (int i = 0; i < inst->type.rank; i++)
        sizes[i] = value_int(inst->type.dim[i]);
    Value args[] = {value_tensor(inst->input[1]),
                    value_int(layer->weight_axis),
                    value_int(e->rounding->bits),
                    value_tensor(site->step),
                    value_list(e, inst->type.rank, sizes),
                    value_int(layer->axis),
                    value_none()};
    if (e->rounding->learned)
        args[6] = cell_value(p, cell_beside(e, layer->weight, "weight_reach", true,
                                            inst->input[1]->type.dim[layer->weight_axis]));
    Value made = std_call(p, "whole_weights", args, 7);
    if (!value_is(made, VALUE_TUPLE) || made.as.list.count != 2)
        return false;
    Inst *whole = made.as.list.at[0].as.tensor.inst, *steps = made.as.list.at[1].as.tensor.inst;
    move_behind(p->fn, last, place);
    Inst *in[] = {moved(inst, operand, site), whole};
    Inst *product = ir_clone_before(inst, inst, in);
    inst->op = OP_mul;
    memset(inst->attr, 0, sizeof inst->attr);
    ir_set_input(inst, 0, product);
    ir_set_input(inst, 1, steps);
    return true;
}

static Site *site_at(Pass *p, const Inst *root)
{
    for (int i = 0; i < p->site.count; i++)
        if (p->site.at[i].root == root)
            return &p->site.at[i];
    return NULL;
}

// In the order of the trace, since a state that is read twice was written by the first one.
static bool round_all(Pass *p)
{
    Inst **operand = NEW_ARRAY(p->e->cx->arena, Inst *, p->layer.count + 1);
    for (int i = 0; i < p->layer.count; i++)
        operand[i] = p->layer.at[i].inst->input[0];
    for (int i = 0; i < p->site.count; i++)
        if (!in_call(p, p->site.at[i].root) && !round_site(p, &p->site.at[i]))
            return false;
    Inst *end = p->end;
    for (Inst *inst = first_of(p), *next; inst; inst = next) {
        bool last = inst == end;
        next = inst->next;
        for (int i = 0; i < p->layer.count; i++)
            if (p->layer.at[i].inst == inst && p->layer.at[i].site >= 0 &&
                !round_layer(p, &p->layer.at[i], operand[i]))
                return false;
        Site *site = site_at(p, inst);
        if (site && !site->whole && !round_site(p, site))
            return false;
        if (last)
            break;
    }
    return true;
}

// ---- calls

Inst *rounded_call_begin(Elab *e)
{
    e->rounding_calls++;
    return e->trace ? e->trace->fn->last : NULL;
}

Value rounded_call_end(Elab *e, Inst *before, Value result, Span span)
{
    if (--e->rounding_calls > 0 || value_is(result, VALUE_POISON) || !e->trace || e->trace->callee)
        return result;
    Pass pass = {.e = e,
                 .fn = e->trace->fn,
                 .span = elab_span(e, span),
                 .before = before,
                 .end = e->trace->fn->last},
         *p = &pass;
    find_layers(p);
    e->rounding_calls++; // what is called here is rounding itself
    bool good = round_all(p);
    e->rounding_calls--;
    return good ? result : value_poison();
}
