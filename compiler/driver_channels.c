// driver_channels.c: which channels go, and weights that make up for them.
//
// The order in which the channels of a class go is that of their magnitudes, or (`by: error`) each
// time the one goes without which the products that read the class give the most similar results,
// the other weights having made up for it. In either case they do in the end (quant/reconstruct.c).

#include "driver_prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 512 };

// ---- the classes

// Adds how much each place of the class weighs in the weights that make it, in all turns.
static bool weigh(const Pruning *p, AxisMaker maker, double *sum)
{
    const aml_state_info *info = &p->job->state.at[maker.state].info;
    char name[1024];
    int axis = maker.axis - info->stack;
    for (int64_t part = 0; part < aml_state_parts(info); part++) {
        aml_tensor_info one;
        aml_state_part(info, part, &one, name, sizeof name);
        const Weight *weight = pruning_weight(p->d, one.name);
        if (!weight || weight->dtype != AML_F32 || axis < 0)
            return false;
        int64_t inner = pruning_inner(&weight->shape, axis), size = weight->shape.dim[axis];
        for (int64_t i = 0; i < aml_shape_elements(&weight->shape); i++) {
            double value = fabs(element_real(DTYPE_F32, weight->at, i));
            int64_t place = maker.place[i / inner % size];
            if (place >= 0)
                sum[place] += p->d->deploy->prune.by == PRUNE_L2 ? value * value : value;
        }
    }
    return true;
}

static bool is_known(const Pruning *p, int class)
{
    for (int i = 0; i < p->channels.count; i++)
        if (p->channels.at[i].class == class)
            return true;
    return false;
}

static void find_uses(Pruning *p, Channels *c)
{
    Arena *arena = p->d->cx->arena;
    for (int i = 0; i < p->given.count; i++) {
        const Given *given = &p->given.at[i];
        ChannelUse use = {given, pruning_state(p->job, given->name), NULL};
        if (use.state < 0 || p->job->state.at[use.state].info.stack > 0)
            continue;
        use.place = NEW_ARRAY(arena, int64_t, given->k / given->taps + 1);
        if (axes_places(p->axes, use.state, given->axis, c->class, use.place))
            vec_push(arena, &c->use, use);
    }
}

static void find_class(Pruning *p, AxisClass class)
{
    Arena *arena = p->d->cx->arena;
    if (class.class < 0 || is_known(p, class.class))
        return;
    MakerList makers = axes_makers(p->axes, class.class);
    Channels c = {.class = class.class, .size = class.size};
    c.weight = NEW_ARRAY(arena, double, c.size + 1);
    c.order = NEW_ARRAY(arena, int64_t, c.size + 1);
    bool good = makers.count > 0;
    for (int i = 0; i < makers.count && good; i++)
        good = weigh(p, makers.at[i], c.weight);
    if (!good)
        return;
    find_uses(p, &c);
    vec_push(arena, &p->channels, c);
}

static void find_classes(Pruning *p)
{
    for (int s = 0; s < p->job->state.count; s++)
        for (int axis = 0; axis < p->job->state.at[s].info.tensor.shape.rank; axis++) {
            AxisClasses classes = axes_classes(p->axes, s, axis);
            for (int i = 0; i < classes.count; i++)
                find_class(p, classes.at[i]);
        }
}

// ---- the order in which channels go

static void order_by_weight(Channels *c, bool *out)
{
    for (int64_t at = 0; at < c->size; at++) {
        int64_t least = -1;
        for (int64_t i = 0; i < c->size; i++)
            if (!out[i] && (least < 0 || c->weight[i] < c->weight[least]))
                least = i;
        out[least] = true;
        c->order[at] = least;
    }
}

// The channels of what reads the class that one of its places is.
static int64_t channels_of(const ChannelUse *use, int64_t place, int64_t *out)
{
    int64_t count = 0, channels = use->given->k / use->given->taps;
    for (int64_t i = 0; i < channels; i++)
        if (use->place[i] == place)
            out[count++] = i;
    return count;
}

static double cost_of(Arena *scratch, const Channels *c, const Reconstruction *uses, int64_t place)
{
    double cost = 0;
    for (int u = 0; u < c->use.count; u++) {
        const Given *given = c->use.at[u].given;
        int64_t *channel = NEW_ARRAY(scratch, int64_t, given->k / given->taps + 1),
                count = channels_of(&c->use.at[u], place, channel);
        cost += reconstruction_cost(scratch, &uses[u], channel, count);
    }
    return cost;
}

void channels_drop(Arena *scratch, const Channels *c, Reconstruction *uses, int64_t from,
                   int64_t to)
{
    for (int64_t at = from; at < to; at++)
        for (int u = 0; u < c->use.count; u++) {
            const Given *given = c->use.at[u].given;
            arena_reset(scratch);
            int64_t *channel = NEW_ARRAY(scratch, int64_t, given->k / given->taps + 1),
                    count = channels_of(&c->use.at[u], c->order[at], channel);
            reconstruction_drop(scratch, &uses[u], channel, count);
        }
}

static void order_by_error(Channels *c, Reconstruction *uses, Arena *scratch, bool *out)
{
    for (int64_t at = 0; at < c->size; at++) {
        int64_t least = -1;
        double smallest = INFINITY;
        for (int64_t i = 0; i < c->size; i++) {
            if (out[i])
                continue;
            arena_reset(scratch);
            double cost = cost_of(scratch, c, uses, i);
            if (least < 0 || cost < smallest) {
                least = i;
                smallest = cost;
            }
        }
        out[least] = true;
        c->order[at] = least;
        channels_drop(scratch, c, uses, at, at + 1);
    }
}

static void order(Pruning *p, Channels *c)
{
    Arena *arena = arena_new(), *scratch = arena_new();
    Reconstruction *uses = NEW_ARRAY(arena, Reconstruction, c->use.count + 1);
    bool *out = NEW_ARRAY(arena, bool, c->size + 1);
    bool good = p->d->deploy->prune.by == PRUNE_ERROR && c->use.count > 0;
    for (int u = 0; u < c->use.count && good; u++)
        good = reconstruction_begin(arena, c->use.at[u].given, &uses[u]);
    if (good)
        order_by_error(c, uses, scratch, out);
    else
        order_by_weight(c, out);
    arena_free(scratch);
    arena_free(arena);
}

// ---- all of it

AxisKept channels_kept(Arena *arena, const Channels *c, int64_t gone)
{
    AxisKept kept = {c->class, c->size, 0, NEW_ARRAY(arena, int64_t, c->size + 1)};
    bool *stays = NEW_ARRAY(arena, bool, c->size + 1);
    for (int64_t i = gone; i < c->size; i++)
        stays[c->order[i]] = true;
    for (int64_t i = 0; i < c->size; i++)
        if (stays[i])
            kept.place[kept.count++] = i;
    return kept;
}

// New weights for what reads channels that go.
static void make_up(Pruning *p, const Given *given)
{
    Weight *weight = pruning_weight(p->d, given->name);
    int state = pruning_state(p->job, given->name);
    if (!weight || state < 0 || p->job->state.at[state].info.stack > 0)
        return;
    AxisKept kept = axes_kept(p->axes, state, given->axis, p->kept.at, p->kept.count);
    if (kept.count == kept.size)
        return;
    Arena *arena = arena_new(), *scratch = arena_new();
    Reconstruction made;
    if (reconstruction_begin(arena, given, &made)) {
        int64_t next = 0;
        for (int64_t i = 0; i < kept.size; i++) {
            if (next < kept.count && kept.place[next] == i) {
                next++;
                continue;
            }
            arena_reset(scratch);
            reconstruction_drop(scratch, &made, &i, 1);
        }
        float *out = NEW_ARRAY(p->d->cx->arena, float, given->k * given->columns + 1);
        reconstruction_weights(&made, out);
        weight->at = out;
    }
    arena_free(scratch);
    arena_free(arena);
}

static const char *see_inputs(Pruning *p, const QuantSamples *samples)
{
    Deployment *d = p->d;
    IrFunction *fn = ir_clone_function(d->exact, NULL, sym_of(d->cx, "seen"));
    return given_inputs(d->cx, fn, &d->deploy->predict.at[0], samples, SAMPLES, d->folder,
                        &p->given);
}

bool channels_choose(Pruning *p)
{
    Deployment *d = p->d;
    QuantSamples samples;
    aml_tensors *tensors = NULL;
    if (!deploy_samples(d, "train", SAMPLES, &samples, &tensors))
        return false;
    const char *wrong = see_inputs(p, &samples);
    bool good = !wrong;
    p->samples = &samples;
    if (wrong)
        say(d->command, "error", "the model cannot be run on its samples: %s", wrong);
    else
        find_classes(p);
    for (int i = 0; i < p->channels.count; i++)
        order(p, &p->channels.at[i]);
    good = good && (p->channels.count == 0 || channels_spread(p));
    for (int i = 0; i < p->channels.count && good; i++)
        if (p->channels.at[i].gone > 0)
            vec_push(d->cx->arena, &p->kept,
                     channels_kept(d->cx->arena, &p->channels.at[i], p->channels.at[i].gone));
    for (int i = 0; i < p->given.count && good && !d->deploy->prune.as_they_are; i++)
        make_up(p, &p->given.at[i]);
    p->samples = NULL;
    aml_tensors_close(tensors);
    return good;
}
