// driver_prune.c: channels that are left out, and the training that goes on with those that stay.
//
// `amlc deploy` decides which channels stay, from the weights of the checkpoint, and writes a plan:
// the new size of each axis of each state, and the weights that are left. `amlc build --pruned
// PLAN` makes the training program of that smaller model: the same source, with all its functions
// given the new shapes (quant/axes.c), which begins with these weights. So fine-tuning is an
// ordinary training, with the optimizer, the schedule and the data of the source.

#include "driver_prune.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "aml/text.h"

// ---- the job's functions

static Axes *axes_of_job(Cx *cx, ProgramJob *job)
{
    Axes *axes = axes_new(cx, job);
    Entry *predicting[] = {&job->predict, &job->eval, &job->eval_one};
    for (size_t i = 0; i < COUNT_OF(predicting); i++)
        if (predicting[i]->ir)
            axes_add(axes, predicting[i]->ir, true);
    Entry *others[] = {&job->step, &job->validated};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (others[i]->ir)
            axes_add(axes, others[i]->ir, false);
    return axes;
}

static void resize_states(Axes *axes, ProgramJob *job)
{
    for (int s = 0; s < job->state.count; s++) {
        aml_shape *shape = &job->state.at[s].info.tensor.shape;
        for (int i = 0; i < shape->rank; i++)
            shape->dim[i] = axes_size(axes, s, i);
    }
}

int pruning_state(const ProgramJob *job, const char *tensor)
{
    char name[1024];
    for (int s = 0; s < job->state.count; s++) {
        const aml_state_info *info = &job->state.at[s].info;
        for (int64_t part = 0; part < aml_state_parts(info); part++) {
            aml_tensor_info one;
            aml_state_part(info, part, &one, name, sizeof name);
            if (strcmp(one.name, tensor) == 0)
                return s;
        }
    }
    return -1;
}

Weight *pruning_weight(Deployment *d, const char *name)
{
    for (int i = 0; i < d->weight.count; i++)
        if (strcmp(d->weight.at[i].name, name) == 0)
            return &d->weight.at[i];
    return NULL;
}

// ---- what stays of the weights

int64_t pruning_inner(const aml_shape *shape, int axis)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < shape->rank; i++)
        inner *= shape->dim[i];
    return inner;
}

static void cut_axis(Cx *cx, Weight *weight, int axis, const AxisKept *kept)
{
    size_t element = aml_dtype_bytes(weight->dtype);
    int64_t inner = pruning_inner(&weight->shape, axis), outer = 1;
    for (int i = 0; i < axis; i++)
        outer *= weight->shape.dim[i];
    size_t run = (size_t)inner * element;
    char *to = arena_alloc(cx->arena, (size_t)(outer * kept->count) * run + 1), *at = to;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < kept->count; i++, at += run)
            memcpy(at, (const char *)weight->at + (size_t)(o * kept->size + kept->place[i]) * run,
                   run);
    weight->at = to;
    weight->shape.dim[axis] = kept->count;
}

static void cut_weights(Pruning *p)
{
    for (int i = 0; i < p->d->weight.count; i++) {
        Weight *weight = &p->d->weight.at[i];
        int state = pruning_state(p->job, weight->name);
        int stack = state >= 0 ? p->job->state.at[state].info.stack : 0;
        for (int axis = 0; state >= 0 && axis < weight->shape.rank; axis++) {
            AxisKept kept = axes_kept(p->axes, state, axis + stack, p->kept.at, p->kept.count);
            if (kept.count < kept.size)
                cut_axis(p->d->cx, weight, axis, &kept);
        }
    }
}

static bool teaches(const Deployment *d)
{
    return d->deploy->prune.finetune.value > 0 && d->deploy->prune.distill > 0;
}

// What the smaller model begins with, and what the whole one answers with while it is trained.
static void list_weights(const Pruning *p, WeightList *out)
{
    Arena *arena = p->d->cx->arena;
    for (int i = 0; i < p->d->weight.count; i++)
        vec_push(arena, out, p->d->weight.at[i]);
    for (int i = 0; i < p->before.count && teaches(p->d); i++) {
        Weight weight = p->before.at[i];
        weight.name = arena_printf(arena, "%s.%s", TEACHER, weight.name);
        vec_push(arena, out, weight);
    }
}

// A safetensors file: the length of the header, the header, the elements.
static bool write_weights(const Pruning *p, const char *path)
{
    Deployment *d = p->d;
    WeightList list = {0};
    json_t *header = json_object();
    size_t at = 0;
    list_weights(p, &list);
    for (int i = 0; i < list.count; i++) {
        const Weight *weight = &list.at[i];
        static const char *const name[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) safetensors,
#include "dtypes.def"
#undef DTYPE
        };
        json_t *shape = json_array();
        for (int k = 0; k < weight->shape.rank; k++)
            json_array_append_new(shape, json_integer(weight->shape.dim[k]));
        size_t bytes = (size_t)aml_shape_elements(&weight->shape) * aml_dtype_bytes(weight->dtype);
        json_object_set_new(header, weight->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", name[weight->dtype], "shape",
                                      shape, "data_offsets", (json_int_t)at,
                                      (json_int_t)(at + bytes)));
        at += bytes;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    FILE *file = text ? fopen(path, "wbe") : NULL;
    uint64_t length = text ? strlen(text) : 0;
    bool good = file && fwrite(&length, 8, 1, file) == 1 && fwrite(text, 1, length, file) == length;
    for (int i = 0; i < list.count && good; i++) {
        const Weight *weight = &list.at[i];
        size_t bytes = (size_t)aml_shape_elements(&weight->shape) * aml_dtype_bytes(weight->dtype);
        good = fwrite(weight->at, 1, bytes, file) == bytes;
    }
    good = file && fclose(file) == 0 && good;
    free(text);
    if (!good)
        say(d->command, "error", "cannot write %s: %s", path, strerror(errno));
    return good;
}

static bool write_plan(Pruning *p, const char *path, const char *weights)
{
    Deployment *d = p->d;
    json_t *states = json_object();
    for (int s = 0; s < p->job->state.count; s++) {
        const aml_tensor_info *info = &p->job->state.at[s].info.tensor;
        json_t *shape = json_array();
        for (int i = 0; i < info->shape.rank; i++) {
            AxisClasses classes = axes_classes(p->axes, s, i);
            json_t *sizes = json_array();
            for (int k = 0; k < classes.count; k++)
                json_array_append_new(sizes, json_integer(classes.at[k].size));
            json_array_append_new(shape, sizes);
        }
        json_object_set_new(states, info->name, shape);
    }
    json_t *plan =
        json_pack("{s:s, s:s, s:f, s:f, s:f, s:i, s:o}", "job", p->job->table.name, "weights",
                  weights, "distill", teaches(d) ? d->deploy->prune.distill : 0.0, "rate",
                  d->deploy->prune.rate, "length", d->deploy->prune.finetune.value, "unit",
                  (int)d->deploy->prune.finetune.unit, "states", states);
    bool good = plan && json_dump_file(plan, path, 0) == 0;
    json_decref(plan);
    if (!good)
        say(d->command, "error", "cannot write %s", path);
    return good;
}

// ---- the smaller training program, on the other side of --pruned

static bool is_teachers(const char *state)
{
    return strncmp(state, TEACHER ".", sizeof TEACHER) == 0;
}

void prune_teaching(Command *command)
{
    const char *path = command->option[OPTION_PRUNED];
    json_t *plan = path ? json_load_file(path, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *job = json_string_value(json_object_get(plan, "job"));
    double rate = json_number_value(json_object_get(plan, "rate"));
    if (job)
        command->cx->teaching =
            (Teaching){arena_text(command->cx->arena, job, strlen(job)),
                       json_number_value(json_object_get(plan, "distill")), rate > 0 ? rate : 1};
    json_decref(plan);
}

static const char *read_states(const json_t *plan, Axes *axes, const ProgramJob *job)
{
    static const char wrong[] = "it has sizes that the model cannot have";
    const json_t *states = json_object_get(plan, "states");
    for (int s = 0; s < job->state.count; s++) {
        const aml_tensor_info *info = &job->state.at[s].info.tensor;
        const json_t *shape = json_object_get(states, info->name);
        if (is_teachers(info->name))
            continue;
        if (!json_is_array(shape) || (int)json_array_size(shape) != info->shape.rank)
            return "it is of another model";
        for (int i = 0; i < info->shape.rank; i++) {
            const json_t *sizes = json_array_get(shape, (size_t)i);
            AxisClasses classes = axes_classes(axes, s, i);
            if ((int)json_array_size(sizes) != classes.count)
                return wrong;
            for (int k = 0; k < classes.count; k++) {
                int64_t size = json_integer_value(json_array_get(sizes, (size_t)k));
                if (size < 1 || size > classes.at[k].size ||
                    (classes.at[k].class < 0 && size != classes.at[k].size))
                    return wrong;
                if (classes.at[k].class >= 0)
                    axes_resize(axes, classes.at[k].class, size);
            }
        }
    }
    return NULL;
}

// What a training begins with is loaded; initial values only need the right shape.
static void resize_init(ProgramJob *job)
{
    IrFunction *fn = job->init.ir;
    for (int r = 0; fn && r < fn->result.count; r++) {
        IrResult *result = &fn->result.at[r];
        if (result->slot.kind != SLOT_STATE)
            continue;
        aml_shape shape = job->state.at[result->slot.index].info.tensor.shape;
        Type type = type_make(result->value->type.dtype, shape.rank, shape.dim);
        if (type_equal(type, result->value->type))
            continue;
        static const int64_t zero = 0;
        Inst *zeros = ir_constant(fn, type, &zero, true, fn->span);
        result->value->uses--;
        zeros->uses++;
        result->value = zeros;
    }
}

static void begin_with(Cx *cx, ProgramJob *job, const char *path)
{
    aml_text_part *part = NEW(cx->arena, aml_text_part);
    *part = (aml_text_part){arena_text(cx->arena, path, strlen(path)), -1};
    job->load.count = job->load_span.count = 0;
    static const char *const unused[] = {TEACHER ".*"}; // what the teacher does not round, for one
    vec_push(cx->arena, &job->load,
             ((aml_load){.place = "pruned", .path = {1, part}, .unuseds = 1, .unused = unused}));
    vec_push(cx->arena, &job->load_span, job->span);
}

bool prune_program(Command *command, Program *program, const char *path)
{
    Cx *cx = command->cx;
    json_t *plan = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(plan, "job")),
               *weights = json_string_value(json_object_get(plan, "weights"));
    const char *wrong = plan && name && weights ? "there is no such training" : "it cannot be read";
    for (int i = 0; i < program->job.count && name && weights; i++) {
        ProgramJob job = program->job.at[i];
        if (strcmp(job.table.name, name) != 0 || job.table.kind != AML_JOB_TRAIN)
            continue;
        if (!passes_run(cx, program->module, "dce", NULL, NULL))
            return false;
        Axes *axes = axes_of_job(cx, &job);
        wrong = read_states(plan, axes, &job);
        if (wrong)
            break;
        Entry *entry[] = {&job.step, &job.eval, &job.eval_one, &job.predict, &job.validated};
        for (size_t e = 0; e < COUNT_OF(entry); e++)
            if (entry[e]->ir)
                axes_apply(axes, entry[e]->ir);
        resize_states(axes, &job);
        resize_init(&job);
        begin_with(cx, &job, weights);
        double length = json_number_value(json_object_get(plan, "length"));
        if (length > 0)
            job.table.length = (aml_quantity){
                length, (aml_unit)json_integer_value(json_object_get(plan, "unit")), -1};
        for (int s = 0; s < job.state.count; s++)
            if (is_teachers(job.state.at[s].info.tensor.name))
                program->dataset.at[job.table.data].augment = (Entry){0};
        job.decode = job.prompt = (Entry){0};
        program->job.at[0] = job;
        program->job.count = 1; // evaluations have other states
        program_layout(program);
        break;
    }
    json_decref(plan);
    if (wrong)
        say(command, "error", "the plan %s does not fit: %s", path, wrong);
    return !wrong;
}

// ---- fine-tuning

static bool run_step(Deployment *d, const char *const argv[], const char *what)
{
    ProcessResult done = process_run(d->cx, argv, NULL, PROCESS_CAPTURE_BOTH);
    if (done.code != 0)
        say(d->command, "error", "%s the pruned model failed:\n%s", what, done.output);
    return done.code == 0;
}

static bool take_weights(Deployment *d, const char *runs)
{
    aml_error error = {0};
    if (aml_checkpoint_find(runs, d->job->table.name, AML_WHICH_LAST, NULL, NULL, &d->finetuned,
                            &error)) {
        say(d->command, "error", "the pruned model's training left no weights: %s", error.text);
        return false;
    }
    const aml_tensors *tensors = aml_checkpoint_weights(d->finetuned);
    d->weight.count = 0;
    for (int i = 0; i < aml_tensors_count(tensors); i++) {
        const aml_tensor_info *info = aml_tensors_info(tensors, i);
        if (is_teachers(info->name))
            continue;
        vec_push(d->cx->arena, &d->weight,
                 ((Weight){info->name, info->dtype, info->shape, aml_tensors_data(tensors, i)}));
    }
    return true;
}

static bool finetune(Pruning *p)
{
    Deployment *d = p->d;
    Cx *cx = d->cx;
    const char *weights = arena_printf(cx->arena, "%s/pruned.safetensors", d->folder),
               *plan = arena_printf(cx->arena, "%s/pruned.json", d->folder),
               *program = arena_printf(cx->arena, "%s/pruned", d->folder),
               *runs = arena_printf(cx->arena, "%s/runs", d->folder);
    if (!write_weights(p, weights) || !write_plan(p, plan, weights))
        return false;
    Vec(const char *) build = {0};
    const char *first[] = {"/proc/self/exe", "build", d->request->source, "-o", program,
                           "--pruned",       plan};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        vec_push(cx->arena, &build, first[i]);
    for (int i = 0; i < d->command->define.count; i++) {
        vec_push(cx->arena, &build, "-D");
        vec_push(cx->arena, &build, d->command->define.at[i]);
    }
    vec_push(cx->arena, &build, NULL);
    bool trains = d->deploy->prune.finetune.value > 0;
    const char *train[] = {program, "train",   d->job->table.name,        "--runs",
                           runs,    "--quiet", trains ? NULL : "--steps", "0",
                           NULL};
    if (!run_step(d, build.at, "building") || !run_step(d, train, "training"))
        return false;
    d->reference = program;
    return take_weights(d, runs);
}

// ---- what it saves

double pruning_flops(const IrFunction *fn)
{
    double flops = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        flops += inst_cost(inst).flops;
    return flops;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double run_time(Native *native)
{
    double begin = now();
    for (int i = 0; i < 5; i++)
        native_run(native);
    return (now() - begin) / 5;
}

// Both in turns, the best of each: other work on the machine disturbs both alike.
bool deploy_saving(Deployment *d)
{
    enum { TURNS = 40 };
    Cx *cx = d->cx;
    Native before = {0}, after = {0};
    IrFunction *old = ir_clone_function(d->exact, NULL, sym_of(cx, "old")),
               *new = ir_clone_function(d->rounded, NULL, sym_of(cx, "new"));
    const char *wrong = native_open(cx, old, d->folder, &before);
    if (!wrong)
        wrong = native_open(cx, new, d->folder, &after);
    double best[2] = {INFINITY, INFINITY};
    for (int i = 0; i < TURNS && !wrong; i++) {
        best[0] = fmin(best[0], run_time(&before));
        best[1] = fmin(best[1], run_time(&after));
    }
    native_close(&before);
    native_close(&after);
    if (wrong) {
        say(d->command, "error", "what pruning saves cannot be measured: %s", wrong);
        return false;
    }
    double ratio = best[0] / best[1];
    fprintf(stderr,
            "  pruned: weights %s -> %s, %.3g -> %.3g MFLOP, %.4g -> %.4g us for a batch of %lld "
            "(here, one thread)\n",
            size_text(cx, (double)d->bytes_before),
            size_text(cx, (double)d->artifact.weights_bytes), d->flops_before / 1e6,
            d->flops_after / 1e6, 1e6 * best[0], 1e6 * best[1], (long long)d->artifact.batch.at[0]);
    if (ratio < 1.05)
        fprintf(stderr, "  there is no gain in time: %.2f times as fast as the whole model\n",
                ratio);
    return true;
}

// ---- all of it

static void print_kept(const Pruning *p)
{
    for (int i = 0; i < p->kept.count; i++) {
        const AxisKept *kept = &p->kept.at[i];
        MakerList makers = axes_makers(p->axes, kept->class);
        fprintf(stderr, "  %lld of %lld channels of", (long long)kept->count,
                (long long)kept->size);
        for (int k = 0; k < makers.count; k++)
            fprintf(stderr, "%s %s", k ? "," : "",
                    p->job->state.at[makers.at[k].state].info.tensor.name);
        fprintf(stderr, "\n");
    }
}

// Inlines all calls. Gives the function of the smallest batch once more, in which no operand is
// rounded to 16 bits.
static IrFunction *simplify(Deployment *d)
{
    IrModule *module = d->program->module;
    IrFunction *plain = ir_clone_function(d->deploy->predict.at[0].ir, module,
                                          sym_printf(d->cx, "%s_plain", d->deploy->name));
    plain->mixed = false;
    bool good = passes_run(d->cx, module, "dce", NULL, NULL);
    int kept = 0;
    for (int i = 0; i < module->function.count; i++)
        if (module->function.at[i] != plain)
            module->function.at[kept++] = module->function.at[i];
    module->function.count = kept;
    return good ? plain : NULL;
}

bool deploy_prune(Deployment *d)
{
    Cx *cx = d->cx;
    ProgramJob *job = &d->program->job.at[d->deploy->job];
    for (int i = 0; i < d->deploy->predict.count && d->deploy->quantize.span.file; i++)
        d->deploy->predict.at[i].ir->mixed = false; // rounding to bytes is coarser
    IrFunction *plain = simplify(d);
    if (!plain)
        return false;
    IrFunction *whole = ir_clone_function(plain, NULL, sym_of(cx, "whole"));
    Entry entry = d->deploy->predict.at[0];
    if (!freeze_weights(cx, whole, job, d->weight.at, d->weight.count, d->deploy->span))
        return false;
    freeze_scalars(whole, &entry, d->program);
    d->exact = whole;
    d->flops_before = pruning_flops(whole);
    d->bytes_before = deploy_constant_bytes(whole, false);

    Pruning pruning = {.d = d, .job = job, .axes = axes_of_job(cx, job), .plain = plain},
            *p = &pruning;
    for (int i = 0; i < d->deploy->predict.count; i++)
        axes_add(p->axes, d->deploy->predict.at[i].ir, true);
    for (int i = 0; i < d->weight.count; i++)
        vec_push(cx->arena, &p->before, d->weight.at[i]);
    if (!channels_choose(p))
        return false;
    if (p->kept.count == 0) {
        report(cx, d->deploy->prune.span, nothing_to_prune, job->table.name);
        return false;
    }
    cut_weights(p);
    for (int i = 0; i < p->kept.count; i++)
        axes_resize(p->axes, p->kept.at[i].class, p->kept.at[i].count);
    fprintf(stderr, "pruned %s\n", d->deploy->name);
    print_kept(p);
    for (int i = 0; i < d->deploy->predict.count; i++)
        axes_apply(p->axes, d->deploy->predict.at[i].ir);
    bool good = finetune(p);
    resize_states(p->axes, job);
    d->flops_after = good ? pruning_flops(d->deploy->predict.at[0].ir) : 0;
    return good;
}
