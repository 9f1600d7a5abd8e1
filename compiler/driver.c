// driver.c: the verbs that need no trained weights.

#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "aml/checkpoint.h"
#include "passes/pass.h"
#include "report/report.h"
#include "sema/sema.h"

// ---- check

static void note_missing_data(Command *command, const Program *program)
{
    for (int i = 0; i < program->dataset.count; i++) {
        const aml_dataset *dataset = &program->dataset.at[i].table;
        const aml_source *source[] = {&dataset->source, &dataset->test};
        for (size_t s = 0; s < COUNT_OF(source); s++) {
            for (int f = 0; f < AML_SOURCE_FILES && source[s]->file[f].parts; f++) {
                const char *path = source_path_text(command->cx, program, &source[s]->file[f]);
                if (!find_data(command->cx, path))
                    say(command, "note",
                        "%s: the data file '%s' of '%s' is not here; it was looked for beside the "
                        ".aml file, in the current folder and under $AML_DATA",
                        source[s]->place, path, dataset->name);
            }
        }
    }
}

// A message of several lines: the mistake, what belongs to it, help.
static void report_lines(Cx *cx, Span span, const char *text)
{
    static const char help_word[] = "help: ";
    const char *end = strchrnul(text, '\n');
    report(cx, span, weights_file, arena_text(cx->arena, text, (size_t)(end - text)));
    while (*end) {
        text = end + 1 + strspn(end + 1, " ");
        end = strchrnul(text, '\n');
        bool helps = strncmp(text, help_word, sizeof help_word - 1) == 0;
        const char *line = arena_text(cx->arena, text, (size_t)(end - text));
        if (helps)
            help(cx, "%s", line + sizeof help_word - 1);
        else
            note(cx, (Span){0}, "%s", line);
    }
}

static const ProgramJob *job_named(const Program *program, const char *name)
{
    for (int i = 0; i < program->job.count; i++)
        if (strcmp(program->job.at[i].table.name, name) == 0)
            return &program->job.at[i];
    return NULL;
}

static const ProgramState *state_of(const ProgramJob *job, const char *name)
{
    for (int i = 0; i < job->state.count; i++)
        if (strcmp(job->state.at[i].info.tensor.name, name) == 0)
            return &job->state.at[i];
    return NULL;
}

// What a training with `quantize` has beside its weights.
static bool is_range(const char *name)
{
    static const char *const end[] = {"input_range", "input_reach", "weight_reach"};
    size_t length = strlen(name);
    for (size_t i = 0; i < COUNT_OF(end); i++)
        if (length >= strlen(end[i]) && strcmp(name + length - strlen(end[i]), end[i]) == 0)
            return true;
    return false;
}

// `init: net.last`: the other training has a weight for each of this one's.
static void check_other_training(Cx *cx, const Program *program, const ProgramJob *job,
                                 const aml_load *load, Span span)
{
    const ProgramJob *from = job_named(program, load->job);
    for (int i = 0; from && i < job->state.count; i++) {
        const aml_state_info *info = &job->state.at[i].info;
        if ((info->role != AML_ROLE_WEIGHT && info->role != AML_ROLE_STATE) ||
            is_range(info->tensor.name))
            continue;
        const ProgramState *other = state_of(from, info->tensor.name);
        char a[160], b[160] = "not there";
        aml_shape_text(info->tensor.dtype, &info->tensor.shape, a, sizeof a);
        if (other)
            aml_shape_text(other->info.tensor.dtype, &other->info.tensor.shape, b, sizeof b);
        if (strcmp(a, b) == 0)
            continue;
        report(cx, span, weights_file,
               arena_printf(cx->arena, "'%s' is %s here and %s in the training '%s'",
                            info->tensor.name, a, b, load->job));
        note(cx, job->state.at[i].span, "it is declared here");
        return;
    }
}

void check_weights_files(Cx *cx, const Program *program)
{
    for (int i = 0; i < program->job.count; i++) {
        const ProgramJob *job = &program->job.at[i];
        aml_job table = {.name = job->table.name, .states = job->state.count};
        aml_state_info *state = NEW_ARRAY(cx->arena, aml_state_info, job->state.count + 1);
        for (int s = 0; s < job->state.count; s++)
            state[s] = job->state.at[s].info;
        table.state = state;
        for (int l = 0; l < job->load.count; l++) {
            const aml_load *load = &job->load.at[l];
            aml_error error = {0};
            aml_tensors *tensors = NULL;
            if (load->job) {
                check_other_training(cx, program, job, load, job->load_span.at[l]);
                continue;
            }
            const char *found = find_data(cx, source_path_text(cx, program, &load->path));
            if (found && (aml_tensors_open(found, &tensors, &error) ||
                          aml_load_check(&table, load, tensors, found, &error)))
                report_lines(cx, job->load_span.at[l], error.text);
            aml_tensors_close(tensors);
        }
    }
}

int verb_check(Command *command)
{
    Cx *cx = command->cx;
    bool quiet = command->format != FORMAT_HUMAN && command->format != FORMAT_SHORT;

    cx->without_data = command->option[OPTION_WITHOUT] != NULL;
    for (int i = 0; i < command->argument.count; i++) {
        int before = diag_errors(cx);
        Unit *unit = unit_load(cx, command->argument.at[i]);
        Program *program = unit ? elaborate(cx, unit) : NULL;
        if (!program || diag_errors(cx) > before)
            continue;
        check_weights_files(cx, program);
        if (!quiet)
            note_missing_data(command, program);
    }
    int code = finish_diagnostics(command);
    if (code == EXIT_OK && !quiet && !diag_warnings(cx))
        fprintf(stderr, "amlc: no mistakes in %d file%s\n", command->argument.count,
                command->argument.count == 1 ? "" : "s");
    return code;
}

// ---- build

static int emit_source(Command *command, const char *stage)
{
    Cx *cx = command->cx;
    const char *path = command->argument.at[0];
    char *text;
    size_t length;
    if (!file_read(cx->arena, path, (size_t)64 << 20, &text, &length)) {
        say(command, "error", "cannot read %s: %s", path, strerror(errno));
        return EXIT_INPUT;
    }
    uint32_t file = source_add(cx, path, text, length, false);
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    if (strcmp(stage, "tokens") == 0)
        tokens_dump(cx, file, &out);
    else
        node_dump(cx, parse_file(cx, file, NULL), &out);
    fputs(out.text, stdout);
    return finish_diagnostics(command);
}

// Writes a text where -o says, or to stdout.
static int put_text(Command *command, const char *text, size_t length)
{
    const char *path = command->option[OPTION_OUTPUT];
    FILE *file = path ? fopen(path, "we") : stdout;
    if (!file) {
        say(command, "error", "cannot write %s: %s", path, strerror(errno));
        return EXIT_INPUT;
    }
    bool good = fwrite(text, 1, length, file) == length;
    good = (path ? fclose(file) : fflush(file)) == 0 && good;
    if (!good)
        say(command, "error", "writing %s failed: %s", path ? path : "to stdout", strerror(errno));
    return good ? EXIT_OK : EXIT_INPUT;
}

static int unknown_pass(Command *command, const char *name)
{
    const char *names[PASS_COUNT];
    for (int i = 0; i < PASS_COUNT; i++)
        names[i] = pass_info[i].name;
    const char *closest = closest_name(name, names, PASS_COUNT);
    say(command, "error", "there is no pass '%s'%s%s%s", name, closest ? "; did you mean '" : "",
        closest ? closest : "", closest ? "'?" : "");
    return EXIT_USAGE;
}

static int emit_stage(Command *command, Program *program, const char *stage)
{
    Cx *cx = command->cx;
    Buffer out = {.arena = cx->arena};
    ObjectCode object = {0};

    buffer_text(&out, "");
    if (strcmp(stage, "ir") == 0) {
        ir_print(program->module, &out);
    } else if (strncmp(stage, "ir:", 3) == 0) {
        if (pass_find(stage + 3) == PASS_COUNT)
            return unknown_pass(command, stage + 3);
        drop_deploy_functions(program);
        if (!passes_run(cx, program->module, stage + 3, NULL, NULL))
            return EXIT_INPUT;
        ir_print(program->module, &out);
    } else {
        bool text = strcmp(stage, "program") != 0;
        if (!generate_program(command, program, text ? stage : NULL, &object))
            return EXIT_INPUT;
        if (text) {
            buffer_append(&out, object.file[0].at, object.file[0].length);
        } else {
            const char *output = program->table.name;
            Tables tables = tables_of_program(
                cx, program, &object, portable_source_dir(cx, program->table.source, output), true);
            buffer_text(&out, tables.text);
        }
    }
    return put_text(command, out.text, out.length);
}

const char *size_text(Cx *cx, double bytes)
{
    if (bytes < 1024)
        return arena_printf(cx->arena, "%.0f B", bytes);
    if (bytes < 1024 * 1024)
        return arena_printf(cx->arena, "%.1f KiB", bytes / 1024);
    return arena_printf(cx->arena, "%.2f MiB", bytes / (1024 * 1024));
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int build_file(Command *command, const char *path)
{
    const char *output = command->option[OPTION_OUTPUT];
    double start = seconds_now();
    Program *program = compile_front(command, path);
    if (program) {
        check_weights_files(command->cx, program);
    }
    int code = finish_diagnostics(command);
    if (!program || code != EXIT_OK)
        return EXIT_INPUT;
    if (!output)
        output = default_output(program);
    if (!compile_program(command, program, output))
        return EXIT_INPUT;
    struct stat info;
    if (stat(output, &info) == 0)
        fprintf(stderr, "built %s (%s, %.2f s)\n", output,
                size_text(command->cx, (double)info.st_size), seconds_now() - start);
    return EXIT_OK;
}

int verb_build(Command *command)
{
    const char *path = command->argument.at[0], *stage = command->option[OPTION_EMIT];

    if (stage && (strcmp(stage, "tokens") == 0 || strcmp(stage, "ast") == 0))
        return emit_source(command, stage);
    if (stage) {
        Program *program = compile_front(command, path);
        int code = finish_diagnostics(command);
        if (!program || code != EXIT_OK)
            return EXIT_INPUT;
        return emit_stage(command, program, stage);
    }
    return build_file(command, path);
}

// ---- report, expand, explain

int verb_report(Command *command)
{
    Cx *cx = command->cx;
    Program *program = compile_front(command, command->argument.at[0]);
    int code = finish_diagnostics(command);
    if (!program || code != EXIT_OK)
        return EXIT_INPUT;
    if (command->option[OPTION_FIT])
        return report_fit(command, program);
    if (!passes_run(cx, program->module, NULL, NULL, NULL))
        return EXIT_INPUT;
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    report_program(cx, program, command->option[OPTION_JSON] != NULL, &out);
    return put_text(command, out.text, out.length);
}

int verb_expand(Command *command)
{
    Cx *cx = command->cx;
    Program *program = compile_front(command, command->argument.at[0]);
    int code = finish_diagnostics(command);
    if (!program || code != EXIT_OK)
        return EXIT_INPUT;
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory) {
        say(command, "error", "no memory");
        return EXIT_INPUT;
    }
    expand_print(cx, program, memory);
    fclose(memory);
    code = put_text(command, text, length);
    free(text);
    return code;
}

int verb_explain(Command *command)
{
    if (strcmp(command->argument.at[0], "manual") == 0) {
        const char *wrong = manual_write(command->cx, command->option[OPTION_OUTPUT], stdout);
        if (wrong)
            say(command, "error", "cannot write %s: %s", wrong, strerror(errno));
        return wrong ? EXIT_INPUT : EXIT_OK;
    }
    int code = explain(command->cx, command->argument.at[0], stdout);
    return finish_diagnostics(command) == EXIT_OK ? code : EXIT_INPUT;
}

// ---- doctor, version

int verb_version(Command *command)
{
    (void)command;
    printf("amlc " AML_VERSION_TEXT " (edition 1, program ABI %d, LLVM " AML_LLVM_TEXT ")\n",
           AML_PROGRAM_ABI);
    return EXIT_OK;
}

static bool doctor_line(bool good, const char *what, const char *found, const char *fix)
{
    printf("%s %-22s %s\n", good ? "ok     " : "MISSING", what, good ? found : fix);
    return good;
}

// The first line of what a command prints, or NULL if it fails.
static const char *first_line(Cx *cx, const char *const argv[])
{
    ProcessResult result = process_run(cx, argv, NULL, PROCESS_CAPTURE);
    if (result.code != 0)
        return NULL;
    result.output[strcspn(result.output, "\n")] = 0;
    return result.output;
}

int verb_doctor(Command *command)
{
    Cx *cx = command->cx;
    Toolchain tools = toolchain_find(cx);
    bool good = true;

    const char *version = first_line(cx, (const char *const[]){tools.compiler, "--version", NULL});
    good &= doctor_line(version != NULL, "C compiler",
                        arena_printf(cx->arena, "%s: %s", tools.compiler, version ? version : ""),
                        "apt-get install gcc, or name one in AML_CC");
    good &= doctor_line(tools.runtime != NULL, "libaml_runtime.a", tools.runtime,
                        arena_printf(cx->arena, "looked for %s", tools.searched));
    static const char *const library[][2] = {
        {"libjansson.a", "apt-get install libjansson-dev"},
        {"libnettle.a", "apt-get install nettle-dev"},
        {"libz.a", "apt-get install zlib1g-dev"},
        {"libjpeg.a", "apt-get install libjpeg62-turbo-dev"},
        {"libpng16.a", "apt-get install libpng-dev"},
        {"lapack/liblapack.a", "apt-get install liblapack-dev"},
        {"blas/libblas.a", "apt-get install libblas-dev"},
        {"libutf8proc.a", "apt-get install libutf8proc-dev"},
        {"libpcre2-8.a", "apt-get install libpcre2-dev"},
        {"libsndfile.so", "apt-get install libsndfile1-dev"}};
    for (size_t i = 0; version && i < COUNT_OF(library); i++) {
        const char *option = arena_printf(cx->arena, "-print-file-name=%s", library[i][0]);
        const char *place = first_line(cx, (const char *const[]){tools.compiler, option, NULL});
        bool found = place && place[0] == '/' && access(place, R_OK) == 0;
        good &= doctor_line(found, library[i][0], place, library[i][1]);
    }
    const char *temporary = getenv("TMPDIR");
    temporary = temporary && *temporary ? temporary : "/tmp";
    good &= doctor_line(access(temporary, W_OK) == 0, "temporary folder", temporary,
                        arena_printf(cx->arena, "%s cannot be written", temporary));
    printf("%s\n", good ? "everything that amlc needs is here" : "something is missing");
    return good ? EXIT_OK : EXIT_INPUT;
}
