// Text files as numbered rows: see rows.h.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/hash.h"
#include "runtime/data/rows.h"

enum { FIRST_WINDOW = 1 << 20, MOST_WINDOW = 1 << 28 };

// Not for enemies: it notices that a file was changed. Four lanes, so that it costs little.
static uint64_t hash_of(const char *at, size_t length)
{
    uint64_t lane[4] = {length, 1, 2, 3};
    for (; length >= 32; at += 32, length -= 32)
        for (int i = 0; i < 4; i++) {
            uint64_t word;
            memcpy(&word, at + 8 * i, 8);
            lane[i] = (lane[i] ^ word) * 0x9E3779B97F4A7C15u;
            lane[i] ^= lane[i] >> 29;
        }
    for (; length; at++, length--)
        lane[0] = (lane[0] ^ (unsigned char)*at) * 0x9E3779B97F4A7C15u;
    for (int i = 1; i < 4; i++)
        lane[0] = (lane[0] ^ lane[i] ^ lane[0] >> 31) * 0xBF58476D1CE4E5B9u;
    return lane[0];
}

static aml_status read_at(const amli_rows *rows, char *to, size_t bytes, int64_t offset,
                          size_t *done, aml_error *error)
{
    *done = 0;
    while (*done < bytes) {
        ssize_t got =
            pread(rows->descriptor, to + *done, bytes - *done, (off_t)(offset + (int64_t)*done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return amli_fail(error, AML_IO, "cannot read %s: %s", rows->path, strerror(errno));
        if (got == 0)
            break;
        *done += (size_t)got;
    }
    return AML_OK;
}

static aml_status open_window(amli_rows *rows, aml_error *error)
{
    size_t got;
    rows->window_bytes = FIRST_WINDOW;
    rows->window = malloc(rows->window_bytes);
    if (!rows->window)
        return amli_no_memory(error, rows->window_bytes, rows->path);
    aml_status status = read_at(rows, rows->window, rows->window_bytes, 0, &got, error);
    if (!status)
        amli_csv_begin(&rows->csv, rows->window, got, got == rows->length, &rows->form);
    return status;
}

// Moves the window on; what is from `keep` on stays in it.
static aml_status refill(amli_rows *rows, const char *keep, aml_error *error)
{
    amli_csv *csv = &rows->csv;
    size_t kept = (size_t)(csv->end - keep), passed = (size_t)(csv->at - keep), got;
    if (kept == rows->window_bytes) {
        if (kept >= MOST_WINDOW)
            return amli_fail(error, AML_BAD_DATA,
                             "%s:%lld:1: expected rows of less than %d bytes, found a longer one",
                             rows->path, (long long)csv->next_line, MOST_WINDOW);
        char *more = realloc(rows->window, kept * 2);
        if (!more)
            return amli_no_memory(error, kept * 2, rows->path);
        rows->window = more;
        rows->window_bytes = kept * 2;
    } else {
        rows->window_offset += keep - rows->window;
        memmove(rows->window, keep, kept);
    }
    int64_t next = rows->window_offset + (int64_t)kept;
    aml_status status =
        read_at(rows, rows->window + kept, rows->window_bytes - kept, next, &got, error);
    csv->text = rows->window;
    csv->at = rows->window + passed;
    csv->end = rows->window + kept + got;
    csv->complete = (size_t)next + got >= rows->length || got == 0;
    csv->block = NULL;
    return status;
}

aml_status amli_rows_open(amli_reading *reading, const amli_csv_form *form, size_t memory,
                          amli_rows *rows, aml_error *error)
{
    amli_source_file *file = &reading->file[0];
    *rows = (amli_rows){.path = file->path, .descriptor = -1, .form = *form};
    struct stat info;
    bool reads = !file->text;
    if (reads && memory && stat(file->path, &info) == 0 && S_ISREG(info.st_mode) &&
        (size_t)info.st_size > memory) {
        rows->descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
        if (rows->descriptor < 0)
            return amli_fail(error, AML_IO, "cannot open %s: %s", file->path, strerror(errno));
        rows->length = (size_t)info.st_size;
        return open_window(rows, error);
    }
    aml_status status =
        reads ? amli_read_file(file->path, &file->text, &file->length, error) : AML_OK;
    rows->text = file->text;
    rows->length = file->length;
    if (!status)
        amli_csv_begin(&rows->csv, rows->text, rows->length, true, form);
    return status;
}

void amli_rows_close(amli_rows *rows)
{
    if (rows->descriptor >= 0)
        close(rows->descriptor);
    free(rows->window);
    free(rows->block);
    *rows = (amli_rows){.descriptor = -1};
}

aml_status amli_rows_first(amli_rows *rows, amli_cell cell[], int64_t room, amli_csv_result *result,
                           aml_error *error)
{
    aml_status status = AML_OK;
    while (!status && (*result = amli_csv_next(&rows->csv, cell, room)) == AMLI_CSV_MORE)
        status = refill(rows, rows->csv.at, error);
    return status;
}

static int64_t offset_of(const amli_rows *rows, const char *at)
{
    return rows->text ? at - rows->text : rows->window_offset + (at - rows->window);
}

static aml_status new_block(amli_rows *rows, int64_t *capacity, aml_error *error)
{
    if (rows->blocks + 1 >= *capacity) {
        int64_t more = *capacity ? *capacity * 2 : 64;
        amli_rows_block *block = realloc(rows->block, (size_t)more * sizeof *block);
        if (!block)
            return amli_no_memory(error, (size_t)more * sizeof *block, rows->path);
        rows->block = block;
        *capacity = more;
    }
    rows->block[rows->blocks++] =
        (amli_rows_block){.offset = offset_of(rows, rows->csv.at), .line = rows->csv.next_line};
    return AML_OK;
}

// The last block ends here.
static void end_block(amli_rows *rows)
{
    if (rows->blocks == 0)
        return;
    amli_rows_block *block = &rows->block[rows->blocks - 1];
    size_t bytes = (size_t)(offset_of(rows, rows->csv.at) - block->offset);
    rows->longest = bytes > rows->longest ? bytes : rows->longest;
    if (!rows->text)
        block->hash = hash_of(rows->csv.at - bytes, bytes);
}

aml_status amli_rows_index(amli_rows *rows, aml_error *error)
{
    int64_t capacity = 0;
    amli_csv *csv = &rows->csv;
    aml_status status = AML_OK;
    while (!status) {
        if (rows->rows % ROWS_IN_BLOCK == 0 &&
            rows->blocks == rows->rows / ROWS_IN_BLOCK) { // a row in a new block
            end_block(rows);
            status = new_block(rows, &capacity, error);
        }
        amli_csv_result result = status ? AMLI_CSV_END : amli_csv_skip(csv);
        if (result == AMLI_CSV_END)
            break;
        if (result != AMLI_CSV_MORE) {
            rows->rows++;
            continue;
        }
        int64_t begin = rows->block[rows->blocks - 1].offset;
        status = refill(rows, rows->window + (begin - rows->window_offset), error);
    }
    if (status)
        return status;
    csv->at = csv->end; // blank lines and comments behind the last row belong to its block
    end_block(rows);
    rows->block[rows->blocks] = (amli_rows_block){.offset = offset_of(rows, csv->end)};
    free(rows->window);
    rows->window = NULL;
    return AML_OK;
}

bool amli_rows_leave(amli_reading *reading, amli_rows *rows, aml_error *error)
{
    amli_source_file *file = &reading->file[0];
    if (!rows->text)
        return true;
    struct stat info;
    rows->descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (rows->descriptor < 0 || fstat(rows->descriptor, &info) != 0 || !S_ISREG(info.st_mode) ||
        (size_t)info.st_size != rows->length) {
        amli_fail(error, AML_IO,
                  "%s: the data are larger than `memory` allows, and rows of it cannot be read "
                  "again from the disk",
                  file->path);
        return false;
    }
    for (int64_t b = 0; b < rows->blocks; b++)
        rows->block[b].hash = hash_of(rows->text + rows->block[b].offset,
                                      (size_t)(rows->block[b + 1].offset - rows->block[b].offset));
    rows->text = NULL;
    free(file->text);
    file->text = NULL;
    return true;
}

bool amli_rows_thread_new(const amli_rows *rows, amli_rows_thread *thread)
{
    *thread = (amli_rows_thread){.block = -1};
    if (!rows->text)
        thread->room = malloc(rows->longest + 1);
    return rows->text || thread->room;
}

void amli_rows_thread_free(amli_rows_thread *thread)
{
    free(thread->room);
}

// Goes to the beginning of a block.
static bool enter(const amli_rows *rows, amli_rows_thread *thread, int64_t block, aml_error *error)
{
    const amli_rows_block *at = &rows->block[block];
    size_t bytes = (size_t)(at[1].offset - at->offset), got;
    const char *text = rows->text ? rows->text + at->offset : thread->room;
    thread->block = -1;
    if (!rows->text) {
        if (read_at(rows, thread->room, bytes, at->offset, &got, error))
            return false;
        if (got != bytes || hash_of(thread->room, bytes) != at->hash) {
            amli_fail(error, AML_BAD_DATA,
                      "%s: rows %lld to %lld: the file was changed after it was opened", rows->path,
                      (long long)(block * ROWS_IN_BLOCK),
                      (long long)((block + 1) * ROWS_IN_BLOCK - 1));
            return false;
        }
    }
    thread->csv = (amli_csv){.text = rows->text ? rows->text : text,
                             .at = text,
                             .end = rows->text ? rows->text + rows->length : text + bytes,
                             .complete = true,
                             .form = rows->form,
                             .next_line = at->line};
    thread->block = block;
    thread->row = block * ROWS_IN_BLOCK;
    return true;
}

bool amli_rows_read(const amli_rows *rows, amli_rows_thread *thread, int64_t row, amli_cell cell[],
                    int64_t room, aml_error *error)
{
    int64_t block = row / ROWS_IN_BLOCK;
    bool goes_on =
        thread->block >= 0 && thread->row == row && (rows->text || thread->block == block);
    bool is_behind = thread->block == block && thread->row <= row;
    if (!goes_on && !is_behind && !enter(rows, thread, block, error))
        return false;
    thread->block = block;
    for (; thread->row < row; thread->row++)
        amli_csv_skip(&thread->csv);
    thread->row++;
    amli_csv_result result = amli_csv_next(&thread->csv, cell, room);
    if (result == AMLI_CSV_ROW || result == AMLI_CSV_BAD)
        return true;
    amli_fail(error, AML_INTERNAL, "%s: row %lld is not where it was", rows->path, (long long)row);
    return false;
}

aml_status amli_rows_fingerprint(const amli_rows *rows, char text[AMLI_HASH_TEXT], aml_error *error)
{
    if (rows->text) {
        amli_hash(rows->text, rows->length, text);
        return AML_OK;
    }
    struct sha256_ctx hash;
    char *room = malloc(FIRST_WINDOW);
    aml_status status = room ? AML_OK : amli_no_memory(error, FIRST_WINDOW, rows->path);
    size_t got = FIRST_WINDOW;
    sha256_init(&hash);
    for (int64_t at = 0; !status && got == FIRST_WINDOW; at += FIRST_WINDOW) {
        status = read_at(rows, room, FIRST_WINDOW, at, &got, error);
        if (!status)
            sha256_update(&hash, got, (const uint8_t *)room);
    }
    if (!status)
        amli_hash_finish(&hash, text);
    free(room);
    return status;
}
