// Decoded samples that live from run to run: a file in a folder of the user's caches.
//
// A file has the rows that were decoded so far, and its name is a hash of everything that they
// depend on: the contents of the data and what is read of them how. So a file is never out of date;
// one that is damaged is found by its own hash, and thrown away. It is written beside and renamed:
// of two processes that do it at the same time the last one stays, whole.
//
//     magic, key          "aml cache 1\n", the name of the file
//     units, unit bytes   int64 each: rows of the table, bytes of one
//     flags               a byte a row: 1 if it is there
//     rows                those that are there, all fields on demand one after the other
//     hash                SHA-256 of all that
//
// It is written when that pays: when decoding took some time, and longer than reading it back will
// take. What fails here fails quietly, since nothing is lost but time.

#include "runtime/data/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "aml/vocabulary.h"
#include "runtime/base/hash.h"
#include "runtime/data/source.h"

#define MAGIC "aml cache 1\n"
#define ENDING ".samples"
#define LEAST_SECONDS 0.25      // of decoding, below which nothing is kept; $AML_CACHE_AFTER
#define READ_BYTES_A_SECOND 4e8 // from the disk, and hashed
#define MOST_BYTES 8e9          // of all files together, unless AML_CACHE_SIZE says otherwise
#define STALE_SECONDS 86400     // what a process left that was killed while it wrote

enum { READY = 2 }; // as in fetch.c

typedef struct Head {
    char magic[16], key[AMLI_HASH_TEXT + 7];
    int64_t units, unit_bytes;
} Head;

typedef struct amli_disk_cache {
    char folder[PATH_MAX], path[PATH_MAX];
    char key[AMLI_HASH_TEXT];
    int64_t loaded; // rows
} amli_disk_cache;

// ---- the key

static void put(struct sha256_ctx *hash, const void *at, size_t bytes)
{
    sha256_update(hash, bytes, at);
}

static void put_number(struct sha256_ctx *hash, int64_t number)
{
    put(hash, &number, sizeof number);
}

static void put_text(struct sha256_ctx *hash, const char *text)
{
    put(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void put_source(struct sha256_ctx *hash, const aml_source *source)
{
    put_number(hash, source->kind);
    put_number(hash, source->resize);
    put_number(hash, source->background);
    put_number(hash, source->files ? source->files->rate : -1);
    put_number(hash, source->files ? source->files->middle : -1);
    put_text(hash, source->files ? source->files->name : NULL);
    put_text(hash, source->files ? source->files->list : NULL);
    put_text(hash, source->column[0]);
}

static void put_field(struct sha256_ctx *hash, const aml_field *field)
{
    const aml_text_rule *text = field->rule ? field->rule->text : NULL;
    put_number(hash, field->tensor.dtype);
    put_number(hash, field->tensor.shape.rank);
    for (int i = 0; i < field->tensor.shape.rank; i++)
        put_number(hash, field->tensor.shape.dim[i]);
    put_number(hash, field->part);
    put_text(hash, field->column);
    put_text(hash, field->key);
    put_number(hash, field->rule ? (int64_t)field->rule->kind : -1);
    if (!text)
        return;
    put_number(hash, text->tokenizer->kind);
    put_text(hash, text->tokenizer->hash);
    put_number(hash, text->pad);
    put_number(hash,
               text->special | text->keeps_end << 1 | text->must_fit << 2 | text->counts << 3);
}

static void make_key(const amli_table *table, const aml_dataset *dataset, char key[AMLI_HASH_TEXT])
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    put_text(&hash, MAGIC);
    put_text(&hash, table->fingerprint);
    put_source(&hash, &dataset->source);
    put_source(&hash, &dataset->valid);
    put_source(&hash, &dataset->test);
    for (int i = 0; i < AMLI_ORIGINS; i++)
        put_number(&hash, table->units[i]);
    for (int i = 0; i < table->fields; i++)
        if (table->on_demand[i])
            put_field(&hash, &dataset->field[i]);
    if (table->kept)
        put(&hash, table->kept, (size_t)amli_table_units(table) * sizeof *table->kept);
    amli_hash_finish(&hash, key);
}

// ---- where

static bool find_folder(char folder[PATH_MAX])
{
    const char *own = getenv("AML_CACHE"), *caches = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own && *own)
        return snprintf(folder, PATH_MAX, "%s", own) < PATH_MAX;
    if (caches && *caches == '/')
        return snprintf(folder, PATH_MAX, "%s/aml", caches) < PATH_MAX;
    return home && *home == '/' && snprintf(folder, PATH_MAX, "%s/.cache/aml", home) < PATH_MAX;
}

static double most_bytes(void)
{
    double size;
    aml_unit unit;
    const char *text = getenv("AML_CACHE_SIZE");
    return text && amli_parse_quantity(text, &size, &unit) && unit == AML_UNIT_BYTES ? size
                                                                                     : MOST_BYTES;
}

static size_t bytes_of_unit(const amli_table *table)
{
    size_t bytes = 0;
    for (int i = 0; i < table->fields; i++)
        bytes += table->on_demand[i] ? table->unit_bytes[i] : 0;
    return bytes;
}

// ---- reading

typedef struct File {
    FILE *file;
    struct sha256_ctx hash;
    bool good;
} File;

static void take(File *file, void *to, size_t bytes)
{
    file->good = file->good && fread(to, 1, bytes, file->file) == bytes;
    if (file->good)
        sha256_update(&file->hash, bytes, to);
}

static void give(File *file, const void *from, size_t bytes)
{
    file->good = file->good && fwrite(from, 1, bytes, file->file) == bytes;
    sha256_update(&file->hash, bytes, from);
}

// The rows of a sound file into the columns; whether all of it was sound.
static bool read_rows(const amli_disk_cache *disk, amli_table *table, File *file, uint8_t *flag,
                      int64_t units, int64_t *rows)
{
    Head head = {{0}, {0}, 0, 0};
    uint8_t digest[SHA256_DIGEST_SIZE], found[SHA256_DIGEST_SIZE + 1];
    take(file, &head, sizeof head);
    if (!file->good || strcmp(head.magic, MAGIC) != 0 || strcmp(head.key, disk->key) != 0 ||
        head.units != units || head.unit_bytes != (int64_t)bytes_of_unit(table))
        return false;
    take(file, flag, (size_t)units);
    for (int64_t unit = 0; unit < units && file->good; unit++) {
        for (int i = 0; i < table->fields && flag[unit] == 1; i++)
            if (table->on_demand[i])
                take(file, (char *)table->field[i] + (size_t)unit * table->unit_bytes[i],
                     table->unit_bytes[i]);
        *rows += flag[unit] == 1;
        file->good = file->good && flag[unit] <= 1;
    }
    sha256_digest(&file->hash, sizeof digest, digest);
    return file->good &&
           fread(found, 1, sizeof found, file->file) == sizeof digest && // and nothing behind it
           memcmp(digest, found, sizeof digest) == 0;
}

static void load(amli_disk_cache *disk, amli_table *table)
{
    int64_t units = amli_table_units(table), rows = 0;
    File file = {.file = fopen(disk->path, "rbe"), .good = true};
    uint8_t *flag = file.file ? malloc((size_t)units + 1) : NULL;
    sha256_init(&file.hash);
    if (flag && read_rows(disk, table, &file, flag, units, &rows)) {
        for (int64_t unit = 0; unit < units; unit++)
            if (flag[unit] == 1)
                atomic_store_explicit(&table->cached[unit], READY, memory_order_release);
        disk->loaded = rows;
        utimensat(AT_FDCWD, disk->path, NULL, 0); // it was used
    } else if (flag) {
        unlink(disk->path);
    }
    if (file.file)
        fclose(file.file);
    free(flag);
}

void amli_cache_open(amli_table *table, const aml_dataset *dataset)
{
    amli_disk_cache *disk = calloc(1, sizeof *disk);
    char name[AMLI_HASH_TEXT + sizeof ENDING];
    if (!disk)
        return;
    make_key(table, dataset, disk->key);
    snprintf(name, sizeof name, "%s" ENDING, disk->key);
    if (!find_folder(disk->folder) ||
        amli_join(disk->path, sizeof disk->path, disk->folder, name, NULL)) {
        free(disk);
        return;
    }
    table->disk = disk;
    load(disk, table);
}

int64_t amli_cache_loaded(const amli_table *table, const char **path)
{
    *path = table->disk ? table->disk->path : "";
    return table->disk ? table->disk->loaded : 0;
}

// ---- writing

typedef struct Old {
    char path[PATH_MAX];
    double bytes, used; // used: when last
} Old;

static bool has_ending(const char *name)
{
    size_t length = strlen(name), ending = sizeof ENDING - 1;
    return length > ending && strcmp(name + length - ending, ENDING) == 0;
}

// Removes those that were not used for longest until `bytes` more fit into what may be there.
static bool make_room(const amli_disk_cache *disk, double bytes)
{
    double most = most_bytes(), sum = bytes;
    amli_names names;
    if (bytes > most || amli_list_folder(disk->folder, &names, NULL))
        return false;
    Old *old = malloc((size_t)(names.count + 1) * sizeof *old);
    int count = 0;
    for (int i = 0; i < names.count && old; i++) {
        struct stat info;
        Old *one = &old[count];
        if (amli_join(one->path, PATH_MAX, disk->folder, names.name[i], NULL) ||
            stat(one->path, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (strstr(names.name[i], ENDING ".new-") && time(NULL) - info.st_mtime > STALE_SECONDS)
            unlink(one->path);
        if (!has_ending(names.name[i]) || strcmp(one->path, disk->path) == 0)
            continue;
        one->bytes = (double)info.st_size;
        one->used = (double)info.st_mtim.tv_sec + 1e-9 * (double)info.st_mtim.tv_nsec;
        sum += one->bytes;
        count++;
    }
    while (old && sum > most && count > 0) {
        int oldest = 0;
        for (int i = 1; i < count; i++)
            oldest = old[i].used < old[oldest].used ? i : oldest;
        unlink(old[oldest].path);
        sum -= old[oldest].bytes;
        old[oldest] = old[--count];
    }
    amli_free_names(&names);
    bool fits = old && sum <= most;
    free(old);
    struct statvfs room;
    return fits && (statvfs(disk->folder, &room) != 0 ||
                    2 * bytes < (double)room.f_bavail * (double)room.f_frsize);
}

static bool write_rows(const amli_disk_cache *disk, const amli_table *table, File *file)
{
    int64_t units = amli_table_units(table);
    Head head;
    uint8_t digest[SHA256_DIGEST_SIZE];
    memset(&head, 0, sizeof head); // all of its bytes are written
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    memcpy(head.key, disk->key, sizeof disk->key);
    head.units = units;
    head.unit_bytes = (int64_t)bytes_of_unit(table);
    give(file, &head, sizeof head);
    for (int64_t unit = 0; unit < units; unit++) {
        uint8_t flag = table->cached[unit] == READY;
        give(file, &flag, 1);
    }
    for (int64_t unit = 0; unit < units; unit++)
        for (int i = 0; i < table->fields && table->cached[unit] == READY; i++)
            if (table->on_demand[i])
                give(file, (const char *)table->field[i] + (size_t)unit * table->unit_bytes[i],
                     table->unit_bytes[i]);
    sha256_digest(&file->hash, sizeof digest, digest);
    return file->good && fwrite(digest, 1, sizeof digest, file->file) == sizeof digest;
}

static void save(const amli_disk_cache *disk, const amli_table *table)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s.new-%lld", disk->path, (long long)getpid()) >=
        (int)sizeof path)
        return;
    File file = {.file = fopen(path, "wbe"), .good = true};
    sha256_init(&file.hash);
    bool good = file.file && write_rows(disk, table, &file);
    if (file.file)
        good = fclose(file.file) == 0 && good;
    if (!good || rename(path, disk->path) != 0)
        unlink(path);
}

// Whether the rows that are new are worth a file.
static bool pays(const amli_disk_cache *disk, const amli_table *table, double *bytes)
{
    int64_t units = amli_table_units(table), rows = 0;
    for (int64_t unit = 0; unit < units; unit++)
        rows += table->cached[unit] == READY;
    double one = (double)bytes_of_unit(table), seconds = (double)*table->decode_ns * 1e-9;
    int64_t fresh = rows - disk->loaded;
    *bytes = (double)rows * one + (double)units;
    const char *after = getenv("AML_CACHE_AFTER");
    double least;
    aml_unit measure;
    if (!after || !amli_parse_quantity(after, &least, &measure) || measure != AML_UNIT_SECONDS)
        least = LEAST_SECONDS;
    return fresh > units / 20 && seconds > least &&
           seconds > 2 * (double)fresh * one / READ_BYTES_A_SECOND;
}

void amli_cache_close(amli_table *table)
{
    double bytes;
    if (table->disk && table->cached && pays(table->disk, table, &bytes) &&
        amli_make_folders(table->disk->folder, NULL) == AML_OK && make_room(table->disk, bytes))
        save(table->disk, table);
    free(table->disk);
    table->disk = NULL;
}
