// The main function of a deployed program: predict, bench, info.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "runtime/artifact/library.h"
#include "runtime/artifact/serving.h"

enum { LARGE_PAGES = 4 << 20 };

size_t amli_serving_tensor_bytes(const aml_tensor_info *tensor)
{
    int64_t count = aml_shape_elements(&tensor->shape);
    return count < 0 ? 0 : (size_t)count * aml_dtype_bytes(tensor->dtype);
}

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static char *take(char **at, size_t bytes)
{
    char *taken = *at;
    *at += aligned(bytes);
    return taken;
}

// The level that is asked for by name, or the best one.
static aml_status choose_level(const aml_artifact *artifact, const char *name,
                               const aml_level **out, aml_error *error)
{
    const aml_level *level = &artifact->level[artifact->levels - 1];
    if (!name) {
        *out = aml_artifact_level(artifact);
        return *out ? AML_OK : amli_check_cpu(level->cpu_level, level->cpu_features, error);
    }
    const char *known[16];
    int count = 0;
    for (int i = 0; i < artifact->levels && i < (int)AMLI_COUNT(known); i++) {
        level = &artifact->level[i];
        known[count++] = level->cpu_level;
        if (strcmp(level->cpu_level, name) == 0) {
            *out = level;
            return amli_check_cpu(level->cpu_level, level->cpu_features, error);
        }
    }
    const char *near = amli_closest(name, known, count);
    return amli_fail(error, AML_USAGE,
                     "--level: the program has no code for \"%s\"; `info` lists its levels%s%s%s",
                     name, near ? "\nhelp: did you mean " : "", near ? near : "", near ? "?" : "");
}

aml_status amli_serving_open(const aml_artifact *artifact, const char *level_name,
                             const char *weights_path, amli_serving *serving, aml_error *error)
{
    amli_mapped_weights weights = {0};
    *serving = (amli_serving){.artifact = artifact};
    if (artifact->abi != AML_PROGRAM_ABI || artifact->predicts < 1 || artifact->levels < 1 ||
        artifact->fields > SERVING_TENSORS || aml_artifact_outputs(artifact) > SERVING_TENSORS)
        return amli_fail(
            error, AML_INTERNAL,
            "this program speaks version %d of the runtime's interface, and the runtime %d",
            artifact->abi, AML_PROGRAM_ABI);
    const aml_level *level = NULL;
    aml_status status = choose_level(artifact, level_name, &level, error);
    if (status)
        return status;
    if (artifact->weights)
        status = artifact->weights->map(artifact->weights, weights_path, &weights, error);
    if (status)
        return status;
    serving->most_rows = artifact->predict_batch[artifact->predicts - 1];
    size_t rows = (size_t)serving->most_rows, context = aml_context_bytes(artifact);
    size_t bytes = aligned(context) + SERVING_WINDOW + SERVING_HEADER + SERVING_OUTPUT +
                   2 * aligned(SERVING_CELLS * sizeof(amli_cell)) +
                   aligned(SERVING_TIMES * sizeof(double));
    for (int i = 0; i < artifact->fields; i++)
        bytes += aligned(rows * amli_serving_tensor_bytes(&artifact->field[i].tensor));
    for (int i = 0; i < aml_artifact_outputs(artifact); i++) {
        aml_tensor_info info = aml_artifact_output(artifact, i);
        bytes += aligned(rows * amli_serving_tensor_bytes(&info));
    }
    // pages that are never touched cost nothing
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return amli_no_memory(error, bytes, "predictions");
#ifdef MADV_HUGEPAGE
    // weights that are made here are read as a whole by each prediction
    if (level->stored_bytes >= LARGE_PAGES)
        madvise(at, bytes, MADV_HUGEPAGE);
#endif
    char *memory = take(&at, context);
    for (int i = 0; i < artifact->fields; i++)
        serving->field[i] = take(&at, rows * amli_serving_tensor_bytes(&artifact->field[i].tensor));
    for (int i = 0; i < aml_artifact_outputs(artifact); i++) {
        aml_tensor_info info = aml_artifact_output(artifact, i);
        serving->output[i] = take(&at, rows * amli_serving_tensor_bytes(&info));
    }
    serving->cell = (amli_cell *)(void *)take(&at, SERVING_CELLS * sizeof(amli_cell));
    serving->header = (amli_cell *)(void *)take(&at, SERVING_CELLS * sizeof(amli_cell));
    serving->time = (double *)(void *)take(&at, SERVING_TIMES * sizeof(double));
    serving->window = take(&at, SERVING_WINDOW);
    serving->header_text = take(&at, SERVING_HEADER);
    serving->output_buffer = take(&at, SERVING_OUTPUT);
    // the context asks for room to align itself, and finds it aligned already
    aml_library_status opened = amli_context_open(artifact, level, memory, context, weights.at,
                                                  weights.bytes, &serving->context);
    return opened ? amli_fail(error, AML_INTERNAL, "the model cannot be used here: %s",
                              aml_library_message(opened))
                  : AML_OK;
}

static void show_tensor(const char *kind, const aml_tensor_info *info, bool json, bool first)
{
    char shape[160];
    aml_shape_text(info->dtype, &info->shape, shape, sizeof shape);
    if (json)
        printf("%s{\"name\": \"%s\", \"type\": \"%s\", \"classes\": %lld}", first ? "" : ", ",
               info->name, shape, (long long)info->classes);
    else
        printf("%-10s %s: %s\n", kind, info->name, shape);
}

static void print_number(const char *name, double value)
{
    char text[40];
    printf(", \"%s\": %s", name, amli_real_text(value, text, sizeof text));
}

// What quantization did to each layer.
static void print_layers(const aml_artifact *artifact, bool json)
{
    if (json)
        printf("], \"layers\": [");
    else if (artifact->layers)
        printf("%-24s %10s %10s %11s %9s %10s %10s\n", "layer", "from", "to", "weights dB",
               "result dB", "f32 bytes", "bytes");
    for (int i = 0; i < artifact->layers; i++) {
        const aml_layer_report *layer = &artifact->layer[i];
        if (!json) {
            printf("%-24s %10.4g %10.4g %11.1f %9.1f %10lld %10lld%s%s\n", layer->name, layer->low,
                   layer->high, layer->weights_db, layer->result_db, (long long)layer->bytes_before,
                   (long long)layer->bytes_after,
                   layer->kept ? "  stays f32: " : layer->form ? "  " : "",
                   layer->kept ? layer->kept : layer->form ? layer->form : "");
            continue;
        }
        printf("%s{\"name\": \"%s\", \"quantized\": %s", i ? ", " : "", layer->name,
               layer->kept ? "false" : "true");
        if (layer->kept)
            printf(", \"kept\": \"%s\"", layer->kept);
        if (layer->form)
            printf(", \"form\": \"%s\"", layer->form);
        print_number("low", layer->low);
        print_number("high", layer->high);
        print_number("weights_db", layer->weights_db);
        print_number("result_db", layer->result_db);
        printf(", \"bytes_before\": %lld, \"bytes_after\": %lld}", (long long)layer->bytes_before,
               (long long)layer->bytes_after);
    }
}

// What it was made from, as words or as JSON.
static void print_origin(const aml_artifact *artifact, bool json)
{
    static const char words[] = "program\0source\0weights\0data\0compiler",
                      keys[] = "name\0source_hash\0weights_hash\0data_fingerprint\0compiler";
    const char *value[] = {artifact->name, artifact->source_hash, artifact->weights_hash,
                           artifact->data_fingerprint, artifact->compiler},
               *doc = artifact->doc ? artifact->doc : "";
    for (int i = 0; i < (int)AMLI_COUNT(value); i++) {
        const char *before = i ? json ? ", " : "\n" : json ? "{" : "";
        printf(json ? "%s\"%s\": \"%s\"" : "%s%-10s %s", before,
               amli_listed(json ? keys : words, i), value[i]);
        if (!i && !json && *doc)
            printf(": %.*s", (int)strcspn(doc, "\n"), doc);
    }
}

static void print_info(const aml_artifact *artifact, bool json)
{
    char bytes[32];
    const aml_level *used = aml_artifact_level(artifact);
    print_origin(artifact, json);
    if (json)
        printf(", \"cpu_level\": \"%s\", \"cpu_levels\": [", used ? used->cpu_level : "");
    else
        printf("\n%-10s", "processor");
    for (int i = 0; i < artifact->levels; i++) {
        const aml_level *level = &artifact->level[i];
        if (json)
            printf("%s\"%s\"", i ? ", " : "", level->cpu_level);
        else
            printf(" %s%s", level->cpu_level, level == used ? " (used here)" : "");
    }
    if (json) {
        printf("], \"parameters\": %lld, \"weights_bytes\": %zu, \"memory_bytes\": %zu, "
               "\"batch\": [",
               (long long)artifact->parameters, artifact->weights_bytes,
               aml_context_bytes(artifact));
    } else {
        printf("\n%-10s %lld, %s\n", "parameters", (long long)artifact->parameters,
               amli_bytes_text((double)artifact->weights_bytes, bytes, sizeof bytes));
        printf("%-10s %s a context\n%-10s", "memory",
               amli_bytes_text((double)aml_context_bytes(artifact), bytes, sizeof bytes), "batch");
    }
    for (int i = 0; i < artifact->predicts; i++)
        printf("%s%lld", json ? i ? ", " : "" : " ", (long long)artifact->predict_batch[i]);
    printf(json ? "], \"inputs\": [" : "\n");
    for (int i = 0; i < artifact->fields; i++)
        show_tensor("input", &artifact->field[i].tensor, json, i == 0);
    if (json)
        printf("], \"outputs\": [");
    for (int i = 0; i < aml_artifact_outputs(artifact); i++) {
        aml_tensor_info info = aml_artifact_output(artifact, i);
        show_tensor("output", &info, json, i == 0);
    }
    print_layers(artifact, json);
    if (json)
        printf("]}\n");
}

static bool reads_texts(const aml_artifact *artifact)
{
    const aml_cell_rule *rule = artifact->fields == 1 ? artifact->field[0].rule : NULL;
    return rule && rule->kind == AML_CELL_TEXT;
}

static void print_help(const aml_artifact *artifact, const char *name)
{
    char others[256] = "";
    for (int i = 0; i < artifact->readers; i++)
        snprintf(others + strlen(others), sizeof others - strlen(others), ", for %s%s",
                 artifact->reader[i]->what,
                 artifact->reader[i]->walk ? " or a folder of them" : "");
    printf("%s%s%s\n\nusage: %s VERB [options]\n\n", artifact->name,
           artifact->doc && *artifact->doc ? ": " : "", artifact->doc ? artifact->doc : "", name);
    printf("  predict FILE   predict for the rows of a csv file%s (- is standard input)\n"
           "  bench          how long a prediction takes, for each batch size\n"
           "  info           inputs, outputs, and what it was made from\n\n"
           "  -o FILE        predict: write to FILE\n"
           "  --format FORM  predict: csv or json, one object a row\n"
           "  --seconds S    bench: how long to measure each batch size (0.5)\n"
           "  --level NAME   the code for this level of processors, not the best one\n"
           "  --json         the result as JSON\n",
           others);
    if (artifact->weights)
        printf("  --weights FILE the file with the weights (%s, beside the program)\n",
               artifact->weights->name);
    if (reads_texts(artifact))
        printf("  --lines        predict: each line of FILE is one text\n");
}

typedef struct Arguments {
    const char *verb, *file, *output, *level, *weights;
    double seconds;
    bool json, help, lines;
} Arguments;

// The words of the command line, each list in one text.
enum { OPTIONS = 8, VERBS = 4, VALUED = 5 }; // the first VALUED options have a value behind them
enum { OPTION_OUTPUT, OPTION_SECONDS, OPTION_LEVEL, OPTION_WEIGHTS, OPTION_FORMAT, OPTION_LINES };
enum { OPTION_JSON = OPTION_LINES + 1, OPTION_HELP };
static const char options[] = "output\0seconds\0level\0weights\0format\0lines\0json\0help";
static const char verbs[] = "predict\0bench\0info\0help";

// Which word of a list it is; -1: none.
static int find_word(const char *list, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(amli_listed(list, i), word) == 0)
            return i;
    return -1;
}

static aml_status unknown_word(const char *what, const char *list, int count, const char *word,
                               aml_error *error)
{
    const char *known[OPTIONS], *dashes = list == options ? "--" : "";
    for (int i = 0; i < count; i++)
        known[i] = amli_listed(list, i);
    const char *near = amli_closest(word, known, count);
    return near ? amli_fail(error, AML_USAGE, "%s\nhelp: did you mean %s%s?", what, dashes, near)
                : amli_fail(error, AML_USAGE, "%s", what);
}

static aml_status take_option(int option, const char *value, Arguments *arguments, aml_error *error)
{
    char *end;
    switch (option) {
    case OPTION_OUTPUT:
        arguments->output = value;
        break;
    case OPTION_LEVEL:
        arguments->level = value;
        break;
    case OPTION_WEIGHTS:
        arguments->weights = value;
        break;
    case OPTION_LINES:
        arguments->lines = true;
        break;
    case OPTION_JSON:
        arguments->json = true;
        break;
    case OPTION_HELP:
        arguments->help = true;
        break;
    case OPTION_SECONDS:
        arguments->seconds = strtod(value, &end);
        if (*end || !(arguments->seconds > 0 && arguments->seconds < 3600))
            return amli_fail(error, AML_USAGE, "--seconds: expected a number above 0, found \"%s\"",
                             value);
        break;
    case OPTION_FORMAT:
        arguments->json = strcmp(value, "json") == 0;
        if (!arguments->json && strcmp(value, "csv") != 0)
            return amli_fail(error, AML_USAGE, "--format: expected csv or json, found \"%s\"",
                             value);
        break;
    }
    return AML_OK;
}

static aml_status parse(int argc, char **argv, Arguments *arguments, aml_error *error)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        char what[512];
        if (word[0] == '-' && word[1]) {
            int option = word[1] == '-'            ? find_word(options, OPTIONS, word + 2)
                         : strcmp(word, "-o") == 0 ? OPTION_OUTPUT
                         : strcmp(word, "-h") == 0 ? OPTION_HELP
                                                   : -1;
            snprintf(what, sizeof what, "unknown option %s", word);
            if (option < 0)
                return unknown_word(what, options, word[1] == '-' ? OPTIONS : 0, word + 2, error);
            if (option < VALUED && ++i == argc)
                return amli_fail(error, AML_USAGE, "%s needs a value behind it", word);
            aml_status status = take_option(option, argv[i], arguments, error);
            if (status)
                return status;
        } else if (!arguments->verb) {
            arguments->verb = word;
            snprintf(what, sizeof what, "unknown verb \"%s\"", word);
            if (find_word(verbs, VERBS, word) < 0)
                return unknown_word(what, verbs, VERBS, word, error);
        } else if (strcmp(arguments->verb, "predict") == 0 && !arguments->file) {
            arguments->file = word;
        } else {
            return amli_fail(error, AML_USAGE, "%s takes no argument \"%s\"", arguments->verb,
                             word);
        }
    }
    if (!arguments->verb)
        arguments->help = true;
    if (!arguments->help && strcmp(arguments->verb, "predict") == 0 && !arguments->file)
        return amli_fail(error, AML_USAGE, "predict needs FILE behind it (- is standard input)");
    return AML_OK;
}

// Rows are answered as they are read: writing would destroy what is still to be read.
static bool is_same_file(const char *read, const char *written)
{
    struct stat a, b;
    return read && stat(read, &a) == 0 && stat(written, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino && S_ISREG(a.st_mode);
}

static aml_status run(const aml_artifact *artifact, const Arguments *arguments,
                      amli_serving *serving, aml_error *error)
{
    aml_status status =
        amli_serving_open(artifact, arguments->level, arguments->weights, serving, error);
    if (status)
        return status;
    setvbuf(stdout, serving->output_buffer, _IOFBF, SERVING_OUTPUT);
    if (arguments->output && strcmp(arguments->output, "-") != 0) {
        if (is_same_file(arguments->file, arguments->output))
            return amli_fail(error, AML_INVALID, "cannot write %s: it is the file that is read",
                             arguments->output);
        if (!freopen(arguments->output, "w", stdout))
            return amli_fail(error, AML_IO, "cannot write %s: %s", arguments->output,
                             strerror(errno));
    }
    if (strcmp(arguments->verb, "bench") == 0)
        status = amli_serve_bench(serving, arguments->seconds, arguments->json, error);
    else
        status = amli_serve_file(serving, arguments->file, stdout,
                                 (amli_serve_form){arguments->json, arguments->lines}, error);
    return status;
}

int aml_artifact_main(const aml_artifact *artifact, int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1
                                                                         : argc > 0
                                                                             ? argv[0]
                                                                             : artifact->name;
    aml_error error;
    amli_serving serving;
    Arguments arguments = {.seconds = 0.5};
    error.text[0] = 0;
    aml_status status = parse(argc, argv, &arguments, &error);
    if (!status && (arguments.help || strcmp(arguments.verb, "help") == 0))
        print_help(artifact, name);
    else if (!status && strcmp(arguments.verb, "info") == 0)
        print_info(artifact, arguments.json);
    else if (!status)
        status = run(artifact, &arguments, &serving, &error);
    if (fflush(stdout) != 0 && !status)
        status = amli_fail(&error, AML_IO, "writing the result failed");
    if (status)
        fprintf(stderr, "error: %s\n", error.text[0] ? error.text : aml_status_meaning(status));
    return aml_status_exit_code(status);
}
