// learned.c: the ranges that a training with `quantize` has found, from its checkpoint.
//
// elab/rounded.c keeps the range of a value beside the first weight that it is multiplied with.
// Here layers have the names of their weights again, so each finds its own; layers that read one
// value share what one of them knows.

#include "quant/quant.h"

#include <math.h>
#include <string.h>

static const float *beside(const QuantRanges *ranges, Sym layer, const char *what, int64_t size)
{
    const char *name = arena_printf(ranges->cx->arena, "%s.%s", layer, what);
    for (int i = 0; i < aml_tensors_count(ranges->tensors); i++) {
        const aml_tensor_info *info = aml_tensors_info(ranges->tensors, i);
        if (strcmp(info->name, name) == 0 && info->dtype == AML_F32 &&
            aml_shape_elements(&info->shape) == size)
            return aml_tensors_data(ranges->tensors, i);
    }
    return NULL;
}

void quant_learned_ranges(const QuantRanges *ranges, QuantPlan *plan)
{
    bool *known = NEW_ARRAY(ranges->cx->arena, bool, plan->site.count + 1);
    for (int i = 0; i < plan->layer.count; i++) {
        QuantLayer *layer = &plan->layer.at[i];
        QuantSite *site = &plan->site.at[layer->site];
        const float *at = beside(ranges, layer->name, "input_range", 2),
                    *reach = beside(ranges, layer->name, "input_reach", 2);
        layer->reach = beside(ranges, layer->name, "weight_reach", layer->channels);
        if (known[layer->site] || !at)
            continue;
        known[layer->site] = true;
        // in f32, as stdlib/rounding.aml has it
        float low = reach ? at[0] * expf(reach[0]) : at[0],
              high = reach ? at[1] * expf(reach[1]) : at[1], width = high - low,
              step = width > 0 ? width / 255.0f : 1.0f;
        site->low = (double)low;
        site->high = (double)high;
        site->scale = (double)step;
        site->zero = (int)lrintf(-low / step);
    }
    for (int i = 0; i < plan->layer.count; i++)
        if (!known[plan->layer.at[i].site]) {
            plan->layer.at[i].kept = "no range was learned";
            plan->site.at[plan->layer.at[i].site].scale = 1;
        }
}
