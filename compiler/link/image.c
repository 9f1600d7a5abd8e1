// image.c: the tables of a program as an object file, without a C compiler.
//
// The structs of aml/program.h are the same in amlc and in the programs that it makes, so a table
// is made in memory as it will be. What is an address there is noted beside it and left zero: the
// linker fills it in. Blocks with addresses are relocated when a program starts, others are not;
// texts are in a section in which a linker keeps each of them once.
//
//     header | constants | texts | tables with addresses | addresses | symbols | names | sections

#include "link/link.h"

#include <string.h>

#include "base/elf_object.h"

#if defined(__aarch64__)
enum { MACHINE = EM_AARCH64, ADDRESS = R_AARCH64_ABS64 };
#else
enum { MACHINE = EM_X86_64, ADDRESS = R_X86_64_64 };
#endif

enum {
    SECTION_NONE,
    SECTION_CONSTANTS,
    SECTION_TEXTS,
    SECTION_TABLES,
    SECTION_ADDRESSES,
    SECTION_STACK,
    SECTION_SYMBOLS,
    SECTION_NAMES,
    SECTION_SECTIONS,
    SECTIONS
};

static const char *const section_name[SECTIONS] = {"",
                                                   ".rodata",
                                                   ".rodata.str1.1",
                                                   ".data.rel.ro.local",
                                                   ".rela.data.rel.ro.local",
                                                   ".note.GNU-stack",
                                                   ".symtab",
                                                   ".strtab",
                                                   ".shstrtab"};

int image_block(Image *image, const void *at, size_t bytes, size_t alignment)
{
    ImageBlock block = {.bytes = bytes, .alignment = alignment, .given = at};
    if (!at) {
        block.made = arena_alloc(image->cx->arena, bytes);
        memset(block.made, 0, bytes);
    }
    vec_push(image->cx->arena, &image->block, block);
    return image->block.count - 1;
}

char *image_at(const Image *image, ImagePlace place)
{
    return image->block.at[place.block].made + place.offset;
}

static void refer(Image *image, ImagePlace from, ImageReference to)
{
    to.from = from;
    image->block.at[from.block].has_addresses = true;
    vec_push(image->cx->arena, &image->reference, to);
}

void image_point(Image *image, ImagePlace from, ImagePlace to)
{
    refer(image, from, (ImageReference){.kind = IMAGE_PLACE, .to = to});
}

void image_text(Image *image, ImagePlace from, const char *text)
{
    Cx *cx = image->cx;
    Sym key = sym_of(cx, text);
    uintptr_t known = (uintptr_t)map_get(&image->known, key); // behind its end; 0: there is none
    size_t length = strlen(text) + 1;
    if (!known) {
        image->texts.arena = cx->arena;
        buffer_append(&image->texts, text, length);
        known = image->texts.length;
        map_put(cx->arena, &image->known, key, (void *)known);
    }
    refer(image, from, (ImageReference){.kind = IMAGE_TEXT, .to.offset = known - length});
}

void image_symbol(Image *image, ImagePlace from, const char *name)
{
    Cx *cx = image->cx;
    Sym key = sym_of(cx, name);
    if (!map_get(&image->symbol, key))
        map_put(cx->arena, &image->symbol, key, (void *)(uintptr_t)(image->symbol.count + 1));
    refer(image, from,
          (ImageReference){.kind = IMAGE_SYMBOL,
                           .to.block = (int)(uintptr_t)map_get(&image->symbol, key) - 1});
}

static void align(Buffer *out, size_t alignment)
{
    static const char zeros[64];
    buffer_append(out, zeros, (alignment - out->length % alignment) % alignment);
}

// Blocks with addresses, or without, behind one another from where the file is aligned to 64.
static void put_blocks(Image *image, Buffer *out, bool has_addresses, Elf64_Shdr *section)
{
    align(out, AML_ALIGNMENT);
    section->sh_offset = out->length;
    for (int i = 0; i < image->block.count; i++) {
        ImageBlock *block = &image->block.at[i];
        if (block->has_addresses != has_addresses)
            continue;
        align(out, block->alignment);
        block->place = out->length - section->sh_offset;
        buffer_append(out, block->made ? block->made : block->given, block->bytes);
    }
    section->sh_size = out->length - section->sh_offset;
}

static size_t place_in_section(const Image *image, ImagePlace place)
{
    return image->block.at[place.block].place + place.offset;
}

// Symbols: none, the three sections, those of other objects, and the one that others see.
enum { FIRST_GLOBAL = 4 };

static void put_addresses(const Image *image, Buffer *out)
{
    for (int i = 0; i < image->reference.count; i++) {
        const ImageReference *of = &image->reference.at[i];
        bool in_tables = of->kind == IMAGE_PLACE && image->block.at[of->to.block].has_addresses;
        uint64_t symbol = of->kind == IMAGE_SYMBOL ? FIRST_GLOBAL + (uint64_t)of->to.block
                          : of->kind == IMAGE_TEXT ? SECTION_TEXTS
                          : in_tables              ? SECTION_TABLES
                                                   : SECTION_CONSTANTS;
        Elf64_Rela address = {.r_offset = place_in_section(image, of->from),
                              .r_info = ELF64_R_INFO(symbol, ADDRESS)};
        if (of->kind == IMAGE_PLACE)
            address.r_addend = (Elf64_Sxword)place_in_section(image, of->to);
        else if (of->kind == IMAGE_TEXT)
            address.r_addend = (Elf64_Sxword)of->to.offset;
        buffer_append(out, (const char *)&address, sizeof address);
    }
}

static Elf64_Word put_name(Buffer *names, const char *name)
{
    size_t at = names->length;
    buffer_append(names, name, strlen(name) + 1);
    return (Elf64_Word)at;
}

static void put_symbols(const Image *image, Buffer *out, Buffer *names, const char *name, int block)
{
    Elf64_Sym none = {0};
    put_name(names, "");
    buffer_append(out, (const char *)&none, sizeof none);
    for (int s = SECTION_CONSTANTS; s <= SECTION_TABLES; s++) {
        Elf64_Sym section = {.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION),
                             .st_shndx = (Elf64_Half)s};
        buffer_append(out, (const char *)&section, sizeof section);
    }
    for (int i = 0; i < image->symbol.count; i++) {
        Elf64_Sym symbol = {.st_name = put_name(names, image->symbol.key[i]),
                            .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE)};
        buffer_append(out, (const char *)&symbol, sizeof symbol);
    }
    Elf64_Sym own = {.st_name = put_name(names, name),
                     .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                     .st_other = STV_HIDDEN,
                     .st_shndx = SECTION_TABLES,
                     .st_value = image->block.at[block].place,
                     .st_size = image->block.at[block].bytes};
    buffer_append(out, (const char *)&own, sizeof own);
}

static void put_section(Buffer *out, Elf64_Shdr *section, const Buffer *content)
{
    align(out, 8);
    section->sh_offset = out->length;
    section->sh_size = content->length;
    buffer_append(out, content->text ? content->text : "", content->length);
}

ObjectFile image_object(Image *image, const char *name, int block)
{
    Arena *arena = image->cx->arena;
    Buffer file = {.arena = arena}, addresses = file, symbols = file, names = file, titles = file;
    Elf64_Ehdr header = elf_object_header(MACHINE, SECTIONS, SECTION_SECTIONS);
    Elf64_Shdr section[SECTIONS] = {
        [SECTION_CONSTANTS] = {.sh_type = SHT_PROGBITS,
                               .sh_flags = SHF_ALLOC,
                               .sh_addralign = AML_ALIGNMENT},
        [SECTION_TEXTS] = {.sh_type = SHT_PROGBITS,
                           .sh_flags = SHF_ALLOC | SHF_MERGE | SHF_STRINGS,
                           .sh_addralign = 1,
                           .sh_entsize = 1},
        [SECTION_TABLES] = {.sh_type = SHT_PROGBITS,
                            .sh_flags = SHF_ALLOC | SHF_WRITE,
                            .sh_addralign = AML_ALIGNMENT},
        [SECTION_ADDRESSES] = {.sh_type = SHT_RELA,
                               .sh_flags = SHF_INFO_LINK,
                               .sh_link = SECTION_SYMBOLS,
                               .sh_info = SECTION_TABLES,
                               .sh_addralign = 8,
                               .sh_entsize = sizeof(Elf64_Rela)},
        [SECTION_STACK] = {.sh_type = SHT_PROGBITS, .sh_addralign = 1},
        [SECTION_SYMBOLS] = {.sh_type = SHT_SYMTAB,
                             .sh_link = SECTION_NAMES,
                             .sh_info = FIRST_GLOBAL,
                             .sh_addralign = 8,
                             .sh_entsize = sizeof(Elf64_Sym)},
        [SECTION_NAMES] = {.sh_type = SHT_STRTAB, .sh_addralign = 1},
        [SECTION_SECTIONS] = {.sh_type = SHT_STRTAB, .sh_addralign = 1}};
    buffer_append(&file, (const char *)&header, sizeof header);
    put_blocks(image, &file, false, &section[SECTION_CONSTANTS]);
    put_section(&file, &section[SECTION_TEXTS], &image->texts);
    put_blocks(image, &file, true, &section[SECTION_TABLES]);
    put_addresses(image, &addresses);
    put_symbols(image, &symbols, &names, name, block);
    for (int s = 0; s < SECTIONS; s++)
        section[s].sh_name = put_name(&titles, section_name[s]);
    put_section(&file, &section[SECTION_ADDRESSES], &addresses);
    section[SECTION_STACK].sh_offset = file.length;
    put_section(&file, &section[SECTION_SYMBOLS], &symbols);
    put_section(&file, &section[SECTION_NAMES], &names);
    put_section(&file, &section[SECTION_SECTIONS], &titles);
    align(&file, 8);
    header.e_shoff = file.length;
    buffer_append(&file, (const char *)section, sizeof section);
    memcpy(file.text, &header, sizeof header);
    return (ObjectFile){file.text, file.length};
}
