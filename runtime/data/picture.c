// What is done with the pixels of a picture: background, turning, cutting and resizing.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/picture.h"

void amli_decoder_end(amli_decoder *decoder)
{
    free(decoder->decoded.pixel);
    free(decoder->turned.pixel);
    free(decoder->work);
    *decoder = (amli_decoder){0};
}

static const unsigned char png_begin[] = {0x89, 'P', 'N', 'G'}, jpeg_begin[] = {0xFF, 0xD8, 0xFF};

static bool begins(const void *bytes, size_t length, const unsigned char *with, size_t count)
{
    return length >= count && memcmp(bytes, with, count) == 0;
}

bool amli_is_picture(const char *text, size_t length)
{
    return begins(text, length, png_begin, sizeof png_begin) ||
           begins(text, length, jpeg_begin, sizeof jpeg_begin);
}

aml_status amli_picture_room(amli_picture *picture, int64_t width, int64_t height,
                             const amli_picture_rule *rule, aml_error *error)
{
    int64_t pixels;
    if (width < 1 || height < 1)
        return amli_fail(error, AML_BAD_DATA,
                         "expected a picture with pixels, found one of %lld x %lld",
                         (long long)width, (long long)height);
    if (__builtin_mul_overflow(width, height, &pixels) || pixels > rule->most_pixels)
        return amli_fail(error, AML_BAD_DATA,
                         "expected at most %lld pixels, found a picture of %lld x %lld",
                         (long long)rule->most_pixels, (long long)width, (long long)height);
    size_t bytes = (size_t)pixels * 4;
    if (bytes > picture->room) {
        free(picture->pixel);
        picture->room = 0;
        picture->pixel = malloc(bytes);
        if (!picture->pixel)
            return amli_no_memory(error, bytes, "a picture");
        picture->room = bytes;
    }
    picture->width = picture->whole_width = width;
    picture->height = picture->whole_height = height;
    picture->left = picture->top = 0;
    return AML_OK;
}

// ---- EXIF: a TIFF directory, of which one number is of interest

static uint32_t whole(const unsigned char *at, int bytes, bool little)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << 8 * (little ? i : bytes - 1 - i);
    return value;
}

int amli_exif_turn(const unsigned char *at, size_t length)
{
    enum { HEAD = 8, ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3 };
    if (length < HEAD || (memcmp(at, "II*\0", 4) != 0 && memcmp(at, "MM\0*", 4) != 0))
        return 1;
    bool little = at[0] == 'I';
    size_t directory = whole(at + 4, 4, little);
    if (directory > length || length - directory < 2)
        return 1;
    size_t entries = whole(at + directory, 2, little);
    for (size_t i = 0; i < entries && directory + 2 + (i + 1) * ENTRY <= length; i++) {
        const unsigned char *entry = at + directory + 2 + i * ENTRY;
        if (whole(entry, 2, little) != ORIENTATION || whole(entry + 2, 2, little) != SHORT)
            continue;
        uint32_t turn = whole(entry + 8, 2, little);
        return turn >= 1 && turn <= 8 ? (int)turn : 1;
    }
    return 1;
}

// Pixel (row, column) of the upright picture is
//
//    1  (r, c)         2  (r, w-1-c)       3  (h-1-r, w-1-c)   4  (h-1-r, c)
//    5  (c, r)         6  (h-1-c, r)       7  (h-1-c, w-1-r)   8  (c, w-1-r)
//
// of the one in the file, which is h rows of w pixels.
static aml_status turn_upright(amli_decoder *decoder, const amli_picture_rule *rule,
                               amli_picture **out, aml_error *error)
{
    amli_picture *from = &decoder->decoded;
    int64_t w = from->width, h = from->height;
    bool swaps = from->turn >= 5;
    *out = from;
    if (from->turn == 1)
        return AML_OK;
    amli_picture *to = &decoder->turned;
    aml_status status = amli_picture_room(to, swaps ? h : w, swaps ? w : h, rule, error);
    if (status)
        return status;
    bool rows_back = from->turn == 3 || from->turn == 4 || from->turn == 6 || from->turn == 7,
         columns_back = from->turn == 2 || from->turn == 3 || from->turn == 7 || from->turn == 8;
    for (int64_t r = 0; r < to->height; r++)
        for (int64_t c = 0; c < to->width; c++) {
            int64_t row = swaps ? c : r, column = swaps ? r : c;
            row = rows_back ? h - 1 - row : row;
            column = columns_back ? w - 1 - column : column;
            memcpy(to->pixel + (r * to->width + c) * 4, from->pixel + (row * w + column) * 4, 4);
        }
    *out = to;
    return AML_OK;
}

static void put_on_background(amli_picture *picture, int background)
{
    size_t pixels = (size_t)(picture->width * picture->height);
    for (size_t i = 0; i < pixels && picture->has_alpha; i++) {
        unsigned char *pixel = picture->pixel + i * 4;
        unsigned alpha = pixel[3];
        for (int k = 0; k < 3; k++)
            pixel[k] =
                (unsigned char)((pixel[k] * alpha + (unsigned)background * (255 - alpha) + 127) /
                                255);
    }
}

// ---- the whole way

// How many pixels of the picture become one, in the direction in which they are fewer (in `fit`:
// more).
static double shrinking(const amli_picture_rule *rule, double width, double height)
{
    double across = width / (double)rule->width, down = height / (double)rule->height;
    return rule->resize == AML_RESIZE_FIT ? fmax(across, down) : fmin(across, down);
}

// What is left to do for the filter is at least a quarter, so that it, and not the decoder, decides
// how the result looks.
int amli_picture_reduction(const amli_picture_rule *rule, int64_t width, int64_t height, int turn)
{
    double factor = turn >= 5 ? shrinking(rule, (double)height, (double)width)
                              : shrinking(rule, (double)width, (double)height);
    return factor >= 10 ? 8 : factor >= 5 ? 4 : factor >= 2.5 ? 2 : 1;
}

void amli_picture_part(const amli_picture_rule *rule, double width, double height, double box[4])
{
    double factor = shrinking(rule, width, height);
    bool all = rule->resize != AML_RESIZE_CROP;
    double part_width = all ? width : factor * (double)rule->width,
           part_height = all ? height : factor * (double)rule->height;
    box[0] = (width - part_width) / 2, box[1] = (height - part_height) / 2;
    box[2] = box[0] + part_width, box[3] = box[1] + part_height;
}

static void write_pixels(const unsigned char *from, size_t count, int channels, unsigned char *to)
{
    for (size_t i = 0; i < count; i++, from += 4, to += channels) {
        if (channels == 3) {
            to[0] = from[0], to[1] = from[1], to[2] = from[2];
        } else { // ITU-R BT.601, in 16 bits
            to[0] =
                (unsigned char)((from[0] * 19595u + from[1] * 38470u + from[2] * 7471u + 32768) >>
                                16);
        }
    }
}

// The upright picture as the field wants it.
static aml_status place(amli_decoder *decoder, amli_picture *picture, const amli_picture_rule *rule,
                        unsigned char *to, aml_error *error)
{
    int64_t width = rule->width, height = rule->height, left = 0, top = 0;
    double w = (double)picture->whole_width, h = (double)picture->whole_height, box[4];
    amli_picture_part(rule, w, h, box);
    for (int i = 0; i < 4; i++)
        box[i] -= (double)(i % 2 ? picture->top : picture->left);
    size_t row = (size_t)rule->width * 4, all = row * (size_t)rule->height;
    double factor = shrinking(rule, w, h);
    if (rule->resize == AML_RESIZE_FIT) {
        width = (int64_t)fmax(1, floor(w / factor + 0.5));
        height = (int64_t)fmax(1, floor(h / factor + 0.5));
        left = (rule->width - width) / 2, top = (rule->height - height) / 2;
    }
    // the one of the two pictures that is not in use has room for the result
    amli_picture *spare = picture == &decoder->turned ? &decoder->decoded : &decoder->turned;
    if (spare->room < all) {
        free(spare->pixel);
        spare->room = 0;
        spare->pixel = malloc(all);
        if (!spare->pixel)
            return amli_no_memory(error, all, "a picture");
        spare->room = all;
    }
    unsigned char *result = spare->pixel;
    if (width != rule->width || height != rule->height)
        memset(result, rule->background, all);
    aml_status status = amli_resize(decoder, picture, box, width, height,
                                    result + (size_t)top * row + (size_t)left * 4, row, error);
    if (!status)
        write_pixels(result, (size_t)(rule->width * rule->height), rule->channels, to);
    return status;
}

aml_status amli_picture_read(amli_decoder *decoder, const void *bytes, size_t length,
                             const amli_picture_rule *rule, unsigned char *to, aml_error *error)
{
    aml_status status;
    amli_picture *upright;
    amli_picture *picture = &decoder->decoded;
    picture->turn = 1;
    picture->has_alpha = false;
    if (begins(bytes, length, jpeg_begin, sizeof jpeg_begin))
        status = amli_read_jpeg(bytes, length, rule, picture, error);
    else if (begins(bytes, length, png_begin, sizeof png_begin))
        status = amli_read_png(bytes, length, rule, picture, error);
    else
        return amli_fail(error, AML_BAD_DATA, "expected a JPEG or PNG file, found %s",
                         length == 0 ? "an empty file" : "other bytes at its beginning");
    if (status)
        return status;
    put_on_background(picture, rule->background);
    status = turn_upright(decoder, rule, &upright, error);
    return status ? status : place(decoder, upright, rule, to, error);
}
