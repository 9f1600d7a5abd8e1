// driver_run.c: everything that a file describes, in order: build, train, evaluate, deploy,
// predict.
//
// A stage has a key, the hash of everything that its result depends on. The key of the last success
// is kept in runs/.amlc/PROGRAM.json; a stage whose key is the same and whose result is still there
// is skipped. Stages are run as the commands that a user would give, so what `run` does can be
// repeated by hand.

#include "driver.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "aml/checkpoint.h"

typedef struct Run {
    Command *command;
    Cx *cx;
    Program *program;
    const char *source, *out; // the .aml file; the folder of the results
    const char *runs, *stamp_path;
    json_t *stamp;
    const char *amlc_hash, *program_hash, *data_hash;
    const char *name, *executable; // of the training program
} Run;

static void skipped(const Run *run, const char *stage, const char *name)
{
    fprintf(stderr, "%s %s: nothing changed since the last time, skipped\n", stage, name);
    (void)run;
}

// ---- keys and stamps

static const char *hash_file(Cx *cx, const char *path)
{
    char *text;
    size_t length;
    if (!path || !file_read(cx->scratch, path, (size_t)1 << 33, &text, &length))
        return NULL;
    const char *hash = sha256_hex(cx, text, length);
    arena_reset(cx->scratch);
    return hash;
}

static const char *hash_texts(Cx *cx, const char *const text[], int count)
{
    Buffer all = {.arena = cx->arena};
    buffer_text(&all, "");
    for (int i = 0; i < count; i++)
        buffer_printf(&all, "%zu:%s,", text[i] ? strlen(text[i]) : 0, text[i] ? text[i] : "");
    return sha256_hex(cx, all.text, all.length);
}

static const char *hash_command(Run *run)
{
    Vec(const char *) text = {0};
    for (int i = 0; i < run->command->define.count; i++)
        vec_push(run->cx->arena, &text, run->command->define.at[i]);
    const char *target = run->command->option[OPTION_TARGET];
    vec_push(run->cx->arena, &text, target ? target : "native");
    return hash_texts(run->cx, text.at, text.count);
}

// The names, sizes and times of everything in a folder: its contents may be large, and what is
// written changes its time.
static void describe_folder(Run *run, const char *path, int depth, Buffer *out)
{
    struct dirent **entry;
    int count = depth < 16 ? scandir(path, &entry, NULL, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        struct stat info;
        const char *inner = arena_printf(run->cx->arena, "%s/%s", path, entry[i]->d_name);
        if (entry[i]->d_name[0] != '.' && stat(inner, &info) == 0) {
            buffer_printf(out, "%s %lld %lld.%09ld\n", inner, (long long)info.st_size,
                          (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
            if (S_ISDIR(info.st_mode))
                describe_folder(run, inner, depth + 1, out);
        }
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
}

// What a source's file holds; of pictures what is in their folder.
static const char *hash_source_file(Run *run, const aml_source *source, int file)
{
    const char *path =
        find_data(run->cx, source_path_text(run->cx, run->program, &source->file[file]));
    struct stat info;
    if (path && source->kind == AML_SOURCE_IMAGE_LIST) {
        const char *slash = strrchr(path, '/');
        path = slash ? arena_text(run->cx->arena, path, (size_t)(slash - path)) : ".";
    }
    if (!path || stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return hash_file(run->cx, path);
    Buffer text = {.arena = run->cx->arena};
    buffer_text(&text, "");
    describe_folder(run, path, 0, &text);
    return sha256_hex(run->cx, text.text, text.length);
}

static const char *hash_data(Run *run)
{
    Vec(const char *) text = {0};
    for (int i = 0; i < run->program->dataset.count; i++) {
        const aml_dataset *table = &run->program->dataset.at[i].table;
        const aml_source *source[] = {&table->source, &table->test};
        for (size_t s = 0; s < COUNT_OF(source); s++)
            for (int f = 0; f < AML_SOURCE_FILES && source[s]->file[f].parts; f++)
                vec_push(run->cx->arena, &text, hash_source_file(run, source[s], f));
    }
    return hash_texts(run->cx, text.at, text.count);
}

static const char *stamped(const Run *run, const char *stage, const char *what)
{
    const char *text = json_string_value(json_object_get(json_object_get(run->stamp, stage), what));
    return text ? text : "";
}

static bool unchanged(const Run *run, const char *stage, const char *key)
{
    return strcmp(stamped(run, stage, "key"), key) == 0;
}

static void set_stamp(Run *run, const char *stage, const char *key, const char *what,
                      const char *value)
{
    json_t *entry = json_object();
    json_object_set_new(entry, "key", json_string(key));
    if (what)
        json_object_set_new(entry, what, json_string(value));
    json_object_set_new(run->stamp, stage, entry);
    const char *partial = arena_printf(run->cx->arena, "%s.part", run->stamp_path);
    if (json_dump_file(run->stamp, partial, JSON_INDENT(2) | JSON_SORT_KEYS) != 0 ||
        rename(partial, run->stamp_path) != 0)
        say(run->command, "warning", "cannot write %s: %s; the stage will run again the next time",
            run->stamp_path, strerror(errno));
}

static void forget_stamp(Run *run, const char *stage)
{
    json_object_del(run->stamp, stage);
}

// ---- stages: an exit code each

static int run_program(Run *run, const char *verb, const char *const more[], bool with_rest)
{
    Vec(const char *) argv = {0};
    Cx *cx = run->cx;
    vec_push(cx->arena, &argv, arena_printf(cx->arena, "./%s", run->name));
    vec_push(cx->arena, &argv, verb);
    for (int i = 0; more && more[i]; i++)
        vec_push(cx->arena, &argv, more[i]);
    for (int i = 0; with_rest && i < run->command->rest.count; i++)
        vec_push(cx->arena, &argv, run->command->rest.at[i]);
    vec_push(cx->arena, &argv, NULL);
    return process_run(cx, argv.at, run->out, PROCESS_SHOW).code;
}

static int stage_build(Run *run)
{
    Cx *cx = run->cx;
    const char *key = hash_texts(
        cx,
        (const char *const[]){run->amlc_hash, run->program->table.source_hash, hash_command(run)},
        3);
    const char *there = hash_file(cx, run->executable);
    if (unchanged(run, "build", key) && there &&
        strcmp(stamped(run, "build", "result"), there) == 0) {
        skipped(run, "build", run->name);
    } else {
        double start = seconds_now();
        forget_stamp(run, "build");
        if (!compile_program(run->command, run->program, run->executable))
            return EXIT_INPUT;
        there = hash_file(cx, run->executable);
        fprintf(stderr, "built %s (%.2f s)\n", run->executable, seconds_now() - start);
        set_stamp(run, "build", key, "result", there);
    }
    run->program_hash = there;
    return EXIT_OK;
}

// The hash of a job's checkpoint, or NULL if there is none that is sound.
static const char *weights_hash(Run *run, const char *job, aml_which which)
{
    aml_checkpoint *checkpoint = NULL;
    aml_error error = {0};
    if (aml_checkpoint_find(run->runs, job, which, NULL, NULL, &checkpoint, &error) != AML_OK)
        return NULL;
    const char *hash = aml_checkpoint_describe(checkpoint)->weights_hash;
    hash = arena_text(run->cx->arena, hash, strlen(hash));
    aml_checkpoint_close(checkpoint);
    return hash;
}

static int count_jobs(const Run *run, aml_job_kind kind)
{
    int count = 0;
    for (int i = 0; i < run->program->job.count; i++)
        count += run->program->job.at[i].table.kind == kind;
    return count;
}

static int stage_train(Run *run, const ProgramJob *whole)
{
    Cx *cx = run->cx;
    const aml_job *job = &whole->table;
    Vec(const char *) text = {0};
    vec_push(cx->arena, &text, run->program_hash);
    vec_push(cx->arena, &text, run->data_hash);
    for (int i = 0; i < run->command->rest.count; i++)
        vec_push(cx->arena, &text, run->command->rest.at[i]);
    for (int i = 0; i < whole->load.count; i++) {
        const aml_load *load = &whole->load.at[i];
        const char *weights = load->job ? weights_hash(run, load->job, load->which) : NULL;
        if (weights)
            vec_push(cx->arena, &text, weights);
    }
    const char *key = hash_texts(cx, text.at, text.count);
    const char *done = arena_printf(cx->arena, "train %s", job->name),
               *begun = arena_printf(cx->arena, "begun %s", job->name);
    const char *last = weights_hash(run, job->name, AML_WHICH_LAST);
    if (unchanged(run, done, key) && last && strcmp(stamped(run, done, "weights"), last) == 0) {
        skipped(run, "train", job->name);
        return EXIT_OK;
    }
    bool resume = unchanged(run, begun, key) && last;
    forget_stamp(run, done);
    set_stamp(run, begun, key, NULL, NULL);
    fprintf(stderr, "train %s%s\n", job->name, resume ? ": it was interrupted, resuming" : "");
    const char *more[4] = {0};
    int count = 0;
    if (count_jobs(run, AML_JOB_TRAIN) > 1)
        more[count++] = job->name;
    if (resume)
        more[count++] = "--resume";
    int code = run_program(run, "train", more, true);
    if (code != EXIT_OK)
        return code;
    last = weights_hash(run, job->name, AML_WHICH_LAST);
    forget_stamp(run, begun);
    set_stamp(run, done, key, "weights", last ? last : "");
    return EXIT_OK;
}

static int stage_evaluate(Run *run, const aml_job *job)
{
    Cx *cx = run->cx;
    const char *trained = run->program->job.at[job->model_job].table.name;
    const char *key = hash_texts(cx,
                                 (const char *const[]){run->program_hash, run->data_hash,
                                                       weights_hash(run, trained, job->which)},
                                 3);
    const char *stage = arena_printf(cx->arena, "evaluate %s", job->name);
    if (unchanged(run, stage, key)) {
        skipped(run, "evaluate", job->name);
        fputs(stamped(run, stage, "output"), stdout);
        fflush(stdout);
        return EXIT_OK;
    }
    forget_stamp(run, stage);
    fprintf(stderr, "evaluate %s\n", job->name);
    const char *program = arena_printf(cx->arena, "./%s", run->name);
    const char *name = count_jobs(run, AML_JOB_EVALUATE) > 1 ? job->name : NULL;
    ProcessResult result = process_run(cx, (const char *const[]){program, "evaluate", name, NULL},
                                       run->out, PROCESS_CAPTURE);
    fputs(result.output, stdout);
    fflush(stdout);
    if (result.code == EXIT_OK)
        set_stamp(run, stage, key, "output", result.output);
    return result.code;
}

static int stage_deploy(Run *run, const ProgramDeploy *deploy)
{
    Cx *cx = run->cx;
    const char *job = run->program->job.at[deploy->job].table.name,
               *output = path_inside(cx, run->out, deploy->name);
    const char *key = hash_texts(
        cx,
        (const char *const[]){run->amlc_hash, run->program->table.source_hash, hash_command(run),
                              run->data_hash, weights_hash(run, job, deploy->which)},
        5);
    const char *stage = arena_printf(cx->arena, "deploy %s", deploy->name),
               *there = hash_file(cx, output);
    if (unchanged(run, stage, key) &&
        (!(deploy->emit >> DEPLOY_EXECUTABLE & 1) ||
         (there && strcmp(stamped(run, stage, "result"), there) == 0))) {
        skipped(run, "deploy", deploy->name);
        return EXIT_OK;
    }
    forget_stamp(run, stage);
    Vec(const char *) argv = {0};
    const char *first[] = {
        "/proc/self/exe", "deploy",  run->source,
        deploy->name,     "-o",      output,
        "--runs",         run->runs, run->command->color ? "--color=always" : "--color=never"};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        vec_push(cx->arena, &argv, first[i]);
    if (run->command->option[OPTION_TARGET])
        vec_push(cx->arena, &argv,
                 arena_printf(cx->arena, "--target=%s", run->command->option[OPTION_TARGET]));
    for (int i = 0; i < run->command->define.count; i++)
        vec_push(cx->arena, &argv, arena_printf(cx->arena, "-D%s", run->command->define.at[i]));
    vec_push(cx->arena, &argv, NULL);
    int code = process_run(cx, argv.at, NULL, PROCESS_SHOW).code;
    if (code == EXIT_OK) {
        there = hash_file(cx, output);
        set_stamp(run, stage, key, "result", there ? there : "");
    }
    return code;
}

// Only where it is clear whose predictions are meant, and where there are any: a step of its own
// may train several models.
static int stage_predict(Run *run)
{
    int predicting = 0;
    for (int i = 0; i < run->program->job.count; i++)
        predicting += run->program->job.at[i].table.kind == AML_JOB_TRAIN &&
                      run->program->job.at[i].predict.ir;
    if (count_jobs(run, AML_JOB_TRAIN) != 1 || predicting != 1)
        return EXIT_OK;
    fprintf(stderr, "predict: held-out rows, which the training has not seen\n");
    return run_program(run, "predict", (const char *const[]){"--held_out", "8", NULL}, false);
}

static int stage_generate(Run *run, const aml_job *job)
{
    fprintf(stderr, "%s: what the trained model writes\n", job->name);
    return run_program(run, "generate", (const char *const[]){job->name, NULL}, false);
}

static int run_stages(Run *run)
{
    const Program *program = run->program;
    int code = stage_build(run);
    for (int i = 0; i < program->job.count && code == EXIT_OK; i++)
        if (program->job.at[i].table.kind == AML_JOB_TRAIN)
            code = stage_train(run, &program->job.at[i]);
    for (int i = 0; i < program->job.count && code == EXIT_OK; i++)
        if (program->job.at[i].table.kind == AML_JOB_EVALUATE)
            code = stage_evaluate(run, &program->job.at[i].table);
    for (int i = 0; i < program->deploy.count && code == EXIT_OK; i++)
        code = stage_deploy(run, &program->deploy.at[i]);
    if (code != EXIT_OK || count_jobs(run, AML_JOB_GENERATE) == 0)
        return code == EXIT_OK ? stage_predict(run) : code;
    for (int i = 0; i < program->job.count && code == EXIT_OK; i++)
        if (program->job.at[i].table.kind == AML_JOB_GENERATE)
            code = stage_generate(run, &program->job.at[i].table);
    return code;
}

// ---- all of it

static bool make_folder(Run *run, const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return true;
    say(run->command, "error", "cannot make the folder %s: %s", path, strerror(errno));
    return false;
}

static bool prepare_folders(Run *run)
{
    Cx *cx = run->cx;
    const char *folder = path_inside(cx, run->runs, ".amlc");
    if (!make_folder(run, run->out) || !make_folder(run, run->runs) || !make_folder(run, folder))
        return false;
    run->stamp_path = arena_printf(cx->arena, "%s/%s.json", folder, run->program->table.name);
    run->stamp = json_load_file(run->stamp_path, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(run->stamp)) { // none yet, or not ours: every stage runs
        json_decref(run->stamp);
        run->stamp = json_object();
    }
    return true;
}

int verb_run(Command *command)
{
    Cx *cx = command->cx;
    const char *out = command->option[OPTION_OUT];
    Run run = {
        .command = command, .cx = cx, .source = command->argument.at[0], .out = out ? out : "."};

    run.program = compile_front(command, run.source);
    if (run.program) {
        check_weights_files(cx, run.program);
    }
    int code = finish_diagnostics(command);
    if (!run.program || code != EXIT_OK)
        return EXIT_INPUT;
    run.runs = out ? arena_printf(cx->arena, "%s/runs", out) : "runs";
    run.name = default_output(run.program);
    run.executable = path_inside(cx, run.out, run.name);
    run.amlc_hash = hash_file(cx, "/proc/self/exe");
    run.data_hash = hash_data(&run);
    if (!prepare_folders(&run))
        return EXIT_INPUT;
    signal(SIGINT,
           SIG_IGN); // the running stage gets it too, writes its checkpoint and says how it ended
    code = run_stages(&run);
    json_decref(run.stamp);
    return code;
}
