// link/: from tables and an object to a file that runs.
//
// A Program's tables become an object (image.c), which is linked with those from codegen and
// libaml_runtime.a. Those of a deployed program, which has functions of its own, are one C file
// that includes aml/program.h, compiled by the system's C compiler. Two builds of
// one source are the same bytes, wherever they were made: no time, no build id, no absolute path
// goes in, except that of a source that lies elsewhere (link.c).

#ifndef AML_LINK_H
#define AML_LINK_H

#include "compile.h"

// ---- image.c: tables as an object file
typedef struct ImagePlace {
    int block;
    size_t offset;
} ImagePlace;
typedef struct ImageBlock {
    char *made;        // zeros in the beginning
    const void *given; // or what is there already
    size_t bytes, alignment, place;
    bool has_addresses;
} ImageBlock;
typedef struct ImageReference {
    ImagePlace from;
    enum { IMAGE_PLACE, IMAGE_TEXT, IMAGE_SYMBOL } kind;
    ImagePlace to; // TEXT: its offset among the texts; SYMBOL: its number as a block
} ImageReference;
typedef struct Image {
    Cx *cx;
    Vec(ImageBlock) block;
    Vec(ImageReference) reference;
    Buffer texts;
    Map known;  // texts
    Map symbol; // of other objects, numbered from 1
} Image;
// A block of zeros, or of the bytes `at`, which must stay.
int image_block(Image *image, const void *at, size_t bytes, size_t alignment);
char *image_at(const Image *image, ImagePlace place);
// The address that is at `from`: of another place, of a text, of a symbol of another object.
void image_point(Image *image, ImagePlace from, ImagePlace to);
void image_text(Image *image, ImagePlace from, const char *text);
void image_symbol(Image *image, ImagePlace from, const char *name);
// The object; `name` is its one symbol, which is that block.
ObjectFile image_object(Image *image, const char *name, int block);

// ---- table_row.c: rows of tables, in an object or as C text
typedef struct TableNames {
    const char *const *key;
    struct TableRef *ref; // of the array
} TableNames;
typedef struct TableWriter {
    Cx *cx;
    Image *image;          // NULL: the tables become C text
    Buffer top;            // arrays and declarations, in the order in which they are needed
    int arrays;            // names given so far
    Vec(TableNames) named; // names of classes that were written
    Vec(const aml_tokenizer *) tokenizer; // that were written
    Vec(struct TableRef *) tokenizer_ref;
    bool spells_nothing; // the program makes no texts of tokens
} TableWriter;
typedef struct TableRef { // what a field can point to
    const char *name;     // in C; NULL: nothing
    ImagePlace at;
} TableRef;
typedef struct TableRow {
    TableWriter *writer;
    Buffer text; // of its fields
    ImagePlace at;
} TableRow;
typedef struct TableArray {
    TableWriter *writer;
    const char *type, *name;
    size_t size;
    int64_t count, begun;
    int block;
    Buffer rows;
    TableRow row; // the last that was begun
} TableArray;
typedef enum TableValue { TABLE_INT32, TABLE_UINT32, TABLE_DOUBLE } TableValue;

// An array of `count` rows: table_next gives one after the other, complete when the next is asked
// for.
TableArray table_array(TableWriter *writer, const char *name, const char *type, size_t size,
                       int64_t count);
#define TABLE_ARRAY(writer, name, Type, count)                                                     \
    table_array((writer), (name), #Type, sizeof(Type), (count))
TableRow *table_next(TableArray *array);
TableRef table_end_array(TableArray *array);
TableRef table_values(TableWriter *writer, const char *name, TableValue kind, const void *at,
                      int64_t count);
TableRef table_texts(TableWriter *writer, const char *name, const char *const at[], int64_t count);
// A struct inside of C text that is written otherwise.
TableRow table_lone_row(TableWriter *writer);
const char *table_row_text(const TableRow *row);

void row_whole(TableRow *row, const char *field, size_t offset, size_t size, int64_t value);
void row_wholes(TableRow *row, const char *field, size_t offset, size_t size, const void *at,
                int count); // of int32_t or int64_t
void row_real(TableRow *row, const char *field, size_t offset, double value);
void row_text(TableRow *row, const char *field, size_t offset, const char *text);
void row_point(TableRow *row, const char *field, size_t offset, TableRef to);
void row_symbol(TableRow *row, const char *field, size_t offset, const char *symbol);
TableRow row_open(TableRow *row, size_t offset); // a struct in the row
void row_close(TableRow *row, const char *field, const TableRow *inner);
// A field of the row's Type; of an index only a number that is one in the text as well.
#define SIZE_OF(Type, field) sizeof(((Type *)0)->field)
#define WHOLE(row, Type, field, value)                                                             \
    row_whole((row), #field, offsetof(Type, field), SIZE_OF(Type, field), (value))
#define WHOLES(row, Type, field, at, count)                                                        \
    row_wholes((row), #field, offsetof(Type, field), sizeof *(at), (at), (count))
#define REAL(row, Type, field, value)                                                              \
    row_real((row), #field, _Generic(((Type *)0)->field, double : offsetof(Type, field)), (value))
#define TEXT(row, Type, field, text)                                                               \
    row_text((row), #field, _Generic(((Type *)0)->field, const char * : offsetof(Type, field)),    \
             (text))
#define POINT(row, Type, field, ref) row_point((row), #field, offsetof(Type, field), (ref))
#define SYMBOL(row, Type, field, symbol) row_symbol((row), #field, offsetof(Type, field), (symbol))
#define OPEN(row, Type, field) row_open((row), offsetof(Type, field))
#define CLOSE(row, field, inner) row_close((row), #field, (inner))

// ---- tables.c
//
// A file of tables, and what belongs to it.
typedef struct Tables {
    const char *text;                          // C
    ObjectFile object;                         // or what a C compiler would make of it
    const struct aml_vocabulary *const *image; // of tokenizer I, for the file tokenizerI.bin; NULL:
    int images;                                // it has none
    bool unpacks; // the program expands its constants, if they are packed (aml/packed.h)
} Tables;

const char *table_text(TableWriter *writer, const char *text); // a C literal, or "0" for NULL
const char *table_real(TableWriter *writer, double value);
const char *table_name(TableWriter *writer, const char *prefix, const char *what); // of an array
// A function; `prefix` names its arrays. An Entry without ir gives zeros.
void row_function(TableRow *row, const Entry *entry, const char *prefix);
void row_generation(TableRow *row, const aml_generation *of);
TableRef table_field_array(TableWriter *writer, const aml_field *field, int count,
                           const char *prefix);
// The same as C texts.
const char *table_function(TableWriter *writer, const Entry *entry, const char *prefix);
const char *table_generation(TableWriter *writer, const aml_generation *of);
// table_cell.c: to be written before the array that names them.
TableRef table_class_names(TableWriter *writer, const aml_tensor_info *of);
TableRef table_cell_rule(TableWriter *writer, const aml_field *field);
// What a program that reads this kind of source is linked with besides.
const char *source_libraries(aml_source_kind kind);
const char *statistic_libraries(const ProgramDataset *data);
// table_kernel.c: "some/folder/digits.aml:14" is "digits.aml:14" wherever it was compiled; the rest
// of a function's row, if it can be watched
const char *table_place(const char *text);
void row_kernels(TableRow *row, const Entry *entry, const char *name);
// table_text.c: tokenizers, names of files
TableRef table_tokenizer(TableWriter *writer, const aml_tokenizer *of);
TableRef table_text_rule(TableWriter *writer, const aml_text_rule *of); // of a cell's rule
TableRef table_files(TableWriter *writer, const aml_files *of);         // the rules of names
const char *tokenizer_libraries(Cx *cx, const Tables *tables);
Tables table_end(TableWriter *writer);
// Of a training program: the object, or C text that says the same.
Tables tables_of_program(Cx *cx, Program *program, const ObjectCode *object, const char *source_dir,
                         bool as_text);

// ---- artifact.c: C text of deployed programs
//
// The functions for one level of processors, compiled.
typedef struct ArtifactLevel {
    const char *cpu_level, *cpu_features;
    Entry prepare;
    const signed char *given;    // see aml_level
    Vec(Entry) predict;          // one per batch size
    const char *stored, *expand; // see ObjectCode
    size_t stored_bytes, stored_length, stored_plain;
    const void *stored_data;
} ArtifactLevel;

typedef struct Artifact {
    const char *name, *doc;
    const char *source_hash, *weights_hash, *data_fingerprint;
    const aml_field *field; // raw inputs
    int fields;
    const aml_source *source; // the form of rows
    char separator;
    aml_header header;
    Entry prepare;
    Vec(int64_t) batch;
    Vec(Entry) predict;
    Vec(ArtifactLevel) level; // the best first
    size_t weights_bytes;
    const char *weights_file, *weights_file_hash; // beside the program; NULL: inside
    const char *weights_levels;                   // that they are laid out for
    size_t weights_file_bytes;
    int64_t parameters;
    Vec(aml_layer_report) layer; // of a quantized program
} Artifact;
const char *table_layers(TableWriter *writer, const Artifact *artifact); // the name of an array
// "&weights", which describes their file, or 0 where they are inside.
const char *table_weights(TableWriter *writer, const Artifact *artifact, bool is_program);
Tables tables_of_artifact(Cx *cx, const Artifact *artifact); // for aml_artifact_main
// ---- library.c: the deployed library and its header, NAME.h
const char *library_header(Cx *cx, const Artifact *artifact);
Tables library_source(Cx *cx, const Artifact *artifact);
const char *const *library_functions(void); // what it exports, without NAME_; ends with NULL
void write_artifact(TableWriter *writer, const Artifact *artifact, bool is_program); // artifact.c

// ---- generator.c: the same of a deployed `generate` block
typedef struct GeneratorLevel { // the function for a level of processors
    Entry decode, prompt;
    const char *cpu_level, *cpu_features;
} GeneratorLevel;
typedef struct Generator {
    const ProgramJob *job; // the block; of its states only the caches are left
    const aml_tokenizer *tokenizer;
    Vec(GeneratorLevel) level; // the best first
    size_t *state_offset;      // of each of the job's states
    size_t state_bytes;
} Generator;
Tables tables_of_generator(Cx *cx, const Artifact *facts,
                           const Generator *generator); // for aml_writer_main
const char *generator_header(Cx *cx, const Artifact *facts, const Generator *generator);
Tables generator_library(Cx *cx, const Artifact *facts, const Generator *generator);
const char *const *generator_functions(void); // what it exports, without NAME_; ends with NULL

// ---- freeze.c: a deploy block's functions with the weights of a checkpoint inside
typedef struct Weight {
    const char *name;
    aml_dtype dtype;
    aml_shape shape;
    const void *at;
} Weight;
// Replaces every STATE parameter of `fn` but caches by the constant of its row's name. False after
// reporting what is missing or has another shape, at `span`.
bool freeze_weights(Cx *cx, IrFunction *fn, const ProgramJob *job, const Weight *weight,
                    int weights, Span span);
// Options and counters of the running program become constants: options keep their defaults. What
// is left is the position of a generation.
void freeze_scalars(IrFunction *fn, Entry *entry, const Program *program);
// freeze_loops.c: loops whose slices are constant weights are written out: where that saves packing
// them in each call, or `all`, because each turn is to be rounded to bytes by itself.
void freeze_loops(IrFunction *fn, bool all);
// A copy of the data set's prepare that computes only what `predict` reads, in its order, from the
// fields that this needs: fills out->prepare, field and fields. out->name must be set.
bool freeze_prepare(Cx *cx, const Program *program, IrModule *module, const ProgramDataset *data,
                    const Entry *predict, const Weight *weight, int weights, Span span,
                    Artifact *out);

// Sets aml_field.label of every field: before the passes, which mix the computations of several
// outputs.
void find_labels(Program *program);

// ---- toolchain.c: what runs the C compiler
typedef struct Toolchain {
    const char *compiler; // $AML_CC, or cc
    const char *runtime;  // libaml_runtime.a; NULL: not found
    const char *searched; // where it was looked for
    bool whole;           // for TARGET_CROSS: all of it, and the libraries that all of it needs
} Toolchain;
Toolchain toolchain_find(Cx *cx);
// The same for TARGET_CROSS: $AML_CC_AARCH64 or aarch64-linux-gnu-gcc, libaml_runtime_aarch64.a.
Toolchain toolchain_find_cross(Cx *cx);
typedef enum LinkKind {
    LINK_EXECUTABLE,
    LINK_SHARED, // a shared library
    LINK_OBJECT, // all of a library in one object, whose only global names are what it exports
    LINK_ARCHIVE // a static library of that object
} LinkKind;
typedef struct LinkRequest {
    LinkKind kind;
    Tables tables;
    const char *header_name, *header; // one more file beside it, or NULL
    const ObjectCode *object;
    const char *libraries; // besides those of every program: arguments of the linker with spaces
                           // between them; NULL: none. One may be named several times
    const char *output;
    bool cross;                 // for TARGET_CROSS: a library
    bool small;                 // size matters more than how fast data are read
    bool trains;                // a training program
    const char *name;           // libraries: of the model
    const char *const *exports; // libraries: functions, without the name; ends with NULL
} LinkRequest;
// Returns NULL, or what went wrong (in cx->arena, several lines).
const char *toolchain_link(Cx *cx, const LinkRequest *request);
// The same in two steps: tables are compiled while code is, which may come into request->object
// between the steps. Every Link that was begun is to be finished; if it is not `good`, nothing is
// linked.
typedef struct Link Link;
Link *toolchain_begin(Cx *cx, const LinkRequest *request);
const char *toolchain_finish(Link *link, bool good);

// ---- linker.c
//
// The linker's arguments by the compiler's answer to `-###`, with `input` in place of the word
// `inputs`; ends with NULL. NULL: the answer is not understood.
const char *const *linker_command(Cx *cx, const char *answer, const char *linker,
                                  const char *inputs, const char *const input[], int count);

// ---- layout.c
//
// Finishes the file of an executable that was linked by executable.ld, in its place: how long it
// is then.
size_t layout_finish(Cx *cx, char *file, size_t length, bool unpacks);

// ---- pack.c: what aml_unpack (aml/packed.h) reads, in `arena`
const char *pack(Arena *arena, const void *from, size_t bytes, size_t *length);

// ---- process.c
typedef struct ProcessResult {
    int code;     // exit code, 128 + signal, or -1: could not be started
    char *output; // stdout if it was captured, NUL-terminated
    size_t length;
} ProcessResult;
// Runs argv[0] (looked up on PATH) in `folder` (NULL: here). Captured: stdout and, with `both`,
// stderr come back.
typedef enum {
    PROCESS_SHOW,
    PROCESS_CAPTURE,
    PROCESS_CAPTURE_BOTH,
    PROCESS_TO_STDERR
} ProcessOutput;
ProcessResult process_run(Cx *cx, const char *const argv[], const char *folder,
                          ProcessOutput output);
// The same in two steps, for a program that runs while something else is done.
typedef struct Process {
    long id;    // -1: it could not be started
    int output; // where what it prints is read, if it is captured
} Process;
Process process_start(const char *const argv[], const char *folder, ProcessOutput output);
ProcessResult process_finish(Cx *cx, Process process);
const char *sha256_hex(Cx *cx, const void *at, size_t length);

// ---- link.c: link_begin and link_finish (compile.h) and where a program looks for its data
//
// What goes into aml_program.source_dir: "." and the like, relative to the folder of the
// executable, if one of the two folders holds the other or both were named relative to the current
// folder; else the absolute folder of the source.
const char *portable_source_dir(Cx *cx, const char *source_path, const char *output);

#endif
