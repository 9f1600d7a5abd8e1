// PNG files and base64, for pictures inside other files.
//
// The deflate stream is made of stored blocks: pictures here are small, and no compressor is
// needed.

#include "runtime/base/png.h"

enum { STORED = 65535 };

static void put_big(amli_buffer *out, uint32_t value)
{
    const char bytes[4] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
                           (char)value};
    amli_buffer_add(out, bytes, 4);
}

// CRC-32 (reflected polynomial edb88320).
static uint32_t crc_of(const char *bytes, size_t length)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (UINT32_C(0xedb88320) & -(crc & 1));
    }
    return ~crc;
}

static void put_chunk(amli_buffer *out, const char kind[4], const char *bytes, size_t length)
{
    put_big(out, (uint32_t)length);
    size_t from = out->length;
    amli_buffer_add(out, kind, 4);
    amli_buffer_add(out, bytes, length);
    put_big(out, out->failed ? 0 : crc_of(out->text + from, length + 4));
}

// The rows, each with filter type 0 before it, as a zlib stream.
static void put_rows(amli_buffer *out, const uint8_t *pixel, size_t row_bytes, size_t rows)
{
    amli_buffer plain = {0};
    for (size_t y = 0; y < rows; y++) {
        amli_buffer_add(&plain, "", 1);
        amli_buffer_add(&plain, (const char *)pixel + y * row_bytes, row_bytes);
    }
    uint32_t a = 1, b = 0; // Adler-32
    for (size_t i = 0; !plain.failed && i < plain.length; i++) {
        a = (a + (unsigned char)plain.text[i]) % 65521;
        b = (b + a) % 65521;
    }
    amli_buffer_add(out, "\x78\x01", 2);
    for (size_t at = 0; !plain.failed && at < plain.length; at += STORED) {
        size_t left = plain.length - at, now = left < STORED ? left : STORED;
        const char head[5] = {now == left, (char)now, (char)(now >> 8), (char)~now,
                              (char)(~now >> 8)};
        amli_buffer_add(out, head, 5);
        amli_buffer_add(out, plain.text + at, now);
    }
    put_big(out, b << 16 | a);
    out->failed = out->failed || plain.failed;
    amli_buffer_free(&plain);
}

void amli_png(amli_buffer *out, const uint8_t *pixel, int width, int height, int channels)
{
    amli_buffer head = {0}, rows = {0};
    put_big(&head, (uint32_t)width);
    put_big(&head, (uint32_t)height);
    const char kind[5] = {8, (char)(channels == 3 ? 2 : 0), 0, 0, 0}; // 8 bits, RGB or gray
    amli_buffer_add(&head, kind, 5);
    put_rows(&rows, pixel, (size_t)width * (size_t)channels, (size_t)height);
    amli_buffer_add(out, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(out, "IHDR", head.text, head.length);
    put_chunk(out, "IDAT", rows.text, rows.length);
    put_chunk(out, "IEND", "", 0);
    out->failed = out->failed || head.failed || rows.failed;
    amli_buffer_free(&head);
    amli_buffer_free(&rows);
}

void amli_base64(amli_buffer *out, const char *bytes, size_t length)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < length; at += 3) {
        size_t now = length - at < 3 ? length - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (i < now ? (unsigned char)bytes[at + i] : 0);
        char four[4] = {digit[bits >> 18], digit[bits >> 12 & 63], digit[bits >> 6 & 63],
                        digit[bits & 63]};
        for (size_t i = now + 1; i < 4; i++)
            four[i] = '=';
        amli_buffer_add(out, four, 4);
    }
}
