// The main function of a deployed `generate` block: it writes, bench, info.
//
// The program is an ordinary one with a single job, whose function has the weights inside, so that
// the training program's `generate` does all of the work: same options, same text.

#include <stdlib.h>
#include <string.h>

#include "aml/artifact.h"
#include "runtime/artifact/serving.h"
#include "runtime/job/job.h"

static int64_t cache_bytes(const aml_job *job)
{
    int64_t bytes = 0;
    for (int i = 0; i < job->states; i++)
        bytes += aml_shape_elements(&job->state[i].tensor.shape) *
                 (int64_t)aml_dtype_bytes(job->state[i].tensor.dtype);
    return bytes;
}

static void info_text(const aml_program *program, const aml_artifact *facts)
{
    const aml_job *job = program->job;
    char bytes[32];
    printf("%-10s %s%s%.*s\n", "program", facts->name, facts->doc && *facts->doc ? ": " : "",
           (int)(facts->doc ? strcspn(facts->doc, "\n") : 0), facts->doc ? facts->doc : "");
    printf("%-10s %s\n%-10s %s\n%-10s %s\n", "source", facts->source_hash, "weights",
           facts->weights_hash, "data", facts->data_fingerprint);
    printf("%-10s %s for %s\n", "compiler", facts->compiler, program->cpu_level);
    printf("%-10s %lld, %s\n", "parameters", (long long)facts->parameters,
           amli_bytes_text((double)facts->weights_bytes, bytes, sizeof bytes));
    printf("%-10s %s of caches, ", "memory",
           amli_bytes_text((double)cache_bytes(job), bytes, sizeof bytes));
    printf("%s while a token is computed\n",
           amli_bytes_text((double)job->decode.arena_bytes, bytes, sizeof bytes));
    printf("%-10s %s: %lld tokens of %lld%s\n", "writes", job->name,
           (long long)job->generation.context,
           (long long)aml_shape_elements(&job->decode.output[0].shape),
           job->generation.cached ? ", with caches" : "");
    if (facts->layers)
        printf("%-24s %10s %10s %8s %9s %10s %10s  %s\n", "weights", "from", "to", "SQNR dB",
               "result dB", "f32 bytes", "bytes", "stored as");
    for (int i = 0; i < facts->layers; i++) {
        const aml_layer_report *layer = &facts->layer[i];
        printf("%-24s %10.4g %10.4g %8.1f %9.1f %10lld %10lld  %s\n", layer->name, layer->low,
               layer->high, layer->weights_db, layer->result_db, (long long)layer->bytes_before,
               (long long)layer->bytes_after, layer->kept ? layer->kept : layer->form);
    }
}

static void json_number(amli_buffer *out, const char *name, double value)
{
    amli_buffer_printf(out, ", \"%s\": ", name);
    amli_json_number(out, value);
}

static aml_status info_json(const aml_program *program, const aml_artifact *facts)
{
    const aml_job *job = program->job;
    amli_buffer out = {0};
    const char *const row[][2] = {{"name", facts->name},
                                  {"source_hash", facts->source_hash},
                                  {"weights_hash", facts->weights_hash},
                                  {"data_fingerprint", facts->data_fingerprint},
                                  {"compiler", facts->compiler},
                                  {"cpu_level", program->cpu_level},
                                  {"entry", job->name}};
    for (size_t i = 0; i < AMLI_COUNT(row); i++) {
        amli_buffer_printf(&out, "%s\"%s\": ", i ? ", " : "{", row[i][0]);
        amli_json_text(&out, row[i][1] ? row[i][1] : "");
    }
    json_number(&out, "parameters", (double)facts->parameters);
    json_number(&out, "weights_bytes", (double)facts->weights_bytes);
    json_number(&out, "cache_bytes", (double)cache_bytes(job));
    size_t arena = job->decode.arena_bytes > job->prompt.arena_bytes ? job->decode.arena_bytes
                                                                     : job->prompt.arena_bytes;
    json_number(&out, "memory_bytes", (double)(job->state_bytes + arena));
    json_number(&out, "context", (double)job->generation.context);
    json_number(&out, "vocab", (double)aml_shape_elements(&job->decode.output[0].shape));
    amli_buffer_printf(&out, ", \"layers\": [");
    for (int i = 0; i < facts->layers; i++) {
        const aml_layer_report *layer = &facts->layer[i];
        amli_buffer_printf(&out, "%s{\"name\": ", i ? ", " : "");
        amli_json_text(&out, layer->name);
        amli_buffer_printf(&out, ", \"form\": ");
        amli_json_text(&out, layer->form ? layer->form : "f32");
        if (layer->kept) {
            amli_buffer_printf(&out, ", \"kept\": ");
            amli_json_text(&out, layer->kept);
        }
        json_number(&out, "low", layer->low);
        json_number(&out, "high", layer->high);
        json_number(&out, "weights_db", layer->weights_db);
        json_number(&out, "result_db", layer->result_db);
        json_number(&out, "bytes_before", (double)layer->bytes_before);
        json_number(&out, "bytes_after", (double)layer->bytes_after);
        amli_buffer_printf(&out, "}");
    }
    amli_buffer_printf(&out, "]}");
    bool good = !out.failed;
    if (good)
        puts(out.text);
    amli_buffer_free(&out);
    return good ? AML_OK : AML_NO_MEMORY;
}

static void help(const aml_job *job, const aml_artifact *facts, const char *name)
{
    printf("%s%s%s\n\nusage: %s VERB [options]\n\n", facts->name,
           facts->doc && *facts->doc ? ": " : "", facts->doc ? facts->doc : "", name);
    printf("  %-10s writes text: --prompt TEXT, --length N, --temperature X, --top_k N, --top_p "
           "SHARE, --seed N;\n"
           "             with --score FILE it tells how likely the tokens of FILE are\n"
           "  bench      how long a token takes: --seconds S (2), --length N: of so many tokens\n"
           "  info       what it was made from\n\n"
           "  --threads N   how many threads compute; the result does not depend on it\n"
           "  --json        bench, info: the result as JSON\n"
           "  --quiet       only errors on stderr\n",
           job->name);
    if (facts->weights)
        printf("  --weights FILE the file with the weights (%s, beside the program)\n",
               facts->weights->name);
}

// Takes an option that only this program has out of the arguments, such as `--seconds S`. NULL: it
// was not given.
static aml_status take_option(int *argc, char **argv, const char *option, const char *what,
                              const char **out, aml_error *error)
{
    int kept = 0;
    size_t length = strlen(option);
    for (int i = 0; i < *argc; i++) {
        if (strncmp(argv[i], option, length) != 0 || (argv[i][length] && argv[i][length] != '=')) {
            argv[kept++] = argv[i];
            continue;
        }
        if (argv[i][length])
            *out = argv[i] + length + 1;
        else if (++i == *argc)
            return amli_fail(error, AML_USAGE, "%s needs %s behind it", option, what);
        else
            *out = argv[i];
    }
    *argc = kept;
    return AML_OK;
}

static aml_status take_seconds(int *argc, char **argv, double *seconds, aml_error *error)
{
    const char *value = NULL;
    char *end;
    aml_status status = take_option(argc, argv, "--seconds", "a number", &value, error);
    if (status || !value)
        return status;
    *seconds = strtod(value, &end);
    if (*end || !(*seconds > 0 && *seconds < 3600))
        return amli_fail(error, AML_USAGE, "--seconds: expected a number above 0, found \"%s\"",
                         value);
    return AML_OK;
}

static aml_status map_weights(const aml_artifact *facts, const char *named, amli_command *command,
                              aml_error *error)
{
    amli_mapped_weights weights = {0};
    if (!facts->weights)
        return AML_OK;
    aml_status status = facts->weights->map(facts->weights, named, &weights, error);
    command->weights = weights.at;
    command->weights_bytes = weights.bytes;
    return status;
}

static aml_status run(const aml_program *program, const aml_artifact *facts, int argc, char **argv,
                      amli_command *command, aml_error *error)
{
    const aml_job *job = &program->job[0];
    const char *verb = argc > 1 ? argv[1] : "help";
    bool bench = strcmp(verb, "bench") == 0, info = strcmp(verb, "info") == 0;
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        help(job, facts, argc > 0 ? argv[0] : facts->name);
        return AML_OK;
    }
    if (!bench && !info && strcmp(verb, job->name) != 0 && strcmp(verb, "generate") != 0)
        return amli_fail(error, AML_USAGE,
                         "unknown verb \"%s\"\nhelp: this program has %s, bench, info and help",
                         verb, job->name);
    double seconds = 2;
    char generate[] = "generate", *option[64];
    if (argc > (int)AMLI_COUNT(option))
        return amli_fail(error, AML_USAGE, "too many arguments");
    bool json = false;
    int count = 0;
    for (int i = 0; i < argc; i++) { // a generation has no --json, the others have
        bool is_json = (bench || info) && strcmp(argv[i], "--json") == 0;
        json |= is_json;
        if (!is_json)
            option[count++] = i == 1 ? generate : argv[i];
    }
    const char *weights = NULL;
    aml_status status = bench ? take_seconds(&count, option, &seconds, error) : AML_OK;
    if (!status && facts->weights)
        status = take_option(&count, option, "--weights", "a file", &weights, error);
    if (!status)
        status = amli_command_parse(program, count, option, command, error);
    if (status)
        return status;
    command->json = json;
    if (command->help) {
        help(job, facts, command->name);
        return AML_OK;
    }
    if (info) {
        if (json)
            return info_json(program, facts);
        info_text(program, facts);
        return AML_OK;
    }
    status = amli_check_cpu(program->cpu_level, program->cpu_features, error);
    if (!status)
        status = map_weights(facts, weights, command, error);
    if (status)
        return status;
    return bench ? amli_generation_bench(command, &amli_device_cpu, job, seconds, error)
                 : amli_generate(command, &amli_device_cpu, error);
}

int aml_writer_main(const aml_program *program, int programs, const aml_artifact *facts, int argc,
                    char **argv)
{
    for (int i = 0; i + 1 < programs && !aml_cpu_has(program->cpu_features); i++)
        program++;
    aml_error error = {0};
    amli_command command = {0};
    aml_status status = AML_OK;
    if (program->abi != AML_PROGRAM_ABI || program->jobs != 1)
        status = amli_fail(&error, AML_INTERNAL,
                           "this program speaks version %d of the runtime's interface, and the "
                           "runtime %d",
                           program->abi, AML_PROGRAM_ABI);
    if (!status)
        status = run(program, facts, argc, argv, &command, &error);
    amli_command_free(&command);
    if (fflush(stdout) != 0 && !status)
        status = amli_fail(&error, AML_IO, "writing to standard output failed");
    bool stopped = status == AML_INTERRUPTED || status == AML_TERMINATED;
    if (status)
        fprintf(stderr, "%s%s\n",
                stopped ? "" : "error: ", error.text[0] ? error.text : aml_status_meaning(status));
    return aml_status_exit_code(status);
}
