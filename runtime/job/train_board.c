// What TensorBoard is told beside the figures: histograms of the weights after each validation, and
// of their gradients where the optimizer keeps them (`recorded`), and the first samples that look
// like pictures, once.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/train.h"

// The state of an optimizer that is a weight's gradient: fc.weight.gradient.
static bool is_gradient(const aml_state_info *state)
{
    static const char ending[] = ".gradient";
    size_t length = strlen(state->tensor.name), most = sizeof ending - 1;
    return state->role == AML_ROLE_OPTIMIZER && length > most &&
           strcmp(state->tensor.name + length - most, ending) == 0;
}

static aml_status histogram_of(amli_training *training, const aml_state_info *state,
                               aml_error *error)
{
    const aml_tensor_info *info = &state->tensor;
    amli_device *device = training->session.device;
    int64_t count = aml_shape_elements(&info->shape);
    size_t bytes = amli_tensor_bytes(info);
    char *raw = malloc(bytes + 1), tag[512];
    double *value = malloc((size_t)(count + 1) * sizeof *value);
    aml_status status = raw && value ? AML_OK : amli_no_memory(error, bytes, "a histogram");
    if (!status)
        status = device->kind->download(device, training->session.state, state->offset, raw, bytes,
                                        error);
    for (int64_t i = 0; i < count && !status; i++)
        value[i] = amli_element(info->dtype, raw, i);
    if (is_gradient(state))
        snprintf(tag, sizeof tag, "gradients/%.*s", (int)(strlen(info->name) - strlen(".gradient")),
                 info->name);
    else
        snprintf(tag, sizeof tag, "weights/%s", info->name);
    if (!status)
        status = amli_events_histogram(&training->figures.events, training->progress.step, tag,
                                       value, count, error);
    free(raw), free(value);
    return status;
}

aml_status amli_training_histograms(amli_training *training, aml_error *error)
{
    const aml_job *job = training->job;
    aml_status status = AML_OK;
    if (training->figures.events.file < 0)
        return status;
    for (int i = 0; i < job->states && !status; i++)
        if (job->state[i].role == AML_ROLE_WEIGHT || is_gradient(&job->state[i]))
            status = histogram_of(training, &job->state[i], error);
    return status;
}

aml_status amli_training_pictures(amli_training *training, aml_error *error)
{
    enum { SHOWN = 8 };
    const aml_dataset *dataset = training->session.dataset;
    int field = amli_picture_field(dataset);
    if (training->figures.events.file < 0 || field < 0)
        return AML_OK;
    const aml_tensor_info *info = &dataset->prepare.output[field];
    void **to = calloc((size_t)dataset->prepare.outputs + 1, sizeof *to);
    char *raw = malloc(amli_tensor_bytes(info) + 1);
    aml_status status =
        to && raw ? AML_OK : amli_no_memory(error, amli_tensor_bytes(info), "a picture");
    for (int64_t i = 0; i < SHOWN && i < training->train_rows && !status; i++) {
        amli_buffer png = {0};
        amli_picture picture;
        char tag[300];
        to[field] = raw;
        status = amli_samples_batch(training->session.samples, &training->train_row[i], 1, NULL,
                                    NULL, to, error);
        if (!status)
            amli_picture_png(info, raw, &picture, &png);
        snprintf(tag, sizeof tag, "samples/%s/%lld", info->name, (long long)i);
        if (!status)
            status = amli_events_picture(&training->figures.events, 0, tag, &png, picture.width,
                                         picture.height, picture.channels, error);
        amli_buffer_free(&png);
    }
    free(to), free(raw);
    return status;
}
