// source.c: source files and places in them.

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint32_t source_add(Cx *cx, const char *path, const char *text, size_t length, bool is_std)
{
    SourceFile *file = NEW(cx->arena, SourceFile);
    file->path = arena_text(cx->arena, path, strlen(path));
    file->text = is_std ? text : arena_text(cx->arena, text, length);
    file->length = length;
    file->is_std = is_std;
    vec_push(cx->arena, &cx->source, file);
    return (uint32_t)cx->source.count - 1;
}

const SourceFile *source_file(const Cx *cx, uint32_t file)
{
    return cx->source.at[file < (uint32_t)cx->source.count ? file : 0];
}

// The file with its lines: of most files nobody asks for a place.
static const SourceFile *file_with_lines(const Cx *cx, uint32_t number)
{
    SourceFile *file = cx->source.at[number < (uint32_t)cx->source.count ? number : 0];
    if (file->line.count > 0)
        return file;
    vec_push(cx->arena, &file->line, 0);
    for (const char *at = file->text, *end = at + file->length;
         (at = memchr(at, '\n', (size_t)(end - at))) != NULL;) {
        at++;
        vec_push(cx->arena, &file->line, (uint32_t)(at - file->text));
    }
    return file;
}

// Index of the line that holds the byte `offset`.
static int line_of(const SourceFile *file, uint32_t offset)
{
    int low = 0, high = file->line.count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (file->line.at[middle] <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static uint32_t clamp_offset(const SourceFile *file, uint32_t offset)
{
    return offset < file->length ? offset : (uint32_t)file->length;
}

Place source_place(const Cx *cx, Span span)
{
    const SourceFile *file = file_with_lines(cx, span.file);
    uint32_t start = clamp_offset(file, span.start);
    int line = line_of(file, start), column = 1;
    for (uint32_t i = file->line.at[line]; i < start; i++)
        column += ((unsigned char)file->text[i] & 0xC0) !=
                  0x80; // continuation bytes do not begin a code point
    return (Place){file->path, line + 1, column};
}

Span source_line_span(const Cx *cx, Span span)
{
    const SourceFile *file = file_with_lines(cx, span.file);
    int line = line_of(file, clamp_offset(file, span.start));
    uint32_t start = file->line.at[line];
    uint32_t end =
        line + 1 < file->line.count ? file->line.at[line + 1] - 1 : (uint32_t)file->length;
    if (end > start && file->text[end - 1] == '\r')
        end--;
    return (Span){span.file, start, end};
}

bool file_read(Arena *arena, const char *path, size_t limit, char **text, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a fifo must not hang us
    if (fd < 0)
        return false;
    int error = 0;
    struct stat info;
    if (fstat(fd, &info) < 0)
        error = errno;
    else if (S_ISDIR(info.st_mode))
        error = EISDIR;
    else if (!S_ISREG(info.st_mode))
        error = EINVAL;
    else if ((uintmax_t)info.st_size > limit)
        error = EFBIG;
    size_t size = error ? 0 : (size_t)info.st_size, done = 0;
    char *into = error ? NULL : arena_alloc(arena, size + 1);
    while (!error && done < size) {
        ssize_t got = read(fd, into + done, size - done);
        if (got < 0 && errno != EINTR)
            error = errno;
        if (got == 0)
            break;
        if (got > 0)
            done += (size_t)got;
    }
    close(fd);
    if (error) {
        errno = error;
        return false;
    }
    into[done] = 0;
    *text = into;
    *length = done;
    return true;
}

// ---- data files --------------------------------------------------------------------------------

const char *path_inside(Cx *cx, const char *folder, const char *name)
{
    if (name[0] == '/' || !folder || !*folder || strcmp(folder, ".") == 0)
        return name;
    return arena_printf(cx->arena, "%s/%s", folder, name);
}

const char *find_data(Cx *cx, const char *path)
{
    const char *shared = getenv("AML_DATA");
    const char *place[] = {path_inside(cx, cx->source_dir, path), path,
                           shared && *shared ? path_inside(cx, shared, path) : NULL};
    for (size_t i = 0; i < COUNT_OF(place); i++)
        if (place[i] && access(place[i], R_OK) == 0)
            return place[i];
    return NULL;
}
