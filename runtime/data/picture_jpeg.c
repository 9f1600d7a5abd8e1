// JPEG files, through libjpeg-turbo.
//
// The library reports through two functions of ours. A fatal error jumps out. Of its warnings those
// that mean lost data are kept and refuse the picture when it is complete: by itself the library
// would fill the rest with gray.

#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>

#include "runtime/data/picture.h"

enum { MOST_SCANS = 200 }; // of a progressive file; sensible ones have about ten

typedef struct Jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    char problem[JMSG_LENGTH_MAX]; // "" as long as there is none
} Jpeg;

static void keep_problem(j_common_ptr info)
{
    Jpeg *jpeg = (Jpeg *)info->client_data;
    if (!jpeg->problem[0])
        info->err->format_message(info, jpeg->problem);
}

static void on_error(j_common_ptr info)
{
    Jpeg *jpeg = (Jpeg *)info->client_data;
    keep_problem(info);
    longjmp(jpeg->out, 1);
}

static void on_message(j_common_ptr info, int level)
{
    if (level >= 0) // tracing
        return;
    switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: // bytes between segments, which cameras write
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
        return;
    default:
        keep_problem(info);
    }
}

static void on_progress(j_common_ptr info)
{
    Jpeg *jpeg = (Jpeg *)info->client_data;
    if (jpeg->info.input_scan_number <= MOST_SCANS)
        return;
    snprintf(jpeg->problem, sizeof jpeg->problem, "more than %d scans", MOST_SCANS);
    longjmp(jpeg->out, 1);
}

static int turn_of(const struct jpeg_decompress_struct *info)
{
    static const unsigned char exif[6] = {'E', 'x', 'i', 'f', 0, 0};
    for (jpeg_saved_marker_ptr marker = info->marker_list; marker; marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > sizeof exif &&
            memcmp(marker->data, exif, sizeof exif) == 0)
            return amli_exif_turn(marker->data + sizeof exif, marker->data_length - sizeof exif);
    return 1;
}

// Ink to light. Files that Adobe's programs write, which is nearly all of them, hold it inverted.
static void from_cmyk(const struct jpeg_decompress_struct *info, amli_picture *picture)
{
    size_t pixels = (size_t)(picture->width * picture->height);
    unsigned flip = info->saw_Adobe_marker ? 255 : 0;
    for (size_t i = 0; i < pixels; i++) {
        unsigned char *pixel = picture->pixel + i * 4;
        unsigned light = 255 - (pixel[3] ^ flip);
        for (int k = 0; k < 3; k++) {
            unsigned taken = (pixel[k] ^ flip) * light + 128;
            taken = ((taken >> 8) + taken) >> 8; // by 255, rounded
            pixel[k] = (unsigned char)(light - taken);
        }
    }
}

// Leaves the columns and rows out that an upright picture does not need for its field. Where
// colours have a lower resolution all are kept: they are interpolated from their neighbours.
static void choose_part(struct jpeg_decompress_struct *info, const amli_picture_rule *rule,
                        amli_picture *picture)
{
    double width = info->output_width, height = info->output_height, box[4];
    picture->whole_width = info->output_width;
    picture->whole_height = info->output_height;
    picture->left = picture->top = 0;
    picture->width = picture->whole_width;
    picture->height = picture->whole_height;
    if (picture->turn != 1 || rule->resize != AML_RESIZE_CROP || info->max_h_samp_factor > 1 ||
        info->max_v_samp_factor > 1)
        return;
    amli_picture_part(rule, width, height, box);
    double reach_x = fmax(1, (box[2] - box[0]) / (double)rule->width) + 1,
           reach_y = fmax(1, (box[3] - box[1]) / (double)rule->height) + 1;
    int64_t left = (int64_t)fmax(0, floor(box[0] - reach_x)),
            right = (int64_t)fmin(width, ceil(box[2] + reach_x)),
            top = (int64_t)fmax(0, floor(box[1] - reach_y)),
            bottom = (int64_t)fmin(height, ceil(box[3] + reach_y));
    if (right - left < picture->whole_width) {
        JDIMENSION first = (JDIMENSION)left, count = (JDIMENSION)(right - left);
        jpeg_crop_scanline(info, &first, &count);
        picture->left = first;
        picture->width = count;
    }
    picture->top = top;
    picture->height = bottom - top;
}

// Everything between the library's first and last call, which an error leaves by longjmp.
static aml_status decode(Jpeg *jpeg, const void *bytes, size_t length,
                         const amli_picture_rule *rule, amli_picture *picture, aml_error *error)
{
    struct jpeg_decompress_struct *info = &jpeg->info;
    if (setjmp(jpeg->out))
        return amli_fail(error, AML_BAD_DATA, "expected a sound JPEG file, found: %s",
                         jpeg->problem);
    jpeg_create_decompress(info);
    info->client_data = jpeg;
    jpeg->progress.progress_monitor = on_progress;
    info->progress = &jpeg->progress;
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(info, bytes, length);
    jpeg_read_header(info, TRUE);
    int64_t pixels = (int64_t)info->image_width * info->image_height;
    if (pixels > rule->most_pixels) // the limit is one of the file, not of what it is reduced to
        return amli_picture_room(picture, info->image_width, info->image_height, rule, error);
    bool is_ink = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = is_ink ? JCS_CMYK : JCS_EXT_RGBX;
    picture->turn = turn_of(info);
    info->scale_num = 1;
    info->scale_denom = (unsigned)amli_picture_reduction(rule, info->image_width,
                                                         info->image_height, picture->turn);
    jpeg_start_decompress(info);
    amli_picture part = {.turn = picture->turn};
    choose_part(info, rule, &part);
    aml_status status = amli_picture_room(picture, part.width, part.height, rule, error);
    if (status)
        return status;
    picture->left = part.left, picture->top = part.top;
    picture->whole_width = part.whole_width, picture->whole_height = part.whole_height;
    JDIMENSION end = (JDIMENSION)(part.top + part.height);
    if (part.top > 0)
        jpeg_skip_scanlines(info, (JDIMENSION)part.top);
    while (info->output_scanline < end) {
        enum { AT_ONCE = 8 };
        JSAMPROW row[AT_ONCE];
        size_t stride = (size_t)picture->width * 4;
        unsigned left = end - info->output_scanline, now = left < AT_ONCE ? left : AT_ONCE;
        for (unsigned i = 0; i < now; i++)
            row[i] = picture->pixel +
                     (size_t)(info->output_scanline + i - (JDIMENSION)part.top) * stride;
        jpeg_read_scanlines(info, row, now);
    }
    if (end < info->output_height) // they are read all the same: a mistake in them is noticed
        jpeg_skip_scanlines(info, info->output_height - end);
    jpeg_finish_decompress(info);
    if (jpeg->problem[0])
        return amli_fail(error, AML_BAD_DATA, "expected a sound JPEG file, found: %s",
                         jpeg->problem);
    if (is_ink)
        from_cmyk(info, picture);
    return AML_OK;
}

aml_status amli_read_jpeg(const void *bytes, size_t length, const amli_picture_rule *rule,
                          amli_picture *picture, aml_error *error)
{
    Jpeg jpeg = {.info = {.client_data = &jpeg}};
    jpeg.info.err = jpeg_std_error(&jpeg.errors);
    jpeg.errors.error_exit = on_error;
    jpeg.errors.emit_message = on_message;
    aml_status status = decode(&jpeg, bytes, length, rule, picture, error);
    jpeg_destroy_decompress(&jpeg.info);
    return status;
}
