// library.c: the C text of a deployed library and its header. The header needs nothing but the C
// library's; the code behind it is runtime/artifact.

#include "link/link.h"

#include <ctype.h>
#include <string.h>

static const char *const c_type[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) #ctype,
#include "dtypes.def"
#undef DTYPE
};
static const char *const type_name[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) #name,
#include "dtypes.def"
#undef DTYPE
};

static const struct {
    const char *name, *meaning;
    int code;
} library_status[] = {
#define LIBRARY(NAME, code, meaning) {#NAME, meaning, code},
#include "aml/library_status.def"
#undef LIBRARY
};

// `%` of these texts is the name of the model, `^` the same in capitals.
static const char about[] =
    "// %.h: predicting with the deployed model %, from C or C++. Made by amlc " AML_VERSION_TEXT
    ".\n"
    "//\n"
    "// There is no global state and nothing is "
    "allocated: a context\n"
    "// lives in memory that the caller provides. Each thread uses a context of its own; any "
    "number of threads may\n"
    "// predict at once.\n"
    "//\n"
    "//     void *memory = malloc(%_context_bytes());\n"
    "//     %_context *context;\n"
    "//     int code = %_init(memory, %_context_bytes(), &context);\n"
    "//     if (code == 0)\n"
    "//         code = %_predict(context, rows, ...);\n"
    "//     if (code != 0)\n"
    "//         fprintf(stderr, \"%s: %s\\n\", %_message(code), %_problem(context));\n"
    "//     free(memory);\n"
    "\n"
    "#ifndef ^_H\n"
    "#define ^_H\n"
    "\n"
    "#include <stddef.h>\n"
    "#include <stdint.h>\n"
    "\n"
    "#ifdef __cplusplus\n"
    "extern \"C\" {\n"
    "#endif\n"
    "\n"
    "typedef struct %_context %_context;\n"
    "\n";

static const char types[] =
    "// An input or output of one row.\n"
    "typedef struct %_tensor {\n"
    "    const char *name;\n"
    "    const char *type; // f32, u8, i32, ...\n"
    "    int rank;\n"
    "    int64_t shape[8];\n"
    "    int64_t classes;               // its elements are 0 to classes - 1; 0: it is no class\n"
    "    const char *const *class_name; // of each class; NULL: they have numbers only\n"
    "} %_tensor;\n"
    "\n"
    "typedef struct %_info {\n"
    "    const char *name, *compiler;\n"
    "    const char *source_hash, *weights_hash, *data_fingerprint; // SHA-256, hex\n"
    "    const char *cpu_level; // what the code needs at least, such as x86-64-v3\n"
    "    int64_t parameters;\n"
    "    size_t weights_bytes; // of read-only data\n"
    "    int inputs, outputs;\n"
    "    const %_tensor *input, *output;\n"
    "} %_info;\n"
    "\n"
    "// All rows of an input or output, for %_predict_arrays: the first axis counts the rows.\n"
    "typedef struct %_array {\n"
    "    const char *name;\n"
    "    void *data; // dense, row-major; of an input it is only read\n"
    "    const char *type;\n"
    "    int32_t rank;\n"
    "    const int64_t *shape;\n"
    "} %_array;\n"
    "\n"
    "// How many bytes a context needs.\n"
    "size_t %_context_bytes(void);\n"
    "\n";

static const char init_inside[] =
    "// Makes a context in `memory` (any alignment, at least %_context_bytes() bytes). It needs no "
    "end: the caller takes\n"
    "// the memory back when the context is no longer used. ^_NULL, ^_MEMORY or ^_PROCESSOR; *out "
    "is then NULL.\n"
    "int %_init(void *memory, size_t bytes, %_context **out);\n"
    "\n";

static const char init_beside[] =
    "// Makes a context in `memory` (any alignment, at least %_context_bytes() bytes), for the "
    "bytes "
    "of the file\n"
    "// %.weights, which must stay where they are, aligned to 64, as a mapping is; all contexts "
    "may "
    "share them. Their\n"
    "// SHA-256 is compared. A context needs no end: the caller takes the memory back when it is "
    "no "
    "longer used. ^_NULL,\n"
    "// ^_MEMORY, ^_PROCESSOR or ^_WEIGHTS; *out is then NULL.\n"
    "int %_init(void *memory, size_t bytes, const void *weights, size_t weights_bytes, %_context "
    "**out);\n"
    "\n";

static const char rest[] =
    "// The same, but inputs and outputs are named and have a type and a shape, which are checked. "
    "They may stand in any\n"
    "// order; all inputs must be there. Moreover ^_COUNT, ^_NAME, ^_TYPE or ^_SHAPE.\n"
    "int %_predict_arrays(%_context *context, const %_array input[], int32_t inputs,\n"
    "    const %_array output[], int32_t outputs);\n"
    "\n"
    "// What was wrong in the last call with this context: which input, which row, what was "
    "expected. \"\" after a success.\n"
    "const char *%_problem(const %_context *context);\n"
    "\n"
    "// Facts about the model. They are constants.\n"
    "const %_info *%_describe(void);\n"
    "\n"
    "// A sentence for a code.\n"
    "const char *%_message(int code);\n"
    "\n"
    "#ifdef __cplusplus\n"
    "}\n"
    "#endif\n"
    "\n"
    "#endif\n";

static void put_template(Buffer *out, const char *text, const char *name)
{
    for (const char *at = text; *at; at++) {
        if (*at == '%' && at[1] != 's')
            buffer_text(out, name);
        else if (*at == '^')
            for (const char *letter = name; *letter; letter++)
                buffer_printf(out, "%c", toupper((unsigned char)*letter));
        else
            buffer_printf(out, "%c", *at);
    }
}

// The name of a field as a C parameter: a name that C, C++ or the function itself uses gets an
// underscore.
static const char *c_name(Cx *cx, const char *name)
{
    static const char *const taken[] = {
        "rows",     "context",  "auto",    "break",    "case",    "char",      "class",
        "const",    "continue", "default", "delete",   "do",      "double",    "else",
        "enum",     "extern",   "float",   "for",      "goto",    "if",        "inline",
        "int",      "long",     "new",     "operator", "private", "protected", "public",
        "register", "return",   "short",   "signed",   "sizeof",  "static",    "struct",
        "switch",   "template", "this",    "throw",    "try",     "typedef",   "typename",
        "union",    "unsigned", "using",   "virtual",  "void",    "volatile",  "while"};
    for (size_t i = 0; i < COUNT_OF(taken); i++)
        if (strcmp(name, taken[i]) == 0)
            return arena_printf(cx->arena, "%s_", name);
    return name;
}

// f32[64] of one row: "rows x 64".
static const char *rows_text(Cx *cx, const aml_shape *shape, int from)
{
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "rows");
    for (int i = from; i < shape->rank; i++)
        buffer_printf(&out, " x %lld", (long long)shape->dim[i]);
    return out.text;
}

// The parameters of predict after the context: rows, then inputs, then outputs.
static const char *predict_parameters(Cx *cx, const Artifact *artifact)
{
    Buffer out = {.arena = cx->arena};
    const Entry *predict = &artifact->predict.at[0];
    buffer_text(&out, "int64_t rows");
    for (int i = 0; i < artifact->fields; i++)
        buffer_printf(&out, ", const %s *%s", c_type[artifact->field[i].tensor.dtype],
                      c_name(cx, artifact->field[i].tensor.name));
    for (int i = 0; i < predict->output.count; i++)
        buffer_printf(&out, ", %s *%s", c_type[predict->output.at[i].dtype],
                      c_name(cx, predict->output.at[i].name));
    return out.text;
}

const char *library_header(Cx *cx, const Artifact *artifact)
{
    const char *name = artifact->name;
    const Entry *predict = &artifact->predict.at[0];
    Buffer out = {.arena = cx->arena};
    put_template(&out, about, name);
    put_template(&out, "// What the functions return.\nenum {\n", name);
    for (size_t i = 0; i < COUNT_OF(library_status); i++) {
        put_template(&out, "    ^_", name);
        buffer_printf(&out, "%s = %d, // %s\n", library_status[i].name, library_status[i].code,
                      library_status[i].meaning);
    }
    buffer_text(&out, "};\n\n");
    put_template(&out, types, name);
    put_template(&out, artifact->weights_file ? init_beside : init_inside, name);
    buffer_text(&out, "// Predicts `rows` samples. All arrays are dense and row-major, one row "
                      "after the other; an output may be NULL.\n//\n");
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *info = &artifact->field[i].tensor;
        buffer_printf(&out, "//   %-12s in   %s, as in the data file%s\n", c_name(cx, info->name),
                      rows_text(cx, &info->shape, 0),
                      info->classes
                          ? arena_printf(cx->arena, ", 0..%lld", (long long)info->classes - 1)
                          : "");
    }
    for (int i = 0; i < predict->output.count; i++)
        buffer_printf(&out, "//   %-12s out  %s\n", c_name(cx, predict->output.at[i].name),
                      rows_text(cx, &predict->output.at[i].shape, 1));
    put_template(&out,
                 "//\n// ^_NULL, ^_ROWS, ^_NOT_FINITE or ^_CLASS; nothing is written then.\nint "
                 "%_predict(%_context *context, ",
                 name);
    buffer_printf(&out, "%s);\n\n", predict_parameters(cx, artifact));
    put_template(&out, rest, name);
    return out.text;
}

// ---- the code behind it

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

static void write_tensor(TableWriter *writer, const aml_tensor_info *info, int from)
{
    TOP("    {%s, \"%s\", %d, {", table_text(writer, info->name), type_name[info->dtype],
        info->shape.rank - from);
    for (int i = from; i < info->shape.rank; i++)
        TOP("%s%lld", i > from ? ", " : "", (long long)info->shape.dim[i]);
    TableRef names = table_class_names(writer, info);
    TOP("}, %lld, %s},\n", (long long)info->classes, names.name ? names.name : "0");
}

static void write_info(TableWriter *writer, const Artifact *artifact)
{
    const char *name = artifact->name;
    const Entry *predict = &artifact->predict.at[0];
    for (int i = 0; i < artifact->fields; i++) // before the arrays in which they are named
        table_class_names(writer, &artifact->field[i].tensor);
    for (int i = 0; i < predict->output.count; i++)
        table_class_names(writer, &predict->output.at[i]);
    TOP("\nstatic const %s_tensor input[] = {\n", name);
    for (int i = 0; i < artifact->fields; i++)
        write_tensor(writer, &artifact->field[i].tensor, 0);
    TOP("};\nstatic const %s_tensor output[] = {\n", name);
    for (int i = 0; i < predict->output.count; i++)
        write_tensor(writer, &predict->output.at[i], 1);
    TOP("};\nstatic const %s_info info = {.name = %s, .compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        name, table_text(writer, name));
    TOP("    .source_hash = %s,\n    .weights_hash = %s,\n    .data_fingerprint = %s,\n",
        table_text(writer, artifact->source_hash), table_text(writer, artifact->weights_hash),
        table_text(writer, artifact->data_fingerprint));
    TOP("    .cpu_level = %s, .parameters = %lld, .weights_bytes = %zuu, .inputs = %d, .outputs = "
        "%d, .input = input, .output = output};\n",
        table_text(writer, artifact->level.at[artifact->level.count - 1].cpu_level),
        (long long)artifact->parameters, artifact->weights_bytes, artifact->fields,
        predict->output.count);
}

static const char open_inside[] =
    "\n"
    "int %_init(void *memory, size_t bytes, %_context **out)\n"
    "{\n"
    "    return (int)aml_context_open(&artifact, memory, bytes, (aml_context **)out);\n"
    "}\n";
static const char open_beside[] =
    "\n"
    "int %_init(void *memory, size_t bytes, const void *weights, size_t weights_bytes, %_context "
    "**out)\n"
    "{\n"
    "    return (int)aml_context_open_with(&artifact, memory, bytes, weights, weights_bytes, "
    "(aml_context **)out);\n"
    "}\n";
static const char functions[] =
    "\n"
    "size_t %_context_bytes(void)\n"
    "{\n"
    "    return aml_context_bytes(&artifact);\n"
    "}\n"
    "\n"
    "int %_predict_arrays(%_context *context, const %_array input[], int32_t inputs,\n"
    "    const %_array output[], int32_t outputs)\n"
    "{\n"
    "    return (int)aml_context_predict_arrays((aml_context *)context, (const aml_array *)input, "
    "inputs,\n"
    "                                           (const aml_array *)output, outputs);\n"
    "}\n"
    "\n"
    "const char *%_problem(const %_context *context)\n"
    "{\n"
    "    return aml_context_problem((const aml_context *)context);\n"
    "}\n"
    "\n"
    "const %_info *%_describe(void)\n"
    "{\n"
    "    return &info;\n"
    "}\n"
    "\n"
    "const char *%_message(int code)\n"
    "{\n"
    "    return aml_library_message((aml_library_status)code);\n"
    "}\n";

Tables library_source(Cx *cx, const Artifact *artifact)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    const char *name = artifact->name;
    const Entry *predict = &artifact->predict.at[0];

    TOP("#include \"aml/artifact.h\"\n#include \"%s.h\"\n\n", name);
    write_artifact(writer, artifact, false);
    write_info(writer, artifact);
    put_template(&writer->top, artifact->weights_file ? open_beside : open_inside, name);
    put_template(&writer->top, functions, name);
    TOP("\nint %s_predict(%s_context *context, %s)\n{\n    const void *const aml_field_at[] = {",
        name, name, predict_parameters(cx, artifact));
    for (int i = 0; i < artifact->fields; i++)
        TOP("%s, ", c_name(cx, artifact->field[i].tensor.name));
    TOP("0};\n    void *const aml_output_at[] = {");
    for (int i = 0; i < predict->output.count; i++)
        TOP("%s, ", c_name(cx, predict->output.at[i].name));
    TOP("0};\n    return (int)aml_context_predict((aml_context *)context, aml_field_at, rows, "
        "aml_output_at);\n}\n");
    return table_end(writer);
}

const char *const *library_functions(void)
{
    static const char *const list[] = {"context_bytes", "init",     "predict", "predict_arrays",
                                       "problem",       "describe", "message", NULL};
    return list;
}
