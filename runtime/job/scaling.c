// scaling.c: what became of the steps of a training in f16. The compiled step leaves out those
// whose gradients are not finite and counts them in a state of the optimizer.

#include <string.h>

#include "runtime/job/train.h"

int64_t amli_training_skipped(const amli_training *training)
{
    const amli_session *session = &training->session;
    for (int i = 0; i < training->job->states; i++) {
        const aml_state_info *state = &training->job->state[i];
        int64_t count = 0;
        aml_error error;
        if (strcmp(state->tensor.name, "loss_scale.skipped") != 0 ||
            state->role != AML_ROLE_OPTIMIZER || state->tensor.dtype != AML_I64 ||
            state->tensor.shape.rank != 0)
            continue;
        if (session->device->kind->download(session->device, session->state, state->offset, &count,
                                            sizeof count, &error))
            return -1;
        return count;
    }
    return -1;
}
