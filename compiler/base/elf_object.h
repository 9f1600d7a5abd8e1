// base/elf_object.h: what the headers of all objects that amlc writes by itself have in common.

#ifndef AML_BASE_ELF_OBJECT_H
#define AML_BASE_ELF_OBJECT_H

#include <elf.h>
#include <string.h>

// `names`: the section with the sections' names. The caller sets e_shoff, where the sections are.
static inline Elf64_Ehdr elf_object_header(Elf64_Half machine, int sections, int names)
{
    Elf64_Ehdr header = {.e_type = ET_REL,
                         .e_machine = machine,
                         .e_version = EV_CURRENT,
                         .e_ehsize = sizeof header,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = (Elf64_Half)sections,
                         .e_shstrndx = (Elf64_Half)names};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    return header;
}

#endif
