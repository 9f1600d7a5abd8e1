// stored.c: weights alone in small integers or halves: which matrices, and what becomes of the
// function. (rounding.c decides what integers.)
//
// A constant matrix is stored if all that reads it are products with it, and, where it is also a
// table, look-ups of its rows: those are columns of the product that has the table on its other
// side (tied tables). The stack of a repeat is stored matrix by matrix and stays a stack, of which
// each turn of the loop gets its slice. This runs behind `inline` and before constants are folded.

#include "quant/rounding.h"

#include <string.h>

#include "stored.h"

typedef enum { USE_DOT, USE_TAKE } UseKind;
typedef struct Use {
    UseKind kind;
    Inst *inst;
} Use;

// How a constant is read.
typedef struct Reading {
    Vec(Use) use;
    int dots;
    int contract;     // axis of the matrix that products sum over; -1: not known yet
    Inst *loop;       // whose slices or rest it is; NULL: it is read in the function itself
    int input;        // of the loop
    const char *kept; // why it stays f32; NULL: it need not
} Reading;

static bool is_row_product(const Inst *dot)
{
    IntList a = dot->attr[0].list, b = dot->attr[1].list;
    return dot->input[0]->type.dtype == DTYPE_F32 && dot->input[1]->type.rank == 2 &&
           a.count == 1 && b.count == 1 && dot->attr[2].list.count == 0 &&
           a.at[0] == dot->input[0]->type.rank - 1;
}

static void keep(Reading *r, const char *why)
{
    if (!r->kept)
        r->kept = why;
}

static void read_by(Arena *arena, Reading *r, IrFunction *fn, const Inst *value, bool flipped,
                    bool stacked);

static void read_by_loop(Arena *arena, Reading *r, Inst *loop, int input, bool flipped,
                         bool stacked)
{
    int carried = (int)loop->attr[1].whole, sliced = (int)loop->attr[2].whole;
    bool slice = input >= carried && input < carried + sliced;
    if (loop->function->parent || flipped || input < carried || slice != stacked || r->loop ||
        r->use.count > 0) {
        keep(r, "it is read in several loops, or in other ways in one");
        return;
    }
    r->loop = loop;
    r->input = input;
    IrFunction *body = loop->attr[3].function;
    read_by(arena, r, body, body->param.at[input + 1], false, false);
}

static void read_by(Arena *arena, Reading *r, IrFunction *fn, const Inst *value, bool flipped,
                    bool stacked)
{
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].value == value)
            keep(r, "it is a result");
    for (Inst *inst = fn->first; inst; inst = inst->next)
        for (int i = 0; i < inst->inputs; i++) {
            if (inst->input[i] != value)
                continue;
            if (inst->op == OP_loop) {
                read_by_loop(arena, r, inst, i, flipped, stacked);
            } else if (stacked) {
                keep(r, "its stack is read otherwise than turn by turn");
            } else if (inst->op == OP_transpose && value->type.rank == 2 &&
                       inst->attr[0].list.at[0] == 1) {
                read_by(arena, r, fn, inst, !flipped, false);
            } else if (inst->op == OP_dot && i == 1 && is_row_product(inst)) {
                int axis = (int)inst->attr[1].list.at[0] ^ (int)flipped;
                if (r->contract >= 0 && r->contract != axis)
                    keep(r, "products sum over both of its axes");
                r->contract = axis;
                r->dots++;
                vec_push(arena, &r->use, ((Use){USE_DOT, inst}));
            } else if (inst->op == OP_gather && i == 0 && inst->attr[0].whole == 0 && !flipped &&
                       inst->input[1]->type.rank > 0) {
                vec_push(arena, &r->use, ((Use){USE_TAKE, inst}));
            } else {
                keep(r, "it is read by more than products");
            }
        }
}

static Reading reading_of(Arena *arena, IrFunction *fn, const Inst *constant)
{
    Reading r = {.contract = -1};
    read_by(arena, &r, fn, constant, false, constant->type.rank == 3);
    for (int i = 0; i < r.use.count; i++)
        if (r.use.at[i].kind == USE_TAKE && r.contract == 0)
            keep(&r, "it is looked up across its products");
    return r;
}

// ---- the function with stored weights

static Inst *constant_before(Inst *place, Type type, const void *at, Sym name)
{
    Attr data = {.data = {false, (size_t)type_bytes(type), at}};
    Inst *made = ir_insert_before(place, OP_constant, NULL, 0, &data, type, place->span);
    made->name = name;
    return made;
}

// What stands for the matrix where it was an input of a loop: the stack's slices, or the same in
// each turn. The first takes the input's place, others become inputs behind it.
static void give_to_loop(Inst *loop, int input, Inst *const stored[], int count, Inst *inside[])
{
    IrFunction *body = loop->attr[3].function;
    Arena *arena = body->cx->arena;
    int carried = (int)loop->attr[1].whole, sliced = (int)loop->attr[2].whole, more = count - 1;
    bool slice = input < carried + sliced;
    // parameters first: each new one is made at the end and moved to its place
    for (int i = 0; i < more; i++) {
        Type type = stored[i + 1]->type;
        if (slice) {
            memmove(type.dim, type.dim + 1, sizeof type.dim[0] * (size_t)(type.rank - 1));
            type.rank--;
        }
        inside[i + 1] =
            ir_param(body, type, (Slot){SLOT_VALUE, 0}, stored[i + 1]->name, loop->span);
        int to = input + 2 + i;
        Slot slot = body->param_slot.at[body->param.count - 1];
        for (int p = body->param.count - 1; p > to; p--) {
            body->param.at[p] = body->param.at[p - 1];
            body->param_slot.at[p] = body->param_slot.at[p - 1];
        }
        body->param.at[to] = inside[i + 1];
        body->param_slot.at[to] = slot;
    }
    for (int p = 0; p < body->param.count; p++)
        body->param.at[p]->attr[0].whole = p;
    inside[0] = body->param.at[input + 1];
    Type type = stored[0]->type;
    if (slice) {
        memmove(type.dim, type.dim + 1, sizeof type.dim[0] * (size_t)(type.rank - 1));
        type.rank--;
    }
    inside[0]->type = type;
    Inst **all = NEW_ARRAY(arena, Inst *, loop->inputs + more + 1);
    for (int i = 0, to = 0; i < loop->inputs; i++) {
        all[to++] = loop->input[i];
        if (i != input)
            continue;
        loop->input[i]->uses--;
        for (int k = 0; k < count; k++) {
            all[input + k] = stored[k];
            stored[k]->uses++;
        }
        to = input + count;
    }
    loop->input = all;
    loop->inputs += more;
    if (slice)
        loop->attr[2].whole += more;
}

// Rows times the stored matrix, in front of `place`.
static Inst *stored_product(Inst *place, Op op, Inst *rows, Inst *const stored[], int count,
                            const StoredRule *rule, int64_t k, int64_t last)
{
    Inst *in[4] = {rows};
    for (int i = 0; i < count; i++)
        in[i + 1] = stored[i];
    bool integers = rule->form < STORED_BF16;
    Attr attr[] = {
        {.whole = rule->form}, {.whole = integers ? stored_group(rule, k) : 8}, {.whole = last}};
    return ir_insert_before(place, op, in, count + 1, attr, (Type){0}, place->span);
}

static void replace(Inst *inst, Inst *made)
{
    if (!type_equal(made->type, inst->type)) {
        Inst *shaped = made;
        made = ir_insert_before(inst, OP_reshape, &shaped, 1, NULL, inst->type, inst->span);
    }
    ir_replace_uses(inst->function, inst, made);
}

static void replace_use(const Use *use, Inst *const stored[], int count, const StoredRule *rule,
                        int64_t k)
{
    Inst *inst = use->inst;
    if (use->kind == USE_DOT)
        replace(inst, stored_product(inst, OP_dot_stored, inst->input[0], stored, count, rule, k,
                                     inst->type.dim[inst->type.rank - 1]));
    else
        replace(inst,
                stored_product(inst, OP_take_stored, inst->input[1], stored, count, rule, k, k));
}

// ---- products of the same rows
//
// q, k and v of attention, say: their matrices are stored side by side, as one. The rows are
// rounded once, and one product gives all of the results.

typedef struct Sibling {
    Inst *constant;
    Reading reading;
} Sibling;
typedef Vec(Sibling) Siblings;

static bool is_alone(const Reading *r)
{
    return !r->kept && r->dots == 1 && r->use.count == 1;
}

static bool in_slices(const Reading *r)
{
    return r->loop && r->input < (int)(r->loop->attr[1].whole + r->loop->attr[2].whole);
}

static bool is_matrix(const Inst *inst)
{
    return inst->op == OP_constant && inst->type.dtype == DTYPE_F32 && !inst->attr[0].data.splat &&
           inst->type.rank >= 2 && inst->type.rank <= 3;
}

// The constants behind `first` that are multiplied with the same rows, and with nothing else.
static Siblings siblings_of(IrFunction *fn, Inst *first, const Reading *r, const StoredRule *rule)
{
    Siblings found = {0};
    Arena *arena = fn->cx->arena;
    vec_push(arena, &found, ((Sibling){first, *r}));
    if (!is_alone(r))
        return found;
    const Inst *rows = r->use.at[0].inst->input[0];
    for (Inst *inst = first->next; inst; inst = inst->next) {
        if (!is_matrix(inst) || inst->type.rank != first->type.rank)
            continue;
        Reading other = reading_of(arena, fn, inst);
        if (is_alone(&other) && other.loop == r->loop && in_slices(&other) == in_slices(r) &&
            other.use.at[0].inst->input[0] == rows && !stored_refusal(inst, other.contract, rule))
            vec_push(arena, &found, ((Sibling){inst, other}));
    }
    return found;
}

static Inst *first_product(const Siblings *siblings)
{
    Inst *const begin = siblings->at[0].reading.use.at[0].inst->function->first;
    for (Inst *inst = begin; inst; inst = inst->next)
        for (int i = 0; i < siblings->count; i++)
            if (siblings->at[i].reading.use.at[0].inst == inst)
                return inst;
    return begin;
}

// Columns first .. first + count of all.
static Inst *columns_of(Inst *place, Inst *all, int64_t first, int64_t count)
{
    int last = all->type.rank - 1;
    Attr attr[3] = {0};
    for (int i = 0; i < 3; i++)
        attr[i].list.count = all->type.rank;
    for (int i = 0; i <= last; i++) {
        attr[1].list.at[i] = i == last ? first + count : all->type.dim[i];
        attr[2].list.at[i] = 1;
    }
    attr[0].list.at[last] = first;
    return ir_insert_before(place, OP_slice, &all, 1, attr, (Type){0}, place->span);
}

static void replace_siblings(const Siblings *siblings, Inst *const stored[], int count,
                             const StoredRule *rule, const StoredMatrix *matrix)
{
    Inst *place = first_product(siblings);
    Inst *all = stored_product(place, OP_dot_stored, place->input[0], stored, count, rule,
                               matrix->k, matrix->n);
    int64_t first = 0;
    for (int i = 0; i < siblings->count; i++) {
        Inst *dot = siblings->at[i].reading.use.at[0].inst;
        int64_t columns = dot->type.dim[dot->type.rank - 1];
        ir_replace_uses(dot->function, dot, columns_of(place, all, first, columns));
        first += columns;
    }
    for (int i = 0; i < siblings->count; i++)
        ir_remove(siblings->at[i].reading.use.at[0].inst->function,
                  siblings->at[i].reading.use.at[0].inst);
}

// How many constants are stored now: `constant` and those that are multiplied with the same rows.
static int store(IrFunction *fn, Inst *constant, const Reading *r, const StoredRule *rule,
                 const StoredInputs *inputs, StoredRounded *rounded, StoredReport *report)
{
    Arena *arena = fn->cx->arena;
    const char *wrong = stored_refusal(constant, r->contract, rule);
    if (wrong) {
        stored_report_kept(arena, report, constant, wrong);
        return 0;
    }
    Siblings siblings = siblings_of(fn, constant, r, rule);
    StoredSource *source = NEW_ARRAY(arena, StoredSource, siblings.count);
    for (int i = 0; i < siblings.count; i++) {
        const Inst *one = siblings.at[i].constant;
        source[i] = (StoredSource){one->name, one->type, one->attr[0].data.at,
                                   siblings.at[i].reading.contract};
    }
    StoredMatrix matrix =
        stored_round(arena, source, siblings.count, rule, inputs, rounded, report);
    Inst *stored[3], *inside[3];
    int count = 0;
    for (int i = 0; i < 3 && matrix.at[i]; i++) {
        stored[i] = constant_before(constant, matrix.type[i], matrix.at[i], constant->name);
        count++;
    }
    Inst *const *read = stored;
    if (r->loop) {
        give_to_loop(r->loop, r->input, stored, count, inside);
        read = inside;
    }
    if (siblings.count > 1)
        replace_siblings(&siblings, read, count, rule, &matrix);
    for (int i = 0; i < r->use.count && siblings.count == 1; i++)
        replace_use(&r->use.at[i], read, count, rule, matrix.k);
    return siblings.count;
}

// From below, so that what reads a value goes before it.
static void drop_unread(IrFunction *fn)
{
    for (Inst *inst = fn->last, *above; inst; inst = above) {
        above = inst->prev;
        if (inst_nested(inst))
            drop_unread(inst_nested(inst));
        if (inst->uses == 0 && op_has(inst->op, PURE))
            ir_remove(fn, inst);
    }
}

int stored_insert(IrFunction *fn, const StoredRule *rule, const StoredInputs *inputs,
                  StoredRounded *rounded, StoredReport *report)
{
    int done = 0;
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (!is_matrix(inst))
            continue;
        Reading r = reading_of(fn->cx->arena, fn, inst);
        if (r.dots == 0)
            continue; // no product's weights
        if (r.kept)
            stored_report_kept(fn->cx->arena, report, inst, r.kept);
        else
            done += store(fn, inst, &r, rule, inputs, rounded, report);
    }
    drop_unread(fn);
    return done;
}

// ---- tables of programs whose products are those of bytes

enum { LEAST_TABLE = 16 * 1024, LEAST_WIDTH = 6, MOST_GROUP = 32 }; // bytes; numbers of a row

bool stored_is_table(IrFunction *fn, const Inst *inst)
{
    if (!is_matrix(inst) || inst->type.rank != 2 || inst->type.dim[1] < LEAST_WIDTH ||
        type_bytes(inst->type) < LEAST_TABLE)
        return false;
    Reading r = reading_of(fn->cx->arena, fn, inst);
    return r.dots == 0 && r.use.count > 0 && !r.kept && !r.loop;
}

// 8 bits, and a scale for each 32 neighbours of a row; a short row has one, and is no longer than
// it must be.
void stored_tables(IrFunction *fn, StoredRounded *rounded, StoredReport *report)
{
    for (Inst *inst = fn->first, *next; inst; inst = next) {
        next = inst->next;
        if (!stored_is_table(fn, inst))
            continue;
        Reading r = reading_of(fn->cx->arena, fn, inst);
        r.contract = 1; // a row of the table is a column of what is stored
        int64_t row = (inst->type.dim[1] + 7) / 8 * 8;
        const StoredRule rule = {.form = STORED_BYTES,
                                 .group = row < MOST_GROUP ? row : MOST_GROUP};
        store(fn, inst, &r, &rule, NULL, rounded, report);
    }
    drop_unread(fn);
}

// ---- what products are given

static Inst *nth_of(const IrFunction *fn, const IrFunction *like, const Inst *inst)
{
    Inst *found = fn->first;
    for (const Inst *at = like->first; at != inst; at = at->next)
        found = found->next;
    return found;
}

// Products of the same rows share what is watched.
static void watch(IrFunction *fn, Inst *value, const Inst *constant, int64_t turns,
                  StoredWatches *out)
{
    int index = -1;
    int64_t k = value->type.dim[value->type.rank - 1],
            rows = type_elements(value->type) / k / (turns ? turns : 1);
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].value == value && fn->result.at[i].slot.index >= out->first)
            index = fn->result.at[i].slot.index;
    if (index < 0) {
        index = out->first + out->outputs++;
        ir_result(fn, value, (Slot){SLOT_OUTPUT, index}, NULL);
    }
    vec_push(fn->cx->arena, &out->watch,
             ((StoredWatch){constant->name, turns ? turns : 1, rows, k, index}));
}

static int stacked_result(const IrFunction *body, const Inst *value, int64_t carried)
{
    for (int i = (int)carried; i < body->result.count; i++)
        if (body->result.at[i].value == value)
            return i;
    return -1;
}

static Inst *get_of(IrFunction *fn, Inst *loop, int index)
{
    for (Inst *inst = loop->next; inst && loop->results > 1; inst = inst->next)
        if (inst->op == OP_get && inst->input[0] == loop && inst->attr[0].whole == index)
            return inst;
    return ir_get(fn, loop, index, loop->span);
}

// The products of one constant in a loop: their operands are stacked besides.
static void watch_loop(IrFunction *fn, const Inst *constant, const Reading *r, StoredWatches *out)
{
    IrFunction *old = r->loop->attr[3].function, *body = ir_clone_function(old, NULL, NULL);
    Vec(int) index = {0};
    for (int i = 0; i < r->use.count; i++) {
        if (r->use.at[i].kind != USE_DOT)
            continue;
        Inst *rows = nth_of(body, old, r->use.at[i].inst)->input[0];
        int at = stacked_result(body, rows, r->loop->attr[1].whole);
        if (at < 0) {
            at = body->result.count;
            ir_result(body, rows, (Slot){SLOT_VALUE, 0}, NULL);
        }
        vec_push(fn->cx->arena, &index, at);
    }
    Inst *loop = r->loop;
    if (body->result.count > old->result.count)
        loop = ir_loop_set_body(r->loop, body);
    for (int i = 0; i < index.count; i++)
        watch(fn, get_of(fn, loop, index.at[i]), constant, loop->attr[0].whole, out);
}

void stored_watch(IrFunction *fn, StoredWatches *out)
{
    for (Inst *inst = fn->first; inst; inst = inst->next) {
        if (!is_matrix(inst) || !inst->name)
            continue;
        Reading r = reading_of(fn->cx->arena, fn, inst);
        if (r.dots == 0 || r.kept)
            continue;
        if (r.loop)
            watch_loop(fn, inst, &r, out);
        for (int i = 0; i < r.use.count && !r.loop; i++)
            if (r.use.at[i].kind == USE_DOT)
                watch(fn, r.use.at[i].inst->input[0], inst, 0, out);
    }
}
