// csv in, csv or JSON out, through a window of fixed size: a file of any length, or a pipe whose
// rows are answered as they come. Files of other kinds go to a reader of the program's table.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/artifact/serving.h"
#include "runtime/data/data.h"

enum { UNIT_SEPARATOR = 0x1f, KNOWN_BY = 16 }; // bytes by which a kind of file is known

typedef struct Stream {
    amli_serving *serving;
    const char *path;
    int descriptor;
    bool is_pipe, json, lines;
    const char *file; // of a folder: in the place of the row's number
    amli_csv csv;
    int64_t columns, done, waiting; // rows written, rows decoded but not yet predicted
    int64_t column[SERVING_TENSORS];
    void **decoders; // of fields that are texts
    bool has_header, shows_names;
    FILE *out;
} Stream;

// Moves what is left to the front of the window and reads more behind it.
static aml_status refill(Stream *stream, aml_error *error)
{
    char *window = stream->serving->window;
    size_t kept = (size_t)(stream->csv.end - stream->csv.at);
    memmove(window, stream->csv.at, kept);
    if (kept == SERVING_WINDOW)
        return amli_fail(error, AML_BAD_DATA,
                         "%s:%lld:1: expected a row of at most %d bytes, found a longer one",
                         stream->path, (long long)stream->csv.next_line, SERVING_WINDOW);
    ssize_t got;
    do
        got = read(stream->descriptor, window + kept, SERVING_WINDOW - kept);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return amli_fail(error, AML_IO, "cannot read %s: %s", stream->path, strerror(errno));
    stream->csv.at = window;
    stream->csv.end = window + kept + (size_t)got;
    stream->csv.complete = got == 0;
    stream->csv.block = NULL; // other bytes are there now
    return AML_OK;
}

static void write_element(FILE *out, const aml_tensor_info *info, const void *at, int64_t index,
                          bool json)
{
    char text[40];
    if (info->class_name && info->dtype == AML_I32 &&
        amli_write_class(out, info, ((const int32_t *)at)[index], json))
        return;
    if (info->dtype == AML_I64) { // not every one is a double
        fprintf(out, "%lld", (long long)((const int64_t *)at)[index]);
        return;
    }
    double value = amli_element(info->dtype, at, index);
    if (info->dtype > AML_BF16) {
        fprintf(out, "%d", (int)value);
        return;
    }
    if (value - value != 0)
        fputs(json ? "null" : value != value ? "nan" : value > 0 ? "inf" : "-inf", out);
    else
        fputs(info->dtype == AML_F64 ? amli_real_text(value, text, sizeof text)
                                     : amli_single_text((float)value, text, sizeof text),
              out);
}

static void write_header(const Stream *stream)
{
    fputs(stream->file ? "file" : "row", stream->out);
    for (int i = 0; i < aml_artifact_outputs(stream->serving->artifact); i++) {
        aml_tensor_info info = aml_artifact_output(stream->serving->artifact, i);
        int64_t count = aml_shape_elements(&info.shape);
        for (int64_t k = 0; k < count; k++)
            count == 1 ? fprintf(stream->out, ",%s", info.name)
                       : fprintf(stream->out, ",%s_%lld", info.name, (long long)k);
    }
    fputc('\n', stream->out);
}

static void write_row(const Stream *stream, int64_t slot)
{
    FILE *out = stream->out;
    bool json = stream->json;
    if (stream->file) {
        fputs(json ? "{\"file\": " : "", out);
        amli_write_text(out, stream->file, json);
    } else {
        fprintf(out, json ? "{\"row\": %lld" : "%lld", (long long)(stream->done + slot + 1));
    }
    for (int i = 0; i < aml_artifact_outputs(stream->serving->artifact); i++) {
        aml_tensor_info info = aml_artifact_output(stream->serving->artifact, i);
        int64_t count = aml_shape_elements(&info.shape);
        if (json)
            fprintf(out, ", \"%s\": %s", info.name, count == 1 ? "" : "[");
        for (int64_t k = 0; k < count; k++) {
            if (!json || k)
                fputs(json ? ", " : ",", out);
            write_element(out, &info, stream->serving->output[i], slot * count + k, json);
        }
        if (json && count != 1)
            fputc(']', out);
    }
    fputs(json ? "}\n" : "\n", out);
}

static aml_status flush_rows(Stream *stream, aml_error *error)
{
    amli_serving *serving = stream->serving;
    if (stream->waiting == 0)
        return AML_OK;
    aml_library_status status = aml_context_predict(
        serving->context, (const void *const *)serving->field, stream->waiting, serving->output);
    if (status)
        return amli_fail(error, AML_BAD_DATA, "%s: %s (rows are counted from %lld)", stream->path,
                         aml_context_problem(serving->context), (long long)stream->done + 1);
    for (int64_t i = 0; i < stream->waiting; i++)
        write_row(stream, i);
    stream->done += stream->waiting;
    stream->waiting = 0;
    return AML_OK;
}

// Keeps the names of the columns for messages, if they fit.
static void keep_header(Stream *stream, int64_t cells)
{
    amli_serving *serving = stream->serving;
    size_t used = 0;
    for (int64_t i = 0; i < cells; i++) {
        if (serving->header[i].length > SERVING_HEADER - used)
            return;
        memcpy(serving->header_text + used, serving->header[i].at, serving->header[i].length);
        serving->header[i].at = serving->header_text + used;
        used += serving->header[i].length;
    }
    stream->shows_names = true;
}

static amli_csv_result next(Stream *stream, amli_cell *cell, aml_error *error, aml_status *status)
{
    for (;;) {
        amli_csv_result result = amli_csv_next(&stream->csv, cell, SERVING_CELLS);
        if (result != AMLI_CSV_MORE)
            return result;
        // whoever feeds a pipe row by row waits for the answers
        if (stream->is_pipe && stream->waiting && !(*status = flush_rows(stream, error)))
            fflush(stream->out);
        if (*status || (*status = refill(stream, error)))
            return AMLI_CSV_END;
    }
}

static aml_status begin(Stream *stream, aml_error *error)
{
    amli_serving *serving = stream->serving;
    const aml_artifact *artifact = serving->artifact;
    aml_status status = AML_OK;
    while (!status && stream->csv.end - stream->csv.at < 3 &&
           !stream->csv.complete) // a byte order mark
        status = refill(stream, error);
    if (status)
        return status;
    amli_csv_form form = {.separator = artifact->separator ? artifact->separator : ',',
                          .comment = artifact->comment,
                          .literal_quotes = artifact->literal_quotes};
    if (stream->lines) // what separates is in no text
        form = (amli_csv_form){.separator = UNIT_SEPARATOR, .literal_quotes = true};
    amli_csv_begin(&stream->csv, stream->csv.at, (size_t)(stream->csv.end - stream->csv.at),
                   stream->csv.complete, &form);
    amli_csv first = stream->csv;
    amli_csv_result result;
    stream->has_header = artifact->header != AML_HEADER_NO && !stream->lines;
    if (stream->has_header) {
        result = next(stream, serving->header, error, &status);
        stream->columns = stream->csv.cells;
        for (int64_t i = 0; i < stream->columns && i < SERVING_CELLS; i++)
            amli_cell_trim(NULL, &serving->header[i]);
    } else { // the first row is only counted
        while ((result = amli_csv_next(&first, NULL, 0)) == AMLI_CSV_MORE &&
               !(status = refill(stream, error))) {
            first = stream->csv;
        }
        stream->columns = first.cells;
    }
    if (status)
        return status;
    if (result == AMLI_CSV_END)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected rows, found an empty file",
                         stream->path);
    if (stream->columns > SERVING_CELLS)
        return amli_fail(error, AML_BAD_DATA, "%s:1:1: expected at most %d columns, found %lld",
                         stream->path, SERVING_CELLS, (long long)stream->columns);
    if (stream->has_header)
        keep_header(stream, stream->columns);
    if (stream->has_header)
        status = amli_check_header(artifact->header, serving->header, stream->columns, error);
    if (stream->lines && stream->columns != 1)
        return amli_fail(error, AML_BAD_DATA,
                         "%s:1:1: expected a text in each line, found a control character (0x1f)",
                         stream->path);
    if (!status && !stream->lines)
        status = amli_bind_columns(artifact->field, artifact->fields,
                                   stream->has_header ? serving->header : NULL, stream->columns,
                                   true, stream->column, error);
    return status ? amli_prefix(error, "%s:%lld:1", stream->path,
                                (long long)(stream->has_header ? stream->csv.line : first.line))
                  : AML_OK;
}

static aml_status read_rows(Stream *stream, aml_error *error)
{
    amli_serving *serving = stream->serving;
    const aml_artifact *artifact = serving->artifact;
    aml_status status = begin(stream, error);
    if (!status && !stream->json)
        write_header(stream);
    while (!status) {
        amli_csv_result result = next(stream, serving->cell, error, &status);
        if (result == AMLI_CSV_END || status)
            break;
        void *to[SERVING_TENSORS];
        for (int i = 0; i < artifact->fields; i++)
            to[i] = (char *)serving->field[i] +
                    (size_t)stream->waiting * amli_serving_tensor_bytes(&artifact->field[i].tensor);
        if (!amli_decode_row(&stream->csv, stream->path, serving->cell, stream->columns,
                             stream->shows_names ? serving->header : NULL, artifact->field,
                             artifact->fields, stream->column, NULL, stream->decoders, to, error)) {
            aml_error flushed;
            flush_rows(stream, &flushed);
            return AML_BAD_DATA;
        }
        if (++stream->waiting == serving->most_rows)
            status = flush_rows(stream, error);
    }
    if (!status)
        status = flush_rows(stream, error);
    if (!status && ferror(stream->out))
        status = amli_fail(error, AML_IO, "writing the predictions failed");
    return status;
}

// ---- files of other kinds

static aml_status serve_samples(Stream *stream, const amli_file_reader *reader, const char *bytes,
                                size_t length, aml_error *error)
{
    amli_serving *serving = stream->serving;
    const aml_artifact *artifact = serving->artifact;
    _Alignas(16) char own[READER_ROOM] = {0};
    int64_t rows = 0;
    aml_status status = reader->open(artifact, stream->path, bytes, length, own, &rows, error);
    if (!status && rows == 0)
        status = amli_fail(error, AML_BAD_DATA, "%s: expected samples, found none", stream->path);
    if (!status && !stream->json && (!stream->file || stream->done == 0))
        write_header(stream);
    for (int64_t row = 0; row < rows && !status; row++) {
        void *to[SERVING_TENSORS];
        for (int i = 0; i < artifact->fields; i++)
            to[i] = (char *)serving->field[i] +
                    (size_t)stream->waiting * amli_serving_tensor_bytes(&artifact->field[i].tensor);
        status = reader->read(artifact, own, row, to, error);
        if (!status && ++stream->waiting == serving->most_rows)
            status = flush_rows(stream, error);
    }
    reader->end(own);
    aml_error first; // what was read before the bad sample is answered
    aml_status flushed = flush_rows(stream, status ? &first : error);
    return status ? status : flushed;
}

static const amli_file_reader *reader_of(const aml_artifact *artifact, const char *text,
                                         size_t length)
{
    for (int i = 0; i < artifact->readers; i++)
        if (artifact->reader[i]->recognize(text, length))
            return artifact->reader[i];
    return NULL;
}

// The whole of a pipe, which fits into the window.
static aml_status serve_pipe(Stream *stream, const amli_file_reader *reader, aml_error *error)
{
    while (!stream->csv.complete) {
        if (stream->csv.end - stream->csv.at == SERVING_WINDOW)
            return amli_fail(error, AML_BAD_DATA,
                             "%s: expected at most %d bytes through a pipe, found more; name the "
                             "file instead",
                             stream->path, SERVING_WINDOW - 1);
        aml_status status = refill(stream, error);
        if (status)
            return status;
    }
    return serve_samples(stream, reader, stream->csv.at, (size_t)(stream->csv.end - stream->csv.at),
                         error);
}

static aml_status serve_mapped(Stream *stream, const amli_file_reader *reader, size_t length,
                               aml_error *error)
{
    char *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, stream->descriptor, 0);
    if (bytes == MAP_FAILED)
        return amli_fail(error, AML_IO, "cannot read %s: %s", stream->path, strerror(errno));
    aml_status status = serve_samples(stream, reader, bytes, length, error);
    munmap(bytes, length);
    return status;
}

// Rows, or a kind of file that a reader knows: its first bytes tell.
static aml_status serve_open(Stream *stream, const struct stat *info, aml_error *error)
{
    const aml_artifact *artifact = stream->serving->artifact;
    const amli_file_reader *reader = NULL;
    stream->csv = (amli_csv){.text = stream->serving->window,
                             .at = stream->serving->window,
                             .end = stream->serving->window};
    if (artifact->readers && !stream->lines && !stream->is_pipe) {
        char begin[KNOWN_BY];
        ssize_t got = pread(stream->descriptor, begin, sizeof begin, 0);
        reader = got > 0 ? reader_of(artifact, begin, (size_t)got) : NULL;
        if (reader)
            return serve_mapped(stream, reader, (size_t)info->st_size, error);
    }
    aml_status status = AML_OK;
    while (!status && artifact->readers && !stream->lines && stream->is_pipe &&
           stream->csv.end - stream->csv.at < KNOWN_BY && !stream->csv.complete)
        status = refill(stream, error);
    reader = stream->is_pipe
                 ? reader_of(artifact, stream->csv.at, (size_t)(stream->csv.end - stream->csv.at))
                 : NULL;
    if (status || reader)
        return status ? status : serve_pipe(stream, reader, error);
    return read_rows(stream, error);
}

static aml_status serve_path(Stream *stream, const char *path, aml_error *error)
{
    bool is_input = strcmp(path, "-") == 0;
    struct stat info;
    stream->path = is_input ? "standard input" : path;
    stream->descriptor = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (stream->descriptor < 0 || fstat(stream->descriptor, &info) != 0)
        return amli_fail(error, errno == ENOENT ? AML_NOT_FOUND : AML_IO, "cannot open %s: %s",
                         path, strerror(errno));
    stream->is_pipe = !S_ISREG(info.st_mode);
    aml_status status = serve_open(stream, &info, error);
    if (!is_input)
        close(stream->descriptor);
    return status;
}

static aml_status serve_one_of_many(const char *path, void *own, aml_error *error)
{
    Stream *stream = own;
    stream->file = path;
    return serve_path(stream, path, error);
}

static aml_status serve_folder(Stream *stream, const char *path, aml_error *error)
{
    const aml_artifact *artifact = stream->serving->artifact;
    for (int i = 0; i < artifact->readers; i++)
        if (artifact->reader[i]->walk)
            return artifact->reader[i]->walk(path, artifact->reader[i]->endings, serve_one_of_many,
                                             stream, error);
    return amli_fail(error, AML_INVALID,
                     "%s is a folder, and this program reads files alone: what it predicts from "
                     "are neither pictures nor sounds",
                     path);
}

aml_status amli_serve_file(amli_serving *serving, const char *path, FILE *out, amli_serve_form form,
                           aml_error *error)
{
    const aml_artifact *artifact = serving->artifact;
    Stream stream = {.serving = serving, .json = form.json, .lines = form.lines, .out = out};
    const aml_cell_rule *rule = artifact->fields == 1 ? artifact->field[0].rule : NULL;
    if (form.lines && (!rule || rule->kind != AML_CELL_TEXT))
        return amli_fail(error, AML_INVALID,
                         "--lines is for programs whose only input is a text; `info` lists inputs");
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    aml_status status = amli_cells_open(artifact->field, artifact->fields, &stream.decoders, error);
    if (!status)
        status = folder ? serve_folder(&stream, path, error) : serve_path(&stream, path, error);
    amli_cells_close(artifact->field, artifact->fields, stream.decoders);
    return status;
}
