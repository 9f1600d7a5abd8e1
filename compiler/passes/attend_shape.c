// attend_shape.c: the sizes of attention, for the planner and the code generator.

#include "passes/fuse.h"

AmlAttend attend_shape(const Inst *inst, int width, bool pairs)
{
    Type type[] = {inst->input[0]->type, inst->input[1]->type, inst->input[2]->type};
    AttendSizes s = attend_sizes(type, NULL);
    AmlAttend a = {.lanes = width / 4,
                   .pairs = pairs && type[0].dtype == DTYPE_BF16,
                   .images = s.images,
                   .queries = s.queries,
                   .heads = s.heads,
                   .size = s.size,
                   .keys = s.keys,
                   .groups = s.groups,
                   .width = s.width};
    if (inst->op == OP_attend_cached)
        aml_attend_plan_cached(&a);
    else
        aml_attend_plan(&a, inst->op == OP_attend_back);
    return a;
}

size_t attend_scratch_bytes(const Inst *inst)
{
    size_t most = 0;
    for (int way = 0; way < 4; way++) { // three widths, and pairs in the widest
        AmlAttend a = attend_shape(inst, way == 3 ? 64 : 16 << way, way == 3);
        size_t all = a.scratch_bytes * (size_t)a.parts;
        most = all > most ? all : most;
    }
    return most;
}
