// stored.c: how a product with stored weights is divided, and the memory that it works in.

#include "passes/fuse.h"
#include "stored.h"

enum { MOST_PARTS = 16 };
static const double part_least = 512 << 10; // bytes of weights: a row is made bytes of in each part

static int64_t aligned(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

StoredShape stored_shape(const Inst *inst)
{
    Type a = inst->input[0]->type;
    StoredShape shape = {.k = a.dim[a.rank - 1], .n = inst->attr[2].whole};
    shape.m = type_elements(a) / shape.k;
    int64_t panels = stored_panels(shape.n);
    double bytes = (double)type_bytes(inst->input[1]->type) * (double)shape.m;
    int64_t wanted = bytes < 2 * part_least            ? 1
                     : bytes > MOST_PARTS * part_least ? MOST_PARTS
                                                       : (int64_t)(bytes / part_least);
    shape.part_panels = (panels + wanted - 1) / wanted;
    shape.part_panels = (shape.part_panels + 3) / 4 * 4; // what is computed at once
    shape.parts = (panels + shape.part_panels - 1) / shape.part_panels;
    if (inst->attr[0].whole < STORED_BF16) {
        int64_t group = inst->attr[1].whole, groups = stored_groups(shape.k, group);
        shape.part_bytes = (size_t)(shape.m * (aligned(groups * group) + aligned(8 * groups)));
    }
    return shape;
}

size_t stored_scratch_bytes(const Inst *inst)
{
    StoredShape shape = stored_shape(inst);
    return shape.part_bytes * (size_t)shape.parts;
}
