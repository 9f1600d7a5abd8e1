// Reading and writing files.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/base.h"

static aml_status system_failure(aml_error *error, const char *what, const char *path)
{
    int code = errno;
    aml_status status = code == ENOENT || code == ENOTDIR ? AML_NOT_FOUND
                        : code == ENOMEM                  ? AML_NO_MEMORY
                                                          : AML_IO;
    return amli_fail(error, status, "cannot %s %s: %s", what, path, strerror(code));
}

aml_status amli_read_descriptor(int descriptor, const char *name, char **text, size_t *length,
                                aml_error *error)
{
    *text = NULL;
    *length = 0;
    struct stat info;
    if (fstat(descriptor, &info) != 0)
        return system_failure(error, "read", name);
    if (S_ISDIR(info.st_mode))
        return amli_fail(error, AML_IO, "cannot read %s: it is a folder", name);
    size_t capacity = S_ISREG(info.st_mode) && info.st_size > 0 ? (size_t)info.st_size + 2 : 65536,
           used = 0;
    char *bytes = malloc(capacity);
    if (!bytes)
        return amli_no_memory(error, capacity, name);
    for (;;) {
        if (used + 1 >= capacity) {
            char *more = capacity > SIZE_MAX / 2 ? NULL : realloc(bytes, capacity * 2);
            if (!more) {
                free(bytes);
                return amli_no_memory(error, capacity, name);
            }
            bytes = more;
            capacity *= 2;
        }
        ssize_t got = read(descriptor, bytes + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            aml_status status = system_failure(error, "read", name);
            free(bytes);
            return status;
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    bytes[used] = 0;
    *text = bytes;
    *length = used;
    return AML_OK;
}

aml_status amli_read_file(const char *path, char **text, size_t *length, aml_error *error)
{
    *text = NULL;
    *length = 0;
    int descriptor = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC));
    if (descriptor < 0)
        return system_failure(error, "open", path);
    aml_status status = amli_read_descriptor(descriptor, path, text, length, error);
    close(descriptor);
    return status;
}

aml_status amli_write_all(int descriptor, const char *path, const void *bytes, size_t length,
                          aml_error *error)
{
    const char *at = bytes;
    while (length) {
        ssize_t done = write(descriptor, at, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return system_failure(error, "write", path);
        at += done;
        length -= (size_t)done;
    }
    return AML_OK;
}

static aml_status sync_path(const char *path, int flags, aml_error *error)
{
    int descriptor = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC | flags));
    if (descriptor < 0)
        return system_failure(error, "open", path);
    // EINVAL: a file system that has nothing to sync
    aml_status status = TEMP_FAILURE_RETRY(fsync(descriptor)) == 0 || errno == EINVAL
                            ? AML_OK
                            : system_failure(error, "sync", path);
    close(descriptor);
    return status;
}

aml_status amli_sync_folder(const char *path, aml_error *error)
{
    return sync_path(path, O_DIRECTORY, error);
}

aml_status amli_sync_file(const char *path, aml_error *error)
{
    return sync_path(path, 0, error);
}

int amli_create_file(const char *path, aml_error *error)
{
    int descriptor = TEMP_FAILURE_RETRY(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (descriptor < 0)
        system_failure(error, "create", path);
    return descriptor;
}

aml_status amli_close_written(int descriptor, const char *path, aml_status status, aml_error *error)
{
    // After EINTR the descriptor is closed; what was written is synced later.
    if (close(descriptor) != 0 && errno != EINTR && !status)
        status = system_failure(error, "write", path);
    return status;
}

aml_status amli_write_file(const char *folder, const char *name, const char *text, size_t length,
                           aml_error *error)
{
    char path[PATH_MAX];
    aml_status status = amli_join(path, sizeof path, folder, name, error);
    if (status)
        return status;
    int descriptor = amli_create_file(path, error);
    if (descriptor < 0)
        return error ? error->status : AML_IO;
    status = amli_write_all(descriptor, path, text, length, error);
    return amli_close_written(descriptor, path, status, error);
}

aml_status amli_replace_file(const char *folder, const char *name, const char *text, size_t length,
                             aml_error *error)
{
    char path[PATH_MAX], temporary[PATH_MAX], other[NAME_MAX + 1];
    if ((size_t)snprintf(other, sizeof other, ".%s.new", name) >= sizeof other)
        return amli_fail(error, AML_INVALID, "the name %s is too long", name);
    aml_status status = amli_join(path, sizeof path, folder, name, error);
    if (!status)
        status = amli_join(temporary, sizeof temporary, folder, other, error);
    if (!status)
        status = amli_write_file(folder, other, text, length, error);
    return status ? status : amli_rename(temporary, path, error);
}

aml_status amli_make_folders(const char *path, aml_error *error)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return amli_fail(error, AML_INVALID, "the path %s is too long", path);
    for (char *at = part + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char old = *at;
        *at = 0;
        if (TEMP_FAILURE_RETRY(mkdir(part, 0777)) != 0 && errno != EEXIST)
            return system_failure(error, "create the folder", part);
        *at = old;
        if (!old)
            break;
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return amli_fail(error, AML_IO, "cannot create the folder %s: a file of that name exists",
                         path);
    return AML_OK;
}

aml_status amli_rename(const char *from, const char *to, aml_error *error)
{
    return TEMP_FAILURE_RETRY(rename(from, to)) == 0 ? AML_OK
                                                     : system_failure(error, "rename", from);
}

aml_status amli_remove_file(const char *path, aml_error *error)
{
    return TEMP_FAILURE_RETRY(unlink(path)) == 0 || errno == ENOENT
               ? AML_OK
               : system_failure(error, "remove", path);
}

aml_status amli_remove_folder(const char *path, aml_error *error)
{
    amli_names names;
    aml_status status = amli_list_folder(path, &names, error);
    for (int i = 0; i < names.count && !status; i++) {
        char file[PATH_MAX];
        status = amli_join(file, sizeof file, path, names.name[i], error);
        if (!status)
            status = amli_remove_file(file, error);
    }
    amli_free_names(&names);
    if (!status && TEMP_FAILURE_RETRY(rmdir(path)) != 0 && errno != ENOENT)
        status = system_failure(error, "remove", path);
    return status;
}

bool amli_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

aml_status amli_join(char *text, size_t room, const char *folder, const char *name,
                     aml_error *error)
{
    size_t length = strlen(folder);
    const char *between = length == 0 || folder[length - 1] == '/' ? "" : "/";
    if ((size_t)snprintf(text, room, "%s%s%s", folder, between, name) >= room)
        return amli_fail(error, AML_INVALID, "the path %s/%s is too long", folder, name);
    return AML_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

aml_status amli_list_folder(const char *path, amli_names *names, aml_error *error)
{
    *names = (amli_names){0};
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? AML_OK : system_failure(error, "open the folder", path);
    int capacity = 0;
    aml_status status = AML_OK;
    for (struct dirent *entry; !status && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (names->count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            char **more = realloc(names->name, (size_t)capacity * sizeof *more);
            if (!more) {
                status = amli_no_memory(error, (size_t)capacity * sizeof *more, path);
                break;
            }
            names->name = more;
        }
        char *copy = strdup(entry->d_name);
        if (!copy)
            status = amli_no_memory(error, strlen(entry->d_name), path);
        else
            names->name[names->count++] = copy;
    }
    closedir(folder);
    if (status)
        amli_free_names(names);
    else if (names->count)
        qsort(names->name, (size_t)names->count, sizeof *names->name, compare_names);
    return status;
}

void amli_free_names(amli_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (amli_names){0};
}

double amli_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
