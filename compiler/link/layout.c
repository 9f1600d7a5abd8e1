// layout.c: what is left to do for a deployed executable when it is linked by executable.ld.
//
// The loader reads program headers alone, so the table of sections and their names go. Constants,
// the last part, are packed if the program unpacks them, they are few, and that saves a page. The
// part that the dynamic linker writes once becomes one that it protects: its last page holds
// nothing else, so all of that page may be protected, which the linker does not know.

#include "link/link.h"

#include <elf.h>
#include <string.h>

#include "aml/packed.h"

enum { PAGE = 4096 };

static Elf64_Phdr *header_at(char *file, const Elf64_Ehdr *head, int index)
{
    return (Elf64_Phdr *)(void *)(file + head->e_phoff) + index;
}

// Whether these are headers as this linker script makes them.
static bool is_known(const char *file, size_t length, Elf64_Ehdr *head)
{
    if (length < sizeof *head)
        return false;
    memcpy(head, file, sizeof *head);
    return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_phentsize == sizeof(Elf64_Phdr) && head->e_phoff <= length &&
           head->e_phoff % _Alignof(Elf64_Phdr) == 0 &&
           head->e_phnum <= (length - head->e_phoff) / sizeof(Elf64_Phdr);
}

static bool holds(const Elf64_Phdr *outer, const Elf64_Phdr *inner)
{
    return outer->p_type == PT_LOAD && inner->p_vaddr >= outer->p_vaddr &&
           inner->p_vaddr - outer->p_vaddr < outer->p_memsz;
}

// The part with the table of the dynamic linker is written once.
static void protect(char *file, const Elf64_Ehdr *head)
{
    const Elf64_Phdr *dynamic = NULL, *once = NULL;
    Elf64_Phdr *spare = NULL;
    for (int i = 0; i < head->e_phnum; i++) {
        Elf64_Phdr *header = header_at(file, head, i);
        if (header->p_type == PT_DYNAMIC)
            dynamic = header;
        if (header->p_type == PT_NULL)
            spare = header;
    }
    for (int i = 0; i < head->e_phnum && dynamic; i++)
        if (holds(header_at(file, head, i), dynamic))
            once = header_at(file, head, i);
    if (!once || !spare)
        return;
    *spare = *once;
    spare->p_type = PT_GNU_RELRO;
    spare->p_flags = PF_R;
    spare->p_align = 1;
    spare->p_memsz = (once->p_vaddr + once->p_memsz + PAGE - 1) / PAGE * PAGE - once->p_vaddr;
}

// The part with the constants ends the file. Packed ones begin some pages before the place to which
// they are expanded. How long the file is then.
static size_t pack_constants(Cx *cx, char *file, const Elf64_Ehdr *head, size_t end)
{
    Elf64_Phdr *last = NULL;
    for (int i = 0; i < head->e_phnum; i++)
        if (header_at(file, head, i)->p_type == PT_LOAD)
            last = header_at(file, head, i);
    if (!last || last->p_flags != PF_R || last->p_memsz != last->p_filesz ||
        last->p_filesz > PACKED_MOST || last->p_offset + last->p_filesz != end)
        return end;
    size_t length;
    const char *packed = pack(cx->scratch, file + last->p_offset, last->p_filesz, &length);
    if (length + PAGE > last->p_filesz)
        return end;
    size_t room = (length + PAGE - 1) / PAGE * PAGE;
    memcpy(file + last->p_offset, packed, length);
    last->p_vaddr -= room;
    last->p_paddr -= room;
    last->p_memsz += room;
    last->p_filesz = length;
    last->p_flags = PF_R | PF_W;
    return last->p_offset + length;
}

size_t layout_finish(Cx *cx, char *file, size_t length, bool unpacks)
{
    Elf64_Ehdr head;
    size_t end = 0;
    if (!is_known(file, length, &head))
        return length;
    protect(file, &head);
    for (int i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr *header = header_at(file, &head, i);
        if (header->p_memsz == 0 && header->p_type != PT_GNU_STACK) // its place means nothing
            *header = (Elf64_Phdr){.p_type = PT_NULL};
        if (header->p_offset > length || header->p_filesz > length - header->p_offset)
            return length;
        if (header->p_offset + header->p_filesz > end)
            end = header->p_offset + header->p_filesz;
    }
    if (unpacks)
        end = pack_constants(cx, file, &head, end);
    head.e_shoff = 0;
    head.e_shnum = head.e_shentsize = head.e_shstrndx = 0;
    memcpy(file, &head, sizeof head);
    return end;
}
