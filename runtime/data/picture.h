// picture.h: files with pictures become pixels of a fixed size.
//
//   picture.c        what is done with the pixels: turning, background, which part is used
//   resize.c         resizing
//   picture_jpeg.c   JPEG, through libjpeg-turbo
//   picture_png.c    PNG, through libpng
//
// Nothing in a file is trusted: its size in pixels is compared with a limit before anything of that
// size is allocated, and a file that ends early or whose data are damaged is refused, never filled
// with gray.

#ifndef AMLI_PICTURE_H
#define AMLI_PICTURE_H

#include "runtime/base/base.h"

// What a field wants of a picture.
typedef struct amli_picture_rule {
    int64_t height, width;
    int channels; // 1: gray, 3: red, green, blue
    aml_resize resize;
    int background; // gray level under what is transparent and beside a picture that is fitted in
    int64_t most_pixels;
} amli_picture_rule;

// Pixels of four bytes: red, green, blue, alpha.
typedef struct amli_picture {
    int64_t width, height;
    unsigned char *pixel;
    size_t room;
    int64_t left, top, whole_width, whole_height; // where it lies in the whole picture
    int turn;       // how it has to be turned to be upright, as EXIF counts: 1..8
    bool has_alpha; // else all alpha bytes are to be ignored
} amli_picture;

// What one thread needs to decode; begins as zeros. Its memory is kept from picture to picture.
typedef struct amli_decoder {
    amli_picture decoded, turned;
    char *work; // of resizing
    size_t work_room;
} amli_decoder;
void amli_decoder_end(amli_decoder *decoder);

// Whether a file that begins so is one of those that can be read.
bool amli_is_picture(const char *text, size_t length);

// A whole file as the field wants it: `to` has room for height * width * channels bytes, row by
// row. AML_BAD_DATA says what was expected and found, without the file's name.
aml_status amli_picture_read(amli_decoder *decoder, const void *bytes, size_t length,
                             const amli_picture_rule *rule, unsigned char *to, aml_error *error);

// By which factor (1, 2, 4, 8) a picture may be made smaller while it is decoded.
int amli_picture_reduction(const amli_picture_rule *rule, int64_t width, int64_t height, int turn);
// The part of an upright picture that becomes the field: left, top, right, bottom.
void amli_picture_part(const amli_picture_rule *rule, double width, double height, double box[4]);

// ---- for picture.c: the formats
aml_status amli_read_jpeg(const void *bytes, size_t length, const amli_picture_rule *rule,
                          amli_picture *picture, aml_error *error);
aml_status amli_read_png(const void *bytes, size_t length, const amli_picture_rule *rule,
                         amli_picture *picture, aml_error *error);

// Makes room for width * height pixels, if the rule allows so many.
aml_status amli_picture_room(amli_picture *picture, int64_t width, int64_t height,
                             const amli_picture_rule *rule, aml_error *error);
// The orientation in an EXIF block (which begins with II or MM); 1 where it says nothing sensible.
int amli_exif_turn(const unsigned char *at, size_t length);

// The part of `from` from (left, top) to (right, bottom), real coordinates, as width * height
// pixels of four bytes: each is the mean of the pixels below a triangle as wide as two pixels of
// the result, or of the source where that is larger.
aml_status amli_resize(amli_decoder *decoder, amli_picture *from, const double box[4],
                       int64_t width, int64_t height, unsigned char *to, size_t stride,
                       aml_error *error);

#endif
