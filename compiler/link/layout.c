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

// ---- constants ----------------------------------------------------------------------------------

// The last part as it was linked: constants, then the list of what the dynamic linker writes.
typedef struct Last {
    Elf64_Phdr *part;
    Elf64_Rela *list; // in the file
    size_t listed;
    size_t constants; // bytes
    Elf64_Dyn *at, *size, *relative; // what the dynamic linker is told about the list
} Last;

static bool find_dynamic(char *file, const Elf64_Ehdr *head, Last *last)
{
    for (int i = 0; i < head->e_phnum; i++) {
        const Elf64_Phdr *header = header_at(file, head, i);
        if (header->p_type != PT_DYNAMIC)
            continue;
        Elf64_Dyn *entry = (Elf64_Dyn *)(void *)(file + header->p_offset);
        for (size_t k = 0; k < header->p_filesz / sizeof *entry; k++) {
            if (entry[k].d_tag == DT_RELA)
                last->at = &entry[k];
            if (entry[k].d_tag == DT_RELASZ)
                last->size = &entry[k];
            if (entry[k].d_tag == DT_RELACOUNT)
                last->relative = &entry[k];
        }
    }
    return last->at && last->size;
}

// False: the file is none that has constants to be packed.
static bool find_last(char *file, const Elf64_Ehdr *head, size_t end, Last *last)
{
    *last = (Last){0};
    for (int i = 0; i < head->e_phnum; i++)
        if (header_at(file, head, i)->p_type == PT_LOAD)
            last->part = header_at(file, head, i);
    const Elf64_Phdr *part = last->part;
    if (!part || part->p_flags != PF_R || part->p_memsz != part->p_filesz ||
        part->p_offset + part->p_filesz != end || !find_dynamic(file, head, last))
        return false;
    uint64_t begin = last->at->d_un.d_ptr, size = last->size->d_un.d_val;
    if (begin < part->p_vaddr || begin - part->p_vaddr > part->p_filesz ||
        size != part->p_filesz - (begin - part->p_vaddr))
        return false;
    last->constants = begin - part->p_vaddr;
    last->list = (Elf64_Rela *)(void *)(file + part->p_offset + last->constants);
    last->listed = size / sizeof *last->list;
    return true;
}

static bool is_constant(const Last *last, const Elf64_Rela *item)
{
    return item->r_offset >= last->part->p_vaddr &&
           item->r_offset - last->part->p_vaddr < last->constants;
}

// The addresses among the constants become a chain (aml/packed.h) and leave the list. False: they
// cannot, or there are none; nothing has changed then.
static bool chain_addresses(char *constants, Last *last)
{
    size_t previous = 0, kept = 0, chained = 0;
    for (size_t i = 0; i < last->listed; i++) { // in the order of their places
        const Elf64_Rela *item = &last->list[i];
        if (!is_constant(last, item))
            continue;
        size_t at = item->r_offset - last->part->p_vaddr;
        size_t apart = (at - previous) / sizeof(uint64_t);
        if (ELF64_R_TYPE(item->r_info) != R_X86_64_RELATIVE || at <= previous ||
            at % sizeof(uint64_t) || apart >> PACKED_APART_BITS ||
            (uint64_t)item->r_addend >> PACKED_ADDRESS_BITS)
            return false;
        previous = at;
    }
    uint64_t word = 0, *link = (uint64_t *)(void *)constants;
    for (size_t i = 0; i < last->listed; i++) {
        const Elf64_Rela *item = &last->list[i];
        if (!is_constant(last, item)) {
            last->list[kept++] = *item;
            continue;
        }
        uint64_t *next = (uint64_t *)(void *)(constants + (item->r_offset - last->part->p_vaddr));
        *link = word | (uint64_t)(next - link) << PACKED_ADDRESS_BITS;
        word = (uint64_t)item->r_addend;
        link = next;
        chained++;
    }
    if (chained)
        *link = word;
    last->listed = kept;
    last->size->d_un.d_val = kept * sizeof *last->list;
    if (last->relative)
        last->relative->d_un.d_val -= chained;
    return true;
}

static bool has_addresses(const Last *last)
{
    for (size_t i = 0; i < last->listed; i++)
        if (is_constant(last, &last->list[i]))
            return true;
    return false;
}

// The part with the constants ends the file. Packed ones begin some pages before the place to which
// they are expanded, and the list of the dynamic linker is behind them. How long the file is then.
static size_t pack_constants(Cx *cx, char *file, const Elf64_Ehdr *head, size_t end)
{
    Last found, *last = &found;
    if (!find_last(file, head, end, last))
        return end;
    Elf64_Phdr *part = last->part;
    char *constants = arena_text(cx->scratch, file + part->p_offset, last->constants);
    size_t length = 0, listed = last->listed * sizeof *last->list;
    const char *packed = NULL;
    if (last->constants <= PACKED_MOST && chain_addresses(constants, last)) {
        listed = last->listed * sizeof *last->list;
        packed = pack(cx->scratch, constants, last->constants, &length);
        length = (length + _Alignof(Elf64_Rela) - 1) / _Alignof(Elf64_Rela) * _Alignof(Elf64_Rela);
    }
    return end;
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
