// csv.h: reading csv, and turning its cells into elements of fields. Nothing here allocates, so
// that a deployed program can use it as well as a training program.

#ifndef AMLI_CSV_H
#define AMLI_CSV_H

#include <stdio.h>

#include "runtime/base/base.h"

// ---- csv.c: RFC 4180, with LF, CRLF or CR between rows, and a byte order mark allowed at the
// start

typedef struct amli_cell {
    const char *at; // in the text, without the outer quotes
    size_t length;
    bool doubled; // contains "" that stand for "
} amli_cell;

typedef enum {
    AMLI_CSV_ROW,
    AMLI_CSV_BAD,  // a row, but not a sound one: `problem` at `problem_at`; reading may go on
    AMLI_CSV_MORE, // the row does not end in the text, and there is more to come
    AMLI_CSV_END
} amli_csv_result;

// What may differ from file to file.
typedef struct amli_csv_form {
    char separator;
    char comment;        // lines that begin with it are passed over; 0: there are none
    bool literal_quotes; // a quote is a character like others
} amli_csv_form;

typedef struct amli_csv {
    const char *text;     // the beginning of the memory that `at` is in
    const char *at, *end; // what is left of the text
    bool complete;        // the text ends here; otherwise AMLI_CSV_MORE is a possible answer
    amli_csv_form form;
    int64_t next_line; // number of the line at `at`, from 1
    // the row that was read
    const char *row;
    int64_t line;  // in which it begins
    int64_t cells; // how many it has
    const char *problem, *problem_at;
    // the scanner's: the marks of the bytes at `block`, which is to be NULL where `at` was moved to
    // other memory
    const char *block;
    size_t block_bytes;
    uint64_t marks;
    bool odd;    // what was marked since a row was checked may hold bytes beyond ASCII, or NUL
    bool quoted; // the row has quotes
} amli_csv;

void amli_csv_begin(amli_csv *csv, const char *text, size_t length, bool complete,
                    const amli_csv_form *form);

// Reads a row. The first `room` cells are stored. Blank lines are passed over: a row of one empty
// cell is written with quotes.
amli_csv_result amli_csv_next(amli_csv *csv, amli_cell cell[], int64_t room);

// Passes over a row, sound or not: it ends where amli_csv_next would end it.
amli_csv_result amli_csv_skip(amli_csv *csv);

// The line and the column (in code points, from 1) of a position in the current row.
void amli_csv_place(const amli_csv *csv, const char *at, int64_t *line, int64_t *column);

bool amli_cell_is(const amli_cell *cell, const char *name); // equal, "" read as "
const char *amli_cell_text(const amli_cell *cell, char *text,
                           size_t room); // for messages: quoted, shortened

// ---- decode.c: cells to elements

// Leaves out what does not belong to the value: blanks around it, the rule's ending.
void amli_cell_trim(const aml_cell_rule *rule, amli_cell *cell);
// Writes the value of a cell as one element. False if it is not one: `expected` then says what was,
// in a few words.
bool amli_decode(const aml_tensor_info *tensor, const aml_cell_rule *rule, const amli_cell *cell,
                 void *element, char *expected, size_t room);

// The same of a trimmed cell that is a number of the tensor's type.
bool amli_decode_number(const aml_tensor_info *tensor, const amli_cell *cell, void *element,
                        char *expected, size_t room);

// Rounds a number to the field's type. False if it is not finite there; NaN is stored anyway.
bool amli_store_real(aml_dtype dtype, double value, void *element);

// What a text becomes where neither number nor class is read: all elements of a field from one
// cell.
typedef struct amli_cell_decoder {
    // As amli_decode; `cell` is as it is in the file, not trimmed.
    bool (*decode)(void *own, const aml_field *field, const amli_cell *cell, void *to,
                   char *expected, size_t room);
    void *(*open)(const aml_field *field); // what one thread works with; NULL: no memory
    void (*close)(void *own);
} amli_cell_decoder;

// Where the names of a category are, by a hash: for files, where a binary search would take longer
// than anything else.
typedef struct amli_lookup {
    const char *const *name;
    int32_t *slot;         // class + 1, 0: free
    size_t slots, *length; // a power of two; of each name
} amli_lookup;
// False: no memory. A field that is no category gets none.
bool amli_lookup_new(const aml_field *field, amli_lookup *lookup);
void amli_lookup_free(amli_lookup *lookup);

// What one thread needs for fields with decoders: own[i] of field i. *own is NULL if there are
// none.
aml_status amli_cells_open(const aml_field field[], int fields, void ***own, aml_error *error);
void amli_cells_close(const aml_field field[], int fields, void **own);

// Finds the first column of each field: by name in the header (NULL: there is none) or by position.
// column[i] is -1 for a label that is absent, where that is allowed.
aml_status amli_bind_columns(const aml_field field[], int fields, const amli_cell header[],
                             int64_t columns, bool labels_may_be_absent, int64_t column[],
                             aml_error *error);

// Whether the first row names the columns.
bool amli_has_header(aml_header header, const aml_field field[], int fields);

// Refuses a first row that is one of data, which would be lost if it were taken for the names.
aml_status amli_check_header(aml_header stated, const amli_cell header[], int64_t columns,
                             aml_error *error);

// Whether a row is a sound one of so many cells.
bool amli_check_row(const amli_csv *csv, const char *path, int64_t columns, aml_error *error);

// Decodes the cells of a row into to[i], one sample of field i (NULL: not wanted). False: `error`
// says file, line, column, expected, found. `lookup` of each
// field may be NULL. `own` is what amli_cells_open gave.
bool amli_decode_row(const amli_csv *csv, const char *path, const amli_cell cell[], int64_t columns,
                     const amli_cell header[], const aml_field field[], int fields,
                     const int64_t column[], const amli_lookup lookup[], void *const own[],
                     void *const to[], aml_error *error);

// ---- cell_rule.c: amli_read_by_rule (aml/program.h)

// Whether a trimmed cell is a missing value.
bool amli_cell_absent(const aml_cell_rule *rule, const amli_cell *cell);

// ---- names.c

// The name of a class, if it has one: a cell of csv or a text of JSON.
void amli_write_text(FILE *out, const char *text, bool json); // quoted as csv or JSON needs it
bool amli_write_class(FILE *out, const aml_tensor_info *info, int64_t value, bool json);
void amli_write_time(FILE *out, int64_t seconds, const char *format); // as of strftime, in UTC

// ---- time.c

// Seconds since 1970 in UTC of a date, with or without a time. `format` NULL: ISO 8601.
bool amli_read_time(const char *text, size_t length, const char *format, int64_t *seconds);

#endif
