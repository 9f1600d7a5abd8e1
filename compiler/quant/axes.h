// axes.h: which axes of a job's tensors are one and the same, so that they can be made smaller
// together: the channels of a convolution's result, of what is added to it, of the norm behind it,
// of the weights that read it, of their gradients and of the optimizer's moments of these.

#ifndef AML_QUANT_AXES_H
#define AML_QUANT_AXES_H

#include "compile.h"

typedef struct Axes Axes;

// Nothing is known yet but the states of the job.
Axes *axes_new(Cx *cx, const ProgramJob *job);
// What a function, in which calls are inlined, says about its values' axes. In one that `predicts`
// a fold over an axis counts: a mean over fewer channels is another mean.
void axes_add(Axes *axes, IrFunction *fn, bool predicts);
// The classes that an axis of a state is made of, one after the other, most often one; equal
// classes change together.
typedef struct AxisClass {
    int class; // -1: it cannot change
    int64_t size;
} AxisClass;
typedef Vec(AxisClass) AxisClasses;
AxisClasses axes_classes(Axes *axes, int state, int axis);
// From now on the class has this size.
void axes_resize(Axes *axes, int class, int64_t size);
int64_t axes_size(Axes *axes, int state, int axis); // the new size
// The places of an axis that stay, if those of classes do; before classes are resized.
typedef struct AxisKept {
    int class;
    int64_t size, count;
    int64_t *place; // increasing
} AxisKept;
AxisKept axes_kept(Axes *axes, int state, int axis, const AxisKept kept[], int count);
// For each place of an axis of a state that of the class which it is; -1: it is of another. False:
// all are. Before classes are resized.
bool axes_places(Axes *axes, int state, int axis, int class, int64_t out[]);
// The operations of a function that was added, with the sizes that classes have now, as registers
// compute them: channels of products count by sixteen.
double axes_flops(Axes *axes, IrFunction *fn);
// Gives the values of a function that was added their new shapes.
void axes_apply(Axes *axes, IrFunction *fn);
// The axes of products' results, by class: weights whose axis `axis` makes channels of the class.
typedef struct AxisMaker {
    int state, axis;
    int64_t *place; // of the class, for each place of the axis; -1: it is of another class
} AxisMaker;
typedef Vec(AxisMaker) MakerList;
MakerList axes_makers(Axes *axes, int class);

#endif
