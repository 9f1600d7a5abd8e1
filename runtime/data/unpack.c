// Bytes that may be compressed. Nothing is unpacked before it is asked for, so a small file cannot
// claim much memory.

#include <string.h>

#include "runtime/data/source.h"

enum { GZIP_WINDOW = 15 + 16 }; // zlib's words for: the largest window, gzip's header and trailer

aml_status amli_unpack_begin(amli_unpack *unpack, const char *text, size_t length, aml_error *error)
{
    *unpack = (amli_unpack){.at = text, .left = length};
    unpack->packed =
        length >= 2 && (unsigned char)text[0] == 0x1F && (unsigned char)text[1] == 0x8B;
    if (!unpack->packed)
        return AML_OK;
    if (inflateInit2(&unpack->stream, GZIP_WINDOW) != Z_OK)
        return amli_no_memory(error, 1 << GZIP_WINDOW, "unpacking");
    unpack->ready = true;
    return AML_OK;
}

void amli_unpack_end(amli_unpack *unpack)
{
    if (unpack->ready)
        inflateEnd(&unpack->stream);
    *unpack = (amli_unpack){0};
}

size_t amli_unpack_most(const amli_unpack *unpack)
{
    enum { MOST_TIMES = 1032, WAITING = 1 << 16 }; // deflate's limit: 258 bytes for two bits
    size_t most;
    if (!unpack->packed)
        return unpack->left;
    bool too_large = __builtin_mul_overflow(unpack->left + WAITING, MOST_TIMES, &most);
    return too_large ? SIZE_MAX : most;
}

static size_t copy(amli_unpack *unpack, void *to, size_t bytes)
{
    size_t now = bytes < unpack->left ? bytes : unpack->left;
    memcpy(to, unpack->at, now);
    unpack->at += now;
    unpack->left -= now;
    return now;
}

size_t amli_unpack_read(amli_unpack *unpack, void *to, size_t bytes, const char **problem)
{
    *problem = NULL;
    if (!unpack->packed)
        return copy(unpack, to, bytes);
    size_t done = 0;
    while (done < bytes && !unpack->ended && !*problem) {
        z_stream *stream = &unpack->stream;
        uInt in = unpack->left < 1u << 30 ? (uInt)unpack->left : 1u << 30;
        uInt out = bytes - done < 1u << 30 ? (uInt)(bytes - done) : 1u << 30;
        stream->next_in = (Bytef *)(uintptr_t)unpack->at;
        stream->avail_in = in;
        stream->next_out = (Bytef *)to + done;
        stream->avail_out = out;
        int result = inflate(stream, Z_NO_FLUSH);
        unpack->at += in - stream->avail_in;
        unpack->left -= in - stream->avail_in;
        done += out - stream->avail_out;
        if (result == Z_STREAM_END) { // a file may be several packed ones in a row
            unpack->ended = unpack->left == 0;
            if (!unpack->ended && inflateReset(stream) != Z_OK)
                *problem = "bytes behind the end of the packed data";
        } else if (result == Z_BUF_ERROR ||
                   (result == Z_OK && !unpack->left && stream->avail_out)) {
            *problem = "packed data that end too early";
        } else if (result != Z_OK) {
            *problem = "damaged packed data";
        }
    }
    return done;
}
