// png.h: pictures inside other files.

#ifndef AMLI_PNG_H
#define AMLI_PNG_H

#include "runtime/base/base.h"

// Appends a PNG file of 8 bits: rows of `width` pixels of 1 (gray) or 3 (RGB) bytes.
void amli_png(amli_buffer *out, const uint8_t *pixel, int width, int height, int channels);

// Appends the bytes in base64.
void amli_base64(amli_buffer *out, const char *bytes, size_t length);

#endif
