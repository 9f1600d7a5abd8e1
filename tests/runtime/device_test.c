// Devices: the fake one faults when its memory is touched, and whole jobs run on it with the same
// result as on the host.

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "runtime/job/job.h"
#include "toy.h"

static bool faults(const volatile char *at)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        freopen("/dev/null", "w", stderr);
        _exit(*at ? 1 : 0);
    }
    int status;
    waitpid(child, &status, 0);
    // a sanitizer turns the signal into an exit code of its own
    return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) > 1);
}

TEST(fake_memory_faults_on_the_host)
{
    amli_device *device;
    amli_memory memory;
    aml_error error;
    CHECK(amli_device_fake.open(&amli_device_fake, 1, &device, &error) == AML_OK);
    CHECK(device->kind->allocate(device, AMLI_FOR_STATE, 100, &memory, &error) == AML_OK);
    CHECK(device->kind->host_view(device, memory) == NULL);
    CHECK(faults((const volatile char *)(uintptr_t)memory));
    char text[16] = "there", back[16];
    CHECK(device->kind->upload(device, memory, 50, text, 16, &error) == AML_OK);
    CHECK(device->kind->download(device, memory, 50, back, 16, &error) == AML_OK);
    CHECK_TEXT(back, "there");
    CHECK_INT(device->kind->download(device, memory, 90, back, 16, &error), AML_INTERNAL);
    CHECK_INT(device->kind->upload(device, memory + 4096, 0, back, 1, &error), AML_INTERNAL);
    device->kind->close(device);
}

TEST(memory_is_accounted)
{
    static const amli_device_kind *const kinds[] = {&amli_device_cpu, &amli_device_fake};
    for (int i = 0; i < 2; i++) {
        amli_device *device;
        amli_memory a, b;
        aml_error error;
        CHECK(kinds[i]->open(kinds[i], 1, &device, &error) == AML_OK);
        CHECK(kinds[i]->allocate(device, AMLI_FOR_STATE, 1000, &a, &error) == AML_OK);
        CHECK(kinds[i]->allocate(device, AMLI_FOR_ARENA, 0, &b, &error) == AML_OK);
        CHECK(a % AML_ALIGNMENT == 0 && b % AML_ALIGNMENT == 0 && a && b);
        CHECK_INT(device->allocated[AMLI_FOR_STATE], 1000);
        CHECK_INT(device->peak, 1000);
        kinds[i]->release(device, a);
        CHECK_INT(device->allocated[AMLI_FOR_STATE], 0);
        CHECK_INT(kinds[i]->allocate(device, AMLI_FOR_STATE, SIZE_MAX - 10, &a, &error),
                  AML_NO_MEMORY);
        char zero[64];
        CHECK(kinds[i]->allocate(device, AMLI_FOR_BATCH, 64, &a, &error) == AML_OK);
        CHECK(kinds[i]->download(device, a, 0, zero, 64, &error) == AML_OK);
        for (int k = 0; k < 64; k++)
            CHECK(zero[k] == 0);
        kinds[i]->close(device);
    }
}

static int run(const amli_device_kind *kind, const char *const *arguments)
{
    char *argv[16];
    int argc = 0;
    while (arguments[argc]) {
        argv[argc] = strdup(arguments[argc]);
        argc++;
    }
    argv[argc] = NULL;
    int code = amli_program_run(&toy_program, argc, argv, kind);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return code;
}

static char *final_weights(const char *runs, size_t *length)
{
    aml_checkpoint *checkpoint;
    char path[PATH_MAX], *text = NULL;
    if (aml_checkpoint_find(runs, "toy", AML_WHICH_LAST, NULL, NULL, &checkpoint, NULL) != AML_OK)
        return NULL;
    snprintf(path, sizeof path, "%s/%s", aml_checkpoint_path(checkpoint), AMLI_WEIGHTS_FILE);
    aml_checkpoint_close(checkpoint);
    return amli_read_file(path, &text, length, NULL) ? NULL : text;
}

TEST(jobs_run_on_the_fake_device)
{
    size_t m, n;
    CHECK_INT(run(&amli_device_cpu,
                  (const char *const[]){"toy", "train", "toy", "--quiet", "--runs", "cpu", NULL}),
              0);
    CHECK_INT(
        run(&amli_device_fake, (const char *const[]){"toy", "train", "toy", "--quiet", "--runs",
                                                     "fake", "--steps", "40", NULL}),
        0);
    CHECK_INT(
        run(&amli_device_fake, (const char *const[]){"toy", "train", "toy", "--quiet", "--runs",
                                                     "fake", "--resume", "--threads", "3", NULL}),
        0);
    char *a = final_weights("cpu", &m), *b = final_weights("fake", &n);
    CHECK(a && b && m == n && memcmp(a, b, m) == 0);
    free(a), free(b);
    CHECK_INT(run(&amli_device_fake, (const char *const[]){"toy", "evaluate", "--quiet", "--runs",
                                                           "fake", "--json", NULL}),
              0);
    CHECK_INT(run(&amli_device_fake,
                  (const char *const[]){"toy", "predict", "toy.csv", "--job", "toy", "--quiet",
                                        "--runs", "fake", "-o", "fake.csv", NULL}),
              0);
    CHECK_INT(run(&amli_device_cpu,
                  (const char *const[]){"toy", "predict", "toy.csv", "--job", "toy", "--quiet",
                                        "--runs", "cpu", "-o", "cpu.csv", NULL}),
              0);
    CHECK(amli_read_file("fake.csv", &a, &m, NULL) == AML_OK &&
          amli_read_file("cpu.csv", &b, &n, NULL) == AML_OK);
    CHECK(m == n && memcmp(a, b, m) == 0);
    free(a), free(b);
}

TEST(plan_is_what_is_allocated)
{
    for (int i = 0; i < toy_program.jobs; i++) {
        amli_command command;
        amli_session session;
        aml_error error;
        char *argv[] = {(char[]){"toy"}, NULL};
        CHECK(amli_command_parse(&toy_program, 1, argv, &command, &error) == AML_OK);
        CHECK(amli_session_open(&command, &toy_program.job[i], &amli_device_cpu, &session,
                                &error) == AML_OK);
        amli_need need = amli_job_need(&toy_program.job[i]);
        CHECK_INT(session.device->allocated[AMLI_FOR_STATE], need.state);
        CHECK_INT(session.device->allocated[AMLI_FOR_ARENA], need.arena);
        CHECK_INT(session.device->allocated[AMLI_FOR_BATCH], need.batch);
        CHECK_INT(session.device->peak, need.state + need.arena + need.batch);
        amli_session_close(&session);
        amli_command_free(&command);
    }
}

// The process's own figures: pages of the whole address space, and those in memory.
static bool process_pages(long *size, long *resident)
{
    FILE *in = fopen("/proc/self/statm", "r");
    int got = in ? fscanf(in, "%ld %ld", size, resident) : 0;
    if (in)
        fclose(in);
    return got == 2;
}

static size_t big_arena;

static void touch_all(const aml_call *call)
{
    memset(call->arena, 1, big_arena);
    memset(call->state, 1, big_arena);
}

TEST(plan_is_what_the_process_takes)
{
    enum { MIB = 1 << 20 };
    aml_job job = toy_program.job[0];
    big_arena = 48 * MIB;
    job.state_bytes = big_arena;
    job.init.arena_bytes = big_arena;
    job.init.run = touch_all;
    amli_command command;
    amli_session session;
    aml_error error;
    char *argv[] = {(char[]){"toy"}, NULL};
    long size[2], resident[2];
    CHECK(amli_command_parse(&toy_program, 1, argv, &command, &error) == AML_OK);
    command.threads = 1;
    CHECK(process_pages(&size[0], &resident[0]));
    CHECK(amli_session_open(&command, &job, &amli_device_cpu, &session, &error) == AML_OK);
    CHECK(amli_session_run(&session, &session.init, 0, &error) == AML_OK);
    CHECK(process_pages(&size[1], &resident[1]));
    amli_need need = amli_job_need(&job);
    double planned = (double)(need.state + need.arena + need.batch),
           page = (double)sysconf(_SC_PAGESIZE);
    CHECK(need.state == big_arena && need.arena == big_arena);
    // tables and the like may take some more, but not one per cent. Sanitizers keep memory of their
    // own for each page.
    if (!AML_SANITIZED) {
        CHECK_CLOSE((double)(resident[1] - resident[0]) * page, planned, planned * 0.01);
        CHECK_CLOSE((double)(size[1] - size[0]) * page, planned, planned * 0.01);
    }
    amli_session_close(&session);
    amli_command_free(&command);
}

int main(void)
{
    // in memory where there is such a file system: checkpoints are synced, and a disk would be
    // waited for
    char on_disk[] = "/tmp/aml-device-XXXXXX", in_memory[] = "/dev/shm/aml-device-XXXXXX";
    char *folder = access("/dev/shm", W_OK) == 0 ? in_memory : on_disk;
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    toy_write_data("toy.csv", 200);
    RUN(fake_memory_faults_on_the_host);
    RUN(memory_is_accounted);
    RUN(jobs_run_on_the_fake_device);
    RUN(plan_is_what_is_allocated);
    RUN(plan_is_what_the_process_takes);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || check_failures ? 1 : 0;
}
