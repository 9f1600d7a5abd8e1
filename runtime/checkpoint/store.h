// checkpoint/: saving and finding what a run has learned.
//
//   rows.c         the state table as files know it
//   safetensors.c  the file format, both ways
//   progress.c     state.json: where a training stands
//   write.c        the protocol by which a checkpoint becomes visible, whole, and what is kept
//   writer.c       the thread that does it while the training goes on
//   room.c         whether the disk has room
//   read.c         opening and verifying one
//   load.c         weights from other files
//   runs.c         runs/JOB/RUN/checkpoints/step-000123: names, and finding the newest sound one

#ifndef AMLI_STORE_H
#define AMLI_STORE_H

#include <limits.h>

#include "aml/checkpoint.h"
#include "runtime/base/base.h"
#include "runtime/device/device.h"

#define AMLI_WEIGHTS_FILE "weights.safetensors"
#define AMLI_OPTIMIZER_FILE "optimizer.safetensors"
#define AMLI_STATE_FILE "state.json"
#define AMLI_MANIFEST_FILE "MANIFEST.json"

// ---- rows.c

// One ordinary row (stack 0) for each tensor that the states of certain roles are in a file.
typedef struct amli_rows {
    int count;
    aml_state_info *at;
    char *text; // their names
} amli_rows;

aml_status amli_rows_make(const aml_job *job, unsigned roles, amli_rows *rows, aml_error *error);
void amli_rows_free(amli_rows *rows);

// ---- safetensors.c

// Writes the states whose role is in `roles` (bits 1 << role) from a copy of the state arena,
// without syncing the file, and says its size and hash. Tensors are ordered by element size
// (largest first, so all are aligned) and name; the same state gives the same bytes.
aml_status amli_tensors_write(const char *path, const char *state, const aml_job *job,
                              unsigned roles, size_t *bytes, char hash[AMLI_HASH_TEXT],
                              aml_error *error);

// ---- progress.c

// Where a training stands after `step` steps.
typedef struct amli_progress {
    int64_t step;
    int64_t seed, batch;
    int64_t overfit; // --overfit, 0: no
    double seconds;  // of training so far, over all sessions
    double loss_sum; // since the last validation
    int64_t loss_count;
    bool has_best; // for early stop
    double best;
    int64_t best_step;
    int64_t next_validation,
        next_checkpoint; // counts of those done, for settings in seconds: the next time
    int64_t log_bytes;   // length of metrics.jsonl
    bool finished;       // the training is complete
    // The guard: how many batches the data are ahead of the step, how often it went back, how many
    // steps were left out, and how many of them just now in a row.
    int64_t ahead, rollbacks, skipped, skipped_in_a_row;
    // The usual loss and length of gradients, of `usual_steps` steps.
    int64_t usual_steps;
    double usual_loss, usual_loss_variance, usual_length, usual_length_variance;
    int options; // of the command line
    char **option_name, **option_text;
} amli_progress;

aml_status amli_progress_write(const amli_progress *progress, char **text, size_t *length,
                               aml_error *error); // the caller frees
aml_status amli_progress_read(const char *path, const char *text, size_t length,
                              amli_progress *progress, aml_error *error);
void amli_progress_free(amli_progress *progress);
aml_status amli_progress_add_option(amli_progress *progress, const char *name, const char *text,
                                    aml_error *error);

// ---- write.c

typedef struct amli_stored { // a checkpoint that exists
    int64_t step;
    bool scored, lower_is_better;
    double score;
} amli_stored;

typedef struct amli_store {
    const aml_program *program;
    const aml_job *job;
    char run[PATH_MAX];    // runs/digits_mlp/20250131-120000-1f3a
    char folder[PATH_MAX]; // its checkpoints
    const char *data_fingerprint;
    const char *score_name;
    bool lower_is_better;
    amli_stored *stored; // by step, increasing
    int count, capacity;
} amli_store;

// What a checkpoint is made of, as it was after one step. The owner of a training keeps one, so
// that it may go on while the snapshot is written.
typedef struct amli_snapshot {
    char *state;            // a copy of the state arena, job->state_bytes
    amli_progress progress; // its options belong to the training
    bool scored;
    double score;
    int log; // a file that is synced before the checkpoint becomes visible, -1: none
    const char *log_path;
    // what was decided when it was taken
    bool best;       // the pointer `best` becomes this one
    int64_t *remove; // steps whose checkpoints go once this one is complete
    int removes, room;
} amli_snapshot;

// Decides what writing this snapshot changes: which checkpoints stay. The newest keep_last do (two
// at least, so that there is a previous one if the newest is damaged), and the keep_best best. What
// is decided depends on the order of the calls only, not on when the files are written.
aml_status amli_store_decide(amli_store *store, amli_snapshot *snapshot, aml_error *error);

// Writes the checkpoint and then removes those that need not be kept. Reads nothing of the store
// that amli_store_decide changes, so it may run beside it.
aml_status amli_store_write(const amli_store *store, const amli_snapshot *snapshot,
                            aml_error *error);

// The bytes of one checkpoint's tensors, and how many checkpoints stay at most.
size_t amli_checkpoint_bytes(const aml_job *job);
int amli_checkpoints_kept(const aml_job *job);

void amli_store_free(amli_store *store);

// ---- writer.c

// A thread that writes one checkpoint at a time. All functions are called by one other thread, the
// training's.
typedef struct amli_writer amli_writer;

// How many snapshots a training keeps.
int amli_snapshots(const aml_job *job);

// The memory of `count` snapshots is allocated here. Without a second thread to be had, checkpoints
// are written by the caller's.
aml_status amli_writer_new(amli_store *store, int count, amli_writer **out, aml_error *error);
void amli_writer_free(amli_writer *writer); // waits for what is being written; NULL is allowed

// A snapshot to fill. Waits if all are still to be written; fails if a write failed.
aml_status amli_writer_next(amli_writer *writer, amli_snapshot **out, aml_error *error);

// The one that was given last is filled: it is the newest, and is written unless it is on the disk
// already.
aml_status amli_writer_put(amli_writer *writer, bool write, aml_error *error);

// The newest one, which does not change until the next is put, or NULL.
const amli_snapshot *amli_writer_newest(const amli_writer *writer);

// Waits until everything is written; fails if a write failed.
aml_status amli_writer_wait(amli_writer *writer, aml_error *error);

// Whether a write has failed; does not wait.
bool amli_writer_failed(amli_writer *writer);

typedef struct amli_writer_figures {
    int64_t count;     // checkpoints written
    int64_t passed;    // and not written: others were there to replace them before it came to them
    int64_t last_step; // of the newest of them, -1: none
    double seconds;    // spent writing, beside the training
} amli_writer_figures;
amli_writer_figures amli_writer_describe(amli_writer *writer); // waits for what is being written

// ---- room.c

// Whether `bytes` can be written into `folder`; AML_IO with both figures if not. A file system that
// does not tell is believed.
aml_status amli_check_room(const char *folder, double bytes, const char *what, aml_error *error);

// ---- read.c

// What is wrong with this checkpoint as a state of `job`; AML_OK if it fits. With `exact`, it must
// not have more either.
aml_status amli_check_state(const aml_job *job, const aml_tensors *tensors, unsigned roles,
                            bool exact, const char *name, aml_error *error);

// Loads the states of these roles. They were checked.
aml_status amli_load_state(const aml_job *job, const aml_tensors *tensors, unsigned roles,
                           amli_device *device, amli_memory state, aml_error *error);

// ---- load.c

// Reads what a `load` asks for into the job's states, and into their averages.
aml_status amli_load_file(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                          const char *name, amli_device *device, amli_memory state,
                          aml_error *error);

// How much was read, and which tensors of the model and of the file were left out.
aml_status amli_load_summary(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                             amli_buffer *out, aml_error *error);

// ---- read.c

aml_status amli_checkpoint_optimizer(const aml_checkpoint *checkpoint, aml_tensors **out,
                                     aml_error *error);
aml_status amli_checkpoint_progress(const aml_checkpoint *checkpoint, amli_progress *progress,
                                    aml_error *error);

// The manifest alone, for what is kept. False if it is not sound.
bool amli_manifest_peek(const char *folder, amli_stored *stored);

// ---- runs.c

aml_status amli_run_create(const char *runs, const char *job, char path[PATH_MAX],
                           aml_error *error);

// The run of that name (or path), or the newest if name is NULL; with `saved`, the newest that has
// a checkpoint, since one may have been killed before its first. AML_NOT_FOUND.
aml_status amli_run_find(const char *runs, const char *job, const char *name, bool saved,
                         char path[PATH_MAX], aml_error *error);

// The steps that have a checkpoint folder, sound or not, increasing; the caller frees *step.
aml_status amli_run_steps(const char *folder, int64_t **step, int *count, aml_error *error);

void amli_step_name(int64_t step, char name[32]);

aml_status amli_run_open(const char *run, aml_which which, aml_notice *notice, void *self,
                         aml_checkpoint **out, aml_error *error);

#endif
