// Sessions of jobs that were trained.

#include "runtime/job/job.h"

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE };

aml_status amli_trained_find(const amli_command *command, const aml_job *job, aml_which which,
                             amli_log *log, aml_checkpoint **out, aml_error *error)
{
    return command->checkpoint ? aml_checkpoint_open(command->checkpoint, out, error)
                               : aml_checkpoint_find(command->runs, job->name, which,
                                                     amli_log_notice, log, out, error);
}

aml_status amli_trained_open(const amli_command *command, const aml_job *job,
                             const amli_device_kind *kind, amli_log *log, amli_session *session,
                             int64_t *step, aml_error *error)
{
    aml_checkpoint *checkpoint;
    aml_which which = job->keep_best > 0 ? AML_WHICH_BEST : AML_WHICH_LAST;
    aml_status status = amli_trained_find(command, job, which, log, &checkpoint, error);
    if (status)
        return status;
    const aml_tensors *weights = aml_checkpoint_weights(checkpoint);
    const char *path = aml_checkpoint_path(checkpoint);
    *step = aml_checkpoint_describe(checkpoint)->step;
    status = amli_check_state(job, weights, WEIGHTS, false, path, error);
    if (!status)
        status = amli_session_open(command, job, kind, session, error);
    if (!status)
        status = amli_load_state(job, weights, WEIGHTS, session->device, session->state, error);
    if (!status)
        status = amli_statistics_load(session->dataset, weights, path, &session->statistic, error);
    aml_checkpoint_close(checkpoint);
    return status;
}
