// stored.c: constants that are written shorter than they are (runtime/include/aml/stored.h).
//
// What a kernel reads is packed for it already; here the packed bytes are looked at once more. If
// leaving out zeros or the upper half of each byte saves two fifths, the kernel is given an address
// in the context in place of one in the program.

#include <string.h>

#include "aml/stored.h"
#include "codegen/emit.h"

enum { LEAST_BYTES = 256 };

typedef struct Counts {
    size_t bytes, words; // that are not 0
    bool small;          // all bytes are numbers from -8 to 7
} Counts;

static Counts count_values(const uint8_t *at, size_t bytes)
{
    Counts counts = {.small = true};
    for (size_t i = 0; i < bytes; i++) {
        counts.bytes += at[i] != 0;
        counts.small &= at[i] < 8 || at[i] >= 248;
    }
    static const uint8_t none[4] = {0};
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        counts.words += memcmp(at + i, none, 4) != 0;
    return counts;
}

static size_t length_of(aml_stored_kind kind, const Counts *counts, size_t bytes)
{
    switch (kind) {
    case AML_STORED_BYTES:
        return (bytes + 7) / 8 + counts->bytes;
    case AML_STORED_WORDS:
        return bytes % 4 ? SIZE_MAX : (bytes / 4 + 7) / 8 + 4 * counts->words;
    case AML_STORED_NIBBLES:
        return counts->small ? (bytes + 1) / 2 : SIZE_MAX;
    case AML_STORED_SPARSE_NIBBLES:
        return counts->small ? (bytes + 7) / 8 + (counts->bytes + 1) / 2 : SIZE_MAX;
    }
    return SIZE_MAX;
}

static void put_nibble(uint8_t *to, size_t index, uint8_t value)
{
    to[index / 2] |= (uint8_t)((value & 15) << (index % 2 ? 4 : 0));
}

// `to` is zeros.
static void encode(aml_stored_kind kind, const uint8_t *at, size_t bytes, uint8_t *to)
{
    size_t size = kind == AML_STORED_WORDS ? 4 : 1, count = bytes / size, next = 0;
    uint8_t *values = to + (count + 7) / 8;
    static const uint8_t none[4] = {0};
    for (size_t i = 0; i < count; i++) {
        if (kind == AML_STORED_NIBBLES) {
            put_nibble(to, i, at[i]);
            continue;
        }
        if (memcmp(at + i * size, none, size) == 0)
            continue;
        to[i / 8] |= (uint8_t)(1u << i % 8);
        if (kind == AML_STORED_SPARSE_NIBBLES)
            put_nibble(values, next, at[i]);
        else
            memcpy(values + next * size, at + i * size, size);
        next++;
    }
}

// The shortest form of so many bytes; `length` SIZE_MAX if none saves enough.
static aml_stored_kind shortest(const void *at, size_t bytes, size_t *length)
{
    static const aml_stored_kind kinds[] = {AML_STORED_BYTES, AML_STORED_WORDS, AML_STORED_NIBBLES,
                                            AML_STORED_SPARSE_NIBBLES};
    Counts counts = count_values(at, bytes);
    aml_stored_kind best = AML_STORED_BYTES;
    *length = SIZE_MAX;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        size_t size = length_of(kinds[i], &counts, bytes);
        if (size < *length)
            *length = size, best = kinds[i];
    }
    if (bytes < LEAST_BYTES || *length > bytes / 5 * 3)
        *length = SIZE_MAX;
    return best;
}

static size_t rounded(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

size_t stored_length(const void *at, size_t bytes)
{
    size_t length;
    shortest(at, bytes, &length);
    return length == SIZE_MAX ? bytes : length;
}

LLVMValueRef read_only(Frame *f, const void *at, size_t bytes)
{
    Codegen *g = f->g;
    size_t length;
    if (!g->stores)
        return constant_pointer(g, at, bytes);
    aml_stored_kind kind = shortest(at, bytes, &length);
    if (length == SIZE_MAX)
        return constant_pointer(g, at, bytes);
    for (int i = 0; i < g->stored.count; i++) {
        const StoredPart *old = &g->stored.at[i];
        if (old->bytes == bytes && memcmp(old->at, at, bytes) == 0)
            return frame_address(f, f->constants, old->offset);
    }
    StoredPart part = {at, bytes, g->stored_bytes, kind, length};
    vec_push(g->arena, &g->stored, part);
    g->stored_bytes = rounded(g->stored_bytes + bytes, AML_ALIGNMENT);
    return frame_address(f, f->constants, part.offset);
}

// All parts as data of the object.
void stored_emit(Codegen *g, const char *symbol, ObjectCode *object)
{
    object->stored = NULL;
    object->stored_bytes = object->stored_length = object->stored_plain = 0;
    if (g->stored.count == 0)
        return;
    size_t all = sizeof(aml_stored_head);
    for (int i = 0; i < g->stored.count; i++)
        all += sizeof(aml_stored_part) + rounded(g->stored.at[i].length, 8);
    char *data = arena_alloc(g->arena, all), *at = data + sizeof(aml_stored_head);
    memset(data, 0, all);
    // an overhang, for kernels that read a whole vector at the end
    aml_stored_head head = {(uint64_t)g->stored.count, g->stored_bytes + AML_ALIGNMENT};
    memcpy(data, &head, sizeof head);
    for (int i = 0; i < g->stored.count; i++) {
        const StoredPart *from = &g->stored.at[i];
        aml_stored_part part = {from->kind, from->offset, from->bytes, rounded(from->length, 8)};
        memcpy(at, &part, sizeof part);
        encode((aml_stored_kind)from->kind, from->at, from->bytes, (uint8_t *)at + sizeof part);
        at += sizeof part + part.length;
        object->stored_plain += from->bytes;
    }
    g->module = g->piece[0];
    LLVMValueRef global = LLVMAddGlobal(g->module, LLVMArrayType2(g->i8, all), symbol);
    LLVMSetInitializer(global, LLVMConstStringInContext2(g->llvm, data, all, 1));
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetAlignment(global, AML_ALIGNMENT);
    object->stored = arena_text(g->cx->arena, symbol, strlen(symbol));
    object->stored_bytes = (size_t)head.bytes;
    object->stored_length = all;
    object->stored_data = arena_copy(g->cx->arena, data, all);
}
