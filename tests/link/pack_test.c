// Packed constants: what is expanded is what was packed, nothing is read behind its end, and it is
// as short as it can be.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "link/link.h"

#include "../check.h"
#include "aml/packed.h"

static Cx *cx;
static uint64_t state = 1;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

// How long it is when packed; 0 if it does not come back.
static size_t round_trip(const uint8_t *at, size_t bytes)
{
    size_t length;
    const char *packed = pack(cx->scratch, at, bytes, &length);
    uint8_t *exact = malloc(length), *back = malloc(bytes + 1); // a sanitizer sees what lies behind
    memcpy(exact, packed, length);
    back[bytes] = 77;
    aml_unpack(exact, back, bytes);
    bool same = (bytes == 0 || memcmp(at, back, bytes) == 0) && back[bytes] == 77;
    free(exact);
    free(back);
    return same ? length : 0;
}

TEST(any_bytes_come_back)
{
    static uint8_t data[9 * PACKED_BLOCK];
    static const size_t sizes[] = {0, 1, 2, 255, 256, 257, 1024, 2303, 2304};
    for (int values = 1; values <= 256; values += 51)
        for (size_t s = 0; s < COUNT_OF(sizes); s++) {
            for (size_t i = 0; i < sizes[s]; i++)
                data[i] = (uint8_t)(draw((uint32_t)values) * 7);
            CHECK(round_trip(data, sizes[s]) > 0);
        }
}

TEST(codes_are_never_too_long)
{
    // as many of each byte as Fibonacci's numbers say: Huffman's codes would have 20 bits
    static uint8_t data[1 << 15];
    size_t used = 0, before = 1, now = 1;
    for (uint8_t byte = 0; used + now <= sizeof data; byte++) {
        memset(data + used, byte, now);
        used += now;
        size_t next = before + now;
        before = now, now = next;
    }
    for (size_t i = used - 1; i > 0; i--) {
        size_t other = draw((uint32_t)(i + 1));
        uint8_t swap = data[i];
        data[i] = data[other];
        data[other] = swap;
    }
    size_t length = round_trip(data, used);
    CHECK(length > 0 && length < used / 2);
}

TEST(parts_have_codes_of_their_own)
{
    // bytes of a bell curve, then letters: 7.1 and 4 bits each
    enum { HALF = 1 << 15 };
    static uint8_t data[2 * HALF];
    double bits = 0;
    uint32_t count[256] = {0};
    for (int i = 0; i < HALF; i++) {
        int sum = 0;
        for (int k = 0; k < 12; k++)
            sum += (int)draw(116) - 58;
        data[i] = (uint8_t)(int8_t)(sum / 3 < -128 ? -128 : sum / 3 > 127 ? 127 : sum / 3);
        count[data[i]]++;
        data[HALF + i] = (uint8_t)("etaoinshrdlucmfw"[draw(16)]);
    }
    for (int i = 0; i < 256; i++)
        bits -= count[i] ? count[i] * log2((double)count[i] / HALF) : 0;
    double least = (bits + 4 * HALF) / 8;
    size_t length = round_trip(data, sizeof data);
    CHECK(length > 0 &&
          (double)length < least * 1.01 + 128 * PACKED_CODES + 2 * HALF / PACKED_BLOCK);
}

TEST(other_files_stay_as_they_are)
{
    char file[512];
    for (int i = 0; i < 2000; i++) {
        for (size_t k = 0; k < sizeof file; k++)
            file[k] = (char)draw(256);
        if (i % 2) { // four headers with random contents, which may point anywhere
            memcpy(file, "\177ELF\2", 5);
            file[32] = 64, memset(file + 33, 0, 7);
            file[54] = 56, file[55] = 0, file[56] = 4, file[57] = 0;
            for (int k = 0; k < 4; k++)
                file[64 + 56 * k] = (char)draw(3), memset(file + 65 + 56 * k, 0, 3);
        }
        char before[512];
        memcpy(before, file, sizeof file);
        size_t length = draw(sizeof file + 1);
        size_t finished = layout_finish(cx, file, length, true);
        CHECK(finished <= length &&
              memcmp(file + length, before + length, sizeof file - length) == 0);
        CHECK(i % 2 || (finished == length && memcmp(file, before, sizeof file) == 0));
    }
}

int main(void)
{
    cx = cx_new();
    RUN(any_bytes_come_back);
    RUN(codes_are_never_too_long);
    RUN(parts_have_codes_of_their_own);
    RUN(other_files_stay_as_they_are);
    cx_free(cx);
    CHECK_SUMMARY();
}
