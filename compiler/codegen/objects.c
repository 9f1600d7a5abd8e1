// objects.c: compiled pieces that live from build to build, in a folder of the user's caches.
//
// A piece of a program is named by a hash of everything that its code follows from: its bitcode,
// the processor, the pipeline and amlc itself. So a file is never out of date; one that is damaged
// is found by its own hash, and compiled again. It is written beside and renamed, so any number of
// processes may do it at once. What fails here fails quietly, since nothing is lost but time.
//
//     magic, key      "aml object 1\n", the name of the file
//     code            the object
//     hash            SHA-256 of all that

#include "codegen/objects.h"

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

#include <nettle/sha2.h>

#define MAGIC "aml object 1\n"
#define ENDING ".o"
#define PARTIAL ".new-"
#define MOST_BYTES ((int64_t)256 << 20) // of all files together
#define STALE_SECONDS 86400             // what a process left that was killed while it wrote

typedef struct Head {
    char magic[16], key[OBJECT_KEY];
    char padding[7];
} Head;

static void put_text(struct sha256_ctx *hash, const char *text)
{
    sha256_update(hash, strlen(text) + 1, (const uint8_t *)text);
}

static void finish(struct sha256_ctx *hash, char key[OBJECT_KEY])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
        snprintf(key + 2 * i, 3, "%02x", digest[i]);
}

void object_key(const Codegen *g, const char *pipeline, const void *bitcode, size_t bytes,
                char key[OBJECT_KEY])
{
    struct sha256_ctx hash;
    struct stat own; // kernels and what is done with them are in the program that runs
    char self[96] = "", llvm[48];
    unsigned major, minor, patch; // LLVM may be a library that is replaced by itself
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(llvm, sizeof llvm, "LLVM %u.%u.%u", major, minor, patch);
    if (stat("/proc/self/exe", &own) == 0)
        snprintf(self, sizeof self, "%lld %lld.%09ld", (long long)own.st_size,
                 (long long)own.st_mtim.tv_sec, own.st_mtim.tv_nsec);
    sha256_init(&hash);
    put_text(&hash, MAGIC);
    put_text(&hash, self);
    put_text(&hash, llvm);
    put_text(&hash, pipeline);
    put_text(&hash, g->triple);
    put_text(&hash, g->cpu);
    put_text(&hash, g->features);
    sha256_update(&hash, sizeof g->bytes, (const uint8_t *)&g->bytes);
    sha256_update(&hash, bytes, bitcode);
    finish(&hash, key);
}

// ---- where --------------------------------------------------------------------------------------

static bool find_folder(char folder[PATH_MAX])
{
    const char *own = getenv("AML_CACHE"), *caches = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int length = own && *own                ? snprintf(folder, PATH_MAX, "%s/objects", own)
                 : caches && *caches == '/' ? snprintf(folder, PATH_MAX, "%s/aml/objects", caches)
                 : home && *home == '/' ? snprintf(folder, PATH_MAX, "%s/.cache/aml/objects", home)
                                        : -1;
    return length > 0 && length < PATH_MAX - OBJECT_KEY - 64; // with the name of a file behind it
}

static bool make_folder(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", folder);
    for (char *at = path + 1;; at++) {
        bool last = !*at;
        if (*at != '/' && !last)
            continue;
        *at = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return false;
        if (last)
            return true;
        *at = '/';
    }
}

static bool find_path(const char *key, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    return find_folder(folder) && snprintf(path, PATH_MAX, "%s/%s" ENDING, folder, key) < PATH_MAX;
}

// ---- reading ------------------------------------------------------------------------------------

static bool is_sound(const char *text, size_t bytes, const char *key)
{
    Head head;
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (bytes < sizeof head + sizeof digest)
        return false;
    memcpy(&head, text, sizeof head);
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, bytes - sizeof digest, (const uint8_t *)text);
    sha256_digest(&hash, sizeof digest, digest);
    return memcmp(head.magic, MAGIC, sizeof MAGIC) == 0 && memcmp(head.key, key, OBJECT_KEY) == 0 &&
           memcmp(digest, text + bytes - sizeof digest, sizeof digest) == 0;
}

char *object_find(const char *key, size_t *length)
{
    char path[PATH_MAX];
    struct stat info;
    FILE *file = find_path(key, path) ? fopen(path, "rbe") : NULL;
    if (!file)
        return NULL;
    bool regular = fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
                   info.st_size <= MOST_BYTES;
    size_t bytes = regular ? (size_t)info.st_size : 0;
    char *text = regular ? malloc(bytes) : NULL;
    bool good = text && fread(text, 1, bytes, file) == bytes && is_sound(text, bytes, key);
    fclose(file);
    if (!good) {
        if (regular)
            unlink(path);
        free(text);
        return NULL;
    }
    utimensat(AT_FDCWD, path, NULL, 0); // it was used
    *length = bytes - sizeof(Head) - SHA256_DIGEST_SIZE;
    memmove(text, text + sizeof(Head), *length);
    return text;
}

// ---- writing ------------------------------------------------------------------------------------

typedef struct Old {
    char name[OBJECT_KEY + 16];
    int64_t bytes;
    struct timespec used;
} Old;

static int older_first(const void *a, const void *b)
{
    const struct timespec *x = &((const Old *)a)->used, *y = &((const Old *)b)->used;
    return x->tv_sec != y->tv_sec ? (x->tv_sec > y->tv_sec) - (x->tv_sec < y->tv_sec)
                                  : (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), behind = strlen(ending);
    return length > behind && strcmp(name + length - behind, ending) == 0;
}

// Those that were not used for longest go when all have more than three quarters of what they may.
static void make_room(const char *folder)
{
    DIR *open = opendir(folder);
    Old *old = NULL;
    int count = 0, room = 0;
    int64_t sum = 0;
    for (struct dirent *entry; open && (entry = readdir(open));) {
        struct stat info;
        if (strlen(entry->d_name) >= sizeof old->name ||
            fstatat(dirfd(open), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        if (strstr(entry->d_name, PARTIAL) && time(NULL) - info.st_mtime > STALE_SECONDS)
            unlinkat(dirfd(open), entry->d_name, 0);
        if (!ends_with(entry->d_name, ENDING))
            continue;
        if (count == room) {
            room = room ? 2 * room : 256;
            Old *more = realloc(old, sizeof *old * (size_t)room);
            if (!more)
                break;
            old = more;
        }
        Old *one = &old[count++];
        snprintf(one->name, sizeof one->name, "%s", entry->d_name);
        one->bytes = info.st_size;
        one->used = info.st_mtim;
        sum += one->bytes;
    }
    if (sum > MOST_BYTES && count > 0) {
        qsort(old, (size_t)count, sizeof *old, older_first);
        for (int i = 0; i < count && sum > MOST_BYTES / 4 * 3; i++) {
            unlinkat(dirfd(open), old[i].name, 0);
            sum -= old[i].bytes;
        }
    }
    if (open)
        closedir(open);
    free(old);
}

static bool write_object(FILE *file, const char *key, const void *at, size_t length)
{
    Head head;
    memset(&head, 0, sizeof head); // all of its bytes are written
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    memcpy(head.key, key, OBJECT_KEY);
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, sizeof head, (const uint8_t *)&head);
    sha256_update(&hash, length, at);
    sha256_digest(&hash, sizeof digest, digest);
    return fwrite(&head, 1, sizeof head, file) == sizeof head &&
           fwrite(at, 1, length, file) == length &&
           fwrite(digest, 1, sizeof digest, file) == sizeof digest;
}

void object_keep(const char *key, const void *at, size_t length)
{
    char folder[PATH_MAX], path[PATH_MAX], partial[PATH_MAX];
    if (!find_folder(folder) || !make_folder(folder) || !find_path(key, path) ||
        snprintf(partial, sizeof partial, "%s" PARTIAL "%ld", path, (long)getpid()) >=
            (int)sizeof partial)
        return;
    FILE *file = fopen(partial, "wbe");
    if (!file)
        return;
    bool good = write_object(file, key, at, length);
    good = fclose(file) == 0 && good;
    if (!good || rename(partial, path) != 0)
        unlink(partial);
    if (key[0] == '0') // a sixteenth of the time: reading the folder takes some
        make_room(folder);
}
