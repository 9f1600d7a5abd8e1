// aml/program.h: the only contract between generated code and the runtime.
//
// The compiler writes one constant `aml_program` with its tables and one object file with the entry
// points that it names; the runtime drives it: aml_program_main(&program, argc, argv) is the whole
// main function of an executable. All pointers in these tables point to constants that live as long
// as the process. Sizes are in bytes, offsets are aligned to 64, shapes are in elements, outermost
// axis first. Text is UTF-8.

#ifndef AML_PROGRAM_H
#define AML_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AML_PROGRAM_ABI 1

typedef enum aml_status {
#define STATUS(NAME, exit_code, meaning) AML_##NAME,
#include "aml/status.def"
#undef STATUS
    AML_STATUS_COUNT
} aml_status;

// In the order of kernels/dtypes.def, which a build check compares.
typedef enum aml_dtype {
    AML_F32,
    AML_F64,
    AML_F16,
    AML_BF16,
    AML_I8,
    AML_U8,
    AML_I32,
    AML_I64,
    AML_BOOL
} aml_dtype;

enum { AML_MAX_RANK = 8, AML_ALIGNMENT = 64 };

typedef struct aml_shape {
    int32_t rank;
    int64_t dim[AML_MAX_RANK];
} aml_shape;

// ---- compiled functions ------------------------------------------------------------------------

typedef union aml_value { // one scalar, passed by value: integers as whole, everything else as real
    int64_t whole;
    double real;
} aml_value;

// Runs body(data, begin, end) over 0..parts in any division among threads. Which part computes what
// is fixed by the compiler from shapes alone, so the result does not depend on the number of
// threads. Returns when all parts are done.
typedef void aml_parallel_body(void *data, int64_t begin, int64_t end);
typedef void aml_parallel_for(void *pool, int64_t parts, aml_parallel_body *body, void *data);

// Told about each kernel of a function that is watched (aml_function.kernels), by the thread that
// called the function, as soon as it is done. `result[i]` is where its i-th result is, until the
// next kernel runs.
typedef void aml_watch(void *watcher, int32_t kernel, void *const result[]);

// One activation of a compiled function. The caller owns every buffer; all are aligned to
// AML_ALIGNMENT.
typedef struct aml_call {
    void *state; // the job's state arena
    void *arena; // at least aml_function.arena_bytes; contents are undefined before and after
    void *const *input;         // in the order of aml_function.input
    void *const *output;        // in the order of aml_function.output
    const aml_value *scalar;    // in the order of aml_function.scalar
    aml_parallel_for *parallel; // NULL: run on this thread
    void *pool;
    aml_watch *watch; // NULL: nobody is told
    void *watcher;
    const void *weights;     // of a deployed model whose weights are in a file: its bytes
    const void *constants;   // of a deployed program: see aml/stored.h
    const void *const *soon; // AML_SOON addresses; AML_SOON_BYTES at each will be read after this
                             // call and are asked for while it computes. NULL: nothing is known
} aml_call;

enum { AML_SOON = 1024, AML_SOON_BYTES = 512 };

typedef void aml_entry(const aml_call *call);

typedef struct aml_tensor_info {
    const char *name;
    aml_dtype dtype;
    aml_shape shape;
    int64_t classes;               // class(k): elements lie in 0..k-1; 0: not a class
    const char *const *class_name; // of each class; NULL: they have numbers only
    bool rows; // an input: aml_call.input is the address of a table of its rows' addresses, each as
               // aligned as an element
} aml_tensor_info;

// Where a scalar argument comes from.
typedef enum aml_scalar_kind {
    AML_SCALAR_STEP,        // i64: optimizer steps done so far, 0 in the first step
    AML_SCALAR_TOTAL_STEPS, // i64: the length of the training in steps
    AML_SCALAR_EPOCH_STEPS, // f64: steps in one epoch (rows / batch, not rounded)
    AML_SCALAR_SEED,        // i64
    AML_SCALAR_POSITION,    // i64: generate: of the token, from 0
    AML_SCALAR_SAMPLE,      // i64: which sample this is: of augment, its position in the stream of
                            // training samples; of a synthetic source, its row
    AML_SCALAR_OPTION,      // the value of aml_program.option[index]; a duration in steps, as f64
    AML_SCALAR_LIMIT,       // f32: the largest usual loss (index 0), length of gradients (1)
    AML_SCALAR_MEASURED,    // f64: what the last validation gave for aml_job.metric[index], -1: for
                            // the loss
    AML_SCALAR_RATE // f64: the learning rate that a search for one tries; 0: none is searched
} aml_scalar_kind;

// Texts of kernels are places in aml_function.text, 0: none. A program with thousands of kernels
// would have a pointer for each of them, and the dynamic linker three times as many bytes to set it.
typedef struct aml_kernel_result {
    aml_dtype dtype;
    uint32_t place; // "digits.aml:24": the line whose result it is
    int64_t elements;
} aml_kernel_result;

typedef struct aml_scalar_info {
    aml_scalar_kind kind;
    int32_t index;   // AML_SCALAR_OPTION, AML_SCALAR_LIMIT and AML_SCALAR_MEASURED only
    aml_dtype dtype; // how the function reads it: I64, I32, BOOL as whole; F32, F64 as real
} aml_scalar_info;

// A kernel of a function: a step of it that leaves results in memory, or a number.
typedef struct aml_kernel {
    uint32_t place;  // "digits.aml:23": the line of the source that it computes
    uint32_t lines;  // "23, 24, 31": all of them, if there are several; else 0
    uint32_t what;   // "dot add max": the operations
    uint32_t weight; // "fc1.weight", if it reads one; else 0
    int32_t results, first; // of aml_function.result
    double flops, bytes;    // of one call: computed, and read and written
    bool loop; // the kernels before it were told about in each turn: it is the whole loop
} aml_kernel;

typedef struct aml_function {
    const char *name;
    aml_entry *run;     // NULL: the job has no such function
    size_t arena_bytes; // the planned peak of temporaries
    int32_t inputs, outputs, scalars;
    const aml_tensor_info *input, *output;
    const aml_scalar_info *scalar;
    double flops;    // of one call
    int32_t kernels; // what aml_call.watch is told about; 0: the function cannot be watched
    const aml_kernel *kernel;
    const aml_kernel_result *result; // of all kernels
    const char *text;
} aml_function;

// ---- state -------------------------------------------------------------------------------------

typedef enum aml_role {
    AML_ROLE_WEIGHT,    // learned; saved in weights.safetensors
    AML_ROLE_STATE,     // of a model, not learned; saved in weights.safetensors
    AML_ROLE_OPTIMIZER, // moments and the like; saved in optimizer.safetensors
    AML_ROLE_METRIC,    // counts of one evaluation; never saved, reset by the job's metrics_reset
    AML_ROLE_CACHE,     // what a generation keeps of its tokens; never saved, begins as zeros
    AML_ROLES
} aml_role;

// A part that is repeated as a loop keeps the weights of all its turns in one row: the first
// `stack` axes of the shape count turns, and the name has a '#' for each, body.#.att.qkv.weight.
// Outside of a program, in files and for people, such a row is the tensors body.0.att.qkv.weight,
// ... (see aml_state_part).
typedef struct aml_state_info {
    aml_tensor_info tensor; // the name is the path: fc1.weight
    aml_role role;
    size_t offset; // in the job's state arena
    int32_t stack; // how many of the first axes count turns; 0: an ordinary row
} aml_state_info;

// ---- options and settings ----------------------------------------------------------------------

typedef enum aml_unit {
    AML_UNIT_NONE,
    AML_UNIT_STEPS,
    AML_UNIT_EPOCHS,
    AML_UNIT_SECONDS,
    AML_UNIT_BYTES,
    AML_UNIT_FRACTION
} aml_unit; // 5% is 0.05 of FRACTION; 30 min is 1800 of SECONDS; 256 KiB is 262144 of BYTES

typedef enum aml_option_type {
    AML_OPTION_BOOL,
    AML_OPTION_INT,
    AML_OPTION_REAL,
    AML_OPTION_TEXT,
    AML_OPTION_DURATION,
    AML_OPTION_FRACTION,
    AML_OPTION_BYTES
} aml_option_type;

// `option name: type = value` of the source: may be given as --name when the program runs.
typedef struct aml_option {
    const char *name, *doc, *place; // place: "digits.aml:14", where it was declared
    aml_option_type type;
    aml_value value; // the default; DURATION: real with `unit`
    aml_unit unit;
    const char *text; // the default of a TEXT option
} aml_option;

// `const` of the source: fixed in this program. The program answers an attempt to change it with
// place and the command that rebuilds it.
typedef struct aml_fixed {
    const char *name, *doc, *place, *value;
} aml_fixed;

// A number with its unit: fixed, or the value of an option.
typedef struct aml_quantity {
    double value;
    aml_unit unit;
    int32_t option; // index of the option it is, -1: fixed
} aml_quantity;

// A text: `parts` pieces joined, each fixed (option -1) or a TEXT option's value.
typedef struct aml_text_part {
    const char *text;
    int32_t option;
} aml_text_part;
typedef struct aml_text {
    int32_t parts;
    const aml_text_part *part;
} aml_text;

// One effective setting, for config.aml and `--help`: "train digits_mlp", "batch", "64",
// "digits.aml:37" or "default".
typedef struct aml_effective {
    const char *block, *setting, *value, *origin;
} aml_effective;

// ---- data --------------------------------------------------------------------------------------

// How a text becomes numbers. CHARACTERS: a token is a code point, its number the position in
// `code`, which increases. BYTES: a token is a byte. PIECES: what `image` says.
typedef enum aml_tokenizer_kind {
    AML_TOKENIZER_CHARACTERS,
    AML_TOKENIZER_BYTES,
    AML_TOKENIZER_PIECES
} aml_tokenizer_kind;
typedef struct aml_tokenizer {
    aml_tokenizer_kind kind;
    int32_t vocab;
    const uint32_t *code;
    const struct aml_vocabulary *image;        // aml/vocabulary.h
    const char *hash;                          // SHA-256 of the image
    const struct amli_token_engine *engine;    // of the image's model
    const struct amli_token_patterns *pattern; // NULL: no step needs patterns
    const struct amli_token_unicode *unicode;  // NULL: no step asks what a character is
} aml_tokenizer;

typedef enum aml_source_kind {
    AML_SOURCE_NONE,
#define SOURCE(NAME, name, files, libraries, meaning) AML_SOURCE_##NAME,
#include "aml/source.def"
#undef SOURCE
    AML_SOURCE_KINDS
} aml_source_kind;

// How the runtime reads a kind of source. The tables name the kinds that they use, so that a
// program is linked with these alone.
struct amli_source_kind;
#define SOURCE(NAME, name, files, libraries, meaning)                                              \
    extern const struct amli_source_kind amli_source_##name;
#include "aml/source.def"
#undef SOURCE

// How a picture becomes as large as its field. CROP: the largest part with the field's proportions,
// from the middle; FIT: all of it, with background beside it; STRETCH: all of it, out of
// proportion.
typedef enum aml_resize { AML_RESIZE_CROP, AML_RESIZE_FIT, AML_RESIZE_STRETCH } aml_resize;
typedef enum aml_header { AML_HEADER_AUTO, AML_HEADER_YES, AML_HEADER_NO } aml_header;

// AML_SOURCE_PARTS: the most parts of a source that fields may read.
enum { AML_SOURCE_FILES = 2, AML_SOURCE_PARTS = 16 };

// Folders in which each file is a sample. A name is like "{digit}_{speaker}_{n}.wav": it has parts,
// and fields may read them. Only files are samples whose parts are those of all `keep`s: numbers
// from low to high, or one of the texts.
typedef struct aml_name_keep {
    int32_t part;
    int64_t low, high;
    int32_t texts; // 0: numbers
    const char *const *text;
} aml_name_keep;
typedef struct aml_files {
    const char *name; // the pattern; the path below the folder fits it
    const char *list; // instead of names, a csv file: in this column are the paths, below its
                      // folder, and the parts are other columns; NULL: there is none
    int32_t parts;
    const char *const *part; // their names, in the order of the pattern
    int32_t keeps;
    const aml_name_keep *keep;
    int64_t rate; // sounds: samples per second
    bool middle;  // sounds: of a longer one the middle is taken, not the beginning
} aml_files;

typedef struct aml_source {
    aml_source_kind kind;
    const struct amli_source_kind *reader; // of that kind
    const char *place;                     // "digits.aml:29"
    aml_text file[AML_SOURCE_FILES]; // looked up beside the source file, in the current directory,
                                     // under $AML_DATA; parts 0: not given
    char separator;                  // csv: ',' by default
    char comment;                    // csv: lines that begin with it are passed over; 0: none
    bool literal_quotes;             // csv: a quote is a character like others
    aml_header header; // csv: whether the first row names the columns; AUTO: it does if any
                       // column is named in the source
    const aml_tokenizer *tokenizer; // text
    int64_t rows, seed;             // synthetic
    aml_resize resize;              // pictures
    int32_t background;  // pictures: gray level under what is transparent and beside what is fitted
    int64_t most_pixels; // pictures: a larger one is refused
    int32_t classes;     // pictures: the names of the classes, in their order; 0: they are those of
                         // the source, sorted
    const char *const *class_name;
    const aml_files *files; // sounds and texts in folders
    const char *column[2];  // a list of pictures: the columns of their paths and labels
    bool keeps_nan;         // npy, npz: NaN is a missing value, not an error
    size_t memory_bytes;    // csv, jsonl, npy: data that need more memory stay on the disk and are
                            // read row by row when they are asked for; 0: never
    size_t cache_bytes;     // samples that are decoded on demand are kept in memory if all of them
                            // take no more than this
    aml_function generate;  // synthetic: one row; outputs are the fields
} aml_source;

// How a cell, a text or a number of a file, becomes elements of a field.
typedef enum aml_cell_kind {
    AML_CELL_NUMBER,   // the number that is written, or a truth value
    AML_CELL_CATEGORY, // one of the names of the field's classes: its position
    AML_CELL_TIME,     // a date, with or without a time: seconds since 1970 in UTC, an i64
    AML_CELL_PRESENT,  // a bool: whether there is a value
    AML_CELL_TEXT      // what the decoder makes of the text: all elements of the field
} aml_cell_kind;
struct amli_cell_decoder; // of the runtime; named where it is used, so that no other is linked
struct amli_cell;         // of the runtime: a text of a row
// A text as tokens, or as their number.
typedef struct aml_text_rule {
    const aml_tokenizer *tokenizer;
    int64_t tokens; // the field's length
    int32_t pad;    // stands behind a shorter text
    bool special;   // what the tokenizer puts around a text is put around
    bool keeps_end; // of a longer text the end is kept, not the beginning
    bool must_fit;  // a longer text is an error
    bool counts;    // the field is how many tokens there are, at most `tokens`
} aml_text_rule;
typedef struct aml_cell_rule {
    aml_cell_kind kind;
    int32_t missings; // texts of a missing value; an empty cell is always one
    const char *const *missing;
    const char *fill;     // what is read in the place of a missing value; NULL: it is an error
    const int32_t *order; // CATEGORY: the classes by the bytes of their names
    bool unknown;         // CATEGORY: the last class is every text that is no name of another
    const char *ending;   // CATEGORY: left out at the end of a text; NULL: none
    const char *format;   // TIME: as of strftime; NULL: ISO 8601
    const struct amli_cell_decoder *decoder; // TEXT
    const aml_text_rule *text;               // TEXT: for the decoder
    // Others: amli_read_by_rule, named here so that programs without rules are not linked with it.
    bool (*read)(const aml_tensor_info *tensor, const struct aml_cell_rule *rule,
                 const struct amli_cell *trimmed, void *element, char *expected, size_t room);
} aml_cell_rule;
bool amli_read_by_rule(const aml_tensor_info *tensor, const aml_cell_rule *rule,
                       const struct amli_cell *trimmed, void *element, char *expected, size_t room);

// Which part of a source a field reads. csv: `count` columns from `first`, or, with `column`, the
// one column of that name. Others: the file number `part`, or what `key` says; `first` and `count`
// are the columns that stand for it where samples are given as csv instead (`predict FILE`, a
// deployed program).
typedef struct aml_field {
    aml_tensor_info tensor; // one sample's shape
    const char *place;
    const char *column;      // csv; NULL: by position
    const char *last_column; // csv: the name of the last of count columns, NULL: not known by name
    const char *key;         // jsonl: a path of keys, a.b; npz: the name of an array
    int32_t first, count;
    int32_t part;
    const aml_cell_rule *rule; // NULL: numbers, none of them missing
    bool label; // no job's predict depends on it: its column may be absent from the file of
                // `predict FILE`
} aml_field;

typedef struct aml_split {
    double train, valid, test; // fractions; what they leave over is unused
    int64_t seed;
    int32_t stratify;  // index of the class field whose proportions are kept, -1: none
    const char *group; // the field whose rows of one value are all in one part, NULL: none
    bool by_time;      // the parts are consecutive rows, in the order of the source, and no window
                       // reaches over a border
} aml_split;

typedef enum { AML_ON_BAD_ERROR, AML_ON_BAD_SKIP } aml_on_bad;

// What prepare knows of the training rows as a whole (a mean, the edges of bins): fitted before a
// training begins, kept in a row of the job's states of the same name, a constant of a deployed
// program. The kinds are how it is made; missing values (NaN) are left out by all of them.
typedef enum aml_statistic_kind {
    AML_STATISTIC_FOLD,      // by functions of the program: an output of its level's finish
    AML_STATISTIC_QUANTILES, // f32[q, ...]: exact quantiles of each element, interpolated linearly
    AML_STATISTIC_MODE,      // the most frequent value of each element, of equals the smallest
    AML_STATISTIC_ROWS, // f32[n, ...]: n training rows, evenly spread; NaN where there are less
    AML_STATISTIC_COMPONENTS // f32[k, d + 1] of f32[d]: the k principal axes by falling variance,
                             // each followed by its variance; a missing value is an error
} aml_statistic_kind;

// The eigenvectors of a symmetric matrix [size, size] in place: row i becomes the one of value[i],
// which increase. False if they cannot be found, or without memory. In a table only where a
// statistic needs it, so that other programs do not contain it.
typedef bool aml_eigenvectors(double *matrix, double *value, int32_t size);

typedef struct aml_statistic {
    aml_tensor_info tensor; // "adult/0.mean"
    const char *place;      // of the call that asks for it
    aml_statistic_kind kind;
    int32_t level;  // it is made of fields and of statistics of lower levels
    int32_t output; // FOLD: of finish; else: of step, what is looked at in each row
    int32_t quantiles;
    const double *quantile; // QUANTILES: 0 to 1
    aml_eigenvectors *eigenvectors;
} aml_statistic;

// All statistics of one level. The inputs of its functions are those of prepare (the fields, the
// statistics) and then the accumulators of all levels.
typedef struct aml_fit {
    int32_t first, accumulators; // those of this level: first, first + 1, ...
    aml_function start;          // outputs: the level's accumulators
    aml_function step;           // one row: outputs: the accumulators, then what statistics look at
    aml_function finish;         // outputs: statistics of kind FOLD
} aml_fit;

extern aml_eigenvectors aml_eigenvectors_lapack;

// Rules by which rows are left out of all parts, or told about.
typedef enum aml_clean_kind {
    AML_CLEAN_DUPLICATES,      // the same as an earlier row in all of the fields
    AML_CLEAN_NEAR_DUPLICATES, // at least `limit` of their sets of values in common
    AML_CLEAN_MISSING,         // nan
    AML_CLEAN_OUTLIERS,        // outside of borders fitted on the training part; only rows of it go
    AML_CLEAN_RANGE            // outside of low..high
} aml_clean_kind;
typedef enum aml_then { AML_THEN_DROP, AML_THEN_FLAG, AML_THEN_ERROR } aml_then;
typedef enum aml_by { AML_BY_IQR, AML_BY_Z_SCORE } aml_by;
typedef struct aml_clean {
    aml_clean_kind kind;
    aml_then then;
    aml_by by;
    double limit, low, high;
    int32_t fields;
    const int32_t *field; // indices of the data set's fields
    const char *place;
} aml_clean;

typedef struct aml_dataset {
    const char *name, *doc, *place;
    aml_source source; // split by `split`
    aml_source test;   // a separate test source, or kind NONE
    aml_source valid;  // a separate source of the validation part, or kind NONE
    int64_t window;    // rows of the source in one sample, each a row of every field; 0: one row is
                       // one sample
    int64_t stride;    // rows from one window to the next
    int64_t apart;     // text: only windows that begin this far apart are samples; in training all
                       // of them are moved by another offset in each epoch. 0: all windows
    int32_t fields;
    const aml_field *field;
    aml_split split;
    aml_on_bad on_bad;
    double skip_limit;    // at most this fraction of rows may be skipped
    aml_function prepare; // one sample: inputs are the fields and then the statistics, outputs are
                          // the prepared fields. Always present
    aml_function augment; // one prepared sample to one, with other random numbers for each position
                          // in the stream of training samples; run == NULL if the data set has none
    int32_t cleans;
    const aml_clean *clean;
    int32_t statistics, fits; // fits: levels of statistics
    const aml_statistic *statistic;
    const aml_fit *fit;
} aml_dataset;

typedef enum aml_part { AML_PART_ALL, AML_PART_TRAIN, AML_PART_VALID, AML_PART_TEST } aml_part;

// ---- jobs --------------------------------------------------------------------------------------

// Scalars and small tensors that a metric ends in. Metrics that need every row (exact ROC AUC)
// collect rows first.
typedef enum aml_finish {
    AML_FINISH_COMPILED,      // the outputs of the job's metrics_value
    AML_FINISH_ROC_AUC_MACRO, // of collected (scores f32[k], target i32[]): mean over classes of
                              // one against the rest, ties count half
    AML_FINISH_ROC_AUC_MICRO,
    AML_FINISH_ROC_AUC_WEIGHTED,
    AML_FINISH_PR_AUC_MACRO, // average precision, likewise
    AML_FINISH_PR_AUC_MICRO,
    AML_FINISH_PR_AUC_WEIGHTED,
    AML_FINISH_MEAN // of a validation that is written out: the sum of eval's outputs collect[0]
                    // over the sum of its outputs collect[1], f64 each
} aml_finish;

typedef struct aml_metric {
    const char *name; // as the job calls it
    aml_finish finish;
    int32_t output;     // COMPILED: position among metrics_value's outputs
    int32_t collect[2]; // otherwise: positions among eval's outputs of the collected rows
    bool lower_is_better;
} aml_metric;

// A checkpoint of another job: `digits_mlp.best`.
typedef enum aml_which { AML_WHICH_LAST, AML_WHICH_BEST } aml_which;

// load(m, "x.safetensors"): what a training's weights begin with. Paths are those below `below`.
typedef struct aml_load_rule {
    const char *model, *file;   // patterns; each `*` of file is what the one of model stands for
    int32_t axes;               // 0: as they are; else how many
    int32_t axis[AML_MAX_RANK]; // the file's axis that each axis is
} aml_load_rule;
typedef struct aml_load {
    const char *place, *below; // below: NULL for the whole model
    aml_text path;
    const char *job; // whose checkpoint it is in the place of a file, and which; NULL: `path`
    aml_which which;
    int32_t rules, missings, unuseds;
    const aml_load_rule *rule;
    const char *const *missing, *const *unused; // patterns: of paths, of names in the file
} aml_load;

// What is done about a step whose loss or another figure is not finite.
typedef enum aml_guard {
    AML_GUARD_STOP,    // the training ends
    AML_GUARD_SKIP,    // the step is left out: nothing that it computed is kept
    AML_GUARD_ROLLBACK // back to the last checkpoint, and on with the data after that step's
} aml_guard;

// The output of a step that is 1 if the step was left out, else 0.
#define AML_FIGURE_SKIPPED "skipped"

// How a training draws its samples; see runtime/data/drawing.c.
typedef enum aml_sampling_kind {
    AML_SAMPLING_EPOCHS, // each once in an epoch
    AML_SAMPLING_BALANCED,
    AML_SAMPLING_WEIGHTED,
    AML_SAMPLING_OVER,
    AML_SAMPLING_UNDER,
    AML_SAMPLING_SMOTE
} aml_sampling_kind;
typedef struct aml_sampling {
    aml_sampling_kind kind;
    const char *by;       // a prepared field: the class of a sample, or its weight
    int64_t neighbours;   // smote
    int32_t weights;      // weighted by class: how many; 0: `by` is the weight
    const double *weight; // of each class
} aml_sampling;

typedef enum aml_job_kind { AML_JOB_TRAIN, AML_JOB_EVALUATE, AML_JOB_GENERATE } aml_job_kind;

// What a `generate` block says: defaults of the options of its verb.
typedef struct aml_generation {
    int64_t context;    // tokens that the model sees at once
    bool cached;        // decode reads one token (i32[1, 1]) at POSITION and keeps what later ones
                        // need in states of role CACHE; else it reads all of them, i32[1, context]
    bool exact;         // prompt is always given as many tokens as it takes
    double temperature; // 0: always the most likely token
    int64_t top_k;      // 0: all
    double top_p;       // 1: all
    int64_t length;     // tokens to write
    const char *prompt;
} aml_generation;

typedef struct aml_job {
    aml_job_kind kind;
    const char *name, *doc, *place;
    int32_t data;  // index of the data set
    aml_part part; // evaluate: which part of it
    int64_t batch;

    int32_t states;
    const aml_state_info *state;
    size_t state_bytes; // of the state arena

    aml_function init; // train: fills weights, states and optimizer states. scalars: seed
    aml_function step; // train: one optimizer step on `batch` prepared samples. outputs[0]: loss
                       // f32[]; more outputs are f32[] figures to log, by name
    aml_function metrics_reset; // zeroes the metric states
    aml_function eval; // `batch` prepared samples: updates metric states; outputs: loss_sum f64[],
                       // loss_count f64[] if the job has a loss, then collected rows
    aml_function eval_one;      // the same for a batch of 1: the rows that do not fill a batch
    aml_function metrics_value; // outputs: the value of each COMPILED metric
    bool has_loss;              // eval's first two outputs are the loss
    aml_function validated;     // train: run after each validation; updates states that depend on
                                // what was measured (schedules like plateau)

    int32_t metrics;
    const aml_metric *metric;

    // prediction (train jobs; `./prog predict FILE`): a batch of 1. inputs: the prepared inputs of
    // the model (a subset of prepare's outputs, by name). outputs: for a classifier "prediction"
    // i32 and "probability" f32[k]; else "prediction".
    aml_function predict;

    // train only
    aml_quantity length; // steps, epochs or seconds
    int64_t seed;
    aml_quantity validate_every;   // value 0: never
    aml_quantity checkpoint_every; // value 0: only at the end
    int32_t keep_last;             // how many of the newest checkpoints stay
    int32_t keep_best;             // how many of the best by keep_metric stay
    int32_t keep_metric;           // index into metric; -1: the validation loss
    int32_t stop_metric;           // early stop; -2: no early stop, -1: the validation loss
    aml_quantity stop_patience;
    double stop_min_delta;
    bool stop_reaches; // the training ends when the metric is as good as stop_reach, too
    double stop_reach;
    bool stop_restores; // at its end the training goes back to its best checkpoint's state, which
                        // is what its last checkpoint has
    aml_guard guard;
    int64_t guard_limit;  // this many steps in a row may be left out, or so many times gone back
    double skip_outliers; // a step is left out whose loss or gradient lies this many standard
                          // deviations above the usual; 0: none is

    aml_sampling sampling; // train

    int32_t loads; // train: files that the weights are read from at the beginning, after init
    const aml_load *load;

    // evaluate and generate
    int32_t model_job; // whose checkpoint is used; -1: none, the weights are in the functions
    aml_which which;
    int32_t folds;  // evaluate: model_job is trained once for each fold, which takes the place
                    // of `part`; 0: what was trained is measured
    int32_t shares; // evaluate: and for each of these shares of the training part; 0: all of it
    const double *share; // increasing

    aml_function decode; // generate: outputs the scores of the next token, f32[vocab]
    aml_function prompt; // generate: the same for several tokens at once, i32[1, n], the first of
                         // them at POSITION: the scores behind the last. Unless `exact` is set
                         // there may be fewer, the others are negative. run == NULL: there is none
    aml_generation generation;
} aml_job;

// How many snapshots of its state a training keeps, from which checkpoints are written: one, or
// some of a small state, so that a disk that is slower than the training does not hold it up. What
// a training allocates is known when it is compiled, so the compiler asks too.
enum { AML_MOST_SNAPSHOTS = 16, AML_SNAPSHOTS_ROOM = 2 << 20 };
static inline int aml_snapshots(size_t state_bytes)
{
    size_t fit = state_bytes ? AML_SNAPSHOTS_ROOM / state_bytes : AML_MOST_SNAPSHOTS;
    return fit < 1 ? 1 : fit > AML_MOST_SNAPSHOTS ? AML_MOST_SNAPSHOTS : (int)fit;
}

typedef struct aml_program {
    int32_t abi;              // AML_PROGRAM_ABI
    const char *name;         // digits
    const char *doc;          // of the file
    const char *source;       // digits.aml, as it was named
    const char *source_dir;   // the folder of the source: absolute, or relative to the executable's
                              // folder; relative data paths are looked up here first
    const char *source_hash;  // SHA-256 of all sources, hex
    const char *compiler;     // amlc 0.1.0
    const char *cpu_level;    // x86-64-v3: what the code needs
    const char *cpu_features; // avx512f,avx512bw,...: checked at start, a clear refusal otherwise
    int32_t options, fixeds, effectives, datasets, jobs;
    const aml_option *option;
    const aml_fixed *fixed;
    const aml_effective *effective;
    const aml_dataset *dataset;
    const aml_job *job;
} aml_program;

// The main function of a compiled program. Returns its exit code.
int aml_program_main(const aml_program *program, int argc, char **argv);

// ---- deployed programs -------------------------------------------------------------------------

// What quantization did to one layer.
typedef struct aml_layer_report {
    const char *name;                  // its path
    const char *kept;                  // why it stays f32; NULL: it is quantized
    const char *form; // of weights that alone are quantized: "int8/32"; of a product in a loop: that
                      // its range is that of all turns; else NULL
    double low, high;                  // what its input was seen to be in calibration
    double weights_db, result_db;      // signal to noise: of the weights, of the layer's result
    int64_t bytes_before, bytes_after; // of the weights
} aml_layer_report;

// The file with the constants of a deployed model, for all levels. The table names what compares a
// file with it and, in an executable, what finds and maps it, beside the program or where `named`
// says, so that no other program is linked with these.
struct amli_mapped_weights;
struct aml_error;
typedef struct aml_weights_file {
    const char *name; // digits.weights
    size_t bytes;
    const char *hash;           // SHA-256 of what is behind the head (aml/weights.h), hex
    const char *model, *levels; // the name; x86-64-v4,x86-64-v3
    bool (*check)(const struct aml_weights_file *file, const void *at, size_t bytes);
    aml_status (*map)(const struct aml_weights_file *file, const char *named,
                      struct amli_mapped_weights *out, struct aml_error *error);
} aml_weights_file;
aml_status aml_weights_map(const aml_weights_file *file, const char *named,
                           struct amli_mapped_weights *out, struct aml_error *error);
bool aml_weights_check(const aml_weights_file *file, const void *at, size_t bytes);

// The functions of a deployed model for one level of processors.
typedef struct aml_level {
    const char *cpu_level, *cpu_features; // x86-64-v3; avx2,fma,...
    aml_function prepare;     // one raw sample to one prepared sample (only what the model reads)
    const signed char *given; // for each of its outputs the field that it is, or -1
    const aml_function *predict; // one per batch size
    // constants that are expanded when a context is opened, see aml/stored.h; NULL: there are none
    const void *stored;
    // Expands them, and makes weights; NULL: nothing is to be done.
    void (*expand)(const void *stored, void *to, const void *weights);
    size_t stored_bytes;                          // what all this takes then
} aml_level;

// What `amlc deploy` makes: weights inside, read-only, packed for the kernels; nothing is allocated
// after the start.
typedef struct aml_artifact {
    int32_t abi;
    const char *name, *doc;
    const char *source_hash, *weights_hash, *data_fingerprint, *compiler;
    int32_t levels; // the best first; which one is used is decided when it starts
    const aml_level *level;
    int32_t fields;
    uint32_t missing;       // bit i: NaN in field i is a missing value; elsewhere it is an error
    const aml_field *field; // raw inputs that predict needs (a label field is not among them)
    char separator, comment;
    bool literal_quotes;
    aml_header header; // AUTO: the training data have one, though the source does not say so
    int32_t predicts;  // one per batch size, increasing
    const int64_t *predict_batch;
    size_t weights_bytes;            // of read-only data, of one level
    const aml_weights_file *weights; // in a file beside the program; NULL: they are in the program
    int64_t parameters;
    int32_t layers; // 0: nothing is quantized
    const aml_layer_report *layer;
    int32_t readers; // kinds of files that `predict` reads besides texts of rows
    const struct amli_file_reader *const *reader;
    aml_resize resize; // pictures: as of the source
    int32_t background;
    int64_t most_pixels;
    int64_t rate; // sounds: as of the source
    bool middle;
} aml_artifact;

// Whether this processor has all features of a list such as "avx2,fma".
bool aml_cpu_has(const char *features);

extern const struct amli_file_reader amli_picture_files, amli_sound_files, amli_npy_files;

// The main function of a deployed executable: predict, bench, info. Returns its exit code.
int aml_artifact_main(const aml_artifact *artifact, int argc, char **argv);

// The same of a deployed `generate` block: `program` has that one job, with model_job -1 and the
// weights in its function, and one data set, of which only the tokenizer is used. `facts` has no
// predict and no fields.
// There are `programs` of them, for levels of processors, the best first.
int aml_writer_main(const aml_program *program, int programs, const aml_artifact *facts, int argc,
                    char **argv);

#ifdef __cplusplus
}
#endif

#endif
