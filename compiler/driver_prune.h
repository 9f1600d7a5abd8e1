// driver_prune.h: what the files that leave channels out share.
//
//   driver_prune.c     the stages in order: choosing, cutting, fine-tuning, what is saved
//   driver_channels.c  which channels go, and weights that make up for them
//   driver_spread.c    how many go from where, by what the model's answers lose

#ifndef AML_DRIVER_PRUNE_H
#define AML_DRIVER_PRUNE_H

#include "driver_deploy.h"
#include "quant/axes.h"
#include "quant/reconstruct.h"

// A product that reads channels of a class.
typedef struct ChannelUse {
    const Given *given;
    int state;
    int64_t *place; // of the class, for each of its channels; -1: it is of another class
} ChannelUse;

typedef struct Channels { // of a class of axes
    int class;
    int64_t size;
    double *weight; // how much each weighs, by magnitude
    Vec(ChannelUse) use;
    int64_t *order; // in which they go
    int64_t gone;   // so many of the first do
} Channels;

typedef Vec(Weight) WeightList;

typedef struct Pruning {
    Deployment *d;
    ProgramJob *job;
    Axes *axes;
    IrFunction *plain; // the function of the smallest batch, with states as parameters
    GivenList given;
    WeightList before; // the weights as they are in the checkpoint
    const QuantSamples *samples;
    Vec(Channels) channels;
    Vec(AxisKept) kept;
} Pruning;

// The state that a tensor of the checkpoint is, or is one turn of; -1: none.
int pruning_state(const ProgramJob *job, const char *tensor);
Weight *pruning_weight(Deployment *d, const char *name);
double pruning_flops(const IrFunction *fn);
int64_t pruning_inner(const aml_shape *shape, int axis); // elements of one place of the axis

// driver_channels.c: fills p->kept, and gives the weights that read what goes new values. False
// after an error.
bool channels_choose(Pruning *p);
// Leaves the next channels of a class out of what reads it: those from `from` to `to` of its order.
// `uses`: one for each use, as it is before.
void channels_drop(Arena *scratch, const Channels *c, Reconstruction *uses, int64_t from,
                   int64_t to);
AxisKept channels_kept(Arena *arena, const Channels *c, int64_t gone);

// driver_spread.c: how many channels of each class go. False after an error.
bool channels_spread(Pruning *p);

#endif
