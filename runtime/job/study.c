// Cross-validations and learning curves.
//
// A study has a folder like a run, and in it one for each training, fold-2 or share-10-fold-2, in
// which that training's run lies as usual. A training knows its fold by the rows that it is given,
// and its checkpoints by the fingerprint of these, so nothing of it depends on which folds were
// trained before or in which process. What is complete has a result.json: a study that was ended
// goes on with the training that it was in, at that one's newest checkpoint.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/study.h"

enum { WEIGHTS = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE };

int amli_study_folds(const amli_study *study)
{
    return study->folds > 0 ? study->folds : 1;
}

int amli_study_shares(const amli_study *study)
{
    return study->shares > 0 ? study->shares : 1;
}

static amli_fold fold_of(const amli_study *study, int share, int fold)
{
    return (amli_fold){.index = study->folds > 0 ? fold : 0,
                       .count = study->folds,
                       .part = study->part,
                       .share = study->shares > 0 ? study->share[share] : 0};
}

// "fold-2", "share-10", "share-10-fold-2"
static void label_of(const amli_study *study, int share, int fold, char label[64])
{
    char of_share[32] = "", of_fold[32] = "";
    if (study->shares > 0)
        snprintf(of_share, sizeof of_share, "share-%g", study->share[share] * 100);
    if (study->folds > 0)
        snprintf(of_fold, sizeof of_fold, "%sfold-%d", *of_share ? "-" : "", fold + 1);
    snprintf(label, 64, "%s%s", of_share, of_fold);
}

// ---- study.json: what the study is of, and what it was begun with

static json_t *settings_json(const amli_study *study)
{
    const amli_command *command = study->command;
    const aml_program *program = command->program;
    json_t *settings = json_object(), *options = json_object(), *shares = json_array();
    for (int i = 0; i < program->options; i++)
        if (command->given[i])
            json_object_set_new(options, program->option[i].name, json_string(command->given[i]));
    for (int i = 0; i < study->shares; i++)
        json_array_append_new(shares, json_real(study->share[i]));
    json_object_set_new(settings, "job", json_string(study->job->name));
    json_object_set_new(settings, "training", json_string(study->trained->name));
    json_object_set_new(settings, "source_hash", json_string(program->source_hash));
    json_object_set_new(settings, "part",
                        json_string(study->part == AML_PART_TEST ? "test" : "valid"));
    json_object_set_new(settings, "folds", json_integer(study->folds));
    json_object_set_new(settings, "curve", shares);
    if (command->has_seed)
        json_object_set_new(settings, "seed", json_integer(command->seed));
    json_object_set_new(settings, "options", options);
    return settings;
}

// What was given when the study was begun holds, and what differs now is refused: its trainings
// would not belong together.
static aml_status check_settings(const amli_study *study, const char *path, aml_error *error)
{
    char *text;
    size_t length;
    aml_status status = amli_read_file(path, &text, &length, error);
    if (status)
        return status;
    json_error_t why;
    json_t *was = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why),
           *now = settings_json(study);
    static const char *const compared[] = {"job",   "training", "source_hash", "part",
                                           "folds", "curve",    "seed",        "options"};
    if (!json_is_object(was))
        status = amli_fail(error, AML_BAD_CHECKPOINT, "%s is not JSON: %s", path, why.text);
    for (size_t i = 0; i < AMLI_COUNT(compared) && !status; i++) {
        json_t *a = json_object_get(was, compared[i]), *b = json_object_get(now, compared[i]);
        if (a == b || json_equal(a, b))
            continue;
        char *before = a ? json_dumps(a, JSON_ENCODE_ANY | JSON_COMPACT) : NULL,
             *after = b ? json_dumps(b, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        status = amli_fail(error, AML_INVALID,
                           "%s was begun with another '%s', so it cannot go on\n  it was %.200s, "
                           "and is %.200s now\nhelp: give the same options, or begin a new one "
                           "without --resume",
                           study->folder, compared[i], before ? before : "not given",
                           after ? after : "not given");
        free(before), free(after);
    }
    json_decref(was), json_decref(now);
    free(text);
    return status;
}

static aml_status open_study(amli_study *study, aml_error *error)
{
    const amli_command *command = study->command;
    aml_status status =
        command->resume ? amli_run_find(command->runs, study->job->name, command->resume_run, false,
                                        study->folder, error)
                        : amli_run_create(command->runs, study->job->name, study->folder, error);
    char path[PATH_MAX];
    if (!status)
        status = amli_join(path, sizeof path, study->folder, "study.json", error);
    if (status)
        return status;
    if (command->resume && amli_exists(path))
        return check_settings(study, path, error);
    if (command->resume)
        return amli_fail(error, AML_NOT_FOUND,
                         "%s is no cross-validation or learning curve: it has no study.json",
                         study->folder);
    json_t *settings = settings_json(study);
    char *text = json_dumps(settings, JSON_INDENT(2));
    status = text ? amli_replace_file(study->folder, "study.json", text, strlen(text), error)
                  : amli_no_memory(error, 0, "study.json");
    free(text);
    json_decref(settings);
    return status;
}

// ---- one training

// A training resumes with the options of its checkpoint, which it puts into the command: one of its
// own for each.
static aml_status copy_command(const amli_command *from, amli_command *to, aml_error *error)
{
    size_t options = (size_t)from->program->options + 1;
    *to = *from;
    to->value = malloc(options * sizeof *to->value);
    to->unit = malloc(options * sizeof *to->unit);
    to->text = malloc(options * sizeof *to->text);
    to->given = malloc(options * sizeof *to->given);
    if (!to->value || !to->unit || !to->text || !to->given) {
        amli_command_free(to);
        return amli_no_memory(error, options * sizeof *to->value, "the options");
    }
    memcpy(to->value, from->value, (options - 1) * sizeof *to->value);
    memcpy(to->unit, from->unit, (options - 1) * sizeof *to->unit);
    memcpy(to->text, from->text, (options - 1) * sizeof *to->text);
    memcpy(to->given, from->given, (options - 1) * sizeof *to->given);
    return AML_OK;
}

aml_status amli_study_command(const amli_command *from, const aml_job *trained, amli_fold fold,
                              const char *folder, amli_command *command, aml_error *error)
{
    aml_status status = copy_command(from, command, error);
    command->argument = trained->name;
    command->runs = folder;
    command->resume = false;
    command->resume_run = NULL;
    command->fold = fold;
    return status;
}

aml_status amli_study_train(const amli_command *from, const aml_job *trained, const char *again,
                            amli_fold fold, const char *folder, const amli_device_kind *kind,
                            aml_error *error)
{
    amli_command command;
    char run[PATH_MAX];
    aml_error none;
    aml_status status = amli_study_command(from, trained, fold, folder, &command, error);
    if (status)
        return status;
    command.verb = AMLI_VERB_TRAIN;
    command.resume = amli_run_find(folder, trained->name, NULL, false, run, &none) == AML_OK;
    command.quiet = command.quiet || command.json;
    command.json = false;
    status = amli_train(&command, kind, error);
    amli_command_free(&command);
    bool elsewhere = strcmp(from->runs, "runs") != 0;
    if (status == AML_INTERRUPTED || status == AML_TERMINATED)
        return amli_fail(error, status,
                         "interrupted; what was trained is kept\nhelp: go on with `%s %s "
                         "--resume%s%s`",
                         from->name, again, elsewhere ? " --runs " : "",
                         elsewhere ? from->runs : "");
    return status;
}

static aml_status train_once(const amli_study *study, amli_fold fold, const char *folder,
                             const amli_device_kind *kind, aml_error *error)
{
    char again[300];
    snprintf(again, sizeof again, "evaluate %s", study->job->name);
    return amli_study_train(study->command, study->trained, again, fold, folder, kind, error);
}

static aml_status measure_session(amli_study *study, amli_session *session, int share, int fold,
                                  const aml_checkpoint *checkpoint, const char *folder,
                                  aml_error *error)
{
    const amli_split *split = &session->samples->split;
    int64_t step = aml_checkpoint_describe(checkpoint)->step;
    amli_measured measured = {0}, on_training = {0};
    char *text = NULL;
    if (split->rows[study->part] == 0)
        return amli_fail(error, AML_BAD_DATA, "no rows are left to measure on");
    aml_status status = amli_load_state(study->job, aml_checkpoint_weights(checkpoint), WEIGHTS,
                                        session->device, session->state, error);
    if (!status)
        status = amli_measure(session, split->row[study->part], split->rows[study->part], step,
                              &measured, error);
    if (!status && study->shares > 0)
        status = amli_measure(session, split->row[AML_PART_TRAIN], split->rows[AML_PART_TRAIN],
                              step, &on_training, error);
    if (!status)
        status =
            amli_study_text(study, share, fold, &measured, study->shares > 0 ? &on_training : NULL,
                            split->rows[AML_PART_TRAIN], session->samples->source, &text, error);
    if (!status)
        status = amli_replace_file(folder, "result.json", text, strlen(text), error);
    if (!status)
        status = amli_study_read("result.json", text, strlen(text),
                                 &study->result[share * amli_study_folds(study) + fold], error);
    free(text);
    amli_measured_free(&measured);
    if (study->shares > 0)
        amli_measured_free(&on_training);
    return status;
}

static aml_status measure_once(amli_study *study, int share, int fold, const char *folder,
                               const amli_device_kind *kind, amli_log *log, aml_error *error)
{
    amli_command command;
    amli_session session;
    aml_checkpoint *checkpoint = NULL;
    char run[PATH_MAX];
    aml_status status = copy_command(study->command, &command, error);
    if (status)
        return status;
    command.fold = fold_of(study, share, fold);
    status = amli_run_find(folder, study->trained->name, NULL, true, run, error);
    if (!status)
        status = amli_run_open(run, study->which, amli_log_notice, log, &checkpoint, error);
    if (!status)
        status = amli_check_state(study->job, aml_checkpoint_weights(checkpoint), WEIGHTS, false,
                                  aml_checkpoint_path(checkpoint), error);
    if (!status)
        status = amli_session_open(&command, study->job, kind, &session, error);
    if (!status) {
        status = amli_statistics_load(session.dataset, aml_checkpoint_weights(checkpoint),
                                      aml_checkpoint_path(checkpoint), &session.statistic, error);
        if (!status)
            status = amli_session_load(&session, log, error);
        if (!status)
            status = measure_session(study, &session, share, fold, checkpoint, folder, error);
        amli_session_close(&session);
    }
    aml_checkpoint_close(checkpoint);
    amli_command_free(&command);
    return status;
}

// A training that is complete is read, the others are trained and measured.
static aml_status do_part(amli_study *study, int share, int fold, const amli_device_kind *kind,
                          amli_log *log, aml_error *error)
{
    char label[64], folder[PATH_MAX], path[PATH_MAX], *text;
    size_t length;
    label_of(study, share, fold, label);
    aml_status status = amli_join(folder, sizeof folder, study->folder, label, error);
    if (!status)
        status = amli_join(path, sizeof path, folder, "result.json", error);
    if (status)
        return status;
    int index = share * amli_study_folds(study) + fold;
    if (amli_exists(path)) {
        status = amli_read_file(path, &text, &length, error);
        if (status)
            return status;
        status = amli_study_read(path, text, length, &study->result[index], error);
        free(text);
        return status;
    }
    amli_log_line(log, "%s: %s", study->job->name, label);
    status = train_once(study, fold_of(study, share, fold), folder, kind, error);
    if (!status)
        status = measure_once(study, share, fold, folder, kind, log, error);
    return status && status != AML_INTERRUPTED && status != AML_TERMINATED
               ? amli_prefix(error, "%s", label)
               : status;
}

// Trainings on different data have no mean.
static aml_status check_data(const amli_study *study, int count, aml_error *error)
{
    for (int i = 1; i < count; i++) {
        json_t *a = json_object_get(study->result[0], "data"),
               *b = json_object_get(study->result[i], "data");
        if (!json_equal(a, b))
            return amli_fail(error, AML_BAD_DATA,
                             "the data changed while %s was in progress: its first training read "
                             "data with the SHA-256 %.16s..., a later one %.16s...\nhelp: bring "
                             "the data back, or begin a new one",
                             study->folder, json_string_value(a), json_string_value(b));
    }
    return AML_OK;
}

static aml_status check_study(const amli_study *study, aml_error *error)
{
    const aml_program *program = study->command->program;
    const aml_dataset *dataset = &program->dataset[study->job->data];
    if (study->part != AML_PART_VALID && study->part != AML_PART_TEST)
        return amli_fail(error, AML_USAGE,
                         "'%s' measures the part that its training sees; folds and curves need one "
                         "that is held out",
                         study->job->name);
    if (study->job->data != study->trained->data)
        return amli_fail(error, AML_USAGE,
                         "'%s' measures on another data set ('%s') than '%s' is trained on",
                         study->job->name, dataset->name, study->trained->name);
    return AML_OK;
}

aml_status amli_study_run(amli_study *study, const amli_device_kind *kind, amli_log *log,
                          aml_error *error)
{
    int folds = amli_study_folds(study), shares = amli_study_shares(study), count = folds * shares;
    double began = amli_seconds();
    study->result = calloc((size_t)count, sizeof(json_t *));
    aml_status status = study->result
                            ? check_study(study, error)
                            : amli_no_memory(error, (size_t)count * sizeof(json_t *), "the folds");
    if (!status)
        status = open_study(study, error);
    for (int s = 0; s < shares && !status; s++)
        for (int f = 0; f < folds && !status; f++) {
            status = do_part(study, s, f, kind, log, error);
            if (!status)
                status = check_data(study, s * folds + f + 1, error);
        }
    study->seconds = amli_seconds() - began;
    if (!status)
        status = amli_study_finish(study, error);
    for (int i = 0; i < count && study->result; i++)
        json_decref(study->result[i]);
    free(study->result);
    return status;
}
