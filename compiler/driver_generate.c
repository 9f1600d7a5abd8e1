// driver_generate.c: a deploy block whose entry is a `generate` block: the function of one token
// with the weights inside, compared with the training program on real texts.

#include "driver_deploy.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "quant/rounding.h"
#include "stored.h"

enum {
    COMPARED_TOKENS = 2048,
    COMPARED_BYTES = 256 << 20, // of scores: fewer tokens of a large vocabulary
    LEAST_TOKENS = 32,
};
static const int64_t COMPARED_WORK = 20000000000; // weights times tokens

// ---- the function

static size_t align_up(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

// Only the caches are left of the job's states.
static void lay_out(Deployment *d, Generator *generator)
{
    const ProgramJob *job = generator->job;
    generator->state_offset = NEW_ARRAY(d->cx->arena, size_t, job->state.count + 1);
    for (int i = 0; i < job->state.count; i++) {
        const aml_state_info *info = &job->state.at[i].info;
        if (info->role != AML_ROLE_CACHE)
            continue;
        generator->state_offset[i] = generator->state_bytes;
        generator->state_bytes += align_up((size_t)aml_shape_elements(&info->tensor.shape) *
                                           (size_t)aml_dtype_bytes(info->tensor.dtype));
    }
}

// Where weights are stored short, cached keys and values are too.
static void narrow_caches(Deployment *d, IrFunction *const fn[], int count)
{
    ProgramJob *job = &d->program->job.at[d->deploy->generator];
    bool bf16 = d->deploy->quantize.form == STORED_BF16;
    for (int row = 0; row < job->state.count; row++) {
        bool good = job->state.at[row].info.role == AML_ROLE_CACHE;
        for (int i = 0; i < count; i++)
            good = good && cache_can_narrow(fn[i], row);
        for (int i = 0; good && i < count; i++)
            cache_narrow(fn[i], row, bf16 ? DTYPE_BF16 : DTYPE_F16);
        if (good)
            job->state.at[row].info.tensor.dtype = bf16 ? AML_BF16 : AML_F16;
    }
}

static bool quantized(const Deployment *d)
{
    return d->deploy->quantize.span.file != 0;
}

// The function for each level of processors; generating code changes it.
static bool compile_levels(Deployment *d, Generator *generator, ObjectCode *object)
{
    Cx *cx = d->cx;
    Targets target = {0};
    Vec(ObjectFile) file = {0};
    Shared shared = deploy_begin_weights(d);
    generator->level.count = 0;
    deploy_targets(d, codegen_sums_bytes(d->decode.ir), &target);
    for (int i = 0; i < target.count; i++) {
        Target one = target_of(d->command);
        one.small = d->deploy->small;
        GeneratorLevel level = {.decode = d->decode};
        one.cpu = target.at[i];
        one.shared = target.count > 1 || shared.beside ? &shared : NULL;
        if (shared.objects)
            level.decode.symbol = sym_printf(cx, "%s_l%d", d->decode.symbol, shared.objects);
        level.decode.ir = ir_clone_function(d->decode.ir, NULL, sym_of(cx, level.decode.symbol));
        if (d->prompt.ir) {
            level.prompt = d->prompt;
            level.prompt.symbol = sym_printf(cx, "%s_prompt", level.decode.symbol);
            level.prompt.ir =
                ir_clone_function(d->prompt.ir, NULL, sym_of(cx, level.prompt.symbol));
        }
        EmitEntry entry[] = {{&level.decode, generator->state_offset},
                             {&level.prompt, generator->state_offset}};
        if (!codegen_emit(cx, d->program->module, entry, d->prompt.ir ? 2 : 1, one, NULL, object))
            return false;
        level.cpu_level = object->cpu_level;
        level.cpu_features = object->cpu_features;
        for (int k = 0; k < object->files; k++)
            vec_push(cx->arena, &file, object->file[k]);
        vec_push(cx->arena, &generator->level, level);
    }
    object->files = file.count;
    object->file = file.at;
    deploy_end_weights(d, &shared, &target);
    return true;
}

static bool make_function(Deployment *d, Generator *generator, ObjectCode *object)
{
    Cx *cx = d->cx;
    IrFunction *fn[] = {d->decode.ir, d->prompt.ir};
    Entry *entry[] = {&d->decode, &d->prompt};
    int count = d->prompt.ir ? 2 : 1;
    for (int i = 0; i < count; i++) {
        if (!freeze_weights(cx, fn[i], generator->job, d->weight.at, d->weight.count,
                            d->deploy->span))
            return false;
        freeze_scalars(fn[i], entry[i], d->program);
    }
    if (quantized(d))
        narrow_caches(d, fn, count);
    deploy_count_weights(d);
    deploy_keep_only(d);
    lay_out(d, generator);
    StoredRun run[] = {{fn[0], entry[0]}, {fn[1], entry[1]}};
    if (quantized(d) && (!passes_run(cx, d->program->module, "inline", NULL, NULL) ||
                         !deploy_store(d, run, count, count)))
        return false;
    if (!passes_run(cx, d->program->module, NULL, NULL, NULL))
        return false;
    d->artifact.weights_bytes = deploy_constant_bytes(fn[0], false);
    return compile_levels(d, generator, object);
}

// ---- the files

static bool told(Deployment *d, const char *wrong)
{
    if (wrong)
        say(d->command, "error", "%s", wrong);
    return wrong != NULL;
}

static bool link_executable(Deployment *d, const Generator *generator, const ObjectCode *object)
{
    d->executable =
        deploy_emits(d, DEPLOY_EXECUTABLE) && (d->crossing || !deploy_is_cross(d->deploy))
            ? d->request->output
            : arena_printf(d->cx->arena, "%s/deployed", d->folder);
    LinkRequest request = {.kind = LINK_EXECUTABLE,
                           .tables = tables_of_generator(d->cx, &d->artifact, generator),
                           .object = object,
                           .cross = d->crossing,
                           .output = d->executable};
    return deploy_write_weights(d) && !told(d, toolchain_link(d->cx, &request));
}

// ---- the comparison

static bool ran(Deployment *d, const char *const argv[], const char *verb, ProcessResult *out)
{
    *out = process_run(d->cx, argv, NULL, PROCESS_CAPTURE_BOTH);
    if (out->code)
        say(d->command, "error", "`%s %s` failed with code %d:\n%s", argv[0], verb, out->code,
            out->output);
    return out->code == 0;
}

// What a program says about the samples: all scores go to `path`, the result is the perplexity;
// negative after an error.
static double scores_of(Deployment *d, const char *program, const char *checkpoint,
                        const char *samples, int64_t tokens, const char *path)
{
    Cx *cx = d->cx;
    const char *block = d->program->job.at[d->deploy->generator].table.name;
    const char *argv[] = {program,
                          block,
                          "--quiet",
                          "--score",
                          samples,
                          "--length",
                          arena_printf(cx->arena, "%lld", (long long)tokens),
                          "-o",
                          path,
                          checkpoint ? "--checkpoint" : NULL,
                          checkpoint,
                          NULL};
    ProcessResult done;
    if (!ran(d, argv, block, &done))
        return -1;
    json_t *json = json_loads(done.output, JSON_REJECT_DUPLICATES, NULL);
    double perplexity = json_number_value(json_object_get(json, "perplexity"));
    json_decref(json);
    return perplexity;
}

// The largest difference of two files of f32, relative to the largest of the first; < 0: they
// cannot be compared.
static double difference(Deployment *d, const char *expected, const char *found)
{
    char *a, *b;
    size_t length, other;
    double most = 0, apart = 0;
    if (!file_read(d->cx->arena, expected, (size_t)1 << 31, &a, &length) ||
        !file_read(d->cx->arena, found, (size_t)1 << 31, &b, &other) || length != other)
        return -1;
    for (size_t at = 0; at + sizeof(float) <= length; at += sizeof(float)) {
        float x, y;
        memcpy(&x, a + at, sizeof x);
        memcpy(&y, b + at, sizeof y);
        if (!isfinite(x) || !isfinite(y))
            return INFINITY;
        most = fmax(most, fabs((double)x));
        apart = fmax(apart, fabs((double)x - (double)y));
    }
    return apart / fmax(most, 1e-30);
}

static bool compare(Deployment *d, const Generator *generator)
{
    Cx *cx = d->cx;
    const char *reference = deploy_reference(d);
    if (!reference)
        return false;
    int64_t context = generator->job->table.generation.context, tokens = COMPARED_TOKENS,
            room = COMPARED_BYTES / 4 / generator->tokenizer->vocab;
    tokens = tokens < room ? tokens : room;
    int64_t few = COMPARED_WORK / (d->artifact.parameters + 1); // of a large model
    tokens = tokens < few ? tokens : few < LEAST_TOKENS ? LEAST_TOKENS : few;
    const char *samples = arena_printf(cx->arena, "%s/samples.safetensors", d->folder),
               *expected = arena_printf(cx->arena, "%s/expected.f32", d->folder),
               *found = arena_printf(cx->arena, "%s/found.f32", d->folder),
               *count =
                   arena_printf(cx->arena, "%lld", (long long)((tokens + context - 1) / context));
    const char *argv[] = {reference, "data",     "samples",   "--job", d->job->table.name,
                          "--part",  "held_out", "--samples", count,   "--output",
                          samples,   NULL};
    ProcessResult done;
    if (!ran(d, argv, "data samples", &done))
        return false;
    const char *checkpoint = deploy_absolute(cx, aml_checkpoint_path(d->checkpoint));
    double before = scores_of(d, reference, checkpoint, samples, tokens, expected), after = -1;
    if (before >= 0)
        after = scores_of(d, deploy_absolute(cx, d->executable), NULL, samples, tokens, found);
    double worst = before >= 0 && after >= 0 ? difference(d, expected, found) : -1;
    unlink(samples), unlink(expected), unlink(found);
    if (before < 0 || after < 0)
        return false;
    double allowed = d->decode.ir->mixed != DTYPE_F32 ? 1e-2 : 1e-4;
    if (!(worst >= 0 && worst < INFINITY && (worst <= allowed || quantized(d)))) {
        say(d->command, "error",
            "%s does not give the scores that the training program gives: worst difference %.3g of "
            "the largest score",
            d->deploy->name, worst);
        return false;
    }
    fprintf(stderr,
            "  compared with the training program on %lld tokens that were held out: worst "
            "difference of a score %.3g of the largest\n  perplexity %.4f (training program: "
            "%.4f)\n",
            (long long)tokens, worst, after, before);
    double rise = after / before - 1, limit = d->deploy->require_perplexity_rise;
    return !(limit >= 0 && deploy_over(d, "perplexity_rise", limit > 0 ? limit : 1e-12, rise,
                                       arena_printf(cx->arena, "%.4g%%", 100 * limit),
                                       arena_printf(cx->arena, "%.4g%%", 100 * rise)));
}

// ---- the requirements

static double memory_of(const Deployment *d, const Generator *generator)
{
    const GeneratorLevel *level = &generator->level.at[0];
    size_t arena = level->decode.arena_bytes;
    if (level->prompt.ir && level->prompt.arena_bytes > arena)
        arena = level->prompt.arena_bytes;
    return (double)(d->artifact.weights_bytes + generator->state_bytes + arena);
}

bool deploy_generator(Deployment *d)
{
    Cx *cx = d->cx;
    const aml_checkpoint_info *info = aml_checkpoint_describe(d->checkpoint);
    const ProgramJob *job = &d->program->job.at[d->deploy->generator];
    const ProgramDataset *data = &d->program->dataset.at[job->table.data];
    Generator generator = {.job = job, .tokenizer = data->table.source.tokenizer};
    d->decode = job->decode;
    d->prompt = job->prompt;
    d->artifact = (Artifact){
        .name = d->deploy->name,
        .doc = d->deploy->doc,
        .source_hash = d->program->table.source_hash,
        .weights_hash = arena_text(cx->arena, info->weights_hash, strlen(info->weights_hash)),
        .data_fingerprint =
            arena_text(cx->arena, info->data_fingerprint, strlen(info->data_fingerprint)),
        .source = &data->table.source};
    ObjectCode object = {0};
    if (!make_function(d, &generator, &object) || !link_executable(d, &generator, &object))
        return false;
    fprintf(stderr, "deployed %s from step %lld of %s\n",
            deploy_emits(d, DEPLOY_EXECUTABLE) ? d->request->output : d->artifact.name,
            (long long)info->step, d->job->table.name);
    bool good = compare(d, &generator);
    good = deploy_requirements(d, memory_of(d, &generator), "weights, caches and one token",
                               "a token") &&
           good;
    if (!good) {
        deploy_withdraw(d);
        return false;
    }
    d->crossing = deploy_is_cross(d->deploy);
    if (d->crossing && !compile_levels(d, &generator, &object))
        return false;
    if (d->crossing && deploy_emits(d, DEPLOY_EXECUTABLE) &&
        !link_executable(d, &generator, &object))
        return false;
    return deploy_link_libraries(
        d, &object,
        (LibraryText){.header = generator_header(cx, &d->artifact, &generator),
                      .tables = generator_library(cx, &d->artifact, &generator),
                      .functions = generator_functions()});
}
