// aml/packed.h: read-only data of a small executable as a code of variable length.
//
// Weights of 8 bits use some of their values more often than others, and so do texts and tables.
// What is read-only in a deployed executable is therefore written in Huffman codes if it is not
// much, and expanded when the program starts, to the addresses that the linker gave it: kernels and
// tables know nothing of it. Bytes come in blocks, and each block says which of a few codes it
// uses: those of weights, texts and addresses differ. The decoder has half a kilobyte; zlib's, with
// 29 KB, would be larger than what is saved.
//
//     lengths of all codes, two in a byte, the first in its low half (0: the byte does not occur)
//     the code of each block, four in a byte, the first in the lowest bits
//     the codes, highest bit first; the data end with PACKED_END bytes of zeros
//
// Codes are canonical: shorter ones come first, and bytes in their order among codes of one length.

// Constants that are addresses are a chain: each word has the address as if the program were at 0 in
// its lowest PACKED_ADDRESS bits, and above them how many words further the next one is (0: there is
// none). The first word of all is no address, it says where the first one is.

#ifndef AML_PACKED_H
#define AML_PACKED_H

#include <stddef.h>
#include <stdint.h>

enum {
    PACKED_CODES = 4,
    PACKED_BLOCK = 256,
    PACKED_LONGEST = 12, // bits of a code
    PACKED_END = 8,      // may be read beyond the last code
    PACKED_ADDRESS = 40
};

// What all expanded data may be at most: expanding takes some 4 ns a byte, and a process shares it
// with no other.
enum { PACKED_MOST = 128 << 10 };

// Writes `bytes` bytes to `to`. The packed data are trusted.
void aml_unpack(const uint8_t *packed, uint8_t *to, size_t bytes);

// The same for the constants of this program, which executable.ld lays out; before anything else.
void aml_unpack_program(void);

#endif
