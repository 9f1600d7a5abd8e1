// plan: what each job needs. Nothing is run; the data is read if it is there, because epochs are
// counted in rows.

#include <stdio.h>
#include <string.h>

#include "runtime/data/drawing.h"
#include "runtime/job/job.h"

typedef struct Planned {
    const aml_job *job;
    amli_need need;
    bool has_data;
    int64_t rows[AML_PART_TEST + 1];
    size_t data;
    double epoch_steps;
    int64_t steps; // -1: not known
    size_t checkpoint;
    int kept;
    double flops;
} Planned;

static aml_status plan_job(const amli_command *command, const aml_job *job, Planned *plan,
                           char *why, size_t room, aml_error *error)
{
    const aml_dataset *dataset = &command->program->dataset[job->data];
    amli_paths paths;
    amli_load load;
    amli_samples *samples = NULL;
    *plan =
        (Planned){.job = job, .need = amli_job_need(job), .steps = -1, .flops = job->step.flops};
    aml_status status = amli_load_options(command, dataset, &load, &paths, error);
    if (!status)
        status = amli_samples_load(dataset, &load, amli_threads(command), &samples, error);
    if (!status && job->kind == AML_JOB_TRAIN)
        status = amli_samples_draw(samples, &job->sampling,
                                   command->has_seed ? command->seed : job->seed, NULL, error);
    if (status && status != AML_NOT_FOUND) {
        amli_samples_free(samples);
        return status;
    }
    if (status) {
        snprintf(why, room, "%s", error->text);
    } else {
        plan->has_data = true;
        memcpy(plan->rows, samples->split.rows, sizeof plan->rows);
        plan->data = amli_data_bytes(command, job, samples);
        plan->epoch_steps =
            job->batch > 0 ? (double)amli_epoch_samples(samples) / (double)job->batch : 0;
        amli_samples_free(samples);
    }
    if (job->kind == AML_JOB_TRAIN) {
        double value;
        aml_unit unit;
        amli_quantity_value(command, &job->length, &value, &unit);
        if (plan->has_data || unit == AML_UNIT_STEPS)
            plan->steps = amli_total_steps(command, job, plan->epoch_steps);
        plan->checkpoint = amli_checkpoint_bytes(job);
        plan->kept = amli_checkpoints_kept(job);
    }
    return AML_OK;
}

static void row(const char *name, double bytes, const char *note)
{
    char text[32];
    printf("  %-22s %14.0f  %10s  %s\n", name, bytes, amli_bytes_text(bytes, text, sizeof text),
           note);
}

static void print_plan(const Planned *plan, const char *why)
{
    const aml_job *job = plan->job;
    const amli_need *need = &plan->need;
    printf("%s %s (%s), batch %lld\n", amli_job_kind(job), job->name, job->place ? job->place : "?",
           (long long)job->batch);
    row("state", (double)need->state, "");
    static const char *const role[] = {"  weights", "  model state", "  optimizer", "  metrics",
                                       "  caches"};
    for (int i = 0; i < AML_ROLES; i++)
        if (need->role[i])
            row(role[i], (double)need->role[i], "");
    if (need->snapshot)
        row("snapshots", (double)need->snapshot,
            "of the state, from which checkpoints are written");
    row("temporaries", (double)need->arena, "the largest of:");
    const aml_function *const phase[] = {
        &job->init,          &job->step,    &job->eval,      &job->eval_one, &job->metrics_reset,
        &job->metrics_value, &job->predict, &job->validated, &job->decode,   &job->prompt};
    static const char *const phase_name[] = {"  init",          "  step",
                                             "  eval",          "  eval of one row",
                                             "  metrics reset", "  metrics",
                                             "  predict",       "  after a validation",
                                             "  one token",     "  a part of the prompt"};
    for (size_t i = 0; i < AMLI_COUNT(phase); i++)
        if (phase[i]->run)
            row(phase_name[i], (double)phase[i]->arena_bytes, "");
    row("batches", (double)need->batch, "inputs and outputs");
    if (plan->has_data)
        row("data", (double)plan->data, "prepared rows and their order");
    row("in all", (double)(need->state + need->snapshot + need->arena + need->batch + plan->data),
        plan->has_data ? "" : "without the data");
    if (plan->has_data)
        printf("  rows: %lld train, %lld valid, %lld test\n", (long long)plan->rows[AML_PART_TRAIN],
               (long long)plan->rows[AML_PART_VALID], (long long)plan->rows[AML_PART_TEST]);
    else
        printf("  rows: not known: %s\n", why);
    if (job->kind != AML_JOB_TRAIN)
        return;
    char each[32], all[32];
    if (plan->steps >= 0)
        printf("  steps: %lld, of %.3g Mflop each\n", (long long)plan->steps, plan->flops / 1e6);
    else
        printf("  steps: as many as the time allows, or not known without the data\n");
    printf("  disk: a checkpoint takes %s; %d at most are kept, %s\n",
           amli_bytes_text((double)plan->checkpoint, each, sizeof each), plan->kept,
           amli_bytes_text((double)plan->checkpoint * (plan->kept + 1), all, sizeof all));
}

static aml_status print_json(const Planned *plan, aml_error *error)
{
    amli_buffer text = {0};
    amli_buffer_printf(&text, "{\"job\": ");
    amli_json_text(&text, plan->job->name);
    amli_buffer_printf(
        &text,
        ", \"batch\": %lld, \"state\": %zu, \"snapshot\": %zu, \"arena\": %zu, \"batches\": %zu, "
        "\"data\": %zu, \"weights\": %zu, \"model_state\": %zu, "
        "\"optimizer\": %zu, \"metrics\": %zu, \"checkpoint\": %zu, "
        "\"checkpoints_kept\": %d, \"steps\": %lld, \"flops_per_step\": %.0f",
        (long long)plan->job->batch, plan->need.state, plan->need.snapshot, plan->need.arena,
        plan->need.batch, plan->data, plan->need.role[AML_ROLE_WEIGHT],
        plan->need.role[AML_ROLE_STATE], plan->need.role[AML_ROLE_OPTIMIZER],
        plan->need.role[AML_ROLE_METRIC], plan->checkpoint, plan->kept, (long long)plan->steps,
        plan->flops);
    if (plan->has_data)
        amli_buffer_printf(&text, ", \"rows\": {\"train\": %lld, \"valid\": %lld, \"test\": %lld}",
                           (long long)plan->rows[AML_PART_TRAIN],
                           (long long)plan->rows[AML_PART_VALID],
                           (long long)plan->rows[AML_PART_TEST]);
    amli_buffer_printf(&text, "}");
    aml_status status = text.failed ? amli_no_memory(error, text.length, "the plan") : AML_OK;
    if (!status)
        puts(text.text);
    amli_buffer_free(&text);
    return status;
}

aml_status amli_plan(const amli_command *command, aml_error *error)
{
    const aml_program *program = command->program;
    int done = 0;
    for (int i = 0; i < program->jobs; i++) {
        Planned plan;
        char why[AML_ERROR_ROOM] = "";
        if (command->argument && strcmp(command->argument, program->job[i].name) != 0)
            continue;
        aml_status status = plan_job(command, &program->job[i], &plan, why, sizeof why, error);
        if (!status && command->json)
            status = print_json(&plan, error);
        else if (!status)
            print_plan(&plan, why);
        if (status)
            return status;
        done++;
    }
    const aml_job *none;
    return done || !command->argument
               ? AML_OK
               : amli_find_job(command, AML_JOB_TRAIN, command->argument, &none, error);
}
