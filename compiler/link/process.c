// process.c: running another program.

#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nettle/sha2.h>

static void child(const char *const argv[], const char *folder, ProcessOutput output, int write_end)
{
    signal(SIGINT, SIG_DFL);          // amlc ignores it while a stage runs
    prctl(PR_SET_PDEATHSIG, SIGTERM); // and takes the stage with it when it is ended
    if (folder && chdir(folder) != 0)
        _exit(127);
    if (output == PROCESS_CAPTURE || output == PROCESS_CAPTURE_BOTH) {
        dup2(write_end, STDOUT_FILENO);
        if (output == PROCESS_CAPTURE_BOTH)
            dup2(write_end, STDERR_FILENO);
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0)
            dup2(null, STDIN_FILENO);
    } else if (output == PROCESS_TO_STDERR) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    // execvp keeps argv as it is; its parameter lost its const in 1988
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

Process process_start(const char *const argv[], const char *folder, ProcessOutput output)
{
    int pipe_end[2] = {-1, -1};
    bool capture = output == PROCESS_CAPTURE || output == PROCESS_CAPTURE_BOTH;

    fflush(stdout);
    fflush(stderr);
    if (capture && pipe2(pipe_end, O_CLOEXEC) != 0)
        return (Process){-1, -1};
    // The child has the parent's memory until it executes: copying its tables, and taking each page
    // back afterwards, would cost milliseconds. What `child` does changes nothing of the parent's.
    pid_t pid = vfork();
    if (pid == 0)
        child(argv, folder, output, pipe_end[1]);
    if (capture)
        close(pipe_end[1]);
    if (pid < 0 && capture)
        close(pipe_end[0]);
    return (Process){(long)pid, pid < 0 ? -1 : pipe_end[0]};
}

ProcessResult process_finish(Cx *cx, Process process)
{
    ProcessResult result = {-1, arena_text(cx->arena, "", 0), 0};
    if (process.id < 0)
        return result;
    if (process.output >= 0) {
        Buffer text = {.arena = cx->arena};
        char block[65536];
        ssize_t got;
        while ((got = read(process.output, block, sizeof block)) > 0 || (got < 0 && errno == EINTR))
            if (got > 0)
                buffer_append(&text, block, (size_t)got);
        close(process.output);
        if (text.length) {
            result.output = text.text;
            result.length = text.length;
        }
    }
    int status;
    while (waitpid((pid_t)process.id, &status, 0) < 0 && errno == EINTR)
        ;
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

ProcessResult process_run(Cx *cx, const char *const argv[], const char *folder,
                          ProcessOutput output)
{
    return process_finish(cx, process_start(argv, folder, output));
}

const char *sha256_hex(Cx *cx, const void *at, size_t length)
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char *hex = arena_alloc(cx->arena, 2 * SHA256_DIGEST_SIZE + 1);

    sha256_init(&context);
    sha256_update(&context, length, at);
    sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}
