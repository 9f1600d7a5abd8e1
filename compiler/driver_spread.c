// driver_spread.c: how many channels go from where.
//
// `spread: even` takes the same share from each class. `spread: measured` leaves out more and more
// channels of one class at a time, the weights behind having made up for it, and measures on
// samples how much the model's answers differ from its own. Then it takes, again and again, those
// that cost least for what they save, until the share of all channels is reached. What a channel
// saves is itself and operations, whose part grows until these become fewer as well, if they can:
// 1 - (1 - share)^1.5 of them, where the same share everywhere would save 1 - (1 - share)^2. The
// cheapest channels are often those that save no time. In the end classes exchange channels.

#include "driver_prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8, LEVELS = 2 * PARTS };

typedef struct Level {
    int64_t gone;
    double loss; // of the answers
} Level;

typedef struct Curve { // of a class
    Level level[LEVELS];
    int levels, at;
} Curve;

typedef struct Spread {
    Pruning *p;
    Native native;
    int *input;           // of each state; -1: the function does not read it
    Vec(double *) answer; // of the whole model, a sample after the other
    int64_t used;
    Curve *curve;
    IrFunction *fn; // for its operations
    double flops;
    int64_t channels;
} Spread;

// ---- the model with its weights as inputs

static size_t element_bytes(const aml_tensor_info *info)
{
    return aml_dtype_bytes(info->dtype);
}

// The state as it is in the checkpoint, all turns of it.
static void fill(Spread *s, int state)
{
    const aml_state_info *info = &s->p->job->state.at[state].info;
    char name[1024], *to = s->native.input[s->input[state]];
    for (int64_t part = 0; part < aml_state_parts(info); part++) {
        aml_tensor_info one;
        aml_state_part(info, part, &one, name, sizeof name);
        const Weight *weight = pruning_weight(s->p->d, one.name);
        size_t bytes = (size_t)aml_shape_elements(&one.shape) * element_bytes(&one);
        memcpy(to, weight->at, bytes);
        to += bytes;
    }
}

static const char *open_model(Spread *s)
{
    Deployment *d = s->p->d;
    Cx *cx = d->cx;
    const ProgramJob *job = s->p->job;
    IrFunction *fn = ir_clone_function(s->p->plain, NULL, sym_of(cx, "measured"));
    Entry entry = d->deploy->predict.at[0];
    int inputs = entry.input.count;
    freeze_scalars(fn, &entry, d->program);
    fn->mixed = false;
    s->input = NEW_ARRAY(cx->arena, int, job->state.count + 1);
    for (int i = 0; i < job->state.count; i++)
        s->input[i] = -1;
    for (int i = fn->result.count - 1; i >= 0; i--) // running statistics do not move
        if (fn->result.at[i].slot.kind == SLOT_STATE) {
            fn->result.at[i].value->uses--;
            memmove(&fn->result.at[i], &fn->result.at[i + 1],
                    sizeof fn->result.at[0] * (size_t)(fn->result.count - i - 1));
            fn->result.count--;
        }
    for (int i = 0; i < fn->param.count; i++) {
        Slot *slot = &fn->param_slot.at[i];
        if (slot->kind != SLOT_STATE)
            continue;
        s->input[slot->index] = inputs;
        *slot = (Slot){SLOT_INPUT, inputs++};
    }
    const char *wrong = native_open(cx, fn, d->folder, &s->native);
    for (int i = 0; i < job->state.count && !wrong; i++)
        if (s->input[i] >= 0)
            fill(s, i);
    return wrong;
}

// ---- how different the answers are

// Of probabilities their divergence, of others the square of the difference.
static double difference(const aml_tensor_info *info, const double *exact, const float *found,
                         int64_t count)
{
    bool shares = strcmp(info->name, "probability") == 0;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = exact[i], y = (double)found[i];
        sum += shares ? x > 0 ? x * log(x / fmax(y, 1e-9)) : 0 : (x - y) * (x - y);
    }
    return sum;
}

static const char *run_sample(Spread *s, int64_t first)
{
    const char *wrong =
        quant_take(s->p->d->cx, s->p->samples, &s->p->d->deploy->predict.at[0], first, &s->native);
    if (!wrong)
        native_run(&s->native);
    return wrong;
}

static double *copy_answer(const Spread *s)
{
    const Entry *entry = &s->p->d->deploy->predict.at[0];
    int64_t count = 0, at = 0;
    for (int i = 0; i < entry->output.count; i++)
        count += aml_shape_elements(&entry->output.at[i].shape);
    double *answer = NEW_ARRAY(s->p->d->cx->arena, double, count + 1);
    for (int i = 0; i < entry->output.count; i++)
        for (int64_t k = 0; k < aml_shape_elements(&entry->output.at[i].shape); k++)
            answer[at++] = entry->output.at[i].dtype == AML_F32
                               ? (double)((const float *)s->native.output[i])[k]
                               : 0;
    return answer;
}

static const char *see_answers(Spread *s)
{
    int64_t batch = s->p->d->deploy->predict.at[0].input.at[0].shape.dim[0];
    for (int64_t first = 0; first < s->used; first += batch) {
        const char *wrong = run_sample(s, first);
        if (wrong)
            return wrong;
        vec_push(s->p->d->cx->arena, &s->answer, copy_answer(s));
    }
    return NULL;
}

static double loss_now(Spread *s)
{
    const Entry *entry = &s->p->d->deploy->predict.at[0];
    int64_t batch = entry->input.at[0].shape.dim[0];
    double sum = 0;
    for (int r = 0; r < s->answer.count; r++) {
        const double *exact = s->answer.at[r];
        run_sample(s, r * batch);
        for (int i = 0; i < entry->output.count; i++) {
            int64_t count = aml_shape_elements(&entry->output.at[i].shape);
            if (entry->output.at[i].dtype == AML_F32)
                sum += difference(&entry->output.at[i], exact, s->native.output[i], count);
            exact += count;
        }
    }
    return isfinite(sum) ? sum / (double)(s->answer.count * batch) : INFINITY;
}

// ---- without some channels of one class

// What the class's channels are made of becomes 0 in places that go.
static void clear(Spread *s, const AxisKept *kept, int state)
{
    const aml_tensor_info *info = &s->p->job->state.at[state].info.tensor;
    size_t element = element_bytes(info);
    char *at = s->native.input[s->input[state]];
    for (int axis = 0; axis < info->shape.rank; axis++) {
        AxisKept here = axes_kept(s->p->axes, state, axis, kept, 1);
        if (here.count == here.size)
            continue;
        int64_t inner = pruning_inner(&info->shape, axis), next = 0,
                outer = aml_shape_elements(&info->shape) / (here.size * inner);
        for (int64_t i = 0; i < here.size; i++) {
            if (next < here.count && here.place[next] == i) {
                next++;
                continue;
            }
            for (int64_t o = 0; o < outer; o++)
                memset(at + (size_t)((o * here.size + i) * inner) * element, 0,
                       (size_t)inner * element);
        }
    }
}

static bool is_touched(const Spread *s, const AxisKept *kept, int state)
{
    if (s->input[state] < 0)
        return false;
    for (int axis = 0; axis < s->p->job->state.at[state].info.tensor.shape.rank; axis++) {
        AxisKept here = axes_kept(s->p->axes, state, axis, kept, 1);
        if (here.count < here.size)
            return true;
    }
    return false;
}

static void measure_class(Spread *s, const Channels *c, Curve *curve)
{
    Arena *arena = arena_new(), *scratch = arena_new();
    Reconstruction *uses = NEW_ARRAY(arena, Reconstruction, c->use.count + 1);
    bool made_up = !s->p->d->deploy->prune.as_they_are;
    for (int u = 0; u < c->use.count && made_up; u++)
        made_up = reconstruction_begin(arena, c->use.at[u].given, &uses[u]);
    for (int l = 1; l < curve->levels; l++) {
        AxisKept kept = channels_kept(arena, c, curve->level[l].gone);
        if (made_up)
            channels_drop(scratch, c, uses, curve->level[l - 1].gone, curve->level[l].gone);
        for (int u = 0; u < c->use.count && made_up; u++)
            if (s->input[c->use.at[u].state] >= 0)
                reconstruction_weights(&uses[u], s->native.input[s->input[c->use.at[u].state]]);
        for (int i = 0; i < s->p->job->state.count; i++)
            if (is_touched(s, &kept, i))
                clear(s, &kept, i);
        curve->level[l].loss = fmax(loss_now(s), curve->level[l - 1].loss);
        for (int i = 0; i < s->p->job->state.count; i++)
            if (is_touched(s, &kept, i))
                fill(s, i);
    }
    arena_free(scratch);
    arena_free(arena);
}

// ---- choosing

static double flops_now(Spread *s)
{
    for (int i = 0; i < s->p->channels.count; i++)
        axes_resize(s->p->axes, s->p->channels.at[i].class,
                    s->p->channels.at[i].size - s->curve[i].level[s->curve[i].at].gone);
    return axes_flops(s->p->axes, s->fn);
}

static int64_t gone_now(const Spread *s)
{
    int64_t gone = 0;
    for (int i = 0; i < s->p->channels.count; i++)
        gone += s->curve[i].level[s->curve[i].at].gone;
    return gone;
}

// What costs least for what it saves. False: nothing is left to take.
static bool take_best(Spread *s, double part)
{
    double now = flops_now(s), least = INFINITY;
    int best = -1, to = 0;
    for (int i = 0; i < s->p->channels.count; i++) {
        Curve *curve = &s->curve[i];
        int at = curve->at;
        for (int l = at + 1; l < curve->levels; l++) {
            curve->at = l;
            double channels = (double)(curve->level[l].gone - curve->level[at].gone),
                   saved = channels / (double)s->channels + part * (now - flops_now(s)) / s->flops,
                   cost = (curve->level[l].loss - curve->level[at].loss + 1e-9) / saved;
            if (saved > 0 && (best < 0 || cost < least)) {
                best = i;
                to = l;
                least = cost;
            }
        }
        curve->at = at;
    }
    if (best >= 0)
        s->curve[best].at = to;
    return best >= 0;
}

static double most_flops(const Spread *s)
{
    return pow(1 - s->p->d->deploy->prune.share, 1.5) * s->flops;
}

static double least_gone(const Spread *s)
{
    return s->p->d->deploy->prune.share * (double)s->channels - 0.5;
}

// Gives some channels of one class back, for some of another one or for nothing, where that makes
// the loss smaller and saves as much as is wanted. False: no such exchange is left.
static bool improve(Spread *s)
{
    int count = s->p->channels.count, best[4] = {-1, 0, -1, 0};
    double most = 1e-9;
    for (int i = 0; i < count; i++)
        for (int back = 1; back <= 2 && back <= s->curve[i].at; back++)
            for (int k = 0; k < count; k++)
                for (int more = 0; more <= 2 && s->curve[k].at + more < s->curve[k].levels;
                     more++) {
                    Curve *left = &s->curve[i], *right = &s->curve[k];
                    double gain = left->level[left->at].loss - left->level[left->at - back].loss -
                                  right->level[right->at + more].loss +
                                  right->level[right->at].loss;
                    if (i == k || gain <= most)
                        continue;
                    left->at -= back;
                    right->at += more;
                    if ((double)gone_now(s) >= least_gone(s) && flops_now(s) <= most_flops(s)) {
                        most = gain;
                        memcpy(best, (int[]){i, back, k, more}, sizeof best);
                    }
                    left->at += back;
                    right->at -= more;
                }
    if (best[0] < 0)
        return false;
    s->curve[best[0]].at -= best[1];
    s->curve[best[2]].at += best[3];
    return true;
}

static void choose(Spread *s)
{
    enum { MOST_EXCHANGES = 200 };
    for (double part = 0; part <= 64; part = part > 0 ? 2 * part : 0.25) {
        for (int i = 0; i < s->p->channels.count; i++)
            s->curve[i].at = 0;
        while ((double)gone_now(s) < least_gone(s) && take_best(s, part))
            ;
        if (flops_now(s) <= most_flops(s))
            break;
    }
    for (int i = 0; i < MOST_EXCHANGES && improve(s); i++)
        ;
    for (int i = 0; i < s->p->channels.count; i++) {
        Channels *c = &s->p->channels.at[i];
        c->gone = s->curve[i].level[s->curve[i].at].gone;
        axes_resize(s->p->axes, c->class, c->size); // as it still is
    }
}

static void make_curves(Spread *s)
{
    s->curve = NEW_ARRAY(s->p->d->cx->arena, Curve, s->p->channels.count + 1);
    for (int i = 0; i < s->p->channels.count; i++) {
        Curve *curve = &s->curve[i];
        int64_t size = s->p->channels.at[i].size, unit = size < PARTS ? 1 : size / PARTS;
        for (curve->levels = 0; curve->levels * unit < size && curve->levels < LEVELS;)
            curve->level[curve->levels] = (Level){curve->levels * unit, 0}, curve->levels++;
        s->channels += size;
    }
}

// So many samples that a large model does not take for ever; known beforehand, so that the same
// input gives the same program.
static int64_t samples_for(const Spread *s)
{
    static const double most_flops = 4e11;
    int64_t runs = 1, batch = s->p->d->deploy->predict.at[0].input.at[0].shape.dim[0];
    for (int i = 0; i < s->p->channels.count; i++)
        runs += s->curve[i].levels;
    double some = most_flops / (fmax(s->flops, 1) / (double)batch * (double)runs);
    int64_t count = some < 16 ? 16 : some > 256 ? 256 : (int64_t)some;
    count = count < s->p->samples->count ? count : s->p->samples->count;
    return count / batch * batch > 0 ? count / batch * batch : batch;
}

static bool measured(Pruning *p)
{
    Spread spread = {.p = p, .fn = p->d->deploy->predict.at[0].ir}, *s = &spread;
    make_curves(s);
    s->flops = flops_now(s);
    s->used = samples_for(s);
    const char *wrong = open_model(s);
    wrong = wrong ? wrong : see_answers(s);
    for (int i = 0; i < p->channels.count && !wrong; i++)
        measure_class(s, &p->channels.at[i], &s->curve[i]);
    native_close(&s->native);
    if (wrong) {
        say(p->d->command, "error", "what channels are worth cannot be measured: %s", wrong);
        return false;
    }
    choose(s);
    return true;
}

bool channels_spread(Pruning *p)
{
    if (!p->d->deploy->prune.even)
        return measured(p);
    for (int i = 0; i < p->channels.count; i++) {
        Channels *c = &p->channels.at[i];
        int64_t gone = (int64_t)llround(p->d->deploy->prune.share * (double)c->size);
        c->gone = gone < c->size ? gone : c->size - 1;
    }
    return true;
}
