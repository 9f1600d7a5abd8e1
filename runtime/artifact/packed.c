// Expanding packed data. Nothing in this file may read constants: those of the program are what is
// expanded. Tables are therefore on the stack, and there is no switch.

#include <string.h>

#include "aml/packed.h"

typedef struct Coded {
    uint8_t byte, length;
} Coded;
// What the next bits begin with.
typedef struct Codes {
    Coded at[1 << PACKED_LONGEST];
} Codes;

static void read_codes(const uint8_t *lengths, Codes *codes)
{
    size_t next = 0;
    for (uint8_t length = 1; length <= PACKED_LONGEST; length++)
        for (unsigned byte = 0; byte < 256; byte++) {
            if ((lengths[byte / 2] >> (byte % 2 ? 4 : 0) & 15) != length)
                continue;
            for (size_t i = 0; i < (size_t)1 << (PACKED_LONGEST - length); i++)
                codes->at[next++] = (Coded){(uint8_t)byte, length};
        }
}

void aml_unpack(const uint8_t *packed, uint8_t *to, size_t bytes)
{
    Codes codes[PACKED_CODES];
    size_t blocks = (bytes + PACKED_BLOCK - 1) / PACKED_BLOCK;
    for (int i = 0; i < PACKED_CODES; i++)
        read_codes(packed + 128 * i, &codes[i]);
    const uint8_t *which = packed + 128 * PACKED_CODES, *at = which + (blocks + 3) / 4;
    uint64_t bits = 0; // the next ones, from the highest on
    int known = 0;
    for (size_t block = 0; block < blocks; block++) {
        const Codes *used = &codes[which[block / 4] >> block % 4 * 2 & 3];
        size_t end = (block + 1) * PACKED_BLOCK;
        for (size_t i = block * PACKED_BLOCK; i < end && i < bytes; i++) {
            if (known < PACKED_LONGEST) {
                uint32_t more;
                memcpy(&more, at, sizeof more);
                at += sizeof more;
                bits |= (uint64_t)__builtin_bswap32(more) << (32 - known);
                known += 32;
            }
            Coded coded = used->at[bits >> (64 - PACKED_LONGEST)];
            to[i] = coded.byte;
            bits <<= coded.length;
            known -= coded.length;
        }
    }
}
