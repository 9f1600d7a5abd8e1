// safetensors and checkpoints: what is written is read, and nothing that was cut or flipped is
// taken for sound.

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "runtime/checkpoint/store.h"
#include "toy.h"

// in memory where there is such a file system: checkpoints are synced, and a disk would be waited
// for
static char on_disk[] = "/tmp/aml-checkpoint-XXXXXX",
            in_memory[] = "/dev/shm/aml-checkpoint-XXXXXX";
static char *folder = on_disk;

static amli_device *device;
static amli_memory memory;

// The toy's state filled with numbers that depend on `salt`.
static void fill_state(const aml_job *job, int salt)
{
    char bytes[1024];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 + (size_t)salt * 7);
    device->kind->upload(device, memory, 0, bytes, job->state_bytes, NULL);
}

static amli_store open_store(const aml_job *job, const char *run)
{
    amli_store store = {
        .program = &toy_program, .job = job, .data_fingerprint = "feed", .score_name = "accuracy"};
    snprintf(store.run, sizeof store.run, "%s/%s", folder, run);
    snprintf(store.folder, sizeof store.folder, "%s/%s/checkpoints", folder, run);
    amli_make_folders(store.folder, NULL);
    return store;
}

static aml_status save(amli_store *store, int64_t step, bool scored, double score)
{
    amli_progress progress = {.step = step, .seed = 5, .loss_sum = 0.1 + 0.2, .best = 1.0 / 3};
    fill_state(store->job, (int)step);
    char state[1024];
    device->kind->download(device, memory, 0, state, store->job->state_bytes, NULL);
    amli_snapshot snapshot = {
        .state = state, .progress = progress, .scored = scored, .score = score, .log = -1};
    aml_status status = amli_store_decide(store, &snapshot, NULL);
    if (!status)
        status = amli_store_write(store, &snapshot, NULL);
    free(snapshot.remove);
    return status;
}

static char *slurp(const char *path, size_t *length)
{
    char *text = NULL;
    amli_read_file(path, &text, length, NULL);
    return text;
}

static void spill(const char *path, const char *bytes, size_t length)
{
    FILE *out = fopen(path, "w");
    fwrite(bytes, 1, length, out);
    fclose(out);
}

static const char *weights_path(const amli_store *store, int64_t step, const char *file,
                                char path[PATH_MAX])
{
    char name[32], inside[PATH_MAX];
    amli_step_name(step, name);
    if (amli_join(inside, sizeof inside, store->folder, name, NULL) ||
        amli_join(path, PATH_MAX, inside, file, NULL))
        path[0] = 0;
    return path;
}

TEST(written_is_read)
{
    const aml_job *job = &toy_program.job[0];
    amli_store store = open_store(job, "read");
    CHECK(save(&store, 12, true, 0.5) == AML_OK);
    aml_checkpoint *checkpoint;
    aml_error error;
    CHECK(amli_run_open(store.run, AML_WHICH_LAST, NULL, NULL, &checkpoint, &error) == AML_OK);
    const aml_checkpoint_info *info = aml_checkpoint_describe(checkpoint);
    CHECK_INT(info->step, 12);
    CHECK_TEXT(info->job, "toy");
    CHECK_TEXT(info->data_fingerprint, "feed");
    CHECK(info->scored && info->score == 0.5);
    const aml_tensors *weights = aml_checkpoint_weights(checkpoint);
    CHECK_INT(aml_tensors_count(weights), 3);
    CHECK(aml_tensors_find(weights, "fc.weight.m") < 0);
    int32_t at = aml_tensors_find(weights, "fc.weight");
    CHECK(at >= 0);
    CHECK_INT(aml_tensors_info(weights, at)->shape.dim[0], TOY_IN);
    CHECK_INT(aml_tensors_bytes(weights, at), TOY_IN * TOY_CLASSES * 4);
    const char *data = aml_tensors_data(weights, at);
    for (size_t i = 0; i < TOY_IN * TOY_CLASSES * 4; i++)
        CHECK(data[i] == (char)(i * 31 + 12 * 7));
    amli_progress progress;
    CHECK(amli_checkpoint_progress(checkpoint, &progress, &error) == AML_OK);
    CHECK(progress.loss_sum == 0.1 + 0.2 && progress.best == 1.0 / 3 && progress.seed == 5);
    amli_progress_free(&progress);
    aml_tensors *optimizer;
    CHECK(amli_checkpoint_optimizer(checkpoint, &optimizer, &error) == AML_OK);
    CHECK_INT(aml_tensors_count(optimizer), 2);
    aml_tensors_close(optimizer);
    aml_checkpoint_close(checkpoint);
    amli_store_free(&store);
}

TEST(same_state_same_bytes)
{
    const aml_job *job = &toy_program.job[0];
    amli_store a = open_store(job, "same-a"), b = open_store(job, "same-b");
    CHECK(save(&a, 3, false, 0) == AML_OK && save(&b, 3, false, 0) == AML_OK);
    static const char *const files[] = {AMLI_WEIGHTS_FILE, AMLI_OPTIMIZER_FILE, AMLI_STATE_FILE,
                                        AMLI_MANIFEST_FILE};
    for (size_t i = 0; i < AMLI_COUNT(files); i++) {
        char path[PATH_MAX];
        size_t m, n;
        char *x = slurp(weights_path(&a, 3, files[i], path), &m),
             *y = slurp(weights_path(&b, 3, files[i], path), &n);
        CHECK(x && y && m == n && memcmp(x, y, m) == 0);
        free(x), free(y);
    }
    amli_store_free(&a), amli_store_free(&b);
}

// Every truncation and every flipped bit of each file of a checkpoint is noticed; what opens has
// the same content.
TEST(every_cut_and_flip_is_noticed)
{
    const aml_job *job = &toy_program.job[0];
    amli_store store = open_store(job, "flip");
    CHECK(save(&store, 4, true, 0.25) == AML_OK);
    static const char *const files[] = {AMLI_WEIGHTS_FILE, AMLI_OPTIMIZER_FILE, AMLI_STATE_FILE,
                                        AMLI_MANIFEST_FILE};
    char run[PATH_MAX], path[PATH_MAX];
    CHECK(amli_join(run, sizeof run, store.folder, "step-000004", NULL) == AML_OK);
    for (size_t f = 0; f < AMLI_COUNT(files); f++) {
        size_t length;
        char *good = slurp(weights_path(&store, 4, files[f], path), &length);
        CHECK(good);
        char *bad = malloc(length);
        int opened = 0;
        for (size_t cut = 0; cut < length; cut++) {
            aml_checkpoint *checkpoint;
            aml_error error;
            spill(path, good, cut);
            if (aml_checkpoint_open(run, &checkpoint, &error) == AML_OK) {
                // only the last newline or brace of a manifest's text could be missing without a
                // loss; it must still seal
                CHECK(f == 3 && aml_checkpoint_describe(checkpoint)->step == 4);
                aml_checkpoint_close(checkpoint);
                opened++;
            } else {
                CHECK_INT(error.status, AML_BAD_CHECKPOINT);
            }
        }
        CHECK_INT(opened, 0);
        for (size_t bit = 0; bit < length * 8; bit++) {
            aml_checkpoint *checkpoint;
            aml_error error;
            memcpy(bad, good, length);
            bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
            spill(path, bad, length);
            if (aml_checkpoint_open(run, &checkpoint, &error) == AML_OK) {
                const aml_checkpoint_info *info = aml_checkpoint_describe(checkpoint);
                CHECK(f == 3 && info->step == 4 && info->score == 0.25 &&
                      strcmp(info->job, "toy") == 0); // a blank became another blank
                aml_checkpoint_close(checkpoint);
            } else {
                CHECK_INT(error.status, AML_BAD_CHECKPOINT);
            }
        }
        spill(path, good, length);
        free(good), free(bad);
    }
    aml_checkpoint *checkpoint;
    CHECK(aml_checkpoint_open(run, &checkpoint, NULL) == AML_OK);
    aml_checkpoint_close(checkpoint);
    amli_store_free(&store);
}

// The reader of safetensors alone, without a hash that guards it: anything may come, nothing may
// crash.
TEST(safetensors_reader_survives)
{
    const aml_job *job = &toy_program.job[0];
    amli_store store = open_store(job, "raw");
    CHECK(save(&store, 1, false, 0) == AML_OK);
    char path[PATH_MAX];
    size_t length;
    char *good = slurp(weights_path(&store, 1, AMLI_WEIGHTS_FILE, path), &length),
         *bad = malloc(length);
    aml_tensors *tensors;
    aml_error error;
    for (size_t cut = 0; cut < length; cut++)
        CHECK_INT(aml_tensors_parse("cut", good, cut, &tensors, &error), AML_BAD_CHECKPOINT);
    for (size_t bit = 0; bit < length * 8; bit++) {
        memcpy(bad, good, length);
        bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
        if (aml_tensors_parse("flip", bad, length, &tensors, &error) != AML_OK)
            continue;
        for (int32_t i = 0; i < aml_tensors_count(tensors);
             i++) { // everything that it promises can be read
            const char *data = aml_tensors_data(tensors, i);
            volatile char sum = 0;
            for (size_t k = 0; k < aml_tensors_bytes(tensors, i); k++)
                sum = (char)(sum + data[k]);
        }
        aml_tensors_close(tensors);
    }
    free(good), free(bad);
    amli_store_free(&store);
}

static aml_status parse_header(const char *header, size_t data, aml_error *error)
{
    char bytes[2048] = {0};
    size_t length = strlen(header);
    bytes[0] = (char)(length & 0xFF);
    bytes[1] = (char)(length >> 8);
    memcpy(bytes + 8, header, length);
    aml_tensors *tensors;
    aml_status status = aml_tensors_parse("file", bytes, 8 + length + data, &tensors, error);
    if (!status)
        aml_tensors_close(tensors);
    return status;
}

TEST(unsound_headers_are_refused)
{
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {"{}", 0, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ", 4, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, NULL},
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_"
         "offsets\":[0,4]}}",
         4, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "gap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "12 are stored"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "12 bytes, and 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", 8, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8,
         "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807],\"data_offsets\":[0,8]}}", 8,
         "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "8 axes"},
        {"{\"a\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "U64 is unknown"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets"},
        {"{\"a\":[]}", 0, "data_offsets"},
        {"{\"__metadata__\":3}", 0, "__metadata__"},
        {"{\"a\":", 0, "not JSON"},
        {"[1]", 0, "'{'"},
    };
    for (size_t i = 0; i < AMLI_COUNT(cases); i++) {
        aml_error error = {0};
        aml_status status = parse_header(cases[i].header, cases[i].data, &error);
        if (cases[i].says ? status != AML_BAD_CHECKPOINT || !strstr(error.text, cases[i].says)
                          : status != AML_OK)
            CHECK_FAIL("case %zu: status %d, \"%s\"", i, (int)status, error.text);
    }
    // a header that claims to be longer than any file
    aml_tensors *tensors;
    CHECK_INT(aml_tensors_parse("huge", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, &tensors, NULL),
              AML_BAD_CHECKPOINT);
}

static void count_notice(void *self, const char *text)
{
    (void)text;
    ++*(int *)self;
}

TEST(a_damaged_one_is_passed_over)
{
    const aml_job *job = &toy_program.job[0];
    amli_store store = open_store(job, "previous");
    CHECK(save(&store, 10, false, 0) == AML_OK && save(&store, 20, false, 0) == AML_OK);
    char path[PATH_MAX];
    spill(weights_path(&store, 20, AMLI_WEIGHTS_FILE, path), "short", 5);
    aml_checkpoint *checkpoint;
    int notices = 0;
    CHECK(amli_run_open(store.run, AML_WHICH_LAST, count_notice, &notices, &checkpoint, NULL) ==
          AML_OK);
    CHECK_INT(aml_checkpoint_describe(checkpoint)->step, 10);
    CHECK_INT(notices, 1);
    aml_checkpoint_close(checkpoint);
    spill(weights_path(&store, 10, AMLI_WEIGHTS_FILE, path), "short", 5);
    aml_error error;
    CHECK_INT(amli_run_open(store.run, AML_WHICH_LAST, count_notice, &notices, &checkpoint, &error),
              AML_BAD_CHECKPOINT);
    CHECK(strstr(error.text, "should have"));
    amli_store_free(&store);
}

static bool has_step(const amli_store *store, int64_t step)
{
    char path[PATH_MAX];
    return amli_exists(weights_path(store, step, AMLI_MANIFEST_FILE, path));
}

TEST(newest_and_best_are_kept)
{
    const aml_job *job = &toy_program.job[0]; // the newest 2, the best 1
    amli_store store = open_store(job, "kept");
    static const double score[] = {0.1, 0.9, 0.3, 0.9, 0.2, 0.4};
    for (int i = 0; i < 6; i++)
        CHECK(save(&store, i + 1, true, score[i]) == AML_OK);
    CHECK(!has_step(&store, 1) && has_step(&store, 2) && !has_step(&store, 3) &&
          !has_step(&store, 4) && has_step(&store, 5) && has_step(&store, 6));
    aml_checkpoint *checkpoint;
    CHECK(amli_run_open(store.run, AML_WHICH_BEST, NULL, NULL, &checkpoint, NULL) == AML_OK);
    CHECK_INT(aml_checkpoint_describe(checkpoint)->step, 2); // the older of equals
    aml_checkpoint_close(checkpoint);
    char path[PATH_MAX];
    size_t length;
    CHECK(amli_join(path, sizeof path, store.folder, "best", NULL) == AML_OK);
    char *text = slurp(path, &length);
    CHECK_TEXT(text, "step-000002\n");
    free(text);
    CHECK(amli_join(path, sizeof path, store.folder, "latest", NULL) == AML_OK);
    text = slurp(path, &length);
    CHECK_TEXT(text, "step-000006\n");
    free(text);
    amli_store_free(&store);
}

TEST(another_model_is_refused)
{
    const aml_job *job = &toy_program.job[0];
    amli_store store = open_store(job, "foreign");
    CHECK(save(&store, 1, false, 0) == AML_OK);
    aml_state_info other[8];
    memcpy(other, job->state, sizeof other);
    other[0].tensor.shape.dim[1] = 7;
    other[1].tensor.name = "fc.offset";
    aml_job changed = *job;
    changed.state = other;
    aml_checkpoint *checkpoint;
    aml_error error;
    CHECK(amli_run_open(store.run, AML_WHICH_LAST, NULL, NULL, &checkpoint, NULL) == AML_OK);
    unsigned roles = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE;
    CHECK(amli_check_state(job, aml_checkpoint_weights(checkpoint), roles, true, "it", &error) ==
          AML_OK);
    CHECK_INT(
        amli_check_state(&changed, aml_checkpoint_weights(checkpoint), roles, true, "it", &error),
        AML_BAD_CHECKPOINT);
    CHECK(strstr(error.text, "fc.weight: the program has f32[4, 7], the checkpoint f32[4, 3]"));
    CHECK(strstr(error.text, "fc.offset: the program has f32[3], the checkpoint none"));
    CHECK(strstr(error.text, "fc.bias: the program has none, the checkpoint f32[3]"));
    aml_checkpoint_close(checkpoint);
    amli_store_free(&store);
}

// A row that holds the turns of a repeat is one tensor for each turn in the file, and is read back
// from them.
TEST(turns_are_tensors_of_their_own)
{
    aml_job job = toy_program.job[0];
    aml_state_info rows[8];
    memcpy(rows, job.state, sizeof rows);
    rows[0].tensor.name = "body.#.inner.#.weight";
    rows[0].stack = 2;
    job.state = rows;
    amli_store store = open_store(&job, "turns");
    aml_error error;
    CHECK(save(&store, 1, false, 0) == AML_OK);
    aml_checkpoint *checkpoint;
    CHECK(amli_run_open(store.run, AML_WHICH_LAST, NULL, NULL, &checkpoint, &error) == AML_OK);
    const aml_tensors *weights = aml_checkpoint_weights(checkpoint);
    CHECK_INT(aml_tensors_count(weights), 2 + TOY_IN * TOY_CLASSES);
    int32_t at = aml_tensors_find(weights, "body.2.inner.1.weight");
    CHECK(at >= 0);
    CHECK_INT(aml_tensors_info(weights, at)->shape.rank, 0);
    const char *data = aml_tensors_data(weights, at);
    for (size_t i = 0; i < 4; i++)
        CHECK(data[i] == (char)((4 * (2 * TOY_CLASSES + 1) + i) * 31 + 7));
    unsigned roles = 1 << AML_ROLE_WEIGHT | 1 << AML_ROLE_STATE;
    CHECK(amli_check_state(&job, weights, roles, true, "it", &error) == AML_OK);
    char before[1024], after[1024];
    device->kind->download(device, memory, 0, before, job.state_bytes, NULL);
    fill_state(&job, 9);
    CHECK(amli_load_state(&job, weights, roles, device, memory, &error) == AML_OK);
    device->kind->download(device, memory, 0, after, job.state_bytes, NULL);
    CHECK(memcmp(before + rows[0].offset, after + rows[0].offset, TOY_IN * TOY_CLASSES * 4) == 0);
    rows[0].tensor.shape.dim[0]++;
    CHECK_INT(amli_check_state(&job, weights, roles, true, "it", &error), AML_BAD_CHECKPOINT);
    CHECK(strstr(error.text, "body.4.inner.0.weight: the program has f32[], the checkpoint none"));
    aml_checkpoint_close(checkpoint);
    amli_store_free(&store);
}

TEST(missing_runs_are_named)
{
    aml_checkpoint *checkpoint;
    aml_error error;
    CHECK_INT(
        aml_checkpoint_find(folder, "nobody", AML_WHICH_LAST, NULL, NULL, &checkpoint, &error),
        AML_NOT_FOUND);
    CHECK(strstr(error.text, "nobody") && strstr(error.text, folder));
    CHECK_INT(aml_checkpoint_open("/nonexistent/step-000001", &checkpoint, &error), AML_NOT_FOUND);
    CHECK_INT(aml_tensors_open("/nonexistent", &(aml_tensors *){NULL}, &error), AML_NOT_FOUND);
}

int main(void)
{
    aml_error error;
    if (access("/dev/shm", W_OK) == 0)
        folder = in_memory;
    if (!mkdtemp(folder) || amli_device_cpu.open(&amli_device_cpu, 1, &device, &error) ||
        device->kind->allocate(device, AMLI_FOR_STATE, 1024, &memory, &error))
        return 1;
    RUN(written_is_read);
    RUN(same_state_same_bytes);
    RUN(every_cut_and_flip_is_noticed);
    RUN(safetensors_reader_survives);
    RUN(unsound_headers_are_refused);
    RUN(a_damaged_one_is_passed_over);
    RUN(newest_and_best_are_kept);
    RUN(another_model_is_refused);
    RUN(turns_are_tensors_of_their_own);
    RUN(missing_runs_are_named);
    device->kind->close(device);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || check_failures ? 1 : 0;
}
