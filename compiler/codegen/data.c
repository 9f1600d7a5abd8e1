// data.c: large constants as an object file of their own: a section of read-only data and a hidden
// symbol for each of them. LLVM would keep several copies of them and take its time. The section's
// name is one for which linkers define where it begins and ends (runtime/job/generate.c).
//
//     header | data | symbols | their names | names of sections | sections

#include <string.h>

#include "base/elf_object.h"
#include "codegen/emit.h"

enum {
    SECTION_NONE,
    SECTION_DATA,
    SECTION_STACK,
    SECTION_SYMBOLS,
    SECTION_NAMES,
    SECTION_SECTIONS
};
enum { SECTIONS = SECTION_SECTIONS + 1 };

void data_add(Codegen *g, const char *name, const void *at, size_t bytes)
{
    Arena *arena = g->cx->arena;
    DataItem item = {arena_text(arena, name, strlen(name)), at, bytes};
    vec_push(arena, &g->data, item);
}

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static Elf64_Half machine_of(const Codegen *g)
{
    return targets_aarch64(g) ? EM_AARCH64 : EM_X86_64;
}

ObjectFile data_object(Codegen *g)
{
    static const char section_names[] =
        "\0aml_constants\0.note.GNU-stack\0.symtab\0.strtab\0.shstrtab";
    int count = g->data.count;
    size_t data = 0, names = 1;
    for (int i = 0; i < count; i++) {
        data += aligned(g->data.at[i].bytes);
        names += strlen(g->data.at[i].name) + 1;
    }
    size_t data_at = aligned(sizeof(Elf64_Ehdr)), symbols_at = data_at + data,
           symbols = sizeof(Elf64_Sym) * (size_t)(count + 1), names_at = symbols_at + symbols,
           sections_names_at = names_at + names,
           sections_at = aligned(sections_names_at + sizeof section_names),
           length = sections_at + SECTIONS * sizeof(Elf64_Shdr);
    char *file = arena_alloc(g->cx->arena, length);
    memset(file, 0, data_at);
    memset(file + symbols_at, 0, length - symbols_at);

    Elf64_Ehdr header = elf_object_header(machine_of(g), SECTIONS, SECTION_SECTIONS);
    header.e_shoff = sections_at;
    memcpy(file, &header, sizeof header);

    size_t at = 0, name = 1;
    for (int i = 0; i < count; i++) {
        const DataItem *item = &g->data.at[i];
        Elf64_Sym symbol = {.st_name = (Elf64_Word)name,
                            .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                            .st_other = STV_HIDDEN,
                            .st_shndx = SECTION_DATA,
                            .st_value = at,
                            .st_size = item->bytes};
        memcpy(file + data_at + at, item->at, item->bytes);
        memset(file + data_at + at + item->bytes, 0, aligned(item->bytes) - item->bytes);
        memcpy(file + symbols_at + sizeof symbol * (size_t)(i + 1), &symbol, sizeof symbol);
        memcpy(file + names_at + name, item->name, strlen(item->name) + 1);
        at += aligned(item->bytes);
        name += strlen(item->name) + 1;
    }
    memcpy(file + sections_names_at, section_names, sizeof section_names);
    const Elf64_Shdr section[SECTIONS] = {
        [SECTION_DATA] = {.sh_name = 1,
                          .sh_type = SHT_PROGBITS,
                          .sh_flags = SHF_ALLOC,
                          .sh_offset = data_at,
                          .sh_size = data,
                          .sh_addralign = AML_ALIGNMENT},
        [SECTION_STACK] = {.sh_name = 15,
                           .sh_type = SHT_PROGBITS,
                           .sh_offset = symbols_at,
                           .sh_addralign = 1},
        [SECTION_SYMBOLS] = {.sh_name = 31,
                             .sh_type = SHT_SYMTAB,
                             .sh_offset = symbols_at,
                             .sh_size = symbols,
                             .sh_link = SECTION_NAMES,
                             .sh_info = 1, // the first that is not local
                             .sh_addralign = 8,
                             .sh_entsize = sizeof(Elf64_Sym)},
        [SECTION_NAMES] = {.sh_name = 39,
                           .sh_type = SHT_STRTAB,
                           .sh_offset = names_at,
                           .sh_size = names,
                           .sh_addralign = 1},
        [SECTION_SECTIONS] = {.sh_name = 47,
                              .sh_type = SHT_STRTAB,
                              .sh_offset = sections_names_at,
                              .sh_size = sizeof section_names,
                              .sh_addralign = 1}};
    memcpy(file + sections_at, section, sizeof section);
    return (ObjectFile){file, length};
}
