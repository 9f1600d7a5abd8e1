// data sheet: augmented samples as pictures, in one HTML file that needs no other.
//
// Each row is a training sample: as it is prepared, then as the training sees it in some epochs.
// The gray level 0 is the smallest value of the prepared samples that are shown, 255 the largest.

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

enum { SAMPLES = 16, VERSIONS = 6 };

// A picture among the fields of a prepared sample.
typedef struct Field {
    int output;
    int64_t height, width, channels;
    int64_t row, column, channel; // distances between elements
} Field;

static bool is_picture(const aml_tensor_info *info, Field *field)
{
    const int64_t *dim = info->shape.dim;
    if (info->classes || info->dtype == AML_BOOL || info->shape.rank < 2 || info->shape.rank > 3)
        return false;
    if (info->shape.rank == 2)
        *field = (Field){0, dim[0], dim[1], 1, dim[1], 1, 0};
    else if (dim[0] == 1 || dim[0] == 3)
        *field = (Field){0, dim[1], dim[2], dim[0], dim[2], 1, dim[1] * dim[2]};
    else if (dim[2] == 1 || dim[2] == 3)
        *field = (Field){0, dim[0], dim[1], dim[2], dim[1] * dim[2], dim[2], 1};
    else
        return false;
    return field->height >= 4 && field->width >= 4 && field->height <= 4096 && field->width <= 4096;
}

static bool find_picture(const aml_dataset *dataset, Field *field)
{
    bool found = false;
    for (int i = 0; i < dataset->prepare.outputs; i++) {
        Field one;
        bool preferred = strcmp(dataset->prepare.output[i].name, "x") == 0;
        if (!is_picture(&dataset->prepare.output[i], &one) || (found && !preferred))
            continue;
        *field = one;
        field->output = i;
        found = true;
    }
    return found;
}

// ---- PNG without compression: blocks of stored bytes, so that no library is needed

static uint32_t crc_of(const unsigned char *at, size_t length)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        crc ^= at[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void put_number(amli_buffer *out, uint32_t value)
{
    char bytes[4] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8), (char)value};
    amli_buffer_add(out, bytes, 4);
}

static void put_chunk(amli_buffer *out, const char *kind, const char *bytes, size_t length)
{
    put_number(out, (uint32_t)length);
    size_t begin = out->length;
    amli_buffer_add(out, kind, 4);
    amli_buffer_add(out, bytes, length);
    if (!out->failed)
        put_number(out, crc_of((unsigned char *)out->text + begin, out->length - begin));
}

// `lines`: of each row a 0 (no filter) and its bytes.
static void write_png(amli_buffer *out, const Field *field, const amli_buffer *lines)
{
    enum { MOST = 65535 };
    amli_buffer head = {0}, data = {0};
    put_number(&head, (uint32_t)field->width);
    put_number(&head, (uint32_t)field->height);
    char form[5] = {8, field->channels == 3 ? 2 : 0, 0, 0, 0};
    amli_buffer_add(&head, form, sizeof form);
    uint32_t a = 1, b = 0;
    amli_buffer_add(&data, "\x78\x01", 2);
    for (size_t at = 0; at < lines->length; at += MOST) {
        size_t now = lines->length - at < MOST ? lines->length - at : MOST;
        unsigned char block[5] = {at + now == lines->length, (unsigned char)now,
                                  (unsigned char)(now >> 8), (unsigned char)~now,
                                  (unsigned char)(~now >> 8)};
        amli_buffer_add(&data, (char *)block, sizeof block);
        amli_buffer_add(&data, lines->text + at, now);
    }
    for (size_t i = 0; i < lines->length; i++) {
        a = (a + (unsigned char)lines->text[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_number(&data, b << 16 | a);
    amli_buffer_add(out, "\x89PNG\r\n\x1a\n", 8);
    out->failed = out->failed || head.failed || data.failed;
    if (!out->failed) {
        put_chunk(out, "IHDR", head.text, head.length);
        put_chunk(out, "IDAT", data.text, data.length);
        put_chunk(out, "IEND", "", 0);
    }
    amli_buffer_free(&head);
    amli_buffer_free(&data);
}

static void put_base64(amli_buffer *out, const amli_buffer *bytes)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes->length; i += 3) {
        uint32_t three = 0;
        size_t left = bytes->length - i;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (k < left ? (unsigned char)bytes->text[i + k] : 0);
        char four[4] = {digit[three >> 18], digit[three >> 12 & 63],
                        left > 1 ? digit[three >> 6 & 63] : '=',
                        left > 2 ? digit[three & 63] : '='};
        amli_buffer_add(out, four, sizeof four);
    }
}

// ---- the sheet

typedef struct Sheet {
    amli_session *session;
    Field field;
    int label;      // the output that is a class, -1: none
    char *bytes[2]; // of one sample: the picture, the label
    void **to;
    double least, most;
    amli_buffer html;
} Sheet;

static double element(const Sheet *sheet, int64_t row, int64_t column, int64_t channel)
{
    const Field *field = &sheet->field;
    const aml_tensor_info *info = &sheet->session->dataset->prepare.output[field->output];
    return amli_element(info->dtype, sheet->bytes[0],
                        row * field->row + column * field->column + channel * field->channel);
}

// Sample `row` as it is prepared (version 0), or as it is in one of the first epochs.
static aml_status make_sample(Sheet *sheet, int64_t row, int version, aml_error *error)
{
    amli_session *session = sheet->session;
    amli_augmenting augmenting = {session->augment_scalar,
                                  (version - 1) * session->samples->rows + row};
    aml_status status =
        version ? amli_session_augment(session, 0, session->augment_scalar, error) : AML_OK;
    return status ? status
                  : amli_samples_batch(session->samples, &row, 1, version ? &augmenting : NULL,
                                       NULL, sheet->to, error);
}

static void put_picture(Sheet *sheet)
{
    const Field *field = &sheet->field;
    amli_buffer lines = {0}, png = {0};
    double range = sheet->most > sheet->least ? sheet->most - sheet->least : 1;
    for (int64_t r = 0; r < field->height; r++) {
        amli_buffer_add(&lines, "", 1);
        for (int64_t c = 0; c < field->width; c++)
            for (int64_t k = 0; k < field->channels; k++) {
                double level = (element(sheet, r, c, k) - sheet->least) / range * 255;
                char byte = (char)(unsigned char)(level >= 255 ? 255 : level > 0 ? level + 0.5 : 0);
                amli_buffer_add(&lines, &byte, 1);
            }
    }
    png.failed = lines.failed;
    if (!png.failed)
        write_png(&png, field, &lines);
    sheet->html.failed = sheet->html.failed || png.failed;
    amli_buffer_printf(&sheet->html, "<td><img src=\"data:image/png;base64,");
    put_base64(&sheet->html, &png);
    amli_buffer_printf(&sheet->html, "\"></td>");
    amli_buffer_free(&lines);
    amli_buffer_free(&png);
}

static void put_text(amli_buffer *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '&' || *text == '"')
            amli_buffer_printf(out, "&#%d;", *text);
        else
            amli_buffer_add(out, text, 1);
}

static void put_label(Sheet *sheet, int64_t row)
{
    const aml_dataset *dataset = sheet->session->dataset;
    amli_buffer_printf(&sheet->html, "<th>%lld", (long long)row);
    if (sheet->label >= 0) {
        int64_t class =
            (int64_t)amli_element(dataset->prepare.output[sheet->label].dtype, sheet->bytes[1], 0);
        amli_buffer_printf(&sheet->html, "<br>");
        if (class >= 0 && class < dataset->source.classes)
            put_text(&sheet->html, dataset->source.class_name[class]);
        else
            amli_buffer_printf(&sheet->html, "class %lld", (long long)class);
    }
    amli_buffer_printf(&sheet->html, "</th>");
}

// The smallest and the largest value of the samples as they are prepared.
static aml_status find_range(Sheet *sheet, const int64_t row[], int rows, aml_error *error)
{
    sheet->least = INFINITY, sheet->most = -INFINITY;
    for (int i = 0; i < rows; i++) {
        aml_status status = make_sample(sheet, row[i], 0, error);
        if (status)
            return status;
        for (int64_t r = 0; r < sheet->field.height; r++)
            for (int64_t c = 0; c < sheet->field.width; c++)
                for (int64_t k = 0; k < sheet->field.channels; k++) {
                    double value = element(sheet, r, c, k);
                    sheet->least = fmin(sheet->least, value);
                    sheet->most = fmax(sheet->most, value);
                }
    }
    return AML_OK;
}

static aml_status fill(Sheet *sheet, const int64_t row[], int rows, aml_error *error)
{
    const amli_session *session = sheet->session;
    int versions = session->dataset->augment.run ? VERSIONS : 0;
    int64_t scale = 1 + 96 / sheet->field.width; // small pictures are shown larger
    amli_buffer_printf(
        &sheet->html,
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>%s</title>\n<style>body{font:14px "
        "sans-serif;margin:2em}th{text-align:right;font-weight:normal;padding-right:1em}"
        "img{width:%lldpx;image-rendering:pixelated;display:block}td{padding:2px}</style>\n<h1>%s"
        "</h1>\n<p>Training samples: as they are prepared%s. Values from %g to %g.</p>\n<table>\n",
        session->dataset->name, (long long)(scale * sheet->field.width), session->dataset->name,
        versions ? ", then as the training sees them in its first epochs" : "", sheet->least,
        sheet->most);
    aml_status status = AML_OK;
    for (int i = 0; i < rows && !status; i++) {
        for (int version = 0; version <= versions && !status; version++) {
            status = make_sample(sheet, row[i], version, error);
            if (version == 0) {
                amli_buffer_printf(&sheet->html, "<tr>");
                put_label(sheet, row[i]);
            }
            if (!status)
                put_picture(sheet);
        }
        amli_buffer_printf(&sheet->html, "</tr>\n");
    }
    amli_buffer_printf(&sheet->html, "</table>\n");
    return status || !sheet->html.failed ? status
                                         : amli_no_memory(error, sheet->html.length, "the sheet");
}

static aml_status write_sheet(const Sheet *sheet, const amli_command *command, aml_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", command->output ? command->output : "");
    if (!*path)
        snprintf(path, sizeof path, "%.200s-sheet.html", sheet->session->dataset->name);
    FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    bool good = out && fwrite(sheet->html.text, 1, sheet->html.length, out) == sheet->html.length;
    good = (!out || (out == stdout ? fflush(out) : fclose(out)) == 0) && good;
    if (!good)
        return amli_fail(error, AML_IO, "cannot write %s: %s", path, strerror(errno));
    if (out != stdout && !command->quiet)
        fprintf(stderr, "wrote %s\n", path);
    return AML_OK;
}

static aml_status make_sheet(Sheet *sheet, const amli_command *command, aml_error *error)
{
    amli_session *session = sheet->session;
    const aml_function *prepare = &session->dataset->prepare;
    const amli_split *split = &session->samples->split;
    if (!find_picture(session->dataset, &sheet->field))
        return amli_fail(
            error, AML_INVALID,
            "a sheet shows pictures, and no field of '%s' (%s) is one: [h, w], [c, h, w] "
            "or [h, w, c] with 1 or 3 channels",
            session->dataset->name, session->dataset->place);
    sheet->label = -1;
    for (int i = 0; i < prepare->outputs; i++)
        if (prepare->output[i].classes > 0 && prepare->output[i].shape.rank == 0)
            sheet->label = i;
    sheet->to = calloc((size_t)prepare->outputs + 1, sizeof *sheet->to);
    sheet->bytes[0] = malloc(amli_tensor_bytes(&prepare->output[sheet->field.output]) + 1);
    sheet->bytes[1] = malloc(16);
    if (!sheet->to || !sheet->bytes[0] || !sheet->bytes[1])
        return amli_no_memory(error, sizeof *sheet, "the sheet");
    sheet->to[sheet->field.output] = sheet->bytes[0];
    if (sheet->label >= 0)
        sheet->to[sheet->label] = sheet->bytes[1];
    int64_t row[SAMPLES], count = split->rows[AML_PART_TRAIN];
    int rows = count < SAMPLES ? (int)count : SAMPLES;
    for (int i = 0; i < rows; i++)
        row[i] = split->row[AML_PART_TRAIN][i * count / rows]; // spread over the part
    aml_status status = find_range(sheet, row, rows, error);
    if (!status)
        status = fill(sheet, row, rows, error);
    return status ? status : write_sheet(sheet, command, error);
}

static aml_status show(amli_session *session, aml_error *error)
{
    Sheet sheet = {.session = session};
    aml_status status = make_sheet(&sheet, session->command, error);
    free(sheet.bytes[0]), free(sheet.bytes[1]), free(sheet.to);
    amli_buffer_free(&sheet.html);
    return status;
}

aml_status amli_data_sheet(const amli_command *command, const amli_device_kind *kind,
                           aml_error *error)
{
    return amli_with_data(command, kind, show, error);
}
