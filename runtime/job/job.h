// job/: the verbs of a compiled program.
//
//   main.c      verbs
//   command.c   the command line; help.c tells about it
//   session.c   a job's memory on a device, and its compiled functions bound to it
//   trained.c   a session with the weights of a checkpoint
//   statistics.c  what prepare knows of the training rows, in checkpoints
//   measure.c   a model on some rows: loss and metrics; roc.c: metrics that need all rows at once
//   train.c     the training loop; step.c one step, guard.c one that goes wrong; train_run.c the
//               folder: config, resume, checkpoints
//   generate.c  text from a trained model; choose.c: which token comes next; generate_score.c: how
//               likely a text is; generate_bench.c: how long a token takes
//   profile.c   where the time goes, by line of the source
//   pixels.c   fields that look like pictures
//   find_rate.c  which learning rate to begin with
//   study.c    cross-validations and learning curves; study_result.c: their figures
//   sheet.c, speed.c: what augmentation makes, and how fast batches are made
//   report.c   a run as a page; report_html.c, report_chart.c: how it looks
//   evaluate.c, predict.c, plan.c, check.c, look.c, labels.c

#ifndef AMLI_JOB_H
#define AMLI_JOB_H

#include <signal.h>
#include <stdio.h>

#include "runtime/base/base.h"
#include "runtime/checkpoint/store.h"
#include "runtime/data/data.h"
#include "runtime/device/device.h"
#include "runtime/log/log.h"

// ---- main.c

// The whole of aml_program_main on a device of the caller's choice.
int amli_program_run(const aml_program *program, int argc, char **argv,
                     const amli_device_kind *kind);

// ---- command.c

typedef enum amli_verb {
#define VERB(NAME, name, arguments, least, most, meaning) AMLI_VERB_##NAME,
#include "runtime/job/verbs.def"
#undef VERB
    AMLI_VERBS
} amli_verb;

typedef struct amli_command {
    const aml_program *program;
    const char *name; // of the executable
    amli_verb verb;
    const char *argument; // the positional one, or NULL
    int threads;          // 0: not given
    int loaders;          // -1: not given
    bool has_seed, resume, has_steps, tensorboard, profile, json, quiet, help, prepared;
    int64_t seed, overfit, steps, held_out; // held_out 0: not given
    int64_t head;                           // rows that `data head` shows; 0: not given
    int64_t length, top_k;                  // of a generation; 0: not given
    double temperature, top_p;              // the same; negative: not given
    double time_limit;                      // in seconds, of a training; 0: not given
    bool shared;                            // weights stay where processes share them
    const void *weights;                    // of a deployed program with a file of them
    size_t weights_bytes;
    bool no_cache;  // of decoded samples, between runs
    bool all;       // evaluate: those that train as well
    int64_t folds;  // of a cross-validation; 0: not given
    amli_fold fold; // that is trained on or measured; see study.c
    bool find_lr;
    const char *find_range; // of rates, NULL: not given
    const char *curve;      // shares of a learning curve, NULL: not given
    const char *resume_run, *checkpoint, *job, *output, *runs, *prompt;
    // the values of the program's options, and what was given on the command line (NULL: nothing)
    aml_value *value;
    aml_unit *unit;
    const char **text, **given;
    const char *score; // of a generation: tokens to score instead; NULL: not given
    const char *part;  // of `data samples`
    int64_t samples;   // the same; 0: all
} amli_command;

aml_status amli_command_parse(const aml_program *program, int argc, char **argv,
                              amli_command *command, aml_error *error);
void amli_command_free(amli_command *command);

// Sets a program option from text, as the command line does. `text` must outlive the command.
aml_status amli_set_option(amli_command *command, int index, const char *text, aml_error *error);

aml_status amli_text_value(const amli_command *command, const aml_text *text, char value[PATH_MAX],
                           aml_error *error);
void amli_quantity_value(const amli_command *command, const aml_quantity *quantity, double *value,
                         aml_unit *unit);

// The job of this kind that is meant by `name`, or the only one if name is NULL.
aml_status amli_find_job(const amli_command *command, aml_job_kind kind, const char *name,
                         const aml_job **out, aml_error *error);

const char *amli_job_kind(const aml_job *job); // "train"

// ---- help.c
void amli_help(const aml_program *program, const char *name, FILE *out);

// ---- session.c

// A compiled function with its place in the session's batch memory.
typedef struct amli_bound {
    const aml_function *function;
    amli_memory *input, *output; // what the launch passes
    size_t *input_offset, *output_offset;
    amli_memory **row; // of an input that is taken row by row: where each row is; else NULL
    int *field;        // the prepared field that each input reads
    bool *balance;     // an input FIELD.balance: the weights of the field's classes
    aml_value *scalar;
} amli_bound;

typedef struct amli_profile amli_profile;

typedef struct amli_session {
    const aml_program *program;
    const amli_command *command;
    const aml_job *job;
    const aml_dataset *dataset;
    amli_device *device;
    amli_samples *samples;
    aml_value *augment_scalar; // of the data set's augment
    float **balance;           // of each prepared field; NULL: not asked for
    void **to;                 // of each prepared field: where a batch of it goes
    amli_memory state, arena, batch;
    char *staging; // host memory like `batch`, if the host has no view of it
    char *view;    // where the host writes batches: the device's memory, or staging
    amli_bound init, step, metrics_reset, eval, eval_one, metrics_value, predict, validated, decode,
        prompt;
    amli_profile *profile; // NULL: none is made
    void **statistic; // of the data set, read from a checkpoint; NULL: fitted when it is loaded
    const struct amli_measured *measured; // by the last validation; NULL: there was none
    int64_t seed, total_steps;
    int64_t ahead;  // of the step: the batch that it trains on is number step + ahead
    float limit[2]; // of a step that is not left out: loss, length of gradients
    double epoch_steps;
    double tried_rate; // see find_rate.c; 0: none
} amli_session;

// What a job needs, in bytes: exactly what a session allocates.
typedef struct amli_need {
    size_t state, arena, batch;
    size_t snapshot;        // a training's copy of the state, from which checkpoints are written
    size_t role[AML_ROLES]; // parts of the state
} amli_need;
amli_need amli_job_need(const aml_job *job);

// What a job holds of its data, in bytes: prepared rows, the parts of the split, a training's
// order.
size_t amli_data_bytes(const amli_command *command, const aml_job *job,
                       const amli_samples *samples);

aml_status amli_session_open(const amli_command *command, const aml_job *job,
                             const amli_device_kind *kind, amli_session *session, aml_error *error);
void amli_session_close(amli_session *session);

// For verbs that only look at a training's data: opens the job of the command, loads its data, and
// calls `use` with them.
aml_status amli_with_data(const amli_command *command, const amli_device_kind *kind,
                          aml_status (*use)(amli_session *session, aml_error *error),
                          aml_error *error);

// Loads the job's data into session->samples. `log` is told about rows that are skipped.
aml_status amli_session_load(amli_session *session, amli_log *log, aml_error *error);

int amli_threads(const amli_command *command); // that a job runs on
int amli_loaders(const amli_command *command); // that make batches ahead

// Puts these rows into the function's inputs. position: of the first one in the stream of training
// samples, which are augmented; -1: they are taken as they are.
aml_status amli_session_fill(amli_session *session, const amli_bound *bound, const int64_t row[],
                             int64_t count, int64_t step, int64_t position, aml_error *error);
// The loader of a training's batches from step `first` on, or NULL if they are only copied.
aml_status amli_session_loader(amli_session *session, amli_sampler *sampler, int64_t first,
                               bool augments, amli_loader **out, aml_error *error);
// The values of augment's scalars in a step; `session` is the session.
aml_status amli_session_augment(void *session, int64_t step, aml_value scalar[], aml_error *error);
// Puts its next batch into the step's inputs.
aml_status amli_session_take(amli_session *session, amli_loader *loader, aml_error *error);
aml_status amli_session_run(amli_session *session, amli_bound *bound, int64_t step,
                            aml_error *error);
aml_status amli_session_read(amli_session *session, const amli_bound *bound, int output, void *to,
                             aml_error *error);

// The paths of a data set's files, with the values of options in them. `load` points into `paths`.
typedef struct amli_paths {
    char file[AMLI_ORIGINS][AML_SOURCE_FILES][PATH_MAX];
} amli_paths;
aml_status amli_load_options(const amli_command *command, const aml_dataset *dataset,
                             amli_load *load, amli_paths *paths, aml_error *error);

// ---- trained.c

// The checkpoint of the command line, or that of the job's runs.
aml_status amli_trained_find(const amli_command *command, const aml_job *job, aml_which which,
                             amli_log *log, aml_checkpoint **out, aml_error *error);
// Opens a session of a trained job: with its best or last weights, and the statistics of the rows
// that it was trained on. `step`: how long.
aml_status amli_trained_open(const amli_command *command, const aml_job *job,
                             const amli_device_kind *kind, amli_log *log, amli_session *session,
                             int64_t *step, aml_error *error);

// ---- statistics.c

// The statistics of the loaded samples into the rows of the job's state.
aml_status amli_statistics_store(amli_session *session, aml_error *error);
// What a checkpoint holds of them: the caller gives them back with amli_statistics_free. NULL if
// the data set has none. `path` is the checkpoint's.
aml_status amli_statistics_load(const aml_dataset *dataset, const aml_tensors *tensors,
                                const char *path, void ***value, aml_error *error);

// ---- choose.c

typedef struct amli_choice {
    double temperature; // 0: always the most likely
    int64_t top_k;      // 0: all
    double top_p;       // 1: all
    int64_t seed;
} amli_choice;

// The token that is drawn from `count` scores as number `position`; -1: a score is not finite.
// `work` has room for 2 * count numbers. The same scores, choice and position give the same token.
int64_t amli_choose(const amli_choice *how, const float score[], int64_t count, int64_t position,
                    double work[]);

// ---- measure.c

typedef struct amli_measured {
    const aml_job *job;
    int64_t rows;
    double loss;    // mean; NaN if the job has none
    double **value; // value[i]: the elements of metric i
    aml_shape *shape;
    const aml_tensor_info *target; // the field y, whose classes may have names; NULL: there is none
} amli_measured;

aml_status amli_measure(amli_session *session, const int64_t row[], int64_t rows, int64_t step,
                        amli_measured *measured, aml_error *error);
void amli_measured_free(amli_measured *measured);
void amli_measured_json(const amli_measured *measured, const char *loss_name,
                        amli_buffer *buffer); // "loss": 1, "accuracy": ...
void amli_measured_line(const amli_measured *measured, const char *loss_name,
                        amli_buffer *buffer); // loss 0.1234  accuracy 0.98
void amli_measured_print(const amli_measured *measured, FILE *out);

// ---- curve.c

// The area under the ROC curve of `score[i * stride]` for the rows whose target is `target`,
// against all others; ties count half. NaN if all rows are of one kind. `order` is scratch for
// `rows` indices.
double amli_roc_auc(const float *score, int64_t stride, const int32_t *label, int32_t target,
                    int64_t rows, int64_t *order);
// The average precision, the area under the curve of precision over recall, likewise. NaN if no row
// is of the class.
double amli_average_precision(const float *score, int64_t stride, const int32_t *label,
                              int32_t target, int64_t rows, int64_t *order);
// Over all classes; NaN if no class has a curve, or without memory.
double amli_curve_finish(aml_finish finish, const float *score, const int32_t *label, int64_t rows,
                         int64_t classes);

// ---- pixels.c

typedef struct amli_picture {
    int width, height, channels; // 1 or 3
} amli_picture;

// The prepared field that looks like a picture: [h, w], or [c, h, w] with 1 or 3 channels. -1:
// none.
int amli_picture_field(const aml_dataset *dataset);
// It as a PNG file; the smallest value becomes black, the largest white.
void amli_picture_png(const aml_tensor_info *info, const void *at, amli_picture *picture,
                      amli_buffer *png);

// ---- signals.c: the only global of the runtime, since a handler has nothing else to write to

void amli_signals_begin(
    void); // from now on SIGINT and SIGTERM are noted; a second one ends the process
void amli_signals_end(void);
int amli_signal_seen(void); // its number, 0: none

// ---- the verbs
aml_status amli_train(const amli_command *command, const amli_device_kind *kind, aml_error *error);
aml_status amli_find_rate(const amli_command *command, const amli_device_kind *kind,
                          aml_error *error); // train --find_lr
aml_status amli_evaluate(const amli_command *command, const amli_device_kind *kind,
                         aml_error *error);
aml_status amli_predict(const amli_command *command, const amli_device_kind *kind,
                        aml_error *error);
aml_status amli_label_report(const amli_command *command, const amli_device_kind *kind,
                             aml_error *error);
// predict.c: the prepared field that is the expected class: one that the model does not read. -1:
// none.
int amli_expected_field(const amli_session *session);
aml_status amli_generate(const amli_command *command, const amli_device_kind *kind,
                         aml_error *error);
// A session of a generate block with its weights. It is to be closed also after a failure.
aml_status amli_generation_open(const amli_command *command, const aml_job *job,
                                const amli_device_kind *kind, amli_log *log, amli_session *session,
                                aml_error *error);
aml_status amli_empty_caches(amli_session *session, aml_error *error);
// Gives the model `token` (with caches one, else a whole context) of which the newest is at
// `position`, and reads the scores of the next.
aml_status amli_token_scores(amli_session *session, const int32_t *token, int64_t position,
                             float *score, aml_error *error);
// The same for `count` tokens, at least one, from the position on, in parts of amli_prompt_width
// tokens where the job has a function for that: the scores behind the last. After a signal it ends
// early.
int64_t amli_prompt_width(const aml_job *job);
aml_status amli_prompt_scores(amli_session *session, const int32_t *token, int64_t count,
                              int64_t position, float *score, aml_error *error);
// generate_score.c: `--score FILE`, how likely given tokens are.
aml_status amli_generation_score(const amli_command *command, const amli_device_kind *kind,
                                 const aml_job *job, aml_error *error);
// generate_bench.c: how long a token takes.
aml_status amli_generation_bench(const amli_command *command, const amli_device_kind *kind,
                                 const aml_job *job, double seconds, aml_error *error);
aml_status amli_report(const amli_command *command, const amli_device_kind *kind, aml_error *error);
aml_status amli_plan(const amli_command *command, aml_error *error);
aml_status amli_data_check(const amli_command *command, aml_error *error);
// `data rows`: the first samples of a training's data, before prepare, as `predict FILE` reads them
aml_status amli_data_sheet(const amli_command *command, const amli_device_kind *kind,
                           aml_error *error);
aml_status amli_data_speed(const amli_command *command, const amli_device_kind *kind,
                           aml_error *error);
aml_status amli_data_look(const amli_command *command, aml_error *error); // look.c: head, stats
aml_status amli_data_rows(const amli_command *command, aml_error *error);
// export.c: `data samples`: prepared samples of a part, for `amlc deploy`
aml_status amli_data_samples(const amli_command *command, aml_error *error);
// The part that --part names, train if nothing is said; `held_out` is the test part, or the
// validation part if there is none.
aml_status amli_find_part(const amli_command *command, const amli_split *split, aml_part *out,
                          aml_error *error);
// One element of a tensor as text.
void amli_write_element(FILE *out, const aml_tensor_info *info, const void *at, int64_t index,
                        bool json);

// The length of the training in steps; unit SECONDS gives -1 (not known).
int64_t amli_total_steps(const amli_command *command, const aml_job *job, double epoch_steps);

#endif
