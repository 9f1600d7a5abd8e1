// The standard library against the golden*.json of its folder (PyTorch, NumPy, scikit-learn; each
// made by the .py of its name), run with the reference interpreter in f32 and in f64: functions on
// tensors, ten steps of each optimizer, the metrics of an evaluation.

#include "elab/elab.h"
#include "sema/sema.h"

#include "runtime/job/job.h"

#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What `float` means in a run, and how far a result may be from golden, relative to the largest
// element that is expected. A case may state its own: "tolerance" in f32, "tolerance64" in f64.
typedef struct Precision {
    DType real;
    const char *name, *key;
    double tolerance;
} Precision;

static const Precision precisions[] = {
    {DTYPE_F32, "f32", "tolerance", 1e-5},
    {DTYPE_F64, "f64", "tolerance64", 1e-10},
};

static int failures;
static const char *folder;
static json_t *golden;
static const Precision *precision;

static void verdict(const char *name, const char *wrong)
{
    if (wrong)
        printf("FAIL %s.%s: %s\n", name, precision->name, wrong);
    else
        printf("PASS %s.%s\n", name, precision->name);
    failures += wrong != NULL;
}

static double tolerance_of(const json_t *wanted)
{
    const json_t *stated = json_object_get(wanted, precision->key);
    return stated ? json_number_value(stated) : precision->tolerance;
}

static void store(Type type, void *at, int64_t index, double value)
{
    if (type.dtype == DTYPE_F32)
        ((float *)at)[index] = (float)value;
    else if (type.dtype == DTYPE_F64)
        ((double *)at)[index] = value;
    else if (type.dtype == DTYPE_I32)
        ((int32_t *)at)[index] = (int32_t)value;
    else if (type.dtype == DTYPE_I64)
        ((int64_t *)at)[index] = (int64_t)value;
}

static double load(Type type, const void *at, int64_t index)
{
    return type.dtype == DTYPE_F32   ? (double)((const float *)at)[index]
           : type.dtype == DTYPE_F64 ? ((const double *)at)[index]
           : type.dtype == DTYPE_I32 ? (double)((const int32_t *)at)[index]
                                     : (double)((const int64_t *)at)[index];
}

static Type golden_type(const json_t *tensor, DType dtype)
{
    json_t *shape = json_object_get(tensor, "shape");
    int64_t dim[IR_MAX_RANK] = {0};
    for (size_t i = 0; i < json_array_size(shape); i++)
        dim[i] = json_integer_value(json_array_get(shape, i));
    return type_make(dtype, (int)json_array_size(shape), dim);
}

static double golden_value(const json_t *tensor, int64_t index)
{
    return json_number_value(json_array_get(json_object_get(tensor, "values"), (size_t)index));
}

static void *golden_elements(Arena *arena, const json_t *tensor, Type type)
{
    void *at = arena_alloc(arena, (size_t)type_bytes(type) + 8);
    for (int64_t i = 0; i < type_elements(type); i++)
        store(type, at, i, golden_value(tensor, i));
    return at;
}

// NULL if all elements are as golden says, else what differs.
static const char *differs(Arena *arena, const json_t *tensor, Type type, const void *found,
                           double tolerance)
{
    if ((int64_t)json_array_size(json_object_get(tensor, "values")) != type_elements(type))
        return arena_printf(arena, "%lld elements, expected %zu", (long long)type_elements(type),
                            json_array_size(json_object_get(tensor, "values")));
    double largest = 0;
    for (int64_t i = 0; i < type_elements(type); i++)
        largest = fmax(largest, fabs(golden_value(tensor, i)));
    for (int64_t i = 0; i < type_elements(type); i++) {
        double expected = golden_value(tensor, i), value = load(type, found, i),
               error = fabs(value - expected) / (largest > 0 ? largest : 1);
        if (!(error <= tolerance))
            return arena_printf(arena,
                                "element %lld is %.15g, expected %.15g (%.2g of the largest)",
                                (long long)i, value, expected, error);
    }
    return NULL;
}

// ---- running a compiled function with the reference interpreter

typedef struct Run {
    Arena *arena;
    void **state; // by row of the job's table
    int64_t step, total_steps;
    double epoch_steps, measured;
} Run;

static void run_function(const Run *run, IrFunction *fn, const aml_scalar_info *scalar,
                         void *const in[], void *const out[])
{
    void **param = NEW_ARRAY(run->arena, void *, fn->param.count + 1),
         **result = NEW_ARRAY(run->arena, void *, fn->result.count + 1);
    for (int i = 0; i < fn->param.count; i++) {
        Slot slot = fn->param_slot.at[i];
        Type type = fn->param.at[i]->type;
        if (slot.kind == SLOT_SCALAR) {
            aml_scalar_kind kind = scalar[slot.index].kind;
            double value = kind == AML_SCALAR_STEP          ? (double)run->step
                           : kind == AML_SCALAR_TOTAL_STEPS ? (double)run->total_steps
                           : kind == AML_SCALAR_EPOCH_STEPS ? run->epoch_steps
                           : kind == AML_SCALAR_MEASURED    ? run->measured
                                                            : 0;
            param[i] = arena_alloc(run->arena, 16);
            store(type, param[i], 0, value);
        } else {
            param[i] = slot.kind == SLOT_STATE ? run->state[slot.index] : in[slot.index];
        }
    }
    for (int i = 0; i < fn->result.count; i++) {
        Slot slot = fn->result.at[i].slot;
        size_t bytes = (size_t)type_bytes(fn->result.at[i].value->type);
        result[i] = slot.kind == SLOT_OUTPUT ? out[slot.index] : arena_alloc(run->arena, bytes + 8);
    }
    ir_evaluate(fn, param, result);
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_STATE)
            memcpy(run->state[fn->result.at[i].slot.index], result[i],
                   (size_t)type_bytes(fn->result.at[i].value->type));
}

static Type info_type(const aml_tensor_info *info)
{
    return type_make((DType)info->dtype, info->shape.rank, info->shape.dim);
}

// Runs an entry on golden inputs found by name; returns its outputs.
static void **run_entry(const Run *run, const Entry *entry, const json_t *inputs)
{
    void **in = NEW_ARRAY(run->arena, void *, entry->input.count + 1),
         **out = NEW_ARRAY(run->arena, void *, entry->output.count + 1);
    for (int i = 0; i < entry->input.count; i++)
        in[i] = golden_elements(run->arena, json_object_get(inputs, entry->input.at[i].name),
                                info_type(&entry->input.at[i]));
    for (int i = 0; i < entry->output.count; i++)
        out[i] = arena_alloc(run->arena, (size_t)type_bytes(info_type(&entry->output.at[i])) + 8);
    if (entry->ir)
        run_function(run, entry->ir, entry->scalar.at, in, out);
    return out;
}

static Run new_run(Cx *cx, const ProgramJob *job)
{
    Run run = {.arena = cx->arena, .total_steps = 10, .epoch_steps = 20};
    run.state = NEW_ARRAY(cx->arena, void *, job->state.count + 1);
    for (int i = 0; i < job->state.count; i++)
        run.state[i] = arena_alloc(
            cx->arena, (size_t)type_bytes(info_type(&job->state.at[i].info.tensor)) + 8);
    return run;
}

static int state_row(const ProgramJob *job, const char *name)
{
    for (int i = 0; i < job->state.count; i++)
        if (strcmp(job->state.at[i].info.tensor.name, name) == 0)
            return i;
    return -1;
}

// The program with its fields in the run's precision.
static Unit *load_unit(Cx *cx, const char *name)
{
    const char *path = arena_printf(cx->arena, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    Buffer text = {.arena = cx->arena};
    for (int c; file && (c = getc(file)) != EOF;)
        buffer_append(&text, &(char){(char)c}, 1);
    if (file)
        fclose(file);
    buffer_text(&text, "");
    if (precision->real == DTYPE_F64)
        for (char *at = text.text; (at = strstr(at, "  field ")); at++) {
            char *end = strchr(at, '\n'), *type = strstr(at, ": f32[");
            if (type && (!end || type < end))
                memcpy(type, ": f64[", 6);
        }
    return unit_load_text(cx, path, text.text, text.length);
}

static Program *load_program(Cx *cx, const char *name)
{
    Unit *unit = load_unit(cx, name);
    Program *program =
        unit && diag_errors(cx) == 0 ? elaborate_in(cx, unit, precision->real) : NULL;
    diag_print(cx, stdout, FORMAT_HUMAN, false);
    return diag_errors(cx) == 0 ? program : NULL;
}

// ---- functions

static const char *check_function(Elab *e, const json_t *wanted)
{
    Cx *cx = e->cx;
    Sym name = sym_of(cx, json_string_value(json_object_get(wanted, "name")));
    json_t *inputs = json_object_get(wanted, "inputs"), *output = json_object_get(wanted, "output");
    Node *fn = unit_lookup(e->unit, e->unit->main->file, name);
    if (!fn || fn->kind != NODE_Fn)
        return "there is no function of this name";
    Trace *trace =
        elab_trace_begin(e, sym_printf(cx, "%s_%d", name, e->module->function.count), fn->span);
    Value args[4];
    void *in[4];
    int count = (int)json_array_size(inputs);
    for (int i = 0; i < count; i++) {
        TypeValue stated = {.dtype = e->real};
        Node *type = fn->as.fn.params.at[i]->as.param.type;
        if (type && !elab_type(e, env_new(e, NULL, fn->span.file), type, &stated))
            return "a parameter's type";
        Type given = golden_type(json_array_get(inputs, (size_t)i), stated.dtype);
        args[i] = elab_trace_input(e, given, stated.classes, sym_of(cx, "x"), fn->span);
        in[i] = golden_elements(cx->arena, json_array_get(inputs, (size_t)i), given);
    }
    Value result = elab_call(e, value_function(e, fn, NULL), args, NULL, count, fn->span);
    Inst *inst = value_is(result, VALUE_POISON) ? NULL : elab_tensor(e, result, e->real, fn->span);
    if (!inst)
        return "it gave no tensor";
    elab_trace_output(e, inst, sym_of(cx, "y"));
    aml_scalar_info scalar[8] = {0};
    IrFunction *compiled = elab_trace_end(e, trace);
    if (!compiled)
        return "it could not be traced";
    for (int i = 0; i < trace->scalar.count && i < 8; i++)
        scalar[i] = trace->scalar.at[i];
    Run run = {.arena = cx->arena, .total_steps = 100, .epoch_steps = 20};
    void *out[1] = {
        arena_alloc(cx->arena, (size_t)type_bytes(compiled->result.at[0].value->type) + 8)};
    run_function(&run, compiled, scalar, in, out);
    return differs(cx->arena, output, compiled->result.at[0].value->type, out[0],
                   tolerance_of(wanted));
}

static void check_functions(void)
{
    Cx *cx = cx_new();
    const char *stated = json_string_value(json_object_get(golden, "program")),
               *program = stated ? stated : "functions.aml";
    Unit *unit = load_unit(cx, program);
    if (!unit || diag_errors(cx) > 0) {
        verdict(program, "it is not accepted");
    } else {
        Elab *e = elab_new(cx, unit, ir_module_new(cx));
        e->real = precision->real;
        elab_globals(e);
        size_t i;
        json_t *wanted;
        json_array_foreach(json_object_get(golden, "functions"), i, wanted)
        {
            verdict(arena_printf(cx->arena, "%s_%zu",
                                 json_string_value(json_object_get(wanted, "name")), i),
                    check_function(e, wanted));
        }
    }
    diag_print(cx, stdout, FORMAT_HUMAN, false);
    cx_free(cx);
}

// ---- optimizers

// The first, or the one of this name.
static const ProgramJob *job_named(const Program *program, const char *name)
{
    for (int i = 0; i < program->job.count; i++)
        if (!name || strcmp(program->job.at[i].table.name, name) == 0)
            return &program->job.at[i];
    return NULL;
}

// The batches of a training: its own, or those of this name that several share.
static json_t *batches_of(const json_t *wanted)
{
    json_t *batches = json_object_get(wanted, "batches");
    return json_is_string(batches) ? json_object_get(golden, json_string_value(batches)) : batches;
}

// What the trained model makes of the first batch, if golden says it: as many of its rows as
// `predict` takes.
static const char *check_prediction(Cx *cx, const Run *run, const ProgramJob *job,
                                    const json_t *wanted)
{
    const json_t *predicted = json_object_get(wanted, "predicted");
    if (!predicted)
        return NULL;
    void **out = run_entry(run, &job->predict, json_array_get(batches_of(wanted), 0));
    int last = job->predict.output.count - 1;
    Type type = info_type(&job->predict.output.at[last]);
    double tolerance = tolerance_of(wanted);
    for (int64_t i = 0; i < type_elements(type); i++) {
        double expected = golden_value(predicted, i), value = load(type, out[last], i);
        if (!(fabs(value - expected) <= tolerance))
            return arena_printf(cx->arena, "prediction %lld is %.15g, expected %.15g", (long long)i,
                                value, expected);
    }
    return NULL;
}

static const char *check_training(Cx *cx, const Program *program, const json_t *wanted)
{
    if (!program)
        return "the program is not accepted";
    const ProgramJob *job = job_named(program, json_string_value(json_object_get(wanted, "job")));
    if (!job)
        return "the program has no such training";
    Run run = new_run(cx, job);
    run_entry(&run, &job->init, NULL);
    const char *name, *wrong;
    json_t *tensor;
    json_object_foreach(json_object_get(wanted, "start"), name, tensor)
    {
        int row = state_row(job, name);
        if (row < 0)
            return arena_printf(cx->arena, "there is no state '%s'", name);
        run.state[row] =
            golden_elements(cx->arena, tensor, info_type(&job->state.at[row].info.tensor));
    }
    size_t i;
    json_t *batch, *losses = json_object_get(wanted, "losses"),
                   *norms = json_object_get(wanted, "norms");
    json_array_foreach(batches_of(wanted), i, batch)
    {
        run.step = (int64_t)i;
        void **out = run_entry(&run, &job->step, batch);
        for (int o = 0; o < job->step.output.count; o++) {
            const char *output = job->step.output.at[o].name;
            json_t *list = strcmp(output, "loss") == 0        ? losses
                           : strcmp(output, "grad_norm") == 0 ? norms
                                                              : NULL;
            double expected = json_number_value(json_array_get(list, i)), found = *(float *)out[o];
            // figures of a step are f32 in either precision
            if (list && !(fabs(found - expected) <=
                          tolerance_of(wanted) * fabs(expected) + 2e-7 * (1 + fabs(expected))))
                return arena_printf(cx->arena, "step %zu: %s is %.9g, expected %.9g", i, output,
                                    found, expected);
        }
        if (job->step.output.count == 0 || strcmp(job->step.output.at[0].name, "loss") != 0)
            return "the first output of a step is not the loss";
        run.measured = json_number_value(json_array_get(json_object_get(wanted, "measured"), i));
        run_entry(&run, &job->validated, NULL);
    }
    json_object_foreach(json_object_get(wanted, "final"), name, tensor)
    {
        int row = state_row(job, name);
        wrong = differs(cx->arena, tensor, info_type(&job->state.at[row].info.tensor),
                        run.state[row], tolerance_of(wanted));
        if (wrong)
            return arena_printf(cx->arena, "'%s' after ten steps: %s", name, wrong);
    }
    return check_prediction(cx, &run, job, wanted);
}

// ---- metrics

// Rows begin..begin + count of the table, as an object of tensors named x and y.
static json_t *table_rows(const json_t *wanted, int64_t begin, int64_t count)
{
    json_t *rows = json_object();
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "y" : "x";
        const json_t *whole = json_object_get(wanted, name);
        const json_t *columns = json_array_get(json_object_get(whole, "shape"), 1);
        int64_t width = columns ? json_integer_value(columns) : 1;
        json_t *values = json_array(),
               *shape = columns ? json_pack("[I, I]", count, width) : json_pack("[I]", count);
        for (int64_t v = begin * width; v < (begin + count) * width; v++)
            json_array_append_new(values, json_real(golden_value(whole, v)));
        json_object_set_new(rows, name, json_pack("{s:o, s:o}", "shape", shape, "values", values));
    }
    return rows;
}

// All rows of what a metric collects.
typedef struct Collected {
    float *score;
    int32_t *label;
    int64_t classes;
} Collected;

static const char *check_metrics(Cx *cx, const json_t *wanted)
{
    Program *program = load_program(cx, json_string_value(json_object_get(wanted, "program")));
    if (!program)
        return "the program is not accepted";
    const ProgramJob *job = &program->job.at[1];
    Run run = new_run(cx, job);
    int scale = state_row(job, "scale");
    if (scale < 0)
        return "there is no weight 'scale'";
    store(info_type(&job->state.at[scale].info.tensor), run.state[scale], 0, 1);
    run_entry(&run, &job->metrics_reset, NULL);
    int64_t rows = json_integer_value(
        json_array_get(json_object_get(json_object_get(wanted, "x"), "shape"), 0));
    double sum = 0, count = 0;
    Collected *collected = NEW_ARRAY(cx->arena, Collected, job->metric.count + 1);
    for (int64_t at = 0; at < rows;) {
        const Entry *entry = at + job->table.batch <= rows ? &job->eval : &job->eval_one;
        int64_t step = entry == &job->eval ? job->table.batch : 1;
        json_t *batch = table_rows(wanted, at, step);
        void **out = run_entry(&run, entry, batch);
        json_decref(batch);
        sum += *(double *)out[0];
        count += *(double *)out[1];
        for (int m = 0; m < job->metric.count; m++) {
            const aml_metric *metric = &job->metric.at[m];
            Collected *own = &collected[m];
            if (metric->finish == AML_FINISH_COMPILED)
                continue;
            own->classes = entry->output.at[metric->collect[0]].shape.dim[1];
            if (at == 0) {
                own->score = NEW_ARRAY(cx->arena, float, rows * own->classes);
                own->label = NEW_ARRAY(cx->arena, int32_t, rows);
            }
            memcpy(own->score + at * own->classes, out[metric->collect[0]],
                   (size_t)(step * own->classes) * sizeof *own->score);
            memcpy(own->label + at, out[metric->collect[1]], (size_t)step * sizeof *own->label);
        }
        at += step;
    }
    double loss = json_number_value(json_object_get(wanted, "loss"));
    if (!(fabs(sum / count - loss) <= precision->tolerance * fabs(loss)))
        return arena_printf(cx->arena, "the loss is %.15g, expected %.15g", sum / count, loss);
    const json_t *values = json_object_get(wanted, "values"),
                 *areas = json_object_get(wanted, "collected");
    void **out = run_entry(&run, &job->metrics_value, NULL);
    for (int m = 0; m < job->metric.count; m++) {
        const aml_metric *metric = &job->metric.at[m];
        if (metric->finish != AML_FINISH_COMPILED) {
            const Collected *own = &collected[m];
            double area =
                amli_curve_finish(metric->finish, own->score, own->label, rows, (int)own->classes);
            double expected = json_number_value(json_object_get(areas, metric->name));
            verdict(metric->name,
                    fabs(area - expected) < 1e-9
                        ? NULL
                        : arena_printf(cx->arena, "it is %.12g, expected %.12g", area, expected));
            continue;
        }
        const char *wrong = differs(cx->arena, json_object_get(values, metric->name),
                                    info_type(&job->metrics_value.output.at[metric->output]),
                                    out[metric->output], tolerance_of(wanted));
        verdict(metric->name, wrong);
    }
    size_t all = json_object_size(values) + json_object_size(areas);
    return (size_t)job->metric.count == all ? NULL : "not all metrics are there";
}

static void check_file(void)
{
    check_functions();
    size_t i;
    json_t *wanted;
    Cx *cx = NULL;
    Program *program = NULL;
    const char *loaded = NULL;
    json_array_foreach(json_object_get(golden, "trainings"), i, wanted)
    {
        const char *name = json_string_value(json_object_get(wanted, "program")),
                   *job = json_string_value(json_object_get(wanted, "job"));
        if (!loaded || strcmp(loaded, name) != 0) { // neighbours share a program
            if (cx)
                cx_free(cx);
            cx = cx_new();
            program = load_program(cx, name);
            loaded = name;
        }
        verdict(job ? job : name, check_training(cx, program, wanted));
    }
    if (cx)
        cx_free(cx);
    json_array_foreach(json_object_get(golden, "metrics"), i, wanted)
    {
        cx = cx_new();
        verdict(json_string_value(json_object_get(wanted, "program")), check_metrics(cx, wanted));
        cx_free(cx);
    }
}

// test_stdlib FOLDER [FILE]: all golden files of the folder, or one.
int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        return 2;
    folder = argv[1];
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%s/%s", folder, argc == 3 ? argv[2] : "golden*.json");
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) != 0) {
        printf("FAIL golden: there is no %s\n", pattern);
        return 1;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        json_error_t error;
        golden = json_load_file(found.gl_pathv[i], 0, &error);
        if (!golden) {
            printf("FAIL golden: %s: %s\n", found.gl_pathv[i], error.text);
            failures++;
            continue;
        }
        for (size_t p = 0; p < COUNT_OF(precisions); p++) {
            precision = &precisions[p];
            check_file();
        }
        json_decref(golden);
    }
    globfree(&found);
    return failures ? 1 : 0;
}
