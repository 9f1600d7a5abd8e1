// weights.c: the weights of a layer as small integers with a scale for each channel.

#include "quant/quant.h"

#include <math.h>

double quant_decibels(double signal, double noise)
{
    return noise <= 0 ? 99 : signal <= 0 ? 0 : fmin(99, 10 * log10(signal / noise));
}

// Symmetric: the largest magnitude of a channel (or of all) becomes 127, or 7 with 4 bits.
void quant_round_weights(Cx *cx, QuantLayer *layer, const QuantizeSetting *setting)
{
    const double most = setting->bits == 4 ? 7 : 127;
    const Inst *weights = layer->constant;
    const float *at = weights->attr[0].data.at;
    int64_t elements = type_elements(weights->type), inner = 1;
    for (int i = layer->weight_axis + 1; i < weights->type.rank; i++)
        inner *= weights->type.dim[i];
    int8_t *bytes = NEW_ARRAY(cx->arena, int8_t, elements + 1);
    layer->scale = NEW_ARRAY(cx->arena, double, layer->channels + 1);
    layer->correction = NEW_ARRAY(cx->arena, double, layer->channels + 1);
    for (int64_t i = 0; i < elements; i++) {
        int64_t channel = setting->per_tensor ? 0 : i / inner % layer->channels;
        layer->scale[channel] = fmax(layer->scale[channel], fabs((double)at[i]) / most);
    }
    for (int64_t i = 0; i < layer->channels; i++) {
        layer->scale[i] = setting->per_tensor ? layer->scale[0] : layer->scale[i];
        if (layer->scale[i] == 0)
            layer->scale[i] = 1; // all of them are 0
        if (layer->reach)
            layer->scale[i] *= (double)expf(layer->reach[i]);
        layer->scale[i] = (double)(float)layer->scale[i];
    }
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < elements; i++) {
        double scale = layer->scale[i / inner % layer->channels];
        double byte = fmax(-most, fmin(most, rint((double)at[i] / scale)));
        bytes[i] = (int8_t)byte;
        signal += (double)at[i] * (double)at[i];
        noise += (byte * scale - (double)at[i]) * (byte * scale - (double)at[i]);
    }
    layer->weight = bytes;
    layer->weight_error = quant_decibels(signal, noise);
    layer->bytes_before = elements * (int64_t)sizeof(float);
    layer->bytes_after =
        (int64_t)stored_length(bytes, (size_t)elements) + layer->channels * (int64_t)sizeof(float);
}
