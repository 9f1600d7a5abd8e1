// The main function of a compiled program.

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/job/job.h"

static aml_status print_info(const amli_command *command)
{
    const aml_program *program = command->program;
    if (command->json) {
        amli_buffer text = {0};
        const char *const row[][2] = {{"name", program->name},
                                      {"source", program->source},
                                      {"source_hash", program->source_hash},
                                      {"compiler", program->compiler},
                                      {"cpu_level", program->cpu_level},
                                      {"cpu_features", program->cpu_features}};
        for (size_t i = 0; i < AMLI_COUNT(row); i++) {
            amli_buffer_printf(&text, "%s\"%s\": ", i ? ", " : "{", row[i][0]);
            amli_json_text(&text, row[i][1] ? row[i][1] : "");
        }
        amli_buffer_printf(&text, "}");
        aml_status status = text.failed ? AML_NO_MEMORY : AML_OK;
        if (!status)
            puts(text.text);
        amli_buffer_free(&text);
        return status;
    }
    printf("%-12s %s\n", "program", program->name);
    printf("%-12s %s, SHA-256 %s\n", "source", program->source, program->source_hash);
    printf("%-12s %s\n", "compiler", program->compiler);
    printf("%-12s %s (%s)\n", "cpu", program->cpu_level, program->cpu_features);
    for (int i = 0; i < program->datasets; i++)
        printf("%-12s %s (%s)\n", "dataset", program->dataset[i].name, program->dataset[i].place);
    for (int i = 0; i < program->jobs; i++) {
        const aml_job *job = &program->job[i];
        int64_t weights = 0;
        for (int k = 0; k < job->states; k++)
            if (job->state[k].role == AML_ROLE_WEIGHT)
                weights += aml_shape_elements(&job->state[k].tensor.shape);
        printf("%-12s %s (%s), batch %lld, %lld weights\n", amli_job_kind(job), job->name,
               job->place, (long long)job->batch, (long long)weights);
    }
    return AML_OK;
}

static aml_status run_verb(const amli_command *command, const amli_device_kind *kind,
                           aml_error *error)
{
    const aml_program *program = command->program;
    bool computes = command->verb == AMLI_VERB_TRAIN || command->verb == AMLI_VERB_EVALUATE ||
                    command->verb == AMLI_VERB_PREDICT || command->verb == AMLI_VERB_DATA ||
                    command->verb == AMLI_VERB_GENERATE || command->verb == AMLI_VERB_REPORT ||
                    command->verb == AMLI_VERB_LABELS;
    aml_status status =
        computes ? amli_check_cpu(program->cpu_level, program->cpu_features, error) : AML_OK;
    if (status)
        return status;
    switch (command->verb) {
    case AMLI_VERB_TRAIN:
        return command->find_lr ? amli_find_rate(command, kind, error)
                                : amli_train(command, kind, error);
    case AMLI_VERB_EVALUATE:
        return amli_evaluate(command, kind, error);
    case AMLI_VERB_PREDICT:
        return amli_predict(command, kind, error);
    case AMLI_VERB_LABELS:
        return amli_label_report(command, kind, error);
    case AMLI_VERB_GENERATE:
        return amli_generate(command, kind, error);
    case AMLI_VERB_REPORT:
        return amli_report(command, kind, error);
    case AMLI_VERB_PLAN:
        return amli_plan(command, error);
    case AMLI_VERB_DATA:
        if (strcmp(command->argument, "rows") == 0)
            return amli_data_rows(command, error);
        if (strcmp(command->argument, "sheet") == 0)
            return amli_data_sheet(command, kind, error);
        if (strcmp(command->argument, "speed") == 0)
            return amli_data_speed(command, kind, error);
        if (strcmp(command->argument, "head") == 0 || strcmp(command->argument, "stats") == 0)
            return amli_data_look(command, error);
        if (strcmp(command->argument, "check") != 0)
            return amli_fail(error, AML_USAGE,
                             "expected `data check`, `head`, `stats`, `rows`, `sheet` or `speed`, "
                             "found \"%s\"",
                             command->argument);
        return amli_data_check(command, error);
    case AMLI_VERB_INFO:
        return print_info(command);
    case AMLI_VERB_VERSION:
        printf("%s, compiled by %s for %s\n", program->name, program->compiler, program->cpu_level);
        return AML_OK;
    case AMLI_VERB_HELP:
    case AMLI_VERBS:
        amli_help(program, command->name, stdout);
        return AML_OK;
    }
    return AML_INTERNAL;
}

// "error: first line" and the further lines as they are.
static void print_error(const aml_error *error)
{
    bool stopped = error->status == AML_INTERRUPTED || error->status == AML_TERMINATED;
    fprintf(stderr, "%s%s\n", stopped ? "" : "error: ",
            error->text[0] ? error->text : aml_status_meaning(error->status));
}

int amli_program_run(const aml_program *program, int argc, char **argv,
                     const amli_device_kind *kind)
{
    aml_error error = {0};
    amli_command command;
    if (program->abi != AML_PROGRAM_ABI) {
        fprintf(stderr,
                "error: this program speaks version %d of the runtime's interface, and the runtime "
                "%d\n",
                program->abi, AML_PROGRAM_ABI);
        return aml_status_exit_code(AML_INTERNAL);
    }
    aml_status status = amli_command_parse(program, argc, argv, &command, &error);
    if (!status && command.help)
        amli_help(program, command.name, stdout);
    else if (!status)
        status = run_verb(&command, kind, &error);
    amli_command_free(&command);
    if (fflush(stdout) != 0 && !status)
        status = amli_fail(&error, AML_IO, "writing to standard output failed");
    if (status) {
        error.status = status;
        print_error(&error);
    }
    return aml_status_exit_code(status);
}

int aml_program_main(const aml_program *program, int argc, char **argv)
{
    return amli_program_run(program, argc, argv, &amli_device_cpu);
}
