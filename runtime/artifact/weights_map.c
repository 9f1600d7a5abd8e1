// The file with the weights of a deployed executable. Only tables of programs that have one name
// what is here.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/artifact/serving.h"

aml_status aml_weights_map(const aml_weights_file *file, const char *named,
                           struct amli_mapped_weights *out, aml_error *error)
{
    char path[PATH_MAX];
    ssize_t length = named ? -1 : readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/'), *end = slash ? slash + 1 : path;
    snprintf(end, sizeof path - (size_t)(end - path), "%s", named ? named : file->name);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (descriptor < 0 || fstat(descriptor, &info) != 0) {
        int code = errno;
        if (descriptor >= 0)
            close(descriptor);
        return amli_fail(error, AML_NOT_FOUND,
                         "cannot open the weights %s: %s\nhelp: name the file with --weights", path,
                         strerror(code));
    }
    size_t bytes = (size_t)info.st_size;
    void *at = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0) : NULL;
    close(descriptor);
    if (at == MAP_FAILED)
        return amli_fail(error, AML_IO, "cannot map the weights %s: %s", path, strerror(errno));
    *out = (amli_mapped_weights){at, bytes};
    if (!file->check(file, at, bytes))
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected the %zu bytes that the program was made with (SHA-256 "
                         "%.16s...), found %s",
                         path, file->bytes, file->hash,
                         bytes == file->bytes ? "others" : "another size");
    return AML_OK;
}
