// runs/JOB/RUN/checkpoints/step-000123.
//
// A run is named by the time (UTC) at which it began, milliseconds and four random digits, so the
// newest has the greatest name. Checkpoints are found by looking, not by the pointers: a crash may
// come between a checkpoint and its pointer.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/checkpoint/store.h"

void amli_step_name(int64_t step, char name[32])
{
    snprintf(name, 32, "step-%06lld", (long long)step);
}

// Syncs the folders that lead to a new run: its checkpoints are no safer than its own entry.
static aml_status sync_above(const char *runs, const char *job_folder, aml_error *error)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(runs, '/');
    snprintf(parent, sizeof parent, "%.*s", slash > runs ? (int)(slash - runs) : 1,
             slash ? runs : ".");
    aml_status status = amli_sync_folder(job_folder, error);
    if (!status)
        status = amli_sync_folder(runs, error);
    return status ? status : amli_sync_folder(parent, error);
}

aml_status amli_run_create(const char *runs, const char *job, char path[PATH_MAX], aml_error *error)
{
    char folder[PATH_MAX], name[64], stamp[32];
    aml_status status = amli_join(folder, sizeof folder, runs, job, error);
    if (!status)
        status = amli_make_folders(folder, error);
    for (int attempt = 0; !status && attempt < 100; attempt++) {
        struct timespec now;
        struct tm parts;
        uint16_t digits;
        clock_gettime(CLOCK_REALTIME, &now);
        if (!gmtime_r(&now.tv_sec, &parts) || getrandom(&digits, sizeof digits, 0) != sizeof digits)
            return amli_fail(error, AML_IO, "cannot name a new run: %s", strerror(errno));
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
        snprintf(name, sizeof name, "%s-%03d%04x", stamp, (int)(now.tv_nsec / 1000000), digits);
        status = amli_join(path, PATH_MAX, folder, name, error);
        if (status)
            return status;
        if (TEMP_FAILURE_RETRY(mkdir(path, 0777)) != 0) {
            if (errno == EEXIST)
                continue;
            return amli_fail(error, AML_IO, "cannot create the folder %s: %s", path,
                             strerror(errno));
        }
        char checkpoints[PATH_MAX];
        status = amli_join(checkpoints, sizeof checkpoints, path, "checkpoints", error);
        if (!status)
            status = amli_make_folders(checkpoints, error);
        return status ? status : sync_above(runs, folder, error);
    }
    return status ? status : amli_fail(error, AML_IO, "cannot name a new run in %s", folder);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool has_step(const char *checkpoints)
{
    int64_t *step;
    int count = 0;
    if (amli_run_steps(checkpoints, &step, &count, NULL) == AML_OK)
        free(step);
    return count > 0;
}

aml_status amli_run_find(const char *runs, const char *job, const char *name, bool saved,
                         char path[PATH_MAX], aml_error *error)
{
    char folder[PATH_MAX], checkpoints[PATH_MAX];
    aml_status status = amli_join(folder, sizeof folder, runs, job, error);
    if (status)
        return status;
    amli_names names;
    if ((status = amli_list_folder(folder, &names, error)))
        return status;
    bool found = false;
    for (int i = names.count - 1; i >= 0 && !found && !status; i--) {
        if (names.name[i][0] == '.' || (name && strcmp(names.name[i], name) != 0))
            continue;
        status = amli_join(path, PATH_MAX, folder, names.name[i], error);
        if (!status)
            status = amli_join(checkpoints, sizeof checkpoints, path, "checkpoints", error);
        found = !status && is_folder(checkpoints) && (!saved || has_step(checkpoints));
    }
    if (!status && !found && name && strchr(name, '/')) { // a path
        status = amli_join(checkpoints, sizeof checkpoints, name, "checkpoints", error);
        found =
            !status && is_folder(checkpoints) && snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    }
    if (!status && !found && name) {
        const char *near = amli_closest(name, (const char *const *)names.name, names.count);
        status = amli_fail(error, AML_NOT_FOUND, "there is no run %s in %s%s%s%s", name, folder,
                           near ? "\nhelp: did you mean " : "", near ? near : "", near ? "?" : "");
    } else if (!status && !found) {
        status = amli_fail(error, AML_NOT_FOUND,
                           "the job '%s' has no run in %s\nhelp: `train %s` makes one; --runs DIR "
                           "names another folder",
                           job, folder, job);
    }
    amli_free_names(&names);
    return status;
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

aml_status amli_run_steps(const char *folder, int64_t **step, int *count, aml_error *error)
{
    amli_names names;
    *step = NULL;
    *count = 0;
    aml_status status = amli_list_folder(folder, &names, error);
    if (status)
        return status;
    *step = calloc((size_t)names.count + 1, sizeof **step);
    if (!*step)
        status = amli_no_memory(error, (size_t)names.count * sizeof **step, folder);
    for (int i = 0; i < names.count && !status; i++) {
        char *end, name[32];
        if (strncmp(names.name[i], "step-", 5) != 0)
            continue;
        int64_t value = strtoll(names.name[i] + 5, &end, 10);
        amli_step_name(value, name);
        if (*end == 0 && strcmp(name, names.name[i]) == 0)
            (*step)[(*count)++] = value;
    }
    if (!status)
        qsort(*step, (size_t)*count, sizeof **step, compare_steps);
    amli_free_names(&names);
    return status;
}

static aml_status open_step(const char *folder, int64_t step, aml_checkpoint **out,
                            aml_error *error)
{
    char name[32], path[PATH_MAX];
    amli_step_name(step, name);
    aml_status status = amli_join(path, sizeof path, folder, name, error);
    return status ? status : aml_checkpoint_open(path, out, error);
}

// Tries the scored checkpoints from the best on; of equal ones the older is the better.
static aml_status open_best(const char *folder, const int64_t *step, int count, aml_notice *notice,
                            void *self, aml_checkpoint **out, aml_error *error)
{
    amli_stored *stored = calloc((size_t)count + 1, sizeof *stored);
    int scored = 0;
    if (!stored)
        return amli_no_memory(error, (size_t)count * sizeof *stored, folder);
    for (int i = 0; i < count; i++) {
        char name[32], path[PATH_MAX];
        amli_step_name(step[i], name);
        if (amli_join(path, sizeof path, folder, name, NULL) == AML_OK &&
            amli_manifest_peek(path, &stored[scored]) && stored[scored].scored)
            scored++;
    }
    aml_status status = AML_NOT_FOUND;
    while (scored > 0) {
        int best = 0;
        for (int i = 1; i < scored; i++)
            if (stored[i].lower_is_better ? stored[i].score < stored[best].score
                                          : stored[i].score > stored[best].score)
                best = i;
        status = open_step(folder, stored[best].step, out, error);
        if (status == AML_OK || status == AML_NO_MEMORY)
            break;
        if (notice)
            notice(self, error->text);
        memmove(&stored[best], &stored[best + 1], (size_t)(--scored - best) * sizeof *stored);
    }
    free(stored);
    return status;
}

aml_status amli_run_open(const char *run, aml_which which, aml_notice *notice, void *self,
                         aml_checkpoint **out, aml_error *error)
{
    char folder[PATH_MAX];
    int64_t *step;
    int count;
    *out = NULL;
    aml_error local;
    if (!error)
        error = &local;
    aml_status status = amli_join(folder, sizeof folder, run, "checkpoints", error);
    if (status)
        return status;
    if ((status = amli_run_steps(folder, &step, &count, error)))
        return status;
    if (which == AML_WHICH_BEST) {
        status = open_best(folder, step, count, notice, self, out, error);
        if (status == AML_OK || status == AML_NO_MEMORY) {
            free(step);
            return status;
        }
        if (notice)
            notice(self, "there is no sound best checkpoint: the latest is used");
    }
    if (count == 0)
        status = amli_fail(error, AML_NOT_FOUND, "the run %s has no checkpoint", run);
    for (int i = count - 1; i >= 0; i--) {
        status = open_step(folder, step[i], out, error);
        if (status == AML_OK || status == AML_NO_MEMORY)
            break;
        if (notice)
            notice(self, error->text);
    }
    free(step);
    return status;
}

aml_status aml_checkpoint_find(const char *runs, const char *job, aml_which which,
                               aml_notice *notice, void *self, aml_checkpoint **out,
                               aml_error *error)
{
    char run[PATH_MAX];
    *out = NULL;
    aml_status status = amli_run_find(runs, job, NULL, true, run, error);
    return status ? status : amli_run_open(run, which, notice, self, out, error);
}
