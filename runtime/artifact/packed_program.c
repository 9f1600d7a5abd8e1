// The packed constants of this program. Its last part holds them: as they are, from the address on
// that the linker gave them, or packed, from a page before it on (compiler/link/layout.c).

#include <elf.h>
#include <sys/mman.h>

#include "aml/packed.h"

// By executable.ld.
#define HIDDEN __attribute__((visibility("hidden")))
extern const char __ehdr_start[] HIDDEN, aml_constants[] HIDDEN, aml_constants_end[] HIDDEN;

enum { PAGE = 4096 };

static void add_to_addresses(uint64_t *link, uint64_t program)
{
    for (uint64_t apart = 1; apart; link += apart) {
        uint64_t word = *link;
        apart = word >> PACKED_ADDRESS;
        *link = (word & (((uint64_t)1 << PACKED_ADDRESS) - 1)) + program;
    }
}

void aml_unpack_program(void)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)__ehdr_start;
    const Elf64_Phdr *part = (const Elf64_Phdr *)(const void *)(__ehdr_start + head->e_phoff);
    const char *begin = 0;
    for (int i = 0; i < head->e_phnum; i++)
        if (part[i].p_type == PT_LOAD)
            begin = __ehdr_start + part[i].p_vaddr;
    if (begin == aml_constants)
        return;
    uintptr_t from = (uintptr_t)begin / PAGE * PAGE, to = (uintptr_t)aml_constants / PAGE * PAGE;
    size_t bytes = (size_t)(aml_constants_end - aml_constants);
    aml_unpack((const uint8_t *)begin, (uint8_t *)(uintptr_t)aml_constants, bytes);
    add_to_addresses((uint64_t *)(uintptr_t)aml_constants, (uintptr_t)__ehdr_start);
    munmap((void *)from, to - from);
    mprotect((void *)to, (uintptr_t)aml_constants_end - to, PROT_READ);
}
