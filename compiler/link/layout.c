// layout.c: what is left to do for a deployed executable when it is linked by executable.ld.
//
// The loader reads program headers alone, so the table of sections and their names go. Constants,
// the last part, are packed if the program unpacks them, they are few, and that saves a page; those
// that are addresses need an item of the dynamic linker's list each, which the packed ones do
// without. The part that the dynamic linker writes once becomes one that it protects: its last page
// holds nothing else, so all of that page may be protected, which the linker does not know.

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

// The last part as it was linked: constants, then the lists of what the dynamic linker writes:
// `calls` items for functions that are called through a table, and the others.
typedef struct Last {
    Elf64_Phdr *part;
    size_t constants;       // bytes
    const Elf64_Rela *list; // in the file
    size_t calls, listed;
    // what the dynamic linker is told about the lists; NULL: it is not
    Elf64_Dyn *at, *size, *relative, *calls_at, *calls_size;
} Last;

static bool find_dynamic(char *file, const Elf64_Ehdr *head, Last *last)
{
    for (int i = 0; i < head->e_phnum; i++) {
        const Elf64_Phdr *header = header_at(file, head, i);
        if (header->p_type != PT_DYNAMIC)
            continue;
        Elf64_Dyn *entry = (Elf64_Dyn *)(void *)(file + header->p_offset);
        for (size_t k = 0; k < header->p_filesz / sizeof *entry; k++) {
            Elf64_Dyn **told = entry[k].d_tag == DT_RELA        ? &last->at
                               : entry[k].d_tag == DT_RELASZ    ? &last->size
                               : entry[k].d_tag == DT_RELACOUNT ? &last->relative
                               : entry[k].d_tag == DT_JMPREL    ? &last->calls_at
                               : entry[k].d_tag == DT_PLTRELSZ  ? &last->calls_size
                                                                : NULL;
            if (told)
                *told = &entry[k];
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
    uint64_t calls = last->calls_at && last->calls_size ? last->calls_size->d_un.d_val : 0,
             size = last->size->d_un.d_val, behind = part->p_vaddr + part->p_filesz;
    if (size > part->p_filesz || calls > part->p_filesz - size ||
        last->at->d_un.d_ptr != behind - size ||
        (calls && last->calls_at->d_un.d_ptr != behind - size - calls))
        return false;
    last->constants = part->p_filesz - size - calls;
    last->list = (const Elf64_Rela *)(const void *)(file + part->p_offset + last->constants);
    last->calls = calls / sizeof *last->list;
    last->listed = size / sizeof *last->list;
    return true;
}

static bool is_constant(const Last *last, const Elf64_Rela *item)
{
    return item->r_offset >= last->part->p_vaddr &&
           item->r_offset - last->part->p_vaddr < last->constants;
}

static bool has_addresses(const Last *last)
{
    for (size_t i = 0; i < last->calls + last->listed; i++)
        if (is_constant(last, &last->list[i]))
            return true;
    return false;
}

// The addresses among the constants become a chain (aml/packed.h), in a copy of them; `rest` gets
// the other items of both lists, and the result is how many these are. SIZE_MAX: it cannot be done.
static size_t chain_addresses(const Last *last, char *constants, Elf64_Rela *rest)
{
    size_t kept = 0, at = 0, next;
    uint64_t word = 0; // what stands at the place `at` but for the way to the next one
    for (size_t i = 0; i < last->calls + last->listed; i++, at = next) {
        const Elf64_Rela *item = &last->list[i];
        next = at;
        if (!is_constant(last, item)) {
            rest[kept++] = *item;
            continue;
        }
        next = item->r_offset - last->part->p_vaddr;
        uint64_t apart = (next - at) / sizeof word;
        if (ELF64_R_TYPE(item->r_info) != R_X86_64_RELATIVE || next <= at || next % sizeof word ||
            apart >> (64 - PACKED_ADDRESS) || (uint64_t)item->r_addend >> PACKED_ADDRESS)
            return SIZE_MAX;
        word |= apart << PACKED_ADDRESS;
        memcpy(constants + at, &word, sizeof word);
        word = (uint64_t)item->r_addend;
        memcpy(constants + next, &word, sizeof word);
    }
    return kept;
}

// The part with the constants ends the file. Packed ones begin some pages before the place to which
// they are expanded, and what is left of the list is behind them. How long the file is then.
static size_t pack_constants(Cx *cx, char *file, const Elf64_Ehdr *head, size_t end)
{
    Last found, *last = &found;
    if (!find_last(file, head, end, last))
        return end;
    Elf64_Phdr *part = last->part;
    Elf64_Rela *rest = NEW_ARRAY(cx->scratch, Elf64_Rela, last->calls + last->listed + 1);
    char *constants = arena_text(cx->scratch, file + part->p_offset, last->constants);
    size_t kept = chain_addresses(last, constants, rest), length = 0;
    const char *packed = NULL;
    if (kept != SIZE_MAX && last->constants <= PACKED_MOST)
        packed = pack(cx->scratch, constants, last->constants, &length);
    size_t list_at = (length + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
    size_t all = list_at + (packed ? kept * sizeof *rest : 0);
    if (!packed || all + PAGE > part->p_filesz) { // then the dynamic linker writes addresses
        part->p_flags |= has_addresses(last) ? PF_W : 0;
        return end;
    }
    char *out = file + part->p_offset;
    memset(out, 0, list_at);
    memcpy(out, packed, length);
    memcpy(out + list_at, rest, kept * sizeof *rest);
    size_t room = (all + PAGE - 1) / PAGE * PAGE;
    part->p_vaddr -= room;
    part->p_paddr -= room;
    part->p_memsz = room + last->constants;
    part->p_filesz = all;
    part->p_flags = PF_R | PF_W;
    size_t others = kept - last->calls, calls = last->calls * sizeof *rest;
    if (calls)
        last->calls_at->d_un.d_ptr = part->p_vaddr + list_at;
    last->at->d_un.d_ptr = part->p_vaddr + list_at + calls;
    last->size->d_un.d_val = others * sizeof *rest;
    if (last->relative)
        last->relative->d_un.d_val -= last->listed - others;
    return part->p_offset + all;
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
