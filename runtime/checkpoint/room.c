// Whether a disk has room, so that a training that cannot be saved is refused before it begins.

#include <errno.h>
#include <sys/statvfs.h>

#include "runtime/checkpoint/store.h"

aml_status amli_check_room(const char *folder, double bytes, const char *what, aml_error *error)
{
    struct statvfs info;
    int done;
    do
        done = statvfs(folder, &info);
    while (done != 0 && errno == EINTR);
    // Some file systems of the network say nothing, or that they have no blocks at all. Writing
    // will tell.
    if (done != 0 || info.f_blocks == 0)
        return AML_OK;
    double room = (double)info.f_bavail * (double)info.f_frsize;
    if (room >= bytes)
        return AML_OK;
    char needed[32], left[32];
    return amli_fail(error, AML_IO,
                     "%s %s, and the disk of %s has %s left\nhelp: make room, keep fewer "
                     "checkpoints (`checkpoint: { keep: last(1) }`), or name a folder on another "
                     "disk with --runs",
                     what, amli_bytes_text(bytes, needed, sizeof needed), folder,
                     amli_bytes_text(room, left, sizeof left));
}
