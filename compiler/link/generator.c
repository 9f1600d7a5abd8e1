// generator.c: the C text of a deployed `generate` block: the tables of a program with that one
// job, or a library that gives the scores behind a token.

#include "link/link.h"

#include <ctype.h>
#include <string.h>

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

// The job's caches; its weights are in the function.
static const char *write_states(TableWriter *writer, const Generator *of, int *count)
{
    *count = 0;
    for (int i = 0; i < of->job->state.count; i++) {
        const aml_state_info *info = &of->job->state.at[i].info;
        if (info->role != AML_ROLE_CACHE)
            continue;
        if ((*count)++ == 0)
            TOP("static const aml_state_info caches[] = {\n");
        TOP("    {.tensor = {%s, (aml_dtype)%d, {%d, {", table_text(writer, info->tensor.name),
            info->tensor.dtype, info->tensor.shape.rank);
        for (int d = 0; d < info->tensor.shape.rank; d++)
            TOP("%s%lld", d ? ", " : "", (long long)info->tensor.shape.dim[d]);
        TOP("}}}, .role = AML_ROLE_CACHE, .offset = %zuu},\n", of->state_offset[i]);
    }
    if (*count)
        TOP("};\n");
    return *count ? "caches" : "0";
}

// job0, job1, ...: for each level of processors. A library is given one token after the other.
static void write_jobs(TableWriter *writer, const Generator *of, bool prompts)
{
    int states;
    const char *state = write_states(writer, of, &states);
    const aml_job *table = &of->job->table;
    for (int i = 0; i < of->level.count; i++) {
        const char *decode = table_function(writer, &of->level.at[i].decode,
                                            arena_printf(writer->cx->arena, "decode%d", i)),
                   *prompt = prompts
                                 ? table_function(writer, &of->level.at[i].prompt,
                                                  arena_printf(writer->cx->arena, "prompt%d", i))
                                 : "{0}";
        TOP("static const aml_job job%d = {.kind = AML_JOB_GENERATE, .name = %s, .doc = %s, "
            ".place = %s, .model_job = -1,\n    .seed = %lldll, .states = %d, .state = %s, "
            ".state_bytes = %zuu, .generation = %s,\n    .decode = %s,\n    .prompt = %s};\n",
            i, table_text(writer, table->name), table_text(writer, table->doc),
            table_text(writer, table->place), (long long)table->seed, states, state,
            of->state_bytes, table_generation(writer, &table->generation), decode, prompt);
    }
}

static void write_facts(TableWriter *writer, const Artifact *facts)
{
    const char *layers = table_layers(writer, facts), *weights = table_weights(writer, facts, true);
    TOP("static const aml_artifact facts = {\n    .abi = AML_PROGRAM_ABI, .name = %s, .doc = %s,\n"
        "    .source_hash = %s,\n    .weights_hash = %s,\n    .data_fingerprint = %s,\n    "
        ".compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        table_text(writer, facts->name), table_text(writer, facts->doc),
        table_text(writer, facts->source_hash), table_text(writer, facts->weights_hash),
        table_text(writer, facts->data_fingerprint));
    TOP("    .weights_bytes = %zuu, .parameters = %lld, .layers = %d, .layer = %s,\n    "
        ".weights = %s};\n",
        facts->weights_bytes, (long long)facts->parameters, facts->layer.count, layers, weights);
}

Tables tables_of_generator(Cx *cx, const Artifact *facts, const Generator *generator)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    TOP("#include \"aml/program.h\"\n\n");
    TableRef tokenizer = table_tokenizer(writer, generator->tokenizer);
    write_jobs(writer, generator, true);
    write_facts(writer, facts);
    TOP("static const aml_dataset data = {.name = %s, .source = {.tokenizer = %s}};\n",
        table_text(writer, facts->name), tokenizer.name ? tokenizer.name : "0");
    TOP("static const aml_program program[] = {\n");
    for (int i = 0; i < generator->level.count; i++)
        TOP("    {.abi = AML_PROGRAM_ABI, .name = %s, .doc = %s, .source = %s, .source_dir = "
            "\".\",\n     .source_hash = %s, .compiler = \"amlc " AML_VERSION_TEXT "\", "
            ".cpu_level = %s, .cpu_features = %s,\n     .datasets = 1, .dataset = &data, .jobs = "
            "1, .job = &job%d},\n",
            table_text(writer, facts->name), table_text(writer, facts->doc),
            table_text(writer, facts->name), table_text(writer, facts->source_hash),
            table_text(writer, generator->level.at[i].cpu_level),
            table_text(writer, generator->level.at[i].cpu_features), i);
    TOP("};\n\nint main(int argc, char **argv)\n{\n    return aml_writer_main(program, %d, &facts, "
        "argc, argv);\n}\n",
        generator->level.count);
    return table_end(writer);
}

// ---- the library

const char *generator_header(Cx *cx, const Artifact *facts, const Generator *generator)
{
    const char *name = facts->name;
    Buffer out = {.arena = cx->arena}, guard = {.arena = cx->arena};
    for (const char *at = name; *at; at++)
        buffer_printf(&guard, "%c", toupper((unsigned char)*at));
    bool cached = generator->job->table.generation.cached;
#define PUT(...) buffer_printf(&out, __VA_ARGS__)
    PUT("// %s.h: the scores of the next token by the deployed model %s, from C or C++. Made by "
        "amlc " AML_VERSION_TEXT ".\n//\n",
        name, name);
    const char *weights = facts->weights_file ? ", weights, weights_bytes" : "";
    PUT("// %s There is no global state and nothing is "
        "allocated: a context lives in\n"
        "// memory that the caller provides. Each thread uses a context of its own; any number may "
        "compute at once.\n//\n"
        "//   void *memory = malloc(%s_context_bytes());\n//   %s_context *context;\n"
        "//   if (%s_init(memory, %s_context_bytes()%s, &context) != 0) ...\n"
        "//   %s_token(context, 17, scores); // behind the first token\n"
        "//   %s_token(context, 4, scores);  // behind the second\n//   free(memory);\n",
        *weights ? arena_printf(cx->arena, "The weights are in the file %s.", facts->weights_file)
                 : "The weights are constants in the library.",
        name, name, name, name, weights, name, name);
    PUT("\n#ifndef %s_H\n#define %s_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef "
        "__cplusplus\nextern \"C\" {\n#endif\n\n",
        guard.text, guard.text);
    PUT("enum { %s_VOCAB = %d, %s_CONTEXT = %lld }; // tokens are 0..VOCAB-1; the model sees "
        "CONTEXT of them\n\n",
        guard.text, generator->tokenizer->vocab, guard.text,
        (long long)generator->job->table.generation.context);
    PUT("typedef struct %s_context %s_context;\n\n", name, name);
    PUT("typedef struct %s_info {\n    const char *name, *compiler;\n    const char *source_hash, "
        "*weights_hash, *data_fingerprint; // SHA-256, hex\n"
        "    const char *cpu_level;      // what the code needs, such as x86-64-v3\n    int64_t "
        "parameters;\n    size_t weights_bytes;       // of read-only data\n"
        "} %s_info;\n\n",
        name, name);
    PUT("// How many bytes a context needs.\nsize_t %s_context_bytes(void);\n\n", name);
    PUT("// Makes a context in `memory` (any alignment, at least %s_context_bytes() bytes), which "
        "has seen no token. It needs no end.\n",
        name);
    if (*weights)
        PUT("// It reads the bytes of the file %s, which must stay where they are, aligned to 64, "
            "as a mapping is; all contexts may\n// share them. Their SHA-256 is compared.\n",
            facts->weights_file);
    PUT("// Returns 0, or a code for %s_message: too little memory, %sor a CPU that lacks what the "
        "code needs; *out is then NULL.\nint %s_init(void *memory, size_t bytes, %s"
        "%s_context **out);\n\n",
        name, *weights ? "other weights, " : "", name,
        *weights ? "const void *weights, size_t weights_bytes, " : "", name);
    PUT("// The model sees `token` behind those before it: %s_VOCAB scores, of which the softmax "
        "is the probability of each token\n"
        "// to be the next. `scores` may be NULL. Returns 0, or a code for %s_message: the token "
        "is outside of the vocabulary, or\n// the context is full (%s_reset begins again).%s\nint "
        "%s_token(%s_context *context, int32_t token, float *scores);\n\n",
        guard.text, name, name, cached ? "" : " Each call computes the whole context.", name, name);
    PUT("// Forgets all tokens.\nvoid %s_reset(%s_context *context);\n\n", name, name);
    PUT("// Facts about the model; lives as long as the library.\nconst %s_info "
        "*%s_describe(void);\n\n",
        name, name);
    PUT("// A sentence for a code.\nconst char *%s_message(int code);\n\n#ifdef "
        "__cplusplus\n}\n#endif\n\n#endif\n",
        name);
#undef PUT
    return out.text;
}

Tables generator_library(Cx *cx, const Artifact *facts, const Generator *generator)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    const char *name = facts->name;
    TOP("#include \"aml/artifact.h\"\n#include \"%s.h\"\n\n", name);
    write_jobs(writer, generator, false);
    const char *weights = table_weights(writer, facts, false);
    TOP("static const aml_token_level levels[] = {\n");
    for (int i = 0; i < generator->level.count; i++)
        TOP("    {&job%d, %s, %s},\n", i, table_text(writer, generator->level.at[i].cpu_level),
            table_text(writer, generator->level.at[i].cpu_features));
    TOP("};\nstatic const aml_token_model model = {AML_PROGRAM_ABI, %d, levels, %s};\n",
        generator->level.count, weights);
    TOP("\nsize_t %s_context_bytes(void)\n{\n    return aml_tokens_bytes(&model);\n}\n", name);
    bool beside = facts->weights_file;
    TOP("\nint %s_init(void *memory, size_t bytes, %s%s_context **out)\n{\n    aml_tokens "
        "*context;\n    int code = aml_tokens_open_with(&model, memory, bytes, %s, &context);\n    "
        "*out = (%s_context *)context;\n    return code;\n}\n",
        name, beside ? "const void *weights, size_t weights_bytes, " : "", name,
        beside ? "weights, weights_bytes" : "0, 0", name);
    TOP("\nint %s_token(%s_context *context, int32_t token, float *scores)\n{\n    return "
        "aml_tokens_next((aml_tokens *)context, token, scores);\n}\n",
        name, name);
    TOP("\nvoid %s_reset(%s_context *context)\n{\n    aml_tokens_reset((aml_tokens "
        "*)context);\n}\n",
        name, name);
    TOP("\nconst %s_info *%s_describe(void)\n{\n    static const %s_info info = {.name = %s, "
        ".compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        name, name, name, table_text(writer, name));
    TOP("        .source_hash = %s,\n        .weights_hash = %s,\n        .data_fingerprint = "
        "%s,\n",
        table_text(writer, facts->source_hash), table_text(writer, facts->weights_hash),
        table_text(writer, facts->data_fingerprint));
    TOP("        .cpu_level = %s, .parameters = %lld, .weights_bytes = %zuu};\n    return "
        "&info;\n}\n",
        table_text(writer, generator->level.at[generator->level.count - 1].cpu_level),
        (long long)facts->parameters, facts->weights_bytes);
    TOP("\nconst char *%s_message(int code)\n{\n    return "
        "aml_tokens_message((aml_status)code);\n}\n",
        name);
    return table_end(writer);
}

const char *const *generator_functions(void)
{
    static const char *const function[] = {"context_bytes", "init",    "token", "reset",
                                           "describe",      "message", NULL};
    return function;
}
