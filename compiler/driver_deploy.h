// driver_deploy.h: what the files that make a deployed program share.
//
//   driver_deploy.c    the stages in order: weights, functions, files, comparison, requirements
//   driver_quantize.c  quantization: samples, calibration, report, accuracy
//   driver_stored.c    constants that are stored shorter
//   driver_generate.c  an entry that writes
//   driver_weights.c   weights alone in small integers or halves
//   driver_prune.c     channels that are left out, and fine-tuning
//   driver_artifact.c  code for each level of processors, the files that are made

#ifndef AML_DRIVER_DEPLOY_H
#define AML_DRIVER_DEPLOY_H

#include "aml/artifact.h"
#include "aml/checkpoint.h"
#include "aml/weights.h"
#include "driver.h"
#include "quant/quant.h"
#include "quant/rounding.h"

typedef struct Deployment {
    Command *command;
    Cx *cx;
    Program *program;
    const ProgramDeploy *deploy;
    const ProgramJob *job;
    const ProgramDataset *data;
    const DeployRequest *request;
    aml_checkpoint *checkpoint;
    Vec(Weight) weight;
    Artifact artifact;
    Entry decode, prompt;   // of an entry that writes, with the weights inside
    const char *executable; // what is compared and measured; the request's output, or a temporary
    const char *folder;     // temporary
    bool crossing; // code is being made for TARGET_CROSS, after that for this machine was compared
    const char *weights, *weights_path; // of a program whose weights are in a file
    const char *reference;              // the training program, once it is built
    // of a quantized or pruned program
    IrFunction *exact, *rounded; // predict for the smallest batch: of f32 and whole, as deployed
    aml_checkpoint *finetuned;   // of the pruned model
    size_t bytes_before;         // of the weights
    bool stores;                 // constants are stored shorter
    double flops_before, flops_after;
    double product_flops, zero_flops; // of the smallest batch
    QuantPlan plan;
} Deployment;

// driver_deploy.c
const char *deploy_reference(Deployment *d); // builds it if it is not there; NULL after an error
void deploy_count_weights(Deployment *d);
void deploy_keep_only(Deployment *d); // the functions that the deployed program runs
const char *deploy_absolute(Cx *cx, const char *path);
// Whether what was measured is over the limit, which is reported; a limit of 0 is none.
bool deploy_over(Deployment *d, const char *what, double limit, double measured,
                 const char *limit_text, const char *measured_text);
// Tells what the program takes and says which requirements it misses. `memory` in bytes is for what
// is `held`; the latency is that of one `unit`.
bool deploy_requirements(Deployment *d, double memory, const char *held, const char *unit);
// The median time of one call of the deployed program for the smallest batch in seconds; < 0 if it
// could not be measured.
double deploy_latency(Deployment *d);

// driver_weights.c: functions without calls get stored weights; the report goes to d->artifact.
// What products are given is measured with the first `measured` of them. False after an error.
bool deploy_store(Deployment *d, const StoredRun run[], int count, int measured);

// driver_generate.c: all of it for a block whose entry is a `generate` block, but for the
// checkpoint. False after an error.
bool deploy_generator(Deployment *d);

// driver_quantize.c: prepared samples of a part (train, valid, test, held_out), as the training
// program reads them. False after an error.
bool deploy_samples(Deployment *d, const char *part, int64_t most, QuantSamples *out,
                    aml_tensors **tensors);
const char *deploy_part_name(aml_part part);
// The predict functions of d->artifact, which are simplified, become quantized
// ones. False after an error.
bool deploy_quantize(Deployment *d);
// Measures d->exact and d->rounded on samples that were held out. False after an error.
bool deploy_accuracy(Deployment *d, double *before, double *after);
// driver_stored.c: says what was stored shorter, if anything was, and what that saves. False after
// an error.
bool deploy_report_stored(Deployment *d);
// How many operations the products of d->artifact's first function take, which is not simplified
// yet, and how many of them are with 0.
void deploy_count_products(Deployment *d);
// driver_prune.c: the predict functions of d->deploy, which are not simplified yet, get smaller
// shapes, and d->weight the weights for them. False after an error.
bool deploy_prune(Deployment *d);
bool deploy_saving(Deployment *d); // measures and prints what was saved
// driver_artifact.c: what code is made for, the best first; `bytes`: it has products of bytes
typedef Vec(const char *) Targets;
void deploy_targets(Deployment *d, bool bytes, Targets *out);
// The file for weights beside the program: begun before code is made, ended with its head after
// that.
Shared deploy_begin_weights(const Deployment *d);
void deploy_end_weights(Deployment *d, Shared *shared, const Targets *target);
bool deploy_write_weights(Deployment *d); // where the executable looks for them
void deploy_withdraw(Deployment *d);      // what was made so far, which nobody should use
// All false after an error. Fills d->artifact.level.
bool deploy_is_cross(const ProgramDeploy *deploy);
bool deploy_compile(Deployment *d, ObjectCode *object);
bool deploy_emits(const Deployment *d, DeployForm form);
bool deploy_executable(Deployment *d, const ObjectCode *object); // sets d->executable
bool deploy_link_executable(Deployment *d, const ObjectCode *object, const char *path);
bool deploy_libraries(Deployment *d, const ObjectCode *object); // and what goes with them
typedef struct LibraryText {
    const char *header;
    Tables tables;
    const char *const *functions;
} LibraryText;
bool deploy_link_libraries(Deployment *d, const ObjectCode *object, LibraryText text);
bool deploy_write(Deployment *d, const char *path, const void *at, size_t bytes);
bool deploy_write_text(Deployment *d, const char *path, const char *text);
const char *deploy_beside(Deployment *d, const char *file); // beside the executable
// The bytes of all constants that the function reads; `stored`: as short as they can be.
size_t deploy_constant_bytes(const IrFunction *fn, bool stored);

#endif
