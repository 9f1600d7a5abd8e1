// Which file a path means.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/data/data.h"

aml_status amli_locate(const char *path, const char *source_dir, const char *place, char found[PATH_MAX], aml_error *error)
{
    const char *folder[3] = {source_dir && *source_dir ? source_dir : ".", ".", getenv("AML_DATA")};
    char tried[3 * PATH_MAX];
    size_t used = 0;
    int count = path[0] == '/' ? 1 : 3;
    for (int i = 0; i < count; i++) {
        if (!folder[i] || (i == 1 && folder[0][0] == '.' && !folder[0][1]))
            continue;
        int length = count == 1 || (folder[i][0] == '.' && !folder[i][1]) ? snprintf(found, PATH_MAX, "%s", path)
                                                                           : snprintf(found, PATH_MAX, "%s/%s", folder[i], path);
        if (length >= PATH_MAX)
            continue;
        if (access(found, F_OK) == 0)
            return AML_OK;
        used += (size_t)snprintf(tried + used, sizeof tried - used, "\n  tried %s", found);
    }
    tried[used] = 0;
    return amli_fail(error, AML_NOT_FOUND, "the data file \"%s\" (%s) was not found%s%s", path, place ? place : "?", tried,
                     count == 3 && !folder[2] ? "\nhelp: set AML_DATA to the folder that holds the data" : "");
}
