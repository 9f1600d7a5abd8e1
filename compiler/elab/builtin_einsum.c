// builtin_einsum.c: einsum("bij,bjk->bik", a, b), read and checked when compiling.
//
// Every axis of an operand has a label: a letter, or its distance from the last axis that `...`
// stands for. Operands are taken in pairs from the left. A label that is read again later is a
// batch axis of the pair, one that is not is contracted; a label twice in one operand is its
// diagonal. What comes out is made of dot, mul, reduce, transpose and slice, whose gradients are
// known.

#include "elab/builtin.h"

enum { LETTERS = 52, MOST_OPERANDS = 4 };

typedef struct Labels {
    int count;
    int at[IR_MAX_RANK]; // below LETTERS: a letter; LETTERS + i: the i-th from the last of `...`
} Labels;

typedef struct Einsum {
    Elab *e;
    Span span;
    const char *pattern;
    int operands;
    Inst *in[MOST_OPERANDS];
    Labels of[MOST_OPERANDS], out;
    int dots; // axes that `...` stands for, the most of any operand
} Einsum;

static bool einsum_bad(Einsum *s, const char *why)
{
    builtin_bad(s->e, "einsum", s->span, why);
    return false;
}

static char letter_of(int label)
{
    return (char)(label < 26 ? 'a' + label : 'A' + label - 26);
}

static int label_of(char letter)
{
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a';
    return letter >= 'A' && letter <= 'Z' ? 26 + letter - 'A' : -1;
}

static int find_label(const Labels *labels, int label)
{
    int i = 0;
    while (i < labels->count && labels->at[i] != label)
        i++;
    return i < labels->count ? i : -1;
}

static bool add_label(Einsum *s, Labels *labels, int label)
{
    if (labels->count == IR_MAX_RANK)
        return einsum_bad(s, "a tensor has at most 8 axes");
    labels->at[labels->count++] = label;
    return true;
}

// ---- reading the pattern ------------------------------------------------------------------------

// The labels of one operand, or of the result (rank -1), from *at to a comma, an arrow or the end.
static bool read_labels(Einsum *s, const char **at, int rank, Labels *out)
{
    Cx *cx = s->e->cx;
    int letters = 0, place = -1;
    for (const char *c = *at; *c && *c != ',' && *c != '-'; c++)
        letters += label_of(*c) >= 0;
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        if (**at == ' ')
            continue;
        if ((*at)[0] == '.' && (*at)[1] == '.' && (*at)[2] == '.') {
            if (place >= 0)
                return einsum_bad(s, "`...` stands twice for the axes of one tensor");
            int axes = rank < 0 ? s->dots : rank - letters;
            place = out->count;
            for (int i = axes - 1; i >= 0; i--)
                if (!add_label(s, out, LETTERS + i))
                    return false;
            if (axes > s->dots)
                s->dots = axes;
            *at += 2;
        } else if (label_of(**at) >= 0) {
            if (!add_label(s, out, label_of(**at)))
                return false;
        } else {
            return einsum_bad(s, arena_printf(cx->arena,
                                              "expected letters, `...`, `,` and `->`, found `%c` "
                                              "in \"%s\"",
                                              **at, s->pattern));
        }
    }
    if (rank >= 0 && (out->count != rank || letters > rank))
        return einsum_bad(s, arena_printf(cx->arena,
                                          "\"%s\" gives %d letters for a tensor with %d axes",
                                          s->pattern, letters, rank));
    return true;
}

// Without an arrow: the axes of `...`, then the letters that stand once, in the alphabet's order.
static bool implied_result(Einsum *s)
{
    for (int i = s->dots - 1; i >= 0; i--)
        if (!add_label(s, &s->out, LETTERS + i))
            return false;
    static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (const char *c = order; *c; c++) {
        int count = 0;
        for (int k = 0; k < s->operands; k++)
            for (int i = 0; i < s->of[k].count; i++)
                count += s->of[k].at[i] == label_of(*c);
        if (count == 1 && !add_label(s, &s->out, label_of(*c)))
            return false;
    }
    return true;
}

static bool check_result(Einsum *s)
{
    for (int i = 0; i < s->out.count; i++) {
        int label = s->out.at[i];
        bool known = false;
        for (int k = 0; k < s->operands; k++)
            known = known || find_label(&s->of[k], label) >= 0;
        if (find_label(&s->out, label) != i)
            return einsum_bad(s,
                              arena_printf(s->e->cx->arena,
                                           "the letter `%c` stands twice in the result of \"%s\"",
                                           letter_of(label), s->pattern));
        if (!known)
            return einsum_bad(s, arena_printf(s->e->cx->arena,
                                              "the letter `%c` of the result is none of the "
                                              "operands' in \"%s\"",
                                              letter_of(label), s->pattern));
    }
    return true;
}

static bool check_sizes(Einsum *s)
{
    int64_t size[LETTERS + IR_MAX_RANK] = {0};
    const Inst *first[LETTERS + IR_MAX_RANK] = {0};
    Cx *cx = s->e->cx;
    for (int k = 0; k < s->operands; k++)
        for (int i = 0; i < s->of[k].count; i++) {
            int label = s->of[k].at[i];
            int64_t found = s->in[k]->type.dim[i];
            if (!size[label]) {
                size[label] = found;
                first[label] = s->in[k];
            }
            if (size[label] == found)
                continue;
            const char *name =
                label < LETTERS
                    ? arena_printf(cx->arena, "the letter `%c` of 'einsum'", letter_of(label))
                    : "`...` of 'einsum'";
            report(cx, elab_span(s->e, s->span), shape_mismatch, name,
                   arena_printf(cx->arena, "%lld", (long long)size[label]),
                   arena_printf(cx->arena, "%lld", (long long)found));
            note(cx, first[label]->span, "the first size is of %s, made here",
                 type_text(cx->arena, first[label]->type));
            note(cx, s->in[k]->span, "the second is of %s, made here",
                 type_text(cx->arena, s->in[k]->type));
            return false;
        }
    return true;
}

static bool read_pattern(Einsum *s)
{
    const char *at = s->pattern;
    for (int k = 0; k < s->operands; k++) {
        if (!read_labels(s, &at, s->in[k]->type.rank, &s->of[k]))
            return false;
        bool more = *at == ',';
        if (more != (k + 1 < s->operands))
            return einsum_bad(s, arena_printf(s->e->cx->arena,
                                              "\"%s\" does not name %d tensors, as were given",
                                              s->pattern, s->operands));
        at += more;
    }
    if (!*at)
        return implied_result(s) && check_sizes(s);
    if (at[1] != '>')
        return einsum_bad(s, "expected `->` before the letters of the result");
    at += 2;
    if (!read_labels(s, &at, -1, &s->out))
        return false;
    if (*at)
        return einsum_bad(s, "there is one result, after one `->`");
    return check_result(s) && check_sizes(s);
}

// ---- making it ----------------------------------------------------------------------------------

static Inst *emit(Einsum *s, Op op, Inst *const in[], int inputs, const Attr attr[], Type given)
{
    for (int i = 0; i < inputs; i++)
        if (!in[i])
            return NULL;
    return elab_emit(s->e, op, in, inputs, attr, given, "'einsum'", s->span);
}

// x with its axes in the order `wanted`, of which it has all.
static Inst *ordered(Einsum *s, Inst *x, Labels *labels, const Labels *wanted)
{
    Attr attr = {.list = {.count = wanted->count}};
    bool same = true;
    for (int i = 0; i < wanted->count; i++) {
        attr.list.at[i] = find_label(labels, wanted->at[i]);
        same = same && attr.list.at[i] == i;
    }
    *labels = *wanted;
    return same ? x : emit(s, OP_transpose, &x, 1, &attr, (Type){0});
}

// Equal labels: both axes go last, as one of n * n elements, of which every (n+1)-th is meant.
static Inst *diagonal(Einsum *s, Inst *x, Labels *labels, int first, int second)
{
    int label = labels->at[first], n = labels->count;
    Attr order = {.list = {.count = n}}, cut[3];
    Labels left = {0};
    for (int i = 0; i < n; i++)
        if (i != first && i != second) {
            order.list.at[left.count] = i;
            left.at[left.count++] = labels->at[i];
        }
    order.list.at[n - 2] = first;
    order.list.at[n - 1] = second;
    x = emit(s, OP_transpose, &x, 1, &order, (Type){0});
    if (!x)
        return NULL;
    Type joined = x->type;
    int64_t size = joined.dim[n - 1];
    joined.dim[n - 2] = size * size;
    joined.rank = n - 1;
    x = emit(s, OP_reshape, &x, 1, NULL, joined);
    for (int i = 0; i < 3; i++)
        cut[i].list = (IntList){.count = joined.rank};
    for (int i = 0; i < joined.rank; i++) {
        cut[1].list.at[i] = joined.dim[i];
        cut[2].list.at[i] = i == joined.rank - 1 ? size + 1 : 1;
    }
    left.at[left.count++] = label;
    *labels = left;
    return emit(s, OP_slice, &x, 1, cut, (Type){0});
}

static Inst *diagonals(Einsum *s, Inst *x, Labels *labels)
{
    for (int i = 0; i < labels->count; i++)
        for (int k = i + 1; k < labels->count; k++)
            if (labels->at[i] == labels->at[k]) {
                x = diagonal(s, x, labels, i, k);
                i = -1;
                break;
            }
    return x;
}

// Whether a label is in the result or in an operand from `next` on.
static bool needed(const Einsum *s, int label, int next)
{
    bool found = find_label(&s->out, label) >= 0;
    for (int k = next; k < s->operands; k++)
        found = found || find_label(&s->of[k], label) >= 0;
    return found;
}

// Sums over the axes that neither `other` nor anything from `next` on reads.
static Inst *summed(Einsum *s, Inst *x, Labels *labels, const Labels *other, int next)
{
    Attr attr[] = {{.reducer = REDUCE_SUM}, {.list = {0}}};
    Labels left = {0};
    for (int i = 0; i < labels->count; i++) {
        int label = labels->at[i];
        if (needed(s, label, next) || (other && find_label(other, label) >= 0))
            left.at[left.count++] = label;
        else
            attr[1].list.at[attr[1].list.count++] = i;
    }
    *labels = left;
    return attr[1].list.count ? emit(s, OP_reduce, &x, 1, attr, (Type){0}) : x;
}

// Without a common sum the product is element by element.
static Inst *multiplied(Einsum *s, Inst *a, Inst *b, Labels *of_a, Labels *of_b, const Labels *out,
                        int batch)
{
    Labels first = *out, second = {0};
    first.count = of_a->count;
    for (int i = 0; i < out->count; i++)
        if (i < batch || i >= of_a->count)
            second.at[second.count++] = out->at[i];
    a = ordered(s, a, of_a, &first);
    b = ordered(s, b, of_b, &second);
    if (!a || !b)
        return NULL;
    Type type = {.dtype = a->type.dtype, .rank = out->count};
    Attr left = {.list = {0}}, right = {.list = {0}};
    for (int i = 0; i < out->count; i++) {
        bool in_a = i < of_a->count;
        if (in_a)
            left.list.at[left.list.count++] = i;
        if (i < batch || !in_a)
            right.list.at[right.list.count++] = i;
        type.dim[i] = in_a ? a->type.dim[i] : b->type.dim[right.list.count - 1];
    }
    Type of_right = type;
    of_right.dtype = b->type.dtype;
    if (left.list.count < type.rank)
        a = emit(s, OP_broadcast, &a, 1, &left, type);
    if (right.list.count < type.rank)
        b = emit(s, OP_broadcast, &b, 1, &right, of_right);
    Inst *in[] = {a, b};
    return emit(s, OP_mul, in, 2, NULL, (Type){0});
}

static Inst *pair(Einsum *s, Inst *a, Labels *of_a, Inst *b, Labels *of_b, int next)
{
    a = summed(s, diagonals(s, a, of_a), of_a, of_b, next);
    b = a ? diagonals(s, b, of_b) : NULL;
    b = b ? summed(s, b, of_b, of_a, next) : NULL;
    Attr attr[4] = {{.list = {0}}, {.list = {0}}, {.list = {0}}, {.list = {0}}};
    Labels out = {0};
    for (int i = 0; i < of_a->count; i++) {
        int label = of_a->at[i], other = find_label(of_b, label);
        if (other < 0)
            continue;
        int kind = needed(s, label, next) ? 2 : 0;
        attr[kind].list.at[attr[kind].list.count++] = i;
        attr[kind + 1].list.at[attr[kind + 1].list.count++] = other;
        if (kind && !add_label(s, &out, label))
            return NULL;
    }
    int batch = out.count;
    for (int i = 0; i < of_a->count; i++)
        if (find_label(of_b, of_a->at[i]) < 0 && !add_label(s, &out, of_a->at[i]))
            return NULL;
    for (int i = 0; i < of_b->count; i++)
        if (find_label(of_a, of_b->at[i]) < 0 && !add_label(s, &out, of_b->at[i]))
            return NULL;
    Inst *in[] = {a, b}, *product;
    if (attr[0].list.count)
        product = emit(s, OP_dot, in, 2, attr, (Type){0});
    else
        product = a && b ? multiplied(s, a, b, of_a, of_b, &out, batch) : NULL;
    *of_a = out;
    return product;
}

Value builtin_einsum(Elab *e, const Value arg[], Span span)
{
    Einsum sum = {.e = e, .span = span}, *s = &sum;
    s->pattern = value_plain_text(arg[0]);
    if (!s->pattern)
        return builtin_bad(e, "einsum", span, "the pattern is a text like \"ij,jk->ik\"");
    for (int i = 0; i < MOST_OPERANDS && arg[1 + i].kind != VALUE_NONE; i++) {
        s->in[i] = builtin_tensor(e, arg[1 + i], "einsum", span);
        if (!s->in[i])
            return value_poison();
        s->operands++;
    }
    if (!s->operands || !read_pattern(s))
        return s->operands ? value_poison() : builtin_bad(e, "einsum", span, "there is no tensor");
    Inst *result = s->in[0];
    Labels labels = s->of[0];
    for (int k = 1; k < s->operands && result; k++)
        result = pair(s, result, &labels, s->in[k], &s->of[k], k + 1);
    if (result)
        result = diagonals(s, result, &labels);
    if (result)
        result = summed(s, result, &labels, NULL, s->operands);
    if (result)
        result = ordered(s, result, &labels, &s->out);
    return result ? value_tensor(result) : value_poison();
}
