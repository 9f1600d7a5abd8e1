// The statistics of a data set in the state of a job: rows of the state table with their names, so
// that a checkpoint holds what its model was trained with.

#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

static const aml_state_info *row_of(const aml_job *job, const aml_statistic *statistic)
{
    for (int i = 0; i < job->states; i++)
        if (strcmp(job->state[i].tensor.name, statistic->tensor.name) == 0)
            return &job->state[i];
    return NULL;
}

aml_status amli_statistics_store(amli_session *session, aml_error *error)
{
    const aml_dataset *dataset = session->dataset;
    aml_status status = AML_OK;
    for (int i = 0; i < dataset->statistics && !status; i++) {
        const aml_state_info *row = row_of(session->job, &dataset->statistic[i]);
        if (!row)
            return amli_fail(error, AML_INTERNAL, "'%s' has no place for the statistic %s",
                             session->job->name, dataset->statistic[i].tensor.name);
        status = session->device->kind->upload(session->device, session->state, row->offset,
                                               session->samples->statistic[i],
                                               amli_tensor_bytes(&row->tensor), error);
    }
    return status;
}

aml_status amli_statistics_load(const aml_dataset *dataset, const aml_tensors *tensors,
                                const char *path, void ***value, aml_error *error)
{
    *value = NULL;
    if (dataset->statistics == 0)
        return AML_OK;
    void **made = calloc((size_t)dataset->statistics + 1, sizeof *made);
    aml_status status = made ? AML_OK : amli_no_memory(error, sizeof *made, "the statistics");
    for (int i = 0; i < dataset->statistics && !status; i++) {
        const aml_tensor_info *info = &dataset->statistic[i].tensor;
        int32_t at = aml_tensors_find(tensors, info->name);
        size_t bytes = amli_tensor_bytes(info);
        made[i] = amli_statistic_new(&dataset->statistic[i]);
        if (!made[i])
            status = amli_no_memory(error, bytes, info->name);
        else if (at < 0 || aml_tensors_bytes(tensors, at) != bytes ||
                 aml_tensors_info(tensors, at)->dtype != info->dtype)
            status = amli_fail(error, AML_BAD_CHECKPOINT,
                               "%s does not hold the statistic %s of the data set '%s' (%s), which "
                               "the program needs to prepare samples\nhelp: train again",
                               path, info->name, dataset->name, dataset->statistic[i].place);
        else
            memcpy(made[i], aml_tensors_data(tensors, at), bytes);
    }
    if (status)
        amli_statistics_free(dataset, made);
    else
        *value = made;
    return status;
}
