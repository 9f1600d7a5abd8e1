// artifact.c: the C text of a deployed program: its table, the main function, or a library with a
// header of its own.

#include "link/link.h"

#include <ctype.h>
#include <string.h>

static const char *const c_type[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) #ctype,
#include "dtypes.def"
#undef DTYPE
};

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

// Whether its samples are pictures, which an executable reads from files as well.
static bool has_pictures(const Artifact *artifact)
{
    return artifact->source->most_pixels > 0;
}

const char *table_layers(TableWriter *writer, const Artifact *artifact)
{
    if (artifact->layer.count == 0)
        return "0";
    TOP("static const aml_layer_report layers[] = {\n");
    for (int i = 0; i < artifact->layer.count; i++) {
        const aml_layer_report *layer = &artifact->layer.at[i];
        TOP("    {%s, %s, %s, %s, %s, %.1f, %.1f, %lld, %lld},\n", table_text(writer, layer->name),
            table_text(writer, layer->kept), table_text(writer, layer->form),
            table_real(writer, layer->low), table_real(writer, layer->high), layer->weights_db,
            layer->result_db, (long long)layer->bytes_before, (long long)layer->bytes_after);
    }
    TOP("};\n");
    return "layers";
}

static void write_artifact(TableWriter *writer, const Artifact *artifact, const ObjectCode *object,
                           bool is_program)
{
    const char *field = table_field_array(writer, artifact->field, artifact->fields, "raw");
    const char *prepare = table_function(writer, &artifact->prepare, "prepare");
    Buffer rows = {.arena = writer->cx->arena};
    for (int i = 0; i < artifact->predict.count; i++)
        buffer_printf(&rows, "    %s,\n",
                      table_function(writer, &artifact->predict.at[i],
                                     arena_printf(writer->cx->arena, "predict%d", i)));
    const char *layers = table_layers(writer, artifact);
    TOP("static const aml_function predict[] = {\n%s};\nstatic const int64_t predict_batch[] = {",
        rows.text);
    for (int i = 0; i < artifact->batch.count; i++)
        TOP("%s%lld", i ? ", " : "", (long long)artifact->batch.at[i]);
    TOP("};\nstatic const aml_artifact artifact = {\n    .abi = AML_PROGRAM_ABI, .name = %s, .doc "
        "= %s,\n",
        table_text(writer, artifact->name), table_text(writer, artifact->doc));
    TOP("    .source_hash = %s,\n    .weights_hash = %s,\n    .data_fingerprint = %s,\n    "
        ".compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        table_text(writer, artifact->source_hash), table_text(writer, artifact->weights_hash),
        table_text(writer, artifact->data_fingerprint));
    TOP("    .cpu_level = %s, .cpu_features = %s,\n    .fields = %d, .field = %s, .separator = %d, "
        ".header = (aml_header)%d, .comment = %d, .literal_quotes = %d,\n",
        table_text(writer, object->cpu_level), table_text(writer, object->cpu_features),
        artifact->fields, field, artifact->separator, artifact->header, artifact->source->comment,
        artifact->source->literal_quotes);
    TOP("    .prepare = %s,\n    .predicts = %d, .predict_batch = predict_batch, .predict = "
        "predict,\n    .weights_bytes = %zuu, .parameters = %lld,\n",
        prepare, artifact->predict.count, artifact->weights_bytes, (long long)artifact->parameters);
    TOP("    .layers = %d, .layer = %s,\n", artifact->layer.count, layers);
    if (is_program && has_pictures(artifact))
        TOP("    .picture = &amli_picture_files, .resize = (aml_resize)%d, .background = %d, "
            ".most_pixels = %lld,\n",
            artifact->source->resize, artifact->source->background,
            (long long)artifact->source->most_pixels);
    TOP("};\n");
}

Tables tables_of_artifact(Cx *cx, const Artifact *artifact, const ObjectCode *object)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    TOP("#include \"aml/program.h\"\n\n");
    write_artifact(writer, artifact, object, true);
    TOP("\nint main(int argc, char **argv)\n{\n    return aml_artifact_main(&artifact, argc, "
        "argv);\n}\n");
    return table_end(writer);
}

// ---- the library

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
    Buffer guard = {.arena = cx->arena};
    for (const char *at = name; *at; at++)
        buffer_printf(&guard, "%c", toupper((unsigned char)*at));
#define PUT(...) buffer_printf(&out, __VA_ARGS__)
    PUT("// %s.h: predicting with the deployed model %s, from C or C++. Made by "
        "amlc " AML_VERSION_TEXT ".\n//\n",
        name, name);
    PUT("// The weights are constants in the library. There is no global state and nothing is "
        "allocated: a context lives in\n"
        "// memory that the caller provides. Each thread uses a context of its own; any number may "
        "predict at once.\n//\n"
        "//   void *memory = malloc(%s_context_bytes());\n//   %s_context *context;\n"
        "//   if (%s_init(memory, %s_context_bytes(), &context) != 0) ...\n//   "
        "%s_predict(context, rows, ...);\n//   free(memory);\n",
        name, name, name, name, name);
    PUT("\n#ifndef %s_H\n#define %s_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef "
        "__cplusplus\nextern \"C\" {\n#endif\n\n",
        guard.text, guard.text);
    PUT("typedef struct %s_context %s_context;\n\n", name, name);
    PUT("typedef struct %s_info {\n    const char *name, *compiler;\n    const char *source_hash, "
        "*weights_hash, *data_fingerprint; // SHA-256, hex\n"
        "    const char *cpu_level;      // what the code needs, such as x86-64-v3\n    int64_t "
        "parameters;\n    size_t weights_bytes;       // of read-only data\n"
        "} %s_info;\n\n",
        name, name);
    PUT("// How many bytes a context needs.\nsize_t %s_context_bytes(void);\n\n", name);
    PUT("// Makes a context in `memory` (any alignment, at least %s_context_bytes() bytes). It "
        "needs no end: the caller takes the\n"
        "// memory back when the context is no longer used. Returns 0, or a code for %s_message: "
        "too little memory, or a CPU that lacks\n"
        "// what the code needs; *out is then NULL.\nint %s_init(void *memory, size_t bytes, "
        "%s_context **out);\n\n",
        name, name, name, name);
    PUT("// Predicts `rows` samples. All arrays are dense and row-major, one row after the other; "
        "an output may be NULL.\n//\n");
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *info = &artifact->field[i].tensor;
        PUT("//   %-12s in   %s, as in the data file%s\n", c_name(cx, info->name),
            rows_text(cx, &info->shape, 0),
            info->classes ? arena_printf(cx->arena, ", 0..%lld", (long long)info->classes - 1)
                          : "");
    }
    for (int i = 0; i < predict->output.count; i++)
        PUT("//   %-12s out  %s\n", c_name(cx, predict->output.at[i].name),
            rows_text(cx, &predict->output.at[i].shape, 1));
    PUT("//\n// Returns 0, or a code for %s_message: rows is negative, or an input is outside its "
        "range (nothing is written then).\n",
        name);
    PUT("int %s_predict(%s_context *context, %s);\n\n", name, name,
        predict_parameters(cx, artifact));
    PUT("// Facts about the model; lives as long as the library.\nconst %s_info "
        "*%s_describe(void);\n\n",
        name, name);
    PUT("// A sentence for a code.\nconst char *%s_message(int code);\n\n#ifdef "
        "__cplusplus\n}\n#endif\n\n#endif\n",
        name);
#undef PUT
    return out.text;
}

Tables library_source(Cx *cx, const Artifact *artifact, const ObjectCode *object)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    const char *name = artifact->name;
    const Entry *predict_entry = &artifact->predict.at[0];

    TOP("#include \"aml/artifact.h\"\n#include \"%s.h\"\n\n", name);
    write_artifact(writer, artifact, object, false);
    TOP("\nsize_t %s_context_bytes(void)\n{\n    return aml_context_bytes(&artifact);\n}\n", name);
    TOP("\nint %s_init(void *memory, size_t bytes, %s_context **out)\n{\n    aml_context "
        "*context;\n"
        "    int code = aml_context_open(&artifact, memory, bytes, &context);\n    *out = "
        "(%s_context *)context;\n    return code;\n}\n",
        name, name, name);
    TOP("\nint %s_predict(%s_context *context, %s)\n{\n    const void *const aml_field_at[] = {",
        name, name, predict_parameters(cx, artifact));
    for (int i = 0; i < artifact->fields; i++)
        TOP("%s, ", c_name(cx, artifact->field[i].tensor.name));
    TOP("0};\n    void *const aml_output_at[] = {");
    for (int i = 0; i < predict_entry->output.count; i++)
        TOP("%s, ", c_name(cx, predict_entry->output.at[i].name));
    TOP("0};\n    return aml_context_predict((aml_context *)context, aml_field_at, rows, "
        "aml_output_at);\n}\n");
    TOP("\nconst %s_info *%s_describe(void)\n{\n    static const %s_info info = {.name = %s, "
        ".compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        name, name, name, table_text(writer, name));
    TOP("        .source_hash = %s,\n        .weights_hash = %s,\n        .data_fingerprint = "
        "%s,\n",
        table_text(writer, artifact->source_hash), table_text(writer, artifact->weights_hash),
        table_text(writer, artifact->data_fingerprint));
    TOP("        .cpu_level = %s, .parameters = %lld, .weights_bytes = %zuu};\n    return "
        "&info;\n}\n",
        table_text(writer, object->cpu_level), (long long)artifact->parameters,
        artifact->weights_bytes);
    TOP("\nconst char *%s_message(int code)\n{\n    return "
        "aml_artifact_message((aml_status)code);\n}\n",
        name);
    return table_end(writer);
}

const char *library_exports(Cx *cx, const Artifact *artifact)
{
    static const char *const function[] = {"context_bytes", "init", "predict", "describe",
                                           "message"};
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "{ global:");
    for (size_t i = 0; i < COUNT_OF(function); i++)
        buffer_printf(&out, " %s_%s;", artifact->name, function[i]);
    buffer_text(&out, " local: *; };\n");
    return out.text;
}
