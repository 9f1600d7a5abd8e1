// rows.h: a text file as numbered rows, in memory or, where it is too large, on the disk.
//
//     file   |header|r0 r1 ... r31|r32 ... r63|r64 ...
//     block          0             1           2         where it begins, in which line, a hash
//
// One pass finds where every ROWS_IN_BLOCK-th row begins. A row is then read from the beginning of
// its block: some hundred bytes are passed over, and the index is small. Rows on the disk are read
// with a block at a time into the thread's room; the hash tells if the file was changed meanwhile.

#ifndef AMLI_ROWS_H
#define AMLI_ROWS_H

#include "runtime/data/source.h"

enum { ROWS_IN_BLOCK = 32 };

typedef struct amli_rows_block {
    int64_t offset, line;
    uint64_t hash;
} amli_rows_block;

typedef struct amli_rows {
    const char *path, *text; // text NULL: the rows are on the disk
    size_t length;
    int descriptor; // -1: none
    amli_csv_form form;
    amli_csv csv; // reads from the beginning: rows before the index is made (a header)
    char *window; // of a file on the disk, for that
    size_t window_bytes;
    int64_t window_offset; // in the file
    amli_rows_block *block;
    int64_t blocks, rows;
    size_t longest; // bytes of the longest block
} amli_rows;

// Opens the first file of the source. A file of more than `memory` bytes stays on the disk; one
// that is not is reading->file[0].text afterwards.
aml_status amli_rows_open(amli_reading *reading, const amli_csv_form *form, size_t memory,
                          amli_rows *rows, aml_error *error);
void amli_rows_close(amli_rows *rows);

// The next row from the beginning, before the index is made. *result is not AMLI_CSV_MORE. Cells
// are in memory until the next call.
aml_status amli_rows_first(amli_rows *rows, amli_cell cell[], int64_t room, amli_csv_result *result,
                           aml_error *error);
// Numbers the rows that were not read yet.
aml_status amli_rows_index(amli_rows *rows, aml_error *error);
// From now on the rows are read from the disk. False if they cannot be: the file is a pipe.
bool amli_rows_leave(amli_reading *reading, amli_rows *rows, aml_error *error);

// What a thread needs.
typedef struct amli_rows_thread {
    amli_csv csv;
    char *room;
    int64_t block, row; // the next row that csv gives
} amli_rows_thread;
bool amli_rows_thread_new(const amli_rows *rows, amli_rows_thread *thread); // false: no memory
void amli_rows_thread_free(amli_rows_thread *thread);
// Reads a row; thread->csv says where it is. False if that failed: the file was changed.
bool amli_rows_read(const amli_rows *rows, amli_rows_thread *thread, int64_t row, amli_cell cell[],
                    int64_t room, aml_error *error);

// The hash of the file, as if it had been read at once.
aml_status amli_rows_fingerprint(const amli_rows *rows, char text[AMLI_HASH_TEXT],
                                 aml_error *error);

#endif
