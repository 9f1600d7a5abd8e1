// train.h: a training while it runs. train.c is the loop, step.c a step, guard.c what is done about
// one that goes wrong, train_run.c its folder.

#ifndef AMLI_TRAIN_H
#define AMLI_TRAIN_H

#include "runtime/job/job.h"

typedef struct amli_training {
    amli_command *command;
    const aml_job *job;
    amli_session session;
    amli_log log;
    amli_figures figures;
    amli_store store;
    amli_writer *writer;
    amli_progress progress;
    amli_sampler sampler;
    amli_loader *loader;     // NULL: batches are only copied, or are made in the step's thread
    double waited;           // seconds spent on getting batches
    aml_checkpoint *resumed; // what the state is loaded from, until it is
    int lock;                // the run's lock file, -1: none
    bool is_new;
    const int64_t *train_row, *valid_row;
    int64_t train_rows, valid_rows;
    int64_t *batch_row;
    int64_t *next_row; // of the next step's batch, if it is that of number next_number
    int64_t next_number;
    const void *soon[AML_SOON]; // where these rows are
    double seconds_before;      // of training in earlier sessions
    double started;             // when this session began to train
    int64_t first_step;         // of this session
    double stepping;            // seconds spent in steps, without validations and checkpoints
    // The rate is that of the steps since from: between one and two of RATE_SECONDS ago.
    struct {
        int64_t step;
        double stepping;
    } from, next;
    double last_loss;
    double *figure;                    // of the last step, in the order of its outputs
    int skipped_output, length_output; // which of them is what; -1: none
    bool measured_once;
    amli_measured last; // the last validation
    int64_t asked_step; // of the newest checkpoint that exists or is being written, -1: none
    int64_t saved_step; // the newest that was written in this session, -1: none; known at the end
    double paused;      // seconds that checkpoints kept the training waiting
    bool stopped_early;
} amli_training;

// ---- train.c

// Whether something that happens every `every` is due after this step. `count` is how many times it
// was due so far.
bool amli_training_due(const amli_training *training, const aml_quantity *every, int64_t *count);

// Batches of the steps that come are made ahead, if that is worth it.
aml_status amli_training_start_loader(amli_training *training, aml_error *error);

// Which rows are trained on and validated, and the order of the former.
aml_status amli_training_choose_rows(amli_training *training, aml_error *error);

// ---- step.c

// One step with all that follows from its figures. *went_back: progress is that of an earlier step.
aml_status amli_training_step(amli_training *training, bool *went_back, aml_error *error);
aml_status amli_figures_of_step(amli_training *training, aml_error *error); // once

// The step alone: `figure` and progress->step are new.
aml_status amli_step_run(amli_training *training, aml_error *error);
int amli_step_wrong(const amli_training *training); // the first figure that is not finite, -1: none
bool amli_step_skipped(const amli_training *training);

// ---- guard.c
void amli_guard_limits(const amli_training *training, float limit[2]);
aml_status amli_guard_note(amli_training *training); // a step that was fine
aml_status amli_guard_act(amli_training *training, bool *went_back, aml_error *error); // or was not

// ---- train_board.c: nothing without --tensorboard

aml_status amli_training_histograms(amli_training *training, aml_error *error);
aml_status amli_training_pictures(amli_training *training, aml_error *error);

// ---- train_run.c

// Initial values, then what files have.
aml_status amli_training_begin_weights(amli_training *training, aml_error *error);

// Makes a run's folder, or finds the one to resume and the options it was begun with.
aml_status amli_training_find_run(amli_training *training, aml_error *error);

// With data and memory at hand: the initial state, or the checkpoint's. Refuses another program's
// or other data's.
aml_status amli_training_begin_state(amli_training *training, aml_error *error);

// Takes a snapshot of this step and has it written.
aml_status amli_training_save(amli_training *training, bool scored, double score, aml_error *error);

// The best checkpoint that was measured, the older of equals; NULL: none.
const amli_stored *amli_training_best(const amli_training *training);

// At the end of a training that restores: back to the best checkpoint's state, if it is better than
// this one. `scored`, `score`: what was measured of this one.
aml_status amli_training_restore(amli_training *training, bool scored, double score,
                                 aml_error *error);

// Takes a snapshot that is not written: of a state that is on the disk already.
aml_status amli_training_remember(amli_training *training, aml_error *error);

// Waits for the checkpoint that is being written. Fails if one could not be.
aml_status amli_training_wait(amli_training *training, aml_error *error);

void amli_training_end_run(amli_training *training);

// ---- scaling.c

// How many steps were left out since the training began, because f16 could not hold their
// gradients; -1: it is none of f16.
int64_t amli_training_skipped(const amli_training *training);

#endif
