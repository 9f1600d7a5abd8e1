// Large pages for constants that are read from their beginning to their end, again and again.
//
// What is mapped from a file lies in pages of 4 KiB, and looking up where they are costs a good
// part of the rate of memory. So the bytes are copied into memory of the program's own, which the
// kernel is asked to put into pages of 2 MiB, and these take the place of the file's: addresses
// stay as they are. That costs a copy, and memory that other processes do not share.

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/base/base.h"

static const uintptr_t page = (uintptr_t)2 << 20;

// Whether the kernel gives large pages to those who ask.
static bool given(void)
{
    char text[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (!file)
        return false;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    return strstr(text, "[always]") || strstr(text, "[madvise]");
}

// Whether as much memory is free twice.
static bool room_for(size_t bytes)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu", &kib) != 1)
        ;
    fclose(file);
    return kib / 2 > bytes >> 10;
}

bool amli_large_pages(const void *from, const void *to, size_t least)
{
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)from + page - 1) / page * page, end = (uintptr_t)to / page * page;
    if (!from || end <= begin || end - begin < least || !given() || !room_for(end - begin))
        return false;
    size_t bytes = end - begin, all = bytes + page;
    char *memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    char *copy = (char *)(((uintptr_t)memory + page - 1) / page * page);
    size_t before = (size_t)(copy - memory);
    if (before > 0)
        munmap(memory, before);
    if (page - before > 0)
        munmap(copy + bytes, page - before);
    bool good = madvise(copy, bytes, MADV_HUGEPAGE) == 0;
    if (good) {
        memcpy(copy, (const void *)begin, bytes);
        good =
            mprotect(copy, bytes, PROT_READ) == 0 &&
            mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)begin) != MAP_FAILED;
    }
    if (!good)
        munmap(copy, bytes);
    return good;
#else
    (void)from, (void)to, (void)least;
    return false;
#endif
}
