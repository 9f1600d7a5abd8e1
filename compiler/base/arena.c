// arena.c: memory that goes away all at once.
//
// A list of blocks: a small one, then blocks of large pages, each twice the size of the one before.
// Page faults would else be a third of the time of checking a program. Allocation moves a mark.
// reset goes back to the first block and keeps them all, so a scratch arena stops calling malloc
// after the first few passes.

#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_BLOCK ((size_t)64 * 1024)
#define LARGE_PAGE ((size_t)2 * 1024 * 1024)
#define LARGEST_BLOCK ((size_t)8 * 1024 * 1024)
#define ALIGNMENT ((size_t)16)

typedef struct Block Block;
struct Block {
    Block *next;
    size_t size; // of the bytes after this head
    size_t used;
    size_t padding; // keeps the bytes aligned to 16
};

struct Arena {
    Block *first;
    Block *current; // blocks after it are empty
};

static AML_NORETURN void out_of_memory(void)
{
    fputs("amlc: out of memory\n", stderr);
    abort();
}

Arena *arena_new(void)
{
    Arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        out_of_memory();
    return arena;
}

void arena_free(Arena *arena)
{
    if (!arena)
        return;
    for (Block *block = arena->first, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(arena);
}

void arena_reset(Arena *arena)
{
    for (Block *block = arena->first; block; block = block->next)
        block->used = 0;
    arena->current = arena->first;
}

void arena_trim(Arena *arena)
{
    if (!arena->current)
        return;
    for (Block *block = arena->current->next, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    arena->current->next = NULL;
}

// A new block of at least `bytes`, put after the current one.
static Block *add_block(Arena *arena, size_t bytes)
{
    size_t size = FIRST_BLOCK; // with the head
    if (arena->current) {
        size = (arena->current->size + sizeof(Block)) * 2;
        size = size < LARGE_PAGE ? LARGE_PAGE : size < LARGEST_BLOCK ? size : LARGEST_BLOCK;
    }
    if (size < bytes + sizeof(Block))
        size = bytes + sizeof(Block);
    bool large = size % LARGE_PAGE == 0;
    Block *block = large ? aligned_alloc(LARGE_PAGE, size) : malloc(size);
    if (!block)
        out_of_memory();
    if (large)
        madvise(block, size, MADV_HUGEPAGE); // without large pages it is only slower
    size -= sizeof *block;
    *block = (Block){.size = size};
    if (arena->current) {
        block->next = arena->current->next;
        arena->current->next = block;
    } else {
        arena->first = block;
    }
    return block;
}

void *arena_alloc(Arena *arena, size_t bytes)
{
    if (bytes > PTRDIFF_MAX - sizeof(Block) - ALIGNMENT)
        out_of_memory();
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    Block *block = arena->current;
    while (block && block->size - block->used < bytes && block->next && block->next->used == 0)
        block = block->next;
    if (!block || block->size - block->used < bytes) {
        arena->current = block ? block : arena->current;
        block = add_block(arena, bytes);
    }
    arena->current = block;
    char *result = (char *)(block + 1) + block->used;
    block->used += bytes;
    return memset(result, 0, bytes);
}

void *arena_copy(Arena *arena, const void *from, size_t bytes)
{
    void *result = arena_alloc(arena, bytes);
    if (bytes > 0)
        memcpy(result, from, bytes);
    return result;
}

char *arena_text(Arena *arena, const char *from, size_t length)
{
    char *result = arena_alloc(arena, length + 1);
    if (length > 0)
        memcpy(result, from, length);
    return result;
}

char *arena_vprintf(Arena *arena, const char *format, va_list args)
{
    char small[256]; // most texts are short, and need not be made twice
    va_list again;
    va_copy(again, args);
    int length = format_text(small, sizeof small, format, args);
    if (length < 0)
        out_of_memory();
    char *result;
    if ((size_t)length < sizeof small) {
        result = arena_text(arena, small, (size_t)length);
    } else {
        result = arena_alloc(arena, (size_t)length + 1);
        format_text(result, (size_t)length + 1, format, again);
    }
    va_end(again);
    return result;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *result = arena_vprintf(arena, format, args);
    va_end(args);
    return result;
}
