// Every allocation of a job is made to fail once: the job ends with a message, without a crash and
// without a leak.
//
// The linker redirects malloc, calloc, realloc, aligned_alloc, strdup and mmap of the runtime and
// of its libraries to the functions below (--wrap), so the product carries no hook.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "runtime/job/job.h"
#include "toy.h"

// Checkpoints are written by a thread of their own.
static _Atomic long countdown; // the allocation that fails; 0 or less: none
static _Atomic long made;

static bool fails(void)
{
    made++;
    return countdown > 0 && countdown-- == 1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void *__real_mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}
void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *at, size_t bytes)
{
    return fails() ? NULL : __real_realloc(at, bytes);
}
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}
char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(at, length, protection, flags, descriptor, offset);
}

static int run(const char *const *arguments)
{
    char *argv[16], text[512];
    int argc = 0;
    size_t used = 0;
    for (; arguments[argc]; argc++) {
        argv[argc] = text + used;
        used += strlen(strcpy(argv[argc], arguments[argc])) + 1;
    }
    argv[argc] = NULL;
    int code = amli_program_run(&toy_program, argc, argv, &amli_device_cpu);
    fflush(stdout);
    return code;
}

// What the commands print goes to a file; a test's own lines do not.
static int keep_output = -1;

static void hide(bool hidden)
{
    fflush(stdout);
    if (hidden) {
        keep_output = dup(STDOUT_FILENO);
        int file = open("output", O_WRONLY | O_CREAT | O_TRUNC, 0666);
        dup2(file, STDOUT_FILENO);
        close(file);
    } else {
        dup2(keep_output, STDOUT_FILENO);
        close(keep_output);
    }
}

// Fails allocation 1, 2, 3, ... until the command gets through. A metric without memory may be null
// instead of an error.
static int fail_each(const char *const *arguments, int stride)
{
    int result = 0;
    hide(true);
    for (long n = 1; result == 0; n += stride) {
        countdown = n;
        made = 0;
        int code = run(arguments);
        bool reached = countdown <= 0;
        countdown = 0;
        if (!reached)
            result = code == 0 ? (int)n : -1;
        else if (code != 0 && code != 1)
            result = -2;
    }
    hide(false);
    return result;
}

TEST(training)
{
    CHECK(fail_each((const char *const[]){"toy", "train", "toy", "--quiet", "--runs", "a",
                                          "--steps", "14", "--lr", "0.2", NULL},
                    3) > 100);
}

TEST(resuming)
{
    CHECK_INT(run((const char *const[]){"toy", "train", "toy", "--quiet", "--runs", "b", "--steps",
                                        "5", "--lr", "0.2", NULL}),
              0);
    CHECK(fail_each((const char *const[]){"toy", "train", "toy", "--quiet", "--runs", "b",
                                          "--steps", "5", "--resume", NULL},
                    3) > 100);
}

TEST(evaluating)
{
    CHECK(fail_each(
              (const char *const[]){"toy", "evaluate", "--quiet", "--runs", "b", "--json", NULL},
              1) > 100);
}

TEST(predicting)
{
    CHECK(fail_each((const char *const[]){"toy", "predict", "toy.csv", "--job", "toy", "--quiet",
                                          "--runs", "b", "-o", "out.csv", NULL},
                    1) > 50);
}

TEST(planning_and_checking)
{
    CHECK(fail_each((const char *const[]){"toy", "plan", "--json", NULL}, 1) > 50);
    CHECK(fail_each((const char *const[]){"toy", "data", "check", NULL}, 1) > 20);
}

// A deployed program allocates nothing between its start and its end but what the C library needs
// for a file.
TEST(artifact_allocates_once)
{
    char name[] = "toy_f32", verb[] = "predict", file[] = "toy.csv",
         *argv[] = {name, verb, file, NULL};
    made = 0;
    countdown = 0;
    hide(true);
    int code = aml_artifact_main(&toy_artifact, 3, argv);
    long blocks = made;
    countdown = 1;
    int without = aml_artifact_main(&toy_artifact, 3, argv);
    countdown = 0;
    setvbuf(stdout, NULL, _IOLBF, 0); // its buffer was in the block
    hide(false);
    CHECK_INT(code, 0);
    CHECK_INT(blocks, 1); // the block that is mapped at the start
    CHECK_INT(without, 1);
}

int main(void)
{
    // in memory where there is such a file system: checkpoints are synced, and a disk would be
    // waited for
    char on_disk[] = "/tmp/aml-memory-XXXXXX", in_memory[] = "/dev/shm/aml-memory-XXXXXX";
    char *folder = access("/dev/shm", W_OK) == 0 ? in_memory : on_disk;
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    toy_write_data("toy.csv", 60);
    // what the commands print is not of interest here
    freopen("printed", "w", stderr);
    RUN(training);
    RUN(resuming);
    RUN(evaluating);
    RUN(predicting);
    RUN(planning_and_checking);
    RUN(artifact_allocates_once);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || check_failures ? 1 : 0;
}
