// Expanding data that are stored without their zeros, or in 4 bits.

#include "aml/stored.h"

#include <string.h>

static int8_t nibble(const uint8_t *from, uint64_t index)
{
    int value = from[index / 2] >> (index % 2 ? 4 : 0) & 15;
    return (int8_t)(value < 8 ? value : value - 16);
}

static void expand(const aml_stored_part *part, const uint8_t *from, uint8_t *to)
{
    uint64_t size = part->kind == AML_STORED_WORDS ? 4 : 1, count = part->bytes / size, next = 0;
    const uint8_t *values = from + (count + 7) / 8;
    if (part->kind == AML_STORED_NIBBLES) {
        for (uint64_t i = 0; i < count; i++)
            to[i] = (uint8_t)nibble(from, i);
        return;
    }
    memset(to, 0, part->bytes);
    for (uint64_t i = 0; i < count; i++) {
        if (!(from[i / 8] >> i % 8 & 1))
            continue;
        if (part->kind == AML_STORED_SPARSE_NIBBLES)
            to[i] = (uint8_t)nibble(values, next);
        else
            memcpy(to + i * size, values + next * size, size);
        next++;
    }
}

void aml_stored_expand(const void *stored, void *to, const void *weights)
{
    (void)weights;
    const aml_stored_head *head = stored;
    const char *at = (const char *)stored + sizeof *head;
    for (uint64_t i = 0; i < head->parts; i++) {
        aml_stored_part part;
        memcpy(&part, at, sizeof part);
        at += sizeof part;
        expand(&part, (const uint8_t *)at, (uint8_t *)to + part.offset);
        at += part.length;
    }
}
