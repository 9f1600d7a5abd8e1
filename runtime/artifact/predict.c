// csv in, csv out, through a window of fixed size: a file of any length, or a pipe whose rows are
// answered as they come.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/artifact/serving.h"

typedef struct Stream {
    amli_serving *serving;
    const char *path;
    int descriptor;
    bool is_pipe, json;
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
    double value = 0;
    if (info->class_name && info->dtype == AML_I32 &&
        amli_write_class(out, info, ((const int32_t *)at)[index], json))
        return;
    switch (info->dtype) {
    case AML_F32:
        value = (double)((const float *)at)[index];
        break;
    case AML_F64:
        value = ((const double *)at)[index];
        break;
    case AML_I32:
        fprintf(out, "%d", ((const int32_t *)at)[index]);
        return;
    case AML_I64:
        fprintf(out, "%lld", (long long)((const int64_t *)at)[index]);
        return;
    case AML_I8:
        fprintf(out, "%d", ((const int8_t *)at)[index]);
        return;
    case AML_U8:
    case AML_BOOL:
        fprintf(out, "%u", ((const uint8_t *)at)[index]);
        return;
    case AML_F16:
        value = (double)((const _Float16 *)at)[index];
        break;
    case AML_BF16: {
        uint32_t bits = (uint32_t)((const uint16_t *)at)[index] << 16;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        value = (double)narrow;
        break;
    }
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
    fputs("row", stream->out);
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
    fprintf(out, json ? "{\"row\": %lld" : "%lld", (long long)(stream->done + slot + 1));
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
    stream->csv =
        (amli_csv){.text = serving->window, .at = serving->window, .end = serving->window};
    while (!status && stream->csv.end - stream->csv.at < 3 &&
           !stream->csv.complete) // a byte order mark
        status = refill(stream, error);
    if (status)
        return status;
    amli_csv_form form = {.separator = artifact->separator ? artifact->separator : ',',
                          .comment = artifact->comment,
                          .literal_quotes = artifact->literal_quotes};
    amli_csv_begin(&stream->csv, stream->csv.at, (size_t)(stream->csv.end - stream->csv.at),
                   stream->csv.complete, &form);
    amli_csv first = stream->csv;
    amli_csv_result result;
    stream->has_header = artifact->header != AML_HEADER_NO;
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
    if (!status)
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

// Whether it is a picture, of which the whole is read then: the one sample of the stream.
static aml_status read_picture(Stream *stream, bool *is_picture, aml_error *error)
{
    const aml_artifact *artifact = stream->serving->artifact;
    char begin[16], *bytes = NULL;
    size_t length;
    ssize_t got = artifact->picture && !stream->is_pipe
                      ? pread(stream->descriptor, begin, sizeof begin, 0)
                      : 0;
    *is_picture = got > 0 && artifact->picture->recognize(begin, (size_t)got);
    if (!*is_picture)
        return AML_OK;
    aml_status status =
        amli_read_descriptor(stream->descriptor, stream->path, &bytes, &length, error);
    if (status)
        return status;
    status = artifact->picture->read(artifact, bytes, length, stream->serving->field, error);
    free(bytes);
    if (status)
        return amli_prefix(error, "%s", stream->path);
    if (!stream->json)
        write_header(stream);
    stream->waiting = 1;
    return flush_rows(stream, error);
}

aml_status amli_serve_file(amli_serving *serving, const char *path, FILE *out, bool json,
                           aml_error *error)
{
    bool is_input = strcmp(path, "-") == 0;
    Stream stream = {
        .serving = serving, .path = is_input ? "standard input" : path, .json = json, .out = out};
    stream.descriptor = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (stream.descriptor < 0 || fstat(stream.descriptor, &info) != 0)
        return amli_fail(error, errno == ENOENT ? AML_NOT_FOUND : AML_IO, "cannot open %s: %s",
                         path, strerror(errno));
    stream.is_pipe = !S_ISREG(info.st_mode);
    const aml_artifact *artifact = serving->artifact;
    bool is_picture = false;
    aml_status status = amli_cells_open(artifact->field, artifact->fields, &stream.decoders, error);
    if (!status)
        status = read_picture(&stream, &is_picture, error);
    if (!status && !is_picture)
        status = read_rows(&stream, error);
    amli_cells_close(artifact->field, artifact->fields, stream.decoders);
    if (!is_input)
        close(stream.descriptor);
    return status;
}
