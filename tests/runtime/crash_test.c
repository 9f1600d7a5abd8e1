// Every system call that a training makes on its run's folder fails once, in every way: nothing
// that was saved is lost, and going on ends in the bytes of a training that nothing happened to.
//
// The linker redirects the calls to the functions below (--wrap). Each fault has a process of its
// own. A crash of the machine is simulated by taking back what was never synced before the process
// ends: data of files down to what their last sync covered, and entries of folders that were made,
// renamed or removed since the folder was synced, the last first.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "runtime/job/job.h"
#include "toy.h"

typedef enum {
    NOTHING,
    KILLED,        // the process ends behind the call
    KILLED_INSIDE, // the same, half of a write is done
    POWER_DATA,    // the machine stops behind the call: data that was not synced is lost
    POWER_TORN,    // half of it is
    POWER_ALL,     // entries of folders as well
    FULL,          // ENOSPC
    BROKEN,        // EIO
    INTERRUPTED,   // EINTR
    SHORT,         // a write does half
    DROPPED,       // the call says that it did what it did not do
    FAULTS
} Fault;

static const char *const fault_name[FAULTS] = {
    "nothing",         "a kill after",    "a kill inside",
    "lost data after", "torn data after", "lost entries after",
    "no space for",    "an I/O error in", "EINTR in",
    "half of",         "a lie in"};

// What a process tells its parent.
typedef struct Shared {
    long calls;        // on the run's folder
    long published;    // the newest step whose folder was renamed and synced, -1: none
    char call[8][120]; // the last ones
} Shared;
static Shared *shared;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Fault fault;
static long fault_at;    // the number of the call that it hits
static double room = -1; // that statvfs tells, -1: the truth

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int descriptor, const void *bytes, size_t length);
int __real_fsync(int descriptor);
int __real_fdatasync(int descriptor);
int __real_close(int descriptor);
int __real_rename(const char *from, const char *to);
int __real_mkdir(const char *path, mode_t mode);
int __real_unlink(const char *path);
int __real_rmdir(const char *path);
int __real_statvfs(const char *path, struct statvfs *info);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t length);
int __wrap_fsync(int descriptor);
int __wrap_fdatasync(int descriptor);
int __wrap_close(int descriptor);
int __wrap_rename(const char *from, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_unlink(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_statvfs(const char *path, struct statvfs *info);

// With one snapshot every checkpoint is written, so that the calls are the same each time.
static int snapshots = 1;
int __wrap_amli_snapshots(const aml_job *job);
int __wrap_amli_snapshots(const aml_job *job)
{
    (void)job;
    return snapshots;
}

// ---- what a crash of the machine takes back -----------------------------------------------------

enum { MOST = 4096, NAME = 96 };

typedef struct Written { // a file with a descriptor of our own
    int descriptor;
    ino_t inode;
    off_t durable; // bytes that were synced
} Written;
static Written written[MOST];
static int written_count;

typedef enum { CREATED, MADE, RENAMED, UNLINKED, FOLDER_REMOVED } Kind;
typedef struct Change { // of a folder
    Kind kind;
    int folder;
    ino_t inode; // of the folder
    char name[NAME], to[NAME];
    int grave; // where what was removed or replaced lies, -1: nothing was
    bool synced;
} Change;
static Change change[MOST];
static int change_count, graves;

// Each process has its own.
static void grave_name(int grave, char name[32])
{
    snprintf(name, 32, "graves/%d-%d", (int)getpid(), grave);
}

static void split_path(const char *path, char folder[PATH_MAX], char name[NAME])
{
    const char *slash = strrchr(path, '/');
    snprintf(folder, PATH_MAX, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    snprintf(name, NAME, "%.90s", slash ? slash + 1 : path);
}

static Change *add_change(Kind kind, const char *path)
{
    if (change_count == MOST)
        abort();
    Change *at = &change[change_count++];
    char folder[PATH_MAX];
    struct stat info;
    *at = (Change){.kind = kind, .grave = -1};
    split_path(path, folder, at->name);
    at->folder = __real_open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at->folder < 0 || fstat(at->folder, &info) != 0)
        abort();
    at->inode = info.st_ino;
    return at;
}

static void undo(const Change *at)
{
    char grave[32];
    grave_name(at->grave, grave);
    switch (at->kind) {
    case CREATED:
        unlinkat(at->folder, at->name, 0);
        break;
    case MADE:
        unlinkat(at->folder, at->name, AT_REMOVEDIR);
        break;
    case RENAMED:
        renameat(at->folder, at->to, at->folder, at->name);
        if (at->grave >= 0)
            linkat(AT_FDCWD, grave, at->folder, at->to, 0);
        break;
    case UNLINKED:
        linkat(AT_FDCWD, grave, at->folder, at->name, 0);
        break;
    case FOLDER_REMOVED:
        renameat(AT_FDCWD, grave, at->folder, at->name);
        break;
    }
}

static void lose_power(void)
{
    for (int i = 0; i < written_count; i++) {
        struct stat info;
        if (fstat(written[i].descriptor, &info) != 0)
            continue;
        off_t lost = info.st_size - written[i].durable;
        if (lost > 0 && ftruncate(written[i].descriptor,
                                  written[i].durable + (fault == POWER_TORN ? lost / 2 : 0)) != 0)
            abort();
    }
    for (int i = change_count - 1; i >= 0 && fault == POWER_ALL; i--)
        if (!change[i].synced)
            undo(&change[i]);
}

static void note_sync(int descriptor)
{
    struct stat info;
    if (fstat(descriptor, &info) != 0)
        return;
    for (int i = 0; i < written_count; i++)
        if (written[i].inode == info.st_ino)
            written[i].durable = info.st_size;
    if (!S_ISDIR(info.st_mode))
        return;
    for (int i = 0; i < change_count; i++) {
        long long step;
        if (change[i].inode != info.st_ino)
            continue;
        change[i].synced = true;
        if (change[i].kind == RENAMED && sscanf(change[i].to, "step-%lld", &step) == 1 &&
            step > shared->published)
            shared->published = (long)step;
    }
}

// ---- the calls ----------------------------------------------------------------------------------

static bool of_run[1024]; // descriptors of files below the run's folder

static bool below(const char *path)
{
    return strncmp(path, "runs", 4) == 0;
}

// Counts a call and says what happens to it. The mutex is held until `leave`.
static Fault enter(const char *what, const char *path)
{
    pthread_mutex_lock(&mutex);
    long number = ++shared->calls;
    snprintf(shared->call[number % 8], sizeof shared->call[0], "%s %.100s", what, path);
    return fault_at == number ? fault : NOTHING;
}

static void leave(Fault hit)
{
    int code = errno;
    if (hit >= POWER_DATA && hit <= POWER_ALL)
        lose_power();
    if (hit >= KILLED && hit <= POWER_ALL)
        _exit(77); // the other thread waits for the mutex
    pthread_mutex_unlock(&mutex);
    errno = code;
}

// Whether the call fails, with errno set.
static bool failing(Fault hit)
{
    if (hit != FULL && hit != BROKEN && hit != INTERRUPTED)
        return false;
    errno = hit == FULL ? ENOSPC : hit == BROKEN ? EIO : EINTR;
    return true;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (!below(path))
        return __real_open(path, flags, mode);
    Fault hit = enter("open", path);
    int result = -1;
    if (!failing(hit)) {
        struct stat info;
        bool is_new = (flags & O_CREAT) && stat(path, &info) != 0;
        result = __real_open(path, flags, mode);
        if (result >= 0 && is_new)
            add_change(CREATED, path);
        bool writes = result >= 0 && (flags & O_ACCMODE) != O_RDONLY && fstat(result, &info) == 0;
        if (writes && written_count < MOST)
            written[written_count++] = (Written){dup(result), info.st_ino, info.st_size};
        if (result >= 0 && result < 1024)
            of_run[result] = true;
    }
    leave(hit);
    return result;
}

ssize_t __wrap_write(int descriptor, const void *bytes, size_t length)
{
    if (descriptor < 0 || descriptor >= 1024 || !of_run[descriptor])
        return __real_write(descriptor, bytes, length);
    Fault hit = enter("write", "");
    bool half = (hit == SHORT || hit == KILLED_INSIDE) && length > 1;
    ssize_t result = failing(hit)     ? -1
                     : hit == DROPPED ? (ssize_t)length
                                      : __real_write(descriptor, bytes, half ? length / 2 : length);
    leave(hit);
    return result;
}

static int synced(int descriptor, bool data_only)
{
    if (descriptor < 0 || descriptor >= 1024 || !of_run[descriptor])
        return 0;
    Fault hit = enter(data_only ? "fdatasync" : "fsync", "");
    int result = failing(hit) ? -1 : 0;
    if (!result && hit != DROPPED)
        note_sync(descriptor);
    leave(hit);
    return result;
}
int __wrap_fsync(int descriptor)
{
    return synced(descriptor, false);
}
int __wrap_fdatasync(int descriptor)
{
    return synced(descriptor, true);
}

int __wrap_close(int descriptor)
{
    if (descriptor < 0 || descriptor >= 1024 || !of_run[descriptor])
        return __real_close(descriptor);
    Fault hit = enter("close", "");
    int result = __real_close(descriptor); // which happens even if it fails
    of_run[descriptor] = false;
    if (failing(hit))
        result = -1;
    leave(hit);
    return result;
}

int __wrap_rename(const char *from, const char *to)
{
    if (!below(from))
        return __real_rename(from, to);
    Fault hit = enter("rename", from);
    int result = failing(hit) ? -1 : 0;
    if (!result && hit != DROPPED) {
        struct stat info;
        int grave = -1;
        if (stat(to, &info) == 0 && S_ISREG(info.st_mode)) {
            char name[32];
            grave_name(grave = graves++, name);
            link(to, name);
        }
        result = __real_rename(from, to);
        if (result == 0) {
            char folder[PATH_MAX];
            Change *at = add_change(RENAMED, from);
            at->grave = grave;
            split_path(to, folder, at->to);
        }
    }
    leave(hit);
    return result;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    if (!below(path))
        return __real_mkdir(path, mode);
    Fault hit = enter("mkdir", path);
    int result = failing(hit) ? -1 : 0;
    if (!result && hit != DROPPED) {
        result = __real_mkdir(path, mode);
        if (result == 0)
            add_change(MADE, path);
    }
    leave(hit);
    return result;
}

int __wrap_unlink(const char *path)
{
    if (!below(path))
        return __real_unlink(path);
    Fault hit = enter("unlink", path);
    int result = failing(hit) ? -1 : 0;
    if (!result && hit != DROPPED) {
        char name[32];
        grave_name(graves, name);
        result = __real_rename(path, name);
        if (result == 0)
            add_change(UNLINKED, path)->grave = graves++;
    }
    leave(hit);
    return result;
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    int entries = 0;
    while (folder && readdir(folder))
        entries++;
    if (folder)
        closedir(folder);
    return entries <= 2;
}

int __wrap_rmdir(const char *path)
{
    if (!below(path))
        return __real_rmdir(path);
    Fault hit = enter("rmdir", path);
    int result = failing(hit) ? -1 : 0;
    if (!result && hit != DROPPED && !is_empty(path)) {
        errno = ENOTEMPTY;
        result = -1;
    } else if (!result && hit != DROPPED) {
        char name[32];
        grave_name(graves, name);
        result = __real_rename(path, name);
        if (result == 0)
            add_change(FOLDER_REMOVED, path)->grave = graves++;
    }
    leave(hit);
    return result;
}

int __wrap_statvfs(const char *path, struct statvfs *info)
{
    int result = __real_statvfs(path, info);
    if (result == 0 && room >= 0) {
        info->f_frsize = 1;
        info->f_bavail = (fsblkcnt_t)room;
    }
    return result;
}

// ---- one training with one fault ----------------------------------------------------------------

static char errors[4096]; // what the last process wrote to stderr

// A training in a process of its own; its exit code, 77 after a crash, or 128 + the signal.
static int train(bool resume, Fault what, long at)
{
    fflush(stdout);
    *shared = (Shared){.published = -1};
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {"toy",      "train",   "toy",
                        "--quiet",  "--runs",  "runs",
                        "--length", "9 steps", resume ? "--resume" : NULL,
                        NULL};
        if (!freopen("errors", "w", stderr))
            _exit(99);
        fault = what;
        fault_at = at;
        int code = amli_program_run(&toy_program, resume ? 9 : 8, argv, &amli_device_cpu);
        fflush(stderr);
        _exit(code);
    }
    int status = 0;
    waitpid(child, &status, 0);
    size_t length;
    char *text = NULL;
    if (amli_read_file("errors", &text, &length, NULL) == AML_OK)
        snprintf(errors, sizeof errors, "%s", text);
    free(text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

typedef struct End { // what a training leaves
    long step;       // of the newest sound checkpoint, -1: none
    char *file[3];
    size_t length[3];
} End;

static void forget(End *end)
{
    for (int i = 0; i < 3; i++)
        free(end->file[i]);
    *end = (End){.step = -1};
}

static End look(void)
{
    static const char *const name[] = {AMLI_WEIGHTS_FILE, AMLI_OPTIMIZER_FILE};
    End end = {.step = -1};
    char run[PATH_MAX], path[PATH_MAX];
    aml_checkpoint *checkpoint;
    if (amli_run_find("runs", "toy", NULL, true, run, NULL) != AML_OK ||
        amli_run_open(run, AML_WHICH_LAST, NULL, NULL, &checkpoint, NULL) != AML_OK)
        return end;
    end.step = (long)aml_checkpoint_describe(checkpoint)->step;
    for (int i = 0; i < 3; i++)
        if (amli_join(path, sizeof path, i < 2 ? aml_checkpoint_path(checkpoint) : run,
                      i < 2 ? name[i] : "metrics.jsonl", NULL) == AML_OK)
            amli_read_file(path, &end.file[i], &end.length[i], NULL);
    aml_checkpoint_close(checkpoint);
    return end;
}

static bool same(const End *a, const End *b, int files)
{
    bool equal = a->step == b->step;
    for (int i = 0; i < files && equal; i++)
        equal = a->file[i] && b->file[i] && a->length[i] == b->length[i] &&
                memcmp(a->file[i], b->file[i], a->length[i]) == 0;
    return equal;
}

// ThreadSanitizer would wait for a second at the end of each process.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}

static void clear(void)
{
    if (system("rm -rf runs graves") != 0 || mkdir("graves", 0777) != 0)
        abort();
}

static End expected;
static long all_calls;

static const char *last_call(long number)
{
    return shared->call[number % 8];
}

// NULL if all is well, else what is not.
static const char *try(Fault what, long at)
{
    static char text[512];
    clear();
    int code = train(false, what, at);
    long published = shared->published;
    char call[120];
    snprintf(call, sizeof call, "%s", last_call(at));
    bool crashes = what >= KILLED && what <= POWER_ALL;
    bool unnoticed = what == INTERRUPTED || what == SHORT;
    // Behind the last call, which number differs a little from run to run, nothing happens.
    bool late = shared->calls < at;
    snprintf(text, sizeof text, "%s call %ld (%s): ", fault_name[what], at, call);
    char *why = text + strlen(text);
    size_t left = sizeof text - strlen(text);
    if (late ? code != 0 : crashes ? code != 77 : unnoticed ? code != 0 : code != 0 && code != 1) {
        snprintf(why, left, "exit code %d: %.200s", code, errors);
        return text;
    }
    if (code == 1 &&
        !(strstr(errors, "error: ") && strstr(errors, "runs") &&
          strstr(errors, strerror(what == FULL ? ENOSPC : EIO))) &&
        what != DROPPED) {
        snprintf(why, left, "the message is: %.200s", errors);
        return text;
    }
    // A lie costs the checkpoint that it was about.
    End end = look();
    bool lost = what == DROPPED ? published > 0 && end.step < 0 : end.step < published;
    snprintf(why, left, "step %ld was complete, and the newest sound one is %ld", published,
             end.step);
    forget(&end);
    if (lost)
        return text;
    code = train(true, NOTHING, 0);
    if (code == 1 && strstr(errors, "has no run"))
        code = train(false, NOTHING, 0);
    if (code != 0) {
        snprintf(why, left, "going on gives exit code %d: %.200s", code, errors);
        return text;
    }
    end = look();
    bool equal = same(&end, &expected, what == DROPPED ? 2 : 3);
    snprintf(why, left, "going on ends in other bytes, at step %ld", end.step);
    forget(&end);
    return equal ? NULL : text;
}

static void try_all(Fault what, long stride, const char **wrong)
{
    for (long at = 1 + what % stride; at <= all_calls && !*wrong; at += stride)
        *wrong = try(what, at);
}

#ifndef AML_SANITIZED
#define AML_SANITIZED 0
#endif
enum { STRIDE = AML_SANITIZED ? 11 : 1 };

#define MATRIX(NAME, FAULT)                                                                        \
    TEST(NAME)                                                                                     \
    {                                                                                              \
        const char *wrong = NULL;                                                                  \
        try_all(FAULT, STRIDE, &wrong);                                                            \
        if (wrong)                                                                                 \
            CHECK_FAIL("%s", wrong);                                                               \
    }

MATRIX(killed_after_each_call, KILLED)
MATRIX(killed_inside_of_each_write, KILLED_INSIDE)
MATRIX(power_lost_with_data, POWER_DATA)
MATRIX(power_lost_with_torn_data, POWER_TORN)
MATRIX(power_lost_with_entries, POWER_ALL)
MATRIX(disk_full_at_each_call, FULL)
MATRIX(disk_broken_at_each_call, BROKEN)
MATRIX(each_call_interrupted, INTERRUPTED)
MATRIX(each_write_short, SHORT)
MATRIX(each_call_a_lie, DROPPED)

// Twice in a row: a crash while going on after a crash.
TEST(killed_again_while_going_on)
{
    for (long at = 30; at < all_calls; at += 17 * STRIDE) {
        clear();
        CHECK_INT(train(false, POWER_ALL, at), 77);
        long first = shared->published;
        int code = train(true, KILLED, 40);
        if (code == 1 && strstr(errors, "has no run"))
            continue;
        CHECK(code == 77 || code == 0);
        End end = look();
        CHECK(end.step >= first);
        forget(&end);
        CHECK_INT(train(true, NOTHING, 0), 0);
        end = look();
        CHECK(same(&end, &expected, 3));
        forget(&end);
    }
}

// Checkpoints wait in memory and are passed over if later ones replace them.
TEST(with_a_queue)
{
    static const Fault what[] = {KILLED, POWER_TORN, POWER_ALL, FULL, DROPPED};
    const char *wrong = NULL;
    snapshots = 7;
    for (size_t i = 0; i < AMLI_COUNT(what) && !wrong; i++)
        for (long at = 5 + (long)i; at <= all_calls && !wrong; at += 7 * STRIDE)
            wrong = try(what[i], at);
    snapshots = 1;
    if (wrong)
        CHECK_FAIL("%s", wrong);
}

TEST(a_disk_without_room_is_told_at_the_start)
{
    clear();
    room = 500;
    int code = train(false, NOTHING, 0);
    room = -1;
    CHECK_INT(code, 1);
    CHECK(strstr(errors, "the checkpoints of this training take"));
    CHECK(strstr(errors, "has 500 B left") && strstr(errors, "--runs"));
    End end = look();
    CHECK_INT(end.step, -1);
}

int main(void)
{
    char on_disk[] = "/tmp/aml-crash-XXXXXX", in_memory[] = "/dev/shm/aml-crash-XXXXXX";
    char *folder = access("/dev/shm", W_OK) == 0 ? in_memory : on_disk;
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    toy_write_data("toy.csv", 60);
    clear();
    if (train(false, NOTHING, 0) != 0) {
        printf("FAIL without_faults: %s\n", errors);
        return 1;
    }
    all_calls = shared->calls;
    expected = look();
    printf("(%ld calls, the last checkpoint is of step %ld)\n", all_calls, expected.step);
    RUN(killed_after_each_call);
    RUN(killed_inside_of_each_write);
    RUN(power_lost_with_data);
    RUN(power_lost_with_torn_data);
    RUN(power_lost_with_entries);
    RUN(disk_full_at_each_call);
    RUN(disk_broken_at_each_call);
    RUN(each_call_interrupted);
    RUN(each_write_short);
    RUN(each_call_a_lie);
    RUN(killed_again_while_going_on);
    RUN(with_a_queue);
    RUN(a_disk_without_room_is_told_at_the_start);
    forget(&expected);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || check_failures ? 1 : 0;
}
