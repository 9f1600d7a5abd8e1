// stored.c: how a product with stored weights is divided, and the memory that it works in.

#include "passes/fuse.h"
#include "stored.h"

// Threads take parts one after the other, so the more there are the less the last one is waited
// for; a part is a piece of memory that is read from its beginning to its end.
enum { MOST_PARTS = 256, FEW_ROWS = 8 };
static const double part_least = 64 << 10; // bytes of weights

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
    shape.part_panels = (shape.part_panels + STORED_BLOCK - 1) / STORED_BLOCK * STORED_BLOCK;
    shape.parts = (panels + shape.part_panels - 1) / shape.part_panels;
    if (inst->attr[0].whole < STORED_BF16) {
        int64_t group = inst->attr[1].whole, groups = stored_groups(shape.k, group);
        shape.row_bytes = (size_t)(aligned(groups * group) + aligned(8 * groups));
    }
    shape.part_rows = shape.m < FEW_ROWS ? shape.m : FEW_ROWS / 2;
    shape.row_parts = (shape.m + shape.part_rows - 1) / shape.part_rows;
    return shape;
}

size_t stored_scratch_bytes(const Inst *inst)
{
    StoredShape shape = stored_shape(inst);
    return shape.row_bytes * (size_t)shape.m;
}
