// base/: what every part of the runtime uses: failures, texts, files, hashes, random numbers.

#ifndef AMLI_BASE_H
#define AMLI_BASE_H

#include <stdarg.h>

#include "aml/text.h"

#define AMLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define AMLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// ---- fail.c: describing a failure

// Fills `error` (which may be NULL) and returns `status`.
aml_status amli_fail(aml_error *error, aml_status status, const char *format, ...)
    AMLI_PRINTF(3, 4);
aml_status amli_no_memory(aml_error *error, size_t bytes, const char *what);

// Puts "PREFIX: " before what is already in `error`; returns its status.
aml_status amli_prefix(aml_error *error, const char *format, ...) AMLI_PRINTF(2, 3);

// ---- buffer.c: a text that grows. After a failed allocation `failed` is set and everything else
// is ignored, so that it is enough to look once, at the end.
typedef struct amli_buffer {
    char *text; // NUL-terminated; NULL while nothing was added
    size_t length, capacity;
    bool failed;
} amli_buffer;

void amli_buffer_add(amli_buffer *buffer, const char *text, size_t length);
void amli_buffer_printf(amli_buffer *buffer, const char *format, ...) AMLI_PRINTF(2, 3);
void amli_buffer_free(amli_buffer *buffer);

// ---- fail.c

// Text number `index` of a list in which each ends with a zero.
const char *amli_listed(const char *list, int index);

// ---- pages.c: large pages for constants

// Moves the bytes from..to, which are only read, to large pages where that helps: at least `least`
// bytes, a kernel that has such pages, memory enough. They stay where they are, and what they are.
// No other thread may read them meanwhile. False: nothing was done.
bool amli_large_pages(const void *from, const void *to, size_t least);

// ---- words.c: did you mean

// The candidate closest to `word`, or NULL if none is near (at most a third of the letters differ).
const char *amli_closest(const char *word, const char *const candidates[], int count);

// ---- numbers.c: numbers as people write them

// "1,234", "12.3 KiB", "1 h 02 min", into text; return text.
const char *amli_bytes_text(double bytes, char *text, size_t room);
const char *amli_seconds_text(double seconds, char *text, size_t room);

// The value of an option of the command line or of a setting: "3e-3", "1_000", "10 epochs", "5%",
// "256 KiB", "30 min". False if `text` is not a number, or if its unit is unknown; unit is
// AML_UNIT_NONE where none was written.
bool amli_parse_quantity(const char *text, double *value, aml_unit *unit);
const char *amli_unit_text(aml_unit unit);

// The shortest text that reads back as the same number, in `room` >= 32 bytes. Returns text.
const char *amli_real_text(double value, char *text, size_t room);
const char *amli_single_text(float value, char *text, size_t room);

// ---- files.c: reading and writing files
//
// Every function that fails describes what it tried with the path and the system's reason.

// The whole of a file, with a NUL behind it; the caller frees *text. Grows as it reads where the
// size is not known.
aml_status amli_read_file(const char *path, char **text, size_t *length, aml_error *error);
aml_status amli_read_descriptor(int descriptor, const char *name, char **text, size_t *length,
                                aml_error *error);

aml_status amli_write_all(int descriptor, const char *path, const void *bytes, size_t length,
                          aml_error *error);
aml_status amli_sync_folder(const char *path, aml_error *error);

aml_status amli_sync_file(const char *path, aml_error *error);
aml_status amli_write_file(const char *folder, const char *name, const char *text, size_t length,
                           aml_error *error); // not synced

// Replaces a small file so that a reader sees the old or the new text, never a mixture. It is not
// synced: after a crash of the machine either may be there.
aml_status amli_replace_file(const char *folder, const char *name, const char *text, size_t length,
                             aml_error *error);

// A file to write, emptied, or -1. Closing says whether all went well: `status` if it is a failure.
int amli_create_file(const char *path, aml_error *error);
aml_status amli_close_written(int descriptor, const char *path, aml_status status,
                              aml_error *error);
aml_status amli_rename(const char *from, const char *to, aml_error *error);
aml_status amli_remove_file(const char *path, aml_error *error); // or there is none

aml_status amli_make_folders(const char *path, aml_error *error); // like mkdir -p
aml_status amli_remove_folder(const char *path,
                              aml_error *error); // with the files in it, one level deep
bool amli_exists(const char *path);

// `folder`/`name` into text; AML_INVALID if it does not fit.
aml_status amli_join(char *text, size_t room, const char *folder, const char *name,
                     aml_error *error);

// The names in a folder, sorted; the caller frees with amli_free_names. A folder that does not
// exist has none.
typedef struct amli_names {
    char **name;
    int count;
} amli_names;
aml_status amli_list_folder(const char *path, amli_names *names, aml_error *error);
void amli_free_names(amli_names *names);

double amli_seconds(void); // of a clock that never goes back

// ---- hash.c: SHA-256
enum { AMLI_HASH_TEXT = 65 }; // 64 hex digits and the NUL
void amli_hash(const void *bytes, size_t length, char text[AMLI_HASH_TEXT]);

// ---- philox.c: the counter-based generator behind every random decision of the runtime
void amli_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]);

// Shuffles order[0..count) with Fisher-Yates: for i from count-1 down to 1, swap i with j in 0..i,
// where j = (word(i) * (i + 1)) >> 64 and word(i) is the first 64 bits of Philox with counter
// {lo(i), hi(i), lo(stream), hi(stream)} and key {lo(seed), hi(seed) ^ use}. So the order depends
// on nothing but (seed, stream, use, count).
enum {
    AMLI_USE_EPOCH = 0x65706f63,
    AMLI_USE_SPLIT = 0x73706c69,
    AMLI_USE_OFFSET = 0x6f666673,
    AMLI_USE_CHOICE = 0x63686f69,
    AMLI_USE_DRAW = 0x64726177,
    AMLI_USE_SMOTE = 0x736d6f74
};
void amli_shuffle(int64_t *order, int64_t count, int64_t seed, uint64_t stream, uint32_t use);

// ---- features.c: what this machine's CPU can do

// AML_BAD_CPU, naming the missing ones, unless the CPU and the system support every feature of the
// comma-separated list. Names are LLVM's (avx2, avx512f); a '+' before a name is allowed, names
// with '-' and unknown names are passed over.
aml_status amli_check_cpu(const char *level, const char *features, aml_error *error);

#endif
