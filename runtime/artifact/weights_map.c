// The file with the weights of a deployed executable. Only tables of programs that have one name
// what is here.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aml/weights.h"
#include "runtime/artifact/serving.h"

// A text of the file, which may hold anything.
static const char *printable(const char *from, size_t room, char text[AML_WEIGHTS_MODEL])
{
    size_t length = strnlen(from, room < AML_WEIGHTS_MODEL ? room : AML_WEIGHTS_MODEL - 1);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)(from[i] >= ' ' && from[i] <= '~' ? from[i] : '?');
    text[length] = 0;
    return text;
}

static aml_status explain(const aml_weights_file *file, const char *path, const void *at,
                          size_t bytes, aml_weights_problem problem, aml_error *error)
{
    aml_weights_head head = {0};
    char text[AML_WEIGHTS_MODEL];
    if (bytes >= sizeof head)
        memcpy(&head, at, sizeof head);
    switch (problem) {
    case AML_WEIGHTS_GOOD:
        break;
    case AML_WEIGHTS_SHORT:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected the weights of %s, %zu bytes, found %zu bytes", path,
                         file->model, file->bytes, bytes);
    case AML_WEIGHTS_FOREIGN:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected a file with weights, which amlc writes beside a program, "
                         "found another kind of file",
                         path);
    case AML_WEIGHTS_FORM:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected version %d of the form of weights, found %u with a head of "
                         "%u bytes",
                         path, AML_WEIGHTS_VERSION, head.version, head.head_bytes);
    case AML_WEIGHTS_NAMED:
        return amli_fail(error, AML_BAD_DATA, "%s: expected the weights of %s, found those of %s",
                         path, file->model, printable(head.model, sizeof head.model, text));
    case AML_WEIGHTS_LEVEL:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected weights laid out for %s, found them laid out for %s: they "
                         "are of another build of %s",
                         path, file->levels, printable(head.levels, sizeof head.levels, text),
                         file->model);
    case AML_WEIGHTS_BUILD:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected the weights that this program was made with (%zu bytes, "
                         "SHA-256 %.16s...), found those of another build of %s (%llu bytes, "
                         "%.16s...)",
                         path, file->bytes, file->hash, file->model, (unsigned long long)head.bytes,
                         printable(head.hash, 16, text));
    case AML_WEIGHTS_HEAD:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: the file is damaged: bytes of its head that are zeros have values",
                         path);
    case AML_WEIGHTS_CUT:
        return amli_fail(error, AML_BAD_DATA, "%s: expected %zu bytes, found %zu: the file was %s",
                         path, file->bytes, bytes, bytes < file->bytes ? "cut off" : "continued");
    case AML_WEIGHTS_DAMAGED:
        return amli_fail(error, AML_BAD_DATA,
                         "%s: the file is damaged: its %zu bytes do not have the SHA-256 that its "
                         "head tells (%.16s...)",
                         path, bytes, file->hash);
    }
    return AML_OK;
}

// ---- a file that gets shorter while it is mapped
//
// Whoever reads what is gone gets SIGBUS. This is an executable, so the signal is its own: a
// library leaves signals to the program that it is in.

static struct {
    const char *begin, *end;
    char text[PATH_MAX + 256];
    size_t length;
} mapped; // what the handler needs

static void cut_off(int number, siginfo_t *info, void *context)
{
    const char *at = info->si_addr;
    (void)context;
    if (at < mapped.begin || at >= mapped.end) {
        signal(number, SIG_DFL); // what the access then does, made once more
        return;
    }
    for (size_t done = 0; done < mapped.length;) {
        ssize_t wrote = write(STDERR_FILENO, mapped.text + done, mapped.length - done);
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    _exit(1);
}

static void watch(const char *path, const char *at, size_t bytes)
{
    int length =
        snprintf(mapped.text, sizeof mapped.text,
                 "error: %s: the file was cut off while its weights were used\nhelp: put a "
                 "new file into its place (mv), which leaves the old one to those who use "
                 "it\n",
                 path);
    mapped.length = length < (int)sizeof mapped.text ? (size_t)length : sizeof mapped.text - 1;
    mapped.begin = at;
    mapped.end = at + bytes;
    struct sigaction action = {.sa_sigaction = cut_off, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

aml_status aml_weights_map(const aml_weights_file *file, const char *named,
                           struct amli_mapped_weights *out, aml_error *error)
{
    char path[PATH_MAX];
    ssize_t length = named ? -1 : readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/'), *end = slash ? slash + 1 : path;
    snprintf(end, sizeof path - (size_t)(end - path), "%s", named ? named : file->name);
    // of a pipe it does not wait for a writer
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (descriptor < 0 || fstat(descriptor, &info) != 0) {
        int code = errno;
        if (descriptor >= 0)
            close(descriptor);
        return amli_fail(error, AML_NOT_FOUND,
                         "cannot open the weights %s: %s\nhelp: name the file with --weights", path,
                         strerror(code));
    }
    if (!S_ISREG(info.st_mode)) {
        close(descriptor);
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected a file with weights, found what is no regular file", path);
    }
    size_t bytes = (size_t)info.st_size;
    void *at = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0) : NULL;
    close(descriptor);
    if (at == MAP_FAILED)
        return amli_fail(error, AML_IO, "cannot map the weights %s: %s", path, strerror(errno));
    watch(path, at, bytes);
    aml_weights_problem problem = aml_weights_examine(file, at, bytes);
    aml_status status = explain(file, path, at, bytes, problem, error);
    if (status && bytes)
        munmap(at, bytes);
    if (!status)
        *out = (amli_mapped_weights){at, bytes};
    return status;
}
