// remat: what one loop leaves for another is computed again there if that costs nothing.
//
//   %a = loop { %s = dot ...; %p = softmax(%s); result %s, %p }     the forward part of a repeat
//   loop %a { parameter %s, %p; softmax(%s) ... %p ... }            its gradient
//
// The second loop's body is given a slice of %p in each turn. It has what %p is made from, and
// makes it anyway: so %p is not stacked. In general a slice can be computed again if everything it
// is made from is there: other slices of what the first loop has stacked, its own slices and what
// is the same in every turn (given to the second loop as well), and the turn. The kernels are
// deterministic, so the bits are the same.
//
// Here only what costs nothing is done; budget.c goes on where memory is short. What is computed
// again stands at the top of the body, `cse` makes it one with what is there.

#include "passes/remat.h"

#include "passes/pass.h"

typedef struct Finder {
    const Kept *kept;
    IrFunction *from, *to; // the bodies
    Inst **twin;           // by id: the same value in `to`; NULL: not known to be there
    char *state;           // by id
    Vec(Inst *) added;     // of `from`: what has to be computed, operands first
    Vec(Inst *) free;      // of `from`: what `to` computes as well, operands first
} Finder;

enum { UNKNOWN, VISITED, IMPOSSIBLE };

static int first_slice(const Inst *loop)
{
    return (int)loop->attr[1].whole;
}

static int first_rest(const Inst *loop)
{
    return (int)(loop->attr[1].whole + loop->attr[2].whole);
}

// The result of `loop` that `value` is; -1: none.
static int result_of(const Inst *value, const Inst *loop)
{
    if (value == loop && loop->results == 1)
        return 0;
    return value->op == OP_get && value->input[0] == loop ? (int)value->attr[0].whole : -1;
}

static Inst *loop_of(Inst *value)
{
    Inst *loop = value->op == OP_get ? value->input[0] : value;
    return loop->op == OP_loop ? loop : NULL;
}

int kept_count(const IrFunction *fn)
{
    int count = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        count += inst->op == OP_loop ? (int)inst->attr[2].whole : 0;
    return count;
}

bool kept_at(const IrFunction *fn, int index, Kept *out)
{
    Inst *reader = fn->first;
    for (; reader; reader = reader->next) {
        if (reader->op != OP_loop)
            continue;
        if (index < reader->attr[2].whole)
            break;
        index -= (int)reader->attr[2].whole;
    }
    if (!reader)
        return false;
    *out = (Kept){.reader = reader, .input = first_slice(reader) + index};
    Inst *source = reader->input[out->input];
    out->maker = loop_of(source);
    if (!out->maker || out->maker->attr[0].whole != reader->attr[0].whole ||
        out->maker->attr[5].whole || reader->attr[5].whole)
        return false;
    out->result = result_of(source, out->maker);
    return out->result >= out->maker->attr[1].whole;
}

// ---- what the reader has ------------------------------------------------------------------------

static Inst *param_for(const Inst *loop, int input)
{
    return loop->attr[3].function->param.at[input + 1];
}

// The parameter of the reader's body that is given `outer`, among inputs begin..end.
static Inst *given_as(const Finder *f, const Inst *outer, int begin, int end)
{
    for (int i = begin; i < end; i++)
        if (f->kept->reader->input[i] == outer && i != f->kept->input)
            return param_for(f->kept->reader, i);
    return NULL;
}

// Stacked by the maker, and given to the reader.
static Inst *stacked_twin(const Finder *f, const Inst *value)
{
    const Inst *maker = f->kept->maker, *reader = f->kept->reader;
    for (int r = (int)maker->attr[1].whole; r < maker->results; r++) {
        if (r == f->kept->result || f->from->result.at[r].value != value)
            continue;
        for (int i = first_slice(reader); i < first_rest(reader); i++)
            if (result_of(reader->input[i], maker) == r && i != f->kept->input)
                return param_for(reader, i);
    }
    return NULL;
}

// The inputs of a loop that are added are recognised by this.
static Inst *add_input(Finder *f, Inst *outer, bool slice)
{
    Inst *loop = f->kept->reader;
    IrFunction *body = f->to;
    int at = slice ? first_rest(loop) : loop->inputs;
    Inst **input = NEW_ARRAY(body->cx->arena, Inst *, loop->inputs + 1);
    for (int i = 0; i < at; i++)
        input[i] = loop->input[i];
    input[at] = outer;
    for (int i = at; i < loop->inputs; i++)
        input[i + 1] = loop->input[i];
    loop->input = input;
    loop->inputs++;
    loop->attr[2].whole += slice;
    outer->uses++;
    Type type = outer->type;
    for (int i = 1; slice && i < type.rank; i++)
        type.dim[i - 1] = type.dim[i];
    type.rank -= slice;
    for (int i = type.rank; slice && i < IR_MAX_RANK; i++)
        type.dim[i] = 0;
    Inst *param = ir_param(body, type, (Slot){0}, outer->name, outer->span);
    for (int i = body->param.count - 1; i > at + 1; i--) {
        body->param.at[i] = body->param.at[i - 1];
        body->param.at[i]->attr[0].whole = i;
    }
    body->param.at[at + 1] = param;
    param->attr[0].whole = at + 1;
    return param;
}

// `adds`: inputs that the reader lacks are given to it. NULL and *possible: it lacks one.
static Inst *parameter_twin(Finder *f, const Inst *param, bool adds, bool *possible)
{
    const Inst *maker = f->kept->maker, *reader = f->kept->reader;
    int input = (int)param->attr[0].whole - 1;
    *possible = true;
    if (input < 0)
        return f->to->param.at[0];
    if (input < first_slice(maker)) {
        *possible = false;
        return NULL;
    }
    bool slice = input < first_rest(maker);
    Inst *outer = maker->input[input];
    Inst *twin = slice ? given_as(f, outer, first_slice(reader), first_rest(reader))
                       : given_as(f, outer, first_rest(reader), reader->inputs);
    return twin || !adds ? twin : add_input(f, outer, slice);
}

// An instruction of the reader's body that computes the same.
static Inst *equal_in(const Finder *f, const Inst *inst)
{
    for (Inst *other = f->to->first; other; other = other->next) {
        if (other->op != inst->op || other->inputs != inst->inputs ||
            !type_equal(other->type, inst->type) || !inst_same_attributes(other, inst))
            continue;
        bool same = true;
        for (int i = 0; i < inst->inputs && same; i++)
            same = f->twin[inst->input[i]->id] == other->input[i];
        if (same)
            return other;
    }
    return NULL;
}

// ---- the walk -----------------------------------------------------------------------------------

static bool simple(const Inst *inst)
{
    return op_has(inst->op, PURE) && inst->results == 1 && inst->op != OP_loop &&
           inst->op != OP_call && inst->op != OP_get;
}

static bool walk(Finder *f, Inst *value)
{
    char *state = &f->state[value->id];
    if (*state != UNKNOWN)
        return *state == VISITED;
    *state = VISITED;
    Inst *stacked = stacked_twin(f, value);
    if (stacked) {
        f->twin[value->id] = stacked;
        return true;
    }
    bool possible = true;
    if (value->op == OP_parameter) {
        f->twin[value->id] = parameter_twin(f, value, false, &possible);
    } else if (!simple(value)) {
        possible = false;
    } else {
        bool known = true;
        for (int i = 0; i < value->inputs && possible; i++) {
            possible = walk(f, value->input[i]);
            known = known && f->twin[value->input[i]->id];
        }
        Inst *equal = possible && known ? equal_in(f, value) : NULL;
        f->twin[value->id] = equal;
        if (equal)
            vec_push(f->from->cx->arena, &f->free, value);
        else
            vec_push(f->from->cx->arena, &f->added, value);
    }
    if (!possible)
        *state = IMPOSSIBLE;
    return possible;
}

static Finder finder(const Kept *kept)
{
    IrFunction *from = kept->maker->attr[3].function, *root = from;
    while (root->parent)
        root = root->parent;
    Arena *arena = from->cx->arena;
    Finder f = {.kept = kept, .from = from, .to = kept->reader->attr[3].function};
    f.twin = NEW_ARRAY(arena, Inst *, root->next_id + 1);
    f.state = NEW_ARRAY(arena, char, root->next_id + 1);
    return f;
}

static double cost_of(const Inst *inst)
{
    double elements = (double)type_elements(inst->type);
    switch ((int)inst->op) {
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_constant:
    case OP_iota:
    case OP_cast:
        return 0;
    case OP_dot:
    case OP_conv:
    case OP_conv_input:
    case OP_conv_weight:
    case OP_attend:
    case OP_attend_back:
        return inst_cost(inst).flops / 8; // many at once
    case OP_random:
    case OP_erf:
    case OP_exp:
    case OP_log:
    case OP_tanh:
    case OP_pow:
    case OP_sin:
    case OP_cos:
    case OP_sigmoid:
        return 8 * elements;
    case OP_reduce:
        return (double)type_elements(inst->input[0]->type);
    default:
        return elements;
    }
}

bool kept_cost(const Kept *kept, double *cost)
{
    Finder f = finder(kept);
    if (!walk(&f, f.from->result.at[kept->result].value))
        return false;
    *cost = 0;
    for (int i = 0; i < f.added.count; i++)
        *cost += cost_of(f.added.at[i]);
    return true;
}

// Everything is written at the top, also what is computed further down: `cse` makes it one.
static Inst *write(Finder *f, Inst *place, Inst *value, Inst **made)
{
    if (made[value->id])
        return made[value->id];
    bool possible;
    Inst *twin = stacked_twin(f, value);
    if (!twin && value->op == OP_parameter)
        twin = parameter_twin(f, value, true, &possible);
    if (!twin) {
        Inst **in = NEW_ARRAY(f->from->cx->arena, Inst *, value->inputs + 1);
        for (int i = 0; i < value->inputs; i++)
            in[i] = write(f, place, value->input[i], made);
        twin = place ? ir_clone_before(place, value, in) : ir_clone_into(f->to, value, in);
    }
    return made[value->id] = twin;
}

void kept_drop(const Kept *kept)
{
    Kept now = *kept;
    Finder f = finder(&now);
    IrFunction *root = f.from;
    while (root->parent)
        root = root->parent;
    Inst **made = NEW_ARRAY(f.from->cx->arena, Inst *, root->next_id + 1);
    Inst *param = param_for(now.reader, now.input);
    Inst *value = write(&f, f.to->first, f.from->result.at[now.result].value, made);
    ir_replace_uses(f.to, param, value);
}

bool pass_remat(IrFunction *fn)
{
    bool changed = false;
    for (int i = 0, count = kept_count(fn); i < count; i++) {
        Kept kept;
        double cost;
        if (!kept_at(fn, i, &kept) || param_for(kept.reader, kept.input)->uses == 0 ||
            !kept_cost(&kept, &cost) || cost > 0)
            continue;
        kept_drop(&kept);
        changed = true;
    }
    return changed;
}
