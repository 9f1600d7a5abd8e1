// learned.c: the ranges that a training with `quantize` has found, from its checkpoint.
//
// elab/rounded.c keeps the range of a value beside the first weight that it is multiplied with.
// Here layers have the names of their weights again, so each finds its own; layers that read one
// value share what one of them knows.

#include "quant/quant.h"

#include <math.h>
#include <string.h>

static const aml_tensor_info *range_of(const QuantRanges *ranges, Sym layer, const float **at)
{
    Cx *cx = ranges->cx;
    const char *name = arena_printf(cx->arena, "%s.input_range", layer);
    for (int i = 0; i < aml_tensors_count(ranges->tensors); i++) {
        const aml_tensor_info *info = aml_tensors_info(ranges->tensors, i);
        if (strcmp(info->name, name) != 0 || info->dtype != AML_F32 ||
            aml_shape_elements(&info->shape) != 2)
            continue;
        *at = aml_tensors_data(ranges->tensors, i);
        return info;
    }
    return NULL;
}

void quant_learned_ranges(const QuantRanges *ranges, QuantPlan *plan)
{
    bool *known = NEW_ARRAY(ranges->cx->arena, bool, plan->site.count + 1);
    for (int i = 0; i < plan->layer.count; i++) {
        const QuantLayer *layer = &plan->layer.at[i];
        QuantSite *site = &plan->site.at[layer->site];
        const float *at;
        if (known[layer->site] || !range_of(ranges, layer->name, &at))
            continue;
        known[layer->site] = true;
        site->low = (double)at[0];
        site->high = (double)at[1];
        // in f32, as stdlib/rounding.aml has it
        float width = at[1] - at[0], step = width > 0 ? width / 255.0f : 1.0f;
        site->scale = (double)step;
        site->zero = (int)lrintf(-at[0] / step);
    }
    for (int i = 0; i < plan->layer.count; i++)
        if (!known[plan->layer.at[i].site]) {
            plan->layer.at[i].kept = "no range was learned";
            plan->site.at[plan->layer.at[i].site].scale = 1;
        }
}
