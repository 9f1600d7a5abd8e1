// The tables and step functions of the toy program.

#include "toy.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    AT_W = 0,
    AT_B = 64,
    AT_MW = 128,
    AT_MB = 192,
    AT_MEAN = 256,
    AT_HITS = 320,
    AT_TOTAL = 384,
    AT_CONFUSION = 448,
    STATE_BYTES = 576
};

#define F32(NAME, RANK, ...)                                                                       \
    {                                                                                              \
        .name = NAME, .dtype = AML_F32, .shape = { RANK, {__VA_ARGS__} }                           \
    }

static const aml_state_info train_state[] = {
    {F32("fc.weight", 2, TOY_IN, TOY_CLASSES), AML_ROLE_WEIGHT, AT_W, 0},
    {F32("fc.bias", 1, TOY_CLASSES), AML_ROLE_WEIGHT, AT_B, 0},
    {F32("fc.weight.m", 2, TOY_IN, TOY_CLASSES), AML_ROLE_OPTIMIZER, AT_MW, 0},
    {F32("fc.bias.m", 1, TOY_CLASSES), AML_ROLE_OPTIMIZER, AT_MB, 0},
    {F32("norm.mean", 1, TOY_IN), AML_ROLE_STATE, AT_MEAN, 0},
    {{.name = "accuracy.hits", .dtype = AML_I64}, AML_ROLE_METRIC, AT_HITS, 0},
    {{.name = "accuracy.total", .dtype = AML_I64}, AML_ROLE_METRIC, AT_TOTAL, 0},
    {{.name = "confusion.count", .dtype = AML_I64, .shape = {2, {TOY_CLASSES, TOY_CLASSES}}},
     AML_ROLE_METRIC,
     AT_CONFUSION,
     0},
};

// A generator of its own, so that nothing of the runtime is tested with itself.
static float noise(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15u + a * 0xBF58476D1CE4E5B9u + b * 0x94D049BB133111EBu + 1;
    for (int i = 0; i < 3; i++) {
        x ^= x >> 30;
        x *= 0xBF58476D1CE4E5B9u;
        x ^= x >> 27;
    }
    return (float)(x >> 40) / 16777216.0f - 0.5f;
}

static float *at(const aml_call *call, size_t offset)
{
    return (float *)(void *)((char *)call->state + offset);
}

static void toy_init(const aml_call *call)
{
    for (int i = 0; i < TOY_IN * TOY_CLASSES; i++)
        at(call, AT_W)[i] = noise((uint64_t)call->scalar[0].whole, (uint64_t)i, 7);
    memset(at(call, AT_B), 0, 64);
    memset(at(call, AT_MW), 0, 64);
    memset(at(call, AT_MB), 0, 64);
    memset(at(call, AT_MEAN), 0, 64);
}

static void scores(const aml_call *call, const float *x, float *p)
{
    float most = -1e30f, sum = 0;
    for (int k = 0; k < TOY_CLASSES; k++) {
        p[k] = at(call, AT_B)[k];
        for (int i = 0; i < TOY_IN; i++)
            p[k] += x[i] * at(call, AT_W)[i * TOY_CLASSES + k];
        most = p[k] > most ? p[k] : most;
    }
    for (int k = 0; k < TOY_CLASSES; k++)
        sum += p[k] = expf(p[k] - most);
    for (int k = 0; k < TOY_CLASSES; k++)
        p[k] /= sum;
}

typedef struct Part {
    const aml_call *call;
    float *gradient; // [batch][in * classes + classes + 1]
} Part;
enum { ROW = TOY_IN * TOY_CLASSES + TOY_CLASSES + 1 };

static void row_gradients(void *data, int64_t begin, int64_t end)
{
    const Part *part = data;
    const aml_call *call = part->call;
    for (int64_t n = begin; n < end; n++) {
        const float *x = (const float *)call->input[0] + n * TOY_IN;
        int32_t y = ((const int32_t *)call->input[1])[n];
        float p[TOY_CLASSES], *g = part->gradient + n * ROW;
        float keep[TOY_IN];
        for (int i = 0; i < TOY_IN; i++) // something random in every step, like dropout
            keep[i] =
                x[i] + 0.01f * noise((uint64_t)call->scalar[1].whole,
                                     (uint64_t)call->scalar[0].whole, (uint64_t)(n * TOY_IN + i));
        scores(call, keep, p);
        for (int k = 0; k < TOY_CLASSES; k++) {
            float d = p[k] - (k == y ? 1.0f : 0.0f);
            for (int i = 0; i < TOY_IN; i++)
                g[i * TOY_CLASSES + k] = keep[i] * d;
            g[TOY_IN * TOY_CLASSES + k] = d;
        }
        g[ROW - 1] = -logf(p[y] + 1e-12f);
    }
}

// scalars: step, seed, total steps, lr, work, poison, epoch steps
static void toy_step(const aml_call *call)
{
    Part part = {call, (float *)call->arena};
    if (call->parallel)
        call->parallel(call->pool, TOY_BATCH, row_gradients, &part);
    else
        row_gradients(&part, 0, TOY_BATCH);
    float sum[ROW] = {0};
    for (int n = 0; n < TOY_BATCH; n++)
        for (int i = 0; i < ROW; i++)
            sum[i] += part.gradient[n * ROW + i] / TOY_BATCH;
    volatile float busy = 0;
    for (int64_t i = 0; i < call->scalar[4].whole; i++)
        busy = busy + 1;
    float lr = (float)call->scalar[3].real *
               (1 - (float)call->scalar[0].whole / (float)call->scalar[2].whole);
    for (int i = 0; i < TOY_IN * TOY_CLASSES; i++) {
        at(call, AT_MW)[i] = 0.9f * at(call, AT_MW)[i] + sum[i];
        at(call, AT_W)[i] -= lr * at(call, AT_MW)[i];
    }
    for (int k = 0; k < TOY_CLASSES; k++) {
        at(call, AT_MB)[k] = 0.9f * at(call, AT_MB)[k] + sum[TOY_IN * TOY_CLASSES + k];
        at(call, AT_B)[k] -= lr * at(call, AT_MB)[k];
    }
    for (int i = 0; i < TOY_IN; i++)
        at(call, AT_MEAN)[i] =
            0.9f * at(call, AT_MEAN)[i] + 0.1f * ((const float *)call->input[0])[i];
    float loss = sum[ROW - 1];
    if (call->scalar[5].whole > 0 && call->scalar[0].whole + 1 >= call->scalar[5].whole)
        loss = NAN;
    *(float *)call->output[0] = loss;
    *(float *)call->output[1] = lr;
}

static void toy_metrics_reset(const aml_call *call)
{
    memset(at(call, AT_HITS), 0, 8);
    memset(at(call, AT_TOTAL), 0, 8);
    memset(at(call, AT_CONFUSION), 0, 72);
}

static void eval_rows(const aml_call *call, int rows)
{
    double loss = 0;
    for (int n = 0; n < rows; n++) {
        float *p = (float *)call->output[2] + n * TOY_CLASSES;
        int32_t y = ((const int32_t *)call->input[1])[n];
        scores(call, (const float *)call->input[0] + n * TOY_IN, p);
        int best = 0;
        for (int k = 1; k < TOY_CLASSES; k++)
            best = p[k] > p[best] ? k : best;
        *(int64_t *)(void *)at(call, AT_HITS) += best == y;
        *(int64_t *)(void *)at(call, AT_TOTAL) += 1;
        ((int64_t *)(void *)at(call, AT_CONFUSION))[y * TOY_CLASSES + best]++;
        ((int32_t *)call->output[3])[n] = y;
        loss -= log((double)p[y] + 1e-12);
    }
    *(double *)call->output[0] = loss;
    *(double *)call->output[1] = rows;
}
// With TOY_DROWSY a validation takes milliseconds a batch, whatever the machine.
static void toy_eval(const aml_call *call)
{
    if (getenv("TOY_DROWSY"))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    eval_rows(call, TOY_BATCH);
}
static void toy_eval_one(const aml_call *call)
{
    eval_rows(call, 1);
}

static void toy_metrics_value(const aml_call *call)
{
    int64_t hits = *(int64_t *)(void *)at(call, AT_HITS),
            total = *(int64_t *)(void *)at(call, AT_TOTAL);
    *(float *)call->output[0] = total ? (float)((double)hits / (double)total) : 0;
    memcpy(call->output[1], at(call, AT_CONFUSION), 72);
}

static void predict_rows(const aml_call *call, int rows)
{
    for (int n = 0; n < rows; n++) {
        float *p = (float *)call->output[1] + n * TOY_CLASSES;
        scores(call, (const float *)call->input[0] + n * TOY_IN, p);
        int32_t best = 0;
        for (int k = 1; k < TOY_CLASSES; k++)
            best = p[k] > p[best] ? k : best;
        ((int32_t *)call->output[0])[n] = best;
    }
}
static void toy_predict(const aml_call *call)
{
    predict_rows(call, 1);
}

static void toy_prepare(const aml_call *call)
{
    for (int i = 0; i < TOY_IN; i++)
        ((float *)call->output[0])[i] = ((const float *)call->input[0])[i] / 10;
    *(int32_t *)call->output[1] = *(const int32_t *)call->input[1];
}

// ---- tables

static const aml_tensor_info raw[] = {F32("x", 1, TOY_IN),
                                      {.name = "y", .dtype = AML_I32, .classes = TOY_CLASSES}};
static const aml_tensor_info batch_in[] = {
    F32("x", 2, TOY_BATCH, TOY_IN), {.name = "y", .dtype = AML_I32, .shape = {1, {TOY_BATCH}}}};
static const aml_tensor_info one_in[] = {F32("x", 2, 1, TOY_IN),
                                         {.name = "y", .dtype = AML_I32, .shape = {1, {1}}}};
static const aml_tensor_info step_out[] = {F32("loss", 0), F32("lr", 0)};
static const aml_tensor_info eval_out[] = {
    {.name = "loss_sum", .dtype = AML_F64},
    {.name = "loss_count", .dtype = AML_F64},
    F32("scores", 2, TOY_BATCH, TOY_CLASSES),
    {.name = "target", .dtype = AML_I32, .shape = {1, {TOY_BATCH}}}};
static const aml_tensor_info eval_one_out[] = {
    {.name = "loss_sum", .dtype = AML_F64},
    {.name = "loss_count", .dtype = AML_F64},
    F32("scores", 2, 1, TOY_CLASSES),
    {.name = "target", .dtype = AML_I32, .shape = {1, {1}}}};
static const aml_tensor_info value_out[] = {
    F32("accuracy", 0),
    {.name = "confusion", .dtype = AML_I64, .shape = {2, {TOY_CLASSES, TOY_CLASSES}}}};
static const aml_tensor_info predict_out[] = {
    {.name = "prediction", .dtype = AML_I32, .shape = {1, {1}}},
    F32("probability", 2, 1, TOY_CLASSES)};
static const aml_scalar_info seed_scalar[] = {{AML_SCALAR_SEED, 0, AML_I64}};
static const aml_scalar_info step_scalar[] = {
    {AML_SCALAR_STEP, 0, AML_I64},        {AML_SCALAR_SEED, 0, AML_I64},
    {AML_SCALAR_TOTAL_STEPS, 0, AML_I64}, {AML_SCALAR_OPTION, 0, AML_F32},
    {AML_SCALAR_OPTION, 1, AML_I64},      {AML_SCALAR_OPTION, 2, AML_I64},
    {AML_SCALAR_EPOCH_STEPS, 0, AML_F64}};

#define FUNCTION(NAME, RUN, ARENA, IN, INS, OUT, OUTS, SCALAR, SCALARS)                            \
    {                                                                                              \
        .name = NAME, .run = RUN, .arena_bytes = ARENA, .inputs = INS, .outputs = OUTS,            \
        .scalars = SCALARS, .input = IN, .output = OUT, .scalar = SCALAR, .flops = 1000            \
    }

static const aml_option options[] = {
    {"lr", "Peak learning rate.", "toy.aml:3", AML_OPTION_REAL, {.real = 0.1}, AML_UNIT_NONE, NULL},
    {"work",
     "Makes every step slower.",
     "toy.aml:4",
     AML_OPTION_INT,
     {.whole = 0},
     AML_UNIT_NONE,
     NULL},
    {"poison",
     "The step whose loss is NaN.",
     "toy.aml:5",
     AML_OPTION_INT,
     {.whole = 0},
     AML_UNIT_NONE,
     NULL},
    {"length",
     "How long to train.",
     "toy.aml:6",
     AML_OPTION_DURATION,
     {.real = 20},
     AML_UNIT_EPOCHS,
     NULL},
    {"corpus", "The data.", "toy.aml:7", AML_OPTION_TEXT, {0}, AML_UNIT_NONE, "toy.csv"},
    {"share", "A fraction.", "toy.aml:8", AML_OPTION_FRACTION, {.real = 0.25}, AML_UNIT_NONE, NULL},
    {"room", "A size.", "toy.aml:9", AML_OPTION_BYTES, {.real = 4096}, AML_UNIT_BYTES, NULL},
    {"fast", "A switch.", "toy.aml:10", AML_OPTION_BOOL, {.whole = 0}, AML_UNIT_NONE, NULL},
};
static const aml_fixed fixeds[] = {{"hidden", "Width of the hidden layer.", "toy.aml:2", "128"}};
static const aml_effective effectives[] = {{"train toy", "batch", "16", "toy.aml:30"},
                                           {"train toy", "seed", "42", "default"},
                                           {"dataset rows", "split", "{ ... }", "toy.aml:20"}};

static const aml_text_part corpus_part[] = {{NULL, 4}};
static const aml_field fields[] = {
    {.tensor = F32("x", 1, TOY_IN), .place = "toy.aml:15", .count = TOY_IN},
    {.tensor = {.name = "y", .dtype = AML_I32, .classes = TOY_CLASSES},
     .place = "toy.aml:16",
     .column = "class",
     .count = 1,
     .label = true},
};
#define SOURCE                                                                                     \
    {                                                                                              \
        .kind = AML_SOURCE_CSV, .reader = &amli_source_csv, .place = "toy.aml:14",                 \
        .file = {{1, corpus_part}}, .separator = ',', .header = AML_HEADER_AUTO                    \
    }
#define PREPARE FUNCTION("prepare", toy_prepare, 0, raw, 2, raw, 2, NULL, 0)
static const aml_dataset datasets[] = {
    {.name = "rows",
     .doc = "Made-up rows.",
     .place = "toy.aml:13",
     .source = SOURCE,
     .fields = 2,
     .field = fields,
     .split = {.train = 0.7, .valid = 0.2, .test = 0.1, .seed = 7, .stratify = 1},
     .prepare = PREPARE},
    {.name = "tolerant",
     .place = "toy.aml:23",
     .source = SOURCE,
     .fields = 2,
     .field = fields,
     .split = {.train = 1, .seed = 7, .stratify = -1},
     .on_bad = AML_ON_BAD_SKIP,
     .skip_limit = 0.1,
     .prepare = PREPARE},
};

static const aml_metric metrics[] = {
    {.name = "accuracy", .finish = AML_FINISH_COMPILED, .output = 0},
    {.name = "confusion", .finish = AML_FINISH_COMPILED, .output = 1},
    {.name = "auc", .finish = AML_FINISH_ROC_AUC_MACRO, .collect = {2, 3}},
};

#define STEP                                                                                       \
    FUNCTION("step", toy_step, sizeof(float) * TOY_BATCH * ROW, batch_in, 2, step_out, 2,          \
             step_scalar, 7)
#define FUNCTIONS                                                                                  \
    .metrics_reset = FUNCTION("metrics_reset", toy_metrics_reset, 0, NULL, 0, NULL, 0, NULL, 0),   \
    .eval = FUNCTION("eval", toy_eval, 64, batch_in, 2, eval_out, 4, NULL, 0),                     \
    .eval_one = FUNCTION("eval_one", toy_eval_one, 64, one_in, 2, eval_one_out, 4, NULL, 0),       \
    .metrics_value =                                                                               \
        FUNCTION("metrics_value", toy_metrics_value, 0, NULL, 0, value_out, 2, NULL, 0),           \
    .has_loss = true, .metrics = 3, .metric = metrics, .states = 8, .state = train_state,          \
    .state_bytes = STATE_BYTES, .batch = TOY_BATCH
#define TRAIN                                                                                      \
    .kind = AML_JOB_TRAIN, FUNCTIONS,                                                              \
    .init = FUNCTION("init", toy_init, 0, NULL, 0, NULL, 0, seed_scalar, 1), .step = STEP,         \
    .predict = FUNCTION("predict", toy_predict, 0, one_in, 1, predict_out, 2, NULL, 0), .seed = 42

static const aml_job jobs[] = {
    {.name = "toy",
     .doc = "Softmax regression.",
     .place = "toy.aml:28",
     .data = 0,
     TRAIN,
     .length = {20, AML_UNIT_EPOCHS, 3},
     .validate_every = {1, AML_UNIT_EPOCHS, -1},
     .checkpoint_every = {1, AML_UNIT_EPOCHS, -1},
     .keep_last = 2,
     .keep_best = 1,
     .keep_metric = 0,
     .stop_metric = -2},
    {.name = "early",
     .place = "toy.aml:40",
     .data = 0,
     TRAIN,
     .length = {500, AML_UNIT_EPOCHS, -1},
     .validate_every = {10, AML_UNIT_STEPS, -1},
     .checkpoint_every = {0, AML_UNIT_STEPS, -1},
     .keep_last = 1,
     .keep_best = 2,
     .keep_metric = -1,
     .stop_metric = 0,
     .stop_patience = {5, AML_UNIT_EPOCHS, -1}},
    {.name = "timed",
     .place = "toy.aml:50",
     .data = 1,
     TRAIN,
     .length = {0.3, AML_UNIT_SECONDS, -1},
     .validate_every = {0, AML_UNIT_STEPS, -1},
     .checkpoint_every = {0.1, AML_UNIT_SECONDS, -1},
     .keep_last = 3,
     .keep_metric = -1,
     .stop_metric = -2},
    {.kind = AML_JOB_EVALUATE,
     .name = "report",
     .place = "toy.aml:60",
     .data = 0,
     .part = AML_PART_TEST,
     FUNCTIONS,
     .model_job = 0,
     .which = AML_WHICH_BEST},
};

const aml_program toy_program = {
    .abi = AML_PROGRAM_ABI,
    .name = "toy",
    .doc = "Softmax regression by hand.",
    .source = "toy.aml",
    .source_dir = "beside",
    .source_hash =
#ifdef TOY_OTHER
        "1111111111111111111111111111111111111111111111111111111111111111",
#else
        "0000000000000000000000000000000000000000000000000000000000000000",
#endif
    .compiler = "amlc 0",
    .cpu_level = "x86-64",
    .cpu_features =
#ifdef TOY_CPU
        TOY_CPU,
#else
        "sse2",
#endif
    .options = 8,
    .fixeds = 1,
    .effectives = 3,
    .datasets = 2,
    .jobs = 4,
    .option = options,
    .fixed = fixeds,
    .effective = effectives,
    .dataset = datasets,
    .job = jobs,
};

// ---- the deployed form: weights fixed

static const float deployed[STATE_BYTES / 4] = {1, -1, 0, 0, 2,           -2,    0.5f, 0,
                                                0, -1, 1, 0, [16] = 0.1f, -0.1f, 0};

static void with_weights(const aml_call *call, int rows)
{
    aml_call inner = *call;
    union {
        const float *from;
        void *to;
    } constant = {deployed};
    inner.state = constant.to;
    predict_rows(&inner, rows);
}
static void deployed_one(const aml_call *call)
{
    with_weights(call, 1);
}
static void deployed_many(const aml_call *call)
{
    with_weights(call, TOY_BATCH);
}
static void deployed_prepare(const aml_call *call)
{
    for (int i = 0; i < TOY_IN; i++)
        ((float *)call->output[0])[i] = ((const float *)call->input[0])[i] / 10;
}

static const aml_tensor_info many_out[] = {
    {.name = "prediction", .dtype = AML_I32, .shape = {1, {TOY_BATCH}}},
    F32("probability", 2, TOY_BATCH, TOY_CLASSES)};
static const int64_t sizes[] = {1, TOY_BATCH};
static const aml_function predicts[] = {
    FUNCTION("predict_1", deployed_one, 64, one_in, 1, predict_out, 2, NULL, 0),
    FUNCTION("predict_16", deployed_many, 640, batch_in, 1, many_out, 2, NULL, 0)};
static const aml_level levels[] = {
    {.cpu_level = "x86-64",
     .cpu_features = "sse2",
     .prepare = FUNCTION("prepare", deployed_prepare, 0, raw, 1, raw, 1, NULL, 0),
     .predict = predicts}};
const aml_artifact toy_artifact = {
    .abi = AML_PROGRAM_ABI,
    .name = "toy_f32",
    .doc = "The toy, deployed.",
    .source_hash = "00",
    .weights_hash = "11",
    .data_fingerprint = "22",
    .compiler = "amlc 0",
    .levels = 1,
    .level = levels,
    .fields = 1,
    .field = fields,
    .separator = ',',
    .header = AML_HEADER_AUTO,
    .predicts = 2,
    .predict_batch = sizes,
    .weights_bytes = 60,
    .parameters = 15,
};

void toy_write_data(const char *path, int rows)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return;
    fputs("a,b,c,d,class\n", out);
    for (int n = 0; n < rows; n++) {
        int y = n * 7 % 10 < 5 ? 0 : n * 7 % 10 < 8 ? 1 : 2;
        for (int i = 0; i < TOY_IN; i++)
            fprintf(out, "%.4f,",
                    10.0 * (double)(noise(11, (uint64_t)n, (uint64_t)i) + (i == y ? 0.7f : 0.0f)));
        fprintf(out, "%d\n", y);
    }
    fclose(out);
}
