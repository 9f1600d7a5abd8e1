// job.h: what the files that turn blocks into a Program share.
//
//   job.c           all blocks, options and constants; the order of things
//   job_setting.c   reading settings against their schema
//   job_entry.c     tracing one entry: its inputs, outputs and scalars
//   job_data.c      dataset
//   job_clean.c     rows that are left out
//   job_fit.c       what it knows of the training rows as a whole (fit.h)
//   job_source.c    where its samples come from
//   job_cell.c      how the cells of a column become numbers
//   job_train.c     train, and what evaluate has in common with it
//   job_step.c      the functions that both are compiled to
//   job_metric.c    metrics of a train or an evaluate block
//   job_text.c      texts: tokenizers and vocabularies
//   job_files.c     folders in which each file is a sample: their names
//   job_text_field.c  fields that are tokens of a text in a column
//   job_generate.c  generate
//   job_deploy.c    deploy
//   job_compress.c  quantization and pruning of a deploy block
//   pruning.c       weights that become zero while training
//   teacher.c       a model that learns from another one's answers
//   job_sampling.c  how a training draws its samples
//   job_validate.c  the validation of a training whose step is written out
//   job_folds.c     evaluate blocks that train: cross-validations and learning curves
//   expand.c        the effective program as text

#ifndef AML_ELAB_JOB_H
#define AML_ELAB_JOB_H

#include "aml/columns.h"
#include "elab/elab.h"
#include "sema/sema.h"

// A value that a sample has on its way: a field, or a part of the prepared record.
typedef struct Column {
    Sym name;
    Type type; // of one sample
    int64_t classes;
    const char *const *class_name; // of each class; NULL: they have numbers only
} Column;
typedef Vec(Column) ColumnList;

// What a source's settings say beside the table's row.
typedef struct DataSource {
    Span span;
    int64_t window, stride; // 0: its rows are the samples
    int64_t apart;          // see aml_dataset
    Value generate;         // of a synthetic source: a function of the row's number
    Value missing;          // csv, jsonl: texts of a missing value
    const char *named;      // the first file, as the source names it by default
    const char *path;       // where that was found; NULL: it was not
} DataSource;

typedef struct DataBlock {
    Node *node;
    int index; // in Program.dataset
    ColumnList field, prepared;
    double part[4]; // share of each aml_part
    DataSource source, test, valid;
    int32_t columns; // of the fields so far, one after the other
    Vec(Value) cell; // of each field: what column(...) made
    Vec(Span) place; // where that is written
    bool by_name;    // some field names a column
} DataBlock;

typedef struct TrainBlock {
    Node *node;
    int index; // in Program.job
    DataBlock *data;
    Value model;     // an instance; none if the step is the program's own
    Value models;    // then: the record of them
    Value loss;      // none if there is none
    Value loss_call; // a function that calls it where the setting is
    Value average;   // the rule by which averages of the weights are kept; none: there are none
    DType real;      // what `float` means in it
    DType mixed;  // what operands of its contractions are rounded to: BF16, F16; F32: they are not
    Value scaler; // of f16: an instance that scales the loss; else none
    Rounding rounding; // what is trained with: `quantize`
    Value teacher;     // an instance of the model that answers as well; none: there is none
    Value pruning;     // the record of `prune`; none: nothing is pruned
    Span pruning_span;
    StateTable *table;
    bool keeps_best;
    bool failed;
} TrainBlock;

// Metrics of a block: the instances by name.
typedef struct MetricSet {
    int count;
    Sym *name;
    Value *metric;
    Span *span;
} MetricSet;

// A data set whose source is a text.
typedef struct TextBlock {
    Node *node;
    const aml_tokenizer *tokenizer; // NULL: its mistakes were reported
} TextBlock;

typedef struct KeptTokenizer {
    const char *shown; // what was asked for
    const aml_tokenizer *tokenizer;
} KeptTokenizer;

// A field whose tokens are words of the training rows.
typedef struct FieldWords {
    const Node *node;
    const aml_tokenizer *tokenizer; // NULL: its mistakes were reported
} FieldWords;

// More than tokenizers have, so that a number of one of their tokens is one.
enum { MADE_UP_TOKENS = 1 << 18 };

typedef struct Jobs {
    Elab *e;
    Cx *cx;
    Arena *arena;
    Program *program;
    Unit *unit;
    Vec(DataBlock *) data;
    Vec(TrainBlock *) train;
    Vec(TextBlock) text;
    Vec(KeptTokenizer) tokenizer;
    aml_tokenizer stand_in; // of MADE_UP_TOKENS, for one whose file is missing, see Cx.without_data
    Vec(FieldWords) words;
} Jobs;

// ---- job_setting.c

// One setting of a block, written or by default.
typedef struct Setting {
    Node *value; // the expression; NULL: neither written nor a default
    Node *type;  // its type in the schema; NULL if the schema does not have it
    Env *env;    // in which the value is evaluated
    Span span;   // where to point
    bool written;
} Setting;

Setting setting_of(Jobs *jobs, Node *job, const char *name);
// An item of a setting that is a record: split.train.
Setting setting_item(Jobs *jobs, Node *job, const char *name, const char *item);
// Evaluates; poison after a report. What the type says is checked where the evaluator knows the
// type.
Value setting_eval(Jobs *jobs, const Setting *setting, const char *name);
bool setting_whole(Jobs *jobs, Node *job, const char *name, int64_t least, int64_t *out);
bool setting_quantity(Jobs *jobs, const Setting *setting, const char *name,
                      aml_quantity *out); // a duration; none gives value 0
bool setting_number(Jobs *jobs, const Setting *setting, const char *name,
                    double *out); // a fraction, size or number
// Whether a setting that the block's kind does not have, and that was reported, is probably this
// one.
bool setting_misspelled(Jobs *jobs, const Node *job, const char *name);
void setting_wrong(Jobs *jobs, const Setting *setting, const char *name, const char *expected,
                   Value found);
void settings_record(Jobs *jobs, Node *job);  // adds the block's effective settings to the program
const char *job_place(Jobs *jobs, Span span); // digits.aml:14
const char *span_text(Jobs *jobs, Span span); // the source on one line
Sym job_word(Jobs *jobs, const char *word);
Sym value_word(Value value); // a symbol or a plain text, else NULL
Value record_item(Jobs *jobs, Value record, const char *name); // none if absent
aml_text job_text(Jobs *jobs, Value text);

// ---- job_entry.c

typedef struct Tracing {
    Jobs *jobs;
    Trace *trace;
    Entry *entry;
} Tracing;

Tracing entry_begin(Jobs *jobs, Entry *entry, const char *block, const char *function, Span span);
Value entry_input(Tracing *tracing, Type type, int64_t classes, Sym name, Span span);
int entry_output(Tracing *tracing, Inst *value, int64_t classes, const char *name);
bool entry_end(Tracing *tracing);  // false after a report
void entry_drop(Tracing *tracing); // after a mistake: closes the trace and leaves the entry empty
aml_tensor_info tensor_info(Jobs *jobs, Type type, int64_t classes, const char *name);
Type batched(Type type, int64_t batch);
Value in_precision(Jobs *jobs, Value value, Span span);
// Inputs of an entry, one for each column, as a record. batch_inputs: all that samples have, whose
// target's classes may be weighted.
Value batch_inputs(Tracing *tracing, const ColumnList *columns, int64_t batch, Span span);
Value column_inputs(Tracing *tracing, const ColumnList *columns, int64_t batch, Span span);

// ---- job_data.c
bool job_dataset(Jobs *jobs, Node *node);
DataBlock *data_block(Jobs *jobs, const Node *node);
// `data: digits` or `data: digits.test`. NULL after a report.
DataBlock *data_setting(Jobs *jobs, const Setting *setting, const char *name, bool with_part,
                        aml_part *part);
// The same for a value that is a part of a setting.
DataBlock *data_value(Jobs *jobs, const Setting *setting, const char *name, Value value,
                      bool with_part, aml_part *part);
// Whether the split gives samples to this part; false after a report.
bool data_part(Jobs *jobs, const DataBlock *block, const Setting *setting, aml_part part);

// A table with the source of a data set, its split and the fields that are needed for it, the last
// of which is the text `field`; where the source's file is, NULL if it is not there. False after a
// report.
bool split_of_text(Jobs *jobs, Node *dataset, Node *field, Value place, aml_dataset *table,
                   const char **path, const char **named);

// ---- job_words.c
bool is_words_place(Jobs *jobs, Value place); // tokens(..., words(...))
// The tokenizer of such a field; the words are counted at the first call. NULL after a report.
const aml_tokenizer *words_tokenizer(Jobs *jobs, Node *dataset, Node *field, Value place);
// The same of a field that was asked for before.
const aml_tokenizer *words_known(Jobs *jobs, const Node *field, bool *known);

// ---- job_clean.c
bool read_clean(Jobs *jobs, Node *node, const DataBlock *block, aml_dataset *table);

// ---- job_source.c
bool read_source(Jobs *jobs, Node *node, const char *name, aml_source *source, DataSource *out);
const char *source_name(aml_source_kind kind);
const char *source_expected(aml_source_kind kind); // what a field's place may be
int source_part(aml_source_kind kind, Sym word);   // which file a field's word names, -1: none

// ---- job_cell.c

// What the cells of a field hold; the type that is written for it says so.
typedef enum CellType { CELL_NUMBER, CELL_CATEGORY, CELL_DATE, CELL_PRESENT } CellType;
CellType cell_type(Jobs *jobs, const Node *field, Value place);
// Fills out->rule, and for a category the classes of out->tensor. False after a report.
bool read_cells(Jobs *jobs, Node *field, Value place, CellType type, const aml_dataset *table,
                DataBlock *block, aml_field *out);
// The type with class(k) or i64 in the place of category or date.
Node *cell_type_node(Jobs *jobs, const Node *type, CellType kind, int64_t classes);
// Looks for the fields' columns in the file, if it is there.
void check_columns(Jobs *jobs, DataBlock *block, const aml_dataset *table);
// adult.job of `classes(adult.job)`: 0 if the data set has no such field.
int64_t field_classes(Jobs *jobs, Node *dataset, Sym field);

// ---- job_images.c: each false after a report
bool image_source(aml_source_kind kind); // whether its samples are pictures
bool image_settings(Jobs *jobs, const Setting *setting, Value record, aml_source *source);
bool image_field(Jobs *jobs, const Node *field, const TypeValue *type, const aml_source *source,
                 int part); // part 0: the picture, 1: its label
// Binds `classes` for the field's type.
bool image_names(Jobs *jobs, Env *env, const Node *field, const aml_dataset *data);
// The number of classes of a data set of pictures, 0 if the folder is not there; false if it is no
// such data set.
bool image_classes(Jobs *jobs, Node *dataset, int64_t *classes);
Value data_member(Elab *e, Node *job, Sym part, Span span); // flowers.classes, shakespeare.vocab

// ---- job_metric.c
bool metrics_read(Jobs *jobs, Node *node, MetricSet *set);
// Adds metrics_reset and metrics_value to the job, and its table of metrics.
bool metrics_update(Tracing *tracing, const MetricSet *set, ProgramJob *job, Value output,
                    Value target, bool first);
bool metrics_entries(Jobs *jobs, const MetricSet *set, ProgramJob *job, const char *block);
int metric_index(Jobs *jobs, const MetricSet *set, Sym name,
                 Span span); // -1: loss, -3 after a report

// ---- job_train.c
// The precision of a training, for everything that is traced in between.
typedef struct Precision {
    DType real;
    DType mixed;
    const Rounding *rounding;
} Precision;
Precision precision_begin(Jobs *jobs, const TrainBlock *train);
void precision_end(Jobs *jobs, Precision before);
bool job_train(Jobs *jobs, Node *node);
bool job_evaluate(Jobs *jobs, Node *node);
ProgramJob new_job(Jobs *jobs, Node *node, aml_job_kind kind);
TrainBlock *train_block(Jobs *jobs, const Node *node);
bool job_is_instance(Value value, NodeKind kind); // of a model, an optimizer, ...
// `model: digits_mlp.best`. NULL after a report.
TrainBlock *checkpoint_setting(Jobs *jobs, const Setting *setting, const char *name,
                               aml_which *which);

// ---- job_folds.c
// The settings `folds` and `curve` of an evaluate block. False after a report.
bool read_folds(Jobs *jobs, Node *node, const TrainBlock *train, const DataBlock *block,
                aml_job *job);

// ---- pruning.c: each false after a report
bool read_pruning(Jobs *jobs, TrainBlock *train);
bool pruning_prepare(Jobs *jobs, TrainBlock *train); // when the sizes of the weights are known
bool pruning_step(Jobs *jobs, const TrainBlock *train, Span span); // after the optimizer
bool pruning_averages(Jobs *jobs, const TrainBlock *train, Span span);

// ---- job_sampling.c
bool read_sampling(Jobs *jobs, Node *node, const DataBlock *data, aml_sampling *out);

// ---- job_step.c
const Column *column_of(const ColumnList *columns, const char *name);
Value loss_at(Jobs *jobs, Value loss, bool has_target, Span span);
// What the model makes of a batch. NULL after a report.
Inst *model_answer(Jobs *jobs, Value model, const ColumnList *prepared, Value batch, int64_t count,
                   Span span);
bool predict_entry(Jobs *jobs, TrainBlock *train, Entry *entry, const char *block,
                   const char *function, int64_t batch, Span span);
bool eval_entry(Jobs *jobs, Entry *entry, ProgramJob *job, const DataBlock *data, Value model,
                Value loss, const MetricSet *metrics, const char *function, int64_t batch);
// What `train_step` of the library is told besides the model and the batch.
typedef struct StepSettings {
    Value optimizer, clip, penalty;
    int64_t parts;       // of a batch
    Value mixup, cutmix; // numbers, none: not asked for
} StepSettings;
bool default_step(Jobs *jobs, TrainBlock *train, ProgramJob *job, const StepSettings *settings);
// Try out the model or the step where that has to come first; false after a report.
bool try_model(Jobs *jobs, TrainBlock *train, Span span);
bool try_step(Jobs *jobs, TrainBlock *train, const ProgramJob *job, Node *fn, Value models,
              Value optimizers);
bool custom_step(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *fn, Value models,
                 Value optimizers);
// job_memory.c, when everything of the job is traced
bool job_memory(Jobs *jobs, Node *node, ProgramJob *job);

// scaling.c: f16, whose small numbers need the loss scaled
bool scaler_prepare(Jobs *jobs, TrainBlock *train);
bool scaler_skips(Tracing *tracing, const TrainBlock *train, Value *result, Span span);
// The functions of a validation that is written out, and a metric for each of its figures.
bool custom_eval(Jobs *jobs, TrainBlock *train, ProgramJob *job, Node *fn, Value models,
                 MetricSet *figures);
bool validated_entry(Jobs *jobs, TrainBlock *train, ProgramJob *job, const MetricSet *metrics);
bool init_entry(Jobs *jobs, TrainBlock *train, ProgramJob *job);
void load_rows(Jobs *jobs, Value model, bool rounds, ProgramJob *job);
void state_rows(Jobs *jobs, StateTable *table, ProgramJob *job);
// Every cell of the models gets a row, also one that no function reads.
bool register_cells(Jobs *jobs, Value model);
void warn_unused(Jobs *jobs, Value model, const ProgramJob *job);
bool check_classes(Jobs *jobs, const TrainBlock *train, const ProgramJob *job, Span at);

// ---- job_guard.c
bool read_guard(Jobs *jobs, Node *node, aml_job *job); // false after a report
bool leaves_out_steps(const aml_job *job);
// After the outputs that decide and all states were written.
bool guard_step(Tracing *tracing, const aml_job *job, Span span);

// ---- job_text.c
// False after a report: `field ids: class(vocab)[window] = tokens`.
bool text_field(Jobs *jobs, const Node *field, const TypeValue *type, int64_t window,
                const aml_tokenizer *tokenizer);
// The tokenizer that a value asks for: bytes(), bpe(...). NULL: it is none, or after a report.
const aml_tokenizer *tokenizer_of(Jobs *jobs, Span span, Value value, bool *is_one);
// Reports that `path` is missing, and gives bytes.
const aml_tokenizer *stand_in_tokenizer(Jobs *jobs, Span span, const char *path);
// The tokenizer of a data set. NULL: it has none, or after a report.
const char *text_default(Jobs *jobs, Value text); // where every option has its default
const aml_tokenizer *text_tokenizer(Jobs *jobs, Node *dataset);
Value text_member(Elab *e, Node *job, Sym part, Span span); // shakespeare.vocab

// ---- job_text_field.c
// Whether a field's place is tokens(...) or token_count(...).
bool is_text_place(Jobs *jobs, Value place);
// Such a field; out->column and first are set but for one that counts, which reads those of the
// field that it names. False after a report.
bool read_text_field(Jobs *jobs, Node *field, Value place, const aml_field *fields, int count,
                     int64_t window, aml_field *out, Column *column);
// The tokenizer of the fields that are texts. NULL: there is none, or after a report.
const aml_tokenizer *field_tokenizer(Jobs *jobs, Node *dataset, bool *several);

// ---- job_files.c
// What names of files are like, and which files are samples. NULL after a report.
aml_files *files_settings(Jobs *jobs, const Setting *setting, Value record);
// The same of a csv file that lists them, whose columns are the parts.
aml_files *list_settings(Jobs *jobs, const Setting *setting, const Node *dataset, Value record);
// Which part of such a source a field reads: aml_field.part. False after a report.
bool files_place(Jobs *jobs, const Node *field, const TypeValue *type, const aml_source *source,
                 Env *env, int32_t *part);

// ---- job_generate.c
bool job_generate(Jobs *jobs, Node *node);

// ---- job_deploy.c
bool job_deploy(Jobs *jobs, Node *node);

// ---- job_compress.c: false after a report; `out` is left empty if the block does not ask
// `train`: whose weights are deployed; its ranges may be learned.
bool read_quantize(Jobs *jobs, Node *node, const TrainBlock *train, QuantizeSetting *out);
bool read_rounding(Jobs *jobs, Node *node, Rounding *out); // `quantize` of a training

// ---- teacher.c: nothing happens but in a training that jobs->cx->teaching names
void teacher_batch(Jobs *jobs, Node *node, int64_t *batch);
void teacher_slows(Jobs *jobs, const TrainBlock *train, Value optimizer);
bool teacher_prepare(Jobs *jobs, TrainBlock *train, const StepSettings *settings, Span span);
// The loss of a step on the batch; poison after a report.
Value teacher_loss(Jobs *jobs, const TrainBlock *train, Value batch, int64_t count, Span span);
bool read_prune(Jobs *jobs, Node *node, PruneSetting *out);

#endif
