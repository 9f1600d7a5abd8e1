// Which file a path means.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/data.h"

// The folder of the source. A relative one is relative to the folder of the executable, so that
// both can be moved together and two builds in different folders are the same bytes; it stays
// relative if that is the current folder.
static const char *source_folder(const char *source_dir, char folder[PATH_MAX])
{
    if (!source_dir || !*source_dir)
        source_dir = ".";
    char self[PATH_MAX], here[PATH_MAX];
    ssize_t length = source_dir[0] == '/' ? -1 : readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return source_dir;
    self[length] = 0;
    char *slash = strrchr(self, '/');
    if (!slash)
        return source_dir;
    *slash = 0;
    if (getcwd(here, sizeof here) && strcmp(here, self) == 0)
        return source_dir;
    bool same = strcmp(source_dir, ".") == 0;
    int written = same ? snprintf(folder, PATH_MAX, "%s", *self ? self : "/")
                       : snprintf(folder, PATH_MAX, "%s/%s", self, source_dir);
    return written < PATH_MAX ? folder : source_dir;
}

aml_status amli_locate(const char *path, const char *source_dir, const char *place,
                       char found[PATH_MAX], aml_error *error)
{
    char source[PATH_MAX];
    const char *folder[3] = {source_folder(source_dir, source), ".", getenv("AML_DATA")};
    char tried[4 * PATH_MAX];
    size_t used = 0;
    int count = path[0] == '/' ? 1 : 3;
    for (int i = 0; i < count; i++) {
        if (!folder[i] || (i == 1 && folder[0][0] == '.' && !folder[0][1]))
            continue;
        int length = count == 1 || (folder[i][0] == '.' && !folder[i][1])
                         ? snprintf(found, PATH_MAX, "%s", path)
                         : snprintf(found, PATH_MAX, "%s/%s", folder[i], path);
        if (length >= PATH_MAX)
            continue;
        if (access(found, F_OK) == 0)
            return AML_OK;
        used += (size_t)snprintf(tried + used, sizeof tried - used, "\n  tried %s", found);
    }
    tried[used] = 0;
    return amli_fail(
        error, AML_NOT_FOUND, "the data file \"%s\" (%s) was not found%s%s", path,
        place ? place : "?", tried,
        count == 3 && !folder[2] ? "\nhelp: set AML_DATA to the folder that holds the data" : "");
}
