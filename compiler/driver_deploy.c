// driver_deploy.c: from a deploy block and a checkpoint to a program with the weights inside,
// compared with the training program before anybody gets it.

#include "driver_deploy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "driver_compare.h"

enum { COMPARED_ROWS = 2000 };

static void notice(void *self, const char *text)
{
    say(self, "warning", "%s", text);
}

// ---- the checkpoint

static bool open_checkpoint(Deployment *d)
{
    aml_error error = {0};
    const char *job = d->job->table.name;
    const char *runs = d->request->runs;
    if (aml_checkpoint_find(runs, job, d->deploy->which, notice, d->command, &d->checkpoint,
                            &error) != AML_OK) {
        say(d->command, "error",
            "deploy %s needs the trained weights of %s: %s\nTrain first: %s builds the program, "
            "./%s train trains it",
            d->deploy->name, job, error.text,
            arena_printf(d->cx->arena, "`amlc build %s`", d->request->source),
            d->program->table.name);
        return false;
    }
    const aml_tensors *tensors = aml_checkpoint_weights(d->checkpoint);
    for (int i = 0; i < aml_tensors_count(tensors); i++) {
        const aml_tensor_info *info = aml_tensors_info(tensors, i);
        vec_push(d->cx->arena, &d->weight,
                 ((Weight){info->name, info->dtype, info->shape, aml_tensors_data(tensors, i)}));
    }
    return true;
}

void deploy_count_weights(Deployment *d)
{
    for (int i = 0; i < d->job->state.count; i++) {
        const aml_state_info *info = &d->job->state.at[i].info;
        if (info->role != AML_ROLE_WEIGHT && info->role != AML_ROLE_STATE)
            continue;
        int64_t elements = aml_shape_elements(&info->tensor.shape);
        d->artifact.weights_bytes += (size_t)elements * aml_dtype_bytes(info->tensor.dtype);
        d->artifact.parameters += info->role == AML_ROLE_WEIGHT ? elements : 0;
    }
}

// ---- the functions

// The module keeps only what the deployed program runs.
void deploy_keep_only(Deployment *d)
{
    IrModule *module = d->program->module;
    Program *program = d->program;
    Map drop = {0};
#define DROP(entry)                                                                                \
    ((entry).ir ? map_put(d->cx->arena, &drop, (entry).ir->name, (entry).ir) : (void)0)
    for (int i = 0; i < program->dataset.count; i++)
        DROP(program->dataset.at[i].prepare), DROP(program->dataset.at[i].augment),
            DROP(program->dataset.at[i].generate[0]), DROP(program->dataset.at[i].generate[1]),
            DROP(program->dataset.at[i].generate[2]);
    for (int i = 0; i < program->dataset.count; i++)
        for (int f = 0; f < program->dataset.at[i].fit.count; f++) {
            const ProgramFit *fit = &program->dataset.at[i].fit.at[f];
            DROP(fit->start), DROP(fit->step), DROP(fit->finish);
        }
    for (int i = 0; i < program->job.count; i++) {
        const ProgramJob *job = &program->job.at[i];
        DROP(job->init), DROP(job->step), DROP(job->metrics_reset), DROP(job->eval),
            DROP(job->eval_one), DROP(job->metrics_value), DROP(job->predict), DROP(job->validated);
        if (i != d->deploy->generator)
            DROP(job->decode), DROP(job->prompt);
    }
    for (int i = 0; i < program->deploy.count; i++)
        for (int p = 0; p < program->deploy.at[i].predict.count; p++)
            if (&program->deploy.at[i] != d->deploy)
                DROP(program->deploy.at[i].predict.at[p]);
#undef DROP
    int kept = 0;
    for (int i = 0; i < module->function.count; i++)
        if (map_get(&drop, module->function.at[i]->name) != module->function.at[i])
            module->function.at[kept++] = module->function.at[i];
    module->function.count = kept;
}

// The label's column may be what made the first row a header; the deployed program does not know of
// it any more.
static aml_header has_header(const aml_dataset *table)
{
    if (table->source.header != AML_HEADER_AUTO)
        return table->source.header;
    for (int i = 0; i < table->fields; i++)
        if (table->field[i].column)
            return AML_HEADER_AUTO;
    return AML_HEADER_NO;
}

// Samples of any source are given as csv to a deployed program.
static char separator_of(const Deployment *d)
{
    char separator = d->data->table.source.separator;
    return separator ? separator : ',';
}

// How the rows are written that are compared: see choose_rows.
static CsvForm form_of(const Deployment *d)
{
    const aml_source *source = &d->data->table.source;
    return (CsvForm){separator_of(d), source->comment, source->literal_quotes};
}

static bool prunes(const Deployment *d)
{
    return d->deploy->prune.span.file != 0;
}

static bool quantizes(const Deployment *d)
{
    return d->deploy->quantize.span.file != 0;
}

// A norm is then an addition in the kernel of the product before it. Where operands are rounded to
// 16 bits, other weights would be rounded in another way than those that were trained.
static bool fold_norms(Deployment *d)
{
    Artifact *artifact = &d->artifact;
    bool mixed = false;
    for (int i = 0; i < artifact->predict.count; i++)
        mixed |= artifact->predict.at[i].ir->mixed;
    if (mixed)
        return true;
    if (!passes_run(d->cx, d->program->module, "dce", NULL, NULL))
        return false;
    for (int i = 0; i < artifact->predict.count; i++) {
        freeze_loops(artifact->predict.at[i].ir, false);
        quant_fold_norms(artifact->predict.at[i].ir);
    }
    return true;
}

// The predict functions with weights alone in small integers or halves.
static bool store_weights(Deployment *d)
{
    Cx *cx = d->cx;
    if (!passes_run(cx, d->program->module, "inline", NULL, NULL))
        return false;
    int count = d->artifact.predict.count;
    StoredRun *run = NEW_ARRAY(cx->arena, StoredRun, count + 1);
    for (int i = 0; i < count; i++)
        run[i] = (StoredRun){d->artifact.predict.at[i].ir, &d->artifact.predict.at[i]};
    d->exact = ir_clone_function(run[0].fn, NULL, sym_of(cx, "exact"));
    if (!deploy_store(d, run, count, 1))
        return false;
    d->rounded = ir_clone_function(run[0].fn, NULL, sym_of(cx, "rounded"));
    return true;
}

static bool make_functions(Deployment *d, ObjectCode *object)
{
    Cx *cx = d->cx;
    const aml_checkpoint_info *info = aml_checkpoint_describe(d->checkpoint);
    Artifact *artifact = &d->artifact;
    *artifact = (Artifact){
        .name = d->deploy->name,
        .doc = d->deploy->doc,
        .source_hash = d->program->table.source_hash,
        .weights_hash = arena_text(cx->arena, info->weights_hash, strlen(info->weights_hash)),
        .data_fingerprint =
            arena_text(cx->arena, info->data_fingerprint, strlen(info->data_fingerprint)),
        .source = &d->data->table.source,
        .separator = separator_of(d),
        .header = has_header(&d->data->table)};
    bool good = !prunes(d) || deploy_prune(d);
    for (int i = 0; i < d->deploy->predict.count; i++) {
        Entry entry = d->deploy->predict.at[i];
        good = good &&
               freeze_weights(cx, entry.ir, d->job, d->weight.at, d->weight.count, d->deploy->span);
        if (good)
            freeze_scalars(entry.ir, &entry, d->program);
        vec_push(cx->arena, &artifact->predict, entry);
        vec_push(cx->arena, &artifact->batch, d->deploy->batch.at[i]);
    }
    if (!good)
        return false;
    if (!freeze_prepare(cx, d->program, d->program->module, d->data, &artifact->predict.at[0],
                        d->weight.at, d->weight.count, d->deploy->span, artifact))
        return false;
    deploy_count_weights(d);
    deploy_keep_only(d);
    if (quantizes(d) && d->deploy->quantize.weights_only) {
        if (!store_weights(d))
            return false;
    } else if (quantizes(d)) {
        for (int i = 0; i < artifact->predict.count; i++)
            artifact->predict.at[i].ir->mixed = false; // rounding to bytes is coarser
        if (!passes_run(cx, d->program->module, "dce", NULL, NULL) || !deploy_quantize(d))
            return false;
    }
    if (!quantizes(d) && !fold_norms(d))
        return false;
    if (prunes(d) && !quantizes(d))
        d->rounded = ir_clone_function(artifact->predict.at[0].ir, NULL, sym_of(cx, "deployed"));
    if (!passes_run(cx, d->program->module, "inline", NULL, NULL))
        return false;
    deploy_count_products(d);
    if (!passes_run(cx, d->program->module, NULL, NULL, NULL))
        return false;
    size_t plain = deploy_constant_bytes(artifact->predict.at[0].ir, false),
           stored = deploy_constant_bytes(artifact->predict.at[0].ir, true);
    bool packs = d->plan.packs;                              // which is shorter
    size_t worth = d->deploy->small ? plain : plain / 5 * 4; // not for the sake of a few
    d->stores = !packs && stored < plain && stored <= worth;
    if (quantizes(d) || prunes(d) || d->stores)
        artifact->weights_bytes = d->stores ? stored : plain;
    return deploy_compile(d, object);
}

// ---- the comparison

const char *deploy_absolute(Cx *cx, const char *path)
{
    char *real = realpath(path, NULL);
    const char *result = real ? arena_text(cx->arena, real, strlen(real)) : path;
    free(real);
    return result;
}

static const char *predictions(Deployment *d, const char *const argv[], const char *verb);

// Whether fields are tokens of texts, which `data rows` cannot write back.
static bool reads_texts(const aml_dataset *dataset)
{
    for (int i = 0; i < dataset->fields; i++)
        if (dataset->field[i].rule && dataset->field[i].rule->text)
            return true;
    return false;
}

// The rows to compare with, written to a file of their own: the head of the data set's file, or
// what the training program reads from it if that is no csv file.
static const char *choose_rows(Deployment *d, const char *reference, char **text)
{
    Cx *cx = d->cx;
    const CsvForm form = form_of(d);
    bool is_csv = d->data->table.source.kind == AML_SOURCE_CSV;
    if (!d->request->data && !is_csv && reads_texts(&d->data->table)) {
        say(d->command, "error",
            "deploy %s is compared with the training program on texts in a csv file, one a row; "
            "name it with --data",
            d->deploy->name);
        return NULL;
    }
    if (!d->request->data && !is_csv) {
        const char *all = predictions(
            d, (const char *const[]){reference, "data", "rows", "--job", d->job->table.name, NULL},
            "data rows");
        const char *rows = arena_printf(cx->arena, "%s/rows.csv", d->folder);
        const char *some = all ? csv_head(cx, all, COMPARED_ROWS, &form) : NULL;
        *text = some ? arena_text(cx->arena, some, strlen(some)) : NULL;
        return some && deploy_write_text(d, rows, some) ? rows : NULL;
    }
    const char *named = d->request->data
                            ? d->request->data
                            : source_path_text(cx, d->program, &d->data->table.source.file[0]);
    const char *path = d->request->data ? named : find_data(cx, named);
    size_t length;
    if (!path || !file_read(cx->arena, path, (size_t)1 << 31, text, &length)) {
        say(d->command, "error",
            "deploy %s is compared with the training program on rows of '%s', which cannot be "
            "read; name other rows with --data",
            d->deploy->name, named);
        return NULL;
    }
    const char *head = csv_head(cx, *text, COMPARED_ROWS + 1, &form),
               *rows = arena_printf(cx->arena, "%s/rows.csv", d->folder);
    *text = arena_text(cx->arena, head, strlen(head));
    return deploy_write_text(d, rows, head) ? rows : NULL;
}

// The training program, made by the same amlc from the same source.
const char *deploy_reference(Deployment *d)
{
    Cx *cx = d->cx;
    if (d->reference)
        return d->reference;
    const char *output = arena_printf(cx->arena, "%s/reference", d->folder);
    Vec(const char *) argv = {0};
    vec_push(cx->arena, &argv, "/proc/self/exe");
    vec_push(cx->arena, &argv, "build");
    vec_push(cx->arena, &argv, d->request->source);
    vec_push(cx->arena, &argv, "-o");
    vec_push(cx->arena, &argv, output);
    for (int i = 0; i < d->command->define.count; i++) {
        vec_push(cx->arena, &argv, "-D");
        vec_push(cx->arena, &argv, d->command->define.at[i]);
    }
    vec_push(cx->arena, &argv, NULL);
    ProcessResult built = process_run(cx, argv.at, NULL, PROCESS_CAPTURE_BOTH);
    if (built.code == 0)
        return d->reference = output;
    say(d->command, "error", "building the training program for the comparison failed:\n%s",
        built.output);
    return NULL;
}

static const char *predictions(Deployment *d, const char *const argv[], const char *verb)
{
    ProcessResult result = process_run(d->cx, argv, NULL, PROCESS_CAPTURE);
    if (result.code == 0)
        return result.output;
    say(d->command, "error", "`%s %s` failed with code %d", argv[0], verb, result.code);
    return NULL;
}

// The share of rows that both programs get right, or false if the rows have no label: a class that
// is no input, of those that are predicted.
static bool accuracies(Deployment *d, const char *expected, const char *found, const char *rows,
                       double *before, double *after)
{
    const aml_dataset *table = &d->data->table;
    const Entry *entry = &d->artifact.predict.at[0];
    const CsvForm form = form_of(d);
    bool has_header = d->artifact.header != AML_HEADER_NO;
    int prediction = 0;
    while (prediction < entry->output.count &&
           strcmp(entry->output.at[prediction].name, "prediction") != 0)
        prediction++;
    for (int i = 0; i < table->fields && prediction < entry->output.count; i++) {
        const aml_field *field = &table->field[i];
        const aml_tensor_info *answer = &entry->output.at[prediction];
        bool input = false;
        for (int a = 0; a < d->artifact.fields; a++)
            input |= strcmp(d->artifact.field[a].tensor.name, field->tensor.name) == 0;
        if (input || field->tensor.classes == 0 || field->tensor.shape.rank != 0 ||
            field->tensor.classes != answer->classes ||
            field->tensor.class_name != answer->class_name)
            continue;
        *before = accuracy_of(d->cx, expected, rows, &form, has_header, field);
        *after = accuracy_of(d->cx, found, rows, &form, has_header, field);
        return *before >= 0 && *after >= 0;
    }
    return false;
}

bool deploy_over(Deployment *d, const char *what, double limit, double measured,
                 const char *limit_text, const char *measured_text)
{
    if (limit <= 0 || measured <= limit)
        return false;
    report(d->cx, d->deploy->require.file ? d->deploy->require : d->deploy->span,
           requirement_missed, what, limit_text, measured_text);
    return true;
}

// Another order of addition; with operands rounded to bf16 it may decide which way one is rounded.
static double tolerance_of(const Deployment *d)
{
    return quantizes(d) ? 0 : d->deploy->predict.at[0].ir->mixed ? 1e-2 : 1e-4;
}

// The predictions of the code for one level, which must be those that are expected.
static const char *compare_level(Deployment *d, const ArtifactLevel *level, const char *rows,
                                 const char *expected)
{
    const char *found =
        predictions(d,
                    (const char *const[]){deploy_absolute(d->cx, d->executable), "predict", rows,
                                          "--level", level->cpu_level, NULL},
                    "predict");
    if (!found)
        return NULL;
    Comparison result = compare_predictions(d->cx, expected, found, tolerance_of(d));
    if (result.wrong) {
        say(d->command, "error", "%s does not predict what the training program predicts: %s",
            d->deploy->name, result.wrong);
        return NULL;
    }
    fprintf(stderr, "  compared with the training program on %d rows%s%s: worst difference %.3g",
            result.rows, d->artifact.level.count > 1 ? ", code for " : "",
            d->artifact.level.count > 1 ? level->cpu_level : "", result.worst);
    if (quantizes(d) && result.wholes > 0)
        fprintf(stderr, ", %.2f%% of the classes are the same",
                100 * (1 - (double)result.others / (double)result.wholes));
    else if (quantizes(d))
        fprintf(stderr, ", root mean square of all %.2g%% of the values'", 100 * result.noise);
    if (result.ties)
        fprintf(stderr, ", %d class%s of two that are about as likely", result.ties,
                result.ties == 1 ? "" : "es");
    fprintf(stderr, "\n");
    return found;
}

static bool compare(Deployment *d)
{
    Cx *cx = d->cx;
    char *rows_text;
    const char *reference = deploy_reference(d),
               *rows = reference ? choose_rows(d, reference, &rows_text) : NULL;
    if (!rows)
        return false;
    const char *checkpoint =
        deploy_absolute(cx, aml_checkpoint_path(d->finetuned ? d->finetuned : d->checkpoint));
    const char *expected =
        predictions(d,
                    (const char *const[]){reference, "predict", rows, "--checkpoint", checkpoint,
                                          "--job", d->job->table.name, NULL},
                    "predict");
    const char *found = NULL;
    for (int i = 0; expected && i < d->artifact.level.count; i++) {
        const ArtifactLevel *level = &d->artifact.level.at[i];
        if (d->artifact.level.count > 1 && !aml_cpu_has(level->cpu_features)) {
            fprintf(stderr, "  not compared: the code for %s, which this machine lacks\n",
                    level->cpu_level);
            continue;
        }
        found = compare_level(d, level, rows, expected);
        if (!found)
            return false;
    }
    if (!found) {
        if (expected)
            say(d->command, "error",
                "this machine can run none of the code, so it cannot be "
                "compared with the training program");
        return false;
    }
    double before = 0, after = 0;
    bool known;
    if (quantizes(d) || prunes(d)) {
        if (!deploy_accuracy(d, &before, &after) || (prunes(d) && !deploy_saving(d)))
            return false;
        known = before >= 0;
    } else {
        known = accuracies(d, expected, found, rows_text, &before, &after);
    }
    if (known && !quantizes(d) && !prunes(d))
        fprintf(stderr, "  accuracy on these rows: %.2f%% (training program: %.2f%%)\n",
                100 * after, 100 * before);
    double allowed = d->deploy->require_accuracy_drop;
    if (allowed >= 0 && !known) {
        say(d->command, "error",
            "accuracy_drop is required, but the data set has no class field beside the inputs to "
            "measure it with");
        return false;
    }
    return !(allowed >= 0 &&
             deploy_over(d, "accuracy_drop", allowed > 0 ? allowed : 1e-12, before - after,
                         arena_printf(cx->arena, "%.2f pp", 100 * allowed),
                         arena_printf(cx->arena, "%.2f pp", 100 * (before - after))));
}

// ---- the requirements

static aml_function function_sizes(const Entry *entry)
{
    return (aml_function){.name = entry->symbol,
                          .arena_bytes = entry->arena_bytes,
                          .inputs = entry->input.count,
                          .outputs = entry->output.count,
                          .scalars = entry->scalar.count,
                          .input = entry->input.at,
                          .output = entry->output.at,
                          .scalar = entry->scalar.at};
}

// Weights, and what one context needs.
static double memory_of(Deployment *d)
{
    const Artifact *artifact = &d->artifact;
    aml_level *level = NEW_ARRAY(d->cx->arena, aml_level, artifact->level.count + 1);
    for (int l = 0; l < artifact->level.count; l++) {
        const ArtifactLevel *from = &artifact->level.at[l];
        aml_function *predict = NEW_ARRAY(d->cx->arena, aml_function, from->predict.count + 1);
        for (int i = 0; i < from->predict.count; i++)
            predict[i] = function_sizes(&from->predict.at[i]);
        level[l] = (aml_level){.prepare = function_sizes(&from->prepare),
                               .predict = predict,
                               .stored_bytes = from->stored_bytes};
    }
    aml_artifact table = {.abi = AML_PROGRAM_ABI,
                          .name = artifact->name,
                          .levels = artifact->level.count,
                          .level = level,
                          .fields = artifact->fields,
                          .field = artifact->field,
                          .predicts = artifact->predict.count,
                          .predict_batch = artifact->batch.at};
    return (double)(aml_context_bytes(&table) + artifact->weights_bytes);
}

// The median time of one prediction of the smallest batch in seconds; < 0 if it could not be
// measured.
double deploy_latency(Deployment *d)
{
    ProcessResult result = process_run(
        d->cx,
        (const char *const[]){deploy_absolute(d->cx, d->executable), "bench", "--json", NULL}, NULL,
        PROCESS_CAPTURE);
    json_t *json =
        result.code == 0 ? json_loads(result.output, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *median = json_object_get(json_array_get(json, 0), "median_us");
    double seconds = median ? 1e-6 * json_number_value(median) : -1;
    json_decref(json);
    return seconds;
}

enum { LEAST_FIDELITY = 24 }; // dB; below that answers change more than bytes are saved

// Packed weights get shorter as they get coarser: the finest that would fit.
static void tell_fidelity(const Deployment *d, double size)
{
    int now = (int)floor(d->deploy->quantize.fidelity);
    double saved = 0;
    for (int fidelity = now - 1; fidelity >= LEAST_FIDELITY; fidelity--) {
        saved = quant_coarser_saves(&d->plan, d->deploy->quantize.fidelity - fidelity);
        if (size - saved > d->deploy->require_size)
            continue;
        help(d->cx,
             "`int8(..., fidelity: %d.0)` would make it some %s, with coarser weights (now %g)",
             fidelity, size_text(d->cx, size - saved), d->deploy->quantize.fidelity);
        return;
    }
    if (saved > 0)
        help(d->cx, "coarser weights are not enough: with `fidelity: %d.0` it would be some %s",
             LEAST_FIDELITY, size_text(d->cx, size - saved));
}

// What a program that is too large could be made with.
static void tell_what_is_smaller(const Deployment *d, double size)
{
    if (d->plan.packs)
        tell_fidelity(d, size);
    if (!d->deploy->small && !d->plan.packs) // where constants are packed, code is short anyway
        help(d->cx, "`optimize: size` makes programs smaller that are then opened more slowly");
    if (!quantizes(d))
        help(d->cx, "`quantize: int8(calibrate: ...)` keeps weights as bytes");
}

bool deploy_requirements(Deployment *d, double memory, const char *held, const char *unit)
{
    Cx *cx = d->cx;
    const ProgramDeploy *deploy = d->deploy;
    struct stat info;
    double size = stat(d->executable, &info) == 0 ? (double)info.st_size : INFINITY;
    size += (double)d->artifact.weights_file_bytes;
    bool missed = false;

    fprintf(stderr, "  %s, %lld parameters, %s of memory for %s\n", size_text(cx, size),
            (long long)d->artifact.parameters, size_text(cx, memory), held);
    missed |= deploy_over(d, "size", deploy->require_size, size,
                          size_text(cx, deploy->require_size), size_text(cx, size));
    if (missed)
        tell_what_is_smaller(d, size);
    missed |= deploy_over(d, "memory", deploy->require_memory, memory,
                          size_text(cx, deploy->require_memory), size_text(cx, memory));
    if (deploy->require_latency > 0) {
        double latency = deploy_latency(d);
        if (latency < 0) {
            say(d->command, "error", "the latency of %s could not be measured", deploy->name);
            return false;
        }
        fprintf(stderr, "  %.2f us for %s\n", 1e6 * latency, unit);
        missed |= deploy_over(d, "latency", deploy->require_latency, latency,
                              arena_printf(cx->arena, "%.3g ms", 1e3 * deploy->require_latency),
                              arena_printf(cx->arena, "%.3g ms", 1e3 * latency));
    }
    return !missed;
}

// ---- all of it

void deploy_withdraw(Deployment *d)
{
    if (!deploy_emits(d, DEPLOY_EXECUTABLE))
        return;
    unlink(d->request->output);
    if (d->weights_path)
        unlink(d->weights_path);
}

static bool deploy_in_folder(Deployment *d)
{
    ObjectCode object = {0};
    if (d->deploy->generator >= 0)
        return open_checkpoint(d) && deploy_generator(d);
    if (!open_checkpoint(d) || !make_functions(d, &object) || !deploy_executable(d, &object))
        return false;
    const aml_checkpoint_info *info = aml_checkpoint_describe(d->checkpoint);
    fprintf(stderr, "deployed %s from step %lld of %s\n",
            deploy_emits(d, DEPLOY_EXECUTABLE) ? d->request->output : d->artifact.name,
            (long long)info->step, d->job->table.name);
    bool good = deploy_report_stored(d) && compare(d);
    const char *unit =
        arena_printf(d->cx->arena, "a batch of %lld",
                     (long long)(d->deploy->batch.count ? d->deploy->batch.at[0] : 1));
    good = deploy_requirements(d, memory_of(d), "weights and one context", unit) && good;
    if (!good) {
        deploy_withdraw(d);
        return false;
    }
    d->crossing = deploy_is_cross(d->deploy);
    if (d->crossing && !deploy_compile(d, &object))
        return false;
    if (d->crossing && deploy_emits(d, DEPLOY_EXECUTABLE) &&
        (!deploy_write_weights(d) || !deploy_link_executable(d, &object, d->request->output)))
        return false;
    return deploy_libraries(d, &object);
}

static void remove_folder(Cx *cx, const char *folder)
{
    static const char *const made[] = {
        "deployed",  "plain",  "reference",   "rows.csv",          "samples.safetensors",
        "native.so", "pruned", "pruned.json", "pruned.safetensors"};
    for (size_t i = 0; i < COUNT_OF(made); i++)
        unlink(arena_printf(cx->arena, "%s/%s", folder, made[i]));
    const char *runs = arena_printf(cx->arena, "%s/runs", folder);
    if (access(runs, F_OK) == 0)
        process_run(cx, (const char *const[]){"rm", "-r", runs, NULL}, NULL, PROCESS_CAPTURE_BOTH);
    rmdir(folder);
}

static bool asks_for_later(Command *command, const Program *program, const ProgramDeploy *deploy)
{
    // a row of a csv file is one sample to a deployed program, and a window is several
    bool windows = deploy->generator < 0 &&
                   program->dataset.at[program->job.at[deploy->job].table.data].table.window > 0;
    if (windows)
        report(command->cx, deploy->span, cannot_deploy, "a model of windows of rows");
    bool cross = deploy_is_cross(deploy);
    Toolchain tools = cross ? toolchain_find_cross(command->cx) : (Toolchain){.runtime = ""};
    if (!tools.runtime) {
        say(command, "error",
            "%s was not found: amlc was built where there was no compiler for aarch64 (apt-get "
            "install gcc-aarch64-linux-gnu)",
            tools.searched);
        return true;
    }
    const ProgramDataset *data = &program->dataset.at[program->job.at[deploy->job].table.data];
    bool texts = reads_texts(&data->table) && deploy->emit >> DEPLOY_EXECUTABLE & 1;
    if (cross && !tools.whole && (deploy->generator >= 0 || deploy->weights_beside || texts)) {
        say(command, "error",
            "deploy %s: %s for aarch64 needs libraries for it, which were not there when amlc was "
            "built (dpkg --add-architecture arm64; apt-get update; apt-get install "
            "libjansson-dev:arm64 nettle-dev:arm64)",
            deploy->name,
            deploy->generator >= 0 ? "an entry that writes"
            : texts                ? "reading texts"
                                   : "a file with weights");
        return true;
    }
    return windows;
}

int deploy_block(Command *command, Program *program, const ProgramDeploy *deploy,
                 const DeployRequest *request)
{
    Cx *cx = command->cx;
    if (asks_for_later(command, program, deploy))
        return EXIT_INPUT;
    const char *temporary = getenv("TMPDIR");
    char *folder =
        arena_printf(cx->arena, "%s/amlc-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) {
        say(command, "error", "cannot make a temporary folder %s: %s", folder, strerror(errno));
        return EXIT_INPUT;
    }
    const ProgramJob *job = &program->job.at[deploy->job];
    Deployment d = {.command = command,
                    .cx = cx,
                    .program = program,
                    .deploy = deploy,
                    .job = job,
                    .data = &program->dataset.at[job->table.data],
                    .request = request,
                    .folder = folder};
    bool good = deploy_in_folder(&d);
    if (d.artifact.weights_file) // of what was compared, if it was in the folder
        unlink(arena_printf(cx->arena, "%s/%s", folder, d.artifact.weights_file));
    aml_checkpoint_close(d.checkpoint);
    aml_checkpoint_close(d.finetuned);
    remove_folder(cx, folder);
    return good && !diag_errors(cx) ? EXIT_OK : EXIT_INPUT;
}

int verb_deploy(Command *command)
{
    Cx *cx = command->cx;
    const char *path = command->argument.at[0], *name = command->argument.at[1];
    const char *runs = command->option[OPTION_RUNS], *output = command->option[OPTION_OUTPUT];
    Program *program = compile_front(command, path);
    if (!program) {
        finish_diagnostics(command);
        return EXIT_INPUT;
    }
    const char **names = NEW_ARRAY(cx->arena, const char *, program->deploy.count + 1);
    for (int i = 0; i < program->deploy.count; i++) {
        names[i] = program->deploy.at[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        DeployRequest request = {.source = path,
                                 .output = output ? output : name,
                                 .runs = runs ? runs : "runs",
                                 .data = command->option[OPTION_DATA]};
        int code = deploy_block(command, program, &program->deploy.at[i], &request);
        return finish_diagnostics(command) == EXIT_OK ? code : EXIT_INPUT;
    }
    const char *closest = closest_name(name, names, program->deploy.count);
    say(command, "error", "%s has no deploy block '%s'%s%s%s", path, name,
        closest ? "; did you mean '" : "", closest ? closest : "", closest ? "'?" : "");
    return EXIT_USAGE;
}
