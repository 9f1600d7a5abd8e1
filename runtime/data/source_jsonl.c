// Lines of JSON (RFC 8259): an object a line, a sample. A field reads the value of a key, or of a
// path of keys with dots between them.
//
// A line is checked as a whole and passed over once; where a wanted value is found its place is
// kept, and only these values are looked at again. Nothing is built in memory for a line.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/rows.h"

enum { MOST_DEPTH = 64, LONGEST_PATH = 256, MOST_NAMES = 256 };

// A value in the text.
typedef struct Found {
    const char *at; // its first byte, which tells its kind; NULL: there is none
    size_t length;
} Found;

typedef struct Jsonl {
    amli_rows rows;
    char **key; // for names: paths of the first row
    amli_cell *name;
    int64_t names, room;
} Jsonl;

typedef struct Thread {
    amli_rows_thread rows;
    char *text; // a string without escapes
    size_t text_room;
    void **decoders;
    const aml_field *field;
    int fields;
    Found found[]; // of each field
} Thread;

typedef struct Parse {
    const char *at, *end;
    const char *expected, *wrong; // what should have been where
    const aml_field *field;
    int fields;
    Found *found;
    const char *twice; // a wanted key
    Jsonl *names;      // to be filled; or NULL
    char path[LONGEST_PATH];
} Parse;

static bool fail(Parse *parse, const char *expected)
{
    if (!parse->expected) {
        parse->expected = expected;
        parse->wrong = parse->at;
    }
    return false;
}

static void pass_blanks(Parse *parse)
{
    while (parse->at < parse->end && (*parse->at == ' ' || *parse->at == '\t'))
        parse->at++;
}

static bool is_digit(const Parse *parse)
{
    return parse->at < parse->end && *parse->at >= '0' && *parse->at <= '9';
}

static int hex(const char *at)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
                    : at[i] >= 'a' && at[i] <= 'f' ? at[i] - 'a' + 10
                    : at[i] >= 'A' && at[i] <= 'F' ? at[i] - 'A' + 10
                                                   : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

// The code point of \uXXXX at `at` (behind the u), with a second half if it needs one; how many
// bytes it takes. 0: none.
static size_t read_escape(const char *at, const char *end, uint32_t *code)
{
    int high = end - at >= 4 ? hex(at) : -1;
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF))
        return 0;
    *code = (uint32_t)high;
    if (high < 0xD800 || high > 0xDBFF)
        return 4;
    int low = end - at >= 10 && at[4] == '\\' && at[5] == 'u' ? hex(at + 6) : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *code = 0x10000 + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    return 10;
}

static bool pass_string(Parse *parse)
{
    for (parse->at++; parse->at < parse->end; parse->at++) {
        unsigned char c = (unsigned char)*parse->at;
        uint32_t code;
        if (c == '"') {
            parse->at++;
            return true;
        }
        if (c < 0x20)
            return fail(parse, "no control character in a text");
        if (c != '\\')
            continue;
        if (++parse->at == parse->end)
            break;
        if (*parse->at == 'u') {
            size_t bytes = read_escape(parse->at + 1, parse->end, &code);
            if (bytes == 0)
                return fail(parse, "\\u and the number of a character");
            parse->at += bytes;
        } else if (!strchr("\"\\/bfnrt", *parse->at)) {
            return fail(parse, "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
        }
    }
    return fail(parse, "the closing quote of a text");
}

static bool pass_number(Parse *parse)
{
    if (*parse->at == '-')
        parse->at++;
    if (!is_digit(parse))
        return fail(parse, "a value");
    if (*parse->at == '0')
        parse->at++;
    else
        while (is_digit(parse))
            parse->at++;
    if (is_digit(parse))
        return fail(parse, "a number that does not begin with 0");
    if (parse->at < parse->end && *parse->at == '.') {
        parse->at++;
        if (!is_digit(parse))
            return fail(parse, "a digit");
        while (is_digit(parse))
            parse->at++;
    }
    if (parse->at < parse->end && (*parse->at == 'e' || *parse->at == 'E')) {
        parse->at++;
        if (parse->at < parse->end && (*parse->at == '-' || *parse->at == '+'))
            parse->at++;
        if (!is_digit(parse))
            return fail(parse, "a digit");
        while (is_digit(parse))
            parse->at++;
    }
    return true;
}

static bool pass_word(Parse *parse, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(parse->end - parse->at) < length || memcmp(parse->at, word, length) != 0)
        return fail(parse, "a value");
    parse->at += length;
    return true;
}

// A string's characters to `to`, which has room for as many bytes; how many there are.
static size_t unescape(const char *at, size_t length, char *to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *end = at + length;
    size_t used = 0;
    while (at < end) {
        if (*at != '\\') {
            to[used++] = *at++;
            continue;
        }
        at++;
        if (*at != 'u') {
            to[used++] = into[strchr(from, *at) - from];
            at++;
            continue;
        }
        uint32_t code = 0;
        at += 1 + read_escape(at + 1, end, &code);
        if (code < 0x80) {
            to[used++] = (char)code;
        } else if (code < 0x800) {
            to[used++] = (char)(0xC0 | code >> 6);
            to[used++] = (char)(0x80 | (code & 63));
        } else if (code < 0x10000) {
            to[used++] = (char)(0xE0 | code >> 12);
            to[used++] = (char)(0x80 | (code >> 6 & 63));
            to[used++] = (char)(0x80 | (code & 63));
        } else {
            to[used++] = (char)(0xF0 | code >> 18);
            to[used++] = (char)(0x80 | (code >> 12 & 63));
            to[used++] = (char)(0x80 | (code >> 6 & 63));
            to[used++] = (char)(0x80 | (code & 63));
        }
    }
    return used;
}

static void keep_name(Parse *parse)
{
    Jsonl *own = parse->names;
    if (own->names == own->room)
        return;
    own->key[own->names] = strdup(parse->path);
    if (own->key[own->names])
        own->names++;
}

static bool pass_value(Parse *parse, int depth, size_t path);

// An object's members; `path` bytes of the path lead to it, SIZE_MAX: too many to be wanted.
static bool pass_object(Parse *parse, int depth, size_t path)
{
    parse->at++;
    pass_blanks(parse);
    if (parse->at < parse->end && *parse->at == '}') {
        parse->at++;
        return true;
    }
    for (;;) {
        pass_blanks(parse);
        if (parse->at == parse->end || *parse->at != '"')
            return fail(parse, "a key in quotes");
        const char *key = parse->at + 1;
        if (!pass_string(parse))
            return false;
        size_t length = (size_t)(parse->at - 1 - key), below = SIZE_MAX;
        if (path != SIZE_MAX && path + length + 2 < LONGEST_PATH) {
            below = path;
            if (below)
                parse->path[below++] = '.';
            below += unescape(key, length, parse->path + below);
            parse->path[below] = 0;
        }
        pass_blanks(parse);
        if (parse->at == parse->end || *parse->at != ':')
            return fail(parse, "a colon behind a key");
        parse->at++;
        pass_blanks(parse);
        const char *value = parse->at;
        bool leaf = parse->at < parse->end && *parse->at != '{';
        if (below != SIZE_MAX && leaf && parse->names)
            keep_name(parse);
        int wanted[8], count = 0; // several fields may read one key
        for (int i = 0; i < parse->fields && below != SIZE_MAX && count < 8; i++)
            if (strcmp(parse->field[i].key, parse->path) == 0)
                wanted[count++] = i;
        if (!pass_value(parse, depth + 1, below))
            return false;
        for (int i = 0; i < count; i++) {
            Found *found = &parse->found[wanted[i]];
            if (found->at)
                parse->twice = parse->twice ? parse->twice : value;
            *found = (Found){value, (size_t)(parse->at - value)};
        }
        pass_blanks(parse);
        if (parse->at < parse->end && *parse->at == '}') {
            parse->at++;
            return true;
        }
        if (parse->at == parse->end || *parse->at != ',')
            return fail(parse, "a comma or } behind a value");
        parse->at++;
    }
}

static bool pass_array(Parse *parse, int depth)
{
    parse->at++;
    pass_blanks(parse);
    if (parse->at < parse->end && *parse->at == ']') {
        parse->at++;
        return true;
    }
    for (;;) {
        pass_blanks(parse);
        if (!pass_value(parse, depth + 1, SIZE_MAX))
            return false;
        pass_blanks(parse);
        if (parse->at < parse->end && *parse->at == ']') {
            parse->at++;
            return true;
        }
        if (parse->at == parse->end || *parse->at != ',')
            return fail(parse, "a comma or ] behind a value");
        parse->at++;
    }
}

static bool pass_value(Parse *parse, int depth, size_t path)
{
    if (depth > MOST_DEPTH)
        return fail(parse, "at most 64 values inside of each other");
    if (parse->at == parse->end)
        return fail(parse, "a value");
    switch (*parse->at) {
    case '{':
        return pass_object(parse, depth, path);
    case '[':
        return pass_array(parse, depth);
    case '"':
        return pass_string(parse);
    case 't':
        return pass_word(parse, "true");
    case 'f':
        return pass_word(parse, "false");
    case 'n':
        return pass_word(parse, "null");
    default:
        return pass_number(parse);
    }
}

// A whole line.
static bool pass_line(Parse *parse)
{
    pass_blanks(parse);
    if (parse->at == parse->end || *parse->at != '{')
        return fail(parse, "an object");
    if (!pass_object(parse, 0, 0))
        return false;
    pass_blanks(parse);
    return parse->at == parse->end || fail(parse, "the end of the line");
}

// ---- fields

typedef struct Reader {
    const amli_reading *reading;
    const amli_csv *csv;
    Thread *thread;
    const aml_field *field;
    aml_error *error;
} Reader;

static bool bad(const Reader *r, const char *at, const char *expected, const char *found)
{
    int64_t line, column;
    amli_csv_place(r->csv, at, &line, &column);
    amli_fail(r->error, AML_BAD_DATA, "%s:%lld:%lld: key \"%s\", field '%s': expected %s, found %s",
              r->reading->file[0].path, (long long)line, (long long)column, r->field->key,
              r->field->tensor.name, expected, found);
    return false;
}

// What a value is as a cell: the characters of a string, null as nothing, others as they are.
static amli_cell cell_of(Thread *thread, const Found *value)
{
    if (!value->at || *value->at == 'n')
        return (amli_cell){.at = "", .length = 0};
    if (*value->at != '"')
        return (amli_cell){.at = value->at, .length = value->length};
    size_t length = value->length - 2;
    if (!memchr(value->at, '\\', value->length))
        return (amli_cell){.at = value->at + 1, .length = length};
    return (amli_cell){.at = thread->text, .length = unescape(value->at + 1, length, thread->text)};
}

static bool decode_value(const Reader *r, const Found *value, void *element)
{
    const aml_cell_rule *rule = r->field->rule;
    amli_cell cell = cell_of(r->thread, value), shown = {.at = value->at, .length = value->length};
    char expected[120], found[96];
    bool is_text = value->at && *value->at == '"';
    bool numbers = !rule || rule->kind == AML_CELL_NUMBER;
    const char *at = value->at ? value->at : r->csv->row;
    if (is_text && numbers && !amli_cell_absent(rule, &cell)) {
        snprintf(expected, sizeof expected, "a number, not a text");
        return bad(r, at, expected, amli_cell_text(&cell, found, sizeof found));
    }
    if (value->at && (*value->at == '[' || *value->at == '{')) {
        return bad(r, at, "one value", *value->at == '[' ? "an array" : "an object");
    }
    if (amli_decode(&r->field->tensor, rule, &cell, element, expected, sizeof expected))
        return true;
    return bad(r, at, expected,
               !value->at          ? "no such key"
               : *value->at == 'n' ? "null"
                                   : amli_cell_text(is_text ? &cell : &shown, found, sizeof found));
}

// The value at *at, which is a sound one.
static Found take_value(const char **at, const char *end)
{
    Parse parse = {.at = *at, .end = end};
    while (parse.at < end && (*parse.at == ' ' || *parse.at == '\t' || *parse.at == ','))
        parse.at++;
    Found value = {.at = parse.at};
    pass_value(&parse, 0, SIZE_MAX);
    value.length = (size_t)(parse.at - value.at);
    *at = parse.at;
    return value;
}

// Arrays inside of each other as elements of the field, of axis `axis` and those behind it.
static bool decode_array(const Reader *r, const Found *value, int axis, char **to)
{
    const aml_shape *shape = &r->field->tensor.shape;
    size_t size = aml_dtype_bytes(r->field->tensor.dtype);
    if (axis == shape->rank) {
        bool good = decode_value(r, value, *to);
        *to += size;
        return good;
    }
    char expected[80], found[40];
    snprintf(expected, sizeof expected, "an array of %lld values", (long long)shape->dim[axis]);
    if (!value->at || *value->at != '[')
        return bad(r, value->at ? value->at : r->csv->row, expected,
                   !value->at          ? "no such key"
                   : *value->at == 'n' ? "null"
                                       : "another value");
    const char *at = value->at + 1, *end = value->at + value->length - 1;
    int64_t count = 0;
    for (;; count++) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
            at++;
        if (at >= end)
            break;
        Found item = take_value(&at, end);
        if (count < shape->dim[axis] && !decode_array(r, &item, axis + 1, to))
            return false;
    }
    snprintf(found, sizeof found, "%lld", (long long)count);
    return count == shape->dim[axis] || bad(r, value->at, expected, found);
}

static bool decode_field(const Reader *r, const Found *value, void *to)
{
    const aml_field *field = r->field;
    char *at = to, expected[120], found[96];
    if (!field->rule || field->rule->kind != AML_CELL_TEXT)
        return decode_array(r, value, 0, &at);
    if (!value->at || *value->at != '"')
        return bad(r, value->at ? value->at : r->csv->row, "a text",
                   value->at ? "another value" : "no such key");
    amli_cell cell = cell_of(r->thread, value);
    void *own = r->thread->decoders ? r->thread->decoders[field - r->reading->dataset->field] : NULL;
    return field->rule->decoder->decode(own, field, &cell, to, expected, sizeof expected) ||
           bad(r, value->at, expected, amli_cell_text(&cell, found, sizeof found));
}

// ---- the source

static bool recognize_jsonl(const char *text, size_t length)
{
    while (length && strchr(" \t\r\n", *text) && *text)
        text++, length--;
    return length && *text == '{';
}

// Reads the names of the first row's values.
static aml_status read_names(amli_reading *reading, Jsonl *own, aml_error *error)
{
    amli_csv_result result;
    amli_cell line = {0};
    aml_status status = amli_rows_first(&own->rows, &line, 1, &result, error);
    if (status)
        return status;
    if (result == AMLI_CSV_END)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected rows, found an empty file",
                         reading->file[0].path);
    if (!reading->load->names_only) {
        amli_csv *csv = &own->rows.csv; // a row like the others
        csv->at = csv->row;
        csv->next_line = csv->line;
        return AML_OK;
    }
    own->room = MOST_NAMES;
    own->key = calloc(MOST_NAMES, sizeof *own->key);
    own->name = calloc(MOST_NAMES, sizeof *own->name);
    if (!own->key || !own->name)
        return amli_no_memory(error, MOST_NAMES * sizeof *own->name, reading->file[0].path);
    Parse parse = {.at = line.at, .end = line.at + line.length, .names = own};
    pass_line(&parse); // a bad row is found when it is read
    for (int64_t i = 0; i < own->names; i++)
        own->name[i] = (amli_cell){.at = own->key[i], .length = strlen(own->key[i])};
    return AML_OK;
}

static aml_status open_jsonl(amli_reading *reading, aml_error *error)
{
    const aml_source *source = reading->source;
    const aml_dataset *dataset = reading->dataset;
    Jsonl *own = reading->own = calloc(1, sizeof *own);
    if (!own)
        return amli_no_memory(error, sizeof *own, reading->file[0].path);
    own->rows.descriptor = -1;
    const amli_csv_form form = {.separator = '\n', .literal_quotes = true}; // a row is one cell
    aml_status status = amli_rows_open(reading, &form, source->memory_bytes, &own->rows, error);
    if (!status)
        status = read_names(reading, own, error);
    if (status || reading->load->names_only)
        return status;
    status = amli_rows_index(&own->rows, error);
    size_t one = 0, all;
    for (int i = 0; i < dataset->fields; i++)
        one += reading->unit_bytes[i];
    bool too_large =
        __builtin_mul_overflow(one, (size_t)own->rows.rows, &all) || all > source->memory_bytes;
    if (status || (own->rows.text && (!source->memory_bytes || !too_large)))
        return status;
    if (!amli_rows_leave(reading, &own->rows, error))
        return error ? error->status : AML_IO;
    for (int i = 0; i < dataset->fields && source == &dataset->source; i++)
        reading->on_demand[i] =
            too_large && (dataset->field[i].count != 1 || dataset->field[i].tensor.classes == 0);
    return AML_OK;
}

static void thread_free(void *of)
{
    Thread *thread = of;
    amli_rows_thread_free(&thread->rows);
    amli_cells_close(thread->field, thread->fields, thread->decoders);
    free(thread->text);
    free(thread);
}

static void *thread_new(const amli_reading *reading)
{
    const Jsonl *own = reading->own;
    Thread *thread =
        calloc(1, sizeof *thread + (size_t)(reading->dataset->fields + 1) * sizeof *thread->found);
    if (!thread)
        return NULL;
    thread->text_room = own->rows.longest + 1; // no line is longer than its block
    thread->text = malloc(thread->text_room);
    thread->field = reading->dataset->field;
    thread->fields = reading->dataset->fields;
    if (amli_cells_open(thread->field, thread->fields, &thread->decoders, NULL) || !thread->text || !amli_rows_thread_new(&own->rows, &thread->rows)) {
        thread_free(thread);
        return NULL;
    }
    return thread;
}

// Finds the values of a row.
static amli_row find(const amli_reading *reading, Thread *thread, int64_t row, aml_error *error)
{
    const Jsonl *own = reading->own;
    const aml_dataset *dataset = reading->dataset;
    const char *path = reading->file[0].path;
    amli_cell line;
    int64_t number, column;
    if (!amli_rows_read(&own->rows, &thread->rows, row, &line, 1, error))
        return AMLI_ROW_FAILED;
    const amli_csv *csv = &thread->rows.csv;
    Parse parse = {.at = line.at,
                   .end = line.at + line.length,
                   .field = dataset->field,
                   .fields = dataset->fields,
                   .found = thread->found};
    memset(thread->found, 0, (size_t)dataset->fields * sizeof *thread->found);
    if (csv->problem) {
        amli_csv_place(csv, csv->problem_at, &number, &column);
        amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: expected an object of JSON, found %s", path,
                  (long long)number, (long long)column, csv->problem);
        return AMLI_ROW_BAD;
    }
    bool good = pass_line(&parse);
    if (good && !parse.twice)
        return AMLI_ROW_READ;
    const char *at = good ? parse.twice : parse.wrong;
    char found[48];
    amli_cell rest = {.at = at, .length = (size_t)(parse.end - at)};
    rest.length = rest.length < 16 ? rest.length : 16;
    amli_csv_place(csv, at, &number, &column);
    amli_fail(error, AML_BAD_DATA, "%s:%lld:%lld: expected %s, found %s", path, (long long)number,
              (long long)column, good ? "each key once" : parse.expected,
              good             ? "one that was there before"
              : at < parse.end ? amli_cell_text(&rest, found, sizeof found)
                               : "the end of the line");
    return AMLI_ROW_BAD;
}

static amli_row jsonl_at(const amli_reading *reading, void *of, int64_t row, void *const to[],
                         aml_error *error)
{
    Thread *thread = of;
    amli_row result = find(reading, thread, row, error);
    Reader reader = {reading, &thread->rows.csv, thread, NULL, error};
    for (int i = 0; i < reading->dataset->fields && result == AMLI_ROW_READ; i++) {
        const aml_field *field = reader.field = &reading->dataset->field[i];
        bool optional = field->label && reading->load && reading->load->labels_may_be_absent;
        if (!to[i])
            continue;
        if (!thread->found[i].at && optional)
            memset(to[i], 0, reading->unit_bytes[i]);
        else if (!decode_field(&reader, &thread->found[i], to[i]))
            result = AMLI_ROW_BAD;
    }
    return result;
}

static amli_row jsonl_texts(const amli_reading *reading, void *of, int64_t row, amli_cell cell[],
                            aml_error *error)
{
    Thread *thread = of;
    amli_row result = find(reading, thread, row, error);
    if (result == AMLI_ROW_READ)
        cell[0] = cell_of(thread, &thread->found[0]);
    return result;
}

static int64_t jsonl_rows(const amli_reading *reading)
{
    return ((const Jsonl *)reading->own)->rows.rows;
}

static const amli_cell *jsonl_names(const amli_reading *reading, int64_t *count)
{
    const Jsonl *own = reading->own;
    *count = own->names;
    return own->name;
}

static aml_status jsonl_fingerprint(amli_reading *reading, char text[AMLI_HASH_TEXT],
                                    aml_error *error)
{
    return amli_rows_fingerprint(&((Jsonl *)reading->own)->rows, text, error);
}

static void close_jsonl(amli_reading *reading)
{
    Jsonl *own = reading->own;
    if (!own)
        return;
    amli_rows_close(&own->rows);
    for (int64_t i = 0; i < own->names; i++)
        free(own->key[i]);
    free(own->key), free(own->name);
    free(own);
}

const amli_source_kind amli_source_jsonl = {.name = "jsonl",
                                            .recognize = recognize_jsonl,
                                            .by_path = true,
                                            .checks = true,
                                            .open = open_jsonl,
                                            .close = close_jsonl,
                                            .fingerprint = jsonl_fingerprint,
                                            .rows = jsonl_rows,
                                            .at = jsonl_at,
                                            .thread_new = thread_new,
                                            .thread_free = thread_free,
                                            .names = jsonl_names,
                                            .texts = jsonl_texts};
