// Constants that move to large pages stay where they are and what they are; what cannot move stays
// in its file.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "runtime/base/base.h"

enum { MIB = 1 << 20, BYTES = 7 * MIB };

static unsigned char wanted(size_t at)
{
    return (unsigned char)(at * 31 + at / 4099);
}

// A file of bytes, mapped read-only.
static const unsigned char *mapped(void)
{
    FILE *file = tmpfile();
    unsigned char *bytes = malloc(BYTES);
    if (!file || !bytes)
        return NULL;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = wanted(i);
    bool good = fwrite(bytes, 1, BYTES, file) == BYTES && fflush(file) == 0;
    free(bytes);
    void *at = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    fclose(file);
    return good && at != MAP_FAILED ? at : NULL;
}

// Whether a file is mapped at an address; -1: nothing is.
static int in_file(const void *address)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long from, to, inode = 0;
    bool found = false;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 &&
                from <= (unsigned long)address && (unsigned long)address < to;
    if (maps)
        fclose(maps);
    return !found ? -1 : inode != 0;
}

static void check_bytes(const unsigned char *at)
{
    for (size_t i = 0; i < BYTES; i++)
        if (at[i] != wanted(i))
            CHECK_FAIL("byte %zu is %d", i, at[i]);
}

TEST(moves)
{
    const unsigned char *at = mapped();
    CHECK(at != NULL);
    bool moved = amli_large_pages(at + 5, at + BYTES - 7, MIB);
    check_bytes(at);
    const unsigned char *middle =
        (const unsigned char *)(((uintptr_t)at + 5 + 2 * MIB - 1) / (2 * MIB) * (2 * MIB));
    CHECK(in_file(middle) == (moved ? 0 : 1));
    CHECK(in_file(at) == 1); // only whole pages move
    CHECK(in_file(at + BYTES - 1) == 1);
    munmap((void *)(uintptr_t)at, BYTES);
}

TEST(stays)
{
    const unsigned char *at = mapped();
    CHECK(at != NULL);
    CHECK(!amli_large_pages(NULL, NULL, 0));
    CHECK(!amli_large_pages(at, at + MIB, 0)); // no whole page
    CHECK(!amli_large_pages(at + BYTES, at, 0));
    CHECK(!amli_large_pages(at, at + BYTES, 16 * MIB));
    CHECK(in_file(at + BYTES / 2) == 1);
    check_bytes(at);
    munmap((void *)(uintptr_t)at, BYTES);
}

int main(void)
{
    RUN(moves);
    RUN(stays);
    CHECK_SUMMARY();
}
