// data/: from files to batches.
//
//   locate.c   which file a path means
//   source.h   what a kind of source (csv, idx, ...) has to do; source_*.c do it
//   table.c    a source as columns of typed fields, one array per field
//   fetch.c    fields that are decoded when they are asked for
//   split.c    which samples train, validate, test
//   clean.c    rows that are left out
//   fit.c      what prepare knows of the training rows as a whole
//   samples.c  the samples after `prepare` and `augment`, and batches of them
//   sampler.c  the order of training
//   loader.c   batches of training made ahead by threads of their own
//
// Everything here is in host memory. An object is used by one thread at a time; whoever creates it
// frees it.

#ifndef AMLI_DATA_H
#define AMLI_DATA_H

#include <limits.h>

#include "runtime/base/base.h"
#include "runtime/data/csv.h"
#include "runtime/data/deal.h"

// ---- locate.c

// The file that `path` means: as it is if absolute, else beside the source file, in the current
// folder, under $AML_DATA. AML_NOT_FOUND names every path that was tried.
aml_status amli_locate(const char *path, const char *source_dir, const char *place,
                       char found[PATH_MAX], aml_error *error);

// ---- table.c

// Where a sample is from.
typedef enum amli_origin {
    AMLI_FROM_SOURCE,
    AMLI_FROM_TEST,
    AMLI_FROM_VALID,
    AMLI_ORIGINS
} amli_origin;

// The source of each origin; of kind NONE if there is none.
const aml_source *amli_source_of(const aml_dataset *dataset, amli_origin origin);

// Samples in the order of the source, then those of the test source, then those of the validation
// source. A sample is a row of the source, or a window of consecutive rows; windows overlap in
// memory as they do in the source.
typedef struct amli_table {
    int fields;
    int64_t rows;                      // samples
    int64_t source_rows;               // those of the source
    int64_t origin_rows[AMLI_ORIGINS]; // of each origin
    int64_t units[AMLI_ORIGINS];       // rows that were read from each
    int64_t apart;                     // of its windows only every apart-th is a sample; 1: all are
    int64_t window, stride; // rows in a sample, from one sample to the next; 1 and 1: rows
    int64_t bad;            // rows that were refused
    void **field;           // field[i]: all rows of field i, dense; of a field that is given on
                            // demand the cache, or NULL
    bool *on_demand;        // of each field
    int64_t *kept;          // the source's number of each row if some were passed over, or NULL
    struct amli_reading *reading[AMLI_ORIGINS]; // sources that give fields on demand, else NULL
    _Atomic uint8_t *cached;          // of each row whether it is in the cache; NULL: no cache
    struct amli_disk_cache *disk;     // where the cache comes from and goes to; NULL: nowhere
    _Atomic int64_t *decode_ns;       // time spent on what went into the cache
    bool sampled;                     // the fingerprint is not of all contents
    size_t *row_bytes;                // of one sample of field i
    size_t *unit_bytes;               // of one row of field i
    size_t bytes;                     // of all columns
    char fingerprint[AMLI_HASH_TEXT]; // SHA-256 of the file; of several the hash of their hashes
                                      // one after the other; of a source without files of its
                                      // rows; or what the kind of source says
    char path[PATH_MAX];
} amli_table;

// Rows that were read from all origins together.
int64_t amli_table_units(const amli_table *table);
// Where sample `row` is from.
amli_origin amli_table_origin(const amli_table *table, int64_t row);
// The first row of a sample, counted over all origins.
int64_t amli_table_unit(const amli_table *table, int64_t row);
// Field `field` of a sample; not one that is given on demand.
const void *amli_table_at(const amli_table *table, int field, int64_t row);

typedef struct amli_load {
    const char *source_dir;
    // as the program names them; NULL: none
    const char *file[AMLI_ORIGINS][AML_SOURCE_FILES];
    bool is_argument; // file[0][0] is of the command line: it is not looked up, "-" is standard
                      // input, no row may be bad, and it may be csv whatever the source is
    bool check_all;   // read on after a bad row, whatever on_bad says
    bool labels_may_be_absent; // `predict FILE`
    bool keeps_cache;          // decoded samples are kept for the next run
    bool names_only;           // of the columns: rows are not asked for
    int threads;               // that may read; the result does not depend on it
    void *const *statistic;    // of the data set, from a checkpoint; NULL: they are fitted
    amli_fold fold;            // of a cross-validation
    aml_notice *on_cleaned;    // told what each rule of cleaning found; may be NULL
    aml_notice *on_bad_row;    // told about each bad row that is passed over; may be NULL
    void *self;
} amli_load;

// AML_BAD_DATA at the first bad row, or, with on_bad: skip, if more rows are bad than its limit
// allows.
aml_status amli_table_load(const aml_dataset *dataset, const amli_load *load, amli_table **out,
                           aml_error *error);
void amli_table_free(amli_table *table); // NULL is allowed

// ---- fetch.c

// What one thread needs to get samples of a table.
typedef struct amli_fetch {
    const amli_table *table;
    char **room; // of each field that is given on demand: one sample
    void **to;
    void *own[AMLI_ORIGINS]; // the kinds', for this thread
} amli_fetch;
aml_status amli_fetch_new(const amli_table *table, amli_fetch *fetch, aml_error *error);
void amli_fetch_free(amli_fetch *fetch);
// Where the fields of a sample are, until the next call: in[i]. AML_BAD_DATA if the source cannot
// give it. The number of threads changes nothing in what is given.
aml_status amli_fetch_sample(amli_fetch *fetch, int64_t row, const void *in[], aml_error *error);
// Makes the cache of a table, if its samples fit into `most` bytes.
aml_status amli_fetch_cache(amli_table *table, size_t most, aml_error *error);

// ---- split.c

typedef struct amli_split {
    int64_t rows[AML_PART_TEST + 1]; // how many
    int64_t *row[AML_PART_TEST + 1]; // which, increasing
    int64_t offsets;                 // by 0..offsets-1 rows all of the training part can be moved
    size_t bytes;                    // of these lists
} amli_split;

// Splits rows 0..source_rows by fractions: exact counts by largest remainder, per class and by
// groups where there are labels. The `test` rows from source_rows on are the test part, those
// behind them the validation part. The same seed gives the same rows everywhere.
aml_status amli_split_rows(const aml_split *how, int64_t source_rows, int64_t test, int64_t rows,
                           const amli_labels *labels, const amli_fold *fold, amli_split *split,
                           aml_error *error);
// Splits the samples of a table into consecutive parts of its rows: a sample belongs to the part
// that has all its rows, and to none if it reaches over a border.
aml_status amli_split_by_time(const aml_split *how, const amli_table *table, const amli_fold *fold,
                              amli_split *split, aml_error *error);
// A training on a fold is one on other data: the fold becomes part of the fingerprint.
void amli_fold_mark(const amli_fold *fold, char fingerprint[AMLI_HASH_TEXT]);
// The same as the data set asks for. Classes and groups are read from the table.
aml_status amli_split_table(const aml_dataset *dataset, const amli_table *table,
                            const amli_fold *fold, amli_split *split, aml_error *error);
void amli_split_free(amli_split *split);

// ---- samples.c

// One activation of prepare, augment or a synthetic source's function, for one thread at a time.
typedef struct amli_preparer {
    const aml_function *function;
    char *memory; // arena, inputs and outputs in one allocation
    size_t bytes;
    void *arena, **input, **output;
    aml_value *scalar; // to be set before a call
    int copied;        // inputs that a call copies: those before the shared ones
} amli_preparer;
aml_status amli_preparer_new(const aml_function *function, amli_preparer *preparer,
                             aml_error *error);
void amli_preparer_free(amli_preparer *preparer);
// Inputs first, first + 1, ... are read where at[] is, which has to stay: what is the same for all
// samples. It comes behind the others.
void amli_preparer_share(amli_preparer *preparer, int first, void *const at[], int count);
// Runs it on one sample whose fields are at in[i] (any alignment) and copies its outputs to out[i]
// (any alignment; NULL: not wanted).
void amli_prepare(const amli_preparer *preparer, const void *const in[], void *const out[]);

// ---- clean.c

// Takes the rows that the rules of the data set leave out from all parts of the split, and tells
// load->on_cleaned what each rule found. AML_BAD_DATA for a row that must not be.
aml_status amli_clean(const aml_dataset *dataset, const amli_table *table, const amli_load *load,
                      amli_split *split, aml_error *error);

// ---- fit.c

// The values of all statistics, fitted on these rows of the table; NULL if the data set has none.
aml_status amli_fit(const aml_dataset *dataset, const amli_table *table, const int64_t row[],
                    int64_t rows, void ***value, aml_error *error);
void *amli_statistic_new(const aml_statistic *statistic); // room for one, zeroed
void amli_statistics_free(const aml_dataset *dataset, void **value);

// ---- samples.c

// How training samples are augmented.
typedef struct amli_augmenting {
    const aml_value *scalar; // of augment's scalars; SAMPLE is set for each sample
    int64_t first;           // position of the first one in the stream of training samples
} amli_augmenting;

// What a thread needs to make samples.
typedef struct amli_worker {
    amli_fetch fetch;               // table NULL: all samples are prepared
    amli_preparer prepare, augment; // augment.memory NULL: the data set has none
    const void **raw;               // the fields of a sample
    void **out;                     // where its outputs go
    size_t bytes;
    aml_error error; // of the last batch
} amli_worker;

// The sample a + share * (b - a), for the fields that are floats; the others are those of row a.
typedef struct amli_blend {
    int64_t a, b;
    double share;
} amli_blend;

typedef struct amli_samples {
    const aml_dataset *dataset;
    void **statistic; // the values of its statistics; NULL: there are none
    int64_t rows;
    int outputs;       // of prepare
    char **column;     // column[i]: output i of all rows, dense; NULL: prepared when asked for
    amli_table *table; // the raw samples; NULL if all are prepared
    size_t *row_bytes;
    size_t bytes; // of everything that is held
    amli_split split;
    char fingerprint[AMLI_HASH_TEXT];
    char source[AMLI_HASH_TEXT]; // the same without the fold
    char path[PATH_MAX];
    int64_t skipped;
    int workers; // threads that can prepare at once
    amli_worker *worker;
    struct amli_drawing *drawing; // how training samples are drawn, NULL: each once in an epoch
    int64_t blends;               // samples from number `rows` on: those between two others
    amli_blend *blend;
} amli_samples;

// Loads, splits and prepares; `threads` are going to take part in making batches. Samples that take
// much more memory prepared than raw are not prepared before they are asked for.
aml_status amli_samples_load(const aml_dataset *dataset, const amli_load *load, int threads,
                             amli_samples **out, aml_error *error);
void amli_samples_free(amli_samples *samples); // NULL is allowed

int64_t amli_epoch_samples(const amli_samples *samples); // in an epoch of a training
size_t amli_sample_bytes(const aml_dataset *dataset);    // of one prepared sample
int amli_sample_output(const aml_dataset *dataset,
                       const char *name); // index of a prepared field, or -1

// Puts output i of these rows to to[i], dense; NULL: not wanted. `augmenting` NULL: as they are.
// Work is shared over `pool` (may be NULL), which changes nothing in the result. AML_BAD_DATA if a
// sample that is decoded on demand is bad: the first one.
aml_status amli_samples_batch(const amli_samples *samples, const int64_t row[], int64_t count,
                              const amli_augmenting *augmenting, void *pool, void *const to[],
                              aml_error *error);

// Where the memory of these rows lies that a batch will copy, in pieces of AML_SOON_BYTES: the
// first of them, and a harmless address for the others. Rows that are shorter are not worth it.
bool amli_samples_long(const amli_samples *samples);
void amli_samples_soon(const amli_samples *samples, const int64_t row[], int64_t count,
                       const void *at[AML_SOON]);

// Whether a batch is more than copying rows. Only then do loader threads pay.
bool amli_samples_work(const amli_samples *samples, bool augments);
// For threads that make samples beside those of `pool`: sample `row` to out[i], as number `index`
// of a batch.
aml_status amli_worker_new(const amli_samples *samples, amli_worker *worker, aml_error *error);
void amli_worker_free(amli_worker *worker);
aml_status amli_worker_make(const amli_samples *samples, amli_worker *worker, int64_t row,
                            const amli_augmenting *augmenting, int64_t index, void *const out[],
                            aml_error *error);

// The weight of each class of a prepared field, so that all classes of the training part count the
// same: rows / (classes * rows of the class); 0 for a class without rows.
aml_status amli_balance(const amli_samples *samples, int output, void *pool, float weight[],
                        aml_error *error);

size_t amli_tensor_bytes(const aml_tensor_info *tensor);

// ---- element.c
double amli_half(uint16_t bits); // of an f16
double amli_element(aml_dtype dtype, const void *at, int64_t index);

// ---- sampler.c

// The stream of training samples: the permutations of epochs 0, 1, 2, ... one after the other.
// Position p is element p mod count of the permutation of epoch p / count, which depends on (seed,
// epoch) alone, so a run is resumed by knowing its step number. With several `offsets`, rows of an
// epoch are moved by one of them, drawn from (seed, epoch) as well.
typedef struct amli_sampler {
    const int64_t *row;
    int64_t count, seed;
    int64_t offsets, offset;
    int64_t epoch; // of `order`, -1: none yet
    int64_t *order;
    const struct amli_drawing *drawing; // NULL: each row once in an epoch
} amli_sampler;
aml_status amli_sampler_new(const int64_t *row, int64_t count, int64_t offsets, int64_t seed,
                            amli_sampler *sampler, aml_error *error);
// Draws samples in place of taking each in turn: `count` becomes that of the drawing's epochs.
aml_status amli_sampler_draw(amli_sampler *sampler, const struct amli_drawing *drawing,
                             aml_error *error);
void amli_sampler_free(amli_sampler *sampler);
void amli_sampler_pick(amli_sampler *sampler, int64_t position, int64_t count, int64_t row[]);
// The part of one batch that a rank computes: consecutive samples, those of all ranks together are
// the batch. *first is the place of its first one in the batch, which counts for augmentation.
int64_t amli_sampler_shard(amli_sampler *sampler, int64_t step, int64_t batch, int rank, int ranks,
                           int64_t *first, int64_t row[]);

// ---- loader.c

// The batches of a training: batch s has `count` samples from position s * count of the stream.
typedef struct amli_batches {
    amli_sampler *sampler; // used by the thread that takes batches
    int64_t count, first;  // samples in a batch; the first batch that will be taken
    bool augments;
    const bool *wanted; // which outputs
    // Puts the values of augment's scalars for a step; called by the thread that takes batches.
    aml_status (*scalars)(void *self, int64_t step, aml_value scalar[], aml_error *error);
    void *self;
} amli_batches;

// Makes batches ahead of the one that is taken; used by one thread. What batches points to must
// outlive it.
typedef struct amli_loader amli_loader;
aml_status amli_loader_new(const amli_samples *samples, const amli_batches *batches, int threads,
                           amli_loader **out, aml_error *error);
void amli_loader_free(amli_loader *loader); // NULL is allowed
// The next batch: output i to to[i], dense; NULL: not wanted. Batches from number `last` on are not
// made ahead. AML_BAD_DATA: the first bad sample of this batch.
aml_status amli_loader_take(amli_loader *loader, int64_t last, void *const to[], aml_error *error);
int amli_loader_threads(const amli_loader *loader);
size_t amli_loader_bytes(const amli_samples *samples, int64_t count, int threads); // that it holds

#endif
