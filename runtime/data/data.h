// data/: from files to batches.
//
//   locate.c   which file a path means
//   source.h   what a kind of source (csv, idx, ...) has to do; source_*.c do it
//   table.c    a source as columns of typed fields, one array per field
//   split.c    which samples train, validate, test
//   fit.c      what prepare knows of the training rows as a whole
//   samples.c  the samples after `prepare` and `augment`, and batches of them
//   sampler.c  the order of training
//
// Everything here is in host memory. An object is used by one thread at a time; whoever creates it
// frees it.

#ifndef AMLI_DATA_H
#define AMLI_DATA_H

#include <limits.h>

#include "runtime/base/base.h"
#include "runtime/data/csv.h"

// ---- locate.c

// The file that `path` means: as it is if absolute, else beside the source file, in the current
// folder, under $AML_DATA. AML_NOT_FOUND names every path that was tried.
aml_status amli_locate(const char *path, const char *source_dir, const char *place,
                       char found[PATH_MAX], aml_error *error);

// ---- table.c

// Samples in the order of the source, then those of the test source. A sample is a row of the
// source, or a window of consecutive rows; windows overlap in memory as they do in the source.
typedef struct amli_table {
    int fields;
    int64_t rows;           // samples
    int64_t source_rows;    // those of the source
    int64_t units[2];       // rows that were read from the source, from the test source
    int64_t apart;          // of its windows only every apart-th is a sample; 1: all are
    int64_t window, stride; // rows in a sample, from one sample to the next; 1 and 1: rows
    int64_t bad;            // rows that were refused
    void **field;           // field[i]: all rows of field i, dense
    size_t *row_bytes;      // of one sample of field i
    size_t *unit_bytes;     // of one row of field i
    size_t bytes;           // of all columns
    char fingerprint[AMLI_HASH_TEXT]; // SHA-256 of the file; of several the hash of their hashes
                                      // one after the other; of a source without files of its rows
    char path[PATH_MAX];
} amli_table;

// Field `field` of a sample.
const void *amli_table_at(const amli_table *table, int field, int64_t row);

typedef struct amli_load {
    const char *source_dir;
    // as the program names them; NULL: none
    const char *file[AML_SOURCE_FILES], *test_file[AML_SOURCE_FILES];
    bool is_argument; // file[0] is of the command line: it is not looked up, "-" is standard input,
                      // no row may be bad, and it may be csv whatever the source is
    bool check_all;   // read on after a bad row, whatever on_bad says
    bool labels_may_be_absent; // `predict FILE`
    void *const *statistic;    // of the data set, from a checkpoint; NULL: they are fitted
    aml_notice *on_bad_row;    // told about each bad row that is passed over; may be NULL
    void *self;
} amli_load;

// AML_BAD_DATA at the first bad row, or, with on_bad: skip, if more rows are bad than its limit
// allows.
aml_status amli_table_load(const aml_dataset *dataset, const amli_load *load, amli_table **out,
                           aml_error *error);
void amli_table_free(amli_table *table); // NULL is allowed

// ---- split.c

typedef struct amli_split {
    int64_t rows[AML_PART_TEST + 1]; // how many
    int64_t *row[AML_PART_TEST + 1]; // which, increasing
    int64_t offsets;                 // by 0..offsets-1 rows all of the training part can be moved
    size_t bytes;                    // of these lists
} amli_split;

// Splits rows 0..source_rows by fractions: exact counts by largest remainder, per class where
// `stratum` (of each row, in 0..strata-1) is given. Rows from source_rows on are the test part. The
// same seed gives the same rows everywhere.
aml_status amli_split_rows(const aml_split *how, int64_t source_rows, int64_t rows,
                           const int64_t *stratum, int64_t strata, amli_split *split,
                           aml_error *error);
// Splits the samples of a table into consecutive parts of its rows: a sample belongs to the part
// that has all its rows, and to none if it reaches over a border.
aml_status amli_split_by_time(const aml_split *how, const amli_table *table, amli_split *split,
                              aml_error *error);
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

// ---- fit.c

// The values of all statistics, fitted on these rows of the table; NULL if the data set has none.
aml_status amli_fit(const aml_dataset *dataset, const amli_table *table, const int64_t row[],
                    int64_t rows, void ***value, aml_error *error);
void *amli_statistic_new(const aml_statistic *statistic); // room for one, zeroed
void amli_statistics_free(const aml_dataset *dataset, void **value);

// ---- samples.c

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
    char path[PATH_MAX];
    int64_t skipped;
    int workers; // threads that can prepare at once
    struct amli_worker *worker;
} amli_samples;

// Loads, splits and prepares; `threads` are going to take part in making batches. Samples that take
// much more memory prepared than raw are not prepared before they are asked for.
aml_status amli_samples_load(const aml_dataset *dataset, const amli_load *load, int threads,
                             amli_samples **out, aml_error *error);
void amli_samples_free(amli_samples *samples); // NULL is allowed

size_t amli_sample_bytes(const aml_dataset *dataset); // of one prepared sample
int amli_sample_output(const aml_dataset *dataset,
                       const char *name); // index of a prepared field, or -1

// How training samples are augmented.
typedef struct amli_augmenting {
    const aml_value *scalar; // of augment's scalars; SAMPLE is set for each sample
    int64_t first;           // position of the first one in the stream of training samples
} amli_augmenting;

// Puts output i of these rows to to[i], dense; NULL: not wanted. `augmenting` NULL: as they are.
// Work is shared over `pool` (may be NULL), which changes nothing in the result.
void amli_samples_batch(const amli_samples *samples, const int64_t row[], int64_t count,
                        const amli_augmenting *augmenting, void *pool, void *const to[]);

// The weight of each class of a prepared field, so that all classes of the training part count the
// same: rows / (classes * rows of the class); 0 for a class without rows.
aml_status amli_balance(const amli_samples *samples, int output, void *pool, float weight[],
                        aml_error *error);

size_t amli_tensor_bytes(const aml_tensor_info *tensor);

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
} amli_sampler;
aml_status amli_sampler_new(const int64_t *row, int64_t count, int64_t offsets, int64_t seed,
                            amli_sampler *sampler, aml_error *error);
void amli_sampler_free(amli_sampler *sampler);
void amli_sampler_pick(amli_sampler *sampler, int64_t position, int64_t count, int64_t row[]);

#endif
