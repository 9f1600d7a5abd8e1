// PNG files, through libpng: every colour type and depth becomes 8 bits of red, green, blue and
// alpha. 16 bits are rounded to 8, palettes and single transparent colours are looked up. Gamma and
// colour profiles are passed over, as other readers of training data do.

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/picture.h"

typedef struct Png {
    const unsigned char *at, *end;
    char problem[200]; // "" as long as there is none
    unsigned char **row;
} Png;

static void on_error(png_structp png, png_const_charp text)
{
    Png *own = png_get_error_ptr(png);
    snprintf(own->problem, sizeof own->problem, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text; // what is wrong beside the pixels
}

static void read_bytes(png_structp png, png_bytep to, size_t count)
{
    Png *own = png_get_io_ptr(png);
    if ((size_t)(own->end - own->at) < count)
        png_error(png, "the end of the file");
    memcpy(to, own->at, count);
    own->at += count;
}

static aml_status decode(png_structp png, png_infop info, Png *own, const amli_picture_rule *rule,
                         amli_picture *picture, aml_error *error)
{
    enum { MOST_CHUNKS = 256, MOST_CHUNK_BYTES = 8 << 20 };
    if (setjmp(png_jmpbuf(png)))
        return amli_fail(error, AML_BAD_DATA, "expected a sound PNG file, found: %s", own->problem);
    png_set_read_fn(png, own, read_bytes);
    png_set_chunk_cache_max(png, MOST_CHUNKS);
    png_set_chunk_malloc_max(png, MOST_CHUNK_BYTES);
    png_read_info(png, info);
    int64_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    aml_status status = amli_picture_room(picture, width, height, rule, error);
    if (status)
        return status;
    picture->has_alpha = (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                         png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)width * 4)
        png_error(png, "rows of another size");
    own->row = malloc((size_t)height * sizeof *own->row);
    if (!own->row)
        return amli_no_memory(error, (size_t)height * sizeof *own->row, "a picture");
    for (int64_t i = 0; i < height; i++)
        own->row[i] = picture->pixel + (size_t)i * (size_t)width * 4;
    png_read_image(png, own->row);
    png_read_end(png, info);
    png_bytep exif;
    png_uint_32 length;
    if (png_get_eXIf_1(png, info, &length, &exif))
        picture->turn = amli_exif_turn(exif, length);
    return AML_OK;
}

aml_status amli_read_png(const void *bytes, size_t length, const amli_picture_rule *rule,
                         amli_picture *picture, aml_error *error)
{
    Png own = {.at = bytes, .end = (const unsigned char *)bytes + length};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &own, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    aml_status status = png && info ? decode(png, info, &own, rule, picture, error)
                                    : amli_no_memory(error, sizeof own, "a picture");
    png_destroy_read_struct(&png, &info, NULL);
    free(own.row);
    return status;
}
