// pack.c: constants of a small executable as Huffman codes (aml/packed.h).
//
// Which blocks share a code is found by turns: codes are made of the blocks that use them, and each
// block takes the code in which it is shortest. It begins with codes of equal parts of the data,
// which lie by their kind already.

#include "link/link.h"

#include <string.h>

#include "aml/packed.h"

enum { BYTES = 256, TURNS = 8, ABSENT = PACKED_LONGEST + 2 }; // bits of a byte that a code lacks

typedef struct Counts {
    uint32_t of[BYTES];
} Counts;
typedef struct Lengths {
    uint8_t of[BYTES];
} Lengths;

// The two nodes without a parent that are rarest come together until one is left.
static void join_rarest(uint32_t count[2 * BYTES], int parent[2 * BYTES], int nodes)
{
    for (;;) {
        int first = -1, second = -1;
        for (int i = 0; i < nodes; i++) {
            if (parent[i] || !count[i])
                continue;
            if (first < 0 || count[i] < count[first])
                second = first, first = i;
            else if (second < 0 || count[i] < count[second])
                second = i;
        }
        if (second < 0)
            return;
        parent[first] = parent[second] = nodes;
        count[nodes++] = count[first] + count[second];
    }
}

// Huffman's lengths; false if one is too long.
static bool find_lengths(const Counts *counts, Lengths *out)
{
    uint32_t count[2 * BYTES] = {0};
    int parent[2 * BYTES] = {0};
    memcpy(count, counts->of, sizeof counts->of);
    join_rarest(count, parent, BYTES);
    bool good = true;
    for (int i = 0; i < BYTES; i++) {
        int length = 0;
        for (int node = i; parent[node]; node = parent[node])
            length++;
        if (counts->of[i] && length == 0)
            length = 1; // nothing else occurs
        good = good && length <= PACKED_LONGEST;
        out->of[i] = (uint8_t)length;
    }
    return good;
}

static Lengths lengths_of(Counts counts)
{
    Lengths lengths;
    while (!find_lengths(&counts, &lengths)) // rare bytes become less rare
        for (int i = 0; i < BYTES; i++)
            counts.of[i] = counts.of[i] ? counts.of[i] / 2 + 1 : 0;
    return lengths;
}

static Counts *count_blocks(Arena *arena, const uint8_t *at, size_t bytes, size_t blocks)
{
    Counts *counts = NEW_ARRAY(arena, Counts, blocks + 1);
    for (size_t i = 0; i < bytes; i++)
        counts[i / PACKED_BLOCK].of[at[i]]++;
    return counts;
}

static void make_codes(const Counts *block, const uint8_t *which, size_t blocks,
                       Lengths code[PACKED_CODES])
{
    for (int c = 0; c < PACKED_CODES; c++) {
        Counts all = {0};
        for (size_t i = 0; i < blocks; i++)
            for (int k = 0; which[i] == c && k < BYTES; k++)
                all.of[k] += block[i].of[k];
        code[c] = lengths_of(all);
    }
}

static uint8_t shortest(const Counts *block, const Lengths code[PACKED_CODES])
{
    size_t best = SIZE_MAX;
    uint8_t found = 0;
    for (uint8_t c = 0; c < PACKED_CODES; c++) {
        size_t bits = 0;
        for (int k = 0; k < BYTES; k++)
            bits += block->of[k] * (size_t)(code[c].of[k] ? code[c].of[k] : ABSENT);
        if (bits < best)
            best = bits, found = c;
    }
    return found;
}

// The code of each byte, in its lowest bits.
static void number_codes(const Lengths *code, uint16_t bits[BYTES])
{
    size_t next = 0;
    for (int length = 1; length <= PACKED_LONGEST; length++)
        for (int k = 0; k < BYTES; k++)
            if (code->of[k] == length) {
                bits[k] = (uint16_t)(next >> (PACKED_LONGEST - length));
                next += (size_t)1 << (PACKED_LONGEST - length);
            }
}

const char *pack(Arena *arena, const void *from, size_t bytes, size_t *length)
{
    const uint8_t *at = from;
    size_t blocks = (bytes + PACKED_BLOCK - 1) / PACKED_BLOCK, room = BYTES / 2 * PACKED_CODES;
    const Counts *block = count_blocks(arena, at, bytes, blocks);
    uint8_t *which = arena_alloc(arena, blocks + 1);
    Lengths code[PACKED_CODES];
    for (size_t i = 0; i < blocks; i++)
        which[i] = (uint8_t)(i * PACKED_CODES / blocks);
    make_codes(block, which, blocks, code);
    for (int turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < blocks; i++)
            which[i] = shortest(&block[i], code);
        make_codes(block, which, blocks, code);
    }
    size_t data_at = room + (blocks + 3) / 4;
    room = data_at + (bytes * PACKED_LONGEST + 7) / 8 + PACKED_END;
    uint8_t *out = arena_alloc(arena, room);
    uint16_t bits[PACKED_CODES][BYTES];
    for (int c = 0; c < PACKED_CODES; c++) {
        for (int k = 0; k < BYTES; k++)
            out[(c * BYTES + k) / 2] |= (uint8_t)(code[c].of[k] << (k % 2 ? 4 : 0));
        number_codes(&code[c], bits[c]);
    }
    for (size_t i = 0; i < blocks; i++)
        out[BYTES / 2 * PACKED_CODES + i / 4] |= (uint8_t)(which[i] << i % 4 * 2);
    size_t bit = 0;
    for (size_t i = 0; i < bytes; i++) {
        int c = which[i / PACKED_BLOCK], count = code[c].of[at[i]];
        for (int k = count - 1; k >= 0; k--, bit++)
            out[data_at + bit / 8] |= (uint8_t)((bits[c][at[i]] >> k & 1) << (7 - bit % 8));
    }
    *length = data_at + (bit + 7) / 8 + PACKED_END;
    return (const char *)out;
}
