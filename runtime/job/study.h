// study.h: an evaluation that trains: a cross-validation or a learning curve. study.c does it,
// study_result.c makes figures of it.

#ifndef AMLI_STUDY_H
#define AMLI_STUDY_H

#include <jansson.h>

#include "runtime/job/job.h"

// What is trained and measured: each share of the training part, on each fold.
typedef struct amli_study {
    const amli_command *command;
    const aml_job *job;     // whose metrics are measured
    const aml_job *trained; // whose model it is
    aml_which which;
    aml_part part; // that is held out
    int32_t folds; // 0: none
    int32_t shares;
    const double *share; // of shares 0: all
    char folder[PATH_MAX];
    json_t **result; // of share s and fold f: [s * amli_study_folds + f]; see study_result.c
    double seconds;
} amli_study;

// Trains what was not trained yet, measures, and tells. Everything but folder and result is set.
aml_status amli_study_run(amli_study *study, const amli_device_kind *kind, amli_log *log,
                          aml_error *error);

// A copy of a command for one training of several: `trained` on a fold, its runs in `folder`. The
// caller frees it, also after a failure.
aml_status amli_study_command(const amli_command *from, const aml_job *trained, amli_fold fold,
                              const char *folder, amli_command *command, aml_error *error);
// Trains on a fold, or goes on with it. `again` is what a user types after an interruption.
aml_status amli_study_train(const amli_command *from, const aml_job *trained, const char *again,
                            amli_fold fold, const char *folder, const amli_device_kind *kind,
                            aml_error *error);

int amli_study_folds(const amli_study *study);  // at least 1
int amli_study_shares(const amli_study *study); // at least 1

// ---- study_result.c

// One training's result as text.
aml_status amli_study_text(const amli_study *study, int share, int fold,
                           const amli_measured *measured, const amli_measured *on_training,
                           int64_t train_rows, const char *data, char **text, aml_error *error);
// Reads it back, and says what is wrong with it. The caller gives it back with json_decref.
aml_status amli_study_read(const char *path, const char *text, size_t length, json_t **out,
                           aml_error *error);
// All of them as {"job", "folds", "metrics": {"accuracy": {"mean", "sd", "folds"}}, "curve": [..]}.
json_t *amli_study_json(const amli_study *study);
// All of them: result.json, metrics.jsonl with a line for each share, and what is printed.
aml_status amli_study_finish(const amli_study *study, aml_error *error);

#endif
